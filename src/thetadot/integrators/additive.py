r"""Rössler's SRA1: strong order 3/2 for additive noise.

    x̃ = x + ¾γ f(x) + (3/2) σ √γ ζ,    x' = x + γ (f(x)/3 + 2f(x̃)/3) + σ √γ ξ
    √γ ξ = ΔW,    √γ ζ = (1/γ) ∫ W dt over the step = ½√γ (ξ + ξ'/√3)

Two gradients, two normals ξ, ξ' a step and a variable that is shaken. Weak order 2; order 2 without noise. The mean of
W over the step is what a path's order 3/2 needs, and what ΔW alone does not tell.

Source:
    Rössler, "Runge-Kutta methods for the strong approximation of solutions of stochastic differential equations"
    (2010), SIAM J. Numer. Anal. 48, table 6.2 (SRA1).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from thetadot.core.failures import explained
from thetadot.core.tensors import tensor_of
from thetadot.integrators.base import Direct, NoiseOrder, require_noise, shaken_by
from thetadot.integrators.runge_kutta import moving, slope_and_noise

if TYPE_CHECKING:
    from torch import Tensor

    from thetadot.core.annotations import Draw, Scalar, State
    from thetadot.systems.base import System

    Prepared = tuple[System, Scalar, tuple[Scalar | None, ...]]

_SPREAD = 1.0 / math.sqrt(3.0)


@explained
@dataclass(frozen=True)
class SRA1(Direct):
    """Two stages, the second at ¾ of the step, shaken by the mean of W.

    Example:
        >>> import torch
        >>> from thetadot.systems import SDE
        >>> rule, state = SRA1(), {"position": torch.zeros(1, 1)}
        >>> scales = rule.prepare(SDE(lambda x: 0 * x, 2.0), step=0.25)
        >>> for stage in range(2):  # x' = σΔW
        ...     state = rule.advance(scales, state, state["position"], lambda: torch.ones(1, 1), stage)
        >>> state["position"]
        tensor([[1.]])
    """

    order: ClassVar[int] = 2
    stages: ClassVar[int] = 2
    additive_order: ClassVar[NoiseOrder | None] = NoiseOrder(strong=1.5, weak=2)

    def prepare(self, system: System, step: Scalar) -> Prepared:
        """System, step, and the noise's amplitude on each variable."""
        require_noise(self, system)
        return system, step, tuple(system.amplitude(name, step) for name in moving(system))

    def between(self, system: System) -> tuple[str, ...]:
        """Return the names of the variables that the state carries between stages."""
        return slope_and_noise(system)

    def advance(self, scales: Prepared, state: State, gradient: Tensor, draw: Draw, stage: int = 0) -> State:
        """Advance to ¾ of the step and, from there, to its end."""
        system, step, amplitudes = scales
        new: State = {}
        for name, amplitude in zip(moving(system), amplitudes, strict=True):
            slope = system.increment(name, state, gradient, step)
            if stage:
                move = 2.0 / 3.0 * slope - 5.0 / 12.0 * state[f"slope0_{name}"]
                if amplitude is not None:
                    move = move + tensor_of(state, f"noise_{name}")
            else:
                move = 0.75 * slope
                new[f"slope0_{name}"] = slope
                if amplitude is not None:
                    first, second = draw(), draw()
                    ahead = shaken_by(system, name, state, amplitude, 0.75 * (first + _SPREAD * second))
                    move = move + ahead
                    new[f"noise_{name}"] = shaken_by(system, name, state, amplitude, first) - ahead
            new[name] = state[name] + move
        return new
