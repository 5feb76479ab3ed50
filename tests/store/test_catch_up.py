"""What came after something, from a real SQLite file."""

from twisted.internet.defer import Deferred

from .test_sql import StoreTestCase, _said, _texts, _told


class CatchUpTests(StoreTestCase):
    """Reading the log from a resume point."""

    async def test_room(self) -> None:
        """C{catch_up} reads the last messages of a room after a C{seq}."""
        tea = await self.room("tea")
        await self.append(
            *(_said(room, f"{room.name} {n}") for n in "123" for room in (tea, self.lobby))
        )
        messages, direct = await self.store.catch_up(tea, 1, None, None, 10)
        self.assertEqual((_texts(messages), direct), (["tea 2", "tea 3"], []))
        messages, _ = await self.store.catch_up(tea, 0, None, None, 2)
        self.assertEqual(_texts(messages), ["tea 2", "tea 3"])
        self.assertEqual((await self.store.catch_up(tea, 3, None, None, 10))[0], [])
        self.assertEqual((await self.store.catch_up(tea, 10**18 - 1, None, None, 10))[0], [])

    async def test_private_messages(self) -> None:
        """C{catch_up} reads the last private messages of an account after an id, sent and received,
        or the unread ones."""
        alice, bob, carol = [await self.account(name) for name in ("alice", "bob", "carol")]
        stored = await self.append(
            _told(alice, bob, "1"),
            _told(bob, alice, "2"),
            _told(carol, bob, "3"),
            _told(alice, carol, "4"),
        )
        first = stored[0].id
        assert first is not None
        direct = (await self.store.catch_up(None, 0, alice.id, 0, 10))[1]
        self.assertEqual(_texts(direct), ["1", "2", "4"])
        direct = (await self.store.catch_up(None, 0, alice.id, first, 10))[1]
        self.assertEqual(_texts(direct), ["2", "4"])
        self.assertEqual(_texts((await self.store.catch_up(None, 0, alice.id, 0, 1))[1]), ["4"])
        messages, unread = await self.store.catch_up(self.lobby, 0, bob.id, None, 10)
        self.assertEqual((messages, _texts(unread)), ([], ["1", "3"]))

    async def test_what_was_accepted_before_is_in_it(self) -> None:
        """Posts that were accepted before the question are in the answer, and later ones in the
        feed: no gap, no double."""
        for n in range(3):
            for _ in range(700):  # more than one commit takes
                self.store.append(_said(self.lobby, "x"))
            asked = Deferred.fromCoroutine(self.store.catch_up(self.lobby, 0, None, None, 10**6))
            for _ in range(700):
                self.store.append(_said(self.lobby, "y"))
            messages, _ = await asked
            fed = len(self.fed)
            self.assertGreaterEqual(len(messages), n * 1400 + 700)
            await self.store.settle()
            await self.store.find_account("nobody")
            seqs = [message.seq for message in messages]
            later = [stored.seq for stored in self.fed[fed:]]  # type: ignore[union-attr]
            self.assertEqual(seqs + later, list(range(1, (n + 1) * 1400 + 1)))
