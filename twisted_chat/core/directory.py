"""Looking things up: rooms, people, and what a face may ask about them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from . import names
from .errors import Code, Refusal, Way
from .events import Rooms, Topic, Users
from .model import Role, RoomRecord, RoomState
from .people import Person
from .ports import Store
from .room import LOBBY, Room, Shared
from .text import printable


@dataclass(frozen=True, slots=True)
class Whois:
    """Somebody who is here.

    @ivar rooms: the names of the rooms that they are in, in the order of the alphabet.
    """

    name: str
    is_account: bool
    rooms: tuple[str, ...]


class Directory:
    """The rooms that there are and the people who are here."""

    def __init__(self, store: Store, shared: Shared) -> None:
        self._store = store
        self._shared = shared
        self._skeletons: dict[str, str] = {}  # of rooms, and the names that have them
        self._memberships: dict[int, dict[Room, None]] = {}  # of accounts, without the lobby

    def __len__(self) -> int:
        """The number of rooms."""
        return len(self._shared.rooms)

    def __iter__(self) -> Iterator[Room]:
        """All rooms."""
        return iter(self._shared.rooms.values())

    @property
    def lobby(self) -> Room:
        return self._shared.rooms[LOBBY]

    def open(self, state: RoomState) -> None:
        """Add a room as the log has made it, or take it up anew."""
        room = self._shared.rooms.get(state.record.name) or self.add(state.record)
        room.record = state.record  # it has another id if it was lost and made anew
        room.topic, room.topic_by, room.last_seq = state.topic, state.topic_by, state.last_seq
        for account_id, role in state.members.items():
            self.stand(room, account_id, role)

    def go_back(self, states: Iterable[RoomState]) -> None:
        """Take up the rooms as an earlier entry of the log has made them. Those that are with other
        nodes stay in their rooms, as far as these exist and the accounts are members of them."""
        gone = dict(self._shared.rooms)
        self._memberships.clear()
        for room in gone.values():
            room.members.clear()
            room.recent = room.replay = None
        for state in states:
            self.open(state)
            gone.pop(state.record.name, None)
        for name in gone:
            del self._shared.rooms[name]
            del self._skeletons[names.skeleton(name)]
        for person in self._shared.people.values():
            for room in person.rooms:
                if room.name in gone or not room.has(person):
                    room.exit(person)

    def add(self, record: RoomRecord) -> Room:
        """Add a room of which nothing is known but its record."""
        room = self._shared.rooms[record.name] = Room(record, self._shared)
        self._skeletons[names.skeleton(record.name)] = record.name
        return room

    def stand(self, room: Room, account_id: int, role: Role | None) -> None:
        """Note what an account is in a room from now on.

        @param role: L{None}: no member.
        """
        memberships = self._memberships.setdefault(account_id, {})
        if role is None or (room.is_lobby and role == "member"):
            room.members.pop(account_id, None)
            memberships.pop(room, None)
        else:
            room.members[account_id] = role
            if not room.is_lobby:
                memberships[room] = None
        if not memberships:
            del self._memberships[account_id]

    def rooms_of(self, account_id: int) -> tuple[Room, ...]:
        """The rooms that an account is a member of, the lobby first."""
        return (self.lobby, *self._memberships.get(account_id, ()))

    def get(self, name: str) -> Room | None:
        """The room that has this canonical name, if there is one."""
        return self._shared.rooms.get(name)

    def room(self, raw: str) -> Room:
        """The room of a name as it was typed.

        @raise Refusal: C{no-such-room}.
        """
        room = self._shared.rooms.get(raw)
        if room is None:
            try:
                room = self._shared.rooms.get(names.room(raw))
            except Refusal:
                pass
        if room is None and raw.startswith("@"):
            word = printable(raw)[: 2 * names.MAX_LENGTH]
            raise Refusal("no-such-room", f'"{word}" is no room', "write-privately", name=word)
        if room is None:
            word, near = _nearest(raw, self._shared.rooms)
            raise _no_such("no-such-room", f'there is no room "{word}"', near, "list-rooms", word)
        return room

    def refuse_look_alike(self, name: str, skeleton: str) -> None:
        """Refuse the canonical name of a new room that looks like that of another one.

        @raise Refusal: C{bad-name}.
        """
        other = self._skeletons.get(skeleton, name)
        if other != name:
            sentence = f'"{name}" looks too much like the room "{other}"; choose another name'
            raise Refusal("bad-name", sentence, nearest=other)

    def here(self, name: str) -> Person | None:
        """The person of this canonical name, if they are here."""
        return self._shared.people.get(name)

    async def person(self, raw: str) -> Person:
        """The person of a name as it was typed: somebody who is here, or an account that is not,
        with no sessions.

        @raise Refusal: C{no-such-person}, C{unavailable}, C{closed}.
        """
        try:
            name = names.canonical(raw)
        except Refusal:
            name = ""
        person = self.here(name)
        if person is None and name:
            account = await self._store.find_account(name)
            person = self.here(name)  # they may have logged in while the store was asked
            if person is None and account is not None:
                person = Person(account)
        if person is None:
            word, near = _nearest(raw, self._shared.people)
            sentence = f'no one here is called "{word}"'
            raise _no_such("no-such-person", sentence, near, "list-people", word)
        return person

    # Answers

    def users(self, room: Room, to: Person) -> Users:
        """The people in a room, listed for somebody."""
        return Users(self._shared.now(), room.name, room.listed(to))

    def rooms(self) -> Rooms:
        """All rooms, those with the most people first."""
        listed = [(room.name, len(room.people), room.topic) for room in self]
        listed.sort(key=lambda entry: (-entry[1], entry[0]))
        return Rooms(self._shared.now(), tuple(listed))

    def topic(self, room: Room) -> Topic:
        """The topic of a room."""
        return Topic(self._shared.now(), room.name, room.topic, room.topic_by)

    def whois(self, raw: str) -> Whois | None:
        """What is known of somebody who is here; L{None} if nobody of this name is."""
        try:
            person = self.here(names.canonical(raw))
        except Refusal:
            person = None
        if person is None:
            return None
        rooms = tuple(sorted(room.name for room in person.rooms))
        return Whois(person.name, person.is_account, rooms)


def _nearest(raw: str, candidates: Iterable[str]) -> tuple[str, str | None]:
    """What was typed, as it can be shown, and the candidate that may have been meant."""
    word = printable(raw)[: 2 * names.MAX_LENGTH]
    return word, names.nearest(word.casefold(), candidates)


def _no_such(code: Code, sentence: str, near: str | None, way: Way, word: str) -> Refusal:
    if near is not None:
        return Refusal(code, f"{sentence}; did you mean {near}?", name=word, nearest=near)
    return Refusal(code, sentence, way, name=word)
