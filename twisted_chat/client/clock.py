"""The time that passes, whatever happens to the clocks."""

from collections.abc import Callable


class Passing:
    """Tells the seconds that have passed since it was made, by the clock that has advanced most.

    One clock is not enough: the wall clock may be set back, and a steady one may stand still while
    the machine sleeps. The number is never too low; it is too high if a clock is set forward.
    """

    def __init__(self, *clocks: Callable[[], float]) -> None:
        self._clocks = clocks
        self._last = [clock() for clock in clocks]
        self._passed = 0.0

    def __call__(self) -> float:
        last, self._last = self._last, [clock() for clock in self._clocks]
        advanced = (new - old for new, old in zip(self._last, last, strict=True))
        self._passed += max(0.0, *advanced)
        return self._passed
