r"""Sharpness: the largest eigenvalue of the Hessian, by Lanczos iteration with full reorthogonalisation.

    H Vₖ = Vₖ Tₖ + βₖ vₖ₊₁ eₖᵀ,    λ ≈ θ₁(Tₖ),    ‖Hv - λv‖ = βₖ|s₁ₖ|

Ritz values, not power iteration: at the start of training the most negative eigenvalue can be the largest in size. The
residual is rigorous: an eigenvalue lies within it of the value given.

A kept vector makes it warm: two or three products are Rayleigh-Ritz on span(v, Hv, H²v). From one eigenvector the
others cannot be found again, so ``restart`` is the sum of the largest ones [saad2011, 7.3].

With a preconditioner P it is that of P^(-1/2) H P^(-1/2), the curvature as an adaptive optimizer's step sees it.

Source:
    Saad, "Numerical methods for large eigenvalue problems", SIAM 2011.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from thetadot.errors import require

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor


FEWEST = 3
"""Products before a small residual may end the iteration: a warm start's eigenvalue may no longer be the largest."""


@dataclass(frozen=True)
class Sharpness:
    """The largest eigenvalues; NaN where H is not finite.

    Attributes:
        value: λmax.
        vector: its eigenvector, (d,).
        residual: ‖Hv - λv‖.
        products: Hessian-vector products spent.
        spectrum: the largest Ritz values, descending; the first is ``value``.
        residuals: of each.
        restart: what the next measurement of as many begins with, (d,).
    """

    value: float
    vector: Tensor
    residual: float
    products: int
    spectrum: tuple[float, ...]
    residuals: tuple[float, ...]
    restart: Tensor


def sharpness(
    hessian: Callable[[Tensor], Tensor],
    start: Tensor,
    iterations: int = 10,
    *,
    preconditioner: Tensor | None = None,
    tolerance: float = 1e-3,
    count: int = 1,
) -> Sharpness:
    """Largest (algebraic) eigenvalue of a symmetric operator.

    Args:
        hessian: v -> Hv on flat vectors (d,).
        start: first vector (d,), random at first and the last ``restart`` afterwards; not zero.
        iterations: most products; each costs about two gradients.
        preconditioner: diagonal of P > 0, (d,).
        tolerance: stop when all residuals are below this share of the value, after :data:`FEWEST` products.
        count: largest eigenvalues wanted; each needs a product or two of its own.

    Raises:
        InadmissibleValue: no iterations, nothing wanted, or a start that is zero or not finite.

    Example:
        >>> found = sharpness(lambda v: torch.tensor([3.0, 1.0, -5.0]) * v, torch.ones(3), iterations=3)
        >>> round(found.value, 4)
        3.0
    """
    require(iterations >= 1, f"iterations={iterations}", "is below 1", "Pass iterations >= 1.")
    require(count >= 1, f"count={count}", "is below 1", "Pass count >= 1.")
    length = float(start.norm())
    require(
        0 < length < math.inf, f"a start of length {length:g}", "has no direction", "Pass a finite vector, not zero."
    )
    scale = None if preconditioner is None else preconditioner.rsqrt()
    most = min(iterations, start.numel())
    basis: list[Tensor] = [start / length]
    diagonal: list[float] = []
    beside: list[float] = []
    for made in range(1, most + 1):
        v = basis[-1]
        product = hessian(v) if scale is None else scale * hessian(scale * v)
        diagonal.append(float(product @ v))
        for other in basis + basis:  # twice is enough
            product = product - (product @ other) * other
        beside.append(float(product.norm()))
        if not math.isfinite(diagonal[-1] + beside[-1]):
            return Sharpness(math.nan, basis[0], math.nan, made, (math.nan,), (math.nan,), basis[0])
        values, vectors = _eigen(diagonal, beside[:-1])
        residuals = beside[-1] * vectors[-1].abs()
        settled = made >= min(FEWEST, most) and made >= min(count, most)
        settled = settled and float(residuals[:count].max()) <= tolerance * abs(float(values[0]))
        if settled or beside[-1] <= 1e-12 * float(values.abs().max()):
            break
        basis.append(product / beside[-1])
    vector = _combined(basis, vectors[:, 0])
    restart = vector if count == 1 else _combined(basis, vectors[:, :count].sum(dim=1))
    spectrum, residual = tuple(values[:count].tolist()), tuple(residuals[:count].tolist())
    return Sharpness(spectrum[0], vector, residual[0], made, spectrum, residual, restart)


def _combined(basis: list[Tensor], weights: Tensor) -> Tensor:
    """Σᵢ wᵢvᵢ, of length 1."""
    vector = torch.zeros_like(basis[0])
    for weight, v in zip(weights.tolist(), basis, strict=False):
        vector.add_(v, alpha=weight)
    return vector.div_(vector.norm())


def _eigen(diagonal: list[float], beside: list[float]) -> tuple[Tensor, Tensor]:
    """Eigenvalues, descending, and eigenvectors of a symmetric tridiagonal matrix."""
    matrix = torch.diag(torch.tensor(diagonal, dtype=torch.float64))
    if beside:
        off = torch.diag(torch.tensor(beside, dtype=torch.float64), 1)
        matrix = matrix + off + off.T
    values, vectors = torch.linalg.eigh(matrix)
    return values.flip(0), vectors.flip(1)
