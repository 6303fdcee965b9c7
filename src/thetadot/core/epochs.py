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
Where B does not divide N an epoch's steps do not sum to the full gradient, and as h → 0 a share is left
(:func:`remainder_share`): 7% of 1,000 samples in batches of 32.

All sums are made by doubling, in O(log m). What would cancel, the first two terms of P₀'s noise, is summed as the
scatter of the A^j b B/b_j about their mean, which is merged from halves without a difference of large numbers.

Beside the article on the same noise [kuhn2023], whose formulas are quoted from memory, for m(1-β) ≫ 1: it has the
noise's autocorrelation, over all places in an epoch, -(m-n)/(m(m-1)) at n < m steps; two regimes of curvature that meet
at h× = 3(1-β)/(αm); and correlation times τ = 2⟨θ²⟩/⟨Δθ²⟩ of (1+β)/(αh) above it and (m/3)(1+β)/(1-β) below, where
⟨θ²⟩ = α²s²m/(6(1-β)²). The law here agrees:

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

import functools
import math
from typing import NamedTuple

Matrix = tuple[float, float, float, float]
"""By rows."""
Symmetric = tuple[float, float, float]
"""xx, xy, yy."""
Vector = tuple[float, float]

_DOUBLINGS = 200
_NOTHING: Symmetric = (0.0, 0.0, 0.0)


def _matrix_product(m: Matrix, n: Matrix) -> Matrix:
    a, b, c, d = m
    e, f, g, h = n
    return a * e + b * g, a * f + b * h, c * e + d * g, c * f + d * h


def _applied(m: Matrix, v: Vector) -> Vector:
    return m[0] * v[0] + m[1] * v[1], m[2] * v[0] + m[3] * v[1]


def _congruent(m: Matrix, s: Symmetric) -> Symmetric:
    """M S Mᵀ."""
    a, b, c, d = m
    u, v = a * s[0] + b * s[1], a * s[1] + b * s[2]
    return u * a + v * b, u * c + v * d, (c * s[0] + d * s[1]) * c + (c * s[1] + d * s[2]) * d


def _twice_symmetric(m: Matrix, s: Symmetric) -> Symmetric:
    """M S + S Mᵀ."""
    a, b, c, d = m
    return 2.0 * (a * s[0] + b * s[1]), a * s[1] + b * s[2] + c * s[0] + d * s[1], 2.0 * (c * s[1] + d * s[2])


def _outer_square(v: Vector, factor: float = 1.0) -> Symmetric:
    return factor * v[0] * v[0], factor * v[0] * v[1], factor * v[1] * v[1]


def _symmetric_sum(first: Symmetric, *others: Symmetric) -> Symmetric:
    x, y, z = first
    for u, v, w in others:
        x, y, z = x + u, y + v, z + w
    return x, y, z


def _times(factor: float, s: Symmetric) -> Symmetric:
    return factor * s[0], factor * s[1], factor * s[2]


def _next(change: Matrix) -> Matrix:
    """1 + change."""
    return 1.0 + change[0], change[1], change[2], 1.0 + change[3]


def _changes(m: Matrix, n: Matrix) -> Matrix:
    """(1 + M)(1 + N) - 1."""
    a, b, c, d = _matrix_product(m, n)
    return m[0] + n[0] + a, m[1] + n[1] + b, m[2] + n[2] + c, m[3] + n[3] + d


class _Block(NamedTuple):
    """n steps from rest: A^n - 1, c_n, scatter of the A^j b B/b_j, and Σ over k < n of c_k, c_k c_kᵀ, S_k."""

    steps: int
    weight: float  # its samples, in batches
    change: Matrix
    moved: Vector
    scatter: Symmetric
    moves: Vector
    squares: Symmetric
    sums: Symmetric


def _then(one: _Block, other: _Block) -> _Block:
    """The step of ``other``, then those of ``one``, whose A^j come first; sums over k are of equal steps only."""
    n, k = one.steps, other.steps
    w, v = one.weight, other.weight
    power = _next(one.change)
    turned = _applied(power, other.moves)  # Σ A^n c_k
    moved = _applied(power, other.moved)
    apart = moved[0] / v - one.moved[0] / w, moved[1] / v - one.moved[1] / w  # of the two means of A^j b B/b_j
    whole = _symmetric_sum(one.scatter, _outer_square(one.moved, 1.0 / w))  # S_n
    x, y = one.moved
    across = 2.0 * x * turned[0], x * turned[1] + y * turned[0], 2.0 * y * turned[1]
    return _Block(
        n + k,
        w + v,
        _changes(one.change, other.change),
        (x + moved[0], y + moved[1]),
        _symmetric_sum(one.scatter, _congruent(power, other.scatter), _outer_square(apart, w * v / (w + v))),
        (one.moves[0] + k * x + turned[0], one.moves[1] + k * y + turned[1]),
        _symmetric_sum(one.squares, _outer_square(one.moved, k), across, _congruent(power, other.squares)),
        _symmetric_sum(one.sums, _times(k, whole), _congruent(power, other.sums)),
    )


def _one_step(change: Matrix, kick: Vector, weight: float = 1.0) -> _Block:
    return _Block(1, weight, change, kick, _NOTHING, (0.0, 0.0), _NOTHING, _NOTHING)


def _equal_steps(change: Matrix, kick: Vector, count: int) -> _Block:
    """Equal steps."""
    step = _one_step(change, kick)
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


class EpochDivision(NamedTuple):
    """Division of an epoch of N samples into batches.

    Attributes:
        batches: m >= 1.
        last: samples of the last batch over B, in (0, 1].
        size: N/B, at least what the batches hold.
    """

    batches: int
    last: float = 1.0
    size: float | None = None

    @classmethod
    def of(cls, dataset_size: float, batch_size: float, *, drop_last: bool = False) -> EpochDivision:
        """An epoch of N samples in batches of B <= N, the rest left out if ``drop_last``.

        Example:
            >>> EpochDivision.of(10, 4), EpochDivision.of(10, 4, drop_last=True)
            (EpochDivision(batches=3, last=0.5, size=2.5), EpochDivision(batches=2, last=1.0, size=2.5))
        """
        size = dataset_size / batch_size
        whole = math.floor(size * (1.0 + 1e-12))
        rest = size - whole
        if drop_last or rest <= 1e-9:
            return cls(whole, 1.0, size)
        return cls(whole + 1, rest, size)


def epoch_covariance(change: Matrix, kick: Vector, epoch: EpochDivision | int) -> Symmetric:
    """Covariance of x over the steps of an epoch, for gradient noise of variance s² = 1: xx, xy, yy.

    Args:
        change: A - 1 by rows, A of spectral radius below 1.
        kick: b.
        epoch: its batches, or how many equal ones there are; of one that holds all samples there is no noise.

    Example:
        >>> descent = epoch_covariance((-1e-6, 0.0, 0.0, -1.0), (-1e-3, 0.0), 9)  # α = .001, h = .001
        >>> round(descent[0] / (1e-6 * (81 - 1) / (6 * 9)), 4)  # α²(m²-1)/(6m)
        1.0
    """
    batches, last, size = epoch if isinstance(epoch, EpochDivision) else EpochDivision(epoch)
    held = batches - 1 + last
    share = 1.0 / max(size or held, held)  # B/N
    equal = _equal_steps(change, kick, batches)
    whole = equal
    if last < 1.0:
        short = _one_step(change, kick, last)
        whole = short if batches == 1 else _then(short, _equal_steps(change, kick, batches - 1))
    start, turn = _symmetric_sum(whole.scatter, _outer_square(whole.moved, 1.0 / held - share)), whole.change
    for _ in range(_DOUBLINGS):  # Σ over epochs of A^(mj) Q A^(mj)ᵀ
        added = _symmetric_sum(start, _twice_symmetric(turn, start), _congruent(turn, start))
        start, turn = _symmetric_sum(start, added), _changes(turn, turn)
        if max(map(abs, added)) <= 1e-16 * max(map(abs, start)):
            break
    carried = _carried(_next(change), start, batches)
    return _times(1.0 / batches, _symmetric_sum(carried, equal.sums, _times(-share, equal.squares)))


def _carried(matrix: Matrix, start: Symmetric, batches: int) -> Symmetric:
    """Σ over k < m of A^k P₀ A^kᵀ."""
    total, power, summed, rest = _NOTHING, matrix, start, batches
    front: Matrix = (1.0, 0.0, 0.0, 1.0)
    while rest:
        if rest & 1:
            total = _symmetric_sum(total, _congruent(front, summed))
            front = _matrix_product(front, power)
        summed = _symmetric_sum(summed, _congruent(power, summed))
        power, rest = _matrix_product(power, power), rest >> 1
    return total


def heavy_ball_covariance(lr: float, momentum: float, curvature: float, epoch: EpochDivision | int) -> Symmetric:
    """⟨θ²⟩, ⟨θΔ⟩, ⟨Δ²⟩ of heavy ball on hθ²/2 under shuffled epochs, Δ the last step, for noise of variance 1.

    Example:
        >>> place, _, step = heavy_ball_covariance(0.1, 0.9, 1e-6, 1000)
        >>> round(2 * place / step / (1000 / 3 * 1.9 / 0.1), 2)  # correlation time over (m/3)(1+β)/(1-β)
        0.99
    """
    slope = -lr * curvature
    return epoch_covariance((slope, momentum, slope, momentum - 1.0), (-lr, -lr), epoch)


def heavy_ball_variance(lr: float, momentum: float, curvature: float, epoch: EpochDivision | int) -> float:
    """⟨θ²⟩ of heavy ball on hθ²/2 under shuffled epochs, for gradient noise of variance 1, its mean over an epoch.

    Example:
        >>> lr, h, m = 0.1, 1e-4, 20
        >>> round(heavy_ball_variance(lr, 0.0, h, m) / (lr**2 * (m**2 - 1) / (6 * m)), 3)
        1.0
    """
    return heavy_ball_covariance(lr, momentum, curvature, epoch)[0]


@functools.lru_cache(maxsize=1024)  # settings mostly stay from one reading to the next
def epoch_share(lr: float, momentum: float, curvature: float, epoch: EpochDivision | int) -> float:
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


def flat_share(lr: float, momentum: float, batches: int) -> float:
    """Share of :func:`epoch_share` over h, along directions that hardly move in an epoch of equal batches: h → 0.

    Of many batches and a short memory it is αm/(3(1-β)), and the temperature is proportional to (α/((1-β)B))² N h.

    Example:
        >>> round(flat_share(0.1, 0.5, 1000) / (0.1 * 1000 / (3 * 0.5)), 2)
        1.0
    """
    slow = 1e-7 * (1.0 - momentum) ** 2 / (lr * (batches + 1.0 / (1.0 - momentum)))
    return epoch_share(lr, momentum, slow, batches) / slow


def remainder_share(epoch: EpochDivision) -> float:
    """Share of a step's variance that an epoch's sum keeps where batches do not divide the epoch, h → 0.

        (Σ_k B/b_k - m² B/N) / m

    A smaller last batch weighs its samples more than the others, and one that is left out is missing: the sum is not
    the full gradient, and flat directions have a temperature of independent draws, of this share.

    Example:
        >>> even, uneven = EpochDivision.of(12, 4), EpochDivision.of(10, 4)
        >>> remainder_share(even), round(remainder_share(uneven), 4)  # (2 + 2 - 9/2.5)/3
        (0.0, 0.1333)
    """
    batches, last, size = epoch
    held = batches - 1 + last
    return max((batches - 1 + 1.0 / last - batches**2 / max(size or held, held)) / batches, 0.0)
