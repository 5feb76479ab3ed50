"""The feed: the entries that the log hands over, what they change, and who is told what of it."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from .announcements import Announced, Delivered
from .directory import Directory
from .errors import NOT_SENT, Code
from .events import (
    Answer,
    Away,
    Done,
    Event,
    Joined,
    Left,
    Members,
    NotKept,
    Refused,
    Said,
    Told,
    Topic,
)
from .labels import Author, Labels, done
from .model import (
    ACTION,
    CREATED,
    MEMBER,
    MESSAGES,
    NOTICE,
    SAID,
    TOPIC,
    Account,
    Aside,
    Entry,
    Standing,
    Stored,
)
from .people import Person, Session, View
from .ports import Outbox, Turn
from .room import Room, Shared


class Awaited:
    """What an operation awaits that has posted something and goes on when it is applied.

    @ivar lost: the store could not keep it, for this reason; L{None}: it could.
    """

    __slots__ = ("lost", "turn")

    def __init__(self, turn: Turn) -> None:
        self.turn = turn
        self.lost: Code | None = None


class Flight(NamedTuple):
    """A post on its way through the store.

    @ivar session: where it came from.
    @ivar author: whose its label is.
    @ivar label: empty if it has none.
    @ivar awaited: L{None}: no operation waits for it.
    """

    session: Session
    author: Author = ""
    label: str = ""
    awaited: Awaited | None = None


class Feed:
    """Takes what the store hands over, in the order of the log, applies it and tells it.

    @ivar flights: the posts of this process that the store has not handed over yet, by number.
    """

    def __init__(
        self,
        shared: Shared,
        directory: Directory,
        labels: Labels,
        over: Callable[[Session], None],
        announced: Callable[[Announced], None],
        failed: Callable[[], None],
    ) -> None:
        """
        @param over: called once for each session that had ended before the last of its posts
            landed.
        @param announced: takes what other nodes have announced.
        @param failed: called for each entry that could not be applied or told, while the exception
            is being handled.
        """
        self.flights: dict[int, Flight] = {}
        self._shared = shared
        self._directory = directory
        self._labels = labels
        self._over = over
        self._announced = announced
        self._newest = 0  # id of the newest entry that was handed over
        self._failed = failed

    def deliver(self, batch: Sequence[tuple[int, Delivered]]) -> None:
        """Apply and tell what was just committed, here or with other nodes.

        What goes wrong with one entry, or with telling it, stops none of the others, and all posts
        of the batch have landed in the end.

        @param batch: the number of each post and what is stored for it; 0 for what is of another
            node.
        """
        now = self._shared.now()
        telling = _Telling(self._try_to_tell)
        landed = _Landed()
        try:
            for number, stored in batch:
                if isinstance(stored, Announced):
                    self._take(telling, stored)
                    continue
                flight = self.flights.pop(number, None)
                try:
                    self._apply(telling, flight, stored, now)
                except Exception:  # noqa: BLE001 - one entry must not stop the others
                    self._failed()
                if flight is not None and (flight.label or flight.awaited):
                    self._answer(telling, flight, stored, landed, now)
                elif flight is not None:
                    landed.add(flight.session)
                elif isinstance(stored, Entry) and stored.label:
                    self._labels.keep(stored)
            telling.end()
        finally:
            self._finish(landed)

    def _take(self, telling: "_Telling", announced: Announced) -> None:
        """Take what another node has announced, after all that was before it in the log is told."""
        telling.end()
        try:
            self._announced(announced)
        except Exception:  # noqa: BLE001 - one announcement must not stop the others
            self._failed()

    def lose(self, numbers: Sequence[int], code: Code) -> None:
        """Tell the authors of posts that the store could not keep them. Nobody else is told.

        Whatever goes wrong meanwhile, all of these posts have landed.

        @param code: C{unavailable} if the same post may be kept later, else C{internal}.
        """
        now = self._shared.now()
        landed = _Landed()
        flights = [self.flights.pop(number) for number in numbers if number in self.flights]
        answers = [(flight.label, self._end(flight, None, landed)) for flight in flights]
        for flight in flights:
            if flight.awaited is not None:
                flight.awaited.lost = code
        try:
            for label, sessions in answers:
                for session in sessions:
                    session.tell(Refused(now, code, NOT_SENT[code], "", label))
        finally:
            self._finish(landed)

    # Posts of this process

    def _answer(
        self, telling: "_Telling", flight: Flight, stored: Stored, landed: "_Landed", now: int
    ) -> None:
        """Tell those who wait for it what became of a post."""
        if not flight.label or stored is None:
            landed.note(flight)
            return
        told = done(stored, flight.label, now)
        for session in self._end(flight, told, landed):
            telling.tell(session, told)

    def _end(self, flight: Flight, told: Done | None, landed: "_Landed") -> Sequence[Session]:
        """Note what became of a post, for those who repeat it.

        @param told: as in L{Labels.end}.
        @return: the sessions that wait for the answer.
        """
        landed.note(flight)
        if flight.awaited is not None:
            return ()  # the operation answers
        waiting = self._labels.end(flight.author, flight.label, told) if flight.label else []
        for session in waiting:
            landed.add(session)
        return [each for each in (flight.session, *waiting) if not each.has_ended]

    def _finish(self, landed: "_Landed") -> None:
        """Continue what waited for posts that have landed."""
        for session, count in landed.sessions.items():
            session.in_flight -= count
        # What goes on now may end sessions; those of which nothing is in flight are over at once.
        over = [session for session in landed.sessions if session.is_over]
        for awaited in landed.awaited:
            awaited.turn.callback(None)
        for session in landed.sessions:
            session.landed()
        for session in over:
            self._over(session)

    # What an entry changes, and who is told

    def _apply(self, telling: "_Telling", flight: Flight | None, stored: Stored, now: int) -> None:
        if isinstance(stored, Entry):
            if stored.id <= self._newest:
                return  # another node has posted the same, and it was handed over for that
            self._newest = stored.id
        if isinstance(stored, Entry) and stored.room.kind != "direct":
            room = self._shared.rooms.get(stored.room.name) or self._directory.add(stored.room)
            room.last_seq = stored.seq
            apply = _APPLY.get(stored.kind)
            if apply is not None:
                apply(self, telling, flight, stored, room, now)
        elif isinstance(stored, Aside) or (stored is not None and stored.kind in MESSAGES):
            self._say_privately(telling, flight, stored, now)

    def _say(
        self, telling: "_Telling", flight: Flight | None, entry: Entry, room: Room, now: int
    ) -> None:
        room.remember(entry)
        telling.say(Said(now, entry), room)
        origin = _origin(flight)
        if origin is None:
            return
        view = origin.views.get(room)
        if view is not None and view.read == entry.seq - 1:
            view.read = entry.seq  # nobody has to read what they said themselves
        if not origin.echo:
            telling.instead(origin)
        elif entry.label and origin in room.sessions:
            telling.instead(origin, Said(now, entry, label=entry.label))

    def _set_topic(
        self, telling: "_Telling", flight: Flight | None, entry: Entry, room: Room, now: int
    ) -> None:
        room.topic, room.topic_by = entry.text, entry.author
        telling.say(Topic(now, room.name, entry.text, entry.author, entry), room)

    def _create(
        self, telling: "_Telling", flight: Flight | None, entry: Entry, room: Room, now: int
    ) -> None:
        """A room was made, which belongs to its author if they have an account."""
        standing = entry.standing
        if standing is not None:
            self._become(telling, flight, standing, entry, room, now)

    def _stand(
        self, telling: "_Telling", flight: Flight | None, entry: Entry, room: Room, now: int
    ) -> None:
        """Somebody became a member, ceased to be one, or has another role.

        @raise ValueError: the entry does not say so.
        """
        standing = entry.standing
        assert standing is not None
        role = room.members.get(standing.account.id)
        if role is not None and standing.is_joining(entry.author_id):
            standing = Standing(standing.account, role)
        self._become(telling, flight, standing, entry, room, now)

    def _become(
        self,
        telling: "_Telling",
        flight: Flight | None,
        standing: Standing,
        entry: Entry,
        room: Room,
        now: int,
    ) -> None:
        telling.stand(standing, entry, room, now)
        self._directory.stand(room, standing.account.id, standing.role)
        person = self._account_here(standing.account)
        if person is None or room.is_lobby:
            return
        origin = flight.session if flight is not None else None
        if standing.role is None:
            self._put_out(person, room, origin, now)
        elif room not in person.rooms:
            self._put_in(person, room, origin, now)

    def _put_in(self, person: Person, room: Room, origin: Session | None, now: int) -> None:
        """Put somebody who is here into a room.

        @param origin: the session whose operation does this, which goes on by itself.
        """
        room.enter(person)
        joined = Joined(now, room.name, ((person.name, person.is_account),))
        for session in person.sessions:
            if session is not origin:
                room.add(session)
                session.views = {**session.views, room: View(room.last_seq)}
                session.tell(joined)

    def _put_out(self, person: Person, room: Room, origin: Session | None, now: int) -> None:
        """Take somebody who is here out of a room. C{origin} is as in L{_put_in}."""
        if room not in person.rooms:
            return
        room.exit(person)
        left = Left(now, room.name, (person.name,))
        for session in person.sessions:
            session.views = {each: view for each, view in session.views.items() if each is not room}
            if session is origin:
                session.answer(left)
                continue
            session.tell(left)
            if session.face is not None:
                session.face.put_out(room.name)
        room.went(person.name)

    def _account_here(self, account: Account) -> Person | None:
        person = self._shared.people.get(account.name)
        return person if person is not None and person.id == account.id else None

    # Private messages

    def _say_privately(
        self, telling: "_Telling", flight: Flight | None, message: Entry | Aside, now: int
    ) -> None:
        origin = _origin(flight)
        recipient = self._recipient(message)
        got = recipient.sessions if recipient is not None else ()
        if message.author != message.recipient:
            self._tell_author(telling, origin, message, now)
            wrote = self._writer(flight, message)
            for session in got:
                session.wrote = wrote
        told = Told(now, message)
        for session in got:
            is_own = session is origin and message.label
            telling.tell(session, Told(now, message, label=message.label) if is_own else told)
        parties = (*(() if origin is None else (origin,)), *got)
        is_kept = isinstance(message, Entry)
        if not got and (recipient is None or not recipient.nodes):
            remark: Event = Away(now, message.recipient, is_kept)
        elif not is_kept:
            parties = tuple(session for session in parties if not session.told_not_kept)
            for session in parties:
                session.told_not_kept = True
            remark = NotKept(now)
        else:
            return
        for session in parties:
            is_answer = session is origin and message.label
            telling.tell(session, Answer(remark, message.label) if is_answer else remark)

    def _writer(self, flight: Flight | None, message: Entry | Aside) -> str | Session | Person:
        """Whom the recipient of a private message may answer; see L{Session.wrote}."""
        if message.author_id is not None:
            return message.author
        if flight is not None:
            return flight.session
        return self._shared.people.get(message.author, message.author)

    def _tell_author(
        self, telling: "_Telling", origin: Session | None, message: Entry | Aside, now: int
    ) -> None:
        """Tell the sessions of the author of a private message what they have sent."""
        # Only an account has several sessions; the name of a guest may be somebody else's by now.
        is_account = message.author_id is not None
        author = self._shared.people.get(message.author) if is_account else None
        outgoing = Told(now, message, outgoing=True)
        for session in author.sessions if author is not None else ():
            if session is not origin:
                telling.tell(session, outgoing)
        if origin is not None and origin.echo:
            telling.tell(origin, Told(now, message, outgoing=True, label=message.label))

    def _recipient(self, message: Entry | Aside) -> Person | None:
        """The person that a private message is for, if they are here."""
        if isinstance(message, Entry):
            return self._account_here(message.room.other(message.author_id))
        person = self._shared.people.get(message.recipient)
        if person is None or person.key != message.recipient_key:
            return None  # nobody, or somebody else who has taken the name of a guest who left
        return person

    # Telling

    def _try_to_tell(self, telling: "_Telling") -> None:
        """Tell what has gathered. If that fails, it changes nothing of what is applied."""
        try:
            self._tell(telling)
        except Exception:  # noqa: BLE001 - one outbox must not stop the batch
            self._failed()

    def _tell(self, telling: "_Telling") -> None:
        rooms = list(dict.fromkeys(telling.rooms))
        apart = {session.outbox for session in telling.changes}
        for audience, outboxes in _audiences(rooms):
            self._shared.fan_out(outboxes, telling.heard(audience)[1], apart)
        for session, changes in telling.changes.items():
            mine = telling.own(tuple(r for r in rooms if session in r.sessions), changes)
            if mine:
                whole = session.tell(*mine)
                own = (event for _, _, events in changes for event in events)
                session.note_shown(own, whole=whole)


class _Landed:
    """What waits for the posts of a batch to land.

    @ivar sessions: the sessions whose posts have landed, and how many of each.
    """

    def __init__(self) -> None:
        self.sessions: dict[Session, int] = {}
        self.awaited: list[Awaited] = []

    def add(self, session: Session) -> None:
        """Note that something has landed that a session had in flight."""
        self.sessions[session] = self.sessions.get(session, 0) + 1

    def note(self, flight: Flight) -> None:
        """Note that a post has landed."""
        self.add(flight.session)
        if flight.awaited is not None:
            self.awaited.append(flight.awaited)


_Audience = tuple[Room, ...]
"""The rooms, among those that a batch is about, that somebody is in."""

_Change = tuple[int, bool, tuple[Event, ...]]
"""A place among what was said in rooms, whether what was said there is left out, and what is told
there."""


class _Telling:
    """What a batch tells to whom.

    Readers who are in the same rooms share one tuple of what happened there. A session gets a tuple
    of its own if it wrote one of the messages and is not told it, or is told it with its label, or
    if it takes part in a private conversation.

    @ivar said: what happened in rooms, in the order of the log.
    @ivar rooms: where each of these happened.
    @ivar changes: for each session with a tuple of its own, what is different in it.
    """

    def __init__(self, tell: "Callable[[_Telling], None]") -> None:
        """@param tell: tells what has gathered."""
        self._tell = tell
        self._members: Members | None = None
        self._members_of: Room | None = None
        self._begin()

    def _begin(self) -> None:
        self.said: list[Event] = []
        self.rooms: list[Room] = []
        self.changes: defaultdict[Session, list[_Change]] = defaultdict(list)
        self._heard: dict[_Audience, tuple[Sequence[int], tuple[Event, ...]]] = {}

    def end(self) -> None:
        """Tell what has gathered."""
        self._end_members()
        if self.said or self.changes:
            self._tell(self)
            self._begin()

    def say(self, event: Event, room: Room) -> None:
        """Tell everybody in a room."""
        if self._members is not None:
            self._end_members()
        self.said.append(event)
        self.rooms.append(room)

    def instead(self, session: Session, *events: Event) -> None:
        """Tell a session these events instead of what was said last."""
        self.changes[session].append((len(self.said) - 1, True, events))

    def tell(self, session: Session, event: Event) -> None:
        """Tell a session."""
        self._end_members()
        self.changes[session].append((len(self.said), False, (event,)))

    def stand(self, standing: Standing, entry: Entry, room: Room, now: int) -> None:
        """Tell everybody in a room what somebody is there. Those who follow each other are told
        together; what has gathered before is told before the room changes."""
        known = self._members if self._members_of is room else None
        if known is None:
            self.end()
        standings = (*known.standings, standing) if known is not None else (standing,)
        self._members = Members(now, room.name, entry.seq, standings)
        self._members_of = room

    def _end_members(self) -> None:
        members, room, self._members, self._members_of = self._members, self._members_of, None, None
        if members is not None and room is not None:
            self.said.append(members)
            self.rooms.append(room)

    def heard(self, audience: _Audience) -> tuple[Sequence[int], tuple[Event, ...]]:
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
        return [((rooms[0],), rooms[0].sessions.values())]
    places: dict[Outbox, _Audience] = {}
    for room in rooms:
        for outbox in room.sessions.values():
            places[outbox] = (*places.get(outbox, ()), room)
    readers: defaultdict[_Audience, list[Outbox]] = defaultdict(list)
    for outbox, audience in places.items():
        readers[audience].append(outbox)
    return readers.items()


def _origin(flight: Flight | None) -> Session | None:
    """The session that a post came from; L{None} if it came from another node, or the session
    has ended."""
    return None if flight is None or flight.session.has_ended else flight.session


_Apply = Callable[[Feed, _Telling, Flight | None, Entry, Room, int], None]

_APPLY: Mapping[str, _Apply] = {
    SAID: Feed._say,
    ACTION: Feed._say,
    NOTICE: Feed._say,
    TOPIC: Feed._set_topic,
    CREATED: Feed._create,
    MEMBER: Feed._stand,
}
"""What the entries of each kind change."""
