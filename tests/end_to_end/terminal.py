"""Real programs under a pseudo-terminal, as people use them, and bare sockets."""

import shutil
import signal
import socket
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any

import pexpect
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.daemon import Daemon, ForkedDaemon, environment

TIMEOUT = 20


def program(name: str) -> str:
    """The path of a program that people join with."""
    path = shutil.which(name)
    if path is None:
        raise SkipTest(f"{name} is not installed")
    return path


class Terminal:
    """A program that is connected to the daemon, on a pseudo-terminal."""

    def __init__(self, *command: str) -> None:
        self.child: Any = pexpect.spawn(
            program(command[0]),
            list(command[1:]),
            env=environment(),
            encoding="utf-8",
            codec_errors="replace",
            timeout=TIMEOUT,
            echo=True,
        )
        self.child.delaybeforesend = None
        self.child.ptyproc.delayafterclose = 0  # type: ignore[attr-defined]

    def see(self, expected: str) -> str:
        """Wait until this is on the screen; gives back what came before it."""
        self.child.expect_exact(expected)
        return str(self.child.before)

    def type(self, line: str) -> None:
        self.child.send(f"{line}\n")

    def press(self, key: str) -> None:
        """Press a key together with Ctrl."""
        self.child.sendcontrol(key)

    def see_end(self) -> str:
        """Wait until the program has ended; gives back what it showed since the last sight.

        nc notices that the other side has closed the connection when something is typed, and ncat
        when something is typed after that; neither does if the line was there before the end was.
        """
        for _ in range(2 * TIMEOUT):
            self.type("")
            if not self.child.expect([pexpect.EOF, pexpect.TIMEOUT], timeout=0.5):
                return str(self.child.before)
        raise AssertionError("the program does not end")

    def close(self) -> None:
        self.child.kill(signal.SIGKILL)
        self.child.wait()
        self.child.close()


class Peer:
    """A bare connection, to a TCP port or a UNIX socket."""

    def __init__(self, where: int | Path, source: str = "127.0.0.1") -> None:
        if isinstance(where, Path):
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(TIMEOUT)
            self.socket.connect(str(where))
        else:
            self.socket = socket.create_connection(("127.0.0.1", where), TIMEOUT, (source, 0))
        self.received = b""

    def __enter__(self) -> "Peer":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.socket.close()

    def send(self, data: str | bytes) -> None:
        self.socket.sendall(data.encode() if isinstance(data, str) else data)

    def see(self, expected: str) -> str:
        """Read until this has come; gives back what came before it."""
        wanted = expected.encode()
        while wanted not in self.received:
            data = self.socket.recv(65536)
            if not data:
                raise AssertionError(f"{expected!r} did not come, only {self.received!r}")
            self.received += data
        before, _, self.received = self.received.partition(wanted)
        return before.decode()

    def rest(self) -> str:
        """Everything until the server closes the connection."""
        while data := self.socket.recv(65536):
            self.received += data
        return self.received.decode(errors="replace")  # a person's telnet is asked for BINARY


def pipe(port: int, script: str, *, command: tuple[str, ...] = ("nc", "-N")) -> str:
    """C{printf SCRIPT | nc -N localhost PORT}; gives back what it printed."""
    done = subprocess.run(
        [program(command[0]), *command[1:], "localhost", str(port)],
        input=script,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=True,
    )
    return done.stdout


class DaemonTestCase(SynchronousTestCase):
    """A daemon of its own for each test."""

    launch: type[Daemon] = ForkedDaemon
    options: tuple[str, ...] = ()

    def setUp(self) -> None:
        self.daemon = self.launch(*self.options)
        self.addCleanup(self.daemon.kill)
        self.daemon.start()

    def nc(self) -> Terminal:
        return self.terminal("nc", "localhost", str(self.daemon.port))

    def telnet(self) -> Terminal:
        return self.terminal("telnet", "localhost", str(self.daemon.port))

    def terminal(self, *command: str) -> Terminal:
        terminal = Terminal(*command)
        self.addCleanup(terminal.close)
        return terminal

    def guest(self, name: str) -> Peer:
        """A bare connection that is in under a guest name."""
        peer = Peer(self.daemon.port)
        self.addCleanup(peer.socket.close)
        peer.send(f"/guest {name}\n")
        peer.see(f"* Welcome, {name}.")
        peer.see("the commands.\n")
        return peer

    def assertNoTraceback(self) -> None:
        self.assertNotIn("Traceback", "".join(self.daemon.log))
