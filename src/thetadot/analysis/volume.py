r"""Liouville: how fast a motion contracts phase space.

    d ln(volume)/dt = ∇·f = tr ∂f/∂x,        ln(volume') - ln(volume) = Σ ln|det ∂Φ/∂x|   of steps Φ     [su2018e]

    gradient flow            -T tr H                    gradient descent      Σ ln|1-γh|
    damped Newton            -T λ dim, whatever L       heavy ball            ln β a step and dimension, whatever L
    look-ahead               Σ ln β(1 - c αh)           (a step, over the curvatures at the point looked at)

The determinant of a product needs no eigenvectors: det e^A = e^{tr A} also where A has none.

Source:
    [su2018e] Su Jianlin, https://kexue.fm/archives/6377 (2019). The discrete factors: derived here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from thetadot.analysis.phase import field_of, jacobian, step_of
from thetadot.core.signatures import checked
from thetadot.core.validation import require_count, require_finite, require_wide
from thetadot.errors import Diverged

if TYPE_CHECKING:
    from torch import Tensor

    from thetadot.analysis.phase import Motion
    from thetadot.integrators.base import Integrator
    from thetadot.systems.base import System
    from thetadot.systems.problem import Problem

_MOST = 10_000_000  # steps


@checked
def divergence(motion: Motion, points: Tensor, *, time: float = 0.0, differentiable: bool = False) -> Tensor:
    """∇·f at points (..., n): (...).

    Args:
        motion: a system with a drift of its own, a Problem, or a field of points.
        points: where.
        time: where the field depends on it.
        differentiable: as for :func:`jacobian`.

    Example:
        >>> from thetadot.potentials import DoubleWell
        >>> from thetadot.systems import DampedNewton, Problem
        >>> divergence(Problem(DampedNewton(0.5), DoubleWell()), torch.tensor([[1.0, 2.0, 0.3, 0.1]]))  # -λ·dim
        tensor([-1.])
    """
    found = jacobian(field_of(motion, time=time), points, differentiable=differentiable)
    return found.diagonal(dim1=-2, dim2=-1).sum(-1)


@checked
def log_volume(motion: System | Problem, integrator: Integrator, points: Tensor, *, step: float, steps: int) -> Tensor:
    """Ln of the volume round each point after some steps, in units of that before: (...).

    Args:
        motion: a system with a drift of its own, or a Problem.
        integrator: how it is stepped.
        points: (..., n), positions and then the further variables.
        step: γ > 0.
        steps: >= 0.

    Raises:
        InadmissibleValue: steps out of range, points that are not finite.
        Diverged: a step that is not finite.
        IncompatiblePair: as :func:`step_of`.

    Example:
        >>> from thetadot.integrators import Leapfrog
        >>> from thetadot.potentials import DoubleWell
        >>> from thetadot.systems import DampedNewton, Problem
        >>> ball = Problem(DampedNewton(friction=1.0), DoubleWell())  # at γ = 2/3, β = 1/2
        >>> log_volume(ball, Leapfrog(), torch.tensor([[0.3, 0.1]]), step=2 / 3, steps=5) / torch.tensor(0.5).log()
        tensor([5.])
    """
    require_wide(points=points)
    require_finite(points=points)
    require_count(0, _MOST, steps=steps)
    advance = step_of(motion, integrator, step=step)
    total = points.new_zeros(points.shape[:-1])
    for done in range(steps):
        matrix = jacobian(advance, points)
        if not bool(matrix.isfinite().all()):
            raise Diverged(f"step {done + 1} has a derivative that is not finite. Pass a smaller step, or fewer.")
        total = total + torch.linalg.slogdet(matrix).logabsdet
        points = advance(points).detach()
    return total
