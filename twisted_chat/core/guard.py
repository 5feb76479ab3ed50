"""What stands between strangers and everybody's passwords, names and rooms."""

from collections.abc import Awaitable, Callable

from .addresses import Source
from .errors import Refusal
from .limits import Limits
from .throttle import Penalties, Rate, Rates

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
        self._registrations = _an_hour(limits.registrations_per_address)
        self._all_registrations = _an_hour(limits.registrations)
        self._rooms = _an_hour(limits.rooms_per_address)

    async def before_password(self, source: Source, name: str) -> None:
        """Somebody is about to try a password: waits if others tried wrong ones for this account.

        @param name: as it was given; whether there is such an account makes no difference.
        @raise Refusal: C{throttled} if they have to wait themselves.
        """
        wait = 0.0 if source.trusted else self._guessers.wait(source.network, self._seconds())
        if wait:
            raise Refusal(
                "throttled",
                f"too many wrong passwords from your address; try again in {_spoken(wait)}",
            )
        delay = self._targets.wait(name, self._seconds())
        if delay:
            await self._sleep(delay)

    def wrong_password(self, source: Source, name: str) -> None:
        """The password was wrong."""
        now = self._seconds()
        self._targets.add(name, now)
        if source.trusted or not source.network:
            return
        wait = self._guessers.add(source.network, now)
        if wait:
            self._log(f"wrong passwords from {source.network}: it waits {_spoken(wait)}")

    def before_registration(self, source: Source) -> None:
        """Somebody is about to register a name.

        @raise Refusal: C{throttled}.
        """
        if source.trusted:
            return
        self._take(
            self._registrations, source.network, "your address has registered many names lately"
        )
        self._take(self._all_registrations, _EVERYBODY, "many names are being registered just now")

    def before_room(self, source: Source) -> None:
        """Somebody is about to make a room.

        @raise Refusal: C{throttled}.
        """
        if not source.trusted:
            self._take(self._rooms, source.network, "your address has made many rooms lately")

    def _take(self, rates: Rates | None, key: str, sentence: str) -> None:
        wait = rates.take(key, self._seconds()) if rates is not None else 0.0
        if wait:
            raise Refusal("throttled", f"{sentence}; try again in {_spoken(wait)}")


def _an_hour(count: int) -> Rates | None:
    return Rates(Rate(count, count / _HOUR)) if count else None


def _spoken(seconds: float) -> str:
    whole = max(1, round(seconds))
    if whole < 120:
        return f"{whole} second{'' if whole == 1 else 's'}"
    return f"{round(whole / 60)} minutes"
