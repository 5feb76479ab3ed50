"""Readers that never read while messages pass: what they cost, and whether others lose messages."""

import select
import socket

from benchmarks.load import resident_bytes
from tests.daemon import Daemon

from .outcome import Outcome

_BATCH = 1000

_MIB = 2**20

# Stuck readers, messages, whether one at a time, MiB that the readers may cost.
_SHORT = [(10, 60_000, False, 12)]
_FULL = [(1, 1_000_000, False, 2), (1000, 1_000_000, False, 150), (1000, 60_000, True, 150)]


def run(short: bool) -> Outcome:
    """Measure one stuck reader and a thousand, with messages in batches and one at a time; and
    none, because memory grows a little in any case."""
    outcome = Outcome()
    usual = 0.0 if short else _grown(0, 1_000_000, lone=False)[0] / _MIB
    if not short:
        outcome.figures["1,000,000 messages with none stuck"] = f"memory grew by {usual:.1f} MiB"
    for stuck, messages, lone, most in _SHORT if short else _FULL:
        grown, lost = _grown(stuck, messages, lone=lone)
        what = f"{messages:,} messages{', each alone,' if lone else ''} with {stuck} stuck"
        outcome.figures[what] = f"memory grew by {grown / _MIB:.1f} MiB"
        outcome.promise(not lost, f"{what}: a reader who reads lost {lost}")
        cost = grown / _MIB - usual
        outcome.target(cost <= most, f"{what}: they cost {cost:.1f} MiB, over {most}")
    return outcome


def _grown(stuck: int, messages: int, *, lone: bool) -> tuple[int, int]:
    """Let this many readers stop reading, then send messages.

    @param lone: send each message when the one before it has been delivered.
    @return: the growth of the server's private memory, in bytes; and the number of messages that
        a reader who reads did not get.
    """
    with Daemon("--stuck-after", "3600") as daemon:
        sleepers = [_join(daemon.port, n, receive_buffer=4096) for n in range(stuck)]
        reader = _join(daemon.port, stuck)
        speaker = _join(daemon.port, stuck + 1)
        _say(speaker, reader, 2000, 1 if lone else _BATCH)  # allocates what is kept in any case
        before = resident_bytes(daemon.pid)
        lost = _say(speaker, reader, messages, 1 if lone else _BATCH)
        grown = resident_bytes(daemon.pid) - before
        for sock in (*sleepers, reader, speaker):
            sock.close()
        return grown, lost


def _join(port: int, number: int, receive_buffer: int = 0) -> socket.socket:
    sock = socket.socket()
    if receive_buffer:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    sock.connect(("127.0.0.1", port))
    sock.sendall(b"/guest reader%d\n" % number)
    received = b""
    while b"the commands.\n" not in received:
        received += sock.recv(4096)
    return sock


def _say(speaker: socket.socket, reader: socket.socket, messages: int, batch: int) -> int:
    """Send messages, with this many in flight, and return how many did not arrive."""
    said = got = 0
    buffer = bytearray(1024 * 1024)
    while got < messages:
        if said - got < batch and said < messages:
            count = min(batch, messages - said)
            speaker.sendall(
                b"".join(b"message %d that passes\n" % (said + n) for n in range(count))
            )
            said += count
        if not select.select([reader], [], [], 30)[0]:
            break
        size = reader.recv_into(buffer)
        got += buffer.count(b" that passes\n", 0, size)
    return messages - got
