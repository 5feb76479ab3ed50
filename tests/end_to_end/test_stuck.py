"""Readers that never read; the full size is C{python -m benchmarks.stuck}."""

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.stuck import run


class StuckTest(SynchronousTestCase):
    def test_they_cost_little_and_nobody_else_notices(self) -> None:
        """What waits for them is bounded and shared, and who reads gets everything."""
        outcome = run(stuck=10, messages=60_000)
        self.assertEqual(outcome.lost, 0)
        self.assertLess(outcome.grown, 12 * 2**20)
