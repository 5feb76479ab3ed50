"""The connection: against a server of the test's own making, and against a real one that is cut
off again and again."""

import json
import random
import socket
from collections.abc import Coroutine
from typing import Any

from OpenSSL import SSL
from twisted.internet import reactor as _reactor
from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.error import ConnectionRefusedError as Refusal
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.logger import LogEvent, globalLogPublisher
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.daemon import ForkedDaemon
from twisted_chat.client import connection, connector
from twisted_chat.client.connection import Client, Event, GaveUp, Identity, Refused, Where
from twisted_chat.client.identity import after

reactor: Any = _reactor


class Server:
    """The other end of a client's connections, played by the test."""

    def __init__(self, test: SynchronousTestCase, identity: Identity, *rooms: str) -> None:
        self._test = test
        self.reactor: Any = MemoryReactorClock()
        self.client = Client(Where(unix="/s"), identity, rooms, reactor=self.reactor)
        self.events: list[Event] = []
        self.started = self.run(self.client.start())
        self.ended = self.run(self._iterate())
        self.started.addErrback(lambda _: None)
        self.ended.addErrback(lambda _: None)
        self.seqs: dict[str, int] = {}
        self.take()

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> "Deferred[Any]":
        running: Deferred[Any] = Deferred.fromCoroutine(coroutine)
        # The client ends with the test, and whoever still waits for it is told so.
        self._test.addCleanup(running.addErrback, lambda _: None)
        return running

    async def _iterate(self) -> None:
        async for event in self.client:
            self.events.append(event)

    def take(self) -> None:
        """Accept the connection that the client is making."""
        _, factory, *_ = self.reactor.unixClients.pop()
        self.protocol = factory.buildProtocol(None)
        self.transport = StringTransport(peerAddress=UNIXAddress("/s"))
        self.transport.abortConnection = self.lose  # type: ignore[method-assign]
        self.protocol.makeConnection(self.transport)

    def lines(self) -> list[str]:
        """What the client has written since the last time."""
        written: list[str] = self.transport.value().decode().splitlines()
        self.transport.clear()
        return written

    def tell(self, kind: str, **fields: Any) -> None:
        data = {"event": kind, "time": "2026-11-21T09:00:00.000Z", **fields}
        if "from_" in data:
            data["from"] = data.pop("from_")
        self.protocol.dataReceived(json.dumps(data).encode() + b"\n")

    def hello(self, **fields: Any) -> None:
        """Answer a C{/json on}."""
        self.tell("hello", protocol=1, server="test", **fields)

    def message(self, seq: int, text: str, *, replay: bool = False, **fields: Any) -> None:
        given = {"room": "lobby", "from_": "bot", "id": seq, "action": False, **fields}
        self.tell("message", seq=seq, text=text, replay=replay, **given)

    def history(self, room: str = "lobby", count: int = 0) -> None:
        self.tell("history", room=room, count=count)

    def let_in(self, name: str = "bot", *, account: bool = True, **fields: Any) -> None:
        """Answer up to where the client is in; it is in the lobby only."""
        self.hello(**fields)
        self.tell("welcome", name=name, account=account, room="lobby")
        self.history()
        self.hello(**fields)

    def lose(self) -> None:
        """The connection is gone."""
        self.protocol.connectionLost(Failure(ConnectionLost()))

    def come_back(self) -> None:
        """Have the client connect again."""
        self.reactor.advance(60)
        self.take()

    def say(self, text: str) -> "Deferred[Any]":
        return self.run(self.client.say(text))

    def of(self, kind: str) -> list[Event]:
        return [event for event in self.events if event["event"] == kind]

    def texts(self) -> list[str]:
        return [event["text"] for event in self.of("message")]


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


BOT = Identity("bot", "s3cret-pw")


class LoginTests(SynchronousTestCase):
    """Coming in."""

    def test_comes_in(self) -> None:
        """In JSON, with the password, into the rooms; it has started once it is in all of them."""
        server = Server(self, BOT, "dev")
        self.assertEqual(server.lines(), ["/json on", "/login bot s3cret-pw"])
        server.hello()
        server.tell("welcome", name="bot", account=True, room="lobby")
        server.history()
        self.assertEqual(server.lines(), ["/join dev", "/json on", "/json on"])
        server.tell("joined", name="bot", room="dev")
        server.history("dev")
        server.hello()
        self.assertNoResult(server.started)
        server.hello()
        self.successResultOf(server.started)
        self.assertEqual(server.of("connected")[0]["server"], "test")

    def test_gives_up(self) -> None:
        """After a wrong password at once, with the server's sentence; it is not sent again."""
        server = Server(self, BOT)
        server.hello()
        server.tell("error", code="wrong-password", text="wrong \x1b[1mname", command="/login")
        self.assertIsInstance(server.client._error, GaveUp)
        self.assertEqual(str(server.client._error), "wrong [1mname")
        server.reactor.advance(600)
        self.assertEqual(server.reactor.unixClients, [])

    def test_password_was_changed_elsewhere(self) -> None:
        """It is told so, tries the old one once more, and gives up."""
        server = Server(self, BOT)
        server.let_in()
        server.tell("bye", text="your password was changed; log in with the new one")
        server.lose()
        self.assertIn("your password was changed", server.of("bye")[0]["text"])
        server.come_back()
        server.hello()
        server.tell("error", code="wrong-password", text="wrong name", command="/login")
        self.assertIsInstance(server.client._error, GaveUp)
        server.reactor.advance(6000)
        self.assertEqual(server.reactor.unixClients, [])

    def test_changes_its_password(self) -> None:
        """It comes back with the new one, whether or not it kept its other sessions."""
        for rest in "s3cret-pw new-pw", "--keep s3cret-pw new-pw":
            self.assertEqual(after(BOT, "passwd", rest), Identity("bot", "new-pw"))

    def test_registers_once(self) -> None:
        """If the name is registered already, it logs in."""
        server = Server(self, Identity("bot", "s3cret-pw", register=True))
        self.assertEqual(server.lines()[-1], "/register bot s3cret-pw")
        server.hello()
        server.tell("error", code="name-registered", text="it is", command="/register")
        self.assertEqual(server.lines(), ["/login bot s3cret-pw"])

    def test_guest_waits_for_its_name(self) -> None:
        """Its last session may still be there; in the end it comes under another."""
        server = Server(self, Identity("bot"))
        server.let_in(account=False)
        server.lose()
        for _ in range(connection._NAME_TRIES):
            server.come_back()
            server.hello()
            self.assertEqual(server.lines()[-1], "/guest bot")
            server.tell("error", code="name-taken", text="taken", command="/guest")
        server.come_back()
        server.hello()
        server.tell("error", code="name-taken", text="taken", command="/guest")
        self.assertEqual(server.lines()[-1], "/guest")

    def test_full(self) -> None:
        """The sentence of a server that refuses the connection is passed on."""
        server = Server(self, BOT)
        server.protocol.dataReceived(b"! this server is full; try again later\n")
        server.lose()
        self.assertEqual(str(server.client._error), "/s: this server is full; try again later")

    def test_later_it_tries_for_ever(self) -> None:
        """Once it has been in, it comes back; ever more slowly."""
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

    def test_silence(self) -> None:
        """A server that has said how often it sends a sign of life is gone once two are overdue."""
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
            ["the server has fallen silent"],
        )

    def test_silence_that_is_allowed(self) -> None:
        """A server that sends no signs of life, or does not say how often, may be quiet."""
        for said in None, 0, -1, True, 1e999, 10**400, "60", [60]:
            server = Server(self, BOT)
            server.let_in(keepalive=said)
            server.tell("ping")
            server.reactor.advance(10_000)
            self.assertEqual(server.of("disconnected"), [], said)

    def test_silence_while_we_do_not_read(self) -> None:
        """Is ours; the server has two more signs of life from when we read again."""
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
        """Is given up by the system after two minutes, also where TLS lies over the transport."""
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
        """For each connection: Twisted keeps what is logged before anyone has begun to, and with
        it the connection."""
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
        """What closes the connection without a word, or says that it speaks TLS, may need
        C{--tls}; what says something else does not."""
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
        """What does not shake hands may need C{--no-tls}; what does and refuses us does not."""
        where = Where("chat.example", tls=True)
        for received, reason, hinted in (
            (b"", SSL.Error([("SSL routines", "", "wrong version number")]), True),
            (b"", ConnectionDone(), True),
            (b"! this server is full\n", ConnectionDone(), False),
        ):
            told = self.attempt(where, received, reason)
            self.assertEqual("; use --no-tls if it is meant to be plain" in told, hinted, told)


class ResumeTests(SynchronousTestCase):
    """Nothing lost, nothing doubled."""

    def setUp(self) -> None:
        self.server = Server(self, BOT)
        self.server.let_in()
        self.server.lines()

    def back(self, *replay: tuple[int, str]) -> None:
        """Cut the client off and let it in again, with this in the lobby's replay."""
        self.server.lose()
        self.server.come_back()
        self.server.hello()
        self.server.tell("welcome", name="bot", account=True, room="lobby")
        for seq, text in replay:
            self.server.message(seq, text, replay=True)
        self.server.history(count=len(replay))
        self.server.hello()

    def test_what_is_in_the_log_is_not_sent_again(self) -> None:
        """And what is not, is, in its order."""
        said = [self.server.say(text) for text in ("a", "b", "b", "c")]
        self.assertEqual(self.server.lines(), ["/bc a", "/bc b", "/bc b", "/bc c"])
        self.server.message(1, "a")
        self.successResultOf(said[0])
        self.back((2, "b"))
        self.assertEqual(self.successResultOf(said[1])["seq"], 2)
        self.assertEqual(self.server.lines()[-2:], ["/bc b", "/bc c"])
        self.server.message(3, "b")
        self.server.message(4, "c")
        self.assertEqual([self.successResultOf(d)["seq"] for d in said[2:]], [3, 4])
        self.assertEqual(self.server.texts(), ["a", "b", "b", "c"])

    def test_asks_from_where_it_was(self) -> None:
        """Rooms and private messages."""
        self.server.message(1, "a", from_="eve", id=7)
        self.server.lose()
        self.server.come_back()
        self.assertEqual(
            self.server.lines(), ["/json on", "/since lobby=1 @=7", "/login bot s3cret-pw"]
        )

    def test_lost_again_while_coming_back(self) -> None:
        """The rooms that it was about to go into again are not forgotten."""
        server = Server(self, BOT, "dev")
        for _ in range(2):
            server.hello()
            server.tell("welcome", name="bot", account=True, room="lobby")
            server.history()
            self.assertIn("/join dev", server.lines())
            server.tell("joined", name="bot", room="dev")
            server.history("dev")
            server.hello()
            server.hello()
            server.lose()
            server.come_back()
            server.hello()
            server.tell("welcome", name="bot", account=True, room="lobby")
            server.lose()
            server.come_back()

    def test_said_while_away(self) -> None:
        """It waits, and is sent once."""
        self.server.lose()
        said = self.server.say("x")
        self.server.come_back()
        self.server.lines()
        self.server.let_in()
        self.assertEqual(self.server.lines().count("/bc x"), 1)
        self.server.message(1, "x")
        self.successResultOf(said)

    def test_somebody_elses(self) -> None:
        """What another person said is no receipt, though it is the same text."""
        said = self.server.say("x")
        self.server.message(1, "x", from_="eve")
        self.assertNoResult(said)

    def test_in_doubt(self) -> None:
        """If the server shows no more what may have been ours, it is not sent again, and this is
        said; and the gap is told."""
        self.server.message(1, "a", from_="eve")
        said = self.server.say("x")
        self.back((900, "y"))
        self.assertEqual(self.failureResultOf(said, Refused).value.code, "lost")
        gap = self.server.of("gap")[0]
        self.assertEqual((gap["first"], gap["last"]), (2, 899))
        self.assertEqual(self.server.texts(), ["a", "y"])

    def test_refused_among_others(self) -> None:
        """An error may come before the receipts of what was sent ahead of it; each goes to its
        own."""
        said = [self.server.say(text) for text in "abcd"]
        self.server.tell("error", code="too-long", text="no", command="")
        late = self.server.say("late")
        sent = ["/bc a", "/bc b", "/bc c", "/bc d", "/json on"]
        self.assertEqual(self.server.lines(), sent)
        for seq, text in ((1, "a"), (2, "c"), (3, "d")):
            self.server.message(seq, text)
        self.assertNoResult(said[1])
        self.server.hello()
        self.assertEqual(self.failureResultOf(said[1], Refused).value.code, "too-long")
        for index in (0, 2, 3):
            self.successResultOf(said[index])
        self.assertEqual(self.server.lines(), ["/bc late"])
        self.server.message(4, "late")
        self.successResultOf(late)

    def test_skipped(self) -> None:
        """What the server skipped is asked for, receipts too; what is live meanwhile comes with
        it."""
        self.server.message(1, "a", from_="eve")
        said = self.server.say("mine")
        self.server.lines()
        self.server.tell("skipped", lines=3)
        self.server.message(5, "e", from_="eve")
        self.assertEqual(self.server.lines(), ["/since lobby=1 @=1", "/json on", "/json on"])
        for seq, text in ((2, "b"), (3, "mine"), (4, "d"), (5, "e")):
            self.server.message(seq, text, replay=True, from_="bot" if text == "mine" else "eve")
        self.server.history(count=4)
        self.server.history("@")
        self.server.hello()
        self.server.hello()
        self.assertEqual(self.successResultOf(said)["seq"], 3)
        self.server.message(6, "f", from_="eve")
        self.assertEqual(self.server.texts(), ["a", "b", "mine", "d", "e", "f"])

    def test_history_that_was_asked_for(self) -> None:
        """Is told as it comes, and is no receipt."""
        for seq in (1, 2, 3):
            self.server.message(seq, "x")
        said = self.server.say("x")
        asked = self.server.run(self.server.client.command("/history 2"))
        self.server.message(2, "x", replay=True)
        self.server.message(3, "x", replay=True)
        self.server.history(count=2)
        self.assertNoResult(asked)
        self.server.hello()
        self.successResultOf(asked)
        self.assertNoResult(said)
        self.assertEqual([event["seq"] for event in self.server.of("message")], [1, 2, 3, 2, 3])

    def test_command_refused(self) -> None:
        """The refusal goes to who asked."""
        asked = self.server.run(self.server.client.command("/topic x"))
        other = self.server.run(self.server.client.command("/rooms"))
        self.server.tell("error", code="too-long", text="no", command="/topic")
        self.server.hello()
        self.assertEqual(self.failureResultOf(asked, Refused).value.code, "too-long")
        self.server.hello()
        self.successResultOf(other)

    def test_nobody_waits(self) -> None:
        """Who has given up waiting, for an answer or for a receipt, does no harm when it comes."""
        asked = self.server.run(self.server.client.command("/rooms"))
        said = self.server.say("x")
        for waiting in (asked, said):
            waiting.addErrback(lambda _: None)
            waiting.cancel()
        self.server.hello()
        self.server.message(1, "x")
        self.assertEqual(self.server.texts(), ["x"])

    def test_log_that_began_again(self) -> None:
        """A server with a new database is listened to all the same."""
        self.server.message(1, "a", from_="eve")
        self.server.message(2, "b", from_="eve")
        self.back()
        self.server.message(1, "new", from_="eve")
        self.server.message(2, "er", from_="eve")
        self.assertEqual(self.server.texts(), ["a", "b", "new", "er"])

    def test_closed(self) -> None:
        """What has no receipt is given up, and nothing is taken any more."""
        said = self.server.say("x")
        closed = self.server.run(self.server.client.close())
        self.assertEqual(self.server.lines()[-1], "/quit")
        self.server.tell("bye", text="bye")
        self.server.lose()
        self.successResultOf(closed)
        self.assertEqual(self.failureResultOf(said, Refused).value.code, "closed")
        self.failureResultOf(self.server.say("y"), Refused)


class SlowTests(SynchronousTestCase):
    """Who iterates slowly, or not at all."""

    def setUp(self) -> None:
        self.server = Server(self, BOT)
        self.server.let_in()
        self.server.lines()
        self.client = self.server.client
        inbox = self.client._inbox
        inbox._reader, self.held = None, inbox._reader  # it does not come back

    def flood(self, first: int, last: int) -> None:
        for seq in range(first, last + 1):
            self.server.message(seq, str(seq), from_="eve")

    def test_reads_no_more(self) -> None:
        """Beyond a thousand events nothing more is read, until half of them are gone."""
        self.flood(1, 1001)
        self.assertEqual(self.server.transport.producerState, "paused")
        assert self.held is not None
        self.held.callback(None)
        self.assertEqual(self.server.transport.producerState, "producing")
        self.assertEqual(self.server.texts(), [str(n) for n in range(1, 1002)])

    def test_says_something_while_it_lags(self) -> None:
        """Though reading has stopped, with more waiting than should: the receipt comes."""
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
        self.server.message(1501, "mine")
        self.successResultOf(said)

    def test_receipts_come_through(self) -> None:
        """Who waits for a receipt gets it, though a flood of events is not iterated over; of
        these no more than a thousand wait, and the rest is asked for again."""
        said = self.server.say("mine")
        self.flood(1, 5000)
        self.assertEqual(len(self.client._inbox), 1000)
        self.server.message(5001, "mine")
        self.successResultOf(said)
        self.server.lines()
        assert self.held is not None
        self.held.callback(None)
        self.assertEqual(self.server.lines(), ["/since lobby=1000 @=1000", "/json on"])
        for seq in range(1001, 5002):
            self.server.message(seq, str(seq), replay=True, from_="eve")
        self.server.history(count=4001)
        self.server.history("@")
        self.server.hello()
        self.assertEqual([e["seq"] for e in self.server.of("message")], list(range(1, 5002)))


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
            self.assertEqual(seqs, list(range(1, len(seqs) + 1)), room)
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
