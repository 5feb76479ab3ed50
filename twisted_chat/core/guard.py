"""What stands between strangers and everybody's passwords, names and rooms."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from .addresses import Source
from .errors import Refusal
from .limits import Limits
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
    ) -> None:
        """
        @param seconds: a clock that never goes back.
        @param sleep: waits for some seconds.
        @param log: takes a line for the operator.
        """
        self._seconds = seconds
        self._sleep = sleep
        self._log = log
        self._guessers = Penalties(
            free=limits.wrong_passwords, first=_SECOND_CHANCE, longest=limits.max_penalty
        )
        self._targets = Penalties(
            free=limits.wrong_passwords, first=_FIRST_DELAY, longest=limits.max_login_delay
        )
        self._on_trial: set[str] = set()  # addresses with their one try under way
        self._registrations = _an_hour(limits.registrations_per_address)
        self._all_registrations = _an_hour(limits.registrations)
        self._rooms = _an_hour(limits.rooms_per_address)

    @asynccontextmanager
    async def password_try(self, source: Source) -> AsyncIterator[None]:
        """Around the check of a password.

        An address that would have to wait for a wrong one tries one after the other, or it would
        try one on each of its connections for the price of one.

        @raise Refusal: C{throttled} if they have to wait themselves.
        """
        on_trial = False
        if _is_counted(source):
            now = self._seconds()
            wait = self._guessers.wait(source.network, now)
            if wait or source.network in self._on_trial:
                raise Refusal(
                    "throttled",
                    f"too many wrong passwords from your address; try again in {spoken(wait)}",
                )
            on_trial = bool(self._guessers.next_price(source.network, now))
        if on_trial:
            self._on_trial.add(source.network)
        try:
            yield
        finally:
            if on_trial:
                self._on_trial.discard(source.network)

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

    def before_registration(self, source: Source) -> None:
        """Somebody is about to register a name.

        @raise Refusal: C{throttled}.
        """
        if source.trusted:
            return
        if source.network:
            self._take(
                self._registrations, source.network, "your address has registered many names lately"
            )
        self._take(self._all_registrations, _EVERYBODY, "many names are being registered just now")

    def before_room(self, source: Source) -> None:
        """Somebody is about to make a room.

        @raise Refusal: C{throttled}.
        """
        if _is_counted(source):
            self._take(self._rooms, source.network, "your address has made many rooms lately")

    def _take(self, rates: Rates | None, key: str, sentence: str) -> None:
        wait = rates.take(key, self._seconds()) if rates is not None else 0.0
        if wait:
            raise Refusal("throttled", f"{sentence}; try again in {spoken(wait)}")


def _is_counted(source: Source) -> bool:
    return bool(source.network) and not source.trusted


def _an_hour(count: int) -> Rates | None:
    return Rates(Rate(count, count / _HOUR)) if count else None
