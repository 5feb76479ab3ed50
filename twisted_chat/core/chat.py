"""The operations of chat. Each asks whether its session may, checks, appends to the log or changes
what is here, and has it told."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count

from . import names, policy
from .accounts import Accounts
from .directory import Directory, Whois
from .errors import Refusal, Way
from .events import (
    Back,
    Event,
    History,
    Joined,
    Left,
    Motd,
    Omitted,
    Place,
    Read,
    Renamed,
    Rooms,
    Told,
    Topic,
    Users,
    Welcome,
)
from .feed import Awaited, Feed, Flight
from .guard import Guard
from .labels import WINDOW, Labels, author
from .limits import Limits
from .model import (
    ACTION,
    CREATED,
    MEMBER,
    SAID,
    TOPIC,
    Account,
    Aside,
    Entry,
    Findings,
    Post,
    Question,
    Role,
    RoomRecord,
    RoomState,
    Standing,
    Stored,
    conversation,
)
from .past import DIRECT, LISTED, Past
from .people import Hold, Person, Session, View
from .policy import Action
from .ports import FanOut, Store, Turn
from .room import LOBBY, Room, Shared
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

    Where an operation may raise C{internal}, the store cannot be used at the moment; after it was
    closed, the code is C{closed} instead.
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
        @param failed: called for each entry that cannot be applied, while the exception is being
            handled.
        @param motd: the lines of the message of the day, which is told at login.
        """
        self.motd = motd
        self._store = store
        self._accounts = accounts
        self._guard = guard
        self._limits = limits
        self._now = now
        self._turn = turn
        self._shared = Shared(now, later, fan_out, {}, {})
        self._people = self._shared.people
        self._directory = Directory(store, self._shared)
        self._past = Past(store, limits, now)
        self._labels = Labels(now)
        self._knows_labels = False  # those from before the start
        self._feed = Feed(self._shared, self._directory, self._labels, self._landed, failed)
        self._numbers = count(1)
        self._rooms_in_making = 0
        self._leaving: dict[Session, Person] = {}  # sessions that ended with posts in flight
        self._is_closing = False

    def open(self, states: Iterable[RoomState]) -> None:
        """Take up the rooms as the log has made them. The lobby is one of them."""
        for state in states:
            self._directory.open(state)
        self._lobby = self._directory.lobby

    def states(self) -> Sequence[RoomState]:
        """The rooms as the entries so far have made them."""
        return [room.state for room in self._directory]

    async def recall_labels(self) -> None:
        """Take up the labels that were used lately from the log. Called at the start, so that the
        first login need not wait; while that has not worked, each login tries it again.

        @raise Refusal: C{internal}, C{closed}.
        """
        if self._knows_labels:
            return
        for entry in await self._store.labels(self._now() - WINDOW):
            self._labels.keep(entry)
        self._knows_labels = True

    def deliver(self, batch: Sequence[tuple[int, Stored]]) -> None:
        """Apply and tell what was just committed; see L{Feed.deliver}."""
        self._feed.deliver(batch)

    def lose(self, numbers: Sequence[int]) -> None:
        """Tell the authors of posts that could not be kept; see L{Feed.lose}."""
        self._feed.lose(numbers)

    def forget(self, before: int) -> None:
        """Drop messages older than this time, which the log does not have any more."""
        for room in self._directory:
            room.forget(before)

    def close(self) -> None:
        """Tell nobody from now on who leaves: the server is going down, and all sessions end."""
        self._is_closing = True

    # Coming and going

    async def log_in(self, session: Session, account: Account, *, room: str = LOBBY) -> None:
        """Log a session in to an account: it is back in the account's rooms, and is shown what came
        while the account was away.

        A guest becomes the account, which becomes a member of the guest's rooms.

        @param room: the room that a guest who becomes the account is welcomed in.
        @raise Refusal: C{already-logged-in}, C{busy}, C{internal}, C{closed}, and C{wrong-password}
            if the password was changed meanwhile.
        """
        with self._operation(session, "log in"):
            refuse_account(session)
            changes = self._accounts.changes(account.name)
            await self.recall_labels()
            for each in session.person.rooms if session.person is not None else ():
                if not each.has_member(account.id):
                    await self._stand(session, account, each, account, "member")
            await self._past.wake(self._lobby)
            points = session.resume or {}
            question = self._question(points, account)
            findings = await self._store.ask(question)
            # No await from here on: what is delivered after the question goes to the session.
            if session.has_ended:
                return
            if self._accounts.changes(account.name) != changes:
                raise Refusal(
                    "wrong-password", "the password has just been changed; use the new one"
                )
            person = self._directory.here(account.name)
            if person is None or person.account is None:
                person = self._people[account.name] = Person(account)
            resumed = self._resumed(person, points, question, findings)
            session.resumed(*resumed)
            self._enter(session, person, resumed.pop(LOBBY, None), room)
            self._come_back(session, account, findings, resumed)

    async def come_as_guest(self, session: Session, hold: Hold) -> None:
        """Let a session in as a guest.

        @param hold: on the guest's name. It is released if the session does not get in.
        @raise Refusal: C{already-logged-in}, C{busy}, C{internal}, C{closed}.
        """
        with hold, self._operation(session, "come as guest"):
            if session.person is not None:
                raise already_in(session.person)
            await self.recall_labels()
            await self._past.wake(self._lobby)
            point = session.resume_point(LOBBY)
            missed: Sequence[Entry] = ()
            if point is not None:
                lobby = self._lobby.record.id
                question = Question(self._past.limit, rooms={lobby: point})
                missed = (await self._store.ask(question)).rooms.get(lobby, ())
            if session.has_ended:
                return
            person = self._people[hold.name] = Person(hold)
            history = None
            if point is not None:
                session.resumed(LOBBY)
                history = self._past.resumed_room(self._lobby, missed, point, person)
            self._enter(session, person, history, LOBBY)

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
            with await self._accounts.hold(raw, mine=guest.hold) as hold:
                if session.has_ended:
                    return
                session.renamed += 1
                person = Person(hold)
                self._rename(session, guest, person)
                self._people[person.name] = person

    def end_session(self, session: Session) -> None:
        """End a session. It is told nothing more, and its operations come to nothing.

        Its person stays until what the session has in flight has landed, so that nobody is told of
        their leaving before their last words. C{Session.over} is called then, or now if nothing
        is in flight. May be called at any time, and again.
        """
        if session.has_ended:
            return
        session.has_ended = True
        session.wrote = None
        person, session.person = session.person, None
        if person is not None:
            person.sessions = tuple(s for s in person.sessions if s is not session)
            person.leaving += 1
            for room in person.rooms:
                room.remove(session)
            self._leaving[session] = person
        if not session.in_flight:
            self._end(session)

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

    async def since(self, session: Session, places: Mapping[str, int]) -> int:
        """Resume after what the client has from an earlier session: show what came after it.

        What came in a room that the session's person is not in is shown when the session joins it.
        Before login, everything is shown at login.

        @param places: the last C{seq} that the client has of rooms, and of private conversations:
            C{@name}.
        @return: the number of entries that were shown.
        @raise Refusal: C{busy}, C{full}, C{internal}, C{closed}, and C{forbidden} for the private
            messages of a guest.
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
            person = _person(session)
            question = self._question(due, person.account, is_news=False, person=person)
            findings = await self._store.ask(question)
            if session.has_ended:
                return 0
            resumed = self._resumed(person, due, question, findings)
            for place, history in resumed.items():
                self._show(session, place, history)
            return sum(len(history.shown) for history in resumed.values())

    # Reading

    def seen(self, session: Session) -> None:
        """Note that a session has sent something: if its peer has taken all that it was sent
        before, the messages that it was shown count as read. Not if the session says by itself
        what it has read."""
        if session.marks_itself or not (session.views or session.shown):
            return
        self._look_for_gaps(session)
        due = [
            (room, view)
            for room, view in session.views.items()
            if view.is_whole and view.read < room.last_seq
        ]
        if not (due or session.shown) or session.person is None or not session.outbox.is_taken:
            return
        for room, _ in due:
            self._mark(session, room.record.id, room.name, room.last_seq)
        shown, session.shown = session.shown, {}
        for entry in shown.values():
            self._mark(session, entry.room.id, f"{DIRECT}{entry.author}", entry.seq)

    async def read(self, session: Session, of: str, seq: int | None = None) -> None:
        """Note that the session's person has read a place. From now on nothing else that the
        session does counts as reading.

        @param of: the name of a room, or that of a person behind an C{@}.
        @param seq: up to this entry; L{None}: up to the newest.
        @raise Refusal: C{not-logged-in}, C{busy}, C{no-such-room}, C{not-in-room},
            C{no-such-person}, C{internal}, C{closed}, and C{forbidden} for a private conversation
            with or of a guest.
        """
        is_private = of.startswith(DIRECT)
        with self._operation(session, "read privately" if is_private else "read room"):
            if is_private:
                await self._read_privately(session, of.removeprefix(DIRECT), seq)
            else:
                room = self._room(session, "read room", of)
                if _person(session).account is not None:
                    newest = room.last_seq
                    seq = newest if seq is None else min(seq, newest)
                    self._mark(session, room.record.id, room.name, seq)
            session.marks_itself = True

    async def _read_privately(self, session: Session, raw: str, seq: int | None) -> None:
        mine, other = await self._parties(session, raw)
        found = await self._store.find_conversation(mine.id, other.id)
        newest = await self._store.history(found.id, 1) if found is not None else ()
        if newest and not session.has_ended:
            last = newest[-1].seq
            seq = last if seq is None else min(seq, last)
            self._mark(session, newest[-1].room.id, f"{DIRECT}{other.name}", seq)

    def _mark(self, session: Session, room_id: int, of: str, seq: int) -> None:
        """Mark a place as read up to an entry, and tell the other sessions of the account."""
        person = _person(session)
        assert person.account is not None
        self._store.mark_read(person.account.id, room_id, seq)
        room = None if of.startswith(DIRECT) else self._shared.rooms[of]
        told = Read(self._now(), of, seq)
        for each in person.sessions:
            view = each.views.get(room) if room is not None else None
            if room is not None and view is not None:
                view.read = max(view.read, seq)
                view.is_whole |= seq >= room.last_seq
            if each is not session:
                each.tell(told)

    def _look_for_gaps(self, session: Session) -> None:
        """If the session was not shown something, it counts as shown no room without a hole."""
        skips = session.outbox.skips
        if skips != session.skips:
            session.skips = skips
            for view in session.views.values():
                view.is_whole = view.is_entered = False

    # Rooms

    async def join(self, session: Session, raw: str) -> int:
        """Join a room, making it if there is none of this name; show the room to a session that was
        not shown it yet. An account becomes a member, with all of its sessions.

        @return: the number of messages and people that this showed, which is at least one; 0 if
            the session was shown the room before.
        @raise Refusal: C{not-logged-in}, C{busy}, C{bad-name}, C{full}, C{throttled}, C{internal},
            C{closed}.
        """
        with self._operation(session, "join"):
            name = names.room(raw)
            person = _person(session)
            room = self._directory.get(name)
            if room is not None:
                policy.may(person, "join", room)
                if room in person.rooms and self._has_entered(session, room):
                    return 0
            role: Role = "member"
            most = self._limits.max_joined
            if room not in person.rooms and len(person.rooms) >= most:
                in_now = len(person.rooms)
                sentence = f"you are in {in_now} rooms, and no more are allowed; leave one first"
                raise Refusal("full", sentence, limit=most)
            if room is None:
                room, is_made = await self._make_room(session, name)
                role = "owner" if is_made else "member"
            account = person.account
            is_new = room not in person.rooms
            if account is not None and not room.has_member(account.id):
                await self._past.wake(room)
                await self._stand(session, account, room, account, role)
            return await self._show_room(session, room, is_new=is_new)

    async def leave(self, session: Session, raw: str) -> None:
        """Leave a room. An account ceases to be a member, with all of its sessions.

        @raise Refusal: C{not-logged-in}, C{busy}, C{no-such-room}, C{not-in-room}, C{internal},
            C{closed}, and C{forbidden} for the lobby.
        """
        with self._operation(session, "leave"):
            room = self._room(session, "leave", raw)
            if room is self._lobby:
                raise Refusal("forbidden", "nobody can leave the lobby", "end-session")
            person = _person(session)
            if person.account is not None:
                await self._stand(session, person.account, room, person.account, None)
            else:
                room.exit(person)
                room.went(person.name)
            session.answer(Left(self._now(), room.name, (person.name,)))

    def room_of(self, session: Session, raw: str) -> str:
        """The canonical name of a room that the session's person is in.

        @raise Refusal: C{not-logged-in}, C{busy}, C{no-such-room}, C{not-in-room}.
        """
        self._ask(session, "go to")
        return self._room(session, "go to", raw).name

    async def where(self, session: Session) -> tuple[Place, ...]:
        """The rooms that the session's person is in, with what is new there.

        @raise Refusal: C{not-logged-in}, C{busy}, C{internal}, C{closed}.
        """
        with self._operation(session, "see rooms"):
            account = _person(session).account
            findings = Findings()
            if account is not None:
                findings = await self._store.ask(Question(self._past.limit, account.id))
            person = session.person
            return self._past.places(person, findings.news) if person is not None else ()

    async def set_topic(self, session: Session, raw: str, text: str) -> None:
        """Set the topic of a room; empty for none.

        @raise Refusal: C{not-logged-in}, C{busy}, C{no-such-room}, C{not-in-room}, C{too-long},
            C{bad-encoding}, C{internal}, C{closed}.
        """
        with self._operation(session, "set topic"):
            room = self._room(session, "set topic", raw)
            topic = clean(text).strip()
            most = self._limits.max_topic
            if len(topic) > most:
                raise Refusal("too-long", f"a topic may have at most {most} characters", limit=most)
            by = _person(session)
            await self._commit(
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
        if label and self._is_repeated(session, label):
            return
        record = self._room(session, "say", raw).record
        by = _person(session)
        kind = ACTION if action else SAID
        text = self._sayable(text)
        post = Post(record, kind, by.id, by.name, self._now(), text, None, label)
        self._append(session, post)

    async def direct(self, session: Session, raw: str, text: str, *, label: str = "") -> None:
        """Say something to one person, who is here or registered.

        @param label: as in L{say}.
        @raise Refusal: C{not-logged-in}, C{busy}, C{no-such-person}, C{bad-encoding}, C{too-long},
            C{bad-arguments} if there is nothing in it to say, C{internal}, C{closed}.
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
            if label and self._is_repeated(session, label):
                return ""
            wrote = session.wrote
            if isinstance(wrote, Session):
                wrote = wrote.person.name if wrote.person is not None else ""
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
            C{not-in-room}, C{no-such-person}, C{internal}, C{closed}, and C{forbidden} if either
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
        if label and self._is_repeated(session, label):
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
        if not (label and self._is_repeated(session, label)):  # by another session meanwhile
            self._append(session, post)

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

    def _append(self, session: Session, post: Post | Aside, awaited: Awaited | None = None) -> None:
        whose = author(post)
        if post.label:
            self._labels.begin(whose, post.label)
        number = next(self._numbers)
        self._feed.flights[number] = Flight(session, whose, post.label, awaited)
        session.in_flight += 1
        self._store.append(post, number)

    async def _commit(self, session: Session, post: Post) -> Stored:
        """Post something, and wait until it is applied.

        @return: what the store has made of it.
        @raise Refusal: C{internal} if it could not be kept.
        """
        awaited = Awaited(self._turn())
        self._append(session, post, awaited)
        await awaited.turn
        if awaited.is_lost:
            raise Refusal(
                "internal",
                "the server can't write to its database right now, so nothing was changed; try"
                " again later",
            )
        return awaited.stored

    async def _stand(
        self, session: Session, by: Account, room: Room, account: Account, role: Role | None
    ) -> None:
        """Make an account something in a room; L{None}: no member.

        @raise Refusal: as L{_commit}.
        """
        text = Standing(account, role).encode()
        await self._commit(session, Post(room.record, MEMBER, by.id, by.name, self._now(), text))

    def _is_repeated(self, session: Session, label: str) -> bool:
        """Whether the author has posted with this label before. If so, the session is told what
        came of it, now or when it lands."""
        by = _person(session)
        labelled = self._labels.find(by.id if by.id is not None else by.name, label)
        if labelled is None:
            return False
        if labelled.done is not None:
            session.tell(self._labels.again(labelled.done))
        else:
            session.in_flight += 1
            labelled.waiting.append(session)
        return True

    def _sayable(self, text: str) -> str:
        text = clean(text)
        if not text:
            raise Refusal("bad-arguments", "that message is empty")
        most = self._limits.max_message
        if len(text) > most:
            sentence = f"a message may have at most {most} characters; that one has {len(text)}"
            raise Refusal("too-long", sentence, limit=most)
        return text

    def _landed(self, session: Session) -> None:
        """Some of the posts of a session have landed. If it has ended, it may be over now."""
        had_ended = session.has_ended
        session.landed()
        if had_ended and session.is_over:
            self._end(session)

    # Being here

    def _enter(self, session: Session, person: Person, missed: History | None, room: str) -> None:
        """Put a session into the rooms of this person, or make the guest that it is become them.

        @param missed: what to show of the lobby; L{None} for the last messages.
        @param room: the room that a guest is welcomed in.
        """
        guest = session.person
        if guest is not None:
            self._become(session, guest, person, room)
            return
        self._be(session, person)
        motd = (Motd(self._now(), tuple(self.motd)),) if self.motd else ()
        session.answer(
            self._welcome(person, LOBBY),
            *motd,
            *self._past.entrance(person, self._lobby, missed),
        )

    def _be(self, session: Session, person: Person) -> None:
        """Give a session to somebody, and put both into the rooms that are theirs."""
        session.person = person
        person.sessions += (session,)
        self._put_into_rooms(person)
        for room in person.rooms:
            room.add(session)

    def _put_into_rooms(self, person: Person) -> None:
        """Put somebody into the rooms that they are members of, and tell the others there."""
        account = person.account
        rooms = (self._lobby,) if account is None else self._directory.rooms_of(account.id)
        for room in rooms:
            if room not in person.rooms:
                room.enter(person)

    def _welcome(self, person: Person, room: str) -> Welcome:
        others = len(self._shared.rooms[room].people) - 1
        return Welcome(self._now(), person.name, person.is_account, room, others)

    def _become(self, session: Session, guest: Person, account: Person, room: str) -> None:
        """Make a guest an account, which may be here already and is a member of their rooms."""
        was_here = account in self._lobby.people
        rooms = guest.rooms
        if was_here:
            self._pass_on(session, guest, account)
        else:
            self._rename(session, guest, account)
        self._put_into_rooms(account)
        for each in account.rooms:
            each.add(session)
        session.answer(self._welcome(account, room))
        if was_here and not self._gone(guest.name, rooms):
            session.answer(Left(self._now(), LOBBY, (guest.name,)))  # it was shown as here
            for each in rooms:  # so that the next guest of the name is news
                each.show(account)

    def _rename(self, session: Session, guest: Person, person: Person) -> None:
        """Make a guest somebody who was not here."""
        if person.name != guest.name:
            for room in self._directory:
                room.settle(guest.name, person.name)
        self._pass_on(session, guest, person)
        self._lobby.tell(Renamed(self._now(), guest.name, person.name, person.is_account))

    def _pass_on(self, session: Session, guest: Person, person: Person) -> None:
        """Give the session of a guest to somebody else, so that the guest has left."""
        for room in guest.rooms:
            room.pass_on(guest, person)
            room.add(session)
        guest.sessions = ()
        person.sessions += (session,)
        session.person = person
        self._forget(guest)

    def _end(self, session: Session) -> None:
        """Take out an ended session of which nothing is in flight, and its person with the last."""
        person = self._leaving.pop(session, None)
        if person is not None:
            person.leaving -= 1
            if not (person.sessions or person.leaving):
                rooms = person.rooms
                for room in rooms:
                    room.exit(person)
                self._forget(person)
                if not self._is_closing:
                    self._gone(person.name, rooms)
        session.over()

    def _gone(self, name: str, rooms: Iterable[Room]) -> bool:
        """Tell that somebody is here no longer. If the lobby is told at once, the other rooms are
        not told in addition; otherwise each is told, as each is told who joined it.

        @return: whether the lobby was told at once.
        """
        if self._lobby.went(name):
            return True
        for room in rooms:
            if room is not self._lobby:
                room.went(name)
        return False

    def _forget(self, person: Person) -> None:
        if self._people.get(person.name) is person:
            del self._people[person.name]
        person.release()

    # Coming back

    def _question(
        self,
        points: Mapping[str, int],
        account: Account | None,
        *,
        is_news: bool = True,
        person: Person | None = None,
    ) -> Question:
        """What to ask the log for somebody who resumes.

        @param points: as in L{since}; those of rooms that they are not in do not count.
        @param is_news: for an account that logs in: ask what is new and unread, too.
        @param person: whose rooms count; L{None}: the account's.
        """
        if person is not None:
            rooms: Iterable[Room] = person.rooms
        else:
            rooms = self._directory.rooms_of(account.id) if account is not None else ()
        return Question(
            self._past.limit,
            account.id if account is not None and is_news else None,
            {room.record.id: points[room.name] for room in rooms if room.name in points},
            {place[1:]: at for place, at in points.items() if place.startswith(DIRECT)},
            account.id if account is not None else None,
        )

    def _resumed(
        self,
        person: Person,
        points: Mapping[str, int],
        question: Question,
        findings: Findings,
    ) -> dict[str, History]:
        """What came after resume points, by place: the rooms first."""
        resumed = {}
        by_id = {
            self._shared.rooms[name].record.id: name
            for name in points
            if name in self._shared.rooms
        }
        for room_id, after in question.rooms.items():
            room = self._shared.rooms[by_id[room_id]]
            entries = findings.rooms.get(room_id, ())
            resumed[room.name] = self._past.resumed_room(room, entries, after, person)
        if person.account is not None:
            for name, after in question.direct.items():
                entries = findings.direct.get(name, ())
                resumed[f"{DIRECT}{name}"] = self._past.resumed_conversation(
                    name, entries, after, person.account
                )
        return resumed

    def _come_back(
        self,
        session: Session,
        account: Account,
        findings: Findings,
        resumed: Mapping[str, History],
    ) -> None:
        """Show a session that has just logged in what is new in the rooms of its account, what came
        after its resume points, and the unread private messages."""
        person = _person(session)
        places = self._past.places(person, findings.news)
        rooms = self._shared.rooms
        session.views = {
            rooms[place.room]: View(place.read, not place.new, is_entered=place.room == LOBBY)
            for place in places
        }
        session.views[self._lobby].is_whole = True
        session.skips = session.outbox.skips
        session.answer(Back(self._now(), places))
        for place, history in resumed.items():
            self._show(session, place, history)
        alone = person.sessions == (session,)
        unread = self._past.unread(account, findings.unread, alone=alone)
        if unread:
            self._show_private(session, unread)
            session.has_gap |= any(isinstance(event, Omitted) for event in unread)

    def _show(self, session: Session, place: str, history: History) -> None:
        """Show a session what came after one of its resume points."""
        if place.startswith(DIRECT):
            self._show_private(session, (history,))
            return
        room = self._shared.rooms[place]
        view = session.views.get(room)
        if session.answer(history) and view is not None:
            view.is_whole = True

    def _show_private(self, session: Session, events: Sequence[Event]) -> None:
        """Show a session private messages from the log."""
        whole = session.answer(*events)
        shown = [each for e in events if isinstance(e, History) for each in e.shown]
        session.note_shown(shown, whole=whole)
        for event in shown:
            if isinstance(event, Told) and not event.outgoing:
                session.wrote = event.message.author

    # Rooms

    def _has_entered(self, session: Session, room: Room) -> bool:
        """Whether a session was shown a room that its person is in."""
        self._look_for_gaps(session)
        view = session.views.get(room)
        return view is None or view.is_entered

    async def _show_room(self, session: Session, room: Room, *, is_new: bool) -> int:
        """Show a session a room that it joins.

        @param is_new: its person was not in the room before.
        @return: as L{join}.
        @raise Refusal: C{internal}, C{closed}.
        """
        person = session.person
        try:
            missed = await self._past.missed(session, room)
        except Refusal:
            if session.person is not None and room in session.person.rooms:
                self._listen(session, room)  # it is in the room, though it cannot be shown
            raise
        if session.has_ended or person is None:
            return 0
        if person.account is None:
            if room not in person.rooms:
                room.enter(person)
        elif room not in person.rooms:
            return 0  # another session has left it meanwhile
        self._listen(session, room)
        joined = (Joined(self._now(), room.name, ((person.name, person.is_account),)),)
        session.answer(*(joined if is_new else ()), *self._past.entrance(person, room, missed))
        shown = len(missed.shown) if missed is not None else len(room.recent or ())
        view = session.views.get(room)
        if view is not None:
            view.is_whole = view.is_entered = True
        return max(shown + min(len(room.people), LISTED), 1)

    def _listen(self, session: Session, room: Room) -> None:
        """Have a session hear a room that its person is in."""
        room.add(session)
        if _person(session).account is not None and room not in session.views:
            session.views = {**session.views, room: View(room.last_seq)}

    async def _make_room(self, session: Session, name: str) -> tuple[Room, bool]:
        """Make a room, or find that somebody else has just made it.

        @return: the room, and whether this made it.
        @raise Refusal: C{bad-name}, C{full}, C{throttled}, C{internal}, C{closed}.
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
            made = await self._commit(
                session, Post(record, CREATED, by.id, by.name, self._now(), "")
            )
        finally:
            self._rooms_in_making -= 1
        # Somebody else may have made it, or one that looks like it, in the meantime.
        self._directory.refuse_look_alike(name, skeleton)
        return self._shared.rooms[name], made is not None


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
