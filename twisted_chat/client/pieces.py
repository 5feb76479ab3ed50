"""Long texts in messages that the server takes. No socket, no clock."""

from collections.abc import Iterator

from . import lines
from .lines import Refused

PIECE = 4000
"""Bytes of text in one message, at most: fewer than the characters that a server takes."""


def pieces(said: str) -> Iterator[str]:
    """Split a text into messages; gives nothing for a text that shows nothing."""
    try:
        rest = lines.sayable(said).encode()
    except Refused:
        return
    while rest:
        piece, rest = (rest, b"") if len(rest) <= PIECE else broken_off(rest, PIECE)
        if not piece.isspace():
            yield piece.decode()


def broken_off(data: bytes, size: int) -> tuple[bytes, bytes]:
    """Break data off, if possible behind a space, and not within a character.

    @param size: bytes before the break, at most.
    """
    cut = data.rfind(b" ", size // 2, size) + 1 or size
    while cut > size - 4 and data[cut] & 0xC0 == 0x80:
        cut -= 1
    return data[:cut], data[cut:]
