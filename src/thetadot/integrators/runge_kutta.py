r"""Explicit Runge-Kutta methods, for every system without noise.

    k_i = γ f(x + Σ_{j<i} a_ij k_j),    x' = x + Σ b_i k_i

A stage's gradient is taken at the state's position, so between stages the state stands at the next stage's place, which
is reached from the present one (by a_{i+1,j} - a_ij of each slope); the slopes are carried along under names of their
own ("slope0_position"). All of the system's variables are stepped alike. A step may be a tensor that broadcasts, such
as (paths, 1): every path then has its own.

Order p of the tableau. On gradient flow of curvature h stable for γh < 2 (orders 1, 2), 2.513 (3), 2.785 (4 stages of
order 4); on the frictionless oscillator of frequency ω the limit of RK4 is γω = 2√2, and Heun has none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from thetadot.core.failures import explained
from thetadot.core.validation import require_instances
from thetadot.integrators.base import Direct, require_noiseless
from thetadot.integrators.tableaus import RK4, Tableau
from thetadot.systems.base import POSITION

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from thetadot.core.annotations import Draw, Scalar, State
    from thetadot.systems.base import System

    Pair = tuple[System, Scalar]


def moving(system: System) -> tuple[str, ...]:
    """Names of all that moves."""
    return (POSITION, *system.variables)


def slopes(system: System, state: State, gradient: Tensor, step: Scalar) -> State:
    """Return every variable's drift times ``step``."""
    return {name: system.increment(name, state, gradient, step) for name in moving(system)}


def slope_and_noise(system: System) -> tuple[str, ...]:
    """Return the names that a two-stage rule hands on: slopes, and noise where it acts."""
    shaking = [name for name in moving(system) if system.amplitude(name, 1.0) is not None]
    return (*(_slope_name(0, name) for name in moving(system)), *(f"noise_{name}" for name in shaking))


def combined(start: State, along: Sequence[State], coefficients: Sequence[Scalar]) -> State:
    """Start + Σ coefficient · slope, of every variable that the slopes have; terms of coefficient 0 are left out.

    Example:
        >>> combined({"position": 1.0}, [{"position": 2.0}, {"position": 4.0}], [0.5, 0.25])
        {'position': 3.0}
    """
    new = dict(start)
    for slope, coefficient in zip(along, coefficients, strict=True):
        if isinstance(coefficient, (float, int)) and coefficient == 0:
            continue
        for name, value in slope.items():
            new[name] = new[name] + coefficient * value
    return new


@explained
@dataclass(frozen=True)
class RungeKutta(Direct):
    """The method of a tableau.

    Args:
        tableau: one of :mod:`thetadot.integrators.tableaus`, or one's own.

    Example:
        >>> import torch
        >>> from thetadot.systems import GradientFlow
        >>> rule, state = RungeKutta(RK4), {"position": torch.ones(1, dtype=torch.float64)}
        >>> scales = rule.prepare(GradientFlow(), step=0.5)
        >>> for stage in range(rule.stages):  # L = θ²/2
        ...     state = rule.advance(scales, state, state["position"], None, stage)
        >>> state["position"].item() * 384  # 1 - 1/2 + 1/8 - 1/48 + 1/384
        233.0
    """

    tableau: Tableau = RK4

    def __post_init__(self) -> None:
        require_instances(Tableau, tableau=self.tableau)

    @property
    def order(self) -> int:
        """Order of the tableau."""
        return self.tableau.order

    @property
    def stages(self) -> int:
        """Number of gradients per step."""
        return self.tableau.stages

    def prepare(self, system: System, step: Scalar) -> Pair:
        """Return the system and the step, after checking that there is no noise."""
        return require_noiseless(self, system), step

    def between(self, system: System) -> tuple[str, ...]:
        """Return the names of the variables that the state carries between stages."""
        return tuple(_slope_name(index, name) for index in range(self.stages - 1) for name in moving(system))

    def advance(self, scales: Pair, state: State, gradient: Tensor, draw: Draw, stage: int = 0) -> State:  # noqa: ARG002
        """Advance one stage, to the place of the next, or from the last to the end of the step."""
        system, step = scales
        names = moving(system)
        along = [{name: state[_slope_name(index, name)] for name in names} for index in range(stage)]
        along.append(slopes(system, state, gradient, step))
        new = combined({name: state[name] for name in names}, along, self.tableau.moves[stage])
        if stage == self.stages - 1:
            return new
        return new | {
            _slope_name(index, name): value for index, kept in enumerate(along) for name, value in kept.items()
        }


def _slope_name(index: int, name: str) -> str:
    return f"slope{index}_{name}"
