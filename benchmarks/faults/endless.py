"""Peers that never end a line, password or command: cut off at the cap, and nothing is kept."""

import socket

from benchmarks.load import resident_bytes
from tests.daemon import Daemon

from .outcome import Outcome
from .peer import Peer

_KIB, _MIB, _GIB = 2**10, 2**20, 2**30

_LINE, _SUBNEGOTIATION = 64 * _KIB, 4 * _KIB
"""The caps."""

_GROWTH = 8 * _MIB
"""Bytes that the memory may grow by."""

_ENTER = b"/guest\n"
_SB = b"\xff\xfa\x18"

_ENDLESS = (
    ("a line without an end at the prompt", b"", b"x" * _LINE),
    ("a line without an end from a guest", _ENTER, "né ".encode() * (_LINE // 4)),
    ("a line of nothing but erased characters", _ENTER, b"x\x7f" * (_LINE // 2)),
    ("a subnegotiation without an end", _SB, b"x" * _LINE),
    ("a subnegotiation of doubled IACs", _ENTER + _SB, b"\xff" * _LINE),
)
"""The beginning of each input, and how it continues."""


def run(short: bool) -> Outcome:
    """Send each input again and again, 1 GiB of each."""
    outcome = Outcome()
    with Daemon() as daemon:
        _caps(daemon.port, outcome)
        size = 16 * _MIB if short else _GIB
        for _, begin, go_on in _ENDLESS:
            _pour(daemon.port, begin, go_on, size // 8)  # allocates what is kept in any case
        before = resident_bytes(daemon.pid)
        for what, begin, go_on in _ENDLESS:
            cut, most = _pour(daemon.port, begin, go_on, size)
            outcome.figures[what] = (
                f"{size // _MIB:,} MiB sent, cut {cut} times,"
                f" after {most / _KIB:,.0f} KiB that the kernel took at most"
            )
            outcome.promise(most < 16 * _MIB, f"{what}: {most:,} bytes went through")
        grown = resident_bytes(daemon.pid) - before
        outcome.figures["memory"] = f"grew by {grown / _MIB:.1f} MiB"
        outcome.target(grown <= _GROWTH, f"memory grew by over {_GROWTH // _MIB} MiB")
        with Peer(daemon.port) as peer:
            peer.send(_ENTER)
            peer.see(b"* Welcome")
        outcome.promise("Traceback" not in "".join(daemon.log), "there is a traceback in the log")
    return outcome


def _caps(port: int, outcome: Outcome) -> None:
    """Check that input just under a cap goes through, and input just over it does not."""
    with Peer(port) as peer:
        peer.send(_ENTER + b"x" * _LINE + b"\n/users\n")
        peer.see(b"! a line may have at most")
        peer.see(b"* 1 person is in the lobby")
    with Peer(port) as peer:
        peer.send(_ENTER + b"x" * (_LINE + 1))
        rest = peer.rest()
        outcome.promise(
            b"! a line of more than 65536 bytes ends the session\n" in rest and b"* bye\n" in rest,
            "the peer that sent too long a line was not told why",
        )
    with Peer(port) as peer:
        peer.send(_ENTER + _SB + b"x" * (_SUBNEGOTIATION - 3) + b"\xff\xf0/users\n")
        peer.see(b"* 1 person is in the lobby")
    with Peer(port) as peer:
        peer.send(_ENTER)
        peer.see(b"* Welcome")
        peer.send(_SB + b"x" * _SUBNEGOTIATION)
        outcome.promise(
            b"* bye" not in peer.rest(), "too long a subnegotiation was not cut off at the cap"
        )


def _pour(port: int, begin: bytes, go_on: bytes, size: int) -> tuple[int, int]:
    """Send this many bytes, reconnecting whenever the server cuts the connection off.

    @return: how often it did, and the most bytes that the kernel took before.
    """
    sent = cut = most = 0
    while sent < size:
        once = 0
        with Peer(port) as peer:
            peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _LINE)
            try:
                peer.send(begin)
                while sent + once < size:
                    once += peer.socket.send(go_on)
            except ConnectionError:
                cut += 1
        sent += once
        most = max(most, once)
    return cut, most
