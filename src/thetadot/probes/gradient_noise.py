r"""Gradient noise: tr Σ, |G|² and the noise scale, from the gradients of k equal micro-batches of b samples.

    trΣ = b Σᵢ|gᵢ-ḡ|²/(k-1),    |G|² = |ḡ|² - trΣ/(kb),    B_simple = trΣ/|G|²                [mccandlish2018, app. A]

Both estimates are unbiased; the interval of their ratio is a jackknife over micro-batches. Where |G|² is not told from zero, the noise
scale is given as a lower bound.

Source:
    [mccandlish2018] McCandlish, Kaplan, Amodei, "An empirical model of large-batch training".
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from thetadot.errors import require


@dataclass(frozen=True)
class GradientNoise:
    """trΣ of one sample, |G|², their ratio with a 95% interval; ``resolved`` is False where the ratio is a lower bound."""

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

    Example:
        >>> g = torch.tensor([[1.0, 1.0], [1.0, -1.0], [1.0, 1.0], [1.0, -1.0]])
        >>> noise = gradient_noise(g, samples=1)
        >>> round(noise.variance, 6), round(noise.square, 6)  # 4/3; 1 - 1/3
        (1.333333, 0.666667)
    """
    k = gradients.shape[0]
    require(k >= 3, f"gradients of {k} micro-batches", "are too few", "Pass at least 3.")
    gram = (gradients @ gradients.T).double()
    weights = torch.ones(k + 1, k, dtype=torch.float64, device=gram.device)
    weights[1:] -= torch.eye(k, dtype=torch.float64, device=gram.device)  # row 0: all; row i: without micro-batch i
    count = weights.sum(dim=1)
    mean_square = torch.einsum("ri,ij,rj->r", weights, gram, weights) / count**2
    variance = samples * (weights @ gram.diagonal() - count * mean_square) / (count - 1)
    square = mean_square - variance / (count * samples)
    spread = _jackknife(square[1:])
    if float(square[0]) <= 2.0 * spread or float(square[1:].min()) <= 0:
        bound = float(variance[0] / (square[0].clamp_min(0) + 2.0 * spread).clamp_min(1e-300))
        return GradientNoise(float(variance[0]), float(square[0]), bound, bound, bound, resolved=False)
    logs = (variance / square).log()
    half = 2.0 * _jackknife(logs[1:])
    scale = float(logs[0].exp())
    factor = float(torch.tensor(half).exp())
    return GradientNoise(float(variance[0]), float(square[0]), scale, scale / factor, scale * factor, resolved=True)


def _jackknife(left_out: Tensor) -> float:
    """Standard error from leave-one-out values."""
    k = left_out.numel()
    return float(((k - 1) / k * ((left_out - left_out.mean()) ** 2).sum()).sqrt())
