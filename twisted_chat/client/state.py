"""What a client knows besides the lines that it shows: who is where, what is unread, and what can
be typed. No screen, no clock."""

from collections.abc import Collection, Iterable

from prompt_toolkit.utils import get_cwidth

from .lines import Event

LOBBY = "lobby"

_ROOM_COMMANDS = frozenset({"/join", "/leave", "/part", "/users", "/who", "/history"})
_NAME_COMMANDS = frozenset({"/dm", "/msg", "/tell", "/w", "/whisper", "/query"})


class State:
    """
    @ivar name: who we are.
    @ivar room: where we talk.
    @ivar link: how the connection is.
    @ivar unsent: the lines that have no receipt or answer yet.
    """

    def __init__(self) -> None:
        self.name = ""
        self.room = LOBBY
        self.link = "connecting"
        self.unsent: Collection[str] = ()
        self._people: dict[str, set[str]] = {}
        self._unnamed: dict[str, int] = {}  # who came or went in a storm, without a name
        self._unread: dict[str, int] = {}
        self._rooms: set[str] = set()
        self._commands: list[str] = []

    def take(self, event: Event, *, new: bool) -> None:
        """Learn from an event, if it is as the protocol has it.

        @param new: it is no answer, but news.
        """
        try:
            self._take(event, new)
        except (KeyError, IndexError, TypeError, AttributeError):
            pass

    def _take(self, event: Event, new: bool) -> None:
        kind, room = event["event"], event.get("room")
        if kind == "users" and isinstance(room, str):
            self._people[room] = {str(user["name"]) for user in event["users"]}
            self._unnamed[room] = 0
        elif kind in ("joined", "left") and isinstance(room, str):
            self._came_or_went(kind, room, event)
        elif kind == "renamed":
            for names in self._people.values():
                if event["name"] in names:
                    names.discard(event["name"])
                    names.add(str(event["to"]))
        elif kind == "rooms":
            self._rooms = {str(each["room"]) for each in event["rooms"]}
        elif kind == "help":
            usages = (command["usage"].split()[0] for command in event["commands"])
            also = (str(word) for command in event["commands"] for word in command["also"])
            self._commands = sorted(word for word in (*usages, *also) if word.startswith("/"))
        elif kind == "message" and new and event["from"] != self.name and room != self.room:
            self._unread[str(room)] = self._unread.get(str(room), 0) + 1

    def talk_in(self, room: str) -> None:
        """We look at this room now."""
        self.room = room
        self._unread.pop(room, None)

    def status(self, width: int) -> str:
        """A line about all this; what does not fit is left out, the least important first."""
        unread = ", ".join(f"#{room} {count}" for room, count in sorted(self._unread.items()))
        parts = [
            "" if self.link == "connected" else self.link,
            f"#{self.room}",
            f"unread {unread}" if unread else "",
            f"{len(self.unsent)} not sent" if self.unsent else "",
            f"{self._here()} here" if self.room in self._people else "",
            self.name,
            self.link if self.link == "connected" else "",
        ]
        shown: list[str] = []
        for part in filter(None, parts):
            if get_cwidth(" · ".join([*shown, part])) <= width:
                shown.append(part)
        return " · ".join(shown)

    def completions(self, before: str) -> tuple[str, list[str]]:
        """What the last word of the text before the cursor may be meant to be: how it begins, and
        what could stand for it."""
        start = before.rfind(" ") + 1
        begun = before[start:]
        command = before.split(" ", 1)[0].lower() if start else ""
        if not start and begun.startswith("/") and not begun.startswith("//"):
            return begun, [f"{word} " for word in _like(begun, self._commands)]
        if command in _ROOM_COMMANDS or begun.startswith("#"):
            mark = "#" if begun.startswith("#") else ""
            rooms = self._rooms | self._people.keys()
            return begun, [f"{mark}{room} " for room in _like(begun.removeprefix("#"), rooms)]
        if not begun:
            return "", []
        mark = "@" if begun.startswith("@") else ""
        end = " " if start or mark else ": "
        here = self._people.get(self.room, set())
        everybody = set().union(*self._people.values())
        names = {name for name in everybody if name != self.name}
        wanted = begun.removeprefix("@")
        near = [] if command in _NAME_COMMANDS else _like(wanted, names & here)
        return begun, [f"{mark}{name}{end}" for name in near or _like(wanted, names)]

    def _here(self) -> int:
        return max(len(self._people[self.room]) + self._unnamed.get(self.room, 0), 1)

    def _came_or_went(self, kind: str, room: str, event: Event) -> None:
        came = kind == "joined"
        name = event.get("name")
        if name is None:
            many = event["count"] if came else -event["count"]
            self._unnamed[room] = self._unnamed.get(room, 0) + many
        elif came:
            self._people.setdefault(room, set()).add(str(name))
            self._rooms.add(room)
        elif name == self.name and room != LOBBY:
            for known in (self._people, self._unnamed, self._unread):
                known.pop(room, None)
        else:
            # Who has left the lobby has left.
            for there in [*self._people] if room == LOBBY else [room]:
                self._people.get(there, set()).discard(name)


def common(texts: list[str]) -> str:
    """How all of them begin."""
    first, last = min(texts), max(texts)
    same = (one == other for one, other in zip(first, last, strict=False))
    return first[: next((n for n, equal in enumerate(same) if not equal), len(first))]


def _like(begun: str, words: Iterable[str]) -> list[str]:
    return sorted(word for word in words if word.startswith(begun.casefold()))
