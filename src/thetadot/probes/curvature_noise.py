r"""Curvature-weighted noise scale: the batch size at which noise undoes a step's decrease of the loss.

    B_noise = tr(HΣ)/GᵀHG,    tr(HΣ) = b Σᵢ dᵢᵀH dᵢ/(k-1),    GᵀHG = ḡᵀHḡ - tr(HΣ)/(kb),    dᵢ = gᵢ - ḡ
                                                                                            [mccandlish2018, eq. 2.8]

Both parts are unbiased. One product with H gives Hḡ; P more, of u = Σᵢ εᵢdᵢ with random signs ε, give dⱼᵀHdᵢ in the
mean over ε [hutchinson1990], and at P >= k the k products Hdᵢ themselves, without that noise. The interval is
Fieller's, with the jackknife's covariance over micro-batches and the spread of the P products added; where GᵀHG is not
told from zero the scale is a bound, taking GᵀHG to be positive.

Source:
    McCandlish, Kaplan, Amodei, "An empirical model of large-batch training".
    Hutchinson, "A stochastic estimator of the trace of the influence matrix", Comm. Stat. Simul. 19 (1990).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from thetadot.core.intervals import quantile
from thetadot.core.rng import derive, words
from thetadot.core.signatures import checked
from thetadot.core.tensors import accumulation_dtype
from thetadot.errors import require
from thetadot.probes.averages import bounded, fieller
from thetadot.probes.gradient_noise import leave_one_out

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

_KEY = 5655


@dataclass(frozen=True)
class CurvatureNoise:
    """tr(HΣ) of one sample, GᵀHG, their ratio with an interval, and the products spent.

    Where ``resolved`` is False ``scale`` is a one-sided bound, or NaN where there is none.
    """

    variance: float
    square: float
    scale: float
    low: float
    high: float
    resolved: bool
    products: int


@checked
def curvature_noise(
    gradients: Tensor,
    hessian: Callable[[Tensor], Tensor],
    samples: int,
    probes: int = 4,
    key: int = _KEY,
    level: float = 0.95,
) -> CurvatureNoise:
    """B_noise from micro-batch gradients; 1 + min(probes, k) Hessian-vector products.

    Args:
        gradients: (k, d) gradients of k micro-batches, k >= 3.
        hessian: v -> Hv, (d,) -> (d,), of the loss whose curvature weighs.
        samples: b, samples in each.
        probes: P >= 2 random combinations.
        key: of the signs, 64 bits.
        level: probability that the interval is to cover the ratio.

    Raises:
        InadmissibleValue: fewer than 3 micro-batches, no samples in them, or fewer than 2 probes.

    Example:
        >>> g = torch.tensor([[3.0, 1.0], [3.0, -1.0], [3.0, 1.0], [3.0, -1.0]])
        >>> found = curvature_noise(g, lambda v: torch.tensor([2.0, 5.0]) * v, samples=1, probes=4)
        >>> round(found.variance, 4), round(found.square, 4)  # 5·4/3; 2·9 - 5/3
        (6.6667, 16.3333)
    """
    k = gradients.shape[0]
    require(k >= 3, f"gradients of {k} micro-batches", "are too few", "Pass at least 3.")
    require(samples >= 1, f"samples={samples}", "is below 1", "Pass the samples of a micro-batch.")
    require(probes >= 2, f"probes={probes}", "is below 2", "Pass at least 2: their spread is part of the interval.")
    gradients = gradients.to(accumulation_dtype(gradients))
    mean = gradients.mean(dim=0)
    deviations = gradients - mean
    signs = torch.eye(k, dtype=gradients.dtype, device=gradients.device)
    if probes < k:
        signs = _probe_signs(gradients, probes, key)
    images = torch.stack([hessian(row @ deviations) for row in signs])  # (P, d)
    curved = hessian(mean)
    sketch = (images @ deviations.T).double()  # (P, k): u_pᵀ H d_j
    signs = signs.double()
    gram = signs.T @ sketch * (1.0 if probes >= k else 1.0 / probes)
    along, centre = (deviations @ curved).double(), (mean @ curved).double()
    variance, square = leave_one_out((gram + gram.T) / 2.0, along, centre, samples)
    covariance = torch.cov(torch.stack([variance[1:], square[1:]]), correction=0) * (k - 1)
    if probes < k:
        traces = (signs * sketch).sum(dim=1) * samples / (k - 1)
        share = torch.tensor([1.0, -1.0 / (k * samples)], dtype=torch.float64, device=covariance.device)
        covariance = covariance + torch.outer(share, share) * traces.var() / probes
    return _resolved_or_not(float(variance[0]), float(square[0]), covariance, k, level, len(signs) + 1)


def _resolved_or_not(
    variance: float, square: float, covariance: Tensor, k: int, level: float, products: int
) -> CurvatureNoise:
    matrix, factor = covariance.cpu().numpy(), quantile(level, k - 1.0)
    ends = fieller(variance, square, matrix, factor) if bool(torch.isfinite(covariance).all()) else None
    if ends is not None and square != 0:
        return CurvatureNoise(variance, square, variance / square, *ends, resolved=True, products=products)
    half, width = (factor * math.sqrt(max(float(matrix[i, i]), 0.0)) for i in (0, 1))
    bound = bounded(variance - half, variance + half, max(square, 0.0) + width, k)
    return CurvatureNoise(variance, square, bound.value, bound.low, bound.high, resolved=False, products=products)


def _probe_signs(like: Tensor, probes: int, key: int) -> Tensor:
    """(P, k) signs, one bit of a word each."""
    rows = [words(like[:, 0], derive(key, probe)) & 1 for probe in range(probes)]
    return (2 * torch.stack(rows) - 1).to(like.dtype)
