"""The terminal's last line and Tab, what it remembers of what was typed, and its rows."""

from pathlib import Path

from prompt_toolkit.utils import get_cwidth
from twisted.trial.unittest import SynchronousTestCase

from twisted_chat.client.lines import Event
from twisted_chat.client.show import plain
from twisted_chat.client.terminal.recall import MOST, Recall
from twisted_chat.client.terminal.screen import wrapped
from twisted_chat.client.terminal.status import Status

from .test_model import users


class StatusTests(SynchronousTestCase):
    """Alice, connected, in the lobby."""

    def setUp(self) -> None:
        self.status = Status()
        self.status.model.name = "alice"
        self.status.link = "connected"
        self.take({"event": "joined", "room": "dev", "name": "alice", "account": True})
        self.take(users("lobby", "alice", "bob"), users("dev", "alice", "carol"))
        self.status.talk_in("lobby")

    def take(self, *events: Event) -> None:
        for event in events:
            self.status.model.take(event)

    def said(self, room: str) -> None:
        said = {"room": room, "from": "carol", "text": "x", "new": True}
        self.take({"event": "message", **said})

    def test_unread(self) -> None:
        """Messages in other rooms are counted until one talks there."""
        self.said("dev")
        self.said("lobby")
        self.said("dev")
        self.assertIn("#lobby · unread #dev 2 ·", self.status.line(80))
        self.status.talk_in("dev")
        self.assertEqual(self.status.line(80), "#dev · 2 here · alice · connected")

    def test_fits(self) -> None:
        """The status line leaves out the least important first."""
        self.said("dev")
        self.status.unsent = ["one", "two", "three"]
        whole = "#lobby · unread #dev 1 · 3 not sent · 2 here · alice · connected"
        self.assertEqual(self.status.line(80), whole)
        self.status.model.name = "名前"
        for width in range(80):
            self.assertLessEqual(get_cwidth(self.status.line(width)), width)
        self.assertEqual(self.status.line(24), "#lobby · unread #dev 1")
        self.status.link = "not connected"
        self.assertEqual(self.status.line(24), "not connected · #lobby")

    def test_completions(self) -> None:
        """Tab completes commands at the beginning, rooms and names behind the commands that take
        them, and elsewhere the names of those who are here."""
        commands = [
            {"usage": "/users [ROOM]", "also": ["/who"]},
            {"usage": "PM", "also": []},
            {"usage": "/join ROOM", "also": []},
        ]
        self.take({"event": "help", "commands": commands})
        rooms = [{"room": "ops", "members": 1}, {"room": "lobby", "members": 2}]
        self.take({"event": "rooms", "rooms": rooms})
        for before, whole in (
            ("/", ["/join ", "/users ", "/who "]),
            ("/U", ["/users "]),
            ("//u", []),
            ("", []),
            ("b", ["bob: "]),
            ("B", ["bob: "]),
            ("hi b", ["bob "]),
            ("@b", ["@bob "]),
            ("a", []),
            ("c", ["carol: "]),
            ("/dm ", []),
            ("/dm c", ["carol "]),
            ("/join o", ["ops "]),
            ("/join ", ["dev ", "lobby ", "ops "]),
            ("see #d", ["#dev "]),
        ):
            self.assertEqual(self.status.completions(before)[1], whole, before)


class RecallTests(SynchronousTestCase):
    """What was typed before."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp()) / "state" / "history"

    def lines(self) -> list[str]:
        """As a client that is started now has them, the newest first."""
        return list(Recall(self.path).load_history_strings())

    def test_kept(self) -> None:
        """Lines are kept in order, repeated ones once, in a file for the owner only."""
        recall = Recall(self.path)
        for line in "one", "two", "two", "zwei ü":
            recall.keep(line)
        self.assertEqual(self.lines(), ["zwei ü", "two", "one"])
        self.assertEqual(self.path.stat().st_mode & 0o777, 0o600)
        self.assertEqual(self.path.parent.stat().st_mode & 0o777, 0o700)

    def test_readable_by_others(self) -> None:
        """A file that others can read is made readable for its owner only."""
        self.path.parent.mkdir(parents=True)
        self.path.write_text("one\n")
        self.path.chmod(0o644)
        Recall(self.path).keep("two")
        self.assertEqual(self.lines(), ["two", "one"])
        self.assertEqual(self.path.stat().st_mode & 0o777, 0o600)

    def test_no_passwords(self) -> None:
        """A line with a password is not kept, however its command is spelt."""
        secret = (
            "/login a pw",
            "/register a pw",
            "/passwd a b",
            " /login a pw",
            "!login a pw",
            "//login a pw",
            "/LOGIN a pw",
            "/lgoin a pw",
            "/regsiter a pw",
            "/paswd a b",
            "/password a b",
            "login a pw",
            "/reg a pw",
            "/rgstr a pw",
            "/pwd a b",
            "/signin a pw",
            "/identify pw",
            "/msg nickserv identify pw",
            "x/login alice pw",
            "/ login a pw",
            "\u3000/login a pw",
            "\uff0flogin a pw",
        )
        recall = Recall(self.path)
        for line in secret:
            recall.keep(line)
        self.assertEqual(self.lines(), [])

    def test_passwords_of_before(self) -> None:
        """A password that an older client kept is removed, also from the file."""
        self.path.parent.mkdir(parents=True)
        self.path.write_text("one\nx/login alice s3cret-pw\ntwo\n")
        self.assertEqual(self.lines(), ["two", "one"])
        self.assertEqual(self.path.read_text(), "one\ntwo\n")

    def test_bounded(self) -> None:
        """A file that is too long loses its oldest lines."""
        self.path.parent.mkdir(parents=True)
        self.path.write_text("".join(f"{n}\n" for n in range(2 * MOST + 1)))
        self.assertEqual(self.lines()[0], str(2 * MOST))
        self.assertEqual(len(self.path.read_text().splitlines()), MOST)

    def test_nowhere(self) -> None:
        """Where nothing can be written, there is nothing to recall, and no error."""
        nowhere = Recall(Path("/dev/null/history"))
        nowhere.keep("one")
        self.assertEqual(list(nowhere.load_history_strings()), [])
        self.assertEqual(nowhere.get_strings(), ["one"])


class WrapTests(SynchronousTestCase):
    """A line in rows."""

    def rows(self, text: str, width: int) -> list[str]:
        return plain(wrapped([("text", text)], width)).split("\n")

    def test_broken_at_spaces(self) -> None:
        """Rows break at spaces, and all but the first are indented."""
        self.assertEqual(self.rows("short", 20), ["short"])
        self.assertEqual(
            self.rows("12:00 bob: one two three four", 16),
            ["12:00 bob: one ", "  two three four"],
        )

    def test_long_words(self) -> None:
        """A word that is longer than a row is broken."""
        self.assertEqual(self.rows("x" * 25, 10), ["x" * 10, " " + "x" * 9, " " + "x" * 6])

    def test_always_fits(self) -> None:
        """Any text fits its rows, and loses nothing but spaces."""
        for text in (
            "a bb ccc dddd eeeee " * 5,
            "名前 が 長い " * 9,
            "e\u0301 " * 30,
            " " * 90 + "x",
        ):
            for width in range(4, 90):
                rows = self.rows(text, width)
                self.assertLessEqual(max(map(get_cwidth, rows)), width)
                self.assertEqual("".join(rows).replace(" ", ""), text.replace(" ", ""))
                for row in rows[1:]:
                    self.assertTrue(row.startswith(" "), rows)
