r"""Runge-Kutta methods that choose each path's step from its error estimate.

    e = rms( γ Σ (b_i - b̂_i) k_i / (atol + rtol max(|x|, |x'|)) ),    accepted where e <= 1

The embedded result b̂ of a tableau gives the error; a controller the next step. Paths do not wait for each other's
tolerances: steps, acceptance and errors are (paths, 1), so that a stiff path slows no other. Times that are
asked for are met exactly, by shortening a step; the length that was meant is remembered. How it is done stands in
:mod:`thetadot.integrators.controlling`, and, compiled, in :mod:`thetadot.fusion.controlled`.

Where the tableau hands its last slope over, that slope is the next step's first: Dormand-Prince costs six evaluations
a step, accepted or not. The error per step, not per unit of time, is held; global errors go roughly with rtol.

Source:
    Dormand, Prince (1980); Hairer, Norsett, Wanner, "Solving Ordinary Differential Equations I" (1993), II.4.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from thetadot.core.failures import explained
from thetadot.core.validation import require_instances, require_numbers, require_whole
from thetadot.errors import IncompatiblePair, require
from thetadot.integrators.base import name_of, require_noiseless
from thetadot.integrators.controller import Controller
from thetadot.integrators.tableaus import BOGACKI_SHAMPINE, DORMAND_PRINCE, Tableau
from thetadot.systems.base import PerStep

if TYPE_CHECKING:
    from thetadot.core.annotations import Scalar
    from thetadot.systems.base import System


@explained
@dataclass(frozen=True)
class Embedded:
    """Base of methods with an embedded error estimate.

    Args:
        rtol: relative tolerance >= 0 of a step.
        atol: absolute tolerance > 0 of a step, in the position's units; also of every further variable.
        controller: of the step.
        first_step: > 0, or None to find one for each path, at the cost of one evaluation.
        most_steps: bound of the steps tried by a path, from start to end. None: as many as it takes, unless by its pace
            a path would never arrive (:mod:`thetadot.integrators.pace`).

    Raises:
        InadmissibleValue: a number out of range.
    """

    rtol: float = 1e-6
    atol: float = 1e-9
    controller: Controller = field(default_factory=Controller)
    first_step: float | None = None
    most_steps: int | None = None

    tableau: ClassVar[Tableau]
    carried: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        infinity = float("inf")
        require_numbers(rtol=self.rtol, atol=self.atol)
        require_instances(Controller, controller=self.controller)
        require(0 <= self.rtol < infinity, f"rtol={self.rtol:g}", "is negative or not finite", "Pass rtol >= 0.")
        require(0 < self.atol < infinity, f"atol={self.atol:g}", "is not positive", "Pass atol > 0, such as 1e-9.")
        if self.first_step is not None:
            require_numbers(first_step=self.first_step)
            said = f"first_step={self.first_step:g}"
            require(0 < self.first_step < infinity, said, "is not positive", "Pass first_step > 0, or None.")
        if self.most_steps is not None:
            require_whole(most_steps=self.most_steps)
            said = f"most_steps={self.most_steps}"
            require(self.most_steps >= 1, said, "allows no step", "Pass most_steps >= 1, or None for what it takes.")

    @property
    def order(self) -> int:
        """Order of the tableau."""
        return self.tableau.order

    @property
    def local_order(self) -> int:
        """The power of the step that the error estimate is."""
        return min(self.tableau.order, self.tableau.embedded_order) + 1

    def prepare(self, system: System, step: Scalar) -> NoReturn:  # noqa: ARG002 - it takes none
        """Refuse a step: the method finds its own."""
        raise IncompatiblePair(
            f"{name_of(self)} chooses the steps of {name_of(system)} itself and takes none. "
            f"Use RungeKutta({self.tableau}) for steps of one length, or simulate() for its own."
        )


@explained
@dataclass(frozen=True)
class DormandPrince(Embedded):
    """Order 5, error estimate of order 4: six evaluations a step.

    Example:
        >>> import torch
        >>> from thetadot.integrators import controlled
        >>> from thetadot.systems import ODE
        >>> one = {"position": torch.ones(1, 1, dtype=torch.float64)}
        >>> run = controlled(DormandPrince(rtol=1e-9), ODE(lambda x: -x), None, one, 0.0, [1.0])
        >>> abs(float(run.states[0]["position"]) - 0.36787944117144233) < 1e-9
        True
    """

    tableau: ClassVar[Tableau] = DORMAND_PRINCE


@explained
@dataclass(frozen=True)
class BogackiShampine(Embedded):
    """Order 3, error estimate of order 2: three evaluations a step; for tolerances above 1e-3."""

    rtol: float = 1e-3
    atol: float = 1e-6

    tableau: ClassVar[Tableau] = BOGACKI_SHAMPINE


def require_timed(integrator: Embedded, system: System) -> None:
    """Raise IncompatiblePair where noise acts on the system, or it counts by steps or by measured numbers."""
    require_noiseless(integrator, system)
    fields: tuple[Any, ...] = dataclasses.fields(system) if dataclasses.is_dataclass(system) else ()
    names: list[str] = [each.name for each in fields]
    counted = [name for name in names if isinstance(getattr(system, name), PerStep)]
    counted += [name.replace("_", " ") for name in system.measures]
    if counted:
        raise IncompatiblePair(
            f"{name_of(integrator)} takes steps of any length, and {name_of(system)} has {', '.join(counted)}, counted "
            "by steps. Use rates in 1/time, or RungeKutta with steps of one length."
        )
