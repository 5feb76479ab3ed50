"""The values that chat is about. Times are in UTC milliseconds since 1970."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

RoomKind = Literal["public", "private", "direct"]
"""C{public}: everybody sees it and may join. C{private}: only its members do. C{direct}: the
private conversation of two accounts, or of one with itself."""

Role = Literal["member", "voice", "moderator", "owner"]
ROLES: tuple[Role, ...] = ("member", "voice", "moderator", "owner")
"""What a member can be in a room, from the least to the most."""

CREATED = "created"
SAID = "said"
ACTION = "action"
NOTICE = "notice"
TOPIC = "topic"
MEMBER = "member"

MESSAGES = frozenset({SAID, ACTION, NOTICE})
"""The kinds of entries that are messages. A history shows no others."""

KINDS = MESSAGES | {CREATED, TOPIC, MEMBER}
"""The kinds of entries that this version knows. It skips all others."""


class Account(NamedTuple):
    """A registered name."""

    id: int
    name: str


class Credential(NamedTuple):
    """What proves an account: a password, as its bcrypt hash."""

    account: Account
    password_hash: bytes


@dataclass(frozen=True, slots=True)
class RoomRecord:
    """A room, as far as an entry must tell of it.

    @ivar id: 0 for a room that the store makes with its first entry.
    @ivar name: empty for a private conversation.
    @ivar parties: the two accounts of a private conversation, the one with the smaller id first;
        twice the same for a conversation with oneself. Empty for any other room.
    """

    id: int
    kind: RoomKind
    name: str
    parties: tuple[Account, ...] = ()

    @property
    def is_note(self) -> bool:
        """Whether it is the conversation of an account with itself."""
        return len(set(self.parties)) == 1

    def other(self, account_id: int | None) -> Account:
        """Give the other party of a private conversation."""
        one, other = self.parties
        return one if other.id == account_id else other


def conversation(one: Account, other: Account) -> RoomRecord:
    """Make the record of the private conversation of two accounts, for the store to look up."""
    parties = (one, other) if one.id <= other.id else (other, one)
    return RoomRecord(0, "direct", "", parties)


class Post(NamedTuple):
    """An entry that is not in the log yet.

    @ivar kind: one of L{KINDS}.
    @ivar author_id: the author's account; L{None} for a guest.
    @ivar time: when it was posted. In the log it may be later, as times grow within a room.
    @ivar text: what was said; the topic; for C{member} a L{Standing}; empty for C{created}.
    @ivar about: the id of the entry that it is about, if any.
    @ivar label: the label that its author gave it; empty for most.
    """

    room: RoomRecord
    kind: str
    author_id: int | None
    author: str
    time: int
    text: str
    about: int | None = None
    label: str = ""


class Entry(NamedTuple):
    """One thing that happened in a room, as it is in the log. The fields that a L{Post} has mean
    the same.

    @ivar id: its place in the log; ids grow over all rooms.
    @ivar room: with its id.
    @ivar seq: its place in the room; grows by exactly one from entry to entry.
    @ivar kind: one of L{KINDS}, or another that a newer version has written.
    @ivar time: grows from entry to entry of a room.
    """

    id: int
    room: RoomRecord
    seq: int
    kind: str
    author_id: int | None
    author: str
    time: int
    text: str
    about: int | None = None
    label: str = ""

    @property
    def recipient(self) -> str:
        """The name of the account that a private message is for."""
        return self.room.other(self.author_id).name

    @property
    def standing(self) -> "Standing | None":
        """What an entry of the kind C{member} or C{created} makes of somebody: whoever makes a room
        is its owner; L{None} for a guest who makes one.

        @raise ValueError: as L{Standing.decode}.
        """
        if self.kind == MEMBER:
            return Standing.decode(self.text)
        if self.author_id is None:
            return None
        return Standing(Account(self.author_id, self.author), "owner")


class Aside(NamedTuple):
    """A private message that a guest sends or gets. It passes through the queue of the log, to keep
    its place among the other posts of its author, but it is not stored.

    @ivar author_id: as in L{Post}.
    @ivar recipient_id: the recipient's account; L{None} for a guest.
    @ivar recipient_key: for a guest the key of their hold, as another guest may have the name by
        the time that the message is delivered; L{None} for an account.
    """

    author_id: int | None
    author: str
    recipient_id: int | None
    recipient: str
    recipient_key: int | None
    time: int
    text: str
    label: str = ""


Stored = Entry | Aside | None
"""What the store hands over for a post: its entry; an L{Aside} as it is; L{None} for a C{created}
whose name another room has, or one that looks like it."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What a C{member} entry says: what somebody is in the room from then on.

    @ivar role: L{None}: they are no member any more.
    """

    account: Account
    role: Role | None

    def is_joining(self, author_id: int | None) -> bool:
        """Whether an account makes itself a member. That changes nothing for one that is a member
        already, or more.

        @param author_id: that of the entry.
        """
        return self.role == "member" and self.account.id == author_id

    def encode(self) -> str:
        """Write it as the text of an entry."""
        fields = {"account": self.account.id, "name": self.account.name, "role": self.role}
        return json.dumps(fields, ensure_ascii=False, separators=(",", ":"))

    @staticmethod
    def decode(text: str) -> "Standing":
        """Read it from the text of an entry.

        @raise ValueError: it is none, or has a role that this version does not know.
        """
        try:
            fields = json.loads(text)
            role, account = fields["role"], Account(fields["account"], fields["name"])
        except (KeyError, TypeError) as error:
            raise ValueError(f"{text!r} is no standing") from error
        if role is not None and role not in ROLES:
            raise ValueError(f"there is no role {role!r}")
        return Standing(account, role)


@dataclass(frozen=True, slots=True)
class RoomState:
    """A room as the log up to some entry has made it. Not of private conversations.

    @ivar topic: empty if there is none.
    @ivar topic_by: who set the topic; empty if nobody ever did.
    @ivar last_seq: the C{seq} of its newest entry; 0 if it has none.
    @ivar members: the roles of its members, by account id. Of the lobby only those who are more
        than members are here: every account is one.
    """

    record: RoomRecord
    topic: str = ""
    topic_by: str = ""
    last_seq: int = 0
    members: Mapping[int, Role] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class News:
    """How much of a room an account has not seen.

    @ivar read_seq: it has seen the room up to this entry.
    @ivar new: the messages of others after it; at most C{most_new} of the question.
    """

    room_id: int
    read_seq: int
    new: int


@dataclass(frozen=True, slots=True)
class Question:
    """What a session that comes in, joins a room or resumes wants to know of the log, as it is at
    one moment.

    @ivar limit: the most entries of each kind that are wanted.
    @ivar account_id: whose L{News} and unread private messages are wanted; L{None}: nobody's.
    @ivar most_new: the most that L{News} counts.
    @ivar rooms: room id to the C{seq} after which the newest entries of the room are wanted.
    @ivar direct: name of an account to the C{seq} after which the newest entries of the private
        conversation of C{direct_of} with that account are wanted.
    """

    limit: int
    account_id: int | None = None
    most_new: int = 0
    rooms: Mapping[int, int] = field(default_factory=dict)
    direct: Mapping[str, int] = field(default_factory=dict)
    direct_of: int | None = None


@dataclass(frozen=True, slots=True)
class Findings:
    """What the log answers to a L{Question}.

    @ivar rooms: for each room that was asked about the newest entries after its C{seq}, of all
        kinds, oldest first.
    @ivar direct: the same for private conversations. One that nobody has begun is missing.
    @ivar unread: the first private messages to the account that it has not seen, over all
        conversations but those in C{direct}, in the order of the log.
    @ivar news: one for each room, not for private conversations, that the account is a member of
        and that has messages of others after what it has seen.
    """

    rooms: Mapping[int, tuple[Entry, ...]] = field(default_factory=dict)
    direct: Mapping[str, tuple[Entry, ...]] = field(default_factory=dict)
    unread: tuple[Entry, ...] = ()
    news: tuple[News, ...] = ()
