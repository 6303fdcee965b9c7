r"""Causes of a lost loss, and one change, from what was measured before it.

    momentum, if the velocity never forgot:   β' = .9, or what forgets within a tenth of the run
    batch, if it is small and too hot:        8 times, at the same lr
    lr otherwise:                             by 3 to 10, as far as curvature, noise or the first step's length say

A bound says in which direction, and how far at most it is worth going at once; never the whole amount: what it asks for
was up to a thousand times too careful.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from thetadot.core.formatting import plain, ratio, times
from thetadot.verdicts.base import SettingChange
from thetadot.verdicts.damping import forgetting
from thetadot.verdicts.edge import accusing, began_above, points
from thetadot.verdicts.facts import number, positive
from thetadot.verdicts.pace import pace
from thetadot.verdicts.stride import first_stride
from thetadot.verdicts.thresholds import (
    EIGHTFOLD,
    MEMORY,
    SAFE,
    SMALL,
    SMALLEST_BATCH,
    STRIDE,
    TENFOLD,
    THREEFOLD,
    USUAL,
)

if TYPE_CHECKING:
    from thetadot.verdicts.facts import Facts
    from thetadot.verdicts.pace import Pace


def rescue(before: Facts) -> SettingChange:
    """Recommend a change, from what was known before the loss was lost."""
    motion = before.peak
    lr = positive(motion.lr) if motion is not None else None
    if motion is None or lr is None:
        return SettingChange("lower lr", "Lower the lr tenfold, or warm it up.")
    beta = number(motion.momentum)
    if beta is not None and USUAL < beta < 1 and 1 / (1 - beta) > MEMORY * before.steps:
        return _momentum(before, lr, beta)
    found = pace(before)
    hot = found is not None and found.start < 1 and found.excess > SMALL
    if hot and found is not None and before.family == "sgd" and (before.batch or SMALLEST_BATCH) < SMALLEST_BATCH:
        return _larger_batch(before, lr, found)
    factor, why, evidence = _amount(before, found)
    new = lr / factor
    said = f"Lower lr from {plain(lr)} to {plain(new)}, {why}. Momentum as it is."
    return SettingChange("lower lr", said, evidence, (("lr", new),))


def _momentum(before: Facts, lr: float, beta: float) -> SettingChange:
    memory = f"the velocity remembers {plain(1 / (1 - beta))} of {plain(before.steps)} steps"
    new = forgetting(before.steps)
    said = f"Lower momentum from {beta:.6g} to {new:.3g}, the usual one, or what forgets within a tenth of the run; "
    said += f"lr {plain(lr)} as it is: {memory}."
    evidence = (f"momentum {beta:.6g}: memory 1/(1-β) = {plain(1 / (1 - beta))} steps",)
    return SettingChange("lower momentum", said, evidence, (("momentum", new),))


def _larger_batch(before: Facts, lr: float, found: Pace) -> SettingChange:
    """Too hot for its batch, which is so small that a larger one costs no time."""
    batch = before.batch or 1.0
    new = batch * EIGHTFOLD
    said = f"Too hot for its batch: the noise scale was {times(found.excess)} the batch of {plain(batch)}. Raise the "
    said += f"batch from {plain(batch)} to {plain(new)} at lr {plain(lr)}, which saves time as well."
    line = f"bound over the step at the first measurement: {plain(found.start)}"
    return SettingChange("raise batch", said, (line,), (("batch", new),))


def _amount(before: Facts, found: Pace | None) -> tuple[float, str, tuple[str, ...]]:
    """By how much to lower an lr: 3 to 10 times, why, and what was measured."""
    wanted: list[tuple[float, str, str]] = []
    limits = points(before)
    if before.family == "adaptive":
        stride = first_stride(before)
        if stride is not None and stride > STRIDE:
            why = f"since a first step moved the weights by {ratio(stride)} their length"
            wanted.append((stride / STRIDE, why, f"first step over weights: {plain(stride)}"))
    elif limits:
        worst = limits[0] if began_above(before, limits) else max(limits, key=lambda p: p.high)
        side = "above" if worst.low > 1 and accusing(before, worst.entry) else "near"
        line = f"sharpness over limit at step {plain(worst.step)}: {plain(worst.high)} by its upper end"
        if worst.high > SAFE:
            wanted.append((worst.high / SAFE, f"since it came {side} the stability limit", line))
    if found is not None and found.start < 1 and before.family == "sgd":
        over = times(1 / found.start)
        line = f"bound over the step at the first measurement: {plain(found.start)}"
        wanted.append((1 / found.start, f"since it was {over} what noise and curvature asked for at the start", line))
    if not wanted:
        return TENFOLD, "and tenfold again while the loss is lost: nothing measured says how far", ()
    factor, why, _ = max(wanted)
    said = why if factor <= TENFOLD else f"tenfold at first, {why}"
    return min(max(factor, THREEFOLD), TENFOLD), said, tuple(line for *_, line in wanted)
