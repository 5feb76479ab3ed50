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

    @ivar network: what is counted as one: an IPv4 address, or the /64 of an IPv6 address, which
        is what one customer has at least. Empty where an address tells nobody from anybody else.
    @ivar trusted: free of limits by address, and of the one on lines.
    """

    network: str = ""
    trusted: bool = False


SHARED = Source()
"""Something without an address, as UNIX sockets are, or with one that everybody has."""


class Networks:
    """What an operator knows about networks."""

    def __init__(self, *, trusted: Iterable[str] = (), shared: Iterable[str] = ()) -> None:
        """
        @param trusted: free of limits.
        @param shared: many people have the same address there.
        @raise ValueError: if one of them is neither an address nor a network like
            C{192.0.2.0/24}.
        """
        self._trusted = _parsed(trusted)
        self._shared = _parsed(shared)

    def source(self, host: str) -> Source:
        """What a numeric address counts as; an IPv4 address mapped into IPv6 (RFC 4291, section
        2.5.5.2) counts as itself.

        @raise ValueError: if it is no address.
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
