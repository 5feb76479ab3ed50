"""What every store does with posts: their numbers, their times, their order."""

from twisted.internet.defer import Deferred

from tests.support import NOW
from twisted_chat.core.model import (
    ACTION,
    NOTICE,
    SAID,
    TOPIC,
    Aside,
    Entry,
    Findings,
    Post,
    Question,
)

from .cases import LOBBY, MemoryCase, PostgresCase, SqlCase, StoreCase, said, stands, texts, told


class Log(StoreCase):
    """The log."""

    async def test_posts_come_back_as_they_were(self) -> None:
        """Each post comes back with its number, its place and its time; the log has the same."""
        alice = await self.account("alice")
        post = Post(LOBBY, ACTION, alice.id, "alice", NOW + 1, "“wave” 👋\u200d", 7, "label")
        (number,) = self.append(post)
        await self.settle()
        ((_, stored),) = self.fed_with_numbers
        assert isinstance(stored, Entry)
        assert self.fed_with_numbers == [(number, Entry(stored.id, LOBBY, 1, *post[1:]))]
        assert await self.store.history(LOBBY.id, 1) == (stored,)
        assert await self.after(LOBBY) == (stored,)

    async def test_history_is_the_newest_messages(self) -> None:
        """A history has the newest messages of one room, oldest first, and no other entries."""
        tea = await self.room("tea")
        kinds = SAID, TOPIC, ACTION, NOTICE, "reaction", SAID
        await self.commit(*(said(tea, str(n), kind=kind) for n, kind in enumerate(kinds)))
        await self.commit(said(LOBBY, "elsewhere"))
        for limit, shown in ((3, "235"), (100, "0235"), (0, "")):
            assert "".join(texts(await self.store.history(tea.id, limit))) == shown

    async def test_every_entry_has_a_seq(self) -> None:
        """Each room counts its entries of all kinds, also of those that this version does not know,
        and ids grow over all rooms, also after reopening."""
        (alice,) = await self.accounts("alice")
        tea = await self.room("tea")
        for _ in range(2):
            await self.commit(
                said(LOBBY, "1"),
                said(tea, "topic", kind=TOPIC),
                stands(tea, alice, "member"),
                told(alice, alice, "note"),
                said(tea, "👍", kind="reaction"),
                said(LOBBY, "2"),
            )
            await self.reopen()
        entries = [stored for stored in self.fed if isinstance(stored, Entry)]
        ids = [entry.id for entry in entries]
        assert ids == sorted(set(ids))
        for name, count in (("lobby", 4), ("tea", 7), ("", 2)):
            seqs = [entry.seq for entry in entries if entry.room.name == name]
            assert seqs == list(range(1, count + 1))
        kinds = [entry.kind for entry in await self.after(tea)]
        assert kinds == ["created"] + ["topic", "member", "reaction"] * 2
        assert (self.states["lobby"].last_seq, self.states["tea"].last_seq) == (4, 7)

    async def test_times_grow_within_a_room(self) -> None:
        """An entry that is posted no later than the one before it in its room is a millisecond
        later than that one, also after reopening; other rooms do not matter."""
        tea = await self.room("tea")
        times = NOW + 5, NOW + 5, NOW, NOW + 7, NOW + 10
        first = await self.commit(
            *(said(LOBBY, "x", time=time) for time in times), said(tea, "x", time=NOW + 1)
        )
        await self.reopen()
        second = await self.commit(said(LOBBY, "x", time=NOW), said(LOBBY, "x", time=NOW + 20))
        grown = [NOW + n for n in (5, 6, 7, 8, 10, 1, 11, 20)]
        assert [entry.time for entry in (*first, *second)] == grown  # type: ignore[union-attr]
        assert [entry.time for entry in await self.after(LOBBY)] == grown[:5] + grown[6:]

    async def test_entries_after_one(self) -> None:
        """A question about rooms is answered with the newest entries of each after a C{seq}."""
        tea = await self.room("tea")
        await self.commit(*(said(room, f"{room.name}{n}") for n in "123" for room in (tea, LOBBY)))
        found = await self.ask(2, rooms={tea.id: 3, LOBBY.id: 0})
        assert texts(found.rooms[tea.id]) == ["tea3"]
        assert texts(found.rooms[LOBBY.id]) == ["lobby2", "lobby3"]
        assert (found.direct, found.unread, found.news) == ({}, (), ())
        assert await self.after(LOBBY, 3) == ()
        assert await self.after(LOBBY, 10**18 - 1) == ()

    async def test_message_with_a_guest_keeps_its_place_only(self) -> None:
        """A private message of a guest comes back in its place as it is, and is not in the log."""
        (alice,) = await self.accounts("alice")
        aside = Aside(alice.id, "alice", None, "gil", 3, NOW, "psst", "7")
        stored = await self.commit(said(LOBBY, "1"), aside, said(LOBBY, "2"))
        assert stored[1] is aside
        assert texts(await self.store.history(LOBBY.id, 10)) == ["1", "2"]
        assert await self.commit(aside) == [aside]
        assert await self.unread(alice) == []


class Order(StoreCase):
    """When something takes effect."""

    async def test_question_knows_what_came_before_it(self) -> None:
        """A question knows of all that was posted before it, and of nothing that was posted after;
        its answer comes after the feed of the former and before that of the latter."""
        self.hold()
        answers = []
        for n in range(30):
            self.append(*(said(LOBBY, f"{n}") for _ in range(n % 3)))
            for asked in (
                self.store.history(LOBBY.id, 1000),
                self.store.ask(Question(1000, rooms={LOBBY.id: 0})),
            ):
                asked.addCallback(lambda known: (known, tuple(self.fed)))
                answers.append((asked, self._number))
        self.append(said(LOBBY, "last"))
        self.release()
        for asked, number in answers:
            known, fed = await asked
            if isinstance(known, Findings):
                known = known.rooms[LOBBY.id]
            assert len(known) == number
            assert known == fed
        await self.settle()

    async def test_mark_counts_from_when_it_is_set(self) -> None:
        """A mark that is set before a question counts in its answer; one that is set while it waits
        does not."""
        alice, bob = await self.accounts("alice", "bob")
        first = await self.entry(told(alice, bob, "1"))
        second = await self.entry(told(alice, bob, "2"))
        third = await self.entry(said(LOBBY, "3", alice))
        self.hold()
        self.store.mark_read(bob.id, first.room.id, first.seq)
        asked: Deferred[Findings] = self.store.ask(Question(10, bob.id, 10))
        self.store.mark_read(bob.id, second.room.id, second.seq)
        self.store.mark_read(bob.id, LOBBY.id, third.seq)
        self.release()
        found = await asked
        assert (texts(found.unread), [each.new for each in found.news]) == (["2"], [1])
        assert (await self.unread(bob), await self.news(bob)) == ([], {})

    async def test_mark_before_a_post(self) -> None:
        """A mark that is set before a post does not reach beyond it, and one that is set before
        somebody joins does not count."""
        alice, bob = await self.accounts("alice", "bob")
        tea = await self.room("tea", bob)
        self.store.mark_read(bob.id, tea.id, 10**17)
        self.store.mark_read(alice.id, tea.id, 10**17)
        self.append(said(tea, "1"), stands(tea, alice, "member"), said(tea, "2"))
        self.store.mark_read(alice.id, tea.id, 1)
        assert await self.news(bob) == {tea.id: (2, 2)}
        assert await self.news(alice) == {tea.id: (4, 1)}

    async def test_mark_after_a_post(self) -> None:
        """A mark that is set after a post reaches up to it, though it is not handed over yet; one
        that is set after somebody left is forgotten."""
        alice, bob = await self.accounts("alice", "bob")
        tea = await self.room("tea", alice, bob)
        self.hold()
        self.append(said(tea, "1"), stands(tea, alice, None))
        self.store.mark_read(bob.id, tea.id, 10**17)
        self.store.mark_read(alice.id, tea.id, 10**17)
        self.append(said(tea, "2"), stands(tea, alice, "member"), said(tea, "3"))
        self.release()
        assert await self.news(bob) == {tea.id: (5, 2)}
        assert await self.news(alice) == {tea.id: (6, 1)}


class Labels(StoreCase):
    """Labels of posts."""

    label = "0123456789abcdef"

    async def test_label_is_kept(self) -> None:
        """A label comes back from the feed and with every reading; a post without one comes back
        without."""
        alice, bob = await self.accounts("alice", "bob")
        stored = await self.commit(
            said(LOBBY, "x"),
            said(LOBBY, "y", label=self.label),
            told(alice, bob, "x"),
            told(alice, bob, "y")._replace(label="7"),
        )
        labels = ["", self.label, "", "7"]
        assert [entry.label for entry in stored if entry is not None] == labels
        assert [entry.label for entry in await self.store.history(LOBBY.id, 10)] == labels[:2]
        unread = (await self.ask(of=bob)).unread
        assert [entry.label for entry in unread] == labels[2:]

    async def test_latest_labels(self) -> None:
        """C{labels} reads the labelled entries of a time and later, in the order of the log."""
        alice, bob = await self.accounts("alice", "bob")
        for time in NOW - 5, NOW:
            await self.commit(
                told(alice, bob, f"{time}", time=time)._replace(label=self.label),
                said(LOBBY, "x", time=time, label=self.label),
            )
        await self.commit(said(LOBBY, "y", time=NOW))
        direct, room = await self.store.labels(NOW)
        assert (direct.author_id, direct.text, direct.label) == (alice.id, f"{NOW}", self.label)
        assert direct.recipient == "bob"
        assert (room.room, room.seq, room.author, room.text) == (LOBBY, 2, "gil", "x")
        assert list(await self.store.labels(NOW + 2)) == []


class SqlLogTests(SqlCase, Log):
    """The log in SQLite."""


class PostgresLogTests(PostgresCase, Log):
    """The log in PostgreSQL."""


class MemoryLogTests(MemoryCase, Log):
    """The log in memory."""


class SqlOrderTests(SqlCase, Order):
    """Order in SQLite."""


class PostgresOrderTests(PostgresCase, Order):
    """Order in PostgreSQL."""


class MemoryOrderTests(MemoryCase, Order):
    """Order in memory."""


class SqlLabelTests(SqlCase, Labels):
    """Labels in SQLite."""


class PostgresLabelTests(PostgresCase, Labels):
    """Labels in PostgreSQL."""


class MemoryLabelTests(MemoryCase, Labels):
    """Labels in memory."""
