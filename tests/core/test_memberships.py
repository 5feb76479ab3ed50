"""Memberships of accounts: they last, and they are the same in all of an account's sessions."""

from twisted.python.failure import Failure

from tests.support import NOW
from twisted_chat.core.errors import Refusal
from twisted_chat.core.events import (
    Back,
    History,
    Joined,
    Left,
    Members,
    Omitted,
    Place,
    Renamed,
    Said,
    Topic,
    Unread,
    Users,
    Welcome,
    Where,
)
from twisted_chat.core.limits import Limits
from twisted_chat.core.model import CREATED, MEMBER, SAID, Account, Standing

from .test_chat import PASSWORD, ChatTestCase, Someone


class MembershipTestCase(ChatTestCase):
    """Alice has two sessions, and Bob is in the room."""

    def setUp(self) -> None:
        super().setUp()
        self.bob = self.account("bob")
        self.join("tea", self.bob)
        self.desk, self.phone = self.account("alice"), self.account("alice")
        self.bob.outbox.take()

    def refused(self, session: Someone, room: str) -> bool:
        """Whether a session may not talk in a room, as its person is not in it."""
        try:
            self.chat.say(session, room, "am I here?")
        except Refusal as refusal:
            self.assertEqual(refusal.code, "not-in-room")
            return True
        return False

    def standings(self, room: str) -> list[Standing]:
        """What the log says of the members of a room."""
        return [Standing.decode(entry.text) for entry in self.log(room) if entry.kind == MEMBER]


class JoinTests(MembershipTestCase):
    """Joining on one session."""

    def test_other_sessions_are_told_and_hear_the_room(self) -> None:
        """The other sessions of an account that joins are told so, with their own name, and hear
        the room from then on; they are not shown what was said there."""
        self.say(self.bob, "before")
        self.run_now(self.chat.join(self.phone, "tea"))
        self.assertEqual(self.desk.told(), [Joined(NOW, "tea", (("alice", True),))])
        self.say(self.bob, "after")
        self.assertEqual(self.desk.outbox.heard(), ["after"])
        self.assertEqual(self.phone.outbox.heard(), ["after"])
        self.assertEqual(self.phone.outbox.replayed(), ["before"])

    def test_other_sessions_may_talk_there(self) -> None:
        """What one session joined, the others may talk in, read and set the topic of."""
        self.run_now(self.chat.join(self.phone, "tea"))
        self.bob.outbox.take()
        self.chat.say(self.desk, "tea", "hi")
        self.assertEqual(self.bob.outbox.heard(), ["hi"])
        self.assertEqual(self.phone.outbox.heard(), ["hi"])
        history = self.run_now(self.chat.history(self.desk, "tea"))
        self.assertEqual(len(history.shown), 1)
        self.run_now(self.chat.set_topic(self.desk, "tea", "Assam"))
        self.assertEqual(self.chat.topic(self.phone, "tea").topic, "Assam")

    def test_room_is_told_once(self) -> None:
        """A room is told once that somebody joined, however many sessions they have and however
        many of them ask."""
        for session in self.phone, self.desk, self.phone:
            self.run_now(self.chat.join(session, "tea"))
        self.assertEqual(self.bob.told(), [Joined(NOW, "tea", (("alice", True),))])
        self.assertEqual(self.users(self.bob, "tea"), ["alice", "bob"])

    def test_second_session_is_shown_the_room_when_it_joins(self) -> None:
        """A session whose person is in the room already is shown it when it joins, and is not told
        that it joined; joining once more shows nothing."""
        self.say(self.bob, "hello")
        self.run_now(self.chat.set_topic(self.bob, "tea", "Assam"))
        self.run_now(self.chat.join(self.phone, "tea"))
        self.desk.outbox.take()
        self.assertTrue(self.run_now(self.chat.join(self.desk, "tea")))
        history, topic, users = self.desk.told()
        assert isinstance(history, History)
        self.assertEqual(history.of, "tea")
        self.assertEqual(topic, Topic(NOW, "tea", "Assam", "bob"))
        self.assertEqual(users, Users(NOW, "tea", (("alice", True), ("bob", True))))
        self.assertEqual(self.run_now(self.chat.join(self.desk, "tea")), 0)
        self.assertEqual(self.desk.told(), [])

    def test_both_sessions_at_once(self) -> None:
        """If two sessions of an account join a room at once, the account becomes a member once,
        the room is told once, and both sessions are shown the room."""
        self.store.hold()
        joining = [self.begin(self.chat.join(s, "tea")) for s in (self.desk, self.phone)]
        self.store.release()
        for each, session in zip(joining, (self.desk, self.phone), strict=True):
            self.assertTrue(self.successResultOf(each))
            self.assertEqual(len(session.outbox.of(History)), 1)
            self.assertEqual(len(session.outbox.of(Joined)), 1)
        self.assertEqual(self.bob.told(), [Joined(NOW, "tea", (("alice", True),))])
        self.assertEqual(self.rooms_of(self.desk), ("lobby", "tea"))
        self.assertIn(self.the_account("alice").id, self.state("tea").members)

    def test_members_are_entries(self) -> None:
        """The maker of a room is its owner, others become members, and a person who leaves ceases
        to be one: all of it is in the log, under the name of the account that did it."""
        self.run_now(self.chat.join(self.phone, "tea"))
        self.run_now(self.chat.leave(self.desk, "tea"))
        alice, bob = self.the_account("alice"), self.the_account("bob")
        self.assertEqual(
            self.standings("tea"),
            [Standing(alice, "member"), Standing(alice, None)],
        )
        kinds = [entry.kind for entry in self.log("tea")]
        self.assertEqual(kinds, [CREATED, MEMBER, MEMBER])
        self.assertEqual([entry.seq for entry in self.log("tea")], [1, 2, 3])
        self.assertEqual([e.author for e in self.log("tea")], ["bob", "alice", "alice"])
        self.assertEqual([e.author_id for e in self.log("tea")], [bob.id, alice.id, alice.id])
        self.assertEqual(dict(self.state("tea").members), {bob.id: "owner"})

    def test_programs_are_told_of_members(self) -> None:
        """The people in a room are told of each new standing, with its C{seq}."""
        self.run_now(self.chat.join(self.phone, "tea"))
        self.run_now(self.chat.leave(self.phone, "tea"))
        alice = self.the_account("alice")
        self.assertEqual(
            self.bob.outbox.of(Members),
            [
                Members(NOW, "tea", 2, (Standing(alice, "member"),)),
                Members(NOW, "tea", 3, (Standing(alice, None),)),
            ],
        )

    def test_memberships_of_guests_are_not_kept(self) -> None:
        """A guest who makes or joins a room is in it, and the log has nothing of it but that there
        is the room."""
        gil, gus = self.guest("gil"), self.guest("gus")
        self.join("den", gil, gus)
        self.join("tea", gus)
        self.leave(gus, "den")
        self.assertEqual([entry.kind for entry in self.log("den")], [CREATED])
        self.assertEqual(self.log("den")[0].author, "gil")
        self.assertEqual(dict(self.state("den").members), {})
        self.end(gil)
        gil = self.guest("gil")
        self.assertEqual(self.rooms_of(gil), ("lobby",))

    def test_room_that_a_guest_made_has_no_owner(self) -> None:
        """An account that joins a room that a guest made is a plain member."""
        self.join("den", self.guest("gil"))
        self.join("den", self.desk)
        alice = self.the_account("alice")
        self.assertEqual(dict(self.state("den").members), {alice.id: "member"})

    def test_last_member_who_comes_back_is_no_owner(self) -> None:
        """An owner who leaves and joins again is a plain member."""
        self.leave(self.bob, "tea")
        self.join("tea", self.bob)
        self.assertEqual(dict(self.state("tea").members), {self.the_account("bob").id: "member"})


class LeaveTests(MembershipTestCase):
    """Leaving on one session."""

    def setUp(self) -> None:
        super().setUp()
        self.join("tea", self.phone, self.desk)
        self.bob.outbox.take()

    def test_leaving_ends_it_on_all(self) -> None:
        """An account that leaves on one session is out on all: each is told, and the faces of the
        others are called; nobody hears or may talk any more."""
        self.run_now(self.chat.leave(self.phone, "tea"))
        left = Left(NOW, "tea", ("alice",))
        for session in self.phone, self.desk, self.bob:
            self.assertEqual(session.told(), [left])
        self.assertEqual((self.phone.face.rooms, self.desk.face.rooms), ([], ["tea"]))
        self.assertEqual(self.bob.face.rooms, [])
        self.say(self.bob, "gone?")
        for session in self.phone, self.desk:
            self.assertEqual(session.outbox.heard(), [])
            self.assertTrue(self.refused(session, "tea"))
            self.assertEqual(self.refusal(self.chat.leave(session, "tea")).code, "not-in-room")
        self.assertEqual(self.users(self.bob, "tea"), ["bob"])

    def test_both_sessions_at_once(self) -> None:
        """If two sessions of an account leave a room at once, the account is out, and the room is
        told once."""
        self.store.hold()
        leaving = [self.begin(self.chat.leave(s, "tea")) for s in (self.desk, self.phone)]
        for each in leaving:
            each.addErrback(self.check_not_in_room)
        self.store.release()
        for each in leaving:
            self.successResultOf(each)
        self.assertEqual(self.bob.told(), [Left(NOW, "tea", ("alice",))])
        self.assertEqual(self.rooms_of(self.desk), ("lobby",))
        self.assertEqual(len(self.phone.outbox.of(Left)), 1)
        self.assertEqual(len(self.desk.outbox.of(Left)), 1)

    def check_not_in_room(self, failure: Failure) -> None:
        """Check that an operation was refused as its person is not in the room."""
        failure.trap(Refusal)
        self.assertEqual(failure.value.code, "not-in-room")  # type: ignore[union-attr]

    def test_leaving_and_joining_at_once(self) -> None:
        """If one session leaves and the other joins at once, the log and the room agree on what
        came last."""
        self.store.hold()
        leaving = self.begin(self.chat.leave(self.desk, "tea"))
        joining = self.begin(self.chat.join(self.phone, "tea"))
        self.store.release()
        self.successResultOf(leaving)
        self.successResultOf(joining)
        is_member = self.the_account("alice").id in self.state("tea").members
        self.assertEqual("tea" in self.rooms_of(self.desk), is_member)
        self.assertEqual(self.refused(self.phone, "tea"), not is_member)
        self.assertEqual("alice" in self.users(self.bob, "tea"), is_member)

    def test_joining_again(self) -> None:
        """A person who joins a room again after leaving it is told and shown it like the first
        time, on each session."""
        self.run_now(self.chat.leave(self.phone, "tea"))
        for session in self.phone, self.desk, self.bob:
            session.outbox.take()
        self.assertTrue(self.run_now(self.chat.join(self.phone, "tea")))
        joined = Joined(NOW, "tea", (("alice", True),))
        kinds = [type(event).__name__ for event in self.phone.outbox.events]
        self.assertEqual(kinds, ["Joined", "History", "Users"])
        self.assertEqual((self.desk.told(), self.bob.told()), ([joined], [joined]))
        self.assertTrue(self.run_now(self.chat.join(self.desk, "tea")))

    def test_leaving_while_the_other_is_shown_the_room(self) -> None:
        """A session whose room another one leaves while it is looked up what is new there is told
        that it is not in the room."""
        self.end(self.phone)
        self.say(self.bob, "news")
        phone = self.back("alice")
        self.store.hold()
        leaving = self.begin(self.chat.leave(self.desk, "tea"))
        joining = self.begin(self.chat.join(phone, "tea"))
        self.store.release()
        self.successResultOf(leaving)
        self.check_not_in_room(self.failureResultOf(joining))
        self.assertEqual(self.rooms_of(phone), ("lobby",))

    def test_left_is_left_at_the_next_login(self) -> None:
        """A room that was left is not among the rooms of the next login."""
        self.run_now(self.chat.leave(self.phone, "tea"))
        self.end(self.desk, self.phone)
        alice = self.back("alice")
        (back,) = alice.outbox.of(Back)
        self.assertEqual([place.room for place in back.places], ["lobby"])
        self.assertTrue(self.refused(alice, "tea"))


class BackTests(MembershipTestCase):
    """Coming back."""

    def setUp(self) -> None:
        super().setUp()
        self.join("tea", self.phone)
        self.join("bar", self.phone)
        self.end(self.desk, self.phone)
        self.bob.outbox.take()

    def test_login_is_back_in_all_rooms(self) -> None:
        """An account that logs in is in all its rooms: it hears them, and may talk there."""
        alice = self.back("alice")
        self.assertEqual(self.rooms_of(alice), ("bar", "lobby", "tea"))
        alice.outbox.take()
        self.say(self.bob, "welcome back")
        self.assertEqual(alice.outbox.heard(), ["welcome back"])
        self.bob.outbox.take()
        self.chat.say(alice, "tea", "thanks")
        self.assertEqual(self.bob.outbox.heard(), ["thanks"])

    def test_each_session_is_back(self) -> None:
        """The second session of an account is in its rooms, too."""
        sessions = [self.back("alice"), self.back("alice")]
        for session in sessions:
            session.outbox.take()
        self.say(self.bob, "hi")
        self.assertEqual([session.outbox.heard() for session in sessions], [["hi"], ["hi"]])

    def test_rooms_are_told_who_is_back(self) -> None:
        """Each of the rooms of somebody who comes online is told that they joined; the log is
        not."""
        before = len(self.store.entries)
        self.back("alice")
        told = self.bob.told()
        self.assertCountEqual(
            told, [Joined(NOW, room, (("alice", True),)) for room in ("lobby", "tea")]
        )
        self.assertEqual(len(self.store.entries), before)

    def test_somebody_who_goes_offline_stays_a_member(self) -> None:
        """A person who goes offline is told of in the lobby, not listed in their rooms, and stays a
        member of them."""
        alice = self.back("alice")
        self.bob.outbox.take()
        self.end(alice)
        self.assertEqual(self.bob.told(), [Left(NOW, "lobby", ("alice",))])
        self.assertEqual(self.users(self.bob, "tea"), ["bob"])
        self.assertIn(self.the_account("alice").id, self.state("tea").members)

    def test_after_a_restart(self) -> None:
        """After a restart, an account is back in its rooms, and guests are in none."""
        self.chat = self.new_chat()
        self.store.subscribe(self.chat.deliver, self.chat.lose)
        alice = self.back("alice")
        self.assertEqual(self.rooms_of(alice), ("bar", "lobby", "tea"))
        (back,) = alice.outbox.of(Back)
        self.assertEqual([place.room for place in back.places], ["lobby", "bar", "tea"])

    def test_places(self) -> None:
        """A login is told the account's rooms, the lobby first: the people who are there now, the
        topic, its newest entry, and what is new there."""
        self.run_now(self.chat.set_topic(self.bob, "tea", "Assam"))
        self.say(self.bob, "1")
        self.say(self.bob, "2", action=True)
        alice = self.back("alice")
        (back,) = alice.outbox.of(Back)
        lobby, bar, tea = back.places
        self.assertEqual((lobby.room, lobby.people, lobby.new), ("lobby", 2, 0))
        self.assertEqual((bar.room, bar.people, bar.topic, bar.new), ("bar", 1, "", 0))
        last = self.log("tea")[-1].seq
        joined = next(
            entry.seq
            for entry in self.log("tea")
            if entry.kind == MEMBER and entry.author == "alice"
        )
        self.assertEqual((tea.people, tea.topic, tea.seq, tea.new), (2, "Assam", last, 2))
        self.assertLessEqual(tea.read, last - 2)
        self.assertGreaterEqual(tea.read, joined - 1)
        self.assertFalse(tea.more)

    def test_more_than_can_be_counted(self) -> None:
        """What is new is counted up to the limit of a history; of more, that there is more."""
        for number in range(self.limits.max_history + 1):
            self.say(self.bob, str(number))
            if number == self.limits.max_history - 1:
                place = self.place(self.back("alice"), "tea")
                self.assertEqual((place.new, place.more), (self.limits.max_history, False))
        place = self.place(self.back("alice"), "tea")
        self.assertEqual((place.new, place.more), (self.limits.max_history, True))

    def test_message_during_login_comes_once(self) -> None:
        """A message that is said in one of the rooms during a login is new if it was committed
        before the login's question, and live if after."""
        for steps in range(5):
            self.setUp()
            account = self.run_now(
                self.accounts.authenticate("alice", PASSWORD, self.bob.source)
            ).account
            alice = Someone()
            self.store.hold()
            self.say(self.bob, "1")
            login = self.begin(self.chat.log_in(alice, account))
            self.say(self.bob, "2")
            for _ in range(steps):
                if self.store.waiting:
                    self.store.step()
            self.say(self.bob, "3")
            self.store.release()
            self.successResultOf(login)
            (back,) = alice.outbox.of(Back)
            place = next(place for place in back.places if place.room == "tea")
            texts = [entry.text for entry in self.log("tea") if entry.kind == SAID]
            self.assertEqual(texts[place.new :], alice.outbox.heard(), steps)
            heard = [event.message.seq for event in alice.outbox.of(Said)]
            self.assertEqual(heard, list(range(place.seq + 1, place.seq + 1 + len(heard))), steps)

    def test_guests_are_not_told_of_places(self) -> None:
        """A guest who comes in is not told of any places."""
        gil = Someone()
        self.run_now(self.chat.come_as_guest(gil, self.run_now(self.accounts.hold("gil"))))
        self.assertEqual(gil.outbox.of(Back), [])

    def test_too_many_rooms(self) -> None:
        """The limit on rooms is of the account, whichever of its sessions joins."""
        self.join("one", self.back("alice"))
        refusal = self.refusal(self.chat.join(self.back("alice"), "two"))
        self.assertEqual((refusal.code, refusal.fields["limit"]), ("full", self.limits.max_joined))
        self.assertNotIn("two", self.room_names())

    limits = Limits(replay=5, max_joined=4, max_rooms=8, max_history=10)


class WhereTests(MembershipTestCase):
    """Where one is."""

    def test_places_of_an_account(self) -> None:
        """An account is told its rooms, with what it has not seen."""
        self.run_now(self.chat.join(self.phone, "tea"))
        self.say(self.bob, "1")
        lobby, tea = self.run_now(self.chat.where(self.desk))
        self.assertEqual(lobby, Place("lobby", 2, "", 0, 0, 0, False))
        self.assertEqual((tea.room, tea.people, tea.new, tea.more), ("tea", 2, 1, False))
        self.assertEqual(tea.seq, self.log("tea")[-1].seq)

    def test_places_of_a_guest(self) -> None:
        """A guest is told its rooms; nothing is new for it."""
        gil = self.guest("gil")
        self.join("tea", gil)
        self.say(self.bob, "1")
        lobby, tea = self.run_now(self.chat.where(gil))
        self.assertEqual((lobby.room, lobby.new, tea.room, tea.new), ("lobby", 0, "tea", 0))
        self.assertEqual(tea.people, 2)

    def test_room_of(self) -> None:
        """A room that one is in is found by any spelling; others are refused."""
        self.run_now(self.chat.join(self.phone, "tea"))
        self.assertEqual(self.chat.room_of(self.desk, "#TEA"), "tea")
        self.assertEqual(self.chat.room_of(self.desk, "lobby"), "lobby")
        self.join("bar", self.bob)
        for room, code in ("bar", "not-in-room"), ("nowhere", "no-such-room"):
            refusal = self.assertRaises(Refusal, self.chat.room_of, self.desk, room)
            self.assertEqual(refusal.code, code)


class GuestTests(MembershipTestCase):
    """Guests who become accounts."""

    def setUp(self) -> None:
        super().setUp()
        self.gil = self.guest("gil")
        self.join("tea", self.gil)
        self.gil.current = "tea"
        self.join("bar", self.phone)
        for session in self.bob, self.desk, self.phone, self.gil:
            session.outbox.take()

    def test_rooms_are_kept(self) -> None:
        """A guest who becomes an account that is away keeps its rooms, and is in those of the
        account; both last."""
        self.end(self.desk, self.phone)
        self.bob.outbox.take()
        self.log_in(self.gil, "alice")
        self.assertEqual(self.rooms_of(self.gil), ("bar", "lobby", "tea"))
        self.assertEqual(self.bob.told(), [Renamed(NOW, "gil", "alice", account=True)])
        alice = self.the_account("alice")
        self.assertEqual(self.state("tea").members[alice.id], "member")
        self.end(self.gil)
        again = self.back("alice")
        self.assertEqual(self.rooms_of(again), ("bar", "lobby", "tea"))

    def test_account_that_is_here(self) -> None:
        """A guest who becomes an account that is here brings its rooms: the account's other
        sessions are in them, too, and the guest's session in theirs."""
        self.log_in(self.gil, "alice")
        self.gil.outbox.take()
        for session in self.desk, self.phone:
            self.assertIn(Joined(NOW, "tea", (("alice", True),)), session.told())
        self.chat.say(self.desk, "tea", "hi")
        self.chat.say(self.desk, "bar", "ho")
        self.assertEqual(self.gil.outbox.heard(), ["hi", "ho"])
        self.assertEqual(self.users(self.bob, "tea"), ["alice", "bob"])

    def test_new_account(self) -> None:
        """A guest who registers keeps its rooms for good."""
        hold = self.hold(self.gil)
        account = self.run_now(self.accounts.register("gil", PASSWORD, self.gil.source, mine=hold))
        self.run_now(self.chat.log_in(self.gil, account, room="tea"))
        self.assertEqual(self.bob.told(), [Renamed(NOW, "gil", "gil", account=True)])
        (welcome,) = self.gil.outbox.of(Welcome)
        self.assertEqual(welcome, Welcome(NOW, "gil", True, "tea", 1))
        self.end(self.gil)
        self.assertEqual(self.rooms_of(self.back("gil")), ("lobby", "tea"))

    def test_room_that_both_are_in(self) -> None:
        """A guest who becomes an account that is a member of the guest's room already changes
        nothing in the log."""
        self.join("tea", self.phone)
        before = len(self.store.entries)
        self.log_in(self.gil, "alice")
        self.assertEqual(len(self.store.entries), before)
        self.assertEqual(self.users(self.bob, "tea"), ["alice", "bob"])

    def test_guest_who_ends_meanwhile(self) -> None:
        """A guest who ends while the account becomes a member of their rooms posts nothing more,
        and is over once."""
        self.join("den", self.gil)
        self.end(self.desk, self.phone)
        account = self.the_account("alice")
        for steps in range(4):
            with self.subTest(steps):
                self.store.hold()
                login = self.begin(self.chat.log_in(self.gil, account))
                for _ in range(steps):
                    if self.store.waiting:
                        self.store.step()
                self.end(self.gil)
                self.store.release()
                self.successResultOf(login)
                self.assertEqual(self.gil.ends, 1)
                self.assertEqual(self.users(self.bob, "lobby"), ["bob"])
                self.gil = self.guest("gil")
                self.join("tea", self.gil)
                self.join("den", self.gil)
                if "alice" in self.users(self.gil, "tea"):
                    self.fail("nobody is logged in to the account")
                self.leave_all(account)

    def leave_all(self, account: Account) -> None:
        """Have an account leave the rooms of the test."""
        alice = self.back(account.name)
        for room in {"tea", "den"} & set(self.rooms_of(alice)):
            self.run_now(self.chat.leave(alice, room))
        self.end(alice)

    def test_room_that_the_account_leaves_meanwhile(self) -> None:
        """A guest leaves the room that the account leaves while the guest logs in."""
        self.join("tea", self.phone)
        for is_here in True, False:
            alice = self.the_account("alice")
            self.store.hold()
            leaving = self.begin(self.chat.leave(self.phone, "tea"))
            if not is_here:
                self.end(self.desk, self.phone)
            logging_in = self.begin(self.chat.log_in(self.gil, alice, room="tea"))
            self.store.release()
            self.successResultOf(leaving)
            self.successResultOf(logging_in)
            self.check_is_left("tea")
            self.assertIn(Left(NOW, "tea", ("gil",)), self.bob.told())
            self.setUp()
            self.join("tea", self.phone)

    def test_more_rooms_than_an_account_may_be_in(self) -> None:
        """A guest who becomes an account brings as many rooms as the account may be in, and leaves
        the others."""
        self.join("den", self.gil)
        self.gil.current = "den"
        self.log_in(self.gil, "alice")
        self.check_is_left("den")
        self.assertEqual(self.rooms_of(self.gil), ("bar", "lobby", "tea"))

    def check_is_left(self, room: str) -> None:
        """Check that the guest who became Alice is in her rooms, and not in this one."""
        alice = self.the_account("alice")
        self.assertEqual(self.gil.person and self.gil.person.account, alice)
        self.assertNotIn(alice.id, self.state(room).members)
        self.assertNotIn(room, self.rooms_of(self.gil))
        self.assertNotIn("alice", self.users(self.bob, room))
        self.assertTrue(self.refused(self.gil, room))
        self.assertIn(Left(NOW, room, ("gil",)), self.gil.told())
        self.assertEqual(self.gil.face.rooms, [room])

    def test_owner_stays_owner(self) -> None:
        """An owner who logs in from a guest's session stays the owner."""
        gus = self.guest("gus")
        self.join("bar", gus)
        self.log_in(gus, "alice")
        self.assertEqual(self.state("bar").members[self.the_account("alice").id], "owner")


class InFlightTests(MembershipTestCase):
    """Memberships that are on their way to the log."""

    def test_nobody_is_a_member_before_it_is_in_the_log(self) -> None:
        """A room is told of who joins, and a session may talk there, once the log has it."""
        self.store.hold()
        joining = self.begin(self.chat.join(self.phone, "tea"))
        self.assertEqual((self.bob.told(), self.phone.told()), ([], []))
        self.assertNoResult(joining)
        self.assertTrue(self.refused(self.desk, "tea"))
        self.store.commit()
        self.assertTrue(self.successResultOf(joining))

    def test_leaving_is_in_the_log_first(self) -> None:
        """An account is in a room until the log has it that it left."""
        self.join("tea", self.phone)
        self.store.hold()
        leaving = self.begin(self.chat.leave(self.phone, "tea"))
        self.assertNoResult(leaving)
        self.assertFalse(self.refused(self.desk, "tea"))
        self.store.release()
        self.successResultOf(leaving)
        self.assertTrue(self.refused(self.desk, "tea"))

    def test_session_that_ends_while_it_joins(self) -> None:
        """A session that ends while its joining is in flight is told nothing; whether its account
        became a member, the log, the room and its other sessions agree on."""
        for steps in range(4):
            self.setUp()
            self.store.hold()
            joining = self.begin(self.chat.join(self.phone, "tea"))
            for _ in range(steps):
                if self.store.waiting:
                    self.store.step()
            told = self.phone.outbox.take()
            self.end(self.phone)
            self.store.release()
            self.successResultOf(joining)
            self.assertEqual(self.phone.outbox.events, [], told)
            is_member = self.the_account("alice").id in self.state("tea").members
            self.assertEqual("alice" in self.users(self.bob, "tea"), is_member, steps)
            self.assertEqual(self.refused(self.desk, "tea"), not is_member, steps)
            self.assertEqual(self.phone.ends, 1)
            self.assertFalse(self.phone.in_flight)

    def test_last_session_that_ends_while_it_joins(self) -> None:
        """An account whose last session ends while its joining is in flight is in no list, and the
        room is not left with somebody who is not here."""
        for steps in range(4):
            self.setUp()
            self.end(self.desk)
            self.store.hold()
            joining = self.begin(self.chat.join(self.phone, "tea"))
            for _ in range(steps):
                if self.store.waiting:
                    self.store.step()
            self.end(self.phone)
            self.store.release()
            self.successResultOf(joining)
            self.assertEqual(self.users(self.bob, "tea"), ["bob"], steps)
            self.assertEqual(self.users(self.bob, "lobby"), ["bob"], steps)
            is_member = self.the_account("alice").id in self.state("tea").members
            self.assertEqual("tea" in self.rooms_of(self.back("alice")), is_member, steps)

    def test_guest_who_ends_while_making_a_room(self) -> None:
        """A guest who ends while their new room is in flight is not in it, and their name is
        free."""
        gil = self.guest("gil")
        self.store.hold()
        joining = self.begin(self.chat.join(gil, "den"))
        self.end(gil)
        self.store.release()
        self.successResultOf(joining)
        self.assertEqual(gil.outbox.events, [])
        gil = self.guest("gil")
        self.assertEqual(self.rooms_of(gil), ("lobby",))
        self.assertEqual(self.users(gil, "den"), [])

    def test_session_that_ends_while_it_leaves(self) -> None:
        """A session that ends while its leaving is in flight has left, for the account's other
        sessions, too."""
        self.join("tea", self.phone)
        self.bob.outbox.take()
        self.store.hold()
        leaving = self.begin(self.chat.leave(self.phone, "tea"))
        self.end(self.phone)
        self.store.release()
        self.successResultOf(leaving)
        self.assertEqual(self.phone.outbox.events, [])
        self.assertTrue(self.refused(self.desk, "tea"))
        self.assertEqual(self.desk.face.rooms, ["tea"])
        self.assertEqual(self.bob.told(), [Left(NOW, "tea", ("alice",))])

    def test_last_session_that_ends_while_it_leaves(self) -> None:
        """An account whose last session ends while its leaving is in flight has left the room for
        good, and the lobby."""
        self.join("tea", self.phone)
        self.end(self.desk)
        self.bob.outbox.take()
        self.store.hold()
        leaving = self.begin(self.chat.leave(self.phone, "tea"))
        self.end(self.phone)
        self.store.release()
        self.successResultOf(leaving)
        self.assertEqual(self.bob.told()[-1], Left(NOW, "lobby", ("alice",)))
        self.assertEqual(self.users(self.bob, "lobby"), ["bob"])
        self.assertEqual(self.rooms_of(self.back("alice")), ("lobby",))

    def test_joining_that_is_lost(self) -> None:
        """A joining that cannot be stored is refused, and the account is no member; it may be tried
        again."""
        self.store.hold()
        joining = self.begin(self.chat.join(self.phone, "tea"))
        self.store.answer()
        self.store.fail()
        refusal = self.failureResultOf(joining, Refusal).value
        self.assertEqual(refusal.code, "unavailable")
        self.assertEqual((self.phone.told(), self.desk.told(), self.bob.told()), ([], [], []))
        self.assertEqual(self.phone.in_flight, 0)
        self.store.release()
        self.assertEqual(self.rooms_of(self.desk), ("lobby",))
        self.assertTrue(self.run_now(self.chat.join(self.phone, "tea")))
        self.assertEqual(self.rooms_of(self.desk), ("lobby", "tea"))

    def test_leaving_that_is_lost(self) -> None:
        """A leaving that cannot be stored is refused, and the account stays a member."""
        self.join("tea", self.phone)
        self.bob.outbox.take()
        self.store.hold()
        leaving = self.begin(self.chat.leave(self.phone, "tea"))
        self.store.fail()
        refusal = self.failureResultOf(leaving, Refusal).value
        self.assertEqual(refusal.code, "unavailable")
        self.assertEqual((self.phone.told(), self.bob.told(), self.desk.face.rooms), ([], [], []))
        self.store.release()
        self.assertFalse(self.refused(self.phone, "tea"))
        self.run_now(self.chat.leave(self.phone, "tea"))
        self.assertTrue(self.refused(self.phone, "tea"))

    def test_session_that_ends_while_its_joining_is_lost(self) -> None:
        """If a session has ended when its joining is lost, it is told nothing and is over."""
        self.store.hold()
        joining = self.begin(self.chat.join(self.phone, "tea"))
        joining.addErrback(lambda failure: failure.trap(Refusal) and None)
        self.end(self.phone)
        self.store.answer()
        self.store.fail()
        self.store.release()
        self.successResultOf(joining)
        self.assertEqual((self.phone.outbox.events, self.phone.ends), ([], 1))

    def test_operation_that_is_cancelled(self) -> None:
        """A joining that is cancelled while it is in flight lets the session go on; the membership
        comes about nevertheless."""
        self.store.hold()
        joining = self.begin(self.chat.join(self.phone, "tea"))
        joining.cancel()
        self.failureResultOf(joining)
        self.assertFalse(self.phone.is_busy)
        self.store.release()
        is_member = self.the_account("alice").id in self.state("tea").members
        self.assertEqual(self.refused(self.desk, "tea"), not is_member)

    def test_several_people_in_one_batch(self) -> None:
        """Of people who join and talk in one batch, each hears what is said after their joining,
        and is shown the rest."""
        carol = self.account("carol")
        self.bob.outbox.take()
        self.store.hold()
        self.say(self.bob, "1")
        one = self.begin(self.chat.join(self.phone, "tea"))
        self.say(self.bob, "2")
        other = self.begin(self.chat.join(carol, "tea"))
        self.say(self.bob, "3")
        self.store.release()
        for each, session in (one, self.phone), (other, carol):
            self.successResultOf(each)
            texts = session.outbox.replayed() + session.outbox.heard()
            self.assertEqual(texts, ["1", "2", "3"])


class BigRoomTests(ChatTestCase):
    """Members of a big room."""

    limits = Limits(max_joined=3)

    def test_who_comes_online_is_told_together(self) -> None:
        """In a big room the members who come online are told of together."""
        watcher = self.account("watcher")
        crowd = [self.guest(f"person{n}") for n in range(20)]
        members = [self.account(f"member{n}") for n in range(5)]
        self.join("tea", watcher, *crowd, *members)
        self.end(*members)
        self.clock.pump([5, 5])
        watcher.outbox.take()
        for number in range(5):
            self.back(f"member{number}")
        self.clock.pump([5, 5])
        for room in "lobby", "tea":
            joined = [event for event in watcher.outbox.of(Joined) if event.room == room]
            self.assertEqual(len(joined), 2)
            people = [name for event in joined for name, _ in event.people]
            self.assertEqual(people, [f"member{n}" for n in range(5)])


class LoginOrderTests(ChatTestCase):
    """What a login tells, in its order."""

    limits = Limits(replay=5, max_joined=3, max_rooms=6, max_history=3)

    def test_everything_at_once(self) -> None:
        """A login tells the welcome, the message of the day, the lobby, the account's rooms, then
        the rooms and conversations that it resumes, then the unread private messages."""
        bob, carol, alice = map(self.account, ("bob", "carol", "alice"))
        self.join("tea", bob, alice)
        self.join("bar", alice, bob)
        self.run_now(self.chat.direct(bob, "alice", "early"))
        self.run_now(self.chat.direct(alice, "bob", "yes?"))
        self.end(alice)
        self.run_now(self.chat.set_topic(bob, "lobby", "Welcome"))
        self.chat.say(bob, "tea", "tea 1")
        self.chat.say(bob, "bar", "bar 1")
        self.run_now(self.chat.direct(bob, "alice", "late"))
        for number in range(5):
            self.run_now(self.chat.direct(carol, "alice", str(number)))
        alice = Someone()
        self.run_now(self.chat.since(alice, {"tea": 2, "@bob": 1, "lobby": 0}))
        self.log_in(alice, "alice")
        told = [
            f"History {event.of}" if isinstance(event, History) else type(event).__name__
            for event in alice.outbox.events
        ]
        self.assertEqual(
            told,
            [
                "Welcome",
                "Motd",
                "History lobby",
                "Topic",
                "Back",
                "History @bob",
                "Unread",
                "History @",
                "Omitted",
                "History tea",
            ],
        )
        self.assertEqual(alice.outbox.replayed(), ["yes?", "late", "0", "1", "2", "tea 1"])
        self.assertEqual(alice.outbox.of(Unread), [Unread(NOW, 3, more=True, alone=True)])
        self.assertEqual(alice.outbox.of(Omitted), [Omitted(NOW)])
        (topic,) = alice.outbox.of(Topic)
        self.assertEqual(topic, Topic(NOW, "lobby", "Welcome", "bob"))

    def test_nothing_to_tell(self) -> None:
        """A login that has missed nothing tells the welcome, the message of the day, the lobby and
        the account's rooms."""
        self.account("alice")
        told = [type(event).__name__ for event in self.back("alice").outbox.events]
        self.assertEqual(told, ["Welcome", "Motd", "History", "Back"])

    def test_where_is_told_by_the_face(self) -> None:
        """The core tells nobody where they are unasked."""
        self.assertEqual(self.account("alice").outbox.of(Where), [])
