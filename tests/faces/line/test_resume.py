"""A JSON session that does every command by request, cut off anywhere and resumed."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from twisted_chat.core.limits import Limits
from twisted_chat.protocol.commands import COMMANDS
from twisted_chat.protocol.jsonlines import encode

from .server import Json, Peer, ServerTestCase

_Lose = Callable[[Peer], None]

PASSWORD = "s3cret-pw"
_LABEL = "0123456789-{}"

_MEMBER: Sequence[Json] = (
    {"do": "register", "name": "alice", "password": "another-pw"},
    {"do": "login", "name": "alice", "password": PASSWORD},
    {"do": "join", "room": "tea"},
    {"do": "where"},
    {"do": "say", "room": "tea", "message": "one"},
    {"do": "say", "room": "lobby", "message": "/quit"},
    {"do": "me", "room": "tea", "action": "waves"},
    {"do": "bc", "message": "two"},
    {"do": "dm", "name": "bob", "message": "three"},
    {"do": "r", "message": "four"},
    {"do": "type", "line": "five"},
    {"do": "type", "line": "/dm bob six"},
    {"do": "topic", "room": "tea", "text": "cake"},
    {"do": "topic", "room": "tea"},
    {"do": "read", "of": "tea"},
    {"do": "to", "room": "tea"},
    {"do": "history", "count": 5, "of": "tea"},
    {"do": "history", "of": "@bob"},
    {"do": "users", "room": "tea"},
    {"do": "rooms"},
    {"do": "help"},
    {"do": "since", "places": {"tea": 0}},
    {"do": "type", "line": "/rooms"},
    {"do": "passwd", "old": PASSWORD, "new": PASSWORD, "keep": True},
    {"do": "say", "room": "nowhere", "message": "seven"},
    {"do": "json", "switch": "on"},
    {"do": "say", "room": "tea", "message": "eight"},
    {"do": "leave", "room": "tea"},
    {"do": "say", "room": "lobby", "message": "nine"},
    {"do": "quit"},
)
"""What an account does. Bob has written to it."""

_MEMBERS_LOG = {
    ("tea", "one"),
    ("lobby", "/quit"),
    ("tea", "waves"),
    ("lobby", "two"),
    ("bob", "three"),
    ("bob", "four"),
    ("tea", "five"),
    ("bob", "six"),
    ("tea", "eight"),
    ("lobby", "nine"),
}

_GUEST: Sequence[Json] = (
    {"do": "guest", "name": "zoe"},
    {"do": "say", "room": "lobby", "message": "one"},
    {"do": "nick", "name": "zed"},
    {"do": "say", "room": "lobby", "message": "two"},
    {"do": "login", "name": "bob", "password": "wrong"},
    {"do": "say", "room": "lobby", "message": "three"},
    {"do": "quit"},
)
"""What a guest does."""

_GUESTS_LOG = {("lobby", "one"), ("lobby", "two"), ("lobby", "three")}


class Program:
    """A client: what it has sent and been told, over two connections.

    @ivar answers: how often each label was answered.
    @ivar rooms: the rooms that it knows it is in, and the last C{seq} that it has of each.
    @ivar current: the current room, as far as it knows.
    """

    def __init__(self, requests: Iterable[Json]) -> None:
        self.requests = [
            {**fields, "label": _LABEL.format(f"{number:05}")}
            for number, fields in enumerate(requests)
        ]
        self.answers: Counter[str] = Counter()
        self.token = ""
        self.rooms: dict[str, int] = {"lobby": 0}
        self.current = "lobby"
        self.name = ""

    @property
    def script(self) -> bytes:
        """All that it sends if nothing goes wrong."""
        return b"/json on\n" + b"".join(encode(fields) for fields in self.requests)

    def take(self, lines: Iterable[bytes]) -> list[Json]:
        """Take what the server told, as far as it arrived; the greeting is passed over."""
        events = [json.loads(line) for line in lines if line.startswith(b"{")]
        for event in events:
            self._take(event)
        return events

    def _take(self, event: Json) -> None:
        kind = event["event"]
        if kind in ("done", "error"):
            self.answers[event["label"]] += 1
        elif kind == "hello":
            self.token = event["session"]
        elif kind == "welcome":
            self.name = event["name"]
        elif kind == "renamed" and event["name"] == self.name:
            self.name = event["to"]
        elif kind == "joined" and event["name"] == self.name:
            self.rooms.setdefault(event["room"], 0)
        elif kind == "left" and event["name"] == self.name:
            self.rooms.pop(event["room"], None)
        elif kind == "talking":
            self.current = event["room"]
        elif kind == "rooms" and event.get("joined"):
            self.rooms = {row["room"]: self.rooms.get(row["room"], 0) for row in event["rooms"]}
        elif kind in ("message", "topic", "members") and "seq" in event:
            self.rooms[event["room"]] = event["seq"]

    @property
    def unanswered(self) -> list[Json]:
        """The requests that it does not know the answer of."""
        return [fields for fields in self.requests if not self.answers[fields["label"]]]


class ResumeTests(ServerTestCase):
    """After any cut everything is said once, and every request answered once."""

    stride = 40
    limits = Limits(line_rate=0, wrong_passwords=1000, max_login_delay=0)

    def check_nothing_is_left(self) -> None:
        """It takes too long to be looked at each time; other tests do."""

    def begin(self, requests: Iterable[Json]) -> Program:
        """Start a new server, on which people have been before."""
        self.serve()
        for lines in _BEFORE:
            self.say(self.peer(), lines)
        return Program(requests)

    def resume(self, program: Program) -> None:
        """Reconnect as a client does: take over, log in, as a guest join the rooms, go back to the
        current one, and repeat what has no answer."""
        if not program.unanswered:
            return
        self.second = self.newcomer()
        is_guest = program.name in ("zoe", "zed")
        since: Json = {"do": "since", "places": {**program.rooms, "@bob": 0}, "label": "since"}
        if program.token:
            since["session"] = program.token
        if is_guest:
            since["places"].pop("@bob")
        self.second.send(b"/json on\n" + encode(since))
        self.settle()
        self.store.release()
        current = program.current
        if program.name == "alice":
            self.have_done(program, do="login", name="alice", password=PASSWORD)
        elif program.name:
            self.have_done(program, do="guest", name=program.name)
        for room in [*program.rooms][1:] if is_guest else ():
            self.have_done(program, do="join", room=room)
        if program.name and current in program.rooms:
            self.have_done(program, do="to", room=current)
        for fields in program.unanswered:
            self.send(program, encode(fields))

    def have_done(self, program: Program, **fields: Any) -> None:
        """Have something done that must not fail, under a label of its own."""
        (*_, answer) = self.send(program, encode({**fields, "label": "own"}))
        self.assertEqual((answer["event"], answer.get("label")), ("done", "own"), answer)

    def send(self, program: Program, *lines: bytes) -> list[Json]:
        """Send over the second connection; return what comes back."""
        told = self.ask(self.second, b"".join(lines))
        return program.take(told.splitlines())

    def check(self, program: Program, log: set[tuple[str, str]], where: object) -> None:
        """Check that everything was said once, and that every request has one answer."""
        said = [(message.room.name, message.text) for message in self.messages]
        said += [(m.recipient, m.text) for m in self.private if m.author == "alice"]
        self.assertEqual(Counter(said), Counter(log), where)
        labels = {fields["label"]: program.answers[fields["label"]] for fields in program.requests}
        self.assertEqual(labels, dict.fromkeys(labels, 1), where)

    def places(self, script: bytes) -> Iterator[int]:
        """Where to cut: around the end of each line, and here and there within."""
        for size in range(len(script) + 1):
            if size % self.stride == 0 or b"\n" in script[max(0, size - 2) : size + 1]:
                yield size

    def cut(self, requests: Sequence[Json], log: set[tuple[str, str]], lose: _Lose) -> None:
        """Cut the connection off everywhere in what the program sends."""
        for size in self.places(Program(requests).script):
            program = self.begin(requests)
            first = self.newcomer()
            program.take(self.ask(first, program.script[:size]).splitlines())
            lose(first)
            self.resume(program)
            self.check(program, log, size)

    def cut_in_flight(self, requests: Sequence[Json], log: set[tuple[str, str]]) -> None:
        """The same while the database is slow, so that what was sent last is not in the log yet."""
        for size in self.places(Program(requests).script):
            program = self.begin(requests)
            first = self.newcomer()
            script = program.script[:size]
            program.take(self.ask(first, script[:-150]).splitlines())
            self.store.hold()
            program.take(self.ask(first, script[-150:]).splitlines())
            first.vanish()
            self.resume(program)
            self.check(program, log, size)

    def lose_answers(self, requests: Sequence[Json], log: set[tuple[str, str]]) -> None:
        """Lose all that the server told after some line of it."""
        program = self.begin(requests)
        lines = self.ask(self.newcomer(), program.script).splitlines()
        for count in range(len(lines) + 1):
            program = self.begin(requests)
            first = self.newcomer()
            told = self.ask(first, program.script.removesuffix(encode(program.requests[-1])))
            first.vanish()
            program.take(told.splitlines()[:count])
            self.resume(program)
            self.check(program, log, count)

    def test_every_command(self) -> None:
        """The scripts have every command that a request can call."""
        done = {fields["do"] for fields in (*_MEMBER, *_GUEST)}
        self.assertEqual(done, {row.word for row in COMMANDS if row.in_json})

    def test_uncut(self) -> None:
        """Without a cut everything is said and answered, too."""
        for requests, log in ((_MEMBER, _MEMBERS_LOG), (_GUEST, _GUESTS_LOG)):
            program = self.begin(requests)
            told = self.ask(self.newcomer(), program.script)
            program.take(told.splitlines())
            self.check(program, log, "uncut")

    def test_vanished(self) -> None:
        """A client whose connection vanished resumes."""
        self.cut(_MEMBER, _MEMBERS_LOG, Peer.vanish)
        self.cut(_GUEST, _GUESTS_LOG, Peer.vanish)

    def test_closed(self) -> None:
        """A client resumes after a close, when the server still carries out what was queued."""
        self.cut(_MEMBER, _MEMBERS_LOG, Peer.hang_up)
        self.cut(_GUEST, _GUESTS_LOG, Peer.hang_up)

    def test_in_flight(self) -> None:
        """A client resumes while its last posts are in flight."""
        self.cut_in_flight(_MEMBER, _MEMBERS_LOG)
        self.cut_in_flight(_GUEST, _GUESTS_LOG)

    def test_answers_are_lost(self) -> None:
        """A client resumes after all its requests arrived, and their answers did not."""
        self.lose_answers(_MEMBER, _MEMBERS_LOG)
        self.lose_answers(_GUEST, _GUESTS_LOG)


_BEFORE = (
    f"/register alice {PASSWORD}\n/quit\n",
    f"/register bob {PASSWORD}\n/dm alice hey\n/quit\n",
)
