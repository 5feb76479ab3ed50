"""Who took this port for another one, and what they are answered."""

from twisted.trial.unittest import SynchronousTestCase

from twisted_chat.protocol import strangers


class StrangersTests(SynchronousTestCase):
    """Told by their first line, or by their first bytes."""

    def test_http(self) -> None:
        """A request line of any HTTP version is recognised, also HTTP/2's preface, and in lax
        spellings."""
        for line in (
            b"GET / HTTP/1.1",
            b"POST /%0a?x=/nick%20y HTTP/1.0",
            b"OPTIONS * HTTP/1.1",
            b"CONNECT host:5000 HTTP/1.1\r",
            b"PRI * HTTP/2.0",
            b"x-own.method! http://host:5000/ HTTP/1.1",
            b"GET  /two  spaces\tHTTP/1.1 ",
            b"GET /" + b"x" * 60_000 + b" HTTP/1.1",
        ):
            self.assertTrue(strangers.is_http(line), line)

    def test_no_http(self) -> None:
        """What people and programs say first is not taken for HTTP, though it be about HTTP."""
        for line in (
            b"",
            b"alice",
            b"/login alice HTTP/1.1",
            b"HTTP/1.1",
            b"GET /",
            b"POST / HTTP/1.1 and so on",
            b"/dm bob use HTTP/2",
            "Нина / HTTP/1.1".encode(),
            b'{"do":"say"} HTTP/1.1',
        ):
            self.assertFalse(strangers.is_http(line), line)

    def test_irc(self) -> None:
        """An IRC client is recognised by what it sends first: capabilities, a password, or its
        name."""
        for line in (
            b"CAP LS 302",
            b"CAP REQ :sasl",
            b"PASS s3cret",
            b"NICK alice",
            b"NICK :alice",
        ):
            self.assertTrue(strangers.is_irc(line), line)
        self.assertTrue(strangers.is_irc(b"USER alice 0 * :Alice Liddell"))

    def test_no_irc(self) -> None:
        """Names, commands, and what a person says in the same words are not taken for IRC."""
        for line in (b"nick", b"NICK", b"PASSWORD x", b"CAP", b"/nick alice", b"USER guide", b"PM"):
            self.assertFalse(strangers.is_irc(line), line)

    def test_http_answer(self) -> None:
        """The answer to HTTP is a whole response (RFC 9112) that says how to join."""
        for tls, way in (False, b"telnet HOST PORT"), (True, b"openssl s_client"):
            head, _, body = strangers.http_answer(tls=tls).partition(b"\r\n\r\n")
            status, *fields = head.split(b"\r\n")
            self.assertEqual(status, b"HTTP/1.1 400 Bad Request")
            self.assertIn(b"Content-Type: text/plain; charset=utf-8", fields)
            self.assertIn(b"Content-Length: %d" % len(body), fields)
            self.assertIn(b"Connection: close", fields)
            self.assertIn(way, body)

    def test_other_answers(self) -> None:
        """The other answers are one line each, which says what this port is."""
        for answer, words in (
            (strangers.irc_answer(tls=False), b"ERROR :this port does not speak IRC; "),
            (strangers.tls_answer(), b"! this port does not speak TLS; "),
            (strangers.plain_answer(b""), b"! this port speaks TLS; "),
            (strangers.plain_answer(b"alice\n"), b"! this port speaks TLS; "),
            (strangers.proxy_answer(), b"! this server accepts no PROXY header from here; "),
            (strangers.plain_answer(b"PROXY TCP4 192.0.2.7 "), strangers.proxy_answer()),
            (strangers.plain_answer(b"\r\n\r\n\0\r\nQUIT\n!"), strangers.proxy_answer()),
        ):
            self.assertTrue(answer.startswith(words))
            self.assertEqual(answer.count(b"\n"), 1)

    def test_http_on_a_port_with_tls(self) -> None:
        """HTTP on a port with TLS is answered in HTTP, also behind an empty line."""
        for first in b"GET / HTTP/1.1\r\nHost: x\r\n", b"\r\nGET / HTTP/1.1\r\n":
            self.assertEqual(strangers.plain_answer(first), strangers.http_answer(tls=True))
