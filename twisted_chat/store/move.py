"""Copies a database into an empty one, on the same engine or the other, in pieces.

Each piece is one transaction, and the rows of a table are copied in the order of their keys. So a
copy that was interrupted, whatever by, goes on after the greatest key that it has. Until the copy
is complete and was compared with the original, it has a table that no server accepts.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from typing import NamedTuple

from sqlalchemy import Table

from .ends import End, Head, Values, ends
from .schema import accounts, credentials, entries, members, rooms
from .trouble import StoreError

PIECE = 10_000
"""Rows in one transaction, at most."""

EVERY = 5.0
"""Seconds between two lines about the progress."""

TABLES = (accounts, credentials, rooms, members, entries)
"""What is copied, in an order in which no row comes before one that it refers to. The other tables
are about the log as a whole or about the nodes that are running."""


class Content(NamedTuple):
    """What a table has: the number of its rows, and a checksum of them in the order of their keys,
    which is the same on both engines."""

    size: int
    checksum: str


def move(origin: str, to: str, tell: Callable[[str], None]) -> None:
    """Copy a database. Blocks. The original stays as it is.

    @param origin: the URL of the database to copy.
    @param to: the URL of an empty database, or of an unfinished copy of the same original.
    @param tell: called with each line about the progress.
    @raise StoreError: if one of the databases cannot be used, or the copy differs from the
        original.
    """
    source, target = ends(origin, to)
    with source.opened():
        with source.blamed():
            head = source.look()
        with target.opened():
            _move(source, target, head, tell)


def _move(source: End, target: End, head: Head, tell: Callable[[str], None]) -> None:
    with target.blamed():
        is_resumed = target.prepare(source.place, f"{head.last_id} {head.commits}")
    if is_resumed:
        tell("going on where the move was interrupted")
    with source.blamed():
        total = sum(map(source.count, TABLES))
    tell(f"copying {total:,} rows")
    _copy(source, target, _Meter(tell, "copied", total))
    _compare(source, target, _Meter(tell, "compared", 2 * total), tell)
    with source.blamed():
        if source.look() != head:
            raise StoreError(f"it was used while it was copied; {target.anew}, and begin again")
    with target.blamed():
        target.finish(head)


class _Meter:
    """Tells from time to time how far something is."""

    def __init__(self, tell: Callable[[str], None], done: str, total: int) -> None:
        self._tell = tell
        self._done = done
        self._total = total
        self._count = 0
        self._shown = time.monotonic()

    def add(self, count: int) -> None:
        """Note that this many rows more are done."""
        self._count += count
        if time.monotonic() - self._shown >= EVERY:
            self._shown = time.monotonic()
            percent = 100 * self._count // max(self._total, 1)
            self._tell(f"{self._count:,} of {self._total:,} rows {self._done} ({percent} %)")


def _copy(source: End, target: End, meter: _Meter) -> None:
    for table in TABLES:
        with target.blamed():
            meter.add(target.count(table))
            after = target.last(table)
        for rows in _pieces(source, table, after):
            with target.blamed(), target.transaction():
                target.insert(table, rows)
            meter.add(len(rows))


def _compare(source: End, target: End, meter: _Meter, tell: Callable[[str], None]) -> None:
    """@raise StoreError: if the copy differs from the original."""
    for table in TABLES:
        original, copy = (_content(end, table, meter) for end in (source, target))
        if copy != original:
            raise StoreError(
                f"the move went wrong: {table.name} has {_described(copy)} instead of"
                f" {_described(original)}; {target.anew}, and begin again"
            )
        tell(f"{table.name}: {_described(copy)}")


def _content(end: End, table: Table, meter: _Meter) -> Content:
    count, checksum = 0, sha256()
    for rows in _pieces(end, table):
        checksum.update("".join(map("{!r}\n".format, rows)).encode())
        count += len(rows)
        meter.add(len(rows))
    return Content(count, checksum.hexdigest())


def _pieces(end: End, table: Table, after: Sequence[int] = ()) -> Iterator[Sequence[Values]]:
    """Read the rows of a table in the order of their keys, beginning after one."""
    key = [list(table.c).index(column) for column in table.primary_key]
    while True:
        with end.blamed():
            rows = end.rows(table, after, PIECE)
        if not rows:
            return
        yield rows
        after = [rows[-1][place] for place in key]


def _described(content: Content) -> str:
    rows = "row" if content.size == 1 else "rows"
    return f"{content.size:,} {rows} with the checksum {content.checksum[:16]}"
