"""What C{twistd chat} takes for options, and what it makes of them."""

import re
import resource
from collections.abc import Iterable
from contextlib import redirect_stdout
from dataclasses import fields
from io import StringIO
from pathlib import Path
from typing import Any

from twisted.application.service import IServiceMaker
from twisted.internet import reactor as _reactor
from twisted.plugin import getPlugins
from twisted.trial.unittest import SynchronousTestCase

from twisted_chat import __version__, tap
from twisted_chat.core.addresses import SHARED, Source
from twisted_chat.core.limits import Limits
from twisted_chat.service import CannotStart
from twisted_chat.tap import Options, makeService

reactor: Any = _reactor

_OPERATIONS = Path(__file__).parent.parent / "docs" / "operations.md"
_ANYWHERE = "tcp:0:interface=127.0.0.1"


def _parsed(*arguments: str) -> Options:
    options = Options()
    options.parseOptions(list(arguments))
    return options


def _option(field_name: str) -> str:
    return "--" + field_name.replace("_", "-")


class OptionsTests(SynchronousTestCase):
    """The command line."""

    def refuse(self, *arguments: str) -> str:
        """It is refused; gives back the sentence, which is what the process ends with."""
        error = self.assertRaises(CannotStart, _parsed, *arguments)
        self.assertIsInstance(error, SystemExit)
        sentence = str(error.code)
        self.assertTrue(sentence.startswith("twistd chat: "), sentence)
        self.assertEqual(len(sentence.splitlines()), 1)
        return sentence.removeprefix("twistd chat: ")

    def test_defaults(self) -> None:
        """One port, a database in the directory, and the limits as they are in the core."""
        options = _parsed()
        self.assertEqual(options.ports, ["5000"])
        self.assertEqual(options["database"], "sqlite:///chat.db")
        self.assertEqual(options["name"], "chat")
        self.assertEqual(options.limits, Limits())
        self.assertEqual(list(options.motd), [])
        self.assertFalse(options["no-guests"])
        self.assertFalse(options["no-registration"])

    def test_ports(self) -> None:
        """May be given more than once, as numbers and as endpoints, and replace the default."""
        options = _parsed("--port", "5001", "-p", "unix:/run/chat.sock", "--port=tcp:5002")
        self.assertEqual(options.ports, ["5001", "unix:/run/chat.sock", "tcp:5002"])

    def test_options_know_nothing_of_each_other(self) -> None:
        """A second command line begins with the defaults."""
        _parsed("--port", "5001", "--max-rooms", "3")
        self.assertEqual(_parsed().ports, ["5000"])
        self.assertEqual(_parsed().limits, Limits())

    def test_every_limit_is_an_option(self) -> None:
        """With its default, a sentence of help, and the value that is given."""
        usage_text = Options().getUsage(width=200)
        for number, field in enumerate(fields(Limits)):
            value = 5 + number
            limits = _parsed(_option(field.name), str(value)).limits
            self.assertEqual(getattr(limits, field.name), value, field.name)
            self.assertEqual(
                [f.name for f in fields(Limits) if getattr(limits, f.name) != f.default],
                [field.name],
            )
            self.assertIn(f"{_option(field.name)}=", usage_text)
            self.assertIn(field.metadata["help"], re.sub(r"\s+", " ", usage_text))
            self.assertIn(f"[default: {field.default}]", usage_text)

    def test_flags(self) -> None:
        """Options by which newcomers are refused."""
        options = _parsed("--no-guests", "--no-registration")
        self.assertTrue(options["no-guests"])
        self.assertTrue(options["no-registration"])

    def test_help_is_short_enough_to_be_read(self) -> None:
        """Every option has a sentence."""
        options = Options()
        for name in _long_options(options):
            self.assertIn(f"--{name}", options.getUsage(width=200))

    def test_help_has_headings(self) -> None:
        """Every option stands under one, once, and those that are alike stand together."""
        shown = Options().getUsage(width=100)
        listed = re.findall(r"^ .{5}--([\w-]+)", shown, re.MULTILINE)
        self.assertEqual(sorted(listed), list(_long_options(Options())))
        self.assertEqual(
            re.findall(r"^(\S.*):$", shown, re.MULTILINE),
            [
                "Listening and keeping",
                "What people see",
                "Logging in",
                "Limits by address",
                "Limits on each session",
                "Limits on everyone together",
                "Other options",
            ],
        )
        _, _, other = shown.partition("Other options:\n")
        self.assertEqual(re.findall(r"--([\w-]+)", other), ["config", "help", "version"])

    def test_no_number(self) -> None:
        """A sentence that names the option."""
        for field in fields(Limits):
            for value in "many", "-1", "", "1.5", "1e3", " 5", "٣x", "²":
                sentence = self.refuse(f"{_option(field.name)}={value}")
                self.assertIn(_option(field.name), sentence)
                self.assertIn(f'"{value}"', sentence)

    def test_wrong_values(self) -> None:
        """Each is one sentence, and nothing is started."""
        self.assertEqual(
            self.refuse("--port", "65536"), "there is no port 65536; ports go up to 65535"
        )
        for cost in "3", "32":
            self.assertEqual(
                self.refuse("--password-cost", cost), "--password-cost must be between 4 and 31"
            )
        self.assertIn("--name", self.refuse("--name", "a\x1b[2Jb"))
        self.assertIn("--name", self.refuse("--name", "two\nlines"))
        self.assertIn("--name is empty", self.refuse("--name", " \u200b"))
        self.assertIn("frob", self.refuse("--frob"))
        self.assertIn("--max-rooms", self.refuse("--max-rooms", "1", "--max-rooms"))
        self.assertIn('"5000"', self.refuse("5000"))
        self.assertIn("port", self.refuse("--port"))

    def test_networks(self) -> None:
        """Lists, whose entries may have spaces around them; loopback is shared unless told."""
        loopback = _parsed().networks
        for host in "127.0.0.1", "127.9.9.9", "::1":
            self.assertEqual(loopback.source(host), SHARED)
        chosen = _parsed(
            "--trusted-networks", "192.0.2.7, 2001:db8::/48,", "--shared-networks", ""
        ).networks
        self.assertTrue(chosen.source("192.0.2.7").trusted)
        self.assertTrue(chosen.source("2001:db8:0:7::1").trusted)
        self.assertEqual(chosen.source("127.0.0.1"), Source("127.0.0.1"))

    def test_proxies(self) -> None:
        """Addresses and networks; none unless told."""
        self.assertFalse(_parsed().proxies)
        chosen = _parsed("--proxies", "192.0.2.7, 2001:db8::/48").proxies
        for host, is_proxy in (
            *(("192.0.2.7", True), ("::ffff:192.0.2.7", True), ("192.0.2.8", False)),
            *(("2001:db8:0:7::1", True), ("2001:db9::1", False), ("127.0.0.1", False)),
        ):
            self.assertEqual(host in chosen, is_proxy, host)

    def test_wrong_networks(self) -> None:
        """A sentence that tells which entry it is."""
        for option in "--trusted-networks", "--shared-networks", "--proxies":
            for wrong in "192.0.2.1/24", "example.org", "192.0.2.0/33":
                sentence = self.refuse(option, f"127.0.0.1,{wrong}")
                self.assertIn(option, sentence)
                self.assertIn(wrong, sentence)

    def test_trusted_accounts(self) -> None:
        """In their one spelling."""
        chosen = _parsed("--trusted-accounts", "DeployBot, backup").trusted_accounts
        self.assertEqual(list(chosen), ["deploybot", "backup"])
        self.assertIn("--trusted-accounts", self.refuse("--trusted-accounts", "no one"))

    def test_edges(self) -> None:
        """The smallest and the largest are right."""
        self.assertEqual(_parsed("--port", "0", "--port", "65535").ports, ["0", "65535"])
        for cost in 4, 31:
            self.assertEqual(_parsed("--password-cost", str(cost)).limits.password_cost, cost)

    def test_motd(self) -> None:
        """Its lines, made safe to show."""
        path = Path(self.mktemp())
        path.write_text("Be kind.\n\n\tNo fl\u202eood.\n", "utf-8")
        self.assertEqual(list(_parsed("--motd", str(path)).motd), ["Be kind.", "", "    No flood."])

    def test_wrong_motd(self) -> None:
        """A file that is missing, a directory, one that is not UTF-8, one that has escapes."""
        path = Path(self.mktemp())
        self.assertIn(str(path), self.refuse("--motd", str(path)))
        self.assertIn("directory", self.refuse("--motd", "."))
        path.write_bytes(b"caf\xe9\n")
        self.assertIn(str(path), self.refuse("--motd", str(path)))
        path.write_bytes(b"\x1b[2J\n")
        self.assertIn("control characters", self.refuse("--motd", str(path)))

    def test_version(self) -> None:
        """Is printed, and that is all."""
        with redirect_stdout(StringIO()) as said:
            end = self.assertRaises(SystemExit, _parsed, "--version")
        self.assertEqual(end.code, 0)
        self.assertEqual(said.getvalue(), f"twisted-chat {__version__}\n")


class ConfigTests(SynchronousTestCase):
    """C{--config}, a file with options."""

    def file(self, content: str | bytes) -> str:
        """The path of a file with this content."""
        path = Path(self.mktemp())
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return str(path)

    def refuse(self, content: str | bytes) -> str:
        """It is refused, in one sentence that names the file; gives back the rest of it."""
        path = self.file(content)
        sentence = str(self.assertRaises(CannotStart, _parsed, "--config", path).code)
        self.assertEqual(len(sentence.splitlines()), 1)
        _, named, after = sentence.partition(f"--config file {path}")
        self.assertTrue(named, sentence)
        return after

    def test_every_option(self) -> None:
        """Under its name, in the type that suits it."""
        motd = self.file("Be kind.\n")
        chosen = _parsed(
            "--config",
            self.file(
                f"""
                port = [5000, "tls:/etc/chat/certs:5001"]
                name = "the lab"
                motd = '{motd}'
                no-guests = true
                no-registration = false
                max-connections = 500
                trusted-networks = ["192.0.2.7", "2001:db8::/48"]
                proxies = ["10.0.0.5"]
                trusted-accounts = "deploybot, backup"
                """
            ),
        )
        self.assertIn("10.0.0.5", chosen.proxies)
        self.assertEqual(chosen.ports, ["5000", "tls:/etc/chat/certs:5001"])
        self.assertEqual(chosen["name"], "the lab")
        self.assertEqual(list(chosen.motd), ["Be kind."])
        self.assertTrue(chosen["no-guests"])
        self.assertFalse(chosen["no-registration"])
        self.assertEqual(chosen.limits, Limits(max_connections=500))
        self.assertTrue(chosen.networks.source("2001:db8::1").trusted)
        self.assertEqual(list(chosen.trusted_accounts), ["deploybot", "backup"])

    def test_every_limit(self) -> None:
        """Is a key."""
        for number, field in enumerate(fields(Limits)):
            key = _option(field.name).removeprefix("--")
            chosen = _parsed("--config", self.file(f"{key} = {number + 5}"))
            self.assertEqual(getattr(chosen.limits, field.name), number + 5)

    def test_command_line_wins(self) -> None:
        """Wherever C{--config} stands on it; its ports replace those of the file."""
        path = self.file('port = 5001\nname = "the lab"\nmax-rooms = 3\nmax-joined = 4\n')
        for line in (
            ("--config", path, "--max-rooms", "7", "--port", "5002"),
            ("--max-rooms", "7", "-p5002", f"--config={path}"),
        ):
            chosen = _parsed(*line)
            self.assertEqual(chosen.limits, Limits(max_rooms=7, max_joined=4))
            self.assertEqual(chosen["name"], "the lab")
            self.assertEqual(chosen.ports, ["5002"])

    def test_unknown_option(self) -> None:
        """Is refused with the nearest, if any is near."""
        self.assertEqual(
            self.refuse("max_conections = 5"),
            ': there is no option "max_conections"; did you mean "max-connections"?',
        )
        self.assertEqual(
            self.refuse("[limits]\nmax-rooms = 5"),
            ': there is no option "limits"; see twistd chat --help',
        )
        for key in "config", "help", "version":
            self.assertIn(f': there is no option "{key}"', self.refuse(f'{key} = "x"'))
        self.assertIn(': there is no option "a', self.refuse('"a\\nb\\u001b[2J" = 5'))

    def test_wrong_type(self) -> None:
        """Is refused with what it needs."""
        for line, needed in (
            ('max-rooms = "many"', "max-rooms needs a whole number"),
            ("max-rooms = 1.5", "max-rooms needs a whole number"),
            ("max-rooms = true", "max-rooms needs a whole number"),
            ("max-rooms = [1]", "max-rooms needs a whole number"),
            ('no-guests = "yes"', "no-guests needs true or false"),
            ("no-guests = 1", "no-guests needs true or false"),
            ("name = 5", "name needs a string in quotes"),
            ('name = ["x"]', "name needs a string in quotes"),
            ("port = true", "port needs a port, or a list of ports"),
            ("port = []", "port needs a port, or a list of ports"),
            ("port = [5000, 1.5]", "port needs a port, or a list of ports"),
            (
                "trusted-networks = 5",
                "trusted-networks needs a string in quotes, or a list of them",
            ),
            ("trusted-accounts = [[]]", "trusted-accounts needs a string in quotes, or a list of"),
        ):
            self.assertIn(f": {needed}", self.refuse(line), line)

    def test_wrong_value(self) -> None:
        """Is refused as on the command line."""
        for line, sentence in (
            ("max-rooms = -1", '--max-rooms needs a whole number, not "-1"'),
            ("port = 70000", "there is no port 70000; ports go up to 65535"),
            ('name = "two\\nlines"', "--name has control characters in it"),
        ):
            path = self.file(line)
            error = self.assertRaises(CannotStart, _parsed, "--config", path)
            self.assertEqual(str(error.code), f"twistd chat: {sentence}")

    def test_not_to_be_read(self) -> None:
        """Missing, a directory, not UTF-8, not TOML: then the line is told."""
        error = self.assertRaises(CannotStart, _parsed, "--config", "missing.toml")
        self.assertEqual(
            str(error.code),
            "twistd chat: cannot read the --config file missing.toml:"
            " [Errno 2] No such file or directory: 'missing.toml'",
        )
        error = self.assertRaises(CannotStart, _parsed, "--config", ".")
        self.assertIn("directory", str(error.code))
        self.assertIn("utf-8", self.refuse(b'name = "caf\xe9"'))
        self.assertIn("line 2", self.refuse("max-rooms = 5\nmax-joined 5\n"))
        self.assertIn("line 2", self.refuse("max-rooms = 5\nmax-rooms = 6\n"))

    def test_example(self) -> None:
        """That of docs/operations.md is right, and has the names of all that it shows."""
        (example,) = re.findall(r"```toml\n(.*?)```", _OPERATIONS.read_text("utf-8"), re.DOTALL)
        motd = self.file("Be kind.\n")
        self.assertIn('"/etc/chat/motd"', example)
        chosen = _parsed("--config", self.file(example.replace("/etc/chat/motd", motd)))
        self.assertIn("tls:/etc/chat/certs:5001", chosen.ports)
        self.assertEqual(list(chosen.motd), ["Be kind."])


def _long_options(options: Options) -> Iterable[str]:
    """Every option there is."""
    return sorted({name.rstrip("=") for name in options.longOpt})


class OperationsTests(SynchronousTestCase):
    """docs/operations.md, which operators go by."""

    def setUp(self) -> None:
        self.lines = _OPERATIONS.read_text("utf-8").splitlines()

    def lines_on(self, option: str) -> list[str]:
        """The lines that tell of an option."""
        return [line for line in self.lines if re.search(rf"`{option}\b(?!-)", line)]

    def test_every_option_has_a_line(self) -> None:
        """Whatever C{twistd chat --help} lists."""
        for name in _long_options(Options()):
            self.assertNotEqual(self.lines_on(f"--{name}"), [], name)

    def test_every_limit_has_its_default(self) -> None:
        """On one of its lines, as the option takes it."""
        for field in fields(Limits):
            defaults = [
                line
                for line in self.lines_on(_option(field.name))
                if re.search(rf"(?<![\d,]){field.default}(?![\d,])", line.replace(",", ""))
            ]
            self.assertNotEqual(defaults, [], field.name)

    def test_no_other_options(self) -> None:
        """What looks like an option of ours is one."""
        known = {f"--{name}" for name in _long_options(Options())}
        rows = re.findall(r"^\| `(--[\w-]+)", "\n".join(self.lines), re.MULTILINE)
        self.assertEqual(set(rows) - known, set())


class DescriptorsTests(SynchronousTestCase):
    """No more connections than there can be open files."""

    def limited(self, asked: int, descriptors: int) -> int:
        """How many connections there may be."""
        self.patch(resource, "getrlimit", lambda what: (descriptors, 2 * descriptors))
        return tap._within_descriptors(Limits(max_connections=asked)).max_connections

    def test_as_many_as_possible(self) -> None:
        """By default, with some files left for other things."""
        self.assertEqual(self.limited(0, 1024), 924)

    def test_too_many(self) -> None:
        """No more than possible, though asked for."""
        self.assertEqual(self.limited(5000, 1024), 924)

    def test_fewer(self) -> None:
        """As many as asked for."""
        self.assertEqual(self.limited(10, 1024), 10)

    def test_at_least_one(self) -> None:
        """0 would mean no limit."""
        self.assertEqual(self.limited(0, 64), 1)

    def test_other_limits_stay(self) -> None:
        """And so does the value that was given."""
        self.patch(resource, "getrlimit", lambda what: (1024, 1024))
        asked = Limits(max_rooms=3)
        self.assertEqual(tap._within_descriptors(asked), Limits(max_rooms=3, max_connections=924))
        self.assertEqual(asked.max_connections, 0)


class PluginTests(SynchronousTestCase):
    """What twistd finds."""

    def test_twistd_finds_it(self) -> None:
        """One C{chat}, with the options and the service of the tap."""
        found = [maker for maker in getPlugins(IServiceMaker) if maker.tapname == "chat"]
        self.assertEqual(len(found), 1)
        self.assertIs(found[0].options, Options)
        self.assertIs(found[0].makeService, makeService)
