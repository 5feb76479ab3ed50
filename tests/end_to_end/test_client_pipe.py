"""C{twisted-chat} in a pipe: real processes, a real daemon, and a daemon that is killed."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.client.certificates import Certificates
from tests.daemon import ForkedDaemon, environment
from tests.forks import Forked, client

from .terminal import TIMEOUT, DaemonTestCase, Peer

COMMAND = str(Path(sys.executable).with_name("twisted-chat"))

ENVIRONMENT = environment(XDG_CONFIG_HOME="/nonexistent")

Child = subprocess.Popen[bytes]


def start(*arguments: str, **options: Any) -> Child:
    """The command, with nothing to read and nobody to read it unless told otherwise."""
    given: dict[str, Any] = {
        "stdin": subprocess.DEVNULL,
        "stdout": subprocess.DEVNULL,
        "stderr": subprocess.PIPE,
        "env": ENVIRONMENT,
        **options,
    }
    return subprocess.Popen([COMMAND, *arguments], **given)


def run(
    *arguments: str, input: bytes = b"", env: dict[str, str] | None = None
) -> tuple[int, str, str]:
    """Run the command with an input; gives back its exit code, output and complaints."""
    pipes = [os.pipe() for _ in range(3)]
    (stdin, given), (out, stdout), (err, stderr) = pipes
    child = Forked(
        client,
        [COMMAND, *arguments],
        cwd=Path.cwd(),
        env=env or ENVIRONMENT,
        streams=(stdin, stdout, stderr),
    )
    for end in stdin, stdout, stderr:
        os.close(end)
    patience = threading.Timer(TIMEOUT, child.kill)
    patience.start()
    feeder = threading.Thread(target=_feed, args=(given, input))
    feeder.start()
    with open(out) as printed, open(err) as complained:
        output, complaints = printed.read(), complained.read()
    patience.cancel()
    feeder.join()
    return child.wait(TIMEOUT), output, complaints


def _feed(pipe: int, input: bytes) -> None:
    try:
        with open(pipe, "wb") as file:
            file.write(input)
    except BrokenPipeError:
        pass  # the program has ended


class ClientTestCase(DaemonTestCase):
    """A daemon, and how the client is told of it."""

    @property
    def there(self) -> tuple[str, str]:
        return "127.0.0.1", str(self.daemon.port)

    def child(self, *arguments: str, **options: Any) -> Child:
        """A client that is ended with the test."""
        child = start(*self.there, *arguments, **options)

        def end() -> None:
            child.kill()
            child.wait()
            for end in (child.stdin, child.stdout, child.stderr):
                if end is not None:
                    end.close()

        self.addCleanup(end)
        return child

    def post(self, input: bytes, *arguments: str) -> tuple[int, str, str]:
        return run(*self.there, *arguments, input=input)

    def said(self, room: str, count: int = 1000) -> list[str]:
        """What is in a room's log."""
        with Peer(self.daemon.port) as peer:
            peer.send(f"/json on\n/guest\n/join {room}\n/history {count}\n/quit\n")
            events = [json.loads(x) for x in peer.rest().splitlines() if x.startswith("{")]
        ends = [i for i, event in enumerate(events) if event["event"] == "history"]
        return [event["text"] for event in events[ends[-2] + 1 :] if event["event"] == "message"]


class PostTests(ClientTestCase):
    """Lines in."""

    def test_done(self) -> None:
        """C{echo done | twisted-chat} posts, has its receipt, prints nothing and exits 0."""
        self.assertEqual(self.post(b"done\n", "--room", "ops"), (0, "", ""))
        self.assertEqual(self.said("ops"), ["done"])

    def test_account(self) -> None:
        """Who posts to one room hears nothing of the other rooms of the account, and has read only
        what was printed."""
        account = "s3cret-pw"
        with Peer(self.daemon.port) as peer:
            peer.send(f"/register alice {account}\n/join dev\n/join ops\n/quit\n")
            peer.rest()
        with Peer(self.daemon.port) as peer:
            peer.send("/register bob s3cret-pw\n/join dev\nmoin\n/bc hej\n/dm alice psst\n/quit\n")
            peer.rest()
        options = ("--name", "alice", "--room", "ops")
        environment = {**ENVIRONMENT, "TWISTED_CHAT_PASSWORD": account}
        done = run(*self.there, *options, input=b"deployed\n", env=environment)
        self.assertEqual(done, (0, "", ""))
        code, output, _ = run(*self.there, *options, "--json", input=b"again\n", env=environment)
        self.assertEqual(code, 0)
        events = [json.loads(line) for line in output.splitlines()]
        rooms = {event["room"] for event in events if "room" in event}
        self.assertEqual({room for room in rooms if not room.startswith("@")}, {"ops"})
        self.assertIn("psst", [event.get("text") for event in events])
        with Peer(self.daemon.port) as peer:
            peer.send(f"/json on\n/login alice {account}\n/quit\n")
            told = [json.loads(x) for x in peer.rest().splitlines() if x.startswith("{")]
        new = {row["room"]: row["new"] for event in told for row in event.get("rooms", [])}
        self.assertEqual(new, {"lobby": 1, "dev": 1, "ops": 0})
        self.assertNotIn("unread", [event["event"] for event in told])

    def test_literally(self) -> None:
        """With C{--raw}, whatever a line looks like, it is said as it is; an empty one says
        nothing."""
        lines = ["/quit", "!users", '"quoted"', "PM", "exit", "//x", "  indented", "é 👩‍🚀", "a\tb"]
        text = "\n".join(["", *lines, "", "no newline"])
        self.assertEqual(self.post(text.encode(), "--room", "ops", "--raw"), (0, "", ""))
        self.assertEqual(self.said("ops"), [*lines[:-1], "a    b", "no newline"])

    def test_commands_are_refused(self) -> None:
        """A line that looks like a command is refused by its name and its number, and nothing of
        it is posted; text is."""
        lines = [
            "/dm alice s3cret",
            "one",
            "\u3000/login alice s3cret",
            "\x1b[1m/dmm alice s3cret",
            "PM",
            "/topic " + "s3cret " * 20_000,
            "and/or",
            '"quoted"',
            "//x",
            "/leave",
            "\x1b/dm alice s3cret",
            "\x1b[31/dm alice s3cret",
            " \x00\x1b/login alice s3cret",
        ]
        code, out, err = self.post("\n".join(lines).encode(), "--room", "ops")
        self.assertEqual((code, out), (1, ""))
        complaints = err.replace("twisted-chat: ", "").splitlines()
        named = [each.split(",")[0] for each in complaints if "looks like" in each]
        commands = {1: "/dm", 3: "/login", 4: "/dmm", 5: "PM", 6: "/topic", 10: "/leave"}
        commands |= {11: "/dm", 12: "/dm", 13: "/login"}
        self.assertEqual(
            named, [f"line {n} looks like the command {word}" for n, word in commands.items()]
        )
        self.assertIn("--raw", err)
        self.assertNotIn("s3cret", err)
        self.assertEqual(self.said("ops"), ["one", "and/or", '"quoted"', "//x"])

    def test_to(self) -> None:
        """C{--to NAME} tells one person, and nobody else."""
        with Peer(self.daemon.port) as peer:
            peer.send("/guest bob\n")
            peer.see("You are in the lobby")
            self.assertEqual(self.post(b"one\ntwo\n", "--to", "bob", "--name", "ci"), (0, "", ""))
            peer.see("ci -> you: one\n")
            peer.see("ci -> you: two\n")
        self.assertEqual(self.said("lobby"), [])
        code, _, err = self.post(b"one\n", "--to", "nobody1")
        self.assertEqual((code, err.count("line 1 was not posted")), (1, 1), err)

    def test_commands(self) -> None:
        """With C{--commands} lines are what a person would type: each command is answered before
        the next line, and one that is refused is named."""
        with Peer(self.daemon.port) as peer:
            peer.send("/guest bob\n")
            peer.see("You are in the lobby")
            typed = [
                "in the lobby",
                "/join ops",
                "/topic the new one",
                'in "ops"',
                '/dm bob "in private"',
                '"/quoted"',
                "x/login alice s3cret",
                "\x1b/login alice s3cret",
                "/nosuch",
                "/leave",
                "in the lobby again",
                "/quit",
            ]
            code, out, err = self.post("\n".join(typed).encode(), "--commands", "--name", "ci")
            peer.see("ci -> you: in private\n")
        self.assertEqual((code, out), (1, ""), err)
        self.assertEqual(sorted(re.findall(r"line \d+", err)), ["line 7", "line 8", "line 9"])
        self.assertEqual(self.said("ops"), ['in "ops"', "/quoted"])
        self.assertEqual(self.said("lobby"), ["in the lobby", "in the lobby again"])

    def test_what_is_no_text(self) -> None:
        """Colours are left out; bytes that are not UTF-8 and control characters are replaced, and
        this is said once."""
        code, _, err = self.post(b"\x1b[1;31mred\x1b[0m\r\n\xff!\na\x00b\n", "--room", "ops")
        self.assertEqual(code, 0)
        self.assertEqual(self.said("ops"), ["red", "\ufffd!", "a\ufffdb"])
        self.assertEqual(err.count("\n"), 1)
        self.assertIn("line 2", err)

    def test_long_lines(self) -> None:
        """A line that is too long for one message becomes several, and loses nothing."""
        words = " ".join(f"word{n}" for n in range(3000))
        letters = "é" * 50_000
        self.assertEqual(self.post(f"{words}\n{letters}\n".encode(), "--room", "ops")[0], 0)
        said = self.said("ops")
        self.assertLess(max(len(text.encode()) for text in said), 4097)
        pieces = [text for text in said if "é" not in text]
        self.assertEqual(" ".join(pieces), words)
        self.assertEqual("".join(text for text in said if "é" in text), letters)

    def test_refused(self) -> None:
        """What the server does not take is named, and makes the exit code 1."""
        self.daemon.kill()
        self.daemon = ForkedDaemon("--max-message", "10")
        self.addCleanup(self.daemon.kill)
        self.daemon.start()
        code, out, err = self.post(b"one\nfar too long for it\ntwo\nthis one is too\nthree\n")
        self.assertEqual((code, out), (1, ""))
        self.assertEqual(
            [line.split(":")[1].strip() for line in err.splitlines()],
            ["line 2 was not posted", "line 4 was not posted"],
        )
        self.assertEqual(self.said("lobby"), ["one", "two", "three"])

    def test_throttled(self) -> None:
        """A poster that is not trusted is slowed, and loses nothing."""
        self.daemon.kill()
        self.daemon = ForkedDaemon("--line-burst", "5", "--line-rate", "50", trusted="192.0.2.1/32")
        self.addCleanup(self.daemon.kill)
        self.daemon.start()
        lines = [str(n) for n in range(30)]
        self.assertEqual(self.post("\n".join(lines).encode())[0], 0)
        self.assertEqual(self.said("lobby"), lines)

    def test_file(self) -> None:
        """A file is an input like any other."""
        path = Path(self.mktemp())
        path.write_text("one\ntwo\n")
        with path.open("rb") as file:
            child = self.child("--room", "ops", stdin=file)
            self.assertEqual(child.wait(TIMEOUT), 0)
        self.assertEqual(self.said("ops"), ["one", "two"])

    def test_interrupted(self) -> None:
        """A signal while there is input left is a failure."""
        child = self.child("--room", "ops", stdin=subprocess.PIPE)
        assert child.stdin is not None
        child.stdin.write(b"one\n")
        child.stdin.flush()
        self.wait_for("ops", ["one"])
        child.send_signal(signal.SIGTERM)
        self.assertEqual(child.wait(TIMEOUT), 1)

    def wait_for(self, room: str, texts: Sequence[str]) -> None:
        """Wait until this has been said, by being told of it."""
        with Peer(self.daemon.port) as peer:
            peer.send(f"/guest\n/join {room}\n")
            for text in texts:
                peer.see(f": {text}\n")


class FollowTests(ClientTestCase):
    """Events out."""

    def test_json(self) -> None:
        """Each event is one object a line; C{| head -1} ends it quietly."""
        command = f"{COMMAND} {' '.join(self.there)} --json </dev/null | head -1"
        script = f"{command}; exit ${{PIPESTATUS[0]}}"
        done = subprocess.run(
            ["bash", "-c", script],
            capture_output=True,
            timeout=TIMEOUT,
            check=False,
            env=ENVIRONMENT,
        )
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        self.assertEqual(json.loads(done.stdout)["event"], "welcome")

    def test_text(self) -> None:
        """Without C{--json} events are lines for people, without escape sequences."""
        child = self.child("--room", "ops", stdout=subprocess.PIPE)
        assert child.stdout is not None
        with Peer(self.daemon.port) as peer:
            peer.send("/guest bob\n/join ops\n")
            peer.see("in #ops")
            child.stdout.readline()
            peer.send("hi\n")
            while not (line := child.stdout.readline().decode()).endswith("bob: hi\n"):
                self.assertTrue(line.startswith("*"), line)
        self.assertRegex(line, r"^\d\d:\d\d #ops bob: hi\n$")
        child.send_signal(signal.SIGTERM)
        self.assertEqual(child.wait(TIMEOUT), 0)

    def test_reader_that_does_not_read(self) -> None:
        """The client does not grow: what nobody reads waits in the server, which skips."""
        child = self.child("--json", stdout=subprocess.PIPE)
        assert child.stdout is not None
        child.stdout.readline()
        before = _memory(child.pid)
        text = b"x" * 4000
        self.assertEqual(self.post(b"\n".join([text] * 5000))[0], 0)
        self.assertLess(_memory(child.pid) - before, 8 * 1024)
        last = 0
        while last < 5000:  # and when it is read again, it has the newest
            event = json.loads(child.stdout.readline())
            if event["event"] == "message":
                self.assertGreater(event["seq"], last)
                last = event["seq"]
            elif event["event"] == "gap":
                self.assertEqual(event["first"], last + 1)
                last = event["last"]

    def test_both(self) -> None:
        """With input and C{--json} the client posts, writes the receipts, and ends with the
        input."""
        code, out, err = self.post(b"one\ntwo\n", "--json", "--room", "ops")
        self.assertEqual((code, err), (0, ""))
        events = [json.loads(line) for line in out.splitlines()]
        texts = [event["text"] for event in events if event["event"] == "message"]
        self.assertEqual(texts, ["one", "two"])


class RefusedTests(ClientTestCase):
    """What cannot be: one sentence, and an exit code."""

    def check(self, code: int, sentence: str, *arguments: str, **options: Any) -> None:
        given, out, err = run(*arguments, input=b"x\n", **options)
        self.assertEqual((given, out), (code, ""), err)
        self.assertEqual(err.count("\n"), 1, err)
        self.assertIn(sentence, err)

    def test_nowhere(self) -> None:
        """The client ends with a sentence if nothing listens there, if there is no such host, or if
        no server was named."""
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            port = str(unused.getsockname()[1])
            self.check(1, "nothing listens there", "127.0.0.1", port)
        self.check(1, "there is no host of this name", "nosuchhost.invalid")
        self.check(1, "no such file", "--unix", "/nonexistent/socket")
        self.check(2, "which server?")

    def test_passwords(self) -> None:
        """Passwords are read from a file, from the environment and from the configuration; a wrong
        one is never sent twice."""
        secret = Path(self.mktemp())
        secret.write_text("s3cret-pw\n")
        secret.chmod(0o600)
        made = ("--name", "bot", "--password-file", str(secret))
        self.assertEqual(run(*self.there, *made, "--register", input=b"1\n"), (0, "", ""))
        self.assertEqual(run(*self.there, *made, "--register", input=b"2\n"), (0, "", ""))
        env = environment(TWISTED_CHAT_PASSWORD="s3cret-pw", XDG_CONFIG_HOME="/nonexistent")
        self.assertEqual(run(*self.there, "--name", "bot", input=b"3\n", env=env), (0, "", ""))
        env = environment(TWISTED_CHAT_PASSWORD="wrong-one", XDG_CONFIG_HOME="/nonexistent")
        self.check(1, "wrong name or password", *self.there, "--name", "bot", env=env)
        self.check(1, "registered", *self.there, "--name", "bot")
        self.check(2, "a password needs a name", *self.there, env=env)
        self.assertEqual(self.said("lobby"), ["1", "2", "3"])

    def test_configuration(self) -> None:
        """A configuration file that others can read may hold no password."""
        config = Path(self.mktemp()).absolute()
        path = config / "twisted-chat" / "config.ini"
        path.parent.mkdir(parents=True)
        port = self.daemon.port
        path.write_text(f"[work]\nhost=127.0.0.1\nport={port}\nname=bot\nroom=ops\n")
        env = environment(XDG_CONFIG_HOME=str(config))
        self.assertEqual(run("work", input=b"1\n", env=env), (0, "", ""))
        self.assertEqual(self.said("ops"), ["1"])
        with path.open("a") as file:
            file.write("password=s3cret-pw\n")
        path.chmod(0o644)
        self.check(2, "chmod 600", "work", env=env)
        path.chmod(0o600)
        self.assertEqual(run("work", "--register", input=b"2\n", env=env), (0, "", ""))
        path.write_text("[work]\nhots=x\n")
        self.check(2, "no setting called hots", "work", env=env)


class PlacesTests(ClientTestCase):
    """TLS and UNIX sockets."""

    def setUp(self) -> None:
        self.certificates = Certificates(Path(self.mktemp()))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.tls = str(free.getsockname()[1])
        self.socket = Path(f"/tmp/chat-{os.getpid()}-{self.tls}.sock")
        self.addCleanup(lambda: self.socket.unlink(missing_ok=True))
        self.options = (
            "--port",
            f"ssl:{self.tls}:interface=127.0.0.1:{self.certificates.server_options}",
            "--port",
            f"unix:{self.socket}",
        )
        super().setUp()

    def attempt(self, *arguments: str) -> tuple[int, str]:
        code, out, err = run(*arguments, input=b"x\n")
        self.assertEqual(out, "")
        return code, err

    def test_unix(self) -> None:
        """A UNIX socket is as good."""
        self.assertEqual(self.attempt("--unix", str(self.socket)), (0, ""))

    def test_pinned(self) -> None:
        """The pinned certificate is taken whatever name it has, and no other; the right
        fingerprint is told."""
        pin = self.certificates.fingerprint
        for written in (pin, pin.replace(":", "").lower()):
            self.assertEqual(self.attempt("127.0.0.1", self.tls, "--pin", written), (0, ""))
        code, err = self.attempt("127.0.0.1", self.tls, "--pin", "00" * 32)
        self.assertEqual(code, 1)
        self.assertIn(f"its fingerprint is {pin}", err)

    def test_checked(self) -> None:
        """A certificate is taken if a trusted one signed it for the host, and otherwise not."""
        ca = str(self.certificates.ca)
        self.assertEqual(self.attempt("localhost", self.tls, "--ca", ca), (0, ""))
        code, err = self.attempt("127.0.0.1", self.tls, "--ca", ca)
        self.assertEqual((code, "is for another name" in err), (1, True), err)
        code, err = self.attempt("localhost", self.tls, "--tls")
        self.assertEqual((code, "not signed by anyone trusted" in err), (1, True), err)
        self.assertIn("--ca FILE or --pin SHA256", err)
        code, err = self.attempt("localhost", self.tls, "--ca", str(self.certificates.other_ca))
        self.assertEqual((code, "not signed by anyone trusted" in err), (1, True), err)
        self.assertEqual(self.said("lobby"), ["x"])

    def test_no_tls_there(self) -> None:
        """If a server speaks no TLS, or nothing else, the sentence names the option that helps."""
        code, err = self.attempt(*self.there, "--tls")
        self.assertEqual((code, err.count("\n"), "--no-tls" in err), (1, 1, True), err)
        code, err = self.attempt("127.0.0.1", self.tls)
        self.assertEqual((code, err.count("\n"), "--tls" in err), (1, 1, True), err)


def _memory(pid: int) -> int:
    """KiB of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1])
    raise AssertionError("it has ended")
