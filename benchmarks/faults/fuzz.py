"""Mutated sessions, sent to a daemon by the million.

C{FUZZ_SEED=7 python -m benchmarks.faults fuzz} repeats the run with that seed.
"""

import json
import os
import random
import re
import select
import socket
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.load import resident_bytes
from tests.daemon import Daemon

from .outcome import Outcome
from .peer import PATIENCE, Peer
from .pulse import Pulse

_MIB = 2**20

_AT_ONCE = 4
"""Connections."""

_IDLE = 5.0
"""Seconds for which the pulse is measured without other load."""

_GAP = 50.0
"""Milliseconds."""

_GROWTH = 8 * _MIB

_NAUGHTY = Path(__file__).parents[2] / "tests" / "data" / "blns.json"

# Input as nc and telnet sent it: lines typed at the prompts, in rooms and in dialogues, and what
# telnet sent by itself. Braces contain a name, a password and a number.
_WAYS_IN = (
    [b""],
    [b"{name}", b""],
    [b"{name}", b"{password}"],
    [b"{name}", b"short", b"{password}"],
    [b"{name}", b"wrong", b"", b"{name}{number}", b""],
    [b"/guest {name}"],
    [b"/json on", b"/guest {name}"],
    [b"/register {name} {password}"],
    [b"/json on", b'/register {name} "{password}"'],
    [b"/login {name} {password}", b"hello"],
    [b"/json on", b"/login {name} {password}"],
)
_TALK = (
    [b"hello", b"  if x:", b'"quoted"', b"//slash", b"na\xc3\xafve \xf0\x9f\x98\x80", b"", b"!!!"],
    [b"/who", b"/users {name}", b"/rooms", b"/help", b"/help dm", b"/?", b"/frob", b"!who", b"/"],
    [b"/join {name}", b"hi there", b"/topic tea at {number}", b"/topic", b"/leave", b"/leave tea"],
    [b"/join #tea", b"/me waves", b"/history", b"/history 3 tea", b"/part", b'/topic ""'],
    [b"/dm {name} psst", b"/msg {name} {number}", b"/tell bob hi", b"/history 5 @{name}"],
    [b"PM", b"to all", b"DM", b"{name}", b"to one", b"pm", b"", b"dm", b""],
    [
        b"/bc hear {number}",
        b"/broadcast hear",
        b"/pm all",
        b"/nick {name}",
        b"/nick {name}{number}",
    ],
    [b"/passwd {password} {password}2", b"/register {name} {password}", b"/guest", b"/login a b"],
    [b"/json on", b"hello {number}", b"/users", b"/json off", b"/json maybe"],
    [b"helo\x7flo", b"wrong\x15right", b"\x1b[A", b"\xc3\xa9\x08e"],
)
_WAYS_OUT = (b"/quit", b"EX", b"exit", b"!logout", b"\x04", b"/bye")

_NAMES = (b"alice", b"Bob", b"carol", b"\xef\xbd\x84\xef\xbd\x81ve", b"\xd0\xb5ve", b"guest1")
_PASSWORDS = (
    b"correct horse",
    b"p4ssword!",
    b"\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9",
)

_TELNET = (
    b"\xff\xfd\x03\xff\xfb\x18\xff\xfb\x1f\xff\xfb\x20",
    b"\xff\xf4\xff\xfd\x06",
    b"\xff\xfa\x18\x00XTERM\xff\xf0",
    b"\xff\xfa\x1f\x00\x50\xff\xff\x18\xff\xf0",
    b"\xff\xfc\x01\xff\xfe\x01",
    b"ab\xff\xf7c\xff\xf8",
    b"\xff\xf6\xff\xf1",
    b"\xff\xff\xff\xf0\xff\xfa\xff\xf0",
)
_TELNET_BYTES = b"\xff\xff\xff\xfd\xfe\xfb\xfc\xf0\xf4\xf6\xf7\xf8\x01\x06\x18\x00\r\na"

_NASTY = (
    *(bytes([number]) for number in (*range(0x20), 0x7F)),
    *(bytes([0xC2, number]) for number in range(0x80, 0xA0)),
    b"\x1b[2J", b"\x1b]0;owned\x07", b"\x1b[8m", b"\x9b31m", b"\x1bP$q\x1b\\", b"\x1b[1;1H",
    b"\xff", b"\xc3", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"\xe2\x80",
    b"\xe2\x80\xae", b"\xe2\x81\xa6", b"\xe2\x80\x8b", b"\xe2\x80\x8d", b"\xef\xbb\xbf",
    b"\xe2\x80\xa8",
    b"\xcc\x81" * 40, b"\x7f" * 30, b'"', b'""', b"/", b"!", b"@", b"#", b" ", b"\t",
    b"\xe3\x80\x80",
)  # fmt: skip

# These must not be on anyone's screen: control characters, also in UTF-8, overrides, isolates, IAC.
_RAW = re.compile(
    rb"[\x00-\x09\x0b-\x1f\x7f\xff]|\xc2[\x80-\x9f]|\xe2\x80[\xa8-\xae]|\xe2\x81[\xa6-\xa9]"
)
_SHOWN = re.compile(rb"\[\d\d:\d\d\] |[*!] |\xe2\x80\xa6 ")
_LOGGED = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4} \[[^\]]+\] [^\x00-\x1f\x7f-\x9f]*\n")


def run(short: bool) -> Outcome:
    """Send a million lines and a hundred thousand telnet streams, or a few thousand of them."""
    outcome = Outcome()
    seed = int(os.environ.get("FUZZ_SEED", "0")) or (1 if short else time.time_ns() % 1_000_000)
    outcome.figures["seed"] = str(seed)
    lines, streams = (5_000, 500) if short else (1_000_000, 100_000)
    # Without the wait for wrong passwords, which would use up most of the input.
    with Daemon("--max-rooms", "50", "--wrong-passwords", "1000000000") as daemon:
        with Pulse(daemon.port) as idle:
            time.sleep(0.2 if short else _IDLE)
        outcome.figures["idle"] = str(idle)
        fuzzer = Fuzzer(daemon.port, random.Random(seed))
        fuzzer.send(lines // 5, streams // 5)
        before = resident_bytes(daemon.pid)
        began = time.monotonic()
        with Pulse(daemon.port) as pulse:
            fuzzer.send(lines, streams)
        took = time.monotonic() - began
        grown = resident_bytes(daemon.pid) - before
        fuzzer.close()
        outcome.figures["sent"] = (
            f"{fuzzer.lines:,} lines and {fuzzer.streams:,} streams in {fuzzer.lives:,} sessions;"
            f" {fuzzer.received / _MIB:,.0f} MiB came back"
        )
        outcome.figures["while fuzzed"] = f"{pulse}; {lines / took:,.0f} lines/s"
        outcome.figures["memory"] = f"{before / _MIB:.1f} MiB, grew by {grown / _MIB:.1f} MiB"
        outcome.promise(daemon.running, "the daemon ended")
        outcome.promise(bool(idle.trips and pulse.trips), "somebody who did no harm was cut off")
        outcome.broken.extend(fuzzer.seen)
        for line in daemon.log:
            outcome.promise(_LOGGED.fullmatch(line) is not None, f"in the log is {line!r}")
        outcome.promise(len(daemon.log) < 20, f"the log has {len(daemon.log)} lines")
        outcome.target(grown <= _GROWTH, f"memory grew by over {_GROWTH // _MIB} MiB")
        outcome.target(
            bool(pulse.trips) and pulse.trips[-1] <= _GAP, f"a round trip took over {_GAP:.0f} ms"
        )
    return outcome


@dataclass
class _Life:
    """One connection, with what it will send and how it will end.

    @ivar waiting: pieces, each of which is written separately.
    """

    socket: socket.socket
    script: Iterator[list[bytes]]
    waiting: list[bytes] = field(default_factory=list)


class Fuzzer:
    """Several connections that send mutated sessions, and one that watches.

    @ivar lines: lines sent so far.
    @ivar streams: telnet streams among them.
    @ivar lives: connections so far.
    @ivar seen: what the watcher saw that nobody should see.
    """

    def __init__(self, port: int, rng: random.Random) -> None:
        self._port = port
        self._rng = rng
        self._naughty = [s.encode() for s in json.loads(_NAUGHTY.read_text("utf-8"))]
        self._onlooker = Peer(port)
        self._onlooker.send("/guest onlooker\n")
        self._onlooker.see(b"the commands.\n")
        self._half = b""
        self._lives: dict[socket.socket, _Life] = {}
        self._lines_due = self._streams_due = 0
        self.lines = self.streams = self.lives = self.received = 0
        self.seen: list[str] = []

    def close(self) -> None:
        """End all connections."""
        for sock in (*self._lives, self._onlooker.socket):
            sock.close()

    def send(self, lines: int, streams: int) -> None:
        """Send this many more lines and streams.

        @raise TimeoutError: if the daemon neither reads nor writes any more.
        """
        self._lines_due, self._streams_due = self.lines + lines, self.streams + streams
        while self.lines < self._lines_due or self.streams < self._streams_due:
            while len(self._lives) < _AT_ONCE:
                self._be_born()
            readable, writable, _ = select.select(
                [self._onlooker.socket, *self._lives], list(self._lives), [], PATIENCE
            )
            if not readable and not writable:
                raise TimeoutError("the daemon takes and says nothing any more")
            for sock in readable:
                if sock is self._onlooker.socket:
                    self._look_on()
                else:
                    self._read(sock)
            for sock in writable:
                if sock in self._lives:
                    self._write(self._lives[sock])

    def _be_born(self) -> None:
        sock = socket.create_connection(("127.0.0.1", self._port), timeout=PATIENCE)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setblocking(False)
        self._lives[sock] = _Life(sock, self._script())
        self.lives += 1

    def _die(self, life: _Life) -> None:
        self._lives.pop(life.socket, None)
        life.socket.close()

    def _read(self, sock: socket.socket) -> None:
        try:
            data = sock.recv(262144)
        except BlockingIOError:
            return
        except ConnectionError:
            data = b""
        self.received += len(data)
        if not data:
            self._die(self._lives[sock])

    def _look_on(self) -> None:
        data = self._onlooker.socket.recv(262144)
        if not data:
            raise ConnectionError("the onlooker was cut off")
        raw = _RAW.search(data)
        if raw and len(self.seen) < 10:
            self.seen.append(f"{raw[0]!r} was shown in {data[max(0, raw.start() - 80) :][:160]!r}")
        *lines, self._half = (self._half + data).split(b"\n")
        for line in lines:
            if not _SHOWN.match(line) and len(self.seen) < 10:
                self.seen.append(f"the line {line!r} was shown")

    def _write(self, life: _Life) -> None:
        try:
            if not life.waiting:
                life.waiting = next(life.script)
            piece = life.waiting.pop(0)
            sent = life.socket.send(piece)
            if sent < len(piece):
                life.waiting.insert(0, piece[sent:])
        except StopIteration:
            self._end(life)
        except BlockingIOError:
            life.waiting.insert(0, piece)
        except ConnectionError:
            self._die(life)

    def _end(self, life: _Life) -> None:
        """Half-close a connection, so that the daemon answers and closes; or reset or close it."""
        how = self._rng.randrange(4)
        if how < 2:
            self._lives.pop(life.socket)
            self._drain(life.socket)
            return
        if how == 2:
            life.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._die(life)

    def _drain(self, sock: socket.socket) -> None:
        sock.settimeout(PATIENCE)
        with sock:
            try:
                sock.shutdown(socket.SHUT_WR)
                while data := sock.recv(262144):
                    self.received += len(data)
                    if select.select([self._onlooker.socket], [], [], 0)[0]:
                        self._look_on()
            except OSError:
                pass  # the daemon has ended it

    # What is sent

    def _script(self) -> Iterator[list[bytes]]:
        """Return the input of one connection: lines and streams, each cut into pieces."""
        rng = self._rng
        end = rng.choice((b"\n", b"\r\n", b"\r\x00"))
        parts = [rng.choice(_WAYS_IN), *rng.choices(_TALK, k=rng.randrange(40))]
        if rng.random() < 0.5:
            parts.append([rng.choice(_WAYS_OUT)])
        for part in parts:
            for recorded in part:
                yield self._line(recorded, end)
                if self.streams * self._lines_due <= self.lines * self._streams_due:
                    yield self._stream()

    def _line(self, recorded: bytes, end: bytes) -> list[bytes]:
        rng = self._rng
        line = recorded.replace(b"{name}", rng.choice(_NAMES))
        line = line.replace(b"{password}", rng.choice(_PASSWORDS))
        line = line.replace(b"{number}", b"%d" % rng.randrange(100))
        while rng.random() < 0.5:
            line = rng.choice(_MUTATIONS)(line, rng)
        if rng.random() < 0.05:
            line = line.replace(b" ", b" " + rng.choice(self._naughty) + b" ", 1)
        self.lines += 1
        return self._cut(line + end, rng.randrange(8))

    def _stream(self) -> list[bytes]:
        """Return mutated telnet commands. Each stream is cut at another byte."""
        rng = self._rng
        stream = b"".join(rng.choices(_TELNET, k=rng.randrange(1, 4)))
        for _ in range(rng.randrange(4)):
            at = rng.randrange(len(stream))
            new = rng.choice(_TELNET_BYTES)
            stream = stream[:at] + bytes([new]) + stream[at + rng.randrange(2) :]
        if rng.random() < 0.9:
            stream += b"\xff\xf0"  # ends what was begun, or the next lines would be lost in it
        at = self.streams % len(stream)
        self.streams += 1
        return [stream[:at], stream[at:]] if at else [stream]

    def _cut(self, data: bytes, how: int) -> list[bytes]:
        """Cut input: mostly not at all, sometimes in two, or into single bytes if it is short."""
        if how == 0:
            at = self._rng.randrange(len(data))
            return [piece for piece in (data[:at], data[at:]) if piece]
        if how == 1 and len(data) < 40:
            return [data[at : at + 1] for at in range(len(data))]
        return [data]


def _flipped(line: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(line) + 1)
    return line[:at] + bytes([rng.randrange(256)]) + line[at + 1 :]


def _shortened(line: bytes, rng: random.Random) -> bytes:
    return line[: rng.randrange(len(line) + 1)]


def _nasty(line: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(line) + 1)
    return line[:at] + rng.choice(_NASTY) + line[at:]


def _doubled(line: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(line) + 1)
    return line[:at] + line + line[at:]


def _shuffled(line: bytes, rng: random.Random) -> bytes:
    words = line.split(b" ")
    rng.shuffle(words)
    return b" ".join(words)


def _huge(line: bytes, rng: random.Random) -> bytes:
    return (line + b"x") * (rng.choice((10, 100, 4096, 5000)) // (len(line) + 1))


_MUTATIONS: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    *(_flipped, _nasty) * 4,
    *(_shortened, _doubled, _shuffled) * 2,
    _huge,
)
