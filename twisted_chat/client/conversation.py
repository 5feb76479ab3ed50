"""A conversation: what is typed is said and done, what happens is shown."""

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from functools import partial
from typing import Any, Protocol

from twisted.internet import defer
from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_chat.protocol.grammar import Speech, arguments, is_secret, named, parse

from . import lines, show
from .connection import LOBBY, Client, Event, GaveUp, Identity, Refused, Where
from .pipe import pieces
from .state import State

_IN_TIME = 5.0
"""Seconds in which what was said has to get its receipt when somebody leaves."""

_LEAVE = frozenset({"quit", "logout", "exit", "bye", "EX"})
_MOVES = frozenset({"join", "leave", "part"})

# What a server tells whoever comes in, and has told us already when we come back.
_NOT_AGAIN = frozenset(
    {"welcome", "motd", "talking", "notice", "topic", "users", "crowd", "history", "omitted"}
)

_log = Logger()


class Left(Exception):
    """Somebody wants to leave."""


@dataclass(frozen=True, slots=True)
class Paste:
    """Several lines that were pasted at once.

    @ivar draft: what had been typed before; it is in the lines too.
    """

    lines: list[str]
    draft: str


class Screen(Protocol):
    """What a conversation is shown on, and typed at.

    @ivar dates: what is of another day is shown with its date, and not below a line for the day.
    """

    dates: bool

    def show(self, line: show.Line) -> None:
        """Show a line below all that was shown before."""

    def alert(self) -> None:
        """Call whoever is not looking."""

    def refresh(self) -> None:
        """The state is another one."""

    async def line(self) -> str | Paste:
        """What is typed next.

        @raise Left: if somebody leaves instead.
        """

    async def ask(self, question: str, *, secret: bool = False) -> str:
        """Put a question; gives back what is typed, which is nothing when that is cancelled.

        @param secret: it is not to be seen.
        @raise Left: if somebody leaves instead.
        """

    def put_back(self, text: str) -> None:
        """Have this typed again."""

    async def close(self) -> None:
        """Leave the terminal as it was."""


class Conversation:
    """One person at a screen, and a server."""

    def __init__(
        self,
        where: Where,
        identity: Identity,
        rooms: tuple[str, ...],
        screen: Screen,
        state: State,
        *,
        asks: bool,
        reactor: Any,
    ) -> None:
        """
        @param asks: whether somebody without a password is asked for one.
        """
        self._where = where
        self._identity = identity
        self._rooms = rooms
        self._screen = screen
        self._state = state
        self._asks = asks
        self._reactor = reactor
        self._sending: dict[Deferred[Any], str] = {}  # what is still to be sent or answered
        # Answers to what we asked by ourselves, each with the room that it is about.
        self._expected: Counter[tuple[str, object]] = Counter()
        self._coming = True  # in, for the first time or again
        self._again = False
        self._day = _today()
        self._over: Deferred[None] = Deferred()
        self._leaving = False  # what has no receipt by now is counted
        state.unsent = self._sending.values()

    _client: Client

    async def run(self) -> int:
        """Come in, and stay until somebody leaves; gives back how many lines were not sent.

        @raise GaveUp: if there is no way in, or no way back.
        """
        # Before anything else is drawn: a terminal that has its whole screen redrawn may keep what
        # was there among what has been scrolled away.
        self._notice(f"joining {lines.safe(str(self._where))}; Ctrl-D leaves")
        try:
            self._client = await self._come_in()
        except Left:
            return 0
        following = self._start(self._follow())
        typing = self._start(self._work())
        try:
            await self._over
            await self._sent()
        finally:
            typing.cancel()
            self._leaving = True
            unsent = len(self._sending)
            await self._client.close()
            await following
        return unsent

    def leave(self) -> None:
        """End it, as if somebody had left."""
        if not self._over.called:
            self._over.callback(None)

    # Coming in

    async def _come_in(self) -> Client:
        """
        @raise Left: if somebody leaves instead.
        @raise GaveUp: if there is no server.
        """
        who = self._identity
        if not who.name and self._asks:
            who = await self._ask_name()
        while True:
            try:
                client = Client(self._where, who, self._rooms, reactor=self._reactor)
                await client.start()
            except (GaveUp, Refused) as error:
                if not error.code:
                    raise
                who = await self._ask_again(who, error)
            else:
                break
        if self._asks and who.name and not who.password:
            self._reactor.callLater(0, self._start, self._offer_registration(who.name))
        return client

    async def _ask_name(self) -> Identity:
        return Identity((await self._screen.ask("name (just Enter: a guest)")).strip())

    async def _ask_again(self, who: Identity, error: GaveUp | Refused) -> Identity:
        """Who to be, after that was refused."""
        code = error.code
        known = code in ("name-registered", "wrong-password") and bool(who.name)
        if code != "name-registered" or who.password:
            self._complain(str(error))
        if code == "forbidden" and who.register:
            return replace(who, register=False)
        if known or (code in ("forbidden", "bad-password") and who.name):
            new = code == "forbidden" or who.register
            hint = ", a new one if the name is" if new else ""
            password = await self._screen.ask(f"password of {who.name}{hint}", secret=True)
            if password:
                return Identity(who.name, password, new)
        elif code in ("busy", "throttled", "closed", "full", "internal"):
            await self._screen.ask("Enter tries again")
            return who
        return await self._ask_name()

    async def _offer_registration(self, name: str) -> None:
        self._notice(f'"{name}" is new here. A password registers it; just Enter: stay a guest')
        while password := await self._screen.ask("new password", secret=True):
            if password.startswith("/"):
                self._complain("that looks like a command, not a password")
            elif password != await self._screen.ask("the same again", secret=True):
                self._complain("those were two different passwords")
            elif await self._done(self._register("register", self._client.name, password)):
                return

    async def _register(self, word: str, name: str, password: str) -> None:
        await self._client.command(f"/{word} {name} {lines.word(password)}")

    # What happens

    async def _follow(self) -> None:
        try:
            async for event in self._client:
                self._take(event)
        except GaveUp as error:
            if not self._over.called:
                self._over.errback(error)
        else:
            self.leave()

    def _take(self, event: Event) -> None:
        kind = event["event"]
        new = not event.get("replay") or (self._coming and self._again)
        self._state.name = self._client.name
        self._state.take(event, new=new)
        self._talk_in()
        if kind == "connected":
            self._coming, self._again = False, True
            self._state.link = "connected"
            self._ask_by_ourselves()
        elif kind == "disconnected":
            self._coming = True
            self._expected.clear()
            self._state.link = "not connected"
        self._screen.refresh()
        answer = kind, event.get("room")
        if self._expected[answer]:
            self._expected[answer] -= 1
            return
        if self._coming and self._again and self._is_old_news(event):
            return
        reader = self._reader()
        shown = show.lines(event, reader)
        day = show.day_of(event) if shown and reader.today is None else None
        if day is not None and day != self._day:
            self._day = day
            self._screen.show(show.day(day))
        for line in shown:
            self._screen.show(line)
        if new and show.mentions(event, self._client.name):
            self._screen.alert()

    def _is_old_news(self, event: Event) -> bool:
        kind = event["event"]
        return kind in _NOT_AGAIN or (kind == "joined" and event.get("name") == self._client.name)

    def _reader(self) -> show.Reader:
        today = _today() if self._screen.dates else None
        return show.Reader(self._client.name, self._client.room, None, today)

    def _ask_by_ourselves(self) -> None:
        for line, kind, room in (
            (f"/users {LOBBY}", "users", LOBBY),
            ("/rooms", "rooms", None),
            ("/help", "help", None),
        ):
            self._expected[kind, room] += 1
            self._start(self._ask_quietly(line))

    async def _ask_quietly(self, line: str) -> None:
        try:
            await self._client.command(line)
        except (Refused, GaveUp):
            pass  # it is asked again with the next connection

    def _talk_in(self) -> None:
        """Look at the room in which we talk."""
        if self._client.room != self._state.room:
            self._state.talk_in(self._client.room)
            self._screen.refresh()

    # What is typed

    async def _work(self) -> None:
        try:
            while True:
                typed = await self._screen.line()
                if isinstance(typed, Paste):
                    await self._paste(typed)
                else:
                    await self._typed(typed)
        except Left:
            self.leave()

    async def _typed(self, line: str) -> None:
        parsed = parse(line)
        if isinstance(parsed, Speech):
            self._send(self._client.type(line), line)
            return
        word, rest = parsed.word, parsed.rest
        if word in _BARE:
            await _BARE[word](self)
        elif word in _LEAVE and not rest:
            raise Left
        elif word in ("login", "register") and (name := arguments("NAME", rest)):
            await self._enter(word, *name)
        elif word == "passwd" and (given := arguments("[--keep] [OLD]", rest)) is not None:
            await self._new_password(*given[:1])
        elif is_secret(line):
            await self._done(self._client.type(line))
        else:
            sending = self._send(self._client.type(line), line)
            if word in _MOVES:
                await _copy(sending)  # what is typed next goes to the new room
        if word == "join" and rest:
            self._notice(f"you talk in #{self._client.room}")
        self._talk_in()

    async def _enter(self, word: str, name: str) -> None:
        password = await self._screen.ask(f"password of {name}", secret=True)
        if password:
            await self._done(self._register(word, name, password))

    async def _new_password(self, keep: str = "") -> None:
        old = await self._screen.ask("old password", secret=True)
        new = await self._screen.ask("new password", secret=True) if old else ""
        if not new:
            return
        if new != await self._screen.ask("the same again", secret=True):
            self._complain("those were two different passwords")
            return
        given = f"{keep} {lines.word(old)} {lines.word(new)}".lstrip()
        await self._done(self._client.command(f"/passwd {given}"))

    async def _paste(self, paste: Paste) -> None:
        told = any(map(lines.would_tell_password, paste.lines))
        hint = " One looks like a command with a password." if told else ""
        answer = await self._screen.ask(f"send {len(paste.lines)} lines?{hint} (y/n)")
        if answer.strip().lower() not in ("y", "yes"):
            self._screen.put_back(paste.draft)
            return
        for line in paste.lines:
            for piece in pieces(line):
                self._send(self._client.say(piece), piece)

    async def _ask_message(self) -> None:
        message = await self._screen.ask("your message to everyone? (Enter: none)")
        if message:
            self._send(self._say(message, lambda text: self._client.say(text, LOBBY)), message)

    async def _ask_direct(self) -> None:
        name = await self._screen.ask("a private message to whom? (Enter: nobody)")
        if not name:
            return
        message = await self._screen.ask(f"your message to {name}? (Enter: none)")
        if message:
            say = partial(self._client.dm, named(name))
            self._send(self._say(message, say), message)

    async def _say(self, answer: str, say: Callable[[str], Awaitable[object]]) -> None:
        """Say what was typed in answer to a question, unless it is a command."""
        await say(lines.message(answer))

    async def _done(self, doing: Awaitable[object]) -> bool:
        """Wait until something is done; gives back whether it was."""
        try:
            await doing
        except (Refused, GaveUp) as error:
            self._complain(str(error))
            return False
        return True

    def _send(self, saying: Any, line: str) -> "Deferred[None]":
        """Have something said or done, without waiting for that before the next line."""

        def sent(result: Any) -> None:
            self._sending.pop(sending, None)
            if self._leaving:
                return
            if isinstance(result, Failure) and result.check(Refused, GaveUp):
                quoted = line if len(line) <= 40 else f"{line[:40]}…"
                lost = getattr(result.value, "code", "") == "lost"
                self._complain(f'"{quoted}": {result.value}' if lost else str(result.value))
            elif isinstance(result, Failure):
                _log.failure("saying something", result)
            self._screen.refresh()

        sending: Deferred[Any] = Deferred.fromCoroutine(saying)
        self._sending[sending] = line
        self._screen.refresh()
        return sending.addBoth(sent)

    async def _sent(self) -> None:
        """Wait for the receipts of what was said, but not for ever."""
        if not self._sending or not self._client.is_connected:
            return
        receipts = DeferredList([_copy(each) for each in self._sending], consumeErrors=True)
        try:
            await receipts.addTimeout(_IN_TIME, self._reactor)
        except defer.TimeoutError:
            pass

    # Small things

    def _start(self, doing: Any) -> "Deferred[None]":
        return Deferred.fromCoroutine(doing).addErrback(self._failed)

    def _failed(self, failure: Failure) -> None:
        if failure.check(Left):
            self.leave()
        elif not failure.check(CancelledError):
            _log.failure("the conversation", failure)

    def _notice(self, text: str) -> None:
        self._screen.show([("notice", f"* {text}")])

    def _complain(self, text: str) -> None:
        self._screen.show([("error", f"! {text}")])


_BARE: Mapping[str, Callable[[Conversation], Awaitable[None]]] = {
    "PM": Conversation._ask_message,
    "DM": Conversation._ask_direct,
}
"""Words that alone on a line ask for a message."""


def _today() -> date:
    return datetime.now().astimezone().date()


def _copy(original: "Deferred[Any]") -> "Deferred[None]":
    """Fires when the other one does."""
    copy: Deferred[None] = Deferred()

    def fire(result: Any) -> Any:
        copy.callback(None)
        return result

    original.addBoth(fire)
    return copy
