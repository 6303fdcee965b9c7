r"""torch.optim.Adam and AdamW with P = √v̂ + ε frozen: heavy ball at rate α = lr(1-β₁) in the metric P.

    m' = β₁m + (1-β₁)g,  Δθ = -lr P⁻¹m';    v = m/(1-β₁):  v' = β₁v + g,  Δθ = -αP⁻¹v'

Limit on the curvature of P⁻¹H: 2(1+β₁)/((1-β₁)lr), 38/lr at β₁ = .9. Debiasing of m, over
after 1/(1-β₁) steps, is left out.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch

from thetadot.analysis.stability import adaptive_stability_limit
from thetadot.reading import Reading

if TYPE_CHECKING:
    from torch import Tensor


def read(optimizer: torch.optim.Optimizer, group: dict[str, Any]) -> Reading:
    """One group of a torch.optim.Adam or AdamW."""
    lr, (memory, beta2) = float(group["lr"]), map(float, group["betas"])
    preconditioner: dict[Tensor, Tensor] = {}
    for p in group["params"]:
        state = optimizer.state.get(p)
        if state:
            square = state["max_exp_avg_sq"] if group["amsgrad"] else state["exp_avg_sq"]
            bias = 1.0 - beta2 ** float(state["step"])
            preconditioner[p] = (square.to(torch.promote_types(square.dtype, torch.float32)) / bias).sqrt() + group[
                "eps"
            ]
    decoupled = bool(group.get("decoupled_weight_decay", isinstance(optimizer, torch.optim.AdamW)))
    return Reading(
        lr,
        (1.0 - memory) / lr if lr else None,
        adaptive_stability_limit(memory) / lr if lr else math.inf,
        preconditioner,
        rate=lr * (1.0 - memory),
        memory=memory,
        decay=float(group["weight_decay"]),
        decoupled=decoupled,
    )


ADAPTERS = ((torch.optim.AdamW, read), (torch.optim.Adam, read))
