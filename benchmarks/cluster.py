"""Measures nodes on one PostgreSQL, and one on SQLite, in turn, and prints one table.

    python -m benchmarks.cluster [--short] [--rounds N] [--plot FILE] [--only NAME ...]

All of it runs on this machine: the nodes, PostgreSQL, whose flushes reach the disk, and the load.
"""

import argparse
import itertools
import re
import select
import socket
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from unittest import SkipTest

from tests.postgres import Server as Postgres

from .__main__ import Figures, machine, table
from .load import PATIENCE, cpu_seconds, own_cpu
from .plot import plot_nodes
from .servers import TwistedChat


@dataclass(frozen=True)
class Size:
    """The size of a run.

    @ivar lines: that are piped, of all nodes together.
    @ivar seconds: of messages at a given pace.
    """

    rounds: int
    lines: int
    seconds: float


FULL = Size(rounds=5, lines=60_000, seconds=10)
SHORT = Size(rounds=1, lines=2000, seconds=1)

PACE = 1000
"""Messages a second."""

SENDERS = 20

SETUPS: Mapping[str, int] = {"SQLite": 0, "1 node": 1, "2 nodes": 2, "4 nodes": 4}
"""Name -> nodes on PostgreSQL; 0 for one on SQLite."""

PIPED = "lines/s piped by one client, committed and delivered"
SATURATED = "lines/s piped at every node, committed and delivered on every node"
RECEIPT = "ms to the receipt at 1,000 messages/s"
HERE = "ms to a reader at the same node"
ELSEWHERE = "ms to a reader at another node"

MEASURES: dict[str, str] = {
    f"N3 {PIPED}": "{:,.0f}",
    "CPU µs a line at the node it was said on, and heard": "{:.1f}",
    "CPU µs a line at a node where nobody hears it": "{:.1f}",
    "CPU µs a line in PostgreSQL": "{:.1f}",
    f"N2 {SATURATED}": "{:,.0f}",
    "N2 CPU of the nodes, of the wall time": "{:.2f}",
    "N2 CPU of PostgreSQL, of the wall time": "{:.2f}",
    "N2 CPU of the load, of the wall time": "{:.2f}",
    **{
        f"N1 {what}, {cut}": "{:.1f}"
        for what, cut in itertools.product((RECEIPT, HERE, ELSEWHERE), ("p50", "p99"))
    },
}

_TIMED = re.compile(rb"timed(\d+)n(\d+)\.")


class Node(TwistedChat):
    """A node on a database."""

    name = "node"

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url

    def command(self) -> Sequence[str]:
        return [*super().command(), "--database", self._url]


class Talk:
    """A reader at each node, and people who talk there, each in a room of their own which all
    readers hear."""

    def __init__(self, nodes: Sequence[Node], senders: int, *, json: bool) -> None:
        """
        @param json: whether the senders are told of their own messages.
        """
        self.nodes = nodes
        self.senders = [
            (number % len(nodes), _log_in(nodes[number % len(nodes)], f"s{number}", json))
            for number in range(senders)
        ]
        for number, (_, sender) in enumerate(self.senders):
            _ask(sender, f"/join r{number}", b'"talking"' if json else b" in #")
        self.readers = [_log_in(node, f"reader{n}", False) for n, node in enumerate(nodes)]
        for reader in self.readers:
            for number in range(senders):
                _ask(reader, f"/join r{number}", b" in #")
        self._sockets = {sock.fileno(): sock for _, sock in self.senders}
        self._sockets |= {sock.fileno(): sock for sock in self.readers}
        self._epoll = select.epoll()
        for number, sock in self._sockets.items():
            sock.setblocking(False)
            self._epoll.register(number, select.EPOLLIN)
        self._buffer = bytearray(1024 * 1024)
        time.sleep(0.3)  # some of the answers to join
        while self._epoll.poll(0.3):
            for number, _ in self._epoll.poll(0):
                self._sockets[number].recv_into(self._buffer)

    def close(self) -> None:
        self._epoll.close()
        for sock in self._sockets.values():
            sock.close()

    def pace(self, seconds: float, pace: float) -> Mapping[str, list[float]]:
        """Let them talk at a pace, and return for each kind of way how many seconds it took."""
        times: dict[str, list[float]] = {RECEIPT: [], HERE: [], ELSEWHERE: []}
        at = {sock.fileno(): node for node, sock in enumerate(self.readers)}
        said = 0
        began = time.perf_counter()
        wanted = int(seconds * pace)
        total = wanted * (1 + len(self.readers))
        got = 0
        while got < total:
            now = time.perf_counter()
            if now - began > seconds + PATIENCE:
                raise TimeoutError(f"{total - got} messages did not come")
            while said < wanted and began + said / pace <= now:
                node, sock = self.senders[said % len(self.senders)]
                sock.send(b"timed%dn%d.\n" % (time.perf_counter_ns(), node))
                said += 1
            left = began + said / pace - time.perf_counter() if said < wanted else 0.5
            for number, _ in self._epoll.poll(max(0.0, left)):
                size = self._sockets[number].recv_into(self._buffer)
                arrived = time.perf_counter_ns()
                for match in _TIMED.finditer(self._buffer, 0, size):
                    got += 1
                    reader = at.get(number)
                    way = (
                        RECEIPT
                        if reader is None
                        else HERE
                        if int(match[2]) == reader
                        else ELSEWHERE
                    )
                    times[way].append((arrived - int(match[1])) / 1e9)
        return times

    def pipe(self, lines: int) -> float:
        """Let all senders pipe lines, so many together, as fast as they are taken.

        @return: seconds until all readers have all of them.
        """
        each = lines // len(self.senders)
        text = memoryview(b"".join(b"message %06d of the benchmark\n" % n for n in range(each)))
        waiting = {sock.fileno(): text for _, sock in self.senders}
        left = {sock.fileno(): each * len(self.senders) for sock in self.readers}
        for number in waiting:
            self._epoll.modify(number, select.EPOLLIN | select.EPOLLOUT)
        began = time.perf_counter()
        while any(count > 0 for count in left.values()):
            for number, events in self._epoll.poll(1.0):
                if events & select.EPOLLOUT:
                    sent = self._sockets[number].send(waiting[number][: 256 * 1024])
                    waiting[number] = waiting[number][sent:]
                    if not waiting[number]:
                        self._epoll.modify(number, select.EPOLLIN)
                if events & select.EPOLLIN:
                    size = self._sockets[number].recv_into(self._buffer)
                    if number in left:
                        left[number] -= self._buffer.count(b"\n", 0, size)
            if time.perf_counter() - began > PATIENCE:
                raise TimeoutError(f"{left} lines did not come")
        return time.perf_counter() - began


def _log_in(node: Node, name: str, json: bool) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", node.port), PATIENCE)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if json:
        sock.sendall(b"/json on\n")
    _ask(sock, f"/guest {name}", b'"history"' if json else b"the commands.\n")
    return sock


def _ask(sock: socket.socket, line: str, expected: bytes) -> None:
    sock.sendall(f"{line}\n".encode())
    received = b""
    while expected not in received:
        data = sock.recv(65536)
        if not data:
            raise ConnectionError(f"{line} was answered with {received!r}")
        received += data


class Processor:
    """The processor time of processes since it was last asked for."""

    def __init__(self, pids: Callable[[], Sequence[int]]) -> None:
        """
        @param pids: returns the ids of the processes.
        """
        self._pids = pids
        self._before = self._now()

    def seconds(self) -> float:
        """Return the seconds since the last call, or since this was made."""
        now, before = self._now(), self._before
        self._before = now
        return sum(seconds - before.get(pid, 0.0) for pid, seconds in now.items())

    def _now(self) -> dict[int, float]:
        return {pid: cpu_seconds(pid) for pid in self._pids()}


def family(pid: int) -> Sequence[int]:
    """Return a process and its children."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [pid, *map(int, children.split())]


def measure(
    nodes: Sequence[Node], database: Postgres | None, size: Size
) -> Iterator[tuple[str, float]]:
    """Put load on the nodes, and yield each measure with its figure."""
    first, *others = nodes
    used = [Processor(lambda node=node: [node.pid]) for node in nodes]  # type: ignore[misc]
    postgres = Processor(lambda: family(database.pid) if database is not None else [])

    talk = Talk([first], 1, json=False)
    try:
        talk.pipe(size.lines // 10)  # fills what is empty after the start
        for each in (*used, postgres):
            each.seconds()
        wall = talk.pipe(size.lines)
        time.sleep(0.5)  # what the others still have to do belongs to it
        at_each = [1e6 * each.seconds() / size.lines for each in used]
        in_postgres = 1e6 * postgres.seconds() / size.lines
    finally:
        talk.close()
    yield f"N3 {PIPED}", size.lines / wall
    yield "CPU µs a line at the node it was said on, and heard", at_each[0]
    if others:
        yield "CPU µs a line at a node where nobody hears it", statistics.mean(at_each[1:])
    if database is not None:
        yield "CPU µs a line in PostgreSQL", in_postgres

    talk = Talk(nodes, len(nodes), json=False)
    try:
        for each in (*used, postgres):
            each.seconds()
        load = own_cpu()
        wall = talk.pipe(size.lines)
        load = own_cpu() - load
        yield f"N2 {SATURATED}", size.lines / wall
        yield "N2 CPU of the nodes, of the wall time", sum(each.seconds() for each in used) / wall
        if database is not None:
            yield "N2 CPU of PostgreSQL, of the wall time", postgres.seconds() / wall
        yield "N2 CPU of the load, of the wall time", load / wall
    finally:
        talk.close()

    talk = Talk(nodes, SENDERS, json=True)
    try:
        for what, times in talk.pace(size.seconds, PACE).items():
            if times:
                cuts = statistics.quantiles((1000 * each for each in times), n=100)
                yield f"N1 {what}, p50", cuts[49]
                yield f"N1 {what}, p99", cuts[98]
    finally:
        talk.close()


def run(size: Size, only: Sequence[str]) -> Figures:
    """Measure everything: in each round, all setups in turn.

    @raise SkipTest: if PostgreSQL is not installed.
    """
    figures: Figures = defaultdict(lambda: defaultdict(list))
    with ExitStack() as stack:
        postgres = Postgres(on_disk=True)
        stack.callback(postgres.close)
        ((running,),) = postgres.execute("SHOW server_version")
        print(f"{machine()}, PostgreSQL {running}")
        for number in range(size.rounds):
            print(f"round {number + 1} of {size.rounds}", flush=True)
            for name, count in SETUPS.items():
                if not only or name in only:
                    for measure_, figure in _in_a_setup(postgres, count, size):
                        figures[measure_][name].append(figure)
    return figures


def _in_a_setup(postgres: Postgres, count: int, size: Size) -> Iterator[tuple[str, float]]:
    url = "sqlite:///chat.db"
    if count:
        postgres.execute("DROP DATABASE IF EXISTS bench WITH (FORCE)")
        postgres.execute("CREATE DATABASE bench OWNER chat TEMPLATE template0")
        url = postgres.url("bench")
    with ExitStack() as stack:
        nodes = [Node(url) for _ in range(count or 1)]
        for node in nodes:
            stack.callback(node.stop)
            node.start()
        yield from measure(nodes, postgres if count else None, size)


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="see that it works; no figures to use")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--plot", help="a PNG file to draw the figures into")
    parser.add_argument("--only", nargs="+", default=(), help=", ".join(SETUPS))
    chosen = parser.parse_args()
    size = SHORT if chosen.short else FULL
    if chosen.rounds:
        size = replace(size, rounds=chosen.rounds)
    try:
        figures = run(size, chosen.only)
    except SkipTest as missing:
        sys.exit(str(missing))
    print(f"{size}\n{table(figures, MEASURES)}")
    if chosen.plot:
        plot_nodes(figures, chosen.plot)


if __name__ == "__main__":
    main()
