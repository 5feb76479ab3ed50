"""Sessions, rooms, and who hears what."""

import sys
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.support import NOW, MemoryStore, PlainHasher, RecordingOutbox, fan_out, guard, now
from twisted_chat.core.accounts import Accounts
from twisted_chat.core.addresses import SHARED
from twisted_chat.core.chat import Chat, Session
from twisted_chat.core.errors import Refusal
from twisted_chat.core.events import (
    Away,
    Back,
    Crowd,
    Event,
    History,
    Joined,
    Left,
    Members,
    Motd,
    NotKept,
    Place,
    Read,
    Refused,
    Renamed,
    Rooms,
    Said,
    Told,
    Topic,
    Unread,
    Users,
    Welcome,
)
from twisted_chat.core.guard import Guard
from twisted_chat.core.limits import Limits
from twisted_chat.core.model import (
    ACTION,
    MESSAGES,
    SAID,
    TOPIC,
    Account,
    Aside,
    Entry,
    Post,
    RoomState,
    conversation,
)
from twisted_chat.core.people import Hold

PASSWORD = "correct horse"

# Where something is said, and what: rooms and private messages by turns.
_TALK = (("lobby", "1"), ("tea", "2"), ("bob", "3"), ("lobby", "4"), ("carol", "5"), ("tea", "6"))

ELSEWHERE = 10**9
"""The number of a post that no session of the chat has made."""

T = TypeVar("T")


class RecordingFace:
    """A L{twisted_chat.core.ports.Face} that records what it is called for.

    @ivar farewells: the farewells that it was to say.
    @ivar rooms: the rooms that the session's person was put out of.
    """

    def __init__(self) -> None:
        self.farewells: list[str] = []
        self.rooms: list[str] = []

    def hang_up(self, farewell: str, /) -> None:
        self.farewells.append(farewell)

    def put_out(self, room: str, /) -> None:
        self.rooms.append(room)


class Someone(Session):
    """A session whose outbox and face remember.

    @ivar current: the room that the tests have it talk in, as a face does.
    @ivar landings: how often something in flight landed.
    @ivar ends: how often it was over.
    """

    outbox: RecordingOutbox
    face: RecordingFace

    def __init__(self) -> None:
        super().__init__(RecordingOutbox(), face=RecordingFace())
        self.current = "lobby"
        self.landings = 0
        self.ends = 0
        self.landed = self._landed
        self.over = self._over

    def _landed(self) -> None:
        self.landings += 1

    def _over(self) -> None:
        self.ends += 1

    def told(self) -> list[Event]:
        """Give what it was told since the last time, without what only programs are told."""
        events = self.outbox.take()
        return [event for event in events if not isinstance(event, Members | Read)]


class Chatting:
    """What the tests of a chat do with it, one thing after the other.

    @ivar failures: what went wrong with entries.
    """

    limits = Limits(replay=5, max_joined=3, max_rooms=6, max_history=10)
    motd = ("be kind",)

    store: MemoryStore
    accounts: Accounts
    clock: Clock
    chat: Chat
    failures: list[BaseException]

    def new_chat(self) -> Chat:
        """Make a chat that has the picture of the store."""
        chat = Chat(
            self.store,
            self.accounts,
            self.new_guard(),
            self.limits,
            now,
            self.clock.callLater,
            fan_out,
            Deferred,
            self.failed,
            self.motd,
        )
        chat.open(self.store.open())
        return chat

    def new_guard(self) -> Guard:
        """Make the guard of the chat."""
        return guard(self.limits)

    def failed(self) -> None:
        """Note the exception that is being handled."""
        failure = sys.exc_info()[1]
        assert failure is not None
        self.failures.append(failure)

    def run_now(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine that waits for nothing, and return its result."""
        results: list[T | Failure] = []
        Deferred.fromCoroutine(coroutine).addBoth(results.append)
        assert results, f"{coroutine} waits"
        if isinstance(results[0], Failure):
            results[0].raiseException()
        return results[0]

    def refusal(self, coroutine: Coroutine[Any, Any, object]) -> Refusal:
        """The refusal that a coroutine raises."""
        try:
            result = self.run_now(coroutine)
        except Refusal as refusal:
            return refusal
        raise AssertionError(f"it was not refused, but gave {result!r}")

    def registered(self, name: str) -> None:
        """Make an account that nobody is logged in to."""
        self.run_now(self.accounts.register(name, PASSWORD, SHARED))

    def log_in(self, session: Someone, name: str) -> None:
        """Log a session in to an existing account."""
        account = self.run_now(self.accounts.authenticate(name, PASSWORD, SHARED)).account
        self.run_now(self.chat.log_in(session, account, room=session.current))

    def hold(self, session: Session) -> Hold:
        """Hold a guest's name."""
        assert session.person is not None
        assert session.person.hold is not None
        return session.person.hold

    def begin(self, coroutine: Coroutine[Any, Any, T]) -> "Deferred[T]":
        """Begin an operation, without waiting for it."""
        return Deferred.fromCoroutine(coroutine)

    def back(self, name: str) -> Someone:
        """Log a session in to an existing account. What it was told is in its outbox."""
        session = Someone()
        self.log_in(session, name)
        return session

    def end(self, *sessions: Session) -> None:
        """End sessions."""
        for session in sessions:
            self.chat.end_session(session)

    def account(self, name: str, *, echo: bool = False) -> Someone:
        """Log a session in to an account, registered if need be, and forget what it was told."""
        session = Someone()
        session.echo = echo
        if not self.run_now(self.accounts.is_registered(name)):
            self.registered(name)
        self.log_in(session, name)
        session.outbox.take()
        return session

    def guest(self, name: str) -> Someone:
        """Make a session of a guest, and forget what it was told."""
        session = Someone()
        held = self.run_now(self.accounts.hold(name))
        self.run_now(self.chat.come_as_guest(session, held))
        session.outbox.take()
        return session

    def join(self, room: str, *sessions: Someone) -> None:
        """Put sessions into a room, and forget what they were told."""
        for session in sessions:
            self.run_now(self.chat.join(session, room))
            session.current = room
        for session in sessions:
            session.outbox.take()

    def leave(self, session: Someone, room: str = "") -> None:
        """Take a session out of a room."""
        self.run_now(self.chat.leave(session, room or session.current))
        session.current = "lobby"

    def say(self, session: Someone, text: str, *, action: bool = False, label: str = "") -> None:
        """Say something in the room that a session talks in."""
        self.chat.say(session, session.current, text, action=action, label=label)

    def broadcast(self, session: Someone, text: str) -> None:
        """Say something in the lobby."""
        self.chat.say(session, "lobby", text)

    def users(self, session: Someone, room: str = "") -> list[str]:
        """The names of the people in a room."""
        return [name for name, _ in self.chat.users(session, room or session.current).people]

    def rooms_of(self, session: Someone, name: str = "") -> Sequence[str]:
        """The rooms that a session's person is in, or somebody else who is here."""
        assert session.person is not None
        whois = self.chat.whois(session, name or session.person.name)
        assert whois is not None
        return whois.rooms

    def place(self, session: Someone, room: str) -> Place:
        """What a session is told of one of its rooms when it asks where it is."""
        return next(p for p in self.run_now(self.chat.where(session)) if p.room == room)

    # The log

    def log(self, room: str) -> list[Entry]:
        """The entries of a room."""
        return [entry for entry in self.store.entries if entry.room.name == room]

    def messages(self) -> list[Entry]:
        """What was said in rooms."""
        return [
            entry
            for entry in self.store.entries
            if entry.kind in MESSAGES and entry.room.kind != "direct"
        ]

    def private(self) -> list[Entry]:
        """The private messages that are kept."""
        return [entry for entry in self.store.entries if entry.room.kind == "direct"]

    def state(self, room: str) -> RoomState:
        """A room, as the store has it."""
        return next(state for state in self.store.snapshot() if state.record.name == room)

    def room_names(self) -> list[str]:
        """The names of all rooms, as the store has them."""
        return [state.record.name for state in self.store.snapshot()]

    def the_account(self, name: str) -> Account:
        """Look up an account."""
        (account,) = [a for a in self.store.accounts if a.name == name]
        return account


class ChatTestCase(Chatting, SynchronousTestCase):
    """A chat on a store in memory."""

    def setUp(self) -> None:
        self.store = MemoryStore()
        self.hasher = PlainHasher()
        self.accounts = Accounts(self.store, self.hasher, guard(), now, min_password=8)
        self.clock = Clock()
        self.failures = []
        self.chat = self.new_chat()
        self.store.subscribe(self.chat.deliver, self.chat.lose)

    def tearDown(self) -> None:
        self.assertEqual(self.failures, [])


def _texts(history: History) -> list[str]:
    """The texts of the messages of a history."""
    return [event.message.text for event in history.shown if isinstance(event, Said | Told)]


class LoginTests(ChatTestCase):
    """Logging in and leaving."""

    def test_login_shows_the_way_in(self) -> None:
        """A login is answered with the welcome, the message of the day, the lobby's last messages
        and the account's rooms."""
        self.say(self.account("bob"), "hello")
        self.registered("alice")
        alice = Someone()
        self.log_in(alice, "alice")
        welcome, motd, history, back = alice.outbox.events
        self.assertEqual(welcome, Welcome(NOW, "alice", True, "lobby", 1))
        self.assertEqual(motd, Motd(NOW, ("be kind",)))
        self.assertEqual(alice.outbox.replayed(), ["hello"])
        assert isinstance(history, History)
        self.assertEqual(history.of, "lobby")
        assert isinstance(back, Back)
        self.assertEqual(back.places, (Place("lobby", 2, "", 1, 1, 0, False),))

    def test_others_are_told_who_came_and_went(self) -> None:
        """The lobby is told once of each person who logs in or leaves."""
        alice = self.account("alice")
        bob = self.account("bob")
        self.assertEqual(alice.outbox.take(), [Joined(NOW, "lobby", (("bob", True),))])
        self.chat.end_session(bob)
        self.chat.end_session(bob)
        self.assertEqual(alice.outbox.take(), [Left(NOW, "lobby", ("bob",))])
        self.assertEqual(bob.outbox.events, [])

    def test_presence_of_several_sessions_is_told_once(self) -> None:
        """A person's second session is no news, and neither is the end of one of two."""
        alice = self.account("alice")
        phone, desk = self.account("bob"), self.account("bob")
        self.assertEqual(alice.outbox.take(), [Joined(NOW, "lobby", (("bob", True),))])
        self.assertEqual(self.users(alice), ["alice", "bob"])
        self.chat.end_session(phone)
        self.assertEqual(alice.outbox.take(), [])
        self.chat.end_session(desk)
        self.assertEqual(alice.outbox.take(), [Left(NOW, "lobby", ("bob",))])

    def test_somebody_gone_is_told_of_in_the_lobby_only(self) -> None:
        """A person who shares other rooms with them is not told again for each room."""
        alice, bob = self.account("alice"), self.account("bob")
        self.join("tea", alice, bob)
        self.chat.end_session(bob)
        self.assertEqual(alice.outbox.take(), [Left(NOW, "lobby", ("bob",))])
        self.assertEqual(self.users(alice, "tea"), ["alice"])

    def test_room_is_told_nothing_while_another_session_is_here(self) -> None:
        """A person whose session ends stays in all rooms while another session of theirs is
        here."""
        alice, desk = self.account("alice"), self.account("bob")
        phone = self.account("bob")
        self.join("tea", alice, desk)
        self.chat.end_session(desk)
        self.assertEqual(alice.told(), [])
        self.assertEqual(self.users(alice, "tea"), ["alice", "bob"])
        self.chat.say(alice, "tea", "still there?")
        self.assertEqual(phone.outbox.heard(), ["still there?"])

    def test_session_that_ends_during_login_never_was_here(self) -> None:
        """If a session ends during its login, nobody is told of it, and it is told nothing."""
        alice = self.account("alice")
        self.registered("bob")
        bob = Someone()
        account = self.run_now(self.accounts.authenticate("bob", PASSWORD, SHARED)).account
        self.store.hold()
        logging_in = Deferred.fromCoroutine(self.chat.log_in(bob, account))
        self.chat.end_session(bob)
        self.store.commit()
        self.successResultOf(logging_in)
        self.assertEqual(alice.outbox.events + bob.outbox.events, [])
        self.store.release()
        self.assertEqual(self.users(alice), ["alice"])

    def test_two_sessions_that_log_in_at_once_are_one_person(self) -> None:
        """Two sessions that log in to an account at once are one person, in whatever order the
        store answers."""
        alice = self.account("alice")
        self.registered("bob")
        account = self.run_now(self.accounts.authenticate("bob", PASSWORD, SHARED)).account
        self.store.hold()
        for _ in range(2):
            Deferred.fromCoroutine(self.chat.log_in(Someone(), account))
        self.store.commit()
        self.assertEqual(alice.outbox.take(), [Joined(NOW, "lobby", (("bob", True),))])

    def test_nobody_is_told_who_leaves_when_the_server_goes_down(self) -> None:
        """When the server goes down, no session is told that the others leave."""
        sessions = [self.account("alice"), self.account("alice"), self.guest("bob")]
        for session in sessions:
            session.outbox.take()
        self.chat.close()
        for session in sessions:
            self.chat.end_session(session)
        self.assertEqual([(s.outbox.take(), s.ends) for s in sessions], [([], 1)] * 3)


class GuestTests(ChatTestCase):
    """People without an account, and the names they hold."""

    def test_guest_is_welcomed_as_a_guest(self) -> None:
        """The welcome and the list of users say that there is no account."""
        bob = Someone()
        name = self.run_now(self.accounts.hold("bob"))
        self.run_now(self.chat.come_as_guest(bob, name))
        self.assertEqual(bob.outbox.events[0], Welcome(NOW, "bob", False, "lobby", 0))
        users = self.chat.users(bob, "lobby")
        self.assertEqual(users, Users(NOW, "lobby", (("bob", False),)))

    def test_name_of_a_gone_guest_is_free(self) -> None:
        """A guest's name is taken while they are here, and free afterwards."""
        bob = self.guest("bob")
        self.assertEqual(self.refusal(self.accounts.hold("bob")).code, "name-taken")
        self.chat.end_session(bob)
        self.guest("bob")

    def test_guest_who_ends_while_coming_in_frees_the_name(self) -> None:
        """If a guest's session ends while the lobby is looked up, the name is free."""
        name = self.run_now(self.accounts.hold("bob"))
        self.store.hold()
        bob = Someone()
        coming = Deferred.fromCoroutine(self.chat.come_as_guest(bob, name))
        self.chat.end_session(bob)
        self.store.release()
        self.successResultOf(coming)
        self.assertEqual(bob.outbox.events, [])
        self.assertEqual(self.users(self.guest("bob")), ["bob"])

    def test_renamed_guest_is_told_of_and_frees_the_old_name(self) -> None:
        """Everybody is told of a guest's new name, and the old one is free."""
        alice, bob = self.account("alice"), self.guest("bob")
        alice.outbox.take()
        self.run_now(self.chat.rename_guest(bob, "Robert"))
        for session in (alice, bob):
            self.assertEqual(session.outbox.take(), [Renamed(NOW, "bob", "robert", account=False)])
        self.assertEqual(self.users(alice), ["alice", "robert"])
        self.say(bob, "it is me")
        (said,) = alice.outbox.of(Said)
        self.assertEqual(said.message.author, "robert")
        self.guest("bob")

    def test_refused_rename_changes_nothing(self) -> None:
        """A guest who asks for a name that is taken keeps the old one."""
        self.guest("carol")
        bob = self.guest("bob")
        self.assertEqual(self.refusal(self.chat.rename_guest(bob, "carol")).code, "name-taken")
        self.assertEqual(self.users(bob), ["bob", "carol"])
        self.assertEqual(self.refusal(self.accounts.hold("bob")).code, "name-taken")

    def test_guest_who_ends_while_being_renamed_frees_both_names(self) -> None:
        """If a guest's session ends while the new name is looked up, both names are free."""
        bob = self.guest("bob")
        self.store.hold()
        renaming = Deferred.fromCoroutine(self.chat.rename_guest(bob, "robert"))
        self.chat.end_session(bob)
        self.store.release()
        self.successResultOf(renaming)
        self.assertEqual(self.users(self.guest("bob")), ["bob"])
        self.guest("robert")

    def test_account_keeps_its_name(self) -> None:
        """An account cannot take another name."""
        self.assertEqual(
            self.refusal(self.chat.rename_guest(self.account("alice"), "eve")).code, "forbidden"
        )

    def test_guest_who_logs_in_stays_where_it_is(self) -> None:
        """A guest who logs in stays in its rooms, and the guest name is free."""
        alice, bob = self.account("alice"), self.guest("bob")
        self.join("tea", alice, bob)
        self.registered("robert")
        self.log_in(bob, "robert")
        self.assertEqual(alice.told(), [Renamed(NOW, "bob", "robert", account=True)])
        self.assertEqual(bob.outbox.of(Welcome), [Welcome(NOW, "robert", True, "tea", 1)])
        self.assertEqual(self.users(alice, "tea"), ["alice", "robert"])
        self.guest("bob")

    def test_guest_who_becomes_somebody_here_is_gone(self) -> None:
        """When a guest logs in to an account that is here, the lobby is told that the guest left,
        and a room that is new to the account that it joined."""
        alice, bob = self.account("alice"), self.guest("bob")
        self.account("robert")
        self.join("tea", alice, bob)
        self.log_in(bob, "robert")
        self.assertEqual(
            alice.told(),
            [Joined(NOW, "tea", (("robert", True),)), Left(NOW, "lobby", ("bob",))],
        )
        self.assertEqual(self.users(alice), ["alice", "robert"])

    def test_guest_who_registers_the_same_name(self) -> None:
        """A guest who registers the name that they have keeps it, and everybody is told that this
        is an account now."""
        alice, bob = self.account("alice"), self.guest("bob")
        alice.outbox.take()
        mine = self.hold(bob)
        account = self.run_now(self.accounts.register("bob", PASSWORD, SHARED, mine=mine))
        self.run_now(self.chat.log_in(bob, account))
        self.assertEqual(alice.outbox.take(), [Renamed(NOW, "bob", "bob", account=True)])
        users = self.chat.users(alice, "lobby")
        self.assertEqual(users, Users(NOW, "lobby", (("alice", True), ("bob", True))))


class RoomTests(ChatTestCase):
    """Joining and leaving rooms, and looking around."""

    def test_room_is_made_by_joining(self) -> None:
        """Joining a room that does not exist makes it."""
        alice = self.account("alice")
        self.run_now(self.chat.join(alice, "#Tea"))
        joined, history, users = alice.told()
        self.assertEqual(joined, Joined(NOW, "tea", (("alice", True),)))
        assert isinstance(history, History)
        self.assertEqual((history.of, history.shown), ("tea", ()))
        self.assertEqual(users, Users(NOW, "tea", (("alice", True),)))
        self.chat.say(alice, "TEA", "anyone?")
        self.assertEqual(self.messages()[-1].room.name, "tea")

    def test_members_are_told_who_joins(self) -> None:
        """The members of a room, and nobody else, are told once who joins."""
        alice, bob, carol = map(self.account, ("alice", "bob", "carol"))
        self.join("tea", alice)
        carol.outbox.take()
        self.join("tea", bob)
        self.assertEqual(alice.told(), [Joined(NOW, "tea", (("bob", True),))])
        self.assertEqual(carol.outbox.take(), [])

    def test_two_who_make_a_room_at_once_share_it(self) -> None:
        """Two sessions that make a room at once are in one room."""
        alice, bob = self.account("alice"), self.account("bob")
        self.store.hold()
        joining = [Deferred.fromCoroutine(self.chat.join(s, "tea")) for s in (alice, bob)]
        self.store.release()
        for each in joining:
            self.successResultOf(each)
        self.assertEqual(self.users(alice, "tea"), ["alice", "bob"])

    def test_look_alike_room_is_refused(self) -> None:
        """A room that looks like another one is refused, also if both are made at once; the
        sentence names the other one."""
        alice, bob = self.account("alice"), self.account("bob")
        self.store.hold()
        first = Deferred.fromCoroutine(self.chat.join(alice, "tea"))
        second = Deferred.fromCoroutine(self.chat.join(bob, "teа"))
        self.store.commit()
        self.successResultOf(first)
        refusals = [self.failureResultOf(second, Refusal).value]
        refusals.append(self.refusal(self.chat.join(bob, "teа")))
        for refusal in refusals:
            self.assertEqual(refusal.code, "bad-name")
            self.assertIn('"tea"', refusal.text)

    def test_joining_again(self) -> None:
        """Joining a room again changes nothing, tells nobody, and returns 0."""
        alice, bob = self.account("alice"), self.account("bob")
        self.join("tea", alice, bob)
        self.assertFalse(self.run_now(self.chat.join(alice, "tea")))
        self.assertFalse(self.run_now(self.chat.join(alice, "lobby")))
        self.assertEqual(alice.outbox.take() + bob.outbox.take(), [])

    def test_session_that_ends_while_joining_is_not_in_the_room(self) -> None:
        """A session that ends while the room is looked up is not in it."""
        alice, bob = self.account("alice"), self.account("bob")
        self.store.hold()
        joining = Deferred.fromCoroutine(self.chat.join(bob, "tea"))
        self.chat.end_session(bob)
        self.store.release()
        self.successResultOf(joining)
        self.assertEqual(self.users(alice, "tea"), [])

    def test_bounds_on_rooms(self) -> None:
        """The rooms of a session, and all rooms together, are limited."""
        alice, bob, carol = map(self.account, ("alice", "bob", "carol"))
        self.join("one", alice)
        self.join("two", alice)
        self.assertEqual(self.refusal(self.chat.join(alice, "three")).code, "full")
        for room in ("four", "five"):
            self.join(room, bob)
        self.join("three", carol)  # whose refusal to alice has not made it
        self.assertEqual(self.refusal(self.chat.join(carol, "six")).code, "full")

    def test_leaving(self) -> None:
        """Who leaves a room, and its other members, are told."""
        alice, bob = self.account("alice"), self.account("bob")
        self.join("tea", alice, bob)
        self.leave(bob, "#TEA")
        left = Left(NOW, "tea", ("bob",))
        self.assertEqual((alice.told(), bob.told()), ([left], [left]))
        self.assertEqual(self.users(bob, "tea"), ["alice"])

    def test_leaving_on_one_of_two_sessions(self) -> None:
        """If one of two sessions of a person leaves a room, the person has left it."""
        alice, phone, desk = self.account("alice"), self.account("bob"), self.account("bob")
        self.join("tea", alice, phone, desk)
        self.leave(phone, "tea")
        self.assertEqual(alice.told(), [Left(NOW, "tea", ("bob",))])
        self.assertEqual(self.users(alice, "tea"), ["alice"])

    def test_what_cannot_be_left(self) -> None:
        """The lobby, a room that one is not in, and a room that does not exist cannot be left."""
        alice, bob = self.account("alice"), self.account("bob")
        self.join("tea", bob)
        for room, code in (
            ("lobby", "forbidden"),
            ("tea", "not-in-room"),
            ("tee", "no-such-room"),
            ("?", "no-such-room"),
        ):
            refusal = self.refusal(self.chat.leave(alice, room))
            self.assertEqual(refusal.code, code)

    def test_missing_room_names_the_nearest(self) -> None:
        """The refusal of a misspelt room names the nearest one."""
        alice = self.account("alice")
        self.join("kitchen", alice)
        refusal = self.assertRaises(Refusal, self.chat.users, alice, "kichen")
        self.assertIn("did you mean kitchen?", refusal.text)

    def test_rooms_lists_the_fullest_first(self) -> None:
        """The list of rooms counts people, not sessions, and begins with the fullest room."""
        alice, desk, phone = self.account("alice"), self.account("bob"), self.account("bob")
        self.join("tea", alice)
        self.join("bar", desk, phone)
        self.run_now(self.chat.set_topic(alice, "tea", "Darjeeling"))
        self.assertEqual(
            self.chat.rooms(alice),
            Rooms(NOW, (("lobby", 2, ""), ("bar", 1, ""), ("tea", 1, "Darjeeling"))),
        )

    def test_topic_is_told_kept_and_shown(self) -> None:
        """A new topic is told to the room, kept by the store, and shown to people who ask or
        join."""
        alice, bob, carol = map(self.account, ("alice", "bob", "carol"))
        self.join("tea", alice, bob)
        self.run_now(self.chat.set_topic(alice, "tea", "Earl\u202e Grey"))
        entry = self.log("tea")[-1]
        self.assertEqual((entry.kind, entry.text, entry.author), (TOPIC, "Earl Grey", "alice"))
        for session in (alice, bob):
            (changed,) = session.told()
            self.assertEqual(changed, Topic(NOW, "tea", "Earl Grey", "alice", entry))
        self.assertEqual(self.state("tea").topic, "Earl Grey")
        self.assertEqual(self.state("tea").topic_by, "alice")
        self.run_now(self.chat.join(carol, "tea"))
        topic = Topic(NOW, "tea", "Earl Grey", "alice")
        self.assertIn(topic, carol.outbox.take())
        self.assertEqual(self.chat.topic(bob, "#tea"), topic)
        self.assertEqual(bob.told(), [Joined(NOW, "tea", (("carol", True),))])

    def test_topic_is_not_told_before_it_is_kept(self) -> None:
        """A topic is told when the store has it, not before."""
        alice = self.account("alice")
        self.store.hold()
        setting = Deferred.fromCoroutine(self.chat.set_topic(alice, "lobby", "Darjeeling"))
        self.assertEqual(alice.outbox.events, [])
        self.store.commit()
        self.successResultOf(setting)
        self.assertEqual(len(alice.outbox.of(Topic)), 1)

    def test_long_topic_is_refused(self) -> None:
        """A topic that is too long is refused with C{too-long}."""
        alice = self.account("alice")
        refusal = self.refusal(
            self.chat.set_topic(alice, "lobby", "x" * (self.limits.max_topic + 1))
        )
        self.assertEqual(refusal.code, "too-long")


class CostTests(ChatTestCase):
    """The number of messages and people that an answer showed, for which a face charges."""

    limits = Limits(replay=5)

    def test_joining(self) -> None:
        """C{join} returns the messages and people that it showed; 0 if the session is in the room
        already."""
        alice, bob = self.account("alice"), self.account("bob")
        self.assertEqual(self.run_now(self.chat.join(alice, "tea")), 1)
        alice.current = "tea"
        for text in "abcdefg":
            self.say(alice, text)
        self.assertEqual(self.run_now(self.chat.join(bob, "tea")), 7)
        self.assertEqual(self.run_now(self.chat.join(bob, "tea")), 0)
        carol = self.account("carol")
        first = self.messages()[0].seq
        self.assertEqual(self.run_now(self.chat.since(carol, {"tea": first})), 0)
        shown = self.run_now(self.chat.join(carol, "tea"))
        (history,) = carol.outbox.of(History)
        self.assertEqual(shown, len(history.shown) + 3)

    def test_since(self) -> None:
        """C{since} returns the messages of all places."""
        alice = self.account("alice")
        for text in "abcdefg":
            self.say(alice, text)
            self.run_now(self.chat.direct(alice, "alice", text))
        self.assertEqual(self.run_now(self.chat.since(alice, {"lobby": 4, "@alice": 0})), 10)


class HistoryTests(ChatTestCase):
    """Histories of rooms and private conversations."""

    def setUp(self) -> None:
        super().setUp()
        self.alice = self.account("alice")
        for number in range(12):
            self.say(self.alice, f"m{number}")

    def ask(self, of: str, count: int | None = None) -> History:
        """The history that alice is shown."""
        return self.run_now(self.chat.history(self.alice, of, count))

    def history(self, of: str, count: int | None = None) -> list[str]:
        """The texts of a history that alice is shown."""
        return _texts(self.ask(of, count))

    def test_last_messages_are_shown_oldest_first(self) -> None:
        """A history has the last messages, oldest first, as many as were asked for, or as many as
        joining shows."""
        self.assertEqual(self.history("lobby", 3), ["m9", "m10", "m11"])
        self.assertEqual(self.history("lobby"), [f"m{n}" for n in range(2, 12)])

    def test_history_is_marked_as_replay(self) -> None:
        """The messages of a history are marked as replay."""
        (said,) = self.ask("lobby", 1).shown
        assert isinstance(said, Said)
        self.assertTrue(said.replay)

    def test_bad_counts_are_refused(self) -> None:
        """The count of a history is from 1 to the limit."""
        for count in (0, -1, self.limits.max_history + 1):
            refusal = self.refusal(self.chat.history(self.alice, "lobby", count))
            self.assertEqual(refusal.code, "bad-arguments")
        self.assertEqual(len(self.history("lobby", self.limits.max_history)), 10)

    def test_history_is_for_members(self) -> None:
        """The history of a room is shown to its members only."""
        self.join("tea", self.account("bob"))
        for of, code in (
            ("tea", "not-in-room"),
            ("nowhere", "no-such-room"),
            ("@nobody1", "no-such-person"),
            ("@?", "no-such-person"),
        ):
            self.assertEqual(self.refusal(self.chat.history(self.alice, of)).code, code)

    def test_conversation_has_both_sides(self) -> None:
        """A private history has the messages of both people, and of nobody else."""
        bob, carol = self.account("bob"), self.account("carol")
        for sender, to, text in (
            (self.alice, "bob", "psst"),
            (carol, "alice", "hey"),
            (bob, "alice", "what?"),
        ):
            self.run_now(self.chat.direct(sender, to, text))
        self.assertEqual(self.history("@Bob"), ["psst", "what?"])
        history = self.ask("@bob")
        self.assertEqual(history.of, "@bob")
        self.assertEqual(
            [(m.outgoing, m.replay) for m in history.shown if isinstance(m, Told)],
            [(True, True), (False, True)],
        )

    def test_guests_have_no_private_history(self) -> None:
        """There is no private history of a guest, or with a guest."""
        guest = self.guest("gil")
        for asker, of in ((guest, "@alice"), (self.alice, "@gil")):
            self.assertEqual(self.refusal(self.chat.history(asker, of)).code, "forbidden")

    def test_replay_on_joining_is_the_newest(self) -> None:
        """Joining a room shows its newest messages, as many as the limit says."""
        bob = Someone()
        self.registered("bob")
        self.log_in(bob, "bob")
        self.assertEqual(bob.outbox.replayed(), ["m7", "m8", "m9", "m10", "m11"])


class CutHistoryTests(ChatTestCase):
    """Histories with a small outbox."""

    limits = Limits(outbox=1000)

    def test_long_history_fits_an_empty_outbox(self) -> None:
        """A history is cut to the newest messages that fit an empty outbox."""
        alice = self.account("alice")
        for text in "123456":
            self.say(alice, text)
        history = self.run_now(self.chat.history(alice, "lobby", 6))
        self.assertEqual(_texts(history), ["5", "6"])


class TalkTests(ChatTestCase):
    """Who is told what is said in rooms."""

    def test_nothing_is_shown_before_it_is_in_the_log(self) -> None:
        """A message is shown, with its place in the room, when the feed delivers it, and not
        before."""
        alice, bob = self.account("alice"), self.account("bob")
        alice.outbox.take()
        self.store.hold()
        self.say(alice, "waves", action=True)
        self.assertEqual(alice.outbox.events + bob.outbox.events, [])
        self.assertEqual((alice.in_flight, alice.landings), (1, 0))
        self.store.commit()
        (said,) = bob.outbox.take()
        assert isinstance(said, Said)
        self.assertEqual(
            (said.message.author, said.message.seq, said.message.text, said.message.kind),
            ("alice", 1, "waves", ACTION),
        )
        self.assertEqual((alice.in_flight, alice.landings), (0, 1))

    def test_own_words_go_to_the_other_sessions(self) -> None:
        """A message goes to its author's other sessions, and to the one that sent it only if it
        wants an echo."""
        phone, desk, bot = self.account("bob"), self.account("bob"), self.account("bob", echo=True)
        self.say(phone, "from the phone")
        self.say(bot, "from the bot")
        self.assertEqual(phone.outbox.heard(), ["from the bot"])
        for session in (desk, bot):
            self.assertEqual(session.outbox.heard(), ["from the phone", "from the bot"])

    def test_only_members_hear(self) -> None:
        """A message in a room is told to its members only; the lobby is told to everyone."""
        alice, bob, carol = map(self.account, ("alice", "bob", "carol"))
        self.join("tea", alice, bob)
        self.say(alice, "sugar?")
        self.broadcast(alice, "tea is ready")
        self.assertEqual(bob.outbox.heard(), ["sugar?", "tea is ready"])
        self.assertEqual(carol.outbox.heard(), ["tea is ready"])

    def test_text_is_made_safe(self) -> None:
        """A text is cleaned before it is stored; one that is empty or has a control character is
        refused."""
        alice = self.account("alice")
        self.say(alice, "cafe\u0301\u202e ")
        self.assertEqual(self.messages()[-1].text, "caf\u00e9")
        for text, code in (
            (" ", "bad-arguments"),
            ("\u200b", "bad-arguments"),
            ("\x1b[2J", "bad-encoding"),
        ):
            refusal = self.assertRaises(Refusal, self.say, alice, text)
            self.assertEqual(refusal.code, code)
        self.assertEqual(alice.in_flight, 0)

    def test_readers_who_hear_the_same_get_the_same_tuple(self) -> None:
        """Readers of the same messages get the same tuple, so that a format encodes it once; also
        with several rooms in one batch."""
        alice = self.account("alice")
        lobby = [self.account(name) for name in ("bob", "carol")]
        both = [self.account(name) for name in ("dave", "erin", "fay")]
        self.join("tea", alice, *both)
        for session in lobby:
            session.outbox.take()
        for rooms in (("tea",), ("tea", "lobby", "tea")):
            self.store.hold()
            for room in rooms:
                if room == "lobby":
                    self.broadcast(alice, room)
                else:
                    self.say(alice, room)
            self.store.commit()
            for audience in (both, lobby if "lobby" in rooms else []):
                sends = [session.outbox.sends for session in audience]
                self.assertEqual({len(each) for each in sends} - {1}, set())
                self.assertLessEqual(len({id(each[0]) for each in sends}), 1)
            for session in lobby + both:
                session.outbox.take()

    def test_order_is_kept_across_rooms_and_private_messages(self) -> None:
        """Every reader hears a batch in the order in which it was said, across rooms and private
        messages."""
        alice = self.account("alice")
        desk, bot = self.account("alice"), self.account("alice", echo=True)
        bob, carol, dave = map(self.account, ("bob", "carol", "dave"))
        self.join("tea", alice, bob, dave, bot)
        self.store.hold()
        for to, text in _TALK:
            if to == "lobby":
                self.broadcast(alice, text)
            elif to == "tea":
                self.say(alice, text)
            else:
                self.run_now(self.chat.direct(alice, to, text))
        for session in (alice, desk, bot, bob, carol, dave):
            session.outbox.take()
        self.store.commit()
        for session, heard in (
            (alice, ""),
            (desk, "1 2 3 4 5 6"),
            (bot, "1 2 3 4 5 6"),
            (bob, "1 2 3 4 6"),
            (carol, "1 4 5"),
            (dave, "1 2 4 6"),
        ):
            self.assertEqual(" ".join(session.outbox.heard()), heard)
            self.assertLessEqual(len(session.outbox.sends), 1)

    def test_authors_in_one_batch_hear_each_other(self) -> None:
        """The authors of one batch hear each other's messages in the order of the log, without
        their own."""
        people = [self.account(name) for name in ("alice", "bob", "carol")]
        self.store.hold()
        for text in "123456":
            self.say(people[int(text) % 3], text)
        self.store.commit()
        self.assertEqual(
            ["".join(person.outbox.heard()) for person in people], ["1245", "2356", "1346"]
        )

    def test_author_who_left_hears_no_more_of_the_room(self) -> None:
        """A person who leaves a room hears what was said before they left, and nothing after it,
        also if all of it is in one batch."""
        alice, bob = self.account("alice"), self.account("bob")
        self.join("tea", alice, bob)
        self.store.hold()
        self.say(bob, "you're off?")
        self.say(alice, "bye")
        leaving = self.begin(self.chat.leave(alice, "tea"))
        self.say(bob, "bye, alice")
        self.store.commit()
        self.successResultOf(leaving)
        self.assertEqual((alice.outbox.heard(), bob.outbox.heard()), (["you're off?"], ["bye"]))

    def test_words_of_somebody_gone_are_delivered(self) -> None:
        """A message whose author's session has ended is delivered."""
        alice, bob = self.account("alice"), self.account("bob")
        alice.outbox.take()
        self.store.hold()
        self.say(alice, "last words")
        self.chat.end_session(alice)
        self.store.commit()
        self.assertEqual(bob.outbox.heard(), ["last words"])
        self.assertEqual(alice.outbox.events, [])

    def test_lost_words_are_told_to_their_sender_only(self) -> None:
        """The author of lost posts is told a refusal for each, and nothing is in flight any
        more."""
        alice, bob = self.account("alice"), self.account("bob")
        alice.outbox.take()
        self.store.hold()
        self.say(alice, "one")
        self.say(alice, "two")
        self.store.fail()
        self.assertEqual([r.code for r in alice.outbox.of(Refused)], ["unavailable"] * 2)
        self.assertEqual((alice.in_flight, alice.landings), (0, 1))
        self.assertEqual(bob.outbox.events, [])

    def test_lost_words_of_somebody_gone_are_told_to_nobody(self) -> None:
        """If the author's session has ended, a lost post is told to nobody."""
        alice = self.account("alice")
        self.store.hold()
        self.say(alice, "one")
        self.chat.end_session(alice)
        self.store.fail()
        self.assertEqual(alice.outbox.events, [])


class ReplayTests(ChatTestCase):
    """Where a replay ends and live messages begin."""

    def post(self, text: str) -> None:
        """Say something in the room from elsewhere."""
        self.store.append(Post(self.state("tea").record, SAID, None, "zoe", NOW, text), ELSEWHERE)

    def setUp(self) -> None:
        super().setUp()
        self.alice, self.bob = self.account("alice"), self.account("bob")
        self.join("tea", self.alice)
        self.store.hold()

    def alice_leaves(self) -> None:
        """Nobody is in the room any more."""
        self.store.release()
        self.leave(self.alice, "tea")
        self.alice.outbox.take()
        self.store.hold()

    def assert_heard(self, session: Someone, texts: str) -> None:
        """Check what a session was shown on joining and afterwards, and that it goes on where the
        replay ends."""
        heard = [*session.outbox.replayed(), *session.outbox.heard()]
        self.assertEqual("".join(heard), texts)
        history = session.outbox.of(History)[-1]
        assert history.seq is not None
        seqs = [said.message.seq for said in session.outbox.of(Said)]
        self.assertEqual([seq for seq in seqs if seq <= history.seq], [])

    def test_joining_a_sleeping_room_leaves_no_gap(self) -> None:
        """In a room without people, each message is in the replay or live, whenever it is
        committed."""
        for steps in range(5):
            self.setUp()
            self.alice_leaves()
            self.post("1")
            joining = self.begin(self.chat.join(self.bob, "tea"))
            self.post("2")
            for _ in range(steps):
                if self.store.waiting:
                    self.store.step()
            self.post("3")
            self.store.commit()
            self.successResultOf(joining)
            self.post("4")
            self.store.commit()
            self.assert_heard(self.bob, "1234")

    def test_joining_a_living_room_leaves_no_gap(self) -> None:
        """In a room with people, posts that are in flight when somebody joins are in the replay or
        live."""
        self.post("1")
        self.store.commit()
        self.post("2")
        joining = self.begin(self.chat.join(self.bob, "tea"))
        self.post("3")
        self.store.commit()
        self.successResultOf(joining)
        self.assert_heard(self.bob, "123")
        self.assertEqual(self.alice.outbox.heard(), ["1", "2", "3"])

    def test_two_who_wake_a_room_hear_everything_once(self) -> None:
        """Two sessions that join a room without people hear each message once, whatever comes
        between their questions to the store."""
        self.alice_leaves()
        for session, text in ((self.alice, "1"), (self.bob, "2")):
            self.begin(self.chat.join(session, "tea"))
            self.post(text)
        self.store.commit()
        self.assert_heard(self.bob, "12")
        self.assert_heard(self.alice, "12")

    def test_sleeping_room_takes_no_memory(self) -> None:
        """A room that nobody is in keeps no messages at hand."""
        self.store.release()
        self.post("1")
        (lobby, tea) = self.chat._directory
        self.assertEqual(len(tea.recent or ()), 1)
        self.leave(self.alice, "tea")
        self.post("2")
        self.assertIsNone(tea.recent)
        self.end(self.alice, self.bob)
        self.assertIsNotNone(lobby.recent)

    def test_rejoining_shows_what_was_missed(self) -> None:
        """A room that nobody was in for a while replays what was said before."""
        self.store.release()
        self.post("1")
        self.leave(self.alice, "tea")
        self.post("2")
        self.run_now(self.chat.join(self.bob, "tea"))
        self.assertEqual(self.bob.outbox.replayed(), ["1", "2"])


class DirectTests(ChatTestCase):
    """Private messages."""

    def test_every_session_of_both_sides_has_it(self) -> None:
        """A private message is told to all sessions of the recipient, and to the sender's others as
        outgoing."""
        alice, desk = self.account("alice"), self.account("alice")
        phone, laptop = self.account("bob"), self.account("bob")
        carol = self.account("carol")
        for session in (alice, desk, phone, laptop):
            session.outbox.take()
        self.run_now(self.chat.direct(alice, "BOB", "psst"))
        (message,) = self.private()
        for session, events in (
            (alice, []),
            (desk, [Told(NOW, message, outgoing=True)]),
            (phone, [Told(NOW, message)]),
            (laptop, [Told(NOW, message)]),
            (carol, []),
        ):
            self.assertEqual(session.outbox.take(), events)

    def test_nothing_is_shown_before_it_is_in_the_log(self) -> None:
        """A private message is shown when it is stored, and not before."""
        alice, bob = self.account("alice"), self.account("bob")
        self.store.hold()
        self.run_now(self.chat.direct(alice, "bob", "psst"))
        self.assertEqual((bob.outbox.heard(), alice.in_flight), ([], 1))
        self.store.commit()
        self.assertEqual((bob.outbox.heard(), alice.in_flight), (["psst"], 0))

    def test_message_to_oneself_comes_once(self) -> None:
        """A message to oneself is told once to each of one's sessions."""
        alice, desk = self.account("alice"), self.account("alice")
        self.run_now(self.chat.direct(alice, "alice", "note"))
        self.assertEqual((alice.outbox.heard(), desk.outbox.heard()), (["note"], ["note"]))

    def test_absent_recipient_is_shown_it_at_the_next_login(self) -> None:
        """A message to an account that is away is shown at its next login, once, with the number of
        such messages; the sender is told."""
        self.registered("bob")
        alice = self.account("alice")
        for text in ("one", "two"):
            self.run_now(self.chat.direct(alice, "bob", text))
            self.assertEqual(alice.outbox.take(), [Away(NOW, "bob", kept=True)])
        bob = Someone()
        self.log_in(bob, "bob")
        self.assertIn(Unread(NOW, 2, more=False, alone=True), bob.outbox.events)
        self.assertEqual(bob.outbox.replayed(), ["one", "two"])
        self.chat.seen(bob)
        again = Someone()
        self.log_in(again, "bob")
        self.assertEqual(again.outbox.replayed(), [])

    def test_message_during_login_comes_once(self) -> None:
        """A message during the recipient's login is shown once: as unread if it was committed
        before the question, live if after."""
        bob = Someone()
        self.account("alice")
        self.registered("bob")
        account = self.run_now(self.accounts.authenticate("bob", PASSWORD, SHARED)).account
        self.store.hold()
        self.write_elsewhere("before")
        logging_in = Deferred.fromCoroutine(self.chat.log_in(bob, account))
        self.write_elsewhere("after")
        self.store.commit()
        self.successResultOf(logging_in)
        self.assertEqual((bob.outbox.replayed(), bob.outbox.heard()), (["before"], ["after"]))

    def write_elsewhere(self, text: str) -> None:
        """Have Alice write to Bob on another node."""
        room = conversation(Account(1, "alice"), Account(2, "bob"))
        self.store.append(Post(room, SAID, 1, "alice", NOW, text), ELSEWHERE)

    def test_messages_with_guests_are_not_kept(self) -> None:
        """Private messages with guests are delivered, and both sides are told once that they are
        not kept."""
        alice, gil = self.account("alice"), self.guest("gil")
        alice.outbox.take()
        for _ in range(2):
            self.run_now(self.chat.direct(alice, "gil", "psst"))
            self.run_now(self.chat.direct(gil, "alice", "what?"))
        self.assertEqual(gil.outbox.heard(), ["psst"] * 2)
        self.assertEqual(alice.outbox.heard(), ["what?"] * 2)
        for session in (alice, gil):
            self.assertEqual(session.outbox.of(NotKept), [NotKept(NOW)])
        self.assertEqual(self.private(), [])

    def test_unkept_message_keeps_its_place(self) -> None:
        """A private message to a guest keeps its place between two messages in the lobby."""
        alice, gil = self.account("alice"), self.guest("gil")
        self.store.hold()
        self.say(alice, "1")
        self.run_now(self.chat.direct(alice, "gil", "2"))
        self.say(alice, "3")
        self.store.commit()
        self.assertEqual(gil.outbox.heard(), ["1", "2", "3"])

    def test_nobody_of_that_name(self) -> None:
        """The refusal of a misspelt name names the nearest person."""
        alice = self.account("alice")
        self.account("bob")
        for name in ("bbo", "b?b"):
            refusal = self.refusal(self.chat.direct(alice, name, "psst"))
            self.assertEqual(refusal.code, "no-such-person")
            self.assertIn("did you mean bob?", refusal.text)

    def test_nothing_to_say_is_refused(self) -> None:
        """An empty private message is refused."""
        alice = self.account("alice")
        self.assertEqual(self.refusal(self.chat.direct(alice, "alice", " ")).code, "bad-arguments")

    def test_sender_who_ends_while_the_recipient_is_looked_up_says_nothing(self) -> None:
        """If the sender's session ends while the recipient is looked up, nothing is sent."""
        alice = self.account("alice")
        self.registered("bob")
        self.store.hold()
        telling = Deferred.fromCoroutine(self.chat.direct(alice, "bob", "psst"))
        self.chat.end_session(alice)
        self.store.commit()
        self.successResultOf(telling)
        self.assertEqual(self.private(), [])

    def test_lost_message_is_told_to_its_sender(self) -> None:
        """Only the sender is told that a private message was lost."""
        alice, bob = self.account("alice"), self.account("bob")
        alice.outbox.take()
        self.store.hold()
        self.run_now(self.chat.direct(alice, "bob", "psst"))
        self.store.fail()
        self.assertEqual(len(alice.outbox.of(Refused)), 1)
        self.assertEqual((bob.outbox.events, alice.in_flight), ([], 0))


class ReplyTests(ChatTestCase):
    """Answering the last private message."""

    def setUp(self) -> None:
        super().setUp()
        self.alice = self.account("alice")

    def answered(self, text: str = "yes") -> str:
        """Whom alice's reply went to."""
        return self.run_now(self.chat.reply(self.alice, text))

    def test_goes_to_who_wrote_last(self) -> None:
        """A reply goes to the person who wrote last, not to the person one wrote to last."""
        bob, gil = self.account("bob"), self.guest("gil")
        self.run_now(self.chat.direct(bob, "alice", "one"))
        self.run_now(self.chat.direct(self.alice, "gil", "two"))
        self.assertEqual(self.answered("to bob"), "bob")
        self.run_now(self.chat.direct(gil, "alice", "three"))
        self.assertEqual(self.answered("to gil"), "gil")
        self.assertEqual(bob.outbox.heard(), ["to bob"])
        self.assertEqual(gil.outbox.heard(), ["two", "to gil"])

    def test_nobody_has_written(self) -> None:
        """A reply is refused if nobody has written; a message to oneself does not count."""
        self.run_now(self.chat.direct(self.alice, "alice", "note"))
        refusal = self.refusal(self.chat.reply(self.alice, "yes"))
        self.assertEqual(refusal.code, "no-such-person")
        self.assertEqual(refusal.way, "write-privately")

    def test_follows_a_guest_who_is_renamed(self) -> None:
        """A reply follows a guest who was renamed, or who has registered."""
        gil = self.guest("gil")
        self.run_now(self.chat.direct(gil, "alice", "hi"))
        self.run_now(self.chat.rename_guest(gil, "gilbert"))
        self.assertEqual(self.answered(), "gilbert")
        self.registered("zoe")
        self.log_in(gil, "zoe")
        self.assertEqual(self.answered(), "zoe")
        self.assertEqual(gil.outbox.heard(), ["yes", "yes"])

    def test_does_not_go_to_another_guest_of_the_name(self) -> None:
        """A reply does not go to another guest who has taken the name of the one who wrote."""
        gil = self.guest("gil")
        self.run_now(self.chat.direct(gil, "alice", "hi"))
        self.chat.end_session(gil)
        another = self.guest("gil")
        refusal = self.refusal(self.chat.reply(self.alice, "secret"))
        self.assertEqual(refusal.code, "no-such-person")
        self.assertIn("has left", refusal.text)
        self.assertEqual(another.outbox.heard(), [])

    def test_goes_to_an_account_that_has_left(self) -> None:
        """A reply to an account that has left is kept for its next login."""
        bob = self.account("bob")
        self.run_now(self.chat.direct(bob, "alice", "hi"))
        self.chat.end_session(bob)
        self.assertEqual(self.answered(), "bob")
        bob = Someone()
        self.log_in(bob, "bob")
        self.assertEqual(bob.outbox.replayed(), ["yes"])

    def test_what_came_while_one_was_away_can_be_answered(self) -> None:
        """A reply goes to the last message that was shown at login."""
        self.chat.end_session(self.alice)
        for name in ("bob", "carol"):
            self.run_now(self.chat.direct(self.account(name), "alice", "hi"))
        self.alice = self.account("alice")
        self.assertEqual(self.answered(), "carol")

    def test_what_a_session_resumes_with_can_be_answered(self) -> None:
        """A reply goes to the last message that a resume showed; one's own do not count."""
        bob = self.account("bob")
        self.run_now(self.chat.direct(bob, "alice", "hi"))
        self.run_now(self.chat.direct(self.alice, "bob", "hello"))
        self.alice = Someone()
        self.run_now(self.chat.since(self.alice, {"@bob": 0}))
        self.log_in(self.alice, "alice")
        self.assertEqual(self.answered(), "bob")


class FaultTests(ChatTestCase):
    """Former defects."""

    def test_name_stays_held_while_its_guest_who_hung_up_registers_it(self) -> None:
        """The name of a guest who hangs up while registering it is held until the account is
        made."""
        bob = self.guest("bob")
        self.hasher.held = True
        registering = Deferred.fromCoroutine(
            self.accounts.register("bob", PASSWORD, SHARED, mine=self.hold(bob))
        )
        self.chat.end_session(bob)
        self.assertEqual(self.refusal(self.accounts.hold("bob")).code, "name-taken")
        self.hasher.release()
        self.assertEqual(self.successResultOf(registering).name, "bob")
        self.assertEqual(self.refusal(self.accounts.hold("bob")).code, "name-registered")

    def test_refused_join_changes_nothing(self) -> None:
        """A refused join makes no room and changes no membership."""
        alice = self.account("alice")
        self.join("one", alice)
        self.join("two", alice)
        self.join("lobby", alice)
        self.refusal(self.chat.join(alice, "three"))
        self.say(alice, "hi")
        self.assertEqual(self.messages()[-1].room.name, "lobby")
        self.assertNotIn("three", self.room_names())

    def test_private_message_does_not_reach_another_guest_of_the_name(self) -> None:
        """A private message to a guest who has left does not reach another guest who has taken the
        name."""
        bob = self.guest("bob")
        key = self.hold(bob).key
        self.chat.end_session(bob)
        another = self.guest("bob")
        message = Aside(None, "carol", None, "bob", key, NOW, "secret")
        self.chat.deliver([(0, message)])
        self.assertEqual(another.outbox.heard(), [])
        self.chat.deliver([(0, message._replace(recipient_key=self.hold(another).key))])
        self.assertEqual(another.outbox.heard(), ["secret"])

    def test_closed_session_is_sent_nothing(self) -> None:
        """A session that has ended is told no remark about a message in flight, and no answer."""
        alice, carol = self.account("alice"), self.account("carol")
        alice.outbox.take()
        self.registered("bob")
        self.store.hold()
        telling = Deferred.fromCoroutine(self.chat.direct(alice, "bob", "psst"))
        asking = Deferred.fromCoroutine(self.chat.since(carol, {"lobby": 0}))
        self.store.step()
        self.chat.end_session(alice)
        self.chat.end_session(carol)
        self.store.release()
        self.successResultOf(telling)
        self.successResultOf(asking)
        self.assertEqual(alice.outbox.events + carol.outbox.events, [])

    def test_joining_at_once_does_not_exceed_the_bound_on_rooms(self) -> None:
        """Rooms that are being made count against the limit."""
        people = [self.account(f"p{n}") for n in "abcdefghij"]
        self.store.hold()
        for person, room in zip(people, "klmnopqrst", strict=True):
            joining = Deferred.fromCoroutine(self.chat.join(person, room))
            joining.addErrback(lambda failure: failure.trap(Refusal))
        self.store.release()
        self.assertEqual(len(self.store.open()), self.limits.max_rooms)


class CrowdTests(ChatTestCase):
    """People who join and leave a big room."""

    limits = Limits(max_joined=3)

    def setUp(self) -> None:
        super().setUp()
        self.watcher = self.account("watcher")
        self.crowd = [self.guest(f"person{n}") for n in range(20)]
        self.clock.pump([5, 5])
        self.watcher.outbox.take()

    def test_the_first_is_told_at_once_and_the_others_together(self) -> None:
        """The first arrival is told at once, and the others together in one line for each
        window."""
        more = [self.guest(f"late{n}") for n in range(100)]
        (first,) = self.watcher.outbox.take()
        self.assertEqual(first, Joined(NOW, "lobby", (("late0", False),)))
        self.clock.advance(5)
        people = tuple((f"late{n}", False) for n in range(1, 100))
        self.assertEqual(self.watcher.outbox.take(), [Joined(NOW, "lobby", people)])
        for session in more[:50]:
            self.chat.end_session(session)
        self.clock.advance(5)
        gone = tuple(f"late{n}" for n in range(50))
        self.assertEqual(self.watcher.outbox.take(), [Left(NOW, "lobby", gone)])
        self.clock.pump([5, 5])
        self.assertEqual(self.watcher.outbox.take(), [])

    def test_nobody_is_told_of_who_came_and_went_between(self) -> None:
        """A person who came and went within a window is told of to nobody, and is in no list."""
        self.guest("first")
        self.watcher.outbox.take()
        for name in ("fleeting", "passing"):
            self.chat.end_session(self.guest(name))
        self.clock.pump([5, 5])
        self.assertEqual(self.watcher.outbox.take(), [])
        self.assertNotIn("fleeting", self.users(self.watcher))

    def test_everyone_is_in_the_list_before_they_are_told_of(self) -> None:
        """The list of people has everybody, also those who are not told of yet."""
        self.guest("first")
        self.guest("second")
        self.assertIn("second", self.users(self.watcher))

    def test_next_guest_of_the_name(self) -> None:
        """A guest who becomes an account that is here, and so is told that the guest has left, is
        told of the next guest of the name, in each room that both are in."""
        self.account("alice")
        session = self.guest("carol")
        others = [self.guest(f"drinker{n}") for n in range(11)]
        self.join("tea", session, *others)
        self.log_in(session, "alice")
        self.join("tea", self.guest("carol"))
        session.outbox.take()
        self.clock.pump([5, 5])
        joined = [(event.room, event.people) for event in session.outbox.of(Joined)]
        for room in ("lobby", "tea"):
            people = [each for place, names in joined if place == room for each in names]
            self.assertIn(("carol", False), people, room)

    def test_rename_of_somebody_who_is_not_told_of_yet(self) -> None:
        """If a guest who is not told of yet is renamed, the arrival is told first, under the old
        name."""
        self.guest("first")
        second = self.guest("second")
        self.watcher.outbox.take()
        self.run_now(self.chat.rename_guest(second, "third"))
        self.assertEqual(
            self.watcher.outbox.take(),
            [
                Joined(NOW, "lobby", (("second", False),)),
                Renamed(NOW, "second", "third", account=False),
            ],
        )

    def news(self) -> list[Event]:
        """The events that the watcher is told once all windows are closed."""
        self.clock.pump([5, 5])
        return self.watcher.outbox.take()

    def test_somebody_who_came_and_went_within_a_window_of_the_lobby(self) -> None:
        """A person who came and went within a window of the lobby is told of in a small room that
        they joined."""
        self.join("tea", self.watcher)
        self.guest("first")
        self.watcher.outbox.take()
        fleeting = self.guest("fleeting")
        self.join("tea", fleeting)
        self.chat.end_session(fleeting)
        self.assertEqual(
            self.news(),
            [Joined(NOW, "tea", (("fleeting", False),)), Left(NOW, "tea", ("fleeting",))],
        )

    def test_somebody_who_came_and_went_within_a_window_of_a_big_room(self) -> None:
        """A person who came and went within a window of a big room is not told of there."""
        self.join("tea", self.watcher, *self.crowd)
        self.news()
        self.guest("first")
        second = self.guest("second")
        self.join("tea", second)
        third = self.guest("third")
        self.join("tea", third)
        self.chat.end_session(third)
        self.assertNotIn("third", str(self.news()))

    def test_somebody_who_is_back_before_it_was_told_that_they_went(self) -> None:
        """A person who is back within a window of the lobby is no news there; a room that they are
        not in any more is told."""
        late = self.guest("late")
        self.join("tea", self.watcher, late)
        self.news()
        self.guest("first")
        self.watcher.outbox.take()
        self.chat.end_session(late)
        self.guest("late")
        self.assertEqual(self.news(), [Left(NOW, "tea", ("late",))])

    def test_somebody_who_is_back_after_the_lobby_was_told(self) -> None:
        """A person who left the lobby left all rooms, so a room with a longer window tells that
        they are in it again."""
        late = self.guest("late")
        self.join("tea", self.watcher, late, *self.crowd)
        more = [self.guest(f"more{n}") for n in range(5)]
        self.news()
        for session in more:
            self.join("tea", session)
        self.chat.end_session(more[0])  # opens the lobby's window
        self.chat.end_session(late)
        self.clock.advance(0.0001)
        self.chat._lobby._close_window()
        late = self.guest("late")
        self.join("tea", late)
        told = [event for event in self.news() if getattr(event, "room", "") == "tea"]
        self.assertTrue(
            [each for each in told if isinstance(each, Joined) and ("late", False) in each.people]
        )

    def test_nobody_is_told_of_themselves(self) -> None:
        """People who came within one window are each told of the others, and not of themselves."""
        self.guest("first")
        late = [self.guest(f"late{n}") for n in range(3)]
        self.news()
        for session, others in zip(late, ((1, 2), (0, 2), (0, 1)), strict=True):
            (joined,) = session.outbox.take()
            people = tuple((f"late{n}", False) for n in others)
            self.assertEqual(joined, Joined(NOW, "lobby", people))

    def test_somebody_who_was_in_a_list_is_told_of_when_they_go(self) -> None:
        """A departure is told although it cancels an arrival in the window, if a list has shown the
        name."""
        self.guest("first")
        fleeting = self.guest("fleeting")
        self.assertIn("fleeting", self.users(self.watcher))
        self.watcher.outbox.take()
        self.chat.end_session(fleeting)
        self.assertEqual(self.news(), [Left(NOW, "lobby", ("fleeting",))])
        self.assertNotIn("fleeting", self.users(self.watcher))

    def test_joining_a_big_room_lists_nobody(self) -> None:
        """Joining a room of more than fifty tells the number of people, and lists nobody."""
        more = [self.guest(f"more{n}") for n in range(30)]
        for number, session in enumerate([*self.crowd, *more, self.watcher], 1):
            session.outbox.take()
            self.run_now(self.chat.join(session, "tea"))
            last = session.outbox.sends[-1]
            if number <= 50:
                assert isinstance(last[-1], Users)
                self.assertEqual(len(last[-1].people), number)
            else:
                self.assertEqual(last[-1], Crowd(NOW, "tea", 51))
        self.assertEqual(len(self.users(self.watcher, "tea")), 51)

    def test_lines_do_not_grow_with_the_square_of_the_people(self) -> None:
        """A thousand people who join at once cost each reader a line or two."""
        for number in range(1000):
            self.guest(f"storm{number}")
        self.clock.pump([5, 5])
        self.assertEqual(len(self.watcher.outbox.take()), 2)
        self.assertEqual(len(self.users(self.watcher)), 1021)
