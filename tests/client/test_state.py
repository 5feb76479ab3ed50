"""What a client knows besides its lines, and what it remembers of what was typed."""

from pathlib import Path

from prompt_toolkit.utils import get_cwidth
from twisted.trial.unittest import SynchronousTestCase

from twisted_chat.client.lines import Event
from twisted_chat.client.recall import MOST, Recall
from twisted_chat.client.screen import wrapped
from twisted_chat.client.show import plain
from twisted_chat.client.state import State, common


def _users(room: str, *names: str) -> Event:
    return {
        "event": "users",
        "room": room,
        "users": [{"name": name, "account": True} for name in names],
    }


class StateTests(SynchronousTestCase):
    """Alice, connected, in the lobby."""

    def setUp(self) -> None:
        self.state = State()
        self.state.name = "alice"
        self.state.link = "connected"
        self.take(_users("lobby", "alice", "bob"), _users("dev", "alice", "carol"))

    def take(self, *events: Event, new: bool = True) -> None:
        for event in events:
            self.state.take(event, new=new)

    def here(self, number: int) -> None:
        self.assertIn(f"{number} here", self.state.status(80))

    def test_who_is_here(self) -> None:
        """Follows who comes and goes, by name or by number."""
        self.here(2)
        self.take({"event": "joined", "room": "lobby", "name": "dave"})
        self.here(3)
        self.take({"event": "joined", "room": "lobby", "name": "dave"})
        self.here(3)
        self.take({"event": "joined", "room": "lobby", "count": 812})
        self.here(815)
        self.take({"event": "left", "room": "lobby", "count": 800})
        self.here(15)
        self.take({"event": "renamed", "name": "bob", "to": "rob"})
        self.here(15)
        self.take({"event": "left", "room": "lobby", "name": "rob"})
        self.here(14)
        self.take(_users("lobby", "alice"))
        self.here(1)

    def test_gone_from_everywhere(self) -> None:
        """Who leaves the lobby has left the other rooms too."""
        self.take({"event": "left", "room": "lobby", "name": "carol"})
        self.state.talk_in("dev")
        self.here(1)

    def test_left_a_room(self) -> None:
        """Nothing of it is known any more."""
        self.take({"event": "message", "room": "dev", "from": "carol"})
        self.assertIn("unread #dev 1", self.state.status(80))
        self.take({"event": "left", "room": "dev", "name": "alice"})
        self.assertEqual(self.state.status(80), "#lobby · 2 here · alice · connected")

    def test_unread(self) -> None:
        """Is what others have said elsewhere, until one looks there."""
        said = {"event": "message", "room": "dev", "from": "carol"}
        self.take(said, said, {**said, "from": "alice"}, {**said, "room": "lobby"})
        self.take(said, new=False)
        self.assertIn("unread #dev 2", self.state.status(80))
        self.state.talk_in("dev")
        self.assertNotIn("unread", self.state.status(80))

    def test_status_fits(self) -> None:
        """The least important is left out first."""
        self.take({"event": "message", "room": "dev", "from": "carol"})
        self.state.unsent = ["one", "two", "three"]
        whole = "#lobby · unread #dev 1 · 3 not sent · 2 here · alice · connected"
        self.assertEqual(self.state.status(80), whole)
        self.state.name = "名前"
        for width in range(80):
            self.assertLessEqual(get_cwidth(self.state.status(width)), width)
        self.assertEqual(self.state.status(24), "#lobby · unread #dev 1")
        self.state.link = "not connected"
        self.assertEqual(self.state.status(24), "not connected · #lobby")

    def test_completions(self) -> None:
        """Commands at the beginning, rooms and names where they belong, and else who is here."""
        commands = [
            {"usage": "/users [ROOM]", "also": ["/who"]},
            {"usage": "PM", "also": []},
            {"usage": "/join ROOM", "also": []},
        ]
        self.take({"event": "help", "commands": commands})
        self.take({"event": "rooms", "rooms": [{"room": "ops"}, {"room": "lobby"}]})
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
            self.assertEqual(self.state.completions(before)[1], whole, before)

    def test_common(self) -> None:
        """Is how all of them begin."""
        self.assertEqual(common(["/leave", "/login", "/logout"]), "/l")
        self.assertEqual(common(["bob", "bobby"]), "bob")
        self.assertEqual(common(["a", "b"]), "")

    def test_nonsense(self) -> None:
        """Is passed over."""
        for event in (
            {"event": "users", "room": "lobby", "users": "bob"},
            {"event": "joined", "room": "lobby", "count": "x"},
            {"event": "rooms"},
            {"event": "help", "commands": [{"usage": "", "also": []}]},
        ):
            self.take(event)
        self.here(2)


class RecallTests(SynchronousTestCase):
    """What was typed before."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp()) / "state" / "history"

    def lines(self) -> list[str]:
        """As a client that is started now has them, the newest first."""
        return list(Recall(self.path).load_history_strings())

    def test_kept(self) -> None:
        """In order, each once in a row, and for the owner only."""
        recall = Recall(self.path)
        for line in "one", "two", "two", "zwei ü":
            recall.keep(line)
        self.assertEqual(self.lines(), ["zwei ü", "two", "one"])
        self.assertEqual(self.path.stat().st_mode & 0o777, 0o600)
        self.assertEqual(self.path.parent.stat().st_mode & 0o777, 0o700)

    def test_readable_by_others(self) -> None:
        """Is mended."""
        self.path.parent.mkdir(parents=True)
        self.path.write_text("one\n")
        self.path.chmod(0o644)
        Recall(self.path).keep("two")
        self.assertEqual(self.lines(), ["two", "one"])
        self.assertEqual(self.path.stat().st_mode & 0o777, 0o600)

    def test_no_passwords(self) -> None:
        """However the command is spelt."""
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
        """What an older client has kept goes, also from the file."""
        self.path.parent.mkdir(parents=True)
        self.path.write_text("one\nx/login alice s3cret-pw\ntwo\n")
        self.assertEqual(self.lines(), ["two", "one"])
        self.assertEqual(self.path.read_text(), "one\ntwo\n")

    def test_bounded(self) -> None:
        """The oldest go."""
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
        """And indented, but for the first."""
        self.assertEqual(self.rows("short", 20), ["short"])
        self.assertEqual(
            self.rows("12:00 bob: one two three four", 16),
            ["12:00 bob: one ", "  two three four"],
        )

    def test_long_words(self) -> None:
        """Are broken where they must be."""
        self.assertEqual(self.rows("x" * 25, 10), ["x" * 10, " " + "x" * 9, " " + "x" * 6])

    def test_always_fits(self) -> None:
        """Whatever it is made of, and nothing but spaces is lost."""
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
