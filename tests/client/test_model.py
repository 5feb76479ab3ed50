"""Who is where, and what is unread."""

from twisted.trial.unittest import SynchronousTestCase

from twisted_chat.client.lines import Event
from twisted_chat.client.model import Model, Place, common


def users(room: str, *names: str) -> Event:
    """A list of people with accounts."""
    people = [{"name": name, "account": True} for name in names]
    return {"event": "users", "room": room, "users": people}


class ModelTests(SynchronousTestCase):
    """Alice, in the lobby and in dev; she looks at the lobby."""

    def setUp(self) -> None:
        self.model = Model(Place, "alice")
        self.take({"event": "joined", "room": "dev", "name": "alice", "account": True})
        self.take(users("lobby", "alice", "bob"), users("dev", "alice", "carol"))
        self.lobby, self.dev = self.model.lobby, self.model.open("dev")
        self.model.look(self.lobby)

    def take(self, *events: Event) -> None:
        for event in events:
            self.model.take(event)

    def said(
        self, room: str, *, by: str = "carol", new: bool = True, text: str = "x", seq: int = 0
    ) -> None:
        said = {"room": room, "from": by, "text": text, "new": new, "seq": seq}
        self.take({"event": "message", **said})

    def back(self, *rooms: tuple[str, int, int, int]) -> None:
        """The rooms of the account: the C{seq} of each, up to where it is read, and what is new."""
        names = "room", "seq", "read", "new"
        rows = [{**dict(zip(names, row, strict=True)), "topic": "tea"} for row in rooms]
        self.take({"event": "rooms", "joined": True, "rooms": rows})

    def told(self, by: str, to: str = "alice") -> None:
        self.take({"event": "dm", "from": by, "to": to, "text": "x", "new": True})

    def test_who_is_here(self) -> None:
        """People come, go and change their names, and it is known who has an account."""
        dave = {"room": "lobby", "name": "dave"}
        self.take({"event": "joined", **dave, "account": False})
        self.assertEqual(self.lobby.people, {"alice": True, "bob": True, "dave": False})
        self.assertEqual(self.model.stale, set())
        self.take({"event": "renamed", "name": "dave", "to": "rob", "account": True})
        self.assertEqual(self.lobby.people, {"alice": True, "bob": True, "rob": True})
        self.assertEqual(self.model.stale, set())
        self.take({"event": "left", "room": "lobby", "name": "rob"})
        self.assertEqual(set(self.lobby.people), {"alice", "bob"})

    def test_registered_the_same_name(self) -> None:
        """A guest who registers the name that they have is an account from then on."""
        self.take({"event": "joined", "room": "lobby", "name": "dave", "account": False})
        self.take({"event": "renamed", "name": "dave", "to": "dave", "account": True})
        self.assertEqual(self.lobby.people, {"alice": True, "bob": True, "dave": True})

    def test_crowds(self) -> None:
        """People who are not named are counted, until a list names them."""
        self.take({"event": "joined", "room": "lobby", "count": 812})
        self.assertEqual(self.lobby.number, 814)
        self.take({"event": "left", "room": "lobby", "count": 800})
        self.assertEqual((self.lobby.number, self.model.stale), (14, {"lobby"}))
        self.take({"event": "crowd", "room": "dev", "count": 60})
        self.assertEqual((self.dev.number, self.model.stale), (60, {"lobby", "dev"}))
        self.take(users("lobby", "alice"), users("dev", "alice"))
        self.assertEqual((self.lobby.number, self.dev.number, self.model.stale), (1, 1, set()))

    def test_gone_from_everywhere(self) -> None:
        """Whoever leaves the lobby has left the other rooms too."""
        self.take({"event": "left", "room": "lobby", "name": "carol"})
        self.assertEqual(set(self.dev.people), {"alice"})

    def test_left_a_room(self) -> None:
        """Nothing of a room that we have left is known any more."""
        self.said("dev")
        self.take({"event": "left", "room": "dev", "name": "alice"})
        self.assertEqual((list(self.model), self.model.unread), ([self.lobby], 0))

    def test_unread(self) -> None:
        """News of others is counted where nobody looks: neither what was there before, nor what
        we said ourselves."""
        self.said("lobby")
        self.said("dev", text="alice: hi")
        self.said("dev", by="alice")
        self.said("dev", new=False)
        self.assertEqual((self.dev.unread, self.dev.mentioned, self.lobby.unread), (1, True, 0))
        self.model.look(None)
        self.said("lobby")
        self.assertEqual(self.model.unread, 2)
        self.model.look(self.dev)
        self.assertEqual((self.dev.unread, self.dev.mentioned), (0, False))

    def test_back(self) -> None:
        """The rooms of the account are open, with what is unread there; what of that is shown then
        is not counted again, nor what is shown after a reconnect."""
        self.back(("lobby", 5, 5, 0), ("dev", 14, 12, 2), ("ops", 9, 3, 4))
        ops = self.model.open("ops")
        self.assertEqual(
            (ops.unread, ops.topic, self.dev.unread, self.model.rooms), (4, "tea", 2, {})
        )
        self.assertIn("ops", self.model.stale)
        self.said("ops", seq=8, new=False, text="alice: hi")
        self.said("ops", seq=9, new=False)
        self.said("ops", seq=10)
        self.assertEqual((ops.unread, ops.mentioned), (5, True))
        self.back(("ops", 12, 3, 7))
        for seq in (11, 12):
            self.said("ops", seq=seq)
        self.assertEqual(ops.unread, 7)

    def test_looked_at_while_away(self) -> None:
        """What was read just before the connection was lost is not unread, though the server does
        not know that yet."""
        self.said("lobby", seq=8)
        self.model.look(None)
        self.back(("lobby", 9, 5, 4))
        self.assertEqual(self.lobby.unread, 1)

    def test_read_as_far_as_it_was_told(self) -> None:
        """What the server has counted is unread until it is told, whatever else is in the log."""
        self.back(("dev", 20, 10, 2))
        self.said("dev", seq=12, new=False)
        self.dev.read_up_to(self.dev.newest)
        self.assertEqual(self.dev.unread, 1)
        self.said("dev", seq=13, new=False)
        self.dev.read_up_to(self.dev.newest)
        self.assertEqual(self.dev.unread, 0)

    def test_read_elsewhere(self) -> None:
        """What another session has read is read."""
        for seq in (7, 8, 9):
            self.said("dev", seq=seq, text="alice: hi")
        self.take({"event": "read", "room": "dev", "seq": 8})
        self.assertEqual((self.dev.unread, self.dev.mentioned), (1, True))
        self.take(
            {"event": "read", "room": "dev", "seq": 9}, {"event": "read", "room": "x", "seq": 9}
        )
        self.assertEqual((self.dev.unread, self.dev.mentioned), (0, False))
        self.told("bob")
        self.take({"event": "read", "room": "@bob", "seq": 1})
        self.assertEqual(self.model.unread, 0)

    def test_newest(self) -> None:
        """The last message of somebody else is what a person may have read."""
        self.said("dev", seq=7)
        self.said("dev", seq=8, by="alice")
        self.said("dev", seq=3, new=False)
        self.assertEqual(self.dev.newest, 7)

    def test_private(self) -> None:
        """A private conversation is with one person, whoever speaks, and under any name."""
        self.told("bob")
        self.told("alice", "bob")
        private = self.model.open("@bob")
        self.assertEqual((private.person, private.unread), ("bob", 1))
        self.take({"event": "renamed", "name": "bob", "to": "rob", "account": False})
        self.assertIs(self.model.open("@rob"), private)

    def test_strangers(self) -> None:
        """Strangers cannot open any number of conversations, nor close the one that is read."""
        self.told("bob")
        private = self.model.open("@bob")
        self.model.look(private)
        for number in range(200):
            self.told(f"guest{number}")
        self.assertEqual(len(list(self.model)), 2 + 41)
        self.assertIs(self.model.open("@bob"), private)

    def test_what_is_not_known(self) -> None:
        """Who is in a room is not known on coming in, on joining, and when events were skipped."""
        self.take({"event": "connected", "name": "alice", "again": True})
        self.assertEqual(self.model.stale, {"lobby"})
        self.take(users("lobby"), {"event": "joined", "room": "ops", "name": "alice"})
        self.assertEqual(self.model.stale, {"ops"})
        self.told("bob")
        self.take({"event": "skipped", "lines": 3})
        self.assertEqual(self.model.stale, {"lobby", "dev", "ops"})

    def test_topic(self) -> None:
        """A room has the topic that was told last."""
        self.take({"event": "topic", "room": "dev", "topic": "x", "from": "bob"})
        self.assertEqual(self.dev.topic, "x")

    def test_common(self) -> None:
        """The common beginning of words is what Tab completes."""
        self.assertEqual(common(["/leave", "/login", "/logout"]), "/l")
        self.assertEqual(common(["bob", "bobby"]), "bob")
        self.assertEqual(common(["a", "b"]), "")
