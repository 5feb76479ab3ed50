"""L{Node}: the life of a node that shares its database with others."""

import random
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import psycopg
from psycopg import errors
from sqlalchemy import Connection, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_chat.core.announcements import Announced, Asked, Gone
from twisted_chat.core.errors import Refusal

from . import server
from .ears import Ears, cut
from .engine import HandOver
from .link import waits
from .postgres import CHANNEL, LOG, NODES, PostgresDatabase
from .trouble import Outage, StoreError, words

T = TypeVar("T")

_LOOK = 0.2
"""Seconds between two looks at the connections."""

_TICK = 10
"""Looks between two questions to the database: for news of which no notification came, and for
nodes that have died."""

_PATIENCE = 15
"""Looks for which the database may leave a call without an answer."""

_LONGEST = 10
"""Looks between two attempts to connect, at most."""

_ABSENCES = 4
"""Ticks in a row at which a node must be missing to be taken for dead: six seconds."""

_ANSWERS = 1.0
"""Seconds that a node waits, when it starts, to be told who is with the others."""

_LOCKS = f"""
    SELECT pid, objid::bigint AS node FROM pg_locks
    WHERE locktype = 'advisory' AND classid = {NODES} AND objsubid = 2 AND granted
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
"""The locks of the nodes that live. A lock ends with its connection, and so with the process."""

_OTHERS = text(f"""
    WITH locks AS ({_LOCKS})
    SELECT id, id IN (SELECT node FROM locks) FROM nodes WHERE id <> :node
""")
"""The other nodes, and whether they live."""

_SILENT = text(f"""
    WITH locks AS ({_LOCKS})
    SELECT count(*) FROM nodes WHERE id <> :node AND id IN (SELECT node FROM locks) AND NOT EXISTS (
        SELECT FROM news WHERE news.node = nodes.id AND kind = 'present' AND body LIKE '%,true]'
            AND news.id > :asked
    )
""")
"""How many other nodes have not said who is with them since this one has asked, at an id."""

_FREE = f"""
    WITH locks AS ({_LOCKS})
    SELECT pg_terminate_backend(pid) FROM locks WHERE node = %s AND pid <> pg_backend_pid()
"""
"""End an earlier connection of this node, if PostgreSQL has not noticed yet that it is lost. No
other node has the same number."""

_LOCK = f"SELECT pg_advisory_lock({NODES}, %s)"

_HOLDER = f"""
    SELECT pid, application_name, coalesce(host(client_addr), 'a Unix socket'), state
    FROM pg_locks JOIN pg_stat_activity USING (pid)
    WHERE locktype = 'advisory' AND classid = {LOG >> 32} AND objid = {LOG & 0xFFFFFFFF}
        AND objsubid = 1 AND granted
"""

_log = Logger()


class _Returned(NamedTuple):
    """What came of connecting.

    @ivar ears: the new connection that listens; L{None} if the old one is still good.
    @ivar is_anew: as in L{twisted_chat.store.postgres.Return}; L{None} if the store's connection
        was not lost.
    @ivar gone: nodes that may have died while nobody could tell this one.
    @ivar is_waiting: nothing can be stored yet, as not all nodes are back after a failover. The
        core is not told before that works: what it answers would be lost.
    """

    ears: server.Connection | None
    is_anew: bool | None = None
    gone: frozenset[int] = frozenset()
    is_waiting: bool = False


class Node:
    """Keeps a node in touch with the others: hears of commits and has them pulled, connects again
    when a connection is lost, cuts off one that does not answer, and takes nodes that have died out
    of the database.

    While a node lives, it holds an advisory lock, on the connection that listens.

    All methods run on the reactor's thread but those that say otherwise.

    @ivar outage: begins when the database goes away, and ends when it is back.
    """

    def __init__(self, database: PostgresDatabase, url: URL, reactor: Any) -> None:
        self._database = database
        self._url = url
        self._reactor = reactor
        self.outage = Outage(
            "the database is away: {reason}",
            "the database is back; {count} requests were refused meanwhile",
        )
        self._run: Callable[[Callable[[], Any]], Deferred[Any]]
        self._hand_over: HandOver
        self._ears: Ears | None = None
        self._node = 0  # for which the ears hold the lock
        self._has_job = False  # it connects, or asks for nodes that have died
        self._to_tick = 0
        self._to_try = 0
        self._tries = 0
        self._watched: tuple[object, object] = (None, None)
        self._patience = _PATIENCE
        self._is_waiting = False  # for other nodes, after a failover
        self._is_pulling = False
        self._to_pull = 0
        self._is_closing = False
        self._looking = LoopingCall(self._look)
        self._looking.clock = reactor
        # Used on the store's thread:
        self._opening: server.Connection | None = None  # also read by the reactor's
        self._has_asked = False
        self._has_told = False
        self._is_anew: bool | None = None
        self._gone: frozenset[int] = frozenset()
        self._others: frozenset[int] = frozenset()
        self._absent: dict[int, int] = {}

    def open(self, work: Callable[[Connection], T]) -> T:
        """Check that nodes can share the database, and open it. Blocks.

        @param work: as for L{PostgresDatabase.open}.
        @raise StoreError: if the database cannot be used; the text says why.
        @raise DatabaseTooNew: if a newer version of this program has upgraded it.
        """
        try:
            server.check(self._url)
            return self._database.open(work)
        except (psycopg.Error, SQLAlchemyError) as error:
            raise StoreError(server.reason(error, self._url)) from error

    def start(self, run: Callable[[Callable[[], Any]], Deferred[Any]], hand_over: HandOver) -> None:
        """Begin. The database is open.

        What is asked of the store from now on is answered when it is known who is with the other
        nodes, unless one of them does not say so in time.

        @param run: calls a function on the store's thread.
        @param hand_over: called with what the node's own core must be told.
        """
        self._run, self._hand_over = run, hand_over
        self._connect()
        self._looking.start(_LOOK, now=False).addErrback(
            lambda failure: _log.failure("looking after the connections", failure)
        )

    def close(self) -> None:
        """Listen no more, and connect no more."""
        self._is_closing = True
        ears, self._ears = self._ears, None
        if ears is not None:
            ears.close()

    def stop(self) -> None:
        """End. The database is closed."""
        self.close()
        if self._looking.running:
            self._looking.stop()

    # A look, every fifth of a second

    def _look(self) -> None:
        self._watch()
        if self._has_job or self._is_closing:
            return
        if self._database.is_away or self._ears is None:
            self._to_try -= 1
            if self._to_try <= 0:
                self._connect()
            return
        self._to_tick -= 1
        if self._to_tick <= 0:
            self._to_tick = _TICK
            self._begin(self._examine, self._examined)

    def _watch(self) -> None:
        """Cut off the connections if a call has been without an answer for too long.

        Looks are counted, not seconds: this process itself may have been stopped for a while.
        """
        watched = self._database.busy_since, self._opening
        if watched == (None, None) or watched != self._watched:
            self._watched, self._patience = watched, _PATIENCE
            return
        self._patience -= 1
        if self._patience == 0:
            self._database.cut()
            opening = self._opening
            if opening is not None:
                cut(opening)

    def _begin(self, job: Callable[[], T], done: Callable[[T], None]) -> None:
        def over(result: T) -> T:
            self._has_job = False
            return result

        self._has_job = True
        self._run(job).addBoth(over).addCallback(done).addErrback(self._failed)

    def _failed(self, failure: Failure) -> None:
        if failure.check(Refusal):  # the store was closed meanwhile
            return
        reason = self._database.trouble(failure.value)
        if reason is None:
            _log.failure("keeping in touch with the database", failure)
            reason = words(failure.value)
        if self._database.is_away:
            self.outage.refuse(reason, 0)
        else:
            if self._ears is None and not self._tries:
                _log.warn("cannot listen to the other nodes: {reason}", reason=reason)
            self._pull()
        self._tries += 1
        longest = min(_LONGEST, 2**self._tries)
        self._to_try = round(random.uniform(0.5, 1.0) * longest)

    # Notifications

    def _heard(self, what: str) -> None:
        node, _, head = what.partition(" ")
        if node != str(self._database.node):
            self._pull(int(head))

    def _deaf(self, reason: str) -> None:
        self._ears = None  # the next look connects again

    def _pull(self, head: int = sys.maxsize) -> None:
        """Have the store hand over what others have stored, unless it has done so by itself when
        its turn comes.

        @param head: the end of the log, if it is known.
        """
        self._to_pull = max(self._to_pull, head)
        if not self._is_pulling:
            self._is_pulling = True
            head, self._to_pull = self._to_pull, 0
            pulled = self._run(lambda: self._database.pull(head))
            pulled.addErrback(self._not_pulled).addCallback(self._pulled)

    def _not_pulled(self, failure: Failure) -> None:
        if not failure.check(Refusal) and self._database.trouble(failure.value) is None:
            _log.failure("reading what other nodes have stored", failure)

    def _pulled(self, _: None) -> None:
        self._is_pulling = False
        if self._to_pull and not self._is_closing:
            self._pull(0)

    # Connecting

    def _connect(self) -> None:
        locked = 0 if self._ears is None else self._node
        self._begin(lambda: self._reconnect(locked), self._connected)

    def _reconnect(self, locked: int) -> _Returned:
        """Bring back the connections that are lost. Runs on the store's thread.

        @param locked: the node for which the connection that listens holds the lock; 0 if there is
            no such connection.
        @raise Exception: see L{PostgresDatabase.trouble}.
        """
        ears = None if locked else self._listen()
        try:
            if self._database.is_away:
                self._come_back()
            node = self._database.node
            if ears is None and locked != node:
                ears = self._listen()
            if ears is not None:
                ears.execute(_FREE, [node])
                ears.execute(_LOCK, [node])
            try:
                self._talk(ears if self._is_anew is None else None)
            except Exception as error:
                if not waits(error):
                    raise
                return _Returned(ears, is_waiting=True)
        except BaseException:
            if ears is not None:
                ears.close()
            raise
        finally:
            self._opening = None
        is_anew, self._is_anew = self._is_anew, None
        gone, self._gone = self._gone, frozenset()
        return _Returned(ears, is_anew, gone)

    def _listen(self) -> server.Connection:
        """Make a connection that listens. Runs on the store's thread."""
        connection = self._opening = server.connect(self._url, "twisted-chat listening")
        server.keep_alive(connection)
        connection.execute("SET lock_timeout = '2s'")
        connection.execute(f"LISTEN {CHANNEL}")
        return connection

    def _come_back(self) -> None:
        """Connect the store again, and note what its core must be told of that. Runs on the store's
        thread."""
        try:
            is_anew, has_missed = self._database.come_back()
        except Exception as error:
            if isinstance(getattr(error, "orig", None) or error, errors.LockNotAvailable):
                self._tell_holder()
            raise
        self._is_anew = is_anew or bool(self._is_anew)
        self._has_asked = self._has_asked and not (is_anew or has_missed)
        self._has_told = False
        self._absent.clear()
        others = frozenset(self._database.read(self._find_others))
        self._gone |= self._others - others
        self._others = others

    def _tell_holder(self) -> None:
        """Log once who keeps all nodes from storing anything. Runs on the store's thread."""
        if self._has_told:
            return
        self._has_told = True
        with server.connect(self._url, "twisted-chat asking") as connection:
            for pid, name, address, state in connection.execute(_HOLDER).fetchall():
                self._reactor.callFromThread(
                    _log.warn,
                    "the log has been waiting for 5 s: PostgreSQL's process {pid} holds its lock"
                    " ({name} at {address}, {state})",
                    pid=pid,
                    name=name,
                    address=address,
                    state=state,
                )

    def _talk(self, ears: server.Connection | None) -> None:
        """See that something can be stored. If it is due, that is to ask the other nodes who is
        with them; wait for the answers unless there are no C{ears}. Runs on the store's thread."""
        asks = not self._has_asked
        said = self._database.append([Asked()] if asks else [], [], 0)
        self._reactor.callFromThread(self._hand_over, said)
        self._has_asked = True
        if not asks:
            return
        at = self._database.cursor
        end = time.monotonic() + _ANSWERS
        while ears is not None and self._database.read(lambda c: self._count_silent(c, at)):
            left = end - time.monotonic()
            if left < 0:
                return
            for _ in ears.notifies(timeout=left, stop_after=1):
                pass

    def _connected(self, returned: _Returned) -> None:
        if returned.ears is not None:
            if self._ears is not None:
                self._ears.close()
            self._ears = Ears(returned.ears, self._reactor, self._heard, self._deaf)
            if self._is_closing:
                self.close()
        self._node = self._database.node
        self._tries = self._to_try = 0
        self._is_waiting = returned.is_waiting
        if returned.is_anew is not None:
            self.outage.refuse("the connection was lost", 0)
            self.outage.end()
            self._tell(self._node, Gone(self._node) if returned.is_anew else Asked())
            for node in returned.gone:
                self._tell(node, Gone(node))
        self._pull()

    def _tell(self, node: int, what: Gone | Asked) -> None:
        """Tell the node's own core something as if a node had said it."""
        self._hand_over([(0, Announced(node, what))])

    # Nodes that have died

    def _examine(self) -> list[int]:
        """Take nodes that have died out of the database. Runs on the store's thread.

        @return: which.
        """
        others = self._database.read(self._find_others)
        self._others = frozenset(others)
        missing = [node for node, lives in others.items() if not lives]
        self._absent = {node: self._absent.get(node, 0) + 1 for node in missing}
        dead = [node for node, ticks in self._absent.items() if ticks >= _ABSENCES]
        self._database.prune()
        return self._database.evict(dead) if dead else []

    def _examined(self, dead: list[int]) -> None:
        for node in dead:
            _log.warn("node {node} has died", node=node)
        if dead:
            self._pull()
        if self._is_waiting:
            self._connect()

    def _find_others(self, connection: Connection) -> dict[int, bool]:
        found = connection.execute(_OTHERS, {"node": self._database.node})
        return dict(tuple(row) for row in found)

    def _count_silent(self, connection: Connection, asked: int) -> int:
        values = {"node": self._database.node, "asked": asked}
        return int(connection.scalar(_SILENT, values) or 0)
