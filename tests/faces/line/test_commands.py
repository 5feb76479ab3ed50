"""The table of commands: what is in it, how a word finds it, how arguments are split."""

from collections.abc import Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from twisted_chat.core.errors import Refusal
from twisted_chat.core.events import HelpEntry
from twisted_chat.faces.line.commands import COMMANDS, Command, find
from twisted_chat.protocol import grammar

_plain_word = st.text(
    st.characters(categories=["L", "N", "P", "S"], exclude_characters='"'), min_size=1
)
_quotable = st.text(st.characters(categories=["L", "N", "P", "S", "Zs"], exclude_characters='"'))

TABLE = {
    "help": ("?",),
    "register": (),
    "login": (),
    "guest": (),
    "users": ("who",),
    "dm": ("msg", "tell", "w", "whisper", "query"),
    "r": (),
    "bc": ("broadcast",),
    "join": (),
    "leave": ("part",),
    "rooms": (),
    "topic": (),
    "me": (),
    "history": (),
    "since": (),
    "nick": (),
    "passwd": (),
    "json": (),
    "quit": ("logout", "exit", "bye"),
}
"""The commands, and what else each is called."""


class Recorder:
    """A terminal that notes what a command does to it."""

    def __init__(self) -> None:
        self.did: list[Any] = []

    def help(self, entries: Sequence[HelpEntry]) -> None:
        self.did.append(list(entries))

    def speak_json(self, on: bool) -> None:
        self.did.append(on)

    def charge(self, lines: int) -> None:
        pass

    def hang_up(self) -> None:
        self.did.append("hung up")


def called(line: str) -> tuple[Command, list[str]]:
    """The command that a line calls, and its arguments."""
    parsed = grammar.parse(line)
    assert isinstance(parsed, grammar.Command), parsed
    command = find(parsed.typed, parsed.word)
    return command, command.arguments(parsed.rest)


def for_bots(line: str) -> bool:
    """A line that looks like a command calls a bot."""
    return isinstance(grammar.parse(line), grammar.Speech)


def arguments(line: str) -> list[str]:
    """The arguments of the command that a line calls."""
    return called(line)[1]


def run(line: str) -> list[Any]:
    """What a line does to a terminal, for commands that wait for nothing."""
    command, given_arguments = called(line)
    recorder = Recorder()
    assert command.run(recorder, *given_arguments) is None
    return recorder.did


class TableTests(SynchronousTestCase):
    """What can be typed."""

    def test_every_command_is_there(self) -> None:
        """Each command of the design finds itself."""
        for word in TABLE:
            self.assertEqual(find(f"/{word}", word).word, word)

    def test_every_other_name_is_there(self) -> None:
        """Each other name of a command finds that command, and help tells of it."""
        for word, also in TABLE.items():
            for other in also:
                self.assertEqual(find(f"/{other}", other).word, word)
                self.assertIn(f"/{other}", find(f"/{word}", word).entry.also)

    def test_bare_words_are_there(self) -> None:
        """PM, DM and EX have rows of their own, and exit alone on a line quits."""
        for word in ("PM", "DM", "EX"):
            self.assertEqual(called(word)[0].word, word)
        self.assertEqual(called("exit")[0].word, "quit")

    def test_pm_with_a_slash_is_refused(self) -> None:
        """/pm is private elsewhere, and the bare PM is for everyone: the two ways are named."""
        for line in ("/pm bob psst", "/PM psst", "!Pm psst", "/pm"):
            refusal = self.assertRaises(Refusal, called, line)
            self.assertEqual(refusal.code, "unknown-command")
            self.assertIn("/dm NAME MESSAGE is private", refusal.text)
            self.assertIn("/bc MESSAGE tells everyone", refusal.text)
        self.assertEqual(called("/DM bob hi")[0].word, "dm")

    def test_nothing_else_is_there(self) -> None:
        """The table holds what the design holds; whoever adds a command adds it there too."""
        self.assertEqual({command.word for command in COMMANDS}, {*TABLE, "PM", "DM", "EX"})

    def test_no_word_is_there_twice(self) -> None:
        """A word calls one command."""
        words = [word for command in COMMANDS for word in (command.word, *command.also)]
        self.assertEqual(len(words), len(set(words)))

    def test_what_anyone_may_call(self) -> None:
        """Before login there are the ways in and back in, the way out, help and the output
        format."""
        open_to_anyone = {command.word for command in COMMANDS if command.anyone}
        self.assertEqual(
            open_to_anyone, {"help", "register", "login", "guest", "since", "json", "quit", "EX"}
        )

    def test_what_goes_through_the_log(self) -> None:
        """The commands that say something keep their place among what is said."""
        self.assertEqual({c.word for c in COMMANDS if c.posts}, {"dm", "r", "bc", "me"})

    def test_every_command_is_explained(self) -> None:
        """Each row has a summary of one line, and a synopsis that begins with its word."""
        for command in COMMANDS:
            self.assertTrue(command.summary.isprintable() and command.summary, command.word)
            self.assertIn(command.synopsis.split()[0], (command.word, f"/{command.word}"))

    def test_synopsis(self) -> None:
        """A synopsis is what is typed; a word that stands alone has no slash."""
        self.assertEqual(find("/dm", "dm").synopsis, "/dm NAME MESSAGE")
        self.assertEqual(find("/rooms", "rooms").synopsis, "/rooms")
        self.assertEqual(find("PM", "PM").synopsis, "PM")


class FindTests(SynchronousTestCase):
    """A word that calls nothing."""

    def refused(self, typed: str) -> str:
        """The sentence that a line with an unknown command is refused with."""
        refusal = self.assertRaises(Refusal, called, typed)
        self.assertEqual(refusal.code, "unknown-command")
        return str(refusal.text)

    def test_nearest_is_named(self) -> None:
        """A misspelt command is named as it was typed, with the one that was meant."""
        for typed, meant in (("/joim", "/join"), ("/hsitory", "/history"), ("/Quti", "/quit")):
            sentence = self.refused(typed)
            self.assertIn(f'"{typed}"', sentence)
            self.assertIn(f"did you mean {meant}?", sentence)

    def test_nearest_may_be_another_name(self) -> None:
        """The other names of commands are suggested as well."""
        self.assertIn("/broadcast?", self.refused("/brodcast"))

    def test_stranger_is_led_to_help(self) -> None:
        """A word that is like no command leads to /help."""
        for typed in ("/zzzzzz", "/flibbertigibbet", "/", "/ hi"):
            sentence = self.refused(typed)
            self.assertIn("/help", sentence)
            self.assertNotIn("did you mean", sentence)

    def test_what_is_no_command_can_be_said(self) -> None:
        """A path at the beginning of a line is answered with how to say it."""
        for typed, way in (
            ("/tmp is full", '"//tmp ..." says it'),
            ("/etc/passwd is broken", '"//etc/passwd ..." says it'),
        ):
            self.assertIn(way, self.refused(typed))

    def test_what_may_hold_a_password_is_not_to_be_said(self) -> None:
        """What signs in elsewhere is not told how it can be said."""
        for typed in ("/signin alice s3cret-pw", "/identify s3cret-pw", "/loginn", "/pwd a b"):
            self.assertNotIn("says it", self.refused(typed))

    def test_words_of_other_trades_suggest_nothing(self) -> None:
        """What is a command elsewhere, and does something else, is not taken for a slip."""
        for typed in ("/kick bob", "/mute bob", "/ban bob", "/whois bob", "/mode +o bob", "/list"):
            self.assertNotIn("did you mean", self.refused(typed))

    def test_word_for_a_bot(self) -> None:
        """An exclamation mark before a word that is no command is no call of ours."""
        for line in ("!deploy staging", "!frobnicate", "!karma", "!wi-fi?"):
            self.assertTrue(for_bots(line), line)
        for line in ("!who", "!msg bob hi", "/deploy staging", "!pm bob hi"):
            self.assertFalse(for_bots(line), line)

    def test_what_is_confided_is_for_no_bot(self) -> None:
        """A slip in a command with a password or a private message publishes neither."""
        for line in (
            "!lgin alice s3cret-pw",
            "!lgoin alice s3cret-pw",
            "!login: alice s3cret-pw",
            "!regsiter alice s3cret-pw",
            "!passwdd a b",
            "!password a b",
            "!identify s3cret-pw",
            "!mgs bob psst",
            "!whipser bob psst",
        ):
            self.assertFalse(for_bots(line), line)
            self.refused(line)

    def test_long_word_is_cut(self) -> None:
        """A word as long as a line does not come back whole."""
        self.assertLess(len(self.refused("/" + "x" * 4000)), 120)

    def test_control_characters_do_not_come_back(self) -> None:
        """An arrow key or an override behind the slash is not shown."""
        for typed in ("/\x1b[A", "/\x00", "/who\x07", "/\u202ejoin", "/\x9bm"):
            self.assertTrue(self.refused(typed).isprintable(), ascii(typed))

    @given(st.text(st.characters(exclude_categories=["Cs"])).map(lambda word: word.lstrip("/")))
    def test_any_word_is_found_or_refused(self, word: str) -> None:
        """No word behind a slash raises anything but the two refusals, and both can be shown."""
        try:
            called(f"/{word}")
        except Refusal as refusal:
            self.assertIn(refusal.code, ("unknown-command", "bad-arguments"))
            self.assertTrue(refusal.text.isprintable())


class ArgumentTests(SynchronousTestCase):
    """What is typed behind a command."""

    def test_words(self) -> None:
        """Each parameter is a word; how many spaces are between them does not matter."""
        self.assertEqual(arguments("/login alice secret"), ["alice", "secret"])
        self.assertEqual(arguments("/login   alice \t secret  "), ["alice", "secret"])

    def test_quoted_words(self) -> None:
        """A word with spaces in it stands in double quotes."""
        self.assertEqual(arguments('/login alice "my secret"'), ["alice", "my secret"])
        self.assertEqual(arguments('/passwd "old one" "new one"'), ["", "old one", "new one"])

    def test_option(self) -> None:
        """Is there or not, in front of the words; in quotes it is a word as any other."""
        self.assertEqual(arguments("/passwd old-one new-one"), ["", "old-one", "new-one"])
        self.assertEqual(arguments("/passwd --keep old new"), ["--keep", "old", "new"])
        self.assertEqual(arguments("/passwd old --keep"), ["", "old", "--keep"])
        self.assertEqual(arguments('/passwd "--keep" new'), ["", "--keep", "new"])
        self.assertEqual(arguments("/passwd --keeper new"), ["", "--keeper", "new"])
        self.assertEqual(arguments("/passwd --keep"), ["--keep"])
        self.assertEqual(arguments("/passwd"), [])

    def test_empty_quotes_are_an_empty_word(self) -> None:
        """A pair of quotes with nothing in it is an argument."""
        self.assertEqual(arguments('/login alice ""'), ["alice", ""])

    def test_quotes_within_a_word_are_its_own(self) -> None:
        """A quote that does not hold a whole word is a character like any other."""
        for word in ('pa"ss', '"pass', 'pass"', '"pa"ss', '"'):
            self.assertEqual(arguments(f"/login alice {word}"), ["alice", word])

    def test_message_is_the_rest_of_the_line(self) -> None:
        """A message keeps the spaces and quotes within it."""
        self.assertEqual(arguments('/dm bob so  "he" said'), ["bob", 'so  "he" said'])
        self.assertEqual(arguments("/bc a  b"), ["a  b"])
        self.assertEqual(arguments("/topic tea & cake"), ["tea & cake"])
        self.assertEqual(arguments("/me waves at bob"), ["waves at bob"])

    def test_message_may_stand_in_quotes(self) -> None:
        """One pair of double quotes around a message is taken off."""
        self.assertEqual(arguments('/dm bob "hi there"'), ["bob", "hi there"])
        self.assertEqual(arguments('/bc "hi there"'), ["hi there"])
        self.assertEqual(arguments('/bc "a" "b"'), ['"a" "b"'])

    def test_optional_ones_may_be_missing(self) -> None:
        """What stands in brackets may be left out."""
        for line in ("/help", "/users", "/leave", "/topic", "/history", "/guest", "/users  "):
            self.assertEqual(arguments(line), [])
        self.assertEqual(arguments("/passwd"), [])
        self.assertEqual(arguments("/login alice"), ["alice"])

    def test_optional_ones_may_be_given(self) -> None:
        """What stands in brackets, a choice of two words included, is one argument each."""
        self.assertEqual(arguments("/history 5"), ["5"])
        self.assertEqual(arguments("/history 5 @bob"), ["5", "@bob"])
        self.assertEqual(arguments("/users tea"), ["tea"])

    @given(_plain_word, _plain_word)
    def test_any_words_come_back(self, one: str, other: str) -> None:
        """Words without spaces or quotes are the arguments."""
        self.assertEqual(arguments(f"/login {one} {other}"), [one, other])

    @given(_quotable, _quotable)
    def test_any_quoted_words_come_back(self, one: str, other: str) -> None:
        """So is anything without a quote in it that stands in quotes."""
        self.assertEqual(arguments(f'/login "{one}" "{other}"'), [one, other])

    @given(st.sampled_from(COMMANDS), st.text(st.sampled_from('ab" \t\x1c\u00a0é')))
    def test_anything_is_split_or_refused(self, command: Command, rest: str) -> None:
        """Nothing behind a command raises anything but bad-arguments."""
        parsed = grammar.parse(f"/x {rest}")
        assert isinstance(parsed, grammar.Command)
        try:
            command.arguments(parsed.rest)
        except Refusal as refusal:
            self.assertEqual(refusal.code, "bad-arguments")


class UsageTests(SynchronousTestCase):
    """A command with the wrong arguments."""

    def check(self, line: str, synopsis: str) -> None:
        """The line is refused with the command's usage."""
        refusal = self.assertRaises(Refusal, called, line)
        self.assertEqual((refusal.code, refusal.text), ("bad-arguments", f"usage: {synopsis}"))

    def test_missing_argument(self) -> None:
        """A parameter that is not in brackets has to be given."""
        self.check("/dm", "/dm NAME MESSAGE")
        self.check("/dm bob", "/dm NAME MESSAGE")
        self.check("/dm bob \t ", "/dm NAME MESSAGE")
        self.check("/bc", "/bc MESSAGE")
        self.check("/me", "/me ACTION")
        self.check("/join", "/join ROOM")
        self.check("/nick", "/nick NAME")
        self.check("/r", "/r MESSAGE")
        self.check("/register", "/register NAME [PASSWORD]")
        self.check("/login", "/login NAME [PASSWORD]")

    def test_argument_too_many(self) -> None:
        """Words that no parameter takes are refused, not passed over."""
        self.check("/login alice my secret", "/login NAME [PASSWORD]")
        self.check("/join tea room", "/join ROOM")
        self.check("/rooms all", "/rooms")
        self.check("/quit now", "/quit")
        self.check("/users tea room", "/users [ROOM]")
        self.check("/nick al ice", "/nick NAME")

    def test_another_name_has_the_usage_of_the_first(self) -> None:
        """Who called a command by another name is shown its own."""
        self.check("/msg bob", "/dm NAME MESSAGE")

    def test_json_is_on_or_off(self) -> None:
        """/json takes on and off, in any case, and nothing else."""
        self.assertEqual(run("/json on"), [True])
        self.assertEqual(run("/json OFF"), [False])
        for line in ("/json", "/json on off", "/json maybe", '/json ""'):
            refusal = self.assertRaises(Refusal, run, line)
            self.assertEqual(refusal.code, "bad-arguments")
            self.assertIn("usage: /json", refusal.text)

    def test_long_answers_are_charged(self) -> None:
        """A line for each 500 that are shown, besides what the command counts as."""
        for line, charged in (("/join tea", [2]), ("/since lobby=0 tea=0", [2, 2])):
            command: Any
            command, arguments = called(line)
            at: Any = type("At", (), {"session": None})()
            answer: list[int] = []
            at.charge = answer.append
            at.talk_in = lambda room, *, is_new: None
            at.chat = type("Big", (), {"join": _thousand, "since": _thousand})()
            self.successResultOf(Deferred.fromCoroutine(command.run(at, *arguments)))
            self.assertEqual(answer, charged)

    def test_since_takes_places(self) -> None:
        """/since takes any number of rooms and @, each with a number, and nothing else."""
        chat = Recorder()
        command: Any
        command, arguments = called("/since #Ops=5 lobby=0 @=7 a=b=1")
        charged: list[int] = []
        at: Any = type("At", (), {"chat": chat, "session": None})()
        at.charge = charged.append
        chat.since = lambda _, places: _noted(chat, places)  # type: ignore[attr-defined]
        refusal = self.failureResultOf(Deferred.fromCoroutine(command.run(at, *arguments)))
        self.assertEqual(refusal.value.code, "bad-name")
        command, arguments = called("/since #Ops=5 lobby=0 @=7")
        self.successResultOf(Deferred.fromCoroutine(command.run(at, *arguments)))
        self.assertEqual(chat.did, [{"ops": 5, "lobby": 0, "@": 7}])
        self.assertEqual(charged, [3, 0])
        for line in (
            "/since lobby",
            "/since lobby=",
            "/since =5",
            "/since lobby=x",
            "/since lobby=-1",
            "/since lobby=1 5",
            "/since lobby=1234567890123456789",
            "/since " + "a=1 " * 21,
        ):
            command, arguments = called(line)
            refusal = self.failureResultOf(Deferred.fromCoroutine(command.run(at, *arguments)))
            self.assertEqual(refusal.value.code, "bad-arguments", line)

    def test_history_takes_one_place(self) -> None:
        """/history with two places is refused with its usage."""
        for line in ("/history tea lobby", "/history @bob @eve"):
            command, given_arguments = called(line)
            coroutine: Any = command.run(Recorder(), *given_arguments)
            failure = self.failureResultOf(coroutine, Refusal)
            self.assertEqual(failure.value.code, "bad-arguments")


async def _noted(chat: Recorder, places: object) -> int:
    chat.did.append(places)
    return 0


class RunTests(SynchronousTestCase):
    """Commands that need nothing but the terminal."""

    def test_help_lists_the_table(self) -> None:
        """/help answers with every command, in the order of the table."""
        self.assertEqual(run("/help"), [[command.entry for command in COMMANDS]])

    def test_help_of_one_command(self) -> None:
        """/help with a command, by any of its names, with a slash or not, answers with that."""
        entry = find("/dm", "dm").entry
        for line in ("/help dm", "/help /dm", "/help !dm", "/help MSG", "/? tell"):
            self.assertEqual(run(line), [[entry]])

    def test_help_of_no_command(self) -> None:
        """/help with an unknown command names the nearest."""
        refusal = self.assertRaises(Refusal, run, "/help joim")
        self.assertEqual(refusal.code, "unknown-command")
        self.assertIn("/join", refusal.text)

    def test_every_way_out(self) -> None:
        """Each word that ends a session does."""
        for line in ("/quit", "/logout", "/exit", "/bye", "!logout", "EX", "ex", "exit", "/QUIT"):
            self.assertEqual(run(line), ["hung up"])


async def _thousand(*_: object) -> int:
    return 1000
