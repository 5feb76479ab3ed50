"""Comings and goings in a big room or a storm: told together, not one by one.

Each line about somebody costs a delivery for everyone who is there, so that in the end the lines
about n people cost n * n. In here they are noted while a window is open and told when it closes;
the window is as long as the room is big.
"""

from collections.abc import Iterable

_CALM = 10
"""People in a room in which everything is told at once."""

CROWD = 50
"""Of more people who came together, each is told of all of them; of fewer, of the others only."""

_SECONDS_EACH = 0.002
_LONGEST = 2.0


def window(people: int) -> float:
    """Seconds in which comings and goings are noted, after one has been told to this many."""
    return 0.0 if people <= _CALM else min(people * _SECONDS_EACH, _LONGEST)


class Presence:
    """Who came and who went since the last time it was told.

    Who came and went, or went and came, is no news; unless somebody was shown a list of the people
    in between, and has to be told that it is not true any more.
    """

    __slots__ = ("_came", "_shown", "_went")

    def __init__(self) -> None:
        self._came: dict[str, None] = {}
        self._went: dict[str, None] = {}
        self._shown: set[str] = set()

    def __contains__(self, name: str) -> bool:
        """Has this person come or gone, and has not been told of?"""
        return name in self._came or name in self._went

    def came(self, name: str) -> None:
        """Note that somebody came."""
        self._note(name, self._came, self._went)

    def went(self, name: str) -> None:
        """Note that somebody went."""
        self._note(name, self._went, self._came)

    def _note(self, name: str, where: dict[str, None], opposite: dict[str, None]) -> None:
        if name not in opposite:
            where[name] = None
            return
        del opposite[name]
        if name in self._shown:
            where[name] = None

    def show(self, to: str) -> None:
        """Somebody is shown who is there now, who knows of themselves whether they are."""
        self._shown.update(name for name in (*self._came, *self._went) if name != to)

    def forget(self, names: Iterable[str]) -> None:
        """These people have been told of otherwise."""
        for name in names:
            self._came.pop(name, None)
            self._went.pop(name, None)
            self._shown.discard(name)

    def take(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The names of those who came and of those who went; they are told now."""
        taken = tuple(self._came), tuple(self._went)
        self._came.clear()
        self._went.clear()
        self._shown.clear()
        return taken
