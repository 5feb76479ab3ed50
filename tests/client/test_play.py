"""Client and server play against each other in memory: connections are cut at any byte, events are
skipped anywhere, the store answers when it likes, and the server is killed."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.faces.line.server import Peer, ServerTestCase
from tests.support import NOW
from twisted_chat.client import requests
from twisted_chat.client.identity import Identity
from twisted_chat.client.lines import Event, Refused
from twisted_chat.client.requests import Asked
from twisted_chat.client.session import ClientSession
from twisted_chat.core.limits import Limits

fuzzed = settings(max_examples=2 * settings().max_examples)

_PREFIX = "0123456789abcde-"
_PASSWORD = "s3cret-pw"
_NAMES = ("alice", "bob")
_ALL = 10**6


class Player:
    """One client, and the wire between it and the server.

    @ivar posts: what it has said: the request, the place and the text.
    @ivar others: what else it has asked for, and the answers that may come of it.
    @ivar answers: what it was answered.
    @ivar events: what it was told, but for histories that it has asked for.
    """

    def __init__(self, test: ServerTestCase, name: str) -> None:
        self._test = test
        self.name = name
        identity = Identity(name, _PASSWORD)
        self.session = ClientSession(identity, ["dev"], f"{name}-{_PREFIX}", lambda: 0.0)
        self.posts: list[tuple[Asked, str, str]] = []
        self.others: list[tuple[Asked, tuple[str, ...]]] = []
        self.answers: dict[Asked, Event | Refused] = {}
        self.events: list[Event] = []
        self.peer: Peer | None = None
        self.up = b""
        self.down = b""
        self._line = b""  # as far as it was heard

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

    def ask(self, do: str, *expected: str, **fields: Any) -> None:
        self.others.append((self.session.ask(do, **fields), expected))
        self.take()

    def take(self) -> None:
        said = self.session.take()
        if self.peer is not None:
            self.up += b"".join(said.written)
        if not any(event["event"] == "history" and not event.get("quiet") for event in said.events):
            self.events += said.events  # else they are what somebody has asked to see once more
        for asked, answer in said.answers:
            assert asked not in self.answers, "it was answered before"
            self.answers[asked] = answer
        if said.drop is not None:
            assert not said.drop.is_hopeless, said.drop
            self.lose().vanish()

    # The wire

    def connect(self) -> None:
        if self.peer is None:
            self.peer = self._test.newcomer()
            self.peer.transport.reading = False
            self.session.connected()
            self.take()

    def lose(self) -> Peer:
        """The connection is lost, for the client. The server does not know it yet."""
        peer, self.peer = self.peer, None
        assert peer is not None
        self.up = self.down = self._line = b""
        self.session.disconnected()
        self.take()
        return peer

    def cut(self, how: str) -> None:
        if self.peer is None:
            return
        peer = self.lose()
        if how == "vanish":
            peer.vanish()
        elif how == "hang up":
            peer.hang_up()

    def send(self, size: int = _ALL) -> None:
        """Bring some bytes to the server."""
        if self.peer is not None and self.up:
            data, self.up = self.up[:size], self.up[size:]
            self.peer.send(data)

    def hear(self, size: int = _ALL) -> bool:
        """Bring some bytes to the client; gives back whether there were any."""
        has_heard = False
        while size > 0 and self.peer is not None and self._fetch():
            line, end, _ = self.down[:size].partition(b"\n")
            heard = len(line) + len(end)
            self.down = self.down[heard:]
            size -= heard
            self._line += line
            has_heard = True
            if end:
                line, self._line = self._line, b""
                self.session.received(line)
                self.take()
        return has_heard

    def _fetch(self) -> bool:
        """Take what the server has written, once there is nothing left of what it wrote before."""
        assert self.peer is not None
        transport = self.peer.transport
        self.down += self.peer.take_bytes()
        while not self.down and transport.producer is not None:
            transport.producer.resumeProducing()
            self.down += self.peer.take_bytes()
        return bool(self.down)

    def skip(self, first: int, lines: int) -> None:
        """Have the server skip some of the lines that wait, but not one that has begun."""
        if self.peer is None or not self._fetch():
            return
        waiting = self.down.splitlines(keepends=True)
        first += bool(self._line)
        gone = waiting[first : first + lines]
        if gone and gone[-1].endswith(b"\n"):
            told = {"event": "skipped", "time": None, "lines": len(gone)}
            after = waiting[first + lines :]
            self.down = b"".join([*waiting[:first], json.dumps(told).encode() + b"\n", *after])


_player = st.sampled_from(range(len(_NAMES)))
_size = st.one_of(st.integers(1, 400), st.just(_ALL))
_place = st.sampled_from(["dev", "lobby", "tea", "@bob", "@alice"])
_asked = st.sampled_from(["users", "bad", "topic", "topic?", "tea", "tea", "leave", "history"])
_how = st.sampled_from(["vanish", "hang up", "silently"])
_hole = st.tuples(st.sampled_from([0, 0, 1, 2, 5]), st.sampled_from([1, 1, 2, 6]))
_kinds: dict[str, tuple[int, st.SearchStrategy[Any]]] = {
    "say": (5, _place),
    "burst": (1, _place),
    "ask": (3, _asked),
    "send": (2, _size),
    "hear": (4, _size),
    "skip": (4, st.lists(_hole, min_size=1, max_size=3)),
    "cut": (1, _how),
    "connect": (1, st.none()),
    "turn": (1, st.none()),
    "serve": (4, st.none()),
    "flow": (5, st.none()),
    "hold": (1, st.none()),
    "step": (2, st.none()),
    "release": (2, st.none()),
    "kill": (1, st.integers(0, 3)),
}
"""What may happen, how often, and with which values."""

_step = st.sampled_from(
    [kind for kind, (weight, _) in _kinds.items() for _ in range(weight)]
).flatmap(lambda kind: st.tuples(st.just(kind), _player, _kinds[kind][1]))


class PlayTests(ServerTestCase):
    """Two clients in the lobby and other rooms."""

    limits = Limits(line_rate=0, connections_per_minute=0, rooms_per_address=0, replay=5)

    @fuzzed
    @given(
        st.booleans(),
        st.booleans(),
        st.sampled_from([4, 200]),
        st.lists(_step, min_size=40, max_size=120),
    )
    def test_nothing_lost_doubled_or_misattributed(
        self, begins_in: bool, is_small: bool, window: int, steps: list[tuple[str, int, Any]]
    ) -> None:
        """Whatever happens to the connections and the server, each post is said once and in order,
        each message is told once and in order, and each request gets the one answer that is its
        own."""
        self.patch(requests, "_WINDOW", window)
        self.serve(replace(self.limits, outbox=4000) if is_small else self.limits)
        for name in _NAMES:
            self.store.add_account(name, name, b"hash of " + _PASSWORD.encode(), NOW)
        players = [Player(self, name) for name in _NAMES]
        if begins_in:
            self.finish(players)
        for number, (what, index, value) in enumerate(steps):
            self.play(players, players[index], what, value, number)
        self.finish(players)
        for player in players:
            self.check_posts(player)
            self.check_answers(player)
            self.check_told(player)
            if not is_small:
                missing = [e for e in player.events if e["event"] in ("gap", "omitted")]
                self.assertEqual(missing, [])
        self.check_nothing_is_left()

    def play(
        self, players: list[Player], player: Player, what: str, value: Any, number: int
    ) -> None:
        if what == "say":
            player.say(value, f"{player.name} {number % 3}")
        elif what == "burst":  # more than fit into a small outbox
            for _ in range(15):
                player.say(value, f"{player.name} {number % 3}")
        elif what == "ask":
            self.ask_for(player, value)
        elif what == "kill":
            self.kill(value)
            for each in players:
                if each.peer is not None:
                    each.lose()
        elif what == "serve":
            self.serve_all(players)
        elif what == "skip":
            for first, lines in value:
                self.serve_all(players)
                player.skip(first, lines)
                player.hear()
        elif what == "flow":
            self.flow([player])
        elif what == "hold":
            self.store.hold()
            self.hasher.held = True
        elif what == "release":
            self.let_go()
        elif what in ("turn", "step"):
            getattr(self, what)()
        else:
            act = getattr(player, what)
            act() if value is None else act(value)

    def ask_for(self, player: Player, what: str) -> None:
        if what == "users":
            player.ask("users", "done", room="lobby")
        elif what == "bad":
            player.ask("join", "bad-name", room="a b")
        elif what == "topic":  # if its answer is lost, it is not repeated
            player.ask("topic", "done", "lost", room="dev", text=f"by {player.name}")
        elif what == "topic?":
            player.ask("topic", "done", room="dev")
        elif what == "history":
            player.ask("history", "done", of="dev")
        elif what == "tea":
            player.ask("join", "done", room="tea")
        else:
            player.ask("leave", "done", "not-in-room", "no-such-room", room="tea")

    def serve_all(self, players: Sequence[Player]) -> None:
        """Have the server read and answer what was written, as far as the store lets it."""
        for player in players:
            player.send()
        self.settle()

    def flow(self, players: Sequence[Player]) -> bool:
        """Have everything arrive, until nothing happens any more.

        @return: whether it comes to that.
        """
        for _ in range(1000):
            for player in players:
                player.connect()
            self.serve_all(players)
            has_heard = [player.hear() for player in players]
            if not any(has_heard) and not any(player.up for player in players):
                return True
        return False

    def finish(self, players: Sequence[Player]) -> None:
        """Let the store answer, and have everything arrive."""
        self.let_go()
        self.assertTrue(self.flow(players))
        self.assertTrue(all(player.session.is_in for player in players))

    # What has to hold in the end

    def log(self, place: str, name: str = "") -> list[Any]:
        """What is in the log of a room; or, of private messages, what a person has to do with."""
        if not place.startswith("@"):
            return [message for message in self.store.messages if message.room == place]
        return [m for _, m in self.store.direct if name in (m.sender, m.recipient)]

    def check_posts(self, player: Player) -> None:
        """What it has said is in the log, once and in order, and it knows of each where."""
        for place in ("lobby", "dev", "tea", "@alice", "@bob"):
            asked = [(asked, text) for asked, to, text in player.posts if to == place]
            if place == "tea":  # which it may have left
                asked = [each for each in asked if isinstance(player.answers[each[0]], dict)]
            if place.startswith("@"):
                told = self.log(place, player.name)
                mine = [m for m in told if (m.sender, m.recipient) == (player.name, place[1:])]
            else:
                mine = [m for m in self.log(place) if m.author == player.name]
            self.assertEqual([m.text for m in mine], [text for _, text in asked], place)
            for message, (each, text) in zip(mine, asked, strict=True):
                answer = player.answers[each]
                assert isinstance(answer, dict), answer
                self.assertEqual((answer["id"], answer["text"]), (message.id, text))

    def check_answers(self, player: Player) -> None:
        """Each other request has its answer."""
        for each, expected in player.others:
            answer = player.answers[each]
            code = answer.code if isinstance(answer, Refused) else "done"
            self.assertIn(code, expected, each.request)
            if isinstance(answer, dict):
                self.assertEqual(answer["label"], each.label)

    def check_told(self, player: Player) -> None:
        """It was told everything, once and in order; or that something is missing."""
        for room in ("lobby", "dev", "tea"):
            if room not in player.session.rooms:
                continue
            log = [message.seq for message in self.log(room)]
            told = [s for event in player.events if event.get("room") == room for s in _seqs(event)]
            if room == "tea":  # left and joined again, it is shown again
                self.assertEqual(told[-1:], log[-1:])
            else:
                self.assertEqual(told, log[len(log) - len(told) :], room)
        private = [event["id"] for event in player.events if event["event"] == "dm"]
        ids = [message.id for message in self.log("@", player.name)]
        if any(event["event"] == "omitted" for event in player.events):
            self.assertEqual(private, sorted(set(private) & set(ids)))
        else:
            self.assertEqual(private, ids[len(ids) - len(private) :])


def _seqs(event: Event) -> range:
    """The places in a room's log that an event tells, or says to be missing."""
    if event["event"] == "gap":
        return range(event["first"], event["last"] + 1)
    if event["event"] == "message":
        return range(event["seq"], event["seq"] + 1)
    return range(0)
