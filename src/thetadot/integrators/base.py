"""Integrators: rules that advance a state by one step, as pure functions of tensors.

``prepare`` reduces a system and a step to scalars, once per parameter group; ``advance`` is the rule, run on one
tensor, by an optimizer on p.grad, by the analysis on a quadratic, by a simulation on an ensemble. It exists nowhere
else.

A step may be cut into stages: each begins with the gradient at the state's present position, so that a rule of one
stage needs no closure in an optimizer. What a rule carries from stage to stage, and drops at the end of the step, lies
in the state too; ``between(system)`` names it ("slope0_position": a label without "_", then the variable).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Protocol, cast, runtime_checkable

import torch

from thetadot.core.failures import answering, explained
from thetadot.core.tensors import accumulation_dtype, tensor_of
from thetadot.errors import IncompatiblePair
from thetadot.systems.base import POSITION, Beginning, System, noise_kind, noisy, shaken

if TYPE_CHECKING:
    from torch import Tensor

    from thetadot.core.annotations import Draw, Force, Scalar, State
    from thetadot.systems.base import Calculus, Mechanical


Evaluation = Literal["position", "midpoint"]


class NoiseOrder(NamedTuple):
    """Orders of convergence under noise, in powers of the step.

    Attributes:
        strong: of paths: E|x_N - x(T)| on one Brownian path.
        weak: of expectations: |E h(x_N) - E h(x(T))|.
    """

    strong: float
    weak: int


@runtime_checkable
class Integrator(Protocol):
    """A rule for one step.

    Attributes:
        order: global order in the step for the deterministic part, from a suitable start; measured by the tests.
        stages: gradients a step needs.
        evaluation: where a stage's gradient is taken: at the state's position, or at the midpoint of the step that it
            itself causes (implicit).
        carried: names of numbers that the rule itself carries from step to step.
    """

    @property
    def order(self) -> int:
        """Global order of convergence."""

    @property
    def stages(self) -> int:
        """Number of gradients per step."""

    @property
    def evaluation(self) -> Evaluation:
        """Point at which gradients are taken."""

    @property
    def carried(self) -> tuple[str, ...]:
        """The rule's own numbers."""

    def prepare(self, system: System, step: Scalar) -> Any:
        """Scalars of one step. Raises IncompatiblePair where the integrator cannot step the system."""

    def advance(self, scales: Any, state: State, gradient: Tensor, draw: Draw, stage: int = 0) -> State:
        """The state after one stage; the state given is left as it is."""

    def position(self, scales: Any, state: State) -> Tensor:
        """Return θ, given a position that is shifted to where the gradient is taken."""

    def open(self, system: System, step: Scalar, state: State, gradient: Force, draw: Draw) -> tuple[State, int]:
        """Carry variables at one time to the rule's own, and count the steps that took (0 or 1)."""

    def shown(self, scales: Any, state: State) -> Tensor:
        """θ a whole number of steps after the time that ``open`` began at."""


@explained
class Direct:
    """Base of rules that take the gradient at θ and carry no numbers of their own.

    Attributes:
        additive_order: under noise that does not depend on the state; None where the rule draws none.
        diagonal_order: where the noise of x_i depends on x_i, in the calculus that the rule is for; None where refused.
        general_order: where a matrix that depends on x mixes several sources; None where refused.
        calculus: in whose sense it reads a noise that depends on the state.
    """

    additive_order: ClassVar[NoiseOrder | None] = None
    diagonal_order: ClassVar[NoiseOrder | None] = None
    general_order: ClassVar[NoiseOrder | None] = None
    calculus: ClassVar[Calculus | None] = None
    evaluation: ClassVar[Evaluation] = "position"
    carried: ClassVar[tuple[str, ...]] = ()

    def position(self, scales: object, state: State) -> Tensor:  # noqa: ARG002
        """Return θ, where the gradient is taken."""
        return tensor_of(state, POSITION)

    def open(self, system: System, step: Scalar, state: State, gradient: Force, draw: Draw) -> tuple[State, int]:  # noqa: ARG002
        """Return the state unchanged: nothing is staggered."""
        return state, 0

    def shown(self, scales: object, state: State) -> Tensor:
        """Return θ as it is to be shown."""
        return self.position(scales, state)


@runtime_checkable
class MechanicalIntegrator(Integrator, Protocol):
    """An integrator of mechanical systems; it owns its map between (γ, λ) and (α, β)."""

    def momentum(self, damping: Scalar) -> Scalar:
        """Return the momentum β of a damping λγ."""

    def damping(self, momentum: Scalar) -> Scalar:
        """Return the damping λγ of a momentum β."""

    def gain(self, momentum: Scalar) -> Scalar:
        """α/γ²: displacement per step and γ²∇L that a force causes from rest."""

    def drift(self, scales: Any) -> Scalar:
        """Displacement of one step per unit of stored velocity, no force acting."""

    def at_rest(self, scales: Any, gradient: Tensor) -> Tensor:
        """The stored velocity half a step before a start at rest."""


def name_of(concept: object) -> str:
    """Return the name of a class for an error message."""
    return type(concept).__name__


def require_mechanical(integrator: object, system: System) -> Mechanical:
    """The system, if it has a velocity and a friction."""
    # as isinstance(system, Mechanical), which dynamo cannot follow and which takes longer than a small step
    if not (hasattr(system, "friction") and hasattr(system, "temperature")):
        raise IncompatiblePair(
            f"{name_of(integrator)} steps a velocity against friction, and {name_of(system)} has none. "
            "Use DampedNewton or Kramers, or step this system with Euler or EulerMaruyama."
        )
    return cast("Mechanical", system)


def shaken_by(system: System, name: str, state: State, amplitude: Scalar, noise: Tensor) -> Tensor:
    """Return the kick that standard normal ``noise`` gives variable ``name`` at this amplitude."""
    return cast("Tensor", shaken(system, name, state, amplitude, lambda: noise))


def require_noiseless(integrator: object, system: System) -> System:
    """Return the system if no noise acts on its variables; refuse otherwise."""
    if noisy(system):
        raise IncompatiblePair(
            f"{name_of(integrator)} draws no noise, and {name_of(system)} has a temperature. "
            "Use EulerMaruyama, Leapfrog or a splitting word such as Splitting('BAOAB'), or a system without "
            "temperature."
            if hasattr(system, "temperature")
            else f"{name_of(integrator)} draws no noise, and {name_of(system)} has some. Use EulerMaruyama, Heun or "
            "Milstein, or a system without noise."
        )
    return system


_ACTS = {
    "additive": "does not depend on the state",
    "diagonal": "depends on the state",
    "general": "mixes several sources by a matrix of the state",
}


def require_noise(integrator: Direct, system: System) -> System:
    """The system, if the rule has an order under its kind of noise, and reads it in the system's calculus."""
    kind = noise_kind(system)
    if getattr(integrator, f"{kind}_order") is None:
        widest = "diagonal" if integrator.diagonal_order else "additive"
        others = "EulerMaruyama, Milstein or Heun" if kind == "diagonal" else "EulerMaruyama or Heun"
        raise IncompatiblePair(
            f"{name_of(integrator)} is for {widest} noise, and the noise of this {name_of(system)} {_ACTS[kind]}. "
            f"Use {others}."
        )
    own = getattr(system, "calculus", None)
    if kind != "additive" and own != integrator.calculus:
        raise IncompatiblePair(
            f"{name_of(integrator)} converges to the {integrator.calculus} solution, and this {name_of(system)} is "
            f"meant in the sense of {own}. Use {'EulerMaruyama or Milstein' if own == 'ito' else 'Heun'}, or give it "
            f"with the drift that belongs to {integrator.calculus}, as in_{integrator.calculus}() of an SDE does."
        )
    return system


@answering
def initial_state(system: System, integrator: Integrator, position: Tensor) -> State:
    """Return every variable at ``position``, zero or as the system begins.

    Sums over steps are kept in float32 beside narrower positions.
    """
    state: State = {POSITION: position}
    beginning = bool(system.variables) and isinstance(system, Beginning)
    for name in system.variables:
        if beginning:
            state[name] = cast("Beginning", system).begin(name, position)
        elif name in system.scalars:
            state[name] = 0.0
        else:
            state[name] = torch.zeros_like(position, dtype=accumulation_dtype(position))
    return state | dict.fromkeys(integrator.carried, 0.0)
