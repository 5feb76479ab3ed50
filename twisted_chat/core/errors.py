"""What a command can be refused with."""

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
    "internal",
]

CODES: frozenset[str] = frozenset(get_args(Code))


class Refusal(Exception):
    """A command that is not carried out, with the reason.

    @ivar code: stable, for machines; see C{docs/protocol.md}.
    @ivar text: a sentence for people: what was wrong and what to do.
    """

    def __init__(self, code: Code, text: str) -> None:
        super().__init__(code, text)
        self.code: Code = code
        self.text = text
