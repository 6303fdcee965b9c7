r"""Sharpness: the largest eigenvalue of the Hessian, by Lanczos iteration with full reorthogonalisation.

    H Vₖ = Vₖ Tₖ + βₖ vₖ₊₁ eₖᵀ,    θ₁(Tₖ) <= λmax,    ‖Hv - θ₁v‖ = βₖ|s₁ₖ|

Ritz values, not power iteration: at the start of training the most negative eigenvalue can be the largest in size. *An*
eigenvalue lies within the residual of a Ritz value, which need not be the largest: Lanczos may not have seen that yet.
How far above it can be, the start tells. With vₖ₊₁ = p(H)v₁/(β₁…βₖ), p the characteristic polynomial of Tₖ, an
eigenvector u has |⟨u,v₁⟩| p(λ) <= β₁…βₖ, so that [vandorsselaer2000]

    θ₁ <= λmax <= the λ with ∏ᵢ (λ - θᵢ) = β₁…βₖ/a,    P(|⟨u,v₁⟩| < a) <= a √(2d/π)/s = 5%

whatever H is, its products being exact, where the share s of v₁ is of random direction. One draw speaks for every k,
so that the iteration may end when the interval is narrow.

A kept vector makes it warm: v₁ is then half that and half random (s = 1/√2 or so). From one eigenvector the others
cannot be found again, so ``restart`` is the sum of the largest ones [saad2011, 7.3].

With a preconditioner P it is that of P^(-1/2) H P^(-1/2), the curvature as an adaptive optimizer's step sees it.

Source:
    Saad, "Numerical methods for large eigenvalue problems", SIAM 2011.
    van Dorsselaer, Hochstenbach, van der Vorst, "Computing probabilistic bounds for extreme eigenvalues of symmetric
    matrices with the Lanczos method", SIAM J. Matrix Anal. Appl. 22 (2000).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from thetadot.core.signatures import checked
from thetadot.errors import require

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor


LEVEL = 0.95
"""Probability, over the random part of a start, that the largest eigenvalue lies in the interval."""
ROUNDINGS = 16.0
"""How many units in the last place of the largest Ritz value an end of the interval may be off."""


@dataclass(frozen=True)
class Sharpness:
    """The largest eigenvalues; NaN where H is not finite.

    Attributes:
        value: θ₁, the lower end of λmax to rounding.
        high: the upper end, at :data:`LEVEL`.
        vector: its eigenvector, (d,).
        residual: ‖Hv - θ₁v‖; an eigenvalue lies within it of the value.
        products: Hessian-vector products spent.
        spectrum: the largest Ritz values, descending; the first is ``value``.
        residuals: of each.
        restart: what the next measurement of as many begins with, (d,).
    """

    value: float
    high: float
    vector: Tensor
    residual: float
    products: int
    spectrum: tuple[float, ...]
    residuals: tuple[float, ...]
    restart: Tensor


@checked
def sharpness(
    hessian: Callable[[Tensor], Tensor],
    start: Tensor,
    iterations: int = 10,
    *,
    warm: Tensor | None = None,
    preconditioner: Tensor | None = None,
    tolerance: float = 1e-3,
    count: int = 1,
) -> Sharpness:
    """Largest (algebraic) eigenvalue of a symmetric operator.

    Args:
        hessian: v -> Hv on flat vectors (d,).
        start: (d,), normal deviates drawn for this measurement alone: ``high`` rests on their independence of H.
        iterations: most products; each costs about two gradients.
        warm: the last ``restart``, (d,), which is added to the start.
        preconditioner: diagonal of P > 0, (d,).
        tolerance: stop when the interval and all residuals are below this share of the value.
        count: largest eigenvalues wanted; each needs a product or two of its own.

    Raises:
        InadmissibleValue: no iterations, nothing wanted, or a start or warm vector that is zero or not finite.

    Example:
        >>> found = sharpness(lambda v: torch.tensor([3.0, 1.0, -5.0]) * v, torch.ones(3), iterations=3)
        >>> round(found.value, 4), round(found.high, 4)
        (3.0, 3.0)
    """
    require(iterations >= 1, f"iterations={iterations}", "is below 1", "Pass iterations >= 1.")
    require(count >= 1, f"count={count}", "is below 1", "Pass count >= 1.")
    first, share = _direction(start), 1.0
    if warm is not None:
        kept = _direction(warm.to(first))
        if float((first + kept).norm()) < 0.5:  # nearly opposite: in one dimension every second time
            kept = -kept
        first = first + kept
        length = float(first.norm())
        first, share = first / length, 1.0 / length
    least = share * (1.0 - LEVEL) * math.sqrt(math.pi / (2.0 * start.numel()))
    rounding = ROUNDINGS * torch.finfo(first.dtype).eps
    scale = None if preconditioner is None else preconditioner.rsqrt()
    most = min(iterations, start.numel())
    basis = first.new_empty(most, first.numel())  # one block: a step is orthogonal to all before it in two passes
    basis[0] = first
    diagonal: list[float] = []
    beside: list[float] = []
    for made in range(1, most + 1):
        v, known = basis[made - 1], basis[:made]
        product = hessian(v).clone() if scale is None else scale * hessian(scale * v)
        diagonal.append(float(product @ v))
        for _ in range(2):  # twice is enough
            product.addmv_(known.T, known @ product, alpha=-1.0)
        beside.append(float(product.norm()))
        if not math.isfinite(diagonal[-1] + beside[-1]):
            return Sharpness(math.nan, math.nan, first, math.nan, made, (math.nan,), (math.nan,), first)
        values, vectors = _eigen(diagonal, beside[:-1])
        residuals = beside[-1] * vectors[-1].abs()
        ritz = values.tolist()
        high = _upper(ritz, beside, least) + rounding * max(map(abs, ritz))
        wide = max(high - ritz[0], float(residuals[:count].max()))
        settled = made >= min(count, most) and wide <= tolerance * abs(ritz[0])
        if settled or made == most or beside[-1] <= 1e-12 * float(values.abs().max()):
            break
        torch.div(product, beside[-1], out=basis[made])
    vector = _combined(known, vectors[:, 0])
    restart = vector if count == 1 else _combined(known, vectors[:, :count].sum(dim=1))
    spectrum, residual = tuple(values[:count].tolist()), tuple(residuals[:count].tolist())
    return Sharpness(spectrum[0], high, vector, residual[0], made, spectrum, residual, restart)


def _direction(vector: Tensor) -> Tensor:
    length = float(vector.norm())
    require(
        0 < length < math.inf, f"a start of length {length:g}", "has no direction", "Pass a finite vector, not zero."
    )
    return vector / length


def _upper(ritz: list[float], beside: list[float], least: float) -> float:
    """The λ >= θ₁ at which ∏(λ - θᵢ) = ∏βᵢ/a, by bisection of its logarithm, which increases."""
    if min(beside) <= 0:
        return ritz[0]
    aim = sum(map(math.log, beside)) - math.log(least)
    below = [ritz[0] - value for value in ritz]
    low, high = 0.0, math.exp(aim / len(ritz))  # above θ₁; every factor is at least λ - θ₁
    for _ in range(60):
        middle = (low + high) / 2.0
        if middle <= 0.0 or sum(math.log(middle + gap) for gap in below) >= aim:
            high = middle
        else:
            low = middle
    return ritz[0] + high


def _combined(basis: Tensor, weights: Tensor) -> Tensor:
    """Σᵢ wᵢvᵢ, of length 1."""
    vector = basis.T @ weights.to(basis)
    return vector.div_(vector.norm())


def _eigen(diagonal: list[float], beside: list[float]) -> tuple[Tensor, Tensor]:
    """Eigenvalues, descending, and eigenvectors of a symmetric tridiagonal matrix."""
    matrix = torch.diag(torch.tensor(diagonal, dtype=torch.float64))
    if beside:
        off = torch.diag(torch.tensor(beside, dtype=torch.float64), 1)
        matrix = matrix + off + off.T
    values, vectors = torch.linalg.eigh(matrix)
    return values.flip(0), vectors.flip(1)
