"""Optimizers of torch.optim whose step is no linear map even with frozen state, each with the reason."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch

from thetadot.core.reading import Reading

if TYPE_CHECKING:
    from collections.abc import Callable

REASONS = {
    torch.optim.LBFGS: (
        "LBFGS takes its direction from differences of past gradients, and several evaluations a step: there is no "
        "step of fixed metric whose stability could be read"
    ),
    torch.optim.Muon: (
        "Muon makes the singular values of each matrix of momentum nearly equal, so that a step's length does not "
        "depend on the gradient's: no curvature makes it diverge, and no metric makes it a heavy ball"
    ),
    torch.optim.Rprop: (
        "Rprop steps by the gradient's sign, with lengths that grow and shrink by themselves: a step does not depend "
        "on the gradient's size, so that no curvature makes it diverge"
    ),
}


def _refusing_reader(why: str) -> Callable[[torch.optim.Optimizer, dict[str, Any]], Reading]:
    def read(_optimizer: torch.optim.Optimizer, group: dict[str, Any]) -> Reading:
        lacks = dict.fromkeys(("limit", "friction", "temperature", "damping"), why)
        return Reading(float(group["lr"]), None, math.inf, lacks=lacks)

    return read


ADAPTERS = tuple((kind, _refusing_reader(why)) for kind, why in REASONS.items())
