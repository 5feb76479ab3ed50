"""What a session can be told. Each has the time it happened, in UTC milliseconds."""

from collections.abc import Sequence
from dataclasses import dataclass

from .errors import Code
from .model import DirectMessage, Message


@dataclass(frozen=True, slots=True)
class Welcome:
    """You are in, under this name."""

    time: int
    name: str
    account: bool
    room: str
    others: int


@dataclass(frozen=True, slots=True)
class Said:
    """Somebody said something in a room."""

    time: int
    message: Message
    replay: bool = False


@dataclass(frozen=True, slots=True)
class Told:
    """A private message.

    @ivar outgoing: shown to another session of the one who sent it.
    """

    time: int
    message: DirectMessage
    outgoing: bool = False
    replay: bool = False


@dataclass(frozen=True, slots=True)
class Joined:
    """People came into a room; several at once in a big room or a storm."""

    time: int
    room: str
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Left:
    """People went out of a room."""

    time: int
    room: str
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Renamed:
    """A guest goes by another name."""

    time: int
    name: str
    to: str


@dataclass(frozen=True, slots=True)
class Topic:
    """A room's topic, as it is or as it has just been set.

    @ivar by: who set it; empty when nobody ever did.
    """

    time: int
    room: str
    topic: str
    by: str
    changed: bool = False


@dataclass(frozen=True, slots=True)
class Users:
    """Who is in a room: names, and whether each is an account."""

    time: int
    room: str
    people: tuple[tuple[str, bool], ...]


@dataclass(frozen=True, slots=True)
class Rooms:
    """The rooms there are: name, number of people in it, topic."""

    time: int
    rooms: tuple[tuple[str, int, str], ...]


@dataclass(frozen=True, slots=True)
class History:
    """Messages from the log, oldest first.

    @ivar of: a room, C{@name} for private messages with one person, C{@} for all
        private messages that do not count as read.
    """

    time: int
    of: str
    messages: Sequence[Said] | Sequence[Told]


@dataclass(frozen=True, slots=True)
class HelpEntry:
    """One command, as C{/help} shows it."""

    usage: str
    also: tuple[str, ...]
    summary: str


@dataclass(frozen=True, slots=True)
class Help:
    """Commands and what they do."""

    time: int
    entries: tuple[HelpEntry, ...]


@dataclass(frozen=True, slots=True)
class Skipped:
    """The outbox was full and dropped this many lines."""

    time: int
    lines: int


@dataclass(frozen=True, slots=True)
class Refused:
    """A command was not carried out.

    @ivar command: the word that was typed, or empty for something said.
    """

    time: int
    code: Code
    text: str
    command: str


@dataclass(frozen=True, slots=True)
class Notice:
    """A remark by the server."""

    time: int
    text: str


@dataclass(frozen=True, slots=True)
class Ping:
    """The server is still there. Shown to programs only."""

    time: int


@dataclass(frozen=True, slots=True)
class Bye:
    """The session ends."""

    time: int
    text: str


Event = (
    Welcome
    | Said
    | Told
    | Joined
    | Left
    | Renamed
    | Topic
    | Users
    | Rooms
    | History
    | Help
    | Skipped
    | Refused
    | Notice
    | Ping
    | Bye
)
