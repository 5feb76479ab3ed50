"""Replaces a database file of version 0.1 by one of this version.

The new file is made beside the old one. The old file stays as it is, and a server of version 0.1
can go on with it, until the new file is complete and takes its place. Then the old one has another
name. Whatever interrupts this, the next start goes on, or begins anew if the old file was used
meanwhile.
"""

import os
import shutil
import sqlite3
import stat
import time
from contextlib import closing, suppress
from typing import Any

from sqlalchemy import create_engine
from sqlalchemy.engine import URL
from sqlalchemy.pool import NullPool
from twisted.logger import Logger

from .copying import PROGRESS, copy
from .files import size, sync
from .migrate import BASE, migrate
from .trouble import StoreError

_UNFINISHED = ".upgrade"
_KEPT = ".0.1"
"""What follows the name of the database in the names of the new file, until it is complete, and of
the old one, when it is replaced."""

_GROWTH = 1.3
"""The size of a copy, compared to that of the old database."""

_CACHE = 32 * 1024
"""KiB of memory for pages of the new file, for the ends of many rooms in an index."""

_log = Logger()


def rebuild(path: str) -> None:
    """Replace a database of version 0.1. Blocks: a million messages take about twenty seconds.

    @param path: the file itself, not a link to it.
    @raise StoreError: if there is no room for the copy, the old file cannot be kept, or something
        is missing in the copy. The database is then as it was, or already replaced.
    @raise sqlite3.Error: if one of the files cannot be read or written. The database is as it was.
    """
    fresh, kept = path + _UNFINISHED, path + _KEPT
    began = time.monotonic()
    try:
        with closing(_open_alone(path)) as old:
            _keep(path, kept)
            os.unlink(kept)  # it was to try whether that works
            _prepare(old, path, fresh)
            old.execute("ATTACH ? AS fresh", (fresh,))
            old.execute("PRAGMA fresh.synchronous = FULL")
            old.execute(f"PRAGMA fresh.cache_size = -{_CACHE}")
            copy(old)
            old.execute("DETACH fresh")
            # Nobody else can open the old file before the new one has its name.
            _keep(path, kept)
            sync(os.path.dirname(path))
            os.replace(fresh, path)
            sync(os.path.dirname(path))
    except OSError as error:
        raise StoreError(f"it cannot be upgraded: {error}") from error
    _log.info(
        "upgraded the database in {seconds:.1f} s; the old one is now {kept}",
        seconds=time.monotonic() - began,
        kept=kept,
    )


def _open_alone(path: str) -> sqlite3.Connection:
    """Open the old database and lock it, so that no other process can open it.

    It is then a single file: SQLite would take a write-ahead log or a journal beside it for that of
    the new database.
    """
    with closing(_connect(path)) as driver:
        ((mode,),) = driver.execute("PRAGMA journal_mode = DELETE")
        assert mode == "delete", mode
    driver = _connect(path)
    try:
        driver.execute("BEGIN EXCLUSIVE")  # the lock stays when the transaction ends
        driver.execute("COMMIT")
        _remove(f"{path}-journal")  # an empty one is left if the process is killed in the above
    except BaseException:
        driver.close()
        raise
    return driver


def _connect(path: str) -> sqlite3.Connection:
    driver = sqlite3.connect(path, timeout=2, isolation_level=None)
    driver.execute("PRAGMA locking_mode = EXCLUSIVE")
    driver.execute("PRAGMA synchronous = FULL")
    driver.execute("PRAGMA foreign_keys = ON")
    return driver


def _keep(path: str, kept: str) -> None:
    """Give the old file its other name, too.

    @raise StoreError: if that is impossible, or another file has that name.
    """
    try:
        os.link(path, kept)
    except FileExistsError:
        if not os.path.samefile(path, kept):
            raise StoreError(
                f"it cannot be upgraded, as the old file would be kept as {kept}, which is there"
                " already; move that away"
            ) from None
    except OSError as error:
        raise StoreError(
            f"it cannot be upgraded, as the old file cannot be kept as {kept}: {error.strerror}"
        ) from error


def _prepare(old: sqlite3.Connection, path: str, fresh: str) -> None:
    """Make the new file, unless there is an unfinished copy of just this database.

    @raise StoreError: if there is not enough space.
    """
    found = os.stat(path)
    origin = f"{BASE} {found.st_size} {found.st_mtime_ns}"
    is_resumed = _origin(fresh) == origin
    _check_space(old, path, size(fresh) if is_resumed else 0)
    if is_resumed:
        _log.info("the upgrade of the database goes on where it was interrupted")
        return
    # The journal last: an unfinished file without it might look like a good one.
    for each in fresh, f"{fresh}-journal":
        _remove(each)
    sync(os.path.dirname(path))
    _create(fresh, found)
    engine = create_engine(URL.create("sqlite", database=fresh), poolclass=NullPool)
    with engine.begin() as connection:
        driver: Any = connection.connection.dbapi_connection
        driver.isolation_level = None
        driver.execute("BEGIN")  # the driver would begin none for CREATE TABLE
        migrate(connection, BASE)
        driver.execute(PROGRESS)
        driver.execute("INSERT INTO copying (origin) VALUES (?)", (origin,))


def _origin(fresh: str) -> str | None:
    """Return what an unfinished file says that it is a copy of."""
    if not os.path.exists(fresh):  # SQLite would create it
        return None
    try:
        with closing(sqlite3.connect(fresh)) as driver:
            ((origin,),) = driver.execute("SELECT origin FROM copying")
    except sqlite3.Error:
        return None
    return str(origin)


def _check_space(old: sqlite3.Connection, path: str, there: int) -> None:
    """@param there: the size of what has been copied already.
    @raise StoreError: if the rest does not fit beside the old file."""
    (pages,), (unused,), (page_size,) = (
        old.execute(f"PRAGMA {what}").fetchone()
        for what in ("page_count", "freelist_count", "page_size")
    )
    needed = int((pages - unused) * page_size * _GROWTH) - there
    free = shutil.disk_usage(os.path.dirname(path)).free
    if needed > free:
        raise StoreError(
            f"it cannot be upgraded, as its copy needs about {_megabytes(needed)} MB and there are"
            f" {_megabytes(free)} MB; make space"
        )


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.0f}"


def _create(fresh: str, old: os.stat_result) -> None:
    """Create the new file for those who may open the old one, or for fewer."""
    descriptor = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        mode = stat.S_IMODE(old.st_mode)
        try:
            os.fchown(descriptor, old.st_uid, old.st_gid)
        except PermissionError:
            try:
                os.fchown(descriptor, -1, old.st_gid)
            except PermissionError:
                mode &= ~stat.S_IRWXG
        os.fchmod(descriptor, mode)
    finally:
        os.close(descriptor)


def _remove(path: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(path)
