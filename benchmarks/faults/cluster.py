"""Several nodes on one PostgreSQL, and what can happen to each: everyone must hear one log, once
and in order, whichever node they are on.

    python -m benchmarks.faults.cluster [--seconds N] [--rounds N] [--nodes N] [--writers N]
        [FAULT ...]

Writers say one line after the other, each with a label, and go on at another node when theirs is
lost; readers do the same with C{since}. Then everything that anybody was shown or told is compared
with the log in the database.
"""

import argparse
import os
import random
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from unittest import SkipTest
from urllib.parse import quote

from benchmarks.nodes import DATABASE, Nodes, rows, serve
from tests.daemon import Daemon
from tests.postgres import PORT, Server

from .cast import Cast
from .outcome import Outcome
from .voices import Lost, Person
from .wire import Wire

_PATIENCE = 60.0
"""Seconds until something that is awaited counts as lost."""

_LEFT = 10.0
"""Seconds within which the people of a dead node have to be gone."""


@dataclass(frozen=True)
class Size:
    """The size of a run.

    @ivar seconds: for which faults happen.
    """

    seconds: float = 25
    nodes: int = 3
    writers: int = 12


SHORT = Size(seconds=5, nodes=2, writers=8)


@dataclass
class Stage:
    """Where a fault happens.

    @ivar servers: the primary, and its standby if there is one.
    @ivar wires: node -> its way to PostgreSQL, if the fault needs one.
    @ivar replication: the way from the standby to the primary, if the fault needs one.
    @ivar faults: how many there were.
    @ivar times: what was waited for -> the seconds that it took.
    """

    size: Size
    nodes: Nodes
    servers: list[Server]
    wires: Sequence[Wire]
    replication: Sequence[Wire]
    outcome: Outcome
    faults: int = 0
    times: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    @property
    def any_node(self) -> Daemon:
        return random.choice(self.nodes.daemons)


def kill(stage: Stage) -> None:
    """C{kill -9} of a node. The first time, wait until its people are gone."""
    daemon = stage.any_node
    first = not stage.faults
    sitters = [_sit(daemon, name) for name in ("sitter-guest", "sitter-account")] if first else []
    daemon.kill()
    if first:
        _see_them_leave(stage, daemon, sitters)
    time.sleep(random.uniform(0, 1))
    daemon.start()


def pause(stage: Stage) -> None:
    """SIGSTOP of a node, and SIGCONT some seconds later."""
    daemon = stage.any_node
    os.kill(daemon.pid, signal.SIGSTOP)
    try:
        time.sleep(random.uniform(0.5, min(8, stage.size.seconds / 2)))
    finally:
        os.kill(daemon.pid, signal.SIGCONT)


def backends(stage: Stage) -> None:
    """Have PostgreSQL terminate 60 % of all connections."""
    (server,) = stage.servers
    server.terminate(server.url(DATABASE), "random() < 0.6")


def crash(stage: Stage) -> None:
    """Have PostgreSQL crash, or stop in good order, and start it again."""
    (server,) = stage.servers
    random.choice((server.kill, server.kill, server.stop))()
    time.sleep(random.uniform(0, 2))
    server.start()


def freeze(stage: Stage) -> None:
    """Hold up what a node and PostgreSQL send each other, or only the answers; then lose it."""
    wire = random.choice(stage.wires)
    wire.hold(requests=random.random() < 0.5)
    time.sleep(random.uniform(1, min(7, stage.size.seconds / 2)))
    random.choice((wire.cut, wire.cut, wire.release))()


def failover(stage: Stage) -> None:
    """Have the primary crash, and promote its synchronous standby."""
    _fail_over(stage)
    primary = stage.servers[0]
    primary.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
    primary.execute("SELECT pg_reload_conf()")
    _until(lambda: bool(_standbys(primary, "sync_state = 'sync'")), "a synchronous standby")


def fork(stage: Stage) -> None:
    """Have the primary crash, and promote a standby that has not got the last of it."""
    (wire,) = stage.replication
    wire.hold()
    time.sleep(0.7)
    _fail_over(stage, wire)


def _fail_over(stage: Stage, wire: Wire | None = None) -> None:
    old, new = stage.servers
    old.kill()
    if wire is not None:
        wire.cut()
    time.sleep(random.uniform(0.05, 1))
    new.promote()
    stage.servers[:] = new, old
    _attach(stage.servers, stage.replication)


def _attach(servers: Sequence[Server], replication: Sequence[Wire]) -> None:
    """Make a standby of the second server."""
    primary, standby = servers
    for wire in replication:
        wire.lead_to(primary.directory / f".s.PGSQL.{PORT}")
    standby.follow(primary, "".join(f"host=127.0.0.1 port={wire.port}" for wire in replication))
    _until(lambda: bool(_standbys(primary, "state = 'streaming'")), "a standby")


def _standbys(primary: Server, where: str) -> Sequence[object]:
    return primary.execute(f"SELECT 1 FROM pg_stat_replication WHERE {where}")


@dataclass(frozen=True)
class Fault:
    """A fault.

    @ivar inflict: inflicts it once, and ends it.
    @ivar pause: seconds of peace after each time, from the least to the most.
    @ivar wired: whether there have to be wires between the nodes and PostgreSQL.
    @ivar standby: whether there has to be a standby: C{sync}, C{async} or none.
    """

    inflict: Callable[[Stage], None]
    pause: tuple[float, float]
    wired: bool = False
    standby: str = ""


FAULTS: Mapping[str, Fault] = {
    "kill": Fault(kill, (0.5, 2)),
    "pause": Fault(pause, (0.5, 2)),
    "backends": Fault(backends, (0.5, 2.5)),
    "crash": Fault(crash, (1, 2.5)),
    "freeze": Fault(freeze, (0.5, 2), wired=True),
    "failover": Fault(failover, (2, 5), standby="sync"),
    "fork": Fault(fork, (2, 5), standby="async"),
}


def run(short: bool) -> Outcome:
    """Inflict each fault once."""
    outcome = Outcome()
    for name in FAULTS:
        check(name, SHORT if short else Size(), outcome)
    return outcome


def check(name: str, size: Size, outcome: Outcome | None = None) -> Outcome:
    """Inflict a fault again and again while people talk, and compare what they saw with the log.

    @raise SkipTest: if PostgreSQL is not installed.
    """
    fault, outcome = FAULTS[name], outcome or Outcome()
    with ExitStack() as stack:
        server, url = serve()
        stack.callback(server.close)
        stage = _stage(stack, fault, size, server, url, outcome)
        with stage.nodes:
            cast = Cast(
                stage.nodes.ports,
                size.writers,
                lambda statement: rows(stage.servers[0], statement),
                outcome,
                may_lose=fault.standby == "async",
            )
            began = time.monotonic()
            cast.play(lambda: _inflict(stage, fault))
            took = time.monotonic() - began
            parts = [f"{stage.faults} in {took:.0f} s", cast.compare(name)]
        for number, daemon in enumerate(stage.nodes.daemons):
            log = "".join(daemon.log)
            outcome.promise("Traceback" not in log, f"{name}: a traceback in the log of {number}")
        parts += [f"{what} after {max(times):.1f} s" for what, times in stage.times.items()]
        outcome.figures[name] = "; ".join(parts)
    return outcome


def _stage(
    stack: ExitStack, fault: Fault, size: Size, server: Server, url: str, outcome: Outcome
) -> Stage:
    servers, wires, replication = [server], [], []
    socket = server.directory / f".s.PGSQL.{PORT}"
    if fault.standby:
        servers.append(Server(on_disk=True))
        stack.callback(servers[1].close)
        hosts = quote(",".join(str(each.directory) for each in servers), safe="")
        ports = quote(f"{PORT},{PORT}")
        url = (
            f"postgresql+psycopg://chat@/{DATABASE}?host={hosts}&port={ports}"
            "&target_session_attrs=read-write"
        )
        if fault.standby == "async":
            replication.append(Wire(socket))
        _attach(servers, replication)
        if fault.standby == "sync":
            server.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
            server.execute("SELECT pg_reload_conf()")
    urls = [url] * size.nodes
    if fault.wired:
        wires = [Wire(socket) for _ in urls]
        urls = [f"postgresql+psycopg://chat@127.0.0.1:{wire.port}/{DATABASE}" for wire in wires]
    for wire in (*wires, *replication):
        stack.callback(wire.close)
    return Stage(size, Nodes(size.nodes, urls.__getitem__), servers, wires, replication, outcome)


def _inflict(stage: Stage, fault: Fault) -> None:
    until = time.monotonic() + stage.size.seconds
    while time.monotonic() < until or not stage.faults:
        time.sleep(random.uniform(*fault.pause))
        fault.inflict(stage)
        stage.faults += 1


def _sit(daemon: Daemon, name: str) -> Person:
    """Return somebody who is connected to one node, and does nothing."""
    account = name.endswith("account")
    sitter = Person(name, ["lobby"], [daemon.port], account=account, patient=True)
    sitter.come_in(lambda: False)
    return sitter


def _see_them_leave(stage: Stage, dead: Daemon, sitters: Sequence[Person]) -> None:
    """Wait until people are gone on all other nodes, and their names are free."""
    began = time.monotonic()
    others = [daemon.port for daemon in stage.nodes.daemons if daemon is not dead]
    for number, port in enumerate(others):
        watcher = Person(f"watcher{number}", ["lobby"], [port], account=False, patient=True)
        watcher.come_in(lambda: time.monotonic() > began + _LEFT)
        while (
            here := watcher.users() & {sitter.name for sitter in sitters}
        ) and time.monotonic() < began + 2 * _LEFT:
            time.sleep(0.1)
        watcher.leave()
        took = time.monotonic() - began
        stage.times["people of a dead node left"].append(took)
        stage.outcome.promise(not here, f"{sorted(here)} did not leave with their node")
        stage.outcome.target(took <= _LEFT, f"they left after {took:.1f} s")
    guest = sitters[0].name
    heir = Person(guest, ["lobby"], others, account=False, patient=True)
    try:
        heir.come_in(lambda: time.monotonic() > began + 2 * _LEFT)
        stage.times["their names were free"].append(time.monotonic() - began)
    except Lost:
        stage.outcome.broken.append(f"the name {guest} is not free")
    heir.leave()


def _until(condition: Callable[[], bool], what: str) -> None:
    until = time.monotonic() + _PATIENCE
    while not condition():
        if time.monotonic() > until:
            raise RuntimeError(f"{what} did not come")
        time.sleep(0.02)


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.faults.cluster",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seconds", type=float, default=Size.seconds, help="of each round")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--nodes", type=int, default=Size.nodes)
    parser.add_argument("--writers", type=int, default=Size.writers)
    parser.add_argument("faults", nargs="*", metavar="FAULT", help=", ".join(FAULTS))
    chosen = parser.parse_args()
    unknown = [name for name in chosen.faults if name not in FAULTS]
    if unknown:
        parser.error(f"there is no fault {unknown[0]}; there are {', '.join(FAULTS)}")
    size = Size(chosen.seconds, chosen.nodes, chosen.writers)
    bad = False
    for number in range(chosen.rounds):
        for name in chosen.faults or FAULTS:
            try:
                outcome = check(name, size)
            except SkipTest as missing:
                sys.exit(str(missing))
            for figure, value in outcome.figures.items():
                print(f"{number + 1} {figure}: {value}")
            for sentence in (*outcome.broken, *outcome.missed):
                print(f"{number + 1} {name} BROKEN: {sentence}")
            sys.stdout.flush()
            bad = bad or bool(outcome.broken or outcome.missed)
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
