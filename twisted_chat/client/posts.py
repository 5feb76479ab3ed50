"""What is to be said, until its receipt has come. No socket, no clock."""

from collections import deque
from collections.abc import Callable

from twisted.internet.defer import Deferred

from . import lines
from .answers import lost
from .lines import LOBBY, Event, Refused

_WINDOW = 200
"""Messages that are sent before the first of them has a receipt."""


class Post:
    """Something to be said.

    @ivar to: the room, or C{@} and the person.
    @ivar text: as the server will have it.
    @ivar action: as C{/me}.
    @ivar by: the name under which it was sent.
    @ivar receipt: fires with the event, when it is known to be in the log.
    """

    __slots__ = ("action", "by", "receipt", "text", "to")

    def __init__(self, to: str, text: str, *, action: bool = False) -> None:
        self.to = to
        self.text = lines.sayable(text)
        self.action = action
        self.by = ""
        self.receipt: Deferred[Event] = Deferred()

    @property
    def is_direct(self) -> bool:
        return self.to.startswith("@")

    def line(self, talking: str | None) -> str:
        """The line that says it.

        @param talking: the room in which the server would say it.
        @raise Refused: C{too-long}.
        """
        said = lines.literally(self.text)
        if self.is_direct:
            said = f"/dm {self.to[1:]} {said}"
        elif self.action:
            said = f"/me {said}"
        elif self.to == LOBBY and talking != LOBBY:
            said = f"/bc {said}"
        return lines.fits(said)

    def is_in(self, event: Event) -> bool:
        """The event tells of this, or of another that is just like it."""
        to = event["room"] if event["event"] == "message" else f"@{event['to']}"
        said = to, event["text"], event.get("action", False), event["from"]
        return said == (self.to, self.text, self.action, self.by)


class Posts:
    """What waits to be sent, and what was sent and has no receipt, both in order.

    @ivar is_settling: nothing more is sent until all that was sent has its answer.
    """

    def __init__(self) -> None:
        self._unsent: deque[Post] = deque()
        self._sent: deque[Post] = deque()
        self._refusals: list[Refused] = []
        self.is_settling = False

    @property
    def has_sent(self) -> bool:
        """Something has no receipt yet."""
        return bool(self._sent)

    def add(self, post: Post) -> None:
        self._unsent.append(post)

    def next(self) -> Post | None:
        """What may be sent now."""
        may = self._unsent and not self.is_settling and len(self._sent) < _WINDOW
        return self._unsent[0] if may else None

    def send_next(self, by: str) -> None:
        """The next one is being sent."""
        post = self._unsent.popleft()
        post.by = by
        self._sent.append(post)

    def refuse_next(self, refused: Refused) -> None:
        """The next one cannot be sent."""
        self._unsent.popleft().receipt.errback(refused)

    def receipt(self, event: Event) -> bool:
        """Is it something that we said? Then it is known to be in the log. Gives back whether it is
        time to send more."""
        for post in self._sent:
            if post.is_in(event):
                self._sent.remove(post)
                post.receipt.callback(event)
                return bool(self._unsent) and len(self._sent) <= _WINDOW // 2
        return False

    def refused(self, refused: Refused) -> None:
        """One of those that were sent was refused; which one shows when they are settled."""
        self._refusals.append(refused)

    def settle(self) -> None:
        """Everything has its answer: what has no receipt was refused, in this order."""
        refusals, self._refusals = self._refusals, []
        unanswered, self._sent = self._sent, deque()
        self.is_settling = False
        for index, post in enumerate(unanswered):
            post.receipt.errback(refusals[index] if index < len(refusals) else lost())

    def disconnected(self) -> None:
        """There are no more answers to what was sent; it may have been said all the same."""
        self._refusals.clear()
        self.is_settling = False

    def again(self, is_in_doubt: Callable[[Post], bool]) -> None:
        """A replay has shown all that was said before the connection was lost: what has no receipt
        by now was not said, and is to be sent again.

        @param is_in_doubt: the replay may not have shown it.
        """
        sent, self._sent = self._sent, deque()
        doubted = [post for post in sent if is_in_doubt(post)]
        self._unsent.extendleft(post for post in reversed(sent) if post not in doubted)
        for post in doubted:
            post.receipt.errback(lost())

    def give_up(self, error: Exception) -> None:
        """Nothing more is sent."""
        posts = [*self._sent, *self._unsent]
        self._sent.clear()
        self._unsent.clear()
        for post in posts:
            post.receipt.errback(error)
