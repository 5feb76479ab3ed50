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

from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from types import TracebackType
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from twisted_chat.protocol.grammar import Speech, arguments, named, parse

from . import identity as who
from . import lines
from .answers import Answers, Then
from .connector import Connector, GaveUp
from .identity import Identity
from .inbox import Inbox
from .lines import LOBBY, Event, Refused
from .logs import Log, Logs
from .posts import Post, Posts
from .where import Where

__all__ = ["LOBBY", "Client", "Event", "GaveUp", "Identity", "Refused", "Where"]

_NAME_TRIES = 10
"""How often a guest asks for the same name again: its last session may not be over yet."""

_LOGIN = frozenset({"/login", "/register", "/guest"})
_MOVES = frozenset({"/join", "/leave", "/part"})
_POSTS = frozenset({"", "/bc", "/me", "/dm"})

_DAY = 24 * 3600
"""Seconds; a server that says it sends a sign of life less often is not taken at its word."""

_WITH_PASSWORD = {
    "login": "NAME PASSWORD",
    "register": "NAME PASSWORD",
    "passwd": "[--keep] OLD NEW",
}

_log = Logger()


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

    name = ""
    account = False
    server = ""
    is_connected = False

    def __init__(
        self,
        where: Where,
        identity: Identity = Identity(),  # noqa: B008 - it is frozen
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
        self._identity = who.checked(identity)
        self._connector = Connector(
            reactor,
            where,
            made=self._made,
            received=self._received,
            regulate=self._regulate,
            lost=self._disconnected,
            waiting=lambda s: self._offer({"event": "reconnecting", "seconds": round(s, 1)}),
        )
        self._inbox = Inbox()
        self._logs = Logs(self._offer, self._receipt)
        self._posts = Posts()
        self._answers = Answers()
        self.room = LOBBY
        for room in rooms:
            self.room = lines.room(room)
            self._logs.rooms.setdefault(self.room, Log())
        # Which wait for a connection, with the room that they were typed in.
        self._commands: deque[tuple[str, str, str, Then]] = deque()
        self._talking: str | None = None  # where the server has us talk
        self._switches = 0  # of that, which it is still to remark on
        self._token = ""  # of the session, which the next one takes over
        self._entering = False
        self._name_tries = 0
        self._correspondent = ""  # who last wrote to us in private
        self._started: Deferred[None] | None = None
        self._ended: list[Deferred[None]] = []
        self._error: GaveUp | None = None
        self._over = False

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
        """End the session. What has no receipt yet is given up: wait for it first."""
        if self._started is None or self._over:
            return
        ended: Deferred[None] = Deferred()
        self._ended.append(ended)  # before what may end it at once
        self._connector.close()
        self._regulate()
        await ended

    def _end(self) -> None:
        """There is no connection, and will be none."""
        self._over = True
        error = self._error or Refused("closed", "the connection was closed")
        self._posts.give_up(error)
        waiting, self._commands = self._commands, deque()
        for *_, then in waiting:
            then(Refused("closed", str(error)))
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
        """The next event.

        @raise GaveUp: if the connection is lost for good.
        """
        self._inbox.is_read = True
        while not self._inbox:
            if self._over:
                if self._error is not None:
                    raise self._error
                raise StopAsyncIteration
            await self._inbox.wait()
        event = self._inbox.take()
        if self._inbox.is_behind and self._inbox.is_half_empty:
            self._inbox.is_behind = False
            if self.is_connected:
                self._resume()
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
        to = lines.room(room) if room else self.room
        post = Post(to, text, action=action)
        post.line(to)  # is it too long?
        if to not in self._logs.rooms:
            await self.join(to)
        return await self._post(post)

    async def me(self, action: str, room: str = "") -> Event:
        """Say what we do; as L{say}."""
        return await self.say(action, room, action=True)

    async def dm(self, name: str, text: str) -> Event:
        """Say something to one person.

        @return: its receipt: the C{dm}.
        @raise Refused: as L{say}.
        """
        post = Post(f"@{lines.person(name)}", text)
        post.line(None)  # is it too long?
        return await self._post(post)

    async def reply(self, text: str) -> Event:
        """Answer the person who last wrote to us in private.

        @return: its receipt, as L{dm}.
        @raise Refused: as L{dm}; also if nobody has.
        """
        if not self._correspondent:
            sentence = "nobody has written to you in private yet; /dm NAME MESSAGE is private"
            raise Refused("no-such-person", sentence)
        return await self.dm(self._correspondent, text)

    async def join(self, room: str) -> None:
        """Go into a room, and speak there from now on.

        @raise Refused: if we cannot.
        """
        name = lines.room(room)
        if name in self._logs.rooms:
            self.room = name
            return
        self._check()
        try:
            await self.command(f"/join {name}")
        except Refused as refused:
            if refused.code != "lost":
                raise
            self._logs.rooms.setdefault(name, Log())  # the next connection goes into it
        self.room = name

    async def leave(self, room: str = "") -> None:
        """Go out of a room, by default L{room}.

        @raise Refused: if we cannot.
        """
        name = lines.room(room) if room else self.room
        await self.command(f"/leave {name}")

    async def command(self, line: str) -> None:
        """Write a line as it is, a command. What the server answers is told as events, all of them
        before this is done. Never write what is said like this: its receipt would be missed.

        @raise Refused: if it was not done; C{lost}, if that cannot be known.
        @raise GaveUp: if the connection is lost for good.
        """
        found = parse(lines.fits(line))
        if isinstance(found, Speech):
            raise Refused("bad-arguments", "that is no command")
        usage = _WITH_PASSWORD.get(found.word)
        if usage is not None and arguments(usage, found.rest) is None:
            # The server would ask for the password, and take our next line for it.
            raise Refused("bad-arguments", f"usage: /{found.word} {usage}")
        self._check()
        done: Deferred[None] = Deferred()

        def then(refused: Refused | None) -> None:
            done.callback(None) if refused is None else done.errback(refused)

        word = lines.safe(found.typed).lower()
        if self.is_connected:
            self._ask_in(self.room, line, word, then)
        else:
            self._commands.append((self.room, line, word, then))
        await done
        self._identity = who.after(self._identity, found.word, found.rest)

    async def type(self, line: str, to: str = "") -> None:
        """Do what a server does with a line that somebody typed: say it in L{room}, or carry out
        the command that it is. What looks like a misspelt login is not said.

        @param to: the person to say it to, and not in the room.
        @raise Refused: if it was not done.
        @raise GaveUp: if the connection is lost for good.
        """
        parsed = parse(line)
        if isinstance(parsed, Speech):
            text = lines.message(line)
            if text:
                await (self.dm(to, text) if to else self.say(text))
            return
        own = _TYPED.get(parsed.word)
        if own is None:
            await self.command(f"/{parsed.word} {parsed.rest}".rstrip(" "))
            return
        given = arguments(own.usage, parsed.rest)
        if given is None:
            raise Refused("bad-arguments", f"usage: {own.synopsis}")
        await own.run(self, *given)

    # Sending

    def _check(self) -> None:
        if self._error is not None:
            raise self._error
        if self._over or self._connector.is_closing or self._started is None:
            raise Refused("closed", "there is no connection")

    async def _post(self, post: Post) -> Event:
        self._check()
        self._posts.add(post)
        self._flush()
        return await post.receipt

    def _flush(self) -> None:
        """Send what may be sent."""
        while self.is_connected and (post := self._posts.next()) is not None:
            if not post.is_direct:
                log = self._logs.rooms.get(post.to)
                if log is None:
                    sentence = f"you are not in #{post.to}; join it first"
                    self._posts.refuse_next(Refused("not-in-room", sentence))
                    continue
                if log.seen is None:
                    break  # from where on to look for its receipt is not known yet
                if post.action or post.to != LOBBY:
                    self._talk_in(post.to)
            try:
                line = post.line(self._talking)
            except Refused as refused:
                self._posts.refuse_next(refused)
            else:
                self._posts.send_next(self.name)
                self._connector.write(line)
        self._regulate()

    def _talk_in(self, room: str) -> None:
        """Have the server take what we say, and ask, to be about this room."""
        if room != self._talking:
            self._connector.write(f"/join {room}")
            self._talking = room
            self._switches += 1

    def _ask_in(self, room: str, line: str, word: str, then: Then) -> None:
        """Ask in a room, which is what a command that names none is about."""
        if room in self._logs.rooms and word not in _MOVES:
            self._talk_in(room)
        self._ask(line, word, then)

    def _ask(self, line: str, word: str | None, then: Then) -> None:
        """Write a line, if there is one, and behind it one that tells when it has been answered.

        @param word: what the server calls the command in an error.
        """
        if word in _MOVES:
            self._talking = None
        self._answers.expect(word, then)
        self._connector.write(*([line] if line else []), "/json on")
        self._regulate()

    # Receipts

    def _receipt(self, event: Event) -> None:
        if self._posts.receipt(event):
            self._flush()

    def _settle(self) -> None:
        """Find out which of what was sent has been refused: send nothing more until everything
        has its answer."""
        if not self._posts.is_settling:
            self._posts.is_settling = True
            self._ask("", None, self._settled)

    def _settled(self, _: Refused | None) -> None:
        if self._logs.is_filling:
            self._ask("", None, self._settled)
            return
        self._posts.settle()
        self._flush()

    # What waits to be iterated over

    def _offer(self, event: Event) -> bool:
        """Have an event iterated over, unless there are too many; gives back which."""
        if self._inbox.is_full and not self._may_pause():
            self._inbox.is_behind = True
        if self._inbox.is_behind:
            return False
        self._inbox.add(event)
        return True

    def _may_pause(self) -> bool:
        """Nobody waits for what is still to be read but who iterates."""
        waits = self._posts.has_sent or self._answers or self._connector.is_closing
        return self._inbox.is_read and not waits

    def _regulate(self) -> None:
        """Read on or not: what is iterated over slowly waits in the server, which skips what does
        not fit; it is asked for what it skipped then."""
        self._connector.pause(paused=self._inbox.is_full and self._may_pause())

    # Coming in, and going on where we left off

    def _made(self) -> None:
        """There is a connection: log in."""
        self._entering = True
        self._logs.ask(direct=bool(self._identity.password))
        self._ask("", None, lambda _: None)
        self._connector.write(*self._since(), who.login(self._identity))

    def _since(self) -> list[str]:
        words = self._logs.since()
        if self._token and not self.is_connected:
            words.insert(0, f"~={self._token}")
        return lines.packed("/since", words)

    def _resume(self) -> None:
        """Ask for everything after what we have seen."""
        self._logs.ask(direct=self.account)
        for line in self._since():
            self._ask(line, "/since", self._resumed)

    def _resumed(self, refused: Refused | None) -> None:
        if refused is not None:
            self._logs.filled()

    def _not_in(self, refused: Refused, command: str) -> None:
        """A login was refused."""
        again = self._connector.was_in
        if command == "/register" and refused.code == "name-registered":
            self._identity = replace(self._identity, register=False)
            self._connector.write(who.login(self._identity))
            return
        if refused.code == "name-taken" and again and not self._identity.password:
            self._name_tries += 1
            if self._name_tries > _NAME_TRIES:
                self._connector.write("/guest")
                return
        elif not who.is_for_now(refused):
            self._connector.is_hopeless = True
        self._connector.code = refused.code
        self._connector.drop(refused.text)

    def _back(self, room: str, refused: Refused | None) -> None:
        """We are in a room again, or not."""
        if refused is not None and refused.code != "lost":
            self._out_of(room)
            error = {"command": "/join", "code": refused.code, "text": refused.text}
            self._offer({"event": "error", **error})

    def _out_of(self, room: str) -> None:
        self._logs.rooms.pop(room, None)
        if self.room == room:
            self.room = LOBBY

    def _entered(self, _: Refused | None) -> None:
        """Everything is as it was before the connection was lost, or it is the first one."""
        again = self._connector.was_in
        self._posts.again(self._is_in_doubt)
        self._logs.entered()
        if not again:
            self._logs.begin_direct()
        self._talking = None
        told = {"name": self.name, "account": self.account, "server": self.server, "again": again}
        self._inbox.add({"event": "connected", **told})
        self.is_connected = True
        self._connector.entered()
        if self._started is not None and not self._started.called:
            self._started.callback(None)
        waiting, self._commands = self._commands, deque()
        for each in waiting:
            self._ask_in(*each)
        self._flush()

    def _is_in_doubt(self, post: Post) -> bool:
        """The replays may not have shown this, though it was said."""
        if post.is_direct:
            return self._logs.direct.gap or not self.account
        log = self._logs.rooms.get(post.to)
        return log is None or log.gap

    def _disconnected(self, reason: str) -> None:
        was_in, self.is_connected = self.is_connected, False
        self._entering = False
        self._switches = 0
        self._posts.disconnected()
        self._logs.forget_replay()
        self._answers.lost()
        if was_in and not self._connector.is_closing:
            self._inbox.add({"event": "disconnected", "text": reason})

    # What the server tells

    def _received(self, line: bytes) -> None:
        event = lines.event(line)
        if event is not None:
            act = _ON.get(event["event"])
            if act is None:
                self._offer(event)
            else:
                act(self, event)
        elif line.startswith(b"! "):  # why it does not take us
            self._connector.reason = lines.safe(line[2:].decode("utf-8", "replace").strip())

    def _on_hello(self, event: Event) -> None:
        if not self._answers:
            return
        if isinstance(server := event.get("server"), str):
            self.server = server
        if isinstance(token := event.get("session"), str):
            self._token = token
        seconds: Any = event.get("keepalive")
        is_said = type(seconds) is int and 0 < seconds <= _DAY
        self._connector.keepalive = seconds if is_said else 0
        self._answers.answered()

    def _on_welcome(self, event: Event) -> None:
        self.name, self.account = event["name"], event["account"]
        self._talking = event["room"]
        self._name_tries = 0
        self._identity = replace(self._identity, register=False)  # it is done
        if self.account and self.is_connected:  # a guest has become an account
            self._logs.begin_direct()
        self._offer(event)
        if self._entering:
            self._entering = False
            for room in [room for room in self._logs.rooms if room != LOBBY]:
                self._ask(f"/join {room}", "/join", partial(self._back, room))
            self._ask("", None, self._entered)

    def _on_error(self, event: Event) -> None:
        refused = Refused(event["code"], event["text"])
        command = event["command"].lower()
        if self._entering and command in _LOGIN:
            self._not_in(refused, command)
        elif self._answers.refused(command, refused):
            pass  # whoever asked is told
        elif command in _POSTS and self._posts.has_sent and self.is_connected:
            self._posts.refused(refused)
            self._settle()
        elif command != "/since":
            self._offer(event)

    def _on_message(self, event: Event) -> None:
        if event["replay"]:
            self._keep(event)
        elif not self._logs.message(event):
            self._resume()

    def _on_dm(self, event: Event) -> None:
        is_new = not event["replay"] or self._logs.direct.filling
        if is_new and event["from"] != self.name:
            self._correspondent = event["from"]
        if event["replay"]:
            self._keep(event)
        else:
            self._logs.dm(event)

    def _keep(self, event: Event) -> None:
        if not self._logs.keep(event):
            self._connector.drop()

    def _on_history(self, event: Event) -> None:
        self._logs.history(event, is_connected=self.is_connected)
        self._flush()

    def _on_skipped(self, event: Event) -> None:
        self._logs.forget_replay()
        self._offer(event)
        if self.is_connected:
            self._resume()
            if self._posts.has_sent:
                self._settle()
        else:
            self._connector.drop()

    def _on_joined(self, event: Event) -> None:
        room = event.get("room")
        if event.get("name") == self.name and isinstance(room, str) and self.is_connected:
            self._logs.rooms.setdefault(room, Log())
            self._switches += 1  # it says that we talk there now, which goes without saying
        self._offer(event)

    def _on_left(self, event: Event) -> None:
        room = event.get("room")
        if event.get("name") == self.name and room != LOBBY and isinstance(room, str):
            self._out_of(room)
        self._offer(event)

    def _on_renamed(self, event: Event) -> None:
        if event["name"] == self.name:
            self.name = event["to"]
            self._identity = replace(self._identity, name=self.name)
        if event["name"] == self._correspondent:
            self._correspondent = event["to"]
        self._offer(event)

    def _on_ping(self, _: Event) -> None:
        """That it was read is all."""

    def _on_talking(self, event: Event) -> None:
        if self._switches:
            self._switches -= 1
        else:
            self._offer(event)

    def _on_bye(self, event: Event) -> None:
        self._connector.reason = event["text"]
        if not self._connector.is_closing:
            self._offer(event)


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
    "talking": Client._on_talking,
    "bye": Client._on_bye,
}


@dataclass(frozen=True, slots=True)
class _Typed:
    """A command that is more than a line to be written.

    @ivar synopsis: how the server's help has it.
    @ivar run: is called with the client and an argument for each parameter that was given.
    """

    synopsis: str
    run: Callable[..., Awaitable[object]]

    @property
    def usage(self) -> str:
        """Its parameters."""
        return self.synopsis.partition(" ")[2]


async def _refuse_pm(client: Client, text: str = "") -> None:
    raise Refused(
        "unknown-command",
        'there is no command "/pm"; /dm NAME MESSAGE is private, /bc MESSAGE tells everyone in the'
        " lobby",
    )


async def _ask(client: Client) -> None:
    raise Refused("bad-arguments", "usage: /bc MESSAGE, or /dm NAME MESSAGE")


_DM = _Typed("/dm NAME MESSAGE", lambda client, name, text: client.dm(named(name), text))
_BC = _Typed("/bc MESSAGE", lambda client, text: client.say(text, LOBBY))
_LEAVE = _Typed("/leave [ROOM]", Client.leave)
_QUIT = _Typed("/quit", Client.close)

_TYPED: Mapping[str, _Typed] = {
    **dict.fromkeys(("dm", "msg", "tell", "w", "whisper", "query"), _DM),
    **dict.fromkeys(("bc", "broadcast"), _BC),
    **dict.fromkeys(("leave", "part"), _LEAVE),
    **dict.fromkeys(("quit", "logout", "exit", "bye", "EX"), _QUIT),
    **dict.fromkeys(("PM", "DM"), _Typed("", _ask)),
    "me": _Typed("/me ACTION", Client.me),
    "join": _Typed("/join ROOM", Client.join),
    "r": _Typed("/r MESSAGE", Client.reply),
    "pm": _Typed("/pm [TEXT]", _refuse_pm),
}
"""What somebody types that is more than a line to be written."""
