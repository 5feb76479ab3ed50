"""What other nodes announce, and what it changes here."""

from collections.abc import Callable, Mapping
from typing import Any

from .accounts import Accounts
from .announcements import (
    Announced,
    Announcement,
    Asked,
    Became,
    Came,
    Counted,
    Entered,
    Exited,
    Gone,
    Guessed,
    PasswordChanged,
    Present,
    Read,
    TakenOver,
    Went,
)
from .guard import Guard
from .here import NAME_IS_GONE, Here, hang_up
from .marks import Marks
from .ports import Store


class Nodes:
    """Takes what other nodes have announced, in the order of the log.

    @ivar evicted: called when the others took this node for dead, and gave the names of its guests
        away; calls L{claim_again}.
    @ivar takers: called with the digest of a token: the session that has it, if it is with this
        node, was taken over, and has to end.
    """

    def __init__(
        self,
        store: Store,
        accounts: Accounts,
        guard: Guard,
        here: Here,
        marks: Marks,
        end_sessions: Callable[[str, str], object],
    ) -> None:
        """@param end_sessions: ends all sessions of an account, by its name, with a farewell."""
        self.evicted: Callable[[], object] = lambda: None
        self.takers: list[Callable[[str], object]] = []
        self._store = store
        self._accounts = accounts
        self._guard = guard
        self._here = here
        self._marks = marks
        self._end_sessions = end_sessions

    def take(self, announced: Announced) -> None:
        """Take what another node has announced, or what the store says in its place."""
        node, what = announced
        _TAKE[type(what)](self, node, what)

    def _present(self, node: int, what: Announcement) -> None:
        self._here.take(node, what)

    def _asked(self, node: int, asked: Asked) -> None:
        for present in self._here.present():
            self._store.announce(present)

    def _gone(self, node: int, gone: Gone) -> None:
        if gone.node != self._store.node:
            self._here.take(node, gone)
            return
        # The others took this node for dead, and gave its guests' names away.
        self._asked(node, Asked())
        self.evicted()

    async def claim_again(self) -> None:
        """Claim the names of this node's guests again, and end the sessions of those who have lost
        theirs.

        @raise Refusal: C{unavailable}, C{closed}.
        """
        for guest in self._here.guests():
            token = next((session.token for session in guest.sessions), "")
            if guest.hold is not None and await self._accounts.is_lost(guest.hold, token):
                hang_up(guest, NAME_IS_GONE)

    def _read(self, node: int, read: Read) -> None:
        self._marks.take(read)

    def _guessed(self, node: int, guessed: Guessed) -> None:
        self._guard.note_wrong_password(guessed.network, guessed.name)

    def _counted(self, node: int, counted: Counted) -> None:
        self._guard.note(counted.what, counted.network)

    def _password_changed(self, node: int, changed: PasswordChanged) -> None:
        self._accounts.note_change(changed.name)
        if changed.farewell:
            self._end_sessions(changed.name, changed.farewell)

    def _taken_over(self, node: int, taken: TakenOver) -> None:
        for taker in self.takers:
            taker(taken.digest)


_TAKE: Mapping[type[Announcement], Callable[[Nodes, int, Any], None]] = {
    Asked: Nodes._asked,
    Present: Nodes._present,
    Came: Nodes._present,
    Went: Nodes._present,
    Became: Nodes._present,
    Entered: Nodes._present,
    Exited: Nodes._present,
    Gone: Nodes._gone,
    Read: Nodes._read,
    Guessed: Nodes._guessed,
    Counted: Nodes._counted,
    PasswordChanged: Nodes._password_changed,
    TakenOver: Nodes._taken_over,
}
"""What is done about each announcement."""
