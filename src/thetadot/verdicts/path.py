r"""Straightness of the path: the distance from its start over its length.

    s = |θ - θ₀| / Σ|Δθ|:    1 on a line; of n steps that forget each other, as noise makes them, 1/√n

A step that is too small follows one slope down, past noise that averages out and valley walls that it never feels.
Steps of the right size turn: curvature sends them across valleys, and what noise adds to the length leads nowhere. No
curvature and no gradient is needed for it. Momentum whose memory is the run's length makes any path straight.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from thetadot.verdicts.facts import SMALLEST, finite_field, positive
from thetadot.verdicts.thresholds import CURVE, MEMORY

if TYPE_CHECKING:
    from thetadot.records import Motion, Rows
    from thetadot.verdicts.facts import Facts


def straightness(facts: Facts) -> float | None:
    """S of the whole run; None where too little was recorded, or the velocity remembers too much of the run.

    Lengths of steps between readings are taken from the readings around them, by the trapezoid rule.
    """
    motions = _since_the_start(facts.motions)
    momentum = motions.column("momentum")
    if len(motions) < CURVE or (momentum >= 1).any():
        return None
    steps, lengths = finite_field(motions, "step"), finite_field(motions, "update_norm")
    if (1 / (1 - momentum)).max() > MEMORY * (steps[-1] - steps[0]) or np.isnan(lengths).any():
        return None
    length = np.cumsum(np.diff(steps) * (lengths[:-1] + lengths[1:]) / 2)[-1].item()
    away = positive(motions[-1].displacement)
    return min(away / length, 1.0) if away is not None and length > 0 else None


def _since_the_start(motions: Rows[Motion]) -> Rows[Motion]:
    """From the last motion that stands where distances are taken from: a resumed watch takes them anew."""
    starts = np.flatnonzero(~(finite_field(motions, "displacement") > SMALLEST))
    return motions[int(starts[-1]) :] if len(starts) else motions
