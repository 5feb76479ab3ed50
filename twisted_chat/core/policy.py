"""Who may do what, where. Every operation and query of L{Chat} asks here first."""

from collections.abc import Mapping
from enum import Enum
from typing import Literal

from .errors import Refusal
from .people import Person
from .room import Room

Action = Literal[
    "log in",
    "come as guest",
    "resume",
    "rename",
    "join",
    "leave",
    "go to",
    "say",
    "write privately",
    "see rooms",
    "see people",
    "see topic",
    "set topic",
    "read room",
    "read privately",
]


class _Needs(Enum):
    NOTHING = "nothing"
    PERSON = "to be logged in"
    MEMBER = "to be in the room"


_NEEDS: Mapping[Action, _Needs] = {
    "log in": _Needs.NOTHING,
    "come as guest": _Needs.NOTHING,
    "resume": _Needs.NOTHING,
    "rename": _Needs.PERSON,
    "join": _Needs.PERSON,
    "leave": _Needs.MEMBER,
    "go to": _Needs.MEMBER,
    "say": _Needs.MEMBER,
    "write privately": _Needs.PERSON,
    "see rooms": _Needs.PERSON,
    "see people": _Needs.PERSON,
    "see topic": _Needs.PERSON,
    "set topic": _Needs.MEMBER,
    "read room": _Needs.MEMBER,
    "read privately": _Needs.PERSON,
}


def may(person: Person | None, action: Action, room: Room | None = None) -> None:
    """Check that somebody may do something.

    @param person: L{None} before login.
    @param room: where; L{None} as long as the room has not been looked up. Ask without it first:
        a session that is nobody is not told which rooms there are.
    @raise Refusal: C{not-logged-in}, or C{not-in-room}.
    """
    needs = _NEEDS[action]
    if person is None:
        if needs is _Needs.NOTHING:
            return
        raise Refusal("not-logged-in", "log in first", "log-in")
    if needs is not _Needs.MEMBER or room is None or room.has(person):
        return
    sentence = f"you are not in {room.shown}"
    if action == "leave":
        raise Refusal("not-in-room", f"{sentence}, so you cannot leave it", room=room.name)
    raise Refusal("not-in-room", sentence, "join-first", room=room.name)
