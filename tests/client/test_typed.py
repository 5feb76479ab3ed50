"""What is typed at the client means what it would have meant at the server."""

from collections.abc import Callable

from hypothesis import example, given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from twisted_chat.client.connection import Refused
from twisted_chat.core import names
from twisted_chat.core.errors import Refusal
from twisted_chat.core.text import clean
from twisted_chat.protocol import grammar
from twisted_chat.protocol.commands import BY_WORD, COMMANDS, Kind

from .peer import BOT, Fields, Server

_WORDS = [
    *(word for command in COMMANDS for word in command.words),
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


def meant(line: str) -> Fields | None:
    """The request that a server makes of a line that is typed in the lobby; nothing for what it
    refuses, asks about, or answers without the log."""
    parsed = grammar.parse(line)
    if isinstance(parsed, grammar.Speech):
        return checked({"do": "say", "room": "lobby", "message": parsed.text})
    try:
        asked = grammar.request(parsed)
    except Refusal:
        return None
    command = BY_WORD[asked.do]
    if any(p.kind is Kind.SECRET and p.name not in asked.fields for p in command.parameters):
        return None  # it is asked for
    fields = {"do": asked.do, **asked.fields}
    if asked.do in ("PM", "DM", "r", "json"):
        return None  # questions; nobody has written yet; of the client's own
    if asked.do in ("EX", "quit"):
        return {"do": "quit"}
    if asked.do == "bc":
        fields = {"do": "say", "room": "lobby", "message": asked.fields["message"]}
    room = "of" if asked.do in ("history", "read") else "room"
    if any(parameter.name == room for parameter in command.parameters):
        fields = {room: "lobby", **fields}
    return checked(fields)


def checked(fields: Fields) -> Fields | None:
    """The request with its names and texts as the core has them; nothing for what it refuses."""
    checks: dict[str, Callable[[str], str]] = {"message": clean, "action": clean}
    if fields["do"] in ("join", "leave", "say", "to"):
        checks["room"] = names.room
    if fields["do"] == "dm":
        checks["name"] = names.canonical
    try:
        given = {n: checks[n](value) if n in checks else value for n, value in fields.items()}
    except Refusal:
        return None
    if not all(given[name] for name in ("message", "action") if name in given):
        return None
    return None if given == {"do": "join", "room": "lobby"} else given


class TypedTests(SynchronousTestCase):
    """A client that is in, in the lobby."""

    def type(self, line: str) -> Fields | None:
        """Have a line typed; gives back the request that the client makes of it."""
        server = self.server()
        server.run(server.client.type(line)).addErrback(lambda _: None)
        requests = server.read()
        self.assertLessEqual(len(requests), 1)
        if not requests:
            return None
        request = requests[0]
        return meant(request["line"]) if request["do"] == "type" else request

    def server(self) -> Server:
        """One whose client is in."""
        server = Server(self, BOT)
        server.let_in()
        server.read()
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
    @example("/frob bob s3cret")
    @example("/topic")
    @example('/passwd "--keep" old new')
    @example("/leave")
    @example("/say lobby hi")
    @example("/to #Lobby")
    @example("/to dev hi")
    @example("/where")
    @example("/read")
    @example("/read @bob")
    def test_means_the_same(self, line: str) -> None:
        """The request that the client makes of a line is the one that the server would have made
        of it; but for a slip that would publish a password."""
        if grammar.is_slip(line):
            self.assertIsNone(self.type(line))
        else:
            self.assertEqual(self.type(line), meant(line))

    def refusal(self, line: str, server: Server | None = None, to: str = "") -> str:
        """What somebody is told who types this, which is not even sent."""
        server = server or self.server()
        refused = self.failureResultOf(Deferred.fromCoroutine(server.client.type(line, to)))
        self.assertEqual(server.read(), [])
        return str(refused.check(Refused) and refused.value)

    def test_slips(self) -> None:
        """What looks like a misspelt login is said to nobody, and the way to say it is told."""
        for line in ("x/login alice s3cret", "login bob s3cret", "! login bob s3cret"):
            for to in ("", "carol"):
                self.assertIn("to say it, put it in double quotes", self.refusal(line, to=to))
        for line, text in (
            ('"login bob s3cret"', "login bob s3cret"),
            ("login is broken", "login is broken"),
        ):
            self.assertEqual(self.type(line), {"do": "say", "room": "lobby", "message": text})

    def test_in_private(self) -> None:
        """What is typed to a person is said to that person, but not a command."""
        server = self.server()
        for line in ("hi", "\u3000/login alice s3cret"):
            server.run(server.client.type(line, "bob"))
        told = {"do": "dm", "name": "bob", "message": "hi"}
        login = {"do": "login", "name": "alice", "password": "s3cret"}
        self.assertEqual(server.read(), [told, login])

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
            told = {"do": "dm", "name": "bob", "message": "hi there"}
            self.assertEqual(self.type(f"/{word} bob hi there"), told)

    def test_pm(self) -> None:
        """C{/pm} and C{!pm} tell nobody, and name the two ways."""
        for line in ("/pm bob hi", "!pm bob hi", "/PM"):
            sentence = self.refusal(line)
            self.assertIn("/dm NAME MESSAGE", sentence)
            self.assertIn("/bc MESSAGE", sentence)

    def test_reply(self) -> None:
        """C{/r} answers whoever last wrote in private."""
        server = self.server()
        self.assertIn("nobody has written to you", self.refusal("/r hi", server))
        server.dm(None, "psst", from_="bob")
        server.run(server.client.type('/r "two"'))
        self.assertEqual(server.read(), [{"do": "dm", "name": "bob", "message": "two"}])

    def test_where_it_was_typed(self) -> None:
        """A command that names no room is about the one in which it was typed."""
        server = Server(self, BOT, "dev")
        server.let_in()
        server.joined("dev")
        server.read()
        for line, where in (
            ("/users", {"room": "dev"}),
            ("/topic x", {"room": "dev", "text": "x"}),
            ("/me waves", {"room": "dev", "action": "waves"}),
            ("/history 5", {"of": "dev", "count": 5}),
            ("/history 5 ops", {"of": "ops", "count": 5}),
            ("/leave", {"room": "dev"}),
        ):
            server.run(server.client.type(line))
            (asked,) = server.read()
            del asked["do"]
            self.assertEqual(asked, where)

    def test_unknown_commands(self) -> None:
        """A command that the client does not know is for the server to judge."""
        server = self.server()
        asked = server.run(server.client.type("/frob x"))
        self.assertEqual(server.read(), [{"do": "type", "line": "/frob x"}])
        server.refuse("type", "unknown-command", "there is no command")
        self.assertEqual(str(self.failureResultOf(asked, Refused).value), "there is no command")

    def test_misspelt(self) -> None:
        """A command that may have a password or a private message behind it is not even sent."""
        for line in ("/lgoin bob s3cret", "!lgoin bob s3cret", "/identify s3cret", "/dmm bob hi"):
            self.assertIn("there is no command", self.refusal(line))

    def test_json(self) -> None:
        """The client's own language is neither switched off nor asked for again."""
        for line in ("/json on", "/json off"):
            self.assertIn("JSON Lines", self.refusal(line))
