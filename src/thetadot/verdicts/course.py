r"""Course of the loss: how far it fell, how much of that came late, how it scatters.

    gain = (L(N/3) - L(N)) / (L(0) - L(N)),    scatter = sd of a step's loss about its trend, over the fall

A step that is too small follows the gradient's flow, whose clock is the sum of the lrs: there three times the lr is
three times the steps, and what it would gain is about what the last two thirds gained. Shares are of the fall, never of
the loss where the run began, which may be an offset.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from thetadot.verdicts.loss import began, stuck
from thetadot.verdicts.thresholds import CURVE, EARLIEST, END, LEFT

if TYPE_CHECKING:
    from thetadot.records.columns import Array
    from thetadot.verdicts.facts import Facts

THIRD = (0.28, 0.38)
LAST = (0.9, 1.0)


@dataclass(frozen=True)
class Course:
    """Fall, scatter and trend that the losses of a run show.

    Attributes:
        start, end: where it began, and the mean of the last tenth.
        fall: start less end.
        gain: share of the fall that came after a third of the steps; None where it did not fall.
        error: standard error of the gain.
        scatter: of a step's loss, over the fall; None where it did not fall.
        rose: the highest mean of three successive losses above the start, beyond their scatter, over the deepest fall.
        fell: whether the fall is beyond two standard errors.
        spent: whether no loss was negative, and so little is left of it that no change could gain much.
    """

    start: float
    end: float
    fall: float
    gain: float | None
    error: float
    scatter: float | None
    rose: float
    fell: bool
    spent: bool = False

    @property
    def gaining(self) -> float:
        """The gain less two standard errors; 0 where the loss did not fall."""
        return 0.0 if self.gain is None else self.gain - 2.0 * self.error


def course(facts: Facts) -> Course | None:
    """Return what the losses show; None where there are too few."""
    steps, losses = facts.losses
    start = began(facts)
    if start is None or len(losses) < CURVE:
        return None
    third, end = (_window(steps, losses, *part) for part in (THIRD, LAST))
    fall = start - float(end.mean())
    late = losses[len(losses) // 2 :]
    spread = float(np.std(np.diff(late))) / math.sqrt(2.0)
    runs = np.convolve(losses, np.ones(3) / 3.0, "valid")
    above = float(runs.max()) - start - 3.0 * spread / math.sqrt(3.0)
    rose = max(above, 0.0) / max(start - float(runs.min()), abs(start) * 1e-9, 1e-300)
    if not fall > 0:
        return Course(start, float(end.mean()), fall, None, 0.0, None, rose, fell=False)
    error = spread * math.sqrt(1.0 / len(third) + 1.0 / len(end)) / fall
    first = max(1, min(int(len(losses) * END), max(EARLIEST, len(losses) // 100)))
    fell = fall > 2.0 * spread * math.sqrt(1.0 / first + 1.0 / len(end))
    gain = (float(third.mean()) - float(end.mean())) / fall
    spent = bool(losses.min() >= 0.0) and fell and float(end.mean()) <= LEFT * fall
    return Course(start, float(end.mean()), fall, gain, error, spread / fall, rose, fell, spent)


def ends(facts: Facts) -> tuple[float, float] | None:
    """The loss that the run began with and the mean of its last tenth: what every sentence says of its course.

    Of a lost loss the last is a median, as it is judged by: a mean of what jumps is whatever jumped most.
    """
    found = course(facts)
    if found is None or facts.course is None:
        return None
    rising = facts.course[1] >= found.start
    return found.start, facts.course[1] if rising else found.end


def unlowered(facts: Facts) -> bool:
    """Whether the loss did not come below where it began: by its medians, its means, or beyond its scatter."""
    found = course(facts)
    return found is not None and (stuck(facts) or not found.fell)


def _window(steps: Array, losses: Array, begin: float, end: float) -> Array:
    """Losses of a part of the run; the nearest one where it has none there."""
    places = (steps - steps[0]) / max(float(steps[-1] - steps[0]), 1.0)
    inside: Array = losses[(places >= begin) & (places <= end)]
    return inside if len(inside) else losses[[int(np.abs(places - (begin + end) / 2.0).argmin())]]
