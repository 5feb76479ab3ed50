"""Several operations of one session at once, as a face may ask for them by mistake."""

from collections import Counter
from collections.abc import Coroutine
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.support import MemoryStore, PlainHasher, RecordingOutbox, fan_out, guard, held, now
from twisted_chat.core.accounts import Accounts
from twisted_chat.core.addresses import SHARED
from twisted_chat.core.chat import Chat, Session
from twisted_chat.core.errors import Refusal
from twisted_chat.core.limits import Limits
from twisted_chat.core.model import Account

from .test_chat import PASSWORD, ChatTestCase, Someone

_MOST = 3
_ROOMS = ("lobby", "tea", "bar", "den")

_pick = st.integers(0, 99)


class AtOnceTests(ChatTestCase):
    """Pairs of operations that once went wrong. A session may be in three rooms."""

    def at_once(self, *operations: Coroutine[Any, Any, object]) -> list[object]:
        """Begin these operations before the store answers any of them; return what came of each."""
        self.store.hold()
        begun = [Deferred.fromCoroutine(operation) for operation in operations]
        self.store.release()
        results: list[object] = []
        for each in begun:
            each.addBoth(results.append)
        return [r.value.code if isinstance(r, Failure) else r for r in results]  # type: ignore

    def check_gone(self, session: Someone) -> None:
        """End the session; then nobody is here and no name is held."""
        self.chat.end_session(session)
        self.assertEqual(self.users(self.guest("zz")), ["zz"])
        self.guest("bob")

    def test_second_operation_is_refused(self) -> None:
        """An operation is refused while another one of the session awaits something."""
        self.join("tea", self.account("alice"))
        bob = self.guest("bob")
        self.store.hold()
        joining = Deferred.fromCoroutine(self.chat.join(bob, "den"))
        for operation in (
            lambda: self.chat.join(bob, "tea"),
            lambda: self.chat.leave(bob, "lobby"),
            lambda: self.chat.direct(bob, "alice", "psst"),
            lambda: self.chat.reply(bob, "psst"),
            lambda: self.chat.set_topic(bob, "lobby", "x"),
            lambda: self.chat.rename_guest(bob, "robert"),
            lambda: self.chat.history(bob, "lobby"),
            lambda: self.chat.since(bob, {"lobby": 0}),
            lambda: self.chat.where(bob),
            lambda: self.chat.read(bob, "lobby"),
            lambda: self.chat.log_in(bob, Account(1, "alice")),
            lambda: self.chat.come_as_guest(bob, held(self.accounts.hold_guest_number())),
        ):
            self.assertEqual(self.refusal(operation()).code, "busy")
        for query in (
            lambda: self.chat.say(bob, "lobby", "hi"),
            lambda: self.chat.users(bob, "lobby"),
            lambda: self.chat.topic(bob, "lobby"),
            lambda: self.chat.rooms(bob),
            lambda: self.chat.whois(bob, "bob"),
            lambda: self.chat.room_of(bob, "lobby"),
        ):
            self.assertEqual(self.assertRaises(Refusal, query).code, "busy")
        self.store.release()
        self.successResultOf(joining)
        self.chat.say(bob, "den", "hi")
        self.assertEqual([message.text for message in self.messages()], ["hi"])
        self.assertEqual(self.rooms_of(bob), ("den", "lobby"))

    def test_refused_operation_is_over(self) -> None:
        """After a refused operation the next one may begin."""
        bob = self.guest("bob")
        self.assertEqual(self.refusal(self.chat.join(bob, "?")).code, "bad-name")
        self.run_now(self.chat.join(bob, "tea"))

    def authenticated(self, name: str) -> Account:
        """Make an account that nobody is logged in to."""
        self.registered(name)
        return self.run_now(self.accounts.authenticate(name, PASSWORD, SHARED)).account

    def test_two_logins(self) -> None:
        """Of two logins at once the first counts, for a new session and for a guest's."""
        for make in (Someone, lambda: self.guest("bob")):
            self.setUp()
            session = make()
            accounts = [self.authenticated(name) for name in ("alice", "robert")]
            results = self.at_once(*(self.chat.log_in(session, each) for each in accounts))
            self.assertEqual(results, [None, "busy"])
            assert session.person is not None
            self.assertEqual(session.person.name, "alice")
            self.assertEqual(self.users(session), ["alice"])
            again = self.refusal(self.chat.log_in(session, accounts[0]))
            self.assertEqual(again.code, "already-logged-in")
            self.check_gone(session)

    def test_login_and_guest(self) -> None:
        """If a login and a guest name are asked for at once, the login counts, and the guest name
        is free."""
        alice = self.authenticated("alice")
        session = Someone()
        hold = self.run_now(self.accounts.hold("bob"))
        results = self.at_once(
            self.chat.log_in(session, alice), self.chat.come_as_guest(session, hold)
        )
        self.assertEqual(results, [None, "busy"])
        self.assertEqual(self.users(session), ["alice"])
        hold = self.run_now(self.accounts.hold("bob"))
        again = self.refusal(self.chat.come_as_guest(session, hold))
        self.assertEqual(again.code, "already-logged-in")
        self.check_gone(session)

    def test_rename_and_login(self) -> None:
        """If a new name and a login are asked for at once, the new name counts, and the old one is
        free."""
        account = self.authenticated("alice")
        bob = self.guest("bob")
        results = self.at_once(
            self.chat.rename_guest(bob, "robert"), self.chat.log_in(bob, account)
        )
        self.assertEqual(results, [None, "busy"])
        self.assertEqual(self.users(bob), ["robert"])
        self.check_gone(bob)


class NobodyTests(ChatTestCase):
    """A session that is not logged in is refused everything but logging in, and nothing is done."""

    def test_nobody_does_nothing(self) -> None:
        """A session that is nobody makes no room, lists nobody, and does not learn which rooms
        there are."""
        self.join("tea", self.account("alice"))
        for session in Someone(), self.gone():
            for operation in (
                lambda s: self.chat.join(s, "new"),
                lambda s: self.chat.join(s, "tea"),
                self.chat.rooms,
                lambda s: self.chat.users(s, "lobby"),
                lambda s: self.chat.users(s, "nowhere"),
                lambda s: self.chat.whois(s, "alice"),
                lambda s: self.chat.topic(s, "tea"),
                lambda s: self.chat.topic(s, "nowhere"),
                lambda s: self.chat.set_topic(s, "tea", "x" * 1000),
                lambda s: self.chat.history(s, "nowhere", 0),
                lambda s: self.chat.history(s, "@alice"),
                lambda s: self.chat.say(s, "tea", ""),
                lambda s: self.chat.say(s, "nowhere", "", label="0123456789abcdef"),
                lambda s: self.chat.direct(s, "nobody", ""),
                lambda s: self.chat.reply(s, ""),
                lambda s: self.chat.leave(s, "nowhere"),
                lambda s: self.chat.rename_guest(s, "?"),
                self.chat.where,
                lambda s: self.chat.read(s, "nowhere"),
                lambda s: self.chat.room_of(s, "nowhere"),
            ):
                try:
                    result: Any = operation(session)
                    if isinstance(result, Coroutine):
                        self.assertEqual(self.refusal(result).code, "not-logged-in")
                    else:
                        self.fail("it was not refused")
                except Refusal as refusal:
                    self.assertEqual(refusal.code, "not-logged-in")
            self.assertEqual(session.outbox.events, [])
        self.assertEqual(self.room_names(), ["lobby", "tea"])

    def gone(self) -> Someone:
        """Make a session that is over."""
        session = self.guest("gus")
        self.chat.end_session(session)
        return session


class EndTests(ChatTestCase):
    """The end of a session whose posts have just landed."""

    def test_session_is_over_once(self) -> None:
        """A session that ends as soon as the last of its posts has landed is over once, whether its
        own operation ends it or what another session waited for."""
        alice, bob = self.account("alice"), self.account("bob")
        self.store.hold()

        async def set_topic() -> None:
            await self.chat.set_topic(alice, "lobby", "x")
            self.chat.end_session(alice)
            self.chat.end_session(bob)

        setting = self.begin(set_topic())
        self.chat.say(bob, "lobby", "bye")
        self.store.release()
        self.successResultOf(setting)
        self.assertEqual((alice.ends, bob.ends), (1, 1))


class BrokenOutbox(RecordingOutbox):
    """An outbox with a defect."""

    def send(self, events: object, /) -> bool:
        raise ZeroDivisionError


class BrokenDeliveryTests(ChatTestCase):
    """An error while a batch is delivered."""

    def test_senders_are_not_in_flight_for_ever(self) -> None:
        """If delivering a batch fails, that is logged, and all its posts count as landed."""
        alice, bob = self.account("alice"), self.account("bob")
        broken = self.account("carol")
        broken.outbox.send = BrokenOutbox().send  # type: ignore[method-assign]
        self.store.hold()
        self.say(alice, "1")
        self.run_now_held(self.chat.direct(bob, "carol", "2"))
        self.store.commit()
        self.assertEqual([type(each) for each in self.failures], [ZeroDivisionError])
        self.failures.clear()
        self.assertEqual((alice.in_flight, bob.in_flight), (0, 0))
        self.assertEqual((alice.landings, bob.landings), (1, 1))

    def run_now_held(self, coroutine: Coroutine[Any, Any, object]) -> None:
        """Run a coroutine that asks the store nothing."""
        self.successResultOf(Deferred.fromCoroutine(coroutine))


class AtOnceMachine(RuleBasedStateMachine):
    """The real chat, on a store that answers when it is told to, and sessions that wait for
    nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.store = MemoryStore()
        self.wrong: list[Failure] = []
        self.accounts = Accounts(self.store, PlainHasher(), guard(), now, min_password=1)
        self.chat = Chat(
            self.store,
            self.accounts,
            guard(),
            Limits(max_joined=_MOST),
            now,
            Clock().callLater,
            fan_out,
            Deferred,
            lambda: self.wrong.append(Failure()),
        )
        self.chat.open(self.store.open())
        self.store.subscribe(self.chat.deliver, self.chat.lose)
        self.known: list[Account] = []
        for name in ("alice", "bob"):
            Deferred.fromCoroutine(self.accounts.register(name, "x", SHARED)).addCallback(
                self.known.append
            )
        self.store.hold()
        self.sessions: list[Session] = []

    def begin(self, doing: Coroutine[Any, Any, object]) -> None:
        """Begin an operation, without waiting for it."""
        done = Deferred.fromCoroutine(doing)
        done.addErrback(lambda failure: failure.trap(Refusal) and None)
        done.addErrback(self.wrong.append)

    def somebody(self, number: int) -> Session:
        return self.sessions[number % len(self.sessions)]

    @precondition(lambda self: len(self.sessions) < 4)
    @rule()
    def connect(self) -> None:
        """A session begins."""
        self.sessions.append(Session(RecordingOutbox()))

    @precondition(lambda self: self.sessions)
    @rule(who=_pick, account=st.integers(0, 1))
    def log_in(self, who: int, account: int) -> None:
        """A session logs in, whatever else it is doing."""
        self.begin(self.chat.log_in(self.somebody(who), self.known[account]))

    @precondition(lambda self: self.sessions)
    @rule(who=_pick, name=st.sampled_from(("", "carol", "dora")))
    def come_as_guest(self, who: int, name: str) -> None:
        """A session comes as a guest, whatever else it is doing."""

        async def come(session: Session) -> None:
            held = await (self.accounts.hold(name) if name else self.accounts.hold_guest_number())
            await self.chat.come_as_guest(session, held)

        self.begin(come(self.somebody(who)))

    @precondition(lambda self: self.sessions)
    @rule(who=_pick, name=st.sampled_from(("carol", "dora")))
    def rename(self, who: int, name: str) -> None:
        """A session takes another name."""
        self.begin(self.chat.rename_guest(self.somebody(who), name))

    @precondition(lambda self: self.sessions)
    @rule(who=_pick, room=st.sampled_from(_ROOMS))
    def join(self, who: int, room: str) -> None:
        """A session joins a room."""
        self.begin(self.chat.join(self.somebody(who), room))

    @precondition(lambda self: self.sessions)
    @rule(who=_pick, room=st.sampled_from(_ROOMS))
    def leave(self, who: int, room: str) -> None:
        """A session leaves a room."""
        self.begin(self.chat.leave(self.somebody(who), room))

    @precondition(lambda self: self.sessions)
    @rule(who=_pick, room=st.sampled_from(_ROOMS))
    def since(self, who: int, room: str) -> None:
        """A session asks to resume."""
        self.begin(self.chat.since(self.somebody(who), {room: 0}))

    @precondition(lambda self: self.sessions)
    @rule(who=_pick, room=st.sampled_from(_ROOMS))
    def set_topic(self, who: int, room: str) -> None:
        """A session sets a topic."""
        self.begin(self.chat.set_topic(self.somebody(who), room, "x"))

    @precondition(lambda self: self.sessions)
    @rule(who=_pick, of=st.sampled_from((*_ROOMS, "@bob")))
    def read(self, who: int, of: str) -> None:
        """A session reads, and asks where it is."""
        session = self.somebody(who)
        self.chat.seen(session)
        self.begin(self.chat.read(session, of))
        self.begin(self.chat.where(session))

    @precondition(lambda self: self.sessions)
    @rule(who=_pick)
    def say(self, who: int) -> None:
        """A session says something in private and in public."""
        session = self.somebody(who)
        self.begin(self.chat.direct(session, "alice", "psst"))
        try:
            self.chat.say(session, "lobby", "hello")
        except Refusal:
            pass

    @precondition(lambda self: self.sessions)
    @rule(who=_pick)
    def go(self, who: int) -> None:
        """A session ends, whatever it is doing."""
        self.chat.end_session(self.sessions.pop(who % len(self.sessions)))

    @rule()
    def step(self) -> None:
        """The store answers one question."""
        if self.store.waiting:
            self.store.step()

    @rule()
    def fail(self) -> None:
        """What waits to be stored is lost."""
        self.store.fail()

    @rule()
    def commit(self) -> None:
        """The store answers all."""
        self.store.commit()

    @invariant()
    def all_agree_on_who_is_where(self) -> None:
        """The rooms, the people and the sessions agree on who is where."""
        people = {session.person for session in self.sessions if session.person is not None}
        leaving = Counter(self.chat._here._leaving.values())
        assert set(self.chat._shared.people.values()) == people | leaving.keys()
        for person in people | leaving.keys():
            assert self.chat._shared.people[person.name] is person
            mine = {session for session in self.sessions if session.person is person}
            assert set(person.sessions) == mine
            assert person.leaving == leaving[person]
            assert len(set(person.rooms)) == len(person.rooms)
            assert self.chat._lobby in person.rooms
            if person.account is not None:
                assert set(person.rooms) == set(self.chat._directory.rooms_of(person.account.id))
        for room in self.chat._directory:
            present = {person for person in people | leaving.keys() if room in person.rooms}
            assert room.people.keys() == present
            there = {session for person in present for session in person.sessions}
            assert set(room.sessions) <= there
            assert all(session.is_busy for session in there - set(room.sessions))

    def teardown(self) -> None:
        """When all sessions have ended and all questions are answered, nobody is here and no name
        is held."""
        while self.sessions:
            self.go(0)
        self.store.commit()
        assert not self.wrong, self.wrong
        assert not self.chat._shared.people
        assert not self.chat._here._leaving
        assert not self.chat._feed.flights
        assert not self.accounts._holds


class AtOnceModelTests(SynchronousTestCase):
    """Operations of one session at once, in random order."""

    def test_nothing_is_corrupted(self) -> None:
        """Each operation is carried out or refused, however many begin at once, and whatever the
        store answers first."""
        run_state_machine_as_test(
            AtOnceMachine,
            settings=settings(stateful_step_count=30),
        )
