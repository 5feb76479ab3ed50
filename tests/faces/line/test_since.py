"""Coming back, as a program does it."""

import json

from twisted_chat.core.announcements import TakenOver
from twisted_chat.core.limits import Limits
from twisted_chat.faces.face import digest

from .server import Peer, ServerTestCase


class ComingBackTests(ServerTestCase):
    """C{/since}, and taking over an older session."""

    limits = Limits(line_rate=0, max_in_flight=10)

    def setUp(self) -> None:
        super().setUp()
        self.register("bot", "s3cret-pw")

    def bot(self) -> tuple[Peer, str]:
        """Log the bot in; return its peer and the token of its session."""
        peer = self.peer()
        hello, *_ = self.events_after(peer, "/json on\n/login bot s3cret-pw\n")
        return peer, str(hello["session"])

    def events_after(self, peer: Peer, script: str) -> list[dict[str, object]]:
        peer.send(script)
        self.settle()
        text = peer.take().partition("\n{")[2]
        return self.parsed("{" + text)

    def parsed(self, text: str) -> list[dict[str, object]]:
        return [json.loads(line) for line in text.splitlines()]

    def test_what_came_after(self) -> None:
        """Before login a resume point is remembered; after it the answer comes at once. Rooms and
        private conversations are resumed alike."""
        first, _ = self.bot()
        self.say(first, "a\nb\nc\n/dm bot x\n/dm bot y\n/join tea\nd\n/topic cake\n")
        events = self.events_after(
            self.peer(),
            "/json on\n/since lobby=1 #Tea=1 @Bot=1\n/login bot s3cret-pw\n/since tea=2 lobby=2\n",
        )
        told = [
            event.get("text") or event.get("topic") or event.get("room")
            for event in events
            if event["event"] in ("message", "dm", "topic", "history")
        ]
        at_login = ["b", "c", "lobby", "y", "@bot", "d", "cake", "tea"]
        self.assertEqual(told, [*at_login, "c", "lobby", "cake", "tea"])
        ends = [
            (event["room"], event["count"], event["after"], event["seq"])
            for event in events
            if event["event"] == "history"
        ]
        self.assertEqual(
            ends,
            [
                ("lobby", 2, 1, 3),
                ("@bot", 1, 1, 2),
                ("tea", 2, 1, 3),
                ("lobby", 1, 2, 3),
                ("tea", 1, 2, 3),
            ],
        )

    def test_members(self) -> None:
        """Who made a room, joined and left it comes with what was said there, with the time at
        which it happened."""
        first, _ = self.bot()
        self.say(first, "/join tea\n")
        carol = self.peer()
        self.say(carol, "/register carol s3cret-pw\n/join tea\nhello\n/leave tea\n")
        events = self.events_after(self.peer(), "/json on\n/since tea=0\n/login bot s3cret-pw\n")
        told = [
            (event["event"], event["seq"], event.get("members"), event["time"])
            for event in events
            if event.get("room") == "tea"
        ]
        self.assertEqual(
            told,
            [
                ("members", 1, [{"name": "bot", "role": "owner"}], "2023-11-14T22:13:20.000Z"),
                ("members", 2, [{"name": "carol", "role": "member"}], "2023-11-14T22:13:20.001Z"),
                ("message", 3, None, "2023-11-14T22:13:20.002Z"),
                ("members", 4, [{"name": "carol", "role": None}], "2023-11-14T22:13:20.003Z"),
                ("history", 4, None, "2023-11-14T22:13:20.000Z"),
            ],
        )

    def test_bare_at(self) -> None:
        """All private messages together, a place of protocol version 1, are refused with the way to
        resume one conversation."""
        bot, _ = self.bot()
        for line in ("/since @=1", '{"do":"since","places":{"lobby":1,"@":1}}'):
            (error,) = self.events(bot, f"{line}\n")
            self.assertEqual(error["code"], "bad-arguments")
            self.assertIn("as in @bob=3", str(error["text"]))

    def test_taken_over(self) -> None:
        """A session that is taken over carries out nothing more, and its posts in flight are waited
        for."""
        old, token = self.bot()
        self.store.hold()
        old.send("".join(f"{n}\n" for n in range(60)))
        self.settle()
        new = self.peer()
        new.send(f"/json on\n/since ~={token} lobby=0\n/login bot s3cret-pw\n")
        self.settle()
        self.let_go()
        events = self.parsed("{" + new.take().partition("\n{")[2])
        shown = [event["text"] for event in events if event["event"] == "message"]
        self.assertTrue(old.gone)
        self.assertTrue(0 < len(shown) < 60, shown)
        self.assertEqual(shown, [message.text for message in self.messages])

    def test_throttled_session_is_taken_over(self) -> None:
        """A session whose lines wait for their turn can be taken over."""
        self.serve(Limits())
        old = self.peer()
        hello, *_ = self.events_after(old, "/json on\n/guest gus\n")
        old.send("".join(f"{n}\n" for n in range(60)))
        self.settle()
        said = len(self.messages)
        new = self.peer()
        new.send(f"/json on\n/since ~={hello['session']} lobby=0\n/guest gus\n")
        self.settle()
        self.clock.advance(100)
        self.settle()
        self.assertEqual(len(self.messages), said)
        self.assertIn('"name":"gus"', new.take())

    def test_nobody_elses(self) -> None:
        """An unknown token, and one's own, end no session."""
        old, token = self.bot()
        events = self.events(old, f"/since ~={token} ~=x ~= lobby=0\n")
        self.assertEqual([event["event"] for event in events], ["history"])
        self.assertFalse(old.gone)

    def test_refused(self) -> None:
        """A C{/since} that is refused ends no session."""
        old, token = self.bot()
        guest = self.peer()
        events = self.events_after(guest, f"/json on\n/guest gus\n/since ~={token} @bot=1\n")
        self.assertEqual(events[-1]["code"], "forbidden")
        self.assertFalse(old.gone)

    def test_other_nodes_are_asked_once(self) -> None:
        """A connection that gives one unknown token after the other has other nodes look for the
        first only."""
        announced: list[object] = []
        self.patch(self.store, "announce", announced.append)
        stranger = self.peer()
        self.events_after(stranger, "/json on\n/since ~=one\n/since ~=two\n/since ~=three\n")
        self.assertEqual(announced, [TakenOver(digest("one"))])

    def test_forgotten(self) -> None:
        """When the connection ends, its token is forgotten."""
        old, _ = self.bot()
        self.assertEqual(len(self.face.tokens), 1)
        old.vanish()
        self.assertEqual(self.face.tokens, {})
