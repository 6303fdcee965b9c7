r"""Weak friction: the exchange of energy with the heat bath limits how often the barrier is tried.

A motion that leaves the top of the barrier loses λS before it comes back, S the action of the way into a well and back
at the energy of the top. With δ = λS/T the well is emptied near the top to the share

    A(δ) = exp{ (1/2π) ∫ ln(1 - e^(-δ(y² + 1/4))) dy/(y² + 1/4) }            A ≈ δ for δ << 1,    A → 1 for δ >> 1

    one well, beyond it none comes back        k = A(δ) k_Kramers
    a well on either side                      k = A(δ₁) A(δ₂)/A(δ₁ + δ₂) k_Kramers                   [melnikov1986]

with k_Kramers the rate at strong and moderate friction, so that k is a share of T/ΔU off at every friction; it falls
like λ where that goes to 0. S is that without friction. y = tan(φ)/2 makes of the first line an integral over an angle.

Source:
    [melnikov1986] Mel'nikov, Meshkov, J. Chem. Phys. 85, 1018 (1986); Hänggi, Talkner, Borkovec, Rev. Mod. Phys. 62,
    251 (1990), section VI.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy.integrate import quad

from thetadot.core.validation import values_at

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    Array = np.ndarray[Any, np.dtype[np.float64]]

_LOOKED_AT = 4096  # points on the way to where the motion turns
_FARTHEST = 1e4  # of the way from the top to the minimum
_HALVINGS = 60
_LEVEL = 1e-9  # of its depth: how much lower another barrier may be by rounding
_NODES, _PANELS = 16, 64
_SEES_NOTHING = 300.0  # δ at which A is 1 in floating point


def emptied(loss: float) -> float:
    """A(δ), the share to which a well is emptied below the top of its barrier.

    Args:
        loss: δ >= 0, what a round trip loses, in units of T.

    Example:
        >>> round(emptied(1.0), 6), round(emptied(1e-6) / 1e-6, 3), emptied(400.0)
        (0.442978, 0.999, 1.0)
    """
    if loss <= 0.0:
        return 0.0
    if loss >= _SEES_NOTHING:
        return 1.0

    def integrand(angle: float) -> float:
        return math.log(-math.expm1(-loss / (4.0 * math.cos(angle) ** 2)))

    edge = math.atan(1.0 / math.sqrt(loss))  # beyond it the logarithm falls away
    inner, _ = quad(integrand, 0.0, edge, epsabs=1e-12, epsrel=1e-12, limit=200)
    outer, _ = quad(integrand, edge, math.pi / 2.0, epsabs=1e-12, epsrel=1e-12, limit=200)
    return math.exp(2.0 / math.pi * (inner + outer))


def turnover(friction: float, temperature: float, actions: tuple[float, ...]) -> float:
    """Return the factor on the rate at moderate friction that accounts for weak friction.

    Args:
        friction: λ >= 0.
        temperature: T > 0.
        actions: S of the well that is left, and of the one beyond where there is one.

    Example:
        >>> [round(turnover(friction, 0.05, (4 / 3, 4 / 3)), 3) for friction in (0.0, 0.02, 0.2, 2.0)]
        [0.0, 0.187, 0.812, 1.0]
    """
    shares = [emptied(friction * each / temperature) for each in actions]
    if min(shares) == 0.0:
        return 0.0
    return math.prod(shares) / (1.0 if len(shares) == 1 else emptied(friction * sum(actions) / temperature))


def round_trip(potential: Callable[[Tensor], Tensor], top: float, inside: float) -> tuple[float, float] | None:
    """Return the turning point of a frictionless motion from the top, and the action of its round trip.

    Args:
        potential: U of positions (..., 1).
        top: of the barrier.
        inside: a point on the side of the well, as far from the top as the well is wide or so.

    Returns:
        The turning point and 2 ∫ √(2 (U(top) - U)) dx; None where it does not turn within 10⁴ times that way.
    """
    way = inside - top
    height = float(_energies(potential, np.array([top]))[0])
    places = top + way * np.sinh(np.linspace(0.0, math.asinh(1e2 * _FARTHEST), _LOOKED_AT + 1)[1:]) / 1e2
    near = _turn(potential, height, places)
    if near is None:
        return None
    # x = near - (near - top) u²: the root at the turn becomes smooth
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    edges = np.linspace(0.0, 1.0, _PANELS + 1)
    u = (edges[:-1, None] + (nodes + 1.0) * 0.5 / _PANELS).ravel()
    speed = np.sqrt(2.0 * np.clip(height - _energies(potential, near - (near - top) * u * u), 0.0, None))
    weight = np.tile(weights * 0.5 / _PANELS, _PANELS)
    return float(near), float(4.0 * abs(near - top) * (speed * u * weight).sum())


def _turn(potential: Callable[[Tensor], Tensor], height: float, places: Array) -> float | None:
    """The first of the places, after some that are below, at which the potential is as high; refined."""
    energies = _energies(potential, places)
    above = ~(energies < height)  # what is no number there is no way either
    inner = energies[1:-1]
    tops = np.flatnonzero((inner >= energies[:-2]) & (inner >= energies[2:])) + 1
    below = np.flatnonzero(~above)
    if not len(below):
        return None
    first = int(below[0])
    crossed = first + np.flatnonzero(above[first:])
    end = int(crossed[0]) if len(crossed) else len(places)
    floor = float(energies[first:end].min())
    for index in tops[(tops > first) & (tops < end)]:  # a barrier of the same height may lie between two places
        place, energy = _top(potential, places[index - 1], places[index + 1])
        if energy >= height - _LEVEL * (height - floor):
            return place
    if end == len(places):
        return None
    near, far = places[end - 1], places[end]
    for _ in range(_HALVINGS):
        middle = 0.5 * (near + far)
        near, far = (middle, far) if _energies(potential, np.array([middle]))[0] < height else (near, middle)
    return float(near)


def _top(potential: Callable[[Tensor], Tensor], low: float, high: float) -> tuple[float, float]:
    """The maximum between two places, and U there."""
    for _ in range(_HALVINGS):
        third = (high - low) / 3.0
        left, right = _energies(potential, np.array([low + third, high - third]))
        low, high = (low + third, high) if left < right else (low, high - third)
    middle = 0.5 * (low + high)
    return middle, float(_energies(potential, np.array([middle]))[0])


def _energies(potential: Callable[[Tensor], Tensor], places: Array) -> Array:
    points = torch.from_numpy(places)[:, None]
    with torch.no_grad():
        found: Array = values_at(points, potential=potential).double().numpy()
    return found
