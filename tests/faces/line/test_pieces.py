"""A session is the same however its bytes are cut up."""

import re
from collections.abc import Sequence

from twisted_chat.core.limits import Limits
from twisted_chat.faces import face

from .server import (
    ServerTestCase,
)

_PROMPTS = re.compile(
    rb"Name: |Command, or press Enter to pick a name: |\xff\xfd\x00|"
    rb"(?:\xff\xfb\x01\r\x1b\[K)?(?:New p|P)assword: \x1b\[8m|"
    rb"\x1b\[0m(?:\xff\xfc\x01\r\x1b\[K)?"
)
"""What is written only when no line is there yet: somebody may be typing."""

_SCRIPTS: dict[str, bytes] = {
    "a guest": (
        b"/guest alice\nhello\n/me waves\n/users\n/rooms\n/topic tea\n/topic\n/bc all\n"
        b"/join tea\nin tea\n/history 5\n/leave\n/nick bob\n/users\n/quit\n"
    ),
    "an account": (
        b"/register alice wonderland\nhello\n/dm alice psst\n/passwd wonderland looking-glass\n"
        b"/history 3\n/history @alice\n/logout\n"
    ),
    "the prompts": b"bob\nbuilder-pw\nhello\n/users\n",
    "the prompts, as a guest": b"alice\n\nhello\n/users\n",
    "refused at the prompts": b"/nonsense\n/login bob wrong\nalice\n/guest alice\n/users\nEX\n",
    "the seeds' words": b"\nPM\nhello all\nDM\nguest1\npsst\nDM\nnobody\nx\nPM\n\n!who\nexit\n",
    "telnet": (
        b"\xff\xfd\x03\xff\xfb\x18\xff\xfa\x18\x00vt\xff\xff100\xff\xf0/guest alice\r\n"
        b"hell\x7f\x7fllo\r\0gone\x15here\r\n/users\r\nhalf\xff\xf8whole\r\n/quit\r\n"
    ),
    "Ctrl-D": b"/guest alice\r\nhello\r\n\x04never\r\n",
    "half-close": b"/guest alice\nhello\n/users\nno end",
    "refusals": (
        b"/users\n/nonsense\n/guest alice\n/usres\n/dm\n/dm nobody hi\ncaf\xe9\n\x1b[A\n"
        + b"x" * 4097
        + b'\n/help dm\n//slash\n"quoted"\n'
    ),
    "letters": "/guest zoë\nгрüße 🎉\n/me смеётся\n/history\n".encode(),
    "JSON": (
        b"/json on\n/register bot s3cret-pw\nhello\n/dm bot hi\n/users\n/rooms\n/nonsense\n"
        b"/json off\ntext\n/json on\n/me nods\n/history 2\n/help quit\n"
    ),
    "many lines": b"/guest alice\n" + b"".join(b"line %d\n" % n for n in range(200)) + b"/users\n",
    "nothing": b"",
}


class PiecesTests(ServerTestCase):
    """A session is the same however its bytes are cut up."""

    limits = Limits(max_in_flight=10, line_rate=0)

    def setUp(self) -> None:
        super().setUp()
        self.patch(face, "token_urlsafe", lambda _: "the same each time")

    def run_script(self, script: bytes, size: int | None) -> tuple[bytes, Sequence[str]]:
        """Send a script and half-close; return the output, without prompts and with LF for CR LF,
        and the log."""
        self.serve()
        self.register("bob", "builder-pw")
        peer = self.peer()
        peer.send(script, size)
        peer.end()
        self.settle()
        self.assertTrue(peer.gone)
        received = _PROMPTS.sub(b"", peer.take_bytes()).replace(b"\r\n", b"\n")
        return received, [m.text for m in self.messages]

    def test_one_byte_at_a_time(self) -> None:
        """A script that is sent byte by byte gives the same output and log as in one piece."""
        for name, script in _SCRIPTS.items():
            whole = self.run_script(script, None)
            self.assertEqual(self.run_script(script, 1), whole, name)

    def test_other_pieces(self) -> None:
        """A script that is cut elsewhere gives the same output and log, too."""
        for name, script in _SCRIPTS.items():
            whole = self.run_script(script, None)
            for size in 2, 3, 7, 64:
                self.assertEqual(self.run_script(script, size), whole, f"{name}, by {size}")

    def test_scripts_say_what_they_are_to_say(self) -> None:
        """The scripts give the expected output."""
        logs = {name: self.run_script(script, 1)[1] for name, script in _SCRIPTS.items()}
        self.assertEqual(logs["a guest"], ["hello", "waves", "all", "in tea"])
        self.assertEqual(logs["the prompts"], ["hello"])
        self.assertEqual(logs["the seeds' words"], ["hello all"])
        self.assertEqual(logs["telnet"], ["hello", "here", "whole"])
        self.assertEqual(logs["Ctrl-D"], ["hello"])
        self.assertEqual(logs["half-close"], ["hello", "no end"])
        self.assertEqual(logs["refusals"], ["/slash", "quoted"])
        self.assertEqual(logs["letters"], ["грüße 🎉", "смеётся"])
        self.assertEqual(len(logs["many lines"]), 200)
        for name, script in _SCRIPTS.items():
            self.assertTrue(self.run_script(script, 1)[0].endswith((b"bye\n", b'"bye"}\n')), name)
