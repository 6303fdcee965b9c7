r"""The stationary covariance of a linear step whose noise comes from shuffled epochs, exactly.

    x' = A x + b ζ_k,    ζ of the m batches of one epoch: Cov(ζ_j, ζ_k) = s² (δ_jk B/b_k - B/N)

An epoch of N samples is cut into m batches of b_k samples, all B but the last, which may be smaller or be left out
(``drop_last``); s² is the variance of a batch of B drawn with replacement. Gradients of an epoch sum to the full one,
so what is left of them is anticorrelated, and epochs are independent of one another. With S_k = Σ_{j<k} A^j b bᵀ A^jᵀ
and c_k = Σ_{j<k} A^j b, in units of s²,

    P₀ = A^m P₀ A^mᵀ + Σ_j A^j b bᵀ A^jᵀ B/b_j - c_m c_mᵀ B/N        at the beginning of an epoch
    P_k = A^k P₀ A^kᵀ + S_k - c_k c_kᵀ B/N                           after k < m of its batches

and the mean of P_k over k = 0 ... m-1 is what a run shows. Noise is taken not to depend on x. Along slow modes,
αhm ≪ 1, descent has h⟨x²⟩ = α²h s²(m²-1)/(6m) where draws with replacement have αs²/2: smaller by αh(m+1)/3 of (1-1/m).

All sums are made by doubling, in O(log m). What would cancel, the first two terms of P₀'s noise, is summed as the
scatter of the A^j b B/b_j about their mean, which is merged from halves without a difference of large numbers.

Beside the article on the same noise [kuhn2023], m(1-β) ≫ 1: it has the noise's autocorrelation, over all places in an
epoch, -(m-n)/(m(m-1)) at n < m steps; two regimes of curvature that meet at h× = 3(1-β)/(αm); and correlation times
τ = 2⟨θ²⟩/⟨Δθ²⟩ of (1+β)/(αh) above it and (m/3)(1+β)/(1-β) below, where ⟨θ²⟩ = α²s²m/(6(1-β)²). The law here agrees:

                        τ over theirs, flat     τ over theirs, at h×     ⟨θ²⟩ over theirs, flat
    m = 1000, β = 0             1.001                   .545                     1.000
    m = 1000, β = .9             .991                   .543                      .972
    m = 10,   β = 0             1.100                   .604                      .990
    m = 10,   β = .9             .793                   .456                      .216

The regimes are limits: between them the exact law is little more than half of both, and where the velocity remembers an
epoch, m(1-β) of 1 or less, a flat direction is colder than theirs by five times and more.

Source:
    Derived here. [kuhn2023] Kühn, Rosenow, "Anti-correlated noise in epoch-based stochastic gradient descent:
    implications for weight variances in flat directions", 2306.05300.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

_DOUBLINGS = 200


@dataclass(frozen=True)
class _Block:
    """n steps from rest: A^n - 1, c_n, scatter of the A^j b B/b_j, and Σ over k < n of c_k, c_k c_kᵀ, S_k."""

    count: int
    weight: float  # its samples, in batches
    change: Array
    moved: Array
    scatter: Array
    moves: Array
    squares: Array
    sums: Array


def _then(one: _Block, other: _Block) -> _Block:
    """The step of ``other``, then those of ``one``, whose A^j come first; sums over k are of equal steps only."""
    n, k = one.count, other.count
    w, v = one.weight, other.weight
    power = np.eye(len(one.change)) + one.change
    turned = power @ other.moves  # Σ A^n c_k
    apart = power @ other.moved / v - one.moved / w  # of the two means of A^j b B/b_j
    whole = one.scatter + np.outer(one.moved, one.moved) / w  # S_n
    return _Block(
        n + k,
        w + v,
        one.change + other.change + one.change @ other.change,
        one.moved + power @ other.moved,
        one.scatter + power @ other.scatter @ power.T + np.outer(apart, apart) * (w * v / (w + v)),
        one.moves + k * one.moved + turned,
        one.squares
        + k * np.outer(one.moved, one.moved)
        + np.outer(one.moved, turned)
        + np.outer(turned, one.moved)
        + power @ other.squares @ power.T,
        one.sums + k * whole + power @ other.sums @ power.T,
    )


def _step(matrix: Array, kick: Array, weight: float = 1.0) -> _Block:
    zero, size = np.zeros((len(kick), len(kick))), len(kick)
    return _Block(1, weight, matrix - np.eye(size), kick, zero, np.zeros(size), zero, zero)


def _steps(matrix: Array, kick: Array, count: int) -> _Block:
    """Equal steps."""
    step = _step(matrix, kick)
    made: _Block | None = None
    rest = count
    while rest:
        if rest & 1:
            made = step if made is None else _then(made, step)
        rest >>= 1
        if rest:
            step = _then(step, step)
    assert made is not None  # noqa: S101 - count >= 1
    return made


class Epoch(NamedTuple):
    """How an epoch of N samples is cut.

    Attributes:
        batches: m >= 1.
        last: samples of the last batch over B, in (0, 1].
        size: N/B, at least what the batches hold.
    """

    batches: int
    last: float = 1.0
    size: float | None = None

    @classmethod
    def of(cls, dataset_size: float, batch_size: float, *, drop_last: bool = False) -> Epoch:
        """An epoch of N samples in batches of B <= N, the rest left out if ``drop_last``.

        Example:
            >>> Epoch.of(10, 4), Epoch.of(10, 4, drop_last=True)
            (Epoch(batches=3, last=0.5, size=2.5), Epoch(batches=2, last=1.0, size=2.5))
        """
        size = dataset_size / batch_size
        whole = math.floor(size * (1.0 + 1e-12))
        rest = size - whole
        if drop_last or rest <= 1e-9:
            return cls(whole, 1.0, size)
        return cls(whole + 1, rest, size)


def epoch_covariance(matrix: Array, kick: Array, epoch: Epoch | int) -> Array:
    """Covariance of x over the steps of an epoch, for gradient noise of variance s² = 1, (k, k).

    Args:
        matrix: A, (k, k), of spectral radius below 1.
        kick: b, (k,).
        epoch: its batches, or how many equal ones there are; of one that holds all samples there is no noise.

    Example:
        >>> descent = epoch_covariance(np.array([[1 - 1e-6]]), np.array([-1e-3]), 9)  # α = .001, h = .001
        >>> round(float(descent[0, 0] / (1e-6 * (81 - 1) / (6 * 9))), 4)  # α²(m²-1)/(6m)
        1.0
    """
    batches, last, size = epoch if isinstance(epoch, Epoch) else Epoch(epoch)
    held = batches - 1 + last
    share = 1.0 / max(size or held, held)  # B/N
    equal = _steps(matrix, kick, batches)
    whole = equal
    if last < 1.0:
        short = _step(matrix, kick, last)
        whole = short if batches == 1 else _then(short, _steps(matrix, kick, batches - 1))
    left_out = np.outer(whole.moved, whole.moved) * (1.0 / held - share)
    start, change = whole.scatter + left_out, whole.change  # Σ over epochs of A^(mj) Q A^(mj)ᵀ, by doubling
    for _ in range(_DOUBLINGS):
        added = start + change @ start + start @ change.T + change @ start @ change.T
        start, change = start + added, change + change + change @ change
        if np.abs(added).max() <= 1e-16 * np.abs(start).max():
            break
    carried = _carried(matrix, start, batches)
    mean: Array = (carried + equal.sums - equal.squares * share) / batches
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


def heavy_ball_variance(lr: float, momentum: float, curvature: float, epoch: Epoch | int) -> float:
    """⟨θ²⟩ of heavy ball on hθ²/2 under shuffled epochs, for gradient noise of variance 1, its mean over an epoch.

    Example:
        >>> lr, h, m = 0.1, 1e-4, 20
        >>> round(heavy_ball_variance(lr, 0.0, h, m) / (lr**2 * (m**2 - 1) / (6 * m)), 3)
        1.0
    """
    matrix = np.array([[1.0 - lr * curvature, momentum], [-lr * curvature, momentum]])
    return float(epoch_covariance(matrix, np.array([-lr, -lr]), epoch)[0, 0])


def epoch_share(lr: float, momentum: float, curvature: float, epoch: Epoch | int) -> float:
    """h⟨θ²⟩ under shuffled epochs over α s²/(2(1-β)), which small steps of independent draws keep up.

    Args:
        lr: α > 0.
        momentum: -1 < β < 1.
        curvature: h > 0, αh below 2(1+β).
        epoch: its batches.

    Example:
        >>> round(epoch_share(0.1, 0.0, 1e-4, 20) / (0.1 * 1e-4 * (20 + 1) / 3 * (1 - 1 / 20)), 3)
        1.0
    """
    return curvature * heavy_ball_variance(lr, momentum, curvature, epoch) * 2.0 * (1.0 - momentum) / lr


def flat_share(lr: float, momentum: float, epoch: Epoch | int) -> float:
    """The same over h, along directions that hardly move in an epoch: h → 0.

    Of many batches and a short memory it is αm/(3(1-β)), and the temperature is proportional to (α/((1-β)B))² N h.

    Example:
        >>> round(flat_share(0.1, 0.5, 1000) / (0.1 * 1000 / (3 * 0.5)), 2)
        1.0
    """
    batches = epoch.batches if isinstance(epoch, Epoch) else epoch
    slow = 1e-7 * (1.0 - momentum) ** 2 / (lr * (batches + 1.0 / (1.0 - momentum)))
    return epoch_share(lr, momentum, slow, epoch) / slow
