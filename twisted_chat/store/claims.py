"""Names and numbers that only one of several nodes may give out."""

from collections import deque
from collections.abc import Callable, Sequence

from sqlalchemy import Connection, text
from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_chat.core.errors import Refusal

_NUMBERS = 100
"""Numbers of guests that a node takes at a time."""

_AHEAD = 20
"""Numbers that are left when it takes the next ones."""

_CLAIM = text("""
    INSERT INTO held (skeleton, name, node, token)
    SELECT :skeleton, :name, :node, :token
    WHERE NOT EXISTS (SELECT FROM accounts WHERE skeleton = :skeleton)
    ON CONFLICT (skeleton) DO UPDATE
        SET name = excluded.name, node = excluded.node, token = excluded.token
        WHERE held.node = excluded.node OR held.token = :former AND held.token <> ''
    RETURNING name
""")

_TAKEN = text("""
    SELECT name FROM accounts WHERE skeleton = :skeleton
    UNION ALL SELECT name FROM held WHERE skeleton = :skeleton
""")

_TAKE = text(f"SELECT nextval('guest_numbers') FROM generate_series(1, {_NUMBERS})")

_log = Logger()


def claim(
    connection: Connection, node: int, name: str, skeleton: str, token: str, former: str
) -> str | None:
    """Claim a name for a node. That works if the node has it already, and if the claim belongs to
    the session whose token is C{former}.

    @param token: of the session that wants the name; empty if it has none.
    @param former: empty for none.
    @return: L{None} if the name is claimed now; else the name, the same or one that looks like it,
        that another node has claimed or somebody has registered.
    """
    values = {"node": node, "name": name, "skeleton": skeleton, "token": token, "former": former}
    while connection.scalar(_CLAIM, values) is None:
        other = connection.scalar(_TAKEN, {"skeleton": skeleton})
        if other is not None:  # else its node has let it go just now
            return str(other)
    return None


def take_numbers(connection: Connection) -> Sequence[int]:
    """Take numbers for the names of guests, which nobody else gets."""
    return connection.scalars(_TAKE).all()


class GuestNumbers:
    """Gives out numbers for the names of guests, and takes new ones before they run out."""

    def __init__(self, fetch: Callable[[], Deferred[Sequence[int]]]) -> None:
        """@param fetch: takes numbers that nobody else gets."""
        self._fetch = fetch
        self._ready: deque[int] = deque()
        self._waiting: deque[Deferred[int]] = deque()
        self._is_fetching = False

    def take(self) -> Deferred[int]:
        """Take a number.

        @return: fails with whatever keeps new numbers from being taken, if there is none left.
        """
        if self._ready:
            taken = succeed(self._ready.popleft())
        else:
            taken = Deferred(self._waiting.remove)
            self._waiting.append(taken)
        self._look_ahead()
        return taken

    def _look_ahead(self) -> None:
        if not self._is_fetching and (self._waiting or len(self._ready) < _AHEAD):
            self._is_fetching = True
            self._fetch().addCallbacks(self._fetched, self._failed)

    def _fetched(self, numbers: Sequence[int]) -> None:
        self._is_fetching = False
        self._ready.extend(numbers)
        while self._waiting and self._ready:
            self._waiting.popleft().callback(self._ready.popleft())
        self._look_ahead()

    def _failed(self, failure: Failure) -> None:
        self._is_fetching = False
        waiting, self._waiting = self._waiting, deque()
        if not waiting and not failure.check(Refusal):
            _log.failure("taking numbers for guests", failure)
        for taken in waiting:
            taken.errback(failure)
