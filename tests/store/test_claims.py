"""Numbers for guests, which are taken ahead."""

from collections.abc import Sequence

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from twisted_chat.core.errors import Refusal
from twisted_chat.store.claims import GuestNumbers


class GuestNumbersTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.fetched: list[Deferred[Sequence[int]]] = []
        self.numbers = GuestNumbers(self.fetch)

    def fetch(self) -> Deferred[Sequence[int]]:
        self.fetched.append(Deferred())
        return self.fetched[-1]

    def test_waits_for_the_first(self) -> None:
        """Those who ask before any number was fetched get theirs in the order of asking."""
        first, second = self.numbers.take(), self.numbers.take()
        self.assertNoResult(first)
        (fetched,) = self.fetched
        fetched.callback(range(1, 101))
        self.assertEqual(self.successResultOf(first), 1)
        self.assertEqual(self.successResultOf(second), 2)

    def test_ahead(self) -> None:
        """New numbers are fetched before the last one is given out, and once."""
        first = self.numbers.take()
        self.fetched[0].callback(range(1, 101))
        self.assertEqual(self.successResultOf(first), 1)
        for number in range(2, 101):
            self.assertEqual(self.successResultOf(self.numbers.take()), number)
        self.assertEqual(len(self.fetched), 2)
        self.fetched[1].callback([201])
        self.assertEqual(self.successResultOf(self.numbers.take()), 201)

    def test_fails(self) -> None:
        """Those who wait are refused when no number can be fetched, and the next one who asks has
        it tried again."""
        taken = self.numbers.take()
        self.fetched[0].errback(Refusal("unavailable", "it is away"))
        self.failureResultOf(taken, Refusal)
        again = self.numbers.take()
        self.fetched[1].callback([7])
        self.assertEqual(self.successResultOf(again), 7)

    def test_fails_ahead(self) -> None:
        """A refusal that nobody waits for is not told, but a defect is logged."""
        first = self.numbers.take()
        self.fetched[0].callback([1, 2])
        self.assertEqual(self.successResultOf(first), 1)
        self.fetched[1].errback(Refusal("unavailable", "it is away"))
        self.assertEqual(self.successResultOf(self.numbers.take()), 2)
        self.fetched[2].errback(ValueError("a defect"))
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_cancelled(self) -> None:
        """Who no longer waits gets no number."""
        first, second = self.numbers.take(), self.numbers.take()
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.fetched[0].callback([1])
        self.assertEqual(self.successResultOf(second), 1)
