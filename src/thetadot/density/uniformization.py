r"""exp(tL) by uniformization, for any generator: a walk whose jumps come at the times of a Poisson process.

    exp(tL) p = Σ_k e^(-Λt) (Λt)^k/k! (1 + L/Λ)^k p,    Λ the largest rate of leaving a cell             [jensen1953]

Every term is non-negative where the rates are: positive exactly, mass conserved to rounding, no stability limit, no
spectrum to be known; about Λt + 8√(Λt) products. Where some rates are negative (central transport) the terms may grow
and cancel: they are measured, and the time of a sum is halved until they do not, at most to Λτ = 8. Long sums take
1.1 to 1.5 products for Λτ, short ones 5.6.

Source:
    Jensen, Skandinavisk Aktuarietidskrift 36, 87 (1953).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch

from thetadot.density.stencil import Stencil
from thetadot.errors import require

if TYPE_CHECKING:
    from torch import Tensor

    from thetadot.density.rates import Rates

_LONGEST = 4096.0  # Λτ of one sum
_BEGUN, _SHORT = 512.0, 8.0  # the same where some rates are negative: tried first, and always possible
_GROWN = 4.0  # times the start: growth of terms that costs less than a digit
_MOST = 1e8  # Λt


def poisson(mean: float, tolerance: float) -> list[float]:
    """e^(-m) m^k/k! for k = 0, 1, ... until what is left out is below the tolerance; they sum to 1.

    Example:
        >>> [round(weight, 6) for weight in poisson(1.0, 1e-16)[:3]]
        [0.367879, 0.367879, 0.18394]
    """
    most = int(mean + math.sqrt(2.0 * mean * math.log(1.0 / tolerance))) + int(math.log(1.0 / tolerance)) + 8
    mode = int(mean)
    k = np.arange(1, most + 1)
    ratio = mean / k
    up = np.cumprod(ratio[mode:])
    down = np.cumprod(1.0 / ratio[:mode][::-1])[::-1] if mode else np.zeros(0)
    weights = np.concatenate((down, [1.0], up))
    weights /= math.fsum(weights)
    return weights[: int(np.flatnonzero(weights > tolerance)[-1]) + 1].tolist()  # type: ignore[no-any-return]


def uniformization(rates: Rates, density: Tensor, time: float) -> Tensor:
    """exp(time·L) density, whatever the rates.

    Args:
        rates: L.
        density: p >= 0, (*shape), float32 or float64, on any device.
        time: t >= 0.

    Raises:
        InadmissibleValue: Λt above 1e8.
    """
    now = density.flatten().clone()
    fastest, positive = rates.fastest(), rates.positive
    if fastest * time == 0.0:
        return now.reshape(density.shape)
    require(
        fastest * time <= _MOST,
        f"time={time:g} at rates up to {fastest:.2g}",
        "takes more than 1e8 products",
        "Pass a smaller box or fewer cells, or take steady_state().",
    )
    jump = Stencil(rates, 1.0 / fastest, 1.0, density)
    tolerance = torch.finfo(density.dtype).eps / 8.0
    mass = float(now.sum(dtype=torch.float64))
    past, whole = 0.0, fastest * time
    pace = longest = _LONGEST if positive else _BEGUN
    while past < whole:
        pace = min(pace, longest, whole - past)
        after = _poisson_sum(jump, now, poisson(pace, tolerance), bounded=positive or pace <= _SHORT)
        if after is None:  # terms that cancel would cost digits
            pace = longest = max(pace / 2.0, _SHORT)
            continue
        past = whole if whole - past - pace < 1e-14 * whole else past + pace
        after *= mass / float(after.sum(dtype=torch.float64))
        now = after
    return now.reshape(density.shape)


def _poisson_sum(jump: Stencil, start: Tensor, weights: list[float], *, bounded: bool) -> Tensor | None:
    """Σ_k w_k (1 + L/Λ)^k start; None where terms grow beyond the start, asked of every eighth."""
    size = math.inf if bounded else _GROWN * float(start.abs().sum(dtype=torch.float64))
    now, spare, total = start, torch.empty_like(start), start * weights[0]
    own = torch.empty_like(start)
    for k, weight in enumerate(weights[1:], start=1):
        after = jump.add_to(spare.zero_(), now)
        spare, now = (own if now is start else now), after
        total.add_(now, alpha=weight)
        if not bounded and k % 8 == 0 and not float(now.abs().sum(dtype=torch.float64)) <= size:
            return None
    return total
