"""The header by which a proxy tells whose connection it passes on. Pure.

The sections that are named here are those of HAProxy's C{doc/proxy-protocol.txt}, "The PROXY
protocol, Versions 1 & 2".
"""

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from struct import Struct

LONGEST = 536
"""Bytes that a header may have: it fits in the smallest TCP segment (section 2)."""

_LONGEST_LINE = 107  # version 1, with CR LF (section 2.1)
_FIXED = 16  # the part of version 2 that has the length of the rest (section 2.2)

_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_LOCAL, _PROXY = 0x20, 0x21  # version and command
_LAST_FAMILY, _LAST_TRANSPORT = 3, 2
_BLOCKS = {0x11: Struct("!4s4xH2x"), 0x21: Struct("!16s16xH2x")}
"""TCP over IPv4 and IPv6 → where the client's address and port are in what follows."""

_NAME = b"PROXY "
_ADDRESS = rb" ([\da-fA-F:.]+)"
_PORT = rb" (0|[1-9]\d{0,4})"
_LINE = re.compile(
    rb"PROXY (?:UNKNOWN(?: [^\r\n]*)?|TCP([46])" + 2 * _ADDRESS + 2 * _PORT + rb")\r\n"
)
_HIGHEST_PORT = 65535
_VERSIONS: dict[bytes, type[IPv4Address | IPv6Address]] = {b"4": IPv4Address, b"6": IPv6Address}


class NoHeader(Exception):
    """What has come is not a header that this module accepts."""


@dataclass(frozen=True, slots=True)
class Header:
    """What a header says.

    @ivar size: its length in bytes. What follows is the client's.
    @ivar client: the client's address; L{None} if the proxy connects on its own behalf, as for a
        health check, or does not know the address, or the client does not use TCP.
    @ivar port: the client's port; 0 if there is no address.
    """

    size: int
    client: IPv4Address | IPv6Address | None = None
    port: int = 0


def is_header(data: bytes) -> bool:
    """Tell whether the first bytes from a peer begin a header."""
    return data.startswith((_SIGNATURE, b"PROXY TCP4 ", b"PROXY TCP6 ", b"PROXY UNKNOWN"))


def read(data: bytes) -> Header | None:
    """Read the header at the beginning of a connection.

    TLVs are skipped, so a checksum in one of them is not verified: TCP has one of its own.

    @param data: all that has come so far.
    @return: L{None} if more bytes are needed, which are at most L{LONGEST} in all.
    @raise NoHeader: if it is not a header.
    """
    if _SIGNATURE.startswith(data[: len(_SIGNATURE)]):
        return _read_binary(data)
    if _NAME.startswith(data[: len(_NAME)]):
        return _read_line(data)
    raise NoHeader


def _read_line(data: bytes) -> Header | None:
    """Read a header of version 1 (section 2.1)."""
    size = data.find(b"\n", 0, _LONGEST_LINE) + 1
    if not size and len(data) < _LONGEST_LINE:
        return None
    found = _LINE.fullmatch(data[:size])
    if found is None:
        raise NoHeader
    version, *texts = found.groups(b"")
    if not version:
        return Header(size)
    client, server, *ports = (text.decode() for text in texts)
    try:
        addresses = [_VERSIONS[version](text) for text in (client, server)]
    except ValueError:
        raise NoHeader from None
    if max(map(int, ports)) > _HIGHEST_PORT:
        raise NoHeader
    return Header(size, addresses[0], int(ports[0]))


def _read_binary(data: bytes) -> Header | None:
    """Read a header of version 2 (section 2.2)."""
    if len(data) < _FIXED:
        return None
    command, family = data[len(_SIGNATURE) : len(_SIGNATURE) + 2]
    size = _FIXED + int.from_bytes(data[_FIXED - 2 : _FIXED], "big")
    if command not in (_LOCAL, _PROXY) or size > LONGEST:
        raise NoHeader
    if command == _PROXY and (family >> 4 > _LAST_FAMILY or family & 15 > _LAST_TRANSPORT):
        raise NoHeader
    if len(data) < size:
        return None
    block = _BLOCKS.get(family) if command == _PROXY else None
    if block is None:
        return Header(size)
    if size < _FIXED + block.size:
        raise NoHeader
    client, port = block.unpack_from(data, _FIXED)
    return Header(size, ip_address(client), port)
