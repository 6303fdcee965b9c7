"""The largest eigenvalues of a Hessian in a metric, followed along a path from where they were before."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator, lobpcg

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

DENSE = 32
"""Up to so many parameters the whole matrix is taken."""
EXTRA = 2
"""Vectors beside those that are wanted: they let the last of these converge."""


class TopCurvature:
    """Top eigenpairs of P^-½HP^-½, each call beginning from the last one's vectors.

    Args:
        product: H times each column of (d, k), at the present point.
        size: d.
        count: eigenpairs.
        like: dtype and device.
    """

    def __init__(self, product: Callable[[Tensor], Tensor], size: int, count: int, like: Tensor) -> None:
        self.product, self.size, self.count, self.like = product, size, count, like
        generator = torch.Generator().manual_seed(5655)
        self.vectors = torch.linalg.qr(
            torch.randn(size, min(count + EXTRA, size), generator=generator, dtype=torch.float64)
        )[0].numpy()

    def of(self, scale: Tensor | None) -> tuple[Tensor, Tensor]:
        """Eigenvalues (k,), descending, and eigenvectors (d, k).

        Args:
            scale: P^-½, (d,), or None.
        """

        def apply(columns: np.ndarray) -> np.ndarray:
            v = torch.as_tensor(np.ascontiguousarray(columns)).to(self.like)
            v = v[:, None] if v.dim() == 1 else v
            found = self.product(v) if scale is None else scale[:, None] * self.product(scale[:, None] * v)
            return np.asarray(found.detach().double().cpu().numpy())

        if self.size <= max(DENSE, 5 * (self.count + EXTRA)):
            matrix = apply(np.eye(self.size))
            values, vectors = np.linalg.eigh(0.5 * (matrix + matrix.T))
            values, vectors = values[::-1], vectors[:, ::-1]
        else:
            operator = LinearOperator((self.size, self.size), matvec=apply, matmat=apply, dtype=np.float64)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # it warns where the last vectors, which nobody asks for, are not exact
                values, vectors = lobpcg(operator, self.vectors, largest=True, tol=1e-5, maxiter=20)
            order = np.argsort(values)[::-1]
            values, vectors = values[order], vectors[:, order]
            self.vectors = np.linalg.qr(vectors)[0]
        top = torch.as_tensor(values[: self.count].copy())
        return top, torch.as_tensor(vectors[:, : self.count].copy()).to(self.like)
