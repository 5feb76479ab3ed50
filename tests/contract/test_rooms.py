"""What every store does with rooms, members, private conversations and read marks."""

from twisted_chat.core.model import CREATED, TOPIC, Entry, Role, RoomRecord, RoomState

from .cases import LOBBY, MemoryCase, PostgresCase, SqlCase, StoreCase, said, stands, texts, told


def _made(name: str, kind: str = "public") -> RoomRecord:
    return RoomRecord(0, "private" if kind == "private" else "public", name)


class Rooms(StoreCase):
    """Rooms."""

    def test_new_store_has_the_lobby(self) -> None:
        """A new store has the lobby, and no other room."""
        assert list(self.states.values()) == [RoomState(LOBBY)]

    async def test_room_is_made_by_its_first_entry(self) -> None:
        """The first entry of a room makes it, and has its id; the store has the room from then on,
        with the topic that was set last, its newest C{seq} and its members."""
        alice, bob, carol = await self.accounts("alice", "bob", "carol")
        made = await self.entry(said(_made("tea", "private"), "", alice, kind=CREATED))
        tea = made.room
        assert tea == RoomRecord(tea.id, "private", "tea")
        assert (tea.id > LOBBY.id, made.seq) == (True, 1)
        await self.commit(
            stands(tea, alice, "owner"),
            stands(tea, bob, "member"),
            stands(tea, carol, "member"),
            said(tea, "Assam", alice, kind=TOPIC),
            said(tea, "Darjeeling", kind=TOPIC),
            stands(tea, bob, "voice"),
            stands(tea, carol, None),
        )
        await self.reopen()
        members: dict[int, Role] = {alice.id: "owner", bob.id: "voice"}
        assert self.states["tea"] == RoomState(tea, "Darjeeling", "gil", 8, members)
        assert list(self.states) == ["lobby", "tea"]
        assert await self.after(tea, 0, 1) == (self.fed[-1],)

    async def test_room_belongs_to_who_made_it(self) -> None:
        """An account that makes a room is its owner; a guest is nothing special in it."""
        alice = await self.account("alice")
        await self.commit(said(_made("tea"), "", alice, kind=CREATED))
        await self.room("bar")
        await self.reopen()
        roles = {name: state.members for name, state in self.states.items()}
        assert roles == {"lobby": {}, "tea": {alice.id: "owner"}, "bar": {}}
        await self.commit(said(self.states["tea"].record, "x"))
        assert await self.news(alice) == {self.states["tea"].record.id: (1, 1)}

    async def test_who_joins_twice_keeps_their_role(self) -> None:
        """An account that becomes a member by itself keeps the role that it has; given by another,
        the role of a member is one like any other."""
        alice, bob = await self.accounts("alice", "bob")
        tea = await self.room("tea")
        roles = []
        for post in (
            stands(tea, alice, "member"),
            stands(tea, alice, "owner"),
            stands(tea, alice, "member"),
            stands(tea, alice, "member")._replace(author_id=bob.id),
            stands(tea, alice, None),
        ):
            await self.commit(post)
            await self.reopen()
            roles.append(self.states["tea"].members.get(alice.id))
        assert roles == ["member", "owner", "owner", "member", None]

    async def test_no_two_rooms_have_a_name(self) -> None:
        """A name has one room, and so have names that look alike: what makes another one is not
        stored, also if both come at once."""
        names = "tea", "tea", "lobby", "1obby", "bar", "tea"
        stored = await self.commit(
            *(said(_made(name), "", kind=CREATED) for name in names), said(LOBBY, "hello")
        )
        made = [entry.room.name if isinstance(entry, Entry) else None for entry in stored]
        assert made == ["tea", None, None, None, "bar", None, "lobby"]
        await self.reopen()
        assert list(self.states) == ["bar", "lobby", "tea"]

    async def test_failed_attempt_leaves_the_room_alone(self) -> None:
        """After a room could not be made, C{seq} goes on without a gap in the one that has the
        name."""
        tea = await self.room("tea")
        await self.commit(said(tea, "1"))
        assert await self.commit(said(_made("tea"), "", kind=CREATED)) == [None]
        assert (await self.entry(said(tea, "2"))).seq == 3

    async def test_plain_members_of_the_lobby_are_everybody(self) -> None:
        """Of the lobby only those members are listed who are more than members."""
        alice, _ = await self.accounts("alice", "bob")
        await self.commit(stands(LOBBY, alice, "moderator"))
        await self.reopen()
        assert self.states["lobby"].members == {alice.id: "moderator"}


class Members(StoreCase):
    """Memberships, and what they have seen."""

    async def test_news_are_messages_of_others(self) -> None:
        """The news of an account are the messages of others, guests among them, in the rooms that
        it is a member of, after what it has seen. Other entries are none."""
        alice, bob = await self.accounts("alice", "bob")
        tea, _ = await self.room("tea", alice), await self.room("bar", bob)
        assert await self.news(alice) == {}
        await self.commit(
            said(tea, "of a guest"),
            said(tea, "of bob", bob),
            said(tea, "my own", alice),
            said(tea, "topic", bob, kind=TOPIC),
            said(tea, "👍", bob, kind="reaction"),
            stands(tea, bob, "member"),
            said(LOBBY, "hello", bob),
            told(bob, alice, "psst"),
        )
        assert await self.news(alice) == {tea.id: (2, 2), LOBBY.id: (0, 1)}
        assert await self.news(bob) == {}

    async def test_news_are_counted_up_to_the_limit(self) -> None:
        """No more messages are counted than the limit says."""
        alice, bob = await self.accounts("alice", "bob")
        await self.commit(*(said(LOBBY, "x", author) for _ in range(9) for author in (alice, bob)))
        assert await self.news(bob, 5) == {LOBBY.id: (0, 5)}
        assert await self.news(bob, 9) == {LOBBY.id: (0, 9)}

    async def test_new_account_has_seen_the_lobby(self) -> None:
        """An account is a member of the lobby from the beginning, and has seen what was said
        before."""
        await self.commit(said(LOBBY, "1"), said(LOBBY, "2"))
        alice = await self.account("alice")
        assert await self.news(alice) == {}
        await self.commit(said(LOBBY, "3"))
        assert await self.news(alice) == {LOBBY.id: (2, 1)}

    async def test_new_member_has_seen_what_was_before(self) -> None:
        """Who becomes a member has seen what came before, also if they were one already; another
        role changes nothing about it."""
        alice = await self.account("alice")
        tea = await self.room("tea")
        await self.commit(said(tea, "2"), stands(tea, alice, "member"), said(tea, "4"))
        assert await self.news(alice) == {tea.id: (3, 1)}
        await self.commit(stands(tea, alice, "voice"), said(tea, "6"))
        assert await self.news(alice) == {tea.id: (3, 2)}
        await self.commit(stands(tea, alice, None), said(tea, "8"))
        assert await self.news(alice) == {}
        await self.commit(stands(tea, alice, "member"), said(tea, "10"))
        assert await self.news(alice) == {tea.id: (9, 1)}


class Marks(StoreCase):
    """Read marks."""

    async def test_mark_moves_forward_only(self) -> None:
        """A mark never moves back, also if several are set at once or after reopening."""
        (alice,) = await self.accounts("alice")
        await self.commit(*(said(LOBBY, str(n)) for n in range(5)))
        self.store.mark_read(alice.id, LOBBY.id, 2)
        self.store.mark_read(alice.id, LOBBY.id, 1)
        assert await self.news(alice) == {LOBBY.id: (2, 3)}
        await self.reopen()
        self.store.mark_read(alice.id, LOBBY.id, 1)
        assert await self.news(alice) == {LOBBY.id: (2, 3)}
        self.store.mark_read(alice.id, LOBBY.id, 3)
        await self.commit(said(LOBBY, "5"))
        assert await self.news(alice) == {LOBBY.id: (3, 3)}

    async def test_nobody_reads_what_is_not_there_yet(self) -> None:
        """A mark beyond the newest entry is one at the newest."""
        alice, bob = await self.accounts("alice", "bob")
        talk = (await self.entry(told(alice, bob, "1"))).room
        self.store.mark_read(bob.id, talk.id, 10**17)
        self.store.mark_read(bob.id, LOBBY.id, 10**17)
        assert await self.unread(bob) == []
        await self.commit(told(alice, bob, "2"), said(LOBBY, "3", alice))
        assert await self.unread(bob) == ["2"]
        assert await self.news(bob) == {LOBBY.id: (0, 1)}

    async def test_who_is_no_member_has_no_mark(self) -> None:
        """A mark of an account that is not a member of the room changes nothing."""
        alice = await self.account("alice")
        tea = await self.room("tea")
        self.store.mark_read(alice.id, tea.id, 1)
        await self.commit(stands(tea, alice, "member"), said(tea, "x"))
        assert await self.news(alice) == {tea.id: (2, 1)}

    async def test_own_entries_are_read(self) -> None:
        """Whoever has seen all that was said before has seen what they say themselves, so that the
        store need not look at it; otherwise what they say moves no mark."""
        alice, bob = await self.accounts("alice", "bob")
        await self.commit(said(LOBBY, "1", alice), said(LOBBY, "2", alice), said(LOBBY, "3", bob))
        assert await self.news(alice) == {LOBBY.id: (2, 1)}
        await self.commit(said(LOBBY, "4", alice))
        assert await self.news(alice) == {LOBBY.id: (2, 1)}
        self.store.mark_read(alice.id, LOBBY.id, 4)
        await self.commit(said(LOBBY, "5", alice), said(LOBBY, "6"), said(LOBBY, "7", alice))
        assert await self.news(alice) == {LOBBY.id: (5, 1)}


class Conversations(StoreCase):
    """Private conversations."""

    async def test_conversation_is_one_room(self) -> None:
        """A conversation begins with its first message, whoever wrote it, and is one room for both,
        also if both write at once."""
        alice, bob, carol = await self.accounts("alice", "bob", "carol")
        assert await self.store.find_conversation(bob.id, alice.id) is None
        one, other, third = await self.commit(
            told(bob, alice, "1"), told(alice, bob, "2"), told(carol, alice, "3")
        )
        assert isinstance(one, Entry)
        assert isinstance(other, Entry)
        assert isinstance(third, Entry)
        assert one.room == other.room == RoomRecord(one.room.id, "direct", "", (alice, bob))
        assert [entry.seq for entry in (one, other, third)] == [1, 2, 1]
        assert (one.recipient, other.recipient) == ("alice", "bob")
        await self.reopen()
        for parties in (alice.id, bob.id), (bob.id, alice.id):
            assert await self.store.find_conversation(*parties) == one.room
        assert await self.store.find_conversation(bob.id, carol.id) is None
        assert list(await self.store.history(one.room.id, 10)) == [one, other]
        assert await self.entry(told(alice, bob, "4")) == (await self.after(one.room, 2))[0]
        assert list(self.states) == ["lobby"]

    async def test_entries_by_name(self) -> None:
        """A question about conversations is answered with the newest entries of each after a
        C{seq}. One that nobody has begun is missing, and so is one with nobody."""
        alice, bob, carol = await self.accounts("alice", "bob", "carol")
        await self.commit(
            told(alice, bob, "1"),
            told(bob, alice, "2"),
            told(alice, bob, "3"),
            told(alice, alice, "note"),
            told(carol, bob, "not alice's"),
        )
        asked = {"bob": 1, "alice": 0, "carol": 0, "nobody": 0}
        direct = (await self.ask(direct=asked, direct_of=alice.id)).direct
        found = {name: texts(entries) for name, entries in direct.items()}
        assert found == {"bob": ["2", "3"], "alice": ["note"]}
        (newest,) = (await self.ask(1, direct={"bob": 0}, direct_of=alice.id)).direct["bob"]
        assert (newest.text, newest.seq) == ("3", 3)

    async def test_unread_is_what_others_wrote(self) -> None:
        """Unread are the messages to an account after what it has seen in each conversation, in the
        order of the log, the first ones if there are many."""
        alice, bob, carol = await self.accounts("alice", "bob", "carol")
        first, *_ = await self.commit(
            told(alice, bob, "1"),
            told(carol, bob, "2"),
            told(bob, alice, "to alice"),
            told(alice, bob, "3"),
            told(carol, bob, "4"),
        )
        assert isinstance(first, Entry)
        assert await self.unread(bob) == ["1", "2", "3", "4"]
        assert await self.unread(bob, 3) == ["1", "2", "3"]
        assert await self.unread(alice) == ["to alice"]
        self.store.mark_read(bob.id, first.room.id, first.seq)
        await self.reopen()
        assert await self.unread(bob) == ["2", "3", "4"]
        assert await self.news(bob) == {}

    async def test_many_unread_of_many(self) -> None:
        """The first unread messages are found also if there are very many, of some more than of
        others."""
        alice, bob, carol, dave = await self.accounts("alice", "bob", "carol", "dave")
        turns = [alice] * 30 + [bob] + [alice, carol] * 150 + [bob] * 20 + [carol] * 300
        expected = [str(n) for n in range(len(turns))]
        await self.commit(
            *(told(who, dave, text) for who, text in zip(turns, expected, strict=True))
        )
        for limit in 1, 30, 31, 32, 340, 1000:
            assert await self.unread(dave, limit) == expected[:limit]

    async def test_note_to_oneself_is_unread(self) -> None:
        """A message to oneself is unread like any other until it is seen."""
        (alice,) = await self.accounts("alice")
        note = await self.entry(told(alice, alice, "note"))
        assert await self.unread(alice) == ["note"]
        self.store.mark_read(alice.id, note.room.id, note.seq)
        assert await self.unread(alice) == []

    async def test_conversations_that_are_asked_about_are_not_unread(self) -> None:
        """What is unread in conversations that the same question asks about is not told twice."""
        alice, bob, carol = await self.accounts("alice", "bob", "carol")
        await self.commit(told(alice, bob, "1"), told(carol, bob, "2"))
        found = await self.ask(of=bob, direct={"alice": 0}, direct_of=bob.id)
        assert (texts(found.direct["alice"]), texts(found.unread)) == (["1"], ["2"])


class SqlRoomTests(SqlCase, Rooms):
    """Rooms in SQLite."""


class PostgresRoomTests(PostgresCase, Rooms):
    """Rooms in PostgreSQL."""


class MemoryRoomTests(MemoryCase, Rooms):
    """Rooms in memory."""


class SqlMemberTests(SqlCase, Members):
    """Memberships in SQLite."""


class PostgresMemberTests(PostgresCase, Members):
    """Memberships in PostgreSQL."""


class MemoryMemberTests(MemoryCase, Members):
    """Memberships in memory."""


class SqlMarkTests(SqlCase, Marks):
    """Read marks in SQLite."""


class PostgresMarkTests(PostgresCase, Marks):
    """Read marks in PostgreSQL."""


class MemoryMarkTests(MemoryCase, Marks):
    """Read marks in memory."""


class SqlConversationTests(SqlCase, Conversations):
    """Private conversations in SQLite."""


class PostgresConversationTests(PostgresCase, Conversations):
    """Private conversations in PostgreSQL."""


class MemoryConversationTests(MemoryCase, Conversations):
    """Private conversations in memory."""
