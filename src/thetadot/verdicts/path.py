r"""Straightness of the path: the distance from its start over its length.

    s = |θ - θ₀| / Σ|Δθ|:    1 on a line; of n steps that forget each other, as noise makes them, 1/√n

A step that is too small follows one slope down, past noise that averages out and valley walls that it never feels.
Steps of the right size turn: curvature sends them across valleys, and what noise adds to the length leads nowhere. No
curvature and no gradient is needed for it. Momentum whose memory is the run's length makes any path straight.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from thetadot.verdicts.facts import number, positive
from thetadot.verdicts.thresholds import CURVE, MEMORY

if TYPE_CHECKING:
    from thetadot.records import Motion
    from thetadot.verdicts.facts import Facts


def straightness(facts: Facts) -> float | None:
    """S of the whole run; None where too little was recorded, or the velocity remembers too much of the run.

    Lengths of steps between readings are taken from the readings around them, by the trapezoid rule.
    """
    motions = _since_the_start(facts.motions)
    if len(motions) < CURVE or any(m.momentum >= 1 for m in motions):
        return None
    steps = motions[-1].step - motions[0].step
    if max(1 / (1 - m.momentum) for m in motions) > MEMORY * steps:
        return None
    length = 0.0
    for one, other in pairwise(motions):
        before, after = number(one.update_norm), number(other.update_norm)
        if before is None or after is None:
            return None
        length += (other.step - one.step) * (before + after) / 2
    away = positive(motions[-1].displacement)
    return min(away / length, 1.0) if away is not None and length > 0 else None


def _since_the_start(motions: list[Motion]) -> list[Motion]:
    """From the last motion that stands where distances are taken from: a resumed watch takes them anew."""
    starts = [i for i, motion in enumerate(motions) if positive(motion.displacement) is None]
    return motions[starts[-1] :] if starts else motions
