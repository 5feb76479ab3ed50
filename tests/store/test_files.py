"""The files that the store makes, and those that it keeps its hands off."""

import os
import sqlite3
import stat
from contextlib import closing
from pathlib import Path
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.trial.unittest import SynchronousTestCase

from tests.contract.cases import LOBBY, said
from twisted_chat.store import SqlStore, StoreError

from .test_trouble import OutageTestCase

reactor: Any = _reactor


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


class ModeTests(OutageTestCase):
    """Who may read the files."""

    def files(self) -> list[Path]:
        return sorted(self.path.parent.glob(f"{self.path.name}*"))

    async def test_new_files_are_for_their_owner_only(self) -> None:
        """New files can be read by their owner only, whatever the umask."""
        for umask in (0o000, 0o022, 0o777):
            self.addCleanup(os.umask, os.umask(umask))
            await self.store.close()
            self.path = Path(self.mktemp())
            self.open()
            await self.commit(said(LOBBY, "hello"))
            self.assertEqual(
                {path.name: _mode(path) for path in self.files()},
                {self.path.name: 0o600, f"{self.path.name}-wal": 0o600},
            )
        self.assertEqual(self.lines, [])

    async def test_link_to_a_file_that_is_not_there(self) -> None:
        """The target of a dangling link is made like any other file."""
        await self.store.close()
        target = self.path.with_name("target")
        self.path.unlink()
        self.path.symlink_to(target.name)
        os.umask(os.umask(0))
        self.open()
        self.assertEqual(_mode(target), 0o600)

    async def test_files_that_others_may_read_are_told_of(self) -> None:
        """Files that others may read are reported with their mode, and left as they are."""
        await self.store.close()
        for mode in (0o640, 0o604):
            self.path.chmod(mode)
            self.open()
            wal = f"{self.path.resolve()}-wal"
            self.assertEqual(
                [line.split(";")[0] for line in self.lines],
                [
                    f"other users may open {path}, whose mode is {mode:o}"
                    for path in (self.path.resolve(), wal)
                ],
            )
            self.assertEqual([_mode(path) for path in self.files()], [mode, mode])
            self.lines.clear()
            await self.store.close()
        self.path.chmod(0o600)
        self.open()
        self.assertEqual(self.lines, [])


class ForeignTests(SynchronousTestCase):
    """Databases that are not this program's, or not whole."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp())

    def write(self, *statements: str) -> None:
        with closing(sqlite3.connect(self.path)) as database:
            for statement in statements:
                database.execute(statement)
            database.commit()

    def refuse(self) -> str:
        """Why a database is refused; its files are not touched."""
        before = self.path.read_bytes(), self.path.stat().st_mtime_ns
        store = SqlStore(f"sqlite:///{self.path}", reactor)
        self.addCleanup(store._worker._pool.stop)  # if it could be opened after all
        why = str(self.assertRaises(StoreError, store.open))
        self.assertEqual((self.path.read_bytes(), self.path.stat().st_mtime_ns), before)
        self.assertEqual([*self.path.parent.glob(f"{self.path.name}*")], [self.path])
        return why.partition(f"{self.path}: ")[2]

    def test_database_of_another_program(self) -> None:
        """The database of another program is refused, also with Alembic's table, and in WAL
        mode."""
        other = "it is the database of another program; choose another database"
        self.write("CREATE TABLE recipes (name)")
        self.assertEqual(self.refuse(), other)
        self.write("CREATE TABLE alembic_version (version_num)")
        self.assertEqual(self.refuse(), other)
        self.write("INSERT INTO alembic_version VALUES ('3f6a9c1d2b4e')", "CREATE TABLE rooms (id)")
        self.assertEqual(self.refuse(), other)
        self.write("PRAGMA journal_mode = WAL")
        self.assertEqual(self.refuse(), other)

    def make(self) -> None:
        """Make a database of this program."""
        database = SqlStore(f"sqlite:///{self.path}", reactor)._database
        database.open(lambda connection: None)
        database.close()

    def test_without_a_lobby(self) -> None:
        """A database without a lobby, or without the row that numbers the log, is refused."""
        self.make()
        self.write("DELETE FROM rooms")
        self.assertEqual(self.refuse(), "it has no lobby; restore it from a backup")
        self.write(
            "INSERT INTO rooms (kind, name, skeleton, created)"
            " VALUES ('public', 'lobby', 'lobby', 0)"
        )
        self.write("DELETE FROM log_head")
        self.assertEqual(self.refuse(), "it has no head of the log; restore it from a backup")

    def test_write_ahead_log_without_its_database(self) -> None:
        """A write-ahead log without its database is refused: it may hold nearly everything, and
        SQLite would delete it."""
        self.make()
        with closing(sqlite3.connect(self.path)) as database:
            database.execute("UPDATE rooms SET topic = 'tea'")
            database.commit()
            wal = Path(f"{self.path}-wal")
            kept = wal.read_bytes()
            self.path.unlink()
        self.assertEqual(wal.read_bytes(), kept)
        error = self.assertRaises(StoreError, SqlStore(f"sqlite:///{self.path}", reactor).open)
        self.assertIn("its -wal file is not; put it back", str(error))
        self.assertEqual(wal.read_bytes(), kept)
        self.assertFalse(self.path.exists())

    def test_empty_file(self) -> None:
        """An empty file becomes a new database."""
        self.path.touch()
        self.make()
        self.make()

    def test_in_memory(self) -> None:
        """A database in memory has no file."""
        for url in ("sqlite://", "sqlite:///:memory:"):
            database = SqlStore(url, reactor)._database
            database.open(lambda connection: None)
            self.addCleanup(database.close)
            self.assertIsNone(database.write(lambda connection: None))
        self.assertFalse(Path(":memory:").exists())
