"""The feed: what the log hands over, and who is told what of it."""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence

from .events import Answer, Away, Done, Event, NotKept, Refused, Said, Told
from .labels import Labels, done
from .model import DirectMessage, DirectPost, Message, Post, RoomPost, Stored
from .people import Person, Session
from .ports import Outbox
from .room import Room, Shared


class Feed:
    """Takes what the store hands over, and tells it."""

    def __init__(self, shared: Shared, labels: Labels, landed: Callable[[Session], None]) -> None:
        """@param landed: called for each session some of whose posts have landed."""
        self._shared = shared
        self._labels = labels
        self._landed = landed

    def deliver(self, batch: Sequence[tuple[Post, Stored]]) -> None:
        """Tell what was just committed, in the order of the log.

        Whatever goes wrong meanwhile, all posts of the batch have landed.
        """
        now = self._shared.now()
        in_flight = _origins(post for post, _ in batch)
        answers: dict[Post, tuple[Done, Sequence[Session]]] = {}
        for post, stored in batch:
            if post.label:
                told = done(stored, post.label, now)
                answers[post] = told, self._end(post, told, in_flight)
        try:
            telling = _Telling()
            for post, stored in batch:
                if isinstance(stored, Message):
                    self._say(telling, post, stored, now)
                else:
                    assert isinstance(post, DirectPost)
                    self._say_privately(telling, post, stored, now)
                if post.label:
                    told, sessions = answers[post]
                    for session in sessions:
                        telling.tell(session, told)
            self._tell(telling)
        finally:
            self._land(in_flight)

    def lose(self, posts: Sequence[Post]) -> None:
        """Tell the authors of posts that the store could not keep them. Nobody else is told.

        Whatever goes wrong meanwhile, all of these posts have landed.
        """
        now = self._shared.now()
        in_flight = _origins(posts)
        answers = [(post.label, self._end(post, None, in_flight)) for post in posts]
        try:
            for label, sessions in answers:
                sentence = "that could not be stored, so it was not sent; try again later"
                for session in sessions:
                    session.tell(Refused(now, "internal", sentence, "", label))
        finally:
            self._land(in_flight)

    def _end(self, post: Post, told: Done | None, in_flight: Counter[Session]) -> Sequence[Session]:
        """Note what became of a post, for those who repeat it.

        @param told: as in L{Labels.end}.
        @param in_flight: counts the sessions that have repeated it.
        @return: the sessions that wait for the answer.
        """
        waiting = self._labels.end(_author(post), post.label, told) if post.label else []
        in_flight.update(waiting)
        return [live for each in (post.origin, *waiting) if (live := _open(each)) is not None]

    def _land(self, in_flight: Counter[Session]) -> None:
        for session, count in in_flight.items():
            session.in_flight -= count
        for session in in_flight:
            self._landed(session)

    # Who is told what

    def _say(self, telling: "_Telling", post: Post, message: Message, now: int) -> None:
        room = self._shared.rooms[message.room]
        room.remember(message)
        telling.say(Said(now, message), room)
        origin = _open(post.origin)
        if origin is None:
            return
        if not origin.echo:
            telling.instead(origin)
        elif message.label and origin in room.members:
            telling.instead(origin, Said(now, message, label=message.label))

    def _say_privately(
        self, telling: "_Telling", post: DirectPost, message: DirectMessage, now: int
    ) -> None:
        origin = _open(post.origin)
        recipient = self._recipient(post)
        got = recipient.sessions if recipient is not None else ()
        if message.sender != message.recipient:
            self._tell_sender(telling, post, message, now)
            guest = post.origin if isinstance(post.origin, Session) else None
            for session in got:
                session.wrote = guest if post.sender_id is None else message.sender
        told = Told(now, message)
        for session in got:
            is_own = session is origin and message.label
            telling.tell(session, Told(now, message, label=message.label) if is_own else told)
        parties = (*(() if origin is None else (origin,)), *got)
        if not got:
            remark: Event = Away(now, message.recipient, message.id is not None)
        elif message.id is None:
            parties = tuple(session for session in parties if not session.told_not_kept)
            for session in parties:
                session.told_not_kept = True
            remark = NotKept(now)
        else:
            return
        for session in parties:
            is_answer = session is origin and message.label
            telling.tell(session, Answer(remark, message.label) if is_answer else remark)

    def _tell_sender(
        self, telling: "_Telling", post: DirectPost, message: DirectMessage, now: int
    ) -> None:
        """Tell the sessions of the sender of a private message what they have sent."""
        origin = _open(post.origin)
        # Only an account has several sessions; the name of a guest may be somebody else's by now.
        sender = self._shared.people.get(post.sender) if post.sender_id is not None else None
        outgoing = Told(now, message, outgoing=True)
        for session in sender.sessions if sender is not None else ():
            if session is not origin:
                telling.tell(session, outgoing)
        if origin is not None and origin.echo:
            telling.tell(origin, Told(now, message, outgoing=True, label=message.label))

    def _recipient(self, post: DirectPost) -> Person | None:
        """The person that a private message is for, if they are here."""
        person = self._shared.people.get(post.recipient)
        if person is None or person.key != post.recipient_key:
            return None  # nobody, or somebody else who has taken the name of a guest who left
        return person

    # Telling

    def _tell(self, telling: "_Telling") -> None:
        rooms = list(dict.fromkeys(telling.rooms))
        apart = {session.outbox for session in telling.changes}
        for audience, outboxes in _audiences(rooms):
            self._shared.fan_out(outboxes, telling.heard(audience)[1], apart)
        for session, changes in telling.changes.items():
            mine = telling.own(tuple(r for r in rooms if session in r.members), changes)
            if mine:
                whole = session.tell(*mine)
                own = (event for _, _, events in changes for event in events)
                session.note_shown(own, whole=whole)


_Audience = tuple[Room, ...]
"""The rooms, among those that a batch is about, that somebody is in."""

_Change = tuple[int, bool, tuple[Event, ...]]
"""A place among what was said in rooms, whether what was said there is left out, and what is told
there."""


class _Telling:
    """What a batch tells to whom.

    Readers who are in the same rooms share one tuple of what was said there. A session gets a tuple
    of its own if it wrote one of the messages and is not told it, or is told it with its label, or
    if it takes part in a private conversation.

    @ivar said: what was said in rooms, in the order of the log.
    @ivar rooms: where each of these was said.
    @ivar changes: for each session with a tuple of its own, what is different in it.
    """

    def __init__(self) -> None:
        self.said: list[Said] = []
        self.rooms: list[Room] = []
        self.changes: defaultdict[Session, list[_Change]] = defaultdict(list)
        self._heard: dict[_Audience, tuple[Sequence[int], tuple[Said, ...]]] = {}

    def say(self, event: Said, room: Room) -> None:
        """Tell everybody in a room."""
        self.said.append(event)
        self.rooms.append(room)

    def instead(self, session: Session, *events: Event) -> None:
        """Tell a session these events instead of the message that was said last."""
        self.changes[session].append((len(self.said) - 1, True, events))

    def tell(self, session: Session, event: Event) -> None:
        """Tell a session."""
        self.changes[session].append((len(self.said), False, (event,)))

    def heard(self, audience: _Audience) -> tuple[Sequence[int], tuple[Said, ...]]:
        """What an audience hears, and the places of it in C{said}."""
        if audience not in self._heard:
            places = [place for place, room in enumerate(self.rooms) if room in audience]
            self._heard[audience] = places, tuple(self.said[place] for place in places)
        return self._heard[audience]

    def own(self, audience: _Audience, changes: Sequence[_Change]) -> tuple[Event, ...]:
        """What is told to one session of an audience, with changes."""
        places, said = self.heard(audience)
        own: list[Event] = []
        start = 0
        for place, is_left_out, events in changes:
            end = bisect_left(places, place)
            own += said[start:end]
            own += events
            start = end + (is_left_out and end < len(places) and places[end] == place)
        own += said[start:]
        return tuple(own)


def _audiences(rooms: Sequence[Room]) -> Iterable[tuple[_Audience, Iterable[Outbox]]]:
    """The audiences of some rooms, each with the outboxes of those who are in these rooms only."""
    if len(rooms) == 1:
        return [((rooms[0],), rooms[0].members.values())]
    places: dict[Outbox, _Audience] = {}
    for room in rooms:
        for outbox in room.members.values():
            places[outbox] = (*places.get(outbox, ()), room)
    readers: defaultdict[_Audience, list[Outbox]] = defaultdict(list)
    for outbox, audience in places.items():
        readers[audience].append(outbox)
    return readers.items()


def _origins(posts: Iterable[Post]) -> Counter[Session]:
    """The sessions that some posts came from, and how many came from each."""
    return Counter(post.origin for post in posts if isinstance(post.origin, Session))


def _open(origin: object) -> Session | None:
    """The session that a post came from; L{None} if it came from none, or the session has ended."""
    return origin if isinstance(origin, Session) and not origin.has_ended else None


def _author(post: Post) -> str:
    return post.author if isinstance(post, RoomPost) else post.sender
