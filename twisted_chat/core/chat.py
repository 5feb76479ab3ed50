"""The operations of chat. Each asks whether its session may, checks, appends to the log or changes
what is here, and has it told."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from . import names, policy
from .accounts import Accounts
from .announcements import Delivered, TakenOver
from .directory import Directory, Whois
from .errors import Code, Refusal, Way
from .events import (
    Event,
    History,
    Motd,
    Place,
    Rooms,
    Topic,
    Users,
    Welcome,
)
from .feed import Feed
from .guard import Guard
from .here import Here, hang_up
from .labels import WINDOW, Labels
from .limits import Limits
from .marks import Marks
from .model import (
    ACTION,
    CREATED,
    SAID,
    TOPIC,
    Account,
    Aside,
    Findings,
    Post,
    RoomRecord,
    RoomState,
    conversation,
)
from .nodes import Nodes
from .past import DIRECT, Past
from .people import Hold, Person, Session
from .policy import Action
from .ports import FanOut, Store, Turn
from .posting import Posting
from .room import LOBBY, Room, Shared
from .showing import Showing, has_no_hole
from .text import clean

__all__ = ["DIRECT", "LOBBY", "Chat", "Session"]


class Chat:
    """The registry that all sessions share. Lives in one thread.

    What is durable is posted: it goes to the store and comes back through L{deliver} once it is in
    the log; only then does it change anything here, and is anyone told. Who is here is not in the
    log, and changes at once.

    A session carries out one operation at a time: while one of them awaits something, any other
    operation or query of the session is refused with C{busy}. A session that is nobody may call
    L{log_in}, L{come_as_guest} and L{since}, and nothing else.

    Where an operation may raise C{unavailable}, the store cannot be used at the moment; after it
    was closed, the code is C{closed} instead.
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
        turn: Callable[[], Turn],
        failed: Callable[[], None],
        motd: Sequence[str] = (),
    ) -> None:
        """
        @param now: gives the time in UTC milliseconds.
        @param later: calls a function after some seconds.
        @param fan_out: sends the same events to many outboxes.
        @param turn: makes what an operation awaits until its post is in the log.
        @param failed: called for each entry that cannot be applied or told, while the exception is
            being handled.
        @param motd: the lines of the message of the day, which is told at login.
        """
        self.motd = motd
        self._store = store
        self._accounts = accounts
        self._guard = guard
        self._limits = limits
        self._now = now
        self._shared = Shared(now, later, fan_out, {}, {})
        self._directory = Directory(store, self._shared)
        self._here = Here(self._shared, self._directory, store.announce)
        self._past = Past(store, limits, now)
        self._marks = Marks(store, self._shared)
        self._showing = Showing(store, self._shared, self._past, self._marks, self._here)
        self._labels = Labels(now)
        self._knows_labels = False  # those from before the start
        self.nodes = Nodes(store, accounts, guard, self._here, self._marks, self._end_sessions)
        self._feed = Feed(
            self._shared, self._directory, self._labels, self._here.over, self.nodes.take, failed
        )
        self._posting = Posting(store, self._feed, self._labels, now, turn)
        self._rooms_in_making = 0

    def open(self, states: Iterable[RoomState]) -> None:
        """Take up the rooms as the log has made them. The lobby is one of them."""
        for state in states:
            self._directory.open(state)
        self._lobby = self._directory.lobby

    def go_back(self, states: Iterable[RoomState], farewell: str) -> None:
        """Take up the rooms anew, as the database has lost the newest entries of the log, and end
        all sessions: they were shown what is not so any more."""
        for person in list(self._shared.people.values()):
            hang_up(person, farewell)
        self._directory.go_back(states)
        self._labels.clear()
        self._knows_labels = False

    def states(self) -> Sequence[RoomState]:
        """The rooms as the entries so far have made them."""
        return [room.state for room in self._directory]

    async def recall_labels(self) -> None:
        """Take up the labels that were used lately from the log. Called at the start, so that the
        first login need not wait; while that has not worked, each login tries it again.

        @raise Refusal: C{unavailable}, C{closed}.
        """
        if self._knows_labels:
            return
        for entry in await self._store.labels(self._now() - WINDOW):
            self._labels.keep(entry)
        self._knows_labels = True

    def deliver(self, batch: Sequence[tuple[int, Delivered]]) -> None:
        """Apply and tell what was just committed; see L{Feed.deliver}."""
        self._feed.deliver(batch)

    def lose(self, numbers: Sequence[int], code: Code) -> None:
        """Tell the authors of posts that could not be kept; see L{Feed.lose}."""
        self._feed.lose(numbers, code)

    def forget(self, before: int) -> None:
        """Drop messages older than this time, which the log does not have any more."""
        for room in self._directory:
            room.forget(before)

    @property
    def in_flight(self) -> int:
        """The number of posts that the store has neither kept nor lost yet."""
        return len(self._feed.flights)

    def close(self) -> None:
        """Tell nobody from now on who leaves: the server is going down, and all sessions end."""
        self._here.is_closing = True

    # Coming and going

    async def log_in(self, session: Session, account: Account, *, room: str = LOBBY) -> None:
        """Log a session in to an account: it is back in the account's rooms, and is shown what came
        while the account was away.

        A guest becomes the account, which becomes a member of the guest's rooms, as many as it may
        be in. The guest leaves the others.

        @param room: the room that a guest who becomes the account is welcomed in, unless the guest
            leaves it.
        @raise Refusal: C{already-logged-in}, C{busy}, C{unavailable}, C{closed}, and
            C{wrong-password} if the password was changed meanwhile.
        """
        with self._operation(session, "log in"):
            refuse_account(session)
            changes = self._accounts.changes(account.name)
            await self.recall_labels()
            for each in session.person.rooms if session.person is not None else ():
                if len(self._directory.rooms_of(account.id)) < self._limits.max_joined:
                    await self._become_member(session, account, each)
            await self._past.wake(self._lobby)
            points = dict(session.resume or {})
            question = self._past.question(points, (self._lobby,), account, is_news=True)
            findings = await self._store.ask(question)
            # No await between this and telling the session: it hears what is delivered from now on.
            if session.has_ended:
                return
            if self._accounts.changes(account.name) != changes:
                raise Refusal(
                    "wrong-password", "the password has just been changed; use the new one"
                )
            person = self._directory.here(account.name)
            if person is None or person.account is None:
                person = Person(account)
            resumed = self._past.resumed(points, (self._lobby,), findings, person)
            session.resumed(*resumed)
            guest = session.person
            were_in: Sequence[Room] = (self._lobby,)
            if guest is None:
                self._here.come(session, person)
                lobby = resumed.pop(LOBBY, None)
                self._showing.come_back(session, person, self._entrance(person, lobby), findings)
                if lobby is not None:
                    view = session.views[self._lobby]
                    view.is_whole = has_no_hole(view, lobby, points[LOBBY])
            else:
                self._leave_others(session, guest, account)
                were_in = guest.rooms
                room = room if self._shared.rooms[room] in were_in else LOBBY
                was_here = self._here.become(session, person)
                self._showing.come_back(
                    session, person, (self._welcome(person, room),), findings, were_in
                )
                if was_here:
                    self._here.bid_farewell(session, guest.name, were_in)
            apart = [r for r in person.rooms if r.name in points and r not in were_in]
            for each in apart:
                each.remove(session)
            for place, history in resumed.items():
                self._showing.show(session, place, history, points[place])
            self._showing.show_unread(session, account, findings.unread)
            await self._showing.resume_apart(session, apart, points)

    async def come_as_guest(self, session: Session, hold: Hold) -> None:
        """Let a session in as a guest.

        @param hold: on the guest's name. It is released if the session does not get in.
        @raise Refusal: C{already-logged-in}, C{busy}, C{unavailable}, C{closed}.
        """
        with hold, self._operation(session, "come as guest"):
            if session.person is not None:
                raise already_in(session.person)
            await self.recall_labels()
            await self._past.wake(self._lobby)
            points = dict(session.resume or {})
            findings = Findings()
            if LOBBY in points:
                question = self._past.question(points, (self._lobby,), None)
                findings = await self._store.ask(question)
            if session.has_ended:
                return
            person = self._directory.here(hold.name) or Person(hold)
            person.keep(hold)  # it may be with the node of the session whose place this one takes
            resumed = self._past.resumed(points, (self._lobby,), findings, person)
            session.resumed(*resumed)
            self._here.come(session, person)
            session.answer(*self._entrance(person, resumed.get(LOBBY)))

    async def rename_guest(self, session: Session, raw: str) -> None:
        """Give a guest another name.

        @raise Refusal: C{not-logged-in}, C{busy}, C{forbidden} for an account or after too many
            names, or as L{Accounts.hold}.
        """
        with self._operation(session, "rename"):
            guest = _person(session)
            if guest.account is not None:
                raise Refusal("forbidden", "registered names can't be changed", "be-somebody-else")
            if session.renamed >= self._limits.max_names:
                sentence = (
                    f"you have used {session.renamed} names, and no more are allowed; keep this one"
                )
                raise Refusal("forbidden", sentence, limit=self._limits.max_names)
            with await self._accounts.hold(raw, mine=guest.hold, session=session) as hold:
                if session.has_ended:
                    return
                session.renamed += 1
                self._here.rename(session, Person(hold))

    def end_session(self, session: Session) -> None:
        """End a session. It is told nothing more, and its operations come to nothing.

        Its person stays until what the session has in flight has landed, so that nobody is told of
        their leaving before their last words. C{Session.over} is called then, or now if nothing
        is in flight. May be called at any time, and again.
        """
        if not session.has_ended:
            self._here.end(session)

    def end_others(self, session: Session, name: str, farewell: str) -> int:
        """End all sessions of an account but one, which may have ended itself.

        @return: the number of sessions that were ended.
        """
        person = self._directory.here(name)
        others = [s for s in person.sessions if s is not session] if person is not None else []
        for other in others:
            if other.face is not None:
                other.face.hang_up(farewell)
        return len(others)

    def _end_sessions(self, name: str, farewell: str) -> None:
        person = self._directory.here(name)
        if person is not None and person.is_account:
            hang_up(person, farewell)

    def take_over(self, digest: str) -> None:
        """Have another node end the session that has a token.

        @param digest: of the token; see L{TakenOver}.
        """
        self._store.announce(TakenOver(digest))

    async def since(self, session: Session, places: Mapping[str, int]) -> int:
        """Resume after what the client has from an earlier session: show what came after it.

        What came in a room that the session's person is not in is shown when the session joins it.
        Before login, everything is shown at login. If some private message was not shown to the
        session, the unread ones of all other conversations are shown too.

        @param places: the last C{seq} that the client has of rooms, and of private conversations:
            C{@name}.
        @return: the number of entries that were shown.
        @raise Refusal: C{busy}, C{full}, C{unavailable}, C{closed}, and C{forbidden} for the
            private messages of a guest.
        """
        with self._operation(session, "resume"):
            due = {place: at for place, at in places.items() if _is_due(session, place)}
            later = {place: at for place, at in places.items() if place not in due}
            if later:
                known = session.resume or {}
                most = self._limits.max_joined
                if len(known.keys() | later) > 2 * most + 2:
                    sentence = f"you can be in {most} rooms at most; resume in fewer"
                    raise Refusal("full", sentence, limit=most)
                session.resume = {**known, **later}
            if not due:
                return 0
            return await self._showing.resume(session, due)

    # Reading

    def seen(self, session: Session) -> None:
        """Note that a session has sent something; see L{Marks.seen}."""
        self._marks.seen(session)

    async def read(self, session: Session, of: str, seq: int | None = None) -> None:
        """Note that the session's person has read a place. If it says up to which entry, nothing
        else that the session does counts as reading from now on.

        @param of: the name of a room, or that of a person behind an C{@}.
        @param seq: up to this entry; L{None}: up to the newest.
        @raise Refusal: C{not-logged-in}, C{busy}, C{no-such-room}, C{not-in-room},
            C{no-such-person}, C{unavailable}, C{closed}, and C{forbidden} for a private
            conversation with or of a guest.
        """
        is_private = of.startswith(DIRECT)
        with self._operation(session, "read privately" if is_private else "read room"):
            if is_private:
                await self._read_privately(session, of.removeprefix(DIRECT), seq)
            else:
                room = self._room(session, "read room", of)
                newest = room.last_seq
                self._marks.mark_room(session, room, newest if seq is None else min(seq, newest))
            session.marks_itself |= seq is not None

    async def _read_privately(self, session: Session, raw: str, seq: int | None) -> None:
        mine, other = await self._parties(session, raw)
        found = await self._store.find_conversation(mine.id, other.id)
        newest = await self._store.history(found.id, 1) if found is not None else ()
        if newest:
            last = newest[-1].seq
            seq = last if seq is None else min(seq, last)
            self._marks.mark_conversation(session, newest[-1].room, seq)

    # Rooms

    async def join(self, session: Session, raw: str) -> int:
        """Join a room, making it if there is none of this name; show the room to a session that was
        not shown it yet. An account becomes a member, with all of its sessions.

        @return: the number of messages and people that this showed, which is at least one; 0 if
            the session was shown the room before.
        @raise Refusal: C{not-logged-in}, C{busy}, C{bad-name}, C{full}, C{throttled},
            C{unavailable}, C{closed}, and C{not-in-room} if the account ceases to be a member
            meanwhile.
        """
        with self._operation(session, "join"):
            name = names.room(raw)
            person = _person(session)
            room = self._directory.get(name)
            if room is not None:
                policy.may(person, "join", room)
                if room in person.rooms and self._showing.has_entered(session, room):
                    return 0
            most = self._limits.max_joined
            if room not in person.rooms and len(person.rooms) >= most:
                in_now = len(person.rooms)
                sentence = f"you are in {in_now} rooms, and no more are allowed; leave one first"
                raise Refusal("full", sentence, limit=most)
            if room is None:
                room = await self._make_room(session, name)
            if person.account is not None:
                await self._become_member(session, person.account, room)
            return await self._showing.show_room(session, room)

    async def leave(self, session: Session, raw: str) -> None:
        """Leave a room. An account ceases to be a member, with all of its sessions.

        @raise Refusal: C{not-logged-in}, C{busy}, C{no-such-room}, C{not-in-room}, C{unavailable},
            C{closed}, and C{forbidden} for the lobby.
        """
        with self._operation(session, "leave"):
            room = self._room(session, "leave", raw)
            if room is self._lobby:
                raise Refusal("forbidden", "nobody can leave the lobby", "end-session")
            person = _person(session)
            if person.account is not None:
                await self._posting.stand(session, person.account, room, None)
            else:
                self._here.leave(session, room)

    def room_of(self, session: Session, raw: str) -> str:
        """The canonical name of a room that the session's person is in.

        @raise Refusal: C{not-logged-in}, C{busy}, C{no-such-room}, C{not-in-room}.
        """
        self._ask(session, "go to")
        return self._room(session, "go to", raw).name

    async def where(self, session: Session) -> tuple[Place, ...]:
        """The rooms that the session's person is in, with what is new there.

        @raise Refusal: C{not-logged-in}, C{busy}, C{unavailable}, C{closed}.
        """
        with self._operation(session, "see rooms"):
            account = _person(session).account
            news = await self._past.news(account) if account is not None else ()
            person = session.person
            return self._past.places(person, news) if person is not None else ()

    async def set_topic(self, session: Session, raw: str, text: str) -> None:
        """Set the topic of a room; empty for none.

        @raise Refusal: C{not-logged-in}, C{busy}, C{no-such-room}, C{not-in-room}, C{too-long},
            C{bad-encoding}, C{unavailable}, C{closed}.
        """
        with self._operation(session, "set topic"):
            room = self._room(session, "set topic", raw)
            topic = clean(text).strip()
            most = self._limits.max_topic
            if len(topic) > most:
                raise Refusal("too-long", f"a topic may have at most {most} characters", limit=most)
            by = _person(session)
            await self._posting.commit(
                session, Post(room.record, TOPIC, by.id, by.name, self._now(), topic)
            )

    # Talking

    def say(
        self, session: Session, raw: str, text: str, *, action: bool = False, label: str = ""
    ) -> None:
        """Say something in a room.

        @param action: it tells what they do, not what they say.
        @param label: as in L{Post}. The same label again, if it is long enough to be remembered,
            is answered as the first time, and nothing is said.
        @raise Refusal: C{not-logged-in}, C{busy}, C{no-such-room}, C{not-in-room},
            C{bad-encoding}, C{too-long}, C{bad-arguments} if there is nothing in it to say.
        """
        self._ask(session, "say")
        if label and self._posting.is_repeated(session, label):
            return
        record = self._room(session, "say", raw).record
        by = _person(session)
        kind = ACTION if action else SAID
        text = self._sayable(text)
        post = Post(record, kind, by.id, by.name, self._now(), text, None, label)
        self._posting.append(session, post)

    async def direct(self, session: Session, raw: str, text: str, *, label: str = "") -> None:
        """Say something to one person, who is here or registered.

        @param label: as in L{say}.
        @raise Refusal: C{not-logged-in}, C{busy}, C{no-such-person}, C{bad-encoding}, C{too-long},
            C{bad-arguments} if there is nothing in it to say, C{unavailable}, C{closed}.
        """
        with self._operation(session, "write privately"):
            await self._direct(session, raw, text, label)

    async def reply(self, session: Session, text: str, *, label: str = "") -> str:
        """Say something to the person who wrote to this session in private last.

        @param label: as in L{say}.
        @return: their name; empty if the label says that it was said before.
        @raise Refusal: C{no-such-person}, or as L{direct}.
        """
        with self._operation(session, "write privately"):
            if label and self._posting.is_repeated(session, label):
                return ""
            wrote = session.wrote
            if isinstance(wrote, Session):
                wrote = wrote.person.name if wrote.person is not None else ""
            elif isinstance(wrote, Person):
                wrote = wrote.name if self._directory.here(wrote.name) is wrote else ""
            if not wrote:
                sentence = (
                    "nobody has written to you in private yet"
                    if wrote is None
                    else "the guest who wrote to you last has left"
                )
                raise Refusal("no-such-person", sentence, "write-privately")
            await self._direct(session, wrote, text, label)
            return wrote

    # Queries

    def users(self, session: Session, raw: str) -> Users:
        """The people in a room.

        @raise Refusal: C{not-logged-in}, C{busy}, C{no-such-room}.
        """
        self._ask(session, "see people")
        room = self._room(session, "see people", raw)
        return self._directory.users(room, _person(session))

    def rooms(self, session: Session) -> Rooms:
        """All rooms, those with the most people first.

        @raise Refusal: C{not-logged-in}, C{busy}.
        """
        self._ask(session, "see rooms")
        return self._directory.rooms()

    def whois(self, session: Session, raw: str) -> Whois | None:
        """Somebody who is here, and the rooms that they are in; L{None} if nobody of this name is
        here.

        @raise Refusal: C{not-logged-in}, C{busy}.
        """
        self._ask(session, "see people")
        return self._directory.whois(raw)

    def topic(self, session: Session, raw: str) -> Topic:
        """The topic of a room.

        @raise Refusal: C{not-logged-in}, C{busy}, C{no-such-room}.
        """
        self._ask(session, "see topic")
        return self._directory.topic(self._room(session, "see topic", raw))

    async def history(self, session: Session, of: str, count: int | None = None) -> History:
        """The last messages of a room, or the last private ones with a person.

        @param of: the name of a room, or that of a person behind an C{@}.
        @param count: how many at most; L{None} for the default.
        @raise Refusal: C{not-logged-in}, C{busy}, C{bad-arguments}, C{no-such-room},
            C{not-in-room}, C{no-such-person}, C{unavailable}, C{closed}, and C{forbidden} if either
            person is a guest.
        """
        is_private = of.startswith(DIRECT)
        with self._operation(session, "read privately" if is_private else "read room"):
            person = _person(session)
            count = self._past.count(count)
            if not is_private:
                room = self._room(session, "read room", of)
                return await self._past.room(room, count, person)
            mine, other = await self._parties(session, of.removeprefix(DIRECT))
            return await self._past.conversation(mine, other, count)

    # Asking

    def _ask(self, session: Session, action: Action) -> None:
        """Refuse what a session may not do at all, or not now."""
        policy.may(session.person, action)
        session.begin()

    @contextmanager
    def _operation(self, session: Session, action: Action) -> Iterator[None]:
        """Around an operation: refuse what a session may not do, and all else until its end."""
        policy.may(session.person, action)
        with session.operation():
            yield

    def _room(self, session: Session, action: Action, raw: str) -> Room:
        """The room of a name as it was typed, if the session may do something there."""
        room = self._directory.room(raw)
        policy.may(session.person, action, room)
        return room

    # Posting

    async def _direct(self, session: Session, raw: str, text: str, label: str) -> None:
        if label and self._posting.is_repeated(session, label):
            return
        text = self._sayable(text)
        recipient = await self._directory.person(raw)
        if session.has_ended:
            return
        by, now = _person(session), self._now()
        post: Post | Aside
        if by.account is not None and recipient.account is not None:
            record = conversation(by.account, recipient.account)
            post = Post(record, SAID, by.id, by.name, now, text, None, label)
        else:
            to = recipient.id, recipient.name, recipient.key
            post = Aside(by.id, by.name, *to, now, text, label)
        if not (
            label and self._posting.is_repeated(session, label)
        ):  # by another session meanwhile
            self._posting.append(session, post)

    async def _parties(self, session: Session, raw: str) -> tuple[Account, Account]:
        """The accounts of a private conversation: the session's and that of a name as it was typed.

        @raise Refusal: C{forbidden} if either is a guest, or as L{Directory.person}.
        """
        mine = _person(session).account
        if mine is None:
            raise _not_kept("register")
        other = await self._directory.person(raw)
        if other.account is None:
            raise _not_kept()
        return mine, other.account

    def _sayable(self, text: str) -> str:
        text = clean(text)
        if not text:
            raise Refusal("bad-arguments", "that message is empty")
        most = self._limits.max_message
        if len(text) > most:
            sentence = f"a message may have at most {most} characters; that one has {len(text)}"
            raise Refusal("too-long", sentence, limit=most)
        return text

    # Being here

    def _entrance(self, person: Person, missed: History | None) -> tuple[Event, ...]:
        """What a session is shown that comes in.

        @param missed: what to show of the lobby; L{None} for the last messages.
        """
        motd = (Motd(self._now(), tuple(self.motd)),) if self.motd else ()
        lobby = self._past.entrance(person, self._lobby, missed)
        return (self._welcome(person, LOBBY), *motd, *lobby)

    def _welcome(self, person: Person, room: str) -> Welcome:
        others = len(self._shared.rooms[room].people) - 1
        return Welcome(self._now(), person.name, person.is_account, room, others)

    def _leave_others(self, session: Session, guest: Person, account: Account) -> None:
        """Have a guest leave the rooms that an account is no member of: it may be in no more, or
        has left them meanwhile in another session."""
        for room in guest.rooms:
            if not room.has_member(account.id):
                self._here.leave(session, room)
                if session.face is not None:
                    session.face.put_out(room.name)

    # Rooms

    async def _become_member(self, session: Session, account: Account, room: Room) -> None:
        """Make the account of a session a member of a room, if it is none.

        @raise Refusal: C{unavailable}, C{closed}.
        """
        if not room.has_member(account.id):
            await self._past.wake(room)  # first, as it can be refused
        if not (room.has_member(account.id) or session.has_ended):
            await self._posting.stand(session, account, room, "member")

    async def _make_room(self, session: Session, name: str) -> Room:
        """Make a room, which belongs to the account of the session, or find that somebody else has
        just made it.

        @raise Refusal: C{bad-name}, C{full}, C{throttled}, C{unavailable}, C{closed}.
        """
        skeleton = names.skeleton(name)
        self._directory.refuse_look_alike(name, skeleton)
        if len(self._directory) + self._rooms_in_making >= self._limits.max_rooms:
            sentence = "no more rooms can be made; join an existing one"
            raise Refusal("full", sentence, limit=self._limits.max_rooms)
        self._guard.before_room(session.source)
        by = _person(session)
        record = RoomRecord(0, "public", name)
        self._rooms_in_making += 1
        try:
            await self._posting.commit(
                session, Post(record, CREATED, by.id, by.name, self._now(), "")
            )
        finally:
            self._rooms_in_making -= 1
        # Somebody else may have made it, or one that looks like it, in the meantime.
        self._directory.refuse_look_alike(name, skeleton)
        return self._shared.rooms[name]


def refuse_account(session: Session) -> None:
    """Refuse a login, or a registration, of a session that is logged in to an account.

    @raise Refusal: C{already-logged-in}.
    """
    if session.person is not None and session.person.account is not None:
        raise already_in(session.person)


def already_in(person: Person) -> Refusal:
    """Make the refusal for somebody who logs in, registers or comes as a guest once more."""
    sentence = f"you are already logged in as {person.name}"
    return Refusal("already-logged-in", sentence, "be-somebody-else", name=person.name)


def _person(session: Session) -> Person:
    """The person of a session that may do something."""
    assert session.person is not None
    return session.person


def _is_due(session: Session, place: str) -> bool:
    """Whether what came after a resume point must be shown at once.

    @raise Refusal: C{forbidden} for a private conversation of a guest.
    """
    person = session.person
    if person is None:
        return False
    if place.startswith(DIRECT):
        if person.account is None:
            raise _not_kept("register")
        return True
    return any(room.name == place for room in person.rooms)


def _not_kept(way: Way | None = None) -> Refusal:
    sentence = "private messages to or from a guest are not kept"
    return Refusal("forbidden", sentence, way)
