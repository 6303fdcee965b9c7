r"""Sharpness: the largest eigenvalue of the Hessian, by Lanczos iteration with full reorthogonalisation.

    H Vₖ = Vₖ Tₖ + βₖ vₖ₊₁ eₖᵀ,    λ ≈ θ₁(Tₖ),    ‖Hv - λv‖ = βₖ|s₁ₖ|

Ritz values, not power iteration: at the start of training the most negative eigenvalue can be the largest in size. The residual is
rigorous: an eigenvalue lies within it of the value given.

With a preconditioner P it is that of P^(-1/2) H P^(-1/2), the curvature as an adaptive optimizer's step sees it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from thetadot.errors import require

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor


@dataclass(frozen=True)
class Sharpness:
    """λmax, its eigenvector (d,), the residual, and the Hessian-vector products spent."""

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
        tolerance: stop when the residual is below this share of the value.

    Example:
        >>> found = sharpness(lambda v: torch.tensor([3.0, 1.0, -5.0]) * v, torch.ones(3), iterations=3)
        >>> round(found.value, 4)
        3.0
    """
    require(iterations >= 1, f"iterations={iterations}", "is below 1", "Pass iterations >= 1.")
    scale = None if preconditioner is None else preconditioner.rsqrt()
    basis: list[Tensor] = [start / start.norm()]
    diagonal: list[Tensor] = []
    beside: list[Tensor] = []
    for count in range(1, min(iterations, start.numel()) + 1):
        v = basis[-1]
        product = hessian(v) if scale is None else scale * hessian(scale * v)
        diagonal.append(product @ v)
        for other in basis + basis:  # twice is enough
            product = product - (product @ other) * other
        beside.append(product.norm())
        matrix = torch.diag(torch.stack(diagonal)).double()
        if count > 1:
            matrix += torch.diag(torch.stack(beside[:-1]).double(), 1) + torch.diag(torch.stack(beside[:-1]).double(), -1)
        values, vectors = torch.linalg.eigh(matrix)
        residual = float(beside[-1] * vectors[-1, -1].abs())
        if residual <= tolerance * abs(float(values[-1])) or float(beside[-1]) <= 1e-12 * max(1.0, float(values.abs().max())):
            break
        basis.append(product / beside[-1])
    vector = sum(float(weight) * v for weight, v in zip(vectors[:, -1], basis, strict=False))
    return Sharpness(float(values[-1]), vector / vector.norm(), residual, count)  # type: ignore[union-attr]
