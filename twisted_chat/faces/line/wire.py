"""The formats of the line protocol: events in, lines out. Pure."""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

from twisted_chat.core import events as e
from twisted_chat.core.chat import LOBBY
from twisted_chat.core.model import ACTION
from twisted_chat.faces.format import LineFormat
from twisted_chat.protocol import jsonlines
from twisted_chat.protocol.jsonlines import MOST_NAMED

_SCREEN = 80
"""Columns of a terminal; how many a peer's terminal has is not known."""

_REMEMBERED = 1024
"""Messages whose bytes a format remembers."""

_TALK = (e.Said, e.Told)


class _Format(LineFormat):
    """Turns events into bytes, and each event only once, as the same bytes go to many readers.

    The last tuple is remembered for readers who are told the same, and single messages for readers
    who are told only some of them.
    """

    def __init__(self) -> None:
        self._events: tuple[e.Event, ...] = ()
        self._bytes = b""
        self._messages: dict[int, tuple[e.Event, bytes]] = {}

    def encode(self, events: tuple[e.Event, ...], /) -> bytes:
        """Encode the events as lines, each with a newline at its end."""
        if events is not self._events:
            self._bytes = b"".join(map(self._encoded, events))
            self._events = events
        return self._bytes

    def _encoded(self, event: e.Event) -> bytes:
        if not isinstance(event, _TALK):
            return self._lines(event)
        known = self._messages.get(id(event))
        if known is not None:
            return known[1]
        if len(self._messages) >= _REMEMBERED:
            self._messages.clear()
        data = self._lines(event)
        self._messages[id(event)] = event, data  # the event is kept, so its id is not reused
        return data

    def _lines(self, event: e.Event) -> bytes:
        raise NotImplementedError


class TextFormat(_Format):
    """Events as lines for people: one line for most events, in the server's time zone."""

    def _lines(self, event: e.Event) -> bytes:
        if isinstance(event, e.Said):  # most events by far
            return f"{_said_line(event)}\n".encode()
        return "".join(f"{line}\n" for line in _TEXT[type(event)](event)).encode()


class TelnetFormat(TextFormat):
    """The same for telnet, with lines that end in CR LF (RFC 854): in BINARY mode telnet adds no CR
    itself."""

    def _lines(self, event: e.Event) -> bytes:
        return super()._lines(event).replace(b"\n", b"\r\n")


class JsonFormat(_Format):
    """Events as JSON Lines for programs: one object (RFC 8259) on each line."""

    def __init__(self, server: str, keepalive: int = 0) -> None:
        """
        @param server: what the server calls itself.
        @param keepalive: seconds between keepalives; 0: there are none.
        """
        super().__init__()
        self._server = server
        self._keepalive = keepalive

    def _lines(self, event: e.Event) -> bytes:
        return b"".join(map(jsonlines.encode, jsonlines.objects(event)))

    def hello(self, now: int, session: str = "") -> bytes:
        """Make the first object of a JSON session.

        @param session: the token with which another session can take over this one; see C{since}.
        """
        return jsonlines.encode(jsonlines.hello(now, self._server, session, self._keepalive))


# As text


def _welcome_text(event: e.Welcome) -> Iterator[str]:
    kind = "" if event.account else " You are a guest; /register NAME makes a name yours."
    yield f"* Welcome, {event.name}.{kind}"
    room = _place(event.room)
    company = {0: "nobody else is", 1: "1 other is"}.get(event.others, f"{event.others} others are")
    yield f"* You are in {room}; {company} here. /help lists the commands."


def _said_line(event: e.Said, today: int | None = None) -> str:
    m = event.message
    room = m.room.name
    place = "" if room == LOBBY else f"#{room} "
    who = f"* {m.author} " if m.kind == ACTION else f"{m.author}: "
    return f"{_stamp(m.time, today)} {place}{who}{m.text}"


def _told_text(event: e.Told, today: int | None = None) -> Iterator[str]:
    m = event.message
    pair = f"you -> {m.recipient}" if event.outgoing else f"{m.author} -> you"
    yield f"{_stamp(m.time, today)} {pair}: {m.text}"


def _history_text(event: e.History) -> Iterator[str]:
    for shown in event.shown:
        if isinstance(shown, e.Said):
            yield _said_line(shown, event.time)
        elif isinstance(shown, e.Told):
            yield from _told_text(shown, event.time)
        else:
            yield from _TEXT[type(shown)](shown)


def _presence_text(room: str, names: Sequence[str], verb: str) -> Iterator[str]:
    place = "" if room == LOBBY else f" #{room}"
    who = ", ".join(names) if len(names) <= MOST_NAMED else f"{len(names)} people"
    yield f"* {who} {verb}{place}"


def _renamed_text(event: e.Renamed) -> Iterator[str]:
    if event.name != event.to:
        yield f"* {event.name} is now {event.to}"


def _topic_text(event: e.Topic) -> Iterator[str]:
    place = _place(event.room)
    is_news = event.entry is not None
    if is_news and event.topic:
        yield f"* {event.by} set the topic of {place}: {event.topic}"
    elif is_news:
        yield f"* {event.by} cleared the topic of {place}"
    elif event.topic:
        yield f"* topic of {place}, by {event.by}: {event.topic}"
    else:
        yield f"* {place} has no topic; /topic TEXT sets one"


def _users_text(event: e.Users) -> Iterator[str]:
    place = _place(event.room)
    people = ", ".join(name if account else f"{name} (guest)" for name, account in event.people)
    count = (
        "nobody is" if not event.people else _count(len(event.people), "person is", "people are")
    )
    yield f"* {count} in {place}{': ' if people else ''}{people}"


def _unread_text(event: e.Unread) -> Iterator[str]:
    number = f"more than {event.count}" if event.more else str(event.count)
    one = event.count == 1 and not event.more
    messages = "1 private message" if one else f"{number} private messages"
    if event.alone:
        yield f"* {messages} came while you were away:"
    else:
        yield f"* {messages} {'is' if one else 'are'} unread:"


def _away_text(event: e.Away) -> Iterator[str]:
    if event.kept:
        yield f"* {event.name} is away and will see that at the next login"
    else:
        yield (
            f"* {event.name} is not here and did not see that;"
            " private messages to or from a guest are not kept"
        )


def _rooms_text(event: e.Rooms) -> Iterator[str]:
    yield f"* {_count(len(event.rooms), 'room', 'rooms')}; /join ROOM joins or makes one"
    for name, members, topic in event.rooms:
        yield f"*   {name} ({members}){': ' if topic else ''}{topic}"


def _back_text(event: e.Back) -> Iterator[str]:
    for place in event.places:
        if place.new and place.room != LOBBY:
            them = "it" if place.new == 1 and not place.more else "them"
            yield f"* #{place.room}: {_new(place)}; /join {place.room} shows {them}"


def _where_text(event: e.Where) -> Iterator[str]:
    yield f"* what you type goes to {_place(event.room)}"
    *places, last = (
        f"{_place(place.room)} ({_new(place)})" if place.new else _place(place.room)
        for place in event.places
    )
    yield f"* you are in {', '.join(places)}{' and ' if places else ''}{last}"


def _new(place: e.Place) -> str:
    return f"{'more than ' if place.more else ''}{place.new:,} new"


def _help_text(event: e.Help) -> Iterator[str]:
    for entry in event.entries:
        row = f"*   {entry.usage:<28} {entry.summary}"
        also = f"(also {' '.join(entry.also)})"
        if entry.also and len(row) + len(also) < _SCREEN:
            row = f"{row} {also}"
        yield row
        if entry.also and also not in row:
            yield f"*   {'':<28} {also}"


def _answer_text(event: e.Answer) -> Iterator[str]:
    return _TEXT[type(event.event)](event.event)


def _place(room: str) -> str:
    return f"the {LOBBY}" if room == LOBBY else f"#{room}"


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def _stamp(time: int, today: int | None = None) -> str:
    """Give the time of day; in a replay with the date, unless it is today's.

    @param today: a time of today, in UTC milliseconds, for a replay; L{None} for a live message.
    """
    if today is not None and _local_date(time) != _local_date(today):
        return f"[{_local_date(time)} {_local_minute(time // 60_000)}]"
    return f"[{_local_minute(time // 60_000)}]"


@lru_cache(maxsize=1024)
def _local_minute(minutes: int) -> str:
    return datetime.fromtimestamp(minutes * 60).strftime("%H:%M")


def _local_date(time: int) -> str:
    return datetime.fromtimestamp(time / 1000).strftime("%Y-%m-%d")


_TEXT: dict[type, Callable[[Any], Iterator[str]]] = {
    e.Welcome: _welcome_text,
    e.Motd: lambda event: (f"* {line}" for line in event.lines),
    e.Said: lambda event: iter([_said_line(event)]),
    e.Told: _told_text,
    e.Joined: lambda event: _presence_text(
        event.room, [name for name, _ in event.people], "joined"
    ),
    e.Left: lambda event: _presence_text(event.room, event.names, "left"),
    e.Renamed: _renamed_text,
    e.Topic: _topic_text,
    e.Members: lambda event: iter(()),
    e.Read: lambda event: iter(()),
    e.Users: _users_text,
    e.Crowd: lambda event: iter(
        [f"* {event.count:,} people are in {_place(event.room)}; /users lists them"]
    ),
    e.Rooms: _rooms_text,
    e.Back: _back_text,
    e.Where: _where_text,
    e.History: _history_text,
    e.Unread: _unread_text,
    e.Omitted: lambda event: iter(
        ["* the rest is shown at your next login; /history @NAME shows it now"]
    ),
    e.Away: _away_text,
    e.NotKept: lambda event: iter(["* private messages to or from a guest are not kept"]),
    e.Talking: lambda event: iter([f"* now talking in {_place(event.room)}"]),
    e.Help: _help_text,
    e.Skipped: lambda event: iter(
        [f"… {_count(event.lines, 'line', 'lines')} skipped; /history shows them"]
    ),
    e.Refused: lambda event: iter([f"! {event.text}"]),
    e.Done: lambda event: iter(()),
    e.Answer: _answer_text,
    e.Notice: lambda event: iter([f"* {event.text}"]),
    e.Ping: lambda event: iter(()),
    e.Bye: lambda event: iter([f"* {event.text}"]),
}
