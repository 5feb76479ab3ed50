"""The options of C{twistd chat}, and the one place where the parts are joined."""

import difflib
import getopt
import re
import resource
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from twisted.application.service import IService
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python import usage

from twisted_chat import __version__
from twisted_chat.core import names
from twisted_chat.core.accounts import Accounts
from twisted_chat.core.addresses import AddressList, Networks
from twisted_chat.core.chat import Chat
from twisted_chat.core.errors import Refusal
from twisted_chat.core.guard import Guard
from twisted_chat.core.limits import Limits
from twisted_chat.core.text import clean, printable
from twisted_chat.faces.admission import Admission
from twisted_chat.faces.line.dialogue import LineFace, Settings
from twisted_chat.faces.line.protocol import LineFactory
from twisted_chat.faces.outbox import fan_out
from twisted_chat.faces.proxied import BehindProxies
from twisted_chat.passwords import BcryptHasher
from twisted_chat.service import CannotStart, ChatService, now, read_motd, use_steady_clock
from twisted_chat.store import SqlStore, StoreError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DEFAULT_PORT = "5000"

_RESERVED_DESCRIPTORS = 100
"""Open files that are reserved for other things than connections."""

_log = Logger()


def _number(option: str) -> Callable[[str], int]:
    def number(text: str) -> int:
        if not text.isdecimal():
            raise usage.UsageError(f'--{option} needs a whole number, not "{text}"')
        return int(text)

    return number


def _option(field_name: str) -> str:
    return field_name.replace("_", "-")


_HEADINGS: Mapping[str, Sequence[str]] = {
    "Listening and keeping": ("port", "database", "history-days"),
    "What people see": ("name", "motd", "replay"),
    "Logging in": (
        "no-guests",
        "no-registration",
        "login-timeout",
        "min-password",
        "password-cost",
    ),
    "Limits by address": (
        "max-per-address",
        "connections-per-minute",
        "wrong-passwords",
        "max-penalty",
        "registrations-per-address",
        "rooms-per-address",
        "shared-networks",
        "trusted-networks",
        "proxies",
    ),
    "Limits on each session": (
        "line-burst",
        "line-rate",
        "trusted-accounts",
        "max-joined",
        "max-names",
        "max-message",
        "max-topic",
        "max-history",
        "max-in-flight",
        "outbox",
        "stuck-after",
        "keepalive",
    ),
    "Limits on everyone together": (
        "max-connections",
        "max-waiting",
        "max-rooms",
        "registrations",
        "max-login-delay",
        "password-queue",
    ),
}
"""Heading -> its options, in the order of the help. All other options are shown last."""

_FLAGS = frozenset({"no-guests", "no-registration"})
_NUMBERS = frozenset(_option(f.name) for f in fields(Limits))
_LISTS = frozenset({"trusted-networks", "shared-networks", "proxies", "trusted-accounts"})
_NOT_IN_A_FILE = frozenset({"config", "help", "version"})


class Options(usage.Options):
    """The options of C{twistd chat}. The limits among them are the fields of L{Limits}."""

    synopsis = "[options]"
    longdesc = "A chat server that anyone can join with telnet or nc."

    optParameters: ClassVar[list[list[Any]]] = [
        ["config", None, None, "A TOML file with options; the command line overrides it."],
        ["database", "d", "sqlite:///chat.db", "The database, as an SQLAlchemy URL."],
        ["name", None, "chat", "The server's name."],
        ["motd", None, None, "A text file that is shown to everyone who logs in."],
        [
            "trusted-networks",
            None,
            "",
            "Networks without limits by address and on lines: 192.0.2.0/24,…",
        ],
        [
            "shared-networks",
            None,
            "127.0.0.0/8,::1",
            "Networks where many people share an address, without limits by address.",
        ],
        [
            "proxies",
            None,
            "",
            "Networks of proxies, which send a PROXY header with each connection: 10.0.0.5,…",
        ],
        [
            "trusted-accounts",
            None,
            "",
            "Accounts without the limit on lines: deploybot,…",
        ],
        *(
            [_option(f.name), None, f.default, f.metadata["help"], _number(_option(f.name))]
            for f in fields(Limits)
        ),
    ]
    optFlags: ClassVar[list[list[Any]]] = [
        ["no-guests", None, "Admit nobody without an account."],
        ["no-registration", None, "Register no new names."],
    ]

    def __init__(self) -> None:
        super().__init__()
        self.ports: list[str] = []
        self.motd: Sequence[str] = ()
        self.networks = Networks()
        self.proxies = AddressList()
        self.trusted_accounts: Sequence[str] = ()

    def opt_port(self, port: str) -> None:
        """Port number or endpoint string to listen on; may be repeated. With reuse: before it,
        several processes may listen there. [default: 5000]"""
        self.ports.append(port)

    opt_p = opt_port

    def opt_version(self) -> None:
        """Print the version and exit."""
        print(f"twisted-chat {__version__}")
        raise SystemExit(0)

    def parseArgs(self, *arguments: str) -> None:
        """Take no arguments but options.

        @raise usage.UsageError: if there are any.
        """
        if arguments:
            raise usage.UsageError(f'"{arguments[0]}" is not an option; see twistd chat --help')

    def getUsage(self, width: int | None = None) -> str:
        """Give the help: each option as Twisted shows it, under headings."""
        _, *shown = re.split(r"^(?= {2}(?:-\w,| {3}) --)", super().getUsage(width), flags=re.M)
        last, _, description = shown.pop().partition("\n\n")
        shown.append(f"{last}\n")
        by_name = {chunk.partition("--")[2].split()[0].rstrip("="): chunk for chunk in shown}
        parts = [
            f"{heading}:\n" + "".join(by_name.pop(name) for name in names)
            for heading, names in _HEADINGS.items()
        ]
        return "\n".join([*parts, "Other options:\n" + "".join(by_name.values()), description])

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """Parse the command line.

        @raise CannotStart: if it is wrong, with one sentence instead of the whole help.
        """
        given = list(sys.argv[1:] if options is None else options)
        try:
            super().parseOptions([*self._configured(given), *given])
        except usage.UsageError as error:
            raise CannotStart(f"twistd chat: {error}") from None

    def _configured(self, given: Sequence[str]) -> Iterator[str]:
        """Read the files that C{--config} names, and give their options as arguments.

        The arguments are placed before those of the command line, which so override them. Ports
        would add up instead, so a file's ports are left out if the command line has any.

        @param given: the arguments of the command line.
        @raise usage.UsageError: if a file cannot be used.
        """
        try:
            named, _ = getopt.getopt(list(given), self.shortOpt, self.longOpt)
        except getopt.error:
            return  # usage.Options refuses the command line next
        known = {name.rstrip("=") for name in self.longOpt} - _NOT_IN_A_FILE
        has_ports = any(option in ("-p", "--port") for option, _ in named)
        for path in (value for option, value in named if option == "--config"):
            for key, value in _read_config(path).items():
                if key not in known:
                    near = difflib.get_close_matches(key, sorted(known), n=1)
                    hint = f'did you mean "{near[0]}"?' if near else "see twistd chat --help"
                    wrong = f'there is no option "{printable(key)}"; {hint}'
                    raise usage.UsageError(f"in the --config file {path}: {wrong}")
                arguments = _as_arguments(path, key, value)
                if key != "port" or not has_ports:
                    yield from arguments

    def postOptions(self) -> None:
        """Check the options before anything is started.

        @raise usage.UsageError: if one of them is wrong.
        """
        self.ports = self.ports or [DEFAULT_PORT]
        for port in self.ports:
            if port.isdecimal() and not 0 <= int(port) <= 65535:
                raise usage.UsageError(f"there is no port {port}; ports go up to 65535")
        if not 4 <= self["password-cost"] <= 31:
            raise usage.UsageError("--password-cost must be between 4 and 31")
        try:
            self["name"] = clean(self["name"])
        except Refusal:
            raise usage.UsageError("--name has control characters in it") from None
        if not self["name"]:
            raise usage.UsageError("--name is empty")
        try:
            self.networks = Networks(
                trusted=_listed(self["trusted-networks"]), shared=_listed(self["shared-networks"])
            )
        except ValueError as error:
            raise usage.UsageError(f"in --trusted-networks or --shared-networks: {error}") from None
        try:
            self.proxies = AddressList(_listed(self["proxies"]))
        except ValueError as error:
            raise usage.UsageError(f"in --proxies: {error}") from None
        try:
            self.trusted_accounts = [*map(names.canonical, _listed(self["trusted-accounts"]))]
        except Refusal as refusal:
            raise usage.UsageError(f"--trusted-accounts: {refusal.text}") from None
        if self["motd"] is not None:
            try:
                self.motd = read_motd(Path(self["motd"]))
            except ValueError as error:
                raise usage.UsageError(str(error)) from None

    @property
    def limits(self) -> Limits:
        """The limits, as chosen."""
        return Limits(**{f.name: self[_option(f.name)] for f in fields(Limits)})


def _listed(text: str) -> Sequence[str]:
    return [entry.strip() for entry in text.split(",") if entry.strip()]


def _read_config(path: str) -> Mapping[str, Any]:
    try:
        read: Mapping[str, Any] = tomllib.loads(Path(path).read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise usage.UsageError(f"cannot read the --config file {path}: {error}") from None
    except ValueError as error:
        raise usage.UsageError(f"the --config file {path} is not valid TOML: {error}") from None
    return read


def _as_arguments(path: str, key: str, value: Any) -> Sequence[str]:
    """Give the command-line arguments for one option of a file.

    @raise usage.UsageError: if the value has the wrong type.
    """
    listed = value if isinstance(value, list) else [value]
    are_texts = all(isinstance(each, str) for each in listed)
    if key in _FLAGS:
        fits, needed = isinstance(value, bool), "true or false"
        arguments = [f"--{key}"] if value else []
    elif key in _NUMBERS:
        fits, needed = type(value) is int, "a whole number"
        arguments = [f"--{key}={value}"]
    elif key == "port":
        fits = bool(listed) and all(type(each) in (int, str) for each in listed)
        needed = "a port, or a list of ports"
        arguments = [f"--{key}={each}" for each in listed]
    elif key in _LISTS:
        fits, needed = are_texts, "a string in quotes, or a list of them"
        arguments = [f"--{key}={','.join(map(str, listed))}"]
    else:
        fits, needed = are_texts and listed is not value, "a string in quotes"
        arguments = [f"--{key}={value}"]
    if not fits:
        raise usage.UsageError(f"in the --config file {path}: {key} needs {needed}")
    return arguments


def makeService(options: Options) -> IService:
    """Make all parts of the server, and join them.

    @raise CannotStart: if an option cannot be used.
    """
    # Importing the reactor installs it, so it is imported only after twistd's --reactor option.
    from twisted.internet import reactor as installed

    reactor: Any = installed
    use_steady_clock(reactor)
    limits = _within_descriptors(options.limits)
    try:
        store = SqlStore(options["database"], reactor)
    except StoreError as error:
        raise CannotStart(f"twistd chat: {error}") from None
    hasher = BcryptHasher(reactor, cost=limits.password_cost, queue=limits.password_queue)
    guard = Guard(
        limits,
        reactor.seconds,
        lambda seconds: deferLater(reactor, seconds),
        lambda line: _log.info("{line}", line=line),
        Deferred,
        store.announce,
    )
    accounts = Accounts(
        store,
        hasher,
        guard,
        now,
        min_password=limits.min_password,
        trusted=options.trusted_accounts,
        reserved=[options["name"]],
    )
    chat = Chat(
        store,
        accounts,
        guard,
        limits,
        now,
        reactor.callLater,
        fan_out,
        Deferred,
        lambda: _log.failure("applying an entry of the log"),
        options.motd,
    )
    admission = Admission(limits, options.networks, reactor)
    settings = Settings(
        options["name"],
        allow_guests=not options["no-guests"],
        allow_registration=not options["no-registration"],
    )
    face = LineFace(chat, accounts, admission, settings, limits, reactor, now)
    # A relative path would not do: twistd changes its directory before the file is read again.
    motd = Path(options["motd"]).absolute() if options["motd"] is not None else None
    service = ChatService(reactor, store, hasher, chat, limits.history_days, motd)
    behind_proxies = partial(
        BehindProxies, proxies=options.proxies, admission=admission, clock=reactor
    )
    service.add_face(face, LineFactory(face), options.ports, behind_proxies)
    return service


def _within_descriptors(limits: Limits) -> Limits:
    """Reduce the number of connections to what the open-file limit allows."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    possible = max(1, soft - _RESERVED_DESCRIPTORS)
    if limits.max_connections > possible:
        _log.warn(
            "--max-connections {wanted} is over the open-file limit; using {possible}",
            wanted=limits.max_connections,
            possible=possible,
        )
    if not limits.max_connections or limits.max_connections > possible:
        return replace(limits, max_connections=possible)
    return limits
