r"""Euler-Maruyama, for every system with or without noise; Itô's where the noise depends on the state.

    x_{n+1} = x_n + γ f(x_n) + √γ σ(x_n) ξ_n                                                [maruyama1955]

Strong order ½, 1 for additive noise; weak order 1; one gradient. On Langevin dynamics of curvature h the stationary
variance is T/(h(1-γh/2)), not T/h.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from thetadot.core.failures import explained
from thetadot.integrators.base import Direct, NoiseOrder, require_noise
from thetadot.systems.base import POSITION, shaken

if TYPE_CHECKING:
    from torch import Tensor

    from thetadot.core.annotations import Draw, Scalar, State
    from thetadot.systems.base import Calculus, System

    Prepared = tuple[System, Scalar, tuple[Scalar | None, ...]]


@explained
@dataclass(frozen=True)
class EulerMaruyama(Direct):
    """x' = x + γ f(x) + √γ σ ξ; at temperature 0 it is :class:`Euler`.

    Example:
        >>> import torch
        >>> from thetadot.systems import Langevin
        >>> scales = EulerMaruyama().prepare(Langevin(temperature=2.0), step=0.25)
        >>> EulerMaruyama().advance(scales, {"position": torch.zeros(1)}, torch.ones(1), lambda: torch.ones(1))
        {'position': tensor([0.7500])}
    """

    order: ClassVar[int] = 1
    stages: ClassVar[int] = 1
    additive_order: ClassVar[NoiseOrder | None] = NoiseOrder(strong=1.0, weak=1)
    diagonal_order: ClassVar[NoiseOrder | None] = NoiseOrder(strong=0.5, weak=1)
    general_order: ClassVar[NoiseOrder | None] = NoiseOrder(strong=0.5, weak=1)
    calculus: ClassVar[Calculus | None] = "ito"

    def prepare(self, system: System, step: Scalar) -> Prepared:
        """System, step, and the noise's amplitude on each variable."""
        require_noise(self, system)
        return system, step, tuple(system.amplitude(name, step) for name in (POSITION, *system.variables))

    def advance(self, scales: Prepared, state: State, gradient: Tensor, draw: Draw, stage: int = 0) -> State:  # noqa: ARG002
        """Advance the state by one step."""
        system, step, amplitudes = scales
        new: State = {}
        for name, amplitude in zip((POSITION, *system.variables), amplitudes, strict=True):
            new[name] = state[name] + system.increment(name, state, gradient, step)
            kick = shaken(system, name, state, amplitude, draw)
            if kick is not None:
                new[name] = new[name] + kick
        return new
