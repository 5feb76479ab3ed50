"""L{PostgresDatabase}: a PostgreSQL database that several nodes share, on one connection."""

import os
import socket
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from secrets import randbits
from typing import Any, NamedTuple, TypeVar

import psycopg
from sqlalchemy import Connection, create_engine
from sqlalchemy.engine import URL
from sqlalchemy.pool import NullPool
from twisted.internet.interfaces import IReactorFromThreads

from twisted_chat.core.announcements import Delivered, Gone, encode

from .commit import CALL, FUNCTION, SCRIPT, Answer, Commit
from .engine import HandOver, Item, Lost, Pairs
from .migrate import identify, upgrade
from .pull import Piece, Reader
from .trouble import Away, InDoubt, words

T = TypeVar("T")

CHANNEL = "chat"
"""Where each commit of the log notifies, with C{NODE ID}: the node that commits, and the new end of
the log."""

NODES = 0x63686174
"""The first key of the advisory lock that a node holds while it lives. The second is its number."""

LOG = 7163380401923912052
"""The key of the log's advisory lock; also in C{append.sql}."""

_LOCK_LOG = f"SELECT pg_advisory_xact_lock({LOG})"
"""All that changes C{commits}, C{nodes} or the log does this first; see C{append.sql}."""

_LOCK_SCHEMA = "SELECT pg_advisory_xact_lock(7163380401923912053)"

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
SELECT pg_is_in_recovery()
"""

_BEGIN_READING = """
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
SELECT last_id FROM commits ORDER BY last_id DESC LIMIT 1
"""

_FENCE = "SELECT 1 FROM nodes WHERE id = %s AND epoch = %s FOR SHARE"

_FENCED = "CHFEN"
"""The SQLSTATE with which C{chat_append} refuses a node that was evicted."""

_READ_ONLY = "25006"

_EVICTED = "the other nodes took this one for dead"


class Return(NamedTuple):
    """How it was to come back.

    @ivar is_anew: the node had been evicted, or its row was lost: none of its claims on names is
        left. It may have another number now.
    """

    is_anew: bool


class PostgresDatabase:
    """An L{Engine<twisted_chat.store.engine.Engine>}. All methods run on the store's thread but
    those that say otherwise.

    When the connection is lost, it stays away, and every call fails with L{Away}, until
    L{come_back} has worked.
    """

    def __init__(self, url: URL, reactor: IReactorFromThreads) -> None:
        given = url.query
        self._engine = create_engine(
            url,
            poolclass=NullPool,
            isolation_level="AUTOCOMMIT",  # transactions begin where this module begins them
            connect_args={name: value for name, value in _CONNECTING.items() if name not in given},
            hide_parameters=True,  # errors are logged, and messages must not be
        )
        self._reactor = reactor
        self._connection: Connection | None = None
        self._driver: psycopg.Connection[Any] | None = None
        self._socket: socket.socket | None = None
        self._cutting = threading.Lock()
        self._why = "it is not open"
        self._hand_over: HandOver = lambda batch: None
        self._lost: Lost = lambda numbers, code: None
        self._forked: Callable[[int], None] = lambda count: None
        self._node = 0
        self._epoch = 0
        self._batch = 0
        self._cursor = 0
        self._doubt: tuple[int, Commit, Sequence[int]] | None = None
        self._reader = Reader()
        self._is_open = False
        self._busy_since: float | None = None

    @property
    def node(self) -> int:
        return self._node

    @property
    def is_open(self) -> bool:
        return self._is_open

    @property
    def is_away(self) -> bool:
        """Whether there is no connection. Any thread may ask."""
        return self._driver is None

    @property
    def busy_since(self) -> float | None:
        """When the call under way began, by C{time.monotonic}; L{None} if there is none. Any thread
        may ask."""
        return self._busy_since

    def cut(self) -> None:
        """Shut the connection's socket down, so that the call under way fails as if the connection
        were lost. Any thread may call this."""
        with self._cutting, suppress(OSError):
            if self._socket is not None:
                self._socket.shutdown(socket.SHUT_RDWR)

    def hasten(self) -> None:
        """Do nothing: no call waits for long."""

    def subscribe(self, hand_over: HandOver, lost: Lost, forked: Callable[[int], None], /) -> None:
        self._hand_over, self._lost, self._forked = hand_over, lost, forked

    def open(self, start: Callable[[Connection], T]) -> T:
        """Connect, bring the schema up to date, and register the node.

        @return: the result of C{start}.
        """
        try:
            connection = self._connect()
            with self._transaction():
                self._execute(_LOCK_SCHEMA)
                upgrade(connection, identify(connection))
                if self._execute("SELECT to_regproc(%s)", FUNCTION)[0][0] is None:
                    self._execute(SCRIPT.read_text("utf-8"))
            self._register()
            with self._reading() as head:
                self._cursor = head
                started = start(connection)
        except BaseException:
            self._go_away("it is not open")
            raise
        self._is_open = True
        return started

    def close(self) -> None:
        """Take the node out of C{nodes}, tell the others that it is L{Gone}, and close the
        connection."""
        self._is_open = False
        if self._driver is not None:
            with suppress(Exception):
                self.evict([self._node])
        self._go_away("it is closed")

    # Transactions

    def read(self, work: Callable[[Connection], T]) -> T:
        with self._talking() as connection, self._reading() as head:
            self._pull(head)
            return work(connection)

    def write(self, work: Callable[[Connection], T]) -> T:
        """Run a transaction that writes.

        @raise Away: also if this node was evicted: nothing is kept then.
        @raise InDoubt: if the connection was lost at the end, so that it is not known whether the
            transaction was kept.
        """
        with self._talking() as connection, self._transaction():
            if not self._execute(_FENCE, self._node, self._epoch):
                raise Away(_EVICTED)
            return work(connection)

    def append(self, items: Sequence[Item], numbers: Sequence[int]) -> Pairs:
        with self._talking():
            commit = Commit(items, numbers)
            self._batch += 1
            parameters = commit.parameters(self._node, self._epoch, self._batch, self._cursor)
            try:
                ((*fields,),) = self._execute(CALL, *parameters)
                answer = Answer(*fields)
                others = self._others(answer.base)
            except Exception as error:
                if self._is_lost(error):
                    self._doubt = self._batch, commit, numbers
                    raise InDoubt(words(error)) from error
                raise
            self._cursor = answer.base + commit.places
            return commit.pair(answer, others)

    def pull(self) -> None:
        """Hand over what other nodes have stored since the last time.

        @raise Exception: if the database is away; see L{trouble}.
        """
        with self._talking():
            self._pull()

    # The other nodes

    def live(self) -> list[int]:
        """Return the nodes that are registered, without this one."""
        with self._talking():
            rows = self._execute("SELECT id FROM nodes WHERE id <> %s", self._node)
            return [id for (id,) in rows]

    def evict(self, nodes: Collection[int]) -> list[int]:
        """Take nodes that have died out of C{nodes} and their claims out of C{held}, and tell all
        that they are L{Gone}, in one transaction under the log's lock.

        @return: those that were still there.
        """
        with self._talking(), self._transaction():
            self._execute(_LOCK_LOG)
            rows = self._execute("DELETE FROM nodes WHERE id = ANY (%s) RETURNING id", [*nodes])
            evicted = sorted(id for (id,) in rows)
            if evicted:
                self._execute("DELETE FROM held WHERE node = ANY (%s)", evicted)
                self._tell_gone(evicted)
            return evicted

    def prune(self) -> None:
        """Delete some of the commits and the news that are older than an hour."""

    def _tell_gone(self, nodes: Sequence[int]) -> None:
        ((head,),) = self._execute("SELECT max(last_id) FROM commits")
        for id, node in enumerate(nodes, head + 1):
            kind, body = encode(Gone(node))
            self._execute("INSERT INTO news VALUES (%s, %s, %s, %s)", id, self._node, kind, body)
        self._end_log(head + len(nodes))

    def _end_log(self, last_id: int) -> None:
        """Note a commit that no batch of this node has made, and tell the nodes."""
        self._execute(
            "INSERT INTO commits VALUES (%s, %s, 0, extract(epoch FROM clock_timestamp()) * 1000)",
            last_id,
            self._node,
        )
        self._execute("SELECT pg_notify(%s, %s)", CHANNEL, f"{self._node} {last_id}")

    # Coming and going

    def come_back(self) -> Return:
        """Connect again, and find out what was missed: registers the node under the log's lock, so
        that no earlier commit of it can still come; finds out what became of the commit in doubt
        and tells it by L{subscribe}'s callables; then pulls. Does nothing if there is a connection.

        Fails at once, or after 2 seconds, if the database is still away.

        @raise Exception: see L{trouble}.
        """
        if self._driver is not None:
            return Return(False)
        self._connect()
        with self._talking():
            is_anew = self._register()
            self._pull()
            doubt, self._doubt = self._doubt, None
            if doubt is not None:
                self._lose(doubt[2])
            return Return(is_anew)

    def _register(self) -> bool:
        """Take a new epoch, so that commits of earlier ones are refused from now on.

        @return: whether the node was not registered.
        """
        before, self._epoch = self._epoch, randbits(62)
        with self._transaction():
            self._execute(_LOCK_LOG)
            moved = self._execute(
                "UPDATE nodes SET epoch = %s WHERE id = %s AND epoch = %s RETURNING id",
                self._epoch,
                self._node,
                before,
            )
            if moved:
                return False
            ((self._node,),) = self._execute(
                "INSERT INTO nodes (epoch) VALUES (%s) RETURNING id", self._epoch
            )
        return True

    def _connect(self) -> Connection:
        connection = self._engine.connect()
        driver: Any = connection.connection.dbapi_connection
        try:
            cursor = driver.execute(_SETTINGS)
            while cursor.nextset():
                pass
            if cursor.fetchone()[0]:
                raise Away("a standby answered")
            with self._cutting:
                self._socket = socket.socket(fileno=os.dup(driver.fileno()))
        except BaseException:
            connection.close()
            raise
        self._connection, self._driver = connection, driver
        return connection

    def _go_away(self, why: str) -> None:
        connection, self._connection, self._driver = self._connection, None, None
        self._why = why
        with self._cutting:
            if self._socket is not None:
                self._socket.close()
            self._socket = None
        if connection is not None:
            with suppress(Exception):
                connection.connection.dbapi_connection.close()  # type: ignore[union-attr]
            connection.invalidate()
            connection.close()

    def _is_lost(self, error: BaseException) -> bool:
        """Whether an error means that the connection cannot be used any more."""
        cause = getattr(error, "orig", None) or error
        if self._driver is None or self._driver.closed:
            return True
        if not isinstance(cause, psycopg.Error):
            return isinstance(cause, Away)
        fatal = cause.diag.severity_nonlocalized in ("FATAL", "PANIC")
        return fatal or cause.sqlstate in (_FENCED, _READ_ONLY)

    def trouble(self, error: BaseException | None) -> str | None:
        cause = getattr(error, "orig", None) or error
        passes = isinstance(
            cause, OSError | Away | InDoubt | psycopg.OperationalError | psycopg.InterfaceError
        ) or (
            isinstance(cause, psycopg.Error)
            and (
                cause.sqlstate in (_FENCED, _READ_ONLY)
                or cause.diag.severity_nonlocalized in ("FATAL", "PANIC")
            )
        )
        return words(error) if passes else None

    def damage(self, error: BaseException | None) -> str | None:
        return None

    # Reading the log

    def _pull(self, upto: int | None = None) -> None:
        """Hand over what is above the cursor.

        @param upto: the end of the log, if it is known.
        """
        while upto is None or upto > self._cursor:
            piece = self._read_piece(None)
            self._take(piece)
            self._cursor = piece.upto
            if piece.upto >= piece.head:
                break

    def _others(self, upto: int) -> list[tuple[int, Delivered]]:
        """Read what is above the cursor, up to a commit of our own."""
        said: list[tuple[int, Delivered]] = []
        after = self._cursor
        while after < upto:
            piece = self._reader.read(self._connected, after, upto)
            said.extend(piece.said)
            after = piece.upto
        return said

    def _read_piece(self, upto: int | None) -> Piece:
        return self._reader.read(self._connected, self._cursor, upto)

    def _take(self, piece: Piece) -> None:
        """Hand over a piece of the log."""
        pairs: list[tuple[int, Delivered]] = [(0, what) for _, what in piece.said]
        if self._doubt is not None:
            batch, commit, _ = self._doubt
            for kept in piece.commits:
                if kept[1:] == (self._node, batch):
                    self._doubt = None
                    pairs, lost = commit.recover(kept.last_id - commit.places, piece.said)
                    self._lose(lost)
        if pairs:
            self._tell(pairs)

    def _tell(self, pairs: Pairs) -> None:
        self._reactor.callFromThread(lambda: self._hand_over(pairs))

    def _lose(self, numbers: Sequence[int]) -> None:
        if numbers:
            self._reactor.callFromThread(lambda: self._lost(numbers, "unavailable"))

    # The connection

    @property
    def _connected(self) -> Connection:
        if self._connection is None:
            raise Away(self._why)
        return self._connection

    def _execute(self, statement: str, *values: object) -> list[Any]:
        """Carry out a statement, and return its rows."""
        if self._driver is None:
            raise Away(self._why)
        cursor = self._driver.execute(statement.encode(), values or None)
        return cursor.fetchall() if cursor.description else []

    @contextmanager
    def _talking(self) -> Iterator[Connection]:
        """Note how long a call takes, and that the connection is lost if it turns out to be."""
        connection = self._connected
        self._busy_since = time.monotonic()
        try:
            yield connection
        except BaseException as error:
            if self._is_lost(error):
                self._go_away(words(error))
            raise
        finally:
            self._busy_since = None

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._execute("BEGIN")
        try:
            yield
        except BaseException:
            self._roll_back()
            raise
        try:
            self._execute("COMMIT")
        except psycopg.Error as error:
            if self._is_lost(error):
                raise InDoubt(words(error)) from error
            raise

    @contextmanager
    def _reading(self) -> Iterator[int]:
        """Begin a transaction that reads, and give the end of the log as it sees it."""
        assert self._driver is not None
        cursor = self._driver.execute(_BEGIN_READING)
        try:
            cursor.nextset()
            row = cursor.fetchone()
            assert row is not None
            yield row[0]
        except BaseException:
            self._roll_back()
            raise
        self._execute("COMMIT")

    def _roll_back(self) -> None:
        if self._driver is not None and not self._driver.closed:
            with suppress(psycopg.Error):
                self._driver.execute("ROLLBACK")
