"""The table of commands, and how a word finds its row."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twisted_chat.core.errors import Refusal
from twisted_chat.protocol.commands import (
    BARE_WORDS,
    BY_WORD,
    COMMANDS,
    WITH_PASSWORD,
    Kind,
    confides,
    find,
    is_ours,
    requested,
)

# Each command: its synopsis, its other words, and the fields of a request; one that may be left out
# has a question mark.
_TABLE = {
    "help": ("/help [COMMAND]", "?", "command?"),
    "register": ("/register NAME [PASSWORD]", "", "name password"),
    "login": ("/login NAME [PASSWORD]", "", "name password"),
    "guest": ("/guest [NAME]", "", "name?"),
    "users": ("/users [ROOM]", "who", "room?"),
    "dm": ("/dm NAME MESSAGE", "msg tell w whisper query", "name message"),
    "r": ("/r MESSAGE", "", "message"),
    "bc": ("/bc MESSAGE", "broadcast", "message"),
    "say": ("/say ROOM MESSAGE", "", "room? message"),
    "join": ("/join ROOM", "", "room"),
    "to": ("/to ROOM", "", "room"),
    "where": ("/where", "", ""),
    "leave": ("/leave [ROOM]", "part", "room?"),
    "rooms": ("/rooms", "", ""),
    "topic": ("/topic [TEXT]", "", "room? text?"),
    "me": ("/me ACTION", "", "room? action"),
    "history": ("/history [N] [ROOM or @NAME]", "", "count? of?"),
    "read": ("/read [ROOM or @NAME]", "", "of? seq?"),
    "since": ("/since ROOM=SEQ @NAME=SEQ...", "", "places session?"),
    "nick": ("/nick NAME", "", "name"),
    "passwd": ("/passwd [--keep] [OLD] [NEW]", "", "keep? old new"),
    "json": ("/json on|off", "", "switch"),
    "quit": ("/quit", "logout exit bye", ""),
    "PM": ("PM", "", ""),
    "DM": ("DM", "", ""),
    "EX": ("EX", "", ""),
    "type": ("/type", "", "line"),
}


class TableTests(SynchronousTestCase):
    """What can be typed and requested."""

    def test_rows(self) -> None:
        """The table holds these commands, with these words and parameters, and no others."""
        self.assertEqual([row.word for row in COMMANDS], list(_TABLE))
        for row in COMMANDS:
            fields = (each.name + "?" * each.optional for each in row.parameters)
            self.assertEqual(
                (row.synopsis, " ".join(row.also), " ".join(fields)), _TABLE[row.word], row.word
            )

    def test_no_word_is_there_twice(self) -> None:
        """A word calls one command."""
        words = [word for row in COMMANDS for word in row.words]
        self.assertEqual(len(words), len(set(words)))

    def test_fields_of_a_request(self) -> None:
        """No parameter has the name of a field that every request has, or one of another."""
        for row in COMMANDS:
            fields = [parameter.name for parameter in row.parameters]
            self.assertEqual(len({*fields, "do", "label"}), len(fields) + 2, row.word)

    def test_where_a_command_can_be_called(self) -> None:
        """PM, DM and EX are for people, C{type} for programs, and all others for both."""
        self.assertEqual([row.word for row in COMMANDS if not row.in_json], ["PM", "DM", "EX"])
        self.assertEqual([row.word for row in COMMANDS if not row.in_text], ["type"])
        self.assertEqual(BARE_WORDS, {"pm": "PM", "dm": "DM", "ex": "EX", "exit": "exit"})

    def test_what_anyone_may_call(self) -> None:
        """Before login there are the ways in and back in, the way out, help, the output format, and
        typing any of them."""
        anyone = {row.word for row in COMMANDS if row.anyone}
        ways_in = {"register", "login", "guest", "since"}
        self.assertEqual(anyone, ways_in | {"help", "json", "quit", "EX", "type"})

    def test_what_goes_through_the_log(self) -> None:
        """The commands that say something keep their place among what is said."""
        posts = {row.word for row in COMMANDS if row.posts}
        self.assertEqual(posts, {"dm", "r", "bc", "say", "me"})

    def test_cost(self) -> None:
        """A command counts as one line, but for those that give the server more to do."""
        costs = {row.word: row.cost for row in COMMANDS if row.cost != 1}
        self.assertEqual(costs, {"users": 2, "join": 2, "where": 5, "rooms": 2, "history": 5})

    def test_secrets(self) -> None:
        """Passwords are the parameters that are asked for."""
        self.assertEqual(WITH_PASSWORD, ("register", "login", "passwd"))
        for row in COMMANDS:
            for parameter in row.parameters:
                asked = parameter.usage.startswith("[") and not parameter.optional
                self.assertEqual(asked, parameter.kind is Kind.SECRET, (row.word, parameter))

    def test_help_entries(self) -> None:
        """Help shows the synopsis, the other words and a summary, which fit 80 columns but for long
        lists of other words."""
        self.assertEqual(BY_WORD["users"].entry.also, ("/who",))
        for row in COMMANDS:
            entry = row.entry
            self.assertTrue(entry.summary and entry.summary.isprintable(), row.word)
            self.assertLessEqual(len(f"*   {entry.usage:<28} {entry.summary}"), 80, row.word)


class FindTests(SynchronousTestCase):
    """A typed word."""

    def refused(self, typed: str) -> str:
        """The sentence that the word is refused with."""
        refusal = self.assertRaises(Refusal, find, typed, typed.lstrip("/!").lower())
        self.assertEqual(refusal.code, "unknown-command")
        return str(refusal.text)

    def test_every_word(self) -> None:
        """Each word of a command that can be typed finds it."""
        for row in COMMANDS:
            for word in row.words:
                if row.in_text:
                    self.assertIs(find(f"/{word}", word), row)
                    self.assertTrue(is_ours(word))

    def test_for_programs_only(self) -> None:
        """What cannot be typed is not there for people, and never suggested."""
        self.assertIn('no command "/type"', self.refused("/type"))
        self.assertNotIn("did you mean", self.refused("/typ"))
        self.assertFalse(is_ours("type"))

    def test_pm(self) -> None:
        """/pm is private elsewhere and the bare PM is for everyone: the two ways are named."""
        for typed in ("/pm", "/PM", "!Pm"):
            sentence = self.refused(typed)
            self.assertIn("/dm NAME MESSAGE is private", sentence)
            self.assertIn("/bc MESSAGE is public", sentence)
        self.assertTrue(is_ours("pm"))

    def test_nearest_is_named(self) -> None:
        """A misspelt command is named as it was typed, with the one that was meant."""
        for typed, meant in (
            ("/joim", "/join"),
            ("/hsitory", "/history"),
            ("/Quti", "/quit"),
            ("/brodcast", "/broadcast"),
            ("/sya", "/say"),
        ):
            sentence = self.refused(typed)
            self.assertIn(f'"{typed}"', sentence)
            self.assertIn(f"did you mean {meant}?", sentence)

    def test_stranger_is_led_to_help(self) -> None:
        """A word that is like no command leads to /help, and to how the line is said."""
        for typed in ("/zzzzzz", "/flibbertigibbet", "/", "/ww"):
            sentence = self.refused(typed)
            self.assertIn("/help", sentence)
            self.assertNotIn("did you mean", sentence)
        for typed in ("/tmp", "/etc/passwd"):
            self.assertIn(f'to say it, type "/{typed} ..."', self.refused(typed))

    def test_what_may_hold_a_password_is_not_to_be_said(self) -> None:
        """For a command that signs in elsewhere no way to say the line is offered."""
        for typed in ("/signin", "/identify", "/loginn", "/pwd"):
            self.assertNotIn("to say it", self.refused(typed))
            self.assertTrue(confides(typed[1:]))

    def test_what_is_confided(self) -> None:
        """A command with a password or a private message confides, also misspelt; a single letter
        confides nothing."""
        for word in (
            "login",
            "lgoin",
            "login:",
            "regsiter",
            "password",
            "mgs",
            "whipser",
            "nickserv",
        ):
            self.assertTrue(confides(word), word)
        for word in ("w", "r", "wx", "join", "say", "bc", "deploy", ""):
            self.assertFalse(confides(word), word)

    def test_words_of_other_chats_suggest_nothing(self) -> None:
        """A command of another chat that does something else is not taken for a slip."""
        for typed in ("/kick", "/mute", "/ban", "/whois", "/mode", "/list"):
            self.assertNotIn("did you mean", self.refused(typed))

    def test_long_word_is_cut(self) -> None:
        """A word as long as a line does not come back whole."""
        self.assertLess(len(self.refused("/" + "x" * 4000)), 120)


class RequestedTests(SynchronousTestCase):
    """The C{do} of a JSON request."""

    def test_every_word(self) -> None:
        """Each word of a command for programs finds it."""
        for row in COMMANDS:
            for word in row.words:
                if row.in_json:
                    self.assertIs(requested(word), row)

    def test_unknown(self) -> None:
        """A word that is none is refused without a slash, with the nearest or the way to help."""
        for word, way in (
            ("joim", 'did you mean "join"?'),
            ("typ", 'did you mean "type"?'),
            ("kick", '"help" lists them'),
            ("PM", '"help" lists them'),
            ("/join", "no command"),
            ("JOIN", "no command"),
            ("", "no command"),
        ):
            refusal = self.assertRaises(Refusal, requested, word)
            self.assertEqual(refusal.code, "unknown-command")
            self.assertIn(way, refusal.text)

    @given(st.text())
    def test_any_word(self, word: str) -> None:
        """No word raises anything but the refusal, which can be shown."""
        try:
            requested(word)
        except Refusal as refusal:
            self.assertEqual(refusal.code, "unknown-command")
            self.assertTrue(refusal.text.isprintable())
