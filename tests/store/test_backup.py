"""A backup of a PostgreSQL database, made and restored with PostgreSQL's own programs."""

import subprocess
from typing import Any
from unittest import SkipTest

from twisted.internet import reactor as _reactor
from twisted.trial.unittest import TestCase

from tests import postgres
from tests.support import NOW
from twisted_chat.core.model import SAID, Entry, Post, RoomRecord
from twisted_chat.store import SqlStore

reactor: Any = _reactor

_LOBBY = RoomRecord(1, "public", "lobby")


def _post(text: str) -> Post:
    return Post(_LOBBY, SAID, None, "гость", NOW, text, None, "")


class BackupTests(TestCase):
    """C{pg_dump} while a node runs, and C{pg_restore} into an empty database."""

    def setUp(self) -> None:
        self.fed: list[Any] = []

    def program(self, name: str, url: str, *arguments: str, given: bytes = b"") -> bytes:
        """Run one of PostgreSQL's programs on a database; return its output."""
        directory = postgres.programs()
        if directory is None or not (directory / name).exists():
            raise SkipTest(f"{name} is not installed")
        done = subprocess.run(
            (directory / name, *arguments, "-d", url.replace("+psycopg", "")),
            input=given,
            capture_output=True,
            check=True,
        )
        return done.stdout

    def open(self, url: str) -> SqlStore:
        """Open a store."""
        store = SqlStore(url, reactor)
        store.open()
        store.subscribe(self.fed.extend, lambda *_: None, lambda _: None)
        return store

    def stored(self) -> list[tuple[int, int, str]]:
        """Return the ids, numbers and texts of what was posted."""
        return [
            (entry.id, entry.seq, entry.text)
            for number, entry in self.fed
            if number and isinstance(entry, Entry)
        ]

    async def test_restored(self) -> None:
        """All that was said before the backup began is restored, with its ids and numbers, and the
        log goes on after it."""
        url = postgres.database(self)
        store = self.open(url)
        try:
            store.append(_post("привет, 世界"), 1)
            await store.settle()
            dump = self.program("pg_dump", url, "--format=custom")
            store.append(_post("later"), 2)
            await store.settle()
        finally:
            await store.close()
        ((id, seq, text), _) = self.stored()
        self.fed.clear()
        restored = postgres.database(self)
        self.program("pg_restore", restored, "--exit-on-error", "--no-owner", given=dump)
        store = self.open(restored)
        try:
            history = await store.history(1, 10)
            self.assertEqual(
                [(each.id, each.seq, each.text) for each in history], [(id, seq, text)]
            )
            store.append(_post("again"), 1)
            await store.settle()
        finally:
            await store.close()
        ((next_id, next_seq, _),) = self.stored()
        self.assertGreater(next_id, id)
        self.assertEqual(next_seq, seq + 1)
