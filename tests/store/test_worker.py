"""The worker: what ends an outage."""

from typing import Any

from twisted.trial.unittest import TestCase

from twisted_chat.store import sql
from twisted_chat.store.sqlite import Database
from twisted_chat.store.store import database_url
from twisted_chat.store.trouble import Outage
from twisted_chat.store.worker import Worker


class OutageTests(TestCase):
    """A database in which reading and writing fail together."""

    async def test_reading(self) -> None:
        """That something can be read does not end the outage: nothing may be stored yet, and the
        log would say in turn that the database is away and that it is back."""
        from twisted.internet import reactor  # noqa: PLC0415

        installed: Any = reactor
        database = Database(database_url("sqlite://"), installed)
        database.open(sql.states)
        outage = Outage("{reason}", "{count}")
        worker = Worker(database, installed, outage)
        worker.start()
        outage.refuse("not all nodes are back")
        await worker.read(sql.newest_time)
        self.assertTrue(outage.lasts)
        await worker.stop()
