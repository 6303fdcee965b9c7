r"""exp(tL) by Chebyshev's expansion, for generators with detailed balance: their spectrum lies in [-ρ, 0].

    L = (ρ/2)(M - 1):    exp(tL) p = Σ_k (2 - δ_k0) e^(-z) I_k(z) T_k(M) p,    z = ρt/2            [talezer1989]

√(2z log 1/ε) products for an error ε, where steps of an explicit method would be 2z. T_k is a linear recurrence of two
terms, run in the memory of two vectors: with signs chosen so that each term adds to the one before the last,

    V_(k+1) = V_(k-1) ± 2M V_k,    V_k = ±T_k(M) p

The expansion is accurate to rounding in the norm of the stationary law, ∫ p²/π, in which a start high on the potential
is large: there rounding shows as negative values. What is negative is therefore measured, and the time halved until it
is rounding, which is set to zero; the mass of the start is kept.

Source:
    Tal-Ezer, SIAM J. Sci. Stat. Comput. 10, 656 (1989).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.special import ive

from thetadot.density.stencil import Stencil
from thetadot.errors import NotConverged, require

if TYPE_CHECKING:
    from torch import Tensor

    from thetadot.density.rates import Rates

_ROUNDING = 1024  # of ε: mass that may be negative after one sweep
_MOST_HALVINGS = 30
_LONGEST = 1e8  # ρt of one sweep: 8e4 products
_MOST = 1e12  # ρt of all


def coefficients(z: float, tolerance: float) -> list[float]:
    """(2 - δ_k0) e^(-z) I_k(z) for k = 0, 1, ... as long as they exceed the tolerance.

    Example:
        >>> round(sum(coefficients(3.0, 1e-16)), 14)  # Σ = exp(z(x - 1)) at x = 1
        1.0
    """
    most = int(math.sqrt(2.0 * z * math.log(1.0 / tolerance))) + int(math.log(1.0 / tolerance)) + 8
    values = 2.0 * ive(np.arange(most), z)
    values[0] /= 2.0
    return values[: int(np.flatnonzero(values > tolerance)[-1]) + 1].tolist()  # type: ignore[no-any-return]


def apply_series(stencil: Stencil, series: list[float], vector: Tensor) -> Tensor:
    """Apply the Chebyshev series Σ_k c_k T_k(M) to a vector.

    Args:
        stencil: 2M.
        series: c_k.
        vector: flat.
    """
    total = vector * series[0]
    before, now = vector.clone(), stencil.add_to(torch.zeros_like(vector), vector, 0.5)
    for k, weight in enumerate(series[1:], start=1):
        total.add_(now, alpha=weight if k % 4 in (0, 1) else -weight)
        before, now = now, stencil.add_to(before, now, -1.0 if k % 2 else 1.0)
    return total


def chebyshev(rates: Rates, density: Tensor, time: float) -> Tensor:
    """exp(time·L) density, for rates with detailed balance.

    Args:
        rates: L.
        density: p >= 0, (*shape), float32 or float64, on any device.
        time: t >= 0.

    Raises:
        InadmissibleValue: ρt above 1e12.
        NotConverged: the rounding of even the shortest of times is not small.
    """
    precision = torch.finfo(density.dtype).eps
    radius = rates.radius()
    require(
        radius * time <= _MOST,
        f"time={time:g} at rates up to {radius:.2g}",
        "takes more than 1e8 products",
        "Pass a smaller box or scheme='scharfetter-gummel', or take steady_state().",
    )
    stencil = Stencil(rates, 4.0 / radius, 2.0, density)
    now = density.flatten().clone()
    mass = float(now.sum(dtype=torch.float64))
    past, pace = 0.0, min(time, _LONGEST / radius)
    shortest = pace / 2.0**_MOST_HALVINGS
    while past < time:
        pace = min(pace, time - past)
        after = apply_series(stencil, coefficients(radius * pace / 2.0, precision / 8.0), now)
        negative = -float(after.clamp(max=0.0).sum(dtype=torch.float64))
        if not negative <= _ROUNDING * precision * mass:
            pace /= 2.0
            if pace < shortest:
                raise NotConverged(
                    f"rounding makes a share {negative / mass:.1g} of the mass negative in {density.dtype}, however "
                    "short the time. Pass float64, or a start lower on the potential."
                )
            continue
        past += pace
        if time - past < 1e-14 * time:
            past = time
        now = after.clamp_(min=0.0)
        now *= mass / float(now.sum(dtype=torch.float64))
        pace *= 2.0
    return now.reshape(density.shape)
