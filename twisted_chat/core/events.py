"""What a session can be told. C{time} is when it happened, in UTC milliseconds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from .errors import Code
from .model import Aside, Entry, Standing


@dataclass(frozen=True, slots=True)
class Welcome:
    """You are logged in.

    @ivar account: whether as an account; otherwise as a guest.
    @ivar room: the room that you are in.
    @ivar others: the number of other people in that room.
    """

    time: int
    name: str
    account: bool
    room: str
    others: int


@dataclass(frozen=True, slots=True)
class Motd:
    """The message of the day."""

    time: int
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Said:
    """Somebody said something in a room.

    @ivar replay: it was said before, and is shown from the log.
    @ivar label: the label that its author gave it, in what is shown to the author; otherwise empty.
    """

    time: int
    message: Entry
    replay: bool = False
    label: str = ""


@dataclass(frozen=True, slots=True)
class Told:
    """A private message.

    @ivar outgoing: it is shown to a session of its author.
    @ivar replay: it was said before, and is shown from the log.
    @ivar label: the label that its author gave it, in what is shown to the author; otherwise empty.
    """

    time: int
    message: Entry | Aside
    outgoing: bool = False
    replay: bool = False
    label: str = ""


@dataclass(frozen=True, slots=True)
class Joined:
    """People joined a room; several at once if the room is big.

    @ivar people: names, and whether each is an account.
    """

    time: int
    room: str
    people: tuple[tuple[str, bool], ...]


@dataclass(frozen=True, slots=True)
class Left:
    """People left a room."""

    time: int
    room: str
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Renamed:
    """A guest has another name now, or became an account, perhaps of the same name.

    @ivar account: C{to} is an account.
    """

    time: int
    name: str
    to: str
    account: bool


@dataclass(frozen=True, slots=True)
class Topic:
    """The topic of a room.

    @ivar topic: empty if there is none.
    @ivar by: who set it; empty if nobody ever did.
    @ivar entry: the entry that set it, if this tells of the change; L{None} if it tells how things
        are.
    @ivar replay: the change is shown from the log.
    """

    time: int
    room: str
    topic: str
    by: str
    entry: Entry | None = None
    replay: bool = False


@dataclass(frozen=True, slots=True)
class Members:
    """Accounts became members of a room, ceased to be, or have another role. Programs are told;
    people are told who comes and goes.

    @ivar seq: the C{seq} of the last of the entries that say so, which follow each other: one from
        the log, one or several live.
    @ivar standings: what each of them says.
    @ivar replay: it is shown from the log.
    """

    time: int
    room: str
    seq: int
    standings: tuple[Standing, ...]
    replay: bool = False


@dataclass(frozen=True, slots=True)
class Read:
    """Another session of the person has seen a place up to an entry.

    @ivar of: a room, or C{@name} for the private conversation with somebody.
    """

    time: int
    of: str
    seq: int


@dataclass(frozen=True, slots=True)
class Users:
    """The people in a room.

    @ivar people: names, and whether each is an account; in the order of the names.
    """

    time: int
    room: str
    people: tuple[tuple[str, bool], ...]


@dataclass(frozen=True, slots=True)
class Crowd:
    """The number of people in a room that was just joined, if there are too many to list."""

    time: int
    room: str
    count: int


@dataclass(frozen=True, slots=True)
class Rooms:
    """The rooms, those with the most people first.

    @ivar rooms: name, number of people in it, and topic of each.
    """

    time: int
    rooms: tuple[tuple[str, int, str], ...]


@dataclass(frozen=True, slots=True)
class Place:
    """A room that somebody is in.

    @ivar people: the number of people who are in it now.
    @ivar seq: the C{seq} of its newest entry.
    @ivar read: they have seen it up to this entry.
    @ivar new: the messages of others after that, as far as they were counted.
    @ivar more: there are more than C{new}.
    """

    room: str
    people: int
    topic: str
    seq: int
    read: int
    new: int
    more: bool


@dataclass(frozen=True, slots=True)
class Back:
    """You are back in your rooms. Told at login, to accounts.

    @ivar places: the lobby first, the others in the order of the alphabet.
    """

    time: int
    places: tuple[Place, ...]


@dataclass(frozen=True, slots=True)
class Where:
    """The rooms that you are in, and the current one.

    @ivar room: the current room.
    @ivar places: as in L{Back}. For a guest, who has seen everything, nothing is new.
    """

    time: int
    room: str
    places: tuple[Place, ...]


@dataclass(frozen=True, slots=True)
class History:
    """What the log has of a place, oldest first.

    @ivar of: a room, C{@name} for the private conversation with one person, C{@} for the private
        messages that are unread.
    @ivar shown: messages; after a resume point also the other entries.
    @ivar after: C{shown} has every entry that this version knows after this C{seq} and up to
        C{seq}; L{None}: only the last messages, or those that were asked for.
    @ivar seq: the C{seq} of the newest entry of the place; L{None} if it does not matter.
    """

    time: int
    of: str
    shown: Sequence["Said | Told | Topic | Members"]
    after: int | None = None
    seq: int | None = None


@dataclass(frozen=True, slots=True)
class Unread:
    """There are unread private messages; a L{History} of C{@} with the first of them follows.

    @ivar count: how many there are, or how many a history may have if there are more.
    @ivar more: there are more than C{count}.
    @ivar alone: this is the only session of its person, so the messages came while they were away.
    """

    time: int
    count: int
    more: bool
    alone: bool


@dataclass(frozen=True, slots=True)
class Omitted:
    """There are more unread private messages than the L{History} of them has. They are shown at the
    next login."""

    time: int


@dataclass(frozen=True, slots=True)
class Away:
    """The person that a private message is for is not here.

    @ivar kept: it is kept, and shown to them at their next login; otherwise it is lost.
    """

    time: int
    name: str
    kept: bool


@dataclass(frozen=True, slots=True)
class NotKept:
    """Private messages with a guest are not kept. Told once in a session."""

    time: int


@dataclass(frozen=True, slots=True)
class Talking:
    """The room that lines which are no commands go to from now on. Told by faces that have such a
    room."""

    time: int
    room: str


@dataclass(frozen=True, slots=True)
class HelpEntry:
    """One command, as the help shows it."""

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
    """The outbox was full, so this many lines were left out."""

    time: int
    lines: int


@dataclass(frozen=True, slots=True)
class Refused:
    """A request was not carried out.

    @ivar command: the command that was refused; empty for a message.
    @ivar label: the label of the request; empty if it has none.
    @ivar fields: as in L{Refusal}.
    """

    time: int
    code: Code
    text: str
    command: str
    label: str = ""
    fields: Mapping[str, str | int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Done:
    """A request with a label was carried out. It is the last answer.

    @ivar room: the room of the message that it posted, if any.
    @ivar seq: the C{seq} of that message.
    @ivar id: the id of what it posted; L{None} if that is not kept, and if it posted nothing.
    @ivar to: the person that it posted a private message to, if it did; C{seq} is then that of the
        conversation, and 0 if the message is not kept.
    """

    time: int
    label: str
    room: str = ""
    seq: int = 0
    id: int | None = None
    to: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """An event that belongs to the answer to a request with a label."""

    event: "Event"
    label: str


@dataclass(frozen=True, slots=True)
class Notice:
    """A remark or a question of a face."""

    time: int
    text: str


@dataclass(frozen=True, slots=True)
class Ping:
    """A sign of life of the server, for programs."""

    time: int


@dataclass(frozen=True, slots=True)
class Bye:
    """The session ends."""

    time: int
    text: str


Event = (
    Welcome
    | Motd
    | Said
    | Told
    | Joined
    | Left
    | Renamed
    | Topic
    | Users
    | Crowd
    | Rooms
    | Members
    | Read
    | Back
    | Where
    | History
    | Unread
    | Omitted
    | Away
    | NotKept
    | Talking
    | Help
    | Skipped
    | Refused
    | Done
    | Answer
    | Notice
    | Ping
    | Bye
)
