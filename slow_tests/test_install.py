"""A newcomer's first steps, in a copy of the tree and with fresh virtual environments."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.end_to_end.terminal import Peer

ROOT = Path(__file__).parents[1]
PATIENCE = 240
_IGNORED = [line.strip("/") for line in (ROOT / ".gitignore").read_text("utf-8").splitlines()]
"""What is no part of the tree: what a server leaves that runs in it, above all, as it would take
the copy's for itself."""


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command that must succeed; gives back what it printed."""
    done = subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


class InstallTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="chat-"))
        self.addCleanup(shutil.rmtree, self.directory)
        self.tree = self.directory / "tree"
        shutil.copytree(ROOT, self.tree, ignore=shutil.ignore_patterns(".git", *_IGNORED))

    def environment(self, name: str) -> Path:
        """A fresh virtual environment; gives back the directory of its programs."""
        venv.create(self.directory / name, with_pip=True)
        return self.directory / name / "bin"

    def assertHasChat(self, programs: Path) -> None:
        elsewhere = Path(tempfile.mkdtemp(dir=self.directory))
        self.assertIn("--port", run(programs / "twistd", "chat", "--help", cwd=elsewhere))

    def test_wheel(self) -> None:
        """The built wheel brings the plugin and the migrations, and no tests; uninstalling it
        leaves Twisted whole."""
        run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", ".", cwd=self.tree)
        (wheel,) = self.tree.glob("*.whl")
        programs = self.environment("wheel")
        run(programs / "pip", "install", "--quiet", wheel, cwd=self.directory)
        self.assertHasChat(programs)
        files = run(programs / "pip", "show", "--files", "twisted-chat", cwd=self.directory)
        self.assertIn("migrations/versions/0005", files)
        self.assertIn("twisted/plugins/twisted_chat_plugin.py", files)
        self.assertNotIn("twisted/__init__.py", files)
        self.assertNotIn("tests/", files)
        run(programs / "pip", "uninstall", "--yes", "--quiet", "twisted-chat", cwd=self.directory)
        self.assertNotIn("chat", run(programs / "twistd", "--help", cwd=self.directory))

    def test_make_run(self) -> None:
        """C{make run_server} in a clean tree ends with the daemon accepting; it runs an editable
        install, which has the plugin from any directory, with the options that it is given."""
        (self.tree / "chat.toml").write_text('name = "the lab"\n')
        self.starts(
            "make",
            "run_server",
            "PORT=0",
            "ARGS=--config chat.toml",
            f"PYTHON={sys.executable}",
            name="the lab",
        )
        self.assertHasChat(self.tree / ".venv" / "bin")

    def test_plain_lines(self) -> None:
        """The lines of the README that do without make."""
        run(sys.executable, "-m", "venv", ".venv", cwd=self.tree)
        run(".venv/bin/pip", "install", "--quiet", ".", cwd=self.tree)
        self.starts(".venv/bin/twistd", "-n", "chat", "--port", "0")
        self.assertHasChat(self.tree / ".venv" / "bin")

    def starts(self, *command: str, name: str = "chat") -> None:
        """Run a command that ends with a daemon on a free port, and join it."""
        started = subprocess.Popen(
            command,
            cwd=self.tree,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            env={**os.environ, "MAKEFLAGS": ""},
        )
        self.addCleanup(started.wait)
        self.addCleanup(os.killpg, started.pid, signal.SIGTERM)
        assert started.stdout is not None
        output = []
        for line in started.stdout:
            output.append(line)
            if ready := re.search(r"ready on port (\d+)", line):
                break
        else:
            self.fail("".join(output))
        with Peer(int(ready[1])) as peer:
            peer.see(f"* Welcome to {name}.")
