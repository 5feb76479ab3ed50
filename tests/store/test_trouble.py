"""What the store does when the disk is full or the file is damaged."""

import sqlite3
from collections.abc import Awaitable
from contextlib import closing

from sqlalchemy import Connection
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from tests.contract.cases import LOBBY, SqlCase, said, texts, told
from tests.support import NOW
from twisted_chat.core.errors import Refusal
from twisted_chat.core.model import Credential, Entry
from twisted_chat.store.trouble import damage, trouble


class WordsTests(SynchronousTestCase):
    """Which errors of a database pass, which do not, and which are defects of ours."""

    def test_kinds(self) -> None:
        """An error is told by its code, as the driver or SQLAlchemy raises it."""

        def kind(error: Exception) -> tuple[bool, bool]:
            return trouble(error) is not None, damage(error) is not None

        for words in ("database or disk is full", "disk I/O error", "database is locked"):
            self.assertEqual(kind(sqlite3.OperationalError(words)), (True, False), words)
        for words in ("database disk image is malformed", "file is not a database"):
            self.assertEqual(kind(sqlite3.DatabaseError(words)), (False, True), words)
        for error in (ValueError("full"), sqlite3.ProgrammingError("no such column"), KeyError()):
            self.assertEqual(kind(error), (False, False), error)


class OutageTestCase(SqlCase):
    """@ivar lines: what was logged."""

    def setUp(self) -> None:
        super().setUp()
        self.lines: list[str] = []

        @implementer(ILogObserver)
        def observe(event: LogEvent) -> None:
            self.lines.append(formatEvent(event))

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)

    async def refused(self, question: Awaitable[object], code: str = "unavailable") -> str:
        """The sentence that a question is refused with."""
        try:
            await question
        except Refusal as refusal:
            self.assertEqual(refusal.code, code)
            return refusal.text
        raise AssertionError("it was not refused")


class FullTests(OutageTestCase):
    """A full disk, simulated by a file that must not grow."""

    async def room_on_disk(self, there_is: bool) -> None:
        def limit(connection: Connection) -> None:
            connection.exec_driver_sql(f"PRAGMA max_page_count = {2**31 if there_is else 1}")

        await self.store._read(limit)

    async def fill(self) -> int:
        """Post until the disk is full; return how many posts were kept."""
        await self.room_on_disk(False)
        kept = 0
        while await self.commit(said(LOBBY, "x" * 1000)):
            kept += 1
        return kept

    async def test_posts_are_refused_and_accepted_again(self) -> None:
        """While the disk is full posts are refused, with two lines in the log, and afterwards the
        numbering has no gap."""
        kept = await self.fill()
        for n in range(3):
            self.assertEqual(await self.commit(said(LOBBY, f"{n}{'x' * 1000}")), [])
        self.assertEqual(len(self.lost), 4)
        await self.room_on_disk(True)
        (stored,) = await self.commit(said(LOBBY, "there is room again"))
        assert isinstance(stored, Entry)
        self.assertEqual((stored.id, stored.seq), (kept + 1, kept + 1))
        self.assertEqual(
            self.lines,
            [
                "the database cannot store messages: database or disk is full",
                "the database stores messages again; 4 were refused meanwhile",
            ],
        )

    async def test_what_is_there_can_be_read(self) -> None:
        """The log and the accounts can be read while the disk is full."""
        alice = await self.account("alice")
        kept = await self.fill()
        self.assertEqual(len(await self.store.history(LOBBY.id, 1000)), kept)
        self.assertEqual(await self.store.find_account("alice"), alice)
        self.assertEqual(await self.unread(alice), [])

    async def test_changes_are_refused(self) -> None:
        """A change is refused with a sentence, and logs no further line."""
        alice = await self.account("alice")
        await self.fill()
        lines = list(self.lines)
        for change in (
            self.store.add_account("b" * 30, "b" * 3000, b"x" * 5000, NOW),
            self.store.set_password(Credential(alice, b"hash"), b"x" * 5000),
        ):
            sentence = await self.refused(change)
            self.assertIn("so nothing was changed", sentence)
        self.assertEqual(self.lines, lines)
        await self.room_on_disk(True)
        self.assertIsNotNone(await self.store.add_account("bob", "bob", b"hash", NOW))
        self.assertEqual(await self.store.find_account("alice"), alice)

    async def test_what_was_read_is_remembered_meanwhile(self) -> None:
        """A read mark that is set while the disk is full is stored with the next post."""
        alice, bob = await self.accounts("alice", "bob")
        entry = await self.entry(told(alice, bob, "psst"))
        await self.fill()
        self.append(said(LOBBY, "x" * 1000))
        self.append(said(LOBBY, "x" * 1000))
        self.store.mark_read(
            bob.id, entry.room.id, entry.seq
        )  # goes with the second, and fails with it
        await self.store.settle()
        self.assertEqual(await self.unread(bob), [])
        await self.room_on_disk(True)
        await self.commit(said(LOBBY, "there is room again"))
        await self.reopen()
        self.assertEqual(await self.unread(bob), [])


class DamageTests(OutageTestCase):
    """A file with a damaged page."""

    async def damage(self) -> None:
        """Overwrite the root page of the log."""
        await self.commit(said(LOBBY, "hello"))
        await self.store.close()
        with closing(sqlite3.connect(self.path)) as database:
            query = "SELECT rootpage FROM sqlite_master WHERE name = 'entries'"
            ((page,),) = database.execute(query).fetchall()
            ((size,),) = database.execute("PRAGMA page_size").fetchall()
        with self.path.open("r+b") as file:
            file.seek((page - 1) * size)
            file.write(b"\xff" * size)
        self.open()

    async def test_reading_finds_it(self) -> None:
        """If reading finds the damage, it is reported once, and every later request is refused."""
        await self.damage()
        for _ in range(2):
            self.assertIn("down", await self.refused(self.store.history(LOBBY.id, 10), "internal"))
        sentence = await self.refused(self.store.find_account("alice"), "internal")
        self.assertIn("down", sentence)
        lost = self.append(said(LOBBY, "lost"))
        await self.store.settle()
        self.assertEqual(self.lost, lost)
        self.assertEqual(self.fed[1:], [])
        (why,) = self.damages
        self.assertIn(f"{self.path}: database disk image is malformed", why)
        self.assertEqual(self.lines, [])

    async def test_writing_finds_it(self) -> None:
        """If writing finds the damage, all posts that wait are refused."""
        await self.damage()
        lost = self.append(*(said(LOBBY, str(n)) for n in range(3)))
        await self.store.settle()
        self.assertEqual(self.lost, lost)
        self.assertEqual(self.fed[1:], [])
        self.assertEqual(len(self.damages), 1)


class WalTests(SqlCase):
    """The write-ahead log."""

    async def test_it_does_not_grow(self) -> None:
        """The write-ahead log is reused, and is small again after a big change."""
        wal = self.path.with_name(f"{self.path.name}-wal")
        for _ in range(30):
            await self.commit(*(said(LOBBY, "x" * 1000) for _ in range(500)))
        self.assertLess(wal.stat().st_size, 8 * 2**20)

        def change(connection: Connection) -> None:
            connection.exec_driver_sql("CREATE TABLE big AS SELECT randomblob(40000000)")

        await self.store._read(change)
        self.assertGreater(wal.stat().st_size, 32 * 2**20)
        await self.commit(said(LOBBY, "after it"))
        self.assertLessEqual(wal.stat().st_size, 16 * 2**20)
        self.assertEqual(texts(await self.store.history(LOBBY.id, 1)), ["after it"])
