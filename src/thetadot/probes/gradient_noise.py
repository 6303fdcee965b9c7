r"""Gradient noise: tr Σ, |G|² and the noise scale, from the gradients of k equal micro-batches of b samples.

    trΣ = b Σᵢ|gᵢ-ḡ|²/(k-1),    |G|² = |ḡ|² - trΣ/(kb),    B_simple = trΣ/|G|²                [mccandlish2018, app. A]

Both estimates are unbiased; the interval of their ratio is a jackknife over micro-batches. Where |G|² is not resolved
from zero, the noise scale is given as a lower bound. trΣ by itself is taken to be χ²_ν trΣ/ν [satterthwaite1946],

    ν = n(trΣ)²/tr(Σ²) = (n+1 - 2r)/(r - 1/n),    r = tr(S²)/(tr S)², n = k-1, by unbiased parts         [bai1996]

exact for one direction and normal gradients, and good where several hold the noise.

From Σᵢ|gᵢ|² and |ḡ|² alone, which gradient accumulation and ranks give for nothing, :func:`noise_from_squares` has
both; over several times their averages are divided (:func:`pooled_noise`), never their ratios averaged.

Source:
    [mccandlish2018] McCandlish, Kaplan, Amodei, "An empirical model of large-batch training".
    [satterthwaite1946] "An approximate distribution of estimates of variance components", Biometrics Bulletin 2.
    [bai1996] Bai, Saranadasa, "Effect of high dimension: by an example of a two sample problem", Statistica Sinica 6.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch
from scipy.stats import chi2
from torch import Tensor

from thetadot.core.signatures import checked
from thetadot.core.tensors import accumulation_dtype
from thetadot.errors import require
from thetadot.probes.averages import mean_interval, ratio_interval

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

_Number = TypeVar("_Number", "float", "Tensor", "NDArray[np.float64]")
_MOST_LOG = 300.0
_UPPER = 0.975
_MOST_DIRECTIONS = 1e3
"""More equal directions of noise than this are not told by a few micro-batches."""


@dataclass(frozen=True)
class GradientNoise:
    """trΣ of one sample, |G|², their ratio with a 95% interval; where ``resolved`` is False it is a lower bound.

    ``variances`` and ``squares`` are the ends of the intervals of trΣ and |G|², infinite where they are not told.
    """

    variance: float
    square: float
    scale: float
    low: float
    high: float
    resolved: bool
    variances: tuple[float, float] = (0.0, math.inf)
    squares: tuple[float, float] = (0.0, math.inf)


@checked
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
    variance, square = leave_one_out(gram, along, (mean @ mean).double(), samples)
    found = _scale_ratio(variance.clamp_min(0.0), square)
    half = 2.0 * _jackknife(square[1:])
    ends = (max(found.square - half, 0.0), max(found.square + half, 0.0))
    return replace(found, variances=_chi_square(found.variance, gram), squares=ends)


def _chi_square(variance: float, gram: Tensor) -> tuple[float, float]:
    """Ends of trΣ from the inner products of k deviations from their mean, (k, k)."""
    n = len(gram) - 1
    trace, square = float(gram.diagonal().sum()) / n, float(gram.square().sum()) / n**2
    if not trace > 0 or not math.isfinite(trace):
        return (variance, variance) if trace == 0 else (0.0, math.inf)
    r = square / (trace * trace)  # 1/n to 1
    degrees = min(max((n + 1 - 2.0 * r) / max(r - 1.0 / n, 1e-12), n), n * _MOST_DIRECTIONS)
    low, high = (float(x) for x in degrees / chi2.ppf([_UPPER, 1.0 - _UPPER], degrees))
    return variance * low, variance * high


def leave_one_out(gram: Tensor, along: Tensor, centre: Tensor, samples: float) -> tuple[Tensor, Tensor]:
    """Return both parts from all micro-batches (row 0) and from all but one (rows 1 to k), (k+1,) each.

    Args:
        gram: ⟨dᵢ, dⱼ⟩ of the deviations from the mean, (k, k), in whatever inner product.
        along: ⟨dᵢ, ḡ⟩, (k,).
        centre: ⟨ḡ, ḡ⟩.
        samples: b.
    """
    k = len(gram)
    weights = torch.ones(k + 1, k, dtype=torch.float64, device=gram.device)
    weights[1:] -= torch.eye(k, dtype=torch.float64, device=gram.device)
    count = weights.sum(dim=1)
    share = weights / count[:, None]
    shift = torch.einsum("ri,ij,rj->r", share, gram, share)  # |mean of the row - ḡ|²
    variance = _variance(weights @ gram.diagonal(), shift, count, samples)
    return variance, _square(shift + 2.0 * share @ along + centre, variance, count, samples)


@checked
def noise_from_squares(squares: _Number, mean_square: _Number, count: int, samples: float) -> tuple[_Number, _Number]:
    """TrΣ of one sample and |G|² from two batch sizes: micro-batches, and all of them together.

    Exact in the mean; where |G|² is far above trΣ/b the difference loses digits, so pass float64. Both are sums over
    parameters: pass arrays or tensors of one number a layer for their parts by layer.

    Args:
        squares: Σᵢ|gᵢ|² over the k micro-batches' mean gradients.
        mean_square: |ḡ|² of their mean.
        count: k >= 2 micro-batches, or ranks.
        samples: b > 0, samples in each.

    Raises:
        InadmissibleValue: fewer than 2 micro-batches, or no samples in them.

    Example:
        >>> noise_from_squares(4.0 + 2.0, 2.5, count=2, samples=8)  # g = (2, 0), (1, 1): |g|² = 4, 2; |ḡ|² = 2.5
        (8.0, 2.0)
    """
    require(count >= 2, f"gradients of {count} micro-batches", "are too few", "Pass at least 2.")
    require(samples > 0, f"samples={samples}", "is not above 0", "Pass the samples of a micro-batch.")
    variance = _variance(squares, mean_square, count, samples)
    return variance, _square(mean_square, variance, count, samples)


@checked
def pooled_noise(variances: ArrayLike, squares: ArrayLike, level: float = 0.95) -> GradientNoise:
    """The noise scale over several times of measurement, as a ratio of averages.

    Args:
        variances: trΣ at n times, unbiased (they may be negative).
        squares: |G|² at the same times.
        level: probability that the interval is to cover the ratio.

    Raises:
        InadmissibleValue: as for :func:`~thetadot.probes.averages.ratio_interval`.

    Example:
        >>> pooled_noise([30.0, 50.0] * 8, [3.0, 5.0] * 8).scale
        10.0
    """
    found = ratio_interval(variances, squares, level)
    variance, square = float(np.mean(np.asarray(variances))), float(np.mean(np.asarray(squares)))
    ends = {
        name: (max(each.low, 0.0), max(each.high, 0.0))
        for name, series in (("variances", variances), ("squares", squares))
        for each in (mean_interval(series, level),)
    }
    if not found.resolved or found.value < 0:
        bound = max(found.low, 0.0) if math.isfinite(found.low) else 0.0
        return GradientNoise(variance, square, bound, bound, bound, resolved=False, **ends)
    return GradientNoise(variance, square, found.value, max(found.low, 0.0), found.high, resolved=True, **ends)


def _variance(squares: _Number, mean_square: _Number, count: _Number | int, samples: float) -> _Number:
    """b(Σ|gᵢ|² - k|ḡ|²)/(k-1), the squares about any common origin."""
    return samples * (squares - count * mean_square) / (count - 1)


def _square(mean_square: _Number, variance: _Number, count: _Number | int, samples: float) -> _Number:
    """Return the unbiased estimate |ḡ|² - trΣ/(kb)."""
    return mean_square - variance / (count * samples)


def _scale_ratio(variance: Tensor, square: Tensor) -> GradientNoise:
    """Return the noise scale, from all micro-batches (row 0) and from all but one (rows 1 to k)."""
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
