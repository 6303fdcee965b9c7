r"""Whether the step is too small, or too long for its noise.

    best r = α/(1-β) of one step:    r* = |G|²/(GᵀHG) / (1 + B_n/B)  >=  1/(λmax (1 + B_n/B))

The bound takes all curvature to be the largest, so that a step far below it is too small whatever the directions. It
is divided by what noise asks for: the stability limit alone would choose steps 10 to 300 times too large for
mini-batches. For an adaptive method λmax is that of P⁻¹H and r = α, whose mean of gradients adds no length.

Source:
    McCandlish et al., arXiv:1812.06162, eq. 2.7.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING

from thetadot.formatting import count, plain, share, times
from thetadot.verdicts.base import Verdict
from thetadot.verdicts.facts import Facts, at_most, confidence, interval, middle, number, positive
from thetadot.verdicts.noise import Scale, scale
from thetadot.verdicts.path import straightness
from thetadot.verdicts.progress import weights
from thetadot.verdicts.thresholds import FEW, HASTY, SLOW, SMALLER, STRAIGHT, THREEFOLD, WARM

if TYPE_CHECKING:
    from thetadot.records import Curvature, Motion, Noise


def rate(facts: Facts, motion: Motion) -> float | None:
    """R = α/(1-β), how far one gradient carries in the end."""
    lr, beta = positive(motion.lr), number(motion.momentum)
    if lr is None or facts.family is None:
        return None
    if facts.family == "adaptive":
        return lr
    return lr / (1 - beta) if beta is not None and 0 <= beta < 1 else None


@dataclass(frozen=True)
class Pace:
    """Ratio of the bound to the step.

    Attributes:
        factor: geometric mean, each weighing by the fall of the loss that it stands for.
        start: at the first measurement, before the step has shaped what is measured.
        all: every one, near the run's largest lr.
        excess: B_n/B at the first measurement.
    """

    factor: float
    start: float
    all: tuple[float, ...]
    excess: float


def pace(facts: Facts) -> Pace | None:
    """The step against its bound; None where noise, curvature, batch size or reach is not known."""
    noise = scale(facts)
    peak = positive(facts.peak.lr) if facts.peak is not None else None
    if noise is None or peak is None or facts.batch is None:
        return None
    found: list[tuple[float, float, float]] = []
    noises = sorted(facts.noises, key=_step)
    for entry in sorted(facts.curvatures, key=_step):
        step = _step(entry)
        motion, batch = facts.at(step), facts.batch_at(step)
        sharpness = positive(interval(entry)[1])  # the bound is one only from above
        if motion is None or sharpness is None or batch is None or (number(motion.lr) or 0.0) < WARM * peak:
            continue
        reach = rate(facts, motion)
        excess = _noise_at(noises, step, noise.value) / batch
        if reach is not None and 1e-90 < sharpness * reach * (1.0 + excess) < 1e90:
            found.append((step, 1.0 / (sharpness * reach * (1.0 + excess)), excess))
    if not found:
        return None
    heavy = weights(facts, [step for step, *_ in found])
    mean = sum(w * math.log(x) for w, (_, x, _) in zip(heavy, found, strict=True)) / sum(heavy)
    return Pace(math.exp(mean), found[0][1], tuple(x for _, x, _ in found), found[0][2])


def _noise_at(noises: list[Noise], step: float, now: float) -> float:
    """The measurement nearest in time; where that is a lower bound, the run's, if it is larger."""
    after = bisect_right(noises, step, key=_step)
    near = min(noises[max(after - 1, 0) : after + 1], key=lambda e: abs(_step(e) - step))
    return near.noise_scale if near.resolved else max(near.noise_scale, now)


def _step(entry: Noise | Curvature) -> float:
    return number(entry.step) or 0.0


def descending(facts: Facts) -> str:
    """Say why the motion is still going downhill; "" where nothing shows it."""
    if facts.equilibria and facts.equilibria[-1].state == "stationary":
        return ""
    along, fell = straightness(facts), _fell(facts)
    if along is not None and along > STRAIGHT and fell:
        return f"{share(along)} of its path led away from the start, and {fell}"
    known = [low for e in facts.equilibria if (low := number(e.alignment_low)) is not None]
    if known and sum(low > 0 for low in known) > len(known) / 2:
        return (
            f"successive gradients are aligned in {sum(low > 0 for low in known)} of {count(len(known), 'measurement')}"
        )
    return "" if known else fell


def _fell(facts: Facts) -> str:
    """How the loss fell in the last half; "" where it did not."""
    if facts.course is None:
        return ""
    _, losses = facts.losses
    late = middle(losses[len(losses) // 2 : 3 * len(losses) // 4])
    if facts.course[1] < late < facts.course[0]:
        return f"the loss fell steadily, {plain(facts.course[0])}, {plain(late)}, {plain(facts.course[1])}"
    return ""


def paced(facts: Facts) -> Verdict:
    """Judge the size of the step."""
    found, noise = pace(facts), scale(facts)
    if found is None or noise is None:
        reason = "the batch size, the lr or the optimizer's kind is not known"
        if noise is None or not facts.curvatures:
            reason = "no gradient noise was measured" if noise is None else facts.no_curvature
        why = facts.lacking("noise", "sharpness", "curvature", otherwise=reason)
        return Verdict("pace", "unknown", "unknown", f"Not known whether the step is of the right size: {why}.")
    ends = f"{plain(min(found.all))} to {plain(max(found.all))} in {count(len(found.all), 'measurement')}"
    evidence: tuple[str, ...] = (
        f"1/(λmax (1 + B_n/B)) over the step's reach while the loss fell: {plain(found.factor)} ({ends})",
        f"the same at the first measurement: {plain(found.start)}",
    )
    along = straightness(facts)
    straight = along is not None and along > STRAIGHT
    if along is not None:
        evidence += (f"distance from the start over length of the path: {plain(along)}",)
    slow = SMALLER if straight else SLOW
    if found.factor > slow:
        return _slow(facts, noise, found, evidence, slow)
    sure = _sureness(facts, found, slow)
    if found.factor < HASTY and facts.family == "sgd":
        said = (
            f"The step is {times(1 / found.factor)} as long as a careful bound on noise and curvature asks for, more "
            "than directions of lower curvature explain: most of the motion is noise."
        )
        return Verdict("pace", "too long", "attention", said, evidence, sure)
    said = "The step is of the right size for its noise and curvature"
    return Verdict("pace", "pace fits", "good", f"{said}, as far as a bound can tell.", evidence, sure)


def _slow(facts: Facts, noise: Scale, found: Pace, evidence: tuple[str, ...], slow: float) -> Verdict:
    bounded = sum(not e.resolved for e in facts.noises) > len(facts.noises) / 2
    if bounded and not noise.resolved and not facts.noises[0].resolved:
        said = "Not resolved whether the step is too small: only a lower bound of the noise scale is known."
        return Verdict("pace", "unresolved", "unknown", said, evidence, confidence("low", "noise may explain it"))
    why = descending(facts)
    if not why:
        said = (
            f"The step is {times(found.factor)} shorter than noise and curvature would allow, but nothing says that "
            "the motion still descends."
        )
        return Verdict("pace", "slow at rest", "good", said, evidence, confidence("low", "no descent was resolved"))
    lr = plain(number(facts.peak.lr) or 0.0) if facts.peak is not None else "?"
    said = f"The step is too small: lr {lr} could be {times(found.factor)} as large for noise and curvature, and {why}."
    if found.factor < THREEFOLD:
        said = f"The step is too small: at lr {lr} {why}; curvature allows more."
    return Verdict("pace", "too slow", "attention", said, (*evidence, why), _sureness(facts, found, slow))


def _sureness(facts: Facts, found: Pace, slow: float) -> str:
    theory = "" if facts.family == "sgd" else "the bound is derived for descent"
    sides = {(value > slow) - (value < HASTY) for value in found.all}
    if len(found.all) < FEW or theory:
        said = confidence("low" if len(sides) > 1 else "moderate", count(len(found.all), "measurement"), theory)
    else:
        said = confidence("moderate" if len(sides) > 1 else "high", count(len(found.all), "measurement"))
    return at_most(facts.sampled, said)
