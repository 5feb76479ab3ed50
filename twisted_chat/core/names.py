"""Names: what is one, its one spelling, and what it looks like."""

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
"""Names that begin with this are given by the server; nobody can choose one."""

_RESERVED = """
    admin administrator all anonymous authserv botserv chanserv chat dm everyone ex exit global here
    hostserv irc me memoserv moderator nickserv nobody operator operserv pm quit root saslserv
    server services staff support sysop system you
"""
"""The server's own words, and those that IRC has for services that ask for passwords."""

_MOST_CANDIDATES = 1000

# A letter or digit first; no punctuation that has a meaning in a line of text or a command.
_SHAPE = re.compile(r"[^\W_](?:[\w.\-]|[^\x00-\x7f])*")

# More marks on one letter than any script uses are drawn over the lines above and below. Accents
# are the marks that have a combining class; at most two stack. Vowel signs stack higher.
_MAX_ACCENTS = 2
_MAX_MARKS = 4

_precis = get_profile("UsernameCaseMapped")


def canonical(raw: str) -> str:
    """Give a name its one spelling: case-folded, width-mapped, NFC.

    This is the UsernameCaseMapped profile of RFC 8265, section 3.3, narrowed to letters, marks,
    digits and C{. _ -}, 1 to L{MAX_LENGTH} characters, with a letter or digit first.

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
    """Give a name that somebody wants to have its one spelling, as L{canonical}.

    @param reserved: skeletons of reserved names, in addition to those that are always reserved.
    @raise Refusal: C{bad-name}, also for a reserved name.
    """
    name = canonical(raw)
    shape = skeleton(name)
    if shape in _reserved_skeletons() or shape in reserved:
        raise Refusal("bad-name", f'the name "{name}" is reserved; choose another')
    if shape.startswith(skeleton(GUEST)):
        raise Refusal(
            "bad-name",
            f'only the server gives out names that begin with "{GUEST}"; choose another',
        )
    return name


def skeletons(raw: Iterable[str]) -> frozenset[str]:
    """The skeletons of these names. What is not a name is left out."""
    shapes: set[str] = set()
    for each in raw:
        try:
            shapes.add(skeleton(canonical(each)))
        except Refusal:
            pass  # nobody can take it
    return frozenset(shapes)


def room(raw: str) -> str:
    """Give the name of a room its one spelling, without a leading C{#}.

    @raise Refusal: C{bad-name}.
    """
    return canonical(raw.removeprefix("#"))


def skeleton(name: str) -> str:
    """What a name looks like. Two names with the same skeleton can be mistaken for each other.

    Computed as in UTS #39, section 4: each character is replaced by the prototype that all its
    look-alikes share. Case is folded after that, since the prototype of C{0} is C{O}; not before,
    since small Cherokee letters fold to capitals, which have other look-alikes. Accented letters
    that the list has as one character are replaced before their accents are removed.

    The store keeps skeletons, so a change of what this returns needs a migration.
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
    """Repeat a step until it changes nothing, as a prototype can have a prototype itself. Of shapes
    that turn into each other in a cycle, the least is taken."""
    seen: list[str] = []
    while shape not in seen:
        seen.append(shape)
        shape = step(shape)
    return min(seen[seen.index(shape) :])


def nearest(word: str, candidates: Iterable[str]) -> str | None:
    """The candidate that differs from C{word} by one typing error, if there is one: a letter too
    many, too few or wrong, or two neighbours swapped.

    Of several, those that begin with the same letter come first, and then the alphabet decides.
    Only the first 1,000 candidates are looked at: names that were chosen for it take a few
    milliseconds.
    """
    # One error leaves the first half of a word as it was, or the second.
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
        "names may contain only letters, digits, . _ - and begin with a letter or digit",
    )


def _too_long() -> Refusal:
    return Refusal("bad-name", f"a name may have at most {MAX_LENGTH} characters")


@lru_cache(maxsize=4096)
def _prototype(character: str) -> str:
    """The character that all look-alikes of this one are listed with. A character that is not
    listed may be listed in the other case."""
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
