r"""Update of one parameter in one stage of a step, as a pure function of tensors.

    g ← ±∇L (+ wd·θ, "l2"),    θ ← (1 - lr·wd) θ ("decoupled"),    state' = integrator.advance(state, g),
    a' = a + (θ' - a)/N',  N' = 1 + dN (averaging),    θ' rounded to the dtype it is kept in

The integrator's rule is the only place where anything moves; this is the frame around it. The same function runs on
tensors, is differentiated, traced into a kernel, and compiled.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from thetadot.core import rounding
from thetadot.core.tensors import tensor_of
from thetadot.systems.base import POSITION

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    import torch
    from torch import Tensor

    from thetadot.core.annotations import Draw, Scalar, State
    from thetadot.core.rounding import LowPrecision
    from thetadot.integrators.base import Integrator

Decay = Literal["none", "decoupled", "l2"]

AVERAGE, AVERAGE_COUNT, COMPENSATION = "average", "average_count", "compensation"


class FrameNumbers(NamedTuple):
    """Numbers of the frame, of one group and step.

    Attributes:
        weight_decay: wd, for "l2".
        shrink: 1 - lr·wd, for "decoupled".
        averaging: d, the average's memory.
    """

    weight_decay: Scalar = 0.0
    shrink: Scalar = 1.0
    averaging: Scalar = 0.0


@dataclass(frozen=True)
class Move:
    """The frame's choices; all that is not a number.

    Attributes:
        integrator: the rule.
        stage: which of its stages.
        maximize: climb instead of descend.
        decay: how weight decay acts.
        averaging: whether a running average is kept.
        storage: dtype of the parameter.
        wide: dtype in which it is moved.
        low_precision: how θ' goes back from ``wide`` to ``storage``.
    """

    integrator: Integrator
    stage: int
    maximize: bool
    decay: Decay
    averaging: bool
    storage: torch.dtype
    wide: torch.dtype
    low_precision: LowPrecision

    @property
    def rounds(self) -> bool:
        """Whether random words are drawn to round with."""
        return self.storage != self.wide and self.low_precision == "stochastic"

    @property
    def compensates(self) -> bool:
        """Whether what rounding cuts off is kept."""
        return self.storage != self.wide and self.low_precision == "kahan"

    def advance(
        self,
        scales: Any,
        settings: FrameNumbers,
        state: State,
        gradient: Tensor,
        draw: Draw,
        words: Callable[[], Tensor],
        at: Tensor | None = None,
    ) -> State:
        """The state after the stage.

        Args:
            scales: the integrator's, of this group and step.
            settings: the frame's numbers.
            state: position (in ``storage``), variables, numbers.
            gradient: ∇L as it came.
            draw: standard normal numbers.
            words: 32 random bits an element.
            at: where the gradient was taken, if elsewhere than at the position.
        """
        force = self.force(settings, gradient, tensor_of(state, POSITION) if at is None else at)
        inner: State = {**state, POSITION: self.origin(settings, state)}
        inner = self.integrator.advance(scales, inner, force, draw, self.stage)
        new = {name: value for name, value in inner.items() if name in state}  # measured numbers are not kept
        position = tensor_of(inner, POSITION).to(self.wide)  # settings in wider tensors widen tensors of shape ()
        if self.averaging and self.stage == self.integrator.stages - 1:
            count = 1.0 + settings.averaging * state[AVERAGE_COUNT]
            average = tensor_of(state, AVERAGE)
            new[AVERAGE] = average + (position - average) / count
            new[AVERAGE_COUNT] = count
        return new | self._rounded(position, words)

    def force(self, settings: FrameNumbers, gradient: Tensor, at: Tensor) -> Tensor:
        """∇L as the rule takes it, l2 decay included: that is a quadratic added to the loss."""
        gradient = gradient.to(self.wide)
        if self.maximize:
            gradient = -gradient
        return gradient + settings.weight_decay * at.to(self.wide) if self.decay == "l2" else gradient

    def origin(self, settings: FrameNumbers, state: State) -> Tensor:
        """Return the starting point of the rule: the parameter with its rounding remainder, after decoupled decay."""
        position = tensor_of(state, POSITION).to(self.wide)
        if self.compensates:
            position = position + tensor_of(state, COMPENSATION).to(self.wide)
        return position * settings.shrink if self.decay == "decoupled" and self.stage == 0 else position

    def _rounded(self, position: Tensor, words: Callable[[], Tensor]) -> State:
        if self.rounds:
            return {POSITION: rounding.stochastic(position, self.storage, words())}
        narrow = position.to(self.storage)
        if self.compensates:
            return {POSITION: narrow, COMPENSATION: (position - narrow.to(self.wide)).to(self.storage)}
        return {POSITION: narrow}
