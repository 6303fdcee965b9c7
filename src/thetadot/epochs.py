r"""The stationary covariance of a linear step whose noise comes from shuffled epochs, exactly.

    x' = A x + b ζ_k,    ζ of the m batches of one epoch: Cov = s²(1 - 11ᵀ/m), for they sum to zero

An epoch of N samples is cut into m = N/B batches. Their gradients sum to the full one, so what is left of them is
anticorrelated, and epochs are independent of one another. With S_k = Σ_{j<k} A^j b bᵀ A^jᵀ and c_k = Σ_{j<k} A^j b,

    P₀ = A^m P₀ A^mᵀ + S_m - c_m c_mᵀ/m                              at the beginning of an epoch
    P_k = A^k P₀ A^kᵀ + S_k - c_k c_kᵀ/m                             after k of its batches

and the mean of P_k over k = 0 ... m-1 is what a run shows. Noise is taken not to depend on x. Along slow modes,
αhm ≪ 1, descent has h⟨x²⟩ = α²h s²(m²-1)/(6m) where draws with replacement have αs²/2: smaller by αh(m+1)/3 of (1-1/m).

All sums are made by doubling, in O(log m). What would cancel, S_m - c_m c_mᵀ/m, is summed as the scatter of the A^j b
about their mean, which is merged from halves without a difference of large numbers.

Source:
    Derived here. Kühn, Rosenow, "Correlated noise in epoch-based SGD", 2306.05300, has the same noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

_DOUBLINGS = 200


@dataclass(frozen=True)
class _Block:
    """n steps from rest: A^n - 1, c_n, scatter of the A^j b, and Σ over k < n of c_k, c_k c_kᵀ, S_k."""

    count: int
    change: Array
    moved: Array
    scatter: Array
    moves: Array
    squares: Array
    sums: Array


def _then(one: _Block, other: _Block) -> _Block:
    """``other`` after ``one``; the two are of the same step."""
    n, k = one.count, other.count
    power = np.eye(len(one.change)) + one.change
    turned = power @ other.moves  # Σ A^n c_k
    apart = power @ other.moved / k - one.moved / n  # of the two means of A^j b
    whole = one.scatter + np.outer(one.moved, one.moved) / n  # S_n
    return _Block(
        n + k,
        one.change + other.change + one.change @ other.change,
        one.moved + power @ other.moved,
        one.scatter + power @ other.scatter @ power.T + np.outer(apart, apart) * (n * k / (n + k)),
        one.moves + k * one.moved + turned,
        one.squares
        + k * np.outer(one.moved, one.moved)
        + np.outer(one.moved, turned)
        + np.outer(turned, one.moved)
        + power @ other.squares @ power.T,
        one.sums + k * whole + power @ other.sums @ power.T,
    )


def _epoch(matrix: Array, kick: Array, batches: int) -> _Block:
    zero, size = np.zeros((len(kick), len(kick))), len(kick)
    step = _Block(1, matrix - np.eye(size), kick, zero, np.zeros(size), zero, zero)
    made: _Block | None = None
    rest = batches
    while rest:
        if rest & 1:
            made = step if made is None else _then(made, step)
        rest >>= 1
        if rest:
            step = _then(step, step)
    assert made is not None  # noqa: S101 - batches >= 1
    return made


def epoch_covariance(matrix: Array, kick: Array, batches: int) -> Array:
    """Covariance of x over the steps of an epoch, for gradient noise of variance s² = 1, (k, k).

    Args:
        matrix: A, (k, k), of spectral radius below 1.
        kick: b, (k,).
        batches: m >= 1 batches an epoch; of one there is no noise.

    Example:
        >>> descent = epoch_covariance(np.array([[1 - 1e-6]]), np.array([-1e-3]), 9)  # α = .001, h = .001
        >>> round(float(descent[0, 0] / (1e-6 * (81 - 1) / (6 * 9))), 4)  # α²(m²-1)/(6m)
        1.0
    """
    epoch = _epoch(matrix, kick, batches)
    start, change = epoch.scatter, epoch.change  # Σ over epochs of A^(mj) Q A^(mj)ᵀ, by doubling
    for _ in range(_DOUBLINGS):
        added = start + change @ start + start @ change.T + change @ start @ change.T
        start, change = start + added, change + change + change @ change
        if np.abs(added).max() <= 1e-16 * np.abs(start).max():
            break
    carried = _carried(matrix, start, batches)
    mean: Array = (carried + epoch.sums - epoch.squares / batches) / batches
    return mean


def _carried(matrix: Array, start: Array, batches: int) -> Array:
    """Σ over k < m of A^k P₀ A^kᵀ."""
    total, power, summed, rest = np.zeros_like(start), matrix, start, batches
    front = np.eye(len(start))
    while rest:
        if rest & 1:
            total = total + front @ summed @ front.T
            front = front @ power
        summed = summed + power @ summed @ power.T
        power, rest = power @ power, rest >> 1
    return total


def heavy_ball_variance(lr: float, momentum: float, curvature: float, batches: int) -> float:
    """⟨θ²⟩ of heavy ball on hθ²/2 under shuffled epochs, for gradient noise of variance 1, its mean over an epoch.

    Example:
        >>> lr, h, m = 0.1, 1e-4, 20
        >>> round(heavy_ball_variance(lr, 0.0, h, m) / (lr**2 * (m**2 - 1) / (6 * m)), 3)
        1.0
    """
    matrix = np.array([[1.0 - lr * curvature, momentum], [-lr * curvature, momentum]])
    return float(epoch_covariance(matrix, np.array([-lr, -lr]), batches)[0, 0])
