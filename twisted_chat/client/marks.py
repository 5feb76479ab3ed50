"""Tells the server, now and then, what a person has read."""

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IDelayedCall

_AFTER = 2.0
"""Seconds in which marks are gathered."""

_AT_ONCE = 4
"""Places that are marked together. With C{_AFTER}, that is well below the rate at which a server
takes lines."""

_LAST = 10
"""Places that are marked before leaving, at most."""


class Marks:
    """Marks that wait to be sent: the latest of each place.

    @ivar is_open: there is a session to send them in.
    """

    def __init__(self, reactor: Any, send: Callable[[str, int], None]) -> None:
        """@param send: sends a mark; see L{twisted_chat.client.session.ClientSession.mark}."""
        self._reactor = reactor
        self._send = send
        self._waiting: dict[str, int] = {}
        self._timer: IDelayedCall | None = None
        self.is_open = False

    def add(self, place: str, seq: int) -> None:
        """Have a mark sent soon."""
        self._waiting[place] = max(seq, self._waiting.get(place, 0))
        self.go_on()

    def go_on(self) -> None:
        """Send what waits, after a while."""
        if self._timer is None and self._waiting and self.is_open:
            self._timer = self._reactor.callLater(_AFTER, self._send_some)

    def _send_some(self) -> None:
        self._timer = None
        if self.is_open:
            self.send(_AT_ONCE)
            self.go_on()

    def send(self, most: int = _LAST) -> None:
        """Send what waits, now."""
        for place in list(self._waiting)[:most]:
            self._send(place, self._waiting.pop(place))

    def stop(self) -> None:
        """Send nothing more."""
        self.is_open = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
