"""Is this a name? What is its one spelling, and what does it look like?"""

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Callable, Container, Iterable
from functools import lru_cache
from itertools import islice

from confusable_homoglyphs.confusables import confusables_data
from precis_i18n import get_profile

from .errors import Refusal

MAX_LENGTH = 32
"""The longest name, in characters after mapping."""

GUEST = "guest"
"""Names that begin with this are given out by the server, never chosen."""

_RESERVED = """
    admin administrator all anonymous authserv botserv chanserv chat dm everyone ex exit global here
    hostserv irc me memoserv moderator nickserv nobody operator operserv pm quit root saslserv
    server services staff support sysop system you
"""
"""The server's own words, and those that IRC has for services that take passwords."""

_MOST_CANDIDATES = 1000

# A letter or digit first; no punctuation that a line of text or a command gives a meaning to.
_SHAPE = re.compile(r"[^\W_](?:[\w.\-]|[^\x00-\x7f])*")

# More marks than any script stacks on one letter spill over the lines of others. Only some marks
# have a combining class: accents, which stack at most in twos; vowel signs stack higher.
_MAX_ACCENTS = 2
_MAX_MARKS = 4

_precis = get_profile("UsernameCaseMapped")


def canonical(raw: str) -> str:
    """Give a name its one spelling: case-folded, width-mapped, NFC.

    RFC 8265, section 3.3 (UsernameCaseMapped), narrowed to letters, marks, digits
    and C{. _ -}, one to L{MAX_LENGTH} characters, beginning with a letter or digit.

    @raise Refusal: C{bad-name}.
    """
    if len(raw) > 4 * MAX_LENGTH:
        raise _too_long()
    try:
        name = str(_precis.enforce(raw))
    except ValueError:
        raise _bad_shape() from None
    if len(name) > MAX_LENGTH:
        raise _too_long()
    if not _SHAPE.fullmatch(name) or not all(map(_is_name_character, name)):
        raise _bad_shape()
    accents = marks = 0
    for character in unicodedata.normalize("NFD", name):
        accents = accents + 1 if unicodedata.combining(character) else 0
        marks = marks + 1 if unicodedata.category(character) in ("Mn", "Me") else 0
        if accents > _MAX_ACCENTS or marks > _MAX_MARKS:
            raise _bad_shape()
    return name


def chosen(raw: str, reserved: Container[str] = ()) -> str:
    """As L{canonical}, for a name that somebody wants to go by: not a reserved one.

    @param reserved: skeletons of names that are reserved besides the usual ones.
    @raise Refusal: C{bad-name}.
    """
    name = canonical(raw)
    shape = skeleton(name)
    if shape in _reserved_skeletons() or shape in reserved:
        raise Refusal("bad-name", f'the name "{name}" is reserved; choose another')
    if shape.startswith(skeleton(GUEST)):
        raise Refusal(
            "bad-name",
            f'names that begin with "{GUEST}" are given by the server; choose another',
        )
    return name


def skeletons(raw: Iterable[str]) -> frozenset[str]:
    """The skeletons of those that are names."""
    shapes: set[str] = set()
    for each in raw:
        try:
            shapes.add(skeleton(canonical(each)))
        except Refusal:
            pass  # nobody can take it
    return frozenset(shapes)


def room(raw: str) -> str:
    """The one spelling of a room's name; a leading C{#} is not part of it.

    @raise Refusal: C{bad-name}.
    """
    return canonical(raw.removeprefix("#"))


def skeleton(name: str) -> str:
    """What a name looks like: two names with one skeleton can be mistaken for each other.

    After UTS #39, section 4: each character is replaced by the one that all its look-alikes share.
    Case is folded after that, since the prototype of C{0} is C{O}, and not before: Cherokee's small
    letters fold to capitals, which have other look-alikes. Accented letters that are on the list
    as one character are replaced before their accents are taken off.

    A change of what this gives needs a migration, as the store keeps skeletons.
    """
    return _settled(_decomposed, name.lower())


def _decomposed(shape: str) -> str:
    shape = unicodedata.normalize("NFD", _settled(_composed, shape))
    shape = "".join(map(_prototype, shape)).casefold().lower()
    return unicodedata.normalize("NFD", shape)


def _composed(shape: str) -> str:
    shape = unicodedata.normalize("NFC", shape)
    return unicodedata.normalize("NFC", "".join(map(_prototype, shape)))


def _settled(step: Callable[[str], str], shape: str) -> str:
    """Repeat a step until it changes nothing: a prototype can have one itself. Of shapes that
    become each other in turn, the least."""
    seen: list[str] = []
    while shape not in seen:
        seen.append(shape)
        shape = step(shape)
    return min(seen[seen.index(shape) :])


def nearest(word: str, candidates: Iterable[str]) -> str | None:
    """The candidate that one slip of the finger makes C{word} of, if there is one: a letter too
    many, too few or another one, or two neighbours swapped.

    It looks at the first 1,000 candidates only: names chosen for it take a few milliseconds. Of
    several it gives the first in the alphabet, of those that begin as C{word} does if any do.
    """
    # One slip leaves the first half of a word as it was, or the second.
    half = (len(word) - 1) // 2
    head, tail = word[:half], word[len(word) - half :]
    near = (
        candidate
        for candidate in islice(candidates, _MOST_CANDIDATES)
        if -1 <= len(candidate) - len(word) <= 1
        and (candidate.startswith(head) or candidate.endswith(tail))
        and _is_one_slip(word, candidate)
    )
    if len(word) < 2:
        return None
    return min(near, key=lambda c: (c[0] != word[0], c), default=None)


def _is_one_slip(one: str, other: str) -> bool:
    if len(one) < len(other):
        one, other = other, one
    same = bisect_left(range(len(other)), True, key=lambda i: one[: i + 1] != other[: i + 1])
    one, other = one[same:], other[same:]
    swapped = other[1::-1] + other[2:]
    return one[1:] in (other, other[1:]) or one == swapped


def _is_name_character(character: str) -> bool:
    return character in "._-" or unicodedata.category(character)[0] in "LMN"


def _bad_shape() -> Refusal:
    return Refusal(
        "bad-name",
        "names may contain only letters, digits, . _ and - (no spaces) and must start with a letter"
        " or digit",
    )


def _too_long() -> Refusal:
    return Refusal("bad-name", f"a name has at most {MAX_LENGTH} characters")


@lru_cache(maxsize=4096)
def _prototype(character: str) -> str:
    """The hub of the character's star of look-alikes: the one they are all listed with. What is not
    listed may be in the other case."""
    if character not in confusables_data:
        character = character.casefold()
    others = [entry["c"] for entry in confusables_data.get(character, ())]
    hub = max(
        [character, *others],
        key=lambda c: (len(confusables_data.get(c, ())), len(c), c),
    )
    return str(hub).replace("\u200e", "")  # the data wraps right-to-left characters in LRM


@lru_cache(maxsize=1)
def _reserved_skeletons() -> frozenset[str]:
    return skeletons(_RESERVED.split())
