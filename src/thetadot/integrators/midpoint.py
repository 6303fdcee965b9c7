r"""The implicit scheme: the gradient at the midpoint of the very step that it causes.

    v' = βv - α∇L((θ + θ')/2),    θ' = θ + v'                                               [su2018, eq. 19]

An equation for θ', to be solved; then the step is heavy ball's with that gradient. First order in γ; on curvature h
z² - (1-a+b)z + b with a = x/(1+x/2), b = β/(1+x/2), x = αh: stable for every x > 0.

Source:
    [su2018] Su Jianlin, https://kexue.fm/archives/5655 (2018), eqs. 17-19.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from thetadot.core.failures import explained
from thetadot.integrators.leapfrog import CayleyMap, KickDrift, Leapfrog

if TYPE_CHECKING:
    from torch import Tensor

    from thetadot.core.annotations import Draw, State
    from thetadot.integrators.base import Evaluation


@explained
@dataclass(frozen=True)
class ImplicitMidpoint(CayleyMap):
    """Heavy ball with ∇L((θ+θ')/2) for the gradient.

    Example:
        >>> import torch
        >>> from thetadot.systems import DampedNewton
        >>> rule = ImplicitMidpoint()
        >>> scales = rule.prepare(DampedNewton(friction=2.0), step=2.0)  # β = -1/3, α = 4/3; L = 3θ²/4 has α∇L = 2θ
        >>> state = {"position": torch.ones(1), "velocity": torch.zeros(1)}
        >>> new = rule.advance(scales, state, torch.tensor([0.75]), draw=None)["position"]  # ∇L at 1/2
        >>> round(float(new), 6), round(float(1 + new) / 2, 6)  # the midpoint that was asked for
        (0.0, 0.5)
    """

    order: ClassVar[int] = 1
    evaluation: ClassVar[Evaluation] = "midpoint"

    def advance(self, scales: KickDrift, state: State, gradient: Tensor, draw: Draw, stage: int = 0) -> State:
        """Advance one step, given the gradient at the midpoint."""
        return Leapfrog(self.convention).advance(scales, state, gradient, draw, stage)
