"""A connection of the line protocol, over a transport in memory."""

import json
import re
import socket
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import count, islice
from typing import Any, ClassVar

from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IAddress, IDelayedCall, IPullProducer, ISSLTransport
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.internet.tcp import Port
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import alsoProvides

from tests.support import MemoryStore, PlainHasher, guard, now
from twisted_chat.core.accounts import Accounts
from twisted_chat.core.addresses import Networks
from twisted_chat.core.chat import Chat
from twisted_chat.core.errors import Refusal
from twisted_chat.core.limits import Limits
from twisted_chat.faces.admission import Admission
from twisted_chat.faces.line import protocol
from twisted_chat.faces.line.protocol import ChatFactory, ChatProtocol, Settings
from twisted_chat.faces.outbox import fan_out

_TURN = 0.001
"""Seconds that a turn of the reactor takes."""

_SEVERAL = 64
"""Lines of one connection that are worked off in one turn, and that wait for it."""

_GREETING = "* Welcome to chat. Type a name, or just Enter to be a guest; /help helps.\n"
_CLEAR_LINE = b"\r\x1b[K"
_CONCEAL = b"\x1b[8m"
_REVEAL = b"\x1b[0m"
_DO_BINARY = b"\xff\xfd\x00"
_WILL_BINARY = b"\xff\xfb\x00"
_WILL_ECHO = b"\xff\xfb\x01"
_WONT_ECHO = b"\xff\xfc\x01"

_Json = dict[str, Any]


class Turns(Clock):
    """A clock on which even what is to happen at once waits for the next turn."""

    def callLater(
        self, delay: float, callable: Callable[..., object], *args: object, **kw: object
    ) -> IDelayedCall:
        return super().callLater(max(delay, _TURN), callable, *args, **kw)


class Hasher(PlainHasher):
    """A hasher that tells whether somebody waits for it."""

    @property
    def is_waited_for(self) -> bool:
        return bool(self._waiting)


class MemoryTransport(StringTransport):
    """A transport that is not plain TCP, and asks a pull producer as Twisted's do.

    @ivar reading: the other end takes what is written.
    @ivar options: what was set on the connection.
    """

    def __init__(self, peer: IAddress) -> None:
        super().__init__(peerAddress=peer, lenient=True)
        self.reading = True
        self.options: list[Any] = []

    def registerProducer(self, producer: IPullProducer, streaming: bool) -> None:
        assert not streaming
        super().registerProducer(producer, streaming)
        producer.resumeProducing()
        self.drain()

    def drain(self) -> None:
        """Write until there is no more."""
        while self.reading and self.producer is not None:
            self.producer.resumeProducing()

    def setTcpNoDelay(self, enabled: bool) -> None:
        self.options.append(("nodelay", enabled))

    def setTcpKeepAlive(self, enabled: bool) -> None:
        self.options.append(("keepalive", enabled))

    def getHandle(self) -> Any:
        return self

    def setsockopt(self, *option: int) -> None:
        self.options.append(option)


class TlsTransport(MemoryTransport, Protocol):  # type: ignore[misc]
    """A transport that lies over another one, and whose handle is no socket."""

    def __init__(self, peer: IAddress) -> None:
        super().__init__(peer)
        alsoProvides(self, ISSLTransport)
        self.transport: Any = MemoryTransport(peer)

    def registerProducer(self, producer: IPullProducer, streaming: bool) -> None:
        assert streaming
        self.producer = producer

    def getHandle(self) -> Any:
        return object()


class Peer:
    """The other end of a connection, and the part of the reactor that reads from it."""

    transport_class: ClassVar[type[MemoryTransport]] = MemoryTransport

    def __init__(self, factory: ChatFactory, address: IAddress) -> None:
        self.transport = self.transport_class(address)
        built = factory.buildProtocol(address)
        assert built is not None
        self.built: Protocol = built
        self.gone = False
        self._arriving: deque[bytes] = deque()
        self._ended = False
        built.makeConnection(self.transport)

    @property
    def protocol(self) -> ChatProtocol:
        assert isinstance(self.built, ChatProtocol)
        return self.built

    @property
    def paused(self) -> bool:
        """Nothing is read from it at the moment."""
        return bool(self.transport.producerState == "paused")

    def send(self, data: str | bytes, size: int | None = None) -> None:
        """Send this, in pieces of so many bytes or in one."""
        encoded = data.encode() if isinstance(data, str) else data
        size = size or len(encoded) or 1
        self._arriving.extend(encoded[i : i + size] for i in range(0, len(encoded), size))

    def end(self) -> None:
        """Send nothing more after this, but go on reading: half-close."""
        self._ended = True

    def vanish(self) -> None:
        """Be gone without a word."""
        self._lose(ConnectionLost())

    def hang_up(self) -> None:
        """Be gone in an orderly way, and with it the connection."""
        self._lose(ConnectionDone())

    @property
    def is_closing(self) -> bool:
        """It is still there, and all that it was to be sent is written."""
        transport = self.transport
        written = transport.disconnecting and transport.producer is None
        return not self.gone and (transport.disconnected or written)

    @property
    def has_sent(self) -> bool:
        """There is something of it to be read."""
        return not (self.gone or self.transport.disconnecting or self.paused) and bool(
            self._arriving or self._ended
        )

    def read(self) -> None:
        """Do what the reactor does in a turn: read once, and see whether it is closed."""
        if self.has_sent:
            if self._arriving:
                self.built.dataReceived(self._arriving.popleft())
            else:
                self._ended = False
                self.protocol.readConnectionLost()
        elif self.is_closing:
            aborted = self.transport.disconnected
            self._lose(ConnectionAborted() if aborted else ConnectionDone())

    def _lose(self, reason: Exception) -> None:
        if not self.gone:
            self.gone = True
            if self.transport.producer is not None:
                self.transport.producer.stopProducing()
            self.built.connectionLost(Failure(reason))

    def take_bytes(self) -> bytes:
        """What it was sent since the last time."""
        data = bytes(self.transport.value())
        self.transport.clear()
        return data

    def take(self) -> str:
        return self.take_bytes().decode()

    def take_events(self) -> list[_Json]:
        """The objects it was sent since the last time, and nothing but objects."""
        return [json.loads(line) for line in self.take().splitlines()]


class ServerTestCase(SynchronousTestCase):
    """A server without sockets. In the end everyone goes, and nothing is to be left of them."""

    limits: ClassVar[Limits] = Limits(line_rate=0)
    settings: ClassVar[Settings] = Settings("chat")

    def setUp(self) -> None:
        self.serve()
        self.addCleanup(self.check_nothing_is_left)

    def serve(self, limits: Limits | None = None) -> None:
        """Start a new server, and forget the last."""
        limits = limits or self.limits
        self.store = MemoryStore()
        self.hasher = Hasher()
        self.clock = Turns()
        keeper = guard(limits, self.clock)
        self.accounts = Accounts(
            self.store,
            self.hasher,
            keeper,
            now,
            min_password=limits.min_password,
            trusted=["trusty"],
        )
        self.chat = Chat(
            self.store, self.accounts, keeper, limits, now, self.clock.callLater, fan_out
        )
        self.chat.open(self.store.open())
        self.store.subscribe(self.chat.deliver, self.chat.lose)
        self.admission = Admission(
            limits, Networks(trusted=["192.0.2.128/25"], shared=["127.0.0.0/8", "::1"]), self.clock
        )
        self.factory = ChatFactory(
            self.chat, self.accounts, self.admission, self.settings, limits, self.clock, now
        )
        self.peers: list[Peer] = []

    def check_nothing_is_left(self) -> None:
        """Everyone vanishes, and what is under way ends: then no call waits, and nobody is in the
        registry. (Errors that were logged fail the test anyway.)"""
        for peer in self.peers:
            peer.vanish()
        self.let_go()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.check_registry()

    def check_registry(self) -> None:
        """Somebody new finds nobody here."""
        self.factory.closing = False
        last = self.peer(UNIXAddress(None))
        last.send("/guest zz\n/users\n/quit\n")
        self.settle()
        self.assertIn("* 1 person is in the lobby: zz (guest)\n", last.take())
        self.assertTrue(last.gone)

    def peer(self, address: IAddress | None = None) -> Peer:
        """Somebody connects, and is greeted."""
        peer = self.newcomer(address)
        if isinstance(peer.built, ChatProtocol):
            peer.built._greet()
        return peer

    def newcomer(self, address: IAddress | None = None) -> Peer:
        """Somebody connects, and may speak first."""
        peer = Peer(self.factory, address or UNIXAddress(None))
        self.peers.append(peer)
        return peer

    def guest(self, name: str) -> Peer:
        """Somebody who is in as a guest, and has read everything."""
        peer = self.peer()
        self.tell(peer, f"/guest {name}\n")
        return peer

    def robot(self, name: str) -> Peer:
        """A program that is in as a guest and speaks JSON, and has read everything."""
        peer = self.peer()
        self.tell(peer, f"/json on\n/guest {name}\n")
        return peer

    def register(self, name: str, password: str) -> None:
        """Make an account; its owner is not here."""
        self.say(self.peer(), f"/register {name} {password}\n/quit\n")

    def turn(self) -> None:
        """One turn of the reactor."""
        for peer in self.peers:
            peer.read()
        self.clock.advance(_TURN)

    def settle(self) -> None:
        """Turn until nothing is left to do but to wait."""
        for _ in range(100_000):
            soon = self.clock.seconds() + _TURN
            due = any(call.getTime() <= soon for call in self.clock.getDelayedCalls())
            if not due and not any(peer.has_sent or peer.is_closing for peer in self.peers):
                return
            self.turn()
        self.fail("it never comes to rest")

    def let_go(self) -> None:
        """Let the store and the hasher answer, until nobody waits for them."""
        self.hasher.held = False
        self.store.release()
        self.hasher.release()
        self.settle()

    def step(self) -> bool:
        """Let the held store or the held hasher give one answer, if it is waited for."""
        try:
            self.store.step()
        except IndexError:
            if not self.hasher.is_waited_for:
                return False
            self.hasher.release()
        self.settle()
        return True

    def say(self, peer: Peer, data: str | bytes, size: int | None = None) -> str:
        """Send this and give back what comes of it."""
        return self.ask(peer, data, size).decode()

    def ask(self, peer: Peer, data: str | bytes, size: int | None = None) -> bytes:
        """As L{say}, in bytes."""
        self.settle()
        peer.take_bytes()
        peer.send(data, size)
        self.settle()
        return peer.take_bytes()

    def events(self, peer: Peer, data: str | bytes) -> list[_Json]:
        """As L{say}, for a peer that speaks JSON."""
        return [json.loads(line) for line in self.say(peer, data).splitlines()]

    def tell(self, peer: Peer, data: str | bytes) -> None:
        """Send this; what came so far, and comes of it, is not of interest."""
        peer.send(data)
        self.settle()
        peer.take_bytes()


class GreetingTests(ServerTestCase):
    """The first that is seen, and what comes at the C{Name:} prompt."""

    def test_greeting_and_prompt(self) -> None:
        """A connection is greeted and asked for a name, and gets no byte besides."""
        self.assertEqual(self.peer().take(), f"{_GREETING}Name: ")

    def test_prompt_comes_again_until_somebody_is_in(self) -> None:
        """After each line that leads nowhere, and not once that has led in."""
        peer = self.peer()
        self.assertTrue(self.say(peer, "...\n").endswith("\nName: "))
        self.assertTrue(self.say(peer, "/help help\n").endswith("\nName: "))
        self.assertNotIn("Name: ", self.say(peer, "\n"))
        self.assertNotIn("Name: ", self.say(peer, "hello\n/users\n/nonsense\n"))

    def test_no_prompt_between_lines_that_came_together(self) -> None:
        """Nobody is typing there."""
        self.assertNotIn("Name: ", self.say(self.peer(), "/help help\n/help help\n\n"))

    def test_enter_is_a_guest(self) -> None:
        """Just Enter gives a generated name."""
        self.assertIn(
            "* Welcome, guest1. You are a guest; /register NAME makes a name yours.\n",
            self.say(self.peer(), "\n"),
        )

    def test_new_name_and_password_registers(self) -> None:
        """A new name is offered registration, and the password makes it an account."""
        peer = self.peer()
        offer = self.say(peer, "alice\n")
        self.assertIn('* "alice" isn\'t registered yet. Choose a password', offer)
        self.assertIn("New password: ", offer)
        self.assertIn("Again: ", self.say(peer, "wonderland\n"))
        self.assertIn("* Welcome, alice.\n", self.say(peer, "wonderland\n"))
        self.assertIn("lobby: alice\n", self.say(peer, "/users\n"))

    def test_registered_name_is_asked_for_its_password(self) -> None:
        """A wrong one is asked for again, Enter leads back; the right one leads in."""
        self.register("alice", "wonderland")
        peer = self.peer()
        self.assertIn("Password: ", self.say(peer, "alice\n"))
        answer = self.say(peer, "looking-glass\n")
        self.assertIn("! wrong name or password\n", answer)
        self.assertIn("Password: ", answer)
        self.assertTrue(self.say(peer, "\n").endswith("Name: "))
        self.tell(peer, "alice\n")
        self.assertIn("* Welcome, alice.\n", self.say(peer, "wonderland\n"))

    def test_password_is_never_said(self) -> None:
        """Not even one that looks like a command or a message; no new one looks like a command."""
        bob = self.guest("bob")
        for name, password in ("anna", "!users 123"), ("carla", "to everyone here"):
            peer = self.peer()
            self.tell(peer, f"{name}\n")
            self.tell(peer, f"{password}\n")
            self.assertIn(f"* Welcome, {name}.\n", self.say(peer, f"{password}\n"))
            self.assertEqual(bob.take(), f"* {name} joined\n")
        peer = self.peer()
        self.tell(peer, "dora\n")
        self.assertIn(
            "! that looks like a command, not a password; just Enter skips this question\n",
            self.say(peer, "/users 123\n"),
        )
        self.assertEqual(self.store.messages, [])

    def test_connection_probes_a_peer_that_may_have_vanished(self) -> None:
        """Over IP, keepalive is on, and small writes are not held back."""
        peer = self.peer(IPv4Address("TCP", "192.0.2.1", 4000))
        self.assertIn(("keepalive", True), peer.transport.options)
        self.assertIn(("nodelay", True), peer.transport.options)
        self.assertIn((socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60), peer.transport.options)
        self.assertEqual(self.peer().transport.options, [])

    def test_peer_that_confirms_nothing_is_given_up(self) -> None:
        """After two minutes, or less if signs of life come more often than once a minute; but not
        before a reader counts as stuck, as it also holds for who has no room for more."""
        for keepalive, stuck_after, seconds in (
            (60, 60, 120),
            (0, 60, 120),
            (300, 60, 120),
            (2, 60, 60),
            (2, 1, 4),
            (60, 3600, 3600),
            (60, 10**9, 86400),
        ):
            self.serve(Limits(keepalive=keepalive, stuck_after=stuck_after))
            options = self.peer(IPv4Address("TCP", "192.0.2.1", 4000)).transport.options
            self.assertIn((socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 1000 * seconds), options)

    def test_connection_over_TLS_is_greeted(self) -> None:
        """Options are set on the socket below."""
        self.patch(Peer, "transport_class", TlsTransport)
        peer = self.peer(IPv4Address("TCP", "192.0.2.1", 4000))
        self.assertTrue(peer.take().startswith(_GREETING))
        self.assertIn(("keepalive", True), peer.transport.options)
        assert isinstance(peer.transport, TlsTransport)
        options = peer.transport.transport.options
        self.assertIn((socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60), options)
        self.assertIn((socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 120_000), options)

    def test_refused_over_TLS_is_cut_off(self) -> None:
        """If it does not take its leave, or does not even end the handshake."""
        self.serve(Limits(max_connections=1))
        self.patch(Peer, "transport_class", TlsTransport)
        self.guest("alice")
        refused = self.peer(IPv4Address("TCP", "192.0.2.1", 4000))
        self.assertEqual(refused.take(), "! this server is full; try again later\n")
        self.assertTrue(refused.transport.disconnecting)
        self.clock.advance(5)
        self.assertTrue(refused.transport.disconnected)


class CurrentRoomTests(ServerTestCase):
    """The room that lines which are no commands go to."""

    def test_people_are_told_when_it_is_no_new_room(self) -> None:
        """One that they have just joined speaks for itself."""
        alice = self.guest("alice")
        self.assertNotIn("you are talking", self.say(alice, "/join tea\n"))
        self.assertEqual(self.say(alice, "/join lobby\n"), "* you are talking in the lobby now\n")
        self.assertEqual(self.say(alice, "/join #TEA\n"), "* you are talking in #tea now\n")
        self.assertEqual(
            self.say(alice, "/leave\n"), "* alice left #tea\n* you are talking in the lobby now\n"
        )

    def test_programs_are_told_each_time(self) -> None:
        """After what the room shows."""
        alice = self.robot("alice")
        for line, room in (("/join tea", "tea"), ("/join lobby", "lobby"), ("/join tea", "tea")):
            *_, told = self.events(alice, f"{line}\n")
            self.assertEqual((told["event"], told["room"]), ("talking", room))
        left, told = self.events(alice, "/leave #Tea\n")
        self.assertEqual((left["event"], told["event"], told["room"]), ("left", "talking", "lobby"))

    def test_leaving_another_room(self) -> None:
        """The talk stays where it is."""
        alice = self.robot("alice")
        self.tell(alice, "/join tea\n/join bar\n")
        (left,) = self.events(alice, "/leave tea\n")
        self.assertEqual(left["event"], "left")
        (said,) = self.events(alice, "hi\n")
        self.assertEqual(said["room"], "bar")

    def test_refused_join(self) -> None:
        """The talk stays where it is."""
        alice = self.robot("alice")
        self.tell(alice, "/join tea\n")
        (error,) = self.events(alice, "/join ?\n")
        self.assertEqual(error["event"], "error")
        (said,) = self.events(alice, "hi\n")
        self.assertEqual(said["room"], "tea")

    def test_guest_who_registers(self) -> None:
        """Goes on talking where they were, and is welcomed there."""
        alice = self.robot("alice")
        self.tell(alice, "/join tea\n")
        events = self.events(alice, "/register alice wonderland\n")
        (welcome,) = [event for event in events if event["event"] == "welcome"]
        self.assertEqual((welcome["account"], welcome["room"]), (True, "tea"))

    def test_quiet_end(self) -> None:
        """When the server goes down, everybody is told so, and nobody who else leaves."""
        peers = [self.guest("alice"), self.robot("bob"), self.guest("carol")]
        for peer in peers:
            peer.take_bytes()
        Deferred.fromCoroutine(self.factory.hang_up("so long", 1))
        self.settle()
        alice, bob, carol = [peer.take() for peer in peers]
        self.assertEqual((alice, carol), ("* so long\n", "* so long\n"))
        self.assertEqual(json.loads(bob)["event"], "bye")


class RefusalTests(ServerTestCase):
    """Each error code that a line can be answered with, to a program."""

    limits = Limits(max_joined=2, max_rooms=3, max_history=50, line_rate=0)

    def refuse(self, peer: Peer, line: str | bytes, code: str, command: str = "") -> str:
        """The line is refused so, and the session goes on; gives back the sentence."""
        encoded = line.encode() if isinstance(line, str) else line
        *before, error = self.events(peer, encoded + b"\n")
        self.assertEqual([event for event in before if event["event"] == "error"], [])
        always = {"code", "command", "event", "text", "time"}
        self.assertEqual(always - error.keys(), set())
        self.assertLessEqual(error.keys() - always, {"room", "name", "nearest", "limit"})
        self.assertEqual(
            (error["event"], error["code"], error["command"]), ("error", code, command)
        )
        self.assertEqual(error["time"], "2023-11-14T22:13:20.000Z")
        self.assertRegex(error["text"], r"\S")
        self.check_goes_on(peer)
        return str(error["text"])

    def check_goes_on(self, peer: Peer) -> None:
        """Whoever is in can speak; whoever is not can come in."""
        if peer.protocol.session.person is None:
            came = self.events(peer, "/guest later\n")
            self.assertEqual(came[0]["event"], "welcome")
        (said,) = self.events(peer, "and on\n")
        self.assertEqual((said["event"], said["text"]), ("message", "and on"))

    def outsider(self) -> Peer:
        """A program that is not in yet."""
        peer = self.peer()
        self.tell(peer, "/json on\n")
        return peer

    def test_unknown_command(self) -> None:
        """Names the nearest."""
        sentence = self.refuse(self.robot("alice"), "/usres now", "unknown-command", "/usres")
        self.assertEqual(sentence, 'there is no command "/usres"; did you mean /users?')

    def test_unknown_command_unlike_any(self) -> None:
        """Says how to find them all, and how to say it."""
        sentence = self.refuse(self.robot("alice"), "/tmp is full", "unknown-command", "/tmp")
        self.assertEqual(
            sentence, 'there is no command "/tmp"; /help lists them, "//tmp ..." says it'
        )

    def test_slip_with_a_password_behind_it(self) -> None:
        """Is said to nobody, with an exclamation mark either."""
        alice = self.robot("alice")
        for word in "!lgin", "/lgin", "!signin":
            self.refuse(alice, f"{word} alice wonderland", "unknown-command", word)
        self.assertNotIn("wonderland", str(self.store.messages))

    def test_nobody_to_answer(self) -> None:
        """Nobody has written."""
        self.refuse(self.robot("alice"), "/r hi", "no-such-person", "/r")

    def test_password_with_an_arrow_key(self) -> None:
        """It would be another one without it."""
        peer = self.outsider()
        self.refuse(peer, "/register alice wonder\x1b[Dland", "bad-password", "/register")
        self.assertEqual(self.store.registered, [])

    def test_bad_arguments(self) -> None:
        """Missing or supernumerary arguments are told the usage."""
        alice = self.robot("alice")
        for line, command, usage in (
            ("/dm", "/dm", "/dm NAME MESSAGE"),
            ("/DM bob", "/DM", "/dm NAME MESSAGE"),
            ("/tell bob", "/tell", "/dm NAME MESSAGE"),
            ("/join", "/join", "/join ROOM"),
            ("/rooms tea", "/rooms", "/rooms"),
            ("/json maybe", "/json", "/json on|off"),
            ("/history 1 2 3", "/history", "/history [N] [ROOM or @NAME]"),
        ):
            self.assertEqual(self.refuse(alice, line, "bad-arguments", command), f"usage: {usage}")

    def test_nothing_to_say(self) -> None:
        """A line of which nothing can be seen is not said."""
        self.refuse(self.robot("alice"), "\u200b\u2060", "bad-arguments")

    def test_not_logged_in(self) -> None:
        """Most commands are for those who are in."""
        for word in ("/users", "/dm", "/bc hi", "/history", "/nick x", "/passwd a b", "/topic"):
            self.serve()
            self.refuse(self.outsider(), word, "not-logged-in", word.split()[0])

    def test_bare_words_before_login(self) -> None:
        """The bare words that talk are for those who are in, too."""
        self.refuse(self.outsider(), "PM", "not-logged-in", "PM")
        self.serve()
        self.refuse(self.outsider(), "dm", "not-logged-in", "DM")

    def test_already_logged_in(self) -> None:
        """An account cannot log in again, nor a guest become another guest; the way out of each is
        told."""
        peer = self.outsider()
        self.tell(peer, "/register alice wonderland\n")
        for line in ("/login alice wonderland", "/register bob builder-pw", "/guest bob"):
            sentence = self.refuse(peer, line, "already-logged-in", line.split()[0])
            self.assertEqual(
                sentence, "you are logged in as alice already; /quit first to be somebody else"
            )
        sentence = self.refuse(peer, "/nick bob", "forbidden", "/nick")
        self.assertIn("/quit", sentence)
        sentence = self.refuse(self.robot("carol"), "/guest bob", "already-logged-in", "/guest")
        self.assertIn("/nick", sentence)

    def test_bad_name(self) -> None:
        """At the prompt and in commands."""
        self.refuse(self.outsider(), "no spaces please", "bad-name")
        alice = self.robot("alice")
        self.refuse(alice, "/nick @home", "bad-name", "/nick")
        self.refuse(alice, "/nick admin", "bad-name", "/nick")
        self.refuse(alice, "/join a/b", "bad-name", "/join")

    def test_name_taken(self) -> None:
        """By somebody who is here, or somebody who looks like it."""
        self.guest("alice")
        self.refuse(self.outsider(), "/guest Alice", "name-taken", "/guest")
        self.refuse(self.robot("bob"), "/nick a1ice", "name-taken", "/nick")

    def test_name_registered(self) -> None:
        """An account's name is nobody else's, nor is what looks like it."""
        self.register("alice", "wonderland")
        self.refuse(self.outsider(), "/guest alice", "name-registered", "/guest")
        self.refuse(self.robot("bob"), "/register a1ice wonderland", "name-registered", "/register")

    def test_wrong_password(self) -> None:
        """The same for a name that there is not."""
        self.register("alice", "wonderland")
        one = self.refuse(self.outsider(), "/login alice nope", "wrong-password", "/login")
        self.serve()
        other = self.refuse(self.outsider(), "/login alice nope", "wrong-password", "/login")
        self.assertEqual(one, other)

    def test_bad_password(self) -> None:
        """A new password that is too short or too long."""
        peer = self.robot("alice")
        self.refuse(peer, "/register alice short", "bad-password", "/register")
        self.refuse(peer, f"/register alice {'x' * 73}", "bad-password", "/register")

    def test_no_such_person(self) -> None:
        """Names the nearest, or the command that lists who is here."""
        self.guest("bob")
        alice = self.robot("alice")
        sentence = self.refuse(alice, "/dm bbo hi", "no-such-person", "/dm")
        self.assertEqual(sentence, 'no one here is called "bbo"; did you mean bob?')
        sentence = self.refuse(alice, "/dm zacharias hi", "no-such-person", "/dm")
        self.assertEqual(sentence, 'no one here is called "zacharias"; /users lists who is here')

    def test_no_such_room(self) -> None:
        """Names the nearest, or the command that lists the rooms."""
        alice = self.robot("alice")
        sentence = self.refuse(alice, "/users loby", "no-such-room", "/users")
        self.assertEqual(sentence, 'there is no room "loby"; did you mean lobby?')
        sentence = self.refuse(alice, "/users nowhere", "no-such-room", "/users")
        self.assertEqual(sentence, 'there is no room "nowhere"; /rooms lists them')

    def test_not_in_room(self) -> None:
        """Says how to get there, but not to somebody who wants to leave."""
        self.tell(self.guest("bob"), "/join tea\n")
        alice = self.robot("alice")
        sentence = self.refuse(alice, "/leave tea", "not-in-room", "/leave")
        self.assertEqual(sentence, "you are not in #tea, so you cannot leave it")
        sentence = self.refuse(alice, "/history tea", "not-in-room", "/history")
        self.assertEqual(sentence, "you are not in #tea; /join tea first")

    def test_too_long(self) -> None:
        """A line of 4,097 bytes is refused and not said; one of 4,096 is said."""
        alice = self.robot("alice")
        sentence = self.refuse(alice, "x" * 4097, "too-long")
        self.assertEqual(sentence, "a line has at most 4096 bytes; that one has 4097")
        self.assertEqual([m.text for m in self.store.messages], ["and on"])
        (said,) = self.events(alice, "y" * 4096 + "\r\n")
        self.assertEqual(said["text"], "y" * 4096)

    def test_too_long_topic(self) -> None:
        """A topic has a limit of its own."""
        self.refuse(self.robot("alice"), f"/topic {'x' * 301}", "too-long", "/topic")

    def test_bad_encoding(self) -> None:
        """A line that is not UTF-8 is refused, whatever is on it."""
        alice = self.robot("alice")
        self.refuse(alice, b"caf\xe9", "bad-encoding")
        self.refuse(alice, b"/dm bob caf\xe9", "bad-encoding")
        self.refuse(self.outsider(), b"ren\xe9", "bad-encoding")
        self.assertEqual([m.text for m in self.store.messages], ["and on"] * 3)

    def test_control_characters(self) -> None:
        """They are refused, as is an escape sequence that does not end, and nobody sees them."""
        alice, bob = self.robot("alice"), self.guest("bob")
        self.assertIn("U+001B", self.refuse(alice, "\x1b[2", "bad-encoding"))
        self.refuse(alice, "/me \x1b", "bad-encoding", "/me")
        self.refuse(alice, "/topic \x9b2J", "bad-encoding", "/topic")
        self.refuse(alice, "/dm bob \x07", "bad-encoding", "/dm")
        self.assertNotIn(b"\x1b", bob.take_bytes())
        self.assertTrue(all(m.text == "and on" for m in self.store.messages))

    def test_escape_in_a_command_word(self) -> None:
        """What is quoted of it has nothing in it that a screen obeys."""
        alice = self.robot("alice")
        self.tell(alice, "\x1b[A\n")  # has the remark about them made
        self.refuse(alice, "/\x1b[2Jx", "unknown-command", "/x")
        self.refuse(alice, "/\x9b2Jx", "unknown-command", "/2Jx")

    def test_busy(self) -> None:
        """Too many are logging in."""
        peer = self.outsider()
        self.hasher.refusal = Refusal("busy", "too many people are logging in")
        self.refuse(peer, "/register alice wonderland", "busy", "/register")

    def test_closed(self) -> None:
        """The server is going down."""
        peer = self.outsider()
        self.hasher.refusal = Refusal("closed", "the server is going down")
        self.refuse(peer, "/login alice wonderland", "closed", "/login")

    def test_full(self) -> None:
        """As many rooms as one may be in, or as there may be."""
        alice = self.robot("alice")
        self.tell(alice, "/join tea\n")
        self.refuse(alice, "/join coffee", "full", "/join")
        self.tell(self.guest("bob"), "/join milk\n")
        self.refuse(self.robot("carol"), "/join coffee", "full", "/join")

    def test_forbidden(self) -> None:
        """What a guest cannot do, and what nobody can."""
        alice = self.robot("alice")
        self.refuse(alice, "/leave", "forbidden", "/leave")
        self.refuse(alice, "/passwd wonderland looking-glass", "forbidden", "/passwd")
        self.refuse(alice, "/history @bob", "forbidden", "/history")

    def test_internal_when_a_message_cannot_be_kept(self) -> None:
        """The store loses it: its sender is told, and nobody is shown it."""
        bob, alice = self.guest("bob"), self.robot("alice")
        bob.take()
        self.store.hold()
        alice.send("lost\n")
        self.settle()
        self.store.fail()
        self.store.release()
        (error,) = alice.take_events()
        self.assertEqual(
            (error["event"], error["code"], error["command"]), ("error", "internal", "")
        )
        self.check_goes_on(alice)
        self.assertRegex(bob.take(), r"^\[\d\d:\d\d\] alice: and on\n$")

    def test_in_text_a_refusal_is_one_line(self) -> None:
        """It begins with an exclamation mark."""
        self.assertEqual(
            self.say(self.guest("alice"), "/usres\n"),
            '! there is no command "/usres"; did you mean /users?\n',
        )


class ClosedServerTests(ServerTestCase):
    """A server without guests and without registration."""

    settings = Settings("chat", allow_guests=False, allow_registration=False)

    def check_registry(self) -> None:
        """Nobody ever came in."""

    def test_forbidden(self) -> None:
        """Each way in says what it does not take, and the prompt stays."""
        peer = self.peer()
        self.tell(peer, "/json on\n")
        for line, command in (
            ("", ""),
            ("alice", ""),
            ("/guest", "/guest"),
            ("/guest alice", "/guest"),
            ("/register alice wonderland", "/register"),
        ):
            (error,) = self.events(peer, f"{line}\n")
            self.assertEqual((error["code"], error["command"]), ("forbidden", command))


class SlipTests(ServerTestCase):
    """What people type who do not know better."""

    def texts(self) -> list[str]:
        """What was said to everyone."""
        return [message.text for message in self.store.messages]

    def test_arrow_keys(self) -> None:
        """Are left out of a line, with a remark once in a session."""
        alice, bob = self.guest("alice"), self.guest("bob")
        remark = "* arrow keys and other escape sequences are left out of what you type"
        self.assertIn(remark, self.say(alice, "he\x1b[Dllo\x1bOA\n"))
        self.assertEqual(self.say(alice, "\x1b[31mred\x1b[0m\n"), "")
        self.assertEqual(self.texts(), ["hello", "red"])
        self.assertNotIn("\x1b", bob.take())

    def test_arrow_key_before_a_command(self) -> None:
        """It does not say the password behind it to all."""
        alice = self.guest("alice")
        self.assertIn("! that has an arrow key", self.say(alice, "\x1b[A/login alice pw\n"))
        self.assertIn("U+001B", self.say(alice, "\x1b/login alice pw\n"))
        self.assertEqual(self.texts(), [])

    def test_arrow_key_in_a_password(self) -> None:
        """It is asked for again, instead of registering another one than was meant."""
        peer = self.peer()
        self.tell(peer, "alice\n")
        said = self.say(peer, "wonderl\x1b[Dand\n")
        self.assertIn("! that has an arrow key", said)
        self.assertIn("New password: ", said)
        self.tell(peer, "wonderland\n")
        self.assertIn("* Welcome, alice.", self.say(peer, "wonderland\n"))

    def test_ctrl_l(self) -> None:
        """Says nothing, and is not spoken of."""
        alice = self.guest("alice")
        self.assertEqual(self.say(alice, "\x0c\nhi\x0c\n"), "")
        self.assertEqual(self.texts(), ["hi"])

    def test_bots_are_called(self) -> None:
        """An unknown word behind an exclamation mark is said, as it is, and a known one done."""
        alice = self.robot("alice")
        (said,) = self.events(alice, '  !deploy "staging" now \n')
        self.assertEqual((said["event"], said["text"]), ("message", '  !deploy "staging" now'))
        (answer,) = self.events(alice, "!who\n")
        self.assertEqual(answer["event"], "users")

    def test_names_in_what_people_put_around_them(self) -> None:
        """As one addresses somebody, at any place where a person is named."""
        zoe, alice = self.guest("zoë"), self.guest("alice")
        zoe.take()
        for line in (
            "/dm @zoë hi",
            "/w zoë: hi",
            "/query zoë, hi",
            "DM\n@zoë:\nhi",
            "/whisper zoë hi",
            "/dm \uff20zoë\uff1a hi",
        ):
            self.tell(alice, f"{line}\n")
            self.assertIn("alice -> you: hi\n", zoe.take(), line)
        self.register("zoe", "wonderland")
        self.tell(alice, "/register alice wonderland\n")
        self.assertIn("nothing has been said there", self.say(alice, "/history @zoe:\n"))
        self.assertIn('called "nobody"', self.say(alice, "/dm @nobody: hi\n"))
        self.assertIn('called "@"', self.say(alice, "/dm @ hi\n"))

    def test_quotes_around_a_line(self) -> None:
        """Are left out, with a remark once in a session; two pairs keep one."""
        alice = self.guest("alice")
        self.assertEqual(
            self.say(alice, '"one"\n'),
            '* the quotes around that were left out; ""double"" them to keep them\n',
        )
        self.assertEqual(self.say(alice, '"two"\n""three""\n'), "")
        self.assertEqual(self.texts(), ["one", "two", '"three"'])
        self.assertEqual(len(self.events(self.robot("bob"), '"four"\n')), 1)

    def test_first_words_at_the_prompt(self) -> None:
        """help, quit and bye are no names there."""
        peer = self.peer()
        said = self.say(peer, "help\n")
        self.assertIn("/login NAME [PASSWORD]", said)
        self.assertTrue(said.endswith("Name: "))
        for word in "quit", "Bye", "logout":
            self.assertEqual(self.say(self.peer(), f"{word}\n"), "* bye\n", word)

    def test_first_words_of_a_newcomer(self) -> None:
        """In the first minute they need no slash; later, and in a sentence, they are said."""
        alice, bob = self.guest("alice"), self.guest("bob")
        self.assertIn("*   /users [ROOM]", self.say(alice, "HELP\n"))
        self.tell(alice, "help me\n")
        self.assertEqual(self.say(bob, "bye\n"), "* bye\n")
        self.clock.advance(60)
        self.assertEqual(self.say(alice, "help\nbye\n"), "")
        self.assertEqual(self.texts(), ["help me", "help", "bye"])

    def test_first_words_of_a_program(self) -> None:
        """In JSON mode they are said from the beginning."""
        (said,) = self.events(self.robot("alice"), "bye\n")
        self.assertEqual((said["event"], said["text"]), ("message", "bye"))


class ReplyTests(ServerTestCase):
    """Answering the last private message."""

    def test_in_text(self) -> None:
        """It is told to whom it went: another message may have come meanwhile."""
        alice, bob = self.guest("alice"), self.guest("bob")
        self.tell(bob, "/dm alice hi\n")
        self.assertIn("* to bob\n", self.say(alice, "/r hi too\n"))
        self.assertIn("alice -> you: hi too\n", bob.take())

    def test_in_JSON(self) -> None:
        """The receipt tells it."""
        alice, bob = self.robot("alice"), self.guest("bob")
        self.tell(bob, "/dm alice hi\n")
        alice.take()
        (told,) = self.events(alice, "/r hi too\n")
        self.assertEqual((told["event"], told["to"], told["text"]), ("dm", "bob", "hi too"))

    def test_who_wrote_has_left(self) -> None:
        """A guest cannot be answered any more."""
        alice, bob = self.guest("alice"), self.guest("bob")
        self.tell(bob, "/dm alice hi\n/quit\n")
        alice.take()
        self.assertEqual(
            self.say(alice, "/r hi too\n"),
            "! the guest who wrote to you last has left; /dm NAME MESSAGE is private\n",
        )

    def test_slash_pm(self) -> None:
        """Tells nobody anything."""
        alice, bob = self.guest("alice"), self.guest("bob")
        bob.take()
        for line in "/pm bob psst", "!pm bob psst":
            said = self.say(alice, f"{line}\n")
            self.assertIn("/dm NAME MESSAGE is private, /bc MESSAGE tells everyone", said)
        self.assertEqual((bob.take(), self.store.messages), ("", []))


class QuestionTests(ServerTestCase):
    """What PM and DM ask."""

    def test_everyone_will_read_it(self) -> None:
        """PM says so."""
        said = self.say(self.guest("alice"), "PM\n")
        self.assertEqual(said, "* Message to everyone, not private (Enter to cancel):\n")

    def test_a_command_is_asked_about(self) -> None:
        """And not said, unless that is confirmed."""
        for peer in self.guest("alice"), self.robot("carol"):
            for question in "PM\n", "DM\nbob\n":
                for line in "/login x pw", "/quit", " !who", "exit", "/lgin x pw", "/pm x":
                    for part in question.splitlines():
                        self.tell(peer, f"{part}\n")
                    asked = self.say(peer, f"{line}\n")
                    self.assertIn("is a command; say it all the same? (y/N)", asked)
                    self.assertIn("that was not said", self.say(peer, "\n"))
        self.assertEqual(self.store.messages, [])

    def test_a_command_can_be_said(self) -> None:
        """Somebody wants to tell others of it; what only looks like one is not asked about."""
        alice, bob = self.guest("alice"), self.guest("bob")
        for part in "PM", "/quit leaves", "y", "PM", "/tmp is full", "PM", '"/quit"':
            self.tell(alice, f"{part}\n")
        self.assertEqual(
            [m.text for m in self.store.messages], ["/quit leaves", "/tmp is full", "/quit"]
        )
        bob.take()
        for part in "DM", "bob", "/users", "YES":
            self.tell(alice, f"{part}\n")
        self.assertIn("alice -> you: /users\n", bob.take())

    def test_a_script_is_not_asked(self) -> None:
        """A command behind PM or DM is refused, and what follows is no answer."""
        alice = self.guest("alice")
        said = self.say(alice, "PM\n/login x pw\ny\nDM\nalice\n/quit\nthen\n")
        self.assertIn('! "/login" is a command, so it was not said; in double quotes it is', said)
        self.assertIn('! "/quit" is a command, so it was not said', said)
        self.assertEqual([m.text for m in self.store.messages], ["y", "then"])
        self.tell(alice, 'PM\n"/quit"\n/users\n')
        self.assertEqual(self.store.messages[-1].text, "/quit")


class PasswordTests(ServerTestCase):
    """Passwords that are asked for."""

    def answers(self, peer: Peer, *lines: str) -> str:
        """What comes of lines that are typed one after the other."""
        return "".join(self.say(peer, f"{line}\n") for line in lines)

    def test_new_one_is_asked_for_twice(self) -> None:
        """At the prompt; two different ones are asked for again."""
        peer = self.peer()
        said = self.answers(peer, "alice", "wonderland", "wonderlamd")
        self.assertIn("! those were two different passwords; choose one again", said)
        self.assertTrue(said.endswith("New password: " + _CONCEAL.decode()))
        self.assertEqual(self.store.registered, [])
        said = self.answers(peer, "wonderland", "wonderland")
        self.assertIn('* "alice" is now yours.', said)
        self.assertIn("* Welcome, alice.", said)

    def test_bad_one_is_refused_before_it_is_asked_for_again(self) -> None:
        """Nobody types it twice for nothing."""
        said = self.answers(self.peer(), "alice", "short")
        self.assertIn("! a password has at least 8 characters", said)
        self.assertNotIn("Again", said)

    def test_talk_does_not_become_a_password(self) -> None:
        """Whoever takes the prompt for a place to talk registers nothing."""
        peer = self.peer()
        self.answers(peer, "hello", "is anybody here?", "well then", "", "")
        self.assertEqual(self.store.registered, [])

    def test_script_is_asked_once(self) -> None:
        """Its lines are there already; if it says the password twice, it is not said to all."""
        for script in "alice\nwonderland\nhello\n", "alice\nwonderland\nwonderland\nhello\n":
            self.serve()
            said = self.say(self.peer(), script)
            self.assertNotIn("Again", said)
            self.assertEqual([m.text for m in self.store.messages], ["hello"])

    def test_register_asks(self) -> None:
        """As the prompt does, also a guest, for the own name or another."""
        for before, name in ("", "alice"), ("/guest alice", "alice"), ("/guest bob", "alice"):
            self.serve()
            peer = self.peer()
            if before:
                self.tell(peer, f"{before}\n")
            said = self.answers(peer, f"/register {name}")
            self.assertTrue(said.endswith("New password: " + _CONCEAL.decode()), said)
            said = self.answers(peer, "wonderland", "wonderland")
            self.assertIn('* "alice" is now yours.', said)
            self.assertIn("* Welcome, alice.\n", said)
            self.assertEqual(self.store.registered, ["alice"])
            self.assertIn("lobby: alice\n", self.say(peer, "/users\n"))

    def test_register_asks_for_no_name_that_is_not_to_be_had(self) -> None:
        """A name that is refused is refused at once."""
        self.register("alice", "wonderland")
        for name in "alice", "admin", "a/b":
            self.assertNotIn("password:", self.say(self.peer(), f"/register {name}\n"))

    def test_login_asks(self) -> None:
        """Until it is right, or empty; a guest becomes the account."""
        self.register("alice", "wonderland")
        for before in "", "/guest bob":
            peer = self.peer()
            if before:
                self.tell(peer, f"{before}\n")
            said = self.answers(peer, "/login alice", "looking-glass")
            self.assertIn("Password: " + _CONCEAL.decode(), said)
            self.assertIn("! wrong name or password", said)
            self.assertIn("* nothing was changed", self.answers(peer, ""))
            self.assertIn("* Welcome, alice.", self.answers(peer, "/login alice", "wonderland"))

    def test_passwd_asks(self) -> None:
        """For the old one, the new one, and that again; Enter changes nothing."""
        peer = self.peer()
        self.tell(peer, "/register alice wonderland\n")
        for lines in ("/passwd", ""), ("/passwd", "wonderland", ""), ("/passwd wonderland", ""):
            self.assertIn("* nothing was changed", self.answers(peer, *lines))
        said = self.answers(peer, "/passwd", "wonderland", "through-it", "through-it")
        for prompt in "Old password: ", "New password: ", "Again: ":
            self.assertIn(prompt + _CONCEAL.decode(), said)
        self.assertIn("* your password is changed", said)
        self.assertIn("* Welcome", self.answers(self.peer(), "/login alice through-it"))

    def test_empty_password_on_the_line_is_not_asked_for(self) -> None:
        """A script whose variable is empty meant to give one."""
        self.register("alice", "wonderland")
        self.assertIn("! wrong name or password", self.say(self.peer(), '/login alice ""\n'))
        self.assertIn("! a password is not empty", self.say(self.peer(), '/register bob ""\n'))

    def test_in_JSON(self) -> None:
        """The questions are remarks, and nothing is hidden."""
        robot = self.peer()
        self.tell(robot, "/json on\n")
        texts = [
            event.get("text")
            for line in ("/register alice", "wonderland", "wonderland", "/passwd")
            for event in self.events(robot, f"{line}\n")
        ]
        self.assertEqual(texts[:2], ["New password", "Again"])
        self.assertEqual(texts[-1], "Old password")

    def test_script_gives_it_in_the_next_line(self) -> None:
        """After a command that lacks it."""
        self.say(self.peer(), "/register alice\nwonderland\nhello\n")
        self.say(self.peer(), "/login alice\nwonderland\nagain\n/passwd\nwonderland\nnew-one-9\n")
        self.say(self.peer(), "/login alice\nnew-one-9\nand again\n")
        self.assertEqual([m.text for m in self.store.messages], ["hello", "again", "and again"])

    def test_script_that_is_refused_says_nothing_more(self) -> None:
        """What it would have said is no name, no password and no talk, up to its end."""
        self.register("bob", "builder-pw")
        for script in (
            "hello everybody\nsecond\nthird line here\n\nfourth\nfifth line here\n",
            "bob\nwrong\nsecond\nthird line here\n",
            "/login bob\nwrong\nsecond\nthird line here\n",
            "carol\nshort\nsecond\nthird line here\n",
        ):
            said = self.say(self.peer(), script)
            self.assertIn("! you haven't logged in yet, so nothing was sent", said)
            self.assertEqual(self.store.registered, ["bob"], script)
            self.assertNotIn("Welcome", said)

    def test_somebody_who_mistypes_a_name_is_asked_again(self) -> None:
        """A sentence is no name, and the next line may be one."""
        peer = self.peer()
        said = self.say(peer, "hello everybody\n")
        self.assertIn("! names may contain only letters, digits", said)
        self.assertTrue(said.endswith("Name: "))
        self.assertIn("New password: ", self.say(peer, "alice\n"))

    def test_what_others_say_meanwhile_can_be_seen(self) -> None:
        """It is shown in colour, above the prompt; where telnet does not echo, with the CR that it
        then needs."""
        bob = self.guest("bob")
        for end in b"\n", b"\r\n":
            peer = self.peer()
            self.tell(peer, "/register alice wonderland\n/login alice wonderland\n")
            self.tell(peer, b"/passwd" + end)
            self.tell(bob, "hello\n")
            shown = peer.take_bytes()
            self.assertTrue(shown.startswith(_REVEAL + _CLEAR_LINE), shown)
            self.assertTrue(shown.endswith(b"bob: hello" + end + b"Old password: " + _CONCEAL))
            self.tell(peer, end)
            self.tell(bob, "more\n")
            self.assertNotIn(b"\x1b", peer.take_bytes())


class LineTests(ServerTestCase):
    """How bytes become lines."""

    def test_64_KiB_without_an_end_is_cut_off(self) -> None:
        """With a sentence, and nothing that comes after is read."""
        bob, alice = self.guest("bob"), self.guest("alice")
        bob.take()
        answer = self.say(alice, "x" * 70_000 + "\nhello\n", size=1000)
        self.assertEqual(answer, "! a line of over 65536 bytes ends the session\n* bye\n")
        self.assertTrue(alice.gone)
        self.assertEqual(bob.take(), "* alice left\n")

    def test_64_KiB_at_the_prompt_are_cut_off(self) -> None:
        """Somebody who is not in yet can send no more, either."""
        peer = self.peer()
        peer.take()
        answer = self.say(peer, "x" * 70_000, size=65536)
        self.assertEqual(answer, "! a line of over 65536 bytes ends the session\n* bye\n")
        self.assertTrue(peer.gone)

    def test_64_KiB_at_the_password_are_cut_off(self) -> None:
        """The name that was about to be registered is free again."""
        peer = self.peer()
        self.tell(peer, "alice\n")
        self.assertIn(
            "! a line of over 65536 bytes ends the session\n* bye\n", self.say(peer, "x" * 70_000)
        )
        self.assertTrue(peer.gone)
        self.assertIn("* Welcome, alice.", self.say(self.peer(), "/guest alice\n"))

    def test_lines_before_an_endless_one_are_said(self) -> None:
        """What was sent as it should be is not dropped with it; what comes after it is."""
        alice = self.guest("alice")
        self.store.hold()
        alice.send("one\ntwo\n/users\n" + "x" * 70_000)
        alice.send("three\n")
        self.settle()
        self.let_go()
        self.assertTrue(alice.gone)
        self.assertEqual([m.text for m in self.store.messages], ["one", "two"])

    def test_ends_of_lines(self) -> None:
        """LF, CR LF and CR NUL end a line alike."""
        self.tell(self.guest("alice"), b"one\ntwo\r\nthree\r\0four\n")
        self.assertEqual([m.text for m in self.store.messages], ["one", "two", "three", "four"])

    def test_telnet_offers_are_refused(self) -> None:
        """And take nothing away from the line around them."""
        alice = self.guest("alice")
        answer = self.ask(alice, b"he\xff\xfb\x18l\xff\xfd\x03lo\r\n")
        self.assertEqual(answer, b"\xff\xfe\x18\xff\xfc\x03" + _DO_BINARY)
        self.assertEqual([m.text for m in self.store.messages], ["hello"])

    def test_telnet_without_end_is_cut_off(self) -> None:
        """A subnegotiation that does not end is abuse."""
        bob, alice = self.guest("bob"), self.guest("alice")
        bob.take()
        self.tell(alice, b"\xff\xfa" + b"x" * 5000)
        self.assertTrue(alice.gone)
        self.assertEqual(bob.take(), "* alice left\n")

    def test_telnet_interrupt(self) -> None:
        """Ctrl-C takes back what was typed, and says how to leave."""
        alice = self.guest("alice")
        self.assertEqual(self.say(alice, b"half\xff\xf4"), "* /quit leaves\n")
        self.tell(alice, "whole\r\n")
        self.assertEqual([m.text for m in self.store.messages], ["whole"])


class OrderTests(ServerTestCase):
    """Lines are worked off one after the other, however long each takes."""

    limits = Limits(max_in_flight=10, line_rate=0)

    def texts(self) -> list[str]:
        """What is in the log."""
        return [message.text for message in self.store.messages]

    def test_lines_that_arrive_while_a_password_is_checked(self) -> None:
        """They wait, and are worked off in order."""
        self.register("alice", "wonderland")
        self.hasher.held = True
        peer = self.peer()
        self.tell(peer, "/json on\n/login alice wonderland\none\n")
        self.tell(peer, "two\n/users\nthree\n")
        self.assertEqual(self.texts(), [])
        self.hasher.release()
        self.settle()
        shown = [(event["event"], event.get("text")) for event in peer.take_events()]
        self.assertEqual(
            shown,
            [
                ("welcome", None),
                ("history", None),
                ("message", "one"),
                ("message", "two"),
                ("users", None),
                ("message", "three"),
            ],
        )

    def test_many_lines_that_arrive_while_a_password_is_checked(self) -> None:
        """Reading stops, and goes on afterwards; none is lost."""
        self.register("alice", "wonderland")
        self.hasher.held = True
        peer = self.peer()
        lines = [f"line {number}" for number in range(1000)]
        self.tell(peer, "alice\nwonderland\n")
        peer.send("".join(f"{line}\n" for line in lines), size=100)
        self.settle()
        self.assertTrue(peer.paused)
        self.assertEqual(self.texts(), [])
        self.hasher.held = False
        self.hasher.release()
        self.settle()
        self.assertFalse(peer.paused)
        self.assertEqual(self.texts(), lines)

    def test_other_commands_wait_for_what_was_said_before(self) -> None:
        """Until it is in the log and shown."""
        for line in (
            "/users",
            "/rooms",
            "/topic",
            "/topic tea time",
            "/history",
            "/help",
            "/json on",
            "/json off",
            "/join tea",
            "/leave tea",
            "/nick bob",
            "/passwd old-pass new-pass",
            "/register alice wonderland",
            "PM",
            "DM",
            "/quit",
            "EX",
        ):
            self.serve()
            alice = self.robot("alice")
            self.tell(alice, "/join tea\n")
            self.store.hold()
            alice.send(f"hello\n{line}\n")
            self.settle()
            self.assertEqual(alice.take(), "", line)
            self.store.release()
            self.settle()
            first, *rest = alice.take().splitlines()
            self.assertEqual(json.loads(first)["text"], "hello", line)
            self.assertNotEqual(rest, [], line)

    def test_posts_do_not_wait_for_posts(self) -> None:
        """What is said in a room, to everyone, with /me and to one person goes to the log
        together."""
        alice, bob = self.robot("alice"), self.robot("bob")
        alice.take()
        self.store.hold()
        alice.send("one\n/bc two\n/me three\n/dm bob four\n")
        self.settle()
        self.assertEqual(alice.protocol.session.in_flight, 4)
        self.store.step()
        heard = [e["text"] for e in bob.take_events() if e["event"] in ("message", "dm")]
        self.assertEqual(heard, ["one", "two", "three", "four"])
        self.store.release()

    def test_private_messages_keep_their_place(self) -> None:
        """Between what else was said, though looking for the person takes a while."""
        alice, bob = self.guest("alice"), self.robot("bob")
        self.register("carol", "wonderland")
        bob.take()
        self.store.hold()
        alice.send("one\n/dm bob two\nthree\n/dm carol four\nfive\n/dm bob six\n")
        self.settle()
        while self.step():
            pass
        self.store.release()
        heard = [e["text"] for e in bob.take_events() if e["event"] in ("message", "dm")]
        self.assertEqual(heard, ["one", "two", "three", "five", "six"])
        self.assertIn("* carol is not here and was not shown that", alice.take())

    def test_flood_is_slowed_by_not_reading(self) -> None:
        """Over C{max_in_flight} posts the connection is not read from; nothing is lost."""
        alice = self.guest("alice")
        lines = [f"line {number}" for number in range(500)]
        self.store.hold()
        alice.send("".join(f"{line}\n" for line in lines), size=50)
        self.settle()
        session = alice.protocol.session
        self.assertGreaterEqual(session.in_flight, 10)
        self.assertLessEqual(session.in_flight, 11)
        self.assertTrue(alice.paused)
        self.assertFalse(alice.has_sent)
        for _ in range(5):
            self.assertTrue(self.step())
            self.assertLessEqual(session.in_flight, 11)
        self.let_go()
        self.assertFalse(alice.paused)
        self.assertEqual(self.texts(), lines)
        self.assertEqual(session.in_flight, 0)

    def test_flood_does_not_hold_up_others(self) -> None:
        """More than 64 lines in one chunk are worked off over several turns of the reactor."""
        alice, bob = self.guest("alice"), self.guest("bob")
        lines = [f"line {number}" for number in range(3 * _SEVERAL)]
        alice.send("".join(f"{line}\n" for line in lines))
        alice.read()
        self.assertEqual(self.texts(), lines[:_SEVERAL])
        bob.send("hi\n")
        bob.read()
        self.assertEqual(self.texts()[_SEVERAL:], ["hi"])
        self.clock.advance(_TURN)
        self.assertEqual(self.texts()[_SEVERAL + 1 :], lines[_SEVERAL : 2 * _SEVERAL])
        self.settle()
        self.assertEqual(self.texts()[_SEVERAL + 1 :], lines[_SEVERAL:])

    def test_flood_at_the_prompt_does_not_hold_up_others(self) -> None:
        """Refusing takes turns as well."""
        peer = self.peer()
        peer.take()
        peer.send("/nonsense\n" * 3 * _SEVERAL)
        peer.read()
        self.assertEqual(peer.take().count("! there is no command"), _SEVERAL)
        self.settle()
        self.assertEqual(peer.take().count("! there is no command"), 2 * _SEVERAL)

    def test_gone_in_the_middle_of_a_flood(self) -> None:
        """What was accepted is kept, and no error is left."""
        alice = self.guest("alice")
        self.store.hold()
        alice.send("".join(f"line {number}\n" for number in range(200)), size=100)
        self.settle()
        accepted = alice.protocol.session.in_flight
        alice.vanish()
        self.let_go()
        self.assertEqual(self.texts(), [f"line {number}" for number in range(accepted)])

    def test_quit_ends_what_came_with_it(self) -> None:
        """Lines after it are not worked off."""
        alice = self.guest("alice")
        answer = self.say(alice, "one\n/quit\ntwo\n")
        self.assertEqual(answer, "* bye\n")
        self.assertTrue(alice.gone)
        self.assertEqual(self.texts(), ["one"])

    def test_factory_pause_stops_reading(self) -> None:
        """Nothing more is read, not even from somebody whose lines are being worked off."""
        alice, bob = self.guest("alice"), self.guest("bob")
        self.store.hold()
        alice.send("one\n/users\n")
        self.settle()
        self.factory.pause()
        alice.send("two\n")
        bob.send("three\n")
        self.let_go()
        self.assertEqual(self.texts(), ["one"])
        self.assertTrue(alice.paused)
        self.assertTrue(bob.paused)

    def test_nobody_comes_in_after_the_factory_paused(self) -> None:
        """The server is going down: newcomers are told so."""
        self.factory.pause()
        late = self.peer()
        self.assertEqual(late.take(), "! this server is going down\n")
        self.settle()
        self.assertTrue(late.gone)


_PROMPTS = re.compile(
    rb"Name: |Command, or press Enter to pick a name: |\xff\xfd\x00|"
    rb"(?:\xff\xfb\x01\r\x1b\[K)?(?:New p|P)assword: \x1b\[8m|"
    rb"\x1b\[0m(?:\xff\xfc\x01\r\x1b\[K)?"
)
"""What is written only when no line is there yet: somebody may be typing."""

_SCRIPTS: dict[str, bytes] = {
    "a guest": (
        b"/guest alice\nhello\n/me waves\n/users\n/rooms\n/topic tea\n/topic\n/bc all\n"
        b"/join tea\nin tea\n/history 5\n/leave\n/nick bob\n/users\n/quit\n"
    ),
    "an account": (
        b"/register alice wonderland\nhello\n/dm alice psst\n/passwd wonderland looking-glass\n"
        b"/history 3\n/history @alice\n/logout\n"
    ),
    "the prompts": b"bob\nbuilder-pw\nhello\n/users\n",
    "the prompts, as a guest": b"alice\n\nhello\n/users\n",
    "refused at the prompts": b"/nonsense\n/login bob wrong\nalice\n/guest alice\n/users\nEX\n",
    "the seeds' words": b"\nPM\nhello all\nDM\nguest1\npsst\nDM\nnobody\nx\nPM\n\n!who\nexit\n",
    "telnet": (
        b"\xff\xfd\x03\xff\xfb\x18\xff\xfa\x18\x00vt\xff\xff100\xff\xf0/guest alice\r\n"
        b"hell\x7f\x7fllo\r\0gone\x15here\r\n/users\r\nhalf\xff\xf8whole\r\n/quit\r\n"
    ),
    "Ctrl-D": b"/guest alice\r\nhello\r\n\x04never\r\n",
    "half-close": b"/guest alice\nhello\n/users\nno end",
    "refusals": (
        b"/users\n/nonsense\n/guest alice\n/usres\n/dm\n/dm nobody hi\ncaf\xe9\n\x1b[A\n"
        + b"x" * 4097
        + b'\n/help dm\n//slash\n"quoted"\n'
    ),
    "letters": "/guest zoë\nгрüße 🎉\n/me смеётся\n/history\n".encode(),
    "JSON": (
        b"/json on\n/register bot s3cret-pw\nhello\n/dm bot hi\n/users\n/rooms\n/nonsense\n"
        b"/json off\ntext\n/json on\n/me nods\n/history 2\n/help quit\n"
    ),
    "many lines": b"/guest alice\n" + b"".join(b"line %d\n" % n for n in range(200)) + b"/users\n",
    "nothing": b"",
}


class PiecesTests(ServerTestCase):
    """A session is the same however its bytes are cut up."""

    limits = Limits(max_in_flight=10, line_rate=0)

    def setUp(self) -> None:
        super().setUp()
        self.patch(protocol, "token_urlsafe", lambda _: "the same each time")

    def run_script(self, script: bytes, size: int | None) -> tuple[bytes, Sequence[str]]:
        """Send a script and half-close; gives back what came of it, without the prompts and with
        LF for CR LF, and what is in the log."""
        self.serve()
        self.register("bob", "builder-pw")
        peer = self.peer()
        peer.send(script, size)
        peer.end()
        self.settle()
        self.assertTrue(peer.gone)
        received = _PROMPTS.sub(b"", peer.take_bytes()).replace(b"\r\n", b"\n")
        return received, [m.text for m in self.store.messages]

    def test_one_byte_at_a_time(self) -> None:
        """Every script gives the same output and the same log as in one piece."""
        for name, script in _SCRIPTS.items():
            whole = self.run_script(script, None)
            self.assertEqual(self.run_script(script, 1), whole, name)

    def test_other_pieces(self) -> None:
        """Also when the cuts fall elsewhere."""
        for name, script in _SCRIPTS.items():
            whole = self.run_script(script, None)
            for size in 2, 3, 7, 64:
                self.assertEqual(self.run_script(script, size), whole, f"{name}, by {size}")

    def test_scripts_say_what_they_are_to_say(self) -> None:
        """So that the same output is not no output."""
        logs = {name: self.run_script(script, 1)[1] for name, script in _SCRIPTS.items()}
        self.assertEqual(logs["a guest"], ["hello", "waves", "all", "in tea"])
        self.assertEqual(logs["the prompts"], ["hello"])
        self.assertEqual(logs["the seeds' words"], ["hello all"])
        self.assertEqual(logs["telnet"], ["hello", "here", "whole"])
        self.assertEqual(logs["Ctrl-D"], ["hello"])
        self.assertEqual(logs["half-close"], ["hello", "no end"])
        self.assertEqual(logs["refusals"], ["/slash", "quoted"])
        self.assertEqual(logs["letters"], ["грüße 🎉", "смеётся"])
        self.assertEqual(len(logs["many lines"]), 200)
        for name, script in _SCRIPTS.items():
            self.assertTrue(self.run_script(script, 1)[0].endswith((b"bye\n", b'"bye"}\n')), name)


_DIALOGUES: dict[str, Sequence[str]] = {
    "a new name is registered": ("alice\n", "wonderland\n", "wonderland\n"),
    "a new name becomes a guest": ("alice\n", "\n"),
    "a generated name": ("\n",),
    "a registered name": ("bob\n", "builder-pw\n"),
    "a wrong password": ("bob\n", "wrong\n", "bob\n"),
    "registered in one line": ("/register alice wonderland\n",),
    "logged in in one line": ("/login bob builder-pw\n",),
    "a guest in one line": ("/guest alice\n",),
    "a guest registers": ("/guest alice\n", "/register alice wonderland\n"),
    "a guest becomes another's account": ("/guest alice\n", "/login bob builder-pw\n"),
    "a guest takes another name": ("/guest carol\n", "/nick alice\n"),
    "a new password": ("/login bob builder-pw\n", "/passwd builder-pw looking-glass\n"),
    "a password is asked for": ("/login bob\n", "wrong\n", "builder-pw\n"),
    "a name and a password": ("/register alice\n", "wonderland\n", "wonderland\n"),
    "a guest, and a password": ("/guest alice\n", "/register alice\n", *("wonderland\n",) * 2),
    "passwords": ("/login bob\n", "builder-pw\n", "/passwd\n", "builder-pw\n", "new-pw-9\n", "\n"),
    "a room is joined": ("/guest alice\n", "/join tea\n", "/topic tea time\n"),
    "PM": ("/guest alice\n", "PM\n", "hello\n"),
    "PM and a command": ("/guest alice\n", "PM\n", "/users\n", "y\n"),
    "DM": ("/guest alice\n", "DM\n", "bob\n", "hello\n"),
    "talk": ("/guest alice\n", "one\n", "/dm bob two\n", "three\n/users\n", "/history\n"),
    "quit": ("/guest alice\n", "one\n/quit\n"),
}


class StagesTests(ServerTestCase):
    """A connection that ends at each stage of a dialogue, wherever the server waits."""

    def stages(self, end: Callable[[Peer], None]) -> Iterator[tuple[str, Peer]]:
        """Each dialogue, again and again, up to each of its stages, where the peer ends so; a
        stage is a line that is sent, or an answer of the store or the hasher."""
        for name, lines in _DIALOGUES.items():
            for stage in count():
                self.serve()
                self.register("bob", "builder-pw")
                self.store.hold()
                self.hasher.held = True
                peer = self.peer()
                done = len(list(islice(self.dialogue(peer, lines), stage)))
                end(peer)
                self.let_go()
                yield f"{name}, stage {stage}", peer
                if done < stage:
                    break

    def dialogue(self, peer: Peer, lines: Sequence[str]) -> Iterator[None]:
        """Say the lines, each when the server waits for it."""
        for line in lines:
            peer.send(line)
            self.settle()
            yield
            while self.step():
                yield

    def test_dialogues_have_stages(self) -> None:
        """Registering waits for a name, a look-alike twice, the hash, the account, and more."""
        seen = [stage for stage, _ in self.stages(Peer.vanish)]
        registering = [stage for stage in seen if stage.startswith("a new name is registered")]
        self.assertGreater(len(registering), 8)

    def test_vanishing(self) -> None:
        """Nobody is left in the registry, the name is free, and no error is left."""
        for stage, peer in self.stages(Peer.vanish):
            self.assertTrue(peer.gone)
            prober = self.peer()
            answer = self.say(prober, "/guest alice\n/login alice wonderland\n/users\n")
            self.assertNotIn("is taken", answer, stage)
            self.assertRegex(answer, r"\* 1 person is in the lobby: alice", stage)
            prober.vanish()
            self.assertEqual(self.clock.getDelayedCalls(), [], stage)
            self.assertEqual(self.flushLoggedErrors(), [], stage)

    def test_half_close(self) -> None:
        """What is pending is answered, then the connection is closed with a bye."""
        for stage, peer in self.stages(Peer.end):
            self.assertTrue(peer.gone, stage)
            self.assertTrue(peer.take().endswith("* bye\n"), stage)
            prober = self.peer()
            answer = self.say(prober, "/guest alice\n/login alice wonderland\n/users\n")
            self.assertRegex(answer, r"\* 1 person is in the lobby: alice", stage)
            prober.vanish()
            self.assertEqual(self.flushLoggedErrors(), [], stage)


class HalfCloseTests(ServerTestCase):
    """The other end has said all it has to say, and waits for the answers."""

    def test_pending_answers_come_first(self) -> None:
        """Posts land and commands are answered before the bye."""
        bob, alice = self.guest("bob"), self.robot("alice")
        bob.take()
        self.store.hold()
        alice.send("one\ntwo\n/users\nthree")
        alice.end()
        self.settle()
        self.assertFalse(alice.transport.disconnecting)
        self.assertEqual(alice.take(), "")
        self.let_go()
        shown = [(e["event"], e.get("text")) for e in alice.take_events()]
        self.assertEqual(
            shown,
            [
                ("message", "one"),
                ("message", "two"),
                ("users", None),
                ("message", "three"),
                ("bye", "bye"),
            ],
        )
        self.assertTrue(alice.gone)
        self.assertIn("* alice left\n", bob.take())

    def test_whole_close(self) -> None:
        """Where there is none, as with TLS, an orderly end is no reason to drop what was said
        before it."""
        bob, alice = self.guest("bob"), self.guest("alice")
        bob.take()
        self.store.hold()
        alice.send("one\n/topic tea\ntwo")
        self.turn()
        alice.hang_up()
        self.let_go()
        heard = bob.take()
        self.assertLess(heard.index("] alice: one\n"), heard.index("topic of the lobby: tea\n"))
        self.assertTrue(heard.endswith("] alice: two\n* alice left\n"), heard)

    def test_whole_close_behind_many_lines(self) -> None:
        """More than are worked off in one turn: those that were not looked at yet count too."""
        alice = self.guest("alice")
        alice.send("".join(f"line {n}\n" for n in range(3 * _SEVERAL)))
        alice.read()
        alice.hang_up()
        self.settle()
        self.assertEqual(len(self.store.messages), 3 * _SEVERAL)

    def test_cut(self) -> None:
        """Who is gone without a word says nothing more."""
        bob, alice = self.guest("bob"), self.guest("alice")
        bob.take()
        self.store.hold()
        alice.send("/topic tea\ntwo\n")
        self.turn()
        alice.vanish()
        self.let_go()
        self.assertNotIn("two", bob.take())

    def test_at_the_prompt(self) -> None:
        """Somebody who never typed a name is told bye, too."""
        peer = self.peer()
        peer.take()
        peer.end()
        self.settle()
        self.assertEqual(peer.take(), "* bye\n")
        self.assertTrue(peer.gone)

    def test_at_the_password(self) -> None:
        """There will be no password, so the session ends, and the name is free."""
        for script in "alice\n", "bob\n":
            self.serve()
            self.register("bob", "builder-pw")
            peer = self.peer()
            self.tell(peer, script)
            peer.end()
            self.settle()
            self.assertTrue(peer.gone, script)
            self.assertTrue(peer.take().endswith("* bye\n"), script)

    def test_at_a_question(self) -> None:
        """There will be no answer, so the session ends."""
        for script in "PM\n", "DM\n", "DM\nbob\n":
            self.serve()
            alice = self.guest("alice")
            self.tell(alice, script)
            alice.end()
            self.settle()
            self.assertTrue(alice.gone, script)
            self.assertEqual(alice.take(), "* bye\n", script)

    def test_in_the_middle_of_a_flood(self) -> None:
        """All of it is said."""
        alice = self.guest("alice")
        alice.send("".join(f"line {number}\n" for number in range(300)) + "end", size=1000)
        alice.end()
        self.settle()
        self.assertTrue(alice.gone)
        said = [message.text for message in self.store.messages]
        self.assertEqual(said, [*(f"line {number}" for number in range(300)), "end"])

    def test_nobody_reads(self) -> None:
        """The other half closed: there is nobody to answer."""
        alice = self.guest("alice")
        alice.protocol.writeConnectionLost()
        self.settle()
        self.assertTrue(alice.gone)

    def test_ctrl_d_at_the_beginning_of_a_line(self) -> None:
        """Ends as half-close does."""
        alice = self.guest("alice")
        answer = self.say(alice, b"/users\r\n\x04never\r\n")
        self.assertTrue(answer.endswith("alice (guest)\n* bye\n"))
        self.assertTrue(alice.gone)
        self.assertEqual(self.store.messages, [])


class MishapTests(ServerTestCase):
    """What we got wrong must not end a session."""

    def break_down(self, owner: object, method: str) -> None:
        """Let a method raise."""

        def broken(*arguments: object, **named: object) -> None:
            raise ZeroDivisionError(method)

        self.patch(owner, method, broken)

    def check_told(self, peer: Peer, line: str, command: str) -> None:
        """The line is answered with C{internal}, the traceback logged, and the session goes on."""
        (error,) = self.events(peer, f"{line}\n")
        self.assertEqual(
            (error["event"], error["code"], error["command"]), ("error", "internal", command)
        )
        self.assertNotIn("ZeroDivisionError", error["text"])
        (logged,) = self.flushLoggedErrors(ZeroDivisionError)
        self.assertIn("broken", logged.getTraceback())
        (answer,) = self.events(peer, "/help quit\n")
        self.assertEqual(answer["event"], "help")

    def test_in_a_command(self) -> None:
        """A command that answers at once."""
        alice = self.robot("alice")
        self.break_down(self.chat, "users")
        self.check_told(alice, "/users", "/users")

    def test_in_a_command_that_waits(self) -> None:
        """A command that asks the store."""
        alice = self.robot("alice")
        self.break_down(self.store, "history")
        self.check_told(alice, "/history", "/history")

    def test_in_something_said(self) -> None:
        """A line that is no command."""
        alice = self.robot("alice")
        self.break_down(self.chat, "say")
        self.check_told(alice, "hello", "")

    def test_at_the_prompt(self) -> None:
        """A name is asked for again, and none is held."""
        peer = self.peer()
        self.tell(peer, "/json on\n")
        self.break_down(self.store, "find_account")
        self.check_told(peer, "alice", "")
        self.assertIn("* Welcome, alice.", self.say(self.peer(), "/guest alice\n"))

    def test_while_registering(self) -> None:
        """Neither the name at the prompt nor the one in a command stays held."""
        peer = self.peer()
        self.tell(peer, "/json on\n")
        self.break_down(self.hasher, "hash")
        self.check_told(peer, "/register alice wonderland", "/register")
        self.tell(peer, "alice\n")
        self.tell(peer, "wonderland\n")
        self.check_told(peer, "wonderland", "")
        self.assertIn("* Welcome, alice.", self.say(self.peer(), "/guest alice\n"))


class HiddenPasswordTests(ServerTestCase):
    """A password that is typed at a prompt does not show."""

    def setUp(self) -> None:
        super().setUp()
        self.register("bob", "builder-pw")

    def test_for_nc(self) -> None:
        """A peer whose lines end in LF: written in no colour, and not a byte of telnet."""
        peer = self.peer()
        before = self.ask(peer, b"bob\n")
        self.assertEqual(before, b"Password: " + _CONCEAL)
        after = self.ask(peer, b"builder-pw\n")
        self.assertTrue(after.startswith(_REVEAL + b"* Welcome, bob.\n"))
        self.assertNotIn(b"\xff", before + after)

    def test_for_telnet(self) -> None:
        """A peer whose lines end in CR LF: telnet is told that its echo is done for it, and not
        any more as soon as the password is there."""
        peer = self.peer()
        before = self.ask(peer, b"bob\r\n")
        hide = _WILL_ECHO + _CLEAR_LINE + b"Password: " + _CONCEAL
        self.assertEqual(before, _DO_BINARY + hide)
        after = self.ask(peer, _WILL_BINARY + b"\xff\xfd\x01wrong\n")
        shown = _REVEAL + _WONT_ECHO + _CLEAR_LINE
        self.assertEqual(after, shown + b"! wrong name or password\r\n" + hide)
        after = self.ask(peer, b"\xff\xfd\x01builder-pw\n")
        self.assertTrue(after.startswith(shown + b"* Welcome, bob.\r\n"))
        self.assertEqual(after.count(b"\xff"), 1)

    def test_for_nc_that_ends_its_lines_as_telnet_does(self) -> None:
        """It was asked whether it is telnet, and did not answer: not a byte of telnet more."""
        peer = self.peer()
        self.clock.advance(1)
        before = self.ask(peer, b"bob\r\n")
        self.assertEqual(before, b"Password: " + _CONCEAL)
        self.assertTrue(self.ask(peer, b"builder-pw\r\n").startswith(_REVEAL + b"* Welcome"))

    def test_new_password(self) -> None:
        """Is hidden as well."""
        peer = self.peer()
        self.assertTrue(self.ask(peer, b"alice\n").endswith(b"New password: " + _CONCEAL))
        self.assertTrue(self.ask(peer, b"wonderland\n").startswith(_REVEAL))

    def test_is_shown_again_whatever_is_wrong_with_it(self) -> None:
        """What is typed next can be seen."""
        for line in b"wrong\r\n", b"\r\n", b"\xe9\r\n", b"x" * 4097 + b"\r\n":
            peer = self.peer()
            self.tell(peer, _WILL_BINARY + b"bob\r\n")
            after = self.ask(peer, line)
            self.assertTrue(after.startswith(_REVEAL + _WONT_ECHO + _CLEAR_LINE), line)
            again = _WILL_ECHO + _CLEAR_LINE + b"Password: " + _CONCEAL
            self.assertTrue(after.endswith(b"Name: " if line == b"\r\n" else again), line)

    def test_is_shown_again_before_it_is_checked(self) -> None:
        """Checking takes a while, in which others are heard."""
        peer = self.peer()
        self.tell(peer, b"bob\r\n")
        self.hasher.held = True
        after = self.ask(peer, b"builder-pw\r\n")
        self.assertEqual(after, _REVEAL + _WONT_ECHO + _CLEAR_LINE)

    def test_is_not_hidden_when_nobody_types(self) -> None:
        """A pipe gets no escape sequence."""
        self.assertNotIn(b"\x1b", self.ask(self.peer(), b"bob\nbuilder-pw\n"))


class JsonTests(ServerTestCase):
    """The output for programs."""

    def test_hello_starts_on_a_line_of_its_own(self) -> None:
        """After the greeting and the prompt; every line from there on is an object."""
        peer = self.peer()
        peer.send("/json on\n")
        self.settle()
        before, _, after = peer.take().partition("\n{")
        self.assertEqual(before, f"{_GREETING}Name: ")
        hello = json.loads("{" + after)
        self.assertRegex(hello.pop("session"), "^[-_A-Za-z0-9]{16}$")
        self.assertEqual(
            hello,
            {
                "event": "hello",
                "time": "2023-11-14T22:13:20.000Z",
                "protocol": 1,
                "server": "chat",
                "keepalive": 60,
            },
        )

    def test_no_prompts_and_no_escapes(self) -> None:
        """Not even at a password, and not for telnet, either."""
        peer = self.peer()
        self.tell(peer, "/json on\r\n")
        output = b""
        for line in "...", "alice", "short", "wonderland", "wonderland", "PM", "hello", "/nonsense":
            output += self.ask(peer, f"{line}\r\n")
        self.assertNotIn(b"\x1b", output)
        self.assertNotIn(b"\xff", output)
        events = [json.loads(line)["event"] for line in output.splitlines()]
        self.assertIn("welcome", events)
        self.assertIn("message", events)
        self.assertEqual(events.count("error"), 3)

    def test_every_event_has_a_time(self) -> None:
        """And a kind."""
        alice = self.robot("alice")
        answers = self.events(
            alice, "hi\n/users\n/rooms\n/topic x\n/join tea\n/history\n/dm bob x\n"
        )
        self.assertGreater(len(answers), 8)
        for answer in answers:
            self.assertEqual(answer["time"], "2023-11-14T22:13:20.000Z")

    def test_receipt(self) -> None:
        """A session in JSON mode is told its own messages; one in text is not."""
        alice = self.robot("alice")
        (said,) = self.events(alice, "hello\n")
        self.assertEqual(
            {
                key: said[key]
                for key in ("event", "room", "seq", "from", "text", "action", "replay")
            },
            {
                "event": "message",
                "room": "lobby",
                "seq": 1,
                "from": "alice",
                "text": "hello",
                "action": False,
                "replay": False,
            },
        )
        self.assertEqual(self.say(self.guest("bob"), "hello\n"), "")

    def test_on_and_off_in_the_middle(self) -> None:
        """The session goes on in the other format, with what was said meanwhile."""
        bob, alice = self.guest("bob"), self.guest("alice")
        on = self.say(alice, "in text\n/json on\nin JSON\n")
        self.tell(bob, "seen\n")
        events = [json.loads(line) for line in (on + alice.take()).splitlines() if line]
        self.assertEqual(
            [(event["event"], event.get("text")) for event in events],
            [("hello", None), ("message", "in JSON"), ("message", "seen")],
        )
        self.assertEqual(self.say(alice, "/json off\nin text\n"), "* text from now on\n")
        self.tell(bob, "seen\n")
        self.assertRegex(alice.take(), r"^\[\d\d:\d\d\] bob: seen\n$")
        again = self.events(alice, "/json on\n/users\n")
        self.assertEqual([event["event"] for event in again], ["hello", "users"])

    def test_off_at_the_prompt(self) -> None:
        """The prompt comes back."""
        peer = self.peer()
        self.tell(peer, "/json on\n")
        self.assertEqual(self.say(peer, "/json off\n"), "* text from now on\nName: ")

    def test_the_same_message_in_both_formats(self) -> None:
        """Each reader has the format that it asked for."""
        alice, bob, carol = self.guest("alice"), self.robot("bob"), self.guest("carol")
        for peer in alice, bob, carol:
            peer.take()
        self.tell(alice, "/me waves\n")
        (said,) = bob.take_events()
        self.assertEqual((said["text"], said["action"]), ("waves", True))
        self.assertRegex(carol.take(), r"^\[\d\d:\d\d\] \* alice waves\n$")


class HangUpTests(ServerTestCase):
    """The server ends."""

    def check_registry(self) -> None:
        """Nobody comes any more."""

    def hang_up(self) -> "Deferred[None]":
        return Deferred.fromCoroutine(self.factory.hang_up("going down; bye", 5))

    def test_everyone_is_told_bye(self) -> None:
        """Whoever is in, at the prompt, at a password or at a question; nobody waits for the
        grace to end."""
        alice, bob, asked = self.guest("alice"), self.robot("bob"), self.guest("carol")
        self.tell(asked, "PM\n")
        stranger, newcomer = self.peer(), self.peer()
        self.tell(newcomer, "dave\n")
        for peer in self.peers:
            peer.take()
        ended = self.hang_up()
        self.assertNoResult(ended)
        self.settle()
        self.successResultOf(ended)
        for peer in alice, asked, stranger, newcomer:
            self.assertTrue(peer.gone)
            self.assertIn("* going down; bye\n", peer.take())
        (bye,) = [event for event in bob.take_events() if event["event"] == "bye"]
        self.assertEqual(bye["text"], "going down; bye")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_bye_begins_a_line(self) -> None:
        """Behind a prompt that nobody answered."""
        alice, stranger, newcomer = self.guest("alice"), self.peer(), self.peer()
        self.tell(newcomer, "dave\n")
        stranger.take()
        self.hang_up()
        self.settle()
        self.assertEqual(alice.take(), "* going down; bye\n")
        self.assertEqual(stranger.take(), "\n* going down; bye\n")
        self.assertEqual(newcomer.take(), "\x1b[0m\n* going down; bye\n")

    def test_nobody_is_told_that_others_left(self) -> None:
        """All go at once: a line for each would be a flood."""
        peers = [self.guest(name) for name in ("alice", "bob", "carol")]
        for peer in peers:
            peer.take()
        ended = self.hang_up()
        self.settle()
        self.successResultOf(ended)
        self.assertEqual([peer.take() for peer in peers], ["* going down; bye\n"] * 3)

    def test_who_does_not_go_is_cut_off(self) -> None:
        """After the grace."""
        alice, stuck = self.guest("alice"), self.guest("stuck")
        stuck.transport.reading = False
        ended = self.hang_up()
        self.settle()
        self.assertTrue(alice.gone)
        self.assertFalse(stuck.gone)
        self.clock.advance(4)
        self.settle()
        self.assertFalse(stuck.transport.disconnected)
        self.clock.advance(1)
        self.assertTrue(stuck.transport.disconnected)
        self.assertNoResult(ended)
        self.settle()
        self.successResultOf(ended)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_nobody_is_there(self) -> None:
        """There is nothing to wait for."""
        self.tell(self.guest("alice"), "/quit\n")
        self.successResultOf(self.hang_up())

    def test_what_comes_afterwards_is_not_worked_off(self) -> None:
        """A connection that is being closed says nothing more."""
        alice = self.guest("alice")
        self.tell(alice, "PM\n")
        ended = self.hang_up()
        alice.protocol.dataReceived(b"too late\n/users\n")
        self.settle()
        self.successResultOf(ended)
        self.assertEqual(self.store.messages, [])
        self.assertEqual(alice.take(), "* going down; bye\n")


class SlowReaderTests(ServerTestCase):
    """Somebody who does not read."""

    limits = Limits(outbox=10_000, stuck_after=60, line_rate=0)

    def test_is_told_how_much_was_skipped(self) -> None:
        """And everybody else hears everything at once."""
        alice, slow, bob = self.guest("alice"), self.guest("slow"), self.guest("bob")
        for peer in slow, bob:
            peer.take()
        slow.transport.reading = False
        self.tell(alice, "".join(f"{number} {'x' * 90}\n" for number in range(400)))
        self.assertEqual(bob.take().count("alice: "), 400)
        slow.transport.reading = True
        slow.transport.drain()
        *lines, last = slow.take().splitlines()
        self.assertLess(len(lines), 400)
        self.assertEqual(last, f"… {400 - len(lines)} lines skipped; /history shows them")

    def test_is_cut_off_when_stuck(self) -> None:
        """After a while in which it took nothing."""
        alice, slow = self.guest("alice"), self.guest("slow")
        alice.take()
        slow.transport.reading = False
        self.tell(alice, "hello\n")
        self.clock.advance(60)
        self.settle()
        self.assertTrue(slow.gone)
        self.assertEqual(alice.take(), "* slow left\n")


class LimitsTests(ServerTestCase):
    """How many may be connected."""

    here = UNIXAddress("/run/chat.sock")
    near = IPv4Address("TCP", "127.0.0.1", 4000)
    far = IPv4Address("TCP", "192.0.2.1", 4000)
    farther = IPv4Address("TCP", "192.0.2.2", 4000)

    def check_refused(self, peer: Peer, sentence: str) -> None:
        """It gets this sentence instead of a greeting, and is let go."""
        self.assertEqual(peer.take(), f"! {sentence}\n")
        self.assertTrue(peer.transport.disconnecting)
        self.settle()
        self.assertTrue(peer.gone)

    def check_greeted(self, peer: Peer) -> None:
        self.assertTrue(peer.take().startswith(_GREETING))
        self.assertFalse(peer.transport.disconnecting)

    def test_as_many_as_there_may_be(self) -> None:
        """One more is refused with a sentence; who goes makes room."""
        self.serve(Limits(max_connections=3))
        first, _, _ = [self.peer(address) for address in (self.here, self.near, self.far)]
        for _ in range(2):
            self.check_refused(self.peer(self.farther), "this server is full; try again later")
        first.vanish()
        last = self.peer()
        self.check_greeted(last)
        last.vanish()

    def test_as_many_as_there_may_be_from_one_address(self) -> None:
        """One more is refused with a sentence, another address is not; who goes makes room."""
        self.serve(Limits(max_per_address=2))
        first, _ = self.peer(self.far), self.peer(self.far)
        sentence = "your address has 2 connections already; close one first"
        for _ in range(2):
            self.check_refused(self.peer(self.far), sentence)
        self.check_greeted(self.peer(self.farther))
        first.vanish()
        self.check_greeted(self.peer(self.far))
        self.check_refused(self.peer(self.far), sentence)

    def test_loopback_is_free_of_the_limit_per_address(self) -> None:
        """So are UNIX sockets: everyone there has the same address."""
        self.serve(Limits(max_per_address=1))
        for host in "127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1":
            for _ in range(3):
                self.check_greeted(self.peer(IPv4Address("TCP", host, 4000)))
        for _ in range(3):
            self.check_greeted(self.peer(self.here))

    def test_no_limits(self) -> None:
        """0 is none."""
        self.serve(Limits(max_per_address=0, max_connections=0, connections_per_minute=0))
        for _ in range(100):
            self.check_greeted(self.peer(self.far))


class LineRateTests(ServerTestCase):
    """How many lines of one session are taken, and how fast."""

    limits = Limits(connections_per_minute=0)
    far = IPv4Address("TCP", "192.0.2.1", 4000)
    trusted = IPv4Address("TCP", "192.0.2.129", 4000)
    notice = "* you're sending fast: taking 5 lines a second now, nothing is lost\n"

    def come(self, hello: str, address: IAddress | None = None) -> Peer:
        """Somebody who is in, and has said nothing for long."""
        peer = self.peer(address or self.far)
        self.tell(peer, hello)
        self.clock.advance(60)
        return peer

    def lines(self, count: int) -> list[str]:
        return [f"line {number}" for number in range(count)]

    def send(self, peer: Peer, count: int, size: int | None = None) -> int:
        """So many lines are sent; gives back how many of them are said at once."""
        before = len(self.texts())
        peer.send("".join(f"{line}\n" for line in self.lines(count)), size)
        self.settle()
        return len(self.texts()) - before

    def texts(self) -> list[str]:
        return [message.text for message in self.store.messages]

    def wait(self, seconds: float) -> None:
        """Time passes, in small steps."""
        for _ in range(round(seconds * 20)):
            self.clock.advance(0.05)
            self.settle()

    def test_a_paste_goes_through_at_once(self) -> None:
        """20 lines, without a remark, one after the other and all together."""
        for size in None, 7:
            alice = self.come("/guest\n")
            self.assertEqual(self.send(alice, 20, size), 20)
            self.assertNotIn(self.notice, alice.take())

    def test_more_than_that_is_slowed_and_nothing_is_lost(self) -> None:
        """5 lines a second follow, in order, and the remark comes once."""
        alice = self.come("/guest\n")
        self.assertEqual(self.send(alice, 60), 20)
        self.assertEqual(alice.take(), self.notice)
        self.wait(2)
        self.assertEqual(len(self.texts()), 30)
        self.wait(6.1)
        self.assertEqual(self.texts(), self.lines(60))
        self.assertEqual(alice.take(), "")

    def test_remark_comes_again_for_another_flood(self) -> None:
        """When there was a pause in between."""
        alice = self.come("/guest\n")
        for _ in range(2):
            self.send(alice, 25)
            self.assertEqual(alice.take(), self.notice)
            self.wait(20)

    def test_flood_is_not_read(self) -> None:
        """No more than it may wait with; the rest stays in the kernel."""
        alice = self.come("/guest\n")
        self.send(alice, 5000, size=10)
        self.assertTrue(alice.paused)
        assert alice.protocol._lines is not None
        self.assertLessEqual(len(alice.protocol._lines), _SEVERAL)
        self.assertTrue(alice._arriving)

    def test_lines_that_are_too_long_do_not_pile_up(self) -> None:
        """64 of them would be 4 MiB."""
        alice = self.come("/guest\n")
        alice.send(b"x\n" * 20)
        for _ in range(100):
            alice.send(b"x" * 60_000 + b"\n")
        self.settle()
        self.assertTrue(alice.paused)
        waiting = sum(map(len, alice.protocol._lines or ()))
        self.assertLess(waiting, 200_000)
        alice.take()
        self.wait(21)
        self.assertEqual(alice.take().count("! a line has at most 4096 bytes"), 100)

    def test_half_close_in_a_flood(self) -> None:
        """All of it is said, and then it ends: C{nc -N} with a long file."""
        alice = self.come("/guest\n")
        alice.end()
        self.assertEqual(self.send(alice, 300, size=100), 20)
        self.wait(57)
        self.assertEqual(self.texts(), self.lines(300))
        self.assertTrue(alice.gone)

    def test_gone_in_a_flood(self) -> None:
        """Nothing goes on that waited for its turn; nobody is there any more."""
        alice, bob = self.come("/guest alice\n"), self.come("/guest bob\n")
        self.send(alice, 100)
        alice.vanish()
        self.settle()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        bob.take()
        self.assertIn("1 person is in the lobby", self.say(bob, "/users\n"))

    def test_sent_away_in_a_flood(self) -> None:
        """What waited for its turn is not worked off any more."""
        alice = self.peer(self.far)
        alice.send("/json on\n" * 30 + "/register alice sesame123\n")
        self.settle()
        alice.transport.reading = False
        alice.protocol.hang_up()
        self.clock.advance(3)
        found = Deferred.fromCoroutine(self.accounts.is_registered("alice"))
        self.assertFalse(self.successResultOf(found))

    def test_others_are_not_held_up(self) -> None:
        """Each session has its own."""
        alice, bob = self.come("/guest alice\n"), self.come("/guest bob\n")
        self.send(alice, 1000)
        self.assertEqual(self.send(bob, 20), 20)

    def test_before_login(self) -> None:
        """It holds for strangers too."""
        peer = self.peer(self.far)
        said = self.say(peer, "/frob\n" * 1000)
        self.assertEqual(said.count("! there is no command"), 20)

    def test_at_a_password_prompt(self) -> None:
        """Passwords are lines."""
        self.serve(Limits(max_login_delay=0))
        self.register("alice", "sesame123")
        peer = self.peer(IPv4Address("TCP", "127.0.0.1", 4000))  # where guessing costs no wait
        self.tell(peer, "alice\n")
        said = "".join(self.say(peer, "wrong password\n") for _ in range(100))
        self.assertEqual(said.count("! wrong name or password"), 19)

    def test_remark_is_for_what_is_said(self) -> None:
        """A program that comes back asks for much and says nothing; it has nothing to show for it.
        Once something that it says waits, the remark comes, once."""
        places = " ".join(f"room{number}=0" for number in range(20))
        joins = "".join(f"/join room{number}\n" for number in range(20))
        alice = self.peer(self.far)
        alice.send(f"/since {places}\n/guest alice\n{joins}".encode() + b"\xff\n/nonsense\n")
        self.settle()
        self.wait(30)
        self.assertNotIn("sending fast", alice.take())
        for line in "hello\n", "/me waves\n", "/dm alice hi\n", "!roll 6\n":
            alice.send(5 * "/history 1\n" + 2 * line)
            self.settle()
            self.wait(30)
            self.assertEqual(alice.take().count(self.notice), 1, line)

    def test_costly_commands_count_as_several(self) -> None:
        """What is asked for with one line is not done 20 times at once."""
        for command, times in (("/history", 4), ("/users", 10), ("/rooms", 10), ("/topic", 20)):
            alice = self.come("/json on\n/guest\n")
            alice.take()
            answers = [e["event"] for e in self.events(alice, f"{command}\n" * 30)]
            self.assertEqual(answers.count(command[1:]), times, command)

    def test_what_is_not_there_counts_as_several(self) -> None:
        """Finding what may have been meant is work, too."""
        for typed in "/dm nobody hi", "/users nowhere", "/leave nowhere", "/history 1 @nobody":
            alice = self.come("/json on\n/guest\n")
            alice.take()
            answers = self.events(alice, f"{typed}\n" * 30)
            refused = [e for e in answers if e.get("code", "").startswith("no-such-")]
            self.assertLess(len(refused), 10, typed)

    def test_long_answers_count_as_more(self) -> None:
        """Each 500 people or messages as a line."""
        for _ in range(500):
            self.guest("")
        bob = self.come("/json on\n/guest bob\n")
        bob.take()
        for command in "/users lobby", "/rooms":
            answers = self.events(bob, f"{command}\n" * 30)
            self.assertEqual(sum(e["event"] in ("users", "rooms") for e in answers), 7, command)
            self.wait(30)
            bob.take()
        for peer in self.peers:
            peer.vanish()
        self.wait(3)

    def test_trusted_networks(self) -> None:
        """As fast as they can."""
        alice = self.come("/guest\n", self.trusted)
        self.assertEqual(self.send(alice, 1000), 1000)
        self.assertEqual(alice.take(), "")

    def test_trusted_accounts(self) -> None:
        """From wherever they log in, and only once they have; nobody else with the name."""
        guest = self.come("/guest trusty\n")
        self.assertEqual(self.send(guest, 30), 20)
        guest.vanish()
        self.settle()
        trusty = self.come("/register trusty sesame123\n")
        self.assertEqual(self.send(trusty, 1000), 1000)

    def test_no_limit(self) -> None:
        """C{--line-rate 0}."""
        self.serve(Limits(line_rate=0))
        alice = self.come("/guest\n")
        self.assertEqual(self.send(alice, 1000), 1000)

    def test_the_server_goes_down(self) -> None:
        """It does not wait for what waits."""
        alice = self.come("/guest alice\n")
        self.send(alice, 100)
        self.factory.pause()
        done = Deferred.fromCoroutine(self.factory.hang_up("the server is going down; bye", 1.0))
        self.settle()
        self.successResultOf(done)
        self.assertEqual(len(self.texts()), 20)


class SizeTests(ServerTestCase):
    """Thousands of sessions are idle."""

    def test_few_attributes(self) -> None:
        """A dict of more than 21 takes twice the memory."""
        for end in b"\n", b"\r\n":
            alice = self.peer()
            self.tell(alice, b"/guest" + end)
            self.assertLessEqual(len(vars(alice.protocol)), 21)


class AtTheDoorTests(ServerTestCase):
    """How long somebody may take to come in, and how many of them there may be."""

    limits = Limits(max_waiting=3, stuck_after=600)
    far = IPv4Address("TCP", "192.0.2.1", 4000)

    def late(self, before: str, after: str = "", address: IAddress | None = None) -> Peer:
        """Somebody sends this, and a minute passes: then they see that, and are gone."""
        peer = self.peer(address or self.far)
        peer.send(before)
        self.settle()
        self.clock.advance(1)
        peer.take_bytes()
        self.clock.advance(60)
        self.assertEqual(peer.take(), after)
        self.settle()
        self.assertTrue(peer.gone)
        return peer

    def test_a_minute_to_come_in(self) -> None:
        """Wherever they come from, and whatever they typed; a password is not hidden any more."""
        bye = "* you did not come in within 60 seconds; bye\n"
        self.register("alice", "sesame123")
        for before, after in (
            ("", f"\n{bye}"),
            ("ali", f"\n{bye}"),
            ("/help\n", f"\n{bye}"),
            ("alice\n", f"\x1b[0m\n{bye}"),
            ("bob\n", f"\x1b[0m\n{bye}"),
        ):
            for address in self.far, UNIXAddress(None), IPv4Address("TCP", "192.0.2.129", 4000):
                self.late(before, after, address)

    def test_a_minute_from_each_line(self) -> None:
        """A newcomer who reads the help is not sent away meanwhile; who ends no line is."""
        newcomer, drip = self.peer(self.far), self.peer(self.far)
        for _ in range(3):
            self.clock.advance(25)
            self.tell(newcomer, "/help\n")
            self.tell(drip, "/help ")
        self.assertFalse(newcomer.gone)
        self.assertTrue(drip.transport.disconnecting)
        self.assertIn("* Welcome, alice.", self.say(newcomer, "/guest alice\n"))

    def test_few_are_accepted_in_a_turn(self) -> None:
        """Twisted takes 20 more than in the last turn each time it is not enough."""
        port = Port(0, self.factory)
        self.factory.ports.append(port)
        self.peer(self.far)
        self.assertEqual(port.numberAccepts, 1)

    def test_in_JSON(self) -> None:
        """An event like any other."""
        peer = self.peer(self.far)
        self.tell(peer, "/json on\n")
        self.clock.advance(61)
        [bye] = peer.take_events()
        self.assertEqual(
            (bye["event"], bye["text"]), ("bye", "you did not come in within 60 seconds; bye")
        )

    def test_who_is_in_has_time(self) -> None:
        """Guests and accounts, whichever way they came."""
        peers = [self.peer(self.far) for _ in range(3)]
        for peer, hello in zip(
            peers, ("\n", "bob\n\n", "/register alice sesame123\n"), strict=True
        ):
            self.tell(peer, hello)
        self.clock.advance(1000)
        self.settle()
        self.assertEqual([peer.gone for peer in peers], [False] * 3)

    def test_a_drip_is_not_somebody_who_comes_in(self) -> None:
        """A byte a second that never ends a line."""
        peer = self.peer(self.far)
        for _ in range(59):
            peer.send("x")
            self.settle()
            self.clock.advance(1)
        self.assertFalse(peer.gone)
        self.clock.advance(1)
        self.settle()
        self.assertTrue(peer.gone)

    def test_who_does_not_read_goes_too(self) -> None:
        """Though there is something that they have not taken, and they take a little of it."""
        peer = self.peer(self.far)
        peer.transport.reading = False
        peer.send("/help\n" * 15)
        self.settle()
        self.clock.advance(60)
        for _ in range(5):
            self.assertFalse(peer.transport.disconnected)
            self.clock.advance(1)
            self.settle()
        self.assertTrue(peer.transport.disconnected)

    def test_who_has_hung_up_and_does_not_read_goes_too(self) -> None:
        """Also if what they wait for is the end."""
        peer = self.peer(self.far)
        peer.transport.reading = False
        peer.send("/help\n" * 15)
        peer.end()
        self.settle()
        self.clock.advance(60)
        self.clock.advance(5)
        self.settle()
        self.assertTrue(peer.transport.disconnected)

    def test_while_a_password_is_checked(self) -> None:
        """The name is not held any more, and nobody is in, when it has been."""
        self.hasher.held = True
        peer = self.peer(self.far)
        self.tell(peer, "/register alice sesame123\n")
        self.clock.advance(61)
        self.settle()
        self.assertTrue(peer.gone)
        self.let_go()
        self.assertIn("wrong name or password", self.say(self.peer(), "/login alice sesame124\n"))
        self.assertIn("Welcome, alice", self.say(self.peer(), "/login alice sesame123\n"))

    def test_too_many(self) -> None:
        """The oldest goes, with a sentence."""
        peers = [self.peer(self.far) for _ in range(5)]
        for number, peer in enumerate(peers):
            said = peer.take()
            self.assertEqual(
                "\n* too many others want to come in, and you did not; bye\n" in said, number < 2
            )
        self.settle()
        self.assertEqual([peer.gone for peer in peers], [True, True, False, False, False])

    def test_connections_a_minute(self) -> None:
        """One more is told when it may."""
        self.serve(Limits(max_waiting=0))
        peers = [self.peer(self.far) for _ in range(31)]
        self.assertEqual(
            peers[-1].take(), "! your address connects too often; try again in 2 seconds\n"
        )
        self.assertTrue(peers[-2].take().startswith(_GREETING))


class KeepaliveTests(ServerTestCase):
    """Signs of life, for those who do not see them."""

    limits = Limits(keepalive=60, line_rate=0)

    def setUp(self) -> None:
        super().setUp()
        self.factory.startFactory()
        self.addCleanup(self.factory.stopFactory)

    def signs(self, peer: Peer, seconds: float = 60) -> bytes:
        """What somebody is sent in this time, when nothing happens."""
        self.settle()
        peer.take_bytes()
        self.clock.advance(seconds)
        self.settle()
        return peer.take_bytes()

    def test_programs(self) -> None:
        """Get an event, once a minute."""
        robot = self.robot("robot")
        for _ in range(3):
            self.assertEqual(
                [e["event"] for e in map(json.loads, self.signs(robot).split(b"\n")[:-1])], ["ping"]
            )
        self.assertEqual(self.signs(robot, 30), b"")

    def test_telnet(self) -> None:
        """Gets a telnet command that does nothing (RFC 854), once it is known to be telnet."""
        telnet = self.guest("alice")
        self.assertEqual(self.signs(telnet), b"")
        self.tell(telnet, b"\xff\xf4\xff\xfd\x06")  # Ctrl-C
        self.assertEqual(self.signs(telnet), b"\xff\xf1")

    def test_nc(self) -> None:
        """Gets nothing: it would be seen. Also where lines end as those of telnet do."""
        for name, end in ("bob", "\n"), ("carol", "\r\n"):
            peer = self.peer()
            self.tell(peer, f"/guest {name}{end}hello \u00ff{end}")
            self.assertEqual(self.signs(peer), b"")

    def test_somebody_for_whom_something_waits(self) -> None:
        """Needs no sign."""
        robot = self.robot("robot")
        robot.transport.reading = False
        self.say(self.guest("bob"), "hello\n")
        self.clock.advance(50)  # before it counts as stuck
        self.factory._keep_alive()
        self.settle()
        robot.transport.reading = True
        robot.transport.drain()
        kinds = [event["event"] for event in robot.take_events()]
        self.assertIn("message", kinds)
        self.assertNotIn("ping", kinds)

    def test_none(self) -> None:
        """C{--keepalive 0}."""
        self.factory.stopFactory()
        self.serve(Limits(keepalive=0, line_rate=0))
        self.factory.startFactory()
        self.assertEqual(self.signs(self.robot("robot"), 600), b"")


class SessionLimitsTests(ServerTestCase):
    """What one session may have."""

    limits = Limits(max_names=2, max_joined=3, rooms_per_address=4, line_rate=0)
    far = IPv4Address("TCP", "192.0.2.1", 4000)

    def test_names(self) -> None:
        """A guest takes so many, and keeps the last."""
        bob = self.guest("bob")
        self.tell(bob, "/nick bill\n/nick no one\n/nick bill\n/nick ben\n")
        self.assertEqual(
            self.say(bob, "/nick bert\n"), "! you have had 2 names here; that one stays\n"
        )
        self.assertIn("ben (guest)", self.say(bob, "/users\n"))

    def test_rooms_that_it_is_in(self) -> None:
        """The lobby among them; leaving one makes room."""
        bob = self.guest("bob")
        self.tell(bob, "/join one\n/join two\n")
        self.assertEqual(self.say(bob, "/join three\n"), "! you are in 3 rooms; leave one first\n")
        self.tell(bob, "/leave one\n/join three\n")
        self.assertIn("2 people are in #three", self.say(self.guest("carol"), "/join three\n"))

    def test_rooms_that_an_address_makes(self) -> None:
        """Joining those that there are is free."""
        self.serve(Limits(rooms_per_address=2, line_rate=0))
        bob, carol = self.peer(self.far), self.peer(self.far)
        self.tell(bob, "/guest bob\n/join one\n")
        self.tell(carol, "/guest carol\n/join two\n/join one\n")
        self.assertEqual(
            self.say(bob, "/join three\n"),
            "! your address has made many rooms lately; try again in 30 minutes\n",
        )
        self.assertIn("2 people are in #two", self.say(bob, "/join two\n"))
