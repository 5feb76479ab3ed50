"""What gathers, and when it is committed: no database."""

from collections.abc import Sequence

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.contract.cases import LOBBY, said
from twisted_chat.core.model import Post
from twisted_chat.store.committer import Committer
from twisted_chat.store.engine import Item, Pairs
from twisted_chat.store.items import Mark
from twisted_chat.store.trouble import Outage, Unknown, trouble


def _post(text: str) -> Post:
    return said(LOBBY, text)


class CommitterTests(SynchronousTestCase):
    """@ivar commits: the commits that were begun: what they store, and what fires when they are
    done."""

    def setUp(self) -> None:
        self.commits: list[tuple[Sequence[Item], Sequence[int], Deferred[Pairs]]] = []
        self.told: list[object] = []
        self.clock = Clock()
        self.outage = Outage("{reason}", "{count}")
        self.committer = Committer(
            self.begin, self.clock.callLater, self.outage, trouble, lambda: False
        )
        self.committer.subscribe(
            lambda batch: self.told.append([number for number, _ in batch]),
            lambda numbers, code: self.told.append((code, *numbers)),
        )

    def begin(self, items: Sequence[Item], numbers: Sequence[int], seen: int) -> Deferred[Pairs]:
        done: Deferred[Pairs] = Deferred()
        self.commits.append((items, numbers, done))
        return done

    def append(self, *numbers: int) -> None:
        for number in numbers:
            self.committer.append(_post(str(number)), number)

    def taken(self) -> list[list[object]]:
        """What was given to be committed, since the last time: texts of posts, and marks."""
        return [
            [item.text if isinstance(item, Post) else getattr(item, "seq", item) for item in items]
            for items, _, _ in self.commits
        ]

    def end(self, failure: Exception | None = None) -> None:
        """End the oldest commit."""
        _, numbers, done = self.commits.pop(0)
        if failure is None:
            done.callback([(number, None) for number in numbers])
        else:
            done.errback(failure)

    def test_what_comes_meanwhile_is_the_next_commit(self) -> None:
        """The first post is committed at once; what comes meanwhile is one commit after it, of no
        more than 500 posts."""
        self.append(1)
        self.assertEqual(self.taken(), [["1"]])
        self.append(*range(2, 600))
        self.assertEqual(len(self.commits), 1)
        self.end()
        self.assertEqual(self.told, [[1]])
        self.assertEqual(self.taken(), [[str(n) for n in range(2, 502)]])
        self.end()
        self.assertEqual(self.taken(), [[str(n) for n in range(502, 600)]])
        self.end()
        self.assertEqual(self.told, [[1], [*range(2, 502)], [*range(502, 600)]])
        self.assertEqual(self.commits, [])

    def test_question_has_all_posts_before_it_submitted(self) -> None:
        """Before a question all posts that wait are submitted, behind the commit under way; what
        comes later waits until all of them are done."""
        self.append(*range(600))
        self.committer.submit()
        self.assertEqual([len(items) for items in self.taken()], [1, 500, 99])
        self.append(600)
        self.committer.submit()
        self.append(601, 602)
        self.end()
        self.end()
        self.end()
        self.assertEqual(self.taken(), [["600"]])
        self.end()
        self.assertEqual(self.taken(), [["601", "602"]])

    def test_marks_wait_for_company(self) -> None:
        """A mark goes with the next post, in its place, or by itself after a second."""
        self.committer.mark(Mark(1, 1, 10))
        self.assertEqual(self.commits, [])
        self.append(1)
        self.committer.mark(Mark(1, 1, 11))
        self.committer.mark(Mark(1, 1, 12))
        self.assertEqual(self.taken(), [[10, "1"]])
        self.end()
        self.clock.advance(0.9)
        self.assertEqual(self.commits, [])
        self.clock.advance(0.1)
        self.assertEqual(self.taken(), [[11, 12]])
        self.end()
        self.assertEqual(self.told, [[1]])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_marks_that_are_asked_about(self) -> None:
        """A transaction that depends on the marks of an account comes after them; one that depends
        on others' does not wait for them."""
        for account in 1, 2:
            self.committer.mark(Mark(account, 1, 8 + account))
        self.committer.submit()
        self.committer.submit_marks(3)
        self.assertEqual(self.commits, [])
        self.committer.submit_marks(2)
        self.assertEqual(self.taken(), [[9, 10]])
        self.end()
        self.committer.submit_marks(2)
        self.assertEqual(self.commits, [])

    def test_settling(self) -> None:
        """Settling waits for everything that was accepted, and for what comes while it waits. Marks
        do not wait for company any more."""
        self.committer.mark(Mark(1, 1, 10))
        settled = Deferred.fromCoroutine(self.committer.settle())
        self.assertEqual(self.taken(), [[10]])
        self.append(1)
        self.end()
        self.committer.mark(Mark(1, 1, 11))
        self.end()
        self.assertEqual(self.taken(), [[11]])
        self.assertNoResult(settled)
        self.end()
        self.successResultOf(settled)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.successResultOf(Deferred.fromCoroutine(self.committer.settle()))

    def test_what_fails_is_lost(self) -> None:
        """The posts of a commit that failed are lost, and the next commit is begun. Nothing is told
        of posts that may have been kept."""
        self.append(1, 2, 3)
        self.end(ValueError())
        self.assertEqual(self.told, [("internal", 1)])
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.append(4)
        self.end(Unknown("the disk is gone"))
        self.flushLoggedErrors(Unknown)
        self.assertEqual((self.told, self.taken()), ([("internal", 1)], [["4"]]))
        self.end()
        self.assertEqual(self.told[1:], [[4]])

    def test_marks_outlast_an_outage(self) -> None:
        """While nothing can be written, the furthest marks are kept for the next post, and nothing
        is tried without one."""
        full = OSError("No space left on device")
        for seq in 12, 10, 11:
            self.committer.mark(Mark(1, 1, seq))
        self.committer.mark(Mark(2, 1, 5))
        self.append(1)
        self.assertEqual(self.taken(), [[12, 10, 11, 5, "1"]])
        self.end(full)
        self.committer.mark(Mark(2, 1, 6))
        self.clock.advance(10)
        self.successResultOf(Deferred.fromCoroutine(self.committer.settle()))
        self.assertEqual(self.commits, [])
        self.append(2)
        self.assertEqual(self.taken(), [[12, 5, 6, "2"]])
        self.end()
        self.assertEqual((self.told, self.outage.lasts), ([("unavailable", 1), [2]], False))

    def test_settling_in_an_outage(self) -> None:
        """Settling does not wait for marks that cannot be written, and nothing is tried later."""
        self.committer.mark(Mark(1, 1, 10))
        self.outage.refuse("the disk is full")
        self.successResultOf(Deferred.fromCoroutine(self.committer.settle()))
        self.assertEqual((self.commits, self.clock.getDelayedCalls()), ([], []))

    def test_failing_feed_stops_nothing(self) -> None:
        """If what the feed hands over cannot be applied, that is logged, and the next commit is
        handed over."""

        def fail(batch: object) -> None:
            raise KeyError(batch)

        self.committer.subscribe(fail, lambda numbers, code: None)
        self.append(1, 2)
        settled = Deferred.fromCoroutine(self.committer.settle())
        self.end()
        self.end()
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 2)
        self.successResultOf(settled)
