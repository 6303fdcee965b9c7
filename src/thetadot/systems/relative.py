r"""Steps relative to the size of a tensor, with a weight decay of their own: what both kinds of Amos share.

    v' = v + b (mean ∇L² - v),    θ' = θ - γ d η ∇L/√v̂ - (decay) θ

η is read off the tensor as it begins. A system says how d falls and what the decay is.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

from thetadot.core.failures import explained
from thetadot.core.tensors import accumulation_dtype, sqrt, tensor_of
from thetadot.systems.base import POSITION, TINY, Rate, over

if TYPE_CHECKING:
    from torch import Tensor

    from thetadot.core.annotations import Scalar, State

_UNKNOWN_SIZE = 0.5


@explained
class Relative(ABC):
    """A system whose step is a share d of the size η of its tensor."""

    measures: ClassVar[tuple[str, ...]] = ("tensor_square",)
    square_rate: Rate

    def begin(self, name: str, position: Tensor) -> Tensor | float:
        """Return the size η of the tensor, d = 1, and 0 for all else."""
        if name != "size":
            return 1.0 if name == "factor" else 0.0
        if position.ndim < 2:
            return _UNKNOWN_SIZE
        position = position.to(accumulation_dtype(position))
        size = ((position * position).sum() / max(position.numel(), 1)).sqrt()
        return size + _UNKNOWN_SIZE * (size == 0)

    def increment(self, name: str, state: State, gradient: Tensor, step: Scalar) -> Tensor | Scalar:
        """Return one variable's change in a step, with decay for the position."""
        match name:
            case "square":
                return over(self.square_rate, step) * (state["tensor_square"] - state["square"])
            case "square_weight":
                return over(self.square_rate, step) * (1.0 - state["square_weight"])
            case "size":
                return 0.0
            case "position":
                position = tensor_of(state, POSITION)
                root = sqrt(state["square"]) + TINY
                length = step * state["factor"] * state["size"] * sqrt(state["square_weight"])
                return -(length / root) * gradient - self._decay(state, step) * position
        return self._fall(name, state, step)

    def amplitude(self, name: str, step: Scalar) -> None:  # noqa: ARG002
        """Return None: there is no noise."""
        return

    @abstractmethod
    def _decay(self, state: State, step: Scalar) -> Scalar:
        """Return the share of the position that a step takes away."""

    @abstractmethod
    def _fall(self, name: str, state: State, step: Scalar) -> Scalar:
        """Return the change of d, or of what it depends on; KeyError of another name."""
