"""How events look on the wire, as far as the outbox has to know. Pure."""

from typing import Protocol

from twisted_chat.core.events import Event


class Format(Protocol):
    """How events look on the wire: a sequence of units, such as lines or frames.

    A unit is written whole or not at all. Only the format knows where its units end, so it cuts and
    counts them.
    """

    def encode(self, events: tuple[Event, ...], /) -> bytes:
        """Encode all the events, in whole units. Called for every reader, so the same tuple again
        must cost next to nothing."""

    def cut(self, data: bytes, sent: int, room: int, /) -> int:
        """Find where to cut data that does not fit.

        @param data: what C{encode} gave, whole units; or what else is written in this format.
        @param sent: bytes of it that have been sent already, perhaps a part of a unit.
        @param room: bytes behind C{sent} that there is room for; may be negative.
        @return: the end of the last unit for which there is room, and at least that of the unit
            which the byte at C{sent} is part of.
        """

    def count(self, data: bytes, /) -> int:
        """Count the units that are events, in data that consists of whole units."""


class LineFormat:
    """The units of a format of lines: each ends in a newline and has no other in it."""

    def cut(self, data: bytes, sent: int, room: int, /) -> int:
        """Cut behind a newline; data without one is not cut."""
        end = data.rfind(b"\n", sent, max(sent, sent + room)) + 1
        return end or data.find(b"\n", sent) + 1 or len(data)

    def count(self, data: bytes, /) -> int:
        """Count the newlines."""
        return data.count(b"\n")
