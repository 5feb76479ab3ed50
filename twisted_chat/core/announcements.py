"""What one node tells the others, in the order of the log, and nobody needs later: who is with it,
and what the nodes count together. L{Elsewhere<twisted_chat.core.elsewhere.Elsewhere>} takes it."""

import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from .model import Aside, Stored


class Visitor(NamedTuple):
    """Somebody who is with a node: at least one of their sessions is.

    @ivar id: the account's id; L{None} for a guest.
    @ivar key: of the hold on a guest's name; L{None} for an account.
    @ivar rooms: the names of the rooms that a guest is in, without the lobby. Empty for an account,
        whose memberships are in the log.
    """

    name: str
    id: int | None = None
    key: int | None = None
    rooms: tuple[str, ...] = ()


class Asked(NamedTuple):
    """The node wants to know who is with the others: each answers with L{Present}."""


class Present(NamedTuple):
    """These people are with the node.

    @ivar begins: forget all others that were said to be; else they are more of them.
    @ivar ends: these are the last of them.
    """

    visitors: tuple[Visitor, ...]
    begins: bool
    ends: bool


class Came(NamedTuple):
    """Somebody is with the node from now on."""

    visitor: Visitor


class Went(NamedTuple):
    """Somebody is with the node no longer."""

    name: str


class Became(NamedTuple):
    """A guest who is with the node is somebody else from now on: a guest of another name, or an
    account, which may have been with the node already."""

    name: str
    visitor: Visitor


class Entered(NamedTuple):
    """A guest who is with the node has joined a room."""

    name: str
    room: str


class Exited(NamedTuple):
    """A guest who is with the node has left a room."""

    name: str
    room: str


class Gone(NamedTuple):
    """A node has died, and nobody is with it any more. Another one says so.

    @ivar node: the one that has died.
    """

    node: int


class Read(NamedTuple):
    """An account has read a place.

    @ivar name: of the account.
    @ivar of: the name of a room, or C{@name}.
    @ivar seq: up to this entry.
    """

    name: str
    of: str
    seq: int


class Guessed(NamedTuple):
    """Somebody has tried a wrong password.

    @ivar network: where it came from; empty if it is not counted.
    @ivar name: of the account, whether or not there is one.
    """

    network: str
    name: str


class Counted(NamedTuple):
    """Somebody has done what is limited by network.

    @ivar what: C{registration} or C{room}.
    @ivar network: where it came from; empty if it is not counted.
    """

    what: str
    network: str


class PasswordChanged(NamedTuple):
    """The password of an account was changed.

    @ivar farewell: with which all its sessions are ended; empty if they stay.
    """

    name: str
    farewell: str


class TakenOver(NamedTuple):
    """A session with another node has taken the place of an earlier one.

    @ivar digest: what stands for the earlier session's token where others may read it.
    """

    digest: str


Announcement = (
    Asked
    | Present
    | Came
    | Went
    | Became
    | Entered
    | Exited
    | Gone
    | Read
    | Guessed
    | Counted
    | PasswordChanged
    | TakenOver
)


class Announced(NamedTuple):
    """What another node has said.

    @ivar node: the one that has said it.
    """

    node: int
    what: Announcement


Delivered = Stored | Announced
"""What the store hands over: what it has stored, and what other nodes have said."""


def encode(what: Announcement | Aside) -> tuple[str, str]:
    """Write what a node says, as its kind and a JSON text."""
    kind = type(what).__name__
    return kind.lower(), json.dumps(what, ensure_ascii=False, separators=(",", ":"))


def decode(node: int, kind: str, body: str) -> Announced | Aside | None:
    """Read what a node has said.

    @param node: the one that has said it.
    @return: L{None} if it is of a kind that this version does not know.
    @raise ValueError: if the text is none of its kind.
    """
    make = _KINDS.get(kind)
    if make is None:
        return None
    try:
        what = make(*json.loads(body))
    except TypeError as error:
        raise ValueError(f"{body!r} is no {kind}") from error
    return what if isinstance(what, Aside) else Announced(node, what)


def _visitor(fields: Any) -> Visitor:
    name, id, key, rooms = fields
    return Visitor(name, id, key, tuple(rooms))


_KINDS: Mapping[str, Callable[..., Announcement | Aside]] = {
    "aside": Aside,
    "asked": Asked,
    "present": lambda visitors, *ends: Present(tuple(map(_visitor, visitors)), *ends),
    "came": lambda visitor: Came(_visitor(visitor)),
    "went": Went,
    "became": lambda name, visitor: Became(name, _visitor(visitor)),
    "entered": Entered,
    "exited": Exited,
    "gone": Gone,
    "read": Read,
    "guessed": Guessed,
    "counted": Counted,
    "passwordchanged": PasswordChanged,
    "takenover": TakenOver,
}
