"""Power loss: each message must be on the disk before it is sent, according to C{strace}."""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from unittest import SkipTest

from tests.daemon import Daemon

from .guests import Guest, hear_out, talk
from .outcome import Outcome

_CALLS = "write,pwrite64,writev,pwritev,fsync,fdatasync,sendto,sendmsg"

_LINE = re.compile(r"^(\d+) +(?:<\.\.\. )?(\w+)(?: resumed>|\(\d+<([^>]*)>)")
"""Process, call, and the file of its descriptor, which only the beginning of a call has."""

_TOKEN = re.compile(r"tok\d{6}x")


def run(short: bool) -> Outcome:
    """Send messages alone and in batches, in a room and in the lobby."""
    if shutil.which("strace") is None:
        raise SkipTest("strace is not installed")
    if subprocess.run(["strace", "-o", "/dev/null", "true"], check=False).returncode:
        raise SkipTest("ptrace is not permitted")
    outcome = Outcome()
    directory = Path(tempfile.mkdtemp(prefix="chat-"))
    trace = directory / "trace"
    under = ["strace", "-D", "-f", "-y", "-s", "4000000", "-e", f"trace={_CALLS}", "-o", str(trace)]
    with Daemon(directory=directory, under=under) as daemon:
        guests = [
            Guest(daemon.port, "alice"),
            Guest(daemon.port, "bob", "dev"),
            Guest(daemon.port, "carol", "dev"),
        ]
        most = 100 if short else 5000
        numbers: dict[str, int] = {}

        def text(guest: Guest, n: int) -> str:
            number = numbers.setdefault(f"{guest.name} {n}", len(numbers))
            return f"tok{number:06}x"

        # At this pace some messages have a commit each, and others share one.
        talk(guests, text, lambda: sum(guest.said for guest in guests) >= most, 2000)
        hear_out(guests)
        receipts = sum(guest.receipts for guest in guests)
        daemon.stop()
    _judge(trace, receipts, outcome)
    shutil.rmtree(directory, ignore_errors=True)
    return outcome


def _judge(trace: Path, receipts: int, outcome: Outcome) -> None:
    written: set[str] = set()  # in the write-ahead log, but perhaps not on the disk
    durable: set[str] = set()
    sent: set[str] = set()
    syncs = early = 0
    batches: list[int] = []
    for call, target, begins, ends, tokens in _calls(trace):
        if target.endswith("chat.db-wal"):
            if call in ("fsync", "fdatasync") and ends:
                syncs += 1
                batches.append(len(written - durable))
                durable |= written
            elif ends:
                written |= tokens
        elif ("socket" in target or "TCP" in target) and begins:
            early += len(tokens - durable)
            sent |= tokens
    outcome.promise(receipts > 0 and len(sent) >= receipts, f"only {len(sent)} were seen sent")
    outcome.promise(not early, f"{early} messages were sent before they were on the disk")
    outcome.figures["messages"] = f"{len(sent):,}, in commits of 1 to {max(batches, default=0)}"
    outcome.figures["syncs of the write-ahead log"] = f"{syncs:,}"
    outcome.figures["sent before its sync"] = str(early)


def _calls(trace: Path) -> Iterator[tuple[str, str, bool, bool, set[str]]]:
    """Yield the calls in their order: name, target, whether this line is the call's beginning and
    whether it is its end, and the messages in it. An interrupted call has two lines."""
    unfinished: dict[str, tuple[str, set[str]]] = {}
    with trace.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            match = _LINE.match(line)
            if match is None:
                continue
            process, call, target = match[1], match[2], match[3]
            tokens = set(_TOKEN.findall(line))
            if target is None:
                if process not in unfinished:
                    continue
                target, tokens = unfinished.pop(process)
                yield call, target, False, not _failed(line), tokens
            elif line.rstrip().endswith("<unfinished ...>"):
                unfinished[process] = target, tokens
                yield call, target, True, False, tokens
            else:
                yield call, target, True, not _failed(line), tokens


def _failed(line: str) -> bool:
    return " = -1 " in line
