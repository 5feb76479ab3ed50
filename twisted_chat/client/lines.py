"""What a client says, and what it is told. No socket, no clock."""

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from twisted_chat.core import names
from twisted_chat.core.errors import Refusal
from twisted_chat.core.text import clean
from twisted_chat.protocol.commands import Request
from twisted_chat.protocol.grammar import Command, is_secret, is_slip, parse, request
from twisted_chat.protocol.jsonlines import decode_event

LOBBY = "lobby"
"""The room that everyone is in."""

Event = dict[str, Any]
"""An event, as C{docs/protocol.md} has it. Messages have the client's own field C{new}: whether the
message came since the client is there, and not before or because it was asked for. An answer to
something that nobody typed has the field C{quiet}."""

UNREAD = "@"
"""Stands for the unread private messages where a place could stand."""

OWN = frozenset({"connected", "disconnected", "reconnecting", "paused", "gap"})
"""Events that the client tells, and never the server."""

_OWN_FIELDS = ("new", "quiet")


class Refused(Exception):
    """A request was not carried out.

    @ivar code: one of the protocol's error codes, or C{lost}: the connection was lost, so that
        it is not known whether the request was carried out.
    @ivar text: a sentence for people; safe to show.
    """

    def __init__(self, code: str, text: str) -> None:
        super().__init__(code, text)
        self.code = code
        self.text = text

    def __str__(self) -> str:
        return self.text


_Given = TypeVar("_Given")
_Made = TypeVar("_Made")


def checked(check: Callable[[_Given], _Made], given: _Given) -> _Made:
    """Call a function of the core or the protocol.

    @raise Refused: where it raises L{Refusal}.
    """
    try:
        return check(given)
    except Refusal as refusal:
        raise Refused(refusal.code, refusal.text) from None


def sayable(text: str) -> str:
    """Give the text as the server will have it.

    @raise Refused: C{bad-encoding}, C{bad-arguments} when there is nothing left to say.
    """
    cleaned = checked(clean, text)
    if not cleaned:
        raise Refused("bad-arguments", "that message is empty")
    return cleaned


def person(raw: str) -> str:
    """Give the name as a server spells it.

    @raise Refused: C{bad-name}.
    """
    return checked(names.canonical, raw)


def room(raw: str) -> str:
    """Give the name of a room as a server spells it.

    @raise Refused: C{bad-name}.
    """
    return checked(names.room, raw)


def message(line: str) -> str:
    """Give the text that a typed line says.

    @raise Refused: C{bad-arguments}, if the line is a command, or looks like one with a password.
    """
    parsed = parse(line)
    if isinstance(parsed, Command):
        raise _not_said(f"the command {parsed.typed}")
    if is_slip(line):
        raise _not_said("a command with a password")
    return parsed.text


def typed(called: Command) -> Request:
    """Read a typed command.

    @return: a request for nothing if it is wrong: it is refused when it is carried out.
    """
    try:
        return request(called)
    except Refusal:
        return Request("", {})


def _not_said(what: str) -> Refused:
    sentence = f"that looks like {what}; to say it, put it in double quotes"
    return Refused("bad-arguments", sentence)


def would_tell_password(line: str) -> bool:
    """Tell whether a line looks as if saying it would publish a password."""
    return is_slip(line) or (isinstance(parse(line), Command) and is_secret(line))


def waiting(typed: Iterable[str], most: int) -> list[str]:
    """Give the last of the lines that wait to be sent, without those that hold a password.

    @param most: how many, at most.
    """
    return [line for line in typed if line and not would_tell_password(line)][-most:]


def conversation(dm: Event, us: str) -> str:
    """Give the place of a private message, for the person of this name."""
    return f"@{dm['to'] if dm['from'] == us else dm['from']}"


def event(line: bytes) -> Event | None:
    """Read the event in a line, with every string in it safe to show.

    @return: L{None} if there is none, or one that is not as the protocol has it, or that has the
        name of one of the client's own.
    """
    fields = decode_event(line)
    if fields is None or fields["event"] in OWN:
        return None
    for name in _OWN_FIELDS:
        fields.pop(name, None)
    return fields
