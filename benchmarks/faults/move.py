"""C{kill -9} while a database is moved from SQLite to PostgreSQL and back, again and again: in the
end everything is there, once.

With kills at any moment, between two statements or in the middle of a commit.
"""

import hashlib
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from tests import postgres
from twisted_chat.store.move import TABLES
from twisted_chat.store.schema import create

from .outcome import Outcome

_PATIENCE = 900.0

_TEXT = "A message as long as people's are; сообщение, как у людей; 一条普通的消息 🎉. " * 5

_COMMAND = (sys.executable, "-c", "from twisted_chat.move import main; main()")

_ROWS = (
    """
    CREATE TEMP TABLE series AS WITH RECURSIVE series (value) AS (
        SELECT 1 UNION ALL SELECT value + 1 FROM series WHERE value < :entries
    ) SELECT value FROM series
    """,
    """
    INSERT INTO accounts SELECT value, 'person' || value, 'skeleton ' || value, value
    FROM series WHERE value <= :accounts
    """,
    """
    INSERT INTO credentials SELECT id + 5, id, 'password', randomblob(60), id FROM accounts
    """,
    """
    INSERT INTO rooms (id, kind, name, skeleton, topic, created)
    SELECT value, 'public', 'комната' || value, 'room ' || value, '茶 ' || value, value
    FROM series WHERE value BETWEEN 2 AND :rooms
    """,
    """
    INSERT INTO rooms (id, kind, first_id, second_id, created)
    SELECT :rooms + value, 'direct', value, value + 1, value
    FROM series WHERE value <= :conversations
    """,
    """
    INSERT INTO entries
    SELECT id, room, row_number() OVER (PARTITION BY room ORDER BY id), 'said',
        iif(id % 10, 1 + id % :accounts, NULL), iif(id % 10, 'person', 'guest') || id % :accounts,
        id * 100, substr(:text, 1 + abs(random()) % 60, 2 + abs(random()) % 120), NULL,
        iif(id % 50, NULL, 'label-' || (1000000000 + id))
    FROM (
        SELECT value AS id, 1 + value * 7919 % (1 + value * 31 % (:rooms + :conversations)) AS room
        FROM series WHERE value <= :entries
    )
    """,
    """
    UPDATE rooms SET (last_seq, last_time) = (
        SELECT coalesce(max(seq), 0), coalesce(max(time), 0) FROM entries WHERE room_id = rooms.id
    )
    """,
    """
    INSERT INTO members (room_id, account_id, read_seq)
    SELECT 1, id, id % 7 FROM accounts UNION ALL SELECT id, first_id, last_seq FROM rooms
    WHERE kind = 'direct' UNION ALL SELECT id, second_id, last_seq / 2 FROM rooms
    WHERE kind = 'direct'
    """,
    "UPDATE log_head SET last_id = :entries + 3, commits = 77",
)
"""Make the rows of a database: a few rooms have most of the messages."""


class _Size(NamedTuple):
    entries: int
    accounts: int
    rooms: int
    conversations: int
    kills: int


_FULL = _Size(3_000_000, 50_000, 500, 20_000, 50)
_SHORT = _Size(30_000, 500, 20, 200, 4)


def run(short: bool) -> Outcome:
    """Move there and back once without being disturbed, and then again with kills."""
    outcome = Outcome()
    size = _SHORT if short else _FULL
    directory = Path(tempfile.mkdtemp(prefix="chat-"))
    server = postgres.Server()
    try:
        original = directory / "chat.db"
        _make(original, size)
        digest = _digest(original)
        outcome.figures["entries"] = f"{size.entries:,}, {original.stat().st_size / 1e6:,.0f} MB"
        seconds = 0.0
        for way, trip in enumerate(_trips(original, directory / "back.db", server, "whole")):
            taken, memory = trip.finish()
            outcome.figures[("to PostgreSQL", "to SQLite")[way]] = (
                f"{taken:.1f} s, {size.entries / taken:,.0f} entries a second; peak memory of the"
                f" process {memory / 1024:.0f} MiB"
            )
            seconds += taken
        outcome.promise(_digest(directory / "back.db") == digest, "what came back is not the same")
        kills = journeys = 0
        while kills < size.kills:
            journeys += 1
            back = directory / f"back-{journeys}.db"
            for trip in _trips(original, back, server, f"killed{journeys}"):
                while kills < size.kills and trip.kill(random.uniform(0, 4 * seconds / size.kills)):
                    kills += 1
                trip.finish()
            outcome.promise(_digest(back) == digest, "a move that was killed has another result")
            back.unlink()
            server.execute(f"DROP DATABASE killed{journeys}")
        outcome.figures["kills"] = f"{kills}, in {journeys} moves there and back"
        outcome.promise(_digest(original) == digest, "the original was changed")
    finally:
        server.close()
        shutil.rmtree(directory, ignore_errors=True)
    return outcome


def _trips(original: Path, back: Path, server: postgres.Server, name: str) -> "tuple[_Trip, _Trip]":
    """Return the move to a new database on the server, and the one from there to a file."""
    server.execute(f"CREATE DATABASE {name} OWNER chat TEMPLATE template0")
    there = server.url(name)
    return _Trip(f"sqlite:///{original}", there), _Trip(there, f"sqlite:///{back}")


class _Trip:
    """A move from one database to another."""

    def __init__(self, origin: str, to: str) -> None:
        self._urls = origin, to

    def kill(self, after: float) -> bool:
        """Start the move, and kill it so many seconds after it has begun to copy.

        @return: whether it was still under way.
        """
        process = self._start()
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("copying"):
                break
        try:
            process.wait(after)
        except subprocess.TimeoutExpired:
            process.kill()
        return self._end(process) < 0

    def finish(self) -> tuple[float, int]:
        """Let the move come to its end, if it has not yet.

        @return: the seconds that it took, and its peak memory in KiB.
        @raise RuntimeError: if it does not work.
        """
        began = time.monotonic()
        process = self._start()
        assert process.stdout is not None
        process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        self._end(process)
        return time.monotonic() - began, usage.ru_maxrss

    def _start(self) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            (*_COMMAND, *self._urls),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def _end(self, process: "subprocess.Popen[str]") -> int:
        _, errors = process.communicate(timeout=_PATIENCE)
        # An earlier one may have come to its end just before it was to be killed.
        if process.returncode > 0 and "it is not empty" not in errors:
            raise RuntimeError(errors)
        return process.returncode


def _make(path: Path, size: _Size) -> None:
    """Make a database."""
    engine = create_engine(f"sqlite:///{path}", poolclass=NullPool)
    with engine.begin() as connection:
        create(connection)
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA synchronous = OFF")
        for statement in _ROWS:
            database.execute(statement, {**size._asdict(), "text": _TEXT})
        database.commit()


def _digest(path: Path) -> str:
    """Digest all rows of a database."""
    digest = hashlib.sha256()
    with closing(sqlite3.connect(path)) as database:
        for table in TABLES:
            for row in database.execute(f"SELECT * FROM {table.name} ORDER BY 1, 2"):
                digest.update(repr(row).encode())
        head = database.execute("SELECT last_id FROM log_head").fetchall()
    return f"{digest.hexdigest()} {head}"
