"""Commands that wait for their answers. No socket, no clock."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from .lines import Refused

Then = Callable[[Refused | None], None]
"""What is to be done when a command was answered: refused, or carried out."""


def lost() -> Refused:
    """For what was on its way when the connection was lost."""
    return Refused("lost", "the connection was lost, so it is not known whether that was done")


@dataclass(slots=True)
class _Asked:
    word: str | None
    then: Then
    refused: Refused | None = None


class Answers:
    """Commands that have no answer yet, in order.

    Whoever writes a command writes C{/json on} behind it: a server answers that, with C{hello},
    when all before it is done.
    """

    def __init__(self) -> None:
        self._asked: deque[_Asked] = deque()

    def __bool__(self) -> bool:
        return bool(self._asked)

    def expect(self, word: str | None, then: Then) -> None:
        """A command is being written.

        @param word: what the server calls it in an error; L{None} for what cannot be refused, and
            is forgotten when the connection is lost.
        """
        self._asked.append(_Asked(word, then))

    def refused(self, word: str, refused: Refused) -> bool:
        """There is an error; gives back whether it is about the command whose turn it is."""
        if not self._asked or self._asked[0].word != word:
            return False
        self._asked[0].refused = refused
        return True

    def answered(self) -> None:
        """There is a C{hello}."""
        asked = self._asked.popleft()
        asked.then(asked.refused)

    def lost(self) -> None:
        """There will be no more answers."""
        asked, self._asked = self._asked, deque()
        for each in asked:
            if each.word is not None:
                each.then(lost())
