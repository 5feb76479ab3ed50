"""How either end finds out that the other has vanished without a word. No socket, no clock."""

import socket
from collections.abc import Iterator

PERIOD = 60
"""Seconds between signs of life, unless the operator chose otherwise."""

MISSED = 2
"""Signs of life that are missed before the other end counts as gone."""


def tcp_options(period: int = PERIOD) -> Iterator[tuple[int, int]]:
    """The options of TCP, and their values, with which a system gives up a peer from which nothing
    has come for two periods, or two minutes if that is less. Yields only those that it has.

    @param period: seconds between signs of life; 0: there are none.
    """
    seconds = min(period or PERIOD, PERIOD)
    for name, value in (
        ("TCP_KEEPIDLE", seconds),  # until the first probe
        ("TCP_KEEPINTVL", max(1, seconds // 4)),  # between probes
        ("TCP_KEEPCNT", 4),  # probes
        # Probes are not sent while something else waits to be confirmed: then this holds, in
        # milliseconds (RFC 5482), where else Linux would try again for a quarter of an hour.
        ("TCP_USER_TIMEOUT", MISSED * seconds * 1000),
    ):
        if hasattr(socket, name):
            yield getattr(socket, name), value
