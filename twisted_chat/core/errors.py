"""Refusals: why a request is not carried out."""

from collections.abc import Mapping
from typing import Literal, get_args

Code = Literal[
    "unknown-command",
    "bad-arguments",
    "not-logged-in",
    "already-logged-in",
    "bad-name",
    "name-taken",
    "name-registered",
    "wrong-password",
    "bad-password",
    "no-such-person",
    "no-such-room",
    "not-in-room",
    "too-long",
    "bad-encoding",
    "throttled",
    "busy",
    "full",
    "closed",
    "forbidden",
    "unavailable",
    "internal",
]

CODES: frozenset[str] = frozenset(get_args(Code))

_AWAY = "the server can't use its database right now"
_DEFECT = "something went wrong on the server"

NOT_SENT: Mapping[Code, str] = {
    "unavailable": f"{_AWAY}, so that was not sent; try again in a moment",
    "internal": f"{_DEFECT}, so that was not sent; tell the operator",
}
NOT_CHANGED: Mapping[Code, str] = {
    "unavailable": f"{_AWAY}, so nothing was changed; try again in a moment",
    "internal": f"{_DEFECT}, so nothing was changed; tell the operator",
}
NOT_READ = f"{_AWAY}; try again in a moment"
"""What people are told when the store fails: of something said, of a change, of a question."""

Way = Literal[
    "be-somebody-else",
    "change-name",
    "end-session",
    "fewer-messages",
    "join-first",
    "list-people",
    "list-rooms",
    "log-in",
    "register",
    "set-password",
    "write-privately",
]
"""A way out of a refusal, by name. Each face has its own words for it."""

WAYS: frozenset[str] = frozenset(get_args(Way))


class Refusal(Exception):
    """A request that is not carried out, with the reason.

    @ivar code: stable, for programs; see C{docs/protocol.md}.
    @ivar text: one sentence for people that says what was wrong, without a command of any face.
    @ivar way: what the person can do about it; L{None} if the sentence says it all.
    @ivar fields: the values that the sentence and the way out are about: C{room}, C{name},
        C{nearest} (what may have been meant), C{limit}.
    """

    def __init__(self, code: Code, text: str, way: Way | None = None, **fields: str | int) -> None:
        super().__init__(code, text)
        self.code: Code = code
        self.text = text
        self.way: Way | None = way
        self.fields = fields
