"""One run of a comparison, with what came of it on each seed."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from thetadot.comparing.choice import Tried
    from thetadot.comparing.job import Measure, Outcome
    from thetadot.comparing.spec import GridPoint


@dataclass(frozen=True)
class ComparedRun:
    """Row of a comparison: what was run, and what came of it on each seed.

    Attributes:
        name: as it was given.
        point: optimizer and settings; of a grid, those that were chosen.
        outcomes: a run a seed, in the order of the seeds.
        tried: points of a grid on the seeds that choose, from the best to the worst; none where nothing was chosen.
        remarks: sentences on the choice.
    """

    name: str
    point: GridPoint
    outcomes: tuple[Outcome, ...]
    tried: tuple[Tried, ...] = ()
    remarks: tuple[str, ...] = ()

    def losses(self, by: Measure) -> list[float | None]:
        """Return the loss on each seed; None where the run diverged."""
        return [outcome.score(by) for outcome in self.outcomes]

    @property
    def diverged(self) -> int:
        """Number of seeds on which it diverged."""
        return sum(bool(outcome.diverged) for outcome in self.outcomes)

    def mean(self, by: Measure) -> float | None:
        """Return the mean loss; None where it diverged on a seed, or there is no such loss."""
        found = [loss for loss in self.losses(by) if loss is not None]
        return statistics.fmean(found) if found and len(found) == len(self.outcomes) else None

    def metric(self, by: Measure) -> float | None:
        """Return the mean metric of the same states."""
        found = [value for outcome in self.outcomes if (value := outcome.score_metric(by)) is not None]
        return statistics.fmean(found) if found and len(found) == len(self.outcomes) else None
