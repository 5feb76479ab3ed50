"""Rates, penalties, and a fair queue.

Nothing here reads a clock: C{now} is in seconds, of a clock that never goes back.
"""

import math
from collections import deque
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")

_MOST_KEYS = 20_000
"""Keys that are remembered, at most. One that is forgotten because others came starts afresh."""

_ROUNDING = 0.001
"""Waits of fewer seconds count as none: sums of floats are not exact, and the last one of a burst
is free."""


@dataclass(frozen=True, slots=True)
class Rate:
    """A token bucket: C{burst} at once, and then C{per_second}.

    Its state is one number, the time at which the bucket is full again, which the generic cell rate
    algorithm of ITU-T I.371 calls the theoretical arrival time. It begins as 0.
    """

    burst: int
    per_second: float

    def wait(self, full_at: float, now: float) -> float:
        """Seconds until one more may be taken; 0 if it may be taken now."""
        wait = full_at - now - (self.burst - 1) / self.per_second
        return wait if wait > _ROUNDING else 0.0

    def take(self, full_at: float, now: float, count: float = 1) -> float:
        """Take some, more than there are if need be; the next C{wait} is longer by that.

        @return: the new state.
        """
        return max(full_at, now) + count / self.per_second


class Rates:
    """One L{Rate} for each of many keys, in bounded memory."""

    def __init__(self, rate: Rate, most: int = _MOST_KEYS) -> None:
        self._rate = rate
        self._most = most
        self._full_at: dict[str, float] = {}  # the one that was taken from longest ago comes first

    def __len__(self) -> int:
        return len(self._full_at)

    def take(self, key: str, now: float) -> float:
        """Take one if there is one.

        @return: 0 if it was taken; otherwise the seconds until there is one.
        """
        full_at = self._full_at.pop(key, 0.0)
        wait = self._rate.wait(full_at, now)
        self._full_at[key] = full_at if wait else self._rate.take(full_at, now)
        if len(self._full_at) > self._most:
            del self._full_at[next(iter(self._full_at))]
        return wait

    def give_back(self, key: str) -> None:
        """Give back one that was taken and not used."""
        if key in self._full_at:
            self._full_at[key] -= 1 / self._rate.per_second


class Penalties:
    """The waits that offences cost, for each of many keys, in bounded memory.

    The first offences are free. Each further one costs twice the wait of the one before, up to a
    longest wait. They are forgotten one by one, each after as long as the longest wait. Modelled on
    PerSourcePenalties of OpenSSH's sshd_config(5).
    """

    def __init__(self, *, free: int, first: float, longest: float, most: int = _MOST_KEYS) -> None:
        """
        @param free: offences that cost nothing.
        @param first: seconds that the next one costs.
        @param longest: seconds that one costs at most.
        """
        self._free = free
        self._first = first
        self._longest = longest
        self._forgotten_after = max(longest, 60.0)
        self._worst = free + 1 + math.log2(max(1.0, longest / first))  # more make no difference
        self._most = most
        # Offences not forgotten yet, and when the last one was. The longest ago comes first.
        self._offences: dict[str, tuple[float, float]] = {}

    def __len__(self) -> int:
        return len(self._offences)

    def add(self, key: str, now: float) -> float:
        """Note an offence.

        @return: the seconds that it costs.
        """
        count = min(self._count(key, now) + 1, self._worst)
        self._offences.pop(key, None)
        self._offences[key] = count, now
        if len(self._offences) > self._most:
            del self._offences[next(iter(self._offences))]
        return self._price(count)

    def wait(self, key: str, now: float) -> float:
        """Seconds that are left of the wait that the last offence costs."""
        if key not in self._offences:
            return 0.0
        count, last = self._offences[key]
        return max(0.0, last + self._price(count) - now)

    def price(self, key: str, now: float, *, more: int) -> float:
        """Seconds that the last of C{more} further offences would cost."""
        return self._price(self._count(key, now) + more)

    def _count(self, key: str, now: float) -> float:
        count, last = self._offences.get(key, (0.0, now))
        return max(0.0, count - (now - last) / self._forgotten_after)

    def _price(self, count: float) -> float:
        over = count - self._free
        if over <= 0:
            return 0.0
        return min(self._longest, self._first * math.pow(2.0, over - 1))


def spoken(seconds: float) -> str:
    """A wait in words, rounded up to seconds or minutes."""
    whole = max(1, math.ceil(seconds))
    if whole < 120:
        return f"{whole} second{'' if whole == 1 else 's'}"
    return f"{math.ceil(whole / 60)} minutes"


class FairQueue(Generic[T]):
    """A bounded queue in which keys that ask often do not keep out keys that ask rarely.

    The next turn goes to the key that was served longest ago, or never. When the queue is full, the
    key with the most places loses its last one; among equals an unknown key does, and then one that
    was served later. Every other turn is for known keys, if one waits: thousands of unknown keys
    cannot keep them out, nor the other way round.
    """

    def __init__(self, most: int, remembered: int = 4096) -> None:
        """
        @param most: items that may wait, at most.
        @param remembered: known keys, and keys that were served, that are remembered, at most.
        """
        self._most = most
        self._remembered = remembered
        self._waiting: dict[str, deque[T]] = {}
        self._served: dict[str, int] = {}  # the one that was served longest ago comes first
        self._known: dict[str, None] = {}  # the one that was seen longest ago comes first
        self._turn = 0
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def know(self, key: str) -> None:
        """Make a key a known one."""
        self._known.pop(key, None)
        self._known[key] = None
        if len(self._known) > self._remembered:
            del self._known[next(iter(self._known))]

    def push(self, key: str, item: T) -> T | None:
        """Add an item.

        @return: the item that has no place: this one, or one of another key; L{None} if there was
            room.
        """
        turned_away: T | None = None
        if self._size >= self._most:
            other = max(self._waiting, key=self._claim, default=key)
            places, stranger, served = self._claim(key)
            if self._claim(other) <= (places + 1, stranger, served):
                return item
            turned_away = self._waiting[other].pop()
            if not self._waiting[other]:
                del self._waiting[other]
            self._size -= 1
        self._waiting.setdefault(key, deque()).append(item)
        self._size += 1
        return turned_away

    def pop(self) -> T:
        """Remove and return the item whose turn it is.

        @raise IndexError: if nobody waits.
        """
        if not self._waiting:
            raise IndexError("nobody waits")
        keys = [key for key in self._waiting if key in self._known] if self._turn % 2 == 0 else ()
        key = min(keys or self._waiting, key=lambda key: self._served.get(key, 0))
        places = self._waiting[key]
        item = places.popleft()
        if not places:
            del self._waiting[key]
        self._size -= 1
        self._turn += 1
        self._served.pop(key, None)
        self._served[key] = self._turn
        if len(self._served) > self._remembered:
            del self._served[next(iter(self._served))]
        return item

    def remove(self, key: str, item: T) -> None:
        """Remove an item.

        @raise KeyError, ValueError: if it does not wait.
        """
        places = self._waiting[key]
        places.remove(item)
        if not places:
            del self._waiting[key]
        self._size -= 1

    def _claim(self, key: str) -> tuple[int, bool, int]:
        """The order in which keys lose a place: by the number of places that they have, whether
        they are unknown, and when they were served."""
        places = len(self._waiting.get(key, ()))
        return places, key not in self._known, self._served.get(key, 0)
