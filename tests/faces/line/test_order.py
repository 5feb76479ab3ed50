"""The order in which lines are carried out."""

import json

from twisted_chat.core.limits import Limits

from .server import (
    SEVERAL,
    TURN,
    ServerTestCase,
)


class OrderTests(ServerTestCase):
    """Lines are carried out one after the other, however long each takes."""

    limits = Limits(max_in_flight=10, line_rate=0)

    def texts(self) -> list[str]:
        """The texts in the log."""
        return [message.text for message in self.messages]

    def test_lines_that_arrive_while_a_password_is_checked(self) -> None:
        """Lines that arrive while a password is checked wait, and are carried out in order."""
        self.register("alice", "wonderland")
        self.hasher.held = True
        peer = self.peer()
        self.tell(peer, "/json on\n/login alice wonderland\none\n")
        self.tell(peer, "two\n/users\nthree\n")
        self.assertEqual(self.texts(), [])
        self.hasher.release()
        self.settle()
        shown = [(event["event"], event.get("text")) for event in peer.take_events()]
        self.assertEqual(
            shown,
            [
                ("welcome", None),
                ("history", None),
                ("rooms", None),
                ("message", "one"),
                ("message", "two"),
                ("users", None),
                ("message", "three"),
            ],
        )

    def test_many_lines_that_arrive_while_a_password_is_checked(self) -> None:
        """If many lines arrive while a password is checked, reading pauses, and none is lost."""
        self.register("alice", "wonderland")
        self.hasher.held = True
        peer = self.peer()
        lines = [f"line {number}" for number in range(1000)]
        self.tell(peer, "alice\nwonderland\n")
        peer.send("".join(f"{line}\n" for line in lines), size=100)
        self.settle()
        self.assertTrue(peer.paused)
        self.assertEqual(self.texts(), [])
        self.hasher.held = False
        self.hasher.release()
        self.settle()
        self.assertFalse(peer.paused)
        self.assertEqual(self.texts(), lines)

    def test_other_commands_wait_for_what_was_said_before(self) -> None:
        """A command that does not post waits until the posts before it are in the log and shown."""
        for line in (
            "/users",
            "/rooms",
            "/topic",
            "/topic tea time",
            "/history",
            "/help",
            "/json on",
            "/json off",
            "/join tea",
            "/leave tea",
            "/nick bob",
            "/passwd old-pass new-pass",
            "/register alice wonderland",
            "PM",
            "DM",
            "/quit",
            "EX",
        ):
            self.serve()
            alice = self.robot("alice")
            self.tell(alice, "/join tea\n")
            self.store.hold()
            alice.send(f"hello\n{line}\n")
            self.settle()
            self.assertEqual(alice.take(), "", line)
            self.store.release()
            self.settle()
            first, *rest = alice.take().splitlines()
            self.assertEqual(json.loads(first)["text"], "hello", line)
            self.assertNotEqual(rest, [], line)

    def test_posts_do_not_wait_for_posts(self) -> None:
        """Posts of all kinds go to the log together."""
        alice, bob = self.robot("alice"), self.robot("bob")
        alice.take()
        self.store.hold()
        alice.send("one\n/bc two\n/me three\n/dm bob four\n")
        self.settle()
        self.assertEqual(alice.protocol.dialogue.session.in_flight, 4)
        self.store.step()
        heard = [e["text"] for e in bob.take_events() if e["event"] in ("message", "dm")]
        self.assertEqual(heard, ["one", "two", "three", "four"])
        self.store.release()

    def test_private_messages_keep_their_place(self) -> None:
        """A private message keeps its place among other posts, although its recipient is looked
        up."""
        alice, bob = self.guest("alice"), self.robot("bob")
        self.register("carol", "wonderland")
        bob.take()
        self.store.hold()
        alice.send("one\n/dm bob two\nthree\n/dm carol four\nfive\n/dm bob six\n")
        self.settle()
        while self.step():
            pass
        self.store.release()
        heard = [e["text"] for e in bob.take_events() if e["event"] in ("message", "dm")]
        self.assertEqual(heard, ["one", "two", "three", "five", "six"])
        self.assertIn("* carol is not here and did not see that", alice.take())

    def test_flood_is_slowed_by_not_reading(self) -> None:
        """Beyond C{max_in_flight} posts the connection is not read from; nothing is lost."""
        alice = self.guest("alice")
        lines = [f"line {number}" for number in range(500)]
        self.store.hold()
        alice.send("".join(f"{line}\n" for line in lines), size=50)
        self.settle()
        session = alice.protocol.dialogue.session
        self.assertGreaterEqual(session.in_flight, 10)
        self.assertLessEqual(session.in_flight, 11)
        self.assertTrue(alice.paused)
        self.assertFalse(alice.has_sent)
        for _ in range(5):
            self.assertTrue(self.step())
            self.assertLessEqual(session.in_flight, 11)
        self.let_go()
        self.assertFalse(alice.paused)
        self.assertEqual(self.texts(), lines)
        self.assertEqual(session.in_flight, 0)

    def test_flood_does_not_hold_up_others(self) -> None:
        """More than 64 lines in one chunk are carried out over several turns of the reactor."""
        alice, bob = self.guest("alice"), self.guest("bob")
        lines = [f"line {number}" for number in range(3 * SEVERAL)]
        alice.send("".join(f"{line}\n" for line in lines))
        alice.read()
        self.assertEqual(self.texts(), lines[:SEVERAL])
        bob.send("hi\n")
        bob.read()
        self.assertEqual(self.texts()[SEVERAL:], ["hi"])
        self.clock.advance(TURN)
        self.assertEqual(self.texts()[SEVERAL + 1 :], lines[SEVERAL : 2 * SEVERAL])
        self.settle()
        self.assertEqual(self.texts()[SEVERAL + 1 :], lines[SEVERAL:])

    def test_flood_at_the_prompt_does_not_hold_up_others(self) -> None:
        """Refusing a flood at the prompt takes several turns of the reactor."""
        peer = self.peer()
        peer.take()
        peer.send("/nonsense\n" * 3 * SEVERAL)
        peer.read()
        self.assertEqual(peer.take().count("! there is no command"), SEVERAL)
        self.settle()
        self.assertEqual(peer.take().count("! there is no command"), 2 * SEVERAL)

    def test_gone_in_the_middle_of_a_flood(self) -> None:
        """If a peer goes in a flood, accepted posts are kept, and no error is logged."""
        alice = self.guest("alice")
        self.store.hold()
        alice.send("".join(f"line {number}\n" for number in range(200)), size=100)
        self.settle()
        accepted = alice.protocol.dialogue.session.in_flight
        alice.vanish()
        self.let_go()
        self.assertEqual(self.texts(), [f"line {number}" for number in range(accepted)])

    def test_quit_ends_what_came_with_it(self) -> None:
        """Lines behind C{/quit} are not carried out."""
        alice = self.guest("alice")
        answer = self.say(alice, "one\n/quit\ntwo\n")
        self.assertEqual(answer, "* bye\n")
        self.assertTrue(alice.gone)
        self.assertEqual(self.texts(), ["one"])

    def test_factory_pause_stops_reading(self) -> None:
        """When the server goes down, nothing more is read, also from a session whose lines are
        being carried out."""
        alice, bob = self.guest("alice"), self.guest("bob")
        self.store.hold()
        alice.send("one\n/users\n")
        self.settle()
        self.face.pause()
        alice.send("two\n")
        bob.send("three\n")
        self.let_go()
        self.assertEqual(self.texts(), ["one"])
        self.assertTrue(alice.paused)
        self.assertTrue(bob.paused)

    def test_nobody_comes_in_after_the_factory_paused(self) -> None:
        """When the server goes down, newcomers are told so."""
        self.face.pause()
        late = self.peer()
        self.assertEqual(late.take(), "! this server is going down\n")
        self.settle()
        self.assertTrue(late.gone)
