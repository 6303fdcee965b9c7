r"""Heun's method for stochastic equations; Stratonovich's where the noise depends on the state.

    x̃ = x + γ f(x) + g(x) ΔW,    x' = x + ½γ (f(x) + f(x̃)) + ½ (g(x) + g(x̃)) ΔW

Two gradients. For diagonal noise strong order 1, weak order 1; for several sources that are mixed strong order ½ (1
where they commute), weak order 1; for additive noise, where both calculi agree, strong order 1 and weak order 2.
Without noise it is the tableau HEUN.

Source:
    Rümelin (1982); Kloeden, Platen, "Numerical Solution of Stochastic Differential Equations" (1992), 14.2 and 15.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from thetadot.core.failures import explained
from thetadot.core.tensors import tensor_of
from thetadot.integrators.base import Direct, NoiseOrder, require_noise, shaken_by
from thetadot.integrators.runge_kutta import moving, slope_and_noise

if TYPE_CHECKING:
    from torch import Tensor

    from thetadot.core.annotations import Draw, Scalar, State
    from thetadot.systems.base import Calculus, System

    Prepared = tuple[System, Scalar, tuple[Scalar | None, ...]]


@explained
@dataclass(frozen=True)
class Heun(Direct):
    """A step of Euler-Maruyama, and the mean of its two ends.

    Example:
        >>> import torch
        >>> from thetadot.systems import GradientFlow
        >>> rule, state = Heun(), {"position": torch.ones(1)}
        >>> scales = rule.prepare(GradientFlow(), step=0.5)
        >>> for stage in range(2):  # L = θ²/2: 1 - 1/2 + 1/8
        ...     state = rule.advance(scales, state, state["position"], None, stage)
        >>> state["position"]
        tensor([0.6250])
    """

    order: ClassVar[int] = 2
    stages: ClassVar[int] = 2
    additive_order: ClassVar[NoiseOrder | None] = NoiseOrder(strong=1.0, weak=2)
    diagonal_order: ClassVar[NoiseOrder | None] = NoiseOrder(strong=1.0, weak=1)
    general_order: ClassVar[NoiseOrder | None] = NoiseOrder(strong=0.5, weak=1)
    calculus: ClassVar[Calculus | None] = "stratonovich"

    def prepare(self, system: System, step: Scalar) -> Prepared:
        """System, step, and the noise's amplitude on each variable."""
        require_noise(self, system)
        return system, step, tuple(system.amplitude(name, step) for name in moving(system))

    def between(self, system: System) -> tuple[str, ...]:
        """Return the names of the variables that the state carries between stages."""
        return slope_and_noise(system)

    def advance(self, scales: Prepared, state: State, gradient: Tensor, draw: Draw, stage: int = 0) -> State:
        """Advance to the far end and, from there, back by half of the difference."""
        system, step, amplitudes = scales
        new: State = {}
        for name, amplitude in zip(moving(system), amplitudes, strict=True):
            slope = system.increment(name, state, gradient, step)
            if amplitude is not None:
                noise = tensor_of(state, f"noise_{name}") if stage else draw()
                slope = slope + shaken_by(system, name, state, amplitude, noise)
                if not stage:
                    new[f"noise_{name}"] = noise
            if stage:
                new[name] = state[name] + 0.5 * (slope - state[f"slope0_{name}"])
            else:
                new[name] = state[name] + slope
                new[f"slope0_{name}"] = slope
        return new
