"""A real server ends in time though its PostgreSQL is away."""

import os
import signal
import socket
import time
from contextlib import closing
from pathlib import Path
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

from tests import postgres
from tests.daemon import Daemon

_LONGEST = 10.0
"""Seconds that the documentation promises."""


class AwayTests(SynchronousTestCase):
    """Somebody talks, the database goes away, and the server is told to end."""

    def setUp(self) -> None:
        reason = postgres.missing()
        if reason is not None:
            raise SkipTest(reason)
        self.server = postgres.Server()
        self.addCleanup(self.server.close)
        self.daemon = Daemon("--database", self.server.database(self))
        self.daemon.start()
        self.addCleanup(self.daemon.kill)

    def end(self) -> None:
        """Have the server end, and see that it does so in time and says bye."""
        with closing(socket.create_connection(("127.0.0.1", self.daemon.port), 20)) as peer:
            peer.sendall(b"/json on\n/guest gil\n" + b"hello\n" * 5)
            self.read_until(peer, b'"text":"hello"')
            self.go_away()
            peer.sendall(b"is anybody there?\n")
            began = time.monotonic()
            self.daemon.stop(signal.SIGTERM, timeout=3 * _LONGEST)
            took = time.monotonic() - began
            told = self.read_until(peer, b"")
        self.assertIn(b'"event":"bye"', told)
        self.assertLess(took, _LONGEST + 5)  # that it ends; the machine may be busy

    def go_away(self) -> None:
        raise NotImplementedError

    def read_until(self, peer: socket.socket, end: bytes) -> bytes:
        """Read until some words have come; if they are empty, to the end."""
        told = b""
        while not (end and end in told):
            data = peer.recv(65536)
            if not data:
                break
            told += data
        return told


class KilledTests(AwayTests):
    """PostgreSQL is killed."""

    def go_away(self) -> None:
        self.server.kill()
        self.addCleanup(self.server.start)  # its database is dropped at the end

    def test_end(self) -> None:
        """The server ends, and says bye."""
        self.end()


class FrozenTests(AwayTests):
    """PostgreSQL does not answer any more."""

    def go_away(self) -> None:
        children = Path(f"/proc/{self.server.pid}/task/{self.server.pid}/children").read_text()
        stopped = [self.server.pid, *map(int, children.split())]
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        for pid in stopped:
            self.addCleanup(os.kill, pid, signal.SIGCONT)

    def test_end(self) -> None:
        """The server ends, says bye, and logs that it is not known what became of a post."""
        self.end()
        self.assertIn(
            "it is not known whether the last posts (1) were stored", "".join(self.daemon.log)
        )
