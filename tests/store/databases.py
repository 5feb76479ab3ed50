"""Databases of version 0.1."""

import sqlite3
from contextlib import closing
from pathlib import Path

_HERE = Path(__file__).parent


def restore(schema: str, path: Path, *statements: str) -> None:
    """Make a database of an old schema: C{0001} or C{0004}.

    @param statements: what is to be changed in it, in SQL.
    """
    with closing(sqlite3.connect(path)) as database:
        database.executescript((_HERE / f"{schema}.sql").read_text("utf-8"))
        for statement in statements:
            database.execute(statement)
        database.commit()
        # As the old version does.
        database.execute("PRAGMA journal_mode = WAL")
    path.chmod(0o600)


def dump(path: Path) -> list[str]:
    """Read all of a database, as SQL."""
    with closing(sqlite3.connect(path)) as database:
        return list(database.iterdump())
