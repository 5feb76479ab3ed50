"""A conversation: a person at a screen that is played by the test, and a server that is, too."""

import re
from collections import deque

from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from twisted_chat.client import show
from twisted_chat.client.connection import Where
from twisted_chat.client.conversation import Conversation, Paste
from twisted_chat.client.state import State

from .test_connection import BOT, Server


class Screen:
    """A screen, and who sits before it.

    @ivar shown: the lines that are on it.
    @ivar asked: the questions that were put.
    """

    dates = False

    def __init__(self) -> None:
        self.shown: list[str] = []
        self.asked: list[str] = []
        self._typed: deque[str | Paste] = deque()
        self._waiting: Deferred[str | Paste] | None = None

    def show(self, line: show.Line) -> None:
        self.shown.append(show.plain(line))

    def alert(self) -> None:
        pass

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
        self._test = test
        self.reactor = MemoryReactorClock()
        self.screen = Screen()
        self.state = State()
        conversation = Conversation(
            Where(unix="/s"), BOT, (), self.screen, self.state, asks=False, reactor=self.reactor
        )
        self.ended = self.run(conversation.run())
        self.leave = conversation.leave
        test.addCleanup(self.end)
        self.take()
        self.let_in()
        self.answer(self.lines())

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

    def answer(self, lines: list[str]) -> None:
        """Do what a server does with these lines; there is nobody else."""
        room = "lobby"
        for line in lines:
            word, _, rest = line.partition(" ")
            if word == "/json":
                self.hello()
            elif word == "/users":
                self.tell("users", room=rest or room, users=[{"name": "bot", "account": True}])
            elif word == "/join":
                self.tell("joined" if rest != room else "notice", name="bot", room=rest, text="")
                room = rest

    def told(self) -> list[str]:
        """What the client has said of its connection."""
        return [line for line in self.screen.shown if re.search("connected|trying|cannot be", line)]

    def type(self, *typed: str | Paste) -> None:
        for each in typed:
            self.screen.type(each)

    def back(self) -> None:
        """The connection is lost, and made again; whoever is asked to go into a room does."""
        self.come_back()
        self.hello()
        self.tell("welcome", name="bot", account=True, room="lobby")
        while lines := [line for line in self.lines() if not line.startswith(("/since", "/login"))]:
            self.answer(lines)


class TypedTests(SynchronousTestCase):
    """Lines that are typed."""

    def setUp(self) -> None:
        self.talk = Talk(self)

    def test_asked_while_away(self) -> None:
        """A question that was typed in a room while there was no connection is answered for that
        room, and the answer is shown, also if another room is talked in by then."""
        self.talk.type("/join ops")
        self.talk.answer(self.talk.lines())
        self.talk.type("/join dev")
        self.talk.answer(self.talk.lines())
        self.talk.lose()
        self.talk.type("/users", "/join ops")
        self.assertEqual(self.talk.state.room, "ops")
        shown = len(self.talk.screen.shown)
        self.talk.back()
        counted = [line for line in self.talk.screen.shown[shown:] if "1 person is in" in line]
        self.assertEqual(counted, ["* 1 person is in #dev: bot"])

    def test_lines_wait_in_sight(self) -> None:
        """What was typed and has no receipt is there to be seen, in order, but for what may hold a
        password."""
        self.talk.lose()
        self.talk.type("one", "/dm bob two", "/users", "/lgoin bob s3cret", "three")
        self.assertEqual(list(self.talk.state.unsent), ["one", "/dm bob two", "/users"])

    def test_message_that_is_a_command(self) -> None:
        """In answer to a question for a message it is not said, and the way to say it is told."""
        for answers in (["PM", "/login alice s3cret"], ["DM", "bob", "login alice s3cret"]):
            self.talk.type(*answers)
            self.assertEqual(self.talk.lines(), [])
            self.assertIn("in double quotes it is said", self.talk.screen.shown[-1])

    def test_new_password(self) -> None:
        """What C{/passwd} is not given is asked for; C{--keep} is passed on."""
        for typed, sent in (
            ("/passwd", "/passwd old-pw new-pw"),
            ("/passwd --keep", "/passwd --keep old-pw new-pw"),
        ):
            self.talk.type(typed, "old-pw", "new-pw", "new-pw")
            lines = self.talk.lines()
            self.assertIn(sent, lines)
            self.talk.answer(lines)

    def test_message_that_is_quoted(self) -> None:
        """It is said without its quotes, as by the server."""
        self.talk.type("PM", '"/quit"')
        self.assertEqual(self.talk.lines(), ["\u2060/quit"])

    def test_pasted_password(self) -> None:
        """A paste that seems to hold a password says so in the question."""
        self.talk.type(Paste(["hello", "\u3000/login alice s3cret"], ""), "n")
        self.assertIn("password", self.talk.screen.asked[-1])
        self.talk.type(Paste(["hello", "/quit"], ""), "n")
        self.assertNotIn("password", self.talk.screen.asked[-1])
        self.assertEqual(self.talk.lines(), [])
