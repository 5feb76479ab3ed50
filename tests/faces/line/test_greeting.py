"""The greeting, the prompt for a name, and the time that somebody has to log in."""

import socket

from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.interfaces import IAddress

from twisted_chat.core.limits import Limits
from twisted_chat.faces.line.dialogue import Settings

from .server import (
    GREETING,
    Peer,
    ServerTestCase,
    TlsTransport,
)


class GreetingTests(ServerTestCase):
    """The greeting, and the answers to the C{Name:} prompt."""

    def test_greeting_and_prompt(self) -> None:
        """A connection gets the greeting and the prompt, and no other byte."""
        self.assertEqual(self.peer().take(), f"{GREETING}Name: ")

    def test_prompt_comes_again_until_somebody_is_in(self) -> None:
        """The prompt comes again after each line until somebody is logged in."""
        peer = self.peer()
        self.assertTrue(self.say(peer, "...\n").endswith("\nName: "))
        self.assertTrue(self.say(peer, "/help help\n").endswith("\nName: "))
        self.assertNotIn("Name: ", self.say(peer, "\n"))
        self.assertNotIn("Name: ", self.say(peer, "hello\n/users\n/nonsense\n"))

    def test_no_prompt_between_lines_that_came_together(self) -> None:
        """Lines that came together have no prompt between them."""
        self.assertNotIn("Name: ", self.say(self.peer(), "/help help\n/help help\n\n"))

    def test_enter_is_a_guest(self) -> None:
        """Enter makes a guest with a generated name."""
        self.assertIn(
            "* Welcome, guest1. You are a guest; /register NAME makes a name yours.\n",
            self.say(self.peer(), "\n"),
        )

    def test_new_name_and_password_registers(self) -> None:
        """A new name is offered registration, and the password makes it an account."""
        peer = self.peer()
        offer = self.say(peer, "alice\n")
        self.assertIn('* "alice" is new. Choose a password', offer)
        self.assertIn("New password: ", offer)
        self.assertIn("Again: ", self.say(peer, "wonderland\n"))
        self.assertIn("* Welcome, alice.\n", self.say(peer, "wonderland\n"))
        self.assertIn("lobby: alice\n", self.say(peer, "/users\n"))

    def test_registered_name_is_asked_for_its_password(self) -> None:
        """A registered name is asked for its password until it is right; Enter leads back to the
        prompt."""
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
        """A password is never said, whatever it looks like; a new one must not look like a
        command."""
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
            "! that looks like a command, not a password; press Enter to skip this question\n",
            self.say(peer, "/users 123\n"),
        )
        self.assertEqual(self.messages, [])

    def test_connection_probes_a_peer_that_may_have_vanished(self) -> None:
        """On a TCP connection keepalive is on, and small writes are sent at once."""
        peer = self.peer(IPv4Address("TCP", "192.0.2.1", 4000))
        self.assertIn(("keepalive", True), peer.transport.options)
        self.assertIn(("nodelay", True), peer.transport.options)
        self.assertIn((socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60), peer.transport.options)
        self.assertEqual(self.peer().transport.options, [])

    def test_peer_that_confirms_nothing_is_given_up(self) -> None:
        """A peer that acknowledges nothing is given up after two keepalives, at most two minutes,
        but not before C{--stuck-after}."""
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
        """A connection with TLS is greeted, and TCP options are set on its socket."""
        self.patch(Peer, "transport_class", TlsTransport)
        peer = self.peer(IPv4Address("TCP", "192.0.2.1", 4000))
        self.assertTrue(peer.take().startswith(GREETING))
        self.assertIn(("keepalive", True), peer.transport.options)
        assert isinstance(peer.transport, TlsTransport)
        options = peer.transport.transport.options
        self.assertIn((socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60), options)
        self.assertIn((socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 120_000), options)

    def test_refused_over_TLS_is_cut_off(self) -> None:
        """A refused connection with TLS is cut off if it does not end its side, or the
        handshake."""
        self.serve(Limits(max_connections=1))
        self.patch(Peer, "transport_class", TlsTransport)
        self.guest("alice")
        refused = self.peer(IPv4Address("TCP", "192.0.2.1", 4000))
        self.assertEqual(refused.take(), "! this server is full; try again later\n")
        self.assertTrue(refused.transport.disconnecting)
        self.clock.advance(5)
        self.assertTrue(refused.transport.disconnected)


class ClosedServerTests(ServerTestCase):
    """A server without guests and without registration."""

    settings = Settings("chat", allow_guests=False, allow_registration=False)

    def check_registry(self) -> None:
        """A connection that never logged in leaves nothing behind."""

    def test_forbidden(self) -> None:
        """Each way to log in that the server does not offer is refused, and the prompt stays."""
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


class AtTheDoorTests(ServerTestCase):
    """The time to log in, and the number of connections that have not."""

    limits = Limits(max_waiting=3, stuck_after=600)
    far = IPv4Address("TCP", "192.0.2.1", 4000)

    def late(self, before: str, after: str = "", address: IAddress | None = None) -> Peer:
        """Send something, and let a minute pass; return what the peer sees before it is gone."""
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

    def test_a_minute_to_log_in(self) -> None:
        """A connection is sent away after a minute, whatever was typed; at a password prompt,
        typing is shown again first."""
        bye = "* you did not log in within 60 seconds; bye\n"
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
        """Each line begins the minute anew; bytes without the end of a line do not."""
        newcomer, drip = self.peer(self.far), self.peer(self.far)
        for _ in range(3):
            self.clock.advance(25)
            self.tell(newcomer, "/help\n")
            self.tell(drip, "/help ")
        self.assertFalse(newcomer.gone)
        self.assertTrue(drip.transport.disconnecting)
        self.assertIn("* Welcome, alice.", self.say(newcomer, "/guest alice\n"))

    def test_in_JSON(self) -> None:
        """In JSON mode the farewell is a bye event."""
        peer = self.peer(self.far)
        self.tell(peer, "/json on\n")
        self.clock.advance(61)
        [bye] = peer.take_events()
        self.assertEqual(
            (bye["event"], bye["text"]), ("bye", "you did not log in within 60 seconds; bye")
        )

    def test_who_is_in_has_time(self) -> None:
        """A session that is logged in is not sent away."""
        peers = [self.peer(self.far) for _ in range(3)]
        for peer, hello in zip(
            peers, ("\n", "bob\n\n", "/register alice sesame123\n"), strict=True
        ):
            self.tell(peer, hello)
        self.clock.advance(1000)
        self.settle()
        self.assertEqual([peer.gone for peer in peers], [False] * 3)

    def test_a_drip_is_not_somebody_who_comes_in(self) -> None:
        """A peer that sends a byte a second, and never ends a line, is sent away."""
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
        """A peer that does not read is sent away, also if it takes a little now and then."""
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
        """A half-closed peer that does not read is sent away."""
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
        """If a peer is sent away while its password is checked, its name is free and nobody is
        logged in."""
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
        """When too many wait, the oldest is sent away with a sentence."""
        peers = [self.peer(self.far) for _ in range(5)]
        for number, peer in enumerate(peers):
            said = peer.take()
            self.assertEqual("\n* too many others are waiting to log in; bye\n" in said, number < 2)
        self.settle()
        self.assertEqual([peer.gone for peer in peers], [True, True, False, False, False])

    def test_connections_a_minute(self) -> None:
        """A connection beyond the limit per minute is told when to try again."""
        self.serve(Limits(max_waiting=0))
        peers = [self.peer(self.far) for _ in range(31)]
        self.assertEqual(
            peers[-1].take(), "! your address connects too often; try again in 2 seconds\n"
        )
        self.assertTrue(peers[-2].take().startswith(GREETING))
