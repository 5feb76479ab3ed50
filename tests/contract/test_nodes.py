"""What every store does for several nodes, and what those do that several nodes can share."""

from collections.abc import Sequence

from tests.support import NOW
from twisted_chat.core.announcements import (
    Announced,
    Announcement,
    Asked,
    Became,
    Came,
    Counted,
    Delivered,
    Entered,
    Exited,
    Gone,
    Guessed,
    PasswordChanged,
    Present,
    Read,
    TakenOver,
    Visitor,
    Went,
)
from twisted_chat.core.model import (
    CREATED,
    Aside,
    Credential,
    Entry,
    Question,
    RoomRecord,
    conversation,
)

from .cases import (
    LOBBY,
    MemoryCase,
    MemoryNodeCase,
    Other,
    PostgresCase,
    PostgresNodeCase,
    SqlCase,
    StoreCase,
    said,
    told,
)

LABEL = "0123456789abcdef"


def _things(batches: Sequence[Sequence[tuple[int, Delivered]]]) -> list[tuple[int, str]]:
    """The numbers and texts of what a feed has handed over, without announcements."""
    pairs = (pair for batch in batches for pair in batch)
    return [(n, what.text) for n, what in pairs if isinstance(what, Entry | Aside)]


class Alone(StoreCase):
    """A store that one node uses."""

    async def test_names_are_free(self) -> None:
        """A node may claim what it has claimed itself, whatever its sessions' tokens are."""
        for token, former in (("a", ""), ("b", "a"), ("c", "other"), ("", "")):
            assert await self.store.claim("gil", "gil", token, former) is None
        self.store.let_go("gil")
        self.store.let_go("nobody")
        assert await self.store.claim("gil", "gil", "", "") is None

    async def test_guest_numbers_differ(self) -> None:
        """No number for a guest's name is given twice, and each is 1 or more."""
        numbers = [await self.store.guest_number() for _ in range(250)]
        assert len(set(numbers)) == 250
        assert min(numbers) >= 1

    async def test_announcements_are_not_handed_back(self) -> None:
        """What a node says is not handed over to itself."""
        self.store.announce(Came(Visitor("gil", None, 7)))
        await self.commit(said(LOBBY, "1"))
        self.store.announce(Went("gil"))
        await self.commit(said(LOBBY, "2"))
        assert self.announced == []
        assert [stored.text for stored in self.fed if stored is not None] == ["1", "2"]


class Shared(StoreCase):
    """Two stores on one database."""

    def setUp(self) -> None:
        super().setUp()
        self.there = self.other()

    def _append_there(self, *posts: object) -> None:
        for number, post in enumerate(posts, 100):
            self.there.store.append(post, number)

    async def _said_there(self, *posts: object) -> None:
        """Have the other node append posts, and wait until it has."""
        self._append_there(*posts)
        await self.there.catch_up()

    async def test_nodes_have_numbers(self) -> None:
        """Each node has a number of its own, which is not 0."""
        assert len({0, self.store.node, self.there.store.node, self.other().store.node}) == 4

    async def test_one_order(self) -> None:
        """All nodes hand over what each has appended, in one order: their own with the numbers that
        they gave, that of the others with 0."""
        for n in range(6):
            await self._said_there(said(LOBBY, f"there {n}"))
            await self.commit(said(LOBBY, f"here {n}"))
        await self.there.catch_up()
        here, there = _things(self.batches), _things(self.there.batches)
        assert [text for _, text in here] == [text for _, text in there]
        assert [number for number, _ in here] == [n for k in range(1, 7) for n in (0, k)]
        assert [number for number, _ in there] == [100, 0] * 6
        entries = [e for e in self.fed if isinstance(e, Entry)]
        assert [entry.seq for entry in entries] == list(range(1, 13))
        assert [entry.id for entry in entries] == sorted({entry.id for entry in entries})

    async def test_question_hands_over_first(self) -> None:
        """What other nodes have appended counts in an answer, and is handed over before it."""
        for n in range(5):
            await self._said_there(said(LOBBY, f"{n}"))
            found = await self.after(LOBBY)
            assert found == tuple(self.fed)
            assert len(found) == n + 1

    async def test_message_with_a_guest_travels(self) -> None:
        """A private message with a guest is handed over to the other nodes in its place."""
        key = (self.store.node << 40) + 3
        aside = Aside(None, "fay", None, "gil", key, NOW, "“psst” 👋", "7")
        await self._said_there(said(LOBBY, "1"), aside, said(LOBBY, "2"))
        await self.commit()
        await self.catch_up()
        assert self.fed[1:2] == [aside]
        assert _things(self.batches) == [(0, "1"), (0, aside.text), (0, "2")]

    async def test_announcements_travel(self) -> None:
        """What a node says is handed over to the others as it is, with the node's number, in order
        with what is appended."""
        gil = Visitor("gil", None, (1 << 40) + 7, ("tea", "bar"))
        alice = Visitor("alice", 7)
        things: Sequence[Announcement] = (
            Asked(),
            Present((gil, alice), begins=True, ends=False),
            Present((), begins=False, ends=True),
            Came(alice),
            Went("alice"),
            Became("gil", alice),
            Entered("gil", "tea"),
            Exited("gil", "tea"),
            Read("alice", "@bob", 7),
            Guessed("192.0.2.0", "alice"),
            Counted("room", ""),
            PasswordChanged("alice", "bye “alice”"),
            TakenOver("0f" * 32),
        )
        await self.there.catch_up()
        await self.catch_up()
        before = len(self.announced)
        for n, thing in enumerate(things):
            self.there.store.announce(thing)
            self.there.store.append(said(LOBBY, str(n)), n + 1)
        await self.there.catch_up()
        await self.catch_up()
        said_there = [Announced(self.there.store.node, thing) for thing in things]
        assert self.announced[before:] == said_there
        order = [what for batch in self.batches for _, what in batch][-2 * len(things) :]
        assert [isinstance(what, Entry) for what in order] == [False, True] * len(things)

    async def test_starting_node_asks(self) -> None:
        """A node that starts asks the others who is with them."""
        await self.there.catch_up()
        await self.catch_up()
        assert self.announced == [Announced(self.there.store.node, Asked())]

    async def test_room_made_at_both(self) -> None:
        """Of two nodes that make rooms that look alike, the one whose entry comes first has made
        the room; the other is handed over that one, and then its refusal."""
        await self._said_there(said(RoomRecord(0, "public", "lounge"), "", kind=CREATED))
        assert await self.commit(said(RoomRecord(0, "public", "1ounge"), "", kind=CREATED)) == [
            None
        ]
        (batch,) = [batch for batch in self.batches if any(isinstance(e, Entry) for _, e in batch)]
        (zero, made), (number, refused) = [
            (n, e) for n, e in batch if e is None or isinstance(e, Entry)
        ]
        assert isinstance(made, Entry)
        assert (zero, made.room.name, number, refused) == (0, "lounge", 1, None)

    async def test_conversation_begun_at_both(self) -> None:
        """A private conversation that two nodes begin is one."""
        alice, bob = await self.accounts("alice", "bob")
        await self._said_there(told(alice, bob, "1"))
        second = await self.entry(told(bob, alice, "2"))
        assert second.seq == 2
        assert await self.store.find_conversation(alice.id, bob.id) == second.room
        assert conversation(alice, bob).parties == second.room.parties

    async def test_accounts_are_everybodys(self) -> None:
        """An account that one node adds is known to the others, which cannot add it again, and a
        password is changed once."""
        alice = await self.account("alice")
        there = self.there.store
        assert await there.find_account("alice") == alice
        assert await there.find_look_alike("alice") == "alice"
        assert await there.add_account("alice", "a1ice", b"", NOW) is None
        before = Credential(alice, b"hash")
        assert await there.set_password(before, b"new")
        assert not await self.store.set_password(before, b"newer")
        assert await self.store.find_password("alice") == Credential(alice, b"new")

    async def test_marks_are_everybodys(self) -> None:
        """What an account has read at one node counts at the others."""
        alice, bob = await self.accounts("alice", "bob")
        tea = await self.room("tea", bob)
        last = (await self.commit(*(said(tea, str(n), alice) for n in range(3))))[-1]
        assert isinstance(last, Entry)
        self.there.store.mark_read(bob.id, tea.id, last.seq - 1)
        await self.there.store.ask(Question(1, bob.id, 1))
        assert await self.news(bob) == {tea.id: (last.seq - 1, 1)}

    # Labels

    async def test_repeated_label(self) -> None:
        """A post with a label that its author has used at another node, which this one has not
        handed over yet, is not stored again: the other entry is handed over in its place in the
        log, with the number of the post."""
        alice, bob = await self.accounts("alice", "bob")
        await self._said_there(
            said(LOBBY, "0", bob), said(LOBBY, "1", alice, label=LABEL), said(LOBBY, "2", bob)
        )
        self.hold()
        self.append(said(LOBBY, "1", alice, label=LABEL), said(LOBBY, "3", bob))
        self.release()
        await self.settle()
        assert _things(self.batches) == [(0, "0"), (1, "1"), (0, "2"), (2, "3")]
        assert [entry.text for entry in await self.after(LOBBY)] == ["0", "1", "2", "3"]
        await self.there.catch_up()
        assert _things(self.there.batches) == [(100, "0"), (101, "1"), (102, "2"), (0, "3")]

    async def test_label_repeated_while_it_is_handed_over(self) -> None:
        """A post that was appended before the other entry was handed over is not stored again if it
        is committed afterwards: the entry is handed over once more, with the number of the post."""
        (alice,) = await self.accounts("alice")
        await self._said_there(said(LOBBY, "1", alice, label=LABEL))
        self.hold()
        asked = self.store.history(LOBBY.id, 1)
        self.append(said(LOBBY, "1", alice, label=LABEL))
        self.release()
        assert len(await asked) == 1
        await self.settle()
        assert _things(self.batches) == [(0, "1"), (1, "1")]
        assert len(await self.after(LOBBY)) == 1

    async def test_label_of_another(self) -> None:
        """A label that somebody else has used, or one that is short, repeats nothing."""
        alice, bob = await self.accounts("alice", "bob")
        short = LABEL[:-1]
        await self._said_there(
            said(LOBBY, "1", alice, label=LABEL), said(LOBBY, "2", bob, label=short)
        )
        posts = (
            said(LOBBY, "3", bob, label=LABEL),
            said(LOBBY, "4", "alice", label=LABEL),
            said(LOBBY, "5", bob, label=short),
        )
        assert len(await self.commit(*posts)) == 3
        assert len(await self.after(LOBBY)) == 5

    async def test_repeated_label_of_a_guest(self) -> None:
        """A guest's label repeats that of a guest of the same name."""
        await self._said_there(said(LOBBY, "1", "gil", label=LABEL))
        (stored,) = await self.commit(said(LOBBY, "1", "gil", label=LABEL))
        assert isinstance(stored, Entry)
        assert (stored.seq, len(await self.after(LOBBY))) == (1, 1)

    async def test_repeated_private_message(self) -> None:
        """A private message is not stored again either, also if it begins the conversation."""
        alice, bob = await self.accounts("alice", "bob")
        post = told(alice, bob, "psst")._replace(label=LABEL)
        await self._said_there(post)
        (stored,) = await self.commit(post)
        assert isinstance(stored, Entry)
        assert (stored.seq, await self.unread(bob)) == (1, ["psst"])

    # Names

    async def _claim(
        self, of: Other | StoreCase, name: str, shape: str, token: str = "", former: str = ""
    ) -> object:
        return await of.store.claim(name, shape, token, former)

    async def test_name_is_claimed_once(self) -> None:
        """A name that one node has claimed, and one that looks like it, is not another's until it
        is given up."""
        assert await self._claim(self, "gil", "gil") is None
        assert await self._claim(self.there, "gi1", "gil") == "gil"
        assert await self._claim(self.there, "fay", "fay") is None
        assert await self._claim(self, "fay", "fay") == "fay"
        self.there.store.let_go("gil")  # which is not the other's
        assert await self._claim(self.there, "gil", "gil") == "gil"
        self.append(said(LOBBY, "1"))
        self.store.let_go("gil")
        await self.catch_up()
        assert await self._claim(self.there, "gil", "gil") is None

    async def test_claim_is_taken_over(self) -> None:
        """A session takes over the claim of the session whose token it has, and the node of that
        one does not free it any more."""
        assert await self._claim(self, "gil", "gil", "first") is None
        assert await self._claim(self.there, "gil", "gil", "second", "other") == "gil"
        assert await self._claim(self.there, "gil", "gil", "second", "first") is None
        self.store.let_go("gil")
        await self.catch_up()
        assert await self._claim(self, "gil", "gil", "third") == "gil"

    async def test_claim_without_a_token(self) -> None:
        """Nobody takes over the claim of a session that has no token."""
        assert await self._claim(self, "gil", "gil") is None
        assert await self._claim(self.there, "gil", "gil", "second") == "gil"

    async def test_claim_that_is_renewed(self) -> None:
        """A claim has the token that it was claimed with last."""
        for token in "first", "second":
            assert await self._claim(self, "gil", "gil", token) is None
        assert await self._claim(self.there, "gil", "gil", "third", "first") == "gil"
        assert await self._claim(self.there, "gil", "gil", "third", "second") is None

    async def test_guest_numbers_differ(self) -> None:
        """No two nodes give the same number."""
        numbers = []
        for _ in range(120):
            numbers += [await each.store.guest_number() for each in (self, self.there)]
        assert len(set(numbers)) == 240

    # Deaths

    async def test_node_dies(self) -> None:
        """When a node has died, the others are told once, and what it claimed is free."""
        node = self.there.store.node
        assert await self._claim(self.there, "gil", "gil") is None
        third = self.other()
        await self.die(self.there)
        await self.catch_up()
        await third.catch_up()
        for announced in self.announced, third.announced:
            assert [each.what for each in announced].count(Gone(node)) == 1
        assert await self._claim(third, "gil", "gil") is None

    async def test_node_that_was_taken_for_dead(self) -> None:
        """A node that was taken for dead is told so and goes on; what it had claimed is free."""
        assert await self._claim(self.there, "gil", "gil") is None
        await self.mistake(self.there)
        assert await self._claim(self, "gil", "gil") is None
        await self.there.catch_up()
        assert Gone(self.there.store.node) in [each.what for each in self.there.announced]
        await self._said_there(said(LOBBY, "again"))
        assert [entry.text for entry in await self.after(LOBBY)] == ["again"]
        assert await self._claim(self.there, "gil", "gil") == "gil"


class SqlAloneTests(SqlCase, Alone):
    """One node on SQLite."""


class MemoryAloneTests(MemoryCase, Alone):
    """One node in memory."""


class MemoryOneOfManyTests(MemoryNodeCase, Alone):
    """One of several nodes in memory."""


class MemorySharedTests(MemoryNodeCase, Shared):
    """Two nodes in memory."""


class PostgresAloneTests(PostgresCase, Alone):
    """One node on PostgreSQL."""


class PostgresSharedTests(PostgresNodeCase, Shared):
    """Two nodes on PostgreSQL."""
