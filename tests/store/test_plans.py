"""What the database has to look at: never more the more there is."""

from collections.abc import Callable, Coroutine
from typing import Any

from sqlalchemy import Connection

from tests.support import NOW
from twisted_chat.core.model import Account

from .test_sql import StoreTestCase, _said, _told

_GROWING = ("messages", "direct_messages")


class PlanTests(StoreTestCase):
    """Every statement about messages."""

    async def fill(self, connection_count: int) -> None:
        """A long conversation, and a long log."""

        def insert(connection: Connection) -> None:
            (id,) = connection.exec_driver_sql("SELECT last_id FROM log_head").one()
            connection.exec_driver_sql(
                "INSERT INTO messages SELECT value, 1, value, 'alice', ?, 'x', 0, NULL"
                " FROM (WITH RECURSIVE s(value) AS"
                " (SELECT ? UNION ALL SELECT value + 1 FROM s LIMIT ?) SELECT value FROM s)",
                (NOW, id + 1, connection_count),
            )
            connection.exec_driver_sql(
                "INSERT INTO direct_messages"
                " SELECT id, 1 + id % 2, 2 - id % 2, time, text, NULL FROM messages WHERE id > ?",
                (id,),
            )
            connection.exec_driver_sql("UPDATE log_head SET last_id = ?", (id + connection_count,))
            connection.exec_driver_sql("UPDATE rooms SET last_seq = ?", (id + connection_count,))

        await self.store._run(insert)

    def questions(
        self, alice: Account, bob: Account, id: int
    ) -> list[Callable[[], Coroutine[Any, Any, object]]]:
        """Every question and change about messages."""
        store, lobby = self.store, self.lobby

        async def read() -> None:
            store.mark_read(bob.id, id)
            await store.settle()

        return [
            lambda: self.append(_said(lobby, "x"), _told(alice, bob, "x")),
            read,
            lambda: store.history(lobby, 20),
            lambda: store.conversation(alice.id, bob.id, 20),
            lambda: store.conversation(alice.id, alice.id, 20),
            lambda: store.unread(alice.id, 20),
            lambda: store.unread(bob.id, 20),
            lambda: store.catch_up(lobby, 1, alice.id, None, 20),
            lambda: store.catch_up(lobby, 1, alice.id, 1, 20),
            lambda: store.prune(NOW - 1),
            store.newest,
            lambda: store.labels(NOW - 1),
        ]

    async def steps(self, count: int) -> list[int]:
        """The work of each, in steps of SQLite's machine, with this many messages."""
        await self.fill(count)
        alice, bob = [await self.store.find_account(name) for name in ("alice", "bob")]
        assert alice is not None
        assert bob is not None
        driver = self.store._database._driver
        taken = []
        for question in self.questions(alice, bob, count // 2):
            steps: list[None] = []
            driver.set_progress_handler(lambda steps=steps: steps.append(None), 1)
            await question()
            driver.set_progress_handler(None, 0)
            taken.append(len(steps))
        return taken

    async def test_work_does_not_grow_with_the_log(self) -> None:
        """With ten times as many messages, each statement takes about as many steps."""
        await self.account("alice")
        await self.account("bob")
        few = await self.steps(2000)
        many = await self.steps(18_000)
        for number, (before, after) in enumerate(zip(few, many, strict=True)):
            self.assertLess(after, before + 50, f"question {number}")

    async def test_everything_has_an_index(self) -> None:
        """No statement scans or sorts a table of messages."""
        alice, bob = await self.account("alice"), await self.account("bob")
        await self.fill(2000)
        driver = self.store._database._driver
        asked: list[str] = []
        driver.set_trace_callback(asked.append)
        for question in self.questions(alice, bob, 1000):
            await question()
        driver.set_trace_callback(None)
        plans = {
            f"{line}: {statement}"
            for statement in asked
            if any(f" {table}" in statement for table in _GROWING)
            for *_, line in driver.execute(f"EXPLAIN QUERY PLAN {statement}")
        }
        self.assertGreater(len(plans), 10)
        for plan in plans:
            line = plan.partition(": ")[0]
            self.assertNotIn("TEMP B-TREE", line, plan)
            # The first and the last are found without an index, by their place.
            if "ORDER BY messages.id" not in plan and "ORDER BY direct_messages.id" not in plan:
                self.assertFalse(line.startswith("SCAN") and line.endswith(_GROWING), plan)
