"""The command line and the configuration of C{twisted-chat}: what they lead to, and what is wrong
with them. Nothing is connected to."""

import io
import os
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from twisted_chat.client import main
from twisted_chat.client.pipe import Plan
from twisted_chat.client.where import Where


class MainTestCase(SynchronousTestCase):
    """A standard input that is a pipe, and a configuration."""

    def setUp(self) -> None:
        self.home = Path(self.mktemp()).absolute()
        self.config = self.home / "twisted-chat" / "config.ini"
        self.config.parent.mkdir(parents=True)
        self.patch(os, "environ", {"XDG_CONFIG_HOME": str(self.home), "HOME": str(self.home)})
        self.patch(main, "is_input", lambda _: True)
        self.patch(main, "Client", lambda where, *_, **__: where)
        self.patch(main, "Pipe", lambda where, plan: (where, plan))
        self.patch(main, "_until_done", self.begun)
        self.pipes: list[tuple[Where, Plan]] = []

    def begun(self, reactor: object, pipe: tuple[Where, Plan]) -> int:
        self.pipes.append(pipe)
        return main.OK

    def configure(self, text: str, mode: int = 0o600) -> None:
        self.config.write_text(text)
        self.config.chmod(mode)

    def run_main(self, *arguments: str) -> tuple[object, str]:
        """Run the command; gives back its exit code and what it complains of."""
        errors = io.StringIO()
        self.patch(sys, "stderr", errors)
        code = self.assertRaises(SystemExit, main.main, arguments).code
        return code, errors.getvalue()

    def refused(self, sentence: str, *arguments: str) -> None:
        """It is misused: nothing is begun, one sentence is said, and the exit code is 2."""
        code, err = self.run_main(*arguments)
        self.assertEqual((code, err.count("\n"), self.pipes), (2, 1, []), err)
        self.assertIn(sentence, err)


class TlsOrNothingTests(MainTestCase):
    """What asks for TLS and cannot be understood is refused: a password must not go out without
    it."""

    def test_section_in_any_case(self) -> None:
        """A host is the same in any case, and so is its section."""
        self.configure("[Chat.Example]\ntls = yes\n")
        self.assertEqual(self.run_main("chat.example"), (0, ""))
        self.assertEqual(self.run_main("CHAT.EXAMPLE"), (0, ""))
        self.assertEqual([where.tls for where, _ in self.pipes], [True, True])

    def test_options(self) -> None:
        """Wrong options of the command line are refused."""
        for sentence, *options in (
            ("--pin is empty", "--pin", ""),
            ("--pin is empty", "--pin", " "),
            ("--ca is empty", "--ca", ""),
            ("--unix is empty", "--unix", ""),
            ("64 hexadecimal digits", "--pin", "00"),
            ("cannot use /nonexistent", "--ca", "/nonexistent"),
            ("it has no certificate", "--ca", "/dev/null"),
            ("a UNIX socket has no TLS", "--tls", "--unix", "/nonexistent"),
            ("exclude each other", "--no-tls", "--pin", "00" * 32),
        ):
            self.refused(sentence, "chat.example", *options)

    def test_settings(self) -> None:
        """Wrong settings of the configuration are refused."""
        for sentence, *settings in (
            ("pin is empty", "pin ="),
            ("ca is empty", "ca ="),
            ("unix is empty", "unix ="),
            ('not "y"', "tls = y"),
            ('not "required"', "tls = required"),
            ('not "enabled"', "tls = enabled"),
            ('not "yes  # or no"', "tls = yes  # or no"),
            ('not ""', "tls ="),
            ("64 hexadecimal digits", "pin = 00"),
            ("cannot use /nonexistent", "ca = /nonexistent"),
            ("port is a number", "port = tls"),
            ("no setting called tsl", "tsl = yes"),
            ("is not a host name", "host = tls://chat.example"),
            ("a UNIX socket has no TLS", "unix = /nonexistent", "tls = yes"),
        ):
            self.configure("\n".join(["[work]", *settings]))
            self.refused(sentence, "work")

    def test_help_fits_on_a_terminal(self) -> None:
        """C{--help} breaks no word on a screen of 80 columns."""
        shown = io.StringIO()
        self.patch(sys, "stdout", shown)
        self.assertEqual(self.run_main("--help")[0], 0)
        self.assertEqual([line for line in shown.getvalue().split("\n") if len(line) > 79], [])

    def test_ports(self) -> None:
        """What is no port is refused in words of people, not of the program."""
        for port in ("0", "65536", "99999", "5000x", "-1", "\x1b[31m"):
            code, err = self.run_main("chat.example", "--", port)
            self.assertEqual((code, self.pipes), (2, []), err)
            self.assertIn("a port is a number from 1 to 65535, not ", err)
            self.assertNotIn("\x1b", err)
            self.assertNotIn("_port", err)

    def test_hosts(self) -> None:
        """A URL or HOST:PORT is refused as the name of a host."""
        for host in ("tls://chat.example", "https://chat.example/", "chat.example:5001", "a b"):
            self.refused("is not a host name", host)

    def test_understood(self) -> None:
        """TLS is spoken where it is asked for; the command line has the last word."""
        pin = "00" * 32
        for tls, configured, *options in (
            (False, ""),
            (True, "", "--tls"),
            (True, "", "--pin", pin),
            (True, "tls = Yes"),
            (True, "tls = 1"),
            (True, f"pin = {pin}"),
            (False, "tls = off"),
            (False, "tls = yes", "--no-tls"),
            (False, f"pin = {pin}", "--no-tls"),
            (True, "tls = no", "--tls"),
        ):
            self.configure(f"[work]\nhost = chat.example\n{configured}\n")
            self.assertEqual(self.run_main("work", *options), (0, ""))
            self.assertEqual(self.pipes[-1][0].is_tls, tls, (configured, options))


class PipeTests(MainTestCase):
    """What is piped in, and where it goes."""

    def test_plan(self) -> None:
        """Lines go to a room or to a person, and are text or commands."""
        for options, rooms, to, raw, commands in (
            ((), (), "", False, False),
            (("--room", "#Ops", "--raw"), ("ops",), "", True, False),
            (("--to", "Bob", "--commands"), (), "bob", False, True),
        ):
            self.assertEqual(self.run_main("chat.example", *options), (0, ""))
            plan = self.pipes[-1][1]
            self.assertEqual(
                (plan.rooms, plan.to, plan.raw, plan.commands), (rooms, to, raw, commands)
            )

    def test_no_such_place(self) -> None:
        """A room or a person that cannot exist is refused, and so are both at once."""
        self.refused("names may contain only", "chat.example", "--to", "b b")
        self.refused("names may contain only", "chat.example", "--to", "")
        self.refused("names may contain only", "chat.example", "--room", "!")
        for one, other in (("--to=bob", "--room=ops"), ("--raw", "--commands")):
            code, err = self.run_main("chat.example", one, other)
            self.assertEqual(code, 2)
            self.assertIn("not allowed with", err)

    def test_nothing_piped_in(self) -> None:
        """C{--to}, C{--raw} and C{--commands} are refused if nothing is piped in."""
        self.patch(main, "is_input", lambda _: False)
        for options in (("--to", "bob"), ("--raw",), ("--commands",)):
            self.refused("piped in", "chat.example", *options)


class PasswordTests(MainTestCase):
    """Files with a password in them."""

    def test_readable_by_others(self) -> None:
        """A password file that others can read is refused, as the configuration is."""
        path = self.home / "password"
        path.write_text("s3cret-pw\n")
        given = ("chat.example", "--name", "bot", "--password-file", str(path))
        for mode in (0o644, 0o640, 0o604):
            path.chmod(mode)
            self.refused(
                f"{path} contains a password and others can read it; run chmod 600", *given
            )
        self.configure("[work]\npassword = s3cret-pw\n", 0o644)
        self.refused("chmod 600", "work", "--name", "bot")
        path.chmod(0o400)
        self.configure("")
        self.assertEqual(self.run_main(*given), (0, ""))

    def test_from_a_pipe(self) -> None:
        """A password is read from a pipe, which nobody else can read: C{--password-file <(pass show
        chat)}."""
        read, write = os.pipe()
        os.write(write, b"s3cret-pw\n")
        os.close(write)
        self.addCleanup(os.close, read)
        given = ("chat.example", "--name", "bot", "--password-file", f"/dev/fd/{read}")
        self.assertEqual(self.run_main(*given), (0, ""))
