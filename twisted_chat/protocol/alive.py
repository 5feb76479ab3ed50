"""Options of TCP by which either end notices that the other has vanished. No socket, no clock."""

import socket
from collections.abc import Iterator

PERIOD = 60
"""Seconds between signs of life; the default of the operator's option."""

MISSED = 2
"""Signs of life that are missed before the other end counts as gone."""

_LONGEST = 24 * 3600
"""Seconds; the longest time that is asked of a system, which may refuse larger numbers."""


def tcp_options(period: int = PERIOD, patience: int = 0) -> Iterator[tuple[int, int]]:
    """Give the TCP options, and their values, that have the system give up a silent peer.

    A peer is silent if nothing comes from it for two periods, or for two minutes if that is less.
    Only options that this system has are given.

    @param period: seconds between signs of life; 0: there are none.
    @param patience: seconds for which a peer that answers may read nothing, at least.
    """
    seconds = min(period or PERIOD, PERIOD)
    unconfirmed = min(max(MISSED * seconds, patience), _LONGEST)
    for name, value in (
        ("TCP_KEEPIDLE", seconds),  # until the first probe
        ("TCP_KEEPINTVL", max(1, seconds // 4)),  # between probes
        ("TCP_KEEPCNT", 4),  # probes
        # No probes are sent while data waits to be acknowledged. This limits that wait, in
        # milliseconds (RFC 5482, section 2); without it Linux retries for a quarter of an hour. It
        # also limits how long a peer may acknowledge probes but have no room for data.
        ("TCP_USER_TIMEOUT", 1000 * unconfirmed),
    ):
        if hasattr(socket, name):
            yield getattr(socket, name), value
