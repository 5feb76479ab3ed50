"""The window's program: a login screen, then a screen to talk, and the client behind them."""

import tkinter
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger

from twisted_chat.protocol import grammar
from twisted_chat.protocol.commands import Request

from .. import lines
from ..connection import Client, GaveUp, Identity, Refused, Where
from ..lines import Event
from .conversations import Conversation, Conversations
from .login import Login
from .looks import dress
from .talk import Actions, Talk

_AT_ONCE = 50
"""Events that are taken before the rest of the program has its turn."""

_DRAW_AFTER = 0.02
"""Seconds in which events are gathered, to be drawn together."""

_ASK_AFTER = 1.0
"""Seconds in which comings and goings are gathered before the people of a room are asked for."""

_ROOMS_EVERY = 60.0
"""Seconds between two looks at the list of rooms."""

_MORE, _MOST = 100, 1000
"""Earlier messages that are asked for at a time, and that one answer may have."""

_ELSEWHERE = frozenset({"members", "read", "reconnecting", "talking"})
"""Events that are shown in the line of the connection, in the numbers of unread messages, by what
is in front, or not at all, and not as a line of the conversation in front."""

_ANSWERS = frozenset({"users", "rooms"})
"""Events that are shown in front, also where they are about a conversation."""

_log = Logger()


class App:
    """The program in its window.

    @param ready: it is known who to be, so the login screen is passed over.
    """

    def __init__(
        self,
        reactor: Any,
        root: tkinter.Tk,
        where: Where,
        identity: Identity,
        rooms: tuple[str, ...],
        *,
        ready: bool,
    ) -> None:
        self._reactor = reactor
        self._root = root
        self._where, self._identity, self._room_names = where, identity, rooms
        self._client: Client | None = None
        self._conversations = Conversations()
        self._login: Login | None = None
        self._talk: Talk | None = None
        self._drawing: Any = None
        self._asking: Any = None
        self._earlier_asked: set[Conversation] = set()
        self._entered: set[Conversation] = set()
        self._pause = 0.0
        self._has_focus = True
        self._ending = False
        self._fonts = dress(root)
        root.title("twisted-chat")
        root.geometry("940x600")
        root.minsize(560, 320)
        root.protocol("WM_DELETE_WINDOW", self.end)
        root.bind("<Control-q>", lambda _: self.end())
        root.bind("<FocusIn>", lambda _: self._focused(True))
        root.bind("<FocusOut>", lambda _: self._focused(False))
        root.report_callback_exception = _report
        self._rooms_timer = LoopingCall(self._ask_rooms)
        self._rooms_timer.clock = reactor
        self._show_login()
        if ready:
            self._enter(where, identity)

    # Beginning and end

    def end(self) -> None:
        """Close the window, and the session with it."""
        if not self._ending:
            self._ending = True
            self._root.withdraw()
            self._reactor.stop()

    def ended(self) -> Deferred[None]:
        """The reactor is about to stop: end the session."""
        self._ending = True
        client, self._client = self._client, None
        for timer in (self._drawing, self._asking):
            if timer is not None and timer.active():
                timer.cancel()
        if self._rooms_timer.running:
            self._rooms_timer.stop()

        async def close() -> None:
            if client is not None:
                await client.close()

        return Deferred.fromCoroutine(close())

    def _show_login(self) -> None:
        if self._talk is not None:
            self._talk.destroy()
            self._talk = None
        self._login = Login(self._root, self._where, self._identity, self._enter, self._cancel)
        self._login.pack(fill="both", expand=True)
        self._login.focus_first()
        self._root.title("twisted-chat")

    def _enter(self, where: Where, identity: Identity) -> None:
        self._start(self._connect(where, identity))

    def _cancel(self) -> None:
        if self._client is not None:
            self._start(self._client.close())

    async def _connect(self, where: Where, identity: Identity) -> None:
        assert self._login is not None
        self._where, self._identity = where, identity
        self._login.busy(True)
        self._root.title("connecting – twisted-chat")
        try:
            client = self._client = Client(
                where, identity, self._room_names, marks=True, reactor=self._reactor
            )
            await client.start()
        except (GaveUp, Refused) as error:
            self._client = None
            if not self._ending:
                closed = isinstance(error, Refused) and error.code == "closed"
                self._login.refused(error.code, "" if closed else str(error))
                if not closed:  # for a person who looks elsewhere meanwhile
                    self._root.title(f"{error} – twisted-chat")
            return
        if self._ending:
            await client.close()
            return
        self._talk_with(client)

    def _talk_with(self, client: Client) -> None:
        assert self._login is not None
        self._login.destroy()
        self._login = None
        self._conversations = Conversations(client.name)
        self._talk = Talk(
            self._root,
            self._conversations,
            Actions(
                self._typed, self._looked, self._join, self._close, self._earlier, self._private
            ),
        )
        self._talk.pack(fill="both", expand=True)
        for room in self._room_names:
            self._conversations.open(room.removeprefix("#").lower())
        self._talk.draw()
        self._talk.entry.focus_set()
        self._looked()
        self._start(self._listen(client))
        self._rooms_timer.start(_ROOMS_EVERY)

    # What happens

    async def _listen(self, client: Client) -> None:
        taken = 0
        reason: GaveUp | None = None
        try:
            async for event in client:
                self._heard(event)
                taken += 1
                if taken % _AT_ONCE == 0:
                    await deferLater(self._reactor, 0)
        except GaveUp as error:
            reason = error
        if self._ending:
            return
        if reason is None:
            self.end()
            return
        self._rooms_timer.stop()
        self._client = None
        self._show_login()
        if self._login is not None:
            self._login.refused(reason.code, str(reason))

    def _heard(self, event: Event) -> None:
        kind = event["event"]
        if self._talk is None:
            return
        if self._talk.current is not self._conversations.looked_at and self._has_focus:
            self._looked()
        came_with_join = kind == "users" and event["room"] in self._conversations.stale
        if kind == "where":
            event["room"] = self._talk.current.name
        concerned = self._conversations.take(event)
        is_elsewhere = kind in _ELSEWHERE or event.get("quiet") or came_with_join
        if not is_elsewhere and (kind in _ANSWERS or not concerned):
            self._talk.current.add(event)
        report = _STATUS.get(kind)
        if report is not None:
            report(self, event)
        self._draw_soon()

    def _report_connected(self, event: Event) -> None:
        assert self._talk is not None
        guest = "" if event["account"] else ", a guest"
        server = f"{event['server']} at " if event["server"] else ""
        self._talk.status("Good", f"{event['name']}{guest} · {server}{self._where}")

    def _report_lost(self, event: Event) -> None:
        assert self._talk is not None
        self._talk.status("Bad", f"not connected: {event['text']}")

    def _report_waiting(self, event: Event) -> None:
        self._pause = event["seconds"]
        self._show_waiting()

    def _show_waiting(self) -> None:
        assert self._talk is not None
        unsent = sum(len(each.unsent) for each in self._conversations)
        waiting = f"; {unsent} to send then" if unsent else ""
        self._talk.status("Waiting", f"reconnecting in {self._pause} s{waiting}")

    def _draw_soon(self) -> None:
        if self._drawing is None and not self._ending:
            self._drawing = self._reactor.callLater(_DRAW_AFTER, self._draw)

    def _draw(self) -> None:
        self._drawing = None
        if self._talk is None:
            return
        if not self._talk.draw():
            self._draw_soon()
        self._enter_room(self._talk.current)
        read = self._conversations.looked_at
        if self._client is not None and read is not None:
            self._client.mark(read.name, read.newest)
        unread = self._conversations.unread
        count = f"({unread}) " if unread else ""
        where = self._talk.expects
        self._root.title(f"{count}{where} – {self._conversations.name} – twisted-chat")

    # What is done

    def _start(self, coroutine: Coroutine[Deferred[Any], Any, Any]) -> None:
        Deferred.fromCoroutine(coroutine).addErrback(
            lambda failure: _log.failure("in the window", failure)
        )

    def _looked(self) -> None:
        """Mark the conversation in front as read, if the window has the focus."""
        if self._talk is None:
            return
        current = self._talk.current
        if self._has_focus:
            self._conversations.look(current)
        if self._client is not None and not current.person:
            self._client.room = current.name
        self._draw_soon()

    def _focused(self, focused: bool) -> None:
        self._has_focus = focused
        if not focused:
            self._conversations.look(None)
        else:
            self._looked()

    def _typed(self, conversation: Conversation, line: str) -> None:
        parsed = grammar.parse(line)
        asked = Request("", {}) if isinstance(parsed, grammar.Speech) else lines.typed(parsed)
        if asked.do in _QUESTIONS:
            _QUESTIONS[asked.do](self)
            return
        person = conversation.person
        if person and asked.do in _NOT_IN_PRIVATE:
            sentence = f"/{asked.do} is for a room; this is private"
            self._complain(conversation, line, sentence)
        elif person and asked.do == "leave" and not asked.fields:
            self._close(conversation)
        elif person and asked.do in _OF_A_PLACE and "of" not in asked.fields:
            fields = {"of": f"@{person}", **asked.fields}
            self._say(conversation, line, lambda client: client.request(asked.do, **fields))
        else:
            self._say(
                conversation,
                line,
                lambda client: client.type(line, person),
                room=conversation,
                goes=asked.do in _GOES,
            )

    def _say(
        self,
        conversation: Conversation,
        line: str,
        do: Callable[[Client], Awaitable[object]],
        *,
        room: Conversation | None = None,
        goes: bool = False,
    ) -> None:
        """Carry out a line that was typed.

        @param conversation: where it was typed, and where is shown why it was refused.
        @param room: where we talk from now on.
        @param goes: it goes to a room, perhaps the one where we talked last.
        """
        client = self._client
        if client is None:
            return
        if room is not None and not room.person:
            client.room = room.name

        async def say() -> None:
            before = client.room
            conversation.unsent.append(line)
            self._draw_soon()
            if self._talk is not None and not client.is_connected:
                self._show_waiting()
            try:
                await do(client)
            except (GaveUp, Refused) as error:
                self._complain(conversation, line, str(error))
            else:
                has_gone = goes or client.room != before
                if has_gone and self._talk is not None and client is self._client:
                    self._talk.show(self._conversations.open(client.room))
            finally:
                conversation.unsent.remove(line)
                self._draw_soon()

        self._start(say())

    def _complain(self, conversation: Conversation, line: str, text: str) -> None:
        if self._talk is None:
            return
        conversation.add({"event": "error", "text": text})
        self._talk.give_back(conversation, line)
        self._draw_soon()

    def _join(self, room: str) -> None:
        client = self._client

        async def join() -> None:
            if client is None:
                return
            try:
                await client.join(room)
            except (GaveUp, Refused) as error:
                if self._talk is not None:
                    self._talk.join_refused(str(error))
            else:
                if self._talk is not None:
                    self._talk.show(self._conversations.open(client.room))
                self._ask_rooms()

        self._start(join())

    def _close(self, conversation: Conversation) -> None:
        if conversation.person:
            self._conversations.close(conversation.name)
            self._draw_soon()
        else:
            self._say(conversation, "", lambda client: client.leave(conversation.name))

    def _private(self, name: str) -> None:
        is_new = f"@{name}" not in self._conversations.all
        conversation = self._conversations.open(f"@{name}")
        if self._talk is not None:
            self._talk.show(conversation)
        if is_new:
            self._earlier(conversation)

    def _earlier(self, conversation: Conversation) -> None:
        """Ask for the messages before those that are shown."""
        client = self._client
        shown = sum(event["event"] in ("message", "dm") for event in conversation.events)
        account = client is not None and client.account
        possible = account if conversation.person else True
        if client is None or not possible or conversation in self._earlier_asked:
            return
        self._earlier_asked.add(conversation)

        async def ask() -> None:
            try:
                count = min(shown + _MORE, _MOST)
                await client.request("history", quiet=True, count=count, of=conversation.name)
            except (GaveUp, Refused):
                pass  # such as with a guest, with whom nothing is kept
            finally:
                self._earlier_asked.discard(conversation)

        self._start(ask())

    def _enter_room(self, conversation: Conversation) -> None:
        """Ask for what was said in a room that is in front for the first time, and for who is
        there."""
        client = self._client
        if client is None or not client.is_connected or conversation.person:
            return
        if not (client.knows(conversation.name) or conversation in self._entered):
            self._entered.add(conversation)
            self._ask_quietly("join", room=conversation.name)
        elif conversation.name in self._conversations.stale:
            self._ask_soon(conversation)

    # What is asked for quietly

    def _ask_rooms(self) -> None:
        self._ask_quietly("rooms")

    def _ask_soon(self, room: Conversation) -> None:
        if self._asking is None and not self._ending:
            wait = _ASK_AFTER if room.number else 0
            self._asking = self._reactor.callLater(wait, self._ask_people, room)

    def _ask_people(self, room: Conversation) -> None:
        self._asking = None
        if self._client is not None and self._client.is_connected:
            self._conversations.stale.discard(room.name)
            self._ask_quietly("users", room=room.name)

    def _ask_quietly(self, do: str, **fields: str) -> None:
        client = self._client
        if client is None or not client.is_connected:
            return

        async def ask() -> None:
            try:
                await client.request(do, quiet=True, **fields)
            except (GaveUp, Refused):
                pass  # it is asked for again with the next connection

        self._start(ask())

    # Questions that PM and DM ask, alone on a line

    def _ask_for_all(self) -> None:
        lobby = self._conversations.lobby
        if self._talk is not None:
            self._talk.ask(
                "Message to everyone, not private:", lambda text: self._typed_literally(lobby, text)
            )

    def _typed_literally(self, conversation: Conversation, text: str) -> None:
        async def say(client: Client) -> None:
            await client.say(lines.message(text), conversation.name)

        self._say(conversation, text, say)

    def _ask_for_name(self) -> None:
        if self._talk is not None:
            self._talk.ask("Private message to:", self._private)


def _report(*error: Any) -> None:
    _log.failure("in the window")


_STATUS: dict[str, Callable[[App, Event], None]] = {
    "connected": App._report_connected,
    "disconnected": App._report_lost,
    "reconnecting": App._report_waiting,
}

_QUESTIONS: dict[str, Callable[[App], None]] = {
    "PM": App._ask_for_all,
    "DM": App._ask_for_name,
    "EX": App.end,
}

_NOT_IN_PRIVATE = frozenset({"me", "topic"})

_OF_A_PLACE = frozenset({"history", "read"})

_GOES = frozenset({"join", "to"})
