"""What is asked of a PostgreSQL server before several nodes share a database there."""

import time
from typing import Any

import psycopg
from psycopg import errors
from sqlalchemy.engine import URL
from twisted.logger import Logger

from .trouble import StoreError, words

OLDEST = 13
"""The oldest version of PostgreSQL that this works with."""

TIMEOUT = 2
"""Seconds that connecting to one address may take; libpq takes no less."""

_ASKED = """
SELECT pg_is_in_recovery(),
       current_setting('synchronous_commit'),
       current_setting('fsync'),
       current_setting('server_encoding'),
       current_setting('synchronous_standby_names'),
       (SELECT count(*) FROM pg_stat_replication WHERE application_name <> 'pg_basebackup')
"""

_FLUSH = "SELECT pg_logical_emit_message(true, 'chat', '')"
"""The smallest transaction that is flushed to the disk."""

# On a Unix socket they do nothing.
_KEEP_ALIVE = """
SET tcp_keepalives_idle = 3; SET tcp_keepalives_interval = 1; SET tcp_keepalives_count = 3;
SET tcp_user_timeout = 6000
"""

_SLOW = 0.01
"""Seconds that a flush may take before the log warns of it."""

_ROUNDS = 5

_log = Logger()

Connection = psycopg.Connection[Any]


def connect(url: URL, name: str) -> Connection:
    """Connect to the database, on a connection that commits each statement by itself. Blocks for up
    to L{TIMEOUT} seconds for each address.

    When the server vanishes, statements fail within about six seconds.

    @param name: what PostgreSQL shows for the connection in C{pg_stat_activity}.
    @raise psycopg.Error: if that does not work.
    """
    args, options = url.get_dialect()().create_connect_args(url)
    alive = {"keepalives_idle": 3, "keepalives_interval": 1, "keepalives_count": 3}
    defaults = {"connect_timeout": TIMEOUT, "tcp_user_timeout": 6000, **alive}
    return psycopg.connect(
        *args,
        autocommit=True,
        client_encoding="utf8",
        application_name=name,
        **{**defaults, **options},
    )


def keep_alive(connection: Connection) -> None:
    """Have the server notice within about six seconds that this end has vanished."""
    connection.execute(_KEEP_ALIVE)


def check(url: URL) -> None:
    """Check that nodes can share the database, and log what will be slow or unsafe. Changes
    nothing.

    @raise StoreError: if they cannot; the text says why, and what to do.
    @raise psycopg.Error: if the database cannot be reached.
    """
    with connect(url, "twisted-chat checking") as one:
        version = one.info.server_version // 10000
        if version < OLDEST:
            raise StoreError(
                f"it is PostgreSQL {version}, and at least {OLDEST} is needed; upgrade it"
            )
        ((is_standby, commit, fsync, encoding, names, standbys),) = one.execute(_ASKED).fetchall()
        if is_standby:
            raise StoreError(
                "it is a standby, which takes no messages; name the primary, or several hosts and"
                " target_session_attrs=read-write"
            )
        if commit == "off":
            raise StoreError(
                "synchronous_commit is off, so a crash would lose messages that were shown; set it"
                " to on"
            )
        if fsync == "off":
            raise StoreError(
                "fsync is off, so a crash would damage it; set it to on and restart PostgreSQL"
            )
        if encoding != "UTF8":
            raise StoreError(
                f"its encoding is {encoding}; create one with CREATE DATABASE … TEMPLATE template0"
                " ENCODING 'UTF8'"
            )
        with connect(url, "twisted-chat checking") as other:
            if _share_backends(one, other):
                raise StoreError(
                    "it is behind a pooler that pools transactions; connect to PostgreSQL itself,"
                    " or have the pooler pool sessions"
                )
        if standbys and not names:
            _log.warn(
                "the database has standbys, but synchronous_standby_names is empty: a failover may"
                " lose messages that were shown"
            )
        flush = _flush(one)
        if flush > _SLOW:
            _log.warn(
                "a commit takes {ms:.0f} ms in this PostgreSQL; nodes that share it take turns, so"
                " with N nodes that talk a message may take N times as long",
                ms=flush * 1000,
            )


def reason(error: BaseException, url: URL) -> str:
    """Say in a sentence why the database cannot be used.

    @param error: what connecting, checking or upgrading it has raised.
    """
    cause = getattr(error, "orig", None) or error
    if isinstance(cause, errors.InsufficientPrivilege):
        return (
            f"{words(cause)}; make the role its owner: ALTER DATABASE {url.database} OWNER TO"
            f" {url.username}"
        )
    return words(cause).removeprefix("connection failed: ")


def _share_backends(one: Connection, other: Connection) -> bool:
    """Find out whether two connections are served by the same processes of PostgreSQL, or one
    connection by several, as a pooler of transactions has it."""
    pids: tuple[set[int], set[int]] = (set(), set())
    for _ in range(_ROUNDS):
        for connection, seen in zip((one, other), pids, strict=True):
            ((pid,),) = connection.execute("SELECT pg_backend_pid()").fetchall()
            seen.add(pid)
    return len(pids[0]) + len(pids[1]) > 2 or pids[0] == pids[1]


def _flush(connection: Connection) -> float:
    """Measure how many seconds the quickest of some commits takes."""
    taken = []
    for _ in range(_ROUNDS):
        began = time.monotonic()
        connection.execute(_FLUSH)
        taken.append(time.monotonic() - began)
    return min(taken)
