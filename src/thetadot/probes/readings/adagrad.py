r"""torch.optim.Adagrad, Adadelta and Adafactor with P frozen: descent in the metric P, Δθ = -αP⁻¹g.

    Adagrad      P = √Σg² + ε,                       α = lr/(1 + t·lr_decay)
    Adadelta     P = √(v + ε)/√(Δ̄² + ε),             α = lr
    Adafactor    P = √V · lr/(ρ max(ε₂, |θ|/√d)),    α = lr, ρ = min(lr, 1/√t), V the product of its factors

Limit on the curvature of P⁻¹H: 2/α. Adafactor's clipping, which only shortens a step, is left out.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch

from thetadot.core.limits import stability_limit
from thetadot.core.reading import Reading
from thetadot.probes.readings.adam import preconditioner_of, wide

if TYPE_CHECKING:
    from torch import Tensor


def _descent(rate: float, preconditioner: dict[Tensor, Tensor]) -> Reading:
    return Reading(rate, None, stability_limit() / rate if rate else math.inf, preconditioner, rate=rate)


def adagrad(optimizer: torch.optim.Optimizer, group: dict[str, Any]) -> Reading:
    """Read one group of a torch.optim.Adagrad."""
    steps = max((float(s["step"]) for p in group["params"] if (s := optimizer.state.get(p))), default=0.0)
    rate = float(group["lr"]) / (1.0 + steps * float(group["lr_decay"]))
    found = _descent(rate, preconditioner_of(optimizer, group, lambda g, state: wide(state["sum"]).sqrt() + g["eps"]))
    return found.decayed(float(group["weight_decay"]), rate, decoupled=False)


def _adadelta(group: dict[str, Any], state: dict[str, Any]) -> Tensor:
    found: Tensor = ((wide(state["square_avg"]) + group["eps"]) / (wide(state["acc_delta"]) + group["eps"])).sqrt()
    return found


def adadelta(optimizer: torch.optim.Optimizer, group: dict[str, Any]) -> Reading:
    """Read one group of a torch.optim.Adadelta."""
    found = _descent(float(group["lr"]), preconditioner_of(optimizer, group, _adadelta))
    return found.decayed(float(group["weight_decay"]), float(group["lr"]), decoupled=False)


def adafactor(optimizer: torch.optim.Optimizer, group: dict[str, Any]) -> Reading:
    """Read one group of a torch.optim.Adafactor."""
    lr = float(group["lr"])
    least, floor = group["eps"]
    preconditioner = {}
    for p in group["params"]:
        state = optimizer.state.get(p)
        if not state or not lr:
            continue
        if "variance" in state and state["variance"] is not None:
            square = wide(state["variance"])
        else:
            row, column = wide(state["row_var"]), wide(state["col_var"])
            square = (row @ column) / row.mean(dim=-2, keepdim=True).clamp_min(_tiny(least, p))
        pace = min(lr, 1.0 / math.sqrt(float(state["step"]) + 1.0))
        size = max(float(floor), float(p.detach().norm()) / math.sqrt(p.numel()))
        preconditioner[p] = square.clamp_min(_tiny(least, p) ** 2).sqrt() * (lr / (pace * size))
    return _descent(lr, preconditioner).decayed(float(group["weight_decay"]), lr, decoupled=True)


def _tiny(given: float | None, p: Tensor) -> float:
    return float(torch.finfo(p.dtype).eps if given is None else given)


ADAPTERS = (
    (torch.optim.Adagrad, adagrad),
    (torch.optim.Adadelta, adadelta),
    (torch.optim.Adafactor, adafactor),
)
