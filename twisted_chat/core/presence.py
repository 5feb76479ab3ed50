"""Comings and goings in a big room: told together, not one by one.

Each line about one person is delivered to everybody in the room, so n people who join cost n * n
deliveries. Here they are noted while a window is open, and told when it closes. The bigger the
room, the longer the window.
"""

from collections.abc import Iterable

_CALM = 10
"""People in a room in which every coming and going is told at once, at most."""

CROWD = 50
"""People who are told together that they came, each of the others only, at most. More are told of
all, themselves included."""

_SECONDS_EACH = 0.002
_LONGEST = 2.0


def window(people: int) -> float:
    """Seconds for which comings and goings are noted after one was told in a room of so many
    people; 0 if the next is told at once."""
    return 0.0 if people <= _CALM else min(people * _SECONDS_EACH, _LONGEST)


class Presence:
    """The people who came and went since the last time that this was told.

    A coming and a going of the same person cancel out, unless somebody was shown a list of the
    people in between: then the last of the two is told, as the list is not true any more.
    """

    __slots__ = ("_came", "_shown", "_went")

    def __init__(self) -> None:
        self._came: dict[str, None] = {}
        self._went: dict[str, None] = {}
        self._shown: set[str] = set()

    def __contains__(self, name: str) -> bool:
        """Whether the coming or going of this person has been noted and not told."""
        return name in self._came or name in self._went

    def came(self, name: str) -> None:
        """Note an arrival. It cancels a departure that has not been told yet."""
        self._note(name, self._came, self._went)

    def went(self, name: str) -> None:
        """Note a departure. It cancels an arrival that has not been told yet."""
        self._note(name, self._went, self._came)

    def _note(self, name: str, where: dict[str, None], opposite: dict[str, None]) -> None:
        if name not in opposite:
            where[name] = None
            return
        del opposite[name]
        if name in self._shown:
            where[name] = None

    def show(self, to: str) -> None:
        """Note that somebody is shown a list of the people. What it says of themselves is no news
        to them."""
        self._shown.update(name for name in (*self._came, *self._went) if name != to)

    def forget(self, names: Iterable[str]) -> None:
        """Drop what was noted of these people: it has been told in another way."""
        for name in names:
            self._came.pop(name, None)
            self._went.pop(name, None)
            self._shown.discard(name)

    def take(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Remove and return what was noted: the names of the people who came, and of those who
        went."""
        taken = tuple(self._came), tuple(self._went)
        self._came.clear()
        self._went.clear()
        self._shown.clear()
        return taken
