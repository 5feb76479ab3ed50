"""Comings and goings in a big room or a storm: told together, not one by one.

Each line about somebody costs a delivery for everyone who is there, so that in the end the lines
about n people cost n * n. In here they are noted while a window is open and told when it closes;
the window is as long as the room is big.
"""

_CALM = 10
"""People in a room in which everything is told at once."""

_SECONDS_EACH = 0.002
_LONGEST = 2.0


def window(people: int) -> float:
    """Seconds in which comings and goings are noted, after one has been told to this many."""
    return 0.0 if people <= _CALM else min(people * _SECONDS_EACH, _LONGEST)


class Presence:
    """Who came and who went since the last time it was told."""

    __slots__ = ("_came", "_went")

    def __init__(self) -> None:
        self._came: dict[str, None] = {}
        self._went: dict[str, None] = {}

    def came(self, name: str) -> None:
        """Somebody came; whose going has not been told has not gone."""
        if name in self._went:
            del self._went[name]
        else:
            self._came[name] = None

    def went(self, name: str) -> None:
        """Somebody went; whose coming has not been told was never here."""
        if name in self._came:
            del self._came[name]
        else:
            self._went[name] = None

    def take(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The names of those who came and of those who went; they are told now."""
        taken = tuple(self._came), tuple(self._went)
        self._came.clear()
        self._went.clear()
        return taken
