"""C{kill -9} during a flood, again and again: the log must contain every confirmed message."""

import random
import shutil
import socket
import statistics
import time

from tests.daemon import Daemon

from .confirmed import Confirmed
from .guests import Guest, talk
from .outcome import Outcome

_PACE = 10_000

_TARGET = 1.0
"""Seconds from the start to the first greeting."""


def run(short: bool) -> Outcome:
    """Kill the daemon a hundred times."""
    outcome = Outcome()
    kills = 3 if short else 100
    confirmed = Confirmed(outcome)
    waits: list[float] = []
    said, seconds = 0, 0.0
    daemon = Daemon()
    try:
        daemon.start()
        for kill in range(kills):
            guests = [
                Guest(daemon.port, f"g{number}k{kill}", room)
                for number, room in enumerate(("lobby", "lobby", "dev", "dev"))
            ]
            began = time.monotonic()
            end = began + (0.2 if short else random.uniform(0.2, 1.2))
            talk(
                guests,
                lambda guest, n: f"{guest.name} {n:06}",
                lambda end=end: time.monotonic() > end,  # type: ignore[misc]
                _PACE,
            )
            seconds += time.monotonic() - began
            daemon.kill()
            for guest in guests:
                while guest.receive():
                    pass
                guest.socket.close()
                said += guest.receipts
                confirmed.note(guest.take())
            confirmed.check(daemon.directory)
            waits.append(_restart(daemon))
        daemon.stop()
        confirmed.check(daemon.directory)
        outcome.promise("Traceback" not in "".join(daemon.log), "there was a traceback")
    finally:
        daemon.kill()
        shutil.rmtree(daemon.directory, ignore_errors=True)
    outcome.promise(said > 100 * kills, f"there was no flood: {said} receipts in all")
    outcome.figures["kills"] = str(kills)
    outcome.figures["receipts"] = f"{said:,}, {said / seconds:,.0f} a second"
    outcome.figures["accepting again after"] = (
        f"median {statistics.median(waits):.2f} s, worst {max(waits):.2f} s"
    )
    outcome.target(max(waits) <= _TARGET, f"a restart took over {_TARGET} s")
    return outcome


def _restart(daemon: Daemon) -> float:
    """Return the seconds until somebody is greeted."""
    began = time.monotonic()
    daemon.start()
    with socket.create_connection(("127.0.0.1", daemon.port), timeout=20) as sock:
        sock.recv(4096)
    return time.monotonic() - began
