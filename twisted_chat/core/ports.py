"""What the core needs from outside."""

from collections.abc import Awaitable, Container, Generator, Iterable, Sequence
from typing import Any, Protocol

from .events import Event
from .model import Account, DirectMessage, Message, Post, RoomRecord, Stored


class Outbox(Protocol):
    """What waits to be written to one session. Never blocks, never reorders, and never calls back
    into L{Chat}."""

    @property
    def is_taken(self) -> bool:
        """Whether the peer has taken all that was sent, as far as can be seen."""

    def send(self, events: tuple[Event, ...], /) -> bool:
        """Tell the session these events. Readers who hear the same get the same tuple.

        @return: L{False} if some of it was skipped, so that the session is never shown it.
        """


class Face(Protocol):
    """What shows a session to somebody."""

    def hang_up(self, farewell: str, /) -> None:
        """Say this farewell and end the session."""


class FanOut(Protocol):
    """Sends the same events to many outboxes, in less time than one after the other."""

    def __call__(
        self, outboxes: Iterable[Any], events: tuple[Event, ...], apart: Container[Any], /
    ) -> None:
        """@param apart: those among the outboxes that are left out."""


class Store(Protocol):
    """Accounts, rooms and the log, made durable.

    Answers arrive in the order of the questions, and in order with the feed: what the feed
    handed over before an answer arrived was committed before the question was put to the
    database, and what it hands over later was committed after.

    Whatever returns an awaitable may raise a L{Refusal} with C{internal} there: the database
    cannot be read, or cannot be written, at the moment.
    """

    def append(self, post: Post, /) -> None:
        """Commit a post; the feed hands it back once it is stored. Never blocks."""

    def mark_read(self, account_id: int, message_id: int, /) -> None:
        """Remember, some time soon, that the account has seen its private messages up to this id,
        or up to the newest that there is. A mark never moves back."""

    def find_account(self, name: str, /) -> Awaitable[Account | None]: ...

    def find_look_alike(self, skeleton: str, /) -> Awaitable[str | None]:
        """The name of the account that has this skeleton."""

    def add_account(
        self, name: str, skeleton: str, password_hash: bytes, time: int, /
    ) -> Awaitable[Account | None]:
        """Add an account; L{None} if one has this name or skeleton already."""

    def set_password(
        self, account_id: int, before: bytes, password_hash: bytes, /
    ) -> Awaitable[bool]:
        """Replace the hash of an account's password, if it still is C{before}.

        @return: whether it was.
        """

    def add_room(self, name: str, skeleton: str, time: int, /) -> Awaitable[RoomRecord | None]:
        """Add a room; L{None} if one has this name or skeleton already."""

    def set_topic(self, room_id: int, topic: str, by: str, /) -> Awaitable[None]: ...

    def history(self, room: RoomRecord, limit: int, /) -> Awaitable[Sequence[Message]]:
        """The last messages of a room, oldest first."""

    def conversation(
        self, account_id: int, other_id: int, limit: int, /
    ) -> Awaitable[Sequence[DirectMessage]]:
        """The last private messages between two accounts, oldest first."""

    def unread(self, account_id: int, limit: int, /) -> Awaitable[Sequence[DirectMessage]]:
        """The first private messages to an account after the last one that it has seen, oldest
        first. Marks that are set after the question do not count."""

    def catch_up(
        self,
        room: RoomRecord | None,
        after: int,
        account_id: int | None,
        direct_after: int | None,
        limit: int,
        /,
    ) -> Awaitable[tuple[Sequence[Message], Sequence[DirectMessage]]]:
        """Messages of both kinds as they are at one moment, oldest first. What was accepted before
        the question is among them.

        @param room: the room whose last messages after the C{seq} C{after} are wanted, if any.
        @param account_id: the account whose private messages are wanted, if any: the last ones
            that it sent or got after the id C{direct_after}; without that, the L{unread} ones.
        @param limit: how many of each kind, at most.
        """

    def labels(self, since: int, /) -> Awaitable[Sequence[Stored]]:
        """The messages and private messages with a label that were said at this time or later, in
        the order of the log."""


class Turn(Protocol):
    """What one coroutine awaits until another lets it go on. It may be cancelled."""

    def __await__(self) -> Generator[Any, None, None]: ...

    def callback(self, result: None, /) -> None:
        """Let it go on, at once."""


class PasswordHasher(Protocol):
    """Slow, salted hashing, away from the reactor's thread.

    C{network} is where a request comes from: networks take turns, so that nobody waits behind all
    the requests of another one. Both raise L{Refusal} with C{busy} when too many wait already.
    """

    def hash(self, password: str, network: str, /) -> Awaitable[bytes]: ...

    def verify(
        self, password: str, password_hash: bytes | None, network: str, /
    ) -> Awaitable[bool]:
        """Whether this is the password. Without a hash it is not, which takes as long to say."""

    def is_outdated(self, password_hash: bytes, /) -> bool:
        """Whether a new hash would make it more work to guess the password."""
