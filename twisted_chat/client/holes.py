"""Asks for what is missing. No socket, no clock.

A place has a hole while entries of it are missing; what comes live there is not told, as it is
among what is asked for.
"""

from collections.abc import Iterable, Mapping

from twisted_chat.protocol.commands import MOST_PLACES

from .requests import Asked
from .state import State


class Holes:
    """The places of which entries are missing."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._places: set[str] = set()

    def __contains__(self, place: str) -> bool:
        return place in self._places

    def clear(self) -> None:
        """Forget all holes, as the connection is lost."""
        self._places.clear()

    def close(self, places: Iterable[str]) -> None:
        """Take note that nothing of these places is missing."""
        self._places.difference_update(places)

    def ask(self, places: Mapping[str, int], session: str = "") -> Asked | None:
        """Ask for everything after these places, in as many requests as it takes.

        @param session: the token of the session to take over; empty for none.
        @return: the last of the requests.
        """
        self._places.update(places)
        given = list(places.items())
        asked = None
        for start in range(0, max(len(given), bool(session)), MOST_PLACES):
            taken_over = {"session": session} if session and not start else {}
            part = dict(given[start : start + MOST_PLACES])
            asked = self._state.send("since", places=part, **taken_over)
        return asked

    def miss(self, place: str) -> None:
        """Take note that something of a place was not told, and ask for it."""
        last = self._state.seen.last(place)
        if last is None or place in self._places or self._state.is_behind:
            return
        if self._state.is_in:
            self.ask({place: last})
        else:
            self._places.add(place)

    def fill(self) -> Asked | None:
        """Ask for all that is missing.

        @return: as L{ask}.
        """
        last = {place: self._state.seen.last(place) for place in sorted(self._places)}
        asked = self.ask({place: seq for place, seq in last.items() if seq is not None})
        self.fill_unknown()
        return asked

    def fill_unknown(self) -> None:
        """Ask for the messages of rooms whose replay did not arrive."""
        seen = self._state.seen
        joining = self._state.requests.joining()
        for room in seen.unknown():
            if room not in joining | seen.unshown:
                self._state.send("history", of=room)

    def resume(self) -> Asked | None:
        """Ask for everything after what was told. The C{done} of this also tells which requests
        before it will have no answer any more.

        @return: as L{ask}.
        """
        self._places.update(self._state.seen.places())
        return self.fill()

    def filled(self, asked: Asked) -> None:
        """Ask for what came after the messages of a room that were asked for by the session."""
        rooms = self._state.seen.rooms
        if asked.internal and not self._state.is_behind:
            room = asked.fields["of"]
            if rooms.get(room, 0) is None:
                rooms[room] = 0
            if room in rooms:
                self.miss(room)
