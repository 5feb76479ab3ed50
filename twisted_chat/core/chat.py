"""The operations of chat. Each asks whether its session may, checks, appends to the log or changes
what is here, and has it told."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from . import names, policy
from .accounts import Accounts
from .directory import Directory, Whois
from .errors import Refusal, Way
from .events import (
    History,
    Joined,
    Left,
    Motd,
    Omitted,
    Renamed,
    Rooms,
    Told,
    Topic,
    Users,
    Welcome,
)
from .feed import Feed
from .guard import Guard
from .labels import WINDOW, Labels
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
from .past import DIRECT, LISTED, Past
from .people import Hold, Person, Session
from .policy import Action
from .ports import FanOut, Store
from .room import LOBBY, Room, Shared
from .text import clean

__all__ = ["DIRECT", "LOBBY", "Chat", "Session"]


class Chat:
    """The registry that all sessions share. Lives in one thread.

    What is said goes to the store and comes back through L{deliver} once it is in the log; only
    then is anyone told. The rest (joining, leaving, answers) happens at once.

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
        motd: Sequence[str] = (),
    ) -> None:
        """
        @param now: gives the time in UTC milliseconds.
        @param later: calls a function after some seconds.
        @param fan_out: sends the same events to many outboxes.
        @param motd: the lines of the message of the day, which is told at login.
        """
        self.motd = motd
        self._store = store
        self._accounts = accounts
        self._guard = guard
        self._limits = limits
        self._now = now
        self._shared = Shared(now, later, fan_out, {}, {})
        self._people = self._shared.people
        self._directory = Directory(store, self._shared)
        self._past = Past(store, limits, now)
        self._labels = Labels(now)
        self._knows_labels = False  # those from before the start
        self._feed = Feed(self._shared, self._labels, self._landed)
        self._rooms_in_making = 0
        self._leaving: dict[Session, Person] = {}  # sessions that ended with posts in flight
        self._is_closing = False

    def open(self, records: Iterable[RoomRecord]) -> None:
        """Take up the rooms that the store has. The lobby is one of them."""
        for record in records:
            self._directory.add(record)
        self._lobby = self._directory.lobby

    async def recall_labels(self) -> None:
        """Take up the labels that were used lately from the log. Called at the start, so that the
        first login need not wait; while that has not worked, each login tries it again.

        @raise Refusal: C{internal}, C{closed}.
        """
        if self._knows_labels:
            return
        for stored in await self._store.labels(self._now() - WINDOW):
            self._labels.keep(stored)
        self._knows_labels = True

    def deliver(self, batch: Sequence[tuple[Post, Stored]]) -> None:
        """Tell what was just committed; see L{Feed.deliver}."""
        self._feed.deliver(batch)

    def lose(self, posts: Sequence[Post]) -> None:
        """Tell the authors of posts that could not be kept; see L{Feed.lose}."""
        self._feed.lose(posts)

    def forget(self, before: int) -> None:
        """Drop messages older than this time, which the log does not have any more."""
        for room in self._directory:
            room.forget(before)

    def close(self) -> None:
        """Tell nobody from now on who leaves: the server is going down, and all sessions end."""
        self._is_closing = True

    # Coming and going

    async def log_in(self, session: Session, account: Account, *, room: str = LOBBY) -> None:
        """Log a session in to an account, and show it what came while the account was away.

        A guest becomes the account and stays in its rooms.

        @param room: the room that a guest who becomes the account is welcomed in.
        @raise Refusal: C{already-logged-in}, C{busy}, C{internal}, C{closed}, and C{wrong-password}
            if the password was changed meanwhile.
        """
        with self._operation(session, "log in"):
            refuse_account(session)
            changes = self._accounts.changes(account.name)
            await self.recall_labels()
            await self._past.wake(self._lobby)
            seq, id = session.resume_point(LOBBY), session.resume_point(DIRECT)
            missed: Sequence[Message] | None = None
            limit = self._limits.max_history + 1  # one more than is shown, to know of more
            if seq is None and id is None:
                unread = await self._store.unread(account.id, limit)
            else:
                lobby = self._lobby.record if seq is not None else None
                missed, unread = await self._store.catch_up(lobby, seq or 0, account.id, id, limit)
            # No await from here on: what is delivered after the query goes to the session.
            if session.has_ended:
                return
            if self._accounts.changes(account.name) != changes:
                raise Refusal(
                    "wrong-password", "the password has just been changed; use the new one"
                )
            session.resumed(LOBBY, DIRECT)
            person = self._directory.here(account.name)
            if person is None or person.account is None:
                person = self._people[account.name] = Person(account)
            self._enter(session, person, missed if seq is not None else None, room)
            self._show_private(session, account, unread, id)

    async def come_as_guest(self, session: Session, hold: Hold) -> None:
        """Let a session in as a guest.

        @param hold: on the guest's name. It is released if the session does not get in.
        @raise Refusal: C{already-logged-in}, C{busy}, C{internal}, C{closed}.
        """
        with hold, self._operation(session, "come as guest"):
            if session.person is not None:
                raise already_in(session.person)
            await self.recall_labels()
            missed = await self._past.missed(session, self._lobby)
            if session.has_ended:
                return
            person = self._people[hold.name] = Person(hold)
            self._enter(session, person, missed, LOBBY)

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
            for room in session.rooms:
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

    def seen(self, session: Session) -> None:
        """Note that a session has sent something: if its peer has taken all that it was sent
        before, the private messages that it was shown count as read."""
        account = session.person.account if session.person is not None else None
        if session.shown and account is not None and session.outbox.is_taken:
            self._store.mark_read(account.id, session.shown)
            session.shown = 0

    async def since(self, session: Session, places: Mapping[str, int]) -> int:
        """Resume after what the client has from an earlier session: show what came after it.

        Messages of a room that the session is not in are shown when it joins the room, and private
        messages when it logs in.

        @param places: the last C{seq} that the client has of each room, and the last id of
            L{DIRECT}.
        @return: the number of messages that were shown.
        @raise Refusal: C{busy}, C{full}, C{internal}, C{closed}, and C{forbidden} for the private
            messages of a guest.
        """
        with self._operation(session, "resume"):
            now_due = [place for place in places if _is_due(session, place)]
            later = {place: last for place, last in places.items() if place not in now_due}
            if later:
                known = session.resume or {}
                most = self._limits.max_joined
                if len(known.keys() | later) > most + 2:
                    sentence = f"you can be in {most} rooms at most; resume in fewer"
                    raise Refusal("full", sentence, limit=most)
                session.resume = {**known, **later}
            shown = 0
            for place in now_due:
                if session.has_ended:
                    break
                shown += await self._resume(session, place, places[place])
            return shown

    async def _resume(self, session: Session, place: str, last: int) -> int:
        """Show what came after a resume point in a room that a session is in, or in private."""
        person = _person(session)
        limit = self._limits.max_history + 1
        if place == DIRECT:
            account = person.account
            assert account is not None
            _, direct = await self._store.catch_up(None, 0, account.id, last, limit)
            if not session.has_ended:
                self._show_private(session, account, direct, last)
            return len(direct)
        room = self._shared.rooms[place]
        messages, _ = await self._store.catch_up(room.record, last, None, None, limit)
        if session in room.members:
            session.answer(self._past.room_history(room, messages, person))
        return len(messages)

    # Rooms

    async def join(self, session: Session, raw: str) -> int:
        """Join a room, making it if there is none of this name.

        @return: the number of messages and people that this showed, which is at least one; 0 if
            the session is in the room already.
        @raise Refusal: C{not-logged-in}, C{busy}, C{bad-name}, C{full}, C{throttled}, C{internal},
            C{closed}.
        """
        with self._operation(session, "join"):
            name = names.room(raw)
            room = self._directory.get(name)
            if room is not None:
                policy.may(session, "join", room)
                if session in room.members:
                    return 0
            if len(session.rooms) >= self._limits.max_joined:
                count = len(session.rooms)
                sentence = f"you are in {count} rooms, and no more are allowed; leave one first"
                raise Refusal("full", sentence, limit=self._limits.max_joined)
            room = room or await self._make_room(session, name)
            missed = await self._past.missed(session, room)
            if session.has_ended:
                return 0
            person = _person(session)
            room.add(session, person)
            joined = Joined(self._now(), room.name, ((person.name, person.is_account),))
            session.answer(joined, *self._past.entrance(person, room, missed))
            shown = len(missed) if missed is not None else len(room.recent or ())
            return shown + min(len(room.people), LISTED)

    async def leave(self, session: Session, raw: str) -> None:
        """Leave a room.

        @raise Refusal: C{not-logged-in}, C{busy}, C{no-such-room}, C{not-in-room}, and
            C{forbidden} for the lobby.
        """
        with self._operation(session, "leave"):
            room = self._room(session, "leave", raw)
            if room is self._lobby:
                raise Refusal("forbidden", "nobody can leave the lobby", "end-session")
            person = _person(session)
            room.remove(session)
            session.rooms = tuple(r for r in session.rooms if r is not room)
            session.answer(Left(self._now(), room.name, (person.name,)))
            if room.discount(person):
                room.went(person.name)

    async def set_topic(self, session: Session, raw: str, text: str) -> None:
        """Set the topic of a room; empty for none.

        @raise Refusal: C{not-logged-in}, C{busy}, C{no-such-room}, C{not-in-room}, C{too-long},
            C{bad-encoding}, C{internal}, C{closed}.
        """
        with self._operation(session, "set topic"):
            room = self._room(session, "set topic", raw)
            by = _person(session).name
            topic = clean(text).strip()
            most = self._limits.max_topic
            if len(topic) > most:
                raise Refusal("too-long", f"a topic may have at most {most} characters", limit=most)
            await self._store.set_topic(room.record.id, topic, by)
            room.topic, room.topic_by = topic, by
            room.tell(Topic(self._now(), room.name, topic, by, changed=True))

    # Talking

    def say(
        self, session: Session, raw: str, text: str, *, action: bool = False, label: str = ""
    ) -> None:
        """Say something in a room.

        @param action: as in L{Message}.
        @param label: as in L{Message}. The same label again, if it is long enough to be remembered,
            is answered as the first time, and nothing is said.
        @raise Refusal: C{not-logged-in}, C{busy}, C{no-such-room}, C{not-in-room},
            C{bad-encoding}, C{too-long}, C{bad-arguments} if there is nothing in it to say.
        """
        self._ask(session, "say")
        if label and self._is_repeated(session, label):
            return
        record = self._room(session, "say", raw).record
        author = _person(session).name
        text = self._sayable(text)
        now = self._now()
        self._append(
            session, RoomPost(record.id, record.name, author, now, text, action, session, label)
        )

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
            if person.account is None:
                raise _not_kept("register")
            other = await self._directory.person(of.removeprefix(DIRECT))
            if other.account is None:
                raise _not_kept()
            return await self._past.conversation(person.account, other.account, count)

    # Asking

    def _ask(self, session: Session, action: Action) -> None:
        """Refuse what a session may not do at all, or not now."""
        policy.may(session, action)
        session.begin()

    @contextmanager
    def _operation(self, session: Session, action: Action) -> Iterator[None]:
        """Around an operation: refuse what a session may not do, and all else until its end."""
        policy.may(session, action)
        with session.operation():
            yield

    def _room(self, session: Session, action: Action, raw: str) -> Room:
        """The room of a name as it was typed, if the session may do something there."""
        room = self._directory.room(raw)
        policy.may(session, action, room)
        return room

    # Posting

    async def _direct(self, session: Session, raw: str, text: str, label: str) -> None:
        if label and self._is_repeated(session, label):
            return
        text = self._sayable(text)
        recipient = await self._directory.person(raw)
        if session.has_ended:
            return
        sender = _person(session)
        post = DirectPost(
            sender.account.id if sender.account else None,
            sender.name,
            recipient.account.id if recipient.account else None,
            recipient.name,
            self._now(),
            text,
            session,
            recipient.key,
            label,
        )
        if not (label and self._is_repeated(session, label)):  # by another session meanwhile
            self._append(session, post)

    def _append(self, session: Session, post: Post) -> None:
        if post.label:
            self._labels.begin(_person(session).name, post.label)
        session.in_flight += 1
        self._store.append(post)

    def _is_repeated(self, session: Session, label: str) -> bool:
        """Whether the author has posted with this label before. If so, the session is told what
        came of it, now or when it lands."""
        labelled = self._labels.find(_person(session).name, label)
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

    def _enter(
        self, session: Session, person: Person, missed: Sequence[Message] | None, room: str
    ) -> None:
        """Put a session into the lobby as this person, or make the guest that it is become them.

        @param missed: what to show of the lobby; L{None} for the last messages.
        @param room: the room that a guest is welcomed in.
        """
        guest = session.person
        if guest is not None:
            self._become(session, guest, person, room)
            return
        session.person = person
        person.sessions += (session,)
        self._lobby.add(session, person)
        motd = (Motd(self._now(), tuple(self.motd)),) if self.motd else ()
        session.answer(
            self._welcome(person, LOBBY),
            *motd,
            *self._past.entrance(person, self._lobby, missed),
        )

    def _welcome(self, person: Person, room: str) -> Welcome:
        others = len(self._shared.rooms[room].people) - 1
        return Welcome(self._now(), person.name, person.is_account, room, others)

    def _become(self, session: Session, guest: Person, account: Person, room: str) -> None:
        """Make a guest an account, which may be here already."""
        was_here = account in self._lobby.people
        new_to = [room for room in session.rooms if account not in room.people]
        if was_here:
            self._pass_on(session, guest, account)
        else:
            self._rename(session, guest, account)
        session.answer(self._welcome(account, room))
        if was_here:
            if not self._gone(guest.name, session.rooms):
                session.answer(Left(self._now(), LOBBY, (guest.name,)))  # it was shown as here
                for each in session.rooms:  # so that the next guest of the name is news
                    each.show(account)
            for each in new_to:
                each.came(account.name)

    def _rename(self, session: Session, guest: Person, person: Person) -> None:
        """Make a guest somebody who was not here."""
        if person.name != guest.name:
            for room in self._directory:
                room.settle(guest.name, person.name)
        self._pass_on(session, guest, person)
        self._lobby.tell(Renamed(self._now(), guest.name, person.name, person.is_account))

    def _pass_on(self, session: Session, guest: Person, person: Person) -> None:
        """Give the session of a guest to somebody else, so that the guest has left."""
        for room in session.rooms:
            room.pass_on(guest, person)
        guest.sessions = ()
        person.sessions += (session,)
        session.person = person
        self._forget(guest)

    def _end(self, session: Session) -> None:
        """Take an ended session, of which nothing is in flight, out of its rooms."""
        person = self._leaving.pop(session, None)
        rooms, session.rooms = session.rooms, ()
        if person is not None:
            left = [room for room in rooms if room.discount(person)]
            if self._lobby in left:
                self._forget(person)
            if not self._is_closing:
                self._tell_left(person.name, left)
        session.over()

    def _tell_left(self, name: str, rooms: Sequence[Room]) -> None:
        """Tell rooms that somebody left them."""
        if self._lobby in rooms:
            self._gone(name, rooms)
            return
        for room in rooms:
            room.went(name)

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

    def _show_private(
        self,
        session: Session,
        account: Account,
        messages: Sequence[DirectMessage],
        after: int | None,
    ) -> None:
        """Show a session the private messages of its account.

        @param messages: what came after a resume point, or the unread ones.
        @param after: the resume point; L{None} for the unread ones.
        """
        if after is None:
            alone = _person(session).sessions == (session,)
            events = self._past.unread(account, messages, alone=alone)
        else:
            events = self._past.resumed(account, messages)
        is_cut = any(isinstance(event, Omitted) for event in events)
        shown = [told for e in events if isinstance(e, History) for told in e.messages]
        session.shown = after or 0
        session.has_gap = is_cut and after is not None  # then the oldest are missing
        whole = session.answer(*events) if events else True
        session.note_shown(shown, whole=whole)
        session.has_gap |= is_cut
        for event in shown:
            if isinstance(event, Told) and not event.outgoing:
                session.wrote = event.message.sender

    async def _make_room(self, session: Session, name: str) -> Room:
        """Make a room, or find that somebody else has just made it."""
        skeleton = names.skeleton(name)
        self._directory.refuse_look_alike(name, skeleton)
        if len(self._directory) + self._rooms_in_making >= self._limits.max_rooms:
            sentence = "no more rooms can be made; join an existing one"
            raise Refusal("full", sentence, limit=self._limits.max_rooms)
        self._guard.before_room(session.source)
        self._rooms_in_making += 1
        try:
            record = await self._store.add_room(name, skeleton, self._now())
        finally:
            self._rooms_in_making -= 1
        if record is not None:
            return self._directory.add(record)
        # Somebody else made it, or one that looks like it, in the meantime.
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
    """Whether the messages after a resume point must be shown at once."""
    if session.person is None:
        return False
    if place == DIRECT and session.person.account is None:
        raise _not_kept("register")
    return place == DIRECT or any(room.name == place for room in session.rooms)


def _not_kept(way: Way | None = None) -> Refusal:
    sentence = "private messages to or from a guest are not kept"
    return Refusal("forbidden", sentence, way)
