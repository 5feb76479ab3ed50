"""Measures all servers in turn, in several rounds, and prints one table.

    python -m benchmarks [--short] [--rounds N] [--plot FILE] [--only NAME ...]

Needs a loopback without other traffic and, for the full size, 12,000 open files. Servers that are
not installed are skipped, with a sentence.
"""

import argparse
import os
import platform
import resource
import sqlite3
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version

from .load import Crowd, Reading, resident_bytes
from .plot import plot
from .servers import ALL, Floor, Missing, Server, TwistedChat

Figures = dict[str, dict[str, list[float]]]  # measure -> server -> one figure a round


@dataclass(frozen=True)
class Size:
    """The size of a run.

    @ivar readers: readers of each message, with a connection each.
    """

    rounds: int
    readers: int
    messages: int
    pipelined: int
    piped: int
    idle: int
    crowd: int


FULL = Size(
    rounds=5, readers=1000, messages=200, pipelined=200, piped=100_000, idle=10_000, crowd=10_000
)
SHORT = Size(rounds=1, readers=100, messages=20, pipelined=20, piped=2000, idle=200, crowd=300)

SENDERS = 10

# Measure -> format of its figures.
MEASURES: dict[str, str] = {
    "S1 deliveries/s of server CPU, one at a time": "{:,.0f}",
    "S1 of the bare C sender in the same round": "{:.2f}",
    "S1 ms until the last reader has it, p50": "{:.1f}",
    "S1 ms until the last reader has it, p99": "{:.1f}",
    "S1 CPU of the load, of its wall time": "{:.2f}",
    "S2 deliveries/s of server CPU, pipelined": "{:,.0f}",
    "S2 wall s": "{:.2f}",
    "S3 lines/s committed and delivered": "{:,.0f}",
    "S4 KiB for each idle session": "{:.2f}",
    "S5 s until a crowd that comes at once is in": "{:.1f}",
    "S6 CPU for a delivery, in a crowd against 100": "{:.2f}",
    "S8 s from start to accepting": "{:.2f}",
}


def measure(server: Server, size: Size, figures: Figures) -> Iterator[tuple[str, float]]:
    """Start a server, put load on it, and yield each measure with its figure."""
    yield "S8 s from start to accepting", server.start()
    crowd = Crowd(server)
    try:
        crowd.grow(size.readers + 1)
        reading = crowd.one_at_a_time(size.messages, size.readers)
        per_cpu = reading.deliveries / reading.cpu
        yield "S1 deliveries/s of server CPU, one at a time", per_cpu
        floor = figures["S1 deliveries/s of server CPU, one at a time"].get(Floor.name)
        if floor:
            yield "S1 of the bare C sender in the same round", per_cpu / floor[-1]
        yield from _latencies(reading)
        yield "S1 CPU of the load, of its wall time", reading.load_cpu / reading.wall
        crowd.quiet()
        reading = crowd.pipelined(SENDERS, size.pipelined)
        yield "S2 deliveries/s of server CPU, pipelined", reading.deliveries / reading.cpu
        yield "S2 wall s", reading.wall
    finally:
        crowd.close()


def _latencies(reading: Reading) -> Iterator[tuple[str, float]]:
    milliseconds = [1000 * seconds for seconds in reading.latencies]
    cuts = statistics.quantiles(milliseconds, n=100)
    yield "S1 ms until the last reader has it, p50", cuts[49]
    yield "S1 ms until the last reader has it, p99", cuts[98]


def measure_memory(server: Server, size: Size) -> Iterator[tuple[str, float]]:
    """Measure the memory of a session that has logged in and says nothing."""
    server.start()
    crowd = Crowd(server)
    idle = min(size.idle, server.most_idle)
    try:
        crowd.grow(idle // 5, idle=True)  # these fill memory that was free after the start
        before = resident_bytes(server.pid)
        crowd.grow(idle, idle=True)
        grown = resident_bytes(server.pid) - before
        yield "S4 KiB for each idle session", grown / idle / 1024
    finally:
        crowd.close()


def measure_pipe(server: Server, size: Size) -> Iterator[tuple[str, float]]:
    """Measure one client that pipes lines, and one that reads them."""
    server.start()
    crowd = Crowd(server)
    try:
        crowd.grow(2)
        yield "S3 lines/s committed and delivered", size.piped / crowd.pipe(size.piped).wall
    finally:
        crowd.close()


def measure_crowd(server: Server, size: Size) -> Iterator[tuple[str, float]]:
    """Measure a crowd that joins at once, and the cost of a delivery in it."""
    server.start()
    crowd = Crowd(server)
    try:
        crowd.grow(101)
        few = crowd.one_at_a_time(10 * size.messages, 100)
    finally:
        crowd.close()
    crowd = Crowd(server)
    try:
        crowd.connect(size.crowd)
        yield "S5 s until a crowd that comes at once is in", crowd.come_in_at_once()
        crowd.quiet(3.0)
        many = crowd.one_at_a_time(max(10, size.messages // 10), size.crowd - 1)
        ratio = (many.cpu / many.deliveries) / (few.cpu / few.deliveries)
        yield "S6 CPU for a delivery, in a crowd against 100", ratio
    finally:
        crowd.close()


def run(size: Size, only: Sequence[str]) -> Figures:
    """Measure everything: in each round, all servers in turn."""
    figures: Figures = defaultdict(lambda: defaultdict(list))
    kinds = [kind for kind in ALL if not only or kind.name in only]
    absent: set[type[Server]] = set()

    def take(kind: type[Server], work: Callable[[Server], Iterator[tuple[str, float]]]) -> None:
        if kind in absent:
            return
        server = kind()
        try:
            for name, figure in work(server):
                figures[name][kind.name].append(figure)
        except Missing as missing:
            absent.add(kind)
            print(f"{kind.name} is skipped: {missing}")
        finally:
            server.stop()

    for number in range(size.rounds):
        print(f"round {number + 1} of {size.rounds}", flush=True)
        for kind in kinds:
            take(kind, lambda server: measure(server, size, figures))
        for kind in kinds:
            if kind is not Floor:
                take(kind, lambda server: measure_memory(server, size))
        if TwistedChat in kinds:
            take(TwistedChat, lambda server: measure_pipe(server, size))
            take(TwistedChat, lambda server: measure_crowd(server, size))
    return figures


def table(figures: Figures, measures: Mapping[str, str] = MEASURES) -> str:
    """Return the figures as text: the median of the rounds, and the lowest and the highest.

    @param measures: measure -> format of its figures.
    """
    lines = []
    for name, form in measures.items():
        lines.append(name)
        for server, values in figures.get(name, {}).items():
            middle, least, most = (form.format(f(values)) for f in (statistics.median, min, max))
            lines.append(f"    {server:<18}{middle:>12}   ({least} to {most})")
    return "\n".join(lines)


def machine() -> str:
    """Describe the machine and the versions of the software."""
    parts = [
        f"{platform.system()} {platform.release()}, {len(os.sched_getaffinity(0))} cores",
        f"Python {platform.python_version()}",
        *(f"{name} {version(name)}" for name in ("Twisted", "SQLAlchemy")),
        f"SQLite {sqlite3.sqlite_version}",
        *filter(None, (kind.version() for kind in ALL)),
    ]
    return ", ".join(parts)


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="see that it works; no figures to use")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--plot", help="a PNG file to draw the figures into")
    parser.add_argument("--only", nargs="+", default=(), help="names of servers")
    chosen = parser.parse_args()
    size = SHORT if chosen.short else FULL
    if chosen.rounds:
        size = Size(**{**vars(size), "rounds": chosen.rounds})
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    figures = run(size, chosen.only)
    print(f"{machine()}\n{size}\n{table(figures)}")
    if chosen.plot:
        plot(figures, chosen.plot)


if __name__ == "__main__":
    main()
