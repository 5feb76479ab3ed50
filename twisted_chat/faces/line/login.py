"""The dialogue at the C{Name:} prompt."""

from typing import Protocol

from twisted_chat.core import names
from twisted_chat.core.errors import Refusal

from .commands import Terminal


class Door(Terminal, Protocol):
    """A terminal at which nobody is logged in yet."""

    async def ask_secret(self, prompt: str) -> str:
        """Ask for a password, and hide it while it is typed; gives back the next line."""


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
    password = await at.ask_secret("Password: ")
    if password:
        await at.chat.log_in(at.session, await at.accounts.authenticate(name, password))


async def _new(at: Door, name: str) -> None:
    # Held from here on, so that nobody else takes it while a password is thought of.
    name = await at.accounts.take_guest_name(name)
    entered = False
    try:
        password = ""
        if at.allow_registration:
            otherwise = "makes you a guest" if at.allow_guests else "leads back"
            at.notice(f'"{name}" is new here. A password registers it; just Enter {otherwise}.')
            password = await at.ask_secret("New password: ")
        if password:
            account = await at.accounts.register(name, password, held=name)
            at.accounts.release(name)
            entered = True
            await at.chat.log_in(at.session, account)
        elif at.allow_guests:
            entered = True
            await at.chat.come_as_guest(at.session, name)
        elif not at.allow_registration:
            raise Refusal("forbidden", "this server takes no guests and registers no new names")
    finally:
        if not entered:
            at.accounts.release(name)
