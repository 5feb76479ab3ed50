"""The terminal's last line, and what Tab completes. No screen, no clock."""

from collections.abc import Collection, Iterable

from prompt_toolkit.utils import get_cwidth

from ..lines import LOBBY
from ..model import Model, Place

_ROOM_COMMANDS = frozenset(
    {"/history", "/join", "/leave", "/part", "/read", "/say", "/to", "/users", "/who"}
)
_NAME_COMMANDS = frozenset({"/dm", "/msg", "/tell", "/w", "/whisper", "/query"})


class Status:
    """What a person at a terminal is told about where they are.

    @ivar model: who is where, and what is unread.
    @ivar room: where we talk.
    @ivar link: how the connection is.
    @ivar unsent: the lines that have no receipt or answer yet.
    """

    def __init__(self) -> None:
        self.model = Model(Place)
        self.room = LOBBY
        self.link = "connecting"
        self.unsent: Collection[str] = ()

    def talk_in(self, room: str) -> None:
        """We talk in this room now, and look at it."""
        self.room = room
        self.model.look(self.model.open(room))

    def line(self, width: int) -> str:
        """Give a line about all this. What does not fit is left out, the least important first.

        @param width: columns that the line may take.
        """
        places = sorted((each.name, each.unread) for each in self.model if not each.person)
        unread = ", ".join(f"#{room} {count}" for room, count in places if count)
        here = self.model.all.get(self.room)
        parts = [
            "" if self.link == "connected" else self.link,
            f"#{self.room}",
            f"unread {unread}" if unread else "",
            f"{len(self.unsent)} not sent" if self.unsent else "",
            f"{here.number} here" if here is not None and here.number else "",
            self.model.name,
            self.link if self.link == "connected" else "",
        ]
        shown: list[str] = []
        for part in filter(None, parts):
            if get_cwidth(" · ".join([*shown, part])) <= width:
                shown.append(part)
        return " · ".join(shown)

    def completions(self, before: str) -> tuple[str, list[str]]:
        """Complete the last word of the text before the cursor.

        @return: how the word begins, and what could stand for it.
        """
        start = before.rfind(" ") + 1
        begun = before[start:]
        command = before.split(" ", 1)[0].lower() if start else ""
        if not start and begun.startswith("/") and not begun.startswith("//"):
            return begun, [f"{word} " for word in _like(begun, self.model.commands)]
        if command in _ROOM_COMMANDS or begun.startswith("#"):
            mark = "#" if begun.startswith("#") else ""
            ours = {place.name for place in self.model if not place.person}
            rooms = self.model.rooms.keys() | ours
            return begun, [f"{mark}{room} " for room in _like(begun.removeprefix("#"), rooms)]
        if not begun:
            return "", []
        mark = "@" if begun.startswith("@") else ""
        end = " " if start or mark else ": "
        here = self.model.open(self.room).people
        names = {name for place in self.model for name in place.people} - {self.model.name}
        wanted = begun.removeprefix("@")
        near = [] if command in _NAME_COMMANDS else _like(wanted, names & here.keys())
        return begun, [f"{mark}{name}{end}" for name in near or _like(wanted, names)]


def _like(begun: str, words: Iterable[str]) -> list[str]:
    return sorted(word for word in words if word.startswith(begun.casefold()))
