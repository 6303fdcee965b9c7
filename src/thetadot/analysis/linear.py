r"""The matrix of a step: what an integrator's own rule does to a quadratic loss L = hθ²/2.

    x_{n+1} = A x_n + b ζ_n + C ξ_n,    x = (position, further tensor variables)

A is found by running the rule on unit vectors, b by a unit of extra gradient (minibatch noise ζ), each column of C
by one unit draw (thermal noise ξ). Nothing is transcribed, so what holds for the matrix holds for the optimizer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from thetadot.core.tensors import tensor_of
from thetadot.core.validation import require_finite, require_instances, require_numbers
from thetadot.errors import IncompatiblePair, require
from thetadot.integrators.base import Integrator, initial_state, name_of
from thetadot.systems.base import POSITION, System

if TYPE_CHECKING:
    from torch import Tensor

    from thetadot.core.annotations import State


@dataclass(frozen=True)
class LinearStep:
    """A, b, C of one step, float64; k variables, m draws.

    Attributes:
        matrix: A, (k, k).
        gradient_noise: b, (k,).
        thermal_noise: C, (k, m).
        shown: makes of a state the position between steps that ``simulate`` shows, (k,); None where a word loses it.
        names: the k variables' names.
    """

    matrix: Tensor
    gradient_noise: Tensor
    thermal_noise: Tensor
    shown: Tensor | None
    names: tuple[str, ...]

    def spectral_radius(self) -> float:
        """Largest |eigenvalue| of A; the step is stable where it is below 1."""
        return float(torch.linalg.eigvals(self.matrix).abs().max())

    def stationary_covariance(self, gradient_variance: float = 0.0) -> Tensor:
        """P = A P Aᵀ + s² b bᵀ + C Cᵀ, (k, k), solved directly.

        Args:
            gradient_variance: s² >= 0, variance of the gradient's noise per step.
        """
        size = len(self.names)
        noise = gradient_variance * torch.outer(self.gradient_noise, self.gradient_noise)
        noise = noise + self.thermal_noise @ self.thermal_noise.T
        operator = torch.eye(size * size, dtype=torch.float64) - torch.kron(self.matrix, self.matrix)
        covariance: Tensor = torch.linalg.solve(operator, noise.reshape(-1)).reshape(size, size)
        return covariance


class _UnitDraw:
    """Noise that is 1 at one draw of the step and 0 at all others."""

    def __init__(self, like: Tensor, unit: int | None) -> None:
        self.like, self.unit, self.drawn = like, unit, 0

    def __call__(self) -> Tensor:
        self.drawn += 1
        return torch.full_like(self.like, float(self.drawn - 1 == self.unit))


class _Probe:
    """Runs one step of the rule on a batch of states of the quadratic."""

    def __init__(self, system: System, integrator: Integrator, step: float, curvature: float) -> None:
        self.integrator = integrator
        self.scales = integrator.prepare(system, step)
        self.curvature = curvature
        self.names = (POSITION, *(name for name in system.variables if name not in system.scalars))
        blank = initial_state(system, integrator, torch.zeros(1, dtype=torch.float64))
        after = self._stages(blank, 0.0, None)[0]
        # one step settles the numbers that a rule carries, such as a look-ahead's shift
        self.numbers = {name: value for name, value in after.items() if name not in self.names}

    def __call__(self, columns: Tensor, extra: float = 0.0, draw: int | None = None) -> Tensor:
        """States (k, n) -> states (k, n)."""
        after, _ = self._stages(self._state(columns), extra, draw)
        return torch.stack([tensor_of(after, name) for name in self.names])

    def count_draws(self) -> int:
        """Normal numbers a step takes."""
        zeros = torch.zeros(len(self.names), 1, dtype=torch.float64)
        return self._stages(self._state(zeros), 0.0, None)[1].drawn

    def shown(self, system: System, step: float) -> Tensor | None:
        """The row that makes the position between steps of a state."""
        rest = torch.zeros(1, dtype=torch.float64)
        try:  # what can be shown is what can be begun
            begun = {**initial_state(system, self.integrator, rest), **self.numbers}
            self.integrator.open(system, step, begun, torch.zeros_like, _UnitDraw(rest, None))
        except IncompatiblePair:
            return None
        return self.integrator.shown(self.scales, self._state(torch.eye(len(self.names), dtype=torch.float64)))

    def _state(self, columns: Tensor) -> State:
        return {**dict(zip(self.names, columns, strict=True)), **self.numbers}

    def _stages(self, state: State, extra: float, unit: int | None) -> tuple[State, _UnitDraw]:
        draw = _UnitDraw(tensor_of(state, POSITION), unit)
        for stage in range(self.integrator.stages):
            gradient = self.curvature * tensor_of(state, POSITION) + extra
            if self.integrator.evaluation == "midpoint":
                gradient = self._midpoint_gradient(state, extra, unit)
            state = self.integrator.advance(self.scales, state, gradient, draw, stage)
        return state, draw

    def _midpoint_gradient(self, state: State, extra: float, unit: int | None) -> Tensor:
        """The g with g = h(θ + θ'(g))/2 + extra; θ' is affine in g, so two evaluations give it."""
        start = tensor_of(state, POSITION)
        zero, one = (
            tensor_of(
                self.integrator.advance(self.scales, state, torch.full_like(start, value), _UnitDraw(start, unit)),
                POSITION,
            )
            for value in (0.0, 1.0)
        )
        half = self.curvature / 2.0
        return (half * (start + zero) + extra) / (1.0 - half * (one - zero))


def linearize(system: System, integrator: Integrator, *, step: float, curvature: float) -> LinearStep:
    """A, b and C of ``integrator`` stepping ``system`` on L = hθ²/2.

    Exact for systems that are linear in their variables: all but the adaptive ones, which have no such matrix. The
    position is the one that the gradient is taken at; for a look-ahead that is Θ. ``shown`` makes θ of it.

    Args:
        system: what moves.
        integrator: how it is stepped.
        step: γ > 0.
        curvature: h.

    Raises:
        IncompatiblePair: the step is not linear.

    Example:
        >>> from thetadot.integrators import Euler
        >>> from thetadot.systems import GradientFlow
        >>> linearize(GradientFlow(), Euler(), step=0.1, curvature=2.0).matrix
        tensor([[0.8000]], dtype=torch.float64)
    """
    require_instances(System, system=system)
    require_instances(Integrator, integrator=integrator)
    require_numbers(step=step, curvature=curvature)
    finite = 0 <= step < math.inf and math.isfinite(curvature)
    require(finite, f"step={step:g}, curvature={curvature:g}", "are out of range", "Pass step > 0, a finite curvature.")
    if system.measures:
        raise _nonlinear(system)
    probe = _Probe(system, integrator, step, curvature)
    size = len(probe.names)
    zeros = torch.zeros(size, 1, dtype=torch.float64)
    rest = probe(zeros)
    thermal = [probe(zeros, draw=index) - rest for index in range(probe.count_draws())]
    matrix = probe(torch.eye(size, dtype=torch.float64)) - rest
    require_finite(matrix=matrix)
    twice = torch.full((size, 1), 2.0, dtype=torch.float64)
    if not torch.allclose(probe(twice) - rest, matrix @ twice, rtol=1e-9, atol=1e-9):
        raise _nonlinear(system)
    return LinearStep(
        matrix=matrix,
        gradient_noise=(probe(zeros, extra=1.0) - rest).squeeze(1),
        thermal_noise=torch.cat(thermal, dim=1) if thermal else torch.zeros(size, 0, dtype=torch.float64),
        shown=probe.shown(system, step),
        names=probe.names,
    )


def _nonlinear(system: System) -> IncompatiblePair:
    return IncompatiblePair(
        f"{name_of(system)} is not linear in its variables, so that no matrix steps it. "
        "Use GradientFlow, Langevin, DampedNewton or Kramers."
    )
