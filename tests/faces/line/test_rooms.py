"""The rooms of an account, on all of its connections, as people see them and as programs do."""

import json
from typing import Any

from twisted_chat.core.limits import Limits
from twisted_chat.protocol.jsonlines import encode

from .server import Json, Peer, ServerTestCase

PASSWORD = "s3cret-pw"


class RoomsTestCase(ServerTestCase):
    """Alice and bob have accounts."""

    def setUp(self) -> None:
        super().setUp()
        self.register("alice", PASSWORD)
        self.register("bob", PASSWORD)

    def log_in(self, name: str) -> Peer:
        """Log a person in, with telnet or nc; what they are shown is left to be taken."""
        peer = self.peer()
        peer.send(f"/login {name} {PASSWORD}\n")
        self.settle()
        return peer

    def person(self, name: str) -> Peer:
        """Log a person in who has read everything so far."""
        peer = self.log_in(name)
        peer.take()
        return peer

    def program(self, name: str) -> Peer:
        """Log a program in that has read everything so far."""
        peer = self.peer()
        self.tell(peer, f"/json on\n/login {name} {PASSWORD}\n")
        return peer

    def do(self, peer: Peer, **fields: Any) -> list[Json]:
        """The answer to a request."""
        return self.events(peer, encode(fields))

    def leave_rooms_with_news(self) -> None:
        """Alice is in #dev and #ops, and away while bob says two things in #dev."""
        alice = self.person("alice")
        self.tell(alice, "/join dev\n/join ops\n/quit\n")
        bob = self.person("bob")
        self.tell(bob, "/join dev\none\ntwo\n/quit\n")


class BackTests(RoomsTestCase):
    """Somebody who logs in is back in their rooms."""

    def test_person(self) -> None:
        """A person is shown the lobby, and one line for each other room with news."""
        self.leave_rooms_with_news()
        told = self.log_in("alice").take().partition("Name: ")[2].splitlines()
        self.assertEqual(
            told[2:],
            ["* #dev: 2 new; /join dev shows them"],
        )

    def test_what_is_new(self) -> None:
        """/join of a room that one is back in shows what is new, and is told as a change of the
        current room; the second time nothing is new."""
        self.leave_rooms_with_news()
        alice = self.person("alice")
        told = self.say(alice, "/join dev\n")
        self.assertRegex(
            told,
            r"^\[..:..\] #dev bob: one\n\[..:..\] #dev bob: two\n"
            r"\* 1 person is in #dev: alice\n\* now talking in #dev\n$",
        )
        self.assertEqual(self.say(alice, "/join dev\n"), "* now talking in #dev\n")
        self.tell(alice, "/quit\n")
        self.assertNotIn("new", self.log_in("alice").take().partition("Name: ")[2])

    def test_live(self) -> None:
        """What is said in one's rooms is heard from the login on; plain lines go to the lobby."""
        self.leave_rooms_with_news()
        alice, bob = self.person("alice"), self.person("bob")
        bob.take()
        self.tell(bob, "/to dev\nthree\n")
        self.assertRegex(alice.take(), r"\[..:..\] #dev bob: three\n$")
        self.tell(alice, "hello\n")
        self.assertRegex(bob.take(), r"\[..:..\] alice: hello\n$")

    def test_program(self) -> None:
        """A program gets all its rooms, with what is new there."""
        self.leave_rooms_with_news()
        peer = self.newcomer()
        told = self.say(peer, f"/json on\n/login alice {PASSWORD}\n")
        self.assertIn('"event":"hello"', told)
        alice = self.newcomer()
        self.tell(alice, "/json on\n")
        *_, rooms = self.do(alice, do="login", name="alice", password=PASSWORD)
        self.assertEqual((rooms["event"], rooms["joined"]), ("rooms", True))
        rows = [(row["room"], row["new"], row["seq"] - row["read"]) for row in rooms["rooms"]]
        # Behind the mark are two messages, the making of the room, and bob as a member.
        self.assertEqual(rows, [("lobby", 0, 0), ("dev", 2, 3), ("ops", 0, 0)])

    def test_after_an_evening(self) -> None:
        """Whoever comes back in text and in JSON is told at once of what is new in each room, of a
        topic, and of private messages; leaving a room on one connection leaves it on all."""
        alice = self.person("alice")
        self.tell(alice, "/join dev\n/join ops\n/quit\n")
        bob = self.person("bob")
        self.tell(bob, "/join dev\none\n/topic tea\n/join ops\ntwo\n/dm alice psst\n/quit\n")
        desk, phone = self.log_in("alice"), self.newcomer()
        told = desk.take().partition("Name: ")[2].splitlines()
        self.assertEqual(
            told[2:5],
            [
                "* #dev: 1 new; /join dev shows it",
                "* #ops: 1 new; /join ops shows it",
                "* 1 private message came while you were away:",
            ],
        )
        self.assertRegex(told[5], r"^\[..:..\] bob -> you: psst$")
        since = encode({"do": "since", "places": {"dev": 1, "ops": 1}})
        phone.send(b"/json on\n" + since)
        phone.send(f"/login alice {PASSWORD}\n")
        self.settle()
        events = [json.loads(line) for line in phone.take().splitlines() if line[:1] == "{"]
        kinds = [event["event"] for event in events]
        self.assertEqual(
            " ".join(kinds),
            "hello welcome history rooms"
            " unread dm history members message topic history members message history",
        )
        self.tell(desk, "/leave ops\n")
        read, left = phone.take_events()
        self.assertEqual((read["event"], read["room"], read["seq"]), ("read", "@bob", 1))
        self.assertEqual((left["event"], left["room"]), ("left", "ops"))
        (where,) = self.do(phone, do="where")
        self.assertEqual([row["room"] for row in where["rooms"]], ["lobby", "dev"])

    def test_what_is_read_on_one_is_read_on_all(self) -> None:
        """What was shown on one connection, and answered with a line, is told to the others as
        read, and is not new any more."""
        self.leave_rooms_with_news()
        phone = self.program("alice")
        desk = self.person("alice")
        self.tell(desk, "/join dev\n")
        self.assertEqual(phone.take_events(), [])
        self.tell(desk, "hm\n")
        read, _said = phone.take_events()
        self.assertEqual((read["event"], read["room"], read["seq"]), ("read", "dev", 4))
        (where,) = self.do(phone, do="where")
        self.assertEqual([row["new"] for row in where["rooms"]], [0, 0, 0])


class LeavingTests(RoomsTestCase):
    """Rooms are joined and left for all connections of an account."""

    def test_joined_elsewhere(self) -> None:
        """A connection is told that its person has joined a room on another one, hears the room,
        and is shown what is there when it joins, too."""
        desk, phone = self.person("alice"), self.person("alice")
        self.tell(desk, "/join dev\n")
        self.assertEqual(phone.take(), "* alice joined #dev\n")
        self.tell(desk, "hello\n")
        self.assertRegex(phone.take(), r"^\[..:..\] #dev alice: hello\n$")
        self.assertIn("1 person is in #dev: alice\n* now talking", self.say(phone, "/join dev\n"))

    def test_left_elsewhere(self) -> None:
        """If the current room is left on another connection, the lobby becomes the current one;
        another room does not matter."""
        desk, phone, laptop = (self.person("alice") for _ in range(3))
        self.tell(desk, "/join dev\n/join ops\n")
        self.tell(phone, "/join dev\n")
        self.tell(laptop, "/join ops\n")
        self.assertEqual(
            self.say(desk, "/leave dev\n"),
            "* alice left #dev\n",
        )
        self.assertEqual(phone.take(), "* alice left #dev\n* now talking in the lobby\n")
        self.assertEqual(laptop.take(), "* alice left #dev\n")
        self.assertIn("ops alice: there", self.said(phone, laptop, "there"))
        self.assertIn("] alice: here", self.said(laptop, phone, "here"))

    def said(self, by: Peer, other: Peer, text: str) -> str:
        """What one connection is shown of a line of the other."""
        self.tell(other, f"{text}\n")
        return by.take()

    def test_program_left_elsewhere(self) -> None:
        """A program is told so outside of any answer."""
        desk, phone = self.person("alice"), self.program("alice")
        self.do(phone, do="join", room="dev", label="1")
        self.tell(desk, "/leave dev\n")
        told = [(event["event"], event.get("label")) for event in phone.take_events()]
        self.assertEqual(told, [("left", None), ("talking", None)])

    def test_left_while_it_is_joined(self) -> None:
        """A room that is left on one connection while the other one joins it is not the current
        room of either."""
        desk, phone = self.person("alice"), self.person("alice")
        self.tell(desk, "/join dev\n")
        self.store.hold()
        for peer, line in ((phone, "/join dev\n"), (desk, "/leave dev\n")):
            peer.send(line)
            self.settle()
        self.let_go()
        for peer in desk, phone:
            where = self.say(peer, "/where\n")
            self.assertEqual(where, "* what you type goes to the lobby\n* you are in the lobby\n")


class CurrentRoomTests(RoomsTestCase):
    """/to and /where."""

    def test_to(self) -> None:
        """/to makes a room that one is in the current one, and joins none."""
        alice = self.person("alice")
        self.tell(alice, "/join dev\n/join lobby\n")
        self.assertEqual(self.say(alice, "/to #Dev\n"), "* now talking in #dev\n")
        self.tell(alice, "hi\n")
        self.assertEqual(self.messages[-1].room.name, "dev")
        self.person("bob").send("/join tea\n")
        self.settle()
        alice.take()
        told = self.say(alice, "/to tea\n/to nowhere\n/to dev hi\n")
        self.assertEqual(
            told.splitlines(),
            [
                "! you are not in #tea; /join tea first",
                '! there is no room "nowhere"; /rooms lists them',
                "! usage: /to ROOM; /say ROOM MESSAGE says something there",
            ],
        )

    def test_where(self) -> None:
        """/where tells the current room, the others, and what is new there; a guest has seen
        everything."""
        self.leave_rooms_with_news()
        alice, zoe = self.person("alice"), self.guest("zoe")
        self.assertEqual(
            self.say(alice, "/where\n"),
            "* what you type goes to the lobby\n* you are in the lobby, #dev (2 new) and #ops\n",
        )
        self.tell(zoe, "/join dev\n")
        self.assertEqual(
            self.say(zoe, "/where\n"),
            "* what you type goes to #dev\n* you are in the lobby and #dev\n",
        )


class ReadTests(RoomsTestCase):
    """/read."""

    def test_remark(self) -> None:
        """A person is told what is read: the current room, another one, or a conversation."""
        bob = self.person("bob")
        self.tell(bob, "/dm alice psst\n")
        alice = self.person("alice")
        self.tell(alice, "/join dev\n")
        for line, remark in (
            ("/read", "#dev is marked as read"),
            ("/read #Lobby", "the lobby is marked as read"),
            ("/read @Bob:", "@bob is marked as read"),
        ):
            self.assertEqual(self.say(alice, f"{line}\n"), f"* {remark}\n")
        self.assertIn("you are not in", self.say(self.person("bob"), "/read dev\n"))

    def test_without_showing(self) -> None:
        """What is read without being shown is not new any more."""
        self.leave_rooms_with_news()
        alice = self.person("alice")
        self.tell(alice, "/read dev\n/quit\n")
        self.assertNotIn("new", self.log_in("alice").take().partition("Name: ")[2])

    def new(self, peer: Peer) -> list[tuple[int, int]]:
        """How far the lobby, #dev and #ops are read, and how much is new there."""
        (where,) = self.do(peer, do="where")
        return [(row["read"], row["new"]) for row in where["rooms"]]

    def test_up_to_a_message(self) -> None:
        """A program says up to which message it has read, and is told of what other connections
        say if that moves the mark."""
        self.leave_rooms_with_news()
        alice, phone = self.program("alice"), self.program("alice")
        self.assertEqual(self.do(alice, do="read", of="dev", seq=3), [])
        self.assertEqual(self.new(alice), [(0, 0), (3, 1), (1, 0)])
        (read,) = phone.take_events()
        self.assertEqual((read["event"], read["room"], read["seq"]), ("read", "dev", 3))
        for seq in (3, 2, 0):
            self.assertEqual(self.do(alice, do="read", of="dev", seq=seq), [])
        self.assertEqual(phone.take_events(), [])
        self.assertEqual(self.new(phone), [(0, 0), (3, 1), (1, 0)])

    def test_who_marks_by_itself(self) -> None:
        """After a C{read} with a C{seq} a line marks nothing; after one without, as people type
        it, lines go on marking what was shown."""
        bob = self.person("bob")
        for fields, news in (({"seq": 0}, 1), ({}, 0)):
            alice = self.program("alice")
            self.do(alice, do="read", of="lobby", **fields)
            self.tell(bob, "hello\n")
            self.tell(alice, "\n")
            self.assertEqual(self.new(alice)[0][1], news, fields)
            self.tell(alice, "/quit\n")


class GuestTests(ServerTestCase):
    """Guests, whose rooms end with them."""

    limits = Limits(line_rate=0)

    def test_read(self) -> None:
        """A guest has no marks. C{read} of a room does nothing; of a person it is refused."""
        zoe = self.robot("zoe")
        (done,) = self.events(zoe, encode({"do": "read", "label": "7"}))
        self.assertEqual(done["event"], "done")
        (error,) = self.events(zoe, encode({"do": "read", "of": "@bob"}))
        self.assertEqual(error["code"], "forbidden")
