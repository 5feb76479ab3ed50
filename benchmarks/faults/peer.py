"""A client connection that reads everything it is sent."""

import socket
from types import TracebackType

PATIENCE = 60.0
"""Seconds until something that is awaited counts as lost."""


class Peer:
    """A bare connection to a port on loopback."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received = b""

    def __enter__(self) -> "Peer":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self.socket.close()

    def send(self, data: str | bytes) -> None:
        self.socket.sendall(data.encode() if isinstance(data, str) else data)

    def see(self, expected: bytes) -> bytes:
        """Read until these bytes have come, and return what came before them.

        @raise ConnectionError: if the connection ends instead.
        """
        while expected not in self._received:
            if not self.take():
                raise ConnectionError(f"{expected!r} did not come, only {self._received!r}")
        before, _, self._received = self._received.partition(expected)
        return before

    def take(self) -> int:
        """Read once, and return how many bytes came."""
        data = self.socket.recv(262144)
        self._received += data
        return len(data)

    def line(self) -> bytes:
        """Return the next line, without its end."""
        return self.see(b"\n")

    def rest(self) -> bytes:
        """Return everything until the connection ends, even with a reset."""
        try:
            while self.take():
                pass
        except ConnectionError:
            pass
        rest, self._received = self._received, b""
        return rest
