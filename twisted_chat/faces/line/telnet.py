"""The part of telnet that a line protocol needs: bytes in, bytes out. Pure."""

import re
from dataclasses import dataclass, field

# RFC 854, and RFC 856 (BINARY), RFC 857 (ECHO), RFC 860 (TIMING-MARK).
IAC = 0xFF
_DONT, _DO, _WONT, _WILL, _SB, _SE = 0xFE, 0xFD, 0xFC, 0xFB, 0xFA, 0xF0
_EL, _EC, _AYT, _IP = 0xF8, 0xF7, 0xF6, 0xF4
_BINARY, _ECHO, _TIMING_MARK = 0, 1, 6

DO_BINARY = bytes([IAC, _DO, _BINARY])
WILL_ECHO = bytes([IAC, _WILL, _ECHO])
WONT_ECHO = bytes([IAC, _WONT, _ECHO])
NOP = bytes([IAC, 0xF1])

# Commands that edit the line being typed -> the key that does the same.
_KEYS = {_IP: 0x15, _EL: 0x15, _EC: 0x7F}

_EOT = b"\x04"
_LF = 0x0A

# A run of silent commands, or of negotiations, is one match: a peer may send many. A command that
# the end of the data cuts off is matched too, unless it is a subnegotiation.
_SPECIAL = (
    rb"((?:\xff[^\xf4\xf6-\xf8\xfa-\xff])+)|((?:\xff[\xfb-\xfe].)+)|\xff([\xf4\xf6-\xf8])"
    rb"|\xff(\xff)|(\xff\xfa)|(\xff[\xfb-\xfe]?\Z)|(\n\x04)"
)
_SILENT, _NEGOTIATIONS, _KEY, _DATA, _BEGIN, _CUT_OFF, _END_OF_INPUT, _END_OF_LINE = range(1, 9)
_USUAL = re.compile(_SPECIAL + rb"|(\r(?:\x00|\Z))", re.DOTALL)
_BINARY_MODE = re.compile(_SPECIAL + rb"|(\r[\n\x00]?)", re.DOTALL)
# The same, found much faster, as far as the first match begins.
_ANY_SPECIAL = re.compile(rb"\xff|\r(?:\x00|\Z)|\n\x04")
_ANY_SPECIAL_IN_BINARY_MODE = re.compile(rb"\xff|\r|\n\x04")

MAX_SUBNEGOTIATION = 4096
"""Bytes in one subnegotiation; a peer that sends more is cut off."""


class TelnetAbuse(Exception):
    """The peer sends a subnegotiation of more than L{MAX_SUBNEGOTIATION} bytes."""


@dataclass(slots=True)
class Received:
    """What the filter made of a chunk of bytes.

    @ivar data: the bytes without telnet commands, and with CR LF for CR NUL.
    @ivar replies: the bytes to send back to telnet.
    @ivar interrupted: Ctrl-C was typed in telnet.
    @ivar ended: Ctrl-D was typed at the beginning of a line: the input has ended.
    @ivar commands: the number of bytes that were telnet commands.
    """

    data: bytes
    replies: bytes = b""
    interrupted: bool = False
    ended: bool = False
    commands: int = field(default=0, compare=False)


def is_plain(data: bytes, *, at_line_start: bool) -> bool:
    """Whether a filter that has received only text so far would give back these bytes unchanged.

    @param at_line_start: see L{TelnetFilter}.
    """
    ends = at_line_start and data.startswith(_EOT)
    return not ends and _ANY_SPECIAL.search(data) is None


class TelnetFilter:
    """Takes telnet commands out of the bytes that a connection receives, wherever these are cut.

    It offers nothing by itself, so that C{nc} shows no telnet, and refuses what the peer asks for.
    It agrees only to BINARY in the peer's direction (RFC 856): without it, telnet takes the byte
    9D, which many letters contain in UTF-8, for its escape character.

    @ivar spoken: the peer has negotiated an option, so it is telnet.
    @ivar asked: the peer has been asked for BINARY, or has offered it.
    @ivar binary: the peer sends in BINARY mode. Its lines end in LF, CR LF, CR NUL or CR: telnet
        programs do not agree on which.
    """

    __slots__ = (
        "_after_cr",
        "_ended",
        "_line_start",
        "_pending",
        "_skipped",
        "asked",
        "binary",
        "spoken",
    )

    def __init__(self, *, at_line_start: bool = True) -> None:
        """@param at_line_start: the bytes before ended in LF, or there were none."""
        self.spoken = False
        self.asked = False
        self.binary = False
        self._pending = b""  # an unfinished command, or a CR that a NUL may follow
        self._after_cr = False  # in BINARY mode: a CR ended the line; an LF or NUL may follow it
        self._skipped = -1  # bytes of the subnegotiation under way; -1: there is none
        self._line_start = at_line_start
        self._ended = False

    def ask(self) -> bytes:
        """Give the bytes that ask the peer for BINARY mode; none if it has been asked."""
        if self.asked:
            return b""
        self.asked = True
        return DO_BINARY

    def receive(self, data: bytes) -> Received:
        """Take the telnet commands out of the next bytes.

        @raise TelnetAbuse: if a subnegotiation is too long.
        """
        if self._ended:
            return Received(b"", ended=True, commands=len(data))
        if self._pending:
            data, self._pending = self._pending + data, b""
        if self._after_cr and data:
            self._after_cr = False
            if data[0] in (0, _LF):
                data = data[1:]
        if self.first_special(data) == len(data):
            if data:
                self._line_start = data[-1] == _LF
            return Received(data)
        return self._filter(data)

    def first_special(self, data: bytes) -> int:
        """Find the first byte of the next bytes that is not just text, and so takes time to
        handle.

        @return: its position; the number of bytes if there is none.
        """
        if self._skipped >= 0 or self._pending or self._after_cr or self._is_end(data, 0):
            return 0
        any_special = _ANY_SPECIAL_IN_BINARY_MODE if self.binary else _ANY_SPECIAL
        special = any_special.search(data)
        return special.start() if special else len(data)

    def _is_end(self, data: bytes, at: int) -> bool:
        """Whether there is a Ctrl-D that begins a line."""
        return self._line_start and data[at : at + 1] == _EOT

    def _filter(self, data: bytes) -> Received:
        received = Received(b"")
        kept = bytearray()
        replies = bytearray()
        at = 0
        while at < len(data) and not self._ended:
            if self._skipped >= 0:
                at = self._skip(data, at)
                continue
            if self._is_end(data, at):
                self._ended = True
                at += 1
                break
            special = (_BINARY_MODE if self.binary else _USUAL).search(data, at)
            start, end = special.span() if special else (len(data), len(data))
            if start > at:
                kept += data[at:start]
                self._line_start = data[start - 1] == _LF
            at = end
            if special is None or special.lastindex == _SILENT:
                continue
            what = special[0]
            if special.lastindex == _NEGOTIATIONS:
                self.spoken = True
                for verb in range(1, len(what), 3):
                    replies += self._answer(what[verb], what[verb + 1])
            elif special.lastindex == _KEY:
                self._press(what[1], kept, replies, received)
            elif special.lastindex == _DATA:
                kept.append(IAC)
                self._line_start = False
            elif special.lastindex == _BEGIN:
                self._skipped = 0
            elif special.lastindex == _END_OF_INPUT:
                kept.append(_LF)
                self._ended = True
            elif special.lastindex == _CUT_OFF or (what == b"\r" and not self.binary):
                self._pending = what
            else:
                self._after_cr = what == b"\r" and at == len(data)
                kept += b"\r\n"
                self._line_start = True
        received.data = bytes(kept)
        received.replies = bytes(replies)
        received.ended = self._ended
        received.commands += max(0, at - len(self._pending) - len(kept))
        return received

    def _press(self, command: int, kept: bytearray, replies: bytearray, received: Received) -> None:
        """Carry out a command that stands for a key, or is answered at once."""
        if command == _AYT:
            replies += b"\r\n[yes]\r\n"
            return
        kept.append(_KEYS[command])
        received.commands += 1
        self._line_start = self._line_start or command != _EC
        received.interrupted |= command == _IP

    def _skip(self, data: bytes, at: int) -> int:
        """Skip a subnegotiation.

        @return: the position after its end, or after the data.
        @raise TelnetAbuse: if it is too long.
        """
        while True:
            end = data.find(IAC, at)
            if end < 0 or end + 1 == len(data):
                stop = len(data) if end < 0 else end
                self._skipped += stop - at
                self._pending = data[stop:]
                if self._skipped > MAX_SUBNEGOTIATION:
                    raise TelnetAbuse
                return len(data)
            self._skipped += end + 2 - at
            if self._skipped > MAX_SUBNEGOTIATION:
                raise TelnetAbuse
            at = end + 2
            if data[end + 1] == _SE:
                self._skipped = -1
                return at

    def _answer(self, command: int, option: int) -> bytes:
        """Agree to BINARY from the peer, and refuse all other options (RFC 854).

        DO ECHO confirms the server's own offer and needs no answer, and neither does an option that
        is in effect already. DO TIMING-MARK is answered, because otherwise telnet shows nothing
        more after Ctrl-C (RFC 860).
        """
        if option == _BINARY and command in (_WILL, _WONT):
            was, self.binary = self.binary, command == _WILL
            if command == _WILL:
                return self.ask()
            return bytes([IAC, _DONT, option]) if was else b""
        if command == _WILL:
            return bytes([IAC, _DONT, option])
        if command == _DO and option == _TIMING_MARK:
            return bytes([IAC, _WILL, option])
        if command == _DO and option != _ECHO:
            return bytes([IAC, _WONT, option])
        return b""
