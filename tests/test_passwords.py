"""bcrypt on threads of its own."""

import threading
from collections.abc import Sequence
from typing import Any

import bcrypt
from twisted.internet import reactor as _reactor
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from twisted_chat.core.errors import Refusal
from twisted_chat.passwords import BcryptHasher

reactor: Any = _reactor

_checkpw = bcrypt.checkpw


class BcryptHasherTests(TestCase):
    """Hashing at the lowest cost, with two threads and room for two who wait."""

    def setUp(self) -> None:
        self.hasher = BcryptHasher(reactor, cost=4, queue=2)
        self.hasher.start()
        self.stopped = False
        self.addCleanup(self.stop)

    def stop(self) -> "Deferred[None] | None":
        """Stop the hasher, once."""
        if self.stopped:
            return None
        self.stopped = True
        return self.hasher.stop()

    def hold(self) -> threading.Event:
        """Have what is hashed from now on wait for this event."""
        event = threading.Event()
        self.addCleanup(event.set)
        really = bcrypt.hashpw

        def hashpw(password: bytes, salt: bytes) -> bytes:
            self.assertTrue(event.wait(10))
            return really(password, salt)

        self.patch(bcrypt, "hashpw", hashpw)
        return event

    async def restart(self, *, cost: int, hashes: Sequence[bytes] = ()) -> None:
        """Go on with another hasher, that knows of these hashes."""
        await self.hasher.stop()
        self.hasher = BcryptHasher(reactor, cost=cost, queue=2)
        self.hasher.start(hashes)

    def checks(self) -> list[bytes]:
        """The hashes that passwords are checked against from now on."""
        checked: list[bytes] = []

        def check(password: bytes, password_hash: bytes) -> bool:
            checked.append(password_hash)
            return _checkpw(password, password_hash)

        self.patch(bcrypt, "checkpw", check)
        return checked

    def hashing(self, count: int) -> "list[Deferred[bytes]]":
        """Start to hash so many passwords at once."""
        return [Deferred.fromCoroutine(self.hasher.hash("secret", "")) for _ in range(count)]

    def assert_refused(self, asked: "Deferred[bytes]", code: str) -> None:
        """It was refused already, with this code."""
        self.assertEqual(self.failureResultOf(asked, Refusal).value.code, code)

    async def test_password_is_verified_against_its_hash(self) -> None:
        """It is right, and any other is wrong."""
        password_hash = await self.hasher.hash("sécret", "")
        self.assertTrue(await self.hasher.verify("sécret", password_hash, ""))
        self.assertFalse(await self.hasher.verify("secret", password_hash, ""))

    async def test_hash_is_salted_and_has_the_cost(self) -> None:
        """Two hashes of one password differ."""
        one, other = await gatherResults(self.hashing(2))
        self.assertNotEqual(one, other)
        self.assertTrue(one.startswith(b"$2b$04$"))

    async def test_hash_of_another_cost_is_verified(self) -> None:
        """Passwords outlive a change of the cost."""
        password_hash = bcrypt.hashpw(b"secret", bcrypt.gensalt(5))
        self.assertTrue(await self.hasher.verify("secret", password_hash, ""))

    async def test_wrong_passwords_and_unknown_names_take_the_same_effort(self) -> None:
        """That of the highest cost there is, whatever the hash's own: a check of a cost is as much
        as two of the one below."""
        for highest, start in ((4, ()), (6, [b"$2b$04$", b"$2b$06$"]), (6, [b"$2b$06$"])):
            await self.restart(cost=4, hashes=start)
            hashes = [bcrypt.hashpw(b"secret", bcrypt.gensalt(cost)) for cost in (4, highest)]
            for password in ("wrong", ""):
                for password_hash in (None, *hashes):
                    checked = self.checks()
                    self.assertFalse(await self.hasher.verify(password, password_hash, ""))
                    effort = sum(2 ** int(each[4:6]) for each in checked)
                    self.assertEqual(effort, 2**highest, (password_hash, checked))
                    self.assertEqual({len(each) for each in checked}, {60})

    async def test_option_is_higher_than_all_hashes(self) -> None:
        """Then that is the effort, as new passwords will have it."""
        await self.restart(cost=6, hashes=[b"$2b$04$"])
        old = bcrypt.hashpw(b"secret", bcrypt.gensalt(4))
        for password_hash, costs in ((None, ["06"]), (old, ["04", "04", "05"])):
            checked = self.checks()
            self.assertFalse(await self.hasher.verify("wrong", password_hash, ""))
            self.assertEqual([each[4:6].decode() for each in checked], costs)

    async def test_right_password_takes_the_effort_of_its_own_hash(self) -> None:
        """The time of an answer tells nothing about the password."""
        await self.restart(cost=4, hashes=[b"$2b$06$"])
        right = await self.hasher.hash("secret", "")
        checked = self.checks()
        self.assertTrue(await self.hasher.verify("secret", right, ""))
        self.assertEqual(checked, [right])

    async def test_hash_is_outdated_if_a_new_one_would_cost_more(self) -> None:
        """Not if it would cost less: it is as good as it was."""
        await self.restart(cost=5)
        outdated = {
            cost: self.hasher.is_outdated(bcrypt.hashpw(b"secret", bcrypt.gensalt(cost)))
            for cost in (4, 5, 6)
        }
        self.assertEqual(outdated, {4: True, 5: False, 6: False})

    async def test_too_many_are_refused_as_busy(self) -> None:
        """At once; those who came before are served, and then there is room again."""
        *served, refused = self.hashing(5)
        self.assert_refused(refused, "busy")
        await gatherResults(served)
        await gatherResults(self.hashing(4))

    async def test_cancelled_while_it_waits(self) -> None:
        """It takes no thread and no place, and those behind it are served."""
        first, second, waiting, also_waiting = self.hashing(4)
        for each in (waiting, also_waiting):
            each.cancel()
            self.failureResultOf(each, CancelledError)
        others = self.hashing(2)
        await gatherResults([first, second, *others])
        await gatherResults(self.hashing(4))

    async def test_cancelled_while_it_is_hashed(self) -> None:
        """The thread is taken until it is done: there are no more than two at any time."""
        event = self.hold()
        running = self.hashing(2)
        for each in running:
            each.cancel()
            self.failureResultOf(each, CancelledError)
        waiting, also_waiting, refused = self.hashing(3)
        self.assert_refused(refused, "busy")
        event.set()
        await gatherResults([waiting, also_waiting])
        await gatherResults(self.hashing(4))

    async def test_failure_gives_the_thread_back(self) -> None:
        """Also if nobody waits for it any more."""
        event = self.hold()
        held = bcrypt.hashpw
        pair = threading.Barrier(2)

        def hashpw(password: bytes, salt: bytes) -> bytes:
            hashed = held(password, salt)  # which fails if it is too long
            pair.wait(10)  # so these take both threads
            return hashed

        self.patch(bcrypt, "hashpw", hashpw)
        too_long = "secret" * 80
        failing, cancelled = (
            Deferred.fromCoroutine(self.hasher.hash(too_long, "")) for _ in range(2)
        )
        cancelled.cancel()
        self.failureResultOf(cancelled, CancelledError)
        waiting = self.hashing(2)
        event.set()
        await self.assertFailure(failing, ValueError)
        await gatherResults(waiting)
        await gatherResults(self.hashing(4))

    async def test_stop_does_not_hold_up_the_reactor(self) -> None:
        """While a password is hashed, everything else goes on."""
        event = self.hold()
        [running] = self.hashing(1)
        stopped = self.stop()
        assert stopped is not None
        await deferLater(reactor, 0)
        self.assertNoResult(stopped)
        event.set()
        await stopped
        await running

    async def test_stop_refuses_who_waits(self) -> None:
        """What is under way is brought to its end."""
        running, also_running, waiting, also_waiting = self.hashing(4)
        self.stop()
        for each in (waiting, also_waiting):
            self.assert_refused(each, "closed")
        self.assertEqual(len(await gatherResults([running, also_running])), 2)

    async def test_no_queue_still_serves(self) -> None:
        """Only waiting is refused, not what a thread is free for."""
        hasher = BcryptHasher(reactor, cost=4, queue=0)
        hasher.start()
        self.addCleanup(hasher.stop)
        self.assertTrue(await hasher.verify("x", await hasher.hash("x", ""), ""))

    async def test_stopped(self) -> None:
        """After the end there is an answer, too."""
        hasher = BcryptHasher(reactor, cost=4, queue=1)
        hasher.start()
        await hasher.stop()
        with self.assertRaises(Refusal) as caught:
            await hasher.hash("x", "")
        self.assertEqual(caught.exception.code, "closed")


class FairnessTests(TestCase):
    """Whose password is checked next."""

    def setUp(self) -> None:
        self.hasher = BcryptHasher(reactor, cost=4, queue=4)
        self.hasher.start()
        self.addCleanup(self.hasher.stop)
        self.done: list[str] = []

    def ask(self, network: str) -> "Deferred[None]":
        """Request the check of a password, from this network."""

        async def check() -> None:
            try:
                await self.hasher.verify("secret", None, network)
                self.done.append(network)
            except Refusal as refusal:
                self.done.append(f"{network} {refusal.code}")

        return Deferred.fromCoroutine(check())

    async def test_who_comes_often_does_not_keep_others_waiting(self) -> None:
        """The one place that is left goes to who has none; whose places are taken is told."""
        pair = threading.Barrier(2)

        def check(password: bytes, password_hash: bytes) -> bool:
            pair.wait(10)  # so the two threads end what they do in order, two by two
            return _checkpw(password, password_hash)

        self.patch(bcrypt, "checkpw", check)
        await gatherResults(
            [*(self.ask("often") for _ in range(8)), self.ask("seldom"), self.ask("new")]
        )
        self.assertEqual(self.done[:4], ["often busy"] * 4)
        self.assertEqual(sorted(self.done[4:]), ["new", *["often"] * 4, "seldom"])
        self.assertNotEqual(self.done[-1], "seldom")
        self.assertNotEqual(self.done[-2:], ["new", "seldom"])

    async def test_threads_are_free_again_after_busy(self) -> None:
        """However often somebody was turned away."""
        for _ in range(5):
            await gatherResults([self.ask("often") for _ in range(20)])
        self.done.clear()
        await gatherResults([self.ask(str(n)) for n in range(6)])
        self.assertEqual(sorted(self.done), [*"012345"])

    async def test_who_logged_in_before_comes_first(self) -> None:
        """Also when all places are taken by addresses that were never seen."""
        right = await self.hasher.hash("secret", "owner")
        self.assertTrue(await self.hasher.verify("secret", right, "owner"))
        await gatherResults([self.ask(name) for name in (*"123456", "owner", "7")])
        self.assertIn("owner", self.done)
        self.assertIn("7 busy", self.done)
