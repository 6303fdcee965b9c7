r"""torch.optim's relatives of Adam with P frozen: heavy ball at rate α = lr(1-β₁) in the metric P.

    m' = β₁m + (1-β₁)g,  Δθ = -lr P⁻¹m';    v = m/(1-β₁):  v' = β₁v + g,  Δθ = -αP⁻¹v'

    Adam, AdamW, SparseAdam     P = √v̂ + ε
    RAdam                       P = (√v + ε)/(r√(1-β₂ᵗ)), r the rectification; 1 while the variance is not told
    Adamax                      P = u, the largest gradient of late

Limit on the curvature of P⁻¹H: 2(1+β₁)/((1-β₁)lr), 38/lr at β₁ = .9. Debiasing of m, over after 1/(1-β₁) steps, is
left out. SparseAdam's is that of rows which every step touches.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch

from thetadot.core.limits import adaptive_stability_limit
from thetadot.core.reading import Reading

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    Metric = Callable[[dict[str, Any], dict[str, Any]], Tensor]


def wide(tensor: Tensor) -> Tensor:
    """Return a tensor in float32 at least."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def preconditioner_of(optimizer: torch.optim.Optimizer, group: dict[str, Any], of: Metric) -> dict[Tensor, Tensor]:
    """P of every parameter that has taken a step."""
    return {p: of(group, state) for p in group["params"] if (state := optimizer.state.get(p))}


def bias(group: dict[str, Any], state: dict[str, Any]) -> float:
    """Return the bias correction 1 - β₂ᵗ."""
    return 1.0 - math.pow(float(group["betas"][1]), float(state["step"]))


def _adam(group: dict[str, Any], state: dict[str, Any]) -> Tensor:
    square = state["max_exp_avg_sq"] if group["amsgrad"] else state["exp_avg_sq"]
    found: Tensor = (wide(square) / bias(group, state)).sqrt() + group["eps"]
    return found


def _sparse(group: dict[str, Any], state: dict[str, Any]) -> Tensor:
    found: Tensor = (wide(state["exp_avg_sq"]).sqrt() + group["eps"]) / math.sqrt(bias(group, state))
    return found


def _rectified(group: dict[str, Any], state: dict[str, Any]) -> Tensor:
    beta2, steps = float(group["betas"][1]), float(state["step"])
    last = 2.0 / (1.0 - beta2) - 1.0
    rho = last - 2.0 * steps * beta2**steps / bias(group, state)
    square = wide(state["exp_avg_sq"])
    if rho <= 5.0:
        return torch.ones_like(square)
    share = math.sqrt((rho - 4.0) * (rho - 2.0) * last / ((last - 4.0) * (last - 2.0) * rho))
    found: Tensor = (square.sqrt() + group["eps"]) / (math.sqrt(bias(group, state)) * share)
    return found


def _largest_square(_: dict[str, Any], state: dict[str, Any]) -> Tensor:
    return wide(state["exp_inf"])


def _reader(of: Metric) -> Callable[[torch.optim.Optimizer, dict[str, Any]], Reading]:
    def read(optimizer: torch.optim.Optimizer, group: dict[str, Any]) -> Reading:
        lr, memory = float(group["lr"]), float(group["betas"][0])
        found = Reading(
            lr,
            (1.0 - memory) / lr if lr else None,
            adaptive_stability_limit(memory) / lr if lr else math.inf,
            preconditioner_of(optimizer, group, of),
            rate=lr * (1.0 - memory),
            memory=memory,
        )
        decoupled = bool(group.get("decoupled_weight_decay", isinstance(optimizer, torch.optim.AdamW)))
        return found.decayed(float(group.get("weight_decay", 0.0)), lr, decoupled=decoupled)

    return read


ADAPTERS = (
    (torch.optim.AdamW, _reader(_adam)),
    (torch.optim.Adam, _reader(_adam)),
    (torch.optim.SparseAdam, _reader(_sparse)),
    (torch.optim.RAdam, _reader(_rectified)),
    (torch.optim.Adamax, _reader(_largest_square)),
)
