"""A person at a terminal: the person, the screen and the server are played by the test."""

import re
from collections import deque

from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from twisted_chat.client import show
from twisted_chat.client.connection import GaveUp, Where
from twisted_chat.client.terminal.conversation import Conversation, Paste
from twisted_chat.client.terminal.status import Status

from .peer import BOT, Fields, Script, Server


class Screen:
    """A screen, and who sits before it.

    @ivar shown: the lines that are on it.
    @ivar asked: the questions that were asked.
    @ivar alerts: how often it rang.
    """

    dates = False

    def __init__(self) -> None:
        self.shown: list[str] = []
        self.asked: list[str] = []
        self.alerts = 0
        self._typed: deque[str | Paste] = deque()
        self._waiting: Deferred[str | Paste] | None = None

    def show(self, line: show.Line) -> None:
        self.shown.append(show.plain(line))

    def alert(self) -> None:
        self.alerts += 1

    def refresh(self) -> None:
        pass

    def put_back(self, text: str) -> None:
        pass

    async def close(self) -> None:
        pass

    def type(self, typed: str | Paste) -> None:
        """Type a line, or an answer."""
        self._typed.append(typed)
        if self._waiting is not None:
            waiting, self._waiting = self._waiting, None
            waiting.callback(self._typed.popleft())

    async def line(self) -> str | Paste:
        if self._typed:
            return self._typed.popleft()
        self._waiting = Deferred()
        return await self._waiting

    async def ask(self, question: str, *, secret: bool = False) -> str:
        self.asked.append(question)
        return str(await self.line())


class Talk(Server):
    """A server, and a conversation that is in there."""

    def __init__(self, test: SynchronousTestCase) -> None:
        Script.__init__(self)
        self._test = test
        self.reactor = MemoryReactorClock()
        self.screen = Screen()
        self.status = Status()
        conversation = Conversation(
            Where(unix="/s"), BOT, (), self.screen, self.status, asks=False, reactor=self.reactor
        )
        self.ended = self.run(conversation.run())
        self.leave = conversation.leave
        test.addCleanup(self.end)
        self.take()
        self.let_in()
        self.answer()

    def end(self) -> None:
        """Leave, whatever is still unsent."""
        self.leave()
        self.reactor.advance(10)
        if self.has_link:
            self.lose()

    def take(self) -> None:
        super().take()
        self.has_link = True

    def lose(self) -> None:
        self.has_link = False
        super().lose()

    def read(self) -> list[Fields]:
        """The requests of the client, without what it asks by itself on coming in."""
        return [each for each in super().read() if each["do"] not in ("rooms", "help")]

    def answer(self) -> None:
        """Do what a server does with all that the client asks; there is nobody else."""
        while requests := self.read():
            for fields in requests:
                self._answer(**fields)

    def _answer(self, do: str, room: str = "", **_: object) -> None:
        label = self.labels[do].pop(0)
        if do == "users":
            people = [{"name": "bot", "account": True}]
            self.tell("users", room=room, users=people, label=label)
        elif do == "join":
            self.tell("joined", name="bot", account=True, room=room, label=label)
            self.tell("history", room=room, count=0, label=label)
        elif do == "login":
            self.tell("welcome", name="bot", account=True, room="lobby", label=label)
            self.tell("motd", lines=["be kind"], label=label)
            self.tell("history", room="lobby", count=0, label=label)
        self.tell("done", label=label)

    def told(self) -> list[str]:
        """What the client has said of its connection."""
        return [line for line in self.screen.shown if re.search("connected|trying|cannot be", line)]

    def type(self, *typed: str | Paste) -> None:
        for each in typed:
            self.screen.type(each)

    def back(self) -> None:
        """The connection is made again, and everything is answered."""
        self.come_back()
        self.labels.clear()
        self.hello()
        self.answer()


class TypedTests(SynchronousTestCase):
    """Lines that are typed."""

    def setUp(self) -> None:
        self.talk = Talk(self)

    def test_asked_while_away(self) -> None:
        """A question that was typed in a room while there was no connection is answered for that
        room, and shown, although another room is talked in by then."""
        self.talk.labels.clear()
        for room in ("ops", "dev"):
            self.talk.type(f"/join {room}")
            self.talk.answer()
        self.talk.lose()
        self.talk.type("/users", "/join ops")
        self.assertEqual(self.talk.status.room, "ops")
        shown = len(self.talk.screen.shown)
        self.talk.back()
        counted = [line for line in self.talk.screen.shown[shown:] if "1 person is in" in line]
        self.assertEqual(counted, ["* 1 person is in #dev: bot"])

    def test_left_elsewhere(self) -> None:
        """If the room where we talk is left in another session, it is told where typed lines go
        from now on; if it is another room, they go where they went."""
        for room in ("ops", "dev"):
            self.talk.type(f"/join {room}")
            self.talk.answer()
        shown = len(self.talk.screen.shown)
        for room in ("ops", "dev"):
            self.talk.tell("left", name="bot", room=room)
        told = ["* you left #ops", "* you left #dev", "* now talking in the lobby"]
        self.assertEqual(self.talk.screen.shown[shown:], told)

    def test_coming_back(self) -> None:
        """What was told at login is not told again after a reconnect. Messages of meanwhile are,
        and the bell rings for those that are for us."""
        self.talk.labels.clear()
        self.talk.lose()
        shown = len(self.talk.screen.shown)
        self.talk.come_back()
        self.talk.hello()
        self.talk.welcome()
        self.talk.tell("motd", lines=["be kind"], label=self.talk.label("login"))
        self.talk.message(1, "bot: hi", replay=True, from_="eve")
        self.talk.history(count=1)
        self.talk.done("login")
        told = [line for line in self.talk.screen.shown[shown:] if "connect" not in line]
        self.assertEqual([line.partition(" ")[2] for line in told[-1:]], ["eve: bot: hi"])
        self.assertFalse([line for line in told if "kind" in line or "you are" in line])
        self.assertEqual(self.talk.screen.alerts, 1)

    def test_lines_wait_in_sight(self) -> None:
        """Lines without a receipt are shown, in order, but for those that may hold a password."""
        self.talk.lose()
        self.talk.type("one", "/dm bob two", "/users", "/lgoin bob s3cret", "three")
        self.assertEqual(list(self.talk.status.unsent), ["one", "/dm bob two", "/users", "three"])

    def test_given_up(self) -> None:
        """When the client gives up, the reason is told once, with the number of lines that were not
        sent."""
        self.talk.lose()
        self.talk.type("one", "two")
        shown = len(self.talk.screen.shown)
        self.talk.labels.clear()
        self.talk.come_back()
        self.talk.hello()
        self.talk.refuse("login", "wrong-password", "wrong name or password")
        failure = self.failureResultOf(self.talk.ended, GaveUp)
        self.assertEqual(str(failure.value), "wrong name or password; 2 lines were not sent")
        told = self.talk.screen.shown[shown:]
        self.assertEqual([line for line in told if line.startswith("!")], [])

    def test_message_that_is_a_command(self) -> None:
        """A command that answers a question for a message is not said, and the way to say it is
        told."""
        for answers in (["PM", "/login alice s3cret"], ["DM", "bob", "login alice s3cret"]):
            self.talk.type(*answers)
            self.assertEqual(self.talk.written(), [])
            self.assertIn("to say it, put it in double quotes", self.talk.screen.shown[-1])

    def test_new_password(self) -> None:
        """What C{/passwd} is not given is asked for; C{--keep} is passed on."""
        self.talk.labels.clear()
        passwords = {"old": "old-pw", "new": "new-pw"}
        for typed, answers, sent in (
            ("/passwd", ["old-pw", "new-pw", "new-pw"], passwords),
            ("/passwd --keep", ["old-pw", "new-pw", "new-pw"], {"keep": True, **passwords}),
            ("/passwd old-pw", ["new-pw", "new-pw"], passwords),
        ):
            self.talk.type(typed, *answers)
            (asked,) = self.talk.read()
            self.assertEqual(asked, {"do": "passwd", **sent})
            self.talk.done("passwd")

    def test_reads(self) -> None:
        """Who types something has read what is on the screen, in all rooms and in private, and the
        server is told so a little later, once."""
        self.talk.topic(1, "tea")
        self.talk.message(2, "x", from_="eve")
        self.talk.message(3, "mine")
        self.talk.dm(3, "psst")
        self.assertEqual(self.talk.status.model.unread, 1)
        self.talk.reactor.advance(60)
        self.talk.type("hi")
        self.assertEqual([each["do"] for each in self.talk.read()], ["say"])
        self.assertEqual(self.talk.status.model.unread, 0)
        self.talk.reactor.advance(2)
        marks = [
            {"do": "read", "of": place, "seq": seq} for place, seq in (("lobby", 2), ("@bob", 3))
        ]
        self.assertEqual(self.talk.read(), marks)
        self.talk.type("hi again")
        self.talk.reactor.advance(60)
        self.assertEqual([each["do"] for each in self.talk.read()], ["say"])

    def test_leaves_after_reading(self) -> None:
        """What was read is said before the client leaves."""
        self.talk.message(1, "x", from_="eve")
        self.talk.type("/quit")
        self.assertEqual([each["do"] for each in self.talk.read()], ["read", "quit"])

    def test_to(self) -> None:
        """C{/to} goes to a room that one is in, which is then read; what is typed next goes there,
        and C{/where} says so."""
        self.talk.labels.clear()
        self.talk.tell("joined", name="bot", account=True, room="dev")
        self.talk.type("/to #dev", "hi")
        self.assertEqual(self.talk.read(), [{"do": "to", "room": "dev"}])
        self.talk.done("to")
        asked = [each for each in self.talk.read() if each["do"] != "users"]
        self.assertEqual(asked, [{"do": "say", "room": "dev", "message": "hi"}])
        self.assertEqual(self.talk.status.room, "dev")
        self.assertIn("* now talking in #dev", self.talk.screen.shown)
        self.talk.type("/where")
        rows = [self.talk.row("lobby", 1, 1, 0), self.talk.row("dev", 1, 1, 0)]
        self.talk.tell("where", room="lobby", rooms=rows, label=self.talk.label("where"))
        expected = ["* what you type goes to #dev", "* you are in the lobby and #dev"]
        self.assertEqual(self.talk.screen.shown[-2:], expected)

    def test_message_that_is_quoted(self) -> None:
        """A quoted message is said without its quotes, as by the server."""
        self.talk.type("PM", '"/quit"')
        said = {"do": "say", "room": "lobby", "message": "/quit"}
        self.assertEqual(self.talk.read(), [said])

    def test_pasted_password(self) -> None:
        """The question about a paste says so if the paste seems to hold a password."""
        self.talk.type(Paste(["hello", "\u3000/login alice s3cret"], ""), "n")
        self.assertIn("password", self.talk.screen.asked[-1])
        self.talk.type(Paste(["hello", "/quit"], ""), "n")
        self.assertNotIn("password", self.talk.screen.asked[-1])
        self.assertEqual(self.talk.written(), [])
