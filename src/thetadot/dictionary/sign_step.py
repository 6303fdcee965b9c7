r"""The best step of a sign method, from the gradient, the curvature and the noise that were measured.

    θ' = θ - η u,  u = sign G_B,  G_B = g + ξ/√B,  ξ ~ N(0, Σ)
    E L(θ') = L - η gᵀE u + ½η² E uᵀHu,     η* = gᵀE u / E uᵀHu,     gain = (gᵀE u)²/(2 E uᵀHu)

    E u_i = erf(a_i/√2),  a_i = g_i √B/σ_i
    E u_i u_j = erf(a_i/√2) erf(a_j/√2) + (2/π) ∫₀^arcsin(ρ) exp(-(a_i² + a_j² - 2 a_i a_j sin t)/(2 cos² t)) dt

with ρ the correlation of two components (Plackett). Exact for a quadratic loss and Gaussian noise of a batch, which is
what large batches have; no component need have the same |g|/σ, and H need be neither diagonal nor positive. It serves
sign methods and, as their limit of short memory, Adam's. No noise scale is in it: trΣ/|G|² stands for the batch at
which Li's rule peaks only where all components are alike.

Source:
    the mean field of https://kexue.fm/archives/10542, without its approximations; Plackett 1954.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from thetadot.core.validation import is_tensor, refuse, require_coordinates, require_finite, require_numbers
from thetadot.errors import InadmissibleValue, require

if TYPE_CHECKING:
    from numpy.typing import NDArray

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(48)
_ROWS = 256  # of a block, so that memory is that of a few blocks and not of 48 matrices


class SignStep(NamedTuple):
    """The best step of a sign method on a quadratic.

    Attributes:
        lr: η*; inf where curvature along the steps is not positive, so that a longer step is always better.
        gain: the expected fall of the loss by it.
        slope: gᵀE u, the fall per unit of η.
        bend: E uᵀHu, the curvature along the steps.
    """

    lr: float
    gain: float
    slope: float
    bend: float


def optimal_sign_step(gradient: Any, curvature: Any, covariance: Any, batch_size: float) -> SignStep:
    """The learning rate that lowers a quadratic most, on average, by one step θ' = θ - η sign G_B; exact.

    Args:
        gradient: g, (d).
        curvature: H, (d, d) or its diagonal (d).
        covariance: Σ of one sample's gradient, (d, d) or its diagonal (d), of independent components.
        batch_size: B > 0, of independent samples.

    Returns:
        The step and its gain; see :class:`SignStep`.

    Raises:
        InadmissibleValue: shapes that do not fit, numbers that are not finite, a negative variance.

    Example:
        >>> step = optimal_sign_step([1.0, 1.0], [2.0, 2.0], [0.0, 0.0], batch_size=1)  # no noise: η* = Σ|g|/ΣH
        >>> step.lr, step.gain
        (0.5, 0.5)
        >>> round(optimal_sign_step([1.0], [1.0], [1.0], batch_size=2).lr, 7) == round(math.erf(1.0), 7)
        True

    Source:
        see the module.
    """
    require_numbers(batch_size=batch_size)
    require(
        0 < batch_size < math.inf,
        f"batch_size={batch_size:g}",
        "is not a positive finite number",
        "Pass batch_size > 0.",
    )
    g = _array("gradient", gradient, (1,))
    h, s = (_array(name, x, (1, 2)) for name, x in (("curvature", curvature), ("covariance", covariance)))
    for name, x in (("curvature", h), ("covariance", s)):
        if x.shape not in (g.shape, g.shape * 2):
            raise InadmissibleValue(
                f"{name} of shape {x.shape} beside a gradient of {g.shape} does not fit. Pass {g.shape * 2}, or the "
                f"diagonal {g.shape}."
            )
    variance = s if s.ndim == 1 else np.diagonal(s)
    if not (variance >= 0).all():
        raise InadmissibleValue("covariance has a negative variance. Pass Σ of one sample's gradient, Σ_ii >= 0.")
    deviation = np.sqrt(variance / batch_size)
    with np.errstate(divide="ignore", invalid="ignore"):
        a = np.where(deviation > 0, g / deviation, np.sign(g) * np.inf)
    a = np.where(g == 0, 0.0, a)
    mean = _erf(a / math.sqrt(2.0))
    slope = float(g @ mean)
    bend = _bend(h, mean, a, s, deviation > 0)
    if bend <= 0:
        return SignStep(math.inf if slope > 0 else 0.0, math.inf if slope > 0 else 0.0, slope, bend)
    return SignStep(slope / bend, slope * slope / (2.0 * bend), slope, bend)


def _bend(
    h: NDArray[np.float64],
    mean: NDArray[np.float64],
    a: NDArray[np.float64],
    s: NDArray[np.float64],
    noisy: NDArray[np.bool_],
) -> float:
    """E uᵀHu: the diagonal without its noise, the rest as means and covariances of signs say."""
    square = np.where(noisy | (mean != 0), 1.0, 0.0)  # sign 0 is 0
    if h.ndim == 1:
        return float(h @ square)
    diagonal = np.diagonal(h)
    total = float(diagonal @ (square - mean * mean)) + float(mean @ h @ mean)
    if s.ndim == 1:
        return total
    scale = np.sqrt(np.where(noisy, np.diagonal(s), 1.0))
    for start in range(0, len(a), _ROWS):
        rows = slice(start, start + _ROWS)
        rho = np.where(noisy[rows, None] & noisy[None, :], s[rows] / (scale[rows, None] * scale[None, :]), 0.0)
        both = _covariance(a[rows], a, np.clip(rho, -1.0, 1.0))
        both[np.arange(len(both)), np.arange(start, start + len(both))] = 0.0
        total += float(np.sum(h[rows] * both))
    return total


def _covariance(a: NDArray[np.float64], b: NDArray[np.float64], rho: NDArray[np.float64]) -> NDArray[np.float64]:
    """Covariance of two signs: Plackett's integral, by Gauss and Legendre over the angle."""
    a, b = (np.clip(np.nan_to_num(x, posinf=40.0, neginf=-40.0), -40.0, 40.0) for x in (a, b))  # e^-800 is 0
    product, squares = a[:, None] * b[None, :], a[:, None] ** 2 + b[None, :] ** 2
    half, total = np.arcsin(rho) / 2.0, np.zeros_like(rho)
    for node, weight in zip(_NODES, _WEIGHTS, strict=True):
        sine = np.sin(half * (1.0 + node))
        cosine_square = np.maximum(1.0 - sine * sine, 1e-300)
        total += weight * np.exp(-np.maximum(squares - 2.0 * product * sine, 0.0) / (2.0 * cosine_square))
    return total * half * (2.0 / math.pi)


def _erf(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.array([math.erf(each) for each in x.tolist()], dtype=np.float64)


def _array(name: str, value: Any, dimensions: tuple[int, ...]) -> NDArray[np.float64]:
    """An argument as a finite array of one of some dimensions."""
    require_coordinates(**{name: value})
    plain = value.detach().cpu().double().numpy() if is_tensor(value) else value
    try:
        array = np.asarray(plain, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise InadmissibleValue(f"{name} is no array of numbers ({error}). Pass rows of one length.") from error
    if array.ndim not in dimensions or array.size == 0:
        shapes = " or ".join(("(d)", "(d, d)")[each - 1] for each in dimensions)
        refuse(name, array.tolist(), f"of shape {shapes}", "Pass one number a parameter.")
    require_finite(**{name: array})
    return array
