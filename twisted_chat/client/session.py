"""A client's session with a server, over as many connections as it takes. It reads and writes lines
of protocol 2 and knows neither a socket nor Twisted; the time is an argument.

Its owner calls L{ClientSession.connected}, L{ClientSession.received} for each line, and
L{ClientSession.disconnected}, and after each call takes what has gathered: C{written} lines,
C{events}, C{answers}, and C{drop}, with which the session asks for the connection to be cut off.

What the session promises, whatever happens to the connections:

  - Every request gets exactly one answer, and it is its own.
  - A post is said once: it is repeated until it is answered; see L{Requests}.
  - Every message is told once, in order, or a C{gap} says which are missing.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from twisted_chat.protocol.commands import MOST_PLACES, requested
from twisted_chat.protocol.jsonlines import PROTOCOL, safe

from . import identity as who
from . import lines
from .identity import Identity
from .lines import DIRECT, LOBBY, Event, Refused
from .requests import LOGIN, REPLAYS, Asked, Requests
from .seen import Seen

_REPLAY = 100_000
"""Messages in one replay, at most: a server that sends more is broken."""

_PLACES = frozenset({"room", "of"})
"""Parameters that say which room a command is about."""

_NAME_TRIES = 10
"""How often a guest asks for its name again: its last session may not be over yet."""

_LONGEST_TOKEN = 200
"""Characters of a session's token, at most: a longer one is not used."""

_DAY = 24 * 3600
"""Seconds between two signs of life; a server that says more is taken to send none."""


@dataclass(frozen=True, slots=True)
class Drop:
    """The reason to cut the connection off.

    @ivar reason: a sentence for people; empty if the network knows better.
    @ivar code: what the server refused the login with.
    @ivar is_hopeless: a new connection would end in the same way.
    """

    reason: str
    code: str = ""
    is_hopeless: bool = False


@dataclass(slots=True)
class Said:
    """What the session has to say to its owner, who takes it out.

    @ivar written: lines for the server, each with its end.
    @ivar events: what happened.
    @ivar answers: requests with their answers: for a post the message that it has become, for
        everything else the C{done}; or a L{Refused}.
    @ivar drop: why the connection has to be cut off; L{None} if it may stay.
    """

    written: list[bytes] = field(default_factory=list, repr=False)  # there may be passwords in it
    events: list[Event] = field(default_factory=list)
    answers: list[tuple[Asked, Event | Refused]] = field(default_factory=list)
    drop: Drop | None = None


class ClientSession:
    """One client's session.

    @ivar name: who we are, as the server spells it.
    @ivar account: we have a password.
    @ivar server: what the server calls itself.
    @ivar keepalive: seconds between the server's signs of life; 0: it sends none.
    @ivar room: the room of messages and commands that name none.
    @ivar correspondent: who last wrote to us in private; empty if nobody has.
    @ivar is_in: we are logged in, in all rooms, and have been told everything so far.
    @ivar was_in: C{is_in} has been true, on this connection or an earlier one.
    @ivar reason: why the server is about to end the connection, in its own words.
    @ivar is_behind: events are not told, as nobody reads them; see L{catch_up}.
    """

    def __init__(
        self,
        identity: Identity,
        rooms: Iterable[str],
        prefix: str,
        now: Callable[[], float],
    ) -> None:
        """
        @param rooms: to be in, besides the lobby; the last one is C{room}.
        @param prefix: begins the labels of posts: at least 15 printable characters that nobody
            can guess.
        @param now: gives the time, in seconds; never goes back, nor stands still in sleep.
        @raise Refused: C{bad-name}, for a person or a room.
        """
        self._identity = who.checked(identity)
        self._requests = Requests(prefix, now)
        self._seen = Seen()
        self.room = LOBBY
        for room in rooms:
            self.room = lines.room(room)
            self._seen.rooms.setdefault(self.room, None)
        self._replay: list[Event] = []
        self._untold = 0
        self._token = ""  # of the last session that was in, which the next one takes over
        self._new_token = ""
        self._greeted = self._is_welcome = self._is_quitting = False
        self._name_tries = 0
        self._unread_left = False
        self._said = Said()
        self.name = self.server = self.correspondent = self.reason = ""
        self.account = self.is_in = self.was_in = self.is_behind = self._is_up = False
        self.keepalive = 0

    @property
    def rooms(self) -> tuple[str, ...]:
        """The rooms that we are in, or go back to."""
        return tuple(self._seen.rooms)

    @property
    def awaits_answers(self) -> bool:
        """Whether something was sent and has no answer yet."""
        return bool(self._requests.sent)

    def take(self) -> Said:
        """Take out what has gathered."""
        said, self._said = self._said, Said()
        said.written, self._requests.written = self._requests.written, []
        said.answers, self._requests.answers = self._requests.answers, []
        return said

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
        self._flush()
        return asked

    def _send(self, do: str, **fields: Any) -> None:
        """Send a request of the session's own, ahead of all that waits."""
        self._requests.send_now(self.name, do, fields, quiet=self.was_in)

    def _flush(self) -> None:
        """Send what waits, if we are in."""
        if self.is_in:
            self._requests.send_waiting(self.name)

    def quit(self) -> None:
        """Ask the server to end the session."""
        self._is_quitting = True
        if self._is_up:
            self._requests.written.append(b'{"do":"quit"}\n' if self._greeted else b"/quit\n")

    # Connections

    def connected(self) -> None:
        """Take a new connection."""
        self._is_up = True
        self._greeted = self._is_welcome = False
        self.reason = ""
        self._requests.written.append(b"/json on\n")

    def disconnected(self) -> None:
        """Take note that the connection is lost; see L{Requests.disconnected}."""
        self._is_up = self.is_in = False
        self._replay.clear()
        self._requests.disconnected()

    def _log_in(self) -> None:
        """Ask for what was missed, and for who we are."""
        has_account = bool(self._identity.password)
        self._ask_since(self._seen.places(direct=has_account), session=self._token)
        identity = self._identity
        fields = {"name": identity.name} if identity.name else {}
        if not has_account:
            self._send("guest", **fields)
        else:
            do = "register" if identity.register else "login"
            self._send(do, **fields, password=identity.password)

    def _ask_since(self, places: Mapping[str, int], session: str = "") -> None:
        """Ask for everything after these places, in as many requests as it takes."""
        given = list(places.items())
        for start in range(0, max(len(given), bool(session)), MOST_PLACES):
            taken_over = {"session": session} if session and not start else {}
            part = dict(given[start : start + MOST_PLACES])
            self._send("since", places=part, **taken_over)

    def _not_in(self, do: str, refused: Refused) -> None:
        """The login was refused: try in another way, later, or not again."""
        if do == "register" and refused.code == "name-registered":
            self._identity = replace(self._identity, register=False)
            self._send("login", name=self._identity.name, password=self._identity.password)
            return
        unknown = self._requests.password_unknown
        if unknown is not None and refused.code in ("wrong-password", "name-registered"):
            self._requests.password_unknown = None
            with suppress(KeyError):
                self._try_new_password(unknown)
                return
        is_hopeless = not who.is_for_now(refused)
        if refused.code == "name-taken" and self.was_in and not self._identity.password:
            self._name_tries += 1
            if self._name_tries > _NAME_TRIES:
                self._send("guest")
                return
            is_hopeless = False
        self._said.drop = Drop(refused.text, refused.code, is_hopeless)

    def _try_new_password(self, unknown: Asked) -> None:
        """Log in with the password that was asked for, as it was accepted after all."""
        fields = unknown.fields
        password = fields["new" if unknown.do == "passwd" else "password"]
        self._identity = Identity(fields.get("name", self._identity.name), password)
        self._send("login", name=self._identity.name, password=password)

    def _enter_rooms(self) -> None:
        """Join the rooms, as the login is done."""
        self._is_welcome = True
        for room in self.rooms:
            if room != LOBBY:
                self._send("join", room=room)
        self._entered_if_done()

    def _entered_if_done(self) -> None:
        if self.awaits_answers or self.is_in or not self._is_welcome:
            return
        again, self.is_in, self.was_in = self.was_in, True, True
        self._token = self._new_token
        self._name_tries = 0
        self._requests.password_unknown = None
        told = {"name": self.name, "account": self.account, "server": self.server, "again": again}
        self._said.events.append({"event": "connected", **told})
        self._show_unread()
        self._fill_unknown()
        self._flush()

    def _show_unread(self) -> None:
        """Ask for the unread private messages that the login did not show."""
        unread_left, self._unread_left = self._unread_left, False
        if unread_left and self.is_in:
            self._resume()

    # Filling gaps

    def catch_up(self) -> None:
        """Tell events again, first those that were not told meanwhile."""
        self.is_behind = False
        untold, self._untold = self._untold, 0
        self._tell({"event": "skipped", "lines": untold})
        if self.is_in:
            self._resume()

    def _resume(self) -> None:
        """Ask for everything after what was told. The C{done} of this also tells which requests
        before it will have no answer any more."""
        self._ask_since(self._seen.places(direct=self.account))
        self._fill_unknown()

    def _fill_unknown(self) -> None:
        """Ask for the messages of rooms whose replay did not arrive."""
        joining = {each.fields["room"] for each in self._requests.sent if each.do == "join"}
        for room in self._seen.unknown():
            if room not in joining:
                self._send("history", of=room)

    @property
    def _resuming(self) -> list[Asked]:
        """The requests for what was missed that have no answer yet."""
        return [each for each in self._requests.sent if each.internal and each.do == "since"]

    @property
    def _fills_direct(self) -> bool:
        return any(DIRECT in each.fields["places"] for each in self._resuming)

    # Telling

    def _tell(self, event: Event) -> bool:
        """Tell an event, unless nobody reads them.

        @return: whether it was told.
        """
        if self.is_behind:
            self._untold += 1
            return False
        self._said.events.append(event)
        return True

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
        take = _TAKE.get(event["event"])
        if take is None:
            self._tell(event)
        else:
            take(self, event)

    def _on_hello(self, event: Event) -> None:
        if self._greeted:
            return
        if event["protocol"] != PROTOCOL:
            older = event["protocol"] < PROTOCOL
            sentence = (
                f"this server speaks protocol {event['protocol']}, and this client {PROTOCOL}"
            )
            way = "upgrade the server" if older else "upgrade the client"
            self._said.drop = Drop(f"{sentence}; {way}", is_hopeless=True)
            return
        self._greeted = True
        self.server = event["server"]
        seconds = event.get("keepalive") or 0
        self.keepalive = seconds if seconds <= _DAY else 0
        token = event.get("session") or ""
        self._new_token = token if len(token) <= _LONGEST_TOKEN else ""
        self._log_in()

    def _on_done(self, event: Event) -> None:
        asked = self._requests.find(event)
        if asked is None:
            return
        self._requests.done(asked, event)
        effect = _DONE.get(asked.do)
        if effect is not None:
            with suppress(KeyError, Refused):  # the server has done what no server does
                effect(self, asked)
        self._go_on()

    def _on_error(self, event: Event) -> None:
        asked = self._requests.find(event)
        if asked is None:
            self._tell(event)
            return
        refused = Refused(event["code"], event["text"])
        self._requests.answer(asked, refused)
        if asked.internal:
            self._refused(asked, refused, event)
        elif asked.do == "leave" and refused.code in ("not-in-room", "no-such-room"):
            self._out_of(asked.fields["room"])
        self._go_on()

    def _refused(self, asked: Asked, refused: Refused, event: Event) -> None:
        """A request of the session's own was refused."""
        if asked.do in LOGIN:
            self._not_in(asked.do, refused)
        elif asked.do == "join":
            self._out_of(asked.fields["room"])
            event.pop("quiet", None)
            self._tell(event)
        elif self.is_in:  # messages are missing: they are shown on coming back
            self._said.drop = Drop(refused.text)

    def _go_on(self) -> None:
        self._entered_if_done()
        self._flush()

    def _on_skipped(self, event: Event) -> None:
        self._replay.clear()
        if not self.is_in:
            self._said.drop = Drop("the server skipped a part of the login")
            return
        self._tell(event)
        self._resume()

    # Messages

    def _on_message(self, event: Event) -> None:
        self._take_receipt(event)
        if event["replay"]:
            self._keep(event)
            return
        seen, room, seq = self._seen, event["room"], event["seq"]
        seen.last_id = max(seen.last_id, event["id"])
        if room not in seen.rooms or self._is_joining(room):
            return  # if we are there, it is in the replay that is to come
        last = seen.rooms[room]
        if last is not None and seq > last + 1 and not self.is_behind:
            if not self._resuming:
                self._resume()
            return
        if not self._tell({**event, "new": True}):
            return
        seen.rooms[room] = seq
        if seen.direct is not None and not self._fills_direct:
            seen.direct = max(seen.direct, event["id"])

    def _is_joining(self, room: str) -> bool:
        return self._seen.rooms[room] is None and any(
            each.do in REPLAYS for each in self._requests.sent
        )

    def _on_dm(self, event: Event) -> None:
        self._take_receipt(event)
        if event["replay"]:
            self._keep(event)
            return
        seen, id = self._seen, event["id"]
        if id is not None:
            seen.last_id = max(seen.last_id, id)
            if self._fills_direct:
                return  # it is in the replay that is to come
        if self._tell({**event, "new": True}):
            self._hear(event)
            if id is not None and seen.direct is not None:
                seen.direct = max(seen.direct, id)

    def _hear(self, event: Event) -> None:
        if event["event"] == "dm" and event["from"] != self.name:
            self.correspondent = event["from"]

    def _take_receipt(self, event: Event) -> None:
        """Find the post that this message is, by its label."""
        asked = self._requests.find_post(event)
        if asked is None or event["from"] != self.name:
            return
        asked.receipt = {**event, "replay": False}
        if event["replay"]:  # from a connection before, so no answer comes
            self._requests.answer(asked, asked.receipt)

    def _keep(self, event: Event) -> None:
        """Keep a message of a replay until the replay is complete."""
        event.pop("quiet", None)
        self._replay.append(event)
        if len(self._replay) > _REPLAY:
            self._said.drop = Drop("the server's replay does not end")

    def _on_history(self, event: Event) -> None:
        """Take a replay, which is complete."""
        replay, self._replay = self._replay, []
        self._seen.last_id = max([self._seen.last_id, *(each["id"] or 0 for each in replay)])
        asked = self._requests.find(event)
        if asked is None or not asked.replays:
            for message in replay:
                quiet = {"quiet": True} if event.get("quiet") else {}
                self._tell({**message, "new": False, **quiet})
            self._tell(event)
            return
        if len(replay) == event["count"]:  # else a part was skipped, and is asked for
            self._fill(event["room"], replay)
        self._tell({**event, "quiet": True})

    def _fill(self, of: str, replay: list[Event]) -> None:
        """Tell the messages of a replay that were not told yet."""
        if of == DIRECT:
            self._fill_direct(replay)
        elif of in self._seen.rooms:
            self._fill_room(of, replay)

    def _fill_direct(self, replay: list[Event]) -> None:
        seen = self._seen
        for message in replay:
            id = message["id"]
            if message["event"] != "dm" or id is None or id <= (seen.direct or 0):
                continue
            if not self._tell({**message, "new": True}):
                return
            self._hear(message)
            seen.direct = id

    def _fill_room(self, room: str, replay: list[Event]) -> None:
        seen = self._seen
        is_new = seen.rooms[room] is not None
        for message in replay:
            if message["event"] != "message" or message["room"] != room:
                continue
            seq, last = message["seq"], seen.rooms[room]
            if last is not None and seq <= last:
                continue
            if self.is_behind:
                self._untold += 1
                return
            if last is not None and seq > last + 1:
                self._tell({"event": "gap", "room": room, "first": last + 1, "last": seq - 1})
            self._tell({**message, "new": is_new})
            seen.rooms[room] = seq
        if seen.rooms[room] is None and not self.is_behind:
            seen.rooms[room] = 0

    def _on_omitted(self, event: Event) -> None:
        if event["of"] == DIRECT and event["later"]:
            self._unread_left = True  # they are asked for
        else:
            self._tell(event)

    # Who we are, and where

    def _on_welcome(self, event: Event) -> None:
        us = event["name"], event["account"]
        if us != (self.name, self.account):
            event.pop("quiet", None)
        self.name, self.account = us
        self._identity = replace(self._identity, register=False)  # it is done
        self._tell(event)

    def _on_joined(self, event: Event) -> None:
        if event.get("name") == self.name:
            with suppress(Refused):  # no server has a room of that name
                self._seen.rooms.setdefault(lines.room(event["room"]), None)
        self._tell(event)

    def _on_left(self, event: Event) -> None:
        if event.get("name") == self.name and event["room"] != LOBBY:
            self._out_of(event["room"])
        self._tell(event)

    def _out_of(self, room: str) -> None:
        self._seen.rooms.pop(room, None)
        if self.room == room:
            self.room = LOBBY

    def _on_renamed(self, event: Event) -> None:
        if event["name"] == self.name:
            self._be(event["to"])
        if event["name"] == self.correspondent:
            self.correspondent = event["to"]
        self._tell(event)

    def _be(self, name: str) -> None:
        self.name = name
        self._identity = replace(self._identity, name=name)

    def _on_bye(self, event: Event) -> None:
        self.reason = event["text"]
        if not self._is_quitting:
            self._tell(event)

    # What holds once a command is done, whether or not its events arrived

    def _joined(self, asked: Asked) -> None:
        self._seen.rooms.setdefault(lines.room(asked.fields["room"]), None)
        if self.is_in:
            self._fill_unknown()

    def _left(self, asked: Asked) -> None:
        self._out_of(lines.room(asked.fields["room"]))

    def _renamed(self, asked: Asked) -> None:
        self._be(lines.person(asked.fields["name"]))

    def _logged_in(self, asked: Asked) -> None:
        if not asked.internal:
            self._be(lines.person(asked.fields["name"]))
            self._identity = Identity(self.name, asked.fields["password"])
            self.account = True
        if self.account and not (self._unread_left or self.is_behind):
            self._seen.begin_direct()
        if asked.internal:
            self._enter_rooms()
        else:
            self._show_unread()

    def _changed_password(self, asked: Asked) -> None:
        self._identity = replace(self._identity, password=asked.fields["new"])

    def _filled(self, asked: Asked) -> None:
        """A request for messages was carried out: a room without any begins here."""
        if asked.internal and not self.is_behind:
            room = asked.fields["of"]
            if self._seen.rooms.get(room, 0) is None:
                self._seen.rooms[room] = 0


_TAKE: Mapping[str, Callable[[ClientSession, Event], None]] = {
    "hello": ClientSession._on_hello,
    "welcome": ClientSession._on_welcome,
    "done": ClientSession._on_done,
    "error": ClientSession._on_error,
    "message": ClientSession._on_message,
    "dm": ClientSession._on_dm,
    "history": ClientSession._on_history,
    "omitted": ClientSession._on_omitted,
    "skipped": ClientSession._on_skipped,
    "joined": ClientSession._on_joined,
    "left": ClientSession._on_left,
    "renamed": ClientSession._on_renamed,
    "ping": lambda session, event: None,
    "bye": ClientSession._on_bye,
}

_DONE: Mapping[str, Callable[[ClientSession, Asked], None]] = {
    "join": ClientSession._joined,
    "leave": ClientSession._left,
    "nick": ClientSession._renamed,
    "login": ClientSession._logged_in,
    "register": ClientSession._logged_in,
    "guest": ClientSession._logged_in,
    "passwd": ClientSession._changed_password,
    "history": ClientSession._filled,
}
