"""Events as lines for people, much as the server itself writes them."""

from collections.abc import Callable, Mapping
from datetime import datetime

from .lines import Event

LOBBY = "lobby"


def line(event: Event, name: str = "") -> str | None:
    """One line for an event; L{None} for one that is not for people.

    @param name: who reads it.
    """
    show = _SHOWN.get(event["event"])
    return show(event, name) if show else None


def _time(event: Event) -> str:
    try:
        time = datetime.fromisoformat(str(event.get("time")).replace("Z", "+00:00")).astimezone()
    except ValueError:
        return ""
    today = time.date() == datetime.now().astimezone().date()
    return time.strftime("[%H:%M] " if today else "[%Y-%m-%d %H:%M] ")


def _message(event: Event, name: str) -> str:
    room = "" if event["room"] == LOBBY else f"#{event['room']} "
    who = f"* {event['from']} " if event["action"] else f"{event['from']}: "
    return f"{_time(event)}{room}{who}{event['text']}"


def _dm(event: Event, name: str) -> str:
    sender, to = ("you" if who == name else who for who in (event["from"], event["to"]))
    return f"{_time(event)}{sender} -> {to}: {event['text']}"


def _presence(what: str) -> Callable[[Event, str], str]:
    def show(event: Event, name: str) -> str:
        room = "" if event.get("room") == LOBBY else f" #{event.get('room')}"
        return f"* {event.get('name') or event.get('count')} {what}{room}"

    return show


def _gap(event: Event, name: str) -> str:
    count = event["last"] - event["first"] + 1
    return f"… {count} messages in #{event['room']} were missed; the server shows them no more"


_SHOWN: Mapping[str, Callable[[Event, str], str]] = {
    "message": _message,
    "dm": _dm,
    "joined": _presence("joined"),
    "left": _presence("left"),
    "renamed": lambda event, _: f"* {event['name']} is now {event['to']}",
    "topic": lambda event, _: f"* topic of #{event.get('room')}: {event.get('topic')}",
    "notice": lambda event, _: f"* {event['text']}",
    "error": lambda event, _: f"! {event['text']}",
    "bye": lambda event, _: f"* {event['text']}",
    "gap": _gap,
}
