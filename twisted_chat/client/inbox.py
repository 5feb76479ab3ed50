"""Events that wait for who iterates over them. No socket, no clock."""

from collections import deque

from twisted.internet.defer import Deferred

from .lines import Event

_MOST = 1000
"""Events that wait; then no more are read."""


class Inbox:
    """What has happened and was not looked at yet.

    @ivar is_read: somebody iterates.
    @ivar is_behind: something was left out; it is to be asked for again.
    """

    def __init__(self) -> None:
        self._events: deque[Event] = deque()
        self._reader: Deferred[None] | None = None
        self.is_read = False
        self.is_behind = False

    def __len__(self) -> int:
        return len(self._events)

    @property
    def is_full(self) -> bool:
        return len(self._events) >= _MOST

    @property
    def is_half_empty(self) -> bool:
        """Just now: it is time to ask for what was left out."""
        return len(self._events) == _MOST // 2

    def add(self, event: Event) -> None:
        """Put in an event, full or not."""
        self._events.append(event)
        self.wake()

    def take(self) -> Event:
        return self._events.popleft()

    async def wait(self) -> None:
        """Wait until there may be something."""
        self._reader = Deferred()
        try:
            await self._reader
        finally:
            self._reader = None

    def wake(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.callback(None)
