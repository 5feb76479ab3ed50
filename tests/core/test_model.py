"""Values: private conversations and standings."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.support import NOW
from twisted_chat.core.model import (
    CREATED,
    MEMBER,
    ROLES,
    SAID,
    Account,
    Entry,
    RoomRecord,
    Standing,
    conversation,
)

ALICE, BOB = Account(1, "alice"), Account(2, "bob")
TEA = RoomRecord(7, "public", "tea")


class StandingTests(SynchronousTestCase):
    """What C{member} entries say."""

    @given(st.integers(1), st.text(), st.sampled_from((*ROLES, None)))
    def test_read_as_written(self, id: int, name: str, role: object) -> None:
        """A standing is read from the text of an entry as it was written, whatever the name."""
        standing = Standing(Account(id, name), role)  # type: ignore[arg-type]
        self.assertEqual(Standing.decode(standing.encode()), standing)

    def test_newer_version(self) -> None:
        """Fields that a newer version has added are ignored."""
        text = '{"account":1,"name":"alice","role":"voice","until":5}'
        self.assertEqual(Standing.decode(text), Standing(ALICE, "voice"))

    def test_no_standing(self) -> None:
        """What is no standing, or has an unknown role, is refused as a C{ValueError}."""
        for text in (
            "",
            "no standing",
            "[]",
            "7",
            "null",
            "{}",
            '{"account":1,"name":"alice"}',
            '{"name":"alice","role":"owner"}',
            '{"account":1,"name":"alice","role":"emperor"}',
            '{"account":1,"name":"alice","role":["owner"]}',
        ):
            self.assertRaises(ValueError, Standing.decode, text)

    def test_of_an_entry(self) -> None:
        """An entry makes its account what it says; whoever makes a room is its owner, unless they
        are a guest."""
        voice = Standing(BOB, "voice")
        for kind, author_id, text, expected in (
            (MEMBER, 1, voice.encode(), voice),
            (CREATED, 1, "", Standing(ALICE, "owner")),
            (CREATED, None, "", None),
        ):
            entry = Entry(5, TEA, 1, kind, author_id, "alice", NOW, text)
            self.assertEqual(entry.standing, expected)


class ConversationTests(SynchronousTestCase):
    """Private conversations of two accounts."""

    def test_is_the_same_for_both(self) -> None:
        """Both parties have the same record, with the smaller id first."""
        record = conversation(BOB, ALICE)
        self.assertEqual(record, conversation(ALICE, BOB))
        self.assertEqual((record.kind, record.parties), ("direct", (ALICE, BOB)))

    def test_other(self) -> None:
        """Each party's other is the other one; of a conversation with oneself, it is oneself."""
        record = conversation(ALICE, BOB)
        self.assertEqual((record.other(ALICE.id), record.other(BOB.id)), (BOB, ALICE))
        self.assertEqual(conversation(ALICE, ALICE).other(ALICE.id), ALICE)

    def test_recipient(self) -> None:
        """A private message is for the party that did not write it."""
        record = conversation(ALICE, BOB)
        for author, recipient in (ALICE, BOB), (BOB, ALICE):
            entry = Entry(5, record, 1, SAID, author.id, author.name, NOW, "psst")
            self.assertEqual(entry.recipient, recipient.name)
