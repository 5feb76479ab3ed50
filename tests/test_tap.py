"""What C{twistd chat} takes for options, and what it makes of them."""

import atexit
import re
import resource
import sqlite3
import time
from collections.abc import Iterable
from contextlib import closing, redirect_stdout
from dataclasses import fields
from io import StringIO
from pathlib import Path
from typing import Any, ClassVar
from unittest import mock

import twisted.internet
from twisted.application.service import IService, IServiceMaker, MultiService
from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol, serverFromString
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.plugin import getPlugins
from twisted.python import usage
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.support import RecordingOutbox
from twisted_chat import __version__, tap
from twisted_chat.core.addresses import SHARED, Source
from twisted_chat.core.chat import Session
from twisted_chat.core.events import Done
from twisted_chat.core.limits import Limits
from twisted_chat.core.model import RoomPost
from twisted_chat.store import SqlStore
from twisted_chat.tap import CannotStart, Options, makeService

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
        """Those who are not let in."""
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
                self.refuse("--password-cost", cost), "--password-cost goes from 4 to 31"
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

    def test_wrong_networks(self) -> None:
        """A sentence that tells which entry it is."""
        for option in "--trusted-networks", "--shared-networks":
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
                trusted-accounts = "deploybot, backup"
                """
            ),
        )
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
            ("name = 5", "name needs a text in quotes"),
            ('name = ["x"]', "name needs a text in quotes"),
            ("port = true", "port needs a port, or a list of ports"),
            ("port = []", "port needs a port, or a list of ports"),
            ("port = [5000, 1.5]", "port needs a port, or a list of ports"),
            ("trusted-networks = 5", "trusted-networks needs a text in quotes, or a list of them"),
            ("trusted-accounts = [[]]", "trusted-accounts needs a text in quotes, or a list of"),
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


class Client(Protocol):
    """The other end of a connection."""

    def __init__(self) -> None:
        self.received = b""
        self.ended: Deferred[None] = Deferred()
        self._expected = b""
        self._seen: Deferred[bytes] | None = None

    def send(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(data)

    def see(self, expected: bytes) -> "Deferred[bytes]":
        """Wait until this has come; gives back all that has."""
        self._expected, self._seen = expected, Deferred()
        seen = self._seen
        self.dataReceived(b"")
        return seen

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        if self._seen is not None and self._expected in self.received:
            seen, self._seen = self._seen, None
            seen.callback(self.received)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.ended.callback(None)


class _LateEndpoint:
    """Listens when it is told to."""

    def __init__(self) -> None:
        self.listening: Deferred[Any] = Deferred()

    def listen(self, factory: object) -> "Deferred[Any]":
        return self.listening


def _lines(case: TestCase) -> list[str]:
    """What is logged from now on."""
    lines: list[str] = []

    def note(event: LogEvent) -> None:
        lines.append(formatEvent(event))

    observer: Any = note
    globalLogPublisher.addObserver(observer)
    case.addCleanup(globalLogPublisher.removeObserver, observer)
    return lines


class ServiceTests(TestCase):
    """The service, over real sockets."""

    timeout: ClassVar[int] = 30

    def setUp(self) -> None:
        self.database = Path(self.mktemp()).absolute()

    def make(self, *arguments: str) -> MultiService:
        """A service with a database of its own."""
        service = makeService(
            _parsed("--database", f"sqlite:///{self.database}", "--password-cost", "4", *arguments)
        )
        assert isinstance(service, MultiService)
        return service

    def start(self, *arguments: str) -> MultiService:
        """Start one as twistd does."""
        service = self.make(*arguments)
        service.privilegedStartService()
        service.startService()
        return service

    def port(self, service: MultiService, index: int = 0) -> int:
        """Where it listens, as it says in the log."""
        match = re.fullmatch(r"port (\d+) of 127\.0\.0\.1", str(list(service)[index]))
        assert match is not None
        return int(match[1])

    async def connect(self, port: int) -> Client:
        client = Client()
        await connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", port), client)
        return client

    def test_is_a_service(self) -> None:
        """Making it opens nothing."""
        service = self.make("--port", _ANYWHERE)
        self.assertTrue(IService.providedBy(service))
        self.assertFalse(service.running)
        self.assertFalse(self.database.exists())

    async def test_people_join(self) -> None:
        """On every port, under the name of the server and with its message of the day."""
        motd = Path(self.mktemp())
        motd.write_text("Be kind.\n", "utf-8")
        service = self.start(
            "--port", _ANYWHERE, "--port", _ANYWHERE, "--name", "the lab", "--motd", str(motd)
        )
        ports = [self.port(service, index) for index in (0, 1)]
        self.assertNotEqual(*ports)
        alice, bob = [await self.connect(port) for port in ports]
        self.assertIn(b"* Welcome to the lab.", await alice.see(b"Name: "))
        alice.send(b"/register alice wonderland\n")
        self.assertIn(b"* Welcome, alice.", await alice.see(b"* Be kind.\n"))
        bob.send(b"/guest bob\n")
        await alice.see(b"* bob joined\n")
        bob.send(b"hello\n")
        await alice.see(b"] bob: hello\n")
        await service.stopService()
        for client in alice, bob:
            await client.ended
            self.assertTrue(client.received.endswith(b"* the server is going down; bye\n"))

    async def test_what_was_sent_last_is_seen_and_kept(self) -> None:
        """Stopping commits what was accepted, and shows it before it says bye."""
        service = self.start("--port", _ANYWHERE)
        alice, bob = [await self.connect(self.port(service)) for _ in range(2)]
        alice.send(b"/guest alice\n")
        await alice.see(b"the commands.\n")
        bob.send(b"/guest bob\n")
        await bob.see(b"the commands.\n")
        bob.send(b"/me waits\nlast words\n")
        await alice.see(b"* bob waits\n")
        await service.stopService()
        await alice.ended
        await bob.ended
        said = alice.received.partition(b"* bob waits\n")[2]
        self.assertIn(b"] bob: last words\n", said)
        service = self.start("--port", _ANYWHERE)
        carol = await self.connect(self.port(service))
        carol.send(b"/guest carol\n")
        await carol.see(b"] bob: last words\n")
        await service.stopService()
        await carol.ended

    async def test_options_reach_the_parts(self) -> None:
        """Limits and flags."""
        service = self.start(
            *("--port", _ANYWHERE, "--max-connections", "1", "--no-guests"),
            *("--min-password", "12", "--name", "Lab"),
        )
        first = await self.connect(self.port(service))
        first.send(b"/register lab wonderland\n")
        await first.see(b'! the name "lab" is reserved; choose another\n')
        first.send(b"/guest alice\n")
        await first.see(b"! this server takes no guests")
        first.send(b"/register alice wonderland\n")
        await first.see(b"! a password has at least 12 characters\n")
        second = await self.connect(self.port(service))
        await second.ended
        self.assertEqual(second.received, b"! this server is full; try again later\n")
        await service.stopService()
        await first.ended

    async def test_password_cost(self) -> None:
        """Is that of the passwords in the database."""
        service = self.start("--port", _ANYWHERE)
        alice = await self.connect(self.port(service))
        alice.send(b"/register alice wonderland\n")
        await alice.see(b"* Welcome, alice.")
        await service.stopService()
        await alice.ended
        with closing(sqlite3.connect(self.database)) as database:
            [(password_hash,)] = database.execute("SELECT password_hash FROM accounts").fetchall()
        self.assertTrue(password_hash.startswith(b"$2b$04$"))

    async def test_port_that_is_taken(self) -> None:
        """Is one sentence, and nothing is left open."""
        service = self.start("--port", _ANYWHERE)
        taken = f"tcp:{self.port(service)}:interface=127.0.0.1"
        error = self.assertRaises(CannotStart, self.make("--port", taken).privilegedStartService)
        self.assertIn(f"cannot listen on port {taken}: ", str(error.code))
        self.assertIn("in use", str(error.code))
        await service.stopService()

    def start_on_a_late_endpoint(self) -> "tuple[MultiService, Deferred[Any], list[str]]":
        """Start one with two ports, of which the second takes its time; gives back the service,
        what the endpoint answers with, and the log."""
        endpoint, log = _LateEndpoint(), _lines(self)

        def server_from_string(reactor: Any, description: str) -> Any:
            return endpoint if description == "late:1" else serverFromString(reactor, description)

        self.patch(tap, "serverFromString", server_from_string)
        return self.start("--port", _ANYWHERE, "--port", "late:1"), endpoint.listening, log

    async def test_endpoint_that_listens_later(self) -> None:
        """Is not said to be ready before that, and closed at the end."""
        service, listening, log = self.start_on_a_late_endpoint()
        [ready] = [line for line in log if "ready on" in line]
        self.assertEqual(ready, f"ready on port {self.port(service)} of 127.0.0.1")
        port = MemoryReactorClock().listenUNIX("chat.sock", Factory())
        listening.callback(port)
        self.assertEqual(log[-1], "ready on late:1")
        stopped: list[None] = []
        self.patch(port, "stopListening", lambda: stopped.append(None))
        await service.stopService()
        self.assertEqual(stopped, [None])

    async def test_endpoint_that_fails_later(self) -> None:
        """Ends the process with the sentence: nobody could join there."""
        service, listening, log = self.start_on_a_late_endpoint()
        given_up: list[str] = []
        self.patch(atexit, "register", lambda _: given_up.append("register"))
        self.patch(reactor, "stop", lambda: given_up.append("stop"))
        listening.errback(ConnectionRefusedError("nobody there"))
        self.assertEqual(given_up, ["register", "stop"])
        self.assertEqual(
            log[-1], "twistd chat: cannot listen on port late:1: nobody there; stopping"
        )
        await service.stopService()

    async def test_endpoint_that_never_listens(self) -> None:
        """Is not waited for at the end."""
        service, _, log = self.start_on_a_late_endpoint()
        await service.stopService()
        self.assertFalse([line for line in log if "cannot" in line])

    def test_endpoint_that_makes_no_sense(self) -> None:
        """Is one sentence."""
        for port in "nonsense:1", "tcp:many", "tcp:", "":
            error = self.assertRaises(CannotStart, self.make, "--port", port)
            self.assertIn(f"cannot use the port {port}: ", str(error.code))
            self.assertEqual(len(str(error.code).splitlines()), 1)

    def test_database_that_is_not_supported(self) -> None:
        """Is one sentence."""
        for url in "postgresql+psycopg://localhost/chat", "shopping list":
            options = _parsed("--database", url)
            error = self.assertRaises(CannotStart, makeService, options)
            self.assertTrue(str(error.code).startswith("twistd chat: "))

    def test_wrong_command_line_is_no_usage_error(self) -> None:
        """Which twistd would answer with a page of help."""
        self.assertFalse(issubclass(CannotStart, usage.UsageError))


class ClockTests(TestCase):
    """What the wall clock is set to is not what timers, and old messages, go by."""

    timeout: ClassVar[int] = 30

    def start(self, service: Any) -> None:
        """Start a service that ends with the test, also where that fails."""
        service.privilegedStartService()
        service.startService()
        self.addCleanup(lambda: service.stopService() if service.running else None)

    async def test_old_messages_are_kept_when_the_clock_is_set(self) -> None:
        """Either way: it says so once, and deletes nothing until it is restarted."""
        for jump in 10 * 365 * 86400, -10 * 365 * 86400:
            self.patch(tap, "_wall_ahead", lambda: 0.0)
            options = _parsed(
                "--port",
                _ANYWHERE,
                "--history-days",
                "30",
                "--database",
                "sqlite:///" + self.mktemp(),
            )
            service: Any = makeService(options)
            clock = service._pruning.clock = Clock()
            asked: list[int] = []

            async def prune(before: int, asked: list[int] = asked) -> int:
                asked.append(before)
                return 0

            async def newest() -> int:
                return 0

            service._store.prune = prune
            service._store.newest = newest
            self.start(service)
            clock.advance(3600)
            self.assertEqual(len(asked), 2)
            self.patch(tap, "_wall_ahead", lambda jump=jump: float(jump))
            said: list[str] = []

            def warn(line: str, said: list[str] = said, **values: object) -> None:
                said.append(line)

            self.patch(tap._log, "warn", warn)
            clock.pump([3600] * 3)
            self.assertEqual(len(asked), 2)
            self.assertEqual(len(said), 1)
            self.assertIn("the clock was set", said[0])
            await service.stopService()

    async def test_clock_that_is_wrong_from_the_start_deletes_nothing(self) -> None:
        """What is old is so by the newest message: 60 days ahead, a month's log is kept."""
        path = self.mktemp()
        day = 24 * 3600 * 1000
        times = {"old": -31, "young": -29, "newest": 0}
        for ahead, kept in (0, ["young", "newest"]), (60, ["young", "newest"]), (-60, [*times]):
            options = _parsed(
                "--port",
                _ANYWHERE,
                "--history-days",
                "30",
                "--database",
                f"sqlite:///{path}{ahead}",
            )
            store = SqlStore(options["database"], reactor)
            (lobby,) = store.open()
            for text, days in times.items():
                store.append(
                    RoomPost(lobby.id, "lobby", "a", tap.now() + days * day, text, False, None)
                )
            await store.close()
            service: Any = makeService(options)
            start = tap.now()
            with mock.patch.object(tap, "now", lambda start=start, a=ahead: start + a * day):
                self.start(service)
                await service._delete_old()
                found = await service._store.history(lobby, 10)
                self.assertEqual([message.text for message in found], kept)
                await service.stopService()

    async def test_labels_are_known_after_a_restart(self) -> None:
        """A post that is repeated then is answered, and not said again."""
        label = "0123456789abcdef"
        url = "sqlite:///" + self.mktemp()
        store = SqlStore(url, reactor)
        (lobby,) = store.open()
        store.append(RoomPost(lobby.id, "lobby", "anna", tap.now(), "hi", False, None, label))
        await store.close()
        service: Any = makeService(_parsed("--port", _ANYWHERE, "--database", url))
        service.privilegedStartService()
        service.startService()
        session = Session(RecordingOutbox())
        hold = await service._factory.accounts.hold("anna")
        await service._chat.come_as_guest(session, hold)
        service._chat.say(session, "lobby", "hi", label=label)
        assert isinstance(session.outbox, RecordingOutbox)
        self.assertEqual([done.seq for done in session.outbox.of(Done)], [1])
        self.assertEqual(len(await service._store.history(lobby, 10)), 1)
        await service.stopService()

    def test_timers_go_by_a_clock_that_nobody_sets(self) -> None:
        """Where none was under way by the other one."""
        for waiting, changed in (False, True), (True, False):
            reactor: Any = MemoryReactorClock()
            if waiting:
                reactor.callLater(1, lambda: None)
            self.patch(twisted.internet, "reactor", reactor)
            makeService(_parsed("--database", "sqlite:///" + self.mktemp()))
            self.assertEqual(reactor.seconds is time.monotonic, changed)
