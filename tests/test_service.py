"""The running server: its start, its ports, its clock, and its end."""

import atexit
import re
import signal
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar
from unittest import mock

import twisted.internet
from twisted.application.service import IService, MultiService
from twisted.internet import reactor as _reactor
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol, serverFromString
from twisted.internet.interfaces import IProtocolFactory
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import Clock, deferLater
from twisted.internet.tcp import Port
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.python import usage
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.support import RecordingOutbox
from twisted_chat import endpoints
from twisted_chat import service as service_module
from twisted_chat.core.addresses import AddressList, Networks
from twisted_chat.core.chat import Session
from twisted_chat.core.events import Done
from twisted_chat.core.limits import Limits
from twisted_chat.core.model import SAID, Post
from twisted_chat.faces.admission import Admission
from twisted_chat.faces.proxied import BehindProxies
from twisted_chat.service import CannotStart, HangUp, Listening
from twisted_chat.store import SqlStore
from twisted_chat.tap import Options, makeService

reactor: Any = _reactor

_ANYWHERE = "tcp:0:interface=127.0.0.1"


def _parsed(*arguments: str) -> Options:
    options = Options()
    options.parseOptions(list(arguments))
    return options


class Client(Protocol):
    """The other end of a connection."""

    def __init__(self) -> None:
        self.received = b""
        self.ended: Deferred[None] = Deferred()
        self._expected = b""
        self._seen: Deferred[bytes] | None = None

    def send(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(data)

    def see(self, expected: bytes) -> "Deferred[bytes]":
        """Wait until this has come; gives back all that has."""
        self._expected, self._seen = expected, Deferred()
        seen = self._seen
        self.dataReceived(b"")
        return seen

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        if self._seen is not None and self._expected in self.received:
            seen, self._seen = self._seen, None
            seen.callback(self.received)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.ended.callback(None)


class _LateEndpoint:
    """Listens when it is told to."""

    def __init__(self) -> None:
        self.listening: Deferred[Any] = Deferred()

    def listen(self, factory: object) -> "Deferred[Any]":
        return self.listening


def _lines(case: TestCase) -> list[str]:
    """What is logged from now on."""
    lines: list[str] = []

    def note(event: LogEvent) -> None:
        lines.append(formatEvent(event))

    observer: Any = note
    globalLogPublisher.addObserver(observer)
    case.addCleanup(globalLogPublisher.removeObserver, observer)
    return lines


class _Face:
    """A face that notes its end, and whose peers are gone when it is told that they are."""

    def __init__(self) -> None:
        self.is_told: Deferred[None] = Deferred()
        self.gone: Deferred[None] = Deferred()

    def start(self) -> None:
        """Begin."""

    def pause(self) -> None:
        """Read nothing more."""

    async def hang_up(self, farewell: str, grace: float) -> None:
        self.is_told.callback(None)
        await self.gone


class ServiceTests(TestCase):
    """The service, over real sockets."""

    timeout: ClassVar[int] = 30

    def setUp(self) -> None:
        self.database = Path(self.mktemp()).absolute()

    def make(self, *arguments: str) -> MultiService:
        """A service with a database of its own."""
        service = makeService(
            _parsed("--database", f"sqlite:///{self.database}", "--password-cost", "4", *arguments)
        )
        assert isinstance(service, MultiService)
        return service

    def start(self, *arguments: str) -> MultiService:
        """Start one as twistd does."""
        service = self.make(*arguments)
        service.privilegedStartService()
        service.startService()
        return service

    def port(self, service: MultiService, index: int = 0) -> int:
        """Where it listens, as it says in the log."""
        match = re.fullmatch(r"port (\d+) of 127\.0\.0\.1", str(list(service)[index]))
        assert match is not None
        return int(match[1])

    async def connect(self, port: int) -> Client:
        client = Client()
        await connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", port), client)
        return client

    async def test_faces_end_together(self) -> None:
        """One whose peers are slow to go holds up no other, and the database is closed behind all
        of them."""
        service: Any = self.make("--port", "tcp:0:interface=127.0.0.1")
        slow, other = _Face(), _Face()
        for face in slow, other:
            service.add_face(face, Factory(), (), lambda factory: factory)
        service.startService()
        ended = service.stopService()

        def finish() -> Any:
            for face in slow, other:
                if not face.gone.called:
                    face.gone.callback(None)
            return ended

        self.addCleanup(finish)
        await slow.is_told
        await other.is_told
        other.gone.callback(None)
        self.assertFalse(ended.called)
        slow.gone.callback(None)
        await ended

    async def test_store_that_never_answers(self) -> None:
        """The service ends within ten seconds, says bye, and logs how many messages are in
        doubt."""
        service: Any = self.start("--port", _ANYWHERE)
        alice = await self.connect(self.port(service))
        alice.send(b"/guest alice\n")
        await alice.see(b"the commands.\n")
        store, clock, log = service._store, Clock(), _lines(self)
        self.addCleanup(lambda: Deferred.fromCoroutine(store.close()))  # when it answers again
        posted: Deferred[None] = Deferred()

        async def never() -> None:
            await Deferred()

        self.patch(store, "append", lambda post, number: posted.callback(None))
        self.patch(store, "settle", never)
        self.patch(store, "close", never)
        service._reactor = clock
        alice.send(b"lost\n")
        await posted
        ended = service.stopService()
        while not ended.called:
            clock.advance(1 if clock.getDelayedCalls() else 0)
            await deferLater(reactor, 0)
        self.assertLess(clock.seconds(), 10)
        self.assertTrue(alice.received.endswith(b"* the server is going down; bye\n"))
        self.assertIn("it is not known whether the last posts (1) were stored", "\n".join(log))

    def test_is_a_service(self) -> None:
        """Making it opens nothing."""
        service = self.make("--port", _ANYWHERE)
        self.assertTrue(IService.providedBy(service))
        self.assertFalse(service.running)
        self.assertFalse(self.database.exists())

    async def test_people_join(self) -> None:
        """On every port, under the name of the server and with its message of the day."""
        motd = Path(self.mktemp())
        motd.write_text("Be kind.\n", "utf-8")
        service = self.start(
            "--port", _ANYWHERE, "--port", _ANYWHERE, "--name", "the lab", "--motd", str(motd)
        )
        ports = [self.port(service, index) for index in (0, 1)]
        self.assertNotEqual(*ports)
        alice, bob = [await self.connect(port) for port in ports]
        self.assertIn(b"* Welcome to the lab.", await alice.see(b"Name: "))
        alice.send(b"/register alice wonderland\n")
        self.assertIn(b"* Welcome, alice.", await alice.see(b"* Be kind.\n"))
        bob.send(b"/guest bob\n")
        await alice.see(b"* bob joined\n")
        bob.send(b"hello\n")
        await alice.see(b"] bob: hello\n")
        await service.stopService()
        for client in alice, bob:
            await client.ended
            self.assertTrue(client.received.endswith(b"* the server is going down; bye\n"))

    async def test_what_was_sent_last_is_seen_and_kept(self) -> None:
        """Stopping commits what was accepted, and shows it before it says bye."""
        service = self.start("--port", _ANYWHERE)
        alice, bob = [await self.connect(self.port(service)) for _ in range(2)]
        alice.send(b"/guest alice\n")
        await alice.see(b"the commands.\n")
        bob.send(b"/guest bob\n")
        await bob.see(b"the commands.\n")
        bob.send(b"/me waits\nlast words\n")
        await alice.see(b"* bob waits\n")
        await service.stopService()
        await alice.ended
        await bob.ended
        said = alice.received.partition(b"* bob waits\n")[2]
        self.assertIn(b"] bob: last words\n", said)
        service = self.start("--port", _ANYWHERE)
        carol = await self.connect(self.port(service))
        carol.send(b"/guest carol\n")
        await carol.see(b"] bob: last words\n")
        await service.stopService()
        await carol.ended

    async def test_options_reach_the_parts(self) -> None:
        """Limits and flags."""
        service = self.start(
            *("--port", _ANYWHERE, "--max-connections", "1", "--no-guests"),
            *("--min-password", "12", "--name", "Lab"),
        )
        first = await self.connect(self.port(service))
        first.send(b"/register lab wonderland\n")
        await first.see(b'! the name "lab" is reserved; choose another\n')
        first.send(b"/guest alice\n")
        await first.see(b"! this server admits no guests")
        first.send(b"/register alice wonderland\n")
        await first.see(b"! a password needs at least 12 characters\n")
        second = await self.connect(self.port(service))
        await second.ended
        self.assertEqual(second.received, b"! this server is full; try again later\n")
        await service.stopService()
        await first.ended

    async def test_password_cost(self) -> None:
        """Is that of the passwords in the database."""
        service = self.start("--port", _ANYWHERE)
        alice = await self.connect(self.port(service))
        alice.send(b"/register alice wonderland\n")
        await alice.see(b"* Welcome, alice.")
        await service.stopService()
        await alice.ended
        with closing(sqlite3.connect(self.database)) as database:
            [(password_hash,)] = database.execute("SELECT secret FROM credentials").fetchall()
        self.assertTrue(password_hash.startswith(b"$2b$04$"))

    async def test_port_that_is_taken(self) -> None:
        """Is one sentence, and nothing is left open."""
        service = self.start("--port", _ANYWHERE)
        taken = f"tcp:{self.port(service)}:interface=127.0.0.1"
        error = self.assertRaises(CannotStart, self.make("--port", taken).privilegedStartService)
        self.assertIn(f"cannot listen on port {taken}: ", str(error.code))
        self.assertIn("in use", str(error.code))
        await service.stopService()

    def start_on_a_late_endpoint(self) -> "tuple[MultiService, Deferred[Any], list[str]]":
        """Start one with two ports, of which the second takes its time; gives back the service,
        what the endpoint answers with, and the log."""
        endpoint, log = _LateEndpoint(), _lines(self)

        def server_from_string(reactor: Any, description: str) -> Any:
            return endpoint if description == "late:1" else serverFromString(reactor, description)

        self.patch(endpoints, "serverFromString", server_from_string)
        return self.start("--port", _ANYWHERE, "--port", "late:1"), endpoint.listening, log

    async def test_endpoint_that_listens_later(self) -> None:
        """Is not said to be ready before that, and closed at the end."""
        service, listening, log = self.start_on_a_late_endpoint()
        [ready] = [line for line in log if "ready on" in line]
        self.assertEqual(ready, f"ready on port {self.port(service)} of 127.0.0.1")
        port = MemoryReactorClock().listenUNIX("chat.sock", Factory())
        listening.callback(port)
        self.assertEqual(log[-1], "ready on late:1")
        stopped: list[None] = []
        self.patch(port, "stopListening", lambda: stopped.append(None))
        await service.stopService()
        self.assertEqual(stopped, [None])

    async def test_endpoint_that_fails_later(self) -> None:
        """Ends the process with the sentence: nobody could join there."""
        service, listening, log = self.start_on_a_late_endpoint()
        given_up: list[str] = []
        self.patch(atexit, "register", lambda _: given_up.append("register"))
        self.patch(reactor, "stop", lambda: given_up.append("stop"))
        listening.errback(ConnectionRefusedError("nobody there"))
        self.assertEqual(given_up, ["register", "stop"])
        self.assertEqual(
            log[-1], "twistd chat: cannot listen on port late:1: nobody there; stopping"
        )
        await service.stopService()

    async def test_endpoint_that_never_listens(self) -> None:
        """Is not waited for at the end."""
        service, _, log = self.start_on_a_late_endpoint()
        await service.stopService()
        self.assertFalse([line for line in log if "cannot" in line])

    def test_endpoint_that_makes_no_sense(self) -> None:
        """Is one sentence."""
        for port in "nonsense:1", "tcp:many", "tcp:", "":
            error = self.assertRaises(CannotStart, self.make, "--port", port)
            self.assertIn(f"cannot use the port {port}: ", str(error.code))
            self.assertEqual(len(str(error.code).splitlines()), 1)

    def test_database_that_is_not_supported(self) -> None:
        """Is one sentence."""
        for url in "mysql://localhost/chat", "shopping list":
            options = _parsed("--database", url)
            error = self.assertRaises(CannotStart, makeService, options)
            self.assertTrue(str(error.code).startswith("twistd chat: "))

    def test_wrong_command_line_is_no_usage_error(self) -> None:
        """Which twistd would answer with a page of help."""
        self.assertFalse(issubclass(CannotStart, usage.UsageError))


class ClockTests(TestCase):
    """What the wall clock is set to is not what timers, and old messages, go by."""

    timeout: ClassVar[int] = 30

    def start(self, service: Any) -> None:
        """Start a service that ends with the test, also where that fails."""
        service.privilegedStartService()
        service.startService()
        self.addCleanup(lambda: service.stopService() if service.running else None)

    async def test_old_messages_are_kept_when_the_clock_is_set(self) -> None:
        """Either way: it says so once, and deletes nothing until it is restarted."""
        for jump in 10 * 365 * 86400, -10 * 365 * 86400:
            self.patch(service_module, "_wall_ahead", lambda: 0.0)
            options = _parsed(
                "--port",
                _ANYWHERE,
                "--history-days",
                "30",
                "--database",
                "sqlite:///" + self.mktemp(),
            )
            service: Any = makeService(options)
            clock = service._pruning.clock = Clock()
            asked: list[int] = []

            async def prune(before: int, asked: list[int] = asked) -> int:
                asked.append(before)
                return 0

            async def newest() -> int:
                return 0

            service._store.prune = prune
            service._store.newest = newest
            self.start(service)
            clock.advance(3600)
            self.assertEqual(len(asked), 2)
            self.patch(service_module, "_wall_ahead", lambda jump=jump: float(jump))
            said: list[str] = []

            def warn(line: str, said: list[str] = said, **values: object) -> None:
                said.append(line)

            self.patch(service_module._log, "warn", warn)
            clock.pump([3600] * 3)
            self.assertEqual(len(asked), 2)
            self.assertEqual(len(said), 1)
            self.assertIn("the clock jumped by", said[0])
            await service.stopService()

    async def test_clock_that_is_wrong_from_the_start_deletes_nothing(self) -> None:
        """What is old is so by the newest message: 60 days ahead, a month's log is kept."""
        path = self.mktemp()
        day = 24 * 3600 * 1000
        times = {"old": -31, "young": -29, "newest": 0}
        for ahead, kept in (0, ["young", "newest"]), (60, ["young", "newest"]), (-60, [*times]):
            options = _parsed(
                "--port",
                _ANYWHERE,
                "--history-days",
                "30",
                "--database",
                f"sqlite:///{path}{ahead}",
            )
            store = SqlStore(options["database"], reactor)
            (lobby,) = store.open()
            for text, days in times.items():
                time = service_module.now() + days * day
                store.append(Post(lobby.record, SAID, None, "a", time, text), 1)
            await store.close()
            service: Any = makeService(options)
            start = service_module.now()
            with mock.patch.object(
                service_module, "now", lambda start=start, a=ahead: start + a * day
            ):
                self.start(service)
                await service._delete_old()
                found = await service._store.history(lobby.record.id, 10)
                self.assertEqual([message.text for message in found], kept)
                await service.stopService()

    async def test_labels_are_known_after_a_restart(self) -> None:
        """A post that is repeated then is answered, and not said again."""
        label = "0123456789abcdef"
        url = "sqlite:///" + self.mktemp()
        store = SqlStore(url, reactor)
        (lobby,) = store.open()
        store.append(
            Post(lobby.record, SAID, None, "anna", service_module.now(), "hi", label=label), 1
        )
        await store.close()
        service: Any = makeService(_parsed("--port", _ANYWHERE, "--database", url))
        self.start(service)
        session = Session(RecordingOutbox())
        hold = await service._faces[0].accounts.hold("anna")
        await service._chat.come_as_guest(session, hold)
        service._chat.say(session, "lobby", "hi", label=label)
        assert isinstance(session.outbox, RecordingOutbox)
        self.assertEqual([done.seq for done in session.outbox.of(Done)], [1])
        self.assertEqual(len(await service._store.history(lobby.record.id, 10)), 1)
        await service.stopService()

    def test_timers_follow_a_clock_that_nobody_sets(self) -> None:
        """If none was set by the other clock; if one was, nothing changes, and the log says so."""
        for waiting, changed in (False, True), (True, False):
            reactor: Any = MemoryReactorClock()
            if waiting:
                reactor.callLater(1, lambda: None)
            self.patch(twisted.internet, "reactor", reactor)
            log = _lines(self)
            makeService(_parsed("--database", "sqlite:///" + self.mktemp()))
            self.assertEqual(reactor.seconds is time.monotonic, changed)
            warned = [line for line in log if "timers follow the wall clock" in line]
            self.assertEqual(len(warned), not changed)


def _listening(reactor: Any) -> Listening:
    """A port for which nobody is behind a proxy."""
    factory = Factory.forProtocol(Protocol)
    return Listening(reactor, "5000", factory, lambda inner: inner, lambda why: None)


class AcceptingTests(SynchronousTestCase):
    """How a port accepts connections."""

    def test_few_are_accepted_in_a_turn(self) -> None:
        """Twisted takes 20 more than in the last turn each time it is not enough."""
        memory: Any = MemoryReactorClock()
        listening = _listening(memory)
        listening.privilegedStartService()
        port = Port(0, Factory())
        port.numberAccepts = 21
        [(_, factory, *_)] = memory.tcpServers
        factory.port = port
        self.assertIsInstance(factory.buildProtocol(IPv4Address("TCP", "192.0.2.1", 1)), Protocol)
        self.assertEqual(port.numberAccepts, 1)

    def test_few_of_a_proxy(self) -> None:
        """Connections of a proxy are counted when they are accepted, not when their headers have
        come."""
        memory: Any = MemoryReactorClock()
        chats = Factory.forProtocol(Protocol)

        def behind(factory: IProtocolFactory) -> IProtocolFactory:
            admission = Admission(Limits(), Networks(), memory)
            return BehindProxies(factory, AddressList(["192.0.2.1"]), admission, memory)

        listening = Listening(memory, "5000", chats, behind, lambda why: None)
        listening.privilegedStartService()
        [(_, factory, *_)] = memory.tcpServers
        factory.port = port = Port(0, Factory())
        port.numberAccepts = 21
        factory.buildProtocol(IPv4Address("TCP", "192.0.2.1", 1))
        self.assertEqual(port.numberAccepts, 1)

    def test_name_in_the_log(self) -> None:
        """Twisted's log line about a port names the chat, and no class of ours."""
        memory: Any = MemoryReactorClock()
        listening = _listening(memory)
        listening.privilegedStartService()
        [(_, factory, *_)] = memory.tcpServers
        self.assertEqual(Port(0, factory)._getLogPrefix(factory), "chat")


class HangUpTests(SynchronousTestCase):
    """SIGHUP."""

    def test_handler_that_python_does_not_know(self) -> None:
        """One that was installed outside Python is not put back, and nothing fails."""
        self.addCleanup(signal.signal, signal.SIGHUP, signal.getsignal(signal.SIGHUP))
        hang_up = HangUp(MemoryReactorClock(), lambda: None)
        handler = signal.signal
        self.patch(signal, "signal", lambda *to: (handler(*to), None)[1])
        hang_up.start()
        self.patch(signal, "signal", handler)
        hang_up.stop()
