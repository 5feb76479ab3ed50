"""What C{--port} may say, and the ports that several processes listen on."""

import socket
from pathlib import Path
from typing import Any, ClassVar

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.certificates import pem
from twisted_chat.endpoints import ReuseEndpoint, place
from twisted_chat.tls import CertificateError

reactor: Any = _reactor


class _MemoryReactor(Clock):
    """Notes what is listened on."""

    def __init__(self) -> None:
        super().__init__()
        self.bound: list[tuple[int, int, str]] = []

    def listenTCP(self, port: int, factory: Any, backlog: int, interface: str) -> object:
        self.bound.append((port, backlog, interface))
        return object()


class PlaceTests(SynchronousTestCase):
    """What a description means."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        self.file = self.directory / "a:b.pem"
        self.file.write_bytes(pem("chat"))
        self.quoted = str(self.file).replace(":", r"\:")

    def bound(self, description: str, *, has_tls: bool = False) -> tuple[int, int, str]:
        """Listen, and return the port, the backlog and the interface."""
        memory = _MemoryReactor()
        found = place(memory, description)
        self.assertEqual(found.certificates is not None, has_tls)
        self.successResultOf(found.endpoint.listen(Factory()))
        [bound] = memory.bound
        return bound

    def test_number(self) -> None:
        """A number listens on all IPv4 addresses, or where its fields say."""
        self.assertEqual(self.bound("5000"), (5000, 4096, ""))
        self.assertEqual(self.bound("5000:interface=127.0.0.1"), (5000, 4096, "127.0.0.1"))
        self.assertEqual(self.bound(r"5000:interface=\:\:1:backlog=5"), (5000, 5, "::1"))

    def test_tcp(self) -> None:
        """C{tcp:} and C{tcp6:} take what Twisted's endpoints take, with the backlog of a number."""
        self.assertEqual(self.bound("tcp:5000"), (5000, 4096, ""))
        self.assertEqual(self.bound("tcp:port=5000:interface=127.0.0.1")[2], "127.0.0.1")
        self.assertEqual(self.bound("tcp6:5000"), (5000, 4096, "::"))
        self.assertEqual(self.bound(r"tcp6:5000:interface=\:\:1:backlog=50"), (5000, 50, "::1"))

    def test_directory(self) -> None:
        """C{tls:} listens on IPv6 if nothing else is said."""
        where = f"tls:{self.directory}:5001"
        self.assertEqual(self.bound(where, has_tls=True), (5001, 4096, "::"))
        there = self.bound(f"{where}:interface=127.0.0.1:backlog=5", has_tls=True)
        self.assertEqual(there, (5001, 5, "127.0.0.1"))

    def test_file(self) -> None:
        """C{ssl:} listens on IPv4 if nothing else is said."""
        where = f"ssl:5001:privateKey={self.quoted}"
        self.assertEqual(self.bound(where, has_tls=True), (5001, 4096, ""))
        there = self.bound(rf"{where}:certKey={self.quoted}:interface=\:\:1", has_tls=True)
        self.assertEqual(there, (5001, 4096, "::1"))

    def test_reuse(self) -> None:
        """C{reuse:} goes with every TCP port."""
        for description in (
            *("5000", "5000:interface=127.0.0.1", "tcp:5000", "tcp6:5000"),
            *(f"tls:{self.directory}:5001", f"ssl:5001:privateKey={self.quoted}"),
        ):
            found = place(_MemoryReactor(), f"reuse:{description}")
            self.assertIsInstance(found.endpoint, ReuseEndpoint, description)
            self.assertEqual(found.certificates is not None, "5001" in description)

    def test_other_endpoints(self) -> None:
        """Any other endpoint of Twisted's is taken as it is."""
        found = place(reactor, "unix:/run/tls:mode=660")
        self.assertEqual(type(found.endpoint).__name__, "UNIXServerEndpoint")
        self.assertIsNone(found.certificates)

    def test_wrong_description(self) -> None:
        """A description that makes no sense is refused with a sentence."""
        for description, words in (
            ("tcp:", "tcp: needs a port"),
            ("tcp:many", "there is no port many"),
            ("70000:interface=127.0.0.1", "there is no port 70000"),
            ("5000:x", 'tcp: has no "x"'),
            ("5000:backlog=many", "backlog= needs a whole number"),
            ("tls:", "needs a path"),
            (f"tls:{self.directory}", "needs a port"),
            (f"tls:{self.directory}:http", "there is no port http"),
            (f"tls:{self.directory}:70000", "there is no port 70000"),
            (f"tls:{self.directory}:5001:x", 'tls: has no "x"'),
            (f"tls:{self.directory}:5001:dhParameters=x", 'tls: has no "dhParameters"'),
            ("ssl:5001", "needs a privateKey"),
            ("ssl:5001:privateKey=x:sslmethod=SSLv3_METHOD", 'ssl: has no "sslmethod"'),
            ("haproxy:tcp:5000", "name the proxy in --proxies"),
            (f"haproxy:tls:{self.directory}:5001", "name the proxy in --proxies"),
            ("reuse:unix:/run/chat.sock", "reuse: goes with a port number"),
            ("reuse:", "reuse: goes with a port number"),
        ):
            error = self.assertRaises(ValueError, place, reactor, description)
            self.assertIn(words, str(error), description)

    def test_wrong_certificate(self) -> None:
        """A certificate that cannot be used is refused before anything listens."""
        for description, words in (
            ("tls:/nonexistent:5001", "there is no directory /nonexistent"),
            (f"tls:{self.quoted}:5001", "there is no directory "),
            ("ssl:5001:privateKey=/nonexistent", "cannot read /nonexistent: No such file"),
        ):
            error = self.assertRaises(CertificateError, place, reactor, description)
            self.assertIn(words, str(error))


class ReuseTests(TestCase):
    """A port that several processes listen on, over real sockets."""

    timeout: ClassVar[int] = 30

    async def listen(self, port: int, factory: Factory, interface: str = "127.0.0.1") -> Any:
        listening: Any = await ReuseEndpoint(reactor, port, 10, interface).listen(factory)
        self.addCleanup(listening.stopListening)
        return listening

    async def test_two_share_a_port(self) -> None:
        """Two that listen on one port both get connections, and the second all of them when the
        first listens no more."""
        served: list[tuple[str, Protocol]] = []
        arrived: list[Deferred[None]] = []

        def factory(name: str) -> Factory:
            def made() -> Protocol:
                protocol = Protocol()
                served.append((name, protocol))
                if arrived:
                    arrived.pop().callback(None)
                return protocol

            return Factory.forProtocol(made)

        async def connect() -> str:
            arrival: Deferred[None] = Deferred()
            arrived.append(arrival)
            client = await connectProtocol(TCP4ClientEndpoint(reactor, *where), Protocol())
            await arrival
            client.transport.abortConnection()
            return served[-1][0]

        first = await self.listen(0, factory("first"))
        where = "127.0.0.1", first.getHost().port
        await self.listen(where[1], factory("second"))
        seen = set()
        for _ in range(200):  # chosen by a hash of both addresses, so both of them soon
            seen.add(await connect())
            if len(seen) == 2:
                break
        self.assertEqual(seen, {"first", "second"})
        await first.stopListening()
        self.assertEqual({await connect() for _ in range(20)}, {"second"})

    async def test_IPv6(self) -> None:
        """An IPv6 interface is listened on."""
        listening = await self.listen(0, Factory.forProtocol(Protocol), "::1")
        self.assertEqual(listening.getHost().host, "::1")

    async def test_port_that_is_not_shared(self) -> None:
        """A port on which another listens without SO_REUSEPORT is refused, and no socket is left
        open."""
        with socket.create_server(("127.0.0.1", 0)) as other:
            endpoint = ReuseEndpoint(reactor, other.getsockname()[1], 10, "127.0.0.1")
            failure = self.failureResultOf(endpoint.listen(Factory()), CannotListenError)
            self.assertIn("in use", str(failure.value.socketError))
