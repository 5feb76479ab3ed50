"""What the window shows, without the window: what was said where. No Tk, no clock."""

from bisect import bisect_left

from twisted_chat.protocol.grammar import is_secret

from ..lines import Event
from ..model import Model, Place

LONGEST = 3000
"""Events that a conversation keeps; beyond that the oldest are dropped."""

_KEPT = frozenset({"message", "dm", "joined", "left", "renamed", "topic", "crowd", "gap"})
"""Events that are a part of the conversation that they are about."""


_ENTRIES = frozenset({"message", "dm", "topic"})
"""Events whose C{seq} is that of the conversation in which they are. That of others, such as
C{members} or C{read}, may be of another one."""


class Conversation(Place):
    """A room or a private conversation, with what was said in it.

    @ivar events: what is shown, in order.
    @ivar unsent: lines that were typed in it and have no receipt or answer yet.
    @ivar changed: events were put between others, so that all has to be drawn again.
    @ivar dropped: events that have gone from the beginning since it was drawn.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.events: list[Event] = []
        self.unsent: list[str] = []
        self.changed = False
        self.dropped = 0
        # The seq of each event; an event without one has that of the event before it.
        self._numbers: list[int] = []

    def add(self, event: Event) -> None:
        """Put an event in its place: an entry by its C{seq}, once, and all others at the end."""
        number = event.get("seq") if event["event"] in _ENTRIES else None
        last = self._numbers[-1] if self._numbers else 0
        at = len(self.events)
        if number is None:
            number = last
        elif number <= last:
            at = bisect_left(self._numbers, number)
            if at < len(self._numbers) and self._numbers[at] == number:
                return
            self.changed = True
        self.events.insert(at, event)
        self._numbers.insert(at, number)
        if len(self.events) > LONGEST:
            excess = len(self.events) - LONGEST
            del self.events[:excess], self._numbers[:excess]
            self.dropped += excess


class Conversations(Model[Conversation]):
    """All conversations."""

    def __init__(self, name: str = "") -> None:
        super().__init__(Conversation, name)

    def take(self, event: Event) -> list[Conversation]:
        """Learn from an event, and keep it in the conversations that it is a part of."""
        concerned = super().take(event)
        if event["event"] in _KEPT:
            for conversation in concerned:
                conversation.add(event)
        return concerned


class Recall:
    """What was typed, to be typed again, without lines that may hold a password."""

    def __init__(self, most: int = 200) -> None:
        """
        @param most: lines that are kept.
        """
        self._most = most
        self._lines: list[str] = []
        self._at = 0
        self._draft = ""

    def add(self, line: str) -> None:
        """Keep a line that was typed."""
        if line.strip() and not is_secret(line) and self._lines[-1:] != [line]:
            self._lines.append(line)
            del self._lines[: -self._most]
        self._at = len(self._lines)
        self._draft = ""

    def move(self, by: int, current: str) -> str:
        """Go to an earlier line, or a later one.

        @param by: -1 or 1.
        @param current: what stands there now; it is kept behind the newest line.
        @return: the line that stands there then.
        """
        if self._at == len(self._lines):
            self._draft = current
        self._at = min(max(self._at + by, 0), len(self._lines))
        return self._draft if self._at == len(self._lines) else self._lines[self._at]
