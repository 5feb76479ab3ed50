"""The PostgreSQL of the suite's own."""

import os
import subprocess
import sys
from pathlib import Path
from unittest import TestCase

from . import postgres


class ServerTests(TestCase):
    def test_fresh_databases(self) -> None:
        """Each test has a database of its own, which is dropped afterwards."""
        case = TestCase()
        one, other = postgres.database(case), postgres.database(case)
        server = postgres.shared()
        server.execute("CREATE TABLE mine ()", one)
        tables = "SELECT count(*) FROM pg_tables WHERE tablename = 'mine'"
        self.assertEqual(server.execute(tables, one), [(1,)])
        self.assertEqual(server.execute(tables, other), [(0,)])
        case.doCleanups()
        databases = "SELECT count(*) FROM pg_database WHERE datname LIKE 'test%'"
        self.assertEqual(server.execute(databases), [(0,)])

    def test_restarts(self) -> None:
        """What was committed is there after the server was restarted, and after it has crashed."""
        url = postgres.database(self)
        server = postgres.shared()
        server.execute("CREATE TABLE kept ()", url)
        server.restart()
        self.assertEqual(server.execute("TABLE kept", url), [])
        server.kill()
        server.start()
        self.assertEqual(server.execute("TABLE kept", url), [])

    def test_no_leftovers(self) -> None:
        """The server ends, and its directory is gone, when the process of the tests is killed."""
        reason = postgres.missing()
        if reason is not None:
            self.skipTest(reason)
        code = (
            "import os; from tests import postgres\n"
            "print(postgres.shared().directory, flush=True)\n"
            "print(postgres.shared().execute('SELECT 1'), flush=True)\n"
            "os.kill(os.getpid(), 9)"
        )
        root = Path(__file__).parent.parent
        # The process that cleans up holds this output open until it has done so.
        done = subprocess.run(
            (sys.executable, "-c", code), cwd=root, stdout=subprocess.PIPE, text=True, check=False
        )
        directory, answer = done.stdout.splitlines()
        self.assertEqual(answer, "[(1,)]")
        self.assertFalse(os.path.exists(directory))
