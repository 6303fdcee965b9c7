r"""Euler's method, for every system without noise.

    x_{n+1} = x_n + γ f(x_n)                                                                [su2018, eq. 2]

First order, one gradient. On gradient flow of curvature h stable for γh < 2. Gradient flow stepped so is gradient
descent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from thetadot.core.failures import explained
from thetadot.integrators.base import Direct, require_noiseless
from thetadot.systems.base import POSITION

if TYPE_CHECKING:
    from torch import Tensor

    from thetadot.core.annotations import Draw, Scalar, State
    from thetadot.systems.base import System

    Pair = tuple[System, Scalar]


@explained
@dataclass(frozen=True)
class Euler(Direct):
    """x' = x + γ f(x), all variables at once.

    Example:
        >>> import torch
        >>> from thetadot.systems import GradientFlow
        >>> scales = Euler().prepare(GradientFlow(), step=0.1)
        >>> Euler().advance(scales, {"position": torch.ones(1)}, torch.tensor([2.0]), draw=None)["position"]
        tensor([0.8000])
    """

    order: ClassVar[int] = 1
    stages: ClassVar[int] = 1

    def prepare(self, system: System, step: Scalar) -> Pair:
        """Return the system and the step, after checking that there is no noise."""
        return require_noiseless(self, system), step

    def advance(self, scales: Pair, state: State, gradient: Tensor, draw: Draw, stage: int = 0) -> State:  # noqa: ARG002
        """Advance the state by one step."""
        system, step = scales
        return {
            name: state[name] + system.increment(name, state, gradient, step) for name in (POSITION, *system.variables)
        }
