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
        """Each address is one."""
        self.assertEqual(self.networks.source("198.51.100.1"), Source("198.51.100.1"))

    def test_IPv6(self) -> None:
        """A customer has a /64 at least, so a /64 is one."""
        one = self.networks.source("2001:db8::1")
        self.assertEqual(one, Source("2001:db8::/64"))
        self.assertEqual(self.networks.source("2001:db8:0:0:ffff:ffff:ffff:ffff"), one)
        self.assertNotEqual(self.networks.source("2001:db8:0:1::1"), one)

    def test_IPv4_in_IPv6(self) -> None:
        """On a dual-stack port IPv4 comes like this, and would all be one /64."""
        for host in "198.51.100.1", "10.1.2.3", "10.2.3.4", "192.0.2.7":
            self.assertEqual(
                self.networks.source(f"::ffff:{host}"), self.networks.source(host), host
            )

    def test_scope(self) -> None:
        """Link-local addresses come with their interface."""
        self.assertEqual(self.networks.source("fe80::1%eth0"), Source("fe80::/64"))

    def test_shared(self) -> None:
        """Many have such an address, so it tells nobody from anybody."""
        for host in "127.0.0.1", "127.255.0.1", "::1", "10.2.0.1", "::ffff:127.0.0.1":
            self.assertEqual(self.networks.source(host), SHARED, host)

    def test_trusted(self) -> None:
        """They are still told apart; what is shared and trusted is trusted."""
        for host, network in (
            ("192.0.2.7", "192.0.2.7"),
            ("2001:db8:7:8::9", "2001:db8:7:8::/64"),
            ("10.1.0.1", "10.1.0.1"),
        ):
            self.assertEqual(self.networks.source(host), Source(network, trusted=True))
        self.assertFalse(self.networks.source("192.0.2.8").trusted)

    def test_no_network(self) -> None:
        """A sentence tells which it is."""
        for text in "192.0.2.0/33", "192.0.2.1/24", "example.org", "":
            error = self.assertRaises(ValueError, Networks, trusted=[text])
            self.assertIn(text, str(error))

    @given(st.ip_addresses(v=4))
    def test_every_IPv4_address(self, address: IPv4Address) -> None:
        """It counts as itself when nothing is known of it."""
        self.assertEqual(Networks().source(str(address)), Source(str(address)))

    @given(st.ip_addresses(v=6))
    def test_every_IPv6_address(self, address: IPv6Address) -> None:
        """It counts as its first 64 bits, or as the IPv4 address that it is."""
        source = Networks().source(str(address))
        if address.ipv4_mapped is not None:
            self.assertEqual(source, Source(str(address.ipv4_mapped)))
            return
        first = IPv6Address(int(address) >> 64 << 64)
        self.assertEqual(source, Source(f"{first}/64"))
