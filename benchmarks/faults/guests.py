"""Guests who pipeline messages in JSON mode, and keep the events that they receive."""

import json
import select
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any

_WINDOW = 400
"""Messages that one guest has in flight at once. The server reads no more than 500."""

_TURN = 50
"""Messages in one write."""


class Guest:
    """A guest.

    @ivar said: messages sent so far.
    @ivar receipts: its own messages that came back so far.
    @ivar refused: refusals so far.
    """

    def __init__(self, port: int, name: str, room: str = "lobby") -> None:
        self.name = name
        self.room = room
        self.said = self.receipts = self.refused = 0
        self._own = b'"from":"%s"' % name.encode()
        self._rest = b""
        self._chunks: list[bytes] = []
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        hello = f"/json on\n/guest {name}\n"
        if room != "lobby":
            hello += f"/join {room}\n"
        self.socket.sendall(hello.encode() + b"/topic\n")
        while b'"event":"topic","time"' not in self._rest and b'"topic":' not in self._rest:
            data = self.socket.recv(65536)
            assert data, "the daemon closed the connection"
            self._rest += data
        self._rest = b""

    def say(self, text: Callable[[int], str]) -> None:
        """Send as many messages as the window allows.

        @param text: returns the text of the message with this number.
        """
        on_the_way = self.said - self.receipts - self.refused
        if on_the_way + _TURN <= _WINDOW:
            lines = "".join(f"{text(n)}\n" for n in range(self.said, self.said + _TURN))
            self.socket.sendall(lines.encode())
            self.said += _TURN

    def receive(self) -> bool:
        """Receive what has arrived. Returns whether more may come."""
        try:
            data = self.socket.recv(1024 * 1024)
        except ConnectionError:
            return False
        whole, newline, rest = data.rpartition(b"\n")
        if newline:
            whole, self._rest = self._rest + whole + newline, rest
            self.receipts += whole.count(self._own)
            self.refused += whole.count(b'"event":"error"')
            self._chunks.append(whole)
        else:
            self._rest += data
        return bool(data)

    def peek(self) -> list[dict[str, Any]]:
        """Return all events since the last L{take}."""
        return [json.loads(line) for chunk in self._chunks for line in chunk.splitlines()]

    def take(self) -> list[dict[str, Any]]:
        """Return all events since the last call."""
        chunks, self._chunks = self._chunks, []
        return [json.loads(line) for chunk in chunks for line in chunk.splitlines()]


def ask(port: int, *lines: str) -> list[dict[str, Any]]:
    """Send these lines on a new connection, and return the answers until it is closed."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as sock:
        sock.sendall("".join(f"{line}\n" for line in ("/json on", *lines)).encode())
        sock.shutdown(socket.SHUT_WR)
        answers = b""
        while data := sock.recv(65536):
            answers += data
    return [json.loads(line) for line in answers.splitlines() if line.startswith(b"{")]


def talk(
    guests: Sequence[Guest],
    text: Callable[[Guest, int], str],
    until: Callable[[], bool],
    pace: float = 1e9,
) -> None:
    """Let all guests talk at once.

    @param until: returns whether to stop; called about a thousand times a second.
    @param pace: the most messages a second, of all together.
    """
    began = time.monotonic()
    before = sum(guest.said for guest in guests)
    by_socket = {guest.socket: guest for guest in guests}
    while not until():
        allowed = pace * (time.monotonic() - began)
        for guest in guests:
            if sum(each.said for each in guests) - before < allowed:
                guest.say(lambda n, guest=guest: text(guest, n))  # type: ignore[misc]
        for sock in select.select(list(by_socket), [], [], 0.002)[0]:
            by_socket[sock].receive()


def hear_out(guests: Sequence[Guest], seconds: float = 20) -> None:
    """Receive until every message has come back or was refused."""
    deadline = time.monotonic() + seconds
    waiting = [g for g in guests if g.receipts + g.refused < g.said]
    while waiting and time.monotonic() < deadline:
        for sock in select.select([g.socket for g in waiting], [], [], 0.1)[0]:
            next(g for g in waiting if g.socket is sock).receive()
        waiting = [g for g in waiting if g.receipts + g.refused < g.said]
