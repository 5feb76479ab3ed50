"""Events as lines to show, in pieces that each have a style. No screen, no clock.

The screen gives each style its looks: C{COLOURS} has colours that can be read on dark and on light,
and C{plain} leaves all styles out.
"""

import re
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, tzinfo

from .lines import LOBBY, Event

Line = list[tuple[str, str]]
"""Pieces of text, each behind its style."""

_NAMES = (
    "#008700",
    "#5f8700",
    "#af5f00",
    "#af5f5f",
    "#d7005f",
    "#d700af",
    "#af00ff",
    "#875fd7",
    "#5f5fff",
    "#005fff",
    "#0087af",
    "#00875f",
)

COLOURS: Mapping[str, str] = {
    "time": "#767676",
    "room": "#767676",
    "notice": "#767676",
    "day": "#767676",
    "link": "#af5f00",
    "error": "#ff0000",
    "mention": "#d700af",
    "private": "#af00ff",
    **{f"name-{number}": colour for number, colour in enumerate(_NAMES)},
}
"""Style to colour; C{text} and C{own} have the colour of the screen. All are among the 256 colours
of terminals, and stand out from black and from white alike."""


@dataclass(frozen=True, slots=True)
class Reader:
    """The person that events are shown to.

    @ivar name: their name.
    @ivar room: the room that they look at; messages of another one are shown with its name.
    @ivar zone: their time zone; L{None} for the system's.
    @ivar today: times of any other day are shown with the date; L{None}: no dates, as there are
        L{day} lines.
    """

    name: str = ""
    room: str = LOBBY
    zone: tzinfo | None = None
    today: date | None = None


def lines(event: Event, reader: Reader) -> list[Line]:
    """Give an event as lines: one in most cases, none if there is nothing in it for people."""
    show = _SHOWN.get(event["event"])
    if show is None:
        return []
    try:
        return show(event, reader)
    except (KeyError, TypeError, ValueError, AttributeError):
        return []  # it lacks what the protocol says it has


def plain(line: Line) -> str:
    """Give a line without its styles."""
    return "".join(text for _, text in line)


def name_style(name: str) -> str:
    """Give the style of a person's name, which is the same in every run."""
    return f"name-{zlib.crc32(name.casefold().encode()) % len(_NAMES)}"


def day(of: date) -> Line:
    """Give the line that begins a day."""
    # Not strftime's names, which depend on the locale: everything else is in English.
    return [("day", f"── {_WEEKDAYS[of.weekday()]}, {of.day} {_MONTHS[of.month - 1]} {of.year} ──")]


def day_of(event: Event, zone: tzinfo | None = None) -> date | None:
    """Give the day of a message; L{None} for other events."""
    moment = _moment(event, zone) if event["event"] in ("message", "dm") else None
    return None if moment is None else moment.date()


def mentions(event: Event, name: str) -> bool:
    """Tell whether a message by somebody else has this name in it, or is private."""
    if not name or event["event"] not in ("message", "dm") or event["from"] == name:
        return False
    return event["event"] == "dm" or bool(_mention(name).search(event["text"]))


_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)


def _moment(event: Event, zone: tzinfo | None) -> datetime | None:
    try:
        # Python 3.10 does not know what the Z means.
        return datetime.fromisoformat(event["time"].replace("Z", "+00:00")).astimezone(zone)
    except (KeyError, AttributeError, ValueError, OverflowError, OSError):
        return None


def _mention(name: str) -> "re.Pattern[str]":
    """Make a pattern that finds a name in a text, but not inside another name."""
    return re.compile(rf"(?<![\w.-]){re.escape(name)}(?![.-]*\w)", re.IGNORECASE)


# Pieces


def _stamp(event: Event, reader: Reader) -> Line:
    moment = _moment(event, reader.zone)
    if moment is None:
        return []
    dated = reader.today is not None and moment.date() != reader.today
    return [("time", f"{moment:%Y-%m-%d %H:%M} " if dated else f"{moment:%H:%M} ")]


def _name(name: str, reader: Reader) -> tuple[str, str]:
    return ("own" if name == reader.name else name_style(name), name)


def _elsewhere(room: str, reader: Reader) -> Line:
    return [] if room == reader.room else [("room", f"#{room} ")]


def place(name: str) -> str:
    """Give what a room, or a private conversation, is called in a sentence."""
    if name.startswith("@"):
        return name
    return "the lobby" if name == LOBBY else f"#{name}"


def _text(event: Event, reader: Reader) -> Line:
    """Give the text of a message, in which the reader's name stands out."""
    text: str = event["text"]
    if not mentions(event, reader.name):
        return [("text", text)]
    pieces: Line = []
    end = 0
    for match in _mention(reader.name).finditer(text):
        pieces += [("text", text[end : match.start()]), ("mention", match[0])]
        end = match.end()
    return [piece for piece in [*pieces, ("text", text[end:])] if piece[1]]


def _notice(*pieces: tuple[str, str]) -> Line:
    # Without the time, so that no C{/me} looks like one.
    return [("notice", "* "), *pieces]


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


# Events


def _message(event: Event, reader: Reader) -> list[Line]:
    who = _name(event["from"], reader)
    said = [("text", "* "), who, ("text", " ")] if event["action"] else [who, ("text", ": ")]
    return [
        [
            *_stamp(event, reader),
            *_elsewhere(event["room"], reader),
            *said,
            *_text(event, reader),
        ]
    ]


def _dm(event: Event, reader: Reader) -> list[Line]:
    author, to = event["from"], event["to"]
    if author == reader.name:
        pair = [("own", "you"), ("private", " -> "), _name(to, reader)]
    else:
        pair = [_name(author, reader), ("private", " -> "), ("own", "you")]
    mark = ("private", "(private) ")
    return [[*_stamp(event, reader), mark, *pair, ("text", ": "), *_text(event, reader)]]


def _presence(verb: str) -> "_Show":
    def show(event: Event, reader: Reader) -> list[Line]:
        if "name" in event:
            who = _name(str(event["name"]), reader)
        else:
            who = ("notice", _count(event["count"], "person", "people"))
        room = event["room"]
        if who[0] == "own":
            return [_notice(("notice", f"you {verb} {place(room)}"))]
        elsewhere = "" if room == LOBBY else f" #{room}"
        return [_notice(who, ("notice", f" {verb}{elsewhere}"))]

    return show


def _renamed(event: Event, reader: Reader) -> list[Line]:
    if event["name"] == event["to"]:
        return []  # a guest has registered their name
    if reader.name in (event["name"], event["to"]):
        return [_notice(("notice", "you are "), ("own", event["to"]), ("notice", " now"))]
    old, new = _name(event["name"], reader), _name(event["to"], reader)
    return [_notice(old, ("notice", " is now "), new)]


def _welcome(event: Event, reader: Reader) -> list[Line]:
    kind = "" if event["account"] else ", a guest; /register NAME makes a name yours"
    return [_notice(("notice", "you are "), ("own", event["name"]), ("notice", kind))]


def _topic(event: Event, reader: Reader) -> list[Line]:
    where = place(event["room"])
    if event.get("seq") is not None:
        verb = "set" if event["topic"] else "cleared"
        new = [("notice", ": "), ("text", str(event["topic"]))] if event["topic"] else []
        author = _name(event["from"], reader)
        return [_notice(author, ("notice", f" {verb} the topic of {where}"), *new)]
    if event["topic"]:
        by = [("notice", ", by "), _name(event["from"], reader)] if event["from"] else []
        topic = ("text", str(event["topic"]))
        return [_notice(("notice", f"topic of {where}"), *by, ("notice", ": "), topic)]
    return [_notice(("notice", f"{where} has no topic; /topic TEXT sets one"))]


def _users(event: Event, reader: Reader) -> list[Line]:
    people: Line = []
    for user in event["users"]:
        people += [
            ("notice", ", " if people else ": "),
            _name(user["name"], reader),
            *([] if user["account"] else [("notice", " (guest)")]),
        ]
    number = _count(len(event["users"]), "person is", "people are")
    return [_notice(("notice", f"{number} in {place(event['room'])}"), *people)]


def _new(row: Event) -> str:
    """Give how many messages of a room are new."""
    return f"{'more than ' if row.get('more') else ''}{row['new']:,} new"


def _where(event: Event, reader: Reader) -> list[Line]:
    rooms = [
        f"{place(row['room'])} ({_new(row)})" if row["new"] else place(row["room"])
        for row in event["rooms"]
    ]
    *others, last = rooms
    listed = f"{', '.join(others)} and {last}" if others else last
    return [
        _notice(("notice", f"what you type goes to {place(event['room'])}")),
        _notice(("notice", f"you are in {listed}")),
    ]


def _read(event: Event, reader: Reader) -> list[Line]:
    # Without a label another session has read it.
    return (
        [_notice(("notice", f"{place(event['room'])} is marked as read"))]
        if "label" in event
        else []
    )


def _rooms(event: Event, reader: Reader) -> list[Line]:
    rooms = event["rooms"]
    if event.get("joined"):
        news = [row for row in rooms if row.get("new") and row["room"] != LOBBY]
        return [_notice(("notice", f"{place(row['room'])}: {_new(row)}")) for row in news]
    shown = [
        _notice(("notice", f"{_count(len(rooms), 'room', 'rooms')}; /join ROOM joins or makes one"))
    ]
    for room in rooms:
        topic = [("text", f": {room['topic']}")] if room["topic"] else []
        shown.append(
            _notice(("room", f"  #{room['room']}"), ("notice", f" ({room['members']})"), *topic)
        )
    return shown


def _help(event: Event, reader: Reader) -> list[Line]:
    shown = []
    for command in event["commands"]:
        also = f" (also {' '.join(command['also'])})" if command["also"] else ""
        shown.append(
            _notice(("text", f"  {command['usage']:<28} "), ("notice", f"{command['text']}{also}"))
        )
    return shown


def _error(event: Event, reader: Reader) -> list[Line]:
    return [[("error", f"! {event['text']}")]]


def _remark(event: Event, reader: Reader) -> list[Line]:
    return [_notice(("notice", event["text"]))]


def _motd(event: Event, reader: Reader) -> list[Line]:
    return [_notice(("notice", line)) for line in event["lines"]]


def _away(event: Event, reader: Reader) -> list[Line]:
    shown = "is away and will see that at the next login"
    lost = "has left and did not see that; private messages with guests are not kept"
    text = f" {shown if event['kept'] else lost}"
    return [_notice(_name(event["name"], reader), ("notice", text))]


def _not_kept(event: Event, reader: Reader) -> list[Line]:
    text = "private messages to or from a guest are not kept"
    return [_notice(("notice", text))]


def _unread(event: Event, reader: Reader) -> list[Line]:
    more = "more than " if event["more"] else ""
    messages = _count(event["count"], "unread private message", "unread private messages")
    return [_notice(("notice", f"{more}{messages}:"))]


def _omitted(event: Event, reader: Reader) -> list[Line]:
    text = "there were more private messages than these; /history @NAME shows them"
    return [_notice(("notice", text))]


def _crowd(event: Event, reader: Reader) -> list[Line]:
    text = f"{event['count']:,} people are in {place(event['room'])}; /users lists them"
    return [_notice(("notice", text))]


def _history(event: Event, reader: Reader) -> list[Line]:
    return [] if event["count"] else [_notice(("notice", "nothing has been said there yet"))]


def _skipped(event: Event, reader: Reader) -> list[Line]:
    number = _count(event["lines"], "line", "lines")
    verb = "was" if event["lines"] == 1 else "were"
    sentence = f"… {number} {verb} skipped; fetching the messages among them again"
    return [[("link", sentence)]]


def _connected(event: Event, reader: Reader) -> list[Line]:
    again = " again" if event["again"] else ""
    to = f" to {event['server']}" if event["server"] else ""
    return [[("link", f"* connected{again}{to}")]]


def _reconnecting(event: Event, reader: Reader) -> list[Line]:
    seconds = max(1, round(event["seconds"]))
    return [[("link", f"* reconnecting in {_count(seconds, 'second', 'seconds')}")]]


def _gap(event: Event, reader: Reader) -> list[Line]:
    first, last = event["first"], event["last"]
    what = f"message {first} of" if first == last else f"messages {first} to {last} of"
    return [
        [
            ("link", f"… {what} {place(event['room'])} cannot be shown here any more;"),
            ("link", " /history may go back further"),
        ]
    ]


_Show = Callable[[Event, Reader], list[Line]]

_SHOWN: Mapping[str, _Show] = {
    "welcome": _welcome,
    "message": _message,
    "dm": _dm,
    "joined": _presence("joined"),
    "left": _presence("left"),
    "renamed": _renamed,
    "topic": _topic,
    "users": _users,
    "rooms": _rooms,
    "where": _where,
    "read": _read,
    "help": _help,
    "error": _error,
    "notice": _remark,
    "bye": _remark,
    "motd": _motd,
    "away": _away,
    "not-kept": _not_kept,
    "unread": _unread,
    "omitted": _omitted,
    "crowd": _crowd,
    "history": _history,
    "skipped": _skipped,
    "connected": _connected,
    "disconnected": lambda event, _: [[("link", f"* not connected: {event['text']}")]],
    "reconnecting": _reconnecting,
    "paused": lambda event, _: [[("link", f"* {event['text']}")]],
    "gap": _gap,
}
"""Not C{talking}: which room plain lines go to is for the client to say, as each of its requests
names its room."""
