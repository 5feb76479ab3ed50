"""Ports that several processes share, or that systemd passes on."""

import re
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.daemon import Daemon, ForkedDaemon, twistd

from .terminal import TIMEOUT, Peer, program

_ACTIVATE = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="chat.socket")
os.execv(sys.argv[2], sys.argv[2:])
"""
"""What systemd does: passes a socket as descriptor 3, and says so (sd_listen_fds(3))."""


def _second_port(daemon: Daemon) -> int:
    """The port after the one that every daemon has."""
    found = re.search(r"ready on .*, port (\d+) of", "".join(daemon.log))
    assert found is not None, daemon.log
    return int(found[1])


def _welcomes(port: int) -> Iterator[str]:
    """Connect again and again, and tell who greets."""
    while True:
        with Peer(port) as peer:
            peer.see("* Welcome to ")
            yield peer.see(". Type a name")


class SharedPortTests(SynchronousTestCase):
    """Several daemons on one port."""

    def start(self, daemon: Daemon) -> Daemon:
        self.addCleanup(daemon.kill)
        daemon.start()
        return daemon

    def check_both_answer(self, port: int) -> None:
        """Both of two daemons get connections."""
        seen = set()
        for _, name in zip(range(200), _welcomes(port), strict=False):
            seen.add(name)
            if len(seen) == 2:
                break
        self.assertEqual(seen, {"one", "two"})

    def test_reuse(self) -> None:
        """With C{reuse:}, two daemons share the connections to one port, and the second gets all of
        them when the first has ended."""
        one = ForkedDaemon("--name", "one", "--port", "reuse:0:interface=127.0.0.1")
        port = _second_port(self.start(one))
        two = ForkedDaemon("--name", "two", "--port", f"reuse:{port}:interface=127.0.0.1")
        self.start(two)
        self.check_both_answer(port)
        one.stop()
        names = {name for _, name in zip(range(10), _welcomes(port), strict=False)}
        self.assertEqual(names, {"two"})

    def test_socket_of_systemd(self) -> None:
        """A socket that systemd passes to two daemons is shared by them, and stays open when one
        has ended."""
        listening = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listening.close)
        port = listening.getsockname()[1]
        one, two = (self.start(_Activated(listening, "--name", name)) for name in ("one", "two"))
        self.check_both_answer(port)
        self.assertEqual(_second_port(one), port)
        one.stop()
        names = {name for _, name in zip(range(10), _welcomes(port), strict=False)}
        self.assertEqual(names, {"two"})
        two.stop()
        with socket.create_connection(("127.0.0.1", port), TIMEOUT):
            """It waits for the next daemon."""


class _Activated(Daemon):
    """A daemon that is passed a socket."""

    def __init__(self, listening: socket.socket, *options: str) -> None:
        super().__init__(*options, "--port", "systemd:domain=INET:index=0")
        self._listening = listening

    def _run(self, command: Sequence[str]) -> Any:
        number = self._listening.fileno()
        return subprocess.Popen(
            [sys.executable, "-c", _ACTIVATE, str(number), *command],
            cwd=self.directory,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            pass_fds=[number],
        )


class ActivationTest(SynchronousTestCase):
    """C{systemd-socket-activate}, which does what systemd does with a socket unit."""

    def test_first_connection_starts_the_daemon(self) -> None:
        """The first connection starts the daemon, and is greeted."""
        activate = program("systemd-socket-activate")
        directory = Path(tempfile.mkdtemp(prefix="chat-"))
        path = directory / "chat.sock"
        started = subprocess.Popen(
            [
                *(activate, f"--listen={path}", "--fdname=chat.socket"),
                *twistd("--port", "systemd:domain=UNIX:name=chat.socket"),
            ],
            cwd=directory,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.addCleanup(started.wait, TIMEOUT)
        self.addCleanup(started.kill)
        assert started.stderr is not None
        self.addCleanup(started.stderr.close)
        self.assertIn("Listening on", started.stderr.readline())
        with Peer(path) as peer:
            peer.see("* Welcome to chat.")
