"""Who may connect, and for how long without logging in."""

from collections import Counter

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from twisted_chat.core.addresses import SHARED, Networks, Source
from twisted_chat.core.limits import Limits
from twisted_chat.faces.admission import Admission

FAR = Source("192.0.2.1")
FARTHER = Source("192.0.2.2")
TRUSTED = Source("192.0.2.200", trusted=True)


class Arrival:
    """A connection that goes when it is sent away."""

    def __init__(self, admission: Admission, source: Source) -> None:
        self.admission = admission
        self.source = source
        self.farewell = ""
        admission.came(self, source)

    def send_away(self, farewell: str, /) -> None:
        self.farewell = farewell
        self.go()

    def go(self) -> None:
        self.admission.went(self, self.source)


class AdmissionTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.limited()

    def limited(self, **limits: int) -> None:
        """Make an admission with these limits."""
        self.clock = Clock()
        self.admission = Admission(Limits(**limits), Networks(shared=["127.0.0.0/8"]), self.clock)

    def come(self, source: Source) -> Arrival:
        return Arrival(self.admission, source)

    def connect(self, source: Source, count: int) -> list[Arrival]:
        """Make this many connections; return those that are accepted. The last refusal is
        C{said}."""
        arrivals = []
        for _ in range(count):
            refusal = self.admission.refusal(source)
            if refusal is None:
                arrivals.append(self.come(source))
            else:
                self.said = refusal
        return arrivals


class SourceTests(AdmissionTestCase):
    def test_addresses(self) -> None:
        """Addresses of TCP are told apart; others are shared."""
        for address, source in (
            (IPv4Address("TCP", "192.0.2.1", 5000), FAR),
            (IPv6Address("TCP", "2001:db8::7", 5000), Source("2001:db8::/64")),
            (IPv4Address("TCP", "127.0.0.1", 5000), SHARED),
            (UNIXAddress(b"/run/chat.sock"), SHARED),
            (None, SHARED),
        ):
            self.assertEqual(self.admission.source(address), source)


class ConnectionsTests(AdmissionTestCase):
    """The limits on connections."""

    def test_at_once_from_one_address(self) -> None:
        """A connection that is over makes room for one of its own network only."""
        self.limited(max_per_address=5, connections_per_minute=0)
        arrivals = self.connect(FAR, 9)
        self.assertEqual(len(arrivals), 5)
        self.assertEqual(self.said, "your address already has 5 connections; close one first")
        self.assertEqual(len(self.connect(FARTHER, 9)), 5)
        arrivals[2].go()
        self.assertEqual(len(self.connect(FAR, 9)), 1)

    def test_a_minute_from_one_address(self) -> None:
        """An address may make 30 connections at once, and then one every two seconds, also if the
        earlier ones are gone."""
        for arrival in self.connect(FAR, 50):
            arrival.go()
        self.assertEqual(self.said, "your address connects too often; try again in 2 seconds")
        self.assertEqual(self.connect(FAR, 50), [])
        self.clock.advance(1.5)
        self.assertEqual(self.connect(FAR, 50), [])
        self.assertEqual(self.said, "your address connects too often; try again in 1 second")
        self.clock.advance(0.5)
        self.assertEqual(len(self.connect(FAR, 50)), 1)
        self.assertEqual(len(self.connect(FARTHER, 50)), 30)

    def test_who_is_refused_for_another_reason_is_not_counted(self) -> None:
        """A connection that is refused because 5 are open does not count against the minute."""
        self.limited(max_per_address=5)
        for arrival in self.connect(FAR, 500):
            arrival.go()
        self.assertEqual(len(self.connect(FAR, 5)), 5)

    def test_trusted_and_shared(self) -> None:
        """Trusted and shared addresses have no limit."""
        for source in TRUSTED, SHARED:
            self.assertEqual(len(self.connect(source, 500)), 500)

    def test_all(self) -> None:
        """All addresses together have a limit."""
        self.limited(max_connections=3)
        first = self.come(TRUSTED)
        self.come(SHARED)
        self.come(FAR)
        for source in FAR, FARTHER, SHARED, TRUSTED:
            self.assertEqual(self.admission.refusal(source), "this server is full; try again later")
        first.go()
        self.assertEqual(self.admission.refusal(FARTHER), None)

    def test_nothing_is_left_of_who_has_gone(self) -> None:
        """Of an address whose connections are gone, no more is remembered than when the last one
        came."""
        self.limited(max_connections=10, max_waiting=5)
        for number in range(100_000):
            source = Source(f"2001:db8:{number:x}::/64")
            self.assertEqual(self.admission.refusal(source), None)
            arrival = self.come(source)
            if number % 2:
                self.admission.is_in(arrival)
            arrival.go()
        self.assertEqual(self.admission._by_network, Counter())
        self.assertEqual((self.admission._waiting, self.admission._crowd), ({}, {}))
        assert self.admission._new is not None
        self.assertEqual(len(self.admission._new), 20_000)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class TimeTests(AdmissionTestCase):
    """The minute in which a connection has to log in."""

    def test_too_long(self) -> None:
        """Each connection has a minute of its own to log in."""
        early = [self.come(source) for source in (FAR, SHARED, TRUSTED)]
        self.clock.advance(30)
        late = self.come(FAR)
        self.clock.advance(29.5)
        self.assertEqual({arrival.farewell for arrival in early}, {""})
        self.clock.advance(0.5)
        self.assertEqual(
            {arrival.farewell for arrival in early}, {"you did not log in within 60 seconds; bye"}
        )
        self.clock.advance(29)
        self.assertEqual(late.farewell, "")
        self.clock.advance(1)
        self.assertTrue(late.farewell)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_who_is_in_has_time(self) -> None:
        """A connection that has logged in is not sent away, and no timer is left for it."""
        arrival = self.come(FAR)
        self.admission.is_in(arrival)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.clock.advance(1000)
        self.assertEqual(arrival.farewell, "")

    def test_who_types_has_longer(self) -> None:
        """Each line that is sent begins the minute of its connection anew, and of no other."""
        typist, silent = self.come(FAR), self.come(FAR)
        self.clock.advance(50)
        self.admission.is_trying(typist)
        self.clock.advance(10)
        self.assertEqual((bool(typist.farewell), bool(silent.farewell)), (False, True))
        self.clock.advance(49)
        self.assertEqual(typist.farewell, "")
        self.clock.advance(1)
        self.assertTrue(typist.farewell)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_who_types_has_not_for_ever(self) -> None:
        """A connection that goes on sending lines is sent away after five minutes."""
        typist = self.come(FAR)
        for _ in range(299):
            self.clock.advance(1)
            self.admission.is_trying(typist)
        self.assertEqual(typist.farewell, "")
        self.clock.advance(1)
        self.assertTrue(typist.farewell)
        self.admission.is_trying(typist)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_who_types_is_no_younger(self) -> None:
        """When there are too many, the oldest connection goes, also if it has sent lines."""
        self.limited(max_waiting=2)
        typist, silent = self.come(FAR), self.come(FAR)
        self.admission.is_trying(typist)
        self.come(FAR)
        self.assertEqual((bool(typist.farewell), bool(silent.farewell)), (True, False))

    def test_thousands_at_once_are_sent_away_a_few_at_a_time(self) -> None:
        """Thousands whose time is up are sent away a few in each turn of the reactor."""
        self.limited(max_waiting=0)
        arrivals = [self.come(FAR) for _ in range(3000)]
        later = self.clock.callLater
        self.patch(self.clock, "callLater", lambda s, f: later(s or 0.001, f))
        self.clock.advance(60)
        gone = sum(bool(arrival.farewell) for arrival in arrivals)
        self.assertGreater(gone, 0)
        self.assertLess(gone, 100)
        self.clock.pump([0.001] * (3000 // gone))
        self.assertTrue(all(arrival.farewell for arrival in arrivals))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_one_timer_for_all(self) -> None:
        """There is one timer for all connections."""
        self.limited(max_waiting=0)
        for _ in range(1000):
            self.come(FAR)
            self.clock.advance(0.01)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)

    def test_no_limit(self) -> None:
        """With C{--login-timeout 0} nobody is sent away."""
        self.limited(login_timeout=0)
        arrival = self.come(FAR)
        self.admission.is_trying(arrival)
        self.clock.advance(1e6)
        self.assertEqual(arrival.farewell, "")


class CrowdTests(AdmissionTestCase):
    """The limit on connections that have not logged in."""

    farewell = "too many others are waiting to log in; bye"

    def gone(self, arrivals: list[Arrival]) -> list[int]:
        """Which of the connections were sent away."""
        for arrival in arrivals:
            self.assertIn(arrival.farewell, ("", self.farewell))
        return [number for number, arrival in enumerate(arrivals) if arrival.farewell]

    def test_the_oldest_goes(self) -> None:
        """Beyond the limit each new connection sends the oldest one away."""
        self.limited(max_waiting=3)
        arrivals = [self.come(Source(f"192.0.2.{number}")) for number in range(5)]
        self.assertEqual(self.gone(arrivals), [0, 1])
        self.admission.is_in(arrivals[2])
        arrivals[3].go()
        arrivals += [self.come(Source(f"192.0.2.{number}")) for number in range(5, 7)]
        self.assertEqual(self.gone(arrivals), [0, 1])
        arrivals.append(self.come(FAR))
        self.assertEqual(self.gone(arrivals), [0, 1, 4])

    def test_whose_address_has_most_of_them(self) -> None:
        """The oldest connection of the address with the most goes, not the only one of another
        address."""
        self.limited(max_waiting=10)
        lonely = self.come(FAR)
        many = [self.come(FARTHER) for _ in range(500)]
        self.assertEqual(lonely.farewell, "")
        self.assertEqual(self.gone(many), [*range(491)])

    def test_who_is_in_or_trusted_is_not_counted(self) -> None:
        """Connections that have logged in, or are trusted, are not counted."""
        self.limited(max_waiting=2)
        arrivals = [self.come(TRUSTED) for _ in range(50)]
        for _ in range(50):
            arrivals.append(self.come(FAR))
            self.admission.is_in(arrivals[-1])
        arrivals += [self.come(SHARED), self.come(FARTHER)]
        self.assertEqual(self.gone(arrivals), [])

    def test_no_limit(self) -> None:
        """With C{--max-waiting 0} nobody is sent away."""
        self.limited(max_waiting=0)
        self.assertEqual(self.gone([self.come(FAR) for _ in range(500)]), [])
