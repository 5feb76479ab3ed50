"""The values that chat is about. Times are UTC, in milliseconds since 1970."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Account:
    """A registered name."""

    id: int
    name: str
    password_hash: bytes


@dataclass(frozen=True, slots=True)
class RoomRecord:
    """What is kept of a room, besides its messages."""

    id: int
    name: str
    skeleton: str
    topic: str
    topic_by: str


@dataclass(frozen=True, slots=True)
class Message:
    """Something said in a room.

    @ivar id: grows over the whole log, private messages included.
    @ivar seq: grows by exactly one within the room.
    @ivar action: said with C{/me}.
    """

    id: int
    room: str
    seq: int
    author: str
    time: int
    text: str
    action: bool


@dataclass(frozen=True, slots=True)
class DirectMessage:
    """Something said to one person.

    @ivar id: its place in the log, or L{None} when it is not kept, as with guests.
    """

    id: int | None
    sender: str
    recipient: str
    time: int
    text: str


@dataclass(frozen=True, slots=True, eq=False)
class RoomPost:
    """Something said in a room that is not in the log yet.

    @ivar origin: the session it came from; comes back with the stored message.
    """

    room_id: int
    room: str
    author: str
    time: int
    text: str
    action: bool
    origin: object


@dataclass(frozen=True, slots=True, eq=False)
class DirectPost:
    """Something said to one person that is not in the log yet.

    With a guest on either side, who has no account id, it passes through the log's queue to keep
    its place among what else its sender said, but is not stored.

    @ivar to: whom it is for, as the core knows them; comes back as it is.
    """

    sender_id: int | None
    sender: str
    recipient_id: int | None
    recipient: str
    time: int
    text: str
    origin: object
    to: object = None


Post = RoomPost | DirectPost
Stored = Message | DirectMessage
