r"""Leapfrog: position on the step, velocity half-way between, damping centred (the Cayley map).

    η_{n+1/2} = β η_{n-1/2} - (γ(1+β)/2) ∇L(θ_n),    θ_{n+1} = θ_n + γ η_{n+1/2}
    β = (1-λγ/2)/(1+λγ/2)                                                                   [su2018, eqs. 13-16]

With v = γη and α = γ²(1+β)/2 this is heavy-ball momentum, v' = βv - α∇L, θ' = θ + v'. Written so, nothing divides
by γ, and lr = 0 works.

Second order in γ if the velocity starts half a step early (``at_rest``: γ∇L/2); from zero, as is usual, first order.
On curvature h stable for γ√h < 2 whatever λ, that is αh < 2(1+β). With noise Var θ = T/(h(1-γ²h/4)).

Source:
    [su2018] Su Jianlin, https://kexue.fm/archives/5655 (2018).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

from thetadot.core.cayley import cayley, damping
from thetadot.core.failures import explained
from thetadot.core.tensors import sqrt, tensor_of
from thetadot.errors import InadmissibleValue
from thetadot.integrators.base import Direct, NoiseOrder, require_mechanical
from thetadot.systems.base import POSITION, System, over

if TYPE_CHECKING:
    from torch import Tensor

    from thetadot.core.annotations import Draw, Force, Scalar, State

Convention = Literal["physical", "displacement", "torch"]
CONVENTIONS: tuple[Convention, ...] = ("physical", "displacement", "torch")


class KickDrift(NamedTuple):
    """Scalars of s' = retain·s - kick·∇L + thermal·ξ, θ' = θ + drift·s', for a stored velocity s."""

    retain: Scalar
    kick: Scalar
    drift: Scalar
    rest: Scalar
    thermal: Scalar | None


def prepare_kick(integrator: object, system: System, step: Scalar, convention: Convention) -> KickDrift:
    """Scalars of the stored velocity: η ("physical"), v = γη ("displacement") or buf = -v/α ("torch").

    The stored quantity is the one that stays when hyperparameters change.
    """
    mechanical = require_mechanical(integrator, system)
    beta = cayley(over(mechanical.friction, step))
    half = (1.0 + beta) / 2.0
    noisy = mechanical.amplitude("velocity", step) is not None
    if noisy and convention != "physical":
        raise InadmissibleValue(
            f"convention={convention!r} has no thermal law: the physical velocity has. "
            "Pass convention='physical' or temperature 0."
        )
    match convention:
        case "physical":
            thermal = sqrt(mechanical.temperature * (1.0 - beta * beta)) if noisy else None
            return KickDrift(beta, step * half, step, step / 2.0, thermal)
        case "displacement":
            return KickDrift(beta, step * step * half, 1.0, step * step / 2.0, None)
        case "torch":
            return KickDrift(beta, -1.0, -step * step * half, -0.5 / half, None)
    raise InadmissibleValue(f"convention={convention!r} is unknown. Pass one of {', '.join(map(repr, CONVENTIONS))}.")


def kick(scales: KickDrift, velocity: Tensor, gradient: Tensor, draw: Draw) -> Tensor:
    """The one place where momentum is stepped: s' = retain·s - kick·∇L + thermal·ξ."""
    kicked = scales.retain * velocity - scales.kick * gradient
    return kicked if scales.thermal is None else kicked + scales.thermal * draw()


@explained
@dataclass(frozen=True)
class CayleyMap(Direct):
    """Base of integrators with a kick: the Cayley map and the stored variables.

    Args:
        convention: the quantity stored, and so held fixed when hyperparameters change.
    """

    convention: Convention = "physical"

    stages: ClassVar[int] = 1
    additive_order: ClassVar[NoiseOrder | None] = NoiseOrder(strong=1.0, weak=1)

    def momentum(self, damping: Scalar) -> Scalar:
        """Return the momentum β = (1-λγ/2)/(1+λγ/2)."""
        return cayley(damping)

    def damping(self, momentum: Scalar) -> Scalar:
        """Return the damping λγ = 2(1-β)/(1+β)."""
        return damping(momentum)

    def gain(self, momentum: Scalar) -> Scalar:
        """Return the gain α/γ² = (1+β)/2."""
        return (1.0 + momentum) / 2.0

    def prepare(self, system: System, step: Scalar) -> KickDrift:
        """Scalars of the kick."""
        return prepare_kick(self, system, step, self.convention)

    def drift(self, scales: KickDrift) -> Scalar:
        """γ, 1 or -α, by convention."""
        return scales.drift

    def settled(self, scales: KickDrift) -> State:  # noqa: ARG002
        """Numbers that are carried after a step of these settings."""
        return {}

    def at_rest(self, scales: KickDrift, gradient: Tensor) -> Tensor:
        """Return the staggered velocity η = γ∇L/2 of a state at rest."""
        return scales.rest * gradient

    def open(self, system: System, step: Scalar, state: State, gradient: Force, draw: Draw) -> tuple[State, int]:  # noqa: ARG002
        """The velocity half a step early: η_{-1/2} = 2η/(1+β) + γ∇L/2, so that (η_{-1/2} + η_{1/2})/2 is η."""
        velocity = tensor_of(state, "velocity")
        if self.convention != "physical" and bool(velocity.any()):
            raise InadmissibleValue(
                f"convention={self.convention!r} keeps no physical velocity to begin with. Pass convention='physical'."
            )
        scales = self.prepare(system, step)
        early = 2.0 / (1.0 + scales.retain) * velocity
        return {**state, "velocity": early + self.at_rest(scales, gradient(tensor_of(state, POSITION)))}, 0


@explained
@dataclass(frozen=True)
class Leapfrog(CayleyMap):
    """Leapfrog: η' = βη - (γ(1+β)/2)∇L, θ' = θ + γη' (heavy ball).

    Example:
        >>> import torch
        >>> from thetadot.systems import DampedNewton
        >>> scales = Leapfrog().prepare(DampedNewton(friction=2.0), step=1.0)  # β = 0, α = 1/2
        >>> state = {"position": torch.ones(1), "velocity": torch.ones(1)}
        >>> Leapfrog().advance(scales, state, torch.tensor([0.5]), draw=None)["position"]
        tensor([0.7500])
    """

    order: ClassVar[int] = 2
    additive_order: ClassVar[NoiseOrder | None] = NoiseOrder(strong=1.0, weak=2)

    def advance(self, scales: KickDrift, state: State, gradient: Tensor, draw: Draw, stage: int = 0) -> State:  # noqa: ARG002
        """Advance the state by one step."""
        velocity = kick(scales, tensor_of(state, "velocity"), gradient, draw)
        return {POSITION: state[POSITION] + scales.drift * velocity, "velocity": velocity}
