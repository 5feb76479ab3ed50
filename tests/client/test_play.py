"""Client and server play against each other in memory: connections are cut at any byte, and events
are skipped anywhere."""

import json
from collections import deque
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twisted_chat.client import session
from twisted_chat.client.identity import Identity
from twisted_chat.client.lines import Event, Refused
from twisted_chat.client.session import Asked, ClientSession

from .model_server import Conn, ModelServer

fuzzed = settings(deadline=None, max_examples=5 * settings().max_examples)

_PREFIX = "0123456789abcde-"


class Player:
    """One client, and the wire between it and the server.

    @ivar asked: what it asked for, in order, and what is expected to come of it.
    @ivar answers: what it was answered.
    """

    def __init__(self, server: ModelServer, name: str) -> None:
        self.server = server
        self.name = name
        identity = Identity(name, "s3cret-pw")
        self.session = ClientSession(identity, ["dev"], f"{name}-{_PREFIX}", lambda: 0.0)
        self.posts: list[tuple[Asked, str, str]] = []
        self.others: list[tuple[Asked, str]] = []
        self.answers: dict[Asked, Event | Refused] = {}
        self.events: list[Event] = []
        self.conn: Conn | None = None
        self.up = b""
        self.down: deque[bytes] = deque()
        self.partial = b""

    # What the client does

    def say(self, place: str, text: str) -> None:
        if place == "tea" and place not in self.session.rooms:
            return
        if place.startswith("@"):
            asked = self.session.ask("dm", name=place[1:], message=text)
        else:
            asked = self.session.ask("say", room=place, message=text)
        self.posts.append((asked, place, text))
        self.take()

    def ask(self, do: str, expected: str, **fields: Any) -> None:
        self.others.append((self.session.ask(do, **fields), expected))
        self.take()

    def take(self) -> None:
        said = self.session.take()
        if self.conn is not None:
            self.up += b"".join(said.written)
        self.events += said.events
        for asked, answer in said.answers:
            assert asked not in self.answers, "it was answered before"
            self.answers[asked] = answer
        if said.drop is not None:
            self.cut()

    # The wire

    def connect(self) -> None:
        if self.conn is None:
            self.conn = self.server.open()
            self.session.connected()
            self.take()

    def cut(self) -> None:
        """The connection is gone; the server goes on with what it has got, until it is taken
        over."""
        if self.conn is None:
            return
        conn, self.conn = self.conn, None
        conn.end()
        conn.out.clear()
        self.up = self.partial = b""
        self.down.clear()
        self.session.disconnected()
        self.take()

    def send(self, size: int) -> None:
        """Bring some bytes to the server."""
        if self.conn is not None:
            data, self.up = self.up[:size], self.up[size:]
            self.conn.receive(data)

    def _fetch(self) -> None:
        if self.conn is not None:
            self.down.extend(self.conn.out)
            self.conn.out.clear()

    def hear(self, size: int) -> None:
        """Bring some bytes to the client."""
        self._fetch()
        while size > 0 and self.down and self.conn is not None:
            line = self.down[0] + b"\n"
            take = min(size, len(line) - len(self.partial))
            self.partial = line[: len(self.partial) + take]
            size -= take
            if self.partial == line:
                self.down.popleft()
                self.partial = b""
                self.session.received(line[:-1])
                self.take()

    def skip(self, lines: int) -> None:
        """Have the server skip some of the lines that wait, but not one that has begun."""
        self._fetch()
        kept = 1 if self.partial else 0
        waiting = list(self.down)
        gone = waiting[kept : kept + lines]
        if gone:
            skipped = {"event": "skipped", "time": None, "lines": len(gone)}
            told = [json.dumps(skipped).encode()]
            self.down = deque([*waiting[:kept], *told, *waiting[kept + lines :]])


def finish(server: ModelServer, *players: Player) -> None:
    """Have everything arrive, until nothing happens any more."""
    for _ in range(1000):
        busy = False
        for player in players:
            if player.conn is None:
                player.connect()
                busy = True
            busy = busy or bool(player.up)
            player.send(len(player.up))
        for conn in server.conns:
            while server.step(conn):
                busy = True
        server.commit()
        for player in players:
            player._fetch()
            busy = busy or bool(player.down)
            player.hear(10**9)
        if not busy and all(player.session.is_in for player in players):
            return
    raise AssertionError("it does not come to an end")


_player = st.integers(0, 1)
_size = st.one_of(st.integers(1, 400), st.just(10**6), st.just(10**6))
_place = st.sampled_from(["lobby", "dev", "tea", "@bob", "@alice"])
_step = st.one_of(
    st.tuples(st.just("say"), _player, _place),
    st.tuples(st.just("say"), _player, st.sampled_from(["dev", "@bob", "@alice"])),
    st.tuples(st.just("ask"), _player, st.sampled_from(["users", "full", "topic", "tea", "leave"])),
    st.tuples(st.just("send"), _player, _size),
    st.tuples(st.just("serve"), _player, st.integers(1, 5)),
    st.tuples(st.just("commit"), _player, st.just(0)),
    st.tuples(st.just("hear"), _player, _size),
    st.tuples(st.just("skip"), _player, st.integers(1, 6)),
    st.tuples(st.just("cut"), _player, st.just(0)),
    st.tuples(st.just("come back"), _player, st.just(0)),
    st.tuples(st.just("work"), _player, st.just(0)),
    st.tuples(st.just("work"), _player, st.just(0)),
    st.tuples(st.just("hear"), _player, st.just(10**6)),
)


class PlayTests(SynchronousTestCase):
    """Two clients in the lobby and other rooms."""

    @fuzzed
    @given(st.booleans(), st.lists(_step, min_size=10, max_size=100))
    def test_nothing_lost_doubled_or_misattributed(
        self, begins_in: bool, steps: list[tuple[str, int, Any]]
    ) -> None:
        """Whatever happens to the connections, each post is said once and in order, each message is
        told once and in order, and each request gets the one answer that is its own."""
        self.patch(session, "_WINDOW", 4)
        server = ModelServer()
        players = [Player(server, "alice"), Player(server, "bob")]
        if begins_in:
            finish(server, *players)
        for number, (what, index, value) in enumerate(steps):
            self.play(server, players[index], what, value, number)
        finish(server, *players)
        for player in players:
            self.check(server, player)

    def play(self, server: ModelServer, player: Player, what: str, value: Any, number: int) -> None:
        if what == "say":
            player.say(value, f"{player.name} {number % 3}")
        elif what == "ask":
            self.ask(player, value)
        elif what == "serve":
            conns = [c for c in server.conns if c.name in ("", player.name)]
            for _ in range(value):
                for conn in conns:
                    server.step(conn)
        elif what == "commit":
            server.commit()
        elif what == "work":
            player.connect()
            player.send(10**6)
            for conn in server.conns:
                while server.step(conn):
                    pass
            server.commit()
        elif what == "come back":
            player.connect()
        else:
            act = getattr(player, what)
            act(value) if value else act()

    def ask(self, player: Player, what: str) -> None:
        if what == "users":
            player.ask("users", "done", room="lobby")
        elif what == "full":
            player.ask("join", "full", room="full")
        elif what == "topic":
            player.ask("topic", "forbidden", room="dev", text="x")
        elif what == "tea":
            player.ask("join", "done", room="tea")
        else:
            player.ask("leave", "done or not-in-room", room="tea")

    def check(self, server: ModelServer, player: Player) -> None:
        for place in ("lobby", "dev", "tea", "@alice", "@bob"):
            mine = [
                entry
                for entry in server.log.get("@" if place[0] == "@" else place, ())
                if entry["from"] == player.name and entry.get("to", place[1:]) == place[1:]
            ]
            asked = [(asked, text) for asked, to, text in player.posts if to == place]
            if place == "tea":
                asked = [each for each in asked if isinstance(player.answers[each[0]], dict)]
            for entry, (each, text) in zip(mine, asked, strict=True):
                answer = player.answers[each]
                assert isinstance(answer, dict), answer
                self.assertEqual(entry["text"], text, place)
                self.assertEqual((answer["id"], answer["text"]), (entry["id"], text))
        for each, expected in player.others:
            answer = player.answers[each]
            code = answer.code if isinstance(answer, Refused) else "done"
            # A setting whose answer was lost is not repeated.
            possible = [*expected.split(" or "), *(["lost"] if each.do == "topic" else [])]
            self.assertIn(code, possible, each.request)
        self.check_told(server, player)

    def check_told(self, server: ModelServer, player: Player) -> None:
        told = [event for event in player.events if event["event"] in ("message", "dm", "gap")]
        for room in ("lobby", "dev", "tea"):
            seqs = [e["seq"] for e in told if e.get("room") == room and e["event"] == "message"]
            log = server.log.get(room, [])
            if room in player.session.rooms and room != "tea":
                first = seqs[0] if seqs else len(log) + 1
                self.assertEqual(seqs, [e["seq"] for e in log if e["seq"] >= first], room)
            elif room in player.session.rooms:  # left and joined again, it is shown again
                self.assertEqual(seqs[-1:], [len(log)] if log else [])
        self.assertEqual([event for event in told if event["event"] == "gap"], [])
        private = [event["id"] for event in told if event["event"] == "dm"]
        ids = [e["id"] for e in server.log["@"] if player.name in (e["from"], e["to"])]
        first = private[0] if private else max(ids, default=0) + 1
        self.assertEqual(private, [id for id in ids if id >= first])
