"""Checks whose database it is, and brings its schema up to that of this version."""

import time
from pathlib import Path

from sqlalchemy import Connection, inspect, text
from twisted.logger import Logger

from .schema import HEAD, create
from .trouble import StoreError

BASE = "0005"
"""The first migration. What is older is rebuilt instead, see L{twisted_chat.store.rebuild}."""

OLD = frozenset({"0001", "0002", "0003", "0004"})
"""The schemas of version 0.1."""

SCRIPTS = Path(__file__).with_name("migrations")

_OURS = {"alembic_version", "accounts", "rooms"}
"""Tables that every version of this program creates, besides its log."""

_HEADS = {"log_head", "commits"}
"""The tables of which one has the end of the log: the first with SQLite, the other with PostgreSQL.
"""

_LOGS = {"messages", "entries"}
"""Tables of the log, of which every version creates one."""

_log = Logger()


class DatabaseTooNew(Exception):
    """A newer version of this program has upgraded the database. The text names its schema."""


def identify(connection: Connection) -> str | None:
    """Check that the database is empty or one of this program's. Changes nothing.

    @return: its schema; L{None} if it is empty.
    @raise StoreError: if the database belongs to another program, lacks the lobby or the head of
        the log, or is an unfinished copy.
    """
    tables = set(inspect(connection).get_table_names())
    if not tables:
        return None
    if not tables >= _OURS or not tables & _LOGS or len(heads := tables & _HEADS) != 1:
        raise StoreError("it is the database of another program; choose another database")
    if "copying" in tables:
        raise StoreError("it is an unfinished copy; put back the database that it is a copy of")
    if "moving" in tables:
        raise StoreError("it is an unfinished copy; let twisted-chat-move finish it")
    for what, found in (
        ("lobby", "SELECT 1 FROM rooms WHERE name = 'lobby'"),
        ("head of the log", f"SELECT 1 FROM {heads.pop()} LIMIT 1"),
    ):
        if connection.execute(text(found)).first() is None:
            raise StoreError(f"it has no {what}; restore it from a backup")
    return str(connection.execute(text("SELECT version_num FROM alembic_version")).scalar())


def upgrade(connection: Connection, current: str | None) -> None:
    """Create the tables, or upgrade them, in the transaction that the caller has begun.

    Alembic, whose import is slow, is needed only for an upgrade.

    @param current: the schema of the database, as from L{identify}.
    @raise DatabaseTooNew: if the database has a migration that this version does not know.
    """
    if current is None:
        create(connection)
    elif current != HEAD:
        check_known(current)
        _log.info("upgrading the database from schema {old} to {new}", old=current, new=HEAD)
        began = time.monotonic()
        migrate(connection, HEAD)
        _log.info("upgraded the database in {seconds:.1f} s", seconds=time.monotonic() - began)


def check_known(revision: str) -> None:
    """Check that this version has a migration.

    @raise DatabaseTooNew: if it has not.
    """
    from alembic.script import ScriptDirectory
    from alembic.util import CommandError

    try:
        ScriptDirectory(str(SCRIPTS)).get_revision(revision)
    except CommandError:
        raise DatabaseTooNew(
            f"the database has schema {revision} and this version knows schemas up to {HEAD};"
            " install a newer twisted-chat"
        ) from None


def migrate(connection: Connection, to: str) -> None:
    """Run the migrations up to one, in the transaction that the caller has begun."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, to)
