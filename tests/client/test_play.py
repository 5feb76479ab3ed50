"""Clients and a server play against each other in memory: connections are cut at any byte, events
are skipped anywhere, the store answers when it likes or is away, the server is killed, and what one
session of an account does happens to the other."""

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
from twisted_chat.client.lines import Event, Refused, conversation
from twisted_chat.client.requests import Asked
from twisted_chat.client.session import ClientSession
from twisted_chat.core.limits import Limits
from twisted_chat.core.model import CREATED, MESSAGES, Entry

fuzzed = settings(max_examples=2 * settings().max_examples)

_PREFIX = "0123456789abcde-"
_PASSWORD = "s3cret-pw"
_NAMES = ("alice", "bob", "alice")
_ROOMS = ("lobby", "dev", "tea")
_ALL = 10**6


class Player:
    """One client, and the wire between it and the server.

    @ivar key: what it says begins with this, and what no other client says.
    @ivar posts: what it has said: the request, the place and the text.
    @ivar others: what else it has asked for, and the answers that may come of it.
    @ivar answers: what it was answered.
    @ivar begun: for each room that it is in, from where on it is told everything.
    @ivar events: what it was told, but for histories that it has asked for.
    @ivar is_put_off: it was told that the store is away, and has not tried again since.
    @ivar was_put_off: it was ever told that.
    """

    def __init__(self, test: ServerTestCase, number: int) -> None:
        self._test = test
        self.name = _NAMES[number]
        self.key = f"{number}"
        identity, prefix = Identity(self.name, _PASSWORD), f"{self.key}-{_PREFIX}"
        self.session = ClientSession(
            identity, ["dev"], prefix, lambda: 0.0, marks=number == len(_NAMES) - 1
        )
        self.posts: list[tuple[Asked, str, str]] = []
        self.others: list[tuple[Asked, tuple[str, ...]]] = []
        self.answers: dict[Asked, Event | Refused] = {}
        self.events: list[Event] = []
        self.begun: dict[str, int] = {}
        self.is_put_off = self.was_put_off = False
        self.peer: Peer | None = None
        self.up = b""
        self.down = b""
        self._line = b""  # as far as it was heard

    # What the client does

    def say(self, place: str, text: str) -> None:
        if not (place.startswith("@") or place in self.session.rooms):
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

    def mark(self, place: str) -> None:
        """The person has read what was told of a place."""
        seq = self.session._seen.last(place)
        if seq:
            self.session.mark(place, seq)
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
        is_put_off = said.wait is not None
        if said.drop is not None:
            assert not said.drop.is_hopeless, said.drop
            is_put_off |= said.drop.code == "unavailable"
            self.lose().vanish()
        self.is_put_off |= is_put_off
        self.was_put_off |= is_put_off

    def resume(self) -> None:
        """Try again what the server could not do."""
        self.is_put_off = False
        self.session.resume()
        self.take()

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
                known = self.session._seen.rooms
                self.begun = {
                    room: self.begun.get(room, seq)
                    for room, seq in known.items()
                    if seq is not None
                }
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


_OUT = ("not-in-room", "no-such-room")

_ASKED: dict[str, tuple[str, tuple[str, ...], dict[str, Any]]] = {
    "users": ("users", ("done",), {"room": "lobby"}),
    "bad": ("join", ("bad-name",), {"room": "a b"}),
    # If its answer is lost, it is not repeated.
    "topic": ("topic", ("done", "lost", *_OUT), {"room": "dev", "text": "x"}),
    "topic?": ("topic", ("done", *_OUT), {"room": "dev"}),
    "history": ("history", ("done", *_OUT), {"of": "dev"}),
    "read": ("read", ("done",), {"of": "@bob"}),
    "where": ("where", ("done",), {}),
    "to": ("to", ("done", *_OUT), {"room": "dev"}),
    "join": ("join", ("done",), {"room": "tea"}),
    "leave": ("leave", ("done", *_OUT), {"room": "tea"}),
    "join dev": ("join", ("done",), {"room": "dev"}),
    "leave dev": ("leave", ("done", *_OUT), {"room": "dev"}),
}
"""What may be asked for, by a name for it: the command, the answers that may come of it, and the
fields."""

_player = st.sampled_from(range(len(_NAMES)))
_size = st.one_of(st.integers(1, 400), st.just(_ALL))
_place = st.sampled_from(["dev", "lobby", "tea", "@bob", "@alice"])
_asked = st.sampled_from([*_ASKED, "join", "leave"])
_how = st.sampled_from(["vanish", "hang up", "silently"])
_hole = st.tuples(st.sampled_from([0, 0, 1, 2, 5]), st.sampled_from([1, 1, 2, 6]))
_kinds: dict[str, tuple[int, st.SearchStrategy[Any]]] = {
    "say": (5, _place),
    "burst": (1, _place),
    "ask": (3, _asked),
    "mark": (1, _place),
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
    "leave": (1, st.none()),
    "return": (1, st.none()),
    "resume": (2, st.none()),
}
"""What may happen, how often, and with which values."""

_step = st.sampled_from(
    [kind for kind, (weight, _) in _kinds.items() for _ in range(weight)]
).flatmap(lambda kind: st.tuples(st.just(kind), _player, _kinds[kind][1]))


class PlayTests(ServerTestCase):
    """Three clients of two accounts, in the lobby and other rooms."""

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
        each entry is told once and in order, each request gets the one answer that is its own, and
        each client knows its rooms."""
        self.patch(requests, "_WINDOW", window)
        self.serve(replace(self.limits, outbox=4000) if is_small else self.limits)
        for name in sorted({*_NAMES}):
            self.store.add_account(name, name, b"hash of " + _PASSWORD.encode(), NOW)
        players = [Player(self, number) for number in range(len(_NAMES))]
        if begins_in:
            self.finish(players)
        for number, (what, index, value) in enumerate(steps):
            self.play(players, players[index], what, value, number)
        self.finish(players)
        for player in players:
            self.check_posts(player)
            self.check_answers(player)
            self.check_rooms(player)
            self.check_told(player)
            self.check_told_privately(player)
            if not is_small:
                missing = [e for e in player.events if e["event"] in ("gap", "omitted")]
                self.assertEqual(missing, [])
        self.check_nothing_is_left()

    def play(
        self, players: list[Player], player: Player, what: str, value: Any, number: int
    ) -> None:
        if what == "say":
            player.say(value, f"{player.key} {number % 3}")
        elif what == "burst":  # more than fit into a small outbox
            for _ in range(15):
                player.say(value, f"{player.key} {number % 3}")
        elif what == "ask":
            do, expected, fields = _ASKED[value]
            player.ask(do, *expected, **fields)
        elif what in ("leave", "return"):
            self.store.is_away = what == "leave"
        elif what == "kill":
            self.store.is_away = False  # or it could not start
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
                if not player.is_put_off:
                    player.connect()
            self.serve_all(players)
            has_heard = [player.hear() for player in players]
            if not any(has_heard) and not any(player.up for player in players):
                return True
        return False

    def finish(self, players: Sequence[Player]) -> None:
        """Let the store answer, and have everything arrive."""
        self.store.is_away = False
        self.let_go()
        self.assertTrue(self.flow(players))
        while any(player.is_put_off for player in players):
            for player in players:
                player.resume()
            self.assertTrue(self.flow(players))
        self.assertTrue(all(player.session.is_in for player in players))

    # What has to hold in the end

    def log(self, place: str, name: str) -> list[Entry]:
        """What is in the log of a place of this person."""
        if not place.startswith("@"):
            return [entry for entry in self.store.entries if entry.room.name == place]
        parties = sorted([place[1:], name])
        return [e for e in self.store.entries if sorted(a.name for a in e.room.parties) == parties]

    def check_posts(self, player: Player) -> None:
        """What it has said is in the log, once and in order, and it knows of each where. If the
        store was away, posts that were on their way together may have overtaken each other."""
        for place in (*_ROOMS, "@alice", "@bob"):
            asked = [(asked, text) for asked, to, text in player.posts if to == place]
            if place in ("dev", "tea"):  # which it may have left
                asked = [each for each in asked if isinstance(player.answers[each[0]], dict)]
            told = [e for e in self.log(place, player.name) if e.author == player.name]
            mine = [e for e in told if e.kind in MESSAGES and e.text[0] == player.key]
            if player.was_put_off:
                asked.sort(key=lambda each: _seq(player.answers[each[0]]))
            self.assertEqual([entry.text for entry in mine], [text for _, text in asked], place)
            for entry, (each, text) in zip(mine, asked, strict=True):
                answer = player.answers[each]
                assert isinstance(answer, dict), answer
                known = answer["id"], answer["seq"], answer["text"]
                self.assertEqual(known, (entry.id, entry.seq, text))

    def check_answers(self, player: Player) -> None:
        """Each other request has its answer."""
        for each, expected in player.others:
            answer = player.answers[each]
            code = answer.code if isinstance(answer, Refused) else "done"
            self.assertIn(code, (*expected, "unavailable"), each.request)
            if isinstance(answer, dict):
                self.assertEqual(answer["label"], each.label)

    def check_rooms(self, player: Player) -> None:
        """It knows the rooms that its account is in."""
        account = self.successResultOf(self.store.find_account(player.name))
        assert account is not None
        rooms = [each.record.name for each in self.store.snapshot() if account.id in each.members]
        self.assertEqual(sorted(player.session.rooms), sorted({"lobby", *rooms}))

    def check_told(self, player: Player) -> None:
        """It was told everything that happened in a room since it came there, once and in order; or
        that something is missing."""
        for room in player.session.rooms:
            log = [e for e in self.log(room, player.name) if e.kind != CREATED]
            told, begin = self.told(player, room), player.begun[room]
            if told[:1] == [1] and not (log and log[0].seq == 1):
                del told[0]  # who made the room, which only those are told who resume
            messages = [entry.seq for entry in log if entry.kind in MESSAGES]
            said = [seq for seq in told if seq in messages]
            self.assertEqual(said, messages[len(messages) - len(said) :], room)
            others = [entry.seq for entry in log if entry.seq > begin]
            self.assertEqual([seq for seq in told if seq > begin], others, room)

    def told(self, player: Player, room: str) -> list[int]:
        """What it was told of a room since it was in it last."""
        told: list[int] = []
        for event in player.events:
            if event["event"] == "left" and event.get("name") == player.name:
                told = [] if event["room"] == room else told
            elif event.get("room") == room:
                told += _seqs(event)
        return told

    def check_told_privately(self, player: Player) -> None:
        """The same for private conversations, except for what another session of the account has
        read or said before anything was told of the conversation."""
        for name in sorted({*_NAMES}):
            log = [entry.seq for entry in self.log(f"@{name}", player.name)]
            place = f"@{name}"
            events = [
                {**e, "room": conversation(e, player.name)} if e["event"] == "dm" else e
                for e in player.events
            ]
            told = [seq for e in events if e.get("room") == place for seq in _seqs(e)]
            self.assertEqual(told, log[len(log) - len(told) :], name)


class StrangerTests(ServerTestCase):
    """Somebody writes to a client for the first time."""

    limits = Limits(line_rate=0, outbox=4000)

    def test_skipped(self) -> None:
        """A private message that the server has skipped is told, though the client knew nothing of
        its conversation; so is what came in it then."""
        for name in sorted({*_NAMES}):
            self.store.add_account(name, name, b"hash of " + _PASSWORD.encode(), NOW)
        alice, bob = Player(self, 0), Player(self, 1)
        for player in (alice, bob):
            player.connect()
            while player.hear() or player.up:
                player.send()
                self.settle()
        for place in (*(["lobby"] * 40), "@bob", *(["lobby"] * 40)):
            alice.say(place, "x" * 100)
        alice.send()
        while alice.hear() or alice.up:
            alice.send()
            self.settle()
        alice.say("@bob", "y")
        for player in (alice, bob) * 5:
            player.hear()
            player.send()
            self.settle()
        told = [e["text"][0] for e in bob.events if e["event"] == "dm"]
        self.assertEqual(told, ["x", "y"])
        self.assertIn("skipped", [event["event"] for event in bob.events])


def _seq(answer: Event | Refused) -> int:
    """The place in a room's log that a post has."""
    assert isinstance(answer, dict), answer
    seq: int = answer["seq"]
    return seq


def _seqs(event: Event) -> range:
    """The places in a room's log that an event tells, or says to be missing."""
    if event["event"] == "gap":
        return range(event["first"], event["last"] + 1)
    if event["event"] in ("message", "dm", "topic", "members") and event.get("seq"):
        return range(event["seq"] - event.get("count", 1) + 1, event["seq"] + 1)
    return range(0)
