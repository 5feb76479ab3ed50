"""What several nodes on one PostgreSQL survive, in short; the full size is
C{python -m benchmarks.faults.cluster}."""

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.faults.cluster import SHORT, check
from tests import postgres


class ClusterFaultTest(SynchronousTestCase):
    """Everyone hears one log, once and in order, and every receipt is in it."""

    skip = postgres.missing()

    def survive(self, name: str) -> None:
        self.assertEqual(check(name, SHORT).broken, [])

    def test_node_killed(self) -> None:
        """After C{kill -9} of a node, people go on at the others; those of the dead node leave, and
        their names are free again."""
        self.survive("kill")

    def test_node_stopped_and_continued(self) -> None:
        """What a node does that was stopped for seconds is done once."""
        self.survive("pause")

    def test_connections_terminated(self) -> None:
        """Nodes whose connections to PostgreSQL are terminated find out what became of them."""
        self.survive("backends")

    def test_postgresql_killed_and_restarted(self) -> None:
        """While PostgreSQL is away, posts are refused, and nothing of them is kept."""
        self.survive("crash")

    def test_answers_lost(self) -> None:
        """A node whose connection is frozen, or loses answers, finds out what PostgreSQL did."""
        self.survive("freeze")

    def test_failover_to_a_synchronous_standby(self) -> None:
        """A synchronous standby has every receipt."""
        self.survive("failover")

    def test_failover_to_a_standby_that_lags(self) -> None:
        """If the database loses messages, people are told so, and no number is used twice."""
        self.survive("fork")
