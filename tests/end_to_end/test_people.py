"""Two people with telnet and nc, from registering to finding their messages again."""

import subprocess

from .terminal import TIMEOUT, DaemonTestCase, Peer, Terminal, program
from .tmux import Tmux


def register(terminal: Terminal, name: str, password: str) -> None:
    terminal.see("Name: ")
    terminal.type(name)
    terminal.see(f'* "{name}" is new. Choose a password')
    for prompt in "New password: ", "Again: ":
        terminal.see(prompt)
        terminal.type(password)
    terminal.see(f"* Welcome, {name}.")


def log_in(terminal: Terminal, name: str, password: str) -> None:
    terminal.see("Name: ")
    terminal.type(name)
    terminal.see("Password: ")
    terminal.type(password)
    terminal.see(f"* Welcome, {name}.")


def leave(terminal: Terminal) -> None:
    terminal.type("/quit")
    terminal.see("* bye")
    terminal.see_end()


class PeopleTest(DaemonTestCase):
    def test_two_people_talk_and_find_it_again_after_kill_9(self) -> None:
        """Register, chat, DM, come and go; after C{kill -9} all that was said is there."""
        alice, bob = self.telnet(), self.nc()
        register(alice, "alice", "wonderland")
        register(bob, "bob", "builder-pw")
        alice.see("* bob joined")

        alice.type("hello bob")
        bob.see("] alice: hello bob")
        bob.type("hi alice")
        alice.see("] bob: hi alice")
        bob.type("/dm alice psst")
        alice.see("] bob -> you: psst")
        leave(bob)
        alice.see("* bob left")
        alice.type("/dm bob for later")
        alice.see("* bob is away")
        alice.type("still here")
        alice.type("/users")
        alice.see("1 person is in the lobby: alice")

        self.daemon.kill()
        alice.see_end()
        self.daemon.start()

        alice, bob = self.telnet(), self.nc()
        log_in(alice, "alice", "wonderland")
        alice.see("] alice: hello bob")
        alice.see("] bob: hi alice")
        alice.see("] alice: still here")
        log_in(bob, "bob", "builder-pw")
        bob.see("] alice: still here")
        bob.see("* 1 private message came while you were away:")
        bob.see("] alice -> you: for later")
        bob.type("/history @alice")
        bob.see("] you -> alice: psst")
        bob.see("] alice -> you: for later")

        leave(bob)
        bob = self.nc()
        log_in(bob, "bob", "builder-pw")
        bob.type("/users")
        self.assertNotIn("while you were away", bob.see("2 people are in the lobby"))
        self.assertNoTraceback()

    def test_two_people_who_do_not_know_better(self) -> None:
        """A password mistyped, an arrow key, /pm, a command in the wrong place, and somebody who
        speaks while a password is typed: nothing is lost, and nothing is told to everyone."""
        alice, bob = self.telnet(), self.nc()
        alice.see("Name: ")
        alice.type("hello everybody")
        alice.see("! names may contain only letters")
        alice.type("alice")
        for prompt, typed in (
            ("New password: ", "wonderland"),
            ("Again: ", "wonderlamd"),
            ("! the passwords don't match", ""),
        ):
            alice.see(prompt)
            alice.type(typed)
        alice.see("* Welcome, alice. You are a guest")  # just Enter, this time
        alice.type("/register alice")
        for prompt in "New password: ", "Again: ":
            alice.see(prompt)
            alice.type("wonderland")
        alice.see('* "alice" is now yours.')
        bob.see("Name: ")
        bob.type("help")
        bob.see("/login NAME [PASSWORD]")
        bob.type("/guest bob")
        bob.see("* Welcome, bob.")

        alice.type("/pm bob secret")
        alice.see("/dm NAME MESSAGE is private")
        alice.type("he\x1b[Dllo")
        alice.see("* arrow keys and other escape sequences are removed")
        self.assertNotIn("secret", bob.see("] alice: hello"))
        alice.type("/w bob: psst")
        bob.see("] alice -> you: psst")
        bob.type("/r what?")
        bob.see("* to alice")
        alice.see("] bob -> you: what?")
        bob.type("PM")
        bob.see("* Message to everyone, not private")
        bob.type("/login bob builder-pw")
        bob.see("say it anyway? (y/N)")
        bob.type("")

        alice.type("/passwd")
        alice.see("Old password: ")
        bob.type("are you there?")
        self.assertNotIn("builder-pw", alice.see("] bob: are you there?"))
        alice.see("Old password: ")
        for typed, seen in (
            ("wonderland", "New password: "),
            ("looking-glass", "Again: "),
            ("looking-glass", "* your password was changed"),
        ):
            alice.type(typed)
            self.assertNotIn(typed, alice.see(seen))
        leave(alice)
        alice = self.telnet()
        log_in(alice, "alice", "looking-glass")
        self.assertNoTraceback()

    def test_guest_by_enter(self) -> None:
        """Just Enter gives a guest name."""
        guest = self.nc()
        guest.see("Name: ")
        guest.type("")
        guest.see("* Welcome, guest1. You are a guest")

    def test_new_name_and_enter_is_a_guest(self) -> None:
        """Enter instead of a new password makes a guest of that name."""
        guest = self.telnet()
        guest.see("Name: ")
        guest.type("Carol")
        guest.see("New password: ")
        guest.type("")
        guest.see("* Welcome, carol. You are a guest")
        again = self.nc()
        again.see("Name: ")
        again.type("carol")
        again.see('! "carol" is in use; choose another')
        again.see("Name: ")

    def test_wrong_password_is_asked_for_again(self) -> None:
        """A wrong password is a sentence, and the next try, as well hidden, may be right."""
        alice = self.telnet()
        register(alice, "alice", "wonderland")
        again = self.nc()
        again.see("Name: ")
        again.type("alice")
        again.see("Password: ")
        again.type("looking-glass")
        again.see("! wrong name or password")
        again.see("Password: \x1b[8m")
        again.type("wonderland")
        again.see("* Welcome, alice.")
        again.type("/users")
        again.see("1 person is in the lobby: alice")

    def test_nothing_secret_is_logged(self) -> None:
        """The log has neither passwords nor what was said."""
        alice = self.nc()
        register(alice, "alice", "wonderland")
        alice.type("/passwd wonderland looking-glass")
        alice.see("* your password was changed")
        alice.type("something private")
        leave(alice)
        self.daemon.stop()
        log = "".join(self.daemon.log)
        for secret in ("wonderland", "looking-glass", "something private"):
            self.assertNotIn(secret, log)


class HiddenPasswordTest(DaemonTestCase):
    def test_telnet_does_not_echo_a_password(self) -> None:
        """telnet stops echoing at the password, and goes on afterwards."""
        alice = self.telnet()
        alice.see("Name: ")
        alice.type("alice")
        alice.see("New password: ")
        alice.type("wonderland")
        self.assertNotIn("wonderland", alice.see("Again: "))
        alice.type("wonderland")
        self.assertNotIn("wonderland", alice.see("* Welcome, alice."))
        alice.type("/users")
        alice.see("/users")
        alice.see("1 person is in the lobby")

    def test_telnet_password_may_be_corrected(self) -> None:
        """Backspace takes back a character of a hidden password."""
        alice = self.telnet()
        register(alice, "alice", "wonderland")
        again = self.telnet()
        again.see("Name: ")
        again.type("alice")
        again.see("Password: ")
        again.type("wonderlamp\x7f\x7fnd")
        again.see("* Welcome, alice.")

    def test_nc_conceals_a_password(self) -> None:
        """Between SGR 8 and SGR 0 the terminal shows nothing of what nc's terminal echoes."""
        alice = self.nc()
        alice.see("Name: ")
        alice.type("alice")
        alice.see("New password: \x1b[8m")
        alice.type("wonderland")
        self.assertIn("wonderland", alice.see("\x1b[0m"))
        alice.see("Again: \x1b[8m")
        alice.type("wonderland")
        self.assertIn("wonderland", alice.see("\x1b[0m"))
        self.assertNotIn("wonderland", alice.see("* Welcome, alice."))

    def test_nc_is_sent_no_telnet(self) -> None:
        """nc, which ends its lines in LF, gets no byte of telnet."""
        alice = self.nc()
        register(alice, "alice", "wonderland")
        self.assertNotIn("\ufffd", alice.see("/help lists"))


class LettersTest(DaemonTestCase):
    """Letters that have the byte 9D in UTF-8, which telnet takes for its escape character."""

    said = "Нет, не могу ”так”", "他说“不要紧”，鳝鱼好吃", "אדם"

    def test_telnet(self) -> None:
        """Non-ASCII letters in names and passwords reach the server from telnet."""
        bob, nina = self.guest("bob"), self.telnet()
        nina.see("\x1b[KName: ")  # once it is known that this is a person
        nina.type("Нина")
        for prompt in "New password: ", "Again: ":
            nina.see(prompt)
            nina.type("Нет, не ”так”")
        nina.see("* Welcome, нина.")
        for text in self.said:
            nina.type(text)
            bob.see(f"] нина: {text}\n")
        nina.type("half a line")
        nina.press("c")
        nina.type("/quit")
        self.assertNotIn("telnet>", nina.see("* bye"))
        bob.see("* нина left\n")

    def test_putty(self) -> None:
        """They do so from PuTTY's telnet, whose lines then end in CR alone."""
        bob = self.guest("bob")
        nina = self.terminal("plink", "-telnet", "-P", str(self.daemon.port), "localhost")
        nina.see("Name: ")
        nina.type("/guest Нина")
        nina.see("* Welcome, нина.")
        for text in self.said:
            nina.type(text)
            bob.see(f"] нина: {text}\n")

    def test_busybox(self) -> None:
        """They do so from busybox's telnet, which has no BINARY."""
        bob = self.guest("bob")
        nina = self.terminal("busybox", "telnet", "localhost", str(self.daemon.port))
        nina.see("\x1b[KName: ")
        nina.type("/guest Нина")
        nina.see("* Welcome, нина.")
        for text in self.said:
            nina.type(text)
            bob.see(f"] нина: {text}\n")

    def test_nothing_odd_in_nc(self) -> None:
        """What telnet is asked leaves nothing on the screen of a program that is not telnet."""
        screen = Tmux("nc", "localhost", str(self.daemon.port))
        self.addCleanup(screen.close)
        screen.has_written(b"\x1b[KName: ")
        greeting = "* Welcome to chat. Type a name or /help, or press Enter to be a guest."
        screen.see(greeting, "Name:")
        self.assertEqual(screen.rows(), [greeting, "Name:"])
        screen.type("/guest нина")
        screen.see("Name: /guest нина\n* Welcome, нина.")


class OtherProtocolsTest(DaemonTestCase):
    """Programs that take the port for another one."""

    def test_curl(self) -> None:
        """curl shows what the port is."""
        alice = self.guest("alice")
        done = subprocess.run(
            [program("curl"), "-sS", "-i", "--data-binary", "/nick x\nhello\n", self.url("http")],
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=True,
        )
        self.assertTrue(done.stdout.startswith("HTTP/1.1 400 Bad Request"), done.stdout)
        self.assertIn("This is a chat server, not a web server.\n", done.stdout)
        alice.send("/users\n")
        self.assertEqual(alice.see("* 1 person is in the lobby"), "")

    def test_curl_with_TLS(self) -> None:
        """curl with TLS on a plain port fails at once."""
        done = subprocess.run(
            [program("curl"), "-sS", self.url("https")],
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
        self.assertEqual(done.returncode, 35)
        self.assertIn("wrong version number", done.stderr)

    def test_request_that_goes_on(self) -> None:
        """The answer to a long HTTP request arrives, although not all of the request is read."""
        with Peer(self.daemon.port) as peer:
            peer.send(b"POST / HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 1_000_000)
            self.assertTrue(peer.rest().endswith("HOST PORT.\n"))

    def url(self, scheme: str) -> str:
        return f"{scheme}://localhost:{self.daemon.port}/"


class KeysTest(DaemonTestCase):
    def test_ctrl_c_in_telnet_forgets_the_line(self) -> None:
        """Ctrl-C takes back what was typed, and telnet goes on showing what comes."""
        alice, bob = self.telnet(), self.guest("bob")
        register(alice, "alice", "wonderland")
        alice.child.send("half a line")
        alice.press("c")
        alice.see("* /quit leaves")
        alice.type("a whole line")
        bob.see("] alice: a whole line")
        bob.send("seen?\n")
        alice.see("] bob: seen?")

    def test_ctrl_d_in_telnet_leaves(self) -> None:
        """Ctrl-D on an empty line ends the session, as in nc."""
        alice = self.telnet()
        register(alice, "alice", "wonderland")
        alice.press("d")
        alice.see("* bye")
        alice.see_end()

    def test_ctrl_d_in_nc_leaves(self) -> None:
        """The end of input is answered, and ends the session."""
        alice = self.terminal("nc", "-N", "localhost", str(self.daemon.port))
        register(alice, "alice", "wonderland")
        alice.press("d")
        alice.see("* bye")
        alice.see_end()

    def test_socat(self) -> None:
        """socat with line editing joins as well."""
        alice = self.terminal("socat", "STDIO", f"TCP:localhost:{self.daemon.port}")
        register(alice, "alice", "wonderland")
        alice.type("/users")
        alice.see("1 person is in the lobby: alice")

    def test_ending_lines_in_crlf_with_nc(self) -> None:
        """C{nc -C} is as good as nc."""
        alice = self.terminal("nc", "-C", "localhost", str(self.daemon.port))
        register(alice, "alice", "wonderland")
        alice.type("/me waves")
        alice.type("/history 1")
        alice.see("] * alice waves")
