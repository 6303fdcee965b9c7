r"""Milstein's method, without derivatives, for diagonal noise in Itô's sense.

    x' = x + γ f + g √γ ξ + ½ (g(x + γ f + g √γ) - g(x)) √γ (ξ² - 1)

g_i may depend on x_i and time. Strong order 1, weak order 1; one gradient, g taken twice. Where g does not depend on
the state it is Euler-Maruyama. (With ξ² for ξ² - 1 it would be Stratonovich's, but of strong order ½ only: the error of
the difference, γ^{3/2} a step, is then not centred. Use ``SDE.in_ito``.)

Source:
    Milstein (1974); Kloeden, Platen, "Numerical Solution of Stochastic Differential Equations" (1992), 11.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from thetadot.core.failures import explained
from thetadot.integrators.base import Direct, NoiseOrder, require_noise, shaken_by
from thetadot.integrators.runge_kutta import moving
from thetadot.systems.base import noise_kind

if TYPE_CHECKING:
    from torch import Tensor

    from thetadot.core.annotations import Draw, Scalar, State
    from thetadot.systems.base import Calculus, System

    Prepared = tuple[System, Scalar, tuple[Scalar | None, ...], bool]


@explained
@dataclass(frozen=True)
class Milstein(Direct):
    """Euler-Maruyama with Milstein's correction for noise that depends on the state.

    Example:
        >>> from thetadot.systems import SDE
        >>> growth = SDE(lambda x: 0 * x, lambda x: x)
        >>> scales = Milstein().prepare(growth, step=0.01)
        >>> state = {"position": torch.ones(1, 1)}
        >>> Milstein().advance(scales, state, state["position"], lambda: torch.full((1, 1), 2.0))["position"]
        tensor([[1.2150]])
    """

    order: ClassVar[int] = 1
    stages: ClassVar[int] = 1
    additive_order: ClassVar[NoiseOrder | None] = NoiseOrder(strong=1.0, weak=1)
    diagonal_order: ClassVar[NoiseOrder | None] = NoiseOrder(strong=1.0, weak=1)
    calculus: ClassVar[Calculus | None] = "ito"

    def prepare(self, system: System, step: Scalar) -> Prepared:
        """System, step, the noise's amplitude on each variable, and whether it depends on the state."""
        require_noise(self, system)
        dependent = noise_kind(system) != "additive"
        return system, step, tuple(system.amplitude(name, step) for name in moving(system)), dependent

    def advance(self, scales: Prepared, state: State, gradient: Tensor, draw: Draw, stage: int = 0) -> State:  # noqa: ARG002
        """Advance the state by one step."""
        system, step, amplitudes, dependent = scales
        shaking = dict(zip(moving(system), amplitudes, strict=True))
        new: State = {name: state[name] + system.increment(name, state, gradient, step) for name in shaking}
        drawn = {name: (amplitude, draw()) for name, amplitude in shaking.items() if amplitude is not None}
        ahead = dict(state)
        for name, (amplitude, noise) in drawn.items():
            ahead[name] = new[name] + shaken_by(system, name, state, amplitude, torch.ones_like(noise))
        for name, (amplitude, noise) in drawn.items():
            new[name] = new[name] + shaken_by(system, name, state, amplitude, noise)
            if dependent:
                square = 0.5 * (noise * noise - 1.0)
                change = shaken_by(system, name, ahead, amplitude, square)
                new[name] = new[name] + (change - shaken_by(system, name, state, amplitude, square))
        return new
