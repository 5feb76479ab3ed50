"""Posts on their way to the log."""

from collections.abc import Callable
from itertools import count

from .errors import NOT_CHANGED, Refusal
from .feed import Awaited, Feed, Flight
from .labels import Labels, author
from .model import MEMBER, Account, Aside, Post, Role, Standing
from .people import Session
from .ports import Store, Turn
from .room import Room


class Posting:
    """Hands posts to the store, for sessions; the L{Feed} gets back what is stored for them."""

    def __init__(
        self,
        store: Store,
        feed: Feed,
        labels: Labels,
        now: Callable[[], int],
        turn: Callable[[], Turn],
    ) -> None:
        """
        @param now: gives the time in UTC milliseconds.
        @param turn: makes what an operation awaits until its post is applied.
        """
        self._store = store
        self._feed = feed
        self._labels = labels
        self._now = now
        self._turn = turn
        self._numbers = count(1)
        self._plain: Flight | None = None  # of the last post without a label

    def append(self, session: Session, post: Post | Aside, awaited: Awaited | None = None) -> None:
        """Hand over a post; do not wait for it."""
        if post.label:
            whose = author(post)
            self._labels.begin(whose, post.label)
            flight = Flight(session, whose, post.label, awaited)
        elif awaited is not None:
            flight = Flight(session, awaited=awaited)
        elif self._plain is not None and self._plain.session is session:
            flight = self._plain  # what somebody says in one go needs only one
        else:
            flight = self._plain = Flight(session)
        number = next(self._numbers)
        self._feed.flights[number] = flight
        session.in_flight += 1
        self._store.append(post, number)

    async def commit(self, session: Session, post: Post) -> None:
        """Hand over a post, and wait until it is applied, or turns out to be impossible.

        @raise Refusal: C{unavailable} or C{internal} if it could not be kept.
        """
        awaited = Awaited(self._turn())
        self.append(session, post, awaited)
        await awaited.turn
        if awaited.lost is not None:
            raise Refusal(awaited.lost, NOT_CHANGED[awaited.lost])

    async def stand(
        self, session: Session, account: Account, room: Room, role: Role | None
    ) -> None:
        """Make the account of a session something in a room; L{None}: no member.

        @raise Refusal: as L{commit}.
        """
        text = Standing(account, role).encode()
        now = self._now()
        await self.commit(session, Post(room.record, MEMBER, account.id, account.name, now, text))

    def is_repeated(self, session: Session, label: str) -> bool:
        """Whether the session's person has posted with this label before. If so, the session is
        told what came of it, now or when it lands."""
        person = session.person
        if person is None:
            return False
        labelled = self._labels.find(person.id if person.id is not None else person.name, label)
        if labelled is None:
            return False
        if labelled.done is not None:
            session.tell(self._labels.again(labelled.done))
        else:
            session.in_flight += 1
            labelled.waiting.append(session)
        return True
