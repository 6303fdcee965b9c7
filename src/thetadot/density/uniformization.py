r"""exp(tL) by uniformization, for any generator: a walk whose jumps come at the times of a Poisson process.

    exp(tL) p = Σ_k e^(-Λt) (Λt)^k/k! (1 + L/Λ)^k p,    Λ the largest rate of leaving a cell             [jensen1953]

Every term is non-negative where the rates are: positive exactly, mass conserved to rounding, no stability limit, no
spectrum to be known; about Λt + 8√(Λt) products. Where some rates are negative (central transport) the terms may grow;
then the sum is taken over short times, Λτ <= 8.

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

_LONGEST, _SHORT = 4096.0, 8.0
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
    parts = max(1, math.ceil(fastest * time / (_LONGEST if positive else _SHORT)))
    jump = Stencil(rates, 1.0 / fastest, 1.0, density)
    weights = poisson(fastest * time / parts, torch.finfo(density.dtype).eps / 8.0)
    mass = float(now.sum(dtype=torch.float64))
    spare = torch.empty_like(now)
    for _ in range(parts):
        total = now * weights[0]
        for weight in weights[1:]:
            now, spare = jump.add_to(spare.zero_(), now), now
            total.add_(now, alpha=weight)
        now, spare = total, now
        now *= mass / float(now.sum(dtype=torch.float64))
    return now.reshape(density.shape)
