r"""Classification of a run as stationary, still moving or undecided, from fluctuation, dissipation and the loss.

    stationary:  1 lies in the interval of virial/kinetic, its half width is <= .25, and the loss has no trend
    moving:      1 lies outside it, or the loss has a trend
    unresolved:  otherwise

Each of the two tests has half of the false alarms that are granted (5% together, nominal). Measured on stationary
AR(1), ρ = .95: below 10% for records of 50 to 1000 readings, where intervals that ignore correlation have 70 to 80%.
Records so short are mostly unresolved. Who asks at every step will once be told "moving" by chance: ask for windows.

Source: virial and kinetic as in :mod:`~thetadot.probes.fluctuation`; intervals as in
:mod:`~thetadot.probes.averages` and :mod:`~thetadot.probes.trend`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from thetadot.core.signatures import checked
from thetadot.errors import require
from thetadot.probes.averages import Interval, Ratio, as_series, ratio_interval
from thetadot.probes.trend import trend

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

State = Literal["stationary", "moving", "unresolved"]
NARROW = 0.25
"""Half width of the ratio's interval up to which stationarity is affirmed."""


@dataclass(frozen=True)
class Stationarity:
    """The verdict and what it rests on.

    Attributes:
        state: "stationary", "moving" or "unresolved".
        virial: mean virial.
        kinetic: mean of what fluctuation makes of it.
        ratio: their ratio, where kinetic is significantly different from zero.
        trend: change of the loss over the window.
        samples: readings.
    """

    state: State
    virial: float
    kinetic: float
    ratio: Ratio
    trend: Interval
    samples: int


@checked
def stationarity(virial: ArrayLike, kinetic: ArrayLike, loss: ArrayLike, level: float = 0.95) -> Stationarity:
    """Whether a window of readings is of a stationary motion.

    Args:
        virial: n readings of :class:`~thetadot.probes.fluctuation.Fluctuation`, equally spaced in steps.
        kinetic: n readings of the same.
        loss: n losses at the same times.
        level: 1 - the false alarms that are granted.

    Raises:
        InadmissibleValue: records of different length, or as for :func:`~thetadot.probes.averages.mean_interval`.

    Example:
        >>> stationarity([0.8, 1.2] * 50, [1.2, 0.8] * 50, [2.0, 2.1] * 50).state
        'stationary'
        >>> stationarity([3.8, 4.2] * 50, [1.2, 0.8] * 50, [2.0, 2.1] * 50).state
        'moving'
    """
    x, y, z = (as_series(series, level) for series in (virial, kinetic, loss))
    require(
        len(x) == len(y) == len(z),
        f"{len(x)} virials, {len(y)} kinetic readings and {len(z)} losses",
        "do not go together",
        "Pass records of one length.",
    )
    each = 0.5 + 0.5 * level
    ratio, drift = ratio_interval(x, y, each), trend(z, each)
    moved = drift.excludes(0.0) and abs(drift.mean) > np.finfo(np.float64).eps * 16 * float(np.abs(z).max())
    state: State = "unresolved"
    if moved or not ratio.low <= 1.0 <= ratio.high:
        state = "moving"
    elif ratio.resolved and ratio.high - ratio.low <= 2.0 * NARROW and np.isfinite(drift.low):
        state = "stationary"
    return Stationarity(state, float(x.mean()), float(y.mean()), ratio, drift, len(x))
