"""What a line that was typed asks for: the grammar, for both ends. No socket, no clock."""

import re
from dataclasses import dataclass

from twisted_chat.core.text import printable, unindented, unquoted

MAX_LINE = 4096
"""Bytes in a line that comes in, without its end."""

BARE_WORDS = {"pm": "PM", "dm": "DM", "ex": "EX", "exit": "exit"}
"""Commands that stand alone on a line, without a slash; their users know them so."""

FIRST_WORDS = frozenset({"help", "quit", "bye", "logout"})
"""What newcomers type, alone on a line, before they know of the slash. Said later, it is said."""

LITERALLY = "\u2060"
"""A word joiner: a line that begins with it is said as it is. It goes when the text is cleaned."""

_COMMAND = re.compile(r"(?:/|!(?=[^\W\d_]))(\S*)\s*(.*)", re.DOTALL)


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
    return Command(bare[0] + printable(match[1]), match[1].lower(), match[2])
