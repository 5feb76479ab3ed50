"""Connections that proxies pass on."""

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import reactor as _reactor
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IAddress, IHalfCloseableProtocol
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.ssl import CertificateOptions
from twisted.internet.task import Clock, deferLater
from twisted.internet.testing import StringTransport
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import implementer

from tests.certificates import pem
from tests.support import now
from twisted_chat.core.addresses import AddressList, Networks
from twisted_chat.core.limits import Limits
from twisted_chat.faces.admission import Admission
from twisted_chat.faces.format import LineFormat
from twisted_chat.faces.outbox import Outbox, OutboxLimits
from twisted_chat.faces.proxied import PATIENCE, BehindProxies
from twisted_chat.tls import Certificates, TlsFactory

reactor: Any = _reactor

PROXY = IPv4Address("TCP", "10.0.0.5", 40000)
STRANGER = IPv4Address("TCP", "198.51.100.7", 40000)
CLIENT = IPv4Address("TCP", "192.0.2.7", 56324)

LINE = b"PROXY TCP4 192.0.2.7 10.0.0.5 56324 5000\r\n"
BINARY = bytes.fromhex("0d0a0d0a000d0a515549540a 2111000c c0000207 0a000005 dc04 1388")
BINARY6 = bytes.fromhex(
    "0d0a0d0a000d0a515549540a 21210024 20010db8000000000000000000000007"
    " 20010db8000000000000000000000001 dc04 1388"
)
LOCAL = bytes.fromhex("0d0a0d0a000d0a515549540a 20000000")


@implementer(IHalfCloseableProtocol)
class Chat(Protocol):
    """The protocol of a client, which notes what happens to it."""

    def __init__(self, address: IAddress) -> None:
        self.address = address
        self.read = b""
        self.was: list[str] = []
        self.ended: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        self.was.append("made")

    def dataReceived(self, data: bytes) -> None:
        self.read += data

    def readConnectionLost(self) -> None:
        self.was.append("half-closed")
        if self.transport is not None:
            self.transport.write(b"got " + self.read)
            self.transport.loseConnection()

    def writeConnectionLost(self) -> None:
        """Do nothing."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.was.append("lost")
        self.ended.callback(None)


class Chats(Factory):
    """Makes protocols, and notes them.

    @ivar refuses: makes none.
    """

    def __init__(self) -> None:
        self.made: list[Chat] = []
        self.refuses = False
        self.states: list[str] = []

    def buildProtocol(self, addr: IAddress | None) -> Any:
        assert addr is not None
        chat = Chat(addr)
        self.made.append(chat)
        return None if self.refuses else chat

    def doStart(self) -> None:
        self.states.append("started")

    def doStop(self) -> None:
        self.states.append("stopped")


class Transport(StringTransport):
    """A transport that gives what it reads to its protocol, as Twisted's do."""

    def __init__(self, protocol: Any, address: IAddress) -> None:
        super().__init__(peerAddress=address)
        self.protocol = protocol
        protocol.makeConnection(self)

    def read(self, data: bytes) -> None:
        self.protocol.dataReceived(data)

    def lose(self) -> None:
        self.protocol.connectionLost(Failure(ConnectionDone()))


class ProxiedTestCase(SynchronousTestCase):
    """A factory behind proxies, without sockets."""

    def setUp(self) -> None:
        self.serve()

    def serve(self, **limits: int) -> None:
        self.clock = Clock()
        self.chats = Chats()
        self.admission = Admission(Limits(**limits), Networks(), self.clock)
        proxies = AddressList(["10.0.0.0/29", "2001:db8:f::/64"])
        self.factory = BehindProxies(self.chats, proxies, self.admission, self.clock)
        log = self.log = list[str]()

        def note(event: LogEvent) -> None:
            log.append(formatEvent(event))

        observer: Any = note
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def connect(self, address: IAddress = PROXY) -> Transport:
        return Transport(self.factory.buildProtocol(address), address)

    def check_nothing_is_left(self) -> None:
        """Check that no header is awaited, and no connection is counted."""
        self.assertEqual(self.admission._count, 0)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class HeaderTests(ProxiedTestCase):
    """What becomes of a connection from a proxy."""

    def test_client_address(self) -> None:
        """The header's address is that of the client, and what follows is from the client."""
        for header, address in (
            (LINE, CLIENT),
            (BINARY, CLIENT),
            (BINARY6, IPv6Address("TCP", "2001:db8::7", 56324)),
        ):
            self.serve()
            transport = self.connect()
            transport.read(header + b"hello")
            [chat] = self.chats.made
            self.assertEqual(chat.address, address)
            self.assertEqual((chat.was, chat.read), (["made"], b"hello"))
            self.assertIs(chat.transport, transport)
            self.assertIs(transport.protocol, chat)
            transport.read(b" world")
            transport.lose()
            self.assertEqual((chat.was, chat.read), (["made", "lost"], b"hello world"))
            self.check_nothing_is_left()

    @given(st.sampled_from((LINE, BINARY, BINARY6, LOCAL)), st.data())
    def test_cut_anywhere(self, header: bytes, data: st.DataObject) -> None:
        """The client's protocol begins with the last byte of the header, wherever it is cut."""
        self.serve()
        transport = self.connect()
        cuts = sorted(data.draw(st.sets(st.integers(1, len(header) - 1))))
        for start, end in zip([0, *cuts], cuts, strict=False):
            transport.read(header[start:end])
            self.assertEqual(self.chats.made, [])
        transport.read(header[([0, *cuts])[-1] :] + b"rest")
        self.assertEqual([chat.read for chat in self.chats.made], [b"rest"])
        self.check_nothing_is_left()

    def test_without_an_address(self) -> None:
        """A connection whose header tells no address, or the proxy's own, such as a health check,
        is accepted as one of an address that many people share."""
        mapped = IPv6Address("TCP", "::ffff:10.0.0.5", 40000)
        own = b"PROXY TCP4 10.0.0.5 10.0.0.11 40000 5000\r\n"
        for address, header in (
            *((PROXY, LOCAL), (PROXY, b"PROXY UNKNOWN\r\n"), (PROXY, own), (mapped, own)),
            (PROXY, b"PROXY TCP6 ::ffff:10.0.0.5 ::ffff:10.0.0.11 40000 5000\r\n"),
        ):
            self.serve()
            self.connect(address).read(header)
            [chat] = self.chats.made
            self.assertEqual(self.admission.source(chat.address).network, "")
            self.assertEqual(chat.was, ["made"])

    def test_nothing_is_said_before_the_header(self) -> None:
        """The client's protocol is not made before the header is complete."""
        transport = self.connect()
        transport.read(BINARY[:-1])
        self.assertEqual((self.chats.made, transport.value()), ([], b""))

    def test_no_header(self) -> None:
        """A connection that begins with something else is cut off without a word, with one line a
        minute in the log."""
        for _ in range(3):
            transport = self.connect()
            transport.read(b"/guest mallory\n")
            self.assertTrue(transport.disconnected)
            self.assertEqual(transport.value(), b"")
            transport.lose()
        self.assertEqual(self.chats.made, [])
        [line] = self.log
        self.assertIn("closed a connection from 10.0.0.5, which is in --proxies", line)
        self.check_nothing_is_left()
        self.clock.advance(60)
        self.connect().read(b"\x16\x03\x01")
        self.assertEqual(len(self.log), 2)

    def test_header_that_does_not_come(self) -> None:
        """A connection that sends no header, or half of one, is cut off after five seconds, and the
        log says so."""
        for start in b"", LINE[:20], BINARY[:-1]:
            self.serve()
            transport = self.connect()
            transport.read(start)
            self.clock.advance(PATIENCE - 0.1)
            self.assertFalse(transport.disconnected)
            self.clock.advance(0.1)
            self.assertTrue(transport.disconnected)
            self.assertEqual(len(self.log), 1)
            transport.lose()
            self.check_nothing_is_left()

    def test_health_check(self) -> None:
        """A connection that ends before its header leaves no line in the log and nothing else."""
        for start in b"", BINARY[:7]:
            transport = self.connect()
            transport.read(start)
            transport.lose()
        self.assertEqual((self.log, self.chats.made), ([], []))
        self.check_nothing_is_left()

    def test_refused_by_the_face(self) -> None:
        """A connection for which the face makes no protocol is cut off."""
        self.chats.refuses = True
        transport = self.connect()
        transport.read(LINE)
        self.assertTrue(transport.disconnected)
        transport.lose()
        self.check_nothing_is_left()

    def test_somebody_else(self) -> None:
        """A connection that is not from a proxy goes straight to the face."""
        for address in STRANGER, UNIXAddress(b"/run/chat.sock"), IPv4Address("TCP", "10.0.0.8", 1):
            self.serve()
            transport = self.connect(address)
            transport.read(LINE)
            [chat] = self.chats.made
            self.assertEqual((chat.address, chat.read), (address, LINE))

    def test_proxy_over_IPv6(self) -> None:
        """A proxy is recognised by its IPv6 address, and by its IPv4 address on a dual-stack
        port."""
        for host in "2001:db8:f::1", "::ffff:10.0.0.5":
            self.serve()
            self.connect(IPv6Address("TCP", host, 1)).read(LINE)
            self.assertEqual([chat.address for chat in self.chats.made], [CLIENT])

    def test_no_proxies(self) -> None:
        """Without proxies, every connection goes straight to the face."""
        factory = BehindProxies(self.chats, AddressList(), self.admission, self.clock)
        self.assertIsInstance(factory.buildProtocol(PROXY), Chat)

    def test_port_that_stops(self) -> None:
        """Connections whose headers have not come end when the port listens no more."""
        self.factory.doStart()
        early, late = self.connect(), self.connect()
        early.read(LINE)
        self.factory.doStop()
        self.assertEqual((early.disconnected, late.disconnected), (False, True))
        late.lose()
        self.assertEqual(self.chats.states, ["started", "stopped"])
        self.check_nothing_is_left()


class AdmissionTests(ProxiedTestCase):
    """How connections are counted before their headers have come."""

    def test_waiting(self) -> None:
        """A connection without a header counts as one on which nobody has logged in, and the oldest
        makes room beyond C{--max-waiting}."""
        self.serve(max_waiting=3)
        transports = [self.connect() for _ in range(5)]
        self.assertEqual([each.disconnected for each in transports], [True] * 2 + [False] * 3)
        self.assertEqual(transports[0].value(), b"")
        for transport in transports:
            transport.lose()
        self.assertEqual(self.log, [])
        self.check_nothing_is_left()

    def test_one_proxy_has_many(self) -> None:
        """The limits by address do not apply to the proxy."""
        self.serve(max_per_address=2, connections_per_minute=3)
        transports = [self.connect() for _ in range(50)]
        for transport in transports:
            transport.read(BINARY)
        self.assertEqual(len(self.chats.made), 50)

    def test_full(self) -> None:
        """When the server is full, headers are still read, so that the face can say so, but of at
        most 50 connections at a time."""
        self.serve(max_connections=1)
        transports = [self.connect() for _ in range(50)]
        self.assertIsNone(self.factory.buildProtocol(PROXY))
        transports[0].read(LINE)
        self.assertEqual(len(self.chats.made), 1)
        self.connect()
        self.assertIsNone(self.factory.buildProtocol(PROXY))


class Client(Protocol):
    """The proxy's end of a connection."""

    def __init__(self) -> None:
        self.read = b""
        self.ended: Deferred[None] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self.read += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.ended.callback(None)


class LoopbackTests(TestCase):
    """A factory behind proxies, over real sockets."""

    timeout: ClassVar[int] = 30

    async def connect(self, over: Callable[[Factory], Any] = lambda chats: chats) -> Any:
        """Connect to a port that takes loopback for a proxy; return the transport of the proxy's
        end."""
        self.chats = Chats()
        admission = Admission(Limits(), Networks(), reactor)
        factory: Any = BehindProxies(
            over(self.chats), AddressList(["127.0.0.0/8"]), admission, reactor
        )
        port = reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", port.getHost().port)
        self.client = await connectProtocol(endpoint, Client())
        return self.client.transport

    async def test_half_close(self) -> None:
        """A client that half-closes behind the header gets its answer."""
        transport = await self.connect()
        transport.write(BINARY + b"hello")
        transport.loseWriteConnection()
        await self.client.ended
        self.assertEqual(self.client.read, b"got hello")
        [chat] = self.chats.made
        self.assertEqual(chat.was, ["made", "half-closed", "lost"])

    async def test_straight(self) -> None:
        """An outbox writes straight to the socket, as without a proxy."""
        transport = await self.connect()
        made: Deferred[None] = Deferred()
        self.patch(Chat, "connectionMade", lambda chat: made.callback(None))
        transport.write(LINE)
        await made
        [chat] = self.chats.made
        limits = OutboxLimits(reactor, now, limit=1000, stuck_after=60)

        class Lines(LineFormat):
            def encode(self, events: Any) -> bytes:
                return b""

        outbox = Outbox(chat.transport, Lines(), limits)
        self.assertIsInstance(outbox.straight, socket.socket)
        outbox.write(b"straight\n")
        outbox.close()
        transport.loseWriteConnection()
        await self.client.ended
        self.assertEqual(self.client.read, b"straight\n")
        await chat.ended

    async def test_TLS_behind_the_header(self) -> None:
        """On a port with TLS, the header comes before the handshake, and the client's address
        reaches the face."""
        path = Path(self.mktemp())
        path.write_bytes(pem("localhost"))
        certificates = Certificates(lambda: [path], reactor)

        def tls(chats: Factory) -> Any:
            return TlsFactory(certificates, chats, reactor)

        transport = await self.connect(tls)
        transport.write(BINARY)
        transport.startTLS(CertificateOptions())
        transport.write(b"hello")
        while not self.chats.made or self.chats.made[0].read != b"hello":
            await deferLater(reactor, 0)
        [chat] = self.chats.made
        self.assertEqual(chat.address, CLIENT)
        transport.loseConnection()
        await chat.ended
        await self.client.ended
