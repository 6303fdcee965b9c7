r"""A chain of points: the least sum of what neighbours cost, by Newton's method.

    S(x) = Σ ℓ(xᵢ, xᵢ₊₁),  ends held        (H + μK) δ = -∇S,      K the Hessian of c Σ |xᵢ₊₁ - xᵢ|²/2

H is tridiagonal in blocks, so that a step costs O(n dim³) beside the derivatives of ℓ, which are exact (autograd). In
the metric K a step's length does not depend on how finely the chain is divided. μ is raised until H + μK is positive
definite and S falls as its quadratic said (Levenberg and Marquardt); near a minimum it is 0, and convergence is
quadratic. A damped step that did well is doubled as long as S falls. A stationary chain that is no minimum is left
along its most negative curvature, found by inverse iteration.

Source:
    Nocedal, Wright, Numerical Optimization, 2nd ed. (2006), sections 3.4 and 4.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy.linalg import LinAlgError, cho_solve_banded, cholesky_banded

from thetadot.analysis import jacobian

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    Cost = Callable[[Tensor], Tensor]
    Array = np.ndarray[Any, np.dtype[np.float64]]

_ROUNDING = 1e-12  # of Σ|ℓ|: what the sum does not tell
_FLAT = 1e-9  # of Σ|ℓ|: a fall for which a stationary chain is not left
_DAMPING = 1e-4  # least μ above 0, in units where free points have curvature 1
_SUFFICES, _BAD, _GOOD = 1e-4, 0.25, 0.75  # shares of an expected fall
_DOUBLINGS = 60  # of a step that goes on falling
_HEAVIEST = 1e100  # μ at which nothing moves
_SMOOTHING = 30  # inverse iterations


@dataclass(frozen=True)
class _Model:
    """S about a chain, to second order."""

    value: float
    size: float  # Σ|ℓ|
    slope: Array
    hessian: Array  # banded, LAPACK's upper form

    @property
    def finite(self) -> bool:
        return math.isfinite(self.size) and bool(np.isfinite(self.slope).all() and np.isfinite(self.hessian).all())


def least_chain(
    cost: Cost, chain: Tensor, stiffness: float, *, tolerance: float = _ROUNDING, rounds: int
) -> tuple[Tensor, float]:
    """Find a local minimum of Σ cost between fixed ends; also return the fall still expected, 0 at convergence.

    Args:
        cost: ℓ of pairs (m, 2·dim), one neighbour after the other: (m,). What is not finite is not gone to.
        chain: where to begin, (n, dim), n >= 3, float64.
        stiffness: c > 0, a curvature of ℓ in the distance of neighbours.
        tolerance: of Σ|ℓ|: an expected fall that ends the search.
        rounds: most steps, taken or not.

    Example:
        >>> ends = torch.tensor([[0.0], [5.0], [1.0]], dtype=torch.float64)
        >>> least_chain(lambda pairs: (pairs[:, 1] - pairs[:, 0]) ** 2, ends, 2.0, rounds=9)[0][1]
        tensor([0.5000], dtype=torch.float64)
    """
    free = _free(chain, stiffness)
    model, damping, expected = _model(cost, chain), 0.0, math.inf
    if not model.finite:
        return chain, math.inf
    for _ in range(rounds):
        if damping > _HEAVIEST:
            break
        factor = _factor(model.hessian + damping * free)
        if factor is None:
            damping = max(4.0 * damping, _DAMPING)
            continue
        step = -cho_solve_banded((factor, False), model.slope)
        expected = -float(model.slope @ step) - 0.5 * float(step @ _band_times(model.hessian, step))
        if expected <= tolerance * model.size:
            if damping == 0.0:  # H is positive definite: a minimum, to which the last step leads
                last = _moved(chain, step)
                return last if _finite_action(cost, last) <= model.value + _ROUNDING * model.size else chain, 0.0
            left = _descent_end(cost, chain, model, free, factor)
            if left is None and damping <= _DAMPING:
                return chain, 0.0
            expected, damping = 0.0, damping / 4.0 if left is None else damping
            chain, model = left or (chain, model)
            continue
        ahead = _moved(chain, step)
        value = _finite_action(cost, ahead)
        gain = (model.value - value) / expected
        if gain > _GOOD and damping > 0.0:
            ahead = _farther(cost, chain, step, value)
        there = _model(cost, ahead) if gain > _SUFFICES else None
        if there is None or not there.finite:
            damping = max(4.0 * damping, _DAMPING)
            continue
        chain, model = ahead, there
        damping = _adapted(damping, gain)
    return chain, expected


def _pairs(chain: Tensor) -> Tensor:
    return torch.cat((chain[:-1], chain[1:]), -1)


def _finite_action(cost: Cost, chain: Tensor) -> float:
    """S; infinite where it is none."""
    with torch.no_grad():
        value = float(cost(_pairs(chain)).sum())
    return value if math.isfinite(value) else math.inf


def _model(cost: Cost, chain: Tensor) -> _Model:
    count, dim = chain.shape
    found: dict[str, Tensor] = {}

    def slopes(pairs: Tensor) -> Tensor:
        found["costs"] = cost(pairs)
        (found["slopes"],) = torch.autograd.grad(found["costs"].sum(), pairs, create_graph=True)
        return found["slopes"]

    hessians = jacobian(slopes, _pairs(chain)).numpy()
    costs, sides = (found[name].detach() for name in ("costs", "slopes"))
    slope = (sides[1:, :dim] + sides[:-1, dim:]).numpy().ravel()
    return _Model(float(costs.sum()), float(costs.abs().sum()), slope, _banded(hessians, count, dim))


def _free(chain: Tensor, stiffness: float) -> Array:
    """K of free points, banded."""
    count, dim = chain.shape
    pair = stiffness * np.kron(np.array([[1.0, -1.0], [-1.0, 1.0]]), np.eye(dim))
    return _banded(np.broadcast_to(pair, (count - 1, 2 * dim, 2 * dim)), count, dim)


def _banded(blocks: Array, count: int, dim: int) -> Array:
    """Σ of the pairs' Hessians (n-1, 2·dim, 2·dim) over the inner points, as LAPACK keeps a symmetric band."""
    width = 2 * dim - 1
    band = np.zeros((width + 1, (count - 2) * dim))
    own = blocks[1:, :dim, :dim] + blocks[:-1, dim:, dim:]
    next_to = blocks[1:-1, :dim, dim:]
    for i in range(dim):
        for j in range(dim):
            if i <= j:
                band[width + i - j, j::dim] = own[:, i, j]
            band[width + i - j - dim, dim + j :: dim] = next_to[:, i, j]
    return band


def _band_times(band: Array, vector: Array) -> Array:
    width = len(band) - 1
    product: Array = band[width] * vector
    for k in range(1, min(width, len(vector) - 1) + 1):
        above = band[width - k, k:]
        product[:-k] += above * vector[k:]
        product[k:] += above * vector[:-k]
    return product


def _adapted(damping: float, gain: float) -> float:
    """μ after a step that gained a share of what was expected."""
    if gain > _GOOD:
        return damping / 4.0 if damping > _DAMPING else 0.0
    return max(2.0 * damping, _DAMPING) if gain < _BAD else damping


def _factor(band: Array) -> Array | None:
    """Cholesky's factor, None unless positive definite."""
    try:
        return np.asarray(cholesky_banded(band))
    except LinAlgError:
        return None


def _moved(chain: Tensor, step: Array) -> Tensor:
    inner = chain[1:-1] + torch.from_numpy(step).reshape(-1, chain.shape[1])
    return torch.cat((chain[:1], inner, chain[-1:]))


def _farther(cost: Cost, chain: Tensor, step: Array, value: float) -> Tensor:
    """Along a damped step, doubled as long as S falls: from a ridge it leads down slowly."""
    for _ in range(_DOUBLINGS):
        if not (farther := _finite_action(cost, _moved(chain, 2.0 * step))) < value:
            break
        step, value = 2.0 * step, farther
    return _moved(chain, step)


def _least_curved(hessian: Array, free: Array, factor: Array) -> tuple[Array, float]:
    """The direction v, vᵀKv = 1, of least vᵀHv, and that."""
    vector = np.random.default_rng(0).standard_normal(hessian.shape[1])
    for _ in range(_SMOOTHING):
        vector = cho_solve_banded((factor, False), _band_times(free, vector))
        vector /= math.sqrt(float(vector @ _band_times(free, vector)))
    return vector, float(vector @ _band_times(hessian, vector))


def _descent_end(cost: Cost, chain: Tensor, model: _Model, free: Array, factor: Array) -> tuple[Tensor, _Model] | None:
    """Down from a stationary chain along its most negative curvature, None if nothing falls by what numbers tell."""
    step, curvature = _least_curved(model.hessian, free, factor)
    if -curvature / 2.0 <= _FLAT * model.size:
        return None
    for halving in range(20):
        for side in (1.0, -1.0):
            ahead = _moved(chain, side * 0.5**halving * step)
            if (
                _finite_action(cost, ahead) < model.value - _ROUNDING * model.size
                and (there := _model(cost, ahead)).finite
            ):
                return ahead, there
    return None
