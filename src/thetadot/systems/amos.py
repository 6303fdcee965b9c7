r"""Amos as published: steps in units of the tensor's size, balanced by a weight decay, both declining in time.

    v' = v + (1-β)(mean g² - v),  w' = w + (1-β)(1 - w),  v̂ = v'/w'
    c = (1 + ¼√ξ b)^(-1/2),  d = (1 + ¼√(ξη) b)^(-1),  ρ = c ξ² mean g²/v̂
    θ' = θ - d(ξη g/√v̂ + ½ρθ),    b' = b + ρ(1 + b);    v, w, b from 0

ξ is the learning rate, η the size that the tensor's elements should have, mean g² that of the tensor: one number v and
one number b a tensor (the published code may keep one of each for every slice). b counts what the decay has taken off:
it grows by ξ² a step at first, and step and decay fall by d as it does, so that no half-life need be known. Where the
gradient is noise, mean g² = v̂, b approaches ξ^(7/2) t², hence

    ρ -> 2/t,    d -> (1 + ½ η^(1/4) ξ² t)^(-2)  in its tail

a fall like that of :class:`ScheduledAmos` with a constant cosine of ½ η^(1/4) ξ. That the cosine between a step and the
error is as this supposes is the authors' model, not a law.

η is the root mean square of the tensor as it begins where it has two or more dimensions, as a matrix is drawn at the
size it should have; 1/2 for vectors, which begin at 0 or 1, and for what begins at zero.

Source:
    [tian2022] Tian, Parikh, "Amos: an Adam-style optimizer with adaptive weight decay towards model-oriented scale",
    arXiv 2210.11693, algorithm 1; the factors of c and d are those of its authors' code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from thetadot.core.failures import explained
from thetadot.core.tensors import sqrt
from thetadot.systems.base import TINY, Rate, admissible
from thetadot.systems.relative import Relative

if TYPE_CHECKING:
    from thetadot.core.annotations import Scalar, State

_QUARTER = 0.25  # how fast c and d fall; the authors' code has the same number for both


@explained
@dataclass(frozen=True)
class Amos(Relative):
    """The published Amos: its weight decay brings its own steps down.

    Args:
        square_rate: b > 0 in 1/time, or :class:`PerStep` (1-β): how fast v follows.

    Raises:
        InadmissibleValue: a rate out of range.

    Example:
        >>> import torch
        >>> rule = Amos(square_rate=1.0)
        >>> state = {"position": torch.ones(2), "size": 0.5, "square": 4.0, "square_weight": 1.0, "factor": 1.0}
        >>> state |= {"share": 0.01}
        >>> rule.increment("position", state, torch.tensor([2.0, -2.0]), 0.1)  # -0.1·0.5·u - 0.005·θ
        tensor([-0.0550,  0.0450])
    """

    square_rate: Rate

    variables: ClassVar[tuple[str, ...]] = ("square", "square_weight", "factor", "share", "taken", "size")
    scalars: ClassVar[tuple[str, ...]] = variables

    def __post_init__(self) -> None:
        admissible("square_rate", self.square_rate)

    def _fall(self, name: str, state: State, step: Scalar) -> Scalar:
        """Set d and ρ from b before b moves."""
        match name:
            case "factor":
                return 1.0 / (1.0 + _QUARTER * sqrt(step * state["size"]) * state["taken"]) - state["factor"]
            case "share":
                unit = sqrt(state["tensor_square"]) * sqrt(state["square_weight"]) / (sqrt(state["square"]) + TINY)
                slowed = step * step / sqrt(1.0 + _QUARTER * sqrt(step) * state["taken"])
                return slowed * unit * unit - state["share"]
            case "taken":
                return state["share"] * (1.0 + state["taken"])
        raise KeyError(name)

    def _decay(self, state: State, step: Scalar) -> Scalar:  # noqa: ARG002
        return 0.5 * state["factor"] * state["share"]
