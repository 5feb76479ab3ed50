"""What C{twistd chat} runs: its options, and the one place where the parts are joined."""

import atexit
import difflib
import getopt
import ipaddress
import os
import re
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from types import FrameType
from typing import Any, ClassVar

from twisted.application.service import IService, MultiService, Service
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError, ReactorNotRunning
from twisted.internet.interfaces import IListeningPort
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger
from twisted.python import usage
from twisted.python.failure import Failure

from twisted_chat import __version__
from twisted_chat.core import names
from twisted_chat.core.accounts import Accounts
from twisted_chat.core.addresses import Networks
from twisted_chat.core.chat import Chat
from twisted_chat.core.errors import Refusal
from twisted_chat.core.guard import Guard
from twisted_chat.core.limits import Limits
from twisted_chat.core.text import clean, printable
from twisted_chat.faces.admission import Admission
from twisted_chat.faces.line.protocol import ChatFactory, Settings
from twisted_chat.faces.outbox import fan_out
from twisted_chat.passwords import BcryptHasher
from twisted_chat.store import DatabaseTooNew, SqlStore, StoreError
from twisted_chat.tls import TlsEndpoint, tls_endpoint

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DEFAULT_PORT = "5000"

_RESERVED_DESCRIPTORS = 100
"""Open files that are kept for other things than connections."""

_GRACE = 1.0
"""Seconds in which everyone's last lines are written at the end."""

_BACKLOG = 4096
"""Connections that may wait in the kernel to be accepted; it allows fewer where it is set to."""

_PRUNE_EVERY = 3600.0
_DAY = 24 * 3600 * 1000

_JUMP = 3600.0
"""Seconds that the wall clock may be set by without being mistrusted."""

_log = Logger()


class CannotStart(SystemExit, Exception):
    """The daemon cannot start: Python prints the sentence and exits with 1, and twistd, which
    cleans up after an L{Exception}, does so."""


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
"""Heading -> its options, in the order of the help. All other options come last."""

_FLAGS = frozenset({"no-guests", "no-registration"})
_NUMBERS = frozenset(_option(f.name) for f in fields(Limits))
_LISTS = frozenset({"trusted-networks", "shared-networks", "trusted-accounts"})
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
        self.trusted_accounts: Sequence[str] = ()

    def opt_port(self, port: str) -> None:
        """Where to listen: a port number or an endpoint string; may be repeated. [default: 5000]"""
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
        """The help: each option as Twisted shows it, under headings."""
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
        """Parse the command line; one sentence, not the whole of the help, if it is wrong."""
        given = list(sys.argv[1:] if options is None else options)
        try:
            super().parseOptions([*self._configured(given), *given])
        except usage.UsageError as error:
            raise CannotStart(f"twistd chat: {error}") from None

    def _configured(self, given: Sequence[str]) -> Iterator[str]:
        """What the file that C{--config} names says, as the command line would say it. Standing
        before what is given there, it is overridden by it; ports would add up, so they are left
        out if any are given.

        @raise usage.UsageError: if the file cannot be used.
        """
        try:
            named, _ = getopt.getopt(list(given), self.shortOpt, self.longOpt)
        except getopt.error:
            return  # the command line is refused in a moment
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
        """Check what can be checked before anything is started.

        @raise usage.UsageError: for what is wrong.
        """
        self.ports = self.ports or [DEFAULT_PORT]
        for port in self.ports:
            if port.isdecimal() and not 0 <= int(port) <= 65535:
                raise usage.UsageError(f"there is no port {port}; ports go up to 65535")
        if not 4 <= self["password-cost"] <= 31:
            raise usage.UsageError("--password-cost goes from 4 to 31")
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
            self.trusted_accounts = [*map(names.canonical, _listed(self["trusted-accounts"]))]
        except Refusal as refusal:
            raise usage.UsageError(f"--trusted-accounts: {refusal.text}") from None
        if self["motd"] is not None:
            self.motd = list(_motd(Path(self["motd"])))

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
        raise usage.UsageError(f"the --config file {path} is not in TOML: {error}") from None
    return read


def _as_arguments(path: str, key: str, value: Any) -> Sequence[str]:
    """An option from a file, as the command line has it.

    @raise usage.UsageError: if its type is the wrong one.
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
        fits, needed = are_texts, "a text in quotes, or a list of them"
        arguments = [f"--{key}={','.join(map(str, listed))}"]
    else:
        fits, needed = are_texts and listed is not value, "a text in quotes"
        arguments = [f"--{key}={value}"]
    if not fits:
        raise usage.UsageError(f"in the --config file {path}: {key} needs {needed}")
    return arguments


def _motd(path: Path) -> Iterator[str]:
    try:
        for line in path.read_text("utf-8").splitlines():
            yield clean(line)
    except (OSError, UnicodeDecodeError) as error:
        raise usage.UsageError(f"cannot read the --motd file {path}: {error}") from None
    except Refusal:
        raise usage.UsageError(f"the --motd file {path} has control characters in it") from None


def now() -> int:
    """The time, in UTC milliseconds."""
    return time.time_ns() // 1_000_000


def _wall_ahead() -> float:
    """Seconds that the wall clock is ahead of the one that nobody sets. Constant, unless the wall
    clock is set."""
    # The monotonic clock of Linux stands still while the machine sleeps; this one does not.
    steady = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.time() - time.clock_gettime(steady)


def _exit_with_failure() -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)


class Listening(Service):
    """Accepts connections on one endpoint."""

    def __init__(
        self, reactor: Any, port: str, factory: ChatFactory, give_up: Callable[[str], None]
    ) -> None:
        """
        @param give_up: takes the reason if an endpoint fails after the start.
        """
        description = f"tcp:{port}:backlog={_BACKLOG}" if port.isdecimal() else port
        self._port = port
        self._factory = factory
        self._give_up = give_up
        self._begun: Deferred[None] | None = None
        self._listening: IListeningPort | None = None
        self._tls: TlsEndpoint | None = None
        try:
            self._tls = tls_endpoint(reactor, description, _BACKLOG)
            self._endpoint = self._tls or serverFromString(reactor, description)
        except Exception as error:  # noqa: BLE001 - each endpoint's parser raises what it likes
            raise CannotStart(f"twistd chat: cannot use the port {port}: {error}") from None

    def privilegedStartService(self) -> None:
        """Bind, while the process may still bind a low port.

        @raise CannotStart: if that cannot be done.
        """
        failures: list[str] = []
        self._fail = failures.append
        self._begun = self._endpoint.listen(self._factory).addCallbacks(self._listens, self._fails)
        if failures:
            raise CannotStart(f"twistd chat: {failures[0]}")
        self._fail = self._give_up  # some endpoints only fail later

    def _listens(self, port: IListeningPort) -> None:
        self._listening = port
        self._factory.ports.append(port)
        if self.running:
            _log.info("ready on {port}", port=self)

    def _fails(self, failure: Failure) -> None:
        error = failure.value
        if isinstance(error, CancelledError):
            return
        cause = error.socketError if isinstance(error, CannotListenError) else error
        self._fail(f"cannot listen on port {self._port}: {cause}")

    @property
    def is_ready(self) -> bool:
        """It listens."""
        return self._listening is not None

    def startService(self) -> None:
        """Log what the operator should know of the port."""
        super().startService()
        host = self._host()
        if self._tls is not None:
            self._tls.certificates.describe()
        elif host is not None and not ipaddress.ip_address(host.host).is_loopback:
            _log.warn(
                "passwords cross the network in the clear on {port}; --port tls: encrypts",
                port=self,
            )

    def reread(self) -> None:
        """Take new certificates, if there are any."""
        if self._tls is not None:
            self._tls.certificates.reread()

    def _host(self) -> IPv4Address | IPv6Address | None:
        where = self._listening and self._listening.getHost()
        return where if isinstance(where, (IPv4Address, IPv6Address)) else None

    def __str__(self) -> str:
        host = self._host()
        where = self._port if host is None else f"port {host.port} of {host.host}"
        return where if self._tls is None else f"{where} with TLS"

    async def stop_listening(self) -> None:
        """Accept nobody any more."""
        if self._listening is not None:
            await _maybe(self._listening.stopListening())
        elif self._begun is not None:
            self._begun.cancel()


async def _maybe(result: Any) -> None:
    if isinstance(result, Deferred):
        await result


class HangUp:
    """SIGHUP, which has things read again.

    In a terminal that goes away, which is what the signal was made for, it ends the process as it
    does without us.
    """

    def __init__(self, reactor: Any, reread: Callable[[], None]) -> None:
        self._reactor = reactor
        self._reread = reread
        self._before: Any = None
        self._asked = False
        self._in_terminal = False

    def start(self) -> None:
        """Begin to heed it."""
        self._before = signal.signal(signal.SIGHUP, self._ask)
        self._in_terminal = self._before is signal.SIG_DFL and _has_terminal()

    def stop(self) -> None:
        """Leave it to whom it was left to before."""
        signal.signal(signal.SIGHUP, self._before)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if not self._asked:  # many at once are one
            self._asked = True
            self._reactor.callFromThread(self._answer)

    def _answer(self) -> None:
        self._asked = False
        if self._in_terminal and not _has_terminal():
            self._reactor.stop()
        else:
            self._reread()


def _has_terminal() -> bool:
    """The process belongs to a terminal that is still there."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True


class ChatService(MultiService):
    """The running server: what starts and ends with the process."""

    def __init__(
        self,
        reactor: Any,
        ports: Sequence[str],
        store: SqlStore,
        hasher: BcryptHasher,
        chat: Chat,
        factory: ChatFactory,
        history_days: int,
        motd: Path | None = None,
    ) -> None:
        super().__init__()
        self._listeners = [Listening(reactor, port, factory, self._give_up) for port in ports]
        for listener in self._listeners:
            listener.setServiceParent(self)
        self._store = store
        self._hasher = hasher
        self._chat = chat
        self._factory = factory
        self._history_days = history_days
        self._motd = motd
        self._hang_up = HangUp(reactor, self._reread)
        self._reactor = reactor
        self._wall_ahead = _wall_ahead()
        self._pruning = LoopingCall(self._prune)
        self._pruning.clock = reactor

    def startService(self) -> None:
        """Open the database and let people in.

        @raise CannotStart: if the database cannot be used.
        """
        try:
            self._chat.open(self._store.open())
        except (StoreError, DatabaseTooNew) as error:
            raise CannotStart(f"twistd chat: {error}") from None
        self._store.subscribe(self._chat.deliver, self._chat.lose, self._give_up)
        Deferred.fromCoroutine(self._chat.recall_labels()).addErrback(
            lambda failure: _log.failure("reading the labels of the last minutes", failure)
        )
        self._hasher.start(self._store.password_hashes)
        if self._history_days:
            self._pruning.start(_PRUNE_EVERY).addErrback(
                lambda failure: _log.failure("deleting old messages", failure)
            )
        self._hang_up.start()
        super().startService()
        ready = [str(listener) for listener in self._listeners if listener.is_ready]
        if ready:
            _log.info("ready on {ports}", ports=", ".join(ready))

    def _give_up(self, why: str) -> None:
        """Stop, and have the process end with 1: to go on would be wrong."""
        _log.critical("twistd chat: {why}; stopping", why=why)
        # twistd always exits with 0 after the reactor has stopped, unless by a signal. This comes
        # after it has cleaned up.
        atexit.register(_exit_with_failure)
        try:
            self._reactor.stop()
        except ReactorNotRunning:
            pass  # it is stopping already

    def stopService(self) -> Deferred[None]:
        """Commit what was accepted, say bye, and end."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        await _maybe(super().stopService())
        for listener in self._listeners:
            await listener.stop_listening()
        if self._pruning.running:
            self._pruning.stop()
        self._factory.pause()
        self._store.hasten()
        await self._store.settle()
        await self._factory.hang_up("the server is going down; bye", _GRACE)
        await self._hasher.stop()
        await self._store.close()
        self._hang_up.stop()

    def _reread(self) -> None:
        """Take what has changed in the files that may."""
        for listener in self._listeners:
            listener.reread()
        if self._motd is None:
            return
        try:
            self._chat.motd = list(_motd(self._motd))
        except usage.UsageError as error:
            _log.error("the message of the day stays as it was: {error}", error=error)

    async def _delete_old(self) -> None:
        jump = _wall_ahead() - self._wall_ahead
        if abs(jump) > _JUMP:
            # What is old cannot be told any more; what is deleted wrongly would not come back.
            self._pruning.stop()
            _log.warn(
                "the clock was set by {hours:+.0f} hours; no old messages are deleted until the"
                " server is restarted",
                hours=jump / 3600,
            )
            return
        try:
            # A clock that is wrong from the start on cannot be told from one that is right. What
            # the log says is as late as the newest message, at least.
            newest = await self._store.newest() or 0
            before = min(now(), newest) - self._history_days * _DAY
            deleted = await self._store.prune(before)
        except Refusal:
            return  # the store has told why; an hour later it may work
        self._chat.forget(before)
        if deleted:
            _log.info("deleted {count} old messages", count=deleted)

    def _prune(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._delete_old()).addErrback(
            lambda failure: _log.failure("deleting old messages", failure)
        )


def makeService(options: Options) -> IService:
    """Join the parts.

    @raise CannotStart: if an option cannot be used.
    """
    # Only now: importing the reactor installs it, and twistd has a --reactor option.
    from twisted.internet import reactor as installed

    reactor: Any = installed
    if not reactor.getDelayedCalls():  # those that there are go by the other clock
        # Twisted's timers go by the wall clock: set back, none of them fires until it has caught
        # up; set forward, all of them do at once.
        reactor.seconds = time.monotonic
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
    chat = Chat(store, accounts, guard, limits, now, reactor.callLater, fan_out, options.motd)
    admission = Admission(limits, options.networks, reactor)
    settings = Settings(
        options["name"],
        allow_guests=not options["no-guests"],
        allow_registration=not options["no-registration"],
    )
    factory = ChatFactory(chat, accounts, admission, settings, limits, reactor, now)
    # twistd goes to another directory before the file is read again.
    motd = Path(options["motd"]).absolute() if options["motd"] is not None else None
    return ChatService(
        reactor, options.ports, store, hasher, chat, factory, limits.history_days, motd
    )


def _within_descriptors(limits: Limits) -> Limits:
    """The limits, with no more connections than there can be open files."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    possible = max(1, soft - _RESERVED_DESCRIPTORS)
    if limits.max_connections > possible:
        _log.warn(
            "--max-connections {wanted} is over the open-file limit; {possible} it is",
            wanted=limits.max_connections,
            possible=possible,
        )
    if not limits.max_connections or limits.max_connections > possible:
        return replace(limits, max_connections=possible)
    return limits
