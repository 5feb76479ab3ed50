"""Requests and events to JSON Lines (RFC 8259, one object a line) and back, for both ends. No
socket, no clock."""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timezone
from operator import attrgetter
from typing import Any

from twisted_chat.core import events as e
from twisted_chat.core import names
from twisted_chat.core.errors import Refusal
from twisted_chat.core.model import ACTION, Entry
from twisted_chat.core.text import clean, printable, unindented

from . import commands
from .commands import Command, Kind, Request
from .grammar import LITERALLY

PROTOCOL = 2
"""The version of the protocol; see C{docs/protocol.md}."""

MAX_REQUEST = 16_384
"""Bytes in a line with a request, without its end."""

MOST_NAMED = 5
"""Of more people who join or leave together, or become members, programs are told only the
number."""

Fields = dict[str, Any]
"""A JSON object."""

_BOM = b"\xef\xbb\xbf"
_LABEL = re.compile(r"[!-~]{1,64}")

_MOST = 2**63 - 1
_DEEPEST = 20
"""How deep the values of an event may be nested."""

_encoder = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def encode(fields: Mapping[str, Any]) -> bytes:
    """Encode an object as one line, which ends in a newline.

    @raise UnicodeEncodeError: a string has a surrogate in it.
    """
    return f"{_encoder.encode(fields)}\n".encode()


# Requests


class BadRequest(Refusal):
    """A line that holds no request that can be carried out.

    @ivar do: the main word of its command; if there is none, the first 40 printable characters of
        its C{do}; empty if it has none.
    @ivar label: its label; empty if it has no valid one.
    """

    def __init__(self, refusal: Refusal, do: str = "", label: str = "") -> None:
        super().__init__(refusal.code, refusal.text)
        self.do = do
        self.label = label


def is_request(line: bytes) -> bool:
    """Tell whether a line is meant as a request: a brace is its first character but for spaces."""
    return line.removeprefix(_BOM).lstrip(b" ").startswith(b"{")


def looks_like_request(text: str) -> bool:
    """Tell whether a typed line looks like a request, so that it must not be said: a brace is the
    first character of it that can be seen. A line with a word joiner in front of it is said.
    """
    return unindented(text).startswith("{") and not text.startswith(LITERALLY)


def encode_request(request: Request) -> bytes:
    """Encode a request as one line, which ends in a newline.

    @raise Refusal: C{too-long}; C{bad-encoding} if it has half of a surrogate pair in it.
    """
    label = {"label": request.label} if request.label else {}
    try:
        line = encode({"do": request.do, **request.fields, **label})
    except UnicodeEncodeError:
        raise _not_text() from None
    if len(line) > MAX_REQUEST + 1:
        raise _too_long(len(line) - 1)
    return line


def decode_request(line: bytes) -> Request:
    """Read the request in a line, and check every field of it.

    @param line: without its end.
    @raise BadRequest: C{too-long}, C{bad-encoding}, C{bad-arguments}, C{unknown-command}.
    """
    if len(line) > MAX_REQUEST:
        raise BadRequest(_too_long(len(line)))
    try:
        fields, repeated = _loaded(line.removeprefix(_BOM).decode())
    except UnicodeError:
        raise BadRequest(_not_text()) from None
    except json.JSONDecodeError as error:
        what = f"that is not JSON: {error.msg} (character {error.pos + 1})"
        raise BadRequest(_bad(printable(what))) from None
    except (ValueError, RecursionError):
        raise BadRequest(_bad("that is not JSON, or too large or too deep")) from None
    do = fields.pop("do", None)
    named = printable(do)[:40] if isinstance(do, str) else ""
    label = ""
    try:
        if "label" in fields:
            label = _label(fields.pop("label"))
        if repeated:
            raise _bad(f'the field "{printable(repeated[0])[:40]}" is given twice')
        if not isinstance(do, str):
            raise _bad('a request needs a field "do", a string that names the command')
        command = commands.requested(do)
        named = command.word
        _check(command, fields)
    except Refusal as refusal:
        raise BadRequest(refusal, named, label) from None
    return Request(command.word, fields, label)


def _loaded(text: str) -> tuple[Fields, list[str]]:
    """Parse an object; gives it without the fields that stand there twice, and their names.

    @raise ValueError: it is not JSON; L{json.JSONDecodeError} if it is known where.
    @raise RecursionError: it is nested too deep.
    @raise UnicodeEncodeError: it has half of a surrogate pair in it.
    """
    repeated: list[str] = []

    def once(pairs: list[tuple[str, Any]]) -> Fields:
        fields = dict(pairs)
        if len(fields) < len(pairs):
            count = Counter(name for name, _ in pairs)
            repeated.extend(name for name in fields if count[name] > 1)
            fields = {name: value for name, value in fields.items() if count[name] == 1}
        return fields

    loaded = json.loads(text, object_pairs_hook=once)
    if not isinstance(loaded, dict):
        raise ValueError("no object")
    if "\\u" in text:
        encode(loaded)
    return loaded, repeated


def _label(label: object) -> str:
    if isinstance(label, str) and _LABEL.fullmatch(label):
        return label
    raise _bad('"label" must be 1 to 64 printable ASCII characters without spaces')


def _check(command: Command, fields: Fields) -> None:
    """Check the fields of a request for a command.

    @raise Refusal: C{bad-arguments}, for the first that is unknown, of a wrong type or missing.
    """
    known = {parameter.name: parameter for parameter in command.parameters}
    for name, value in fields.items():
        if name not in known:
            near = names.nearest(name, known)
            way = f'did you mean "{near}"?' if near else _fields_of(command)
            raise _bad(f'"{command.word}" has no field "{printable(name)[:40]}"; {way}')
        fits, what = _TYPES[known[name].kind]
        if not fits(value):
            raise _bad(f'"{name}" of "{command.word}" must be {what}')
        if known[name].kind is Kind.PLACES:
            commands.refuse_places(value)
    for parameter in command.parameters:
        if not parameter.optional and parameter.name not in fields:
            raise _bad(f'"{command.word}" needs "{parameter.name}"')


def _fields_of(command: Command) -> str:
    known = ", ".join(f'"{parameter.name}"' for parameter in command.parameters)
    return f"it has {known or 'none'}"


def _is_string(value: object) -> bool:
    return isinstance(value, str)


def _is_word(value: object) -> bool:
    return _is_string(value) and value != ""


def _is_integer(value: object, most: int) -> bool:
    return type(value) is int and 0 <= value <= most


def _is_places(value: object) -> bool:
    return isinstance(value, dict) and all(
        _is_integer(each, commands.MOST_SEQ) for each in value.values()
    )


_TYPES: dict[Kind, tuple[Callable[[object], bool], str]] = {
    Kind.WORD: (_is_word, "a string that is not empty"),
    Kind.PERSON: (_is_string, "a string"),
    Kind.SECRET: (_is_string, "a string"),
    Kind.TEXT: (_is_string, "a string"),
    Kind.PLACE: (_is_word, "a string: a room, or @ and a name"),
    Kind.COUNT: (lambda value: _is_integer(value, commands.MOST_COUNT), "an integer from 0"),
    Kind.FLAG: (lambda value: isinstance(value, bool), "true or false"),
    Kind.SWITCH: (lambda value: value in ("on", "off"), '"on" or "off"'),
    Kind.PLACES: (_is_places, 'an object of integers from 0, such as {"dev":14,"@bob":3}'),
}


def _bad(text: str) -> Refusal:
    return Refusal("bad-arguments", text)


def _too_long(size: int) -> Refusal:
    text = f"a request may have at most {MAX_REQUEST:,} bytes; that one has {size:,}"
    return Refusal("too-long", text)


def _not_text() -> Refusal:
    return Refusal("bad-encoding", "that request is not UTF-8, or has half of a surrogate pair")


# Events

_EVERY = {"time": (str, None), "room": (str, None), "label": (str, None)}

_ROOM: Fields = {"room": str, "members": int, "topic": (str, None)}
_NEWS: Fields = {"seq": int, "read": int, "new": int, "more": bool}

FIELDS: dict[str, Fields] = {
    "hello": {"protocol": int, "server": str, "session": (str, None), "keepalive": (int, None)},
    "welcome": {"name": str, "account": bool, "room": str},
    "motd": {"lines": [str]},
    "message": {
        "id": int,
        "room": str,
        "seq": int,
        "from": str,
        "text": str,
        "action": bool,
        "replay": bool,
    },
    "dm": {
        "id": (int, None),
        "seq": (int, None),
        "from": str,
        "to": str,
        "text": str,
        "replay": bool,
    },
    "away": {"name": str, "kept": bool},
    "not-kept": {},
    "unread": {"count": int, "more": bool},
    "history": {"room": str, "count": int, "after": (int, None), "seq": (int, None)},
    "omitted": {},
    "joined": {
        "name": (str, None),
        "account": (bool, None),
        "count": (int, None),
        "room": str,
    },
    "left": {"name": (str, None), "count": (int, None), "room": str},
    "crowd": {"room": str, "count": int},
    "talking": {"room": str},
    "renamed": {"name": str, "to": str, "account": bool},
    "topic": {
        "room": str,
        "topic": str,
        "from": (str, None),
        "seq": (int, None),
        "replay": (bool, None),
    },
    "members": {
        "room": str,
        "seq": int,
        "count": int,
        "members": [{"name": str, "role": (str, None)}],
        "replay": bool,
    },
    "read": {"room": str, "seq": int},
    "users": {"room": str, "users": [{"name": str, "account": bool}]},
    "rooms": {
        "joined": (bool, None),
        "rooms": [_ROOM | {name: (kind, None) for name, kind in _NEWS.items()}],
    },
    "where": {"room": str, "rooms": [_ROOM | _NEWS]},
    "help": {"commands": [{"usage": str, "also": [str], "text": str}]},
    "skipped": {"lines": int},
    "done": {
        "label": str,
        "room": (str, None),
        "seq": (int, None),
        "to": (str, None),
        "id": (int, None),
    },
    "error": {
        "code": str,
        "text": str,
        "command": str,
        "room": (str, None),
        "name": (str, None),
        "nearest": (str, None),
        "limit": (int, None),
    },
    "notice": {"text": str},
    "ping": {},
    "bye": {"text": str},
}
"""The fields of each event, besides C{event}, C{time} and C{label}, and their types. A tuple lists
the types that a value may have; if L{None} is one of them, the field may be missing."""


def objects(event: e.Event) -> Iterator[Fields]:
    """Give the objects that an event is told as: most events are one."""
    return _OBJECTS[type(event)](event)


def hello(time: int, server: str, session: str, keepalive: int) -> Fields:
    """Give the first object of a JSON session.

    @param session: the token by which another session can take this one over; see C{since}.
    @param keepalive: seconds between signs of life; 0: there are none.
    """
    return {
        "event": "hello",
        "time": rfc3339(time),
        "protocol": PROTOCOL,
        "server": server,
        "session": session,
        "keepalive": keepalive,
    }


def rfc3339(time: int) -> str:
    """Write a time, in UTC milliseconds, as RFC 3339 has it."""
    moment = datetime.fromtimestamp(time / 1000, timezone.utc)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


_Make = Callable[[Any], Iterator[Fields]]


def _one(kind: str, *values: str | Callable[[Any], Any]) -> _Make:
    """Make the function that turns an event into its one object.

    @param values: for each of the kind's L{FIELDS}, in order, the attribute of the event that has
        its value, or a function that gets it.
    """
    getters = {
        name: attrgetter(value) if isinstance(value, str) else value
        for name, value in zip(FIELDS[kind], values, strict=True)
    }

    def make(event: Any) -> Iterator[Fields]:
        fields = {"event": kind, "time": rfc3339(event.time)}
        for name, get in getters.items():
            fields[name] = get(event)
        yield fields

    return make


def _said(event: e.Said) -> Iterator[Fields]:
    entry = event.message
    fields = {
        "event": "message",
        "time": rfc3339(entry.time),
        "id": entry.id,
        "room": entry.room.name,
        "seq": entry.seq,
        "from": entry.author,
        "text": entry.text,
        "action": entry.kind == ACTION,
        "replay": event.replay,
    }
    yield _labelled(fields, event.label)


def _told(event: e.Told) -> Iterator[Fields]:
    message = event.message
    id, seq = (message.id, message.seq) if isinstance(message, Entry) else (None, None)
    fields = {
        "event": "dm",
        "time": rfc3339(message.time),
        "id": id,
        "seq": seq,
        "from": message.author,
        "to": message.recipient,
        "text": message.text,
        "replay": event.replay,
    }
    yield _labelled(fields, event.label)


def _topic(event: e.Topic) -> Iterator[Fields]:
    entry = event.entry
    fields: Fields = {
        "event": "topic",
        "time": rfc3339(event.time if entry is None else entry.time),
        "room": event.room,
        "topic": event.topic,
        "from": event.by,
    }
    if entry is not None:
        fields |= {"seq": entry.seq, "replay": event.replay}
    yield fields


def _history(event: e.History) -> Iterator[Fields]:
    for shown in event.shown:
        yield from objects(shown)  # one for each
    yield from _end_of_history(event)


def _joined(event: e.Joined) -> Iterator[Fields]:
    told = {"event": "joined", "time": rfc3339(event.time)}
    if len(event.people) > MOST_NAMED:
        yield {**told, "count": len(event.people), "room": event.room}
        return
    for name, account in event.people:
        yield {**told, "name": name, "account": account, "room": event.room}


def _left(event: e.Left) -> Iterator[Fields]:
    told = {"event": "left", "time": rfc3339(event.time)}
    if len(event.names) > MOST_NAMED:
        yield {**told, "count": len(event.names), "room": event.room}
        return
    for name in event.names:
        yield {**told, "name": name, "room": event.room}


def _refused(event: e.Refused) -> Iterator[Fields]:
    told: Fields = {"event": "error", "time": rfc3339(event.time)}
    told |= {"code": event.code, "text": event.text, "command": event.command}
    yield _labelled({**told, **event.fields}, event.label)


def _done(event: e.Done) -> Iterator[Fields]:
    fields: Fields = {"event": "done", "time": rfc3339(event.time), "label": event.label}
    if event.room:
        fields |= {"room": event.room, "seq": event.seq, "id": event.id}
    elif event.to:
        fields |= {"to": event.to, "seq": event.seq or None, "id": event.id}
    yield fields


def _answer(event: e.Answer) -> Iterator[Fields]:
    for fields in objects(event.event):
        yield fields if fields["event"] in _LABELLED_BY_AUTHOR else {**fields, "label": event.label}


def _labelled(fields: Fields, label: str) -> Fields:
    return {**fields, "label": label} if label else fields


def _people(event: e.Users) -> list[Fields]:
    return [{"name": name, "account": account} for name, account in event.people]


def _rooms(event: e.Rooms) -> Iterator[Fields]:
    rows = [
        {"room": room, "members": members, "topic": topic} for room, members, topic in event.rooms
    ]
    yield {"event": "rooms", "time": rfc3339(event.time), "rooms": rows}


def _back(event: e.Back) -> Iterator[Fields]:
    told = {"event": "rooms", "time": rfc3339(event.time)}
    yield {**told, "joined": True, "rooms": _places(event)}


def _places(event: e.Back | e.Where) -> list[Fields]:
    return [
        {
            "room": place.room,
            "members": place.people,
            "topic": place.topic,
            "seq": place.seq,
            "read": place.read,
            "new": place.new,
            "more": place.more,
        }
        for place in event.places
    ]


def _standings(event: e.Members) -> list[Fields]:
    if len(event.standings) > MOST_NAMED:
        return []
    return [{"name": each.account.name, "role": each.role} for each in event.standings]


def _commands(event: e.Help) -> list[Fields]:
    return [
        {"usage": entry.usage, "also": entry.also, "text": entry.summary} for entry in event.entries
    ]


_LABELLED_BY_AUTHOR = frozenset({"message", "dm"})
"""Events whose label is always that which their author gave the post, also if they are part of the
answer to a request."""

_end_of_history = _one("history", "of", lambda event: len(event.shown), "after", "seq")

_OBJECTS: dict[type, _Make] = {
    e.Welcome: _one("welcome", "name", "account", "room"),
    e.Motd: _one("motd", "lines"),
    e.Said: _said,
    e.Told: _told,
    e.Joined: _joined,
    e.Left: _left,
    e.Renamed: _one("renamed", "name", "to", "account"),
    e.Topic: _topic,
    e.Members: _one(
        "members", "room", "seq", lambda event: len(event.standings), _standings, "replay"
    ),
    e.Read: _one("read", "of", "seq"),
    e.Users: _one("users", "room", _people),
    e.Crowd: _one("crowd", "room", "count"),
    e.Rooms: _rooms,
    e.Back: _back,
    e.Where: _one("where", "room", _places),
    e.History: _history,
    e.Unread: _one("unread", "count", "more"),
    e.Omitted: _one("omitted"),
    e.Away: _one("away", "name", "kept"),
    e.NotKept: _one("not-kept"),
    e.Talking: _one("talking", "room"),
    e.Help: _one("help", _commands),
    e.Skipped: _one("skipped", "lines"),
    e.Refused: _refused,
    e.Done: _done,
    e.Answer: _answer,
    e.Notice: _one("notice", "text"),
    e.Ping: _one("ping"),
    e.Bye: _one("bye", "text"),
}


def decode_event(line: bytes) -> Fields | None:
    """Read the event in a line, with every string in it safe to show.

    @return: L{None} if there is none, or one that is not as L{FIELDS} has it.
    """
    if not line.startswith(b"{"):
        return None
    try:
        fields = _safe(json.loads(line.decode()), _DEEPEST)
    except (ValueError, RecursionError):
        return None
    kind = fields.get("event")
    if not isinstance(kind, str):
        return None
    return fields if _fits(fields, _EVERY | FIELDS.get(kind, {})) else None


def _fits(value: Any, wanted: Any) -> bool:
    """Tell whether a value is of a type, of one of several, or a list or an object of such."""
    if isinstance(wanted, dict):
        return isinstance(value, dict) and all(_fits(value.get(n), wanted[n]) for n in wanted)
    if isinstance(wanted, list):
        return isinstance(value, list) and all(_fits(each, wanted[0]) for each in value)
    if isinstance(wanted, tuple):
        return any(_fits(value, each) for each in wanted)
    if wanted is int:
        return type(value) is int and value >= 0
    return value is None if wanted is None else type(value) is wanted


def safe(text: str) -> str:
    """Give a text without anything that a terminal acts on or that reorders the text around it."""
    if text.isascii() and text.isprintable():
        return text
    try:
        return clean(text)
    except Refusal:
        return clean(printable(text))


def _safe(value: Any, depth: int) -> Any:
    """Make every string in a value safe.

    @raise ValueError: it is nested deeper than this, or has a number that is too large or none.
    """
    if isinstance(value, str):
        return safe(value)
    if isinstance(value, int | float) and not -_MOST <= value <= _MOST:
        raise ValueError("too large")
    if isinstance(value, dict | list) and not depth:
        raise ValueError("nested too deep")
    if isinstance(value, dict):
        return {safe(key): _safe(each, depth - 1) for key, each in value.items()}
    if isinstance(value, list):
        return [_safe(each, depth - 1) for each in value]
    return value
