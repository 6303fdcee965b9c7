"""One ratio over several tasks: the geometric mean of each task's ratio of means, by resampling seeds within tasks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from thetadot.core import signatures
from thetadot.errors import require

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_DRAWS = 2000
_LEAST = 1e-300  # of a mean: a resample may be of losses of 0 alone


@dataclass(frozen=True)
class Overall:
    """Ratio of two runs' losses over several tasks.

    Attributes:
        ratio: geometric mean over tasks.
        low: lower end of its 95% interval.
        high: upper end.
        each: ratio of means over seeds, by task.
    """

    ratio: float
    low: float
    high: float
    each: dict[str, float]

    @property
    def worst(self) -> str:
        """Task of the largest ratio."""
        return max(self.each, key=self.each.__getitem__)

    def within(self, most: float) -> int:
        """Return the number of tasks whose ratio is at most this."""
        return sum(ratio <= most for ratio in self.each.values())


@signatures.checked
def overall(first: Mapping[str, Sequence[float]], second: Mapping[str, Sequence[float]]) -> Overall:
    """Compare two runs over several tasks, by the geometric mean of each task's ratio of mean losses.

        R = exp(mean over tasks of log(mean over seeds of a / mean over seeds of b))

    The interval holds 95% of R under 2,000 draws of seeds with replacement within each task, of both runs alike. It
    tells of other seeds on these tasks, not of other tasks.

    Args:
        first: losses of a on each seed, by task; not below 0, and not 0 on all seeds.
        second: losses of b on the same seeds.

    Raises:
        InadmissibleValue: no task, other tasks or seeds on either side, a loss that is not finite or is
            below 0, or a mean of 0.

    Example:
        >>> found = overall({"one": [1.0, 3.0], "two": [2.0, 2.0]}, {"one": [4.0, 4.0], "two": [1.0, 1.0]})
        >>> found.ratio, found.worst, found.within(1.0)  # √(2/4 · 2/1)
        (1.0, 'two', 1)
    """
    require(bool(first), "no task", "leaves nothing to compare", "Pass at least one.")
    require(list(first) == list(second), "tasks of both sides", "differ", "Pass the same tasks in the same order.")
    pairs = {}
    for task in first:
        a, b = (np.asarray(side[task], dtype=np.float64) for side in (first, second))
        require(len(a) == len(b) > 0, f"{task}: {len(a)} and {len(b)} losses", "are no pairs", "Pass one a seed.")
        found = np.stack([a, b])
        good = bool(np.isfinite(found).all() and (found >= 0).all() and (found.mean(1) > 0).all())
        require(good, f"{task}: a loss", "is not finite, or below 0, or all are 0", "Leave the task out.")
        pairs[task] = found
    rng = np.random.default_rng(0)
    logs = np.zeros(_DRAWS)
    for draw in range(_DRAWS):
        picked = [found[:, rng.integers(found.shape[1], size=found.shape[1])] for found in pairs.values()]
        logs[draw] = np.mean([_log_ratio(found) for found in picked])
    low, high = np.exp(np.quantile(logs, (0.025, 0.975)))
    middle = math.exp(float(np.mean([_log_ratio(found) for found in pairs.values()])))
    each = {task: math.exp(_log_ratio(found)) for task, found in pairs.items()}
    return Overall(middle, float(low), float(high), each)


def _log_ratio(found: np.ndarray) -> float:
    first, second = (math.log(max(float(mean), _LEAST)) for mean in found.mean(1))
    return first - second
