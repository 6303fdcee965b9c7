r"""Gradient flow of a loss.

    θ̇ = -∇L(θ)                                                                              [su2018, eq. 4]

The loss never rises along it: dL/dt = -|∇L|². (The article calls it conservative; it is dissipative.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from thetadot.core.failures import explained

if TYPE_CHECKING:
    from torch import Tensor

    from thetadot.core.annotations import Scalar, State


@explained
@dataclass(frozen=True)
class GradientFlow:
    """Gradient flow θ̇ = -∇L(θ).

    Example:
        >>> import torch
        >>> GradientFlow().increment("position", {"position": torch.ones(1)}, torch.tensor([2.0]), 0.1)
        tensor([-0.2000])
    """

    variables: ClassVar[tuple[str, ...]] = ()
    scalars: ClassVar[tuple[str, ...]] = ()
    measures: ClassVar[tuple[str, ...]] = ()

    def increment(self, name: str, state: State, gradient: Tensor, step: Scalar) -> Tensor:  # noqa: ARG002
        """Return the increment -γ∇L."""
        return -step * gradient

    def amplitude(self, name: str, step: Scalar) -> None:  # noqa: ARG002
        """Return None: there is no noise."""
        return
