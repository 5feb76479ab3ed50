"""L{Link}: a connection to PostgreSQL, which may be lost and made again."""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
from sqlalchemy import Connection, create_engine
from sqlalchemy.engine import URL
from sqlalchemy.pool import NullPool
from twisted.internet.interfaces import IReactorFromThreads
from twisted.logger import Logger

from .trouble import Away, InDoubt, words

FENCED = "CHFEN"
WAITS = "CHWAI"
"""With these SQLSTATEs C{chat_append} refuses a node that was evicted, and any while some nodes are
not back after a failover."""

_READ_ONLY = "25006"

_PLAIN_WARNING = "01000"

_CONNECTING = {
    "connect_timeout": 2,  # seconds, for each host
    "keepalives_idle": 3,
    "keepalives_interval": 1,
    "keepalives_count": 3,
    "tcp_user_timeout": 6000,  # milliseconds
    "application_name": "twisted-chat",
}
"""What the URL does not say otherwise."""

_SETTINGS = """
SET default_transaction_isolation = 'read committed';
SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET enable_seqscan = off; -- all that grows has an index; without statistics it might go unused
SET jit = off;
SELECT CASE WHEN NOT pg_is_in_recovery()
    THEN ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::bigint END
"""

_BEGIN_READING = """
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
SELECT last_id FROM commits ORDER BY last_id DESC LIMIT 1
"""

_log = Logger()


class Link:
    """A connection to PostgreSQL on which each statement is a transaction, unless it is in one of
    those that this begins. All methods but L{cut} are called from the same thread.

    @ivar timeline: of PostgreSQL when the connection was made. Each failover begins a new one.
    """

    def __init__(self, url: URL, reactor: IReactorFromThreads) -> None:
        self._engine = create_engine(
            url,
            poolclass=NullPool,
            isolation_level="AUTOCOMMIT",  # transactions begin where this module begins them
            connect_args={key: of for key, of in _CONNECTING.items() if key not in url.query},
            hide_parameters=True,  # errors are logged, and messages must not be
        )
        self._reactor = reactor
        self._connection: Connection | None = None
        self._driver: psycopg.Connection[Any] | None = None
        self._socket: socket.socket | None = None
        self._cutting = threading.Lock()
        self._why = "it is not open"
        self.timeline = 0

    @property
    def is_up(self) -> bool:
        """Whether there is a connection, as far as is known. Any thread may ask."""
        return self._driver is not None

    @property
    def connection(self) -> Connection:
        """The connection, for SQLAlchemy.

        @raise Away: if there is none.
        """
        if self._connection is None:
            raise Away(self._why)
        return self._connection

    def connect(self) -> None:
        """Connect.

        @raise Away: if a standby answers.
        @raise sqlalchemy.exc.SQLAlchemyError: if nothing answers, or what does refuses.
        """
        connection = self._engine.connect()
        driver: Any = connection.connection.dbapi_connection
        try:
            driver.add_notice_handler(self._notice)
            cursor = driver.execute(_SETTINGS)
            while cursor.nextset():
                pass
            ((timeline,),) = cursor.fetchall()
            if timeline is None:
                raise Away("a standby answered")
            with self._cutting:
                self._socket = socket.socket(fileno=os.dup(driver.fileno()))
        except BaseException:
            connection.close()
            raise
        self._connection, self._driver, self.timeline = connection, driver, timeline

    def drop(self, why: str) -> None:
        """Close the connection, if there is one.

        @param why: what is said until there is another one.
        """
        connection, self._connection = self._connection, None
        driver, self._driver = self._driver, None
        self._why = why
        with self._cutting:
            if self._socket is not None:
                self._socket.close()
            self._socket = None
        if connection is not None and driver is not None:
            driver.close()
            connection.invalidate()
            connection.close()

    def cut(self) -> None:
        """Shut the connection's socket down, so that a call under way fails as if the connection
        were lost. Any thread may call this."""
        with self._cutting, suppress(OSError):
            if self._socket is not None:
                self._socket.shutdown(socket.SHUT_RDWR)

    def execute(self, statement: str, *values: object) -> list[Any]:
        """Carry out a statement, and return its rows.

        @raise Away: if there is no connection.
        @raise psycopg.Error: if it fails.
        """
        if self._driver is None:
            raise Away(self._why)
        cursor = self._driver.execute(statement.encode(), values or None)
        return cursor.fetchall() if cursor.description else []

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Begin a transaction that writes, and commit it, or roll it back.

        @raise InDoubt: if the connection was lost during the commit.
        """
        self.execute("BEGIN")
        try:
            yield
        except BaseException:
            self._roll_back()
            raise
        try:
            self.execute("COMMIT")
        except psycopg.Error as error:
            if self.is_lost(error):
                raise InDoubt(words(error)) from error
            raise

    @contextmanager
    def reading(self) -> Iterator[int]:
        """Begin a transaction that sees the database as it is now, and end it.

        @return: the end of the log.
        """
        if self._driver is None:
            raise Away(self._why)
        cursor = self._driver.execute(_BEGIN_READING)
        try:
            cursor.nextset()
            ((head,),) = cursor.fetchall()
            yield head
        except BaseException:
            self._roll_back()
            raise
        self.execute("COMMIT")

    def is_lost(self, error: BaseException) -> bool:
        """Whether an error means that the connection was lost while something was done."""
        cause = _cause(error)
        if isinstance(cause, psycopg.Error) and _is_fatal(cause):
            return True
        return self._driver is None or self._driver.closed

    def is_useless(self, error: BaseException) -> bool:
        """Whether an error means that another connection is needed."""
        cause = _cause(error)
        sqlstate = getattr(cause, "sqlstate", None)
        return (
            sqlstate in (FENCED, _READ_ONLY)
            or isinstance(cause, Away | InDoubt)
            or self.is_lost(error)
        )

    def _roll_back(self) -> None:
        if self._driver is not None and not self._driver.closed:
            with suppress(psycopg.Error):
                self._driver.execute("ROLLBACK")

    def _notice(self, notice: psycopg.errors.Diagnostic) -> None:
        """Log a warning; as critical if it may be that a commit, which everybody is shown, did not
        wait for the synchronous standby."""
        if notice.severity_nonlocalized == "WARNING":
            log = _log.critical if notice.sqlstate == _PLAIN_WARNING else _log.warn
            said = filter(None, (notice.message_primary, notice.message_detail))
            self._reactor.callFromThread(log, "PostgreSQL warns: {said}", said=": ".join(said))


def trouble(error: BaseException | None) -> str | None:
    """Return the message of a failure that may pass, such as a lost connection or a full disk;
    L{None} for any other."""
    cause = _cause(error)
    passes = isinstance(
        cause, OSError | Away | InDoubt | psycopg.OperationalError | psycopg.InterfaceError
    )
    if isinstance(cause, psycopg.Error):
        passes = passes or _is_fatal(cause) or cause.sqlstate in (FENCED, WAITS, _READ_ONLY)
    return words(error) if passes else None


def waits(error: BaseException | None) -> bool:
    """Whether an error means that nothing is stored as long as not all nodes are back after a
    failover."""
    return getattr(_cause(error), "sqlstate", None) == WAITS


def damage(error: BaseException | None) -> str | None:
    """Return the message of a failure that means damage to the database; L{None} for any other."""
    damaged = psycopg.errors.DataCorrupted, psycopg.errors.IndexCorrupted
    return words(error) if isinstance(_cause(error), damaged) else None


def _cause(error: BaseException | None) -> BaseException | None:
    """Return the driver's error, if SQLAlchemy has raised another one from it."""
    return getattr(error, "orig", None) or error


def _is_fatal(error: psycopg.Error) -> bool:
    return error.diag.severity_nonlocalized in ("FATAL", "PANIC")
