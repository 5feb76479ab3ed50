"""L{SqlStore}: the store in SQL, on one connection and one thread, with SQLAlchemy Core."""

import os
import sqlite3
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import (
    ColumnElement,
    Connection,
    LargeBinary,
    Row,
    Select,
    UpdateBase,
    bindparam,
    delete,
    desc,
    func,
    insert,
    select,
    union_all,
    update,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import URL
from sqlalchemy.engine.interfaces import DBAPICursor
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from twisted_chat.core.errors import Refusal
from twisted_chat.core.model import (
    Account,
    DirectMessage,
    Message,
    Post,
    RoomPost,
    RoomRecord,
    Stored,
)

from .schema import accounts, direct_messages, log_head, messages, rooms
from .sqlite import Database, sqlite_url
from .trouble import Outage, StoreError, Unknown, damage, trouble, words

P = ParamSpec("P")
T = TypeVar("T")

Feed = Callable[[Sequence[tuple[Post, Stored]]], None]
Lost = Callable[[Sequence[Post]], None]
Damaged = Callable[[str], None]

_BATCH = 500
"""Posts in one commit, at most. They are delivered in one turn of the reactor."""

_PRUNE = 1000
"""Messages deleted in one transaction, at most, so that posts do not wait long behind it."""

_log = Logger()

_CANNOT = {
    "read": "the server can't read its database right now; try again later",
    "written": "the server can't write to its database right now, so nothing was changed; try again"
    " later",
}

_UNKNOWN = "the disk is failing: the server can't tell whether that was done, and it is going down"


class SqlStore:
    """The log and the accounts in an SQL database; a L{twisted_chat.core.ports.Store}.

    All SQL runs in order on one thread and one connection. Posts that arrive while a commit is
    under way share the next commit. A post that arrives when there is none is committed at once.

    While the disk is full or fails, requests that need it are refused; once it works again, they
    are carried out. After damage to the file has been found, every request is refused.

    @ivar password_hashes: the different beginnings of the accounts' password hashes when the
        database was opened: algorithm and cost, such as C{b"$2b$12$"}, without the salt.
    """

    def __init__(self, url: str, reactor: IReactorFromThreads) -> None:
        """
        @param url: an SQLAlchemy URL of an SQLite database.
        @raise StoreError: if the URL is another one.
        """
        self._url = sqlite_url(url)
        self._database = Database(self._url, reactor)
        self.password_hashes: Sequence[bytes] = ()
        self._reactor = reactor
        self._pool = ThreadPool(minthreads=1, maxthreads=1, name="store")
        self._feed: Feed | None = None
        self._lost: Lost | None = None
        self._damaged: Damaged | None = None
        self._damage: str | None = None  # set on the store's thread
        self._outages = {
            "read": Outage(
                "the database cannot be read: {reason}",
                "the database can be read again; {count} requests were refused meanwhile",
            ),
            "written": Outage(
                "the database cannot store messages: {reason}",
                "the database stores messages again; {count} were refused meanwhile",
            ),
        }
        self._pending: list[Post] = []
        self._reads: Counter[int] = Counter()
        self._committing = False
        self._idle: list[Deferred[None]] = []
        # Totals of posts that append() accepted and that were handed over; and (total to wait for,
        # Deferred), ascending.
        self._accepted = self._handed = 0
        self._behind: deque[tuple[int, Deferred[None]]] = deque()

    def open(self) -> Sequence[RoomRecord]:
        """Open or create the database and bring its schema up to date. Blocks.

        @return: all rooms, the lobby among them.
        @raise StoreError: if the database cannot be opened or upgraded.
        @raise DatabaseTooNew: if a newer version of this program has upgraded the database.
        """
        try:
            records, self.password_hashes = self._database.open(
                lambda connection: (_rooms(connection), _password_hashes(connection))
            )
        except (SQLAlchemyError, sqlite3.Error, StoreError, ValueError, TypeError) as error:
            raise StoreError(_reason(self._url, error)) from error
        self._pool.start()
        return records

    def subscribe(self, feed: Feed, lost: Lost, damaged: Damaged) -> None:
        """Set who is told what became of posts. Must be called before the first post.

        @param feed: called after each commit with its posts and the messages that were stored for
            them, in order.
        @param lost: called with posts that were not kept. Posts of which that is not known are
            passed to neither.
        @param damaged: called once, with a sentence, when the file turns out to be damaged or it
            cannot be found out whether a commit was kept. Every later request is refused, and
            the caller closes the store.
        """
        self._feed = feed
        self._lost = lost
        self._damaged = damaged

    async def settle(self) -> None:
        """Wait until every accepted post is handed over, to C{feed} or to C{lost}."""
        while self._committing:
            idle: Deferred[None] = Deferred()
            self._idle.append(idle)
            await idle

    async def close(self) -> None:
        """Commit the accepted posts, then close the database."""
        await self.settle()
        await deferToThreadPool(self._reactor, self._pool, self._database.close)
        self._pool.stop()

    def hasten(self) -> None:
        """Stop waiting for a disk that fails: a commit in doubt then stays in doubt. Call this
        before L{close}, which may otherwise wait for as long as the disk fails."""
        self._database.hasten()

    # The log

    def append(self, post: Post, /) -> None:
        self._pending.append(post)
        self._accepted += 1
        self._flush()

    def mark_read(self, account_id: int, message_id: int, /) -> None:
        self._reads[account_id] = max(message_id, self._reads[account_id])
        self._flush()

    def _flush(self) -> None:
        # While nothing can be written, read marks wait for the next post to try again.
        due = self._pending or (self._reads and not self._outages["written"].lasts)
        if self._committing or not due:
            return
        posts, self._pending = self._pending[:_BATCH], self._pending[_BATCH:]
        reads, self._reads = self._reads, Counter()
        self._committing = True
        self._on_thread(
            self._database.write, lambda connection: _append(connection, posts, reads)
        ).addCallbacks(
            self._committed, self._failed, callbackArgs=(posts,), errbackArgs=(posts, reads)
        ).addErrback(lambda failure: _log.failure("delivering a batch", failure))

    def _committed(self, stored: list[Stored], posts: list[Post]) -> None:
        self._committing = False
        self._outages["written"].end()
        self._flush()  # the disk works on the next batch while this one is delivered
        try:
            if posts and self._feed is not None:
                self._feed(list(zip(posts, stored, strict=True)))
        finally:
            self._hand_over(len(posts))
            self._settle()

    def _failed(self, failure: Failure, posts: list[Post], reads: Counter[int]) -> None:
        reason = trouble(failure.value)
        if reason is not None:
            self._outages["written"].refuse(reason, len(posts))
            self._reads |= reads
        elif not self._is_damaged():
            _log.failure("committing {count} posts", failure, count=len(posts))
        self._committing = False
        self._flush()
        try:
            # If the posts may have been kept, either answer could turn out to be wrong.
            if self._lost is not None and not failure.check(Unknown):
                self._lost(posts)
        finally:
            self._hand_over(len(posts))
            self._settle()

    def _settle(self) -> None:
        if not self._committing:
            idle, self._idle = self._idle, []
            for waiting in idle:
                waiting.callback(None)

    def _hand_over(self, count: int) -> None:
        self._handed += count
        while self._behind and self._behind[0][0] <= self._handed:
            self._behind.popleft()[1].callback(None)

    async def history(self, room: RoomRecord, limit: int, /) -> Sequence[Message]:
        """@raise Refusal: C{internal} if nothing can be read, C{closed} after L{close}."""
        return await self._read(_history, room, limit)

    async def conversation(
        self, account_id: int, other_id: int, limit: int, /
    ) -> Sequence[DirectMessage]:
        """@raise Refusal: C{internal} if nothing can be read, C{closed} after L{close}."""
        return await self._read(_direct_messages, _between(account_id, other_id, limit))

    async def unread(self, account_id: int, limit: int, /) -> Sequence[DirectMessage]:
        """@raise Refusal: C{internal} if nothing can be read, C{closed} after L{close}."""
        return await self._read(_direct_messages, self._unread(account_id, limit))

    def _unread(self, account_id: int, limit: int) -> Select[Any]:
        return (
            _DIRECT.where(
                direct_messages.c.recipient_id == account_id,
                direct_messages.c.id > _RECIPIENT.c.read_up_to,
                direct_messages.c.id > self._reads.get(account_id, 0),  # not in the database yet
            )
            .order_by(direct_messages.c.id)
            .limit(limit)
        )

    async def catch_up(
        self,
        room: RoomRecord | None,
        after: int,
        account_id: int | None,
        direct_after: int | None,
        limit: int,
        /,
    ) -> tuple[Sequence[Message], Sequence[DirectMessage]]:
        """@raise Refusal: C{internal} if nothing can be read, C{closed} after L{close}."""
        if self._handed < self._accepted:
            landed: Deferred[None] = Deferred()
            self._behind.append((self._accepted, landed))
            await landed
        direct = None
        if account_id is not None and direct_after is None:
            direct = self._unread(account_id, limit)
        elif account_id is not None:
            direct = _direct_since(account_id, direct_after or 0, limit)

        def work(connection: Connection) -> tuple[list[Message], list[DirectMessage]]:
            messages = [] if room is None else _history(connection, room, limit, after)
            told = [] if direct is None else _direct_messages(connection, direct)
            return messages, told

        return await self._read(work)

    async def labels(self, since: int, /) -> Sequence[Stored]:
        """@raise Refusal: C{internal} if nothing can be read, C{closed} after L{close}."""
        return await self._read(_labelled, since)

    async def prune(self, before: int) -> int:
        """Delete the messages, private ones too, that are older than a time.

        Goes through the log from its beginning, C{_PRUNE} messages at a time, and stops when none
        of them is older: the messages behind them are newer.

        @param before: the time, in UTC milliseconds since 1970.
        @return: how many messages were deleted.
        @raise Refusal: C{internal} if the database cannot be written, C{closed} after L{close}.
        """
        deleted = 0
        for table in (messages, direct_messages):
            first = select(table.c.id).order_by(table.c.id).limit(_PRUNE)
            statement = delete(table).where(table.c.id.in_(first), table.c.time < before)
            while count := await self._write(lambda c, s: c.execute(s).rowcount, statement):
                deleted += count
        return deleted

    async def newest(self) -> int | None:
        """Return the time of the newest message in the log, private ones included.

        @return: UTC milliseconds since 1970; None if the log is empty.
        @raise Refusal: C{internal} if the database cannot be read, C{closed} after L{close}.
        """
        return await self._read(_newest_time)

    # Accounts

    async def find_account(self, name: str, /) -> Account | None:
        """@raise Refusal: C{internal} if nothing can be read, C{closed} after L{close}."""
        row = await self._read(
            _first,
            select(accounts.c.id, accounts.c.name, accounts.c.password_hash).where(
                accounts.c.name == name
            ),
        )
        return None if row is None else Account(row.id, row.name, row.password_hash)

    async def find_look_alike(self, skeleton: str, /) -> str | None:
        """@raise Refusal: C{internal} if nothing can be read, C{closed} after L{close}."""
        row = await self._read(
            _first, select(accounts.c.name).where(accounts.c.skeleton == skeleton)
        )
        return None if row is None else row.name

    async def add_account(
        self, name: str, skeleton: str, password_hash: bytes, time: int, /
    ) -> Account | None:
        """@raise Refusal: C{internal} if nothing can be written, C{closed} after L{close}."""
        statement = insert(accounts).values(
            name=name, skeleton=skeleton, password_hash=password_hash, created=time
        )
        id = await self._add(statement)
        return None if id is None else Account(id, name, password_hash)

    async def set_password(self, account_id: int, before: bytes, password_hash: bytes, /) -> bool:
        """@raise Refusal: C{internal} if nothing can be written, C{closed} after L{close}."""
        mine = (accounts.c.id == account_id) & (accounts.c.password_hash == before)
        statement = update(accounts).where(mine).values(password_hash=password_hash)
        return await self._write(lambda c, s: c.execute(s).rowcount == 1, statement)

    # Rooms

    async def add_room(self, name: str, skeleton: str, time: int, /) -> RoomRecord | None:
        """@raise Refusal: C{internal} if nothing can be written, C{closed} after L{close}."""
        statement = insert(rooms).values(name=name, skeleton=skeleton, created=time)
        id = await self._add(statement)
        return None if id is None else RoomRecord(id, name, skeleton, "", "")

    async def set_topic(self, room_id: int, topic: str, by: str, /) -> None:
        """@raise Refusal: C{internal} if nothing can be written, C{closed} after L{close}."""
        await self._write(
            _execute, update(rooms).where(rooms.c.id == room_id).values(topic=topic, topic_by=by)
        )

    async def _add(self, statement: Any) -> int | None:
        """Insert a row.

        @return: its key; None if another row already has a value that must be unique.
        @raise Refusal: C{internal} if the database cannot be written, C{closed} after L{close}.
        """
        try:
            return await self._write(_insert, statement)
        except IntegrityError:
            return None

    def _read(
        self,
        transaction: Callable[Concatenate[Connection, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Deferred[T]:
        """Run a transaction that reads, on the store's thread.

        @return: fires with the result of C{transaction}; fails with a L{Refusal}: C{internal} if
            the database cannot be read, C{closed} after L{close}.
        """

        def answered(result: T) -> T:
            self._outages["read"].end()
            return result

        asked = self._run(transaction, *args, **kwargs)
        return asked.addCallbacks(answered, self._cannot, errbackArgs=("read",))

    def _run(
        self,
        transaction: Callable[Concatenate[Connection, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Deferred[T]:
        return self._on_thread(self._database.read, lambda c: transaction(c, *args, **kwargs))

    def _write(
        self,
        transaction: Callable[Concatenate[Connection, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Deferred[T]:
        """Run a transaction that writes, on the store's thread.

        @return: fires with the result of C{transaction}; fails with a L{Refusal}: C{internal} if
            the database cannot be written, C{closed} after L{close}.
        """
        written = self._on_thread(self._database.write, lambda c: transaction(c, *args, **kwargs))
        # Success does not end an outage: a full disk may still have room for something small.
        return written.addErrback(self._cannot, "written")

    def _on_thread(
        self, do: Callable[[Callable[[Connection], T]], T], work: Callable[[Connection], T]
    ) -> Deferred[T]:
        return deferToThreadPool(self._reactor, self._pool, self._attempt, do, work)

    def _attempt(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call C{work}, unless the file is known to be damaged. Runs on the store's thread.

        @raise StoreError: if the file is known to be damaged.
        @raise Refusal: C{closed} if the database is closed.
        @raise Exception: whatever C{work} raises.
        """
        if self._damage is not None:
            raise StoreError(self._damage)
        if not self._database.is_open:
            raise Refusal("closed", "the server is going down")
        try:
            return work(*args, **kwargs)
        except Exception as error:
            self._damage = str(error) if isinstance(error, Unknown) else damage(error)
            raise

    def _cannot(self, failure: Failure, what: str) -> Failure:
        reason = trouble(failure.value)
        if reason is not None:
            self._outages[what].refuse(reason, 0 if what == "written" else 1)
            raise Refusal("internal", _CANNOT[what])
        if failure.check(Unknown):
            self._is_damaged()
            raise Refusal("internal", _UNKNOWN)
        if self._is_damaged():
            raise Refusal("internal", "the database is damaged, and the server is going down")
        return failure

    def _is_damaged(self) -> bool:
        if self._damage is not None and self._damaged is not None:
            damaged, self._damaged = self._damaged, None
            damaged(f"cannot continue with the database {_shown(self._url)}: {self._damage}")
        return self._damage is not None


# Transactions: plain functions that run on the store's thread.


def _sql(statement: UpdateBase) -> str:
    """Compile a statement to the text that the driver takes. The statements of a commit go to the
    driver as text, because SQLAlchemy takes longer to handle them than SQLite to run them."""
    return str(statement.compile(dialect=sqlite.dialect()))


_INSERT_MESSAGES = _sql(insert(messages))
_INSERT_DIRECT = _sql(insert(direct_messages))
_TAKE_IDS = _sql(
    update(log_head)
    .values(last_id=log_head.c.last_id + bindparam("count"))
    .returning(log_head.c.last_id)
)
_TAKE_SEQS = _sql(
    update(rooms)
    .values(last_seq=rooms.c.last_seq + bindparam("count"))
    .where(rooms.c.id == bindparam("room"))
    .returning(rooms.c.last_seq)
)
_MARK_READ = _sql(
    update(accounts)
    .values(read_up_to=func.min(bindparam("up_to"), select(log_head.c.last_id).scalar_subquery()))
    .where(accounts.c.id == bindparam("account"), accounts.c.read_up_to < bindparam("up_to"))
)

_SENDER = accounts.alias("sender")
_RECIPIENT = accounts.alias("recipient")
_DIRECT = (
    select(
        direct_messages.c.id,
        _SENDER.c.name,
        _RECIPIENT.c.name,
        direct_messages.c.time,
        direct_messages.c.text,
        func.coalesce(direct_messages.c.label, ""),
    )
    .join(_SENDER, _SENDER.c.id == direct_messages.c.sender_id)
    .join(_RECIPIENT, _RECIPIENT.c.id == direct_messages.c.recipient_id)
)


def _append(connection: Connection, posts: Sequence[Post], reads: dict[int, int]) -> list[Stored]:
    """Append posts to the log and move read marks.

    @param reads: account id → id of the last private message that the account has seen.
    @return: what was stored for each post, with ids, and in each room C{seq} without a gap.
    """
    driver: Any = connection.connection.dbapi_connection
    # Close the cursor at once: SQLite keeps the file open as long as a cursor exists, even if only
    # a traceback refers to it.
    with closing(driver.cursor()) as cursor:
        stored = _append_posts(cursor, posts) if posts else []
        if reads:
            cursor.executemany(_MARK_READ, [(up_to, id, up_to) for id, up_to in reads.items()])
    return stored


def _append_posts(cursor: DBAPICursor, posts: Sequence[Post]) -> list[Stored]:
    id = _take_ids(cursor, len(posts))
    seqs = _take_seqs(cursor, posts)
    stored: list[Stored] = []
    said: list[tuple[object, ...]] = []
    told: list[tuple[object, ...]] = []
    for post in posts:
        id += 1
        if isinstance(post, RoomPost):
            room, author, time, text = post.room_id, post.author, post.time, post.text
            seq = seqs[room] = seqs[room] + 1
            label = post.label
            said.append((id, room, seq, author, time, text, post.action, label or None))
            stored.append(Message(id, post.room, seq, author, time, text, post.action, label))
            continue
        kept = post.sender_id is not None and post.recipient_id is not None
        if kept:
            to = post.recipient_id
            told.append((id, post.sender_id, to, post.time, post.text, post.label or None))
        stored.append(
            DirectMessage(
                id if kept else None,
                post.sender,
                post.recipient,
                post.time,
                post.text,
                post.label,
            )
        )
    if said:
        cursor.executemany(_INSERT_MESSAGES, said)
    if told:
        cursor.executemany(_INSERT_DIRECT, told)
    return stored


def _take_ids(cursor: DBAPICursor, count: int) -> int:
    """Reserve C{count} ids, and return the last id before them."""
    cursor.execute(_TAKE_IDS, (count,))
    ((last,),) = cursor.fetchall()
    return int(last) - count


def _take_seqs(cursor: DBAPICursor, posts: Sequence[Post]) -> dict[int, int]:
    """Reserve a C{seq} for each room post. Return, by room id, the last C{seq} before them."""
    counts = Counter(post.room_id for post in posts if isinstance(post, RoomPost))
    seqs: dict[int, int] = {}
    for room, count in counts.items():
        cursor.execute(_TAKE_SEQS, (count, room))
        ((last,),) = cursor.fetchall()
        seqs[room] = last - count
    return seqs


def _between(account_id: int, other_id: int, limit: int) -> Select[Any]:
    """Select the last private messages between two accounts."""
    sender, recipient = direct_messages.c.sender_id, direct_messages.c.recipient_id
    sent = (sender == account_id) & (recipient == other_id)
    got = (sender == other_id) & (recipient == account_id)
    return _newest(sent, got & (sender != recipient), limit)


def _direct_since(account_id: int, after: int, limit: int) -> Select[Any]:
    """Select the last private messages that an account sent or got after an id."""
    sender, recipient = direct_messages.c.sender_id, direct_messages.c.recipient_id
    sent = (sender == account_id) & (direct_messages.c.id > after)
    got = (recipient == account_id) & (direct_messages.c.id > after)
    return _newest(sent, got & (sender != recipient), limit)


def _newest(one: ColumnElement[bool], other: ColumnElement[bool], limit: int) -> Select[Any]:
    """Select the last private messages that meet one of two conditions. None may meet both.

    For each condition there is an index that has its messages in order. SQLite merges the two, and
    reads no more rows than it returns. With C{OR} it would read and sort all that match.
    """
    ids = union_all(*(select(direct_messages.c.id).where(each) for each in (one, other)))
    newest = ids.order_by(desc("id")).limit(limit).subquery()
    return _DIRECT.join(newest, newest.c.id == direct_messages.c.id)


def _history(connection: Connection, room: RoomRecord, limit: int, after: int = 0) -> list[Message]:
    rows = connection.execute(
        select(
            messages.c.id,
            messages.c.seq,
            messages.c.author,
            messages.c.time,
            messages.c.text,
            messages.c.action,
            func.coalesce(messages.c.label, ""),
        )
        .where(messages.c.room_id == room.id, messages.c.seq > after)
        .order_by(messages.c.seq.desc())
        .limit(limit)
    )
    return [Message(row[0], room.name, *row[1:]) for row in rows][::-1]


def _labelled(connection: Connection, since: int) -> list[Stored]:
    """The messages of both kinds that have a label, from a time on, in the order of the log."""
    rows = connection.execute(
        select(
            messages.c.id,
            rooms.c.name,
            messages.c.seq,
            messages.c.author,
            messages.c.time,
            messages.c.text,
            messages.c.action,
            messages.c.label,
        )
        .join(rooms, rooms.c.id == messages.c.room_id)
        .where(messages.c.label.is_not(None), messages.c.time >= since)
    )
    said = [Message(*row) for row in rows]
    lately = direct_messages.c.label.is_not(None), direct_messages.c.time >= since
    told = _direct_messages(connection, _DIRECT.where(*lately))
    return sorted((*said, *told), key=lambda message: message.id or 0)


def _newest_time(connection: Connection) -> int | None:
    last = (select(t.c.time).order_by(t.c.id.desc()).limit(1) for t in (messages, direct_messages))
    times = [connection.execute(statement).scalar() for statement in last]
    return max((time for time in times if time is not None), default=None)


def _direct_messages(connection: Connection, statement: Select[Any]) -> list[DirectMessage]:
    """Return the private messages that a statement selects, oldest first."""
    rows = connection.execute(statement).all()
    return sorted((DirectMessage(*row) for row in rows), key=lambda message: message.id or 0)


def _rooms(connection: Connection) -> list[RoomRecord]:
    rows = connection.execute(
        select(
            rooms.c.id, rooms.c.name, rooms.c.skeleton, rooms.c.topic, rooms.c.topic_by
        ).order_by(rooms.c.name)
    )
    return [RoomRecord(*row) for row in rows]


def _password_hashes(connection: Connection) -> list[bytes]:
    return list(
        connection.scalars(
            select(func.substr(accounts.c.password_hash, 1, 7, type_=LargeBinary)).distinct()
        )
    )


def _first(connection: Connection, statement: Select[Any]) -> Row[Any] | None:
    return connection.execute(statement).first()


def _execute(connection: Connection, statement: Any) -> None:
    connection.execute(statement)


def _insert(connection: Connection, statement: Any) -> int:
    key = connection.execute(statement).inserted_primary_key
    assert key is not None
    return int(key[0])


def _shown(url: URL) -> str:
    return url.render_as_string()


def _reason(url: URL, error: Exception) -> str:
    cause = words(error)
    if "locked" in cause:
        cause = "another process has it open"
    elif url.database and os.path.exists(url.database) and not os.access(url.database, os.W_OK):
        cause = "the file cannot be written"
    return f"cannot use the database {_shown(url)}: {cause}"
