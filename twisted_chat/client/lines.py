"""What a client writes and reads: words to lines, lines to events. No socket, no clock."""

import json
import re
from collections.abc import Callable, Iterable
from typing import Any

from twisted_chat.core import names
from twisted_chat.core.errors import Refusal
from twisted_chat.core.text import clean, printable
from twisted_chat.protocol.grammar import (
    LITERALLY,
    MAX_LINE,
    Command,
    Speech,
    is_secret,
    is_slip,
    parse,
)

LOBBY = "lobby"
"""The room that everyone is in."""

Event = dict[str, Any]
"""What a server told, as C{docs/protocol.md} has it."""

_PLACES = 20
"""Places that /since takes at once; they fit into a line, as a room's name is 32 characters."""

_PLAIN = re.compile(r'[^\s/!"{].*')
_ENDS = re.compile(r"[\r\n\x04]")

OWN = frozenset({"connected", "disconnected", "reconnecting", "gap"})
"""Events that the client tells, and no server."""

_EVERY = {"time": (str, None), "room": (str, None)}

# What events have: a field that is missing is None, and a tuple has what it may be.
_FIELDS: dict[str, dict[str, Any]] = {
    "welcome": {"name": str, "account": bool, "room": str},
    "message": {
        "id": int,
        "room": str,
        "seq": int,
        "from": str,
        "text": str,
        "action": bool,
        "replay": bool,
    },
    "dm": {"id": (int, None), "from": str, "to": str, "text": str, "replay": bool},
    "history": {"room": str, "count": int},
    "joined": {"room": str, "name": (str, None), "count": (int, None)},
    "left": {"room": str, "name": (str, None), "count": (int, None)},
    "renamed": {"name": str, "to": str},
    "topic": {"room": str, "topic": str, "from": (str, None)},
    "users": {"room": str, "users": [{"name": str, "account": bool}]},
    "rooms": {"rooms": [{"room": str, "members": int, "topic": (str, None)}]},
    "help": {"commands": [{"usage": str, "also": [str], "text": str}]},
    "skipped": {"lines": int},
    "error": {"code": str, "text": str, "command": str},
    "motd": {"lines": [str]},
    "unread": {"count": int, "more": bool},
    "omitted": {"of": str, "later": bool},
    "away": {"name": str, "kept": bool},
    "not-kept": {},
    "crowd": {"room": str, "count": int},
    "talking": {"room": str},
    "notice": {"text": str},
    "bye": {"text": str},
}
for _fields in _FIELDS.values():
    _fields.update(_EVERY | _fields)

_MOST = 2**63 - 1
_DEEPEST = 20
"""How deep the values of an event may be nested."""


class Refused(Exception):
    """What was asked for was not done.

    @ivar code: one of the protocol's error codes, or C{lost}: the connection was lost, and it
        cannot be known whether it was done.
    @ivar text: a sentence for people; safe to show.
    """

    def __init__(self, code: str, text: str) -> None:
        super().__init__(code, text)
        self.code = code
        self.text = text

    def __str__(self) -> str:
        return self.text


def sayable(text: str) -> str:
    """The text as the server will have it.

    @raise Refused: C{bad-encoding}, C{bad-arguments} when there is nothing left to say.
    """
    cleaned = _checked(clean, text)
    if not cleaned:
        raise Refused("bad-arguments", "there is nothing in that to say")
    return cleaned


def person(raw: str) -> str:
    """The name as a server spells it.

    @raise Refused: C{bad-name}.
    """
    return _checked(names.canonical, raw)


def room(raw: str) -> str:
    """The name of a room as a server spells it.

    @raise Refused: C{bad-name}.
    """
    return _checked(names.room, raw)


def _checked(check: Callable[[str], str], text: str) -> str:
    try:
        return check(text)
    except Refusal as refusal:
        raise Refused(refusal.code, refusal.text) from None


def message(line: str) -> str:
    """The text of a line that somebody typed to have it said.

    @raise Refused: C{bad-arguments}, if it is a command, or looks like one with a password.
    """
    parsed = parse(line)
    if isinstance(parsed, Command):
        raise _not_said(f"the command {parsed.typed}")
    if is_slip(line):
        raise _not_said("a command with a password")
    return parsed.text


def _not_said(what: str) -> Refused:
    way = "in double quotes it is said"
    return Refused("bad-arguments", f"that looks like {what}, so it was not said; {way}")


def would_tell_password(line: str) -> bool:
    """Whether saying this line as it is would tell everybody a password, as far as can be seen."""
    return is_slip(line) or (isinstance(parse(line), Command) and is_secret(line))


def waiting(typed: Iterable[str], most: int) -> list[str]:
    """The last of the lines that wait to be sent, without those that hold a password."""
    return [line for line in typed if line and not would_tell_password(line)][-most:]


def literally(text: str) -> str:
    """A text that the server takes for neither a command nor something quoted."""
    is_plain = _PLAIN.fullmatch(text) and parse(text) == Speech(text)
    return text if is_plain else LITERALLY + text


def word(text: str) -> str:
    """A name or a password as one word of a command.

    @raise Refused: C{bad-password}, if it cannot be one.
    """
    if not (text.startswith(('"', "--")) or re.search(r"\s", text)) and text:
        return text
    if '"' in text or not text:
        raise Refused(
            "bad-password",
            "an empty password, one with both spaces and double quotes,"
            " or one that begins with a double quote can be typed at the prompt only",
        )
    return f'"{text}"'


def packed(command: str, parameters: list[str]) -> list[str]:
    """The command with all the parameters, in as many lines as it takes."""
    return [
        " ".join([command, *parameters[i : i + _PLACES]])
        for i in range(0, len(parameters), _PLACES)
    ]


def fits(line: str) -> str:
    """The line, if the server takes such a one.

    @raise Refused: C{too-long}, C{bad-encoding}.
    """
    if _ENDS.search(line):
        raise Refused("bad-encoding", "that is more than one line")
    size = len(line.encode())
    if size > MAX_LINE:
        raise Refused("too-long", f"a line has at most {MAX_LINE} bytes; that one has {size}")
    return line


def event(line: bytes) -> Event | None:
    """Read the event in a line, with every string in it safe to show.

    @return: L{None} if it has none, or one that is not as the protocol has it: which lacks a field,
        has a number that is none, or the name of one of the client's own.
    """
    if not line.startswith(b"{"):
        return None
    try:
        fields = _safe(json.loads(line), _DEEPEST)
    except (ValueError, RecursionError):
        return None
    kind = fields.get("event")
    if not isinstance(kind, str) or kind in OWN:
        return None
    return fields if _fits(fields, _FIELDS.get(kind, _EVERY)) else None


def _fits(value: Any, wanted: Any) -> bool:
    """Whether a value is of a type, of one of several, or a list or an object of such."""
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
    """Text without anything that a terminal would act on, or that reorders what is around it."""
    if text.isascii() and text.isprintable():
        return text
    try:
        return clean(text)
    except Refusal:
        return clean(printable(text))


def _safe(value: Any, depth: int) -> Any:
    """
    @raise ValueError: if it is nested deeper than this, or has a number that is too large or none.
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
