r"""The implicit step, solved: z = (θ + θ'(∇L(z)))/2 by Newton's method with Krylov inner solves.

θ'(g) is the integrator's own rule with g for the gradient; the solver only finds the midpoint z at which gradient and
step agree. Convergence is checked; a step that does not converge is not taken.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from thetadot.errors import NotConverged
from thetadot.systems.base import POSITION
from thetadot.tensors import tensor_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from thetadot.optim.rows import Row
    from thetadot.typing import State

    Vector = NDArray[np.float64]

_MOST_ITERATIONS = 50


def solve_midpoint(rows: Callable[[], Sequence[Row]], evaluate: Callable[[], Any]) -> None:
    """Move every parameter that has a gradient by the implicit step and update its state.

    Args:
        rows: the parameters with their present gradients.
        evaluate: recomputes p.grad at the parameters' present values.

    Raises:
        NotConverged: the equation was not solved to eps^¾ of the parameters' dtype; parameters and state are as before.
    """
    moving = rows()
    if not moving:
        return
    parameters = [row.parameter for row in moving]
    start = [p.detach().clone() for p in parameters]
    eps = max(torch.finfo(p.dtype).eps for p in parameters)

    def put(values: Sequence[Tensor]) -> None:
        for p, value in zip(parameters, values, strict=True):
            p.copy_(value)

    def step_through(flat: Vector) -> list[State]:
        """The rule's states from the start, with the gradient at ``flat``."""
        middle = _unflatten(flat, start)
        put(middle)
        evaluate()
        put(start)
        return [row.advance(at=z) for row, z in zip(rows(), middle, strict=True)]

    begin = _flatten([row.origin() for row in moving])

    def residual(flat: Vector) -> Vector:
        after = _flatten([tensor_of(state, POSITION) for state in step_through(flat)])
        return flat - (begin + after) / 2.0

    try:
        states = step_through(_root(residual, begin, eps))
    except BaseException:  # the closure's own errors too: parameters go back before they are passed on
        put(start)
        raise
    for row, state in zip(moving, states, strict=True):
        row.store(state)


def _root(residual: Callable[[Vector], Vector], begin: Vector, eps: float) -> Vector:
    """Where the residual vanishes."""
    from scipy.optimize import NoConvergence, newton_krylov  # noqa: PLC0415 - half a second of import that few need

    first = residual(begin)
    guess, size = begin, _largest(first)
    tolerance = eps**0.75 * max(1.0, _largest(begin), min(size, 1.0 / eps))
    if tolerance < size < math.inf:
        ahead = _largest(residual(begin - first))
        if ahead < size:  # the explicit step is a better guess, unless it is unstable
            guess, size = begin - first, ahead
    if size <= tolerance:
        return guess

    theirs: list[Exception] = []

    def finite(flat: Vector) -> Vector:
        try:
            value = residual(flat)
        except Exception as error:
            theirs.append(error)
            raise
        if not np.isfinite(value).all():
            raise _NotFiniteError
        return value

    try:
        return np.asarray(
            newton_krylov(finite, guess, method="lgmres", f_tol=tolerance, rdiff=eps**0.5, maxiter=_MOST_ITERATIONS)
        )
    except (NoConvergence, _NotFiniteError, ValueError) as error:  # scipy has ValueError for a singular Jacobian
        if theirs:
            raise
        met = "met a gradient that is not finite" if isinstance(error, _NotFiniteError) else "was not solved"
        raise NotConverged(
            f"the implicit step {met}: {tolerance:.1e} was not reached in {_MOST_ITERATIONS} iterations. "
            "Pass a smaller lr, or parameters in float64."
        ) from error


def _largest(flat: Vector) -> float:
    return float(abs(flat).max(initial=0.0)) if np.isfinite(flat).all() else math.inf


class _NotFiniteError(ArithmeticError):
    """Leaves the solver."""


def _flatten(values: Sequence[Tensor]) -> Vector:
    return np.asarray(torch.cat([value.reshape(-1).double() for value in values]).cpu().numpy(), dtype=np.float64)


def _unflatten(flat: Vector, like: Sequence[Tensor]) -> list[Tensor]:
    parts, offset = [], 0
    for p in like:
        parts.append(torch.from_numpy(flat[offset : offset + p.numel()].copy()).reshape(p.shape).to(p))
        offset += p.numel()
    return parts
