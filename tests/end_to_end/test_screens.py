"""What one person can do to the screens of others, and to the log: nothing."""

import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyte
from twisted.trial.unittest import SynchronousTestCase
from wcwidth import wcwidth

from tests.naughty import NASTY, NAUGHTY, RAW
from twisted_chat.service import CannotStart
from twisted_chat.tap import Options

from .terminal import DaemonTestCase, Peer

_DRAWING = {"draw", "linefeed", "carriage_return"}
"""What a terminal may be asked to do."""

_LOGGED = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4} \[[^\]]+\] [ -~]*\n")

_CONCEALED = re.compile("\x1b\\[8m|\x1b\\[0m|\ufffd\ufffd\0|\ufffd\ufffd\x01\r\x1b\\[K")
"""The only escape sequences there are: around a password that its owner types. A name that ends in
CR may be telnet's, which is asked for BINARY and told to echo nothing."""

_PROMPT = re.compile("(?:Name: |Password: |New password: |Again: |Command, or press Enter[^:]*: )+")

_NAME = r"[\w.\-]+"
_SPOKEN = re.compile(r"\[\d\d:\d\d\] (?:mallory: |mallory -> you: |\* mallory )")
_BY_THE_SERVER = re.compile(
    r"\* (?:mallory set the topic of the lobby: |mallory cleared the topic of the lobby$"
    r"|topic of the lobby, by mallory: |private messages to or from a guest are not kept)"
)
_CAME_OR_WENT = re.compile(
    r"\* (?:\d+ people (?:joined|left)|(?P<who>.+? is now .+|.+?)(?: joined| left)?)"
)
_ANSWER = re.compile(rf"[*!] |\[\d\d:\d\d\] (?:#{_NAME} )?(?:\* )?{_NAME}[: ]")


_QUOTED_FIELDS = (
    *("/{}", "!a{}", "/help {}", "/history {}", "/history 3 @{}", "/users {}", "/dm {} x"),
    *("/join {}", "/leave {}", "/json {}", "/login {} {}", "/passwd a {}", "DM\n{}\n"),
)
"""What is refused with a sentence about what was typed."""


_FED = re.compile(r"[ -~]+|[^ -~]")
"""What is fed to it at a time: pyte skips the rest of that after a joiner."""


class Screen:
    """A terminal of so many columns."""

    def __init__(self, columns: int) -> None:
        self._screen = pyte.Screen(columns, 300)
        self._stream = pyte.Stream(self._screen)

    def show(self, line: str) -> str:
        """What it shows of a line, over as many rows as it takes."""
        self._screen.reset()
        for part in _FED.findall(f"{line}\r\n"):
            self._stream.feed(part)
        return "".join(
            self._screen.buffer[row][column].data
            for row in range(self._screen.cursor.y)
            for column in range(self._screen.columns)
        ).rstrip(" ")


class Watcher:
    """Notes what a terminal is asked to do."""

    def __init__(self) -> None:
        self.asked: set[str] = set()
        for event in pyte.Stream.events:
            setattr(self, event, lambda *_, event=event, **__: self.asked.add(event))


def visible(line: str) -> str:
    """What a terminal has a place for, or puts on top of the character before."""
    kept = "".join(c for c in line if wcwidth(c) > 0 or unicodedata.combining(c))
    return unicodedata.normalize("NFC", kept).rstrip(" ")


class ScreenTests(DaemonTestCase):
    """Naughty strings in every field."""

    options = ("--wrong-passwords", "1000000000")

    def setUp(self) -> None:
        super().setUp()
        self.started = len(self.daemon.log)

    def json_guest(self, name: str) -> Peer:
        """As guest(), but a program."""
        peer = Peer(self.daemon.port)
        self.addCleanup(peer.socket.close)
        peer.send(f"/json on\n/guest {name}\n/json on\n")
        peer.see('"event":"welcome"')
        peer.see('"event":"hello"')
        peer.see("\n")
        return peer

    def check_screens(self, lines: Iterable[str], columns: Sequence[int] = (80, 20)) -> None:
        """These lines do to a terminal what they say, and nothing else."""
        watcher: Any = Watcher()
        stream = pyte.Stream(watcher)
        screens = [Screen(width) for width in columns]
        for line in dict.fromkeys(re.sub(r"^\[\d\d:\d\d\]", "[12:00]", line) for line in lines):
            self.assertIsNone(RAW.search(line), ascii(line))
            stream.feed(f"{line}\r\n")
            self.assertLessEqual(watcher.asked, _DRAWING, ascii(line))
            for screen in screens:
                shown = unicodedata.normalize("NFC", screen.show(line))
                self.assertEqual(shown, visible(line), ascii(line))

    def check_log(self) -> None:
        """Nothing was logged, or each event on one line and in plain text."""
        for line in self.daemon.log:
            self.assertRegex(line, _LOGGED)
        self.assertEqual(self.daemon.log[self.started :], [])

    def test_others_see_what_was_said_and_who_said_it(self) -> None:
        """Messages, actions, private messages and topics come as lines of their author, one each,
        to readers of text and of JSON, live and from the log."""
        bob, carol, mallory = self.guest("bob"), self.json_guest("carol"), self.guest("mallory")
        bob.see("mallory joined\n")
        carol.see('"name":"mallory","account":false,"room":"lobby"}\n')
        for nasty in NAUGHTY:
            mallory.send(f"{nasty}\n/bc {nasty}\n/me {nasty}\n/topic {nasty}\n")
            mallory.send(f"/dm bob {nasty}\n/dm carol {nasty}\nPM\n{nasty}\n")
        mallory.send("/topic Z" + "\u0301" * 90 + "\n/bc the end\n")
        seen = bob.see("mallory: the end\n").split("\n")[:-1]
        told = carol.see('"text":"the end"').split("\n")[:-1]
        self.assertGreater(len(seen), 3 * len(NAUGHTY))
        self.assertEqual(len(seen), len(told))
        for line, event in zip(seen, map(json.loads, told), strict=True):
            self.assertTrue(_SPOKEN.match(line) or _BY_THE_SERVER.match(line), ascii(line))
            author = event.get("from", "mallory")
            self.assertEqual(author, "mallory")
        self.check_screens(seen)
        for line in told:
            self.assertIsNone(RAW.search(line), ascii(line))
        late = Peer(self.daemon.port)
        self.addCleanup(late.socket.close)
        late.send("/guest late\n/history 1000\n/quit\n")
        replay = late.rest().split("\n")[:-1][3:]
        self.assertGreater(len(replay), 1000)
        for line in replay:
            self.assertTrue(
                _SPOKEN.match(line) or _BY_THE_SERVER.match(line) or line == "* bye", ascii(line)
            )
        self.check_screens(replay, ())
        self.check_log()

    def test_own_answers(self) -> None:
        """A text that an answer quotes does nothing to the screen of the person who typed it."""
        mallory = self.guest("mallory")
        for nasty in NAUGHTY:
            mallory.send("".join(f"{field.replace('{}', nasty)}\n" for field in _QUOTED_FIELDS))
        mallory.send("/quit\n")
        lines = mallory.rest().split("\n")[:-1]
        self.assertGreater(len(lines), 10 * len(NAUGHTY))
        for line in lines:
            self.assertRegex(line, _ANSWER)
        self.check_screens(lines)
        self.check_log()

    def test_names_and_passwords(self) -> None:
        """What is typed at the prompts, for a name or a password, harms nobody; what is taken for
        a name can be seen and is one word."""
        bob = self.guest("bob")
        scripts = [
            script
            for nasty in NAUGHTY
            if "\n" not in nasty  # what comes behind it would be said
            for script in (
                f"{nasty}\n{nasty}\n\n",
                f"/guest {nasty}\n/nick x{nasty}\n",
                f"/register {nasty} {nasty}\n/register mallory {nasty}\n",
            )
        ]
        answers = [
            line
            for received in self.sent(scripts)
            for line in _PROMPT.sub("", received).split("\n")
        ]
        self.guest("the-end")
        seen = bob.see("* the-end joined\n").split("\n")[:-1]
        for line in seen:
            match = _CAME_OR_WENT.fullmatch(line)
            assert match is not None, ascii(line)
            for name in re.split(", | is now ", match["who"] or ""):
                self.assertEqual(unicodedata.normalize("NFKC", name).lower(), name)
        self.assertGreater(len(seen), 100)
        self.check_screens(seen)
        self.check_screens(answers, (80,))
        self.check_log()

    def sent(self, scripts: Sequence[str]) -> Iterator[str]:
        """What each of these scripts is answered, on a connection of its own."""
        for at in range(0, len(scripts), 50):
            peers = [Peer(self.daemon.port) for _ in scripts[at : at + 50]]
            for peer, script in zip(peers, scripts[at : at + 50], strict=True):
                peer.send(script)
                peer.socket.shutdown(1)
            for peer in peers:
                with peer:
                    yield _CONCEALED.sub("", peer.rest())


class OptionTests(SynchronousTestCase):
    """Naughty strings from the operator."""

    def test_what_the_operator_gives_is_shown_safely_or_refused(self) -> None:
        """--name and --motd are like anything else that is shown."""
        motd = Path(self.mktemp())
        refused = 0
        for nasty in NASTY:
            motd.write_text(nasty, "utf-8", newline="")
            for option, value in (("--name", nasty), ("--motd", str(motd))):
                options = Options()
                try:
                    options.parseOptions([option, value])
                except CannotStart as error:
                    refused += 1
                    self.assertIsNone(RAW.search(str(error)), ascii(error))
                    continue
                for shown in (options["name"], *options.motd):
                    self.assertIsNone(RAW.search(shown), ascii(shown))
        self.assertGreater(refused, 100)
