"""What is typed at the client means to a server what it would have meant there."""

from collections.abc import Iterable

from hypothesis import example, given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from twisted_chat.client.connection import Refused
from twisted_chat.core import names
from twisted_chat.core.errors import Refusal
from twisted_chat.core.text import clean
from twisted_chat.protocol import commands, grammar
from twisted_chat.protocol.grammar import Speech, named

from .test_connection import BOT, Server

_WORDS = [
    *(word for command in commands.COMMANDS for word in (command.word, *command.also)),
    "exit",
    "lgoin",
    "nosuch",
    "pm",
    "",
]
_BEFORE = ["", " ", "\t", "\u3000", "\u00a0", "\u200b", "\ufeff", "\u200e", " \ufeff", "\u2060"]
_MARKS = ["/", "!", "", "//", "/ ", "! ", '"', "/\u3000", "x/"]
_GAPS = [" ", "  ", "\t", "\u3000", " \u200b", ""]
_ARGUMENTS = [
    "@bob",
    "bob:",
    "bob",
    '"bob"',
    '"hi there"',
    "dev",
    '"dev"',
    "hi there",
    '"a" and "b"',
    "B\u00d6B",
    '""',
]

_texts = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=8)
_argument = st.sampled_from(_ARGUMENTS) | _texts
_typed = st.builds(
    lambda *parts: "".join(parts),
    st.sampled_from(_BEFORE),
    st.sampled_from(_MARKS),
    st.sampled_from(_WORDS).flatmap(lambda word: st.sampled_from([word, word.upper()])) | _texts,
    st.sampled_from(_GAPS),
    _argument,
    st.sampled_from(_GAPS),
    _argument,
    st.sampled_from(["", " ", '"', "\t", "\u3000"]),
)


def meant(lines: Iterable[str]) -> list[tuple[str, ...]]:
    """What a server does when it reads these lines in the lobby; nothing for what it refuses."""
    room = "lobby"
    done: list[tuple[str, ...]] = []
    for line in lines:
        try:
            parsed = grammar.parse(line)
            if isinstance(parsed, Speech):
                done += [("said", room, text)] if (text := clean(parsed.text)) else []
                continue
            command = commands.find(parsed.typed, parsed.word)
            request = grammar.request(parsed)
            given = list(request.fields.values())
            if command.word in ("json", "PM", "DM", "r"):
                continue  # of the client's own; questions; nobody has written yet
            if not request.is_complete:
                continue  # it is asked for
            if command.word in ("bc", "me"):
                kind, to = ("did", room) if command.word == "me" else ("said", "lobby")
                done += [(kind, to, text)] if (text := clean(given[0])) else []
            elif command.word == "dm":
                to = names.canonical(named(given[0]))
                done += [("told", to, text)] if (text := clean(given[1])) else []
            elif command.word == "join":
                if (new := names.room(given[0])) != room:
                    done.append(("join", new))
                room = new
            elif command.word == "leave":
                done.append(("leave", names.room(given[0]) if given else room))
            elif command.word in ("quit", "EX"):
                done.append(("quit",))
            else:
                done.append((command.word, *given))
        except Refusal:
            pass
    return done


class TypedTests(SynchronousTestCase):
    """A client that is in, in the lobby."""

    def type(self, line: str) -> list[str]:
        """Have a line typed; gives back what the client has written to the server."""
        server = self.server()
        server.run(server.client.type(line)).addErrback(lambda _: None)
        return server.lines()

    def server(self) -> Server:
        """One whose client is in."""
        server = Server(self, BOT)
        server.let_in()
        server.lines()
        return server

    @given(_typed)
    @example("\u3000/login bob s3cret")
    @example("\u00a0/login bob s3cret")
    @example("\u200b/login bob s3cret")
    @example("\ufeff/login bob s3cret")
    @example("/ login bob s3cret")
    @example('/dm bob "hi there"')
    @example('/dm "bob" hi')
    @example('/join "dev"')
    @example('"PM"')
    @example("/since dev=1\u3000")
    @example("PM")
    @example("//quit")
    @example("!deploy staging")
    @example("!lgoin bob s3cret")
    @example("/dm @bob, hi")
    @example("/login bob")
    @example("\u2060/quit")
    def test_means_the_same(self, line: str) -> None:
        """What the server makes of the lines that the client writes is what it would have made
        of the line that was typed; but for a slip that would publish a password."""
        if grammar.is_slip(line):
            self.assertEqual(self.type(line), [])
        else:
            self.assertEqual(meant(self.type(line)), meant([line]))

    def refusal(self, line: str, server: Server | None = None, to: str = "") -> str:
        """What somebody is told who types this, which is not even sent."""
        server = server or self.server()
        refused = self.failureResultOf(Deferred.fromCoroutine(server.client.type(line, to)))
        self.assertEqual(server.lines(), [])
        return str(refused.check(Refused) and refused.value)

    def test_slips(self) -> None:
        """What looks like a misspelt login is said to nobody, and the way to say it is told."""
        for line in ("x/login alice s3cret", "login bob s3cret", "! login bob s3cret"):
            for to in ("", "carol"):
                self.assertIn("in double quotes it is said", self.refusal(line, to=to))
        self.assertEqual(meant(self.type('"login bob s3cret"')), meant(['"login bob s3cret"']))
        self.assertEqual(
            meant(self.type("login is broken")), [("said", "lobby", "login is broken")]
        )

    def test_in_private(self) -> None:
        """What is typed to a person is said to that person, but not a command."""
        server = self.server()
        for line in ("hi", "\u3000/login alice s3cret"):
            server.run(server.client.type(line, "bob"))
        told = [("told", "bob", "hi"), ("login", "alice", "s3cret")]
        self.assertEqual(meant(server.lines()), told)

    def test_usage(self) -> None:
        """Too little or too much gets the usage, as from the server."""
        for line, usage in (
            ("/dm bob", "usage: /dm NAME MESSAGE"),
            ("/tell", "usage: /dm NAME MESSAGE"),
            ("/join a b", "usage: /join ROOM"),
            ("/me", "usage: /me ACTION"),
            ("/quit now", "usage: /quit"),
            ("/login bob", "usage: /login NAME PASSWORD"),
            ("/passwd s3cret", "usage: /passwd [--keep] OLD NEW"),
        ):
            self.assertEqual(self.refusal(line), usage)

    def test_words_for_dm(self) -> None:
        """C{/w}, C{/whisper} and C{/query} tell one person."""
        for word in ("w", "whisper", "query"):
            self.assertEqual(
                meant(self.type(f"/{word} bob hi there")), [("told", "bob", "hi there")]
            )

    def test_pm(self) -> None:
        """C{/pm} and C{!pm} tell nobody, and name the two ways."""
        for line in ("/pm bob hi", "!pm bob hi", "/PM"):
            sentence = self.refusal(line)
            self.assertIn("/dm NAME MESSAGE", sentence)
            self.assertIn("/bc MESSAGE", sentence)

    def test_reply(self) -> None:
        """C{/r} answers whoever last wrote in private, under the name that they have now; what we
        said, and what was asked for again, changes nothing."""
        server = self.server()
        self.assertIn("nobody has written to you", self.refusal("/r hi", server))
        private = {"id": None, "text": "x", "replay": False}
        server.tell("dm", from_="carol", to="bot", **private)
        server.tell("dm", from_="bob", to="bot", **private)
        server.tell("dm", from_="bot", to="dave", **private)
        server.tell("dm", from_="carol", to="bot", **{**private, "replay": True})
        server.history("@carol", 1)
        server.run(server.client.type("/r one"))
        server.tell("renamed", name="bob", to="rob")
        server.run(server.client.type('/r "two"'))
        self.assertEqual(meant(server.lines()), [("told", "bob", "one"), ("told", "rob", "two")])
