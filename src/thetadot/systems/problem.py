r"""A system in a landscape, posed once for its trajectories, its law and its rates."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from thetadot.core.failures import explained
from thetadot.errors import InadmissibleValue, IncompatiblePair
from thetadot.potentials import gradient_of
from thetadot.systems.custom import Driven

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from thetadot.core.annotations import Scalar
    from thetadot.systems.base import System


@explained
@dataclass(frozen=True)
class Problem:
    """A system together with the potential in which it moves.

    Args:
        system: GradientFlow, Langevin(temperature), DampedNewton(friction), Kramers(friction, temperature), ...
        potential: L of positions (..., dim), one value a path: a potential of :mod:`thetadot.potentials` or any loss.

    Raises:
        InadmissibleValue: the first is no system, or the second no function.
        IncompatiblePair: the system has a drift of its own.

    Example:
        >>> import torch
        >>> from thetadot.potentials import DoubleWell
        >>> from thetadot.systems import Langevin
        >>> problem = Problem(Langevin(temperature=0.1), DoubleWell())
        >>> problem.gradient(torch.tensor([[2.0]])), problem.temperature
        (tensor([[6.]]), 0.1)
    """

    system: System
    potential: Callable[[Tensor], Tensor]

    def __post_init__(self) -> None:
        if not hasattr(self.system, "increment") or isinstance(self.system, type) or not _function(self.potential):
            raise InadmissibleValue(
                f"Problem({self.system!r}, {self.potential!r}) is none of a system and a potential. Pass first what "
                "moves, such as Langevin(0.1), then the potential, a function of (..., dim)."
            )
        if isinstance(self.system, Driven):
            raise IncompatiblePair(
                f"{type(self.system).__name__} has a drift of its own, and a potential would not be used. "
                "Pass the system alone, or one that moves by a gradient, such as Langevin."
            )

    @cached_property
    def gradient(self) -> Callable[[Tensor], Tensor]:
        """Gradient ∇L of the potential."""
        return gradient_of(self.potential)

    @property
    def temperature(self) -> Scalar:
        """T of the system, 0 where it has none."""
        return getattr(self.system, "temperature", 0.0)

    @property
    def friction(self) -> Scalar | None:
        """λ of the system in 1/time, None where it has none."""
        return getattr(self.system, "friction", None)


def _function(potential: object) -> bool:
    """Whether it is one, and no class: DoubleWell() rather than DoubleWell."""
    return callable(potential) and not isinstance(potential, type)
