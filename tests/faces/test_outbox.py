"""Bounded, batched, eager writing."""

import socket
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import (
    TCP4ClientEndpoint,
    TCP4ServerEndpoint,
    connectProtocol,
    wrapClientTLS,
)
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IProtocolFactory,
    IPullProducer,
    IStreamClientEndpoint,
    ISystemHandle,
    ITCPTransport,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.ssl import CertificateOptions
from twisted.internet.task import Clock, deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import alsoProvides

from tests.certificates import pem
from tests.support import NOW, now
from twisted_chat.core.events import Event, Notice, Skipped
from twisted_chat.faces.format import LineFormat
from twisted_chat.faces.outbox import Outbox, OutboxLimits, fan_out
from twisted_chat.tls import Certificates, TlsFactory

reactor: Any = _reactor

_LIMIT = 200_000
_PIECE = 16 * 1024
_PLACE = 64
_STUCK_AFTER = 60
_SMALL_BUFFER = 16 * 1024


class Lines(LineFormat):
    """A format of one line an event."""

    def encode(self, events: tuple[Event, ...], /) -> bytes:
        return b"".join(_line(event) for event in events)


def _line(event: Event) -> bytes:
    if isinstance(event, Skipped):
        return b"%d skipped\n" % event.lines
    assert isinstance(event, Notice)
    return event.text.encode() + b"\n"


def _numbered(count: int) -> list[bytes]:
    """Lines of 1,000 bytes that begin with their number."""
    return [(b"%d " % number).ljust(999, b".") + b"\n" for number in range(count)]


class FakeTransport:
    """A transport that writes when it is told to, and asks a pull producer as Twisted's do.

    @ivar written: what the peer has.
    """

    def __init__(self) -> None:
        self.written = b""
        self.waiting = b""
        self.closing = False
        self.aborted = False
        self._producer: IPullProducer | None = None

    def write(self, data: bytes) -> None:
        self.waiting += data

    def registerProducer(self, producer: IPullProducer, streaming: bool) -> None:
        assert not streaming
        assert self._producer is None
        self._producer = producer
        producer.resumeProducing()

    def unregisterProducer(self) -> None:
        self._producer = None

    def loseConnection(self) -> None:
        self.closing = True

    def abortConnection(self) -> None:
        self.aborted = True

    @property
    def closed(self) -> bool:
        """Asked to close, and everything is written."""
        return self.closing and self._producer is None and not self.waiting

    def flush(self) -> None:
        """Write what it has, and ask for more."""
        self.written += self.waiting
        self.waiting = b""
        if self._producer is not None:
            self._producer.resumeProducing()

    def drain(self) -> None:
        """Write until there is no more."""
        while self._producer is not None:
            self.flush()


class OutboxTests(SynchronousTestCase):
    """An outbox over a transport that writes when it is told to."""

    def setUp(self) -> None:
        self.transport = FakeTransport()
        self.clock = Clock()
        limits = OutboxLimits(self.clock, now, limit=_LIMIT, stuck_after=_STUCK_AFTER)
        self.outbox = Outbox(self.transport, Lines(), limits)

    def write(self, lines: list[bytes]) -> None:
        """Write each line by itself."""
        for line in lines:
            self.outbox.write(line)

    def flood(self) -> tuple[list[bytes], int]:
        """Write far more than there is room for; return what must be kept of it, and the
        number of lines that are not."""
        lines = _numbered(1000)
        self.write(lines)
        kept = 1 + (_LIMIT - 1000) // (1000 + _PLACE)  # the transport has the first
        return lines[:kept], 1000 - kept

    def waiting(self) -> int:
        """Bytes that wait, in the outbox and in the transport."""
        backlog = self.outbox._backlog
        return (backlog.size if backlog is not None else 0) + len(self.transport.waiting)

    def test_events_are_written_in_the_format(self) -> None:
        """Events are encoded by the format, and written at once if nothing waits."""
        self.outbox.send((Notice(NOW, "one"), Notice(NOW, "two")))
        self.assertEqual(self.transport.waiting, b"one\ntwo\n")

    def test_slow_reader_loses_nothing(self) -> None:
        """A reader that is slow, but reads, gets everything whole and in order."""
        lines = _numbered(500)
        for start in range(0, 500, 100):
            self.write(lines[start : start + 100])
            for _ in range(5):
                self.transport.flush()
        self.transport.drain()
        self.assertEqual(self.transport.written, b"".join(lines))
        self.assertFalse(self.outbox.is_waiting)

    def test_transport_is_given_a_piece_at_a_time(self) -> None:
        """The transport is given one piece at a time, however much is written at once."""
        big = b"".join(_numbered(_LIMIT // 1000 - 1))
        self.outbox.write(big)
        while self.outbox.is_waiting:
            self.assertLessEqual(len(self.transport.waiting), _PIECE)
            self.transport.flush()
        self.assertEqual(self.transport.written, big)

    def test_no_more_than_the_limit_waits(self) -> None:
        """No more bytes wait than the limit, and what was written last before it."""
        self.flood()
        self.assertLessEqual(abs(self.waiting() - _LIMIT), 1000)

    def test_skipped_lines_are_counted_and_told_once(self) -> None:
        """Skipped lines are counted, and reported once in their place, after all that was kept."""
        kept, skipped = self.flood()
        self.transport.drain()
        self.outbox.write(b"next\n")
        self.transport.drain()
        self.assertEqual(
            self.transport.written, b"".join(kept) + b"%d skipped\n" % skipped + b"next\n"
        )

    def test_nothing_is_kept_behind_a_gap(self) -> None:
        """After a gap, lines are skipped until the reader has caught up, even if there is room."""
        kept, skipped = self.flood()
        self.transport.flush()
        self.outbox.write(b"two\nlines\n")
        self.transport.drain()
        self.assertEqual(self.transport.written, b"".join(kept) + b"%d skipped\n" % (skipped + 2))

    def test_every_gap_is_told(self) -> None:
        """Each gap is reported with its own count."""
        for _ in range(2):
            self.transport.written = b""
            kept, skipped = self.flood()
            self.transport.drain()
            self.assertEqual(self.transport.written, b"".join(kept) + b"%d skipped\n" % skipped)

    def test_skips(self) -> None:
        """C{skips} grows with each write of which something was skipped, and only then."""
        self.assertEqual(self.outbox.skips, 0)
        _, skipped = self.flood()
        self.assertEqual(self.outbox.skips, skipped)
        fan_out([self.outbox], (Notice(NOW, "one"),))
        self.assertEqual(self.outbox.skips, skipped + 1)
        self.transport.drain()
        self.outbox.write(b"next\n")
        self.transport.drain()
        self.assertEqual(self.outbox.skips, skipped + 1)
        self.outbox.close()
        self.outbox.write(b"too late\n")
        self.assertEqual(self.outbox.skips, skipped + 2)

    def test_stuck_reader_is_cut_off(self) -> None:
        """A reader that takes nothing for so long is cut off, and not before."""
        self.flood()
        self.clock.advance(_STUCK_AFTER - 1)
        self.assertFalse(self.transport.aborted)
        self.clock.advance(1)
        self.assertTrue(self.transport.aborted)

    def test_reader_that_makes_progress_is_not_cut_off(self) -> None:
        """Each piece that the reader takes gives it more time; when nothing waits, no timer
        runs."""
        self.flood()
        while self.outbox.is_waiting:
            self.clock.advance(_STUCK_AFTER - 1)
            self.transport.flush()
        self.assertFalse(self.transport.aborted)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_close_writes_first_what_waits(self) -> None:
        """Closing writes all that waits, with the count of what was skipped, and nothing that comes
        later."""
        kept, skipped = self.flood()
        self.outbox.close()
        self.outbox.write(b"too late\n")
        self.assertFalse(self.transport.closed)
        self.transport.drain()
        self.assertTrue(self.transport.closed)
        self.outbox.write(b"too late\n")
        told = self.transport.written.removeprefix(b"".join(kept))
        self.assertIn(told, [b"%d skipped\n" % n for n in (skipped, skipped + 1)])

    def test_closed_outbox_takes_nothing_more(self) -> None:
        """A closed outbox takes nothing more, whether something waits or not."""
        self.outbox.write(b"before\n")
        self.outbox.close()
        self.outbox.write(b"after\n")
        self.transport.drain()
        self.outbox.write(b"after\n")
        self.assertEqual(self.transport.written + self.transport.waiting, b"before\n")

    def test_closed_but_stuck_reader_is_cut_off(self) -> None:
        """A reader that takes nothing is cut off also while the outbox is closing."""
        self.flood()
        self.outbox.close()
        self.clock.advance(_STUCK_AFTER)
        self.assertTrue(self.transport.aborted)

    def test_drop_lets_go_of_everything(self) -> None:
        """C{drop} forgets what waits, stops the timer, and ignores what comes later."""
        self.flood()
        taken = self.transport.waiting
        self.outbox.drop()
        self.outbox.write(b"after\n")
        self.outbox.send((Notice(NOW, "after"),))
        self.assertEqual((self.transport.waiting, self.waiting()), (taken, len(taken)))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_one_large_write_is_bounded_too(self) -> None:
        """Of a batch over the limit whole lines are kept, and the rest is skipped."""
        self.outbox.write(b"".join(_numbered(1000)))
        self.transport.drain()
        kept, _, told = self.transport.written.rpartition(b"\n")[0].rpartition(b"\n")
        self.assertLessEqual(len(kept), _LIMIT)
        self.assertEqual(kept + b"\n", b"".join(_numbered(1000))[: len(kept) + 1])
        self.assertEqual(told, b"%d skipped" % (1000 - kept.count(b"\n") - 1))


class Frames:
    """A format of frames: kind, length, payload. Any byte of one may be a newline."""

    event, other = b"e", b"\n"

    def encode(self, events: tuple[Event, ...], /) -> bytes:
        return b"".join(frame(_line(event)) for event in events)

    def cut(self, data: bytes, sent: int, room: int, /) -> int:
        ends = _ends(data)
        must = next(end for end in ends if end > sent)
        return max(must, *(end for end in ends if end <= sent + room), 0)

    def count(self, data: bytes, /) -> int:
        return sum(data[start : start + 1] == self.event for start in [0, *_ends(data)[:-1]])


def frame(payload: bytes, kind: bytes = Frames.event) -> bytes:
    return kind + struct.pack(">H", len(payload)) + payload


def _ends(data: bytes) -> Sequence[int]:
    """Where each frame ends."""
    at, ends = 0, []
    while at < len(data):
        (size,) = struct.unpack_from(">H", data, at + 1)
        at += 3 + size
        ends.append(at)
    assert at == len(data)
    return ends


def _payloads(data: bytes) -> Iterator[bytes]:
    """The payload of each frame."""
    start = 0
    for end in _ends(data):
        yield data[start + 3 : end]
        start = end


class ShortSocket:
    """A socket of which each write takes so many bytes, and in the end all.

    @ivar taken: what was written straight.
    """

    def __init__(self, takes: Sequence[int]) -> None:
        self.taken = b""
        self._takes = list(takes)
        self._near, self._far = socket.socketpair()

    def fileno(self) -> int:
        return self._near.fileno()

    def close(self) -> None:
        self._near.close()
        self._far.close()

    def send(self, data: bytes) -> int:
        size = min(self._takes.pop(0), len(data)) if self._takes else len(data)
        if not size and data:
            raise BlockingIOError
        self.taken += data[:size]
        return size


class ShortTransport(FakeTransport):
    """A transport with such a socket."""

    def __init__(self, takes: Sequence[int]) -> None:
        super().__init__()
        self.socket = ShortSocket(takes)
        alsoProvides(self, ITCPTransport, ISystemHandle)

    def getHandle(self) -> ShortSocket:
        return self.socket

    def write(self, data: bytes) -> None:
        super().write(data)
        self.socket.taken += data


class UnitTests(SynchronousTestCase):
    """Units are cut and counted by the format, wherever the kernel stops taking bytes."""

    def connect(self, takes: Sequence[int], limit: int) -> None:
        self.transport = ShortTransport(takes)
        self.addCleanup(self.transport.socket.close)
        limits = OutboxLimits(Clock(), now, limit=limit, stuck_after=_STUCK_AFTER)
        self.outbox = Outbox(self.transport, Frames(), limits)

    def read(self) -> list[bytes]:
        """The payloads that the peer has in the end."""
        self.transport.drain()
        return list(_payloads(self.transport.socket.taken))

    def test_short_write_at_every_byte(self) -> None:
        """After a short write at any byte, whole frames that fit are kept and the others counted,
        whatever newlines are in them."""
        texts = ["\n" * 9 + str(number) for number in range(10)]
        size = len(frame(b"\n" * 9 + b"0\n"))
        for sent in range(10 * size):
            self.connect([sent], 64 + 3 * size)
            self.outbox.send(tuple(Notice(NOW, text) for text in texts))
            whole = min(10, max(sent // size + 1, (sent + 3 * size) // size))
            told = [] if whole == 10 else [b"%d skipped\n" % (10 - whole)]
            lines = [f"{text}\n".encode() for text in texts]
            self.assertEqual(self.read(), [*lines[:whole], *told], sent)

    def test_only_events_are_counted(self) -> None:
        """Units that are no events, such as a ping, are not counted as skipped."""
        self.connect([0], 100)
        self.outbox.write(frame(b"x" * 90))
        self.outbox.write(frame(b"ping", Frames.other))
        self.outbox.write(frame(b"y" * 90) + frame(b"ping", Frames.other))
        self.outbox.write(frame(b"ping", Frames.other))
        self.assertEqual(self.read(), [b"x" * 90, b"1 skipped\n"])

    @given(
        st.lists(
            st.one_of(
                st.lists(st.text("\n\0ae", max_size=40), min_size=1, max_size=5),
                st.none(),  # the transport writes
            ),
            max_size=20,
        ),
        st.lists(st.integers(0, 60), max_size=20),
        st.integers(0, 400),
        st.booleans(),
    )
    def test_any_short_writes(
        self, steps: list[list[str] | None], takes: list[int], limit: int, fanned: bool
    ) -> None:
        """After any short writes each event is read whole and in order, or counted as skipped in
        its place."""
        self.connect(takes, limit)
        sent: list[bytes] = []
        for texts in steps:
            if texts is None:
                self.transport.flush()
                continue
            events = tuple(Notice(NOW, text) for text in texts)
            sent += (_line(event) for event in events)
            if fanned:
                fan_out([self.outbox], events)
            else:
                self.outbox.send(events)
        for payload in self.read():
            if payload.endswith(b" skipped\n"):
                del sent[: int(payload.split()[0])]
            else:
                self.assertEqual(payload, sent.pop(0))
        self.assertEqual(sent, [])


class FanOutTests(SynchronousTestCase):
    """One tuple of events to many outboxes."""

    def test_an_outbox_of_another_kind(self) -> None:
        """An outbox that knows nothing of bytes is sent the events."""

        class Own:
            def __init__(self) -> None:
                self.sent: list[tuple[Event, ...]] = []

            def send(self, events: tuple[Event, ...], /) -> bool:
                self.sent.append(events)
                return True

        own, left_out = Own(), Own()
        transport = FakeTransport()
        limits = OutboxLimits(Clock(), now, limit=_LIMIT, stuck_after=_STUCK_AFTER)
        outbox = Outbox(transport, Lines(), limits)
        events = (Notice(NOW, "hello"),)
        fan_out([own, left_out, outbox], events, [left_out])
        self.assertEqual((own.sent, left_out.sent), ([events], []))
        self.assertEqual(transport.waiting, b"hello\n")


class Writer(Protocol):
    """The server's end of a connection."""

    transport: Any
    buffer = socket.SO_SNDBUF

    def __init__(self) -> None:
        self.made: Deferred[None] = Deferred()
        self.lost: Deferred[None] = Deferred()
        self.reason = connectionDone

    def connectionMade(self) -> None:
        below = self.transport
        while isinstance(below, Protocol):  # TLS lies over the transport with the socket
            below = below.transport
        below.getHandle().setsockopt(socket.SOL_SOCKET, self.buffer, _SMALL_BUFFER)
        self.made.callback(None)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.reason = reason
        self.lost.callback(None)


class Reader(Writer):
    """The other end: it reads nothing until it is told to.

    @ivar hesitant: it stops after whatever it gets, until the reactor's next turn.
    """

    buffer = socket.SO_RCVBUF
    hesitant = False

    def __init__(self) -> None:
        super().__init__()
        self.read = b""
        self._end = b""
        self._done: Deferred[None] | None = None

    def connectionMade(self) -> None:
        super().connectionMade()
        self.transport.pauseProducing()

    def dataReceived(self, data: bytes) -> None:
        self.read += data
        if self._done is not None and self.read.endswith(self._end):
            done, self._done = self._done, None
            done.callback(None)
        elif self.hesitant:
            self.transport.pauseProducing()
            reactor.callLater(0, self.transport.resumeProducing)

    def read_until(self, end: bytes) -> "Deferred[None]":
        """Read until what has been read ends so."""
        self._end, self._done = end, Deferred()
        self.transport.resumeProducing()
        return self._done


class LoopbackTests(TestCase):
    """An outbox over a real connection with small buffers."""

    timeout = 30

    def above(self, factory: IProtocolFactory) -> IProtocolFactory:
        """What lies between the port and the server's factory."""
        return factory

    def over(self, client: IStreamClientEndpoint) -> IStreamClientEndpoint:
        """What lies over the client's endpoint."""
        return client

    async def connect(self, *, limit: int) -> None:
        """Make both ends of a connection, and an outbox."""
        self.clock = Clock()
        self.writer, self.reader = Writer(), Reader()
        factory = Factory.forProtocol(lambda: self.writer)
        server = TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")
        port: Any = await server.listen(self.above(factory))
        self.addCleanup(port.stopListening)
        client = TCP4ClientEndpoint(reactor, "127.0.0.1", port.getHost().port)
        await connectProtocol(self.over(client), self.reader)
        await self.writer.made
        self.addCleanup(self.disconnect)
        limits = OutboxLimits(self.clock, now, limit=limit, stuck_after=_STUCK_AFTER)
        self.outbox = Outbox(self.writer.transport, Lines(), limits)
        self.writer.lost.addCallback(lambda _: self.outbox.drop())

    async def disconnect(self) -> None:
        """End both ends."""
        for end in (self.writer, self.reader):
            if not end.lost.called:
                end.transport.abortConnection()
            await end.lost
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def write(self, lines: list[bytes]) -> None:
        """Write each line by itself."""
        for line in lines:
            self.outbox.write(line)

    async def test_reader_that_does_not_read_is_told_what_it_missed(self) -> None:
        """A reader that did not read gets the first lines whole, the number of the others, and then
        new lines."""
        await self.connect(limit=_LIMIT)
        lines = _numbered(5000)
        self.write(lines)
        self.assertTrue(self.outbox.is_waiting)
        await self.reader.read_until(b" skipped\n")
        *kept, last = self.reader.read.splitlines(keepends=True)
        self.assertEqual(kept, lines[: len(kept)])
        self.assertEqual(int(last.split()[0]), 5000 - len(kept))
        self.assertGreaterEqual(len(kept) * 1000, _LIMIT)
        self.assertLess(len(kept), 2500)
        self.outbox.write(b"news\n")
        await self.reader.read_until(b"news\n")

    async def test_slow_reader_loses_nothing(self) -> None:
        """A slow reader gets everything whole and in order, and afterwards bytes go straight to the
        socket again."""
        await self.connect(limit=10 * _LIMIT)
        self.reader.hesitant = True
        lines = _numbered(1500)
        self.write(lines)
        await self.reader.read_until(lines[-1])
        self.assertEqual(self.reader.read, b"".join(lines))
        self.write([b"straight\n"])
        await self.reader.read_until(b"straight\n")
        self.assertFalse(self.outbox.is_waiting)

    async def test_reading_peer_is_written_to_straight_away(self) -> None:
        """For a peer that reads, a line is with the kernel when the call returns."""
        await self.connect(limit=_LIMIT)
        self.write([b"one\n", b"two\n"])
        self.assertFalse(self.outbox.is_waiting)
        await self.reader.read_until(b"two\n")
        self.assertEqual(self.reader.read, b"one\ntwo\n")

    async def test_what_the_reader_has_taken(self) -> None:
        """C{is_taken} is true once the peer has acknowledged everything, and false while something
        waits; C{write} tells whether anything was skipped or lost, and C{skips} counts it."""
        await self.connect(limit=_LIMIT)
        self.outbox.write(b"first\n")
        await self.reader.read_until(b"first\n")
        await self.until_taken()
        self.reader.transport.pauseProducing()
        self.assertNotIn(False, [self.outbox.write(line) for line in _numbered(90)])
        await deferLater(reactor, 0)
        self.assertFalse(self.outbox.is_taken)
        self.assertEqual(self.outbox.skips, 0)
        whole = [self.outbox.write(line) for line in _numbered(5000)]
        self.assertIn(False, whole)
        self.assertEqual(self.outbox.skips, whole.count(False))
        await self.reader.read_until(b" skipped\n")
        await self.until_taken()
        self.reader.transport.abortConnection()
        await self.writer.lost
        skips = self.outbox.skips
        self.assertFalse(self.outbox.write(b"last\n"))
        self.assertEqual(self.outbox.skips, skips + 1)

    async def until_taken(self) -> None:
        """Turn until the outbox sees that all is taken."""
        while not self.outbox.is_taken:
            await deferLater(reactor, 0)

    async def test_stuck_reader_is_cut_off(self) -> None:
        """The connection of a stuck reader is gone when the time is over."""
        await self.connect(limit=_LIMIT)
        self.write(_numbered(1000))
        self.clock.advance(_STUCK_AFTER)
        await self.writer.lost
        self.writer.reason.trap(ConnectionAborted, ConnectionLost)  # the latter with TLS

    async def test_reader_that_caught_up_is_not_cut_off(self) -> None:
        """A reader that was slow, but took everything, is not cut off."""
        await self.connect(limit=10 * _LIMIT)
        lines = _numbered(1000)
        self.write(lines)
        self.clock.advance(_STUCK_AFTER - 1)
        await self.reader.read_until(lines[-1])
        self.clock.advance(_STUCK_AFTER - 1)
        self.write([b"still here\n"])
        await self.reader.read_until(b"still here\n")

    async def test_close_writes_first_what_waits(self) -> None:
        """A reader gets all that waited before the close, and then a clean end."""
        await self.connect(limit=10 * _LIMIT)
        lines = _numbered(1000)
        self.write(lines)
        self.outbox.close()
        self.reader.transport.resumeProducing()
        await self.reader.lost
        self.reader.reason.trap(ConnectionDone)
        self.assertEqual(self.reader.read, b"".join(lines))

    async def test_peer_that_vanished_harms_nobody(self) -> None:
        """Writing to a peer that has vanished does nothing, before the loss is known and after."""
        await self.connect(limit=_LIMIT)
        self.reader.transport.abortConnection()
        await self.reader.lost
        self.write(_numbered(1000))
        await self.writer.lost
        self.write(_numbered(1000))
        self.outbox.drop()


class TlsLoopbackTests(LoopbackTests):
    """An outbox over a connection with TLS."""

    def above(self, factory: IProtocolFactory) -> IProtocolFactory:
        path = Path(self.mktemp())
        path.write_bytes(pem("localhost"))
        return TlsFactory(Certificates(lambda: [path], reactor), factory, reactor)

    def over(self, client: IStreamClientEndpoint) -> IStreamClientEndpoint:
        return wrapClientTLS(CertificateOptions(), client)

    async def test_lines_one_by_one_to_a_reader_that_does_not_read(self) -> None:
        """No more bytes wait than the limit, in the outbox and the transport together."""
        await self.connect(limit=_LIMIT)
        self.outbox.write(b"first\n")
        await self.reader.read_until(b"first\n")
        self.reader.transport.pauseProducing()
        for line in _numbered(5000):
            self.outbox.write(line)
            await deferLater(reactor, 0)
        await self.reader.read_until(b" skipped\n")
        _, *kept, last = self.reader.read.splitlines()
        self.assertEqual(int(last.split()[0]), 5000 - len(kept))
        self.assertLess(len(kept), 2500)

    async def test_peer_that_does_not_take_its_leave(self) -> None:
        """A peer that does not answer the close_notify is not waited for."""
        await self.connect(limit=_LIMIT)
        self.outbox.write(b"first\n")
        await self.reader.read_until(b"first\n")
        self.reader.transport.pauseProducing()
        self.outbox.write(b"last\n")
        self.outbox.close()
        await self.writer.lost
        await self.reader.read_until(b"last\n")

    async def take(self) -> None:
        """Have the reader read once, and the writer write on."""
        read = len(self.reader.read)
        self.reader.transport.resumeProducing()
        while len(self.reader.read) == read:
            self.assertFalse(self.reader.lost.called)
            await deferLater(reactor, 0)
        self.reader.transport.pauseProducing()
        for _ in range(5):
            await deferLater(reactor, 0)

    async def test_reader_that_takes_a_little_is_not_cut_off(self) -> None:
        """A reader that takes a little at a time is not cut off, also while the outbox is
        closing."""
        await self.connect(limit=_LIMIT)
        self.outbox.write(b"first\n")
        await self.reader.read_until(b"first\n")
        self.reader.transport.pauseProducing()
        self.write(_numbered(1000))
        await self.take()
        for number in range(4):
            await self.take()
            self.clock.advance(_STUCK_AFTER)
            await deferLater(reactor, 0)
            self.assertFalse(self.writer.lost.called, number)
        for _ in range(2):
            self.clock.advance(_STUCK_AFTER)
        await self.writer.lost

    async def test_closed_but_slow_reader_is_not_cut_off(self) -> None:
        """A slow reader of a closing outbox gets all that was left, and then the end."""
        await self.connect(limit=_LIMIT)
        self.outbox.write(b"first\n")
        await self.reader.read_until(b"first\n")
        self.reader.transport.pauseProducing()
        lines = _numbered(120)
        self.write(lines)
        self.outbox.close()
        for _ in range(3):
            await self.take()
            self.clock.advance(_STUCK_AFTER)
        await self.reader.read_until(lines[-1])
        await self.writer.lost

    async def test_closed_but_stuck_reader_is_cut_off(self) -> None:
        """A stuck reader is cut off also if all that waits is in the transport."""
        await self.connect(limit=_LIMIT)
        self.outbox.write(b"first\n")
        await self.reader.read_until(b"first\n")
        self.reader.transport.pauseProducing()
        self.write(_numbered(100))
        self.assertFalse(self.outbox.is_waiting)
        self.outbox.close()
        self.clock.advance(_STUCK_AFTER)
        await self.writer.lost
        self.writer.reason.trap(ConnectionAborted, ConnectionLost)
