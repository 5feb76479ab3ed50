"""L{Worker}: transactions on a thread of its own, and what their failures mean."""

from collections.abc import Callable
from functools import partial
from threading import Thread
from typing import Any, ParamSpec, TypeVar

from sqlalchemy import Connection
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from twisted_chat.core.errors import NOT_CHANGED, NOT_READ, Refusal

from .engine import Engine
from .trouble import InDoubt, Outage, StoreError, Unknown

P = ParamSpec("P")
T = TypeVar("T")

Transaction = Callable[[Connection], T]

_IN_DOUBT = (
    "the server lost its database while it did that, and can't tell yet whether it was done; look,"
    " and try again later"
)
_UNKNOWN = "the disk is failing: the server can't tell whether that was done, and it is going down"
_DAMAGED = "the database is damaged, and the server is going down"


class _Thread(Thread):
    """A thread that does not keep the process from ending, as a database may never answer."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options, daemon=True)


class Worker:
    """Carries out transactions one after the other, in the order of the calls, on one thread.

    Results arrive in that order too. After damage to the database was found, nothing is carried out
    any more.

    @ivar writing: the outage of writing. Only a commit of posts ends it.
    """

    def __init__(
        self, database: Engine, reactor: IReactorFromThreads, outage: Outage | None = None
    ) -> None:
        """
        @param outage: of reading and of writing, if neither fails alone. Reading does not end it.
        """
        self._database = database
        self._reactor = reactor
        self._trouble = database.trouble
        self._pool = ThreadPool(minthreads=1, maxthreads=1, name="store")
        self._pool.threadFactory = _Thread
        self._damaged: Callable[[str], None] | None = None
        self._damage: str | None = None  # set on the thread
        self._reading = outage or Outage(
            "the database cannot be read: {reason}",
            "the database can be read again; {count} requests were refused meanwhile",
        )
        self.writing = outage or Outage(
            "the database cannot store messages: {reason}",
            "the database stores messages again; {count} were refused meanwhile",
        )

    def subscribe(self, damaged: Callable[[str], None]) -> None:
        """
        @param damaged: called once, with the reason, when the database turns out to be damaged or
            it cannot be found out whether a commit was kept.
        """
        self._damaged = damaged

    def start(self) -> None:
        """Start the thread. The database is open."""
        self._pool.start()

    async def stop(self) -> None:
        """Close the database, after the transactions that were asked for."""
        await deferToThreadPool(self._reactor, self._pool, self._database.close)
        self._pool.stop()

    def run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Deferred[T]:
        """Call a method of the database, on the thread.

        @return: fails with whatever it raises; with a L{StoreError} if the database is damaged;
            with a L{Refusal} C{closed} after L{stop}.
        """
        return deferToThreadPool(
            self._reactor, self._pool, self._attempt, partial(call, *args, **kwargs)
        )

    def write(self, work: Transaction[T]) -> Deferred[T]:
        """Carry out a transaction that writes.

        @return: fails as L{run}, but with a L{Refusal} C{unavailable} if the database cannot be
            written.
        """
        # Success does not end an outage: a full disk may still have room for something small.
        return self.run(self._database.write, work).addErrback(
            self._cannot, self.writing, 0, NOT_CHANGED["unavailable"]
        )

    def read(self, work: Transaction[T]) -> Deferred[T]:
        """Carry out a transaction that reads.

        @return: fails as L{run}, but with a L{Refusal} C{unavailable} if the database cannot be
            read.
        """

        def done(result: T) -> T:
            if self._reading is not self.writing:
                self._reading.end()
            return result

        return self.run(self._database.read, work).addCallbacks(
            done, self._cannot, errbackArgs=(self._reading, 1, NOT_READ)
        )

    def is_damaged(self) -> bool:
        """Whether the file is known to be damaged. Tells of it the first time."""
        if self._damage is not None and self._damaged is not None:
            damaged, self._damaged = self._damaged, None
            damaged(self._damage)
        return self._damage is not None

    def _attempt(self, call: Callable[[], T]) -> T:
        """Call a method of the database, unless it is known to be damaged. Runs on the thread.

        @raise StoreError: if the database is known to be damaged.
        @raise Refusal: C{closed} if the database is closed.
        @raise Exception: whatever the method raises.
        """
        if self._damage is not None:
            raise StoreError(self._damage)
        if not self._database.is_open:
            raise Refusal("closed", "the server is going down")
        try:
            return call()
        except Exception as error:
            unknown = isinstance(error, Unknown)
            self._damage = str(error) if unknown else self._database.damage(error)
            raise

    def _cannot(self, failure: Failure, outage: Outage, count: int, sentence: str) -> Failure:
        reason = self._trouble(failure.value)
        if reason is not None:
            outage.refuse(reason, count)
            is_in_doubt = failure.check(InDoubt)
            raise Refusal("unavailable", _IN_DOUBT if is_in_doubt else sentence)
        if self.is_damaged():
            raise Refusal("internal", _UNKNOWN if failure.check(Unknown) else _DAMAGED)
        return failure
