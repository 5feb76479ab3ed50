"""L{PostgresDatabase}: a PostgreSQL database that several nodes share, on one connection."""

from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import Connection
from sqlalchemy.engine import URL
from twisted.internet.interfaces import IReactorFromThreads

from twisted_chat.core.announcements import Delivered

from .engine import HandOver, Item, Lost
from .trouble import StoreError

T = TypeVar("T")

CHANNEL = "chat"
"""Where each commit of the log notifies, with C{NODE ID}: the node that commits, and the new end of
the log."""

NODES = 0x63686174
"""The first key of the advisory lock that a node holds while it lives. The second is its number."""


class Away(StoreError):
    """There is no connection at the moment. The text says why."""


class Return(NamedTuple):
    """How it was to come back.

    @ivar is_anew: the node had been evicted, or its row was lost: none of its claims on names is
        left. It may have another number now.
    """

    is_anew: bool


class PostgresDatabase:
    """An L{twisted_chat.store.engine.Engine}. All methods run on the store's thread but those that
    say otherwise.

    When the connection is lost, it stays away, and every call fails with L{Away}, until
    L{come_back} has worked.
    """

    def __init__(self, url: URL, reactor: IReactorFromThreads) -> None: ...

    @property
    def node(self) -> int: ...

    @property
    def is_open(self) -> bool: ...

    @property
    def is_away(self) -> bool:
        """Whether there is no connection. Any thread may ask."""

    @property
    def busy_since(self) -> float | None:
        """When the call under way began, by C{time.monotonic}; L{None} if there is none. Any thread
        may ask."""

    def cut(self) -> None:
        """Shut the connection's socket down, so that the call under way fails as if the connection
        were lost. Any thread may call this."""

    def subscribe(
        self, hand_over: HandOver, lost: Lost, forked: Callable[[int], None], /
    ) -> None: ...

    def open(self, start: Callable[[Connection], T], /) -> T: ...

    def close(self) -> None:
        """Take the node out of C{nodes}, tell the others by C{Gone}, and close the connection."""

    def hasten(self) -> None: ...

    def pull(self) -> None:
        """Hand over what other nodes have stored since the last time.

        @raise Exception: if the database is away; see L{trouble}.
        """

    def come_back(self) -> Return:
        """Connect again, and find out what was missed: registers the node under the log's lock, so
        that no earlier commit of it can still come; finds out what became of the commit in doubt
        and tells it by L{subscribe}'s callables; then pulls. Does nothing if there is a connection.

        Fails at once, or after 2 seconds, if the database is still away.

        @raise Exception: see L{trouble}.
        """

    def live(self) -> list[int]:
        """Return the nodes that are registered, without this one."""

    def evict(self, nodes: Collection[int]) -> list[int]:
        """Take nodes that have died out of C{nodes} and their claims out of C{held}, and tell all
        that they are C{Gone}, in one transaction under the log's lock.

        @return: those that were still there.
        """

    def prune(self) -> None:
        """Delete some of the commits and the news that are older than an hour."""

    def read(self, work: Callable[[Connection], T], /) -> T: ...

    def write(self, work: Callable[[Connection], T], /) -> T:
        """Run a transaction that writes.

        @raise Away: also if this node was evicted: nothing is kept then.
        """

    def append(
        self, items: Sequence[Item], numbers: Sequence[int], /
    ) -> list[tuple[int, Delivered]]: ...

    def trouble(self, error: BaseException | None, /) -> str | None: ...

    def damage(self, error: BaseException | None, /) -> str | None:
        return None
