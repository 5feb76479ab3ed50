"""The dialogue at the C{Name:} prompt, and the questions for passwords."""

from twisted_chat.core import names
from twisted_chat.core.errors import Refusal
from twisted_chat.core.people import Hold
from twisted_chat.faces import perform
from twisted_chat.faces.perform import REGISTERED, remark

from .terminal import Terminal


async def enter(at: Terminal, typed: str) -> None:
    """Log in the person who answered the C{Name:} prompt, or register them, or make them a guest.

    @param typed: the answer: a name, or nothing for a guest name that the server chooses.
    @raise CancelledError: if no answer will come.
    @raise Refusal: if the answer cannot be used; the prompt is shown again.
    """
    typed = typed.strip()
    if not typed:
        if not at.allow_guests:
            raise Refusal("forbidden", "this server admits no guests; type a name to register it")
        await at.chat.come_as_guest(at.session, await at.accounts.hold_guest_number())
        return
    name = names.canonical(typed)
    if await at.accounts.is_registered(name):
        await log_in(at, name)
    else:
        await _new(at, name)


async def log_in(at: Terminal, name: str) -> bool:
    """Log in to a registered name: ask for its password until the answer is right or empty.

    @return: L{False} if the answer was empty, and nobody has logged in.
    @raise CancelledError: if no answer will come.
    @raise Refusal: as L{twisted_chat.faces.perform.log_in}, if the password came from a script: its
        next line is not another try.
    """
    # A person who mistyped a password types it again at once. So the password is asked for again:
    # at the Name: prompt it would be taken for a name, and shown.
    while password := await ask(at, "Password: "):
        try:
            await perform.log_in(at, name, password)
        except Refusal as refusal:
            _go_on(at, refusal)
        else:
            return True
    return False


async def register(at: Terminal, name: str, mine: Hold | None) -> bool:
    """Register a name with a password that is asked for, and log in to it.

    @param mine: the hold on the name of the guest who registers; L{None} if nobody is logged in.
    @return: L{False} if no password was chosen, and nothing has changed.
    @raise CancelledError: if no answer will come.
    @raise Refusal: as L{Accounts.hold}, L{Accounts.register} and L{Chat.log_in}.
    """
    if mine is not None and names.canonical(name) == mine.name:
        return await _enter_registered(at, mine)
    # The name is held from here on, so that nobody else takes it while a password is chosen.
    with await at.accounts.hold(name, mine=mine, session=at.session) as hold:
        return await _enter_registered(at, hold)


async def _new(at: Terminal, name: str) -> None:
    with await at.accounts.hold(name, session=at.session) as hold:
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
    """Ask for a new password, register the held name with it, and log in.

    @return: L{False} if no password was chosen, and nothing has changed.
    @raise CancelledError: if no answer will come.
    @raise Refusal: as L{Accounts.register} and L{Chat.log_in}.
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
    """Ask for a password, again and again until the answer can be read.

    @raise CancelledError: if no answer will come.
    @raise Refusal: if an answer that cannot be read came from a script.
    """
    while True:
        try:
            return await at.ask_secret(prompt)
        except Refusal as refusal:
            _go_on(at, refusal)


async def ask_new(at: Terminal) -> str:
    """Ask for a new password until the answer is acceptable or empty. A person types it twice.

    @return: the password; empty if none was chosen.
    @raise CancelledError: if no answer will come.
    @raise Refusal: C{bad-password}, or as L{ask}, if the answer came from a script.
    """
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
    """Tell a person what was wrong with an answer, so that the question can be asked again.

    @raise Refusal: the same one, if the answer came from a script: its next line is not another
        answer.
    """
    if not at.typed:
        raise refusal
    at.refuse(refusal)
