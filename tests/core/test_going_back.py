"""What a chat does when the database has lost the newest entries of the log."""

from collections.abc import Sequence

from tests.support import NOW
from twisted_chat.core.announcements import Announced, Came, Visitor
from twisted_chat.core.errors import Refusal
from twisted_chat.core.events import Done
from twisted_chat.core.model import SAID, Entry, Role, RoomRecord, RoomState

from .test_chat import ChatTestCase, Someone

LABEL = "0123456789abcdef"
FAREWELL = "the database has lost its last message; connect again"


class GoingBackTests(ChatTestCase):
    """Rooms, people and labels are taken up anew."""

    def setUp(self) -> None:
        super().setUp()
        self.alice = self.account("alice")
        self.join("tea", self.alice)
        self.run_now(self.chat.set_topic(self.alice, "tea", "Assam"))
        self.earlier = self.store.snapshot()

    def go_back(self, states: Sequence[RoomState] | None = None) -> None:
        """Go back to some rooms, or to those of the beginning; sessions end when they are told
        to."""
        sessions = [s for p in list(self.chat._shared.people.values()) for s in p.sessions]
        self.chat.go_back(self.earlier if states is None else states, FAREWELL)
        for session in sessions:
            assert isinstance(session, Someone)
            self.assertEqual(session.face.farewells, [FAREWELL])
            self.end(session)

    def test_rooms_are_as_they_were(self) -> None:
        """Topics, members and heads of rooms are those of the database; a room that was made since
        is there no more."""
        bob = self.account("bob")
        self.join("tea", bob)
        self.join("bar", bob)
        self.run_now(self.chat.set_topic(self.alice, "tea", "Darjeeling"))
        self.leave(self.alice, "tea")
        self.go_back()
        self.assertEqual(list(self.chat.states()), list(self.earlier))
        gil = self.guest("gil")
        listed = self.chat.rooms(gil).rooms
        self.assertEqual(listed, (("lobby", 1, ""), ("tea", 0, "Assam")))

    def test_all_sessions_end(self) -> None:
        """All sessions are told why they end, and nobody is here afterwards."""
        self.guest("gil")
        self.account("alice")
        self.go_back()
        self.assertEqual(self.users(self.guest("fay")), ["fay"])

    def test_names_are_free(self) -> None:
        """A room that is lost can be made again, also under a name that looks like it."""
        self.join("lounge", self.alice)
        self.go_back()
        self.assertEqual(self.chat._directory.get("lounge"), None)
        self.chat._directory.refuse_look_alike("1ounge", "lounge")

    def test_room_made_anew(self) -> None:
        """If a room that was lost was made anew by another node, what is said in it is posted to
        the new one."""
        self.join("bar", self.alice)
        members: dict[int, Role] = {1: "owner"}
        again = RoomState(RoomRecord(77, "public", "bar"), "", "", 1, members)
        self.go_back([*self.earlier, again])
        self.assertEqual({s.record.name: s.record.id for s in self.chat.states()}["bar"], 77)

    def test_history_is_read_again(self) -> None:
        """The messages that are shown on joining are read from the database again."""
        self.say(self.alice, "lost", label=LABEL)
        self.go_back()
        del self.store.entries[-1]
        alice = self.back("alice")
        self.run_now(self.chat.join(alice, "tea"))
        self.assertEqual(alice.outbox.replayed(), [])

    def test_labels_are_forgotten(self) -> None:
        """A post that was lost is stored when it is repeated; one that was not is not."""
        self.say(self.alice, "kept", label=LABEL)
        self.say(self.alice, "lost", label=LABEL[::-1])
        self.go_back()
        del self.store.entries[-1]
        alice = self.back("alice")
        alice.current = "tea"
        self.say(alice, "kept", label=LABEL)
        self.say(alice, "lost", label=LABEL[::-1])
        texts = [entry.text for entry in self.log("tea") if entry.kind == SAID]
        self.assertEqual(texts, ["kept", "lost"])
        self.assertEqual(len(alice.outbox.of(Done)), 2)

    def test_people_of_other_nodes(self) -> None:
        """Those who are with other nodes stay here until these say otherwise; an account is only in
        the rooms of which it still is a member."""
        bob = self.account("bob")
        self.join("bar", bob)
        account = self.the_account("bob")
        self.end(bob)
        self.chat.deliver(
            [
                (0, Announced(2, Came(Visitor("bob", account.id)))),
                (0, Announced(2, Came(Visitor("gil", None, 7, ("tea", "bar"))))),
            ]
        )
        self.assertEqual(self.rooms_of(self.alice, "bob"), ("bar", "lobby"))
        self.go_back()
        fay = self.guest("fay")
        self.assertEqual(self.users(fay), ["bob", "fay", "gil"])
        self.assertEqual(self.rooms_of(fay, "bob"), ("lobby",))
        self.assertEqual(self.rooms_of(fay, "gil"), ("lobby", "tea"))

    def test_entries_that_come_after(self) -> None:
        """What comes afterwards is applied and told."""
        self.say(self.alice, "lost")
        self.go_back()
        gil = self.guest("gil")
        self.join("tea", gil)
        tea = next(s.record for s in self.earlier if s.record.name == "tea")
        entry = Entry(10**6, tea, 500, SAID, None, "fay", NOW, "hello")
        self.chat.deliver([(0, entry)])
        self.assertEqual(gil.outbox.heard(), ["hello"])
        self.assertEqual(self.place(gil, "tea").seq, 500)

    def test_operation_under_way(self) -> None:
        """An operation that waits for a post that was lost is refused, and nothing goes wrong."""
        self.store.hold()
        joining = self.begin(self.chat.join(self.alice, "bar"))
        self.chat.go_back(self.earlier, FAREWELL)
        self.store.fail()
        self.end(self.alice)
        refusal = self.failureResultOf(joining, Refusal).value
        self.assertEqual(refusal.code, "unavailable")
