"""What the daemon survives, in short; the full size is C{python -m benchmarks.faults}."""

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.faults.__main__ import run


class FaultTest(SynchronousTestCase):
    def survive(self, name: str) -> None:
        self.assertEqual(run(name, short=True).broken, [])

    def test_kill(self) -> None:
        """After C{kill -9}, every message that was confirmed is in the log, once and in order."""
        self.survive("kill")

    def test_power_loss(self) -> None:
        """No message is confirmed or shown that is not on the disk."""
        self.survive("fsync")

    def test_readers_that_never_read(self) -> None:
        """Nobody else notices readers that never read."""
        self.survive("stuck")

    def test_thousands_at_the_door(self) -> None:
        """Thousands that do not log in are sent away, and people chat on."""
        self.survive("storm")

    def test_flooders(self) -> None:
        """Neither flooders nor others lose anything."""
        self.survive("flood")

    def test_wrong_passwords(self) -> None:
        """People chat on during a flood of wrong passwords, which does not tell which names are
        registered."""
        self.survive("guess")

    def test_resets(self) -> None:
        """Nothing is left of connections that were reset."""
        self.survive("resets")

    def test_no_descriptors(self) -> None:
        """Without a free descriptor, people who are here go on chatting, and others can log in
        later."""
        self.survive("descriptors")

    def test_handshakes_that_stop_on_the_way(self) -> None:
        """Handshakes that stop half-way are cut off, and others chat over TLS."""
        self.survive("handshakes")

    def test_certificates_and_signals(self) -> None:
        """New certificates are shown, nobody is disconnected, and nothing is lost at the end."""
        self.survive("signals")

    def test_full_disk(self) -> None:
        """On a full disk nothing is confirmed that is not kept, everything can be read, and the
        server recovers by itself."""
        self.survive("disk")

    def test_failing_disk(self) -> None:
        """On a failing disk what was confirmed is kept, and what was refused is not in the log
        after a crash."""
        self.survive("eio")

    def test_clock(self) -> None:
        """Nobody is disconnected when the clock is set, and timers go on."""
        self.survive("clock")

    def test_mutated_sessions(self) -> None:
        """Mutated sessions neither end the daemon, nor reach a screen or the log raw, nor harm
        others."""
        self.survive("fuzz")

    def test_lines_and_subnegotiations_without_an_end(self) -> None:
        """Lines and subnegotiations without an end are cut off at their limits, and the peer that
        sent too long a line is told why."""
        self.survive("endless")

    def test_telnet_commands_without_end(self) -> None:
        """During a flood of telnet commands people get every receipt, and newcomers can log in."""
        self.survive("telnet")

    def test_many_register_one_name_at_once(self) -> None:
        """Of many who register one name at once, in any case and width, one gets it, and the others
        are told that it is taken."""
        self.survive("race")

    def test_link_that_goes_down(self) -> None:
        """People behind a link that goes down are gone for all, their clients say so, and nothing
        counts as read."""
        self.survive("link")

    def test_reset_after_the_login(self) -> None:
        """Private messages that nobody has seen are shown at the next login."""
        self.survive("unread")

    def test_people_and_rooms_that_are_not_there(self) -> None:
        """A session that asks for people and rooms that are not there delays nobody else."""
        self.survive("nearest")

    def test_ghosts(self) -> None:
        """Nobody stays whose connection has ended, and a half-close loses nothing."""
        self.survive("ghosts")

    def test_upgrade(self) -> None:
        """After C{kill -9} at any moment of an upgrade, everything is there, once."""
        self.survive("upgrade")

    def test_move(self) -> None:
        """After C{kill -9} at any moment of a move from one engine to the other and back,
        everything is there, once."""
        self.survive("move")
