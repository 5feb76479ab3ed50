"""Every command in the README is run."""

import re
import subprocess

from .terminal import TIMEOUT, DaemonTestCase
from .test_install import ROOT

_BLOCK = re.compile(r"```sh\n(.*?)```", re.DOTALL)
README = "\n".join(_BLOCK.findall((ROOT / "README.md").read_text("utf-8"))).split("\n")

# Run by another test, or by whoever runs this one.
ELSEWHERE = {
    "make run": "test_install",
    "make run_server PORT=5000": "test_install",
    "python3 -m venv .venv": "test_install",
    ".venv/bin/pip install .": "test_install",
    ".venv/bin/twistd -n chat --port 5000": "test_install",
    "make test": "what runs this",
}


class ReadmeTest(DaemonTestCase):
    def test_every_command(self) -> None:
        """Each command joins the daemon and is greeted, or is run by another test."""
        run = 0
        for line in filter(None, README):
            if line in ELSEWHERE:
                continue
            self.assertIn("5000", line)
            here = line.replace("5000", str(self.daemon.port))
            terminal = self.terminal("sh", "-c", f"cd '{ROOT}' && {here}")
            terminal.see("* Welcome to chat.")
            run += 1
        self.assertEqual(run, 5)

    def test_the_pipe_does_what_it_says(self) -> None:
        """The scripts of the README register, log in and post."""
        outputs = [
            subprocess.run(
                ["sh", "-c", line.replace("5000", str(self.daemon.port))],
                capture_output=True,
                text=True,
                timeout=TIMEOUT,
                check=True,
            ).stdout
            for line in README
            if line.startswith("printf")
        ]
        self.assertIn("* Welcome, bot.", outputs[0])
        self.assertRegex(outputs[1], r'"seq":2,"from":"bot","text":"hello"')

    def test_run_client_with_a_name(self) -> None:
        """C{make run_client} types the name for you."""
        alice = self.terminal(
            "make", "-C", str(ROOT), "run_client", f"PORT={self.daemon.port}", "USERNAME=alice"
        )
        alice.see('* "alice" is new here.')
        alice.see("New password: ")
        alice.type("wonderland")
        alice.see("* Welcome, alice.")

    def test_operations_and_protocol_are_linked(self) -> None:
        """The pages that the README links to are there."""
        text = (ROOT / "README.md").read_text("utf-8")
        for page in re.findall(r"\]\(((?:docs/)?\w+(?:\.md)?)\)", text):
            self.assertTrue((ROOT / page).is_file(), page)
