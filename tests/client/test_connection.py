"""The connection: against a server of the test's own making, and against a real one that is cut
off again and again."""

import json
import random
import socket
from collections.abc import Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any

from OpenSSL import SSL
from twisted.internet import reactor as _reactor
from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.error import ConnectionDone
from twisted.internet.error import ConnectionRefusedError as Refusal
from twisted.internet.interfaces import (
    IAddress,
    IHostnameResolver,
    IHostResolution,
    IResolutionReceiver,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.logger import LogEvent, globalLogPublisher
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import implementer

from tests.daemon import ForkedDaemon
from twisted_chat.client import connection, connector
from twisted_chat.client.connection import Client, Event, GaveUp, Identity, Refused, Where

from .peer import BOT, Server

reactor: Any = _reactor


class TcpTransport(StringTransport):
    """A transport that has a socket.

    @ivar options: what was set on it.
    """

    def __init__(self) -> None:
        super().__init__(peerAddress=IPv4Address("TCP", "192.0.2.1", 5000))
        self.options: dict[int, int] = {}

    def setTcpNoDelay(self, enabled: bool) -> None:
        pass

    def setTcpKeepAlive(self, enabled: bool) -> None:
        pass

    def getHandle(self) -> Any:
        return self

    def setsockopt(self, level: int, option: int, value: int) -> None:
        self.options[option] = value


class LoginTests(SynchronousTestCase):
    """Connecting and logging in."""

    def test_comes_in(self) -> None:
        """The client has started once it is in all of its rooms."""
        server = Server(self, BOT, "dev")
        self.assertEqual(server.written(), [b"/json on"])
        server.hello()
        server.welcome()
        server.history()
        server.done("login")
        self.assertNoResult(server.started)
        server.joined("dev")
        self.successResultOf(server.started)
        self.assertTrue(server.client.is_connected)
        us = server.client.name, server.client.account, server.client.server, server.client.room
        self.assertEqual(us, ("bot", True, "test", "dev"))

    def test_gives_up(self) -> None:
        """After a wrong password the client gives up at once, with the server's sentence, and does
        not send it again."""
        server = Server(self, BOT)
        server.hello()
        server.refuse("login", "wrong-password", "wrong \x1b[1mname")
        self.assertIsInstance(server.client._error, GaveUp)
        self.assertEqual(str(server.client._error), "wrong [1mname")
        server.reactor.advance(600)
        self.assertEqual(server.reactor.unixClients, [])

    def test_password_was_changed_elsewhere(self) -> None:
        """A client whose password was changed elsewhere is told so, tries the old one once more,
        and gives up."""
        server = Server(self, BOT)
        server.let_in()
        server.tell("bye", text="your password was changed; log in with the new one")
        server.lose()
        self.assertIn("your password was changed", server.of("bye")[0]["text"])
        server.come_back()
        server.hello()
        server.refuse("login", "wrong-password")
        self.assertIsInstance(server.client._error, GaveUp)
        server.reactor.advance(6000)
        self.assertEqual(server.reactor.unixClients, [])

    def test_other_protocol(self) -> None:
        """The client gives up a server of another protocol, with a sentence that names the way
        out."""
        server = Server(self, BOT)
        server.hello(protocol=1)
        sentence = "this server speaks protocol 1, and this client 2; upgrade the server"
        self.assertEqual(str(server.client._error), sentence)
        server.reactor.advance(600)
        self.assertEqual(server.reactor.unixClients, [])

    def test_busy(self) -> None:
        """A first login that is refused as busy fails; later ones are tried again."""
        server = Server(self, BOT)
        server.hello()
        server.refuse("login", "busy")
        assert server.client._error is not None
        self.assertEqual(server.client._error.code, "busy")
        server = Server(self, BOT)
        server.let_in()
        server.lose()
        server.come_back()
        server.hello()
        server.refuse("login", "busy")
        server.come_back()
        self.assertIsNone(server.client._error)

    def test_full(self) -> None:
        """The sentence of a server that refuses the connection is passed on."""
        server = Server(self, BOT)
        server.protocol.dataReceived(b"! this server is full; try again later\n")
        server.lose()
        self.assertEqual(str(server.client._error), "/s: this server is full; try again later")

    def test_later_it_tries_for_ever(self) -> None:
        """A client that has been in reconnects for ever, ever more slowly."""
        server = Server(self, BOT)
        server.let_in()
        server.lose()
        for _ in range(20):
            server.reactor.advance(45)
            _, factory, *_ = server.reactor.unixClients.pop()
            factory.clientConnectionFailed(None, Failure(Refusal()))
        self.assertNoResult(server.ended)
        waits = [event["seconds"] for event in server.of("reconnecting")]
        self.assertLessEqual(waits[0], 0.8)
        self.assertTrue(all(15 <= wait <= 45 for wait in waits[-5:]), waits)

    def test_posts_that_are_kept(self) -> None:
        """A post that the server has refused for now is sent again after a while, on this
        connection or on the next one; a bot that waits for its receipt gets it."""
        server = Server(self, BOT)
        server.let_in()
        said = server.say("a")
        server.refuse("say", "unavailable")
        self.assertEqual(server.read(), [])
        server.reactor.advance(1.5)
        self.assertEqual(server.read(), [{"do": "say", "room": "lobby", "message": "a"}])
        server.refuse("say", "unavailable")
        server.lose()
        server.come_back()
        server.let_in()
        self.assertEqual(server.read()[-1], {"do": "say", "room": "lobby", "message": "a"})
        server.done("say", room="lobby", seq=1, id=1)
        self.assertEqual(self.successResultOf(said)["seq"], 1)
        self.assertEqual([event["event"] for event in server.events].count("paused"), 1)

    def test_closed_while_posts_are_kept(self) -> None:
        """A client that is closed sends nothing again, and leaves no timer."""
        server = Server(self, BOT)
        server.let_in()
        said = server.say("a")
        server.refuse("say", "unavailable")
        closed = server.run(server.client.close())
        server.lose()
        self.successResultOf(closed)
        self.assertEqual(self.failureResultOf(said, Refused).value.code, "closed")
        self.assertEqual(server.reactor.getDelayedCalls(), [])

    def test_bye(self) -> None:
        """Clients to which a server has said bye come back over five seconds, not all at once; if
        that fails, they wait as after any other loss."""
        for spread in (0.0, 5.0):
            self.patch(random, "uniform", lambda low, high, at=spread / 5: low + at * (high - low))
            server = Server(self, BOT)
            server.let_in()
            server.tell("bye", text="the server is going down; bye")
            server.lose()
            server.reactor.advance(60)
            _, factory, *_ = server.reactor.unixClients.pop()
            factory.clientConnectionFailed(None, Failure(Refusal()))
            waits = [event["seconds"] for event in server.of("reconnecting")]
            self.assertEqual(waits, [5.0, 0.8] if spread else [0.0, 0.2])

    def test_silence(self) -> None:
        """A server that has said how often it sends a sign of life counts as lost once two are
        overdue."""
        server = Server(self, BOT)
        server.let_in(keepalive=60)
        for _ in range(10):
            server.reactor.advance(60)
            server.tell("ping")
        server.reactor.advance(120)
        self.assertEqual(server.of("disconnected"), [])
        server.reactor.advance(5)
        self.assertEqual(
            [event["text"] for event in server.of("disconnected")],
            ["the server stopped responding"],
        )

    def test_silence_that_is_allowed(self) -> None:
        """A server that sends no signs of life, or does not say how often, may be quiet."""
        for said in None, 0, 10**9:
            server = Server(self, BOT)
            server.let_in(keepalive=said)
            server.tell("ping")
            server.reactor.advance(10_000)
            self.assertEqual(server.of("disconnected"), [], said)

    def test_silence_while_we_do_not_read(self) -> None:
        """Silence while the client does not read is its own; from when it reads again, the server
        has two more signs of life."""
        server = Server(self, BOT)
        server.let_in(keepalive=60)
        server.client._connector.pause(paused=True)
        server.reactor.pump([60] * 10)
        server.client._connector.pause(paused=False)
        server.reactor.advance(120)
        self.assertEqual(server.of("disconnected"), [])
        server.reactor.advance(5)
        self.assertEqual(len(server.of("disconnected")), 1)

    def test_server_that_confirms_nothing(self) -> None:
        """The system gives up a server that confirms nothing after two minutes, also under TLS."""
        for is_wrapped in False, True:
            server = Server(self, BOT)
            server.let_in()
            server.lose()
            server.reactor.advance(60)
            _, factory, *_ = server.reactor.unixClients.pop()
            protocol = factory.buildProtocol(None)
            transport = TcpTransport()
            if is_wrapped:
                protocol = ProtocolWrapper(WrappingFactory(factory), protocol)
            protocol.makeConnection(transport)
            self.assertEqual(transport.options[socket.TCP_USER_TIMEOUT], 120_000)
            self.assertEqual(transport.options[socket.TCP_KEEPIDLE], 60)

    def test_logs_nothing(self) -> None:
        """A connection logs nothing: until a program begins to log, Twisted keeps what is logged,
        and with it the connection."""
        server = Server(self, BOT)
        server.let_in()
        server.lose()
        server.reactor.advance(60)
        logged: list[LogEvent] = []
        observer: Any = logged.append
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        _, factory, *_ = server.reactor.unixClients[-1]
        factory.doStart()
        self.assertEqual(logged, [])

    def test_never_let_in(self) -> None:
        """A server that does not answer the login is given up."""
        server = Server(self, BOT)
        server.reactor.advance(61)
        self.assertIn("in time", str(server.client._error))


class WrongPortTests(SynchronousTestCase):
    """A port that speaks TLS to a client that does not, or the other way round."""

    def attempt(self, where: Where, received: bytes, reason: Exception) -> str:
        """Connect, receive this, and lose the connection; gives back the sentence about it."""
        clock: Any = MemoryReactorClock()
        made = connector.Connector(
            clock,
            where,
            made=lambda: None,
            received=lambda line: None,
            regulate=lambda: None,
            lost=lambda reason: None,
            waiting=lambda seconds: None,
        )

        def read(line: bytes) -> None:
            if line.startswith(b"! "):
                made.reason = line[2:].decode()

        made.received = read
        link = connector._Link(made, clock)
        link.makeConnection(StringTransport(peerAddress=UNIXAddress(None)))
        link.dataReceived(received)
        return str(self.assertRaises(GaveUp, made._disconnected, reason))

    def test_plain(self) -> None:
        """If a plain connection is closed without a word, or the server says that it speaks TLS,
        the reason names C{--tls}; after other words it does not."""
        where = Where("chat.example")
        for received, sentence in (
            (b"", "the server closed the connection; does it need --tls?"),
            (
                b"\x15\x03\x01\x00\x02\x02\x0a",
                "the server closed the connection; does it need --tls?",
            ),
            (b"! this port speaks TLS; use it\n", "this port speaks TLS; use it; --tls does"),
            (b"! this port speaks TLS; --tls\n", "this port speaks TLS; --tls"),
            (b"! this server is full\n", "this server is full"),
        ):
            told = self.attempt(where, received, ConnectionDone())
            self.assertEqual(told, f"chat.example:5000: {sentence}")
        told = self.attempt(Where(unix="/s"), b"", ConnectionDone())
        self.assertEqual(told, "/s: the server closed the connection")

    def test_tls(self) -> None:
        """If the handshake fails, the reason names C{--no-tls}; if the server shakes hands and
        refuses the client, it does not."""
        where = Where("chat.example", tls=True)
        for received, reason, hinted in (
            (b"", SSL.Error([("SSL routines", "", "wrong version number")]), True),
            (b"", ConnectionDone(), True),
            (b"! this server is full\n", ConnectionDone(), False),
        ):
            told = self.attempt(where, received, reason)
            self.assertEqual("; use --no-tls if it is meant to be plain" in told, hinted, told)


class TalkTests(SynchronousTestCase):
    """What a program does with the client."""

    def setUp(self) -> None:
        self.server = Server(self)
        self.server.let_in()
        self.server.read()
        self.client = self.server.client

    def test_talks(self) -> None:
        """Each method gives back the receipt of what it has said."""
        for saying, request, told in (
            (self.client.say("hi "), {"do": "say", "room": "lobby", "message": "hi"}, {"seq": 1}),
            (self.client.me("waves"), {"do": "me", "room": "lobby", "action": "waves"}, {"seq": 2}),
            (
                self.client.dm("Bob", "/hi"),
                {"do": "dm", "name": "bob", "message": "/hi"},
                {"id": 7},
            ),
        ):
            running = self.server.run(saying)
            self.assertEqual(self.server.read(), [request])
            self.assertNoResult(running)
            self.server.done(request["do"], **told)
            receipt = self.successResultOf(running)
            self.assertEqual({**receipt, **told}, receipt)

    def test_refused(self) -> None:
        """What the server refuses is raised, with its code and sentence."""
        said = self.server.say("x")
        self.server.refuse("say", "too-long", "that is too long")
        refused = self.failureResultOf(said, Refused).value
        self.assertEqual((refused.code, str(refused)), ("too-long", "that is too long"))

    def test_joins_where_it_speaks(self) -> None:
        """To speak in a room that it is not in, the client joins it first; then commands are about
        that room."""
        said = self.server.run(self.client.say("hi", "#Dev"))
        self.assertEqual(self.server.read(), [{"do": "join", "room": "dev"}])
        self.server.joined("dev")
        self.assertEqual(self.server.read(), [{"do": "say", "room": "dev", "message": "hi"}])
        self.server.done("say", room="dev", seq=1, id=1)
        self.assertEqual(self.successResultOf(said)["room"], "dev")
        self.assertEqual(self.client.room, "dev")
        left = self.server.run(self.client.leave())
        self.server.tell("left", name="bot", room="dev", label=self.server.label("leave"))
        self.server.done("leave")
        self.successResultOf(left)
        self.assertEqual(self.client.room, "lobby")

    def test_commands(self) -> None:
        """A command is done when all that answers it was told."""
        asked = self.server.run(self.client.command("/users"))
        other = self.server.run(self.client.command("/topic x"))
        self.assertEqual(
            self.server.read(),
            [{"do": "users", "room": "lobby"}, {"do": "topic", "room": "lobby", "text": "x"}],
        )
        self.server.tell("users", room="lobby", users=[], label=self.server.label("users"))
        self.assertNoResult(asked)
        self.server.done("users")
        self.successResultOf(asked)
        self.server.refuse("topic", "too-long")
        self.failureResultOf(other, Refused)

    def test_nobody_waits(self) -> None:
        """A request whose caller has given up waiting does no harm when it is answered."""
        asked = self.server.run(self.client.command("/rooms"))
        said = self.server.say("x")
        for waiting in (asked, said):
            waiting.addErrback(lambda _: None)
            waiting.cancel()
        self.server.done("rooms")
        self.server.message(1, "x")
        self.server.done("say", room="lobby", seq=1, id=1)
        self.assertEqual(self.server.texts(), ["x"])

    def test_said_while_away(self) -> None:
        """What is said while there is no connection waits, and is sent once."""
        self.server.lose()
        said = self.server.say("x")
        self.server.come_back()
        self.server.let_in()
        says = [each for each in self.server.read() if each["do"] == "say"]
        self.assertEqual(len(says), 1)
        self.server.done("say", room="lobby", seq=1, id=1)
        self.successResultOf(said)

    def test_away_for_too_long(self) -> None:
        """A post that the server may have forgotten is not repeated, also if the wall clock was set
        back meanwhile, or the steady one stood still."""
        for wall, steady in ((500, 0), (-3600, 500)):
            clocks = {"wall": 0, "steady": 0}
            read = {"time": partial(clocks.get, "wall"), "monotonic": partial(clocks.get, "steady")}
            self.patch(connection, "time", SimpleNamespace(**read))
            server = Server(self)
            server.let_in()
            said = server.say("x")
            server.label("say")
            clocks.update(wall=wall, steady=steady)
            server.lose()
            server.come_back()
            server.let_in()
            self.assertNotIn("say", [each["do"] for each in server.read()])
            self.assertEqual(self.failureResultOf(said, Refused).value.code, "lost")

    def test_closed(self) -> None:
        """On closing, posts without a receipt are given up, and nothing more is accepted."""
        said = self.server.say("x")
        closed = self.server.run(self.client.close())
        self.assertEqual(self.server.read()[-1], {"do": "quit"})
        self.server.tell("bye", text="bye")
        self.server.lose()
        self.successResultOf(closed)
        self.assertEqual(self.failureResultOf(said, Refused).value.code, "closed")
        self.failureResultOf(self.server.say("y"), Refused)
        self.assertEqual(self.server.of("bye"), [])


class SlowTests(SynchronousTestCase):
    """A program that iterates slowly, or not at all."""

    def setUp(self) -> None:
        self.server = Server(self, BOT)
        self.server.let_in()
        self.server.read()
        self.client = self.server.client
        inbox = self.client._inbox
        inbox._reader, self.held = None, inbox._reader  # it does not come back

    def flood(self, first: int, last: int) -> None:
        for seq in range(first, last + 1):
            self.server.message(seq, str(seq), from_="eve")

    def test_reads_no_more(self) -> None:
        """With a thousand events that wait to be iterated over, the client stops reading until half
        of them are taken."""
        self.flood(1, 1001)
        self.assertEqual(self.server.transport.producerState, "paused")
        assert self.held is not None
        self.held.callback(None)
        self.assertEqual(self.server.transport.producerState, "producing")
        self.assertEqual(self.server.texts(), [str(n) for n in range(1, 1002)])

    def test_says_something_while_it_lags(self) -> None:
        """A post that is made while reading has stopped gets its receipt."""
        told = [
            {"event": "message", "room": "lobby", "from": "eve", "id": n, "seq": n, "text": "x"}
            for n in range(1, 1501)
        ]
        written = [{**each, "action": False, "replay": False} for each in told]
        self.server.protocol.dataReceived(
            b"".join(json.dumps(each).encode() + b"\n" for each in written)
        )
        self.assertEqual(self.server.transport.producerState, "paused")
        said = self.server.say("mine")
        self.assertEqual(self.server.transport.producerState, "producing")
        self.server.done("say", room="lobby", seq=1501, id=1501)
        self.successResultOf(said)

    def test_receipts_come_through(self) -> None:
        """A receipt comes through although nobody iterates over a flood of events. No more than a
        thousand of these wait; the rest is asked for again."""
        said = self.server.say("mine")
        self.flood(1, 5000)
        self.assertEqual(len(self.client._inbox), 1000)
        self.server.message(5001, "mine")
        self.server.done("say", room="lobby", seq=5001, id=5001)
        self.successResultOf(said)
        self.server.read()
        assert self.held is not None
        self.held.callback(None)
        since = {"do": "since", "places": {"lobby": 1000}}
        self.assertEqual(self.server.read(), [since])
        for seq in range(1001, 5002):
            self.server.message(seq, str(seq), replay=True, from_="eve")
        self.server.history(count=4001, of="since", after=1000, seq=5001)
        self.server.done("since")
        self.assertEqual([e["seq"] for e in self.server.of("message")], list(range(1, 5002)))


@implementer(IHostnameResolver, IHostResolution)
class _Resolver:
    """Knows one host, which has several addresses."""

    def __init__(self, name: str, *addresses: str) -> None:
        self.name = name
        self._addresses = addresses

    def cancel(self) -> None:
        pass

    def resolveHostName(
        self,
        resolutionReceiver: IResolutionReceiver,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Sequence[type[IAddress]] | None = None,
        transportSemantics: str = "TCP",
    ) -> IHostResolution:
        resolutionReceiver.resolutionBegan(self)
        for address in self._addresses:
            resolutionReceiver.addressResolved(IPv4Address("TCP", address, portNumber))
        resolutionReceiver.resolutionComplete()
        return self


class AddressTests(TestCase):
    """One name for several servers."""

    async def test_one_refuses(self) -> None:
        """If nothing listens at one address of a host, the client takes the next."""
        server = TCP4ServerEndpoint(reactor, 0, interface="127.0.0.2")
        port: Any = await server.listen(Factory.forProtocol(Protocol))
        self.addCleanup(port.stopListening)
        before = reactor.installNameResolver(_Resolver("chat.example", "127.0.0.1", "127.0.0.2"))
        self.addCleanup(reactor.installNameResolver, before)
        where = Where("chat.example", port.getHost().port)
        connected: Any = await where.endpoint(reactor, 30).connect(Factory.forProtocol(Protocol))
        self.assertEqual(connected.transport.getPeer().host, "127.0.0.2")
        connected.transport.abortConnection()


class _Leg(Protocol):
    """One side of a L{Proxy}'s connection."""

    transport: Any
    peer: "_Leg | None" = None
    deaf = False

    def __init__(self, proxy: "Proxy", *, inner: bool) -> None:
        self._proxy = proxy
        self._inner = inner
        self._early = b""

    def connectionMade(self) -> None:
        if self._inner:
            return
        self._proxy.legs.append(self)
        inner = _Leg(self._proxy, inner=True)
        inner.peer, self.peer = self, inner
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", self._proxy.to)
        endpoint.connect(Factory.forProtocol(lambda: inner)).addCallbacks(
            lambda _: inner.transport.write(self._early), lambda _: self.cut()
        )

    def dataReceived(self, data: bytes) -> None:
        if self._inner and self._proxy.mute:
            return  # the client is not told
        if self.peer is not None and self.peer.transport is not None:
            self.peer.transport.write(data)
        else:
            self._early += data

    def cut(self) -> None:
        for leg in (self, self.peer):
            if leg is not None and leg.transport is not None:
                leg.transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self in self._proxy.legs:
            self._proxy.legs.remove(self)
        if self.peer is not None and self.peer.transport is not None:
            self.peer.transport.abortConnection()


class Proxy:
    """Stands between clients and a daemon, and cuts them off.

    @ivar mute: what the daemon says does not come through.
    """

    def __init__(self, to: int) -> None:
        self.to = to
        self.mute = False
        self.legs: list[_Leg] = []

    async def listen(self) -> int:
        endpoint = TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")
        self.port: Any = await endpoint.listen(Factory.forProtocol(lambda: _Leg(self, inner=False)))
        port: int = self.port.getHost().port
        return port

    def cut(self) -> None:
        self.mute = False
        for leg in list(self.legs):
            leg.cut()


class CutTests(TestCase):
    """A real daemon, behind a proxy that swallows receipts and cuts connections."""

    rounds = 25

    async def test_again_and_again(self) -> None:
        """While two people talk in two rooms and in private, everything that they say is in the
        log once and in order, and reaches a third, who is cut off too, once and in order."""
        self.patch(connector, "_FIRST_WAIT", 0.01)
        self.patch(connector, "_LONGEST_WAIT", 0.05)
        daemon = ForkedDaemon()
        daemon.start()
        self.addCleanup(daemon.kill)
        proxy = Proxy(daemon.port)
        where = Where("127.0.0.1", await proxy.listen())
        self.addCleanup(proxy.port.stopListening)
        names = ("alice", "bob", "carol")
        rooms = ("dev", "ops")
        clients = [Client(where, Identity(n, "s3cret-pw", True), rooms) for n in names]
        for client in clients:
            await client.start()
        heard: list[Event] = []
        follower = Deferred.fromCoroutine(self.follow(clients[2], heard))
        others = [Deferred.fromCoroutine(self.follow(client, [])) for client in clients[:2]]
        sent: dict[str, list[tuple[str, str]]] = {name: [] for name in names[:2]}
        receipts: list[Deferred[Event]] = []
        rng = random.Random(7)
        number = 0
        for _ in range(self.rounds):
            for step in range(rng.randint(5, 60)):
                for client in clients[:2]:
                    to = rng.choice(["lobby", "dev", "ops", "@carol"])
                    text = str(number % 5)  # the same texts again and again
                    number += 1
                    sent[client.name].append((to, text))
                    saying = client.dm("carol", text) if to[0] == "@" else client.say(text, to)
                    receipts.append(Deferred.fromCoroutine(saying))
                if step == 30:
                    proxy.mute = rng.random() < 0.7
            # Until some of it has been worked off, and some not.
            some = receipts[-rng.randint(1, len(receipts)) :][:1]
            if not proxy.mute:
                await gatherResults(some, consumeErrors=False)
            else:
                await self.turns(rng.randint(1, 40))
            proxy.cut()
        await gatherResults(receipts)
        last = Deferred.fromCoroutine(clients[0].dm("carol", "end"))
        await last
        await clients[0].say("end")
        await follower
        for client in clients:
            await client.close()
        for other in others:
            await other
        self.check(heard, sent)

    async def turns(self, count: int) -> None:
        for _ in range(count):
            turn: Deferred[None] = Deferred()
            reactor.callLater(0, turn.callback, None)
            await turn

    async def follow(self, client: Client, heard: list[Event]) -> None:
        async for event in client:
            if event["event"] in ("message", "dm", "gap"):
                heard.append(event)
            if event["event"] == "message" and event["text"] == "end":
                return

    def check(self, heard: list[Event], sent: dict[str, list[tuple[str, str]]]) -> None:
        self.assertEqual([event for event in heard if event["event"] == "gap"], [])
        for room in ("lobby", "dev", "ops"):
            seqs = [e["seq"] for e in heard if e["event"] == "message" and e["room"] == room]
            self.assertEqual(seqs, sorted(set(seqs)), room)
        for name, said in sent.items():
            for place in ("lobby", "dev", "ops", "@carol"):
                got = [
                    event["text"]
                    for event in heard
                    if event["from"] == name
                    and event.get("room", f"@{event.get('to')}") == place
                    and event["text"] != "end"
                ]
                self.assertEqual(got, [text for to, text in said if to == place], (name, place))
