"""Who is with the other nodes, as far as these have said."""

from collections.abc import Iterator

from .announcements import (
    Announcement,
    Became,
    Came,
    Entered,
    Exited,
    Gone,
    Present,
    Visitor,
    Went,
)

Change = Came | Went | Became | Entered | Exited
"""What changes with one node, that was not so before."""


class Elsewhere:
    """Takes what the other nodes say of the people who are with them, and tells what it changes.

    A node may say the same again, or say all of it anew: that changes only what has changed.
    """

    def __init__(self) -> None:
        self._visitors: dict[int, dict[str, Visitor]] = {}  # by node and name
        self._present: dict[int, list[Visitor]] = {}  # what of a L{Present} has come so far

    def visitors(self, name: str) -> Iterator[Visitor]:
        """Somebody, as each of the nodes has said that they are with."""
        for visitors in self._visitors.values():
            if name in visitors:
                yield visitors[name]

    def take(self, node: int, what: Announcement) -> Iterator[tuple[int, Change]]:
        """Take what a node has said. All of what is returned must be carried out, in order, each
        before the next is asked for.

        @return: each change, and the node with which it is.
        """
        if isinstance(what, Gone):
            for name in list(self._visitors.get(what.node, ())):
                yield from self._went(what.node, name)
            self._visitors.pop(what.node, None)
            self._present.pop(what.node, None)
        elif isinstance(what, Present):
            yield from self._all(node, what)
        elif isinstance(what, Came):
            yield from self._came(node, what.visitor)
        elif isinstance(what, Went):
            yield from self._went(node, what.name)
        elif isinstance(what, Became):
            yield from self._became(node, what)
        elif isinstance(what, Entered | Exited):
            yield from self._moved(node, what)

    def _all(self, node: int, present: Present) -> Iterator[tuple[int, Change]]:
        """Take all people who are with a node; the others are so no longer."""
        if present.begins:
            self._present[node] = []
        gathered = self._present.get(node)
        if gathered is None:
            return  # its beginning was not heard
        gathered += present.visitors
        if present.ends:
            del self._present[node]
            here = {visitor.name for visitor in gathered}
            for name in [name for name in self._visitors.get(node, ()) if name not in here]:
                yield from self._went(node, name)
            for visitor in gathered:
                yield from self._came(node, visitor)

    def _came(self, node: int, visitor: Visitor) -> Iterator[tuple[int, Change]]:
        visitors = self._visitors.setdefault(node, {})
        known = visitors.get(visitor.name)
        if known is not None and known._replace(rooms=()) != visitor._replace(rooms=()):
            yield from self._went(node, visitor.name)  # it is somebody else of the same name
            known = None
        visitors[visitor.name] = visitor
        if known is None:
            yield node, Came(visitor)
            return
        for room in [room for room in known.rooms if room not in visitor.rooms]:
            yield node, Exited(visitor.name, room)
        for room in [room for room in visitor.rooms if room not in known.rooms]:
            yield node, Entered(visitor.name, room)

    def _went(self, node: int, name: str) -> Iterator[tuple[int, Change]]:
        if self._visitors.get(node, {}).pop(name, None) is not None:
            yield node, Went(name)

    def _became(self, node: int, what: Became) -> Iterator[tuple[int, Change]]:
        visitors = self._visitors.setdefault(node, {})
        guest = visitors.pop(what.name, None)
        if guest is None:
            yield from self._came(node, what.visitor)
        else:
            visitors[what.visitor.name] = what.visitor
            yield node, what

    def _moved(self, node: int, what: Entered | Exited) -> Iterator[tuple[int, Change]]:
        visitors = self._visitors.get(node, {})
        known = visitors.get(what.name)
        is_entering = isinstance(what, Entered)
        if known is None or (what.room in known.rooms) == is_entering:
            return
        rooms = tuple(room for room in known.rooms if room != what.room)
        visitors[what.name] = known._replace(rooms=(*rooms, what.room) if is_entering else rooms)
        yield node, what
