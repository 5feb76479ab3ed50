"""What an address counts as."""

from ipaddress import IPv4Address, IPv6Address

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twisted_chat.core.addresses import SHARED, Networks, Source


class NetworksTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.networks = Networks(
            trusted=["192.0.2.7", "2001:db8:7::/48", "10.1.0.0/16"],
            shared=["10.0.0.0/8", "::1", "127.0.0.0/8"],
        )

    def test_IPv4(self) -> None:
        """An IPv4 address is a network of its own."""
        self.assertEqual(self.networks.source("198.51.100.1"), Source("198.51.100.1"))

    def test_IPv6(self) -> None:
        """An IPv6 address counts as its /64, the least that a customer gets."""
        one = self.networks.source("2001:db8::1")
        self.assertEqual(one, Source("2001:db8::/64"))
        self.assertEqual(self.networks.source("2001:db8:0:0:ffff:ffff:ffff:ffff"), one)
        self.assertNotEqual(self.networks.source("2001:db8:0:1::1"), one)

    def test_IPv4_in_IPv6(self) -> None:
        """An IPv4-mapped address, as on a dual-stack port, counts as the IPv4 address, not as one
        /64 with all others."""
        for host in "198.51.100.1", "10.1.2.3", "10.2.3.4", "192.0.2.7":
            self.assertEqual(
                self.networks.source(f"::ffff:{host}"), self.networks.source(host), host
            )

    def test_scope(self) -> None:
        """The interface behind a link-local address is ignored."""
        self.assertEqual(self.networks.source("fe80::1%eth0"), Source("fe80::/64"))

    def test_shared(self) -> None:
        """An address of a shared network has no network of its own, as many people have it."""
        for host in "127.0.0.1", "127.255.0.1", "::1", "10.2.0.1", "::ffff:127.0.0.1":
            self.assertEqual(self.networks.source(host), SHARED, host)

    def test_trusted(self) -> None:
        """Trusted addresses are told apart; an address may be shared and trusted."""
        for host, network in (
            ("192.0.2.7", "192.0.2.7"),
            ("2001:db8:7:8::9", "2001:db8:7:8::/64"),
            ("10.1.0.1", "10.1.0.1"),
        ):
            self.assertEqual(self.networks.source(host), Source(network, trusted=True))
        self.assertFalse(self.networks.source("192.0.2.8").trusted)

    def test_no_network(self) -> None:
        """What is no network is refused with a sentence that names it."""
        for text in "192.0.2.0/33", "192.0.2.1/24", "example.org", "":
            error = self.assertRaises(ValueError, Networks, trusted=[text])
            self.assertIn(text, str(error))

    @given(st.ip_addresses(v=4))
    def test_every_IPv4_address(self, address: IPv4Address) -> None:
        """Any IPv4 address counts as itself by default."""
        self.assertEqual(Networks().source(str(address)), Source(str(address)))

    @given(st.ip_addresses(v=6))
    def test_every_IPv6_address(self, address: IPv6Address) -> None:
        """Any IPv6 address counts as its first 64 bits, or as the IPv4 address that it maps."""
        source = Networks().source(str(address))
        if address.ipv4_mapped is not None:
            self.assertEqual(source, Source(str(address.ipv4_mapped)))
            return
        first = IPv6Address(int(address) >> 64 << 64)
        self.assertEqual(source, Source(f"{first}/64"))
