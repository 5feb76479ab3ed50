"""The dialogue at the C{Name:} prompt, and asking for passwords."""

from twisted_chat.core import names
from twisted_chat.core.errors import Refusal
from twisted_chat.core.people import Hold
from twisted_chat.faces import perform
from twisted_chat.faces.perform import REGISTERED, remark

from .terminal import Terminal


async def come_in(at: Terminal, typed: str) -> None:
    """Let somebody in who typed this at the prompt: a name, or nothing for a guest name.

    @raise Refusal: if they have to type something else.
    """
    typed = typed.strip()
    if not typed:
        if not at.allow_guests:
            raise Refusal("forbidden", "this server admits no guests; type a name to register it")
        await at.chat.come_as_guest(at.session, at.accounts.hold_guest_number())
        return
    name = names.canonical(typed)
    if await at.accounts.is_registered(name):
        await log_in(at, name)
    else:
        await _new(at, name)


async def log_in(at: Terminal, name: str) -> bool:
    """Log in with a password that is asked for until it is right or empty; gives back whether it
    was right.

    @raise Refusal: if the wrong one was not typed. What a script says next is no password.
    """
    # Whoever mistyped a password types it once more, and it must not be taken for a name then, or
    # shown.
    while password := await ask(at, "Password: "):
        try:
            await perform.log_in(at, name, password)
        except Refusal as refusal:
            _go_on(at, refusal)
        else:
            return True
    return False


async def register(at: Terminal, name: str, mine: Hold | None) -> bool:
    """Register a name with a password that is asked for, and log in.

    @param mine: the hold on the name of the guest who asks; L{None} if nobody is logged in.
    @return: whether a password was chosen.
    @raise Refusal: as L{Accounts.register}.
    """
    if mine is not None and names.canonical(name) == mine.name:
        return await _enter_registered(at, mine)
    # Held from here on, so that nobody else takes it while a password is chosen.
    with await at.accounts.hold(name, mine=mine) as hold:
        return await _enter_registered(at, hold)


async def _new(at: Terminal, name: str) -> None:
    with await at.accounts.hold(name) as hold:
        if at.allow_registration:
            otherwise = "be a guest" if at.allow_guests else "go back"
            remark(
                at,
                f'"{hold.name}" is new. Choose a password to register,'
                f" or press Enter to {otherwise}.",
            )
            if await _enter_registered(at, hold):
                return
        if at.allow_guests:
            await at.chat.come_as_guest(at.session, hold)
        elif not at.allow_registration:
            raise Refusal("forbidden", "this server admits no guests and registers no new names")


async def _enter_registered(at: Terminal, hold: Hold) -> bool:
    """Register a name that is held for the person who asks, and log in, unless no password is
    chosen.

    @return: whether one was chosen.
    """
    name = hold.name
    while password := await ask_new(at):
        try:
            account = await at.accounts.register(name, password, at.session.source, mine=hold)
        except Refusal as refusal:
            if refusal.code not in ("busy", "throttled"):
                raise
            _go_on(at, refusal)
        else:
            remark(at, REGISTERED.format(name=name))
            await at.chat.log_in(at.session, account, room=at.current)
            return True
    return False


async def ask(at: Terminal, prompt: str) -> str:
    """Ask for a password until what is typed can be read."""
    while True:
        try:
            return await at.ask_secret(prompt)
        except Refusal as refusal:
            _go_on(at, refusal)


async def ask_new(at: Terminal) -> str:
    """Ask for a new password, twice where somebody types it, until it is good or empty."""
    while password := await ask(at, "New password: "):
        try:
            if password.startswith("/"):
                raise Refusal(
                    "bad-password",
                    "that looks like a command, not a password; press Enter to skip this question",
                )
            at.accounts.check_new_password(password)
            if not await at.ask_again(password):
                raise Refusal("bad-password", "the passwords don't match; choose one again")
        except Refusal as refusal:
            _go_on(at, refusal)
        else:
            return password
    return ""


def _go_on(at: Terminal, refusal: Refusal) -> None:
    """Say what was wrong, and ask again, if somebody is there to be asked.

    @raise Refusal: this one, if the answer came from a script: what it says next is no answer.
    """
    if not at.typed:
        raise refusal
    at.refuse(refusal)
