"""What commands and the dialogue at the prompt work on."""

from collections.abc import Sequence
from typing import Protocol

from twisted_chat.core.accounts import Accounts
from twisted_chat.core.chat import Chat, Session
from twisted_chat.core.errors import Refusal
from twisted_chat.core.events import HelpEntry
from twisted_chat.core.model import Account


class Terminal(Protocol):
    """What a command works on: one connection and what it reaches.

    @ivar current: the name of the room that lines which are no commands go to.
    @ivar typed: somebody typed the last line when it was asked for. False for a line that was
        there already, and for one with more behind it: these come from a script or a paste.
    """

    session: Session
    current: str
    typed: bool

    @property
    def chat(self) -> Chat: ...

    @property
    def accounts(self) -> Accounts: ...

    @property
    def allow_guests(self) -> bool: ...

    @property
    def allow_registration(self) -> bool: ...

    def notice(self, text: str) -> None:
        """Make a remark."""

    def talk_in(self, room: str, *, is_new: bool = False) -> None:
        """Have lines that are no commands go to another room from now on, and say so.

        @param room: the canonical name of a room that the session is in.
        @param is_new: it was joined just now, so that a person need not be told.
        """

    def refuse(self, refusal: Refusal) -> None:
        """Say what was wrong, and go on."""

    def help(self, entries: Sequence[HelpEntry]) -> None:
        """Answer with these commands."""

    def speak_json(self, on: bool) -> None:
        """Write JSON Lines from now on, or text."""

    def take_over(self, token: str) -> None:
        """End the session that was given this token, if it is still there, with what it has sent
        and was not carried out yet."""

    def charge(self, lines: int) -> None:
        """Count this many more lines, for what was a lot to answer."""

    def hang_up(self) -> None:
        """Say bye and end the connection."""

    def renew(self, account: Account, password: str) -> None:
        """Have the hash of the password that somebody has just logged in with renewed, if it is
        outdated. Does not wait for it."""

    async def ask(self, question: str) -> str:
        """Put a question; gives back the next line."""

    async def ask_secret(self, prompt: str) -> str:
        """Ask for a password, and hide it while it is typed; gives back the next line.

        @raise Refusal: if the line cannot be read, or has an escape sequence in it.
        """

    async def ask_again(self, secret: str) -> bool:
        """Ask for the last secret again, if it was typed; gives back whether it was the same. A
        script is not asked, but may have sent the same line twice."""
