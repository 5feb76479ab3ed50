"""The telnet filter, on every kind of input cut up in every way."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twisted_chat.faces.line import telnet
from twisted_chat.faces.line.telnet import (
    MAX_SUBNEGOTIATION,
    WILL_ECHO,
    WONT_ECHO,
    Received,
    TelnetAbuse,
    TelnetFilter,
)

IAC, DONT, DO, WONT, WILL, SB, SE = b"\xff", b"\xfe", b"\xfd", b"\xfc", b"\xfb", b"\xfa", b"\xf0"
EL, EC, AYT, IP, NOP = b"\xf8", b"\xf7", b"\xf6", b"\xf4", b"\xf1"
BINARY, ECHO, TIMING_MARK = b"\x00", b"\x01", b"\x06"

_COMMANDS = (DO, DONT, WILL, WONT, SB, SE, EL, EC, AYT, IP, NOP, BINARY, ECHO, TIMING_MARK)
_BYTES = (b"\r", b"\n", b"\x00", b"\x04", b"a", b"\xc3\xa9")
_piece = st.one_of(
    st.sampled_from(_COMMANDS),
    st.sampled_from(_BYTES),
    st.sampled_from((IAC, IAC + SB, IAC + SE, IAC + IP, IAC + WILL + BINARY)),
)
_hostile = st.lists(_piece, max_size=24).map(b"".join)

LINES = (
    b"hello\r\nworld\n",
    b"hello\r\x00world\r\n",
    b"\r\n\r\x00\r\r\n\r\r\x00\n",
    b"a" + IAC + DO + ECHO + b"b" + IAC + WILL + b"\x22" + b"c\r\n",
    IAC + IP + IAC + DO + TIMING_MARK + b"hi\r\n",
    b"na\xc3\xafve" + IAC + IAC + b"\n",
    b"x" + IAC + SB + b"\x18\x00VT100" + IAC + IAC + b"\r\x00\x04" + IAC + SE + b"y\r\n",
    IAC + AYT + b"abc" + IAC + EC + b"d" + IAC + EL + b"e\n",
    b"one\n\x04",
    b"not here\x04\n" + IAC + NOP + b"\x04",
    b"a\r" + IAC + WILL + BINARY + b"b\rc\r\nd\r\x00\re\r\x04" + IAC + WONT + BINARY + b"f\rg\r\n",
    IAC + WILL + BINARY + b"x\ry\r\nz" + IAC + WONT + BINARY + b"\r" + IAC + NOP + b"\nw\r\x00",
)
"""Inputs that have something in them to be cut in two."""


def receive(*chunks: bytes) -> Received:
    """What a fresh filter makes of these chunks, put together. Ends when the peer does."""
    telnet_filter = TelnetFilter()
    total = Received(b"")
    for chunk in chunks:
        received = telnet_filter.receive(chunk)
        total.data += received.data
        total.replies += received.replies
        total.interrupted |= received.interrupted
        total.ended |= received.ended
        if total.ended:
            break
    return total


def outcome(*chunks: bytes) -> Received | None:
    """As receive(), but None if the peer must be cut off."""
    try:
        return receive(*chunks)
    except TelnetAbuse:
        return None


def one_by_one(data: bytes) -> list[bytes]:
    """The bytes, each as a chunk."""
    return [data[at : at + 1] for at in range(len(data))]


class PlainTests(SynchronousTestCase):
    """Input without telnet."""

    def test_lines_go_through(self) -> None:
        """LF and CR LF lines come out unchanged, with no reply."""
        for data in (
            b"hello\n",
            b"hello\r\n",
            b"no end",
            "né 😀\n".encode(),
            b"",
            b"\x00\x1b[A\x7f",
        ):
            self.assertEqual(receive(data), Received(data))

    def test_cr_nul_ends_a_line(self) -> None:
        """CR NUL, which telnet sends for Enter, becomes CR LF."""
        self.assertEqual(receive(b"hello\r\x00you\r\x00").data, b"hello\r\nyou\r\n")

    def test_cr_is_kept_until_it_is_clear_what_it_is(self) -> None:
        """A CR at the end of a chunk comes out with the byte that follows it."""
        telnet_filter = TelnetFilter()
        self.assertEqual(telnet_filter.receive(b"hello\r").data, b"hello")
        self.assertEqual(telnet_filter.receive(b"\n").data, b"\r\n")

    def test_cr_alone_stays(self) -> None:
        """A CR before anything else is the text's own, and so is a NUL without CR."""
        self.assertEqual(receive(b"a\rb\x00c\n").data, b"a\rb\x00c\n")

    def test_doubled_iac_is_one_byte(self) -> None:
        """IAC IAC is the data byte 255."""
        self.assertEqual(receive(b"a" + IAC + IAC + b"b\n"), Received(b"a\xffb\n"))

    @given(st.binary().map(lambda data: data.replace(IAC, b"")))
    def test_nothing_is_answered_to_who_speaks_no_telnet(self, data: bytes) -> None:
        """Without an IAC from the peer there is no reply, no interrupt and no IAC."""
        received = receive(data)
        self.assertEqual(received.replies, b"")
        self.assertNotIn(IAC, received.data)
        self.assertFalse(received.interrupted)


class NegotiationTests(SynchronousTestCase):
    """Options that the peer negotiates."""

    def test_offers_are_refused(self) -> None:
        """WILL anything but BINARY is answered with DONT."""
        for option in map(bytes, zip(range(1, 256))):
            self.assertEqual(receive(IAC + WILL + option), Received(b"", IAC + DONT + option))

    def test_requests_are_refused(self) -> None:
        """DO anything that we never offered is answered with WONT."""
        for option in map(bytes, zip(range(256))):
            if option not in (ECHO, TIMING_MARK):
                self.assertEqual(receive(IAC + DO + option), Received(b"", IAC + WONT + option))

    def test_timing_mark_is_answered(self) -> None:
        """DO TIMING-MARK is answered, or telnet would show nothing more after Ctrl-C."""
        replies = receive(IAC + DO + TIMING_MARK).replies
        self.assertIn(replies, (IAC + WILL + TIMING_MARK, IAC + WONT + TIMING_MARK))

    def test_confirmation_of_echo_is_not_answered(self) -> None:
        """DO ECHO and DONT ECHO answer our own offer: an answer to them could go on forever."""
        self.assertEqual(receive(IAC + DO + ECHO + IAC + DONT + ECHO), Received(b""))

    def test_refusals_are_not_answered(self) -> None:
        """DONT and WONT ask for nothing, so nothing is said."""
        for option in map(bytes, zip(range(256))):
            self.assertEqual(receive(IAC + DONT + option + IAC + WONT + option), Received(b""))

    def test_replies_are_in_order(self) -> None:
        """Several requests are answered in the order they came, and the text is put together."""
        received = receive(b"a" + IAC + WILL + b"\x1f" + b"b" + IAC + DO + b"\x03" + b"c\n")
        self.assertEqual(received, Received(b"abc\n", IAC + DONT + b"\x1f" + IAC + WONT + b"\x03"))

    def test_are_you_there_is_answered_in_plain_text(self) -> None:
        """AYT gets a line that anyone can read."""
        received = receive(IAC + AYT)
        self.assertEqual(received.data, b"")
        self.assertTrue(received.replies.isascii() and received.replies.strip())

    def test_other_commands_are_passed_over(self) -> None:
        """A command that a chat has no use for leaves no trace, known or not."""
        silent = set(range(256)) - {0xFF, *DO, *DONT, *WILL, *WONT, *SB, *EL, *EC, *AYT, *IP}
        for command in sorted(silent):
            self.assertEqual(receive(b"a" + IAC + bytes([command]) + b"b"), Received(b"ab"))

    def test_echo_offers(self) -> None:
        """The two offers that hide a password are those of RFC 857."""
        self.assertEqual(WILL_ECHO, IAC + WILL + ECHO)
        self.assertEqual(WONT_ECHO, IAC + WONT + ECHO)


class KeyTests(SynchronousTestCase):
    """Keys that telnet has commands for."""

    def test_ctrl_c_interrupts_and_kills_the_line(self) -> None:
        """Ctrl-C in telnet is told, and what was typed before it on the line is taken back."""
        received = receive(b"half a li" + IAC + IP + IAC + DO + TIMING_MARK)
        self.assertTrue(received.interrupted)
        self.assertFalse(received.ended)
        self.assertEqual(received.data, b"half a li\x15")
        self.assertTrue(received.replies)

    def test_interrupt_is_told_once(self) -> None:
        """The chunk after an interrupt is an ordinary one."""
        telnet_filter = TelnetFilter()
        telnet_filter.receive(IAC + IP)
        self.assertFalse(telnet_filter.receive(b"hi\n").interrupted)

    def test_erase_keys(self) -> None:
        """Erase Character and Erase Line become the keys that do it, and interrupt nothing."""
        self.assertEqual(receive(b"ab" + IAC + EC), Received(b"ab\x7f"))
        self.assertEqual(receive(b"ab" + IAC + EL), Received(b"ab\x15"))

    def test_ctrl_d_at_the_beginning_of_a_line_ends(self) -> None:
        """Ctrl-D first of all, or first on a later line, means that no more will come."""
        for before in (b"", b"hi\n", b"hi\r\n", b"hi\r\x00", b"\n\n", IAC + NOP):
            self.assertTrue(receive(before + b"\x04").ended, before)
            self.assertTrue(receive(before, b"\x04").ended, before)

    def test_ctrl_d_keeps_the_lines_before_it(self) -> None:
        """What was sent before Ctrl-D still counts, and what is behind it in the chunk does not."""
        self.assertEqual(receive(b"hi\n\x04gone\n"), Received(b"hi\n", ended=True))

    def test_ctrl_d_elsewhere_is_a_character(self) -> None:
        """Ctrl-D behind something else on the line ends nothing."""
        for before in (b"a", b"hi\nyou", b"hi\r", IAC + IAC, b"\xc3"):
            self.assertFalse(receive(before + b"\x04").ended, before)
            self.assertFalse(receive(before, b"\x04").ended, before)

    def test_what_is_behind_ctrl_d_is_no_command(self) -> None:
        """What is behind Ctrl-D is skipped."""
        self.assertEqual(TelnetFilter().receive(b"hi\n\x04" + b"x" * 100).commands, 1)

    def test_first_special(self) -> None:
        """C{first_special} finds where plain text ends."""
        for text in b"", b"hi\r\n", b"a\x04" * 100, b"\x04\x04\n\r", b"hi\r\n\x00":
            for special in IAC + NOP, b"\r\x00", b"\n\x04":
                data = b"a" + text + b"a"
                self.assertEqual(TelnetFilter().first_special(data), len(data), data)
                data += special
                self.assertEqual(TelnetFilter().first_special(data), len(data) - 2, data)

    def test_first_special_behind_what_came_before(self) -> None:
        """C{first_special} is 0 if the chunk before has left something unfinished."""
        for before, data in (
            (b"", b"\x04"),
            (b"hi\n", b"\x04"),
            (IAC, NOP + b"hi"),
            (b"hi\r", b"\x00hi"),
            (IAC + SB + b"x", b"hi"),
            (IAC + WILL + BINARY + b"hi\r", b"\n"),
            (IAC + WILL + BINARY, b"\r"),
        ):
            telnet_filter = TelnetFilter()
            telnet_filter.receive(before)
            self.assertEqual(telnet_filter.first_special(data), 0, before)


class BinaryTests(SynchronousTestCase):
    """BINARY, in which the peer sends all bytes as they are (RFC 856)."""

    def test_asked_once(self) -> None:
        """Neither the peer's agreement to BINARY nor its refusal is answered."""
        for answer, binary in (IAC + WILL + BINARY, True), (IAC + WONT + BINARY, False):
            telnet_filter = TelnetFilter()
            self.assertEqual(telnet_filter.ask(), IAC + DO + BINARY)
            self.assertEqual(telnet_filter.ask(), b"")
            self.assertEqual(telnet_filter.receive(answer), Received(b""))
            self.assertEqual(telnet_filter.binary, binary)
            self.assertTrue(telnet_filter.spoken)

    def test_offered(self) -> None:
        """The peer's offer of BINARY is agreed to once, and its end is answered."""
        telnet_filter = TelnetFilter()
        offer, end = IAC + WILL + BINARY, IAC + WONT + BINARY
        self.assertEqual(telnet_filter.receive(offer).replies, IAC + DO + BINARY)
        self.assertEqual(telnet_filter.receive(offer).replies, b"")
        self.assertEqual(telnet_filter.receive(end).replies, IAC + DONT + BINARY)
        self.assertEqual(telnet_filter.receive(end).replies, b"")

    def test_asked_for(self) -> None:
        """A request to send in BINARY is refused each time, as telnet waits for the answer."""
        data = IAC + DO + BINARY
        self.assertEqual(receive(data + data), Received(b"", 2 * (IAC + WONT + BINARY)))

    def test_ends_of_lines(self) -> None:
        """In BINARY mode LF, CR LF, CR NUL and CR all end a line."""
        data = b"a\nb\r\nc\r\x00d\re\r\r\r\n\n\x04"
        received = receive(IAC + WILL + BINARY + data)
        self.assertEqual(received.data, b"a\nb\r\nc\r\nd\r\ne\r\n\r\n\r\n\n")
        self.assertTrue(received.ended)

    def test_end_of_a_line_alone(self) -> None:
        """A CR ends a line also in a chunk that has nothing else of telnet."""
        telnet_filter = TelnetFilter()
        telnet_filter.receive(IAC + WILL + BINARY)
        self.assertEqual(telnet_filter.receive(b"a\rb").data, b"a\r\nb")


class CommandBytesTests(SynchronousTestCase):
    """The number of bytes that are telnet commands, for which a peer is charged."""

    def test_commands(self) -> None:
        """All bytes of a command are counted."""
        for command in (
            IAC + NOP,
            IAC + DO + ECHO,
            IAC + IP,
            IAC + EC,
            IAC + AYT,
            IAC + SB + b"x\xff\xff" + IAC + SE,
        ):
            data = b"a" + command + b"b\r\n"
            self.assertEqual(TelnetFilter().receive(data).commands, len(command), command)

    def test_text(self) -> None:
        """Bytes of text are not counted, however lines end."""
        for data in b"a\r\nb\r\x00c\r", "né 😀\n".encode(), b"a\x04\n":
            self.assertEqual(TelnetFilter().receive(data).commands, 0, data)


class SubnegotiationTests(SynchronousTestCase):
    """Subnegotiations are passed over, and end."""

    def test_subnegotiation_leaves_no_trace(self) -> None:
        """Neither its bytes nor an answer to them comes out."""
        data = b"a" + IAC + SB + b"\x18\x00xterm\r\n\x04" + IAC + SE + b"b\n"
        self.assertEqual(receive(data), Received(b"ab\n"))

    def test_empty_subnegotiation(self) -> None:
        """A subnegotiation may hold nothing at all."""
        self.assertEqual(receive(IAC + SB + IAC + SE + b"hi"), Received(b"hi"))

    def test_doubled_iac_within_does_not_end_it(self) -> None:
        """IAC IAC SE within a subnegotiation is two bytes of it."""
        self.assertEqual(receive(IAC + SB + b"\x18" + IAC + IAC + SE + b"a"), Received(b""))

    def test_stray_end_is_passed_over(self) -> None:
        """SE without a beginning does nothing."""
        self.assertEqual(receive(b"a" + IAC + SE + b"b"), Received(b"ab"))

    def test_long_subnegotiation_within_the_cap(self) -> None:
        """One that just fits is passed over, however it is cut up."""
        data = IAC + SB + b"x" * (MAX_SUBNEGOTIATION - 2) + IAC + SE + b"hi\n"
        self.assertEqual(receive(data), Received(b"hi\n"))
        self.assertEqual(receive(*one_by_one(data)), Received(b"hi\n"))

    def test_endless_subnegotiation_is_cut(self) -> None:
        """One that goes on over the cap is abuse, whether it ends at some time or not."""
        for end in (b"", IAC, IAC + SE):
            data = IAC + SB + b"x" * (MAX_SUBNEGOTIATION + 1) + end
            self.assertRaises(TelnetAbuse, receive, data)
            self.assertRaises(TelnetAbuse, receive, *one_by_one(data))

    def test_endless_doubled_iac_is_cut(self) -> None:
        """Doubled IACs count as well."""
        data = IAC + SB + IAC * (MAX_SUBNEGOTIATION + 2)
        self.assertRaises(TelnetAbuse, receive, data)
        self.assertRaises(TelnetAbuse, receive, *one_by_one(data))

    def test_each_subnegotiation_has_the_whole_cap(self) -> None:
        """Many short ones are no abuse."""
        data = (IAC + SB + b"x" * 1000 + IAC + SE) * 20
        self.assertEqual(receive(data), Received(b""))

    def test_cap_bounds_what_is_kept(self) -> None:
        """What an unfinished subnegotiation or command leaves in memory is a few bytes."""
        telnet_filter = TelnetFilter()
        for chunk in (b"a" * 100_000 + IAC + SB, b"x" * 4000 + IAC):
            telnet_filter.receive(chunk)
        self.assertLessEqual(len(telnet_filter._pending), 2)


class SplitTests(SynchronousTestCase):
    """However the bytes are cut up, the same comes out."""

    def check(self, data: bytes) -> None:
        """Cut the data at every place, and everywhere."""
        whole = outcome(data)
        for at in range(len(data) + 1):
            self.assertEqual(outcome(data[:at], data[at:]), whole, (data[:at], data[at:]))
        self.assertEqual(outcome(*one_by_one(data)), whole, data)

    def test_known_inputs(self) -> None:
        """Usual inputs come out the same from any two chunks, and byte by byte."""
        for data in LINES:
            self.check(data)

    @given(_hostile)
    def test_hostile_inputs(self, data: bytes) -> None:
        """Inputs that are full of IACs come out the same, too."""
        self.check(data)

    @given(_hostile)
    def test_hostile_inputs_at_a_small_cap(self, data: bytes) -> None:
        """Whether a peer is cut off does not depend on how its bytes are cut up."""
        cap = self.patch(telnet, "MAX_SUBNEGOTIATION", 4)
        try:
            self.check(IAC + SB + data)
        finally:
            cap.restore()

    @given(st.lists(st.one_of(_hostile, st.binary(max_size=8)), max_size=8))
    def test_no_input_raises_anything_but_abuse(self, chunks: list[bytes]) -> None:
        """No chunks, however malformed, raise anything but TelnetAbuse."""
        outcome(*chunks)

    @given(_hostile)
    def test_no_more_iacs_than_the_peer_sent(self, data: bytes) -> None:
        """Each command in the replies, and each 255 in the data, was provoked by an IAC."""
        received = outcome(data)
        if received is not None:
            sent = received.replies.count(IAC) + received.data.count(IAC)
            self.assertLessEqual(sent, data.count(IAC))
