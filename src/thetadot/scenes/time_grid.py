"""The times of a simulation: which are its own, however often it was interrupted on the way."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from thetadot.scenes.spelling import argument

if TYPE_CHECKING:
    from thetadot.simulation import Save


class TimeGrid(Protocol):
    """Conversion between a simulation's times and its steps."""

    def times(self, save: Save) -> tuple[float, ...]:
        """Return the times at which a schedule saves."""

    def steps(self, time: float) -> int:
        """Return the number of steps before ``time``, as a trajectory's end counts steps."""

    def nearest(self, time: float) -> float:
        """Return the time reached, as an uninterrupted simulation counts it."""

    @property
    def advice(self) -> str:
        """Say what to change where a path gets no further."""


@dataclass(frozen=True)
class FixedGrid:
    """Whole steps of one length.

    Args:
        time: how long, a whole number of steps.
        step: of them.

    Example:
        >>> grid = FixedGrid(1.0, 0.1)
        >>> grid.nearest(0.1 + 0.1 + 0.1), grid.steps(0.3), grid.advice
        (0.30000000000000004, 3, 'Pass step=0.025, or less.')
    """

    time: float
    step: float

    def times(self, save: Save) -> tuple[float, ...]:
        """Return the times at which a schedule saves, rounded to whole steps."""
        return tuple(map(self._at, save.steps(self.time, self.step, self.steps(self.time))))

    def steps(self, time: float) -> int:
        """Return the number of steps before ``time``."""
        return round(time / self.step)

    def nearest(self, time: float) -> float:
        """The time of the nearest step."""
        return self._at(self.steps(time))

    @property
    def advice(self) -> str:
        """Recommend a smaller step."""
        return f"Pass {argument('step', f'{self.step / 4:g}')}, or less."

    def _at(self, steps: int) -> float:
        return self.time if steps == self.steps(self.time) else steps * self.step


@dataclass(frozen=True)
class AdaptiveGrid:
    """A method meets every time that is asked for; its steps are its own.

    Times are multiples of the last binary digit of the whole, so that one less another is exact, and with that other
    is the one again: the method is asked for the same times to the bit, wherever it was cut.

    Args:
        time: how long.

    Example:
        >>> from thetadot.simulation import Save
        >>> 0.2 + (0.9 - 0.2) == 0.9
        False
        >>> first, second = AdaptiveGrid(1.0).times(Save(times=(0.2, 0.9)))
        >>> first + (second - first) == second
        True
    """

    time: float

    def times(self, save: Save) -> tuple[float, ...]:
        """Return the times at which a schedule saves, to the last digit of the total time."""
        digit = math.ulp(self.time)
        return tuple(round(time / digit) * digit for time in save.at(self.time))

    def steps(self, _: float) -> int:
        """Return 0, since every path has its own steps."""
        return 0

    def nearest(self, time: float) -> float:
        """Return ``time`` unchanged: it is not tied to a grid of steps."""
        return time

    @property
    def advice(self) -> str:
        """A motion that ends there, or a tolerance below rounding."""
        return f"Pass a smaller {argument('time')}, or a larger {argument('tolerance')}."


def grid_of(time: float, step: float | None) -> TimeGrid:
    """Return the grid of fixed steps, or of a method that chooses its own."""
    return AdaptiveGrid(time) if step is None else FixedGrid(time, step)
