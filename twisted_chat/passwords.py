"""bcrypt on threads of its own."""

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

_PREFIX = len(b"$2b$12$")

T = TypeVar("T")


class BcryptHasher:
    """Hashes and checks passwords; a L{twisted_chat.core.ports.PasswordHasher}."""

    def __init__(self, reactor: IReactorThreads, *, cost: int, queue: int) -> None:
        """
        @param cost: bcrypt's work factor, 4 to 31; each step doubles the effort.
        @param queue: how many may wait; beyond that L{Refusal} C{busy}.
        """
        self._reactor = reactor
        self._cost = cost
        self._stopped = False
        self._idle = _THREADS
        self._waiting: FairQueue[Deferred[None]] = FairQueue(queue)
        self._pool = ThreadPool(minthreads=0, maxthreads=_THREADS, name="passwords")
        self._highest = cost
        # Behind a cost, the hash of no password.
        self._nobody = bcrypt.gensalt(4)[_PREFIX:] + secrets.token_hex(16)[:31].encode()

    def start(self, hashes: Iterable[bytes] = ()) -> None:
        """Begin to work.

        @param hashes: those that passwords may be checked against, or what each begins with.
        """
        self._highest = max([self._cost, *map(_cost, hashes)])
        self._pool.start()

    def stop(self) -> "Deferred[None]":
        """Refuse who waits, and all that comes.

        @return: fires when what is under way has ended: at the default cost within a second.
        """
        self._stopped = True
        while self._waiting:
            self._waiting.pop().errback(_going_down())
        # It joins the threads, which takes as long as a hash.
        return deferToThreadPool(self._reactor, self._reactor.getThreadPool(), self._pool.stop)

    async def hash(self, password: str, network: str, /) -> bytes:
        return await self._run(
            network, lambda: bcrypt.hashpw(password.encode(), bcrypt.gensalt(self._cost))
        )

    async def verify(self, password: str, password_hash: bytes | None, network: str, /) -> bool:
        right = await self._run(network, lambda: self._check(password.encode(), password_hash))
        if right and network:
            self._waiting.know(network)
        return right

    def is_outdated(self, password_hash: bytes, /) -> bool:
        return _cost(password_hash) < self._cost

    def _check(self, password: bytes, password_hash: bytes | None) -> bool:
        """Is this the password? It takes as long to say no to any, with a hash of whatever cost, as
        the hash of the highest cost takes."""
        left = [self._highest]
        if password_hash is not None:
            if bcrypt.checkpw(password, password_hash):
                return True
            # A cost is twice the effort of the one below: 4, 4 and 5 are together as much as 6.
            left = [*range(_cost(password_hash), self._highest)]
        for cost in left:
            bcrypt.checkpw(password, b"$2b$%02d$" % cost + self._nobody)
        return False

    async def _run(self, network: str, work: Callable[[], T]) -> T:
        if self._stopped:
            raise _going_down()
        if self._idle:
            self._idle -= 1
        else:
            await self._turn(network)
        # A thread cannot be stopped: it is idle when it has done its work, and not when whoever
        # asked for that is cancelled. So there is one Deferred for each.
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
        """Fires when a thread is free for this one. If it is cancelled, the place in the queue is
        free."""
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
