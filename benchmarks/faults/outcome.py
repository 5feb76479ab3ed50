"""What came of a fault."""

from dataclasses import dataclass, field


@dataclass
class Outcome:
    """What came of a fault.

    @ivar figures: what was measured, by name, as it is to be read.
    @ivar broken: promises that were not kept, a sentence each. Whether something was fast or small
        enough is not among them, as the machine has a say in that.
    @ivar missed: targets of time or memory that were not reached, a sentence each.
    """

    figures: dict[str, str] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)

    def promise(self, kept: bool, sentence: str) -> None:
        """Note a promise that was not kept."""
        if not kept:
            self.broken.append(sentence)

    def target(self, reached: bool, sentence: str) -> None:
        """Note a target that was not reached."""
        if not reached:
            self.missed.append(sentence)
