r"""Stochastic rounding in a narrow dtype as noise with a temperature.

A step δ from a number of the dtype ends between two of them, u apart, and is rounded up with probability f, the part of
the gap that it has crossed: variance u² f(1-f). With δ normal of standard deviation σ, that is on average

    s² = u² [1/6 - Σₖ exp(-2(πkσ/u)²)/(πk)²],    k = 1, 2, ...;    u²/6 for steps wider than the gap

It falls on the position of every step, x = αh beside the rule's own noise. The stationary variance that it adds on a
curvature h, times h, is its temperature, exact for momentum β at a steady u [ARMA(2, 1) of θ' = θ + v' + e]:

    T_r = (s²/α) [(1+β)(1-β)² + 2βx] / [(1-β)(2(1+β) - x)],    at β = 0: s²/(α(2 - x))

It holds where the samples spread over more than a gap, √(T/h) > u; below that all of them sit on a few numbers.
Compensated ("kahan") steps have none: what they store is u²/12 off, as any number of the dtype is.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch

from thetadot.core.rounding import NARROW
from thetadot.core.signatures import checked
from thetadot.core.tensors import real_view
from thetadot.errors import InadmissibleValue, require

if TYPE_CHECKING:
    from torch import Tensor

    from thetadot.optim.flow import Flow

_TERMS = 12  # of the series; below σ = u/20 the sum is cut off 10% early, and bounded by u²/6 all the same


@checked
def rounding_temperature(optimizer: Flow, group: dict[str, Any] | None = None, curvature: float = 0.0) -> float:
    """The temperature that stochastic rounding adds to a sampler of bfloat16 or float16 parameters.

    In units of the loss, a mean over the group's elements where they are now; 0 where nothing is rounded at random. It
    adds to the optimizer's own temperature, so that a sampler at T samples about T + T_r.

    Args:
        optimizer: Langevin or Kramers.
        group: one of its ``param_groups``; the first if None.
        curvature: h >= 0 of the direction that is asked about; a flat one at 0.

    Raises:
        InadmissibleValue: the optimizer has no temperature, rounds to the nearest (which is no noise: small steps are
            lost), lr is 0, or h is negative or beyond the stability limit.

    Example:
        >>> from thetadot.optim import Langevin
        >>> p = torch.full((10,), 1.5, dtype=torch.bfloat16, requires_grad=True)  # its neighbours are u = 2⁻⁷ away
        >>> rough = Langevin([p], lr=0.01, temperature=1.0, low_precision="stochastic")
        >>> round(rounding_temperature(rough) / (2.0**-14 / 6 / 0.02), 6)  # s² = u²/6, T_r = s²/2α
        1.0
        >>> rounding_temperature(Langevin([p], lr=0.01, temperature=1.0))  # kahan
        0.0
    """
    group = optimizer.param_groups[0] if group is None else group
    if not isinstance(group, dict) or "temperature" not in group:
        raise InadmissibleValue(
            f"{type(optimizer).__name__} samples at no temperature that rounding could add to. Pass a sampler."
        )
    narrow = [real_view(p.detach()).float() for p in group["params"] if p.dtype in NARROW]
    if not narrow or optimizer.options.low_precision == "kahan":
        return 0.0
    if optimizer.options.low_precision == "none":
        raise InadmissibleValue(
            "low_precision='none' rounds to the nearest, in which small steps are lost: that is no temperature. Build "
            "with 'kahan', the default, or 'stochastic'."
        )
    rate, memory = float(group["lr"]), float(group.get("momentum", 0.0))
    x = rate * curvature
    require(rate > 0, f"lr={rate:g}", "takes no step to round", "Pass lr > 0.")
    require(
        0 <= x < 2 * (1 + memory),
        f"curvature={curvature:g}",
        f"is negative or beyond the stability limit {2 * (1 + memory) / rate:g}",
        "Pass 0 <= curvature below it.",
    )
    heat = float(group["temperature"])
    spread = math.sqrt(rate * heat * (1.0 if "momentum" in group else 2.0))
    dtypes = [p.dtype for p in group["params"] if p.dtype in NARROW]
    total = sum(
        float(_rounding_variance(position, dtype, spread).sum()) for position, dtype in zip(narrow, dtypes, strict=True)
    )
    square = total / sum(position.numel() for position in narrow)
    spared = 1.0 - memory
    return square / rate * ((1 + memory) * spared**2 + 2 * memory * x) / (spared * (2 * (1 + memory) - x))


def _rounding_variance(position: Tensor, dtype: torch.dtype, spread: float) -> Tensor:
    """s² of every element, for steps of this standard deviation from where it is."""
    info = torch.finfo(dtype)
    gap = torch.ldexp(torch.full_like(position, info.eps), position.abs().clamp_min(info.tiny).frexp().exponent - 1)
    shares = [torch.exp(-2.0 * (math.pi * k * spread / gap) ** 2) / (math.pi * k) ** 2 for k in range(1, _TERMS + 1)]
    left = torch.stack(shares).sum(0)
    return gap.square() * (1.0 / 6.0 - left).clamp_min(0.0)
