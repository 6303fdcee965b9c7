"""Weights by the progress of the loss: a quantity's average while the loss was falling.

A run that has learned what it can still measures noise, and there the gradient vanishes and the noise scale grows
without bound. So a reading weighs by the fall of the loss in the stretch that it stands for.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import pairwise
from typing import TYPE_CHECKING

from thetadot.verdicts.facts import middle
from thetadot.verdicts.thresholds import CURVE, FLOOR

if TYPE_CHECKING:
    from collections.abc import Sequence

    from thetadot.verdicts.facts import Facts


def weights(facts: Facts, steps: Sequence[float]) -> list[float]:
    """Share of the fall of the loss that each reading stands for, in the order of ``steps``, which ascend.

    A reading stands for the run from half-way to the one before it to half-way to the next. Equal weights where the
    record has too few losses, or none was lower than the first.
    """
    equal = 1.0 / max(len(steps), 1)
    envelope = _envelope(facts)
    if len(envelope) < CURVE or len(steps) < 2 or not envelope[0][1] > envelope[-1][1]:
        return [equal] * len(steps)
    fall = envelope[0][1] - envelope[-1][1]
    edges = [-1e100, *((a + b) / 2 for a, b in pairwise(steps)), 1e100]
    levels = [_level(envelope, edge) for edge in edges]
    shares = [(before - after) / fall for before, after in pairwise(levels)]
    return [FLOOR * equal + (1 - FLOOR) * max(share, 0.0) for share in shares]


def _envelope(facts: Facts) -> list[tuple[float, float]]:
    """The lowest loss so far, each the median of five around it, so that one lucky batch is none."""
    losses = sorted(facts.losses)
    lowest: list[tuple[float, float]] = []
    for i, (step, _) in enumerate(losses):
        value = middle([loss for _, loss in losses[max(i - 2, 0) : i + 3]])
        lowest.append((step, min(value, lowest[-1][1]) if lowest else value))
    return lowest


def _level(envelope: list[tuple[float, float]], step: float) -> float:
    """The envelope at a step, straight between its points."""
    after = bisect_right(envelope, step, key=lambda point: point[0])
    if after == 0 or after == len(envelope):
        return envelope[0 if after == 0 else -1][1]
    (left, high), (right, low) = envelope[after - 1], envelope[after]
    return high + (low - high) * (step - left) / (right - left)


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
