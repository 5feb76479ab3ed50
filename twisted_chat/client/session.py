"""A client's session with a server, over as many connections as it takes. It reads and writes lines
of protocol 2 and knows neither a socket nor Twisted; the time is an argument.

Its owner calls L{ClientSession.connected}, L{ClientSession.received} for each line, and
L{ClientSession.disconnected}, and after each call takes what has gathered: C{written} lines,
C{events}, C{answers}, and C{drop}, with which the session asks for the connection to be cut off.

What the session promises, whatever happens to the connections:

  - Every request gets exactly one answer, and it is its own.
  - A post is said once: it is repeated until it is answered; see L{Requests}.
  - Every message is told once, in order, or a C{gap} says which are missing.

Rooms and private conversations are places, and each counts its entries by C{seq}. A place has a
hole while entries of it are missing; what comes live there is not told, as it is among what is
asked for.
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
from .lines import LOBBY, UNREAD, Event, Refused
from .requests import LOGIN, Asked, Requests
from .seen import Seen

_REPLAY = 100_000
"""Entries in one replay, at most: a server that sends more is broken."""

_OUT = frozenset({"not-in-room", "no-such-room"})
"""What tells that we are not in a room any more."""

_LOGIN_TO_ACCOUNT = frozenset({"login", "register"})

_NOTHING_READ: Mapping[str, Any] = {"of": LOBBY, "seq": 0}
"""What a session says first that says by itself what was read: the server marks nothing for it from
then on."""

_MESSAGES = frozenset({"message", "dm"})

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
        self._identity = who.checked(identity)
        self._requests = Requests(prefix, now)
        self._only = only
        self._marks = marks
        self._marked: dict[str, int] = {}  # up to where the account has read each place
        self._seen = Seen()
        self._holes: set[str] = set()
        self._before: dict[str, int] = {}  # the newest entry of a room when we found us there
        self._unshown: set[str] = set()  # rooms that we are in, and of which nothing old was told
        self.room = LOBBY
        for room in rooms:
            self.room = lines.room(room)
            self._seen.rooms.setdefault(self.room, None)
        self._wanted = set(self._seen.rooms) - {LOBBY}  # of these, those that were not joined yet
        self._replay: list[Event] = []
        self._untold = 0
        self._unread_asked: Asked | None = None
        self._strangers: list[Event] = []  # what they wrote meanwhile, which may be among it
        self._token = ""  # of the last session that was in, which the next one takes over
        self._new_token = ""
        self._greeted = self._is_welcome = self._is_quitting = False
        self._name_tries = 0
        self._said = Said()
        self.name = self.server = self.correspondent = self.reason = ""
        self.account = self.is_in = self.was_in = self.is_behind = self._is_up = False
        self.keepalive = 0

    @property
    def rooms(self) -> tuple[str, ...]:
        """The rooms that we are in, or go back to."""
        return tuple(self._seen.rooms)

    def knows(self, room: str) -> bool:
        """Whether we are in a room, and were told what was said there before."""
        return room in self._seen.rooms and room not in self._unshown

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
        if self._marks and asked.do in _LOGIN_TO_ACCOUNT:
            self._requests.ask("read", _NOTHING_READ, quiet=True, internal=True)
        self._flush()
        return asked

    def mark(self, place: str, seq: int) -> None:
        """Say that a person has read a place up to an entry.

        @param place: a room, or C{@name} for a private conversation.
        """
        if self.is_in and self.account and not self.is_read(place, seq):
            self._marked[place] = seq
            self._send("read", of=place, seq=seq)

    def is_read(self, place: str, seq: int) -> bool:
        """Whether the account has read a place up to an entry, here or elsewhere."""
        return seq <= self._marked.get(place, 0)

    def _send(self, do: str, **fields: Any) -> Asked:
        """Send a request of the session's own, ahead of all that waits."""
        return self._requests.send_now(self.name, do, fields, quiet=self.was_in)

    def _send_login(self, do: str, **fields: Any) -> None:
        self._send(do, **fields)
        if self._marks and do in _LOGIN_TO_ACCOUNT:
            # Right behind it: the next request would count as reading what the login shows.
            self._send("read", **_NOTHING_READ)

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
        self._holes.clear()
        self._marked.clear()
        for event in self._strangers:
            if self._seen.last(place := lines.conversation(event, self.name)) is None:
                self._seen.tell(place, event["seq"] - 1)  # so that it is asked for
        self._strangers.clear()
        self._unread_asked = None
        self._requests.disconnected()

    def _log_in(self) -> None:
        """Ask for what was missed, and for who we are."""
        places = self._seen.places()
        self._holes.update(places)
        self._ask_since(places, session=self._token)
        identity = self._identity
        fields = {"name": identity.name} if identity.name else {}
        if not identity.password:
            self._send_login("guest", **fields)
        else:
            do = "register" if identity.register else "login"
            self._send_login(do, **fields, password=identity.password)

    def _ask_since(self, places: Mapping[str, int], session: str = "") -> Asked | None:
        """Ask for everything after these places, in as many requests as it takes.

        @return: the last of the requests.
        """
        given = list(places.items())
        asked = None
        for start in range(0, max(len(given), bool(session)), MOST_PLACES):
            taken_over = {"session": session} if session and not start else {}
            part = dict(given[start : start + MOST_PLACES])
            asked = self._send("since", places=part, **taken_over)
        return asked

    def _not_in(self, do: str, refused: Refused) -> None:
        """The login was refused: try in another way, later, or not again."""
        if do == "register" and refused.code == "name-registered":
            self._identity = replace(self._identity, register=False)
            self._send_login("login", name=self._identity.name, password=self._identity.password)
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
                self._send_login("guest")
                return
            is_hopeless = False
        self._said.drop = Drop(refused.text, refused.code, is_hopeless)

    def _try_new_password(self, unknown: Asked) -> None:
        """Log in with the password that was asked for, as it was accepted after all."""
        fields = unknown.fields
        password = fields["new" if unknown.do == "passwd" else "password"]
        self._identity = Identity(fields.get("name", self._identity.name), password)
        self._send_login("login", name=self._identity.name, password=password)

    def _enter_rooms(self) -> None:
        """Join the rooms, as the login is done. An account is in its rooms already."""
        self._is_welcome = True
        for room in self.rooms:
            if room in self._wanted or not (self.account or room == LOBBY):
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
        self._fill_holes()
        self._fill_unknown()
        self._flush()

    # Filling holes

    def catch_up(self) -> None:
        """Tell events again, first those that were not told meanwhile."""
        self.is_behind = False
        untold, self._untold = self._untold, 0
        self._tell({"event": "skipped", "lines": untold})
        if self.is_in:
            self._resume()

    def _resume(self) -> Asked | None:
        """Ask for everything after what was told. The C{done} of this also tells which requests
        before it will have no answer any more.

        @return: the last request for it.
        """
        self._holes.update(self._seen.places())
        asked = self._fill_holes()
        self._fill_unknown()
        return asked

    def _fill_holes(self) -> Asked | None:
        """Ask for what is missing.

        @return: as L{_ask_since}.
        """
        last = {place: self._seen.last(place) for place in sorted(self._holes)}
        return self._ask_since({place: seq for place, seq in last.items() if seq is not None})

    def _miss(self, place: str) -> None:
        """Take note that something of a place was not told, and ask for it."""
        last = self._seen.last(place)
        if last is None or place in self._holes or self.is_behind:
            return
        self._holes.add(place)
        if self.is_in:
            self._ask_since({place: last})

    def _fill_unknown(self) -> None:
        """Ask for the messages of rooms whose replay did not arrive."""
        joining = self._requests.joining()
        for room in self._seen.unknown():
            if room not in joining | self._unshown:
                self._send("history", of=room)

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
        elif asked.do == "leave" and refused.code in _OUT:
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
        elif asked.do == "history" and refused.code in _OUT:
            self._out_of(asked.fields["of"])
        elif asked.do != "read" and self.is_in:
            self._said.drop = Drop(refused.text)  # what is missing is shown on coming back

    def _go_on(self) -> None:
        self._entered_if_done()
        self._flush()

    def _on_skipped(self, event: Event) -> None:
        self._replay.clear()
        if not self.is_in:
            self._said.drop = Drop("the server skipped a part of the login")
            return
        self._tell(event)
        self._unread_asked = self._resume()
        if self.account:
            self._send("where")  # another session may have joined rooms, or left some

    # What is in the log

    def _on_message(self, event: Event) -> None:
        self._take_receipt(event)
        if event["replay"]:
            self._keep(event)
        else:
            self._tell_next(event["room"], {**event, "new": True})

    def _on_entry(self, event: Event) -> None:
        """Take an entry that is no message, or a topic that somebody has asked for."""
        if event.get("replay"):
            self._keep(event)
        elif event.get("seq") is None:
            self._tell_of_room(event)
        else:
            self._tell_next(event["room"], event, event.get("count", 1))

    def _tell_next(self, place: str, event: Event, entries: int = 1) -> bool:
        """Tell what came live in a place, if it is the next there.

        @param entries: how many entries the event tells of.
        @return: whether it was told.
        """
        seq, last = event["seq"], self._seen.last(place)
        if place in self._holes or not self._is_ours(place):
            return False
        if last is None and self._is_joining(place):
            return False
        if last is not None and seq - entries > last and not self.is_behind:
            self._miss(place)
            return False
        is_told = self._tell(event)
        if is_told or last is None:
            self._seen.tell(place, seq if is_told else seq - entries)
        return is_told

    def _is_ours(self, place: str) -> bool:
        return place in self._seen.rooms or place.startswith("@")

    def _is_joining(self, place: str) -> bool:
        """Whether a replay of a room of which nothing was told is to come."""
        is_room = not place.startswith("@")
        return is_room and (not self._is_welcome or place in self._requests.joining())

    def _on_dm(self, event: Event) -> None:
        self._take_receipt(event)
        told = {**event, "new": True}
        place = lines.conversation(event, self.name)
        if event["replay"]:
            self._keep(event)
        elif event.get("seq") is None:  # it is not kept
            if self._tell(told):
                self._hear(event)
        elif self._unread_asked is not None and self._seen.last(place) is None:
            self._strangers.append(event)
        elif self._tell_next(place, told):
            self._hear(event)

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
        """Keep an entry of a replay until the replay is complete."""
        event.pop("quiet", None)
        self._replay.append(event)
        if len(self._replay) > _REPLAY:
            self._said.drop = Drop("the server's replay does not end")

    def _on_history(self, event: Event) -> None:
        """Take a replay, which is complete."""
        replay, self._replay = self._replay, []
        asked, place = self._requests.find(event), event["room"]
        is_known = self._seen.last(place) is not None
        if asked is None or not asked.replays:
            self._show_again(replay, event)
        elif is_known and place in self._unshown and event.get("after") is None:
            self._show_again(replay, event)  # as it was asked for by joining the room
        else:
            if len(replay) != event["count"]:
                pass  # a part was skipped, and is asked for
            elif place == UNREAD:
                self._fill_unread(replay)
            elif self._is_ours(place):
                self._fill(event, [each for each in replay if self._is_at(each, place)])
            self._tell({**event, "quiet": True})

    def _show_again(self, replay: list[Event], event: Event) -> None:
        """Tell what somebody has asked to see."""
        quiet = {"quiet": True} if event.get("quiet") else {}
        for each in replay:
            self._tell({**each, "new": False, **quiet})
        self._tell(event)

    def _fill(self, event: Event, replay: list[Event]) -> None:
        """Tell what was not told yet of a replay that goes on where we were in a place.

        @param event: the C{history} at its end.
        """
        place, after, seq = event["room"], event.get("after"), event.get("seq")
        last = self._seen.last(place)
        if self.is_behind:
            self._untold += len(replay)
            return
        if last is not None and after is None and seq is not None and seq > last:
            self._miss(place)  # these are only the last messages
            return
        if last is not None and after is not None and after > last:
            self._tell({"event": "gap", "room": place, "first": last + 1, "last": after})
        for each in replay:
            if last is None or each["seq"] > last:
                is_new = last is not None and each["seq"] > self._before.get(place, 0)
                self._tell({**each, "new": is_new} if each["event"] in _MESSAGES else each)
                self._hear(each)
        newest = max([last or 0, *(each["seq"] for each in replay)])
        self._seen.tell(place, newest if seq is None else seq)
        self._holes.discard(place)
        self._unshown.discard(place)

    def _fill_unread(self, replay: list[Event]) -> None:
        """Tell the unread private messages that were not told yet. What else is in their
        conversations, such as what we have said from elsewhere, is asked for."""
        places = {lines.conversation(each, self.name): None for each in replay if _is_kept(each)}
        for each in filter(_is_kept, replay):
            place, seq = lines.conversation(each, self.name), each["seq"]
            last = self._seen.last(place)
            if last is not None and seq != last + 1:
                continue  # it was told, or is asked for
            is_told = place not in self._holes and self._tell({**each, "new": True})
            if is_told:
                self._hear(each)
            if is_told or last is None:
                self._seen.tell(place, seq if is_told else seq - 1)
        for place in places:
            self._miss(place)

    def _is_at(self, entry: Event, place: str) -> bool:
        """Whether an event of a replay is an entry of a place."""
        is_dm = entry["event"] == "dm"
        at = lines.conversation(entry, self.name) if is_dm else entry["room"]
        return at == place and entry.get("seq") is not None

    # Who we are, and where

    def _on_welcome(self, event: Event) -> None:
        us = event["name"], event["account"]
        if us != (self.name, self.account):
            event.pop("quiet", None)
        self.name, self.account = us
        self._identity = replace(self._identity, register=False)  # it is done
        self._tell(event)

    def _on_rooms(self, event: Event) -> None:
        """Take the list of rooms: all of them, or those that the account is in."""
        if event.get("joined"):
            asked = self._requests.find(event)
            event["rooms"] = [row for row in event["rooms"] if self._open(row)]
            if asked is not None and asked.internal:
                self._close_others(event)
        self._tell(event)

    def _close_others(self, event: Event) -> None:
        """Take note that we are in no other rooms than these."""
        here = {row["room"] for row in event["rooms"]}
        left = {"event": "left", "time": event.get("time"), "name": self.name}
        for room in sorted(self._seen.rooms.keys() - self._wanted - here - {LOBBY}):
            self._on_left({**left, "room": room})

    def _open(self, row: Mapping[str, Any]) -> bool:
        """Take note of a room that the account is in.

        @return: whether it matters here.
        """
        room, seq, read, new = (row.get(name) for name in ("room", "seq", "read", "new"))
        if room is None or seq is None or read is None or not _is_room(room):
            return False
        is_known = room in self._seen.rooms
        if self._only and not is_known:
            return False
        self._marked[room] = read
        if room in self._wanted:
            return True
        is_asked_for = self.is_in and room not in self._unshown
        if is_known and (is_asked_for or self._seen.rooms[room] is not None):
            return True
        self._before[room] = seq
        self._seen.rooms[room] = read if new else seq
        if new:
            self._miss(room)
        else:
            self._unshown.add(room)
        return True

    def _on_joined(self, event: Event) -> None:
        room = event["room"]
        if event.get("name") == self.name and room not in self._seen.rooms and _is_room(room):
            is_ours = self._requests.find(event) is not None
            if not is_ours and self._only:
                return
            self._seen.rooms[room] = None
            if not is_ours:  # another session has joined it
                self._unshown.add(room)
        self._tell_of_room(event)

    def _on_left(self, event: Event) -> None:
        is_known = self._is_ours(event["room"])
        if event.get("name") == self.name and event["room"] != LOBBY:
            self._out_of(event["room"])
        if is_known or self._requests.find(event) is not None:
            self._tell(event)

    def _tell_of_room(self, event: Event) -> None:
        """Tell an event that is about a room that we are in, or answers a request."""
        if self._is_ours(event["room"]) or self._requests.find(event) is not None:
            self._tell(event)

    def _out_of(self, room: str) -> None:
        self._seen.rooms.pop(room, None)
        self._before.pop(room, None)
        self._holes.discard(room)
        self._unshown.discard(room)
        self._wanted.discard(room)
        if self.room == room:
            self.room = LOBBY

    def _on_read(self, event: Event) -> None:
        """Another session of the account has read a place."""
        place, seq = event["room"], event["seq"]
        self._marked[place] = max(seq, self._marked.get(place, 0))
        if seq > (self._seen.last(place) or 0):
            self._miss(place)
        self._tell_of_room(event)

    def _on_where(self, event: Event) -> None:
        asked = self._requests.find(event)
        if asked is None or not asked.internal:
            self._tell({**event, "room": self.room})  # which need not be the server's
            return
        joined = {"event": "joined", "time": event.get("time"), "name": self.name, "account": True}
        for row in event["rooms"]:
            is_new = row["room"] not in self._seen.rooms
            if self._open(row) and is_new:
                self._tell({**joined, "room": row["room"]})
        self._close_others(event)

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
        room = lines.room(asked.fields["room"])
        self._wanted.discard(room)
        self._unshown.discard(room)
        self._seen.rooms.setdefault(room, None)
        if self.is_in:
            self._fill_unknown()

    def _went_to(self, asked: Asked) -> None:
        if lines.room(asked.fields["room"]) not in self._seen.rooms:
            self._joined(asked)

    def _left(self, asked: Asked) -> None:
        self._out_of(lines.room(asked.fields["room"]))

    def _renamed(self, asked: Asked) -> None:
        self._be(lines.person(asked.fields["name"]))

    def _logged_in(self, asked: Asked) -> None:
        if not asked.internal:
            self._be(lines.person(asked.fields["name"]))
            self._identity = Identity(self.name, asked.fields["password"])
            self.account = True
        if asked.internal:
            self._enter_rooms()

    def _resumed(self, asked: Asked) -> None:
        """What was missing was shown. A place that was not shown is asked for again when there is
        something new."""
        if asked is self._unread_asked:
            self._unread_asked = None
            strangers, self._strangers = self._strangers, []
            for event in strangers:
                if event["seq"] > (self._seen.last(lines.conversation(event, self.name)) or 0):
                    self._on_dm(event)
        if self._is_welcome:
            self._holes -= asked.fields["places"].keys() - self._requests.resuming()

    def _has_read(self, asked: Asked) -> None:
        if asked.internal:
            return
        of = asked.fields["of"]
        place = f"@{lines.person(of[1:])}" if of.startswith("@") else lines.room(of)
        seq = asked.fields.get("seq") or self._seen.last(place) or 0
        self._tell({"event": "read", "room": place, "seq": seq, "label": asked.label})

    def _changed_password(self, asked: Asked) -> None:
        self._identity = replace(self._identity, password=asked.fields["new"])

    def _filled(self, asked: Asked) -> None:
        """A request for the messages of a room was carried out. What else came after the last of
        them is asked for."""
        if asked.internal and not self.is_behind:
            room = asked.fields["of"]
            if self._seen.rooms.get(room, 0) is None:
                self._seen.rooms[room] = 0
            if room in self._seen.rooms:
                self._miss(room)


def _is_kept(event: Event) -> bool:
    """Tell whether an event is a private message that is in the log."""
    return event["event"] == "dm" and event.get("seq") is not None


def _is_room(name: str) -> bool:
    """Tell whether this is the name of a room, as a server spells it."""
    with suppress(Refused):
        return lines.room(name) == name
    return False


_TAKE: Mapping[str, Callable[[ClientSession, Event], None]] = {
    "hello": ClientSession._on_hello,
    "welcome": ClientSession._on_welcome,
    "done": ClientSession._on_done,
    "error": ClientSession._on_error,
    "message": ClientSession._on_message,
    "dm": ClientSession._on_dm,
    "topic": ClientSession._on_entry,
    "members": ClientSession._on_entry,
    "history": ClientSession._on_history,
    "skipped": ClientSession._on_skipped,
    "joined": ClientSession._on_joined,
    "left": ClientSession._on_left,
    "users": ClientSession._tell_of_room,
    "crowd": ClientSession._tell_of_room,
    "rooms": ClientSession._on_rooms,
    "read": ClientSession._on_read,
    "where": ClientSession._on_where,
    "renamed": ClientSession._on_renamed,
    "ping": lambda session, event: None,
    "bye": ClientSession._on_bye,
}

_DONE: Mapping[str, Callable[[ClientSession, Asked], None]] = {
    "join": ClientSession._joined,
    "to": ClientSession._went_to,
    "since": ClientSession._resumed,
    "read": ClientSession._has_read,
    "leave": ClientSession._left,
    "nick": ClientSession._renamed,
    "login": ClientSession._logged_in,
    "register": ClientSession._logged_in,
    "guest": ClientSession._logged_in,
    "passwd": ClientSession._changed_password,
    "history": ClientSession._filled,
}
