"""Noise of passes and ranks, pooled over steps, since one step of two micro-batches says little."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from thetadot.monitor.entries import noise_entry
from thetadot.probes import noise_from_squares, pooled_noise

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from thetadot.records import Noise

MOST = 100
BETWEEN = 10
"""Steps pooled at most, and between two estimates."""


class NoisePool:
    """The last steps' sums of squares, on the device until they are asked for."""

    def __init__(self, ranks: int) -> None:
        self.ranks = ranks
        self.steps: list[tuple[int, int, Tensor]] = []
        self.added = 0
        self.resolved = False

    def add(self, found: tuple[int, Tensor], samples: int, step: int, cost: float) -> Noise | None:
        """Add a step's number of micro-batches and Σ|gᵢ|² by parameter with |G|² behind; return an estimate every few.

        Args:
            found: what :meth:`MicroBatches.after` gave.
            samples: of one micro-batch.
            step: of the estimate.
            cost: so far.
        """
        self.steps = [*self.steps, (found[0], samples, found[1])][-MOST:]
        self.added += 1
        if self.added % BETWEEN:
            return None
        noise = self._noise(step, cost)
        self.resolved = noise is not None and noise.resolved
        return noise

    def _noise(self, step: int, cost: float) -> Noise | None:
        found = []
        for count, samples, row in self.steps:
            numbers = row.double().cpu()
            found.append(noise_from_squares(float(numbers[:-1].sum()), float(numbers[-1]), count, samples))
        count, samples, _ = self.steps[-1]
        return pooled(found, "ranks" if self.ranks > 1 else "accumulation", count * samples, step, cost)


def pooled(
    found: Sequence[tuple[float, float]],
    method: Literal["accumulation", "ranks", "samples"],
    samples: int,
    step: int,
    cost: float,
) -> Noise | None:
    """The entry of several readings; None where one of them is not finite.

    Args:
        found: (trΣ, |G|²), unbiased.
        method: how they were read.
        samples: of the last one.
        step: now.
        cost: so far.
    """
    variances, squares = zip(*found, strict=True)
    if not (np.isfinite(variances).all() and np.isfinite(squares).all()):
        return None
    return noise_entry(
        pooled_noise(variances, squares), step=step, samples=samples, cost=cost, method=method, pooled=len(found)
    )
