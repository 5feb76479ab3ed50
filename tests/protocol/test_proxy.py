"""The header by which a proxy tells whose connection it passes on."""

import struct
from ipaddress import IPv4Address, IPv6Address

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twisted_chat.protocol.proxy import LONGEST, Header, NoHeader, is_header, read

SIGNATURE = bytes.fromhex("0d0a0d0a000d0a515549540a")

Address = IPv4Address | IPv6Address


def line(family: str, client: Address, server: Address, *ports: int) -> bytes:
    """Make a header of version 1."""
    return f"PROXY {family} {client} {server} {ports[0]} {ports[1]}\r\n".encode()


def binary(command: int, family: int, block: bytes = b"", tlvs: bytes = b"") -> bytes:
    """Make a header of version 2."""
    length = struct.pack("!H", len(block) + len(tlvs))
    return SIGNATURE + bytes([command, family]) + length + block + tlvs


def block(client: Address, server: Address, *ports: int) -> bytes:
    """Make the addresses of version 2."""
    return client.packed + server.packed + struct.pack("!HH", *ports)


def tlv(kind: int, value: bytes) -> bytes:
    """Make a TLV of version 2."""
    return struct.pack("!BH", kind, len(value)) + value


_FOUR = IPv4Address("192.0.2.7"), IPv4Address("198.51.100.1"), 56324, 5000
_SIX = IPv6Address("2001:db8::7"), IPv6Address("2001:db8::1"), 56324, 5000
_PORTS = st.integers(0, 65535)


@st.composite
def headers(draw: st.DrawFn) -> tuple[bytes, Address | None, int]:
    """A header of either version, with the address and the port that it tells."""
    four = draw(st.booleans())
    addresses = st.ip_addresses(v=4 if four else 6)
    client, server = draw(addresses), draw(addresses)
    ports = draw(_PORTS), draw(_PORTS)
    tlvs = b"".join(
        tlv(kind, value)
        for kind, value in draw(
            st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=100)), max_size=4)
        )
    )
    known = [
        line("TCP4" if four else "TCP6", client, server, *ports),
        binary(0x21, 0x11 if four else 0x21, block(client, server, *ports), tlvs),
    ]
    unknown = [
        b"PROXY UNKNOWN\r\n",
        line("UNKNOWN", client, server, *ports),
        binary(0x20, draw(st.integers(0, 255)), b"", tlvs),
        binary(0x21, draw(st.sampled_from((0x00, 0x12, 0x22, 0x31, 0x32))), bytes(216), tlvs[:300]),
    ]
    if draw(st.booleans()):
        return draw(st.sampled_from(known)), client, ports[0]
    return draw(st.sampled_from(unknown)), None, 0


class HeaderTests(SynchronousTestCase):
    def refuse(self, data: bytes) -> None:
        self.assertRaises(NoHeader, read, data)

    @given(headers(), st.binary(max_size=40))
    def test_cut_anywhere(self, header: tuple[bytes, Address | None, int], rest: bytes) -> None:
        """A header is read once it is complete, whatever follows, and not a byte earlier."""
        data, client, port = header
        for size in range(len(data)):
            self.assertIsNone(read(data[:size]), size)
        for complete in data, data + rest:
            self.assertEqual(read(complete), Header(len(data), client, port))

    @given(headers(), st.data())
    def test_wrong_byte(
        self, header: tuple[bytes, Address | None, int], data: st.DataObject
    ) -> None:
        """Whatever becomes of a byte of a header, it is read, or more is needed, or it is none."""
        wrong = bytearray(header[0])
        wrong[data.draw(st.integers(0, len(wrong) - 1))] = data.draw(st.integers(0, 255))
        self.check(bytes(wrong))

    @given(st.sampled_from((b"", b"PROXY ", b"PROXY TCP4 ", SIGNATURE)), st.binary(max_size=700))
    def test_anything(self, start: bytes, rest: bytes) -> None:
        """Anything else is read, needs more, or is none; and nothing needs more than 536 bytes."""
        self.check(start + rest)

    def check(self, data: bytes) -> None:
        try:
            header = read(data)
        except NoHeader:
            return
        if header is None:
            self.assertLess(len(data), LONGEST)
        else:
            self.assertLessEqual(header.size, len(data))

    def test_examples(self) -> None:
        """The examples of the specification and of HAProxy's own output are read."""
        example = b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\nGET / HTTP/1.1\r\n"
        self.assertEqual(read(example), Header(47, IPv4Address("192.168.0.1"), 56324))
        mapped = b"PROXY TCP6 ::ffff:192.0.2.7 ::ffff:192.0.2.1 1 2\r\n"
        self.assertEqual(read(mapped), Header(50, IPv6Address("::ffff:192.0.2.7"), 1))
        longest = b"PROXY UNKNOWN " + b" ".join(
            [b"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"] * 2 + [b"65535"] * 2
        )
        self.assertEqual(read(longest + b"\r\n"), Header(107))

    def test_no_line(self) -> None:
        """A line of version 1 that is not exactly as specified is refused."""
        for text in (
            b"PROXY TCP4 192.0.2.7 192.0.2.1 1 2\n",
            b"PROXY TCP4 192.0.2.7 192.0.2.1 1\r\n",
            b"PROXY TCP4 192.0.2.7 192.0.2.1 1 2 3\r\n",
            b"PROXY TCP4  192.0.2.7 192.0.2.1 1 2\r\n",
            b"PROXY TCP4 192.0.2.07 192.0.2.1 1 2\r\n",
            b"PROXY TCP4 192.0.2.256 192.0.2.1 1 2\r\n",
            b"PROXY TCP4 192.0.2.7 192.0.2.256 1 2\r\n",
            b"PROXY TCP4 192.0.2.7 192.0.2.1 01 2\r\n",
            b"PROXY TCP4 192.0.2.7 192.0.2.1 65536 2\r\n",
            b"PROXY TCP4 192.0.2.7 192.0.2.1 1 65536\r\n",
            b"PROXY TCP4 2001:db8::7 2001:db8::1 1 2\r\n",
            b"PROXY TCP6 192.0.2.7 192.0.2.1 1 2\r\n",
            b"PROXY TCP6 fe80::7%eth0 fe80::1 1 2\r\n",
            b"PROXY TCP6 2001:db8:::7 2001:db8::1 1 2\r\n",
            b"PROXY UDP4 192.0.2.7 192.0.2.1 1 2\r\n",
            b"PROXY UNKNOWNS\r\n",
            b"PROXY UNKNOWN\n\r\n",
            b"PROXY UNKNOWN a\rb\r\n",
            b"proxy TCP4 192.0.2.7 192.0.2.1 1 2\r\n",
            b"PROXY\r\n",
            b"PROXY UNKNOWN " + b"x" * 92 + b"\r\n",
            b"PROXY UNKNOWN " + b"x" * 93,
        ):
            self.refuse(text)
        self.assertIsNone(read(b"PROXY UNKNOWN " + b"x" * 92))

    def test_no_binary(self) -> None:
        """In version 2, other versions, commands, families and transports are refused, and also
        addresses that are cut short and headers over 536 bytes, before they have come."""
        addresses = block(*_FOUR)
        for command in (0x00, 0x01, 0x11, 0x22, 0x2F, 0x31):
            self.refuse(binary(command, 0x11, addresses))
        for family in (0x13, 0x1F, 0x03, 0x40, 0x41, 0xF1):
            self.refuse(binary(0x21, family, addresses)[:16])
        self.refuse(binary(0x21, 0x11, addresses[:-1]))
        self.refuse(binary(0x21, 0x21, block(*_SIX)[:-1]))
        for command, family in (0x21, 0x11), (0x20, 0x00):
            self.refuse(binary(command, family, bytes(521))[:16])
            self.assertIsNone(read(binary(command, family, bytes(520))[:-1]))
            self.assertIsNotNone(read(binary(command, family, bytes(520))))

    def test_other_protocols(self) -> None:
        """What a person, a TLS client or a browser sends first is refused at its first byte that
        does not fit."""
        for data in (
            b"alice\n",
            b"\x16\x03\x01",
            b"POST / HTTP/1.1",
            b"\r\nalice",
            b"PROXYS",
            b"\n",
        ):
            self.refuse(data)
        for data in (b"", b"\r", b"\r\n\r\n", b"P", b"PROXY"):
            self.assertIsNone(read(data))

    @given(headers())
    def test_is_recognised(self, header: tuple[bytes, Address | None, int]) -> None:
        """A header is recognised also where none is taken."""
        self.assertTrue(is_header(header[0]))

    def test_is_not_recognised(self) -> None:
        """Names and messages that begin alike are not taken for a header."""
        for data in b"PROXY\n", b"PROXY TCP", b"proxy unknown\n", b"\r\n\r\nQUIT\n", b"":
            self.assertFalse(is_header(data))
