"""Commands that ask questions, slips of the keyboard, private answers, and JSON."""

import json

from twisted.internet.defer import Deferred

from .server import (
    GREETING,
    ServerTestCase,
)


class SlipTests(ServerTestCase):
    """Slips of people at the keyboard."""

    def texts(self) -> list[str]:
        """The texts that were said to everyone."""
        return [message.text for message in self.messages]

    def test_arrow_keys(self) -> None:
        """Arrow keys are removed from a line, with a remark once in a session."""
        alice, bob = self.guest("alice"), self.guest("bob")
        remark = "* arrow keys and other escape sequences are removed from what you type"
        self.assertIn(remark, self.say(alice, "he\x1b[Dllo\x1bOA\n"))
        self.assertEqual(self.say(alice, "\x1b[31mred\x1b[0m\n"), "")
        self.assertEqual(self.texts(), ["hello", "red"])
        self.assertNotIn("\x1b", bob.take())

    def test_arrow_key_before_a_command(self) -> None:
        """A login behind an arrow key is not said to everyone."""
        alice = self.guest("alice")
        self.assertIn("! that contains an arrow key", self.say(alice, "\x1b[A/login alice pw\n"))
        self.assertIn("U+001B", self.say(alice, "\x1b/login alice pw\n"))
        self.assertEqual(self.texts(), [])

    def test_arrow_key_in_a_password(self) -> None:
        """A password with an arrow key in it is asked for again."""
        peer = self.peer()
        self.tell(peer, "alice\n")
        said = self.say(peer, "wonderl\x1b[Dand\n")
        self.assertIn("! that contains an arrow key", said)
        self.assertIn("New password: ", said)
        self.tell(peer, "wonderland\n")
        self.assertIn("* Welcome, alice.", self.say(peer, "wonderland\n"))

    def test_ctrl_l(self) -> None:
        """A line with Ctrl-L alone says nothing, and is not remarked on."""
        alice = self.guest("alice")
        self.assertEqual(self.say(alice, "\x0c\nhi\x0c\n"), "")
        self.assertEqual(self.texts(), ["hi"])

    def test_bots_are_called(self) -> None:
        """An unknown word behind an exclamation mark is said, and a known one is a command."""
        alice = self.robot("alice")
        (said,) = self.events(alice, '  !deploy "staging" now \n')
        self.assertEqual((said["event"], said["text"]), ("message", '  !deploy "staging" now'))
        (answer,) = self.events(alice, "!who\n")
        self.assertEqual(answer["event"], "users")

    def test_names_in_what_people_put_around_them(self) -> None:
        """A name may be typed as one addresses a person, as in C{@bob:}, wherever a command takes
        one."""
        zoe, alice = self.guest("zoë"), self.guest("alice")
        zoe.take()
        for line in (
            "/dm @zoë hi",
            "/w zoë: hi",
            "/query zoë, hi",
            "DM\n@zoë:\nhi",
            "/whisper zoë hi",
            "/dm \uff20zoë\uff1a hi",
        ):
            self.tell(alice, f"{line}\n")
            self.assertIn("alice -> you: hi\n", zoe.take(), line)
        self.register("zoe", "wonderland")
        self.tell(alice, "/register alice wonderland\n")
        self.assertIn("nobody has said anything there", self.say(alice, "/history @zoe:\n"))
        self.assertIn('called "nobody"', self.say(alice, "/dm @nobody: hi\n"))
        self.assertIn('called "@"', self.say(alice, "/dm @ hi\n"))

    def test_quotes_around_a_line(self) -> None:
        """Quotes around a line are removed, with a remark once in a session; of two pairs one
        stays."""
        alice = self.guest("alice")
        self.assertEqual(
            self.say(alice, '"one"\n'),
            '* the quotes around your message were removed; to keep them, type ""hi""\n',
        )
        self.assertEqual(self.say(alice, '"two"\n""three""\n'), "")
        self.assertEqual(self.texts(), ["one", "two", '"three"'])
        self.assertEqual(len(self.events(self.robot("bob"), '"four"\n')), 1)

    def test_first_words_at_the_prompt(self) -> None:
        """At the prompt help, quit and bye are commands, not names."""
        peer = self.peer()
        said = self.say(peer, "help\n")
        self.assertIn("/login NAME [PASSWORD]", said)
        self.assertTrue(said.endswith("Name: "))
        for word in "quit", "Bye", "logout":
            self.assertEqual(self.say(self.peer(), f"{word}\n"), "* bye\n", word)

    def test_first_words_of_a_newcomer(self) -> None:
        """In the first minute help and quit need no slash; later, or in a sentence, they are
        said."""
        alice, bob = self.guest("alice"), self.guest("bob")
        self.assertIn("*   /users [ROOM]", self.say(alice, "HELP\n"))
        self.tell(alice, "help me\n")
        self.assertEqual(self.say(bob, "bye\n"), "* bye\n")
        self.clock.advance(60)
        self.assertEqual(self.say(alice, "help\nbye\n"), "")
        self.assertEqual(self.texts(), ["help me", "help", "bye"])

    def test_first_words_of_a_program(self) -> None:
        """In JSON mode help and quit without a slash are said."""
        (said,) = self.events(self.robot("alice"), "bye\n")
        self.assertEqual((said["event"], said["text"]), ("message", "bye"))


class SayTests(ServerTestCase):
    """The command C{/say}."""

    def test_in_a_room(self) -> None:
        """C{/say} says something in any room that one is in, and leaves the current room."""
        zoe, bob = self.guest("zoe"), self.guest("bob")
        for peer in zoe, bob:
            self.tell(peer, "/join tea\n/join dev\n")
        self.assertEqual(self.say(zoe, '/say tea "hi"  there\n/say #Lobby "/quit"\nhere\n'), "")
        said = [(message.room.name, message.text) for message in self.messages]
        self.assertEqual(said, [("tea", '"hi"  there'), ("lobby", "/quit"), ("dev", "here")])
        self.assertIn("#tea zoe: ", bob.take())

    def test_not_in_it(self) -> None:
        """C{/say} is refused for a room that one is not in, and for one that does not exist."""
        zoe = self.guest("zoe")
        self.tell(self.guest("bob"), "/join tea\n")
        told = self.say(zoe, "/say tea hi\n/say toa hi\n/say tea\n").splitlines()
        self.assertEqual(
            told,
            [
                "! you are not in #tea; /join tea first",
                '! there is no room "toa"; did you mean tea?',
                "! usage: /say ROOM MESSAGE",
            ],
        )


class ReplyTests(ServerTestCase):
    """The command C{/r}."""

    def test_in_text(self) -> None:
        """In text mode C{/r} tells whom it went to."""
        alice, bob = self.guest("alice"), self.guest("bob")
        self.tell(bob, "/dm alice hi\n")
        self.assertIn("* to bob\n", self.say(alice, "/r hi too\n"))
        self.assertIn("alice -> you: hi too\n", bob.take())

    def test_in_JSON(self) -> None:
        """In JSON mode the receipt of C{/r} tells whom it went to."""
        alice, bob = self.robot("alice"), self.guest("bob")
        self.tell(bob, "/dm alice hi\n")
        alice.take()
        (told,) = self.events(alice, "/r hi too\n")
        self.assertEqual((told["event"], told["to"], told["text"]), ("dm", "bob", "hi too"))

    def test_who_wrote_has_left(self) -> None:
        """C{/r} is refused if the guest who wrote has left."""
        alice, bob = self.guest("alice"), self.guest("bob")
        self.tell(bob, "/dm alice hi\n/quit\n")
        alice.take()
        self.assertEqual(
            self.say(alice, "/r hi too\n"),
            "! the guest who wrote to you last has left; /dm NAME MESSAGE is private\n",
        )

    def test_slash_pm(self) -> None:
        """C{/pm} is refused, and tells nobody anything."""
        alice, bob = self.guest("alice"), self.guest("bob")
        bob.take()
        for line in "/pm bob psst", "!pm bob psst":
            said = self.say(alice, f"{line}\n")
            self.assertIn("/dm NAME MESSAGE is private, /bc MESSAGE is public", said)
        self.assertEqual((bob.take(), self.messages), ("", []))


class QuestionTests(ServerTestCase):
    """The questions of PM and DM."""

    def test_everyone_will_read_it(self) -> None:
        """The question of PM says that everyone will read the message."""
        said = self.say(self.guest("alice"), "PM\n")
        self.assertEqual(said, "* Message to everyone, not private (Enter to cancel):\n")

    def test_a_command_is_asked_about(self) -> None:
        """A command as the answer to PM or DM is said only if that is confirmed."""
        for peer in self.guest("alice"), self.robot("carol"):
            for question in "PM\n", "DM\nbob\n":
                for line in "/login x pw", "/quit", " !who", "exit", "/lgin x pw", "/pm x":
                    for part in question.splitlines():
                        self.tell(peer, f"{part}\n")
                    asked = self.say(peer, f"{line}\n")
                    self.assertIn("is a command; say it anyway? (y/N)", asked)
                    self.assertIn("that was not said", self.say(peer, "\n"))
        self.assertEqual(self.messages, [])

    def test_a_command_can_be_said(self) -> None:
        """A command that is confirmed is said; what only looks like one is not asked about."""
        alice, bob = self.guest("alice"), self.guest("bob")
        for part in "PM", "/quit leaves", "y", "PM", "/tmp is full", "PM", '"/quit"':
            self.tell(alice, f"{part}\n")
        self.assertEqual([m.text for m in self.messages], ["/quit leaves", "/tmp is full", "/quit"])
        bob.take()
        for part in "DM", "bob", "/users", "YES":
            self.tell(alice, f"{part}\n")
        self.assertIn("alice -> you: /users\n", bob.take())

    def test_a_script_is_not_asked(self) -> None:
        """A script's command behind PM or DM is refused, and its next line is no answer."""
        alice = self.guest("alice")
        said = self.say(alice, "PM\n/login x pw\ny\nDM\nalice\n/quit\nthen\n")
        self.assertIn(
            '! "/login" is a command, so it was not said; to say it, put it in double quotes', said
        )
        self.assertIn('! "/quit" is a command, so it was not said', said)
        self.assertEqual([m.text for m in self.messages], ["y", "then"])
        self.tell(alice, 'PM\n"/quit"\n/users\n')
        self.assertEqual(self.messages[-1].text, "/quit")


class JsonTests(ServerTestCase):
    """JSON mode."""

    def test_hello_starts_on_a_line_of_its_own(self) -> None:
        """The hello begins a line, and every line after it is an object."""
        peer = self.peer()
        peer.send("/json on\n")
        self.settle()
        before, _, after = peer.take().partition("\n{")
        self.assertEqual(before, f"{GREETING}Name: ")
        hello = json.loads("{" + after)
        self.assertRegex(hello.pop("session"), "^[-_A-Za-z0-9]{16}$")
        self.assertEqual(
            hello,
            {
                "event": "hello",
                "time": "2023-11-14T22:13:20.000Z",
                "protocol": 2,
                "server": "chat",
                "keepalive": 60,
            },
        )

    def test_no_prompts_and_no_escapes(self) -> None:
        """In JSON mode there is no prompt and no escape sequence, also at a password and for
        telnet."""
        peer = self.peer()
        self.tell(peer, "/json on\r\n")
        output = b""
        for line in "...", "alice", "short", "wonderland", "wonderland", "PM", "hello", "/nonsense":
            output += self.ask(peer, f"{line}\r\n")
        self.assertNotIn(b"\x1b", output)
        self.assertNotIn(b"\xff", output)
        events = [json.loads(line)["event"] for line in output.splitlines()]
        self.assertIn("welcome", events)
        self.assertIn("message", events)
        self.assertEqual(events.count("error"), 3)

    def test_every_event_has_a_time(self) -> None:
        """Every object has an event and a time."""
        alice = self.robot("alice")
        answers = self.events(
            alice, "hi\n/users\n/rooms\n/topic x\n/join tea\n/history\n/dm bob x\n"
        )
        self.assertGreater(len(answers), 8)
        for answer in answers:
            self.assertRegex(answer["time"], r"^2023-11-14T22:13:20\.00\dZ$")

    def test_receipt(self) -> None:
        """A session in JSON mode is told its own messages; one in text is not."""
        alice = self.robot("alice")
        (said,) = self.events(alice, "hello\n")
        self.assertEqual(
            {
                key: said[key]
                for key in ("event", "room", "seq", "from", "text", "action", "replay")
            },
            {
                "event": "message",
                "room": "lobby",
                "seq": 1,
                "from": "alice",
                "text": "hello",
                "action": False,
                "replay": False,
            },
        )
        self.assertEqual(self.say(self.guest("bob"), "hello\n"), "")

    def test_on_and_off_in_the_middle(self) -> None:
        """After a switch the session goes on in the other format, with what was said meanwhile."""
        bob, alice = self.guest("bob"), self.guest("alice")
        on = self.say(alice, "in text\n/json on\nin JSON\n")
        self.tell(bob, "seen\n")
        events = [json.loads(line) for line in (on + alice.take()).splitlines() if line]
        self.assertEqual(
            [(event["event"], event.get("text")) for event in events],
            [("hello", None), ("message", "in JSON"), ("message", "seen")],
        )
        self.assertEqual(self.say(alice, "/json off\nin text\n"), "* text output from now on\n")
        self.tell(bob, "seen\n")
        self.assertRegex(alice.take(), r"^\[\d\d:\d\d\] bob: seen\n$")
        again = self.events(alice, "/json on\n/users\n")
        self.assertEqual([event["event"] for event in again], ["hello", "users"])

    def test_off_at_the_prompt(self) -> None:
        """After C{/json off} before login the prompt comes back."""
        peer = self.peer()
        self.tell(peer, "/json on\n")
        self.assertEqual(self.say(peer, "/json off\n"), "* text output from now on\nName: ")

    def test_the_same_message_in_both_formats(self) -> None:
        """Readers in text and in JSON get one message each in their own format."""
        alice, bob, carol = self.guest("alice"), self.robot("bob"), self.guest("carol")
        for peer in alice, bob, carol:
            peer.take()
        self.tell(alice, "/me waves\n")
        (said,) = bob.take_events()
        self.assertEqual((said["text"], said["action"]), ("waves", True))
        self.assertRegex(carol.take(), r"^\[\d\d:\d\d\] \* alice waves\n$")


class CurrentRoomTests(ServerTestCase):
    """The current room."""

    def test_people_are_told_when_it_is_no_new_room(self) -> None:
        """In text mode a change of the current room is told, except on joining a new one."""
        alice = self.guest("alice")
        self.assertNotIn("you are talking", self.say(alice, "/join tea\n"))
        self.assertEqual(self.say(alice, "/join lobby\n"), "* now talking in the lobby\n")
        self.assertEqual(self.say(alice, "/join #TEA\n"), "* now talking in #tea\n")
        self.assertEqual(
            self.say(alice, "/leave\n"), "* alice left #tea\n* now talking in the lobby\n"
        )

    def test_programs_are_told_each_time(self) -> None:
        """In JSON mode every change of the current room is told, after the answer of the room."""
        alice = self.robot("alice")
        for line, room in (("/join tea", "tea"), ("/join lobby", "lobby"), ("/join tea", "tea")):
            *_, told = self.events(alice, f"{line}\n")
            self.assertEqual((told["event"], told["room"]), ("talking", room))
        left, told = self.events(alice, "/leave #Tea\n")
        self.assertEqual((left["event"], told["event"], told["room"]), ("left", "talking", "lobby"))

    def test_leaving_another_room(self) -> None:
        """Leaving another room does not change the current one."""
        alice = self.robot("alice")
        self.tell(alice, "/join tea\n/join bar\n")
        (left,) = self.events(alice, "/leave tea\n")
        self.assertEqual(left["event"], "left")
        (said,) = self.events(alice, "hi\n")
        self.assertEqual(said["room"], "bar")

    def test_refused_join(self) -> None:
        """A refused join does not change the current room."""
        alice = self.robot("alice")
        self.tell(alice, "/join tea\n")
        (error,) = self.events(alice, "/join ?\n")
        self.assertEqual(error["event"], "error")
        (said,) = self.events(alice, "hi\n")
        self.assertEqual(said["room"], "tea")

    def test_guest_who_registers(self) -> None:
        """A guest who registers keeps the current room, and is welcomed there."""
        alice = self.robot("alice")
        self.tell(alice, "/join tea\n")
        events = self.events(alice, "/register alice wonderland\n")
        (welcome,) = [event for event in events if event["event"] == "welcome"]
        self.assertEqual((welcome["account"], welcome["room"]), (True, "tea"))

    def test_quiet_end(self) -> None:
        """When the server goes down, everybody is told so, and nobody who else leaves."""
        peers = [self.guest("alice"), self.robot("bob"), self.guest("carol")]
        for peer in peers:
            peer.take_bytes()
        self.chat.close()
        Deferred.fromCoroutine(self.face.hang_up("so long", 1))
        self.settle()
        alice, bob, carol = [peer.take() for peer in peers]
        self.assertEqual((alice, carol), ("* so long\n", "* so long\n"))
        self.assertEqual(json.loads(bob)["event"], "bye")
