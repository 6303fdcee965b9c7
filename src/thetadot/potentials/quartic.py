r"""Two double wells in the plane, coupled and tilted: four wells, the smallest landscape with a choice of ways.

    L(x, y) = (x²-1)²/4 + (y²-1)²/4 + c x y + a x

Without tilt it is symmetric under (x,y) → (-x,-y) and → (y,x), and all its critical points are closed forms:

    diagonal       x = y = ±√(1-c)         curvatures 2-2c, 2-4c     minima for c < 1/2
    antidiagonal   x = -y = ±√(1+c)        curvatures 2+2c, 2+4c     minima for c > -1/2
    saddles        xy = c, x² + y² = 1     four, for |c| < 1/2
    origin         curvatures -1+c, -1-c   a maximum for |c| < 1

Without coupling it is separable: in x the roots of x³ - x + a = 0, three for |a| < 2/(3√3). With both there is no
closed form; :func:`thetadot.analysis.find_fixed_points` finds the points.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import torch

from thetadot.core.signatures import checked
from thetadot.core.validation import require_numbers
from thetadot.errors import require
from thetadot.potentials.ring import coordinates

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor

MOST_TILT = 2.0 / (3.0 * math.sqrt(3.0))
"""|a| at which a well of x⁴/4 - x²/2 + ax merges with its saddle."""


@checked
@dataclass(frozen=True)
class Quartic2d:
    """Quartic potential (x²-1)²/4 + (y²-1)²/4 + c·xy + a·x.

    Args:
        coupling: c, finite.
        tilt: a, finite, in units of the loss.

    Raises:
        InadmissibleValue: a number that is not finite.

    Example:
        >>> import torch
        >>> wells = Quartic2d()
        >>> wells(torch.tensor([0.0, 1.0])), wells.gradient(torch.tensor([2.0, 1.0]))
        (tensor(0.2500), tensor([6., 0.]))
        >>> len(wells.minima), len(wells.saddles), len(Quartic2d(coupling=0.6).minima)
        (4, 4, 2)
    """

    coupling: float = 0.0
    tilt: float = 0.0

    def __post_init__(self) -> None:
        for name in ("coupling", "tilt"):
            value = getattr(self, name)
            require_numbers(**{name: value})
            require(math.isfinite(value), f"{name}={value:g}", "is not finite", "Pass a finite number.")

    def __call__(self, position: Tensor) -> Tensor:
        """L of (..., 2)."""
        x, y = coordinates(position)
        return 0.25 * ((x * x - 1.0) ** 2 + (y * y - 1.0) ** 2) + self.coupling * x * y + self.tilt * x

    def gradient(self, position: Tensor) -> Tensor:
        """(x³ - x + cy + a, y³ - y + cx)."""
        x, y = coordinates(position)
        slope_x = (x * x - 1.0) * x + self.coupling * y + self.tilt
        slope_y = (y * y - 1.0) * y + self.coupling * x
        return torch.stack((slope_x, slope_y), -1)

    @property
    def minima(self) -> Tensor:
        """Positions of the minima: (m, 2), float64."""
        if self.coupling == 0:
            wells, _ = self._along_x()
            return _pairs_tensor(product(wells, (-1.0, 1.0)))
        self._symmetric()
        c, found = self.coupling, []
        if c < 0.5:
            found += [(s * math.sqrt(1.0 - c), s * math.sqrt(1.0 - c)) for s in (-1.0, 1.0)]
        if c > -0.5:
            found += [(s * math.sqrt(1.0 + c), -s * math.sqrt(1.0 + c)) for s in (-1.0, 1.0)]
        return _pairs_tensor(found)

    @property
    def saddles(self) -> Tensor:
        """(m, 2), float64: critical points with one direction down."""
        if self.coupling == 0:
            wells, top = self._along_x()
            return _pairs_tensor([*((x, 0.0) for x in wells), *product(top, (-1.0, 1.0))])
        self._symmetric()
        c = self.coupling
        if abs(c) < 0.5:  # x = cos φ, y = sin φ with sin 2φ = 2c
            angles = [
                half + turn
                for half in (math.asin(2 * c) / 2, (math.pi - math.asin(2 * c)) / 2)
                for turn in (0.0, math.pi)
            ]
            return _pairs_tensor((math.cos(angle), math.sin(angle)) for angle in angles)
        if abs(c) > 1.0:
            return _pairs_tensor([(0.0, 0.0)])
        if abs(c) in (0.5, 1.0):  # points merge, and a curvature vanishes
            return _pairs_tensor([])
        size = math.sqrt(1.0 - abs(c))  # what were two minima at a smaller coupling
        return _pairs_tensor((s * size, math.copysign(size, c) * s) for s in (-1.0, 1.0))

    def _along_x(self) -> tuple[list[float], list[float]]:
        """Minima and maxima of x⁴/4 - x²/2 + ax: (2/√3) cos((arccos(-a/a*) - 2πk)/3), a* the most tilt."""
        share = self.tilt / MOST_TILT
        if abs(share) >= 1.0:
            return [-math.copysign(2.0 / math.sqrt(3.0) * math.cosh(math.acosh(abs(share)) / 3.0), share)], []
        high, middle, low = (
            2.0 / math.sqrt(3.0) * math.cos((math.acos(-share) - 2.0 * math.pi * k) / 3.0) for k in (0, 1, 2)
        )
        return [low, high], [middle]

    def _symmetric(self) -> None:
        require(
            self.tilt == 0,
            f"coupling={self.coupling:g} with tilt={self.tilt:g}",
            "has no critical points in closed form",
            "Use thetadot.analysis.find_fixed_points, or set one of them to 0.",
        )


def _pairs_tensor(pairs: Iterable[tuple[float, float]]) -> Tensor:
    return torch.tensor(list(pairs), dtype=torch.float64).reshape(-1, 2)
