"""L{Engine}: what a database system does for the store."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection

from twisted_chat.core.announcements import Announcement, Delivered
from twisted_chat.core.errors import Code
from twisted_chat.core.model import Aside, Post

from .items import LetGo, Mark

T = TypeVar("T")

Item = Post | Aside | Announcement | Mark | LetGo
"""What a commit carries out, in the order of the items."""

Pairs = Sequence[tuple[int, Delivered]]
"""What is handed over, in the order of the log: each with the number of the post that it was stored
for; with 0 if it comes from another node."""

HandOver = Callable[[Pairs], None]
Lost = Callable[[Sequence[int], Code], None]
Forked = Callable[[int, Any], None]


class Engine(Protocol):
    """A database, on one connection. All methods but L{subscribe} and L{hasten} are called from the
    store's thread, or before that thread has started."""

    @property
    def node(self) -> int:
        """Which of the nodes that share the database this one is; 0 if no other can."""

    @property
    def is_open(self) -> bool:
        """Whether the database was opened, and not closed. It may be away nevertheless."""

    def subscribe(self, hand_over: HandOver, lost: Lost, forked: Forked, /) -> None:
        """Set who is told what no call returns. They are called on the reactor's thread, and before
        the result of the call during which it was found out arrives there.

        @param hand_over: called with what other nodes have stored and said, and with what was
            stored for posts that were in doubt.
        @param lost: called with the numbers of posts that were in doubt and are not kept, and
            C{unavailable}; or C{internal} if that cannot be found out.
        @param forked: called with the number of messages that were handed over and that the
            database has lost; 0 if this node was away for too long to find out. And with the result
            of L{open}'s C{start}, now: what is handed over next comes after that.
        """

    def open(self, start: Callable[[Connection], T], /) -> T:
        """Open or create the database, bring its schema up to date, and run C{start} in the same
        transaction.

        @raise StoreError: if it cannot be used; the text says why.
        @raise DatabaseTooNew: if a newer version of this program has upgraded it.
        """

    def close(self) -> None:
        """Close the database. Does nothing if it is closed already."""

    def hasten(self) -> None:
        """Stop waiting for what keeps a commit in doubt. Any thread may call this."""

    def read(self, work: Callable[[Connection], T], /) -> T:
        """Run a transaction that does not write, and return the result of C{work}. What other nodes
        have stored counts in it if, and only if, it was handed over before.

        @raise Exception: whatever the database or C{work} raises.
        """

    def write(self, work: Callable[[Connection], T], /) -> T:
        """Run a transaction that writes, and return the result of C{work}.

        @raise Unknown: if it cannot be found out whether the transaction was kept.
        @raise Exception: whatever else the database or C{work} raises; nothing is kept then.
        """

    def append(self, items: Sequence[Item], numbers: Sequence[int], seen: int, /) -> Pairs:
        """Carry out a commit.

        @param numbers: those of the posts among the items, L{Post} and L{Aside}.
        @param seen: the id of an entry that had been handed over before the posts came. What
            another node has stored after it with the label of one of them is not stored again, but
            handed over with the number of that post.
        @return: what is to be handed over: what was stored for each post, and what other nodes have
            stored before.
        @raise InDoubt: if it is not known yet whether the commit was kept. When it is known, the
            callables of L{subscribe} are told what became of its posts.
        @raise Unknown: if that cannot be found out.
        @raise Exception: whatever else the database raises; nothing is kept then.
        """

    def trouble(self, error: BaseException | None, /) -> str | None:
        """Return the message of a failure that may pass, such as a full disk; L{None} for any
        other."""

    def damage(self, error: BaseException | None, /) -> str | None:
        """Return the message of a failure that means damage to the database; L{None} for any
        other."""
