"""A server of protocol 2, as small as can be, that a test can hold up anywhere: each line, each
commit and each byte waits for the test."""

import json
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Any

_REPLAY = 20
_FULL = "full"  # a room that nobody can join

Fields = dict[str, Any]


@dataclass(eq=False)
class Post:
    """Something that was accepted and is not in the log yet.

    @ivar done: are called with the entry when it is.
    """

    by: str
    place: str
    text: str
    action: bool
    label: str
    origin: "Conn"
    done: "list[Callable[[Fields], None]]" = field(default_factory=list)


class Conn:
    """One connection, as the server sees it.

    @ivar out: lines that were not delivered yet.
    """

    def __init__(self, server: "ModelServer", token: str) -> None:
        self._server = server
        self.token = token
        self.name = ""
        self.rooms: set[str] = set()
        self.out: deque[bytes] = deque()
        self.queue: deque[bytes] = deque()
        self.in_flight = 0
        self.since: dict[str, int] = {}
        self._rest = b""
        self.is_over = False

    def receive(self, data: bytes) -> None:
        *complete, self._rest = (self._rest + data).split(b"\n")
        self.queue.extend(complete)

    def end(self) -> None:
        """The input has ended; its last line needs no newline."""
        if self._rest:
            self.queue.append(self._rest)

    def tell(self, kind: str, label: str = "", **fields: Any) -> None:
        if not self.is_over:
            event = {"event": kind, "time": "2026-11-21T09:00:00.000Z", **fields}
            if label:
                event["label"] = label
            self.out.append(json.dumps(event).encode())


class ModelServer:
    """The server: its log, and who is there.

    @ivar log: what was said, by room; and in private, under C{@}.
    """

    def __init__(self) -> None:
        self.log: dict[str, list[Fields]] = {"lobby": [], "@": []}
        self.conns: list[Conn] = []
        self._pending: list[Post] = []
        self._known: dict[tuple[str, str], Post | Fields] = {}
        self._ids = count(1)
        self._tokens = count(1)

    def open(self) -> Conn:
        self.conns.append(Conn(self, f"token-{next(self._tokens)}"))
        return self.conns[-1]

    # Steps

    def step(self, conn: Conn) -> bool:
        """Carry out the next line of a connection; gives back whether there was one that may be."""
        if conn.is_over or not conn.queue:
            return False
        fields = _loaded(conn.queue[0])
        posts = fields.get("do") in ("say", "me", "dm")
        if conn.in_flight and not posts:
            return False
        conn.queue.popleft()
        if fields.get("do") == "json":
            conn.tell("hello", protocol=2, server="model", session=conn.token, keepalive=0)
            return True
        label = fields.pop("label", "")
        do = getattr(self, f"_{fields.pop('do', 'bad')}")
        refusal = "bad-arguments" if do == self._bad else do(conn, label, **fields)
        if refusal:
            conn.tell("error", label, code=refusal, text=refusal, command="")
        elif label and not posts:
            conn.tell("done", label)
        return True

    def commit(self) -> None:
        """Put everything that was accepted into the log."""
        pending, self._pending = self._pending, []
        for post in pending:
            self._committed(post)

    def _committed(self, post: Post) -> None:
        post.origin.in_flight -= 1
        log = self.log["@" if post.place.startswith("@") else post.place]
        entry = {"id": next(self._ids), "from": post.by, "text": post.text}
        if post.place.startswith("@"):
            entry |= {"to": post.place[1:]}
        else:
            entry |= {"room": post.place, "seq": len(log) + 1, "action": post.action}
        log.append({**entry, "_label": post.label})
        for conn in self.conns:
            if post.place in conn.rooms or f"@{conn.name}" in (post.place, f"@{post.by}"):
                if post.place.startswith("@") and conn.name not in (post.by, post.place[1:]):
                    continue
                own = post.label if conn.name == post.by else ""
                conn.tell(self._kind(entry), own, replay=False, **entry)
        self._known[post.by, post.label] = entry
        for done in post.done:
            done(entry)

    @staticmethod
    def _kind(entry: Fields) -> str:
        return "dm" if "to" in entry else "message"

    # Commands

    def _bad(self) -> None:
        """A line that is no request."""

    def _since(
        self, conn: Conn, label: str, places: dict[str, int], session: str = ""
    ) -> str | None:
        for other in self.conns:
            if session and other.token == session:
                other.is_over = True
                other.queue.clear()
                other.rooms.clear()
        self.commit()
        for place, seen in places.items():
            if place in conn.rooms or (place == "@" and conn.name):
                self._replay(conn, label, place, seen)
            else:
                conn.since[place] = seen
        return None

    def _login(self, conn: Conn, label: str, name: str, password: str) -> str | None:
        if conn.name:
            return "already-logged-in"
        self.commit()
        conn.name = name
        conn.tell("welcome", label, name=name, account=True, room="lobby")
        self._enter(conn, label, "lobby")
        if "@" in conn.since:
            self._replay(conn, label, "@", conn.since.pop("@"))
        return None

    def _join(self, conn: Conn, label: str, room: str) -> str | None:
        if not conn.name:
            return "not-logged-in"
        if room == _FULL:
            return "full"
        if room not in conn.rooms:
            self.commit()
            conn.tell("joined", label, name=conn.name, account=True, room=room)
            self._enter(conn, label, room)
        return None

    def _enter(self, conn: Conn, label: str, room: str) -> None:
        conn.rooms.add(room)
        log = self.log.setdefault(room, [])
        self._replay(conn, label, room, conn.since.pop(room, max(0, len(log) - _REPLAY)))

    def _replay(self, conn: Conn, label: str, place: str, after: int) -> None:
        number = "id" if place == "@" else "seq"
        entries = [entry for entry in self.log[place] if entry[number] > after]
        if place == "@":
            entries = [e for e in entries if conn.name in (e["from"], e["to"])]
        for entry in entries:
            shown = {key: value for key, value in entry.items() if key != "_label"}
            own = entry["_label"] if entry["from"] == conn.name else ""
            conn.tell(self._kind(entry), own or label, replay=True, **shown)
        conn.tell("history", label, room=place, count=len(entries))

    def _leave(self, conn: Conn, label: str, room: str) -> str | None:
        if room not in conn.rooms:
            return "not-in-room"
        conn.rooms.discard(room)
        conn.tell("left", label, name=conn.name, room=room)
        return None

    def _users(self, conn: Conn, label: str, room: str) -> str | None:
        if not conn.name:
            return "not-logged-in"
        if room not in self.log:
            return "no-such-room"
        names = sorted({each.name for each in self.conns if room in each.rooms})
        conn.tell("users", label, room=room, users=[{"name": n, "account": True} for n in names])
        return None

    def _topic(self, conn: Conn, label: str, room: str, text: str = "") -> str | None:
        """Nobody can set one."""
        return "forbidden"

    def _history(self, conn: Conn, label: str, of: str, count: int = _REPLAY) -> str | None:
        if of not in conn.rooms:
            return "not-in-room"
        self._replay(conn, label, of, max(0, len(self.log[of]) - count))
        return None

    def _say(self, conn: Conn, label: str, room: str, message: str) -> str | None:
        return self._post(conn, label, room, message)

    def _me(self, conn: Conn, label: str, room: str, action: str) -> str | None:
        return self._post(conn, label, room, action, action=True)

    def _dm(self, conn: Conn, label: str, name: str, message: str) -> str | None:
        return self._post(conn, label, f"@{name}", message)

    def _post(
        self, conn: Conn, label: str, place: str, text: str, *, action: bool = False
    ) -> str | None:
        if not place.startswith("@") and place not in conn.rooms:
            return "not-in-room"
        known = self._known.get((conn.name, label))

        def done(entry: Fields) -> None:
            told = {key: entry[key] for key in ("room", "seq", "to", "id") if key in entry}
            conn.tell("done", label, **told)

        if isinstance(known, dict):
            done(known)
            return None
        if isinstance(known, Post):
            conn.in_flight += 1

            def landed(entry: Fields) -> None:
                conn.in_flight -= 1
                done(entry)

            known.done.append(landed)
            return None
        post = Post(conn.name, place, text, action, label, conn)
        post.done.append(done)
        conn.in_flight += 1
        self._known[conn.name, label] = post
        self._pending.append(post)
        return None

    def _quit(self, conn: Conn, label: str) -> None:
        conn.tell("bye", text="bye")


def _loaded(line: bytes) -> Fields:
    if line == b"/json on":
        return {"do": "json"}
    try:
        loaded = json.loads(line)
    except ValueError:
        return {}
    return loaded if isinstance(loaded, dict) else {}
