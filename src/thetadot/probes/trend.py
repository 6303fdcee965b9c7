r"""Linear trend of a serial record over a window, tested against slow fluctuation.

    x_t = a + bt + u_t,    u_t = ρu_{t-1} + e_t;    b by generalised least squares [prais1954],    trend = b(n-1)

ρ is that of the residuals plus its bias (2+4ρ)/n and half its standard error; near 1 it is taken for 1, a random walk,
whose trend is told by its ends alone [perron2009]. As for :func:`~thetadot.probes.averages.mean_interval` this is done
for the record and its means over 2, 4, 8 ... neighbours, and the widest interval counts.

On stationary AR(1), ρ = .95, the nominal 95% interval misses zero in 8, 5, 2 and 1% of records of 50, 100, 200 and
1000; a record that moves by 10 of its own standard deviations is seen in nine cases of ten. Where ρ > .99 and the
record is shorter than 100, or it has fewer than 50 readings, misses rise to a fifth: a fluctuation slower than the
record is a trend.

Source:
    Prais, Winsten, "Trend estimators and serial correlation", Cowles discussion paper 383 (1954).
    Perron, Yabu, "Estimating deterministic trends with an integrated or stationary noise component", J. Econometrics
    151 (2009).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from thetadot.core.intervals import quantile
from thetadot.core.signatures import checked
from thetadot.probes.averages import Interval, as_series, coarser

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

_FREEDOM = 5.0  # fewest degrees of freedom, with which the false alarms above were counted


@checked
def trend(series: ArrayLike, level: float = 0.95) -> Interval:
    """Change of the expectation from the first reading to the last.

    Args:
        series: n readings, equally spaced in time.
        level: probability that the interval is to cover it, in (0, 1).

    Raises:
        InadmissibleValue: not one-dimensional, no readings, or a level outside (0, 1).

    Example:
        >>> found = trend([0.5 * step for step in range(21)])
        >>> round(found.mean, 9), round(found.low, 9), found.excludes(0.0)
        (10.0, 10.0, True)
    """
    x = as_series(series, level)
    n = len(x)
    if not np.isfinite(x).all():
        return Interval(math.nan, -math.inf, math.inf, n, 0.0)
    if n < 5:
        return Interval(float(x[-1] - x[0]), -math.inf, math.inf, n, 0.0)
    found = []
    for doubling, means in enumerate(coarser(x)):
        slope, error, rho = _slope(means)
        m, stretch = len(means), (n - 1) / 2**doubling
        effective = m * (1.0 - rho) / (1.0 + rho)
        half = quantile(level, max(effective - 2.0, min(_FREEDOM, m - 2.0))) * error * stretch
        found.append((half, slope * stretch, effective))
    half, change, effective = max(found)
    return Interval(change, change - half, change + half, n, effective)


def _slope(x: NDArray[np.float64]) -> tuple[float, float, float]:
    """Slope per reading, its standard error, and the residuals' ρ."""
    m = len(x)
    t = np.arange(m) - (m - 1) / 2.0
    rest = x - x.mean() - t * float(t @ x) / float(t @ t)
    total = float(rest @ rest)
    rho = max(float(rest[:-1] @ rest[1:]) / total, 0.0) if total > 0 else 0.0
    rho += (2.0 + 4.0 * rho) / m + 0.5 * math.sqrt((1.0 - rho * rho) / m)
    if rho > 1.0 - 1.0 / m:
        steps = np.diff(x)
        return float(steps.mean()), float(steps.std(ddof=1)) / math.sqrt(m - 1), 1.0
    first = math.sqrt(1.0 - rho * rho)
    design = np.stack([np.ones(m), t, x], axis=1)
    white = np.concatenate([first * design[:1], design[1:] - rho * design[:-1]])
    inverse = np.linalg.inv(white[:, :2].T @ white[:, :2])
    coefficients = inverse @ white[:, :2].T @ white[:, 2]
    left = white[:, 2] - white[:, :2] @ coefficients
    return float(coefficients[1]), math.sqrt(float(left @ left) / (m - 2) * float(inverse[1, 1])), rho
