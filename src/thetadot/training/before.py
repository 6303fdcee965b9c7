"""What is measured before the first step, where a rule needs it; the monitor measures on the way."""

from __future__ import annotations

import math
from functools import reduce
from typing import TYPE_CHECKING

import torch

from thetadot.monitor.entries import noise_entry
from thetadot.probes import Objective, gradient_noise, sharpness
from thetadot.random import derive
from thetadot.records import Curvature
from thetadot.state import kept
from thetadot.training.forward import loss_of
from thetadot.training.learned import learned

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from torch import Tensor

    from thetadot.records import Noise
    from thetadot.state import Kept
    from thetadot.tasks.task import Task
    from thetadot.training.cost import Cost
    from thetadot.training.data import Source

MICRO_BATCHES = 8
ITERATIONS = 8
_KEY = 7


class Before:
    """Measures one task at its model's first parameters, changing nothing.

    Args:
        task: what is trained.
        source: its training data, of which the first in keyed order are measured on.
        cost: where evaluations are counted.
    """

    def __init__(self, task: Task, source: Source, cost: Cost) -> None:
        self.task, self.source, self.cost = task, source, cost
        self.order = source.order(-1)

    def _kept(self) -> AbstractContextManager[Kept]:
        return kept(model=self.task.model, loss=self.task.loss)

    def _objective(self, indices: list[int]) -> Objective:
        (batch,) = self.source.load(self.source.whole(len(indices), indices))
        return Objective(self.task.model, lambda: loss_of(self.task.model, self.task.loss, batch), learned(self.task))

    def loss(self, samples: int) -> tuple[float, float]:
        """Mean loss of some samples, the model as training sees it, and its standard error."""
        indices = self.order[: max(2, min(samples, self.source.size))]
        size = max(2, len(indices) // MICRO_BATCHES)
        parts = [indices[i : i + size] for i in range(0, len(indices), size)]
        found = []
        for part in (part for part in parts if len(part) >= min(2, len(indices))):
            self.cost.forward(len(part))
            with self._kept():
                found.append(self._objective(part).value())
        losses = torch.tensor(found)
        error = float(losses.std() / len(losses) ** 0.5) if len(losses) > 1 else float(losses.abs())
        return float(losses.mean()), error

    def gradient(self, samples: int) -> Tensor:
        """Return the flat gradient of the mean loss of some samples."""
        indices = self.order[: max(1, min(samples, self.source.size))]
        if len(indices) == 1:  # batch statistics need two, and one sample twice is the same mean
            indices = indices * 2
        self.cost.gradient(len(indices))
        return self._objective(indices).gradient()

    def curvature(self, samples: int) -> Curvature | None:
        """Largest curvature; None where it is not finite."""
        indices = self.order[:samples]
        objective = self._objective(indices)
        dimension = sum(p.numel() for p in objective.parameters)
        dtype = reduce(torch.promote_types, (p.dtype for p in objective.parameters))
        generator = torch.Generator().manual_seed(derive(_KEY))
        start = torch.randn(dimension, generator=generator).to(objective.parameters[0].device, dtype)
        with self._kept(), objective.hessian() as hessian:
            found = sharpness(hessian, start, ITERATIONS, tolerance=1e-2)
        self.cost.gradient((1.0 + 2.0 * found.products) * len(indices))
        if not (math.isfinite(found.value) and math.isfinite(found.residual)):
            return None
        return Curvature(
            when="start",
            step=0,
            sharpness=found.value,
            residual=found.residual,
            limit=None,
            samples=len(indices),
            cost=self.cost.samples,
            low=found.value,
            high=found.high,
        )

    def noise(self, samples: int) -> Noise | None:
        """Gradient noise from micro-batches; None where too few samples or not finite."""
        size = min(samples, self.source.size) // MICRO_BATCHES
        if size < 2:  # batch statistics need two samples
            return None
        with self._kept():
            rows = [self._objective(self.order[k * size : (k + 1) * size]).gradient() for k in range(MICRO_BATCHES)]
        count = size * MICRO_BATCHES
        self.cost.gradient(count)
        found = gradient_noise(torch.stack(rows), size)
        return noise_entry(found, when="start", step=0, samples=count, cost=self.cost.samples)
