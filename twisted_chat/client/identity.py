"""Who to be on a server."""

from dataclasses import dataclass, field, replace

from twisted_chat.protocol.grammar import arguments

from . import lines
from .lines import Refused


@dataclass(frozen=True, slots=True)
class Identity:
    """Who to be: an account if there is a password, and otherwise a guest.

    @ivar name: empty for a guest whose name the server chooses.
    @ivar register: make the account if there is none.
    """

    name: str = ""
    password: str = field(default="", repr=False)
    register: bool = False


def checked(identity: Identity) -> Identity:
    """The identity, with its name as a server spells it.

    @raise Refused: C{bad-name}, C{bad-password}, if nobody can be that.
    """
    if identity.password:
        lines.word(identity.password)
    if identity.name or identity.password:
        return replace(identity, name=lines.person(identity.name))
    return identity


def login(identity: Identity) -> str:
    """The command that logs in."""
    if not identity.password:
        return f"/guest {identity.name}".rstrip()
    word = "register" if identity.register else "login"
    return f"/{word} {identity.name} {lines.word(identity.password)}"


def after(identity: Identity, word: str, rest: str) -> Identity:
    """Who we are when a command was carried out.

    @param word: the command, without its slash.
    @param rest: what stands behind it.
    """
    if word in ("register", "login") and (words := arguments("NAME PASSWORD", rest)):
        return Identity(words[0], words[1])
    if word == "passwd" and (words := arguments("[--keep] OLD NEW", rest)):
        return replace(identity, password=words[-1])
    return identity


def is_for_now(refused: Refused) -> bool:
    """Another attempt to log in may not be refused."""
    return refused.code in _FOR_NOW


_FOR_NOW = frozenset({"busy", "throttled", "closed", "full", "internal"})
