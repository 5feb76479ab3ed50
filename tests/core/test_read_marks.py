"""Read is seen: what counts as new in rooms, and how far one has read, on all devices."""

from tests.support import NOW
from twisted_chat.core.errors import Refusal
from twisted_chat.core.events import Back, History, Place, Read, Said
from twisted_chat.core.limits import Limits
from twisted_chat.core.model import SAID, Entry, RoomRecord

from .test_chat import ChatTestCase, Someone


class MarksTestCase(ChatTestCase):
    """Bob talks in a room that Alice is in with two sessions, of which the phone was shown it."""

    limits = Limits(replay=5, max_joined=4, max_rooms=6, max_history=10)

    def setUp(self) -> None:
        super().setUp()
        self.bob = self.account("bob")
        self.join("tea", self.bob)
        self.phone, self.desk = self.account("alice"), self.account("alice")
        self.run_now(self.chat.join(self.phone, "tea"))
        for session in self.bob, self.phone, self.desk:
            session.outbox.take()

    def tell(self, *texts: str, room: str = "tea") -> int:
        """Bob says something; return the C{seq} of the newest entry of the room."""
        for text in texts:
            self.chat.say(self.bob, room, text)
        return self.log(room)[-1].seq

    def new(self, room: str = "tea") -> int:
        """The messages of a room that are new for Alice."""
        return self.place(self.desk, room).new

    def mark(self, room: str = "tea") -> int:
        """The entry up to which the store has a room marked as read by Alice."""
        return self.store.marks[self.the_account("alice").id, self.state(room).record.id]

    def read_of(self, session: Someone) -> list[tuple[str, int]]:
        """What a session was told that another one has read."""
        return [(event.of, event.seq) for event in session.outbox.of(Read)]


class SeenTests(MarksTestCase):
    """Marks that move because a session sends something after it was shown the messages."""

    def test_shown_is_not_seen(self) -> None:
        """A message is new until a session that was shown it sends something."""
        last = self.tell("1", "2")
        self.assertEqual(self.new(), 2)
        self.chat.seen(self.phone)
        self.assertEqual((self.new(), self.mark()), (0, last))
        self.tell("3")
        self.assertEqual(self.new(), 1)

    def test_other_sessions_are_told(self) -> None:
        """When a mark moves, the person's other sessions are told, and nobody else; when it does
        not move, nobody is."""
        last = self.tell("1")
        self.chat.seen(self.phone)
        self.assertIn(("tea", last), self.read_of(self.desk))
        self.assertEqual(self.read_of(self.phone) + self.read_of(self.bob), [])
        self.desk.outbox.take()
        self.chat.seen(self.phone)
        self.assertEqual(self.read_of(self.desk), [])

    def test_session_that_was_not_shown_the_room(self) -> None:
        """A session that is in a room because another one joined it has seen what it heard since;
        it was not shown what came before, so nothing is marked until it is."""
        self.end(self.phone)
        self.tell("1")
        desk = self.back("alice")
        self.tell("2")
        self.chat.seen(desk)
        self.assertEqual(self.place(desk, "tea").new, 2)
        self.run_now(self.chat.join(desk, "tea"))
        self.chat.seen(desk)
        self.assertEqual(self.place(desk, "tea").new, 0)

    def test_nothing_new_at_login_counts_as_shown(self) -> None:
        """A room without news at login counts as shown: what comes then is seen."""
        self.tell("1")
        self.chat.seen(self.phone)
        desk = self.back("alice")
        last = self.tell("2")
        self.assertEqual(self.place(desk, "tea").new, 1)
        self.chat.seen(desk)
        self.assertEqual((self.place(desk, "tea").new, self.mark()), (0, last))

    def test_shown_by_a_resume(self) -> None:
        """A room with news counts as shown after a resume that shows all of it."""
        self.end(self.phone, self.desk)
        last = self.tell("1", "2")
        for before in True, False:
            self.setUp()
            self.end(self.phone, self.desk)
            last = self.tell("1", "2")
            desk = Someone()
            if before:
                self.run_now(self.chat.since(desk, {"tea": 2}))
                self.log_in(desk, "alice")
            else:
                self.log_in(desk, "alice")
                self.run_now(self.chat.since(desk, {"tea": 2}))
            self.assertEqual(self.place(desk, "tea").new, 2)
            self.chat.seen(desk)
            self.assertEqual((self.place(desk, "tea").new, self.mark()), (0, last))

    def test_shown_by_reading(self) -> None:
        """A room with news counts as read after it was marked explicitly, and as shown: what comes
        then is seen, on all sessions."""
        self.end(self.phone, self.desk)
        last = self.tell("1", "2")
        desk, phone = self.back("alice"), self.back("alice")
        self.run_now(self.chat.read(desk, "tea"))
        self.assertEqual((self.place(desk, "tea").new, self.mark()), (0, last))
        for session in desk, phone:
            last = self.tell("3")
            self.chat.seen(session)
            self.assertEqual((self.place(desk, "tea").new, self.mark()), (0, last))

    def test_saying_something_shows_nothing(self) -> None:
        """Somebody who says something in a room before they were shown what is new there is shown
        it when they join; until then it is new."""
        self.chat.seen(self.phone)
        self.end(self.phone, self.desk)
        self.tell(*"abcdefg")
        desk = self.back("alice")
        self.chat.say(desk, "tea", "h")
        self.assertEqual(self.place(desk, "tea").new, 7)
        self.run_now(self.chat.join(desk, "tea"))
        (history,) = [each for each in desk.outbox.of(History) if each.of == "tea"]
        shown = [each.message.text for each in history.shown if isinstance(each, Said)]
        self.assertEqual(shown, [*"abcdefgh"])

    def test_join_shows_what_is_new(self) -> None:
        """Joining a room with news shows what is new, as many as a history has; joining one without
        shows the last messages."""
        self.tell("0")
        self.chat.seen(self.phone)
        self.end(self.phone, self.desk)
        self.tell(*"abcdefg")
        desk = self.back("alice")
        self.run_now(self.chat.join(desk, "tea"))
        (history,) = [each for each in desk.outbox.of(History) if each.of == "tea"]
        self.assertEqual(len(history.shown), 7)
        phone = self.back("alice")
        self.chat.seen(desk)
        self.end(phone)
        phone = self.back("alice")
        self.run_now(self.chat.join(phone, "tea"))
        (history,) = [each for each in phone.outbox.of(History) if each.of == "tea"]
        self.assertEqual(len(history.shown), 5)

    def test_nothing_while_something_waits_to_be_taken(self) -> None:
        """If events wait in its outbox when a session sends something, nothing counts as seen."""
        self.tell("1")
        self.phone.outbox.is_taken = False
        self.chat.seen(self.phone)
        self.assertEqual(self.new(), 1)
        self.phone.outbox.is_taken = True
        self.chat.seen(self.phone)
        self.assertEqual(self.new(), 0)

    def test_gap(self) -> None:
        """Once its outbox has skipped something, a session sees nothing of its rooms any more,
        until it is shown a room again."""
        self.tell("1")
        self.phone.outbox.is_full = True
        self.tell("2")
        self.phone.outbox.is_full = False
        self.tell("3")
        self.chat.seen(self.phone)
        self.assertEqual(self.new(), 3)
        self.tell("4")
        self.chat.seen(self.phone)
        self.assertEqual(self.new(), 4)
        shown = self.log("tea")[-4].seq
        self.run_now(self.chat.since(self.phone, {"tea": shown}))
        last = self.tell("5")
        self.chat.seen(self.phone)
        self.assertEqual((self.new(), self.mark()), (0, last))

    def test_gap_that_a_join_closes(self) -> None:
        """A session with a gap in a room is shown the room again when it joins."""
        self.phone.outbox.is_full = True
        self.tell("1")
        self.phone.outbox.is_full = False
        self.chat.seen(self.phone)
        self.assertTrue(self.run_now(self.chat.join(self.phone, "tea")))
        self.assertEqual(self.phone.outbox.replayed(), ["1"])
        self.chat.seen(self.phone)
        self.assertEqual(self.new(), 0)

    def test_gap_while_it_waits(self) -> None:
        """A session is shown a room without a hole also if its outbox skipped something after it
        asked to be shown the room, and before the answer."""
        for ask in lambda s: self.chat.since(s, {"tea": 1}), lambda s: self.chat.join(s, "tea"):
            self.setUp()
            self.end(self.phone, self.desk)
            self.tell("1")
            desk = self.back("alice")
            self.store.hold()
            self.chat.say(self.bob, "tea", "2")
            asking = self.begin(ask(desk))
            desk.outbox.is_full = True
            self.store.step()
            desk.outbox.is_full = False
            self.store.release()
            self.successResultOf(asking)
            self.assertEqual(desk.outbox.replayed(), ["1", "2"])
            self.chat.seen(desk)
            self.assertEqual(self.mark(), self.log("tea")[-1].seq)

    def test_resume_with_a_hole(self) -> None:
        """A resume that could not show all that is new does not count as shown."""
        self.end(self.phone, self.desk)
        self.tell(*"abcdefghijklmno")
        desk = Someone()
        self.run_now(self.chat.since(desk, {"tea": 2}))
        self.log_in(desk, "alice")
        self.chat.seen(desk)
        self.assertEqual(self.place(desk, "tea").new, self.limits.max_history)
        self.assertLessEqual(self.mark(), 3)

    def test_resume_after_what_was_not_seen(self) -> None:
        """A resume point says that the client has what came before: it is seen then, too."""
        self.end(self.phone, self.desk)
        self.tell("1", "2")
        last = self.tell("3")
        desk = Someone()
        self.run_now(self.chat.since(desk, {"tea": last - 1}))
        self.log_in(desk, "alice")
        self.chat.seen(desk)
        self.assertEqual((self.place(desk, "tea").new, self.mark()), (0, last))

    def test_several_rooms(self) -> None:
        """A session that sends something has seen all rooms that it was shown, and no other."""
        self.join("bar", self.bob)
        self.run_now(self.chat.join(self.desk, "bar"))
        self.desk.outbox.take()
        for room in "lobby", "tea", "bar":
            self.tell("1", room=room)
        self.chat.seen(self.phone)
        self.assertEqual([self.new(room) for room in ("lobby", "tea")], [0, 0])
        self.chat.seen(self.desk)
        self.assertEqual([self.new(room) for room in ("lobby", "tea", "bar")], [0, 0, 0])

    def test_lobby(self) -> None:
        """The lobby is shown at login, and seen like any room."""
        last = self.tell("1", room="lobby")
        self.assertEqual(self.new("lobby"), 1)
        self.chat.seen(self.desk)
        self.assertEqual((self.new("lobby"), self.mark("lobby")), (0, last))

    def test_lobby_at_login(self) -> None:
        """What was said in the lobby while an account was away is new, and seen once the session
        that was shown it sends something."""
        self.end(self.phone, self.desk)
        self.tell("1", "2", room="lobby")
        alice = self.back("alice")
        (back,) = alice.outbox.of(Back)
        self.assertEqual(back.places[0].new, 2)
        self.assertEqual(alice.outbox.replayed(), ["1", "2"])
        self.chat.seen(alice)
        self.assertEqual(self.place(alice, "lobby").new, 0)

    def test_resume_of_the_lobby_with_a_hole(self) -> None:
        """A resume of the lobby at login that could not show all that is new does not count as
        shown."""
        self.end(self.phone, self.desk)
        self.tell(*"abcdefghijklmno", room="lobby")
        desk = Someone()
        self.run_now(self.chat.since(desk, {"lobby": 0}))
        self.log_in(desk, "alice")
        self.chat.seen(desk)
        self.assertEqual(self.place(desk, "lobby").new, self.limits.max_history)

    def test_own_messages_are_never_new(self) -> None:
        """One's own messages are not new on any device, and those of others before them stay."""
        self.chat.say(self.phone, "tea", "mine")
        self.assertEqual(self.new(), 0)
        self.tell("1")
        self.chat.say(self.desk, "tea", "mine too")
        self.assertEqual(self.new(), 1)
        (back,) = self.back("alice").outbox.of(Back)
        tea = next(place for place in back.places if place.room == "tea")
        self.assertEqual((tea.new, tea.seq), (1, self.log("tea")[-1].seq))

    def test_own_messages_need_not_be_marked(self) -> None:
        """A session that has seen everything before its own message has nothing to mark after
        it."""
        self.tell("1")
        self.chat.seen(self.phone)
        before = self.mark()
        self.desk.outbox.take()
        self.chat.say(self.phone, "tea", "mine")
        self.chat.seen(self.phone)
        self.assertEqual((self.mark(), self.read_of(self.desk)), (before + 1, []))

    def test_room_that_was_left(self) -> None:
        """A room that was left is not marked, and has no news when it is joined again."""
        self.tell("1")
        self.run_now(self.chat.leave(self.desk, "tea"))
        self.tell("2")
        self.chat.seen(self.phone)
        self.run_now(self.chat.join(self.desk, "tea"))
        self.assertEqual(self.new(), 0)

    def test_message_of_another_node(self) -> None:
        """What was said on another node is new, and seen in the same way."""
        record = self.state("tea").record
        seq = self.log("tea")[-1].seq + 1
        self.chat.deliver([(0, Entry(99, record, seq, SAID, None, "zoe", NOW, "hi"))])
        self.chat.seen(self.phone)
        self.assertIn(("tea", seq), self.read_of(self.desk))

    def test_guest_has_seen_everything(self) -> None:
        """A guest marks nothing, and is told of no news."""
        gil = self.guest("gil")
        self.join("tea", gil)
        self.tell("1")
        before = dict(self.store.marks)
        self.chat.seen(gil)
        self.assertEqual(self.store.marks, before)
        self.assertEqual({p.new for p in self.run_now(self.chat.where(gil))}, {0})


class ReadTests(MarksTestCase):
    """Marks that a session moves explicitly."""

    def test_up_to_the_newest(self) -> None:
        """Without a C{seq}, a room is marked up to its newest entry, and the person's other
        sessions are told."""
        last = self.tell("1", "2")
        self.run_now(self.chat.read(self.desk, "#Tea"))
        self.assertEqual((self.new(), self.mark()), (0, last))
        self.assertEqual(self.read_of(self.phone), [("tea", last)])
        self.assertEqual(self.read_of(self.desk) + self.read_of(self.bob), [])

    def test_up_to_an_entry(self) -> None:
        """With a C{seq}, a room is marked up to that entry; what comes after it is new."""
        last = self.tell("1", "2", "3")
        self.run_now(self.chat.read(self.desk, "tea", last - 2))
        self.assertEqual((self.new(), self.mark()), (2, last - 2))
        self.assertEqual(self.read_of(self.phone), [("tea", last - 2)])

    def test_never_back(self) -> None:
        """A mark never moves back, and nobody is told when it does not move."""
        last = self.tell("1", "2")
        for seq in last, last - 1, 1, last:
            self.run_now(self.chat.read(self.desk, "tea", seq))
        self.assertEqual(self.mark(), last)
        self.assertEqual(self.read_of(self.phone), [("tea", last)])

    def test_beyond_the_newest(self) -> None:
        """Nobody can have read what is not there yet."""
        last = self.tell("1")
        self.run_now(self.chat.read(self.desk, "tea", 10**9))
        self.assertEqual(self.mark(), last)
        self.assertEqual(self.read_of(self.phone), [("tea", last)])
        self.tell("2")
        self.assertEqual(self.new(), 1)

    def test_it_ends_implicit_marks(self) -> None:
        """A session that has said up to which entry it has read marks nothing by sending lines any
        more; the person's other sessions still do."""
        last = self.tell("1")
        self.run_now(self.chat.read(self.phone, "tea", last))
        self.tell("2")
        self.tell("3", room="lobby")
        self.chat.seen(self.phone)
        self.assertEqual((self.new(), self.new("lobby")), (1, 1))
        self.run_now(self.chat.direct(self.bob, "alice", "psst"))
        self.chat.seen(self.phone)
        alice = self.back("alice")
        self.assertIn("psst", alice.outbox.replayed())
        self.chat.seen(alice)
        self.assertNotIn("psst", self.back("alice").outbox.replayed())

    def test_broom(self) -> None:
        """A session that marks a room without saying up to which entry goes on marking by sending
        lines."""
        self.tell("1")
        self.run_now(self.chat.read(self.phone, "tea"))
        self.tell("2")
        self.chat.seen(self.phone)
        self.assertEqual(self.new(), 0)

    def test_conversation(self) -> None:
        """A private conversation is marked as C{@name}; the person's other sessions are told."""
        for text in "123":
            self.run_now(self.chat.direct(self.bob, "alice", text))
        self.run_now(self.chat.read(self.desk, "@Bob", 2))
        self.assertEqual(self.read_of(self.phone), [("@bob", 2)])
        self.assertEqual(self.back("alice").outbox.replayed(), ["3"])
        self.run_now(self.chat.read(self.desk, "@bob"))
        self.assertEqual(self.back("alice").outbox.replayed(), [])
        self.assertEqual(self.read_of(self.phone), [("@bob", 2), ("@bob", 3)])

    def test_refusals(self) -> None:
        """What one is not in cannot be marked, nor a conversation with nobody."""
        self.join("bar", self.bob)
        for of, code in (
            ("bar", "not-in-room"),
            ("nowhere", "no-such-room"),
            ("@nobody1", "no-such-person"),
        ):
            self.assertEqual(self.refusal(self.chat.read(self.desk, of)).code, code)

    def test_busy(self) -> None:
        """While an operation awaits something, marking is refused."""
        self.store.hold()
        setting = self.begin(self.chat.set_topic(self.desk, "tea", "x"))
        self.assertEqual(self.refusal(self.chat.read(self.desk, "tea")).code, "busy")
        self.store.release()
        self.successResultOf(setting)


class PrivateTests(MarksTestCase):
    """Private conversations, as seen on two devices."""

    def test_seen_on_one_is_seen_on_all(self) -> None:
        """A private message that one session has seen is not unread on any, and the others are told
        of the conversation."""
        self.run_now(self.chat.direct(self.bob, "alice", "1"))
        self.chat.seen(self.phone)
        self.assertIn(("@bob", 1), self.read_of(self.desk))
        self.assertEqual(self.read_of(self.phone), [])
        self.assertEqual(self.back("alice").outbox.replayed(), [])

    def test_seen_on_both(self) -> None:
        """What one session has seen is no news when another one has seen it, too."""
        self.run_now(self.chat.direct(self.bob, "alice", "1"))
        self.chat.seen(self.phone)
        self.chat.seen(self.desk)
        self.assertEqual(self.read_of(self.phone), [])
        self.run_now(self.chat.direct(self.bob, "alice", "2"))
        self.chat.seen(self.desk)
        self.assertEqual(self.read_of(self.phone), [("@bob", 2)])

    def test_conversations_are_apart(self) -> None:
        """What is seen of one conversation says nothing of another."""
        carol = self.account("carol")
        self.run_now(self.chat.direct(carol, "alice", "from carol"))
        self.phone.outbox.is_full = True
        self.run_now(self.chat.direct(self.bob, "alice", "from bob"))
        self.phone.outbox.is_full = False
        self.end(self.desk)
        self.chat.seen(self.phone)
        self.assertEqual(self.back("alice").outbox.replayed(), ["from bob"])

    def test_what_was_unread_at_login(self) -> None:
        """Unread messages that a login showed are seen when the session sends something, in each of
        their conversations."""
        self.end(self.phone, self.desk)
        carol = self.account("carol")
        for text in "12":
            self.run_now(self.chat.direct(carol, "alice", f"c{text}"))
            self.run_now(self.chat.direct(self.bob, "alice", f"b{text}"))
        phone, desk = self.back("alice"), self.back("alice")
        self.chat.seen(phone)
        self.assertCountEqual(self.read_of(desk), [("@bob", 2), ("@carol", 2)])
        self.assertEqual(self.back("alice").outbox.replayed(), [])

    def test_answer_on_another_device(self) -> None:
        """One's own messages in a conversation are not unread."""
        self.run_now(self.chat.direct(self.phone, "bob", "hi"))
        self.assertEqual(self.back("alice").outbox.replayed(), [])


class OrderTests(MarksTestCase):
    """Marks keep their place among questions."""

    def test_mark_before_a_question_counts(self) -> None:
        """A mark that is set before a question counts in its answer, one that is set later does
        not."""
        last = self.tell("1", "2")
        self.store.hold()
        before = self.begin(self.chat.where(self.desk))
        self.chat.seen(self.phone)
        after = self.begin(self.chat.where(self.back_held()))
        self.store.release()
        first = next(p for p in self.successResultOf(before) if p.room == "tea")
        self.assertEqual(first.new, 2)
        self.assertEqual(self.mark(), last)
        self.failureResultOf(after, Refusal)

    def back_held(self) -> Someone:
        """Make a session that is nobody."""
        return Someone()

    def test_place_is_whole(self) -> None:
        """A place says what is there: everything up to the mark is read, and all is new after
        it."""
        self.tell("1")
        self.chat.seen(self.phone)
        last = self.tell("2", "3")
        place = self.place(self.desk, "tea")
        self.assertEqual(place, Place("tea", 2, "", last, last - 2, 2, False))


class RecordTests(MarksTestCase):
    """What the store is asked to remember."""

    def test_new_member_has_seen_what_was_there(self) -> None:
        """A new member of a room has seen what was said there before."""
        self.tell("1", "2")
        carol = self.account("carol")
        self.run_now(self.chat.join(carol, "tea"))
        self.assertEqual(self.place(carol, "tea").new, 0)
        self.assertIsInstance(self.state("tea").record, RoomRecord)
