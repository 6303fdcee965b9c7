r"""The adaptive flow: the continuous limit of Adam.

    ṁ = a(∇L - m),    v̇ = b(∇L² - v),    θ̇ = -m̂ / (√v̂ + ε),    m̂ = m/w,  v̂ = v/u
    ẇ = a(1 - w),     u̇ = b(1 - u),      all four from 0                                     [dasilva2018]

w and u are the weight that m and v have gathered, 1-e^(-at) and 1-e^(-bt): the debiasing follows the memories even
where their rates change. Time is counted in lr: a = (1-β₁)/η, b = (1-β₂)/η. The square root stands outside ε, as in
torch.

Source:
    [dasilva2018] da Silva, Gazeau, "A general system of differential equations to model first order adaptive
    algorithms".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from thetadot.systems.base import POSITION, Rate, admissible, over
from thetadot.tensors import sqrt, tensor_of

if TYPE_CHECKING:
    from torch import Tensor

    from thetadot.typing import Scalar, State


@dataclass(frozen=True)
class AdaptiveFlow:
    """θ̇ = -m̂/(√v̂ + ε) with memories m of the gradient and v of its square.

    Args:
        mean_rate: a > 0 in 1/time, or :class:`PerStep` (1-β₁).
        square_rate: b > 0, likewise (1-β₂).
        eps: ε >= 0, in units of the gradient.

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
    eps: float = 1e-8

    variables: ClassVar[tuple[str, ...]] = ("mean", "square", "mean_weight", "square_weight")
    scalars: ClassVar[tuple[str, ...]] = ("mean_weight", "square_weight")
    measures: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        admissible("mean_rate", self.mean_rate)
        admissible("square_rate", self.square_rate)
        admissible("eps", self.eps)

    def increment(self, name: str, state: State, gradient: Tensor, step: Scalar) -> Tensor | Scalar:
        """One variable's drift times the step."""
        match name:
            case "mean":
                return over(self.mean_rate, step) * (gradient - state["mean"])
            case "square":
                return over(self.square_rate, step) * (gradient * gradient - state["square"])
            case "mean_weight":
                return over(self.mean_rate, step) * (1.0 - state["mean_weight"])
            case "square_weight":
                return over(self.square_rate, step) * (1.0 - state["square_weight"])
        assert name == POSITION  # noqa: S101 - the protocol's own names, not a user's
        mean, square, weight = tensor_of(state, "mean"), tensor_of(state, "square"), state["mean_weight"]
        if isinstance(weight, float) and weight == 0:  # at time 0 both memories are empty: m̂ -> ∇L, v̂ -> ∇L²
            return -step * gradient / (gradient.abs() + self.eps)
        # m̂/(√v̂ + ε) with the weights drawn out into numbers: one division and one root an element
        root = sqrt(state["square_weight"])
        return -(step * root / weight) * mean / (sqrt(square) + self.eps * root)

    def amplitude(self, name: str, step: Scalar) -> Scalar | None:  # noqa: ARG002
        """No noise."""
        return None
