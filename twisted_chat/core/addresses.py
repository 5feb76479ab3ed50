"""Where a connection comes from, as far as limits go."""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)


@dataclass(frozen=True, slots=True)
class Source:
    """Where a connection comes from.

    @ivar network: the unit that limits by address count: an IPv4 address, or the /64 network of an
        IPv6 address, the least that one customer has. Empty if the address tells nothing.
    @ivar trusted: free of the limits by address, and of the limit on lines.
    """

    network: str = ""
    trusted: bool = False


SHARED = Source()
"""A connection without an address, as of a UNIX socket, or with one that many people share."""


class AddressList:
    """Addresses and networks, as an option lists them."""

    def __init__(self, listed: Iterable[str] = ()) -> None:
        """
        @raise ValueError: if one of them is neither an address nor a network such as
            C{192.0.2.0/24}.
        """
        self._networks = [ip_network(text) for text in listed]

    def __bool__(self) -> bool:
        return bool(self._networks)

    def __contains__(self, host: str) -> bool:
        """Tell whether a numeric address is one of them or in one of the networks.

        @raise ValueError: if it is not an address.
        """
        address = numeric(host)
        return any(address in network for network in self._networks)


class Networks:
    """The networks that the operator trusts, or knows to be shared by many people."""

    def __init__(self, *, trusted: Iterable[str] = (), shared: Iterable[str] = ()) -> None:
        """
        @param trusted: free of limits.
        @param shared: networks in which many people have the same address.
        @raise ValueError: as L{AddressList}.
        """
        self._trusted = AddressList(trusted)
        self._shared = AddressList(shared)

    def source(self, host: str) -> Source:
        """The source of a numeric address.

        @raise ValueError: if it is not an address.
        """
        trusted = host in self._trusted
        if not trusted and host in self._shared:
            return SHARED
        address = numeric(host)
        if isinstance(address, IPv6Address):
            return Source(str(IPv6Network((address, 64), strict=False)), trusted)
        return Source(str(address), trusted)


def numeric(host: str) -> IPv4Address | IPv6Address:
    """Parse an address, without the interface behind it. An IPv4 address that is mapped into IPv6
    (RFC 4291, section 2.5.5.2) becomes IPv4.

    @raise ValueError: if it is not an address.
    """
    address = ip_address(host.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
