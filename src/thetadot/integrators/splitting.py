r"""Splitting integrators of damped Newton and Kramers dynamics, given by a word.

    A: θ += γη        B: η -= γ∇L        O: η ← e^{-λγ} η + √(T(1-e^{-2λγ})) ξ

Each letter's flow is exact. BAOAB has position variance exactly T/h on curvature h at every stable step; its
on-step velocity is colder, so read kinetic temperature at the half-step. Words are stepped from a force (see
:mod:`words`); 'BAOA' is the cycle of 'BAOAB', and at T = 0 its positions are heavy ball's with β = e^{-λγ}, α =
γ²(1+β)/2.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from thetadot.core.failures import explained
from thetadot.core.tensors import exp, log, sqrt, tensor_of
from thetadot.errors import InadmissibleValue, IncompatiblePair
from thetadot.integrators.base import Direct, NoiseOrder, name_of, require_mechanical
from thetadot.integrators.words import Piece, drifted, force_first, parse, reversible, stages, tells, turn
from thetadot.systems.base import POSITION, System, over

if TYPE_CHECKING:
    from torch import Tensor

    from thetadot.core.annotations import Draw, Force, Scalar, State
    from thetadot.systems.base import Mechanical

    Shares = tuple[tuple[str, float], ...]


class SubStep(NamedTuple):
    """A letter with its scalars: A and B their share of the step; O what remains of the velocity, and the heat."""

    letter: str
    amount: Scalar
    thermal: Scalar | None = None


@explained
@dataclass(frozen=True)
class Splitting(Direct):
    """The integrator of a word.

    Args:
        word: letters A, B, O, at least one A and one B; 'BAOAB', 'OBABO', 'OBA', ...

    Raises:
        InadmissibleValue: not such a word.

    Example:
        >>> import torch
        >>> from thetadot.systems import Kramers
        >>> rule = Splitting("BAOAB")
        >>> scales = rule.prepare(Kramers(friction=1.0, temperature=0.0), step=1.0)
        >>> state = {"position": torch.zeros(1), "velocity": torch.ones(1)}
        >>> rule.advance(scales, state, torch.zeros(1), lambda: torch.zeros(1))["position"]  # (1 + 1/e)/2
        tensor([0.6839])
    """

    word: str

    def __post_init__(self) -> None:
        parse(self.word)

    @cached_property
    def _opening(self) -> tuple[Piece, ...]:
        """The letters before the place of the cycle that a step begins at."""
        pieces = parse(self.word)
        return pieces[: turn(pieces)]

    @cached_property
    def _ahead(self) -> float:
        """The share of A by which the position is ahead of a whole number of words."""
        return float(drifted(self._opening) % 1)

    @cached_property
    def _stages(self) -> tuple[Shares, ...]:
        return _shares(force_first(parse(self.word)))

    @property
    def order(self) -> int:
        """2 for words whose cycle runs the same backwards, 1 for others."""
        return 2 if reversible(parse(self.word)) else 1

    @property
    def additive_order(self) -> NoiseOrder:  # type: ignore[override]
        """Strong order 1: a word takes W's increment and not its mean over the step; weakly the word's own order."""
        return NoiseOrder(strong=1.0, weak=self.order)

    @property
    def stages(self) -> int:
        """Number of gradients per step."""
        return len(self._stages)

    def prepare(self, system: System, step: Scalar) -> tuple[tuple[SubStep, ...], ...]:
        """Scalars of every letter, by stage."""
        mechanical = require_mechanical(self, system)
        damping = over(mechanical.friction, step)
        if "O" not in self.word and not (isinstance(damping, (float, int)) and damping == 0):
            raise IncompatiblePair(
                f"{name_of(self)}({self.word!r}) has no O, the letter of friction, and {name_of(system)} has friction. "
                "Put an O into the word, or pass friction=0."
            )
        return self._scaled(self._stages, mechanical, step)

    @staticmethod
    def _scaled(cut: tuple[Shares, ...], mechanical: Mechanical, step: Scalar) -> tuple[tuple[SubStep, ...], ...]:
        damping = over(mechanical.friction, step)
        noisy = mechanical.amplitude("velocity", step) is not None

        def sub_step(letter: str, share: float) -> SubStep:
            if letter != "O":
                return SubStep(letter, share * step)
            retain = exp(-share * damping)
            return SubStep("O", retain, sqrt(mechanical.temperature * (1.0 - retain * retain)) if noisy else None)

        return tuple(tuple(sub_step(letter, share) for letter, share in stage) for stage in cut)

    def advance(
        self, scales: tuple[tuple[SubStep, ...], ...], state: State, gradient: Tensor, draw: Draw, stage: int = 0
    ) -> State:
        """The letters of one stage."""
        return self._letters(scales[stage], state, gradient, draw)

    @staticmethod
    def _letters(letters: tuple[SubStep, ...], state: State, gradient: Tensor, draw: Draw) -> State:
        position, velocity = tensor_of(state, POSITION), tensor_of(state, "velocity")
        for letter, amount, thermal in letters:
            if letter == "A":
                position = position + amount * velocity
            elif letter == "B":
                velocity = velocity - amount * gradient
            else:
                velocity = amount * velocity if thermal is None else amount * velocity + thermal * draw()
        return {POSITION: position, "velocity": velocity}

    def shown(self, scales: tuple[tuple[SubStep, ...], ...], state: State) -> Tensor:  # type: ignore[override]
        """θ after whole words: where A is cut by the beginning of the cycle, the drift beyond is taken back."""
        position = tensor_of(state, POSITION)
        if self._ahead == 0:
            return position
        step = sum(sub.amount for stage in scales for sub in stage if sub.letter == "A")
        return position - self._ahead * step * tensor_of(state, "velocity")

    def open(self, system: System, step: Scalar, state: State, gradient: Force, draw: Draw) -> tuple[State, int]:
        """The letters of the word as it is written, up to the place where the cycle begins."""
        if not tells(self._opening):
            raise IncompatiblePair(
                f"{name_of(self)}({self.word!r}) drifts across the end of the word, and something else acts before a "
                "force is met: positions between words are lost. Use another word, such as 'BAOAB'."
            )
        for scaled in self._scaled(_shares(self._opening), require_mechanical(self, system), step):
            state = {**state, **self._letters(scaled, state, gradient(tensor_of(state, POSITION)), draw)}
        return state, int(drifted(self._opening))

    def momentum(self, damping: Scalar) -> Scalar:
        """Return the momentum β = e^{-λγ}."""
        return exp(-damping)

    def damping(self, momentum: Scalar) -> Scalar:
        """Return the damping λγ = -ln β."""
        return -log(momentum)

    def gain(self, momentum: Scalar) -> Scalar:
        """α/γ², read off the word: (1+β)/2 for BAOA, 1 for OBA."""
        self._require_one_stage()
        position: Scalar = 0.0
        velocity: Scalar = 0.0
        for letter, share in self._stages[0]:
            if letter == "A":
                position = position + share * velocity
            elif letter == "B":
                velocity = velocity + share
            else:
                velocity = velocity * momentum**share
        return position

    def drift(self, scales: tuple[tuple[SubStep, ...], ...]) -> Scalar:
        """Displacement of one step per unit of velocity, no force acting."""
        self._require_one_stage()
        position: Scalar = 0.0
        velocity: Scalar = 1.0
        for letter, amount, _ in scales[0]:
            if letter == "A":
                position = position + amount * velocity
            elif letter == "O":
                velocity = velocity * amount
        return position

    def at_rest(self, scales: tuple[tuple[SubStep, ...], ...], gradient: Tensor) -> Tensor:
        """η = γ∇L/2: with it the first B is the half kick of a word that begins at rest."""
        self._require_one_stage()
        step = sum(sub.amount for sub in scales[0] if sub.letter == "B")
        return step / 2.0 * gradient

    def _require_one_stage(self) -> None:
        if self.stages != 1:
            raise InadmissibleValue(
                f"word={self.word!r} takes {self.stages} gradients a step, so no lr and momentum stand for it. "
                "Give step and friction, or a word with one, such as 'BAOAB'."
            )


def _shares(pieces: tuple[Piece, ...]) -> tuple[Shares, ...]:
    """Return each stage's letters with their fractions as plain numbers."""
    return tuple(tuple((piece.letter, float(piece.share)) for piece in stage) for stage in stages(pieces))
