"""A PostgreSQL of the suite's own: L{database} gives each test a fresh, empty database."""

import atexit
import functools
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest import SkipTest, TestCase
from urllib.parse import quote

import psycopg
from sqlalchemy.engine import make_url

BIN = "POSTGRES_BIN"
"""The environment variable that names the directory of C{initdb} and C{postgres}."""

PORT = 5432
"""Part of the socket's name. Nothing listens on the network unless a server is told to."""

_NAMES = itertools.count(1)

_KEEPER = """
import os, shutil, signal, sys, time
directory, ignored = sys.argv[1], sys.stdin.read()
lock = os.path.join(directory, "data", "postmaster.pid")
try:
    with open(lock) as file:
        os.kill(int(file.readline()), signal.SIGQUIT)
    for _ in range(500):
        os.stat(lock)
        time.sleep(0.02)
except (OSError, ValueError):
    pass
shutil.rmtree(directory, ignore_errors=True)
"""
"""Waits for the end of its input, which comes however the process that started it ends; then stops
the server and deletes the directory."""


def missing() -> str | None:
    """Return why there is no PostgreSQL to test on; None if there is one."""
    return None if programs() else f"PostgreSQL is not installed, nor named by ${BIN}"


@functools.cache
def programs() -> Path | None:
    """Return the directory of PostgreSQL's programs: that of the newest version, unless the
    environment names another one; None if there is none."""
    named = os.environ.get(BIN)
    path = shutil.which("postgres")
    debian = Path("/usr/lib/postgresql").glob("*/bin")
    candidates = sorted(debian, key=lambda path: float(path.parent.name), reverse=True)
    if named:
        candidates = [Path(named)]
    elif path:
        candidates.append(Path(path).parent)
    for candidate in candidates:
        if all(os.access(candidate / program, os.X_OK) for program in ("initdb", "postgres")):
            return candidate
    return None


def database(case: TestCase) -> str:
    """Create an empty database, which is dropped after the test, on the server that the tests of
    this process share. The role C{chat} owns it, and is no superuser.

    @return: its URL.
    @raise SkipTest: if there is no PostgreSQL.
    """
    return shared().database(case)


@functools.cache
def shared() -> "Server":
    """Return the server that the tests of this process share, and start it if it does not run.

    @raise SkipTest: if there is no PostgreSQL.
    """
    return Server()


class Server:
    """A PostgreSQL in a temporary directory, which listens on a Unix socket there and trusts
    everybody. It ends, and its directory is deleted, when this process ends, whichever way.

    @ivar directory: has the socket, the C{data} and the C{log}.
    """

    def __init__(self, *settings: str, on_disk: bool = False) -> None:
        """
        @param settings: such as C{"max_connections=200"}.
        @param on_disk: do not put it into memory, where a flush costs nothing.
        @raise SkipTest: if there is no PostgreSQL.
        """
        reason = missing()
        if reason is not None:
            raise SkipTest(reason)
        memory = Path("/dev/shm")
        where = memory if os.access(memory, os.W_OK) and not on_disk else None
        self.directory = Path(tempfile.mkdtemp(prefix="chat-pg-", dir=where))
        self._keeper = subprocess.Popen(
            (sys.executable, "-IS", "-c", _KEEPER, str(self.directory)),
            stdin=subprocess.PIPE,
            start_new_session=True,  # an interrupt from the keyboard is not for it
        )
        atexit.register(self.close)
        if os.getuid() == 0:
            user = pwd.getpwnam(_user())
            os.chown(self.directory, user.pw_uid, user.pw_gid)
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        initdb = ("initdb", "-D", "data", "-U", "postgres", "-A", "trust", "-N")
        self._run(*initdb, "-E", "UTF8", "--locale=C").communicate()
        self.start()
        self.execute("CREATE ROLE chat LOGIN")

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def url(self, database: str, user: str = "chat", host: str = "") -> str:
        """Return the URL of a database of this server.

        @param host: where to connect instead of the server's own socket, such as the directory of a
            pooler's socket.
        """
        where = quote(host or str(self.directory), safe="")
        patient = "connect_timeout=60"  # the machine may have much else to do
        return f"postgresql+psycopg://{user}@/{database}?host={where}&port={PORT}&{patient}"

    def database(self, case: TestCase, *options: str) -> str:
        """Create an empty database, which is dropped after the test.

        @param options: of C{CREATE DATABASE}.
        @return: its URL.
        """
        name = f"test_{next(_NAMES)}"
        self.execute(f"CREATE DATABASE {name} OWNER chat TEMPLATE template0 {' '.join(options)}")
        case.addCleanup(self.execute, f"DROP DATABASE {name} WITH (FORCE)")
        return self.url(name)

    def execute(self, statement: str, url: str = "", *values: object) -> list[Any]:
        """Carry out a statement as the superuser, and return its rows.

        @param url: of the database; empty for the one that every server has.
        """
        with self.connect(url) as connection:
            cursor = connection.execute(statement.encode(), values or None)
            return cursor.fetchall() if cursor.description else []

    def connect(self, url: str = "", user: str = "postgres") -> psycopg.Connection[Any]:
        """Open a connection, which commits each statement by itself."""
        name = (make_url(url).database if url else None) or "postgres"
        return psycopg.connect(
            dbname=name, user=user, host=str(self.directory), port=PORT, autocommit=True
        )

    def terminate(self, url: str, where: str = "true") -> int:
        """Terminate the backends of a database.

        @param where: a condition on C{pg_stat_activity}.
        @return: how many.
        """
        return len(
            self.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                f" WHERE datname = %s AND pid <> pg_backend_pid() AND ({where})",
                "",
                make_url(url).database,
            )
        )

    def start(self) -> None:
        """Start the server, and return when it takes connections."""
        settings = (
            f"unix_socket_directories={self.directory}",
            "listen_addresses=",
            "max_connections=200",
            "shared_buffers=32MB",
            "max_wal_size=256MB",
            *self._settings,
        )
        options = (option for setting in settings for option in ("-c", setting))
        self._process = self._run("postgres", "-D", "data", "-p", str(PORT), *options)
        while True:
            try:
                self.connect().close()
                return
            except psycopg.OperationalError:
                if self._process.poll() is not None:
                    raise AssertionError((self.directory / "log").read_text()) from None
                time.sleep(0.02)

    def stop(self) -> None:
        """Stop the server in good order. Connections are ended."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """Have the server crash: it forgets what it has not written to its log."""
        self._end(signal.SIGQUIT)

    def restart(self) -> None:
        """Stop the server and start it again."""
        self.stop()
        self.start()

    def follow(self, primary: "Server", conninfo: str = "") -> None:
        """Forget everything, and become a standby of another server.

        @param conninfo: added to how it connects to the other server to follow it.
        """
        self._end(signal.SIGQUIT)
        data = self.directory / "data"
        shutil.rmtree(data)
        source = f"host={primary.directory} port={PORT} user=postgres"
        copy = ("pg_basebackup", "-D", "data", "-d", source, "-c", "fast", "-N")
        if self._run(*copy).wait():
            raise AssertionError((self.directory / "log").read_text())
        (data / "standby.signal").touch()
        with (data / "postgresql.auto.conf").open("a") as settings:
            settings.write(f"primary_conninfo = '{source} {conninfo}'\n")
            settings.write("synchronous_standby_names = ''\n")
        self.start()

    def promote(self) -> None:
        """Make a primary of a standby."""
        self.execute("SELECT pg_promote()")

    def close(self) -> None:
        """Stop the server for good, and delete its directory."""
        atexit.unregister(self.close)
        self._keeper.communicate()
        if self._process is not None:
            self._process.wait()

    def _end(self, signum: int) -> None:
        if self._process is not None and self.is_running:
            self._process.send_signal(signum)
            self._process.wait()

    def _run(self, program: str, *arguments: str) -> "subprocess.Popen[bytes]":
        path = programs()
        assert path is not None, "the server was made"
        log = self.directory / "log"
        return run_as_other((str(path / program), *arguments), self.directory, log)


def run_as_other(command: Sequence[str], directory: Path, log: Path) -> "subprocess.Popen[bytes]":
    """Start a program in a directory, as another user than root.

    @param log: where its output goes.
    """
    options: dict[str, Any] = {}
    if os.getuid() == 0:
        user = pwd.getpwnam(_user())
        options = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": ()}
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            **options,
        )


def program(name: str) -> str | None:
    """Find a server's program, which may be where only root looks; L{None} if it is missing."""
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")


def _user() -> str:
    """Return a user who may run a server: PostgreSQL does not run as root."""
    names = {user.pw_name for user in pwd.getpwall()}
    return next(name for name in ("postgres", "nobody") if name in names)
