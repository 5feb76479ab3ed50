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
