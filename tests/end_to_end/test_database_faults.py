"""A database that cannot be used: at the start, and while the daemon runs."""

import os
import re
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.daemon import Daemon, ForkedDaemon, run_twistd
from tests.strace import check_strace, fail

from .terminal import TIMEOUT, Peer, pipe

# Runs what follows in a mount namespace, where the current directory is read-only.
_READ_ONLY = (
    "unshare",
    "-m",
    "sh",
    "-c",
    'mount --bind . . && mount -o remount,ro,bind . && cd "$PWD" && exec "$@"',
    "sh",
)


def _works(*command: str) -> bool:
    try:
        done = subprocess.run(command, capture_output=True, timeout=TIMEOUT, check=False)
    except FileNotFoundError:
        return False
    return done.returncode == 0


class DatabaseTestCase(SynchronousTestCase):
    """A database with something in it."""

    def setUp(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="chat-"))
        self.addCleanup(shutil.rmtree, self.directory, ignore_errors=True)
        self.path = self.directory / "chat.db"

    def make(self) -> None:
        """One that was used, and closed cleanly."""
        with ForkedDaemon(directory=self.directory) as daemon:
            pipe(daemon.port, "\nhello\n")
            daemon.stop()

    def overwrite(self, page: int) -> None:
        """Damage a page of it."""
        with self.path.open("r+b") as file:
            file.seek((page - 1) * 4096)
            file.write(b"\xff" * 4096)

    def root(self, table: str) -> int:
        with closing(sqlite3.connect(self.path)) as database:
            query = "SELECT rootpage FROM sqlite_master WHERE name = ?"
            ((page,),) = database.execute(query, (table,)).fetchall()
        return int(page)


class StartTest(DatabaseTestCase):
    def refuse(self, under: Sequence[str] = ()) -> str:
        """Why the daemon does not start: one line."""
        code, output = run_twistd("--port", "0", directory=self.directory, under=under)
        self.assertEqual(code, 1, output)
        self.assertNotIn("Traceback", output)
        (said,) = [line for line in output.splitlines() if "twistd chat: " in line]
        return said.partition("twistd chat: cannot use the database sqlite:///chat.db: ")[2]

    def test_damaged(self) -> None:
        """A database that is damaged where it is read at the start is refused."""
        self.make()
        self.overwrite(self.root("rooms"))
        self.assertEqual(self.refuse(), "database disk image is malformed")

    def test_truncated(self) -> None:
        """A database that was truncated is refused."""
        self.make()
        os.truncate(self.path, 4096)
        self.assertEqual(self.refuse(), "database disk image is malformed")

    def test_locked(self) -> None:
        """A database that another program is writing to is refused."""
        self.make()
        with closing(sqlite3.connect(self.path)) as database:
            database.execute("PRAGMA journal_mode = DELETE")
            database.execute("BEGIN EXCLUSIVE")
            self.assertEqual(self.refuse(), "another process has it open")

    def test_read_only_file_system(self) -> None:
        """A read-only file system is refused, with a database in it and without one."""
        if not _works(*_READ_ONLY, "true"):
            raise SkipTest("mounting is not permitted")
        self.assertEqual(self.refuse(_READ_ONLY), "unable to open database file")
        self.make()
        self.assertEqual(self.refuse(_READ_ONLY), "the file cannot be written")

    def test_file_that_cannot_be_written(self) -> None:
        """A file that cannot be written is refused. For root this takes more than its
        permissions."""
        self.make()
        self.path.chmod(0o400)
        if os.access(self.path, os.W_OK):
            if not _works("chattr", "+i", str(self.path)):
                raise SkipTest("files cannot be made immutable here")
            self.addCleanup(_works, "chattr", "-i", str(self.path))
        self.assertEqual(self.refuse(), "the file cannot be written")


class DamageTest(DatabaseTestCase):
    def damaged(self) -> tuple[Daemon, Peer]:
        """A daemon that has not noticed yet that its database is damaged, and somebody there."""
        self.make()
        self.overwrite(self.root("entries"))
        daemon = Daemon(directory=self.directory)
        self.addCleanup(daemon.kill)
        daemon.start()
        peer = Peer(daemon.port)
        self.addCleanup(peer.socket.close)
        peer.send("/guest alice\n")
        return daemon, peer

    def test_it_ends(self) -> None:
        """The daemon ends with one clear line and exit code 1 when it comes upon the damage; what
        was said before is kept."""
        daemon, alice = self.damaged()
        rest = alice.rest()
        self.assertIn("! the database is damaged, and the server is going down\n", rest)
        self.assertTrue(rest.endswith("* the server is going down; bye\n"), rest)
        self.assertEqual(daemon.wait(), 1)
        log = "".join(daemon.log)
        self.assertNotIn("Traceback", log)
        (line,) = re.findall(r"twistd chat: .*", log)
        self.assertEqual(
            line,
            "twistd chat: cannot continue with the database sqlite:///chat.db:"
            " database disk image is malformed; stopping",
        )


class DoubtTest(DatabaseTestCase):
    """A disk that fails at a sync, and does not get well."""

    def test_it_ends_when_it_is_told_to(self) -> None:
        """Nobody is told that what they said was kept or not; it is there after the restart."""
        check_strace()
        daemon = Daemon(directory=self.directory)
        self.addCleanup(daemon.kill)
        daemon.start()
        with Peer(daemon.port) as alice, Peer(daemon.port) as bob:
            for peer, name in (alice, "alice"), (bob, "bob"):
                peer.send(f"/json on\n/guest {name}\n/topic\n")
                peer.see('"topic":')
            strace = fail(daemon, "fdatasync", self.path.with_name("chat.db-wal"), "1+")
            alice.send("hello\n")
            daemon.wait_for("nothing is answered until it is known")
            bob.send("/history\n")
            daemon.stop()
            strace.wait()
            for rest in alice.rest(), bob.rest():
                self.assertNotIn("hello", rest)
                self.assertNotIn('"error"', rest.replace("going down", ""))
        log = "".join(daemon.log)
        self.assertNotIn("Traceback", log)
        self.assertIn("it is not known whether the last commit was kept: disk I/O error", log)
        daemon.start()
        self.assertIn("alice: hello\n", pipe(daemon.port, "\n"))
