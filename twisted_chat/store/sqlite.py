"""L{Database}: an SQLite file, its transactions, and what to do when the disk fails at a commit."""

import os
import stat
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from sqlalchemy import Connection, create_engine
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import NullPool
from twisted.internet.interfaces import IReactorFromThreads
from twisted.logger import Logger

from .migrate import identify, upgrade
from .trouble import FULL, Misplaced, StoreError, Unknown, trouble, words

T = TypeVar("T")

_EXAMPLE = "sqlite:///chat.db"

_BEGIN = "BEGIN IMMEDIATE"

_COUNT = "UPDATE log_head SET commits = commits + 1"

_WAL_LIMIT = 16 * 2**20
"""Bytes that the write-ahead log is cut back to after something big, an upgrade for one."""

_PAUSE = 0.2
"""Seconds between two tries to open a database that is in doubt."""

_WAITING = (
    "the database cannot be opened after a commit that failed: {reason}; nothing is answered until"
    " it is known whether that was kept"
)

_log = Logger()


def sqlite_url(text: str) -> URL:
    """The URL of an SQLite database.

    @raise StoreError: if it is none.
    """
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise StoreError(f'"{text}" is not a database URL; one looks like {_EXAMPLE}') from None
    if url.get_backend_name() == "sqlite" and (url.host or url.query):
        raise StoreError(f'"{text}" has too few slashes or options; one looks like {_EXAMPLE}')
    if url.drivername not in ("sqlite", "sqlite+pysqlite"):
        raise StoreError(f"{url.drivername} databases are not supported; use a URL like {_EXAMPLE}")
    return url


class Database:
    """An SQLite file that this process has for itself, on one connection. Used by one thread.

    When the disk fails at a commit, SQLite reports an error, but the commit may be in the
    write-ahead log all the same, and would be found there after a crash. So each transaction that
    writes adds 1 to C{log_head.commits}; after such a failure the file is opened anew, and the
    number tells whether the transaction was kept.
    """

    def __init__(self, url: URL, reactor: IReactorFromThreads) -> None:
        # The driver is imported here, and not by open(): privileges may be dropped in between.
        self._engine = create_engine(
            url,
            poolclass=NullPool,
            connect_args={"check_same_thread": False, "timeout": 2},
            hide_parameters=True,  # errors are logged; what people say is not
        )
        self._reactor = reactor
        self._path = None if url.database in (None, "", ":memory:") else url.database
        self._connection: Connection | None = None
        self._driver: Any = None
        self._commits = 0
        self._file: tuple[int, int] | None = None
        self._ending = threading.Event()

    def open(self, start: Callable[[Connection], T]) -> T:
        """Open or create the file and bring its schema up to date.

        @param start: what to do in the same transaction; its result is given back.
        @raise StoreError: if it is the database of another program, has no lobby, or only its
            write-ahead log is there. Everything is left as it was.
        @raise DatabaseTooNew: if a newer version of this program made it.
        """
        if self._path is not None:
            self._path = os.path.realpath(self._path)  # SQLite does so; see its unixFullPathname()
            if _size(self._path) == 0 < _size(self._wal):  # SQLite would delete the log
                raise StoreError(
                    "it is gone, and its -wal file is not; put it back, or delete both"
                )
            _create(self._path)
        try:
            self._connect()
            identify(self._connected)
            self._driver.execute("PRAGMA journal_mode = WAL")
            with self._transaction():
                upgrade(self._connected)
                started = start(self._connected)
            self._look_around()
        except BaseException:
            self.close()
            raise
        for path in (self._path, self._wal) if self._path is not None else ():
            _warn_if_readable(path)
        return started

    def close(self) -> None:
        """Close it. Without effect if it is closed."""
        connection, self._connection, self._driver = self._connection, None, None
        if connection is not None:
            connection.close()

    @property
    def is_open(self) -> bool:
        """It was opened and not closed."""
        return self._connection is not None

    def hasten(self) -> None:
        """Wait no longer for a disk that fails: what is in doubt is looked at once more and then
        left in doubt. To be called by any thread."""
        self._ending.set()

    def read(self, work: Callable[[Connection], T]) -> T:
        """Run a transaction that does not write."""
        with self._transaction():
            return work(self._connected)

    def write(self, work: Callable[[Connection], T]) -> T:
        """Run a transaction that writes. When this returns it is on the disk, in the file that the
        path leads to; when this raises anything but L{Unknown}, nothing of it is kept.

        @raise Misplaced: if the file was moved or deleted.
        @raise Unknown: if it cannot be known whether it is kept.
        """
        try:
            self._find()
        except Misplaced as error:
            if self._path in self._lost():
                raise
            # SQLite still has the write-ahead log, though it has no name.
            self._was_kept(error)
            self._reactor.callFromThread(
                _log.warn, "{why}; what was in it is in the database", why=words(error)
            )
        driver = self._driver
        driver.execute(_BEGIN)
        try:
            done = work(self._connected)
            driver.execute(_COUNT)
        except BaseException:
            self._roll_back()
            raise
        try:
            driver.execute("COMMIT")
            self._find()
        except Exception as error:
            # SQLite ends the transaction itself once it has begun to write it. A full disk has no
            # room for the last of its pages, without which it counts for nothing.
            is_sure = self._roll_back() or words(error) == FULL
            if is_sure or not self._was_kept(error):
                raise
        self._commits += 1
        return done

    @property
    def _wal(self) -> str:
        return f"{self._path}-wal"

    @property
    def _connected(self) -> Connection:
        assert self._connection is not None
        return self._connection

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._driver.execute(_BEGIN)
        try:
            yield
            self._driver.execute("COMMIT")
        finally:
            self._roll_back()

    def _roll_back(self) -> bool:
        """Roll back, unless SQLite has done it or there is nothing to; gives back whether so."""
        in_transaction = bool(self._driver.in_transaction)
        if in_transaction:
            self._driver.execute("ROLLBACK")
        return in_transaction

    def _connect(self) -> None:
        self._connection = self._engine.connect()
        self._driver = self._connection.connection.dbapi_connection
        _configure(self._driver)

    # Files

    def _look_around(self) -> None:
        """Note how many commits there were, and which file this is."""
        ((self._commits,),) = self._driver.execute("SELECT commits FROM log_head").fetchall()
        if self._path is not None:
            self._file = _identity(self._path)

    def _lost(self) -> Sequence[str]:
        """Those of the files that are not where they were."""
        if self._path is None:
            return ()
        lost = [] if _identity(self._path) == self._file else [self._path]
        # Not by its identity: where times are as fine as they are asked for, as in Linux since
        # 6.13, each stat() of a file that is written makes the next sync take much longer.
        return lost if os.access(self._wal, os.F_OK) else [*lost, self._wal]

    def _find(self) -> None:
        """Look whether what is written can be found by whoever opens the file later.

        @raise Misplaced: if it cannot.
        """
        lost = self._lost()
        if lost:
            raise Misplaced(f"{lost[0]} was moved or deleted")

    # When the disk has failed at a commit

    def _was_kept(self, error: Exception) -> bool:
        """After a commit that failed: is it in the database? Blocks until that is known.

        @raise Unknown: if it cannot be.
        """
        waited = False
        while True:
            last = self._ending.is_set()
            try:
                kept = self._reopen()
                break
            except Exception as again:
                reason = words(again)
                if last or trouble(again) is None:
                    raise Unknown(
                        f"it is not known whether the last commit was kept: {reason}"
                    ) from again
            if not waited:
                self._reactor.callFromThread(_log.error, _WAITING, reason=reason)
            waited = True
            self._ending.wait(_PAUSE)
        if waited:
            self._reactor.callFromThread(
                _log.info, "the database is open again, and everything is answered"
            )
        if kept:
            self._reactor.callFromThread(
                _log.warn, "a commit that failed was kept: {why}", why=words(error)
            )
        return kept

    def _reopen(self) -> bool:
        """Close the file and open it; gives back whether it has one commit more than we know of.

        What is in it then is on the disk, and what is not will not come up later.
        """
        if self._path in self._lost():
            raise Misplaced(f"{self._path} was moved or deleted")
        if self._connection is not None and self._lost():
            self._checkpoint()  # a write-ahead log without a name is gone once it is closed
        # SQLite copies the commits that it knows of into the database and deletes the write-ahead
        # log. If it cannot, it reads all of the log on opening, and finds what else is in there.
        self.close()
        if self._path is not None:
            _sync(os.path.dirname(self._path))  # or the log might be there again after a power cut
        try:
            self._connect()
            before = self._commits
            self._look_around()
            after, self._commits = self._commits, before
            if after not in (before, before + 1):
                raise StoreError(f"it has {after} commits instead of {before}")
            if after > before:
                # It was read from memory and may not be on the disk, whatever a sync says now:
                # Linux forgets pages that it could not write. Copied, they are written again.
                self._checkpoint()
        except BaseException:
            self.close()
            raise
        return after > before

    def _checkpoint(self) -> None:
        """Copy the write-ahead log into the database, sync that, and empty the log."""
        ((busy, _, _),) = self._driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        assert not busy, "nobody else has it open"


def _configure(driver: Any) -> None:
    # The driver must not begin transactions of its own, and SQLAlchemy, which leaves that to the
    # driver, does not either.
    driver.isolation_level = None
    # One process only: two connections could hit SQLite's WAL-reset bug (before 3.51.3), and two
    # daemons would number the same messages.
    driver.execute("PRAGMA locking_mode = EXCLUSIVE")
    driver.execute("PRAGMA synchronous = FULL")
    driver.execute("PRAGMA foreign_keys = ON")
    driver.execute(f"PRAGMA journal_size_limit = {_WAL_LIMIT}")


def _create(path: str) -> None:
    """Make the file, for its owner only, unless it is there. SQLite would leave that to the umask;
    to the write-ahead log it gives the mode of the database."""
    with suppress(OSError):  # SQLite, which opens it next, has the words for that
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.fchmod(descriptor, 0o600)
        finally:
            os.close(descriptor)


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def _warn_if_readable(path: str) -> None:
    mode = stat.S_IMODE(os.stat(path).st_mode)
    if mode & 0o077:
        _log.warn(
            "{path} is open to others than its owner: its mode is {mode:03o}; chmod 600 {path}",
            path=path,
            mode=mode,
        )


def _identity(path: str) -> tuple[int, int] | None:
    """Which file the path leads to, if any."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _sync(directory: str) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
