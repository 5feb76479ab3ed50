"""What counts as read: what a session was shown and has answered, and nothing else."""

from collections.abc import Sequence

from tests.support import NOW
from twisted_chat.core.events import History, Omitted, Unread
from twisted_chat.core.limits import Limits

from .test_chat import ChatTestCase, Someone


class UnreadTestCase(ChatTestCase):
    """Alice writes to Bob."""

    def setUp(self) -> None:
        super().setUp()
        self.alice = self.account("alice")
        self.registered("bob")

    def tell(self, *texts: str) -> None:
        """Alice sends Bob a private message."""
        for text in texts:
            self.run_now(self.chat.direct(self.alice, "bob", text))

    def bob(self) -> Someone:
        """Bob logs in."""
        session = Someone()
        self.log_in(session, "bob")
        return session

    def login(self) -> Sequence[str]:
        """What a login shows Bob as unread. The session ends at once, and sends nothing."""
        session = self.bob()
        self.chat.end_session(session)
        return session.outbox.replayed()


class ReadTests(UnreadTestCase):
    """Messages that count as read, with one session or several, and with room for everything."""

    def test_shown_is_not_read(self) -> None:
        """A message that was shown to a session which then sent nothing is unread, live or
        replayed."""
        self.tell("1")
        self.assertEqual([self.login(), self.login()], [["1"], ["1"]])
        bob = self.bob()
        self.tell("2")
        self.chat.end_session(bob)
        self.assertEqual(self.login(), ["1", "2"])

    def test_what_was_shown_before_the_session_sends_something_is_read(self) -> None:
        """Messages that were shown before the session sent something are read; later ones are
        not."""
        self.tell("1")
        bob = self.bob()
        self.tell("2")
        self.chat.seen(bob)
        self.tell("3")
        self.chat.end_session(bob)
        self.assertEqual(self.login(), ["3"])

    def test_nothing_is_read_while_something_waits_to_be_taken(self) -> None:
        """If a session sends something while events wait in its outbox, nothing counts as read."""
        self.tell("1")
        bob = self.bob()
        bob.outbox.is_taken = False
        self.chat.seen(bob)
        self.assertEqual(self.login(), ["1"])
        bob.outbox.is_taken = True
        self.chat.seen(bob)
        self.assertEqual(self.login(), [])

    def test_nothing_behind_a_hole_is_read(self) -> None:
        """Once an outbox has skipped a private message, only the messages before it can be read."""
        bob = self.bob()
        self.tell("1")
        bob.outbox.is_full = True
        self.tell("2")
        bob.outbox.is_full = False
        self.tell("3")
        self.chat.seen(bob)
        self.chat.end_session(bob)
        self.assertEqual(self.login(), ["2", "3"])

    def test_login_with_a_full_outbox(self) -> None:
        """If the outbox is full at login, nothing that was to be shown counts as read."""
        self.tell("1")
        gus = self.guest("gus")
        gus.outbox.is_full = True
        self.log_in(gus, "bob")
        gus.outbox.is_full = False
        self.tell("2")
        self.chat.seen(gus)
        self.chat.end_session(gus)
        self.assertEqual(self.login(), ["1", "2"])

    def test_one_session_reads_for_all(self) -> None:
        """What one session has read is read for the account, whatever its other sessions took."""
        dead, live = self.bob(), self.bob()
        self.tell("1")
        self.chat.seen(live)
        self.assertEqual(self.login(), [])
        self.chat.seen(dead)
        self.tell("2")
        self.chat.end_session(live)
        self.chat.end_session(dead)
        self.assertEqual(self.login(), ["2"])

    def test_dead_session_reads_nothing(self) -> None:
        """A message that was shown only to a session that never answered is unread."""
        dead, live = self.bob(), self.bob()
        live.outbox.is_full = True
        self.tell("1")
        live.outbox.is_full = False
        self.chat.seen(live)
        for session in dead, live:
            self.chat.end_session(session)
        self.assertEqual(self.login(), ["1"])

    def test_second_session_is_shown_what_the_first_has_not_answered(self) -> None:
        """A second session is shown what the first has not answered, and not told that it came
        while they were away."""
        self.bob()
        self.tell("1", "2")
        desk = self.bob()
        self.assertEqual(desk.outbox.replayed(), ["1", "2"])
        self.assertEqual(desk.outbox.of(Unread), [Unread(NOW, 2, more=False, alone=False)])

    def test_reading_moves_nothing_back(self) -> None:
        """A session that answers late does not make read messages unread."""
        self.tell("1")
        old = self.bob()
        new = self.bob()
        self.tell("2")
        old.outbox.is_taken = False
        self.chat.seen(new)
        self.chat.end_session(new)
        self.assertEqual(self.login(), [])
        old.outbox.is_taken = True
        self.chat.seen(old)
        self.assertEqual(self.login(), [])

    def test_message_to_oneself(self) -> None:
        """A message to oneself is read like any other, live and replayed."""
        bob = self.bob()
        for text, reader in (("note", bob), ("another", None)):
            self.run_now(self.chat.direct(bob, "bob", text))
            self.assertEqual(self.login(), [text])
            self.chat.seen(reader or self.bob())
            self.assertEqual(self.login(), [])

    def test_session_that_is_nobody_reads_nothing(self) -> None:
        """A session that is nobody reads nothing."""
        gus = self.guest("gus")
        self.say(self.alice, "hi")
        before = dict(self.store.marks)
        self.chat.seen(Someone())
        self.chat.seen(gus)
        self.assertEqual(self.store.marks, before)


class ResumedTests(UnreadTestCase):
    """C{/since @alice=SEQ} tells what a program has seen."""

    limits = Limits(max_history=3)

    def resume(self, after: int) -> Someone:
        """Bob logs in, and has seen the messages up to this C{seq}."""
        session = Someone()
        self.run_now(self.chat.since(session, {"@alice": after}))
        self.log_in(session, "bob")
        return session

    def test_what_it_says_to_have_seen_is_read(self) -> None:
        """Messages up to the resume point, and those that are shown then, are read when the session
        sends something."""
        self.tell("1", "2")
        last = self.private()[-1].seq
        for after, left in ((last - 1, ["1", "2"]), (last, []), (10**18, [])):
            bob = self.resume(after)
            self.assertEqual(bob.outbox.of(History)[-1].of, "@alice")
            self.assertEqual(self.login(), left)
            self.chat.seen(bob)
            self.chat.end_session(bob)
            self.assertEqual(self.login(), [])

    def test_nobody_has_seen_what_is_not_there_yet(self) -> None:
        """A resume point beyond the newest message does not mark later ones as read."""
        bob = self.resume(10**18)
        self.chat.seen(bob)
        self.chat.end_session(bob)
        self.tell("1")
        self.assertEqual(self.login(), ["1"])

    def test_gap_that_was_filled_is_none(self) -> None:
        """After C{skipped}, a resume that shows what was missed closes the gap."""
        bob = self.bob()
        self.tell("1")
        seen = self.private()[-1].seq
        bob.outbox.is_full = True
        self.tell("2")
        bob.outbox.is_full = False
        self.run_now(self.chat.since(bob, {"@alice": seen}))
        self.tell("3")
        self.chat.seen(bob)
        self.assertEqual(self.login(), [])

    def test_gap_in_another_conversation(self) -> None:
        """A resume after a private message was skipped shows what is unread in the other
        conversations again, and so closes the gap."""
        bob = self.bob()
        bob.outbox.is_full = True
        self.tell("1")
        bob.outbox.is_full = False
        self.tell("2")
        bob.outbox.take()
        shown = self.run_now(self.chat.since(bob, {"lobby": 0}))
        self.assertEqual((shown, bob.outbox.replayed()), (2, ["1", "2"]))
        self.tell("3")
        self.chat.seen(bob)
        self.assertEqual(self.login(), [])
        bob.outbox.take()
        self.run_now(self.chat.since(bob, {"lobby": 0}))
        self.assertEqual(bob.outbox.of(Unread), [])

    def test_gap_in_one_of_two_conversations(self) -> None:
        """A message that was skipped is unread; what was shown of another conversation is read."""
        carol = self.account("carol")
        bob = self.bob()
        bob.outbox.is_full = True
        self.tell("1")
        bob.outbox.is_full = False
        self.run_now(self.chat.direct(carol, "bob", "2"))
        self.tell("3")
        self.chat.seen(bob)
        self.assertEqual(self.login(), ["1", "3"])

    def test_what_was_too_much_for_one_answer_stays_unread(self) -> None:
        """If a resume cannot show everything, it shows the newest and says so, and the rest stays
        unread."""
        bob = self.bob()
        self.tell("1")
        seen = self.private()[-1].seq
        self.chat.end_session(bob)
        self.tell(*"2345")
        bob = self.resume(seen)
        self.assertEqual(bob.outbox.replayed(), ["3", "4", "5"])
        self.assertEqual(bob.outbox.of(History)[-1].after, 2)
        self.tell("6")
        self.chat.seen(bob)
        self.chat.end_session(bob)
        self.assertEqual(self.login(), ["2", "3", "4"])


class CutTests(UnreadTestCase):
    """More unread messages than one login can show."""

    def check(self, first: Sequence[str], count: int, *, more: bool) -> None:
        """Bob is shown the first of six messages, and all of them in the end, whatever happens in
        between."""
        self.tell(*"123456")
        bob = self.bob()
        self.assertEqual(bob.outbox.replayed(), first)
        self.assertEqual(bob.outbox.of(Unread), [Unread(NOW, count, more, alone=True)])
        self.assertEqual(bob.outbox.of(Omitted), [Omitted(NOW)])
        self.tell("7")
        self.chat.seen(bob)
        self.chat.end_session(bob)
        seen = [*first]
        for _ in range(6):
            bob = self.bob()
            seen += bob.outbox.replayed()
            self.chat.seen(bob)
            self.chat.end_session(bob)
        self.assertEqual(seen, list("1234567"))


class CutByNumberTests(CutTests):
    limits = Limits(max_history=3)

    def test_all_are_shown_in_the_end(self) -> None:
        """More messages than the limit are shown over several logins, and each says that there are
        more."""
        self.check(["1", "2", "3"], 3, more=True)

    def test_as_many_as_there_may_be(self) -> None:
        """Exactly as many as the limit are shown at once."""
        self.tell(*"123")
        bob = self.bob()
        self.assertEqual(bob.outbox.of(Unread), [Unread(NOW, 3, more=False, alone=True)])
        self.assertEqual(bob.outbox.of(Omitted), [])

    def test_login_that_resumes_in_the_lobby(self) -> None:
        """A login that resumes in the lobby cuts the unread messages in the same way."""
        self.tell(*"1234")
        for text in "abcd":
            self.say(self.alice, text)
        bob = Someone()
        self.run_now(self.chat.since(bob, {"lobby": 0}))
        self.log_in(bob, "bob")
        self.assertEqual(bob.outbox.replayed(), [*"bcd", *"123"])
        self.assertEqual(bob.outbox.of(Unread), [Unread(NOW, 3, more=True, alone=True)])


class CutBySizeTests(CutTests):
    limits = Limits(outbox=1000)

    def test_all_are_shown_in_the_end(self) -> None:
        """Each login shows as many as fit an empty outbox."""
        self.check(["1", "2"], 6, more=False)
