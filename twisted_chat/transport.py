"""What Twisted's transports do not do or tell by themselves; for both ends of a connection.

It stands beside L{twisted_chat.protocol}, which is pure: this module knows Twisted and sockets, and
nothing of chat.
"""

import select
import socket
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import (
    IDelayedCall,
    IReactorTime,
    ISSLTransport,
    ISystemHandle,
    ITCPTransport,
)
from twisted.internet.protocol import Protocol

from twisted_chat.protocol.alive import PERIOD, tcp_options

_IGNORED = 64 * 1024
"""Bytes that are read of a peer that has been turned away."""

_SECONDS_TO_READ = 5.0
"""Seconds that a peer that is turned away has to read the answer."""

_FIN = getattr(select, "POLLRDHUP", 0)  # Linux only


def below(transport: Any) -> Any:
    """Find the transport that has the socket, below TLS and PROXY."""
    while isinstance(transport, Protocol):
        transport = transport.transport
    return transport


def keep_alive(transport: Any, period: int = PERIOD, patience: int = 0) -> None:
    """Have the system notice when the peer vanishes without a FIN, and send small writes at once.

    Does nothing to a connection that is not over IP. For the parameters see L{tcp_options}.
    """
    if not isinstance(transport.getPeer(), (IPv4Address, IPv6Address)):
        return
    transport.setTcpNoDelay(True)
    transport.setTcpKeepAlive(True)
    handle = below(transport).getHandle()
    for option, value in tcp_options(period, patience):
        handle.setsockopt(socket.IPPROTO_TCP, option, value)


def hang_ups(transport: Any) -> int:
    """Ask poll(2) whether the peer has ended the connection, without reading.

    @return: C{POLLRDHUP} after a FIN; C{POLLHUP} or C{POLLERR} when the connection is no more; 0
        otherwise, and where there is no socket.
    """
    lowest = below(transport)
    if not ISystemHandle.providedBy(lowest):
        return 0
    handle: Any = lowest.getHandle()
    poll = select.poll()
    poll.register(handle, _FIN)
    return sum(events for _, events in poll.poll(0))


def end_writing(transport: Any) -> None:
    """End our half of a connection once all is written, and read on; or the whole connection if its
    halves cannot end one by one."""
    if ITCPTransport.providedBy(transport) and not ISSLTransport.providedBy(transport):
        transport.loseWriteConnection()
    else:
        transport.loseConnection()


class LastWord:
    """The end of a connection that is turned away with an answer, after which our half of it ends.

    What the peer still sends is read and ignored, up to 64 KiB: if it were left unread, the kernel
    would reset the connection and the answer would be lost. After five seconds the connection is
    cut off.
    """

    __slots__ = ("_deadline", "_ignored", "_transport")

    def __init__(self, transport: Any, clock: IReactorTime) -> None:
        self._transport = transport
        self._ignored = 0
        self._deadline: IDelayedCall = clock.callLater(_SECONDS_TO_READ, transport.abortConnection)

    def say(self, answer: bytes) -> None:
        """Write the answer and end our half of the connection."""
        self._transport.write(answer)
        end_writing(self._transport)

    def ignore(self, data: bytes) -> None:
        """Take what the peer still sends; beyond the bound, stop reading."""
        self._ignored += len(data)
        if self._ignored > _IGNORED:
            self._transport.pauseProducing()

    def connection_lost(self) -> None:
        """Give up the deadline."""
        if self._deadline.active():
            self._deadline.cancel()
