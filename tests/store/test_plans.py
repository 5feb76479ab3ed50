"""What the database has to look at: never more the more there is."""

import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from sqlalchemy import Connection

from tests import postgres
from tests.contract.cases import LOBBY, PostgresCase, SqlCase, StoreCase, said, stands, told
from tests.support import NOW
from twisted_chat.core.model import (
    CREATED,
    TOPIC,
    Aside,
    Credential,
    Post,
    Question,
    RoomRecord,
)
from twisted_chat.store import sql
from twisted_chat.store.schema import metadata

_LIMIT = 20

_ONE_ROW = {"log_head", "alembic_version"}
"""Tables that do not grow."""

_HASHES = "substr(credentials.secret"
"""Part of the statement that looks at all passwords, once at the start."""

_MAY_SCAN = "ORDER BY entries.id", _HASHES
"""Parts of statements that may scan a table. The first and the last entries of the log are found by
their place."""

_MAY_SORT = "JOIN entries ON entries.id IN", _HASHES
"""Parts of statements that may sort: of unread messages, the first ones of each conversation."""


class Plans(StoreCase):
    """All that is asked of a store."""

    def setUp(self) -> None:
        super().setUp()
        self.unique = iter(range(1000))

    async def people(self) -> None:
        """Make two accounts, with a room and a conversation."""
        self.alice, self.bob = await self.accounts("alice", "bob")
        self.tea = await self.room("tea", self.alice, self.bob)
        self.talk = (await self.entry(told(self.alice, self.bob, "x"))).room

    def questions(self) -> list[Callable[[], Awaitable[object]]]:
        """Give every question and every change."""
        store, alice, bob, tea, talk = self.store, self.alice, self.bob, self.tea, self.talk
        n = next(self.unique)

        def append(*posts: Post | Aside) -> Callable[[], Awaitable[object]]:
            return lambda: self.commit(*posts)

        async def read() -> None:
            for room in LOBBY, tea, talk:
                store.mark_read(bob.id, room.id, 40)
            await store.settle()

        def ask(**asked: Any) -> Callable[[], Awaitable[object]]:
            return lambda: store.ask(Question(_LIMIT, most_new=_LIMIT, **asked))

        return [
            append(said(LOBBY, "x"), said(tea, "x", alice, label="label"), said(talk, "x", bob)),
            append(said(tea, "topic", kind=TOPIC)),
            append(said(RoomRecord(0, "public", f"room{n}"), "", kind=CREATED)),
            append(said(RoomRecord(0, "public", "tea"), "", kind=CREATED)),
            append(told(bob, alice, "x")),
            append(told(alice, alice, "x")),
            append(stands(tea, bob, "voice")),
            append(stands(tea, bob, None)),
            append(stands(tea, bob, "member")),
            read,
            lambda: store.history(tea.id, _LIMIT),
            lambda: store.history(talk.id, _LIMIT),
            lambda: store.find_conversation(bob.id, alice.id),
            ask(rooms={LOBBY.id: 1, tea.id: 10**6}),
            ask(direct={"bob": 1, "alice": 1, "nobody": 1}, direct_of=alice.id),
            ask(account_id=alice.id),
            ask(account_id=bob.id),
            ask(account_id=bob.id, direct={"alice": 1}, direct_of=bob.id, rooms={tea.id: 1}),
            lambda: store.labels(NOW - 1),
            store.newest,
            lambda: store.prune(NOW - 1),
            lambda: store.find_account("alice"),
            lambda: store.find_password("alice"),
            lambda: store.find_look_alike("alice"),
            lambda: store.add_account(f"account{n}", f"account{n}", b"hash", NOW),
            lambda: store.add_account("alice", "alice", b"hash", NOW),
            lambda: store.set_password(Credential(alice, b"hash"), b"hash"),
        ]


class PlanTests(SqlCase, Plans):
    """Every statement, with SQLite."""

    async def fill(self, first: int, count: int) -> None:
        """Add as many of everything that grows, with ids from C{first} on: accounts with a
        conversation and a room of their own, messages of alice and bob in their room and their
        conversation."""

        def insert(connection: Connection) -> None:
            driver: Any = connection.connection.dbapi_connection

            def add(into: str, rows: Sequence[tuple[object, ...]]) -> None:
                places = ", ".join("?" * len(rows[0]))
                driver.executemany(f"INSERT INTO {into} VALUES ({places})", rows)

            new = range(first, first + count)
            add("accounts", [(i, f"a{i}", f"a{i}", 0) for i in new])
            add("credentials", [(i, i, "password", b"$2b$12$" + bytes(50), 0) for i in new])
            add(
                "rooms (id, kind, name, skeleton, created)",
                [(2 * i, "public", f"r{i}", f"r{i}", 0) for i in new],
            )
            add(
                "rooms (id, kind, first_id, second_id, created, last_seq)",
                [(2 * i + 1, "direct", i - 1 if i > first else 1, i, 0, 1) for i in new],
            )
            places = (
                [(1, i) for i in new] + [(2 * i, i) for i in new] + [(2 * i + 1, i) for i in new]
            )
            add("members (room_id, account_id)", places)
            authors = self.alice, self.bob
            rooms = LOBBY, self.tea, self.talk
            add(
                "entries",
                [
                    (
                        10 * i + place,
                        room.id,
                        2 * i + turn,
                        "said",
                        author.id,
                        author.name,
                        NOW,
                        "x",
                        None,
                        None,
                    )
                    for i in new
                    for place, room in enumerate(rooms)
                    for turn, author in enumerate(authors)
                    for place in [2 * place + turn]
                ],
            )
            last = 2 * (first + count)
            for room in rooms:
                driver.execute("UPDATE rooms SET last_seq = ? WHERE id = ?", (last, room.id))
            driver.execute("UPDATE log_head SET last_id = ?", (10 * (first + count),))

        await self.store._write(insert)

    async def steps(self) -> list[int]:
        """The work of each, in steps of SQLite's machine."""
        driver = self.store._database._driver
        taken = []
        for question in self.questions():
            steps: list[None] = []
            driver.set_progress_handler(lambda steps=steps: steps.append(None), 1)
            await question()
            driver.set_progress_handler(None, 0)
            taken.append(len(steps))
        return taken

    async def test_work_does_not_grow(self) -> None:
        """With ten times as many accounts, rooms and entries, each statement takes about as many
        steps."""
        await self.people()
        await self.fill(1000, 500)
        few = await self.steps()
        await self.fill(2000, 5000)
        many = await self.steps()
        for number, (before, after) in enumerate(zip(few, many, strict=True)):
            self.assertLess(after, before + 100, f"question {number}")

    async def correspond(self, first: int, count: int) -> None:
        """Have C{count} more accounts, with ids from C{first} on, write 30 messages to alice
        each."""

        def insert(connection: Connection) -> None:
            driver: Any = connection.connection.dbapi_connection
            for i in range(first, first + count):
                driver.execute("INSERT INTO accounts VALUES (?, ?, ?, 0)", (i, f"c{i}", f"c{i}"))
                room = 10 * i
                driver.execute(
                    "INSERT INTO rooms (id, kind, first_id, second_id, created, last_seq)"
                    " VALUES (?, 'direct', ?, ?, 0, 30)",
                    (room, self.alice.id, i),
                )
                places = [(room, self.alice.id), (room, i)]
                driver.executemany(
                    "INSERT INTO members (room_id, account_id) VALUES (?, ?)", places
                )
                driver.executemany(
                    "INSERT INTO entries VALUES (?, ?, ?, 'said', ?, 'c', 0, 'x', NULL, NULL)",
                    [(100 * i + seq, room, seq, i) for seq in range(1, 31)],
                )

        await self.store._write(insert)

    async def steps_of_login(self) -> int:
        """The work of what alice's login asks."""
        steps: list[None] = []
        driver = self.store._database._driver
        driver.set_progress_handler(lambda: steps.append(None), 1)
        await self.store.ask(Question(_LIMIT, self.alice.id, _LIMIT))
        driver.set_progress_handler(None, 0)
        return len(steps)

    async def test_unread_conversations_cost_little(self) -> None:
        """A login looks at one message of each conversation with unread ones, and reads no more
        than the oldest of them need."""
        await self.people()
        await self.correspond(1000, _LIMIT)
        few = await self.steps_of_login()
        await self.correspond(2000, 200)
        many = await self.steps_of_login()
        self.assertLess((many - few) / 200, 100)

    async def test_everything_has_an_index(self) -> None:
        """No statement scans a table that grows, and none sorts what it need not."""
        await self.people()
        await self.fill(1000, 500)
        driver = self.store._database._driver
        asked: list[str] = []
        driver.set_trace_callback(asked.append)
        for question in self.questions():
            await question()
        await self.store._read(sql.states)
        await self.store._read(sql.password_hashes)
        driver.set_trace_callback(None)
        growing = "|".join(metadata.tables.keys() - _ONE_ROW)
        scan = re.compile(rf"SCAN ({growing}|unseen|first|second)\b")
        explained = 0
        for statement in set(asked):
            if not statement.startswith(("SELECT", "UPDATE", "INSERT", "DELETE")):
                continue
            for *_, line in driver.execute(f"EXPLAIN QUERY PLAN {statement}"):
                explained += 1
                if not any(part in statement for part in _MAY_SORT):
                    self.assertNotIn("TEMP B-TREE", line, statement)
                if not any(part in statement for part in _MAY_SCAN):
                    self.assertNotRegex(line, scan, statement)
        self.assertGreater(explained, 40)


class PostgresPlanTests(PostgresCase, Plans):
    """Every statement, with PostgreSQL, also those in its function."""

    def fill(self, first: int, count: int) -> None:
        """Add as many of everything that grows, with ids from C{first} on: accounts with a
        conversation and a room of their own, messages of alice and bob in their room and their
        conversation, commits and news."""
        new = f"generate_series({first}, {first + count - 1}) AS i"
        authors = f"CASE WHEN i % 2 = 0 THEN {self.alice.id} ELSE {self.bob.id} END"
        rooms = (LOBBY, self.tea, self.talk)
        execute = postgres.shared().execute
        for statement in (
            f"INSERT INTO accounts SELECT i, 'a' || i, 'a' || i, 0 FROM {new}",
            "INSERT INTO credentials (account_id, kind, secret, created)"
            f" SELECT i, 'password', '$2b$12$', 0 FROM {new}",
            "INSERT INTO rooms (id, kind, name, skeleton, created)"
            f" SELECT 2 * i, 'public', 'r' || i, 'r' || i, 0 FROM {new}",
            "INSERT INTO rooms (id, kind, first_id, second_id, created)"
            f" SELECT 2 * i + 1, 'direct', {self.alice.id}, i, 0 FROM {new}",
            f"INSERT INTO members (room_id, account_id) SELECT 1, i FROM {new}",
            f"INSERT INTO members (room_id, account_id) SELECT 2 * i, i FROM {new}",
            *(
                f"INSERT INTO entries SELECT 10 * i + {place}, {room.id}, i, 'said', {authors},"
                f" 'a', CASE WHEN i % 10 = 0 THEN 0 ELSE {NOW} END, 'x', NULL,"
                f" CASE WHEN i % 10 = 0 THEN 'label' || i END FROM {new}"
                for place, room in enumerate(rooms)
            ),
            f"INSERT INTO held SELECT 'h' || i, 'h' || i, 77, '' FROM {new}",
            f"INSERT INTO news SELECT 10 * i + 5, 77, 'went', '[\"x\"]' FROM {new}",
            f"INSERT INTO commits SELECT 10 * i + 9, 77, i, {2 * NOW} FROM {new}",
            "ANALYZE",
        ):
            execute(statement, self.url)

    async def rows(self) -> list[int]:
        """The work of each question: how many rows and entries of indexes are looked at."""
        taken = []
        for question in self.questions():
            before = await self.looked_at()
            await question()
            taken.append(await self.looked_at() - before)
        return taken

    async def looked_at(self) -> int:
        """How many rows and entries of indexes were looked at so far."""
        await self.store._read(
            lambda connection: connection.exec_driver_sql("SELECT pg_stat_force_next_flush()").all()
        )
        tables = "SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0)) FROM pg_stat_user_tables"
        indexes = "SELECT sum(idx_tup_read) FROM pg_stat_user_indexes"
        ((rows,),) = postgres.shared().execute(f"SELECT ({tables}) + ({indexes})", self.url)
        return int(rows)

    async def test_work_does_not_grow(self) -> None:
        """With ten times as many accounts, rooms, entries, commits, news and claims, each question
        looks at about as many rows."""
        self.patch(self.store._database, "prune", lambda: None)  # not among the questions
        await self.people()
        self.fill(1000, 500)
        await self.store.newest()
        await self.rows()
        few = await self.rows()
        self.fill(2000, 5000)
        await self.store.newest()
        many = await self.rows()
        for number, (before, after) in enumerate(zip(few, many, strict=True)):
            self.assertLess(after, 2 * before + 100, f"question {number}")
