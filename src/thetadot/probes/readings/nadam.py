r"""Reading of torch.optim.NAdam with P = √v̂ + ε frozen: Adam plus a share of the raw gradient.

    Δθ = -lr P⁻¹[(1-μ)g + μ⁺m'],  m' = β₁m + (1-β₁)g,  μ = β₁(1-.96^(tψ)/2), μ⁺ the next one

    lr·h < 2(1+β₁)/((1-μ)(1+β₁) + μ⁺(1-β₁)),  h of P⁻¹H: the Jury criterion at μ, μ⁺ of the next step

No heavy ball: neither temperature nor damping. Debiasing is left out; by it a young μ is larger.
"""

from __future__ import annotations

import math
from typing import Any

import torch

from thetadot.core.reading import Reading
from thetadot.probes.readings.adam import bias, preconditioner_of, wide


def read(optimizer: torch.optim.Optimizer, group: dict[str, Any]) -> Reading:
    """Read one group of a torch.optim.NAdam."""
    lr, memory, pace = float(group["lr"]), float(group["betas"][0]), float(group["momentum_decay"])
    steps = max((float(s["step"]) for p in group["params"] if (s := optimizer.state.get(p))), default=0.0)
    now, later = (memory * (1.0 - 0.5 * 0.96 ** ((steps + ahead) * pace)) for ahead in (1.0, 2.0))
    limit = 2.0 * (1.0 + memory) / ((1.0 - now) * (1.0 + memory) + later * (1.0 - memory))
    preconditioner = preconditioner_of(
        optimizer, group, lambda g, state: (wide(state["exp_avg_sq"]) / bias(g, state)).sqrt() + g["eps"]
    )
    found = Reading(lr, None, limit / lr if lr else math.inf, preconditioner, memory=memory)
    decoupled = bool(group.get("decoupled_weight_decay", False))
    return found.decayed(float(group["weight_decay"]), lr, decoupled=decoupled)


ADAPTERS = ((torch.optim.NAdam, read),)
