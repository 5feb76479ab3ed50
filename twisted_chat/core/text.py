"""Making text safe to show on anybody's screen."""

import re
import unicodedata

from .errors import Refusal

# Backspace and delete, and Ctrl-U, from terminals that send each key as it is typed.
_ERASE = frozenset("\x08\x7f")
_KILL = "\x15"
_REDRAW = "\x0c"  # Ctrl-L, which means nothing on a screen that is not ours
_EDITING = re.compile("[\x08\x0c\x15\x1b\x7f]")

# What function keys send, and what colours a text. ECMA-48: control sequences (section 5.4);
# control strings (5.6), up to their ST, or to BEL as in xterm; SS3 (8.3.142) with its letter;
# character sets; any other escape with one letter or digit. More ESC before one come from the Alt
# key, two brackets from the Linux console. An incomplete sequence stays, and is refused as a
# control character. So does one with a slash or an exclamation mark in it: if somebody presses Esc
# and then types a command, its beginning must not be removed and the rest said.
_ESCAPE = re.compile(
    r"""
    (?<!\x1b) \x1b+ (?:
        \[\[[A-E]
        | \[[0-?]*[\x20"-.]*[@-~]
        | [P\]X^_][^\x07\x1b]*(?:\x07|\x1b\\)
        | O[A-Za-z]
        | [()*+][0-9A-Za-z]
        | [0-NQ-WYZ\\`-~]
    )
    """,
    re.VERBOSE,
)

_CONTROL = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\ud800-\udfff]")

# Invisible characters that can reorder or hide the text around them: embeddings, overrides and
# isolates (UAX #9), zero-width spaces, word joiners, soft hyphens, interlinear annotation, tags,
# noncharacters. Pasted text is full of them, so they are removed, not refused. ZWJ, ZWNJ, LRM, RLM
# and ALM stay: emoji and several scripts need them.
_NONCHARACTERS = "".join(
    chr(plane << 16 | 0xFFFE) + chr(plane << 16 | 0xFFFF) for plane in range(17)
)
_UNSEEN = (
    f"{_NONCHARACTERS}\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180e\u200b\u202a-\u202e\u2060-\u206f\u3164\ufdd0-\ufdef"
    "\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
_INVISIBLE = re.compile(f"[{_UNSEEN}]")
_INDENT = re.compile(rf"[\s{_UNSEEN}\u061c\u200c-\u200f]*")
_QUOTED = re.compile(r'"("[^"]*"|[^"]*)"')
_SEPARATOR = re.compile("[\u2028\u2029]")
_TAB = "    "
_BRAILLE_BLANK = "\u2800"

# More marks on one letter than any script uses are drawn over the lines above and below.
_MAX_MARKS = 4


def decode(line: bytes) -> str:
    """Decode a line from UTF-8, without escape sequences and erased characters.

    @raise Refusal: C{bad-encoding}.
    """
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError:
        raise Refusal(
            "bad-encoding",
            "that line is not UTF-8, so it was ignored; set your terminal to UTF-8",
        ) from None
    if text.isprintable():  # nothing that edits is; most lines are
        return text
    return _edited(without_escapes(text)) if _EDITING.search(text) else text


def without_escapes(text: str) -> str:
    """Remove escape sequences: what function keys send, and what colours a text. One that is
    incomplete, or has a slash or an exclamation mark in it, stays."""
    return _ESCAPE.sub("", text)


def clean(text: str) -> str:
    """Make text safe to show: NFC, one line, no control or override characters.

    Leading spaces stay, for pasted code. Text that shows nothing at all becomes empty.

    @raise Refusal: C{bad-encoding} if it has control characters, as it cannot be known what their
        sender meant.
    """
    if text.isascii() and text.isprintable():
        return text.rstrip(" ")
    text = _SEPARATOR.sub(" ", text.replace("\t", _TAB))
    control = _CONTROL.search(text)
    if control:
        raise Refusal(
            "bad-encoding",
            f"that line has a control character in it (U+{ord(control[0]):04X}), so it was"
            " not sent",
        )
    text = _thinned(_INVISIBLE.sub("", text))  # first, as NFC sorts marks, which is slow
    text = _thinned(unicodedata.normalize("NFC", text))
    text = unicodedata.normalize("NFC", text).rstrip(" ")
    return "" if _is_blank(text) else text


def unindented(text: str) -> str:
    """Remove what cannot be seen from the beginning of a text."""
    indent = _INDENT.match(text)
    return text[indent.end() :] if indent else text


def unquoted(text: str) -> str:
    """Remove the pair of double quotes around a text, if there is one; of two pairs, one stays."""
    match = _QUOTED.fullmatch(text)
    return match[1] if match else text


def printable(text: str) -> str:
    """What can be shown of something typed, for quoting it in a sentence about it."""
    return "".join(filter(str.isprintable, text))


def _is_blank(text: str) -> bool:
    """Whether a text has nothing but spaces, marks without a letter, and invisible characters.

    Unassigned and private-use characters count as visible: they may be emoji that are newer than
    this Python.
    """
    categories = set(map(unicodedata.category, text.replace(_BRAILLE_BLANK, " ")))
    return all(category == "Cf" or category[0] in "ZM" for category in categories)


def _edited(text: str) -> str:
    kept: list[str] = []
    for character in text:
        if character in _ERASE:
            del kept[-1:]
        elif character == _KILL:
            kept.clear()
        elif character != _REDRAW:
            kept.append(character)
    return "".join(kept)


def _thinned(text: str) -> str:
    kept: list[str] = []
    marks = 0
    for character in text:
        category = unicodedata.category(character)
        if category in ("Mn", "Me"):
            marks += 1
            if marks > _MAX_MARKS:
                continue
        elif category != "Cf":  # a joiner does not keep marks from the letter before it
            marks = 0
        kept.append(character)
    return "".join(kept)
