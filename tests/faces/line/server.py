"""A server of the line protocol without sockets, for the tests beside it."""

import json
from collections import deque
from collections.abc import Callable
from typing import Any, ClassVar

from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IAddress, IDelayedCall, IPullProducer, ISSLTransport
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import alsoProvides

from tests.support import MemoryStore, PlainHasher, guard, now
from twisted_chat.core.accounts import Accounts
from twisted_chat.core.addresses import Networks
from twisted_chat.core.chat import Chat
from twisted_chat.core.limits import Limits
from twisted_chat.core.model import MESSAGES, Entry
from twisted_chat.faces.admission import Admission
from twisted_chat.faces.line.dialogue import LineFace, Settings
from twisted_chat.faces.line.protocol import LineFactory, LineProtocol
from twisted_chat.faces.outbox import fan_out

_log = Logger()

TURN = 0.001
"""Seconds that a turn of the reactor takes."""

SEVERAL = 64
"""Lines of one connection that are carried out in one turn, and that wait for it."""

GREETING = "* Welcome to chat. Type a name or /help, or press Enter to be a guest.\n"
CLEAR_LINE = b"\r\x1b[K"
CONCEAL = b"\x1b[8m"
REVEAL = b"\x1b[0m"
DO_BINARY = b"\xff\xfd\x00"
WILL_BINARY = b"\xff\xfb\x00"
WILL_ECHO = b"\xff\xfb\x01"
WONT_ECHO = b"\xff\xfc\x01"

Json = dict[str, Any]


class Turns(Clock):
    """A clock on which even what is to happen at once waits for the next turn."""

    def callLater(
        self, delay: float, callable: Callable[..., object], *args: object, **kw: object
    ) -> IDelayedCall:
        return super().callLater(max(delay, TURN), callable, *args, **kw)


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

    def __init__(self, factory: LineFactory, address: IAddress) -> None:
        self.transport = self.transport_class(address)
        built = factory.buildProtocol(address)
        assert built is not None
        self.built: Any = built
        self.gone = False
        self._arriving: deque[bytes] = deque()
        self._ended = False
        built.makeConnection(self.transport)

    @property
    def protocol(self) -> LineProtocol:
        assert isinstance(self.built, LineProtocol)
        return self.built

    @property
    def paused(self) -> bool:
        """Whether the transport is not read from at the moment."""
        return bool(self.transport.producerState == "paused")

    def send(self, data: str | bytes, size: int | None = None) -> None:
        """Send bytes, in pieces of so many, or in one."""
        encoded = data.encode() if isinstance(data, str) else data
        size = size or len(encoded) or 1
        self._arriving.extend(encoded[i : i + size] for i in range(0, len(encoded), size))

    def end(self) -> None:
        """Send nothing more after this, but go on reading: half-close."""
        self._ended = True

    def vanish(self) -> None:
        """Vanish without a FIN."""
        self._lose(ConnectionLost())

    def hang_up(self) -> None:
        """Close the whole connection in an orderly way."""
        self._lose(ConnectionDone())

    @property
    def is_closing(self) -> bool:
        """Whether everything is written, and the connection is closed next."""
        transport = self.transport
        written = transport.disconnecting and transport.producer is None
        return not self.gone and (transport.disconnected or written)

    @property
    def has_sent(self) -> bool:
        """Whether bytes wait to be read by the server."""
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
        """The bytes that the peer was sent since the last time."""
        data = bytes(self.transport.value())
        self.transport.clear()
        return data

    def take(self) -> str:
        return self.take_bytes().decode()

    def take_events(self) -> list[Json]:
        """The objects that the peer was sent since the last time, which must be all it was sent."""
        return [json.loads(line) for line in self.take().splitlines()]


class ServerTestCase(SynchronousTestCase):
    """A server without sockets. In the end every peer disconnects, and nothing may be left of
    it."""

    limits: ClassVar[Limits] = Limits(line_rate=0)
    settings: ClassVar[Settings] = Settings("chat")

    def setUp(self) -> None:
        self.serve()
        self.addCleanup(self.check_nothing_is_left)

    def serve(self, limits: Limits | None = None) -> None:
        """Start a new server, and forget the last."""
        self.start(MemoryStore(), limits or self.limits)

    def start(self, store: MemoryStore, limits: Limits) -> None:
        """Start a server on what an earlier one may have left."""
        self.store = store
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
            self.store,
            self.accounts,
            keeper,
            limits,
            now,
            self.clock.callLater,
            fan_out,
            Deferred,
            lambda: _log.failure("in the core"),
        )
        self.chat.open(self.store.open())
        self.store.subscribe(self.chat.deliver, self.chat.lose)
        self.admission = Admission(
            limits, Networks(trusted=["192.0.2.128/25"], shared=["127.0.0.0/8", "::1"]), self.clock
        )
        self.face = LineFace(
            self.chat, self.accounts, self.admission, self.settings, limits, self.clock, now
        )
        self.factory = LineFactory(self.face)
        self.peers: list[Peer] = []
        self.successResultOf(Deferred.fromCoroutine(self.chat.recall_labels()))

    @property
    def messages(self) -> list[Entry]:
        """What was said in rooms."""
        return [entry for entry in self._said if entry.room.kind != "direct"]

    @property
    def private(self) -> list[Entry]:
        """What was said in private, as far as it is kept."""
        return [entry for entry in self._said if entry.room.kind == "direct"]

    @property
    def _said(self) -> list[Entry]:
        return [entry for entry in self.store.entries if entry.kind in MESSAGES]

    def kill(self, committed: int = 0) -> None:
        """Kill the server, as with SIGKILL, and start another one on the same store.

        @param committed: the number of posts that wait and are in the log all the same, though
            nobody was told.
        """
        self.store.crash(committed)
        self.start(self.store, self.face.limits)

    def check_nothing_is_left(self) -> None:
        """Everyone vanishes, and what is under way ends: then no call waits, and nobody is in the
        registry. (Errors that were logged fail the test anyway.)"""
        for peer in self.peers:
            peer.vanish()
        self.let_go()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.check_registry()

    def check_registry(self) -> None:
        """Check that a newcomer finds nobody here."""
        self.face.is_closing = False
        last = self.peer(UNIXAddress(None))
        last.send("/guest zz\n/users\n/quit\n")
        self.settle()
        self.assertIn("* 1 person is in the lobby: zz (guest)\n", last.take())
        self.assertTrue(last.gone)

    def peer(self, address: IAddress | None = None) -> Peer:
        """Connect, and be greeted."""
        peer = self.newcomer(address)
        if isinstance(peer.built, LineProtocol):
            peer.built.dialogue.greet()
        return peer

    def newcomer(self, address: IAddress | None = None) -> Peer:
        """Connect, with the chance to speak first."""
        peer = Peer(self.factory, address or UNIXAddress(None))
        self.peers.append(peer)
        return peer

    def guest(self, name: str) -> Peer:
        """Make a guest who has read everything so far."""
        peer = self.peer()
        self.tell(peer, f"/guest {name}\n")
        return peer

    def robot(self, name: str) -> Peer:
        """Make a guest that speaks JSON and has read everything so far."""
        peer = self.peer()
        self.tell(peer, f"/json on\n/guest {name}\n")
        return peer

    def register(self, name: str, password: str) -> None:
        """Make an account that is not logged in."""
        self.say(self.peer(), f"/register {name} {password}\n/quit\n")

    def turn(self) -> None:
        """Have the reactor do one turn."""
        for peer in self.peers:
            peer.read()
        self.clock.advance(TURN)

    def settle(self) -> None:
        """Turn until nothing is left to do but to wait."""
        for _ in range(100_000):
            soon = self.clock.seconds() + TURN
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
        """Send something, and return what comes back."""
        return self.ask(peer, data, size).decode()

    def ask(self, peer: Peer, data: str | bytes, size: int | None = None) -> bytes:
        """As L{say}, in bytes."""
        self.settle()
        peer.take_bytes()
        peer.send(data, size)
        self.settle()
        return peer.take_bytes()

    def events(self, peer: Peer, data: str | bytes) -> list[Json]:
        """As L{say}, for a peer that speaks JSON."""
        return [json.loads(line) for line in self.say(peer, data).splitlines()]

    def tell(self, peer: Peer, data: str | bytes) -> None:
        """Send something, and forget what came so far and what comes back."""
        peer.send(data)
        self.settle()
        peer.take_bytes()
