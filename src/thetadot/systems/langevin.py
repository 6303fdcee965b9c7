r"""Overdamped Langevin dynamics: gradient flow with noise.

    dθ = -∇L(θ) dt + √(2T) dW                                                               [su2018, eq. 8, T = σ²/2]

Stationary law exp(-L/T). (The article's eq. 9 has σ² where 2T = σ² belongs.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from thetadot.core.failures import explained
from thetadot.systems.base import admissible, heat

if TYPE_CHECKING:
    from torch import Tensor

    from thetadot.core.annotations import Scalar, State


@explained
@dataclass(frozen=True)
class Langevin:
    """dθ = -∇L dt + √(2T) dW.

    Args:
        temperature: T >= 0, in units of the loss.

    Raises:
        InadmissibleValue: a number out of range.

    Example:
        >>> Langevin(temperature=2.0).amplitude("position", step=0.25)
        1.0
    """

    temperature: Scalar

    variables: ClassVar[tuple[str, ...]] = ()
    scalars: ClassVar[tuple[str, ...]] = ()
    measures: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        admissible("temperature", self.temperature)

    def increment(self, name: str, state: State, gradient: Tensor, step: Scalar) -> Tensor:  # noqa: ARG002
        """Return the increment -γ∇L."""
        return -step * gradient

    def amplitude(self, name: str, step: Scalar) -> Scalar | None:  # noqa: ARG002
        """√(2Tγ); None at temperature 0."""
        return heat(self.temperature, step)
