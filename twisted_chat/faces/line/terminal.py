"""What questions are asked on."""

from typing import Protocol

from twisted_chat.core.errors import Refusal
from twisted_chat.faces.perform import Seat


class Terminal(Seat, Protocol):
    """A L{Seat} whose person can be asked questions.

    @ivar typed: whether a person typed the last line after the server had asked for it. L{False}
        for a line that had come before, and for one with others right behind it: these come from a
        script or a paste.
    """

    typed: bool

    def refuse(self, refusal: Refusal) -> None:
        """Tell the person what was wrong. The dialogue goes on."""

    async def ask(self, question: str) -> str:
        """Ask a question, and wait for the next line.

        @return: the line, without the spaces around it.
        @raise CancelledError: if no line will come.
        @raise Refusal: C{too-long} or C{bad-encoding}, if the line cannot be read.
        """

    async def ask_secret(self, prompt: str) -> str:
        """Ask for a password, hidden while it is typed, and wait for the next line.

        @return: the line, as it was typed.
        @raise CancelledError: if no line will come.
        @raise Refusal: as L{ask}, and C{bad-password} if the line contains an escape sequence.
        """

    async def ask_again(self, secret: str) -> bool:
        """Ask for a new password a second time, if a person typed it. A script is not asked; if it
        has sent the same line twice, the second one is removed.

        @return: whether the answer was the same, or was not asked for.
        @raise CancelledError: if no line will come.
        @raise Refusal: as L{ask_secret}.
        """
