"""What the operations page tells the administrators of PostgreSQL to do."""

import re
import subprocess
from pathlib import Path
from typing import Any
from unittest import SkipTest

from twisted.internet import reactor as _reactor
from twisted.trial.unittest import TestCase

from tests import postgres
from tests.support import NOW
from twisted_chat.core.model import SAID, Entry, Post, RoomRecord
from twisted_chat.store import SqlStore

reactor: Any = _reactor

_PAGE = Path(__file__).parents[2] / "docs" / "operations.md"

_LOBBY = RoomRecord(1, "public", "lobby")


def _post(text: str) -> Post:
    return Post(_LOBBY, SAID, None, "гость", NOW, text, None, "")


class PageCase(TestCase):
    """A store whose posts are seen."""

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

    async def post(self, store: SqlStore, text: str) -> None:
        """Post to the lobby."""
        store.append(_post(text), 1)
        await store.settle()


def _sql(heading: str) -> list[str]:
    """Return the blocks of SQL below a heading of the page."""
    _, _, below = _PAGE.read_text("utf-8").partition(f"### {heading}\n")
    section, _, _ = below.partition("\n### ")
    return re.findall(r"```sql\n(.*?)```", section, re.DOTALL)


class BackupTests(PageCase):
    """C{pg_dump} while a node runs, and C{pg_restore} into an empty database."""

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


class StatementsTests(PageCase):
    """The SQL on the page."""

    async def test_watching(self) -> None:
        """What is there to watch a chat with can be run by its role, and tells which nodes live."""
        url = postgres.database(self)
        store = self.open(url)
        try:
            await self.post(store, "hello")
            found = {}
            for statement in _sql("What to watch"):
                with postgres.shared().connect(url, "chat") as connection:
                    cursor = connection.execute(statement.encode())
                    assert cursor.description is not None
                    found[cursor.description[0].name] = cursor.fetchall()
            self.assertEqual(found["pg_notification_queue_usage"], [(0.0,)])
            ((node, _, lives, last_commit),) = found["id"]
            self.assertEqual((node, lives), (store.node, True))
            self.assertIsNotNone(last_commit)
            self.assertEqual(len(found), 4)
        finally:
            await store.close()

    async def test_partitions(self) -> None:
        """A log that is made a partitioned table goes on, also when its oldest partition is
        dropped, and numbers are not given out again."""
        url = postgres.database(self)
        store = self.open(url)
        await self.post(store, "one")
        await store.close()
        make, drop = _sql("Partitions and retention")
        with postgres.shared().connect(url, "chat") as connection:
            connection.execute(make.encode())
        store = self.open(url)
        try:
            await self.post(store, "two")
            with postgres.shared().connect(url, "chat") as connection:
                connection.execute(drop.encode())
            self.assertEqual(await store.history(1, 10), ())
            await self.post(store, "three")
            self.assertEqual([seq for _, seq, _ in self.stored()], [1, 2, 3])
            self.assertEqual([each.text for each in await store.history(1, 10)], ["three"])
        finally:
            await store.close()
