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
        """Tell the session these events. Sessions that hear the same events get the same tuple.

        @return: L{False} if some of the events were skipped, so that the session never sees them.
        """


class Face(Protocol):
    """The connection of a session, as far as the core knows it."""

    def hang_up(self, farewell: str, /) -> None:
        """Say this farewell and end the session."""


class FanOut(Protocol):
    """Sends the same events to many outboxes, in less time than one after the other."""

    def __call__(
        self, outboxes: Iterable[Any], events: tuple[Event, ...], apart: Container[Any], /
    ) -> None:
        """@param apart: those of the outboxes that are left out."""


class Store(Protocol):
    """Stores accounts, rooms and the log durably.

    Answers arrive in the order of the questions, and in order with the feed: posts that the feed
    handed over before an answer arrived were committed before the question was put to the
    database, and posts that it hands over later were committed after.
    """

    def append(self, post: Post, /) -> None:
        """Commit a post; the feed hands it back once it is stored. Never blocks."""

    def mark_read(self, account_id: int, message_id: int, /) -> None:
        """Remember, some time soon, that the account has seen its private messages up to this id,
        or up to the newest one if that is older. A mark never moves back."""

    def find_account(self, name: str, /) -> Awaitable[Account | None]:
        """Look up the account that has this canonical name.

        @raise Refusal: C{internal} if nothing can be read, C{closed} after the store was closed.
        """

    def find_look_alike(self, skeleton: str, /) -> Awaitable[str | None]:
        """Look up the name of the account that has this skeleton.

        @raise Refusal: C{internal} if nothing can be read, C{closed} after the store was closed.
        """

    def add_account(
        self, name: str, skeleton: str, password_hash: bytes, time: int, /
    ) -> Awaitable[Account | None]:
        """Add an account.

        @param time: in UTC milliseconds.
        @return: L{None} if an account has this name or skeleton already.
        @raise Refusal: C{internal} if nothing can be written, C{closed} after the store was closed.
        """

    def set_password(
        self, account_id: int, before: bytes, password_hash: bytes, /
    ) -> Awaitable[bool]:
        """Replace the hash of an account's password, if it still is C{before}.

        @return: whether it was.
        @raise Refusal: C{internal} if nothing can be written, C{closed} after the store was closed.
        """

    def add_room(self, name: str, skeleton: str, time: int, /) -> Awaitable[RoomRecord | None]:
        """Add a room.

        @param time: in UTC milliseconds.
        @return: L{None} if a room has this name or skeleton already.
        @raise Refusal: C{internal} if nothing can be written, C{closed} after the store was closed.
        """

    def set_topic(self, room_id: int, topic: str, by: str, /) -> Awaitable[None]:
        """Set the topic of a room.

        @param topic: empty for none.
        @param by: the name of the person who sets it.
        @raise Refusal: C{internal} if nothing can be written, C{closed} after the store was closed.
        """

    def history(self, room: RoomRecord, limit: int, /) -> Awaitable[Sequence[Message]]:
        """Read the last messages of a room, oldest first.

        @raise Refusal: C{internal} if nothing can be read, C{closed} after the store was closed.
        """

    def conversation(
        self, account_id: int, other_id: int, limit: int, /
    ) -> Awaitable[Sequence[DirectMessage]]:
        """Read the last private messages between two accounts, oldest first.

        @raise Refusal: C{internal} if nothing can be read, C{closed} after the store was closed.
        """

    def unread(self, account_id: int, limit: int, /) -> Awaitable[Sequence[DirectMessage]]:
        """Read the first private messages to an account after its read mark, oldest first. Marks
        that are set after the question do not count.

        @raise Refusal: C{internal} if nothing can be read, C{closed} after the store was closed.
        """

    def catch_up(
        self,
        room: RoomRecord | None,
        after: int,
        account_id: int | None,
        direct_after: int | None,
        limit: int,
        /,
    ) -> Awaitable[tuple[Sequence[Message], Sequence[DirectMessage]]]:
        """Read messages of both kinds as they are at one moment, oldest first. Posts that were
        accepted before the question are among them.

        @param room: the room whose last messages after the C{seq} C{after} are wanted; L{None} for
            no room.
        @param account_id: the account whose private messages are wanted: the last ones that it sent
            or got after the id C{direct_after}, or its L{unread} ones if that is L{None}. L{None}
            for no private messages.
        @param limit: the most messages of each kind.
        @raise Refusal: C{internal} if nothing can be read, C{closed} after the store was closed.
        """

    def labels(self, since: int, /) -> Awaitable[Sequence[Stored]]:
        """Read the messages and private messages that have a label and were said at this time or
        later, in the order of the log.

        @param since: in UTC milliseconds.
        @raise Refusal: C{internal} if nothing can be read, C{closed} after the store was closed.
        """


class Turn(Protocol):
    """What one coroutine awaits until another one lets it go on. It may be cancelled."""

    def __await__(self) -> Generator[Any, None, None]: ...

    def callback(self, result: None, /) -> None:
        """Let the coroutine go on, at once."""


class PasswordHasher(Protocol):
    """Hashes and checks passwords, slowly and with a salt, away from the reactor's thread.

    C{network} is where a request comes from. Networks take turns, so that nobody waits behind all
    requests of another network.
    """

    def hash(self, password: str, network: str, /) -> Awaitable[bytes]:
        """Hash a new password.

        @raise Refusal: C{busy} if too many requests wait, C{closed} after the hasher was stopped.
        """

    def verify(
        self, password: str, password_hash: bytes | None, network: str, /
    ) -> Awaitable[bool]:
        """Check a password.

        @param password_hash: L{None} if there is no account. The password is wrong then, and
            finding out takes as long as for an account.
        @raise Refusal: C{busy} if too many requests wait, C{closed} after the hasher was stopped.
        """

    def is_outdated(self, password_hash: bytes, /) -> bool:
        """Whether a hash made now would take more work to guess the password from."""
