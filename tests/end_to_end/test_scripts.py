"""Scripts: a pipe in, lines or JSON out, and an end."""

import json
import socket
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

from .terminal import DaemonTestCase, Peer, pipe


class PipeTest(DaemonTestCase):
    def setUp(self) -> None:
        super().setUp()
        pipe(self.daemon.port, "/register alice wonderland\n")

    def test_register_say_and_dm(self) -> None:
        """C{printf … | nc -N} registers, says something and writes in private, and ends by
        itself."""
        script = "/register bot s3cret-pw\nhello\n/dm alice hi\n"
        answer = pipe(self.daemon.port, script)
        self.assertIn("* Welcome, bot.", answer)
        self.assertIn("* alice is away", answer)
        self.assertTrue(answer.endswith("* bye\n"))
        seen = pipe(self.daemon.port, "/login alice wonderland\n")
        self.assertIn("] bot: hello\n", seen)
        self.assertIn("] bot -> you: hi\n", seen)

    def test_json(self) -> None:
        """With C{/json on} first, every line after the greeting is one JSON object."""
        script = "/json on\n/register bot s3cret-pw\nhello\n/dm alice hi\n"
        lines = pipe(self.daemon.port, script).splitlines()
        first = next(i for i, line in enumerate(lines) if line.startswith("{"))
        events = [json.loads(line) for line in lines[first:]]
        self.assertEqual(
            [event["event"] for event in events],
            ["hello", "notice", "welcome", "history", "rooms", "message", "dm", "away", "bye"],
        )
        self.assertEqual(events[0]["protocol"], 2)
        for event in events:
            self.assertRegex(event["time"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")

    def test_last_line_without_an_end(self) -> None:
        """What stands after the last newline is a line too."""
        pipe(self.daemon.port, "/login alice wonderland\nno newline")
        self.assertIn("] alice: no newline\n", pipe(self.daemon.port, "\n"))

    def test_lines_before_login_are_kept_in_order(self) -> None:
        """What arrives while a password is checked is worked off afterwards, in order."""
        said = "".join(f"line {n}\n" for n in range(300))
        pipe(self.daemon.port, f"/login alice wonderland\n{said}")
        history = pipe(self.daemon.port, "\n/history 300\n")
        shown = [line.split(": ")[1] for line in history.splitlines() if "] alice: line" in line]
        self.assertEqual(shown[-300:], [f"line {n}" for n in range(300)])

    def test_names_and_passwords_at_the_prompts(self) -> None:
        """The dialogue of the prompts works in a pipe too."""
        answer = pipe(self.daemon.port, "carol\ncorrect-horse\n/users\n")
        self.assertIn("* 1 person is in the lobby: carol\n", answer)
        answer = pipe(self.daemon.port, "carol\ncorrect-horse\n/users\n")
        self.assertIn("* 1 person is in the lobby: carol\n", answer)

    def test_what_follows_a_failed_login_is_not_a_name(self) -> None:
        """A script whose login failed says nothing, and registers nobody."""
        script = "/login alice wrong-one\nhello\nthe build is broken\n/users\n"
        answer = pipe(self.daemon.port, script)
        self.assertIn("! wrong name or password\n", answer)
        self.assertEqual(answer.count("! you are not logged in, so nothing was sent"), 2)
        self.assertNotIn("Welcome, ", answer)
        answer = pipe(self.daemon.port, "/login alice wrong-one\n\nbob\nthe build is broken\n")
        self.assertNotIn("Welcome, ", answer)

    def test_a_command_is_no_password(self) -> None:
        """What looks like a command at the prompt for a new password registers nobody."""
        answer = pipe(self.daemon.port, "fred\n/guest fred\n")
        self.assertIn("! that looks like a command", answer)
        self.assertNotIn("Welcome, fred", answer)


class RequestTest(DaemonTestCase):
    """Programs that speak JSON in both directions."""

    def ask(self, *requests: dict[str, Any], end: str = "\n") -> list[dict[str, Any]]:
        """What a pipe of requests is answered with."""
        script = "/json on\n" + "".join(json.dumps(fields) + end for fields in requests)
        lines = pipe(self.daemon.port, script).splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def test_every_label_is_answered(self) -> None:
        """Each label is answered with exactly one done or error, whether lines end in LF or CR
        LF."""
        requests: list[dict[str, Any]] = [
            {"do": "guest"},
            {"do": "join", "room": "tea"},
            {"do": "say", "room": "tea", "message": "/quit \u00e9" + "x" * 4000},
            {"do": "frob"},
            {"do": "say", "room": "nowhere", "message": "hi"},
            {"do": "quit"},
        ]
        for number, fields in enumerate(requests):
            fields["label"] = str(number)
        for end in ("\n", "\r\n"):
            answers = self.ask(*requests, end=end)
            ends = [(x["label"], x["event"]) for x in answers if x["event"] in ("done", "error")]
            wanted = ["done", "done", "done", "error", "error", "done"]
            self.assertEqual(sorted(ends), [(str(n), kind) for n, kind in enumerate(wanted)])
            (said,) = [x for x in answers if x["event"] == "message" and not x["replay"]]
            self.assertEqual(said["text"], requests[2]["message"])

    def test_the_bot_of_the_page(self) -> None:
        """The bot in docs/protocol.md answers, in the lobby and in private."""
        page = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text()
        code = page.rpartition("```python\n")[2].partition("```")[0]
        self.assertIn("5000", code)
        bot = subprocess.Popen(
            [sys.executable, "-uc", code.replace("5000", str(self.daemon.port))],
            stdout=subprocess.PIPE,
            text=True,
        )
        self.addCleanup(bot.wait)
        self.addCleanup(bot.kill)
        assert bot.stdout is not None
        self.addCleanup(bot.stdout.close)
        self.assertEqual(bot.stdout.readline(), "login done\n")
        zoe = self.guest("zoe")
        zoe.send("ping\n/dm pingbot ping\n")
        zoe.see("pingbot: pong, zoe\n")
        zoe.see("pingbot -> you: pong\n")
        self.assertRegex(bot.stdout.readline(), r"^pong-\d+ done$")
        self.assertEqual(bot.stdout.readline(), "pong done\n")

    def test_repeated_after_kill_9(self) -> None:
        """A post that is repeated with its long label after C{kill -9} is not said again."""
        login = {"do": "register", "name": "bot", "password": "s3cret-pw"}
        post = {"do": "bc", "message": "deployed", "label": "deploy-2026-11-21"}
        first = self.ask(login, post)
        self.daemon.kill()
        self.daemon.start()
        again = self.ask({**login, "do": "login"}, post, {**post, "label": "x"})
        done = [x for x in (*first, *again) if x["event"] == "done"]
        self.assertEqual([x["seq"] for x in done], [1, 1, 2])
        self.assertEqual(done[0]["id"], done[1]["id"])


class GoneTest(DaemonTestCase):
    def test_a_reset_connection_leaves_at_once(self) -> None:
        """A person whose connection is reset leaves at once."""
        alice, bob = self.guest("alice"), self.guest("bob")
        alice.see("* bob joined\n")
        bob.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        bob.socket.close()
        alice.see("* bob left\n")
        again = self.guest("bob")
        again.send("/users\n")
        again.see("* 2 people are in the lobby")

    def test_name_is_free_after_vanishing_at_the_password(self) -> None:
        """Somebody who goes away while registering does not lock the name."""
        with Peer(self.daemon.port) as peer:
            peer.send("alice\n")
            peer.see("New password: ")
        with Peer(self.daemon.port) as peer:
            peer.send("/register alice wonderland\n/users\n")
            peer.see("* 1 person is in the lobby: alice\n")
        self.assertNoTraceback()


class LimitsTest(DaemonTestCase):
    options = ("--max-connections", "2", "--name", "tiny")

    def test_full(self) -> None:
        """A script that finds the server full is told so."""
        self.guest("alice")
        self.guest("bob")
        with Peer(self.daemon.port) as peer:
            self.assertEqual(peer.rest(), "! this server is full; try again later\n")


class ClosedTest(DaemonTestCase):
    options = ("--no-guests", "--no-registration", "--name", "closed")

    def test_nobody_new(self) -> None:
        """Without guests and registration a new name is refused with a sentence."""
        answer = pipe(self.daemon.port, "\nalice\n/guest bob\n/register bob builder-pw\n")
        self.assertIn("! this server admits no guests; type a name to register it\n", answer)
        self.assertIn("! this server admits no guests and registers no new names\n", answer)
        self.assertIn("! this server admits no guests; register a name\n", answer)
        self.assertIn("! this server does not register new names\n", answer)
