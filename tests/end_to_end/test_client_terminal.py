"""The client on a terminal: typed into and looked at, in a real one."""

import json
import re
import shlex
import socket
import sys
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from .terminal import TIMEOUT, DaemonTestCase, Peer, pipe
from .tmux import Tmux

_CLIENT = str(Path(sys.executable).with_name("twisted-chat"))

_COLOUR = re.compile(rb"\x1b\[(?:[0-9]*;)*(?:3[0-7]|38|4[0-7]|48|9[0-7])[;m]")


class _TerminalTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.home = Path(tempfile.mkdtemp(prefix="chat-"))
        self.history = self.home / "state" / "twisted-chat" / "history"

    def open(self, port: int, *options: str, width: int = 80, height: int = 24, **env: str) -> Tmux:
        """The client, with nothing of this machine's configuration."""
        tmux = Tmux(
            _CLIENT,
            "127.0.0.1",
            str(port),
            *options,
            width=width,
            height=height,
            XDG_CONFIG_HOME=str(self.home / "config"),
            XDG_STATE_HOME=str(self.home / "state"),
            **env,
        )
        self.addCleanup(tmux.close)
        return tmux


class TerminalTests(_TerminalTestCase, DaemonTestCase):
    """With a daemon."""

    def join(self, *options: str, width: int = 80, height: int = 24, **env: str) -> Tmux:
        """The client, in as a guest."""
        tmux = self.open(self.daemon.port, "--guest", *options, width=width, height=height, **env)
        tmux.see("connected to chat")
        return tmux

    def test_login(self) -> None:
        """The client asks for the password of a registered name, asks again after a wrong one, and
        never shows any of it."""
        pipe(self.daemon.port, "/register alice s3cret-pw\n")
        tmux = self.open(self.daemon.port)
        tmux.see("Name (Enter to join as a guest):")
        tmux.type("alice")
        tmux.see("Password for alice:")
        tmux.type("wr0ng-pw")
        tmux.see("! wrong name or password")
        tmux.type("s3cret-pw")
        tmux.see("* you are alice\n")
        tmux.type("hello")
        tmux.see("alice: hello")
        tmux.type("/passwd")
        for question, answer in (
            ("Old password:", "s3cret-pw"),
            ("New password:", "n3w-s3cret-pw"),
            ("Again:", "n3w-s3cret-pw"),
        ):
            tmux.see(question)
            tmux.type(answer)
        tmux.see("* your password was changed")
        tmux.type("/login alice typed-s3cret")
        tmux.see("! you are already logged in as alice")
        tmux.press("Up")
        tmux.see("> hello")
        screen = tmux.screen()
        for secret in "s3cret", "wr0ng":
            self.assertNotIn(secret, screen)
        self.assertEqual(self.history.read_text(), "hello\n")
        self.assertEqual(self.history.stat().st_mode & 0o777, 0o600)
        for secret in "s3cret-pw", "wr0ng":
            self.assertNotIn(secret.encode(), tmux.written)

    def test_new_name(self) -> None:
        """A new name is registered with a password that is typed twice; the account can log in with
        it."""
        tmux = self.open(self.daemon.port)
        tmux.see("Name (Enter to join as a guest):")
        tmux.type("carol")
        tmux.see('"carol" is new', "New password:")
        tmux.type("s3cret-pw")
        tmux.see("Again:")
        tmux.type("an0ther-pw")
        tmux.see("! the passwords don't match", "New password:")
        for question in "New password:", "Again:":
            tmux.see(question)
            tmux.type("s3cret-pw")
        tmux.see('* "carol" is now yours')
        tmux.type("/quit")
        tmux.see_end(0)
        again = self.open(self.daemon.port, "--name", "carol", TWISTED_CHAT_PASSWORD="s3cret-pw")
        again.see("* you are carol\n")

    def test_guests(self) -> None:
        """Enter alone, or a new name and Enter, makes a guest; for a name that is taken the client
        asks again."""
        tmux = self.open(self.daemon.port)
        tmux.see("Name (Enter to join as a guest):")
        tmux.type("")
        tmux.see("a guest; /register")
        self.guest("bob")
        other = self.open(self.daemon.port, "--name", "bob")
        other.see("! ", "Name (Enter to join as a guest):")
        other.type("dave")
        other.see("New password:")
        other.type("")
        other.see_match("^>$")
        tmux.see("* dave joined")

    def test_conversation(self) -> None:
        """What others say appears above what is being typed, which stays; one's own name calls."""
        tmux = self.join("--name", "alice")
        bob = self.guest("bob")
        tmux.see("* bob joined")
        tmux.press("-l", "half a li")
        tmux.see("> half a li")
        bob.send("hi there\n/me waves\n/dm alice psst\n")
        tmux.see("bob: hi there", "* bob waves", "(private) bob -> you: psst", "> half a li")
        tmux.has_written(b"\a")
        tmux.type("ne")
        bob.see("alice: half a line")
        tmux.see("alice: half a line")
        self.assertEqual(tmux.screen().count("half a li"), 1)
        tmux.type("/dm bob answer")
        bob.see("alice -> you: answer")
        tmux.see("(private) you -> bob: answer")
        for typed, seen in (
            ("PM", "Message to everyone, not private (Enter to cancel)"),
            ("to all", "alice: to all"),
            ("DM", "Private message to (Enter to cancel)"),
            ("bob", "Message to bob (Enter to cancel)"),
            ("to one", "you -> bob: to one"),
            ("/frob", '! there is no command "/frob"'),
            ("/users", "* 2 people are in the lobby: alice (guest), bob (guest)"),
        ):
            tmux.type(typed)
            tmux.see(seen)
        bob.see("alice: to all")
        bob.see("alice -> you: to one")
        tmux.type("exit")
        tmux.see_end(0)

    def test_rooms(self) -> None:
        """What is said in another room has its name, and counts as unread until one goes there."""
        tmux = self.join("--name", "alice", "--no-bell")
        bob = self.guest("bob")
        tmux.type("/join dev")
        tmux.see("* you joined #dev")
        tmux.see_match("^#dev · 1 here")
        bob.send("lunch, alice?\n/join dev\nmoin\n")
        tmux.see("#lobby bob: lunch, alice?", " bob: moin")
        tmux.see_match("^#dev · unread #lobby 1 · 2 here")
        tmux.type("/join lobby")
        tmux.see("now talking in the lobby")
        tmux.see_match("^#lobby · 2 here")
        tmux.type("/users")
        tmux.see("* 2 people are in the lobby")
        bob.send("more\n")
        tmux.see("#dev bob: more")
        tmux.see_match("^#lobby · unread #dev 1")
        tmux.type("/leave dev")
        tmux.see("* you left #dev")
        tmux.see_match("^#lobby · 2 here")
        self.assertNotIn(b"\a", tmux.written)

    def test_account_that_comes_back(self) -> None:
        """An account is back in its rooms, and is shown what is new there; what is read on the
        terminal is read, and a room that is left elsewhere is left."""
        account = "/login alice s3cret-pw\n"
        pipe(self.daemon.port, "/register alice s3cret-pw\n/join dev\n/join ops\n")
        bob = self.guest("bob")
        bob.send("/join dev\nmoin\n/topic tea\n/join ops\n/say ops deployed\n")
        bob.see("in #ops")
        tmux = self.open(self.daemon.port, "--name", "alice", TWISTED_CHAT_PASSWORD="s3cret-pw")
        tmux.see("* #dev: 1 new", "#dev bob: moin", "* bob set the topic of #dev: tea")
        tmux.see("#ops bob: deployed")
        tmux.see_match("^#lobby · unread #dev 1, #ops 1")
        tmux.type("/to ops")
        tmux.see("* now talking in #ops")
        tmux.type("/where")
        tmux.see("* what you type goes to #ops")
        tmux.see_match("^#ops · 2 here")
        phone = Peer(self.daemon.port)
        self.addCleanup(phone.socket.close)
        phone.send(account)
        phone.see("alice")
        phone.send("/leave ops\n")
        tmux.see("* you left #ops")
        tmux.see_match("^#lobby · 2 here")
        tmux.type("/quit")
        tmux.see_end(0)
        self.assertNotIn("new", pipe(self.daemon.port, account))

    def test_completion(self) -> None:
        """Tab completes commands, names and rooms."""
        tmux = self.join("--name", "alice")
        bob = self.guest("bobolink")
        bob.send("/join development\n")
        tmux.see("* bobolink joined")
        tmux.see_match("2 here")
        for typed, completed in (
            ("bo", "> bobolink: "),
            ("ask bo", "> ask bobolink "),
            ("/ro", "> /rooms "),
            ("/dm b", "> /dm bobolink "),
            ("/join lo", "> /join lobby "),
        ):
            tmux.press("-l", typed)
            tmux.press("Tab")
            tmux.see(completed.rstrip())
            tmux.press("C-c")
            tmux.see_match("^>$")
        tmux.press("-l", "/l")
        tmux.press("Tab", "Tab")
        tmux.see("/leave  /login  /logout", "> /l")

    def test_passwords_are_not_said(self) -> None:
        """A login behind a wide space is a login, and a misspelt one is said to nobody. Neither is
        recalled or kept."""
        pipe(self.daemon.port, "/register alice s3cret-pw\n")
        tmux = self.join()
        bob = self.guest("bob")
        tmux.see("bob joined")
        tmux.type("x/login alice s3cret-pw")
        tmux.see("to say it, put it in double quotes")
        tmux.type("\u3000/login alice s3cret-pw")
        tmux.see("* you are alice")
        tmux.type('"it is me"')
        self.assertNotIn("s3cret", bob.see("alice: it is me\n"))
        tmux.see("alice: it is me")
        tmux.press("Up", "Up")
        tmux.see('> "it is me"')
        self.assertEqual(self.history.read_text(), '"it is me"\n')

    def test_resize(self) -> None:
        """After the window has changed its width, half a line and the status are shown once."""
        tmux = self.join("--name", "alice", width=70)
        bob = self.guest("bob")
        bob.send("the quick brown fox jumps over the lazy dog, and then once more over it\n")
        tmux.see("over it")
        tmux.press("-l", "half a line")
        tmux.see("> half a line", "#lobby")
        for width in 20, 100, 33, 60:
            tmux.resize(width, 15)
            bob.send(f"at {width}\n")
            tmux.see(f"bob: at {width}", "> half a line", "#lobby")
            rows = tmux.rows()
            self.assertEqual(rows[-2], "> half a line", rows)
            self.assertTrue(rows[-1].startswith("#lobby"), rows)
            self.assertLess(len(rows[-1]), width)
        self.assertEqual(tmux.screen().count("> half a line"), 1)
        tmux.type("")
        bob.see("alice: half a line")

    def test_server_is_killed(self) -> None:
        """The client says that the server is gone and comes back by itself. Nothing that anybody
        said meanwhile is lost or doubled."""
        tmux = self.join("--name", "alice")
        tmux.type("before")
        tmux.see("alice: before")
        self.daemon.kill()
        tmux.see("* not connected", "reconnecting")
        tmux.type("while it was away 1")
        tmux.type("while it was away 2")
        tmux.see_match("^not connected · #lobby · 2 not sent")
        tmux.see("not sent yet: while it was away 1\nnot sent yet: while it was away 2\n>")
        self.daemon.start()
        bob = self.guest("bob")
        bob.send("and I\n")
        bob.see("alice: while it was away 2")
        tmux.see("connected again to chat")
        tmux.see("bob: and I")
        screen = tmux.see_match(r"^#lobby · 2 here · alice · connected$")
        for text in "alice: before", "away 1", "away 2", "bob: and I":
            self.assertEqual(screen.count(text), 1, text)
        self.assertNotIn("not sent", screen)
        self.assertEqual(screen.count("you are alice"), 1)

    def test_paste(self) -> None:
        """A paste of many lines is asked about first, and sent in order, as it is; one line is just
        typed."""
        tmux = self.join("--name", "alice")
        bob = self.guest("bob")
        tmux.see("bob joined")
        pasted = "\n".join(["/quit", *(f"    line {n}" for n in range(36))])
        tmux.paste(pasted)
        tmux.see("send 37 lines? (y/n):")
        tmux.type("n")
        tmux.see_match("^>$")
        tmux.press("-l", "look: ")
        tmux.paste("just one\n")
        tmux.see("> look: just one")
        tmux.type("")
        bob.see("alice: look: just one\n")
        tmux.paste(pasted)
        tmux.see("send 37 lines? (y/n):")
        tmux.type("y")
        bob.see("alice: /quit\n")
        for n in range(36):
            self.assertEqual(bob.see("\n"), "[" + self.stamp(tmux) + f"] alice:     line {n}")
        tmux.see("line 35")
        self.assertEqual(tmux.screen().count("line 35"), 1)

    def stamp(self, tmux: Tmux) -> str:
        """The time of the last line; a minute may have ended meanwhile."""
        return str(re.findall(r"^(\d\d:\d\d) ", tmux.screen(), re.MULTILINE)[-1])

    def test_keys(self) -> None:
        """Ctrl-C clears the line, Ctrl-D leaves the terminal as it was; Up recalls the last run's
        lines."""
        tmux = self.join("--name", "alice")
        tmux.press("-l", "not to be said")
        tmux.see("> not to be said")
        tmux.press("C-c")
        tmux.see_match("^>$")
        tmux.type("to be said")
        tmux.see("alice: to be said")
        tmux.type("DM")
        tmux.see("Private message to (Enter to cancel)")
        tmux.press("C-c")
        tmux.see_match("^>$")
        tmux.press("C-d")
        end = tmux.see_end(0)
        self.assertNotIn("not to be", end)
        self.assertNotRegex(end, r"(?m)^>$")  # an empty prompt is not left behind
        again = Tmux(
            "sh",
            "-c",
            f"{shlex.join([_CLIENT, '127.0.0.1', str(self.daemon.port), '--guest'])}; stty -a",
            XDG_STATE_HOME=str(self.home / "state"),
        )
        self.addCleanup(again.close)
        again.see("connected to chat")
        again.press("Up", "Up")
        again.see("> to be said")
        again.press("C-c")
        again.press("C-d")
        end = again.see_end(0)
        for setting in "isig", "icanon", "echo":
            self.assertRegex(end, rf"(?<![-\w]){setting}\b")

    def test_last_words(self) -> None:
        """What was typed just before leaving is said, however much it is."""
        bob = self.guest("bob")
        tmux = self.join("--name", "alice")
        tmux.paste("\n".join(f"line {n}" for n in range(500)))
        tmux.see("send 500 lines?")
        tmux.press("y", "Enter", "C-d")
        screen = tmux.see_end(0)
        self.assertNotIn("\n!", screen)
        self.assertIn("line 499", screen)
        bob.see("alice: line 499\n")

    def test_left_unsaid(self) -> None:
        """The client counts the lines that it could not send, and its exit code is not 0."""
        tmux = self.join("--name", "alice")
        self.daemon.kill()
        tmux.see("* not connected")
        for text in "one", "two":
            tmux.type(text)
        tmux.see("2 not sent")
        tmux.press("C-d")
        self.assertIn("not sent: 2 of the lines that were typed", tmux.see_end(1))

    def test_plain(self) -> None:
        """Plain output has one line for each event, no escape sequence and no colour; passwords are
        hidden all the same."""
        pipe(self.daemon.port, "/register alice s3cret-pw\n")
        tmux = self.open(self.daemon.port, "--plain")
        tmux.see("Name (Enter to join as a guest):")
        tmux.type("alice")
        tmux.see("Password for alice:")
        tmux.type("s3cret-pw")
        tmux.see("* you are alice\n")
        bob = self.guest("bob")
        tmux.see("* bob joined")
        tmux.press("-l", "never to be")
        tmux.see("never to be")
        tmux.press("C-c")
        tmux.type("hi bob")
        bob.see("alice: hi bob\n")
        bob.send("hello alice\n")
        tmux.see("bob: hello alice")
        tmux.has_written(b"\a")
        self.daemon.kill()
        tmux.see("* not connected")
        self.daemon.start()
        tmux.see("* connected again to chat")
        tmux.press("C-d")
        self.assertNotIn("s3cret", tmux.see_end(0))
        self.assertNotIn(b"\x1b", tmux.written)
        self.assertNotIn(b"s3cret", tmux.written)
        self.assertNotIn(b"never to be\r\n", tmux.written)

    def test_colour(self) -> None:
        """Output is coloured unless the user does not want it; a terminal that cannot move its
        cursor is sent no escape sequence."""
        bob = self.guest("bob")
        for no_color, coloured in ("", True), ("1", False):
            tmux = self.join(NO_COLOR=no_color)
            bob.send("hello\n")
            tmux.see("bob: hello")
            tmux.has_written(b"hello")
            self.assertEqual(bool(_COLOUR.search(tmux.written)), coloured)
        dumb = self.join(TERM="dumb")
        bob.send("hello\n")
        dumb.see("bob: hello")
        self.assertNotIn(b"\x1b", dumb.written)

    def test_narrow(self) -> None:
        """Nothing that somebody says looks like a line of somebody else, or of the server."""
        tmux = self.join("--name", "alice", width=20)
        bob = self.guest("bob")
        for width in range(1, 41):
            bob.send("x" * width + " 12:00 carol: I quit\n")
            bob.send("/me " + "x" * width + " * carol joined\n")
        bob.send("the end\n")
        tmux.see("the end")
        for row in tmux.all_rows():
            self.assertNotRegex(row, "^(12:00|[*] carol)")

    def test_wide_and_many(self) -> None:
        """The client shows wide characters, and a flood of lines."""
        tmux = self.join("--name", "alice")
        bob = self.guest("名前")
        tmux.press("-l", "半分")
        tmux.see("> 半分")
        bob.send("".join(f"行 {n}\n" for n in range(500)))
        screen = tmux.see("名前: 行 499", "> 半分")
        for n in range(500):
            self.assertEqual(len(re.findall(rf"名前: 行 {n}$", screen, re.MULTILINE)), 1)
        self.assertEqual(screen.count("半分"), 1)


class ElsewhereTests(_TerminalTestCase):
    """With a server that is none, or gone."""

    def test_nobody_there(self) -> None:
        """If nothing listens, the client says so in a sentence, and fails."""
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
        tmux = self.open(port, "--guest")
        self.assertIn("nothing listens there", tmux.see_end(1))

    def test_goes_away_in_the_login(self) -> None:
        """If the server goes away during the login, the client ends with a sentence, not with a
        prompt."""
        with socket.create_server(("127.0.0.1", 0)) as server:
            tmux = self.open(server.getsockname()[1], "--name", "alice")
            peer, _ = server.accept()
            peer.recv(4096)
            peer.close()
            screen = tmux.see_end(1)
        self.assertIn("twisted-chat: ", screen)
        self.assertNotIn("Traceback", screen)

    def test_hostile_server(self) -> None:
        """No event can carry an escape sequence to the screen, whatever field it is in."""
        evil = "\x1b]0;pwned\x07\x1b[2J\x1b[31mred\x9b31m\u202e\r\n\b!"
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.settimeout(TIMEOUT)
            tmux = self.open(server.getsockname()[1], "--guest")
            peer, _ = server.accept()
        peer.settimeout(TIMEOUT)
        self.addCleanup(peer.close)
        fields = {"time": f"2026-11-21T09:01:05.663Z{evil}", "room": f"lobby{evil}"}

        def tell(kind: str, **more: object) -> None:
            peer.sendall(json.dumps({"event": kind, **fields, **more}).encode() + b"\n")

        tell("hello", protocol=2, server=f"evil{evil}")
        requests = peer.makefile("rb")
        requests.readline()  # /json on
        label = json.loads(requests.readline())["label"]
        tell("welcome", name=f"alice{evil}", account=False, room=f"lobby{evil}", label=label)
        tell("done", label=label)
        tmux.see("connected to evil")
        told: dict[str, dict[str, object]] = {
            "notice": {"text": evil},
            "message": {
                "id": 1,
                "room": "lobby",
                "seq": 1,
                "from": f"bob{evil}",
                "text": f"alice{evil}",
                "action": False,
                "replay": False,
            },
            "dm": {"id": None, "from": evil, "to": evil, "text": evil, "replay": False},
            "joined": {"name": evil},
            "left": {"count": evil},
            "renamed": {"name": evil, "to": evil},
            "topic": {"topic": evil, "from": evil},
            "users": {"users": [{"name": evil, "account": True}, evil]},
            "rooms": {"rooms": [{"room": evil, "members": evil, "topic": evil}]},
            "help": {"commands": [{"usage": evil, "also": [evil], "text": evil}]},
            "skipped": {"lines": evil},
            "error": {"code": evil, "text": evil, "command": evil},
        }
        for kind, more in told.items():
            tell(kind, **more)
        tell("notice", text="the end")
        screen = tmux.see("the end")
        tmux.has_written(b"the end")
        self.assertNotIn("Traceback", screen)
        self.assertIn("connected to evil", screen)  # it was not cleared
        for bad in (b"\x1b]", b"\x1b[2J", b"\x9b", b"\xc2\x9b", b"\x1b[31m", b"\xe2\x80\xae"):
            self.assertNotIn(bad, tmux.written)
