"""Passwords that are asked for, and hidden while they are typed."""

from .server import (
    CLEAR_LINE,
    CONCEAL,
    DO_BINARY,
    REVEAL,
    WILL_BINARY,
    WILL_ECHO,
    WONT_ECHO,
    Peer,
    ServerTestCase,
)


class PasswordTests(ServerTestCase):
    """Passwords that are asked for."""

    def answers(self, peer: Peer, *lines: str) -> str:
        """Say lines one after the other, and return all that comes back."""
        return "".join(self.say(peer, f"{line}\n") for line in lines)

    def test_new_one_is_asked_for_twice(self) -> None:
        """A new password is asked for twice, and again if the two differ."""
        peer = self.peer()
        said = self.answers(peer, "alice", "wonderland", "wonderlamd")
        self.assertIn("! the passwords don't match; choose one again", said)
        self.assertTrue(said.endswith("New password: " + CONCEAL.decode()))
        self.assertEqual(self.store.registered, [])
        said = self.answers(peer, "wonderland", "wonderland")
        self.assertIn('* "alice" is now yours.', said)
        self.assertIn("* Welcome, alice.", said)

    def test_bad_one_is_refused_before_it_is_asked_for_again(self) -> None:
        """A bad new password is refused before it is asked for a second time."""
        said = self.answers(self.peer(), "alice", "short")
        self.assertIn("! a password needs at least 8 characters", said)
        self.assertNotIn("Again", said)

    def test_talk_does_not_become_a_password(self) -> None:
        """A person who talks at the password prompt registers nothing."""
        peer = self.peer()
        self.answers(peer, "hello", "is anybody here?", "well then", "", "")
        self.assertEqual(self.store.registered, [])

    def test_script_is_asked_once(self) -> None:
        """A script is asked for a new password once; if it sends it twice, the second is not
        said."""
        for script in "alice\nwonderland\nhello\n", "alice\nwonderland\nwonderland\nhello\n":
            self.serve()
            said = self.say(self.peer(), script)
            self.assertNotIn("Again", said)
            self.assertEqual([m.text for m in self.messages], ["hello"])

    def test_register_asks(self) -> None:
        """C{/register NAME} asks for the password as the prompt does, also a guest, for their own
        name or another."""
        for before, name in ("", "alice"), ("/guest alice", "alice"), ("/guest bob", "alice"):
            self.serve()
            peer = self.peer()
            if before:
                self.tell(peer, f"{before}\n")
            said = self.answers(peer, f"/register {name}")
            self.assertTrue(said.endswith("New password: " + CONCEAL.decode()), said)
            said = self.answers(peer, "wonderland", "wonderland")
            self.assertIn('* "alice" is now yours.', said)
            self.assertIn("* Welcome, alice.\n", said)
            self.assertEqual(self.store.registered, ["alice"])
            self.assertIn("lobby: alice\n", self.say(peer, "/users\n"))

    def test_register_asks_for_no_name_that_is_not_to_be_had(self) -> None:
        """C{/register} refuses a bad name before it asks for a password."""
        self.register("alice", "wonderland")
        for name in "alice", "admin", "a/b":
            self.assertNotIn("password:", self.say(self.peer(), f"/register {name}\n"))

    def test_login_asks(self) -> None:
        """C{/login NAME} asks until the password is right, or empty; a guest becomes the
        account."""
        self.register("alice", "wonderland")
        for before in "", "/guest bob":
            peer = self.peer()
            if before:
                self.tell(peer, f"{before}\n")
            said = self.answers(peer, "/login alice", "looking-glass")
            self.assertIn("Password: " + CONCEAL.decode(), said)
            self.assertIn("! wrong name or password", said)
            self.assertIn("* nothing was changed", self.answers(peer, ""))
            self.assertIn("* Welcome, alice.", self.answers(peer, "/login alice", "wonderland"))

    def test_passwd_asks(self) -> None:
        """C{/passwd} asks for the old password and twice for the new one; Enter changes nothing."""
        peer = self.peer()
        self.tell(peer, "/register alice wonderland\n")
        for lines in ("/passwd", ""), ("/passwd", "wonderland", ""), ("/passwd wonderland", ""):
            self.assertIn("* nothing was changed", self.answers(peer, *lines))
        said = self.answers(peer, "/passwd", "wonderland", "through-it", "through-it")
        for prompt in "Old password: ", "New password: ", "Again: ":
            self.assertIn(prompt + CONCEAL.decode(), said)
        self.assertIn("* your password was changed", said)
        self.assertIn("* Welcome", self.answers(self.peer(), "/login alice through-it"))

    def test_empty_password_on_the_line_is_not_asked_for(self) -> None:
        """An empty password on the line, as from a script's empty variable, is refused."""
        self.register("alice", "wonderland")
        self.assertIn("! wrong name or password", self.say(self.peer(), '/login alice ""\n'))
        self.assertIn("! a password must not be empty", self.say(self.peer(), '/register bob ""\n'))

    def test_in_JSON(self) -> None:
        """In JSON mode the questions are notices, and nothing is hidden."""
        robot = self.peer()
        self.tell(robot, "/json on\n")
        texts = [
            event.get("text")
            for line in ("/register alice", "wonderland", "wonderland", "/passwd")
            for event in self.events(robot, f"{line}\n")
        ]
        self.assertEqual(texts[:2], ["New password", "Again"])
        self.assertEqual(texts[-1], "Old password")

    def test_script_gives_it_in_the_next_line(self) -> None:
        """A script gives a missing password in the next line."""
        self.say(self.peer(), "/register alice\nwonderland\nhello\n")
        self.say(self.peer(), "/login alice\nwonderland\nagain\n/passwd\nwonderland\nnew-one-9\n")
        self.say(self.peer(), "/login alice\nnew-one-9\nand again\n")
        self.assertEqual([m.text for m in self.messages], ["hello", "again", "and again"])

    def test_script_that_is_refused_says_nothing_more(self) -> None:
        """After a refused login, a script's further lines are no names, no passwords and not
        said."""
        self.register("bob", "builder-pw")
        for script in (
            "hello everybody\nsecond\nthird line here\n\nfourth\nfifth line here\n",
            "bob\nwrong\nsecond\nthird line here\n",
            "/login bob\nwrong\nsecond\nthird line here\n",
            "carol\nshort\nsecond\nthird line here\n",
        ):
            said = self.say(self.peer(), script)
            self.assertIn("! you are not logged in, so nothing was sent", said)
            self.assertEqual(self.store.registered, ["bob"], script)
            self.assertNotIn("Welcome", said)

    def test_somebody_who_mistypes_a_name_is_asked_again(self) -> None:
        """A person who types a sentence at the prompt is refused, and asked again."""
        peer = self.peer()
        said = self.say(peer, "hello everybody\n")
        self.assertIn("! names may contain only letters, digits", said)
        self.assertTrue(said.endswith("Name: "))
        self.assertIn("New password: ", self.say(peer, "alice\n"))

    def test_what_others_say_meanwhile_can_be_seen(self) -> None:
        """What others say is shown above a password prompt, with the CR that telnet needs then."""
        bob = self.guest("bob")
        for end in b"\n", b"\r\n":
            peer = self.peer()
            self.tell(peer, "/register alice wonderland\n/login alice wonderland\n")
            self.tell(peer, b"/passwd" + end)
            self.tell(bob, "hello\n")
            shown = peer.take_bytes()
            self.assertTrue(shown.startswith(REVEAL + CLEAR_LINE), shown)
            self.assertTrue(shown.endswith(b"bob: hello" + end + b"Old password: " + CONCEAL))
            self.tell(peer, end)
            self.tell(bob, "more\n")
            self.assertNotIn(b"\x1b", peer.take_bytes())


class HiddenPasswordTests(ServerTestCase):
    """Hiding a password that is typed."""

    def setUp(self) -> None:
        super().setUp()
        self.register("bob", "builder-pw")

    def test_for_nc(self) -> None:
        """For a peer whose lines end in LF the password is concealed, without a byte of telnet."""
        peer = self.peer()
        before = self.ask(peer, b"bob\n")
        self.assertEqual(before, b"Password: " + CONCEAL)
        after = self.ask(peer, b"builder-pw\n")
        self.assertTrue(after.startswith(REVEAL + b"* Welcome, bob.\n"))
        self.assertNotIn(b"\xff", before + after)

    def test_for_telnet(self) -> None:
        """For a peer whose lines end in CR LF telnet is told not to echo, until the password is
        there."""
        peer = self.peer()
        before = self.ask(peer, b"bob\r\n")
        hide = WILL_ECHO + CLEAR_LINE + b"Password: " + CONCEAL
        self.assertEqual(before, DO_BINARY + hide)
        after = self.ask(peer, WILL_BINARY + b"\xff\xfd\x01wrong\n")
        shown = REVEAL + WONT_ECHO + CLEAR_LINE
        self.assertEqual(after, shown + b"! wrong name or password\r\n" + hide)
        after = self.ask(peer, b"\xff\xfd\x01builder-pw\n")
        self.assertTrue(after.startswith(shown + b"* Welcome, bob.\r\n"))
        self.assertEqual(after.count(b"\xff"), 1)

    def test_for_nc_that_ends_its_lines_as_telnet_does(self) -> None:
        """A peer that did not answer telnet's question gets no further byte of telnet."""
        peer = self.peer()
        self.clock.advance(1)
        before = self.ask(peer, b"bob\r\n")
        self.assertEqual(before, b"Password: " + CONCEAL)
        self.assertTrue(self.ask(peer, b"builder-pw\r\n").startswith(REVEAL + b"* Welcome"))

    def test_new_password(self) -> None:
        """A new password is hidden as well."""
        peer = self.peer()
        self.assertTrue(self.ask(peer, b"alice\n").endswith(b"New password: " + CONCEAL))
        self.assertTrue(self.ask(peer, b"wonderland\n").startswith(REVEAL))

    def test_is_shown_again_whatever_is_wrong_with_it(self) -> None:
        """Typing is shown again after a password, whatever was wrong with it."""
        for line in b"wrong\r\n", b"\r\n", b"\xe9\r\n", b"x" * 4097 + b"\r\n":
            peer = self.peer()
            self.tell(peer, WILL_BINARY + b"bob\r\n")
            after = self.ask(peer, line)
            self.assertTrue(after.startswith(REVEAL + WONT_ECHO + CLEAR_LINE), line)
            again = WILL_ECHO + CLEAR_LINE + b"Password: " + CONCEAL
            self.assertTrue(after.endswith(b"Name: " if line == b"\r\n" else again), line)

    def test_is_shown_again_before_it_is_checked(self) -> None:
        """Typing is shown again before the password is checked."""
        peer = self.peer()
        self.tell(peer, b"bob\r\n")
        self.hasher.held = True
        after = self.ask(peer, b"builder-pw\r\n")
        self.assertEqual(after, REVEAL + WONT_ECHO + CLEAR_LINE)

    def test_is_not_hidden_when_nobody_types(self) -> None:
        """A script's password is not concealed, so a pipe gets no escape sequence."""
        self.assertNotIn(b"\x1b", self.ask(self.peer(), b"bob\nbuilder-pw\n"))
