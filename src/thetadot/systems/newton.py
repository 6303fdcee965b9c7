r"""Newton's equation with friction, unit mass.

    θ̇ = η,    η̇ = -λη - ∇L(θ)                                                              [su2018, eqs. 10, 11]

Energy |η|²/2 + L falls at the rate λ|η|². Friction slows, it never stops the motion short of the bottom; the
slowest mode of curvature μ decays fastest at λ = 2√μ.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from thetadot.core.failures import explained
from thetadot.systems.base import POSITION, Rate, admissible, over

if TYPE_CHECKING:
    from torch import Tensor

    from thetadot.core.annotations import Scalar, State


@explained
@dataclass(frozen=True)
class DampedNewton:
    """Damped Newtonian motion θ̇ = η, η̇ = -λη - ∇L.

    Args:
        friction: λ >= 0 in 1/time, or :class:`PerStep`.

    Raises:
        InadmissibleValue: a number out of range.

    Example:
        >>> import torch
        >>> state = {"position": torch.zeros(1), "velocity": torch.ones(1)}
        >>> DampedNewton(friction=0.5).increment("velocity", state, torch.tensor([2.0]), 0.1)
        tensor([-0.2500])
    """

    friction: Rate

    variables: ClassVar[tuple[str, ...]] = ("velocity",)
    scalars: ClassVar[tuple[str, ...]] = ()
    measures: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        admissible("friction", self.friction)

    @property
    def temperature(self) -> float:
        """Zero: no noise acts."""
        return 0.0

    def increment(self, name: str, state: State, gradient: Tensor, step: Scalar) -> Tensor | Scalar:
        """Position: γη; velocity: -λγη - γ∇L."""
        velocity = state["velocity"]
        if name == POSITION:
            return step * velocity
        return -over(self.friction, step) * velocity - step * gradient

    def amplitude(self, name: str, step: Scalar) -> Scalar | None:  # noqa: ARG002
        """Return None: there is no noise."""
        return None
