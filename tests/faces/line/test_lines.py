"""How bytes become lines; idle connections; signs of life."""

import json
import sys

from twisted_chat.core.limits import Limits

from .server import (
    DO_BINARY,
    Peer,
    ServerTestCase,
)


class LineTests(ServerTestCase):
    """How bytes become lines."""

    def test_64_KiB_without_an_end_is_cut_off(self) -> None:
        """A line of more than 64 KiB ends the session with a sentence, and nothing after it is
        read."""
        bob, alice = self.guest("bob"), self.guest("alice")
        bob.take()
        answer = self.say(alice, "x" * 70_000 + "\nhello\n", size=1000)
        self.assertEqual(answer, "! a line of more than 65536 bytes ends the session\n* bye\n")
        self.assertTrue(alice.gone)
        self.assertEqual(bob.take(), "* alice left\n")

    def test_64_KiB_at_the_prompt_are_cut_off(self) -> None:
        """The limit on the length of a line also holds before login."""
        peer = self.peer()
        peer.take()
        answer = self.say(peer, "x" * 70_000, size=65536)
        self.assertEqual(answer, "! a line of more than 65536 bytes ends the session\n* bye\n")
        self.assertTrue(peer.gone)

    def test_64_KiB_at_the_password_are_cut_off(self) -> None:
        """A line of more than 64 KiB at a password ends the session, and the name is free."""
        peer = self.peer()
        self.tell(peer, "alice\n")
        self.assertIn(
            "! a line of more than 65536 bytes ends the session\n* bye\n",
            self.say(peer, "x" * 70_000),
        )
        self.assertTrue(peer.gone)
        self.assertIn("* Welcome, alice.", self.say(self.peer(), "/guest alice\n"))

    def test_lines_before_an_endless_one_are_said(self) -> None:
        """The lines before an endless one are said."""
        alice = self.guest("alice")
        self.store.hold()
        alice.send("one\ntwo\n/users\n" + "x" * 70_000)
        alice.send("three\n")
        self.settle()
        self.let_go()
        self.assertTrue(alice.gone)
        self.assertEqual([m.text for m in self.messages], ["one", "two"])

    def test_ends_of_lines(self) -> None:
        """LF, CR LF and CR NUL end a line alike."""
        self.tell(self.guest("alice"), b"one\ntwo\r\nthree\r\0four\n")
        self.assertEqual([m.text for m in self.messages], ["one", "two", "three", "four"])

    def test_telnet_offers_are_refused(self) -> None:
        """Telnet's offers are refused, and leave the line around them as it is."""
        alice = self.guest("alice")
        answer = self.ask(alice, b"he\xff\xfb\x18l\xff\xfd\x03lo\r\n")
        self.assertEqual(answer, b"\xff\xfe\x18\xff\xfc\x03" + DO_BINARY)
        self.assertEqual([m.text for m in self.messages], ["hello"])

    def test_telnet_without_end_is_cut_off(self) -> None:
        """A subnegotiation without an end cuts the peer off."""
        bob, alice = self.guest("bob"), self.guest("alice")
        bob.take()
        self.tell(alice, b"\xff\xfa" + b"x" * 5000)
        self.assertTrue(alice.gone)
        self.assertEqual(bob.take(), "* alice left\n")

    def test_telnet_interrupt(self) -> None:
        """Ctrl-C in telnet discards what was typed, and says how to leave."""
        alice = self.guest("alice")
        self.assertEqual(self.say(alice, b"half\xff\xf4"), "* /quit leaves\n")
        self.tell(alice, "whole\r\n")
        self.assertEqual([m.text for m in self.messages], ["whole"])


class SizeTests(ServerTestCase):
    """Thousands of sessions are idle."""

    def test_idle_session_is_small(self) -> None:
        """The objects of an idle session have no dict, and are no more than needed."""
        for end in b"\n", b"\r\n":
            alice = self.peer()
            self.tell(alice, b"/guest" + end)
            dialogue = alice.protocol.dialogue
            parts = (alice.protocol, dialogue, dialogue.session, dialogue.outbox)
            self.assertFalse([part for part in parts if hasattr(part, "__dict__")])
            self.assertLessEqual(sum(map(sys.getsizeof, parts)), 640)
            self.assertIsNone(dialogue.greeting)
            self.assertIsNone(dialogue._intake)
            self.assertIsNone(alice.protocol._telnet)


class KeepaliveTests(ServerTestCase):
    """Keepalives, which people do not see."""

    limits = Limits(keepalive=60, line_rate=0)

    def setUp(self) -> None:
        super().setUp()
        self.face.start()
        self.addCleanup(self.face.stop)

    def signs(self, peer: Peer, seconds: float = 60) -> bytes:
        """The bytes that a peer is sent in this time while nothing happens."""
        self.settle()
        peer.take_bytes()
        self.clock.advance(seconds)
        self.settle()
        return peer.take_bytes()

    def test_programs(self) -> None:
        """A program gets a ping event once a minute."""
        robot = self.robot("robot")
        for _ in range(3):
            self.assertEqual(
                [e["event"] for e in map(json.loads, self.signs(robot).split(b"\n")[:-1])], ["ping"]
            )
        self.assertEqual(self.signs(robot, 30), b"")

    def test_telnet(self) -> None:
        """Telnet gets a NOP (RFC 854), once it is known to be telnet."""
        telnet = self.guest("alice")
        self.assertEqual(self.signs(telnet), b"")
        self.tell(telnet, b"\xff\xf4\xff\xfd\x06")  # Ctrl-C
        self.assertEqual(self.signs(telnet), b"\xff\xf1")

    def test_nc(self) -> None:
        """C{nc} gets nothing, as it would show it, also if its lines end as telnet's do."""
        for name, end in ("bob", "\n"), ("carol", "\r\n"):
            peer = self.peer()
            self.tell(peer, f"/guest {name}{end}hello \u00ff{end}")
            self.assertEqual(self.signs(peer), b"")

    def test_somebody_for_whom_something_waits(self) -> None:
        """A peer for which something waits gets no keepalive."""
        robot = self.robot("robot")
        robot.transport.reading = False
        self.say(self.guest("bob"), "hello\n")
        self.clock.advance(50)  # before it counts as stuck
        self.face.keep_alive()
        self.settle()
        robot.transport.reading = True
        robot.transport.drain()
        kinds = [event["event"] for event in robot.take_events()]
        self.assertIn("message", kinds)
        self.assertNotIn("ping", kinds)

    def test_none(self) -> None:
        """With C{--keepalive 0} there are no keepalives."""
        self.face.stop()
        self.serve(Limits(keepalive=0, line_rate=0))
        self.face.start()
        self.assertEqual(self.signs(self.robot("robot"), 600), b"")
