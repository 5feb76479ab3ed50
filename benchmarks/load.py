"""The load: many connections, held by one thread that does little but receive.

The server is charged with its own processor time, from C{/proc}. The processor time of the load is
counted separately; it shows which of the two waited for the other.
"""

import resource
import select
import socket
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .servers import Server

PATIENCE = 120.0
"""Seconds until something that is awaited counts as lost."""


@dataclass(slots=True)
class Reading:
    """The figures of one measurement.

    @ivar cpu: seconds of the server's processor time.
    @ivar load_cpu: seconds of the load's processor time.
    @ivar wall: seconds from the first line sent to the last one received.
    @ivar latencies: for each message that was sent alone, seconds until the last reader had it.
    """

    deliveries: int
    cpu: float
    load_cpu: float
    wall: float
    latencies: list[float] = field(default_factory=list)


class Crowd:
    """Connections to one server."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.sockets: list[socket.socket] = []
        self._epoll = select.epoll()
        self._by_fd: dict[int, socket.socket] = {}
        self._buffer = bytearray(1024 * 1024)

    def close(self) -> None:
        """Reset all connections, so that no port stays in TIME_WAIT."""
        for sock in self.sockets:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.close()
        self._epoll.close()

    def grow(self, count: int, *, idle: bool = False, at_a_time: int = 200) -> None:
        """Connect and log in this many more clients, and wait until all have logged in.

        @param idle: these clients will say nothing and hear nothing.
        """
        while count > 0:
            batch = min(count, at_a_time)
            before = len(self.sockets)
            self.connect(batch)
            self._log_in(before, self.server.idle if idle else self.server.hello)
            count -= batch
        self.quiet()

    def connect(self, count: int) -> None:
        """Open this many more connections, from several addresses, without sending anything."""
        for _ in range(count):
            sock = socket.socket()
            number = len(self.sockets)
            sock.bind((f"127.0.0.{2 + number // 5000}", 0))
            sock.connect(("127.0.0.1", self.server.port))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setblocking(False)
            self.sockets.append(sock)
            self._by_fd[sock.fileno()] = sock
            self._epoll.register(sock.fileno(), select.EPOLLIN)

    def _log_in(self, first: int, hello: Callable[[int], Sequence[tuple[bytes, bytes]]]) -> None:
        """Log in the clients from this index on, and wait until all have logged in."""
        steps = {
            sock.fileno(): list(hello(number))
            for number, sock in enumerate(self.sockets[first:], first)
        }
        waiting = {fd: b"" for fd, step in steps.items() if step}
        for fd in waiting:
            self._by_fd[fd].sendall(steps[fd][0][0])
        deadline = time.perf_counter() + PATIENCE
        while waiting:
            if time.perf_counter() > deadline:
                raise TimeoutError(f"{len(waiting)} were not logged in")
            for fd, data in self._received():
                if fd not in waiting:
                    continue
                waiting[fd] += data
                if steps[fd][0][1] in waiting[fd]:
                    del steps[fd][0]
                    waiting[fd] = b""
                    if steps[fd]:
                        self._by_fd[fd].sendall(steps[fd][0][0])
                    else:
                        del waiting[fd]

    def come_in_at_once(self) -> float:
        """Log in all connected clients at once.

        @return: seconds until all have logged in.
        """
        began = time.perf_counter()
        self._log_in(0, self.server.hello)
        return time.perf_counter() - began

    def quiet(self, seconds: float = 0.3) -> None:
        """Receive until nothing arrives for a while."""
        while self._received(seconds):
            pass

    def _received(self, timeout: float = 1.0) -> list[tuple[int, bytes]]:
        got = []
        for fd, _ in self._epoll.poll(timeout):
            size = self._by_fd[fd].recv_into(self._buffer)
            if not size:
                raise ConnectionError(f"{self.server.name} hung up on the load")
            got.append((fd, bytes(self._buffer[:size])))
        return got

    def receive_lines(self, count: int) -> None:
        """Receive until this many lines have come, over all connections."""
        deadline = time.perf_counter() + PATIENCE
        view, buffer, by_fd = memoryview(self._buffer), self._buffer, self._by_fd
        while count > 0:
            ready = self._epoll.poll(1.0)
            for fd, _ in ready:
                size = by_fd[fd].recv_into(view)
                count -= buffer.count(b"\n", 0, size)
            if not ready and time.perf_counter() > deadline:
                raise TimeoutError(f"{count} lines of {self.server.name} did not come")

    def one_at_a_time(self, messages: int, readers: int) -> Reading:
        """Let one client speak. It sends the next message when every reader has the last one."""
        speaker = self.sockets[0]
        latencies: list[float] = []

        def speak() -> None:
            for number in range(messages):
                began = time.perf_counter()
                speaker.sendall(_message(self.server, number))
                self.receive_lines(readers)
                latencies.append(time.perf_counter() - began)

        reading = self._measure(speak, messages * readers)
        reading.latencies = latencies
        return reading

    def pipelined(self, senders: int, messages: int) -> Reading:
        """Let several clients send all their messages at once. Each goes to all other clients."""
        everyone = len(self.sockets)
        batch = b"".join(_message(self.server, number) for number in range(messages))
        deliveries = senders * messages * (everyone - 1)

        def speak() -> None:
            for sock in self.sockets[:senders]:
                sock.setblocking(True)
                sock.sendall(batch)
                sock.setblocking(False)
            self.receive_lines(deliveries)

        return self._measure(speak, deliveries)

    def pipe(self, lines: int) -> Reading:
        """Let the first client pipe lines as fast as the server takes them, and all others read.
        Ends when the first reader has the last line, which is then committed and delivered."""
        speaker, reader = self.sockets[0], self.sockets[1]
        text = memoryview(b"".join(_message(self.server, number) for number in range(lines)))

        def speak() -> None:
            waiting, left = text, lines
            self._epoll.modify(speaker.fileno(), select.EPOLLIN | select.EPOLLOUT)
            deadline = time.perf_counter() + PATIENCE
            while left > 0:
                for fd, events in self._epoll.poll(1.0):
                    if events & select.EPOLLOUT:
                        waiting = waiting[speaker.send(waiting[: 256 * 1024]) :]
                        if not waiting:
                            self._epoll.modify(fd, select.EPOLLIN)
                    if events & select.EPOLLIN:
                        size = self._by_fd[fd].recv_into(self._buffer)
                        if fd == reader.fileno():
                            left -= self._buffer.count(b"\n", 0, size)
                if time.perf_counter() > deadline:
                    raise TimeoutError(f"{left} lines did not come")

        return self._measure(speak, lines)

    def _measure(self, work: Callable[[], None], deliveries: int) -> Reading:
        cpu, load_cpu, began = cpu_seconds(self.server.pid), own_cpu(), time.perf_counter()
        work()
        wall = time.perf_counter() - began
        load_cpu = own_cpu() - load_cpu
        # The server's remaining work for the last message is part of its cost.
        cpu = settled_cpu_seconds(self.server.pid) - cpu
        return Reading(deliveries, cpu, load_cpu, wall)


def _message(server: Server, number: int) -> bytes:
    return b"%smessage %06d of the benchmark\r\n" % (server.prefix, number)


def cpu_seconds(pid: int) -> float:
    """Return the processor time of a process and all its threads so far, in seconds, exact to the
    nanosecond."""
    total = 0
    for thread in Path(f"/proc/{pid}/task").iterdir():
        total += int((thread / "schedstat").read_text().split()[0])
    return total / 1e9


def settled_cpu_seconds(pid: int) -> float:
    """Wait until the processor time of a process stops growing, and return it."""
    before = cpu_seconds(pid)
    for _ in range(50):
        time.sleep(0.05)
        after = cpu_seconds(pid)
        if after - before < 0.001:
            return after
        before = after
    return before


def resident_bytes(pid: int) -> int:
    """Return the private memory of a process that is in RAM, in bytes (C{Private_*} of
    C{smaps_rollup})."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return 1024 * sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))


def own_cpu() -> float:
    """Return the processor time of this process so far, in seconds."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
