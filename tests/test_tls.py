"""Certificates, and connections that are shown them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from OpenSSL import SSL
from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import (
    TCP4ClientEndpoint,
    connectProtocol,
    wrapClientTLS,
)
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.ssl import CertificateOptions
from twisted.internet.task import Clock, deferLater
from twisted.logger import ILogObserver, LogLevel, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import implementer

from tests.certificates import certificate_pem, key_pem, make_key, pem
from twisted_chat import tls
from twisted_chat.protocol import strangers
from twisted_chat.tls import (
    HANDSHAKE,
    SILENCE,
    CertificateError,
    Certificates,
    TlsFactory,
    load,
)

reactor: Any = _reactor


@implementer(ILogObserver)
class _Logged:
    """What the module logs while a test runs."""

    def __init__(self, case: SynchronousTestCase) -> None:
        self.lines: list[str] = []
        self.levels: list[LogLevel] = []
        globalLogPublisher.addObserver(self)
        case.addCleanup(globalLogPublisher.removeObserver, self)

    def __call__(self, event: Any) -> None:
        if event["log_namespace"] == tls.__name__:
            self.lines.append(event["log_format"].format(**event))
            self.levels.append(event["log_level"])

    def take(self) -> list[str]:
        lines = list(self.lines)
        self.lines.clear()
        return lines


class LoadTests(SynchronousTestCase):
    """What is made of PEM files."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir()

    def file(self, name: str, *parts: bytes) -> Path:
        path = self.directory / name
        path.write_bytes(b"".join(parts))
        return path

    def refuse(self, *paths: Path) -> str:
        sentence = str(self.assertRaises(CertificateError, load, paths))
        self.assertEqual(len(sentence.splitlines()), 1)
        return sentence

    def test_key_and_certificate(self) -> None:
        """In one file or in two, in either order."""
        key = make_key()
        own = certificate_pem(key, "Chat.example", "*.chat.example", "192.0.2.1")
        one = self.file("one.pem", own, key_pem(key))
        two = [self.file("key.pem", key_pem(key)), self.file("certificate.pem", own)]
        for paths in [one], two, two[::-1]:
            [loaded] = load(paths)
            self.assertEqual(loaded.names, ("chat.example", "*.chat.example", "192.0.2.1"))

    def test_name_of_the_subject(self) -> None:
        """If the certificate has no other."""
        key = make_key()
        [loaded] = load([self.file("a.pem", key_pem(key), certificate_pem(key, subject="Old"))])
        self.assertEqual(loaded.names, ("old",))

    def test_newer_one_of_two_for_a_key(self) -> None:
        """While the old one is still there."""
        key = make_key()
        old, new = (certificate_pem(key, name, days=(-1, days)) for name, days in _TWO)
        for parts in (old, new), (new, old):
            [loaded] = load([self.file("a.pem", key_pem(key), *parts)])
            self.assertEqual(loaded.names, ("new",))

    def test_wrong_files(self) -> None:
        """Each is a sentence that names the file."""
        key, other = make_key(), make_key()
        own = certificate_pem(key, "chat")
        missing = self.directory / "missing.pem"
        self.assertEqual(self.refuse(missing), f"cannot read {missing}: No such file or directory")
        path = self.file("a.pem", own)
        self.assertEqual(self.refuse(path), "there is no private key")
        self.file("a.pem", key_pem(other), own)
        self.assertEqual(self.refuse(path), f"the key in {path} has no certificate")
        self.file("a.pem", key_pem(key), own[:-10])
        self.assertEqual(self.refuse(path), f"cannot use {path}: it is truncated")
        self.file("a.pem", key_pem(key, b"secret"), own)
        self.assertEqual(self.refuse(path), f"cannot use {path}: its key has a password")
        lines = own.splitlines(keepends=True)
        self.file("a.pem", key_pem(key), *lines[:2], b"garbage\n", *lines[4:])
        self.assertIn(f"cannot use {path}: ", self.refuse(path))
        self.assertIn("directory", self.refuse(self.directory))

    def test_one_wrong_file_of_several(self) -> None:
        """None of them is used, so that nobody is shown another name's certificate."""
        good = self.file("good.pem", pem("good"))
        bad = self.file("bad.pem", key_pem(make_key()))
        self.assertIn(str(bad), self.refuse(bad, good))


_TWO = (("old", 10), ("new", 20))


class CertificatesTests(SynchronousTestCase):
    """The certificate that a client is shown, in a handshake in memory."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.path = Path(self.mktemp())
        self.path.mkdir()
        self.logged = _Logged(self)

    def serve(self) -> Certificates:
        return Certificates(lambda: sorted(self.path.glob("*.pem")), self.clock)

    def write(self, name: str, data: bytes) -> None:
        (self.path / name).write_bytes(data)

    def shown(self, certificates: Certificates, name: str = "") -> str:
        """Whose certificate is shown to a client that asks for this name."""
        return self.chain(certificates, name)[0]

    def chain(self, certificates: Certificates, name: str = "") -> Sequence[str]:
        client = _client(SSL.Context(SSL.TLS_METHOD), name)
        _shake_hands(client, _server(certificates))
        chain = client.get_peer_cert_chain(as_cryptography=True)
        assert chain is not None
        return [each.subject.rfc4514_string().removeprefix("CN=") for each in chain]

    def test_chain(self) -> None:
        """From the server's up to the last below the root, in whatever files they are."""
        root, middle, own = make_key(), make_key(), make_key()
        by_root = certificate_pem(middle, subject="middle", issuer="root", issuer_key=root)
        self.write("a.pem", certificate_pem(root, subject="root") + by_root)
        self.write("b.pem", certificate_pem(own, "chat", issuer="middle", issuer_key=middle))
        self.write("c.pem", key_pem(own))
        self.assertEqual(self.chain(self.serve()), ["chat", "middle"])

    def test_name_that_the_client_asks_for(self) -> None:
        """Has its certificate shown, also under a wildcard; any other the first one's."""
        for file, name in ("1.pem", "b.example"), ("2.pem", "a.example"), ("3.pem", "*.c.example"):
            self.write(file, pem(name))
        certificates = self.serve()
        for asked, expected in (
            ("a.example", "a.example"),
            ("B.Example", "b.example"),
            ("x.c.example", "*.c.example"),
            ("x.y.c.example", "b.example"),
            ("nobody", "b.example"),
            ("", "b.example"),
        ):
            self.assertEqual(self.shown(certificates, asked), expected, asked)

    def test_longer_of_two_for_one_name(self) -> None:
        """Wherever it stands."""
        self.write("a.pem", pem("chat", "old", days=(-1, 10)))
        self.write("b.pem", pem("other", "chat", days=(-1, 20)))
        self.assertEqual(self.shown(self.serve(), "chat"), "other")

    def test_new_certificate(self) -> None:
        """Is shown within a second, with one line in the log."""
        self.write("a.pem", pem("old"))
        certificates = self.serve()
        self.assertEqual(self.shown(certificates), "old")
        self.write("a.pem", pem("new"))
        self.clock.advance(1)
        self.assertEqual([self.shown(certificates) for _ in range(3)], ["new"] * 3)
        [line] = self.logged.take()
        self.assertRegex(line, r"^certificate of new, until \d{4}-\d\d-\d\d$")

    def test_new_file_with_the_same_certificate(self) -> None:
        """Is nothing to talk of."""
        data = pem("old")
        self.write("a.pem", data)
        certificates = self.serve()
        (self.path / "a.pem").unlink()
        self.write("a.pem", data)
        certificates.reread()
        self.assertEqual(self.logged.take(), [])

    def test_files_are_not_looked_at_for_everyone(self) -> None:
        """But twice a second; SIGHUP has it done now."""
        self.write("a.pem", pem("old"))
        certificates = self.serve()
        self.assertEqual(self.shown(certificates), "old")
        self.write("a.pem", pem("new"))
        self.clock.advance(0.4)
        self.assertEqual(self.shown(certificates), "old")
        certificates.reread()
        self.assertEqual(self.shown(certificates), "new")

    def test_clock_that_is_set_back(self) -> None:
        """Does not keep a new certificate from being seen."""
        self.write("a.pem", pem("old"))
        self.clock.advance(1000)
        certificates = self.serve()
        self.assertEqual(self.shown(certificates), "old")
        self.write("a.pem", pem("new"))
        self.clock.rightNow = 10.0
        self.assertEqual(self.shown(certificates), "new")

    def test_broken_new_certificate(self) -> None:
        """The old certificate stays in use, and the log says so once, until the file is fixed."""
        self.write("a.pem", pem("old"))
        certificates = self.serve()
        new = pem("new")
        for broken in new[:-40], key_pem(make_key()) + new[new.index(b"-----BEGIN CERT") :], b"":
            self.write("a.pem", broken)
            for _ in range(5):
                self.clock.advance(1)
                self.assertEqual(self.shown(certificates), "old")
            [line] = self.logged.take()
            self.assertIn("keeping the old certificate: ", line)
            self.assertEqual(self.logged.levels[-1], LogLevel.error)
            certificates.reread()
            self.assertEqual(len(self.logged.take()), 1)
        (self.path / "a.pem").unlink()
        self.clock.advance(1)
        self.assertEqual(self.shown(certificates), "old")
        self.logged.take()
        self.write("a.pem", new)
        self.clock.advance(1)
        self.assertEqual(self.shown(certificates), "new")
        self.assertIn("certificate of new", self.logged.take()[0])

    def test_handshake_that_began_with_an_old_certificate(self) -> None:
        """Ends with it, or with the new one, but ends."""
        self.write("a.pem", pem("old.example"))
        certificates = self.serve()
        client, server = _client(SSL.Context(SSL.TLS_METHOD), "old.example"), _server(certificates)
        self.assertRaises(SSL.WantReadError, client.do_handshake)
        self.write("a.pem", pem("new.example"))
        certificates.reread()
        _shake_hands(client, server)
        self.assertEqual(self.shown(certificates, "old.example"), "new.example")

    def test_expired(self) -> None:
        """Or not valid yet: a warning."""
        for days, words in ((-9, -2), "has expired"), ((2, 9), "is not valid before"):
            self.write("a.pem", pem("chat", days=days))
            self.serve().describe()
            told, warning = self.logged.take()
            self.assertIn("certificate of chat, until ", told)
            self.assertIn(words, warning)
            self.assertEqual(self.logged.levels[-1], LogLevel.warn)

    def version(self, version: int) -> str:
        """What is agreed on with a client that wants this version."""
        context = SSL.Context(SSL.TLS_METHOD)
        context.set_cipher_list(b"ALL:@SECLEVEL=0")
        context.set_min_proto_version(version)
        context.set_max_proto_version(version)
        client = _client(context)
        _shake_hands(client, _server(self.serve()))
        return client.get_protocol_version_name()

    def test_versions(self) -> None:
        """TLS 1.2 and up."""
        self.write("a.pem", pem("chat"))
        self.assertEqual(self.version(SSL.TLS1_2_VERSION), "TLSv1.2")
        self.assertEqual(self.version(SSL.TLS1_3_VERSION), "TLSv1.3")
        for version in SSL.TLS1_VERSION, SSL.TLS1_1_VERSION:
            self.assertRaises(SSL.Error, self.version, version)

    def test_ciphers(self) -> None:
        """None without forward secrecy, and none that is broken."""
        self.write("a.pem", pem("chat"))
        for cipher in b"AES128-SHA", b"ECDHE-ECDSA-AES128-SHA", b"NULL", b"AECDH-AES128-SHA":
            context = SSL.Context(SSL.TLS_METHOD)
            context.set_max_proto_version(SSL.TLS1_2_VERSION)
            context.set_cipher_list(cipher + b":@SECLEVEL=0")
            client, server = _client(context), _server(self.serve())
            self.assertRaises(SSL.Error, _shake_hands, client, server)

    def test_renegotiation(self) -> None:
        """Is refused."""
        self.write("a.pem", pem("chat"))
        context = SSL.Context(SSL.TLS_METHOD)
        context.set_max_proto_version(SSL.TLS1_2_VERSION)
        client, server = _client(context), _server(self.serve())
        _shake_hands(client, server)
        client.renegotiate()
        self.assertRaises(SSL.Error, _shake_hands, client, server)
        self.assertEqual(server.total_renegotiations(), 0)


def _client(context: SSL.Context, name: str = "") -> SSL.Connection:
    client = SSL.Connection(context)
    client.set_connect_state()
    if name:
        client.set_tlsext_host_name(name.encode())
    return client


def _server(certificates: Certificates) -> SSL.Connection:
    protocol: Any = None
    server = certificates.serverConnectionForTLS(protocol)
    server.set_accept_state()
    return server


def _shake_hands(client: SSL.Connection, server: SSL.Connection) -> None:
    """Hand from one to the other what they have to say, until neither waits."""
    for _ in range(5):
        for one, other in (client, server), (server, client):
            try:
                one.do_handshake()
                one.recv(1)
            except SSL.WantReadError:
                pass
            try:
                other.bio_write(one.bio_read(65536))
            except SSL.WantReadError:
                pass


class _End(Protocol):
    """One end of a connection.

    @ivar says: what it says first.
    """

    transport: Any

    def __init__(self, says: bytes) -> None:
        self.says = says
        self.heard: Deferred[bytes] = Deferred()
        self.lost: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        self.transport.write(self.says)

    def dataReceived(self, data: bytes) -> None:
        if not self.heard.called:
            self.heard.callback(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost.callback(None)


class HandshakeTests(TestCase):
    """A port with TLS, over real sockets, with a clock that is set."""

    timeout: ClassVar[int] = 30

    async def connect(self, other: _End, *, over_tls: bool, **options: Any) -> _End:
        """Listen and connect; gives back the server's end."""
        path = Path(self.mktemp())
        path.write_bytes(pem("chat"))
        self.clock = Clock()
        server = _End(b"hello")
        certificates = Certificates(lambda: [path], self.clock)
        factory = TlsFactory(certificates, Factory.forProtocol(lambda: server), self.clock)
        port: Any = reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        client: Any = TCP4ClientEndpoint(reactor, "127.0.0.1", port.getHost().port)
        if over_tls:
            client = wrapClientTLS(CertificateOptions(**options), client)
        await connectProtocol(client, other)
        return server

    async def test_handshake_that_does_not_end(self) -> None:
        """Is cut off: after a first byte, after half of a first message, and after all of it."""
        hello = SSL.Connection(SSL.Context(SSL.TLS_METHOD))
        hello.set_connect_state()
        self.assertRaises(SSL.WantReadError, hello.do_handshake)
        first = hello.bio_read(65536)
        for says in first[:1], first[:-1], first:
            client = _End(says)
            server = await self.connect(client, over_tls=False)
            if says == first:
                await client.heard  # the server's answer, to which there is none
            else:
                await deferLater(reactor, 0)
            self.clock.advance(HANDSHAKE - 0.1)
            self.assertFalse(server.lost.called)
            self.clock.advance(0.1)
            await server.lost
            await client.lost
            self.assertEqual(self.clock.getDelayedCalls(), [])

    async def test_handshake_that_has_ended(self) -> None:
        """Nothing is cut off later."""
        client = _End(b"hi")
        server = await self.connect(client, over_tls=True)
        self.assertEqual(await server.heard, b"hi")
        self.clock.advance(2 * HANDSHAKE)
        self.assertEqual(await client.heard, b"hello")
        client.transport.loseConnection()
        await server.lost
        await client.lost
        self.assertEqual(self.clock.getDelayedCalls(), [])

    async def test_client_that_negotiates_a_protocol(self) -> None:
        """A client that offers protocols by ALPN (RFC 7301), as browsers and curl do, can
        connect."""
        client = _End(b"hi")
        server = await self.connect(client, over_tls=True, acceptableProtocols=[b"h2"])
        self.assertEqual(await server.heard, b"hi")
        self.clock.advance(2 * HANDSHAKE)
        self.assertEqual(await client.heard, b"hello")
        client.transport.loseConnection()
        await server.lost
        await client.lost

    async def test_gone_before_the_handshake_has_ended(self) -> None:
        """No time runs for somebody who is not there."""
        client = _End(b"")
        server = await self.connect(client, over_tls=False)
        client.transport.loseConnection()
        await server.lost
        await client.lost
        self.assertEqual(self.clock.getDelayedCalls(), [])

    async def turned_away(self, says: bytes) -> bytes:
        """What is answered to somebody who says this without TLS, and ends when they are told."""
        client = _Listener(says)
        server = await self.connect(client, over_tls=False)
        if not says:
            await deferLater(reactor, 0)
            self.clock.advance(SILENCE)
        await client.lost
        await server.lost
        self.assertFalse(server.heard.called)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        return client.everything

    async def test_something_else_than_TLS(self) -> None:
        """Is told at once what the port speaks; so is, after a while, who says nothing."""
        sentence = strangers.plain_answer(b"")
        for says in b"/guest alice\r\n", b"\n", b"x" * 5000, b"", b"/json on\n" * 5000:
            self.assertEqual(await self.turned_away(says), sentence, says[:9])

    async def test_http_without_TLS(self) -> None:
        """Is answered in its own protocol."""
        request = b"POST / HTTP/1.1\r\nHost: localhost\r\n\r\n/guest alice\nhello\n"
        self.assertEqual(await self.turned_away(request), strangers.http_answer(tls=True))

    async def test_first_line_in_pieces(self) -> None:
        """Is waited for, but not longer than for a handshake to begin."""
        client = _Listener(b"GET / HT")
        server = await self.connect(client, over_tls=False)
        await deferLater(reactor, 0)
        client.transport.write(b"TP/1.1\r\n")
        await client.lost
        await server.lost
        self.assertEqual(client.everything, strangers.http_answer(tls=True))
        client = _Listener(b"alice")
        await self.connect(client, over_tls=False)
        await deferLater(reactor, 0)
        self.clock.advance(SILENCE)
        await client.lost
        self.assertEqual(client.everything, strangers.plain_answer(b""))

    async def test_who_goes_on_without_TLS(self) -> None:
        """Is cut off after five seconds."""
        client = _Stubborn(b"/guest alice\n")
        server = await self.connect(client, over_tls=False)
        self.assertEqual(await client.heard, strangers.plain_answer(b""))
        await client.ended
        client.transport.write(b"hello\n" * 50_000)
        self.clock.advance(4.9)
        self.assertFalse(server.lost.called)
        self.clock.advance(0.1)
        await server.lost
        await client.lost
        self.assertFalse(server.heard.called)


class _Listener(_End):
    """An end that keeps all that it hears."""

    everything = b""

    def dataReceived(self, data: bytes) -> None:
        self.everything += data


@implementer(IHalfCloseableProtocol)
class _Stubborn(_End):
    """An end that does not mind that the other has ended."""

    def __init__(self, says: bytes) -> None:
        super().__init__(says)
        self.ended: Deferred[None] = Deferred()

    def readConnectionLost(self) -> None:
        self.ended.callback(None)

    def writeConnectionLost(self) -> None:
        pass
