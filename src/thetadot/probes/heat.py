r"""The temperature that a run's gradient noise keeps up, as it draws its batches.

    T = trΣ · f(h),    f of :func:`~thetadot.translation.temperature` at the curvature h

trΣ and h come with intervals. Their ends are carried over and combined in quadrature, as logarithms: exact to first
order where the two err independently.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from thetadot.translation import temperature

if TYPE_CHECKING:
    from collections.abc import Sequence

    from thetadot.probes.gradient_noise import GradientNoise
    from thetadot.records import Draws

Sampling = Literal["replacement", "epochs"]


class Estimate(NamedTuple):
    """A number and the ends of its 95% interval; None where they are not known, or infinite."""

    value: float
    low: float | None = None
    high: float | None = None

    def times(self, factor: float) -> Estimate:
        """Multiply value and interval by a factor.

        Example:
            >>> Estimate(2.0, 1.0, None).times(3.0)
            Estimate(value=6.0, low=3.0, high=None)
        """
        ends = (None if end is None else factor * end for end in (self.low, self.high))
        return Estimate(factor * self.value, *ends)


def finite_end(value: float | None) -> float | None:
    """An end that can be written down."""
    return value if value is not None and math.isfinite(value) else None


def variance_of(found: GradientNoise) -> Estimate:
    """TrΣ with its interval."""
    return Estimate(max(found.variance, 0.0), *map(finite_end, found.variances))


def heat(
    rate: float,
    momentum: float,
    variance: Estimate,
    batch_size: float,
    *,
    parameters: int,
    draws: Draws | None,
    curvature: Estimate | None = None,
) -> Estimate | None:
    """T of trΣ/d along a direction; under epochs it depends on the curvature, and sharper ones are hotter.

    Args:
        rate: α of the heavy-ball form.
        momentum: β of it.
        variance: trΣ of one sample, in the metric of the step.
        batch_size: B.
        parameters: d.
        draws: how batches are drawn; None, unknown, is taken for independent draws, which are never colder.
        curvature: h in the metric of the step; the largest for the run as a whole. None: h → 0 of independent draws.

    Returns:
        T; None where N, or a curvature at which the step is stable, is needed and not known.
    """
    given: dict[str, Any] = {"parameters": parameters}
    if draws is not None and draws.sampling == "epochs":
        if draws.dataset_size is None or curvature is None or batch_size > draws.dataset_size:
            return None
        given |= {"sampling": "epochs", "dataset_size": draws.dataset_size, "drop_last": draws.drop_last}
    edge = 2.0 * (1.0 + momentum)
    if curvature is None:
        return variance.times(float(temperature(rate, momentum, 1.0, batch_size, **given)))
    if not curvature.value > 0 or not rate * curvature.value < edge:
        return None

    def at(h: float | None) -> float | None:
        """The share at one end; nothing where the step is not stable there."""
        if h is None or rate * h >= edge:
            return None
        return float(temperature(rate, momentum, 1.0, batch_size, curvature=h, **given)) if h > 0 else 0.0

    middle = at(curvature.value) or 0.0
    ends = [at(curvature.low), at(curvature.high)]
    known = [end for end in ends if end is not None]
    low = None if ends[0] is None else min([middle, *known])
    high = None if ends[1] is None else max([middle, *known])
    return _independent_product(variance, Estimate(middle, low, high))


def along(
    rate: float,
    momentum: float,
    variance: Estimate,
    batch_size: float,
    curvatures: Sequence[Estimate],
    *,
    parameters: int,
    draws: Draws | None,
) -> tuple[Estimate | None, ...]:
    """T along each direction, as batches are drawn; with the noise of an average one."""
    return tuple(
        heat(rate, momentum, variance, batch_size, parameters=parameters, draws=draws, curvature=h) for h in curvatures
    )


def _independent_product(one: Estimate, other: Estimate) -> Estimate:
    """Of two that err independently.

    Example:
        >>> [round(x, 3) for x in _independent_product(Estimate(2.0, 1.0, 4.0), Estimate(3.0, 3.0, 3.0))]
        [6.0, 3.0, 12.0]
    """
    value = one.value * other.value
    if not value > 0:
        return Estimate(value)
    low = _scaled_end(value, (one.value, one.low), (other.value, other.low), -1.0)
    return Estimate(value, low, _scaled_end(value, (one.value, one.high), (other.value, other.high), 1.0))


def _scaled_end(value: float, *pairs: Any) -> float | None:
    *factors, sign = pairs
    if any(end is None for _, end in factors):
        return None
    if any(end <= 0 for _, end in factors):
        return 0.0
    return float(value * math.exp(sign * math.hypot(*(math.log(end / middle) for middle, end in factors))))
