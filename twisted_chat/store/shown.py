"""L{Shown}: what was handed over lately, by which a node notices that the database has lost some of
it."""

from collections import deque
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from twisted_chat.core.announcements import Delivered
from twisted_chat.core.model import MESSAGES, Entry

_MOST = 1000
"""Commits that are remembered."""


class Committed(NamedTuple):
    """A commit of some node.

    @ivar last_id: the last id that it took.
    @ivar batch: the node's number for it.
    """

    last_id: int
    node: int
    batch: int


@dataclass(slots=True)
class Loss:
    """What the database has lost of what was shown.

    @ivar messages: how many.
    @ivar last_id: the last id that was shown.
    @ivar rooms: for each room, the C{seq} and the time of its last entry that was shown.
    """

    messages: int
    last_id: int
    rooms: dict[int, tuple[int, int]]


@dataclass(slots=True)
class _Commit:
    what: Committed
    messages: int = 0
    rooms: dict[int, tuple[int, int]] = field(default_factory=dict)


class Shown:
    """The last commits that were handed over."""

    def __init__(self) -> None:
        self._commits: deque[_Commit] = deque(maxlen=_MOST)

    def begin(self, commit: Committed) -> None:
        """Forget everything; the log is known up to a commit."""
        self._commits.clear()
        self._commits.append(_Commit(commit))

    def note(self, commits: Iterable[Committed], said: Iterable[tuple[int, Delivered]]) -> None:
        """Remember that commits are handed over.

        @param said: what is in them, in order, with its ids.
        """
        parts = iter(said)
        part = next(parts, None)
        for commit in commits:
            noted = _Commit(commit)
            while part is not None and part[0] <= commit.last_id:
                entry = part[1]
                if isinstance(entry, Entry):
                    noted.messages += entry.kind in MESSAGES
                    noted.rooms[entry.room.id] = entry.seq, entry.time
                part = next(parts, None)
            self._commits.append(noted)

    @property
    def last_ids(self) -> Sequence[int]:
        """The last ids of the commits."""
        return [commit.what.last_id for commit in self._commits]

    @property
    def newest(self) -> Committed:
        """The last commit."""
        return self._commits[-1].what

    def loss(self, kept: Collection[Committed]) -> Loss | None:
        """Find out what was lost.

        @param kept: those of the commits that are still in the database, and any others.
        @return: L{None} if the last one is among them.
        """
        lost: list[_Commit] = []
        for commit in reversed(self._commits):
            if commit.what in kept:
                break
            lost.append(commit)
        if not lost:
            return None
        rooms: dict[int, tuple[int, int]] = {}
        for commit in reversed(lost):
            rooms |= commit.rooms
        return Loss(sum(commit.messages for commit in lost), lost[0].what.last_id, rooms)
