"""The words of the five chat servers that this one grew out of, each against the daemon."""

from .terminal import DaemonTestCase


class SeedWordsTest(DaemonTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.alice = self.guest("alice")
        self.bob = self.guest("bob")
        self.alice.see("* bob joined\n")

    def test_PM(self) -> None:
        """PM asks for a message and says it to everyone."""
        self.alice.send("PM\n")
        self.alice.see("* Message to everyone, not private")
        self.alice.send("hello all\n")
        self.bob.see("] alice: hello all\n")

    def test_DM(self) -> None:
        """DM asks for a person and a message."""
        self.alice.send("DM\n")
        self.alice.see("* Private message to")
        self.alice.send("bob\n")
        self.alice.see("* Message to bob")
        self.alice.send("psst\n")
        self.bob.see("] alice -> you: psst\n")

    def test_Enter_takes_back_PM_and_DM(self) -> None:
        """An empty answer cancels, and the next line is said as usual."""
        self.alice.send("PM\n\nDM\n\nDM\nbob\n\nhello\n")
        self.assertNotIn("alice", self.bob.see("] alice: hello\n"))

    def test_EX(self) -> None:
        """EX leaves."""
        self.alice.send("EX\n")
        self.assertTrue(self.alice.rest().endswith("* bye\n"))
        self.bob.see("* alice left\n")

    def test_exit(self) -> None:
        """Exit leaves."""
        self.alice.send("exit\n")
        self.assertTrue(self.alice.rest().endswith("* bye\n"))
        self.bob.see("* alice left\n")

    def test_who(self) -> None:
        """!who lists who is here."""
        self.alice.send("!who\n")
        self.alice.see("* 2 people are in the lobby: alice (guest), bob (guest)\n")

    def test_msg(self) -> None:
        """!msg bob hi."""
        self.alice.send("!msg bob hi\n")
        self.bob.see("] alice -> you: hi\n")

    def test_logout(self) -> None:
        """!logout leaves."""
        self.alice.send("!logout\n")
        self.assertTrue(self.alice.rest().endswith("* bye\n"))

    def test_help(self) -> None:
        """/help lists the commands."""
        self.alice.send("/help\n")
        listed = self.alice.see("EX ")
        for command in ("/users", "/dm NAME MESSAGE", "/bc MESSAGE", "/quit"):
            self.assertIn(command, listed)

    def test_users(self) -> None:
        """/users lists who is here."""
        self.alice.send("/users\n")
        self.alice.see("* 2 people are in the lobby: alice (guest), bob (guest)\n")

    def test_dm_in_quotes(self) -> None:
        """/dm bob "hi there" is said without the quotes."""
        self.alice.send('/dm bob "hi there"\n')
        self.bob.see("] alice -> you: hi there\n")

    def test_bc_in_quotes(self) -> None:
        """/bc "hi all" is said without the quotes."""
        self.alice.send('/bc "hi all"\n')
        self.bob.see("] alice: hi all\n")

    def test_quit(self) -> None:
        """/quit leaves."""
        self.alice.send("/quit\n")
        self.assertTrue(self.alice.rest().endswith("* bye\n"))
        self.bob.see("* alice left\n")
