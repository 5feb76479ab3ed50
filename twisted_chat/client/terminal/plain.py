"""The terminal, line by line: for screen readers and for terminals that cannot be redrawn.

The terminal edits the line itself. One event is one line, and nothing is drawn twice."""

import os
import signal
import sys
import termios
from collections import deque
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.stdio import StandardIO
from twisted.python.failure import Failure

from .. import show
from .conversation import Left, Paste

_ECHO = 3
"""The index of the echo among the terminal's attributes."""

_standard_io: Any = StandardIO  # which has other parameters on Windows


class PlainScreen(Protocol):
    """A screen that lines are written to and read from."""

    dates = True
    transport: Any

    def __init__(self, reactor: Any, *, bell: bool) -> None:
        self._bell = bell
        self._buffer = b""
        self._typed: deque[str] = deque()
        self._waiting: Deferred[str] | None = None
        self._left = False
        self._asking = False
        self._gone: Deferred[None] = Deferred()
        # Opened a second time, so that it is not made non-blocking for the shell too.
        self._terminal = os.open(os.ttyname(sys.stdin.fileno()), os.O_RDWR | os.O_NOCTTY)
        self._before = termios.tcgetattr(self._terminal)
        signal.signal(signal.SIGINT, lambda *_: reactor.callFromThread(self._interrupt))
        _standard_io(self, stdin=self._terminal, stdout=os.dup(self._terminal))

    # What a conversation asks for

    def show(self, line: show.Line) -> None:
        self._write(f"{show.plain(line)}\n")

    def alert(self) -> None:
        if self._bell:
            self._write("\a")

    def refresh(self) -> None:
        pass

    async def line(self) -> str | Paste:
        return await self._next()

    async def ask(self, question: str, *, secret: bool = False) -> str:
        self._write(f"{question}: \n")
        self._asking = True
        self._echo(not secret)
        try:
            return await self._next()
        finally:
            self._asking = False
            self._echo(True)

    def put_back(self, text: str) -> None:
        pass

    async def close(self) -> None:
        self._echo(True)
        self.transport.loseConnection()
        await self._gone

    def _interrupt(self) -> None:
        """Ctrl-C: the terminal has cleared the line; a question is cancelled."""
        self._write("\n")
        if self._asking:
            self._received("")

    # The terminal

    def dataReceived(self, data: bytes) -> None:
        *complete, self._buffer = (self._buffer + data).split(b"\n")
        for line in complete:
            self._received(line.decode("utf-8", "surrogateescape").removesuffix("\r"))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._left = True
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.errback(Left())
        if not self._gone.called:
            self._gone.callback(None)

    def _received(self, line: str) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(line)
        elif line.strip():
            self._typed.append(line)

    async def _next(self) -> str:
        if self._typed:
            return self._typed.popleft()
        if self._left:
            raise Left
        self._waiting = Deferred()
        return await self._waiting

    def _write(self, text: str) -> None:
        if not self._left:
            self.transport.write(text.encode(sys.stdout.encoding or "utf-8", "replace"))

    def _echo(self, on: bool) -> None:
        attributes = termios.tcgetattr(self._terminal)
        attributes[_ECHO] = self._before[_ECHO] if on else self._before[_ECHO] & ~termios.ECHO
        try:
            termios.tcsetattr(self._terminal, termios.TCSANOW, attributes)
        except termios.error:
            pass
