"""What the feed hands over: entries of this process and of others, and what fails with them."""

from tests.support import NOW, held
from twisted_chat.core.announcements import Delivered
from twisted_chat.core.chat import Chat
from twisted_chat.core.errors import Refusal
from twisted_chat.core.events import (
    Away,
    Done,
    Joined,
    Left,
    Members,
    Rooms,
    Said,
    Told,
    Topic,
)
from twisted_chat.core.model import (
    ACTION,
    CREATED,
    MEMBER,
    NOTICE,
    SAID,
    TOPIC,
    Account,
    Entry,
    Role,
    RoomRecord,
    Standing,
    conversation,
)

from .test_chat import ChatTestCase, Someone

LABEL = "0123456789abcdef"

OPS = RoomRecord(70, "public", "ops")
"""A room that another node has made."""

ZOE = Account(900, "zoe")
YAN = Account(901, "yan")
"""Accounts that this process has never heard of."""


class FeedTestCase(ChatTestCase):
    """Alice is here, and another node commits entries."""

    def setUp(self) -> None:
        super().setUp()
        self.alice = self.account("alice", echo=True)
        self.me = self.the_account("alice")
        self.last_id = 1000
        self.last_seq = 0

    def entry(
        self,
        kind: str,
        text: str = "",
        *,
        room: RoomRecord = OPS,
        author: Account = ZOE,
        label: str = "",
    ) -> Entry:
        """Make the next entry of a room."""
        self.last_id += 1
        self.last_seq += 1
        return Entry(
            self.last_id, room, self.last_seq, kind, author.id, author.name, NOW, text, label=label
        )

    def elsewhere(self, *entries: Entry, chat: Chat | None = None) -> None:
        """Deliver entries of another node, in one batch."""
        (chat or self.chat).deliver([(0, entry) for entry in entries])

    def member(
        self, account: Account, role: Role | None = "member", *, room: RoomRecord = OPS
    ) -> Entry:
        """Make the entry that gives an account a role."""
        return self.entry(MEMBER, Standing(account, role).encode(), author=account, room=room)


class ElsewhereTests(FeedTestCase):
    """Entries that another node has committed: their number is 0."""

    def test_new_room(self) -> None:
        """A room that another node has made is there: it is listed, can be joined, and keeps others
        from making it or one that looks like it."""
        self.elsewhere(self.entry(CREATED))
        self.assertEqual(
            self.chat.rooms(self.alice), Rooms(NOW, (("lobby", 1, ""), ("ops", 0, "")))
        )
        self.assertEqual(self.users(self.alice, "ops"), [])
        before = len(self.store.entries)
        refusal = self.refusal(self.chat.join(self.alice, "0ps"))
        self.assertEqual((refusal.code, refusal.fields["nearest"]), ("bad-name", "ops"))
        self.assertEqual(len(self.store.entries), before)

    def test_room_that_is_heard_of_first_by_what_is_said_there(self) -> None:
        """An entry says everything about its room: whatever its kind, the room is there
        afterwards."""
        for number, kind in enumerate((SAID, ACTION, NOTICE, TOPIC, "reaction")):
            room = RoomRecord(70 + number, "public", f"room{number}")
            self.elsewhere(self.entry(kind, "x", room=room))
            self.assertIn(room.name, [name for name, _, _ in self.chat.rooms(self.alice).rooms])
        self.assertEqual(self.chat.topic(self.alice, "room3").topic, "x")

    def test_message_of_somebody_unknown(self) -> None:
        """What somebody says who is on another node is told to the people here who are in the
        room."""
        self.elsewhere(self.entry(CREATED), self.member(self.me))
        self.alice.outbox.take()
        said = [self.entry(SAID, "hi"), self.entry(ACTION, "waves"), self.entry(NOTICE, "beep")]
        self.elsewhere(*said)
        self.assertEqual(self.alice.outbox.take(), [Said(NOW, entry) for entry in said])

    def test_message_of_a_guest(self) -> None:
        """A guest of another node is heard."""
        entry = Entry(1001, RoomRecord(1, "public", "lobby"), 1, SAID, None, "gus", NOW, "hi")
        self.elsewhere(entry)
        self.assertEqual(self.alice.outbox.take(), [Said(NOW, entry)])

    def test_own_message_on_another_node(self) -> None:
        """What a person says on another node is told to all of their sessions here, with echo or
        without."""
        silent = self.account("alice")
        lobby = RoomRecord(1, "public", "lobby")
        entry = self.entry(SAID, "hi", room=lobby, author=self.me)
        self.elsewhere(entry)
        for session in self.alice, silent:
            self.assertEqual([type(event) for event in session.told()], [Said])

    def test_topic(self) -> None:
        """A topic that was set on another node is told, and is the room's."""
        self.elsewhere(self.entry(CREATED), self.member(self.me))
        self.alice.outbox.take()
        entry = self.entry(TOPIC, "pagers")
        self.elsewhere(entry)
        (topic,) = self.alice.outbox.take()
        assert isinstance(topic, Topic)
        self.assertEqual(topic, Topic(topic.time, "ops", "pagers", "zoe", entry))
        topic = self.chat.topic(self.alice, "ops")
        self.assertEqual((topic.topic, topic.by, topic.entry), ("pagers", "zoe", None))

    def test_membership_of_somebody_here(self) -> None:
        """An account that joins a room on another node is in it on all of its sessions here, until
        it leaves it anywhere."""
        desk, bob = self.account("alice"), self.account("bob")
        self.elsewhere(self.entry(CREATED), self.member(self.me))
        for session in self.alice, desk:
            self.assertIn(Joined(NOW, "ops", (("alice", True),)), session.told())
            self.assertEqual(self.rooms_of(session), ("lobby", "ops"))
        self.elsewhere(self.entry(SAID, "hi"))
        self.assertEqual((desk.outbox.heard(), bob.outbox.heard()), (["hi"], []))
        desk.outbox.take()
        self.elsewhere(self.member(self.me, None))
        for session in self.alice, desk:
            self.assertEqual(session.told()[-1:], [Left(NOW, "ops", ("alice",))])
            self.assertEqual(session.face.rooms, ["ops"])
            self.assertEqual(self.rooms_of(session), ("lobby",))

    def test_membership_of_somebody_who_is_away(self) -> None:
        """An account that is not here is a member of a room, and in no list of people."""
        self.elsewhere(self.entry(CREATED), self.member(self.me), self.member(YAN))
        members = self.alice.outbox.of(Members)
        self.assertEqual(members[-1].standings[-1], Standing(YAN, "member"))
        self.assertEqual(self.users(self.alice, "ops"), ["alice"])
        self.assertNotIn(("yan", True), [p for e in self.alice.outbox.of(Joined) for p in e.people])

    def test_login_of_somebody_who_joined_on_another_node(self) -> None:
        """An account that joined on another node while it was not here is in the room when it logs
        in."""
        self.end(self.alice)
        self.elsewhere(self.entry(CREATED), self.member(self.me))
        alice = self.back("alice")
        self.assertEqual(self.rooms_of(alice), ("lobby", "ops"))

    def test_owner(self) -> None:
        """A room belongs to the account that made it; joining it does not change that."""
        self.elsewhere(self.entry(CREATED), self.member(YAN), self.member(ZOE))
        ops = next(state for state in self.chat.states() if state.record == OPS)
        self.assertEqual(dict(ops.members), {ZOE.id: "owner", YAN.id: "member"})
        self.elsewhere(self.member(YAN, "owner"), self.by(YAN, self.member(ZOE)))
        ops = next(state for state in self.chat.states() if state.record == OPS)
        self.assertEqual(dict(ops.members), {ZOE.id: "member", YAN.id: "owner"})

    def by(self, author: Account, entry: Entry) -> Entry:
        """Have somebody else be the author of an entry."""
        return entry._replace(author_id=author.id, author=author.name)

    def test_put_out_while_joining(self) -> None:
        """Somebody who is put out of a room before a session of theirs was shown it is told so, is
        not in it on any session, and hears nothing of it."""
        desk = self.account("alice")
        self.join("ops", self.account("bob"))
        delivered: list[tuple[int, Delivered]] = []
        self.store.hold()
        joining = self.begin(self.chat.join(self.alice, "ops"))
        self.store.subscribe(delivered.extend, self.chat.lose)
        self.store.commit()
        ((number, joined),) = delivered
        assert isinstance(joined, Entry)
        out = self.by(ZOE, self.member(self.me, None, room=joined.room))
        out = out._replace(seq=joined.seq + 1)
        said = self.entry(SAID, "secret", room=joined.room)._replace(seq=joined.seq + 2)
        self.chat.deliver([(number, joined), (0, out)])
        self.store.commit()
        self.elsewhere(said)
        refusal = self.failureResultOf(joining, Refusal).value
        self.assertEqual(getattr(refusal, "code", ""), "not-in-room")
        for session in self.alice, desk:
            self.assertEqual(session.outbox.heard(), [])
            self.assertEqual(self.rooms_of(session), ("lobby",))

    def test_role(self) -> None:
        """A role that is given on another node is told, and is no coming or going."""
        self.elsewhere(self.entry(CREATED), self.member(self.me))
        self.alice.outbox.take()
        self.elsewhere(self.member(self.me, "moderator"))
        (members,) = self.alice.outbox.take()
        assert isinstance(members, Members)
        self.assertEqual(members.standings, (Standing(self.me, "moderator"),))

    def test_everybody_is_in_the_lobby(self) -> None:
        """Whatever an entry says, an account that is here is in the lobby."""
        lobby = RoomRecord(1, "public", "lobby")
        roles: tuple[Role | None, ...] = ("owner", None, "member")
        for role in roles:
            self.elsewhere(self.member(self.me, role, room=lobby))
            self.alice.outbox.take()
            self.elsewhere(self.entry(SAID, "hi", room=lobby))
            self.assertEqual(self.alice.outbox.heard(), ["hi"])
            self.assertEqual(self.rooms_of(self.alice), ("lobby",))

    def test_standings_that_follow_each_other(self) -> None:
        """Standings that follow each other in a batch are told in one event."""
        self.elsewhere(self.entry(CREATED), self.member(self.me))
        self.alice.outbox.take()
        batch = [self.member(YAN), self.member(YAN, "voice"), self.entry(SAID, "hi")]
        self.elsewhere(*batch, self.member(YAN, None))
        standings = Standing(YAN, "member"), Standing(YAN, "voice")
        self.assertEqual(
            self.alice.outbox.take(),
            [
                Members(NOW, "ops", batch[1].seq, standings),
                Said(NOW, batch[2]),
                Members(NOW, "ops", batch[2].seq + 1, (Standing(YAN, None),)),
            ],
        )

    def test_private_message(self) -> None:
        """A private message of somebody on another node is told to its recipient here, as incoming,
        and one that the recipient wrote there as outgoing."""
        room = RoomRecord(80, "direct", "", conversation(self.me, ZOE).parties)
        got = self.entry(SAID, "psst", room=room)
        sent = self.entry(SAID, "what?", room=room, author=self.me)
        self.elsewhere(got, sent)
        self.assertEqual(self.alice.outbox.take(), [Told(NOW, got), Told(NOW, sent, outgoing=True)])
        self.assertEqual(self.alice.outbox.of(Away), [])

    def test_private_message_can_be_answered(self) -> None:
        """A private message of another node can be answered."""
        self.registered("bob")
        bob = self.the_account("bob")
        room = RoomRecord(80, "direct", "", conversation(self.me, bob).parties)
        self.elsewhere(self.entry(SAID, "psst", room=room, author=bob))
        self.assertEqual(self.run_now(self.chat.reply(self.alice, "what?")), "bob")

    def test_private_message_among_others(self) -> None:
        """A private message between others is told to nobody here."""
        room = RoomRecord(80, "direct", "", (ZOE, YAN))
        self.elsewhere(self.entry(SAID, "psst", room=room))
        self.assertEqual(self.alice.outbox.take(), [])

    def test_label(self) -> None:
        """A label that was used on another node is remembered: the same again is answered with that
        entry, and not posted."""
        lobby = RoomRecord(1, "public", "lobby")
        entry = self.entry(SAID, "hi", room=lobby, author=self.me, label=LABEL)
        self.elsewhere(entry)
        self.alice.outbox.take()
        self.chat.say(self.alice, "lobby", "hi", label=LABEL)
        self.assertEqual(self.alice.outbox.take(), [Done(NOW, LABEL, "lobby", entry.seq, entry.id)])
        self.assertEqual(self.messages(), [])

    def test_label_of_a_private_message(self) -> None:
        """The label of a private message of another node is remembered."""
        self.registered("bob")
        room = RoomRecord(80, "direct", "", conversation(self.me, self.the_account("bob")).parties)
        entry = self.entry(SAID, "hi", room=room, author=self.me, label=LABEL)
        self.elsewhere(entry)
        self.alice.outbox.take()
        self.run_now(self.chat.direct(self.alice, "bob", "hi", label=LABEL))
        self.assertEqual(
            self.alice.outbox.take(), [Done(NOW, LABEL, "", entry.seq, entry.id, "bob")]
        )
        self.assertEqual(self.private(), [])

    def test_label_that_is_in_flight_here(self) -> None:
        """If the same label comes from another node while a post with it is in flight here, both
        are in the log, and the author is answered once for the own one."""
        lobby = RoomRecord(1, "public", "lobby")
        self.store.hold()
        self.chat.say(self.alice, "lobby", "hi", label=LABEL)
        self.elsewhere(self.entry(SAID, "hi", room=lobby, author=self.me, label=LABEL))
        self.store.release()
        self.assertTrue(self.alice.outbox.of(Done))
        self.assertEqual(self.alice.in_flight, 0)

    def test_label_of_another_author(self) -> None:
        """A label of somebody else does not count."""
        lobby = RoomRecord(1, "public", "lobby")
        self.elsewhere(self.entry(SAID, "hi", room=lobby, label=LABEL))
        self.chat.say(self.alice, "lobby", "hi", label=LABEL)
        self.assertEqual(len(self.messages()), 1)

    def test_guest_of_the_name_of_a_guest_elsewhere(self) -> None:
        """What a guest of another node says has nothing to do with a guest here of the same
        name."""
        gus = self.guest("gus")
        entry = Entry(1001, RoomRecord(1, "public", "lobby"), 1, SAID, None, "gus", NOW, "hi")
        self.elsewhere(entry)
        self.assertEqual(gus.outbox.heard(), ["hi"])

    def test_own_and_others_in_one_batch(self) -> None:
        """A batch may have own entries and those of other nodes; all are heard in the order of the
        log."""
        bob = self.account("bob")
        delivered: list[tuple[int, Delivered]] = []
        self.store.subscribe(delivered.extend, self.chat.lose)
        self.store.hold()
        self.say(bob, "1")
        self.say(self.alice, "3")
        self.store.commit()
        (one, first), (three, third) = delivered
        assert isinstance(first, Entry)
        assert isinstance(third, Entry)
        second = first._replace(id=first.id + 1, seq=2, author_id=900, author="zoe", text="2")
        third = third._replace(id=third.id + 1, seq=3)
        self.chat.deliver([(one, first), (0, second), (three, third)])
        self.assertEqual(self.alice.outbox.heard(), ["1", "2", "3"])
        self.assertEqual(bob.outbox.heard(), ["2", "3"])
        self.assertEqual((bob.in_flight, self.alice.in_flight), (0, 0))

    def test_replay_has_them(self) -> None:
        """What came from another node is among the last messages that are shown on joining."""
        self.store.hold()  # the log of this test has nothing of it
        self.elsewhere(
            self.entry(SAID, "1", room=RoomRecord(1, "public", "lobby")),
            self.entry("reaction", "x", room=RoomRecord(1, "public", "lobby")),
            self.entry(SAID, "2", room=RoomRecord(1, "public", "lobby")),
        )
        gus = Someone()
        coming = self.begin(self.chat.come_as_guest(gus, held(self.accounts.hold_guest_number())))
        self.store.release()
        self.successResultOf(coming)
        self.assertEqual(gus.outbox.replayed(), ["1", "2"])


class UnknownTests(FeedTestCase):
    """Entries of a newer version."""

    def setUp(self) -> None:
        super().setUp()
        self.elsewhere(self.entry(CREATED), self.member(self.me))
        self.alice.outbox.take()

    def test_unknown_kind_is_skipped(self) -> None:
        """An entry of an unknown kind is told to nobody, and what comes after it is."""
        self.elsewhere(self.entry("reaction", ":-)"), self.entry(SAID, "1"))
        self.elsewhere(self.entry("edit", "x", label=LABEL))
        self.elsewhere(self.entry(SAID, "2"))
        self.assertEqual(self.alice.outbox.heard(), ["1", "2"])
        self.assertEqual([type(event) for event in self.alice.outbox.events], [Said, Said])

    def test_it_has_used_its_place(self) -> None:
        """An entry of an unknown kind counts as the newest of its room."""
        entry = self.entry("reaction", ":-)")
        self.elsewhere(entry)
        self.assertEqual(self.place(self.alice, "ops").seq, entry.seq)

    def test_unknown_kind_in_a_conversation(self) -> None:
        """An entry of an unknown kind in a private conversation is told to nobody."""
        room = RoomRecord(80, "direct", "", conversation(self.me, ZOE).parties)
        self.elsewhere(self.entry("reaction", ":-)", room=room), self.entry(SAID, "1", room=room))
        self.assertEqual([type(event) for event in self.alice.outbox.events], [Told])

    def test_unknown_role_is_skipped(self) -> None:
        """A standing with an unknown role changes nothing that this version knows, and stops
        nothing."""
        bad = self.entry(MEMBER, '{"account":900,"name":"zoe","role":"emperor"}')
        self.elsewhere(bad, self.entry(SAID, "1"))
        self.assertEqual(self.alice.outbox.heard(), ["1"])
        self.failures.clear()


class FailureTests(FeedTestCase):
    """Batches whose application fails half-way."""

    def test_others_are_applied_and_told(self) -> None:
        """If an entry cannot be applied, that is logged, and the rest of the batch and the next
        batches are applied and told."""
        self.elsewhere(
            self.entry(CREATED),
            self.member(self.me),
            self.entry(SAID, "1"),
            self.entry(MEMBER, "no standing"),
            self.entry(TOPIC, "pagers"),
            self.entry(SAID, "2"),
        )
        self.assertEqual(len(self.failures), 1)
        self.failures.clear()
        self.elsewhere(self.entry(SAID, "3"))
        self.assertEqual(self.alice.outbox.heard(), ["1", "2", "3"])
        self.assertEqual(self.chat.topic(self.alice, "ops").topic, "pagers")

    def test_posters_are_answered(self) -> None:
        """If an entry of a batch cannot be applied, those who posted the others are answered, their
        operations end, and nothing is in flight any more."""
        bob = self.account("bob")
        delivered: list[tuple[int, Delivered]] = []
        self.store.subscribe(delivered.extend, self.chat.lose)
        self.store.hold()
        self.say(self.alice, "1", label=LABEL)
        setting = self.begin(self.chat.set_topic(bob, "lobby", "Welcome"))
        self.store.commit()
        (first, said), (second, topic) = delivered
        assert isinstance(said, Entry)
        assert isinstance(topic, Entry)
        bad = said._replace(id=said.id + 1, kind=MEMBER, text="no standing", label="")
        topic = topic._replace(id=said.id + 2)
        self.chat.deliver([(first, said), (0, bad), (second, topic)])
        self.assertEqual(len(self.failures), 1)
        self.failures.clear()
        self.assertEqual(len(self.alice.outbox.of(Done)), 1)
        self.successResultOf(setting)
        self.assertEqual((self.alice.in_flight, bob.in_flight, bob.is_busy), (0, 0, False))
        self.assertEqual(self.chat.topic(bob, "lobby").topic, "Welcome")

    def test_outbox_with_a_defect(self) -> None:
        """If an outbox raises an error, that is logged, and nothing is in flight any more."""
        bob, carol = self.account("bob"), self.account("carol")

        def broken(events: object, /) -> bool:
            raise ZeroDivisionError

        carol.outbox.send = broken  # type: ignore[method-assign]
        self.store.hold()
        self.say(self.alice, "1", label=LABEL)
        self.run_now(self.chat.direct(bob, "carol", "2"))
        self.store.commit()
        self.assertTrue(self.failures)
        self.assertEqual({type(each) for each in self.failures}, {ZeroDivisionError})
        self.failures.clear()
        self.assertEqual((self.alice.in_flight, bob.in_flight), (0, 0))
        self.assertEqual((self.alice.landings, bob.landings), (1, 1))
        self.store.release()
        self.chat._lobby.remove(carol)
        self.say(self.alice, "3")
        self.assertIn("3", bob.outbox.heard())

    def test_lost_posts_of_somebody_else(self) -> None:
        """A room that was not made, and that nobody here has asked for, changes nothing."""
        self.chat.deliver([(0, None)])
        self.assertEqual(self.alice.outbox.events, [])

    def test_failure_to_tell_is_not_a_failure_to_apply(self) -> None:
        """Entries whose telling fails, and those after them, are applied all the same."""
        bob = self.account("bob")

        def broken(events: object, /) -> bool:
            raise ZeroDivisionError

        self.alice.outbox.send = broken  # type: ignore[method-assign]
        lobby = RoomRecord(1, "public", "lobby")
        self.elsewhere(
            self.entry(TOPIC, "Welcome", room=lobby), self.member(ZOE, "owner", room=lobby)
        )
        self.assertEqual({type(each) for each in self.failures}, {ZeroDivisionError})
        self.failures.clear()
        self.assertEqual(self.chat.topic(bob, "lobby").topic, "Welcome")
        self.assertEqual(dict(self.chat.states()[0].members), {ZOE.id: "owner"})


class ConversationTests(FeedTestCase):
    """Private conversations in the log."""

    def setUp(self) -> None:
        super().setUp()
        self.bob = self.account("bob", echo=True)
        self.alice.outbox.take()

    def write(self, session: Someone, to: str, text: str) -> None:
        """Write privately."""
        self.run_now(self.chat.direct(session, to, text))

    def test_both_directions_share_one_order(self) -> None:
        """Private messages of two accounts have one C{seq}, whoever wrote them, and two
        conversations have nothing to do with each other."""
        carol = self.account("carol")
        self.write(self.alice, "bob", "1")
        self.write(self.bob, "alice", "2")
        self.write(carol, "alice", "3")
        self.write(self.alice, "bob", "4")
        told = [event.message for event in self.alice.outbox.of(Told)]
        seqs = {m.text: m.seq for m in told if isinstance(m, Entry)}
        self.assertEqual(seqs, {"1": 1, "2": 2, "3": 1, "4": 3})
        self.assertEqual(len({entry.room.id for entry in self.private()}), 2)

    def test_two_who_begin_at_once(self) -> None:
        """Two accounts that write to each other for the first time at once begin one
        conversation."""
        self.store.hold()
        self.write(self.alice, "bob", "1")
        self.write(self.bob, "alice", "2")
        self.store.commit()
        one, two = self.private()
        self.assertEqual((one.room, one.seq, two.seq), (two.room, 1, 2))
        self.assertEqual([p.name for p in one.room.parties], ["alice", "bob"])
        for session in self.alice, self.bob:
            self.assertEqual(session.outbox.heard(), ["1", "2"])

    def test_with_oneself(self) -> None:
        """A conversation with oneself has a C{seq}, and oneself twice as its parties."""
        self.write(self.alice, "alice", "note")
        self.write(self.alice, "alice", "another")
        told = [event.message for event in self.alice.outbox.of(Told)]
        self.assertEqual(told, self.private())
        self.assertEqual([entry.seq for entry in self.private()], [1, 2])
        self.assertEqual(told[0].recipient, "alice")
        parties = self.private()[0].room.parties
        self.assertEqual([account.name for account in parties], ["alice", "alice"])

    def test_done(self) -> None:
        """Done of a private message has its C{seq} in the conversation."""
        self.write(self.bob, "alice", "1")
        self.run_now(self.chat.direct(self.alice, "bob", "2", label="7"))
        entry = self.private()[-1]
        self.assertEqual(self.alice.outbox.of(Done), [Done(NOW, "7", seq=2, id=entry.id, to="bob")])

    def test_asides_keep_their_place(self) -> None:
        """Private messages with guests keep their place among all that one session posts, and have
        no place in the log."""
        gil = self.guest("gil")
        gil.echo = True
        self.store.hold()
        for number in range(0, 9, 3):
            self.say(gil, str(number))
            self.write(gil, "alice", str(number + 1))
            self.write(self.alice, "gil", f"re {number + 1}")
            self.chat.say(gil, "lobby", str(number + 2), action=True)
        gil.outbox.take()
        self.alice.outbox.take()
        self.store.commit()
        heard = [text for text in self.alice.outbox.heard() if not text.startswith("re")]
        self.assertEqual(heard, [str(number) for number in range(9)])
        expected = [
            t for n in range(0, 9, 3) for t in (f"{n}", f"{n + 1}", f"re {n + 1}", f"{n + 2}")
        ]
        self.assertEqual(gil.outbox.heard(), expected)
        self.assertEqual(self.private(), [])
        self.assertEqual([e.seq for e in self.messages()], [1, 2, 3, 4, 5, 6])

    def test_conversation_has_no_name(self) -> None:
        """A private conversation is in no list of rooms, and nobody can join it."""
        self.write(self.alice, "bob", "1")
        self.assertEqual([name for name, _, _ in self.chat.rooms(self.alice).rooms], ["lobby"])
        self.assertEqual(self.rooms_of(self.alice), ("lobby",))
        self.assertEqual([p.room for p in self.run_now(self.chat.where(self.alice))], ["lobby"])
        for name in "", "@bob":
            refusal = self.assertRaises(Refusal, self.chat.say, self.alice, name, "hi")
            self.assertEqual(refusal.code, "no-such-room")
