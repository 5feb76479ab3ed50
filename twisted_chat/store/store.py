"""L{SqlStore}: the store in a database."""

import os
import re
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, IntegrityError, SQLAlchemyError
from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure

from twisted_chat.core.announcements import Announcement
from twisted_chat.core.model import (
    Account,
    Aside,
    Credential,
    Entry,
    Findings,
    Post,
    Question,
    RoomRecord,
    RoomState,
)

from . import sql
from .claims import GuestNumbers, claim, take_numbers
from .committer import Committer
from .engine import Engine, HandOver, Lost
from .items import LetGo, Mark
from .sqlite import Database
from .trouble import StoreError, no_driver, words
from .worker import Worker

if TYPE_CHECKING:
    from .node import Node

P = ParamSpec("P")
T = TypeVar("T")

_EXAMPLES = "sqlite:///chat.db or postgresql+psycopg://chat@host/chat"

_PRUNE = 1000
"""Entries deleted in one transaction, at most, so that posts do not wait long behind it."""


class SqlStore:
    """The log, the rooms and the accounts in an SQL database; a L{twisted_chat.core.ports.Store}.

    All transactions run on one thread and one connection, in the order in which they were asked
    for. While the disk is full or fails, requests that need it are refused; once it works again,
    they are carried out. After damage to the file has been found, every request is refused.

    The methods that answer return a L{Deferred}, which fails with a L{Refusal} as the port says.

    @ivar password_hashes: the different beginnings of the accounts' password hashes when the
        database was opened: algorithm and cost, such as C{b"$2b$12$"}, without the salt.
    """

    def __init__(self, url: str, reactor: Any) -> None:
        """
        @param url: an SQLAlchemy URL of an SQLite or a PostgreSQL database.
        @raise StoreError: if the URL is another one.
        """
        self._url = database_url(url)
        self._database, self._node = _ENGINES[self._url.drivername](self._url, reactor)
        outage = None if self._node is None else self._node.outage
        self._worker = Worker(self._database, reactor, outage)
        self._committer = Committer(
            lambda *batch: self._worker.run(self._database.append, *batch),
            reactor.callLater,
            self._worker.writing,
            self._database.trouble,
            self._worker.is_damaged,
        )
        self.password_hashes: Sequence[bytes] = ()
        self._guests = 0
        self._numbers = GuestNumbers(lambda: self._write(take_numbers))

    def open(self) -> Sequence[RoomState]:
        """Open or create the database and bring its schema up to date. Blocks.

        @return: all rooms but private conversations, the lobby among them.
        @raise StoreError: if the database cannot be opened or upgraded.
        @raise DatabaseTooNew: if a newer version of this program has upgraded the database.
        """
        open = self._database.open if self._node is None else self._node.open
        try:
            states, self.password_hashes = open(
                lambda connection: (sql.states(connection), sql.password_hashes(connection))
            )
        except (SQLAlchemyError, sqlite3.Error, StoreError, ValueError, TypeError) as error:
            raise StoreError(_reason(self._url, error)) from error
        self._worker.start()
        if self._node is not None:
            self._node.start(self._worker.run, self._committer.hand_over)
        return states

    @property
    def node(self) -> int:
        """Which of the nodes that share the database this one is; 0 if no other can."""
        return self._database.node

    def subscribe(
        self,
        feed: HandOver,
        lost: Lost,
        damaged: Callable[[str], None],
        forked: Callable[[int, Sequence[RoomState]], None] = lambda count, states: None,
    ) -> None:
        """Set who is told what became of posts. Must be called before the first post.

        @param feed: called after each commit with the numbers of its posts and what was stored for
            them, in order; and with what other nodes have stored and said, whose number is 0.
        @param lost: called with the numbers of posts that were not kept, and the code of the
            refusal: C{unavailable} if the same may work later, else C{internal}. Posts of which
            that is not known are passed to neither.
        @param forked: called with the number of messages that were handed over and that the
            database has lost; 0 if this node was away for so long that it cannot tell. And with all
            rooms as they are now, as from L{open}: what is handed over next comes after that. All
            sessions must end.
        @param damaged: called once, with a sentence, when the file turns out to be damaged or it
            cannot be found out whether a commit was kept. Every later request is refused, and
            the caller closes the store.
        """
        self._committer.subscribe(feed, lost)
        committer = self._committer
        self._database.subscribe(
            committer.hand_over, committer.lose, lambda count, started: forked(count, started[0])
        )
        database = self._url.render_as_string()
        self._worker.subscribe(
            lambda why: damaged(f"cannot continue with the database {database}: {why}")
        )

    async def settle(self) -> None:
        """Wait until every accepted post is handed over, to C{feed} or to C{lost}."""
        await self._committer.settle()

    async def close(self) -> None:
        """Commit what was accepted, then close the database."""
        await self.settle()
        if self._node is not None:
            self._node.close()
        await self._worker.stop()
        if self._node is not None:
            self._node.stop()

    def hasten(self) -> None:
        """Stop waiting for a disk that fails: a commit in doubt then stays in doubt. Call this
        before L{close}, which may otherwise wait for as long as the disk fails."""
        self._committer.hasten()
        self._database.hasten()

    # The log

    def append(self, post: Post | Aside, number: int, /) -> None:
        self._committer.append(post, number)

    def mark_read(self, account_id: int, room_id: int, seq: int, /) -> None:
        self._committer.mark(Mark(account_id, room_id, seq))

    def announce(self, what: Announcement, /) -> None:
        if self.node:
            self._committer.add(what)

    def claim(self, name: str, skeleton: str, token: str, former: str, /) -> Deferred[str | None]:
        if self._node is None:
            return succeed(None)
        self._committer.submit_all()  # an earlier claim on the name may wait to be let go
        return self._write(
            # The node may have another number by the time that its turn comes.
            lambda connection: claim(connection, self.node, name, skeleton, token, former)
        )

    def let_go(self, skeleton: str, /) -> None:
        if self.node:
            self._committer.add(LetGo(skeleton))

    def guest_number(self) -> Deferred[int]:
        if self._node is not None:
            return self._numbers.take()
        self._guests += 1
        return succeed(self._guests)

    def history(self, room_id: int, limit: int, /) -> Deferred[Sequence[Entry]]:
        return self._read(sql.history, room_id, limit)

    def find_conversation(self, one: int, other: int, /) -> Deferred[RoomRecord | None]:
        return self._read(sql.conversation, one, other)

    def ask(self, question: Question, /) -> Deferred[Findings]:
        if question.account_id is not None:
            self._committer.submit_marks(question.account_id)
        return self._read(sql.answer, question)

    def labels(self, since: int, /) -> Deferred[Sequence[Entry]]:
        return self._read(sql.labelled, since)

    async def prune(self, before: int) -> int:
        """Delete the entries that are older than a time. Rooms keep their topics, members and
        numbers.

        Goes through the log from its beginning, C{_PRUNE} entries at a time, and stops when none
        of them is older: the entries behind them are newer.

        @param before: the time, in UTC milliseconds since 1970.
        @return: how many entries were deleted.
        @raise Refusal: C{unavailable} if the database cannot be written, C{closed} after L{close}.
        """
        deleted = 0
        while count := await self._write(sql.prune, before, _PRUNE):
            deleted += count
        return deleted

    def newest(self) -> Deferred[int | None]:
        """Return the time of the newest entry of the log.

        @return: UTC milliseconds since 1970; None if the log is empty. Fails with a L{Refusal}:
            C{unavailable} if the database cannot be read, C{closed} after L{close}.
        """
        return self._read(sql.newest_time)

    # Accounts

    def find_account(self, name: str, /) -> Deferred[Account | None]:
        return self._read(sql.find_account, name)

    def find_password(self, name: str, /) -> Deferred[Credential | None]:
        return self._read(sql.find_password, name)

    def find_look_alike(self, skeleton: str, /) -> Deferred[str | None]:
        return self._read(sql.find_look_alike, skeleton)

    def add_account(
        self, name: str, skeleton: str, password_hash: bytes, time: int, /
    ) -> Deferred[Account | None]:
        added = self._write(sql.add_account, name, skeleton, password_hash, time)
        return added.addErrback(_none_if_taken)

    def set_password(self, before: Credential, password_hash: bytes, /) -> Deferred[bool]:
        return self._write(sql.set_password, before, password_hash)

    # Transactions

    def _read(
        self,
        transaction: Callable[Concatenate[Connection, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Deferred[T]:
        self._committer.submit()
        return self._worker.read(lambda connection: transaction(connection, *args, **kwargs))

    def _write(
        self,
        transaction: Callable[Concatenate[Connection, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Deferred[T]:
        self._committer.submit()
        return self._worker.write(lambda connection: transaction(connection, *args, **kwargs))


def database_url(text: str) -> URL:
    """Parse the URL of a database that the store can use.

    @raise StoreError: if the text is not such a URL.
    """
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        shown = re.sub(":[^:@]*@", ":***@", text)
        raise StoreError(f'"{shown}" is not a database URL; one looks like {_EXAMPLES}') from None
    if url.get_backend_name() == "sqlite" and (url.host or url.query):
        raise StoreError(f'"{text}" has too few slashes or options; one looks like {_EXAMPLES}')
    if url.drivername == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
    if url.drivername not in _ENGINES:
        raise StoreError(
            f"{url.drivername} databases are not supported; use a URL like {_EXAMPLES}"
        )
    return url


def _sqlite(url: URL, reactor: Any) -> "tuple[Engine, Node | None]":
    return Database(url, reactor), None


def _postgres(url: URL, reactor: Any) -> "tuple[Engine, Node | None]":
    try:
        # psycopg may be missing.
        from .node import Node  # noqa: PLC0415
        from .postgres import PostgresDatabase  # noqa: PLC0415
    except ImportError as error:
        raise StoreError(no_driver(error)) from error
    database = PostgresDatabase(url, reactor)
    return database, Node(database, url, reactor)


_ENGINES: Mapping[str, Callable[[URL, Any], "tuple[Engine, Node | None]"]] = {
    "sqlite": _sqlite,
    "sqlite+pysqlite": _sqlite,
    "postgresql+psycopg": _postgres,
}
"""By the driver's name in a URL."""


def _none_if_taken(failure: Failure) -> None:
    failure.trap(IntegrityError)


def _reason(url: URL, error: Exception) -> str:
    cause = words(error)
    if url.get_backend_name() != "sqlite":
        pass
    elif "locked" in cause:
        cause = "another process has it open"
    elif url.database and os.path.exists(url.database) and not os.access(url.database, os.W_OK):
        cause = "the file cannot be written"
    return f"cannot use the database {url.render_as_string()}: {cause}"
