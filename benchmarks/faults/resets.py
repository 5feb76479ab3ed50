"""Connections that are closed or reset, at once and after every byte of a login."""

import os
import select
import socket
import time

from benchmarks.load import resident_bytes
from tests.daemon import Daemon

from .outcome import Outcome
from .people import PATIENCE, connect, log_in, reset

_MIB = 2**20

_DIALOGUES = (
    b"/guest nobody1\nhello\n/join room1\n/quit\n",
    b"/json on\n/register bot1 sesame123\nhello\n/quit\n",
    b"/json on\n/login alice sesame123\nhello\n/dm alice hello\n",
    b"alice\r\nwrong password\r\nsesame123\r\nhello\r\n",
    b"\xff\xfd\x01somebody2\r\nsesame123\r\nDM\r\nalice\r\nhello\r\n",
    b"\nPM\nto everyone\nEX\n",
)


def run(short: bool) -> Outcome:
    """Run a hundred thousand connections that say nothing, and every beginning of a dialogue."""
    outcome = Outcome()
    drops, rounds = (300, 1) if short else (100_000, 20)
    with Daemon() as daemon:
        log_in(daemon.port, "first").close()  # so that it has opened all files that it needs
        alice = connect(daemon.port, "127.0.0.1")
        alice.sendall(b"/register alice sesame123\n/quit\n")
        while alice.recv(4096):
            pass
        files = _settled_files(daemon.pid)
        _drop(daemon.port, drops // 5)
        _dialogues(daemon.port, 1)
        _settled_files(daemon.pid, files)
        memory = resident_bytes(daemon.pid)
        began = time.perf_counter()
        _drop(daemon.port, drops)
        took = time.perf_counter() - began
        dialogues = _dialogues(daemon.port, rounds)
        left = _settled_files(daemon.pid, files)
        grown = resident_bytes(daemon.pid) - memory
        outcome.figures[f"{drops:,} connects and drops"] = f"{drops / took:,.0f} a second"
        outcome.figures["dialogues that were reset"] = f"{dialogues:,}"
        outcome.figures["open files before and after"] = f"{files}, {left}"
        outcome.figures["memory grew by"] = f"{grown / _MIB:.2f} MiB"
        outcome.promise(left <= files, f"{left - files} files stayed open")
        outcome.target(grown < 2 * _MIB, f"memory grew by {grown / _MIB:.1f} MiB")
        last = log_in(daemon.port, "last")
        last.sendall(b"/users\n")
        here = b""
        while b"in the lobby: " not in here:
            here += last.recv(65536)
        last.close()
        outcome.promise(b"1 person is in the lobby" in here, "somebody is still there")
        outcome.promise("Traceback" not in "".join(daemon.log), "a traceback")
    return outcome


def _drop(port: int, count: int) -> None:
    """Open and close this many connections, every other one with a RST."""
    for number in range(count):
        sock = socket.socket()
        sock.bind((f"127.0.{1 + number % 100}.1", 0))
        sock.connect(("127.0.0.1", port))
        if number % 2:
            reset(sock)
        else:
            sock.close()


def _dialogues(port: int, rounds: int) -> int:
    """Reset each beginning of each dialogue: at once, or after an answer."""
    count = 0
    for number in range(rounds):
        for dialogue in _DIALOGUES:
            for size in range(len(dialogue) + 1):
                sock = connect(port, f"127.0.{1 + number}.2")
                sock.sendall(dialogue[:size])
                if (number + size) % 2:
                    select.select([sock], [], [], 0.002)
                reset(sock)
                count += 1
    return count


def _settled_files(pid: int, wanted: int = 0) -> int:
    """Return a process's number of open files, once it is the expected one or stable."""
    until = time.monotonic() + PATIENCE
    before, same = -1, 0
    while True:
        files = len(os.listdir(f"/proc/{pid}/fd"))
        same = same + 1 if files == before else 0
        if files <= wanted or (not wanted and same == 5) or time.monotonic() > until:
            return files
        before = files
        time.sleep(0.1)
