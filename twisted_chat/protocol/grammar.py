"""What a line that was typed asks for: the grammar, for both ends. No socket, no clock."""

import difflib
import re
import unicodedata
from dataclasses import dataclass

from twisted_chat.core import names
from twisted_chat.core.text import printable, unindented, unquoted

MAX_LINE = 4096
"""Bytes in a line that comes in, without its end."""

BARE_WORDS = {"pm": "PM", "dm": "DM", "ex": "EX", "exit": "exit"}
"""Commands that stand alone on a line, without a slash; their users know them so."""

FIRST_WORDS = frozenset({"help", "quit", "bye", "logout"})
"""What newcomers type, alone on a line, before they know of the slash. Said later, it is said."""

LITERALLY = "\u2060"
"""A word joiner: a line that begins with it is said as it is. It goes when the text is cleaned."""

WITH_PASSWORD = ("login", "register", "passwd")
"""Commands that take a password."""

_WORDS = """
    ? bc broadcast bye dm exit guest help history join json leave login logout me msg nick part
    passwd query quit r register rooms since tell topic users w whisper who
"""
WORDS = frozenset(_WORDS.split())
"""All commands, without their slash."""

_COMMAND = re.compile(r"(?:/|!(?=[^\W\d_]))(\S*)\s*(.*)", re.DOTALL)
_PARAMETER = re.compile(r"\[[^\]]*\]|\S+")
_REST_OF_LINE = frozenset({"MESSAGE", "TEXT", "ACTION", "ROOM=SEQ..."})
_WORD = re.compile(r'(?:"(?P<quoted>[^"]*)"(?=\s|$)|(?P<word>\S+))\s*')

_PRIVATE = ("dm", "msg", "query", "tell", "whisper")

# What is a command elsewhere, and takes a password.
_SIGN_IN = "auth id identify nickserv ns oper pass password pw pwd reg rgstr signin signup"

_SECRET = (*WITH_PASSWORD, "password", "signin", "identify", "nickserv")
_NOT_SECRET = frozenset({"join", "logout", "nick"})  # though much like one of those

# Behind a word like C{login}, what shows that somebody talks of it: no name is like that.
_TALK = """
    a and are as at broken button down fails failed for form from here in is it not now of on or
    page please screen server service site the to was with yourself
"""

# A command that is none, since something stands before the slash, or no slash: so does a 7 where
# the slash is above it. Without either, only what may be a password shows that it was one.
_MISSED = re.compile(r"(?:\W*|\W*\w{1,2})[/!\\](\w+)\s(.*)|\W*[/!\\]\s+(\w+)\s(.*)")
_BARE = re.compile(r"(\W*7?)(login|register|passwd|signin|(?:(?:ns|nickserv)\s+)?identify)\s(.*)")

_STOPS = ".,:;!?)\u2026"
_LONG_INDENT = re.compile(r"\W+(?=\W{20})")

_LIKELY = 8
"""Letters in a password, at least, if it is nothing but letters."""

_LOOKED_AT = 200
"""Characters of a line that are looked at for a password: one can become eighteen when folded."""

# What the keys of an English keyboard write with another layout, where it also moves the slash, so
# that C{/login} would be said.
_LAYOUTS = str.maketrans(
    "йцукенгшщзхъфывапролджэячсмитьбюіקראטוןםפשדגכעיחלךזסבהנמצضصثقفغعهخحجدشسيبلاتنمكطئءؤرىةوزظ",
    "qwertyuiop[]asdfghjkl;'zxcvbnm,.sertyuiopasdfghjklzxcvbnmqwertyuiop[]asdfghjkl;'zxcvnm,./",
)


@dataclass(frozen=True, slots=True)
class Speech:
    """A line to be said as it is.

    @ivar unquoted: it stood in double quotes, which are not said.
    """

    text: str
    unquoted: bool = False


@dataclass(frozen=True, slots=True)
class Command:
    """A line that calls a command.

    @ivar typed: the command as it stood on the line, for messages about it.
    @ivar word: the same in lower case, without the slash.
    """

    typed: str
    word: str
    rest: str


def parse(line: str, *, newcomer: bool = False) -> Speech | Command:
    """What a line asks for.

    @param newcomer: L{FIRST_WORDS} are commands too.
    """
    line = line.rstrip(" ").lstrip("\ufeff")
    if line.startswith(LITERALLY):
        return Speech(line)
    # A space before a command must not publish a password: nor may the wide one of an input
    # method, or what cannot be seen and was pasted with it.
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
    """An exclamation mark and a word that is none of ours call a bot, so they are said; but not
    what may be one of ours misspelt, with a password or a private message behind it."""
    is_ours = command.word in WORDS or command.word == "pm"
    return command.typed.startswith("!") and not (is_ours or confides(command.word))


def confides(word: str) -> bool:
    """Tell whether what stands behind a word, which may be a misspelt command, is not for everyone:
    a password or a private message."""
    return (
        word in _SIGN_IN.split()
        or word.startswith(WITH_PASSWORD)
        or names.nearest(word, (*WITH_PASSWORD, *_PRIVATE)) is not None
    )


def arguments(usage: str, rest: str) -> list[str] | None:
    """Split what stands behind a command into one argument for each parameter.

    A word may stand in double quotes.

    @param usage: the parameters; one in brackets may be left out, one such as C{[--keep]} is
        empty then, and C{MESSAGE}, C{TEXT} and C{ACTION} take the rest of the line.
    @return: L{None} if there are too few words or too many.
    """
    given: list[str] = []
    for parameter in _PARAMETER.findall(usage):
        if not rest:
            if not parameter.startswith("["):
                return None
            continue
        if parameter.strip("[]") in _REST_OF_LINE:
            return [*given, unquoted(rest)]
        match = _WORD.match(rest)
        assert match is not None  # anything that is not empty begins with a word
        if parameter.startswith("[--") and match["word"] != parameter.strip("[]"):
            given.append("")
            continue
        given.append(match["word"] if match["quoted"] is None else match["quoted"])
        rest = rest[match.end() :]
    return None if rest else given


def named(typed: str) -> str:
    """The name in what was typed for a person: C{@zoë}, C{zoë:} and C{zoë,} are zoë; also with the
    wide ones of an input method."""
    return typed.removeprefix("@").removeprefix("\uff20").rstrip(":,\uff1a\uff0c") or typed


def is_secret(line: str) -> bool:
    """Tell whether a line may hold a password, and so is to be kept nowhere.

    It may if one of its first three words is a command that takes one, also misspelt, abbreviated,
    of another chat, or without its slash. Many lines are taken for one that are none.
    """
    folded = _folded(line)
    first, *others = re.findall(r"\w+", folded)[:3] or [""]
    retyped = _is_like_secret(first.translate(_LAYOUTS).lstrip("/"))
    return retyped or _takes_password(first) or any(map(_is_like_secret, others))


def is_slip(line: str) -> bool:
    """Tell whether a line that would be said looks like a command with a password in it: something
    stands before the slash, or there is none. What was quoted, to have it said, is no slip."""
    bare = line.rstrip(" ").lstrip("\ufeff")
    is_quoted = bare.startswith(LITERALLY) or parse(line) != Speech(bare)
    if is_quoted or _COMMAND.match(unindented(bare)):
        return False  # the latter is for a bot
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
    words = [each["quoted"] or each["word"] for each in _WORD.finditer(rest)]
    if not _takes_password(word) or not least <= len(words) <= 2:
        return False
    is_talk = words[0].rstrip(_STOPS) in _TALK.split()
    may_be_password = _may_be_password(words[-1])
    return may_be_password or not is_talk if mark else may_be_password and not is_talk


def _may_be_password(word: str) -> bool:
    """Tell whether a word is more like a password than the last one of a sentence."""
    bare = word.rstrip(_STOPS)
    is_long = bare.isascii() and len(bare) >= _LIKELY
    return is_long or any(not each.isalpha() and each not in "'\u2019" for each in bare)


def _folded(line: str) -> str:
    """The beginning of a line in one case and width, without what cannot be seen."""
    seen = line
    if not line.isascii():
        seen = "".join(each for each in line if unicodedata.category(each) != "Cf")
    seen = _LONG_INDENT.sub("", seen)[:_LOOKED_AT]
    return unicodedata.normalize("NFKC", seen).casefold().strip()


def _takes_password(word: str) -> bool:
    shortens = any(_shortens(word, command) for command in _SECRET) and word not in _NOT_SECRET
    return word in _SIGN_IN.split() or shortens or _is_like_secret(word)


def _is_like_secret(word: str) -> bool:
    near = difflib.get_close_matches(word[:20], _SECRET, 1, 0.7)
    return (bool(near) or word.startswith(_SECRET)) and word not in _NOT_SECRET


def _shortens(word: str, command: str) -> bool:
    """It has three or more letters of the command, in order, with the first of them."""
    letters = iter(command)
    return len(word) > 2 and word[0] == command[0] and all(each in letters for each in word)
