"""What a node notices of what the database has lost."""

from twisted.trial.unittest import SynchronousTestCase

from tests.contract.cases import LOBBY
from tests.support import NOW
from twisted_chat.core.model import SAID, Entry
from twisted_chat.store.shown import Committed, Loss, Shown


def _entry(id: int, seq: int) -> tuple[int, Entry]:
    return id, Entry(id, LOBBY, seq, SAID, None, "gil", NOW + seq, "x", None, "")


class ShownTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.shown = Shown()
        self.kept = [Committed(7, 1, 1), Committed(9, 2, 1)]
        self.shown.begin(self.kept[0])
        self.shown.note(self.kept[1:], [_entry(8, 3), _entry(9, 4)])

    def test_nothing(self) -> None:
        """Nothing is lost while the last commit is there, whatever has become of earlier ones."""
        self.assertIsNone(self.shown.loss(self.kept))
        self.assertIsNone(self.shown.loss(self.kept[1:]))

    def test_other_commit_with_the_id(self) -> None:
        """A commit is lost if another one ends where it did, of another node or of the same."""
        lost = Loss(2, 9, {LOBBY.id: (4, NOW + 4)})
        for other in Committed(9, 1, 1), Committed(9, 2, 2), Committed(9, 2, 0):
            self.assertEqual(self.shown.loss([self.kept[0], other]), lost)

    def test_newest_of_a_room(self) -> None:
        """The numbers of the newest of all entries that are lost are not used again, and each
        message counts once, in whichever piece of the log it was read."""
        self.shown.note([Committed(11, 1, 2)], [_entry(10, 5), _entry(11, 6)])
        self.shown.note([Committed(12, 2, 2)], [_entry(12, 7)])
        self.assertEqual(self.shown.loss(self.kept), Loss(3, 12, {LOBBY.id: (7, NOW + 7)}))
