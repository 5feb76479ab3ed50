"""Limits on guessing passwords, registering names and making rooms."""

from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

from .addresses import Source
from .announcements import Announcement, Counted, Guessed
from .errors import Refusal
from .limits import Limits
from .ports import Turn
from .throttle import Penalties, Rate, Rates, spoken

_HOUR = 3600.0
_FIRST_PENALTY = 1.0
"""Seconds to wait after the first wrong password beyond the free ones; doubles each time."""

_FIRST_DELAY = 0.05
"""Seconds that the first wrong password beyond the free ones delays the next login to the account;
doubles each time."""

_EVERYBODY = ""

REGISTRATION = "registration"
ROOM = "room"
"""What is counted over all nodes."""


class Guard:
    """Counts tries by the network that they come from.

    Wrong passwords cost the network a growing wait, in which further tries are refused. They delay
    logins to the account only a little, so that nobody can keep its owner out.
    """

    def __init__(
        self,
        limits: Limits,
        seconds: Callable[[], float],
        sleep: Callable[[float], Awaitable[object]],
        log: Callable[[str], None],
        turn: Callable[[], Turn],
        announce: Callable[[Announcement], object] = lambda what: None,
    ) -> None:
        """
        @param seconds: a clock that never goes back.
        @param sleep: waits for some seconds.
        @param log: logs a line for the operator.
        @param turn: makes a turn to wait for.
        @param announce: tells the other nodes what was counted.
        """
        self._seconds = seconds
        self._sleep = sleep
        self._log = log
        self._turn = turn
        self._announce = announce
        self._guessers = Penalties(
            free=limits.wrong_passwords, first=_FIRST_PENALTY, longest=limits.max_penalty
        )
        self._targets = Penalties(
            free=limits.wrong_passwords, first=_FIRST_DELAY, longest=limits.max_login_delay
        )
        # By network: tries that are under way, and those that wait for one of them to end.
        self._trying: Counter[str] = Counter()
        self._waiting: dict[str, deque[Turn]] = {}
        self._registrations = _an_hour(limits.registrations_per_address)
        self._all_registrations = _an_hour(limits.registrations)
        self._rooms = _an_hour(limits.rooms_per_address)

    @asynccontextmanager
    async def password_try(self, source: Source) -> AsyncIterator[None]:
        """Around the check of a password.

        A try counts as a wrong one while it is under way, and stays counted if L{wrong_password} is
        called; otherwise it costs nothing. A try begins if none is under way, or if it would be
        free even if all that are under way turned out wrong. Otherwise it waits for its turn, so
        that many people who log in from one address at once all get in; but if the network has used
        up its free tries, it is refused. A wrong password that costs a wait refuses all tries that
        wait for their turn.

        With the default limits, no network has more than 7 + log2(min(t, 600)) + t/600 wrong
        passwords checked in any t seconds: 160 in a day.

        @raise Refusal: C{throttled} if the network has to wait.
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
        """Whether one more try may begin now.

        @return: 0 if it may; L{None} if it waits for its turn; otherwise it is refused, and this is
            the number of seconds until the next may begin.
        """
        now = self._seconds()
        wait = self._guessers.wait(network, now)
        trying = self._trying[network]
        if wait or not trying:
            return wait
        if self._guessers.price(network, now, more=0):
            return _FIRST_PENALTY
        return None if self._guessers.price(network, now, more=trying + 1) else 0.0

    async def before_answer(self, source: Source, name: str) -> None:
        """Wait if wrong passwords were tried for this account, whether the present one is right or
        wrong.

        @param name: as it was given; it makes no difference whether there is such an account.
        """
        delay = 0.0 if source.trusted else self._targets.wait(name, self._seconds())
        if delay:
            await self._sleep(delay)

    def wrong_password(self, source: Source, name: str) -> None:
        """Count a wrong password."""
        network = source.network if _is_counted(source) else ""
        wait = self.note_wrong_password(network, name)
        if wait:
            self._log(
                f"wrong passwords from {network}: logins from there are refused for {spoken(wait)}"
            )
        self._announce(Guessed(network, name))

    def note_wrong_password(self, network: str, name: str) -> float:
        """Count a wrong password that was tried here or with another node.

        @param network: empty if it is not counted.
        @return: the seconds for which the network has to wait.
        """
        now = self._seconds()
        self._targets.add(name, now)
        return self._guessers.add(network, now) if network else 0.0

    @contextmanager
    def registration(self, source: Source) -> Iterator[None]:
        """Around the making of an account. It is not counted if it fails.

        @raise Refusal: C{throttled}.
        """
        if source.trusted:
            yield
            return
        from_address = self._registrations if source.network else None
        mine = "your address has registered too many names"
        everybodys = "too many names are being registered right now"
        with (
            self._unless_it_fails(from_address, source.network, mine),
            self._unless_it_fails(self._all_registrations, _EVERYBODY, everybodys),
        ):
            yield
        self._announce(Counted(REGISTRATION, source.network))

    def before_room(self, source: Source) -> None:
        """Count a room that is about to be made.

        @raise Refusal: C{throttled}.
        """
        if _is_counted(source):
            self._take(self._rooms, source.network, "your address has made too many rooms")
            self._announce(Counted(ROOM, source.network))

    def note(self, what: str, network: str) -> None:
        """Count what was done with another node.

        @param network: empty if it is not counted.
        """
        now = self._seconds()
        if what == REGISTRATION and self._all_registrations is not None:
            self._all_registrations.take(_EVERYBODY, now)
        rates = {REGISTRATION: self._registrations, ROOM: self._rooms}.get(what)
        if rates is not None and network:
            rates.take(network, now)

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
