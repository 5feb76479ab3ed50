"""Clients of other protocols on this port: how to recognise them, and what to answer. Pure."""

import re

from . import proxy

HANDSHAKE = b"\x16"
"""The first byte of a TLS connection: the record type of a ClientHello (RFC 8446, section 5.1)."""

CLIENT_HELLO = b"\x16\x03"
"""The first bytes of a TLS connection: the record type and the major version."""

# A request line (RFC 9112, section 3), also that of HTTP/2's preface (RFC 9113, section 3.4).
_HTTP = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+[ \t]+\S.*[ \t]HTTP/\d(?:\.\d)?\s*\Z")

# What an IRC client sends first (RFC 2812, section 3.1; https://ircv3.net/specs/capability-negotiation).
_IRC = re.compile(rb"CAP +(?:LS|LIST|REQ|END)\b|(?:PASS|NICK) +:?\S|USER +\S+ +\S+ +\S+ +:?\S")

_WITHOUT_TLS = "telnet HOST PORT, nc HOST PORT or twisted-chat HOST PORT"
_WITH_TLS = "openssl s_client -quiet -connect HOST:PORT or twisted-chat --tls HOST PORT"


def is_http(line: bytes) -> bool:
    """Tell whether a line is the request line of an HTTP request."""
    return _HTTP.match(line) is not None


def is_irc(line: bytes) -> bool:
    """Tell whether a line is what an IRC client sends first."""
    return _IRC.match(line) is not None


def http_answer(*, tls: bool) -> bytes:
    """Give the response to any HTTP request: 400, with a text that says what this port is.

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
    """Give the answer to any IRC client.

    @param tls: the port speaks TLS.
    """
    return f"ERROR :this port does not speak IRC; join with {_ways(tls)}\r\n".encode()


def tls_answer() -> bytes:
    """Give the answer to a ClientHello on a port without TLS.

    It is plain text, not a TLS alert. The alerts that would fit (no common version, no common
    cipher) mislead people, while TLS libraries report plain text as such: OpenSSL's message for it
    is "wrong version number".
    """
    return f"! this port does not speak TLS; join with {_ways(False)}\n".encode()


def proxy_answer() -> bytes:
    """Give the answer to a proxy's header (see L{proxy}) where none is accepted. The proxy passes
    it on to its client, who may be the operator."""
    return b"! this server accepts no PROXY header from here; is the proxy in --proxies?\n"


def plain_answer(first: bytes) -> bytes:
    """Give the answer to what is not TLS on a port that speaks only TLS.

    @param first: what the peer has sent, up to the end of its first line if it has one.
    """
    if proxy.is_header(first):
        return proxy_answer()
    line = first.lstrip(b"\r\n").partition(b"\n")[0]
    if is_http(line):
        return http_answer(tls=True)
    return f"! this port speaks TLS; join with {_ways(True)}\n".encode()


def _ways(tls: bool) -> str:
    return _WITH_TLS if tls else _WITHOUT_TLS
