r"""Momentum whose half step moves with the time step.

    η_n = (η_{n-1/2} - (γ'/2)∇L(θ_n)) (1+β')/2
    η_{n+1/2} = η_n 2β/(1+β) - (γ/2)∇L(θ_n),    θ_{n+1} = θ_n + γη_{n+1/2}

The velocity kept is that of half a step before the position, by the step γ' that was taken; the coming one has length γ
and momentum β. The kick that joins them ends the old step and begins the new one, each with settings of its own: the
map from θ_n, η_n to θ_{n+1}, η_{n+1} is symmetric, so that the motion is of second order in the step whatever schedule
lr and momentum follow, abrupt changes included. :class:`Leapfrog` takes the whole kick by the new step, as if the
velocity were γ/2 old: an error of first order, (γ-γ')/2 of the acceleration at every change. At constant settings both
are the same.

With γ' = 0 at first the velocity begins at the time of the position, at rest: no half kick is wanted for second order.
Under noise a kick by the remaining share r keeps the variance T of the velocity by √(T(1-r²)) ξ.

Source:
    derived here, as Störmer's and Verlet's method with steps that vary; Hairer, Lubich, Wanner, "Geometric Numerical
    Integration" (2006), II.4 on symmetric compositions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from thetadot.core.failures import explained
from thetadot.core.tensors import sqrt, tensor_of
from thetadot.errors import InadmissibleValue
from thetadot.integrators.base import require_mechanical
from thetadot.integrators.leapfrog import CayleyMap
from thetadot.integrators.splitting import Splitting, SubStep
from thetadot.integrators.words import parse, reversible
from thetadot.systems.base import POSITION, System, over
from thetadot.translation import cayley

if TYPE_CHECKING:
    from torch import Tensor

    from thetadot.core.annotations import Draw, Force, Scalar, State

LATE, LOST = "late", "lost"


class HalfKicks(NamedTuple):
    """Scalars of a step: γ, γ/2, 2β/(1+β), (1-β)/2, T where noise acts."""

    drift: Scalar
    half: Scalar
    slow: Scalar
    lost: Scalar
    temperature: Scalar | None


@explained
@dataclass(frozen=True)
class CentredLeapfrog(CayleyMap):
    """:class:`Leapfrog`, of second order through changes of the step and the friction too.

    Example:
        >>> import torch
        >>> from thetadot.systems import DampedNewton
        >>> rule = CentredLeapfrog()
        >>> scales = rule.prepare(DampedNewton(friction=2.0), step=1.0)  # β = 0
        >>> state = {"position": torch.ones(1), "velocity": torch.ones(1), "late": 0.5, "lost": 0.5}
        >>> rule.advance(scales, state, torch.tensor([0.5]), draw=None)["position"]  # as leapfrog's
        tensor([0.7500])
    """

    order: ClassVar[int] = 2
    carried: ClassVar[tuple[str, ...]] = (LATE, LOST)

    def __post_init__(self) -> None:
        if self.convention != "physical":
            raise InadmissibleValue(
                f"convention={self.convention!r} keeps no physical velocity whose half step could move. "
                "Pass convention='physical'."
            )

    def prepare(self, system: System, step: Scalar) -> HalfKicks:  # type: ignore[override]
        """Scalars of the two halves."""
        mechanical = require_mechanical(self, system)
        beta = cayley(over(mechanical.friction, step))
        noisy = mechanical.amplitude("velocity", step) is not None
        heat = mechanical.temperature if noisy else None
        return HalfKicks(step, step / 2.0, 2.0 * beta / (1.0 + beta), (1.0 - beta) / 2.0, heat)

    def advance(self, scales: HalfKicks, state: State, gradient: Tensor, draw: Draw, stage: int = 0) -> State:  # noqa: ARG002
        """Advance the state by one step."""
        kept = 1.0 - state[LOST]
        velocity = scales.slow * (kept * (tensor_of(state, "velocity") - state[LATE] * gradient))
        velocity = velocity - scales.half * gradient
        if scales.temperature is not None:
            remains = scales.slow * kept
            velocity = velocity + sqrt(scales.temperature * (1.0 - remains * remains)) * draw()
        return {POSITION: state[POSITION] + scales.drift * velocity, "velocity": velocity, **self.settled(scales)}

    def settled(self, scales: HalfKicks) -> State:  # type: ignore[override]
        """Return the numbers carried after a step with these settings."""
        return {LATE: scales.half, LOST: scales.lost}

    def at_rest(self, scales: HalfKicks, gradient: Tensor) -> Tensor:  # type: ignore[override]  # noqa: ARG002
        """0: the velocity begins at the position's time."""
        return 0.0 * gradient

    def open(self, system: System, step: Scalar, state: State, gradient: Force, draw: Draw) -> tuple[State, int]:  # noqa: ARG002
        """Return the state unchanged: nothing is staggered before the first step."""
        return state, 0


@explained
@dataclass(frozen=True)
class CentredSplitting(Splitting):
    """A word's cycle that begins with its only kick, half of which ends the old step: 'BAOA', the cycle of BAOAB."""

    word: str = "BAOA"

    carried: ClassVar[tuple[str, ...]] = (LATE,)

    def __post_init__(self) -> None:
        pieces = parse(self.word)
        if self.word.count("B") != 1 or self.word[0] != "B" or not reversible(pieces):
            raise InadmissibleValue(
                f"word={self.word!r} does not begin with its only kick, or is not symmetric. Pass 'BAOA' or 'BA'."
            )

    def advance(
        self, scales: tuple[tuple[SubStep, ...], ...], state: State, gradient: Tensor, draw: Draw, stage: int = 0
    ) -> State:
        """Apply the cycle's letters, with a kick of half the old step and half the new one."""
        first, *others = scales[stage]
        kick = SubStep("B", state[LATE] + first.amount / 2.0)
        return {**self._letters((kick, *others), state, gradient, draw), **self.settled(scales)}

    def settled(self, scales: tuple[tuple[SubStep, ...], ...]) -> State:
        """Return the numbers carried after a step with these settings."""
        return {LATE: scales[0][0].amount / 2.0}

    def at_rest(self, scales: tuple[tuple[SubStep, ...], ...], gradient: Tensor) -> Tensor:  # noqa: ARG002
        """0: the velocity begins at the position's time."""
        return 0.0 * gradient
