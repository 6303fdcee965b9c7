r"""Backward error analysis: the flow that a rule's iterates really follow.

A step of size γ on ẋ = f(x) follows ẋ = f̃(x) to a higher order than ẋ = f(x). For a Runge-Kutta rule (A, b, c),

    f̃ = f + γ e f'f + γ² (u f''(f,f) + w f'f'f) + O(γ³)
    e = Σb c - ½,    u = Σb c²/2 - 1/6 - e/2,    w = Σb A c - 1/6 - e                              [hairer2006]

Euler has e = -½, u = 1/12, w = 1/3. On θ̇ = -∇L, g = ∇L, that is gradient descent's

    θ̇ = -g - (γ/2)Hg - γ²(H²g/3 + ∇³L[g,g]/12)                                                    [su2020b]

The second term is -∇ of (γ/4)|g|²: implicit gradient regularization. The third is the gradient of nothing, unless L is
quadratic: H²g and ∇³L[g,g] would have to stand as 2 to 1, and stand as 4 to 1. Heavy ball, in time α/(1-β) a step,
descends L + α(1+β)/(4(1-β)²) |g|² to the same order (derived on quadratics, from the dominant root).

For a rule of any kind, f̃ is read from its own iterates: D = ln(1+Δ)/γ with Δ the forward difference,

    f̃(x₀) = (1/γ) Σ_{k=1}^{K} (-1)^{k+1} Δᵏx₀/k + O(γ^K)

and on quadratics it is exact and linear, f̃ = ln(A)/γ x with A the matrix of the step.

Source:
    [hairer2006] Hairer, Lubich, Wanner, "Geometric numerical integration", chapter IX.
    [su2020b] Su Jianlin, https://kexue.fm/archives/7787 (2020); Barrett, Dherin, 2009.11162. The third term, and heavy
    ball's coefficient: derived here.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.linalg import logm

from thetadot.analysis.linear import linearize
from thetadot.analysis.phase import field_of
from thetadot.core.signatures import checked
from thetadot.core.validation import require_count, require_finite
from thetadot.errors import InadmissibleValue, require
from thetadot.integrators.tableaus import Tableau
from thetadot.potentials import gradient_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from thetadot.analysis.linear import LinearStep
    from thetadot.analysis.phase import Field, Motion
    from thetadot.integrators.base import Integrator
    from thetadot.systems.base import System

_MOST_TERMS = 1000
EULER = Tableau("EULER", ((),), (1.0,), order=1)
"""Euler's method."""


@checked
def gradient_penalty(lr: float, momentum: float = 0.0) -> float:
    """α(1+β)/(4(1-β)²), by which |∇L|² is added to the loss.

    Args:
        lr: α >= 0.
        momentum: 0 <= β < 1.

    Raises:
        InadmissibleValue: a number out of range.

    Example:
        >>> gradient_penalty(0.1), round(gradient_penalty(0.1, 0.9), 9)
        (0.025, 4.75)
    """
    require(0 <= lr < math.inf, f"lr={lr:g}", "is negative or not finite", "Pass lr >= 0.")
    require(0 <= momentum < 1, f"momentum={momentum:g}", "is outside [0, 1)", "Pass 0 <= momentum < 1.")
    return lr * (1.0 + momentum) / (4.0 * (1.0 - momentum) ** 2)


@checked
@dataclass(frozen=True)
class ModifiedLoss:
    """L + α(1+β)/(4(1-β)²) |∇L|²: what gradient descent or heavy ball descends, to second order in α.

    A potential like any other, of (..., dim); its gradient is taken by autograd.

    Args:
        loss: L of (..., dim), twice differentiable.
        lr: α >= 0.
        momentum: 0 <= β < 1.

    Raises:
        InadmissibleValue: a number out of range.

    Example:
        >>> from thetadot.potentials import Harmonic
        >>> ModifiedLoss(Harmonic(2.0), lr=0.1)(torch.tensor([1.0]))  # 1 + 0.025·4
        tensor(1.1000)
    """

    loss: Field
    lr: float
    momentum: float = 0.0

    def __post_init__(self) -> None:
        gradient_penalty(self.lr, self.momentum)

    def __call__(self, position: Tensor) -> Tensor:
        """Return the modified loss L̃ at ``position``."""
        slope = gradient_of(self.loss)(position)
        return self.loss(position) + gradient_penalty(self.lr, self.momentum) * (slope * slope).sum(-1)


@checked
def modified_field(
    motion: Motion, *, step: float, order: int = 2, tableau: Tableau = EULER, time: float = 0.0
) -> Field:
    """The modified field f̃ of a Runge-Kutta rule, so that its iterates follow f̃ with an error of this order in γ.

    Args:
        motion: a system with a drift of its own, a Problem, or a field of points (..., n).
        step: γ > 0.
        order: 1 is f itself (for a rule of order 1), 2 adds the term in γ, 3 that in γ².
        tableau: of the rule, one of :mod:`thetadot.integrators.tableaus` or one's own.
        time: where the field depends on it; the formula is of fields that do not.

    Raises:
        InadmissibleValue: an unknown order.

    Example:
        >>> follow = modified_field(lambda x: -x, step=0.1, order=3)  # -ln(1-γ)/γ = 1.05361
        >>> follow(torch.tensor([1.0]))
        tensor([-1.0533])
    """
    require(order in (1, 2, 3), f"order={order}", "is not derived here", "Pass 1, 2 or 3, or use iterated_field.")
    require(0 < step < math.inf, f"step={step:g}", "is not positive and finite", "Pass step > 0.")
    field = field_of(motion, time=time)
    first, second, third = _tableau_weights(tableau)

    def along(x: Tensor, direction: Tensor) -> Tensor:
        return _derivative(field, x, direction)

    def follow(x: Tensor) -> Tensor:
        f = field(x)
        if order == 1:
            return f
        turn = along(x, f)
        if order == 2:
            return f + step * first * turn
        bend = _derivative(lambda point: along(point, f), x, f)
        return f + step * first * turn + step * step * (second * bend + third * along(x, turn))

    return follow


@checked
def iterated_field(step_of_points: Field, *, step: float, terms: int = 3) -> Field:
    """The modified field f̃ of any one-step rule, from its own iterates.

    The error is O(γ^terms) while γ times the stiffness is small.

    Args:
        step_of_points: one step, points to points, as :func:`step_of` gives it.
        step: γ > 0.
        terms: K >= 1, and as many steps a value.

    Raises:
        InadmissibleValue: a number out of range.

    Example:
        >>> iterated_field(lambda x: 0.9 * x, step=0.1, terms=8)(torch.ones(1).double())
        tensor([-1.0536], dtype=torch.float64)
    """
    require(0 < step < math.inf, f"step={step:g}", "is not positive and finite", "Pass step > 0.")
    require_count(1, _MOST_TERMS, terms=terms)

    def follow(x: Tensor) -> Tensor:
        points = [x]
        for _ in range(terms):
            points.append(step_of_points(points[-1]))
        total, sign = torch.zeros_like(x), 1.0
        for count in range(1, terms + 1):
            points = [after - before for before, after in itertools.pairwise(points)]
            total = total + sign / count * points[0]
            sign = -sign
        return total / step

    return follow


def modified_generator(system: System, integrator: Integrator, *, step: float, curvature: float) -> Tensor:
    """ln(A)/γ of the step's matrix A on L = hθ²/2, (k, k) float64: exactly the linear flow that the iterates lie on.

    For gradient descent -h̃ = ln(1-γh)/γ.

    Raises:
        InadmissibleValue: A has an eigenvalue on the negative real axis or at zero, so that iterates jump from side to
            side and lie on no real flow.
        IncompatiblePair: the step is not linear.

    Example:
        >>> from thetadot.integrators import Euler
        >>> from thetadot.systems import GradientFlow
        >>> round(float(-modified_generator(GradientFlow(), Euler(), step=0.1, curvature=1.0)), 7)
        1.0536052
    """
    once: LinearStep = _moving(system, integrator, step, curvature)
    values = torch.linalg.eigvals(once.matrix)
    jumps = (values.real <= 0) & (values.imag.abs() <= 1e-12 * values.abs())
    if bool(jumps.any()):
        worst = float(values.real[jumps].min())
        raise InadmissibleValue(
            f"step={step:g} at curvature={curvature:g} multiplies a mode by {worst:g}, which no flow does. "
            "Pass a smaller step."
        )
    return torch.from_numpy(np.real(logm(once.matrix.numpy()))) / step


def slowest_rate(system: System, integrator: Integrator, *, step: float, curvature: float) -> float:
    """-ln ρ/γ: the rate in 1/time at which the iterates' slowest mode decays, ρ the spectral radius; infinite at ρ = 0.

    Example:
        >>> from thetadot.integrators import Leapfrog
        >>> from thetadot.systems import DampedNewton
        >>> rate = slowest_rate(DampedNewton(3.0), Leapfrog(), step=0.01, curvature=2.0)  # (3-√(9-8))/2, and O(γ²)
        >>> round(rate, 4)
        1.0
    """
    radius = _moving(system, integrator, step, curvature).spectral_radius()
    return -math.log(radius) / step if radius > 0 else math.inf


def _moving(system: System, integrator: Integrator, step: float, curvature: float) -> LinearStep:
    """One step's matrix, of a step that is one: what is said of it is divided by γ."""
    once = linearize(system, integrator, step=step, curvature=curvature)
    require(step > 0, f"step={step:g}", "is not positive", "Pass step > 0.")
    require_finite(matrix=once.matrix)
    return once


def _tableau_weights(tableau: Tableau) -> tuple[float, float, float]:
    """e, u and w."""
    b, c = tableau.weights, tableau.nodes
    inner = [sum(a * node for a, node in zip(row, c, strict=False)) for row in tableau.matrix]
    mean, square, nested = (
        float(sum(weight * value for weight, value in zip(b, values, strict=True)))
        for values in (c, [node * node for node in c], inner)
    )
    first = mean - 0.5
    return first, square / 2.0 - 1.0 / 6.0 - first / 2.0, nested - 1.0 / 6.0 - first


def _derivative(function: Callable[[Tensor], Tensor], x: Tensor, direction: Tensor) -> Tensor:
    """Along a direction, row by row: the pull-back is linear in its weight, and its own pull-back is the push-forward.

    (Forward mode gives the same, and warns when torch first loads it.)
    """
    tracked = x.requires_grad
    with torch.enable_grad():
        x = x if tracked else x.detach().requires_grad_()
        value = function(x)
        if not value.requires_grad:
            return torch.zeros_like(value)
        weight = torch.zeros_like(value, requires_grad=True)
        (pulled,) = torch.autograd.grad(value, x, weight, create_graph=True, materialize_grads=True)
        if not pulled.requires_grad:
            return torch.zeros_like(value)
        (pushed,) = torch.autograd.grad(pulled, weight, direction, create_graph=True, materialize_grads=True)
    return pushed if tracked else pushed.detach()
