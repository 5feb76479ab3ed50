"""The dialogue on a connection of the line protocol: prompts, questions, requests, answers."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from twisted_chat.core import text
from twisted_chat.core.accounts import Accounts
from twisted_chat.core.addresses import Source
from twisted_chat.core.chat import LOBBY, Chat
from twisted_chat.core.errors import Refusal
from twisted_chat.core.events import Bye, Event, Notice, Ping, Refused, Talking
from twisted_chat.core.limits import Limits
from twisted_chat.core.model import Credential
from twisted_chat.faces.admission import Admission
from twisted_chat.faces.connection import Connection, State
from twisted_chat.faces.face import Face
from twisted_chat.faces.format import Format, LineFormat
from twisted_chat.faces.outbox import Outbox
from twisted_chat.faces.perform import perform, refuse_stranger, remark
from twisted_chat.protocol import commands, grammar
from twisted_chat.protocol.grammar import MAX_LINE, Command, Speech, parse
from twisted_chat.protocol.jsonlines import (
    BadRequest,
    decode_request,
    is_request,
    looks_like_request,
)

from .greeting import Greeting
from .login import enter
from .questions import asking
from .telnet import NOP, WILL_ECHO, WONT_ECHO
from .ways import sentence
from .wire import JsonFormat, TelnetFormat, TextFormat

if TYPE_CHECKING:
    from .protocol import LineProtocol

_NEWCOMER = 60.0
"""Seconds after login in which C{help} or C{quit}, alone on a line, need no slash."""

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
        "unavailable",
        "internal",
    }
)
"""The codes that a command to log in is refused with."""

_ESCAPE = b"\x1b"
_CLEAR_LINE = b"\r\x1b[K"
_CONCEAL = b"\x1b[8m"
_REVEAL = b"\x1b[0m"

_log = Logger()


@dataclass(frozen=True, slots=True)
class Settings:
    """What the operator chose for this face.

    @ivar name: what the server calls itself.
    """

    name: str
    allow_guests: bool = True
    allow_registration: bool = True


class LineFace(Face):
    """What all connections of the line protocol share: a L{Face}, its settings and its formats."""

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
        super().__init__(chat, accounts, admission, limits, clock, now)
        self.settings = settings
        self.text = TextFormat()
        self.telnet = TelnetFormat()
        self.json = JsonFormat(settings.name, limits.keepalive)


class Dialogue(Connection):
    """A connection of the line protocol: takes lines, and shows what its session is told.

    It is the L{Terminal} that requests are carried out for.

    @ivar current: the name of the current room: plain lines are said there.
    @ivar typed: see L{Terminal}.
    @ivar greeting: waits for the peer's first words; L{None} after them.
    """

    face: LineFace

    __slots__ = (
        "_has_failed",
        "_in_at",
        "_is_prompted",
        "_line",
        "_remarked",
        "_speaks_json",
        "current",
        "greeting",
        "typed",
    )

    def __init__(
        self,
        face: LineFace,
        line: "LineProtocol",
        outbox: Outbox,
        source: Source,
        *,
        is_tls: bool,
    ) -> None:
        """@param line: the bytes of the connection."""
        self.current = LOBBY
        self.typed = False
        self.greeting: Greeting | None = Greeting(
            face.clock, self._welcome, self._ask_for_binary, is_tls=is_tls
        )
        self._line = line
        self._in_at: float | None = None  # when somebody logged in
        self._is_prompted = False  # the cursor stands behind a prompt
        self._has_failed = False  # a command to log in was refused
        self._speaks_json = False
        self._remarked: tuple[str, ...] = ()
        super().__init__(face, outbox, source)

    @property
    def outbox(self) -> Outbox:
        """The session's outbox."""
        outbox = self.session.outbox
        assert isinstance(outbox, Outbox)
        return outbox

    @property
    def chat(self) -> Chat:
        return self.face.chat

    @property
    def accounts(self) -> Accounts:
        return self.face.accounts

    @property
    def limits(self) -> Limits:
        return self.face.limits

    def now(self) -> int:
        return self.face.now()

    @property
    def allow_guests(self) -> bool:
        return self.face.settings.allow_guests

    @property
    def allow_registration(self) -> bool:
        return self.face.settings.allow_registration

    # The greeting

    def greet(self) -> None:
        """Greet the peer, if that has not been done yet."""
        if self.greeting is not None:
            self.greeting.say()

    def _welcome(self) -> None:
        self.notice(
            f"Welcome to {self.face.settings.name}."
            " Type a name or /help, or press Enter to be a guest."
        )
        self.outbox.write(_PROMPT)
        self._is_prompted = True

    def _ask_for_binary(self) -> None:
        """Ask a person's telnet to send all letters as they are (RFC 856).

        On the screen of another program the prompt replaces the bytes of the question.
        """
        self.outbox.write(self._line.telnet.ask() + _CLEAR_LINE + _PROMPT)

    def stop_greeting(self) -> None:
        """Cancel the greeting, if it has not been said."""
        if self.greeting is not None:
            self.greeting.stop()

    # Requests, which are lines

    def put(self, line: bytes) -> bool:
        """Queue a line.

        @return: whether no more should be read.
        """
        if self._in_at is None:
            self.face.admission.is_trying(self)
        return self.intake.put(line)

    async def take(self, line: bytes, /) -> None:
        """Carry out a line.

        @raise CancelledError: if the intake was cancelled.
        """
        if self.greeting is not None:
            answer = self.greeting.answer(line, self.intake.waiting)
            if answer:
                self._line.turn_away(answer)
                return
            self.greeting.say()
        self.typed = not self.intake.has_more
        command = label = ""
        try:
            work, command, label = self._begin(line)
            if work is not None:
                await work
        except BadRequest as refusal:
            self._refuse(refusal, refusal.do, refusal.label)
        except Refusal as refusal:
            self._refuse(refusal, command, label)
            if self.session.person is None and refusal.code in _FAILED_LOGIN:
                self._has_failed |= bool(command) or not self.typed
        except CancelledError:
            raise
        except Exception:  # noqa: BLE001 - a defect of ours must not end the session
            _log.failure("carrying out a command")
            reason = "something went wrong on the server and was logged; try again"
            self._refuse(Refusal("internal", reason), command, label)
        if self.session.person is None:
            self._prompt()
            return
        self._is_prompted = False
        if self._in_at is None:
            self._in_at = self.face.clock.seconds()
            self.face.admission.is_in(self)
        if self.greeting is not None and self.greeting.has_spoken:
            self.greeting.stop()
            self.greeting = None

    def _begin(self, line: bytes) -> tuple[Coroutine[Any, Any, None] | None, str, str]:
        """Begin to carry out a line.

        @return: what remains to be awaited, if anything does; the command that a refusal names,
            empty for a message; and the label of the request.
        @raise Refusal: if the line cannot be read, or what it says is refused.
        """
        if self._speaks_json and is_request(line):
            request = decode_request(line)
            return perform(self, request), request.do, request.label
        read = self._decoded(line)
        if self._speaks_json and looks_like_request(read):
            raise Refusal(
                "bad-arguments", "something invisible stands before the { of that request"
            )
        parsed = parse(read, newcomer=self._is_newcomer)
        if isinstance(parsed, Command):
            return self._call(parsed, line), parsed.typed, ""
        if self.session.person is None:
            return self._enter(parsed.text), "", ""
        if not parsed.text:
            return None, "", ""
        if self.session.in_flight > self.face.limits.max_in_flight:
            return self._say_later(parsed), "", ""
        self._say(parsed)
        return None, "", ""

    @property
    def _is_newcomer(self) -> bool:
        """Whether a person is typing who has not logged in yet, or has done so within the last
        minute."""
        return not self._speaks_json and (
            self._in_at is None or self.face.clock.seconds() < self._in_at + _NEWCOMER
        )

    async def _say_later(self, speech: Speech) -> None:
        await self.intake.until_landed(self.face.limits.max_in_flight)
        self._say(speech)

    def _say(self, speech: Speech) -> None:
        self.chat.say(self.session, self.current, speech.text)
        if speech.unquoted and not self.session.echo:
            self._remark('the quotes around your message were removed; to keep them, type ""hi""')

    async def _call(self, called: Command, line: bytes) -> None:
        command = commands.find(called.typed, called.word)
        refuse_stranger(self.session, command)
        if command.has_secret:
            _refuse_escapes(line)
        request = grammar.request(called)
        await perform(self, request, asking(request))

    async def _enter(self, typed: str) -> None:
        """Take a line at the C{Name:} prompt.

        After a C{/login} that failed, or a name that a script sent ahead and that was refused, the
        line is not taken for a name: it is what a script meant to say once it was logged in.

        @raise Refusal: C{not-logged-in}, or as L{enter}.
        """
        if self._has_failed and typed.strip():
            raise Refusal(
                "not-logged-in",
                "you are not logged in, so nothing was sent; type /login NAME, or press Enter",
            )
        if self._has_failed:
            self._has_failed = not self.typed
        else:
            await enter(self, typed)

    def _decoded(self, line: bytes) -> str:
        if len(line) > MAX_LINE:
            raise Refusal(
                "too-long", f"a line may have at most {MAX_LINE} bytes; that one has {len(line)}"
            )
        read = text.decode(line)
        if _ESCAPE in line and "\x1b" not in read:
            self._remark(
                "arrow keys and other escape sequences are removed from what you type;"
                " twisted-chat and rlwrap can edit a line"
            )
        return read

    def slow(self, line: bytes, /) -> bool:
        """Tell the peer that its lines have to wait, if this line says something: only then does
        anybody notice. See L{Taker}."""
        try:
            if not self._posts(line):
                return False
        except Refusal:
            return False
        self.greet()
        self.notice(
            f"you're sending fast: the server takes {self.face.limits.line_rate} lines a second"
            " now; nothing is lost"
        )
        return True

    def _posts(self, line: bytes) -> bool:
        """Tell whether a line says something.

        @raise Refusal: if the line will be refused.
        """
        if self._speaks_json and is_request(line):
            request = decode_request(line)
            if request.do == "type":
                request = grammar.typed(request.fields["line"])
            return commands.BY_WORD[request.do].posts
        parsed = parse(self._decoded(line))
        return isinstance(parsed, Speech) or commands.find(parsed.typed, parsed.word).posts

    def more(self) -> None:
        """Read on."""
        self._line.more()

    async def _read(self, *, secret: bool = False) -> str:
        """Wait for the next line, and read it.

        @raise CancelledError: if no line will come.
        @raise Refusal: C{too-long} or C{bad-encoding}; C{bad-password} if a secret contains an
            escape sequence.
        """
        self.typed = self.intake.is_empty()
        line: bytes = await self.intake.next()
        self.typed &= not self.intake.has_more
        if secret:
            _refuse_escapes(line)
        return self._decoded(line)

    # What is shown

    def _prompt(self) -> None:
        if not (self._speaks_json or self.intake.has_more or self.state is State.CLOSED):
            self.outbox.write(_AGAIN if self._has_failed else _PROMPT)
            self._is_prompted = True

    def use_text(self) -> None:
        """Switch to text output; for telnet, with the end of line that it needs."""
        self.outbox.format = self._text

    def telnet_spoke(self) -> None:
        """Take note that the peer is telnet."""
        self.greet()
        if self.outbox.format is self.face.text:
            self.use_text()

    @property
    def _text(self) -> Format:
        return self.face.telnet if self._line.speaks_telnet else self.face.text

    @property
    def _newline(self) -> bytes:
        return b"\r\n" if self._line.speaks_telnet else b"\n"

    def refuse(self, refusal: Refusal) -> None:
        """Tell the session what was wrong; see L{Terminal}."""
        self._refuse(refusal, "")

    def _refuse(self, refusal: Refusal, command: str, label: str = "") -> None:
        now, shown = self.face.now(), sentence(refusal)
        self.session.tell(Refused(now, refusal.code, shown, command, label, refusal.fields))

    def notice(self, text: str) -> None:
        """Make a remark that answers no request."""
        self.session.tell(Notice(self.face.now(), text))

    def _remark(self, text: str) -> None:
        """Make a remark, at most once in a session."""
        if text not in self._remarked:
            self._remarked += (text,)
            self.notice(text)

    def talk_in(self, room: str, *, is_new: bool = False) -> None:
        """Make another room the current one; see L{Seat}."""
        self.current = room
        if not is_new or self._speaks_json:
            self.session.answer(Talking(self.face.now(), room))

    def put_out(self, room: str, /) -> None:
        """Make the lobby the current room, if the person is no longer in the current one."""
        if room == self.current:
            self.current = LOBBY
            self.session.tell(Talking(self.face.now(), LOBBY))

    def charge(self, lines: float) -> None:
        """Charge for a request as for this many more lines."""
        self.intake.charge(lines)

    def speak_json(self, on: bool) -> None:
        """Switch to JSON Lines, or back to text; see L{Seat}."""
        self._speaks_json = self.session.echo = on
        if not on:
            self.use_text()
            remark(self, "text output from now on")
            return
        self.outbox.format = self.face.json
        hello = self.face.json.hello(self.face.now(), self.give_token())
        self.outbox.write(self._newline + hello if self._is_prompted else hello)
        self._is_prompted = False

    def renew(self, credential: Credential, password: str) -> None:
        """Renew the hash of a password if it is outdated; see L{Seat}."""
        source = self.session.source
        Deferred.fromCoroutine(self.accounts.renew(credential, password, source)).addErrback(
            lambda failure: _log.failure("renewing the hash of a password", failure)
        )

    # Questions

    async def ask(self, question: str) -> str:
        """Ask a question, and wait for the next line; see L{Terminal}.

        @raise CancelledError: if no line will come.
        @raise Refusal: C{too-long}, C{bad-encoding}.
        """
        self.notice(question)
        return (await self._read()).strip(" ")

    async def ask_secret(self, prompt: str) -> str:
        """Ask for a password, hidden while it is typed; see L{Terminal}.

        @raise CancelledError: if no line will come.
        @raise Refusal: C{too-long}, C{bad-encoding}, C{bad-password}.
        """
        if self.intake.waiting:
            return await self._read(secret=True)  # the answer is here already: nobody is typing
        if self._speaks_json:
            self.notice(prompt.strip(": "))
            return await self._read(secret=True)
        # Telnet stops echoing when the server says that it will echo (RFC 857). Other programs
        # cannot be told, but their terminal can conceal what is typed. A peer whose lines end in
        # CR LF, and that was not asked for an option yet, may be telnet.
        line = self._line
        hidden_by_telnet = line.speaks_telnet or (line.ends_in_crlf and not line.telnet.asked)
        before = line.telnet.ask() + WILL_ECHO + _CLEAR_LINE if hidden_by_telnet else b""
        concealed = prompt.encode() + _CONCEAL
        self.outbox.write(before + concealed)
        end = b"\r\n" if hidden_by_telnet else b"\n"
        self.outbox.format = _AbovePrompt(self.face.text, end, concealed)
        self._is_prompted = not hidden_by_telnet
        try:
            answer = await self._read(secret=True)
            self._is_prompted = False
            return answer
        finally:
            self.use_text()
            after = WONT_ECHO + _CLEAR_LINE if hidden_by_telnet else b""
            self.outbox.write(_REVEAL + after)

    async def ask_again(self, secret: str) -> bool:
        """Ask for a new password a second time; see L{Terminal}.

        @raise CancelledError: if no line will come.
        @raise Refusal: as L{ask_secret}.
        """
        if self.typed:
            return await self.ask_secret("Again: ") == secret
        waiting = self.intake.waiting
        if waiting and waiting[0] == secret.encode():
            self.intake.skip()
        return True

    # While nothing happens

    def keep_alive(self) -> None:
        """Send a ping to a program, and a NOP to telnet; C{nc} would show either."""
        if self.outbox.is_waiting or self.state is State.CLOSED:
            return
        if self._speaks_json:
            self.session.tell(Ping(self.face.now()))
        elif self._line.speaks_telnet:
            self.outbox.write(NOP)

    @property
    def is_deaf(self) -> bool:
        """Whether the transport is not read from."""
        return self._line.is_deaf

    def look(self) -> None:
        """Find out whether the peer has ended the connection, without reading."""
        self._line.look()

    def probe(self) -> None:
        """Write something to a peer that is not read from: there is no other way to find out
        whether it is still there.

        A peer that has sent a FIN may still read the answers, as C{nc -N} does. A peer that has
        sent none may be gone: its kernel cannot send the FIN while our receive buffer is full.
        """
        if self._speaks_json or self._line.speaks_telnet:
            self.keep_alive()
        elif self.state is not State.CLOSED and not self.outbox.is_waiting:
            ended = "your input has ended; the remaining lines are still being read"
            self.notice(
                ended
                if self._line.is_half_closed
                else "still reading what you sent; nothing is lost"
            )

    # The end

    def finish(self) -> None:
        """Say bye, and before that what was wrong if a line was too long."""
        self.greet()
        if self._line.is_endless:
            most = self._line.MAX_LENGTH
            self.refuse(Refusal("too-long", f"a line of more than {most} bytes ends the session"))
        self.hang_up()

    def hang_up(self, farewell: str = "bye") -> None:
        """Say bye and end the connection. A prompt that nobody has answered gets a line of its
        own."""
        self._is_prompted = self._is_prompted and self.intake.is_waited_for
        super().hang_up(farewell)

    def say_bye(self, farewell: str) -> None:
        """Tell the peer why the session ends."""
        if self._is_prompted:
            self.outbox.write(self._newline)
        self.session.tell(Bye(self.face.now(), farewell))

    def send_away(self, farewell: str) -> None:
        """Hang up on a peer that has not logged in. If it does not read the farewell, it is cut
        off; see L{Arrival}."""
        self.hang_up(farewell)
        self._line.cut_soon()

    def close(self) -> None:
        """End the session."""
        self.stop_greeting()
        super().close()
        self._line.closed()

    def disconnect(self) -> None:
        """End the transport once all is written."""
        self.outbox.close()

    def abort(self) -> None:
        """End the transport at once."""
        self._line.transport.abortConnection()

    def pause(self) -> None:
        """Read nothing more."""
        self._line.pauseProducing()


class _AbovePrompt(LineFormat):
    """A format while a password is typed: events are shown above the prompt."""

    def __init__(self, format: Format, end: bytes, prompt: bytes) -> None:
        """@param end: the end of a line: with CR for a telnet that does not echo."""
        self._format = format
        self._end = end
        self._prompt = prompt

    def encode(self, events: tuple[Event, ...], /) -> bytes:
        """Encode the events, and show the prompt again."""
        lines = self._format.encode(events).replace(b"\n", self._end)
        return _REVEAL + _CLEAR_LINE + lines + self._prompt


def _refuse_escapes(line: bytes) -> None:
    """Refuse a password in which an escape sequence, such as an arrow key, was typed: without it
    the password would not be the one that was meant.

    @raise Refusal: C{bad-password}.
    """
    if _ESCAPE in line:
        raise Refusal(
            "bad-password",
            "that contains an arrow key or another escape sequence; type the password again",
        )
