"""Moving a database to another one, of either engine, whatever interrupts that."""

import io
import os
import shutil
import sqlite3
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any
from unittest import mock

from sqlalchemy import Connection, Table, create_engine, insert, select, text
from sqlalchemy.engine import make_url
from sqlalchemy.pool import NullPool
from twisted.internet import reactor as _reactor
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests import postgres
from tests.store.databases import directory, restore
from twisted_chat.core.model import CREATED, SAID, Account, Post, RoomRecord, conversation
from twisted_chat.move import main
from twisted_chat.store import (
    DatabaseTooNew,
    SqlStore,
    StoreError,
    ends,
    move,
    postgres_end,
    schema,
)
from twisted_chat.store.postgres import NODES
from twisted_chat.store.schema import accounts, credentials, entries, members, rooms

reactor: Any = _reactor

_ROWS: dict[Table, list[tuple[Any, ...]]] = {
    accounts: [
        (1, "alice", "alice", 1),
        (2, "Борис", "6opnc", 2),
        (7, "小明", "小明", 3),
    ],
    credentials: [
        (1, 1, "password", b"$2b$12$\x00\xff\\x41\n\t", 1),
        (9, 7, "password", bytes(range(256)), 3),
    ],
    rooms: [
        (1, "public", "lobby", "lobby", None, None, "", "", 0, 25, 4900),
        (2, "public", "кухня", "kyxna", None, None, "чай\tи 茶 \\N", "Борис", 5, 0, 0),
        (5, "direct", None, None, 1, 7, "", "", 6, 25, 4800),
        (6, "direct", None, None, 2, 2, "", "", 7, 3, 300),
    ],
    members: [
        (1, 1, "member", 25, "all"),
        (2, 1, "owner", 0, "mentions"),
        (5, 1, "member", 3, "all"),
        (1, 2, "member", 17, "none"),
        (5, 7, "member", 25, "all"),
    ],
    # The first entries of the lobby were deleted, and all of the private notes.
    entries: [
        (
            id,
            1 if id % 2 else 5,
            id // 2 + 1,
            SAID,
            (1, None, 7)[id % 3],
            ("alice", "гость", "小明")[id % 3],
            id * 100,
            (
                "hello",
                "привет, 'мир'; \\N \\t \x07",
                "你好\t世界 🎉 e\u0301\u200d\u061c",
                "",
                "x" * 4096,
            )[id % 5],
            None if id % 4 else id - 1,
            None if id % 7 else f"label-{id:012}",
        )
        for id in range(30, 50)
    ],
}
"""What a database has, by table: with gaps and in all scripts."""

_LAST = 77
"""The newest id that was given out: that of an entry that was deleted."""


_EXPECTED = {table.name: sorted(rows) for table, rows in _ROWS.items()}


class Killed(BaseException):
    """What interrupts a move."""


def fill(connection: Connection) -> None:
    """Make the tables of a database, and its rows."""
    schema.create(connection)
    connection.execute(text("DELETE FROM rooms"))
    for table, rows in _ROWS.items():
        names = table.columns.keys()
        connection.execute(insert(table), [dict(zip(names, row, strict=True)) for row in rows])
    head = "log_head" if connection.dialect.name == "sqlite" else "commits"
    connection.execute(text(f"UPDATE {head} SET last_id = {_LAST}"))


def work(url: str, do: Callable[[Connection], Any]) -> Any:
    """Do something with a database, and commit it."""
    engine = create_engine(url, poolclass=NullPool)
    with engine.begin() as connection:
        return do(connection)


def run(url: str, *statements: str) -> None:
    """Carry out statements, and commit."""
    work(url, lambda connection: [connection.execute(text(each)) for each in statements])


def content(url: str) -> dict[str, list[tuple[object, ...]]]:
    """Read all that is moved."""
    return work(  # type: ignore[no-any-return]
        url,
        lambda connection: {
            table.name: sorted(map(tuple, connection.execute(select(table)))) for table in _ROWS
        },
    )


class MoveCase(TestCase):
    """@ivar origin: the URL of a database.
    @ivar to: the URL of another one, which is empty or missing.
    """

    def setUp(self) -> None:
        self.patch(move, "PIECE", 6)
        self.origin = self.make()
        work(self.origin, fill)
        self.to = self.make_other()
        self.lines: list[str] = []

    def make(self) -> str:
        """Return the URL of an empty database."""
        return f"sqlite:///{directory(self) / 'chat.db'}"

    def make_other(self) -> str:
        """Return the URL of an empty database to move to."""
        return f"sqlite:///{directory(self) / 'chat.db'}"

    def move(self) -> list[str]:
        """Move, and return what is told."""
        self.lines = []
        move.move(self.origin, self.to, self.lines.append)
        return self.lines

    def refuse(self) -> str:
        """Return why the move is refused."""
        return str(self.assertRaises(StoreError, self.move))

    def stop_at(self, count: int) -> None:
        """Move until this many transactions are about to be committed.

        @raise Killed: then.
        """
        kept = ends.End.transaction
        counts = iter(range(count))

        @contextmanager
        def killed(end: ends.End) -> Iterator[None]:
            with kept(end):
                yield
                if next(counts, None) is None:
                    raise Killed

        patch = self.patch(ends.End, "transaction", killed)
        try:
            self.move()
        finally:
            patch.restore()


def path(url: str) -> Path:
    """Return the file of an SQLite database."""
    return Path(make_url(url).database or "")


class Moves(MoveCase):
    """What holds between any two engines."""

    def test_copy_is_the_same(self) -> None:
        """The copy has all rows as they were, in every script, with a line for each table; the
        original is as it was."""
        before = content(self.origin)
        lines = self.move()
        self.assertEqual(content(self.to), _EXPECTED)
        self.assertEqual(content(self.origin), before)
        self.assertEqual(
            [line.partition(" rows")[0] for line in lines],
            ["copying 34", *(f"{table}: {len(rows)}" for table, rows in _EXPECTED.items())],
        )

    def test_checksums_are_those_of_any_engine(self) -> None:
        """The checksums depend on nothing but the rows."""
        checksums = [line.rpartition(" ")[2] for line in self.move() if "checksum" in line]
        self.assertEqual(
            checksums,
            [
                "e99eeee29311e868",
                "ddd02e297fe23832",
                "22208df654d5b437",
                "eafd67acd181b6e8",
                "4059bcc4891b742b",
            ],
        )

    async def test_daemon_goes_on(self) -> None:
        """A store that opens the copy goes on with the next ids, the next number in a room and a
        later time, and nothing that has been given out is given out again."""
        self.move()
        store = SqlStore(self.to, reactor)
        states = {state.record.name: state for state in store.open()}
        fed: list[Any] = []
        store.subscribe(fed.extend, lambda *_: None, lambda _: None)
        try:
            lobby = states["lobby"]
            self.assertEqual((lobby.last_seq, states["кухня"].topic), (25, "чай\tи 茶 \\N"))
            self.assertEqual(
                await store.add_account("carol", "carol", b"x", 1), Account(8, "carol")
            )
            note = conversation(Account(2, "Борис"), Account(2, "Борис"))
            store.append(Post(lobby.record, SAID, 1, "alice", 7, "да", None, ""), 1)
            store.append(Post(note, SAID, 2, "Борис", 7, "себе", None, ""), 2)
            store.append(
                Post(RoomRecord(0, "public", "tea"), CREATED, 1, "alice", 7, "", None, ""), 3
            )
            await store.settle()
            posted = [stored for number, stored in fed if number]
            self.assertEqual(
                [(each.room.id, each.seq, each.time) for each in posted],
                [(1, 26, 4901), (6, 4, 301), (7, 1, 7)],
            )
            first = posted[0].id
            self.assertGreater(first, _LAST)
            self.assertEqual([each.id for each in posted], [first, first + 1, first + 2])
            found = await store.find_conversation(1, 7)
            assert found is not None
            self.assertEqual(
                [each.text for each in await store.history(found.id, 2)],
                ["привет, 'мир'; \\N \\t \x07", ""],
            )
        finally:
            await store.close()

    def test_killed_at_every_commit(self) -> None:
        """A move that ends before any of its commits goes on after the one before."""
        self.assertRaises(Killed, self.stop_at, 0)
        killed = 0
        while True:
            try:
                self.stop_at(2)
                break
            except Killed:
                killed += 1
        self.assertEqual(killed, 8)
        self.assertEqual(content(self.to), _EXPECTED)

    def test_progress(self) -> None:
        """The lines tell how much is copied, also before an interruption, and compared."""
        self.assertRaises(Killed, self.stop_at, 5)
        self.patch(move, "EVERY", 0)
        lines = [line for line in self.move() if "checksum" not in line]
        self.assertEqual(lines[0], "going on where the move was interrupted")
        copied = [line.partition(" of 34 rows copied")[0] for line in lines if "copied" in line]
        self.assertEqual([*dict.fromkeys(copied)], ["3", "5", "9", "14", "20", "26", "32", "34"])
        self.assertEqual(lines[-1], "68 of 68 rows compared (100 %)")

    def test_unfinished_copy_is_no_database(self) -> None:
        """Nothing opens a copy that is not complete."""
        for count in 1, 4:
            self.assertRaises(Killed, self.stop_at, count)
            refused = self.assertRaises(StoreError, SqlStore(self.to, reactor).open)
            self.assertIn("it is an unfinished copy; let twisted-chat-move finish it", str(refused))

    def test_not_empty(self) -> None:
        """A database that has anything in it is left alone: that of a server, a complete copy, or
        that of another program."""
        self.move()
        self.assertIn("it is not empty", self.refuse())
        self.assertEqual(content(self.to), _EXPECTED)

    def test_other_original(self) -> None:
        """An unfinished copy of another database is left alone."""
        self.assertRaises(Killed, self.stop_at, 4)
        first, self.origin = self.origin, self.make()
        work(self.origin, fill)
        self.assertIn(
            f"it is an unfinished copy of {make_url(first).render_as_string()};", self.refuse()
        )

    def test_original_that_was_used(self) -> None:
        """An unfinished copy is left alone if its original was used since."""
        self.assertRaises(Killed, self.stop_at, 4)
        head = "commits" if "postgresql" in self.origin else "log_head"
        run(self.origin, f"UPDATE {head} SET last_id = last_id + 1")
        self.assertIn("which was used since;", self.refuse())

    def test_wrong_copy(self) -> None:
        """A copy that differs is refused, and stays unfinished."""
        self.assertRaises(Killed, self.stop_at, 4)
        run(self.to, "UPDATE rooms SET topic = 'x' WHERE id = 5")
        self.assertIn("the move went wrong: rooms has 4 rows with the checksum", self.refuse())
        self.assertIn("the move went wrong", self.refuse())

    def test_long_texts_are_compared(self) -> None:
        """Each character of a long text counts."""
        self.assertRaises(Killed, self.stop_at, 8)
        run(self.to, f"UPDATE entries SET text = '{'x' * 2000}y{'x' * 2095}' WHERE id = 39")
        self.assertIn("the move went wrong: entries has 20 rows", self.refuse())

    def test_of_another_version(self) -> None:
        """A database of a newer version is refused."""
        run(self.origin, "UPDATE alembic_version SET version_num = '9999'")
        self.assertIn(
            "the database has schema 9999", str(self.assertRaises(DatabaseTooNew, self.move))
        )

    def test_empty_original(self) -> None:
        """A database without tables is refused."""
        self.origin = self.make()
        if "sqlite" in self.origin:
            path(self.origin).touch()
        self.assertIn("it is empty", self.refuse())

    def test_database_of_another_program(self) -> None:
        """A database of another program is refused, on either side."""
        other = self.make()
        run(other, "CREATE TABLE theirs (id INTEGER)")
        self.origin, kept = other, self.origin
        self.assertIn("it is the database of another program", self.refuse())
        self.origin, self.to = kept, other
        self.assertIn("it is not empty", self.refuse())

    def test_same_database(self) -> None:
        """A database cannot be moved to itself."""
        self.to = self.origin
        self.assertIn("are the same database", self.refuse())


class SqliteToSqliteTests(Moves):
    """From a file to a file."""

    def test_mode(self) -> None:
        """Only its owner may open the new file, whatever the umask, and there is no other file."""
        before = os.umask(0)
        try:
            self.move()
        finally:
            os.umask(before)
        file = path(self.to)
        self.assertEqual(stat.S_IMODE(file.stat().st_mode), 0o600)
        self.assertEqual(os.listdir(file.parent), ["chat.db"])

    def test_missing(self) -> None:
        """A file that is missing is refused, and not made."""
        path(self.origin).unlink()
        self.assertEqual(
            self.refuse(), f"cannot use the database {self.origin}: there is no such file"
        )
        self.assertFalse(path(self.origin).exists())
        self.assertFalse(path(self.to).exists())

    def test_in_use(self) -> None:
        """A database that a server has open is refused, on either side."""
        connect = sqlite3.dbapi2.connect
        self.patch(
            sqlite3.dbapi2,
            "connect",
            lambda *args, **given: connect(*args, **{**given, "timeout": 0}),
        )
        store = SqlStore(self.origin, reactor)
        store.open()
        self.addCleanup(store.close)
        sentence = f"cannot use the database {self.origin}: another process has it open"
        self.assertEqual(self.refuse(), sentence)
        self.assertFalse(path(self.to).exists())
        self.origin, self.to = self.to, self.origin
        work(self.origin, fill)
        self.assertEqual(self.refuse(), sentence)

    def test_nobody_opens_it_meanwhile(self) -> None:
        """No other process opens the original or the copy during the move."""

        def tell(_: str) -> None:
            for url in self.origin, self.to:
                with closing(sqlite3.connect(path(url), timeout=0)) as other:
                    refused = self.assertRaises(
                        sqlite3.OperationalError, other.execute, "BEGIN IMMEDIATE"
                    )
                    self.lines.append(str(refused))

        move.move(self.origin, self.to, tell)
        self.assertEqual(self.lines, ["database is locked"] * 12)

    def test_version_0_1(self) -> None:
        """A database of version 0.1 is refused, with what to do about it."""
        self.origin = self.make()
        restore("0004", path(self.origin))
        self.assertIn(
            "it is of version 0.1; start twistd chat with it once, which upgrades it", self.refuse()
        )
        for url in self.origin, self.to:
            with closing(sqlite3.connect(path(url))) as file:
                tables = file.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'moving'")
                self.assertEqual(tables.fetchall(), [(0,)])

    def test_write_ahead_log(self) -> None:
        """What a server that was killed has left in its write-ahead log is moved, too."""
        with closing(sqlite3.connect(path(self.origin))) as other:
            other.execute("PRAGMA journal_mode = WAL")
            other.execute("UPDATE rooms SET topic = 'left' WHERE id = 1")
            other.commit()
            left = self.make()
            for suffix in "", "-wal":
                shutil.copy(f"{path(self.origin)}{suffix}", f"{path(left)}{suffix}")
        self.assertGreater(Path(f"{path(left)}-wal").stat().st_size, 0)
        self.origin = left
        self.move()
        self.assertIn("left", str(content(self.to)["rooms"]))
        self.assertEqual(content(self.origin), content(self.to))

    def test_only_a_write_ahead_log(self) -> None:
        """A write-ahead log without its database is left alone, on either side."""
        for role in "to", "origin":
            url = getattr(self, role)
            path(url).unlink(missing_ok=True)
            log = Path(f"{path(url)}-wal")
            log.write_bytes(b"messages")
            self.assertIn(f"it is missing, but {log} is not; put it back", self.refuse())
            self.assertEqual(log.read_bytes(), b"messages")

    def test_in_memory(self) -> None:
        """A database in memory is refused."""
        self.to = "sqlite://"
        self.assertEqual(self.refuse(), "sqlite:// is a database in memory; name a file")

    def test_no_rights(self) -> None:
        """Where no file can be made, there is a sentence."""
        self.to = f"sqlite:///{directory(self)}/missing/chat.db"
        self.assertIn("No such file or directory", self.refuse())


class SqliteToPostgresTests(Moves):
    """From a file to a server."""

    def make_other(self) -> str:
        return postgres.database(self)

    def test_nul(self) -> None:
        """A text with a NUL character, which no server stores, is named; without it the move goes
        on."""
        run(self.origin, "UPDATE entries SET text = 'a' || char(0) || 'b' WHERE id = 40")
        self.assertIn(
            "there is a NUL character in the text of entries 40, which PostgreSQL cannot store;",
            self.refuse(),
        )
        run(self.origin, "UPDATE entries SET text = 'ab' WHERE id = 40")
        self.move()
        self.assertIn("ab", [row[7] for row in content(self.to)["entries"]])

    def test_too_long(self) -> None:
        """What is too long for PostgreSQL is refused with the name of the table, and not shown."""
        run(self.origin, f"UPDATE rooms SET topic_by = '{'x' * 33}' WHERE id = 2")
        self.assertIn("value too long for type character varying(32) in rooms", self.refuse())

    def test_no_rights(self) -> None:
        """A role that may not make tables is told what to do."""
        server = postgres.shared()
        server.execute("DROP ROLE IF EXISTS stranger")
        server.execute("CREATE ROLE stranger LOGIN")
        server.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC", self.to)
        self.to = self.to.replace("chat@", "stranger@")
        self.assertIn("permission denied for schema public", self.refuse())

    def test_no_server(self) -> None:
        """Without a server, or a database on it, there is a sentence."""
        self.to = "postgresql+psycopg://chat@127.0.0.1:1/chat"
        self.assertIn("Connection refused", self.refuse())
        self.to = postgres.shared().url("missing")
        self.assertIn('database "missing" does not exist', self.refuse())

    def test_no_driver(self) -> None:
        """Without psycopg, the sentence says what to install."""
        with mock.patch.dict(sys.modules, {"twisted_chat.store.postgres_end": None}):
            refused = self.refuse()
        self.assertIn("run pip install 'twisted-chat[postgresql]'", refused)

    def test_two_at_once(self) -> None:
        """A second move to the same database is refused, and harms nothing."""
        self.patch(postgres_end, "_PATIENCE", 0)
        refused = []

        def tell(_: str) -> None:
            refused.append(
                str(self.assertRaises(StoreError, move.move, self.origin, self.to, print))
            )

        first = self.origin
        self.origin = self.make()
        work(self.origin, fill)
        move.move(first, self.to, tell)
        self.assertEqual(len(refused), 6)
        for sentence in refused:
            self.assertIn("another twisted-chat-move copies to it", sentence)
        self.assertEqual(content(self.to), _EXPECTED)


class PostgresToSqliteTests(Moves):
    """From a server to a file."""

    def make(self) -> str:
        return postgres.database(self)

    def test_rooms_that_are_behind(self) -> None:
        """On a server a room's row is not changed by what is said there; in a file it says how far
        the room has come."""
        run(self.origin, "UPDATE rooms SET last_seq = 0, last_time = 0 WHERE id IN (1, 5)")
        self.move()
        self.assertEqual(content(self.to), _EXPECTED)

    def test_in_use(self) -> None:
        """A database that a node lives on is refused; one whose nodes have died is not."""
        run(self.origin, "INSERT INTO nodes (epoch, timeline) VALUES (7, 1)")
        with postgres.shared().connect(self.origin) as node:
            node.execute(f"SELECT pg_advisory_lock({NODES}, 1)".encode())
            self.assertIn("a server has it open; stop every node", self.refuse())
        self.move()
        self.assertEqual(content(self.to), _EXPECTED)

    def test_used_meanwhile(self) -> None:
        """A copy of a database that was used meanwhile is refused, and stays unfinished."""

        def tell(_: str) -> None:
            run(self.origin, "UPDATE commits SET last_id = last_id + 1")

        error = self.assertRaises(StoreError, move.move, self.origin, self.to, tell)
        self.assertIn(
            "it was used while it was copied; choose another file, or delete it, and begin again",
            str(error),
        )
        self.assertIn("which was used since; choose another file", self.refuse())


class PostgresToPostgresTests(Moves):
    """From a server to a server."""

    def make(self) -> str:
        return postgres.database(self)

    make_other = make


class TablesTests(SynchronousTestCase):
    """What is copied."""

    def test_every_table_is_thought_of(self) -> None:
        """Each table is copied, or is about the log as a whole, the schema, or running nodes."""
        others = {schema.log_head, schema.alembic_version}
        self.assertEqual({*move.TABLES} | others, {*schema.metadata.tables.values()})
        self.assertEqual({*schema.shared.tables}, {"commits", "nodes", "news", "held"})


class CommandTests(MoveCase):
    """The command."""

    def command(self, *arguments: str) -> tuple[object, str]:
        """Run it; return its exit code, or sentence, and its output."""
        output = io.StringIO()
        with redirect_stdout(output), redirect_stderr(output):
            try:
                main(arguments)
            except SystemExit as exit:
                return exit.code, output.getvalue()
        return 0, output.getvalue()

    def test_move(self) -> None:
        """It moves, and says that it has."""
        code, output = self.command(self.origin, self.to)
        self.assertEqual(code, 0)
        self.assertEqual(content(self.to), _EXPECTED)
        self.assertIn("done: start the server with the new database", output)

    def test_refused(self) -> None:
        """What is refused ends it with one sentence."""
        for url, sentence in (
            ("chat.db", 'twisted-chat-move: "chat.db" is not a database URL; one looks like'),
            (self.origin, "are the same database"),
        ):
            code, output = self.command(self.origin, url)
            self.assertIn(sentence, str(code))
            self.assertEqual(output, "")

    def test_usage(self) -> None:
        """Without both databases it says how it is used."""
        code, output = self.command(self.origin)
        self.assertEqual(code, 2)
        self.assertIn("the following arguments are required: TO", output)

    def test_interrupted(self) -> None:
        """Ctrl-C ends it with a sentence."""

        def interrupted(*_: object) -> None:
            raise KeyboardInterrupt

        self.patch(ends.SqliteEnd, "insert", interrupted)
        code, _ = self.command(self.origin, self.to)
        self.assertEqual(code, "twisted-chat-move: interrupted; the same command goes on")


del Moves  # run only as what it is inherited by
