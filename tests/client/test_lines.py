"""What a client says, and what it is told."""

import json

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twisted_chat.client import lines
from twisted_chat.client.lines import Refused
from twisted_chat.client.pieces import PIECE, pieces
from twisted_chat.core.text import clean


class SayTests(SynchronousTestCase):
    """What is said."""

    @given(st.text(min_size=1))
    def test_sayable(self, text: str) -> None:
        """The text that is sent is the one that the server will have, and stays so."""
        try:
            said = lines.sayable(text)
        except Refused:
            return
        self.assertEqual(clean(said), said)
        self.assertEqual(lines.sayable(said), said)

    def test_nothing_to_say(self) -> None:
        """Text in which there is nothing to say is refused by the client, with the codes of the
        protocol."""
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


class PieceTests(SynchronousTestCase):
    """Long texts."""

    @given(st.text(st.characters(exclude_categories=("Cs", "Cc"))), st.integers(1, 1500))
    def test_nothing_is_lost(self, text: str, times: int) -> None:
        """A long text is said in pieces that fit, and nothing of it is lost but spaces."""
        whole = f"x{text}" * times
        said = list(pieces(whole))
        self.assertTrue(all(0 < len(piece.encode()) <= PIECE for piece in said))
        self.assertEqual("".join(said).replace(" ", ""), lines.sayable(whole).replace(" ", ""))

    def test_broken_at_spaces(self) -> None:
        """If there is a space in the second half of a piece, it ends there."""
        self.assertEqual(list(pieces(f"{'x' * 3000} {'y' * 3000}")), ["x" * 3000 + " ", "y" * 3000])
        self.assertEqual(list(pieces("\u200b")), [])


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
        """A line that is no event is passed over: no JSON, no object, no C{event}, missing fields,
        fields of a wrong type, nesting without an end."""
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
        """No line raises anything."""
        lines.event(line)
        lines.event(b"{" + line)
