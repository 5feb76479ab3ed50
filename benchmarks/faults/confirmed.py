"""Compares the messages that people were shown with the log."""

import shutil
import sqlite3
import tempfile
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

from .outcome import Outcome


class Confirmed:
    """All messages that anybody was shown. Their texts begin with their author and a growing
    number."""

    def __init__(self, outcome: Outcome) -> None:
        self._outcome = outcome
        self._shown: dict[int, tuple[str, int, str, str]] = {}  # by id: room, seq, author, text

    def note(self, events: Iterable[dict[str, Any]]) -> None:
        """Note the messages that a guest was shown: its own (receipts), and those of others."""
        for message in events:
            if message["event"] != "message" or message["replay"]:
                continue
            entry = message["room"], message["seq"], message["from"], message["text"]
            self._outcome.promise(
                self._shown.setdefault(message["id"], entry) == entry,
                f"id {message['id']} was shown as two messages",
            )

    def check(self, directory: Path, *, gaps: bool = False) -> int:
        """Check a copy of the database; the daemon will recover from the original.

        @param gaps: some messages were refused, so their authors' numbers have gaps.
        @return: the number of messages in the database.
        """
        copy = Path(tempfile.mkdtemp(prefix="chat-"))
        for path in directory.glob("chat.db*"):
            shutil.copy(path, copy)
        with closing(sqlite3.connect(copy / "chat.db")) as database:
            (state,) = database.execute("PRAGMA integrity_check").fetchone()
            rows = database.execute(
                "SELECT entries.kind, entries.id, name, seq, author, text FROM entries"
                " JOIN rooms ON rooms.id = room_id ORDER BY entries.id"
            ).fetchall()
        shutil.rmtree(copy)
        self._outcome.promise(state == "ok", f"the integrity check said {state}")
        messages = [entry for kind, *entry in rows if kind == "said"]
        kept = {id: tuple(message) for id, *message in messages}
        lost = sum(kept.get(id) != entry for id, entry in self._shown.items())
        self._outcome.promise(not lost, f"{lost} that were shown are not in the log as shown")
        self._check_order(rows)
        self._check_numbers(messages, gaps)
        return len(messages)

    def _check_order(self, rows: list[Any]) -> None:
        seqs: dict[str, int] = {}
        for _, _, room, seq, _, _ in rows:
            last = seqs.get(room, 0)
            self._outcome.promise(seq == last + 1, f"{room}: {seq} comes after {last}")
            seqs[room] = seq

    def _check_numbers(self, messages: list[Any], gaps: bool) -> None:
        numbers: dict[str, int] = {}
        for _, _, _, author, text in messages:
            number, last = int(text.split()[1]), numbers.get(author, -1)
            self._outcome.promise(
                number == last + 1 or (gaps and number > last),
                f"{author}: {number} comes after {last}",
            )
            numbers[author] = number
