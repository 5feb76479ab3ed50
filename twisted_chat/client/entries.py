"""Tells the entries of rooms and private conversations: each once and in order, or a C{gap} that
says which are missing. No socket, no clock."""

from . import lines
from .holes import Holes
from .lines import UNREAD, Event
from .requests import Asked
from .state import State

_REPLAY = 100_000
"""Entries in one replay, at most: a server that sends more is broken."""

_MESSAGES = frozenset({"message", "dm"})


class Entries:
    """What came of the log and was not told yet."""

    def __init__(self, state: State, holes: Holes) -> None:
        self._state = state
        self._seen = state.seen
        self._holes = holes
        self._replay: list[Event] = []
        self._unread_asked: Asked | None = None
        self._strangers: list[Event] = []  # what they wrote meanwhile, which may be among it

    def disconnected(self) -> None:
        """Take note that the connection is lost."""
        self.drop_replay()
        for event in self._strangers:
            if self._seen.last(place := self._conversation(event)) is None:
                self._seen.tell(place, event["seq"] - 1)  # so that it is asked for
        self._strangers.clear()
        self._unread_asked = None

    def drop_replay(self) -> None:
        """Forget what has come of a replay."""
        self._replay.clear()

    def resume(self) -> None:
        """Ask for everything after what was told, as a part of it was skipped."""
        self._unread_asked = self._holes.resume()

    def resumed(self, asked: Asked) -> None:
        """Take what came meanwhile, as what was missing was shown. A place that was not shown is
        asked for again when there is something new."""
        if asked is self._unread_asked:
            self._unread_asked = None
            strangers, self._strangers = self._strangers, []
            for event in strangers:
                if event["seq"] > (self._seen.last(self._conversation(event)) or 0):
                    self.on_dm(event)
            for place in dict.fromkeys(map(self._conversation, strangers)):
                self._holes.miss(place)  # more of it may have been skipped since
        if self._state.is_welcome:
            self._holes.close(asked.fields["places"].keys() - self._state.requests.resuming())

    # Live

    def on_message(self, event: Event) -> None:
        """Take a message of a room."""
        self._take_receipt(event)
        if event["replay"]:
            self._keep(event)
        else:
            self._tell_next(event["room"], {**event, "new": True})

    def on_entry(self, event: Event) -> None:
        """Take an entry that is no message, or a topic that somebody has asked for."""
        if event.get("replay"):
            self._keep(event)
        elif event.get("seq") is None:
            self._state.tell_of_room(event)
        else:
            self._tell_next(event["room"], event, event.get("count", 1))

    def on_dm(self, event: Event) -> None:
        """Take a private message."""
        self._take_receipt(event)
        told = {**event, "new": True}
        place = self._conversation(event)
        if event["replay"]:
            self._keep(event)
        elif event.get("seq") is None:  # it is not kept
            if self._state.tell(told):
                self._hear(event)
        elif self._unread_asked is not None and self._seen.last(place) is None:
            self._strangers.append(event)
        elif self._tell_next(place, told):
            self._hear(event)

    def _tell_next(self, place: str, event: Event, entries: int = 1) -> bool:
        """Tell what came live in a place, if it is the next there.

        @param entries: how many entries the event tells of.
        @return: whether it was told.
        """
        seq, last = event["seq"], self._seen.last(place)
        if place in self._holes or not self._seen.follows(place):
            return False
        if last is None and self._is_joining(place):
            return False
        if last is not None and seq - entries > last and not self._state.is_behind:
            self._holes.miss(place)
            return False
        is_told = self._state.tell(event)
        if is_told or last is None:
            self._seen.tell(place, seq if is_told else seq - entries)
        return is_told

    def _is_joining(self, place: str) -> bool:
        """Whether a replay of a room of which nothing was told is to come."""
        if place.startswith("@"):
            return False
        is_login = not self._state.is_welcome and place not in self._seen.unshown
        return is_login or place in self._state.requests.joining()

    def _hear(self, event: Event) -> None:
        if event["event"] == "dm" and event["from"] != self._state.name:
            self._state.correspondent = event["from"]

    def _take_receipt(self, event: Event) -> None:
        """Find the post that this message is, by its label."""
        requests = self._state.requests
        asked = requests.find_post(event)
        if asked is None or event["from"] != self._state.name:
            return
        asked.receipt = {**event, "replay": False}
        if event["replay"]:  # from a connection before, so no answer comes
            requests.answer(asked, asked.receipt)

    def _conversation(self, dm: Event) -> str:
        return lines.conversation(dm, self._state.name)

    # Replays

    def _keep(self, event: Event) -> None:
        """Keep an entry of a replay until the replay is complete."""
        event.pop("quiet", None)
        self._replay.append(event)
        if len(self._replay) > _REPLAY:
            self._state.drop("the server's replay does not end")

    def on_history(self, event: Event) -> None:
        """Take a replay, which is complete."""
        replay, self._replay = self._replay, []
        asked, place = self._state.requests.find(event), event["room"]
        is_known = self._seen.last(place) is not None
        if asked is None or not asked.replays:
            self._show_again(replay, event)
        elif is_known and place in self._seen.unshown and event.get("after") is None:
            self._show_again(replay, event)  # as it was asked for by joining the room
        else:
            if len(replay) != event["count"]:
                pass  # a part was skipped, and is asked for
            elif place == UNREAD:
                self._fill_unread(replay)
            elif self._seen.follows(place):
                self._fill(event, [each for each in replay if self._is_at(each, place)])
            self._state.tell({**event, "quiet": True})

    def _show_again(self, replay: list[Event], event: Event) -> None:
        """Tell what somebody has asked to see."""
        quiet = {"quiet": True} if event.get("quiet") else {}
        for each in replay:
            self._state.tell({**each, "new": False, **quiet})
        self._state.tell(event)

    def _fill(self, event: Event, replay: list[Event]) -> None:
        """Tell what was not told yet of a replay that goes on where we were in a place.

        @param event: the C{history} at its end.
        """
        place, after, seq = event["room"], event.get("after"), event.get("seq")
        last = self._seen.last(place)
        if self._state.is_behind:
            self._state.pass_over(len(replay))
            return
        if last is not None and after is None and seq is not None and seq > last:
            self._holes.miss(place)  # these are only the last messages
            return
        if last is not None and after is not None and after > last:
            self._state.tell({"event": "gap", "room": place, "first": last + 1, "last": after})
        for each in replay:
            if last is None or each["seq"] > last:
                is_new = last is not None and each["seq"] > self._seen.before.get(place, 0)
                self._state.tell({**each, "new": is_new} if each["event"] in _MESSAGES else each)
                self._hear(each)
        newest = max([last or 0, *(each["seq"] for each in replay)])
        self._seen.tell(place, newest if seq is None else seq)
        self._holes.close([place])
        self._seen.unshown.discard(place)

    def _fill_unread(self, replay: list[Event]) -> None:
        """Tell the unread private messages that were not told yet. What else is in their
        conversations, such as what we have said from elsewhere, is asked for."""
        kept = [each for each in replay if each["event"] == "dm" and each.get("seq") is not None]
        for each in kept:
            place, seq = self._conversation(each), each["seq"]
            last = self._seen.last(place)
            if last is not None and seq != last + 1:
                continue  # it was told, or is asked for
            is_told = place not in self._holes and self._state.tell({**each, "new": True})
            if is_told:
                self._hear(each)
            if is_told or last is None:
                self._seen.tell(place, seq if is_told else seq - 1)
        for place in dict.fromkeys(map(self._conversation, kept)):
            self._holes.miss(place)

    def _is_at(self, entry: Event, place: str) -> bool:
        """Whether an event of a replay is an entry of a place."""
        at = self._conversation(entry) if entry["event"] == "dm" else entry["room"]
        return at == place and entry.get("seq") is not None
