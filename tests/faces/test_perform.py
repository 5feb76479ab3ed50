"""Carrying out the commands of the table: help, ways out, and what is charged."""

from typing import Any

from twisted.internet.defer import Deferred

from tests.faces.line.server import Json, Peer, ServerTestCase
from tests.support import RecordingOutbox
from twisted_chat.core.events import Place
from twisted_chat.faces import perform
from twisted_chat.protocol.commands import BY_WORD, COMMANDS, Request
from twisted_chat.protocol.jsonlines import encode


class PerformTestCase(ServerTestCase):
    """Zoe is a guest and speaks JSON."""

    def setUp(self) -> None:
        super().setUp()
        self.zoe = self.robot("zoe")
        self.charged: list[float] = []
        intake = self.zoe.protocol.dialogue.intake
        self.patch(type(intake), "charge", lambda _, lines: self.charged.append(lines))

    def do(self, **fields: Any) -> list[Json]:
        """The answer to a request."""
        self.charged.clear()
        return self.events(self.zoe, encode(fields))


class TableTests(PerformTestCase):
    """Every row of the table."""

    def test_every_command(self) -> None:
        """Every command has a function that carries it out, except those that only ask, and
        C{type}."""
        asking = {row.word for row in COMMANDS if row.instead}
        self.assertEqual(set(perform._HOW), set(map(_word, COMMANDS)) - asking - {"type"})


class HelpTests(PerformTestCase):
    """The command C{help}."""

    def help(self, **fields: str) -> list[str]:
        """The usages that help shows."""
        (event,) = self.do(do="help", **fields)
        return [row["usage"] for row in event["commands"]]

    def test_all(self) -> None:
        """C{help} shows every command that can be typed, in the order of the table."""
        self.assertEqual(self.help(), [row.synopsis for row in COMMANDS if row.in_text])

    def test_one(self) -> None:
        """C{help} shows a command by any of its words, with a slash or without."""
        for word in ("dm", "/dm", "!dm", "MSG", "/tell"):
            self.assertEqual(self.help(command=word), ["/dm NAME MESSAGE"])
        self.assertEqual(self.help(command="DM"), ["DM"])

    def test_none(self) -> None:
        """C{help} for an unknown command is refused, and names the nearest."""
        for word in ("joim", "\x1bjoim"):
            (error,) = self.do(do="help", command=word)
            self.assertEqual(error["code"], "unknown-command")
            self.assertIn("/join", error["text"])
            self.assertTrue(error["text"].isprintable())


class EndTests(ServerTestCase):
    """Every word that ends a session."""

    def test_every_way_out(self) -> None:
        """Every word that ends a session does so, typed and as a request."""
        words = ["/quit", "/logout", "/exit", "/bye", "!logout", "EX", "ex", "exit", "/QUIT"]
        for word in words + [encode({"do": word}).decode() for word in BY_WORD["quit"].words]:
            peer: Peer = self.robot("zoe")
            self.tell(peer, f"{word}\n")
            self.assertTrue(peer.gone, word)


class ClosedTests(PerformTestCase):
    """A session ends while a request is carried out."""

    def test_told_nothing_more(self) -> None:
        """What the request comes to is not told behind the bye, whatever the outbox does then."""
        outbox = RecordingOutbox()
        seat = self.zoe.protocol.dialogue
        self.patch(seat.session, "outbox", outbox)
        self.store.hold()
        work = Deferred.fromCoroutine(perform.perform(seat, Request("join", {"room": "tea"}, "7")))
        self.chat.end_session(seat.session)
        outbox.take()
        self.store.release()
        self.successResultOf(work)
        self.assertEqual(outbox.take(), [])


class ChargeTests(PerformTestCase):
    """Requests that count as more than one line."""

    def test_commands(self) -> None:
        """A command counts as many lines as the table says."""
        for fields in (
            {"do": "bc", "message": "hi"},
            {"do": "users"},
            {"do": "history"},
            {"do": "where"},
        ):
            self.do(**fields)
            self.assertEqual(self.charged[0], BY_WORD[fields["do"]].cost - 1)

    def test_long_answers(self) -> None:
        """An answer counts a line more for each 500 people, rooms or messages."""

        async def thousand(*_: object) -> int:
            return 1000

        self.patch(self.chat, "join", thousand)
        self.patch(self.chat, "since", thousand)
        self.do(do="join", room="tea")
        self.assertEqual(self.charged, [1, 2])
        self.do(do="since", places={"lobby": 0, "tea": 0})
        self.assertEqual(self.charged, [0, 2, 2])

    def test_where_counts_what_is_new(self) -> None:
        """C{where} counts a line more for each 500 messages that were counted for it."""

        async def new(*_: object) -> tuple[Place, ...]:
            return Place("tea", 1, "", 9, 0, 1000, True), Place("bar", 1, "", 9, 0, 500, False)

        self.patch(self.chat, "where", new)
        self.do(do="where")
        self.assertEqual(self.charged, [4, 3])

    def test_places(self) -> None:
        """A resume counts a line for each place; joining a room that was resumed is free."""
        self.do(do="since", places={"tea": 0})
        self.assertEqual(self.charged, [0, 1, 0])
        self.do(do="join", room="#Tea")
        self.assertEqual(self.charged, [1, -2, 0])
        self.do(do="leave", room="tea")
        self.do(do="join", room="tea")
        self.assertEqual(self.charged, [1, 0])

    def test_unknown_names(self) -> None:
        """A name that nobody has counts two lines more."""
        self.do(do="dm", name="nobody", message="x")
        self.assertEqual(self.charged, [0, 2])
        self.do(do="users", room="nowhere")
        self.assertEqual(self.charged, [1, 2])


def _word(row: Any) -> str:
    return str(row.word)
