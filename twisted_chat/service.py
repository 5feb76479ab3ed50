"""What starts and ends with the process: listening, signals, the clock, deleting old messages."""

import atexit
import ipaddress
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from twisted.application.service import MultiService, Service
from twisted.internet import defer
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.error import CannotListenError, ReactorNotRunning
from twisted.internet.interfaces import (
    IAddress,
    IListeningPort,
    ILoggingContext,
    IProtocol,
    IProtocolFactory,
)
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_chat.core.chat import Chat
from twisted_chat.core.errors import Refusal
from twisted_chat.core.model import RoomState
from twisted_chat.core.text import clean
from twisted_chat.endpoints import place
from twisted_chat.faces.face import Face
from twisted_chat.passwords import BcryptHasher
from twisted_chat.store import DatabaseTooNew, SqlStore, StoreError
from twisted_chat.tls import TlsFactory

_SETTLE, _GRACE, _CLOSE = 4.0, 1.0, 2.0
"""Seconds at the end: in which the database may answer what was accepted, in which everybody's last
lines are written, and in which the database may be closed."""

_PRUNE_EVERY = 3600.0
_DAY = 24 * 3600 * 1000

_JUMP = 3600.0
"""Seconds that the wall clock may be set by before no message is deleted by it."""

_log = Logger()


class CannotStart(SystemExit, Exception):
    """The daemon cannot start; the text is a sentence for the operator.

    Python prints the sentence of a L{SystemExit} and exits with 1; twistd cleans up after an
    L{Exception}.
    """


# The clock


def now() -> int:
    """Tell the time, in UTC milliseconds."""
    return time.time_ns() // 1_000_000


def use_steady_clock(reactor: Any) -> None:
    """Have the reactor's timers follow a clock that nobody sets.

    Twisted's timers follow the wall clock: set back, none of them fires until it has caught up; set
    forward, all of them fire at once. Twisted has no option for another clock, but a reactor asks
    its own C{seconds} for the time. Timers that were set by the other clock would fire at a wrong
    time: if there are any, nothing is changed, and the log says so.
    """
    if reactor.seconds is time.monotonic:
        return
    if reactor.getDelayedCalls():
        _log.warn(
            "timers follow the wall clock, as some were set before the server was made; restart the"
            " server after the clock is set"
        )
        return
    reactor.seconds = time.monotonic


def _wall_ahead() -> float:
    """Tell how many seconds the wall clock is ahead of the one that nobody sets. The number is
    constant unless the wall clock is set."""
    # The monotonic clock of Linux stands still while the machine sleeps; this one does not.
    steady = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.time() - time.clock_gettime(steady)


# Listening


@implementer(IProtocolFactory, ILoggingContext)
class _FewAtOnce:
    """A factory that has few connections accepted in one turn of the reactor.

    Twisted accepts more in each turn the more there were in the last, and thousands that connect at
    once would hold up everybody else. From 1 the number goes to 21, and no further.

    @ivar port: what accepts the connections; L{None} before it listens.
    """

    def __init__(self, factory: IProtocolFactory) -> None:
        self._factory = factory
        self.port: Any = None

    def buildProtocol(self, addr: IAddress) -> IProtocol | None:
        self.port.numberAccepts = 1
        return self._factory.buildProtocol(addr)

    def doStart(self) -> None:
        self._factory.doStart()

    def doStop(self) -> None:
        self._factory.doStop()

    def logPrefix(self) -> str:
        """Name what a port accepts connections for, in Twisted's log lines."""
        return "chat"


class Listening(Service):
    """Accepts connections on one endpoint while it runs."""

    def __init__(
        self,
        reactor: Any,
        port: str,
        factory: IProtocolFactory,
        behind_proxies: Callable[[IProtocolFactory], IProtocolFactory],
        give_up: Callable[[str], None],
    ) -> None:
        """
        @param port: a port number or an endpoint string; see L{place}.
        @param behind_proxies: makes a factory that reads the headers of proxies, which come before
            TLS, and gives the connections to the factory that it is given.
        @param give_up: takes the reason if the endpoint fails after the start.
        @raise CannotStart: if there is no such endpoint.
        """
        self._description = port
        self._give_up = give_up
        self._begun: Deferred[None] | None = None
        self._listening: IListeningPort | None = None
        try:
            self._place = place(reactor, port)
        except Exception as error:  # noqa: BLE001 - each endpoint's parser raises what it likes
            raise CannotStart(f"twistd chat: cannot use the port {port}: {error}") from None
        self._certificates = self._place.certificates
        if self._certificates is not None:
            factory = TlsFactory(self._certificates, factory, reactor)
        self._factory = _FewAtOnce(behind_proxies(factory))

    def privilegedStartService(self) -> None:
        """Bind, while the process may still bind a low port.

        @raise CannotStart: if that cannot be done.
        """
        failures: list[str] = []
        self._fail = failures.append
        begun = self._place.endpoint.listen(self._factory)
        self._begun = begun.addCallbacks(self._listens, self._fails)
        if failures:
            raise CannotStart(f"twistd chat: {failures[0]}")
        self._fail = self._give_up  # some endpoints only fail later

    def _listens(self, port: IListeningPort) -> None:
        self._listening = self._factory.port = port
        if self.running:
            _log.info("ready on {port}", port=self)

    def _fails(self, failure: Failure) -> None:
        error = failure.value
        if isinstance(error, CancelledError):
            return
        cause = error.socketError if isinstance(error, CannotListenError) else error
        self._fail(f"cannot listen on port {self._description}: {cause}")

    @property
    def is_ready(self) -> bool:
        """Whether it listens."""
        return self._listening is not None

    def startService(self) -> None:
        """Log what the operator should know about the port."""
        super().startService()
        host = self._host()
        if self._certificates is not None:
            self._certificates.describe()
        elif host is not None and not ipaddress.ip_address(host.host).is_loopback:
            _log.warn(
                "passwords cross the network unencrypted on {port}; --port tls: encrypts them",
                port=self,
            )

    def stopService(self) -> "Deferred[None]":
        """Accept nobody any more.

        @return: fires when the port is closed.
        """
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        if self._listening is not None:
            await _maybe(self._listening.stopListening())
        elif self._begun is not None:
            self._begun.cancel()

    def reread(self) -> None:
        """Take new certificates, if there are any."""
        if self._certificates is not None:
            self._certificates.reread()

    def _host(self) -> IPv4Address | IPv6Address | None:
        where = self._listening and self._listening.getHost()
        return where if isinstance(where, (IPv4Address, IPv6Address)) else None

    def __str__(self) -> str:
        host = self._host()
        where = self._description if host is None else f"port {host.port} of {host.host}"
        return where if self._certificates is None else f"{where} with TLS"


async def _maybe(result: Any) -> None:
    if isinstance(result, Deferred):
        await result


# Signals and the message of the day


class HangUp:
    """SIGHUP, which has files read again.

    If the server runs in a terminal that goes away, which is what the signal was made for, it ends
    the process, as it does without us.
    """

    def __init__(self, reactor: Any, reread: Callable[[], None]) -> None:
        """@param reread: called on the reactor's thread."""
        self._reactor = reactor
        self._reread = reread
        self._before: Any = None
        self._is_asked = False
        self._in_terminal = False

    def start(self) -> None:
        """Begin to handle it."""
        self._before = signal.signal(signal.SIGHUP, self._ask)
        self._in_terminal = self._before is signal.SIG_DFL and _has_terminal()

    def stop(self) -> None:
        """Leave it to the handler from before, if Python knows that one."""
        if self._before is not None:
            signal.signal(signal.SIGHUP, self._before)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if not self._is_asked:  # many at once are one
            self._is_asked = True
            self._reactor.callFromThread(self._answer)

    def _answer(self) -> None:
        self._is_asked = False
        if self._in_terminal and not _has_terminal():
            self._reactor.stop()
        else:
            self._reread()


def _has_terminal() -> bool:
    """Tell whether the process belongs to a terminal that is still there."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True


def _exit_with_failure() -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)


def read_motd(path: Path) -> Sequence[str]:
    """Read a message of the day.

    @raise ValueError: if it cannot be used; the text is a sentence.
    """
    try:
        return [clean(line) for line in path.read_text("utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"cannot read the --motd file {path}: {error}") from None
    except Refusal:
        raise ValueError(f"the --motd file {path} has control characters in it") from None


# The whole


class ChatService(MultiService):
    """The running server.

    It starts the store, the hasher and the faces, and then listens; at the end it stops listening,
    commits what was accepted, has each face say bye, and closes the rest, within ten seconds.
    """

    def __init__(
        self,
        reactor: Any,
        store: SqlStore,
        hasher: BcryptHasher,
        chat: Chat,
        history_days: int,
        motd: Path | None = None,
    ) -> None:
        """
        @param history_days: the age at which messages are deleted; 0: they are kept.
        @param motd: the file with the message of the day, an absolute path.
        """
        super().__init__()
        self._reactor = reactor
        self._store = store
        self._hasher = hasher
        self._chat = chat
        self._history_days = history_days
        self._motd = motd
        self._faces: list[Face] = []
        self._listeners: list[Listening] = []
        self._hang_up = HangUp(reactor, self._reread)
        self._wall_ahead = _wall_ahead()
        self._pruning = LoopingCall(self._prune)
        self._pruning.clock = reactor

    def add_face(
        self,
        face: Face,
        factory: IProtocolFactory,
        ports: Sequence[str],
        behind_proxies: Callable[[IProtocolFactory], IProtocolFactory],
    ) -> None:
        """Have a face reached on some ports.

        @param factory: makes the protocols of the face's connections.
        @param ports: port numbers or endpoint strings.
        @param behind_proxies: as for L{Listening}.
        @raise CannotStart: if there is no such endpoint.
        """
        self._faces.append(face)
        for port in ports:
            listener = Listening(self._reactor, port, factory, behind_proxies, self._give_up)
            listener.setServiceParent(self)
            self._listeners.append(listener)

    def startService(self) -> None:
        """Open the database and let people in.

        @raise CannotStart: if the database cannot be used.
        """
        try:
            self._chat.open(self._store.open())
        except (StoreError, DatabaseTooNew) as error:
            raise CannotStart(f"twistd chat: {error}") from None
        self._store.subscribe(self._chat.deliver, self._chat.lose, self._give_up, self._go_back)
        self._chat.nodes.evicted = self._claim_again
        Deferred.fromCoroutine(self._chat.recall_labels()).addErrback(
            lambda failure: _log.failure("reading the labels of the last minutes", failure)
        )
        self._hasher.start(self._store.password_hashes)
        if self._history_days:
            self._pruning.start(_PRUNE_EVERY).addErrback(
                lambda failure: _log.failure("deleting old messages", failure)
            )
        self._hang_up.start()
        for face in self._faces:
            face.start()
        super().startService()
        ready = [str(listener) for listener in self._listeners if listener.is_ready]
        if ready:
            _log.info("ready on {ports}", ports=", ".join(ready))

    def _go_back(self, count: int, states: Sequence[RoomState]) -> None:
        """End all sessions, as the database has lost what was in the log already."""
        messages = "its last message" if count == 1 else f"its last {count:,} messages"
        self._chat.go_back(states, f"the database has lost {messages}; connect again")

    def _claim_again(self) -> None:
        Deferred.fromCoroutine(self._chat.nodes.claim_again()).addErrback(
            lambda failure: _log.failure("claiming the names of guests again", failure)
        )

    def _give_up(self, why: str) -> None:
        """Stop, and have the process exit with 1, as it would be wrong to go on."""
        _log.critical("twistd chat: {why}; stopping", why=why)
        # After the reactor has stopped, twistd always exits with 0, unless a signal stopped it. An
        # exit function is the only one of our own that runs after twistd has cleaned up.
        atexit.register(_exit_with_failure)
        try:
            self._reactor.stop()
        except ReactorNotRunning:
            pass  # it is stopping already

    def stopService(self) -> "Deferred[None]":
        """Commit what was accepted, say bye, and end.

        @return: fires when all has ended.
        """
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        await _maybe(super().stopService())  # the listeners
        if self._pruning.running:
            self._pruning.stop()
        for face in self._faces:
            face.pause()
        await self._settle()
        self._chat.close()
        ends = [face.hang_up("the server is going down; bye", _GRACE) for face in self._faces]
        await gatherResults(map(Deferred.fromCoroutine, ends))
        await self._hasher.stop()
        if not await self._in_time(Deferred.fromCoroutine(self._store.close()), _CLOSE):
            _log.error("stopping before the database is closed, as it does not answer")
        self._hang_up.stop()

    async def _settle(self) -> None:
        """Have what was accepted committed and delivered, if the database answers in time."""
        await self._in_time(Deferred.fromCoroutine(self._store.settle()), _SETTLE)
        self._store.hasten()
        if not await self._in_time(Deferred.fromCoroutine(self._store.settle()), _GRACE):
            _log.error(
                "it is not known whether the last posts ({count}) were stored: the database does"
                " not answer",
                count=self._chat.in_flight,
            )

    async def _in_time(self, done: "Deferred[Any]", seconds: float) -> bool:
        """Wait until something is done, for so many seconds at most.

        @return: whether it is done.
        """
        try:
            await done.addTimeout(seconds, self._reactor)
        except defer.TimeoutError:
            return False
        return True

    def _reread(self) -> None:
        """Take what has changed in the files that may change."""
        for listener in self._listeners:
            listener.reread()
        if self._motd is None:
            return
        try:
            self._chat.motd = read_motd(self._motd)
        except ValueError as error:
            _log.error("keeping the old message of the day: {error}", error=error)

    # Deleting old messages

    def _prune(self) -> "Deferred[None]":
        return Deferred.fromCoroutine(self._delete_old()).addErrback(
            lambda failure: _log.failure("deleting old messages", failure)
        )

    async def _delete_old(self) -> None:
        jump = _wall_ahead() - self._wall_ahead
        if abs(jump) > _JUMP:
            # Which messages are old cannot be told any more, and what is deleted is lost.
            self._pruning.stop()
            _log.warn(
                "the clock jumped by {hours:+.0f} hours; no old messages are deleted until the"
                " server is restarted",
                hours=jump / 3600,
            )
            return
        try:
            # A clock that is wrong from the start cannot be told from one that is right, but it is
            # not earlier than the newest message.
            newest = await self._store.newest() or 0
            before = min(now(), newest) - self._history_days * _DAY
            deleted = await self._store.prune(before)
        except Refusal:
            return  # the store has logged why; an hour later it may work
        self._chat.forget(before)
        if deleted:
            _log.info("deleted {count} old messages", count=deleted)
