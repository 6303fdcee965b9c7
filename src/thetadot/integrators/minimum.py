r"""Minimum near a point, by descent along its gradient; for many functions at once, each on its own.

    r = W⁻¹ ∇G,    d = -H r  (L-BFGS in the metric W),    x' = x + t d,    |⟨∇G(x'), d⟩| <= c |⟨∇G(x), d⟩|

It serves proximal steps, G(y) = L(y) + ½|y - x|²_W, whose minimum exists whenever L is bounded below: it is descended
to, not sought as a root, of which Newton's method finds a saddle or none. In the metric of the distance the first trial
is the explicit step, and later ones are stable however large the curvature. A row of points is a problem of its own,
with a curvature, a search and an end of its own; rows only share the calls.

The search along a line goes by slopes: between a place where G still falls and one where it rises there is a minimum,
and a slope is known to its last digit where values of G agree in half of theirs. Values are used where they are given,
never to end higher.

Source:
    Nocedal, Wright, "Numerical Optimization" (2006), 7.2 and 3.5; Hager, Zhang, SIAM J. Optim. 16, 170 (2005), on
    slopes; Parikh, Boyd, "Proximal Algorithms" (2014).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    Evaluate = Callable[[Tensor], tuple[Tensor | None, Tensor]]
    Arrived = Callable[[Tensor, Tensor], Tensor]

MOST_GRADIENTS = 2000
"""That one minimum is worth."""
_REMEMBERED, _ROOM = 100, 1 << 23  # pairs of steps and changes: at most so many, and so many numbers, but ten
_RECENT = 10  # of which a curvature is told
_NEAR = 0.1  # of a point, that a step goes which tells of the curvature there
_TRIALS = 40  # along a line
_FLATTER = 0.3  # c
_ROUNDINGS = 32.0  # of a value, that say nothing


class Found(NamedTuple):
    """Points where a descent ended.

    Attributes:
        point: the last, (rows, n).
        slope: r there.
        gradients: that were taken of every row.
        met: "" where all are at minima, else why one went no further.
    """

    point: Tensor
    slope: Tensor
    gradients: int
    met: str


class _Place(NamedTuple):
    point: Tensor
    value: Tensor | None
    slope: Tensor

    @property
    def finite(self) -> Tensor:
        slope = self.slope.isfinite().all(-1, keepdim=True)
        return slope if self.value is None else slope & self.value.isfinite()

    def where(self, rows: Tensor, other: _Place) -> _Place:
        """This place on some rows, the other one elsewhere."""
        value = None if self.value is None or other.value is None else torch.where(rows, self.value, other.value)
        return _Place(torch.where(rows, self.point, other.point), value, torch.where(rows, self.slope, other.slope))


def minimum(evaluate: Evaluate, start: Tensor, arrived: Arrived, weight: Tensor | None = None) -> Found:
    """Descend from every row of ``start`` until it has ``arrived``.

    Args:
        evaluate: of points (rows, n): G (rows, 1), or None where it is not known, and r (rows, n), its gradient in the
            metric.
        start: (rows, n), one row for one problem.
        arrived: of r (rows, n), and of how much r changes where every element changes by the point's largest (rows,
            1): that times a rounding is what r can be known to. Whether r is small enough, (rows, 1).
        weight: W, >= 0, of the shape of ``start`` or what broadcasts to it; ones if None. Elements of weight 0 stay
            where they are.

    Example:
        >>> def valley(x):  # of curvatures 1 and 1e6
        ...     h = torch.tensor([[1.0, 1e6]], dtype=torch.float64)
        ...     return (h * x * x).sum(-1, keepdim=True) / 2, h * x
        >>> two = torch.tensor([[1.0, 1.0], [30.0, -2.0]], dtype=torch.float64)
        >>> found = minimum(valley, two, lambda r, _: r.abs().amax(-1, keepdim=True) < 1e-9)
        >>> found.met, found.gradients < 40
        ('', True)
    """
    descent = _Descent(evaluate, torch.ones_like(start[:1]) if weight is None else weight)
    return descent.run(start, arrived)


class _Descent:
    def __init__(self, evaluate: Evaluate, weight: Tensor) -> None:
        self._evaluate, self._weight = evaluate, weight
        self._pairs: list[tuple[Tensor, ...]] = []  # step, change, their product: 0, 0, 1 on rows without
        self._scale = self._recent = weight
        self.gradients = 0

    def run(self, start: Tensor, arrived: Arrived) -> Found:
        here = self._at(start)
        self._scale = torch.ones_like(here.point[:, :1])
        self._recent = torch.zeros_like(self._scale).repeat(1, _RECENT)  # squares of change of slope by change of place
        sound = here.finite
        said = "it met a gradient that is not finite"
        if not bool(sound.all()):
            return Found(here.point, here.slope, self.gradients, said)
        said = "it met a gradient that jumps or is not finite"
        done = ~sound
        while True:
            done = done | arrived(here.slope, self._known_to(here))
            under_way = sound & ~done
            if not bool(under_way.any()):
                break
            if self.gradients >= MOST_GRADIENTS:
                sound, said = sound & ~under_way, f"{MOST_GRADIENTS} gradients were not enough"
                break
            there, found = self._search(here, self._direction(here.slope), arrived, under_way)
            lost = under_way & ~found
            if self._pairs and bool(lost.any()):  # what was remembered may mislead: steepest descent does not
                self._forget(lost)
                steepest, also = self._search(here, self._direction(here.slope), arrived, lost)
                there, found = steepest.where(also, there), found | also
            sound = sound & (found | ~under_way)
            self._remember(here, there, found)
            here = there
        return Found(here.point, here.slope, self.gradients, "" if bool(sound.all()) else said)

    def _at(self, point: Tensor) -> _Place:
        self.gradients += 1
        return _Place(point, *self._evaluate(point))

    def _dot(self, a: Tensor, b: Tensor) -> Tensor:
        return (self._weight * a * b).sum(-1, keepdim=True)

    def _known_to(self, here: _Place) -> Tensor:
        """The largest change of slope by change of place that was seen near by of late, times the place."""
        return self._recent.amax(-1, keepdim=True).sqrt() * here.point.abs().amax(-1, keepdim=True)

    def _direction(self, slope: Tensor) -> Tensor:
        """-H r by the two loops of L-BFGS; -r where that does not descend."""
        along, shares = slope, []
        for step, change, curved in reversed(self._pairs):
            share = self._dot(step, along) / curved
            shares.append(share)
            along = along - share * change
        along = along * self._scale
        for (step, change, curved), share in zip(self._pairs, reversed(shares), strict=True):
            along = along + (share - self._dot(change, along) / curved) * step
        steep = self._dot(along, slope)
        lost = ~(steep.isfinite() & (steep > 0.0))
        if bool(lost.any()):
            self._forget(lost)
            along = torch.where(lost, slope, along)
        return -torch.where(self._weight > 0, along, 0.0)

    def _forget(self, rows: Tensor) -> None:
        none = (0.0, 0.0, 1.0)
        self._pairs = [
            tuple(torch.where(rows, empty, own) for own, empty in zip(pair, none, strict=True)) for pair in self._pairs
        ]
        self._scale = torch.where(rows, 1.0, self._scale)
        self._recent = torch.where(rows, 0.0, self._recent)

    def _remember(self, here: _Place, there: _Place, rows: Tensor) -> None:
        step, change = there.point - here.point, there.slope - here.slope
        curved, steps, changes = self._dot(step, change), self._dot(step, step), self._dot(change, change)
        rows = rows & curved.isfinite() & (curved > 1e-12 * (steps * changes).sqrt())
        if not bool(rows.any()):
            return
        kept = (torch.where(rows, step, 0.0), torch.where(rows, change, 0.0), torch.where(rows, curved, 1.0))
        most = max(_RECENT, min(_REMEMBERED, _ROOM // (2 * step.numel())))
        self._pairs = [*self._pairs, kept][-most:]
        near = step.abs().amax(-1, keepdim=True) <= _NEAR * there.point.abs().amax(-1, keepdim=True)
        ratio = torch.where(near, changes / steps, 0.0)  # a long step tells of curvatures far from here
        self._recent = torch.where(rows, torch.cat([ratio, self._recent[:, :-1]], 1), self._recent)
        self._scale = torch.where(rows, curved / changes, self._scale)

    def _search(self, here: _Place, along: Tensor, arrived: Arrived, rows: Tensor) -> tuple[_Place, Tensor]:
        """Places along the lines where slopes are flatter, and on which of the rows there is one."""
        steep = self._dot(along, here.slope)
        line = _Line(steep)
        seeking, reached, kept = rows, torch.zeros_like(rows), here
        for _ in range(_TRIALS):
            there = self._at(torch.where(seeking, here.point + line.t * along, kept.point))
            found = torch.where(there.finite, self._dot(along, there.slope), torch.nan)
            falling = found.isfinite() & _no_higher(here, there)
            flat = arrived(there.slope, self._known_to(there)) | (found.abs() <= _FLATTER * steep.abs())
            now = seeking & falling & flat
            kept, reached, seeking = there.where(now, kept), reached | now, seeking & ~now
            if not bool(seeking.any()):
                break
            seeking = seeking & line.go_on(found, falling) & (line.t * along).isfinite().all(-1, keepdim=True)
            if not bool(seeking.any()):
                break
        return kept, reached


class _Line:
    """Where on its line each row looks next: G falls at ``low``, and rises or is not finite at ``high``."""

    def __init__(self, steep: Tensor) -> None:
        self.low, self.low_steep, self.high = torch.zeros_like(steep), steep, torch.full_like(steep, torch.inf)
        self.t, self.bracketed = torch.ones_like(steep), torch.zeros_like(steep, dtype=torch.bool)

    def go_on(self, found: Tensor, sound: Tensor) -> Tensor:
        """Given the slopes along the lines at ``t``: whether there is a next ``t`` between low and high."""
        t, low, before = self.t, self.low, self.low_steep
        falls = sound & (found < 0.0)
        # on to where the slope would vanish if it went on changing as it did
        ahead = torch.where(found > before, t + (t - low) * (found / (before - found)).clamp(1.0, 9.0), 10.0 * t)
        on = torch.where(self.high.isinf(), ahead, t + 0.5 * (self.high - t))
        # back to where the slope vanishes on a line: exact for a parabola, and then at least a tenth at a time
        share = torch.maximum(before / (before - found), torch.where(self.bracketed, 0.1, 1e-9)).clamp(max=0.9)
        back = low + torch.where(sound, share, torch.where(found.isnan(), 0.1, 0.5)) * (t - low)
        self.low, self.low_steep = torch.where(falls, t, low), torch.where(falls, found, before)
        self.high = torch.where(falls, self.high, t)
        self.bracketed = self.bracketed | (sound & ~falls)
        self.t = torch.where(falls, on, back)
        return (self.low < self.t) & (self.t < self.high)


def _no_higher(here: _Place, there: _Place) -> Tensor:
    """To rounding; True where values are not known."""
    if here.value is None or there.value is None:
        return torch.ones_like(here.slope[:, :1], dtype=torch.bool)
    return there.value <= here.value + _ROUNDINGS * 2.0**-52 * torch.maximum(here.value.abs(), there.value.abs())
