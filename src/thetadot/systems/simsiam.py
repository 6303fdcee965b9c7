r"""Why SimSiam need not collapse: one encoder weight θ, one predictor weight φ, and whether a gradient is stopped.

    l = ½(φθ-θ)²;    φ̇ = -(φ-1)θ²,    θ̇ = -(φ-1)θφ  [stop],   +(φ-1)θ  [second],   both  [full]           [su2020]

"full" is the gradient flow of l; "stop" holds the second θ fixed, as the method does; "second" keeps only what "stop"
leaves out. Each conserves one quantity, from which its end follows:

    stop      φ² - θ²          φ → 1, θ∞² = 1 - φ₀² + θ₀²;          collapses iff φ₀²-θ₀² >= 1, or φ₀ < 0 and φ₀² >= θ₀²
    full      (φ-1)² - θ²      φ → 1, θ∞² = θ₀² - (φ₀-1)²;          collapses iff |φ₀-1| >= |θ₀|
    second    φ + θ²/2         φ → 1, θ∞² = 2φ₀ + θ₀² - 2;          collapses iff φ₀ + θ₀²/2 <= 1

and always from θ₀ = 0. Collapsed means θ → 0; φ then ends at ±√(φ₀²-θ₀²) with the sign of φ₀, at 1 ± √((φ₀-1)²-θ₀²)
on its own side of 1, or at φ₀ + θ₀²/2. So the stopped gradient does not always prevent collapse, nor does its absence
always cause it: it depends on the start. (The article shows one start.)

Coordinates are independent of one another.

Source:
    [su2020] Su Jianlin, https://kexue.fm/archives/7980 (2020).
    The limits: derived here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import torch

from thetadot.core.failures import explained
from thetadot.core.signatures import checked
from thetadot.core.tensors import tensor_of
from thetadot.errors import InadmissibleValue
from thetadot.systems.base import POSITION
from thetadot.systems.custom import Driven

if TYPE_CHECKING:
    from torch import Tensor

    from thetadot.core.annotations import State

Kept = Literal["stop", "full", "second"]


@explained
@checked
@dataclass(frozen=True)
class SimSiam(Driven):
    """Position: the encoder's θ (paths, dim). Variable "predictor": φ, of the same shape.

    Args:
        kept: which part of the gradient moves θ: "stop" (the method's), "full", or "second".

    Raises:
        InadmissibleValue: an unknown name.

    Example:
        >>> theta, phi = torch.tensor([0.1]).double(), torch.tensor([0.6]).double()
        >>> SimSiam("stop").limit(theta, phi), SimSiam("full").collapses(theta, phi)
        ((tensor([0.8062], dtype=torch.float64), tensor([1.], dtype=torch.float64)), tensor([True]))
    """

    kept: Kept = "stop"

    variables: ClassVar[tuple[str, ...]] = ("predictor",)

    def __post_init__(self) -> None:
        if self.kept not in ("stop", "full", "second"):
            raise InadmissibleValue(f"kept={self.kept!r} is unknown. Pass 'stop', 'full' or 'second'.")

    def drift(self, name: str, state: State) -> Tensor:
        """φ̇ for "predictor", θ̇ for the position."""
        encoder, predictor = tensor_of(state, POSITION), tensor_of(state, "predictor")
        excess = predictor - 1.0
        if name != POSITION:
            return -excess * encoder * encoder
        match self.kept:
            case "stop":
                return -excess * predictor * encoder
            case "full":
                return -excess * excess * encoder
        return excess * encoder

    def invariant(self, encoder: Tensor, predictor: Tensor) -> Tensor:
        """φ²-θ², (φ-1)²-θ² or φ+θ²/2: conserved along the flow."""
        match self.kept:
            case "stop":
                return predictor * predictor - encoder * encoder
            case "full":
                return (predictor - 1.0) ** 2 - encoder * encoder
        return predictor + 0.5 * encoder * encoder

    def collapses(self, encoder: Tensor, predictor: Tensor) -> Tensor:
        """Whether θ → 0 from here."""
        level = self.invariant(encoder, predictor)
        match self.kept:
            case "stop":
                ends = (level >= 1.0) | ((predictor < 0.0) & (level >= 0.0))
            case "full":
                ends = level >= 0.0
            case _:
                ends = level <= 1.0
        return ends | (encoder == 0.0)

    def limit(self, encoder: Tensor, predictor: Tensor) -> tuple[Tensor, Tensor]:
        """(θ, φ) as time goes to infinity."""
        level = self.invariant(encoder, predictor)
        match self.kept:
            case "stop":
                square, left = 1.0 - level, _signed_root(level, predictor)
            case "full":
                square, left = -level, 1.0 + _signed_root(level, predictor - 1.0)
            case _:
                square, left = 2.0 * (level - 1.0), level
        ends = self.collapses(encoder, predictor)
        alive = _signed_root(square, encoder)
        return torch.where(ends, 0.0 * encoder, alive), torch.where(ends, left, torch.ones_like(predictor))


def _signed_root(square: Tensor, like: Tensor) -> Tensor:
    return square.clamp_min(0.0).sqrt() * like.sign()
