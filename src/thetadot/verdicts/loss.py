r"""Whether the loss was lost, and since when.

    lost:  at last more than twice where it began; or no lower than it began, after it had been below half of that
           or above twice that; or no longer finite

Where a run began is its first loss, or the median of the first tenth where that is lower: a run that is lost at its
third step has a first tenth that tells nothing. What is measured after the loss was lost is of a wreck: gradients are
huge or vanish with saturation, and neither noise nor curvature there says what made it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from thetadot.verdicts.facts import middle, number
from thetadot.verdicts.thresholds import FELL, GREW, SILENT, STUCK
from thetadot.verdicts.words import plain

if TYPE_CHECKING:
    from thetadot.verdicts.facts import Facts


@dataclass(frozen=True)
class Loss:
    """A loss that is lost.

    Attributes:
        why: what says so, in words.
        before: the last recorded step before that.
    """

    why: str
    before: float


def lost(facts: Facts) -> Loss | None:
    """Why the loss is lost, and since when; None where it is not."""
    why = _why(facts)
    return Loss(why, _before(facts)) if why else None


def began(facts: Facts) -> float | None:
    """The loss that the run began with; None where there are too few."""
    return None if facts.course is None else min(facts.losses[0][1], facts.course[0])


def stuck(facts: Facts) -> bool:
    """Whether the loss is no lower than where it began."""
    first = began(facts)
    return first is not None and facts.course is not None and facts.course[1] >= first - STUCK * abs(first)


def _why(facts: Facts) -> str:
    result = facts.record.result
    if result is not None and result.diverged:
        return "the run was stopped because it diverged"
    values = [number(m.loss) for m in facts.motions]
    silent = next((i for i, value in enumerate(reversed(values)) if value is not None), len(values))
    if SILENT <= silent < len(values):
        return f"the last {silent} recorded steps have no finite loss"
    first = began(facts)
    if first is None or facts.course is None:
        return ""
    last = facts.course[1]
    if last - first > GREW * abs(first):
        return f"the loss rose from {plain(first)} to {plain(last)}"
    if not stuck(facts) or first <= 0:
        return ""
    smooth = _smooth([loss for _, loss in facts.losses])
    if min(smooth) < FELL * first:
        return f"the loss fell from {plain(first)} to {plain(min(smooth))} and is back at {plain(last)}"
    if max(smooth) > (1 + GREW) * first:
        return f"the loss rose from {plain(first)} to {plain(max(smooth))} and sank back to {plain(last)}, no lower"
    return ""


def _before(facts: Facts) -> float:
    """The last step before the loss, smoothed, first rose to its multiple; where it never did, that of the lowest."""
    first = began(facts)
    if first is None:
        return max((step for step, _ in facts.losses), default=0.0)
    steps, smooth = [step for step, _ in facts.losses], _smooth([loss for _, loss in facts.losses])
    rose = next((i for i, loss in enumerate(smooth) if loss - first > GREW * abs(first)), None)
    if rose is not None:
        return steps[max(rose - 1, 0)]
    return steps[smooth.index(min(smooth))]


def _smooth(losses: list[float]) -> list[float]:
    """Medians of three."""
    return [middle(losses[max(i - 1, 0) : i + 2]) for i in range(len(losses))]
