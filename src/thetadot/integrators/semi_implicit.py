r"""Semi-implicit (symplectic) Euler: the further variables first, then the position with their new values.

    y_{n+1} = y_n + γ g(x_n, y_n),    x_{n+1} = x_n + γ f(x_n, y_{n+1})

First order, one gradient. The adaptive flow stepped so is Adam, exactly; damped Newton stepped so is momentum with
β = 1-λγ, α = γ² [su2018, eq. 18].
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
class SemiImplicitEuler(Direct):
    """Variables in the system's order, each seeing the new values of those before it; the position last.

    Example:
        >>> import torch
        >>> from thetadot.systems import DampedNewton
        >>> scales = SemiImplicitEuler().prepare(DampedNewton(friction=1.0), step=0.1)
        >>> state = {"position": torch.zeros(1), "velocity": torch.ones(1)}
        >>> SemiImplicitEuler().advance(scales, state, torch.zeros(1), draw=None)["position"]
        tensor([0.0900])
    """

    order: ClassVar[int] = 1
    stages: ClassVar[int] = 1

    def prepare(self, system: System, step: Scalar) -> Pair:
        """Return the system and the step, after checking that there is no noise."""
        return require_noiseless(self, system), step

    def advance(self, scales: Pair, state: State, gradient: Tensor, draw: Draw, stage: int = 0) -> State:  # noqa: ARG002
        """Advance the state by one step."""
        system, step = scales
        state = dict(state)
        for name in (*system.variables, POSITION):
            state[name] = state[name] + system.increment(name, state, gradient, step)
        return state
