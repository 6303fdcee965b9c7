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

from thetadot.core.formatting import count, plain
from thetadot.verdicts.base import Verdict
from thetadot.verdicts.dead import dead
from thetadot.verdicts.facts import Facts, interval, number, positive
from thetadot.verdicts.learning import learned
from thetadot.verdicts.noise import scale
from thetadot.verdicts.path import straightness
from thetadot.verdicts.progress import weights
from thetadot.verdicts.step_range import largest_lr, step_range
from thetadot.verdicts.sureness import at_most, confidence
from thetadot.verdicts.thresholds import FEW, WARM

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


def paced(facts: Facts) -> Verdict:
    """Judge the size of the step: by its range and what the loss did, with the bound beside it."""
    where, bound, along = step_range(facts), pace(facts), straightness(facts)
    evidence = where.evidence
    if bound is not None:
        ends = f"{plain(min(bound.all))} to {plain(max(bound.all))} in {count(len(bound.all), 'measurement')}"
        said = f"1/(λmax (1 + B_n/B)) over the step's reach while the loss fell: {plain(bound.factor)} ({ends})"
        evidence += (said, f"the same at the first measurement: {plain(bound.start)}")
    if along is not None:
        evidence += (f"distance from the start over length of the path: {plain(along)}",)
    lr = largest_lr(facts)
    if dead(facts) is not None:
        says = "Not known whether the step is of the right size: most layers have no gradient."
        return Verdict("pace", "unknown", "unknown", says, evidence)
    if where.side == "unknown" or lr is None:
        lacking = facts.lacking("sharpness", "curvature", "training loss", otherwise=where.why or "the lr is not known")
        says = f"Not known whether the step is of the right size: {lacking}."
        return Verdict("pace", "unknown", "unknown", says, evidence)
    sure = _sureness(facts)
    if where.side == "small":
        said = f"The step is too small: {where.why}. lr {plain(lr)} has room."
        return Verdict("pace", "too slow", "attention", said, evidence, sure)
    if where.side == "large":
        said = f"The step is too long: {where.why}."
        return Verdict("pace", "too long", "bad", said, evidence, sure)
    if not learned(facts):
        said = f"Not known whether the step is of the right size: {where.why}, but the loss did not come lower."
        return Verdict("pace", "unresolved", "unknown", said, evidence, sure)
    return Verdict(
        "pace",
        "pace fits",
        "good",
        f"Nothing shows that the step is too small or too long: {where.why}.",
        evidence,
        sure,
    )


def _sureness(facts: Facts) -> str:
    known = len(facts.curvatures)
    if facts.family == "adaptive" or not known:
        return confidence("moderate", "by the length of a step and the losses")
    return at_most(facts.sampled, confidence("high" if known >= FEW else "moderate", count(known, "measurement")))
