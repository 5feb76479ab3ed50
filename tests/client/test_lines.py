"""Words to lines, lines to events."""

import json

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twisted_chat.client import lines
from twisted_chat.client.lines import Refused
from twisted_chat.core.text import clean
from twisted_chat.protocol import grammar
from twisted_chat.protocol.jsonlines import is_request

_HIDDEN = [
    f"{unseen}{text}"
    for unseen in ("\u200c", "\u200d", "\u200e", "\u200f", "\u061c")
    for text in ("/quit", "!quit", "PM", '"x"')
]
"""What a server looks for behind characters that nobody sees, and that stay in a text."""


class SayTests(SynchronousTestCase):
    """What is said arrives as it is: the server's own parser is asked."""

    @given(st.text(min_size=1))
    def test_literally(self, text: str) -> None:
        """Said alone, and behind a command."""
        try:
            said = lines.sayable(text)
        except Refused:
            return
        parsed = grammar.parse(lines.literally(said))
        assert isinstance(parsed, grammar.Speech)
        self.assertEqual(clean(parsed.text), said)
        for word in ("/bc", "/me"):
            parsed = grammar.parse(f"{word} {lines.literally(said)}")
            assert isinstance(parsed, grammar.Command)
            (argument,) = grammar.request(parsed).fields.values()
            self.assertEqual(clean(argument), said)

    def test_examples(self) -> None:
        """Those that a server would take for something else."""
        for text in (
            "/quit",
            "//x",
            "!users",
            '"x"',
            "PM",
            "dm",
            "exit",
            "  x",
            "! x",
            "!!!",
            '{"do":"quit"}',
            *_HIDDEN,
        ):
            line = lines.literally(text)
            parsed = grammar.parse(line)
            assert isinstance(parsed, grammar.Speech)
            self.assertEqual(clean(parsed.text), text)
            self.assertFalse(is_request(line.encode()))

    def test_nothing_to_say(self) -> None:
        """Refused here, with the codes of the protocol."""
        for text, code in (
            ("", "bad-arguments"),
            ("\u200b", "bad-arguments"),
            ("\x1b", "bad-encoding"),
        ):
            self.assertEqual(self.assertRaises(Refused, lines.sayable, text).code, code)

    def test_waiting(self) -> None:
        """What waits to be sent is shown, the newest of it, but not what holds a password."""
        typed = ["one", "the login page is broken", "/login a pw", "x/login bob pw", "", "/users"]
        self.assertEqual(lines.waiting(typed, 2), ["the login page is broken", "/users"])

    def test_one_line(self) -> None:
        """Nobody smuggles a second line in, or more than a line takes."""
        for line, code in (("/topic a\n/quit", "bad-encoding"), ("x" * 4097, "too-long")):
            self.assertEqual(self.assertRaises(Refused, lines.fits, line).code, code)
        self.assertEqual(lines.fits("x" * 4096), "x" * 4096)

    @given(st.text(min_size=1))
    def test_password_is_one_word(self, password: str) -> None:
        """Or it is refused."""
        try:
            word = lines.word(password)
        except Refused:
            return
        parsed = grammar.parse(f"/login a {word}")
        assert isinstance(parsed, grammar.Command)
        self.assertEqual(grammar.request(parsed).fields, {"name": "a", "password": password})


class EventTests(SynchronousTestCase):
    """A server is not trusted either."""

    def test_safe_to_show(self) -> None:
        """No string in an event has a control character or an override, wherever it is."""
        bad = "a\x1b[31m\u202eb\x07\x9bc"
        event = lines.event(json.dumps({"event": "x", "a": [{"b": bad}], bad: 1}).encode())
        assert event is not None
        self.assertEqual(event["a"], [{"b": "a[31mbc"}])
        self.assertIn("a[31mbc", event)

    def test_what_is_none(self) -> None:
        """Is passed over: no JSON, no object, no event, fields that are missing or of a type of
        their own, and nesting without an end."""
        for line in (
            b"",
            b"Name: ",
            b"{",
            b"{}",
            b"[]",
            b'{"event":1}',
            b'{"event":"message","room":"lobby"}',
            b'{"event":"history","room":"lobby","count":true}',
            b'{"event":"dm","from":"a","to":"b","text":"c","replay":false,"id":"1"}',
            b'{"event":"x","a":' + b"[" * 100_000,
            b'{"event":"x","a":' + b"[" * 900 + b"]" * 900 + b"}",
            b'{"event":"\xff"}',
        ):
            event = lines.event(line)
            self.assertTrue(event is None or event["event"] == "x", line[:80])

    @given(st.binary())
    def test_anything(self, line: bytes) -> None:
        """Raises nothing."""
        lines.event(line)
        lines.event(b"{" + line)
