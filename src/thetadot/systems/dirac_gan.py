r"""The Dirac GAN: the smallest game. Real data at 0, the generator's one point at θ, a linear critic D(x) = φ·x.

With u = φ·θ and σ the logistic function (φ: the critic's loss, θ: the generator's),

    non-saturating   φ̇ = -σ(u) θ                    θ̇ = (1-σ(u)) φ                          [su2019; mescheder2018]
    min-max          φ̇ = -σ(u) θ                    θ̇ = σ(u) φ
    linear           φ̇ = -θ                         θ̇ = φ
    wgan             φ̇ = -θ/|φ| + uφ/|φ|³           θ̇ = φ/|φ|            linear, the critic D/|φ|: slope 1
    penalty "gp"     φ̇ += -2λ(1-c/|φ|) φ            λ(|∇D|-c)²
    penalty "qp"     φ̇ += -uθ/(λ|θ|)                u²/(2λ|θ|)
    decay κ          φ̇ += -κφ

**Why some games end and others do not.** In the plane J = θ₁φ₂ - θ₂φ₁ obeys, for every kind but wgan,

    J̇ = -[2λ(1-c/|φ|) + κ] J            (first term: "gp" only)

so where it is conserved and not zero, (0, 0) cannot be reached; zero-centred "gp" and the decay make it fall. In one
dimension J = 0, which is why one dimension misleads. min-max and linear conserve r² = |θ|²+|φ|². non-saturating does
so only after linearization: d(r²/2)/dt = (1-2σ(u))u <= 0, down to the circle r² = 2|J|; in one dimension r² ~ 8/t.
wgan conserves |φ| and, with p, q the parts of θ along and across φ, (p²+q²)/2 - |φ|² ln|q|: closed orbits round the
circle |q| = |φ|. (A published script divides by |φ| in "qp"; the loss gives |θ|.)

Euler's step of this system is the simultaneous game, the semi-implicit one the alternating game, critic first.

Source:
    [su2019] Su Jianlin, https://kexue.fm/archives/6583 (2019).
    [mescheder2018] Mescheder, Geiger, Nowozin, "Which training methods for GANs do actually converge?" (1801.04406);
    their γ is 2λ.
    The invariants: derived here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import torch

from thetadot.core.failures import explained
from thetadot.core.signatures import checked
from thetadot.core.tensors import tensor_of
from thetadot.core.validation import require_numbers, require_word
from thetadot.errors import InadmissibleValue, require
from thetadot.systems.base import POSITION, TINY
from thetadot.systems.custom import Driven

if TYPE_CHECKING:
    from torch import Tensor

    from thetadot.core.annotations import State

Game = Literal["non-saturating", "min-max", "linear", "wgan"]
Penalty = Literal["gp", "qp"]

GAMES: tuple[Game, ...] = ("non-saturating", "min-max", "linear", "wgan")


@explained
@dataclass(frozen=True)
class DiracGAN(Driven):
    """Position: the generator's θ (paths, dim). Variable "critic": φ, of the same shape.

    Args:
        kind: "non-saturating", "min-max", "linear" or "wgan".
        penalty: "gp", "qp" or None; not for "wgan", whose critic's slope is 1 as it stands.
        weight: λ > 0 of the penalty.
        centre: c >= 0 of "gp", the slope that it asks for.
        decay: κ >= 0 in 1/time, of the critic's weights.

    Raises:
        InadmissibleValue: an unknown kind or penalty, one that does not belong to the other, a number out of range.

    Example:
        >>> import torch
        >>> game = DiracGAN("linear", penalty="gp", weight=0.1)
        >>> state = {"position": torch.tensor([[0.2, 0.1]]), "critic": torch.tensor([[1.0, 2.0]])}
        >>> game.drift("position", state), game.drift("critic", state)
        (tensor([[1., 2.]]), tensor([[-0.4000, -0.5000]]))
    """

    kind: Game = "non-saturating"
    penalty: Penalty | None = None
    weight: float = 0.1
    centre: float = 0.0
    decay: float = 0.0

    variables: ClassVar[tuple[str, ...]] = ("critic",)

    def __post_init__(self) -> None:
        require_word(GAMES, kind=self.kind)
        require_word(("gp", "qp", None), penalty=self.penalty)
        if self.kind == "wgan" and self.penalty is not None:
            raise InadmissibleValue(
                f"penalty={self.penalty!r} beside kind='wgan' has no effect on a critic whose slope is 1. "
                "Pass kind='linear', or penalty=None."
            )
        for name in ("weight", "centre", "decay"):
            if not isinstance(getattr(self, name), float):  # of floats the ranges say it
                require_numbers(**{name: getattr(self, name)})
        if self.centre != 0 and self.penalty != "gp":
            raise InadmissibleValue(
                f"centre={self.centre:g} belongs to penalty='gp', and penalty={self.penalty!r} came. "
                "Pass penalty='gp', or centre=0."
            )
        require(0 < self.weight < math.inf, f"weight={self.weight:g}", "is not positive and finite", "Pass weight > 0.")
        for name in ("centre", "decay"):
            value = getattr(self, name)
            require(0 <= value < math.inf, f"{name}={value:g}", "is negative or not finite", f"Pass {name} >= 0.")

    def drift(self, name: str, state: State) -> Tensor:
        """φ̇ for "critic", θ̇ for the position."""
        generator, critic = tensor_of(state, POSITION), tensor_of(state, "critic")
        product = (generator * critic).sum(-1, keepdim=True)
        if name == POSITION:
            return self._pull(product, critic)
        return self._push(product, generator, critic) - self._brake(product, generator, critic)

    def _pull(self, product: Tensor, critic: Tensor) -> Tensor:
        """θ̇: the generator moves its point to where the critic is higher."""
        match self.kind:
            case "non-saturating":
                return (-product).sigmoid() * critic
            case "min-max":
                return product.sigmoid() * critic
            case "wgan":
                return critic / _length(critic)
        return critic

    def _push(self, product: Tensor, generator: Tensor, critic: Tensor) -> Tensor:
        """The critic's own part of φ̇: it lowers the generator's point."""
        match self.kind:
            case "linear":
                return -generator
            case "wgan":
                length = _length(critic)
                return (product / (length * length) * critic - generator) / length
        return -product.sigmoid() * generator

    def _brake(self, product: Tensor, generator: Tensor, critic: Tensor) -> Tensor | float:
        """Return what penalty and decay subtract from φ̇."""
        brake: Tensor | float = 0.0
        if self.penalty == "gp":
            share = 1.0 if self.centre == 0 else 1.0 - self.centre / _length(critic)
            brake = 2.0 * self.weight * share * critic
        elif self.penalty == "qp":
            brake = product / (self.weight * _length(generator)) * generator
        return brake if self.decay == 0 else brake + self.decay * critic

    @staticmethod
    @checked
    def angular(generator: Tensor, critic: Tensor) -> Tensor:
        """J = θ₁φ₂ - θ₂φ₁ in the plane, 0 on the line: (...).

        Raises:
            InadmissibleValue: three dimensions or more, where there is one J for every plane.
        """
        match generator.shape[-1]:
            case 1:
                return 0.0 * (generator * critic).sum(-1)
            case 2:
                return generator[..., 0] * critic[..., 1] - generator[..., 1] * critic[..., 0]
        raise InadmissibleValue(f"dim={generator.shape[-1]} has an angular momentum in every plane. Pass 1 or 2.")

    @staticmethod
    @checked
    def radius_square(generator: Tensor, critic: Tensor) -> Tensor:
        """Return the squared radius r² = |θ|² + |φ|²: (...)."""
        return (generator * generator + critic * critic).sum(-1)

    @staticmethod
    @checked
    def orbit(generator: Tensor, critic: Tensor) -> Tensor:
        """(p²+q²)/2 - |φ|² ln|q|, which "wgan" conserves: (...). Infinite where θ lies along φ, as on the line."""
        square = (critic * critic).sum(-1)
        along = (generator * critic).sum(-1)
        across = ((generator * generator).sum(-1) - along * along / square).clamp_min(0.0)
        return 0.5 * (generator * generator).sum(-1) - 0.5 * square * across.log()


def _length(x: Tensor) -> Tensor:
    """|x|, (..., 1); a little above 0 at 0, so that 0/0 is 0."""
    length: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return length + TINY
