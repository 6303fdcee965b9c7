r"""Amos on a schedule: steps in units of how far there is to go, a weight decay that balances them, a given fall.

    θ̇ = -σ d u - (α/2q) d θ,    u = ∇L/√v̂,    d = e^(-2S),    Ṡ = p e^(-S)  or  p e^(-2S)      [su2022, tian2022]
    v̇ = b(mean ∇L² - v),  ẇ = b(1 - w),  v̂ = v/w;    S, v, w from 0

The tensor's k elements are thought to lie √k·σ from where they should be, and e^(-S) of that after a while. A step of
α in this unit is ασd·u, ‖u‖ ≈ √k; it brings the tensor nearer by the share αp e^(-S) (a constant cosine p between step
and error) or αp e^(-2S) (a cosine that falls with the error). What the steps add at right angles, ‖ασd u‖², is taken
off again by a decay of α²d/2q: ‖ασd u‖² = 2(α²d/2q)·q‖error‖². So

    d = (1 + αpt)⁻²  or  (1 + 2αpt)⁻¹  after t steps of a constant α, to first order in αp

and p = 0 leaves step and decay as they are. The decay is of second order in the step: it is a correction of the
discrete rule and vanishes from the flow. That the error is orthogonal to the goal and the cosine as said is heuristic.

σ is the root mean square of the tensor as it begins where it has two or more dimensions, as a matrix is drawn at the
size it should have; 1/2 for vectors, which begin at 0 or 1, and for what begins at zero. d is moved before S, so that
the first step has d = 1.

The published Amos has no given p: its fall follows from what its own decay has taken off, :mod:`thetadot.systems.amos`.

Source:
    [tian2022] Tian, Parikh, "Amos: an Adam-style optimizer with adaptive weight decay towards model-oriented scale".
    [su2022] Su Jianlin, https://kexue.fm/archives/9344 (2022).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from thetadot.core.failures import explained
from thetadot.core.tensors import exp
from thetadot.core.validation import require_word
from thetadot.errors import require
from thetadot.systems.base import Rate, admissible, over
from thetadot.systems.relative import Relative

if TYPE_CHECKING:
    from thetadot.core.annotations import Scalar, State

Approach = Literal["constant", "decaying"]


@explained
@dataclass(frozen=True)
class ScheduledAmos(Relative):
    """θ̇ = -σ e^(-2S) ∇L/√v̂, with the weight decay that its steps need.

    Args:
        approach_rate: p >= 0 in 1/time, or :class:`PerStep` (αp).
        square_rate: b > 0, likewise (1-β).
        kind: "constant" p, or "decaying" in proportion to the error.
        q: > 0, how much of the error the decay counts; 1 in theory.

    Raises:
        InadmissibleValue: a number out of range, or an unknown kind.

    Example:
        >>> import torch
        >>> flow = ScheduledAmos(approach_rate=0.0, square_rate=1.0)
        >>> state = {"position": torch.ones(2), "size": 0.5, "square": 4.0, "square_weight": 1.0, "factor": 1.0}
        >>> flow.increment("position", state, torch.tensor([2.0, -2.0]), 0.1)  # -0.1·0.5·u - 0.005·θ
        tensor([-0.0550,  0.0450])
    """

    approach_rate: Rate
    square_rate: Rate
    kind: Approach = "constant"
    q: Scalar = 1.0

    variables: ClassVar[tuple[str, ...]] = ("square", "square_weight", "factor", "approach", "size")
    scalars: ClassVar[tuple[str, ...]] = variables

    def __post_init__(self) -> None:
        admissible("approach_rate", self.approach_rate)
        admissible("square_rate", self.square_rate)
        require_word(("constant", "decaying"), kind=self.kind)
        if isinstance(self.q, (float, int)):
            require(0 < self.q < math.inf, f"q={self.q:g}", "is not positive and finite", "Pass q > 0, such as 1.")

    def _fall(self, name: str, state: State, step: Scalar) -> Scalar:
        match name:
            case "factor":  # no equation of motion, but a name for e^(-2S) before S moves
                return exp(-2.0 * state["approach"]) - state["factor"]
            case "approach":
                power = 1.0 if self.kind == "constant" else 2.0
                return over(self.approach_rate, step) * exp(-power * state["approach"])
        raise KeyError(name)

    def _decay(self, state: State, step: Scalar) -> Scalar:
        return step * step * state["factor"] / (2.0 * self.q)
