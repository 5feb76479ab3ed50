"""What stands between strangers and everybody's passwords, names and rooms."""

from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

from .addresses import Source
from .errors import Refusal
from .limits import Limits
from .ports import Turn
from .throttle import Penalties, Rate, Rates, spoken

_HOUR = 3600.0
_SECOND_CHANCE = 1.0
"""Seconds that the first wrong password costs that is not free."""

_FIRST_DELAY = 0.05
"""Seconds that the first wrong password delays the next try for the account."""

_EVERYBODY = ""


class Guard:
    """Counts what people try, by where they come from.

    Wrong passwords cost the address a growing wait, in which further tries are refused. They cost
    the account only a short delay, so that nobody can keep its owner out.
    """

    def __init__(
        self,
        limits: Limits,
        seconds: Callable[[], float],
        sleep: Callable[[float], Awaitable[object]],
        log: Callable[[str], None],
        turn: Callable[[], Turn],
    ) -> None:
        """
        @param seconds: a clock that never goes back.
        @param sleep: waits for some seconds.
        @param log: takes a line for the operator.
        @param turn: makes a turn to wait for.
        """
        self._seconds = seconds
        self._sleep = sleep
        self._log = log
        self._turn = turn
        self._guessers = Penalties(
            free=limits.wrong_passwords, first=_SECOND_CHANCE, longest=limits.max_penalty
        )
        self._targets = Penalties(
            free=limits.wrong_passwords, first=_FIRST_DELAY, longest=limits.max_login_delay
        )
        # By address: tries that are under way, and those that wait for one of them to end.
        self._trying: Counter[str] = Counter()
        self._waiting: dict[str, deque[Turn]] = {}
        self._registrations = _an_hour(limits.registrations_per_address)
        self._all_registrations = _an_hour(limits.registrations)
        self._rooms = _an_hour(limits.rooms_per_address)

    @asynccontextmanager
    async def password_try(self, source: Source) -> AsyncIterator[None]:
        """Around the check of a password.

        A try counts as a wrong one while it is under way, and from then on if L{wrong_password} is
        called; after a right password, or without an answer, it has cost nothing. A try begins if
        it would be free even if all that are under way turned out wrong, or if none is. Another
        one waits for its turn, so that many who log in from one address at once all come in; if
        the address has used up more than its free ones, it is refused instead. A wrong password
        that costs a wait refuses all that wait for their turn.

        With the default limits, no address has more than 7 + log2(min(t, 600)) + t/600 wrong
        passwords checked in any t seconds: 160 in a day.

        @raise Refusal: C{throttled} if they have to wait themselves.
        """
        if not _is_counted(source):
            yield
            return
        network = source.network
        await self._begin_try(network)
        try:
            yield
        finally:
            self._trying[network] -= 1
            if not self._trying[network]:
                del self._trying[network]
            waiting = self._waiting.get(network)
            while waiting and self._verdict(network) is not None:
                waiting.popleft().callback(None)

    async def _begin_try(self, network: str) -> None:
        while (wait := self._verdict(network)) is None:
            turn = self._turn()
            waiting = self._waiting.setdefault(network, deque())
            waiting.append(turn)
            try:
                await turn
            finally:
                if turn in waiting:  # it was cancelled
                    waiting.remove(turn)
                if not waiting:
                    self._waiting.pop(network, None)
        if wait:
            raise Refusal(
                "throttled",
                f"too many wrong passwords from your address; try again in {spoken(wait)}",
            )
        self._trying[network] += 1

    def _verdict(self, network: str) -> float | None:
        """What becomes of one more try now: 0 if it may begin, L{None} if it has to wait for its
        turn; otherwise it is refused, for as many seconds."""
        now = self._seconds()
        wait = self._guessers.wait(network, now)
        trying = self._trying[network]
        if wait or not trying:
            return wait
        if self._guessers.price(network, now, more=0):
            return _SECOND_CHANCE
        return None if self._guessers.price(network, now, more=trying + 1) else 0.0

    async def before_answer(self, source: Source, name: str) -> None:
        """Wait, right or wrong, if others tried wrong passwords for this account.

        @param name: as it was given; whether there is such an account makes no difference.
        """
        delay = 0.0 if source.trusted else self._targets.wait(name, self._seconds())
        if delay:
            await self._sleep(delay)

    def wrong_password(self, source: Source, name: str) -> None:
        """The password was wrong."""
        now = self._seconds()
        self._targets.add(name, now)
        if not _is_counted(source):
            return
        wait = self._guessers.add(source.network, now)
        if wait:
            self._log(f"wrong passwords from {source.network}: it waits {spoken(wait)}")

    @contextmanager
    def registration(self, source: Source) -> Iterator[None]:
        """Around the making of an account. What is not made is not counted.

        @raise Refusal: C{throttled}.
        """
        if source.trusted:
            yield
            return
        from_address = self._registrations if source.network else None
        mine = "your address has registered many names lately"
        everybodys = "many names are being registered just now"
        with (
            self._unless_it_fails(from_address, source.network, mine),
            self._unless_it_fails(self._all_registrations, _EVERYBODY, everybodys),
        ):
            yield

    def before_room(self, source: Source) -> None:
        """Somebody is about to make a room.

        @raise Refusal: C{throttled}.
        """
        if _is_counted(source):
            self._take(self._rooms, source.network, "your address has made many rooms lately")

    @contextmanager
    def _unless_it_fails(self, rates: Rates | None, key: str, sentence: str) -> Iterator[None]:
        self._take(rates, key, sentence)
        try:
            yield
        except BaseException:
            if rates is not None:
                rates.give_back(key)
            raise

    def _take(self, rates: Rates | None, key: str, sentence: str) -> None:
        wait = rates.take(key, self._seconds()) if rates is not None else 0.0
        if wait:
            raise Refusal("throttled", f"{sentence}; try again in {spoken(wait)}")


def _is_counted(source: Source) -> bool:
    return bool(source.network) and not source.trusted


def _an_hour(count: int) -> Rates | None:
    return Rates(Rate(count, count / _HOUR)) if count else None
