"""Two daemons behind a real HAProxy, with the documented configuration."""

import os
import re
import signal
import socket
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from twisted.trial.unittest import SynchronousTestCase

from tests.certificates import pem
from tests.daemon import Daemon, ForkedDaemon

from .terminal import TIMEOUT, Peer, pipe, program

_OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"

_PROXY = "127.0.0.9"
"""Where HAProxy connects from; others connect to the daemons directly."""


def _documented() -> str:
    """The configuration in the documentation."""
    [block] = re.findall(r"^```haproxy\n(.*?)^```", _OPERATIONS.read_text("utf-8"), re.M | re.S)
    return str(block)


def _with_tls(daemon: Daemon) -> int:
    found = re.search(r"port (\d+) of \S+ with TLS", "".join(daemon.log))
    assert found is not None
    return int(found[1])


class HAProxyTestCase(SynchronousTestCase):
    """Two daemons, and HAProxy in front of them.

    @ivar port: where HAProxy takes connections to the plain ports of both.
    @ivar tls_port: where it takes connections to their ports with TLS.
    """

    options: ClassVar[tuple[str, ...]] = ()
    trusted: ClassVar[str] = "127.0.0.0/8"
    sends: ClassVar[str] = "send-proxy-v2"
    faster: ClassVar[Sequence[tuple[str, str]]] = ()

    def setUp(self) -> None:
        haproxy = program("haproxy")
        certificates = Path(tempfile.mkdtemp(prefix="chat-"))
        (certificates / "chat.pem").write_bytes(pem("localhost"))
        tls = f"tls:{certificates}:0:interface=127.0.0.1"
        self.one, self.two = (
            ForkedDaemon(
                *("--name", name, "--port", tls, "--proxies", _PROXY, *self.options),
                trusted=self.trusted,
            )
            for name in ("one", "two")
        )
        for daemon in self.one, self.two:
            self.addCleanup(daemon.kill)
            daemon.start()
        plain, with_tls = (socket.create_server(("127.0.0.1", 0)) for _ in range(2))
        self.port, self.tls_port = (each.getsockname()[1] for each in (plain, with_tls))
        self.start_haproxy(haproxy, plain, with_tls)

    def start_haproxy(self, haproxy: str, *listening: socket.socket) -> None:
        """Start HAProxy on these sockets, with the documented configuration."""
        text = _documented()
        for words, others in (
            ("maxconn 20000", "maxconn 1000"),
            ("send-proxy-v2", self.sends),
            *self.faster,
        ):
            self.assertIn(words, text)
            text = text.replace(words, others)
        for port, sock in zip((5000, 5001), listening, strict=True):
            text = text.replace(f"bind :{port}", f"bind fd@{sock.fileno()}")
        for address, daemon in ("10.0.0.11", self.one), ("10.0.0.12", self.two):
            for port, real in (5000, daemon.port), (5001, _with_tls(daemon)):
                text = text.replace(f"{address}:{port}\n", f"127.0.0.1:{real} source {_PROXY}\n")
        path = Path(tempfile.mkdtemp(prefix="chat-")) / "haproxy.cfg"
        path.write_text(text)
        running = subprocess.Popen(
            [haproxy, "-db", "-f", str(path)],
            pass_fds=[sock.fileno() for sock in listening],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.addCleanup(running.wait, TIMEOUT)
        self.addCleanup(running.kill)
        for sock in listening:
            sock.close()

    def connect(self, source: str = "127.0.1.1") -> Peer:
        peer = Peer(self.port, source)
        self.addCleanup(peer.socket.close)
        return peer

    def greeted(self, peer: Peer) -> str:
        """The name of the server that greets a connection."""
        peer.see("* Welcome to ")
        return peer.see(". Type a name")


class HAProxyTests(HAProxyTestCase):
    """People behind HAProxy."""

    def test_nodes_share_people(self) -> None:
        """Connections are divided among the nodes, and the log has no line of them, nor of health
        checks."""
        lines = [len(daemon.log) for daemon in (self.one, self.two)]
        peers = [self.connect() for _ in range(4)]
        names = sorted(self.greeted(peer) for peer in peers)
        self.assertEqual(names, ["one", "one", "two", "two"])
        for peer in peers:
            peer.send("/quit\n")
            self.assertTrue(peer.rest().endswith("* bye\n"))
        self.assertEqual([len(daemon.log) for daemon in (self.one, self.two)], lines)

    def test_half_close(self) -> None:
        """C{nc -N} gets all answers to what it has sent."""
        script = (
            "/guest bot\n" + "".join(f"line {number}\n" for number in range(50)) + "/history 50"
        )
        said = pipe(self.port, script)
        self.assertIn("] bot: line 0\n", said)
        self.assertIn("] bot: line 49\n", said)
        self.assertTrue(said.endswith("* bye\n"), said[-200:])

    def test_tls(self) -> None:
        """TLS goes through HAProxy to the nodes."""
        done = subprocess.run(
            [*(program("openssl"), "s_client", "-quiet", "-connect", f"localhost:{self.tls_port}")],
            input="/guest bot\nhello\n/history\n/quit\n",
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=True,
        )
        self.assertIn("] bot: hello\n", done.stdout)
        self.assertTrue(done.stdout.endswith("* bye\n"))

    def test_node_that_ends(self) -> None:
        """When a node ends, its people are told, and whoever connects is served by the other."""
        peer = self.connect()
        daemon, other = (self.one, "two") if self.greeted(peer) == "one" else (self.two, "one")
        self.assertEqual(daemon.stop(), -signal.SIGTERM)
        self.assertIn("* the server is going down; bye\n", peer.rest())
        self.assertEqual({self.greeted(self.connect()) for _ in range(5)}, {other})


class HealthCheckTests(HAProxyTestCase):
    """HAProxy that looks at the nodes more often than is documented."""

    faster = (("inter 2s", "inter 200ms"), ("timeout check 5s", "timeout check 1s"))

    def test_node_that_hangs(self) -> None:
        """When a node is frozen, its connections are ended, and the other serves everybody."""
        peers = [self.connect(), self.connect()]
        names = [self.greeted(peer) for peer in peers]
        os.kill(self.one.pid, signal.SIGSTOP)
        self.addCleanup(os.kill, self.one.pid, signal.SIGCONT)
        frozen = peers[names.index("one")]
        frozen.socket.settimeout(60)
        frozen.rest()
        self.assertEqual({self.greeted(self.connect()) for _ in range(5)}, {"two"})


class VersionOneTests(HAProxyTestCase):
    """HAProxy that sends headers of version 1."""

    sends = "send-proxy"

    def test_half_close(self) -> None:
        """C{nc -N} gets all answers."""
        said = pipe(self.port, "/guest bot\nhello\n/history\n")
        self.assertIn("] bot: hello\n", said)
        self.assertTrue(said.endswith("* bye\n"))


class StrangersTests(HAProxyTestCase):
    """People with limits behind HAProxy."""

    options = ("--shared-networks", "", "--max-per-address", "2", "--wrong-passwords", "0")
    trusted = ""

    def test_limits_by_address(self) -> None:
        """The limits apply to the address of each client, not to that of HAProxy."""
        for _ in range(4):
            self.greeted(self.connect("127.0.1.1"))
        sentence = "! your address already has 2 connections; close one first\n"
        self.assertEqual(self.connect("127.0.1.1").rest(), sentence)
        for _ in range(4):
            self.greeted(self.connect("127.0.1.2"))
        self.assertEqual(self.connect("127.0.1.2").rest(), sentence)

    def test_address_in_the_log(self) -> None:
        """The log names the address of a client that guesses passwords."""
        peer = self.connect("127.0.1.3")
        daemon = self.one if self.greeted(peer) == "one" else self.two
        peer.send("/register alice wonderland\n")
        peer.see("* Welcome, alice.")
        peer.send("/passwd wrong-password new-wonderland\n")
        peer.see("! ")
        daemon.wait_for("wrong passwords from 127.0.1.3")
