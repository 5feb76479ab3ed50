"""How often somebody may do something, and who is next."""

from collections import deque
from itertools import count

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twisted_chat.core.throttle import FairQueue, Penalties, Rate, Rates, spoken

_MANY = 100_000

# Seconds in eighths, and rates in powers of two: exact, so that a model may count differently.
_steps = st.integers(0, 40).map(lambda eighths: eighths / 8)
_rates = st.builds(Rate, st.integers(1, 30), st.sampled_from([0.25, 0.5, 1.0, 2.0, 4.0, 8.0]))


class _Bucket:
    """A token bucket as it is in the textbooks."""

    def __init__(self, rate: Rate) -> None:
        self.rate = rate
        self.tokens = float(rate.burst)
        self.now = 0.0

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.tokens = min(self.rate.burst, self.tokens + seconds * self.rate.per_second)

    def wait(self) -> float:
        return max(0.0, (1 - self.tokens) / self.rate.per_second)


class RateTests(SynchronousTestCase):
    """A rate: a burst, and then so many a second."""

    @given(_rates, st.lists(st.tuples(_steps, st.integers(1, 5)), max_size=60))
    def test_is_a_token_bucket(self, rate: Rate, takings: list[tuple[float, int]]) -> None:
        """A rate makes its user wait as long as a textbook's token bucket, also for what is
        owed."""
        bucket, full_at = _Bucket(rate), 0.0
        for seconds, taken in takings:
            bucket.pass_time(seconds)
            self.assertEqual(rate.wait(full_at, bucket.now), bucket.wait())
            bucket.tokens -= taken
            full_at = rate.take(full_at, bucket.now, taken)

    def test_burst_and_then_one_by_one(self) -> None:
        """A rate allows 20 at once, whatever the clock shows, and then 5 a second."""
        for now in 1000.1, 1_795_247_930.4849048:
            rate, full_at = Rate(20, 5.0), 0.0
            for _ in range(20):
                self.assertEqual(rate.wait(full_at, now), 0)
                full_at = rate.take(full_at, now)
            self.assertAlmostEqual(rate.wait(full_at, now), 0.2, places=5)
            self.assertAlmostEqual(rate.wait(full_at, now + 0.1), 0.1, places=5)
            self.assertEqual(rate.wait(full_at, now + 0.25), 0)

    def test_a_pause_is_a_burst_again_and_no_more(self) -> None:
        """After a pause of any length one burst is allowed again."""
        rate, full_at = Rate(3, 1.0), 0.0
        for now in 10.0, 1000.0, 1e9:
            for _ in range(3):
                self.assertEqual(rate.wait(full_at, now), 0)
                full_at = rate.take(full_at, now)
            self.assertEqual(rate.wait(full_at, now), 1)


class RatesTests(SynchronousTestCase):
    """One rate for each of many keys."""

    def test_keys_know_nothing_of_each_other(self) -> None:
        """A key that has used up its rate does not affect the other keys."""
        rates = Rates(Rate(2, 1.0))
        self.assertEqual([rates.take("a", 5.0) for _ in range(3)], [0, 0, 1])
        self.assertEqual(rates.take("b", 5.0), 0)

    def test_who_is_refused_takes_nothing(self) -> None:
        """A refused request takes nothing, so trying all the time does not prolong the wait."""
        rates = Rates(Rate(1, 1.0))
        rates.take("a", 5.0)
        for _ in range(100):
            self.assertEqual(rates.take("a", 5.5), 0.5)
        self.assertEqual(rates.take("a", 6.0), 0)

    def test_memory_is_bounded(self) -> None:
        """The number of keys is bounded; the one that was seen longest ago is forgotten."""
        rates = Rates(Rate(1, 0.001), most=1000)
        for number in range(_MANY):
            rates.take(str(number), 5.0)
            if number % 500 == 0:
                self.assertGreater(rates.take("often", 5.0), 0 if number else -1)
        self.assertEqual(len(rates), 1000)
        self.assertGreater(rates.take(str(_MANY - 1), 5.0), 0)
        self.assertEqual(rates.take("0", 5.0), 0)


class PenaltiesTests(SynchronousTestCase):
    """The prices of offences."""

    def test_prices(self) -> None:
        """Some offences are free; each further one costs twice the one before, up to the longest
        wait."""
        penalties = Penalties(free=2, first=1.0, longest=16.0)
        self.assertEqual(
            [penalties.add("a", 0.0) for _ in range(9)], [0, 0, 1, 2, 4, 8, 16, 16, 16]
        )
        self.assertEqual(penalties.add("b", 0.0), 0)

    def test_price_is_what_one_more_costs(self) -> None:
        """C{price} tells what one more offence would cost, and costs nothing itself."""
        penalties = Penalties(free=2, first=1.0, longest=16.0)
        for _ in range(9):
            price = penalties.price("a", 0.0, more=1)
            self.assertEqual(penalties.price("a", 0.0, more=1), price)
            self.assertEqual(penalties.add("a", 0.0), price)

    def test_wait_runs_out(self) -> None:
        """The wait is what is left of the last price."""
        penalties = Penalties(free=0, first=8.0, longest=64.0)
        self.assertEqual(penalties.wait("a", 100.0), 0)
        penalties.add("a", 100.0)
        self.assertEqual([penalties.wait("a", 100.0 + s) for s in (0, 3, 8, 9)], [8, 5, 0, 0])

    def test_offences_are_forgotten_one_after_the_other(self) -> None:
        """An offence is forgotten after as long as the longest wait, but at least a minute."""
        for longest, each in ((600.0, 600.0), (8.0, 60.0)):
            penalties = Penalties(free=1, first=1.0, longest=longest)
            for _ in range(3):
                penalties.add("a", 0.0)
            self.assertEqual(penalties.price("a", 0.0, more=1), 4)
            self.assertEqual(penalties.price("a", each, more=1), 2)
            self.assertEqual(penalties.price("a", 2 * each, more=1), 1)
            self.assertEqual(penalties.price("a", 3 * each, more=1), 0)

    def test_a_million_offences_are_forgotten_as_fast_as_the_worst(self) -> None:
        """Offences beyond the longest wait are not counted."""
        penalties = Penalties(free=0, first=1.0, longest=60.0)
        for _ in range(1000):
            penalties.add("a", 0.0)
        self.assertEqual(penalties.price("a", 60.0 * 8, more=1), 1)

    def test_no_longest_wait_is_no_wait(self) -> None:
        """With C{--max-penalty 0} there is no wait."""
        penalties = Penalties(free=0, first=1.0, longest=0.0)
        for _ in range(20):
            self.assertEqual(penalties.add("a", 5.0), 0)
        self.assertEqual((penalties.wait("a", 5.0), penalties.price("a", 5.0, more=1)), (0, 0))

    @given(
        st.integers(0, 4),
        st.lists(st.tuples(st.sampled_from("ab"), st.booleans(), st.integers(0, 200)), max_size=60),
    )
    def test_model(self, free: int, steps: list[tuple[str, bool, int]]) -> None:
        """Penalties behave as a list of offences that ages."""
        first, longest, forgotten_after = 1.0, 64.0, 64.0
        worst = free + 1 + 6
        penalties = Penalties(free=free, first=first, longest=longest)
        counts = {"a": 0.0, "b": 0.0}
        until = {"a": 0.0, "b": 0.0}
        now = 0.0
        for key, offends, seconds in steps:
            now += seconds
            counts = {k: max(0.0, c - seconds / forgotten_after) for k, c in counts.items()}
            if offends:
                counts[key] = min(counts[key] + 1, worst)
                over = counts[key] - free
                price = min(longest, first * 2 ** (over - 1)) if over > 0 else 0.0
                until[key] = now + price
                self.assertAlmostEqual(penalties.add(key, now), price, places=6)
            self.assertAlmostEqual(penalties.wait(key, now), max(0.0, until[key] - now), places=6)

    def test_memory_is_bounded(self) -> None:
        """The number of keys is bounded; the one that offended longest ago is forgotten."""
        penalties = Penalties(free=0, first=1.0, longest=600.0, most=1000)
        for number in range(_MANY):
            penalties.add(str(number), 5.0)
            penalties.wait(f"not {number}", 5.0)
        self.assertEqual(len(penalties), 1000)
        self.assertEqual(penalties.wait(str(_MANY - 1), 5.0), 1)
        self.assertEqual(penalties.wait("0", 5.0), 0)


class _Places:
    """A fair queue as it is told: a list, looked through each time."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.waiting: list[tuple[str, int]] = []
        self.served: dict[str, int] = {}
        self.began: dict[str, int] = {}
        self.known: set[str] = set()
        self.turn = 0
        self.turns = count(1)

    def places(self, key: str) -> int:
        return sum(k == key for k, _ in self.waiting)

    def claim(self, key: str, places: int) -> tuple[int, bool, int]:
        return places, key not in self.known, self.served.get(key, 0)

    def push(self, key: str, item: int) -> int | None:
        turned_away = None
        if len(self.waiting) == self.most:
            keys = sorted({k for k, _ in self.waiting}, key=self.began.__getitem__)
            claims = {k: self.claim(k, self.places(k)) for k in keys}
            if not keys or max(claims.values()) <= self.claim(key, self.places(key) + 1):
                return item
            loser = next(k for k in keys if claims[k] == max(claims.values()))
            at = max(n for n, (k, _) in enumerate(self.waiting) if k == loser)
            turned_away = self.waiting.pop(at)[1]
        if not self.places(key):
            self.began[key] = item
        self.waiting.append((key, item))
        return turned_away

    def pop(self) -> int:
        keys = sorted({k for k, _ in self.waiting}, key=self.began.__getitem__)
        known = [k for k in keys if k in self.known and self.turn % 2 == 0]
        key = min(known or keys, key=lambda k: self.served.get(k, 0))
        at = next(n for n, (k, _) in enumerate(self.waiting) if k == key)
        self.turn = self.served[key] = next(self.turns)
        return self.waiting.pop(at)[1]


class FairQueueTests(SynchronousTestCase):
    """A fair queue: who is next, and who is turned away."""

    def drain(self, queue: FairQueue[str]) -> list[str]:
        return [queue.pop() for _ in range(len(queue))]

    def test_one_key_is_a_queue(self) -> None:
        """The places of one key are served in order, up to its bound."""
        queue: FairQueue[str] = FairQueue(3)
        self.assertEqual([queue.push("a", item) for item in "1234"], [None, None, None, "4"])
        self.assertEqual(self.drain(queue), ["1", "2", "3"])

    def test_keys_take_turns(self) -> None:
        """A key with many places does not keep another one waiting."""
        queue: FairQueue[str] = FairQueue(10)
        for item in "a1", "a2", "a3", "b1", "c1", "b2":
            queue.push(item[0], item)
        self.assertEqual(self.drain(queue), ["a1", "b1", "c1", "a2", "b2", "a3"])

    def test_who_was_served_lately_is_behind_who_was_not(self) -> None:
        """A key that was served lately is behind one that was not, also if it comes back first."""
        queue: FairQueue[str] = FairQueue(10)
        for key in "abc":
            queue.push(key, key)
        self.drain(queue)
        for key in "cab", "new", "b", "a":
            queue.push(key[0], key)
        self.assertEqual(self.drain(queue), ["new", "a", "b", "cab"])

    def test_who_waits_no_longer(self) -> None:
        """A place that is given up leaves the others in order."""
        queue: FairQueue[str] = FairQueue(4)
        for item in "a1", "a2", "a3", "b1":
            queue.push(item[0], item)
        queue.remove("a", "a2")
        queue.remove("b", "b1")
        self.assertEqual(len(queue), 2)
        self.assertEqual([queue.push("c", item) for item in ("c1", "c2")], [None, None])
        self.assertEqual(self.drain(queue), ["a1", "c1", "a3", "c2"])

    def test_who_has_most_places_loses_one(self) -> None:
        """When the queue is full, the key with the most places loses its last one to a key with
        fewer."""
        queue: FairQueue[str] = FairQueue(4)
        for item in "a1", "b1", "b2", "b3":
            queue.push(item[0], item)
        self.assertEqual(queue.push("c", "c1"), "b3")
        self.assertEqual(queue.push("c", "c2"), "c2")
        self.assertEqual(self.drain(queue), ["a1", "b1", "c1", "b2"])

    def test_full_of_who_was_served_makes_room_for_who_was_not(self) -> None:
        """When the queue is full of keys that were served, one of them makes room for a key that
        was not."""
        queue: FairQueue[str] = FairQueue(3)
        for key in "abc":
            queue.push(key, key)
        self.drain(queue)
        for key in "abc":
            queue.push(key, key)
        self.assertEqual(queue.push("new", "new"), "c")
        self.assertEqual(self.drain(queue), ["new", "a", "b"])

    def test_strangers_do_not_keep_out_who_is_known(self) -> None:
        """However many strangers come, a known key gets its turn."""
        queue: FairQueue[str] = FairQueue(3)
        queue.push("owner", "owner")
        queue.pop()
        queue.know("owner")
        strangers = map(str, count())
        for _ in range(10):
            while queue.push(stranger := next(strangers), stranger) is None:
                pass
            queue.pop()
        self.assertIsNone(queue.push("4711", "4711"))
        self.assertIsNotNone(queue.push("owner", "owner"))
        self.assertIn("owner", [queue.pop(), queue.pop()])

    def test_who_is_known_does_not_keep_out_strangers(self) -> None:
        """Known keys get every other turn only."""
        queue: FairQueue[str] = FairQueue(5)
        queue.know("owner")
        for key, item in ("owner", "1"), ("owner", "2"), ("owner", "3"), ("a", "4"), ("b", "5"):
            queue.push(key, item)
        self.assertEqual(self.drain(queue), ["1", "4", "2", "5", "3"])

    def test_no_places(self) -> None:
        """A queue without places turns everybody away."""
        queue: FairQueue[str] = FairQueue(0)
        self.assertEqual(queue.push("a", "1"), "1")
        self.assertRaises(IndexError, queue.pop)
        self.assertFalse(queue)

    @given(
        st.integers(0, 6),
        st.lists(
            st.one_of(st.none(), st.sampled_from(["a", "b", "c", "d", "know d"])), max_size=80
        ),
    )
    def test_model(self, most: int, steps: list[str | None]) -> None:
        """The queue behaves as a list that is searched each time."""
        queue: FairQueue[int] = FairQueue(most)
        model = _Places(most)
        for item, key in enumerate(steps):
            if key is not None and key.startswith("know "):
                queue.know(key[5:])
                model.known.add(key[5:])
            elif key is not None:
                self.assertEqual(queue.push(key, item), model.push(key, item))
            elif model.waiting:
                self.assertEqual(queue.pop(), model.pop())
            self.assertEqual(len(queue), len(model.waiting))
            self.assertLessEqual(len(queue), most)

    def test_memory_is_bounded(self) -> None:
        """The queue remembers a bounded number of keys that were served."""
        queue: FairQueue[str] = FairQueue(4, remembered=100)
        turned_away: deque[str | None] = deque()
        for number in range(_MANY):
            turned_away.append(queue.push(str(number), str(number)))
            queue.know(str(number))
            if number % 3 == 0:
                queue.pop()
        self.assertLessEqual(len(queue), 4)
        self.assertGreater(sum(item is not None for item in turned_away), _MANY // 2)
        self.assertLessEqual(len(queue._served), 100)
        self.assertEqual(len(queue._known), 100)
        self.assertEqual(len(queue._waiting), len(queue))


class SpokenTests(SynchronousTestCase):
    """How long to wait, in words."""

    def test_seconds_and_minutes(self) -> None:
        """Never less than it is, and in words that go together."""
        for seconds, words in (
            (0.0, "1 second"),
            (0.2, "1 second"),
            (1.0, "1 second"),
            (1.1, "2 seconds"),
            (119.0, "119 seconds"),
            (119.5, "2 minutes"),
            (121.0, "3 minutes"),
            (600.0, "10 minutes"),
        ):
            self.assertEqual(spoken(seconds), words)
