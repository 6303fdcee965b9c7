r"""Averages of a serial record, with intervals that know that neighbours are alike.

    Var x̄ = s²/n · τ,    τ = (1+ρ)/(1-ρ),    effective = n/τ

ρ is the correlation of neighbours, corrected for its bias -(1+3ρ)/n [kendall1954]. It is taken of the record and of
its means over 2, 4, 8 ... neighbours down to :data:`FEWEST` of them [flyvbjerg1989], and the largest variance counts:
a slow part under white noise shows only in the longer means. A negative ρ is taken for 0. Quantiles are Student's with
effective - 1 degrees of freedom; below :data:`LEAST` effective readings the interval is infinite: it cannot be told.

    ratio of averages R = x̄/ȳ:    {r : (x̄-rȳ)² <= t² Var(x̄-rȳ)}                                      [fieller1954]

On stationary AR(1) with ρ = .95 the nominal 95% interval misses in 6, 3, 3 and 2% of records of 50, 100, 200 and 1000;
of these 77, 76, 53 and 1% are infinite. On white noise it misses in 2% and is a third too wide. A slow part (ρ = .95)
that makes a fifth of the variance under white noise is overlooked more often: misses in 20, 15, 8 and 4%.

Source:
    Kendall, "Note on bias in the estimation of autocorrelation", Biometrika 41 (1954).
    Flyvbjerg, Petersen, "Error estimates on averages of correlated data", J. Chem. Phys. 91 (1989).
    Fieller, "Some problems in interval estimation", J. Royal Stat. Soc. B 16 (1954).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from thetadot.core.intervals import quantile
from thetadot.core.signatures import checked
from thetadot.errors import InadmissibleValue, require

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike, NDArray

    Series = NDArray[np.float64]

FEWEST = 10
"""Neighbouring means that a correlation is still taken of."""
LEAST = 2.0
"""Effective readings below which nothing is told."""


@dataclass(frozen=True)
class Interval:
    """An estimate with the ends of its interval, infinite where there is no bound.

    Attributes:
        mean: the estimate; NaN where a reading is not finite.
        low: lower end.
        high: upper end.
        samples: n, readings.
        effective: independent readings that would tell as much.
    """

    mean: float
    low: float
    high: float
    samples: int
    effective: float

    def excludes(self, value: float) -> bool:
        """Whether ``value`` lies outside."""
        return not self.low <= value <= self.high


@dataclass(frozen=True)
class Ratio:
    """A ratio of averages; where ``resolved`` is False, ``value`` is a one-sided bound, or NaN where there is none."""

    value: float
    low: float
    high: float
    samples: int
    resolved: bool


@checked
def mean_interval(series: ArrayLike, level: float = 0.95) -> Interval:
    """Mean of a stationary record.

    Args:
        series: n readings, in their order.
        level: probability that the interval is to cover the expectation, in (0, 1).

    Raises:
        InadmissibleValue: not one-dimensional, no readings, or a level outside (0, 1).

    Example:
        >>> alternating = mean_interval([1.0, 3.0] * 8)  # s² = 16/15, t(15) = 2.131
        >>> alternating.mean, round(alternating.low, 3), alternating.effective
        (2.0, 1.45, 16.0)
    """
    x = as_series(series, level)
    n = len(x)
    mean = float(x.mean())
    variance, effective = variance_of_mean(x)
    if not effective >= LEAST:
        return Interval(mean if math.isfinite(mean) else math.nan, -math.inf, math.inf, n, effective)
    half = quantile(level, effective - 1.0) * math.sqrt(variance)
    return Interval(mean, mean - half, mean + half, n, effective)


@checked
def ratio_interval(numerator: ArrayLike, denominator: ArrayLike, level: float = 0.95) -> Ratio:
    """Ratio of two averages, never the average of ratios, which is biased.

    Args:
        numerator: n readings x.
        denominator: n readings y taken at the same times, of a quantity that is not negative in the mean.
        level: as for :func:`mean_interval`.

    Returns:
        x̄/ȳ; where ȳ is not resolved from zero, the end of x̄ nearer to zero over the upper end of ȳ: a lower bound where
        x̄ is above zero, an upper one where it is below, NaN where that is not told either.

    Raises:
        InadmissibleValue: records of different length, or as for :func:`mean_interval`.

    Example:
        >>> ratio_interval([2.0, 6.0] * 8, [1.0, 3.0] * 8).value
        2.0
        >>> ratio_interval([1.0] * 16, [-1.0, 1.0] * 8).resolved
        False
    """
    x, y = as_series(numerator, level), as_series(denominator, level)
    n = len(x)
    require(n == len(y), f"{n} numerators and {len(y)} denominators", "do not pair", "Pass records of one length.")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        return Ratio(math.nan, -math.inf, math.inf, n, resolved=False)
    above, below = mean_interval(x, level), mean_interval(y, level)
    if below.excludes(0.0) and below.mean != 0:
        rest = x - above.mean / below.mean * y
        variance, effective = variance_of_mean(rest)
        if effective >= LEAST:
            spread = float(rest.var(ddof=1))
            stretch = variance / spread if spread > 0 else 1.0 / n
            ends = fieller(above.mean, below.mean, stretch * np.cov(x, y), quantile(level, effective - 1.0))
            if ends is not None:
                return Ratio(above.mean / below.mean, *ends, n, resolved=True)
    return bounded(above.low, above.high, below.high, n)


def bounded(low: float, high: float, upper: float, samples: int) -> Ratio:
    """The ratio of what lies in [low, high] to what is only known to lie in (0, upper].

    Example:
        >>> bounded(1.0, 3.0, 2.0, samples=9).low
        0.5
    """
    if low > 0:
        bound = low / upper if upper > 0 else math.inf
        return Ratio(bound, bound, math.inf, samples, resolved=False)
    if high < 0:
        bound = high / upper if upper > 0 else -math.inf
        return Ratio(bound, -math.inf, bound, samples, resolved=False)
    return Ratio(math.nan, -math.inf, math.inf, samples, resolved=False)


def fieller(numerator: float, denominator: float, covariance: Series, factor: float) -> tuple[float, float] | None:
    """Ends of {r : (x-ry)² <= t²(Vxx - 2rVxy + r²Vyy)}; None where that is no interval, y not being resolved from zero.

    Example:
        >>> fieller(6.0, 2.0, np.array([[1.0, 0.0], [0.0, 0.0]]), 2.0)  # (6 ± 2)/2
        (2.0, 4.0)
    """
    square = factor * factor
    a = denominator * denominator - square * float(covariance[1, 1])
    b = numerator * denominator - square * float(covariance[0, 1])
    c = numerator * numerator - square * float(covariance[0, 0])
    if not a > 0:
        return None
    root = math.sqrt(max(b * b - a * c, 0.0))
    return (b - root) / a, (b + root) / a


def variance_of_mean(x: Series) -> tuple[float, float]:
    """Var x̄ and the effective number of readings; (∞, 0) where neighbours are alike to the end."""
    n = len(x)
    if n < 3 or not np.isfinite(x).all():
        return (math.inf if np.isfinite(x).all() else math.nan), 0.0
    plain = float(x.var(ddof=1)) / n
    if plain <= np.finfo(np.float64).eps ** 2 * float(x @ x) / n:  # constant, to rounding
        return 0.0, float(n)
    variance = 0.0
    for means in coarser(x):
        m, deviations = len(means), means - means.mean()
        total = float(deviations @ deviations)
        if total <= 0:
            break
        rho = max(float(deviations[:-1] @ deviations[1:]) / total, 0.0)
        rho = rho + (1.0 + 3.0 * rho) / m if rho > 0 else 0.0
        if rho >= 1:
            return math.inf, 0.0
        count = m * (1.0 - rho) / (1.0 + rho)
        bias = 1.0 - 1.0 / count if count > 1 else 0.0  # of s² about the record's own mean
        if bias <= 0:
            return math.inf, 0.0
        variance = max(variance, total / (m - 1) / count / bias if rho > 0 else total / (m - 1) / m)
    return variance, min(n * plain / variance, float(n))


def coarser(x: Series) -> Iterator[Series]:
    """The record, and its means over 2, 4, 8 ... neighbours while :data:`FEWEST` of them remain."""
    size, count = 1, len(x)
    while size == 1 or count >= FEWEST:
        yield x[: count * size].reshape(count, size).mean(axis=1)
        size *= 2
        count = len(x) // size


def as_series(series: ArrayLike, level: float) -> Series:
    """A float64 record, checked."""
    try:
        x = np.asarray(series, dtype=np.float64)
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:
        raise InadmissibleValue(f"a record of type {type(series).__name__} holds no numbers. Pass floats.") from error
    came = f"a record of shape {x.shape}"
    require(x.ndim == 1 and len(x) > 0, came, "is not a series", "Pass one reading per time, (n,).")
    require(0 < level < 1, f"level={level:g}", "is outside (0, 1)", "Pass a probability, such as 0.95.")
    return x
