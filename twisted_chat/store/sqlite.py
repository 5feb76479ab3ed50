"""L{Database}: an SQLite file and its transactions, also when the disk fails at a commit."""

import os
import stat
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from sqlalchemy import Connection, create_engine
from sqlalchemy.engine import URL
from sqlalchemy.pool import NullPool
from twisted.internet.interfaces import IReactorFromThreads
from twisted.logger import Logger

from .append import append
from .engine import Forked, HandOver, Item, Lost, Pairs
from .files import size, sync
from .migrate import OLD, identify, upgrade
from .rebuild import rebuild
from .trouble import FULL, Misplaced, StoreError, Unknown, damage, trouble, words

T = TypeVar("T")

_BEGIN = "BEGIN IMMEDIATE"

_COUNT = "UPDATE log_head SET commits = commits + 1"

_WAL_LIMIT = 16 * 2**20
"""Bytes that the write-ahead log is cut back to after a large transaction, such as an upgrade."""

_PAUSE = 0.2
"""Seconds between two attempts to reopen the database after a commit that failed."""

_WAITING = (
    "the database cannot be reopened after a failed commit: {reason}; nothing is answered until it"
    " is known whether the commit was kept"
)

_log = Logger()


class Database:
    """An SQLite file that no other process may open, on one connection; an
    L{Engine<twisted_chat.store.engine.Engine>}. So there are no other nodes, and there is nobody to
    announce anything to.

    When the disk fails at a commit, SQLite reports an error, but the commit may still be in the
    write-ahead log and come back after a crash. So each writing transaction adds 1 to
    C{log_head.commits}. After such a failure the file is reopened, and that number tells whether
    the transaction was kept.
    """

    def __init__(self, url: URL, reactor: IReactorFromThreads) -> None:
        # This imports the driver. In open() the process may no longer be allowed to read it.
        self._engine = create_engine(
            url,
            poolclass=NullPool,
            connect_args={"check_same_thread": False, "timeout": 2},
            hide_parameters=True,  # errors are logged, and messages must not be
        )
        self._reactor = reactor
        self._path = None if url.database in (None, "", ":memory:") else url.database
        self._connection: Connection | None = None
        self._driver: Any = None
        self._commits = 0
        self._file: tuple[int, int] | None = None
        self._ending = threading.Event()
        self.node = 0

    def subscribe(self, hand_over: HandOver, lost: Lost, forked: Forked, /) -> None:
        """Do nothing: all that happens is the result of a call."""

    def open(self, start: Callable[[Connection], T]) -> T:
        """Open or create the file and bring its schema up to date. Rebuild one of version 0.1.

        @param start: runs in the same transaction, after the upgrade.
        @return: the result of C{start}.
        @raise StoreError: if the file belongs to another program, lacks the lobby or the head of
            the log, or is missing while its write-ahead log is there. The files are then unchanged.
        @raise DatabaseTooNew: if a newer version of this program has upgraded the database.
        @raise sqlalchemy.exc.SQLAlchemyError: if SQLite cannot open or read the file.
        @raise sqlite3.Error: likewise, from a statement that goes to the driver.
        """
        if self._path is not None:
            self._path = os.path.realpath(self._path)  # as SQLite does, in unixFullPathname()
            if size(self._path) == 0 < size(self._wal):  # SQLite would delete the log
                raise StoreError(
                    "it is missing, but its -wal file is not; put it back, or delete the -wal file"
                    " too"
                )
            _create(self._path)
        try:
            self._connect()
            schema = identify(self._connected)
            if schema in OLD and self._path is not None:
                self.close()
                rebuild(self._path)
                self._connect()
                schema = identify(self._connected)
            self._driver.execute("PRAGMA journal_mode = WAL")
            with self._transaction():
                upgrade(self._connected, schema)
                started = start(self._connected)
            self._look_around()
        except BaseException:
            self.close()
            raise
        for path in (self._path, self._wal) if self._path is not None else ():
            _warn_if_readable(path)
        return started

    def close(self) -> None:
        """Close the file. Does nothing if it is closed already."""
        connection, self._connection, self._driver = self._connection, None, None
        if connection is not None:
            connection.close()

    @property
    def is_open(self) -> bool:
        """Whether the file is open."""
        return self._connection is not None

    def hasten(self) -> None:
        """Stop waiting for a disk that fails: after one more attempt to reopen the file, L{write}
        raises L{Unknown}. Any thread may call this."""
        self._ending.set()

    def read(self, work: Callable[[Connection], T]) -> T:
        """Run a transaction that does not write, and return the result of C{work}.

        @raise Exception: whatever SQLite, SQLAlchemy or C{work} raises.
        """
        with self._transaction():
            return work(self._connected)

    def write(self, work: Callable[[Connection], T]) -> T:
        """Run a transaction that writes, and return the result of C{work}.

        When this returns, the transaction is on the disk, in the file that the path leads to. When
        this raises anything but L{Unknown}, nothing of the transaction is kept.

        @raise Misplaced: if the file was moved or deleted.
        @raise Unknown: if it cannot be found out whether the transaction was kept.
        @raise Exception: whatever else SQLite, SQLAlchemy or C{work} raises.
        """
        try:
            self._find()
        except Misplaced as error:
            if self._path in self._lost():
                raise
            # SQLite still has the write-ahead log open, though the file has no name any more.
            self._was_kept(error)
            self._reactor.callFromThread(
                _log.warn, "{why}; its contents are in the database", why=words(error)
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
            # Once SQLite has begun to write a transaction, it ends it by itself when that fails,
            # and then there is nothing to roll back. On a full disk the last page is missing,
            # without which SQLite ignores the transaction.
            is_sure = self._roll_back() or words(error) == FULL
            if is_sure or not self._was_kept(error):
                raise
        self._commits += 1
        return done

    def append(self, items: Sequence[Item], numbers: Sequence[int], seen: int) -> Pairs:
        """Carry out a commit, which has no announcements. See L{write}."""
        stored = self.write(lambda connection: append(connection, items))
        return list(zip(numbers, stored, strict=True))

    def trouble(self, error: BaseException | None) -> str | None:
        return trouble(error)

    def damage(self, error: BaseException | None) -> str | None:
        return damage(error)

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
        """Roll back the transaction, unless SQLite has ended it.

        @return: whether there was one to roll back.
        """
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
        """Note the number of commits in the file, and which file it is."""
        ((self._commits,),) = self._driver.execute("SELECT commits FROM log_head").fetchall()
        if self._path is not None:
            self._file = _identity(self._path)

    def _lost(self) -> Sequence[str]:
        """Return the paths at which the file or its write-ahead log is missing."""
        if self._path is None:
            return ()
        lost = [] if _identity(self._path) == self._file else [self._path]
        # Not by its identity: since Linux 6.13, each stat() of a file that is being written makes
        # the next sync take much longer (multigrain timestamps).
        return lost if os.access(self._wal, os.F_OK) else [*lost, self._wal]

    def _find(self) -> None:
        """Check that both files are still where they were.

        @raise Misplaced: if one was moved or deleted.
        """
        lost = self._lost()
        if lost:
            raise Misplaced(f"{lost[0]} was moved or deleted")

    # When the disk has failed at a commit

    def _was_kept(self, error: Exception) -> bool:
        """Find out whether a commit that failed is in the database. Blocks until that is known.

        @param error: the failure.
        @return: whether the commit was kept.
        @raise Unknown: if it cannot be found out, or L{hasten} was called.
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
                _log.info, "the database is open again, and requests are answered again"
            )
        if kept:
            self._reactor.callFromThread(
                _log.warn, "a failed commit was kept after all: {why}", why=words(error)
            )
        return kept

    def _reopen(self) -> bool:
        """Close the file and open it again.

        A transaction that is in the database afterwards is on the disk; one that is not will not
        come back later.

        @return: whether the file has one commit more than this object has counted.
        @raise Misplaced: if the file was moved or deleted.
        @raise StoreError: if the number of commits is any other.
        @raise Exception: whatever SQLite or SQLAlchemy raises.
        """
        if self._path in self._lost():
            raise Misplaced(f"{self._path} was moved or deleted")
        if self._connection is not None and self._lost():
            self._checkpoint()  # closing a write-ahead log that has no name deletes it
        # On closing, SQLite copies the commits that it knows of into the database and deletes the
        # write-ahead log. If it cannot, it reads the whole log when the file is opened again, and
        # finds the commit in doubt.
        self.close()
        if self._path is not None:
            sync(os.path.dirname(self._path))  # else the log might be back after a power cut
        try:
            self._connect()
            before = self._commits
            self._look_around()
            after, self._commits = self._commits, before
            if after not in (before, before + 1):
                raise StoreError(f"it has {after} commits instead of {before}")
            if after > before:
                # The commit was read from memory and may not be on the disk, whatever a sync
                # reports now: Linux forgets pages that it could not write. Copying the commit into
                # the database writes it again.
                self._checkpoint()
        except BaseException:
            self.close()
            raise
        return after > before

    def _checkpoint(self) -> None:
        """Copy the write-ahead log into the database, sync the database, and empty the log."""
        ((busy, _, _),) = self._driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        assert not busy, "nobody else has it open"


def _configure(driver: Any) -> None:
    # Transactions begin only where this module begins them: the driver must not begin any, and
    # SQLAlchemy leaves that to the driver.
    driver.isolation_level = None
    # Keep other processes out: two connections could hit SQLite's WAL-reset bug (before 3.51.3),
    # and two daemons would give out the same message numbers.
    driver.execute("PRAGMA locking_mode = EXCLUSIVE")
    driver.execute("PRAGMA synchronous = FULL")
    driver.execute("PRAGMA foreign_keys = ON")
    driver.execute(f"PRAGMA journal_size_limit = {_WAL_LIMIT}")


def _create(path: str) -> None:
    """Create the file with mode 600 unless it exists. SQLite would go by the umask. It gives the
    write-ahead log the mode of the database."""
    with suppress(OSError):  # SQLite opens the file next and reports what is wrong
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.fchmod(descriptor, 0o600)
        finally:
            os.close(descriptor)


def _warn_if_readable(path: str) -> None:
    mode = stat.S_IMODE(os.stat(path).st_mode)
    if mode & 0o077:
        _log.warn(
            "other users may open {path}, whose mode is {mode:03o}; run chmod 600 {path}",
            path=path,
            mode=mode,
        )


def _identity(path: str) -> tuple[int, int] | None:
    """Return the device and inode of the file that the path leads to, or None if there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino
