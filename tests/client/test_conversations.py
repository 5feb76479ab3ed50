"""What the window shows, without the window."""

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from twisted_chat.client.window.conversations import (
    LONGEST,
    Conversations,
    Recall,
)


def said(
    seq: int, text: str = "hi", author: str = "bob", room: str = "lobby", *, new: bool = True
) -> dict[str, Any]:
    fields = {"event": "message", "id": seq, "room": room, "seq": seq, "from": author}
    return {**fields, "text": text, "action": False, "replay": False, "new": new}


def told(seq: int | None, author: str = "bob", to: str = "alice") -> dict[str, Any]:
    fields = {"event": "dm", "seq": seq, "from": author, "to": to, "text": f"psst {seq}"}
    return {**fields, "replay": False, "new": True}


class ConversationsTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.all = Conversations("alice")
        self.lobby = self.all.lobby

    def test_order(self) -> None:
        """Messages that are asked for later are put where they belong, each once."""
        for seq in (5, 6, 3, 4, 5, 6, 7):
            self.all.take(said(seq))
        self.assertEqual([event["seq"] for event in self.lobby.events], [3, 4, 5, 6, 7])
        self.assertTrue(self.lobby.changed)

    def test_remarks_keep_their_place(self) -> None:
        """Remarks have no number, and stay behind what they followed."""
        self.all.take(said(5))
        self.lobby.add({"event": "notice", "text": "so"})
        for seq in (4, 6, 5):
            self.all.take(said(seq))
        kinds = [event.get("seq", "so") for event in self.lobby.events]
        self.assertEqual(kinds, [4, 5, "so", 6])

    def test_numbers_of_other_places(self) -> None:
        """An event that is shown in front, but tells of another place, keeps no message away, and
        stays where it came."""
        self.all.take(said(1))
        for kind in ("members", "read", "history"):
            self.lobby.add({"event": kind, "room": "dev", "seq": 3})
        for seq in (2, 3):
            self.all.take(said(seq))
        told = [event["event"] for event in self.lobby.events]
        self.assertEqual(told, ["message", "members", "read", "history", "message", "message"])

    def test_bounded(self) -> None:
        """A conversation that is too long loses its oldest events."""
        for seq in range(1, LONGEST + 11):
            self.all.take(said(seq))
        self.assertEqual((len(self.lobby.events), self.lobby.dropped), (LONGEST, 10))
        self.assertEqual(self.lobby.events[0]["seq"], 11)

    def test_unread(self) -> None:
        """What others say is unread where nobody looks; history and one's own messages are not."""
        dev = self.all.open("dev")
        self.all.take(said(1, room="dev", new=False))  # before we came
        self.all.look(self.lobby)
        self.all.take(said(2, "alice: hi", room="dev"))
        self.all.take(said(3, author="alice", room="dev"))
        self.all.take(said(1))
        self.assertEqual((dev.unread, dev.mentioned, self.lobby.unread), (1, True, 0))

    def test_private(self) -> None:
        """A private conversation is with one person, whoever speaks; one with a guest has no
        numbers."""
        for event in (
            told(1),
            told(2, "alice", "bob"),
            told(None),
            told(None),
            {**told(1), "new": False},
        ):
            self.all.take(event)
        self.assertEqual(len(self.all.open("@bob").events), 4)
        self.assertEqual(self.all.open("@bob").unread, 3)

    def test_strangers(self) -> None:
        """Strangers cannot fill the window with tabs."""
        for number in range(200):
            self.all.take(told(None, f"guest{number}"))
        self.assertEqual(len(list(self.all)), 41)


class TypedTest(SynchronousTestCase):
    def test_recall(self) -> None:
        """Up recalls earlier lines, and Down goes back to the line that was begun; passwords,
        however misspelt, are not recalled."""
        recall = Recall()
        for line in ("one", "/login alice s3cret-pw", "two", "!Regster alice s3cret-pw", "two"):
            recall.add(line)
        seen = [recall.move(by, "draft") for by in (-1, -1, -1, 1, 1)]
        self.assertEqual(seen, ["two", "one", "one", "two", "draft"])
