"""How far we are in each room: live and replayed messages meet, none is told twice."""

from twisted.trial.unittest import SynchronousTestCase

from twisted_chat.client import logs
from twisted_chat.client.lines import Event
from twisted_chat.client.logs import Log, Logs


class LogsTests(SynchronousTestCase):
    """The lobby and private messages, from when we have come in."""

    def setUp(self) -> None:
        self.is_full = False
        self.told: list[Event] = []
        self.receipts: list[int] = []
        self.logs = Logs(self.offer, lambda event: self.receipts.append(event["id"]))
        self.logs.ask(direct=False)
        self.history()
        self.logs.entered()
        self.logs.begin_direct()

    def offer(self, event: Event) -> bool:
        if not self.is_full and event["event"] != "history":
            self.told.append(event)
        return not self.is_full

    def message(self, seq: int, id: int, *, replay: bool = False) -> bool:
        event = {"event": "message", "room": "lobby", "seq": seq, "id": id}
        return self.logs.keep(event) if replay else self.logs.message(event)

    def dm(self, id: int | None, *, replay: bool = False) -> None:
        event: Event = {"event": "dm", "to": "bob", "id": id}
        if replay:
            self.logs.keep(event)
        else:
            self.logs.dm(event)

    def history(self, room: str = "lobby", *, is_connected: bool = True) -> None:
        self.logs.history({"event": "history", "room": room}, is_connected=is_connected)

    def ids(self) -> list[int]:
        return [event["id"] for event in self.told if event["event"] != "gap"]

    def test_live(self) -> None:
        """Each is told; one behind a gap is not, and the gap is reported."""
        self.assertTrue(self.message(1, 10))
        self.dm(11)
        self.assertTrue(self.message(2, 12))
        self.assertFalse(self.message(4, 14))
        self.assertEqual(self.ids(), [10, 11, 12])
        self.assertEqual(self.receipts, [10, 11, 12])
        self.logs.ask(direct=True)
        self.assertEqual(self.logs.since(), ["lobby=2", "@=12"])

    def test_not_kept(self) -> None:
        """A private message with a guest has no number, and moves nothing."""
        self.message(1, 10)
        self.dm(None)
        self.logs.ask(direct=True)
        self.assertEqual(self.logs.since(), ["lobby=1", "@=10"])
        self.assertEqual(len(self.told), 2)

    def test_replay_meets_live(self) -> None:
        """What comes live before the replay is in it."""
        self.message(1, 10)
        self.logs.ask(direct=False)
        self.message(3, 12)
        self.message(2, 11, replay=True)
        self.message(3, 12, replay=True)
        self.assertTrue(self.logs.is_filling)
        self.history()
        self.message(4, 13)
        self.assertEqual(self.ids(), [10, 11, 12, 13])
        self.assertFalse(self.logs.is_filling)

    def test_private_behind_live(self) -> None:
        """A private message whose replay comes after something newer in a room is heard of, as a
        receipt, all the same."""
        self.message(1, 10)
        self.logs.ask(direct=True)
        self.history()
        self.message(2, 14)
        self.dm(12, replay=True)
        self.history("@")
        self.assertEqual(self.receipts, [10, 14, 12])
        self.assertEqual(self.ids(), [10, 14, 12])

    def test_gap(self) -> None:
        """What the server shows no more is told of, and remembered until we are in."""
        self.message(1, 10)
        self.logs.ask(direct=False)
        self.message(5, 20, replay=True)
        self.history(is_connected=False)
        (gap,) = (event for event in self.told if event["event"] == "gap")
        self.assertEqual((gap["first"], gap["last"]), (2, 4))
        self.assertTrue(self.logs.rooms["lobby"].gap)
        self.logs.entered()
        self.assertFalse(self.logs.rooms["lobby"].gap)

    def test_nobody_listens(self) -> None:
        """Receipts are looked for once; what was not told is asked for and told."""
        self.message(1, 10)
        self.is_full = True
        self.message(2, 11)
        self.is_full = False
        self.logs.ask(direct=True)
        self.assertEqual(self.logs.since(), ["lobby=1", "@=10"])
        self.message(2, 11, replay=True)
        self.history()
        self.assertEqual(self.ids(), [10, 11])
        self.assertEqual(self.receipts, [10, 11])

    def test_asked_for(self) -> None:
        """History that somebody asked for is told as it comes, and is no receipt, even while a
        replay is on its way."""
        for seq in (1, 2):
            self.message(seq, seq)
        self.logs.ask(direct=False)
        self.message(1, 1, replay=True)
        self.history()
        self.assertEqual(self.ids(), [1, 2, 1])
        self.assertEqual(self.receipts, [1, 2])
        self.assertTrue(self.logs.is_filling)

    def test_elsewhere(self) -> None:
        """A room that we are not in, and one whose first replay is still to come."""
        event = {"event": "message", "room": "dev", "seq": 9, "id": 9}
        self.assertTrue(self.logs.message(event))
        self.logs.rooms["dev"] = Log()
        self.assertTrue(self.logs.message(event))
        self.assertEqual(self.told, [])

    def test_nonsense(self) -> None:
        """A private message in the replay of a room is left out."""
        self.logs.ask(direct=False)
        self.dm(3, replay=True)
        self.history(is_connected=False)
        self.assertEqual(self.told, [])

    def test_endless(self) -> None:
        """A replay has an end."""
        self.patch(logs, "_REPLAY", 3)
        kept = [self.message(seq, seq, replay=True) for seq in range(1, 5)]
        self.assertEqual(kept, [True, True, True, False])
