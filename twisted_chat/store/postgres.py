"""L{PostgresDatabase}: a PostgreSQL database that several nodes share."""

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from secrets import randbits
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import Connection
from sqlalchemy.engine import URL
from twisted.internet.interfaces import IReactorFromThreads
from twisted.logger import Logger

from twisted_chat.core.announcements import Delivered, Gone, encode
from twisted_chat.core.errors import Code
from twisted_chat.core.model import Entry

from .commit import CALL, FUNCTION, SCRIPT, Answer, Commit
from .engine import Forked, HandOver, Item, Lost, Pairs
from .link import Link, damage, trouble
from .migrate import identify, upgrade
from .pull import Piece, Reader
from .shown import Committed, Loss, Shown
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
"""All that changes C{commits} or C{nodes} does this first; see C{append.sql}."""

_PATIENCE = "2s"
"""How long a node waits for the log's lock when it comes back."""

_LOCK_SCHEMA = "SELECT pg_advisory_xact_lock(7163380401923912053)"

_FENCE = "SELECT 1 FROM nodes WHERE id = %s AND epoch = %s FOR SHARE"

_COMMITS_AMONG = "SELECT last_id, node, batch FROM commits WHERE last_id = ANY (%s)"
_ENDS = "SELECT min(last_id), max(last_id) FROM commits"

_REGISTER_AGAIN = """
UPDATE nodes SET epoch = %s, timeline = %s WHERE id = %s AND epoch = ANY (%s) RETURNING id
"""
_REGISTER_ANEW = """
INSERT INTO nodes (id, epoch, timeline) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING RETURNING id
"""
_NEW_NODE = """
SELECT greatest(nextval(pg_get_serial_sequence('nodes', 'id')),
    (SELECT max(id) + 1 FROM nodes))
"""

_RAISE = """
UPDATE rooms
SET last_seq = greatest(last_seq, shown.seq), last_time = greatest(last_time, shown.time)
FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[]) AS shown (room, seq, time)
WHERE id = shown.room
"""

_END = "INSERT INTO commits VALUES (%s, %s, 0, extract(epoch FROM clock_timestamp()) * 1000)"

_KEPT = 3600_000
"""Milliseconds for which commits and news are kept."""

_PRUNE = 2000
"""Commits that are deleted at a time, at most."""

_OLD = f"""
SELECT max(last_id) FROM (
    SELECT last_id, time FROM commits WHERE last_id >= %s ORDER BY last_id LIMIT {_PRUNE}
) AS first
WHERE time < extract(epoch FROM clock_timestamp()) * 1000 - {_KEPT}
    AND last_id < (SELECT max(last_id) FROM commits)
    AND (SELECT time FROM commits WHERE last_id >= %s ORDER BY last_id LIMIT 1)
        < extract(epoch FROM now()) * 1000 - {_KEPT}
"""

_EVICTED = "the other nodes took this one for dead"

_log = Logger()


class Return(NamedTuple):
    """How it was to come back.

    @ivar is_anew: the node had been evicted, or its row was lost: none of its claims on names is
        left. It may have another number now.
    @ivar has_missed: what the other nodes have said meanwhile was not handed over.
    """

    is_anew: bool
    has_missed: bool = False


class PostgresDatabase:
    """An L{Engine<twisted_chat.store.engine.Engine>}. All methods run on the store's thread but
    those that say otherwise.

    When the connection is lost, it stays away, and every call fails with L{Away}, until
    L{come_back} has worked.
    """

    def __init__(self, url: URL, reactor: IReactorFromThreads) -> None:
        self._link = Link(url, reactor)
        self._reactor = reactor
        self._hand_over: HandOver = lambda batch: None
        self._lost: Lost = lambda numbers, code: None
        self._forked: Forked = lambda count, started: None
        self._start: Callable[[Connection], Any] = lambda connection: None
        self._node = 0
        self._epochs = [0]  # of which one is in the database
        self._batch = 0
        self._cursor = 0
        self._began = 0  # the core knows the labels of all entries up to this one
        self._doubt: tuple[int, Commit, Sequence[int]] | None = None  # batch, commit, numbers
        self._reader = Reader()
        self._shown = Shown()
        self._pruned = 0
        self._is_open = False
        self._busy_since: float | None = None

    @property
    def node(self) -> int:
        return self._node

    @property
    def is_open(self) -> bool:
        return self._is_open

    @property
    def cursor(self) -> int:
        """Up to which id the log is handed over."""
        return self._cursor

    @property
    def is_away(self) -> bool:
        """Whether there is no connection. Any thread may ask."""
        return not self._link.is_up

    @property
    def busy_since(self) -> float | None:
        """When the call under way began, by C{time.monotonic}; L{None} if there is none. Any thread
        may ask."""
        return self._busy_since

    def cut(self) -> None:
        """Shut the connection's socket down, so that the call under way fails as if the connection
        were lost. Any thread may call this."""
        self._link.cut()

    def hasten(self) -> None:
        """Do nothing: no call waits for long."""

    def subscribe(self, hand_over: HandOver, lost: Lost, forked: Forked, /) -> None:
        self._hand_over, self._lost, self._forked = hand_over, lost, forked

    def open(self, start: Callable[[Connection], T]) -> T:
        """Connect, bring the schema up to date, and register the node.

        @return: the result of C{start}.
        """
        self._start = start
        try:
            self._link.connect()
            with self._link.transaction():
                self._link.execute(_LOCK_SCHEMA)
                connection = self._link.connection
                upgrade(connection, identify(connection))
                if self._link.execute("SELECT to_regproc(%s)", FUNCTION) == [(None,)]:
                    self._link.execute(SCRIPT.read_text("utf-8"))
            with self._registering():
                pass
            started = self._begin(start)
        except BaseException:
            self._link.drop("it is not open")
            raise
        self._is_open = True
        return started

    def close(self) -> None:
        """Take the node out of C{nodes}, tell the others that it is L{Gone}, and close the
        connection."""
        self._is_open = False
        if self._link.is_up:
            with suppress(Exception):
                self.evict([self._node])
        self._link.drop("it is closed")

    # Transactions

    def read(self, work: Callable[[Connection], T]) -> T:
        with self._talking() as connection, self._link.reading() as head:
            self._pull(head)
            return work(connection)

    def write(self, work: Callable[[Connection], T]) -> T:
        """Run a transaction that writes.

        @raise Away: also if this node was evicted: nothing is kept then.
        @raise InDoubt: if the connection was lost at the end, so that it is not known whether the
            transaction was kept.
        """
        with self._talking() as connection, self._link.transaction():
            if not self._link.execute(_FENCE, self._node, self._epochs[-1]):
                raise Away(_EVICTED)
            return work(connection)

    def append(self, items: Sequence[Item], numbers: Sequence[int], seen: int) -> Pairs:
        with self._talking():
            commit = Commit(items, numbers)
            self._batch += 1
            node = self._node, self._epochs[-1], self._link.timeline
            seen = min(max(seen, self._began), self._cursor)
            parameters = commit.parameters(*node, self._batch, seen)
            was_kept = False
            try:
                (fields,) = self._link.execute(CALL, *parameters)
                was_kept = True
                answer = Answer(*fields)
                known = [*self._known(answer)]
                pieces = [*self._pieces(answer.base)]
            except Exception as error:
                if was_kept or self._link.is_lost(error):
                    self._doubt = self._batch, commit, numbers
                    raise InDoubt(words(error)) from error
                raise
            others = [one for piece in pieces for one in piece.said]
            pairs = commit.pair(answer, [*known, *others])
            for piece in pieces:
                self._shown.note(piece.commits, piece.said)
            self._cursor = answer.base + commit.places
            if commit.places:
                done = Committed(self._cursor, self._node, self._batch)
                own = [(what.id, what) for _, what in pairs if isinstance(what, Entry)]
                self._shown.note((done,), [one for one in own if one[0] > answer.base])
            return pairs

    def pull(self, head: int | None = None) -> None:
        """Hand over what other nodes have stored since the last time.

        @param head: the end of the log, if it is known.
        @raise Exception: if the database is away; see L{trouble}.
        """
        with self._talking():
            self._pull(head)

    # The other nodes

    def live(self) -> list[int]:
        """Return the nodes that are registered, without this one."""
        with self._talking():
            rows = self._link.execute("SELECT id FROM nodes WHERE id <> %s", self._node)
            return [id for (id,) in rows]

    def evict(self, nodes: Collection[int]) -> list[int]:
        """Take nodes that have died out of C{nodes} and their claims out of C{held}, and tell all
        that they are L{Gone}, in one transaction under the log's lock.

        @return: those that were still there.
        """
        execute = self._link.execute
        with self._talking(), self._link.transaction():
            execute(_LOCK_LOG)
            rows = execute("DELETE FROM nodes WHERE id = ANY (%s) RETURNING id", [*nodes])
            evicted = sorted(id for (id,) in rows)
            if evicted:
                execute("DELETE FROM held WHERE node = ANY (%s)", evicted)
                ((_, head),) = execute(_ENDS)
                for id, node in enumerate(evicted, head + 1):
                    gone = encode(Gone(node))
                    execute("INSERT INTO news VALUES (%s, %s, %s, %s)", id, self._node, *gone)
                self._end_log(head + len(evicted))
            return evicted

    def prune(self) -> None:
        """Delete some of the commits and the news that are older than an hour."""
        with self._talking():
            ((upto,),) = self._link.execute(_OLD, self._pruned, self._pruned)
            if upto is not None:
                for table, id in ("commits", "last_id"), ("news", "id"):
                    self._link.execute(
                        f"DELETE FROM {table} WHERE {id} >= %s AND {id} <= %s", self._pruned, upto
                    )
                self._pruned = upto

    def _end_log(self, last_id: int) -> None:
        """Note a commit that no batch of this node has made, and tell the nodes."""
        self._link.execute(_END, last_id, self._node)
        self._link.execute("SELECT pg_notify(%s, %s)", CHANNEL, f"{self._node} {last_id}")

    # Coming back

    def come_back(self) -> Return:
        """Connect again, and find out what was missed: registers the node under the log's lock, so
        that no earlier commit of it can still come; finds out what became of the commit in doubt
        and tells it by L{subscribe}'s callables; then pulls. Does nothing if there is a connection.

        Fails at once, or after 2 seconds, if the database is still away.

        @raise psycopg.errors.LockNotAvailable: if another connection has held the log's lock for 2
            seconds.
        @raise Exception: see L{trouble}.
        """
        if self._link.is_up:
            return Return(False)
        self._link.connect()
        try:
            with self._talking():
                with self._registering() as is_anew:
                    loss, is_stale = self._compare()
                    if loss is not None:
                        self._scar(loss)
                if loss is not None or is_stale:
                    self._begin_anew(loss)
                else:
                    self._pull()
                    self._give_up_doubt("unavailable")
                return Return(is_anew, loss is not None or is_stale)
        except BaseException as error:
            self._link.drop(words(error))  # it is not registered
            raise

    @contextmanager
    def _registering(self) -> Iterator[bool]:
        """Take a new epoch under the log's lock, so that commits of earlier ones are refused from
        now on.

        @return: whether the node was not registered.
        """
        execute = self._link.execute
        self._epochs.append(epoch := randbits(62))
        given = epoch, self._link.timeline
        node = self._node
        with self._link.transaction():
            execute(f"SET LOCAL lock_timeout = '{_PATIENCE}'")
            execute(_LOCK_LOG)
            is_anew = not execute(_REGISTER_AGAIN, *given, node, self._epochs)
            if is_anew and not (node and execute(_REGISTER_ANEW, node, *given)):
                ((node,),) = execute(_NEW_NODE)
                execute(_REGISTER_ANEW, node, *given)
            yield is_anew
        self._epochs = [epoch]
        self._node = node

    def _begin(self, start: Callable[[Connection], T]) -> T:
        """Take the log as it is now to be handed over."""
        with self._link.reading() as head:
            (last,) = self._link.execute(_COMMITS_AMONG, [head])
            self._shown.begin(Committed(*last))
            self._cursor = self._pruned = self._began = head
            return start(self._link.connection)

    def _compare(self) -> tuple[Loss | None, bool]:
        """Find out whether what was handed over is still in the database.

        @return: what is not; and whether that cannot be found out, as the node was away for longer
            than commits are kept.
        """
        rows = self._link.execute(_COMMITS_AMONG, self._shown.last_ids)
        loss = self._shown.loss({Committed(*row) for row in rows})
        ((oldest, _),) = self._link.execute(_ENDS)
        is_stale = loss is not None and oldest > self._shown.newest.last_id
        return (None, True) if is_stale else (loss, False)

    def _scar(self, loss: Loss) -> None:
        """See to it that no number is used again that was shown."""
        rooms = [[room, *last] for room, last in loss.rooms.items()]
        if rooms:
            self._link.execute(_RAISE, *map(list, zip(*rooms, strict=True)))
        ((_, head),) = self._link.execute(_ENDS)
        self._end_log(max(head, loss.last_id) + 1)

    def _begin_anew(self, loss: Loss | None) -> None:
        """Tell that all must begin anew."""
        count = loss.messages if loss is not None else 0
        if loss is not None:
            text = "the database has lost its last {count} messages that this node has shown"
        else:
            text = "this node was away from the database for too long to go on"
        self._reactor.callFromThread(_log.critical, f"{text}; all sessions end", count=count)
        started = self._begin(self._start)
        self._give_up_doubt("internal" if loss is None else "unavailable")
        self._reactor.callFromThread(lambda: self._forked(count, started))

    def _give_up_doubt(self, code: Code) -> None:
        doubt, self._doubt = self._doubt, None
        if doubt is not None:
            self._lose(doubt[2], code)

    # Reading the log

    def _pull(self, head: int | None = None) -> None:
        """Hand over what is above the cursor.

        @param head: the end of the log, if it is known.
        """
        while head is None or head > self._cursor:
            piece = self._reader.read(self._link.connection, self._cursor)
            self._take(piece)
            self._shown.note(piece.commits, piece.said)
            self._cursor, head = piece.upto, piece.head

    def _pieces(self, upto: int) -> Iterator[Piece]:
        """Read what is above the cursor, up to a commit of our own."""
        after = self._cursor
        while after < upto:
            piece = self._reader.read(self._link.connection, after, upto)
            yield piece
            after = piece.upto

    def _known(self, answer: Answer) -> Iterator[tuple[int, Delivered]]:
        """Read once more what was read before, and turned out to be what posts of a batch repeat
        that had come before it was handed over."""
        for id in sorted(set(answer.originals or ())):
            if id <= self._cursor:
                yield from self._reader.read(self._link.connection, id - 1, id).said

    def _take(self, piece: Piece) -> None:
        """Hand over a piece of the log."""
        pairs: list[tuple[int, Delivered]] | None = None
        if self._doubt is not None:
            batch, commit, _ = self._doubt
            for kept in piece.commits:
                if kept[1:] == (self._node, batch):
                    self._doubt = None
                    pairs, lost = commit.recover(kept.last_id - commit.places, piece.said)
                    self._lose(lost, "unavailable")
        if pairs is None:
            pairs = [(0, what) for _, what in piece.said]
        if pairs:
            handed = pairs
            self._reactor.callFromThread(lambda: self._hand_over(handed))

    def _lose(self, numbers: Sequence[int], code: Code) -> None:
        if numbers:
            self._reactor.callFromThread(lambda: self._lost(numbers, code))

    # Failures

    @contextmanager
    def _talking(self) -> Iterator[Connection]:
        """Note how long a call takes, and whether the connection is lost."""
        connection = self._link.connection
        self._busy_since = time.monotonic()
        try:
            yield connection
        except BaseException as error:
            if self._link.is_useless(error):
                self._link.drop(words(error))
            raise
        finally:
            self._busy_since = None

    def trouble(self, error: BaseException | None) -> str | None:
        return trouble(error)

    def damage(self, error: BaseException | None) -> str | None:
        return damage(error)
