"""Programs that take this port for another one: how to know them, and what to answer. Pure."""

import re

HANDSHAKE = b"\x16"
"""The first byte of a TLS connection: the record type of a ClientHello (RFC 8446, section 5.1)."""

CLIENT_HELLO = b"\x16\x03"
"""The first bytes of a TLS connection: the record type and the major version."""

# A request line (RFC 9112, section 3), also that of HTTP/2's preface (RFC 9113, section 3.4).
_HTTP = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+[ \t]+\S.*[ \t]HTTP/\d(?:\.\d)?\s*\Z")

# What a client says first (RFC 2812, section 3.1, and https://ircv3.net/specs/capability-negotiation).
_IRC = re.compile(rb"CAP +(?:LS|LIST|REQ|END)\b|(?:PASS|NICK) +:?\S|USER +\S+ +\S+ +\S+ +:?\S")

_WITHOUT_TLS = "telnet HOST PORT, nc HOST PORT or twisted-chat HOST PORT"
_WITH_TLS = "openssl s_client -quiet -connect HOST:PORT or twisted-chat --tls HOST PORT"


def is_http(line: bytes) -> bool:
    """Whether a line is the first one of an HTTP request."""
    return _HTTP.match(line) is not None


def is_irc(line: bytes) -> bool:
    """Whether a line is what an IRC client says first."""
    return _IRC.match(line) is not None


def http_answer(*, tls: bool) -> bytes:
    """The response to any HTTP request: 400, with text that says what this port is.

    @param tls: the port speaks TLS.
    """
    text = f"This is a chat server, not a web server.\nTo join, use {_ways(tls)}.\n".encode()
    return (
        b"HTTP/1.1 400 Bad Request\r\n"
        b"Content-Type: text/plain; charset=utf-8\r\n"
        b"Content-Length: %d\r\n"
        b"Connection: close\r\n\r\n%b" % (len(text), text)
    )


def irc_answer(*, tls: bool) -> bytes:
    """The answer to any IRC client.

    @param tls: the port speaks TLS.
    """
    return f"ERROR :this port does not speak IRC; join with {_ways(tls)}\r\n".encode()


def tls_answer() -> bytes:
    """The answer to a ClientHello on a port without TLS.

    It is a sentence, not a TLS alert: what an alert can say (no common version, no common cipher)
    sends people the wrong way, while TLS libraries have a word of their own for plain text, such
    as OpenSSL's "wrong version number".
    """
    return f"! this port does not speak TLS; join with {_ways(False)}\n".encode()


def plain_answer(first: bytes) -> bytes:
    """The answer to what is not TLS, on a port that speaks nothing else.

    @param first: what the peer has sent, up to the end of its first line if there is one.
    """
    line = first.lstrip(b"\r\n").partition(b"\n")[0]
    if is_http(line):
        return http_answer(tls=True)
    return f"! this port speaks TLS; join with {_ways(True)}\n".encode()


def _ways(tls: bool) -> str:
    return _WITH_TLS if tls else _WITHOUT_TLS
