r"""Whether the loss was lost, and since when.

    lost:  at last more than twice where it began; or no lower than it began, after it had been below half of that
           or above twice that, or with weights further from their start than they were long; or no longer finite

Where a run began is the median of the first tenth of its losses; the first loss where that is below all of the last
half, since the first tenth of a run that is lost at its third step tells nothing. What is measured after the loss was
lost is of a wreck: gradients are huge or vanish with saturation, and neither noise nor curvature there says what made
it.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from thetadot.core.formatting import plain
from thetadot.records import Remark
from thetadot.verdicts.facts import finite_field, middle, number, positive
from thetadot.verdicts.thresholds import END, FELL, GREW, SILENT, STRETCHES, STUCK

if TYPE_CHECKING:
    from thetadot.records.columns import Array
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
    if facts.course is None:
        return None
    _, losses = facts.losses
    lost_at_once = losses[0] < losses[len(losses) // 2 :].min()
    return min(losses[0].item(), facts.course[0]) if lost_at_once else facts.course[0]


def stuck(facts: Facts) -> bool:
    """Whether the loss is no lower than where it began, on its batches nor, where it was taken, on the reference.

    A run that fell in its first few steps, or whose batches are a few noisy samples, shows it only there.
    """
    first, reference = began(facts), facts.references
    if first is None or facts.course is None:
        return False
    early = facts.losses[1][:3].tolist()
    first = max(first, min(middle(early), early[0]))
    told = len(reference) > 1 and reference[0] <= (1 + GREW) * max(early)  # else taken where the first step threw it
    if told and reference[-1] < reference[0] - STUCK * abs(reference[0]):
        return False
    return bool(facts.course[1] >= first - STUCK * abs(first))


def _why(facts: Facts) -> str:
    result = facts.record.result
    if result is not None and result.diverged:
        return "the run was stopped because it diverged"
    silent = _silence(facts)
    if silent:
        steps = "recorded step has" if silent == 1 else f"{silent} recorded steps have"
        return f"the last {steps} no finite loss"
    return _by_course(facts)


def _silence(facts: Facts) -> int:
    """How many recorded steps at the end have no finite loss; 0 where that means that none was seen, not that none is.

    It is lost that was there before, or that the watch saw not to be finite: the gradient then is not either.
    """
    seen = np.isfinite(finite_field(facts.motions, "loss"))
    if not len(seen) or seen[-1]:
        return 0
    changes = np.flatnonzero(np.diff(np.concatenate([[True], seen, [True]]).astype(np.int8)))
    gaps: list[int] = (changes[1::2] - changes[::2]).tolist()
    *before, silent = gaps
    begun = facts.motions[-silent].step
    alarmed = any(e.alarm and e.about == "loss" and e.step >= begun for e in facts.record.of(Remark))
    if alarmed or (silent < len(seen) and (silent >= SILENT or silent > max(before, default=0))):
        return silent
    return 0


def _by_course(facts: Facts) -> str:
    """Why the finite losses say so; "" where they do not."""
    first = began(facts)
    if first is None or facts.course is None:
        return ""
    last = facts.course[1]
    if last - first > GREW * abs(first):
        return f"the loss rose from {plain(first)} to {plain(last)}"
    said = ""
    if stuck(facts) and first > 0:
        _, smooth = _smoothed(*facts.losses)
        if min(smooth) < FELL * first:
            said = f"the loss fell from {plain(first)} to {plain(min(smooth))} and is back at {plain(last)}"
        elif max(smooth) > (1 + GREW) * first:
            said = f"the loss rose from {plain(first)} to {plain(max(smooth))} and sank back to {plain(last)}, no lower"
        elif _thrown(facts) is not None:
            said = f"it is no lower, {plain(last)} after {plain(first)}, but the weights moved beyond their length"
    return said


def _before(facts: Facts) -> float:
    """The last step before the loss, smoothed, or the weights went that far; else that of the lowest loss."""
    first, thrown = began(facts), _thrown(facts)
    if first is None:
        return float(facts.losses[0].max(initial=0.0))
    steps, smooth = _smoothed(*facts.losses)
    rose = next((i for i, loss in enumerate(smooth) if loss - first > GREW * abs(first)), None)
    if rose is not None:
        return steps[max(rose - 1, 0)]
    if thrown is not None and stuck(facts):
        return thrown
    return steps[smooth.index(min(smooth))]


def _thrown(facts: Facts) -> float | None:
    """The last step at which the weights had moved no further than their own length at first, if they ever did."""
    begin = positive(facts.motions[0].weight_norm) if facts.motions else None
    if begin is None:
        return None
    beyond = np.flatnonzero(finite_field(facts.motions, "displacement") > begin)
    return number(facts.motions[max(int(beyond[0]) - 1, 0)].step) if len(beyond) else None


def _smoothed(steps: Array, losses: Array) -> tuple[list[float], list[float]]:
    """Steps, and running medians over a tenth of the losses, three at least.

    Of a long record stretches are taken first, as many as are worth telling apart: each their median, at their last
    step. So that the work grows as the record does, not as its square.
    """
    width = max(-(-len(losses) // STRETCHES), 1)
    whole = len(losses) // width * width
    values: list[float] = np.median(losses[:whole].reshape(-1, width), axis=1).tolist()
    ends: list[float] = steps[width - 1 : whole : width].tolist()
    if whole < len(losses):
        values.append(middle(losses[whole:]))
        ends.append(steps[-1].item())
    half = max(int(len(values) * END), 3) // 2
    window: list[float] = sorted(values[:half])
    smooth = []
    for i in range(len(values)):
        if i + half < len(values):
            insort(window, values[i + half])
        if i > half:
            del window[bisect_left(window, values[i - half - 1])]
        size = len(window)
        smooth.append((window[(size - 1) // 2] + window[size // 2]) / 2.0)
    return ends, smooth
