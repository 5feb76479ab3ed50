"""The rooms that a client is in or goes back to, and how far its account has read them. No socket,
no clock."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from . import lines
from .holes import Holes
from .lines import LOBBY, Event, Refused
from .requests import Asked
from .state import State


class Rooms:
    """Keeps C{seen.rooms} to the rooms that we are in.

    @ivar room: the room of messages and commands that name none.
    """

    def __init__(self, state: State, holes: Holes, rooms: Iterable[str], *, only: bool) -> None:
        """
        @param rooms: as in L{twisted_chat.client.session.ClientSession}, as is C{only}.
        @raise Refused: C{bad-name}.
        """
        self._state = state
        self._seen = state.seen
        self._holes = holes
        self._only = only
        self._read: dict[str, int] = {}  # up to where the account has read each place
        self.room = LOBBY
        for room in rooms:
            self.room = lines.room(room)
            self._seen.rooms.setdefault(self.room, None)
        self._wanted = set(self._seen.rooms) - {LOBBY}  # of these, those that were not joined yet

    def disconnected(self) -> None:
        """Take note that the connection is lost."""
        self._read.clear()

    def enter(self) -> None:
        """Join the rooms, as the login is done. An account is in its rooms already."""
        for room in tuple(self._seen.rooms):
            if room in self._wanted or not (self._state.account or room == LOBBY):
                self._state.send("join", room=room)

    def out_of(self, room: str) -> None:
        """Take note that we are not in a room any more."""
        self._seen.leave(room)
        self._holes.close([room])
        self._wanted.discard(room)
        if self.room == room:
            self.room = LOBBY

    # What is read

    def mark(self, place: str, seq: int) -> None:
        """Say that a person has read a place up to an entry, unless that is known."""
        if self._state.is_in and self._state.account and not self.is_read(place, seq):
            self._read[place] = seq
            self._state.send("read", of=place, seq=seq)

    def is_read(self, place: str, seq: int) -> bool:
        """Whether the account has read a place up to an entry, here or elsewhere."""
        return seq <= self._read.get(place, 0)

    def on_read(self, event: Event) -> None:
        """Take note that another session of the account has read a place."""
        place, seq = event["room"], event["seq"]
        self._read[place] = max(seq, self._read.get(place, 0))
        if seq > (self._seen.last(place) or 0):
            self._holes.miss(place)
        self._state.tell_of_room(event)

    def has_read(self, asked: Asked) -> None:
        """Tell that a place is read, as somebody has asked for."""
        if asked.internal:
            return
        of = asked.fields["of"]
        place = f"@{lines.person(of[1:])}" if of.startswith("@") else lines.room(of)
        seq = asked.fields.get("seq") or self._seen.last(place) or 0
        self._state.tell({"event": "read", "room": place, "seq": seq, "label": asked.label})

    # What we are told of rooms

    def on_rooms(self, event: Event) -> None:
        """Take the list of rooms: all of them, or those that the account is in."""
        if event.get("joined"):
            asked = self._state.requests.find(event)
            event["rooms"] = [row for row in event["rooms"] if self._open(row)]
            if asked is not None and asked.internal:
                self._close_others(event)
        self._state.tell(event)

    def on_where(self, event: Event) -> None:
        """Take the list of rooms that we are in, which somebody, or the session, has asked for."""
        asked = self._state.requests.find(event)
        if asked is None or not asked.internal:
            self._state.tell({**event, "room": self.room})  # which need not be the server's
            return
        us = {"name": self._state.name, "account": True}
        joined = {"event": "joined", "time": event.get("time"), **us}
        for row in event["rooms"]:
            is_new = row["room"] not in self._seen.rooms
            if self._open(row) and is_new:
                self._state.tell({**joined, "room": row["room"]})
        self._close_others(event)

    def _open(self, row: Mapping[str, Any]) -> bool:
        """Take note of a room that the account is in.

        @return: whether it matters here.
        """
        room, seq, read, new = (row.get(name) for name in ("room", "seq", "read", "new"))
        if room is None or seq is None or read is None or not _is_room(room):
            return False
        seen = self._seen
        is_known = room in seen.rooms
        if self._only and not is_known:
            return False
        self._read[room] = read
        if room in self._wanted:
            return True
        is_asked_for = self._state.is_in and room not in seen.unshown
        if is_known and (is_asked_for or seen.rooms[room] is not None):
            return True
        seen.before[room] = seq
        seen.rooms[room] = read if new else seq
        if new:
            self._holes.miss(room)
        else:
            seen.unshown.add(room)
        return True

    def _close_others(self, event: Event) -> None:
        """Take note that we are in no other rooms than these."""
        here = {row["room"] for row in event["rooms"]}
        left = {"event": "left", "time": event.get("time"), "name": self._state.name}
        for room in sorted(self._seen.rooms.keys() - self._wanted - here - {LOBBY}):
            self.on_left({**left, "room": room})

    def on_joined(self, event: Event) -> None:
        """Take note that somebody has joined a room, perhaps we in another session."""
        room, us = event["room"], self._state.name
        if event.get("name") == us and room not in self._seen.rooms and _is_room(room):
            is_ours = self._state.requests.find(event) is not None
            if not is_ours and self._only:
                return
            self._seen.rooms[room] = None
            if not is_ours:  # another session has joined it
                self._seen.unshown.add(room)
        self._state.tell_of_room(event)

    def on_left(self, event: Event) -> None:
        """Take note that somebody has left a room, perhaps we in another session."""
        is_known = self._seen.follows(event["room"])
        if event.get("name") == self._state.name and event["room"] != LOBBY:
            self.out_of(event["room"])
        if is_known or self._state.requests.find(event) is not None:
            self._state.tell(event)

    # What holds once a command is done, whether or not its events arrived

    def joined(self, asked: Asked) -> None:
        """Take note that we are in a room; ask for its messages if none came."""
        room = lines.room(asked.fields["room"])
        self._wanted.discard(room)
        self._seen.unshown.discard(room)
        self._seen.rooms.setdefault(room, None)
        if self._state.is_in:
            self._holes.fill_unknown()

    def went_to(self, asked: Asked) -> None:
        """Take note that we are in a room, unless that is known."""
        if lines.room(asked.fields["room"]) not in self._seen.rooms:
            self.joined(asked)

    def left(self, asked: Asked) -> None:
        """Take note that we have left a room."""
        self.out_of(lines.room(asked.fields["room"]))


def _is_room(name: str) -> bool:
    """Tell whether this is the name of a room, as a server spells it."""
    with suppress(Refused):
        return lines.room(name) == name
    return False
