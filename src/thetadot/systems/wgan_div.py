r"""WGAN-div on the Dirac game: a penalty on a power of the critic's slope, in place of a bound.

    W_{k,p} = max_D  E_real D - E_fake D - k E|∇D|^p;    φ̇ = -θ - kp|φ|^{p-2} φ,    θ̇ = φ        [wu2018; su2018d]

A linear critic between points a gap m apart has the slope w = (m/kp)^{1/(p-1)} and the value W = m w - k w^p.

p = 2 is zero-centred "gp" with λ = k, which damps exponentially: r² like e^(-2kt) for k < 1, like e^(-2t/(k+√(k²-1)))
above. For p > 2, the paper's favoured (k, p) = (2, 6) among them, there is no linear damping at all: on the line the
orbit shrinks by a power of time,

    d(r²)/dt = -2kp m_p r^p,    r² ∝ t^{-2/(p-2)},    m_p = ⟨|cos|^p⟩ = Γ((p+1)/2) / (√π Γ(p/2+1))

averaged over a turn: exact as r → 0. For p < 2 it is the other way about: near the end damping is so strong that the
critic creeps, |φ| = (|θ|/kp)^{1/(p-1)}, and r² ∝ t^{-2(p-1)/(2-p)} (:mod:`~thetadot.systems.power_damping`).

(That the optimum at k = 1/2, p = 2 is the potential of the Wasserstein distance is asserted by the article; it solves
-∇·(r∇D) = p - q, whose slope is not 1 in general.)

Source:
    [wu2018] Wu et al., "Wasserstein divergence for GANs" (1712.01026).
    [su2018d] Su Jianlin, https://kexue.fm/archives/6139 (2018).
    The decay: derived here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from thetadot.core.failures import explained
from thetadot.core.signatures import checked
from thetadot.core.tensors import tensor_of
from thetadot.core.validation import result_of
from thetadot.errors import InadmissibleValue, require
from thetadot.systems.base import POSITION, TINY
from thetadot.systems.custom import Driven
from thetadot.systems.power_damping import log_radius_square

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from thetadot.core.annotations import State


@explained
@checked
@dataclass(frozen=True)
class WGANDiv(Driven):
    """Position: the generator's θ (paths, dim). Variable "critic": φ, of the same shape.

    Args:
        weight: k > 0.
        power: p > 1.

    Raises:
        InadmissibleValue: a number out of range.

    Example:
        >>> game = WGANDiv()
        >>> state = {"position": torch.tensor([[1.0]]), "critic": torch.tensor([[1.0]])}
        >>> game.drift("critic", state), round(game.slope(1.0), 7), round(game.value(1.0), 7)
        (tensor([[-13.]]), 0.6083643, 0.5069703)
    """

    weight: float = 2.0
    power: float = 6.0

    variables: ClassVar[tuple[str, ...]] = ("critic",)

    def __post_init__(self) -> None:
        require(0 < self.weight < math.inf, f"weight={self.weight:g}", "is not positive and finite", "Pass weight > 0.")
        require(1 < self.power < math.inf, f"power={self.power:g}", "is not above 1 and finite", "Pass power > 1.")

    def drift(self, name: str, state: State) -> Tensor:
        """φ̇ for "critic", θ̇ for the position."""
        generator, critic = tensor_of(state, POSITION), tensor_of(state, "critic")
        if name == POSITION:
            return critic
        square = (critic * critic).sum(-1, keepdim=True) + TINY
        return -generator - self.weight * self.power * square ** (self.power / 2.0 - 1.0) * critic

    def slope(self, gap: float) -> float:
        """Return the slope of the best linear critic, w = (m/kp)^{1/(p-1)}.

        Args:
            gap: m >= 0, the distance between the means.
        """
        require(0 <= gap < math.inf, f"gap={gap:g}", "is negative or not finite", "Pass the distance of the means.")
        return math.pow(gap / (self.weight * self.power), 1.0 / (self.power - 1.0))

    def value(self, gap: float) -> float:
        """Return the value of the best linear critic, W = m w - k w^p."""
        slope = self.slope(gap)
        return gap * slope - self.weight * math.pow(slope, self.power)

    def penalty(self, critic: Callable[[Tensor], Tensor], points: Tensor) -> Tensor:
        """Mean of k|∇D|^p over points (n, dim), differentiable in the critic's parameters."""
        points = points.detach().requires_grad_()
        value = result_of("critic", critic, points)
        if not isinstance(value, torch.Tensor) or not value.requires_grad:
            raise InadmissibleValue(
                "critic gives what autograd does not see. Let it return a tensor made of the points."
            )
        (slopes,) = torch.autograd.grad(value.sum(), points, create_graph=True, materialize_grads=True)
        return self.weight * ((slopes * slopes).sum(-1) + TINY).pow(self.power / 2.0).mean()

    def radius_square(self, time: float, start: float) -> float:
        """r² at a time on the line, for the game that begins at θ = φ; to 1e-3, whatever k and p.

        While the game turns and damping is weak, it is that of every start, averaged over a turn.

        Args:
            time: t >= 0.
            start: r² > 0 at time 0.

        Raises:
            InadmissibleValue: a number out of range.

        Example:
            >>> round(WGANDiv(weight=2.0, power=2.0).radius_square(10.0, 1.0), 6)  # e^(-20/(2+√3))
            0.004706
            >>> round(WGANDiv(weight=0.02, power=2.0).radius_square(50.0 * math.pi, 2.0), 4)  # 2 e^(-2π)
            0.0037
        """
        time, start = float(time), float(start)
        require(0 < start < math.inf, f"start={start:g}", "is not positive and finite", "Pass r² > 0.")
        require(0 <= time < math.inf, f"time={time:g}", "is negative or not finite", "Pass time >= 0.")
        weight, power = float(self.weight), float(self.power)
        return math.exp(log_radius_square(weight * power, power, time, start))
