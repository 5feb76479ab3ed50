"""The dialogue at the C{Name:} prompt."""

from typing import Protocol

from twisted_chat.core import names
from twisted_chat.core.errors import Refusal
from twisted_chat.core.model import Account

from .commands import REGISTERED, Terminal


class Door(Terminal, Protocol):
    """A terminal at which nobody is logged in yet."""

    async def ask_secret(self, prompt: str) -> str:
        """Ask for a password, and hide it while it is typed; gives back the next line."""

    def refuse(self, refusal: Refusal) -> None:
        """Say what was wrong, and go on."""


async def come_in(at: Door, typed: str) -> None:
    """Let somebody in who typed this at the prompt: a name, or nothing for a guest name.

    @raise Refusal: if they have to type something else.
    """
    typed = typed.strip()
    if not typed:
        if not at.allow_guests:
            raise Refusal("forbidden", "this server takes no guests; type a name to register it")
        await at.chat.come_as_guest(at.session, at.accounts.generate_guest_name())
        return
    name = names.canonical(typed)
    if await at.accounts.is_registered(name):
        await _known(at, name)
    else:
        await _new(at, name)


async def _known(at: Door, name: str) -> None:
    # Asked for again until it is right or empty: whoever mistyped a password types it once more,
    # and it must not be taken for a name then, or shown.
    while password := await _ask(at, "Password: "):
        try:
            account = await at.accounts.authenticate(name, password, at.session.source)
        except Refusal as refusal:
            at.refuse(refusal)
        else:
            await at.chat.log_in(at.session, account)
            return


async def _new(at: Door, name: str) -> None:
    # Held from here on, so that nobody else takes it while a password is thought of.
    name = await at.accounts.take_guest_name(name)
    entered = False
    try:
        account = None
        if at.allow_registration:
            otherwise = "makes you a guest" if at.allow_guests else "leads back"
            at.notice(f'"{name}" is new here. A password registers it; just Enter {otherwise}.')
            account = await _register(at, name)
        if account is not None:
            at.accounts.release(name)
            entered = True
            at.notice(REGISTERED.format(name=name))
            await at.chat.log_in(at.session, account)
        elif at.allow_guests:
            entered = True
            await at.chat.come_as_guest(at.session, name)
        elif not at.allow_registration:
            raise Refusal("forbidden", "this server takes no guests and registers no new names")
    finally:
        if not entered:
            at.accounts.release(name)


async def _ask(at: Door, prompt: str) -> str:
    """Ask for a password until what is typed can be read."""
    while True:
        try:
            return await at.ask_secret(prompt)
        except Refusal as refusal:
            at.refuse(refusal)


async def _register(at: Door, name: str) -> Account | None:
    """Ask for a new password until there is a good one; L{None} if there is to be none."""
    while password := await _ask(at, "New password: "):
        try:
            if password.startswith("/"):
                raise Refusal(
                    "bad-password",
                    "that looks like a command, so it is no password; just Enter leads on",
                )
            return await at.accounts.register(name, password, at.session.source, held=name)
        except Refusal as refusal:
            if refusal.code not in ("bad-password", "busy", "throttled"):
                raise
            at.refuse(refusal)
    return None
