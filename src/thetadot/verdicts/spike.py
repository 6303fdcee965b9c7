r"""Spikes: losses that leave the run's trend and come back.

    L(t) - trend > 8 scatter  and  > .3 of the fall so far

At most the largest is told: its step, what layers' norms did there, and what it came with: a step above the stability
limit (edge), weights that moved (the step), or none of these (the data of that batch, or noise).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from thetadot.core.formatting import count, plain, times
from thetadot.records import Layers, standing
from thetadot.verdicts.base import Verdict
from thetadot.verdicts.course import unlowered
from thetadot.verdicts.edge import accusing, points
from thetadot.verdicts.facts import middle, number
from thetadot.verdicts.sureness import confidence
from thetadot.verdicts.thresholds import ABOVE, CURVE, DEVIATIONS, FEW, JUMP

if TYPE_CHECKING:
    from thetadot.records.columns import Array
    from thetadot.verdicts.base import State
    from thetadot.verdicts.facts import Facts

HALF = 10
"""Losses on either side that make the trend."""
LASTING = 3
"""Steps that a loss stays high, from which the weights have moved; a bad batch is over at once."""


def spikes(facts: Facts) -> Verdict:
    """Judge whether the loss had spikes, and what the largest came with."""
    steps, losses = facts.losses
    if len(losses) < max(CURVE, 2 * HALF + 2):
        return Verdict("spikes", "unknown", "unknown", "Not known whether the loss had spikes: too few are recorded.")
    found = _places(losses, least=JUMP * abs(float(middle(losses[: 2 * HALF]))) if unlowered(facts) else 0.0)
    if not found:
        return Verdict("spikes", "none", "good", "The loss had no spikes.")
    trend = _trend(losses)
    first = max(found, key=lambda span: float((losses - trend)[span[0] : span[1]].max()))
    at = first[0] + int((losses - trend)[first[0] : first[1]].argmax())
    cause, why = _cause_of_spike(facts, float(steps[at]), first[1] - first[0], len(found))
    said = f"{count(len(found), 'spike')} of the loss; the largest at step {plain(float(steps[at]))}, "
    said += f"{plain(float(losses[at]))} where {plain(float(trend[at]))} was the trend: {why}."
    evidence = (
        f"loss {plain(float(losses[at]))} at step {plain(float(steps[at]))}, trend {plain(float(trend[at]))}",
        *_layers(facts, float(steps[at])),
    )
    lasting = float(np.mean(losses[-HALF:])) > float(np.min(trend)) + JUMP * max(float(trend[0] - trend.min()), 0.0)
    if not lasting:
        said += " It came back from it."
    sure = confidence("moderate" if cause != "noise" else "low", "by what was recorded around it")
    state: State = "attention" if lasting else "good"
    return Verdict("spikes", f"spike of the {cause}", state, said, evidence, sure)


def _trend(losses: Array) -> Array:
    """Running medians."""
    padded = np.concatenate([losses[:HALF][::-1], losses, losses[-HALF:][::-1]])
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * HALF + 1)
    return np.asarray(np.median(windows, axis=1))


def _places(losses: Array, least: float) -> list[tuple[int, int]]:
    """Stretches of losses above the trend by far, each from its first to behind its last; not at the very start.

    Args:
        losses: of the steps.
        least: height of a spike where the run has not fallen, so that there is no fall to compare it with.
    """
    trend = _trend(losses)
    above = losses - trend
    scatter = 1.4826 * middle(np.abs(above))
    fall = np.maximum.accumulate(np.maximum(trend[0] - np.minimum.accumulate(trend), 0.0))
    high = (above > DEVIATIONS * scatter) & (above > np.maximum(JUMP * fall, least)) & (fall > 0)
    high[:HALF] = False
    edges = np.flatnonzero(np.diff(np.concatenate([[False], high, [False]]).astype(np.int8)))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def _cause_of_spike(facts: Facts, step: float, length: int, number_of: int) -> tuple[str, str]:
    near = [p for p in points(facts) if abs(p.step - step) <= 0.05 * max(facts.steps, 1.0)]
    over = [p for p in near if p.low > ABOVE and accusing(facts, p.entry)]
    if over:
        return "edge", f"sharpness was {times(over[-1].ratio)} the stability limit at step {plain(over[-1].step)}"
    if length >= LASTING:
        return "step", f"it lasted for {length} recorded losses, so the weights were moved by too long a step"
    if number_of > FEW:
        return "noise", "there are many, each of single batches: steps are long for their noise"
    return "data", "one batch alone has it: look at its samples"


def _layers(facts: Facts, step: float) -> tuple[str, ...]:
    """The layers whose gradient grew most around a step."""
    rows = list(standing(facts.record, Layers)[0])
    after = [row for row in rows if row.step >= step][:1]
    before = [row for row in rows if row.step < step][-1:]
    if not after or not before or len(after[0].gradient) != len(before[0].gradient):
        return ()
    names = facts.record.layers
    pairs = zip(before[0].gradient, after[0].gradient, strict=True)
    ratios = [(number(b) or 0.0) / a if (number(a) or 0.0) > 0 else 0.0 for a, b in pairs]
    if not ratios:
        return ()
    most = max(range(len(ratios)), key=lambda i: ratios[i])
    name = names[most] if most < len(names) else f"layer {most}"
    span = f"from step {before[0].step} to {after[0].step}"
    return (f"gradient of {name}: {times(ratios[most])} {span}, the most of all",)
