r"""Kramers' equation: underdamped Langevin dynamics, unit mass.

    dθ = η dt,    dη = -λη dt - ∇L(θ) dt + √(2λT) dW                                        [su2018, eq. 21]

Stationary law exp(-(|η|²/2 + L)/T) for every λ > 0, whatever λ. (The article's eq. 22 is the case 2λ = 1; at λ = 0,
where it is stated, noise heats the system without bound and there is no stationary law.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from thetadot.core.failures import explained
from thetadot.systems.base import POSITION, Rate, admissible, heat, over
from thetadot.systems.newton import DampedNewton

if TYPE_CHECKING:
    from torch import Tensor

    from thetadot.core.annotations import Scalar, State


@explained
@dataclass(frozen=True)
class Kramers:
    """dθ = η dt, dη = -λη dt - ∇L dt + √(2λT) dW.

    Args:
        friction: λ >= 0 in 1/time, or :class:`PerStep`.
        temperature: T >= 0, in units of the loss.

    Raises:
        InadmissibleValue: a number out of range.

    Example:
        >>> Kramers(friction=0.5, temperature=4.0).amplitude("velocity", step=0.25)
        1.0
    """

    friction: Rate
    temperature: Scalar

    variables: ClassVar[tuple[str, ...]] = ("velocity",)
    scalars: ClassVar[tuple[str, ...]] = ()
    measures: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        admissible("friction", self.friction)
        admissible("temperature", self.temperature)

    def increment(self, name: str, state: State, gradient: Tensor, step: Scalar) -> Tensor | Scalar:
        """The drift of :class:`DampedNewton`."""
        return DampedNewton(self.friction).increment(name, state, gradient, step)

    def amplitude(self, name: str, step: Scalar) -> Scalar | None:
        """√(2λTγ) on the velocity; None at temperature 0."""
        return None if name == POSITION else heat(self.temperature, over(self.friction, step))
