"""The times of a simulation: which are its own, however often it was interrupted on the way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from thetadot.simulation import Save


@dataclass(frozen=True)
class Counted:
    """Whole steps of one length.

    Args:
        time: how long, a whole number of steps.
        step: of them.

    Example:
        >>> clock = Counted(1.0, 0.1)
        >>> clock.nearest(0.1 + 0.1 + 0.1), clock.steps(0.3), clock.advice
        (0.30000000000000004, 3, 'Pass --step 0.025, or less.')
    """

    time: float
    step: float

    def times(self, save: Save) -> tuple[float, ...]:
        """Those of a schedule."""
        return tuple(map(self._at, save.steps(self.time, self.step, self.steps(self.time))))

    def steps(self, time: float) -> int:
        """Taken by then."""
        return round(time / self.step)

    def nearest(self, time: float) -> float:
        """A time that was reached, as an uninterrupted simulation counts it."""
        return self._at(self.steps(time))

    @property
    def advice(self) -> str:
        """What helps where a path runs off to infinity."""
        return f"Pass --step {self.step / 4:g}, or less."

    def _at(self, steps: int) -> float:
        return self.time if steps == self.steps(self.time) else steps * self.step
