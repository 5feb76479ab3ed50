"""The client in a pipe: lines in are posted, events out are followed."""

import json
import os
import re
import stat
import sys
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.stdio import StandardIO
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_chat.core.text import without_escapes
from twisted_chat.protocol.grammar import Command, Speech, is_slip, parse

from . import lines, show
from .connection import LOBBY, Client, Event, GaveUp, Refused

PIECE = 4000
"""Bytes of text in one message: what fits into a line with all that stands before it."""

_LONG = 64 * 1024
"""Bytes of a line that are posted before its end has come."""

_MOST = 200
"""Messages without a receipt before no more input is read."""

# What is no text: the beginning of an escape sequence that has no end, and control characters.
_NO_TEXT = re.compile(r"\x1b\[?[0-?]*|[\x00-\x08\x0a-\x1f\x7f-\x9f\ufffd]")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")
_REPLACED = "\N{REPLACEMENT CHARACTER}"

_FOLLOWED = frozenset({"message", "dm", "joined", "left", "renamed", "topic", "gap"})
"""What is shown as text; as JSON everything is."""

_Do = Callable[[], Coroutine[Any, Any, object]]

_standard_io: Any = StandardIO  # which has other parameters on Windows

_log = Logger()


@dataclass(frozen=True, slots=True)
class Plan:
    """What a pipe is for.

    @ivar rooms: to follow; the first is where lines are posted. None: the lobby.
    @ivar posts: the standard input is posted.
    @ivar follows: what happens is written to the standard output.
    @ivar json: as JSON Lines.
    @ivar to: the person who is told, in private, what would be posted to a room.
    @ivar raw: every line is text, also one that looks like a command. Else that is refused.
    @ivar commands: lines are what a person would type: commands are carried out.
    """

    rooms: tuple[str, ...]
    posts: bool
    follows: bool
    json: bool
    to: str = ""
    raw: bool = False
    commands: bool = False


def is_input(descriptor: int) -> bool:
    """Is there something to be posted: a pipe, a file or a socket? A terminal is none, and
    C{/dev/null}, which is what programs without an input are given, has nothing."""
    try:
        return not stat.S_ISCHR(os.fstat(descriptor).st_mode)
    except OSError:
        return False


@implementer(IHalfCloseableProtocol, IPushProducer)
class Pipe(Protocol):
    """The standard input and output of a client."""

    transport: Any

    def __init__(self, client: Client, plan: Plan) -> None:
        self._client = client
        self._plan = plan
        self._room = plan.rooms[0] if plan.rooms else LOBBY
        self._buffer = b""
        self._number = 0
        self._begun = 0  # the line of which the beginning was looked at last
        self._drops_rest = False  # of that line
        self._todo: deque[tuple[int, _Do, bool]] = deque()  # by line; is it a command?
        self._works = False
        self._answered: Deferred[None] | None = None
        self._waiting = 0
        self._paused = False
        self._input_ended = not plan.posts
        self._said_replaced = False
        self._full: Deferred[None] | None = None
        self._gone: Deferred[None] | None = None
        self._broken = False
        self._finishing = self._interrupted = False
        self._left = 0
        self.unposted = 0

    async def run(self) -> int:
        """Post and follow until there is nothing more to do; gives back the exit code."""
        await self._client.start()
        nowhere = os.open(os.devnull, os.O_RDWR)
        self._client.room = self._room
        stdin = sys.stdin.fileno() if self._plan.posts else nowhere
        stdout = sys.stdout.fileno() if self._plan.follows else nowhere
        _standard_io(self, stdin=stdin, stdout=stdout)
        try:
            async for event in self._client:
                await self._show(event)
        except GaveUp as error:
            complain(str(error))
            self.unposted = max(self.unposted, 1)
        await self._flush()
        return self.report()

    def interrupt(self) -> "Deferred[None] | None":
        """A signal is to end us: say goodbye to the server, and what was not posted."""
        if self._finishing:
            return None
        self._finishing = self._interrupted = True
        self._left = self._waiting
        return Deferred.fromCoroutine(self._client.close())

    def report(self) -> int:
        """Say what was not posted; gives back the exit code."""
        if self._left:
            complain(f"{_count(self._left)} had no receipt yet and may not have been posted")
        unread = self._interrupted and not self._input_ended
        return 1 if self.unposted or self._left or unread else 0

    # In

    def connectionMade(self) -> None:
        self.transport.registerProducer(self, True)

    def dataReceived(self, data: bytes) -> None:
        if not self._plan.posts:
            return
        *complete, rest = (self._buffer + data).split(b"\n")
        self._buffer = rest
        for line in complete:
            self._number += 1
            self._post(line)
        while len(self._buffer) > _LONG:
            piece, self._buffer = _broken_off(self._buffer, _LONG // 2)
            self._post(piece, of=self._number + 1)
        self._regulate()

    def readConnectionLost(self) -> None:
        """The input has ended; its last line needs no newline."""
        if self._buffer:
            self._number += 1
            self._post(self._buffer)
            self._buffer = b""
        if self._plan.posts:
            self._input_ended = True
            self._finish()

    def _post(self, line: bytes, of: int = 0) -> None:
        """Post a line, or a piece of one that is too long to be kept."""
        number = of or self._number
        read = without_escapes(line.removesuffix(b"\r").decode("utf-8", "replace"))
        if number == self._begun:
            if self._drops_rest:
                return
            text = self._readable(read, number)
        else:
            self._begun = number
            hidden = Speech("") if self._plan.raw else parse(_NO_TEXT.sub("", read))
            if isinstance(hidden, Command) and isinstance(parse(read), Speech):
                self._drops_rest = True
                self._refuse(number, hidden.typed)
                return
            text = self._readable(read, number)
            parsed = Speech(text) if self._plan.raw else parse(text)
            self._drops_rest = isinstance(parsed, Command)
            if isinstance(parsed, Command):
                self._take(number, text, parsed.typed)
                return
            if self._plan.commands and is_slip(text):
                self._drops_rest = True
                self._do(number, partial(self._client.type, text))  # which refuses it
                return
            if self._plan.commands:
                text = parsed.text
        for piece in pieces(text):
            self._do(number, partial(self._say, piece))

    def _say(self, text: str) -> Coroutine[Any, Any, object]:
        to = self._plan.to
        # A command may have gone to another room.
        room = "" if self._plan.commands else self._room
        return self._client.dm(to, text) if to else self._client.say(text, room)

    def _take(self, number: int, line: str, typed: str) -> None:
        """Carry out a line that is a command, or refuse it."""
        if self._plan.commands:
            self._do(number, partial(self._client.type, line), is_command=True)
            return
        self._refuse(number, typed)

    def _refuse(self, number: int, typed: str) -> None:
        self.unposted += 1
        complain(
            f"line {number} looks like the command {typed[:40]}, so it was not posted;"
            " --raw posts such lines as text, --commands carries them out"
        )

    def _do(self, number: int, do: "_Do", *, is_command: bool = False) -> None:
        self._waiting += 1
        self._todo.append((number, do, is_command))
        if not self._works:
            self._works = True
            Deferred.fromCoroutine(self._work()).addErrback(
                lambda failure: _log.failure("working off the input", failure)
            )

    async def _work(self) -> None:
        """Post, and carry out commands. A command waits until all before it is answered, and all
        behind it waits for its own answer."""
        try:
            while self._todo:
                if self._todo[0][2]:
                    await self._until_answered()
                number, do, is_command = self._todo.popleft()
                Deferred.fromCoroutine(do()).addCallbacks(
                    self._posted, self._refused, errbackArgs=(number,)
                ).addErrback(lambda failure: _log.failure("posting a line", failure))
                if is_command:
                    await self._until_answered()
        finally:
            self._works = False

    async def _until_answered(self) -> None:
        while self._waiting > len(self._todo):
            self._answered = Deferred()
            await self._answered

    def _take_answer(self) -> None:
        self._waiting -= 1
        if self._answered is not None and self._waiting <= len(self._todo):
            answered, self._answered = self._answered, None
            answered.callback(None)

    def _readable(self, read: str, number: int) -> str:
        """A line without what a server would not take."""
        cleaned = _CONTROL.sub(_REPLACED, read.replace("\r", " "))
        if _REPLACED in cleaned and not self._said_replaced:
            self._said_replaced = True
            complain(
                f"line {number} has bytes that are not text in UTF-8;"
                f" there and from here on each is posted as {_REPLACED}"
            )
        return cleaned

    def _posted(self, _: object) -> None:
        self._take_answer()
        self._regulate()
        self._finish()

    def _refused(self, failure: Failure, number: int) -> None:
        failure.trap(Refused, GaveUp)
        if not self._finishing:  # else they are counted
            self.unposted += 1
            complain(f"line {number} was not posted: {failure.value}")
        self._take_answer()
        self._regulate()
        self._finish()

    def _regulate(self) -> None:
        """Read no more while too much has no receipt yet."""
        pause = self._waiting >= (_MOST // 2 if self._paused else _MOST)
        if pause != self._paused and not self._input_ended:
            self._paused = pause
            if pause:
                self.transport.pauseProducing()
            else:
                self.transport.resumeProducing()

    def _finish(self) -> None:
        """End the session when everything that came in has its answer."""
        done = self._broken or (self._plan.posts and self._input_ended and not self._waiting)
        if done and not self._finishing:
            self._finishing = True
            self._left = self._waiting
            Deferred.fromCoroutine(self._client.close()).addErrback(
                lambda failure: _log.failure("closing", failure)
            )

    # Out

    async def _show(self, event: Event) -> None:
        kind = event["event"]
        if kind == "disconnected":
            complain(f"{event['text']}; trying again")
        elif kind == "error" and not self._plan.json:
            complain(event["text"])
        if not self._plan.follows or self._broken or not self._is_followed(event):
            return
        if self._plan.json:
            shown = [json.dumps(event, ensure_ascii=False, separators=(",", ":"))]
        elif kind in _FOLLOWED:
            reader = show.Reader(self._client.name, today=datetime.now().astimezone().date())
            shown = [show.plain(line) for line in show.lines(event, reader)]
        else:
            shown = []
        self.transport.write("".join(f"{line}\n" for line in shown).encode())
        if self._full is not None:
            await self._full

    def _is_followed(self, event: Event) -> bool:
        """Who names rooms is not told of the lobby, in which everyone is."""
        room = event.get("room")
        return not (self._plan.rooms and room == LOBBY and LOBBY not in self._plan.rooms)

    async def _flush(self) -> None:
        """Wait until all that was written is out."""
        if self._broken:
            return
        self._gone = Deferred()
        self.transport.unregisterProducer()
        self.transport.loseConnection()
        await self._gone

    def pauseProducing(self) -> None:
        """Who reads the output is slow."""
        if self._full is None:
            self._full = Deferred()

    def resumeProducing(self) -> None:
        full, self._full = self._full, None
        if full is not None:
            full.callback(None)

    def stopProducing(self) -> None:
        self.resumeProducing()

    def writeConnectionLost(self) -> None:
        """Nobody reads the output any more: there is no use in going on, and no fault."""
        self._over()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._over()

    def _over(self) -> None:
        self._broken = self._plan.follows or self._broken
        self.resumeProducing()
        gone, self._gone = self._gone, None
        if gone is not None:
            gone.callback(None)
        elif self._plan.follows:
            self._finish()


def pieces(said: str) -> Iterator[str]:
    """What is to be said, in messages that each fit into a line; nothing for nothing."""
    try:
        rest = lines.sayable(said).encode()
    except Refused:
        return
    while rest:
        piece, rest = (rest, b"") if len(rest) <= PIECE else _broken_off(rest, PIECE)
        if not piece.isspace():
            yield piece.decode()


def _broken_off(data: bytes, size: int) -> tuple[bytes, bytes]:
    """Break data off, if possible after a space, and not within a character."""
    cut = data.rfind(b" ", size // 2, size) + 1 or size
    while cut > size - 4 and data[cut] & 0xC0 == 0x80:
        cut -= 1
    return data[:cut], data[cut:]


def complain(sentence: str) -> None:
    """Say what is wrong, to whoever looks at the standard error."""
    try:
        print(f"twisted-chat: {sentence}", file=sys.stderr, flush=True)
    except OSError:
        pass  # nobody looks


def _count(messages: int) -> str:
    return "1 message" if messages == 1 else f"{messages} messages"
