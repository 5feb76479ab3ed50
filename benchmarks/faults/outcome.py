"""The result of a fault."""

from dataclasses import dataclass, field


@dataclass
class Outcome:
    """The result of a fault.

    @ivar figures: name -> figure, as text for people.
    @ivar broken: promises that were not kept, a sentence each. Targets of time and memory are not
        among them, because they depend on the machine.
    @ivar missed: targets of time or memory that were missed, a sentence each.
    """

    figures: dict[str, str] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)

    def promise(self, kept: bool, sentence: str) -> None:
        """Add this sentence to L{broken} unless the promise was kept."""
        if not kept:
            self.broken.append(sentence)

    def target(self, reached: bool, sentence: str) -> None:
        """Add this sentence to L{missed} unless the target was reached."""
        if not reached:
            self.missed.append(sentence)
