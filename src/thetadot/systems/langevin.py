r"""Overdamped Langevin dynamics.

    dθ = -∇L(θ) dt + √(2T) dW                                                               [su2018, eq. 8, T = σ²/2]

Stationary law exp(-L/T). (The article's eq. 9 has σ² where 2T = σ² belongs.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from thetadot.tensors import sqrt

if TYPE_CHECKING:
    from torch import Tensor

    from thetadot.typing import Scalar, State


@dataclass(frozen=True)
class Langevin:
    """dθ = -∇L dt + √(2T) dW.

    Args:
        temperature: T >= 0, in units of the loss.

    Example:
        >>> Langevin(temperature=2.0).amplitude("position", step=0.25)
        1.0
    """

    temperature: Scalar

    variables: ClassVar[tuple[str, ...]] = ()
    scalars: ClassVar[tuple[str, ...]] = ()

    def increment(self, name: str, state: State, gradient: Tensor, step: Scalar) -> Tensor:  # noqa: ARG002
        """-γ∇L."""
        return -step * gradient

    def amplitude(self, name: str, step: Scalar) -> Scalar:  # noqa: ARG002
        """√(2Tγ)."""
        return sqrt(2.0 * self.temperature * step)
