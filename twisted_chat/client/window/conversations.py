"""What the window shows, without the window: who said what where, what of it is unread, and who
is there. No Tk, no clock."""

from bisect import bisect_left
from collections.abc import Iterator

from twisted_chat.protocol.grammar import is_secret

from ..lines import Event
from ..show import LOBBY, mentions

LONGEST = 3000
"""Events that a conversation keeps; of more, the oldest are dropped."""

_MOST_PRIVATE = 40
"""Private conversations at one time, so that strangers cannot fill the window."""

_FEW = 50
"""People in a room of whom it is asked who has an account, whenever somebody comes."""


class Conversation:
    """A room, or what is said between us and one person.

    @ivar name: of the room, or of the person with an C{@} before it.
    @ivar people: who is in the room; and whether they have an account.
    @ivar unsent: lines that were typed in it and have no receipt or answer yet.
    @ivar unread: messages that came while it was not looked at.
    @ivar mentioned: one of those is for us.
    @ivar changed: events were put between others, so that it is to be drawn anew.
    @ivar dropped: events that have gone from the beginning since it was drawn.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.events: list[Event] = []
        self.people: dict[str, bool] = {}
        self.topic = ""
        self.unsent: list[str] = []
        self.unread = 0
        self.mentioned = False
        self.changed = False
        self.dropped = 0
        # The number of each event, its seq or id; of one without, that of the event before it.
        self._numbers: list[int] = []
        self._filled = False

    @property
    def person(self) -> str:
        """Who it is with; empty for a room."""
        return self.name[1:] if self.name.startswith("@") else ""

    @property
    def label(self) -> str:
        return self.person or f"#{self.name}"

    @property
    def last(self) -> int:
        """The highest number so far."""
        return self._numbers[-1] if self._numbers else 0

    def add(self, event: Event) -> bool:
        """Take an event to its place; gives back whether it is a new one, that is now the last."""
        kind = event["event"]
        number = event["seq"] if kind == "message" else event.get("id") if kind == "dm" else None
        is_last = number is None or number > self.last
        if number is None:
            at = len(self.events)
            number = self.last
        else:
            at = bisect_left(self._numbers, number)
            if at < len(self._numbers) and self._numbers[at] == number and not is_last:
                return False
        self.events.insert(at, event)
        self._numbers.insert(at, number)
        self.changed = self.changed or not is_last
        if len(self.events) > LONGEST:
            excess = len(self.events) - LONGEST
            del self.events[:excess], self._numbers[:excess]
            self.dropped += excess
        return is_last

    def fill(self) -> None:
        """What was said before we came is there: what comes from now on is news."""
        self._filled = True

    def count(self, name: str, event: Event) -> None:
        """Count a message that nobody looks at.

        @param name: what we are called.
        """
        if event["from"] != name and (self._filled or self.person):
            self.unread += 1
            self.mentioned = self.mentioned or mentions(event, name)

    def read(self) -> None:
        self.unread = 0
        self.mentioned = False


class Conversations:
    """All of them, in the order in which they were begun; the lobby is always there.

    @ivar name: what we are called.
    @ivar rooms: all that the server has, with the number of people in them, as of the last answer.
    @ivar looked_at: the one that is read at this moment; L{None} while nobody looks.
    @ivar stale: rooms whose people are to be asked for.
    """

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.all: dict[str, Conversation] = {LOBBY: Conversation(LOBBY)}
        self.rooms: dict[str, int] = {}
        self.looked_at: Conversation | None = None
        self.stale: set[str] = {LOBBY}

    def __iter__(self) -> Iterator[Conversation]:
        return iter(list(self.all.values()))

    @property
    def unread(self) -> int:
        return sum(conversation.unread for conversation in self)

    def open(self, name: str) -> Conversation:
        """The conversation of this name; a new one if there is none."""
        conversation = self.all.get(name)
        if conversation is None:
            private = [each for each in self if each.person and each is not self.looked_at]
            if name.startswith("@") and len(private) >= _MOST_PRIVATE:
                self.close(private[0].name)
            conversation = self.all[name] = Conversation(name)
            if not conversation.person:
                self.stale.add(name)
        return conversation

    def close(self, name: str) -> None:
        if name != LOBBY:
            self.all.pop(name, None)
            self.stale.discard(name)

    def awaits(self, event: Event) -> bool:
        """It tells who is in a room that we have just gone into, and of which we do not know."""
        conversation = self.all.get(event.get("room", ""))
        return conversation is not None and conversation.name in self.stale

    def take(self, event: Event) -> list[Conversation]:
        """Learn from an event; gives back the conversations to which it belongs."""
        take = _TAKEN.get(event["event"])
        return [] if take is None else take(self, event)

    def _say(self, conversation: Conversation, event: Event) -> list[Conversation]:
        if conversation.add(event) and conversation is not self.looked_at:
            conversation.count(self.name, event)
        return [conversation]

    def _message(self, event: Event) -> list[Conversation]:
        return self._say(self.open(event["room"]), event)

    def _dm(self, event: Event) -> list[Conversation]:
        other = event["to"] if event["from"] == self.name else event["from"]
        return self._say(self.open(f"@{other}"), event)

    def _joined(self, event: Event) -> list[Conversation]:
        room, name = event.get("room"), event.get("name")
        if not isinstance(room, str):
            return []
        if name == self.name:
            self.open(room)
        if room not in self.all:
            return []
        people = self.all[room].people
        if isinstance(name, str):
            people.setdefault(name, True)
        if not isinstance(name, str) or len(people) <= _FEW:
            self.stale.add(room)  # who has an account is not told, nor who came in a rush
        self.all[room].add(event)
        return [self.all[room]]

    def _left(self, event: Event) -> list[Conversation]:
        room, name = event.get("room"), event.get("name")
        conversation = self.all.get(room) if isinstance(room, str) else None
        if conversation is None:
            return []
        if isinstance(name, str):
            conversation.people.pop(name, None)
        else:
            self.stale.add(conversation.name)
        if name == self.name:
            self.close(conversation.name)
        conversation.add(event)
        return [conversation]

    def _renamed(self, event: Event) -> list[Conversation]:
        old, new = event["name"], event["to"]
        if old == self.name:
            self.name = new
        concerned = []
        for conversation in self:
            if old in conversation.people:
                conversation.people[new] = conversation.people.pop(old)
                self.stale.add(conversation.name)
            elif conversation.person != old:
                continue
            conversation.add(event)
            concerned.append(conversation)
        private = self.all.get(f"@{old}")
        if private is not None and f"@{new}" not in self.all:
            private.name = f"@{new}"
            self.all = {each.name: each for each in self}
        return concerned

    def _topic(self, event: Event) -> list[Conversation]:
        room = event.get("room")
        if room not in self.all:
            return []
        conversation = self.all[room]
        conversation.topic = str(event.get("topic", ""))
        conversation.add(event)
        return [conversation]

    def _users(self, event: Event) -> list[Conversation]:
        """The people of a room: told when we go into it, or asked for."""
        conversation = self.all.get(event.get("room", ""))
        if conversation is None:
            return []
        self.stale.discard(conversation.name)
        conversation.people = {
            user["name"]: bool(user.get("account")) for user in event.get("users", ())
        }
        return [conversation]

    def _rooms(self, event: Event) -> list[Conversation]:
        self.rooms = {room["room"]: int(room["members"]) for room in event.get("rooms", ())}
        return []

    def _history(self, event: Event) -> list[Conversation]:
        conversation = self.all.get(event["room"])
        if conversation is None:
            return []
        conversation.fill()
        return [conversation]

    def _gap(self, event: Event) -> list[Conversation]:
        conversation = self.all.get(event["room"])
        if conversation is None:
            return []
        conversation.add(event)
        return [conversation]

    def _welcome(self, event: Event) -> list[Conversation]:
        self.name = event["name"]
        return []

    def _anew(self, _: Event) -> list[Conversation]:
        """Who has come and gone meanwhile is not known."""
        self.stale.update(each.name for each in self if not each.person)
        return []


_TAKEN = {
    "welcome": Conversations._welcome,
    "message": Conversations._message,
    "dm": Conversations._dm,
    "joined": Conversations._joined,
    "left": Conversations._left,
    "renamed": Conversations._renamed,
    "topic": Conversations._topic,
    "users": Conversations._users,
    "rooms": Conversations._rooms,
    "history": Conversations._history,
    "gap": Conversations._gap,
    "connected": Conversations._anew,
    "skipped": Conversations._anew,
}


class Recall:
    """What was typed, to be typed again; without what may hold a password."""

    def __init__(self, most: int = 200) -> None:
        self._most = most
        self._lines: list[str] = []
        self._at = 0
        self._draft = ""

    def add(self, line: str) -> None:
        if line.strip() and not is_secret(line) and self._lines[-1:] != [line]:
            self._lines.append(line)
            del self._lines[: -self._most]
        self._at = len(self._lines)
        self._draft = ""

    def move(self, by: int, current: str) -> str:
        """The line before, or after, the one that is shown.

        @param current: what stands there now, which is kept behind the newest.
        """
        if self._at == len(self._lines):
            self._draft = current
        self._at = min(max(self._at + by, 0), len(self._lines))
        return self._draft if self._at == len(self._lines) else self._lines[self._at]
