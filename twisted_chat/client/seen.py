"""How far a client has seen each room and its private messages. No socket, no clock."""

from collections.abc import Iterator

from .lines import DIRECT, LOBBY


class Seen:
    """The last message that was told, by place: rooms count by C{seq}, private messages by C{id}.

    @ivar rooms: the rooms that the session is in, or will go back to. L{None}: nothing of the room
        was told yet.
    @ivar direct: no private message up to this one is missing. L{None}: none was told yet.
    @ivar last_id: the highest C{id} of any message so far.
    """

    def __init__(self) -> None:
        self.rooms: dict[str, int | None] = {LOBBY: None}
        self.direct: int | None = None
        self.last_id = 0

    def places(self, *, direct: bool) -> dict[str, int]:
        """Get the places that C{since} can go on from.

        @param direct: with private messages, which only accounts have.
        """
        places = {room: seq for room, seq in self.rooms.items() if seq is not None}
        return places | ({DIRECT: self.direct} if direct and self.direct is not None else {})

    def unknown(self) -> Iterator[str]:
        """Get the rooms of which nothing was told yet."""
        return (room for room, seq in self.rooms.items() if seq is None)

    def begin_direct(self) -> None:
        """Take every private message so far as told: each was shown, or read long ago."""
        self.direct = max(self.direct or 0, self.last_id)
