"""What is asked of a PostgreSQL server."""

import time
from pathlib import Path

import psycopg
from psycopg import errors
from sqlalchemy.engine import URL, make_url
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from tests import postgres
from twisted_chat.store import server
from twisted_chat.store.trouble import StoreError

_POOLER = """
[databases]
* = host={directory} port={port}
[pgbouncer]
pool_mode = {mode}
listen_addr =
listen_port = {port}
unix_socket_dir = {directory}/pooler
auth_type = trust
auth_file = {directory}/pooler/users
max_client_conn = 20
default_pool_size = 5
"""


class CheckTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.url = make_url(postgres.database(self))

    def checked(self) -> list[str]:
        """Check the database, and return what is logged."""
        with capturedLogs() as logged:
            server.check(self.url)
        return [formatEvent(event) for event in logged]

    def assertRefused(self, sentence: str, url: URL | None = None) -> None:
        self.assertIn(sentence, str(self.assertRaises(StoreError, server.check, url or self.url)))

    def test_good(self) -> None:
        """There is nothing to say about a server with its usual settings."""
        self.patch(server, "_SLOW", 60.0)
        self.assertEqual(self.checked(), [])

    def test_no_flush_at_commit(self) -> None:
        """A database that commits without a flush is refused."""
        alter = f"ALTER DATABASE {self.url.database} SET synchronous_commit = off"
        postgres.shared().execute(alter)
        self.assertRefused("synchronous_commit is off")

    def test_encoding(self) -> None:
        """A database that cannot keep every text is refused."""
        url = postgres.shared().database(self, "ENCODING 'LATIN1'")
        self.assertRefused("its encoding is LATIN1", make_url(url))

    def test_too_old(self) -> None:
        """A server that is too old is refused."""
        self.patch(server, "OLDEST", 99)
        self.assertRefused("and at least 99 is needed")

    def test_no_fsync_and_standby(self) -> None:
        """A server that never flushes is refused, and so is a standby."""
        own = postgres.Server("fsync=off")
        self.addCleanup(own.close)
        url = make_url(own.url("postgres"))
        self.assertRefused("fsync is off", url)
        own.stop()
        (own.directory / "data" / "standby.signal").touch()
        own.start()
        self.assertRefused("it is a standby", url)

    def test_slow_flush(self) -> None:
        """The log warns of commits that take long."""
        self.patch(server, "_SLOW", 0.0)
        (line,) = self.checked()
        self.assertIn("a commit takes", line)

    def test_asynchronous_standbys(self) -> None:
        """The log warns of standbys that no commit waits for."""
        self.patch(server, "_SLOW", 60.0)
        directory = str(postgres.shared().directory)
        standby = psycopg.connect(
            host=directory, port=postgres.PORT, user="postgres", replication="true"
        )
        self.addCleanup(standby.close)
        (line,) = self.checked()
        self.assertIn("the database has standbys, but synchronous_standby_names is empty", line)


class PoolerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.url = make_url(postgres.database(self))

    def pooler(self, mode: str) -> URL:
        """Start PgBouncer before the server, and return the URL of the database behind it."""
        program = postgres.program("pgbouncer")
        if program is None:
            self.skipTest("PgBouncer is not installed")
        directory = Path(postgres.shared().directory, "pooler")
        directory.mkdir(mode=0o777, exist_ok=True)
        directory.chmod(0o777)
        (directory / "users").write_text('"chat" ""\n')
        settings = directory / "ini"
        settings.write_text(
            _POOLER.format(directory=directory.parent, port=postgres.PORT, mode=mode)
        )
        log = directory / "log"
        process = postgres.run_as_other((program, str(settings)), directory, log)
        self.addCleanup(process.wait)
        self.addCleanup(process.terminate)
        url = make_url(postgres.shared().url(self.url.database or "", host=str(directory)))
        while True:
            try:
                server.connect(url, "trying").close()
                return url
            except psycopg.OperationalError:
                self.assertIsNone(process.poll(), log.read_text())
                time.sleep(0.02)

    def test_transactions(self) -> None:
        """A pooler of transactions is refused, which would lose the locks of nodes."""
        refused = self.assertRaises(StoreError, server.check, self.pooler("transaction"))
        self.assertIn("it is behind a pooler that pools transactions", str(refused))

    def test_sessions(self) -> None:
        """A pooler of sessions is as good as none."""
        server.check(self.pooler("session"))


class ReasonTests(SynchronousTestCase):
    def reason(self, url: URL) -> str:
        error = self.assertRaises(psycopg.Error, server.check, url)
        return server.reason(error, url)

    def test_no_server(self) -> None:
        """The sentence says that no server listens there, and does not repeat the password."""
        url = make_url("postgresql+psycopg://chat:secret@127.0.0.1:1/chat")
        self.assertEqual(
            self.reason(url),
            'connection to server at "127.0.0.1", port 1 failed: Connection refused',
        )

    def test_no_such_database(self) -> None:
        """The sentence says which database is not there."""
        url = make_url(postgres.shared().url("nowhere"))
        self.assertIn('database "nowhere" does not exist', self.reason(url))

    def test_no_rights(self) -> None:
        """The sentence says what the role may not do, and how it may."""
        url = make_url(postgres.shared().url("chats"))
        error = errors.InsufficientPrivilege("permission denied for schema public\nLINE 1: …")
        self.assertEqual(
            server.reason(error, url),
            "permission denied for schema public; make the role its owner: ALTER DATABASE chats"
            " OWNER TO chat",
        )
