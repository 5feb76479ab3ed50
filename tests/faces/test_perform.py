"""Carrying out the commands of the table: help, ways out, and what is charged."""

from typing import Any

from tests.faces.line.server import Json, Peer, ServerTestCase
from twisted_chat.faces import perform
from twisted_chat.protocol.commands import BY_WORD, COMMANDS
from twisted_chat.protocol.jsonlines import encode


class PerformTestCase(ServerTestCase):
    """Somebody who is a guest and speaks JSON."""

    def setUp(self) -> None:
        super().setUp()
        self.zoe = self.robot("zoe")
        self.charged: list[float] = []
        intake = self.zoe.protocol.dialogue.intake
        self.patch(type(intake), "charge", lambda _, lines: self.charged.append(lines))

    def do(self, **fields: Any) -> list[Json]:
        """What a request is answered with."""
        self.charged.clear()
        return self.events(self.zoe, encode(fields))


class TableTests(PerformTestCase):
    """Every row of the table."""

    def test_every_command(self) -> None:
        """Can be carried out, but for those that only ask and what is typed."""
        asking = {row.word for row in COMMANDS if row.instead}
        self.assertEqual(set(perform._HOW), set(map(_word, COMMANDS)) - asking - {"type"})


class HelpTests(PerformTestCase):
    """What can be typed."""

    def help(self, **fields: str) -> list[str]:
        """The usages that help shows."""
        (event,) = self.do(do="help", **fields)
        return [row["usage"] for row in event["commands"]]

    def test_all(self) -> None:
        """Every command that can be typed, in the order of the table."""
        self.assertEqual(self.help(), [row.synopsis for row in COMMANDS if row.in_text])

    def test_one(self) -> None:
        """By any of its words, with a slash or not."""
        for word in ("dm", "/dm", "!dm", "MSG", "/tell"):
            self.assertEqual(self.help(command=word), ["/dm NAME MESSAGE"])
        self.assertEqual(self.help(command="DM"), ["DM"])

    def test_none(self) -> None:
        """An unknown command is refused, with the nearest."""
        for word in ("joim", "\x1bjoim"):
            (error,) = self.do(do="help", command=word)
            self.assertEqual(error["code"], "unknown-command")
            self.assertIn("/join", error["text"])
            self.assertTrue(error["text"].isprintable())


class EndTests(ServerTestCase):
    """Every word that ends a session."""

    def test_every_way_out(self) -> None:
        """Typed, and as a request."""
        words = ["/quit", "/logout", "/exit", "/bye", "!logout", "EX", "ex", "exit", "/QUIT"]
        for word in words + [encode({"do": word}).decode() for word in BY_WORD["quit"].words]:
            peer: Peer = self.robot("zoe")
            self.tell(peer, f"{word}\n")
            self.assertTrue(peer.gone, word)


class ChargeTests(PerformTestCase):
    """What counts as more than a line."""

    def test_commands(self) -> None:
        """The table says how many lines a command counts as."""
        for fields in ({"do": "bc", "message": "hi"}, {"do": "users"}, {"do": "history"}):
            self.do(**fields)
            self.assertEqual(self.charged[0], BY_WORD[fields["do"]].cost - 1)

    def test_long_answers(self) -> None:
        """A line for each 500 people, rooms or messages."""

        async def thousand(*_: object) -> int:
            return 1000

        self.patch(self.chat, "join", thousand)
        self.patch(self.chat, "since", thousand)
        self.do(do="join", room="tea")
        self.assertEqual(self.charged, [1, 2])
        self.do(do="since", places={"lobby": 0, "tea": 0})
        self.assertEqual(self.charged, [0, 2, 2])

    def test_places(self) -> None:
        """A line for each place that is looked up; a room that was resumed is joined for free."""
        self.do(do="since", places={"tea": 0})
        self.assertEqual(self.charged, [0, 1, 0])
        self.do(do="join", room="#Tea")
        self.assertEqual(self.charged, [1, -2, 0])
        self.do(do="leave", room="tea")
        self.do(do="join", room="tea")
        self.assertEqual(self.charged, [1, 0])

    def test_unknown_names(self) -> None:
        """Two lines for a name that nobody has."""
        self.do(do="dm", name="nobody", message="x")
        self.assertEqual(self.charged, [0, 2])
        self.do(do="users", room="nowhere")
        self.assertEqual(self.charged, [1, 2])


def _word(row: Any) -> str:
    return str(row.word)
