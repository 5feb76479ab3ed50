"""However what a peer sends is cut up on its way, the same comes of it."""

import re

from tests.faces.line.server import ServerTestCase

_SESSIONS = (
    b'/register alice "s3cret password"\nhello\n/who\n/quit\n',
    b"alice\r\n\r\nna\xc3\xafve \xf0\x9f\x98\x80\r\nhelo\x7flo\r\nEX\r\n",
    b"\xff\xfd\x03\xff\xfb\x18\r\x00PM\r\x00to \xff\xf1all\r\x00\xff\xf4\xff\xfd\x06hi\r\x00\x04",
    b'/json on\n/register bob "two words"\nhi\n/json off\nDM\nbob\npsst\n',
    b"/guest carol\n\xff\xff\n\xc3\n\x1b[A\n\xff\xfa\x18\x00X\xff\xff\xff\xf0/join tea\n//x\n/fro",
    b"/guest dora\nPM\nall\nPM\n\n/me waves\n\xff\xf6/topic tea at 5\n/topic\nwrong\x15right\n\x04",
)
"""In text and JSON, with dialogues, telnet, what is refused, and every way to end."""

_HIDDEN = re.compile(
    rb"(?:\xff\xfb\x01\r\x1b\[K)?(?:New )?[Pp]assword: \x1b\[8m|\x1b\[0m(?:\xff\xfc\x01\r\x1b\[K)?"
)
_AT_ONCE = re.compile(rb"Name: |\* /quit leaves\r?\n|\r\n\[yes\]\r\n|\xff[\xfb-\xfe].", re.DOTALL)

_TOKEN = re.compile(rb'(?<="session":")[^"]+')  # a random one in each session


class SplitTests(ServerTestCase):
    """Recorded sessions over a transport in memory."""

    def outcome(self, *pieces: bytes) -> tuple[bytes, list[bytes]]:
        """The lines that a peer gets who sends these pieces, each read by itself, and then ends;
        and what telnet is answered.

        Telnet is answered as soon as it is read, also between lines, and what is asked and how,
        and how lines end, depends on what has arrived by then.
        """
        self.serve()
        peer = self.peer()
        for piece in pieces:
            peer.send(piece)
        peer.end()
        self.settle()
        received = _HIDDEN.sub(b"", peer.take_bytes().replace(b"\xff\xfd\x00", b""))
        self.assertTrue(peer.gone)
        telnet = [answer for answer in _AT_ONCE.findall(received) if answer[:1] in b"\xff\r"]
        received = _TOKEN.sub(b"", _AT_ONCE.sub(b"", received)).replace(b"\r\n", b"\n")
        return received, telnet

    def test_cut_in_two_anywhere(self) -> None:
        """A session that is cut in two anywhere, or byte by byte, has the same outcome."""
        for session in _SESSIONS:
            whole = self.outcome(session)
            self.assertIn(b"bye", whole[0])
            for at in range(1, len(session)):
                self.assertEqual(self.outcome(session[:at], session[at:]), whole, session[:at])
            one_by_one = [session[at : at + 1] for at in range(len(session))]
            self.assertEqual(self.outcome(*one_by_one), whole, session)
