"""Many connections at once; the full minute is C{make soak}."""

import pytest_twisted
from twisted.internet import reactor

from benchmarks.soak import soak


@pytest_twisted.ensureDeferred
async def test_200_connections_get_everything_once_and_in_order() -> None:
    """Every message reaches every reader, once, in the order of seq."""
    assert await soak(reactor, people=200, seconds=3, pace=2.0)
