r"""Location of the reference's samples from the properties of a mean over samples.

    ∇L(all) = w ∇L(even ones) + (1-w) ∇L(odd ones)        a mean; without the weights, a sum
    ∇L(all) = ∇L(all in another order)                     any other function of a set of samples

Cut along another axis (time, features, nodes) a gradient is another one. Gradients are compared, not losses: a head
that begins at zero has the same loss whatever lies where. Cost: two gradients of the reference if the first
way is right.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from torch import Tensor

    from thetadot.monitor.axes import Axes

EXACT = 1e-3
"""Gradients that differ by this share of themselves are the same: rounding is below it, another axis far above."""
SPREADS = 4.0
"""Of a model that draws random numbers: gradients that differ by as many times what other numbers make."""


@dataclass(frozen=True)
class Placement:
    """The axes of samples that were found.

    Attributes:
        axes: where the samples lie; None where the reference is not to be cut.
        kind: "mean", "sum", "set" (a function of the set of samples, such as a weighted mean), "unknown".
        rival: another way that is as good.
    """

    axes: Axes | None
    kind: str
    rival: Axes | None = None


def placement(slope: Callable[[Axes | None, Any], Tensor], ways: list[Axes], *, insist: bool) -> Placement:  # noqa: PLR0911
    """The first way that stands the test.

    Args:
        slope: ``slope(axes, rows)``, the gradient of those rows, (d,); of all where ``axes`` is None, then ``rows`` is
            the seed of the model's random numbers, or None for the usual ones.
        ways: the likeliest first.
        insist: whether the user said where the samples lie: the first way is taken if none stands the test.
    """
    if not ways:
        return Placement(None, "unknown")
    try:
        whole = slope(None, None)
    except Exception:  # noqa: BLE001 - whatever a model throws; measurements will say it
        return Placement(ways[0] if insist or _alone(ways) else None, "unknown")
    length = float(whole.norm())
    if not 0 < length < float("inf"):
        return Placement(ways[0] if insist or _alone(ways) else None, "unknown")
    sets: list[Axes] = []
    best: list[tuple[float, Axes]] = []
    for number, axes in enumerate(ways):
        kind, off = _halves(slope, axes, whole)
        if kind:
            rivals = [other for other in ways[number + 1 :] if other.count != axes.count][:1]
            rival = next((other for other in rivals if _halves(slope, other, whole)[0] == kind), None)
            return Placement(axes, kind, None if insist else rival)
        best.append((off, axes))
        if _same_in_another_order(slope, axes, whole):
            sets.append(axes)
    if sets:
        return Placement(sets[0], "set", None if insist or len(sets) == 1 else sets[1])
    drawn = float((slope(None, 1) - whole).norm()) / length
    off, axes = min(best, key=lambda pair: pair[0])
    if drawn > EXACT and off <= SPREADS * drawn:
        return Placement(axes, "unknown")
    return Placement(ways[0] if insist else None, "unknown")


def _alone(ways: list[Axes]) -> bool:
    return len({axes.count for axes in ways}) == 1


def _halves(slope: Callable[[Axes | None, Any], Tensor], axes: Axes, whole: Tensor) -> tuple[str, float]:
    """Tell from two halves whether the loss is a "mean", a "sum" or "", and how far the mean fails."""
    if axes.count < 2:
        return "", float("inf")
    rows = torch.arange(axes.count)
    try:
        even, odd = slope(axes, rows[::2]), slope(axes, rows[1::2])
    except Exception:  # noqa: BLE001 - sizes do not fit: samples lie elsewhere
        return "", float("inf")
    size = max(float(part.norm()) for part in (even, odd, whole))
    share = len(rows[::2]) / axes.count
    mean = float((share * even + (1.0 - share) * odd - whole).norm()) / size
    if mean <= EXACT:
        return "mean", mean
    return ("sum" if float((even + odd - whole).norm()) <= EXACT * size else ""), mean


def _same_in_another_order(slope: Callable[[Axes | None, Any], Tensor], axes: Axes, whole: Tensor) -> bool:
    order = torch.randperm(axes.count, generator=torch.Generator().manual_seed(axes.count))
    try:
        other = slope(axes, order)
    except Exception:  # noqa: BLE001
        return False
    return float((other - whole).norm()) <= EXACT * float(whole.norm())
