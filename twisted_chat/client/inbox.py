"""Events that wait for the program that iterates over them. No socket, no clock."""

from collections import deque

from twisted.internet.defer import Deferred

from .lines import Event

_MOST = 1000
"""Events that may wait before reading pauses."""


class Inbox:
    """The events that happened and were not taken yet, in order.

    @ivar is_read: a program iterates over them.
    """

    def __init__(self) -> None:
        self._events: deque[Event] = deque()
        self._reader: Deferred[None] | None = None
        self.is_read = False

    def __len__(self) -> int:
        return len(self._events)

    @property
    def is_full(self) -> bool:
        return len(self._events) >= _MOST

    @property
    def has_drained_to_half(self) -> bool:
        """True exactly when the last L{take} left half: the moment to ask again for what was
        dropped."""
        return len(self._events) == _MOST // 2

    def add(self, event: Event) -> None:
        """Put in an event, full or not."""
        self._events.append(event)
        self.wake()

    def take(self) -> Event:
        """Take out the oldest event, of which there has to be one."""
        return self._events.popleft()

    async def wait(self) -> None:
        """Wait until there may be an event, or L{wake} is called."""
        self._reader = Deferred()
        try:
            await self._reader
        finally:
            self._reader = None

    def wake(self) -> None:
        """End the wait for an event."""
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.callback(None)
