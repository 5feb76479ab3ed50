"""Databases of version 0.1."""

import shutil
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

_HERE = Path(__file__).parent


def directory(case: SynchronousTestCase) -> Path:
    """Make a directory for a test, in memory if possible, as many upgrades wait long for a disk."""
    memory = Path("/dev/shm")
    made = tempfile.mkdtemp(prefix="chat-", dir=memory if memory.is_dir() else None)
    case.addCleanup(shutil.rmtree, made)
    return Path(made)


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
