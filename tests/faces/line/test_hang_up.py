"""The server ends connections; readers that are slow."""

from twisted.internet.defer import Deferred

from twisted_chat.core.limits import Limits

from .server import (
    ServerTestCase,
)


class HangUpTests(ServerTestCase):
    """The server goes down."""

    def check_registry(self) -> None:
        """Nobody comes any more."""

    def hang_up(self) -> "Deferred[None]":
        self.chat.close()
        return Deferred.fromCoroutine(self.face.hang_up("going down; bye", 5))

    def test_everyone_is_told_bye(self) -> None:
        """Everybody is told bye, logged in or at a prompt, a password or a question; nobody waits
        for the grace to end."""
        alice, bob, asked = self.guest("alice"), self.robot("bob"), self.guest("carol")
        self.tell(asked, "PM\n")
        stranger, newcomer = self.peer(), self.peer()
        self.tell(newcomer, "dave\n")
        for peer in self.peers:
            peer.take()
        ended = self.hang_up()
        self.assertNoResult(ended)
        self.settle()
        self.successResultOf(ended)
        for peer in alice, asked, stranger, newcomer:
            self.assertTrue(peer.gone)
            self.assertIn("* going down; bye\n", peer.take())
        (bye,) = [event for event in bob.take_events() if event["event"] == "bye"]
        self.assertEqual(bye["text"], "going down; bye")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_bye_begins_a_line(self) -> None:
        """The bye begins a new line behind a prompt that nobody answered."""
        alice, stranger, newcomer = self.guest("alice"), self.peer(), self.peer()
        self.tell(newcomer, "dave\n")
        stranger.take()
        self.hang_up()
        self.settle()
        self.assertEqual(alice.take(), "* going down; bye\n")
        self.assertEqual(stranger.take(), "\n* going down; bye\n")
        self.assertEqual(newcomer.take(), "\x1b[0m\n* going down; bye\n")

    def test_nobody_is_told_that_others_left(self) -> None:
        """When the server goes down, nobody is told that others left."""
        peers = [self.guest(name) for name in ("alice", "bob", "carol")]
        for peer in peers:
            peer.take()
        ended = self.hang_up()
        self.settle()
        self.successResultOf(ended)
        self.assertEqual([peer.take() for peer in peers], ["* going down; bye\n"] * 3)

    def test_who_does_not_go_is_cut_off(self) -> None:
        """A peer that does not close is cut off after the grace."""
        alice, stuck = self.guest("alice"), self.guest("stuck")
        stuck.transport.reading = False
        ended = self.hang_up()
        self.settle()
        self.assertTrue(alice.gone)
        self.assertFalse(stuck.gone)
        self.clock.advance(4)
        self.settle()
        self.assertFalse(stuck.transport.disconnected)
        self.clock.advance(1)
        self.assertTrue(stuck.transport.disconnected)
        self.assertNoResult(ended)
        self.settle()
        self.successResultOf(ended)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_nobody_is_there(self) -> None:
        """Without connections there is nothing to wait for."""
        self.tell(self.guest("alice"), "/quit\n")
        self.successResultOf(self.hang_up())

    def test_what_comes_afterwards_is_not_worked_off(self) -> None:
        """Lines that come after the bye are not carried out."""
        alice = self.guest("alice")
        self.tell(alice, "PM\n")
        ended = self.hang_up()
        alice.protocol.dataReceived(b"too late\n/users\n")
        self.settle()
        self.successResultOf(ended)
        self.assertEqual(self.messages, [])
        self.assertEqual(alice.take(), "* going down; bye\n")


class SlowReaderTests(ServerTestCase):
    """A peer that does not read."""

    limits = Limits(outbox=10_000, stuck_after=60, line_rate=0)

    def test_is_told_how_much_was_skipped(self) -> None:
        """A slow reader is told how much was skipped, and everybody else hears everything at
        once."""
        alice, slow, bob = self.guest("alice"), self.guest("slow"), self.guest("bob")
        for peer in slow, bob:
            peer.take()
        slow.transport.reading = False
        self.tell(alice, "".join(f"{number} {'x' * 90}\n" for number in range(400)))
        self.assertEqual(bob.take().count("alice: "), 400)
        slow.transport.reading = True
        slow.transport.drain()
        *lines, last = slow.take().splitlines()
        self.assertLess(len(lines), 400)
        self.assertEqual(last, f"… {400 - len(lines)} lines skipped; /history shows them")

    def test_is_cut_off_when_stuck(self) -> None:
        """A reader that takes nothing for a while is cut off."""
        alice, slow = self.guest("alice"), self.guest("slow")
        alice.take()
        slow.transport.reading = False
        self.tell(alice, "hello\n")
        self.clock.advance(60)
        self.settle()
        self.assertTrue(slow.gone)
        self.assertEqual(alice.take(), "* slow left\n")
