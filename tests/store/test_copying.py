"""What has become of the contents of a database of version 0.1."""

from typing import NamedTuple

from sqlalchemy import Connection, text
from twisted.logger import capturedLogs, formatEvent

from tests.contract.cases import SqlCase, said, told
from tests.store.databases import directory, restore
from twisted_chat.core.model import Account, Entry, RoomRecord, RoomState
from twisted_chat.store import copying

_T = 1_700_000_000_000
"""When the first account was made."""

_ALICE = Account(1, "alice")
_BOB = Account(2, "bob")
_CAROL = Account(3, "carol")
_DAVE = Account(4, "dave")

_LOBBY = RoomRecord(1, "public", "lobby")
_DEV = RoomRecord(2, "public", "dev")


class _Line(NamedTuple):
    """An entry without its room. C{late}: milliseconds after L{_T}."""

    id: int
    seq: int
    author_id: int | None
    author: str
    late: int
    text: str
    kind: str = "said"
    label: str = ""


def _lines(entries: "tuple[Entry, ...]") -> list[_Line]:
    return [
        _Line(e.id, e.seq, e.author_id, e.author, e.time - _T, e.text, e.kind, e.label)
        for e in entries
    ]


class OldCase(SqlCase):
    """A store that was opened on a database of version 0.1, in pieces of a few rows."""

    schema = "0004"
    changes: tuple[str, ...] = ()

    def open(self) -> None:
        if not self.path.exists():
            self.path = directory(self) / "chat.db"
            self.patch(copying, "PIECE", 4)
            restore(self.schema, self.path, *self.changes)
        super().open()


class ContentsTests(OldCase):
    """Everything is where it was."""

    def test_rooms(self) -> None:
        """Rooms keep their ids, topics and counts, also those whose messages were deleted and those
        whose names look alike."""
        self.assertEqual(
            self.states,
            {
                "lobby": RoomState(_LOBBY, last_seq=9),
                "dev": RoomState(_DEV, "release on friday", "alice", 3),
                "attic": RoomState(RoomRecord(3, "public", "attic"), last_seq=1),
                "caf\xe9": RoomState(RoomRecord(4, "public", "caf\xe9"), "", "alice"),
                "\u0501ev": RoomState(RoomRecord(9, "public", "\u0501ev"), "not dev", "dave"),
            },
        )

    async def test_messages(self) -> None:
        """Messages keep their ids, places and labels. Their times grow within a room. A guest whose
        name was registered later does not become that account."""
        self.assertEqual(
            _lines(await self.store.history(1, 100)),
            [
                _Line(4, 3, 1, "alice", 100, "hello", label="alice-0001"),
                _Line(5, 4, None, "bob", 101, "hi, I am a guest"),
                _Line(6, 5, None, "bob", 102, "waves", "action"),
                _Line(8, 6, 2, "bob", 500, "now I am bob"),
                _Line(21, 7, None, "\u0431\u043e\u0431", 650, "a look-alike guest"),
                _Line(22, 8, 4, "dave", 700, "bye", label="dave-0001"),
                _Line(23, 9, 4, "dave", 701, "bye again"),
            ],
        )
        self.assertEqual(
            _lines(await self.store.history(2, 100)),
            [
                _Line(7, 1, None, "bob", 110, "anybody?"),
                _Line(
                    *(9, 2, 1, "alice", 510, "reviews", "action"),
                    label="alice-0002-long-label-to-repeat",
                ),
                _Line(14, 3, 3, "carol", 540, "\u4f60\u597d \U0001f600"),
            ],
        )
        for nothing in 3, 4, 9:
            self.assertEqual(await self.store.history(nothing, 100), ())

    async def test_resume_points(self) -> None:
        """A point in a room means what it meant."""
        asked = {1: 7, 2: 3, 3: 0}
        found = await self.ask(rooms=asked)
        ids = {room: [entry.id for entry in entries] for room, entries in found.rooms.items()}
        self.assertEqual(ids, {1: [22, 23], 2: [], 3: []})

    async def test_conversations(self) -> None:
        """Private messages are the entries of their conversation, in the order of the log."""
        asked = {"alice": 0, "bob": 0, "carol": 0, "dave": 0}
        found = (await self.ask(direct=asked, direct_of=1)).direct
        self.assertEqual(
            {name: _lines(entries) for name, entries in found.items()},
            {
                "bob": [
                    _Line(10, 1, 1, "alice", 520, "psst", label="alice-0003"),
                    _Line(11, 2, 2, "bob", 521, "what?"),
                    _Line(15, 3, 2, "bob", 600, "are you there?"),
                    _Line(20, 4, 1, "alice", 640, ""),
                ],
                "alice": [_Line(13, 1, 1, "alice", 530, "buy milk")],
                "carol": [
                    _Line(16, 1, 3, "carol", 610, "lunch?"),
                    _Line(17, 2, 1, "alice", 611, "yes"),
                ],
            },
        )
        parties = {
            name: (entries[0].room.kind, entries[0].room.parties) for name, entries in found.items()
        }
        self.assertEqual(
            parties,
            {
                "bob": ("direct", (_ALICE, _BOB)),
                "alice": ("direct", (_ALICE, _ALICE)),
                "carol": ("direct", (_ALICE, _CAROL)),
            },
        )

    async def test_unread(self) -> None:
        """What was unread is unread, and nothing else: notes to oneself as before, what one has
        sent never, and all of the lobby is seen."""
        unread = {
            account.name: [entry.id for entry in (await self.ask(of=account)).unread]
            for account in (_ALICE, _BOB, _CAROL, _DAVE)
        }
        self.assertEqual(
            unread, {"alice": [13, 15, 16], "bob": [18, 19, 20], "carol": [], "dave": []}
        )
        for account in _ALICE, _BOB, _CAROL, _DAVE:
            self.assertEqual(await self.news(account), {})

    async def test_accounts(self) -> None:
        """Accounts keep their ids and passwords, and names that look alike stay."""
        for account in _ALICE, _BOB, _CAROL, _DAVE, Account(9, "ca\uab81ol"):
            self.assertEqual(await self.store.find_account(account.name), account)
        password = await self.store.find_password("bob")
        self.assertEqual(password.account, _BOB)
        self.assertEqual(password.password_hash, b"$2b$04$" + b"bob".ljust(53, b"."))
        self.assertEqual(await self.store.find_look_alike("carol"), "carol")

    async def test_labels(self) -> None:
        """Labels are found from a time on."""
        found = await self.store.labels(_T + 510)
        self.assertEqual(
            [entry.label for entry in found],
            ["alice-0002-long-label-to-repeat", "alice-0003", "dave-0001"],
        )

    async def test_log_goes_on(self) -> None:
        """New entries get ids that were never used, and the next place of their room or
        conversation, also where the last messages were deleted; a mark moves on."""
        self.store.mark_read(1, 1, 9)
        attic = self.states["attic"].record
        posts = said(_LOBBY, "x", _BOB, time=_T), said(attic, "x"), told(_BOB, _ALICE, "x", time=_T)
        kept = [(await self.entry(post)) for post in posts]
        places = [(entry.id, entry.seq) for entry in kept]
        self.assertEqual(places, [(24, 10), (25, 2), (26, 5)])
        self.assertEqual(kept[0].time, _T + 702)
        self.assertEqual(kept[2].time, _T + 641)
        self.assertEqual(await self.news(_ALICE), {1: (9, 1)})
        self.assertEqual((await self.account("erin")).id, 10)


class FirstSchemaTests(OldCase):
    """A database of the first schema."""

    schema = "0001"

    def open(self) -> None:
        with capturedLogs() as logged:
            super().open()
        self.lines = [formatEvent(event) for event in logged]

    async def test_look_alikes(self) -> None:
        """Skeletons are computed anew, also if two rows swap theirs. A name that looks like an
        older one stays, and is logged."""
        looks = {
            **{"alice": "alice", "bob": "bob", "carol": "carol", "carol 4": "ca\uab81ol"},
            **{"da\u0307n": "d\xe5n"},
        }
        for skeleton, name in looks.items():
            self.assertEqual(await self.store.find_look_alike(skeleton), name)
        self.assertEqual(set(self.states), {"lobby", "se\uab81ver", "server"})
        self.assertEqual(
            [line for line in self.lines if "looks like" in line],
            [
                "rooms: server looks like se\uab81ver, which is older; both are kept",
                "accounts: ca\uab81ol looks like carol, which is older; both are kept",
            ],
        )

    async def test_contents(self) -> None:
        """Messages and read marks are where they were, without labels, and the log goes on."""
        found = await self.ask(of=_ALICE, rooms={1: 0, 2: 0}, direct={"alice": 0}, direct_of=4)
        entries = *found.rooms[1], *found.rooms[2], *found.direct["alice"]
        self.assertEqual(
            [(e.id, e.seq, e.kind, e.author_id, e.author, e.time, e.text) for e in entries],
            [
                (1, 1, "said", 1, "alice", 7, "hello"),
                (2, 1, "action", None, "guest1", 7, "waves"),
                (3, 1, "said", 4, "ca\uab81ol", 8, "psst"),
                (4, 2, "said", 1, "alice", 9, "hm"),
            ],
        )
        self.assertEqual(found.unread, ())
        unread = (await self.ask(of=Account(4, "ca\uab81ol"))).unread
        self.assertEqual([entry.id for entry in unread], [4])
        self.assertEqual((await self.entry(said(_LOBBY, "x"))).id, 5)


class AstrayTests(OldCase):
    """Operators delete accounts and rooms by hand, without their messages."""

    changes = (
        "DELETE FROM rooms WHERE id = 9",
        "INSERT INTO messages VALUES (24, 9, 1, 'dave', 1700000000800, 'of no room', 0, NULL)",
        "INSERT INTO messages VALUES (25, 5, 1, 'dave', 1700000000800, 'of no room', 0, NULL)",
        "UPDATE log_head SET last_id = 25",
        "DELETE FROM accounts WHERE id = 3",
    )

    def open(self) -> None:
        with capturedLogs() as logged:
            super().open()
        self.lines = [formatEvent(event) for event in logged]

    async def test_messages_without_a_room_or_account(self) -> None:
        """Such messages are left out and counted in the log. None of them gets into another room,
        which may have the id now."""
        self.assertIn(
            "5 messages are not in the upgraded database, as their rooms or accounts were deleted",
            self.lines,
        )

        def read(connection: Connection) -> list[int]:
            return list(connection.scalars(text("SELECT id FROM entries ORDER BY id")))

        ids = await self.store._read(read)
        self.assertEqual(ids, [4, 5, 6, 7, 8, 9, 10, 11, 13, 14, 15, 19, 20, 21, 22, 23])
        carol = (await self.store.history(2, 1))[0]
        self.assertEqual((carol.author_id, carol.author), (None, "carol"))
        self.assertEqual((await self.entry(said(_LOBBY, "x"))).id, 26)
