"""How far a client has come in each room and in each private conversation. No socket, no clock."""

from collections.abc import Iterator

from .lines import LOBBY

_MOST_CONVERSATIONS = 20
"""Private conversations that are gone on with, at most: those in which something was said last."""


class Seen:
    """The last entry that was told, by place, as its C{seq} there. A place is a room, or C{@name}
    for the private conversation with somebody.

    @ivar rooms: the rooms that the session is in, or will go back to. L{None}: nothing of the room
        was told yet.
    @ivar before: the newest entry of a room when we found us there.
    @ivar unshown: rooms that we are in, and of which nothing old was told.
    """

    def __init__(self) -> None:
        self.rooms: dict[str, int | None] = {LOBBY: None}
        self.before: dict[str, int] = {}
        self.unshown: set[str] = set()
        self._conversations: dict[str, int] = {}  # the one in which something was said last, last

    def follows(self, place: str) -> bool:
        """Whether entries of a place are told: of rooms that the session is in, and of every
        conversation."""
        return place in self.rooms or place.startswith("@")

    def knows(self, room: str) -> bool:
        """Whether the session is in a room, and was told what was said there before."""
        return room in self.rooms and room not in self.unshown

    def leave(self, room: str) -> None:
        """Forget a room."""
        self.rooms.pop(room, None)
        self.before.pop(room, None)
        self.unshown.discard(room)

    def last(self, place: str) -> int | None:
        """Get the last entry of a place that was told; L{None} if none was."""
        return self.rooms.get(place, self._conversations.get(place))

    def tell(self, place: str, seq: int) -> None:
        """Take every entry of a place up to this one as told. Nothing is kept of a room that the
        session is not in."""
        if place in self.rooms:
            self.rooms[place] = seq
        elif place.startswith("@"):
            self._conversations.pop(place, None)
            self._conversations[place] = seq

    def places(self) -> dict[str, int]:
        """Get the places that C{since} can go on from."""
        rooms = {room: seq for room, seq in self.rooms.items() if seq is not None}
        return rooms | dict(list(self._conversations.items())[-_MOST_CONVERSATIONS:])

    def unknown(self) -> Iterator[str]:
        """Get the rooms of which nothing was told yet."""
        return (room for room, seq in self.rooms.items() if seq is None)
