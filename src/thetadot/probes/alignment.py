r"""Alignment of consecutive gradients: positive while descending, negative where steps bounce [pflug1983].

    mean of ⟨g_t, g_{t+1}⟩;    descending: ≈ |G|²;    gradient descent, stationary on hθ²/2: -ηhs²/(2-ηh)

The stationary value is small against the fluctuation of a single product (s²), so it takes about (2/ηh)² steps to be
told from zero: a second opinion beside the fluctuation-dissipation ratio.

Source:
    Pflug, "On the determination of the step size in stochastic quasigradient methods", 1983.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from thetadot.core.signatures import checked
from thetadot.errors import require

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from thetadot.probes.averages import Interval

from thetadot.probes.averages import mean_interval


@checked
def alignment(products: ArrayLike, level: float = 0.95) -> Interval:
    """Mean inner product of consecutive gradients.

    Args:
        products: ⟨g_t, g_{t+1}⟩ at n times, each of two neighbouring steps.
        level: probability that the interval is to cover the expectation.

    Raises:
        InadmissibleValue: as for :func:`~thetadot.probes.averages.mean_interval`.

    Example:
        >>> found = alignment([-1.0, 0.0] * 8)
        >>> found.mean, found.high < 0
        (-0.5, True)
    """
    return mean_interval(products, level)


@checked
def stationary_alignment(rate: float, curvature: float, noise: float) -> float:
    """Return the stationary alignment of gradient descent on hθ²/2 with gradient noise s², in one degree of freedom.

    Args:
        rate: η > 0.
        curvature: h > 0, with ηh < 2.
        noise: s² >= 0 of one step's gradient.

    Raises:
        InadmissibleValue: the step is unstable.

    Example:
        >>> round(stationary_alignment(0.5, 1.0, 1.0), 4)
        -0.3333
    """
    x = rate * curvature
    require(0 < x < 2, f"rate·curvature={x:g}", "is outside (0, 2): there is no stationary law", "Pass a stable step.")
    return -x * noise / (2.0 - x)
