"""C{make screenshots}."""

import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.end_to_end.terminal import program

_ROOT = Path(__file__).parents[1]


class ScreenshotsTest(SynchronousTestCase):
    def test_both_pictures_are_taken(self) -> None:
        """The terminal and the window reach the state that the pictures show."""
        for name in ("xterm", "import"):
            program(name)
        directory = Path(self.mktemp()).absolute()
        directory.mkdir(parents=True)
        command = [sys.executable, "-m", "docs.screenshots", str(directory)]
        subprocess.run(command, cwd=_ROOT, timeout=120, check=True)
        for name in "terminal.png", "window.png":
            self.assertGreater((directory / name).stat().st_size, 1000)
