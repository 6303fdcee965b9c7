r"""torch.optim.SGD: v' = βv + (1-d)(g + wθ),  Δθ = -lr·v', or with nesterov -lr((1-d)... + βv').

With dampening d > 0 it is heavy ball at lr(1-d). Limit on the curvature: 2(1+β)/(1+2cβ)/lr, c = 1 with nesterov.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch

from thetadot.core.limits import stability_limit
from thetadot.core.reading import Reading
from thetadot.translation import damping, step_of


def read(_optimizer: torch.optim.Optimizer, group: dict[str, Any]) -> Reading:
    """Read one group of a torch.optim.SGD."""
    memory, nesterov = float(group["momentum"]), bool(group["nesterov"])
    rate = float(group["lr"]) * ((1.0 - float(group["dampening"])) if memory else 1.0)
    decay = float(group["weight_decay"])
    if not 0.0 <= memory < 1.0:
        why = f"momentum={memory:g} is outside [0, 1): its friction is none or negative"
        lacks = dict.fromkeys(("limit", "friction", "temperature", "damping"), why)
        return Reading(float(step_of(rate, memory)), None, math.inf, decay=decay, lacks=lacks)
    step = float(step_of(rate, memory))
    found = Reading(
        step,
        float(damping(memory)) / step if memory and step else None,
        stability_limit(memory, 1.0 if nesterov else 0.0) / rate if rate else math.inf,
        rate=None if nesterov and memory else rate,
        memory=memory,
    )
    return found.decayed(decay, rate, decoupled=False)


def averaged(optimizer: torch.optim.Optimizer, group: dict[str, Any]) -> Reading:
    """Read one group of a torch.optim.ASGD: θ' = (1-λη)θ - ηg at its present η; its λ is a decoupled decay."""
    states = [state for p in group["params"] if (state := optimizer.state.get(p))]
    rate = max((float(state["eta"]) for state in states), default=float(group["lr"]))
    found = Reading(rate, None, stability_limit() / rate if rate else math.inf, rate=rate)
    found = found.decayed(float(group["lambd"]), rate, decoupled=True)
    if not group["weight_decay"]:
        return found
    both = found.decayed(float(group["weight_decay"]), rate, decoupled=False)
    return replace(both, decay=both.decay + found.decay)


ADAPTERS = ((torch.optim.SGD, read), (torch.optim.ASGD, averaged))
