"""What is said, kept and read, with people on several nodes."""

from twisted_chat.core.errors import Refusal
from twisted_chat.core.events import (
    Away,
    Back,
    Done,
    Members,
    NotKept,
    Read,
    Refused,
    Said,
    Told,
    Unread,
)
from twisted_chat.core.limits import Limits

from .nodes import Node, NodesTestCase
from .test_chat import Someone

LABEL = "0123456789abcdef"


class PrivateTests(NodesTestCase):
    """Private messages between people of different nodes."""

    def setUp(self) -> None:
        super().setUp()
        self.alice, self.bob = self.one.account("alice"), self.two.account("bob")
        self.gil, self.fay = self.one.guest("gil"), self.two.guest("fay")
        self.log.pull()
        for session in (self.alice, self.bob, self.gil, self.fay):
            session.outbox.take()

    def direct(self, node: Node, session: Someone, to: str, text: str = "psst") -> None:
        """Write to somebody."""
        node.run_now(node.chat.direct(session, to, text))
        self.log.pull()

    def test_accounts(self) -> None:
        """A message between accounts is told at the other's node, once, and kept."""
        self.direct(self.one, self.alice, "bob")
        self.assertEqual([e.message.text for e in self.bob.outbox.of(Told)], ["psst"])
        self.assertEqual([entry.text for entry in self.one.private()], ["psst"])
        self.assertEqual(self.alice.outbox.of(Away), [])

    def test_with_guests(self) -> None:
        """Messages from and to guests are told at the other's node; both are told once that they
        are not kept."""
        for node, session, to, name in (
            (self.one, self.gil, self.bob, "bob"),
            (self.two, self.bob, self.gil, "gil"),
            (self.one, self.gil, self.fay, "fay"),
            (self.two, self.fay, self.alice, "alice"),
        ):
            self.direct(node, session, name, name)
            self.assertEqual(to.outbox.heard()[-1:], [name])
            self.assertEqual(session.outbox.of(Away), [])
        self.assertEqual(self.one.private(), [])
        for session in (self.alice, self.bob, self.gil, self.fay):
            self.assertEqual(len(session.outbox.of(NotKept)), 1)

    def test_nobody_else_is_told(self) -> None:
        """Nobody but the author and the recipient is told of a private message."""
        three = self.node()
        others = [three.account("carol"), self.one.account("dave"), self.two.guest("eve")]
        self.log.pull()
        for session in others:
            session.outbox.take()
        self.direct(self.one, self.gil, "fay")
        self.direct(self.one, self.alice, "bob")
        self.assertEqual([session.told() for session in others], [[], [], []])

    def test_guest_who_left(self) -> None:
        """A message to a guest who has left by the time that it is in the log is told to nobody,
        also if somebody else has the name by then; its author is told that the guest is away."""
        self.one.store.hold()
        writing = self.one.begin(self.one.chat.direct(self.alice, "fay", "psst"))
        self.two.end(self.fay)
        fay = self.two.guest("fay")
        self.one.store.release()
        self.successResultOf(writing)
        self.log.pull()
        self.assertEqual(fay.outbox.heard(), [])
        self.assertEqual([away.name for away in self.alice.outbox.of(Away)], ["fay"])

    def test_guest_of_another_node_with_the_name(self) -> None:
        """Nor is a guest of another node told who has taken the name since, whatever the guests of
        each node were given before."""
        three, four, five = self.node(), self.node(), self.node()
        ira = three.guest("ira")
        self.log.pull()
        jo = five.guest("jo")
        five.store.hold()
        writing = five.begin(five.chat.direct(jo, "ira", "psst"))
        three.end(ira)
        other = four.guest("ira")
        five.store.release()
        self.successResultOf(writing)
        self.log.pull()
        self.assertEqual((ira.outbox.heard(), other.outbox.heard()), ([], []))

    def test_guest_who_was_renamed(self) -> None:
        """A message to the new name of a guest reaches them, and one to the old name nobody."""
        self.two.run_now(self.two.chat.rename_guest(self.fay, "eve"))
        self.log.pull()
        self.direct(self.one, self.gil, "eve")
        self.assertEqual(self.fay.outbox.heard(), ["psst"])
        refusal = self.one.refusal(self.one.chat.direct(self.gil, "fay", "psst"))
        self.assertEqual(refusal.code, "no-such-person")

    def test_copies_to_the_author(self) -> None:
        """What an account writes in private is told to its sessions at other nodes as its own,
        to accounts and to guests."""
        phone = self.two.account("alice")
        self.log.pull()
        phone.outbox.take()
        for name in "bob", "fay", "gil":
            self.direct(self.one, self.alice, name, name)
        outgoing = [e.message.text for e in phone.outbox.of(Told) if e.outgoing]
        self.assertEqual(outgoing, ["bob", "fay", "gil"])

    def test_copies_to_the_recipient(self) -> None:
        """All sessions of the recipient are told, at all nodes."""
        desk = self.one.account("bob")
        self.log.pull()
        for name, session, node in (("1", self.alice, self.one), ("2", self.fay, self.two)):
            self.direct(node, session, "bob", name)
        for session in (desk, self.bob):
            self.assertEqual(session.outbox.heard(), ["1", "2"])

    def test_reply(self) -> None:
        """Whoever was written to from another node may answer without a name, also a guest, and
        also one who was renamed since."""
        self.direct(self.one, self.gil, "fay")
        self.assertEqual(self.two.run_now(self.two.chat.reply(self.fay, "yes?")), "gil")
        self.log.pull()
        self.assertEqual(self.gil.outbox.heard(), ["yes?"])
        self.direct(self.one, self.alice, "bob")
        self.assertEqual(self.two.run_now(self.two.chat.reply(self.bob, "yes?")), "alice")
        self.one.run_now(self.one.chat.rename_guest(self.gil, "hal"))
        self.log.pull()
        self.assertEqual(self.two.run_now(self.two.chat.reply(self.fay, "still?")), "hal")
        self.log.pull()
        self.assertEqual(self.gil.outbox.heard(), ["yes?", "still?"])
        self.one.end(self.gil)
        self.log.pull()
        self.one.guest("hal")
        self.log.pull()
        refusal = self.two.refusal(self.two.chat.reply(self.fay, "still?"))
        self.assertEqual(refusal.code, "no-such-person")

    def test_unread(self) -> None:
        """What was written to an account that was away is shown at the node at which it logs in."""
        self.two.end(self.bob)
        self.log.pull()
        self.direct(self.one, self.alice, "bob")
        bob = self.two.back("bob")
        self.assertEqual(bob.outbox.replayed(), ["psst"])
        self.assertEqual(len(bob.outbox.of(Unread)), 1)


class MarkTests(NodesTestCase):
    """What was read, at another node."""

    def setUp(self) -> None:
        super().setUp()
        self.desk, self.phone = self.one.account("alice"), self.two.account("alice")
        self.bob = self.two.account("bob")
        self.one.join("tea", self.desk)
        self.log.pull()
        self.two.join("tea", self.bob)
        self.log.pull()
        for session in (self.desk, self.phone, self.bob):
            session.outbox.take()

    def test_sessions_elsewhere_are_told(self) -> None:
        """What an account has read at one node is told to its sessions at the others, once."""
        self.two.say(self.bob, "hello")
        self.log.pull()
        seq = self.one.log("tea")[-1].seq
        for node, session, other in (
            (self.one, self.desk, self.phone),
            (self.two, self.phone, self.desk),
        ):
            node.run_now(node.chat.read(session, "tea"))
            self.log.pull()
            told = [(read.of, read.seq) for read in other.outbox.of(Read)]
            self.assertEqual(told, [("tea", seq)] if node is self.one else [])
        self.assertEqual(self.one.place(self.desk, "tea").new, 0)
        self.assertEqual(self.two.place(self.phone, "tea").new, 0)

    def test_private_conversation(self) -> None:
        """So is what it has read in private."""
        for text in "one", "two":
            self.two.run_now(self.two.chat.direct(self.bob, "alice", text))
        self.log.pull()
        self.one.run_now(self.one.chat.read(self.desk, "@bob"))
        self.log.pull()
        told = [(read.of, read.seq) for read in self.phone.outbox.of(Read)]
        self.assertEqual(told, [("@bob", 2)])
        self.assertEqual(self.phone.shown, {})

    def test_nothing_is_announced_of_who_is_alone(self) -> None:
        """What an account reads that is with one node only is told to nobody."""
        watcher = self.one.account("carol")
        self.one.say(self.desk, "hello")
        self.log.pull()
        before = self.log.end
        self.two.run_now(self.two.chat.read(self.bob, "tea"))
        self.assertEqual(self.log.end, before)
        self.assertEqual(watcher.outbox.of(Read), [])

    def test_counts_at_the_next_login(self) -> None:
        """What was read at one node is not new at a login at another."""
        self.two.say(self.bob, "hello")
        self.log.pull()
        self.one.run_now(self.one.chat.read(self.desk, "tea"))
        self.one.end(self.desk)
        self.two.end(self.phone)
        three = self.node()
        (back,) = three.back("alice").outbox.of(Back)
        self.assertEqual([place.new for place in back.places], [0, 0])


class RoomTests(NodesTestCase):
    """Rooms that are made, joined and left at several nodes."""

    limits = Limits(replay=5, max_joined=4, max_rooms=6, max_history=10)

    def setUp(self) -> None:
        super().setUp()
        self.alice, self.bob = self.one.account("alice"), self.two.account("bob")

    def join_at_once(self, one: str, other: str) -> Refusal | int:
        """Have alice join a room after bob has asked for another one at the other node, and before
        that is in the log; give what comes of it for bob."""
        self.two.store.hold()
        results: list[object] = []
        joining = self.two.begin(self.two.chat.join(self.bob, other))
        joining.addBoth(results.append)
        self.one.join(one, self.alice)
        self.two.store.release()
        self.log.pull()
        (result,) = results
        value = getattr(result, "value", result)
        assert isinstance(value, Refusal | int), value
        return value

    def test_same_room_at_once(self) -> None:
        """A room that is made at two nodes at once is one room, which belongs to the one who was
        first; the other one joins it."""
        self.assertNotIsInstance(self.join_at_once("tea", "tea"), Refusal)
        for node, session in ((self.one, self.alice), (self.two, self.bob)):
            self.assertEqual(node.users(session, "tea"), ["alice", "bob"])
            roles = {state.record.name: state.members for state in node.chat.states()}
            alice, bob = (self.one.the_account(name).id for name in ("alice", "bob"))
            self.assertEqual(roles["tea"], {alice: "owner", bob: "member"})
        self.assertEqual(self.one.log("tea")[0].kind, "created")
        self.assertEqual(self.one.room_names(), ["lobby", "tea"])

    def test_look_alike_at_once(self) -> None:
        """Of two rooms that look alike and are made at two nodes at once, there is the first
        only."""
        refusal = self.join_at_once("lounge", "1ounge")
        assert isinstance(refusal, Refusal), refusal
        self.assertEqual((refusal.code, refusal.fields["nearest"]), ("bad-name", "lounge"))
        self.assertEqual(self.one.room_names(), ["lobby", "lounge"])
        self.assertEqual(self.two.rooms_of(self.bob), ("lobby",))

    def test_members_of_all_nodes(self) -> None:
        """All nodes know the members of a room, whichever they joined at, and tell programs."""
        self.one.join("tea", self.alice)
        self.log.pull()
        self.two.join("tea", self.bob)
        self.log.pull()
        self.alice.outbox.take()
        carol = self.two.account("carol")
        self.two.join("tea", carol)
        self.two.leave(self.bob, "tea")
        self.log.pull()
        told = [each.role for m in self.alice.outbox.of(Members) for each in m.standings]
        self.assertEqual(told, ["member", None])
        pictures = [sorted(s.record.name for s in node.chat.states()) for node in self.nodes]
        self.assertEqual(pictures, [["lobby", "tea"]] * 2)
        members = [
            {s.record.name: s.members for s in node.chat.states()}["tea"] for node in self.nodes
        ]
        self.assertEqual(members[0], members[1])

    def test_what_was_missed(self) -> None:
        """A session that resumes at another node is shown what came since, and nothing twice."""
        self.one.join("tea", self.alice)
        self.one.say(self.alice, "1")
        seqs = {room: self.one.log(room)[-1].seq if self.one.log(room) else 0 for room in ("tea",)}
        self.one.end(self.alice)
        self.log.pull()
        self.two.join("tea", self.bob)
        self.two.say(self.bob, "2")
        self.two.broadcast(self.bob, "3")
        session = Someone()
        self.two.run_now(self.two.chat.since(session, {**seqs, "lobby": 0}))
        self.two.log_in(session, "alice")
        self.two.say(self.bob, "4")
        self.assertEqual(sorted(session.outbox.replayed()), ["2", "3"])
        self.assertEqual(session.outbox.heard(), ["4"])

    def test_history(self) -> None:
        """A history that is asked for at a node that is behind has everything, and what it has is
        not told again as new."""
        self.one.join("tea", self.alice)
        self.log.pull()
        self.two.join("tea", self.bob)
        self.one.say(self.alice, "1")
        self.bob.outbox.take()
        shown = self.two.run_now(self.two.chat.history(self.bob, "tea", 5)).shown
        texts = [event.message.text for event in shown if isinstance(event, Said)]
        self.assertEqual(texts, ["1"])
        self.log.pull()
        self.assertEqual(self.bob.outbox.heard(), ["1"])


class LabelTests(NodesTestCase):
    """Posts that are repeated at another node."""

    def setUp(self) -> None:
        super().setUp()
        self.desk, self.phone = self.one.account("alice"), self.two.account("alice")
        self.bob = self.two.account("bob")
        self.log.pull()
        for session in (self.desk, self.phone, self.bob):
            session.outbox.take()

    def assert_said_once(self) -> None:
        """It is in the log once, and was told once to everybody; both sessions know where."""
        self.log.pull()
        self.assertEqual([entry.text for entry in self.one.messages()], ["hello"])
        self.assertEqual(self.bob.outbox.heard(), ["hello"])
        (entry,) = self.one.messages()
        for session in (self.desk, self.phone):
            done = [(each.label, each.room, each.seq, each.id) for each in session.outbox.of(Done)]
            self.assertEqual(done, [(LABEL, "lobby", entry.seq, entry.id)])

    def test_after_it_has_caught_up(self) -> None:
        """A post that is repeated at another node that knows it is answered and not said again."""
        self.one.say(self.desk, "hello", label=LABEL)
        self.log.pull()
        self.two.say(self.phone, "hello", label=LABEL)
        self.assert_said_once()

    def test_before_it_has_caught_up(self) -> None:
        """So is one that the other node does not know yet."""
        self.one.say(self.desk, "hello", label=LABEL)
        self.two.say(self.phone, "hello", label=LABEL)
        self.assert_said_once()

    def test_while_it_is_handed_over(self) -> None:
        """So is one that is repeated right before the other node hears of the first."""
        self.two.store.hold()
        self.two.say(self.phone, "hello", label=LABEL)
        self.one.say(self.desk, "hello", label=LABEL)
        self.two.store.pull()
        self.two.store.release()
        self.assert_said_once()

    def test_with_other_posts(self) -> None:
        """Posts around it keep their order and their answers."""
        self.one.say(self.desk, "hello", label=LABEL)
        self.two.store.hold()
        self.two.say(self.phone, "before", label="b" * 16)
        self.two.say(self.phone, "hello", label=LABEL)
        self.two.say(self.phone, "after", label="c" * 16)
        self.two.store.release()
        self.log.pull()
        texts = [entry.text for entry in self.one.messages()]
        self.assertEqual(texts, ["hello", "before", "after"])
        self.assertEqual(self.bob.outbox.heard(), texts)
        labels = sorted(each.label for each in self.phone.outbox.of(Done))
        self.assertEqual(labels, [LABEL, "b" * 16, "c" * 16])
        self.assertEqual(self.phone.in_flight, 0)

    def test_private_message(self) -> None:
        """A private message is not told twice either."""
        self.one.run_now(self.one.chat.direct(self.desk, "bob", "psst", label=LABEL))
        self.two.run_now(self.two.chat.direct(self.phone, "bob", "psst", label=LABEL))
        self.log.pull()
        self.assertEqual(self.bob.outbox.heard(), ["psst"])
        self.assertEqual(len(self.one.private()), 1)
        for session in (self.desk, self.phone):
            self.assertEqual([each.to for each in session.outbox.of(Done)], ["bob"])

    def test_at_a_node_that_starts(self) -> None:
        """A node that starts knows the labels of before."""
        self.one.say(self.desk, "hello", label=LABEL)
        three = self.node()
        session = three.back("alice")
        three.say(session, "hello", label=LABEL)
        self.assertEqual(len(self.one.messages()), 1)
        self.assertEqual(len(session.outbox.of(Done)), 1)

    def test_lost(self) -> None:
        """A post that was lost at one node is said when it is repeated at the other."""
        self.one.store.hold()
        self.one.say(self.desk, "hello", label=LABEL)
        self.one.store.fail()
        self.assertEqual([each.code for each in self.desk.outbox.of(Refused)], ["unavailable"])
        self.two.say(self.phone, "hello", label=LABEL)
        self.log.pull()
        self.assertEqual([entry.text for entry in self.one.messages()], ["hello"])

    def test_fenced(self) -> None:
        """What is posted at a node that was taken for dead, before it knows, is refused and can be
        repeated at once."""
        self.log.bury(self.one.number)
        self.one.say(self.desk, "hello", label=LABEL)
        self.assertEqual([each.code for each in self.desk.outbox.of(Refused)], ["unavailable"])
        self.log.pull()
        self.one.say(self.desk, "hello", label=LABEL)
        self.log.pull()
        self.assertEqual(self.bob.outbox.heard(), ["hello"])
