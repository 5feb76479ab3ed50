"""Test cases with a store: the one in memory that the tests of the core stand on, or the real
one."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from tests import postgres
from tests.support import NOW, MemoryLog, MemoryStore
from twisted_chat.core.announcements import Announced, Asked, Delivered, Present
from twisted_chat.core.model import (
    CREATED,
    MEMBER,
    SAID,
    Account,
    Aside,
    Entry,
    Findings,
    Post,
    Question,
    Role,
    RoomRecord,
    RoomState,
    Standing,
    Stored,
    conversation,
)
from twisted_chat.store import SqlStore, node

reactor: Any = _reactor

LOBBY = RoomRecord(1, "public", "lobby")


def said(
    room: RoomRecord,
    text: str,
    author: Account | str = "gil",
    *,
    kind: str = SAID,
    time: int = NOW,
    label: str = "",
) -> Post:
    """Make a post of an account, or of the guest that has this name."""
    if isinstance(author, str):
        return Post(room, kind, None, author, time, text, None, label)
    return Post(room, kind, author.id, author.name, time, text, None, label)


def told(sender: Account, recipient: Account, text: str, *, time: int = NOW) -> Post:
    """Make a private message of an account to another."""
    return said(conversation(sender, recipient), text, sender, time=time)


def stands(room: RoomRecord, account: Account, role: Role | None) -> Post:
    """Make a post that somebody is a member from now on, or no longer."""
    return said(room, Standing(account, role).encode(), account, kind=MEMBER)


def texts(entries: Sequence[Stored]) -> list[str]:
    """Give the texts of entries."""
    return [entry.text for entry in entries if entry is not None]


class Other:
    """The store of another node on the same database.

    @ivar batches: what its feed handed over.
    @ivar lost: the numbers of the posts that could not be kept.
    """

    def __init__(self, store: Any) -> None:
        self.store = store
        self.batches: list[list[tuple[int, Delivered]]] = []
        self.lost: list[int] = []

    @property
    def announced(self) -> list[Announced]:
        """What its feed has handed over that other nodes have said."""
        all = (stored for batch in self.batches for _, stored in batch)
        return [stored for stored in all if isinstance(stored, Announced)]

    async def catch_up(self) -> None:
        """Have it hand over all that is in the log: it does so before it answers."""
        await self.store.find_account("nobody")


class StoreCase:
    """An open store, mixed into a test case.

    @ivar states: the rooms that opening it gave, by name.
    @ivar batches: what the feed handed over.
    @ivar lost: the numbers of the posts that could not be kept.
    """

    store: Any

    def setUp(self) -> None:
        self.batches: list[list[tuple[int, Delivered]]] = []
        self.lost: list[int] = []
        self._number = 0
        self.open()

    def open(self) -> None:
        """Open the store, again after L{reopen}."""
        raise NotImplementedError

    async def reopen(self) -> None:
        """Close the store, and open it again."""
        raise NotImplementedError

    async def settle(self) -> None:
        """Wait until all that was posted is handed over."""

    def hold(self) -> None:
        """Have questions wait, if the store would answer them at once."""

    def release(self) -> None:
        """Have them answered."""

    def other(self) -> Other:
        """Open the store of another node, if there can be one."""
        raise NotImplementedError

    async def die(self, other: Other) -> None:
        """Have another node die, and wait until that is known."""
        raise NotImplementedError

    async def mistake(self, other: Other) -> None:
        """Have another node that lives be taken for dead."""
        raise NotImplementedError

    def feed(self, batch: Sequence[tuple[int, Delivered]]) -> None:
        """Take what the store hands over."""
        self.batches.append(list(batch))

    def lose(self, numbers: Sequence[int], code: str) -> None:
        """Take the numbers of posts that could not be kept."""
        self.lost.extend(numbers)

    def take(self, states: Sequence[RoomState]) -> None:
        """Take what opening the store gave."""
        self.states = {state.record.name: state for state in states}

    @property
    def fed_with_numbers(self) -> list[tuple[int, Stored]]:
        """What the feed has handed over with the numbers of the posts, without announcements."""
        all = (each for batch in self.batches for each in batch)
        return [(number, each) for number, each in all if not isinstance(each, Announced)]

    @property
    def fed(self) -> list[Stored]:
        """All that the feed has handed over, without announcements."""
        all = (stored for batch in self.batches for _, stored in batch)
        return [stored for stored in all if not isinstance(stored, Announced)]

    @property
    def announced(self) -> list[Announced]:
        """What the feed has handed over that other nodes have said."""
        all = (stored for batch in self.batches for _, stored in batch)
        return [stored for stored in all if isinstance(stored, Announced)]

    async def catch_up(self) -> None:
        """Have the store hand over all that is in the log: it does so before it answers."""
        await self.store.find_account("nobody")

    def append(self, *posts: Post | Aside) -> list[int]:
        """Append posts; return their numbers."""
        first = self._number + 1
        for post in posts:
            self._number += 1
            self.store.append(post, self._number)
        return list(range(first, self._number + 1))

    async def commit(self, *posts: Post | Aside) -> list[Stored]:
        """Append posts at once; return what was stored for those that were."""
        numbers = self.append(*posts)
        await self.settle()
        fed = [each for batch in self.batches for each in batch if each[0] in numbers]
        return [stored for _, stored in fed if not isinstance(stored, Announced)]

    async def entry(self, post: Post) -> Entry:
        """Append a post; return its entry."""
        (stored,) = await self.commit(post)
        assert isinstance(stored, Entry), stored
        return stored

    async def account(self, name: str) -> Account:
        """Add an account."""
        account = await self.store.add_account(name, name, b"hash", NOW)
        assert isinstance(account, Account)
        return account

    async def accounts(self, *names: str) -> list[Account]:
        """Add accounts."""
        return [await self.account(name) for name in names]

    async def room(self, name: str, *members: Account) -> RoomRecord:
        """Make a room with members."""
        made = await self.entry(said(RoomRecord(0, "public", name), "", kind=CREATED))
        for account in members:
            await self.commit(stands(made.room, account, "member"))
        return made.room

    async def ask(self, limit: int = 10, of: Account | None = None, **asked: Any) -> Findings:
        """Ask the store."""
        findings = await self.store.ask(Question(limit, of.id if of else None, limit, **asked))
        assert isinstance(findings, Findings)
        return findings

    async def after(self, room: RoomRecord, seq: int = 0, limit: int = 100) -> Sequence[Entry]:
        """Read the newest entries of a room after one."""
        return (await self.ask(limit, rooms={room.id: seq})).rooms[room.id]

    async def unread(self, account: Account, limit: int = 10) -> list[str]:
        """Read the texts of unread private messages."""
        return texts((await self.ask(limit, account)).unread)

    async def news(self, account: Account, limit: int = 10) -> dict[int, tuple[int, int]]:
        """Read the news of an account: room id to the mark and the number of new messages."""
        found = (await self.ask(limit, account)).news
        return {each.room_id: (each.read_seq, each.new) for each in found}


class MemoryCase(StoreCase, TestCase):
    """A store in memory."""

    def setUp(self) -> None:
        self.store = self.new_store()
        super().setUp()

    def new_store(self) -> MemoryStore:
        """Make the store."""
        return MemoryStore()

    def open(self) -> None:
        self.take(self.store.open())
        self.store.subscribe(self.feed, self.lose)

    async def reopen(self) -> None:
        self.open()

    def hold(self) -> None:
        self.store.hold()

    def release(self) -> None:
        self.store.release()


class MemoryNodeCase(MemoryCase):
    """A store in memory that shares its log with others."""

    def new_store(self) -> MemoryStore:
        self.log = MemoryLog()
        return self.log.join()

    def other(self) -> Other:
        """Open the store of another node."""
        other = Other(self.log.join())
        other.store.open()
        other.store.subscribe(
            lambda batch: other.batches.append(list(batch)),
            lambda numbers, code: other.lost.extend(numbers),
        )
        return other

    async def die(self, other: Other) -> None:
        """Have another node die, and wait until that is known."""
        other.store.die()
        self.log.bury(other.store.node)

    async def mistake(self, other: Other) -> None:
        """Have another node that lives be taken for dead."""
        self.log.bury(other.store.node)


class _DatabaseCase(StoreCase, TestCase):
    """A store in a database.

    @ivar damages: why the database cannot be used any more.
    """

    @property
    def url(self) -> str:
        raise NotImplementedError

    def setUp(self) -> None:
        self.damages: list[str] = []
        super().setUp()
        self.addCleanup(lambda: Deferred.fromCoroutine(self.store.close()))

    def open(self) -> None:
        self.store = SqlStore(self.url, reactor)
        self.take(self.store.open())
        self.store.subscribe(self.feed, self.lose, self.damages.append)

    async def reopen(self) -> None:
        await self.store.close()
        self.open()

    async def settle(self) -> None:
        await self.store.settle()


class SqlCase(_DatabaseCase):
    """A store in an SQLite file.

    @ivar path: the file.
    """

    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        super().setUp()

    @property
    def url(self) -> str:
        return f"sqlite:///{self.path}"


class PostgresCase(_DatabaseCase):
    """A store in PostgreSQL."""

    def setUp(self) -> None:
        self._url = postgres.database(self)
        super().setUp()

    @property
    def url(self) -> str:
        return self._url


class PostgresNodeCase(PostgresCase):
    """A store in PostgreSQL that shares its database with others, and hands over what they have
    stored only when it stores something itself or is asked."""

    def setUp(self) -> None:
        self.patch(node, "_TICK", 10**9)
        super().setUp()

    def open(self) -> None:
        super().open()
        self.store._node._pull = lambda head=0: None

    def feed(self, batch: Sequence[tuple[int, Delivered]]) -> None:
        """Take what the store hands over. A node that starts need not wait for an answer."""
        super().feed(batch)
        if any(isinstance(each, Announced) and each.what == Asked() for _, each in batch):
            self.store.announce(Present((), begins=True, ends=True))

    def other(self) -> Other:
        other = Other(SqlStore(self.url, reactor))
        other.store.open()
        other.store.subscribe(
            lambda batch: other.batches.append(list(batch)),
            lambda numbers, code: other.lost.extend(numbers),
            self.damages.append,
        )
        self.addCleanup(lambda: Deferred.fromCoroutine(other.store.close()))
        return other

    async def die(self, other: Other) -> None:
        other.store._node.stop()
        await other.store._worker.run(other.store._database._link.drop, "it is dead")
        await self._evict(other)

    async def mistake(self, other: Other) -> None:
        await self._evict(other)
        other.store.announce(Asked())  # it finds that out when it stores something
        await other.store.settle()
        while other.store._node.outage.lasts:
            back: Deferred[None] = Deferred()
            reactor.callLater(0.01, back.callback, None)
            await back

    async def _evict(self, other: Other) -> None:
        number = other.store.node
        evicted = await self.store._worker.run(self.store._database.evict, [number])
        assert evicted == [number]
