"""The wall clock jumps ten years ahead and back while people talk.

C{tests.test_service.ClockTests} shows that running timers go on.
"""

import itertools
import select
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from unittest import SkipTest

from tests.daemon import Daemon

from .confirmed import Confirmed
from .guests import Guest, ask, hear_out, talk
from .outcome import Outcome

_PATIENCE = 20.0

_CROWD = 12
"""The fewest people in the lobby for joins to be announced together, by a timer."""


def run(short: bool) -> Outcome:
    """Set the clock ahead, and back to before the start."""
    library = next(iter(sorted(Path("/usr/lib").glob("**/faketime/libfaketimeMT.so.1"))), None)
    if library is None:
        raise SkipTest("libfaketime is not installed")
    outcome = Outcome()
    directory = Path(tempfile.mkdtemp(prefix="chat-"))
    clock = directory / "clock"
    clock.write_text("+0\n")
    under = [
        "env",
        f"LD_PRELOAD={library}",
        f"FAKETIME_TIMESTAMP_FILE={clock}",
        "FAKETIME_CACHE_DURATION=1",
        "DONT_FAKE_MONOTONIC=1",
        "FAKETIME_DONT_FAKE_MONOTONIC=1",
    ]
    if subprocess.run([*under, "true"], check=False).returncode:
        raise SkipTest("libfaketime does not work here")
    confirmed = Confirmed(outcome)
    years: set[str] = set()
    with Daemon("--history-days", "30", directory=directory, under=under) as d:
        guests = [Guest(d.port, f"g{n}", ("lobby", "dev")[n % 2]) for n in range(_CROWD)]
        for jump in ("+3650d", "-3650d") * (1 if short else 5):
            half = sum(guest.said for guest in guests) + (1000 if short else 20_000)
            talk(guests, _text, lambda half=half: sum(g.said for g in guests) > half)  # type: ignore[misc]
            _set(clock, jump)
            seen = time.monotonic() + 1.5  # libfaketime looks at the file once a second
            talk(guests, _text, lambda seen=seen: time.monotonic() > seen, 2000)  # type: ignore[misc]
            hear_out(guests)
            for guest in guests:
                confirmed.note(guest.take())
            outcome.promise(_tells_comings(d.port, guests[0]), f"{jump}: comings are not told")
            years |= {answer["time"][:4] for answer in ask(d.port, "/users")}
            for guest in guests:
                confirmed.note(guest.take())
        said, receipts = sum(g.said for g in guests), sum(g.receipts for g in guests)
        outcome.promise(len(years) == 2, f"the clock was not set: {years}")
        outcome.promise(said == receipts, f"of {said} messages {receipts} came back")
        rows = confirmed.check(directory)
        outcome.promise(rows == said, f"of {said} messages {rows} are in the log")
        outcome.promise("Traceback" not in "".join(d.log), "there was a traceback")
        began = time.monotonic()
        d.stop()
        outcome.figures["end"] = f"{time.monotonic() - began:.1f} s"
    outcome.figures["messages"] = f"{said:,} said, {rows:,} in the log"
    outcome.figures["years"] = ", ".join(sorted(years))
    shutil.rmtree(directory, ignore_errors=True)
    return outcome


def _set(clock: Path, jump: str) -> None:
    """Set the daemon's clock, for all its threads at once."""
    new = clock.with_suffix(".new")
    new.write_text(f"{jump}\n")
    new.replace(clock)


def _text(guest: Guest, n: int) -> str:
    return f"{guest.name} {n:06}"


_newcomers = itertools.count()


def _tells_comings(port: int, watcher: Guest) -> bool:
    """Check that a timer announces the second of two people who join shortly after each other."""
    new = [Guest(port, f"newcomer{next(_newcomers)}") for _ in range(2)]
    deadline = time.monotonic() + _PATIENCE
    came: set[str] = set()
    while not {guest.name for guest in new} <= came and time.monotonic() < deadline:
        if select.select([watcher.socket], [], [], 0.1)[0]:
            watcher.receive()
        for event in watcher.peek():
            if event["event"] == "joined":
                came |= set(event.get("names", [event.get("name")]))
    for guest in new:
        guest.socket.close()
    return {guest.name for guest in new} <= came
