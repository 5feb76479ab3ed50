"""Bounded, batched, eager writing."""

import fcntl
import socket
import struct
import sys
import termios
from collections import deque
from collections.abc import Callable, Container, Iterable
from typing import Any

from twisted.internet.interfaces import (
    IDelayedCall,
    IPullProducer,
    IPushProducer,
    IReactorTime,
    ISSLTransport,
    ISystemHandle,
    ITCPTransport,
    ITransport,
)
from zope.interface import implementer

from twisted_chat.core.events import Event, Skipped
from twisted_chat.faces.format import Format
from twisted_chat.transport import below, end_writing

_PIECE = 16 * 1024
"""Bytes that the transport is given at once; it asks for more when it has written them. Queued
bytes are shared between outboxes, but each connection has its own copy of its piece, so it is
small."""

_TCP_INFO = struct.Struct("=120xQ")
"""The beginning of Linux's C{struct tcp_info}, since 4.1: up to C{tcpi_bytes_acked}."""

_COUNTS_ACKNOWLEDGED = sys.platform == "linux"

_PLACE = 64
"""Bytes that an entry of the queue counts as, besides what it holds."""


@implementer(IPullProducer, IPushProducer)
class Outbox:
    """What waits to be written to one connection.

    While nothing waits, bytes go straight to a plain TCP or UNIX socket: one system call, where the
    transport would need four. What the kernel does not take waits here, and the transport is given
    a piece each time it has written the last one. At most C{limit} bytes wait: units beyond that
    are skipped, counted, and reported once the rest has been written. A peer that takes nothing for
    C{stuck_after} seconds while something waits is cut off.

    A transport with TLS is given everything until it says that it has enough. As a pull producer
    the outbox would be read into a buffer of Twisted's that does not tell how full it is and that
    is not emptied at the end.

    @ivar format: encodes what is sent from now on.
    @ivar skips: how often something was skipped, or was lost with the connection.
    @ivar straight: the socket that may be written to at once; L{None} while something waits, and
        where there is none.
    """

    __slots__ = (
        "_backlog",
        "_is_closed",
        "_is_paused",
        "_is_tls",
        "_limits",
        "_transport",
        "format",
        "skips",
        "straight",
    )

    def __init__(self, transport: Any, format: Format, limits: "OutboxLimits") -> None:
        self.format = format
        self.skips = 0
        self.straight = _plain_socket(transport)
        self._transport = transport
        self._limits = limits
        self._backlog: _Backlog | None = None
        self._is_closed = False
        self._is_paused = False  # the transport with TLS has enough
        self._is_tls = bool(ISSLTransport.providedBy(transport))
        if self._is_tls:
            transport.registerProducer(self, True)

    def send(self, events: tuple[Event, ...], /) -> bool:
        """Write events, now if possible; skip them if too much waits already.

        @return: as L{write}.
        """
        return self.write(self.format.encode(events))

    def write(self, data: bytes) -> bool:
        """Write whole units of the format, or something that is no event, such as a prompt.

        @return: L{False} if some of it was skipped, or the connection is lost.
        """
        sent = 0
        if self.straight is not None:
            try:
                sent = self.straight.send(data)
            except BlockingIOError:
                pass
            except OSError:
                return self._skip()  # the transport finds out by itself, by reading
            if sent == len(data):
                return True
        elif self._backlog is not None and self._backlog.skipped:
            self._backlog.skipped += self.format.count(data)
            return self._skip()
        if self._is_closed:
            return self._skip()
        if self._is_tls and not self._is_paused and self._backlog is None and len(data) <= _PIECE:
            self._transport.write(data)
            return True
        return self._wait(data, sent)

    def write_rest(self, data: bytes, sent: int) -> None:
        """Queue what the kernel did not take of data that was written straight.

        @param sent: bytes of it that the kernel took.
        """
        self._wait(data, sent)

    def close(self, *, reading: bool = False) -> None:
        """End the connection when everything that waits has been written.

        @param reading: end only our half, if the connection has two, and read on; the peer ends the
            other half.
        """
        if self._is_closed:
            return
        self._is_closed = True
        self.straight = None
        if not self._is_tls:
            if reading:
                end_writing(self._transport)
            else:
                self._transport.loseConnection()
        elif self._backlog is None:
            self._end_tls(reading=reading)

    def drop(self) -> None:
        """Let go of everything, as the connection is lost."""
        self._is_closed = True
        self.straight = None
        self._stop_watching()
        self._backlog = _Backlog()

    @property
    def is_waiting(self) -> bool:
        """Whether the kernel has not taken everything yet."""
        return self._backlog is not None

    @property
    def is_taken(self) -> bool:
        """Whether the peer's system has acknowledged everything that was written."""
        if self._backlog is not None or self._is_paused:
            return False
        return not _queued(_socket_below(self._transport))

    def _wait(self, data: bytes, sent: int) -> bool:
        """Queue as many whole units behind C{sent} as there is room for.

        @return: L{False} if that was not all.
        """
        if sent == len(data):
            return True  # an event that this format does not show
        self.straight = None
        first = self._backlog is None
        backlog = self._backlog = self._backlog or _Backlog()
        end = len(data)
        room = self._limits.limit - backlog.size - backlog.in_transport - _PLACE
        if end - sent > room:
            end = self.format.cut(data, sent, room)
            if end - sent > room and not first:
                end = sent  # nothing of it has been sent
            backlog.skipped += self.format.count(data[end:])
        if end > sent:
            backlog.add(data[sent:end])
        if first:
            self._watch(backlog)
            if not self._is_tls:
                self._transport.registerProducer(self, False)
            elif not self._is_paused:
                self.resumeProducing()
            backlog.taken = self._progress(backlog)
        return end == len(data) or self._skip()

    def _skip(self) -> bool:
        """Count a gap.

        @return: L{False}, as what was to be written was not, or not all of it.
        """
        self.skips += 1
        return False

    def _progress(self, backlog: "_Backlog") -> int:
        """Give a number that changes when the peer has taken something, as far as that can be
        seen."""
        below = _socket_below(self._transport)
        if self._is_tls and below is not None and _COUNTS_ACKNOWLEDGED:
            return _acknowledged(below)
        waiting = backlog.size + backlog.in_transport
        if not self._is_tls:
            waiting += _queued(_plain_socket(self._transport))
        return backlog.accepted - waiting

    def _watch(self, backlog: "_Backlog") -> None:
        backlog.stuck = self._limits.clock.callLater(self._limits.stuck_after, self._check, backlog)

    def _check(self, backlog: "_Backlog") -> None:
        taken = self._progress(backlog)
        if taken == backlog.taken:
            self._transport.abortConnection()
        else:
            backlog.taken = taken
            self._watch(backlog)

    def _stop_watching(self) -> None:
        if self._backlog is not None:
            self._backlog.stop()

    def _end_tls(self, *, reading: bool = False) -> None:
        """End the connection with a close_notify (RFC 8446, section 6.1); cut the peer off if it
        takes nothing more of what is left."""
        backlog = self._backlog = _Backlog()
        backlog.taken = self._progress(backlog)
        self._transport.unregisterProducer()
        self._transport.loseConnection()
        if not self._is_paused and not reading:
            # Everything is in the connection below. It need not stay open until the peer's
            # close_notify: some programs send none.
            self._transport.transport.loseConnection()
        self._watch(backlog)

    # IPullProducer, and IPushProducer for TLS

    def pauseProducing(self) -> None:
        """Stop writing: the transport has enough for now."""
        self._is_paused = True

    def resumeProducing(self) -> None:
        """Give the transport the next piece: it has written all that it had."""
        self._is_paused = False
        backlog = self._backlog
        self._give_piece()
        if self._is_tls and backlog is not None:
            while self._backlog is backlog and not self._is_paused:
                self._give_piece()

    def _give_piece(self) -> None:
        backlog = self._backlog
        if backlog is None:
            return
        backlog.in_transport = 0
        if not backlog.queue and backlog.skipped:
            units, backlog.skipped = backlog.skipped, 0
            backlog.add(self.format.encode((Skipped(self._limits.now(), units),)))
        if not backlog.queue:
            self._stop_watching()
            self._backlog = None
            self.straight = None if self._is_closed else _plain_socket(self._transport)
            if not self._is_tls:
                self._transport.unregisterProducer()
            elif self._is_closed:
                self._end_tls()
            return
        piece = backlog.next_piece()
        backlog.in_transport = 0 if self._is_tls else len(piece)
        self._transport.write(piece)

    def stopProducing(self) -> None:
        """Let go of everything: the connection is lost."""
        self.drop()


class _Backlog:
    """What waits in an outbox. There is one only while something waits, so that an idle connection
    is small.

    @ivar queue: the bytes that wait, in the chunks in which they came.
    @ivar size: their number, and L{_PLACE} for each chunk.
    @ivar in_transport: bytes that a plain transport was given and has not written.
    @ivar skipped: units that were left out, and that the peer has not been told of.
    @ivar accepted: bytes that were ever queued here.
    @ivar taken: the progress at the last check.
    @ivar stuck: the next check.
    """

    __slots__ = ("accepted", "in_transport", "queue", "size", "skipped", "stuck", "taken")

    def __init__(self) -> None:
        self.queue: deque[bytes] = deque()
        self.size = 0
        self.in_transport = 0
        self.skipped = 0
        self.accepted = 0
        self.taken = 0
        self.stuck: IDelayedCall | None = None

    def add(self, data: bytes) -> None:
        """Queue a chunk."""
        self.queue.append(data)
        self.size += len(data) + _PLACE
        self.accepted += len(data) + _PLACE

    def next_piece(self) -> bytes:
        """Remove the bytes that the transport is given next."""
        parts: list[bytes] = []
        size = 0
        while self.queue and size < _PIECE:
            part = self.queue.popleft()
            fits = _PIECE - size
            if len(part) > fits:
                self.queue.appendleft(part[fits:])
                part = part[:fits]
            else:
                self.size -= _PLACE
            parts.append(part)
            size += len(part)
            self.size -= len(part)
        return b"".join(parts)

    def stop(self) -> None:
        """Check the progress no more."""
        if self.stuck is not None and self.stuck.active():
            self.stuck.cancel()
        self.stuck = None


def fan_out(outboxes: Iterable[Any], events: tuple[Event, ...], apart: Container[Any] = ()) -> None:
    """Send the same events to many outboxes; a L{twisted_chat.core.ports.FanOut}.

    An outbox that has no C{straight}, such as a face's own, has its C{send} called.

    This is the innermost loop of the server. With a thousand readers it is where the time goes, and
    each object that it touches for a reader is one more that is not in the processor's cache.
    """
    format: Format | None = None
    data = b""
    size = 0
    for outbox in outboxes:
        if outbox in apart:
            continue
        try:
            straight = outbox.straight
        except AttributeError:
            outbox.send(events)
            continue
        if outbox.format is not format:
            format = outbox.format
            data = format.encode(events)
            size = len(data)
        if straight is None:
            outbox.write(data)
            continue
        try:
            sent = straight.send(data)
        except OSError:
            outbox.write(data)  # which finds out what the matter is
            continue
        if sent != size:
            outbox.write_rest(data, sent)


class OutboxLimits:
    """What all outboxes of a server share.

    @ivar limit: bytes that may wait in one outbox.
    @ivar stuck_after: seconds without progress before a connection is cut off.
    """

    __slots__ = ("clock", "limit", "now", "stuck_after")

    def __init__(
        self, clock: IReactorTime, now: Callable[[], int], *, limit: int, stuck_after: float
    ) -> None:
        self.clock = clock
        self.now = now
        self.limit = limit
        self.stuck_after = stuck_after


def _queued(handle: socket.socket | None) -> int:
    """Count the bytes that were written to a socket and that the peer's system has not
    acknowledged."""
    if handle is None:
        return 0
    queued = fcntl.ioctl(handle, termios.TIOCOUTQ, bytes(4))  # tcp(7): SIOCOUTQ
    return int.from_bytes(queued, sys.byteorder)


def _acknowledged(handle: socket.socket) -> int:
    """Count the bytes that the peer's system has acknowledged."""
    info = handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
    return int(_TCP_INFO.unpack(info)[0])


def _socket_below(transport: Any) -> socket.socket | None:
    """Find the socket that everything is written to in the end, below TLS and PROXY."""
    lowest = below(transport)
    handle = lowest.getHandle() if ISystemHandle.providedBy(lowest) else None
    return handle if isinstance(handle, socket.socket) else None


def _plain_socket(transport: ITransport) -> Any:
    """Find the socket that may be written to instead of the transport; L{None} if the transport
    changes what is written, as TLS does."""
    if (
        ITCPTransport.providedBy(transport)
        and ISystemHandle.providedBy(transport)
        and not ISSLTransport.providedBy(transport)
    ):
        return transport.getHandle()
    return None
