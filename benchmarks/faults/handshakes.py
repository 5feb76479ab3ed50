"""TLS handshakes that stall while people chat over TLS, and renegotiation."""

import select
import shutil
import socket
import statistics
import subprocess
import time
from collections.abc import Iterator

from .outcome import Outcome
from .tls import Talker, TlsDaemon, hello

_DEADLINE = 10.0
"""Seconds within which the server must close all of them."""


def run(short: bool) -> Outcome:
    """Stall handshakes: a third of them before, in the middle of, and after the first message."""
    outcome = Outcome()
    count = 12 if short else 500
    with TlsDaemon() as daemon:
        with (
            Talker(daemon, "alice", over_tls=True) as alice,
            Talker(daemon, "bob", over_tls=True) as bob,
        ):
            baseline = daemon.descriptors
            idle = [_say(alice, bob, n) for n in range(20 if short else 200)]
            began = time.monotonic()
            stalled = list(_stall(daemon, count))
            first, last, times = _wait(stalled, alice, bob, began)
            renegotiated = _renegotiate(daemon)
            _say(alice, bob, 0)
            for sock in stalled:
                sock.close()
            left = _descriptors(daemon, baseline)
        outcome.promise(last > 0, f"{count} stalled handshakes: not all were cut off")
        outcome.promise("no renegotiation" in renegotiated, "renegotiation was not refused")
        outcome.promise(left <= baseline, f"{left - baseline} descriptors were left open")
        outcome.promise("Traceback" not in "".join(daemon.log), "there was a traceback")
        outcome.target(0 < last <= _DEADLINE + 2, f"the last one was gone after {last:.1f} s")
    outcome.figures[f"{count} stalled handshakes"] = f"gone after {first:.1f} to {last:.1f} s"
    outcome.figures["messages over TLS meanwhile"] = (
        f"{len(times)}, p99 {_p99(times):.1f} ms; before p99 {_p99(idle):.1f} ms"
    )
    outcome.figures["descriptors before and after"] = f"{baseline}, {left}"
    return outcome


def _stall(daemon: TlsDaemon, count: int) -> Iterator[socket.socket]:
    first = hello()
    for number in range(count):
        sock = daemon.connect(f"127.0.{1 + number // 250}.{1 + number % 250}")
        sock.sendall((b"", first[: len(first) // 2], first)[number % 3])
        yield sock


def _wait(
    stalled: list[socket.socket], alice: Talker, bob: Talker, began: float
) -> tuple[float, float, list[float]]:
    """Chat until all stalled connections are closed.

    @return: when the first and the last one were closed, and how long each message took. The second
        is 0 if some are still open after three times the allowed time.
    """
    open_still = set(stalled)
    first = last = 0.0
    times: list[float] = []
    while open_still and time.monotonic() - began < 3 * _DEADLINE:
        times.append(_say(alice, bob, len(times)))
        for sock in select.select(open_still, [], [], 0.01)[0]:
            try:
                gone = not sock.recv(65536)
            except ConnectionResetError:
                gone = True
            if gone:
                open_still.remove(sock)
                last = time.monotonic() - began
                first = first or last
    return first, 0.0 if open_still else last, times


def _say(alice: Talker, bob: Talker, number: int) -> float:
    """Measure how long a message takes, in milliseconds."""
    began = time.perf_counter()
    alice.send(f"message {number}.\n")
    bob.see(f"] alice: message {number}.\n")
    return (time.perf_counter() - began) * 1000


def _p99(times: list[float]) -> float:
    return statistics.quantiles(times, n=100)[98] if len(times) > 1 else 0.0


def _renegotiate(daemon: TlsDaemon) -> str:
    """Return the output of C{openssl s_client} when it is told to renegotiate."""
    openssl = shutil.which("openssl")
    assert openssl is not None
    where = f"127.0.0.1:{daemon.tls_port}"
    done = subprocess.run(
        [openssl, "s_client", "-tls1_2", "-connect", where],
        input="R\n",
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return done.stdout + done.stderr


def _descriptors(daemon: TlsDaemon, wanted: int) -> int:
    """Return the number of open files, after time to close those that are not needed."""
    until = time.monotonic() + 10
    while daemon.descriptors > wanted and time.monotonic() < until:
        time.sleep(0.05)
    return daemon.descriptors
