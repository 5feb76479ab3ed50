"""Commands that lack what a person can be asked for: a password, or all of a message."""

from collections.abc import Mapping

from twisted_chat.core import names
from twisted_chat.core.chat import LOBBY, refuse_account
from twisted_chat.core.errors import Refusal
from twisted_chat.core.text import unquoted
from twisted_chat.faces.perform import (
    How,
    account_of,
    change_password,
    refuse_registration,
    remark,
)
from twisted_chat.protocol import grammar
from twisted_chat.protocol.commands import Request, confides, is_ours
from twisted_chat.protocol.grammar import named

from . import login
from .terminal import Terminal

_NOTHING_CHANGED = "nothing was changed"


def asking(request: Request) -> How | None:
    """Give what carries out a typed request by asking for what it lacks; L{None} if it is
    complete."""
    return None if request.is_complete else _ASKING[request.do]


async def _register(at: Terminal, name: str) -> None:
    refuse_registration(at)
    person = at.session.person
    if not await login.register(at, name, person.hold if person is not None else None):
        remark(at, _NOTHING_CHANGED)


async def _log_in(at: Terminal, name: str) -> None:
    refuse_account(at.session)
    if not await login.log_in(at, name):
        remark(at, _NOTHING_CHANGED)


async def _change_password(at: Terminal, old: str | None = None, keep: bool = False) -> None:
    account_of(at)
    if old is None:
        old = await login.ask(at, "Old password: ")
    new = await login.ask_new(at) if old else ""
    if new:
        await change_password(at, old, new, keep)
    else:
        remark(at, _NOTHING_CHANGED)


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
    """Find out whether a message was meant to be sent although it looks like a command.

    @raise Refusal: C{bad-arguments} if it does and nobody is there to be asked.
    """
    line = grammar.parse(message)
    if not isinstance(line, grammar.Command) or not (is_ours(line.word) or confides(line.word)):
        return True
    if not at.typed:
        raise Refusal(
            "bad-arguments",
            f'"{line.typed[:40]}" is a command, so it was not said;'
            " to say it, put it in double quotes",
        )
    answer = await at.ask(f'"{line.typed[:40]}" is a command; say it anyway? (y/N)')
    if answer.lower() in ("y", "yes"):
        return True
    remark(at, "that was not said")
    return False


_ASKING: Mapping[str, How] = {
    "register": _register,
    "login": _log_in,
    "passwd": _change_password,
    "PM": _ask_message,
    "DM": _ask_direct,
}
