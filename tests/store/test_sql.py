"""The log and the accounts in a real SQLite file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Connection
from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.trial.unittest import TestCase

from tests.support import NOW
from twisted_chat.core.errors import Refusal
from twisted_chat.core.model import (
    Account,
    DirectMessage,
    DirectPost,
    Message,
    Post,
    RoomPost,
    RoomRecord,
    Stored,
)
from twisted_chat.store import SqlStore, StoreError

_NOWHERE = RoomRecord(99, "nowhere", "nowhere", "", "")

reactor: Any = _reactor


def _said(room: RoomRecord, text: str, *, time: int = NOW, action: bool = False) -> RoomPost:
    return RoomPost(room.id, room.name, "alice", time, text, action, None)


def _told(sender: Account, recipient: Account, text: str, *, time: int = NOW) -> DirectPost:
    return DirectPost(sender.id, sender.name, recipient.id, recipient.name, time, text, None)


def _texts(messages: Sequence[Stored]) -> list[str]:
    return [message.text for message in messages]


class StoreTestCase(TestCase):
    """An open store on a fresh file.

    @ivar batches: what the feed handed over.
    @ivar lost: what could not be kept.
    @ivar damages: why the file cannot be used any more.
    """

    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.batches: list[list[tuple[Post, Stored]]] = []
        self.lost: list[Post] = []
        self.damages: list[str] = []
        self.open()
        self.addCleanup(lambda: Deferred.fromCoroutine(self.store.close()))

    def open(self) -> None:
        """Open the file."""
        self.store = SqlStore(f"sqlite:///{self.path}", reactor)
        self.rooms = {room.name: room for room in self.store.open()}
        self.lobby = self.rooms["lobby"]
        self.store.subscribe(
            lambda batch: self.batches.append(list(batch)), self.lost.extend, self.damages.append
        )

    async def reopen(self) -> None:
        """Close the store and open another on its file."""
        await self.store.close()
        self.open()

    @property
    def fed(self) -> list[Stored]:
        """All messages that the feed has handed over."""
        return [stored for batch in self.batches for _, stored in batch]

    async def append(self, *posts: Post) -> list[Stored]:
        """Append posts at once; return the messages that they have become."""
        before = len(self.fed)
        for post in posts:
            self.store.append(post)
        await self.store.settle()
        await self.store.find_account("nobody")  # what was committed before it is handed over
        return self.fed[before:]

    async def account(self, name: str) -> Account:
        """A new account."""
        account = await self.store.add_account(name, name, b"hash", NOW)
        assert account is not None
        return account

    async def room(self, name: str) -> RoomRecord:
        """A new room."""
        room = await self.store.add_room(name, name, NOW)
        assert room is not None
        return room

    async def pragma(self, name: str) -> object:
        """A setting of the connection that the store really uses."""

        def ask(connection: Connection) -> object:
            return connection.exec_driver_sql(f"PRAGMA {name}").scalar()

        return await self.store._run(ask)


class OpenTests(StoreTestCase):
    """Opening, reopening, and what cannot be opened."""

    def test_new_file_has_the_lobby(self) -> None:
        """A new file has the lobby, and no other room."""
        self.assertEqual(list(self.rooms.values()), [RoomRecord(1, "lobby", "lobby", "", "")])

    async def test_reopened_file_has_all_that_was_kept(self) -> None:
        """A file that is opened again has its rooms, topics, messages and accounts."""
        tea = await self.room("tea")
        await self.store.set_topic(tea.id, "Darjeeling", "alice")
        alice = await self.account("alice")
        stored = await self.append(_said(tea, "hello"))
        await self.reopen()
        self.assertEqual(self.rooms["tea"], RoomRecord(tea.id, "tea", "tea", "Darjeeling", "alice"))
        self.assertEqual(await self.store.history(tea, 10), stored)
        self.assertEqual(await self.store.find_account("alice"), alice)

    async def test_commits_reach_the_disk(self) -> None:
        """The connection uses WAL with C{synchronous=FULL}, foreign keys and an exclusive lock."""
        for name, value in (
            ("journal_mode", "wal"),
            ("synchronous", 2),  # FULL
            ("locking_mode", "exclusive"),
            ("foreign_keys", 1),
        ):
            self.assertEqual(await self.pragma(name), value)

    async def test_second_opener_is_refused(self) -> None:
        """A second process is refused with a sentence, and does no harm to the first."""
        second = SqlStore(f"sqlite:///{self.path}", reactor)
        self.addCleanup(second._pool.stop)  # if it could be opened after all
        error = self.assertRaises(StoreError, second.open)
        self.assertIn("another process has it open", str(error))
        self.assertIn(str(self.path), str(error))
        self.assertEqual(_texts(await self.append(_said(self.lobby, "hello"))), ["hello"])

    def test_unusable_paths_are_refused(self) -> None:
        """A file that is no database, a directory, and a path that cannot be made are refused."""
        junk = Path(self.mktemp())
        junk.write_text("this is no database. " * 100)
        directory = Path(self.mktemp())
        directory.mkdir()
        for path, reason in (
            (junk, "file is not a database"),
            (directory, "unable to open"),
            (directory / "no" / "such.db", "unable to open"),
            (junk / "chat.db", "unable to open"),
        ):
            error = self.assertRaises(StoreError, SqlStore(f"sqlite:///{path}", reactor).open)
            self.assertIn(f"{path}: {reason}", str(error))

    def test_unusable_urls_are_refused(self) -> None:
        """The URL of another database, and what is no URL, are refused with an example."""
        for url in ("postgresql://host/chat", "mysql://host/chat", "nonsense", ""):
            error = self.assertRaises(StoreError, SqlStore, url, reactor)
            self.assertIn("sqlite:///chat.db", str(error))


class LogTests(StoreTestCase):
    """Appending, and what comes back."""

    async def test_posts_come_back_as_they_were(self) -> None:
        """Each post comes back from the feed with its place and time, and the log has the same."""
        post = _said(self.lobby, "“wave” 👋\u200d", time=NOW + 1, action=True)
        (stored,) = await self.append(post)
        self.assertEqual(stored, Message(1, "lobby", 1, "alice", NOW + 1, "“wave” 👋\u200d", True))
        self.assertIs(self.batches[0][0][0], post)
        self.assertEqual(await self.store.history(self.lobby, 1), [stored])

    async def test_seq_has_no_gaps_and_ids_grow(self) -> None:
        """Each room has a gapless C{seq}, and ids grow over all rooms, also after reopening."""
        tea = await self.room("tea")
        for _ in range(2):
            await self.append(*(_said((self.lobby, tea)[n % 3 == 0], str(n)) for n in range(30)))
            await self.reopen()
        said = [message for message in self.fed if isinstance(message, Message)]
        self.assertEqual(_texts(said), [str(n) for n in range(30)] * 2)
        for room, count in (("lobby", 40), ("tea", 20)):
            seqs = [message.seq for message in said if message.room == room]
            self.assertEqual(seqs, list(range(1, count + 1)))
        ids = [message.id for message in said]
        self.assertEqual(ids, sorted(set(ids)))

    async def test_posts_during_a_commit_land_together(self) -> None:
        """The first post is committed at once; posts that come meanwhile are one commit."""
        await self.append(*(_said(self.lobby, str(n)) for n in range(101)))
        self.assertEqual([len(batch) for batch in self.batches], [1, 100])
        self.assertEqual(_texts(self.fed), [str(n) for n in range(101)])

    async def test_flood_is_cut_into_commits(self) -> None:
        """A flood of posts is cut into commits of bounded size, in order."""
        await self.append(*(_said(self.lobby, str(n)) for n in range(2500)))
        self.assertLessEqual(max(len(batch) for batch in self.batches), 1000)
        self.assertEqual(_texts(self.fed), [str(n) for n in range(2500)])

    async def test_history_gives_the_newest_oldest_first(self) -> None:
        """C{history} reads the newest messages of one room, oldest first."""
        tea = await self.room("tea")
        await self.append(*(_said((self.lobby, tea)[n % 2], str(n)) for n in range(10)))
        for limit, texts in ((3, "579"), (100, "13579"), (0, "")):
            self.assertEqual("".join(_texts(await self.store.history(tea, limit))), texts)

    async def test_answers_come_in_order_with_the_feed(self) -> None:
        """An answer knows exactly of the messages that the feed has handed over by then."""
        answers: list[Deferred[None]] = []

        async def ask() -> None:
            known = await self.store.history(self.lobby, 1000)
            self.assertEqual(known, self.fed)

        for n in range(200):
            self.store.append(_said(self.lobby, str(n)))
            answers.append(Deferred.fromCoroutine(ask()))
            if n % 7 == 0:
                await self.store.find_account("nobody")
        await gatherResults(answers)

    async def test_failing_commit_is_lost_and_the_store_goes_on(self) -> None:
        """The sender of a lost post is told, and the next post has no gap before it."""
        lost = _said(_NOWHERE, "to a room that is not there")
        await self.append(_said(self.lobby, "1"))
        self.assertEqual(await self.append(lost), [])
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.assertEqual(self.lost, [lost])
        (stored,) = await self.append(_said(self.lobby, "2"))
        assert isinstance(stored, Message)
        self.assertEqual((stored.id, stored.seq), (2, 2))

    async def test_commit_fails_as_a_whole(self) -> None:
        """If a commit fails, none of its posts is kept, now or later."""
        posts = [_said(self.lobby, str(n)) for n in range(3)] + [_said(_NOWHERE, "nowhere")]
        fed = await self.append(*posts)
        self.flushLoggedErrors(ValueError)
        self.assertEqual((_texts(fed), self.lost), (["0"], posts[1:]))
        self.assertEqual(await self.store.history(self.lobby, 10), fed)

    async def test_close_commits_what_was_accepted(self) -> None:
        """Closing commits all posts that were accepted."""
        for n in range(1500):
            self.store.append(_said(self.lobby, str(n)))
        await self.reopen()
        history = await self.store.history(self.lobby, 2000)
        self.assertEqual(_texts(history), [str(n) for n in range(1500)])

    async def test_question_behind_the_end_is_refused(self) -> None:
        """A question after closing is refused with C{closed}."""
        closing = Deferred.fromCoroutine(self.store.close())
        asked: Deferred[object] = Deferred.fromCoroutine(self.store.find_account("alice"))
        asked.addErrback(lambda failure: failure.value)
        await closing
        self.open()
        refusal = await asked
        assert isinstance(refusal, Refusal), refusal
        self.assertEqual(refusal.code, "closed")

    async def test_settle_waits_for_all_commits(self) -> None:
        """C{settle} waits for all commits, also those that had not begun."""
        for n in range(1500):
            self.store.append(_said(self.lobby, str(n)))
        await gatherResults([Deferred.fromCoroutine(self.store.settle()) for _ in range(2)])
        self.assertEqual(len(await self.store.history(self.lobby, 2000)), 1500)
        await self.store.settle()


class DirectTests(StoreTestCase):
    """Private messages."""

    async def test_conversation_has_both_sides_and_nobody_else(self) -> None:
        """C{conversation} reads the newest messages between two accounts, oldest first."""
        alice, bob, carol = [await self.account(name) for name in ("alice", "bob", "carol")]
        stored = await self.append(
            _told(alice, bob, "1"), _told(bob, alice, "2"), _told(carol, alice, "3")
        )
        self.assertEqual(stored[0], DirectMessage(1, "alice", "bob", NOW, "1"))
        for one, other in ((alice, bob), (bob, alice)):
            self.assertEqual(await self.store.conversation(one.id, other.id, 10), stored[:2])
        self.assertEqual(await self.store.conversation(alice.id, bob.id, 1), stored[1:2])
        self.assertEqual(await self.store.conversation(bob.id, carol.id, 10), [])

    async def test_unread_is_what_came_after_the_last_that_was_read(self) -> None:
        """C{unread} reads messages to the account after its mark, also after reopening."""
        alice, bob = [await self.account(name) for name in ("alice", "bob")]
        stored = await self.append(
            _told(alice, bob, "1"), _told(bob, alice, "2"), _told(alice, bob, "3")
        )
        self.assertEqual(_texts(await self.store.unread(bob.id, 10)), ["1", "3"])
        self.assertEqual(_texts(await self.store.unread(bob.id, 1)), ["1"])
        assert isinstance(stored[0], DirectMessage)
        assert stored[0].id is not None
        self.store.mark_read(bob.id, stored[0].id)
        await self.reopen()
        self.assertEqual(_texts(await self.store.unread(bob.id, 10)), ["3"])
        self.assertEqual(_texts(await self.store.unread(alice.id, 10)), ["2"])

    async def test_mark_read_during_a_commit_is_not_forgotten(self) -> None:
        """A mark that is set during a commit goes into the next one."""
        alice, bob = [await self.account(name) for name in ("alice", "bob")]
        self.store.append(_told(alice, bob, "1"))
        self.store.mark_read(bob.id, 1)
        self.store.mark_read(alice.id, 1)
        await self.store.settle()
        self.assertEqual(await self.store.unread(bob.id, 10), [])

    async def test_message_with_a_guest_keeps_its_place_only(self) -> None:
        """A message with a guest comes back in its place, without an id, and is not in the file."""
        alice, bob = [await self.account(name) for name in ("alice", "bob")]
        to_guest = DirectPost(alice.id, "alice", None, "gil", NOW, "2", None)
        from_guest = DirectPost(None, "gil", alice.id, "alice", NOW, "3", None)
        stored = await self.append(
            _said(self.lobby, "1"), to_guest, from_guest, _told(alice, bob, "4")
        )
        self.assertEqual(_texts(stored), ["1", "2", "3", "4"])
        self.assertEqual(
            stored[1:3],
            [
                DirectMessage(None, "alice", "gil", NOW, "2"),
                DirectMessage(None, "gil", "alice", NOW, "3"),
            ],
        )
        self.assertEqual(await self.store.unread(alice.id, 10), [])


class AccountTests(StoreTestCase):
    """Accounts."""

    async def test_account_is_found_by_name_and_by_look(self) -> None:
        """An account is found by its name and by its skeleton."""
        alice = await self.store.add_account("alice", "a1ice", b"\x00hash", NOW)
        self.assertEqual(await self.store.find_account("alice"), alice)
        self.assertEqual(await self.store.find_look_alike("a1ice"), "alice")
        self.assertIsNone(await self.store.find_account("a1ice"))
        self.assertIsNone(await self.store.find_look_alike("alice"))

    async def test_name_and_look_are_unique(self) -> None:
        """A name, and a skeleton, has one account, also if two are added at once."""
        first, same_name, same_look = await gatherResults(
            Deferred.fromCoroutine(self.store.add_account(name, look, password, NOW))
            for name, look, password in (
                ("alice", "a1ice", b"1"),
                ("alice", "other", b"2"),
                ("other", "a1ice", b"3"),
            )
        )
        self.assertEqual((same_name, same_look), (None, None))
        self.assertEqual(await self.store.find_account("alice"), first)

    async def test_password_can_be_set(self) -> None:
        """Setting a password changes the one account."""
        alice, bob = [await self.account(name) for name in ("alice", "bob")]
        self.assertTrue(await self.store.set_password(alice.id, alice.password_hash, b"new"))
        self.assertEqual(await self.store.find_account("alice"), Account(alice.id, "alice", b"new"))
        self.assertEqual(await self.store.find_account("bob"), bob)

    async def test_password_that_is_another_by_now_stays(self) -> None:
        """Of two changes that replace the same hash, the first is made."""
        alice = await self.account("alice")
        set_ = [
            await self.store.set_password(alice.id, alice.password_hash, each)
            for each in (b"first", b"second")
        ]
        self.assertEqual(set_, [True, False])
        found = await self.store.find_account("alice")
        self.assertEqual(found, Account(alice.id, "alice", b"first"))

    async def test_how_passwords_are_hashed(self) -> None:
        """The store lists the beginnings of all hashes, each once."""
        self.assertEqual(self.store.password_hashes, [])
        for name, cost in (("alice", b"04"), ("bob", b"12"), ("carol", b"04")):
            await self.store.add_account(name, name, b"$2b$" + cost + b"$" + name.encode(), NOW)
        await self.reopen()
        self.assertEqual(sorted(self.store.password_hashes), [b"$2b$04$", b"$2b$12$"])


class RoomTests(StoreTestCase):
    """Rooms."""

    async def test_name_and_look_are_unique(self) -> None:
        """A name, and a skeleton, has one room, the lobby included."""
        await self.room("tea")
        for name, look in (("tea", "other"), ("other", "tea"), ("lobby", "lobby")):
            self.assertIsNone(await self.store.add_room(name, look, NOW))

    async def test_failed_attempt_leaves_the_rooms_alone(self) -> None:
        """After a room could not be added, C{seq} goes on without a gap."""
        tea = await self.room("tea")
        await self.append(_said(tea, "1"))
        await self.store.add_room("tea", "tea", NOW)
        (stored,) = await self.append(_said(tea, "2"))
        assert isinstance(stored, Message)
        self.assertEqual(stored.seq, 2)


class PruneTests(StoreTestCase):
    """Deleting old messages."""

    async def test_only_what_is_old_is_deleted(self) -> None:
        """Old messages of rooms and old private ones are deleted, over several transactions, and
        counted."""
        alice, bob = [await self.account(name) for name in ("alice", "bob")]
        await self.append(
            *(_said(self.lobby, "old", time=NOW - 1) for _ in range(1500)),
            _said(self.lobby, "new"),
            _told(alice, bob, "old", time=NOW - 1),
            _told(alice, bob, "new"),
        )
        self.assertEqual(await self.store.prune(NOW), 1501)
        self.assertEqual(_texts(await self.store.history(self.lobby, 10)), ["new"])
        self.assertEqual(_texts(await self.store.unread(bob.id, 10)), ["new"])
        self.assertEqual(await self.store.prune(NOW), 0)

    async def test_numbers_go_on_after_all_was_deleted(self) -> None:
        """After all messages were deleted no id and no C{seq} is used again, also after
        reopening."""
        await self.append(*(_said(self.lobby, str(n)) for n in range(3)))
        await self.store.prune(NOW + 1)
        await self.reopen()
        (stored,) = await self.append(_said(self.lobby, "3"))
        assert isinstance(stored, Message)
        self.assertEqual((stored.id, stored.seq), (4, 4))


class FaultTests(StoreTestCase):
    """Former defects."""

    async def test_settle_hands_over_before_it_returns(self) -> None:
        """C{settle} returns after the posts were delivered."""
        self.store.append(_said(self.lobby, "last words"))
        await self.store.settle()
        self.assertEqual(len(self.fed), 1)

    async def test_what_was_read_a_moment_ago_is_not_unread(self) -> None:
        """A mark counts at once, although it waits behind a commit."""
        alice, bob = [await self.account(name) for name in ("alice", "bob")]
        unread: list[Deferred[Sequence[DirectMessage]]] = []

        def feed(batch: Sequence[tuple[Post, Stored]]) -> None:
            for _, stored in batch:
                if stored.text == "psst":
                    assert stored.id is not None
                    self.store.mark_read(bob.id, stored.id)
                    unread.append(Deferred.fromCoroutine(self.store.unread(bob.id, 10)))

        self.store.subscribe(feed, self.lost.extend, self.damages.append)
        self.store.append(_told(alice, bob, "psst"))
        self.store.append(_said(self.lobby, "keeps the thread busy"))
        await self.store.settle()
        self.assertEqual(await unread[0], [])

    def test_urls_that_nearly_work(self) -> None:
        """URLs that nearly work are refused with a sentence."""
        for url in (
            "sqlite://chat.db",
            "sqlite+aiosqlite:///a.db",
            "sqlite:///a.db?timeout=abc",
            "sqlite://u:p@h:abc/x",
        ):
            self.assertRaises(StoreError, SqlStore, url, reactor)
