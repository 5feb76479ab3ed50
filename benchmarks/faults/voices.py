"""People who go on at another node when theirs is lost, and note what they say and hear."""

import json
import random
import socket
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

Event = dict[str, Any]

_PATIENCE = 3.0
"""Seconds that an impatient person waits for an answer before going to another node."""

_MORE_PATIENCE = 30.0
"""Seconds that a patient person waits for it."""

_AGAIN = frozenset({"unavailable", "busy", "throttled", "name-taken"})
"""Refusals after which the same may be tried again."""


class Said(NamedTuple):
    """A message at its place in the log."""

    room: str
    seq: int
    id: int
    author: str
    text: str


class Lost(Exception):
    """The connection, or the answer, is lost."""


class Person:
    """Somebody who is always connected to one of the nodes, as a guest or an account.

    @ivar name: their name.
    @ivar rooms: the rooms in which they are.
    @ivar farewells: the sentences with which their sessions were ended.
    @ivar troubles: what no server may do, a sentence each.
    @ivar longest_way: seconds that the longest way to a node took, from the loss to the login.
    """

    def __init__(
        self, name: str, rooms: Sequence[str], ports: Sequence[int], *, account: bool, patient: bool
    ) -> None:
        """
        @param ports: the ports of the nodes.
        """
        self.name = name
        self.rooms = rooms
        self.farewells: list[str] = []
        self.troubles: list[str] = []
        self.longest_way = 0.0
        self.is_in = False
        self._is_unwanted = False
        self._ports = ports
        self._account = account
        self._patience = _MORE_PATIENCE if patient else _PATIENCE
        self._registered = False
        self._tokens: list[str] = []
        self._requests = 0
        self._users: set[str] = set()
        self._back: set[str] = set()
        self._socket: socket.socket | None = None
        self._lines: list[bytes] = []
        self._rest = b""

    def places(self) -> dict[str, int]:
        """Return what they have of each room, for C{since}."""
        return {}

    def take(self, line: bytes) -> None:
        """Take note of a line that answers nothing they wait for."""

    def ask(self, **fields: Any) -> Event:
        """Send a request, and return the C{done} or C{error} that answers it.

        @raise Lost: if the connection ends first, or no answer comes in time.
        """
        self._requests += 1
        return self._answer(fields.setdefault("label", f"{self._requests}"), fields)

    def users(self) -> set[str]:
        """Return who is in the lobby, as their node sees it.

        @raise Lost: if there is no answer.
        """
        self._must(self.ask(do="users", room="lobby"))
        return self._users

    def listen(self, seconds: float) -> None:
        """Take note of what comes within this time.

        @raise Lost: if the connection ends.
        """
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if (line := self._line(left)) is not None:
                self._note(line)

    def come_in(self, until: Callable[[], bool]) -> None:
        """Log in at any node, again and again until that succeeds.

        @param until: returns whether to give up.
        @raise Lost: if it was given up.
        """
        began = time.monotonic()
        tried = 0
        while not (until() or self._is_unwanted):
            try:
                self._log_in(tried)
            except (OSError, Lost):
                self.leave()
                tried += 1
                time.sleep(random.uniform(0.02, 0.2))
            else:
                self.longest_way = max(self.longest_way, time.monotonic() - began)
                return
        raise Lost("there is no node")

    def leave(self) -> None:
        """Close the connection."""
        self.is_in = False
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _log_in(self, tried: int) -> None:
        self._socket = socket.create_connection(
            ("127.0.0.1", random.choice(self._ports)), timeout=_PATIENCE
        )
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._lines, self._rest, self._back = [], b"", set()
        self._socket.sendall(b"/json on\n")
        # Whether the last login was carried out is not known if its answer was lost. So the token
        # may be the one of that session, or of the one before.
        known = list(self._tokens)
        since: Event = {"do": "since", "places": self.places()}
        if known:
            since["session"] = known[-1 - tried % len(known)]
        self._must(self.ask(**since))
        who = {"do": "guest", "name": self.name}
        if self._account:
            who = {"do": "login", "name": self.name, "password": "s3cret-pw"}
        if self._account and not self._registered:
            answer = self.ask(**{**who, "do": "register"})
            # It may have been carried out already, and the answer lost.
            if answer.get("code") != "name-registered":
                self._must(answer)
                who = {}
            self._registered = True
        if who:
            self._must(self.ask(**who))
        # What since has replayed of the rooms that an account is in, a join would show again.
        shown = self._back & since["places"].keys() if self._account else set()
        for room in self.rooms:
            if room != "lobby" and room not in shown:
                self._must(self.ask(do="join", room=room))
        del self._tokens[:-1]
        self.is_in = True

    def _must(self, answer: Event) -> None:
        code = answer.get("code")
        if code is None:
            return
        if code not in _AGAIN:
            self._is_unwanted = True
            self.troubles.append(f"{self.name} was refused: {code}, {answer['text']}")
        raise Lost(f"refused: {code}")

    def _answer(self, label: str, fields: Event) -> Event:
        """Send, and wait for the answer to this label."""
        assert self._socket is not None
        mine = f'"label":"{label}"'.encode()
        try:
            self._socket.settimeout(self._patience)
            self._socket.sendall(json.dumps(fields).encode() + b"\n")
        except OSError as error:
            raise Lost(str(error)) from None
        until = time.monotonic() + self._patience
        while (left := until - time.monotonic()) > 0:
            line = self._line(left)
            if line is None:
                continue
            self._note(line)
            if mine in line and line.startswith((b'{"event":"done"', b'{"event":"error"')):
                answer: Event = json.loads(line)
                return answer
        raise Lost("no answer")

    def _note(self, line: bytes) -> None:
        if line.startswith(b'{"event":"hello"'):
            self._tokens.append(json.loads(line)["session"])
        elif line.startswith(b'{"event":"bye"'):
            self.farewells.append(json.loads(line)["text"])
        elif line.startswith(b'{"event":"rooms"'):
            self._back = {room["room"] for room in json.loads(line)["rooms"]}
        elif line.startswith(b'{"event":"users"'):
            self._users = {user["name"] for user in json.loads(line)["users"]}
        elif line.startswith(b"{"):
            self.take(line)

    def _line(self, seconds: float) -> bytes | None:
        """Return the next line, or None if none comes within this time.

        @raise Lost: if the connection ends.
        """
        assert self._socket is not None
        if not self._lines:
            self._socket.settimeout(max(seconds, 0.001))
            try:
                data = self._socket.recv(262144)
            except TimeoutError:
                return None
            except OSError as error:
                raise Lost(str(error)) from None
            if not data:
                raise Lost("the node closed the connection")
            *lines, self._rest = (self._rest + data).split(b"\n")
            self._lines = lines[::-1]
        return self._lines.pop() if self._lines else None


class Writer(Person):
    """Somebody who says one line after the other, and the next one when the last is answered.

    @ivar friend: to whom every fourth line is said in private; None for nobody.
    @ivar said: the number of lines begun.
    @ivar receipts: text -> its place, for each line that was answered with C{done}.
    @ivar refused: the texts that were refused, and not repeated.
    @ivar unknown: the texts without an answer that were not repeated.
    @ivar refusals: how often the answer was C{unavailable}.
    @ivar repeated: how often a line was repeated because its answer was lost.
    @ivar waits: seconds from the first attempt to each receipt.
    """

    def __init__(
        self, *arguments: Any, repeats: bool, friend: str | None = None, **options: Any
    ) -> None:
        """
        @param repeats: whether they repeat what was refused for now or not answered.
        """
        super().__init__(*arguments, **options)
        self.friend = friend
        self.said = self.refusals = self.repeated = 0
        self.receipts: dict[str, Said] = {}
        self.refused: set[str] = set()
        self.unknown: set[str] = set()
        self.waits: list[float] = []
        self.repeats = repeats
        self._run = f"{random.getrandbits(64):016x}"

    def talk(self, is_over: Callable[[], bool], is_late: Callable[[], bool]) -> None:
        """Talk.

        @param is_over: returns whether to say nothing more.
        @param is_late: returns whether not to wait any longer for the answer to the last line.
        """
        while not is_over():
            self.said += 1
            text = f"{self.name} {self.said:06}"
            if self.friend is not None and self.said % 4 == 0:
                post = {"do": "dm", "name": self.friend, "message": text}
                self._post(post, Said(f"@{self.name}", 0, 0, self.name, text), is_late)
            else:
                room = self.rooms[self.said % len(self.rooms)]
                post = {"do": "say", "room": room, "message": text}
                self._post(post, Said(room, 0, 0, self.name, text), is_late)
        self.leave()

    def _post(self, post: Event, said: Said, is_late: Callable[[], bool]) -> None:
        """Say something, and wait for the answer.

        @param said: what it is, without its numbers.
        """
        text, label = said.text, f"{self._run}-{self.said}"
        began = time.monotonic()
        while True:
            try:
                if not self.is_in:
                    self.come_in(is_late)
                answer = self.ask(**post, label=label)
            except Lost:
                was_sent = self.is_in
                self.leave()
                if is_late():
                    self.troubles.append(f"{text!r} was never answered")
                    return
                if was_sent and not self.repeats:
                    self.unknown.add(text)
                    return
                self.repeated += was_sent
                continue
            if answer["event"] == "done":
                self.waits.append(time.monotonic() - began)
                self.receipts[text] = said._replace(seq=answer["seq"], id=answer["id"])
                return
            if answer["code"] != "unavailable":
                self.troubles.append(f"{text!r} was refused: {answer['code']}, {answer['text']}")
            self.refusals += 1
            if not self.repeats or answer["code"] != "unavailable":
                self.refused.add(text)
                time.sleep(0.1)
                return
            time.sleep(random.uniform(0.05, 0.2))


class Reader(Person):
    """Somebody who hears everything in some rooms, wherever they are connected, and what some
    people say to them in private. Such a conversation has C{@} and the other's name for a room.

    @ivar first: room -> the C{seq} behind which they began to listen.
    @ivar last: room -> the last C{seq} that they have.
    @ivar heard: room -> the messages that they were shown, in that order.
    @ivar omitted: room -> the ranges of C{seq} that a replay has left out because it had to be
        longer than 1,000: the number before the first, and the last.
    """

    def __init__(self, *arguments: Any, friends: Sequence[str] = (), **options: Any) -> None:
        """
        @param friends: who writes to them in private.
        """
        super().__init__(*arguments, **options)
        self.first = {f"@{name}": 0 for name in friends}
        self.last = dict(self.first)
        self.heard: dict[str, list[Said]] = defaultdict(list)
        self.omitted: dict[str, list[tuple[int, int]]] = defaultdict(list)
        self.may_skip = False
        """The database may lose entries, so a C{seq} may be missing."""
        self._asked: dict[str, int] = {}

    def places(self) -> dict[str, int]:
        self._asked = dict(self.last)
        return self._asked

    def read(self, is_over: Callable[[], bool]) -> None:
        """Read.

        @param is_over: returns whether they have everything, or it is too late.
        """
        while not is_over():
            try:
                if not self.is_in:
                    self.come_in(is_over)
                self.listen(0.2)
            except Lost:
                self.leave()

    def take(self, line: bytes) -> None:
        event: Event = json.loads(line)
        kind, room = event["event"], event.get("room")
        if kind == "dm":
            room = f"@{event['from']}"
            event |= {"room": room}
        if kind == "history":
            self._end_replay(event)
        elif kind == "skipped":
            raise Lost("too slow")
        elif (
            kind in ("message", "dm", "topic", "members") and "seq" in event and room in self.first
        ):
            self._take(event, event["seq"] - event.get("count", 1) + 1)

    def _take(self, event: Event, begins: int) -> None:
        """Take note of an entry, or of several members whose first one has this number."""
        room, seq, last = event["room"], event["seq"], self.last[event["room"]]
        if seq <= last:
            if event["event"] != "members":
                self.troubles.append(f"{self.name}: #{room} {seq} came twice or late: {event}")
            return
        if begins > last + 1 and not event["replay"] and not self.may_skip:
            self.troubles.append(f"{self.name}: #{room} {begins} came after {last}")
        self.last[room] = seq
        if "text" in event:
            self.heard[room].append(Said(room, seq, event["id"], event["from"], event["text"]))

    def _end_replay(self, event: Event) -> None:
        room, seq = event["room"], event["seq"]
        if seq is None or room not in (*self.rooms, *self.first):
            return
        if room not in self.first:
            self.first[room] = self.last[room] = seq
            return
        asked, after = self._asked.get(room, 0), event["after"]
        if after is not None and after > asked:
            self.omitted[room].append((asked, after))
        self.last[room] = max(self.last[room], seq)


def start(work: Iterable[Callable[[], None]]) -> list[threading.Thread]:
    """Start a thread for each of these."""
    threads = [threading.Thread(target=each, daemon=True) for each in work]
    for thread in threads:
        thread.start()
    return threads
