"""Copies what a database of version 0.1 holds into the tables of this version, in pieces.

One connection has the old database as C{main} and the new one attached as C{fresh}. Only C{fresh}
is written to. Each piece is one transaction, which also notes how far the copy is. So a copy that
was interrupted goes on where it was.

Version 0.1 had the schemas 0001 to 0004. Before 0002 there was no count of commits, before 0003
skeletons were computed differently, and before 0004 messages had no labels.
"""

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from twisted.logger import Logger

from twisted_chat.core.names import skeleton

from .trouble import StoreError

PIECE = 50_000
"""Rows in one transaction, at most."""

EVERY = 5.0
"""Seconds between two lines in the log."""

PROGRESS = """
    CREATE TABLE copying (
        origin TEXT NOT NULL,
        stage INTEGER NOT NULL DEFAULT 0,
        last INTEGER NOT NULL DEFAULT 0,
        messages INTEGER NOT NULL DEFAULT 0
    )
"""
"""A table that only an unfinished copy has. Its row tells what it is a copy of, the stage that is
under way, the last id that this stage has copied, and the number of messages so far."""

_PLACED = """
    CREATE TEMP TABLE placed (
        id INTEGER PRIMARY KEY, room_id INTEGER NOT NULL, seq INTEGER NOT NULL,
        time INTEGER NOT NULL
    )
"""
"""Where the messages of one piece go: their room, place and time there."""

_NEXT = """
    SELECT max(id) FROM (
        SELECT id FROM (
            SELECT id FROM main.messages UNION ALL SELECT id FROM main.direct_messages
        ) WHERE id > :last ORDER BY id LIMIT :limit
    )
"""

# NOT INDEXED leaves only the search by id, which reads no more than the piece.

_MAKE_CONVERSATIONS = """
    INSERT INTO fresh.rooms (kind, first_id, second_id, created)
    SELECT 'direct', min(sender_id, recipient_id) AS first, max(sender_id, recipient_id) AS second,
        min(time)
    FROM main.direct_messages NOT INDEXED
    WHERE id > :last AND id <= :up_to
        AND sender_id IN (SELECT id FROM main.accounts)
        AND recipient_id IN (SELECT id FROM main.accounts)
    GROUP BY first, second
    ORDER BY min(id)
    ON CONFLICT (first_id, second_id) DO NOTHING
"""

# The last entry of each room so far is in its row. Times grow by at least as much as the seq does.
_PLACE = """
    INSERT INTO placed
    SELECT id, room_id, seq,
        seq + max(ahead, max(time - seq) OVER (PARTITION BY room_id ORDER BY id))
    FROM (
        SELECT m.id, m.room_id, m.seq, m.time, r.last_time - r.last_seq AS ahead
        FROM main.messages AS m NOT INDEXED
        JOIN fresh.rooms AS r ON r.id = m.room_id AND r.kind = 'public'
        WHERE m.id > :last AND m.id <= :up_to
        UNION ALL
        SELECT d.id, r.id, r.last_seq + row_number() OVER (PARTITION BY r.id ORDER BY d.id), d.time,
            r.last_time - r.last_seq
        FROM main.direct_messages AS d NOT INDEXED
        JOIN fresh.rooms AS r
            ON r.first_id = min(d.sender_id, d.recipient_id)
            AND r.second_id = max(d.sender_id, d.recipient_id)
        WHERE d.id > :last AND d.id <= :up_to
    )
"""

# Somebody who had the name before it was registered was a guest.
_COPY_MESSAGES = """
    INSERT INTO fresh.entries (id, room_id, seq, kind, author_id, author, time, text, label)
    SELECT p.id, p.room_id, p.seq, iif(m.action, 'action', 'said'), coalesce(d.sender_id, a.id),
        coalesce(m.author, s.name), p.time, coalesce(m.text, d.text), {label}
    FROM placed AS p
    LEFT JOIN main.messages AS m ON m.id = p.id
    LEFT JOIN main.accounts AS a ON a.name = m.author AND a.created <= m.time
    LEFT JOIN main.direct_messages AS d ON d.id = p.id
    LEFT JOIN main.accounts AS s ON s.id = d.sender_id
    ORDER BY p.id
"""

_NOTE_LAST = """
    UPDATE fresh.rooms SET last_seq = p.seq, last_time = p.time
    FROM (SELECT room_id, max(seq) AS seq, max(time) AS time FROM placed GROUP BY room_id) AS p
    WHERE p.room_id = rooms.id
"""

_MARK_READ = """
    INSERT INTO fresh.members (room_id, account_id, read_seq)
    SELECT p.room_id, a.id, max(iif(p.id <= a.read_up_to, p.seq, 0))
    FROM placed AS p
    JOIN fresh.rooms AS r ON r.id = p.room_id AND r.kind = 'direct'
    JOIN main.accounts AS a ON a.id IN (r.first_id, r.second_id)
    GROUP BY p.room_id, a.id
    ON CONFLICT (account_id, room_id) DO UPDATE SET read_seq = max(read_seq, excluded.read_seq)
"""

# Old messages may have been deleted.
_LAST_SEQS = """
    UPDATE fresh.rooms SET last_seq = o.last_seq
    FROM main.rooms AS o
    WHERE o.id = rooms.id AND rooms.kind = 'public'
"""

_HEAD = """
    INSERT INTO fresh.log_head (id, last_id, commits) SELECT id, last_id, {commits}
    FROM main.log_head
"""

_ALL = "SELECT (SELECT count(*) FROM main.messages) + (SELECT count(*) FROM main.direct_messages)"

# The old version shows them to nobody.
_ASTRAY = """
    SELECT (
        SELECT count(*) FROM main.messages WHERE room_id NOT IN (SELECT id FROM main.rooms)
    ) + (
        SELECT count(*) FROM main.direct_messages
        WHERE sender_id NOT IN (SELECT id FROM main.accounts)
            OR recipient_id NOT IN (SELECT id FROM main.accounts)
    )
"""

_CHECKS = {
    "accounts": "SELECT count(*) FROM main.accounts",
    "credentials": "SELECT count(*) FROM main.accounts",
    "rooms WHERE kind = 'public'": "SELECT count(*) FROM main.rooms",
    "entries": f"SELECT ({_ALL}) - ({_ASTRAY})",
}
"""What the new database must have as many of as the old one."""

_log = Logger()


class _Progress(NamedTuple):
    stage: int
    last: int
    messages: int


def copy(driver: sqlite3.Connection) -> None:
    """Copy all that is not copied yet, and then remove the table C{copying}.

    @raise StoreError: if not everything is in the copy.
    @raise sqlite3.Error: if one of the databases cannot be read or written.
    """
    driver.execute("PRAGMA temp_store = MEMORY")
    driver.execute(_PLACED)
    total = _one(driver, _ALL)
    row = driver.execute("SELECT stage, last, messages FROM fresh.copying").fetchone()
    progress = _Progress(*row)
    shown = -EVERY
    while progress.stage < len(_STAGES):
        if time.monotonic() - shown >= EVERY:
            shown = time.monotonic()
            _log.info(
                "upgrading the database: {done:,} of {total:,} messages ({percent} %)",
                done=progress.messages,
                total=total,
                percent=100 * progress.messages // max(total, 1),
            )
        with _transaction(driver):
            last, messages = _STAGES[progress.stage](driver, progress.last)
            messages += progress.messages
            if last is None:
                progress = _Progress(progress.stage + 1, 0, messages)
            else:
                progress = _Progress(progress.stage, last, messages)
            driver.execute("UPDATE fresh.copying SET stage = ?, last = ?, messages = ?", progress)
    with _transaction(driver):
        _finish(driver)


@contextmanager
def _transaction(driver: sqlite3.Connection) -> Iterator[None]:
    driver.execute("BEGIN")
    try:
        yield
        driver.execute("COMMIT")
    finally:
        if driver.in_transaction:
            driver.execute("ROLLBACK")


def _one(driver: sqlite3.Connection, question: str) -> int:
    ((number,),) = driver.execute(question)
    return int(number)


# The stages. Each copies the rows after an id, at most a piece of them, and returns the last id of
# the piece, or None if there are no more, with the number of messages in the piece.


def _copy_rooms(driver: sqlite3.Connection, last: int) -> tuple[int | None, int]:
    rows = driver.execute(
        "SELECT id, name, skeleton, topic, topic_by, created FROM main.rooms"
        " WHERE id > ? ORDER BY id LIMIT ?",
        (last, PIECE),
    ).fetchall()
    for id, name, before, *others in rows:
        driver.execute(
            "INSERT INTO fresh.rooms (id, kind, name, skeleton, topic, topic_by, created)"
            " VALUES (?, 'public', ?, ?, ?, ?, ?)",
            (id, name, _skeleton(driver, "rooms", id, name, before), *others),
        )
    return (rows[-1][0] if rows else None), 0


def _copy_accounts(driver: sqlite3.Connection, last: int) -> tuple[int | None, int]:
    rows = driver.execute(
        "SELECT id, name, skeleton, password_hash, created FROM main.accounts"
        " WHERE id > ? ORDER BY id LIMIT ?",
        (last, PIECE),
    ).fetchall()
    lobby = driver.execute("SELECT id, last_seq FROM main.rooms WHERE name = 'lobby'").fetchone()
    for id, name, before, password_hash, created in rows:
        driver.execute(
            "INSERT INTO fresh.accounts (id, name, skeleton, created) VALUES (?, ?, ?, ?)",
            (id, name, _skeleton(driver, "accounts", id, name, before), created),
        )
        driver.execute(
            "INSERT INTO fresh.credentials (account_id, kind, secret, created)"
            " VALUES (?, 'password', ?, ?)",
            (id, password_hash, created),
        )
        driver.execute(
            "INSERT INTO fresh.members (account_id, room_id, read_seq) VALUES (?, ?, ?)",
            (id, *lobby),
        )
    return (rows[-1][0] if rows else None), 0


def _skeleton(driver: sqlite3.Connection, table: str, id: int, name: str, before: str) -> str:
    """Compute the skeleton of a name. If an older one has it already, this one gets a skeleton that
    no name can have, as there are no spaces in names."""
    shape = skeleton(name)
    holder = driver.execute(
        f"SELECT name FROM fresh.{table} WHERE skeleton = ?", (shape,)
    ).fetchone()
    if holder is None:
        return shape
    shape = f"{shape} {id}"
    if shape != before:
        _log.warn(
            "{table}: {name} looks like {other}, which is older; both are kept",
            table=table,
            name=name,
            other=holder[0],
        )
    return shape


def _copy_messages(driver: sqlite3.Connection, last: int) -> tuple[int | None, int]:
    piece = {"last": last, "limit": PIECE}
    ((up_to,),) = driver.execute(_NEXT, piece)
    if up_to is None:
        return None, 0
    label = "coalesce(m.label, d.label)" if _has(driver, "messages", "label") else "NULL"
    piece["up_to"] = up_to
    driver.execute("DELETE FROM placed")
    driver.execute(_MAKE_CONVERSATIONS, piece)
    driver.execute(_PLACE, piece)
    copied = driver.execute(_COPY_MESSAGES.format(label=label)).rowcount
    driver.execute(_NOTE_LAST)
    driver.execute(_MARK_READ)
    return up_to, copied


_STAGES: tuple[Callable[[sqlite3.Connection, int], tuple[int | None, int]], ...] = (
    _copy_rooms,
    _copy_accounts,
    _copy_messages,
)


def _finish(driver: sqlite3.Connection) -> None:
    driver.execute(_LAST_SEQS)
    commits = "commits" if _has(driver, "log_head", "commits") else "0"
    driver.execute(_HEAD.format(commits=commits))
    for what, expected in _CHECKS.items():
        there, due = _one(driver, f"SELECT count(*) FROM fresh.{what}"), _one(driver, expected)
        if there != due:
            raise StoreError(
                f"the upgrade went wrong: there are {there:,} instead of {due:,} {what};"
                " the database is as it was"
            )
    astray = _one(driver, _ASTRAY)
    if astray:
        _log.warn(
            "{count:,} messages are not in the upgraded database, as their rooms or accounts were"
            " deleted",
            count=astray,
        )
    driver.execute("DROP TABLE fresh.copying")


def _has(driver: sqlite3.Connection, table: str, column: str) -> bool:
    found = driver.execute(
        "SELECT 1 FROM pragma_table_info(?, 'main') WHERE name = ?", (table, column)
    )
    return found.fetchone() is not None
