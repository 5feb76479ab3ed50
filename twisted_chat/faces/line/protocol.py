"""One connection of the line protocol, and the factory that all of them share."""

import select
import socket
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from secrets import token_urlsafe
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IHalfCloseableProtocol,
    IReactorTime,
    ISSLTransport,
    ISystemHandle,
    ITCPTransport,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import Cooperator, LoopingCall, deferLater
from twisted.logger import Logger
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_chat.core import text
from twisted_chat.core.accounts import Accounts
from twisted_chat.core.addresses import Source
from twisted_chat.core.chat import Chat, Session
from twisted_chat.core.errors import Code, Refusal
from twisted_chat.core.events import Bye, Event, Help, HelpEntry, Notice, Ping, Refused
from twisted_chat.core.limits import Limits
from twisted_chat.core.model import Account
from twisted_chat.core.throttle import Rate
from twisted_chat.faces.admission import Admission
from twisted_chat.faces.outbox import Format, Outbox, OutboxLimits, below
from twisted_chat.protocol.alive import tcp_options
from twisted_chat.protocol.grammar import MAX_LINE, Speech, parse

from . import commands
from .login import come_in
from .telnet import NOP, WILL_ECHO, WONT_ECHO, TelnetAbuse, TelnetFilter
from .wire import JsonFormat, TextFormat

_QUEUE = 64
"""Lines that wait to be worked off before no more are read, and that are worked off in one turn of
the reactor."""

_REFUSAL = 5.0
"""Seconds that somebody who is refused, or sent away before they were in, has to read why."""

_REFUSALS = 50
"""Connections on which that is told at once; whoever comes then is refused without a word, as each
takes an open file."""

_NEWCOMER = 60.0
"""Seconds after login in which C{help} or C{quit}, alone on a line, need no slash."""

_PARTING = 15.0
"""Seconds that a session outlasts its connection at most, to work off what was queued."""

_LOOK_EVERY = 1.0
"""Seconds between two looks at the connections that are not read from."""

_PROBE_EVERY = 10.0
"""Seconds between two remarks to a peer that has ended its input, while its lines are slowed. If it
is gone, its kernel answers with a RST."""

_AGAIN = b"Command, or press Enter to pick a name: "

_FAILED_LOGIN = frozenset(
    {
        "wrong-password",
        "bad-password",
        "bad-name",
        "name-taken",
        "name-registered",
        "busy",
        "throttled",
        "internal",
    }
)
"""What a command that was to let somebody in is refused with."""

_ESCAPE = b"\x1b"
_CLEAR_LINE = b"\r\x1b[K"
_CONCEAL = b"\x1b[8m"
_REVEAL = b"\x1b[0m"

_log = Logger()


@dataclass(frozen=True, slots=True)
class Settings:
    """What the operator chose for this face."""

    name: str
    allow_guests: bool = True
    allow_registration: bool = True


@implementer(IHalfCloseableProtocol)
class ChatProtocol(LineReceiver):
    """A connection: takes lines, works them off in order, and shows what its session is told."""

    delimiter = b"\n"
    MAX_LENGTH = 64 * 1024
    """A line over L{MAX_LINE} is refused; somebody who sends this much without ending it is cut
    off."""

    factory: "ChatFactory"
    transport: Any

    # On the class while they have their first values: an idle connection stays small.
    _lines: deque[bytes] | None = None
    _asked: Deferred[bytes] | None = None
    _landing: Deferred[None] | None = None
    _pausing: Deferred[None] | None = None
    _cutting: IDelayedCall | None = None
    _working = False
    _ended = False
    _endless = False
    _lost = False
    _gone = False
    _token: str | None = None
    _crlf = False
    _prompted = False
    _failed = False
    _in = False
    _in_at = 0.0
    _remarked: frozenset[str] = frozenset()
    typed = False
    _full_at = 0.0  # see Rate
    _slowed = False
    _probe_at: float | None = None

    def __init__(self, factory: "ChatFactory", source: Source) -> None:
        self.factory = factory
        self.chat = factory.chat
        self.accounts = factory.accounts
        self._source = source
        self._telnet = TelnetFilter()

    @property
    def allow_guests(self) -> bool:
        return self.factory.settings.allow_guests

    @property
    def allow_registration(self) -> bool:
        return self.factory.settings.allow_registration

    @property
    def _is_trusted(self) -> bool:
        person = self.session.person
        account = person.account if person is not None else None
        return self._source.trusted or self.accounts.is_trusted(account)

    def connectionMade(self) -> None:
        _keep_alive(self.transport, self.factory.limits)
        self.outbox = Outbox(
            self.transport, self.factory.text, self.factory.outbox_limits, self._landed
        )
        self.session = Session(self.outbox, self._source, self.hang_up)
        self.factory.connected(self, self._source)
        self.notice(
            f"Welcome to {self.factory.settings.name}."
            " Type a name, or just Enter to be a guest; /help helps."
        )
        self._prompt()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._lost = True
        self.outbox.drop()
        self.factory.disconnected(self)
        self._cancel_cutting()
        ended = self._ended or self._probe_at is not None or reason.check(ConnectionDone)
        if ended and not self._over:
            # The peer had said all that it had to say, and TLS knows no half-close. What was queued
            # before the end is worked off all the same, for a while.
            self._cutting = self.factory.clock.callLater(_PARTING, self._stop)
            self._ended = True
            self._work_on()
            return
        self._stop()

    def _stop(self) -> None:
        """Carry out nothing more. The session is over when all that it said is in the log."""
        self._gone = True
        self._forget_token()
        for waiting in (self._asked, self._landing, self._pausing):
            if waiting is not None:
                waiting.cancel()
        if not self.session.in_flight:
            self._leave()

    def _leave(self) -> None:
        """End the session. A connection that is gone is counted until then."""
        self.chat.leave_all(self.session)
        if self._lost:
            self._cancel_cutting()
            self.factory.left(self)

    def _cancel_cutting(self) -> None:
        if self._cutting is not None and self._cutting.active():
            self._cutting.cancel()

    def _forget_token(self) -> None:
        if self._token is not None:
            self.factory.tokens.pop(self._token, None)

    def take_over(self, token: str) -> None:
        other = self.factory.tokens.get(token)
        if other is not None and other is not self:
            other._stop()  # and its guest name is free
            other.transport.abortConnection()

    # While nothing is read

    def pauseProducing(self) -> None:
        super().pauseProducing()
        self.factory.watch(self)

    @property
    def is_deaf(self) -> bool:
        """The transport does not read, and so does not find out that the peer is gone."""
        return not self._lost and (self.paused or self._ended)

    def look(self) -> None:
        """Find out what has become of a peer that is not read from.

        After a FIN nobody can tell whether it still reads the answers, as C{nc -N} does. But a peer
        that does not answers with a RST to whatever is written to it.
        """
        now = self.factory.clock.seconds()
        events = _hang_ups(self.transport)
        if events & (select.POLLHUP | select.POLLERR):
            self.transport.abortConnection()
        elif events and self._slowed and now >= (self._probe_at or 0):
            self._probe_at = now + _PROBE_EVERY
            self.notice("your input has ended; the lines that are left are still taken")

    # What comes in

    def dataReceived(self, data: bytes) -> None:
        if self._ended and data:
            return
        try:
            received = self._telnet.receive(data)
        except TelnetAbuse:
            self.transport.abortConnection()
            return
        if received.replies:
            self.outbox.write(received.replies)
        super().dataReceived(received.data)
        if received.interrupted and self._asked is None:
            self.notice("/quit leaves")
        self._ended |= received.ended
        self._work_on()

    def lineReceived(self, line: bytes) -> None:
        self._crlf = line.endswith(b"\r")
        if not self._in:
            self.factory.admission.is_trying(self)
        if not self._lines and (self._asked is not None or not self._working):
            self.chat.seen(self.session)  # else it may have been sent before what was shown
        if self._lines is None:
            self._lines = deque()
        self._lines.append(line.removesuffix(b"\r"))
        if len(self._lines) >= _QUEUE or len(line) > MAX_LINE + 1:  # with its CR
            self.pauseProducing()

    def lineLengthExceeded(self, line: bytes) -> None:
        self._ended = self._endless = True  # what came before it is worked off first

    def readConnectionLost(self) -> None:
        """The peer has said all it had to say, and waits for the answers."""
        self._ended = True
        self.factory.watch(self)
        self._work_on()

    def writeConnectionLost(self) -> None:
        """Nobody reads any more."""
        self.transport.loseConnection()

    # Working off the lines

    def _work_on(self) -> None:
        if self._asked is not None and (self._lines or self._ended):
            asked, self._asked = self._asked, None
            line = self._next_line()
            if line is None:
                asked.cancel()
            else:
                asked.callback(line)
        elif not self._working and (self._lines or self._ended) and not self._over:
            self._working = True
            Deferred.fromCoroutine(self._work()).addErrback(
                lambda failure: _log.failure("working off lines", failure)
            )

    async def _work(self) -> None:
        """Work off what has arrived, in order. Ends when there is no more, so that an idle
        connection has nothing but its buffers."""
        try:
            await self._work_off()
            if self._ended and not self._over:
                await self._until_landed(0)
                if self._endless:
                    self._refuse(
                        "too-long", f"a line of over {self.MAX_LENGTH} bytes ends the session", ""
                    )
                self.hang_up()
        except CancelledError:
            pass  # the connection went away while a commit was waited for
        finally:
            self._working = False
            if not self._lines:
                self._lines = None

    async def _work_off(self) -> None:
        done = 0
        try:
            while not self._over and (line := self._next_line()) is not None:
                await self._slow_down(line)
                if self._over:
                    break
                await self._take(line)
                done += 1
                if done % _QUEUE == 0:
                    await deferLater(self.factory.clock, 0)  # the others' turn
        except CancelledError:
            pass  # there is no more to come, although a question was put

    def _next_line(self) -> bytes | None:
        """The next line that has arrived; at the end also one that was not ended."""
        if not self._lines and self.paused and self._takes_more:
            self.resumeProducing()
        if not self._lines and self._ended and not self.paused:
            return self.clearLineBuffer() or None
        return self._lines.popleft() if self._lines else None

    @property
    def _takes_more(self) -> bool:
        """More may be queued; of a closed connection only if that does not make it last."""
        if self._gone or self.factory.closing:
            return False
        return not (self._lost and self._rate is not None)

    @property
    def _rate(self) -> Rate | None:
        """How fast lines are taken; L{None} for no limit."""
        return None if self._is_trusted else self.factory.rate

    async def _slow_down(self, line: bytes) -> None:
        """Wait until this line may be taken. What comes in the meantime waits to be read."""
        rate = self._rate
        if rate is None:
            return
        clock = self.factory.clock
        wait = rate.wait(self._full_at, clock.seconds())
        if wait:
            if not self._slowed and self._says_something(line):
                self._slowed = True
                self.notice(
                    f"you're sending fast: taking {self.factory.limits.line_rate} lines a second"
                    " now, nothing is lost"
                )
            self._pausing = deferLater(clock, wait)
            await self._pausing
            self._pausing = None
        elif self._full_at <= clock.seconds():
            self._slowed = False
        self._full_at = rate.take(self._full_at, clock.seconds())

    def _says_something(self, line: bytes) -> bool:
        """Is the line one that others are to read, and no question or command?"""
        try:
            parsed = parse(self._decoded(line))
            return isinstance(parsed, Speech) or commands.find(parsed.typed, parsed.word).posts
        except Refusal:
            return False

    async def _take(self, line: bytes) -> None:
        typed = ""
        self.typed = not (self._lines or self._ended)
        try:
            read = self._decoded(line)
            parsed = parse(read, newcomer=self._is_newcomer)
            if isinstance(parsed, Speech):
                await self._say(parsed)
            else:
                typed = parsed.typed
                command = commands.find(typed, parsed.word)
                if command.has_secret:
                    _refuse_escapes(line)
                await self._perform(command, parsed.rest)
        except Refusal as refusal:
            self._refuse(refusal.code, refusal.text, typed)
            if self.session.person is None and refusal.code in _FAILED_LOGIN:
                self._failed |= bool(typed) or not self.typed
        except CancelledError:
            raise
        except Exception:  # noqa: BLE001 - whatever we got wrong must not end the session
            _log.failure("carrying out a command")
            self._refuse(
                "internal", "something went wrong here, and it has been logged; try again", typed
            )
        if self.session.person is None:
            self._prompt()
            return
        self._prompted = False
        if not self._in:
            self._in = True
            self._in_at = self.factory.clock.seconds()
            self.factory.admission.is_in(self)

    @property
    def _is_newcomer(self) -> bool:
        """Somebody who types is not in yet, or has just come in."""
        return self.outbox.format is not self.factory.json and (
            not self._in or self.factory.clock.seconds() < self._in_at + _NEWCOMER
        )

    async def _say(self, speech: Speech) -> None:
        if self.session.person is None:
            await self._come_in(speech.text)
        elif speech.text:
            await self._until_landed(self.factory.limits.max_in_flight)
            self.chat.say(self.session, speech.text)
            if speech.unquoted and not self.session.echo:
                self._remark('the quotes around that were left out; ""double"" them to keep them')

    async def _come_in(self, typed: str) -> None:
        """Take a line at the prompt. After a C{/login} that failed, or a name that a script sent
        ahead, it is no name: it is what a script would have said if that had not failed."""
        if self._failed and typed.strip():
            raise Refusal(
                "not-logged-in",
                "you haven't logged in yet, so nothing was sent; try /login NAME PASSWORD, or press"
                " Enter to pick a name",
            )
        if self._failed:
            self._failed = not self.typed
        else:
            await come_in(self, typed)

    async def _perform(self, command: commands.Command, rest: str) -> None:
        if self.session.person is None and not command.anyone:
            raise Refusal("not-logged-in", "come in first: type a name, or just Enter")
        arguments = command.arguments(rest)
        self.charge(command.cost - 1)
        await self._until_landed(self.factory.limits.max_in_flight if command.posts else 0)
        result = command.run(self, *arguments)
        if result is not None:
            await result

    def _decoded(self, line: bytes) -> str:
        if len(line) > MAX_LINE:
            raise Refusal(
                "too-long", f"a line has at most {MAX_LINE} bytes; that one has {len(line)}"
            )
        read = text.decode(line)
        if _ESCAPE in line and "\x1b" not in read:
            self._remark(
                "arrow keys and other escape sequences are left out of what you type;"
                " twisted-chat and rlwrap can edit a line"
            )
        return read

    async def _until_landed(self, most: int) -> None:
        """Wait while this many posts are in flight, until half of them have landed."""
        if self.session.in_flight <= most:
            return
        while self.session.in_flight > most // 2:
            self._landing = Deferred()
            await self._landing

    def _landed(self) -> None:
        landing, self._landing = self._landing, None
        if landing is not None:
            landing.callback(None)
        if self._gone and not self.session.in_flight:
            self._leave()

    async def _read(self, *, secret: bool = False) -> str:
        """The next line, when it arrives."""
        line = self._next_line()
        self.typed = line is None
        if line is None:
            if self._ended or self._gone:
                raise CancelledError
            self._asked = Deferred()
            line = await self._asked
        await self._slow_down(line)
        self.typed &= not (self._lines or self._ended)
        if secret:
            _refuse_escapes(line)
        return self._decoded(line)

    # What goes out

    def _prompt(self) -> None:
        if self.outbox.format is self.factory.text and not (
            self._lines or self._ended or self._over
        ):
            self.outbox.write(_AGAIN if self._failed else b"Name: ")
            self._prompted = True

    @property
    def _over(self) -> bool:
        """The connection is gone, or will be once everything is written."""
        return self._gone or self.session.closed

    def refuse(self, refusal: Refusal) -> None:
        self._refuse(refusal.code, refusal.text, "")

    def _refuse(self, code: Code, sentence: str, command: str) -> None:
        self.session.tell(Refused(self.factory.now(), code, sentence, command))

    # Terminal

    def notice(self, text: str) -> None:
        self.session.tell(Notice(self.factory.now(), text))

    def _remark(self, text: str) -> None:
        """Make a remark that is made once in a session."""
        if text not in self._remarked:
            self._remarked |= {text}
            self.notice(text)

    def help(self, entries: Sequence[HelpEntry]) -> None:
        self.session.tell(Help(self.factory.now(), tuple(entries)))

    def charge(self, lines: int) -> None:
        if self.factory.rate is not None:
            self._full_at = self.factory.rate.take(
                self._full_at, self.factory.clock.seconds(), lines
            )

    def speak_json(self, on: bool) -> None:
        self.session.echo = on
        if not on:
            self.outbox.format = self.factory.text
            self.notice("text from now on")
            return
        self.outbox.format = self.factory.json
        if self._token is None:
            self._token = token_urlsafe(12)
            self.factory.tokens[self._token] = self
        hello = self.factory.json.hello(self.factory.now(), self._token)
        self.outbox.write(b"\n" + hello if self._prompted else hello)
        self._prompted = False

    def keep_alive(self) -> None:
        """Show that the server is there, to whoever can be shown it without seeing it."""
        if self.outbox.is_waiting or self._over:
            return
        if self.outbox.format is self.factory.json:
            self.session.tell(Ping(self.factory.now()))
        elif self._telnet.spoken:
            self.outbox.write(NOP)

    def hang_up(self, farewell: str = "bye") -> None:
        asked, self._asked = self._asked, None
        unanswered = self._prompted and (asked is not None or not self._working)
        if asked is not None:
            asked.cancel()  # and what was hidden for a password is shown again
        if unanswered:
            self.outbox.write(b"\n")
        self._forget_token()
        if not self.session.closed:
            self.session.tell(Bye(self.factory.now(), farewell))
            self._leave()
        self.outbox.close()

    def send_away(self, farewell: str) -> None:
        """Hang up on somebody who is not in, also if they do not read."""
        self.hang_up(farewell)
        if not self._lost:
            self._cutting = self.factory.clock.callLater(_REFUSAL, self.transport.abortConnection)

    def renew(self, account: Account, password: str) -> None:
        Deferred.fromCoroutine(self.accounts.renew(account, password, self._source)).addErrback(
            lambda failure: _log.failure("renewing the hash of a password", failure)
        )

    async def ask(self, question: str) -> str:
        self.notice(question)
        return (await self._read()).strip(" ")

    async def ask_secret(self, prompt: str) -> str:
        if self._lines:
            return await self._read(secret=True)  # it is here already: nobody is typing
        text = self.outbox.format
        if text is self.factory.json:
            self.notice(prompt.strip(": "))
            return await self._read(secret=True)
        # Telnet, whose lines end in CR LF, stops echoing when we say that we will (RFC 857). Others
        # have no such means, but their terminal can write in no colour.
        hidden_by_telnet = self._crlf
        before = WILL_ECHO + _CLEAR_LINE if hidden_by_telnet else b""
        concealed = prompt.encode() + _CONCEAL
        self.outbox.write(before + concealed)
        end = b"\r\n" if hidden_by_telnet else b"\n"
        self.outbox.format = _AbovePrompt(text, end, concealed)
        self._prompted = not hidden_by_telnet
        try:
            line = await self._read(secret=True)
            self._prompted = False
            return line
        finally:
            self.outbox.format = text
            after = WONT_ECHO + _CLEAR_LINE if hidden_by_telnet else b""
            self.outbox.write(_REVEAL + after)

    async def ask_again(self, secret: str) -> bool:
        if self.typed:
            return await self.ask_secret("Again: ") == secret
        if self._lines and self._lines[0] == secret.encode():
            self._next_line()
        return True


class _AbovePrompt:
    """A format for somebody who types a password: what comes is shown above the prompt for it.

    @ivar end: of a line. A telnet that does not echo needs the CR, too.
    """

    def __init__(self, format: Format, end: bytes, prompt: bytes) -> None:
        self._format = format
        self._end = end
        self._prompt = prompt

    def encode(self, events: tuple[Event, ...], /) -> bytes:
        lines = self._format.encode(events).replace(b"\n", self._end)
        return _REVEAL + _CLEAR_LINE + lines + self._prompt


def _refuse_escapes(line: bytes) -> None:
    """Leaving an arrow key out of a password would make another of it than was meant."""
    if _ESCAPE in line:
        raise Refusal(
            "bad-password",
            "that has an arrow key or another escape sequence in it; type the password again",
        )


class ChatFactory(Factory):
    """What all connections share: the chat, the accounts, the formats and the limits."""

    noisy = False

    def __init__(
        self,
        chat: Chat,
        accounts: Accounts,
        admission: Admission,
        settings: Settings,
        limits: Limits,
        clock: IReactorTime,
        now: Callable[[], int],
    ) -> None:
        self.chat = chat
        self.accounts = accounts
        self.admission = admission
        self.settings = settings
        self.limits = limits
        self.rate = Rate(limits.line_burst, limits.line_rate) if limits.line_rate else None
        self.clock = clock
        self.now = now
        self.text = TextFormat()
        self.json = JsonFormat(settings.name, limits.keepalive)
        self.outbox_limits = OutboxLimits(
            clock, now, limit=limits.outbox, stuck_after=limits.stuck_after
        )
        self.ports: list[Any] = []
        self._connections: dict[ChatProtocol, Source] = {}
        self.tokens: dict[str, ChatProtocol] = {}  # by which a client knows its session again
        self._refusals: set[_Refuser] = set()
        self._empty: Deferred[None] | None = None
        self._cooperator = Cooperator(scheduler=lambda work: clock.callLater(0, work))
        self._keeping_alive = LoopingCall(self._keep_alive)
        self._keeping_alive.clock = clock
        self._deaf: set[ChatProtocol] = set()
        self._looking = LoopingCall(self._look)
        self._looking.clock = clock
        self.closing = False

    def startFactory(self) -> None:
        if self.limits.keepalive:
            self._keeping_alive.start(self.limits.keepalive, now=False).addErrback(
                lambda failure: _log.failure("keeping connections alive", failure)
            )

    def stopFactory(self) -> None:
        if self._keeping_alive.running:
            self._keeping_alive.stop()

    def _keep_alive(self) -> Deferred[Iterator[None]]:
        def each() -> Iterator[None]:
            for protocol in list(self._connections):
                protocol.keep_alive()
                yield  # ten thousand take a while

        return self._cooperator.coiterate(each())

    def buildProtocol(self, addr: IAddress | None) -> Protocol | None:
        for port in self.ports:
            # Twisted accepts more in each turn the more there were in the last, and thousands who
            # connect at once would hold up everybody else. From 1 it goes to 21, and no further.
            port.numberAccepts = 1
        source = self.admission.source(addr)
        sentence = "this server is going down" if self.closing else self.admission.refusal(source)
        if sentence is None:
            return ChatProtocol(self, source)
        return _Refuser(self, sentence) if len(self._refusals) < _REFUSALS else None

    def refusing(self, refuser: "_Refuser") -> None:
        self._refusals.add(refuser)

    def refused(self, refuser: "_Refuser") -> None:
        self._refusals.discard(refuser)

    def connected(self, protocol: ChatProtocol, source: Source) -> None:
        self._connections[protocol] = source
        self.admission.came(protocol, source)

    def watch(self, protocol: ChatProtocol) -> None:
        """Look after a connection that is not read from, until it is read from again."""
        if self.closing or not protocol.is_deaf:
            return
        self._deaf.add(protocol)
        if not self._looking.running:
            self._looking.start(_LOOK_EVERY, now=False).addErrback(
                lambda failure: _log.failure("looking at connections that are not read", failure)
            )

    def _look(self) -> "Deferred[Iterator[None]]":
        def each() -> Iterator[None]:
            for protocol in list(self._deaf):
                if protocol.is_deaf:
                    protocol.look()
                else:
                    self._unwatch(protocol)
                yield  # ten thousand take a while

        return self._cooperator.coiterate(each())

    def _unwatch(self, protocol: ChatProtocol) -> None:
        self._deaf.discard(protocol)
        if not self._deaf and self._looking.running:
            self._looking.stop()

    def left(self, protocol: ChatProtocol) -> None:
        """The session is over, and the connection gone."""
        self.admission.went(protocol, protocol.session.source)

    def disconnected(self, protocol: ChatProtocol) -> None:
        del self._connections[protocol]
        self._unwatch(protocol)
        if not self._connections and self._empty is not None:
            empty, self._empty = self._empty, None
            empty.callback(None)

    def pause(self) -> None:
        """Read nothing more from anyone."""
        self.closing = True
        for protocol in self._connections:
            protocol.pauseProducing()

    async def hang_up(self, farewell: str, grace: float) -> None:
        """Say bye to everyone; whoever is not gone after C{grace} seconds is cut off."""
        if not self._connections:
            return
        empty = self._empty = Deferred()
        self.chat.end(farewell)
        for protocol in list(self._connections):
            protocol.hang_up(farewell)
        timeout = self.clock.callLater(grace, self._abort)
        await empty
        if timeout.active():
            timeout.cancel()

    def _abort(self) -> None:
        for protocol in list(self._connections):
            protocol.transport.abortConnection()


class _Refuser(Protocol):
    """Says one sentence and hangs up."""

    def __init__(self, factory: ChatFactory, sentence: str) -> None:
        self._factory = factory
        self._sentence = sentence
        self._timeout: IDelayedCall | None = None

    def connectionMade(self) -> None:
        transport: Any = self.transport
        self._factory.refusing(self)
        self._timeout = self._factory.clock.callLater(_REFUSAL, transport.abortConnection)
        transport.write(f"! {self._sentence}\n".encode())
        if not ITCPTransport.providedBy(transport) or ISSLTransport.providedBy(transport):
            transport.loseConnection()
        else:
            # What a peer has sent already must be read, or the kernel resets the connection and
            # the sentence is lost.
            transport.loseWriteConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._factory.refused(self)
        if self._timeout is not None and self._timeout.active():
            self._timeout.cancel()


def _keep_alive(transport: Any, limits: Limits) -> None:
    """Have the system find out about peers that vanished without a word."""
    if not isinstance(transport.getPeer(), (IPv4Address, IPv6Address)):
        return
    transport.setTcpNoDelay(True)
    transport.setTcpKeepAlive(True)
    handle = below(transport).getHandle()
    for option, value in tcp_options(limits.keepalive, limits.stuck_after):
        handle.setsockopt(socket.IPPROTO_TCP, option, value)


_FIN = getattr(select, "POLLRDHUP", 0)  # Linux only


def _hang_ups(transport: Any) -> int:
    """What poll(2) knows of the peer, though nothing is read: C{POLLRDHUP} after a FIN, C{POLLHUP}
    and C{POLLERR} when the connection is no more."""
    lowest = below(transport)
    if not ISystemHandle.providedBy(lowest):
        return 0
    handle: Any = lowest.getHandle()
    poll = select.poll()
    poll.register(handle, _FIN)
    return sum(events for _, events in poll.poll(0))
