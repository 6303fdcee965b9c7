r"""A minimum near a point, by descent along its gradient.

    r = W⁻¹ ∇G,    d = -H r  (L-BFGS in the metric W),    x' = x + t d,    |⟨∇G(x'), d⟩| <= c |⟨∇G(x), d⟩|

It serves proximal steps, G(y) = L(y) + ½|y - x|²_W, whose minimum exists whenever L is bounded below: it is descended
to, not sought as a root, of which Newton's method finds a saddle or none. In the metric of the distance the first trial
is the explicit step, and later ones are stable however large the curvature.

The search along a line goes by slopes: between a place where G still falls and one where it rises there is a minimum,
and a slope is known to its last digit where values of G agree in half of theirs. Values are used where they are given,
never to end higher.

Source:
    Nocedal, Wright, "Numerical Optimization" (2006), 7.2 and 3.5; Hager, Zhang, SIAM J. Optim. 16, 170 (2005), on
    slopes; Parikh, Boyd, "Proximal Algorithms" (2014).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    Evaluate = Callable[[Tensor], tuple[float | None, Tensor]]
    Arrived = Callable[[Tensor, float], bool]

MOST_GRADIENTS = 2000
"""That one minimum is worth."""
_REMEMBERED, _ROOM = 100, 1 << 23  # pairs of steps and changes: at most so many, and so many numbers, but ten
_TRIALS = 40  # along a line
_FLATTER = 0.3  # c
_ROUNDINGS = 32.0  # of a value, that say nothing


class Found(NamedTuple):
    """Where a descent ended.

    Attributes:
        point: the last.
        slope: r there.
        gradients: that were taken.
        met: "" at a minimum, else why it went no further.
    """

    point: Tensor
    slope: Tensor
    gradients: int
    met: str


class _Place(NamedTuple):
    point: Tensor
    value: float | None
    slope: Tensor

    @property
    def finite(self) -> bool:
        return (self.value is None or math.isfinite(self.value)) and bool(self.slope.isfinite().all())


def minimum(evaluate: Evaluate, start: Tensor, arrived: Arrived, weight: Tensor | None = None) -> Found:
    """Descend from ``start`` until ``arrived``.

    Args:
        evaluate: of a point (n,): G, or None where it is not known, and r (n,), its gradient in the metric.
        start: (n,).
        arrived: of r, and of how much r changes where every element changes by the point's largest: that times a
            rounding is what r can be known to. Whether r is small enough.
        weight: W (n,), >= 0; ones if None. Elements of weight 0 stay where they are.

    Example:
        >>> def valley(x):  # of curvatures 1 and 1e6
        ...     h = torch.tensor([1.0, 1e6], dtype=torch.float64)
        ...     return float((h * x * x).sum() / 2), h * x
        >>> found = minimum(valley, torch.ones(2, dtype=torch.float64), lambda r, _: float(r.abs().max()) < 1e-9)
        >>> found.met, found.gradients < 40
        ('', True)
    """
    descent = _Descent(evaluate, torch.ones_like(start) if weight is None else weight)
    return descent.run(start, arrived)


class _Descent:
    def __init__(self, evaluate: Evaluate, weight: Tensor) -> None:
        self._evaluate, self._weight = evaluate, weight
        self._pairs: list[tuple[Tensor, Tensor, float]] = []
        self.gradients = 0

    def run(self, start: Tensor, arrived: Arrived) -> Found:
        here = self._at(start)
        if not here.finite:
            return Found(here.point, here.slope, self.gradients, "it met a gradient that is not finite")
        while not arrived(here.slope, self._known_to(here)):
            if self.gradients >= MOST_GRADIENTS:
                return Found(here.point, here.slope, self.gradients, f"{MOST_GRADIENTS} gradients were not enough")
            along = self._direction(here.slope)
            there = self._search(here, along, arrived)
            if there is None and self._pairs:  # what was remembered may mislead: steepest descent does not
                self._pairs.clear()
                along = self._direction(here.slope)
                there = self._search(here, along, arrived)
            if there is None:
                return Found(here.point, here.slope, self.gradients, "it met a gradient that jumps or is not finite")
            self._remember(there.point - here.point, there.slope - here.slope)
            here = there
        return Found(here.point, here.slope, self.gradients, "")

    def _at(self, point: Tensor) -> _Place:
        self.gradients += 1
        return _Place(point, *self._evaluate(point))

    def _dot(self, a: Tensor, b: Tensor) -> float:
        return float((self._weight * a * b).sum())

    def _known_to(self, here: _Place) -> float:
        """The largest change of slope by change of place that was seen of late, times the place."""
        squares = [self._dot(change, change) / self._dot(step, step) for step, change, _ in self._pairs[-10:]]
        return math.sqrt(max(squares, default=0.0)) * float(here.point.abs().max())

    def _direction(self, slope: Tensor) -> Tensor:
        """-H r by the two loops of L-BFGS; -r where that does not descend."""
        along, shares = slope.clone(), []
        for step, change, curved in reversed(self._pairs):
            share = self._dot(step, along) / curved
            shares.append(share)
            along = along - share * change
        if self._pairs:
            step, change, curved = self._pairs[-1]
            along = along * (curved / self._dot(change, change))
        for (step, change, curved), share in zip(self._pairs, reversed(shares), strict=True):
            along = along + (share - self._dot(change, along) / curved) * step
        steep = self._dot(along, slope)
        if not (math.isfinite(steep) and steep > 0.0):
            self._pairs.clear()
            along = slope
        return -torch.where(self._weight > 0, along, 0.0)

    def _remember(self, step: Tensor, change: Tensor) -> None:
        curved = self._dot(step, change)
        if math.isfinite(curved) and curved > 1e-12 * math.sqrt(self._dot(step, step) * self._dot(change, change)):
            most = max(10, min(_REMEMBERED, _ROOM // (2 * step.numel())))
            self._pairs = [*self._pairs, (step, change, curved)][-most:]

    def _search(self, here: _Place, along: Tensor, arrived: Arrived) -> _Place | None:
        """A place along the line where the slope is flatter; None where there is none to be found."""
        steep = self._dot(along, here.slope)
        low, low_steep, high = 0.0, steep, math.inf  # G falls at low, and rises or is not finite at high
        t, bracketed = 1.0, False
        for _ in range(_TRIALS):
            there = self._at(here.point + t * along)
            found = self._dot(along, there.slope) if there.finite else math.nan
            if not math.isfinite(found) or not _no_higher(here, there):
                high, following = t, low + (0.1 if math.isnan(found) else 0.5) * (t - low)
            elif arrived(there.slope, self._known_to(there)) or abs(found) <= _FLATTER * abs(steep):
                return there
            elif found < 0.0:
                # on to where the slope would vanish if it went on changing as it did
                ahead = t + (t - low) * min(max(found / (low_steep - found), 1.0), 9.0) if found > low_steep else 10 * t
                low, low_steep = t, found
                following = ahead if math.isinf(high) else low + 0.5 * (high - low)
            else:
                # back to where the slope vanishes on a line: exact for a parabola, and then at least a tenth at a time
                least = 0.1 if bracketed else 1e-9
                high, following = t, low + min(max(low_steep / (low_steep - found), least), 0.9) * (t - low)
                bracketed = True
            if not low < following < high or not bool((following * along).isfinite().all()):
                return None
            t = following
        return None


def _no_higher(here: _Place, there: _Place) -> bool:
    """To rounding; True where values are not known."""
    if here.value is None or there.value is None:
        return True
    return there.value <= here.value + _ROUNDINGS * 2.0**-52 * max(abs(here.value), abs(there.value))
