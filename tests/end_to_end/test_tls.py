"""TLS, with the programs that people join with and a certificate as the documentation makes it."""

import os
import re
import shlex
import signal
import socket
import ssl
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.certificates import certificate_pem, key_pem, make_key, pem
from tests.daemon import Daemon, ForkedDaemon, twistd

from .terminal import TIMEOUT, DaemonTestCase, Peer, Terminal, program

_OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"


def _documented(words: str) -> list[str]:
    """The command line in the documentation that has these words."""
    page = _OPERATIONS.read_text("utf-8").replace("\\\n", "")
    [line] = [line for line in page.splitlines() if line.strip().startswith(words)]
    return shlex.split(line)


def _tls_port(daemon: Daemon) -> int:
    found = re.search(r"port (\d+) of \S+ with TLS", "".join(daemon.log))
    assert found is not None
    return int(found[1])


class TlsTestCase(DaemonTestCase):
    """A daemon with a plain port and one with TLS.

    @ivar certificates: the directory of the latter.
    """

    def setUp(self) -> None:
        self.certificates = Path(tempfile.mkdtemp(prefix="chat-"))
        self.make_certificate()
        self.options = (*self.options, "--port", f"tls:{self.certificates}:0:interface=127.0.0.1")
        super().setUp()
        self.port = _tls_port(self.daemon)

    def make_certificate(self) -> None:
        (self.certificates / "chat.pem").write_bytes(pem("localhost"))

    def shown(self) -> str:
        """Whose certificate is shown to somebody who connects now."""
        context = ssl.create_default_context(cadata=self.trusted())
        context.check_hostname = False
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=TIMEOUT)
        with context.wrap_socket(plain) as sock:
            shown: Any = sock.getpeercert()
        return str(shown["subjectAltName"][0][1])

    def trusted(self) -> str:
        text = (self.certificates / "chat.pem").read_text()
        return text[text.index("-----BEGIN CERTIFICATE") :]


class ProgramsTest(TlsTestCase):
    """A real program on a pseudo-terminal."""

    def make_certificate(self) -> None:
        command = [
            word.replace("/etc/chat/certs", str(self.certificates))
            for word in _documented("openssl req -x509")
        ]
        subprocess.run([program(command[0]), *command[1:]], check=True, capture_output=True)

    def join(self, words: str) -> Terminal:
        """Join with the documented command."""
        return self.terminal(*self.command(words))

    def command(self, words: str) -> list[str]:
        """The documented command."""
        return [
            word.replace("chat.lan", "localhost")
            .replace("5001", str(self.port))
            .replace("ca.pem", str(self.certificates / "chat.pem"))
            for word in _documented(words)
        ]

    def talk(self, words: str) -> None:
        """Register, say something, hear something, and leave."""
        bob = self.guest("bob")
        alice = self.join(words)
        alice.see("Name: ")
        alice.type("alice")
        for prompt in "New password: ", "Again: ":
            alice.see(prompt)
            alice.type("wonderland")
        alice.see("* Welcome, alice.")
        alice.see("the commands.")
        alice.type("over TLS")
        bob.see("] alice: over TLS\n")
        bob.send("on plain TCP\n")
        alice.see("] bob: on plain TCP")
        alice.type("/quit")
        alice.see("* bye")
        alice.type("")  # ncat takes one line more to notice
        alice.see_end()
        bob.see("* alice left\n")
        self.assertNoTraceback()

    def test_openssl(self) -> None:
        """C{openssl s_client -quiet}."""
        self.talk("openssl s_client -quiet -verify_return_error")

    def test_ncat(self) -> None:
        """C{ncat --ssl}."""
        self.talk("ncat --ssl")

    def test_socat(self) -> None:
        """C{socat STDIO OPENSSL:…}."""
        self.talk("socat STDIO OPENSSL:chat.lan")

    def test_pipe(self) -> None:
        """A script that says C{/quit} at the end has all of its answers."""
        done = subprocess.run(
            [program("openssl"), "s_client", "-quiet", "-connect", f"localhost:{self.port}"],
            input="/register bot s3cret-pw\nQuit is no command\nhello\n/history\n/quit\n",
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=True,
        )
        self.assertIn("] bot: Quit is no command\n", done.stdout)
        self.assertIn("] bot: hello\n", done.stdout)
        self.assertTrue(done.stdout.endswith("* bye\n"))

    def test_pipe_that_ends_without_a_word(self) -> None:
        """What a script has said is said although it ends without waiting for the answers, also if
        the server was slow."""
        bob = self.guest("bob")
        script = "/register bot s3cret-pw\n" + "".join(f"line {n}\n" for n in range(200))
        for words in "ncat --ssl", "socat STDIO OPENSSL:chat.lan":
            subprocess.run(
                self.command(words),
                input=script.replace("bot", words[:4]),
                capture_output=True,
                text=True,
                timeout=TIMEOUT,
                check=True,
            )
            for n in range(200):
                bob.see(f"] {words[:4]}: line {n}\n")
            bob.see(f"* {words[:4]} left\n")
        self.assertNoTraceback()

    def refused(self, *options: str, said: str = "") -> str:
        """What C{openssl s_client} shows of a connection that does not come about."""
        done = subprocess.run(
            [program("openssl"), "s_client", "-connect", f"localhost:{self.port}", *options],
            input=said,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
        self.assertNotEqual(done.returncode, 0)
        return done.stdout + done.stderr

    def test_old_versions(self) -> None:
        """TLS 1.1 and what is before it are refused."""
        for version in "-tls1", "-tls1_1":
            shown = self.refused(version, "-cipher", "ALL:@SECLEVEL=0")
            self.assertIn("alert protocol version", shown)

    def test_without_TLS(self) -> None:
        """Programs are told at once what they should speak, and a browser in its own protocol."""
        bob = self.guest("bob")
        for says, answer in (
            ("/guest alice\nhello\n", "! this port speaks TLS; join with openssl s_client"),
            ("POST / HTTP/1.1\r\n\r\nhello\n", "HTTP/1.1 400 Bad Request\r\n"),
        ):
            with Peer(self.port) as peer:
                peer.send(says)
                self.assertTrue(peer.rest().startswith(answer))
        bob.send("/users\n")
        self.assertEqual(bob.see("* 1 person is in the lobby"), "")
        self.assertNoTraceback()

    def test_browser_with_TLS(self) -> None:
        """A browser is answered in its own protocol."""
        done = subprocess.run(
            [
                program("curl"),
                "-sSk",
                "--data-binary",
                "hello\n",
                f"https://localhost:{self.port}/",
            ],
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=True,
        )
        self.assertIn("This is a chat server, not a web server.\n", done.stdout)

    def test_renegotiation(self) -> None:
        """Renegotiation is refused."""
        shown = self.refused("-tls1_2", said="R\n")
        self.assertIn("RENEGOTIATING", shown)
        self.assertIn("no renegotiation", shown)


class ChangeTest(TlsTestCase):
    """New certificates and SIGHUP, while somebody is here."""

    def setUp(self) -> None:
        self.motd = Path(tempfile.mkdtemp(prefix="chat-")) / "motd"
        self.motd.write_text("Be kind.\n")
        self.options = ("--motd", str(self.motd))
        super().setUp()

    def hang_up(self, expected: str) -> None:
        """Send SIGHUP, and wait until the log says this."""
        before = len(self.daemon.log)
        os.kill(self.daemon.pid, signal.SIGHUP)
        self.daemon.wait_for(expected, before)

    def test_new_certificate_on_SIGHUP(self) -> None:
        """After SIGHUP new connections are shown the new certificate, and old ones go on; a broken
        one is refused."""
        alice = self.guest("alice")
        self.assertEqual(self.shown(), "localhost")
        (self.certificates / "chat.pem").write_bytes(pem("new.example"))
        self.hang_up("certificate of new.example, until ")
        self.assertEqual(self.shown(), "new.example")
        trusted = self.trusted()
        key = make_key()
        broken = key_pem(make_key()) + certificate_pem(key, "broken.example")
        (self.certificates / "chat.pem").write_bytes(broken)
        self.hang_up("keeping the old certificate: the key in ")
        self.trusted = lambda: trusted  # type: ignore[method-assign]
        self.assertEqual(self.shown(), "new.example")
        alice.send("/users\n")
        alice.see("* 1 person is in the lobby")
        self.assertNoTraceback()

    def test_new_motd_on_SIGHUP(self) -> None:
        """After SIGHUP new sessions are shown the new message of the day; a broken one is
        refused."""
        self.motd.write_text("Be brief.\n")
        # No line in the log says that all is well, so it comes from a file that is not.
        (self.certificates / "chat.pem").write_bytes(b"")
        self.hang_up("keeping the old certificate: ")
        with Peer(self.daemon.port) as peer:
            peer.send("/guest bob\n")
            peer.see("* Be brief.\n")
        self.motd.write_bytes(b"\xff")
        self.hang_up("keeping the old message of the day: cannot read ")
        with Peer(self.daemon.port) as peer:
            peer.send("/guest carol\n")
            peer.see("* Be brief.\n")


class TerminalTest(SynchronousTestCase):
    def test_terminal_that_goes_away(self) -> None:
        """The SIGHUP of a terminal that goes away ends the daemon if there is nothing to read
        again."""
        directory = tempfile.mkdtemp(prefix="chat-")
        command = twistd("--port", "tcp:0:interface=127.0.0.1", "--database", "sqlite:///chat.db")
        terminal = Terminal("env", "-C", directory, *command)
        self.addCleanup(terminal.close)
        terminal.see("ready on port ")
        port = int(terminal.see(" of 127.0.0.1"))
        with Peer(port) as peer:
            peer.see("Name: ")
            terminal.child.ptyproc.fileobj.close()  # what closing the window does
            self.assertTrue(peer.rest().endswith("* the server is going down; bye\n"))


class StartTest(DaemonTestCase):
    """What the log says of the ports."""

    options = ("--port", "tcp:0:interface=127.0.0.2", "--port", "unix:chat.sock")

    def test_loopback(self) -> None:
        """The daemon does not warn of plain text on loopback or on a UNIX socket."""
        self.assertNotIn("unencrypted", "".join(self.daemon.log))

    def test_beyond_loopback(self) -> None:
        """The daemon warns of plain text elsewhere, in one line for each port."""
        with ForkedDaemon("--port", "tcp:0:interface=0.0.0.0", "--port", "tcp6:0") as daemon:
            log = "".join(daemon.log)
        for host in r"0\.0\.0\.0", "::":
            self.assertRegex(
                log, rf"passwords cross the network unencrypted on port \d+ of {host};"
            )
        self.assertEqual(log.count("unencrypted"), 2)
