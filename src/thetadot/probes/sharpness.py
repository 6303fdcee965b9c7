r"""Sharpness: the largest eigenvalue of the Hessian, by Lanczos iteration with full reorthogonalisation.

    H Vₖ = Vₖ Tₖ + βₖ vₖ₊₁ eₖᵀ,    λ ≈ θ₁(Tₖ),    ‖Hv - λv‖ = βₖ|s₁ₖ|

Ritz values, not power iteration: at the start of training the most negative eigenvalue can be the largest in size. The
residual is rigorous: an eigenvalue lies within it of the value given.

With a preconditioner P it is that of P^(-1/2) H P^(-1/2), the curvature as an adaptive optimizer's step sees it.
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
    """λmax, its eigenvector (d,), the residual, and the Hessian-vector products spent; NaN where H is not finite."""

    value: float
    vector: Tensor
    residual: float
    products: int


def sharpness(
    hessian: Callable[[Tensor], Tensor],
    start: Tensor,
    iterations: int = 10,
    *,
    preconditioner: Tensor | None = None,
    tolerance: float = 1e-3,
) -> Sharpness:
    """Largest (algebraic) eigenvalue of a symmetric operator.

    Args:
        hessian: v -> Hv on flat vectors (d,).
        start: first vector (d,), random at first and the last eigenvector afterwards; not zero.
        iterations: most products; each costs about two gradients.
        preconditioner: diagonal of P > 0, (d,).
        tolerance: stop when the residual is below this share of the value, after :data:`FEWEST` products.

    Raises:
        InadmissibleValue: no iterations, or a start that is zero or not finite.

    Example:
        >>> found = sharpness(lambda v: torch.tensor([3.0, 1.0, -5.0]) * v, torch.ones(3), iterations=3)
        >>> round(found.value, 4)
        3.0
    """
    require(iterations >= 1, f"iterations={iterations}", "is below 1", "Pass iterations >= 1.")
    length = float(start.norm())
    require(
        0 < length < math.inf, f"a start of length {length:g}", "has no direction", "Pass a finite vector, not zero."
    )
    scale = None if preconditioner is None else preconditioner.rsqrt()
    most = min(iterations, start.numel())
    basis: list[Tensor] = [start / length]
    diagonal: list[float] = []
    beside: list[float] = []
    for count in range(1, most + 1):
        v = basis[-1]
        product = hessian(v) if scale is None else scale * hessian(scale * v)
        diagonal.append(float(product @ v))
        for other in basis + basis:  # twice is enough
            product = product - (product @ other) * other
        beside.append(float(product.norm()))
        if not math.isfinite(diagonal[-1] + beside[-1]):
            return Sharpness(math.nan, basis[0], math.nan, count)
        values, vectors = _eigen(diagonal, beside[:-1])
        value, residual = float(values[-1]), beside[-1] * abs(float(vectors[-1, -1]))
        settled = residual <= tolerance * abs(value) and count >= min(FEWEST, most)
        if settled or beside[-1] <= 1e-12 * float(values.abs().max()):
            break
        basis.append(product / beside[-1])
    vector = torch.zeros_like(basis[0])
    for weight, v in zip(vectors[:, -1].tolist(), basis, strict=False):
        vector.add_(v, alpha=weight)
    return Sharpness(value, vector / vector.norm(), residual, count)


def _eigen(diagonal: list[float], beside: list[float]) -> tuple[Tensor, Tensor]:
    """Eigenvalues, ascending, and eigenvectors of a symmetric tridiagonal matrix."""
    matrix = torch.diag(torch.tensor(diagonal, dtype=torch.float64))
    if beside:
        off = torch.diag(torch.tensor(beside, dtype=torch.float64), 1)
        matrix = matrix + off + off.T
    values, vectors = torch.linalg.eigh(matrix)
    return values, vectors
