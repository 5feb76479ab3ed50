"""Hashes passwords with bcrypt, on threads of its own."""

import secrets
from collections.abc import Callable, Iterable
from typing import TypeVar

import bcrypt
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorThreads
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from twisted_chat.core.errors import Refusal
from twisted_chat.core.throttle import FairQueue

_THREADS = 2
"""Passwords that are hashed or checked at the same time, at most."""

_PREFIX = len(b"$2b$12$")
"""Bytes of a bcrypt hash before its salt: algorithm and cost."""

T = TypeVar("T")


class BcryptHasher:
    """Hashes and checks passwords; a L{twisted_chat.core.ports.PasswordHasher}."""

    def __init__(self, reactor: IReactorThreads, *, cost: int, queue: int) -> None:
        """
        @param cost: bcrypt's cost for new hashes, 4 to 31; each step doubles the time.
        @param queue: requests that may wait for a thread; one more, and one of them is refused.
        """
        self._reactor = reactor
        self._cost = cost
        self._stopped = False
        self._idle = _THREADS
        self._waiting: FairQueue[Deferred[None]] = FairQueue(queue)
        self._pool = ThreadPool(minthreads=0, maxthreads=_THREADS, name="passwords")
        self._highest = cost
        # Salt and digest of a hash that no password has; a prefix with a cost comes before it.
        self._nobody = bcrypt.gensalt(4)[_PREFIX:] + secrets.token_hex(16)[:31].encode()

    def start(self, hashes: Iterable[bytes] = ()) -> None:
        """Start the threads.

        @param hashes: the hashes of existing passwords, or their first seven bytes. A check of a
            wrong password takes as long as the highest cost among them and the cost of new hashes.
        """
        self._highest = max([self._cost, *map(_cost, hashes)])
        self._pool.start()

    def stop(self) -> "Deferred[None]":
        """Refuse the requests that wait and all later ones.

        @return: fires when the requests under way have ended: at the default cost within a second.
        """
        self._stopped = True
        while self._waiting:
            self._waiting.pop().errback(_going_down())
        # On another thread, as stop() joins the threads, which takes as long as a hash.
        return deferToThreadPool(self._reactor, self._reactor.getThreadPool(), self._pool.stop)

    async def hash(self, password: str, network: str, /) -> bytes:
        """@raise Refusal: C{busy} if too many requests wait, C{closed} after L{stop}."""
        return await self._run(
            network, lambda: bcrypt.hashpw(password.encode(), bcrypt.gensalt(self._cost))
        )

    async def verify(self, password: str, password_hash: bytes | None, network: str, /) -> bool:
        """@raise Refusal: C{busy} if too many requests wait, C{closed} after L{stop}."""
        right = await self._run(network, lambda: self._check(password.encode(), password_hash))
        if right and network:
            self._waiting.know(network)
        return right

    def is_outdated(self, password_hash: bytes, /) -> bool:
        return _cost(password_hash) < self._cost

    def _check(self, password: bytes, password_hash: bytes | None) -> bool:
        """Return whether this is the password. Every no takes the same time, that of the highest
        cost, whatever the cost of the hash and whether there is one."""
        left = [self._highest]
        if password_hash is not None:
            if bcrypt.checkpw(password, password_hash):
                return True
            # Each cost takes twice the time of the one below, so 4, 4 and 5 add up to 6.
            left = [*range(_cost(password_hash), self._highest)]
        for cost in left:
            bcrypt.checkpw(password, b"$2b$%02d$" % cost + self._nobody)
        return False

    async def _run(self, network: str, work: Callable[[], T]) -> T:
        """Call C{work} on a thread as soon as one is free, and return its result.

        @raise Refusal: C{busy} if too many requests wait, C{closed} after L{stop}.
        """
        if self._stopped:
            raise _going_down()
        if self._idle:
            self._idle -= 1
        else:
            await self._turn(network)
        # The thread goes on when the caller is cancelled, and counts as idle only when its work is
        # done. So the thread and the caller have a Deferred each.
        done = deferToThreadPool(self._reactor, self._pool, work)
        done.addBoth(self._give_back)
        answer: Deferred[T] = Deferred()
        done.chainDeferred(answer)
        return await answer

    def _give_back(self, result: T) -> T:
        if self._waiting:
            self._waiting.pop().callback(None)
        else:
            self._idle += 1
        return result

    def _turn(self, network: str) -> "Deferred[None]":
        """Wait for a thread.

        @return: fires when a thread is free; fails with a L{Refusal}: C{busy} if too many requests
            wait, C{closed} at L{stop}. Cancelling it gives up the place in the queue.
        """
        turn: Deferred[None] = Deferred(lambda turn: self._waiting.remove(network, turn))
        turned_away = self._waiting.push(network, turn)
        if turned_away is not None:
            turned_away.errback(
                Refusal("busy", "too many people are logging in; try again in a moment")
            )
        return turn


def _cost(password_hash: bytes) -> int:
    digits = password_hash[4:6]
    return int(digits) if digits.isdigit() else 0


def _going_down() -> Refusal:
    return Refusal("closed", "the server is going down")
