r"""Mechanics as geometry: motion at energy E is a straightest line of Jacobi's metric.

    ds² = (E-U) dx²,    ds = √2 (E-U) dt                                                         [su2017]
    x'' = [½|x'|² ∇W - (∇W·x') x']/W,    W = E-U,    W|x'|² = 1

' is the derivative by the length s. The path is that of Newton's ẍ = -∇U, without friction; only the clock is
another, t' = 1/(√2 W). It is known where E > U: at a turning point the metric vanishes and the length ends.

Source:
    [su2017] Su Jianlin, https://kexue.fm/archives/4046 (2016); Jacobi (1842).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

import torch

from thetadot.core.failures import explained
from thetadot.core.signatures import checked
from thetadot.core.tensors import tensor_of
from thetadot.errors import InadmissibleValue, require
from thetadot.potentials import gradient_of
from thetadot.systems.base import POSITION
from thetadot.systems.custom import Driven

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from thetadot.core.annotations import State


@explained
@checked
@dataclass(frozen=True)
class Jacobi(Driven):
    """Position x (paths, dim). Variables: "velocity" x' = dx/ds, and "clock" t, alike in every coordinate.

    Its step is of length, in units of √energy times distance. Beyond a turning point the state is not a number.

    Args:
        potential: U of (..., dim).
        energy: E, of every path.

    Raises:
        InadmissibleValue: an energy that is not finite.

    Example:
        >>> free = Jacobi(lambda x: 0.0 * x.sum(-1), energy=2.0)
        >>> state = free.start(torch.tensor([[0.0, 0.0]]), torch.tensor([[3.0, 4.0]]))
        >>> state["velocity"], free.drift("clock", state)  # |x'| = 1/√2, t' = 1/(2√2)
        (tensor([[0.4243, 0.5657]]), tensor([[0.3536, 0.3536]]))
    """

    potential: Callable[[Tensor], Tensor]
    energy: float

    variables: ClassVar[tuple[str, ...]] = ("velocity", "clock")

    def __post_init__(self) -> None:
        require(math.isfinite(self.energy), f"energy={self.energy:g}", "is not finite", "Pass a finite number.")

    @cached_property
    def gradient(self) -> Callable[[Tensor], Tensor]:
        """Gradient ∇U of the potential."""
        return gradient_of(self.potential)

    def drift(self, name: str, state: State) -> Tensor:
        """Return the rate of change x', x'' or t' of variable ``name``."""
        velocity = tensor_of(state, "velocity")
        if name == POSITION:
            return velocity
        position = tensor_of(state, POSITION)
        room = self._room(position)
        if name == "clock":
            return 1.0 / (math.sqrt(2.0) * room) + torch.zeros_like(velocity)
        slope = -self.gradient(position)
        square = (velocity * velocity).sum(-1, keepdim=True)
        return (0.5 * square * slope - (slope * velocity).sum(-1, keepdim=True) * velocity) / room

    def _room(self, position: Tensor) -> Tensor:
        """W = E-U, (..., 1); not a number where it is not positive."""
        room = (self.energy - self.potential(position)).unsqueeze(-1)
        return torch.where(room > 0, room, math.nan)

    def start(self, position: Tensor, direction: Tensor) -> State:
        """The state at a position, on the way in a direction, its clock at 0.

        Args:
            position: x (paths, dim), where E > U.
            direction: of the motion, any length but 0.

        Raises:
            InadmissibleValue: a path that begins at U >= E, or has no direction.
        """
        height = self.potential(position)
        short = (height >= self.energy).reshape(-1)
        if bool(short.any()):
            path = int(short.nonzero()[0])
            raise InadmissibleValue(
                f"energy={self.energy:g} is not above the potential, {float(height.reshape(-1)[path]):g}, where path "
                f"{path} begins, so that nothing moves there. Pass a higher energy, or another position."
            )
        length = (direction * direction).sum(-1, keepdim=True).sqrt()
        require(bool((length > 0).all()), "direction of length 0", "points nowhere", "Pass one of any other length.")
        velocity = direction / (length * self._room(position).sqrt())
        return {POSITION: position, "velocity": velocity, "clock": torch.zeros_like(position)}
