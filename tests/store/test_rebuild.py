"""How a database of version 0.1 is replaced, whatever interrupts that."""

import errno
import os
import shutil
import sqlite3
import stat
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, ClassVar
from unittest import SkipTest

from sqlalchemy.engine import URL
from twisted.internet import reactor as _reactor
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from tests.store.databases import directory, dump, restore
from twisted_chat.store import SqlStore, StoreError, copying, rebuild
from twisted_chat.store.sqlite import Database

reactor: Any = _reactor

_CALLS = ("link", "unlink", "replace", "open", "fsync", "fchown", "fchmod")
"""What the module asks of the system."""

_OF_ANOTHER_VERSION = "UPDATE copying SET origin = replace(origin, '0005 ', '0006 ')"

_real = {name: getattr(os, name) for name in _CALLS}


class Killed(BaseException):
    """What interrupts an upgrade."""


class RebuildCase(SynchronousTestCase):
    """@ivar directory: of the database C{chat.db}.

    @cvar old: what it has, as SQL.
    @cvar new: what its copy has.
    """

    old: ClassVar[list[str]] = []
    new: ClassVar[list[str]] = []

    def setUp(self) -> None:
        self.patch(copying, "PIECE", 5)
        self.directory = directory(self)
        self.path = self.directory / "chat.db"
        restore("0004", self.path)
        if not self.old:
            path = directory(self) / "chat.db"
            restore("0004", path)
            self.old.extend(dump(path))
            self.open(path)
            self.new.extend(dump(path))

    def open(self, path: Path | None = None) -> list[str]:
        """Open the database as the store does, and close it; return what was logged.

        @raise StoreError: if it is refused.
        """
        database = Database(URL.create("sqlite", database=str(path or self.path)), reactor)
        with capturedLogs() as logged:
            database.open(lambda connection: None)
        database.close()
        return [formatEvent(event) for event in logged]

    def refuse(self) -> str:
        """Return why the database is refused."""
        store = SqlStore(f"sqlite:///{self.path}", reactor)
        self.addCleanup(store._worker._pool.stop)  # if it could be opened after all
        reason = str(self.assertRaises(StoreError, store.open))
        return reason.partition(f"sqlite:///{self.path}: ")[2]

    def names(self, directory: Path | None = None) -> list[str]:
        """List the files."""
        return sorted(path.name for path in (directory or self.directory).iterdir())

    def check(self, directory: Path | None = None) -> None:
        """Check that the database was upgraded, and that the old one was kept."""
        directory = directory or self.directory
        self.assertEqual(self.names(directory), ["chat.db", "chat.db.0.1"])
        self.assertEqual(dump(directory / "chat.db"), self.new)
        self.assertEqual(dump(directory / "chat.db.0.1"), self.old)

    @contextmanager
    def watched(self, step: Callable[[str], None]) -> Iterator[None]:
        """Have a function called before each statement and each call of the system."""

        def wrap(name: str) -> Callable[..., Any]:
            def call(*args: Any, **kwargs: Any) -> Any:
                step(name)
                return _real[name](*args, **kwargs)

            return call

        def connect(*args: Any, **kwargs: Any) -> Any:
            connection = real(*args, **kwargs)
            connection.set_trace_callback(step)
            return connection

        real = sqlite3.connect
        patches = [self.patch(os, name, wrap(name)) for name in _CALLS]
        patches += [self.patch(each, "connect", connect) for each in (sqlite3, sqlite3.dbapi2)]
        try:
            yield
        finally:
            for each in patches:
                each.restore()

    def stop_at(self, stage: int, last: int) -> None:
        """Upgrade up to some piece.

        @raise Killed: then.
        """
        copy = copying._STAGES[stage]

        def killed(driver: sqlite3.Connection, after: int) -> tuple[int | None, int]:
            if after >= last:
                raise Killed
            return copy(driver, after)

        stages = [*copying._STAGES]
        stages[stage] = killed
        patch = self.patch(copying, "_STAGES", stages)
        self.assertRaises(Killed, self.open)
        patch.restore()


class InterruptedTests(RebuildCase):
    """However an upgrade ends, the next start has everything, once."""

    def test_killed_at_every_step(self) -> None:
        """At any step the database is the old one or the new one, whole, and the next start ends
        with the new one. What C{kill -9} leaves is what the files are at that moment."""
        found: dict[object, Path] = {}

        def step(_: str) -> None:
            files = sorted(self.directory.iterdir())
            key = tuple((path.name, path.stat().st_ino, path.read_bytes()) for path in files)
            if key in found:
                return
            found[key] = copy = directory(self)
            for path in files:
                twin = next((p for p in files[: files.index(path)] if p.samefile(path)), None)
                if twin is None:
                    shutil.copy2(path, copy)
                else:
                    _real["link"](copy / twin.name, copy / path.name)

        with self.watched(step):
            self.open()
        self.check()
        self.assertGreater(len(found), 20)
        for left in found.values():
            now = directory(self) / "chat.db"
            shutil.copy2(left / "chat.db", now)
            self.assertIn(dump(now), (self.old, self.new))
            self.open(left / "chat.db")
            self.check(left)

    def test_killed_again_and_again(self) -> None:
        """An upgrade that is killed after each piece goes on with the next, and says so."""
        self.stop_at(0, 0)
        self.assertEqual(self.names(), ["chat.db", "chat.db.upgrade"])
        for stage, last in (1, 0), (1, 9), (2, 0), (2, 5), (2, 14):
            self.stop_at(stage, last)
        lines = self.open()
        self.assertIn("the upgrade of the database goes on where it was interrupted", lines)
        self.assertIn("upgrading the database: 10 of 19 messages (52 %)", lines)
        self.check()

    def test_progress(self) -> None:
        """The log tells how far the upgrade is, and where the old database is kept."""
        self.patch(copying, "EVERY", 0)
        *lines, last = self.open()
        done = (0, 0, 0, 0, 0, 5, 10, 15, 19)
        self.assertEqual(
            lines,
            [
                f"upgrading the database: {each} of 19 messages ({100 * each // 19} %)"
                for each in done
            ],
        )
        self.assertRegex(last, rf"^upgraded the database in .* s; .* is now {self.path}.0.1$")
        self.assertEqual(self.open(), [])

    def test_failing_calls(self) -> None:
        """If the system refuses anything, the upgrade is given up with a sentence, the database is
        the old one or the new one, and the next start ends with the new one."""
        calls: list[str] = []
        with self.watched(calls.append):
            rebuild.rebuild(str(self.path))
        calls = [call for call in calls if call in _CALLS]
        self.assertEqual(set(calls), set(_CALLS))
        for failing in range(len(calls)):
            self.directory = directory(self)
            self.path = self.directory / "chat.db"
            restore("0004", self.path)
            count = iter(range(failing + 1))

            def step(call: str, count: Iterator[int] = count, failing: int = failing) -> None:
                if call in _CALLS and next(count, None) == failing:
                    raise OSError(errno.EIO, os.strerror(errno.EIO), str(self.path))

            with self.watched(step):
                error = self.assertRaises(StoreError, rebuild.rebuild, str(self.path))
            self.assertIn("it cannot be upgraded", str(error), calls[failing])
            self.open()
            self.check()

    def test_full_disk(self) -> None:
        """When the disk is full, the old database is as it was, and the upgrade goes on when there
        is space again."""

        def copy(driver: sqlite3.Connection) -> None:
            driver.execute("PRAGMA fresh.max_page_count = 1")  # no more than there are
            for _ in range(100):
                copying.copy(driver)

        restored = self.patch(rebuild, "copy", copy)
        long = "x" * 10_000
        with closing(sqlite3.connect(self.path)) as old:
            old.execute("UPDATE messages SET text = ? WHERE id = 23", (long,))
            old.commit()
        before = dump(self.path)
        self.assertEqual(self.refuse(), "database or disk is full")
        self.assertEqual(dump(self.path), before)
        self.assertEqual(self.names(), ["chat.db", "chat.db.upgrade"])
        restored.restore()
        self.assertIn("the upgrade of the database goes on where it was interrupted", self.open())
        self.assertIn(long, "".join(dump(self.path)))
        self.assertEqual(dump(Path(f"{self.path}.0.1")), before)

    def test_old_version_went_on(self) -> None:
        """If the old version was used after the interruption, the upgrade begins anew."""
        self.stop_at(2, 14)
        with closing(sqlite3.connect(self.path)) as old:
            old.execute("PRAGMA journal_mode = WAL")
            old.execute("UPDATE accounts SET password_hash = x'01' WHERE id = 2")
            old.execute("UPDATE messages SET text = 'changed' WHERE id = 4")
            old.commit()
        lines = self.open()
        self.assertIn("upgrading the database: 0 of 19 messages (0 %)", lines)
        self.assertEqual(self.names(), ["chat.db", "chat.db.0.1"])
        with closing(sqlite3.connect(self.path)) as new:
            self.assertEqual(
                new.execute("SELECT text FROM entries WHERE id = 4").fetchall(), [("changed",)]
            )
            self.assertEqual(
                new.execute("SELECT secret FROM credentials WHERE account_id = 2").fetchall(),
                [(b"\x01",)],
            )

    def test_old_version_was_killed(self) -> None:
        """What the old version had in its write-ahead log when it was killed is upgraded, and the
        log does not get into the new database."""
        self.stop_at(2, 14)
        with closing(sqlite3.connect(self.path)) as old:
            old.execute("PRAGMA journal_mode = WAL")
            old.execute("UPDATE messages SET text = 'changed' WHERE id = 4")
            old.commit()
            left = directory(self)
            for name in "chat.db", "chat.db-wal", "chat.db.upgrade":
                shutil.copy2(self.directory / name, left)
        self.assertGreater((left / "chat.db-wal").stat().st_size, 0)
        self.open(left / "chat.db")
        self.assertEqual(self.names(left), ["chat.db", "chat.db.0.1"])
        for name in "chat.db", "chat.db.0.1":
            self.assertIn("'changed'", "".join(dump(left / name)))

    def test_journal_of_the_old_database(self) -> None:
        """What SQLite leaves of a journal when it is killed does not stay beside the new
        database."""
        journal = Path(f"{self.path}-journal")
        journal.write_bytes(bytes(512) + b"junk")
        self.open()
        self.check()
        path = directory(self) / "chat.db"
        shutil.copy2(f"{self.path}.0.1", path)
        with closing(sqlite3.connect(path)) as old:
            old.execute("PRAGMA cache_size = 1")
            old.execute("UPDATE accounts SET name = name || 'x'")  # not committed
            old.execute("UPDATE messages SET text = 'x' || randomblob(9000)")
            killed = directory(self) / "chat.db"
            for each in path, Path(f"{path}-journal"):
                shutil.copy2(each, killed.parent)
        self.assertEqual(Path(f"{killed}-journal").read_bytes()[:4], b"\xd9\xd5\x05\xf9")
        self.open(killed)
        self.check(killed.parent)

    def test_unfinished_copy_that_cannot_be_used(self) -> None:
        """What another version has begun, what is complete but for its name, and what is no
        database is replaced."""
        self.stop_at(2, 14)
        unfinished = self.directory / "chat.db.upgrade"
        for statement in _OF_ANOTHER_VERSION, "DROP TABLE copying":
            with closing(sqlite3.connect(unfinished)) as copy:
                copy.execute(statement)
                copy.commit()
            self.stop_at(1, 0)
            with closing(sqlite3.connect(unfinished)) as copy:
                self.assertEqual(copy.execute("SELECT * FROM accounts").fetchall(), [])
        for junk in b"", b"junk" * 1000:
            unfinished.write_bytes(junk)
            self.stop_at(1, 0)
        self.open()
        self.check()

    def test_unfinished_copy_in_the_place_of_the_database(self) -> None:
        """An unfinished copy that somebody puts in the place of the database is refused."""
        self.stop_at(2, 14)
        os.replace(self.directory / "chat.db.upgrade", self.path)
        self.assertIn("it is an unfinished copy", self.refuse())


class FilesTests(RebuildCase):
    """Which files there are, and what is refused."""

    def refuse_unchanged(self) -> str:
        """Return why the database is refused before anything is done."""
        before, names = dump(self.path), self.names()
        reason = self.refuse()
        self.assertEqual((dump(self.path), self.names()), (before, names))
        return reason

    def test_too_little_space(self) -> None:
        """Without space for the copy, nothing is begun. What is copied already needs none."""
        usage = shutil.disk_usage(self.path)
        self.patch(shutil, "disk_usage", lambda path: usage._replace(free=40_000))
        self.assertRegex(
            self.refuse_unchanged(),
            r"^it cannot be upgraded, as its copy needs about [\d.]+ MB and there are [\d.]+ MB;",
        )
        self.patch(shutil, "disk_usage", lambda path: usage._replace(free=10**9))
        self.stop_at(2, 14)
        self.patch(shutil, "disk_usage", lambda path: usage._replace(free=40_000))
        self.open()
        self.check()

    def test_name_is_taken(self) -> None:
        """A file that has the name under which the old database would be kept is left alone."""
        kept = Path(f"{self.path}.0.1")
        kept.write_text("mine")
        self.assertEqual(
            self.refuse_unchanged(),
            f"it cannot be upgraded, as the old file would be kept as {kept}, which is there"
            " already; move that away",
        )
        self.assertEqual(kept.read_text(), "mine")

    def test_no_hard_links(self) -> None:
        """Where the old database cannot be kept, nothing is begun."""

        def link(source: object, target: object) -> None:
            raise OSError(errno.EPERM, os.strerror(errno.EPERM))

        self.patch(os, "link", link)
        self.assertIn("cannot be kept as", self.refuse_unchanged())

    def test_copy_that_lacks_something(self) -> None:
        """A copy that has not as much as the old database does not take its place."""
        self.patch(copying, "_MAKE_CONVERSATIONS", "SELECT :last, :up_to, :limit")
        self.assertEqual(
            self.refuse(),
            "the upgrade went wrong: there are 10 instead of 19 entries; the database is as it was",
        )
        self.assertEqual(dump(self.path), self.old)

    def test_open_elsewhere(self) -> None:
        """A database that another process has open, the old version for example, is refused; nor
        can another process open it during the upgrade."""
        real = sqlite3.connect

        def connect(*args: Any, **kwargs: Any) -> Any:
            return real(*args, **{**kwargs, "timeout": 0})

        for each in sqlite3, sqlite3.dbapi2:
            self.patch(each, "connect", connect)
        with closing(real(self.path)) as other:
            other.execute("PRAGMA locking_mode = EXCLUSIVE")
            other.execute("SELECT * FROM rooms").fetchall()
            self.assertEqual(self.refuse(), "another process has it open")
        refused: list[str] = []

        def replace(*args: Any) -> None:
            with closing(real(self.path, timeout=0)) as other:
                error = self.assertRaises(
                    sqlite3.OperationalError, other.execute, "SELECT * FROM rooms"
                )
            refused.append(str(error))
            _real["replace"](*args)

        self.patch(os, "replace", replace)
        self.open()
        self.assertEqual(refused, ["database is locked"])
        self.check()

    def test_link_to_the_database(self) -> None:
        """The new database is where the old one is, and a link to it remains one."""
        link = directory(self) / "link.db"
        link.symlink_to(self.path)
        self.open(link)
        self.check()
        self.assertTrue(link.is_symlink())
        self.assertEqual(self.names(link.parent), ["link.db"])

    def test_odd_names(self) -> None:
        """A relative path, and one with characters that mean something to SQL or in a URL."""
        odd = self.directory / "it's %20 #1?x=y;--.db"
        os.replace(self.path, odd)
        relative = Path(os.path.relpath(odd))
        self.open(relative)
        self.assertEqual(dump(relative), self.new)
        self.assertEqual(self.names(), [odd.name, f"{odd.name}.0.1"])

    def test_modes(self) -> None:
        """Who may open the old file may open the new one, and nobody else."""
        for mode in 0o600, 0o640, 0o666:
            self.path.chmod(mode)
            self.stop_at(1, 0)
            self.open()
            for path in self.path, Path(f"{self.path}.0.1"):
                self.assertEqual(stat.S_IMODE(path.stat().st_mode), mode)
            os.replace(f"{self.path}.0.1", self.path)

    def test_owner(self) -> None:
        """The new file belongs to the owner of the old one. If it can belong neither to them nor to
        their group, the group may not open it."""
        if os.geteuid():
            raise SkipTest("only root can give files away")
        os.chown(self.path, 12345, 54321)
        self.open()
        new = self.path.stat()
        self.assertEqual((new.st_uid, new.st_gid), (12345, 54321))

        def fchown(*args: int) -> None:
            raise PermissionError

        os.replace(f"{self.path}.0.1", self.path)
        self.path.chmod(0o660)
        self.patch(os, "fchown", fchown)
        self.open()
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)
