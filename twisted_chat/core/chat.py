"""Sessions, rooms, and who hears what."""

from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from . import names
from .accounts import Accounts
from .addresses import SHARED, Source
from .errors import Refusal
from .events import (
    Bye,
    Event,
    History,
    Joined,
    Left,
    Notice,
    Refused,
    Renamed,
    Rooms,
    Said,
    Told,
    Topic,
    Users,
    Welcome,
)
from .guard import Guard
from .limits import Limits
from .model import (
    Account,
    DirectMessage,
    DirectPost,
    Message,
    Post,
    RoomPost,
    RoomRecord,
    Stored,
)
from .ports import Face, FanOut, Outbox, Store
from .presence import CROWD, Presence, window
from .text import clean, printable

LOBBY = "lobby"
"""The room that always exists and that everyone is in."""

DIRECT = "@"
"""Stands for one's private messages where a room may be named."""

_HISTORY = 20
"""Messages that /history shows when it is not told how many."""

_LISTED = 50
"""People in a room of whom somebody who joins it is shown a list; of more, how many they are."""

_NOT_KEPT = "private messages with a guest are not kept: they are gone when you leave"

_Replay = TypeVar("_Replay", Message, DirectMessage)


class Person:
    """Somebody who is here, with the sessions they have.

    @ivar account: L{None} for a guest.
    """

    __slots__ = ("account", "name", "sessions")

    def __init__(self, name: str, account: Account | None) -> None:
        self.name = name
        self.account = account
        self.sessions: tuple[Session, ...] = ()


class Session:
    """One live connection.

    @ivar source: where it comes from.
    @ivar echo: it is told its own messages too.
    @ivar person: who it is; L{None} before login and after it ended.
    @ivar current: the room that is spoken in.
    @ivar in_flight: how many of its posts are not in the log yet.
    @ivar renamed: how often it took another guest name.
    @ivar since: for rooms that it is not in yet, and L{DIRECT}: the last that it has seen.
    @ivar wrote: who last wrote to it in private: the name of an account, or the session of a
        guest, who may have another name by now.
    @ivar shown: the id of the last private message that it was shown, up to the first that it was
        not; 0 if all of these count as read.
    @ivar has_gap: there is a first that it was not shown.
    @ivar face: what can end it, if anything can.
    """

    __slots__ = (
        "closed",
        "current",
        "echo",
        "face",
        "has_gap",
        "in_flight",
        "outbox",
        "person",
        "renamed",
        "rooms",
        "shown",
        "since",
        "source",
        "told_not_kept",
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
        self.echo = False
        self.closed = False
        self.person: Person | None = None
        self.rooms: tuple[Room, ...] = ()
        self.current: Room | None = None
        self.in_flight = 0
        self.renamed = 0
        self.since: dict[str, int] | None = None
        self.shown = 0
        self.has_gap = False
        self.told_not_kept = False
        self.wrote: str | Session | None = None

    def tell(self, *events: Event) -> bool:
        """@return: as L{Outbox.send}."""
        return self.outbox.send(events)


class Room:
    """A place with members, a topic and a log.

    @ivar members: the sessions that are in it, and their outboxes.
    @ivar people: who is in it, and with how many sessions.
    @ivar recent: the last messages, kept up to date by the feed while anyone is in the room, so
        that joining it takes no query and leaves no gap between replay and live.
    @ivar presence: who came and went and has not been told of; L{None} while all is told at once.
    """

    __slots__ = (
        "members",
        "people",
        "presence",
        "recent",
        "record",
        "replay",
        "topic",
        "topic_by",
    )

    def __init__(self, record: RoomRecord) -> None:
        self.record = record
        self.topic = record.topic
        self.topic_by = record.topic_by
        self.members: dict[Session, Outbox] = {}
        self.people: Counter[Person] = Counter()
        self.recent: deque[Message] | None = None
        self.replay: tuple[Said, ...] | None = None
        self.presence: Presence | None = None

    @property
    def name(self) -> str:
        return self.record.name

    def listed(self, to: Person) -> tuple[tuple[str, bool], ...]:
        """Who is in it, to be shown to somebody: names, and whether each is an account."""
        if self.presence is not None:
            self.presence.show(to.name)
        return tuple(sorted((p.name, p.account is not None) for p in self.people))

    def enter(self, person: Person) -> None:
        """One session of the person more is in it."""
        self.people[person] += 1

    def go(self, person: Person) -> None:
        """One session of the person less is in it."""
        self.people[person] -= 1
        if not self.people[person]:
            del self.people[person]


class Chat:
    """The registry that all sessions share. Lives in one thread.

    What is said goes to the store and comes back through L{deliver} once it is in the log; only
    then is anyone shown it. The rest (joining, leaving, answers) happens at once.
    """

    def __init__(
        self,
        store: Store,
        accounts: Accounts,
        guard: Guard,
        limits: Limits,
        now: Callable[[], int],
        later: Callable[[float, Callable[[], None]], object],
        fan_out: FanOut,
        motd: Sequence[str] = (),
    ) -> None:
        """
        @param now: gives the time in UTC milliseconds.
        @param later: calls a function after some seconds.
        @param fan_out: sends the same events to many outboxes.
        @param motd: lines that everyone is shown on coming in.
        """
        self._later = later
        self._fan_out = fan_out
        self.motd = motd
        self._store = store
        self._accounts = accounts
        self._guard = guard
        self._limits = limits
        self._now = now
        self._rooms: dict[str, Room] = {}
        self._room_skeletons: dict[str, str] = {}
        self._rooms_in_making = 0
        self._people: dict[str, Person] = {}

    def open(self, records: Iterable[RoomRecord]) -> None:
        """Take up the rooms that the store has. The lobby is one of them."""
        for record in records:
            self._add_room(record)
        self._lobby = self._rooms[LOBBY]

    # Coming and going

    async def log_in(self, session: Session, account: Account) -> None:
        """Let a session in as an account, and show it what came while the account was away.

        A guest becomes the account and stays where it is.

        @raise Refusal: C{already-logged-in}, and C{wrong-password} if the password was changed
            meanwhile.
        """
        _refuse_account(session)
        changes = self._accounts.changes(account.name)
        await self._wake(self._lobby)
        seq, id = _taken_since(session, LOBBY), _taken_since(session, DIRECT)
        missed: Sequence[Message] | None = None
        limit = self._limits.max_history + 1  # one more than is shown, to know that there are more
        if seq is None and id is None:
            unread = await self._store.unread(account.id, limit)
        else:
            lobby = self._lobby.record if seq is not None else None
            missed, unread = await self._store.catch_up(lobby, seq or 0, account.id, id, limit)
        # No await from here on: what is delivered after the query goes to the session.
        if session.closed:
            return
        _refuse_account(session)
        if self._accounts.changes(account.name) != changes:
            raise Refusal("wrong-password", "the password was changed just now; use the new one")
        person = self._people.get(account.name)
        if person is None or person.account is None:
            person = self._people[account.name] = Person(account.name, account)
        self._enter(session, person, missed if seq is not None else None)
        if id is None:
            self._show_unread(session, account, unread)
        else:
            self._show_direct(session, account, unread, id)

    async def come_as_guest(self, session: Session, name: str) -> None:
        """Let a session in under a guest name that L{Accounts} holds for it.

        @raise Refusal: C{already-logged-in}.
        """
        entered = False
        try:
            missed = await self._missed(session, self._lobby)
            if session.person is not None:
                raise already_in(session.person)
            entered = not session.closed
        finally:
            if not entered:
                self._accounts.release(name)
        if not entered:
            return
        person = self._people[name] = Person(name, None)
        self._enter(session, person, missed)

    async def rename_guest(self, session: Session, raw: str) -> None:
        """Give a guest another name.

        @raise Refusal: C{forbidden} for an account or after too many names, or as
            L{Accounts.take_guest_name}.
        """
        name = await self._accounts.take_guest_name(raw, held=self._renamable(session).name)
        try:
            guest = self._renamable(session) if not session.closed else None
        except Refusal:
            self._accounts.release(name)
            raise
        if guest is None:
            self._accounts.release(name)
            return
        session.renamed += 1
        person = Person(name, None)
        self._rename(session, guest, person)
        self._people[name] = person

    def _renamable(self, session: Session) -> Person:
        """The guest that a session is, who may take another name."""
        guest = _person(session)
        if guest.account is not None:
            raise Refusal("forbidden", "an account keeps its name; /quit first to be somebody else")
        if session.renamed >= self._limits.max_names:
            raise Refusal("forbidden", f"you have had {session.renamed} names here; that one stays")
        return guest

    def leave_all(self, session: Session) -> None:
        """The session is over. Nothing is sent to it any more."""
        if session.closed:
            return
        session.closed = True
        person = session.person
        if person is None:
            return
        person.sessions = tuple(s for s in person.sessions if s is not session)
        rooms = session.rooms
        for room in rooms:
            self._remove(session, room)
        session.rooms = ()
        session.current = None
        session.person = None
        session.wrote = None
        if not person.sessions:
            self._forget(person)
            self._gone(person.name, rooms)
            return
        for room in rooms:
            if person not in room.people:
                self._went(room, person.name)

    def end_others(self, session: Session, name: str, farewell: str) -> int:
        """End all sessions of an account but this one, which may be over itself; gives back how
        many there were."""
        person = self._people.get(name)
        others = [s for s in person.sessions if s is not session] if person is not None else []
        for other in others:
            if other.face is not None:
                other.face.hang_up(farewell)
        return len(others)

    def end(self, farewell: str) -> None:
        """Say bye to everyone, all at once: nobody is told that the others leave."""
        self._tell(self._lobby, Bye(self._now(), farewell))
        for session in self._lobby.members:
            session.closed = True
            session.person = None
            session.rooms = ()
        self._people.clear()
        for room in self._rooms.values():
            room.members.clear()
            room.people.clear()

    # Rooms

    async def join(self, session: Session, raw: str) -> int:
        """Go into a room, making it if there is none, and speak there from now on; gives back how
        many messages and people that showed.

        @raise Refusal: C{bad-name}, C{full}, C{throttled}, C{internal}.
        """
        _person(session)
        name = names.room(raw)
        room = self._rooms.get(name)
        if room is None or session not in room.members:
            self._refuse_more_rooms(session)
            room = await self._find_or_make(name, session.source)
            missed = await self._missed(session, room)
            if session.closed:
                return 0
            if session not in room.members:
                self._refuse_more_rooms(session)
                return self._go_into(session, room, missed)
        session.current = room
        session.tell(Notice(self._now(), f"you are talking in {_shown(room)} now"))
        return 0

    def _refuse_more_rooms(self, session: Session) -> None:
        if len(session.rooms) >= self._limits.max_joined:
            raise Refusal("full", f"you are in {len(session.rooms)} rooms; leave one first")

    def _go_into(self, session: Session, room: Room, missed: Sequence[Message] | None) -> int:
        person = _person(session)
        session.current = room
        self._add(session, room)
        joined = Joined(self._now(), room.name, (person.name,))
        session.tell(joined, *self._entrance(person, room, missed))
        shown = len(missed) if missed is not None else len(room.recent or ())
        return shown + min(len(room.people), _LISTED)

    def leave(self, session: Session, raw: str) -> None:
        """Go out of a room, by default the current one; back to the lobby.

        @raise Refusal: C{forbidden} in the lobby, C{not-in-room}, C{no-such-room}.
        """
        person = _person(session)
        room = self._room(raw) if raw else _current(session)
        if session not in room.members:
            shown = _shown(room)
            raise Refusal("not-in-room", f"you are not in {shown}, so you cannot leave it")
        if room is self._lobby:
            raise Refusal("forbidden", "everyone is in the lobby; /quit ends the session")
        self._remove(session, room)
        session.rooms = tuple(r for r in session.rooms if r is not room)
        session.tell(Left(self._now(), room.name, (person.name,)))
        if person not in room.people:
            self._went(room, person.name)
        if session.current is room:
            session.current = self._lobby
            session.tell(Notice(self._now(), f"you are talking in {_shown(self._lobby)} now"))

    def rooms(self, session: Session) -> int:
        """Answer with the rooms there are, the fullest first; gives back how many rooms and people
        that took."""
        _person(session)
        listed = [(room.name, len(room.people), room.topic) for room in self._rooms.values()]
        listed.sort(key=lambda entry: (-entry[1], entry[0]))
        session.tell(Rooms(self._now(), tuple(listed)))
        return len(listed) + sum(people for _, people, _ in listed)

    def users(self, session: Session, raw: str) -> int:
        """Answer with who is in a room, by default the current one; gives back how many.

        @raise Refusal: C{no-such-room}.
        """
        person = _person(session)
        room = self._room(raw) if raw else _current(session)
        people = room.listed(person)
        session.tell(Users(self._now(), room.name, people))
        return len(people)

    def show_topic(self, session: Session) -> None:
        """Answer with the topic of the current room."""
        room = _current(session)
        session.tell(Topic(self._now(), room.name, room.topic, room.topic_by))

    async def set_topic(self, session: Session, text: str) -> None:
        """Set the topic of the current room; empty for none.

        @raise Refusal: C{too-long}, C{bad-encoding}.
        """
        room = _current(session)
        by = _person(session).name
        topic = clean(text).strip()
        if len(topic) > self._limits.max_topic:
            raise Refusal("too-long", f"a topic has at most {self._limits.max_topic} characters")
        await self._store.set_topic(room.record.id, topic, by)
        room.topic, room.topic_by = topic, by
        self._tell(room, Topic(self._now(), room.name, topic, by, changed=True))

    # Talking

    def say(self, session: Session, text: str, *, action: bool = False) -> None:
        """Say something in the current room.

        @raise Refusal: C{bad-encoding}, C{too-long}, C{bad-arguments} when there is nothing left
            to say.
        """
        self._post(session, _current(session), text, action)

    def broadcast(self, session: Session, text: str) -> None:
        """Say something in the lobby, so to everyone.

        @raise Refusal: as L{say}.
        """
        self._post(session, self._lobby, text, action=False)

    async def direct(self, session: Session, raw: str, text: str) -> None:
        """Say something to one person, who is here or registered.

        @raise Refusal: C{no-such-person}, or as L{say}.
        """
        _person(session)
        text = self._sayable(text)
        recipient = await self._find_person(raw)
        sender = session.person
        if sender is None:
            return
        session.in_flight += 1
        self._store.append(
            DirectPost(
                sender.account.id if sender.account else None,
                sender.name,
                recipient.account.id if recipient.account else None,
                recipient.name,
                self._now(),
                text,
                session,
                recipient,
            )
        )

    async def reply(self, session: Session, text: str) -> str:
        """Say something to whoever last wrote to this session in private; gives back their name.

        @raise Refusal: C{no-such-person}, or as L{direct}.
        """
        _person(session)
        wrote = session.wrote
        if isinstance(wrote, Session):
            wrote = wrote.person.name if wrote.person is not None else ""
        if not wrote:
            who = "nobody has written to you in private yet"
            gone = "the guest who wrote to you last has left"
            raise Refusal(
                "no-such-person", f"{who if wrote is None else gone}; /dm NAME MESSAGE is private"
            )
        await self.direct(session, wrote, text)
        return wrote

    async def history(self, session: Session, count: int | None, of: str) -> int:
        """Answer with the last messages of a room, by default the current one, or C{@name}; gives
        back how many were read for it.

        @raise Refusal: C{bad-arguments}, C{no-such-room}, C{not-in-room}, C{no-such-person},
            C{forbidden}.
        """
        person = _person(session)
        most = self._limits.max_history
        if count is not None and not 1 <= count <= most:
            raise Refusal("bad-arguments", f"/history shows 1 to {most} messages")
        count = count or min(_HISTORY, most)
        if not of.startswith("@"):
            room = self._own_room(session, of)
            messages = await self._store.history(room.record, count)
            self._answer_history(session, self._room_history(room.name, messages))
            return len(messages)
        account = person.account
        if account is None:
            raise Refusal("forbidden", f"{_NOT_KEPT}; /register to have a history")
        other = await self._find_person(of[1:])
        if other.account is None:
            raise Refusal("forbidden", _NOT_KEPT)
        direct = await self._store.conversation(account.id, other.account.id, count)
        self._answer_history(
            session, self._direct_history(f"@{other.name}", account, self._newest(direct))
        )
        return len(direct)

    async def since(self, session: Session, places: Mapping[str, int]) -> int:
        """Go on after what was seen before, by another session perhaps: answer with what came
        after it, and give back how many messages were read for that. For a room that the session
        is not in yet, this is shown on going into it; for private messages, at login.

        @param places: the last C{seq} seen of each room, and the last id of L{DIRECT}.
        @raise Refusal: C{full}, and C{forbidden} for private messages of a guest.
        """
        now_due = [place for place in places if self._is_due(session, place)]
        later = {place: last for place, last in places.items() if place not in now_due}
        if later:
            known = session.since or {}
            if len(known.keys() | later) > self._limits.max_joined + 2:
                raise Refusal("full", f"a session is in {self._limits.max_joined} rooms at most")
            session.since = {**known, **later}
        read = 0
        for place in now_due:
            person = _person(session)
            room = self._rooms[place].record if place != DIRECT else None
            id = person.account.id if person.account is not None and room is None else None
            messages, direct = await self._store.catch_up(
                room, places[place], id, places[place], self._limits.max_history + 1
            )
            read += len(messages) + len(direct)
            if session.closed:
                break
            if room is not None:
                if session in self._rooms[place].members:
                    session.tell(self._room_history(room.name, messages))
            elif person.account is not None:
                self._show_direct(session, person.account, direct, places[place])
        return read

    def seen(self, session: Session) -> None:
        """A session has sent something: if its peer has taken all that it was sent before, the
        private messages that it was shown count as read."""
        account = session.person.account if session.person is not None else None
        if session.shown and account is not None and session.outbox.is_taken:
            self._store.mark_read(account.id, session.shown)
            session.shown = 0

    def _is_due(self, session: Session, place: str) -> bool:
        """What came after something is to be shown at once."""
        if session.person is None:
            return False
        if place == DIRECT and session.person.account is None:
            raise Refusal("forbidden", f"{_NOT_KEPT}; /register to have a history")
        return place == DIRECT or any(room.name == place for room in session.rooms)

    # The feed

    def deliver(self, batch: Sequence[tuple[Post, Stored]]) -> None:
        """Show what was just committed to everyone who is to hear it, in the order of the log.

        Readers who hear the same get the same tuple of events, so that it is made into bytes
        once; only those who hear something else (who wrote one of the messages and are not told
        their own, or are a party to a private one) get one of their own.

        Whatever goes wrong meanwhile, all posts of the batch have landed.
        """
        try:
            self._show(batch)
        finally:
            self._landed(post for post, _ in batch)

    def _show(self, batch: Sequence[tuple[Post, Stored]]) -> None:
        heard: list[tuple[Event, Room | None, Iterable[Session], Session | None]] = []
        apart: dict[Session, None] = {}  # sessions with a stream of their own
        rooms: dict[Room, None] = {}
        now = self._now()
        for post, stored in batch:
            origin = post.origin if isinstance(post.origin, Session) else None
            if isinstance(stored, Message):
                room = self._rooms[stored.room]
                rooms[room] = None
                self._remember(room, stored)
                silent = origin if origin is not None and not origin.echo else None
                heard.append((Said(now, stored), room, (), silent))
                if silent is not None:
                    apart[silent] = None
            else:
                assert isinstance(post, DirectPost)
                for event, sessions in self._parties(post, stored, now):
                    heard.append((event, None, sessions, None))
                    apart.update(dict.fromkeys(sessions))
        self._tell_rooms(heard, list(rooms), {session.outbox for session in apart})
        for session in apart:
            mine = tuple(
                event
                for event, room, sessions, silent in heard
                if session is not silent
                and (session in room.members if room is not None else session in sessions)
            )
            if mine:
                _note_shown(session, mine, whole=session.outbox.send(mine))

    def lose(self, posts: Sequence[Post]) -> None:
        """The store could not keep these; nobody is shown them and their senders are told."""
        for post in posts:
            if isinstance(post.origin, Session) and not post.origin.closed:
                post.origin.tell(
                    Refused(
                        self._now(),
                        "internal",
                        "that could not be kept, so it was not sent; try again later",
                        "",
                    )
                )
        self._landed(posts)

    def _tell_rooms(
        self,
        heard: Sequence[tuple[Event, Room | None, Iterable[Session], Session | None]],
        rooms: Sequence[Room],
        apart: set[Outbox],
    ) -> None:
        """Send what was said in the rooms to all members but those with a stream of their own."""
        if len(rooms) == 1:
            said = tuple(event for event, room, _, _ in heard if room is not None)
            self._fan_out(rooms[0].members.values(), said, apart)
            return
        audiences: dict[Outbox, tuple[Room, ...]] = {}
        for room in rooms:
            for outbox in room.members.values():
                audiences[outbox] = (*audiences.get(outbox, ()), room)
        readers: defaultdict[tuple[Room, ...], list[Outbox]] = defaultdict(list)
        for outbox, audience in audiences.items():
            readers[audience].append(outbox)
        for audience, outboxes in readers.items():
            said = tuple(event for event, room, _, _ in heard if room in audience)
            self._fan_out(outboxes, said, apart)

    def _parties(
        self, post: DirectPost, message: DirectMessage, now: int
    ) -> Iterable[tuple[Event, tuple[Session, ...]]]:
        """Who is shown a private message, and how, and what is remarked about it."""
        origin = post.origin if isinstance(post.origin, Session) else None
        parties = () if origin is None or origin.closed else (origin,)
        recipient = self._people.get(message.recipient)
        if message.id is None and recipient is not post.to:
            recipient = None  # a guest who is gone, and somebody else has taken the name
        if message.sender != message.recipient:
            # Only an account has other sessions; a guest's name may be somebody else's by now.
            sender = self._people.get(message.sender) if post.sender_id is not None else None
            copies = parties if sender is None else sender.sessions
            yield (
                Told(now, message, outgoing=True),
                tuple(s for s in copies if s is not origin or s.echo),
            )
        if recipient is not None:
            if message.sender != message.recipient:
                for session in recipient.sessions:
                    session.wrote = origin if post.sender_id is None else message.sender
            yield Told(now, message), recipient.sessions
        if recipient is None:
            yield Notice(now, _away(message)), parties
        elif message.id is None:
            unaware = [s for s in (*parties, *recipient.sessions) if not s.told_not_kept]
            for session in unaware:
                session.told_not_kept = True
            yield Notice(now, _NOT_KEPT), tuple(unaware)

    def _landed(self, posts: Iterable[Post]) -> None:
        origins = Counter(p.origin for p in posts if isinstance(p.origin, Session))
        for session, count in origins.items():
            session.in_flight -= count
        for session in origins:
            session.outbox.landed()

    def _remember(self, room: Room, message: Message) -> None:
        if room.recent is not None:
            room.recent.append(message)
            room.replay = None

    def forget(self, before: int) -> None:
        """The log has no messages older than this time any more."""
        for room in self._rooms.values():
            while room.recent and room.recent[0].time < before:
                room.recent.popleft()
                room.replay = None

    # Details

    def _post(self, session: Session, room: Room, text: str, action: bool) -> None:
        name = _person(session).name
        text = self._sayable(text)
        session.in_flight += 1
        self._store.append(
            RoomPost(room.record.id, room.name, name, self._now(), text, action, session)
        )

    def _sayable(self, text: str) -> str:
        text = clean(text)
        if not text:
            raise Refusal("bad-arguments", "there is nothing in that to say")
        most = self._limits.max_message
        if len(text) > most:
            raise Refusal(
                "too-long", f"a message has at most {most} characters; that one has {len(text)}"
            )
        return text

    def _enter(self, session: Session, person: Person, missed: Sequence[Message] | None) -> None:
        """Put a session into the lobby as this person, or make the guest that it is become them.

        @param missed: what to show of the lobby, if not the last messages.
        """
        guest = session.person
        if guest is not None:
            self._become(session, guest, person)
            return
        session.person = person
        person.sessions += (session,)
        session.current = self._lobby
        self._add(session, self._lobby)
        motd = [Notice(self._now(), line) for line in self.motd]
        session.tell(
            self._welcome(session, person), *motd, *self._entrance(person, self._lobby, missed)
        )

    def _welcome(self, session: Session, person: Person) -> Welcome:
        room = _current(session)
        others = len(room.people) - 1
        return Welcome(self._now(), person.name, person.account is not None, room.name, others)

    def _become(self, session: Session, guest: Person, account: Person) -> None:
        """A guest goes on as an account, which may be here."""
        was_here = bool(account.sessions)
        new_to = [room for room in session.rooms if account not in room.people]
        if was_here:
            self._pass_on(session, guest, account)
        else:
            self._rename(session, guest, account)
        session.tell(self._welcome(session, account))
        if was_here:
            if not self._gone(guest.name, session.rooms):
                session.tell(Left(self._now(), LOBBY, (guest.name,)))  # which it was shown to be
            for room in new_to:
                self._came(room, account.name)

    def _rename(self, session: Session, guest: Person, person: Person) -> None:
        """A guest is somebody from now on who was not here."""
        same = person.name == guest.name
        for room in () if same else self._rooms.values():
            news = room.presence
            if news is not None and (guest.name in news or person.name in news):
                self._tell_presence(room)  # of what was done under the name that they had then
        self._pass_on(session, guest, person)
        if not same:
            self._tell(self._lobby, Renamed(self._now(), guest.name, person.name))

    def _pass_on(self, session: Session, guest: Person, person: Person) -> None:
        """A guest's session is that of somebody else from now on."""
        for room in session.rooms:
            room.go(guest)
            room.enter(person)
        guest.sessions = ()
        person.sessions += (session,)
        session.person = person
        self._forget(guest)

    def _forget(self, person: Person) -> None:
        if self._people.get(person.name) is person:
            del self._people[person.name]
        if person.account is None:
            self._accounts.release(person.name)

    def _add(self, session: Session, room: Room) -> None:
        person = _person(session)
        if person not in room.people:
            self._came(room, person.name)
        room.members[session] = session.outbox
        room.enter(person)
        session.rooms += (room,)

    def _came(self, room: Room, name: str) -> None:
        if room.presence is not None:
            room.presence.came(name)
        else:
            self._tell_news(room, (name,), ())
            self._open_window(room)

    def _went(self, room: Room, name: str) -> bool:
        """Somebody went out of a room; gives back whether that is told at once."""
        if room.presence is not None:
            room.presence.went(name)
            return False
        self._tell_news(room, (), (name,))
        self._open_window(room)
        return True

    def _gone(self, name: str, rooms: Iterable[Room]) -> bool:
        """Somebody who was in these rooms is nowhere any more. If the lobby is told at once, the
        other rooms are not told besides; otherwise each is, as each is told of who came to it.

        @return: whether the lobby is told at once.
        """
        if self._went(self._lobby, name):
            return True
        for room in rooms:
            if room is not self._lobby:
                self._went(room, name)
        return False

    def _open_window(self, room: Room) -> None:
        seconds = window(len(room.members))
        if seconds:
            room.presence = Presence()
            self._later(seconds, lambda: self._close_window(room))

    def _close_window(self, room: Room) -> None:
        told = self._tell_presence(room)
        room.presence = None
        if told:
            self._open_window(room)

    def _tell_presence(self, room: Room) -> bool:
        """Tell who came and went while the window was open; gives back whether anyone did."""
        if room.presence is None:
            return False
        came, went = room.presence.take()
        self._tell_news(room, came, went)
        return bool(came or went)

    def _tell_news(self, room: Room, came: tuple[str, ...], went: tuple[str, ...]) -> None:
        """Tell a room who came and went; those who came are not told of themselves, unless they
        are a crowd."""
        if room is self._lobby and went:
            # Who has left the lobby has left all rooms: what they were to be told is settled.
            for each in self._rooms.values():
                if each.presence is not None:
                    each.presence.forget(went)
        apart: dict[Outbox, str] = {}
        if len(came) <= CROWD:
            for name in came:
                if name in self._people:
                    sessions = self._people[name].sessions
                    apart.update((s.outbox, name) for s in sessions if s in room.members)
        self._fan_out(room.members.values(), self._news(room, came, went), apart)
        for outbox, own in apart.items():
            others = tuple(name for name in came if name != own)
            if others or went:
                outbox.send(self._news(room, others, went))

    def _news(self, room: Room, came: tuple[str, ...], went: tuple[str, ...]) -> tuple[Event, ...]:
        now = self._now()
        joined = (Joined(now, room.name, came),) if came else ()
        return (*joined, Left(now, room.name, went)) if went else joined

    def _remove(self, session: Session, room: Room) -> None:
        del room.members[session]
        room.go(_person(session))
        if not room.members and room is not self._lobby:
            room.recent = room.replay = None

    def _entrance(
        self, person: Person, room: Room, missed: Sequence[Message] | None
    ) -> list[Event]:
        """What somebody is shown on coming into a room.

        @param missed: messages to show, if not the last ones.
        """
        if missed is not None:
            events: list[Event] = [self._room_history(room.name, missed)]
        else:
            if room.replay is None:
                now = self._now()
                room.replay = tuple(Said(now, m, replay=True) for m in room.recent or ())
            events = [History(self._now(), room.name, room.replay)]
        if room.topic:
            events.append(Topic(self._now(), room.name, room.topic, room.topic_by))
        if room is self._lobby:
            return events
        if len(room.people) <= _LISTED:
            events.append(Users(self._now(), room.name, room.listed(person)))
        else:
            count = f"{len(room.people):,} people are in {_shown(room)}; /users lists them"
            events.append(Notice(self._now(), count))
        return events

    def _show_unread(
        self, session: Session, account: Account, unread: Sequence[DirectMessage]
    ) -> None:
        """Show the first private messages that do not count as read, if there are any."""
        shown = unread[: self._fitting(unread)]
        session.shown, session.has_gap = 0, False
        if not shown:
            return
        session.wrote = shown[-1].sender
        most = self._limits.max_history
        number = f"more than {most}" if len(unread) > most else str(len(unread))
        count = "1 private message" if number == "1" else f"{number} private messages"
        alone = _person(session).sessions == (session,)
        news = (
            "came while you were away" if alone else "is unread" if number == "1" else "are unread"
        )
        history = self._direct_history(DIRECT, account, shown)
        whole = session.tell(Notice(self._now(), f"{count} {news}:"), history)
        _note_shown(session, history.messages, whole=whole)
        if len(shown) < len(unread):
            session.has_gap = True
            rest = "the rest is shown at your next login; /history @NAME shows it now"
            session.tell(Notice(self._now(), rest))

    def _show_direct(
        self, session: Session, account: Account, messages: Sequence[DirectMessage], after: int
    ) -> None:
        """Show the private messages that a session has missed, also if there are none.

        @param after: the last that it has seen.
        """
        shown = self._newest(messages)
        session.shown, session.has_gap = after, len(shown) < len(messages)
        if session.has_gap:
            rest = "there were more private messages than these; /history @NAME shows them"
            session.tell(Notice(self._now(), rest))
        history = self._direct_history(DIRECT, account, shown)
        _note_shown(session, history.messages, whole=session.tell(history))
        got = [message.sender for message in shown if message.sender != account.name]
        session.wrote = got[-1] if got else session.wrote

    def _answer_history(self, session: Session, history: History) -> None:
        if session.closed:
            return
        if not history.messages:
            session.tell(Notice(self._now(), "nothing has been said there yet"))
        session.tell(history)

    def _direct_history(
        self, of: str, account: Account, messages: Sequence[DirectMessage]
    ) -> History:
        now = self._now()
        return History(
            now,
            of,
            tuple(Told(now, m, outgoing=m.sender == account.name, replay=True) for m in messages),
        )

    def _room_history(self, room: str, messages: Sequence[Message]) -> History:
        now = self._now()
        newest = self._newest(messages)
        return History(now, room, tuple(Said(now, m, replay=True) for m in newest))

    def _newest(self, messages: Sequence[_Replay]) -> Sequence[_Replay]:
        """The newest of the messages, no more than an empty outbox has room for."""
        return messages[len(messages) - self._fitting(messages[::-1]) :]

    def _fitting(self, messages: Sequence[_Replay]) -> int:
        """How many of the messages, from the first on, may be shown at once: an empty outbox has
        room for them, and they are not more than C{max_history}."""
        room = self._limits.outbox // 2
        for index, message in enumerate(messages[: self._limits.max_history]):
            room -= 4 * len(message.text) + 200  # UTF-8, and what a format puts around it
            if room < 0:
                return index
        return min(len(messages), self._limits.max_history)

    async def _wake(self, room: Room) -> None:
        """Have the last messages of a room at hand. The room keeps them while it has members."""
        if room.recent is None:
            recent = await self._store.history(room.record, self._limits.replay)
            if room.recent is None:
                room.recent = deque(recent, maxlen=self._limits.replay)

    async def _missed(self, session: Session, room: Room) -> Sequence[Message] | None:
        """L{_wake} a room for a session that goes into it; gives back what came after the last
        message that it says to have seen. No await may stand between this and going in."""
        seq = _taken_since(session, room.name)
        while True:
            await self._wake(room)
            if seq is None:
                return None
            missed, _ = await self._store.catch_up(
                room.record, seq, None, None, self._limits.max_history
            )
            if room.recent is not None:  # else its last member has left it meanwhile
                return missed

    async def _find_or_make(self, name: str, source: Source) -> Room:
        room = self._rooms.get(name)
        if room is not None:
            return room
        skeleton = names.skeleton(name)
        self._refuse_look_alike(name, skeleton)
        if len(self._rooms) + self._rooms_in_making >= self._limits.max_rooms:
            raise Refusal("full", "there are as many rooms as there may be; join one of them")
        self._guard.before_room(source)
        self._rooms_in_making += 1
        try:
            record = await self._store.add_room(name, skeleton, self._now())
        finally:
            self._rooms_in_making -= 1
        if record is not None:
            return self._add_room(record)
        # Somebody else made it, or one that looks like it, in the meantime.
        self._refuse_look_alike(name, skeleton)
        return self._rooms[name]

    def _refuse_look_alike(self, name: str, skeleton: str) -> None:
        other = self._room_skeletons.get(skeleton, name)
        if other != name:
            raise Refusal("bad-name", f'"{name}" looks too much like the room "{other}"')

    def _add_room(self, record: RoomRecord) -> Room:
        room = self._rooms[record.name] = Room(record)
        self._room_skeletons[record.skeleton] = record.name
        return room

    def _room(self, raw: str) -> Room:
        """An existing room.

        @raise Refusal: C{no-such-room}.
        """
        try:
            name = names.room(raw)
        except Refusal:
            name = raw
        room = self._rooms.get(name)
        if room is None:
            raise Refusal("no-such-room", _no_such("room", raw, self._rooms))
        return room

    def _own_room(self, session: Session, raw: str) -> Room:
        """A room that the session is in, by default the current one."""
        if not raw:
            return _current(session)
        room = self._room(raw)
        if session not in room.members:
            raise Refusal("not-in-room", f"you are not in {_shown(room)}; /join {room.name} first")
        return room

    async def _find_person(self, raw: str) -> Person:
        """Somebody who is here or registered; the latter have no sessions.

        @raise Refusal: C{no-such-person}.
        """
        try:
            name = names.canonical(raw)
        except Refusal:
            name = ""
        person = self._people.get(name)
        if person is None and name:
            account = await self._store.find_account(name)
            person = self._people.get(name)  # they may have come in while the store was asked
            if person is None and account is not None:
                person = Person(name, account)
        if person is None:
            raise Refusal("no-such-person", _no_such("one here", raw, self._people))
        return person

    def _tell(self, room: Room, event: Event) -> None:
        self._fan_out(room.members.values(), (event,), ())


def _person(session: Session) -> Person:
    if session.person is None:
        raise Refusal("not-logged-in", "log in first: type a name, or /help")
    return session.person


def _refuse_account(session: Session) -> None:
    if session.person is not None and session.person.account is not None:
        raise already_in(session.person)


def already_in(person: Person) -> Refusal:
    """Make the refusal for an account that logs in, registers or comes as a guest once more."""
    return Refusal(
        "already-logged-in",
        f"you are logged in as {person.name} already; /quit first to be somebody else",
    )


def _current(session: Session) -> Room:
    if session.current is None:
        raise Refusal("not-logged-in", "log in first: type a name, or /help")
    return session.current


def _taken_since(session: Session, place: str) -> int | None:
    """The last that a session has seen there, which is asked once."""
    return session.since.pop(place, None) if session.since else None


def _note_shown(session: Session, events: Iterable[object], *, whole: bool) -> None:
    """Note which of the private messages to it a session was shown.

    @param whole: none of them was skipped.
    """
    name = _person(session).name
    for event in events:
        if isinstance(event, Told) and event.message.recipient == name and event.message.id:
            session.has_gap |= not whole
            if not session.has_gap:
                session.shown = event.message.id


def _away(message: DirectMessage) -> str:
    if message.id is None:
        return (
            f"{message.recipient} is not here and was not shown that:"
            " private messages with guests are not kept"
        )
    return f"{message.recipient} is away and will be shown that at the next login"


def _shown(room: Room) -> str:
    return f"the {LOBBY}" if room.name == LOBBY else f"#{room.name}"


def _no_such(what: str, raw: str, candidates: Iterable[str]) -> str:
    word = printable(raw)[: 2 * names.MAX_LENGTH]
    near = names.nearest(word.casefold(), candidates)
    hint = f"did you mean {near}?" if near else ""
    if what == "room":
        return f'there is no room "{word}"; {hint or "/rooms lists them"}'
    return f'no one here is called "{word}"; {hint or "/users lists who is here"}'
