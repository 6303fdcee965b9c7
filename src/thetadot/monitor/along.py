"""Damping along directions and implicit regularization, from a curvature or a noise and its interval."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from thetadot.probes import gradient_term, noise_term
from thetadot.probes.heat import Estimate, finite_end
from thetadot.records import Regularization
from thetadot.translation import damping, step_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from thetadot.core.reading import Reading
    from thetadot.probes import GradientNoise
    from thetadot.records import Draws

ROUNDING = 1e-5
"""Of a loss: a second difference below this share of it is rounding."""


def rungs(spectrum: Sequence[float], residuals: Sequence[float], high: float) -> list[Estimate]:
    """The positive Ritz values: the first up to the end of λmax, of others an eigenvalue lies within the residual.

    Example:
        >>> rungs((4.0, 1.0, -1.0), (0.5, 0.25, 0.0), 5.0)
        [Estimate(value=4.0, low=4.0, high=5.0), Estimate(value=1.0, low=0.75, high=1.25)]
    """
    found = []
    for i, (value, away) in enumerate(zip(spectrum, residuals, strict=True)):
        if value > 0:
            ends = (value, finite_end(high)) if i == 0 else (value - away, value + away)
            found.append(Estimate(value, *ends))
    return found


def damping_ratios(reading: Reading, curvatures: Sequence[Estimate]) -> list[Estimate]:
    """ζ = λ/(2√h) along each; none without a velocity. λ is exact, so the ends are those of h."""
    if reading.rate is None or not 0 < reading.memory < 1 or not reading.rate > 0:
        return []
    half = float(damping(reading.memory)) / float(step_of(reading.rate, reading.memory)) / 2.0
    return [
        Estimate(
            half / math.sqrt(h.value),
            half / math.sqrt(h.high) if h.high else None,
            half / math.sqrt(h.low) if h.low and h.low > 0 else None,
        )
        for h in curvatures
    ]


def line_curvature(losses: Sequence[float], way: Tensor, preconditioner: Tensor | None) -> float | None:
    """Second derivative along a straight line where it begins, by the first three of equally spaced losses.

    Args:
        losses: at places 0 to 1 of the line, three or more.
        way: from its beginning to its end, (d,).
        preconditioner: diagonal of P, in whose metric lengths are, (d,).

    Returns:
        h; None where the loss does not curve upward there, or by no more than rounding.
    """
    square = float((way.square() if preconditioner is None else way.square() * preconditioner).sum())
    apart = square / (len(losses) - 1) ** 2
    second = losses[0] - 2.0 * losses[1] + losses[2]
    if not apart > 0 or not second > ROUNDING * abs(losses[0]):
        return None
    return finite_end(second / apart)


def regularization(
    step: int, reading: Reading, metric: GradientNoise, loss: float, batch: int, draws: Draws | None
) -> list[Regularization]:
    """Return both terms of the finite step; the term of batches is that of shuffled epochs, and only given for them.

    Args:
        step: now.
        reading: its rate and memory are those of a heavy ball.
        metric: noise in the metric of the step.
        loss: of the reference.
        batch: B.
        draws: how batches are drawn; None: not known, and there is no term of them.
    """
    rate, memory = reading.rate or 0.0, reading.memory
    by_square = gradient_term(rate, memory, 1.0)
    own = Estimate(max(metric.square, 0.0), *map(finite_end, metric.squares)).times(by_square)
    noise: Estimate | None = None
    if draws is not None and draws.sampling == "epochs":
        batches = None if draws.dataset_size is None else max(2, draws.dataset_size // batch)
        by_variance = noise_term(rate, memory, 1.0, batch, batches)
        noise = Estimate(max(metric.variance, 0.0), *map(finite_end, metric.variances)).times(by_variance)
    if not all(map(math.isfinite, (own.value, 0.0 if noise is None else noise.value, loss))):
        return []
    return [Regularization(step, own.value, noise and noise.value, loss, own.low, own.high,
                           noise and noise.low, noise and noise.high)]  # fmt: skip
