r"""The adaptive flow: the continuous limit of Adam.

    ṁ = a(∇L - m),    v̇ = b(∇L² - v),    θ̇ = -m̂ / (√v̂ + ε),    m̂ = m/w,  v̂ = v/u
    ẇ = a(1 - w),     u̇ = b(1 - u),      all four from 0                                     [dasilva2018]

w and u are the weight that m and v have gathered, 1-e^(-at) and 1-e^(-bt): the debiasing follows the memories even
where their rates change. Time is counted in lr: a = (1-β₁)/η, b = (1-β₂)/η. ε stands outside the square root, as in
torch; 0 is read as 1e-22. With amsgrad, v is replaced in θ̇ by its largest value so far.

Source:
    [dasilva2018] da Silva, Gazeau, "A general system of differential equations to model first order adaptive
    algorithms".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from thetadot.core.failures import explained
from thetadot.core.tensors import sqrt, tensor_of
from thetadot.systems.base import POSITION, TINY, Rate, admissible, over

if TYPE_CHECKING:
    from torch import Tensor

    from thetadot.core.annotations import Scalar, State


@explained
@dataclass(frozen=True)
class AdaptiveFlow:
    """θ̇ = -m̂/(√v̂ + ε) with memories m of the gradient and v of its square.

    Args:
        mean_rate: a > 0 in 1/time, or :class:`PerStep` (1-β₁).
        square_rate: b > 0, likewise (1-β₂).
        eps: ε >= 0, in units of the gradient.
        amsgrad: divide by the largest v so far, one more tensor.

    Raises:
        InadmissibleValue: a number out of range.

    Example:
        >>> import torch
        >>> flow = AdaptiveFlow(mean_rate=2.0, square_rate=1.0)
        >>> state = {"position": torch.zeros(1), "mean": torch.ones(1), "mean_weight": 1.0,
        ...          "square": torch.tensor([4.0]), "square_weight": 1.0}
        >>> flow.increment("position", state, torch.zeros(1), 0.1)
        tensor([-0.0500])
    """

    mean_rate: Rate
    square_rate: Rate
    eps: Scalar = 1e-8
    amsgrad: bool = False

    scalars: ClassVar[tuple[str, ...]] = ("mean_weight", "square_weight")
    measures: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        admissible("mean_rate", self.mean_rate)
        admissible("square_rate", self.square_rate)
        admissible("eps", self.eps)

    @property
    def variables(self) -> tuple[str, ...]:
        """m, v, its largest value where that is kept, and the weights of both."""
        largest = ("largest",) if self.amsgrad else ()
        return ("mean", "square", *largest, "mean_weight", "square_weight")

    def increment(self, name: str, state: State, gradient: Tensor, step: Scalar) -> Tensor | Scalar:
        """Return one variable's drift times the step."""
        match name:
            case "mean" | "mean_weight":
                return over(self.mean_rate, step) * ((gradient if name == "mean" else 1.0) - state[name])
            case "square" | "square_weight":
                target = gradient * gradient if name == "square" else 1.0
                return over(self.square_rate, step) * (target - state[name])
            case "largest":
                largest = tensor_of(state, "largest")
                return torch.maximum(tensor_of(state, "square"), largest) - largest
        assert name == POSITION  # noqa: S101 - the protocol's own names, not a user's
        mean, weight = tensor_of(state, "mean"), state["mean_weight"]
        square = tensor_of(state, "square")
        if self.amsgrad:  # where all variables move at once, the largest does not know of the present one yet
            square = torch.maximum(square, tensor_of(state, "largest"))
        if isinstance(weight, float) and weight == 0:  # at time 0 both memories are empty: m̂ -> ∇L, v̂ -> ∇L²
            return -step * gradient / (gradient.abs() + (self.eps + TINY))
        # m̂/(√v̂ + ε) with the weights drawn out into numbers: one division and one root an element
        root = sqrt(state["square_weight"])
        return -(step * root / weight) * mean / (sqrt(square) + (self.eps + TINY) * root)

    def amplitude(self, name: str, step: Scalar) -> Scalar | None:  # noqa: ARG002
        """Return None: there is no noise."""
        return None
