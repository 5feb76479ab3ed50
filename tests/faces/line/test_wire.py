"""Events in, lines out."""

import json
import os
import time
import unicodedata
from datetime import datetime, timezone
from typing import Any, get_args

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twisted_chat.core import events as e
from twisted_chat.core.errors import Refusal
from twisted_chat.core.model import (
    ACTION,
    SAID,
    TOPIC,
    Account,
    Aside,
    Entry,
    RoomRecord,
    Standing,
    conversation,
)
from twisted_chat.core.text import clean
from twisted_chat.faces.line import wire
from twisted_chat.faces.line.wire import JsonFormat, TextFormat
from twisted_chat.protocol.commands import COMMANDS

NOW = 1_700_000_000_123
STAMP = "2023-11-14T22:13:20.123Z"
CLOCK = "22:13"
DAY = 86_400_000


ALICE, BOB = Account(1, "alice"), Account(2, "bob")


def entry(
    text: str = "hi", room: str = "lobby", at: int = NOW, kind: str = SAID, label: str = ""
) -> Entry:
    """An entry of a room, by alice."""
    record = RoomRecord(1, "public", room)
    return Entry(7, record, 3, kind, ALICE.id, ALICE.name, at, text, label=label)


def said(
    text: str = "hi", room: str = "lobby", at: int = NOW, action: bool = False, replay: bool = False
) -> e.Said:
    """Alice said something."""
    return e.Said(NOW, entry(text, room, at, ACTION if action else SAID), replay)


def private(text: str = "psst", at: int = NOW, label: str = "") -> Entry:
    """An entry of the private conversation of alice and bob, by alice."""
    return Entry(8, conversation(ALICE, BOB), 2, SAID, ALICE.id, ALICE.name, at, text, label=label)


def told(text: str = "psst", at: int = NOW, outgoing: bool = False, replay: bool = False) -> e.Told:
    """Alice told bob something."""
    return e.Told(NOW, private(text, at), outgoing, replay)


def topic(text: str, room: str = "lobby", replay: bool = False) -> e.Topic:
    """Alice set or cleared the topic of a room."""
    return e.Topic(NOW, room, text, "alice", entry(text, room, kind=TOPIC), replay)


def place(room: str, new: int = 0, *, more: bool = False) -> e.Place:
    """A room with two people, and with so many new messages."""
    return e.Place(room, 2, "", 20, 20 - new, new, more)


def with_text(text: str) -> tuple[e.Event, ...]:
    """One event of each kind that carries what people typed, with this in it."""
    return (
        said(text),
        said(text, action=True),
        told(text),
        topic(text),
        e.Topic(NOW, "lobby", text, "alice"),
        e.Rooms(NOW, (("tea", 2, text),)),
        e.History(NOW, "lobby", (said(text, at=NOW - DAY, replay=True),)),
        e.Refused(NOW, "no-such-person", f'no one here is called "{text}"', "/dm"),
        e.Notice(NOW, text),
        e.Bye(NOW, text),
    )


EVERY_KIND: tuple[e.Event, ...] = (
    e.Welcome(NOW, "alice", True, "lobby", 0),
    e.Motd(NOW, ("be kind", "and brief")),
    said(),
    told(),
    e.Joined(NOW, "lobby", (("bob", True),)),
    e.Left(NOW, "lobby", ("bob",)),
    e.Renamed(NOW, "guest1", "bob", account=True),
    e.Topic(NOW, "tea", "cake", "alice"),
    e.Users(NOW, "lobby", (("alice", True),)),
    e.Crowd(NOW, "tea", 51),
    e.Rooms(NOW, (("lobby", 1, ""),)),
    e.Members(NOW, "tea", 4, (Standing(BOB, "member"),)),
    e.Read(NOW, "tea", 4),
    e.Back(NOW, (place("lobby"), place("tea", 14))),
    e.Where(NOW, "tea", (place("lobby"), place("tea"))),
    e.History(NOW, "lobby", (said(replay=True),)),
    e.Unread(NOW, 3, False, True),
    e.Omitted(NOW),
    e.Away(NOW, "bob", True),
    e.NotKept(NOW),
    e.Talking(NOW, "tea"),
    e.Help(NOW, (e.HelpEntry("/users [ROOM]", ("/who",), "who is here"),)),
    e.Skipped(NOW, 412),
    e.Refused(NOW, "no-such-room", "there is no such room", "/join", "7", {"name": "x"}),
    e.Done(NOW, "7", room="tea", seq=3, id=5),
    e.Answer(e.Away(NOW, "bob", False), "7"),
    e.Notice(NOW, "hm"),
    e.Ping(NOW),
    e.Bye(NOW, "bye"),
)


@st.composite
def _safe(draw: st.DrawFn) -> str:
    """Text as the core lets it through."""
    try:
        return clean(draw(st.text(st.characters(exclude_categories=["Cs"]))))
    except Refusal:
        return "refused"


class InUTC(SynchronousTestCase):
    """Tests on a server whose clock shows UTC."""

    def setUp(self) -> None:
        before = os.environ.get("TZ")
        self.addCleanup(self.use, before)
        self.use("UTC")

    def use(self, zone: str | None) -> None:
        """Make this the server's time zone."""
        os.environ.pop("TZ", None)
        if zone is not None:
            os.environ["TZ"] = zone
        time.tzset()
        wire._local_minute.cache_clear()


class TextFormatTests(InUTC):
    """Events as lines for people."""

    def lines(self, *events: e.Event) -> list[str]:
        """The lines that the events become."""
        encoded = TextFormat().encode(events).decode()
        self.assertTrue(encoded.endswith("\n") or not encoded)
        return encoded.split("\n")[:-1]

    def check(self, event: e.Event, *lines: str) -> None:
        """The event becomes these lines."""
        self.assertEqual(self.lines(event), list(lines))

    def test_every_event_can_be_shown(self) -> None:
        """Each kind of event becomes lines, but what only programs are told."""
        self.assertEqual({type(event) for event in EVERY_KIND}, set(get_args(e.Event)))
        unseen = e.Ping | e.Done | e.Members | e.Read
        for event in EVERY_KIND:
            self.assertEqual(bool(self.lines(event)), not isinstance(event, unseen), event)

    def test_said_in_the_lobby(self) -> None:
        """A message in the lobby shows the time, the author and the text."""
        self.check(said("hi"), f"[{CLOCK}] alice: hi")

    def test_said_in_a_room(self) -> None:
        """A message in another room also shows the room."""
        self.check(said("hi", "tea"), f"[{CLOCK}] #tea alice: hi")

    def test_action(self) -> None:
        """An action reads as a sentence."""
        self.check(said("waves", action=True), f"[{CLOCK}] * alice waves")
        self.check(said("waves", "tea", action=True), f"[{CLOCK}] #tea * alice waves")

    def test_told(self) -> None:
        """A private message says who sent it to you."""
        self.check(told("psst"), f"[{CLOCK}] alice -> you: psst")

    def test_told_by_yourself(self) -> None:
        """A private message that you sent from another session shows whom it went to."""
        self.check(told("psst", outgoing=True), f"[{CLOCK}] you -> bob: psst")

    def test_time_is_the_servers(self) -> None:
        """Times are in the server's time zone."""
        self.use("XXX-05:30")
        self.check(said("hi"), "[03:43] alice: hi")

    def test_joined_and_left(self) -> None:
        """Coming and going is one line, with the room unless it is the lobby."""
        self.check(e.Joined(NOW, "lobby", (("bob", False),)), "* bob joined")
        self.check(e.Left(NOW, "lobby", ("bob",)), "* bob left")
        self.check(e.Joined(NOW, "tea", (("bob", True),)), "* bob joined #tea")

    def test_crowd_is_one_line(self) -> None:
        """Many people who join at once are one line with their number."""
        crowd = tuple(f"p{number}" for number in range(40))
        people = tuple((name, True) for name in crowd)
        self.check(e.Joined(NOW, "lobby", people), "* 40 people joined")
        self.check(e.Left(NOW, "tea", crowd), "* 40 people left #tea")

    def test_renamed(self) -> None:
        """A new name is shown with the old one."""
        self.check(e.Renamed(NOW, "guest1", "bob", account=True), "* guest1 is now bob")

    def test_same_name(self) -> None:
        """People are not told of a guest who has registered the same name."""
        event = e.Renamed(NOW, "bob", "bob", account=True)
        self.assertEqual(TextFormat().encode((event,)), b"")

    def test_welcome(self) -> None:
        """The welcome tells your name, the room, and how many others are there."""
        for others, company in ((0, "nobody else is"), (1, "1 other is"), (5, "5 others are")):
            text = "\n".join(self.lines(e.Welcome(NOW, "alice", True, "lobby", others)))
            for part in ("alice", "the lobby", company, "/help"):
                self.assertIn(part, text)

    def test_welcome_tells_a_guest_how_to_register(self) -> None:
        """The welcome tells a guest, and no account, how to register."""
        for account, times in ((False, 1), (True, 0)):
            text = "\n".join(self.lines(e.Welcome(NOW, "alice", account, "tea", 2)))
            self.assertEqual(text.count("/register"), times)
            self.assertIn("#tea", text)

    def test_topic(self) -> None:
        """A topic is shown as it is, as just set, as cleared, and as none."""
        for event, parts in (
            (e.Topic(NOW, "tea", "cake", "bob"), ("#tea", "cake", "bob")),
            (topic("cake", "tea"), ("alice set", "#tea", "cake")),
            (topic(""), ("alice cleared", "the lobby")),
            (e.Topic(NOW, "lobby", "", ""), ("the lobby has no topic", "/topic")),
        ):
            (line,) = self.lines(event)
            for part in parts:
                self.assertIn(part, line)

    def test_users(self) -> None:
        """A list of people has their number and names, and marks guests."""
        self.check(
            e.Users(NOW, "lobby", (("alice", True), ("bob", False))),
            "* 2 people are in the lobby: alice, bob (guest)",
        )
        self.check(e.Users(NOW, "tea", (("alice", True),)), "* 1 person is in #tea: alice")
        self.check(e.Users(NOW, "tea", ()), "* nobody is in #tea")

    def test_rooms(self) -> None:
        """Each room is a line with its members and topic."""
        lines = self.lines(e.Rooms(NOW, (("lobby", 12, ""), ("tea", 1, "cake"))))
        self.assertEqual(len(lines), 3)
        self.assertIn("2 rooms", lines[0])
        self.assertTrue(lines[1].endswith("lobby (12)"))
        self.assertTrue(lines[2].endswith("tea (1): cake"))

    def test_history(self) -> None:
        """A replay is the messages, oldest first, each as it was said."""
        entries = (said("one", replay=True), said("two", "tea", action=True, replay=True))
        self.check(
            e.History(NOW, "lobby", entries), f"[{CLOCK}] alice: one", f"[{CLOCK}] #tea * alice two"
        )

    def test_private_history(self) -> None:
        """Private messages are replayed with their direction."""
        entries = (told("one", replay=True), told("two", outgoing=True, replay=True))
        self.check(
            e.History(NOW, "@bob", entries),
            f"[{CLOCK}] alice -> you: one",
            f"[{CLOCK}] you -> bob: two",
        )

    def test_history_of_another_day(self) -> None:
        """Messages that are not from today have their date."""
        yesterday = said("old", at=NOW - DAY, replay=True)
        self.check(e.History(NOW, "lobby", (yesterday,)), "[2023-11-13 22:13] alice: old")

    def test_all_that_came_after(self) -> None:
        """After a resume point a replay has the topics that were set, too, and not who became a
        member."""
        members = e.Members(NOW, "tea", 4, (Standing(BOB, "member"),), replay=True)
        entries = (topic("cake", "tea", replay=True), members, said("hi", "tea", replay=True))
        self.check(
            e.History(NOW, "tea", entries, after=1, seq=5),
            "* alice set the topic of #tea: cake",
            f"[{CLOCK}] #tea alice: hi",
        )

    def test_back(self) -> None:
        """Each room but the lobby in which something is new has a line, with the way to see it."""
        places = (
            place("lobby", 3),
            place("dev", 14),
            place("jam", 1),
            place("ops"),
            place("tea", 1000, more=True),
        )
        self.check(
            e.Back(NOW, places),
            "* #dev: 14 new; /join dev shows them",
            "* #jam: 1 new; /join jam shows it",
            "* #tea: more than 1,000 new; /join tea shows them",
        )
        self.check(e.Back(NOW, (place("lobby", 3), place("ops"))))

    def test_where(self) -> None:
        """Where one is are the current room, and all rooms with what is new in them."""
        for current, places, lines in (
            ("lobby", [place("lobby")], ("the lobby", "the lobby")),
            ("dev", [place("lobby"), place("dev")], ("#dev", "the lobby and #dev")),
            (
                "dev",
                [place("lobby", 1), place("dev"), place("ops", 1000, more=True)],
                ("#dev", "the lobby (1 new), #dev and #ops (more than 1,000 new)"),
            ),
        ):
            self.check(
                e.Where(NOW, current, tuple(places)),
                f"* what you type goes to {lines[0]}",
                f"* you are in {lines[1]}",
            )

    def test_help(self) -> None:
        """A command is a line with its usage, its meaning and its other names."""
        entry = e.HelpEntry("/users [ROOM]", ("/who",), "who is here")
        (line,) = self.lines(e.Help(NOW, (entry,)))
        for part in ("/users [ROOM]", "/who", "who is here"):
            self.assertIn(part, line)

    def test_help_fits_a_screen(self) -> None:
        """Every command fits 80 columns in the help; many other words for it get a line of their
        own."""
        lines = self.lines(e.Help(NOW, tuple(row.entry for row in COMMANDS)))
        self.assertEqual([line for line in lines if len(line) > 80], [])
        words = tuple(f"/word{number}" for number in range(5))
        entry = e.HelpEntry("/dm NAME MESSAGE", words, "send a message")
        self.check(
            e.Help(NOW, (entry,)),
            f"*   {'/dm NAME MESSAGE':<28} send a message",
            f"*   {'':<28} (also /word0 /word1 /word2 /word3 /word4)",
        )

    def test_skipped(self) -> None:
        """Skipped lines are counted, with the way to see them."""
        self.check(e.Skipped(NOW, 412), "… 412 lines skipped; /history shows them")
        self.check(e.Skipped(NOW, 1), "… 1 line skipped; /history shows them")

    def test_refused(self) -> None:
        """A refusal is shown as its sentence."""
        self.check(e.Refused(NOW, "no-such-room", "no such room", "/join"), "! no such room")

    def test_notice_and_bye(self) -> None:
        """A remark of the server is marked with an asterisk."""
        self.check(e.Notice(NOW, "hm"), "* hm")
        self.check(e.Bye(NOW, "bye"), "* bye")

    def test_motd(self) -> None:
        """Each line of the message of the day is a line."""
        self.check(e.Motd(NOW, ("be kind", "and brief")), "* be kind", "* and brief")

    def test_unread(self) -> None:
        """The number of unread messages is shown, and whether they came while nobody was here."""
        for count, more, alone, text in (
            (1, False, True, "1 private message came while you were away:"),
            (2, False, True, "2 private messages came while you were away:"),
            (9, True, True, "more than 9 private messages came while you were away:"),
            (1, False, False, "1 private message is unread:"),
            (2, False, False, "2 private messages are unread:"),
            (1, True, False, "more than 1 private messages are unread:"),
        ):
            self.check(e.Unread(NOW, count, more, alone), f"* {text}")

    def test_omitted(self) -> None:
        """Omitted messages are told of, with the way to see them."""
        self.check(
            e.Omitted(NOW),
            "* the rest is shown at your next login; /history @NAME shows it now",
        )

    def test_away(self) -> None:
        """A message to a person who is away says whether they will see it."""
        self.check(
            e.Away(NOW, "bob", kept=True), "* bob is away and will see that at the next login"
        )
        self.check(
            e.Away(NOW, "bob", kept=False),
            "* bob is not here and did not see that;"
            " private messages to or from a guest are not kept",
        )

    def test_not_kept(self) -> None:
        """A private message with a guest says that it is not kept."""
        self.check(
            e.NotKept(NOW),
            "* private messages to or from a guest are not kept",
        )

    def test_crowd(self) -> None:
        """A big room shows the number of its people, and the way to list them."""
        self.check(e.Crowd(NOW, "tea", 1234), "* 1,234 people are in #tea; /users lists them")

    def test_talking(self) -> None:
        """A change of the current room is shown."""
        self.check(e.Talking(NOW, "lobby"), "* now talking in the lobby")
        self.check(e.Talking(NOW, "tea"), "* now talking in #tea")

    def test_answer(self) -> None:
        """An answer is shown as its event; done is not shown."""
        self.check(e.Answer(e.Talking(NOW, "tea"), "7"), "* now talking in #tea")
        self.check(e.Done(NOW, "7"))

    def test_several_events_in_order(self) -> None:
        """A tuple of events becomes their lines, in order."""
        lines = self.lines(said("one"), e.Joined(NOW, "lobby", (("bob", True),)), said("two"))
        self.assertEqual(lines, [f"[{CLOCK}] alice: one", "* bob joined", f"[{CLOCK}] alice: two"])

    def test_no_event_is_no_line(self) -> None:
        """An empty tuple is no line."""
        self.assertEqual(TextFormat().encode(()), b"")

    def test_same_tuple_is_encoded_once(self) -> None:
        """The same tuple for the next reader is the same bytes object."""
        text, events = TextFormat(), (said(),)
        self.assertIs(text.encode(events), text.encode(events))

    def test_another_tuple_is_encoded_anew(self) -> None:
        """Another tuple gets bytes of its own."""
        text, one, two = TextFormat(), (said("one"),), (said("two"),)
        first = text.encode(one)
        self.assertNotEqual(text.encode(two), first)
        self.assertEqual(text.encode(one), first)

    @given(_safe())
    def test_no_text_makes_a_line_of_its_own(self, text: str) -> None:
        """Whatever text the core accepts, an event has no further line and no control character."""
        expected = self.lines(*with_text("x"))
        lines = self.lines(*with_text(text or "x"))
        self.assertEqual(len(lines), len(expected))
        self.assertFalse([c for line in lines for c in line if unicodedata.category(c) == "Cc"])
        self.assertEqual("\n".join(lines).splitlines(), lines)

    def test_plain_lines_have_no_escape_sequence(self) -> None:
        """No event is shown with colour or an escape sequence."""
        self.assertNotIn(b"\x1b", TextFormat().encode(EVERY_KIND))


class JsonFormatTests(InUTC):
    """Events as JSON Lines for programs."""

    def objects(self, *events: e.Event) -> list[dict[str, Any]]:
        """The objects that the events become, one a line."""
        encoded = JsonFormat("test").encode(events)
        self.assertTrue(encoded.endswith(b"\n") or not encoded)
        return [json.loads(line) for line in encoded.split(b"\n")[:-1]]

    def check(self, event: e.Event, *objects: dict[str, Any]) -> None:
        """The event becomes these objects, each with the time."""
        self.assertEqual(self.objects(event), [{"time": STAMP, **fields} for fields in objects])

    def test_every_event_is_one_object_a_line(self) -> None:
        """Each kind of event becomes objects that have an event and a time."""
        self.assertEqual({type(event) for event in EVERY_KIND}, set(get_args(e.Event)))
        for event in EVERY_KIND:
            for fields in self.objects(event):
                self.assertIsInstance(fields["event"], str)
                self.assertEqual(fields["time"], STAMP)

    def test_every_kind_has_its_name(self) -> None:
        """The kinds are those of the protocol, and a history comes behind its messages."""
        kinds = " ".join(fields["event"] for fields in self.objects(*EVERY_KIND))
        self.assertEqual(
            kinds,
            "welcome motd message dm joined left renamed topic users crowd rooms"
            " members read rooms where message history unread omitted away not-kept"
            " talking help skipped error done away notice ping bye",
        )

    def test_line_begins_with_a_brace(self) -> None:
        """Clients skip lines until the first brace, so each line begins with one."""
        for line in JsonFormat("test").encode(EVERY_KIND).splitlines():
            self.assertTrue(line.startswith(b'{"event":'))

    def test_hello(self) -> None:
        """The first object names the protocol's version and the server."""
        line = JsonFormat('Tea "&" Cake\n', keepalive=60).hello(NOW, "abc")
        self.assertTrue(line.startswith(b'{"event":"hello"') and line.endswith(b"}\n"))
        self.assertEqual(line.count(b"\n"), 1)
        self.assertEqual(
            json.loads(line),
            {
                "event": "hello",
                "time": STAMP,
                "protocol": 2,
                "server": 'Tea "&" Cake\n',
                "session": "abc",
                "keepalive": 60,
            },
        )

    def test_welcome(self) -> None:
        """The welcome has the name, whether it is an account's, and the room."""
        self.check(
            e.Welcome(NOW, "alice", False, "lobby", 4),
            {"event": "welcome", "name": "alice", "account": False, "room": "lobby"},
        )

    def test_message(self) -> None:
        """A message has its place in the log and in the room."""
        fields = {"event": "message", "id": 7, "room": "tea", "seq": 3, "from": "alice"}
        fields |= {"text": "hi", "action": False, "replay": False}
        self.check(said("hi", "tea"), fields)
        self.check(said("hi", "tea", action=True), fields | {"action": True})
        self.check(said("hi", "tea", replay=True), fields | {"replay": True})

    def test_message_has_the_time_it_was_said(self) -> None:
        """The time is the message's own, not that of its delivery."""
        (fields,) = self.objects(said(at=NOW - DAY))
        self.assertEqual(fields["time"], "2023-11-13T22:13:20.123Z")

    def test_dm(self) -> None:
        """A private message names both sides, in either direction."""
        fields = {"event": "dm", "id": 8, "seq": 2, "from": "alice", "to": "bob", "text": "psst"}
        self.check(told("psst"), fields | {"replay": False})
        self.check(told("psst", outgoing=True), fields | {"replay": False})
        self.check(told("psst", replay=True), fields | {"replay": True})

    def test_dm_that_is_not_kept(self) -> None:
        """A private message that is not in the log has no id and no place in a conversation."""
        aside = Aside(None, "guest1", BOB.id, BOB.name, None, NOW, "hi")
        (fields,) = self.objects(e.Told(NOW, aside))
        self.assertEqual((fields["id"], fields["seq"]), (None, None))
        self.assertEqual((fields["from"], fields["to"]), ("guest1", "bob"))

    def test_joined_and_left(self) -> None:
        """Each person who joined or left is an object."""
        self.check(
            e.Joined(NOW, "tea", (("bob", True), ("eve", False))),
            {"event": "joined", "name": "bob", "account": True, "room": "tea"},
            {"event": "joined", "name": "eve", "account": False, "room": "tea"},
        )
        self.check(
            e.Left(NOW, "lobby", ("bob",)), {"event": "left", "name": "bob", "room": "lobby"}
        )

    def test_renamed(self) -> None:
        """A new name comes with the old one."""
        self.check(
            e.Renamed(NOW, "guest1", "bob", account=True),
            {"event": "renamed", "name": "guest1", "to": "bob", "account": True},
        )

    def test_topic(self) -> None:
        """A topic has its room, its text and who set it."""
        fields = {"event": "topic", "room": "tea", "topic": "cake", "from": "alice"}
        self.check(e.Topic(NOW, "tea", "cake", "alice"), fields)
        self.check(topic("cake", "tea"), fields | {"seq": 3, "replay": False})
        self.check(topic("cake", "tea", replay=True), fields | {"seq": 3, "replay": True})

    def test_users(self) -> None:
        """A list of names, each with whether it is an account's."""
        (fields,) = self.objects(e.Users(NOW, "tea", (("alice", True), ("bob", False))))
        self.assertEqual(fields["event"], "users")
        self.assertEqual(
            fields["users"],
            [{"name": "alice", "account": True}, {"name": "bob", "account": False}],
        )

    def test_rooms(self) -> None:
        """A list of rooms, each with its members and topic."""
        self.check(
            e.Rooms(NOW, (("lobby", 12, ""), ("tea", 1, "cake"))),
            {
                "event": "rooms",
                "rooms": [
                    {"room": "lobby", "members": 12, "topic": ""},
                    {"room": "tea", "members": 1, "topic": "cake"},
                ],
            },
        )

    def test_history_closes_the_replay(self) -> None:
        """The messages come first, then one object that counts them."""
        entries = (said("one", at=NOW - DAY, replay=True), said("two", replay=True))
        *messages, last = self.objects(e.History(NOW, "lobby", entries))
        self.assertEqual([m["text"] for m in messages], ["one", "two"])
        self.assertTrue(all(m["replay"] for m in messages))
        wanted = {"event": "history", "time": STAMP, "room": "lobby", "count": 2}
        self.assertEqual(last, wanted | {"after": None, "seq": None})

    def test_empty_history_is_closed_too(self) -> None:
        """An empty history is closed by its object, too."""
        fields = {"event": "history", "room": "tea", "count": 0}
        self.check(e.History(NOW, "tea", ()), fields | {"after": None, "seq": None})
        self.check(e.History(NOW, "tea", (), 7, 9), fields | {"after": 7, "seq": 9})

    def test_private_history(self) -> None:
        """Private messages are replayed as such."""
        kinds = [o["event"] for o in self.objects(e.History(NOW, "@bob", (told(replay=True),)))]
        self.assertEqual(kinds, ["dm", "history"])

    def test_help(self) -> None:
        """Help answers with something for each command."""
        entry = e.HelpEntry("/users [ROOM]", ("/who",), "who is here")
        (fields,) = self.objects(e.Help(NOW, (entry, entry)))
        self.assertEqual(fields["event"], "help")
        self.assertEqual(json.dumps(fields).count("/users [ROOM]"), 2)

    def test_skipped(self) -> None:
        """Skipped lines are a number."""
        self.check(e.Skipped(NOW, 412), {"event": "skipped", "lines": 412})

    def test_error(self) -> None:
        """A refusal has its code, its sentence and the command."""
        self.check(
            e.Refused(NOW, "no-such-room", "no such room", "/join"),
            {"event": "error", "code": "no-such-room", "text": "no such room", "command": "/join"},
        )

    def test_notice_and_bye(self) -> None:
        """Remarks of the server have a text."""
        self.check(e.Notice(NOW, "hm"), {"event": "notice", "text": "hm"})
        self.check(e.Bye(NOW, "bye"), {"event": "bye", "text": "bye"})

    def test_refused_with_fields(self) -> None:
        """A refusal has its fields, and the label of its request."""
        self.check(
            e.Refused(NOW, "not-in-room", "not there", "say", "7", {"room": "tea"}),
            {
                **{"event": "error", "room": "tea", "code": "not-in-room", "text": "not there"},
                **{"command": "say", "label": "7"},
            },
        )

    def test_done(self) -> None:
        """Done has the place of a message, the recipient of a private one, or neither."""
        self.check(
            e.Done(NOW, "7", room="tea", seq=3, id=5),
            {"event": "done", "label": "7", "room": "tea", "seq": 3, "id": 5},
        )
        private = {"event": "done", "label": "7", "to": "bob"}
        self.check(e.Done(NOW, "7", to="bob"), private | {"seq": None, "id": None})
        self.check(e.Done(NOW, "7", to="bob", seq=3, id=5), private | {"seq": 3, "id": 5})
        self.check(e.Done(NOW, "7"), {"event": "done", "label": "7"})

    def test_answer(self) -> None:
        """An answer is its event with the label of the request; a message has only its author's
        label."""
        self.check(
            e.Answer(e.Away(NOW, "bob", kept=True), "7"),
            {"event": "away", "name": "bob", "kept": True, "label": "7"},
        )
        own = said("hi", replay=True)
        own = e.Said(NOW, own.message, replay=True, label="mine")
        *messages, end = self.objects(e.Answer(e.History(NOW, "lobby", (said("a"), own)), "7"))
        self.assertEqual([fields.get("label") for fields in messages], [None, "mine"])
        self.assertEqual((end["event"], end["label"]), ("history", "7"))

    def test_label_of_a_message(self) -> None:
        """The label of a message is shown if the event has it."""
        labelled = entry("hi", label="7")
        for label, expected in ("7", "7"), ("", None):
            (fields,) = self.objects(e.Said(NOW, labelled, label=label))
            self.assertEqual(fields.get("label"), expected)
        direct = private("hi", label="7")
        for label, expected in ("7", "7"), ("", None):
            (fields,) = self.objects(e.Told(NOW, direct, outgoing=True, label=label))
            self.assertEqual(fields.get("label"), expected)

    def test_other_events(self) -> None:
        """All other events have their fields."""
        for event, fields in (
            (e.Motd(NOW, ("a", "b")), {"event": "motd", "lines": ["a", "b"]}),
            (e.Unread(NOW, 3, True, False), {"event": "unread", "count": 3, "more": True}),
            (e.Omitted(NOW), {"event": "omitted"}),
            (e.Away(NOW, "bob", False), {"event": "away", "name": "bob", "kept": False}),
            (e.NotKept(NOW), {"event": "not-kept"}),
            (e.Crowd(NOW, "tea", 51), {"event": "crowd", "room": "tea", "count": 51}),
            (e.Talking(NOW, "tea"), {"event": "talking", "room": "tea"}),
        ):
            self.check(event, fields)

    def test_text_is_utf8(self) -> None:
        """Text is written as it is, not as escapes."""
        self.assertIn("né 😀".encode(), JsonFormat("test").encode((said("né 😀"),)))

    def test_time_does_not_depend_on_the_servers_zone(self) -> None:
        """Programs get UTC wherever the server is."""
        self.use("XXX-05:30")
        self.check(e.Notice(NOW, "hm"), {"event": "notice", "text": "hm"})

    @given(st.integers(0, 7_258_118_399_999))  # to the end of the year 2199
    def test_time_is_exact_to_the_millisecond(self, now: int) -> None:
        """Every time comes back as it was, with three digits behind the second and a Z."""
        (fields,) = self.objects(e.Notice(now, ""))
        self.assertRegex(fields["time"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
        moment = datetime.strptime(fields["time"], "%Y-%m-%dT%H:%M:%S.%f%z")
        since = moment - datetime(1970, 1, 1, tzinfo=timezone.utc)
        seconds = since.days * 86_400 + since.seconds
        self.assertEqual(seconds * 1000 + since.microseconds // 1000, now)

    def test_same_tuple_is_encoded_once(self) -> None:
        """The same tuple for the next reader is the same bytes object."""
        form, events = JsonFormat("test"), (said(),)
        self.assertIs(form.encode(events), form.encode(events))

    def test_another_tuple_is_encoded_anew(self) -> None:
        """Another tuple gets bytes of its own."""
        form, one, two = JsonFormat("test"), (said("one"),), (said("two"),)
        first = form.encode(one)
        self.assertNotEqual(form.encode(two), first)
        self.assertEqual(form.encode(one), first)

    @given(_safe())
    def test_no_text_makes_a_line_of_its_own(self, text: str) -> None:
        """Whatever the core lets through comes back whole, in lines with no control character."""
        encoded = JsonFormat("test").encode(with_text(text)).decode()
        lines = encoded.split("\n")[:-1]
        self.assertEqual(encoded.splitlines(), lines)
        self.assertFalse([c for line in lines for c in line if unicodedata.category(c) == "Cc"])
        message, *_, bye = map(json.loads, lines)
        self.assertEqual((message["text"], bye["text"]), (text, text))

    @given(st.text(st.one_of(st.sampled_from('\x00\n\r\x1b"\\{}'), st.characters(codec="utf-8"))))
    def test_line_ends_and_escapes_are_written_as_escapes(self, text: str) -> None:
        """Even what the core would refuse cannot end a line or begin an escape sequence."""
        encoded = JsonFormat("test").encode((e.Refused(NOW, "bad-name", text, text),))
        self.assertFalse([byte for byte in encoded[:-1] if byte < 0x20])
        self.assertEqual(json.loads(encoded)["command"], text)


class OnceTests(SynchronousTestCase):
    """Each message is encoded once."""

    def test_a_message_is_made_into_bytes_once(self) -> None:
        """A message is encoded once, however many different tuples it is in."""
        made: list[e.Event] = []

        class Counting(TextFormat):
            def _lines(self, event: e.Event) -> bytes:
                made.append(event)
                return super()._lines(event)

        first, second = said("one"), said("two")
        counting = Counting()
        both = counting.encode((first, second))
        self.assertEqual(counting.encode((second,)), both[both.index(b"\n") + 1 :])
        self.assertEqual(counting.encode((first,)), both[: both.index(b"\n") + 1])
        self.assertEqual(made, [first, second])

    def test_what_is_remembered_is_bounded(self) -> None:
        """The number of messages that are remembered is bounded; forgotten ones are encoded
        again."""
        formatted = TextFormat()
        messages = [said(str(number)) for number in range(3000)]
        once = [formatted.encode((message,)) for message in messages]
        self.assertEqual([formatted.encode((message,)) for message in messages], once)
