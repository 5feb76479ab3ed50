"""People who chat during a fault, and how long their messages take to arrive."""

import multiprocessing
import re
import resource
import select
import socket
import statistics
import struct
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor

PATIENCE = 60.0
"""Seconds until something that is awaited counts as lost."""

NOBODY = ""
"""C{--trusted-networks} of a daemon that treats all of loopback as strangers."""

_TIMED = re.compile(rb"timed(\d+)\.")


class People:
    """Guests in one room who speak in turn.

    @ivar lost: deliveries that did not arrive.
    """

    def __init__(
        self, port: int, count: int, name: str = "person", room: str = "", source: str = "127.1.0.1"
    ) -> None:
        """
        @param room: the room in which they talk; the lobby if empty.
        @param source: the address from which they connect.
        """
        self.sockets: list[socket.socket] = []
        self.lost = 0
        self._said = 0
        self._epoll = select.epoll()
        self._by_fd: dict[int, socket.socket] = {}
        for number in range(count):
            sock = log_in(port, f"{name}{number}", source, room)
            self.sockets.append(sock)
            self._by_fd[sock.fileno()] = sock
            self._epoll.register(sock.fileno(), select.EPOLLIN)

    def close(self) -> None:
        """Close their connections."""
        self._epoll.close()
        for sock in self.sockets:
            sock.close()

    def chat(self, seconds: float, pace: float) -> list[float]:
        """Let them talk for this many seconds.

        @param pace: messages a second, of all together.
        @return: the seconds that each delivery took.
        """
        said: dict[int, float] = {}
        latencies: list[float] = []
        until = time.perf_counter() + seconds
        due = time.perf_counter()
        while True:
            now = time.perf_counter()
            expected = len(said) * (len(self.sockets) - 1)
            if now >= until and (len(latencies) == expected or now > until + PATIENCE):
                self.lost += expected - len(latencies)
                return latencies
            if due <= now < until:
                said[self._said] = now
                self.sockets[self._said % len(self.sockets)].sendall(b"timed%d.\n" % self._said)
                self._said += 1
                due += 1 / pace
            wait = max(0.0, (due if now < until else now + 0.1) - time.perf_counter())
            for fd, _ in self._epoll.poll(wait):
                data = self._by_fd[fd].recv(65536)
                if not data:
                    raise ConnectionError("the daemon hung up on people who chat")
                arrived = time.perf_counter()
                for match in _TIMED.finditer(data):
                    if int(match[1]) in said:
                        latencies.append(arrived - said[int(match[1])])


def log_in(port: int, name: str, source: str = "127.1.0.1", room: str = "") -> socket.socket:
    """Connect and join as a guest, and join a room if one is given."""
    sock = connect(port, source)
    sock.sendall(f"/guest {name}\n".encode())
    see(sock, b"the commands.\n")
    if room:
        sock.sendall(f"/join {room}\n".encode())
        see(sock, f" in #{room}".encode())
    return sock


def connect(port: int, source: str) -> socket.socket:
    """Connect from this address."""
    sock = socket.create_connection(("127.0.0.1", port), PATIENCE, (source, 0))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def see(sock: socket.socket, expected: bytes) -> bytes:
    """Receive until these bytes have come, and return everything received."""
    received = b""
    while expected not in received:
        data = sock.recv(65536)
        if not data:
            raise ConnectionError(f"{expected!r} did not come, only {received!r}")
        received += data
    return received


def reset(sock: socket.socket) -> None:
    """Close a connection with a RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def attackers(count: int = 1) -> ProcessPoolExecutor:
    """Return separate processes for attackers, so that they do not delay the measurement."""
    return ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn"))


def raise_descriptors() -> None:
    """Raise the open-file limit of this process, and those that it starts, as far as allowed."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that this share of the values does not exceed."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def spread(values: Sequence[float]) -> str:
    """Return the median, the 99th percentile and the worst, in milliseconds, as text."""
    if not values:
        return "none"
    shown = (statistics.median(values), percentile(values, 0.99), max(values))
    return "median {:.1f} ms, p99 {:.1f} ms, worst {:.1f} ms".format(*(1000 * v for v in shown))


def ratio(quiet: Sequence[Sequence[float]], storm: Sequence[Sequence[float]]) -> tuple[float, str]:
    """Compare the latencies during a fault with those of the quiet time before it.

    @param quiet: latencies, for each round.
    @return: the median, over the rounds, of the ratio of the 99th percentiles; and as text.
    """
    quotients = [
        percentile(loud, 0.99) / percentile(still, 0.99)
        for still, loud in zip(quiet, storm, strict=True)
    ]
    median = statistics.median(quotients)
    still = spread([latency for latencies in quiet for latency in latencies])
    loud = spread([latency for latencies in storm for latency in latencies])
    rounds = ", ".join(f"{quotient:.2f}" for quotient in quotients)
    return median, f"p99 {median:.2f} x ({rounds}); quiet: {still}; then: {loud}"
