"""When the server is told what was read."""

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from twisted_chat.client.marks import Marks


class MarksTests(SynchronousTestCase):
    """Somebody reads in many places."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.sent: list[tuple[str, int]] = []
        self.marks = Marks(self.clock, lambda place, seq: self.sent.append((place, seq)))
        self.marks.is_open = True

    def test_gathers(self) -> None:
        """Of what is read in one place within a while, the last is sent."""
        for seq in (3, 5, 4):
            self.marks.add("dev", seq)
        self.assertEqual(self.sent, [])
        self.clock.advance(2)
        self.assertEqual(self.sent, [("dev", 5)])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_few_at_once(self) -> None:
        """Many places are marked one after the other, slower than a server takes lines."""
        for number in range(50):
            self.marks.add(f"room{number}", 1)
        for second in range(0, 30, 2):
            self.clock.advance(2)
            self.assertLessEqual(len(self.sent), 4 + 2 * second)
        self.assertEqual(len(self.sent), 50)

    def test_without_a_connection(self) -> None:
        """What is read while there is no connection is sent when there is one."""
        self.marks.add("dev", 3)
        self.marks.is_open = False
        self.clock.advance(2)
        self.marks.add("dev", 4)
        self.clock.advance(60)
        self.assertEqual(self.sent, [])
        self.marks.is_open = True
        self.marks.go_on()
        self.clock.advance(2)
        self.assertEqual(self.sent, [("dev", 4)])

    def test_last(self) -> None:
        """On leaving, what waits is sent at once, unless it is much."""
        for number in range(50):
            self.marks.add(f"room{number}", 1)
        self.marks.send()
        self.marks.stop()
        self.assertEqual(len(self.sent), 10)
        self.assertEqual(self.clock.getDelayedCalls(), [])
