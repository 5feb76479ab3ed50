"""The part of telnet that a line protocol needs. Bytes in, bytes out; no socket."""

import re
from dataclasses import dataclass

# RFC 854, and RFC 857 (ECHO), RFC 860 (TIMING-MARK).
IAC = 0xFF
_DONT, _DO, _WONT, _WILL, _SB, _SE = 0xFE, 0xFD, 0xFC, 0xFB, 0xFA, 0xF0
_EL, _EC, _AYT, _IP = 0xF8, 0xF7, 0xF6, 0xF4
_ECHO, _TIMING_MARK = 1, 6

WILL_ECHO = bytes([IAC, _WILL, _ECHO])
WONT_ECHO = bytes([IAC, _WONT, _ECHO])
NOP = bytes([IAC, 0xF1])

# What telnet asks to be done to the line being typed, as the key that does it.
_KEYS = {_IP: 0x15, _EL: 0x15, _EC: 0x7F}

_EOT = 0x04
_LF = 0x0A

_SPECIAL = re.compile(rb"[\xff\x04]|\r\x00")

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
    """

    data: bytes
    replies: bytes = b""
    interrupted: bool = False
    ended: bool = False


class TelnetFilter:
    """Takes telnet's commands out of what a connection receives, however it is cut up.

    Offers nothing by itself and refuses what it is asked for, so that to nc it is not there.

    @ivar spoken: the peer has negotiated an option, so it is telnet and nothing else.
    """

    __slots__ = ("_ended", "_line_start", "_pending", "_skipped", "spoken")

    def __init__(self) -> None:
        self.spoken = False
        self._pending = b""  # an unfinished command, or CR that NUL may follow
        self._skipped = -1  # bytes of the subnegotiation under way; -1 when there is none
        self._line_start = True
        self._ended = False

    def receive(self, data: bytes) -> Received:
        """@raise TelnetAbuse: if a subnegotiation is too long."""
        if self._ended:
            return Received(b"", ended=True)
        if self._pending:
            data, self._pending = self._pending + data, b""
        if self._skipped < 0 and not _SPECIAL.search(data):
            if data.endswith(b"\r"):
                data, self._pending = data[:-1], b"\r"
            if data:
                self._line_start = data[-1] == _LF
            return Received(data)
        return self._filter(data)

    def _filter(self, data: bytes) -> Received:
        received = Received(b"")
        kept = bytearray()
        replies = bytearray()
        at = 0
        while at < len(data):
            if self._skipped >= 0:
                at = self._skip(data, at)
                continue
            byte = data[at]
            if byte == IAC:
                size = self._command(data, at, kept, replies, received)
                if not size:
                    self._pending = data[at:]
                    break
                at += size
                continue
            if byte == 0x0D:
                if at + 1 == len(data):
                    self._pending = b"\r"
                    break
                if data[at + 1] == 0:
                    kept += b"\r\n"
                    self._line_start = True
                    at += 2
                    continue
            if byte == _EOT and self._line_start:
                received.ended = self._ended = True
                break
            kept.append(byte)
            self._line_start = byte == _LF
            at += 1
        received.data = bytes(kept)
        received.replies = bytes(replies)
        return received

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

    def _command(
        self, data: bytes, at: int, kept: bytearray, replies: bytearray, received: Received
    ) -> int:
        """One command; gives back its size, or 0 if it is not all there yet."""
        if at + 1 == len(data):
            return 0
        command = data[at + 1]
        if command == IAC:
            kept.append(IAC)
            self._line_start = False
            return 2
        if command == _SB:
            self._skipped = 0
            return 2
        if command in (_DO, _DONT, _WILL, _WONT):
            if at + 2 == len(data):
                return 0
            self.spoken = True
            replies += _answer(command, data[at + 2])
            return 3
        if command == _AYT:
            replies += b"\r\n[yes]\r\n"
        elif command in _KEYS:
            kept.append(_KEYS[command])
            self._line_start = self._line_start or command != _EC
            received.interrupted |= command == _IP
        return 2


def _answer(command: int, option: int) -> bytes:
    """Refuse what is asked for (RFC 854). DO ECHO confirms our own offer and needs no answer; a
    DO TIMING-MARK is answered, or telnet shows nothing more after Ctrl-C (RFC 860)."""
    if command == _WILL:
        return bytes([IAC, _DONT, option])
    if command == _DO and option == _TIMING_MARK:
        return bytes([IAC, _WILL, option])
    if command == _DO and option != _ECHO:
        return bytes([IAC, _WONT, option])
    return b""
