"""Weights by the progress of the loss: a quantity's average while the loss was falling.

A run that has learned what it can still measures noise, and there the gradient vanishes and the noise scale grows
without bound. So a reading weighs by the fall of the loss in the stretch that it stands for.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from thetadot.verdicts.facts import middle
from thetadot.verdicts.thresholds import CURVE, FLOOR

if TYPE_CHECKING:
    from collections.abc import Sequence

    from thetadot.records.columns import Array
    from thetadot.verdicts.facts import Facts


def weights(facts: Facts, steps: Sequence[float]) -> list[float]:
    """Share of the fall of the loss that each reading stands for, in the order of ``steps``, which ascend.

    A reading stands for the run from half-way to the one before it to half-way to the next. Equal weights where the
    record has too few losses, or none was lower than the first.
    """
    equal = 1.0 / max(len(steps), 1)
    at, lowest = _envelope(facts)
    if len(lowest) < CURVE or len(steps) < 2 or not lowest[0] > lowest[-1]:
        return [equal] * len(steps)
    fall = lowest[0] - lowest[-1]
    edges = np.array([-1e100, *((a + b) / 2 for a, b in pairwise(steps)), 1e100])
    with np.errstate(all="ignore"):
        levels = _levels(at, lowest, edges)
        shares = np.maximum((levels[:-1] - levels[1:]) / fall, 0.0)
        found: list[float] = (FLOOR * equal + (1 - FLOOR) * shares).tolist()
    return found


def _envelope(facts: Facts) -> tuple[Array, Array]:
    """Steps, and the lowest loss so far, each the median of five around it, so that one lucky batch is none."""
    steps, losses = facts.losses
    if (steps[1:] <= steps[:-1]).any():
        order = np.lexsort((losses, steps))
        steps, losses = steps[order], losses[order]
    if len(losses) < CURVE:
        return steps, losses
    # the median of five, by minima and maxima
    a, b, c, d, e = (losses[i : len(losses) - 4 + i] for i in range(5))
    low, high = np.maximum(np.minimum(a, b), np.minimum(c, d)), np.minimum(np.maximum(a, b), np.maximum(c, d))
    inner = np.maximum(np.minimum(e, low), np.minimum(np.maximum(e, low), high))
    begin, end = ([middle(part[:3]), middle(part[:4])] for part in (losses, losses[::-1]))
    lowest: Array = np.minimum.accumulate(np.concatenate([begin, inner, end[::-1]]))
    return steps, lowest


def _levels(at: Array, lowest: Array, steps: Array) -> Array:
    """The envelope at some steps, straight between its points."""
    after = np.searchsorted(at, steps, side="right")
    right = np.clip(after, 1, len(at) - 1)
    left, high, low = at[right - 1], lowest[right - 1], lowest[right]
    between: Array = high + (low - high) * (steps - left) / (at[right] - left)
    between[after == 0], between[after == len(at)] = lowest[0], lowest[-1]
    return between


def weighted_middle(values: Sequence[float], heavy: Sequence[float]) -> float:
    """The value below and above which at most half of the weight lies.

    Example:
        >>> weighted_middle([1.0, 5.0, 100.0], [0.6, 0.3, 0.1]), weighted_middle([1.0, 5.0, 100.0], [1.0, 1.0, 1.0])
        (1.0, 5.0)
    """
    pairs = sorted(zip(values, heavy, strict=True))
    total, passed = sum(heavy), 0.0
    for value, weight in pairs:
        passed += weight
        if passed >= 0.5 * total:
            return value
    return pairs[-1][0]
