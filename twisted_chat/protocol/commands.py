"""The table of commands: words, parameters, cost and help. Typed lines, JSON requests and the
documentation all follow it."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

from twisted_chat.core import names
from twisted_chat.core.errors import Refusal
from twisted_chat.core.events import HelpEntry
from twisted_chat.core.text import printable


class Kind(Enum):
    """What values a parameter takes."""

    WORD = auto()
    """A string; typed, one word or a text in double quotes."""

    PERSON = auto()
    """The same; typed, it may stand between C{@} and C{:} or C{,}, as in C{@bob:}."""

    SECRET = auto()
    """The same, with a password in it; a person who leaves it out is asked for it."""

    TEXT = auto()
    """A string; typed, the rest of the line."""

    COUNT = auto()
    """An integer from 0 to L{MOST_COUNT}."""

    PLACE = auto()
    """The name of a room, or of a person behind an C{@}."""

    FLAG = auto()
    """A boolean; typed, it is true if the word of its usage is there, without quotes."""

    SWITCH = auto()
    """C{on} or C{off}; typed in upper or lower case."""

    PLACES = auto()
    """Up to L{MOST_PLACES} places as in C{PLACE}, each with an integer from 0 to L{MOST_SEQ};
    typed, the rest of the line, which gives the field C{session} too."""


MOST_COUNT = 10**10 - 1
MOST_SEQ = 10**18 - 1
MOST_PLACES = 20


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a command.

    @ivar name: its field in a JSON request.
    @ivar kind: what values it takes.
    @ivar usage: how help shows it, in brackets if a typed line may leave it out; empty if it cannot
        be typed.
    @ivar optional: a JSON request may leave it out.
    """

    name: str
    kind: Kind
    usage: str = ""
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Command:
    """One row of the table.

    @ivar word: its main word, without a slash; typed, a word that begins with a capital stands
        alone on the line.
    @ivar also: other words for it.
    @ivar summary: what it does, in a few words for people.
    @ivar anyone: it may be called before login.
    @ivar posts: it goes through the log, which keeps its order with what was said before; any
        other command waits until what was said before it is in the log.
    @ivar private: what it says is for one person.
    @ivar cost: how many lines it counts as.
    @ivar instead: the command that does the same without asking, for one that asks for all that it
        needs; otherwise empty.
    @ivar slip: the way out for people who take it for another command; most have none.
    @ivar in_text: it can be typed.
    @ivar in_json: it can be called by a JSON request.
    """

    word: str
    also: tuple[str, ...]
    parameters: tuple[Parameter, ...]
    summary: str
    anyone: bool = False
    posts: bool = False
    private: bool = False
    cost: int = 1
    instead: str = ""
    slip: str = ""
    in_text: bool = True
    in_json: bool = True

    @property
    def words(self) -> tuple[str, ...]:
        """The main word and all others."""
        return (self.word, *self.also)

    @property
    def synopsis(self) -> str:
        """The command as it is typed, with its parameters."""
        slash = "" if self.word[0].isupper() else "/"
        usages = (parameter.usage for parameter in self.parameters if parameter.usage)
        return " ".join([f"{slash}{self.word}", *usages])

    @property
    def entry(self) -> HelpEntry:
        """The command as help shows it."""
        return HelpEntry(self.synopsis, tuple(f"/{word}" for word in self.also), self.summary)

    @property
    def has_secret(self) -> bool:
        """Whether a password is one of the parameters."""
        return any(parameter.kind is Kind.SECRET for parameter in self.parameters)

    @property
    def incomplete(self) -> Refusal:
        """The refusal of a request that lacks what a person would be asked for."""
        if self.instead:
            return BY_WORD[self.instead].misused
        synopsis = self.synopsis
        for parameter in self.parameters:
            if not parameter.optional:
                synopsis = synopsis.replace(parameter.usage, parameter.usage.strip("[]"))
        return Refusal("bad-arguments", f"usage: {synopsis}")

    @property
    def misused(self) -> Refusal:
        """The refusal of a typed line whose parameters are wrong."""
        slip = f"; {self.slip}" if self.slip else ""
        return Refusal("bad-arguments", f"usage: {self.synopsis}{slip}")


@dataclass(frozen=True, slots=True)
class Request:
    """A command with the values of its parameters, typed or from a JSON object.

    @ivar do: the main word of the command.
    @ivar fields: parameter name to value, for each parameter that was given.
    @ivar label: comes back with the answer; empty if there is none.
    @ivar typed: the command as it stood on the typed line, for sentences about it; empty for a JSON
        request, which is complete: nothing that it lacks is asked for.
    """

    do: str
    fields: Mapping[str, Any]
    label: str = ""
    typed: str = field(default="", compare=False)

    @property
    def is_complete(self) -> bool:
        """Whether it has all that its command needs, so that a person need not be asked."""
        command = BY_WORD[self.do]
        return not command.instead and all(
            parameter.optional or parameter.name in self.fields for parameter in command.parameters
        )


_NAME = Parameter("name", Kind.WORD, "NAME")
_MESSAGE = Parameter("message", Kind.TEXT, "MESSAGE")
_ROOM_OR_CURRENT = Parameter("room", Kind.WORD, "[ROOM]", optional=True)
_ROOM_IN_JSON = Parameter("room", Kind.WORD, optional=True)
_PLACE_OR_CURRENT = Parameter("of", Kind.PLACE, "[ROOM or @NAME]", optional=True)

COMMANDS: Sequence[Command] = (
    Command(
        "help",
        ("?",),
        (Parameter("command", Kind.WORD, "[COMMAND]", optional=True),),
        "list commands, or show one",
        anyone=True,
    ),
    Command(
        "register",
        (),
        (_NAME, Parameter("password", Kind.SECRET, "[PASSWORD]")),
        "register a name and log in",
        anyone=True,
    ),
    Command(
        "login",
        (),
        (_NAME, Parameter("password", Kind.SECRET, "[PASSWORD]")),
        "log in",
        anyone=True,
    ),
    Command(
        "guest",
        (),
        (Parameter("name", Kind.WORD, "[NAME]", optional=True),),
        "join without a password",
        anyone=True,
    ),
    Command("users", ("who",), (_ROOM_OR_CURRENT,), "list who is here", cost=2),
    Command(
        "dm",
        ("msg", "tell", "w", "whisper", "query"),
        (Parameter("name", Kind.PERSON, "NAME"), _MESSAGE),
        "send a private message",
        posts=True,
        private=True,
    ),
    Command(
        "r",
        (),
        (_MESSAGE,),
        "answer the last private message",
        posts=True,
        private=True,
    ),
    Command(
        "bc",
        ("broadcast",),
        (_MESSAGE,),
        "say something in the lobby, to everyone",
        posts=True,
    ),
    Command(
        "say",
        (),
        (Parameter("room", Kind.WORD, "ROOM", optional=True), _MESSAGE),
        "say something in a room that you are in",
        posts=True,
    ),
    Command(
        "join",
        (),
        (Parameter("room", Kind.WORD, "ROOM"),),
        "join or make a room, and talk there",
        cost=2,
    ),
    Command(
        "to",
        (),
        (Parameter("room", Kind.WORD, "ROOM"),),
        "talk in a room that you are in",
        slip="/say ROOM MESSAGE says something there",
    ),
    Command("where", (), (), "show where you talk and what is new", cost=5),
    Command("leave", ("part",), (_ROOM_OR_CURRENT,), "leave a room"),
    Command("rooms", (), (), "list rooms", cost=2),
    Command(
        "topic",
        (),
        (_ROOM_IN_JSON, Parameter("text", Kind.TEXT, "[TEXT]", optional=True)),
        "show or set the topic of the room",
    ),
    Command(
        "me",
        (),
        (_ROOM_IN_JSON, Parameter("action", Kind.TEXT, "ACTION")),
        "say what you do: /me waves",
        posts=True,
    ),
    Command(
        "history",
        (),
        (
            Parameter("count", Kind.COUNT, "[N]", optional=True),
            _PLACE_OR_CURRENT,
        ),
        "show earlier messages",
        cost=5,
    ),
    Command(
        "read",
        (),
        (_PLACE_OR_CURRENT, Parameter("seq", Kind.COUNT, optional=True)),
        "mark messages as read",
    ),
    Command(
        "since",
        (),
        (
            Parameter("places", Kind.PLACES, "ROOM=SEQ @NAME=SEQ..."),
            Parameter("session", Kind.WORD, optional=True),
        ),
        "show what was missed, for programs",
        anyone=True,
    ),
    Command("nick", (), (_NAME,), "change your name as a guest"),
    Command(
        "passwd",
        (),
        (
            Parameter("keep", Kind.FLAG, "[--keep]", optional=True),
            Parameter("old", Kind.SECRET, "[OLD]"),
            Parameter("new", Kind.SECRET, "[NEW]"),
        ),
        "change your password; ends other sessions",
    ),
    Command(
        "json",
        (),
        (Parameter("switch", Kind.SWITCH, "on|off"),),
        "JSON Lines, for programs",
        anyone=True,
    ),
    Command("quit", ("logout", "exit", "bye"), (), "leave the chat", anyone=True),
    Command("PM", (), (), "alone: asks for a message to everyone", instead="bc", in_json=False),
    Command("DM", (), (), "alone: asks for a person and a message", instead="dm", in_json=False),
    Command("EX", (), (), "alone: leave the chat; so does exit", anyone=True, in_json=False),
    Command(
        "type",
        (),
        (Parameter("line", Kind.TEXT),),
        "do what typing the line would",
        anyone=True,
        in_text=False,
    ),
)

# Words that are always refused, and the way out that the refusal names.
_REFUSED = {
    # Private in other chats, while PM alone on a line tells everyone in this one.
    "pm": "/dm NAME MESSAGE is private, /bc MESSAGE is public",
}

# Commands of other chats: the nearest of ours would do something else than was meant.
_OF_OTHER_CHATS = """
    away ban banlist block close deop devoice ghost halfop ignore invite kick kickban kill links
    list lusers map mode mute names notice op oper ping silence squery stats time trace unban
    unblock unignore unmute voice wallops whois whowas
"""

_SIGN_IN = "auth id identify nickserv ns oper pass password pw pwd reg rgstr signin signup"
SIGN_IN = frozenset(_SIGN_IN.split())
"""Commands of other chats that take a password."""

BY_WORD: Mapping[str, Command] = {word: row for row in COMMANDS for word in row.words}
"""The row of each word, whether it can be typed or not."""

_TYPED: Mapping[str, Command] = {word: row for word, row in BY_WORD.items() if row.in_text}
_IN_JSON: Mapping[str, Command] = {word: row for word, row in BY_WORD.items() if row.in_json}

BARE_WORDS: Mapping[str, str] = {
    "exit": "exit",
    **{row.word.lower(): row.word for row in COMMANDS if row.word[0].isupper()},
}
"""Words that are commands alone on a line, without a slash, and how the table spells them."""

WITH_PASSWORD = tuple(word for row in COMMANDS if row.has_secret for word in row.words)
"""Words of the commands that take a password."""

_CONFIDENTIAL = tuple(
    word
    for row in COMMANDS
    if row.has_secret or row.private
    for word in row.words
    if len(word) > 1  # else every word of two letters would be near
)


def is_ours(word: str) -> bool:
    """Tell whether a word on a typed line is a command here, if only one that is always refused."""
    return word in _TYPED or word in _REFUSED


def confides(word: str) -> bool:
    """Tell whether what follows a word on a typed line, such as a misspelt command, may be a
    password or a private message."""
    return (
        word in SIGN_IN
        or word.startswith(WITH_PASSWORD)
        or names.nearest(word, _CONFIDENTIAL) is not None
    )


def find(typed: str, word: str) -> Command:
    """Find the command that a typed word calls.

    @param typed: the word as it stood on the line, with its slash, for the sentence.
    @param word: the same in lower case, without the slash.
    @raise Refusal: C{unknown-command}, with what may have been meant, or how to say the line.
    """
    command = _TYPED.get(word)
    if command is None:
        raise _unknown(typed, _way_out(typed, word))
    return command


def requested(word: str) -> Command:
    """Find the command that the C{do} of a JSON request names.

    @raise Refusal: C{unknown-command}, with what may have been meant.
    """
    command = _IN_JSON.get(word)
    if command is None:
        near = _nearest(word, _IN_JSON)
        raise _unknown(printable(word), f'did you mean "{near}"?' if near else '"help" lists them')
    return command


def refuse_places(places: Collection[str]) -> None:
    """Refuse too many places of a C{since}, and the C{@} alone of protocol version 1.

    @raise Refusal: C{bad-arguments}.
    """
    if len(places) > MOST_PLACES:
        sentence = f"that is more than {MOST_PLACES} places; resume the rest in another request"
        raise Refusal("bad-arguments", sentence)
    if "@" in places:
        sentence = '"@" stands before a name: resume each private conversation, as in @bob=3'
        raise Refusal("bad-arguments", sentence)


def _unknown(word: str, way_out: str) -> Refusal:
    return Refusal("unknown-command", f'there is no command "{word[:40]}"; {way_out}')


def _way_out(typed: str, word: str) -> str:
    if word in _REFUSED:
        return _REFUSED[word]
    if near := _nearest(word, _TYPED):
        return f"did you mean /{near}?"
    if typed.startswith("/") and len(typed) <= 40 and not confides(word):
        return f'/help lists them; to say it, type "/{typed} ..."'
    return "/help lists them"


def _nearest(word: str, words: Iterable[str]) -> str | None:
    if word in _OF_OTHER_CHATS.split():
        return None
    return names.nearest(word, (each for each in words if len(each) > 1))
