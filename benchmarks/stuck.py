"""Readers that never read while messages pass: what they cost, and that nobody else notices.

    python -m benchmarks.stuck [--stuck 1] [--messages 1000000] [--lone]

Prints what the server's memory grew by and exits with 1 if a reader who does read missed anything.
"""

import argparse
import select
import socket
import sys
from dataclasses import dataclass

from .daemon import Daemon
from .load import resident_bytes

_BATCH = 1000


@dataclass(frozen=True)
class Outcome:
    """What came of it.

    @ivar grown: bytes of the server's own memory, at the end more than at the start.
    @ivar lost: messages that a reader who reads did not get.
    """

    grown: int
    lost: int


def run(stuck: int, messages: int, *, lone: bool = False) -> Outcome:
    """Let this many readers stop reading, then say so many messages.

    @param lone: say each message by itself, when the one before it has been delivered.
    """
    with Daemon("--stuck-after", "3600") as daemon:
        sleepers = [_join(daemon.port, n, receive_buffer=4096) for n in range(stuck)]
        reader = _join(daemon.port, stuck)
        speaker = _join(daemon.port, stuck + 1)
        _say(speaker, reader, 2000, 1 if lone else _BATCH)  # so that what is kept anyway is there
        before = resident_bytes(daemon.pid)
        lost = _say(speaker, reader, messages, 1 if lone else _BATCH)
        grown = resident_bytes(daemon.pid) - before
        for sock in (*sleepers, reader, speaker):
            sock.close()
        return Outcome(grown, lost)


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
    """Say messages, so many in flight; gives back how many of them did not come."""
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


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stuck", type=int, default=1)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--lone", action="store_true")
    chosen = parser.parse_args()
    outcome = run(chosen.stuck, chosen.messages, lone=chosen.lone)
    print(
        f"{chosen.messages} messages, {chosen.stuck} readers that never read: memory grew by"
        f" {outcome.grown / 2**20:.1f} MiB, {outcome.lost} messages lost to a reader who reads"
    )
    sys.exit(1 if outcome.lost else 0)


if __name__ == "__main__":
    main()
