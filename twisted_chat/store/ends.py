"""L{End}: one of the two databases of a move, on SQLite or on PostgreSQL."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    MetaData,
    Table,
    Text,
    create_engine,
    delete,
    event,
    func,
    insert,
    inspect,
    literal,
    select,
    tuple_,
    update,
)
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from .files import size, sync
from .migrate import OLD, check_known, identify
from .schema import HEAD, create, log_head, rooms
from .store import database_url
from .trouble import StoreError, no_driver, words

MOVING = "moving"
"""A table that only an unfinished copy has. Its row tells what it is a copy of."""

_moving = Table(MOVING, MetaData(), Column("origin", Text), Column("state", Text))

_PRAGMAS = (
    "locking_mode = EXCLUSIVE",
    "synchronous = FULL",
    "foreign_keys = ON",
    "cache_size = -32768",  # KiB, for the ends of many rooms in an index
)

_UPGRADE = "start twistd chat with it once, which upgrades it, and stop it again"


def ends(origin: str, to: str) -> tuple["End", "End"]:
    """Return the two databases of a move. They are not open yet.

    @param origin: the URL of the one to copy.
    @param to: the URL of the one to copy to. An SQLite file is created when it is opened.
    @raise StoreError: if one of them cannot be used, or both are the same.
    """
    source, target = _end(origin, must_exist=True), _end(to, must_exist=False)
    if source.place == target.place:
        raise StoreError(f"{source.name} and {target.name} are the same database")
    return source, target


def _end(text: str, *, must_exist: bool) -> "End":
    url = database_url(text)
    if url.get_backend_name() == "sqlite":
        return SqliteEnd(url, must_exist=must_exist)
    try:
        from .postgres_end import PostgresEnd  # noqa: PLC0415 - psycopg may be missing
    except ImportError as error:
        raise StoreError(no_driver(error)) from error
    return PostgresEnd(url, must_exist=must_exist)


Values = tuple[Any, ...]
"""What a row has, in the order of the table's columns."""


class Head(NamedTuple):
    """How far the log of a database goes.

    @ivar last_id: the newest id that was given out.
    @ivar commits: the number of writing transactions; 0 on PostgreSQL, which does not count them.
    """

    last_id: int
    commits: int


class End:
    """A database, on one connection. Open it with L{opened}.

    @ivar name: the URL without its password.
    """

    def __init__(self, url: URL, *, must_exist: bool) -> None:
        """
        @param must_exist: whether the database is the one to copy.
        @raise StoreError: if the driver is not installed.
        """
        self._must_exist = must_exist
        self.name = url.render_as_string()
        self._engine = create_engine(url, poolclass=NullPool, hide_parameters=True)
        self._open: Connection | None = None

    @property
    def place(self) -> str:
        """What tells this database from others."""
        return self.name

    @property
    def connection(self) -> Connection:
        """The connection, while the database is open."""
        assert self._open is not None, "it is open"
        return self._open

    @contextmanager
    def blamed(self) -> Iterator[None]:
        """Turn what goes wrong with this database into a sentence that names it.

        @raise StoreError: for any error of the database, the system or this package.
        """
        try:
            yield
        except (
            SQLAlchemyError,
            self._engine.dialect.loaded_dbapi.Error,
            StoreError,
            OSError,
        ) as error:
            reason = self._reason(error)
            raise StoreError(f"cannot use the database {self.name}: {reason}") from error

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Connect, and disconnect in the end."""
        with self.blamed():
            self._open = self._connect()
        try:
            yield
        finally:
            self._open.close()

    # Where a move comes from

    def look(self) -> Head:
        """Begin a transaction that sees the database as it is now, and tell how far its log goes.

        @raise StoreError: if it is no complete database of this version, or in use.
        """
        self.connection.rollback()
        self._refuse_users()
        current = identify(self.connection)
        if current is None:
            raise StoreError("it is empty")
        if current in OLD:
            raise StoreError(f"it is of version 0.1; {_UPGRADE}")
        if current != HEAD:
            check_known(current)
            raise StoreError(f"it is of an older version; {_UPGRADE}")
        return self._head()

    def columns(self, table: Table) -> Sequence[ColumnElement[Any]]:
        """Return what to read of a table, in the order of its columns."""
        return list(table.c)

    def rows(self, table: Table, after: Sequence[int], most: int) -> list[Values]:
        """Read the rows with the keys that come after one.

        @param after: a key; empty to begin.
        @param most: this many rows at most.
        """
        key = list(table.primary_key)
        statement = select(*self.columns(table)).order_by(*key).limit(most)
        if after:
            statement = statement.where(tuple_(*key) > tuple_(*map(literal, after)))
        return list(map(tuple, self.connection.execute(statement).all()))

    def count(self, table: Table) -> int:
        """Count the rows of a table."""
        return self.connection.scalar(select(func.count()).select_from(table)) or 0

    # Where it goes to

    def prepare(self, origin: str, state: str) -> bool:
        """Make the tables, or find those of an unfinished copy.

        @param origin: what the copy is of.
        @param state: how far the log of that database goes.
        @return: whether there is an unfinished copy.
        @raise StoreError: if there is anything else in the database.
        """
        with self.transaction():
            tables = inspect(self.connection).get_table_names()
            if MOVING in tables:
                self._check_unfinished(origin, state)
                return True
            if tables:
                raise StoreError(f"it is not empty; {self.anew}")
            create(self.connection)
            self.connection.execute(delete(rooms))  # the lobby comes with the other rooms
            _moving.create(self.connection)
            self.connection.execute(insert(_moving).values(origin=origin, state=state))
        return False

    def last(self, table: Table) -> Sequence[int]:
        """Return the greatest key in a table; an empty one if it has no rows."""
        key = list(table.primary_key)
        newest = select(*key).order_by(*(column.desc() for column in key)).limit(1)
        return tuple(self.connection.execute(newest).first() or ())

    def finish(self, head: Head) -> None:
        """Set what the next id depends on, and make the copy a database that can be opened."""
        with self.transaction():
            self._set_head(head)
            _moving.drop(self.connection)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit what is done in between, or roll it back."""
        self.connection.rollback()
        with self.connection.begin():
            yield

    # What differs

    anew: str
    """What to do to have an empty database."""

    def insert(self, table: Table, found: Sequence[Values]) -> None:
        """Insert rows."""
        raise NotImplementedError

    def _connect(self) -> Connection:
        raise NotImplementedError

    def _refuse_users(self) -> None:
        """@raise StoreError: if a server has the database open."""

    def _head(self) -> Head:
        raise NotImplementedError

    def _set_head(self, head: Head) -> None:
        raise NotImplementedError

    def _reason(self, error: Exception) -> str:
        return words(error)

    def _check_unfinished(self, origin: str, state: str) -> None:
        (found,) = self.connection.execute(select(_moving))
        if found.origin != origin:
            raise StoreError(f"it is an unfinished copy of {found.origin}; {self.anew}")
        if found.state != state:
            raise StoreError(
                f"it is an unfinished copy of {origin}, which was used since; {self.anew}"
            )


class SqliteEnd(End):
    """An SQLite file, which no other process can open meanwhile."""

    anew = "choose another file, or delete it"

    def __init__(self, url: URL, *, must_exist: bool) -> None:
        """@raise StoreError: if the database would be in memory."""
        super().__init__(url, must_exist=must_exist)
        event.listen(self._engine, "begin", _begin)
        if url.database in (None, "", ":memory:"):
            raise StoreError(f"{self.name} is a database in memory; name a file")
        self._path = os.path.realpath(url.database or "")

    @property
    def place(self) -> str:
        return f"sqlite:///{self._path}"

    def insert(self, table: Table, found: Sequence[Values]) -> None:
        statement = str(insert(table).compile(dialect=self._engine.dialect))
        self.connection.exec_driver_sql(statement, list(found))

    def _connect(self) -> Connection:
        log = f"{self._path}-wal"
        if size(self._path) == 0 < size(log):  # SQLite would delete the log
            raise StoreError(f"it is missing, but {log} is not; put it back")
        if not os.path.exists(self._path):
            if self._must_exist:
                raise StoreError("there is no such file")
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
            sync(os.path.dirname(self._path))
        connection = self._engine.connect()
        driver: Any = connection.connection.dbapi_connection
        driver.isolation_level = None
        for pragma in _PRAGMAS:
            driver.execute(f"PRAGMA {pragma}")
        return connection

    def _head(self) -> Head:
        return Head(*self.connection.execute(select(log_head.c.last_id, log_head.c.commits)).one())

    def _set_head(self, head: Head) -> None:
        self.connection.execute(update(log_head).values(head._asdict()))

    def _reason(self, error: Exception) -> str:
        return "another process has it open" if "locked" in words(error) else words(error)


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")  # the driver is told not to begin any
