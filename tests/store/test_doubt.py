"""Commits that fail although they may have been kept, and files that are moved away."""

import os
import shutil
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from sqlalchemy import Connection
from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from tests.contract.cases import LOBBY, said, stands, texts, told
from tests.support import NOW
from twisted_chat.core.model import CREATED, TOPIC, Credential, Entry, RoomRecord
from twisted_chat.store import SqlStore, sqlite

from .test_trouble import OutageTestCase

reactor: Any = _reactor

_Question = Callable[[], Awaitable[object]]

_FAILS = sqlite3.OperationalError("disk I/O error")


class _FailingDriver:
    """A connection of which the next commit fails. SQLite cannot tell whether it is kept."""

    def __init__(self, driver: Any, kept: bool) -> None:
        self._driver = driver
        self._kept = kept

    def execute(self, statement: str) -> Any:
        if statement != "COMMIT":
            return self._driver.execute(statement)
        self._driver.execute(statement if self._kept else "ROLLBACK")
        raise _FAILS

    def __getattr__(self, name: str) -> Any:
        return getattr(self._driver, name)


class DoubtTestCase(OutageTestCase):
    """@ivar opens: how often the file was opened, or that was tried, since a commit failed."""

    @property
    def wal(self) -> Path:
        return self.path.with_name(f"{self.path.name}-wal")

    def fail_commit(self, *, kept: bool) -> None:
        """Have the next commit fail."""
        database = self.store._database
        database._driver = _FailingDriver(database._driver, kept)

    def keep_closed(self, error: Exception = _FAILS) -> tuple[Deferred[None], Callable[[], None]]:
        """Let nobody open the file.

        @return: fires when that is tried; and ends it.
        """
        self.patch(sqlite, "_PAUSE", 0.001)
        database = self.store._database
        tried: Deferred[None] = Deferred()
        connect = database._connect
        closed = [True]
        told: list[None] = []

        def refuse() -> None:
            if not closed:
                connect()
                return
            if not told:
                told.append(None)
                reactor.callFromThread(tried.callback, None)
            raise error

        self.patch(database, "_connect", refuse)
        return tried, closed.clear


class DoubtTests(DoubtTestCase):
    """Commits in doubt: each is answered by what is found when the file is opened again."""

    async def test_post_that_was_kept_is_delivered(self) -> None:
        """A post whose commit failed, but that was kept, is delivered once, and the log goes on
        after it."""
        self.fail_commit(kept=True)
        (stored,) = await self.commit(said(LOBBY, "1"))
        assert isinstance(stored, Entry)
        self.assertEqual((stored.id, stored.seq, self.lost), (1, 1, []))
        (after,) = await self.commit(said(LOBBY, "2"))
        self.assertEqual(await self.store.history(LOBBY.id, 10), (stored, after))
        self.assertEqual(self.lines, ["a failed commit was kept after all: disk I/O error"])

    async def test_post_that_was_not_kept_is_refused(self) -> None:
        """A post that was not kept is lost, does not come up later, and leaves no gap."""
        self.fail_commit(kept=False)
        self.assertEqual(await self.commit(said(LOBBY, "1")), [])
        self.assertEqual(self.lost, [1])
        (stored,) = await self.commit(said(LOBBY, "2"))
        assert isinstance(stored, Entry)
        self.assertEqual((stored.id, stored.seq), (1, 1))
        await self.reopen()
        self.assertEqual(await self.store.history(LOBBY.id, 10), (stored,))

    async def test_what_was_kept_is_in_the_database_itself(self) -> None:
        """A post that was found in the write-ahead log is in the database itself before it is
        delivered, as that log may not have reached the disk."""
        database = self.store._database
        close = database.close

        def close_in_vain() -> None:
            files = {path: path.read_bytes() for path in (self.path, self.wal)}
            close()
            for path, content in files.items():
                path.write_bytes(content)

        patch = self.patch(database, "close", close_in_vain)
        self.fail_commit(kept=True)
        await self.commit(said(LOBBY, "hello"))
        patch.restore()
        copy = Path(self.mktemp())
        shutil.copy(self.path, copy)
        other = sqlite3.connect(copy)
        self.addCleanup(other.close)
        self.assertEqual(other.execute("SELECT text FROM entries").fetchall(), [("hello",)])

    async def changes(self) -> list[tuple[_Question, _Question]]:
        """Every kind of change but posts, with a question that shows whether it was made."""
        alice, bob = await self.accounts("alice", "bob")
        entry = await self.entry(told(alice, bob, "psst", time=NOW - 1))

        async def mark() -> None:
            self.store.mark_read(bob.id, entry.room.id, entry.seq)
            await self.store.settle()
            if self.store._committer._waiting[
                0
            ].items:  # it waits for the next post, so it was not kept
                self.store._committer._waiting[0].items.clear()
                await self.store._write(_raise)

        return [
            (
                lambda: self.store.add_account("carol", "carol", b"", NOW),
                lambda: self.store.find_account("carol"),
            ),
            (
                lambda: self.store.set_password(Credential(alice, b"hash"), b"new"),
                lambda: self.store.find_password("alice"),
            ),
            (mark, lambda: self.unread(bob)),
            (
                lambda: self.store.prune(NOW),
                lambda: self.store.history(entry.room.id, 10),
            ),
        ]

    async def test_rooms_go_with_their_entries(self) -> None:
        """The rooms, topics and members of a commit in doubt are there if its entries are, and not
        if they are not."""
        alice = await self.account("alice")
        for name, kept in (("tea", True), ("bar", False)):
            self.fail_commit(kept=kept)
            items = [
                said(RoomRecord(0, "public", name), "", kind=CREATED),
                said(LOBBY, name, kind=TOPIC),
                stands(LOBBY, alice, "owner" if kept else None),
                told(alice, alice, name),
            ]
            done = self.store._worker.run(self.store._database.append, items, range(4), 0)
            done.addCallbacks(len, lambda failure: failure.value)
            self.assertEqual(await done, 4 if kept else _FAILS)
            await self.reopen()
            self.assertEqual(list(self.states), ["lobby", "tea"])
            lobby = self.states["lobby"]
            self.assertEqual((lobby.topic, lobby.members), ("tea", {alice.id: "owner"}))
            self.assertEqual(await self.unread(alice), ["tea"])

    async def test_changes_that_were_kept_are_made(self) -> None:
        """A change that was kept is answered as made."""
        for change, look in await self.changes():
            before = await look()
            self.fail_commit(kept=True)
            await change()
            self.assertNotEqual(await look(), before)

    async def test_changes_that_were_not_kept_are_refused(self) -> None:
        """A change that was not kept is refused, and everything is as before, also after the next
        start."""
        for change, look in await self.changes():
            before = await look()
            self.fail_commit(kept=False)
            self.assertIn("nothing was changed", await self.refused(change()))
            await self.reopen()
            self.assertEqual(await look(), before)

    async def test_nothing_is_answered_until_it_is_known(self) -> None:
        """No question is answered while a commit is in doubt; then all are, in order."""
        for kept in (True, False):
            self.fail_commit(kept=kept)
            tried, release = self.keep_closed()
            answers: list[object] = []
            self.store.subscribe(
                lambda batch, to=answers: to.extend(texts([stored for _, stored in batch])),
                lambda numbers, code, to=answers: to.extend(numbers),
                self.damages.append,
            )
            (first,) = self.append(said(LOBBY, "1"))
            self.append(said(LOBBY, "2"))
            question = self.store.history(LOBBY.id, 1)
            question.addCallback(texts).addCallback(answers.append)
            await tried
            self.assertEqual(answers, [])
            release()
            await question
            await self.store.settle()
            self.assertEqual(answers, ["1" if kept else first, "2", ["2"]])
            self.flush_lines()

    def flush_lines(self) -> None:
        """The log has one line when the disk begins to fail and one when it works again."""
        waits, ends = [line for line in self.lines if "answered" in line]
        self.assertIn("cannot be reopened after a failed commit: disk I/O error", waits)
        self.assertIn("open again", ends)
        self.lines.clear()

    async def test_closing_does_not_wait_for_a_disk_that_fails(self) -> None:
        """Closing does not wait for a failing disk; posts in doubt are not answered, and what had
        not begun is refused."""
        self.fail_commit(kept=True)
        tried, _ = self.keep_closed()
        for text in "123":
            self.append(said(LOBBY, text))
        await tried
        self.store.hasten()
        await self.store.settle()
        self.assertEqual(self.lost, [2, 3])
        self.assertEqual(self.fed, [])
        (why,) = self.damages
        self.assertIn("not known whether the last commit was kept: disk I/O error", why)
        await self.store.close()
        self.open()
        self.assertEqual(texts(await self.store.history(LOBBY.id, 10)), ["1"])

    async def test_change_that_stays_in_doubt(self) -> None:
        """A change that stays in doubt is not refused as not made."""
        self.fail_commit(kept=True)
        tried, _ = self.keep_closed()
        asked = Deferred.fromCoroutine(
            self.refused(self.store.add_account("alice", "alice", b"", NOW), "internal")
        )
        await tried
        self.store.hasten()
        self.assertIn("the server can't tell whether that was done", await asked)
        self.assertEqual(len(self.damages), 1)
        sentence = await self.refused(self.store.find_account("alice"), "internal")
        self.assertIn("going down", sentence)

    async def test_damage_is_found_on_opening(self) -> None:
        """If the file is found damaged when it is opened again, the store gives up."""
        self.fail_commit(kept=True)
        self.keep_closed(sqlite3.DatabaseError("database disk image is malformed"))
        self.append(said(LOBBY, "1"))
        await self.store.settle()
        self.assertEqual((self.fed, self.lost), ([], []))
        (why,) = self.damages
        self.assertIn("malformed", why)

    async def test_somebody_else_has_written(self) -> None:
        """If another process wrote to the file while it was closed, what was kept cannot be known,
        and the store gives up."""
        self.fail_commit(kept=True)
        database = self.store._database
        connect = database._connect

        def write() -> None:
            with sqlite3.connect(self.path) as other:
                other.execute("UPDATE log_head SET commits = commits + 7")
            other.close()
            connect()

        self.patch(database, "_connect", write)
        self.append(said(LOBBY, "1"))
        await self.store.settle()
        self.assertEqual((self.fed, self.lost), ([], []))
        (why,) = self.damages
        self.assertIn("it has 8 commits instead of 0", why)


class MovedTests(DoubtTestCase):
    """Files that are moved or deleted while the store has them open."""

    async def test_database_is_moved(self) -> None:
        """Nothing is confirmed while the database is moved away; when it is back, everything goes
        on."""
        alice = await self.account("alice")
        await self.commit(said(LOBBY, "1"))
        away = self.path.rename(self.path.with_name("away"))
        self.assertEqual(await self.commit(said(LOBBY, "2")), [])
        self.assertIn(
            "nothing was changed",
            await self.refused(self.store.set_password(Credential(alice, b"hash"), b"new")),
        )
        self.assertEqual(texts(await self.store.history(LOBBY.id, 10)), ["1"])
        (line,) = self.lines
        self.assertIn(f"cannot store messages: {self.path.resolve()} was moved or deleted", line)
        away.rename(self.path)
        self.assertEqual(texts(await self.commit(said(LOBBY, "3"))), ["3"])
        self.assertEqual(await self.store.find_account("alice"), alice)
        await self.reopen()
        self.assertEqual(texts(await self.store.history(LOBBY.id, 10)), ["1", "3"])

    async def test_database_is_replaced(self) -> None:
        """Another file under the database's name is not touched, not even on closing."""
        os.replace(shutil.copy(self.path, Path(self.mktemp())), self.path)
        before = self.path.read_bytes()
        self.assertEqual(await self.commit(said(LOBBY, "1")), [])
        await self.store.close()
        self.assertEqual(self.path.read_bytes(), before)
        self.open()

    async def test_database_is_deleted_during_a_commit(self) -> None:
        """A post whose commit meets a deleted database is neither confirmed nor refused."""
        database = self.store._database
        driver = database._driver
        away = self.path.with_name("away")

        class Moving(_FailingDriver):
            def execute(_, statement: str) -> Any:  # noqa: N805
                if statement == "COMMIT":
                    self.path.rename(away)
                return driver.execute(statement)

        database._driver = Moving(driver, kept=True)
        self.patch(sqlite, "_PAUSE", 0.001)
        self.append(said(LOBBY, "1"))
        while not self.lines:
            await deferLater(reactor, 0)
        self.assertIn("nothing is answered", self.lines[0])
        self.assertEqual((self.fed, self.lost), ([], []))
        away.rename(self.path)
        await self.store.settle()
        self.assertEqual(texts(self.fed), ["1"])

    async def test_write_ahead_log_is_deleted(self) -> None:
        """If the write-ahead log is deleted, its contents are written to the database, and a new
        log is begun."""
        await self.commit(said(LOBBY, "1"))
        self.wal.unlink()
        self.assertEqual(texts(await self.commit(said(LOBBY, "2"))), ["2"])
        self.assertIn("was moved or deleted; its contents are in the database", self.lines[0])
        copy = Path(self.mktemp())
        shutil.copy(self.path, copy)
        shutil.copy(self.wal, copy.with_name(f"{copy.name}-wal"))
        other = SqlStore(f"sqlite:///{copy}", reactor)
        other.open()
        self.assertEqual(texts(await other.history(LOBBY.id, 10)), ["1", "2"])
        await other.close()


def _raise(connection: Connection) -> None:
    raise _FAILS
