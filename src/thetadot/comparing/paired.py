"""Paired differences of losses over seeds, with 95% t-intervals, and how many seeds would resolve them.

    d_i = a_i - b_i,   mean ± t_{.975, n-1} s/√n,   resolved: 0 is outside

Pairs share seed, first parameters and, at one batch size, batches. The ratio is that of geometric means, exp of the
same interval for log a_i - log b_i. A number of seeds resolves a difference if the interval excludes 0 with
probability 80%, were mean and spread those seen: P(T > t_{.975}) of the noncentral t, shifted by mean·√n/s.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scipy.stats import nct as shifted

from thetadot.core.intervals import LEVEL, interval, quantile

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST_SEEDS = 10_000
POWER = 0.8
_CERTAIN = 30.0  # standard errors: beyond them the noncentral t is not needed, and hard to compute


@dataclass(frozen=True)
class Difference:
    """Difference of two runs' losses over common seeds.

    Attributes:
        a: name of a run.
        b: name of the other.
        mean: of a minus b; None where one of them diverged on every seed.
        half: half-width of its 95% interval; None for fewer than two seeds.
        ratio: of geometric means, a to b; None where a loss is not positive.
        ratio_low: lower end of its 95% interval.
        ratio_high: upper end.
        seeds: on which neither diverged.
        lost: seeds on which a diverged, and b.
        needed: seeds that would resolve it, if mean and spread stay; None where it is resolved, or more than 10,000.
    """

    a: str
    b: str
    mean: float | None
    half: float | None
    ratio: float | None
    ratio_low: float | None
    ratio_high: float | None
    seeds: int
    lost: tuple[int, int]
    needed: int | None

    @property
    def resolved(self) -> bool:
        """Whether 0 is outside the interval, of seeds on which neither diverged."""
        return self.mean is not None and self.half is not None and abs(self.mean) > self.half and self.lost == (0, 0)

    @property
    def same(self) -> bool:
        """Whether both losses are equal on every seed."""
        return self.mean == 0 and self.half == 0


def difference(a: str, b: str, first: Sequence[float | None], second: Sequence[float | None]) -> Difference:
    """Compare two runs seed by seed.

    Args:
        a: name of a run.
        b: name of the other.
        first: losses of a, None where it diverged.
        second: losses of b on the same seeds.

    Example:
        >>> found = difference("a", "b", [1.0, 2.0, 3.0], [0.5, 1.6, 2.6])
        >>> round(found.mean, 4), found.resolved
        (0.4333, True)
    """
    pairs = [(x, y) for x, y in zip(first, second, strict=True) if x is not None and y is not None]
    lost = sum(x is None for x in first), sum(y is None for y in second)
    if not pairs:
        return Difference(a, b, None, None, None, None, None, 0, lost, None)
    each = [x - y for x, y in pairs]
    mean, half = interval(each)
    ratio = low = high = None
    if all(x > 0 and y > 0 for x, y in pairs):
        middle, width = interval([math.log(x) - math.log(y) for x, y in pairs])
        ratio = _exp(middle)
        low, high = (None, None) if width is None else (_exp(middle - width), _exp(middle + width))
    found = Difference(a, b, mean, half, ratio, low, high, len(pairs), lost, None)
    if found.resolved or half is None or mean == 0:
        return found
    return Difference(a, b, mean, half, ratio, low, high, len(pairs), lost, needed(mean, statistics.stdev(each)))


def needed(mean: float, spread: float) -> int | None:
    """Fewest seeds whose interval excludes 0 with probability 80%; None beyond 10,000.

    Args:
        mean: of the differences.
        spread: their standard deviation.

    Example:
        >>> needed(1.0, 1.0), needed(1.0, 3.0), needed(1e-9, 1.0)
        (10, 73, None)
    """

    def enough(n: int) -> bool:
        shift = abs(mean) * math.sqrt(n) / spread
        return shift > _CERTAIN or float(shifted.sf(quantile(LEVEL, n - 1), n - 1, shift)) >= POWER

    if spread == 0:
        return 2
    if not enough(MOST_SEEDS):
        return None
    low, high = 1, MOST_SEEDS  # not enough, enough
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _exp(value: float) -> float:
    return math.exp(min(value, 700.0))
