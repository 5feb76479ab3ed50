"""The table of commands. Dispatch, checks, help and the documentation come from it."""

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from twisted_chat.core import names
from twisted_chat.core.chat import DIRECT, LOBBY, refuse_account
from twisted_chat.core.errors import Refusal
from twisted_chat.core.events import HelpEntry
from twisted_chat.core.text import printable, unquoted
from twisted_chat.protocol import grammar
from twisted_chat.protocol.commands import confides
from twisted_chat.protocol.grammar import named

from . import login
from .terminal import Terminal


@dataclass(frozen=True, slots=True)
class Command:
    """One row of the table.

    @ivar word: what is typed, after the slash; one that begins with a capital stands alone on
        the line without a slash.
    @ivar usage: its parameters; in brackets if optional. C{MESSAGE}, C{TEXT} and C{ACTION} take
        the rest of the line. One that begins with C{--} is empty unless it is typed as it stands,
        without quotes.
    @ivar run: is called with the terminal and an argument for each parameter that was given.
    @ivar anyone: may be called before login.
    @ivar cost: how many lines it counts as, since it gives the server more to do than a line.
    @ivar posts: goes through the log, so that its order with what was said before is kept there;
        any other command waits until what was said before it is in the log.
    """

    word: str
    also: tuple[str, ...]
    usage: str
    summary: str
    run: Callable[..., Awaitable[None] | None]
    anyone: bool = False
    posts: bool = False
    cost: int = 1

    @property
    def synopsis(self) -> str:
        """The command as it is typed, with its parameters."""
        slash = "" if self.word[0].isupper() else "/"
        return f"{slash}{self.word} {self.usage}".rstrip()

    @property
    def entry(self) -> HelpEntry:
        """The command as help shows it."""
        return HelpEntry(self.synopsis, tuple(f"/{word}" for word in self.also), self.summary)

    def arguments(self, rest: str) -> list[str]:
        """Split what was typed behind the command. A word may stand in double quotes.

        @raise Refusal: C{bad-arguments}, with the usage.
        """
        given = grammar.arguments(self.usage, rest)
        if given is None:
            raise self.misused
        return given

    @property
    def has_secret(self) -> bool:
        """A password is one of the parameters."""
        return not _SECRETS.isdisjoint(re.findall(r"\w+", self.usage))

    @property
    def misused(self) -> Refusal:
        """What is said to somebody who gets the parameters wrong."""
        return Refusal("bad-arguments", f"usage: {self.synopsis}")


_PASSWORD_CHANGED = "your password was changed; log in with the new one"

_ENTRIES = 500
"""People, rooms or messages in an answer that count as one more line."""

_SECRETS = frozenset({"PASSWORD", "OLD", "NEW"})
_MOST_PLACES = 20
_SESSION = "~="
_PLACE = re.compile(r"(.+)=([0-9]{1,18})")


# What means something else, or nothing, elsewhere: no suggestion would be what was meant.
_OF_OTHER_TRADES = """
    away ban banlist block close deop devoice ghost halfop ignore invite kick kickban kill links
    list lusers map mode mute names notice op oper ping silence squery stats time trace unban
    unblock unignore unmute voice wallops whois whowas
"""


def find(typed: str, word: str) -> Command:
    """The command that a word calls.

    @raise Refusal: C{unknown-command}, with what may have been meant, or how it is said.
    """
    command = _BY_WORD.get(word)
    if command is None:
        raise Refusal(
            "unknown-command", f'there is no command "{typed[:40]}"; {_way_out(typed, word)}'
        )
    return command


def _way_out(typed: str, word: str) -> str:
    if word == "pm":  # private elsewhere, and the bare PM of this server tells everyone
        return "/dm NAME MESSAGE is private, /bc MESSAGE tells everyone in the lobby"
    if word not in _OF_OTHER_TRADES.split():
        near = names.nearest(word, (w for w in _BY_WORD if w.islower() and len(w) > 1))
        if near:
            return f"did you mean /{near}?"
    if typed.startswith("/") and len(typed) <= 40 and not confides(word):
        return f'/help lists them, "/{typed} ..." says it'
    return "/help lists them"


def _is_ours(word: str) -> bool:
    return word in _BY_WORD or word == "pm"


async def _register(at: Terminal, name: str, password: str | None = None) -> None:
    refuse_account(at.session)
    if not at.allow_registration:
        raise Refusal("forbidden", "this server does not register new names")
    guest = at.session.person
    mine = guest.hold if guest else None
    if password is not None:
        account = await at.accounts.register(name, password, at.session.source, mine=mine)
        at.notice(login.REGISTERED.format(name=account.name))
        await at.chat.log_in(at.session, account, room=at.current)
    elif not await login.register(at, name, mine):
        at.notice("nothing was changed")


async def _login(at: Terminal, name: str, password: str | None = None) -> None:
    refuse_account(at.session)
    if password is not None:
        account = await at.accounts.authenticate(name, password, at.session.source)
        await at.chat.log_in(at.session, account, room=at.current)
        at.renew(account, password)
    elif not await login.log_in(at, name):
        at.notice("nothing was changed")


async def _guest(at: Terminal, name: str = "") -> None:
    refuse_account(at.session)
    if at.session.person is not None:
        raise Refusal(
            "already-logged-in",
            f"you are {at.session.person.name} already; /nick NAME gives you another name",
        )
    if not at.allow_guests:
        raise Refusal("forbidden", "this server takes no guests; register a name")
    hold = await at.accounts.hold(name) if name else at.accounts.hold_guest_number()
    await at.chat.come_as_guest(at.session, hold)


async def _passwd(
    at: Terminal, keep: str = "", old: str | None = None, new: str | None = None
) -> None:
    person = at.session.person
    if person is None or person.account is None:
        raise Refusal("forbidden", "a guest has no password; /register NAME PASSWORD sets one")
    if old is None:
        old = await login.ask(at, "Old password: ")
    if new is None:
        new = await login.ask_new(at) if old else ""
        if not new:
            at.notice("nothing was changed")
            return
    await at.accounts.change_password(person.name, old, new, at.session.source)
    ended = 0 if keep else at.chat.end_others(at.session, person.name, _PASSWORD_CHANGED)
    told = f"; {ended} other session{' was' if ended == 1 else 's were'} ended" if ended else ""
    at.notice(f"your password is changed{told}")


def _users(at: Terminal, room: str = "") -> None:
    users = at.chat.users(at.session, room or at.current)
    at.session.tell(users)
    at.charge(len(users.people) // _ENTRIES)


def _rooms(at: Terminal) -> None:
    rooms = at.chat.rooms(at.session)
    at.session.tell(rooms)
    at.charge((len(rooms.rooms) + sum(people for _, people, _ in rooms.rooms)) // _ENTRIES)


async def _join(at: Terminal, room: str) -> None:
    shown = await at.chat.join(at.session, room)
    at.talk_in(names.room(room), is_new=bool(shown))
    at.charge(shown // _ENTRIES)


async def _leave(at: Terminal, room: str = "") -> None:
    room = room or at.current
    await at.chat.leave(at.session, room)
    if names.room(room) == at.current:
        at.talk_in(LOBBY)


async def _topic(at: Terminal, *text: str) -> None:
    if text:
        await at.chat.set_topic(at.session, at.current, text[0])
    else:
        at.session.tell(at.chat.topic(at.session, at.current))


async def _history(at: Terminal, *arguments: str) -> None:
    count, of = None, ""
    for argument in arguments:
        if argument.isdecimal() and argument.isascii() and count is None and not of:
            count = int(argument[:10])
        elif not of:
            of = f"@{named(argument)}" if argument.startswith("@") else argument
        else:
            raise _BY_WORD["history"].misused
    history = await at.chat.history(at.session, of or at.current, count)
    if not history.messages:
        at.notice("nothing has been said there yet")
    at.session.tell(history)
    at.charge(len(history.messages) // _ENTRIES)


async def _since(at: Terminal, places: str) -> None:
    words = places.split()
    matches = [_PLACE.fullmatch(word) for word in words[:_MOST_PLACES]]
    seen: dict[str, int] = {}
    for word, match in zip(words, matches, strict=False):
        if word.startswith(_SESSION):
            at.take_over(word.removeprefix(_SESSION))
            continue
        if match is None:
            raise Refusal("bad-arguments", f"usage: /since ROOM=SEQ {DIRECT}=ID {_SESSION}SESSION")
        place = match[1] if match[1] == DIRECT else names.room(match[1])
        seen[place] = int(match[2])
    if len(words) > _MOST_PLACES:
        raise Refusal("bad-arguments", f"/since takes {_MOST_PLACES} places; use it again")
    at.charge(len(seen))  # each is a look into the log
    at.charge(await at.chat.since(at.session, seen) // _ENTRIES)


def _json(at: Terminal, switch: str) -> None:
    if switch.lower() not in ("on", "off"):
        raise _BY_WORD["json"].misused
    at.speak_json(switch.lower() == "on")


def _help(at: Terminal, word: str = "") -> None:
    if word:
        command = _BY_WORD.get(word) or find(printable(word), word.lstrip("/!").lower())
        at.help([command.entry])
    else:
        at.help([command.entry for command in COMMANDS])


async def _reply(at: Terminal, message: str) -> None:
    name = await at.chat.reply(at.session, message)
    if not at.session.echo:
        at.notice(f"to {name}")  # another message may have come while this one was typed


async def _ask_message(at: Terminal) -> None:
    message = await at.ask("Message to everyone, not private (Enter to cancel):")
    if message and await _is_meant(at, message):
        at.chat.say(at.session, LOBBY, unquoted(message))


async def _ask_direct(at: Terminal) -> None:
    answer = await at.ask("Private message to (Enter to cancel):")
    if not answer:
        return
    name = names.canonical(named(answer))
    message = await at.ask(f"Message to {name} (Enter to cancel):")
    if message and await _is_meant(at, message):
        await at.chat.direct(at.session, name, unquoted(message))


async def _is_meant(at: Terminal, message: str) -> bool:
    """Is the message to be said, although it looks like a command?

    @raise Refusal: C{bad-arguments} if it does and nobody is there to be asked.
    """
    line = grammar.parse(message)
    if not isinstance(line, grammar.Command) or not (_is_ours(line.word) or confides(line.word)):
        return True
    if not at.typed:
        raise Refusal(
            "bad-arguments",
            f'"{line.typed[:40]}" is a command, so it was not said; in double quotes it is',
        )
    answer = await at.ask(f'"{line.typed[:40]}" is a command; say it all the same? (y/N)')
    if answer.lower() in ("y", "yes"):
        return True
    at.notice("that was not said")
    return False


def _quit(at: Terminal) -> None:
    at.hang_up()


COMMANDS: Sequence[Command] = (
    Command("help", ("?",), "[COMMAND]", "what can be typed", _help, anyone=True),
    Command("register", (), "NAME [PASSWORD]", "make a name yours", _register, anyone=True),
    Command("login", (), "NAME [PASSWORD]", "log in", _login, anyone=True),
    Command("guest", (), "[NAME]", "join without a password", _guest, anyone=True),
    Command(
        "users",
        ("who",),
        "[ROOM]",
        "who is here",
        _users,
        cost=2,
    ),
    Command(
        "dm",
        ("msg", "tell", "w", "whisper", "query"),
        "NAME MESSAGE",
        "say something to one person",
        lambda at, name, message: at.chat.direct(at.session, named(name), message),
        posts=True,
    ),
    Command("r", (), "MESSAGE", "answer the last private message", _reply, posts=True),
    Command(
        "bc",
        ("broadcast",),
        "MESSAGE",
        "say something in the lobby, to everyone",
        lambda at, message: at.chat.say(at.session, LOBBY, message),
        posts=True,
    ),
    Command(
        "join",
        (),
        "ROOM",
        "go into a room, or make it, and talk there",
        _join,
        cost=2,
    ),
    Command(
        "leave",
        ("part",),
        "[ROOM]",
        "go out of a room",
        _leave,
    ),
    Command("rooms", (), "", "list rooms", _rooms, cost=2),
    Command("topic", (), "[TEXT]", "see or set what the room is about", _topic),
    Command(
        "me",
        (),
        "ACTION",
        "say what you do: /me waves",
        lambda at, action: at.chat.say(at.session, at.current, action, action=True),
        posts=True,
    ),
    Command("history", (), "[N] [ROOM or @NAME]", "show earlier messages", _history, cost=5),
    Command(
        "since",
        (),
        "ROOM=SEQ...",
        "what was said after that, for programs that come back",
        _since,
        anyone=True,
        cost=5,
    ),
    Command(
        "nick",
        (),
        "NAME",
        "a guest's new name",
        lambda at, name: at.chat.rename_guest(at.session, name),
    ),
    Command(
        "passwd",
        (),
        "[--keep] [OLD] [NEW]",
        "change your password; your other sessions end",
        _passwd,
    ),
    Command("json", (), "on|off", "JSON Lines, for programs", _json, anyone=True),
    Command("quit", ("logout", "exit", "bye"), "", "leave", _quit, anyone=True),
    Command("PM", (), "", "alone on a line: asks for a message to everyone", _ask_message),
    Command("DM", (), "", "alone on a line: asks for a person and a message", _ask_direct),
    Command("EX", (), "", "alone on a line: leave; so does exit", _quit, anyone=True),
)

_BY_WORD: dict[str, Command] = {
    word: command for command in COMMANDS for word in (command.word, *command.also)
}
