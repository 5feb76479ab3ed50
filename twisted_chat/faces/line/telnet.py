"""The part of telnet that a line protocol needs. Bytes in, bytes out; no socket."""

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

# What telnet asks to be done to the line being typed, as the key that does it.
_KEYS = {_IP: 0x15, _EL: 0x15, _EC: 0x7F}

_EOT = b"\x04"
_LF = 0x0A

# Runs of the commands that a peer may send most of are one match each. What the end of the data
# cuts off is matched too, but for a subnegotiation.
_SPECIAL = (
    rb"((?:\xff[^\xf4\xf6-\xf8\xfa-\xff])+)|((?:\xff[\xfb-\xfe].)+)|\xff([\xf4\xf6-\xf8])"
    rb"|\xff(\xff)|(\xff\xfa)|(\xff[\xfb-\xfe]?\Z)|(\n\x04)"
)
_SILENT, _NEGOTIATIONS, _KEY, _DATA, _BEGIN, _CUT_OFF, _END_OF_INPUT, _END_OF_LINE = range(1, 9)
_USUAL = re.compile(_SPECIAL + rb"|(\r(?:\x00|\Z))", re.DOTALL)
_BINARY_MODE = re.compile(_SPECIAL + rb"|(\r[\n\x00]?)", re.DOTALL)
_ANY_SPECIAL = re.compile(rb"\xff|\r(?:\x00|\Z)|\n\x04")  # is found much faster
_ANY_SPECIAL_IN_BINARY_MODE = re.compile(rb"\xff|\r|\n\x04")

MAX_SUBNEGOTIATION = 4096
"""Bytes in one subnegotiation, or the peer is cut off."""


class TelnetAbuse(Exception):
    """The peer sends a subnegotiation without end."""


@dataclass(slots=True)
class Received:
    """What a chunk of bytes came to.

    @ivar data: the bytes without telnet commands; CR NUL has become CR LF.
    @ivar replies: what telnet wants answered.
    @ivar interrupted: Ctrl-C was typed in telnet.
    @ivar ended: Ctrl-D was typed at the beginning of a line: nothing more will come.
    @ivar commands: how many of the bytes were telnet commands.
    """

    data: bytes
    replies: bytes = b""
    interrupted: bool = False
    ended: bool = False
    commands: int = field(default=0, compare=False)


def is_plain(data: bytes, *, at_line_start: bool) -> bool:
    """Whether a filter that has seen nothing but text so far would give this back as it is."""
    ends = at_line_start and data.startswith(_EOT)
    return not ends and _ANY_SPECIAL.search(data) is None


class TelnetFilter:
    """Takes telnet's commands out of what a connection receives, however it is cut up.

    Offers nothing by itself and refuses what it is asked for, so that to nc it is not there. Only
    BINARY is agreed to in the peer's direction (RFC 856): without it, telnet takes the byte 9D,
    which many letters have in UTF-8, for its escape character.

    @ivar spoken: the peer has negotiated an option, so it is telnet and nothing else.
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
        """@param at_line_start: what came before ended in LF, or nothing came before."""
        self.spoken = False
        self.asked = False
        self.binary = False
        self._pending = b""  # an unfinished command, or CR that NUL may follow
        self._after_cr = False  # in BINARY mode: a CR ended the line, and its LF or NUL may follow
        self._skipped = -1  # bytes of the subnegotiation under way; -1 when there is none
        self._line_start = at_line_start
        self._ended = False

    def ask(self) -> bytes:
        """What asks the peer for BINARY mode; nothing if it has been asked."""
        if self.asked:
            return b""
        self.asked = True
        return DO_BINARY

    def receive(self, data: bytes) -> Received:
        """@raise TelnetAbuse: if a subnegotiation is too long."""
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
        """Where in what comes next is the first byte that is more than text, and that takes time to
        look at; its length if there is none."""
        if self._skipped >= 0 or self._pending or self._after_cr or self._is_end(data, 0):
            return 0
        any_special = _ANY_SPECIAL_IN_BINARY_MODE if self.binary else _ANY_SPECIAL
        special = any_special.search(data)
        return special.start() if special else len(data)

    def _is_end(self, data: bytes, at: int) -> bool:
        """Is there a Ctrl-D that begins a line?"""
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
        """What a key of telnet's stands for."""
        if command == _AYT:
            replies += b"\r\n[yes]\r\n"
            return
        kept.append(_KEYS[command])
        received.commands += 1
        self._line_start = self._line_start or command != _EC
        received.interrupted |= command == _IP

    def _skip(self, data: bytes, at: int) -> int:
        """Pass over a subnegotiation; gives back where it ends, or the end of the data."""
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
        """Agree to BINARY from the peer, and refuse all else that is asked for (RFC 854).

        DO ECHO confirms our own offer and needs no answer, and neither does what is so already. A
        DO TIMING-MARK is answered, or telnet shows nothing more after Ctrl-C (RFC 860).
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
