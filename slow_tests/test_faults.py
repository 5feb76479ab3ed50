"""What the daemon survives, in short; the full size is C{python -m benchmarks.faults}."""

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.faults.__main__ import run


class FaultTest(SynchronousTestCase):
    def survive(self, name: str) -> None:
        self.assertEqual(run(name, short=True).broken, [])

    def test_kill(self) -> None:
        """What was confirmed is in the log, once and in order."""
        self.survive("kill")

    def test_power_loss(self) -> None:
        """Nothing is confirmed or shown that is not on the disk."""
        self.survive("fsync")

    def test_readers_that_never_read(self) -> None:
        """Nobody else notices."""
        self.survive("stuck")

    def test_thousands_at_the_door(self) -> None:
        """They are sent away, and people chat on."""
        self.survive("storm")

    def test_flooders(self) -> None:
        """Nobody loses anything, and neither do they."""
        self.survive("flood")

    def test_wrong_passwords(self) -> None:
        """People chat on, and names are not told apart."""
        self.survive("guess")

    def test_resets(self) -> None:
        """Nothing is left of who has gone."""
        self.survive("resets")

    def test_no_descriptors(self) -> None:
        """People who are here go on chatting, and others can log in again later."""
        self.survive("descriptors")

    def test_handshakes_that_stop_on_the_way(self) -> None:
        """They are cut off, and others chat over TLS."""
        self.survive("handshakes")

    def test_certificates_and_signals(self) -> None:
        """New ones are shown, nobody is dropped, and nothing is lost at the end."""
        self.survive("signals")

    def test_full_disk(self) -> None:
        """Nothing is confirmed that is not kept, all can be read, and it recovers by itself."""
        self.survive("disk")

    def test_failing_disk(self) -> None:
        """What was confirmed is kept, and what was refused does not come true after a crash."""
        self.survive("eio")

    def test_clock(self) -> None:
        """Nobody is dropped when it is set, and timers go on."""
        self.survive("clock")

    def test_mutated_sessions(self) -> None:
        """Nothing ends the daemon, reaches a screen or the log raw, or harms who does no harm."""
        self.survive("fuzz")

    def test_lines_and_subnegotiations_without_an_end(self) -> None:
        """Each is cut off at its cap, and the peer that sent too long a line is told why."""
        self.survive("endless")

    def test_telnet_commands_without_end(self) -> None:
        """People who talk meanwhile get every receipt, and newcomers can log in."""
        self.survive("telnet")

    def test_many_register_one_name_at_once(self) -> None:
        """One gets it, in whatever case and width, and everyone else is told that it is taken."""
        self.survive("race")

    def test_link_that_goes_down(self) -> None:
        """Who was behind it is gone for all, their client says so, and nothing counts as read."""
        self.survive("link")

    def test_reset_after_the_login(self) -> None:
        """Private messages that nobody has seen are shown at the next login."""
        self.survive("unread")

    def test_people_and_rooms_that_are_not_there(self) -> None:
        """A session that asks for them holds up nobody else."""
        self.survive("nearest")

    def test_ghosts(self) -> None:
        """Nobody stays whose connection has ended, and a half-close loses nothing."""
        self.survive("ghosts")
