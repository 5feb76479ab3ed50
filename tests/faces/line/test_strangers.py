"""Browsers, IRC clients and TLS on a port of the line protocol; and who may be sent telnet."""

import json
from typing import ClassVar

from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import ITCPTransport
from zope.interface import alsoProvides

from tests.faces.line.server import (
    MemoryTransport,
    Peer,
    ServerTestCase,
    TlsTransport,
)
from twisted_chat.core.limits import Limits
from twisted_chat.faces.line.telnet import Received, TelnetFilter
from twisted_chat.protocol import strangers

_POST = (
    b"POST / HTTP/1.1\r\nHost: 127.0.0.1:40053\r\nConnection: keep-alive\r\nContent-Length: 27\r\n"
    b'sec-ch-ua-platform: "Linux"\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)'
    b" AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/156.0.0.0 Safari/537.36\r\n"
    b'sec-ch-ua: "Not:A-Brand";v="8", "Chromium";v="156"\r\n'
    b"Content-Type: text/plain;charset=UTF-8\r\nsec-ch-ua-mobile: ?0\r\nAccept: */*\r\n"
    b"Origin: http://127.0.0.1:36307\r\nSec-Fetch-Site: same-site\r\nSec-Fetch-Mode: no-cors\r\n"
    b"Sec-Fetch-Dest: empty\r\nReferer: http://127.0.0.1:36307/\r\n"
    b"Accept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: en-US,en;q=0.9\r\n\r\n"
    b"/nick x\nhello\n/dm alice hi\n"
)
"""What Chromium 156 sends for fetch(url, {method: "POST", mode: "no-cors", body: …})."""

_HTTP = strangers.http_answer(tls=False)
_IRC = strangers.irc_answer(tls=False)
_GREETING = b"* Welcome to chat. Type a name or /help, or press Enter to be a guest.\nName: "
_ASKED = b"\xff\xfd\x00\r\x1b[KName: "
_TLS = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n/guest mallory\nhello\n"


class _HalfCloseTransport(MemoryTransport):
    """A transport whose two directions end one by one."""

    def __init__(self, peer: IPv4Address) -> None:
        super().__init__(peer)
        alsoProvides(self, ITCPTransport)
        self.wrote_all = False

    def getHandle(self) -> "_HalfCloseTransport":
        return self

    def send(self, data: bytes) -> int:
        self.write(data)
        return len(data)

    def loseWriteConnection(self) -> None:
        self.wrote_all = True


class StrangersTests(ServerTestCase):
    """Clients of other protocols: each is answered in its own, and nothing that it sends is carried
    out."""

    def setUp(self) -> None:
        super().setUp()
        self.alice = self.guest("alice")

    def answer(self, *pieces: bytes) -> bytes:
        """The answer to these pieces, sent at once."""
        peer = self.newcomer()
        for piece in pieces:
            peer.send(piece)
        self.settle()
        self.assertTrue(peer.protocol.dialogue.session.has_ended)
        return peer.take_bytes()

    def check_nothing_came_of_it(self) -> None:
        self.assertEqual(self.alice.take(), "")
        self.assertEqual(self.messages, [])

    def test_browser(self) -> None:
        """A browser gets a response and nothing else, and nobody is here or was told anything."""
        self.assertEqual(self.answer(_POST), _HTTP)
        self.check_nothing_came_of_it()

    def test_cut_anywhere(self) -> None:
        """A request that is cut anywhere gets the same answer."""
        for at in range(1, len(_POST)):
            self.assertEqual(self.answer(_POST[:at], _POST[at:]), _HTTP, at)
        self.assertEqual(self.answer(*(_POST[n : n + 1] for n in range(len(_POST)))), _HTTP)
        self.check_nothing_came_of_it()

    def test_half_a_request_line(self) -> None:
        """A request line that is cut off is taken for no name."""
        line = b"POST / HTTP/1.1"
        for size in range(1, len(line)):
            peer = self.newcomer()
            peer.send(line[:size])
            peer.end()
            self.settle()
            self.assertTrue(peer.gone)
        self.assertEqual(self.messages, [])

    def test_other_requests(self) -> None:
        """Requests with LF for CR LF, behind empty lines, longer than a line, and of HTTP/2 are
        answered."""
        for request in (
            b"GET / HTTP/1.0\n\nhello\n",
            b"\r\n\r\nPOST / HTTP/1.1\r\n\r\nhello\n",
            b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\n\r\nhello\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nhello\n",
            b"GET / HTTP/1.1",
        ):
            peer = self.newcomer()
            peer.send(request)
            peer.end()
            self.settle()
            self.assertEqual(peer.take_bytes(), _HTTP, request[:40])
        self.check_nothing_came_of_it()

    def test_behind_an_empty_line_that_came_before(self) -> None:
        """A request behind an empty line that came earlier is answered; the guest that this made
        has said nothing."""
        peer = self.newcomer()
        self.tell(peer, b"\r\n")
        self.assertEqual(self.ask(peer, _POST), _HTTP)
        self.assertEqual(self.alice.take(), "* guest1 joined\n* guest1 left\n")
        self.assertEqual(self.messages, [])

    def test_at_any_prompt_for_a_name(self) -> None:
        """A request at a later prompt, or in JSON mode, is answered."""
        for before in b"no name\n", b"/login bob wrong\n", b"/json on\n", b"bob\n\n/nick\n/quux\n":
            peer = self.peer()
            self.tell(peer, before)
            if peer.protocol.dialogue.session.person is None:
                self.assertEqual(self.ask(peer, _POST), _HTTP, before)
        self.assertEqual(self.messages, [])

    def test_people_may_talk_of_it(self) -> None:
        """A person who is logged in can say a request line."""
        self.tell(self.alice, "GET / HTTP/1.1\nNICK x\n")
        self.assertEqual([m.text for m in self.messages], ["GET / HTTP/1.1", "NICK x"])

    def test_irc(self) -> None:
        """An IRC client gets one line of IRC, and its password is not looked at."""
        for first in b"CAP LS 302\r\nNICK bob\r\n", b"PASS x\r\nNICK bob\r\n", b"NICK bob\r\n":
            self.assertEqual(self.answer(first + b"USER bob 0 * :Bob\r\nhello\r\n"), _IRC)
        self.check_nothing_came_of_it()

    def test_irc_later(self) -> None:
        """IRC commands that come after a refusal are taken for lines."""
        said = self.say(self.peer(), "/login bob wrong\nUSER a b c d\n")
        self.assertIn("! you are not logged in, so nothing was sent", said)

    def test_tls(self) -> None:
        """A ClientHello is answered at its second byte, and nothing in it is a line."""
        answer = strangers.tls_answer()
        self.assertEqual(self.answer(_TLS), answer)
        self.assertEqual(self.answer(_TLS[:1], _TLS[1:2], _TLS[2:]), answer)
        self.check_nothing_came_of_it()

    def test_proxy(self) -> None:
        """The header of a proxy that is not known is answered with a hint for the operator, and
        neither it nor what the proxy's client sends is a line."""
        for header in (
            b"PROXY TCP4 192.0.2.7 10.0.0.5 56324 5000\r\n",
            b"PROXY UNKNOWN\r\n",
            bytes.fromhex("0d0a0d0a000d0a515549540a 2111000c c0000207 0a000005 dc04 1388"),
        ):
            for rest in b"", b"hello\n":
                self.assertEqual(self.answer(header + rest), strangers.proxy_answer())
        self.check_nothing_came_of_it()

    def test_first_byte_of_tls_alone(self) -> None:
        """The first byte of a ClientHello alone may be something else."""
        peer = self.newcomer()
        peer.send(b"\x16")
        peer.end()
        self.settle()
        self.assertIn("! names may contain only letters", peer.take())

    def test_what_it_still_sends_is_passed_over(self) -> None:
        """What a stranger still sends is read and ignored, for five seconds at most."""
        self.patch(Peer, "transport_class", _HalfCloseTransport)
        peer = self.newcomer(IPv4Address("TCP", "192.0.2.1", 4000))
        transport = peer.transport
        assert isinstance(transport, _HalfCloseTransport)
        peer.send(_POST)
        self.settle()
        self.assertTrue(transport.wrote_all)
        self.assertFalse(transport.disconnecting)
        peer.protocol.writeConnectionLost()
        self.assertFalse(transport.disconnecting)
        peer.send(b"/guest mallory\nhello\n" * 100)
        self.settle()
        self.check_nothing_came_of_it()
        self.clock.advance(5)
        self.assertTrue(transport.disconnected)

    def test_a_long_request(self) -> None:
        """A long request is read to its end."""
        self.patch(Peer, "transport_class", _HalfCloseTransport)
        peer = self.newcomer(IPv4Address("TCP", "192.0.2.1", 4000))
        peer.send(_POST + b"hello\n" * 100)
        peer.send(b"hello\n" * 100)
        self.settle()
        self.assertFalse(peer.paused)
        self.assertEqual(peer.take_bytes(), _HTTP)
        self.check_nothing_came_of_it()

    def test_who_has_read_the_answer(self) -> None:
        """A stranger that has read the answer ends the connection."""
        self.patch(Peer, "transport_class", _HalfCloseTransport)
        peer = self.newcomer(IPv4Address("TCP", "192.0.2.1", 4000))
        peer.send(_POST)
        peer.end()
        self.settle()
        self.assertTrue(peer.gone)

    def test_over_tls(self) -> None:
        """Over TLS the answer names another way to join."""
        self.patch(Peer, "transport_class", TlsTransport)
        peer = self.newcomer(IPv4Address("TCP", "192.0.2.1", 4000))
        peer.protocol.handshakeCompleted()
        peer.send(_POST)
        self.settle()
        self.assertEqual(peer.take_bytes(), strangers.http_answer(tls=True))


class GreetingTests(ServerTestCase):
    """When a peer is greeted, and which peer is taken for a person."""

    def wait(self, seconds: float) -> bytes:
        """The bytes that a silent newcomer gets in this time."""
        for _ in range(round(seconds * 100)):
            self.clock.advance(0.01)
        return self.newcomer_.take_bytes()

    def setUp(self) -> None:
        super().setUp()
        self.newcomer_ = self.newcomer()

    def test_person(self) -> None:
        """A person is greeted, and then their telnet is asked for BINARY (RFC 856)."""
        self.assertEqual(self.wait(0.04), b"")
        self.assertEqual(self.wait(0.02), _GREETING)
        self.assertEqual(self.wait(0.18), b"")
        self.assertEqual(self.wait(0.02), _ASKED)
        self.assertEqual(self.wait(50), b"")

    def test_script(self) -> None:
        """A script gets no byte of telnet, whether it waits for the greeting or not."""
        for pause in 0.0, 0.06, 0.2:
            self.newcomer_ = self.newcomer()
            received = self.wait(pause)
            for line in b"/guest bob\n", b"hello\r\n", b"/quit\r\n":
                received += self.ask(self.newcomer_, line)
            self.assertTrue(received.startswith(_GREETING))
            self.assertNotIn(b"\xff", received + self.wait(1))

    def test_program(self) -> None:
        """A program that speaks JSON gets no byte of telnet."""
        received = self.ask(self.newcomer_, b"/json on\n/guest bot\n") + self.wait(1)
        greeting, lines = received[: len(_GREETING)], received[len(_GREETING) :].split(b"\n")
        self.assertEqual((greeting, lines[0], lines[-1]), (_GREETING, b"", b""))
        self.assertEqual(json.loads(lines[1])["event"], "hello")
        self.assertNotIn(b"\xff", received)

    def test_half_a_line(self) -> None:
        """A peer that has sent half a line is not taken for a silent one."""
        self.assertEqual(self.ask(self.newcomer_, b"/gue"), b"")
        self.assertEqual(self.wait(1), _GREETING)
        self.assertEqual(self.ask(self.newcomer_, b"st bob\n")[:17], b"* Welcome, bob. Y")

    def test_nothing_to_say(self) -> None:
        """A peer that ends its input at once is greeted, and told bye."""
        self.newcomer_.end()
        self.settle()
        self.assertEqual(self.newcomer_.take_bytes(), _GREETING + b"* bye\n")

    def test_gone_before_the_greeting(self) -> None:
        """A peer that goes before the greeting, or at telnet's question, leaves no timer."""
        self.newcomer_.vanish()
        other = self.newcomer()
        self.clock.advance(0.1)
        other.vanish()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_telnet_that_speaks_first(self) -> None:
        """A telnet that speaks first is greeted and asked at once, and its lines end in CR LF."""
        answer = self.ask(self.newcomer_, b"\xff\xfb\x1f\xff\xfd\x03")
        self.assertEqual(answer, _GREETING + b"\xff\xfe\x1f\xff\xfc\x03\xff\xfd\x00")
        answer = self.ask(self.newcomer_, b"\xff\xfb\x00/guest bob\r\n")
        self.assertEqual(answer.count(b"\n"), answer.count(b"\r\n"))
        self.assertEqual(self.wait(1), b"")

    def test_telnet_that_is_asked(self) -> None:
        """Telnet agrees to BINARY, and its own later questions are answered; in JSON mode there is
        no CR."""
        self.wait(1)
        self.assertEqual(self.ask(self.newcomer_, b"\xff\xfb\x00"), b"")
        answer = self.ask(self.newcomer_, "Нина\n".encode())
        self.assertTrue(answer.startswith('* "нина" '.encode()))
        self.assertIn(b"\r\n\xff\xfb\x01\r\x1b[KNew password: ", answer)
        answer = self.ask(self.newcomer_, b"\n")
        self.assertEqual(answer.count(b"\n"), answer.count(b"\r\n"))
        self.assertEqual(self.ask(self.newcomer_, b"\xff\xfd\x00"), b"\xff\xfc\x00")
        self.assertNotIn(b"\r", self.ask(self.newcomer_, b"/json on\n"))
        self.assertEqual(self.ask(self.newcomer_, b"/json off\n"), b"* text output from now on\r\n")

    def test_lines_that_end_in_a_bare_CR(self) -> None:
        """In BINARY mode a bare CR ends a line, as PuTTY sends it."""
        self.wait(1)
        self.tell(self.newcomer_, b"\xff\xfb\x00/guest bob\r")
        self.tell(self.newcomer_, b"hello\rthere\r")
        self.assertEqual([m.text for m in self.messages], ["hello", "there"])

    def test_over_tls(self) -> None:
        """Over TLS the time before the greeting begins after the handshake."""
        self.patch(Peer, "transport_class", TlsTransport)
        self.newcomer_ = self.newcomer(IPv4Address("TCP", "192.0.2.1", 4000))
        self.assertEqual(self.wait(1), b"")
        self.newcomer_.protocol.handshakeCompleted()
        self.assertEqual(self.wait(0.06), _GREETING)
        self.assertEqual(self.wait(0.2), _ASKED)


class PaceTests(ServerTestCase):
    """Bytes that are not lines are charged for."""

    limits: ClassVar[Limits] = Limits(connections_per_minute=0)
    far = IPv4Address("TCP", "192.0.2.1", 4000)
    trusted = IPv4Address("TCP", "192.0.2.129", 4000)

    def read(self, peer: Peer, data: bytes, seconds: float) -> int:
        """The number of bytes that are read in this time from a peer that sends this over and
        over."""
        read = 0
        for _ in range(round(seconds * 20)):
            if not peer.has_sent:
                peer.send(data)
            while peer.has_sent and read < 10_000_000:
                peer.read()
                read += len(data)
                peer.send(data)
            self.clock.advance(0.05)
        return read

    def test_commands(self) -> None:
        """Telnet commands are read and answered slowly, before login and after."""
        for before in b"", b"/guest bob\n":
            for command in (
                b"\xff\xf1",
                b"\xff\xfd\x03",
                b"\xff\xf6",
                b"\xff\xfa\x18x\xff\xf0",
                b"\xff\xf4\xff\xf1",
            ):
                peer = self.newcomer(self.far)
                self.tell(peer, before)
                read = self.read(peer, command * 200, 10)
                self.assertLess(read, 100_000, command)
                self.assertLess(len(peer.take_bytes()), 5 * read)
                peer.vanish()
                self.let_go()

    def test_a_big_chunk_is_looked_at_in_pieces(self) -> None:
        """A big chunk of telnet commands is looked at in pieces, each when the one before is paid
        for."""
        bob = self.newcomer(self.far)
        self.tell(bob, b"/guest bob\n")
        bob.send(b"\xff\xf1" * 16384 + b"hello\n")
        self.settle()
        self.assertEqual(self.messages, [])
        for _ in range(200):
            self.clock.advance(0.1)
            self.settle()
        self.assertEqual([m.text for m in self.messages], ["hello"])

    def test_whatever_takes_long_is_looked_at_in_pieces(self) -> None:
        """Unusual ends of lines are looked at in pieces, too."""
        bob = self.newcomer(self.far)
        self.tell(bob, b"/guest bob\n")
        receive, looked_at = TelnetFilter.receive, []

        def counted(telnet_filter: TelnetFilter, data: bytes) -> Received:
            looked_at.append(len(data))
            return receive(telnet_filter, data)

        self.patch(TelnetFilter, "receive", counted)
        for data in b"\r\x00" * 16384, b"\xff\xfb\x00" + b"\r" * 32768:
            bob.send(data)
            bob.read()
            self.assertLess(max(looked_at), 1024)
            self.let_go()

    def test_text_is_looked_at_at_once(self) -> None:
        """Plain text is looked at at once."""
        bob = self.newcomer(self.far)
        self.tell(bob, b"/guest bob\n")
        bob.send(b"hello\r\n" * 10 + b"a\x04" * 1000 + b"\n" + b"\xff\xf1")
        bob.read()
        self.assertEqual(len(self.messages), 10)

    def test_half_close_behind_a_big_chunk(self) -> None:
        """Nothing of a big chunk before a half-close is lost."""
        bob = self.newcomer(self.far)
        bob.send(b"/guest bob\n" + b"\xff\xf1" * 16384 + b"hello\n")
        bob.end()
        self.settle()
        for _ in range(200):
            self.clock.advance(0.1)
            self.settle()
        self.assertEqual([m.text for m in self.messages], ["hello"])
        self.assertTrue(bob.gone)

    def test_text_with_a_letter_of_telnets(self) -> None:
        """A paste that contains telnet's byte 255 goes through at once."""
        bob = self.newcomer(self.far)
        answer = self.say(bob, b"/guest bob\n" + b"\xff\xff na\xefve\n" * 15)
        self.assertEqual(answer.count("! "), 15)

    def test_what_is_passed_over(self) -> None:
        """Bytes behind the end of the input, and behind a stranger's request, are charged for."""
        for before in b"/guest bob\n\x04", _POST:
            peer = self.newcomer(self.far)
            peer.send(before)
            peer.read()
            self.assertLess(self.read(peer, b"x" * 65536, 5), 400_000)
            peer.vanish()
            self.let_go()

    def test_trusted(self) -> None:
        """A trusted peer pays nothing, and its bytes are looked at turn by turn."""
        peer = self.newcomer(self.trusted)
        self.tell(peer, b"/guest bob\n" + b"\xff\xf1" * 30_000 + b"hello\n")
        self.assertEqual([m.text for m in self.messages], ["hello"])
        self.assertFalse(peer.paused)

    def test_a_subnegotiation_without_end(self) -> None:
        """A subnegotiation without an end cuts the peer off, without a word."""
        peer = self.newcomer(self.far)
        self.tell(peer, b"/guest bob\n")
        answer = self.ask(peer, b"\xff\xfa" + b"x" * 60_000 + b"\nhello\n")
        self.assertEqual(answer, b"")
        self.assertTrue(peer.gone)
        self.assertEqual(self.messages, [])

    def test_who_is_refused(self) -> None:
        """A refused peer is read from until it has read why, but not for ever."""
        self.serve(Limits(max_connections=1))
        self.newcomer(self.far)
        peer = self.newcomer(self.far)
        peer.transport.disconnecting = False  # it is read from where there is a half-close
        peer.send(b"x" * 1_000_000, 60_000)
        for _ in range(20):
            peer.read()
        self.assertTrue(peer.paused)

    def test_gone_while_it_owes(self) -> None:
        """A peer that goes while it owes for telnet commands leaves no timer."""
        peer = self.newcomer(self.far)
        self.tell(peer, b"/guest bob\n")
        peer.send(b"\xff\xf1" * 30_000)
        self.settle()
        self.assertTrue(peer.paused)
        peer.vanish()
        self.let_go()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_gone_behind_a_long_line(self) -> None:
        """A peer that goes behind a long line leaves no timer."""
        peer = self.newcomer(self.far)
        self.tell(peer, b"/guest bob\n")
        self.tell(peer, b"x" * 5000)
        peer.send(b"\n" + b"\xff\xf1" * 30_000)
        for _ in range(20):
            self.turn()
        peer.vanish()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_the_server_goes_down(self) -> None:
        """When the server goes down, nothing more is read after what was owed is paid."""
        peer = self.newcomer(self.far)
        self.tell(peer, b"/guest bob\n")
        peer.send(b"\xff\xf1" * 30_000 + b"hello\n")
        self.settle()
        self.face.pause()
        self.clock.advance(600)
        self.settle()
        self.assertTrue(peer.paused)
        self.assertEqual(self.messages, [])
