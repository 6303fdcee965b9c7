"""Systems: the variables that move beside the position, and their rates.

A system knows nothing of steps taken, data or torch.optim; an integrator knows nothing of which system it steps.
They meet in :meth:`System.increment`, the change of one variable over one step at the present rates, and in
:meth:`System.amplitude`, the standard deviation of the noise over that step.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, cast, runtime_checkable

import torch
from torch import Tensor

from thetadot.core.failures import explained
from thetadot.core.tensors import sqrt
from thetadot.core.validation import require_numbers
from thetadot.errors import InadmissibleValue, require

if TYPE_CHECKING:
    from collections.abc import Callable

    from thetadot.core.annotations import Scalar, State

POSITION = "position"

TINY = 1e-22
"""Added to norms that are divided by: 0/0 is then 0, and where float32 squares vanish nothing flies off."""


@explained
@dataclass(frozen=True)
class PerStep:
    """A rate counted per step instead of per unit of time: λγ instead of λ.

    An optimizer whose lr is 0 stands still in time at an unchanged momentum: its friction is infinite, its damping
    per step is not.
    """

    value: Scalar


Rate = float | PerStep
"""A rate in 1/time, or per step."""

Calculus = Literal["ito", "stratonovich"]
"""What a noise that depends on the state means."""

NoiseKind = Literal["additive", "diagonal", "general"]
"""It does not depend on the state; that of x_i depends on x_i; a matrix of the state mixes several sources."""


_NO_NUMBERS = (str, bytes, type, list, tuple, complex)  # though some can be multiplied


def admissible(name: str, rate: Rate | Tensor) -> None:
    """Raise InadmissibleValue where a number is negative or not finite; reading tensors would stall a device.

    An infinite rate per step is admissible: it forgets everything at once.
    """
    value = rate.value if isinstance(rate, PerStep) else rate
    if type(value) is float and 0 <= value < math.inf:
        return  # as at every step of a schedule
    if isinstance(value, int):
        require_numbers(**{name: value})
    if isinstance(value, (float, int)):
        finite = value < math.inf or isinstance(rate, PerStep)
        require(value >= 0 and finite, f"{name}={value:g}", "is negative or not finite", f"Pass {name} >= 0.")
    elif isinstance(value, Tensor) and value.device.type == "cpu" and not _is_nonnegative(value):
        raise InadmissibleValue(f"{name} of shape {tuple(value.shape)} is negative or not finite. Pass {name} >= 0.")
    elif not isinstance(value, Tensor) and (isinstance(value, _NO_NUMBERS) or not hasattr(type(value), "__mul__")):
        raise InadmissibleValue(f"{name}={value!r} is not a number. Pass {name} >= 0.")


def _is_nonnegative(value: Tensor) -> bool:
    """Whether no element is negative or NaN; what is being traced, compiled or mapped has no value to be asked."""
    if torch.compiler.is_compiling():
        return True
    try:
        return bool((value >= 0).all())
    except RuntimeError:
        return True


def over(rate: Rate | Tensor, step: Scalar) -> Scalar:
    """Return rate times step.

    Example:
        >>> over(3.0, 0.5), over(PerStep(3.0), 0.5)
        (1.5, 3.0)
    """
    return rate.value if isinstance(rate, PerStep) else rate * step


def heat(temperature: Scalar, clock: Scalar) -> Scalar | None:
    """√(2T·clock); None at the number 0, where nothing needs to be drawn.

    Example:
        >>> heat(2.0, 0.25), heat(0.0, 0.25)
        (1.0, None)
    """
    if isinstance(temperature, (float, int)) and temperature == 0:
        return None
    return sqrt(2.0 * temperature * clock)


def noisy(system: System) -> bool:
    """Whether noise acts on any variable."""
    return any(system.amplitude(name, 1.0) is not None for name in (POSITION, *system.variables))


def shaken(
    system: System, name: str, state: State, amplitude: Scalar | None, noise: Callable[[], Tensor]
) -> Tensor | None:
    """The noise on variable ``name`` over a step of this amplitude, None where none acts.

    Args:
        system: what moves.
        name: of the variable.
        state: where the noise is taken, if it depends on the state.
        amplitude: ``system.amplitude(name, step)``.
        noise: gives a standard normal tensor, one component a source; called only where noise acts.
    """
    if amplitude is None:
        return None
    if not hasattr(system, "diffusion"):  # as isinstance(system, Multiplicative), which takes longer than a small step
        return amplitude * noise()
    kick = noise()
    factor = cast("Multiplicative", system).diffusion(name, state)
    if isinstance(factor, float | int):
        return (factor * amplitude) * kick
    kick = amplitude * kick
    if sources(system) is None:
        return factor * kick
    return (factor * kick.unsqueeze(-2)).sum(-1)


def sources(system: System) -> int | None:
    """Return the number of Brownian motions mixed; None where every element has its own (diagonal noise)."""
    return getattr(system, "sources", None)


def noise_kind(system: System) -> NoiseKind:
    """Classify a system's noise, on which a rule's convergence depends.

    Example:
        >>> from thetadot.systems import SDE, Langevin
        >>> noise_kind(Langevin(1.0)), noise_kind(SDE(lambda x: -x, lambda x: x))
        ('additive', 'diagonal')
    """
    if not hasattr(system, "diffusion") or getattr(system, "additive", False):
        return "additive"
    return "diagonal" if sources(system) is None else "general"


@runtime_checkable
class System(Protocol):
    """An equation of motion.

    Attributes:
        variables: names of the variables beside ``position``, in the order in which a sequential step updates them.
            Those in ``scalars`` are numbers, all others tensors of the position's shape.
        measures: numbers that must be known of the whole before one tensor can move, found in the state under these
            names: "gradient_square", Σ|∇L|² over all tensors that move together; "tensor_square", the mean of ∇L² over
            this tensor; "loss", L. They are given, not kept.
    """

    @property
    def variables(self) -> tuple[str, ...]:
        """Names beside the position."""

    @property
    def scalars(self) -> tuple[str, ...]:
        """Names of the variables that are numbers."""

    @property
    def measures(self) -> tuple[str, ...]:
        """Numbers to be measured first."""

    def increment(self, name: str, state: State, gradient: Tensor, step: Scalar) -> Tensor | Scalar:
        """Drift of variable ``name`` times ``step``."""

    def amplitude(self, name: str, step: Scalar) -> Scalar | None:
        """Standard deviation of the noise on variable ``name`` over ``step``; None where none acts."""


@runtime_checkable
class Multiplicative(System, Protocol):
    """A system whose noise depends on where it is: the amplitude of a variable's noise is multiplied by g(x).

    A system that has ``sources``, a number m, mixes m Brownian motions: g is a matrix (..., dim, m). One that is
    ``additive`` has a g that does not depend on x.

    Attributes:
        calculus: what g(x) dW means: "ito" (g taken at the start of a step) or "stratonovich" (at its middle).
    """

    @property
    def calculus(self) -> Calculus:
        """Interpretation of the noise: Itô or Stratonovich."""

    def diffusion(self, name: str, state: State) -> Tensor | float:
        """G of variable ``name``: one factor an element (diagonal noise), or a matrix (..., dim, sources)."""


@runtime_checkable
class Beginning(System, Protocol):
    """A system whose variables do not all begin at zero."""

    def begin(self, name: str, position: Tensor) -> Tensor | float:
        """Return the initial value of variable ``name`` at ``position``; a tensor of shape () for a number."""


@runtime_checkable
class Mechanical(System, Protocol):
    """A system of unit mass: θ̇ = η, η̇ = -λη - ∇L(θ) + √(2λT) ξ."""

    @property
    def friction(self) -> Rate:
        """λ >= 0, in 1/time or per step."""

    @property
    def temperature(self) -> Scalar:
        """T >= 0, in units of the loss."""
