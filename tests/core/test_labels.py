"""Labels: a post that is repeated is answered as the first time, and not done twice."""

from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from tests.support import NOW, PlainHasher, guard, held, now
from twisted_chat.core.accounts import Accounts
from twisted_chat.core.addresses import SHARED
from twisted_chat.core.errors import Refusal
from twisted_chat.core.events import (
    Answer,
    Away,
    Done,
    History,
    Left,
    NotKept,
    Refused,
    Said,
    Told,
)
from twisted_chat.core.labels import MOST, WINDOW, Labels, done
from twisted_chat.core.model import SAID, Account, Entry, RoomRecord, conversation
from twisted_chat.core.people import Session

from .test_chat import PASSWORD, ChatTestCase, Someone

LABEL = "0123456789abcdef"
OTHER = "fedcba9876543210"


class LabelTestCase(ChatTestCase):
    """Alice writes, and Bob reads."""

    def setUp(self) -> None:
        super().setUp()
        self.alice = self.account("alice", echo=True)
        self.bob = self.account("bob")
        self.alice.outbox.take()

    def tell(self, name: str, text: str, label: str, session: Someone | None = None) -> None:
        """Alice sends a private message."""
        self.run_now(self.chat.direct(session or self.alice, name, text, label=label))

    def done(self, *, at: int = -1) -> Done:
        """The C{Done} that is told for a message in the log."""
        message = self.messages()[at]
        return Done(NOW, message.label, room="lobby", seq=message.seq, id=message.id)


class AnswerTests(LabelTestCase):
    """How the author of a labelled post is answered."""

    def test_message_and_then_done(self) -> None:
        """The author is told the message with the label, and then done; nobody else sees the
        label."""
        self.say(self.alice, "hi", label="7")
        (message,) = self.messages()
        self.assertEqual(self.alice.outbox.take(), [Said(NOW, message, label="7"), self.done()])
        self.assertEqual(self.bob.outbox.take(), [Said(NOW, message)])

    def test_done_without_echo(self) -> None:
        """A session without echo is told only that its post is done, once it is in the log."""
        self.store.hold()
        self.say(self.bob, "hi", label="7")
        self.assertEqual(self.bob.outbox.take(), [])
        self.store.commit()
        self.assertEqual(self.bob.outbox.take(), [self.done()])

    def test_in_the_order_of_what_others_say(self) -> None:
        """The author is told done right after the message, whatever others say in the same
        batch."""
        self.store.hold()
        for session, text, label in (
            (self.bob, "1", ""),
            (self.alice, "2", "a"),
            (self.bob, "3", "b"),
            (self.alice, "4", "c"),
            (self.alice, "5", ""),
        ):
            self.say(session, text, label=label)
        self.store.commit()
        said = [event.message.text for event in self.alice.outbox.of(Said)]
        self.assertEqual(said, list("12345"))
        kinds = [type(event).__name__ for event in self.alice.outbox.events]
        self.assertEqual(kinds, ["Said", "Said", "Done", "Said", "Said", "Done", "Said"])
        heard = [
            event.label if isinstance(event, Done) else event.message.text
            for event in self.bob.outbox.events
            if isinstance(event, Done | Said)
        ]
        self.assertEqual(heard, ["2", "b", "4", "5"])

    def test_author_who_has_left_the_room(self) -> None:
        """An author who leaves the room is told done for what they said before, and nothing that
        is said there after it."""
        self.join("tea", self.alice, self.bob)
        self.store.hold()
        self.say(self.alice, "bye", label="7")
        leaving = self.begin(self.chat.leave(self.alice, "tea"))
        self.chat.say(self.bob, "tea", "bye, alice")
        self.store.commit()
        self.successResultOf(leaving)
        self.assertEqual([type(event) for event in self.alice.told()], [Said, Done, Left])

    def test_author_who_has_left_one_of_several_rooms(self) -> None:
        """An author who has left the room goes on hearing the other rooms."""
        self.join("tea", self.alice, self.bob)
        self.store.hold()
        self.chat.say(self.bob, "tea", "1")
        self.chat.say(self.alice, "lobby", "2")
        self.chat.say(self.alice, "tea", "3")
        self.chat.say(self.bob, "lobby", "4")
        leaving = self.begin(self.chat.leave(self.bob, "tea"))
        self.chat.say(self.alice, "tea", "5")
        self.chat.say(self.alice, "lobby", "6", label="7")
        self.store.commit()
        self.successResultOf(leaving)
        self.assertEqual(self.bob.outbox.heard(), ["2", "3", "6"])
        self.assertEqual(self.alice.outbox.heard(), ["1", "2", "3", "4", "5", "6"])

    def test_private_message(self) -> None:
        """A private message to a person who is here is answered with the message, and then done."""
        self.tell("bob", "psst", "7")
        (message,) = self.private()
        self.assertEqual(
            self.alice.outbox.take(),
            [
                Told(NOW, message, outgoing=True, label="7"),
                Done(NOW, "7", seq=1, id=message.id, to="bob"),
            ],
        )
        self.assertEqual(self.bob.outbox.take(), [Told(NOW, message)])

    def test_private_message_to_somebody_away(self) -> None:
        """For a person who is away, the remark that says so carries the label too."""
        self.registered("carol")
        self.tell("carol", "psst", "7")
        _, away, told = self.alice.outbox.take()
        self.assertEqual(away, Answer(Away(NOW, "carol", kept=True), "7"))
        self.assertEqual(told, Done(NOW, "7", seq=1, id=self.private()[-1].id, to="carol"))

    def test_private_message_to_a_guest(self) -> None:
        """Done has no id and no C{seq} for a message to a guest. Both sides are told that it is
        not kept, the author with the label."""
        gil = self.guest("gil")
        self.alice.outbox.take()
        self.tell("gil", "psst", "7")
        _, remark, told = self.alice.outbox.take()
        self.assertEqual(remark, Answer(NotKept(NOW), "7"))
        self.assertEqual(told, Done(NOW, "7", id=None, to="gil"))
        self.assertEqual(gil.outbox.of(NotKept), [NotKept(NOW)])

    def test_note_to_oneself(self) -> None:
        """Of the sessions of a person who writes to themselves, only the one that wrote is shown
        the label."""
        desk = self.account("alice")
        self.tell("alice", "note", "7")
        self.assertEqual([told.label for told in self.alice.outbox.of(Told)], ["7"])
        self.assertEqual([told.label for told in desk.outbox.of(Told)], [""])

    def test_lost(self) -> None:
        """The refusal of a lost post carries its label."""
        self.store.hold()
        self.say(self.alice, "hi", label="7")
        self.store.fail()
        (refused,) = self.alice.outbox.take()
        assert isinstance(refused, Refused)
        self.assertEqual((refused.code, refused.label), ("unavailable", "7"))


class RepeatTests(LabelTestCase):
    """Posts that are repeated with the same label."""

    def test_short_label_is_not_remembered(self) -> None:
        """A label of 15 characters is not remembered, as it may have been used before."""
        for _ in range(2):
            self.say(self.alice, "hi", label=LABEL[:15])
        self.assertEqual(len(self.messages()), 2)

    def test_what_is_in_the_log_is_not_said_again(self) -> None:
        """A repeated post that is in the log is answered as before, and not said again, from any
        session."""
        self.say(self.alice, "hi", label=LABEL)
        self.alice.outbox.take()
        for session in self.alice, self.account("alice"):
            self.say(session, "hi", label=LABEL)
            self.assertEqual(session.outbox.take(), [self.done()])
            self.assertEqual(session.in_flight, 0)
        self.assertEqual(len(self.messages()), 1)

    def test_private_message_is_not_sent_again(self) -> None:
        """A repeated private message is not sent again, also if it is not kept."""
        self.guest("gil")
        self.alice.outbox.take()
        for name, label in ("bob", LABEL), ("gil", OTHER):
            for _ in range(2):
                self.tell(name, "psst", label)
            answers = self.alice.outbox.of(Done)
            self.alice.outbox.take()
            self.assertEqual(answers[0], answers[1])
            self.assertEqual(answers[0].to, name)
        self.assertEqual(len(self.private()), 1)

    def test_repeated_while_it_is_in_flight(self) -> None:
        """A post that is repeated while it is in flight counts as in flight for both sessions, and
        both are told done."""
        desk = self.account("alice")
        self.store.hold()
        for session in self.alice, desk:
            self.say(session, "hi", label=LABEL)
        self.assertEqual((self.alice.in_flight, desk.in_flight), (1, 1))
        self.store.commit()
        self.assertEqual(len(self.messages()), 1)
        (message,) = self.messages()
        self.assertEqual(desk.outbox.take(), [Said(NOW, message), self.done()])
        self.assertEqual((self.alice.in_flight, desk.in_flight, desk.landings), (0, 0, 1))

    def test_session_that_repeats_after_the_first_has_ended(self) -> None:
        """A session that repeats a post of a session that has ended is told done."""
        again = self.account("alice")
        self.store.hold()
        self.say(self.alice, "hi", label=LABEL)
        self.chat.end_session(self.alice)
        self.say(again, "hi", label=LABEL)
        self.store.commit()
        self.assertEqual(again.outbox.of(Done), [self.done()])
        self.assertEqual(len(self.messages()), 1)

    def test_session_that_ends_while_it_waits(self) -> None:
        """A session that ends while its repeated post is in flight is told nothing, and over when
        it has landed."""
        desk = self.account("alice")
        self.store.hold()
        for session in self.alice, desk:
            self.say(session, "hi", label=LABEL)
        self.chat.end_session(desk)
        self.assertEqual(desk.ends, 0)
        self.store.commit()
        self.assertEqual((desk.outbox.take(), desk.ends), ([], 1))

    def test_lost_post_may_be_repeated(self) -> None:
        """All sessions that wait for a lost post are told so, and may repeat it."""
        desk = self.account("alice")
        self.store.hold()
        for session in self.alice, desk:
            self.say(session, "hi", label=LABEL)
        self.store.fail()
        for session in self.alice, desk:
            self.assertEqual([r.label for r in session.outbox.of(Refused)], [LABEL])
            self.assertEqual(session.in_flight, 0)
        self.say(desk, "hi", label=LABEL)
        self.store.commit()
        self.assertEqual([message.text for message in self.messages()], ["hi"])

    def test_two_sessions_who_look_up_the_same_person(self) -> None:
        """Of two sessions that send one labelled private message while the recipient is looked up,
        one sends it."""
        desk = self.account("alice")
        self.registered("carol")
        self.store.hold()
        telling = [
            self.begin(self.chat.direct(session, "carol", "psst", label=LABEL))
            for session in (self.alice, desk)
        ]
        self.store.commit()
        for each in telling:
            self.successResultOf(each)
        self.assertEqual(len(self.private()), 1)
        self.assertEqual([len(s.outbox.of(Done)) for s in (self.alice, desk)], [1, 1])

    def test_reply(self) -> None:
        """A repeated reply is answered and not sent again."""
        self.run_now(self.chat.direct(self.bob, "alice", "psst"))
        for _ in range(2):
            self.run_now(self.chat.reply(self.alice, "what?", label=LABEL))
        self.assertEqual(len(self.private()), 2)

    def test_reply_of_another_session(self) -> None:
        """A reply that another session repeats is answered, also if nobody has written to that
        one."""
        self.run_now(self.chat.direct(self.bob, "alice", "psst"))
        self.run_now(self.chat.reply(self.alice, "what?", label=LABEL))
        desk = self.account("alice", echo=True)
        desk.outbox.take()
        self.assertEqual(self.run_now(self.chat.reply(desk, "what?", label=LABEL)), "")
        self.assertEqual([type(event) for event in desk.outbox.take()], [Done])
        self.assertEqual(len(self.private()), 2)

    def test_labels_of_others(self) -> None:
        """Two people may use the same label."""
        for session in self.alice, self.bob:
            self.say(session, "hi", label=LABEL)
        self.assertEqual(len(self.messages()), 2)

    def test_in_a_room_that_was_left_since(self) -> None:
        """A repeated post in a room that its author has left is answered."""
        self.join("tea", self.alice, self.bob)
        self.say(self.alice, "hi", label=LABEL)
        self.leave(self.alice)
        self.alice.outbox.take()
        self.chat.say(self.alice, "tea", "hi", label=LABEL)
        self.assertEqual([type(event) for event in self.alice.outbox.take()], [Done])

    def restart(self) -> None:
        """Begin again with what is in the store."""
        self.accounts = Accounts(self.store, PlainHasher(), guard(), now, min_password=8)
        self.chat = self.new_chat()
        self.store.subscribe(self.chat.deliver, self.chat.lose)

    def test_after_a_restart(self) -> None:
        """Labels of the last ten minutes are read from the log at the start."""
        self.say(self.alice, "hi", label=LABEL)
        self.tell("bob", "psst", OTHER)
        expected = [self.done(), self.alice.outbox.of(Done)[-1]]
        self.restart()
        self.run_now(self.chat.recall_labels())
        alice = self.account("alice")
        self.say(alice, "hi", label=LABEL)
        self.tell("bob", "psst", OTHER, alice)
        self.assertEqual(alice.outbox.take(), expected)
        self.assertEqual((len(self.messages()), len(self.private())), (1, 1))

    def test_after_a_restart_with_a_database_that_cannot_be_read(self) -> None:
        """Nobody gets in before the labels are known: a repeated post would be said again."""
        self.say(self.alice, "hi", label=LABEL)
        account = self.run_now(self.accounts.authenticate("alice", PASSWORD, SHARED)).account
        self.restart()
        trouble = Refusal("unavailable", "the database cannot be read")
        with mock.patch.object(self.store, "labels", side_effect=trouble):
            for operation in (
                self.chat.recall_labels(),
                self.chat.log_in(Someone(), account),
                self.chat.come_as_guest(Someone(), held(self.accounts.hold_guest_number())),
            ):
                self.assertEqual(self.refusal(operation).code, "unavailable")
        alice = self.account("alice")
        self.say(alice, "hi", label=LABEL)
        self.assertEqual(alice.outbox.take(), [self.done()])
        self.assertEqual(len(self.messages()), 1)


class ReplayTests(LabelTestCase):
    """Labels in replayed messages."""

    def labels(self, history: History) -> list[str]:
        return [event.label for event in history.shown if isinstance(event, Said | Told)]

    def test_own_messages_carry_them(self) -> None:
        """One's own labels are shown in histories, on joining and on resuming; others' are not."""
        self.say(self.alice, "hi", label=LABEL)
        self.say(self.bob, "hello")
        for session, expected in (self.alice, [LABEL, ""]), (self.bob, ["", ""]):
            history = self.run_now(self.chat.history(session, "lobby"))
            self.assertEqual(self.labels(history), expected)
            session.outbox.take()
            self.run_now(self.chat.since(session, {"lobby": 0}))
            self.assertEqual(self.labels(session.outbox.of(History)[0]), expected)
        for name, expected in ("alice", [LABEL, ""]), ("bob", ["", ""]):
            session = Someone()
            self.log_in(session, name)
            self.assertEqual(self.labels(session.outbox.of(History)[0]), expected)

    def test_next_guest_of_the_name(self) -> None:
        """A guest is shown no labels of a guest who had the name before."""
        gil = self.guest("gil")
        gil.echo = True
        self.say(gil, "hi", label=LABEL)
        (said,) = gil.outbox.of(Said)
        self.assertEqual(said.label, LABEL)
        self.chat.end_session(gil)
        again = Someone()
        self.run_now(self.chat.come_as_guest(again, self.run_now(self.accounts.hold("gil"))))
        history = self.run_now(self.chat.history(again, "lobby"))
        for each in again.outbox.of(History)[0], history:
            self.assertEqual(self.labels(each), [""])

    def test_others_share_the_replay(self) -> None:
        """Readers who gave none of the messages a label share one tuple of events."""
        self.say(self.alice, "hi", label=LABEL)
        replays = []
        for name in ("carol", "dave"):
            session = Someone()
            self.run_now(self.chat.come_as_guest(session, self.run_now(self.accounts.hold(name))))
            replays.append(session.outbox.of(History)[0].shown)
        self.assertIs(replays[0], replays[1])

    def test_own_private_messages_carry_them(self) -> None:
        """Labels of private messages are shown to their sender, and not to the recipient."""
        self.tell("bob", "psst", LABEL)
        for session, name, expected in (self.alice, "bob", [LABEL]), (self.bob, "alice", [""]):
            history = self.run_now(self.chat.history(session, f"@{name}"))
            self.assertEqual(self.labels(history), expected)


class WindowTests(SynchronousTestCase):
    """How long labels are remembered."""

    def setUp(self) -> None:
        self.time = NOW
        self.labels = Labels(lambda: self.time)

    def message(self, label: str, time: int) -> Entry:
        lobby = RoomRecord(1, "public", "lobby")
        return Entry(1, lobby, 1, SAID, 1, "alice", time, "hi", label=label)

    def test_ten_minutes(self) -> None:
        """A label is remembered for ten minutes after the post."""
        self.labels.begin(1, LABEL)
        told = done(self.message(LABEL, NOW), LABEL, NOW)
        self.assertEqual(self.labels.end(1, LABEL, told), [])
        self.time += WINDOW
        found = self.labels.find(1, LABEL)
        assert found is not None
        self.assertEqual(found.done, told)
        self.time += 1
        self.assertIsNone(self.labels.find(1, LABEL))

    def test_in_flight_for_longer(self) -> None:
        """The label of a post that is in flight for longer is not forgotten."""
        self.labels.begin(1, LABEL)
        self.time += 2 * WINDOW
        found = self.labels.find(1, LABEL)
        assert found is not None
        self.assertIsNone(found.done)

    def test_newest_of_many(self) -> None:
        """Of the labels of an author that posts very much, the newest are remembered; the labels of
        others are not forgotten for it."""
        self.labels.begin("bob", LABEL)
        self.labels.end("bob", LABEL, done(self.message(LABEL, NOW), LABEL, NOW))
        for number in range(MOST + 1):
            label = f"{number:016}"
            self.labels.begin(1, label)
            self.labels.end(1, label, done(self.message(label, NOW), label, NOW))
        self.assertIsNone(self.labels.find(1, f"{0:016}"))
        self.assertIsNotNone(self.labels.find(1, f"{2:016}"))
        self.assertIsNotNone(self.labels.find(1, f"{MOST:016}"))
        self.assertIsNotNone(self.labels.find("bob", LABEL))

    def test_authors_who_have_gone(self) -> None:
        """Authors who have posted nothing for ten minutes take no memory."""
        for number in range(100):
            self.labels.begin(f"guest{number}", LABEL)
            self.labels.end(f"guest{number}", LABEL, done(self.message(LABEL, NOW), LABEL, NOW))
        self.time += WINDOW + 1
        for number in range(100):
            self.labels.begin(1, f"{number:016}")
        self.assertEqual(list(self.labels._known), [1])

    def test_from_the_log(self) -> None:
        """A label from the log is as old as its entry, and its author's; short ones are
        ignored."""
        self.labels.keep(self.message(LABEL, NOW - WINDOW))
        room = conversation(Account(1, "alice"), Account(2, "bob"))
        self.labels.keep(Entry(2, room, 7, SAID, 1, "alice", NOW, "psst", label=OTHER))
        self.labels.keep(self.message("7", NOW))
        self.assertIsNone(self.labels.find(1, "7"))
        self.assertIsNone(self.labels.find(2, OTHER))
        for label in LABEL, OTHER:
            self.assertIsNotNone(self.labels.find(1, label))
        self.time += 1
        self.assertIsNone(self.labels.find(1, LABEL))
        found = self.labels.find(1, OTHER)
        assert found is not None
        assert found.done is not None
        self.assertEqual((found.done.to, found.done.seq, found.done.id), ("bob", 7, 2))

    def test_nothing_is_left(self) -> None:
        """A forgotten label takes no memory, and neither does a short one."""
        for number in range(100):
            self.labels.begin(1, f"{LABEL}{number}")
            self.labels.end(1, f"{LABEL}{number}", done(self.message("", NOW), "", NOW))
            self.labels.begin(1, str(number))
        self.assertEqual(len(self.labels._known[1]), 100)
        self.time += WINDOW + 1
        self.labels.find("bob", LABEL)
        self.assertEqual(len(self.labels._known), 0)

    def test_unknown_label_ends(self) -> None:
        """When a post with a short label ends, no session waits for it."""
        waiting: list[Session] = self.labels.end(1, "7", None)
        self.assertEqual(waiting, [])
