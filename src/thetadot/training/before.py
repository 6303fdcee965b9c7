"""What is measured before the first step, where a rule needs it; the monitor measures on the way."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from msgspec.structs import replace

from thetadot.core.reading import Reading
from thetadot.monitor.layers import Layout
from thetadot.monitor.measurements import Moment
from thetadot.monitor.measurements.curvature import CurvatureMeasurement
from thetadot.monitor.measurements.noise import NoiseMeasurement
from thetadot.monitor.reference_state import ReferenceState
from thetadot.probes import Objective
from thetadot.records import Curvature, Noise
from thetadot.state import kept
from thetadot.training.forward import loss_of
from thetadot.training.learned import learned
from thetadot.training.monitoring import reference_batch

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from torch import Tensor

    from thetadot.monitor.measurements import Measurement
    from thetadot.state import Kept
    from thetadot.tasks.task import Task
    from thetadot.training.cost import Cost
    from thetadot.training.data import Source

MOVED = 16
"""Samples whose gradient tells whether anything moves."""
MICRO_BATCHES = 8
ITERATIONS = 8


class Before:
    """Measures one task at its model's first parameters, changing nothing.

    Args:
        task: what is trained.
        source: its training data, of which the first in keyed order are measured on.
        cost: where evaluations are counted.
        most: evaluations that may have been counted in the end; what does not fit is not measured.
    """

    def __init__(self, task: Task, source: Source, cost: Cost, most: float = math.inf) -> None:
        self.task, self.source, self.cost, self.most = task, source, cost, most
        self.order = source.order(-1)

    def _kept(self) -> AbstractContextManager[Kept]:
        return kept(model=self.task.model, loss=self.task.loss)

    def _objective(self, indices: list[int]) -> Objective:
        (batch,) = self.source.load(self.source.whole(len(indices), indices))
        return Objective(self.task.model, lambda: loss_of(self.task.model, self.task.loss, batch), learned(self.task))

    def loss(self, samples: int) -> tuple[float, float]:
        """Mean loss of some samples, the model as training sees it, and its standard error."""
        room = self.most - self.cost.samples - min(MOVED, self.source.size)  # the gradient is taken too
        indices = self.order[: max(2, int(min(samples, self.source.size, 3.0 * room)))]
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
        found = self._measured(CurvatureMeasurement, samples, 2.0 * ITERATIONS)
        return next((e for e in found if isinstance(e, Curvature)), None)

    def noise(self, samples: int) -> Noise | None:
        """Gradient noise from micro-batches; None where too few samples or not finite."""
        found = self._measured(NoiseMeasurement, samples, 1.0)
        return next((e for e in found if isinstance(e, Noise)), None)

    def _measured(self, kind: type[Measurement], samples: int, price: float) -> list[Any]:
        """Entries of one of the monitor's measurements, of an optimizer that has made no step.

        Args:
            kind: of the measurement.
            samples: that it is taken on.
            price: of each, in gradient evaluations.
        """
        samples = min(samples, int((self.most - self.cost.samples) / price)) if math.isfinite(self.most) else samples
        if samples < 1:
            return []
        layout = Layout(self.task.model, torch.optim.SGD(learned(self.task)), self.task.loss)
        reference = reference_batch(self.task, self.source, self.order[:samples], layout)
        if kind.in_parts and not reference.parts()[0]:
            return []
        state = ReferenceState(layout, reference, self.source.size, "epochs")
        state.most = ITERATIONS
        moment = Moment(0, Reading(step=0.0, friction=None, limit=math.inf), None, self.cost.samples)
        with torch.no_grad(), self._kept():
            found = kind(state).measure(moment)
        self.cost.gradient(state.spent)
        return [replace(entry, when="start") if isinstance(entry, Noise | Curvature) else entry for entry in found]
