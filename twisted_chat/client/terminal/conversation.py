"""A person at a terminal: what they type is said and done, and what happens is shown."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from functools import partial
from typing import Any, Protocol

from twisted.internet import defer
from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_chat.protocol.grammar import Speech, is_secret, named, parse
from twisted_chat.protocol.jsonlines import safe

from .. import lines, show
from ..connection import LOBBY, Client, Event, GaveUp, Identity, Refused, Where
from ..identity import is_for_now
from ..pieces import pieces
from .status import Status

_IN_TIME = 5.0
"""Seconds in which what was said has to get its receipt when the person leaves."""

_LEAVE = frozenset({"quit", "EX"})

_ASKED: Sequence[tuple[str, dict[str, str]]] = (
    ("users", {"room": LOBBY}),
    ("rooms", {}),
    ("help", {}),
)
"""Asked for after each login, for the status line and for Tab."""

_log = Logger()


class Left(Exception):
    """The person wants to leave."""


@dataclass(frozen=True, slots=True)
class Paste:
    """Several lines that were pasted at once.

    @ivar draft: what had been typed before; it is in the lines too.
    """

    lines: list[str]
    draft: str


class Screen(Protocol):
    """What a conversation is shown on, and typed at.

    @ivar dates: messages of another day are shown with their date, not below a line for the day.
    """

    dates: bool

    def show(self, line: show.Line) -> None:
        """Show a line below all that was shown before."""

    def alert(self) -> None:
        """Ring, for a person who is not looking."""

    def refresh(self) -> None:
        """Draw the status again."""

    async def line(self) -> str | Paste:
        """Wait for the next line, or paste.

        @raise Left: if the person leaves instead.
        """

    async def ask(self, question: str, *, secret: bool = False) -> str:
        """Ask a question.

        @param secret: the answer is not shown.
        @return: the answer; empty if the question is cancelled.
        @raise Left: if the person leaves instead.
        """

    def put_back(self, text: str) -> None:
        """Put a text back, to be edited."""

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
        status: Status,
        *,
        asks: bool,
        reactor: Any,
    ) -> None:
        """
        @param asks: whether a person without a password is asked for one.
        """
        self._where = where
        self._identity = identity
        self._rooms = rooms
        self._screen = screen
        self._status = status
        self._asks = asks
        self._reactor = reactor
        self._sending: dict[Deferred[Any], str] = {}  # what has no receipt or answer yet
        self._day = _today()
        self._over: Deferred[None] = Deferred()
        self._leaving = False  # what has no receipt by now is counted
        self._unsent = 0  # lines that were given up
        status.unsent = self._sending.values()

    _client: Client

    async def run(self) -> int:
        """Log in, and stay until the person leaves.

        @return: how many lines were not sent.
        @raise GaveUp: if the connection cannot be made, or not be made again.
        """
        # Before anything else is drawn: a terminal whose whole screen is redrawn may keep the old
        # one in its scrollback.
        self._notice(f"connecting to {safe(str(self._where))}; Ctrl-D leaves")
        try:
            self._client = await self._come_in()
        except Left:
            return 0
        following = self._start(self._follow())
        typing = self._start(self._work())
        try:
            await self._over
            await self._sent()
        except GaveUp as error:
            if not self._unsent:
                raise
            unsent = "1 line was" if self._unsent == 1 else f"{self._unsent} lines were"
            raise GaveUp(f"{error}; {unsent} not sent", error.code) from None
        finally:
            typing.cancel()
            self._leaving = True
            left = len(self._sending)
            await self._client.close()
            await following
        return left

    def leave(self) -> None:
        """End it, as if the person had left."""
        if not self._over.called:
            self._over.callback(None)

    # Login

    async def _come_in(self) -> Client:
        """Ask for a name and a password until the login succeeds.

        @raise Left: if the person leaves instead.
        @raise GaveUp: if there is no server.
        """
        who = self._identity
        if not who.name and self._asks:
            who = await self._ask_name()
        while True:
            try:
                client = Client(self._where, who, self._rooms, marks=True, reactor=self._reactor)
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
        return Identity((await self._screen.ask("Name (Enter to join as a guest)")).strip())

    async def _ask_again(self, who: Identity, error: GaveUp | Refused) -> Identity:
        """Ask who to be, after a login was refused."""
        code = error.code
        known = code in ("name-registered", "wrong-password") and bool(who.name)
        if code != "name-registered" or who.password:
            self._complain(str(error))
        if code == "forbidden" and who.register:
            return replace(who, register=False)
        if known or (code in ("forbidden", "bad-password") and who.name):
            new = code == "forbidden" or who.register
            hint = " (a new one, if the name is new)" if new else ""
            password = await self._screen.ask(f"Password for {who.name}{hint}", secret=True)
            if password:
                return Identity(who.name, password, new)
        elif is_for_now(code):
            await self._screen.ask("Press Enter to try again")
            return who
        return await self._ask_name()

    async def _offer_registration(self, name: str) -> None:
        self._notice(
            f'"{name}" is new. Choose a password to register, or press Enter to be a guest.'
        )
        while password := await self._screen.ask("New password", secret=True):
            if password.startswith("/"):
                self._complain("that looks like a command, not a password")
            elif password != await self._screen.ask("Again", secret=True):
                self._complain("the passwords don't match; choose one again")
            elif await self._done(self._register("register", self._client.name, password)):
                return

    def _register(self, word: str, name: str, password: str) -> Awaitable[None]:
        return self._client.request(word, name=name, password=password)

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
        self._status.model.take(event)
        talked_in = self._status.room
        self._talk_in()
        act = _ACTS.get(event["event"])
        if act is not None:
            act(self)
        self._screen.refresh()
        if not event.get("quiet"):
            self._show(event)
        if event["event"] == "left" and self._status.room != talked_in:
            self._tell_room()

    def _show(self, event: Event) -> None:
        reader = self._reader()
        shown = show.lines(event, reader)
        day = show.day_of(event) if shown and reader.today is None else None
        if day is not None and day != self._day:
            self._day = day
            self._screen.show(show.day(day))
        for line in shown:
            self._screen.show(line)
        if event.get("new") and show.mentions(event, self._client.name):
            self._screen.alert()

    def _reader(self) -> show.Reader:
        today = _today() if self._screen.dates else None
        return show.Reader(self._client.name, self._client.room, None, today)

    def _connected(self) -> None:
        self._status.link = "connected"
        for do, fields in _ASKED:
            self._start(self._ask_quietly(do, **fields))

    def _disconnected(self) -> None:
        self._status.link = "not connected"

    def _skipped(self) -> None:
        """Ask again who is where: some who came and left were not told."""
        for room in sorted(self._status.model.stale & {LOBBY, self._client.room}):
            self._start(self._ask_quietly("users", room=room))

    async def _ask_quietly(self, do: str, **fields: str) -> None:
        try:
            await self._client.request(do, quiet=True, **fields)
        except (Refused, GaveUp):
            pass  # it is asked for again with the next connection

    def _talk_in(self) -> None:
        """Look at the room in which we talk."""
        if self._client.room != self._status.room or self._status.model.looked_at is None:
            self._status.talk_in(self._client.room)
            self._screen.refresh()
            if self._client.room != LOBBY and self._client.room in self._status.model.stale:
                self._start(self._ask_quietly("users", room=self._client.room))

    def _has_read(self) -> None:
        """The person is there, so they have read what is on the screen."""
        for place in self._status.model:
            place.read_up_to(place.newest)
            self._client.mark(place.name, place.newest)

    # What is typed

    async def _work(self) -> None:
        try:
            while True:
                typed = await self._screen.line()
                self._has_read()
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
        asked = lines.typed(parsed)
        if asked.do in _BARE:
            await _BARE[asked.do](self)
        elif asked.do in _LEAVE:
            raise Left
        elif asked.do in ("login", "register") and "password" not in asked.fields:
            await self._enter(asked.do, asked.fields["name"])
        elif asked.do == "passwd" and "new" not in asked.fields:
            await self._new_password(asked.fields)
        elif is_secret(line):
            await self._done(self._client.type(line))
        else:
            sending = self._send(self._client.type(line), line)
            if asked.do in ("join", "leave", "to"):
                await _copy(sending)  # what is typed next goes to the new room
        if asked.do in ("join", "to"):
            self._tell_room()
        self._talk_in()

    def _tell_room(self) -> None:
        self._notice(f"now talking in {show.place(self._client.room)}")

    async def _enter(self, word: str, name: str) -> None:
        password = await self._screen.ask(f"Password for {name}", secret=True)
        if password:
            await self._done(self._register(word, name, password))

    async def _new_password(self, given: Mapping[str, Any]) -> None:
        old = given.get("old") or await self._screen.ask("Old password", secret=True)
        new = await self._screen.ask("New password", secret=True) if old else ""
        if not new:
            return
        if new != await self._screen.ask("Again", secret=True):
            self._complain("the passwords don't match; choose one again")
            return
        await self._done(self._client.request("passwd", **{**given, "old": old, "new": new}))

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
        message = await self._screen.ask("Message to everyone, not private (Enter to cancel)")
        if message:
            self._send(self._say(message, lambda text: self._client.say(text, LOBBY)), message)

    async def _ask_direct(self) -> None:
        name = await self._screen.ask("Private message to (Enter to cancel)")
        if not name:
            return
        message = await self._screen.ask(f"Message to {name} (Enter to cancel)")
        if message:
            say = partial(self._client.dm, named(name))
            self._send(self._say(message, say), message)

    async def _say(self, answer: str, say: Callable[[str], Awaitable[object]]) -> None:
        """Say what was typed in answer to a question, unless it is a command."""
        await say(lines.message(answer))

    async def _done(self, doing: Awaitable[object]) -> bool:
        """Wait until something is done, or say why it is not.

        @return: whether it was done.
        """
        try:
            await doing
        except (Refused, GaveUp) as error:
            self._complain(str(error))
            return False
        return True

    def _send(self, saying: Any, line: str) -> "Deferred[None]":
        """Have something said or done; the next line does not wait for it."""

        def sent(result: Any) -> None:
            self._sending.pop(sending, None)
            if self._leaving:
                return
            if isinstance(result, Failure) and result.check(GaveUp):
                self._unsent += 1  # why is told once, in the end
            elif isinstance(result, Failure) and result.check(Refused):
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
        """Wait for the receipts of what was said, for L{_IN_TIME} at most."""
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


_ACTS: Mapping[str, Callable[[Conversation], None]] = {
    "connected": Conversation._connected,
    "disconnected": Conversation._disconnected,
    "skipped": Conversation._skipped,
}

_BARE: Mapping[str, Callable[[Conversation], Awaitable[None]]] = {
    "PM": Conversation._ask_message,
    "DM": Conversation._ask_direct,
}
"""Words that alone on a line ask for a message."""


def _today() -> date:
    return datetime.now().astimezone().date()


def _copy(original: "Deferred[Any]") -> "Deferred[None]":
    """Make a Deferred that fires when another one does."""
    copy: Deferred[None] = Deferred()

    def fire(result: Any) -> Any:
        copy.callback(None)
        return result

    original.addBoth(fire)
    return copy
