"""Connections that end, in every possible way, while thousands of their lines wait."""

import re
import select
import socket
import ssl
import time
from collections import Counter
from collections.abc import Callable

from .outcome import Outcome
from .people import connect, log_in, reset, see
from .tls import TlsDaemon, client_context

_SAID = re.compile(rb"\] ([a-z]+)\d+: x\n")
_HERE = re.compile(rb"\* \d+ pe(?:rson|ople) (?:is|are) in the lobby: (.*)\n")
_GHOST = re.compile(r"(tls|tcp|proxy)(done|reset|closed|unread|stuffed)\d+")

_FLOOD = b"x\n" * 20_000
"""40 KB, which take more than an hour at five lines a second."""

_QUEUED = 64
"""Lines that the server queues before it stops reading."""

_OBSERVER = "127.9.0.1"
_PROXY = "127.8.0.3"


def run(short: bool) -> Outcome:
    """Run floods that end with close_notify, FIN or RST, and others that are half-closed."""
    outcome = Outcome()
    each, lines, rate, patience = (2, 60, 25, 30.0) if short else (15, 200, 5, 120.0)
    options = (
        *("--proxies", _PROXY),
        *("--trusted-networks", f"{_OBSERVER}/32", "--shared-networks", ""),
        *("--connections-per-minute", "0", "--max-per-address", "0", "--max-waiting", "0"),
        *("--line-rate", str(rate)),
    )
    with TlsDaemon(*options) as daemon:
        observer = _Observer(daemon.port)
        patient = _half_closed(daemon.port, lines)
        ways: dict[str, Callable[[str], socket.socket]] = {
            "tls": lambda name: _over_tls(daemon, name),
            "tcp": lambda name: log_in(daemon.port, name, "127.8.0.1"),
            "proxy": lambda name: _behind_proxy(daemon.port, name),
        }
        ghosts = {
            f"{way}{end}{number}": (ways[way], end)
            for way, end in (
                *(("tls", "done"), ("tls", "reset"), ("proxy", "closed")),
                *(("tcp", "closed"), ("tcp", "unread"), ("tcp", "reset")),
            )
            for number in range(each)
        }
        open_ones = [(join(name), end) for name, (join, end) in ghosts.items()]
        for sock, end in open_ones:
            if end != "done":
                sock.sendall(_FLOOD)
        observer.watch(0.5)
        for sock, end in open_ones:
            _end(sock, end)
        ended = time.monotonic()
        before = observer.said.copy()
        observer.watch(2.0)
        present = observer.present()
        while time.monotonic() < ended + patience and observer.present():
            observer.watch(0.25)
        gone = time.monotonic() - ended
        kinds = sorted({_kind(name) for name in ghosts})
        left = observer.present()
        for kind in kinds:
            said = (observer.said[kind] - before[kind]) / each
            went = observer.last_seen.get(kind, ended) - ended
            until = (
                f"still there after {gone:.0f} s" if left[kind] else f"the last until {went:.1f} s"
            )
            outcome.figures[f"{each} of {kind}"] = (
                f"{present[kind]} present after 2 s, {said:.0f} lines each after the end, {until}"
            )
            outcome.promise(not left[kind], f"{left[kind]} of {kind} are still there")
            outcome.promise(said <= _QUEUED, f"{kind} said {said:.0f} lines each after the end")
            if "reset" in kind:
                outcome.target(not present[kind], f"{present[kind]} of {kind} after 2 s")
        if not left:
            for name in ghosts:
                log_in(daemon.port, name, _OBSERVER).close()  # else it ends with an error
        heard = _rest(patient)
        observer.watch(0.1)
        outcome.figures[f"half-closed with {lines} lines"] = (
            f"{observer.said['patient']} said{', and all of it answered' if heard else ''}"
        )
        outcome.promise(observer.said["patient"] == lines, "half-closed: lines were lost")
        outcome.promise(heard, "half-closed: not all was answered")
        if not short:
            _stuff(daemon.port, observer, outcome)
        outcome.promise("Traceback" not in "".join(daemon.log), "a traceback")
        observer.close()
    return outcome


def _stuff(port: int, observer: "_Observer", outcome: Outcome) -> None:
    """Send more than the buffers on the way can hold, read everything, and close. The FIN has to
    wait behind the data."""
    sock = log_in(port, "tcpstuffed0", "127.8.0.1")
    sock.setblocking(False)
    sent = 0
    try:
        while True:
            sent += sock.send(_FLOOD)
    except BlockingIOError:
        observer.watch(1.0)
    try:
        while sock.recv(1 << 16):  # else the kernel answers with a RST itself
            pass
    except BlockingIOError:
        sock.close()
    ended = time.monotonic()
    while time.monotonic() < ended + 60 and observer.present():
        observer.watch(0.25)
    gone = time.monotonic() - ended
    outcome.figures[f"closed behind {sent >> 10} KiB"] = f"there until {gone:.1f} s"
    outcome.promise(gone < 60, "closed behind more than was read: still there")


class _Observer:
    """Somebody who hears everything, and can ask who is here.

    @ivar said: lines heard, by kind of ghost.
    @ivar last_seen: when one of the kind was last present.
    """

    def __init__(self, port: int) -> None:
        self.said: Counter[str] = Counter()
        self.last_seen: dict[str, float] = {}
        self._socket = log_in(port, "observer", _OBSERVER)
        self._rest = b""

    def close(self) -> None:
        self._socket.close()

    def watch(self, seconds: float) -> None:
        """Listen for this many seconds."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self._take(left)

    def present(self) -> Counter[str]:
        """Return how many ghosts of each kind are present."""
        self._socket.sendall(b"/users lobby\n")
        here = b""
        while not (found := _HERE.search(here)):
            here += self._take(60.0)
        names = [name.partition(" ")[0] for name in found[1].decode().split(", ")]
        present = Counter(_kind(name) for name in names if _GHOST.fullmatch(name))
        self.last_seen.update(dict.fromkeys(present, time.monotonic()))
        return present

    def _take(self, patience: float) -> bytes:
        if not select.select([self._socket], [], [], patience)[0]:
            return b""
        data = self._socket.recv(1 << 20)
        if not data:
            raise ConnectionError("the observer was cut off")
        whole, newline, self._rest = (self._rest + data).rpartition(b"\n")
        self.said.update(match[1].decode() for match in _SAID.finditer(whole + newline))
        return data


def _kind(name: str) -> str:
    return name.rstrip("0123456789")


def _over_tls(daemon: TlsDaemon, name: str) -> socket.socket:
    sock = client_context().wrap_socket(daemon.connect("127.8.0.1"))
    sock.sendall(f"/guest {name}\n".encode())
    see(sock, b"the commands.\n")
    return sock


def _behind_proxy(port: int, name: str) -> socket.socket:
    sock = connect(port, _PROXY)
    sock.sendall(f"PROXY TCP4 192.0.2.1 192.0.2.2 4000 5000\r\n/guest {name}\n".encode())
    see(sock, b"the commands.\n")
    return sock


def _half_closed(port: int, lines: int) -> socket.socket:
    sock = log_in(port, "patient0", "127.8.0.2")
    sock.sendall(b"x\n" * lines)
    sock.shutdown(socket.SHUT_WR)
    return sock


def _end(sock: socket.socket, how: str) -> None:
    if isinstance(sock, ssl.SSLSocket) and how == "done":
        _flood_and_take_leave(sock)
        return
    if how == "reset":
        reset(sock)
        return
    sock.setblocking(False)
    try:
        while how == "closed" and sock.recv(1 << 20):
            pass  # with unread data, the kernel would end it with a RST
    except BlockingIOError:
        pass
    sock.close()


def _flood_and_take_leave(sock: ssl.SSLSocket) -> None:
    """Send the lines and the close_notify in one TLS record, so that the server reads them at once,
    and wait for its FIN."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
    sock.sendall(_FLOOD[:12_000])
    sock.setblocking(False)
    try:
        sock.unwrap()
    except ssl.SSLError:
        pass  # the answer has not come yet
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)


def _rest(sock: socket.socket) -> bool:
    """Check that everything that is answered ends as it must."""
    received = b""
    while data := sock.recv(65536):
        received += data
    return received.endswith(b"* bye\n")
