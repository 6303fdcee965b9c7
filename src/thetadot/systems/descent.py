r"""Other ways down: velocities along which the loss falls, though they are not minus the gradient.

    sign          θ̇ = -sign ∇L                                  dL/dt = -|∇L|₁
    normalized    θ̇ = -∇L/‖∇L‖                                  dL/dt = -‖∇L‖
    Polyak        θ̇ = -(L-L*)/‖∇L‖² ∇L                          dL/dt = -(L-L*)               [su2018c]
    clipped       θ̇ = -(L-L*) min(1/‖∇L‖, M) ∇L/‖∇L‖

Any velocity with ⟨∇L, θ̇⟩ < 0 descends (gradient flow: dL/dt = -‖∇L‖²). The first two keep their speed up to the
minimum: stepped by γ they end in a cycle of size γ about it, and lr must fall for them to arrive. Polyak's slows down
with the loss, L - L* = (L₀ - L*) e^(-t) while ∇L ≠ 0, and runs through every minimum above L*. (The article has one λ
too many in the rate of the sign flow.)

At ∇L = 0 nothing moves: ‖∇L‖ is read as ‖∇L‖ + 1e-22, so that 0/0 is 0.

Source:
    [su2018c] Su Jianlin, https://kexue.fm/archives/6261 (2018).
    Polyak, "Introduction to Optimization" (1987), section 5.3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from thetadot.core.failures import explained
from thetadot.core.tensors import larger, sign, smaller, sqrt
from thetadot.errors import require
from thetadot.systems.base import TINY

if TYPE_CHECKING:
    from torch import Tensor

    from thetadot.core.annotations import Scalar, State


@explained
@dataclass(frozen=True)
class SignFlow:
    """Sign flow θ̇ = -sign ∇L.

    Example:
        >>> import torch
        >>> SignFlow().increment("position", {"position": torch.zeros(3)}, torch.tensor([2.0, -3.0, -0.1]), 0.5)
        tensor([-0.5000,  0.5000,  0.5000])
    """

    variables: ClassVar[tuple[str, ...]] = ()
    scalars: ClassVar[tuple[str, ...]] = ()
    measures: ClassVar[tuple[str, ...]] = ()

    def increment(self, name: str, state: State, gradient: Tensor, step: Scalar) -> Tensor:  # noqa: ARG002
        """Return the increment -γ sign ∇L."""
        return -step * sign(gradient)

    def amplitude(self, name: str, step: Scalar) -> None:  # noqa: ARG002
        """Return None: there is no noise."""
        return


@explained
@dataclass(frozen=True)
class NormalizedFlow:
    """θ̇ = -∇L/‖∇L‖, the norm over all that move together.

    Example:
        >>> import torch
        >>> state = {"position": torch.zeros(2), "gradient_square": 25.0}
        >>> NormalizedFlow().increment("position", state, torch.tensor([3.0, -4.0]), 0.5)
        tensor([-0.3000,  0.4000])
    """

    variables: ClassVar[tuple[str, ...]] = ()
    scalars: ClassVar[tuple[str, ...]] = ()
    measures: ClassVar[tuple[str, ...]] = ("gradient_square",)

    def increment(self, name: str, state: State, gradient: Tensor, step: Scalar) -> Tensor | Scalar:  # noqa: ARG002
        """Return the increment -γ∇L/‖∇L‖."""
        return -(step / (sqrt(state["gradient_square"]) + TINY)) * gradient

    def amplitude(self, name: str, step: Scalar) -> None:  # noqa: ARG002
        """Return None: there is no noise."""
        return


@explained
@dataclass(frozen=True)
class PolyakFlow:
    """θ̇ = -(L-L*) min(1/‖∇L‖, M) ∇L/‖∇L‖; at or below L* nothing moves.

    Args:
        floor: L*, the loss that is aimed at, in units of the loss.
        bound: M > 0, in 1/units of the gradient; infinite for Polyak's own step. With it the speed is never above
            M(L-L*), however flat the loss.

    Raises:
        InadmissibleValue: a number out of range.

    Example:
        >>> import torch
        >>> state = {"position": torch.ones(1), "gradient_square": 4.0, "loss": 1.0}  # L = θ²
        >>> PolyakFlow().increment("position", state, torch.tensor([2.0]), 0.5)
        tensor([-0.2500])
    """

    floor: Scalar = 0.0
    bound: Scalar = math.inf

    variables: ClassVar[tuple[str, ...]] = ()
    scalars: ClassVar[tuple[str, ...]] = ()
    measures: ClassVar[tuple[str, ...]] = ("loss", "gradient_square")

    def __post_init__(self) -> None:
        if isinstance(self.floor, (float, int)):
            require(math.isfinite(self.floor), f"floor={self.floor:g}", "is not finite", "Pass the least loss, or 0.")
        if isinstance(self.bound, (float, int)):
            require(self.bound > 0, f"bound={self.bound:g}", "is not positive", "Pass bound > 0, or math.inf.")

    def increment(self, name: str, state: State, gradient: Tensor, step: Scalar) -> Tensor | Scalar:  # noqa: ARG002
        """Return the increment -γ(L-L*) min(1/‖∇L‖, M) ∇L/‖∇L‖."""
        norm = sqrt(state["gradient_square"]) + TINY
        excess = state["loss"] - self.floor
        excess = larger(excess, 0.0 * excess)  # 0 as what the loss is: a float, a tensor, or traced
        speed = excess * smaller(1.0 / norm, self.bound)
        return -(step * speed) * (gradient / norm)

    def amplitude(self, name: str, step: Scalar) -> None:  # noqa: ARG002
        """Return None: there is no noise."""
        return
