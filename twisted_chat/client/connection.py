"""A connection to a chat server that lasts: for bots, and for the clients that people use.

It logs in, tells what happens as dictionaries, the events of C{docs/protocol.md}, and comes back
by itself when the server or the network was away: nothing that was said meanwhile is missed,
nothing is told twice, and what could not be sent is sent then. A bot that repeats everything::

    from twisted.internet.defer import Deferred
    from twisted.internet.task import react
    from twisted_chat.client.connection import Client, Identity, Where

    async def parrot():
        async with Client(Where("chat.example"), Identity("polly"), rooms=["dev"]) as client:
            async for event in client:
                if event["event"] == "message" and event["from"] != client.name:
                    await client.say(event["text"], event["room"])

    react(lambda reactor: Deferred.fromCoroutine(parrot()))

Besides the server's events there are some of its own: C{connected} (C{name}, C{account},
C{server}, C{again}), C{disconnected} (C{text}), C{reconnecting} (C{seconds}), and C{gap} (C{room},
C{first}, C{last}): messages that the server could not show any more.

Every string in an event is safe to show on a terminal.
"""

import os
import random
import re
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from types import TracebackType
from typing import Any

from OpenSSL import SSL
from service_identity import VerificationError
from twisted.internet import error as e
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, ITCPTransport
from twisted.internet.protocol import Factory, connectionDone
from twisted.logger import Logger
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure

from twisted_chat.core import names
from twisted_chat.core.errors import Refusal

from . import lines
from .lines import Event, Refused
from .where import BadWhere, Where, WrongCertificate

__all__ = ["Client", "Event", "GaveUp", "Identity", "Refused", "Where"]

LOBBY = "lobby"
"""The room that everyone is in."""

_WINDOW = 200
"""Messages that are sent before the first of them has a receipt."""

_QUEUE = 1000
"""Events that wait for who iterates; then no more are read."""

_REPLAY = 100_000
"""Messages in one replay: a server that sends more of them is none."""

_IN_TIME = 60.0
"""Seconds that connecting, and then logging in, may take."""

_SILENCE = 180.0
"""Seconds without a line from a server that sends pings, after which it is gone."""

_FAREWELL = 5.0
"""Seconds that a server has to end the connection when asked to."""

_FIRST_WAIT, _LONGEST_WAIT = 0.5, 30.0
"""Seconds before the connection is tried again: doubled each time, and varied by half."""

_LASTED = 30.0
"""Seconds after which a connection is taken to be a good one, and the waits begin anew."""

_NAME_TRIES = 10
"""How often a guest asks for the same name again: its last session may not be over yet."""

_FOR_NOW = frozenset({"busy", "throttled", "closed", "full", "internal"})
"""What a login may be refused with that another attempt may not be."""

_LOGIN = frozenset({"/login", "/register", "/guest"})
_MOVES = frozenset({"/join", "/leave", "/part"})
_POSTS = frozenset({"", "/bc", "/me", "/dm"})
_COMMAND = re.compile(r"[/!](\S+)\s*(.*)")

_log = Logger()


class GaveUp(Exception):
    """There is no use in trying again; the text is a sentence for people, safe to show.

    @ivar code: what the server refused the login with; empty if it was something else.
    """

    def __init__(self, text: str, code: str = "") -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True, slots=True)
class Identity:
    """Who to be: an account if there is a password, and otherwise a guest.

    @ivar name: empty for a guest whose name the server chooses.
    @ivar register: make the account if there is none.
    """

    name: str = ""
    password: str = field(default="", repr=False)
    register: bool = False


class _Send:
    """Something to be said, until its receipt has come.

    @ivar key: where, what, and whether as an action: what its receipt is known by.
    @ivar by: the name under which it was sent.
    """

    __slots__ = ("by", "key", "receipt")

    def __init__(self, key: tuple[str, str, bool]) -> None:
        self.key = key
        self.by = ""
        self.receipt: Deferred[Event] = Deferred()

    def done(self, event: Event) -> None:
        if not self.receipt.called:
            self.receipt.callback(event)

    def failed(self, error: Exception) -> None:
        if not self.receipt.called:
            self.receipt.errback(error)


class _Log:
    """How far we are in a room, or with our private messages.

    @ivar seen: the last number that was told; L{None} if none was.
    @ivar heard: the last that was looked at for receipts; ahead of C{seen} while nobody listens.
    @ivar filling: a replay is on its way, before which nothing live is taken.
    @ivar gap: the last replay did not go back to C{seen}.
    """

    __slots__ = ("filling", "gap", "heard", "seen")

    def __init__(self) -> None:
        self.seen: int | None = None
        self.heard: int | None = None
        self.filling = True
        self.gap = False


_Then = Callable[[Refused | None], None]


class _Answer:
    """What is to be done when the server has answered a command.

    @ivar word: the command; L{None} for one that cannot be refused.
    @ivar refusal: it was, with this.
    """

    __slots__ = ("refusal", "then", "word")

    def __init__(self, word: str | None, then: _Then) -> None:
        self.word = word
        self.then = then
        self.refusal: Refused | None = None


class Client:
    """A session on a server, over as many connections as it takes.

    Use it as an asynchronous context manager, or call L{start} and L{close}. All methods may be
    called at any time after the start; what needs a connection waits for one.

    @ivar name: who we are, as the server spells it.
    @ivar account: we have a password.
    @ivar server: what the server calls itself.
    @ivar room: where L{say} speaks when it is not told where.
    @ivar is_connected: we are logged in.
    """

    def __init__(
        self,
        where: Where,
        identity: Identity = Identity(),
        rooms: Iterable[str] = (),
        *,
        reactor: Any = None,
    ) -> None:
        """
        @param rooms: to be in, besides the lobby; the last one is where L{say} speaks.
        @raise Refused: C{bad-name}, for a room that can be none.
        """
        if reactor is None:
            from twisted.internet import reactor  # noqa: PLC0415 - it is installed by that
        self._reactor = reactor
        self._where = where
        self._identity = _checked(identity)
        self.room = LOBBY
        self._rooms: dict[str, _Log] = {LOBBY: _Log()}
        for room in rooms:
            self.room = _canonical_room(room)
            self._rooms.setdefault(self.room, _Log())
        self._direct = _Log()
        self._last_id = 0  # the highest of all messages
        self._first_id: int | None = None
        # What is to be sent, and what was sent and has no receipt, both in order.
        self._unsent: deque[_Send] = deque()
        self._sent: deque[_Send] = deque()
        self._settling = False
        self._refusals: list[Refused] = []
        # Commands that have no answer yet, and those that wait for a connection.
        self._answers: deque[_Answer] = deque()
        self._waiting_lines: deque[tuple[str, str, _Then]] = deque()
        self._talking: str | None = None
        self._switches = 0  # of the room that the server has us talk in, which it remarks on
        self._replay: list[Event] = []
        # What waits to be iterated over. Behind: some of it was dropped, to be asked for again.
        self._events: deque[Event] = deque()
        self._listener: Deferred[None] | None = None
        self._listened = False
        self._behind = False
        self._line: _Line | None = None
        self._entering = False
        self._server_spoke = False
        self._token = ""  # of the session, which the next one takes over
        self._was_connected = False
        self._pinged = False
        self._since = 0.0
        self._name_tries = 0
        self._deadline: IDelayedCall | None = None
        self._pause: Deferred[None] | None = None
        self._attempt: Deferred[Any] | None = None
        self._started: Deferred[None] | None = None
        self._ended: list[Deferred[None]] = []
        self._reason = self._fatal = self._code = ""
        self._error: GaveUp | None = None
        self._over = False
        self._closing = False

    name = ""
    account = False
    server = ""
    is_connected = False

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

        @raise GaveUp: if there is no server there, or it does not let us in.
        """
        self._started = Deferred()
        started = self._started
        Deferred.fromCoroutine(self._run()).addErrback(
            lambda failure: _log.failure("the connection", failure)
        )
        await started

    async def close(self) -> None:
        """End the session. What has no receipt yet is given up: wait for it first."""
        if self._started is None or self._over:
            return
        self._closing = True
        ended: Deferred[None] = Deferred()
        self._ended.append(ended)  # before what may end it at once
        if self._line is not None:
            self._write("/quit")
            self._regulate()
            self._expect(_FAREWELL, "")
        if self._attempt is not None:
            self._attempt.cancel()
        if self._pause is not None:
            self._pause.cancel()
        await ended

    # Events

    def __aiter__(self) -> "Client":
        self._listened = True
        return self

    async def __anext__(self) -> Event:
        """The next event.

        @raise GaveUp: if the connection is lost for good.
        """
        self._listened = True
        while not self._events:
            if self._over:
                if self._error is not None:
                    raise self._error
                raise StopAsyncIteration
            self._listener = Deferred()
            try:
                await self._listener
            finally:
                self._listener = None
        event = self._events.popleft()
        if len(self._events) == _QUEUE // 2:
            self._catch_up()
        self._regulate()
        return event

    # Talking

    async def say(self, text: str, room: str = "", *, action: bool = False) -> Event:
        """Say something in a room, by default in L{room}; goes into it if we are not in it.

        @param action: as C{/me}.
        @return: its receipt: the C{message}, as it is in the log.
        @raise Refused: if it was not said; with the code C{lost}, if that cannot be known.
        @raise GaveUp: if the connection is lost for good.
        """
        target = _canonical_room(room) if room else self.room
        send = _Send((target, lines.sayable(text), action))
        self._said(send, target)  # is it too long?
        if target not in self._rooms:
            await self.join(target)
        return await self._send(send)

    async def me(self, action: str, room: str = "") -> Event:
        """Say what we do; as L{say}."""
        return await self.say(action, room, action=True)

    async def dm(self, name: str, text: str) -> Event:
        """Say something to one person.

        @return: its receipt: the C{dm}.
        @raise Refused: as L{say}.
        """
        try:
            to = names.canonical(name)
        except Refusal as refusal:
            raise Refused(refusal.code, refusal.text) from None
        send = _Send((f"@{to}", lines.sayable(text), False))
        self._said(send, None)
        return await self._send(send)

    async def join(self, room: str) -> None:
        """Go into a room, and speak there from now on.

        @raise Refused: if we cannot.
        """
        name = _canonical_room(room)
        if name in self._rooms:
            self.room = name
            return
        self._check()
        try:
            await self.command(f"/join {name}")
        except Refused as refused:
            if refused.code != "lost":
                raise
            self._rooms.setdefault(name, _Log())  # the next connection goes into it
        self.room = name

    async def leave(self, room: str = "") -> None:
        """Go out of a room, by default L{room}.

        @raise Refused: if we cannot.
        """
        name = _canonical_room(room) if room else self.room
        await self.command(f"/leave {name}")

    async def command(self, line: str) -> None:
        """Write a line as it is, a command. What the server answers is told as events, all of them
        before this is done. Never write what is said like this: its receipt would be missed.

        @raise Refused: if it was not done; C{lost}, if that cannot be known.
        @raise GaveUp: if the connection is lost for good.
        """
        match = _COMMAND.fullmatch(lines.fits(line))
        if match is None:
            raise Refused("bad-arguments", "that is no command")
        self._check()
        done: Deferred[None] = Deferred()

        def then(refused: Refused | None) -> None:
            if not done.called:
                done.callback(None) if refused is None else done.errback(refused)

        word = line.split(None, 1)[0].lower()
        if self.is_connected:
            self._ask_here(line, word, then)
        else:
            self._waiting_lines.append((line, word, then))
        await done
        self._learn(match[1].lower(), match[2])

    async def type(self, line: str) -> None:
        """Do what a server does with a line that somebody typed: say it in L{room}, or carry out
        the command that it is.

        @raise Refused: if it was not done.
        @raise GaveUp: if the connection is lost for good.
        """
        typed = line.strip(" \t")
        if typed.startswith("//"):
            await self.say(typed[1:])
            return
        match = _COMMAND.fullmatch(typed)
        if match is None or (typed[0] == "!" and not match[1][0].isalpha()):
            if typed:
                await self.say(line)
            return
        word, rest = match[1].lower(), match[2].strip()
        own = _TYPED.get(word)
        if own is None:
            await self.command(f"/{word} {rest}".rstrip())
        else:
            await own(self, rest)

    # Sending

    async def _send(self, send: _Send) -> Event:
        self._check()
        self._unsent.append(send)
        self._flush()
        return await send.receipt

    def _said(self, send: _Send, talking: str | None) -> str:
        """The line that says something.

        @param talking: the room in which the server would say it.
        @raise Refused: C{too-long}.
        """
        target, text, action = send.key
        said = lines.literally(text)
        if target.startswith("@"):
            return lines.fits(f"/dm {target[1:]} {said}")
        if action:
            return lines.fits(f"/me {said}")
        if target == LOBBY and talking != LOBBY:
            return lines.fits(f"/bc {said}")
        return lines.fits(said)

    def _flush(self) -> None:
        """Send what may be sent."""
        batch: list[str] = []
        while self._unsent and self.is_connected and not self._settling:
            if len(self._sent) >= _WINDOW:
                break
            target, _, action = self._unsent[0].key
            if not target.startswith("@"):
                log = self._rooms.get(target)
                if log is not None and log.seen is None:
                    break  # from where on to look for its receipt is not known yet
                if log is None:
                    self._unsent.popleft().failed(
                        Refused("not-in-room", f"you are not in #{target}; join it first")
                    )
                    continue
                if target != self._talking and (action or target != LOBBY):
                    batch.append(f"/join {target}")
                    self._talking = target
                    self._switches += 1
            send = self._unsent.popleft()
            send.by = self.name
            try:
                batch.append(self._said(send, self._talking))
            except Refused as refused:
                send.failed(refused)
            else:
                self._sent.append(send)
        if batch:
            self._write(*batch)
        self._regulate()

    def _ask_here(self, line: str, word: str, then: "_Then") -> None:
        """Ask in L{room}, which is what a command that names no room is about."""
        if self.room != self._talking and self.room in self._rooms and word not in _MOVES:
            self._write(f"/join {self.room}")
            self._talking = self.room
            self._switches += 1
        self._ask(line, word, then)

    def _ask(self, line: str, word: str | None, then: "_Then") -> None:
        """Write a line, and behind it one whose answer tells that the first has been answered:
        a server answers this command when all before it is done.

        @param word: what the server calls the command in an error.
        """
        if word in _MOVES:
            self._talking = None
        self._answers.append(_Answer(word, then))
        self._write(*([line] if line else []), "/json on")
        self._regulate()

    def _write(self, *written: str) -> None:
        if self._line is not None:
            self._line.transport.write("".join(f"{each}\n" for each in written).encode())

    def _check(self) -> None:
        if self._error is not None:
            raise self._error
        if self._over or self._closing or self._started is None:
            raise Refused("closed", "there is no connection")

    def _learn(self, word: str, rest: str) -> None:
        """Remember who we are by a command that was carried out, for the next connection."""
        words = lines.words(rest)
        if word in ("register", "login") and len(words) == 2:
            self._identity = Identity(words[0], words[1])
        elif word == "passwd" and len(words) == 2:
            self._identity = replace(self._identity, password=words[1])

    # Receipts

    def _receipt(self, event: Event, target: str) -> None:
        """Is it something that we said? Then it is known to be in the log."""
        if not self._sent:
            return
        key = target, event["text"], event.get("action", False)
        for send in self._sent:
            if send.key == key and send.by == event["from"]:
                self._sent.remove(send)
                send.done(event)
                break
        if self._unsent and len(self._sent) <= _WINDOW // 2:
            self._flush()

    def _settle(self) -> None:
        """Find out which of what was sent has been refused: send nothing more until everything
        has its answer; what has no receipt then was refused."""
        if not self._settling:
            self._settling = True
            self._ask("", None, self._settled)

    def _settled(self, _: Refused | None) -> None:
        if any(log.filling for log in self._logs()):
            self._ask("", None, self._settled)
            return
        refusals, self._refusals = self._refusals, []
        self._settling = False
        unanswered, self._sent = self._sent, deque()
        for index, send in enumerate(unanswered):
            send.failed(refusals[index] if index < len(refusals) else _lost())
        self._flush()

    # Events

    def _received(self, line: bytes) -> None:
        event = lines.event(line)
        if event is None:
            if line.startswith(b"! ") and not self._server_spoke:
                self._reason = lines.safe(line[2:].decode("utf-8", "replace").strip())
            return
        self._server_spoke = True
        act = _ON.get(event["event"])
        if act is None:
            self._offer(event)
        else:
            act(self, event)

    def _on_hello(self, event: Event) -> None:
        if not self._answers:
            return
        if isinstance(server := event.get("server"), str):
            self.server = server
        if isinstance(token := event.get("session"), str):
            self._token = token
        answer = self._answers.popleft()
        answer.then(answer.refusal)

    def _on_welcome(self, event: Event) -> None:
        self.name, self.account = event["name"], event["account"]
        self._talking = event["room"]
        self._name_tries = 0
        self._identity = replace(self._identity, register=False)  # it is done
        if self.account and self.is_connected:  # a guest has become an account
            self._direct.seen = self._direct.heard = self._last_id
        self._offer(event)
        if self._entering:
            self._entering = False
            for room in [room for room in self._rooms if room != LOBBY]:
                self._ask(f"/join {room}", "/join", partial(self._back, room))
            self._ask("", None, self._entered)

    def _back(self, room: str, refused: Refused | None) -> None:
        """We are in a room again, or not."""
        if refused is not None and refused.code != "lost":
            self._rooms.pop(room, None)
            self._offer({"event": "error", "command": "/join", **_fields(refused)})
            if self.room == room:
                self.room = LOBBY

    def _entered(self, _: Refused | None) -> None:
        """Everything is as it was before the connection was lost, or it is the first one."""
        sent, self._sent = self._sent, deque()
        for send in reversed(sent):  # what has no receipt by now was not said
            target = send.key[0]
            log = self._direct if target.startswith("@") else self._rooms.get(target)
            if log is None or log.gap or (log is self._direct and not self.account):
                send.failed(_lost())
            else:
                self._unsent.appendleft(send)
        for log in self._logs():
            log.filling = log.gap = False
            log.seen = log.seen or 0
            log.heard = log.heard or 0
        if self._first_id is None:
            self._first_id = self._direct.seen = self._direct.heard = self._last_id
        self._talking = None
        self._tell(
            {
                "event": "connected",
                "name": self.name,
                "account": self.account,
                "server": self.server,
                "again": self._was_connected,
            }
        )
        self.is_connected = self._was_connected = True
        self._since = self._reactor.seconds()
        self._stop_waiting()
        if self._started is not None and not self._started.called:
            self._started.callback(None)
        waiting, self._waiting_lines = self._waiting_lines, deque()
        for line, word, then in waiting:
            self._ask_here(line, word, then)
        self._flush()

    def _on_error(self, event: Event) -> None:
        refused = Refused(event["code"], event["text"])
        command = event["command"].lower()
        if self._entering and command in _LOGIN:
            self._not_in(refused, command)
        elif self._answers and self._answers[0].word == command:
            self._answers[0].refusal = refused
        elif command in _POSTS and self._sent and self.is_connected:
            self._refusals.append(refused)
            self._settle()
        elif command != "/since":
            self._offer(event)

    def _on_message(self, event: Event) -> None:
        if event["replay"]:
            self._keep(event)
            return
        log = self._rooms.get(event["room"])
        if log is None or log.filling:
            return  # if we are in the room, it is in the replay that is to come
        seq = event["seq"]
        if log.heard is not None and seq > log.heard + 1:
            self._resume()
            return
        self._last_id = max(self._last_id, event["id"])
        log.heard = seq
        if self._offer(event):
            log.seen = seq
            if not self._direct.filling:
                self._direct.seen = self._last_id
        self._direct.heard = self._last_id
        self._receipt(event, event["room"])

    def _on_dm(self, event: Event) -> None:
        if event["replay"]:
            self._keep(event)
            return
        id = event["id"]
        if id is not None:
            if self._direct.filling:
                return
            self._last_id = self._direct.heard = max(self._last_id, id)
        if self._offer(event) and id is not None:
            self._direct.seen = id
        self._receipt(event, f"@{event['to']}")

    def _keep(self, event: Event) -> None:
        self._replay.append(event)
        if len(self._replay) > _REPLAY and self._line is not None:
            self._line.drop()

    def _on_history(self, event: Event) -> None:
        replay, self._replay = self._replay, []
        of = event["room"]
        log = self._direct if of == "@" else self._rooms.get(of)
        number = "id" if of == "@" else "seq"
        if log is None or not log.filling or (self.is_connected and _is_old(replay, log, number)):
            for message in replay:  # somebody asked for it
                self._last_id = max(self._last_id, message["id"] or 0)
                self._offer(message)
            self._offer(event)
            return
        log.filling = False
        for message in replay:
            self._fill(log, message, number)
        if log.seen is None:
            log.seen = log.heard = 0
        self._offer(event)
        self._flush()

    def _fill(self, log: "_Log", message: Event, number: str) -> None:
        """Take a message of a replay that goes on where we left off."""
        n = message[number]
        if n is None:
            return
        self._last_id = max(self._last_id, message["id"])
        if log.seen is None or log.heard is None:
            log.seen = log.heard = n - 1
        if number == "seq" and log.heard and n > log.heard + 1:
            log.gap = True
        if number == "seq" and log.seen and n > log.seen + 1 and not self._behind:
            self._offer(
                {"event": "gap", "room": message["room"], "first": log.seen + 1, "last": n - 1}
            )
        if n > log.heard:
            log.heard = n
            self._receipt(message, message["room"] if number == "seq" else f"@{message['to']}")
        if n > log.seen and self._offer(message):
            log.seen = n

    def _on_skipped(self, event: Event) -> None:
        self._replay.clear()
        self._offer(event)
        if self.is_connected:
            self._resume()
            if self._sent:
                self._settle()
        elif self._line is not None:
            self._line.drop()

    def _on_joined(self, event: Event) -> None:
        room = event.get("room")
        if event.get("name") == self.name and isinstance(room, str) and self.is_connected:
            self._rooms.setdefault(room, _Log())
        self._offer(event)

    def _on_left(self, event: Event) -> None:
        room = event.get("room")
        if event.get("name") == self.name and room != LOBBY and isinstance(room, str):
            self._rooms.pop(room, None)
            if self.room == room:
                self.room = LOBBY
        self._offer(event)

    def _on_renamed(self, event: Event) -> None:
        if event["name"] == self.name:
            self.name = event["to"]
            self._identity = replace(self._identity, name=self.name)
        self._offer(event)

    def _on_ping(self, event: Event) -> None:
        if not self._pinged:
            self._pinged = True
            self._listen_for_life()

    def _on_notice(self, event: Event) -> None:
        if self._switches and event["text"].startswith("you are talking in "):
            self._switches -= 1
        else:
            self._offer(event)

    def _on_bye(self, event: Event) -> None:
        self._reason = event["text"]
        if not self._closing:
            self._offer(event)

    def _offer(self, event: Event) -> bool:
        """Have an event iterated over, unless there are too many; gives back which."""
        if self._behind:
            return False
        if len(self._events) >= _QUEUE and not self._may_pause():
            self._behind = True
            return False
        self._tell(event)
        return True

    def _tell(self, event: Event) -> None:
        self._events.append(event)
        self._wake()

    def _wake(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.callback(None)

    def _may_pause(self) -> bool:
        """Nobody waits for what is still to be read but who iterates."""
        return self._listened and not (self._sent or self._answers or self._closing)

    def _regulate(self) -> None:
        """Read on or not: what is iterated over slowly waits in the server, which skips what does
        not fit; it is asked for what it skipped then."""
        if self._line is None:
            return
        pause = len(self._events) >= _QUEUE and self._may_pause()
        if pause and not self._line.paused:
            self._line.pauseProducing()
        elif self._line.paused and not pause and len(self._events) <= _QUEUE:
            self._line.resumeProducing()

    def _catch_up(self) -> None:
        if self._behind:
            self._behind = False
            if self.is_connected:
                self._resume()

    # Going on where we left off

    def _logs(self) -> "list[_Log]":
        return [*self._rooms.values(), self._direct]

    def _resume(self) -> None:
        """Ask for everything after what we have seen."""
        for log in self._rooms.values():
            log.filling = True
        self._direct.filling = self.account and self._direct.seen is not None
        for line in self._since_lines():
            self._ask(line, "/since", self._resumed)

    def _resumed(self, refused: Refused | None) -> None:
        if refused is not None:
            for log in self._logs():
                log.filling = False

    def _since_lines(self) -> list[str]:
        words = [f"{room}={log.seen}" for room, log in self._rooms.items() if log.seen is not None]
        if self._direct.filling:
            words.append(f"@={self._direct.seen}")
        if self._token and not self.is_connected:
            words.insert(0, f"~={self._token}")
        return lines.packed("/since", words)

    # The connection

    async def _run(self) -> None:
        wait = _FIRST_WAIT
        try:
            while not self._closing:
                lasted = await self._connect()
                if self._closing:
                    break
                if lasted > _LASTED:
                    wait = _FIRST_WAIT
                seconds = wait * random.uniform(0.5, 1.5)
                wait = min(wait * 2, _LONGEST_WAIT)
                self._offer({"event": "reconnecting", "seconds": round(seconds, 1)})
                await self._rest(seconds)
        except GaveUp as error:
            self._error = error
        finally:
            self._end()

    async def _rest(self, seconds: float) -> None:
        self._pause = Deferred()
        timer = self._reactor.callLater(seconds, self._pause.callback, None)
        try:
            await self._pause
        except CancelledError:
            timer.cancel()
        finally:
            self._pause = None

    async def _connect(self) -> float:
        """One connection, from its beginning to its end; gives back for how long we were in.

        @raise GaveUp: if it is no use to try again.
        """
        self._reason = self._code = ""
        try:
            endpoint = self._where.endpoint(self._reactor, _IN_TIME)
        except BadWhere as error:
            raise GaveUp(str(error)) from None
        line = _Line(self)
        self._attempt = endpoint.connect(Factory.forProtocol(lambda: line))
        try:
            await self._attempt
        except CancelledError:
            return 0
        except Exception as error:  # noqa: BLE001 - whatever an endpoint fails with
            if not self._was_connected:
                raise GaveUp(f"cannot connect to {self._place}: {_why(error)}") from None
            return 0
        finally:
            self._attempt = None
        if self._closing:
            line.drop()
        return self._disconnected(await line.lost)

    @property
    def _place(self) -> str:
        return lines.safe(str(self._where))

    def _made(self, line: "_Line") -> None:
        """There is a connection: log in."""
        self._line = line
        self._entering = True
        self._server_spoke = self._pinged = False
        for log in self._rooms.values():
            log.filling = True
        self._direct.filling = bool(self._identity.password) and self._direct.seen is not None
        self._expect(_IN_TIME, "the server did not let us in in time")
        self._ask("", None, lambda _: None)
        self._write(*self._since_lines(), self._login())

    def _login(self) -> str:
        who = self._identity
        if not who.password:
            return f"/guest {who.name}".rstrip()
        word = "register" if who.register else "login"
        return f"/{word} {who.name} {lines.word(who.password)}"

    def _not_in(self, refused: Refused, command: str) -> None:
        """A login was refused."""
        if command == "/register" and refused.code == "name-registered":
            self._identity = replace(self._identity, register=False)
            self._write(self._login())
            return
        if refused.code == "name-taken" and self._was_connected and not self._identity.password:
            self._name_tries += 1
            if self._name_tries > _NAME_TRIES:
                self._write("/guest")
                return
        elif refused.code not in _FOR_NOW:
            self._fatal = refused.text
        self._reason, self._code = refused.text, refused.code
        if self._line is not None:
            self._line.drop()

    def _disconnected(self, lost: BaseException | None) -> float:
        """The connection is gone.

        @raise GaveUp: if it is no use to try again.
        """
        self._stop_waiting()
        was_in, self.is_connected = self.is_connected, False
        self._line = None
        self._entering = False
        self._settling = False
        self._switches = 0
        self._refusals.clear()
        self._replay.clear()
        answers, self._answers = self._answers, deque()
        for answer in answers:
            if answer.word is not None:
                answer.then(_lost())
        fatal = self._fatal or _bad_certificate(lost, self._where)
        reason = self._reason or _why(lost)
        if fatal:
            raise GaveUp(fatal, self._code)
        if not self._was_connected and not self._closing:
            raise GaveUp(f"{self._place}: {reason}", self._code)
        if was_in and not self._closing:
            self._tell({"event": "disconnected", "text": reason})
        return self._reactor.seconds() - self._since if was_in else 0

    def _end(self) -> None:
        """There is no connection, and will be none."""
        self._over = True
        error = self._error or Refused("closed", "the connection was closed")
        unsaid = [*self._sent, *self._unsent]
        self._sent.clear()
        self._unsent.clear()
        for send in unsaid:
            send.failed(error)
        waiting, self._waiting_lines = self._waiting_lines, deque()
        for _, _, then in waiting:
            then(Refused("closed", str(error)))
        if self._started is not None and not self._started.called:
            self._started.errback(error)
        self._wake()
        for ended in self._ended:
            ended.callback(None)

    # Time

    def _expect(self, seconds: float, reason: str) -> None:
        """Drop the connection after some time."""

        def late() -> None:
            self._reason = reason
            if self._line is not None:
                self._line.drop()

        self._stop_waiting()
        self._deadline = self._reactor.callLater(seconds, late)

    def _stop_waiting(self) -> None:
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()
        self._deadline = None

    def _listen_for_life(self) -> None:
        """Drop the connection if the server, which sends pings, falls silent."""

        def check() -> None:
            if self._line is None:
                return
            silent = self._reactor.seconds() - self._line.last
            if silent >= _SILENCE and not self._line.paused:
                self._reason = "the server has fallen silent"
                self._line.drop()
            else:
                self._deadline = self._reactor.callLater(_SILENCE / 6, check)

        if self._deadline is None:
            check()


_ON: Mapping[str, Callable[[Client, Event], None]] = {
    "hello": Client._on_hello,
    "welcome": Client._on_welcome,
    "error": Client._on_error,
    "message": Client._on_message,
    "dm": Client._on_dm,
    "history": Client._on_history,
    "skipped": Client._on_skipped,
    "joined": Client._on_joined,
    "left": Client._on_left,
    "renamed": Client._on_renamed,
    "ping": Client._on_ping,
    "notice": Client._on_notice,
    "bye": Client._on_bye,
}


async def _type_dm(client: Client, rest: str) -> None:
    name, _, text = rest.partition(" ")
    await client.dm(name, text)


async def _type_join(client: Client, rest: str) -> None:
    await client.join(rest)


async def _type_quit(client: Client, _: str) -> None:
    await client.close()


_TYPED: Mapping[str, Callable[[Client, str], Awaitable[object]]] = {
    **dict.fromkeys(("dm", "msg", "tell"), _type_dm),
    **dict.fromkeys(("bc", "broadcast", "pm"), lambda client, rest: client.say(rest, LOBBY)),
    "me": lambda client, rest: client.me(rest),
    "join": _type_join,
    **dict.fromkeys(("leave", "part"), lambda client, rest: client.leave(rest)),
    **dict.fromkeys(("quit", "logout", "exit", "bye"), _type_quit),
}
"""What somebody types that is more than a line to be written."""


class _Line(LineReceiver):
    """One connection.

    @ivar lost: fires when it is gone, with the reason.
    @ivar last: when something was last read.
    """

    transport: Any
    delimiter = b"\n"
    MAX_LENGTH = 16 * 1024 * 1024

    def __init__(self, client: Client) -> None:
        self._client = client
        self.lost: Deferred[BaseException | None] = Deferred()
        self.last = 0.0

    def connectionMade(self) -> None:
        if ITCPTransport.providedBy(self.transport):
            self.transport.setTcpNoDelay(True)
            self.transport.setTcpKeepAlive(True)
        self._client._made(self)

    def dataReceived(self, data: bytes) -> None:
        self.last = self._client._reactor.seconds()
        super().dataReceived(data)
        self._client._regulate()

    def lineReceived(self, line: bytes) -> None:
        self._client._received(line)

    def lineLengthExceeded(self, line: bytes) -> None:
        self.drop()

    def drop(self) -> None:
        """Cut the connection off: a half-close would have the server carry out what it has read,
        long after we have said it again."""
        self.transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost.callback(reason.value)


def _checked(identity: Identity) -> Identity:
    """@raise Refused: if nobody can be that."""
    if identity.password:
        lines.word(identity.password)
    if identity.name or identity.password:
        try:
            return replace(identity, name=names.canonical(identity.name))
        except Refusal as refusal:
            raise Refused(refusal.code, refusal.text) from None
    return identity


def _canonical_room(raw: str) -> str:
    try:
        return names.room(raw)
    except Refusal as refusal:
        raise Refused(refusal.code, refusal.text) from None


def _is_old(replay: list[Event], log: _Log, number: str) -> bool:
    """The replay begins before what is to come; so it is not the one that was asked for."""
    return bool(replay) and log.seen is not None and (replay[0][number] or 0) <= log.seen


def _fields(refused: Refused) -> Event:
    return {"code": refused.code, "text": refused.text}


def _lost() -> Refused:
    return Refused("lost", "the connection was lost, so it is not known whether that was done")


def _why(error: BaseException | None) -> str:
    """Why there is no connection."""
    if isinstance(error, e.DNSLookupError):
        return "there is no host of this name"
    if isinstance(error, e.ConnectionRefusedError):
        return "nothing listens there"
    if isinstance(error, e.TimeoutError):
        return "no answer"
    if isinstance(error, e.ConnectionDone):
        return "the server closed the connection"
    if isinstance(error, e.ConnectionLost | e.ConnectionAborted):
        return "the connection was lost"
    if isinstance(error, SSL.Error):
        return "it does not speak TLS, or not as we do"
    system = getattr(error, "osError", None)
    if isinstance(error, e.ConnectError) and isinstance(system, int):
        return os.strerror(system).lower()
    return lines.safe(str(error)) or "the connection was lost"


def _bad_certificate(error: BaseException | None, where: Where) -> str:
    """What is wrong with the server's certificate; empty if nothing is."""
    host = lines.safe(where.host)
    if isinstance(error, WrongCertificate):
        return f"{host} has another certificate than the pinned one: its fingerprint is {error}"
    if isinstance(error, VerificationError):
        return f"the certificate of {host} is one for another name"
    if isinstance(error, SSL.Error) and "certificate verify failed" in str(error):
        return f"the certificate of {host} is not signed by anyone trusted, or has expired"
    return ""
