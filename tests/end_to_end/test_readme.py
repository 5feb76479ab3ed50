"""Every command in the README is run."""

import re
import subprocess
import sys
from pathlib import Path

from .terminal import TIMEOUT, DaemonTestCase

ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(r"```sh\n(.*?)```", re.DOTALL)
README = "\n".join(_BLOCK.findall((ROOT / "README.md").read_text("utf-8"))).split("\n")

# Run by another test, or by the person who runs this one.
ELSEWHERE = {
    "make run": "test_install",
    "make run_server PORT=5000": "test_install",
    "python3 -m venv .venv": "test_install",
    ".venv/bin/pip install .": "test_install",
    ".venv/bin/twistd -n chat --port 5000": "test_install",
    "make test": "what runs this",
    "make demo": "test_demo",
    ".venv/bin/twisted-chat localhost 5000 --gui": "test_client_window",
}

# What the command shows, if that is not the greeting of the server.
SEEN = {
    "make run_client SERVER=localhost PORT=5000 USERNAME=alice": "connecting to localhost",
    ".venv/bin/twisted-chat localhost 5000": "connecting to localhost",
    "echo deployed | .venv/bin/twisted-chat localhost 5000 --room ops": "done",
    ".venv/bin/twisted-chat localhost 5000 --room ops --json": '"event":"connected"',
}
PROGRAMS = Path(sys.executable).parent


class ReadmeTest(DaemonTestCase):
    def test_every_command(self) -> None:
        """Each command joins the daemon, or is run by another test."""
        run = 0
        for line in filter(None, README):
            if line in ELSEWHERE:
                continue
            self.assertIn("5000", line)
            terminal = self.terminal("sh", "-c", f"cd '{ROOT}' && {self.here(line)} && echo done")
            terminal.see(SEEN.get(line, "* Welcome to chat."))
            run += 1
        self.assertEqual(run, 8)

    def here(self, line: str) -> str:
        """The command, with the daemon and the programs that there are."""
        line = line.replace("5000", str(self.daemon.port)).replace(".venv/bin", str(PROGRAMS))
        return line.replace("make ", f"make VENV={PROGRAMS.parent} -o {PROGRAMS.parent}/run ")

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
        """C{make run_client} starts the client under that name."""
        line = "make run_client SERVER=localhost PORT=5000 USERNAME=alice"
        alice = self.terminal("sh", "-c", f"cd '{ROOT}' && {self.here(line)}")
        alice.see("connecting to localhost")
        alice.see('"alice" is new')

    def test_operations_and_protocol_are_linked(self) -> None:
        """The pages that the README links to are there."""
        text = (ROOT / "README.md").read_text("utf-8")
        for page in re.findall(r"\]\(((?:docs/)?\w+(?:\.md)?)\)", text):
            self.assertTrue((ROOT / page).is_file(), page)
