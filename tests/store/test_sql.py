"""The store on a real SQLite file: what no contract says."""

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from sqlalchemy import Connection
from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred, gatherResults

from tests.contract.cases import LOBBY, PostgresCase, SqlCase, StoreCase, said, texts, told
from tests.support import NOW
from twisted_chat.core.errors import Refusal
from twisted_chat.core.model import (
    TOPIC,
    Entry,
    Findings,
    Question,
    RoomRecord,
    RoomState,
    Stored,
)
from twisted_chat.store import SqlStore, StoreError
from twisted_chat.store.append import append
from twisted_chat.store.store import database_url

_NOWHERE = RoomRecord(99, "public", "nowhere")

reactor: Any = _reactor


class OpenTests(SqlCase):
    """Opening, reopening, and what cannot be opened."""

    async def test_reopened_file_has_all_that_was_kept(self) -> None:
        """A file that is opened again has its rooms, topics, members, messages and accounts."""
        alice = await self.account("alice")
        tea = await self.room("tea", alice)
        await self.commit(said(tea, "Darjeeling", alice, kind=TOPIC))
        stored = await self.commit(said(tea, "hello"))
        await self.reopen()
        self.assertEqual(
            self.states["tea"], RoomState(tea, "Darjeeling", "alice", 4, {alice.id: "member"})
        )
        self.assertEqual(await self.store.history(tea.id, 10), tuple(stored))
        self.assertEqual(await self.store.find_account("alice"), alice)

    async def test_commits_reach_the_disk(self) -> None:
        """The connection uses WAL with C{synchronous=FULL}, foreign keys and an exclusive lock."""
        for name, value in (
            ("journal_mode", "wal"),
            ("synchronous", 2),  # FULL
            ("locking_mode", "exclusive"),
            ("foreign_keys", 1),
        ):

            def ask(connection: Connection, name: str = name) -> object:
                return connection.exec_driver_sql(f"PRAGMA {name}").scalar()

            self.assertEqual(await self.store._read(ask), value)

    async def test_second_opener_is_refused(self) -> None:
        """A second process is refused with a sentence, and does no harm to the first."""
        second = SqlStore(f"sqlite:///{self.path}", reactor)
        self.addCleanup(second._worker._pool.stop)  # if it could be opened after all
        error = self.assertRaises(StoreError, second.open)
        self.assertIn("another process has it open", str(error))
        self.assertIn(str(self.path), str(error))
        self.assertEqual(texts(await self.commit(said(LOBBY, "hello"))), ["hello"])

    def test_unusable_paths_are_refused(self) -> None:
        """A file that is no database, a directory, and a path that cannot be made are refused."""
        junk = Path(self.mktemp())
        junk.write_text("this is no database. " * 100)
        directory = Path(self.mktemp())
        directory.mkdir()
        for path, reason in (
            (junk, "file is not a database"),
            (directory, "unable to open"),
            (directory / "no" / "such.db", "unable to open"),
            (junk / "chat.db", "unable to open"),
        ):
            error = self.assertRaises(StoreError, SqlStore(f"sqlite:///{path}", reactor).open)
            self.assertIn(f"{path}: {reason}", str(error))

    def test_unusable_urls_are_refused(self) -> None:
        """The URL of another database, and what is no URL, are refused with an example."""
        for url in ("postgresql+pg8000://host/chat", "mysql://host/chat", "nonsense", ""):
            error = self.assertRaises(StoreError, SqlStore, url, reactor)
            self.assertIn("sqlite:///chat.db", str(error))

    def test_url_without_a_driver(self) -> None:
        """C{postgresql://} means the driver that the server has."""
        url = database_url("postgresql://chat@host/chat")
        self.assertEqual(url.drivername, "postgresql+psycopg")


class LogTests(SqlCase):
    """Appending, and what comes back."""

    async def test_posts_during_a_commit_land_together(self) -> None:
        """The first post is committed at once; posts that come meanwhile are one commit."""
        await self.commit(*(said(LOBBY, str(n)) for n in range(101)))
        self.assertEqual([len(batch) for batch in self.batches], [1, 100])
        self.assertEqual(texts(self.fed), [str(n) for n in range(101)])

    async def test_flood_is_cut_into_commits(self) -> None:
        """A flood of posts is cut into commits of bounded size, in order."""
        await self.commit(*(said(LOBBY, str(n)) for n in range(2500)))
        self.assertEqual([len(batch) for batch in self.batches], [1, *[500] * 4, 499])
        self.assertEqual(texts(self.fed), [str(n) for n in range(2500)])

    async def test_statements_do_not_grow_with_the_commit(self) -> None:
        """500 posts of a commit take as many statements as two."""
        asked: list[str] = []

        class Cursor(sqlite3.Cursor):
            def execute(self, sql: str, *given: Any) -> "Cursor":
                asked.append(sql)
                super().execute(sql, *given)
                return self

            def executemany(self, sql: str, *given: Any) -> "Cursor":
                asked.append(sql)
                super().executemany(sql, *given)
                return self

        def count(posts: int) -> Callable[[Connection], int]:
            def count(connection: Connection) -> int:
                driver: Any = connection.connection.dbapi_connection
                watched: Any = SimpleNamespace(cursor=lambda: driver.cursor(Cursor))
                watched = SimpleNamespace(connection=SimpleNamespace(dbapi_connection=watched))
                asked.clear()
                append(watched, [said(LOBBY, str(n)) for n in range(posts)])
                return len(asked)

            return count

        few = await self.store._write(count(2))
        self.assertEqual(await self.store._write(count(500)), few)
        self.assertEqual(len([sql for sql in asked if sql.startswith("INSERT INTO entries")]), 1)

    async def test_answers_come_in_order_with_the_feed(self) -> None:
        """An answer knows exactly of the messages that the feed has handed over by then."""
        answers: list[Deferred[None]] = []

        async def ask() -> None:
            known = await self.store.history(LOBBY.id, 1000)
            self.assertEqual(list(known), self.fed)

        for n in range(200):
            self.append(said(LOBBY, str(n)))
            answers.append(Deferred.fromCoroutine(ask()))
            if n % 7 == 0:
                await self.store.find_account("nobody")
        await gatherResults(answers)

    async def test_failing_commit_is_lost_and_the_store_goes_on(self) -> None:
        """The sender of a lost post is told, and the next post has no gap before it."""
        await self.commit(said(LOBBY, "1"))
        self.assertEqual(await self.commit(said(_NOWHERE, "to a room that is not there")), [])
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.assertEqual(self.lost, [2])
        (stored,) = await self.commit(said(LOBBY, "2"))
        assert isinstance(stored, Entry)
        self.assertEqual((stored.id, stored.seq), (2, 2))

    async def test_commit_fails_as_a_whole(self) -> None:
        """If a commit fails, none of its posts is kept, now or later."""
        posts = [said(LOBBY, str(n)) for n in range(3)] + [said(_NOWHERE, "nowhere")]
        fed = await self.commit(*posts)
        self.flushLoggedErrors(ValueError)
        self.assertEqual((texts(fed), self.lost), (["0"], [2, 3, 4]))
        self.assertEqual(await self.store.history(LOBBY.id, 10), tuple(fed))

    async def test_close_commits_what_was_accepted(self) -> None:
        """Closing commits all posts that were accepted."""
        for n in range(1500):
            self.append(said(LOBBY, str(n)))
        await self.reopen()
        history = await self.store.history(LOBBY.id, 2000)
        self.assertEqual(texts(history), [str(n) for n in range(1500)])

    async def test_question_behind_the_end_is_refused(self) -> None:
        """A question after closing is refused with C{closed}."""
        closing = Deferred.fromCoroutine(self.store.close())
        asked: Deferred[object] = self.store.find_account("alice")
        asked.addErrback(lambda failure: failure.value)
        await closing
        self.open()
        refusal = await asked
        assert isinstance(refusal, Refusal), refusal
        self.assertEqual(refusal.code, "closed")

    async def test_settle_waits_for_all_commits(self) -> None:
        """C{settle} waits for all commits, also those that had not begun."""
        for n in range(1500):
            self.append(said(LOBBY, str(n)))
        await gatherResults([Deferred.fromCoroutine(self.store.settle()) for _ in range(2)])
        self.assertEqual(len(await self.store.history(LOBBY.id, 2000)), 1500)
        await self.store.settle()


class AccountTests(SqlCase):
    """Accounts."""

    async def test_how_passwords_are_hashed(self) -> None:
        """The store lists the beginnings of all hashes, each once."""
        self.assertEqual(self.store.password_hashes, [])
        for name, cost in (("alice", b"04"), ("bob", b"12"), ("carol", b"04")):
            await self.store.add_account(name, name, b"$2b$" + cost + b"$" + name.encode(), NOW)
        await self.reopen()
        self.assertEqual(sorted(self.store.password_hashes), [b"$2b$04$", b"$2b$12$"])


class Prune(StoreCase):
    """Deleting old messages."""

    async def test_only_what_is_old_is_deleted(self) -> None:
        """Old messages of rooms and old private ones are deleted, over several transactions, and
        counted."""
        alice, bob = [await self.account(name) for name in ("alice", "bob")]
        await self.commit(
            *(said(LOBBY, "old", time=NOW - 2000) for _ in range(1500)),
            said(LOBBY, "new"),
            told(alice, bob, "old", time=NOW - 1),
            told(alice, bob, "new"),
        )
        assert await self.store.prune(NOW) == 1501
        assert texts(await self.store.history(LOBBY.id, 10)) == ["new"]
        assert await self.unread(bob) == ["new"]
        assert await self.store.prune(NOW) == 0

    async def test_numbers_go_on_after_all_was_deleted(self) -> None:
        """After all messages were deleted no id, no C{seq} and no time is used again, also after
        reopening."""
        last = [await self.entry(said(LOBBY, str(n))) for n in range(3)][-1]
        await self.store.prune(NOW + 3)
        await self.reopen()
        stored = await self.entry(said(LOBBY, "3"))
        assert stored.id > last.id
        assert (stored.seq, stored.time) == (4, NOW + 3)

    async def test_rooms_outlast_their_entries(self) -> None:
        """Entries of all kinds are deleted; rooms, topics, members and read marks stay."""
        alice, bob = await self.accounts("alice", "bob")
        tea = await self.room("tea", alice)
        await self.commit(said(tea, "Assam", kind=TOPIC), told(alice, bob, "psst"))
        assert await self.store.prune(NOW + 10) == 4
        assert await self.store.newest() is None
        await self.reopen()
        state = RoomState(tea, "Assam", "gil", 3, {alice.id: "member"})
        assert self.states["tea"] == state
        assert await self.after(tea) == ()
        assert await self.store.find_conversation(alice.id, bob.id) is not None
        await self.commit(said(tea, "x"))
        assert await self.news(alice) == {tea.id: (2, 1)}


class SqlPruneTests(SqlCase, Prune):
    """Deleting old messages in SQLite."""


class PostgresPruneTests(PostgresCase, Prune):
    """Deleting old messages in PostgreSQL."""


class FaultTests(SqlCase):
    """Former defects."""

    async def test_settle_hands_over_before_it_returns(self) -> None:
        """C{settle} returns after the posts were delivered."""
        self.append(said(LOBBY, "last words"))
        await self.store.settle()
        self.assertEqual(len(self.fed), 1)

    async def test_what_was_read_a_moment_ago_is_not_unread(self) -> None:
        """A mark counts at once, although it waits behind a commit."""
        alice, bob = await self.accounts("alice", "bob")
        unread: list[Deferred[Findings]] = []

        def feed(batch: Sequence[tuple[int, Stored]]) -> None:
            for _, stored in batch:
                if isinstance(stored, Entry) and stored.text == "psst":
                    self.store.mark_read(bob.id, stored.room.id, stored.seq)
                    unread.append(self.store.ask(Question(10, bob.id, 10)))

        self.store.subscribe(feed, self.lose, self.damages.append)
        self.append(told(alice, bob, "psst"))
        self.append(said(LOBBY, "keeps the thread busy"))
        await self.store.settle()
        self.assertEqual((await unread[0]).unread, ())

    def test_urls_that_nearly_work(self) -> None:
        """URLs that nearly work are refused with a sentence."""
        for url in (
            "sqlite://chat.db",
            "sqlite+aiosqlite:///a.db",
            "sqlite:///a.db?timeout=abc",
            "sqlite://u:p@h:abc/x",
        ):
            self.assertRaises(StoreError, SqlStore, url, reactor)
