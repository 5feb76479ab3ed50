"""How either end finds out that the other has vanished without a word. No socket, no clock."""

import socket
from collections.abc import Iterator

PERIOD = 60
"""Seconds between signs of life, unless the operator chose otherwise."""

MISSED = 2
"""Signs of life that are missed before the other end counts as gone."""


_LONGEST = 24 * 3600
"""Seconds; what is beyond it is no patience any more, and in the end no number for a system."""


def tcp_options(period: int = PERIOD, patience: int = 0) -> Iterator[tuple[int, int]]:
    """The options of TCP, and their values, with which a system gives up a peer from which nothing
    has come for two periods, or two minutes if that is less. Yields only those that it has.

    @param period: seconds between signs of life; 0: there are none.
    @param patience: seconds that a peer which answers may read nothing, at least.
    """
    seconds = min(period or PERIOD, PERIOD)
    unconfirmed = min(max(MISSED * seconds, patience), _LONGEST)
    for name, value in (
        ("TCP_KEEPIDLE", seconds),  # until the first probe
        ("TCP_KEEPINTVL", max(1, seconds // 4)),  # between probes
        ("TCP_KEEPCNT", 4),  # probes
        # Probes are not sent while something else waits to be confirmed: then this holds, in
        # milliseconds (RFC 5482), where else Linux would try again for a quarter of an hour. It
        # also holds for a peer that confirms, but has no room for more.
        ("TCP_USER_TIMEOUT", 1000 * unconfirmed),
    ):
        if hasattr(socket, name):
            yield getattr(socket, name), value
