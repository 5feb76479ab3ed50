"""Who may connect, and for how long without logging in."""

from collections import Counter
from functools import lru_cache
from itertools import islice
from typing import Protocol

from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime

from twisted_chat.core.addresses import SHARED, Networks, Source
from twisted_chat.core.limits import Limits
from twisted_chat.core.throttle import Rate, Rates, spoken

_MINUTE = 60.0

_TRIES = 5
"""How many times the usual time somebody who types has to log in."""

_REMEMBERED = 1024
"""Addresses whose sources are remembered."""

_AT_ONCE = 20
"""Connections that are ended in one turn of the reactor."""


class Arrival(Protocol):
    """A connection on which nobody has logged in yet."""

    def send_away(self, farewell: str, /) -> None:
        """Say why, and end the connection; cut it off soon if that is not read."""


class Admission:
    """Counts the connections of all faces, by the network that they come from."""

    def __init__(self, limits: Limits, networks: Networks, clock: IReactorTime) -> None:
        self._limits = limits
        # Connections from one address share one source: this saves memory, and time.
        self._source = lru_cache(maxsize=_REMEMBERED)(networks.source)
        self._clock = clock
        self._count = 0
        self._by_network: Counter[str] = Counter()
        per_minute = limits.connections_per_minute
        self._new = Rates(Rate(per_minute, per_minute / _MINUTE)) if per_minute else None
        # Connections on which nobody has logged in -> when their time is up, and until when it may
        # be extended; the next one first. Those of them that --max-waiting counts -> their network;
        # the oldest first.
        self._waiting: dict[Arrival, tuple[float, float]] = {}
        self._crowd: dict[Arrival, str] = {}
        self._timeout: IDelayedCall | None = None

    def source(self, address: IAddress | None) -> Source:
        """Tell what limits apply to a peer's address.

        @param address: L{None} if there is none; as one without a host, it is shared by many.
        """
        host: str | None = getattr(address, "host", None)
        return SHARED if host is None else self._source(host)

    def refusal(self, source: Source) -> str | None:
        """Say in a sentence why nobody may connect from there now.

        @return: L{None} if they may, which counts as one of the connections a minute.
        """
        most = self._limits.max_connections
        if most and self._count >= most:
            return "this server is full; try again later"
        if source.trusted or not source.network:
            return None
        most = self._limits.max_per_address
        if most and self._by_network[source.network] >= most:
            return f"your address already has {most} connections; close one first"
        new = self._new
        wait = 0.0 if new is None else new.take(source.network, self._clock.seconds())
        if wait:
            return f"your address connects too often; try again in {spoken(wait)}"
        return None

    def came(self, arrival: Arrival, source: Source) -> None:
        """Count a new connection. Its time to log in begins."""
        self._count += 1
        if source.network:
            self._by_network[source.network] += 1
        if self._limits.login_timeout:
            seconds, now = self._limits.login_timeout, self._clock.seconds()
            self._waiting[arrival] = now + seconds, now + (_TRIES - 1) * seconds
            if self._timeout is None:
                self._timeout = self._clock.callLater(self._limits.login_timeout, self._too_long)
        if source.trusted:
            return
        self._crowd[arrival] = source.network
        if self._limits.max_waiting and len(self._crowd) > self._limits.max_waiting:
            oldest = self._oldest()
            self.is_in(oldest)
            oldest.send_away("too many others are waiting to log in; bye")

    def is_trying(self, arrival: Arrival) -> None:
        """Begin the time to log in anew, as the peer has sent a line; up to five times as long as
        usual in all. Does nothing once somebody has logged in."""
        now = self._clock.seconds()
        _, until = self._waiting.get(arrival, (0, now - 1))
        if now <= until:
            del self._waiting[arrival]  # it goes to the end, as it has the longest time
            self._waiting[arrival] = now + self._limits.login_timeout, until

    def is_in(self, arrival: Arrival) -> None:
        """Note that somebody has logged in there, or is being sent away. Their time ends."""
        self._waiting.pop(arrival, None)
        self._crowd.pop(arrival, None)
        if not self._waiting and self._timeout is not None:
            self._timeout.cancel()
            self._timeout = None

    def went(self, arrival: Arrival, source: Source) -> None:
        """Count a connection no more: it is lost, and its session is over. To be called once."""
        self.is_in(arrival)
        self._count -= 1
        if source.network:
            self._by_network[source.network] -= 1
            if not self._by_network[source.network]:
                del self._by_network[source.network]

    def _oldest(self) -> Arrival:
        """Choose whom to send away: the oldest connection of the address that has most of them, so
        that one address does not push out the others."""
        by_network = Counter(self._crowd.values())
        most = max(by_network.values())
        return next(a for a, network in self._crowd.items() if by_network[network] == most)

    def _too_long(self) -> None:
        self._timeout = None
        now = self._clock.seconds()
        for arrival, (deadline, _) in list(islice(self._waiting.items(), _AT_ONCE)):
            if deadline > now:
                break
            self.is_in(arrival)
            arrival.send_away(
                f"you did not log in within {spoken(self._limits.login_timeout)}; bye"
            )
        if self._waiting:
            wait = max(0.0, next(iter(self._waiting.values()))[0] - now)
            self._timeout = self._clock.callLater(wait, self._too_long)
