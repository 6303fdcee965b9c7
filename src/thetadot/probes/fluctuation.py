r"""Fluctuation and dissipation: the balance of one step under stationarity, and its two temperatures.

    heavy ball:  Δ' = βΔ - αP⁻¹g(θ), θ' = θ + Δ':    E[(θ-θ₀)·g] = (1+β)/(2α) E[Δ'ᵀPΔ']           [yaida2019]
    any:         θ' = θ + Δ':                        E[-(θ-θ₀)·Δ'] = ½ E|Δ'|²

θ is the position before the step, where g is taken; Δ' is the step that g goes into. Exact for any loss and any noise
once stationary. The second is the stationarity of |θ-θ₀|². With P in the product it reads E[(θ-θ₀)ᵀPΔ'] = -½K, K =
E[Δ'ᵀPΔ']; the first follows from it, since E[(θ-θ₀)ᵀPΔ] = +½K for the step Δ that led to θ, and hence
-½K = β½K - α E[(θ-θ₀)·g]. Nothing in this asks for E[g] = 0, so every fixed origin θ₀ will do; but -θ₀·g averages to
zero only in the long run, so take one near where the motion is, such as the position where the window begins. Over n
steps the second identity fails by exactly (|θ₀'-θ₀|² - |θₙ-θ₀|²)/(2n): from the window's beginning it is met once the
window is long against the slowest relaxation.

g is the gradient in force: coupled (L2) decay belongs to it. SGD: α = lr, with dampening lr·(1-dampening). Adam with
frozen P = √v̂+ε: α = lr(1-β₁), β = β₁. Look-ahead (Nesterov) and decoupled decay are of neither form: take the second.

Per degree of freedom, both sides of the first are temperatures: configurational, told by positions, and kinetic, told
by velocities at the half step. Cost: two inner products.

Source:
    Yaida, "Fluctuation-dissipation relations for stochastic gradient descent", ICLR 2019.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch

from thetadot.core.signatures import checked
from thetadot.errors import require

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

Identity = Literal["heavy ball", "any"]


@dataclass(frozen=True)
class Fluctuation:
    """The two sides of an identity at one step; equal in the mean once stationary.

    Readings of parameter groups add up, each with its own rate and memory.

    Attributes:
        virial: force times position, shape (), in loss ("heavy ball") or parameter² ("any").
        kinetic: what fluctuation makes of it, in the same unit.
        degrees: parameters.
        identity: which of the two.
    """

    virial: Tensor
    kinetic: Tensor
    degrees: int
    identity: Identity

    def __add__(self, other: Fluctuation) -> Fluctuation:
        require(
            self.identity == other.identity,
            f"a reading of '{other.identity}' beside one of '{self.identity}'",
            "has another unit",
            "Take the identity 'any' for all groups.",
        )
        return Fluctuation(
            self.virial + other.virial, self.kinetic + other.kinetic, self.degrees + other.degrees, self.identity
        )


@checked
def heavy_ball_fluctuation(
    position: Sequence[Tensor],
    gradient: Sequence[Tensor],
    displacement: Sequence[Tensor],
    *,
    rate: float,
    momentum: float,
    preconditioner: Sequence[Tensor] | None = None,
    origin: Sequence[Tensor] | None = None,
) -> Fluctuation:
    """(θ-θ₀)·g and (1+β)/(2α)·ΔᵀPΔ of one step of heavy ball.

    Args:
        position: θ before the step, one tensor a parameter.
        gradient: g at θ, decay included where it is coupled.
        displacement: Δ = θ' - θ of the same step.
        rate: α > 0.
        momentum: 0 <= β < 1.
        preconditioner: diagonal of P; 1 if None.
        origin: θ₀, fixed over the window; 0 if None.

    Raises:
        InadmissibleValue: rate or momentum out of range.

    Example:
        >>> one = [torch.tensor([2.0])]  # θ = 2, g = 3, Δ = -1, α = .5, β = 0: 6 and 1/(2·.5)
        >>> read = heavy_ball_fluctuation(one, [torch.tensor([3.0])], [torch.tensor([-1.0])], rate=0.5, momentum=0.0)
        >>> float(read.virial), float(read.kinetic)
        (6.0, 1.0)
    """
    require(rate > 0, f"rate={rate:g}", "is not above 0", "Take no reading where the step is zero.")
    require(0 <= momentum < 1, f"momentum={momentum:g}", "is outside [0, 1)", "Pass 0 <= momentum < 1.")
    weighted = displacement
    if preconditioner is not None:
        weighted = [p * step for p, step in zip(preconditioner, displacement, strict=True)]
    return Fluctuation(
        virial=_inner(_from(position, origin), gradient),
        kinetic=_inner(weighted, displacement) * ((1.0 + momentum) / (2.0 * rate)),
        degrees=sum(x.numel() for x in position),
        identity="heavy ball",
    )


@checked
def fluctuation(
    position: Sequence[Tensor], displacement: Sequence[Tensor], *, origin: Sequence[Tensor] | None = None
) -> Fluctuation:
    """-(θ-θ₀)·Δ and ½|Δ|² of one step of any optimizer.

    It tells only whether |θ-θ₀|² drifts: a motion on a sphere, as of scale-invariant weights, is stationary to it.

    Args:
        position: θ before the step, one tensor a parameter.
        displacement: Δ = θ' - θ.
        origin: θ₀, fixed over the window; 0 if None.

    Example:
        >>> read = fluctuation([torch.tensor([1.0])], [torch.tensor([-2.0])])  # from 1 to -1: |θ|² stays
        >>> float(read.virial), float(read.kinetic)
        (2.0, 2.0)
    """
    return Fluctuation(
        virial=-_inner(_from(position, origin), displacement),
        kinetic=0.5 * _inner(displacement, displacement),
        degrees=sum(x.numel() for x in position),
        identity="any",
    )


def _from(position: Sequence[Tensor], origin: Sequence[Tensor] | None) -> Sequence[Tensor]:
    if origin is None:
        return position
    return [x - start for x, start in zip(position, origin, strict=True)]


def _inner(one: Sequence[Tensor], other: Sequence[Tensor]) -> Tensor:
    """⟨a, b⟩ over all tensors, float64; 0 of none."""
    total = torch.zeros((), dtype=torch.float64)
    for a, b in zip(one, other, strict=True):
        part = (a.detach() * b.detach()).sum(dtype=torch.float64)
        total = total.to(part.device) + part
    return total
