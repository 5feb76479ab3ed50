"""What both stores do, that in SQLite and that in memory that the tests of the core stand on."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from tests.support import NOW, MemoryStore
from twisted_chat.core.model import Account, DirectMessage, Post, Stored
from twisted_chat.core.ports import Store

from .test_sql import StoreTestCase, _said, _texts, _told


class Contract:
    """The tests of a contract, mixed into a test case that has a store."""

    store: Any

    async def account(self, name: str) -> Account:
        raise NotImplementedError

    async def append(self, *posts: Post) -> list[Stored]:
        raise NotImplementedError

    def hold(self) -> None:
        """Have questions wait, if the store can."""

    def release(self) -> None:
        """Have them answered."""


class ReadMarks(Contract):
    """Read marks, and unread messages."""

    async def told(self, *texts: str) -> tuple[Account, list[int]]:
        """Send somebody private messages; return their account and the messages' ids."""
        alice, bob = [await self.account(name) for name in ("alice", "bob")]
        stored = await self.append(*(_told(alice, bob, text) for text in texts))
        return bob, [message.id for message in stored if message.id is not None]

    async def unread(self, account: Account, limit: int = 10) -> Sequence[str]:
        return _texts(await self.store.unread(account.id, limit))

    async def test_first_ones_after_the_mark(self) -> None:
        """Unread messages are those after the mark, oldest first."""
        bob, ids = await self.told("1", "2", "3")
        self.store.mark_read(bob.id, ids[0])
        assert await self.unread(bob) == ["2", "3"]
        assert await self.unread(bob, 1) == ["2"]

    async def test_mark_moves_forward_only(self) -> None:
        """A mark never moves back, also if two are set at once."""
        bob, ids = await self.told("1", "2", "3")
        self.store.mark_read(bob.id, ids[1])
        self.store.mark_read(bob.id, ids[0])
        assert await self.unread(bob) == ["3"]
        await self.append(_said(_LOBBY, "x"))
        self.store.mark_read(bob.id, ids[0])
        await self.append(_said(_LOBBY, "y"))
        assert await self.unread(bob) == ["3"]

    async def test_nobody_reads_what_is_not_there_yet(self) -> None:
        """A mark beyond the newest message is one at the newest."""
        bob, _ = await self.told("1")
        self.store.mark_read(bob.id, 10**17)
        await self.append(_said(_LOBBY, "x"))
        assert await self.unread(bob) == []
        alice = await self.store.find_account("alice")
        await self.append(_told(alice, bob, "2"))
        assert await self.unread(bob) == ["2"]

    async def test_question_is_answered_as_of_when_it_was_put(self) -> None:
        """A mark that is set while the question waits does not count; one that was set before
        does."""
        bob, ids = await self.told("1", "2")
        self.store.mark_read(bob.id, ids[0])
        self.hold()
        asked: list[Deferred[Sequence[DirectMessage]]] = []
        asked.append(Deferred.fromCoroutine(_unread(self.store, bob)))
        asked.append(Deferred.fromCoroutine(_caught_up(self.store, bob)))
        self.store.mark_read(bob.id, ids[1])
        self.release()
        assert [_texts(await each) for each in asked] == [["2"], ["2"]]
        assert await self.unread(bob) == []


class Labels(Contract):
    """Labels of messages."""

    label = "0123456789abcdef"

    async def test_label_is_kept(self) -> None:
        """A label comes back from the feed and with every replay; a message without one comes back
        without."""
        alice, bob = [await self.account(name) for name in ("alice", "bob")]
        said = [_said(_LOBBY, "x"), replace(_said(_LOBBY, "y"), label=self.label)]
        told = [_told(alice, bob, "x"), replace(_told(alice, bob, "y"), label="7")]
        stored = await self.append(*said, *told)
        assert [each.label for each in stored] == ["", self.label, "", "7"]
        assert [m.label for m in await self.store.history(_LOBBY, 10)] == ["", self.label]
        for messages in (
            await self.store.conversation(alice.id, bob.id, 10),
            await self.store.unread(bob.id, 10),
            (await self.store.catch_up(None, 0, alice.id, 0, 10))[1],
        ):
            assert [message.label for message in messages] == ["", "7"]

    async def test_latest_labels(self) -> None:
        """C{labels} reads the labelled messages of a time and later, in the order of the log."""
        alice, bob = [await self.account(name) for name in ("alice", "bob")]
        for time in NOW - 1, NOW:
            posts = _told(alice, bob, f"{time}", time=time), _said(_LOBBY, "x", time=time)
            await self.append(*(replace(post, label=self.label) for post in posts))
        await self.append(_said(_LOBBY, "y", time=NOW))
        told, said = await self.store.labels(NOW)
        assert (told.sender, told.text, told.label) == ("alice", f"{NOW}", self.label)
        assert (said.room, said.seq, said.author, said.text) == ("lobby", 2, "alice", "x")
        assert said.label == self.label
        assert await self.store.labels(NOW + 1) == []


async def _unread(store: Store, account: Account) -> Sequence[DirectMessage]:
    return await store.unread(account.id, 10)


async def _caught_up(store: Store, account: Account) -> Sequence[DirectMessage]:
    return (await store.catch_up(None, 0, account.id, None, 10))[1]


_LOBBY = MemoryStore().open()[0]


class MemoryTestCase(TestCase):
    """A store in memory."""

    def setUp(self) -> None:
        self.store = store = MemoryStore()
        self.fed: list[Stored] = []
        store.subscribe(
            lambda batch: self.fed.extend(stored for _, stored in batch), lambda posts: None
        )

    async def account(self, name: str) -> Account:
        account = await self.store.add_account(name, name, b"hash", NOW)
        assert isinstance(account, Account)
        return account

    async def append(self, *posts: Post) -> list[Stored]:
        before = len(self.fed)
        for post in posts:
            self.store.append(post)
        return self.fed[before:]

    def hold(self) -> None:
        self.store.hold()

    def release(self) -> None:
        self.store.release()


class SqlReadMarkTests(StoreTestCase, ReadMarks):
    """Read marks in SQLite."""


class SqlLabelTests(StoreTestCase, Labels):
    """Labels in SQLite."""


class MemoryReadMarkTests(MemoryTestCase, ReadMarks):
    """Read marks in memory."""


class MemoryLabelTests(MemoryTestCase, Labels):
    """Labels in memory."""
