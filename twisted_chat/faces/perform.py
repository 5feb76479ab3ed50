"""The commands of the table, carried out on L{Chat}, for all faces that take them."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from twisted_chat.core import names
from twisted_chat.core.accounts import Accounts
from twisted_chat.core.chat import DIRECT, LOBBY, Chat, Session, refuse_account
from twisted_chat.core.errors import Refusal
from twisted_chat.core.events import Done, Help, Notice, Where
from twisted_chat.core.limits import Limits
from twisted_chat.core.model import Account, Credential
from twisted_chat.core.text import printable
from twisted_chat.protocol import grammar
from twisted_chat.protocol.commands import BY_WORD, COMMANDS, Command, Request, find

from .intake import Intake

REGISTERED = '"{name}" is now yours. Next time you\'ll be asked for this password.'
"""The remark to somebody who has registered a name."""

_PASSWORD_CHANGED = "your password was changed; log in with the new one"

_ENTRIES = 500
"""People, rooms or messages in an answer that count as one more line."""

_SEARCH = 2
"""Lines that a name which nobody has counts as, besides its own: similar names are looked for."""


class Seat(Protocol):
    """A connection that requests come from.

    @ivar current: the name of the room that is meant where a request names none.
    """

    session: Session
    current: str

    @property
    def intake(self) -> Intake[Any]: ...

    @property
    def chat(self) -> Chat: ...

    @property
    def accounts(self) -> Accounts: ...

    @property
    def limits(self) -> Limits: ...

    @property
    def allow_guests(self) -> bool: ...

    @property
    def allow_registration(self) -> bool: ...

    def now(self) -> int:
        """Give the time in UTC milliseconds."""

    def talk_in(self, room: str, *, is_new: bool = False) -> None:
        """Make another room the current one, and tell the session so.

        @param room: the canonical name of a room that the session's person is in.
        @param is_new: the person has just joined it, and the session was told so.
        """

    def speak_json(self, on: bool) -> None:
        """Write JSON Lines from now on, or text."""

    def take_over(self, token: str) -> None:
        """End the session that was given this token, if it is still there, with all that it has
        sent and that was not carried out yet."""

    def hang_up(self) -> None:
        """Say bye and end the connection."""

    def renew(self, credential: Credential, password: str) -> None:
        """Have the hash of the password that somebody has just logged in with renewed if it is
        outdated. Does not wait for it."""


How = Callable[..., Awaitable[None] | None]
"""Carries out a command. It is called with the seat, and with the fields of the request by name."""


async def perform(seat: Seat, request: Request, how: How | None = None) -> None:
    """Carry out a request and charge for it. All that answers it is told with its label; the last
    is L{Done}, which for a post is told when it is in the log.

    @param how: carries out a request that lacks what a person is asked for; L{None} for one that is
        complete.
    @raise Refusal: nothing of it was done, and the session was told nothing of this.
    @raise CancelledError: the intake was cancelled while something was waited for there.
    """
    if request.do == "type":
        request = grammar.typed(request.fields["line"], label=request.label)
    session, command = seat.session, BY_WORD[request.do]
    refuse_stranger(session, command)
    seat.intake.charge(command.cost - 1)
    most = seat.limits.max_in_flight if command.posts else 0
    if session.in_flight > most:
        await seat.intake.until_landed(most)
    session.label = request.label
    try:
        wait = (how or _HOW[request.do])(seat, **request.fields)
        if wait is not None:
            await wait
        if not command.posts:
            _done(seat)
    except Refusal as refusal:
        if refusal.code in ("no-such-person", "no-such-room"):
            seat.intake.charge(_SEARCH)
        raise
    finally:
        session.label = ""


def refuse_stranger(session: Session, command: Command) -> None:
    """Refuse a command that needs a name if nobody is logged in.

    @raise Refusal: C{not-logged-in}.
    """
    if session.person is None and not command.anyone:
        raise Refusal("not-logged-in", "log in first", "log-in")


def _done(seat: Seat) -> None:
    """Tell the session that its request is done, if it has a label and was not told yet."""
    session = seat.session
    if session.label:
        session.tell(Done(seat.now(), session.label))
        session.label = ""


def remark(seat: Seat, text: str) -> None:
    """Make a remark in answer to a request."""
    seat.session.answer(Notice(seat.now(), text))


# Who somebody is


def refuse_registration(seat: Seat) -> None:
    """Refuse a registration of somebody who has an account, or where nobody may register.

    @raise Refusal: C{already-logged-in}, C{forbidden}.
    """
    refuse_account(seat.session)
    if not seat.allow_registration:
        raise Refusal("forbidden", "this server does not register new names")


def account_of(seat: Seat) -> Account:
    """Give the account of a session.

    @raise Refusal: C{forbidden} for a guest.
    """
    person = seat.session.person
    if person is None or person.account is None:
        raise Refusal("forbidden", "a guest has no password", "set-password")
    return person.account


async def _register(seat: Seat, name: str, password: str) -> None:
    refuse_registration(seat)
    session = seat.session
    mine = session.person.hold if session.person is not None else None
    account = await seat.accounts.register(name, password, session.source, mine=mine)
    remark(seat, REGISTERED.format(name=account.name))
    await seat.chat.log_in(session, account, room=seat.current)


async def log_in(seat: Seat, name: str, password: str) -> None:
    """Log in to an account.

    @raise Refusal: as L{Accounts.authenticate} and L{Chat.log_in}.
    """
    refuse_account(seat.session)
    credential = await seat.accounts.authenticate(name, password, seat.session.source)
    await seat.chat.log_in(seat.session, credential.account, room=seat.current)
    seat.renew(credential, password)


async def _guest(seat: Seat, name: str = "") -> None:
    refuse_account(seat.session)
    if seat.session.person is not None:
        mine = seat.session.person.name
        sentence = f"you are already {mine}"
        raise Refusal("already-logged-in", sentence, "change-name", name=mine)
    if not seat.allow_guests:
        raise Refusal("forbidden", "this server admits no guests; register a name")
    accounts = seat.accounts
    hold = await (
        accounts.hold(name, session=seat.session) if name else accounts.hold_guest_number()
    )
    await seat.chat.come_as_guest(seat.session, hold)


async def change_password(seat: Seat, old: str, new: str, keep: bool = False) -> None:
    """Replace the password of the account, and end its other sessions.

    @param keep: let them go on.
    @raise Refusal: C{forbidden} for a guest, or as L{Accounts.change_password}.
    """
    name = account_of(seat).name
    farewell = "" if keep else _PASSWORD_CHANGED
    await seat.accounts.change_password(name, old, new, seat.session.source, farewell=farewell)
    ended = 0 if keep else seat.chat.end_others(seat.session, name, farewell)
    told = f"; {ended} other session{' has' if ended == 1 else 's have'} ended" if ended else ""
    remark(seat, f"your password was changed{told}")


async def _nick(seat: Seat, name: str) -> None:
    await seat.chat.rename_guest(seat.session, name)


# Talking


def _say(seat: Seat, message: str, room: str = "") -> None:
    seat.chat.say(seat.session, room or seat.current, message, label=seat.session.label)


def _broadcast(seat: Seat, message: str) -> None:
    _say(seat, message, LOBBY)


def _act(seat: Seat, action: str, room: str = "") -> None:
    session = seat.session
    seat.chat.say(session, room or seat.current, action, action=True, label=session.label)


async def _direct(seat: Seat, name: str, message: str) -> None:
    await seat.chat.direct(seat.session, name, message, label=seat.session.label)


async def _reply(seat: Seat, message: str) -> None:
    name = await seat.chat.reply(seat.session, message, label=seat.session.label)
    if not seat.session.echo:
        remark(seat, f"to {name}")  # another message may have come while this one was typed


# Rooms


async def _join(seat: Seat, room: str) -> None:
    name = names.room(room)
    is_resumed = name in (seat.session.resume or ())
    person = seat.session.person
    is_new = person is not None and all(each.name != name for each in person.rooms)
    shown = await seat.chat.join(seat.session, name)
    seat.talk_in(name, is_new=is_new)
    if is_resumed:  # coming back leaves people their burst
        seat.intake.charge(-BY_WORD["join"].cost)
    seat.intake.charge(shown // _ENTRIES)


def _to(seat: Seat, room: str) -> None:
    seat.talk_in(seat.chat.room_of(seat.session, room))


async def _where(seat: Seat) -> None:
    places = await seat.chat.where(seat.session)
    seat.session.answer(Where(seat.now(), seat.current, places))
    seat.intake.charge(sum(place.new for place in places) // _ENTRIES)  # each was counted


async def _leave(seat: Seat, room: str = "") -> None:
    room = room or seat.current
    await seat.chat.leave(seat.session, room)
    if names.room(room) == seat.current:
        seat.talk_in(LOBBY)


async def _topic(seat: Seat, room: str = "", text: str | None = None) -> None:
    room = room or seat.current
    if text is None:
        seat.session.answer(seat.chat.topic(seat.session, room))
    else:
        await seat.chat.set_topic(seat.session, room, text)


# Looking


def _users(seat: Seat, room: str = "") -> None:
    users = seat.chat.users(seat.session, room or seat.current)
    seat.session.answer(users)
    seat.intake.charge(len(users.people) // _ENTRIES)


def _rooms(seat: Seat) -> None:
    rooms = seat.chat.rooms(seat.session)
    seat.session.answer(rooms)
    listed = len(rooms.rooms) + sum(people for _, people, _ in rooms.rooms)
    seat.intake.charge(listed // _ENTRIES)


async def _history(seat: Seat, count: int | None = None, of: str = "") -> None:
    history = await seat.chat.history(seat.session, of or seat.current, count)
    if not history.shown:
        remark(seat, "nobody has said anything there yet")
    seat.session.answer(history)
    seat.intake.charge(len(history.shown) // _ENTRIES)


async def _read(seat: Seat, of: str = "", seq: int | None = None) -> None:
    place = _place(of or seat.current)
    await seat.chat.read(seat.session, place, seq)
    if not seat.session.echo:  # a program knows from the answer
        shown = place if place.startswith(DIRECT) else f"#{place}"
        remark(seat, f"{'the lobby' if place == LOBBY else shown} is marked as read")


async def _since(seat: Seat, places: Mapping[str, int], session: str = "") -> None:
    seen = {_place(place): seq for place, seq in places.items()}
    if seat.session.person is not None:
        seat.intake.charge(len(seen))  # each is looked up in the log
    seat.intake.charge(await seat.chat.since(seat.session, seen) // _ENTRIES)
    if session and not seat.session.has_ended:
        seat.take_over(session)  # last: a request that is refused must change nothing


def _place(raw: str) -> str:
    """Give the name of a room, or of a person behind an C{@}, its one spelling.

    @raise Refusal: C{bad-name}.
    """
    if raw.startswith(DIRECT):
        return DIRECT + names.canonical(raw.removeprefix(DIRECT))
    return names.room(raw)


# The session


def _help(seat: Seat, command: str = "") -> None:
    if command:
        typed = printable(command)
        word = typed.lstrip("/!")
        rows = [find(typed, word if word in BY_WORD else word.lower())]
    else:
        rows = [row for row in COMMANDS if row.in_text]
    seat.session.answer(Help(seat.now(), tuple(row.entry for row in rows)))


def _json(seat: Seat, switch: str) -> None:
    if switch == "off":
        _done(seat)  # it cannot be told as text
    seat.speak_json(switch == "on")


def _quit(seat: Seat) -> None:
    _done(seat)  # nothing is told behind the bye
    seat.hang_up()


_HOW: Mapping[str, How] = {
    "help": _help,
    "register": _register,
    "login": log_in,
    "guest": _guest,
    "users": _users,
    "dm": _direct,
    "r": _reply,
    "bc": _broadcast,
    "say": _say,
    "join": _join,
    "to": _to,
    "where": _where,
    "leave": _leave,
    "rooms": _rooms,
    "topic": _topic,
    "me": _act,
    "history": _history,
    "read": _read,
    "since": _since,
    "nick": _nick,
    "passwd": change_password,
    "json": _json,
    "quit": _quit,
    "EX": _quit,
}
"""How each command is carried out that does not ask for anything."""
