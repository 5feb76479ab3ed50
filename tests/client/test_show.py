"""Events as lines to show."""

from datetime import date, timedelta, timezone

from twisted.trial.unittest import SynchronousTestCase

from twisted_chat.client.lines import Event
from twisted_chat.client.show import (
    COLOURS,
    Reader,
    day,
    day_of,
    lines,
    mentions,
    name_style,
    plain,
)

_ALICE = Reader("alice", "lobby", timezone.utc)


def _said(text: str, *, by: str = "bob", room: str = "lobby", action: bool = False) -> Event:
    return {
        "event": "message",
        "time": "2026-11-21T23:30:00.000Z",
        "room": room,
        "from": by,
        "text": text,
        "action": action,
    }


def _private(text: str, by: str, to: str) -> Event:
    return {
        "event": "dm",
        "time": "2026-11-21T23:30:00.000Z",
        "from": by,
        "to": to,
        "text": text,
    }


def _luminance(colour: str) -> float:
    """Of WCAG 2."""

    def linear(value: int) -> float:
        part = value / 255
        return part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4

    red, green, blue = (linear(int(colour[i : i + 2], 16)) for i in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _contrast(one: str, other: str) -> float:
    dark, light = sorted((_luminance(one), _luminance(other)))
    return (light + 0.05) / (dark + 0.05)


class LineTests(SynchronousTestCase):
    """What is read."""

    def read(self, event: Event, reader: Reader = _ALICE) -> list[str]:
        return [plain(line) for line in lines(event, reader)]

    def one(self, event: Event, reader: Reader = _ALICE) -> str:
        (line,) = self.read(event, reader)
        return line

    def test_messages(self) -> None:
        """A message is shown with its time, author and text, and with its room if that is not the
        one that is looked at."""
        self.assertEqual(self.one(_said("hi")), "23:30 bob: hi")
        self.assertEqual(self.one(_said("waves", action=True)), "23:30 * bob waves")
        self.assertEqual(self.one(_said("hi", room="dev")), "23:30 #dev bob: hi")
        in_dev = Reader("alice", "dev", timezone.utc)
        self.assertEqual(self.one(_said("hi", room="dev"), in_dev), "23:30 bob: hi")
        self.assertEqual(self.one(_said("hi"), in_dev), "23:30 #lobby bob: hi")

    def test_private(self) -> None:
        """A private message shows its direction, and that nobody else reads it."""
        to_me = self.one(_private("psst", "bob", "alice"))
        self.assertEqual(to_me, "23:30 (private) bob -> you: psst")
        from_me = self.one(_private("psst", "alice", "bob"))
        self.assertEqual(from_me, "23:30 (private) you -> bob: psst")

    def test_zone(self) -> None:
        """Times and days are those of the reader's zone."""
        east = Reader("alice", "lobby", timezone(timedelta(hours=2)))
        self.assertEqual(self.one(_said("hi"), east), "01:30 bob: hi")
        self.assertEqual(day_of(_said("hi"), east.zone), date(2026, 11, 22))
        self.assertEqual(day_of(_said("hi"), timezone.utc), date(2026, 11, 21))

    def test_another_day(self) -> None:
        """A message of another day has its date, if the reader's day is known."""
        reader = Reader("alice", "lobby", timezone.utc, date(2026, 11, 22))
        self.assertEqual(self.one(_said("hi"), reader), "2026-11-21 23:30 bob: hi")
        today = Reader("alice", "lobby", timezone.utc, date(2026, 11, 21))
        self.assertEqual(self.one(_said("hi"), today), "23:30 bob: hi")

    def test_day(self) -> None:
        """A day is named in English, whatever the locale."""
        self.assertEqual(plain(day(date(2026, 11, 21))), "── Saturday, 21 November 2026 ──")

    def test_what_the_server_tells(self) -> None:
        """What the server tells besides messages is a sentence each."""
        for told, shown in (
            ({"event": "motd", "lines": ["be kind"]}, "be kind"),
            (
                {"event": "away", "name": "bob", "kept": True},
                "bob is away and will see that at the next login",
            ),
            (
                {"event": "away", "name": "bob", "kept": False},
                "bob has left and did not see that; private messages with guests are not kept",
            ),
            (
                {"event": "not-kept"},
                "private messages to or from a guest are not kept",
            ),
            ({"event": "unread", "count": 1, "more": False}, "1 unread private message:"),
            (
                {"event": "unread", "count": 1000, "more": True},
                "more than 1000 unread private messages:",
            ),
            (
                {"event": "omitted"},
                "there were more private messages than these; /history @NAME shows them",
            ),
            (
                {"event": "crowd", "room": "dev", "count": 2314},
                "2,314 people are in #dev; /users lists them",
            ),
            ({"event": "history", "room": "dev", "count": 0}, "nothing has been said there yet"),
        ):
            self.assertEqual(self.one(told), f"* {shown}")
        self.assertEqual(self.read({"event": "history", "room": "dev", "count": 3}), [])
        self.assertEqual(self.read({"event": "talking", "room": "dev"}), [])

    def test_comings_and_goings(self) -> None:
        """Joins and leaves are shown: of one person, of many, of oneself."""
        told = {"event": "joined", "name": "bob", "room": "lobby"}
        self.assertEqual(self.one(told), "* bob joined")
        self.assertEqual(self.one({**told, "event": "left", "room": "dev"}), "* bob left #dev")
        many = {"event": "left", "count": 812, "room": "lobby"}
        self.assertEqual(self.one(many), "* 812 people left")
        own = {"event": "joined", "name": "alice", "room": "dev"}
        self.assertEqual(self.one(own), "* you joined #dev")

    def test_answers(self) -> None:
        """A list of people is shown as a sentence, other lists as a line each."""
        users = [{"name": "bob", "account": True}, {"name": "carol", "account": False}]
        self.assertEqual(
            self.one({"event": "users", "room": "dev", "users": users}),
            "* 2 people are in #dev: bob, carol (guest)",
        )
        rooms = [
            {"room": "lobby", "members": 2, "topic": ""},
            {"room": "dev", "members": 1, "topic": "tea"},
        ]
        self.assertEqual(
            self.read({"event": "rooms", "rooms": rooms}),
            ["* 2 rooms; /join ROOM joins or makes one", "*   #lobby (2)", "*   #dev (1): tea"],
        )
        commands = [{"usage": "/quit", "also": ["/bye"], "text": "leave"}]
        self.assertEqual(
            self.read({"event": "help", "commands": commands}),
            [f"*   {'/quit':<28} leave (also /bye)"],
        )
        topic = {"event": "topic", "room": "dev", "topic": "tea", "from": "bob"}
        self.assertEqual(self.one(topic), "* topic of #dev, by bob: tea")
        self.assertEqual(
            self.one({**topic, "topic": "", "room": "lobby"}),
            "* the lobby has no topic; /topic TEXT sets one",
        )

    def test_topic_that_is_set(self) -> None:
        """Who sets or clears a topic is shown doing so."""
        topic = {"event": "topic", "room": "dev", "topic": "tea", "from": "bob", "seq": 4}
        self.assertEqual(self.one(topic), "* bob set the topic of #dev: tea")
        self.assertEqual(self.one({**topic, "topic": ""}), "* bob cleared the topic of #dev")

    def test_news(self) -> None:
        """Coming in shows what is new in which room but the lobby; C{/where} shows all rooms."""
        rooms = [
            {"room": "lobby", "new": 3, "more": False},
            {"room": "dev", "new": 0, "more": False},
            {"room": "ops", "new": 1000, "more": True},
        ]
        self.assertEqual(
            self.read({"event": "rooms", "joined": True, "rooms": rooms}),
            ["* #ops: more than 1,000 new"],
        )
        self.assertEqual(
            self.read({"event": "where", "room": "@bob", "rooms": rooms}),
            [
                "* what you type goes to @bob",
                "* you are in the lobby (3 new), #dev and #ops (more than 1,000 new)",
            ],
        )
        alone = self.read({"event": "where", "room": "lobby", "rooms": rooms[:1]})
        self.assertEqual(alone[1], "* you are in the lobby (3 new)")

    def test_read(self) -> None:
        """That something is read is shown to who said so, not to what another session has read."""
        read = {"event": "read", "room": "dev", "seq": 4}
        self.assertEqual(self.read(read), [])
        self.assertEqual(self.one({**read, "label": "x"}), "* #dev is marked as read")

    def test_who_one_is(self) -> None:
        """One's own name is shown at the login, and when it changes."""
        welcome = {"event": "welcome", "name": "alice", "account": True, "room": "lobby"}
        self.assertEqual(self.one(welcome), "* you are alice")
        self.assertIn("/register", self.one({**welcome, "account": False}))
        renamed = {"event": "renamed", "name": "alice", "to": "alicia", "account": False}
        self.assertEqual(self.one(renamed), "* you are alicia now")
        self.assertEqual(self.one({**renamed, "name": "bob", "to": "rob"}), "* bob is now rob")
        self.assertEqual(lines({**renamed, "to": "alice"}, _ALICE), [])

    def test_remarks(self) -> None:
        """Remarks of the server, and those about the connection, are shown."""
        for event, line in (
            ({"event": "notice", "text": "tea"}, "* tea"),
            ({"event": "bye", "text": "bye"}, "* bye"),
            ({"event": "error", "code": "x", "text": "no", "command": ""}, "! no"),
            ({"event": "connected", "server": "lab", "again": False}, "* connected to lab"),
            ({"event": "connected", "server": "lab", "again": True}, "* connected again to lab"),
            ({"event": "disconnected", "text": "no answer"}, "* not connected: no answer"),
            ({"event": "reconnecting", "seconds": 1.2}, "* reconnecting in 1 second"),
            ({"event": "reconnecting", "seconds": 0.4}, "* reconnecting in 1 second"),
            ({"event": "paused", "text": "yours are kept"}, "* yours are kept"),
        ):
            self.assertEqual(self.one(event), line)
        gap = {"event": "gap", "room": "dev", "first": 5, "last": 9}
        self.assertIn("messages 5 to 9 of #dev", self.one(gap))
        self.assertIn("message 5 of #dev", self.one({**gap, "last": 5}))
        self.assertIn("12 lines", self.one({"event": "skipped", "lines": 12}))

    def test_nothing_to_show(self) -> None:
        """Events that are no news for people, unknown or malformed are not shown."""
        for event in (
            {"event": "history", "room": "lobby", "count": 3},
            {"event": "poke", "from": "bob"},
            {"event": "users", "room": "lobby", "users": "bob"},
            {"event": "joined", "room": "lobby"},
            {"event": "rooms", "rooms": [None]},
            {"event": "help", "commands": [{"usage": "/x"}]},
            {"event": "skipped"},
        ):
            self.assertEqual(self.read(event), [], event)
        self.assertEqual(self.one({**_said("hi"), "time": "soon"}), "bob: hi")
        self.assertEqual(self.one({**_said("hi"), "time": None}), "bob: hi")

    def test_no_action_looks_like_a_remark(self) -> None:
        """No action of C{/me} looks like a remark."""
        joined = self.one({"event": "joined", "name": "bob", "room": "lobby"})
        self.assertNotEqual(self.one(_said("joined", action=True)), joined)
        self.assertFalse(self.one(_said("joined", action=True)).startswith("*"))


class StyleTests(SynchronousTestCase):
    """What it looks like."""

    def styles(self, event: Event) -> dict[str, str]:
        (line,) = lines(event, _ALICE)
        return {text: style for style, text in line}

    def test_every_style_has_a_colour(self) -> None:
        """Every style has a colour, or is one of the two that have the screen's."""
        users = [{"name": "alice", "account": True}, {"name": "bob", "account": False}]
        for event in (
            _said("alice: hi", room="dev"),
            _private("psst", "bob", "alice"),
            {"event": "users", "room": "dev", "users": users},
            {"event": "error", "text": "no"},
            {"event": "disconnected", "text": "no"},
        ):
            for line in lines(event, _ALICE):
                for style, text in line:
                    self.assertIn(style, {*COLOURS, "text", "own"})
                    self.assertNotEqual(text, "")

    def test_name(self) -> None:
        """A name has the same colour everywhere and in every run; one's own has none."""
        self.assertEqual(name_style("bob"), "name-8")
        self.assertEqual(self.styles(_said("hi"))["bob"], "name-8")
        self.assertEqual(self.styles(_private("x", "bob", "alice"))["bob"], "name-8")
        self.assertEqual(self.styles(_said("hi", by="alice"))["alice"], "own")
        self.assertGreater(len({name_style(f"user{n}") for n in range(100)}), 8)

    def test_mention(self) -> None:
        """One's own name is highlighted where somebody else uses it as a word."""
        self.assertEqual(self.styles(_said("so, Alice: tea?"))["Alice"], "mention")
        for text in "alice", "hi alice", "ALICE!", "ask alice.", "(alice)", "alice's":
            self.assertTrue(mentions(_said(text), "alice"), text)
        for text in "alices", "malice", "alice-2", "al ice", "bob.alice", "":
            self.assertFalse(mentions(_said(text), "alice"), text)
        self.assertFalse(mentions(_said("alice", by="alice"), "alice"))
        self.assertFalse(mentions({"event": "notice", "text": "alice"}, "alice"))
        self.assertFalse(mentions(_said("hi"), ""))

    def test_private_is_a_mention(self) -> None:
        """A private message is highlighted whatever it says, but not one's own."""
        self.assertTrue(mentions(_private("psst", "bob", "alice"), "alice"))
        self.assertFalse(mentions(_private("psst", "alice", "bob"), "alice"))

    def test_text_is_whole(self) -> None:
        """Highlighting changes no text."""
        for text in "alice", "alice alice", "a alice b", "no", "alice ", " alice":
            (line,) = lines(_said(text), _ALICE)
            self.assertEqual(plain(line), f"23:30 bob: {text}")

    def test_readable_on_dark_and_light(self) -> None:
        """Every colour can be read on black, on white, and on what is near to them."""
        for style, colour in COLOURS.items():
            self.assertGreaterEqual(_contrast(colour, "#000000"), 3.9, style)
            self.assertGreaterEqual(_contrast(colour, "#ffffff"), 3.9, style)
            self.assertGreaterEqual(_contrast(colour, "#1e1e1e"), 3, style)
            self.assertGreaterEqual(_contrast(colour, "#fdf6e3"), 3, style)
