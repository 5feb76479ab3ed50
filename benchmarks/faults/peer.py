"""The other end of a connection, which reads all it gets."""

import socket
from types import TracebackType

PATIENCE = 60.0
"""Seconds until what is awaited counts as lost."""


class Peer:
    """A bare connection to a port of loopback."""

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
        """Read until this has come; gives back what came before it.

        @raise ConnectionError: if the connection ends instead.
        """
        while expected not in self._received:
            if not self.take():
                raise ConnectionError(f"{expected!r} did not come, only {self._received!r}")
        before, _, self._received = self._received.partition(expected)
        return before

    def take(self) -> int:
        """Read once; gives back how many bytes came."""
        data = self.socket.recv(262144)
        self._received += data
        return len(data)

    def line(self) -> bytes:
        """The next line, without its end."""
        return self.see(b"\n")

    def rest(self) -> bytes:
        """Everything until the connection ends, be it with a reset."""
        try:
            while self.take():
                pass
        except ConnectionError:
            pass
        rest, self._received = self._received, b""
        return rest
