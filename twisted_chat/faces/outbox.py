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
    @ivar straight: the socket that may be written to at once; L{None} while something waits, and
        where there is none.
    """

    __slots__ = (
        "_accepted",
        "_below",
        "_closed",
        "_in_transport",
        "_limits",
        "_paused",
        "_skipped",
        "_socket",
        "_stuck",
        "_taken",
        "_tls",
        "_transport",
        "_waiting",
        "_waiting_bytes",
        "format",
        "straight",
    )

    def __init__(
        self,
        transport: Any,
        format: Format,
        limits: "OutboxLimits",
    ) -> None:
        self.format = format
        self._transport = transport
        self._limits = limits
        self._socket = _plain_socket(transport)
        self.straight = self._socket
        self._below = _socket_below(transport)
        self._waiting: deque[bytes] | None = None
        self._waiting_bytes = 0
        self._in_transport = 0
        self._skipped = 0
        self._accepted = 0  # bytes, since something had to wait
        self._taken = 0  # the progress at the last check
        self._stuck: IDelayedCall | None = None
        self._closed = False
        self._paused = False
        self._tls = bool(ISSLTransport.providedBy(transport))
        if self._tls:
            transport.registerProducer(self, True)

    def send(self, events: tuple[Event, ...], /) -> bool:
        """Write events, now if possible; skip them if too much waits already.

        @return: as L{write}.
        """
        return self.write(self.format.encode(events))

    def write(self, data: bytes) -> bool:
        """Write whole units of the format, or something that is no event, such as a prompt.

        @return: L{False} if some of it was skipped, or the connection is gone.
        """
        sent = 0
        if self.straight is not None:
            try:
                sent = self.straight.send(data)
            except BlockingIOError:
                pass
            except OSError:
                return False  # the transport finds out by itself, by reading
            if sent == len(data):
                return True
        elif self._skipped:
            self._skipped += self.format.count(data)
            return False
        if self._closed:
            return False
        if self._tls and not self._paused and self._waiting is None and len(data) <= _PIECE:
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
        if self._closed:
            return
        self._closed = True
        self.straight = None
        if not self._tls:
            if reading:
                end_writing(self._transport)
            else:
                self._transport.loseConnection()
        elif self._waiting is None:
            self._end_tls(reading=reading)

    def drop(self) -> None:
        """Let go of everything, as the connection is lost."""
        self._closed = True
        self._socket = self._below = self.straight = None
        self._waiting = deque()
        self._waiting_bytes = 0
        self._cancel_stuck()

    @property
    def is_waiting(self) -> bool:
        """Whether the kernel has not taken everything yet."""
        return self._waiting is not None

    @property
    def is_taken(self) -> bool:
        """Whether the peer's system has acknowledged everything that was written."""
        return self._waiting is None and not self._paused and not _queued(self._below)

    def _wait(self, data: bytes, sent: int) -> bool:
        """Queue as many whole units behind C{sent} as there is room for.

        @return: L{False} if that was not all.
        """
        first = self._waiting is None
        self.straight = None
        if self._waiting is None:
            self._waiting = deque()
        end = len(data)
        room = self._limits.limit - self._waiting_bytes - self._in_transport - _PLACE
        if end - sent > room:
            end = self.format.cut(data, sent, room)
            if end - sent > room and not first:
                end = sent  # nothing of it has been sent
            self._skipped += self.format.count(data[end:])
        if end > sent:
            self._keep(data[sent:end], self._waiting)
        if first:
            self._watch()
            if not self._tls:
                self._transport.registerProducer(self, False)
            elif not self._paused:
                self.resumeProducing()
            self._taken = self._progress()
        return end == len(data)

    def _keep(self, data: bytes, waiting: deque[bytes]) -> None:
        waiting.append(data)
        self._waiting_bytes += len(data) + _PLACE
        self._accepted += len(data) + _PLACE

    def _progress(self) -> int:
        """Give a number that changes when the peer has taken something, as far as that can be
        seen."""
        if self._tls and self._below is not None and _COUNTS_ACKNOWLEDGED:
            return _acknowledged(self._below)
        waiting = self._waiting_bytes + self._in_transport + _queued(self._socket)
        return self._accepted - waiting

    def _watch(self) -> None:
        self._stuck = self._limits.clock.callLater(self._limits.stuck_after, self._check)

    def _check(self) -> None:
        taken = self._progress()
        if taken == self._taken:
            self._transport.abortConnection()
        else:
            self._taken = taken
            self._watch()

    def _end_tls(self, *, reading: bool = False) -> None:
        """End the connection with a close_notify (RFC 8446, section 6.1); cut the peer off if it
        takes nothing more of what is left."""
        self._taken = self._progress()
        self._transport.unregisterProducer()
        self._transport.loseConnection()
        if not self._paused and not reading:
            # Everything is in the connection below. It need not stay open until the peer's
            # close_notify: some programs send none.
            self._transport.transport.loseConnection()
        self._watch()

    # IPullProducer, and IPushProducer for TLS

    def pauseProducing(self) -> None:
        """Stop writing: the transport has enough for now."""
        self._paused = True

    def resumeProducing(self) -> None:
        """Give the transport the next piece: it has written all that it had."""
        self._paused = False
        self._give_piece()
        while self._tls and not self._paused and self._waiting is not None:
            self._give_piece()

    def _give_piece(self) -> None:
        if self._waiting is None:
            return
        self._in_transport = 0
        if not self._waiting and self._skipped:
            lines, self._skipped = self._skipped, 0
            told = self.format.encode((Skipped(self._limits.now(), lines),))
            self._keep(told, self._waiting)
        if not self._waiting:
            self._waiting = None
            self.straight = None if self._closed else self._socket
            self._cancel_stuck()
            if not self._tls:
                self._transport.unregisterProducer()
            elif self._closed:
                self._end_tls()
            return
        piece = self._next_piece(self._waiting)
        self._in_transport = 0 if self._tls else len(piece)
        self._transport.write(piece)

    def stopProducing(self) -> None:
        """Let go of everything: the connection is lost."""
        self.drop()

    def _next_piece(self, waiting: deque[bytes]) -> bytes:
        parts: list[bytes] = []
        size = 0
        while waiting and size < _PIECE:
            part = waiting.popleft()
            fits = _PIECE - size
            if len(part) > fits:
                waiting.appendleft(part[fits:])
                part = part[:fits]
            else:
                self._waiting_bytes -= _PLACE
            parts.append(part)
            size += len(part)
            self._waiting_bytes -= len(part)
        return b"".join(parts)

    def _cancel_stuck(self) -> None:
        if self._stuck is not None and self._stuck.active():
            self._stuck.cancel()
        self._stuck = None


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
