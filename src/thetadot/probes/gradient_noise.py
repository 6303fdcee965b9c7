r"""Gradient noise: tr Σ, |G|² and the noise scale, from the gradients of k equal micro-batches of b samples.

    trΣ = b Σᵢ|gᵢ-ḡ|²/(k-1),    |G|² = |ḡ|² - trΣ/(kb),    B_simple = trΣ/|G|²                [mccandlish2018, app. A]

Both estimates are unbiased; the interval of their ratio is a jackknife over micro-batches. Where |G|² is not told from
zero, the noise scale is given as a lower bound.

Source:
    [mccandlish2018] McCandlish, Kaplan, Amodei, "An empirical model of large-batch training".
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from thetadot.errors import require
from thetadot.tensors import accumulation_dtype

_MOST_LOG = 300.0


@dataclass(frozen=True)
class GradientNoise:
    """trΣ of one sample, |G|², their ratio with a 95% interval; where ``resolved`` is False it is a lower bound."""

    variance: float
    square: float
    scale: float
    low: float
    high: float
    resolved: bool


def gradient_noise(gradients: Tensor, samples: int) -> GradientNoise:
    """Noise of one sample's gradient.

    Args:
        gradients: (k, d) gradients of k micro-batches, k >= 3.
        samples: b, samples in each.

    Raises:
        InadmissibleValue: fewer than 3 micro-batches, or no samples in them.

    Example:
        >>> g = torch.tensor([[1.0, 1.0], [1.0, -1.0], [1.0, 1.0], [1.0, -1.0]])
        >>> noise = gradient_noise(g, samples=1)
        >>> round(noise.variance, 6), round(noise.square, 6)  # 4/3; 1 - 1/3
        (1.333333, 0.666667)
    """
    k = gradients.shape[0]
    require(k >= 3, f"gradients of {k} micro-batches", "are too few", "Pass at least 3.")
    require(samples >= 1, f"samples={samples}", "is below 1", "Pass the samples of a micro-batch.")
    gradients = gradients.to(accumulation_dtype(gradients))
    mean = gradients.mean(dim=0)
    deviations = gradients - mean  # else a small noise drowns in the rounding of |g|²
    gram = (deviations @ deviations.T).double()
    along = (deviations @ mean).double()
    weights = torch.ones(k + 1, k, dtype=torch.float64, device=gram.device)
    weights[1:] -= torch.eye(k, dtype=torch.float64, device=gram.device)  # row 0: all; row i: without micro-batch i
    count = weights.sum(dim=1)
    share = weights / count[:, None]
    shift = torch.einsum("ri,ij,rj->r", share, gram, share)  # |mean of the row - ḡ|²
    variance = (samples * (weights @ gram.diagonal() - count * shift) / (count - 1)).clamp_min(0.0)
    square = shift + 2.0 * share @ along + (mean @ mean).double() - variance / (count * samples)
    return _ratio(variance, square)


def _ratio(variance: Tensor, square: Tensor) -> GradientNoise:
    """Their ratio, from all micro-batches (row 0) and from all but one (rows 1 to k)."""
    tr_sigma, g_square = float(variance[0]), float(square[0])
    spread = _jackknife(square[1:])
    if tr_sigma > 0 and (g_square <= 2.0 * spread or float(square[1:].min()) <= 0):
        bound = tr_sigma / max(max(g_square, 0.0) + 2.0 * spread, 1e-300)
        return GradientNoise(tr_sigma, g_square, bound, bound, bound, resolved=False)
    if float(variance.min()) <= 0:  # all micro-batches but one agree: the logarithm has no interval
        scale = tr_sigma / g_square if g_square > 0 else 0.0
        half = 2.0 * _jackknife(variance[1:] / square[1:]) if tr_sigma > 0 else 0.0
        return GradientNoise(tr_sigma, g_square, scale, max(0.0, scale - half), scale + half, resolved=True)
    logs = (variance / square).log()
    scale, factor = math.exp(float(logs[0])), math.exp(min(2.0 * _jackknife(logs[1:]), _MOST_LOG))
    return GradientNoise(tr_sigma, g_square, scale, scale / factor, scale * factor, resolved=True)


def _jackknife(left_out: Tensor) -> float:
    """Standard error from leave-one-out values."""
    k = left_out.numel()
    return float(((k - 1) / k * ((left_out - left_out.mean()) ** 2).sum()).sqrt())
