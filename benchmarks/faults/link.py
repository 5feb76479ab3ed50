"""A network link that goes down while people are connected, as when a laptop is closed: their
sessions soon end, their own client says so, and no message that did not arrive counts as read.

The daemon and the clients that vanish are in separate network namespaces, which only root can make.
A bystander is connected to a UNIX socket of the daemon.
"""

import os
import select
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from unittest import SkipTest

from tests.daemon import Daemon

from .outcome import Outcome

_SERVER, _LAPTOP = "192.0.2.1/24", "192.0.2.2/24"

_SHORT = ("--keepalive", "2", "--stuck-after", "4")
"""Options with which the short form takes 4 seconds instead of 120."""

_WITHIN = 130.0
"""Seconds within which the sessions must end, with the default options."""

_PATIENCE = 300.0
"""Seconds after which a session that is still there counts as there for ever."""


class _Seat:
    """A connection of one person, and what they see.

    @ivar seen: everything so far.
    """

    def __init__(self, reads: int, writes: Callable[[bytes], object]) -> None:
        self.seen = ""
        self._reads = reads
        self._writes = writes

    def fileno(self) -> int:
        return self._reads

    def type(self, *lines: str) -> None:
        self._writes("".join(f"{line}\n" for line in lines).encode())

    def read(self) -> None:
        self.seen += os.read(self._reads, 65536).decode()


def run(short: bool) -> Outcome:
    """Take the link down while one person uses nc and another twisted-chat, and speak to them."""
    outcome = Outcome()
    directory = Path(tempfile.mkdtemp(prefix="chat-"))
    path = directory / "chat.sock"
    options = _SHORT if short else ()
    with ExitStack() as stack:
        server, laptop = stack.enter_context(_link())
        host = _SERVER.partition("/")[0]
        daemon = Daemon(
            "--port", f"unix:{path}", *options, directory=directory, host=host, under=_in(server)
        )
        where = (host, str(stack.enter_context(daemon).port))
        bob = stack.enter_context(_bystander(path))
        bob.type("/register bob wonderland")
        _until(lambda: "* Welcome, bob" in bob.seen, bob)
        alice = stack.enter_context(_program(laptop, "nc", *where))
        alice.type("/register alice wonderland")
        client = str(Path(sys.executable).with_name("twisted-chat"))
        carol = stack.enter_context(
            _program(laptop, client, *where, "--name", "carol", "--guest", "--json")
        )
        _until(lambda: "* alice joined" in bob.seen and "* carol joined" in bob.seen, bob)
        outcome.figures["at first"] = _who(bob)

        _ip("-n", laptop, "link", "set", "cable", "down")
        down = time.monotonic()
        bob.type("are you there?", "/dm alice are you?")
        awaited = {
            "alice, with nc, is gone": lambda: "* alice left" in bob.seen,
            "carol, with twisted-chat, is gone": lambda: "* carol left" in bob.seen,
            "her twisted-chat says so": lambda: "; reconnecting" in carol.seen,
        }
        after = {}

        def look() -> bool:
            for what, happened in awaited.items():
                if what not in after and happened():
                    after[what] = time.monotonic() - down
            return len(after) == len(awaited)

        patience = _PATIENCE / 6 if short else _PATIENCE
        _until(look, bob, carol, patience=patience)
        for what in awaited:
            seconds = after.get(what)
            outcome.promise(seconds is not None, f"not so for {patience:.0f} s: {what}")
            if seconds is not None:
                outcome.figures[what] = f"{seconds:.1f} s after the link went down"
                outcome.target(short or seconds <= _WITHIN, f"over {_WITHIN:.0f} s: {what}")
        outcome.figures["at the end"] = _who(bob)
        with _bystander(path) as again:
            again.type("/login alice wonderland", "/quit")
            _until(lambda: "* bye" in again.seen, again)
        shown = "] bob -> you: are you?" in again.seen
        outcome.promise(shown, "a private message that never arrived counted as read")
    return outcome


def _who(seat: _Seat) -> str:
    """Return the people in the lobby."""
    before = len(seat.seen)
    seat.type("/users")
    _until(lambda: "in the lobby: " in seat.seen[before:], seat)
    return seat.seen[before:].rpartition("in the lobby: ")[2].rstrip()


def _until(come: Callable[[], bool], *seats: _Seat, patience: float = 60) -> None:
    """Read until the condition holds, or time is up."""
    deadline = time.monotonic() + patience
    while not come() and time.monotonic() < deadline:
        for seat in select.select(seats, [], [], 0.1)[0]:
            seat.read()


@contextmanager
def _link() -> Iterator[tuple[str, str]]:
    """Make two network namespaces with a link between them, and yield their names.

    @raise SkipTest: if that is not permitted, or C{ip} is not installed.
    """
    names = [f"chat-{os.getpid()}-{side}" for side in ("server", "laptop")]
    with ExitStack() as stack:
        try:
            for name in names:
                _ip("netns", "add", name)
                stack.callback(_ip, "netns", "del", name)
            server, laptop = names
            _ip(*f"-n {server} link add name cable type veth peer cable netns {laptop}".split())
            for name, address in (server, _SERVER), (laptop, _LAPTOP):
                _ip("-n", name, "address", "add", address, "dev", "cable")
                _ip("-n", name, "link", "set", "cable", "up")
        except (FileNotFoundError, subprocess.CalledProcessError) as error:
            raise SkipTest(f"network namespaces cannot be made: {error}") from None
        yield server, laptop


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


def _in(namespace: str) -> Sequence[str]:
    return ("ip", "netns", "exec", namespace)


@contextmanager
def _program(namespace: str, *command: str) -> Iterator[_Seat]:
    """A program with which somebody joins."""
    process = subprocess.Popen(
        [*_in(namespace), *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        bufsize=0,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield _Seat(process.stdout.fileno(), process.stdin.write)
    finally:
        process.kill()
        process.communicate()


@contextmanager
def _bystander(path: Path) -> Iterator[_Seat]:
    """Somebody who does not use the link."""
    with closing(socket.socket(socket.AF_UNIX)) as sock:
        sock.connect(str(path))
        yield _Seat(sock.fileno(), sock.sendall)
