"""What the daemon survives, in short; the full size is C{python -m benchmarks.faults}."""

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.faults.__main__ import run


class FaultTest(SynchronousTestCase):
    def survive(self, name: str) -> None:
        self.assertEqual(run(name, short=True).broken, [])

    def test_readers_that_never_read(self) -> None:
        """Nobody else notices."""
        self.survive("stuck")

    def test_handshakes_that_stop_on_the_way(self) -> None:
        """They are cut off, and others chat over TLS."""
        self.survive("handshakes")

    def test_certificates_and_signals(self) -> None:
        """New ones are shown, nobody is dropped, and nothing is lost at the end."""
        self.survive("signals")
