r"""torch.optim.RMSprop with P = √G + ε frozen: b' = βb + P⁻¹g, Δθ = -lr·b'; heavy ball at rate lr in the metric P.

``centered`` subtracts the squared mean gradient from G. Limit on the curvature of P⁻¹H: 2(1+β)/lr.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch

from thetadot.core.limits import stability_limit
from thetadot.core.reading import Reading
from thetadot.translation import damping, step_of

if TYPE_CHECKING:
    from torch import Tensor


def read(optimizer: torch.optim.Optimizer, group: dict[str, Any]) -> Reading:
    """Read one group of a torch.optim.RMSprop."""
    lr, memory = float(group["lr"]), float(group["momentum"])
    preconditioner: dict[Tensor, Tensor] = {}
    for p in group["params"]:
        state = optimizer.state.get(p)
        if state:
            square = state["square_avg"].to(torch.promote_types(state["square_avg"].dtype, torch.float32))
            if group["centered"]:
                square = (square - state["grad_avg"].to(square.dtype) ** 2).clamp_min(0.0)
            preconditioner[p] = square.sqrt() + group["eps"]
    step = float(step_of(lr, memory))
    found = Reading(
        step,
        float(damping(memory)) / step if memory and step else None,
        stability_limit(memory) / lr if lr else math.inf,
        preconditioner,
        rate=lr,
        memory=memory,
    )
    return found.decayed(float(group["weight_decay"]), lr, decoupled=False)


ADAPTERS = ((torch.optim.RMSprop, read),)
