"""What the dialogue asks questions on."""

from typing import Protocol

from twisted_chat.core.errors import Refusal
from twisted_chat.faces.perform import Seat


class Terminal(Seat, Protocol):
    """A L{Seat} where somebody can be asked.

    @ivar typed: somebody typed the last line when it was asked for. False for a line that was
        there already, and for one with more behind it: these come from a script or a paste.
    """

    typed: bool

    def refuse(self, refusal: Refusal) -> None:
        """Say what was wrong, and go on."""

    async def ask(self, question: str) -> str:
        """Ask a question.

        @return: the next line.
        """

    async def ask_secret(self, prompt: str) -> str:
        """Ask for a password, and hide it while it is typed.

        @return: the next line.
        @raise Refusal: if the line cannot be read, or has an escape sequence in it.
        """

    async def ask_again(self, secret: str) -> bool:
        """Ask for the last secret again, if it was typed. A script is not asked, but may have sent
        the same line twice.

        @return: whether it was the same.
        """
