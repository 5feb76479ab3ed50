"""Who to be on a server."""

from dataclasses import dataclass, field, replace

from . import lines


@dataclass(frozen=True, slots=True)
class Identity:
    """Who to be: an account if there is a password, and otherwise a guest.

    @ivar name: empty for a guest whose name the server chooses.
    @ivar register: register the name if it is new.
    """

    name: str = ""
    password: str = field(default="", repr=False)
    register: bool = False


def checked(identity: Identity) -> Identity:
    """Give the identity with its name as a server spells it.

    @raise Refused: C{bad-name}.
    """
    if identity.name or identity.password:
        return replace(identity, name=lines.person(identity.name))
    return identity


def is_for_now(code: str) -> bool:
    """Tell whether another attempt to log in may succeed, after one was refused with this code."""
    return code in _FOR_NOW


_FOR_NOW = frozenset({"busy", "throttled", "closed", "full", "internal", "unavailable"})
