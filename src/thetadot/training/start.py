"""The settings that a run starts with: safe ones, by rules; what they should have been is decided on the way.

    batch    16 for up to 100,000 samples of training, then the noise scale as far as the data go
    Adam     lr = min(.016, half the parameters' root mean square), at least 1e-3
    heavy    lr = (1-β)/(8λmax), an eighth of the overdamped rate at which the sharpest direction is come down in a step

Adam's step does not depend on the loss's scale, so that a blind start is safe. Nothing is tried before training: a
trial that is thrown away costs, and a short one cannot tell; forks (:mod:`thetadot.training.forks`) go up from here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from thetadot.training import reasons
from thetadot.training.forgetting import decay_of
from thetadot.training.growing import largest
from thetadot.training.plan import Annealing, Family, TrainingPlan
from thetadot.training.setting import power_of_two, reference_size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from torch import Tensor

    from thetadot.records import Curvature, Entry, Noise
    from thetadot.training.before import Before
    from thetadot.training.data import Source

ADAM_LR, LEAST_LR = 0.016, 1e-3
SHARE_OF_SIZE = 0.5
"""Most of the parameters' root mean square that Adam's lr may be, at the start and after every fork: Adam moves each
parameter by lr a step, and a step of its own size is none."""
MOMENTUM = 0.9
GENTLE = 8.0
BATCH, SMALL = 16, 100_000
"""The first batch, and up to how many samples of training (epochs × data) it is taken unasked. Of fourteen tasks the
geometric mean of the loss, over that of the best of a grid, was .70 with it and .75 with the tasks' own 16 to 64."""
EPS = 1e-8, 1e-4
"""Adam's ε, and the most that it may be of the gradient's root mean square at the start: a loss in a small unit, whose
gradients are all below 1e-8, is trained like any other."""


@dataclass(frozen=True)
class Given:
    """Settings that the user has fixed; None leaves one free."""

    optimizer: Family | None = None
    lr: float | None = None
    momentum: float | None = None
    batch_size: int | None = None
    annealing: Annealing | None = None


@dataclass(frozen=True)
class RunStart:
    """What the rules need of a run.

    Attributes:
        source: training data.
        before: measures, where a rule needs it.
        samples: the run's length, epochs × training samples.
        given: what the user has fixed.
        write: receives measurements and choices.
        size: root mean square of the parameters.
        slope: root mean square of the gradient.
        least: samples that a step takes at least: 2 where a model has statistics of a batch.
        steered: whether the run decides further on the way; else its rate is not forked and its batch does not grow.
        wall: whether few large steps are preferred to many small ones.
    """

    source: Source
    before: Before
    samples: int
    given: Given
    write: Callable[[Entry], None]
    size: float
    slope: float
    least: int = 1
    steered: bool = True
    wall: bool = False

    def plan(self) -> TrainingPlan:
        """Settle what is not given, and say why."""
        batch = self._batch_size()
        given = self.given
        family: Family = given.optimizer or ("adam" if given.lr is None else "heavy-ball")
        momentum = self._momentum(family, batch) if given.momentum is None else given.momentum
        self.write(reasons.optimizer(family, given=given.optimizer is not None, by_lr=given.lr is not None))
        lr = self._lr(family, momentum)
        self.write(reasons.momentum(family, lr, momentum, given=given.momentum is not None))
        annealing: Annealing = given.annealing or ("coupled" if family == "heavy-ball" else "linear")
        if annealing == "coupled" and (family == "adam" or momentum == 0):
            annealing = "cosine"  # no momentum to raise
        plan = TrainingPlan(family, lr, momentum, batch, self._last_batch(batch, annealing), annealing)
        plan = replace(plan, eps=min(EPS[0], EPS[1] * self.slope))
        if family == "adam" and given.lr is None and self.steered:
            plan = replace(plan, decay=decay_of(lr, self.samples / batch))
        self.write(reasons.annealing(plan, given=given.annealing is not None))
        return plan

    def _batch_size(self) -> int:
        if self.given.batch_size is not None:
            self.write(reasons.batch_size(self.given.batch_size, None, "given"))
            return self.given.batch_size
        most = max(self.least, power_of_two(self.source.size // 4))
        if self.wall:
            return self._large(min(BATCH, most))
        if self.samples <= SMALL:
            value = min(BATCH, most)
            self.write(reasons.batch_size(value, None, "rule"))
            return value
        noise = self._noise()
        room = min(512, self.samples // 2000, self.source.size // 16)

        def taken(wanted: float) -> int:
            return max(min(BATCH, most), power_of_two(min(wanted, room)))

        if noise is None:
            value = taken(float(BATCH))
            self.write(reasons.batch_size(value, None, "rule"))
            return value
        value = taken(noise.noise_scale)
        ends = taken(noise.low), taken(noise.high)
        self.write(reasons.batch_size(value, noise, "measured", ends))
        return value

    def _large(self, least: int) -> int:
        """As large as the noise scale, as far as data and steps go; ``least`` where it cannot be measured."""
        noise, room = self._noise(), largest(self.source.size, self.samples)

        def taken(wanted: float) -> int:
            return max(least, power_of_two(min(wanted, room)))

        value = least if noise is None else taken(noise.noise_scale)
        ends = (None, None) if noise is None else (taken(noise.low), taken(noise.high))
        self.write(reasons.large_batch(value, noise, room, ends))
        return value

    def _noise(self) -> Noise | None:
        noise = self.before.noise(min(64, int(self.samples * 0.004)))
        if noise is not None:
            self.write(noise)
        return noise

    def _last_batch(self, batch: int, annealing: Annealing) -> int:
        """Four times the first where a wave falls, as far as the data go; a given batch size stays."""
        if self.given.batch_size is not None or annealing == "linear" or not self.steered:
            return batch
        return max(batch, min(4 * batch, power_of_two(self.source.size // 8)))

    def _momentum(self, family: Family, batch: int) -> float:
        """0.9; heavy ball's is less where a run is so short that velocity would not be forgotten many times in it."""
        tenths = round(10 * MOMENTUM)
        while family == "heavy-ball" and tenths > 0 and self.samples / batch * (1 - tenths / 10) < 20:
            tenths -= 1
        return tenths / 10

    def _lr(self, family: Family, momentum: float) -> float:
        if self.given.lr is not None:
            self.write(reasons.given_lr(self.given.lr))
            return self.given.lr
        if family == "adam":
            lr = max(LEAST_LR, min(ADAM_LR, SHARE_OF_SIZE * self.size))
            self.write(reasons.adam_lr(lr, self.size, steered=self.steered))
            return lr
        found = self._curvature()
        if found is None or not found.sharpness > 0:
            self.write(reasons.heavy_lr(LEAST_LR, None, steered=self.steered))
            return LEAST_LR
        rate = (1.0 - momentum) / GENTLE
        lr, low = rate / found.sharpness, rate / found.high if found.high else None
        self.write(reasons.heavy_lr(lr, found.sharpness, (low, lr), steered=self.steered))
        return lr

    def _curvature(self) -> Curvature | None:
        size = reference_size(self.samples, self.source.size)
        curvature = self.before.curvature(size) if size else None
        if curvature is not None:
            self.write(curvature)
        return curvature


def typical_size(parameters: Iterable[Tensor], without: Tensor | None = None) -> float:
    """Root mean square of all parameters, leaving out ``without``; 0 where there is no other.

    Example:
        >>> import torch
        >>> round(typical_size([torch.tensor([3.0, 4.0])]), 4)
        3.5355
    """
    some = [p.detach() for p in parameters if p is not without]
    count = sum(p.numel() for p in some)
    return math.sqrt(sum(float(p.double().square().sum()) for p in some) / count) if count else 0.0
