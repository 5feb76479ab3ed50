"""The limits, on a daemon that knows of no address that many people have."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

from twisted.trial.unittest import SynchronousTestCase

from tests.daemon import ForkedDaemon

from .terminal import Peer, Terminal, pipe


class StrangersTest(SynchronousTestCase):
    """Loopback has many addresses; each of them is a stranger."""

    options: ClassVar[tuple[str, ...]] = ()

    def serve(self, *options: str) -> None:
        self.daemon = ForkedDaemon("--shared-networks", "", *options, trusted="")
        self.addCleanup(self.daemon.kill)
        self.daemon.start()

    def connect(self, source: str = "127.0.1.1") -> Peer:
        peer = Peer(self.daemon.port, source)
        self.addCleanup(peer.socket.close)
        return peer

    def guest(self, name: str, source: str = "127.0.1.1") -> Peer:
        peer = self.connect(source)
        peer.send(f"/guest {name}\n")
        peer.see("the commands.\n")
        return peer

    @contextmanager
    def terminal(self, *command: str) -> Iterator[Terminal]:
        terminal = Terminal(*command, "localhost", str(self.daemon.port))
        try:
            yield terminal
        finally:
            terminal.close()

    def test_connections_at_once(self) -> None:
        """The limit by address refuses with a sentence, also in nc and telnet; another address may
        connect, and a closed connection makes room."""
        self.serve("--max-per-address", "2")
        sentence = "! your address already has 2 connections; close one first\n"
        here = [self.guest("alice", "127.0.0.1"), self.guest("bob", "127.0.0.1")]
        self.assertEqual(self.connect("127.0.0.1").rest(), sentence)
        for program in "nc", "telnet":
            with self.terminal(program) as terminal:
                terminal.see("! your address already has 2 connections; close one first\r\n")
        self.guest("carol")
        here[0].send("/quit\n")
        here[0].rest()
        self.guest("dave", "127.0.0.1")

    def test_connections_a_minute(self) -> None:
        """Connections of the last minute count although they have ended."""
        self.serve("--connections-per-minute", "3")
        for _ in range(3):
            peer = self.connect()
            peer.send("/quit\n")
            self.assertIn("bye", peer.rest())
        self.assertEqual(
            self.connect().rest(), "! your address connects too often; try again in 20 seconds\n"
        )
        self.guest("carol", "127.0.1.2")

    def test_full(self) -> None:
        """A server that is full tells everybody so, whatever their address, and also if they send
        first."""
        self.serve("--max-connections", "2")
        self.guest("alice"), self.guest("bob")
        for _ in range(3):
            peer = self.connect("127.0.1.2")
            peer.send("/guest carol\nhello\n")
            self.assertEqual(peer.rest(), "! this server is full; try again later\n")

    def test_time_to_log_in(self) -> None:
        """The time to log in is limited for a slow drip as for silence, and ends at login."""
        self.serve("--login-timeout", "1")
        alice, silent, drip = self.guest("alice"), self.connect(), self.connect()
        drip.send("/gue")
        for peer in silent, drip:
            self.assertTrue(peer.rest().endswith("\n* you did not log in within 1 second; bye\n"))
        alice.send("/users\n")
        alice.see("* 1 person is in the lobby: alice (guest)\n")

    def test_waiting(self) -> None:
        """Of too many connections without a login, the oldest one of the address with the most is
        sent away."""
        self.serve("--max-waiting", "3")
        lonely = self.connect("127.0.1.2")
        many = [self.connect() for _ in range(4)]
        for peer in many[:2]:
            self.assertTrue(peer.rest().endswith("* too many others are waiting to log in; bye\n"))
        lonely.send("/guest lonely\n")
        lonely.see("* Welcome, lonely.")

    def test_wrong_passwords(self) -> None:
        """After wrong passwords the address has to wait, also at the prompts; the owner of the
        account elsewhere does not."""
        self.serve("--wrong-passwords", "2")
        pipe(self.daemon.port, "/register alice sesame123\n")
        with self.terminal("nc") as nc:
            nc.see("Name: ")
            nc.type("alice")
            for _ in range(3):
                nc.see("Password: ")
                nc.type("wrong")
                nc.see("! wrong name or password")
            nc.see("Password: ")
            nc.type("sesame123")
            nc.see("! too many wrong passwords from your address; try again in 1 second")
        owner = self.connect("127.0.1.2")
        owner.send("/login alice sesame123\n")
        owner.see("* Welcome, alice.")
        self.assertIn(
            "wrong passwords from 127.0.0.1: logins from there are refused for 1 second",
            "".join(self.daemon.log),
        )

    def test_registrations(self) -> None:
        """Registrations are limited for each address and for all together."""
        self.serve("--registrations-per-address", "1", "--registrations", "2")
        said = [
            pipe(
                self.daemon.port,
                f"/register {name} sesame123\n",
                command=("nc", "-N", "-s", source),
            )
            for name, source in (
                ("ann", "127.0.1.1"),
                ("bea", "127.0.1.1"),
                ("cyd", "127.0.1.2"),
                ("dot", "127.0.1.3"),
            )
        ]
        self.assertIn("* Welcome, ann.", said[0])
        self.assertIn("! your address has registered too many names; try again in 60", said[1])
        self.assertIn("* Welcome, cyd.", said[2])
        self.assertIn("! too many names are being registered right now; try again in 30", said[3])

    def test_lines(self) -> None:
        """A script that sends more lines than the burst is slowed, and all of them are said."""
        self.serve("--line-burst", "5", "--line-rate", "50")
        reader = self.guest("reader", "127.0.1.2")
        lines = "".join(f"line {number}\n" for number in range(40))
        said = pipe(self.daemon.port, f"/guest writer\n{lines}", command=("nc", "-N"))
        self.assertEqual(
            said.count(
                "you're sending fast: the server takes 50 lines a second now; nothing is lost"
            ),
            1,
        )
        for number in range(40):
            self.assertNotIn("line", reader.see(f"writer: line {number}\n")[:-20])

    def test_trusted_account(self) -> None:
        """A bot says as much as it likes."""
        self.serve("--line-burst", "5", "--line-rate", "1", "--trusted-accounts", "bot")
        lines = "".join(f"line {number}\n" for number in range(500))
        said = pipe(self.daemon.port, f"/register bot sesame123\n{lines}")
        self.assertNotIn("sending fast", said)
        again = self.connect("127.0.1.2")
        again.send("/login bot sesame123\n/history 500\n")
        again.see("bot: line 499\n")

    def test_a_peer_that_sends_too_much_before_it_is_in(self) -> None:
        """It is cut off, and the daemon goes on."""
        self.serve("--login-timeout", "1")
        peer = self.connect()
        peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        peer.send("/help\n" * 20)
        peer.rest()
        self.guest("alice", "127.0.1.2")
        self.assertNotIn("Traceback", "".join(self.daemon.log))
