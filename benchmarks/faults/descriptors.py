"""A daemon that cannot open any more files."""

import os
import resource
import socket
import time

from benchmarks.load import cpu_seconds
from tests.daemon import Daemon

from .outcome import Outcome
from .people import PATIENCE, People, connect

_SOFT = 256
_RESERVE = 100

_REFUSALS = 50
"""Connections that are told at once why they are refused."""


def run(short: bool) -> Outcome:
    """Open as many connections as the limit allows, and then lower the limit below that."""
    outcome = Outcome()
    seconds = 1.0 if short else 10.0
    with _Limited() as daemon:
        room = _SOFT - _RESERVE
        people = People(daemon.port, room)
        refused = [connect(daemon.port, "127.0.0.1") for _ in range(150)]
        told = [_all(sock) for sock in refused]
        full = sum(text == b"! this server is full; try again later\n" for text in told)
        outcome.figures[f"{room} are in; of 150 more, told that it is full"] = str(full)
        outcome.promise(full >= _REFUSALS, f"only {full} were told that it is full")
        outcome.promise(all(t in (b"", told[0]) for t in told), "another connection was accepted")
        people.chat(seconds, 5)
        outcome.promise(not people.lost, "people could not chat on when it was full")

        # Fewer than are open, so accept() itself fails now.
        soft, hard = resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE)
        files = len(os.listdir(f"/proc/{daemon.pid}/fd"))
        lines = len(daemon.log)
        resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (files, hard))
        strangers = [connect(daemon.port, "127.0.0.1") for _ in range(150)]
        cpu, began = cpu_seconds(daemon.pid), time.monotonic()
        latencies = people.chat(seconds, 5)
        share = (cpu_seconds(daemon.pid) - cpu) / (time.monotonic() - began)
        ended = sum(_has_ended(sock) for sock in strangers)
        logged = len(daemon.log) - lines
        outcome.figures["accept fails: processor time"] = f"{100 * share:.1f}% of one"
        outcome.figures["accept fails: log lines for 150 who connect"] = str(logged)
        outcome.figures["accept fails: of them hung up on"] = str(ended)
        outcome.promise(bool(latencies) and not people.lost, "people could not chat on")
        outcome.target(share < 0.5, "accepting takes all of a processor")
        outcome.promise(logged <= 1000, f"{logged} lines in the log")
        outcome.promise("Traceback" not in "".join(daemon.log), "a traceback")

        # Restore the limit.
        resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (soft, hard))
        for sock in (*refused, *strangers):
            sock.close()
        for sock in people.sockets[:10]:
            sock.close()
        outcome.promise(_lets_in(daemon.port), "it lets nobody in afterwards")
        people.close()
    return outcome


class _Limited(Daemon):
    """A daemon that is started with a small limit on open files."""

    def start(self) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (_SOFT, hard))
        try:
            super().start()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 1024), hard))


def _all(sock: socket.socket) -> bytes:
    """Return everything that a connection is sent until its end."""
    received = b""
    try:
        while data := sock.recv(4096):
            received += data
    except ConnectionResetError:
        pass
    return received


def _has_ended(sock: socket.socket) -> bool:
    """Return whether the server has closed the connection."""
    sock.setblocking(False)
    try:
        return not sock.recv(4096)
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


def _lets_in(port: int) -> bool:
    """Return whether somebody new can join once the server has noticed that others have left."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        with connect(port, "127.0.0.1") as sock:
            if b"Welcome" in sock.recv(4096):
                return True
        time.sleep(0.1)
    return False
