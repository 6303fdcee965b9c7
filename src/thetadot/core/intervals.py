r"""Student's intervals: of a mean, and of a difference of means of unequal variances.

    mean ± t s/√n                              t the two-sided quantile with n-1 degrees of freedom
    x̄ - ȳ ± t √(s_x²/n + s_y²/m)               with ν = (a+b)²/(a²/(n-1) + b²/(m-1)),  a = s_x²/n, b = s_y²/m

Both suppose independent values; for a serial record the effective number of readings is another
(:mod:`thetadot.probes.averages`), for which :func:`quantile` takes any degrees of freedom.

Source:
    Welch, "The generalization of 'Student's' problem", Biometrika 34, 28 (1947).
"""

from __future__ import annotations

import math
from statistics import fmean, variance
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

LEVEL = 0.95


def quantile(level: float, freedom: float) -> float:
    """Student's two-sided quantile, one degree of freedom at least.

    Example:
        >>> round(quantile(0.95, 2), 3), round(quantile(0.95, 1e9), 3)
        (4.303, 1.96)
    """
    from scipy.special import stdtrit  # noqa: PLC0415 - a page of one run needs none of it

    return float(stdtrit(max(freedom, 1.0), 0.5 + 0.5 * level))


def interval(values: Sequence[float], level: float = LEVEL) -> tuple[float, float | None]:
    """Mean and half-width of its t-interval; no width of one value.

    Example:
        >>> mean, half = interval([1.0, 2.0, 3.0])
        >>> round(mean, 6), round(half, 3)  # 4.303/√3
        (2.0, 2.484)
    """
    count = len(values)
    half = quantile(level, count - 1) * math.sqrt(variance(values) / count) if count > 1 else None
    return fmean(values), half


def welch(x: Sequence[float], y: Sequence[float], level: float = LEVEL) -> float | None:
    """Half-width of the interval of a difference of means; None where a side has one value.

    Example:
        >>> round(welch([1.0, 2.0, 3.0], [1.0, 2.0, 3.0]), 3)  # 2.776·√(2/3), ν = 4
        2.267
        >>> welch([1.0, 1.0], [2.0, 2.0])
        0.0
    """
    if min(len(x), len(y)) < 2:
        return None
    parts = [variance(each) / len(each) for each in (x, y)]
    total = sum(parts)
    if total == 0:
        return 0.0
    freedom = total**2 / sum(part**2 / (len(each) - 1) for part, each in zip(parts, (x, y), strict=True))
    return quantile(level, freedom) * math.sqrt(total)
