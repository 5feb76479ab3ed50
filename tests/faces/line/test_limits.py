"""Limits on lines, on rooms and on names."""

from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress

from twisted_chat.core.limits import Limits

from .server import (
    GREETING,
    SEVERAL,
    Peer,
    ServerTestCase,
)


class LimitsTests(ServerTestCase):
    """The limits on connections."""

    here = UNIXAddress("/run/chat.sock")
    near = IPv4Address("TCP", "127.0.0.1", 4000)
    far = IPv4Address("TCP", "192.0.2.1", 4000)
    farther = IPv4Address("TCP", "192.0.2.2", 4000)

    def check_refused(self, peer: Peer, sentence: str) -> None:
        """Check that a connection gets this sentence instead of a greeting, and is closed."""
        self.assertEqual(peer.take(), f"! {sentence}\n")
        self.assertTrue(peer.transport.disconnecting)
        self.settle()
        self.assertTrue(peer.gone)

    def check_greeted(self, peer: Peer) -> None:
        self.assertTrue(peer.take().startswith(GREETING))
        self.assertFalse(peer.transport.disconnecting)

    def test_as_many_as_there_may_be(self) -> None:
        """A connection over the limit is refused with a sentence; one that closes makes room."""
        self.serve(Limits(max_connections=3))
        first, _, _ = [self.peer(address) for address in (self.here, self.near, self.far)]
        for _ in range(2):
            self.check_refused(self.peer(self.farther), "this server is full; try again later")
        first.vanish()
        last = self.peer()
        self.check_greeted(last)
        last.vanish()

    def test_as_many_as_there_may_be_from_one_address(self) -> None:
        """A connection over the limit by address is refused with a sentence, and one from another
        address is not."""
        self.serve(Limits(max_per_address=2))
        first, _ = self.peer(self.far), self.peer(self.far)
        sentence = "your address already has 2 connections; close one first"
        for _ in range(2):
            self.check_refused(self.peer(self.far), sentence)
        self.check_greeted(self.peer(self.farther))
        first.vanish()
        self.check_greeted(self.peer(self.far))
        self.check_refused(self.peer(self.far), sentence)

    def test_loopback_is_free_of_the_limit_per_address(self) -> None:
        """Loopback and UNIX sockets have no limit by address."""
        self.serve(Limits(max_per_address=1))
        for host in "127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1":
            for _ in range(3):
                self.check_greeted(self.peer(IPv4Address("TCP", host, 4000)))
        for _ in range(3):
            self.check_greeted(self.peer(self.here))

    def test_no_limits(self) -> None:
        """With 0 there is no limit."""
        self.serve(Limits(max_per_address=0, max_connections=0, connections_per_minute=0))
        for _ in range(100):
            self.check_greeted(self.peer(self.far))


class LineRateTests(ServerTestCase):
    """The limit on lines of a session."""

    limits = Limits(connections_per_minute=0)
    far = IPv4Address("TCP", "192.0.2.1", 4000)
    trusted = IPv4Address("TCP", "192.0.2.129", 4000)
    notice = "* you're sending fast: the server takes 5 lines a second now; nothing is lost\n"

    def come(self, hello: str, address: IAddress | None = None) -> Peer:
        """Make a guest who has said nothing for long."""
        peer = self.peer(address or self.far)
        self.tell(peer, hello)
        self.clock.advance(60)
        return peer

    def lines(self, count: int) -> list[str]:
        return [f"line {number}" for number in range(count)]

    def send(self, peer: Peer, count: int, size: int | None = None) -> int:
        """Send so many lines; return how many are said at once."""
        before = len(self.texts())
        peer.send("".join(f"{line}\n" for line in self.lines(count)), size)
        self.settle()
        return len(self.texts()) - before

    def texts(self) -> list[str]:
        return [message.text for message in self.messages]

    def wait(self, seconds: float) -> None:
        """Let time pass, in small steps."""
        for _ in range(round(seconds * 20)):
            self.clock.advance(0.05)
            self.settle()

    def test_a_paste_goes_through_at_once(self) -> None:
        """A paste of 20 lines is said at once, without a remark."""
        for size in None, 7:
            alice = self.come("/guest\n")
            self.assertEqual(self.send(alice, 20, size), 20)
            self.assertNotIn(self.notice, alice.take())

    def test_more_than_that_is_slowed_and_nothing_is_lost(self) -> None:
        """Further lines are said 5 a second, in order, with one remark."""
        alice = self.come("/guest\n")
        self.assertEqual(self.send(alice, 60), 20)
        self.assertEqual(alice.take(), self.notice)
        self.wait(2)
        self.assertEqual(len(self.texts()), 30)
        self.wait(6.1)
        self.assertEqual(self.texts(), self.lines(60))
        self.assertEqual(alice.take(), "")

    def test_remark_comes_again_for_another_flood(self) -> None:
        """After a pause the next flood is remarked on again."""
        alice = self.come("/guest\n")
        for _ in range(2):
            self.send(alice, 25)
            self.assertEqual(alice.take(), self.notice)
            self.wait(20)

    def test_flood_is_not_read(self) -> None:
        """Of a flood only a bounded part is read; the rest stays in the kernel."""
        alice = self.come("/guest\n")
        self.send(alice, 5000, size=10)
        self.assertTrue(alice.paused)
        self.assertLessEqual(len(alice.protocol.dialogue.intake.waiting), SEVERAL)
        self.assertTrue(alice._arriving)

    def test_lines_that_are_too_long_do_not_pile_up(self) -> None:
        """Lines that are too long do not fill the queue: 64 of them would be 4 MiB."""
        alice = self.come("/guest\n")
        alice.send(b"x\n" * 20)
        for _ in range(100):
            alice.send(b"x" * 60_000 + b"\n")
        self.settle()
        self.assertTrue(alice.paused)
        waiting = sum(map(len, alice.protocol.dialogue.intake.waiting))
        self.assertLess(waiting, 200_000)
        alice.take()
        self.wait(21)
        self.assertEqual(alice.take().count("! a line may have at most 4096 bytes"), 100)

    def test_half_close_in_a_flood(self) -> None:
        """All lines of a flood are said after a half-close, as with C{nc -N} and a long file."""
        alice = self.come("/guest\n")
        alice.end()
        self.assertEqual(self.send(alice, 300, size=100), 20)
        self.wait(57)
        self.assertEqual(self.texts(), self.lines(300))
        self.assertTrue(alice.gone)

    def test_gone_in_a_flood(self) -> None:
        """If a peer goes in a flood, its waiting lines are not said."""
        alice, bob = self.come("/guest alice\n"), self.come("/guest bob\n")
        self.send(alice, 100)
        alice.vanish()
        self.settle()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        bob.take()
        self.assertIn("1 person is in the lobby", self.say(bob, "/users\n"))

    def test_sent_away_in_a_flood(self) -> None:
        """If a session is ended in a flood, its waiting lines are not carried out."""
        alice = self.peer(self.far)
        alice.send("/json on\n" * 30 + "/register alice sesame123\n")
        self.settle()
        alice.transport.reading = False
        alice.protocol.dialogue.hang_up()
        self.clock.advance(3)
        found = Deferred.fromCoroutine(self.accounts.is_registered("alice"))
        self.assertFalse(self.successResultOf(found))

    def test_others_are_not_held_up(self) -> None:
        """A flood slows its own session only."""
        alice, bob = self.come("/guest alice\n"), self.come("/guest bob\n")
        self.send(alice, 1000)
        self.assertEqual(self.send(bob, 20), 20)

    def test_before_login(self) -> None:
        """The limit on lines also holds before login."""
        peer = self.peer(self.far)
        said = self.say(peer, "/frob\n" * 1000)
        self.assertEqual(said.count("! there is no command"), 20)

    def test_at_a_password_prompt(self) -> None:
        """Passwords count as lines."""
        self.serve(Limits(max_login_delay=0))
        self.register("alice", "sesame123")
        peer = self.peer(IPv4Address("TCP", "127.0.0.1", 4000))  # where guessing costs no wait
        self.tell(peer, "alice\n")
        said = "".join(self.say(peer, "wrong password\n") for _ in range(100))
        self.assertEqual(said.count("! wrong name or password"), 19)

    def test_remark_is_for_what_is_said(self) -> None:
        """The remark comes once a line that says something waits, not while a program resumes."""
        places = " ".join(f"room{number}=0" for number in range(20))
        joins = "".join(f"/join room{number}\n" for number in range(20))
        alice = self.peer(self.far)
        alice.send(f"/since {places}\n/guest alice\n{joins}".encode() + b"\xff\n/nonsense\n")
        self.settle()
        self.wait(30)
        self.assertNotIn("sending fast", alice.take())
        for line in "hello\n", "/me waves\n", "/dm alice hi\n", "!roll 6\n":
            alice.send(5 * "/history 1\n" + 2 * line)
            self.settle()
            self.wait(30)
            self.assertEqual(alice.take().count(self.notice), 1, line)

    def test_costly_commands_count_as_several(self) -> None:
        """A costly command counts as several lines."""
        for command, times in (("/history", 4), ("/users", 10), ("/rooms", 10), ("/topic", 20)):
            alice = self.come("/json on\n/guest\n")
            alice.take()
            answers = [e["event"] for e in self.events(alice, f"{command}\n" * 30)]
            self.assertEqual(answers.count(command[1:]), times, command)

    def test_what_is_not_there_counts_as_several(self) -> None:
        """A name or a room that does not exist counts as several lines, as similar ones are looked
        for."""
        for typed in "/dm nobody hi", "/users nowhere", "/leave nowhere", "/history 1 @nobody":
            alice = self.come("/json on\n/guest\n")
            alice.take()
            answers = self.events(alice, f"{typed}\n" * 30)
            refused = [e for e in answers if e.get("code", "").startswith("no-such-")]
            self.assertLess(len(refused), 10, typed)

    def test_long_answers_count_as_more(self) -> None:
        """A long answer counts as a line for each 500 people or messages."""
        for _ in range(500):
            self.guest("")
        bob = self.come("/json on\n/guest bob\n")
        bob.take()
        for command in "/users lobby", "/rooms":
            answers = self.events(bob, f"{command}\n" * 30)
            self.assertEqual(sum(e["event"] in ("users", "rooms") for e in answers), 7, command)
            self.wait(30)
            bob.take()
        for peer in self.peers:
            peer.vanish()
        self.wait(3)

    def test_trusted_networks(self) -> None:
        """Sessions from trusted networks have no limit on lines."""
        alice = self.come("/guest\n", self.trusted)
        self.assertEqual(self.send(alice, 1000), 1000)
        self.assertEqual(alice.take(), "")

    def test_trusted_accounts(self) -> None:
        """Trusted accounts have no limit on lines, from wherever they log in, once they have."""
        guest = self.come("/guest trusty\n")
        self.assertEqual(self.send(guest, 30), 20)
        guest.vanish()
        self.settle()
        trusty = self.come("/register trusty sesame123\n")
        self.assertEqual(self.send(trusty, 1000), 1000)

    def test_no_limit(self) -> None:
        """With C{--line-rate 0} there is no limit on lines."""
        self.serve(Limits(line_rate=0))
        alice = self.come("/guest\n")
        self.assertEqual(self.send(alice, 1000), 1000)

    def test_the_server_goes_down(self) -> None:
        """A server that goes down does not wait for slowed lines."""
        alice = self.come("/guest alice\n")
        self.send(alice, 100)
        self.face.pause()
        done = Deferred.fromCoroutine(self.face.hang_up("the server is going down; bye", 1.0))
        self.settle()
        self.successResultOf(done)
        self.assertEqual(len(self.texts()), 20)


class SessionLimitsTests(ServerTestCase):
    """The limits on names and rooms of a session."""

    limits = Limits(max_names=2, max_joined=3, rooms_per_address=4, line_rate=0)
    far = IPv4Address("TCP", "192.0.2.1", 4000)

    def test_names(self) -> None:
        """A guest may take a limited number of names, and keeps the last one."""
        bob = self.guest("bob")
        self.tell(bob, "/nick bill\n/nick no one\n/nick bill\n/nick ben\n")
        self.assertEqual(
            self.say(bob, "/nick bert\n"),
            "! you have used 2 names, and no more are allowed; keep this one\n",
        )
        self.assertIn("ben (guest)", self.say(bob, "/users\n"))

    def test_rooms_that_it_is_in(self) -> None:
        """A session may be in a limited number of rooms, the lobby included; leaving one makes
        room."""
        bob = self.guest("bob")
        self.tell(bob, "/join one\n/join two\n")
        self.assertEqual(
            self.say(bob, "/join three\n"),
            "! you are in 3 rooms, and no more are allowed; leave one first\n",
        )
        self.tell(bob, "/leave one\n/join three\n")
        self.assertIn("2 people are in #three", self.say(self.guest("carol"), "/join three\n"))

    def test_rooms_that_an_address_makes(self) -> None:
        """An address may make a limited number of rooms; joining existing ones is free."""
        self.serve(Limits(rooms_per_address=2, line_rate=0))
        bob, carol = self.peer(self.far), self.peer(self.far)
        self.tell(bob, "/guest bob\n/join one\n")
        self.tell(carol, "/guest carol\n/join two\n/join one\n")
        self.assertEqual(
            self.say(bob, "/join three\n"),
            "! your address has made too many rooms; try again in 30 minutes\n",
        )
        self.assertIn("2 people are in #two", self.say(bob, "/join two\n"))
