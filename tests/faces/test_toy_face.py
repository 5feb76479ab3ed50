"""A second face in the fewest lines: the lobby, echoed over UDP datagrams.

It is written against the chassis alone. What a datagram says is said in the lobby by a guest, and
what is said in the lobby comes back in datagrams.
"""

from typing import Any, cast

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IUDPTransport
from twisted.internet.protocol import DatagramProtocol

from tests.faces.line.server import ServerTestCase
from twisted_chat.core.addresses import Source
from twisted_chat.core.chat import LOBBY
from twisted_chat.core.errors import Refusal
from twisted_chat.core.events import Event, Refused, Said
from twisted_chat.core.limits import Limits
from twisted_chat.faces.connection import Connection
from twisted_chat.faces.face import Face

Address = tuple[str, int]


class Echo(DatagramProtocol):
    """A port: a connection for each address that a datagram has come from."""

    def __init__(self, face: Face) -> None:
        self.face = face
        self.echoes: dict[Address, EchoConnection] = {}

    def datagramReceived(self, datagram: bytes, addr: Address) -> None:
        if addr not in self.echoes:
            source = self.face.admission.source(IPv4Address("UDP", *addr))
            refusal = self.face.refusal(source)
            if refusal is not None:
                self.write(refusal, addr)
                return
            self.echoes[addr] = EchoConnection(self, addr, source)
        self.echoes[addr].intake.put(datagram)
        self.echoes[addr].intake.go_on()

    def write(self, text: str, address: Address) -> None:
        cast(IUDPTransport, self.transport).write(text.encode(), address)


class EchoConnection(Connection):
    """One address; also the outbox of its session: a datagram that gets lost is not missed."""

    is_taken = True
    skips = 0

    def __init__(self, port: Echo, address: Address, source: Source) -> None:
        self.port, self.address = port, address
        super().__init__(port.face, self, source)
        self.session.echo = True

    def send(self, events: tuple[Event, ...], /) -> bool:
        for event in events:
            if isinstance(event, Said) and not event.replay:
                self.write(f"{event.message.author}: {event.message.text}")
            elif isinstance(event, Refused):
                self.write(event.text)
        return True

    async def take(self, datagram: bytes, /) -> None:
        chat = self.face.chat
        try:
            if self.session.person is None:
                await chat.come_as_guest(self.session, await self.face.accounts.hold_guest_number())
                self.face.admission.is_in(self)
            await self.intake.until_landed(self.face.limits.max_in_flight)
            chat.say(self.session, LOBBY, datagram.decode("utf-8", "replace"))
        except Refusal as refusal:
            self.write(refusal.text)

    def write(self, text: str) -> None:
        self.port.write(text, self.address)

    def say_bye(self, farewell: str) -> None:
        self.write(farewell)

    def disconnect(self) -> None:
        del self.port.echoes[self.address]
        self.lost()


class Network:
    """What sends datagrams to the port, and keeps those that it sends, by address."""

    def __init__(self) -> None:
        self.sent: list[tuple[Address, str]] = []

    def write(self, datagram: bytes, address: Address) -> None:
        self.sent.append((address, datagram.decode()))


class ToyFaceTests(ServerTestCase):
    """The echo and the line face, side by side on one chat."""

    limits = Limits(max_per_address=2, connections_per_minute=0)
    bob, carol, dave = (("192.0.2.1", port) for port in (1, 2, 3))

    def serve(self, limits: Limits | None = None) -> None:
        super().serve(limits)
        self.udp = Face(
            self.chat, self.accounts, self.admission, self.limits, self.clock, self.face.now
        )
        self.echo = Echo(self.udp)
        self.network = Network()
        self.echo.makeConnection(cast(Any, self.network))

    def check_nothing_is_left(self) -> None:
        self.let_go()
        for echo in list(self.echo.echoes.values()):
            echo.hang_up()
        super().check_nothing_is_left()
        self.assertEqual(self.admission._count, 0)

    def say_by_udp(self, address: Address, *texts: str) -> list[str]:
        """Send datagrams; return what comes back to this address."""
        for text in texts:
            self.echo.datagramReceived(text.encode(), address)
        self.settle()
        sent, self.network.sent = self.network.sent, []
        return [text for to, text in sent if to == address]

    def test_lobby_is_echoed(self) -> None:
        """What is said on either face is heard on both."""
        alice = self.guest("alice")
        self.assertEqual(self.say_by_udp(self.bob, "hello"), ["guest1: hello"])
        self.assertRegex(alice.take(), r"\* guest1 joined\n\[\d\d:\d\d\] guest1: hello\n")
        self.tell(alice, "hi\n")
        self.assertEqual(self.network.sent, [(self.bob, "alice: hi")])

    def test_refusal_is_a_sentence(self) -> None:
        """A refusal comes as a datagram with its sentence."""
        [refusal] = self.say_by_udp(self.bob, "\x07")
        self.assertIn("control character", refusal)

    def test_pace(self) -> None:
        """Datagrams beyond the burst wait, in order."""
        texts = [str(number) for number in range(40)]
        heard = self.say_by_udp(self.bob, *texts)
        self.assertEqual(heard, [f"guest1: {text}" for text in texts[:20]])
        self.clock.pump([0.1] * 50)
        self.assertEqual([entry.text for entry in self.store.entries], texts)

    def test_connections_of_an_address(self) -> None:
        """The connections of an address are counted over all faces, until their sessions are
        over."""
        self.say_by_udp(self.bob, "one")
        self.store.hold()
        self.say_by_udp(self.carol, "two")
        full = ["your address already has 2 connections; close one first"]
        self.assertEqual(self.say_by_udp(self.dave, "three"), full)
        self.echo.echoes[self.carol].hang_up()
        self.assertEqual(self.say_by_udp(self.dave, "three"), full)
        self.let_go()
        self.assertEqual(self.say_by_udp(self.dave, "three"), ["guest3: three"])

    def test_somebody_who_does_not_log_in(self) -> None:
        """A peer that does not log in is sent away in time."""
        self.store.hold()
        self.say_by_udp(self.bob, "one")
        self.clock.advance(61)
        self.assertIn("you did not log in within 60 seconds", self.network.sent[-1][1])

    def test_server_goes_down(self) -> None:
        """Each face says bye to its own connections."""
        alice = self.guest("alice")
        self.say_by_udp(self.bob, "hello")
        alice.take()
        self.chat.close()
        for face in self.face, self.udp:
            face.pause()
            ended = Deferred.fromCoroutine(face.hang_up("going down", 1.0))
            self.settle()
            self.successResultOf(ended)
        self.assertEqual(alice.take(), "* going down\n")
        self.assertEqual(self.network.sent, [(self.bob, "going down")])
        self.udp.is_closing = False
