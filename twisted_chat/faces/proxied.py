"""Connections that proxies pass on: the header first, then the face's protocol, on the same
transport."""

from ipaddress import IPv6Address
from typing import Any

from twisted.internet import address
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IProtocol,
    IProtocolFactory,
    IReactorTime,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_chat.core.addresses import SHARED, AddressList, numeric
from twisted_chat.protocol import proxy

from .admission import Admission

PATIENCE = 5.0
"""Seconds that a header may take. The specification asks for 3 at least, so that a lost packet can
be sent again."""

_QUIET = 60.0
"""Seconds between two lines in the log about connections without a header."""

_WHEN_FULL = 50
"""Connections whose header is read while the server is full, so that their clients can be told."""

_NOWHERE = address.UNIXAddress(None)
"""An address without a host. A connection from there has no limits by address."""

_log = Logger()


@implementer(IProtocolFactory)
class BehindProxies:
    """Has connections of proxies begin with the header that tells the client's address, and gives
    that address to another factory. Connections of everybody else go straight to that factory.

    While its header is read, a connection is counted as one of an address that many people share,
    and as one on which nobody has logged in. The limits by address are asked when the client's
    address is known.
    """

    def __init__(
        self,
        factory: IProtocolFactory,
        proxies: AddressList,
        admission: Admission,
        clock: IReactorTime,
    ) -> None:
        self.factory = factory
        self.admission = admission
        self.clock = clock
        self._proxies = proxies
        self._reading: set[_HeaderFirst] = set()
        self._quiet_until = 0.0

    def buildProtocol(self, addr: IAddress) -> IProtocol | None:
        host: str | None = getattr(addr, "host", None)
        if not self._proxies or host is None or host not in self._proxies:
            return self.factory.buildProtocol(addr)
        if len(self._reading) >= _WHEN_FULL and self.admission.refusal(SHARED) is not None:
            return None
        return _HeaderFirst(self, host)

    def doStart(self) -> None:
        self.factory.doStart()

    def doStop(self) -> None:
        """End the connections whose headers have not come: the port no longer listens."""
        for connection in list(self._reading):
            connection.abort()
        self.factory.doStop()

    def add(self, connection: "_HeaderFirst") -> None:
        """Count a connection whose header is read."""
        self._reading.add(connection)
        self.admission.came(connection, SHARED)

    def remove(self, connection: "_HeaderFirst") -> None:
        """Count it no more. Does nothing the second time."""
        if connection in self._reading:
            self._reading.remove(connection)
            self.admission.went(connection, SHARED)

    def complain(self, host: str) -> None:
        """Log that a proxy sends no header, at most once a minute."""
        now = self.clock.seconds()
        if now >= self._quiet_until:
            self._quiet_until = now + _QUIET
            _log.warn(
                "closed a connection from {host}, which is in --proxies, because it did not begin"
                " with a PROXY header; the proxy must send one (HAProxy: send-proxy-v2)",
                host=host,
            )


class _HeaderFirst(Protocol):
    """Reads the header of a connection, and hands the transport over to the protocol for the
    client's address."""

    transport: Any
    _deadline: IDelayedCall

    def __init__(self, behind: BehindProxies, host: str) -> None:
        """@param host: the proxy's address."""
        self._behind = behind
        self._host = host
        self._received = b""

    def connectionMade(self) -> None:
        self._deadline = self._behind.clock.callLater(PATIENCE, self._refuse)
        self._behind.add(self)

    def dataReceived(self, data: bytes) -> None:
        self._received += data
        try:
            header = proxy.read(self._received)
        except proxy.NoHeader:
            self._refuse()
        else:
            if header is not None:
                self._hand_over(header)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._end()

    def send_away(self, farewell: str, /) -> None:
        """Make room for others; see L{twisted_chat.faces.admission}. The farewell is not sent, as
        nothing may be before the header has come (section 2)."""
        self.abort()

    def abort(self) -> None:
        """End the connection without a word."""
        self._end()
        self.transport.abortConnection()

    def _refuse(self) -> None:
        self._behind.complain(self._host)
        self.abort()

    def _end(self) -> None:
        if self._deadline.active():
            self._deadline.cancel()
        self._behind.remove(self)

    def _hand_over(self, header: proxy.Header) -> None:
        self._end()
        protocol = self._behind.factory.buildProtocol(_client(header, self._host))
        if protocol is None:
            self.transport.abortConnection()
            return
        self.transport.protocol = protocol
        protocol.makeConnection(self.transport)
        rest = self._received[header.size :]
        if rest:
            protocol.dataReceived(rest)


def _client(header: proxy.Header, host: str) -> IAddress:
    """Give the client's address as Twisted's ports do.

    @param host: the proxy's address. In version 1, health checks name it (section 2.1).
    """
    if header.client is None or numeric(str(header.client)) == numeric(host):
        return _NOWHERE
    kind = address.IPv6Address if isinstance(header.client, IPv6Address) else address.IPv4Address
    return kind("TCP", str(header.client), header.port)
