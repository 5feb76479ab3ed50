"""L{PostgresEnd}: a PostgreSQL database as one end of a move."""

import time
from collections.abc import Sequence
from contextlib import closing
from typing import Any

import psycopg
from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    ScalarSelect,
    Table,
    func,
    select,
    text,
    update,
)
from sqlalchemy.engine import URL

from .ends import End, Head, Values
from .postgres import NODES
from .schema import accounts, commits, credentials, entries, rooms
from .server import check, reason
from .trouble import StoreError, words

_PATIENCE = 5.0
"""Seconds to wait until PostgreSQL notices that an earlier move was killed."""

_NODES = """
    SELECT count(*) FROM pg_locks
    WHERE locktype = 'advisory' AND classid = :nodes AND objid <> 0 AND objsubid = 2
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
"""Counts the nodes that live."""


class PostgresEnd(End):
    """A PostgreSQL database that no node uses."""

    anew = "choose another database, or drop it and create it anew"

    def __init__(self, url: URL, *, must_exist: bool) -> None:
        super().__init__(url, must_exist=must_exist)
        self._engine.update_execution_options(isolation_level="REPEATABLE READ")
        self._url = url

    def columns(self, table: Table) -> Sequence[ColumnElement[Any]]:
        newest = {
            rooms.c.last_seq: _newest(entries.c.seq),
            rooms.c.last_time: _newest(entries.c.time),
        }
        return [
            func.greatest(column, newest[column]).label(column.name) if column in newest else column
            for column in table.c
        ]

    def insert(self, table: Table, found: Sequence[Values]) -> None:
        driver: Any = self.connection.connection.dbapi_connection
        statement = f"COPY {table.name} ({', '.join(table.columns.keys())}) FROM STDIN"
        try:
            with closing(driver.cursor()) as cursor, cursor.copy(statement) as copy:
                for row in found:
                    copy.write_row(row)
        except psycopg.DataError as error:
            _refuse_nul(table, found)
            raise StoreError(f"{words(error)} in {table.name}") from error

    def prepare(self, origin: str, state: str) -> bool:
        end = time.monotonic() + _PATIENCE
        while not self.connection.scalar(select(func.pg_try_advisory_lock(NODES, 0))):
            if time.monotonic() > end:
                raise StoreError("another twisted-chat-move copies to it")
            time.sleep(0.1)
        self._refuse_users()
        return super().prepare(origin, state)

    def _connect(self) -> Connection:
        if not self._must_exist:
            check(self._url)
        return self._engine.connect()

    def _reason(self, error: Exception) -> str:
        return reason(error, self._url)

    def _refuse_users(self) -> None:
        if self.connection.scalar(text(_NODES), {"nodes": NODES}):
            raise StoreError("a server has it open; stop every node")

    def _head(self) -> Head:
        return Head(self.connection.scalar(select(func.max(commits.c.last_id))) or 0, 0)

    def _set_head(self, head: Head) -> None:
        self.connection.execute(update(commits).values(last_id=head.last_id))
        for table in accounts, credentials, rooms:
            self.connection.execute(
                text(
                    f"SELECT setval(pg_get_serial_sequence('{table.name}', 'id'), max(id))"
                    f" FROM {table.name}"
                )
            )


def _refuse_nul(table: Table, found: Sequence[Values]) -> None:
    """@raise StoreError: if there is a NUL character, which only SQLite accepts, in one of these
    rows. The text names the first."""
    for row in found:
        for name, value in zip(table.columns.keys(), row, strict=True):
            if isinstance(value, str) and "\0" in value:
                raise StoreError(
                    f"there is a NUL character in the {name} of {table.name} {row[0]}, which"
                    " PostgreSQL cannot store; remove it from the original"
                )


def _newest(column: Column[int]) -> ScalarSelect[int]:
    """Return a column of the newest entry of a room."""
    return (
        select(column)
        .where(entries.c.room_id == rooms.c.id)
        .order_by(entries.c.seq.desc())
        .limit(1)
        .scalar_subquery()
    )
