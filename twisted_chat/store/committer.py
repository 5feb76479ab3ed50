"""L{Committer}: what gathers while a commit is under way goes into the next one."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_chat.core.announcements import Announcement
from twisted_chat.core.errors import Code
from twisted_chat.core.model import Aside, Entry, Post

from .engine import HandOver, Item, Lost, Pairs
from .items import LetGo, Mark
from .trouble import InDoubt, Outage, Unknown

_MOST = 500
"""Posts and announcements in one commit, at most. They are delivered in one turn of the reactor."""

_PATIENCE = 1.0
"""Seconds that read marks wait for a post to be committed with, at most."""

_log = Logger()


@dataclass(slots=True)
class _Batch:
    """What one commit carries out.

    @ivar items: in the order in which they came.
    @ivar numbers: of the posts among them.
    @ivar urgent: how many of the items are not to wait for others.
    @ivar seen: the id of the newest entry that had been handed over when the first of its posts
        came.
    """

    items: list[Item] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    urgent: int = 0
    seen: int = 0


class Committer:
    """Gathers posts, announcements and read marks, has them committed in their order, and hands
    over what was stored.

    A post that comes while no commit is under way is committed at once; those that come meanwhile
    share the next commit. Read marks are committed with the next post, or after a second, or when
    somebody asks about them.
    """

    def __init__(
        self,
        commit: Callable[[Sequence[Item], Sequence[int], int], Deferred[Pairs]],
        later: Callable[[float, Callable[[], object]], IDelayedCall],
        outage: Outage,
        trouble: Callable[[BaseException | None], str | None],
        is_damaged: Callable[[], bool],
    ) -> None:
        """
        @param commit: carries out items in one transaction, given the numbers of the posts among
            them, and the id of the newest entry that had been handed over before these came; fires
            with what is to be handed over. Transactions are carried out in the order of the calls.
        @param later: calls a function after some seconds.
        @param outage: is told of commits that failed and may work later. While it lasts, marks wait
            for the next post to try again.
        @param trouble: gives the message of a failure that may pass.
        @param is_damaged: whether the database was found to be damaged, so that the failure of a
            commit needs no line in the log.
        """
        self._commit = commit
        self._later = later
        self._outage = outage
        self._trouble = trouble
        self._is_damaged = is_damaged
        self._newest = 0  # id of the newest entry that was handed over
        self._feed: HandOver = lambda batch: None
        self._lost: Lost = lambda numbers, code: None
        self._waiting = deque([_Batch()])  # only the last has room for more
        self._under_way = 0
        self._in_doubt: set[int] = set()  # numbers of posts
        self._may_wait = True
        self._timer: IDelayedCall | None = None
        self._idle: list[Deferred[None]] = []

    def subscribe(self, feed: HandOver, lost: Lost) -> None:
        """Set who is told what became of posts.

        @param feed: called after each commit that has posts.
        @param lost: called with the numbers of posts that were not kept, and the code of the
            refusal: C{unavailable} if the same may work later, else C{internal}. Posts of which
            that is not known are passed to neither.
        """
        self._feed = feed
        self._lost = lost

    def append(self, post: Post | Aside, number: int) -> None:
        """Commit a post. Never blocks."""
        batch = self._add(post)
        if not batch.numbers:
            batch.seen = self._newest
        batch.numbers.append(number)
        if not self._under_way:
            self._submit()

    def add(self, item: Announcement | LetGo) -> None:
        """Commit an announcement, or the end of a claim. Never blocks. While the database cannot be
        used, announcements are dropped."""
        self._add(item)
        if not self._under_way:
            self._submit()

    def mark(self, mark: Mark) -> None:
        """Commit a read mark, some time soon."""
        self._waiting[-1].items.append(mark)
        self._go_on()

    def submit(self) -> None:
        """Begin to commit the posts that wait, so that a transaction that is asked for next comes
        after them."""
        while self._waiting[0].urgent:
            self._submit()

    def submit_marks(self, account_id: int) -> None:
        """The same for the read marks of an account, and all that came before them."""
        while any(
            isinstance(i, Mark) and i.account_id == account_id for i in self._waiting[0].items
        ):
            self._submit()

    def submit_all(self) -> None:
        """The same for all that waits."""
        while self._waiting[0].items:
            self._submit()

    def hand_over(self, batch: Pairs) -> None:
        """Hand over what other nodes have stored, and what was stored for posts in doubt."""
        self._in_doubt.difference_update(number for number, _ in batch)
        try:
            if batch:
                self._give(batch)
        finally:
            self._settle()

    def lose(self, numbers: Sequence[int], code: Code) -> None:
        """Tell that posts in doubt were not kept.

        @param code: of the refusal.
        """
        self._in_doubt.difference_update(numbers)
        try:
            self._lost(numbers, code)
        finally:
            self._settle()

    async def settle(self) -> None:
        """Wait until every post is handed over, to C{feed} or to C{lost}, and every mark is stored,
        unless an outage lasts. Posts in doubt are waited for until L{hasten}."""
        while self._under_way or (self._in_doubt and self._may_wait) or self._submit_marks():
            idle: Deferred[None] = Deferred()
            self._idle.append(idle)
            await idle
        if self._in_doubt:
            _log.error(
                "it is not known whether the last posts ({count}) were stored: the connection to"
                " the database was lost meanwhile, and is not back",
                count=len(self._in_doubt),
            )
            self._in_doubt.clear()

    def hasten(self) -> None:
        """Have L{settle} not wait for posts that are in doubt."""
        self._may_wait = False
        self._settle()

    def _add(self, item: Item) -> _Batch:
        batch = self._waiting[-1]
        if batch.urgent == _MOST:
            batch = _Batch()
            self._waiting.append(batch)
        batch.items.append(item)
        batch.urgent += 1
        return batch

    def _go_on(self) -> None:
        if self._under_way:
            return
        batch = self._waiting[0]
        if batch.urgent:
            self._submit()
        elif batch.items and self._timer is None and not self._outage.lasts:
            self._timer = self._later(_PATIENCE, self._submit_marks)

    def _submit_marks(self) -> bool:
        """Begin to commit the marks that wait, unless an outage lasts.

        @return: whether there are any.
        """
        self._stop_timer()
        if self._outage.lasts or not self._waiting[0].items:
            return False
        self._submit()
        return True

    def _stop_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()

    def _submit(self) -> None:
        self._stop_timer()
        batch = self._waiting.popleft()
        if not self._waiting:
            self._waiting.append(_Batch())
        self._under_way += 1
        self._commit(batch.items, batch.numbers, batch.seen).addCallbacks(
            self._committed, self._failed, errbackArgs=(batch,)
        ).addErrback(lambda failure: _log.failure("delivering a batch", failure))

    def _committed(self, stored: Pairs) -> None:
        self._under_way -= 1
        self._outage.end()
        self._go_on()  # the disk works on the next batch while this one is delivered
        try:
            if stored:
                self._give(stored)
        finally:
            self._settle()

    def _give(self, batch: Pairs) -> None:
        for _, what in reversed(batch):
            if isinstance(what, Entry):
                self._newest = max(self._newest, what.id)
                break
        self._feed(batch)

    def _failed(self, failure: Failure, batch: _Batch) -> None:
        self._under_way -= 1
        reason = self._trouble(failure.value)
        is_in_doubt = failure.check(InDoubt) is not None
        if reason is not None:
            self._outage.refuse(reason, 0 if is_in_doubt else len(batch.numbers))
            self._put_back(batch.items)
        elif not self._is_damaged():
            _log.failure("committing {count} posts", failure, count=len(batch.numbers))
        if is_in_doubt:
            self._in_doubt.update(batch.numbers)
        self._go_on()
        try:
            # If the posts may have been kept, either answer could turn out to be wrong.
            if batch.numbers and not is_in_doubt and not failure.check(Unknown):
                self._lost(batch.numbers, "internal" if reason is None else "unavailable")
        finally:
            self._settle()

    def _put_back(self, items: Sequence[Item]) -> None:
        """Have marks, and the ends of claims, committed with the next post: they may be carried out
        twice."""
        marks = sorted(item for item in items if isinstance(item, Mark))
        furthest: list[Item] = [*{mark[:2]: mark for mark in marks}.values()]
        ends: list[Item] = [item for item in items if isinstance(item, LetGo)]
        self._waiting[0].items[:0] = furthest + ends

    def _settle(self) -> None:
        if not self._under_way:
            idle, self._idle = self._idle, []
            for waiting in idle:
                waiting.callback(None)
