"""Bringing a database to the schema of this version."""

from pathlib import Path

from sqlalchemy import Connection, inspect, text

HEAD = "0001"
"""The newest migration. A database that is there needs no Alembic, whose import is slow."""

SCRIPTS = Path(__file__).with_name("migrations")


class DatabaseTooNew(Exception):
    """The database was made by a newer version of this program."""


def upgrade(connection: Connection) -> None:
    """Create or upgrade the schema, in the transaction that the connection is in.

    @raise DatabaseTooNew: if it has a migration that this version does not know.
    """
    current = _version(connection)
    if current == HEAD:
        return

    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    config.attributes["connection"] = connection
    if current is not None:
        try:
            ScriptDirectory.from_config(config).get_revision(current)
        except CommandError:
            raise DatabaseTooNew(
                f"the database has schema {current} and this version knows schemas up to {HEAD};"
                " install a newer twisted-chat"
            ) from None
    command.upgrade(config, HEAD)


def _version(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    version: str | None = connection.execute(
        text("SELECT version_num FROM alembic_version")
    ).scalar()
    return version
