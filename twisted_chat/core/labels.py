"""Labels that have been used lately: a post that is repeated is answered, and not done again."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from .events import Done
from .model import Aside, Entry, Post
from .people import Session

SHORTEST = 16
"""Characters of a label that is remembered, at least. A shorter one may well be used again for
something else."""

WINDOW = 10 * 60 * 1000
"""Milliseconds for which a label is remembered."""

MOST = 10_000
"""Labels of one author that are remembered at most: the newest. Far fewer of a client's posts are
ever without an answer."""


@dataclass(slots=True)
class Labelled:
    """What became of a post with a label.

    @ivar time: when it was posted.
    @ivar done: what its author is told; L{None} while it is in flight.
    @ivar waiting: the sessions that have repeated it while it is in flight.
    """

    time: int
    done: Done | None = None
    waiting: list[Session] = field(default_factory=list)


Author = int | str
"""Whose a label is: the id of an account, or the name of a guest."""


def author(post: Post | Aside | Entry) -> Author:
    """Tell whose the label of a post is."""
    return post.author_id if post.author_id is not None else post.author


def done(stored: Entry | Aside, label: str, now: int) -> Done:
    """What the author of a post is told when it is in the log."""
    if isinstance(stored, Aside):
        return Done(now, label, to=stored.recipient)
    if stored.room.kind == "direct":
        return Done(now, label, seq=stored.seq, id=stored.id, to=stored.recipient)
    return Done(now, label, room=stored.room.name, seq=stored.seq, id=stored.id)


class Labels:
    """The labels of the last ten minutes, by their authors. What was posted before the process
    started, or at another node, comes from the log."""

    def __init__(self, now: Callable[[], int]) -> None:
        """@param now: gives the time in UTC milliseconds."""
        self._now = now
        # Author to label; those who posted longest ago, and the oldest labels of each, come first.
        self._known: dict[Author, dict[str, Labelled]] = {}

    def clear(self) -> None:
        """Forget all labels but those of posts in flight."""
        for author, known in list(self._known.items()):
            flying = {label: each for label, each in known.items() if each.done is None}
            self._known[author] = flying

    def find(self, author: Author, label: str) -> Labelled | None:
        """What became of a post with this label; L{None} if there was none, or its label was too
        short or is too old to be remembered."""
        self._forget_idle()
        known = self._known.get(author, {})
        _trim(known, self._now() - WINDOW)
        return known.get(label)

    def begin(self, author: Author, label: str) -> None:
        """Remember that a post with this label is in flight."""
        self._add(author, label, Labelled(self._now()))

    def keep(self, entry: Entry) -> None:
        """Take up an entry with a label that was not posted here."""
        whose = author(entry)
        if entry.label not in self._known.get(whose, ()):
            told = done(entry, entry.label, entry.time)
            self._add(whose, entry.label, Labelled(entry.time, told))

    def end(self, author: Author, label: str, told: Done | None) -> list[Session]:
        """Note that a post is in the log, or that it was lost and may be repeated.

        @param told: what its author is told; L{None} if it was lost.
        @return: the sessions that wait to be told, too.
        """
        known = self._known.get(author, {})
        labelled = known.get(label)
        if labelled is None:
            return []
        if told is None:
            del known[label]
        labelled.done = told
        waiting, labelled.waiting = labelled.waiting, []
        return waiting

    def again(self, told: Done) -> Done:
        """What the author is told who repeats a post that is in the log."""
        return replace(told, time=self._now())

    def _add(self, author: Author, label: str, labelled: Labelled) -> None:
        if len(label) < SHORTEST:
            return
        known = self._known.pop(author, {})
        _trim(known, self._now() - WINDOW)
        known[label] = labelled
        self._known[author] = known
        self._forget_idle()

    def _forget_idle(self) -> None:
        """Forget the authors who have posted nothing for so long that no label of theirs is
        remembered."""
        before = self._now() - WINDOW
        while self._known:
            author, known = next(iter(self._known.items()))
            _trim(known, before)
            if known:
                return
            del self._known[author]


def _trim(known: dict[str, Labelled], before: int) -> None:
    """Forget the labels of an author that are from before some time, or too many; but not those
    of posts in flight."""
    while known:
        label, oldest = next(iter(known.items()))
        if oldest.done is None or (oldest.time >= before and len(known) < MOST):
            return
        del known[label]
