"""What the core and the chassis say is for every face: no commands of any of them."""

import ast
import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import twisted_chat.core
import twisted_chat.faces

_CORE = Path(twisted_chat.core.__file__).parent
_CHASSIS = Path(twisted_chat.faces.__file__).parent
_COMMAND = re.compile(r"(?<![\w./<*:])/[A-Za-z]+")


def _strings(source: str) -> list[str]:
    """All strings of a module, those of its docstrings too."""
    return [
        node.value
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]


class SentenceTests(SynchronousTestCase):
    """The strings of all modules of the core and the chassis."""

    def test_no_command(self) -> None:
        """No string in the core or the chassis contains a command."""
        modules = [*_CORE.glob("*.py"), *_CHASSIS.glob("*.py")]
        self.assertGreater(len(modules), 20)
        self.assertIn("perform.py", [module.name for module in modules])
        for module in modules:
            for string in _strings(module.read_text("utf-8")):
                self.assertNotRegex(string, _COMMAND, module.name)

    def test_no_remarks(self) -> None:
        """The core tells events with values, and makes no remarks."""
        for module in _CORE.glob("*.py"):
            used = {
                node.id
                for node in ast.walk(ast.parse(module.read_text("utf-8")))
                if isinstance(node, ast.Name)
            }
            if module.name != "events.py":
                self.assertNotIn("Notice", used, module.name)

    def test_what_is_found(self) -> None:
        """The search finds a command, and takes no path, fraction or network for one."""
        for string in ("you are not in #dev; /join dev first", "/history shows 10", "(/quit)"):
            self.assertRegex(string, _COMMAND)
        for string in ("docs/protocol.md", "192.0.2.0/24", "the /64 of it", "ECMA-48, n / m"):
            self.assertNotRegex(string, _COMMAND)
