"""What stands between strangers and everybody's passwords, names and rooms."""

import math
from collections.abc import Awaitable

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.support import MemoryStore, PlainHasher, now
from twisted_chat.core.accounts import Accounts
from twisted_chat.core.addresses import SHARED, Source
from twisted_chat.core.errors import Refusal
from twisted_chat.core.guard import Guard
from twisted_chat.core.limits import Limits
from twisted_chat.core.model import Account

ATTACKER = Source("192.0.2.1")
OWNER = Source("198.51.100.1")
TRUSTED = Source("192.0.2.200", trusted=True)

PASSWORD = "correct horse"


class Sleepy(Clock):
    """A clock that records how long it was slept for."""

    def __init__(self) -> None:
        super().__init__()
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> Awaitable[object]:
        self.slept.append(seconds)
        woken: Deferred[None] = Deferred()
        self.callLater(seconds, woken.callback, None)
        return woken


class GuardTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.guarded(Limits())

    def guarded(self, limits: Limits) -> None:
        """Start with these limits, and the account of C{alice}."""
        self.clock = Sleepy()
        self.log: list[str] = []
        self.guard = Guard(limits, self.clock.seconds, self.clock.sleep, self.log.append, Deferred)
        self.hasher = PlainHasher()
        self.accounts = Accounts(
            MemoryStore(), self.hasher, self.guard, now, min_password=limits.min_password
        )
        self.register("alice", SHARED)

    def register(self, name: str, source: Source) -> "Deferred[Account]":
        return Deferred.fromCoroutine(self.accounts.register(name, PASSWORD, source))

    def log_in(
        self, source: Source, password: str = "wrong", name: str = "alice"
    ) -> "Deferred[Account]":
        found = Deferred.fromCoroutine(self.accounts.authenticate(name, password, source))
        return found.addCallback(lambda credential: credential.account)

    def outcome(self, asked: "Deferred[Account]") -> str:
        """What came of a try so far: C{in}, nothing yet, or the code of the refusal."""
        outcomes: list[str] = []

        def failed(failure: object) -> None:
            error = getattr(failure, "value", None)
            assert isinstance(error, Refusal)
            outcomes.append(error.code)
            self.said = error.text

        asked.addCallbacks(lambda account: outcomes.append("in"), failed)
        return outcomes[0] if outcomes else ""

    def release_all(self) -> None:
        """Have all passwords checked, also those of tries that waited for others to end."""
        while self.hasher.waiting:
            self.hasher.release()
            self.clock.advance(1)  # the delay of an account that is attacked

    def guess(self, source: Source, name: str = "alice") -> str:
        """Try a wrong password, and return what came of it in the end."""
        asked = self.log_in(source, name=name)
        if not asked.called:
            self.clock.advance(1)
        return self.outcome(asked)


class WrongPasswordTests(GuardTestCase):
    """What wrong passwords cost the address."""

    def test_five_are_free_and_then_each_costs_twice_the_one_before(self) -> None:
        """Five wrong passwords are free; each further one costs twice the wait of the one before,
        during which even the right password is not looked at."""
        for _ in range(5):
            self.assertEqual(self.guess(ATTACKER), "wrong-password")
        waits = []
        for _ in range(20):
            self.assertEqual(self.guess(ATTACKER), "wrong-password")
            looked_at = len(self.hasher.verified)
            self.assertEqual(self.outcome(self.log_in(ATTACKER, PASSWORD)), "throttled")
            self.assertIn("too many wrong passwords from your address", self.said)
            self.assertEqual(len(self.hasher.verified), looked_at)
            waits.append(
                self.log[-1].removeprefix(
                    "wrong passwords from 192.0.2.1: logins from there are refused for "
                )
            )
            for _ in range(2 * 600 + 1):
                if self.outcome(self.log_in(ATTACKER, PASSWORD)) != "throttled":
                    break
                self.clock.advance(0.5)
        self.assertEqual(waits[:4], ["1 second", "2 seconds", "4 seconds", "8 seconds"])
        self.assertEqual(waits[-3:], ["10 minutes"] * 3)
        self.assertEqual(len(self.log), 20)

    def test_on_many_connections_at_once(self) -> None:
        """An address that has used up its free tries has one password checked at a time, on however
        many connections."""
        for _ in range(5):
            self.guess(ATTACKER)
        self.hasher.held = True
        asked = [self.log_in(ATTACKER, PASSWORD if n == 7 else "wrong") for n in range(50)]
        self.clock.advance(1)
        looked_at = len(self.hasher.verified)
        self.hasher.release()
        outcomes = [self.outcome(each) for each in asked]
        self.assertEqual(outcomes, ["wrong-password", *["throttled"] * 49])
        self.assertEqual(looked_at, 6)

    def test_one_after_the_other_ends_with_each_try(self) -> None:
        """When a try ends, whatever came of it, the next one begins."""
        for _ in range(5):
            self.guess(ATTACKER)
        for refusal in None, Refusal("busy", "later"), None:
            self.hasher.refusal = refusal
            asked = self.log_in(ATTACKER, PASSWORD)
            self.clock.advance(1)
            self.assertEqual(self.outcome(asked), refusal.code if refusal else "in")

    def test_many_right_passwords_at_once(self) -> None:
        """All people behind one address log in, also if five of them have mistyped: none is
        refused because the others try too."""
        for wrong in 0, 4, 5:
            self.guarded(Limits())
            for _ in range(wrong):
                self.guess(OWNER)
            self.hasher.held = True
            asked = [self.log_in(OWNER, PASSWORD) for _ in range(50)]
            at_once = self.hasher.waiting
            self.release_all()
            self.assertEqual({self.outcome(each) for each in asked}, {"in"})
            self.assertEqual(at_once, max(1, 5 - wrong))

    def test_wrong_ones_at_once(self) -> None:
        """Wrong passwords at once have as many free tries as one after the other."""
        self.hasher.held = True
        asked = [self.log_in(ATTACKER) for _ in range(50)]
        self.release_all()
        outcomes = [self.outcome(each) for each in asked]
        self.assertEqual(outcomes, [*["wrong-password"] * 6, *["throttled"] * 44])
        self.assertEqual(len(self.hasher.verified), 6)
        self.assertIn("try again in 1 second", self.said)

    def test_whenever_some_are_free_again(self) -> None:
        """Fifty tries at once, each time that one was forgotten, are no more in a day than one
        after the other."""
        checked = 0
        while self.clock.seconds() < 24 * 3600:
            self.hasher.held = True
            asked = [self.log_in(ATTACKER) for _ in range(50)]
            self.release_all()
            checked += sum(self.outcome(each) == "wrong-password" for each in asked)
            self.clock.advance(600.5)
        self.assertLessEqual(checked, 144 + 5 + 11)

    def test_ends_without_an_answer(self) -> None:
        """A try that ends without an answer costs nothing, and the next one begins."""
        self.hasher.held = True
        asked = [self.log_in(ATTACKER) for _ in range(7)]
        asked[6].addErrback(lambda failure: failure.trap(CancelledError))
        asked[6].cancel()  # while it waits for its turn
        for each in asked[:5]:
            each.addErrback(lambda failure: failure.trap(CancelledError))
            each.cancel()  # while its password is checked
        self.assertEqual(self.hasher.waiting, 1)
        self.release_all()
        self.assertEqual(self.outcome(asked[5]), "wrong-password")
        self.hasher.refusal = Refusal("busy", "later")
        self.assertEqual({self.outcome(self.log_in(ATTACKER)) for _ in range(20)}, {"busy"})
        self.hasher.refusal = None
        self.hasher.held = False
        for _ in range(4):
            self.assertEqual(self.guess(ATTACKER), "wrong-password")
        self.assertEqual(self.log, [])

    def test_are_forgotten(self) -> None:
        """One wrong password is forgotten every C{--max-penalty} seconds."""
        for _ in range(5):
            self.guess(ATTACKER)
        self.clock.advance(2 * 600)
        for _ in range(2):
            self.assertEqual(self.guess(ATTACKER), "wrong-password")
        self.assertEqual(self.log, [])
        self.guess(ATTACKER)
        self.assertEqual(len(self.log), 1)

    def test_unknown_names_cost_the_same(self) -> None:
        """A wrong password costs the same for an unknown name, and for what can be no name."""
        for name in "nobody", "alice", "al\u0131ce", "", "\x1b", "x" * 500:
            self.assertEqual(self.guess(ATTACKER, name), "wrong-password")
        self.assertEqual(len(self.log), 1)
        self.assertEqual(self.outcome(self.log_in(ATTACKER, name="nobody")), "throttled")

    def test_trusted_and_shared_addresses_never_wait(self) -> None:
        """Trusted and shared addresses never wait."""
        for source in TRUSTED, SHARED:
            for _ in range(100):
                self.assertEqual(self.guess(source), "wrong-password")
        self.assertEqual(self.log, [])

    def test_none_is_ever_waited_for(self) -> None:
        """With C{--max-penalty 0} no try waits, not even for another one that is under way."""
        self.guarded(Limits(max_penalty=0))
        for _ in range(50):
            self.assertEqual(self.guess(ATTACKER), "wrong-password")
        self.hasher.held = True
        asked = [self.log_in(ATTACKER) for _ in range(5)]
        self.hasher.release()
        self.clock.advance(1)
        self.assertEqual({self.outcome(each) for each in asked}, {"wrong-password"})

    def test_changing_a_password(self) -> None:
        """A wrong old password costs the same when a password is changed."""
        codes = []
        for _ in range(7):
            change = self.accounts.change_password("alice", "wrong", "another horse", ATTACKER)
            asked = Deferred.fromCoroutine(change)
            self.clock.advance(0.5)
            codes.append(self.failureResultOf(asked, Refusal).value.code)
        self.assertEqual(codes, [*["wrong-password"] * 6, "throttled"])


class TriesMachine(RuleBasedStateMachine):
    """Right and wrong passwords from one address, in any order, at any time, answered in any order,
    or never."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Sleepy()
        self.guard = Guard(
            Limits(), self.clock.seconds, self.clock.sleep, lambda line: None, Deferred
        )
        self.waiting: list[Deferred[bool]] = []  # for whether the password is right
        self.tries: list[Deferred[None]] = []
        self.wrong: list[float] = []  # when one was checked

    async def attempt(self) -> None:
        """Try a password, as L{Accounts.authenticate} does."""
        async with self.guard.password_try(ATTACKER):
            checked: Deferred[bool] = Deferred()
            self.waiting.append(checked)
            try:
                right = await checked
            finally:
                self.waiting.remove(checked)
            if not right:
                self.wrong.append(self.clock.seconds())
                self.guard.wrong_password(ATTACKER, "alice")

    @rule(count=st.integers(1, 12))
    def tries_at_once(self, count: int) -> None:
        """Several tries begin at once."""
        for _ in range(count):
            asked = Deferred.fromCoroutine(self.attempt())
            asked.addErrback(lambda failure: failure.trap(Refusal, CancelledError))
            self.tries.append(asked)

    @rule(pick=st.integers(0, 99), right=st.booleans())
    def is_answered(self, pick: int, right: bool) -> None:
        """One of the passwords being checked is answered."""
        if self.waiting:
            self.waiting[pick % len(self.waiting)].callback(right)

    @rule()
    def are_all_wrong(self) -> None:
        """All tries are answered as wrong, also those whose turn it is then."""
        while self.waiting:
            self.waiting[0].callback(False)

    @rule(pick=st.integers(0, 99))
    def is_cancelled(self, pick: int) -> None:
        """A try that waits for its turn, or for its answer, is cancelled."""
        open_ = [each for each in self.tries if not each.called]
        if open_:
            open_[pick % len(open_)].cancel()

    @rule(seconds=st.sampled_from((0.3, 1.0, 5.0, 60.0, 599.0, 600.0, 601.0, 3000.0, 7200.0)))
    def time_passes(self, seconds: float) -> None:
        """Time passes, and wrong passwords are forgotten."""
        self.clock.advance(seconds)

    @invariant()
    def is_bounded(self) -> None:
        """In no stretch of time that ends now were more wrong passwords checked than five, one for
        each doubling of the wait, and one for each ten minutes."""
        if not self.wrong or self.wrong[-1] != self.clock.seconds():
            return
        for count, begun in enumerate(reversed(self.wrong), start=1):
            seconds = self.clock.seconds() - begun
            doublings = math.log2(max(1.0, min(seconds, 600.0)))
            assert count <= 5 + 2 + doublings + seconds / 600.0

    @invariant()
    def goes_on(self) -> None:
        """No try waits for its turn while no password is checked."""
        assert self.waiting or all(each.called for each in self.tries)


class TriesModelTests(SynchronousTestCase):
    """The bound on wrong passwords."""

    def test_any_interleaving(self) -> None:
        """The bound holds for any interleaving of tries."""
        run_state_machine_as_test(TriesMachine, settings=settings(stateful_step_count=40))


class AccountTests(GuardTestCase):
    """What wrong passwords cost the account."""

    def attack(self) -> None:
        """Have a thousand addresses try wrong passwords for alice."""
        for number in range(1000):
            self.guess(Source(f"203.0.{number // 256}.{number % 256}"))

    def test_nobody_is_kept_out_for_more_than_a_moment(self) -> None:
        """The owner of an attacked account, from another address, waits a second, and is logged
        in."""
        self.attack()
        self.clock.slept.clear()
        self.outcome(self.log_in(ATTACKER))
        owner = self.log_in(OWNER, PASSWORD)
        self.assertEqual(self.outcome(owner), "")
        self.clock.advance(1)
        self.assertEqual(self.outcome(owner), "in")
        self.assertLessEqual(max(self.clock.slept), 1)

    def test_is_told_at_once_if_too_many_log_in(self) -> None:
        """A login that is refused as too many people log in is not delayed."""
        self.attack()
        self.hasher.refusal = Refusal("busy", "later")
        self.assertEqual(self.outcome(self.log_in(OWNER, PASSWORD)), "busy")

    def test_waits_once_and_not_again(self) -> None:
        """Wrong passwords that come while the owner waits do not prolong the wait."""
        self.attack()
        owner = self.log_in(OWNER, PASSWORD)
        for number in range(8):
            self.clock.advance(0.125)
            self.outcome(self.log_in(Source(f"192.0.2.{number}")))
        self.assertEqual(self.outcome(owner), "in")

    def test_trusted_addresses_are_not_delayed(self) -> None:
        """A login from a trusted address is not delayed."""
        self.attack()
        self.assertTrue(self.successResultOf(self.log_in(TRUSTED, PASSWORD)))

    def test_other_accounts_are_not_delayed(self) -> None:
        """Only logins to the attacked account are delayed."""
        self.register("bob", SHARED)
        self.attack()
        self.assertTrue(self.successResultOf(self.log_in(OWNER, PASSWORD, "bob")))

    def test_some_are_free(self) -> None:
        """A few mistypes delay nothing."""
        for _ in range(5):
            self.assertEqual(self.outcome(self.log_in(OWNER)), "wrong-password")
        self.assertTrue(self.successResultOf(self.log_in(OWNER, PASSWORD)))
        self.assertEqual(self.clock.slept, [])

    def test_whether_there_is_such_an_account_makes_no_difference(self) -> None:
        """Logins to an unknown name are delayed in the same way."""
        slept = {}
        for name in "alice", "nobody":
            self.guarded(Limits())
            for number in range(20):
                self.guess(Source(f"203.0.113.{number}"), name)
            slept[name] = self.clock.slept
        self.assertEqual(slept["alice"], slept["nobody"])
        self.assertGreater(len(slept["alice"]), 5)

    def test_no_delay(self) -> None:
        """With C{--max-login-delay 0} no login is delayed."""
        self.guarded(Limits(max_login_delay=0))
        self.attack()
        self.assertEqual(self.clock.slept, [])


class RegistrationTests(GuardTestCase):
    """The limits on registrations per hour."""

    def setUp(self) -> None:
        self.guarded(Limits(registrations_per_address=3, registrations=6))
        self.clock.advance(3600)  # alice's is forgotten
        self.numbers = iter(range(1000))

    def registered(self, source: Source) -> str:
        return self.outcome(self.register(f"person{next(self.numbers)}", source))

    def test_from_one_address(self) -> None:
        """An address that has used up its registrations may make one more when a third of the hour
        is over."""
        self.assertEqual([self.registered(ATTACKER) for _ in range(4)], [*["in"] * 3, "throttled"])
        self.assertEqual(
            self.said, "your address has registered too many names; try again in 20 minutes"
        )
        self.assertEqual(self.registered(OWNER), "in")
        self.clock.advance(1200)
        self.assertEqual([self.registered(ATTACKER) for _ in range(2)], ["in", "throttled"])

    def test_overall(self) -> None:
        """All addresses together have a limit."""
        sources = [Source(f"203.0.113.{number}") for number in range(7)]
        self.assertEqual([*map(self.registered, sources)], [*["in"] * 6, "throttled"])
        self.assertEqual(
            self.said, "too many names are being registered right now; try again in 10 minutes"
        )

    def test_who_is_refused_takes_nothing_from_the_others(self) -> None:
        """A registration that is refused for its address does not count against the limit on
        all."""
        for _ in range(100):
            self.registered(ATTACKER)
        self.assertEqual([self.registered(OWNER) for _ in range(3)], ["in"] * 3)

    def test_shared(self) -> None:
        """For a shared address only the limit on all holds."""
        self.assertEqual([self.registered(SHARED) for _ in range(7)], [*["in"] * 6, "throttled"])
        self.assertIn("many names are being registered", self.said)

    def test_trusted(self) -> None:
        """A trusted address has no limit."""
        self.assertEqual({self.registered(TRUSTED) for _ in range(50)}, {"in"})

    def test_names_that_are_refused_anyway_are_not_counted(self) -> None:
        """A registration that is refused for its name or its password is not counted."""
        for name, password in (("alice", PASSWORD), ("guest1", PASSWORD), ("bob", "short")):
            for _ in range(5):
                asked = self.accounts.register(name, password, ATTACKER)
                self.failureResultOf(Deferred.fromCoroutine(asked), Refusal)
        self.assertEqual(self.registered(ATTACKER), "in")

    def test_that_could_not_be_done_are_not_counted(self) -> None:
        """A registration that fails is not counted: the hasher is busy, the store fails, or it is
        cancelled."""
        self.hasher.refusal = Refusal("busy", "later")
        self.assertEqual({self.registered(ATTACKER) for _ in range(10)}, {"busy"})
        self.hasher.refusal = None
        self.hasher.held = True
        for _ in range(3):
            asked = self.register("bob", ATTACKER)
            asked.cancel()
            self.failureResultOf(asked, CancelledError)
        self.hasher.held = False
        self.assertEqual([self.registered(ATTACKER) for _ in range(4)], [*["in"] * 3, "throttled"])

    def test_no_limits(self) -> None:
        """With 0 there is no limit."""
        self.guarded(Limits(registrations_per_address=0, registrations=0))
        self.assertEqual({self.registered(ATTACKER) for _ in range(300)}, {"in"})


class RoomTests(GuardTestCase):
    """The limit on rooms that an address makes per hour."""

    def made(self, source: Source, count: int) -> int:
        """Ask to make this many rooms; return how many may be made."""
        for number in range(count):
            try:
                self.guard.before_room(source)
            except Refusal as refusal:
                self.assertEqual(refusal.code, "throttled")
                self.said = refusal.text
                return number
        return count

    def test_from_one_address(self) -> None:
        """An address may make 20 rooms, and then one every three minutes."""
        self.assertEqual(self.made(ATTACKER, 50), 20)
        self.assertEqual(self.said, "your address has made too many rooms; try again in 3 minutes")
        self.assertEqual(self.made(OWNER, 50), 20)
        self.clock.advance(181)
        self.assertEqual(self.made(ATTACKER, 50), 1)

    def test_trusted_and_shared(self) -> None:
        """Trusted and shared addresses have no limit."""
        self.assertEqual([self.made(source, 500) for source in (TRUSTED, SHARED)], [500, 500])
