"""One session's requests, carried out in the order in which they came."""

from collections import deque
from collections.abc import Sequence
from enum import Enum
from typing import Generic, Protocol, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from twisted_chat.core.people import Session
from twisted_chat.core.throttle import Rate

T = TypeVar("T")
R = TypeVar("R")
T_contra = TypeVar("T_contra", contravariant=True)

QUEUE = 64
"""Requests that wait before the connection is not read from, and that are carried out in one turn
of the reactor."""

_log = Logger()


class Taker(Protocol[T_contra]):
    """What an intake works for: a connection with its session."""

    session: Session

    @property
    def is_open(self) -> bool:
        """Whether the peer may send more."""

    @property
    def is_free(self) -> bool:
        """Whether the limit on lines does not apply to the session."""

    def rest(self, full_at: float, /) -> None:
        """Drop the intake: nothing is queued or under way. The next one begins with C{full_at}."""

    async def take(self, item: T_contra, /) -> None:
        """Carry out one request, and answer it, also if something goes wrong.

        @raise CancelledError: if the intake was cancelled.
        """

    def seen(self) -> None:
        """Note that something came while nothing else waited to be carried out."""

    def slow(self, item: T_contra, /) -> bool:
        """Tell the session, if the request warrants it, that it has to wait.

        @return: whether the session was told. It is told once in each flood.
        """

    def more(self) -> None:
        """Read on, and put what that gives: nothing is queued."""

    def finish(self) -> None:
        """Say bye: the input has ended, and all of it has been carried out."""


class _Stage(Enum):
    """What an intake is doing."""

    IDLE = "nothing"
    WORKING = "carrying out a request"
    ASKING = "waiting for an item that answers a question of the request under way"
    CANCELLED = "nothing, and never will"


class Intake(Generic[T]):
    """Takes one session's requests off a queue, one after the other, at the session's pace.

    It knows nothing of lines and transports: a request is an item that a face understands. An idle
    session has none, as there are thousands: when nothing is left to do, the L{Taker} drops it.

    All that an intake waits for (the pace, posts in flight, an answer) is one L{Deferred}, which
    C{cancel} cancels. An operation of the core that has begun is not interrupted: it may have
    changed the database already, and the picture in memory has to follow.
    """

    __slots__ = (
        "_clock",
        "_full_at",
        "_is_ended",
        "_is_slow",
        "_items",
        "_rate",
        "_stage",
        "_taker",
        "_wait",
    )

    def __init__(
        self, taker: Taker[T], clock: IReactorTime, rate: Rate | None, full_at: float = 0.0
    ) -> None:
        """
        @param rate: at which requests are taken; L{None} for no limit.
        @param full_at: the state of the session's rate; see L{Rate}.
        """
        self._taker = taker
        self._clock = clock
        self._rate = rate
        self._items: deque[T] | None = None
        self._stage = _Stage.IDLE
        self._wait: Deferred[T] | Deferred[None] | None = None
        self._full_at = full_at
        self._is_slow = False
        self._is_ended = False

    # The queue

    @property
    def waiting(self) -> Sequence[T]:
        """The items that are queued."""
        return self._items or ()

    @property
    def has_more(self) -> bool:
        """Whether more has come already, or no more will: nobody is typing now."""
        return bool(self._items) or not self._taker.is_open

    @property
    def is_waited_for(self) -> bool:
        """Whether the next item will be taken as soon as it comes: nothing is under way, or only a
        question."""
        return self._stage in (_Stage.IDLE, _Stage.ASKING)

    @property
    def is_asking(self) -> bool:
        """Whether the next item answers a question."""
        return self._stage is _Stage.ASKING

    def put(self, item: T) -> bool:
        """Queue a request. L{go_on} has it carried out, once all that came with it is queued.

        @return: whether no more should be read.
        """
        if self._stage is _Stage.CANCELLED:
            return False
        if not self._items and self.is_waited_for:
            # Otherwise it may have been sent before the session was shown the last events.
            self._taker.seen()
        if self._items is None:
            self._items = deque()
        self._items.append(item)
        return len(self._items) >= QUEUE

    def end(self) -> None:
        """Note that no more will come."""
        self._is_ended = True

    def go_on(self) -> None:
        """Carry out what is queued, unless something is under way."""
        if not (self._items or self._is_ended):
            return
        if self._stage is _Stage.ASKING:
            wait: Deferred[T] | None = self._wait  # type: ignore[assignment]
            assert wait is not None
            item = self._pop()
            if item is None:
                wait.cancel()
            else:
                wait.callback(item)
        elif self._stage is _Stage.IDLE:
            self._stage = _Stage.WORKING
            Deferred.fromCoroutine(self._work()).addErrback(
                lambda failure: _log.failure("carrying out requests", failure)
            )

    def cancel(self) -> None:
        """Carry out nothing more, and give up what the request under way waits for here."""
        self._stage = _Stage.CANCELLED
        self._items = None
        if self._wait is not None:
            self._wait.cancel()

    # What a request may use

    async def next(self) -> T:
        """Wait for the next item: the answer to a question.

        @raise CancelledError: if none will come.
        """
        item = self._pop()
        if item is None:
            if self._is_ended or self._stage is _Stage.CANCELLED:
                raise CancelledError
            self._stage = _Stage.ASKING
            try:
                answer: Deferred[T] = Deferred()
                item = await self._until(answer)
            finally:
                if self._stage is _Stage.ASKING:
                    self._stage = _Stage.WORKING
        if not self._taker.is_free:
            await self._slow_down(item)
        return item

    def is_empty(self) -> bool:
        """Whether nothing has come that is not carried out, after reading on if need be."""
        if not self._items:
            self._taker.more()
        return not self._items

    def skip(self) -> None:
        """Remove the next item."""
        self._pop()

    def charge(self, lines: float) -> None:
        """Count so many more lines, for what was a lot to do. The next request waits for it."""
        if self._rate is not None:
            self._full_at = self._rate.take(self._full_at, self._clock.seconds(), lines)

    @property
    def owed(self) -> float:
        """Seconds until one more line may be taken."""
        return self._rate.wait(self._full_at, self._clock.seconds()) if self._rate else 0.0

    async def until_landed(self, most: int) -> None:
        """Wait while more posts of the session than this are in flight, until half of it are left.

        @raise CancelledError: if the intake is cancelled.
        """
        session = self._taker.session
        if session.in_flight <= most:
            return
        before, session.landed = session.landed, self._landed
        try:
            while session.in_flight > most // 2:
                landed: Deferred[None] = Deferred()
                await self._until(landed)
        finally:
            session.landed = before

    # At work

    async def _work(self) -> None:
        try:
            try:
                await self._carry_out()
            except CancelledError:
                pass  # a question was asked, and the input has ended; or it was cancelled
            if self._is_ended and self._stage is not _Stage.CANCELLED:
                await self.until_landed(0)
                self._taker.finish()
        except CancelledError:
            pass
        finally:
            if self._stage is not _Stage.CANCELLED:
                self._stage = _Stage.IDLE
                if not (self._items or self._is_slow or self._is_ended):
                    self._taker.rest(self._full_at)

    async def _carry_out(self) -> None:
        done = 0
        while (item := self._pop()) is not None:
            if not self._taker.is_free:
                await self._slow_down(item)
            await self._taker.take(item)
            done += 1
            if done % QUEUE == 0 and self._stage is not _Stage.CANCELLED:
                await self._until(deferLater(self._clock, 0))  # the other connections' turn

    def _pop(self) -> T | None:
        if self._stage is _Stage.CANCELLED:
            return None
        if not self._items:
            self._taker.more()
        return self._items.popleft() if self._items else None

    async def _slow_down(self, item: T) -> None:
        """Wait until the item may be taken. Meanwhile, what comes is queued and then not read."""
        wait = self.owed
        if wait:
            self._is_slow = self._is_slow or self._taker.slow(item)
            await self._until(deferLater(self._clock, wait))
        elif self._full_at <= self._clock.seconds():
            self._is_slow = False
        self.charge(1)

    async def _until(self, wait: "Deferred[R]") -> R:
        """Wait for this.

        @raise CancelledError: if the intake is cancelled.
        """
        if self._stage is _Stage.CANCELLED:
            wait.addErrback(lambda failure: failure.trap(CancelledError))
            wait.cancel()
            raise CancelledError
        self._wait = wait  # type: ignore[assignment]
        try:
            return await wait
        finally:
            self._wait = None

    def _landed(self) -> None:
        wait: Deferred[None] | None = self._wait  # type: ignore[assignment]
        if wait is not None:
            wait.callback(None)
