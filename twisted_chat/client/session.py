"""A client's session with a server, over as many connections as it takes. It reads and writes lines
of protocol 2 and knows neither a socket nor Twisted; the time is an argument.

Its owner calls L{ClientSession.connected}, L{ClientSession.received} for each line, and
L{ClientSession.disconnected}, and after each call takes what has gathered: C{written} lines,
C{events}, C{answers}, C{wait}, the seconds after which it calls L{ClientSession.resume}, and
C{drop}, with which the session asks for the connection to be cut off.

What the session promises, whatever happens to the connections:

  - Every request gets exactly one answer, and it is its own.
  - A post is said once: it is repeated until it is answered; see L{Requests}.
  - Every message is told once, in order, or a C{gap} says which are missing; see L{Entries}.

Rooms and private conversations are places, and each counts its entries by C{seq}.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any

from twisted_chat.protocol.commands import requested
from twisted_chat.protocol.jsonlines import PROTOCOL, safe

from . import lines
from .entries import Entries
from .holes import Holes
from .identity import Identity
from .lines import Event, Refused
from .login import NOTHING_READ, Login
from .requests import LOGIN, UNAVAILABLE, Asked, Requests
from .rooms import Rooms
from .state import Said, State

_OUT = frozenset({"not-in-room", "no-such-room"})
"""What tells that we are not in a room any more."""

_PAUSED = "the server can't store messages right now; yours are kept, and sent when it can"

_PLACES = frozenset({"room", "of"})
"""Parameters that say which room a command is about."""

_LONGEST_TOKEN = 200
"""Characters of a session's token, at most: a longer one is not used."""

_DAY = 24 * 3600
"""Seconds between two signs of life; a server that says more is taken to send none."""


class ClientSession:
    """One client's session.

    @ivar server: what the server calls itself.
    @ivar keepalive: seconds between the server's signs of life; 0: it sends none.
    @ivar reason: why the server is about to end the connection, in its own words.
    """

    def __init__(
        self,
        identity: Identity,
        rooms: Iterable[str],
        prefix: str,
        now: Callable[[], float],
        *,
        only: bool = False,
        marks: bool = False,
    ) -> None:
        """
        @param rooms: to be in, besides the lobby; the last one is C{room}.
        @param prefix: begins the labels of posts: at least 15 printable characters that nobody
            can guess.
        @param now: gives the time, in seconds; never goes back, nor stands still in sleep.
        @param only: pass over the other rooms of the account.
        @param marks: what a person has read is said with L{mark}. Otherwise the server takes
            everything that it has shown as read when the next request comes.
        @raise Refused: C{bad-name}, for a person or a room.
        """
        self._requests = Requests(prefix, now)
        self._state = State(self._requests)
        self._seen = self._state.seen
        self._login = Login(self._state, identity, marks=marks)
        self._holes = Holes(self._state)
        self._entries = Entries(self._state, self._holes)
        self._rooms = Rooms(self._state, self._holes, rooms, only=only)
        self._token = ""  # of the last session that was in, which the next one takes over
        self._new_token = ""
        self._is_up = self._greeted = self._is_quitting = False
        self.server = self.reason = ""
        self.keepalive = 0
        self._on_event = self._table_of_events()
        self._once_done = self._table_of_commands()

    @property
    def name(self) -> str:
        """Who we are, as the server spells it."""
        return self._state.name

    @property
    def account(self) -> bool:
        """Whether we have a password."""
        return self._state.account

    @property
    def correspondent(self) -> str:
        """Who last wrote to us in private; empty if nobody has."""
        return self._state.correspondent

    @property
    def is_in(self) -> bool:
        """Whether we are logged in, in all rooms, and have been told everything so far."""
        return self._state.is_in

    @property
    def is_behind(self) -> bool:
        """Whether events are not told, as nobody reads them; see L{catch_up}."""
        return self._state.is_behind

    @is_behind.setter
    def is_behind(self, is_behind: bool) -> None:
        self._state.is_behind = is_behind

    @property
    def room(self) -> str:
        """The room of messages and commands that name none."""
        return self._rooms.room

    @room.setter
    def room(self, room: str) -> None:
        self._rooms.room = room

    @property
    def rooms(self) -> tuple[str, ...]:
        """The rooms that we are in, or go back to."""
        return tuple(self._seen.rooms)

    def knows(self, room: str) -> bool:
        """Whether we are in a room, and were told what was said there before."""
        return self._seen.knows(room)

    @property
    def awaits_answers(self) -> bool:
        """Whether something was sent and has no answer yet."""
        return bool(self._requests.sent)

    def take(self) -> Said:
        """Take out what has gathered."""
        return self._state.take()

    # Asking

    def ask(self, do: str, *, quiet: bool = False, **fields: Any) -> Asked:
        """Have a command carried out.

        @param do: a command of the table, by any of its words.
        @param quiet: nobody typed it.
        @param fields: its parameters. A room that is left out is C{room}, not the one that the
            server would take.
        @raise Refused: C{unknown-command}, C{too-long}, C{bad-encoding}.
        """
        command = lines.checked(requested, do)
        places = {p.name for p in command.parameters if p.optional} & _PLACES
        here = dict.fromkeys(places, self.room)
        asked = self._requests.ask(command.word, {**here, **fields}, quiet=quiet)
        if self._login.must_mark(asked.do):
            self._requests.ask("read", NOTHING_READ, quiet=True, internal=True)
        self._flush()
        return asked

    def mark(self, place: str, seq: int) -> None:
        """Say that a person has read a place up to an entry.

        @param place: a room, or C{@name} for a private conversation.
        """
        self._rooms.mark(place, seq)

    def is_read(self, place: str, seq: int) -> bool:
        """Whether the account has read a place up to an entry, here or elsewhere."""
        return self._rooms.is_read(place, seq)

    def catch_up(self) -> None:
        """Tell events again, first how many were not told meanwhile."""
        self._state.catch_up()
        if self.is_in:
            self._holes.resume()

    def resume(self) -> None:
        """Try again to send the posts that the server has refused for now."""
        self._requests.resume()
        self._flush()

    def quit(self) -> None:
        """Ask the server to end the session."""
        self._is_quitting = True
        if self._is_up:
            self._requests.written.append(b'{"do":"quit"}\n' if self._greeted else b"/quit\n")

    def _flush(self) -> None:
        """Send what waits, if we are in."""
        if self.is_in:
            self._requests.send_waiting(self.name)

    # Connections

    def connected(self) -> None:
        """Take a new connection."""
        self._is_up = True
        self._greeted = self._state.is_welcome = False
        self.reason = ""
        self._requests.written.append(b"/json on\n")

    def disconnected(self) -> None:
        """Take note that the connection is lost; see L{Requests.disconnected}."""
        self._is_up = self._state.is_in = False
        self._holes.clear()
        self._rooms.disconnected()
        self._entries.disconnected()
        self._requests.disconnected()

    def received(self, line: bytes) -> None:
        """Take a line from the server."""
        event = lines.event(line)
        if event is None:
            if line.startswith(b"! ") and not self._greeted:  # why it does not take us
                self.reason = safe(line[2:].decode("utf-8", "replace").strip())
            return
        asked = self._requests.find(event)
        if asked is not None and asked.quiet:
            event["quiet"] = True
        self._on_event.get(event["event"], self._state.tell)(event)

    def _table_of_events(self) -> Mapping[str, Callable[[Event], object]]:
        """Give what takes each event; all others are told."""
        return {
            "hello": self._on_hello,
            "done": self._on_done,
            "error": self._on_error,
            "skipped": self._on_skipped,
            "bye": self._on_bye,
            "ping": lambda event: None,
            "welcome": self._login.on_welcome,
            "renamed": self._login.on_renamed,
            "message": self._entries.on_message,
            "dm": self._entries.on_dm,
            "topic": self._entries.on_entry,
            "members": self._entries.on_entry,
            "history": self._entries.on_history,
            "joined": self._rooms.on_joined,
            "left": self._rooms.on_left,
            "rooms": self._rooms.on_rooms,
            "where": self._rooms.on_where,
            "read": self._rooms.on_read,
            "users": self._state.tell_of_room,
            "crowd": self._state.tell_of_room,
        }

    def _table_of_commands(self) -> Mapping[str, Callable[[Asked], None]]:
        """Give what holds once each command is done."""
        return {
            "guest": self._logged_in,
            "login": self._logged_in,
            "register": self._logged_in,
            "nick": self._login.renamed,
            "passwd": self._login.changed_password,
            "join": self._rooms.joined,
            "to": self._rooms.went_to,
            "leave": self._rooms.left,
            "read": self._rooms.has_read,
            "since": self._entries.resumed,
            "history": self._holes.filled,
        }

    # Coming in

    def _on_hello(self, event: Event) -> None:
        if self._greeted:
            return
        if event["protocol"] != PROTOCOL:
            older = event["protocol"] < PROTOCOL
            sentence = (
                f"this server speaks protocol {event['protocol']}, and this client {PROTOCOL}"
            )
            way = "upgrade the server" if older else "upgrade the client"
            self._state.drop(f"{sentence}; {way}", is_hopeless=True)
            return
        self._greeted = True
        self.server = event["server"]
        seconds = event.get("keepalive") or 0
        self.keepalive = seconds if seconds <= _DAY else 0
        token = event.get("session") or ""
        self._new_token = token if len(token) <= _LONGEST_TOKEN else ""
        self._holes.ask(self._seen.places(), session=self._token)
        self._login.begin()

    def _logged_in(self, asked: Asked) -> None:
        if asked.internal:
            self._state.is_welcome = True
            self._rooms.enter()
        else:
            self._login.became(asked)

    def _go_on(self) -> None:
        """Send what may be sent by now; take note that we are in, if nothing else is to come."""
        if self._state.is_welcome and not self.is_in and not self.awaits_answers:
            self._entered()
        self._flush()

    def _entered(self) -> None:
        again = self._state.was_in
        self._state.is_in = self._state.was_in = True
        self._token = self._new_token
        self._login.succeeded()
        told = {"name": self.name, "account": self.account, "server": self.server, "again": again}
        self._state.tell_connected({"event": "connected", **told})
        self._holes.fill()

    # Answers

    def _on_done(self, event: Event) -> None:
        asked = self._requests.find(event)
        if asked is None:
            return
        self._requests.done(asked, event)
        effect = self._once_done.get(asked.do)
        if effect is not None:
            with suppress(KeyError, Refused):  # the server has done what no server does
                effect(asked)
        self._go_on()

    def _on_error(self, event: Event) -> None:
        asked = self._requests.find(event)
        if asked is None:
            self._state.tell(event)
            return
        refused = Refused(event["code"], event["text"])
        if self._requests.refused(asked, refused):
            self._state.tell({"event": "paused", "text": _PAUSED})
        if asked.internal:
            self._refused(asked, refused, event)
        elif asked.do == "leave" and refused.code in _OUT:
            self._rooms.out_of(asked.fields["room"])
        self._go_on()

    def _refused(self, asked: Asked, refused: Refused, event: Event) -> None:
        """Do without a request of the session's own, or begin again, as it was refused."""
        if asked.do in LOGIN:
            self._login.refused(asked.do, refused)
        elif asked.do != "read" and refused.code == UNAVAILABLE:
            self._state.drop(refused.text, refused.code)
        elif asked.do == "join":
            self._rooms.out_of(asked.fields["room"])
            event.pop("quiet", None)
            self._state.tell(event)
        elif asked.do == "history" and refused.code in _OUT:
            self._rooms.out_of(asked.fields["of"])
        elif asked.do != "read" and self.is_in:
            self._state.drop(refused.text)  # what is missing is shown on coming back

    def _on_skipped(self, event: Event) -> None:
        self._entries.drop_replay()
        if not self.is_in:
            self._state.drop("the server skipped a part of the login")
            return
        self._state.tell(event)
        self._entries.resume()
        if self.account:
            self._state.send("where")  # another session may have joined rooms, or left some

    def _on_bye(self, event: Event) -> None:
        self.reason = event["text"]
        if not self._is_quitting:
            self._state.tell(event)
