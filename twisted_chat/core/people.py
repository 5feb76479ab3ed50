"""People who are here, their sessions, and the names that are held for them."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING

from . import names
from .addresses import SHARED, Source
from .announcements import Visitor
from .errors import Refusal
from .events import Answer, Event, Told
from .model import Account, Entry, RoomRecord
from .ports import Face, Outbox

if TYPE_CHECKING:
    from .room import Room


class Hold:
    """A name that is kept from everybody else: a guest's, or one that is being registered.

    It has one owner, who releases it: the C{with} block that it was made for, until a L{Person} is
    made with it; from then on that person's end. A name can be held once more by the registration
    of the guest that goes by it: the new hold lies over the old one, and each is released on its
    own.

    @ivar key: a number that no other hold has, over all nodes.
    @ivar is_kept: a person goes by the name, so the end of a C{with} block does not release it.
    """

    __slots__ = ("_holds", "_is_released", "_let_go", "_under", "is_kept", "key", "name", "shape")

    def __init__(
        self,
        name: str,
        key: int,
        holds: "dict[str, Hold]",
        let_go: Callable[[str], object] | None = None,
    ) -> None:
        """
        @param holds: the newest hold of each skeleton of a name; this one is added.
        @param let_go: called with the skeleton when no hold keeps it any more; L{None} for a name
            that is not claimed over all nodes, as nobody can choose it.
        """
        self.name = name
        self.key = key
        self.is_kept = False
        self.shape = names.skeleton(name)
        self._is_released = False
        self._let_go = let_go
        self._holds = holds
        self._under = holds.get(self.shape)
        holds[self.shape] = self

    @property
    def is_claimed(self) -> bool:
        """Whether the name is claimed over all nodes."""
        return self._let_go is not None

    def keeps(self, name: str) -> bool:
        """Whether nobody else can have this name as long as this is not released."""
        return not self._is_released and names.skeleton(name) == self.shape

    def release(self) -> None:
        """Let others have the name. Does nothing the second time."""
        if self._is_released:
            return
        self._is_released = True
        top = self._holds.get(self.shape)
        while top is not None and top._is_released:
            top = top._under
        if top is not None:
            self._holds[self.shape] = top
        else:
            self._holds.pop(self.shape, None)
            if self._let_go is not None:
                self._let_go(self.shape)

    def __enter__(self) -> "Hold":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not self.is_kept:
            self.release()


_NO_NODES: frozenset[int] = frozenset()  # shared, as an empty one takes 216 bytes


class Person:
    """An account or a guest that is here, with its sessions.

    @ivar account: L{None} for a guest.
    @ivar hold: what keeps the name of a guest; L{None} for an account, and for a guest who is with
        other nodes only.
    @ivar key: of the newest hold on a guest's name, which tells the guest from later ones of the
        same name; L{None} for an account.
    @ivar sessions: those that are told things, oldest first.
    @ivar leaving: the number of its sessions that have ended and that have posts in flight.
    @ivar nodes: the other nodes that it is with.
    @ivar rooms: the rooms that it is in, in the order in which it came to be in them.
    """

    __slots__ = ("account", "hold", "key", "leaving", "name", "nodes", "rooms", "sessions")

    def __init__(self, owner: Account | Hold | Visitor) -> None:
        """
        @param owner: the account; the hold on a guest's name, which the person keeps; or somebody
            who is with another node.
        """
        self.name = owner.name
        self.account = owner if isinstance(owner, Account) else None
        self.hold: Hold | None = None
        self.key: int | None = None
        self.sessions: tuple[Session, ...] = ()
        self.leaving = 0
        self.nodes = _NO_NODES
        self.rooms: tuple[Room, ...] = ()
        if isinstance(owner, Hold):
            self.keep(owner)
        elif isinstance(owner, Visitor):
            self.be(owner)

    def be(self, visitor: Visitor) -> None:
        """Be somebody who is with another node."""
        self.name, self.key = visitor.name, visitor.key
        self.account = Account(visitor.id, visitor.name) if visitor.id is not None else None

    def keep(self, hold: Hold) -> None:
        """Keep the hold on a guest's name."""
        hold.is_kept = True
        self.hold, self.key = hold, hold.key

    @property
    def is_account(self) -> bool:
        return self.account is not None

    @property
    def id(self) -> int | None:
        """The account's id; L{None} for a guest."""
        return self.account.id if self.account is not None else None

    @property
    def is_with_us(self) -> bool:
        """Whether it has a session with this node, or had one whose posts are in flight."""
        return bool(self.sessions or self.leaving)

    def is_guest_of(self, node: int) -> bool:
        """Whether it is a guest who is with another node only."""
        return self.account is None and self.nodes == {node} and not self.is_with_us

    @property
    def visitor(self) -> Visitor:
        """What other nodes are told of it."""
        if self.account is not None:
            return Visitor(self.name, self.id)
        heard = [room for room in self.rooms if any(s in room.sessions for s in self.sessions)]
        rooms = tuple(room.name for room in heard if not room.is_lobby)
        key = self.hold.key if self.hold is not None else self.key
        return Visitor(self.name, None, key, rooms)

    def release(self) -> None:
        """Let go of a guest's name."""
        if self.hold is not None:
            self.hold.release()


@dataclass(slots=True)
class View:
    """What one session of an account has been shown of a room.

    @ivar read: the account has seen the room up to this entry, as far as the session knows.
    @ivar is_whole: the session was shown everything after C{read}, and is told what comes.
    @ivar is_entered: the session was shown what somebody is shown who joins.
    """

    read: int
    is_whole: bool = True
    is_entered: bool = False


def _nothing() -> None:
    pass


# Shared by the sessions that have none, as most are idle.
_NO_VIEWS: "dict[Room, View]" = {}
_NONE_SHOWN: dict[RoomRecord, int] = {}
_NO_GAPS: dict[RoomRecord, bool] = {}


class Session:
    """One live connection.

    The face that made it sets C{landed}, C{over}, C{echo} and C{label}; all else is the core's.

    @ivar source: where it comes from.
    @ivar face: what can end the session; L{None} if nothing can.
    @ivar landed: called when some of its posts are in the log and delivered, or are lost.
    @ivar over: called once, when the session is over: it has ended, and none of its posts is in
        flight.
    @ivar echo: it is told its own messages too.
    @ivar label: the label of the request that is being carried out, which its answers are told
        with; empty if it has none.
    @ivar person: who it is; L{None} before login, and after the session has ended.
    @ivar has_ended: it is told nothing more. Some of its posts may be in flight.
    @ivar in_flight: the number of its posts that are not in the log yet, and of those of others
        with the same label that it waits for.
    @ivar is_busy: an operation of the session awaits something.
    @ivar renamed: the number of times that it took another guest name.
    @ivar resume: the points to resume from: room name, or C{@name} for the private conversation
        with somebody, to the last C{seq} that the client has. Removed when used. L{None}: no resume
        was asked for.
    @ivar token: what tells this session from all others, to the session that takes its place;
        empty if it has none.
    @ivar former: the token of the session whose place it has taken; empty for none.
    @ivar wrote: who wrote to it last in private: the name of an account; the session of a guest,
        whose name may have changed since, or the guest, with another node; L{None}: nobody.
    @ivar views: what it was shown of the rooms of its account. Empty for guests.
    @ivar shown: up to which C{seq} it was shown its private conversations, without a hole. Empty
        when all is marked as read.
    @ivar gaps: whether it missed some message of a private conversation.
    @ivar has_gap: the same for conversations that are not in C{gaps}.
    @ivar skips: C{Outbox.skips} at the last look: what was shown before is known to have no hole.
    @ivar marks_itself: it says by itself what it has read.
    @ivar told_not_kept: it was told that private messages with guests are not kept.
    """

    __slots__ = (
        "echo",
        "face",
        "former",
        "gaps",
        "has_ended",
        "has_gap",
        "in_flight",
        "is_busy",
        "label",
        "landed",
        "marks_itself",
        "outbox",
        "over",
        "person",
        "renamed",
        "resume",
        "shown",
        "skips",
        "source",
        "token",
        "told_not_kept",
        "views",
        "wrote",
    )

    def __init__(
        self,
        outbox: Outbox,
        source: Source = SHARED,
        face: Face | None = None,
    ) -> None:
        self.outbox = outbox
        self.source = source
        self.face = face
        self.landed: Callable[[], None] = _nothing
        self.over: Callable[[], None] = _nothing
        self.echo = False
        self.label = ""
        self.has_ended = False
        self.is_busy = False
        self.person: Person | None = None
        self.in_flight = 0
        self.renamed = 0
        self.resume: dict[str, int] | None = None
        self.token = ""
        self.former = ""
        self.wrote: str | Session | Person | None = None
        self.views: dict[Room, View] = _NO_VIEWS
        self.shown: dict[RoomRecord, int] = _NONE_SHOWN
        self.gaps: dict[RoomRecord, bool] = _NO_GAPS
        self.has_gap = False
        self.skips = 0
        self.marks_itself = False
        self.told_not_kept = False

    @property
    def is_over(self) -> bool:
        """It has ended, and none of its posts is in flight."""
        return self.has_ended and not self.in_flight

    def tell(self, *events: Event) -> bool:
        """Tell the session these events, unless it has ended.

        @return: as L{Outbox.send}.
        """
        return not self.has_ended and self.outbox.send(events)

    def answer(self, *events: Event) -> bool:
        """Tell the session these events in answer to the request that is being carried out.

        @return: as L{Outbox.send}.
        """
        if self.label:
            return self.tell(*(Answer(event, self.label) for event in events))
        return self.tell(*events)

    def begin(self) -> None:
        """Refuse an operation while another one awaits something.

        @raise Refusal: C{busy}.
        """
        if self.is_busy:
            raise Refusal("busy", "wait for the answer to the request before this one")

    @contextmanager
    def operation(self) -> Iterator[None]:
        """Around an operation that awaits something: until its end any other one is refused.

        @raise Refusal: C{busy}.
        """
        self.begin()
        self.is_busy = True
        try:
            yield
        finally:
            self.is_busy = False

    def resume_point(self, place: str) -> int | None:
        """Give the last C{seq} that the client has of a place; L{None} if it did not ask to resume
        there."""
        return self.resume.get(place) if self.resume else None

    def resumed(self, *places: str) -> None:
        """Remove the resume points of these places: what came after them is at hand."""
        if self.resume is not None:
            for place in places:
                self.resume.pop(place, None)

    def note_shown(self, events: Iterable[Event], *, whole: bool) -> None:
        """Note which private messages of others, and to oneself, the session was shown.

        @param whole: none of the events was skipped.
        """
        for event in events:
            if isinstance(event, Told) and isinstance(event.message, Entry):
                entry = event.message
                if event.outgoing and entry.recipient != entry.author:
                    continue
                if not whole:
                    self.gaps = {**self.gaps, entry.room: True}
                if not self.gaps.get(entry.room, self.has_gap):
                    self._note_shown(entry.room, entry.seq)

    @property
    def misses_messages(self) -> bool:
        """Some private message was not shown to it."""
        return self.has_gap or any(self.gaps.values())

    def forget_gaps(self) -> None:
        """Note that the session is about to be shown all private messages that it misses."""
        self.gaps, self.has_gap = _NO_GAPS, False

    def note_resumed(self, conversation: RoomRecord, after: int, *, is_cut: bool) -> None:
        """Note that the session has a private conversation up to some C{seq}, and is about to be
        shown what came after it.

        @param is_cut: not all of it.
        """
        self.gaps = {**self.gaps, conversation: is_cut}
        self._note_shown(conversation, after)

    def _note_shown(self, conversation: RoomRecord, seq: int) -> None:
        if self.shown is _NONE_SHOWN:
            self.shown = {}
        self.shown[conversation] = seq
