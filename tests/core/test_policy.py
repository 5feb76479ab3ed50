"""Who may do what, where."""

from typing import get_args

from tests.support import NOW
from twisted_chat.core import policy
from twisted_chat.core.directory import Whois
from twisted_chat.core.errors import Refusal
from twisted_chat.core.events import Away, Left, Said
from twisted_chat.core.policy import Action

from .test_chat import PASSWORD, ChatTestCase, Someone


class PolicyTests(ChatTestCase):
    """The table of actions."""

    def setUp(self) -> None:
        super().setUp()
        self.inside, self.outside = self.account("alice"), self.account("bob")
        self.join("tea", self.inside)
        assert self.inside.person is not None
        self.tea = self.inside.person.rooms[-1]

    def allowed(self, session: Someone, *, there: bool) -> set[str]:
        """What a session may do, in the room or without one."""
        allowed = set()
        for action in get_args(Action):
            try:
                policy.may(session.person, action, self.tea if there else None)
                allowed.add(action)
            except Refusal:
                pass
        return allowed

    def test_every_action_is_in_the_table(self) -> None:
        """Every action has a row in the table."""
        self.assertEqual(set(policy._NEEDS), set(get_args(Action)))

    def test_nobody(self) -> None:
        """A session that is nobody may log in and resume, and does not learn which rooms there
        are."""
        ended = self.guest("gus")
        self.chat.end_session(ended)
        for session in Someone(), ended:
            for there in True, False:
                self.assertEqual(
                    self.allowed(session, there=there), {"log in", "come as guest", "resume"}
                )

    def test_member(self) -> None:
        """A member of a room may do everything."""
        for there in True, False:
            self.assertEqual(self.allowed(self.inside, there=there), set(get_args(Action)))

    def test_account_on_all_its_sessions(self) -> None:
        """An account that is in a room may do everything there on each of its sessions."""
        desk = self.account("alice")
        self.assertEqual(self.allowed(desk, there=True), set(get_args(Action)))

    def test_others(self) -> None:
        """A person must be in a room to talk in it, read it, set its topic or leave it."""
        forbidden = {"say", "read room", "set topic", "leave", "go to"}
        self.assertEqual(self.allowed(self.outside, there=False), set(get_args(Action)))
        self.assertEqual(self.allowed(self.outside, there=True), set(get_args(Action)) - forbidden)

    def test_refusals_of_rooms(self) -> None:
        """The refusal names the room, and the way in if there is one."""
        for action, way in ("say", "join-first"), ("leave", None):
            refusal = self.assertRaises(Refusal, policy.may, self.outside.person, action, self.tea)
            self.assertEqual((refusal.code, refusal.way), ("not-in-room", way))
            self.assertEqual(refusal.fields, {"room": "tea"})
            self.assertIn("you are not in #tea", refusal.text)

    def test_operations_ask(self) -> None:
        """Every operation on a room is refused to a person who is not in it, whatever other rooms
        they are in."""
        for operation in (
            lambda: self.chat.set_topic(self.outside, "tea", "x"),
            lambda: self.chat.history(self.outside, "tea"),
            lambda: self.chat.leave(self.outside, "tea"),
            lambda: self.chat.read(self.outside, "tea"),
        ):
            self.assertEqual(self.refusal(operation()).code, "not-in-room")
        refusal = self.assertRaises(Refusal, self.chat.say, self.outside, "tea", "hi")
        self.assertEqual(refusal.code, "not-in-room")
        self.assertEqual(self.messages(), [])


class WhoisTests(ChatTestCase):
    """Who somebody is."""

    def test_somebody_who_is_here(self) -> None:
        """C{whois} finds a person by any spelling of the name, and tells whether it is an account,
        and its rooms."""
        alice, gil = self.account("alice"), self.guest("gil")
        self.join("tea", alice)
        self.join("bar", alice)
        self.assertEqual(
            self.chat.whois(gil, "ALICE"), Whois("alice", True, ("bar", "lobby", "tea"))
        )
        self.assertEqual(self.chat.whois(gil, "gil"), Whois("gil", False, ("lobby",)))

    def test_nobody(self) -> None:
        """C{whois} finds no account that is away, no unknown name, and nothing that is no name."""
        alice = self.account("alice")
        self.registered("bob")
        for name in ("bob", "carol", "?"):
            self.assertIsNone(self.chat.whois(alice, name))


class EndTests(ChatTestCase):
    """A session that ends with posts in flight."""

    def setUp(self) -> None:
        super().setUp()
        self.alice = self.account("alice")

    def test_last_words_come_before_the_leaving(self) -> None:
        """A person is here until their posts have landed; then the session is over, once."""
        gil = self.guest("gil")
        self.join("tea", self.alice, gil)
        self.store.hold()
        self.say(gil, "bye")
        self.chat.end_session(gil)
        self.chat.end_session(gil)
        self.assertEqual((self.users(self.alice, "tea"), gil.ends), (["alice", "gil"], 0))
        self.store.commit()
        said, left = self.alice.outbox.take()
        assert isinstance(said, Said)
        self.assertEqual((said.message.text, left), ("bye", Left(NOW, "lobby", ("gil",))))
        self.assertEqual((self.users(self.alice, "tea"), gil.ends), (["alice"], 1))
        self.assertEqual(gil.outbox.take(), [])

    def test_name_of_a_guest_is_held_until_then(self) -> None:
        """The name of a guest is held until their posts have landed or are lost."""
        gil = self.guest("gil")
        self.store.hold()
        self.say(gil, "bye")
        self.chat.end_session(gil)
        self.assertEqual(self.refusal(self.accounts.hold("gil")).code, "name-taken")
        self.store.fail()
        self.store.release()
        self.guest("gil")

    def test_account_that_is_back_before_its_words_have_landed(self) -> None:
        """If an account logs in again before its posts have landed, nobody is told of either, and
        it stays."""
        bob = self.account("bob")
        self.alice.outbox.take()
        again = Someone()
        account = self.the_account("bob")
        self.store.hold()
        login = self.begin(self.chat.log_in(again, account))
        self.say(bob, "hi")
        self.chat.end_session(bob)
        self.store.answer()
        self.successResultOf(login)
        self.store.commit()
        self.assertEqual([type(event) for event in self.alice.outbox.take()], [Said])
        self.assertEqual((self.users(self.alice), bob.ends), (["alice", "bob"], 1))

    def test_nobody_is_shown_to_a_session_that_has_ended(self) -> None:
        """A private message to a person whose last session has ended is kept as for one who is
        away."""
        bob = self.account("bob")
        self.store.hold()
        self.say(bob, "hi")
        self.chat.end_session(bob)
        self.begin(self.chat.direct(self.alice, "bob", "psst"))
        self.store.release()
        self.assertEqual(bob.outbox.heard(), [])
        self.assertEqual(self.alice.outbox.of(Away), [Away(NOW, "bob", kept=True)])
        again = Someone()
        self.log_in(again, "bob")
        self.assertIn("psst", again.outbox.replayed())

    def test_guest_becomes_an_account_whose_last_session_is_ending(self) -> None:
        """If a guest logs in to an account whose last session is ending, the account counts as
        being here."""
        bob, gil = self.account("bob"), self.guest("gil")
        self.alice.outbox.take()
        account = self.run_now(self.accounts.authenticate("bob", PASSWORD, gil.source)).account
        self.store.hold()
        login = self.begin(self.chat.log_in(gil, account))
        self.say(bob, "hi")
        self.chat.end_session(bob)
        self.store.answer()
        self.successResultOf(login)
        self.store.release()
        self.assertEqual(self.alice.outbox.of(Left), [Left(NOW, "lobby", ("gil",))])
        self.assertEqual(self.users(self.alice), ["alice", "bob"])

    def test_session_that_was_nobody(self) -> None:
        """A session that was nobody is over at once."""
        session = Someone()
        self.chat.end_session(session)
        self.assertEqual((session.ends, session.is_over), (1, True))
