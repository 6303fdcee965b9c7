"""Columns of a record as arrays, and how a long one is thinned."""

from __future__ import annotations

from itertools import pairwise
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Iterable

    import msgspec

Array = NDArray[np.float64]

MOST_POINTS = 2000
LARGEST = 1e150  # beyond it a picture's own arithmetic overflows


def column(entries: Iterable[msgspec.Struct], name: str) -> Array:
    """One field of every entry; what is missing or too large to draw is NaN."""
    values = list(map(attrgetter(name), entries))
    try:
        found = np.array(values, dtype=np.float64)  # None becomes NaN
    except OverflowError:  # an integer that no float holds
        return np.array([number(value) for value in values], dtype=np.float64)
    found[~(np.abs(found) < LARGEST)] = np.nan
    return found


def number(value: Any) -> float:
    """A float that can be drawn, or NaN."""
    # compared before converted: an integer of a record may be too long for a float
    return float(value) if value is not None and -LARGEST < value < LARGEST else float("nan")


def finite(x: Array, y: Array, *, positive: bool = False) -> tuple[Array, Array]:
    """Pairs that can be drawn: both finite and, on a logarithmic axis, y > 0."""
    good = np.isfinite(x) & np.isfinite(y)
    if positive:
        good &= np.where(good, y, 0) > 0
    return x[good], y[good]


def thin(x: Array, y: Array, most: int = MOST_POINTS) -> tuple[Array, Array]:
    """At most ``most`` finite points of a line: its ends, and the lowest and highest of each of equal stretches.

    Example:
        >>> thin(np.arange(6.0), np.array([0.0, 9.0, 1.0, 1.0, -9.0, 0.0]), most=4)
        (array([0., 1., 4., 5.]), array([ 0.,  9., -9.,  0.]))
    """
    x, y = finite(x, y)
    if len(y) <= most:
        return x, y
    inner = y[1:-1]
    stretches = max((most - 2) // 2, 1)
    edges = np.unique(np.linspace(0, len(inner), stretches + 1).astype(np.int64))
    extremes = [(low + int(at(inner[low:high]))) + 1 for low, high in pairwise(edges) for at in (np.argmin, np.argmax)]
    kept = np.unique([0, *extremes, len(y) - 1])
    return x[kept], y[kept]


def smooth(y: Array, share: float = 0.02) -> Array:
    """Centred moving mean over ``share`` of the length; at the ends the window is cut, not padded.

    Example:
        >>> smooth(np.array([1.0, 1.0, 4.0, 1.0, 1.0]), share=0.5)
        array([1., 2., 2., 2., 1.])
    """
    half = int(len(y) * share / 2 + 0.5)
    total = np.concatenate([[0.0], np.cumsum(y)])
    at = np.arange(len(y))
    low, high = np.maximum(at - half, 0), np.minimum(at + half + 1, len(y))
    mean: Array = (total[high] - total[low]) / (high - low)
    return mean


def by_step(entries: Iterable[msgspec.Struct]) -> Array:
    """The step of every entry."""
    return column(entries, "step")
