"""What a connection has to do for the private messages that it was shown to count as read."""

from .server import Peer, ServerTestCase


class ReadTests(ServerTestCase):
    """Alice has written to Bob."""

    def setUp(self) -> None:
        super().setUp()
        self.register("bob", "wonderland")
        self.register("alice", "wonderland")
        alice = self.peer()
        self.tell(alice, "/login alice wonderland\n/dm bob psst\n/quit\n")

    def log_in(self, before: str = "") -> Peer:
        """Bob logs in, and is shown the unread messages."""
        peer = self.peer()
        self.tell(peer, f"{before}/login bob wonderland\n")
        return peer

    def check(self, peer: Peer, *, read: bool) -> None:
        """End this connection, and check whether the message is unread."""
        peer.vanish()
        self.settle()
        last = self.peer()
        shown = self.say(last, "/login bob wonderland\n")
        last.vanish()
        self.assertEqual("psst" not in shown, read, shown)

    def test_gone_after_the_login(self) -> None:
        """If nothing comes after the login, the messages that it showed stay unread."""
        self.check(self.log_in(), read=False)

    def test_line(self) -> None:
        """Any line marks the message as read, whatever a person or a program sends."""
        for line in ("hello\n", "\n", "/nonsense\n", "/quit\n"):
            for before in ("", "/json on\n"):
                self.serve()
                self.setUp()
                peer = self.log_in(before)
                self.tell(peer, line)
                self.check(peer, read=True)

    def test_half_a_line(self) -> None:
        """A line without an end does not mark the message as read."""
        peer = self.log_in()
        self.tell(peer, "hel")
        self.check(peer, read=False)

    def test_telnet_answers_by_itself(self) -> None:
        """A telnet negotiation does not mark the message as read."""
        peer = self.log_in()
        self.tell(peer, b"\xff\xfe\x01\xff\xfb\x00\xff\xf1")
        self.check(peer, read=False)

    def test_lines_that_came_with_the_login(self) -> None:
        """Lines that were sent before the message do not mark it as read, however they were cut
        into pieces."""
        for size, lines in ((None, 200), (1, 40), (30, 40)):
            self.serve()
            self.setUp()
            peer = self.peer()
            self.hasher.held = True
            peer.send("/login bob wonderland\n/users\n" + lines * "hello\n", size)
            self.settle()
            self.let_go()
            self.assertIn("psst", peer.take())
            self.check(peer, read=False)

    def test_answer_to_a_question(self) -> None:
        """The answer to a question is typed after the messages that came meanwhile, so it marks
        them as read."""
        peer = self.log_in()
        self.tell(peer, "PM\n")
        alice = self.peer()
        self.tell(alice, "/login alice wonderland\n/dm bob pssst\n/quit\n")
        self.tell(peer, "hello\n")
        self.check(peer, read=True)

    def test_end_of_the_input(self) -> None:
        """The end of the input does not mark the message as read: the connection may have been
        cut."""
        peer = self.log_in()
        peer.end()
        self.settle()
        self.check(peer, read=False)
