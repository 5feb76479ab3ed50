"""C{kill -9} while a database of version 0.1 is upgraded, again and again: in the end everything is
there, once.

With kills at any moment, between two statements or in the middle of a commit.
"""

import hashlib
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from tests.daemon import twistd
from tests.store.databases import restore

from .outcome import Outcome

_PATIENCE = 900.0

_TEXT = "A message of version 0.1, which is as long as people's messages are. " * 5

_OLD = ("accounts", "rooms", "log_head", "messages", "direct_messages")
_NEW = ("accounts", "credentials", "rooms", "members", "log_head", "entries")
"""The tables of both versions."""

# How many rows of the old database are not, or not as they were, in the new one.
_LOST = {
    "messages": """
        SELECT count(*) FROM old.messages AS m LEFT JOIN entries AS e ON e.id = m.id
        WHERE (e.room_id, e.seq, e.author, e.text, e.label, e.kind) IS NOT
            (m.room_id, m.seq, m.author, m.text, m.label, iif(m.action, 'action', 'said'))
            OR e.time < m.time
    """,
    "private messages": """
        SELECT count(*) FROM old.direct_messages AS d
        LEFT JOIN entries AS e ON e.id = d.id LEFT JOIN rooms AS r ON r.id = e.room_id
        WHERE (e.author_id, e.text, e.label) IS NOT (d.sender_id, d.text, d.label)
            OR e.time < d.time
            OR (r.first_id, r.second_id) IS NOT
                (min(d.sender_id, d.recipient_id), max(d.sender_id, d.recipient_id))
    """,
    "private messages, as read or unread": """
        SELECT count(*) FROM old.direct_messages AS d JOIN entries AS e ON e.id = d.id
        JOIN old.accounts AS a ON a.id = d.recipient_id
        JOIN members AS m ON m.room_id = e.room_id AND m.account_id = a.id
        WHERE (d.id > a.read_up_to) != (e.seq > m.read_seq)
    """,
    "accounts": """
        SELECT count(*) FROM old.accounts AS o LEFT JOIN accounts AS a USING (id)
        LEFT JOIN credentials AS c ON c.account_id = a.id
        WHERE (o.name, o.created, o.password_hash) IS NOT (a.name, a.created, c.secret)
    """,
    "rooms": """
        SELECT count(*) FROM old.rooms AS o LEFT JOIN rooms AS r USING (id)
        WHERE (o.name, o.topic, o.topic_by, o.created, o.last_seq) IS NOT
            (r.name, r.topic, r.topic_by, r.created, r.last_seq)
    """,
    "the order": """
        SELECT count(*) FROM entries AS one
        JOIN entries AS next ON next.room_id = one.room_id AND next.seq = one.seq + 1
        WHERE next.time <= one.time OR next.id <= one.id
    """,
    "the number of messages": """
        SELECT (SELECT count(*) FROM old.messages) + (SELECT count(*) FROM old.direct_messages)
            - (SELECT count(*) FROM entries)
    """,
}


class _Size(NamedTuple):
    messages: int
    private: int
    accounts: int
    rooms: int
    kills: int


_FULL = _Size(3_000_000, 200_000, 50_000, 500, 50)
_SHORT = _Size(30_000, 3000, 500, 20, 3)


def run(short: bool) -> Outcome:
    """Upgrade once without being disturbed, and then again with kills."""
    outcome = Outcome()
    size = _SHORT if short else _FULL
    directory = Path(tempfile.mkdtemp(prefix="chat-"))
    try:
        old = directory / "old.db"
        _make(old, size)
        whole = _Upgrade(directory / "whole", old)
        seconds, memory = whole.finish()
        upgrading = whole.seconds
        digest = _digest(whole.database, _NEW)
        outcome.figures["messages"] = f"{size.messages:,}, {size.private:,} of them private"
        outcome.figures["database"] = (
            f"{old.stat().st_size / 1e6:,.0f} MB, then {whole.database.stat().st_size / 1e6:,.0f}"
        )
        outcome.figures["upgrade"] = (
            f"{upgrading:.1f} s; from the start to accepting {seconds:.1f} s"
        )
        outcome.figures["peak memory of the process"] = f"{memory / 1024:.0f} MiB"
        for what, count in _lost(whole.database).items():
            outcome.promise(count == 0, f"{what}: {count} are not as they were")
        shutil.rmtree(whole.directory)
        _kill(outcome, directory, old, size, 2 * upgrading / size.kills, digest)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    return outcome


def _kill(
    outcome: Outcome, directory: Path, old: Path, size: _Size, longest: float, digest: str
) -> None:
    """Kill upgrades at random moments, until there were enough kills and the last one is done.

    @param longest: seconds from the first line about the upgrade to the kill, at most.
    """
    kills = upgrades = 0
    while kills < size.kills:
        upgrades += 1
        upgrade = _Upgrade(directory / f"killed-{upgrades}", old)
        while kills < size.kills and upgrade.kill(random.uniform(0, longest)):
            kills += 1
        upgrade.finish()
        outcome.promise(
            _digest(upgrade.database, _NEW) == digest,
            "an upgrade that was killed has another result",
        )
        kept = Path(f"{upgrade.database}.0.1")
        outcome.promise(_digest(kept, _OLD) == _digest(old, _OLD), "the old database was changed")
        names = sorted(path.name for path in upgrade.directory.glob("chat.db*"))
        outcome.promise(names == ["chat.db", "chat.db.0.1"], f"there are {names}")
        shutil.rmtree(upgrade.directory)
    outcome.figures["kills"] = f"{kills}, in {upgrades} upgrades"


class _Upgrade:
    """The upgrade of a copy of a database, by the daemon.

    @ivar database: the copy, and later what it has become.
    """

    def __init__(self, directory: Path, old: Path) -> None:
        directory.mkdir()
        self.directory = directory
        self.database = directory / "chat.db"
        self._log = directory / "log"
        shutil.copy(old, self.database)

    def _start(self) -> "subprocess.Popen[bytes]":
        with self._log.open("wb") as log:
            return subprocess.Popen(
                twistd("--port", "tcp:0:interface=127.0.0.1"),
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def _wait_for(self, words: str, process: "subprocess.Popen[bytes]") -> bool:
        """Wait for a line of the log.

        @return: whether it came before the daemon was ready.
        @raise RuntimeError: if the daemon ends, or nothing comes.
        """
        end = time.monotonic() + _PATIENCE
        while time.monotonic() < end:
            log = self._log.read_text()
            if words in log:
                return True
            if "ready on" in log:
                return False
            if process.poll() is not None:
                raise RuntimeError(f"the daemon ended:\n{log}")
            time.sleep(0.01)
        process.kill()
        raise RuntimeError(f"the daemon is not ready:\n{log}")

    @property
    def seconds(self) -> float:
        """What the log says about how long the upgrade took."""
        told = re.search(r"upgraded the database in ([\d.]+) s", self._log.read_text())
        assert told is not None
        return float(told[1])

    def kill(self, after: float) -> bool:
        """Start the daemon and kill it so many seconds after the first line about the upgrade.

        @return: whether the upgrade was still under way.
        """
        process = self._start()
        try:
            if not self._wait_for("upgrading the database", process):
                return False
            time.sleep(after)
            return "ready on" not in self._log.read_text()
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()

    def finish(self) -> tuple[float, int]:
        """Start the daemon, wait until it is ready, and stop it.

        @return: the seconds that it took, and its peak memory in KiB.
        """
        began = time.monotonic()
        process = self._start()
        try:
            self._wait_for("ready on", process)
            seconds = time.monotonic() - began
            status = Path(f"/proc/{process.pid}/status").read_text()
            process.terminate()
            process.wait(60)
        finally:
            process.kill()
            process.wait()
        peak = re.search(r"VmHWM:\s*(\d+)", status)
        assert peak is not None
        return seconds, int(peak[1])


def _make(path: Path, size: _Size) -> None:
    """Make a database of version 0.1."""
    restore("0004", path)
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA synchronous = OFF")
        for table in "messages", "direct_messages", "rooms", "accounts":
            database.execute(f"DELETE FROM {table}")
        database.executemany(
            "INSERT INTO accounts VALUES (?, ?, ?, ?, ?, ?)",
            (
                (
                    id,
                    f"person{id}",
                    f"old {id}",
                    bytes(60),
                    id * 100,
                    random.randrange(size.messages),
                )
                for id in range(1, size.accounts + 1)
            ),
        )
        seqs = [0] * (size.rooms + 1)
        for id, (table, message) in enumerate(_messages(size, seqs), start=1):
            places = ", ".join("?" * (1 + len(message)))
            database.execute(f"INSERT INTO {table} VALUES ({places})", (id, *message))
        database.executemany(
            "INSERT INTO rooms VALUES (?, ?, ?, ?, 'somebody', 0, ?)",
            (
                (id, name, name, f"topic {id}", seqs[id])
                for id, name in enumerate(["lobby", *map("room{}".format, range(2, len(seqs)))], 1)
            ),
        )
        database.execute("UPDATE log_head SET last_id = ?", (size.messages,))
        database.commit()


def _messages(size: _Size, seqs: list[int]) -> Iterator[tuple[str, tuple[object, ...]]]:
    """Make up the messages, as rows with their table: a few rooms have most of them. The clock
    stands still or is set back now and then."""
    private = set(random.sample(range(size.messages), size.private))
    time = 0
    for number in range(size.messages):
        time += random.choice((0, 0, 1, 5, 20, -3))
        author = random.randint(1, size.accounts)
        text = _TEXT[: 2 + int(random.expovariate(1 / 60))]
        label = f"label-{number:012}" if random.random() < 0.02 else None
        if number in private:
            to = random.choice((author, 1 + author % size.accounts, 1 + author // 2))
            yield "direct_messages", (author, to, time, text, label)
        else:
            room = min(size.rooms, int(random.paretovariate(0.5)))
            seqs[room] += 1
            name = f"person{author}" if random.random() < 0.9 else f"guest{author}"
            action = random.random() < 0.05
            yield "messages", (room, seqs[room], name, time, text, action, label)


def _lost(database: Path) -> dict[str, int]:
    """Count what is not as it was, by what it is."""
    with closing(sqlite3.connect(database)) as new:
        new.execute("ATTACH ? AS old", (f"{database}.0.1",))
        return {what: new.execute(question).fetchone()[0] for what, question in _LOST.items()}


def _digest(path: Path, tables: Sequence[str]) -> str:
    """Digest all rows of some tables."""
    digest = hashlib.sha256()
    with closing(sqlite3.connect(path)) as database:
        for table in tables:
            for row in database.execute(f"SELECT * FROM {table} ORDER BY 1, 2"):
                digest.update(repr(row).encode())
    return digest.hexdigest()
