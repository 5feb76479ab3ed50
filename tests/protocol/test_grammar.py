"""The grammar of typed lines."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twisted_chat.core.errors import Refusal
from twisted_chat.protocol import commands, grammar
from twisted_chat.protocol.commands import COMMANDS, WITH_PASSWORD, Request
from twisted_chat.protocol.grammar import (
    Command,
    Speech,
    is_secret,
    is_slip,
    named,
    parse,
    request,
)


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
        """Spaces before and behind the arguments are removed."""
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

    def test_bare_words_with_much_behind_them(self) -> None:
        """Spaces and tabs behind a bare word change nothing, however many there are."""
        for behind in (" " * 20, "\t" * 20, " \t" * 10):
            parsed = grammar.parse(f"exit{behind}")
            assert isinstance(parsed, Command)
            self.assertEqual(parsed.word, "exit")
            self.assertIsInstance(grammar.parse(f"logout{behind}", newcomer=True), Command)
            self.assertIsInstance(grammar.parse(f"exit{behind}x"), Speech)

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

    def test_word_for_a_bot(self) -> None:
        """An exclamation mark and a word that is not in the table are said; with one of the table,
        or with /pm, which is refused, they are a command."""
        for line in ("!deploy staging", "!frobnicate", "!karma", "!wi-fi?", "!type x", "!kick bob"):
            self.assertEqual(parse(line), Speech(line))
        for word in (*(word for each in COMMANDS if each.in_text for word in each.words), "pm"):
            if word.isalpha() and word.islower():
                self.assertEqual(parse(f"!{word} x"), Command(f"!{word}", word, "x"))

    def test_what_is_confided_is_for_no_bot(self) -> None:
        """A misspelt command with a password or a private message behind it is not said."""
        for word in ("lgin", "login:", "regsiter", "passwdd", "password", "identify", "mgs"):
            self.assertIsInstance(parse(f"!{word} alice s3cret-pw"), Command, word)

    def test_other_quotes_stay(self) -> None:
        """Any other quotes are the message's own."""
        for line in ('"a" and "b"', '"', '"half', 'say "hi"'):
            self.assertEqual(parse(line), Speech(line))

    @given(st.text())
    def test_any_line_can_be_said(self, line: str) -> None:
        """Text that begins with a slash is said unchanged behind one more slash."""
        self.assertEqual(parse(f"//{line}"), Speech(f"/{line}".rstrip(" \t")))

    @given(st.text(), st.sampled_from(["", "/", "!", "//", " ", '"']))
    def test_any_line_is_one_or_the_other(self, line: str, start: str) -> None:
        """No line raises anything; a command's word is in lower case and without spaces."""
        parsed = parse(start + line)
        if isinstance(parsed, Command) and parsed.word not in ("PM", "DM", "EX"):
            self.assertEqual(parsed.word, parsed.word.lower())
            self.assertEqual(parsed.word.split(), [parsed.word] if parsed.word else [])


def typed(line: str) -> Request:
    """The request that a line is."""
    called = parse(line)
    assert isinstance(called, Command), called
    return request(called)


_plain_word = st.text(
    st.characters(categories=["L", "N", "P", "S"], exclude_characters='"'), min_size=1
)
_quotable = st.text(st.characters(categories=["L", "N", "P", "S", "Zs"], exclude_characters='"'))


class RequestTests(SynchronousTestCase):
    """Typed commands as requests."""

    def check(self, line: str, do: str, **fields: object) -> None:
        """The line is this request."""
        self.assertEqual(typed(line), Request(do, fields), line)

    def refused(self, line: str) -> str:
        """The sentence of the C{bad-arguments} that a line is refused with."""
        refusal = self.assertRaises(Refusal, typed, line)
        self.assertEqual(refusal.code, "bad-arguments", line)
        return str(refusal.text)

    def test_every_command(self) -> None:
        """Each command that can be typed gives its fields."""
        for line, do, fields in (
            ("/help", "help", {}),
            ("/? /dm", "help", {"command": "/dm"}),
            ("/register bob s3cret", "register", {"name": "bob", "password": "s3cret"}),
            ("/login bob", "login", {"name": "bob"}),
            ("/guest", "guest", {}),
            ("/guest bob", "guest", {"name": "bob"}),
            ("/who #dev", "users", {"room": "#dev"}),
            ("/msg @bob: hi there", "dm", {"name": "bob", "message": "hi there"}),
            ("/r hi there", "r", {"message": "hi there"}),
            ("/bc hi", "bc", {"message": "hi"}),
            ("/say dev hi  there", "say", {"room": "dev", "message": "hi  there"}),
            ("/join dev", "join", {"room": "dev"}),
            ("/part", "leave", {}),
            ("/rooms", "rooms", {}),
            ("/topic", "topic", {}),
            ("/topic tea & cake", "topic", {"text": "tea & cake"}),
            ('/topic ""', "topic", {"text": ""}),
            ("/me waves", "me", {"action": "waves"}),
            ("/history", "history", {}),
            ("/history 5 @bob", "history", {"count": 5, "of": "@bob"}),
            ("/to #dev", "to", {"room": "#dev"}),
            ("/where", "where", {}),
            ("/read", "read", {}),
            ("/read @bob:", "read", {"of": "@bob"}),
            ("/since dev=14 @bob=3", "since", {"places": {"dev": 14, "@bob": 3}}),
            ("/nick bob", "nick", {"name": "bob"}),
            ("/passwd --keep a b", "passwd", {"keep": True, "old": "a", "new": "b"}),
            ("/json ON", "json", {"switch": "on"}),
            ("/bye", "quit", {}),
            ("PM", "PM", {}),
            ("dm", "DM", {}),
            ("Ex", "EX", {}),
            ("exit", "quit", {}),
        ):
            self.assertEqual(typed(line), Request(do, fields), line)

    def test_typed(self) -> None:
        """A request knows how its command was typed, and has no label."""
        for line, word in (("/MSG bob hi", "/MSG"), ("!msg bob hi", "!msg"), ("pm", "PM")):
            self.assertEqual((typed(line).typed, typed(line).label), (word, ""))

    def test_words(self) -> None:
        """How many spaces are between words does not matter; quotes hold a word together."""
        self.check("/login   alice \t secret  ", "login", name="alice", password="secret")
        self.check('/login alice "my secret"', "login", name="alice", password="my secret")
        self.check('/login alice ""', "login", name="alice", password="")
        for word in ('pa"ss', '"pass', 'pass"', '"pa"ss', '"'):
            self.check(f"/login alice {word}", "login", name="alice", password=word)

    def test_option(self) -> None:
        """--keep counts in front of the passwords and without quotes."""
        for rest, fields in (
            ("old new", {"old": "old", "new": "new"}),
            ("--keep old new", {"keep": True, "old": "old", "new": "new"}),
            ("old --keep", {"old": "old", "new": "--keep"}),
            ('"--keep" new', {"old": "--keep", "new": "new"}),
            ("--keeper new", {"old": "--keeper", "new": "new"}),
            ("--keep", {"keep": True}),
            ("", {}),
        ):
            self.assertEqual(typed(f"/passwd {rest}").fields, fields, rest)

    def test_rest_of_the_line(self) -> None:
        """A message keeps its spaces and quotes, but for one pair around it all."""
        for rest, message in (
            ('so  "he" said', 'so  "he" said'),
            ('"hi there"', "hi there"),
            ('""hi""', '"hi"'),
            ('"a" "b"', '"a" "b"'),
            ('""', ""),
        ):
            self.check(f"/dm bob {rest}", "dm", name="bob", message=message)

    def test_person(self) -> None:
        """A person may be typed with @ in front and a colon or comma behind."""
        for name in ("zoë", "@zoë", "zoë:", "@zoë,", "\uff20zoë\uff1a"):
            self.assertEqual(named(name), "zoë")
            self.check(f"/dm {name} hi", "dm", name="zoë", message="hi")
        self.check("/history @zoë:", "history", of="@zoë")

    def test_history(self) -> None:
        """Either parameter may be missing; a second number is a room."""
        for rest, fields in (
            ("5", {"count": 5}),
            ("dev", {"of": "dev"}),
            ("5 dev", {"count": 5, "of": "dev"}),
            ("5 5", {"count": 5, "of": "5"}),
            ("99999999999999", {"count": 9999999999}),
            ("\u0665", {"of": "\u0665"}),
        ):
            self.assertEqual(typed(f"/history {rest}").fields, fields)
        for rest in ("dev 5", "tea lobby", "@bob @eve", "5 dev tea"):
            self.assertIn("usage: /history", self.refused(f"/history {rest}"))

    def test_since(self) -> None:
        """Up to 20 rooms and private conversations, and the session to take over among them."""
        self.check("/since #Ops=5 a=b=1", "since", places={"#Ops": 5, "a=b": 1})
        self.check("/since @bob=3 dev=0 @zoë=1", "since", places={"@bob": 3, "dev": 0, "@zoë": 1})
        self.check("/since ~=X dev=1", "since", places={"dev": 1}, session="X")
        self.check("/since ~=", "since", places={}, session="")
        for rest in ("lobby", "lobby=", "=5", "a=x", "a=-1", "a=1 5", "a=1234567890123456789"):
            self.assertIn("usage: /since ROOM=SEQ @NAME=SEQ", self.refused(f"/since {rest}"))
        places = [f"r{number}=1" for number in range(21)]
        typed(f"/since ~=X {' '.join(places[:20])}")
        self.assertIn("20 places", self.refused(f"/since {' '.join(places)}"))

    def test_private_messages_without_a_name(self) -> None:
        """The @ alone, which was a place in protocol version 1, is refused with the way to write
        one."""
        for rest in ("@=17", "dev=14 @=0"):
            self.assertIn("as in @bob=3", self.refused(f"/since {rest}"))
        self.check("/since @=17=3", "since", places={"@=17": 3})

    def test_control_characters_do_not_come_back(self) -> None:
        """An arrow key or an override behind the slash is not shown."""
        for line in ("/\x1b[A", "/\x00", "/who\x07", "/\u202ejoin", "/\x9bm"):
            refusal = self.assertRaises(Refusal, typed, line)
            self.assertTrue(refusal.text.isprintable(), ascii(line))

    def test_of_a_line(self) -> None:
        """A line is a request too: what is said, and commands that need not ask."""
        for line, do, fields in (
            ("hello", "say", {"message": "hello"}),
            ('"/quit"', "say", {"message": "/quit"}),
            ("/who tea", "users", {"room": "tea"}),
            ("/passwd old new", "passwd", {"old": "old", "new": "new"}),
            ("exit", "quit", {}),
        ):
            self.assertEqual(grammar.typed(line, label="7"), Request(do, fields, "7"))

    def test_of_a_line_that_lacks_something(self) -> None:
        """What would be asked for is named in the usage."""
        for line, usage in (
            ("/login bob", "/login NAME PASSWORD"),
            ("/register bob", "/register NAME PASSWORD"),
            ("/passwd --keep old", "/passwd [--keep] OLD NEW"),
            ("PM", "/bc MESSAGE"),
            ("DM", "/dm NAME MESSAGE"),
        ):
            refusal = self.assertRaises(Refusal, grammar.typed, line)
            self.assertEqual((refusal.code, refusal.text), ("bad-arguments", f"usage: {usage}"))

    def test_missing_argument(self) -> None:
        """A parameter without brackets has to be there."""
        for line in ("/dm", "/dm bob", "/dm bob \t ", "/bc", "/me", "/join", "/nick", "/r"):
            self.assertIn("usage: /", self.refused(line))
        for line in ("/register", "/login", "/say", "/say dev", "/since", "/json"):
            self.assertIn("usage: /", self.refused(line))
        self.assertEqual(self.refused("/msg bob"), "usage: /dm NAME MESSAGE")

    def test_what_another_command_does(self) -> None:
        """A message behind /to is refused with the command that says something in a room."""
        for line in ("/to", "/to dev hi there"):
            sentence = "usage: /to ROOM; /say ROOM MESSAGE says something there"
            self.assertEqual(self.refused(line), sentence)

    def test_argument_too_many(self) -> None:
        """Words that no parameter takes are refused."""
        for line in (
            "/login alice my secret",
            "/join tea room",
            "/rooms all",
            "/quit now",
            "/users tea room",
            "/json on off",
            "/json maybe",
            '/json ""',
        ):
            self.assertIn("usage: /", self.refused(line))

    @given(_plain_word, _plain_word)
    def test_any_words_come_back(self, one: str, other: str) -> None:
        """Words without spaces or quotes are the values."""
        self.check(f"/login {one} {other}", "login", name=one, password=other)

    @given(_quotable, _quotable)
    def test_any_quoted_words_come_back(self, one: str, other: str) -> None:
        """Text without a quote is one value if it stands in quotes."""
        self.check(f'/login "{one}" "{other}"', "login", name=one, password=other)

    @given(
        st.sampled_from([word for each in COMMANDS if each.in_text for word in each.words]),
        st.text(st.sampled_from('ab" \t\x1c\u00a0é5=@:~-')),
    )
    def test_anything_is_read_or_refused(self, word: str, rest: str) -> None:
        """Nothing behind a command raises anything but a refusal, and only fields of the table
        come out."""
        called = parse(f"/{word} {rest}")
        assert isinstance(called, Command)
        try:
            got = request(called)
        except Refusal as refusal:
            self.assertIn(refusal.code, ("bad-arguments", "unknown-command"))
        else:
            known = {parameter.name for parameter in commands.BY_WORD[got.do].parameters}
            self.assertLessEqual(set(got.fields), known)


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
        """A command with a password is secret, however it is spelt, and whatever stands before
        it."""
        for line in (*_SLIPS, *_COMMANDS):
            self.assertTrue(is_secret(line), line)

    def test_not_secret(self) -> None:
        """Other commands are not secret."""
        others = [f"/{command.word} bob hi" for command in COMMANDS]
        for line in (*others, "hello", "", "/logout", "/dm bob my login is", "! hi", "#dev"):
            wanted = line.startswith(tuple(f"/{word}" for word in WITH_PASSWORD))
            self.assertEqual(is_secret(line), wanted, line)

    def test_slip(self) -> None:
        """A password that would be said by mistake is told from talk and from commands."""
        for line in _SLIPS:
            self.assertEqual(parse(line), Speech(line.rstrip(" ")), line)
            self.assertTrue(is_slip(line), line)
        for line in (*_TALK, *_COMMANDS):
            self.assertFalse(is_slip(line), line)

    def test_empty_quotes(self) -> None:
        """Empty quotes are no password, and no name either."""
        self.assertFalse(is_slip('register @bob ""'))
        self.assertTrue(is_slip('register "" @bob'))

    def test_slip_can_be_said(self) -> None:
        """In quotes, behind two slashes, or behind a word joiner, a line that looks like a slip is
        said."""
        for line in _SLIPS:
            self.assertFalse(is_slip(f"//{line}"), line)
            self.assertFalse(is_slip(f"\u2060{line}"), line)
        self.assertFalse(is_slip('"login bob pw"'))

    def test_beginning_is_enough(self) -> None:
        """A long line is judged by its beginning, whatever it becomes when it is folded."""
        for line in (f"login alice {'s3cret' * 600}", f"{'. ' * 2000}/login alice s3cret-pw"):
            self.assertTrue(is_slip(line))
            self.assertTrue(is_secret(line))
        self.assertFalse(is_slip("\ufdfa" * 1365))

    @given(st.text(), st.sampled_from(["", "/", "x/login ", "login ", "! ", '"', "\u2060"]))
    def test_slips_are_secret(self, line: str, start: str) -> None:
        """No line raises anything, and every slip is secret."""
        if is_slip(start + line):
            self.assertTrue(is_secret(start + line))
