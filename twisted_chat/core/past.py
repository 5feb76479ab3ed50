"""Questions about the log, answered as values: history, resuming, what is new, unread messages."""

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress

from .errors import Refusal
from .events import (
    Crowd,
    Event,
    History,
    Members,
    Omitted,
    Place,
    Said,
    Told,
    Topic,
    Unread,
    Users,
)
from .limits import Limits
from .model import (
    CREATED,
    MEMBER,
    MESSAGES,
    TOPIC,
    Account,
    Entry,
    Findings,
    News,
    Question,
)
from .people import Person, Session
from .ports import Store
from .room import Room

DIRECT = "@"
"""Stands before the name of a person where a room may be named; alone, for all of one's private
messages."""

_HISTORY = 20
"""Messages in a history whose length was not asked for."""

LISTED = 50
"""People in a room that are listed for somebody who joins it; of more, only the number is told."""

_COUNTED = 100
"""New messages of a room that are counted, at most: all posts wait while the log counts."""

_STANDINGS = frozenset({CREATED, MEMBER})

_Shown = Said | Told | Topic | Members


class Past:
    """What was said before, for sessions that ask, come back or join a room."""

    def __init__(self, store: Store, limits: Limits, now: Callable[[], int]) -> None:
        """@param now: gives the time in UTC milliseconds."""
        self._store = store
        self._limits = limits
        self._now = now

    @property
    def _limit(self) -> int:
        """How many entries to ask for: one more than is shown, to know of more."""
        return self._limits.max_history + 1

    @property
    def _most_new(self) -> int:
        """How many new messages of a room are counted."""
        return min(_COUNTED, self._limits.max_history)

    # Histories that are asked for

    def count(self, asked: int | None) -> int:
        """The number of messages that a history may have.

        @param asked: what was asked for; L{None} for the default.
        @raise Refusal: C{bad-arguments}.
        """
        most = self._limits.max_history
        if asked is not None and not 1 <= asked <= most:
            sentence = f"a history has 1 to {most} messages"
            raise Refusal("bad-arguments", sentence, "fewer-messages", limit=most)
        return asked or min(_HISTORY, most)

    async def room(self, room: Room, count: int, reader: Person) -> History:
        """The last messages of a room.

        @raise Refusal: C{unavailable}, C{closed}.
        """
        messages = await self._store.history(room.record.id, count)
        return History(self._now(), room.name, self._replayed(self._newest(messages), reader))

    async def conversation(self, account: Account, other: Account, count: int) -> History:
        """The last private messages between two accounts, for the first of them.

        @raise Refusal: C{unavailable}, C{closed}.
        """
        found = await self._store.find_conversation(account.id, other.id)
        messages = await self._store.history(found.id, count) if found is not None else ()
        return self._direct_history(f"@{other.name}", account, self._newest(messages))

    # Joining a room

    async def wake(self, room: Room) -> None:
        """Have the last messages of a room at hand. The room keeps them while it has sessions.

        @raise Refusal: C{unavailable}, C{closed}.
        """
        if room.recent is None:
            recent = await self._store.history(room.record.id, self._limits.replay)
            if room.recent is None:
                room.recent = deque(recent, maxlen=self._limits.replay)

    async def missed(self, session: Session, room: Room) -> History | None:
        """L{wake} a room for a session that is about to be shown it. No await may stand between
        this and putting the session into the room.

        @return: what came after the session's resume point, or what is new to its account; L{None}
            if it has no resume point and nothing is new.
        @raise Refusal: C{unavailable}, C{closed}.
        """
        while True:
            await self.wake(room)
            seq = session.resume_point(room.name)
            view = session.views.get(room)
            is_resumed = seq is not None
            if seq is None and view is not None and not view.is_whole:
                seq = view.read
            if seq is None:
                return None
            question = Question(self._limit, rooms={room.record.id: seq})
            entries = (await self._store.ask(question)).rooms.get(room.record.id, ())
            if room.recent is None:
                continue  # the last session has left it meanwhile
            person = session.person
            if person is None:
                return None
            if is_resumed:
                session.resumed(room.name)
                return self.resumed_room(room, entries, seq, person)
            messages = self._newest([entry for entry in entries if entry.kind in MESSAGES])
            shown = self._replayed(messages, person)
            return History(self._now(), room.name, shown, seq=room.last_seq) if shown else None

    def entrance(self, person: Person, room: Room, missed: History | None) -> tuple[Event, ...]:
        """What somebody is shown who joins a room: messages, the topic, and the people.

        @param missed: the messages to show; L{None} for the last ones.
        """
        now = self._now()
        history = missed or History(now, room.name, self._replay(room, person), seq=room.last_seq)
        topic = (Topic(now, room.name, room.topic, room.topic_by),) if room.topic else ()
        if room.is_lobby:
            return (history, *topic)
        if len(room.people) > LISTED:
            return (history, *topic, Crowd(now, room.name, len(room.people)))
        return (history, *topic, Users(now, room.name, room.listed(person)))

    def _replay(self, room: Room, reader: Person) -> Sequence[_Shown]:
        """The last messages of a room: the same events for all readers but those who wrote one of
        them and gave it a label."""
        recent = room.recent or ()
        if any(_label(entry, reader) for entry in recent):
            return self._replayed(recent, reader)
        if room.replay is None:
            now = self._now()
            room.replay = tuple(Said(now, entry, replay=True) for entry in recent)
        return room.replay

    def _replayed(self, entries: Iterable[Entry], reader: Person) -> Sequence[_Shown]:
        """Messages, as they are shown to somebody."""
        now = self._now()
        return tuple(
            Said(now, entry, replay=True, label=_label(entry, reader)) for entry in entries
        )

    # Resuming

    def question(
        self,
        points: Mapping[str, int],
        rooms: Iterable[Room],
        account: Account | None,
        *,
        is_news: bool = False,
    ) -> Question:
        """What to ask the log for somebody who resumes.

        @param points: the last C{seq} that the client has of rooms and, for an account, of private
            conversations: C{@name}.
        @param rooms: the rooms that they are in; points of other rooms do not count.
        @param is_news: what is new and unread is wanted, too.
        """
        named = {room.record.id: points[room.name] for room in rooms if room.name in points}
        if account is None:
            return Question(self._limit, rooms=named)
        direct = {place[1:]: at for place, at in points.items() if place.startswith(DIRECT)}
        reader = account.id if is_news else None
        return Question(self._limit, reader, self._most_new + 1, named, direct, account.id)

    def resumed(
        self,
        points: Mapping[str, int],
        rooms: Iterable[Room],
        findings: Findings,
        reader: Person,
    ) -> dict[str, History]:
        """What the log has found after resume points, by place: the rooms first.

        @param points: those of the L{question}.
        @param rooms: the rooms that the reader is in now; others than those of the question do not
            count.
        """
        resumed = {}
        for room in rooms:
            entries = findings.rooms.get(room.record.id)
            if room.name in points and entries is not None:
                resumed[room.name] = self.resumed_room(room, entries, points[room.name], reader)
        for place, after in points.items():
            if place.startswith(DIRECT) and reader.account is not None:
                entries = findings.direct.get(place[1:], ())
                resumed[place] = self._resumed_privately(place, entries, after, reader.account)
        return resumed

    def resumed_room(
        self, room: Room, entries: Sequence[Entry], after: int, reader: Person
    ) -> History:
        """What came after a resume point in a room: the newest of these entries, as many as fit.

        @param entries: all of them, or one more than C{max_history}.
        """
        fitting = self._newest(entries)
        if len(fitting) < len(entries):
            after = fitting[0].seq - 1 if fitting else room.last_seq
        shown = tuple(self._entries(room, fitting, reader))
        return History(self._now(), room.name, shown, after, room.last_seq)

    def _resumed_privately(
        self, place: str, entries: Sequence[Entry], after: int, account: Account
    ) -> History:
        """The same for the private conversation with somebody."""
        fitting = self._newest(entries)
        seq = entries[-1].seq if entries else after
        if len(fitting) < len(entries):
            after = fitting[0].seq - 1 if fitting else seq
        messages = [entry for entry in fitting if entry.kind in MESSAGES]
        shown = self._direct_history(place, account, messages).shown
        return History(self._now(), place, shown, after, seq)

    def _entries(self, room: Room, entries: Iterable[Entry], reader: Person) -> Iterable[_Shown]:
        """Entries of all kinds, as they are shown to somebody."""
        now = self._now()
        for entry in entries:
            if entry.kind in MESSAGES:
                yield Said(now, entry, replay=True, label=_label(entry, reader))
            elif entry.kind == TOPIC:
                yield Topic(now, room.name, entry.text, entry.author, entry, replay=True)
            elif entry.kind in _STANDINGS:
                with suppress(ValueError):  # it is of a newer version
                    if (standing := entry.standing) is not None:
                        seq = entry.seq
                        yield Members(entry.time, room.name, seq, (standing,), replay=True)

    # What is new

    async def news(self, account: Account) -> Sequence[News]:
        """What is new to an account in its rooms.

        @raise Refusal: C{unavailable}, C{closed}.
        """
        question = Question(0, account.id, self._most_new + 1)
        return (await self._store.ask(question)).news

    def places(self, person: Person, news: Iterable[News]) -> tuple[Place, ...]:
        """The rooms that somebody is in, with what is new to them."""
        known = {each.room_id: each for each in news}
        most = self._most_new
        rooms = sorted(person.rooms, key=lambda room: (not room.is_lobby, room.name))
        places = []
        for room in rooms:
            new = known.get(room.record.id) or News(room.record.id, room.last_seq, 0)
            count, more = min(new.new, most), new.new > most
            people = len(room.people)
            places.append(
                Place(room.name, people, room.topic, room.last_seq, new.read_seq, count, more)
            )
        return tuple(places)

    # Private messages

    def unread(
        self, account: Account, messages: Sequence[Entry], *, alone: bool
    ) -> tuple[Event, ...]:
        """The first of an account's unread private messages, as many as fit; nothing if there are
        none.

        @param messages: all of them, or one more than C{max_history}.
        @param alone: as in L{Unread}.
        """
        if not messages:
            return ()
        most = self._limits.max_history
        shown = messages[: self._fitting(messages)]
        now = self._now()
        count = Unread(now, min(len(messages), most), len(messages) > most, alone)
        history = self._direct_history(DIRECT, account, shown)
        if len(shown) == len(messages):
            return count, history
        return count, history, Omitted(now)

    def _direct_history(self, of: str, account: Account, messages: Sequence[Entry]) -> History:
        now = self._now()
        shown = []
        for message in messages:
            mine = message.author_id == account.id
            label = message.label if mine else ""
            shown.append(Told(now, message, outgoing=mine, replay=True, label=label))
        return History(now, of, tuple(shown))

    # What fits

    def _newest(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        """The newest of the entries, as many as fit."""
        return entries[len(entries) - self._fitting(entries[::-1]) :]

    def _fitting(self, entries: Sequence[Entry]) -> int:
        """The number of entries, from the first on, that may be shown at once: an empty outbox has
        room for them, and they are not more than C{max_history}."""
        room = self._limits.outbox // 2
        for index, entry in enumerate(entries[: self._limits.max_history]):
            room -= 4 * len(entry.text) + 200  # UTF-8, and what a format puts around it
            if room < 0:
                return index
        return min(len(entries), self._limits.max_history)


def _label(entry: Entry, reader: Person) -> str:
    """The label of an entry, if its author reads it. A guest may be somebody else than the guest
    who had the name before."""
    return entry.label if reader.is_account and entry.author_id == reader.id else ""
