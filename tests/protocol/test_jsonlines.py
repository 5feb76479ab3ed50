"""Requests and events as JSON Lines."""

import json
from collections.abc import Callable
from typing import Any, get_args

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twisted_chat.core import events as e
from twisted_chat.core.errors import CODES, Refusal
from twisted_chat.core.model import (
    ACTION,
    ROLES,
    SAID,
    TOPIC,
    Account,
    Aside,
    Entry,
    RoomRecord,
    Standing,
    conversation,
)
from twisted_chat.core.text import clean
from twisted_chat.protocol import grammar
from twisted_chat.protocol.commands import (
    COMMANDS,
    MOST_COUNT,
    MOST_PLACES,
    MOST_SEQ,
    Command,
    Kind,
    Parameter,
    Request,
)
from twisted_chat.protocol.jsonlines import (
    FIELDS,
    MAX_REQUEST,
    BadRequest,
    decode_event,
    decode_request,
    encode,
    encode_request,
    hello,
    is_request,
    objects,
    safe,
)

fuzzed = settings(deadline=None, max_examples=200, derandomize=True)

NOW = 1_700_000_000_123
STAMP = "2023-11-14T22:13:20.123Z"

_any_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
_short = st.text(max_size=5)
_labels = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=64)
_places = st.dictionaries(
    _any_text.filter(lambda place: place != "@"), st.integers(0, MOST_SEQ), max_size=MOST_PLACES
)

_IN_JSON: dict[Kind, st.SearchStrategy[Any]] = {
    Kind.WORD: _any_text.filter(bool),
    Kind.PERSON: _any_text,
    Kind.SECRET: _any_text,
    Kind.TEXT: _any_text,
    Kind.COUNT: st.integers(0, MOST_COUNT),
    Kind.PLACE: _any_text.filter(bool),
    Kind.FLAG: st.booleans(),
    Kind.SWITCH: st.sampled_from(["on", "off"]),
    Kind.PLACES: _places,
}
"""The values of a parameter in a JSON request."""

_REQUESTABLE = [row for row in COMMANDS if row.in_json]


@st.composite
def _requests(draw: st.DrawFn) -> Request:
    """Any request of the table."""
    command = draw(st.sampled_from(_REQUESTABLE))
    fields = {
        parameter.name: draw(_IN_JSON[parameter.kind])
        for parameter in command.parameters
        if not parameter.optional or draw(st.booleans())
    }
    return Request(command.word, fields, draw(_labels))


# What can be typed for a parameter, and its value.
_word = st.from_regex(r"[a-z0-9]{1,8}( [a-z]{1,3})?", fullmatch=True)
_name = st.from_regex(r"[a-z]{1,8}", fullmatch=True)
_typeable_places = st.dictionaries(
    _name | _name.map("@{}".format), st.integers(0, MOST_SEQ), min_size=1, max_size=8
)


def _quoted(value: str) -> str:
    return f'"{value}"' if " " in value else value


_TYPED: dict[Kind, tuple[st.SearchStrategy[Any], Callable[[Parameter, Any], str]]] = {
    Kind.WORD: (_word, lambda _, value: _quoted(value)),
    Kind.PERSON: (_name, lambda _, value: f"@{value}:"),
    Kind.SECRET: (_word, lambda _, value: _quoted(value)),
    Kind.TEXT: (_word, lambda _, value: value),
    Kind.COUNT: (st.integers(0, MOST_COUNT), lambda _, value: str(value)),
    Kind.PLACE: (_name | _name.map("@{}".format), lambda _, value: value),
    Kind.FLAG: (st.just(True), lambda parameter, _: parameter.usage.strip("[]")),
    Kind.SWITCH: (st.sampled_from(["on", "off"]), lambda _, value: value.upper()),
    Kind.PLACES: (
        _typeable_places,
        lambda _, value: " ".join(f"{place}={seq}" for place, seq in value.items()),
    ),
}


@st.composite
def _both(draw: st.DrawFn) -> tuple[str, Request]:
    """A line, and the request that it is."""
    command = draw(st.sampled_from([row for row in _REQUESTABLE if row.in_text]))
    line, fields = f"/{draw(st.sampled_from(command.words))}", {}
    for parameter in command.parameters:
        if not parameter.usage or (parameter.optional and _lacks(draw, parameter)):
            continue
        values, shown = _TYPED[parameter.kind]
        value = draw(values)
        fields[parameter.name] = value
        line += f" {shown(parameter, value)}"
    return line, Request(command.word, fields)


def _lacks(draw: st.DrawFn, parameter: Parameter) -> bool:
    return parameter.usage.startswith("[") and draw(st.booleans())


def line(**fields: object) -> bytes:
    """The object as a client may write it."""
    return json.dumps(fields).encode()


class RequestTests(SynchronousTestCase):
    """Requests to lines and back."""

    @fuzzed
    @given(_requests())
    def test_round_trip(self, request: Request) -> None:
        """What one end encodes the other decodes, whatever is in it."""
        encoded = encode_request(request)
        self.assertEqual(encoded.count(b"\n"), 1)
        self.assertTrue(is_request(encoded))
        self.assertEqual(decode_request(encoded[:-1]), request)

    @fuzzed
    @given(_both())
    def test_same_as_typed(self, both: tuple[str, Request]) -> None:
        """A typed line and an object give the same request."""
        typed, request = both
        called = grammar.parse(typed)
        assert isinstance(called, grammar.Command)
        self.assertEqual(grammar.request(called), request, typed)
        self.assertEqual(decode_request(encode_request(request).strip()), request)

    def test_every_command(self) -> None:
        """Every command takes the fields of the protocol, with a label or without."""
        for do, fields in (
            ("help", {}),
            ("help", {"command": "dm"}),
            ("register", {"name": "bob", "password": "s3cret-pw"}),
            ("login", {"name": "bob", "password": "s3cret-pw"}),
            ("guest", {}),
            ("guest", {"name": "bob"}),
            ("users", {"room": "dev"}),
            ("dm", {"name": "bob", "message": '"hi"\nthere'}),
            ("r", {"message": "/quit"}),
            ("bc", {"message": "hi"}),
            ("say", {"message": "hi"}),
            ("say", {"room": "dev", "message": "hi"}),
            ("join", {"room": "dev"}),
            ("leave", {}),
            ("rooms", {}),
            ("topic", {}),
            ("topic", {"room": "dev", "text": ""}),
            ("me", {"room": "dev", "action": "waves"}),
            ("history", {"count": 5, "of": "@bob"}),
            ("to", {"room": "dev"}),
            ("where", {}),
            ("read", {}),
            ("read", {"of": "@bob", "seq": 3}),
            ("since", {"places": {"dev": 14, "@bob": 3}, "session": "rV8cQ1mZy0TtKf4b"}),
            ("nick", {"name": "bob"}),
            ("passwd", {"old": "a", "new": "b", "keep": True}),
            ("json", {"switch": "off"}),
            ("quit", {}),
            ("type", {"line": '/dm bob "hi"'}),
        ):
            self.assertEqual(decode_request(line(do=do, **fields)), Request(do, fields))
            labelled = decode_request(line(do=do, label="7", **fields))
            self.assertEqual(labelled, Request(do, fields, "7"))

    def test_alias(self) -> None:
        """Other words of a command call it too; the request has the main word."""
        request = decode_request(line(do="msg", name="bob", message="hi"))
        self.assertEqual((request.do, request.typed), ("dm", ""))

    def test_where_the_object_begins(self) -> None:
        """Spaces and a byte order mark may stand before the brace, and nothing else."""
        for before in (b"", b"   ", b"\xef\xbb\xbf", b"\xef\xbb\xbf "):
            self.assertTrue(is_request(before + b'{"do":"rooms"}'))
            self.assertEqual(decode_request(before + b'{"do":"rooms"}'), Request("rooms", {}))
        for other in (b"", b"x{", b'"{', b"/{", b"\xe3\x80\x80{"):
            self.assertFalse(is_request(other))

    def test_escaped_pairs(self) -> None:
        """A character may be escaped as a pair of surrogates."""
        request = decode_request(b'{"do":"bc","message":"\\ud83d\\ude00"}')
        self.assertEqual(request.fields, {"message": "\U0001f600"})

    def refused(self, data: bytes, code: str = "bad-arguments") -> BadRequest:
        """The refusal of a line."""
        refusal = self.assertRaises(BadRequest, decode_request, data)
        self.assertEqual(refusal.code, code, data[:80])
        self.assertTrue(refusal.text.isprintable(), data[:80])
        assert isinstance(refusal, BadRequest)
        return refusal

    def test_not_json(self) -> None:
        """Anything but one JSON object is refused, without a label."""
        for data in (
            b"{",
            b"{}}",
            b'{"do":"rooms"} {}',
            b"{'do':'rooms'}",
            b'{"do":"rooms",}',
            b'{"do":"bc","message":"a\tb"}',
            b'{"do":"bc","message":"\x1b"}',
            b'{"do":"history","count":' + b"9" * 5000 + b"}",
            b'{"a":' * 3000,
            b'{"a":' * 2000 + b"1" + b"}" * 2000,
            b"[]",
            b"1",
            b"",
        ):
            refusal = self.refused(data)
            self.assertEqual((refusal.do, refusal.label), ("", ""))

    def test_what_json_leaves_open(self) -> None:
        """Fields that stand there twice and numbers that are none are refused, with the label; a
        label that stands there twice is none."""
        for data, label in (
            (b'{"do":"bc","message":"a","message":"b","label":"7"}', "7"),
            (b'{"do":"bc","message":NaN,"label":"7"}', "7"),
            (b'{"do":"history","count":-Infinity,"label":"7"}', "7"),
            (b'{"do":"since","places":{"a":1,"a":2},"label":"7"}', "7"),
            (b'{"do":"rooms","do":"rooms","label":"7"}', "7"),
            (b'{"do":"rooms","label":"7","label":"8"}', ""),
        ):
            self.assertEqual(self.refused(data).label, label, data)

    def test_not_text(self) -> None:
        """Half of a surrogate pair is refused wherever it is, and so is what is not UTF-8."""
        for data in (
            b'{"do":"bc","message":"\\ud800"}',
            b'{"do":"bc","message":"\\ude00\\ud83d"}',
            b'{"do":"bc","\\udfff":1}',
            b'{"do":"since","places":{"\\udc00":1}}',
            b'{"do":"bc","message":"\xff"}',
            b'{"do":"bc","message":"\xed\xa0\x80"}',
        ):
            self.refused(data, "bad-encoding")
        with self.assertRaises(Refusal) as caught:
            encode_request(Request("bc", {"message": "\ud800"}))
        self.assertEqual(caught.exception.code, "bad-encoding")

    def test_size(self) -> None:
        """A request has at most 16,384 bytes, at both ends."""
        room = MAX_REQUEST - len(encode_request(Request("bc", {"message": ""}))) + 1
        fits = encode_request(Request("bc", {"message": "x" * room})).strip()
        self.assertEqual(len(fits), MAX_REQUEST)
        decode_request(fits)
        self.refused(fits + b" ", "too-long")
        with self.assertRaises(Refusal) as caught:
            encode_request(Request("bc", {"message": "x" * (room + 1)}))
        self.assertEqual(caught.exception.code, "too-long")

    def test_do(self) -> None:
        """A request names a command that is there for programs."""
        for data, code, do in (
            (line(label="7"), "bad-arguments", ""),
            (line(do=1, label="7"), "bad-arguments", ""),
            (line(do=None, label="7"), "bad-arguments", ""),
            (line(do="joim", label="7"), "unknown-command", "joim"),
            (line(do="PM", label="7"), "unknown-command", "PM"),
            (line(do="\x1b[31m", label="7"), "unknown-command", "[31m"),
        ):
            refusal = self.refused(data, code)
            self.assertEqual((refusal.do, refusal.label), (do, "7"))

    def test_label(self) -> None:
        """A label is 1 to 64 printable ASCII characters without spaces."""
        for label in ("7", "!~", "x" * 64, '"\\'):
            self.assertEqual(decode_request(line(do="rooms", label=label)).label, label)
        for bad in ("", " ", "a b", "x" * 65, "é", "\x7f", "a\n", 7, None, ["7"]):
            refusal = self.refused(line(do="rooms", label=bad))
            self.assertIn('"label"', refusal.text)
            self.assertEqual((refusal.do, refusal.label), ("rooms", ""))

    def test_unknown_field(self) -> None:
        """A field that the command does not have is refused, with the nearest or all."""
        for data, way in (
            (line(do="dm", nmae="bob", message="hi"), 'did you mean "name"?'),
            (line(do="dm", recipient="bob", message="hi"), 'it has "name", "message"'),
            (line(do="rooms", room="dev"), "it has none"),
            (line(do="dm", typed="x"), "no field"),
            (line(do="bc", Message="hi"), 'did you mean "message"?'),
        ):
            self.assertIn(way, self.refused(data).text)
        self.assertTrue(len(self.refused(line(do="rooms", **{"x" * 5000: 1})).text) < 200)

    def test_missing_field(self) -> None:
        """A field that is not optional has to be there; a password is not asked for."""
        for row in _REQUESTABLE:
            full = {each.name: _EXAMPLES[each.kind] for each in row.parameters}
            decode_request(line(do=row.word, **full))
            for parameter in row.parameters:
                less = {name: value for name, value in full.items() if name != parameter.name}
                data = line(do=row.word, label="7", **less)
                if parameter.optional:
                    decode_request(data)
                else:
                    refusal = self.refused(data)
                    self.assertIn(f'needs "{parameter.name}"', refusal.text)
                    self.assertEqual((refusal.do, refusal.label), (row.word, "7"))

    def test_wrong_type(self) -> None:
        """Each field has a value of its own type, and no other, not even null."""
        anything = ("x", "on", 1, 1.5, -1, True, None, ["x"], {"a": "b"}, {"a": -1}, {"a": True})
        for row in _REQUESTABLE:
            for parameter in row.parameters:
                full = {each.name: _EXAMPLES[each.kind] for each in row.parameters}
                for value in anything:
                    if _is_of(parameter.kind, value):
                        continue
                    refusal = self.refused(line(do=row.word, **{**full, parameter.name: value}))
                    self.assertIn(f'"{parameter.name}" of "{row.word}" must be ', refusal.text)

    def test_bounds(self) -> None:
        """Numbers and places have bounds, as they have when typed, and C{@} alone is no place."""
        places = {f"r{number}": 1 for number in range(MOST_PLACES + 1)}
        for data in (
            line(do="history", count=MOST_COUNT + 1),
            line(do="since", places={"@": 17}),
            line(do="since", places={"dev": MOST_SEQ + 1}),
            line(do="since", places=places),
        ):
            self.refused(data)
        places.popitem()
        decode_request(line(do="since", places=places))

    @fuzzed
    @given(st.binary(max_size=100), st.sampled_from([b"", b"{", b'{"do":', b'{"do":"bc",']))
    def test_anything_is_decoded_or_refused(self, data: bytes, start: bytes) -> None:
        """No line raises anything but the refusal, whose text can be shown."""
        self.decode(start + data)

    @fuzzed
    @given(
        st.dictionaries(
            st.sampled_from(["do", "label", "name", "message", "places", "count"]) | _short,
            st.recursive(
                st.none() | st.booleans() | st.integers() | st.floats() | _short,
                lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_short, inner),
                max_leaves=4,
            ),
            max_size=4,
        ),
        st.sampled_from(_REQUESTABLE),
    )
    def test_any_object_is_decoded_or_refused(
        self, fields: dict[str, Any], command: Command
    ) -> None:
        """Nor does any object."""
        self.decode(json.dumps(fields).encode())
        self.decode(json.dumps({**fields, "do": command.word}).encode())

    def decode(self, data: bytes) -> None:
        """Decode a line, and have a refusal as the protocol has it."""
        try:
            decode_request(data)
        except BadRequest as refusal:
            self.assertIn(refusal.code, CODES)
            self.assertTrue(refusal.text.isprintable(), ascii(refusal.text))


_EXAMPLES: dict[Kind, Any] = {
    Kind.WORD: "x",
    Kind.PERSON: "bob",
    Kind.SECRET: "s3cret-pw",
    Kind.TEXT: "hi",
    Kind.COUNT: 5,
    Kind.PLACE: "@bob",
    Kind.FLAG: False,
    Kind.SWITCH: "on",
    Kind.PLACES: {"dev": 1},
}


def _is_of(kind: Kind, value: object) -> bool:
    """A value of the test on types is one that the kind takes."""
    example = _EXAMPLES[kind]
    if kind is Kind.SWITCH:
        return value == "on"
    return type(value) is type(example) and kind is not Kind.PLACES and value != -1


# Events

_names = st.from_regex(r"[a-z]{1,8}", fullmatch=True)
_ids = st.integers(1, 2**53)
_times = st.integers(0, 4_000_000_000_000)


@st.composite
def _said(draw: st.DrawFn) -> str:
    """A text as the core lets it through."""
    try:
        return clean(draw(_any_text))
    except Refusal:
        return "refused"


_labels = st.just("") | st.from_regex(r"[!-~]{1,64}", fullmatch=True)
_accounts = st.builds(Account, _ids, _names)
_rooms = st.builds(RoomRecord, _ids, st.just("public"), _names)
_conversations = st.builds(conversation, _accounts, _accounts)
_kinds = st.sampled_from([SAID, ACTION])
_messages = st.builds(Entry, _ids, _rooms, _ids, _kinds, st.none() | _ids, _names, _times, _said())
_directs = st.builds(Entry, _ids, _conversations, _ids, _kinds, _ids, _names, _times, _said())
_asides = st.builds(
    Aside, st.none() | _ids, _names, st.none() | _ids, _names, st.none() | _ids, _times, _said()
)
_topics = st.builds(Entry, _ids, _rooms, _ids, st.just(TOPIC), _ids, _names, _times, _said())
_said_events = st.builds(e.Said, _times, _messages, st.booleans(), _labels)
_told_events = st.builds(e.Told, _times, _directs | _asides, st.booleans(), st.booleans(), _labels)
_topic_events = st.builds(
    e.Topic, _times, _names, _said(), _names, st.none() | _topics, st.booleans()
)
_standings = st.builds(Standing, _accounts, st.none() | st.sampled_from(ROLES))
_members_events = st.builds(
    e.Members,
    _times,
    _names,
    _ids,
    st.lists(_standings, min_size=1, max_size=8).map(tuple),
    st.booleans(),
)
_places_of = st.lists(
    st.builds(e.Place, _names, _ids, _said(), _ids, _ids, _ids, st.booleans())
).map(tuple)
_people = st.lists(st.tuples(_names, st.booleans()), min_size=1, max_size=8).map(tuple)
_limits = st.fixed_dictionaries({}, optional={"room": _names, "nearest": _names, "limit": _ids})

_events: dict[type, st.SearchStrategy[Any]] = {
    e.Welcome: st.builds(e.Welcome, _times, _names, st.booleans(), _names, _ids),
    e.Motd: st.builds(e.Motd, _times, st.lists(_said()).map(tuple)),
    e.Said: _said_events,
    e.Told: _told_events,
    e.Joined: st.builds(e.Joined, _times, _names, _people),
    e.Left: st.builds(e.Left, _times, _names, st.lists(_names, min_size=1, max_size=8).map(tuple)),
    e.Renamed: st.builds(e.Renamed, _times, _names, _names),
    e.Topic: _topic_events,
    e.Members: _members_events,
    e.Read: st.builds(e.Read, _times, _names | _names.map("@{}".format), _ids),
    e.Back: st.builds(e.Back, _times, _places_of),
    e.Where: st.builds(e.Where, _times, _names, _places_of),
    e.Users: st.builds(e.Users, _times, _names, _people),
    e.Crowd: st.builds(e.Crowd, _times, _names, _ids),
    e.Rooms: st.builds(e.Rooms, _times, st.lists(st.tuples(_names, _ids, _said())).map(tuple)),
    e.History: st.builds(
        e.History,
        _times,
        _names,
        st.lists(_said_events | _topic_events | _members_events) | st.lists(_told_events),
        st.none() | _ids,
        st.none() | _ids,
    ),
    e.Unread: st.builds(e.Unread, _times, _ids, st.booleans(), st.booleans()),
    e.Omitted: st.builds(e.Omitted, _times),
    e.Away: st.builds(e.Away, _times, _names, st.booleans()),
    e.NotKept: st.builds(e.NotKept, _times),
    e.Talking: st.builds(e.Talking, _times, _names),
    e.Help: st.builds(e.Help, _times, st.just(tuple(row.entry for row in COMMANDS))),
    e.Skipped: st.builds(e.Skipped, _times, _ids),
    e.Refused: st.builds(
        e.Refused, _times, st.sampled_from(sorted(CODES)), _said(), _names, _labels, _limits
    ),
    e.Done: st.builds(e.Done, _times, st.just("7"))
    | st.builds(e.Done, _times, st.just("7"), _names, _ids, _ids)
    | st.builds(e.Done, _times, st.just("7"), id=st.none() | _ids, to=_names),
    e.Notice: st.builds(e.Notice, _times, _said()),
    e.Ping: st.builds(e.Ping, _times),
    e.Bye: st.builds(e.Bye, _times, _said()),
}
_events[e.Answer] = st.builds(e.Answer, st.one_of(*_events.values()), st.just("7"))


_OPTIONAL = {
    "joined": {"name", "account", "count"},
    "left": {"name", "count"},
    "error": {"room", "name", "nearest", "limit"},
    "done": {"room", "seq", "to", "id"},
    "topic": {"seq", "replay"},
    "rooms": {"joined"},
}

_DEV = RoomRecord(2, "public", "dev")


def _entry(id: int, seq: int, author: str, text: str, time: int = NOW, kind: str = SAID) -> Entry:
    """An entry of the room dev."""
    return Entry(id, _DEV, seq, kind, 1, author, time, text)


class EventTests(SynchronousTestCase):
    """Events to lines and back."""

    def test_every_event(self) -> None:
        """Each event that a session can be told has an object."""
        self.assertEqual(set(_events), set(get_args(e.Event)))

    @fuzzed
    @given(st.one_of(*_events.values()))
    def test_round_trip(self, event: e.Event) -> None:
        """What the server encodes the client decodes, with every field of the table in it and no
        other."""
        for fields in objects(event):
            line = encode(fields)
            self.assertEqual(line.count(b"\n"), 1)
            self.assertEqual(decode_event(line), json.loads(line))
            every = {"event", "time", *FIELDS[fields["event"]]}
            self.assertEqual(set(fields) - every - {"label"}, set())
            self.assertEqual(every - set(fields) - _OPTIONAL.get(fields["event"], set()), set())

    def test_hello(self) -> None:
        """The first object has the protocol's version."""
        fields = hello(NOW, "chat", "rV8c", 60)
        self.assertEqual(
            fields,
            {
                "event": "hello",
                "time": STAMP,
                "protocol": 2,
                "server": "chat",
                "session": "rV8c",
                "keepalive": 60,
            },
        )
        self.assertEqual(decode_event(encode(fields)), fields)

    def test_crowd_is_counted(self) -> None:
        """Of more than five people who come at once only the number is told."""
        five = tuple("abcde")
        self.assertEqual([x["name"] for x in objects(e.Left(NOW, "dev", five))], list("abcde"))
        self.assertEqual(
            list(objects(e.Left(NOW, "dev", (*five, "f")))),
            [{"event": "left", "time": STAMP, "count": 6, "room": "dev"}],
        )

    def test_history_ends(self) -> None:
        """The messages of a replay come first, then their number."""
        message = _entry(7, 3, "alice", "hi", NOW - 1000)
        event = e.History(NOW, "dev", [e.Said(NOW - 1000, message, replay=True)])
        kinds = [(fields["event"], fields["time"]) for fields in objects(event)]
        self.assertEqual(kinds, [("message", "2023-11-14T22:13:19.123Z"), ("history", STAMP)])
        *_, end = objects(event)
        self.assertEqual((end["count"], end["after"], end["seq"]), (1, None, None))

    def test_all_that_came_after(self) -> None:
        """After a resume point the objects of all entries are counted, with the bounds."""
        topic = _entry(7, 3, "alice", "tea", NOW - 1000, TOPIC)
        members = tuple(Standing(Account(id, f"n{id}"), "member") for id in range(1, 10))
        event = e.History(
            NOW,
            "dev",
            [
                e.Topic(NOW, "dev", "tea", "alice", topic, replay=True),
                e.Members(NOW, "dev", 12, members, replay=True),
                e.Said(NOW, _entry(19, 13, "bob", "hi"), replay=True),
            ],
            after=2,
            seq=13,
        )
        told = list(objects(event))
        self.assertEqual([x["event"] for x in told], ["topic", "members", "message", "history"])
        self.assertEqual([x["seq"] for x in told], [3, 12, 13, 13])
        self.assertEqual((told[-1]["count"], told[-1]["after"]), (3, 2))

    def test_topic(self) -> None:
        """A topic that was set has the place and the time of its entry; one that is there has
        none."""
        told = {"event": "topic", "time": STAMP, "room": "dev", "topic": "tea", "from": "alice"}
        self.assertEqual(list(objects(e.Topic(NOW, "dev", "tea", "alice"))), [told])
        entry = _entry(7, 3, "alice", "tea", NOW + 1, TOPIC)
        later = {**told, "time": "2023-11-14T22:13:20.124Z", "seq": 3, "replay": False}
        self.assertEqual(list(objects(e.Topic(NOW, "dev", "tea", "alice", entry))), [later])

    def test_members(self) -> None:
        """Up to five who became members, or ceased to be, are named with their roles; of more only
        the number is told."""
        standings = (Standing(Account(0, "n0"), "owner"), Standing(Account(1, "n1"), "member"))
        told: dict[str, Any] = {"event": "members", "time": STAMP, "room": "dev", "seq": 7}
        named = [{"name": "n0", "role": "owner"}, {"name": "n1", "role": "member"}]
        for event, wanted in (
            (e.Members(NOW, "dev", 7, standings), {"count": 2, "members": named, "replay": False}),
            (
                e.Members(NOW, "dev", 7, (Standing(Account(1, "bob"), None),), replay=True),
                {"count": 1, "members": [{"name": "bob", "role": None}], "replay": True},
            ),
            (e.Members(NOW, "dev", 7, 3 * standings), {"count": 6, "members": [], "replay": False}),
        ):
            self.assertEqual(list(objects(event)), [{**told, **wanted}])

    def test_rooms(self) -> None:
        """The rooms that one is back in are told as rooms, with what is new; so is the answer to
        C{where}, with the current one."""
        place = e.Place("dev", 2, "tea", 20, 6, 14, False)
        row = {"room": "dev", "members": 2, "topic": "tea"}
        news = {"seq": 20, "read": 6, "new": 14, "more": False}
        told = {"event": "rooms", "time": STAMP}
        for event, wanted in (
            (e.Rooms(NOW, (("dev", 2, "tea"),)), {**told, "rooms": [row]}),
            (e.Back(NOW, (place,)), {**told, "joined": True, "rooms": [row | news]}),
            (
                e.Where(NOW, "dev", (place,)),
                {"event": "where", "time": STAMP, "room": "dev", "rooms": [row | news]},
            ),
        ):
            self.assertEqual(list(objects(event)), [wanted])

    def test_private_messages(self) -> None:
        """A private message has its place in the log and in its conversation, if it is kept."""
        told = {"event": "dm", "time": STAMP, "from": "alice", "to": "bob", "text": "hi"}
        room = conversation(Account(4, "bob"), Account(1, "alice"))
        for message, place in (
            (Entry(9, room, 3, SAID, 1, "alice", NOW, "hi"), {"id": 9, "seq": 3}),
            (Aside(None, "alice", 4, "bob", None, NOW, "hi"), {"id": None, "seq": None}),
        ):
            wanted = {**told, **place, "replay": False}
            self.assertEqual(list(objects(e.Told(NOW, message))), [wanted])

    def test_accounts(self) -> None:
        """C{joined} says whether the person is an account or a guest."""
        people = (("alice", True), ("zoe", False))
        told = [(x["name"], x["account"]) for x in objects(e.Joined(NOW, "dev", people))]
        self.assertEqual(told, [("alice", True), ("zoe", False)])

    def test_refusal(self) -> None:
        """An error has what it is about, and the label of the request if it had one."""
        refused = e.Refused(NOW, "no-such-room", "no", "join", "7", {"name": "x", "nearest": "y"})
        (fields,) = objects(refused)
        self.assertEqual(
            fields,
            {
                "event": "error",
                "time": STAMP,
                "code": "no-such-room",
                "text": "no",
                "command": "join",
                "name": "x",
                "nearest": "y",
                "label": "7",
            },
        )
        self.assertNotIn("label", next(objects(e.Refused(NOW, "busy", "no", "join"))))

    def test_done(self) -> None:
        """What is done says where the message is, if it was one."""
        done = {"event": "done", "time": STAMP, "label": "7"}
        for event, wanted in (
            (e.Done(NOW, "7"), done),
            (e.Done(NOW, "7", "dev", 3, 9), {**done, "room": "dev", "seq": 3, "id": 9}),
            (e.Done(NOW, "7", seq=3, id=9, to="bob"), {**done, "to": "bob", "seq": 3, "id": 9}),
            (e.Done(NOW, "7", to="zoe"), {**done, "to": "zoe", "seq": None, "id": None}),
        ):
            self.assertEqual(list(objects(event)), [wanted])

    def test_answer(self) -> None:
        """What answers a request has its label, but for messages: theirs is their author's."""
        own = _entry(7, 3, "alice", "hi")
        other = _entry(8, 4, "bob", "ho")
        told = (e.Said(NOW, own, replay=True, label="mine"), e.Said(NOW, other, replay=True))
        answer = objects(e.Answer(e.History(NOW, "dev", told), "7"))
        labels = [(fields["event"], fields.get("label")) for fields in answer]
        self.assertEqual(labels, [("message", "mine"), ("message", None), ("history", "7")])
        (notice,) = objects(e.Answer(e.Notice(NOW, "hm"), "7"))
        self.assertEqual(notice, {"event": "notice", "time": STAMP, "text": "hm", "label": "7"})

    def test_safe_to_show(self) -> None:
        """No string in a decoded event has a control character or an override, wherever it is."""
        bad = "a\x1b[31m\u202eb\x07\x9bc"
        event = decode_event(json.dumps({"event": "x", "a": [{"b": bad}], bad: 1}).encode())
        self.assertEqual(event, {"event": "x", "a": [{"b": "a[31mbc"}], "a[31mbc": 1})
        self.assertEqual(safe("\x00\ud800"), "")

    def test_no_event(self) -> None:
        """A line with anything but an event of the table is passed over."""
        for line in (
            b"",
            b"Name: ",
            b"{",
            b"{}",
            b"[]",
            b'{"event":1}',
            b'{"event":"x","time":1}',
            b'{"event":"x","label":7}',
            b'{"event":"message","room":"lobby"}',
            b'{"event":"history","room":"lobby","count":true}',
            b'{"event":"history","room":"lobby","count":-1}',
            b'{"event":"history","room":"lobby","count":1e999}',
            b'{"event":"skipped","lines":NaN}',
            b'{"event":"done","seq":1}',
            b'{"event":"motd","lines":"x"}',
            b'{"event":"users","room":"x","users":[{"name":[],"account":true}]}',
            b'{"event":"dm","from":"a","to":"b","text":"c","replay":false,"id":"1"}',
            b'{"event":"x","a":' + b"[" * 100_000,
            b'{"event":"x","a":' + b"[" * 900 + b"]" * 900 + b"}",
            b'{"event":"\xff"}',
        ):
            self.assertIsNone(decode_event(line), line[:80])

    def test_unknown_events_and_fields(self) -> None:
        """An event or a field that is not in the table comes through: it may be newer."""
        for fields in (
            {"event": "unheard", "of": [1, {"a": None}]},
            {"event": "bye", "text": "bye", "reason": 3, "label": "7"},
        ):
            self.assertEqual(decode_event(json.dumps(fields).encode()), fields)

    @fuzzed
    @given(st.binary())
    @example(b'"event":"x"}')
    def test_anything(self, line: bytes) -> None:
        """No line raises anything."""
        decode_event(line)
        decode_event(b"{" + line)
