"""A batch that grows while noise limits: for a run that prefers few large steps to many small ones.

    first    B = the noise scale at the start, a power of two, at most an eighth of the data, and 400 steps must stay
    later    at the first ends of epochs from 5, 15 and 30% of the run on, the noise scale is measured for .8% of the
             run; B grows to the largest power of two that is surely below it (the lower end of its interval), by 4 at
             most a time; Adam's lr rises by the root of that, heavy ball's by that

Below the noise scale a doubled batch needs little more than the same samples in half the steps; above it, the same
steps at twice the samples. Rule and measurement are counts; what a step takes in seconds decides nothing. That lr goes
with the batch keeps the temperature of heavy ball, lr/B, and of Adam, lr²/B.

Source: S. McCandlish et al., An empirical model of large-batch training, 2018; S. Malladi et al., On the SDEs and
scaling rules for adaptive gradient algorithms, NeurIPS 2022 (√2); S. L. Smith et al., Don't decay the learning rate,
increase the batch size, ICLR 2018.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from msgspec.structs import replace

from thetadot.state import generators_kept
from thetadot.training import reasons
from thetadot.training.levels import FEWEST
from thetadot.training.setting import power_of_two

if TYPE_CHECKING:
    from thetadot.training.before import Before
    from thetadot.training.steering import Steered

OF_DATA, STEPS = 8, 400
PLACES = (0.05, 0.15, 0.30)
"""Shares of the run from which on it looks once: while the rate is constant."""
SHARE, MOST = 0.008, 4096
"""Most of the run that a look may cost, and samples that it is taken on at most. Where the signal is not seen, the
lower end is about a fifth of them."""
HIGHEST = 4
"""Most that a batch grows by at a look."""


def largest(data: int, samples: int) -> float:
    """Most samples of a batch.

    Args:
        data: training samples.
        samples: of the whole run.

    Example:
        >>> largest(60_000, 600_000), largest(1000, 60_000)
        (1500.0, 125.0)
    """
    return max(1.0, min(data / OF_DATA, samples / STEPS))


class Growing:
    """Enlarges a run's batch where its noise says so.

    Args:
        batch: the first one.
        most: that it may become.
        before: measures.
    """

    def __init__(self, batch: int, most: float, before: Before) -> None:
        self.batch, self.most, self.before = batch, most, before

    def look(self, loop: Steered) -> None:
        """Called at an epoch's end, so that an epoch has one batch size, also where it is begun again."""
        progress, batch = loop.progress, self.batch * loop.progress.growth
        passed = sum(loop.seen >= place * loop.total for place in PLACES)
        if passed <= progress.looks or 2 * batch > self.most:
            return
        progress.looks = passed
        with generators_kept():
            noise = self.before.noise(min(MOST, int(SHARE * loop.total)))
        if noise is None:
            return
        noise = replace(noise, when="training", step=progress.step)
        loop.write(noise)
        by = power_of_two(min(HIGHEST, noise.low / batch, self.most / batch))
        if by < 2:
            return
        faster = math.sqrt(by) if loop.plan.optimizer == "adam" else float(by)
        progress.growth *= by
        progress.factor = max(progress.factor, min(faster * progress.factor, loop.highest()))
        loop.guard.piece = max(FEWEST, loop.guard.piece // by)
        loop.write(reasons.grown(by * batch, noise, loop.plan.lr * progress.factor))
