"""Handing on a simulation under way, so that what kills the process loses minutes and not all.

When is a function of counts, never of a clock: after so many steps' work, and no more often than the writing is worth.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from thetadot.simulation.trajectory import Trajectory

PAUSE = 2e8
"""Path-steps times components between two: a second of marching in place, more than it takes to write a small state."""
CALL = 2e4
"""What a step costs beside its paths where Python takes it, in the same unit: a fifth of a millisecond."""
WRITTEN = 20.0
"""What a number costs to be written, in the same unit."""


@dataclass
class Keeping:
    """Tells when the trajectory so far is due.

    Args:
        keep: receives it; None where nobody does.
    """

    keep: Callable[[Trajectory], None] | None
    _last: float = 0.0

    def at(self, work: float, trajectory: Callable[[], Trajectory], numbers: int) -> None:
        """Hand it on, if that is due.

        Args:
            work: done since the simulation began, in path-steps times components.
            trajectory: so far.
            numbers: that are in it.
        """
        if self.keep is not None and work - self._last >= max(PAUSE, WRITTEN * numbers):
            self._last = work
            self.keep(trajectory())
