"""Arrows of import point one way: plugin, tap, service, then faces and store, then protocol, then
core. The client, the other end, knows protocol and core, and nothing else of the server."""

import ast
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import twisted_chat
from twisted_chat import tap

_PACKAGE = Path(twisted_chat.__file__).parent
_PLUGIN = _PACKAGE.parent / "twisted" / "plugins" / "twisted_chat_plugin.py"

_IMPURE = (
    "twisted",
    "zope",
    "sqlalchemy",
    "alembic",
    "bcrypt",
    "socket",
    "ssl",
    "select",
    "selectors",
    "asyncio",
    "threading",
    "subprocess",
    "os",
    "io",
    "pathlib",
    "tempfile",
    "time",
    "random",
    "secrets",
)
"""What pure modules do without: they open nothing, wait for nothing and read no clock."""

_SESSION = tuple(
    f"twisted_chat.client.{name}"
    for name in (
        *("session", "login", "rooms", "entries", "holes", "state"),
        *("requests", "seen", "identity", "lines"),
    )
)
"""The parts of a client's session, each of which knows only those after it."""

_PURE = (
    "twisted_chat.core",
    "twisted_chat.protocol",
    "twisted_chat.faces.format",
    "twisted_chat.faces.line.telnet",
    "twisted_chat.faces.line.wire",
    "twisted_chat.faces.line.ways",
    *_SESSION,
    "twisted_chat.client.model",
    "twisted_chat.client.show",
)
"""What C{docs/developing.md} calls pure."""

_EXCEPT = {("twisted_chat.protocol.alive", "socket")}
"""Names of TCP options, and no socket."""


def _is_in(name: str, packages: tuple[str, ...]) -> bool:
    """The dotted name is one of these, or within one of them."""
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def _imports(module: str, tree: ast.Module, *, is_package: bool = False) -> Iterator[str]:
    """The dotted names that a module imports, wherever in it: the modules, and what is taken from
    them, which may be a module too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                up = node.level - 1 if is_package else node.level
                parents = module.split(".")[: len(module.split(".")) - up]
                base = ".".join([*parents, base] if base else parents)
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _allowed(module: str) -> tuple[str, ...]:
    """What of twisted_chat a module may import."""
    core = "twisted_chat.core"
    if _is_in(module, (core,)):
        return (core,)
    protocol = "twisted_chat.protocol"
    if _is_in(module, (protocol,)):
        return (core, protocol)
    if _is_in(module, ("twisted_chat.store",)):
        return (core, "twisted_chat.store")
    if module.startswith("twisted_chat.faces."):
        face = ".".join(module.split(".")[:3])
        shared = ("admission", "connection", "face", "format", "intake", "outbox", "perform")
        chassis = (f"twisted_chat.faces.{each}" for each in shared)
        return (core, protocol, "twisted_chat.transport", face, *chassis)
    if module in _SESSION:
        return (core, protocol, *_SESSION[_SESSION.index(module) + 1 :])
    if _is_in(module, ("twisted_chat.client",)):
        ends = "twisted_chat.transport"
        return (core, protocol, ends, "twisted_chat.__version__", "twisted_chat.client")
    if module == "twisted_chat.transport":
        return (protocol,)
    if module == "twisted_chat.tls":
        return (core, protocol, "twisted_chat.transport")
    if module == "twisted_chat.endpoints":
        return ("twisted_chat.tls",)
    if module == "twisted_chat.service":
        runs = ("endpoints", "faces", "passwords", "store", "tls")
        return (core, *(f"twisted_chat.{each}" for each in runs))
    if module == "twisted_chat.move":
        return (core, "twisted_chat.__version__", "twisted_chat.store")
    if module == "twisted_chat.tap":
        joins = ("__version__", "faces", "passwords", "service", "store")
        return (core, *(f"twisted_chat.{each}" for each in joins))
    return (core,)


def _wrong_imports(module: str, source: str, *, is_package: bool = False) -> list[str]:
    """What a module imports against the arrows."""
    allowed = _allowed(module)
    # Outside the core, datetime may write a time as text.
    impure = (*_IMPURE, "datetime") if _is_in(module, ("twisted_chat.core",)) else _IMPURE
    wrong = []
    for name in _imports(module, ast.parse(source), is_package=is_package):
        if _is_in(name, ("twisted_chat",)):
            if not _is_in(name, allowed):
                wrong.append(name)
        elif _is_in(module, _PURE) and _is_in(name, impure) and (module, name) not in _EXCEPT:
            wrong.append(name)
    return wrong


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def _private_names(source: str) -> list[str]:
    """What a module uses of Twisted that is private there: imported, or an attribute of what is."""
    tree = ast.parse(source)
    found: list[str] = []
    theirs: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if _is_in(alias.name, ("twisted", "zope")):
                    theirs.add(alias.asname or alias.name.split(".")[0])
                    found += filter(_is_private, alias.name.split("."))
        elif isinstance(node, ast.ImportFrom):
            module = "" if node.level else node.module or ""
            if _is_in(module, ("twisted", "zope")):
                theirs.update(alias.asname or alias.name for alias in node.names)
                taken = [alias.name for alias in node.names]
                found += filter(_is_private, [*module.split("."), *taken])
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and _is_private(node.attr):
            root: ast.expr = node.value
            while isinstance(root, ast.Attribute | ast.Call):
                root = root.value if isinstance(root, ast.Attribute) else root.func
            if isinstance(root, ast.Name) and root.id in theirs:
                found.append(node.attr)
    return found


def _modules() -> Iterator[tuple[str, Path]]:
    """The modules of twisted_chat, by their dotted names."""
    for path in sorted(_PACKAGE.rglob("*.py")):
        parts = path.relative_to(_PACKAGE.parent).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


class ImportTests(SynchronousTestCase):
    """Every module of the package, as it is."""

    def test_there_are_modules(self) -> None:
        """The walk finds all parts of the house."""
        names = [name for name, _ in _modules()]
        for name in (
            "core.chat",
            "protocol.grammar",
            "store.sql",
            "faces.line.protocol",
            "faces.outbox",
            "passwords",
        ):
            self.assertIn(f"twisted_chat.{name}", names)
        self.assertIn(tap.__name__, names)

    def test_arrows_point_one_way(self) -> None:
        """No module imports what stands above or beside it, and a pure one nothing that has
        effects."""
        for module, path in _modules():
            wrong = _wrong_imports(
                module, path.read_text("utf-8"), is_package=path.name == "__init__.py"
            )
            self.assertEqual(wrong, [], module)

    def test_nothing_of_twisted_that_is_private(self) -> None:
        """Neither imported nor reached through what is imported."""
        for module, path in [*_modules(), ("the plugin", _PLUGIN)]:
            self.assertEqual(_private_names(path.read_text("utf-8")), [], module)

    def test_plugin_names_the_tap_and_imports_nothing_of_ours(self) -> None:
        """twistd imports every plugin to list them, so it must be light."""
        tree = ast.parse(_PLUGIN.read_text("utf-8"))
        names = list(_imports("twisted_chat_plugin", tree))
        self.assertEqual(names, ["twisted.application.service.ServiceMaker"])
        strings = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]
        self.assertIn(tap.__name__, strings)

    def test_plugins_are_no_package(self) -> None:
        """An __init__.py there would hide the plugins of Twisted and of everybody else."""
        self.assertEqual(list(_PLUGIN.parents[1].rglob("__init__.py")), [])


class CheckTests(SynchronousTestCase):
    """The checks above do find what they look for."""

    def check(self, module: str, source: str, *wrong: str, is_package: bool = False) -> None:
        self.assertEqual(_wrong_imports(module, source, is_package=is_package), list(wrong))

    def test_core(self) -> None:
        """Knows only itself, and neither Twisted nor a clock."""
        core = "twisted_chat.core.chat"
        self.check(core, "from . import names\nfrom .events import Said\nimport re")
        self.check(core, "import time", "time")
        self.check(core, "import os.path", "os.path")
        self.check(core, "from datetime import datetime", "datetime.datetime")
        self.check(core, "def f():\n    from twisted.logger import Logger", "twisted.logger.Logger")
        self.check(core, "from sqlalchemy import text", "sqlalchemy.text")
        self.check(core, "from .. import store", "twisted_chat.store")
        self.check(core, "from ..faces.outbox import Outbox", "twisted_chat.faces.outbox.Outbox")
        self.check("twisted_chat.core", "from . import names", is_package=True)
        self.check("twisted_chat.core", "from .. import tap", "twisted_chat.tap", is_package=True)

    def test_protocol(self) -> None:
        """Knows core and itself, and is pure; core does not know it."""
        module = "twisted_chat.protocol.grammar"
        self.check(module, "from . import commands\nfrom twisted_chat.core import names")
        self.check(module, "from twisted.logger import Logger", "twisted.logger.Logger")
        self.check(module, "import time", "time")
        self.check(module, "from .. import transport", "twisted_chat.transport")
        self.check(module, "from ..client import lines", "twisted_chat.client.lines")
        self.check("twisted_chat.core.text", "from .. import protocol", "twisted_chat.protocol")
        self.check("twisted_chat.client.session", "import socket", "socket")

    def test_store_and_passwords(self) -> None:
        """Know core and themselves."""
        self.check("twisted_chat.store.sql", "from .schema import rooms\nimport sqlalchemy")
        self.check("twisted_chat.store.sql", "from twisted_chat.core.model import Post")
        self.check("twisted_chat.store.sql", "from .. import protocol", "twisted_chat.protocol")
        self.check(
            "twisted_chat.store.sql",
            "from twisted_chat.faces import outbox",
            "twisted_chat.faces.outbox",
        )
        self.check("twisted_chat.passwords", "from twisted_chat.core.errors import Refusal")
        self.check("twisted_chat.passwords", "import twisted_chat.store", "twisted_chat.store")

    def test_faces(self) -> None:
        """Know protocol, core, themselves and the modules that faces share."""
        line = "twisted_chat.faces.line.protocol"
        self.check(line, "from . import commands\nfrom .wire import parse")
        self.check(
            line, "from ..outbox import Outbox\nfrom twisted_chat.faces.outbox import Format"
        )
        self.check(line, "from ..perform import perform\nfrom ...protocol import grammar")
        self.check(line, "from twisted_chat import store", "twisted_chat.store")
        self.check(line, "from twisted_chat import passwords", "twisted_chat.passwords")
        self.check(line, "from ..irc import wire", "twisted_chat.faces.irc.wire")
        self.check(line, "from .. import irc", "twisted_chat.faces.irc")
        self.check(line, "import twisted_chat.tap", "twisted_chat.tap")
        self.check(
            "twisted_chat.faces.outbox",
            "from .line import wire",
            "twisted_chat.faces.line.wire",
        )

    def test_client(self) -> None:
        """Knows protocol, core and itself, and no part of the server; nor does that know the
        client."""
        module = "twisted_chat.client.connection"
        self.check(module, "from . import lines\nfrom twisted_chat.core import names")
        self.check(module, "from twisted_chat.protocol import jsonlines")
        self.check(module, "from twisted_chat import faces", "twisted_chat.faces")
        self.check(module, "import twisted_chat.store.sql", "twisted_chat.store.sql")
        self.check(module, "from .. import tap", "twisted_chat.tap")
        self.check("twisted_chat.client.holes", "from . import rooms", "twisted_chat.client.rooms")
        self.check("twisted_chat.tap", "from . import client", "twisted_chat.client")

    def test_private_names(self) -> None:
        """However they are reached."""
        for source in (
            "from twisted.internet import _sslverify",
            "from twisted.internet._sslverify import x",
            "import twisted.python._oldstyle",
            "from twisted.internet.defer import _inlineCallbacks as f",
            "from twisted.internet import defer\ndefer._f()",
            "from twisted.internet.defer import Deferred\nDeferred()._result",
            "import twisted.internet.base\ntwisted.internet.base._x.y",
        ):
            self.assertEqual(len(_private_names(source)), 1, source)
        for source in (
            "from ._own import _thing\n_thing._x",
            "from twisted.internet import reactor as _reactor\n_reactor.stop()",
            "from twisted.internet.defer import Deferred\nself._deferred = Deferred.__name__",
        ):
            self.assertEqual(_private_names(source), [], source)
