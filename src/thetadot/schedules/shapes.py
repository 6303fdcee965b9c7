"""Shapes: functions of the elapsed fraction of a run, from 1 down to ``end``.

Every shape is a pure function of t in [0, 1], so that a resumed run continues it exactly.
"""

from __future__ import annotations

import math

from thetadot.core.signatures import checked
from thetadot.errors import require


def _require_end(t: float, end: float) -> None:
    require(0 <= t <= 1, f"t={t:g}", "is outside [0, 1]", "Pass the elapsed fraction of the run.")
    require(0 <= end <= 1, f"end={end:g}", "is outside [0, 1]", "Pass the fraction of the first value to end at.")


@checked
def cosine(t: float, end: float = 0.0) -> float:
    """The half wave end + (1-end)(1+cos πt)/2.

    Example:
        >>> cosine(0.0), round(cosine(0.5), 12), cosine(1.0)
        (1.0, 0.5, 0.0)
    """
    _require_end(t, end)
    return end + (1.0 - end) * (1.0 + math.cos(math.pi * t)) / 2.0


@checked
def linear(t: float, end: float = 0.0) -> float:
    """The straight line end + (1-end)(1-t).

    Example:
        >>> linear(0.25), linear(1.0, end=0.1)
        (0.75, 0.1)
    """
    _require_end(t, end)
    return end + (1.0 - end) * (1.0 - t)


@checked
def warmup(t: float, length: float) -> float:
    """Rises linearly to 1 at t = length, then stays.

    Example:
        >>> warmup(0.01, 0.02), warmup(0.5, 0.02), warmup(0.0, 0.0)
        (0.5, 1.0, 1.0)
    """
    require(0 <= length <= 1, f"length={length:g}", "is outside [0, 1]", "Pass the fraction of the run that rises.")
    _require_end(t, 0.0)
    return min(1.0, t / length) if length > 0 else 1.0
