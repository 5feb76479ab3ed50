"""The time that passes, by clocks that are set and clocks that stand still."""

from twisted.trial.unittest import SynchronousTestCase

from twisted_chat.client.clock import Passing


class PassingTests(SynchronousTestCase):
    """The seconds that have passed."""

    def setUp(self) -> None:
        self.wall, self.steady = 1000.0, 5.0
        self.passed = Passing(lambda: self.wall, lambda: self.steady)

    def test_both_agree(self) -> None:
        """As long as nothing happens to the clocks, either is right."""
        self.wall += 3
        self.steady += 3
        self.assertEqual((self.passed(), self.passed()), (3, 3))

    def test_set_back(self) -> None:
        """A wall clock that is set back takes nothing away."""
        self.wall -= 600
        self.steady += 4
        self.assertEqual(self.passed(), 4)
        self.wall += 1
        self.steady += 1
        self.assertEqual(self.passed(), 5)

    def test_sleep(self) -> None:
        """Sleep, in which a steady clock may stand still, counts."""
        self.wall += 3600
        self.assertEqual(self.passed(), 3600)
