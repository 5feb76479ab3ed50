"""Going on where another session left off."""

from collections.abc import Sequence
from unittest import mock

from twisted.internet.defer import Deferred

from twisted_chat.core.addresses import SHARED
from twisted_chat.core.errors import Refusal
from twisted_chat.core.events import Event, History, Said, Told

from .test_chat import PASSWORD, ChatTestCase, Someone


def _shown(events: Sequence[Event]) -> list[str]:
    """What was said, in the order in which it was shown, replayed or live."""
    shown: list[str] = []
    for event in events:
        if isinstance(event, History):
            shown += [each.message.text for each in event.messages]
        elif isinstance(event, Said | Told):
            shown.append(event.message.text)
    return shown


class SinceTests(ChatTestCase):
    """C{/since}, before and after login. A replay shows 5 messages, and a history 10."""

    def setUp(self) -> None:
        super().setUp()
        self.registered("alice")
        self.bob = self.account("bob", echo=True)

    def tell(self, *texts: str) -> None:
        """Bob says something."""
        for text in texts:
            self.say(self.bob, text)

    def ask(self, session: Someone, **places: int) -> None:
        """Resume after this place."""
        self.run_now(
            self.chat.since(
                session, {"@" if p == "direct" else p: last for p, last in places.items()}
            )
        )

    def test_login_shows_what_came_after(self) -> None:
        """A login that resumes shows the lobby's messages after the resume point, more than a
        replay has."""
        self.tell(*"abcdefgh")
        alice = Someone()
        self.ask(alice, lobby=1)
        self.assertEqual(alice.outbox.events, [])
        self.log_in(alice, "alice")
        self.assertEqual(alice.outbox.replayed(), list("bcdefgh"))

    def test_nothing_came_after(self) -> None:
        """If nothing was missed, an empty replay is sent."""
        self.tell("a")
        alice = Someone()
        self.ask(alice, lobby=1, direct=0)
        self.log_in(alice, "alice")
        ends = [(history.of, len(history.messages)) for history in alice.outbox.of(History)]
        self.assertEqual(ends, [("lobby", 0), ("@", 0)])

    def test_guest(self) -> None:
        """A guest is shown the lobby in the same way."""
        self.tell(*"abcdefgh")
        guest = Someone()
        self.ask(guest, lobby=2)
        hold = self.run_now(self.accounts.hold("gus"))
        self.run_now(self.chat.come_as_guest(guest, hold))
        self.assertEqual(guest.outbox.replayed(), list("cdefgh"))

    def test_no_more_than_a_history(self) -> None:
        """A resume shows the newest messages, at most as many as a history; the gap shows in their
        C{seq}."""
        self.tell(*"abcdefghijklmno")
        alice = Someone()
        self.ask(alice, lobby=1)
        self.log_in(alice, "alice")
        self.assertEqual(alice.outbox.replayed(), list("fghijklmno"))

    def test_joining_a_room(self) -> None:
        """The resume point of a room is used when the session joins it, once."""
        self.join("tea", self.bob)
        self.tell(*"abcdefgh")
        alice = Someone()
        self.ask(alice, tea=2)
        self.log_in(alice, "alice")
        self.assertEqual(alice.outbox.replayed(), [])
        self.run_now(self.chat.join(alice, "tea"))
        self.assertEqual(alice.outbox.replayed(), list("cdefgh"))
        self.leave(alice, "tea")
        alice.outbox.take()
        self.run_now(self.chat.join(alice, "tea"))
        self.assertEqual(alice.outbox.replayed(), list("defgh"))

    def test_private_messages_both_ways(self) -> None:
        """A resume after an id shows private messages that were sent and received, in one order,
        read or not."""
        alice = self.account("alice")
        for text in "abc":
            self.run_now(self.chat.direct(self.bob, "alice", text))
            self.run_now(self.chat.direct(alice, "bob", text.upper()))
        self.chat.end_session(alice)
        first = self.store.direct[0][1].id
        assert first is not None
        again = Someone()
        self.ask(again, direct=first)
        self.log_in(again, "alice")
        (history,) = [each for each in again.outbox.of(History) if each.of == "@"]
        self.assertEqual([told.message.text for told in history.messages], list("AbBcC"))
        outgoing = [isinstance(told, Told) and told.outgoing for told in history.messages]
        self.assertEqual(outgoing, [True, False, True, False, True])

    def test_shown_is_read(self) -> None:
        """Messages that a resume showed, and that were answered, are not unread."""
        self.run_now(self.chat.direct(self.bob, "alice", "psst"))
        alice = Someone()
        self.ask(alice, direct=0)
        self.log_in(alice, "alice")
        self.assertEqual(alice.outbox.replayed(), ["psst"])
        self.chat.seen(alice)
        self.chat.end_session(alice)
        again = Someone()
        self.log_in(again, "alice")
        self.assertEqual(again.outbox.replayed(), [])

    def test_without_private_messages_the_unread_ones(self) -> None:
        """A resume of the lobby only still shows the unread private messages."""
        self.run_now(self.chat.direct(self.bob, "alice", "psst"))
        alice = Someone()
        self.ask(alice, lobby=0)
        self.log_in(alice, "alice")
        self.assertEqual(alice.outbox.replayed(), ["psst"])

    def test_answer_in_a_room(self) -> None:
        """In a room that the session is in, the answer comes at once, like a history."""
        alice = self.account("alice", echo=True)
        self.tell(*"abcdefgh")
        self.run_now(self.chat.direct(self.bob, "alice", "psst"))
        alice.outbox.take()
        self.ask(alice, lobby=3, direct=0)
        self.assertEqual(alice.outbox.replayed(), [*"defgh", "psst"])

    def test_guests_have_no_private_messages(self) -> None:
        """A guest who resumes private messages is refused."""
        guest = self.guest("gus")
        self.assertEqual(self.refusal(self.chat.since(guest, {"@": 1})).code, "forbidden")

    def test_bounded(self) -> None:
        """The number of resume points that a session may leave is limited."""
        session = Someone()
        self.ask(session, a=1, b=2, c=3)
        places = {f"r{n}": n for n in range(10)}
        self.assertEqual(self.refusal(self.chat.since(session, places)).code, "full")
        self.ask(session, a=2)

    def test_store_that_fails_meanwhile(self) -> None:
        """A login or a joining that was refused does not use up the resume point."""
        self.tell(*"abcdefg")
        self.join("tea", self.bob)
        self.tell(*"tuvwxyz")
        alice = Someone()
        self.ask(alice, lobby=1, tea=1)
        trouble = Refusal("internal", "the database cannot be read")
        account = self.run_now(self.accounts.authenticate("alice", PASSWORD, SHARED))
        with mock.patch.object(self.store, "catch_up", side_effect=trouble):
            self.assertEqual(self.refusal(self.chat.log_in(alice, account)).code, "internal")
        self.run_now(self.chat.log_in(alice, account))
        self.assertEqual(alice.outbox.replayed(), list("bcdefg"))
        alice.outbox.take()
        with mock.patch.object(self.store, "catch_up", side_effect=trouble):
            self.assertEqual(self.refusal(self.chat.join(alice, "tea")).code, "internal")
        self.run_now(self.chat.join(alice, "tea"))
        self.assertEqual(alice.outbox.replayed(), list("uvwxyz"))
        self.assertEqual(alice.resume, {})

    def test_meets_live_at_login(self) -> None:
        """Messages that are said during a login that resumes are shown once, in order."""
        for steps in range(4):
            self.setUp()
            self.tell(*"ab")
            account = self.run_now(self.accounts.authenticate("alice", PASSWORD, SHARED))
            self.store.hold()
            self.tell("c")
            alice = Someone()
            self.ask(alice, lobby=1)
            login = Deferred.fromCoroutine(self.chat.log_in(alice, account))
            self.tell("e")
            for _ in range(steps):
                if self.store.waiting:
                    self.store.step()
            self.tell("f")
            self.store.release()
            self.successResultOf(login)
            self.assertEqual(_shown(alice.outbox.events), list("bcef"), steps)

    def test_meets_live_in_a_room(self) -> None:
        """Messages that are said while a session joins a room and resumes there are shown once, in
        order."""
        for steps in range(4):
            self.setUp()
            alice = self.account("alice")
            self.join("tea", self.bob)
            self.tell(*"ab")
            self.ask(alice, tea=1)
            self.store.hold()
            self.tell("c")
            joining = Deferred.fromCoroutine(self.chat.join(alice, "tea"))
            self.tell("d")
            for _ in range(steps):
                if self.store.waiting:
                    self.store.step()
            self.tell("e")
            self.store.release()
            self.successResultOf(joining)
            self.assertEqual(_shown(alice.outbox.events), list("bcde"), steps)
