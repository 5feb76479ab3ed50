"""bcrypt on threads of its own."""

import secrets
from collections.abc import Callable
from typing import TypeVar

import bcrypt
from twisted.internet.defer import CancelledError, DeferredSemaphore
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from twisted_chat.core.errors import Refusal

_THREADS = 2

T = TypeVar("T")


class BcryptHasher:
    """Hashes and checks passwords; a L{twisted_chat.core.ports.PasswordHasher}."""

    def __init__(self, reactor: IReactorFromThreads, *, cost: int, queue: int) -> None:
        """
        @param cost: bcrypt's work factor, 4 to 31; each step doubles the effort.
        @param queue: how many may wait; beyond that L{Refusal} C{busy}.
        """
        self._reactor = reactor
        self._cost = cost
        self._queue = queue
        self._stopped = False
        self._slots = DeferredSemaphore(_THREADS)
        self._pool = ThreadPool(minthreads=0, maxthreads=_THREADS, name="passwords")
        # Well-formed, and the hash of no password: checking one against it takes the usual effort.
        self._nobody = bcrypt.gensalt(cost) + secrets.token_hex(16)[:31].encode()

    def start(self) -> None:
        self._pool.start()

    def stop(self) -> None:
        """Refuse who waits; returns when what is under way has ended, within a second or so."""
        self._stopped = True
        for waiting in list(self._slots.waiting):
            waiting.cancel()
        self._pool.stop()

    async def hash(self, password: str, /) -> bytes:
        return await self._run(lambda: bcrypt.hashpw(password.encode(), bcrypt.gensalt(self._cost)))

    async def verify(self, password: str, password_hash: bytes | None, /) -> bool:
        against = self._nobody if password_hash is None else password_hash
        return await self._run(lambda: bcrypt.checkpw(password.encode(), against))

    async def _run(self, work: Callable[[], T]) -> T:
        if self._stopped:
            raise _going_down()
        if not self._slots.tokens and len(self._slots.waiting) >= self._queue:
            raise Refusal("busy", "too many people are logging in; try again in a moment")
        try:
            await self._slots.acquire()
        except CancelledError:
            raise _going_down() from None
        try:
            return await deferToThreadPool(self._reactor, self._pool, work)
        finally:
            self._slots.release()


def _going_down() -> Refusal:
    return Refusal("closed", "the server is going down")
