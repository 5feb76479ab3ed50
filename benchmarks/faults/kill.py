"""C{kill -9} in the middle of a flood, over and over: what was confirmed must be in the log."""

import random
import shutil
import socket
import sqlite3
import statistics
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from benchmarks.daemon import Daemon

from .guests import Guest, talk
from .outcome import Outcome

_PACE = 10_000

_TARGET = 1.0
"""Seconds from the start to the first greeting."""


def run(short: bool) -> Outcome:
    """A hundred times."""
    outcome = Outcome()
    kills = 3 if short else 100
    confirmed: dict[int, tuple[str, int, str, str]] = {}  # by id: room, seq, author, text
    waits: list[float] = []
    said, seconds = 0, 0.0
    daemon = Daemon()
    try:
        daemon.start()
        for kill in range(kills):
            guests = [
                Guest(daemon.port, f"g{number}k{kill}", room)
                for number, room in enumerate(("lobby", "lobby", "dev", "dev"))
            ]
            began = time.monotonic()
            end = began + (0.2 if short else random.uniform(0.2, 1.2))
            talk(
                guests,
                lambda guest, n: f"{guest.name} {n:06}",
                lambda end=end: time.monotonic() > end,  # type: ignore[misc]
                _PACE,
            )
            seconds += time.monotonic() - began
            daemon.kill()
            for guest in guests:
                while guest.receive():
                    pass
                guest.socket.close()
                said += guest.receipts
                _confirm(confirmed, guest, outcome)
            _check(daemon.directory, confirmed, outcome)
            waits.append(_restart(daemon))
        daemon.stop()
        _check(daemon.directory, confirmed, outcome)
        outcome.promise("Traceback" not in "".join(daemon.log), "there was a traceback")
    finally:
        daemon.kill()
        shutil.rmtree(daemon.directory, ignore_errors=True)
    outcome.promise(said > 100 * kills, f"there was no flood: {said} receipts in all")
    outcome.figures["kills"] = str(kills)
    outcome.figures["receipts"] = f"{said:,}, {said / seconds:,.0f} a second"
    outcome.figures["accepting again after"] = (
        f"median {statistics.median(waits):.2f} s, worst {max(waits):.2f} s"
    )
    outcome.target(max(waits) <= _TARGET, f"a restart took over {_TARGET} s")
    return outcome


def _confirm(
    confirmed: dict[int, tuple[str, int, str, str]], guest: Guest, outcome: Outcome
) -> None:
    """Note what the guest has seen of the log: its own messages, its receipts, and the others'."""
    for message in guest.messages():
        if message["replay"]:
            continue
        entry = message["room"], message["seq"], message["from"], message["text"]
        outcome.promise(
            confirmed.setdefault(message["id"], entry) == entry,
            f"id {message['id']} was shown as two messages",
        )


def _restart(daemon: Daemon) -> float:
    """Seconds until somebody is greeted."""
    began = time.monotonic()
    daemon.start()
    with socket.create_connection(("127.0.0.1", daemon.port), timeout=20) as sock:
        sock.recv(4096)
    return time.monotonic() - began


def _check(
    directory: Path, confirmed: dict[int, tuple[str, int, str, str]], outcome: Outcome
) -> None:
    """Look at a copy of what was left: the daemon is to recover from the original."""
    copy = directory / "copy"
    copy.mkdir()
    for path in directory.glob("chat.db*"):
        shutil.copy(path, copy)
    with closing(sqlite3.connect(copy / "chat.db")) as database:
        (state,) = database.execute("PRAGMA integrity_check").fetchone()
        rows = database.execute(
            "SELECT messages.id, rooms.name, seq, author, text FROM messages"
            " JOIN rooms ON rooms.id = room_id ORDER BY messages.id"
        ).fetchall()
    shutil.rmtree(copy)
    outcome.promise(state == "ok", f"the integrity check said {state}")
    kept = {id: tuple(entry) for id, *entry in rows}
    lost = sum(kept.get(id) != entry for id, entry in confirmed.items())
    outcome.promise(not lost, f"{lost} messages that were shown are not in the log as shown")
    _check_order(rows, outcome)


def _check_order(rows: list[Any], outcome: Outcome) -> None:
    """Each room's C{seq} and each guest's own numbers go up by one."""
    seqs: dict[str, int] = {}
    numbers: dict[str, int] = {}
    for _, room, seq, author, text in rows:
        outcome.promise(
            seq == seqs.get(room, 0) + 1, f"{room}: {seq} comes after {seqs.get(room, 0)}"
        )
        seqs[room] = seq
        number = int(text.split()[1])
        outcome.promise(
            number == numbers.get(author, -1) + 1, f"{author}: {text} is doubled or out of order"
        )
        numbers[author] = number
