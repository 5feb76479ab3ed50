"""What a line that was typed asks for."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twisted_chat.faces.line import commands
from twisted_chat.protocol.grammar import (
    WITH_PASSWORD,
    WORDS,
    Command,
    Speech,
    arguments,
    is_secret,
    is_slip,
    parse,
)

fuzzed = settings(deadline=None, max_examples=200, derandomize=True)


class ParseTests(SynchronousTestCase):
    """What a line asks for."""

    def test_plain_line_is_said(self) -> None:
        """A line that calls nothing is speech, with the spaces that indent it."""
        self.assertEqual(parse("hello there"), Speech("hello there"))
        self.assertEqual(parse("  hi  "), Speech("  hi"))
        self.assertEqual(parse(""), Speech(""))

    def test_a_command_may_be_indented(self) -> None:
        """A space or what cannot be seen before a command does not say it, and the password in it,
        to all."""
        for before in (
            " ",
            "\t",
            "\ufeff",
            "  \t",
            "\u3000",
            "\u00a0",
            "\u200b",
            " \ufeff",
            "\u200e",
        ):
            self.assertEqual(parse(f"{before}/login a b"), Command("/login", "login", "a b"))

    def test_slash_calls_a_command(self) -> None:
        """The word behind a slash is the command; what follows is left for it."""
        self.assertEqual(parse("/dm bob  hi"), Command("/dm", "dm", "bob  hi"))
        self.assertEqual(parse("/who"), Command("/who", "who", ""))
        self.assertEqual(parse("/?"), Command("/?", "?", ""))

    def test_exclamation_mark_calls_a_command(self) -> None:
        """!command is the same as /command."""
        self.assertEqual(parse("!msg bob hi"), Command("!msg", "msg", "bob hi"))

    def test_command_word_in_any_case(self) -> None:
        """The word is compared in lower case and quoted as it was typed."""
        self.assertEqual(parse("/WHO Tea"), Command("/WHO", "who", "Tea"))
        self.assertEqual(parse("!Logout"), Command("!Logout", "logout", ""))

    def test_spaces_around_the_arguments_go(self) -> None:
        """Neither what separates the arguments from the word nor what follows them is theirs."""
        self.assertEqual(parse("/me   waves  "), Command("/me", "me", "waves"))
        self.assertEqual(parse("/me\twaves"), Command("/me", "me", "waves"))

    def test_doubled_slash_is_said(self) -> None:
        """A line that begins with two slashes is said with one."""
        self.assertEqual(parse("//quit"), Speech("/quit"))
        self.assertEqual(parse("// comment"), Speech("/ comment"))
        self.assertEqual(parse("///"), Speech("//"))

    def test_slash_alone_is_a_command(self) -> None:
        """A slash with nothing behind it is not said: something was meant."""
        self.assertEqual(parse("/"), Command("/", "", ""))

    def test_exclamation_without_a_word_is_said(self) -> None:
        """!!!, a lone ! and !1 are speech: no command begins so."""
        for line in ("!!!", "!", "!1", "! who", "!!who", "!_x"):
            self.assertEqual(parse(line), Speech(line))

    def test_slash_further_back_is_said(self) -> None:
        """A slash within a line calls nothing."""
        self.assertEqual(parse("and/or"), Speech("and/or"))
        self.assertEqual(parse("see /help"), Speech("see /help"))

    def test_bare_words_are_commands(self) -> None:
        """PM, DM, EX and exit alone on a line are commands, in any case and between spaces."""
        for line, word in (("PM", "PM"), ("dm", "DM"), ("eX", "EX"), ("EXIT", "exit")):
            for spelt in (line, f" {line} ", f"{line}\t"):
                self.assertEqual(parse(spelt), Command(word, word, ""))

    def test_first_words(self) -> None:
        """help, quit, bye and logout alone on a line are commands to a newcomer, and to nobody
        else."""
        for line, word in (
            ("help", "help"),
            ("Quit ", "quit"),
            (" bye", "bye"),
            ("LOGOUT", "logout"),
        ):
            self.assertEqual(parse(line, newcomer=True), Command(line.strip(), word, ""))
            self.assertEqual(parse(line), Speech(line.rstrip(" ")))
        self.assertEqual(parse("help me", newcomer=True), Speech("help me"))

    def test_bare_words_among_others_are_said(self) -> None:
        """The same words in a sentence, or in quotes, are speech."""
        for line in ("exit now", "no exit", "PM me", "ex-", "dm."):
            self.assertEqual(parse(line), Speech(line))
        self.assertEqual(parse('"exit"'), Speech("exit", unquoted=True))

    def test_bare_words_with_a_slash_are_ordinary_commands(self) -> None:
        """/PM is the command pm of the table, not the bare word."""
        self.assertEqual(parse("/PM hi"), Command("/PM", "pm", "hi"))
        self.assertEqual(parse("/exit"), Command("/exit", "exit", ""))

    def test_message_in_quotes(self) -> None:
        """One pair of double quotes around a message is taken off; a command in it is said."""
        for line in ('"hello"', ' "hello" '):
            self.assertEqual(parse(line), Speech("hello", unquoted=True))
        self.assertEqual(parse('"/quit"'), Speech("/quit", unquoted=True))

    def test_message_in_double_quotes_twice(self) -> None:
        """Of two pairs one is taken off: so quotes are said."""
        self.assertEqual(parse('""hello""'), Speech('"hello"', unquoted=True))

    def test_words(self) -> None:
        """The words that are known are those of the table of commands."""
        table = {word for each in commands.COMMANDS for word in (each.word, *each.also)}
        self.assertEqual(WORDS, {word for word in table if word.islower() or word == "?"})
        secret = {each.word for each in commands.COMMANDS if each.has_secret}
        self.assertEqual(set(WITH_PASSWORD), secret)

    def test_other_quotes_stay(self) -> None:
        """Any other quotes are the message's own."""
        for line in ('"a" and "b"', '"', '"half', 'say "hi"'):
            self.assertEqual(parse(line), Speech(line))

    @fuzzed
    @given(st.text())
    def test_any_line_can_be_said(self, line: str) -> None:
        """Whatever begins with a slash is said, as it is, behind one more slash."""
        self.assertEqual(parse(f"//{line}"), Speech(f"/{line}".rstrip(" \t")))

    @fuzzed
    @given(st.text(), st.sampled_from(["", "/", "!", "//", " ", '"']))
    def test_any_line_is_one_or_the_other(self, line: str, start: str) -> None:
        """No line raises anything; a command's word is in lower case and without spaces."""
        parsed = parse(start + line)
        if isinstance(parsed, Command) and parsed.word not in ("PM", "DM", "EX"):
            self.assertEqual(parsed.word, parsed.word.lower())
            self.assertEqual(parsed.word.split(), [parsed.word] if parsed.word else [])


class ArgumentsTests(SynchronousTestCase):
    """What stands behind a command."""

    def test_one_for_each_parameter(self) -> None:
        """A word may stand in quotes, a rest of the line in one pair; the last may be left out."""
        for usage, rest, wanted in (
            ("NAME MESSAGE", "bob hi there", ["bob", "hi there"]),
            ("NAME MESSAGE", '"bob" "hi there"', ["bob", "hi there"]),
            ("NAME MESSAGE", 'bob "a" and "b"', ["bob", '"a" and "b"']),
            ("NAME MESSAGE", 'bob ""', ["bob", ""]),
            ("NAME MESSAGE", "bob", None),
            ("NAME [PASSWORD]", "bob", ["bob"]),
            ("NAME [PASSWORD]", "", None),
            ("NAME [PASSWORD]", 'bob "a b"', ["bob", "a b"]),
            ("[--keep] [OLD] [NEW]", "", []),
            ("[--keep] [OLD] [NEW]", "--keep a b", ["--keep", "a", "b"]),
            ("[--keep] [OLD] [NEW]", '"--keep" b', ["", "--keep", "b"]),
            ("[--keep] [OLD] [NEW]", "--keep", ["--keep"]),
            ("ROOM", "a b", None),
            ("", "", []),
            ("", "x", None),
        ):
            self.assertEqual(arguments(usage, rest), wanted, (usage, rest))


_SLIPS = (
    "x/login alice pw-pw-pw",
    "./login alice pw",
    "x/lgoin alice pw",
    ".!register bob s3cret",
    "\\login bob pw",
    "\uff0flogin bob pw",
    "\u2800/login bob pw",
    "\uff0f\uff4c\uff4f\uff47\uff49\uff4e bob pw",
    "! login bob pw",
    "login bob s3cret-pw",
    "Login bob s3cret-pw",
    " login bob s3cret-pw ",
    '"login bob pw',
    "login\u3000bob\u3000s3cret-pw",
    'login bob "two words"',
    "register bob s3cret-pw",
    "passwd old-pw new-pw",
    "identify s3cret-pw",
    "ns identify s3cret-pw",
    "nickserv identify bob s3cret-pw",
    "x/identify s3cret-pw",
    "login alice letmeinplease",
    "7login alice pw",
    "x/login a s3cret-pw",
    ".дщпшт alice s3cret-pw",
    ".купшыеук фдшсу ы3скуе-зц",
    ".ךםעןמ alice s3cret-pw",
    "ظمخلهى alice s3cret-pw",
)
"""Lines that would be said, with a password in them."""

_COMMANDS = (
    "/login a pw",
    "//login a pw",
    "!login a pw",
    "/LOGIN a pw",
    "\u3000/login a pw",
    "/lgoin a pw",
    "/ login bob pw",
    "/register a pw",
    "/regsiter a pw",
    "/reg a pw",
    "/rgstr a pw",
    "/passwd a b",
    "/paswd a b",
    "/password a b",
    "/pwd a b",
    "/pass a",
    "/signin a pw",
    "/identify pw",
    "/id pw",
    "/auth pw",
    "/ns identify pw",
    "/msg nickserv identify pw",
    "/dm NickServ IDENTIFY pw",
    "/l\u200bogin a pw",
)
"""Other lines that may hold one."""

_TALK = (
    "hello",
    "login page is broken",
    "the login page is broken",
    "login works",
    "login is broken",
    "register for it",
    "please register for the talk",
    "and/or login",
    "passwd is a command",
    "id please",
    "auth broken again",
    "see src/auth now",
    "w/ login works",
    "identify the one who broke it",
    "login page broken",
    "login page unavailable",
    "Login geht nicht",
    "Login funktioniert nicht",
    "login marche pas",
    "login isn't working",
    "login не работает",
    "login nie działa",
    "login できない よ",
    "login failed again",
    "login anyone else?",
    "login successful, thanks",
    "2 login attempts failed",
    "register bob please",
    "register now please",
    "register here: https://chat.example",
    "passwd oder so",
    "passwd file is wrong",
    "I can't login bob says",
    "identify yourself",
    "привет всем",
    "и/или так",
)
"""Lines that people say."""


class SecretTests(SynchronousTestCase):
    """Lines that may hold a password."""

    def test_secret(self) -> None:
        """However the command is spelt, and whatever stands before it."""
        for line in (*_SLIPS, *_COMMANDS):
            self.assertTrue(is_secret(line), line)

    def test_not_secret(self) -> None:
        """Not every line is: each other command is worth keeping."""
        others = [f"/{command.word} bob hi" for command in commands.COMMANDS]
        for line in (*others, "hello", "", "/logout", "/dm bob my login is", "! hi", "#dev"):
            wanted = line.startswith(("/login", "/register", "/passwd"))
            self.assertEqual(is_secret(line), wanted, line)

    def test_slip(self) -> None:
        """A password that would be said is told from talk, and from what is a command."""
        for line in _SLIPS:
            self.assertEqual(parse(line), Speech(line.rstrip(" ")), line)
            self.assertTrue(is_slip(line), line)
        for line in (*_TALK, *_COMMANDS):
            self.assertFalse(is_slip(line), line)

    def test_slip_can_be_said(self) -> None:
        """In quotes, behind two slashes and behind a word joiner, a slip is meant as it is."""
        for line in _SLIPS:
            self.assertFalse(is_slip(f"//{line}"), line)
            self.assertFalse(is_slip(f"\u2060{line}"), line)
        self.assertFalse(is_slip('"login bob pw"'))

    def test_beginning_is_enough(self) -> None:
        """However long a line is, and whatever it becomes when it is folded."""
        for line in (f"login alice {'s3cret' * 600}", f"{'. ' * 2000}/login alice s3cret-pw"):
            self.assertTrue(is_slip(line))
            self.assertTrue(is_secret(line))
        self.assertFalse(is_slip("\ufdfa" * 1365))

    @fuzzed
    @given(st.text(), st.sampled_from(["", "/", "x/login ", "login ", "! ", '"', "\u2060"]))
    def test_slips_are_secret(self, line: str, start: str) -> None:
        """No line raises anything, and what is a slip is secret."""
        if is_slip(start + line):
            self.assertTrue(is_secret(start + line))
