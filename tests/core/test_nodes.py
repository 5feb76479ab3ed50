"""Who is here, on whichever node they are."""

from twisted_chat.core.announcements import Asked
from twisted_chat.core.events import (
    Away,
    Back,
    Joined,
    Left,
    Rooms,
    Unread,
    Users,
    Welcome,
)
from twisted_chat.core.limits import Limits

from .nodes import Node, NodesTestCase
from .test_chat import Someone

PASSWORD = "correct horse"


class ListedTests(NodesTestCase):
    """People of other nodes, in what somebody asks for or is shown."""

    def test_people_of_a_room(self) -> None:
        """The people of a room are those of all nodes, accounts and guests."""
        alice, gil = self.one.account("alice"), self.one.guest("gil")
        bob = self.two.account("bob")
        self.log.pull()
        for node, session in ((self.one, alice), (self.two, bob)):
            listed = node.chat.users(session, "lobby").people
            self.assertEqual(listed, (("alice", True), ("bob", True), ("gil", False)))
        self.one.end(gil)
        self.log.pull()
        self.assertEqual(self.two.users(bob), ["alice", "bob"])

    def test_numbers_of_people(self) -> None:
        """The rooms are listed with the people of all nodes, and the room with most people is
        first."""
        bob = self.two.account("bob")
        self.one.join("tea", self.one.account("alice"), self.one.guest("gil"))
        self.log.pull()
        self.two.join("bar", bob)
        self.assertEqual(
            self.two.chat.rooms(bob).rooms, (("lobby", 3, ""), ("tea", 2, ""), ("bar", 1, ""))
        )

    def test_whois(self) -> None:
        """Somebody's rooms can be asked for on another node."""
        alice, gil = self.one.account("alice"), self.one.guest("gil")
        self.one.join("tea", alice, gil)
        self.one.join("bar", gil)
        bob = self.two.account("bob")
        self.log.pull()
        self.assertEqual(self.two.rooms_of(bob, "alice"), ("lobby", "tea"))
        self.assertEqual(self.two.rooms_of(bob, "gil"), ("bar", "lobby", "tea"))
        self.one.leave(gil, "tea")
        self.one.leave(alice, "tea")
        self.one.end(alice)
        self.log.pull()
        self.assertEqual(self.two.rooms_of(bob, "gil"), ("bar", "lobby"))
        self.assertIsNone(self.two.chat.whois(bob, "alice"))

    def test_welcome_counts_the_others(self) -> None:
        """Who logs in, or comes as a guest, is told how many others are here on all nodes."""
        self.one.account("alice")
        self.one.guest("gil")
        self.two.registered("bob")
        bob = self.two.back("bob")
        self.assertEqual(bob.outbox.of(Welcome)[0].others, 2)
        back = bob.outbox.of(Back)[0]
        self.assertEqual([place.people for place in back.places], [3])
        fay = Someone()
        self.one.run_now(
            self.one.chat.come_as_guest(fay, self.one.run_now(self.one.accounts.hold("fay")))
        )
        self.assertEqual(fay.outbox.of(Welcome)[0].others, 3)
        self.assertEqual(self.news(fay), [["Welcome", "Motd", "History"]])

    def test_people_are_listed_on_joining(self) -> None:
        """Who joins a room is told who is in it on other nodes."""
        self.one.join("tea", self.one.account("alice"), self.one.guest("gil"))
        bob = self.two.account("bob")
        self.two.run_now(self.two.chat.join(bob, "tea"))
        (users,) = bob.outbox.of(Users)
        self.assertEqual([name for name, _ in users.people], ["alice", "bob", "gil"])

    def test_node_that_starts_learns_who_is_here(self) -> None:
        """A node that starts knows who is with the others, and in which rooms, before anybody is
        there."""
        alice, gil = self.one.account("alice"), self.one.guest("gil")
        self.one.join("tea", alice, gil)
        three = self.node()
        carol = three.account("carol")
        self.assertEqual(three.users(carol), ["alice", "carol", "gil"])
        three.join("tea", carol)
        self.assertEqual(three.users(carol), ["alice", "carol", "gil"])
        self.assertEqual(self.news(alice, gil), [["+carol", "+carol#tea"]] * 2)
        self.one.end(gil)
        self.assertEqual(self.news(carol), [["-gil"]])

    def test_many_people(self) -> None:
        """A node that starts learns of all people, however many there are, and nobody twice."""
        for number in range(1001):
            self.one.guest(f"gil-{number}x")
        three = self.node()
        carol = three.account("carol")
        self.assertEqual(len(three.users(carol)), 1002)
        self.assertEqual(three.chat.rooms(carol).rooms[0][1], 1002)


class ToldTests(NodesTestCase):
    """Comings and goings, told at other nodes."""

    def setUp(self) -> None:
        super().setUp()
        self.alice = self.one.account("alice")
        self.bob = self.two.account("bob")
        self.log.pull()
        for session in (self.alice, self.bob):
            session.outbox.take()

    def test_came_and_went(self) -> None:
        """Whoever comes or goes is told of at every node, with whether they are an account."""
        carol, gil = self.one.account("carol"), self.one.guest("gil")
        told = [["+carol", "+gil"]] * 2
        self.assertEqual(self.news(self.alice, self.bob), told)
        people = [p for e in self.bob.outbox.of(Joined) for p in e.people]
        self.assertEqual(people, [])
        self.one.end(carol, gil)
        self.assertEqual(self.news(self.alice, self.bob), [["-carol", "-gil"]] * 2)

    def test_accounts_are_told_as_such(self) -> None:
        """What is told of an arrival at another node says whether it is an account."""
        self.one.account("carol")
        self.one.guest("gil")
        self.log.pull()
        people = [p for e in self.bob.outbox.of(Joined) for p in e.people]
        self.assertEqual(people, [("carol", True), ("gil", False)])

    def test_not_before_it_is_known(self) -> None:
        """A node that is behind tells nothing yet; people who come and go meanwhile are told
        of both."""
        self.one.end(self.one.account("carol"))
        self.assertEqual(self.bob.told(), [])
        self.assertEqual(self.news(self.bob), [["+carol", "-carol"]])

    def test_order_with_what_is_said(self) -> None:
        """At another node what somebody says comes after their arrival and before their leaving."""
        carol = self.one.account("carol")
        self.one.say(carol, "hello")
        self.one.end(carol)
        self.assertEqual(self.news(self.bob), [["+carol", "Said", "-carol"]])

    def test_last_words(self) -> None:
        """Somebody whose session ends while their words are in flight leaves after them."""
        carol = self.one.account("carol")
        self.log.pull()
        self.bob.outbox.take()
        self.one.store.hold()
        self.one.say(carol, "bye")
        self.one.end(carol)
        self.assertEqual(self.news(self.alice, self.bob), [["+carol"], []])
        self.one.store.release()
        self.assertEqual(self.news(self.alice, self.bob), [["Said", "-carol"]] * 2)

    def test_joined_and_left_a_room(self) -> None:
        """A room is told who joins and leaves it at other nodes, accounts and guests."""
        carol, gil = self.one.account("carol"), self.one.guest("gil")
        self.two.join("tea", self.bob)
        self.news(self.alice, self.bob)
        self.one.join("tea", carol, gil)
        self.assertEqual(self.news(self.alice, self.bob), [[], ["+carol#tea", "+gil#tea"]])
        self.one.leave(gil, "tea")
        self.one.leave(carol, "tea")
        self.assertEqual(self.news(self.alice, self.bob), [[], ["-gil#tea", "-carol#tea"]])
        self.assertEqual(self.two.users(self.bob, "tea"), ["bob"])

    def test_leaving_all_rooms_is_told_in_the_lobby_only(self) -> None:
        """Somebody of another node who leaves is told of once, whatever rooms are shared."""
        gil = self.one.guest("gil")
        self.two.join("tea", self.bob)
        self.one.join("tea", gil)
        self.news(self.bob)
        self.one.end(gil)
        self.assertEqual(self.news(self.bob), [["-gil"]])
        self.assertEqual(self.two.users(self.bob, "tea"), ["bob"])

    def test_back_in_rooms(self) -> None:
        """An account that comes at another node is told of in its rooms."""
        carol = self.one.account("carol")
        self.one.join("tea", carol)
        self.two.join("tea", self.bob)
        self.one.end(carol)
        self.news(self.bob)
        self.one.back("carol")
        self.assertEqual(self.news(self.bob), [["+carol", "+carol#tea"]])

    def test_topic_and_talk(self) -> None:
        """What is said and which topic is set at one node is told at the others, in one order."""
        self.two.join("tea", self.bob)
        self.one.join("tea", self.alice)
        self.news(self.alice, self.bob)
        self.one.run_now(self.one.chat.set_topic(self.alice, "tea", "Assam"))
        self.one.say(self.alice, "hi")
        self.two.say(self.bob, "ho")
        self.log.pull()
        self.assertEqual(self.bob.outbox.heard(), ["hi"])
        self.assertEqual(self.alice.outbox.heard(), ["ho"])
        self.assertEqual(self.two.chat.topic(self.bob, "tea").topic, "Assam")
        texts = [entry.text for entry in self.one.log("tea")][-3:]
        self.assertEqual(texts, ["Assam", "hi", "ho"])

    def test_big_room(self) -> None:
        """In a big room, people of other nodes are told of together, like all others."""
        watchers = [self.two.guest(f"watcher-{n}") for n in range(20)]
        self.clock.advance(3)
        self.clock.advance(3)
        self.news(*watchers)
        for n in range(5):
            self.one.guest(f"gil-{n}x")
        self.assertEqual(self.news(watchers[0]), [["+gil-0x"]])
        self.clock.advance(3)
        (told,) = self.told(watchers[0])
        self.assertEqual(len(told), 1)
        self.assertEqual(len(told[0].people), 4)  # type: ignore[union-attr]

    def test_node_that_dies_in_a_big_room(self) -> None:
        """When a node dies, those who were with it are told of together."""
        three = self.node()
        for n in range(12):
            three.guest(f"gil-{n}x")
        watchers = [self.two.guest(f"watcher-{n}") for n in range(20)]
        self.news(*watchers)
        self.clock.advance(3)
        self.clock.advance(3)
        self.news(*watchers)
        self.bury(three)
        self.clock.advance(3)
        (told,) = self.told(watchers[0])
        left = [event.names for event in told if isinstance(event, Left)]
        self.assertEqual([len(names) for names in left], [1, 11])


class TwoNodesTests(NodesTestCase):
    """An account with sessions on two nodes."""

    def setUp(self) -> None:
        super().setUp()
        self.three = self.node()
        self.watchers = [n.guest(f"w{n.number}") for n in (self.one, self.two, self.three)]
        self.news(*self.watchers)
        self.desk = self.one.account("alice")

    def assert_news(self, *words: str) -> None:
        """Each node's watcher has been told the same."""
        self.assertEqual(self.news(*self.watchers), [list(words)] * 3)

    def test_is_told_once(self) -> None:
        """The second session, on another node, is no news, and neither is the end of one of the
        two; the last one's end is."""
        phone = self.two.account("alice")
        self.assert_news("+alice")
        self.one.end(self.desk)
        self.assert_news()
        for node, watcher in zip(self.nodes, self.watchers, strict=True):
            self.assertIn("alice", node.users(watcher))
        desk = self.one.account("alice")
        self.log.pull()
        self.two.end(phone)
        self.assert_news()
        self.one.end(desk)
        self.assert_news("-alice")

    def test_is_announced_once(self) -> None:
        """A second session at the same node is announced to nobody, and neither is its end."""
        before = self.log.end
        second = self.one.account("alice")
        self.one.end(second)
        self.assertEqual(self.log.end, before)

    def test_both_come_at_once(self) -> None:
        """Two sessions that log in at two nodes that do not know of each other yet are told of
        once, and so is their leaving."""
        self.one.end(self.desk)
        self.log.pull()
        self.assert_news("+alice", "-alice")
        for node in (self.one, self.two):
            node.store.hold()
        sessions = [Someone(), Someone()]
        logins = []
        for node, session in zip((self.one, self.two), sessions, strict=True):
            account = self.one.the_account("alice")
            logins.append(node.begin(node.chat.log_in(session, account)))
            node.store.release()
        for login in logins:
            self.successResultOf(login)
        self.assert_news("+alice")
        self.one.end(sessions[0])
        self.two.end(sessions[1])
        self.assert_news("-alice")

    def test_each_comes_as_the_other_goes(self) -> None:
        """While one session ends and another one logs in elsewhere, watchers hear of joining and
        leaving by turns, and the account is here in the end."""
        self.news(*self.watchers)
        self.one.end(self.desk)
        self.two.account("alice")
        heard = self.news(*self.watchers)
        for words in heard:
            self.assertEqual(words, ["-alice", "+alice"][: len(words)])
        for node, watcher in zip(self.nodes, self.watchers, strict=True):
            self.assertIn("alice", node.users(watcher))

    def test_in_its_rooms(self) -> None:
        """A room that the account joins or leaves at one node is joined or left at the other, by
        its session there too, and told of once."""
        phone = self.two.account("alice")
        for node, watcher in zip(self.nodes, self.watchers, strict=True):
            node.join("tea", watcher)
        self.news(phone, *self.watchers)
        self.one.join("tea", self.desk)
        self.assertEqual(self.news(phone), [["+alice#tea"]])
        self.assert_news("+alice#tea")
        self.three.say(self.watchers[2], "hello, tea")
        self.log.pull()
        self.assertEqual(phone.outbox.heard(), ["hello, tea"])
        self.two.leave(phone, "tea")
        self.assertEqual(self.desk.face.rooms, [])
        self.log.pull()
        self.assertEqual(self.desk.face.rooms, ["tea"])
        self.assertEqual(self.one.rooms_of(self.desk), ("lobby",))

    def test_knows_that_it_is_not_alone(self) -> None:
        """Unread messages are not said to have come while an account was away that has a session
        elsewhere."""
        bob = self.three.account("bob")
        self.three.run_now(self.three.chat.direct(bob, "alice", "psst"))
        phone = self.two.back("alice")
        self.assertEqual([unread.alone for unread in phone.outbox.of(Unread)], [False])
        self.one.end(self.desk)
        self.two.end(phone)
        self.log.pull()
        phone = self.two.back("alice")
        self.assertEqual([unread.alone for unread in phone.outbox.of(Unread)], [True])


class AwayTests(NodesTestCase):
    """Whether somebody is here to read what is written to them."""

    def test_somebody_elsewhere_is_not_away(self) -> None:
        """Who writes to an account that is with another node is not told that it is away, until
        it has left there."""
        alice, bob = self.one.account("alice"), self.two.account("bob")
        self.log.pull()
        alice.outbox.take()
        self.one.run_now(self.one.chat.direct(alice, "bob", "1"))
        self.assertEqual(alice.outbox.of(Away), [])
        self.two.end(bob)
        self.log.pull()
        self.one.run_now(self.one.chat.direct(alice, "bob", "2"))
        self.assertEqual([away.name for away in alice.outbox.of(Away)], ["bob"])

    def test_recipient_is_told_of_no_absence(self) -> None:
        """The node that has the recipient tells them the message and nothing else."""
        alice, bob = self.one.account("alice"), self.two.account("bob")
        self.news(bob)
        self.one.run_now(self.one.chat.direct(alice, "bob", "1"))
        self.assertEqual(self.news(bob), [["Told"]])
        self.assertEqual(bob.outbox.heard(), [])


class DeathTests(NodesTestCase):
    """A node dies, starts again, or is taken for dead."""

    limits = Limits(replay=5, max_joined=3, max_rooms=6, max_history=10)

    def setUp(self) -> None:
        super().setUp()
        self.bob = self.two.account("bob")
        self.carol = self.two.account("carol")

    def test_people_leave_once(self) -> None:
        """The people of a node that died leave, each told of once; those who are with another node
        too stay."""
        alice, gil = self.one.account("alice"), self.one.guest("gil")
        self.one.account("bob")
        self.one.join("tea", alice, gil)
        self.two.join("tea", self.bob)
        self.news(self.bob)
        self.bury(self.one)
        self.assertEqual([sorted(words) for words in self.news(self.bob)], [["-alice", "-gil"]])
        self.assertEqual(self.two.users(self.bob, "lobby"), ["bob", "carol"])
        self.assertEqual(self.two.users(self.bob, "tea"), ["bob"])

    def test_restart(self) -> None:
        """People come back to a node that is started again, with rooms and all."""
        self.one.account("alice")
        self.news(self.bob)
        self.bury(self.one)
        three = self.node()
        alice = three.account("alice")
        self.assertEqual(self.news(self.bob), [["-alice", "+alice"]])
        self.assertEqual(three.users(alice), ["alice", "bob", "carol"])

    def test_restart_before_the_death_is_known(self) -> None:
        """Somebody who is back, at a node that was started again, before the others know of its
        death, was never away."""
        self.one.account("alice")
        self.news(self.bob)
        self.one.die()
        three = self.node()
        alice = three.account("alice")
        self.assertEqual(self.news(self.bob), [[]])
        self.log.bury(self.one.number)
        self.assertEqual(self.news(self.bob, alice), [[], []])
        self.assertIn("alice", self.two.users(self.bob))

    def test_taken_for_dead(self) -> None:
        """The people of a node that was taken for dead and lives come back, with their rooms, and
        hear everything."""
        alice, gil = self.one.account("alice"), self.one.guest("gil")
        self.one.join("tea", alice, gil)
        self.two.join("tea", self.bob)
        self.news(self.bob, alice, gil)
        self.log.bury(self.one.number)
        (words,) = self.news(self.bob)
        for name in "alice", "gil":
            told = [word for word in words if word[1:] == name]
            self.assertEqual(told, [f"-{name}", f"+{name}"])
        self.assertEqual(self.two.users(self.bob, "tea"), ["alice", "bob", "gil"])
        self.assertEqual(self.news(alice, gil), [[], []])
        self.two.broadcast(self.bob, "all here?")
        self.log.pull()
        self.assertEqual(alice.outbox.heard(), ["all here?"])
        self.assertEqual((alice.face.farewells, gil.face.farewells), ([], []))

    def test_name_given_away(self) -> None:
        """A guest whose node was taken for dead, and whose name another one has taken meanwhile, is
        told so and has to go; everybody knows the other one."""
        gil, fay = self.one.guest("gil"), self.one.guest("fay")
        self.news(self.bob)
        self.log.bury(self.one.number)
        self.two.store.pull()
        other = self.two.guest("gil")
        self.log.pull()
        self.assertEqual(len(gil.face.farewells), 1)
        self.assertEqual(fay.face.farewells, [])
        self.one.end(gil)
        self.log.pull()
        self.assertEqual(self.two.users(self.bob), ["bob", "carol", "fay", "gil"])
        watcher = self.one.guest("watcher")
        self.assertEqual(self.one.users(watcher), ["bob", "carol", "fay", "gil", "watcher"])
        self.two.end(other)
        self.log.pull()
        self.assertEqual(self.one.users(watcher), ["bob", "carol", "fay", "watcher"])
        self.assertEqual(self.two.users(self.bob), ["bob", "carol", "fay", "watcher"])

    def test_presence_said_again(self) -> None:
        """A node that says anew who is with it changes nothing."""
        self.one.account("alice")
        self.one.join("tea", self.one.guest("gil"))
        self.news(self.bob)
        self.two.store.announce(Asked())
        self.two.store.announce(Asked())
        self.assertEqual(self.news(self.bob), [[]])
        self.assertEqual(self.two.users(self.bob), ["alice", "bob", "carol", "gil"])

    def test_shutdown(self) -> None:
        """A node that is shut down says nothing of each of its people; they leave with it."""
        alice = self.one.account("alice")
        self.news(self.bob)
        self.one.chat.close()
        self.one.end(alice)
        self.assertEqual(self.news(self.bob), [[]])
        self.bury(self.one)
        self.assertEqual(self.news(self.bob), [["-alice"]])

    def test_rooms_of_a_node_that_starts(self) -> None:
        """A node that starts has all rooms, topics and memberships."""
        alice = self.one.account("alice")
        self.one.join("tea", alice)
        self.one.run_now(self.one.chat.set_topic(alice, "tea", "Assam"))
        three: Node = self.node()
        phone = three.back("alice")
        (back,) = phone.outbox.of(Back)
        self.assertEqual([place.room for place in back.places], ["lobby", "tea"])
        rooms = three.chat.rooms(phone)
        self.assertEqual(rooms, Rooms(rooms.time, (("lobby", 3, ""), ("tea", 1, "Assam"))))
