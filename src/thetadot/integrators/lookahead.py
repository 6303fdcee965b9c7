r"""Look-ahead: the gradient at Θ = θ + cβγη, ahead on the way.

    η' = βη - (γ(1+β)/2) ∇L(Θ),    Θ' = Θ - cβγη + (1+cβ')γ'η'

c = 0 is heavy ball, 1/2 the article's eq. 20, 1 Nesterov's method as frameworks have it. The shifted variable Θ is
the one that is stored, so that one gradient, at p, is enough. cβγ of the step before is carried: under a changing
β, θ = Θ - cβγη holds exactly. (``convention="torch"`` has torch's formula, with the new β and α throughout.)

First order as a solver of θ̈ + λθ̇ = -∇L for c > 0 (the article says second), second order for the high-resolution
equation

    θ̈ + (λ + cγ∇²L) θ̇ + ∇L = 0

so that what look-ahead adds is damping by curvature. (Under the article's map β = 1-λγ, α = γ², the inertia is
1-λγ/2 in place of 1.) On curvature h stable for αh < 2(1+β)/(1+2cβ), a smaller limit than heavy ball's (the article
claims a wider one, which only eq. 19 has).

Source:
    [su2018] Su Jianlin, https://kexue.fm/archives/5655 (2018), eqs. 18-20.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from thetadot.core.failures import explained
from thetadot.core.tensors import tensor_of
from thetadot.integrators.leapfrog import CayleyMap, KickDrift, kick
from thetadot.systems.base import POSITION

if TYPE_CHECKING:
    from torch import Tensor

    from thetadot.core.annotations import Draw, Scalar, State
    from thetadot.integrators.base import Evaluation


@explained
@dataclass(frozen=True)
class LookAhead(CayleyMap):
    """Nesterov's look-ahead rule: η' = βη - (γ(1+β)/2)∇L(Θ), Θ' = Θ - cβγη + (1+cβ)γη'.

    Args:
        convention: as in :class:`Leapfrog`.
        lookahead: c in [0, 1].

    Example:
        >>> import torch
        >>> from thetadot.systems import DampedNewton
        >>> rule = LookAhead(lookahead=1.0)
        >>> scales = rule.prepare(DampedNewton(friction=2.0), step=1.0)  # β = 0: look-ahead does nothing
        >>> state = {"position": torch.ones(1), "velocity": torch.ones(1), "shift": 0.0}
        >>> rule.advance(scales, state, torch.tensor([0.5]), draw=None)["position"]
        tensor([0.7500])
    """

    lookahead: float = 1.0

    order: ClassVar[int] = 1
    evaluation: ClassVar[Evaluation] = "position"
    carried: ClassVar[tuple[str, ...]] = ("shift",)

    def advance(self, scales: KickDrift, state: State, gradient: Tensor, draw: Draw, stage: int = 0) -> State:  # noqa: ARG002
        """Advance the state by one step."""
        theta = self.position(scales, state)
        velocity = kick(scales, tensor_of(state, "velocity"), gradient, draw)
        ahead = self._ahead(scales)
        return {POSITION: theta + (scales.drift + ahead) * velocity, "velocity": velocity, "shift": ahead}

    def settled(self, scales: KickDrift) -> State:
        """Return the shift cβγ carried after a step with these settings."""
        return {"shift": self._ahead(scales)}

    def _ahead(self, scales: KickDrift) -> Scalar:
        return self.lookahead * scales.retain * scales.drift

    def position(self, scales: KickDrift, state: State) -> Tensor:  # type: ignore[override]
        """Return the position θ = Θ - cβγη."""
        return tensor_of(state, POSITION) - self.shift(scales, state) * tensor_of(state, "velocity")

    def shift(self, scales: KickDrift, state: State) -> Scalar:
        """Return (Θ-θ)/s of the previous step; in torch's formula, of the coming step."""
        return self._ahead(scales) if self.convention == "torch" else state["shift"]
