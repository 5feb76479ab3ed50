"""What the pages say that people and programs go by is all there."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.support import NOW
from twisted_chat.core import events as e
from twisted_chat.core.errors import CODES
from twisted_chat.core.model import (
    SAID,
    TOPIC,
    Account,
    Entry,
    RoomRecord,
    Standing,
    conversation,
)
from twisted_chat.faces.line.wire import JsonFormat
from twisted_chat.protocol import jsonlines
from twisted_chat.protocol.commands import COMMANDS, Command

_TOP = Path(__file__).parent.parent

_TYPED = [command for command in COMMANDS if command.in_text]

_BLOCK = re.compile(r"^ *```.*?\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
_LOBBY = RoomRecord(1, "public", "lobby")
_DIRECT = conversation(Account(1, "alice"), Account(2, "bob"))
_SAID = e.Said(NOW, Entry(1, _LOBBY, 1, SAID, 1, "alice", NOW, "hello"))
_PLACES = (e.Place("lobby", 1, "", 3, 2, 1, False),)
_SAMPLES: Sequence[e.Event] = (
    e.Welcome(NOW, "alice", True, "lobby", 0),
    e.Motd(NOW, ("be kind",)),
    _SAID,
    e.Told(NOW, Entry(2, _DIRECT, 1, SAID, 1, "alice", NOW, "psst")),
    e.Joined(NOW, "lobby", (("bob", True),)),
    e.Left(NOW, "lobby", ("bob",)),
    e.Renamed(NOW, "guest1", "bob", account=True),
    e.Topic(NOW, "lobby", "tea", "bob", Entry(3, _LOBBY, 2, TOPIC, 2, "bob", NOW, "tea")),
    e.Members(NOW, "tea", 2, (Standing(Account(2, "bob"), "member"),)),
    e.Read(NOW, "tea", 2),
    e.Users(NOW, "lobby", (("alice", True),)),
    e.Crowd(NOW, "tea", 51),
    e.Rooms(NOW, (("lobby", 1, ""),)),
    e.Back(NOW, _PLACES),
    e.Where(NOW, "lobby", _PLACES),
    e.History(NOW, "lobby", (_SAID,)),
    e.Unread(NOW, 3, False, True),
    e.Omitted(NOW),
    e.Away(NOW, "bob", True),
    e.NotKept(NOW),
    e.Talking(NOW, "tea"),
    e.Help(NOW, (e.HelpEntry("/quit", ("/bye",), "leave"),)),
    e.Skipped(NOW, 3),
    e.Refused(NOW, "busy", "later", "/login", "7", {"room": "tea", "limit": 5, "nearest": "x"}),
    e.Done(NOW, "7", room="tea", seq=3, id=5),
    e.Answer(e.NotKept(NOW), "7"),
    e.Notice(NOW, "so"),
    e.Ping(NOW),
    e.Bye(NOW, "bye"),
)
"""An event of each kind."""


def _page(*path: str) -> str:
    return _TOP.joinpath(*path).read_text("utf-8")


def _code(page: str) -> str:
    """What stands between backquotes, or in a block of code; one piece a line."""
    blocks = _BLOCK.findall(page)
    return "\n".join(blocks + re.findall(r"`([^`]+)`", _BLOCK.sub("", page)))


def _names(page: str, name: str) -> bool:
    """The name stands on the page as code, in full."""
    return bool(re.search(rf"(?<![\w/-]){re.escape(name)}(?![\w-])", _code(page)))


def _typed(command: Command, word: str) -> str:
    return word if not command.in_text or word[0].isupper() else f"/{word}"


class ProtocolTests(SynchronousTestCase):
    """docs/protocol.md, which clients are written by."""

    def setUp(self) -> None:
        self.page = _page("docs", "protocol.md")

    def test_commands(self) -> None:
        """Every command and every other word for it, and the fields of a request."""
        for command in COMMANDS:
            if command.in_json:
                for field in (command.word, *(each.name for each in command.parameters)):
                    self.assertTrue(_names(self.page, field), (command.word, field))
            for word in (command.word, *command.also):
                self.assertTrue(_names(self.page, _typed(command, word)), word)

    def test_error_codes(self) -> None:
        """Every code that a refusal can have."""
        for code in sorted(CODES):
            self.assertTrue(_names(self.page, code), code)

    def test_samples_are_of_every_kind(self) -> None:
        """So that the next test leaves none out."""
        self.assertEqual({type(event) for event in _SAMPLES}, set(jsonlines._OBJECTS))

    def test_json_events(self) -> None:
        """Every kind of object, and every field that it can have."""
        json_format = JsonFormat("chat")
        lines = [json_format.hello(NOW), *(json_format.encode((event,)) for event in _SAMPLES)]
        kinds = set()
        for line in b"".join(lines).splitlines():
            fields = json.loads(line)
            kinds.add(fields["event"])
            rows = [row for value in fields.values() if isinstance(value, list) for row in value]
            names = {name for row in rows if isinstance(row, dict) for name in row}
            for name in (fields["event"], *fields, *names):
                self.assertTrue(_names(self.page, name), name)
        self.assertGreaterEqual(len(kinds), 28)


class ReadmeTests(SynchronousTestCase):
    """README.md, which people go by."""

    def setUp(self) -> None:
        self.page = _page("README.md")
        rows = re.findall(r"^\|(.*)\|$", self.page, re.MULTILINE)
        self.rows = [[cell.strip() for cell in row.split("|")] for row in rows]

    def test_commands(self) -> None:
        """Every command with a slash has a row in the table, with its parameters and with every
        other word for it; the bare words are named."""
        for command in _TYPED:
            if command.word[0].isupper():
                self.assertTrue(_names(self.page, command.word), command.word)
                continue
            rows = [row for row in self.rows if _names(row[0], f"/{command.word}")]
            self.assertEqual(len(rows), 1, command.word)
            for word in command.also:
                self.assertTrue(_names(rows[0][1], f"/{word}"), word)
            for parameter in re.findall(r"\b[A-Z]+\b", command.synopsis):
                self.assertIn(parameter, rows[0][0], command.word)

    def test_no_other_commands(self) -> None:
        """Every row of the table is a command that there is."""
        known = {
            f"/{word}"
            for command in _TYPED
            for word in (command.word, *command.also)
            if not word[0].isupper()
        }
        listed = [
            word
            for row in self.rows
            if row[0].startswith("`/")
            for cell in row[:2]
            for word in re.findall(r"`(/\S*?)[ `]", cell)
        ]
        self.assertEqual(set(listed), known)


class NameTests(SynchronousTestCase):
    """The search above does find, and does not find."""

    def test_in_full(self) -> None:
        """As code only, and no part of another word."""
        self.assertTrue(_names("type `/users` now", "/users"))
        self.assertTrue(_names("```\n/users tea\n```\n", "/users"))
        self.assertTrue(_names("  ```sh\n  nc\n  ```\n`/users`", "/users"))
        self.assertTrue(_names('`{"event":"left"}`', "left"))
        self.assertFalse(_names("type /users now", "/users"))
        self.assertFalse(_names("type `/usersx`", "/users"))
        self.assertFalse(_names("`name-taken`", "name"))
        self.assertFalse(_names("`/help` left `x`", "left"))
