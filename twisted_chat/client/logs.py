"""How far we are in each room, and with our private messages: what is live and what is replayed
meet without a gap, and nothing is told twice. No socket, no clock."""

from collections.abc import Callable, Iterator

from .lines import LOBBY, Event

_REPLAY = 100_000
"""Messages in one replay: a server that sends more of them is none."""


class Log:
    """How far we are in a room, or with our private messages.

    @ivar seen: the last number that was told; L{None} if none was.
    @ivar heard: the last that was looked at for receipts; ahead of C{seen} while nobody listens.
    @ivar filling: a replay is on its way, before which nothing live is taken.
    @ivar gap: the last replay did not go back to C{seen}.
    """

    __slots__ = ("filling", "gap", "heard", "seen")

    def __init__(self) -> None:
        self.seen: int | None = None
        self.heard: int | None = None
        self.filling = True
        self.gap = False


class Logs:
    """All of them: rooms are numbered by C{seq}, private messages by the C{id} of all messages.

    @ivar rooms: where we are, or will be when we are connected again.
    """

    def __init__(self, offer: Callable[[Event], bool], receipt: Callable[[Event], object]) -> None:
        """
        @param offer: has an event told; gives back whether there was room for it.
        @param receipt: gets each message once, the first time that it is heard.
        """
        self._offer = offer
        self._receipt = receipt
        self.rooms: dict[str, Log] = {LOBBY: Log()}
        self.direct = Log()
        self._last_id = 0
        self._replay: list[Event] = []

    def __iter__(self) -> Iterator[Log]:
        return iter([*self.rooms.values(), self.direct])

    def ask(self, *, direct: bool) -> None:
        """Replays are being asked for.

        @param direct: of private messages too.
        """
        for log in self.rooms.values():
            log.filling = True
        self.direct.filling = direct and self.direct.seen is not None

    def since(self) -> list[str]:
        """The parameters of the C{/since} that asks for what comes after what we have seen."""
        words = [f"{room}={log.seen}" for room, log in self.rooms.items() if log.seen is not None]
        return [*words, f"@={self.direct.seen}"] if self.direct.filling else words

    @property
    def is_filling(self) -> bool:
        return any(log.filling for log in self)

    def filled(self) -> None:
        """There will be no more replays of those that were asked for."""
        for log in self:
            log.filling = False

    def entered(self) -> None:
        """All is as it was before the connection was lost."""
        self.filled()
        for log in self:
            log.gap = False
            log.seen = log.seen or 0
            log.heard = log.heard or 0

    def begin_direct(self) -> None:
        """Our private messages begin here."""
        self.direct.seen = self.direct.heard = self._last_id

    def forget_replay(self) -> None:
        """The replay that has begun will not be complete."""
        self._replay.clear()

    def message(self, event: Event) -> bool:
        """Take what is said in a room; gives back false if something before it was missed."""
        log = self.rooms.get(event["room"])
        if log is None or log.filling:
            return True  # if we are in the room, it is in the replay that is to come
        seq = event["seq"]
        if log.heard is not None and seq > log.heard + 1:
            return False
        self._last_id = max(self._last_id, event["id"])
        log.heard = seq
        told = self._offer(event)
        if told:
            log.seen = seq
        if not self.direct.filling:
            self.direct.heard = self._last_id
            if told:
                self.direct.seen = self._last_id
        self._receipt(event)
        return True

    def dm(self, event: Event) -> None:
        """Take what is said in private; without C{id}, if it is not kept."""
        id = event.get("id")
        if id is not None:
            if self.direct.filling:
                return
            self._last_id = self.direct.heard = max(self._last_id, id)
        if self._offer(event) and id is not None:
            self.direct.seen = id
        self._receipt(event)

    def keep(self, event: Event) -> bool:
        """Keep a message of a replay until that is complete; gives back false if it never will."""
        self._replay.append(event)
        return len(self._replay) <= _REPLAY

    def history(self, event: Event, *, is_connected: bool) -> None:
        """Take a replay, which is complete."""
        replay, self._replay = self._replay, []
        of = event["room"]
        log = self.direct if of == "@" else self.rooms.get(of)
        number = "id" if of == "@" else "seq"
        if log is None or not log.filling or (is_connected and _is_old(replay, log, number)):
            for message in replay:  # somebody asked for it
                self._last_id = max(self._last_id, message.get("id") or 0)
                self._offer(message)
        else:
            log.filling = False
            for message in replay:
                self._fill(log, message, number)
            if log.seen is None:
                log.seen = log.heard = 0
        self._offer(event)

    def _fill(self, log: Log, message: Event, number: str) -> None:
        """Take a message of a replay that goes on where we left off."""
        n = message.get(number)
        if n is None or message["event"] != ("message" if number == "seq" else "dm"):
            return
        self._last_id = max(self._last_id, message["id"])
        if log.seen is None or log.heard is None:
            log.seen = log.heard = n - 1
        if number == "seq" and log.heard and n > log.heard + 1:
            log.gap = True
        if number == "seq" and log.seen and n > log.seen + 1:
            gap = {"room": message["room"], "first": log.seen + 1, "last": n - 1}
            self._offer({"event": "gap", **gap})
        if n > log.heard:
            log.heard = n
            self._receipt(message)
        if n > log.seen and self._offer(message):
            log.seen = n


def _is_old(replay: list[Event], log: Log, number: str) -> bool:
    """The replay begins before what is to come; so it is not the one that was asked for."""
    if not replay or log.seen is None:
        return False
    first = replay[0].get(number)
    return not isinstance(first, int) or first <= log.seen
