"""Each error code that a line can be answered with, and defects of ours."""

from twisted_chat.core.errors import Refusal
from twisted_chat.core.limits import Limits

from .server import (
    Peer,
    ServerTestCase,
)


class RefusalTests(ServerTestCase):
    """Each error code that a line can be answered with, to a program."""

    limits = Limits(max_joined=2, max_rooms=3, max_history=50, line_rate=0)

    def refuse(self, peer: Peer, line: str | bytes, code: str, command: str = "") -> str:
        """Check that a line is refused with this code, and that the session goes on; return the
        sentence."""
        encoded = line.encode() if isinstance(line, str) else line
        *before, error = self.events(peer, encoded + b"\n")
        self.assertEqual([event for event in before if event["event"] == "error"], [])
        always = {"code", "command", "event", "text", "time"}
        self.assertEqual(always - error.keys(), set())
        self.assertLessEqual(error.keys() - always, {"room", "name", "nearest", "limit"})
        self.assertEqual(
            (error["event"], error["code"], error["command"]), ("error", code, command)
        )
        self.assertEqual(error["time"], "2023-11-14T22:13:20.000Z")
        self.assertRegex(error["text"], r"\S")
        self.check_goes_on(peer)
        return str(error["text"])

    def check_goes_on(self, peer: Peer) -> None:
        """After a refusal a session can go on: to speak if it is logged in, otherwise to log in."""
        if peer.protocol.dialogue.session.person is None:
            came = self.events(peer, "/guest later\n")
            self.assertEqual(came[0]["event"], "welcome")
        (said,) = self.events(peer, "and on\n")
        self.assertEqual((said["event"], said["text"]), ("message", "and on"))

    def outsider(self) -> Peer:
        """Make a program that has not logged in."""
        peer = self.peer()
        self.tell(peer, "/json on\n")
        return peer

    def test_unknown_command(self) -> None:
        """The refusal of a misspelt command names the nearest."""
        sentence = self.refuse(self.robot("alice"), "/usres now", "unknown-command", "/usres")
        self.assertEqual(sentence, 'there is no command "/usres"; did you mean /users?')

    def test_unknown_command_unlike_any(self) -> None:
        """The refusal of a command like no other says how to list them, and how to say the line."""
        sentence = self.refuse(self.robot("alice"), "/tmp is full", "unknown-command", "/tmp")
        self.assertEqual(
            sentence, 'there is no command "/tmp"; /help lists them; to say it, type "//tmp ..."'
        )

    def test_slip_with_a_password_behind_it(self) -> None:
        """A misspelt command with a password behind it is said to nobody, also with an exclamation
        mark."""
        alice = self.robot("alice")
        for word in "!lgin", "/lgin", "!signin":
            self.refuse(alice, f"{word} alice wonderland", "unknown-command", word)
        self.assertNotIn("wonderland", str(self.messages))

    def test_nobody_to_answer(self) -> None:
        """A reply is refused if nobody has written."""
        self.refuse(self.robot("alice"), "/r hi", "no-such-person", "/r")

    def test_password_with_an_arrow_key(self) -> None:
        """A password with an arrow key in it is refused."""
        peer = self.outsider()
        self.refuse(peer, "/register alice wonder\x1b[Dland", "bad-password", "/register")
        self.assertEqual(self.store.registered, [])

    def test_bad_arguments(self) -> None:
        """Missing or extra arguments are refused with the usage."""
        alice = self.robot("alice")
        for line, command, usage in (
            ("/dm", "/dm", "/dm NAME MESSAGE"),
            ("/DM bob", "/DM", "/dm NAME MESSAGE"),
            ("/tell bob", "/tell", "/dm NAME MESSAGE"),
            ("/join", "/join", "/join ROOM"),
            ("/rooms tea", "/rooms", "/rooms"),
            ("/json maybe", "/json", "/json on|off"),
            ("/history 1 2 3", "/history", "/history [N] [ROOM or @NAME]"),
        ):
            self.assertEqual(self.refuse(alice, line, "bad-arguments", command), f"usage: {usage}")

    def test_nothing_to_say(self) -> None:
        """A line of which nothing can be seen is refused."""
        self.refuse(self.robot("alice"), "\u200b\u2060", "bad-arguments")

    def test_not_logged_in(self) -> None:
        """Most commands are refused before login."""
        for word in ("/users", "/dm", "/bc hi", "/history", "/nick x", "/passwd a b", "/topic"):
            self.serve()
            self.refuse(self.outsider(), word, "not-logged-in", word.split()[0])

    def test_bare_words_before_login(self) -> None:
        """PM and DM are refused before login."""
        self.refuse(self.outsider(), "PM", "not-logged-in", "PM")
        self.serve()
        self.refuse(self.outsider(), "dm", "not-logged-in", "DM")

    def test_already_logged_in(self) -> None:
        """An account cannot log in again, and a guest cannot become another guest; each refusal
        names the way out."""
        peer = self.outsider()
        self.tell(peer, "/register alice wonderland\n")
        for line in ("/login alice wonderland", "/register bob builder-pw", "/guest bob"):
            sentence = self.refuse(peer, line, "already-logged-in", line.split()[0])
            self.assertEqual(
                sentence,
                "you are already logged in as alice; /quit first to log in as somebody else",
            )
        sentence = self.refuse(peer, "/nick bob", "forbidden", "/nick")
        self.assertIn("/quit", sentence)
        sentence = self.refuse(self.robot("carol"), "/guest bob", "already-logged-in", "/guest")
        self.assertIn("/nick", sentence)

    def test_bad_name(self) -> None:
        """A bad name is refused, at the prompt and in commands."""
        self.refuse(self.outsider(), "no spaces please", "bad-name")
        alice = self.robot("alice")
        self.refuse(alice, "/nick @home", "bad-name", "/nick")
        self.refuse(alice, "/nick admin", "bad-name", "/nick")
        self.refuse(alice, "/join a/b", "bad-name", "/join")

    def test_name_taken(self) -> None:
        """The name of a guest who is here, and its look-alikes, are refused."""
        self.guest("alice")
        self.refuse(self.outsider(), "/guest Alice", "name-taken", "/guest")
        self.refuse(self.robot("bob"), "/nick a1ice", "name-taken", "/nick")

    def test_name_registered(self) -> None:
        """A registered name, and its look-alikes, are refused."""
        self.register("alice", "wonderland")
        self.refuse(self.outsider(), "/guest alice", "name-registered", "/guest")
        self.refuse(self.robot("bob"), "/register a1ice wonderland", "name-registered", "/register")

    def test_wrong_password(self) -> None:
        """A wrong password is refused in the same way for a name that does not exist."""
        self.register("alice", "wonderland")
        one = self.refuse(self.outsider(), "/login alice nope", "wrong-password", "/login")
        self.serve()
        other = self.refuse(self.outsider(), "/login alice nope", "wrong-password", "/login")
        self.assertEqual(one, other)

    def test_bad_password(self) -> None:
        """A new password that is too short or too long is refused."""
        peer = self.robot("alice")
        self.refuse(peer, "/register alice short", "bad-password", "/register")
        self.refuse(peer, f"/register alice {'x' * 73}", "bad-password", "/register")

    def test_no_such_person(self) -> None:
        """The refusal of an unknown person names the nearest, or the command that lists people."""
        self.guest("bob")
        alice = self.robot("alice")
        sentence = self.refuse(alice, "/dm bbo hi", "no-such-person", "/dm")
        self.assertEqual(sentence, 'no one here is called "bbo"; did you mean bob?')
        sentence = self.refuse(alice, "/dm zacharias hi", "no-such-person", "/dm")
        self.assertEqual(sentence, 'no one here is called "zacharias"; /users lists who is here')

    def test_no_such_room(self) -> None:
        """The refusal of an unknown room names the nearest, or the command that lists rooms."""
        alice = self.robot("alice")
        sentence = self.refuse(alice, "/users loby", "no-such-room", "/users")
        self.assertEqual(sentence, 'there is no room "loby"; did you mean lobby?')
        sentence = self.refuse(alice, "/users nowhere", "no-such-room", "/users")
        self.assertEqual(sentence, 'there is no room "nowhere"; /rooms lists them')
        sentence = self.refuse(alice, "/to @bob", "no-such-room", "/to")
        self.assertEqual(sentence, '"@bob" is no room; /dm NAME MESSAGE is private')

    def test_not_in_room(self) -> None:
        """The refusal of a room that one is not in says how to join it, except for leaving it."""
        self.tell(self.guest("bob"), "/join tea\n")
        alice = self.robot("alice")
        sentence = self.refuse(alice, "/leave tea", "not-in-room", "/leave")
        self.assertEqual(sentence, "you are not in #tea, so you cannot leave it")
        sentence = self.refuse(alice, "/history tea", "not-in-room", "/history")
        self.assertEqual(sentence, "you are not in #tea; /join tea first")

    def test_too_long(self) -> None:
        """A line of 4,097 bytes is refused and not said; one of 4,096 is said."""
        alice = self.robot("alice")
        sentence = self.refuse(alice, "x" * 4097, "too-long")
        self.assertEqual(sentence, "a line may have at most 4096 bytes; that one has 4097")
        self.assertEqual([m.text for m in self.messages], ["and on"])
        (said,) = self.events(alice, "y" * 4096 + "\r\n")
        self.assertEqual(said["text"], "y" * 4096)

    def test_too_long_topic(self) -> None:
        """A topic has a limit of its own."""
        self.refuse(self.robot("alice"), f"/topic {'x' * 301}", "too-long", "/topic")

    def test_bad_encoding(self) -> None:
        """A line that is not UTF-8 is refused."""
        alice = self.robot("alice")
        self.refuse(alice, b"caf\xe9", "bad-encoding")
        self.refuse(alice, b"/dm bob caf\xe9", "bad-encoding")
        self.refuse(self.outsider(), b"ren\xe9", "bad-encoding")
        self.assertEqual([m.text for m in self.messages], ["and on"] * 3)

    def test_control_characters(self) -> None:
        """Control characters, and an escape sequence without an end, are refused."""
        alice, bob = self.robot("alice"), self.guest("bob")
        self.assertIn("U+001B", self.refuse(alice, "\x1b[2", "bad-encoding"))
        self.refuse(alice, "/me \x1b", "bad-encoding", "/me")
        self.refuse(alice, "/topic \x9b2J", "bad-encoding", "/topic")
        self.refuse(alice, "/dm bob \x07", "bad-encoding", "/dm")
        self.assertNotIn(b"\x1b", bob.take_bytes())
        self.assertTrue(all(m.text == "and on" for m in self.messages))

    def test_escape_in_a_command_word(self) -> None:
        """A refusal that quotes a command word has nothing in it that a screen obeys."""
        alice = self.robot("alice")
        self.tell(alice, "\x1b[A\n")  # has the remark about them made
        self.refuse(alice, "/\x1b[2Jx", "unknown-command", "/x")
        self.refuse(alice, "/\x9b2Jx", "unknown-command", "/2Jx")

    def test_busy(self) -> None:
        """A login is refused with C{busy} if too many people log in."""
        peer = self.outsider()
        self.hasher.refusal = Refusal("busy", "too many people are logging in")
        self.refuse(peer, "/register alice wonderland", "busy", "/register")

    def test_closed(self) -> None:
        """A login is refused with C{closed} if the server is going down."""
        peer = self.outsider()
        self.hasher.refusal = Refusal("closed", "the server is going down")
        self.refuse(peer, "/login alice wonderland", "closed", "/login")

    def test_full(self) -> None:
        """A room is refused with C{full} beyond the limit of the session, and of the server."""
        alice = self.robot("alice")
        self.tell(alice, "/join tea\n")
        self.refuse(alice, "/join coffee", "full", "/join")
        self.tell(self.guest("bob"), "/join milk\n")
        self.refuse(self.robot("carol"), "/join coffee", "full", "/join")

    def test_forbidden(self) -> None:
        """Guests, and everybody, are refused with C{forbidden} what they cannot do."""
        alice = self.robot("alice")
        self.refuse(alice, "/leave", "forbidden", "/leave")
        self.refuse(alice, "/passwd wonderland looking-glass", "forbidden", "/passwd")
        self.refuse(alice, "/history @bob", "forbidden", "/history")

    def test_unavailable(self) -> None:
        """A post that the store loses is refused with C{unavailable}, and nobody sees it."""
        bob, alice = self.guest("bob"), self.robot("alice")
        bob.take()
        self.store.hold()
        alice.send("lost\n")
        self.settle()
        self.store.fail()
        self.store.release()
        (error,) = alice.take_events()
        self.assertEqual(
            (error["event"], error["code"], error["command"]), ("error", "unavailable", "")
        )
        self.check_goes_on(alice)
        self.assertRegex(bob.take(), r"^\[\d\d:\d\d\] alice: and on\n$")

    def test_in_text_a_refusal_is_one_line(self) -> None:
        """In text mode a refusal is one line that begins with an exclamation mark."""
        self.assertEqual(
            self.say(self.guest("alice"), "/usres\n"),
            '! there is no command "/usres"; did you mean /users?\n',
        )


class MishapTests(ServerTestCase):
    """Defects of the server, which must not end a session."""

    def break_down(self, owner: object, method: str) -> None:
        """Let a method raise."""

        def broken(*arguments: object, **named: object) -> None:
            raise ZeroDivisionError(method)

        self.patch(owner, method, broken)

    def check_told(self, peer: Peer, line: str, command: str) -> None:
        """Check that a line is answered with C{internal}, its traceback logged, and the session
        goes on."""
        (error,) = self.events(peer, f"{line}\n")
        self.assertEqual(
            (error["event"], error["code"], error["command"]), ("error", "internal", command)
        )
        self.assertNotIn("ZeroDivisionError", error["text"])
        (logged,) = self.flushLoggedErrors(ZeroDivisionError)
        self.assertIn("broken", logged.getTraceback())
        (answer,) = self.events(peer, "/help quit\n")
        self.assertEqual(answer["event"], "help")

    def test_in_a_command(self) -> None:
        """A command that fails at once is answered with C{internal}."""
        alice = self.robot("alice")
        self.break_down(self.chat, "users")
        self.check_told(alice, "/users", "/users")

    def test_in_a_command_that_waits(self) -> None:
        """A command that fails after an answer of the store is answered with C{internal}."""
        alice = self.robot("alice")
        self.break_down(self.store, "history")
        self.check_told(alice, "/history", "/history")

    def test_in_something_said(self) -> None:
        """A line to be said that fails is answered with C{internal}."""
        alice = self.robot("alice")
        self.break_down(self.chat, "say")
        self.check_told(alice, "hello", "")

    def test_at_the_prompt(self) -> None:
        """After a failure at the prompt a name is asked for again, and none is held."""
        peer = self.peer()
        self.tell(peer, "/json on\n")
        self.break_down(self.store, "find_account")
        self.check_told(peer, "alice", "")
        self.assertIn("* Welcome, alice.", self.say(self.peer(), "/guest alice\n"))

    def test_while_registering(self) -> None:
        """A registration that fails leaves no name held, at the prompt or in a command."""
        peer = self.peer()
        self.tell(peer, "/json on\n")
        self.break_down(self.hasher, "hash")
        self.check_told(peer, "/register alice wonderland", "/register")
        self.tell(peer, "alice\n")
        self.tell(peer, "wonderland\n")
        self.check_told(peer, "wonderland", "")
        self.assertIn("* Welcome, alice.", self.say(self.peer(), "/guest alice\n"))
