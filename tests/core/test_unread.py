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
        """Alice says this to Bob."""
        for text in texts:
            self.run_now(self.chat.direct(self.alice, "bob", text))

    def bob(self) -> Someone:
        """Bob logs in."""
        session = Someone()
        self.log_in(session, "bob")
        return session

    def login(self) -> Sequence[str]:
        """What Bob is shown at a login as unread. He is gone at once, and types nothing."""
        session = self.bob()
        self.chat.end_session(session)
        return session.outbox.replayed()


class ReadTests(UnreadTestCase):
    """One session or several, with room for everything."""

    def test_shown_is_not_read(self) -> None:
        """A session that ends before it sent anything may never have got it, live or replayed."""
        self.tell("1")
        self.assertEqual([self.login(), self.login()], [["1"], ["1"]])
        bob = self.bob()
        self.tell("2")
        self.chat.end_session(bob)
        self.assertEqual(self.login(), ["1", "2"])

    def test_what_was_shown_before_the_session_sends_something_is_read(self) -> None:
        """At login and live; what comes afterwards is not."""
        self.tell("1")
        bob = self.bob()
        self.tell("2")
        self.chat.seen(bob)
        self.tell("3")
        self.chat.end_session(bob)
        self.assertEqual(self.login(), ["3"])

    def test_nothing_is_read_while_something_waits_to_be_taken(self) -> None:
        """It has sent something, but cannot have seen what is still on its way to it."""
        self.tell("1")
        bob = self.bob()
        bob.outbox.is_taken = False
        self.chat.seen(bob)
        self.assertEqual(self.login(), ["1"])
        bob.outbox.is_taken = True
        self.chat.seen(bob)
        self.assertEqual(self.login(), [])

    def test_nothing_behind_a_hole_is_read(self) -> None:
        """Once an outbox has skipped a private message, what is before it counts, and no more."""
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
        """A guest who becomes the account while nothing more fits was shown nothing."""
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
        """The dead one beside it does not hold it up; nor does its end bring anything back."""
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
        """What it was shown beside a session that skipped it is unread."""
        dead, live = self.bob(), self.bob()
        live.outbox.is_full = True
        self.tell("1")
        live.outbox.is_full = False
        self.chat.seen(live)
        for session in dead, live:
            self.chat.end_session(session)
        self.assertEqual(self.login(), ["1"])

    def test_second_session_is_shown_what_the_first_has_not_answered(self) -> None:
        """It is not said to have come while they were away, as they were here."""
        self.bob()
        self.tell("1", "2")
        desk = self.bob()
        self.assertEqual(desk.outbox.replayed(), ["1", "2"])
        self.assertEqual(desk.outbox.of(Unread), [Unread(NOW, 2, more=False, alone=False)])

    def test_reading_moves_nothing_back(self) -> None:
        """An old session that wakes up late does not make read messages unread."""
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
        """It is read like any other, live and replayed."""
        bob = self.bob()
        for text, reader in (("note", bob), ("another", None)):
            self.run_now(self.chat.direct(bob, "bob", text))
            self.assertEqual(self.login(), [text])
            self.chat.seen(reader or self.bob())
            self.assertEqual(self.login(), [])

    def test_session_that_is_nobody_reads_nothing(self) -> None:
        """It has been shown nothing."""
        self.chat.seen(Someone())
        self.chat.seen(self.guest("gus"))
        self.assertEqual(dict(self.store.read), {})


class ResumedTests(UnreadTestCase):
    """C{/since @=ID} says what a program has seen."""

    limits = Limits(max_history=3)

    def resume(self, after: int) -> Someone:
        """Bob comes back and has seen this."""
        session = Someone()
        self.run_now(self.chat.since(session, {"@": after}))
        self.log_in(session, "bob")
        return session

    def test_what_it_says_to_have_seen_is_read(self) -> None:
        """With what it is shown, as soon as it sends something."""
        self.tell("1", "2")
        last = self.store.direct[-1][1].id
        assert last is not None
        for after, left in ((last - 1, ["1", "2"]), (last, []), (10**18, [])):
            bob = self.resume(after)
            self.assertEqual(bob.outbox.of(History)[-1].of, "@")
            self.assertEqual(self.login(), left)
            self.chat.seen(bob)
            self.chat.end_session(bob)
            self.assertEqual(self.login(), [])

    def test_nobody_has_seen_what_is_not_there_yet(self) -> None:
        """However large the number is that they give."""
        bob = self.resume(10**18)
        self.chat.seen(bob)
        self.chat.end_session(bob)
        self.tell("1")
        self.assertEqual(self.login(), ["1"])

    def test_gap_that_was_filled_is_none(self) -> None:
        """After C{skipped} a program asks for what it missed, and is shown it."""
        bob = self.bob()
        self.tell("1")
        seen = self.store.direct[-1][1].id
        assert seen is not None
        bob.outbox.is_full = True
        self.tell("2")
        bob.outbox.is_full = False
        self.run_now(self.chat.since(bob, {"@": seen}))
        self.tell("3")
        self.chat.seen(bob)
        self.assertEqual(self.login(), [])

    def test_what_was_too_much_for_one_answer_stays_unread(self) -> None:
        """It is shown the newest, is told so, and reads what it says to have seen."""
        bob = self.bob()
        self.tell("1")
        seen = self.store.direct[-1][1].id
        assert seen is not None
        self.chat.end_session(bob)
        self.tell(*"2345")
        bob = self.resume(seen)
        self.assertEqual(bob.outbox.replayed(), ["3", "4", "5"])
        self.assertEqual(bob.outbox.of(Omitted), [Omitted(NOW, "@", later=False)])
        self.tell("6")
        self.chat.seen(bob)
        self.chat.end_session(bob)
        self.assertEqual(self.login(), ["2", "3", "4"])


class CutTests(UnreadTestCase):
    """More than one login can show."""

    def check(self, first: Sequence[str], count: int, *, more: bool) -> None:
        """Bob is shown the first of six messages, and all of them in the end, whatever happens in
        between."""
        self.tell(*"123456")
        bob = self.bob()
        self.assertEqual(bob.outbox.replayed(), first)
        self.assertEqual(bob.outbox.of(Unread), [Unread(NOW, count, more, alone=True)])
        self.assertEqual(bob.outbox.of(Omitted), [Omitted(NOW, "@", later=True)])
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
        """It is said that there are more than may be shown at once."""
        self.check(["1", "2", "3"], 3, more=True)

    def test_as_many_as_there_may_be(self) -> None:
        """Then there is no rest."""
        self.tell(*"123")
        bob = self.bob()
        self.assertEqual(bob.outbox.of(Unread), [Unread(NOW, 3, more=False, alone=True)])
        self.assertEqual(bob.outbox.of(Omitted), [])

    def test_login_that_resumes_in_the_lobby(self) -> None:
        """The unread ones are cut in the same way, and the lobby as before."""
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
        """As many as an empty outbox has room for at a time."""
        self.check(["1", "2"], 6, more=False)
