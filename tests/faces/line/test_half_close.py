"""A peer that has sent all that it had to send."""

from .server import (
    SEVERAL,
    ServerTestCase,
)


class HalfCloseTests(ServerTestCase):
    """The peer has ended its input, and waits for the answers."""

    def test_pending_answers_come_first(self) -> None:
        """Posts land and commands are answered before the bye."""
        bob, alice = self.guest("bob"), self.robot("alice")
        bob.take()
        self.store.hold()
        alice.send("one\ntwo\n/users\nthree")
        alice.end()
        self.settle()
        self.assertFalse(alice.transport.disconnecting)
        self.assertEqual(alice.take(), "")
        self.let_go()
        shown = [(e["event"], e.get("text")) for e in alice.take_events()]
        self.assertEqual(
            shown,
            [
                ("message", "one"),
                ("message", "two"),
                ("users", None),
                ("message", "three"),
                ("bye", "bye"),
            ],
        )
        self.assertTrue(alice.gone)
        self.assertIn("* alice left\n", bob.take())

    def test_whole_close(self) -> None:
        """On a transport without half-close, an orderly close keeps what was sent before it."""
        bob, alice = self.guest("bob"), self.guest("alice")
        bob.take()
        self.store.hold()
        alice.send("one\n/topic tea\ntwo")
        self.turn()
        alice.hang_up()
        self.let_go()
        heard = bob.take()
        self.assertLess(heard.index("] alice: one\n"), heard.index("topic of the lobby: tea\n"))
        self.assertTrue(heard.endswith("] alice: two\n* alice left\n"), heard)

    def test_whole_close_behind_many_lines(self) -> None:
        """An orderly close also keeps lines that were not looked at yet."""
        alice = self.guest("alice")
        alice.send("".join(f"line {n}\n" for n in range(3 * SEVERAL)))
        alice.read()
        alice.hang_up()
        self.settle()
        self.assertEqual(len(self.messages), 3 * SEVERAL)

    def test_cut(self) -> None:
        """Lines of a peer that vanishes are not said."""
        bob, alice = self.guest("bob"), self.guest("alice")
        bob.take()
        self.store.hold()
        alice.send("/topic tea\ntwo\n")
        self.turn()
        alice.vanish()
        self.let_go()
        self.assertNotIn("two", bob.take())

    def test_at_the_prompt(self) -> None:
        """A peer that half-closes at the prompt is told bye."""
        peer = self.peer()
        peer.take()
        peer.end()
        self.settle()
        self.assertEqual(peer.take(), "* bye\n")
        self.assertTrue(peer.gone)

    def test_at_the_password(self) -> None:
        """A half-close at a password ends the session, and the name is free."""
        for script in "alice\n", "bob\n":
            self.serve()
            self.register("bob", "builder-pw")
            peer = self.peer()
            self.tell(peer, script)
            peer.end()
            self.settle()
            self.assertTrue(peer.gone, script)
            self.assertTrue(peer.take().endswith("* bye\n"), script)

    def test_at_a_question(self) -> None:
        """A half-close at a question ends the session."""
        for script in "PM\n", "DM\n", "DM\nbob\n":
            self.serve()
            alice = self.guest("alice")
            self.tell(alice, script)
            alice.end()
            self.settle()
            self.assertTrue(alice.gone, script)
            self.assertEqual(alice.take(), "* bye\n", script)

    def test_in_the_middle_of_a_flood(self) -> None:
        """All lines of a flood before a half-close are said."""
        alice = self.guest("alice")
        alice.send("".join(f"line {number}\n" for number in range(300)) + "end", size=1000)
        alice.end()
        self.settle()
        self.assertTrue(alice.gone)
        said = [message.text for message in self.messages]
        self.assertEqual(said, [*(f"line {number}" for number in range(300)), "end"])

    def test_nobody_reads(self) -> None:
        """If the peer closes the direction in which it reads, the connection ends."""
        alice = self.guest("alice")
        alice.protocol.writeConnectionLost()
        self.settle()
        self.assertTrue(alice.gone)

    def test_ctrl_d_at_the_beginning_of_a_line(self) -> None:
        """Ctrl-D in telnet at the beginning of a line ends the input as a half-close does."""
        alice = self.guest("alice")
        answer = self.say(alice, b"/users\r\n\x04never\r\n")
        self.assertTrue(answer.endswith("alice (guest)\n* bye\n"))
        self.assertTrue(alice.gone)
        self.assertEqual(self.messages, [])
