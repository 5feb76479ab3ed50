"""Checks whose database a file is, and upgrades its schema to that of this version."""

import time
from pathlib import Path

from sqlalchemy import Connection, inspect, text
from twisted.logger import Logger

from .schema import HEAD, create
from .trouble import StoreError

SCRIPTS = Path(__file__).with_name("migrations")

_OURS = {"alembic_version", "accounts", "rooms", "log_head"}
"""Tables that every version of this program creates."""

_log = Logger()


class DatabaseTooNew(Exception):
    """A newer version of this program has upgraded the database. The text names its schema."""


def identify(connection: Connection) -> None:
    """Check that the database is empty or one of this program's. Changes nothing.

    @raise StoreError: if the database belongs to another program, or lacks the lobby or the head of
        the log.
    """
    tables = set(inspect(connection).get_table_names())
    if not tables:
        return
    if not tables >= _OURS:
        raise StoreError("it is the database of another program; choose another file")
    for what, found in (
        ("lobby", "SELECT 1 FROM rooms WHERE name = 'lobby'"),
        ("head of the log", "SELECT 1 FROM log_head"),
    ):
        if connection.execute(text(found)).first() is None:
            raise StoreError(f"it has no {what}; restore it from a backup")


def upgrade(connection: Connection) -> None:
    """Create or upgrade the schema, in the transaction that the caller has begun. Imports Alembic,
    which is slow, only for an upgrade.

    @raise DatabaseTooNew: if the database has a migration that this version does not know.
    """
    current = _version(connection)
    if current == HEAD:
        return
    if current is None:
        create(connection)
        return

    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    config.attributes["connection"] = connection
    try:
        ScriptDirectory.from_config(config).get_revision(current)
    except CommandError:
        raise DatabaseTooNew(
            f"the database has schema {current} and this version knows schemas up to {HEAD};"
            " install a newer twisted-chat"
        ) from None
    _log.info("upgrading the database from schema {old} to {new}", old=current, new=HEAD)
    began = time.monotonic()
    command.upgrade(config, HEAD)
    _log.info("upgraded the database in {seconds:.1f} s", seconds=time.monotonic() - began)


def _version(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    version: str | None = connection.execute(
        text("SELECT version_num FROM alembic_version")
    ).scalar()
    return version
