"""The client in a pipe: it posts the lines of its input, and writes events to its output."""

import json
import os
import re
import stat
import sys
from collections import deque
from collections.abc import Callable, Coroutine
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

from . import show
from .connection import LOBBY, Client, Event, GaveUp, Refused
from .lines import conversation
from .pieces import broken_off, pieces

_LONG = 64 * 1024
"""Bytes of a line that has not ended; of a longer one the beginning is posted."""

_MOST = 200
"""Messages that may be without a receipt before reading of the input pauses."""

# What is not text: the beginning of an escape sequence without an end, and control characters.
_NO_TEXT = re.compile(r"\x1b\[?[0-?]*|[\x00-\x08\x0a-\x1f\x7f-\x9f\ufffd]")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")
_REPLACED = "\N{REPLACEMENT CHARACTER}"

_FOLLOWED = frozenset({"message", "dm", "joined", "left", "renamed", "topic", "gap"})
"""Events that are shown as text; as JSON, all events are."""

_Do = Callable[[], Coroutine[Any, Any, object]]

_standard_io: Any = StandardIO  # which has other parameters on Windows

_log = Logger()


@dataclass(frozen=True, slots=True)
class Plan:
    """What a pipe is for.

    @ivar rooms: the rooms to follow; the first is posted to. Empty: the lobby.
    @ivar posts: post the standard input.
    @ivar follows: write what happens to the standard output.
    @ivar json: write JSON Lines, not text.
    @ivar to: tell this person in private, and post to no room; empty: post to the room.
    @ivar raw: every line is text. Otherwise a line that looks like a command is refused.
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
    """Tell whether a descriptor has something to post: whether it is a pipe, a file or a socket.
    Programs without an input are given C{/dev/null}, which has not."""
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
        """Post and follow until there is nothing more to do.

        @return: the exit code.
        @raise GaveUp: if the connection cannot be made.
        @raise Refused: as L{Client.start}.
        """
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
        """End the session because of a signal.

        @return: fires when it has ended; L{None} if it was ending already.
        """
        if self._finishing:
            return None
        self._finishing = self._interrupted = True
        self._left = self._waiting
        return Deferred.fromCoroutine(self._client.close())

    def report(self) -> int:
        """Say what was not posted.

        @return: the exit code.
        """
        if self._left:
            complain(f"{_count(self._left)} no receipt and may not have been posted")
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
            piece, self._buffer = broken_off(self._buffer, _LONG // 2)
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
        """Post a line, or a piece of one that is too long to be kept.

        @param of: the number of the line that it is a piece of; 0: it is a whole line, or the last
            piece of one.
        """
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
        # A command may have switched to another room.
        room = "" if self._plan.commands else self._room
        return self._client.dm(to, text) if to else self._client.say(text, room)

    def _take(self, number: int, line: str, typed: str) -> None:
        """Carry out a line that is a command, or refuse it.

        @param typed: the command as it stands on the line.
        """
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
        """Post lines and carry out commands. A command waits for the answers to everything before
        it, and everything after it waits for its own."""
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
        """Give a line without what a server would not take."""
        cleaned = _CONTROL.sub(_REPLACED, read.replace("\r", " "))
        if _REPLACED in cleaned and not self._said_replaced:
            self._said_replaced = True
            complain(
                f"line {number} has bytes that are not UTF-8 text; such bytes are posted as"
                f" {_REPLACED}, also those of later lines"
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
        """Pause reading while too many messages have no receipt."""
        pause = self._waiting >= (_MOST // 2 if self._paused else _MOST)
        if pause != self._paused and not self._input_ended:
            self._paused = pause
            if pause:
                self.transport.pauseProducing()
            else:
                self.transport.resumeProducing()

    def _finish(self) -> None:
        """End the session when everything that was read has its answer."""
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
            complain(f"{event['text']}; reconnecting")
        elif kind == "paused" or (kind == "error" and not self._plan.json):
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
        self._mark(event)

    def _mark(self, event: Event) -> None:
        """Take a message that was printed as read."""
        if event["event"] in ("message", "dm") and event["from"] != self._client.name:
            is_private = event["event"] == "dm"
            place = conversation(event, self._client.name) if is_private else event["room"]
            self._client.mark(place, event.get("seq") or 0)

    def _is_followed(self, event: Event) -> bool:
        """Tell whether an event is followed. If rooms were named, the lobby, which everyone is in,
        is followed only if it is one of them."""
        room = event.get("room")
        return not (self._plan.rooms and room == LOBBY and LOBBY not in self._plan.rooms)

    async def _flush(self) -> None:
        """Wait until everything was written."""
        if self._broken:
            return
        self._gone = Deferred()
        self.transport.unregisterProducer()
        self.transport.loseConnection()
        await self._gone

    def pauseProducing(self) -> None:
        """The reader of the output is slow."""
        if self._full is None:
            self._full = Deferred()

    def resumeProducing(self) -> None:
        full, self._full = self._full, None
        if full is not None:
            full.callback(None)

    def stopProducing(self) -> None:
        self.resumeProducing()

    def writeConnectionLost(self) -> None:
        """Nobody reads the output any more. There is nothing left to do, and that is no error."""
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


def complain(sentence: str) -> None:
    """Write a sentence about what is wrong to the standard error."""
    try:
        print(f"twisted-chat: {sentence}", file=sys.stderr, flush=True)
    except OSError:
        pass  # nobody reads it


def _count(messages: int) -> str:
    return "1 line has" if messages == 1 else f"{messages} lines have"
