"""A client of a chat server: for bots, and for the clients that people use.

It logs in, tells what happens as dictionaries, the events of C{docs/protocol.md}, and comes back
by itself when the server or the network was away: no message is missed or told twice, and what
could not be sent is sent then. A bot that repeats everything::

    from twisted.internet.defer import Deferred
    from twisted.internet.task import react
    from twisted_chat.client.connection import Client, Identity, Where

    async def parrot():
        async with Client(Where("chat.example"), Identity("polly"), rooms=["dev"]) as client:
            async for event in client:
                if event["event"] == "message" and event["new"] and event["from"] != client.name:
                    await client.say(event["text"], event["room"])

    react(lambda reactor: Deferred.fromCoroutine(parrot()))

Besides the server's events there are some of its own: C{connected} (C{name}, C{account},
C{server}, C{again}), C{disconnected} (C{text}), C{reconnecting} (C{seconds}), C{paused} (C{text}):
the server cannot store messages right now, and the client keeps them until it can, and C{gap}
(C{room}, C{first}, C{last}): entries of a room, or of the private conversation with C{@name}, that
the server could not show any more.

Every string in an event is safe to show on a terminal.
"""

import random
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from types import TracebackType
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from twisted_chat.protocol import commands, grammar
from twisted_chat.protocol.commands import BY_WORD, Kind, Request
from twisted_chat.protocol.commands import Command as Row

from . import lines
from .clock import Passing
from .connector import Connector, GaveUp
from .identity import Identity
from .inbox import Inbox
from .lines import LOBBY, Event, Refused
from .marks import Marks
from .requests import Asked
from .session import ClientSession
from .where import Where

__all__ = ["LOBBY", "Client", "Event", "GaveUp", "Identity", "Refused", "Where"]

_log = Logger()


class Client:
    """A session on a server, over as many connections as it takes.

    Use it as an asynchronous context manager, or call L{start} and L{close}. All methods may be
    called at any time after the start; what needs a connection waits for one.
    """

    def __init__(
        self,
        where: Where,
        identity: Identity = Identity(),  # noqa: B008 - it is frozen
        rooms: Iterable[str] = (),
        *,
        only: bool = False,
        marks: bool = False,
        reactor: Any = None,
    ) -> None:
        """
        @param rooms: to be in, besides the lobby; the last one is where L{say} speaks.
        @param only: pass over the other rooms of the account.
        @param marks: what a person has read is said with L{mark}. Otherwise everything that was
            shown counts as read when the client sends something.
        @raise Refused: C{bad-name}, for a person or a room.
        """
        if reactor is None:
            from twisted.internet import reactor  # noqa: PLC0415 - it is installed by that
        passed = Passing(reactor.seconds, time.time, time.monotonic)
        prefix = secrets.token_urlsafe(12)
        self._reactor = reactor
        self._session = ClientSession(identity, rooms, prefix, passed, only=only, marks=marks)
        self._marks = Marks(reactor, self._send_mark)
        self._connector = Connector(
            reactor,
            where,
            made=self._made,
            received=self._received,
            regulate=self._regulate,
            lost=self._disconnected,
            waiting=lambda s: self._inbox.add({"event": "reconnecting", "seconds": round(s, 1)}),
        )
        self._inbox = Inbox()
        self._resuming: IDelayedCall | None = None
        self._waiting: dict[Asked, Deferred[Event]] = {}
        self._started: Deferred[None] | None = None
        self._ended: list[Deferred[None]] = []
        self._error: GaveUp | None = None
        self._is_over = False

    @property
    def name(self) -> str:
        """Who we are, as the server spells it."""
        return self._session.name

    @property
    def account(self) -> bool:
        """Whether we have a password."""
        return self._session.account

    @property
    def server(self) -> str:
        """What the server calls itself."""
        return self._session.server

    @property
    def is_connected(self) -> bool:
        """Whether we are logged in."""
        return self._session.is_in

    @property
    def room(self) -> str:
        """The room of messages and commands that name none."""
        return self._session.room

    @room.setter
    def room(self, room: str) -> None:
        self._session.room = room

    def knows(self, room: str) -> bool:
        """Whether we are in a room, and were told what was said there before."""
        return self._session.knows(room)

    # Beginning and end

    async def __aenter__(self) -> "Client":
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def start(self) -> None:
        """Connect and log in.

        @raise GaveUp: if there is no server there, or it refuses the login.
        """
        started: Deferred[None] = Deferred()
        self._started = started
        Deferred.fromCoroutine(self._run()).addErrback(
            lambda failure: _log.failure("the connection", failure)
        )
        await started

    async def _run(self) -> None:
        try:
            await self._connector.run()
        except GaveUp as error:
            self._error = error
        finally:
            self._end()

    async def close(self) -> None:
        """End the session. Requests without an answer are given up: wait for them first."""
        if self._started is None or self._is_over:
            return
        ended: Deferred[None] = Deferred()
        self._ended.append(ended)  # before what may end it at once
        self._marks.send()
        self._session.quit()
        self._pump()
        self._connector.close()
        self._regulate()
        await ended

    def _end(self) -> None:
        """There is no connection, and will be none."""
        self._is_over = True
        self._marks.stop()
        error = self._error or Refused("closed", "the connection was closed")
        waiting, self._waiting = self._waiting, {}
        for answer in waiting.values():
            answer.errback(error)
        if self._started is not None and not self._started.called:
            self._started.errback(error)
        self._inbox.wake()
        for ended in self._ended:
            ended.callback(None)

    # Events

    def __aiter__(self) -> "Client":
        self._inbox.is_read = True
        return self

    async def __anext__(self) -> Event:
        """Wait for the next event.

        @raise GaveUp: if the connection is lost for good.
        """
        self._inbox.is_read = True
        while not self._inbox:
            if self._is_over:
                if self._error is not None:
                    raise self._error
                raise StopAsyncIteration
            await self._inbox.wait()
        event = self._inbox.take()
        if self._session.is_behind and self._inbox.has_drained_to_half:
            self._session.catch_up()
            self._pump()
        self._regulate()
        return event

    # Talking

    async def say(self, text: str, room: str = "", *, action: bool = False) -> Event:
        """Say something in a room, by default in L{room}; joins it if we are not in it.

        @param action: as C{/me}.
        @return: its receipt: the C{message}, as it is in the log.
        @raise Refused: if it was not said; C{lost}, if that cannot be known.
        @raise GaveUp: if the connection is lost for good.
        """
        to = lines.room(room) if room else self.room
        said = lines.sayable(text)
        if to not in self._session.rooms:
            await self.join(to)
        if action:
            return await self._ask("me", room=to, action=said)
        return await self._ask("say", room=to, message=said)

    async def me(self, action: str, room: str = "") -> Event:
        """Say what we do; as L{say}."""
        return await self.say(action, room, action=True)

    async def dm(self, name: str, text: str) -> Event:
        """Say something to one person.

        @return: its receipt: the C{dm}.
        @raise Refused: as L{say}.
        """
        return await self._ask("dm", name=lines.person(name), message=lines.sayable(text))

    async def reply(self, text: str) -> Event:
        """Answer the person who last wrote to us in private.

        @return: its receipt, as L{dm}.
        @raise Refused: as L{dm}; also if nobody has.
        """
        if not self._session.correspondent:
            sentence = "nobody has written to you in private yet; /dm NAME MESSAGE is private"
            raise Refused("no-such-person", sentence)
        return await self.dm(self._session.correspondent, text)

    async def join(self, room: str) -> None:
        """Join a room, and speak there from now on.

        @raise Refused: if we cannot.
        """
        name = lines.room(room)
        if not self._session.knows(name):
            await self._ask("join", room=name)
        self.room = name

    async def to(self, room: str) -> None:
        """Speak in a room that we are in from now on.

        @raise Refused: if we are not in it.
        """
        name = lines.room(room)
        await self._ask("to", room=name)
        self.room = name

    async def leave(self, room: str = "") -> None:
        """Leave a room, by default L{room}.

        @raise Refused: if we cannot.
        """
        await self._ask("leave", room=lines.room(room) if room else self.room)

    def mark(self, place: str, seq: int) -> None:
        """Say soon that a person has read a place up to an entry.

        @param place: a room, or C{@name} for a private conversation.
        @param seq: the C{seq} of a message that was told.
        """
        if seq and not self._session.is_read(place, seq):
            self._marks.add(place, seq)

    async def command(self, line: str) -> None:
        """Carry out a line that is a command. What the server answers is told as events, all of
        them before this is done.

        @raise Refused: if it was not done; C{lost}, if that cannot be known.
        @raise GaveUp: if the connection is lost for good.
        """
        parsed = grammar.parse(line)
        if isinstance(parsed, grammar.Speech):
            raise Refused("bad-arguments", "that is no command")
        await self._carry_out(parsed, line)

    async def type(self, line: str, to: str = "") -> None:
        """Do what a server does with a line that somebody typed: say it in L{room}, or carry out
        the command that it is. What looks like a misspelt login is not said.

        @param to: the person to say it to, instead of the room.
        @raise Refused: if it was not done.
        @raise GaveUp: if the connection is lost for good.
        """
        parsed = grammar.parse(line)
        if isinstance(parsed, grammar.Command):
            await self._carry_out(parsed, line)
        elif text := lines.message(line):
            await (self.dm(to, text) if to else self.say(text))

    async def request(self, do: str, *, quiet: bool = False, **fields: Any) -> None:
        """Carry out a command that is given by its word and its parameters, as C{docs/protocol.md}
        has them. A room that is left out is L{room}.

        @param quiet: nobody has typed it: what it answers is told with the field C{quiet}.
        @raise Refused: as L{command}.
        @raise GaveUp: as L{command}.
        """
        await self._ask(do, quiet=quiet, **fields)

    # Requests

    async def _carry_out(self, called: grammar.Command, line: str) -> None:
        """Carry out a typed command."""
        if not (commands.is_ours(called.word) or commands.confides(called.word)):
            await self._ask("type", line=line)  # a newer server may know it
            return
        asked = lines.checked(grammar.request, called)
        command = BY_WORD[asked.do]
        if any(p.kind is Kind.SECRET and p.name not in asked.fields for p in command.parameters):
            raise Refused("bad-arguments", f"usage: /{command.word} {_whole_usage(command)}")
        own = _OWN.get(asked.do)
        if own is not None:
            await own(self, asked)
        else:
            await self._ask(asked.do, **asked.fields)

    async def _ask(self, do: str, *, quiet: bool = False, **fields: Any) -> Event:
        return await self._answer(lambda: self._session.ask(do, quiet=quiet, **fields))

    async def _answer(self, ask: Callable[[], Asked]) -> Event:
        """Make a request, and wait for its answer.

        @raise Refused: what the server refused it with; C{closed}, C{lost}.
        @raise GaveUp: if the connection is lost for good.
        """
        if self._error is not None:
            raise self._error
        if self._is_over or self._connector.is_closing or self._started is None:
            raise Refused("closed", "there is no connection")
        answer: Deferred[Event] = Deferred()
        self._waiting[ask()] = answer
        self._pump()
        self._regulate()
        return await answer

    def _send_mark(self, place: str, seq: int) -> None:
        self._session.mark(place, seq)
        self._pump()

    # The session and its connection

    def _made(self) -> None:
        self._session.connected()
        self._pump()

    def _received(self, line: bytes) -> None:
        if self._inbox.is_full and not self._may_pause():
            self._session.is_behind = True
        self._session.received(line)
        self._connector.keepalive = self._session.keepalive
        self._connector.reason = self._session.reason
        self._pump()

    def _disconnected(self, reason: str) -> None:
        was_in = self._session.is_in
        self._session.disconnected()
        self._stop_resuming()
        if was_in and not self._connector.is_closing:
            self._inbox.add({"event": "disconnected", "text": reason})
        self._pump()

    def _pump(self) -> None:
        """Do what the session has to say."""
        was_in = self._connector.is_in
        said = self._session.take()
        self._connector.write(said.written)
        for event in said.events:
            self._inbox.add(event)
        self._marks.is_open = self._session.is_in and not self._is_over
        if self._session.is_in and not was_in:
            self._connector.entered()
            self._marks.go_on()
            if self._started is not None and not self._started.called:
                self._started.callback(None)
        for asked, answer in said.answers:
            waiting = self._waiting.pop(asked, None)
            if waiting is None:
                continue
            waiting.errback(answer) if isinstance(answer, Refused) else waiting.callback(answer)
        if said.wait is not None:
            self._stop_resuming()
            wait = said.wait * random.uniform(0.5, 1.5)
            self._resuming = self._reactor.callLater(wait, self._resume)
        if said.drop is not None:
            drop = said.drop
            self._connector.drop(drop.reason, code=drop.code, is_hopeless=drop.is_hopeless)

    def _resume(self) -> None:
        self._resuming = None
        self._session.resume()
        self._pump()

    def _stop_resuming(self) -> None:
        resuming, self._resuming = self._resuming, None
        if resuming is not None:
            resuming.cancel()

    def _may_pause(self) -> bool:
        """Tell whether reading may pause: no receipt or answer is outstanding, only the iterator
        is slow."""
        waits = self._session.awaits_answers or self._connector.is_closing
        return self._inbox.is_read and not waits

    def _regulate(self) -> None:
        """Read on or pause: while the iterator is slow, events wait in the server. The server
        skips those that it has no room for, and the session asks for them then."""
        self._connector.pause(paused=self._inbox.is_full and self._may_pause())


def _whole_usage(command: Row) -> str:
    """Give the parameters of a command with its passwords, which nobody is asked for here."""
    usages = [p.usage.strip("[]") if p.kind is Kind.SECRET else p.usage for p in command.parameters]
    return " ".join(usages)


async def _ask(client: Client, asked: Request) -> None:
    raise Refused("bad-arguments", "usage: /bc MESSAGE, or /dm NAME MESSAGE")


async def _json(client: Client, asked: Request) -> None:
    raise Refused("forbidden", "this client always speaks JSON Lines with the server")


_OWN: Mapping[str, Callable[[Client, Request], Awaitable[object]]] = {
    "say": lambda client, asked: client.say(asked.fields["message"], asked.fields["room"]),
    "bc": lambda client, asked: client.say(asked.fields["message"], LOBBY),
    "me": lambda client, asked: client.me(asked.fields["action"]),
    "dm": lambda client, asked: client.dm(asked.fields["name"], asked.fields["message"]),
    "r": lambda client, asked: client.reply(asked.fields["message"]),
    "join": lambda client, asked: client.join(asked.fields["room"]),
    "to": lambda client, asked: client.to(asked.fields["room"]),
    "leave": lambda client, asked: client.leave(asked.fields.get("room", "")),
    "quit": lambda client, asked: client.close(),
    "EX": lambda client, asked: client.close(),
    "PM": _ask,
    "DM": _ask,
    "json": _json,
}
"""Commands that the client does in its own way."""
