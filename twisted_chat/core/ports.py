"""What the core needs from outside."""

from collections.abc import Awaitable, Container, Generator, Iterable, Sequence
from typing import Any, Protocol

from .announcements import Announcement
from .events import Event
from .model import Account, Aside, Credential, Entry, Findings, Post, Question, RoomRecord


class Outbox(Protocol):
    """What waits to be written to one session. Never blocks, never reorders, and never calls back
    into L{Chat}."""

    @property
    def is_taken(self) -> bool:
        """Whether the peer has taken all that was sent, as far as can be seen."""

    @property
    def skips(self) -> int:
        """The number of gaps so far: how often some of the events that were sent were skipped."""

    def send(self, events: tuple[Event, ...], /) -> bool:
        """Tell the session these events. Sessions that hear the same events get the same tuple.

        @return: L{False} if some of the events were skipped, so that the session never sees them.
        """


class Face(Protocol):
    """The connection of a session, as far as the core knows it."""

    def hang_up(self, farewell: str, /) -> None:
        """Say this farewell and end the session."""

    def put_out(self, room: str, /) -> None:
        """Take note that the session's person is no longer in a room: they have left it from
        another session, or were put out of it."""


class FanOut(Protocol):
    """Sends the same events to many outboxes, in less time than one after the other."""

    def __call__(
        self, outboxes: Iterable[Any], events: tuple[Event, ...], apart: Container[Any], /
    ) -> None:
        """@param apart: those of the outboxes that are left out."""


class Store(Protocol):
    """Stores accounts, rooms and the log durably. Several nodes may share it.

    Everything happens in the order in which it was asked for, marks included: a question is
    answered as if all that was appended and marked before it were done, and nothing that was
    appended or marked later. Answers arrive in that order too, and in order with the feed: what
    other nodes have stored counts in an answer if, and only if, the feed has handed it over before.
    """

    @property
    def node(self) -> int:
        """The number of this node, which no other has or had; 0 if there can be no other."""

    def append(self, post: Post | Aside, number: int, /) -> None:
        """Commit a post; the feed hands it over once it is stored. Never blocks.

        @param number: comes back with what is stored for the post; not 0.
        """

    def announce(self, what: Announcement, /) -> None:
        """Tell the other nodes something, in order with what is appended. Never blocks. It is not
        kept, and not told while the store cannot be used. Does nothing if there is one node only.
        """

    def mark_read(self, account_id: int, room_id: int, seq: int, /) -> None:
        """Remember, some time soon, that an account has seen a room up to an entry, or up to its
        newest one if that is older. A mark never moves back."""

    def find_account(self, name: str, /) -> Awaitable[Account | None]:
        """Look up the account that has this canonical name.

        @raise Refusal: C{unavailable} if nothing can be read, C{closed} after the store was closed.
        """

    def find_password(self, name: str, /) -> Awaitable[Credential | None]:
        """Look up the password of the account that has this canonical name.

        @raise Refusal: C{unavailable} if nothing can be read, C{closed} after the store was closed.
        """

    def find_look_alike(self, skeleton: str, /) -> Awaitable[str | None]:
        """Look up the name of the account that has this skeleton.

        @raise Refusal: C{unavailable} if nothing can be read, C{closed} after the store was closed.
        """

    def add_account(
        self, name: str, skeleton: str, password_hash: bytes, time: int, /
    ) -> Awaitable[Account | None]:
        """Add an account, which has seen all of the lobby.

        @param time: in UTC milliseconds.
        @return: L{None} if an account has this name or skeleton already.
        @raise Refusal: C{unavailable} if nothing can be written, C{closed} after the store was
            closed.
        """

    def set_password(self, before: Credential, password_hash: bytes, /) -> Awaitable[bool]:
        """Replace the hash of an account's password, if it still is that of C{before}.

        @return: whether it was.
        @raise Refusal: C{unavailable} if nothing can be written, C{closed} after the store was
            closed.
        """

    def claim(self, name: str, skeleton: str, token: str, former: str, /) -> Awaitable[str | None]:
        """Claim a name for a guest, or while it is being registered, over all nodes.

        @param token: of the session that wants the name; empty if it has none.
        @param former: the token of a session whose place it takes, and whose claim it may take
            over; empty for none.
        @return: L{None} if the name is claimed now; else the name that looks like it, or is the
            same, and that another node has claimed.
        @raise Refusal: C{unavailable} if nothing can be written, C{closed} after the store was
            closed.
        """

    def let_go(self, skeleton: str, /) -> None:
        """Give up the claim on a name, in order with what is appended, unless another node has
        taken it over."""

    def guest_number(self) -> Awaitable[int]:
        """Take the next number for the name of a guest, which no other guest has had.

        @raise Refusal: C{unavailable} if there is none, C{closed} after the store was closed.
        """

    def history(self, room_id: int, limit: int, /) -> Awaitable[Sequence[Entry]]:
        """Read the last messages of a room, oldest first.

        @raise Refusal: C{unavailable} if nothing can be read, C{closed} after the store was closed.
        """

    def find_conversation(self, one: int, other: int, /) -> Awaitable[RoomRecord | None]:
        """Look up the private conversation of two accounts, by their ids; L{None} if nobody has
        begun it.

        @raise Refusal: C{unavailable} if nothing can be read, C{closed} after the store was closed.
        """

    def ask(self, question: Question, /) -> Awaitable[Findings]:
        """Answer a question about the log.

        @raise Refusal: C{unavailable} if nothing can be read, C{closed} after the store was closed.
        """

    def labels(self, since: int, /) -> Awaitable[Sequence[Entry]]:
        """Read the entries that have a label and were posted at this time or later, in the order of
        the log.

        @param since: in UTC milliseconds.
        @raise Refusal: C{unavailable} if nothing can be read, C{closed} after the store was closed.
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
