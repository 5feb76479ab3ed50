"""Rooms: their members, their last messages, and who joined and left."""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from .events import Event, Joined, Left, Said
from .model import Entry, Role, RoomRecord, RoomState
from .people import Person, Session
from .ports import FanOut, Outbox
from .presence import CROWD, Presence, window

LOBBY = "lobby"
"""The room that always exists and that everybody is in."""


@dataclass(frozen=True, slots=True)
class Shared:
    """What all rooms share.

    @ivar now: gives the time in UTC milliseconds.
    @ivar later: calls a function after some seconds.
    @ivar fan_out: sends the same events to many outboxes.
    @ivar people: everybody who is here, by name.
    @ivar rooms: all rooms, by name.
    """

    now: Callable[[], int]
    later: Callable[[float, Callable[[], None]], object]
    fan_out: FanOut
    people: dict[str, Person]
    rooms: "dict[str, Room]"


class Room:
    """A place with members, a topic and a log, as the entries so far have made it.

    Comings and goings are told at once in a small room. In a big one the first is told at once and
    opens a window; those that follow are told together when it closes.

    @ivar topic: empty if there is none.
    @ivar topic_by: who set the topic; empty if nobody ever did.
    @ivar last_seq: the C{seq} of the newest entry; 0 if there is none.
    @ivar members: the roles of its members, by account id. In the lobby every account is a member;
        only those who are more than that are here.
    @ivar people: the people who are here and in the room; as keys, in the order in which they came.
    @ivar sessions: the sessions that are told what happens in it, and their outboxes.
    @ivar recent: the last messages, kept up to date by the feed while there are sessions, so that
        joining takes no query and leaves no gap between replay and live messages; L{None} while
        they are not known.
    @ivar replay: C{recent} as events, made when they are first asked for.
    """

    __slots__ = (
        "_presence",
        "_shared",
        "is_lobby",
        "last_seq",
        "members",
        "name",
        "people",
        "recent",
        "record",
        "replay",
        "sessions",
        "topic",
        "topic_by",
    )

    def __init__(self, record: RoomRecord, shared: Shared) -> None:
        self.record = record
        self.name = record.name
        self.is_lobby = record.name == LOBBY
        self.topic = ""
        self.topic_by = ""
        self.last_seq = 0
        self.members: dict[int, Role] = {}
        self.people: dict[Person, None] = {}
        self.sessions: dict[Session, Outbox] = {}
        self.recent: deque[Entry] | None = None
        self.replay: tuple[Said, ...] | None = None
        self._presence: Presence | None = None  # while a window is open
        self._shared = shared

    @property
    def shown(self) -> str:
        """The name as it is put into sentences."""
        return f"the {LOBBY}" if self.name == LOBBY else f"#{self.name}"

    @property
    def state(self) -> RoomState:
        """What the entries so far have made of it."""
        return RoomState(self.record, self.topic, self.topic_by, self.last_seq, dict(self.members))

    def has(self, person: Person) -> bool:
        """Whether somebody is in it: an account as a member, a guest by being here."""
        account = person.account
        if account is None:
            return person in self.people
        return self.is_lobby or account.id in self.members

    def has_member(self, account_id: int) -> bool:
        """Whether an account is a member."""
        return self.is_lobby or account_id in self.members

    def show(self, to: Person) -> None:
        """Note that somebody has learnt who is in it now; see L{Presence.show}."""
        if self._presence is not None:
            self._presence.show(to.name)

    def listed(self, to: Person) -> tuple[tuple[str, bool], ...]:
        """List the people in it for somebody: names, and whether each is an account."""
        self.show(to)
        return tuple(sorted((p.name, p.is_account) for p in self.people))

    def tell(self, event: Event) -> None:
        """Tell all who are in it."""
        self._shared.fan_out(self.sessions.values(), (event,), ())

    # Who is in it

    def enter(self, person: Person) -> None:
        """Put somebody into the room, without their sessions, and tell the others."""
        if person not in self.people:
            self.came(person.name)
            self.people[person] = None
        person.rooms += (self,)

    def exit(self, person: Person) -> None:
        """Take somebody out of the room, with their sessions. Others are not told; see L{went}."""
        self.people.pop(person, None)
        person.rooms = tuple(room for room in person.rooms if room is not self)
        for session in person.sessions:
            self.remove(session)

    def add(self, session: Session) -> None:
        """Tell a session from now on what happens in the room."""
        self.sessions[session] = session.outbox

    def remove(self, session: Session) -> None:
        """Tell a session nothing more of the room."""
        self.sessions.pop(session, None)
        if not self.sessions and not self.is_lobby:
            self.recent = self.replay = None

    def pass_on(self, guest: Person, person: Person) -> None:
        """Have somebody else take the place of a guest."""
        self.exit(guest)
        self.people[person] = None
        if self not in person.rooms:
            person.rooms += (self,)

    # The last messages

    def remember(self, message: Entry) -> None:
        """Take a new message into the last ones."""
        if self.recent is not None:
            self.recent.append(message)
            self.replay = None

    def forget(self, before: int) -> None:
        """Drop messages older than this time from the last ones."""
        while self.recent and self.recent[0].time < before:
            self.recent.popleft()
            self.replay = None

    # Comings and goings

    def came(self, name: str) -> None:
        """Tell the room, now or when its window closes, that somebody came."""
        if self._presence is not None:
            self._presence.came(name)
        else:
            self._tell_news((name,), ())
            self._open_window()

    def went(self, name: str) -> bool:
        """Tell the room, now or when its window closes, that somebody went.

        @return: whether it was told now.
        """
        if self._presence is not None:
            self._presence.went(name)
            return False
        self._tell_news((), (name,))
        self._open_window()
        return True

    def settle(self, *names: str) -> None:
        """Tell what has not been told yet, if it is about one of these people: their names are
        about to change."""
        if self._presence is not None and any(name in self._presence for name in names):
            self._tell_noted()

    def _open_window(self) -> None:
        seconds = window(len(self.sessions))
        if seconds:
            self._presence = Presence()
            self._shared.later(seconds, self._close_window)

    def _close_window(self) -> None:
        told = self._tell_noted()
        self._presence = None
        if told:
            self._open_window()

    def _tell_noted(self) -> bool:
        """Tell what the open window has noted.

        @return: whether there was anything to tell.
        """
        if self._presence is None:
            return False
        came, went = self._presence.take()
        self._tell_news(came, went)
        return bool(came or went)

    def _tell_news(self, came: tuple[str, ...], went: tuple[str, ...]) -> None:
        """Tell the members who came and who went. People who came are told of the others who did,
        and of themselves only if they are a crowd."""
        if went and self.is_lobby:
            # Who left the lobby left all rooms: the other rooms have nothing more to tell of them.
            for room in self._shared.rooms.values():
                if room._presence is not None:
                    room._presence.forget(went)
        apart: dict[Outbox, str] = {}
        if len(came) <= CROWD:
            for name in came:
                for session in self._sessions(name):
                    if session in self.sessions:
                        apart[session.outbox] = name
        self._shared.fan_out(self.sessions.values(), self._news(came, went), apart)
        for outbox, own in apart.items():
            others = tuple(name for name in came if name != own)
            if others or went:
                outbox.send(self._news(others, went))

    def _sessions(self, name: str) -> Iterable[Session]:
        person = self._shared.people.get(name)
        return person.sessions if person is not None else ()

    def _news(self, came: tuple[str, ...], went: tuple[str, ...]) -> tuple[Event, ...]:
        now = self._shared.now()
        people = tuple((name, self._is_account(name)) for name in came)
        joined = (Joined(now, self.name, people),) if came else ()
        return (*joined, Left(now, self.name, went)) if went else joined

    def _is_account(self, name: str) -> bool:
        person = self._shared.people.get(name)
        return person is not None and person.is_account
