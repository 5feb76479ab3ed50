"""The window, on a display without a screen: typed into with the keyboard, and read by copying what
it shows and by its title."""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.daemon import environment
from tests.end_to_end.display import Window, shared_display
from tests.end_to_end.terminal import TIMEOUT, DaemonTestCase, Peer, pipe


class WindowTestCase(DaemonTestCase):
    """A daemon for each test, and a display."""

    def setUp(self) -> None:
        self.display = shared_display()
        super().setUp()

    def window(self, *options: str) -> Window:
        """A window; at the login screen, unless the options say who to be."""
        window = Window(self.display, *options, "localhost", str(self.daemon.port))
        self.addCleanup(window.kill)
        return window

    def window_at_login(self, name: str = "") -> Window:
        """A window at the login screen, where keys reach the field for the name."""
        window = self.window("--name", name) if name else self.window()
        window.wait_for_keys(name)
        return window

    def window_of(self, name: str, *options: str) -> Window:
        """A window in which a guest is in."""
        window = self.window("--guest", "--name", name, *options)
        window.see_title(f"#lobby – {name}")
        return window

    def said_in_lobby(self) -> list[str]:
        """All that was said there, as the log has it."""
        output = pipe(self.daemon.port, "/json on\n/guest reader\n/history 1000\n")
        events = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
        messages = {event["id"]: event for event in events if event["event"] == "message"}
        return [f"{messages[id]['from']}: {messages[id]['text']}" for id in sorted(messages)]


class LoginTest(WindowTestCase):
    """The login screen."""

    def test_guest(self) -> None:
        """A name and Enter make a guest."""
        window = self.window_at_login()
        window.type("alice")
        window.see_title("#lobby – alice – twisted-chat")
        peer = self.guest("bob")
        window.type("hello bob")
        peer.see("alice: hello bob")

    def test_register_and_log_in(self) -> None:
        """An account that was registered in one window is used in the next. After a refusal, typing
        goes to the field that was refused."""
        window = self.window_at_login()
        window.press("shift+Tab", "shift+Tab", "space", "Tab", "Tab")
        self.display.type("alice")
        window.press("Tab")
        self.display.type("s3cret-pw")
        window.press("Tab")
        window.type("s3cret-pv")  # not the same
        window.type("s3cret-pw")
        window.see_title("#lobby – alice – twisted-chat")
        window.type("it is me")
        window.see("alice: it is me")
        window.press("alt+F4")
        self.assertEqual(window.end(), 0)

        pipe(self.daemon.port, "/register bob s3cret-pw\n/dm alice psst\n")

        window = self.window_at_login("alice")
        window.press("shift+Tab", "shift+Tab", "shift+Tab", "space", "Tab", "Tab", "Tab", "Tab")
        window.type("wrong-password")
        window.see_title("wrong name or password")
        window.type("s3cret-pw")
        window.see_title("(1) #lobby – alice – twisted-chat")
        window.see("alice: it is me")
        window.press("ctrl+2")
        window.see("bob: psst")

    def test_name_in_use(self) -> None:
        """A name in use is refused, and stays in its field to be changed."""
        self.guest("alice")
        window = self.window_at_login("alice")
        window.press("Return")
        window.see_title("alice")
        window.see_title("– twisted-chat")
        window.type("alicia")
        window.see_title("#lobby – alicia – twisted-chat")

    def test_no_server(self) -> None:
        """If there is no server, the window says so, and the person can try again."""
        self.daemon.kill()
        window = self.window("--guest", "--name", "alice")
        window.see_title("cannot connect to localhost")
        self.daemon.start()
        window.press("Return")
        window.see_title("#lobby – alice")


class TalkTest(WindowTestCase):
    """Talking."""

    def test_rooms_and_private_conversations(self) -> None:
        """Each room and private conversation has a tab; unread messages are counted in the
        title."""
        peer = self.guest("bob")
        window = self.window_of("alice")
        peer.send("漢字 and 👩‍👩‍👧‍👦 and é̃ \U0001f3f4\U0001f1e9\U0001f1ea\n")
        window.see("bob: 漢字 and 👩‍👩‍👧‍👦 and é̃ \U0001f3f4\U0001f1e9\U0001f1ea")
        peer.send("/dm alice psst\n/dm alice are you there?\n")
        window.see_title("(2) #lobby – alice")
        self.assertNotIn("psst", window.text())
        window.press("ctrl+2")
        window.see_title("bob – alice")
        window.see("bob: psst")
        window.type("yes, I am")
        peer.see("alice -> you: yes, I am")
        window.type("/me waves")  # that would be for all to see
        window.see("! /me is for a room; this is private")
        window.press("ctrl+a", "BackSpace")
        window.type("/join dev")
        window.see_title("#dev – alice")
        peer.send("/join dev\n")
        peer.see("2 people are in #dev")
        window.type("//not a command")
        peer.see("#dev alice: /not a command")
        window.type("/me waves")
        peer.see("#dev * alice waves")
        window.press("ctrl+1")
        window.see_title("#lobby – alice")
        window.type("back in the lobby")
        peer.see("] alice: back in the lobby")
        peer.send("for you, Alice\n")
        window.see_title("(1) #lobby – alice")
        window.press("ctrl+2", "ctrl+Next")
        window.see("bob: for you, Alice")
        window.type("/topic tea")
        peer.see("* alice set the topic of #dev: tea")
        window.press("ctrl+w")
        peer.see("* alice left #dev")
        window.see_title("#lobby – alice")

    def test_account_that_comes_back(self) -> None:
        """The rooms of the account have tabs, with what is new there; what is read in the window is
        read elsewhere, and if a room is left elsewhere, its tab is closed and the lobby is in
        front."""
        pipe(self.daemon.port, "/register alice s3cret-pw\n/join dev\n/join ops\n/quit\n")
        peer = self.guest("bob")
        peer.send("/join ops\none\ntwo\n/say lobby three\n")
        peer.see("in #ops")
        password = Path(tempfile.mkdtemp(prefix="chat-")) / "password"
        password.write_text("s3cret-pw\n")
        password.chmod(0o600)
        options = ("--name", "alice", "--password-file", str(password))
        window = self.window(*options)
        window.see_title("(2) #lobby – alice")
        window.see("bob: three")
        phone = Peer(self.daemon.port)
        self.addCleanup(phone.socket.close)
        phone.send("/json on\n/login alice s3cret-pw\n")
        phone.see('"event":"rooms"')
        window.press("ctrl+3")
        window.see_title("#ops – alice")
        window.see("bob: one")
        window.see("bob: two")
        phone.see('"room":"ops","seq":')  # that it is read
        phone.send("/leave ops\n")
        peer.see("* alice left #ops")
        window.see_title("#lobby – alice")

    def test_lists(self) -> None:
        """A person and a room are chosen with the keyboard alone."""
        peer = self.guest("bob")
        peer.send("/join tea\n")
        peer.see("1 person is in #tea")
        window = self.window_of("alice")
        window.see("connected to chat")
        window.press("Tab")  # to the people: alice, then bob
        window.press("Down", "Return")
        window.see_title("bob – alice")
        window.type("hello")
        peer.see("alice -> you: hello")
        window.press("ctrl+j")
        window.type("tea")
        window.see_title("#tea – alice")
        peer.see("* alice joined #tea")

    def test_refusals(self) -> None:
        """A refusal is shown beside the line that was typed, and the line can be corrected."""
        window = self.window_of("alice")
        window.type("/nonsense")
        window.see('! there is no command "/nonsense"')
        window.press("ctrl+a", "BackSpace")
        window.type("/dm nobody-there hi")
        window.see("! no one here is called")

    def test_recall(self) -> None:
        """Lines that were typed are recalled, but for passwords."""
        peer = self.guest("bob")
        window = self.window_of("alice")
        window.type("tea?")
        peer.see("alice: tea?")
        window.type("/regster alice s3cret-pw")
        window.see("! there is no command")
        window.press("ctrl+a", "BackSpace", "Up", "Return")
        peer.see("alice: tea?")

    def test_paste(self) -> None:
        """Several pasted lines are said in order, and only after a question."""
        peer = self.guest("bob")
        window = self.window_of("alice")
        window.paste("one\ntwo\nthree\n")
        window.see_title("send 3 lines to #lobby?")
        window.type("n")
        window.see_title("#lobby – alice")
        window.paste("four\nfive\n")
        window.see_title("send 2 lines to #lobby?")
        window.type("y")
        before = peer.see("alice: five")
        self.assertIn("alice: four", before)
        self.assertNotIn("one", before)

    def test_long_conversation(self) -> None:
        """A conversation that is too long loses its oldest lines, so a window may stay open for
        ever."""
        window = self.window_of("alice")
        peer = self.guest("bob")
        peer.send("".join(f"line {n}\n" for n in range(1, 3601)))
        seen = window.see("bob: line 3600", patience=4 * TIMEOUT)
        numbers = [int(n) for n in re.findall(r"bob: line (\d+)$", seen, re.MULTILINE)]
        self.assertEqual(numbers, list(range(numbers[0], 3601)))
        self.assertLessEqual(len(numbers), 3000)
        self.assertGreater(len(numbers), 2900)


class RestartTest(WindowTestCase):
    """The daemon is killed, and started again."""

    def test_nothing_is_lost_or_doubled(self) -> None:
        """After a restart, what was typed meanwhile is said, and what others said is shown, all of
        it once."""
        window = self.window_of("alice")
        for n in range(1, 7):
            if n == 3:
                self.daemon.kill()
            window.type(f"mine {n}")
            if n == 5:
                self.daemon.start()
                pipe(self.daemon.port, "/guest bob\nyours 1\nyours 2\n")
        seen = window.see("mine 6")
        window.see("yours 2")
        mine = [f"alice: mine {n}" for n in range(1, 7)]
        log = self.said_in_lobby()
        self.assertEqual([line for line in log if "mine" in line], mine)
        shown = re.findall(r"(\S+: (?:mine|yours) \d)$", window.text(), re.MULTILINE)
        self.assertEqual(shown, log)
        self.assertIn("connected again", seen)


class EndTest(WindowTestCase):
    """The program ends with its window."""

    def test_closed(self) -> None:
        """If the window manager closes the window, the client says goodbye to the server."""
        peer = self.guest("bob")
        window = self.window_of("alice")
        peer.see("alice joined")
        window.press("alt+F4")
        self.assertEqual(window.end(), 0)
        peer.see("alice left")

    def test_quit(self) -> None:
        """The command C{/quit} ends the program."""
        window = self.window_of("alice")
        window.type("/quit")
        self.assertEqual(window.end(), 0)

    def test_without_a_server(self) -> None:
        """Closing the window ends the program while there is no connection."""
        window = self.window_of("alice")
        self.daemon.kill()
        window.see("not connected")
        window.press("ctrl+q")
        self.assertEqual(window.end(), 0)

    def test_at_the_login_screen(self) -> None:
        """Closing the window ends the program at the login screen."""
        window = self.window_at_login()
        window.press("alt+F4")
        self.assertEqual(window.end(), 0)


class NoWindowTest(SynchronousTestCase):
    """There can be none."""

    def refused(self, *command: str) -> str:
        done = subprocess.run(
            [sys.executable, *command],
            env=environment(DISPLAY=""),
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertEqual(done.stderr.count("\n"), 1)
        return done.stderr

    def test_no_display(self) -> None:
        """Without a display the program ends with a sentence."""
        command = str(Path(sys.executable).with_name("twisted-chat"))
        self.assertIn("cannot open a window: ", self.refused(command, "--gui"))

    def test_no_tkinter(self) -> None:
        """Without tkinter the program ends with a sentence that names what to install."""
        script = (
            "import sys; sys.modules['tkinter'] = None;"
            "from twisted_chat.client.main import main; main(['--gui'])"
        )
        self.assertIn("python3-tk", self.refused("-c", script))
