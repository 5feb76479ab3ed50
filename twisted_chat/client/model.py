"""Who is where, and what is unread: what every client knows besides what it shows. No screen, no
clock."""

from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeVar

from .lines import LOBBY, Event, conversation
from .show import mentions

_MOST_PRIVATE = 40
"""Private conversations at one time, so that strangers cannot fill a window."""


_MOST_UNREAD = 10_000
"""Messages that are counted in a place, so that it does not grow while nobody looks."""


class Place:
    """A room that we are in, or a private conversation.

    @ivar name: of the room, or of the person with an C{@} before it.
    @ivar people: who is in the room: name to whether they have an account.
    @ivar unnamed: how many came, less those who left, without being named.
    @ivar topic: of the room; empty if it has none.
    @ivar mentioned: one of those is for us.
    @ivar newest: the C{seq} of the last message of somebody else that was told; 0 if none was.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.people: dict[str, bool] = {}
        self.unnamed = 0
        self.topic = ""
        self.mentioned = False
        self.newest = 0
        self._unread: list[int] = []  # the places of those that were told; 0: not in the log
        self._untold = 0  # others that the server has counted
        self._counted = 0  # up to here it has
        self._read = 0  # up to here all is read

    @property
    def person(self) -> str:
        """Who the conversation is with; empty for a room."""
        return self.name[1:] if self.name.startswith("@") else ""

    @property
    def label(self) -> str:
        return self.person or f"#{self.name}"

    @property
    def number(self) -> int:
        """How many people are in the room, as far as is known; 0: nothing is."""
        return max(len(self.people) + self.unnamed, 0)

    @property
    def unread(self) -> int:
        """Messages of others that nobody has read, here or in another session."""
        return len(self._unread) + self._untold

    def read(self) -> None:
        """Somebody looks at it."""
        self._untold = 0
        self.read_up_to(self.newest)

    def read_up_to(self, seq: int) -> None:
        """It is read up to this entry, here or in another session of the account."""
        self._read = max(self._read, seq)
        self._unread = [each for each in self._unread if each > self._read]
        self._untold = min(self._untold, max(self._counted - self._read, 0))
        self.mentioned = self.mentioned and self.unread > 0

    def count(self, seq: int, read: int, new: int) -> None:
        """Take over how much the server says is unread.

        @param seq: of the newest entry.
        @param read: up to where it is read, as far as the server knows.
        @param new: messages of others after that.
        """
        self._counted = seq
        self._untold = new
        self.read_up_to(read)
        self._untold = max(self._untold - len(self._unread), 0)

    def hear(self, event: Event, name: str) -> None:
        """Count a message of somebody else that nobody looks at.

        @param name: who we are.
        """
        seq = event.get("seq") or 0
        if seq and seq <= self._counted:
            is_unread = self._untold > 0 and seq > self._read
            self._untold -= is_unread
        else:
            is_unread = bool(event.get("new"))
        if is_unread and len(self._unread) < _MOST_UNREAD:
            self._unread.append(seq)
            self.mentioned = self.mentioned or mentions(event, name)


_Place = TypeVar("_Place", bound=Place)


class Model(Generic[_Place]):
    """All places, in the order in which they were opened; the lobby is always there.

    @ivar name: who we are.
    @ivar all: the places, by name.
    @ivar rooms: the rooms of the server and the number of people in each, as of the last list.
    @ivar commands: what can be typed, with its slash, as of the last help.
    @ivar looked_at: the place that is read at this moment; L{None} while nobody looks.
    @ivar stale: rooms of which it is not known who is there.
    """

    def __init__(self, make: Callable[[str], _Place], name: str = "") -> None:
        """
        @param make: makes a place of this name.
        """
        self._make = make
        self.name = name
        self.all: dict[str, _Place] = {LOBBY: make(LOBBY)}
        self.rooms: dict[str, int] = {}
        self.commands: list[str] = []
        self.looked_at: _Place | None = None
        self.stale: set[str] = {LOBBY}

    def __iter__(self) -> Iterator[_Place]:
        return iter(list(self.all.values()))

    @property
    def lobby(self) -> _Place:
        return self.all[LOBBY]

    @property
    def unread(self) -> int:
        """Messages in all places that nobody looked at."""
        return sum(place.unread for place in self)

    def open(self, name: str) -> _Place:
        """Get the place of this name, a new one if there is none."""
        place = self.all.get(name)
        if place is None:
            private = [each for each in self if each.person and each is not self.looked_at]
            if name.startswith("@") and len(private) >= _MOST_PRIVATE:
                self.close(private[0].name)
            place = self.all[name] = self._make(name)
        return place

    def close(self, name: str) -> None:
        """Forget a place; not the lobby."""
        if name != LOBBY:
            self.all.pop(name, None)
            self.stale.discard(name)

    def look(self, place: _Place | None) -> None:
        """Somebody looks at this place now, or at none."""
        self.looked_at = place
        if place is not None:
            place.read()

    def take(self, event: Event) -> list[_Place]:
        """Learn from an event.

        @return: the places that it is about.
        """
        take = _TAKE.get(event["event"])
        return [] if take is None else take(self, event)

    def _said(self, place: _Place, event: Event) -> list[_Place]:
        if event["from"] != self.name:
            place.newest = max(place.newest, event.get("seq") or 0)
            if place is self.looked_at:
                place.read()
            else:
                place.hear(event, self.name)
        return [place]

    def _message(self, event: Event) -> list[_Place]:
        return self._said(self.open(event["room"]), event)

    def _dm(self, event: Event) -> list[_Place]:
        return self._said(self.open(conversation(event, self.name)), event)

    def _at(self, event: Event) -> list[_Place]:
        place = self.all.get(event.get("room") or "")
        return [] if place is None else [place]

    def _joined(self, event: Event) -> list[_Place]:
        name = event.get("name")
        if name == self.name:
            self.stale.add(self.open(event["room"]).name)
        for place in self._at(event):
            if name is None:
                self._unnamed(place, event.get("count") or 0)
            else:
                place.people[name] = bool(event.get("account"))
        return self._at(event)

    def _left(self, event: Event) -> list[_Place]:
        name = event.get("name")
        places = self._at(event)
        if name is None:
            for place in places:
                self._unnamed(place, -(event.get("count") or 0))
        elif event["room"] == LOBBY:
            for place in self:
                place.people.pop(name, None)  # to leave the lobby is to leave
        elif name == self.name:
            self.close(event["room"])
        else:
            for place in places:
                place.people.pop(name, None)
        return places

    def _unnamed(self, place: _Place, many: int) -> None:
        place.unnamed += many
        self.stale.add(place.name)

    def _renamed(self, event: Event) -> list[_Place]:
        old, new = event["name"], event["to"]
        if old == self.name:
            self.name = new
        concerned = []
        for place in self:
            if old in place.people:
                del place.people[old]
                place.people[new] = event["account"]
            elif place.person != old:
                continue
            concerned.append(place)
        private = self.all.get(f"@{old}")
        if private is not None and f"@{new}" not in self.all:
            private.name = f"@{new}"
            self.all = {each.name: each for each in self}
        return concerned

    def _topic(self, event: Event) -> list[_Place]:
        for place in self._at(event):
            place.topic = event["topic"]
        return self._at(event)

    def _users(self, event: Event) -> list[_Place]:
        for place in self._at(event):
            self.stale.discard(place.name)
            place.people = {user["name"]: user["account"] for user in event["users"]}
            place.unnamed = 0
        return self._at(event)

    def _crowd(self, event: Event) -> list[_Place]:
        for place in self._at(event):
            self.stale.add(place.name)
            place.people = {}
            place.unnamed = event["count"]
        return self._at(event)

    def _rooms(self, event: Event) -> list[_Place]:
        if event.get("joined"):
            return [self._back(row) for row in event["rooms"]]
        self.rooms = {room["room"]: room["members"] for room in event["rooms"]}
        return []

    def _back(self, row: Event) -> _Place:
        """We are in a room: take over its topic, and what is unread there."""
        if row["room"] not in self.all:
            self.stale.add(row["room"])
        place = self.open(row["room"])
        place.topic = row["topic"] or ""
        place.count(row["seq"], row["read"], row["new"] or 0)
        if place is self.looked_at:
            place.read()
        return place

    def _read(self, event: Event) -> list[_Place]:
        place = self.all.get(event["room"])
        if place is None:
            return []
        place.read_up_to(event["seq"])
        return [place]

    def _help(self, event: Event) -> list[_Place]:
        usages = [command["usage"].partition(" ")[0] for command in event["commands"]]
        also = [word for command in event["commands"] for word in command["also"]]
        self.commands = sorted(word for word in usages + also if word.startswith("/"))
        return []

    def _welcome(self, event: Event) -> list[_Place]:
        self.name = event["name"]
        return []

    def _connected(self, event: Event) -> list[_Place]:
        self.name = event["name"]
        self.stale.add(LOBBY)  # of other rooms it is told on joining them
        return []

    def _skipped(self, _: Event) -> list[_Place]:
        self.stale.update(place.name for place in self if not place.person)
        return []


def common(texts: Sequence[str]) -> str:
    """Give how all of the texts begin."""
    first, last = min(texts), max(texts)
    same = (one == other for one, other in zip(first, last, strict=False))
    return first[: next((n for n, equal in enumerate(same) if not equal), len(first))]


_TAKE = {
    "welcome": Model._welcome,
    "message": Model._message,
    "dm": Model._dm,
    "joined": Model._joined,
    "left": Model._left,
    "renamed": Model._renamed,
    "topic": Model._topic,
    "users": Model._users,
    "crowd": Model._crowd,
    "rooms": Model._rooms,
    "read": Model._read,
    "help": Model._help,
    "gap": Model._at,
    "connected": Model._connected,
    "skipped": Model._skipped,
}
