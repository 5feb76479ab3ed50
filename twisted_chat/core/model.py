"""The values that chat is about. Times are in UTC milliseconds since 1970."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Account:
    """A registered name."""

    id: int
    name: str
    password_hash: bytes


@dataclass(frozen=True, slots=True)
class RoomRecord:
    """What is kept of a room, apart from its messages.

    @ivar topic_by: who set the topic; empty if nobody ever did.
    """

    id: int
    name: str
    skeleton: str
    topic: str
    topic_by: str


@dataclass(frozen=True, slots=True)
class Message:
    """A message in a room.

    @ivar id: its place in the log; ids grow over all rooms and private messages.
    @ivar seq: its place in the room; grows by exactly one from message to message.
    @ivar action: it tells what its author does, not what they say.
    @ivar label: the label that its author gave it; empty for most.
    """

    id: int
    room: str
    seq: int
    author: str
    time: int
    text: str
    action: bool
    label: str = ""


@dataclass(frozen=True, slots=True)
class DirectMessage:
    """A private message.

    @ivar id: its place in the log; L{None} if it is not kept, as the sender or the recipient is a
        guest.
    @ivar label: the label that its sender gave it; empty for most.
    """

    id: int | None
    sender: str
    recipient: str
    time: int
    text: str
    label: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class RoomPost:
    """A message in a room that is not in the log yet.

    @ivar origin: the session that it came from, which gets it back from the store as it is; L{None}
        if it came from none.
    @ivar label: as in L{Message}.
    """

    room_id: int
    room: str
    author: str
    time: int
    text: str
    action: bool
    origin: object
    label: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class DirectPost:
    """A private message that is not in the log yet.

    One that a guest sends or gets passes through the queue of the log, to keep its place among the
    other posts of its sender, but it is not stored.

    @ivar sender_id: the account's; L{None} for a guest.
    @ivar recipient_id: the account's; L{None} for a guest.
    @ivar origin: as in L{RoomPost}.
    @ivar recipient_key: for a guest the key of their L{Hold}, as another guest may have the name by
        the time that the message is delivered; L{None} for an account.
    @ivar label: as in L{DirectMessage}.
    """

    sender_id: int | None
    sender: str
    recipient_id: int | None
    recipient: str
    time: int
    text: str
    origin: object
    recipient_key: int | None = None
    label: str = ""


Post = RoomPost | DirectPost
Stored = Message | DirectMessage
