"""Bounded, batched, eager writing."""

import fcntl
import socket
import struct
import sys
import termios
from collections import deque
from collections.abc import Callable, Container, Iterable
from typing import Any, Protocol

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
from twisted.internet.protocol import Protocol as TwistedProtocol
from zope.interface import implementer

from twisted_chat.core.events import Event, Skipped

_PIECE = 16 * 1024
"""Bytes that the transport is given at once; it asks for more when it has written them. What
waits is shared by all who wait for it, but of this each has a copy."""

_TCP_INFO = struct.Struct("=120xQ")
"""The beginning of Linux's C{struct tcp_info}, since 4.1: up to C{tcpi_bytes_acked}."""

_COUNTS_ACKNOWLEDGED = sys.platform == "linux"

_PLACE = 64
"""Bytes that a place in the queue is counted as, besides what waits there."""


class Format(Protocol):
    """How events look on the wire."""

    def encode(self, events: tuple[Event, ...], /) -> bytes:
        """All the events, in lines that each end in a newline. Called for every reader, so the
        same tuple again must cost next to nothing."""


@implementer(IPullProducer, IPushProducer)
class Outbox:
    """What waits to be written to one connection.

    While nothing waits, bytes go straight to a plain TCP socket: one system call, where the
    transport would need four. What the kernel does not take waits here, and the transport is given
    a piece each time it has written the last one. More than C{limit} bytes never wait: lines
    beyond that are skipped, counted, and told of once the rest has been written. A peer that takes
    nothing for C{stuck_after} seconds while something waits is cut off.

    A transport with TLS gets all, until it says that it has enough. As a pull producer it would be
    fed from a buffer of its own, whose fill it does not tell, and which it does not empty at the
    end.

    @ivar format: how events are written from now on.
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
        """Write events, now if possible, or skip them if too much waits already.

        @return: as L{write}.
        """
        return self.write(self.format.encode(events))

    def write(self, data: bytes) -> bool:
        """Write whole lines, or a prompt.

        @return: L{False} if some of it was skipped, or the connection is gone.
        """
        if self.straight is not None:
            try:
                sent = self.straight.send(data)
            except BlockingIOError:
                sent = 0
            except OSError:
                return False  # the transport finds out by itself, by reading
            if sent == len(data):
                return True
            data = data[sent:]
        elif self._skipped:
            self._skipped += data.count(b"\n")
            return False
        if self._closed:
            return False
        if self._tls and not self._paused and self._waiting is None and len(data) <= _PIECE:
            self._transport.write(data)
            return True
        return self._wait(data)

    def write_rest(self, data: bytes) -> None:
        """Let wait what the kernel did not take of something that was written straight."""
        self._wait(data)

    def close(self, *, reading: bool = False) -> None:
        """End the connection when everything that waits has been written.

        @param reading: only our end of it, if it has two, so that what is still read may be passed
            over; the peer ends the other.
        """
        if self._closed:
            return
        self._closed = True
        self.straight = None
        if not self._tls:
            half = reading and ITCPTransport.providedBy(self._transport)
            (self._transport.loseWriteConnection if half else self._transport.loseConnection)()
        elif self._waiting is None:
            self._end_tls(reading=reading)

    def drop(self) -> None:
        """The connection is gone: let go of everything."""
        self._closed = True
        self._socket = self._below = self.straight = None
        self._waiting = deque()
        self._waiting_bytes = 0
        self._cancel_stuck()

    @property
    def is_waiting(self) -> bool:
        """Something has not been taken by the kernel yet."""
        return self._waiting is not None

    @property
    def is_taken(self) -> bool:
        """The peer's system has acknowledged all that was written."""
        return self._waiting is None and not self._paused and not _queued(self._below)

    def _wait(self, data: bytes) -> bool:
        first = self._waiting is None
        self.straight = None
        if self._waiting is None:
            self._waiting = deque()
        kept = self._fitting(data, begun=first)
        self._skipped += data.count(b"\n", kept)
        self._keep(data[:kept], self._waiting)
        if first:
            self._watch()
            if not self._tls:
                self._transport.registerProducer(self, False)
            elif not self._paused:
                self.resumeProducing()
            self._taken = self._progress()
        return kept == len(data)

    def _keep(self, data: bytes, waiting: deque[bytes]) -> None:
        waiting.append(data)
        self._waiting_bytes += len(data) + _PLACE
        self._accepted += len(data) + _PLACE

    def _fitting(self, data: bytes, *, begun: bool) -> int:
        """How many bytes of the data may wait: whole lines.

        @param begun: some of the first line may have been sent; it is not broken off.
        """
        room = self._limits.limit - self._waiting_bytes - self._in_transport - _PLACE
        if len(data) <= room:
            return len(data)
        whole = data.rfind(b"\n", 0, max(0, room)) + 1
        return whole or (data.find(b"\n") + 1 if begun else 0)

    def _progress(self) -> int:
        """A number that is another one when the peer has taken something, as far as that can be
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
        """Take leave; a peer that takes nothing more of what is left is cut off."""
        self._taken = self._progress()
        self._transport.unregisterProducer()
        self._transport.loseConnection()
        if not self._paused and not reading:
            # All that there was is in the connection below. Its end need not wait for the peer's
            # leave: some programs take none.
            self._transport.transport.loseConnection()
        self._watch()

    # IPullProducer, and IPushProducer for TLS

    def pauseProducing(self) -> None:
        """The transport has enough for now."""
        self._paused = True

    def resumeProducing(self) -> None:
        """The transport has written all that it had: give it the next piece."""
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
        """The connection is gone."""
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


def fan_out(
    outboxes: Iterable[Outbox], events: tuple[Event, ...], apart: Container[Outbox] = ()
) -> None:
    """Send the same events to many; a L{twisted_chat.core.ports.FanOut}.

    The innermost loop of the server: with a thousand readers it is where the time goes, and each
    object that it touches for a reader is one more that is not in the processor's cache.
    """
    format: Format | None = None
    data = b""
    size = 0
    for outbox in outboxes:
        if outbox in apart:
            continue
        if outbox.format is not format:
            format = outbox.format
            data = format.encode(events)
            size = len(data)
        straight = outbox.straight
        if straight is None:
            outbox.write(data)
            continue
        try:
            sent = straight.send(data)
        except OSError:
            outbox.write(data)  # which finds out what is the matter
            continue
        if sent != size:
            outbox.write_rest(data[sent:])


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
    """Bytes that were written to a socket and that the peer's system has not acknowledged."""
    if handle is None:
        return 0
    queued = fcntl.ioctl(handle, termios.TIOCOUTQ, bytes(4))  # tcp(7): SIOCOUTQ
    return int.from_bytes(queued, sys.byteorder)


def _acknowledged(handle: socket.socket) -> int:
    """Bytes that the peer's system has acknowledged."""
    info = handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
    return int(_TCP_INFO.unpack(info)[0])


def below(transport: Any) -> Any:
    """The transport with the socket, which TLS and PROXY lie over."""
    while isinstance(transport, TwistedProtocol):
        transport = transport.transport
    return transport


def _socket_below(transport: Any) -> socket.socket | None:
    """The socket that everything is written to in the end, whatever lies over it."""
    lowest = below(transport)
    handle = lowest.getHandle() if ISystemHandle.providedBy(lowest) else None
    return handle if isinstance(handle, socket.socket) else None


def _plain_socket(transport: ITransport) -> Any:
    """The transport's socket, if what is written to the one may as well go to the other."""
    if (
        ITCPTransport.providedBy(transport)
        and ISystemHandle.providedBy(transport)
        and not ISSLTransport.providedBy(transport)
    ):
        return transport.getHandle()
    return None
