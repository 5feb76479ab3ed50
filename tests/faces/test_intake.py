"""One session's requests, in order, at its pace."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.support import RecordingOutbox
from twisted_chat.core.people import Session
from twisted_chat.core.throttle import Rate
from twisted_chat.faces.intake import QUEUE, Intake


class Desk:
    """A taker that notes what it is given.

    @ivar taken: the requests that were carried out or begun.
    @ivar ready: what is put when the intake asks for more.
    @ivar does: what a request does, besides being noted.
    @ivar looks: how often something came while nothing waited.
    """

    def __init__(self, rate: Rate | None = None) -> None:
        self.clock = Clock()
        self.session = Session(RecordingOutbox())
        self.is_open = True
        self.is_free = rate is None
        self.taken: list[object] = []
        self.told: list[object] = []
        self.ready: list[object] = []
        self.does: dict[object, Callable[[], Awaitable[None]]] = {}
        self.finished = 0
        self.looks = 0
        self.rests: list[float] = []
        self.intake: Intake[object] = Intake(self, self.clock, rate)

    async def take(self, item: object, /) -> None:
        self.taken.append(item)
        if item in self.does:
            await self.does[item]()

    def seen(self) -> None:
        self.looks += 1

    def slow(self, item: object, /) -> bool:
        self.told.append(item)
        return True

    def more(self) -> None:
        ready, self.ready = self.ready, []
        for item in ready:
            self.intake.put(item)

    def rest(self, full_at: float, /) -> None:
        self.rests.append(full_at)

    def finish(self) -> None:
        self.finished += 1

    def put(self, *items: object) -> None:
        for item in items:
            self.intake.put(item)
        self.intake.go_on()

    def end(self) -> None:
        self.is_open = False
        self.intake.end()
        self.intake.go_on()


class IntakeTests(SynchronousTestCase):
    def turn(self, desk: Desk, seconds: float = 0) -> None:
        desk.clock.advance(seconds)

    def test_in_order_and_one_at_a_time(self) -> None:
        """The next request begins when the one before has ended."""
        desk, gate = Desk(), Deferred[None]()

        async def wait() -> None:
            await gate

        desk.does["one"] = wait
        desk.put("one", "two")
        desk.put("three")
        self.assertEqual(desk.taken, ["one"])
        gate.callback(None)
        self.assertEqual(desk.taken, ["one", "two", "three"])

    def test_nothing_is_left_of_it(self) -> None:
        """When all requests are carried out, the intake can be dropped, each time."""
        desk = Desk()
        desk.put("one")
        desk.put("two", "three")
        self.assertEqual(desk.rests, [0.0, 0.0])

    def test_more_is_asked_for(self) -> None:
        """When nothing is queued any more, the intake asks for more."""
        desk = Desk()
        desk.ready = ["two", "three"]
        desk.put("one")
        self.assertEqual(desk.taken, ["one", "two", "three"])

    def test_others_have_their_turn(self) -> None:
        """After so many requests the other connections have their turn."""
        desk = Desk()
        desk.put(*range(QUEUE + 1))
        self.assertEqual(len(desk.taken), QUEUE)
        self.turn(desk)
        self.assertEqual(len(desk.taken), QUEUE + 1)

    def test_full(self) -> None:
        """The intake is full with as many items as it carries out in one turn."""
        desk = Desk()
        for number in range(QUEUE - 1):
            self.assertFalse(desk.intake.put(number))
        self.assertTrue(desk.intake.put(QUEUE))

    def test_pace(self) -> None:
        """Beyond the burst each request waits; the session is told once in a flood."""
        desk = Desk(Rate(2, 1))
        desk.put(*range(5))
        self.assertEqual((desk.taken, desk.told), ([0, 1], [2]))
        for seconds in range(3):
            self.turn(desk, 1)
            self.assertEqual(len(desk.taken), 3 + seconds)
        self.assertEqual(desk.told, [2])
        self.turn(desk, 10)
        desk.put(*range(5, 9))
        self.assertEqual(desk.told, [2, 7])

    def test_charge(self) -> None:
        """A request that was charged for makes the next one wait."""
        desk = Desk(Rate(2, 1))
        desk.intake.charge(5)
        desk.put("one")
        self.assertEqual(desk.taken, [])
        self.turn(desk, 4)
        self.assertEqual(desk.taken, ["one"])

    def test_question(self) -> None:
        """A question is answered by the next item, whether it has come already or not."""
        for at_once in True, False:
            desk, answers = Desk(), list[object]()

            async def ask(desk: Desk = desk, answers: list[object] = answers) -> None:
                answers.append(await desk.intake.next())

            desk.does["ask"] = ask
            if at_once:
                desk.put("ask", "answer", "three")
            else:
                desk.put("ask")
                self.assertTrue(desk.intake.is_asking)
                desk.put("answer", "three")
            self.assertEqual((desk.taken, answers), (["ask", "three"], ["answer"]))

    def test_question_without_an_answer(self) -> None:
        """If the input ends at a question, the request is given up, and the session ends."""
        desk = Desk()

        async def ask() -> None:
            await desk.intake.next()
            self.fail("there is no answer")

        desk.does["ask"] = ask
        desk.put("ask")
        desk.end()
        self.assertEqual(desk.finished, 1)

    def test_end_waits_for_posts(self) -> None:
        """The end of the input waits for queued requests, and for posts in flight."""
        desk = Desk()
        desk.session.in_flight = 1
        desk.put("one")
        desk.end()
        self.assertEqual((desk.taken, desk.finished), (["one"], 0))
        desk.session.in_flight = 0
        desk.session.landed()
        self.assertEqual(desk.finished, 1)

    def test_until_landed(self) -> None:
        """C{until_landed} waits until half of the allowed posts are in flight."""
        desk = Desk()
        before = desk.session.landed
        desk.does["post"] = lambda: desk.intake.until_landed(4)
        for in_flight, waits in (4, False), (5, True):
            desk.session.in_flight = in_flight
            desk.put("post", "next")
            self.assertEqual(desk.taken[-1] == "post", waits)
        for in_flight in 4, 3, 2:
            self.assertEqual(desk.taken[-1], "post")
            desk.session.in_flight = in_flight
            desk.session.landed()
        self.assertEqual(desk.taken[-1], "next")
        self.assertIs(desk.session.landed, before)

    def test_cancel(self) -> None:
        """Cancelling gives up whatever the request waits for, and nothing more is carried out."""
        for rate, does in (
            (Rate(1, 1), None),
            (None, lambda desk: desk.intake.next()),
            (None, lambda desk: desk.intake.until_landed(0)),
        ):
            desk = Desk(rate)
            gave_up: list[object] = []
            desk.session.in_flight = 1

            async def wait(
                desk: Desk = desk, does: Any = does, gave_up: list[object] = gave_up
            ) -> None:
                try:
                    if does is not None:
                        await does(desk)
                except CancelledError:
                    gave_up.append(does)
                    raise

            desk.does["one"] = wait
            desk.put("one")
            if rate is not None:
                desk.put("two")
            desk.intake.cancel()
            desk.put("three")
            desk.end()
            self.turn(desk, 100)
            desk.session.landed()
            self.assertEqual((desk.taken, desk.intake.waiting), (["one"], ()))
            self.assertEqual(len(gave_up), does is not None)
            self.assertEqual(desk.finished, 0)
            self.assertEqual(desk.clock.getDelayedCalls(), [])

    def test_cancel_by_the_request_under_way(self) -> None:
        """A request that cancels its own intake goes on to its end, and is the last."""
        desk = Desk()
        done: list[str] = []

        async def quit() -> None:
            desk.intake.cancel()
            done.append("goes on")
            await desk.intake.until_landed(0)
            self.fail("nothing can be waited for")

        desk.session.in_flight = 1
        desk.does["quit"] = quit
        desk.put("quit", "more")
        self.assertEqual((desk.taken, done), (["quit"], ["goes on"]))

    def test_operation_under_way_is_not_interrupted(self) -> None:
        """Cancelling does not interrupt an operation of the core; it ends, and then the intake is
        over."""
        desk, store, done = Desk(), Deferred[None](), list[str]()

        async def change() -> None:
            await store
            done.append("changed")

        desk.does["change"] = change
        desk.put("change", "more")
        desk.intake.cancel()
        store.callback(None)
        self.assertEqual((done, desk.taken), (["changed"], ["change"]))

    def test_seen(self) -> None:
        """Only a request that comes while nothing is under way counts as sent after what the
        session was shown."""
        desk, gate = Desk(), Deferred[None]()

        async def wait() -> None:
            await gate

        desk.does["one"] = wait
        desk.put("one")
        desk.put("two")
        self.assertEqual(desk.looks, 1)
        gate.callback(None)
        desk.put("three")
        self.assertEqual(desk.looks, 2)

    def test_defect_of_a_request(self) -> None:
        """An unexpected error of a request is logged, and the next request is carried out."""
        desk = Desk()

        async def fail() -> None:
            raise ZeroDivisionError

        desk.does["one"] = fail
        desk.put("one", "two")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        desk.put("three")
        self.assertEqual(desk.taken, ["one", "two", "three"])

    @given(st.lists(st.one_of(st.integers(1, 30), st.just("turn"), st.just("land"))), st.booleans())
    def test_any_pieces(self, steps: Iterable[int | str], paced: bool) -> None:
        """However requests arrive, all are carried out once, in order."""
        desk = Desk(Rate(3, 10) if paced else None)
        sent = 0
        for step in steps:
            if isinstance(step, int):
                desk.put(*range(sent, sent + step))
                sent += step
            else:
                self.turn(desk, 0.1)
        desk.end()
        desk.clock.pump([0.1] * (sent + 10))
        self.assertEqual(desk.taken, [*range(sent)])
        self.assertEqual(desk.finished, 1)
