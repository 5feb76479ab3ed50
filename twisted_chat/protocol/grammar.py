"""The grammar of typed lines, for both ends. No socket, no clock."""

import difflib
import re
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from twisted_chat.core.text import printable, unindented, unquoted

from . import commands
from .commands import BARE_WORDS, SIGN_IN, WITH_PASSWORD, Kind, Parameter, Request, confides

MAX_LINE = 4096
"""Bytes in an incoming line, without its end."""

FIRST_WORDS = frozenset({"help", "quit", "bye", "logout"})
"""Commands that a newcomer may type without a slash, alone on a line. Later they are said."""

LITERALLY = "\u2060"
"""A word joiner: a line that begins with it is said as it is. Cleaning the text removes it."""

_LONGEST_WORD = max(map(len, {*BARE_WORDS, *FIRST_WORDS}))

_COMMAND = re.compile(r"(?:/|!(?=[^\W\d_]))(\S*)\s*(.*)", re.DOTALL)
_WORD = re.compile(r'(?:"(?P<quoted>[^"]*)"(?=\s|$)|(?P<word>\S+))\s*')
_RESUMED = re.compile(r"(.+)=([0-9]{1,18})")
_SESSION = "~="

_SECRET = (*WITH_PASSWORD, "password", "signin", "identify", "nickserv")
_NOT_SECRET = frozenset({"join", "logout", "nick"})  # though they look like one of those

# Words that show, after a word such as C{login}, that somebody talks about it: they are no names.
_TALK = """
    a and are as at broken button down fails failed for form from here in is it not now of on or
    page please screen server service site the to was with yourself
"""

# A command that was mistyped, so that it would be said: something stands before the slash, or there
# is no slash, or a 7, which has the slash above it on some keyboards. Without slash and 7 only what
# looks like a password shows that a command was meant.
_MISSED = re.compile(r"(?:\W*|\W*\w{1,2})[/!\\](\w+)\s(.*)|\W*[/!\\]\s+(\w+)\s(.*)")
_BARE = re.compile(r"(\W*7?)(login|register|passwd|signin|(?:(?:ns|nickserv)\s+)?identify)\s(.*)")

_STOPS = ".,:;!?)\u2026"
_LONG_INDENT = re.compile(r"\W+(?=\W{20})")

_LIKELY = 8
"""Letters that a word of nothing but letters has at least to be taken for a password."""

_LOOKED_AT = 200
"""Characters of a line that are searched for a password. Folding can turn one into eighteen."""

# What the keys of an English keyboard write in other layouts. These also move the slash, so that a
# C{/login} typed blind would be said.
_LAYOUTS = str.maketrans(
    "йцукенгшщзхъфывапролджэячсмитьбюіקראטוןםפשדגכעיחלךזסבהנמצضصثقفغعهخحجدشسيبلاتنمكطئءؤرىةوزظ",
    "qwertyuiop[]asdfghjkl;'zxcvbnm,.sertyuiopasdfghjklzxcvbnmqwertyuiop[]asdfghjkl;'zxcvnm,./",
)


@dataclass(frozen=True, slots=True)
class Speech:
    """A line that is said.

    @ivar unquoted: it stood in double quotes, which are not part of the text.
    """

    text: str
    unquoted: bool = False


@dataclass(frozen=True, slots=True)
class Command:
    """A line that calls a command.

    @ivar typed: the command as it stood on the line, for sentences about it.
    @ivar word: the same in lower case, without the slash.
    @ivar rest: what follows it on the line.
    """

    typed: str
    word: str
    rest: str


def parse(line: str, *, newcomer: bool = False) -> Speech | Command:
    """Tell whether a line is said or calls a command, which need not exist.

    @param newcomer: L{FIRST_WORDS} are commands too.
    """
    line = line.rstrip(" ").lstrip("\ufeff")
    if line[:1].isascii() and line[:1].isalnum() and line[_LONGEST_WORD:].strip(" \t"):
        return Speech(line)  # most lines: no slash, no quote, and more than a bare word
    if line.startswith(LITERALLY):
        return Speech(line)
    # A space before a command must not publish the password behind it; neither must the wide space
    # of an input method, nor an invisible character that was pasted.
    bare = unindented(line).rstrip(" \t")
    word = bare.lower()
    if word in BARE_WORDS:
        return Command(BARE_WORDS[word], BARE_WORDS[word], "")
    if newcomer and word in FIRST_WORDS:
        return Command(bare, word, "")
    if bare.startswith("//"):
        return Speech(bare[1:])
    match = _COMMAND.match(bare)
    if match is None:
        quoted = unquoted(bare)
        return Speech(line) if quoted == bare else Speech(quoted, unquoted=True)
    command = Command(bare[0] + printable(match[1]), match[1].lower(), match[2])
    return Speech(line) if _is_for_bots(command) else command


def _is_for_bots(command: Command) -> bool:
    """Tell whether a command calls a bot, and so is said: it begins with an exclamation mark and is
    not one of ours, nor one of ours misspelt with a password or a private message behind it."""
    is_ours = commands.is_ours(command.word) or confides(command.word)
    return command.typed.startswith("!") and not is_ours


def request(called: Command) -> Request:
    """Read the request that a typed command is.

    @raise Refusal: C{unknown-command}; C{bad-arguments}, with the usage.
    """
    command = commands.find(called.typed, called.word)
    fields = _fields(command.parameters, called.rest)
    if fields is None:
        raise command.misused
    return Request(command.word, fields, typed=called.typed)


def typed(line: str, *, label: str = "") -> Request:
    """Read the request that typing a line would be, if nothing has to be asked for.

    @raise Refusal: C{unknown-command}; C{bad-arguments}, with the usage.
    """
    parsed = parse(line)
    if isinstance(parsed, Speech):
        return Request("say", {"message": parsed.text}, label)
    called = request(parsed)
    if not called.is_complete:
        raise commands.BY_WORD[called.do].incomplete
    return replace(called, label=label)


def _fields(parameters: Iterable[Parameter], rest: str) -> dict[str, Any] | None:
    """Split what follows a typed command into the values of its parameters.

    A word may stand in double quotes. A parameter in brackets is left out if nothing follows, or
    a word that it does not take.

    @return: L{None} if there are too few words or too many, or a wrong one.
    """
    fields: dict[str, Any] = {}
    for parameter in parameters:
        if not parameter.usage:
            continue
        if rest and parameter.kind in _READ_REST:
            return fields | _READ_REST[parameter.kind](parameter.name, unquoted(rest))
        match = _WORD.match(rest)
        value = None if match is None else _value(parameter, match)
        if match is not None and value is not None:
            fields[parameter.name] = value
            rest = rest[match.end() :]
        elif not parameter.usage.startswith("["):
            return None
    return None if rest else fields


def _value(parameter: Parameter, match: re.Match[str]) -> Any:
    """Read the value of a parameter from a word; L{None} if the parameter does not take it."""
    if parameter.kind is Kind.FLAG:
        return match["word"] == parameter.usage.strip("[]") or None
    word = match["word"] if match["quoted"] is None else match["quoted"]
    return _READ_WORD[parameter.kind](word)


def _count(word: str) -> int | None:
    return int(word[:10]) if word.isascii() and word.isdecimal() else None


def _place(word: str) -> str:
    return f"@{named(word)}" if word.startswith("@") else word


def _switch(word: str) -> str | None:
    return word.lower() if word.lower() in ("on", "off") else None


def _text(name: str, rest: str) -> dict[str, Any]:
    return {name: rest}


def _places(name: str, rest: str) -> dict[str, Any]:
    """Read words such as C{ROOM=SEQ}, C{@NAME=SEQ}, and among them C{~=SESSION}.

    @raise Refusal: C{bad-arguments}.
    """
    places: dict[str, int] = {}
    fields: dict[str, Any] = {name: places}
    for word in rest.split():
        if word.startswith(_SESSION):
            fields["session"] = word.removeprefix(_SESSION)
        elif match := _RESUMED.fullmatch(word):
            places[match[1]] = int(match[2])
        else:
            raise commands.BY_WORD["since"].misused
    commands.refuse_places(places)
    return fields


def named(typed: str) -> str:
    """Give the name in what was typed for a person: C{@zoë}, C{zoë:} and C{zoë,} are zoë, also with
    the wide signs of an input method."""
    return typed.removeprefix("@").removeprefix("\uff20").rstrip(":,\uff1a\uff0c") or typed


_READ_WORD: dict[Kind, Callable[[str], str | int | None]] = {
    Kind.WORD: str,
    Kind.PERSON: named,
    Kind.SECRET: str,
    Kind.COUNT: _count,
    Kind.PLACE: _place,
    Kind.SWITCH: _switch,
}
_READ_REST = {Kind.TEXT: _text, Kind.PLACES: _places}


def is_secret(line: str) -> bool:
    """Tell whether a line may hold a password, and so must not be kept anywhere.

    It may if one of its first three words is a command that takes a password, also if the command
    is misspelt, abbreviated, of another chat, or without its slash. Many harmless lines count too.
    """
    folded = _folded(line)
    first, *others = re.findall(r"\w+", folded)[:3] or [""]
    retyped = _is_like_secret(first.translate(_LAYOUTS).lstrip("/"))
    return retyped or _takes_password(first) or any(map(_is_like_secret, others))


def is_slip(line: str) -> bool:
    """Tell whether a line that would be said looks like a mistyped command with a password in it.

    In such a line something stands before the slash, or there is no slash. A line that is quoted,
    so that it is said, is no slip.
    """
    bare = line.rstrip(" ").lstrip("\ufeff")
    is_quoted = bare.startswith(LITERALLY) or parse(line) != Speech(bare)
    if is_quoted or _COMMAND.match(unindented(bare)):
        return False  # what matches calls a bot
    folded = _folded(line)
    if not _BARE.fullmatch(folded) and _BARE.fullmatch(folded.translate(_LAYOUTS)):
        folded = folded.translate(_LAYOUTS)
    return _is_slip(folded)


def _is_slip(folded: str) -> bool:
    if match := _BARE.fullmatch(folded):
        mark, word, rest = match.groups()
        least = 1 if word.endswith("identify") else 2
    elif match := _MISSED.fullmatch(folded):
        mark, word, rest = "/", match[1] or match[3], match[2] or match[4] or ""
        least = 1
    else:
        return False
    words = [each["quoted"] or each["word"] or "" for each in _WORD.finditer(rest)]
    if not _takes_password(word) or not least <= len(words) <= 2:
        return False
    is_talk = words[0].rstrip(_STOPS) in _TALK.split()
    may_be_password = _may_be_password(words[-1])
    return may_be_password or not is_talk if mark else may_be_password and not is_talk


def _may_be_password(word: str) -> bool:
    """Tell whether a word looks more like a password than like the last word of a sentence."""
    bare = word.rstrip(_STOPS)
    is_long = bare.isascii() and len(bare) >= _LIKELY
    return is_long or any(not each.isalpha() and each not in "'\u2019" for each in bare)


def _folded(line: str) -> str:
    """Fold the beginning of a line to one case and width, without invisible characters."""
    seen = line
    if not line.isascii():
        seen = "".join(each for each in line if unicodedata.category(each) != "Cf")
    seen = _LONG_INDENT.sub("", seen)[:_LOOKED_AT]
    return unicodedata.normalize("NFKC", seen).casefold().strip()


def _takes_password(word: str) -> bool:
    shortens = any(_shortens(word, command) for command in _SECRET) and word not in _NOT_SECRET
    return word in SIGN_IN or shortens or _is_like_secret(word)


def _is_like_secret(word: str) -> bool:
    near = difflib.get_close_matches(word[:20], _SECRET, 1, 0.7)
    return (bool(near) or word.startswith(_SECRET)) and word not in _NOT_SECRET


def _shortens(word: str, command: str) -> bool:
    """Tell whether a word is three or more letters of a command, in order, from the first on."""
    letters = iter(command)
    return len(word) > 2 and word[0] == command[0] and all(each in letters for each in word)
