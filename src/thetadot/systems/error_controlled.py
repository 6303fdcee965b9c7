r"""The error-controlled flow: the continuous limit of RMSprop.

    θ̇ = -∇L/(√G + ε),    Ġ = b(∇L² - G),    ṫ = 1/(√G + ε),    all three from 0              [su2018b]

An Euler step of gradient flow moves by γ|∇L|; holding that length at η by γ = η/√G, G a running mean of ∇L², is
error control. So the flow is gradient flow with a clock t of its own: dθ/dt = -∇L(θ) exactly, and a step of η
advances t by η/(√G + ε). Time proper is counted in lr: b = (1-λ)/η.

With norm="coordinate" every element has its own G and its own clock; with "global" all that move together share
G of |∇L|², which is the scheme that the argument gives. (It is one of dimensions: the local error is γ²|H∇L|/2.)
The root stands outside ε, as in torch; √(G + ε) is the article's form. ε = 0 is read as 1e-22, so that 0/0 is 0.

From G = 0 the motion begins like √t, with velocity ∇L/ε: steps that see the new G (semi-implicit) follow it at order
1/2, from G = ∇L² at order 1; an explicit first step is ∇L/ε itself.

Source:
    [su2018b] Su Jianlin, https://kexue.fm/archives/6234 (2018).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from thetadot.core.failures import explained
from thetadot.core.tensors import sqrt
from thetadot.core.validation import as_python, require_word
from thetadot.systems.base import TINY, Rate, admissible, over

if TYPE_CHECKING:
    from torch import Tensor

    from thetadot.core.annotations import Scalar, State

Norm = Literal["coordinate", "global"]


@explained
@dataclass(frozen=True)
class ErrorControlledFlow:
    """θ̇ = -∇L/(√G + ε) with a memory G of the gradient's square.

    Args:
        square_rate: b > 0 in 1/time, or :class:`PerStep` (1-λ).
        eps: ε >= 0, in units of the gradient.
        norm: "coordinate", G of each element; "global", one G of |∇L|².
        clock: keep t; one more tensor for "coordinate", a number and always kept for "global".

    Raises:
        InadmissibleValue: a number out of range, or an unknown norm.

    Example:
        >>> import torch
        >>> flow = ErrorControlledFlow(square_rate=1.0, eps=0.0)
        >>> state = {"position": torch.zeros(1), "square": torch.tensor([4.0])}
        >>> flow.increment("position", state, torch.ones(1), 0.1)
        tensor([-0.0500])
    """

    square_rate: Rate
    eps: Scalar = 1e-8
    norm: Norm = "coordinate"
    clock: bool = False

    def __post_init__(self) -> None:
        admissible("square_rate", self.square_rate)
        admissible("eps", self.eps)
        require_word(("coordinate", "global"), norm=self.norm)
        require_word((True, False), clock=as_python(self.clock))

    @property
    def keeps_clock(self) -> bool:
        """Whether t is among the variables."""
        return self.clock or self.norm == "global"

    @property
    def variables(self) -> tuple[str, ...]:
        """G, and t where it is kept."""
        return ("square", "clock") if self.keeps_clock else ("square",)

    @property
    def scalars(self) -> tuple[str, ...]:
        """Names of both variables, if they belong to all elements together."""
        return self.variables if self.norm == "global" else ()

    @property
    def measures(self) -> tuple[str, ...]:
        """|∇L|² of all that move together."""
        return ("gradient_square",) if self.norm == "global" else ()

    def increment(self, name: str, state: State, gradient: Tensor, step: Scalar) -> Tensor | Scalar:
        """Return one variable's drift times the step."""
        if name == "square":
            square = state["gradient_square"] if self.norm == "global" else gradient * gradient
            return over(self.square_rate, step) * (square - state["square"])
        scale = sqrt(state["square"]) + (self.eps + TINY)
        if name == "clock":
            return step / scale
        return -(step / scale) * gradient if self.norm == "global" else -step * gradient / scale

    def amplitude(self, name: str, step: Scalar) -> None:  # noqa: ARG002
        """Return None: there is no noise."""
        return
