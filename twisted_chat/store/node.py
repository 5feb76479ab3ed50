"""L{Node}: the life of a node that shares its database with others."""

import random
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import psycopg
from psycopg import errors, sql
from sqlalchemy import Connection, text
from sqlalchemy.engine import URL
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_chat.core.announcements import Announced, Asked, Gone
from twisted_chat.core.errors import Refusal

from . import server
from .ears import Ears, cut
from .engine import HandOver
from .postgres import CHANNEL, LOG, NODES, PostgresDatabase
from .trouble import Outage
from .worker import Worker

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

_MISSING = text(f"""
    SELECT id FROM nodes WHERE id <> :node AND id NOT IN (
        SELECT objid::bigint FROM pg_locks
        WHERE locktype = 'advisory' AND classid = {NODES} AND objsubid = 2 AND granted
            AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    )
""")
"""The nodes that hold no lock. A node's lock ends with its connection, and so with its process."""

_SILENT = text("""
    SELECT count(*) FROM nodes WHERE id <> :node AND NOT EXISTS (
        SELECT FROM news WHERE news.node = nodes.id AND kind = 'present' AND body LIKE '%,true]'
            AND news.id > (SELECT max(last_id) FROM commits WHERE commits.node = :node)
    )
""")
"""How many nodes have not said who is with them since this one has asked."""

_TAKE_LOCK = sql.SQL("SET lock_timeout = '2s'; SELECT pg_advisory_lock({}, {})")

_FREE_LOCK = f"""
    SELECT pg_terminate_backend(pid) FROM pg_locks
    WHERE locktype = 'advisory' AND classid = {NODES} AND objid = %s AND objsubid = 2 AND granted
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
"""A node that is registered has its number for itself, so a lock on it belongs to an earlier
connection of its own, of which PostgreSQL has not noticed yet that it is gone."""

_HOLDER = f"""
    SELECT pid, application_name, coalesce(host(client_addr), 'a Unix socket'), state
    FROM pg_locks JOIN pg_stat_activity USING (pid)
    WHERE locktype = 'advisory' AND classid = {LOG >> 32} AND objid = {LOG & 0xFFFFFFFF}
        AND objsubid = 1 AND granted
"""

_log = Logger()


class _Returned(NamedTuple):
    """How it was to connect.

    @ivar ears: the new connection that listens; L{None} if the old one is still good.
    @ivar is_anew: as L{twisted_chat.store.postgres.Return}; L{None} if the store's connection was
        not lost.
    """

    ears: server.Connection | None
    is_anew: bool | None


class Node:
    """Keeps a node in touch with the others: hears of commits and has them pulled, connects again
    when a connection is lost, cuts off one that does not answer, and takes nodes that have died out
    of the database.

    While a node lives, it holds an advisory lock, on the connection that listens.

    All methods run on the reactor's thread but those that say otherwise.
    """

    def __init__(
        self,
        database: PostgresDatabase,
        url: URL,
        worker: Worker,
        outage: Outage,
        hand_over: HandOver,
        reactor: Any,
    ) -> None:
        """
        @param outage: begins when the database goes away, and ends when it is back.
        @param hand_over: called with what the node's own core must be told.
        """
        self._database = database
        self._url = url
        self._worker = worker
        self._outage = outage
        self._hand_over = hand_over
        self._reactor = reactor
        self._ears: Ears | None = None
        self._opening: server.Connection | None = None  # set on the thread
        self._absent: dict[int, int] = {}  # used on the thread
        self._has_job = False  # a tick, or connecting
        self._is_pulling = False
        self._is_behind = False
        self._is_closing = False
        self._to_tick = _TICK
        self._to_try = 0
        self._tries = 0
        self._call: float | None = None
        self._patience = _PATIENCE
        self._looking = LoopingCall(self._look)
        self._looking.clock = reactor

    def start(self) -> None:
        """Begin. The database is open, and the worker has started."""
        self._has_job = True
        self._run(self._arrive).addCallback(self._connected).addErrback(self._failed)
        self._looking.start(_LOOK, now=False).addErrback(
            lambda failure: _log.failure("looking after the connections", failure)
        )

    def close(self) -> None:
        """Listen no more, and connect no more, as soon as nothing waits for it."""
        self._is_closing = True
        if self._ears is not None:
            self._ears.close()
            self._ears = None

    def stop(self) -> None:
        """End, after the worker has stopped."""
        self.close()
        if self._looking.running:
            self._looking.stop()

    # Every fifth of a second

    def _look(self) -> None:
        self._watch()
        if self._is_closing or self._has_job:
            return
        if self._database.is_away or self._ears is None:
            self._to_try -= 1
            if self._to_try <= 0:
                self._connect()
            return
        self._to_tick -= 1
        if self._to_tick <= 0:
            self._to_tick = _TICK
            self._begin(self._tick, self._ticked)

    def _watch(self) -> None:
        """Cut the connections if a call has been without an answer for too long.

        Looks are counted, not seconds: this process may have been stopped for a while itself.
        """
        call = self._database.busy_since
        if call is None or call != self._call:
            self._call, self._patience = call, _PATIENCE
            return
        self._patience -= 1
        if self._patience == 0:
            self._database.cut()
            opening = self._opening
            if opening is not None:
                cut(opening)
