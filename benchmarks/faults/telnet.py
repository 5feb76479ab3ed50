"""Telnet commands, and other input than lines, as fast as the server reads them."""

import re
import select
import statistics
import time
from concurrent.futures import ProcessPoolExecutor

from benchmarks.load import cpu_seconds
from tests.daemon import Daemon

from .outcome import Outcome
from .people import PATIENCE, attackers, connect, log_in, percentile, see, spread

_EVERY = 0.05
"""Seconds between two lines of the bystander."""

_STREAMS = {
    "NOP": b"\xff\xf1",
    "DO": b"\xff\xfd\x03",
    "AYT": b"\xff\xf6",
    "SB…SE": b"\xff\xfa\x18\x00\xff\xf0",
    "IP": b"\xff\xf4",
    "no newline": b"x",
    "empty lines": b"\n",
    "erase": b"\x7f",
}

_SEEN = re.compile(rb'"from":"bystander","text":"line (\d+)"')


def run(short: bool) -> Outcome:
    """Run one connection and fifty, half of them logged in, while somebody talks."""
    outcome = Outcome()
    with attackers() as pool:
        for count in (10,) if short else (1, 50):
            for stream in ("DO",) if short else _STREAMS:
                _measure(outcome, pool, stream, count, *((1, 0.3) if short else (3, 3.0)))
    return outcome


def _measure(
    outcome: Outcome,
    pool: ProcessPoolExecutor,
    stream: str,
    count: int,
    rounds: int,
    seconds: float,
) -> None:
    what = f"{stream} from {count}"
    latencies: list[float] = []
    cpu = 0.0
    with Daemon(
        # Without the limits on newcomers, which would refuse most of the fifty.
        *("--shared-networks", "", "--connections-per-minute", "0", "--max-waiting", "0"),
        trusted="127.1.0.0/16",
    ) as daemon:
        bystander = Bystander(daemon.port)
        quiet = bystander.talk(seconds)
        for n in range(rounds):
            source = f"127.2.{n}.1"
            sending = pool.submit(send, daemon.port, source, stream, count, seconds + 1)
            time.sleep(0.5)  # until they have joined
            before = cpu_seconds(daemon.pid)
            latencies += bystander.talk(seconds)
            cpu += cpu_seconds(daemon.pid) - before
            sending.result()
        bystander.close()
        log_in(daemon.port, "newcomer", "127.3.0.1").close()
    times = statistics.median(latencies) / statistics.median(quiet)
    p99 = 1000 * percentile(latencies, 0.99)
    outcome.figures[what] = (
        f"median {times:.2f} x; quiet: {spread(quiet)}; then: {spread(latencies)},"
        f" {100 * cpu / rounds / seconds:.0f}% of a processor"
    )
    outcome.target(times <= 3, f"{what}: the median was {times:.2f} x the quiet one")
    outcome.target(p99 <= 100, f"{what}: p99 was {p99:.0f} ms")
    outcome.promise(not bystander.lost, f"{what}: {bystander.lost} receipts were lost")
    outcome.promise("Traceback" not in "".join(daemon.log), f"{what}: a traceback")


class Bystander:
    """Somebody in the lobby who says a line every 50 ms, and waits for no receipt before the next.

    @ivar lost: receipts that did not arrive.
    """

    def __init__(self, port: int) -> None:
        self.lost = 0
        self._said = 0
        self._socket = connect(port, "127.1.0.1")
        self._socket.sendall(b"/json on\n/guest bystander\n")
        see(self._socket, b'"welcome"')

    def close(self) -> None:
        self._socket.close()

    def talk(self, seconds: float) -> list[float]:
        """Talk for this many seconds, and return the seconds that each receipt took."""
        said: dict[int, float] = {}
        latencies: list[float] = []
        rest = b""
        due = time.perf_counter()
        until = due + seconds
        while time.perf_counter() < until or (said and time.perf_counter() < until + PATIENCE):
            now = time.perf_counter()
            if due <= now < until:
                self._said += 1
                said[self._said] = now
                self._socket.sendall(b"line %d\n" % self._said)
                due += _EVERY
            wait = min(_EVERY, max(0.0, due - time.perf_counter()))
            if not select.select([self._socket], [], [], wait if now < until else _EVERY)[0]:
                continue
            whole, _, rest = (rest + self._socket.recv(262144)).rpartition(b"\n")
            arrived = time.perf_counter()
            latencies += [arrived - said.pop(int(n)) for n in _SEEN.findall(whole)]
        self.lost += len(said)
        return latencies


def send(port: int, source: str, stream: str, count: int, seconds: float) -> int:
    """Send a stream on this many connections, every other of them logged in, as fast as the server
    takes it, and read what it sends. Returns the bytes sent."""
    poll = select.epoll()
    by_fd = {}
    for n in range(count):
        sock = connect(port, source)
        if n % 2:
            sock.sendall(b"/guest\n")
            see(sock, b"the commands.\n")
        sock.setblocking(False)
        by_fd[sock.fileno()] = sock
        poll.register(sock.fileno(), select.EPOLLIN | select.EPOLLOUT)
    data = _STREAMS[stream] * (60_000 // len(_STREAMS[stream]))
    until = time.monotonic() + seconds
    sent = 0
    while by_fd and time.monotonic() < until:
        for fd, events in poll.poll(0.1):
            try:
                if events & select.EPOLLIN and not by_fd[fd].recv(1024 * 1024):
                    raise ConnectionError
                if events & select.EPOLLOUT:
                    sent += by_fd[fd].send(data)
            except BlockingIOError:
                continue
            except ConnectionError:  # it was cut off
                poll.unregister(fd)
                by_fd.pop(fd).close()
    for sock in by_fd.values():
        sock.close()
    return sent
