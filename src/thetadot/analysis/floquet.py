r"""Linear motion with a period: what one period does, and whether it lets things grow.

    ẋ = A(t) x,  A(t+P) = A(t):    x(t+P) = M x(t),    multipliers μ = eigenvalues of M,    exponents ln(μ)/P

Stable where every |μ| <= 1; growth by powers of t, where multipliers coincide on the circle, is not seen. In the plane
without friction det M = 1, and that is |tr M| <= 2, tr M = 2 cos(ΩP).

M is a product of exponentials by Magnus' series in three Gauss points a step [blanes2009]: order 6, and the
determinant as exact as the quadrature of tr A. Steps are doubled until M no longer changes; all members of a batch
together.

Source:
    Floquet (1883).
    [blanes2009] Blanes, Casas, Oteo, Ros, "The Magnus expansion and some of its applications".
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from thetadot.core.signatures import checked
from thetadot.core.validation import require_finite, result_of
from thetadot.errors import InadmissibleValue, NotConverged, require

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

_FEWEST, _MOST = 8, 1 << 14
_CHUNK = 32
_PADE = tuple(math.comb(6, k) / (math.comb(12, k) * math.factorial(k)) for k in range(7))
_NARROW = 0.5  # a norm at which the approximant of order 12 is exact to rounding
_GROWTH = 1e-7  # multipliers that meet on the unit circle are known to the root of rounding only


@dataclass(frozen=True)
class Floquet:
    """Monodromy matrix of a periodic orbit or forcing, with its multipliers.

    Attributes:
        monodromy: M, (..., n, n).
        period: P.
        error: largest change of an entry of M at the last doubling, in units of M's largest entry, divided by 63.
    """

    monodromy: Tensor
    period: float
    error: float

    @property
    def multipliers(self) -> Tensor:
        """Floquet multipliers, the eigenvalues of the monodromy matrix: (..., n), complex."""
        require_finite(monodromy=self.monodromy)
        values: Tensor = torch.linalg.eigvals(self.monodromy)
        return values

    @property
    def exponents(self) -> Tensor:
        """ln(μ)/P, (..., n), complex: imaginary parts up to multiples of 2π/P."""
        return self.multipliers.log() / self.period

    @property
    def trace(self) -> Tensor:
        """The sum of the multipliers: (...)."""
        return self.monodromy.diagonal(dim1=-2, dim2=-1).sum(-1)

    @property
    def stable(self) -> Tensor:
        """Whether no multiplier leaves the unit circle: (...)."""
        return (self.multipliers.abs() <= 1.0 + _GROWTH).all(-1)


@checked
def floquet(coefficients: Callable[[Tensor], Tensor], period: float, *, tolerance: float = 1e-11) -> Floquet:
    """Compute the monodromy matrix M of ẋ = A(t)x.

    Args:
        coefficients: A of a time of shape (), returns (..., n, n); smooth within the period.
        period: P > 0.
        tolerance: of the last doubling, in units of M's entries.

    Raises:
        InadmissibleValue: a period that is not positive, or A that is not a square matrix or not finite.
        NotConverged: 16384 steps are too few, or A is not smooth.

    Example:
        >>> from thetadot.systems import InvertedPendulum
        >>> pendulum = InvertedPendulum(frequency=500.0)
        >>> once = floquet(pendulum.matrix, pendulum.period)
        >>> bool(once.stable), round(float(once.trace), 7), round(float(once.exponents.imag.abs().max()), 6)
        (True, 1.9996052, 1.581124)
    """
    require(0 < period < math.inf, f"period={period:g}", "is not positive and finite", "Pass period > 0.")
    first = result_of("coefficients", coefficients, torch.zeros((), dtype=torch.float64))
    if not isinstance(first, torch.Tensor):
        raise InadmissibleValue(f"coefficients give {first!r} at time 0. Return a tensor (..., n, n).")
    if first.ndim < 2 or first.shape[-1] != first.shape[-2]:
        raise InadmissibleValue(f"coefficients of shape {tuple(first.shape)} are no square matrix. Return (..., n, n).")
    require(bool(first.isfinite().all()), "a coefficient at time 0", "is not finite", "Return finite numbers.")
    coarse = _ordered_product(coefficients, period, _FEWEST)
    steps = 2 * _FEWEST
    while steps <= _MOST:
        fine = _ordered_product(coefficients, period, steps)
        size = fine.abs().amax((-2, -1)).clamp_min(1e-300)
        change = float(((fine - coarse).abs().amax((-2, -1)) / size).max())
        if change <= 63.0 * tolerance:
            return Floquet(fine, period, change / 63.0)
        if not math.isfinite(change):
            break
        coarse, steps = fine, 2 * steps
    raise NotConverged(
        f"one period was not resolved to {tolerance:g} in {min(steps, _MOST)} steps. Pass a larger tolerance, or "
        "coefficients that are smooth and finite."
    )


def _ordered_product(coefficients: Callable[[Tensor], Tensor], period: float, steps: int) -> Tensor:
    """The ordered product of `steps` exponentials."""
    width = period / steps
    nodes = torch.tensor([0.5 - math.sqrt(0.15), 0.5, 0.5 + math.sqrt(0.15)], dtype=torch.float64)
    whole: Tensor | None = None
    for first in range(0, steps, _CHUNK):
        indices = range(first, min(first + _CHUNK, steps))
        left, middle, right = (torch.stack([coefficients((k + node) * width) for k in indices]) for node in nodes)
        require_finite(coefficients=torch.stack((left, middle, right)))
        for once in _exponential(_magnus(left.double(), middle.double(), right.double(), width)):
            whole = once if whole is None else once @ whole
    assert whole is not None  # noqa: S101 - there is at least one step
    return whole


def _magnus(left: Tensor, middle: Tensor, right: Tensor, width: float) -> Tensor:
    """Ω of one step, to order 6."""
    mean = width * middle
    slope = math.sqrt(15.0) / 3.0 * width * (right - left)
    bend = 10.0 / 3.0 * width * (right - 2.0 * middle + left)
    turn = _commutator(mean, slope)
    further = -_commutator(mean, 2.0 * bend + turn) / 60.0
    return mean + bend / 12.0 + _commutator(-20.0 * mean - bend + turn, slope + further) / 240.0


def _commutator(a: Tensor, b: Tensor) -> Tensor:
    return a @ b - b @ a


def _exponential(matrix: Tensor) -> Tensor:
    """e^A of (..., n, n): the diagonal Padé approximant [6/6] of A/2^s, squared s times; of det 1 for tr A = 0, n = 2.

    torch.linalg.matrix_exp of a single small matrix is off by 1e-10 (torch 2.13).
    """
    norm = float(matrix.abs().sum(-1).max())
    squarings = max(0, math.ceil(math.log2(norm / _NARROW))) if 0 < norm < math.inf else 0
    scaled = matrix / 2.0**squarings
    square = scaled @ scaled
    fourth = square @ square
    unit = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
    even = _PADE[0] * unit + _PADE[2] * square + _PADE[4] * fourth + _PADE[6] * (square @ fourth)
    odd = scaled @ (_PADE[1] * unit + _PADE[3] * square + _PADE[5] * fourth)
    result: Tensor = torch.linalg.solve(even - odd, even + odd)
    for _ in range(squarings):
        result = result @ result
    return result
