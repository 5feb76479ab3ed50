"""Thousands of idle sessions, and thousands of connections that never end a line, while people
chat."""

import select
import socket
import time

from benchmarks.load import resident_bytes
from tests.daemon import Daemon

from .outcome import Outcome
from .people import People, attackers, connect, log_in, raise_descriptors, ratio

_MIB = 2**20


def run(short: bool) -> Outcome:
    """Run it with the default C{--max-waiting}, and with one that is never reached."""
    raise_descriptors()
    outcome = Outcome()
    for waiting in 100, 3000:
        _storm(outcome, short, waiting)
    return outcome


def _storm(outcome: Outcome, short: bool, waiting: int) -> None:
    idle, drips, people, timeout = (50, 120, 10, 1) if short else (10_000, 2000, 200, 60)
    rounds, quiet_for, arrival = (1, 0.5, 0.2) if short else (2, 30.0, 10.0)
    what = f"--max-waiting {waiting}, {drips} that drip"
    with (
        Daemon(
            *("--max-waiting", str(waiting), "--login-timeout", str(timeout)),
            *("--shared-networks", ""),
            trusted="127.1.0.0/16",
        ) as daemon,
        attackers() as pool,
    ):
        idlers = [log_in(daemon.port, f"idle{n}", f"127.1.1.{1 + n // 5000}") for n in range(idle)]
        crowd = People(daemon.port, people, room="talk")
        quiet, storm, gone = [], [], []
        for number in range(rounds):
            quiet.append(crowd.chat(quiet_for, 20))
            dripping = pool.submit(drip, daemon.port, drips, number, arrival, timeout + 10)
            storm.append(crowd.chat(arrival + timeout, 20))
            gone.append(dripping.result())
        times, figure = ratio(quiet, storm)
        outcome.figures[f"{what}: chat"] = figure
        outcome.target(times <= 1.5, f"{what}: chat took {times:.2f} x as long")
        outcome.promise(not crowd.lost, f"{what}: {crowd.lost} deliveries were lost")
        last = max(max(each, default=0.0) for each in gone)
        outcome.figures[f"{what}: the last of them was gone after"] = f"{last:.1f} s"
        outcome.promise(
            all(len(each) == drips for each in gone), f"{what}: some of them were not sent away"
        )
        outcome.target(last <= timeout + 1, f"{what}: the last one was there for {last:.1f} s")
        memory = resident_bytes(daemon.pid)
        outcome.figures[f"{what}: memory"] = f"{memory / _MIB:.1f} MiB"
        outcome.target(memory <= 120 * _MIB, f"{what}: over 120 MiB")
        outcome.promise("Traceback" not in "".join(daemon.log), f"{what}: a traceback")
        crowd.close()
        for sock in idlers:
            sock.close()


def drip(port: int, count: int, number: int, arrival: float, patience: float) -> list[float]:
    """Open this many connections, each from an address of its own, that send a byte a second.

    @param arrival: seconds within which they connect.
    @return: for each connection that the server closed, the seconds that it was open.
    """
    raise_descriptors()
    epoll = select.epoll()
    there: dict[int, tuple[socket.socket, float]] = {}
    came = 0
    stayed: list[float] = []
    turns = 0
    began = time.monotonic()
    while (there or came < count) and time.monotonic() < began + arrival + patience:
        due = count * (time.monotonic() - began) / arrival
        while came < min(count, due):
            sock = connect(port, f"127.2.{100 * number + came // 250}.{1 + came % 250}")
            there[sock.fileno()] = sock, time.monotonic()
            epoll.register(sock.fileno(), select.EPOLLIN)
            came += 1
        for fd, _ in epoll.poll(0.05):
            sock, since = there[fd]
            try:
                ended = not sock.recv(4096)
            except ConnectionResetError:
                ended = True
            if ended:
                stayed.append(time.monotonic() - since)
                sock.close()
                del there[fd]
        # A twentieth of them at a time, so that each sends a byte a second.
        for sock, _ in list(there.values())[turns % 20 :: 20]:
            try:
                sock.send(b"x")
            except OSError:
                continue  # closed by the server; its end can be read
        turns += 1
    return stayed
