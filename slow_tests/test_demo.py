"""C{make demo}: a server and three people, side by side, and nothing left of them."""

import re
import socket
import sys
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.end_to_end.tmux import Tmux

_DEMO = Path(__file__).parent.parent / "docs" / "demo.py"


class DemoTest(SynchronousTestCase):
    def test_in_tmux(self) -> None:
        """The three talk to each other, and to a person who types; leaving tmux ends everything."""
        directory = Path(tempfile.mkdtemp(prefix="chat-"))
        demo = Tmux(sys.executable, str(_DEMO), width=140, height=40, TMPDIR=str(directory))
        self.addCleanup(demo.close)
        demo.see("type here, all of it works")
        (inside,) = directory.glob("chat-demo-*")
        log = (inside / "log").read_text()
        (port,) = re.findall(r"ready on port (\d+)", log)
        demo.type("hello from the left")
        self.assertGreaterEqual(demo.see("hello from the left").count("bob"), 2)
        demo.press("C-b", "d")
        demo.see_end(0)
        self.assertEqual(list(directory.iterdir()), [])
        with self.assertRaises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", int(port)))
