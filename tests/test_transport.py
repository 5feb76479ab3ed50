"""What lies between Twisted's transports and the rest."""

from twisted.internet.interfaces import ITCPTransport
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import alsoProvides

from twisted_chat.transport import LastWord


class HalfCloseTransport(StringTransport):
    """A transport whose two directions end one by one.

    @ivar wrote_all: our half has ended.
    """

    def __init__(self) -> None:
        super().__init__()
        alsoProvides(self, ITCPTransport)
        self.wrote_all = False

    def loseWriteConnection(self) -> None:
        self.wrote_all = True


class LastWordTests(SynchronousTestCase):
    """A connection that is turned away with an answer."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.transport = HalfCloseTransport()
        self.last_word = LastWord(self.transport, self.clock)
        self.last_word.say(b"no\n")

    def test_answer_comes_before_the_end_of_our_half(self) -> None:
        """The other half stays open, so that what still comes is read."""
        self.assertEqual(self.transport.value(), b"no\n")
        self.assertTrue(self.transport.wrote_all)
        self.assertFalse(self.transport.disconnecting)

    def test_connection_without_halves_is_closed(self) -> None:
        """Where one half cannot end alone."""
        transport = StringTransport()
        LastWord(transport, self.clock).say(b"no\n")
        self.assertEqual(transport.value(), b"no\n")
        self.assertTrue(transport.disconnecting)

    def test_reading_stops_after_64_KiB(self) -> None:
        """And not before."""
        self.last_word.ignore(b"x" * 65536)
        self.assertEqual(self.transport.producerState, "producing")
        self.last_word.ignore(b"x")
        self.assertEqual(self.transport.producerState, "paused")

    def test_deadline(self) -> None:
        """A peer that does not end the connection is cut off after five seconds."""
        self.clock.advance(4.9)
        self.assertFalse(self.transport.disconnected)
        self.clock.advance(0.1)
        self.assertTrue(self.transport.disconnected)
        self.last_word.connection_lost()

    def test_lost(self) -> None:
        """No time runs for a connection that is gone."""
        self.last_word.connection_lost()
        self.assertEqual(self.clock.getDelayedCalls(), [])
