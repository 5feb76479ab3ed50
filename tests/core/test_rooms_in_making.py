"""Rooms that are made at the same time, and topics that are on their way to the log."""

from tests.support import NOW
from twisted_chat.core.errors import Refusal
from twisted_chat.core.events import History, Joined, Said, Topic, Users
from twisted_chat.core.limits import Limits
from twisted_chat.core.model import CREATED, MEMBER, SAID, TOPIC, Standing

from .test_chat import ChatTestCase, Someone


class MakingTests(ChatTestCase):
    """Several sessions that make a room at once."""

    def setUp(self) -> None:
        super().setUp()
        self.alice, self.bob = self.account("alice"), self.account("bob")
        self.alice.outbox.take()
        self.bob.outbox.take()

    def test_first_is_the_owner(self) -> None:
        """Of two accounts that make a room at once, the first is the owner, the other a member, and
        the room is made once."""
        self.store.hold()
        joining = [self.begin(self.chat.join(s, "tea")) for s in (self.alice, self.bob)]
        self.store.release()
        for each in joining:
            self.assertTrue(self.successResultOf(each))
        alice, bob = self.the_account("alice"), self.the_account("bob")
        self.assertEqual(dict(self.state("tea").members), {alice.id: "owner", bob.id: "member"})
        self.assertEqual([e.kind for e in self.log("tea")], [CREATED, MEMBER])
        self.assertEqual(self.users(self.bob, "tea"), ["alice", "bob"])
        self.assertEqual(len(self.bob.outbox.of(Users)), 1)

    def test_account_and_guest(self) -> None:
        """An account and a guest that make a room at once are in one room, whoever is first."""
        for first_is_guest in False, True:
            self.setUp()
            gil = self.guest("gil")
            sessions = [gil, self.alice] if first_is_guest else [self.alice, gil]
            self.store.hold()
            joining = [self.begin(self.chat.join(session, "tea")) for session in sessions]
            self.store.release()
            for each in joining:
                self.assertTrue(self.successResultOf(each))
            self.assertEqual(self.users(gil, "tea"), ["alice", "gil"])
            role = self.state("tea").members[self.the_account("alice").id]
            self.assertEqual(role, "member" if first_is_guest else "owner")

    def test_two_sessions_of_one_account(self) -> None:
        """Two sessions of an account that make a room at once make one, of which the account is the
        owner."""
        desk = self.account("alice")
        self.store.hold()
        joining = [self.begin(self.chat.join(s, "tea")) for s in (self.alice, desk)]
        self.store.release()
        for each, session in zip(joining, (self.alice, desk), strict=True):
            self.assertTrue(self.successResultOf(each))
            self.assertEqual(len(session.outbox.of(History)), 1)
        self.assertEqual(dict(self.state("tea").members), {self.the_account("alice").id: "owner"})

    def test_look_alikes(self) -> None:
        """Of two rooms that look alike and are made at once, the first is made, and the other is
        refused with the name of the first; nobody is in it."""
        self.store.hold()
        first = self.begin(self.chat.join(self.alice, "tea"))
        second = self.begin(self.chat.join(self.bob, "teа"))  # a Cyrillic а
        self.store.release()
        self.assertTrue(self.successResultOf(first))
        refusal = self.failureResultOf(second, Refusal).value
        self.assertEqual((refusal.code, refusal.fields["nearest"]), ("bad-name", "tea"))
        self.assertEqual(self.room_names(), ["lobby", "tea"])
        self.assertEqual(self.rooms_of(self.bob), ("lobby",))
        self.assertEqual(self.bob.told(), [])
        self.assertEqual((self.bob.in_flight, self.bob.is_busy), (0, False))

    def test_maker_who_ends(self) -> None:
        """A room whose maker ends while it is made can be joined."""
        for steps in range(3):
            self.setUp()
            self.store.hold()
            making = self.begin(self.chat.join(self.alice, "tea"))
            for _ in range(steps):
                if self.store.waiting:
                    self.store.step()
            self.end(self.alice)
            self.store.release()
            self.successResultOf(making)
            self.assertEqual(self.alice.ends, 1)
            self.assertTrue(self.run_now(self.chat.join(self.bob, "tea")))
            self.assertEqual(self.users(self.bob, "tea"), ["bob"])

    def test_store_that_fails(self) -> None:
        """If a new room cannot be stored, making it is refused; there is no such room, and it may
        be tried again."""
        self.store.hold()
        making = self.begin(self.chat.join(self.alice, "tea"))
        self.store.fail()
        refusal = self.failureResultOf(making, Refusal).value
        self.assertEqual(refusal.code, "unavailable")
        self.assertEqual(self.alice.told(), [])
        self.assertEqual(
            self.assertRaises(Refusal, self.users, self.bob, "tea").code, "no-such-room"
        )
        self.store.release()
        self.assertTrue(self.run_now(self.chat.join(self.alice, "tea")))
        self.assertEqual(self.state("tea").members, {self.the_account("alice").id: "owner"})


class BoundTests(ChatTestCase):
    """The bound on rooms, and rooms that come to nothing."""

    limits = Limits(max_rooms=3)

    def test_rooms_that_could_not_be_made_do_not_count(self) -> None:
        """Rooms that could not be stored, or were refused as another looks like them, do not count
        against the limit."""
        alice, bob = self.account("alice"), self.account("bob")
        for _ in range(3):
            self.store.hold()
            making = self.begin(self.chat.join(alice, "tea"))
            self.store.fail()
            self.failureResultOf(making, Refusal)
            self.store.release()
        self.store.hold()
        making = self.begin(self.chat.join(alice, "tea"))
        refused = self.begin(self.chat.join(bob, "teа"))
        self.store.release()
        self.successResultOf(making)
        self.failureResultOf(refused, Refusal)
        self.join("bar", bob)
        self.assertEqual(self.refusal(self.chat.join(bob, "den")).code, "full")


class TopicTests(ChatTestCase):
    """Topics are entries: they have their place among the messages."""

    def setUp(self) -> None:
        super().setUp()
        self.alice, self.bob = self.account("alice", echo=True), self.account("bob", echo=True)
        self.join("tea", self.alice, self.bob)
        for session in self.alice, self.bob:
            session.outbox.take()

    def order(self, session: Someone) -> list[str]:
        """What a session was told of messages and topics."""
        return [
            event.message.text if isinstance(event, Said) else f"topic {event.topic}"
            for event in session.outbox.events
            if isinstance(event, Said | Topic)
        ]

    def test_order(self) -> None:
        """A topic is told in its place among the messages of its batch, and of other rooms, to
        everybody in the room; the event has its entry."""
        self.store.hold()
        self.say(self.bob, "1")
        setting = self.begin(self.chat.set_topic(self.alice, "tea", "Assam"))
        self.say(self.bob, "2")
        self.broadcast(self.bob, "3")
        also = self.begin(self.chat.set_topic(self.bob, "tea", "Darjeeling"))
        self.store.commit()
        self.successResultOf(setting)
        self.successResultOf(also)
        expected = ["1", "topic Assam", "2", "3", "topic Darjeeling"]
        for session in self.alice, self.bob:
            self.assertEqual(self.order(session), expected)
        entries = [event.entry for event in self.bob.outbox.of(Topic)]
        self.assertEqual(entries, [e for e in self.log("tea") if e.kind == TOPIC])
        self.assertEqual([e.seq for e in self.log("tea") if e.kind in {SAID, TOPIC}], [3, 4, 5, 6])

    def test_entry(self) -> None:
        """The entry of a topic has its author, also if the author is a guest; an empty one removes
        the topic."""
        gil = self.guest("gil")
        self.join("tea", gil)
        for session, topic in (self.alice, "Assam"), (gil, ""):
            self.run_now(self.chat.set_topic(session, "tea", topic))
            entry = self.log("tea")[-1]
            assert session.person is not None
            account = session.person.account
            self.assertEqual(
                (entry.kind, entry.text, entry.author, entry.author_id),
                (TOPIC, topic, session.person.name, account.id if account else None),
            )
            told = self.bob.outbox.of(Topic)[-1]
            self.assertEqual((told.topic, told.by, told.entry), (topic, entry.author, entry))
        self.assertEqual((self.state("tea").topic, self.state("tea").topic_by), ("", "gil"))

    def test_same_topic_again(self) -> None:
        """Setting the topic that a room has is told like any other."""
        for _ in range(2):
            self.run_now(self.chat.set_topic(self.alice, "tea", "Assam"))
        self.assertEqual(len(self.bob.outbox.of(Topic)), 2)

    def test_nothing_else_meanwhile(self) -> None:
        """While a topic is in flight the session is busy, and its other sessions are not."""
        desk = self.account("alice")
        self.store.hold()
        setting = self.begin(self.chat.set_topic(self.alice, "tea", "Assam"))
        refusal = self.assertRaises(Refusal, self.chat.say, self.alice, "tea", "hi")
        self.assertEqual(refusal.code, "busy")
        self.assertEqual(self.refusal(self.chat.leave(self.alice, "tea")).code, "busy")
        self.chat.say(desk, "tea", "hi")
        self.store.release()
        self.successResultOf(setting)
        self.assertEqual(self.order(self.bob), ["topic Assam", "hi"])
        self.chat.say(self.alice, "tea", "on it")

    def test_not_before_it_is_in_the_log(self) -> None:
        """The topic of a room is the old one until the new one is in the log."""
        self.store.hold()
        setting = self.begin(self.chat.set_topic(self.alice, "tea", "Assam"))
        self.assertEqual(self.chat.topic(self.bob, "tea").topic, "")
        self.assertEqual(self.order(self.bob), [])
        self.assertNoResult(setting)
        self.store.commit()
        self.assertEqual(self.chat.topic(self.bob, "tea").topic, "Assam")

    def test_session_that_ends_meanwhile(self) -> None:
        """A topic whose author's session ends while it is in flight is set; the author is here
        until then."""
        self.store.hold()
        setting = self.begin(self.chat.set_topic(self.alice, "tea", "Assam"))
        self.alice.outbox.take()
        self.end(self.alice)
        self.store.release()
        self.successResultOf(setting)
        self.assertEqual(self.alice.outbox.events, [])
        self.assertEqual(self.order(self.bob), ["topic Assam"])
        self.assertEqual(self.alice.ends, 1)
        kinds = [type(event).__name__ for event in self.bob.told()]
        self.assertEqual(kinds, ["Topic", "Left"])

    def test_guest_who_ends_meanwhile(self) -> None:
        """A guest whose topic is in flight keeps the name until it has landed."""
        gil = self.guest("gil")
        self.join("tea", gil)
        self.store.hold()
        setting = self.begin(self.chat.set_topic(gil, "tea", "Assam"))
        self.end(gil)
        self.assertEqual(self.refusal(self.accounts.hold("gil")).code, "name-taken")
        self.store.release()
        self.successResultOf(setting)
        self.guest("gil")

    def test_author_who_leaves_meanwhile(self) -> None:
        """A topic whose author leaves the room on another session before it lands is set."""
        desk = self.account("alice")
        self.store.hold()
        setting = self.begin(self.chat.set_topic(self.alice, "tea", "Assam"))
        leaving = self.begin(self.chat.leave(desk, "tea"))
        self.store.release()
        self.successResultOf(setting)
        self.successResultOf(leaving)
        self.assertEqual(self.order(self.bob), ["topic Assam"])
        self.assertEqual(self.chat.topic(self.alice, "tea").topic, "Assam")

    def test_store_that_fails(self) -> None:
        """A topic that cannot be stored is refused and told to nobody; the room keeps the old
        one."""
        self.run_now(self.chat.set_topic(self.alice, "tea", "Assam"))
        self.bob.outbox.take()
        self.store.hold()
        setting = self.begin(self.chat.set_topic(self.alice, "tea", "Darjeeling"))
        self.store.fail()
        refusal = self.failureResultOf(setting, Refusal).value
        self.assertEqual(refusal.code, "unavailable")
        self.assertEqual(self.bob.told(), [])
        self.assertEqual(self.chat.topic(self.bob, "tea").topic, "Assam")
        self.assertEqual((self.alice.in_flight, self.alice.is_busy), (0, False))

    def test_cancelled(self) -> None:
        """An operation that is cancelled while its topic is in flight lets the session go on; the
        topic is set."""
        self.store.hold()
        setting = self.begin(self.chat.set_topic(self.alice, "tea", "Assam"))
        setting.cancel()
        self.failureResultOf(setting)
        self.assertFalse(self.alice.is_busy)
        self.store.release()
        self.assertEqual(self.chat.topic(self.bob, "tea").topic, "Assam")
        self.assertEqual(self.alice.in_flight, 0)

    def test_only_in_the_room(self) -> None:
        """A topic is told in its room only, and is not the topic of another."""
        carol = self.account("carol")
        self.run_now(self.chat.set_topic(self.alice, "tea", "Assam"))
        self.assertEqual(carol.outbox.of(Topic), [])
        self.assertEqual(self.chat.topic(carol, "lobby"), Topic(NOW, "lobby", "", ""))

    def test_it_is_not_new(self) -> None:
        """Topics and members are not counted as new."""
        self.chat.seen(self.alice)
        self.run_now(self.chat.set_topic(self.bob, "tea", "Assam"))
        self.join("tea", self.account("carol"))
        self.assertEqual(self.place(self.alice, "tea").new, 0)

    def test_standing_and_joined_agree(self) -> None:
        """A batch with a topic and a joining is told in the order of the log."""
        carol = self.account("carol", echo=True)
        carol.outbox.take()
        self.bob.outbox.take()
        self.store.hold()
        setting = self.begin(self.chat.set_topic(self.alice, "tea", "Assam"))
        joining = self.begin(self.chat.join(carol, "tea"))
        self.say(self.bob, "hi")
        self.store.release()
        self.successResultOf(setting)
        self.successResultOf(joining)
        kinds = [type(event).__name__ for event in self.bob.told()]
        self.assertEqual(sorted(kinds), ["Joined", "Said", "Topic"])
        self.assertLess(kinds.index("Topic"), kinds.index("Said"))
        self.assertEqual(carol.outbox.of(Joined), [Joined(NOW, "tea", (("carol", True),))])
        standing = Standing.decode(next(e for e in self.log("tea") if e.author == "carol").text)
        self.assertEqual(standing.role, "member")
        topics = [event.topic for event in carol.outbox.of(Topic)]
        self.assertEqual(topics, ["Assam"])
