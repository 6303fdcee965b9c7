r"""Causes of a lost loss, and how much to change, from measurements before it.

    momentum, if the velocity never forgot:   β' with  α/(1-β') = r*
    lr, if it came above its limit:            α' = α · (half the limit)/λmax
    batch or lr, if it was too hot:            B' = B_n with α' = α r*/r (1 + B_n/B)/2,   or α' = α r*/r
    lr of an adaptive method:                  α' with |Δ| = 2% of |θ| in the first steps

r* is the bound of :mod:`~thetadot.verdicts.pace` at the first measurement, r = α/(1-β). A careful bound: the numbers
are safe, and up to ten times smaller than the best.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from thetadot.formatting import plain, share, times
from thetadot.verdicts.base import Change
from thetadot.verdicts.damping import forgetting
from thetadot.verdicts.edge import began_above, points
from thetadot.verdicts.facts import SMALLEST, number, numbers, positive
from thetadot.verdicts.pace import pace
from thetadot.verdicts.thresholds import LEAST, SAFE, SMALL, STRIDE, TENFOLD

if TYPE_CHECKING:
    from collections.abc import Mapping

    from thetadot.verdicts.base import Verdict
    from thetadot.verdicts.edge import Point
    from thetadot.verdicts.facts import Facts
    from thetadot.verdicts.pace import Pace


def rescue(before: Facts, verdicts: Mapping[str, Verdict]) -> Change:
    """Recommend a change, from what was known before the loss was lost."""
    motion = before.peak
    lr = positive(motion.lr) if motion is not None else None
    if motion is None or lr is None:
        return Change("lower lr", "Lower the lr, or warm it up; measure curvature at the start to see how far.")
    found, limits = pace(before), points(before)
    beta = number(motion.momentum)
    if verdicts["damping"].state == "bad" and beta is not None and 0 <= beta < 1:
        return _momentum(before, lr, beta, found)
    worst = max(limits, key=lambda p: p.high, default=None)
    if began_above(before, limits):
        worst = limits[0]
    adaptive, hot = before.family == "adaptive", found is not None and found.start < 1
    if worst is not None and not adaptive and worst.high > (SAFE if not hot else 1):
        return _limit(lr, worst)
    if adaptive:
        return _stride(before, lr)
    if found is not None and hot:
        return _hot(before, lr, found)
    said = f"Lower the lr below {plain(lr)}, or warm it up; measure curvature at the start to see how far."
    return Change("lower lr", said)


def _lr(lr: float, new: float, why: str, line: str) -> Change:
    return Change("lower lr", f"Lower lr from {plain(lr)} to {plain(new)}, {why}. Momentum as it is.", (line,), (("lr", new),))


def _limit(lr: float, worst: Point) -> Change:
    new, above = lr * SAFE / worst.high, "above" if worst.low > 1 else "near"
    over = f"{plain(worst.high)}, upper end of sharpness over limit at step {plain(worst.step)}"
    why = f"half the limit at the measured sharpness: it came {above} the stability limit"
    return _lr(lr, new, why, f"lr {plain(new)} = {SAFE} · {plain(lr)} / {over}")


def _momentum(before: Facts, lr: float, beta: float, found: Pace | None) -> Change:
    memory = f"the velocity remembers {plain(1 / (1 - beta))} of {plain(before.steps)} steps"
    new, why = forgetting(before.steps), "the usual one, or what forgets within a tenth of the run"
    if found is not None and before.family == "sgd" and LEAST <= 1 - (1 - beta) / found.start < new:
        new, why = 1 - (1 - beta) / found.start, "where lr/(1-momentum) is what noise and curvature asked for"
    said = f"Lower momentum from {beta:.6g} to {new:.3g}, {why}; lr {plain(lr)} as it is: {memory}."
    return Change("lower momentum", said, (f"momentum {beta:.6g}: memory 1/(1-β) = {plain(1 / (1 - beta))} steps",))


def _hot(before: Facts, lr: float, found: Pace) -> Change:
    """Too long a step for noise and curvature together; where noise is most of it, the batch is too small."""
    new = lr * found.start
    line = f"lr {plain(new)} = {plain(lr)} · {plain(found.start)}, the bound over the step at the first measurement"
    if found.excess <= SMALL or before.batch is None:
        why = f"what noise and curvature asked for at the start: it was {times(1 / found.start)} as large"
        return _lr(lr, new, why, line)
    said = f"Too hot for its batch: the noise scale was {times(found.excess)} the batch of {plain(before.batch)}."
    batch, there = before.batch * found.excess, min((1 + found.excess) * found.start / 2, 1.0)
    said += f" Raise the batch to {plain(batch)}, the noise scale, {'with' if there < 1 else 'at'} "
    said += f"lr {plain(lr * there)}"
    said += f"; or lower lr from {plain(lr)} to {plain(new)} at this batch."
    both = f"at a batch of B_n the bound is {times((1 + found.excess) / 2)} what it was"
    return Change("raise batch", said, (line, both))


def _stride(before: Facts, lr: float) -> Change:
    """An adaptive method's first steps have the length lr·√d whatever the gradient: against that of the weights."""
    moved, weight = numbers(before.motions, "update_norm"), numbers(before.motions, "weight_norm")
    known = np.flatnonzero((moved > SMALLEST) & (weight > SMALLEST))
    stride = float(moved[known[0]] / weight[known[0]]) if len(known) else 0.0
    if stride <= STRIDE:
        said = f"Lower lr from {plain(lr)} to {plain(lr / TENFOLD)}, and tenfold again while the loss is lost."
        return Change("lower lr", said)
    new = lr * STRIDE / stride
    far = share(stride) if stride < 1 else times(stride)
    why = f"where a first step moves the weights by {share(STRIDE)} of their length, not by {far}"
    return _lr(lr, new, why, f"lr {plain(new)} = {STRIDE} · {plain(lr)} / {plain(stride)}, step over weights")
