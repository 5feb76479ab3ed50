"""The connection on which PostgreSQL tells of commits."""

from sqlalchemy.engine import make_url
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from tests import postgres
from twisted_chat.store import server
from twisted_chat.store.ears import Ears, cut


class EarsTests(TestCase):
    def setUp(self) -> None:
        self.url = postgres.database(self)
        self.connection = server.connect(make_url(self.url), "ears")
        self.connection.execute("LISTEN chat")
        self.heard: list[str] = []
        self.wanted = 0
        self.all_heard: Deferred[None] = Deferred()
        self.lost: Deferred[str] = Deferred()
        self.ears = Ears(self.connection, reactor, self.hear, self.lost.callback)
        self.addCleanup(self.ears.close)

    def hear(self, what: str) -> None:
        self.heard.append(what)
        if len(self.heard) == self.wanted:
            self.all_heard.callback(None)

    def notify(self, *what: str) -> None:
        self.wanted += len(what)
        for each in what:
            postgres.shared().execute("SELECT pg_notify('chat', %s)", self.url, each)

    async def test_hears(self) -> None:
        """Each notification is heard, in order."""
        self.notify("one", "two", "three")
        await self.all_heard
        self.assertEqual(self.heard, ["one", "two", "three"])

    async def test_terminated(self) -> None:
        """It is told once that the connection is lost, and nothing stays in the reactor."""
        self.assertEqual(postgres.shared().terminate(self.url), 1)
        self.assertIn("server closed the connection", await self.lost)
        self.assertTrue(self.connection.closed)

    async def test_crash(self) -> None:
        """It is told that the connection is lost when the server crashes."""
        self.addCleanup(postgres.shared().start)
        postgres.shared().kill()
        await self.lost

    async def test_cut(self) -> None:
        """It is told that the connection is lost when its socket is shut down."""
        cut(self.connection)
        await self.lost

    async def test_cut_too_late(self) -> None:
        """To cut a connection that is closed, or was shut down already, does nothing."""
        cut(self.connection)
        cut(self.connection)
        await self.lost
        self.assertTrue(self.connection.closed)
        cut(self.connection)

    async def test_closed_meanwhile(self) -> None:
        """Nothing more is heard once it is closed, not even what has arrived already."""
        heard: list[str] = []
        done: Deferred[None] = Deferred()

        def hear(what: str) -> None:
            heard.append(what)
            ears.close()
            done.callback(None)

        connection = server.connect(make_url(self.url), "ears")
        connection.execute("LISTEN chat")
        ears = Ears(connection, reactor, hear, self.fail)
        self.notify("one", "two")
        await done
        ears.doRead()
        self.assertEqual(heard, ["one"])
