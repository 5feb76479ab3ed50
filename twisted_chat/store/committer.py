"""L{Committer}: what gathers while a commit is under way goes into the next one."""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_chat.core.errors import Code
from twisted_chat.core.model import Aside, Post, Stored

from .trouble import Outage, Unknown, trouble

_MOST = 500
"""Posts in one commit, at most. They are delivered in one turn of the reactor."""

_PATIENCE = 1.0
"""Seconds that read marks wait for a post to be committed with, at most."""

_log = Logger()


class Mark(NamedTuple):
    """An account has seen a room up to an entry."""

    account_id: int
    room_id: int
    seq: int


Item = Post | Aside | Mark

Feed = Callable[[Sequence[tuple[int, Stored]]], None]
Lost = Callable[[Sequence[int], Code], None]


@dataclass(slots=True)
class _Batch:
    """What one commit stores.

    @ivar items: in the order in which they came.
    @ivar numbers: of the posts among them.
    """

    items: list[Item] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)


class Committer:
    """Gathers posts and read marks, has them committed in their order, and hands over what was
    stored.

    A post that comes while no commit is under way is committed at once; those that come meanwhile
    share the next commit. Read marks are committed with the next post, or after a second, or when
    somebody asks about them.
    """

    def __init__(
        self,
        commit: Callable[[Sequence[Item]], Deferred[list[Stored]]],
        later: Callable[[float, Callable[[], object]], IDelayedCall],
        outage: Outage,
        is_damaged: Callable[[], bool],
    ) -> None:
        """
        @param commit: stores posts and marks in one transaction; fires with what was stored for
            each post. Transactions are carried out in the order of the calls.
        @param later: calls a function after some seconds.
        @param outage: is told of commits that failed and may work later. While it lasts, marks wait
            for the next post to try again.
        @param is_damaged: whether the database was found to be damaged, so that the failure of a
            commit needs no line in the log.
        """
        self._commit = commit
        self._later = later
        self._outage = outage
        self._is_damaged = is_damaged
        self._feed: Feed = lambda batch: None
        self._lost: Lost = lambda numbers, code: None
        self._waiting = deque([_Batch()])  # only the last has room for more
        self._under_way = 0
        self._timer: IDelayedCall | None = None
        self._idle: list[Deferred[None]] = []

    def subscribe(self, feed: Feed, lost: Lost) -> None:
        """Set who is told what became of posts.

        @param feed: called after each commit that has posts.
        @param lost: called with the numbers of posts that were not kept. Posts of which that is not
            known are passed to neither.
        """
        self._feed = feed
        self._lost = lost

    def append(self, post: Post | Aside, number: int) -> None:
        """Commit a post. Never blocks."""
        batch = self._waiting[-1]
        if len(batch.numbers) == _MOST:
            batch = _Batch()
            self._waiting.append(batch)
        batch.items.append(post)
        batch.numbers.append(number)
        if not self._under_way:
            self._go_on()

    def mark(self, mark: Mark) -> None:
        """Commit a read mark, some time soon."""
        self._waiting[-1].items.append(mark)
        self._go_on()

    def submit(self) -> None:
        """Begin to commit the posts that wait, so that a transaction that is asked for next comes
        after them."""
        while self._waiting[0].numbers:
            self._submit()

    def submit_marks(self, account_id: int) -> None:
        """The same for the read marks of an account, and all that came before them."""
        while any(
            isinstance(i, Mark) and i.account_id == account_id for i in self._waiting[0].items
        ):
            self._submit()

    async def settle(self) -> None:
        """Wait until every post is handed over, to C{feed} or to C{lost}, and every mark is stored,
        unless an outage lasts."""
        while self._under_way or self._submit_marks():
            idle: Deferred[None] = Deferred()
            self._idle.append(idle)
            await idle

    def _go_on(self) -> None:
        if self._under_way:
            return
        batch = self._waiting[0]
        if batch.numbers:
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
        self._commit(batch.items).addCallbacks(
            self._committed, self._failed, callbackArgs=(batch,), errbackArgs=(batch,)
        ).addErrback(lambda failure: _log.failure("delivering a batch", failure))

    def _committed(self, stored: list[Stored], batch: _Batch) -> None:
        self._under_way -= 1
        self._outage.end()
        self._go_on()  # the disk works on the next batch while this one is delivered
        try:
            if batch.numbers:
                self._feed(list(zip(batch.numbers, stored, strict=True)))
        finally:
            self._settle()

    def _failed(self, failure: Failure, batch: _Batch) -> None:
        self._under_way -= 1
        reason = trouble(failure.value)
        if reason is not None:
            self._outage.refuse(reason, len(batch.numbers))
            self._put_back(item for item in batch.items if isinstance(item, Mark))
        elif not self._is_damaged():
            _log.failure("committing {count} posts", failure, count=len(batch.numbers))
        self._go_on()
        try:
            # If the posts may have been kept, either answer could turn out to be wrong.
            if batch.numbers and not failure.check(Unknown):
                self._lost(batch.numbers, "internal" if reason is None else "unavailable")
        finally:
            self._settle()

    def _put_back(self, marks: Iterable[Mark]) -> None:
        furthest = {mark[:2]: mark for mark in sorted(marks)}
        self._waiting[0].items[:0] = furthest.values()

    def _settle(self) -> None:
        if not self._under_way:
            idle, self._idle = self._idle, []
            for waiting in idle:
                waiting.callback(None)
