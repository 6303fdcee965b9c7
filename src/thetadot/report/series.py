"""Columns of a record as arrays, and the thinning of long ones."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from thetadot.records import loss_curve
from thetadot.records.rows import column_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from thetadot.records import Record, Rows

E = TypeVar("E", bound=msgspec.Struct)
Array = NDArray[np.float64]

MOST_POINTS = 2000
PIXELS = 1000
"""Of a picture from left to right, about."""
MOST_MARKS = 600
"""Marks with words of their own are fewer than the points of a line."""
LARGEST = 1e150  # beyond it a picture's own arithmetic overflows


def column(entries: Sequence[msgspec.Struct], name: str) -> Array:
    """Return one field of every entry; NaN where a value is missing or too large to draw."""
    found = column_of(entries, name)
    good = np.abs(found) < LARGEST
    return found if good.all() else np.where(good, found, np.nan)


def drawable(value: Any) -> float:
    """Return a float that can be drawn, or NaN."""
    # compared before converted: an integer of a record may be too long for a float
    return float(value) if value is not None and -LARGEST < value < LARGEST else float("nan")


def gathered(several: Iterable[Rows[Any]], name: str) -> Array:
    """Return one field of every entry of several runs."""
    return np.concatenate([column(rows, name) for rows in several] or [np.zeros(0)])


def above(rows: Rows[E], name: str, least: float = 0.0) -> Rows[E]:
    """Return the entries whose number exceeds ``least``."""
    return rows.where(column(rows, name) > least)


def finite(x: Array, y: Array, *, positive: bool = False) -> tuple[Array, Array]:
    """Return the pairs that can be drawn: both finite and, on a logarithmic axis, y > 0."""
    good = np.isfinite(x) & np.isfinite(y)
    if positive:
        good &= np.where(good, y, 0) > 0
    return x[good], y[good]


def thin(x: Array, y: Array, most: int = MOST_POINTS) -> tuple[Array, Array]:
    """Thin a line to ``most`` finite points: its ends, and the extremes of equal stretches.

    Example:
        >>> thin(np.arange(6.0), np.array([0.0, 9.0, 1.0, 1.0, -9.0, 0.0]), most=4)
        (array([0., 1., 4., 5.]), array([ 0.,  9., -9.,  0.]))
    """
    x, y = finite(x, y)
    kept = extremes(y, most)
    return x[kept], y[kept]


def extremes(y: Array, most: int) -> NDArray[np.int64]:
    """Return places of at most ``most`` values: both ends, and the extremes of equal stretches.

    Example:
        >>> extremes(np.array([0.0, 9.0, 1.0, 1.0, -9.0, 0.0]), most=4)
        array([0, 1, 4, 5])
    """
    if len(y) <= most:
        return np.arange(len(y))
    inner = y[1:-1]
    stretches = max((most - 2) // 2, 1)
    edges = np.unique(np.linspace(0, len(inner), stretches + 1).astype(np.int64))
    found = [(low + int(at(inner[low:high]))) + 1 for low, high in pairwise(edges) for at in (np.argmin, np.argmax)]
    return np.unique([0, *found, len(y) - 1])


def sparse(rows: Rows[E], name: str, most: int = MOST_MARKS) -> Rows[E]:
    """Thin entries to ``most``, among them the extremes of equal stretches."""
    return rows.at(extremes(np.nan_to_num(column(rows, name)), most)) if len(rows) > most else rows


def losses_of(record: Record) -> tuple[Array, Array]:
    """Return steps and training losses that can be drawn: of every step, where the record has them."""
    curve = loss_curve(record)
    return finite(*(np.where(np.abs(each) < LARGEST, each, np.nan) for each in (curve.steps, curve.losses)))


def span(count: int, share: float = 0.02) -> int:
    """Return how many values :func:`smooth` takes the mean of, away from the ends.

    Example:
        >>> span(1000), span(10)
        (21, 1)
    """
    return 2 * int(count * share / 2 + 0.5) + 1


def pixels(x: Array, y: Array, most: int = PIXELS) -> tuple[Array, Array, Array, Array]:
    """Return middle, lowest, highest and mean value of equal stretches of x, as many as a picture has pixels across.

    Example:
        >>> pixels(np.arange(4.0), np.array([1.0, 3.0, 5.0, 5.0]), most=2)
        (array([0.5, 2.5]), array([1., 5.]), array([3., 5.]), array([2., 5.]))
    """
    if len(x) <= most:
        return x, y, y, y
    width = (x[-1] - x[0]) / most or 1.0
    begins = np.flatnonzero(np.diff(np.minimum((x - x[0]) // width, most - 1), prepend=-1.0))
    counts = np.diff(begins, append=len(x))
    sums = (np.add.reduceat(each, begins) / counts for each in (x, y))
    middle, mean = sums
    return middle, np.minimum.reduceat(y, begins), np.maximum.reduceat(y, begins), mean


def smooth(y: Array, share: float = 0.02) -> Array:
    """Return the centred moving mean over ``share`` of the length; the window is cut at the ends, not padded.

    Example:
        >>> smooth(np.array([1.0, 1.0, 4.0, 1.0, 1.0]), share=0.5)
        array([1., 2., 2., 2., 1.])
    """
    half = span(len(y), share) // 2
    total = np.concatenate([[0.0], np.cumsum(y)])
    at = np.arange(len(y))
    low, high = np.maximum(at - half, 0), np.minimum(at + half + 1, len(y))
    mean: Array = (total[high] - total[low]) / (high - low)
    return mean


def by_step(entries: Sequence[msgspec.Struct]) -> Array:
    """Return the step of every entry."""
    return column(entries, "step")
