"""A disk that fails at a write or a sync, and C{kill -9} after it: the log contains every confirmed
message and no refused one.

C{strace} makes the calls fail that write to the database and to its write-ahead log.
"""

import json
import random
import shutil
import sqlite3
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from typing import Any

from tests.daemon import Daemon
from tests.strace import check_strace, fail

from .confirmed import Confirmed
from .guests import Guest, ask, talk
from .outcome import Outcome
from .peer import Peer

_FAULTS = (
    ("fdatasync", "chat.db-wal"),
    ("pwrite64", "chat.db-wal"),
    ("fdatasync", "chat.db"),
    ("pwrite64", "chat.db"),
)

_PACE = 2000
"""Messages a second, so that some commits have one message and some have many."""


def run(short: bool) -> Outcome:
    """Run a round for each call and file, or 52: with one failure, several, or endless ones."""
    check_strace()
    outcome = Outcome()
    daemon = Daemon()
    attempt = _Attempt(daemon, outcome)
    try:
        daemon.start()
        ask(daemon.port, "/register alice password-0")
        for number in range(4 if short else 52):
            attempt.round(number, short)
        daemon.stop()
        attempt.check()
    finally:
        daemon.kill()
        shutil.rmtree(daemon.directory, ignore_errors=True)
    outcome.figures.update({what: f"{n:,}" for what, n in sorted(attempt.counts.items())})
    return outcome


class _Attempt:
    """The messages and answers so far."""

    def __init__(self, daemon: Daemon, outcome: Outcome) -> None:
        self.counts: Counter[str] = Counter()
        self._daemon = daemon
        self._outcome = outcome
        self._confirmed = Confirmed(outcome)
        self._refused: set[str] = set()
        self._random = random.Random(1)

    def round(self, number: int, short: bool) -> None:
        """Make one call fail while people talk and change a password, and kill the daemon."""
        daemon = self._daemon
        first = self._random.randrange(1, 5 if short else 40)
        last = first + self._random.choice((0, 0, 1, 5, 60_000))
        call, name = _FAULTS[number % len(_FAULTS)]
        old, new = f"password-{number}", f"password-{number + 1}"
        guests = [Guest(daemon.port, f"g{n}r{number}", ("lobby", "dev")[n % 2]) for n in range(4)]
        with Peer(daemon.port) as alice:
            alice.send(f"/json on\n/login alice {old}\n/topic\n")
            alice.see(b'"topic"')
            alice.line()
            strace = fail(daemon, call, daemon.directory / name, f"{first}..{last}")
            alice.send(f"/passwd {old} {new}\n")
            for pace in (_PACE, 0) if self._random.random() < 0.7 else (_PACE,):
                until = time.monotonic() + (0.3 if short else self._random.uniform(0.2, 1.0))
                talk(guests, _text, lambda until=until: time.monotonic() > until, pace)  # type: ignore[misc]
            daemon.kill()
            strace.wait()
            answer = [json.loads(line) for line in alice.rest().splitlines() if line[:1] == b"{"]
        for guest in guests:
            while guest.receive():
                pass
            guest.socket.close()
            events = guest.take()
            self._refused |= _refused(guest, events)
            self._confirmed.note(events)
            self.counts["messages with a receipt"] += guest.receipts
            self.counts["messages refused"] += guest.refused
            self.counts["messages without an answer"] += guest.said - guest.receipts - guest.refused
        daemon.start()
        self._check_password(old, new, [event for event in answer if event["event"] != "message"])

    def _check_password(self, old: str, new: str, answer: list[dict[str, Any]]) -> None:
        works = [_logs_in(self._daemon.port, password) for password in (old, new)]
        self._outcome.promise(sum(works) == 1, f"{sum(works)} of two passwords work")
        events = {event["event"] for event in answer}
        if "error" in events:
            self.counts["passwords refused"] += 1
            self._outcome.promise(works[0], "a password is new, though that was refused")
        elif "notice" in events:
            self.counts["passwords changed"] += 1
            self._outcome.promise(works[1], "a password is old, though it was changed")
        else:
            self.counts["passwords without an answer"] += 1
        if works[0]:
            ask(self._daemon.port, f"/login alice {old}", f"/passwd {old} {new}")

    def check(self) -> None:
        """Check the contents of the log in the end."""
        rows = self._confirmed.check(self._daemon.directory, gaps=True)
        self.counts["messages in the log"] = rows
        with closing(sqlite3.connect(self._daemon.directory / "chat.db")) as database:
            kept = {text for (text,) in database.execute("SELECT text FROM entries")}
        true = self._refused & kept
        self._outcome.promise(not true, f"{len(true)} of {len(self._refused)} refused came true")
        self._outcome.promise("Traceback" not in "".join(self._daemon.log), "there was a traceback")


def _text(guest: Guest, n: int) -> str:
    return f"{guest.name} {n:06}"


def _refused(guest: Guest, events: Iterable[dict[str, Any]]) -> set[str]:
    """Return the texts that were refused. Answers come in the order of the messages."""
    own = (e for e in events if e["event"] == "error" or e.get("from") == guest.name)
    return {_text(guest, n) for n, event in enumerate(own) if event["event"] == "error"}


def _logs_in(port: int, password: str) -> bool:
    return any(event["event"] == "welcome" for event in ask(port, f"/login alice {password}"))
