"""A client that says something every 10 ms and measures the round trip.

It runs in a process of its own, so that nothing else delays it:

    python -m benchmarks.faults.pulse PORT

prints the round trips in milliseconds, as JSON, when its input ends.
"""

import json
import select
import subprocess
import sys
import time
from collections.abc import Sequence
from types import TracebackType

from .peer import PATIENCE, Peer

_EVERY = 0.01


class Pulse:
    """A clean client during a fault.

    @ivar trips: milliseconds of each round trip, once the client has ended.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self.trips: Sequence[float] = ()

    def __enter__(self) -> "Pulse":
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(self._port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self._process.stdout.readline()  # it has joined
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        printed, _ = self._process.communicate()
        if self._process.returncode == 0:
            self.trips = sorted(json.loads(printed))

    def __str__(self) -> str:
        if not self.trips:
            return "none came back"
        p99 = self.trips[len(self.trips) * 99 // 100]
        return f"{len(self.trips)} round trips, p99 {p99:.1f} ms, max {self.trips[-1]:.1f} ms"


def beat(port: int) -> None:
    """Be that client until the input ends."""
    trips: list[float] = []
    with Peer(port) as peer:
        peer.send("/json on\n/guest metronome\n")
        peer.see(b'"welcome"')
        print("in", flush=True)
        number = 0
        while not select.select([sys.stdin], [], [], 0)[0]:
            began = time.monotonic()
            number += 1
            peer.send(f"/bc pulse {number}\n")
            peer.see(b'"from":"metronome","text":"pulse %d"' % number)
            trips.append(1000 * (time.monotonic() - began))
            _listen(peer, began + _EVERY)
    print(json.dumps(trips))


def _listen(peer: Peer, until: float) -> None:
    """Read what others say until the next line is due."""
    while (left := until - time.monotonic()) > 0:
        if select.select([peer.socket], [], [], min(left, PATIENCE))[0]:
            peer.take()


if __name__ == "__main__":
    beat(int(sys.argv[1]))
