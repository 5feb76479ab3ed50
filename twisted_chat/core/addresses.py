"""Where a connection comes from, as far as limits go."""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
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


class Networks:
    """The networks that the operator trusts, or knows to be shared by many people."""

    def __init__(self, *, trusted: Iterable[str] = (), shared: Iterable[str] = ()) -> None:
        """
        @param trusted: free of limits.
        @param shared: networks in which many people have the same address.
        @raise ValueError: if one of them is neither an address nor a network such as
            C{192.0.2.0/24}.
        """
        self._trusted = _parsed(trusted)
        self._shared = _parsed(shared)

    def source(self, host: str) -> Source:
        """The source of a numeric address. An IPv4 address that is mapped into IPv6 (RFC 4291,
        section 2.5.5.2) counts as IPv4.

        @raise ValueError: if it is not an address.
        """
        address: IPv4Address | IPv6Address = ip_address(host.partition("%")[0])
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        trusted = any(address in network for network in self._trusted)
        if not trusted and any(address in network for network in self._shared):
            return SHARED
        if isinstance(address, IPv6Address):
            return Source(str(IPv6Network((address, 64), strict=False)), trusted)
        return Source(str(address), trusted)


def _parsed(networks: Iterable[str]) -> list[IPv4Network | IPv6Network]:
    return [ip_network(text) for text in networks]
