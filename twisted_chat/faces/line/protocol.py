"""One connection of the line protocol, and the factory that all of them share."""

import select
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from secrets import token_urlsafe
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IHalfCloseableProtocol,
    IHandshakeListener,
    IReactorTime,
    ISSLTransport,
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
from twisted_chat.core.chat import LOBBY, Chat, Session
from twisted_chat.core.errors import Refusal
from twisted_chat.core.events import Bye, Event, Help, HelpEntry, Notice, Ping, Refused, Talking
from twisted_chat.core.limits import Limits
from twisted_chat.core.model import Account
from twisted_chat.core.throttle import Rate
from twisted_chat.faces.admission import Admission
from twisted_chat.faces.format import Format, LineFormat
from twisted_chat.faces.outbox import Outbox, OutboxLimits
from twisted_chat.protocol import strangers
from twisted_chat.protocol.grammar import MAX_LINE, Speech, parse
from twisted_chat.transport import hang_ups, keep_alive

from . import commands
from .login import come_in
from .telnet import NOP, WILL_ECHO, WONT_ECHO, TelnetAbuse, TelnetFilter
from .ways import sentence
from .wire import JsonFormat, TelnetFormat, TextFormat

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
"""Seconds between two signs of life for a peer that is not read from. If it is gone, its kernel
answers with a RST; its FIN may wait behind what is not read."""

_GREETING = 0.05
"""Seconds for which a peer may speak first. A browser or an IRC client does, and is answered in its
own protocol, which has no place for a greeting."""

_PERSON = 0.2
"""Seconds of silence, after the greeting, that tell a person from a program."""

_COMMANDS = 512
"""Bytes of telnet commands that count as a line. No more of them, or of anything else that is not
text as it stands, are looked at in one turn of the reactor."""

_SEARCH = 2
"""Lines that a name which nobody has counts as, besides its own: what was meant is looked for."""

_PROMPT = b"Name: "
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


@implementer(IHalfCloseableProtocol, IHandshakeListener)
class ChatProtocol(LineReceiver):
    """A connection: takes lines, works them off in order, and shows what its session is told."""

    delimiter = b"\n"
    MAX_LENGTH = 64 * 1024
    """A line over L{MAX_LINE} is refused; somebody who sends this much without ending it is cut
    off."""

    factory: "ChatFactory"
    transport: Any

    # On the class while they have their first values: an idle connection stays small. With more
    # than 21 attributes of its own, its dict would have twice the size.
    _lines: deque[bytes] | None = None
    _asked: Deferred[bytes] | None = None
    _landing: Deferred[None] | None = None
    _pausing: Deferred[None] | None = None
    _cutting: IDelayedCall | None = None  # the end of one who does not read, or of a lost session
    _greeting: IDelayedCall | None = None  # or, after the greeting, what is said to a person
    _reading: IDelayedCall | None = None  # the time when what is owed is paid
    _unread = b""  # what has arrived and was not looked at yet
    _begun = False
    _greeted = False
    _spoke = False
    _turned_away = False
    _working = False
    _ended = False
    _endless = False
    _lost = False
    _gone = False
    _left = False
    _token: str | None = None
    _crlf = False
    _prompted = False
    _failed = False
    _in_at: float | None = None
    _remarked: frozenset[str] = frozenset()
    typed = False
    current = LOBBY
    _full_at = 0.0  # see Rate
    _slowed = False
    _half_closed = False

    def __init__(self, factory: "ChatFactory", source: Source) -> None:
        self.factory = factory
        self.chat = factory.chat
        self._source = source
        self._telnet = TelnetFilter()

    @property
    def accounts(self) -> Accounts:
        return self.factory.accounts

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
        limits = self.factory.limits
        keep_alive(self.transport, limits.keepalive, limits.stuck_after)
        self.outbox = Outbox(self.transport, self.factory.text, self.factory.outbox_limits)
        self.session = Session(self.outbox, self._source, self)
        self.session.landed = self._landed
        self.session.ended = self._session_ended
        self.factory.connected(self, self._source)
        if not ISSLTransport.providedBy(self.transport):
            self.handshakeCompleted()

    def handshakeCompleted(self) -> None:
        """The peer may speak, which a program does at once."""
        self._greeting = self.factory.clock.callLater(_GREETING, self._greet)

    def _greet(self) -> None:
        """Say what this is, once, before anything else is said."""
        if self._greeted:
            return
        self._greeted = True
        self._stop_greeting()
        self.notice(
            f"Welcome to {self.factory.settings.name}."
            " Type a name, or just Enter to be a guest; /help helps."
        )
        self.outbox.write(_PROMPT)
        self._prompted = True
        if not self._begun:
            self._greeting = self.factory.clock.callLater(_PERSON, self._ask_for_binary)

    def _ask_for_binary(self) -> None:
        """Have a person's telnet send all letters as they are (RFC 856).

        On a screen that does not belong to telnet nothing is left of it.
        """
        self._greeting = None
        self.outbox.write(self._telnet.ask() + _CLEAR_LINE + _PROMPT)

    def _stop_greeting(self) -> None:
        if self._greeting is not None and self._greeting.active():
            self._greeting.cancel()
        self._greeting = None

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._lost = True
        self.outbox.drop()
        self.factory.disconnected(self)
        self._stop_greeting()
        self._cancel_cutting()
        ended = self._ended or self._half_closed or reason.check(ConnectionDone)
        if ended and not self._over:
            # The peer had said all that it had to say, and TLS knows no half-close. What was queued
            # before the end is worked off all the same, for a while.
            self._cutting = self.factory.clock.callLater(_PARTING, self._stop)
            self.readConnectionLost()
            return
        self._stop()

    def _stop(self) -> None:
        """Carry out nothing more. The session is over when all that it said is in the log."""
        self._gone = True
        self._forget_token()
        self._stop_waiting_to_read()
        for waiting in (self._asked, self._landing, self._pausing):
            if waiting is not None:
                waiting.cancel()
        self.chat.end_session(self.session)
        self._session_ended()

    def _session_ended(self) -> None:
        """Leave when the session is over and the connection gone, in whichever order. A connection
        is counted until then."""
        if self._lost and self.session.is_over and not self._left:
            self._left = True
            self._cancel_cutting()
            if self._pausing is not None:
                self._pausing.cancel()
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
        """Find out what has become of a peer that is not read from."""
        events = hang_ups(self.transport)
        if events & (select.POLLHUP | select.POLLERR):
            self.transport.abortConnection()
        else:
            self._half_closed |= bool(events)

    def probe(self) -> None:
        """Write something to a peer that is not read from, as whether it is still there can be
        seen in no other way.

        After a FIN it may read the answers, as C{nc -N} does. Before one it may be gone all the
        same: its kernel keeps the FIN behind what there is no room for in ours.
        """
        if self._speaks_json or self._telnet.spoken:
            self.keep_alive()
        elif not (self._over or self.outbox.is_waiting):
            ended = "your input has ended; the lines that are left are still taken"
            self.notice(
                ended if self._half_closed else "still taking what you sent; nothing is lost"
            )

    # What comes in

    def dataReceived(self, data: bytes) -> None:
        if self._unread or self._reading is not None:
            data, self._unread = b"", self._unread + data
        if self._reading is None:
            self._read_on(data)

    def _read_on(self, data: bytes = b"") -> None:
        """Look at what has arrived, at a pace that bounds what telnet commands cost the others."""
        if self._unread:
            data, self._unread = self._unread, b""
        if not self._begun:
            if data == strangers.HANDSHAKE:
                self._unread = data  # until it is clear what it is
                return
            self._begun = bool(data)
            if data.startswith(strangers.CLIENT_HELLO):
                self._turn_away(strangers.tls_answer())
            elif data and self._greeted:
                self._stop_greeting()
        if self._ended and data:
            self._pace(len(data) / MAX_LINE)
            return
        if len(data) > _COMMANDS:
            most = self._telnet.first_special(data) + _COMMANDS
            data, self._unread = data[:most], data[most:]
        self._pace(self._take_in(data) / _COMMANDS)

    def _take_in(self, data: bytes) -> int:
        """Make lines of what was read; gives back how many bytes of it were telnet commands."""
        try:
            received = self._telnet.receive(data)
        except TelnetAbuse:
            self._stop()
            self.transport.abortConnection()
            return len(data)
        if self._telnet.spoken:
            self._greet()
            if self.outbox.format is self.factory.text:
                self.outbox.format = self.factory.telnet
            received.replies += self._telnet.ask()
        if received.replies:
            self.outbox.write(received.replies)
        super().dataReceived(received.data)
        if received.interrupted and self._asked is None:
            self.notice("/quit leaves")
        if received.ended:
            self._ended = True
        self._work_on()
        return received.commands

    @property
    def _is_free(self) -> bool:
        """The limit on lines does not hold for the session."""
        return self.factory.rate is None or self._is_trusted

    def _pace(self, lines: float) -> None:
        """Charge for what is no line, and read nothing more while that is owed."""
        wait = 0.0
        if lines and not self._is_free:
            self.charge(lines)
            wait = self._owed()
        if (wait or self._unread) and not self._gone:
            self._stop_waiting_to_read()  # begun for what came next, while this was worked off
            self.pauseProducing()
            self._reading = self.factory.clock.callLater(wait, self._resume)

    def _resume(self) -> None:
        self._reading = None
        if self._unread:
            self._read_on()
        if self._reading is None and not self._lines:
            self._next_bytes()

    def _next_bytes(self) -> None:
        """Read on, unless there is a reason not to."""
        if self.paused and self._reading is None and self._takes_more:
            self.resumeProducing()

    def _stop_waiting_to_read(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None

    def lineReceived(self, line: bytes) -> None:
        self._crlf = line.endswith(b"\r")
        if self._in_at is None:
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
        if self._turned_away:
            self.transport.loseConnection()
            return
        self._stop_waiting_to_read()
        data, self._unread = self._unread, b""
        if not self._ended:
            self._begun = True
            self._take_in(data)
        self._ended = True
        self.factory.watch(self)
        self._work_on()

    def writeConnectionLost(self) -> None:
        """Nobody reads any more; or we have said all that a stranger is told."""
        if not self._turned_away:
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
                self._greet()
                await self._until_landed(0)
                if self._endless:
                    reason = f"a line of over {self.MAX_LENGTH} bytes ends the session"
                    self._refuse(Refusal("too-long", reason), "")
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
                if self._in_at is None or not self._spoke:
                    answer = self._answer_to_stranger(line)
                    if answer:
                        self._turn_away(answer)
                        break
                    self._greet()
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
        if not self._lines:
            if self._ended:
                self._stop_waiting_to_read()
            self._next_bytes()
        if not self._lines and self._ended and not self.paused:
            return self.clearLineBuffer() or None
        return self._lines.popleft() if self._lines else None

    @property
    def _takes_more(self) -> bool:
        """More may be queued; of a closed connection only if that does not make it last."""
        if self._gone or self.factory.closing:
            return False
        return self._is_free or not self._lost

    async def _slow_down(self, line: bytes) -> None:
        """Wait until this line may be taken. What comes in the meantime waits to be read."""
        if self._is_free:
            return
        clock = self.factory.clock
        wait = self._owed()
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
        self.charge(1)

    def _owed(self) -> float:
        """Seconds until one more line may be taken."""
        rate = self.factory.rate
        return rate.wait(self._full_at, self.factory.clock.seconds()) if rate else 0.0

    def _answer_to_stranger(self, line: bytes) -> bytes:
        """What is answered to a line that is no line of ours; nothing if it is one.

        Whoever has said nothing but empty lines may still be one.
        """
        if self._spoke and self.session.person is not None:
            return b""
        first = line or next(filter(None, self._lines or ()), b"")
        tls = bool(ISSLTransport.providedBy(self.transport))
        if strangers.is_http(first):
            return strangers.http_answer(tls=tls)
        if strangers.is_irc(first) and not self._spoke:
            return strangers.irc_answer(tls=tls)
        self._spoke = self._spoke or bool(line)
        return b""

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
                if self.session.person is None:
                    await self._come_in(parsed.text)
                elif parsed.text:
                    if self.session.in_flight > self.factory.limits.max_in_flight:
                        await self._until_landed(self.factory.limits.max_in_flight)
                    self._say(parsed)
            else:
                typed = parsed.typed
                command = commands.find(typed, parsed.word)
                if command.has_secret:
                    _refuse_escapes(line)
                await self._perform(command, parsed.rest)
        except Refusal as refusal:
            self._refuse(refusal, typed)
            if refusal.code in ("no-such-person", "no-such-room"):
                self.charge(_SEARCH)
            if self.session.person is None and refusal.code in _FAILED_LOGIN:
                self._failed |= bool(typed) or not self.typed
        except CancelledError:
            raise
        except Exception:  # noqa: BLE001 - whatever we got wrong must not end the session
            _log.failure("carrying out a command")
            reason = "something went wrong here, and it has been logged; try again"
            self._refuse(Refusal("internal", reason), typed)
        if self.session.person is None:
            self._prompt()
            return
        self._prompted = False
        if self._in_at is None:
            self._in_at = self.factory.clock.seconds()
            self.factory.admission.is_in(self)

    @property
    def _is_newcomer(self) -> bool:
        """Somebody who types is not in yet, or has just come in."""
        return self.outbox.format is not self.factory.json and (
            self._in_at is None or self.factory.clock.seconds() < self._in_at + _NEWCOMER
        )

    def _say(self, speech: Speech) -> None:
        self.chat.say(self.session, self.current, speech.text)
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
        """Wait while more posts than this are in flight, until half of it are left.

        @raise CancelledError: if the session is over then.
        """
        if self.session.in_flight <= most:
            return
        while self.session.in_flight > most // 2:
            self._landing = Deferred()
            await self._landing
        if self._over:
            raise CancelledError

    def _landed(self) -> None:
        landing, self._landing = self._landing, None
        if landing is not None:
            landing.callback(None)

    async def _read(self, *, secret: bool = False) -> str:
        """The next line, when it arrives.

        @raise CancelledError: if none will, or the session is over.
        """
        line = None if self._over else self._next_line()
        self.typed = line is None
        if line is None:
            if self._ended or self._over:
                raise CancelledError
            self._asked = Deferred()
            line = await self._asked
        await self._slow_down(line)
        if self._over:
            raise CancelledError
        self.typed &= not (self._lines or self._ended)
        if secret:
            _refuse_escapes(line)
        return self._decoded(line)

    # What goes out

    def _prompt(self) -> None:
        if not (self._speaks_json or self._lines or self._ended or self._over):
            self.outbox.write(_AGAIN if self._failed else _PROMPT)
            self._prompted = True

    @property
    def _speaks_json(self) -> bool:
        return self.outbox.format is self.factory.json

    @property
    def _text(self) -> Format:
        return self.factory.telnet if self._telnet.spoken else self.factory.text

    @property
    def _newline(self) -> bytes:
        return b"\r\n" if self._telnet.spoken else b"\n"

    @property
    def _over(self) -> bool:
        """The connection is gone, or will be once everything is written."""
        return self._gone or self.session.closed

    def refuse(self, refusal: Refusal) -> None:
        self._refuse(refusal, "")

    def _refuse(self, refusal: Refusal, command: str) -> None:
        now, shown = self.factory.now(), sentence(refusal)
        self.session.tell(Refused(now, refusal.code, shown, command, fields=refusal.fields))

    # Terminal

    def notice(self, text: str) -> None:
        self.session.tell(Notice(self.factory.now(), text))

    def talk_in(self, room: str, *, is_new: bool = False) -> None:
        self.current = room
        if not is_new or self._speaks_json:
            self.session.tell(Talking(self.factory.now(), room))

    def _remark(self, text: str) -> None:
        """Make a remark that is made once in a session."""
        if text not in self._remarked:
            self._remarked |= {text}
            self.notice(text)

    def help(self, entries: Sequence[HelpEntry]) -> None:
        self.session.tell(Help(self.factory.now(), tuple(entries)))

    def charge(self, lines: float) -> None:
        if self.factory.rate is not None:
            self._full_at = self.factory.rate.take(
                self._full_at, self.factory.clock.seconds(), lines
            )

    def speak_json(self, on: bool) -> None:
        self.session.echo = on
        if not on:
            self.outbox.format = self._text
            self.notice("text from now on")
            return
        self.outbox.format = self.factory.json
        if self._token is None:
            self._token = token_urlsafe(12)
            self.factory.tokens[self._token] = self
        hello = self.factory.json.hello(self.factory.now(), self._token)
        self.outbox.write(self._newline + hello if self._prompted else hello)
        self._prompted = False

    def keep_alive(self) -> None:
        """Show that the server is there, to whoever can be shown it without seeing it."""
        if self.outbox.is_waiting or self._over:
            return
        if self._speaks_json:
            self.session.tell(Ping(self.factory.now()))
        elif self._telnet.spoken:
            self.outbox.write(NOP)

    def hang_up(self, farewell: str = "bye") -> None:
        self._stop_greeting()
        asked, self._asked = self._asked, None
        unanswered = self._prompted and (asked is not None or not self._working)
        if asked is not None:
            asked.cancel()  # and what was hidden for a password is shown again
        if unanswered:
            self.outbox.write(self._newline)
        self._forget_token()
        if not self.session.closed:
            self.session.tell(Bye(self.factory.now(), farewell))
            self.chat.end_session(self.session)
        self.outbox.close()

    def send_away(self, farewell: str) -> None:
        """Hang up on somebody who is not in, also if they do not read."""
        self.hang_up(farewell)
        self._cut_soon()

    def _turn_away(self, answer: bytes) -> None:
        """Answer a stranger, and end the connection before anything else it sends is looked at.

        What it has sent is read all the same, or the kernel resets the connection and the answer
        is lost.
        """
        self._turned_away = self._ended = True
        self._greeted = True
        self._lines = None
        self.clearLineBuffer()
        self._stop_greeting()
        self._forget_token()
        self.chat.end_session(self.session)
        self.outbox.write(answer)
        self.outbox.close(reading=True)
        self._next_bytes()
        self._cut_soon()

    def _cut_soon(self) -> None:
        if not self._lost and self._cutting is None:
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
        if self._speaks_json:
            self.notice(prompt.strip(": "))
            return await self._read(secret=True)
        # Telnet stops echoing when we say that we will (RFC 857). Others have no such means, but
        # their terminal can write in no colour. Lines in CR LF, from somebody who was not asked
        # yet and so cannot have shown what they are, may be telnet's.
        hidden_by_telnet = self._telnet.spoken or (self._crlf and not self._telnet.asked)
        before = self._telnet.ask() + WILL_ECHO + _CLEAR_LINE if hidden_by_telnet else b""
        concealed = prompt.encode() + _CONCEAL
        self.outbox.write(before + concealed)
        end = b"\r\n" if hidden_by_telnet else b"\n"
        self.outbox.format = _AbovePrompt(self.factory.text, end, concealed)
        self._prompted = not hidden_by_telnet
        try:
            line = await self._read(secret=True)
            self._prompted = False
            return line
        finally:
            self.outbox.format = self._text
            after = WONT_ECHO + _CLEAR_LINE if hidden_by_telnet else b""
            self.outbox.write(_REVEAL + after)

    async def ask_again(self, secret: str) -> bool:
        if self.typed:
            return await self.ask_secret("Again: ") == secret
        if self._lines and self._lines[0] == secret.encode():
            self._next_line()
        return True


class _AbovePrompt(LineFormat):
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
        self.telnet = TelnetFormat()
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
        self._deaf: dict[ChatProtocol, float] = {}  # which are not read from; when to probe each
        self._looking: IDelayedCall | None = None  # the next look, or the one under way
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
        self._deaf.setdefault(protocol, self.clock.seconds() + _PROBE_EVERY)
        if self._looking is None:
            self._look_later()

    def _look_later(self, done: object = None) -> None:
        self._looking = self.clock.callLater(_LOOK_EVERY, self._look) if self._deaf else None

    def _look(self) -> None:
        def each() -> Iterator[None]:
            for protocol, probe_at in list(self._deaf.items()):
                if not protocol.is_deaf:
                    self._deaf.pop(protocol, None)
                else:
                    protocol.look()
                    if probe_at <= self.clock.seconds():
                        self._deaf[protocol] = self.clock.seconds() + _PROBE_EVERY
                        protocol.probe()
                yield  # ten thousand take a while

        # No LoopingCall: stopped and started again before this is done, it would loop twice.
        self._cooperator.coiterate(each()).addErrback(
            lambda failure: _log.failure("looking at connections that are not read", failure)
        ).addCallback(self._look_later)

    def _unwatch(self, protocol: ChatProtocol) -> None:
        self._deaf.pop(protocol, None)
        if not self._deaf and self._looking is not None and self._looking.active():
            self._looking.cancel()
            self._looking = None

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
        self.chat.close()
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
        self._passed_over = 0
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

    def dataReceived(self, data: bytes) -> None:
        self._passed_over += len(data)
        if self._passed_over > ChatProtocol.MAX_LENGTH:
            transport: Any = self.transport
            transport.pauseProducing()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._factory.refused(self)
        if self._timeout is not None and self._timeout.active():
            self._timeout.cancel()
