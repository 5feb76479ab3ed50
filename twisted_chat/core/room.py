"""Rooms: their members, their last messages, and who joined and left."""

from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from .events import Event, Joined, Left, Said
from .model import Message, RoomRecord
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
    """A place with members, a topic and a log.

    Comings and goings are told at once in a small room. In a big one the first is told at once and
    opens a window; those that follow are told together when it closes.

    @ivar topic: empty if there is none.
    @ivar topic_by: who set the topic; empty if nobody ever did.
    @ivar members: the sessions that are in it, and their outboxes.
    @ivar people: the people who are in it, and the number of their sessions that are, including
        sessions that have ended and whose posts are in flight.
    @ivar recent: the last messages, kept up to date by the feed while there are members, so that
        joining takes no query and leaves no gap between replay and live messages; L{None} while
        they are not known.
    @ivar replay: C{recent} as events, made when they are first asked for.
    """

    __slots__ = (
        "_presence",
        "_shared",
        "members",
        "people",
        "recent",
        "record",
        "replay",
        "topic",
        "topic_by",
    )

    def __init__(self, record: RoomRecord, shared: Shared) -> None:
        self.record = record
        self.topic = record.topic
        self.topic_by = record.topic_by
        self.members: dict[Session, Outbox] = {}
        self.people: Counter[Person] = Counter()
        self.recent: deque[Message] | None = None
        self.replay: tuple[Said, ...] | None = None
        self._presence: Presence | None = None  # while a window is open
        self._shared = shared

    @property
    def name(self) -> str:
        return self.record.name

    @property
    def shown(self) -> str:
        """The name as it is put into sentences."""
        return f"the {LOBBY}" if self.name == LOBBY else f"#{self.name}"

    @property
    def is_lobby(self) -> bool:
        return self.name == LOBBY

    def show(self, to: Person) -> None:
        """Note that somebody has learnt who is in it now; see L{Presence.show}."""
        if self._presence is not None:
            self._presence.show(to.name)

    def listed(self, to: Person) -> tuple[tuple[str, bool], ...]:
        """List the people in it for somebody: names, and whether each is an account."""
        self.show(to)
        return tuple(sorted((p.name, p.is_account) for p in self.people))

    def tell(self, event: Event) -> None:
        """Tell all members."""
        self._shared.fan_out(self.members.values(), (event,), ())

    # Members

    def add(self, session: Session, person: Person) -> None:
        """Put a session into the room, and tell the others if its person is new there."""
        if person not in self.people:
            self.came(person.name)
        self.members[session] = session.outbox
        self.people[person] += 1
        session.rooms += (self,)

    def remove(self, session: Session) -> None:
        """Tell a session nothing more of the room. Its person is not taken out; see L{discount}."""
        del self.members[session]
        if not self.members and not self.is_lobby:
            self.recent = self.replay = None

    def discount(self, person: Person) -> bool:
        """Take one session of a person out of the count.

        @return: whether none is left, so that they have left the room.
        """
        self.people[person] -= 1
        if self.people[person]:
            return False
        del self.people[person]
        return True

    def pass_on(self, guest: Person, person: Person) -> None:
        """Count the one session of a guest as a session of somebody else."""
        self.discount(guest)
        self.people[person] += 1

    # The last messages

    def remember(self, message: Message) -> None:
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
        seconds = window(len(self.members))
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
                    if session in self.members:
                        apart[session.outbox] = name
        self._shared.fan_out(self.members.values(), self._news(came, went), apart)
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
