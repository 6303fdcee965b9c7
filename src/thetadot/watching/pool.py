"""The noise of passes and ranks, pooled over steps: one step of two micro-batches tells little."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from thetadot.probes import noise_from_squares, pooled_noise
from thetadot.probes.heat import finite
from thetadot.records import Noise

if TYPE_CHECKING:
    from torch import Tensor

MOST = 100
BETWEEN = 10
"""Steps pooled at most, and between two estimates."""


class Pool:
    """The last steps' sums of squares, on the device until they are asked for."""

    def __init__(self, ranks: int) -> None:
        self.ranks = ranks
        self.steps: list[tuple[int, int, Tensor]] = []
        self.added = 0
        self.resolved = False

    def add(self, found: tuple[int, Tensor], samples: int, step: int, cost: float) -> Noise | None:
        """One step: the number of micro-batches and Σ|gᵢ|² by parameter with |G|² behind; an estimate every few.

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
        variances, squares = [], []
        for count, samples, row in self.steps:
            numbers = row.double().cpu()
            variance, square = noise_from_squares(float(numbers[:-1].sum()), float(numbers[-1]), count, samples)
            variances.append(variance)
            squares.append(square)
        if not (np.isfinite(variances).all() and np.isfinite(squares).all()):
            return None
        found = pooled_noise(variances, squares)
        if not all(map(math.isfinite, (found.scale, found.low, found.high))):
            return None
        count, samples, _ = self.steps[-1]
        return Noise(
            when="training",
            step=step,
            gradient_variance=found.variance,
            gradient_square=found.square,
            noise_scale=found.scale,
            low=found.low,
            high=found.high,
            resolved=found.resolved,
            samples=count * samples,
            cost=cost,
            method="ranks" if self.ranks > 1 else "accumulation",
            pooled=len(self.steps),
            variance_low=finite(found.variances[0]),
            variance_high=finite(found.variances[1]),
            square_low=finite(found.squares[0]),
            square_high=finite(found.squares[1]),
        )
