"""Going on where another session left off."""

from collections.abc import Sequence
from unittest import mock

from twisted.internet.defer import Deferred

from tests.support import NOW
from twisted_chat.core.addresses import SHARED
from twisted_chat.core.errors import Refusal
from twisted_chat.core.events import Event, History, Joined, Members, Said, Told, Topic
from twisted_chat.core.limits import Limits
from twisted_chat.core.model import SAID, Findings, Post, Question, Standing, conversation

from .test_chat import ELSEWHERE, PASSWORD, ChatTestCase, Someone


def _shown(events: Sequence[Event]) -> list[str]:
    """What was said, in the order in which it was shown, replayed or live."""
    shown: list[str] = []
    for event in events:
        if isinstance(event, History):
            shown += [each.message.text for each in event.shown if isinstance(each, Said | Told)]
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

    def ask(self, session: Someone, **places: int) -> int:
        """Resume after these places; C{private} stands for the conversation with Bob."""
        named = {"@bob" if p == "private" else p: last for p, last in places.items()}
        return self.run_now(self.chat.since(session, named))

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
        self.ask(alice, lobby=1, private=0)
        self.log_in(alice, "alice")
        ends = [(history.of, len(history.shown)) for history in alice.outbox.of(History)]
        self.assertEqual(ends, [("lobby", 0), ("@bob", 0)])

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
        self.ask(alice, tea=3)  # the room came before what was said
        self.log_in(alice, "alice")
        self.assertEqual(alice.outbox.replayed(), [])
        self.run_now(self.chat.join(alice, "tea"))
        self.assertEqual(alice.outbox.replayed(), list("cdefgh"))
        self.leave(alice, "tea")
        alice.outbox.take()
        self.run_now(self.chat.join(alice, "tea"))
        self.assertEqual(alice.outbox.replayed(), list("defgh"))

    def test_private_messages_both_ways(self) -> None:
        """A resume of a conversation shows private messages that were sent and received, in one
        order, read or not."""
        alice = self.account("alice")
        for text in "abc":
            self.run_now(self.chat.direct(self.bob, "alice", text))
            self.run_now(self.chat.direct(alice, "bob", text.upper()))
        self.chat.end_session(alice)
        first = self.private()[0].seq
        again = Someone()
        self.ask(again, private=first)
        self.log_in(again, "alice")
        (history,) = [each for each in again.outbox.of(History) if each.of == "@bob"]
        self.assertEqual(_shown([history]), list("AbBcC"))
        outgoing = [isinstance(told, Told) and told.outgoing for told in history.shown]
        self.assertEqual(outgoing, [True, False, True, False, True])

    def test_shown_is_read(self) -> None:
        """Messages that a resume showed, and that were answered, are not unread."""
        self.run_now(self.chat.direct(self.bob, "alice", "psst"))
        alice = Someone()
        self.ask(alice, private=0)
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
        self.ask(alice, lobby=3, private=0)
        self.assertEqual(alice.outbox.replayed(), [*"defgh", "psst"])

    def test_guests_have_no_private_messages(self) -> None:
        """A guest who resumes private messages is refused."""
        guest = self.guest("gus")
        self.assertEqual(self.refusal(self.chat.since(guest, {"@bob": 1})).code, "forbidden")

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
        self.ask(alice, lobby=1, tea=2)
        trouble = Refusal("unavailable", "the database cannot be read")
        account = self.run_now(self.accounts.authenticate("alice", PASSWORD, SHARED)).account
        with mock.patch.object(self.store, "ask", side_effect=trouble):
            self.assertEqual(self.refusal(self.chat.log_in(alice, account)).code, "unavailable")
        self.run_now(self.chat.log_in(alice, account))
        self.assertEqual(alice.outbox.replayed(), list("bcdefg"))
        alice.outbox.take()
        with mock.patch.object(self.store, "ask", side_effect=trouble):
            self.assertEqual(self.refusal(self.chat.join(alice, "tea")).code, "unavailable")
        self.run_now(self.chat.join(alice, "tea"))
        self.assertEqual(alice.outbox.replayed(), list("uvwxyz"))
        self.assertEqual(alice.resume, {})

    def test_store_that_fails_after_the_login(self) -> None:
        """If a room cannot be looked up after a login that resumes, the session is in nevertheless,
        hears the room, and can ask again."""
        self.join("tea", self.bob)
        alice = self.account("alice")
        self.join("tea", alice)
        last = self.log("tea")[-1].seq
        self.end(alice)
        self.tell("a")
        ask, asked = self.store.ask, []

        def failing(question: Question) -> Deferred[Findings]:
            asked.append(question)
            if len(asked) == 2:
                raise Refusal("unavailable", "the database cannot be read")
            return ask(question)

        alice = Someone()
        self.run_now(self.chat.since(alice, {"tea": last}))
        with mock.patch.object(self.store, "ask", failing):
            self.log_in(alice, "alice")
        self.assertEqual(alice.outbox.replayed(), [])
        self.tell("b")
        self.assertEqual(alice.outbox.heard(), ["b"])
        self.run_now(self.chat.since(alice, {"tea": last}))
        self.assertEqual(alice.outbox.replayed(), ["a", "b"])

    def test_meets_live_at_login(self) -> None:
        """Messages that are said during a login that resumes are shown once, in order."""
        for steps in range(4):
            self.setUp()
            self.tell(*"ab")
            account = self.run_now(self.accounts.authenticate("alice", PASSWORD, SHARED)).account
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
            self.ask(alice, tea=2)
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


class EntriesTests(ChatTestCase):
    """What a resume shows besides messages, and how far it goes."""

    limits = Limits(replay=5, max_joined=3, max_rooms=6, max_history=10)

    def setUp(self) -> None:
        super().setUp()
        self.alice, self.bob = self.account("alice"), self.account("bob")
        self.join("tea", self.bob)
        self.join("tea", self.alice)
        self.end(self.alice)

    def resumed(self, after: int, place: str = "tea") -> History:
        """What Alice is shown of a place at login."""
        alice = Someone()
        self.run_now(self.chat.since(alice, {place: after}))
        self.log_in(alice, "alice")
        (history,) = [event for event in alice.outbox.of(History) if event.of == place]
        self.end(alice)
        return history

    def seqs(self, history: History) -> list[int]:
        """The C{seq} of each entry that a history shows."""
        seqs: list[int] = []
        for event in history.shown:
            if isinstance(event, Members):
                count = len(event.standings)
                seqs += range(event.seq - count + 1, event.seq + 1)
            elif isinstance(event, Topic):
                assert event.entry is not None
                seqs.append(event.entry.seq)
            else:
                assert isinstance(event, Said | Told)
                assert event.message is not None
                seqs.append(event.message.seq)  # type: ignore[union-attr]
        return seqs

    def test_all_kinds(self) -> None:
        """A resume shows topics and members among the messages, in their order, each as a
        replay, with the time at which it happened."""
        self.say(self.bob, "1")
        self.run_now(self.chat.set_topic(self.bob, "tea", "Assam"))
        self.say(self.bob, "2", action=True)
        carol, dave = self.account("carol"), self.account("dave")
        self.join("tea", carol, dave)
        self.leave(carol, "tea")
        self.say(self.bob, "3")
        one, topic, two, *members, three = self.resumed(2).shown
        assert isinstance(one, Said)
        assert isinstance(topic, Topic)
        assert isinstance(two, Said)
        assert isinstance(three, Said)
        entry = next(entry for entry in self.log("tea") if entry.text == "Assam")
        self.assertEqual(topic, Topic(topic.time, "tea", "Assam", "bob", entry, replay=True))
        carol_, dave_ = self.the_account("carol"), self.the_account("dave")
        standings = Standing(carol_, "member"), Standing(dave_, "member"), Standing(carol_, None)
        self.assertEqual(
            members,
            [
                Members(entry.time, "tea", entry.seq, (standing,), replay=True)
                for entry, standing in zip(self.log("tea")[-4:-1], standings, strict=True)
            ],
        )
        self.assertEqual([each.message.text for each in (one, two, three)], ["1", "2", "3"])
        self.assertTrue(one.replay and two.replay and three.replay)

    def test_room_from_its_beginning(self) -> None:
        """A resume from the beginning of a room shows who made it, as its owner."""
        standings = [
            Standing(self.the_account("bob"), "owner"),
            Standing(self.the_account("alice"), "member"),
        ]
        self.assertEqual(
            list(self.resumed(0).shown),
            [
                Members(entry.time, "tea", entry.seq, (standing,), replay=True)
                for entry, standing in zip(self.log("tea"), standings, strict=True)
            ],
        )

    def test_nothing_is_missing(self) -> None:
        """A resume shows every entry from the point on up to the newest, and says both ends."""
        for text in "abc":
            self.say(self.bob, text)
            self.run_now(self.chat.set_topic(self.bob, "tea", text))
        last = self.log("tea")[-1].seq
        for after in (2, 5, last - 1, last):
            history = self.resumed(after)
            self.assertEqual((history.after, history.seq), (after, last))
            self.assertEqual(self.seqs(history), list(range(after + 1, last + 1)))

    def test_places_are_asked_for_one_by_one(self) -> None:
        """A resume of many places after login asks the log for one after the other, so that the
        posts of others need not wait for all of them."""
        self.say(self.bob, "1")
        self.run_now(self.chat.direct(self.bob, "alice", "2"))
        alice = self.back("alice")
        alice.outbox.take()
        self.store.hold()
        resuming = self.begin(self.chat.since(alice, {"@bob": 0, "tea": 2, "lobby": 0}))
        asked = []
        while self.store.waiting:
            self.store.answer()
            asked.append([event.of for event in alice.outbox.of(History)])
        self.assertEqual(asked, [["lobby"], ["lobby", "tea"], ["lobby", "tea", "@bob"]])
        self.assertEqual(self.successResultOf(resuming), 2)
        self.store.release()

    def test_point_beyond_the_end(self) -> None:
        """A resume point beyond the newest entry shows nothing, and tells the newest."""
        history = self.resumed(10**9)
        self.assertEqual((history.shown, history.seq), ((), self.log("tea")[-1].seq))

    def test_too_many_entries(self) -> None:
        """A resume with more entries than a history may have shows the newest, and says after
        which."""
        for number in range(20):
            self.say(self.bob, str(number))
        history = self.resumed(2)
        last = self.log("tea")[-1].seq
        self.assertEqual((history.after, history.seq), (last - 10, last))
        self.assertEqual(self.seqs(history), list(range(last - 9, last + 1)))

    def test_exactly_as_many_as_there_may_be(self) -> None:
        """A resume with as many entries as a history may have is whole."""
        for number in range(10):
            self.say(self.bob, str(number))
        last = self.log("tea")[-1].seq
        history = self.resumed(last - 10)
        self.assertEqual((history.after, history.seq, len(history.shown)), (last - 10, last, 10))

    def test_conversation(self) -> None:
        """A resume of a conversation says both ends, too, and is cut in the same way."""
        for number in range(12):
            self.run_now(self.chat.direct(self.bob, "alice", str(number)))
        history = self.resumed(9, "@bob")
        self.assertEqual((history.after, history.seq, self.seqs(history)), (9, 12, [10, 11, 12]))
        history = self.resumed(0, "@bob")
        self.assertEqual(
            (history.after, history.seq, self.seqs(history)), (2, 12, list(range(3, 13)))
        )

    def test_unknown_kind_in_a_conversation(self) -> None:
        """An entry of an unknown kind is not shown as a private message, by a resume as little as
        by a history; it has its place."""
        for kind in SAID, "reaction", SAID, "reaction":
            room = conversation(self.the_account("bob"), self.the_account("alice"))
            post = Post(room, kind, self.the_account("bob").id, "bob", NOW, kind)
            self.store.append(post, ELSEWHERE)
        for after, shown in (0, [1, 3]), (1, [3]):
            history = self.resumed(after, "@bob")
            self.assertEqual((history.after, history.seq, self.seqs(history)), (after, 4, shown))
        self.assertEqual(_shown([self.run_now(self.chat.history(self.bob, "@alice"))]), [SAID] * 2)

    def test_conversation_that_nobody_has_begun(self) -> None:
        """A resume of a conversation that nobody has begun is answered with an empty history."""
        self.registered("carol")
        for name in "@carol", "@nobody":
            self.assertEqual(self.resumed(0, name).shown, ())

    def test_other_conversations_are_unread(self) -> None:
        """Unread messages of conversations that are not resumed are shown as unread, those of one
        that is resumed are not shown twice."""
        carol = self.account("carol")
        self.run_now(self.chat.direct(self.bob, "alice", "from bob"))
        self.run_now(self.chat.direct(carol, "alice", "from carol"))
        alice = Someone()
        self.run_now(self.chat.since(alice, {"@bob": 0}))
        self.log_in(alice, "alice")
        shown = [(each.of, _shown([each])) for each in alice.outbox.of(History)]
        self.assertEqual(shown, [("lobby", []), ("@bob", ["from bob"]), ("@", ["from carol"])])

    def test_live_goes_on_where_the_resume_ends(self) -> None:
        """After a resume, the first entry that a session hears live is the next one, whatever is
        posted meanwhile."""
        for steps in range(6):
            self.setUp()
            account = self.the_account("alice")
            alice, dave = Someone(), self.guest("dave")
            alice.echo = True
            self.join("tea", dave)
            self.say(self.bob, "1")
            self.run_now(self.chat.since(alice, {"tea": 2, "@bob": 0}))
            self.store.hold()
            self.say(self.bob, "2")
            login = self.begin(self.chat.log_in(alice, account))
            self.say(self.bob, "3")
            telling = self.begin(self.chat.direct(self.bob, "alice", "psst"))
            for _ in range(steps):
                if self.store.waiting:
                    self.store.step()
            self.chat.say(dave, "tea", "4")
            self.store.release()
            self.successResultOf(login)
            self.successResultOf(telling)
            self.assertEqual(sorted(_shown(alice.outbox.events)), ["1", "2", "3", "4", "psst"])
            (history,) = [each for each in alice.outbox.of(History) if each.of == "tea"]
            assert history.seq is not None
            live = [said.message.seq for said in alice.outbox.of(Said)]
            self.assertEqual(self.seqs(history) + live, [3, 4, 5, 6], steps)
            self.assertEqual(live, list(range(history.seq + 1, 7)))

    def test_room_that_one_is_no_member_of(self) -> None:
        """The resume point of a room that an account is no member of waits until it joins; the
        resume then shows its own joining, too, or goes on after it."""
        self.join("bar", self.bob)
        self.say(self.bob, "hi")
        alice = Someone()
        self.run_now(self.chat.since(alice, {"bar": 0, "nowhere": 3}))
        self.log_in(alice, "alice")
        self.assertEqual([event.of for event in alice.outbox.of(History)], ["lobby"])
        alice.outbox.take()
        self.assertTrue(self.run_now(self.chat.join(alice, "bar")))
        (history,) = alice.outbox.of(History)
        self.assertEqual((history.after, _shown([history])), (0, ["hi"]))
        self.assertIn(history.seq, (2, 3))
        known = [e.seq for e in self.log("bar")]
        shown = self.seqs(history)
        self.assertEqual(shown, known[: len(shown)])
        live = [event.seq for event in alice.outbox.of(Members)]
        self.assertEqual(shown + live, known)

    def test_room_that_another_session_joins_meanwhile(self) -> None:
        """A room that another session joins while the log is asked is resumed as well."""
        desk = self.back("alice")
        self.join("bar", self.bob)
        self.say(self.bob, "hi")
        phone = Someone()
        self.run_now(self.chat.since(phone, {"bar": 0}))
        account = self.the_account("alice")
        self.run_now(self.chat.history(self.bob, "bar"))
        self.store.hold()
        joining = self.begin(self.chat.join(desk, "bar"))
        login = self.begin(self.chat.log_in(phone, account))
        self.store.release()
        self.successResultOf(joining)
        self.successResultOf(login)
        self.assertEqual(self.rooms_of(phone), ("bar", "lobby", "tea"))
        lobby, history = phone.outbox.of(History)
        self.assertEqual((lobby.of, history.of), ("lobby", "bar"))
        self.assertEqual((history.after, _shown([history])), (0, ["hi"]))

    def test_answer_in_a_session(self) -> None:
        """After login, a resume is answered at once with one history for each place; a room that
        one is no member of is shown when one joins it."""
        alice = self.back("alice")
        self.say(self.bob, "1")
        self.run_now(self.chat.direct(self.bob, "alice", "2"))
        alice.outbox.take()
        count = self.run_now(self.chat.since(alice, {"@bob": 0, "tea": 2, "bar": 1, "lobby": 0}))
        self.assertEqual(count, 2)
        shown = [
            (each.of, _shown([each]), each.after)
            for each in alice.outbox.events
            if isinstance(each, History)
        ]
        self.assertCountEqual(shown, [("@bob", ["2"], 0), ("tea", ["1"], 2), ("lobby", [], 0)])
        self.assertEqual(len(alice.outbox.events), 3)

    def test_guest(self) -> None:
        """A guest that comes in resumes the lobby, and its conversations are ignored; other rooms
        are resumed when it joins them."""
        self.say(self.bob, "1")
        self.broadcast(self.bob, "2")
        gil = Someone()
        self.run_now(self.chat.since(gil, {"@bob": 0, "tea": 2, "lobby": 0}))
        self.run_now(self.chat.come_as_guest(gil, self.run_now(self.accounts.hold("gil"))))
        (lobby,) = gil.outbox.of(History)
        self.assertEqual((lobby.of, lobby.after, lobby.seq), ("lobby", 0, 1))
        self.assertEqual(_shown([lobby]), ["2"])
        gil.outbox.take()
        self.run_now(self.chat.join(gil, "tea"))
        joined, tea = gil.told()[:2]
        self.assertEqual(joined, Joined(NOW, "tea", (("gil", False),)))
        assert isinstance(tea, History)
        self.assertEqual((tea.of, tea.after, tea.seq, _shown([tea])), ("tea", 2, 3, ["1"]))


class CutResumeTests(ChatTestCase):
    """A resume with a small outbox."""

    limits = Limits(outbox=1000)

    def test_it_is_cut_to_what_fits(self) -> None:
        """A resume is cut to the newest entries that fit an empty outbox, and says after which."""
        self.registered("alice")
        bob = self.account("bob")
        for text in "123456":
            self.say(bob, text)
            self.run_now(self.chat.direct(bob, "alice", text))
        alice = Someone()
        self.run_now(self.chat.since(alice, {"lobby": 1, "@bob": 1}))
        self.log_in(alice, "alice")
        for history in alice.outbox.of(History):
            shown = _shown([history])
            self.assertEqual(shown, list("123456")[6 - len(shown) :])
            self.assertIn(len(shown), (1, 2, 3))
            self.assertEqual((history.after, history.seq), (6 - len(shown), 6))
