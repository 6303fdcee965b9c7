"""The run's own instruments: curvature and gradient noise on fixed reference samples, with their cost counted."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch

from thetadot.monitor.entries import noise_entry
from thetadot.probes import Objective, gradient_noise, sharpness
from thetadot.probes.heat import Estimate, finite, variance_of
from thetadot.random import derive
from thetadot.records import Curvature
from thetadot.state import kept
from thetadot.training.forward import loss_of
from thetadot.training.learned import learned

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from torch import Tensor

    from thetadot.reading import Reading
    from thetadot.records import Noise
    from thetadot.state import Kept
    from thetadot.tasks.task import Task
    from thetadot.training.data import Batch, Source

When = Literal["start", "warm-up", "training"]
WHENS: tuple[When, ...] = get_args(When)
MICRO_BATCHES = 8
FIRST_ITERATIONS = 8
START_KEY = 7
ESTIMATES = ("heating", "sharpest")


@dataclass
class Cost:
    """Gradient evaluations, counted in samples. A forward pass counts a third, a Hessian-vector product two."""

    samples: float = 0.0

    def gradient(self, count: float) -> None:
        """Forward and backward over ``count`` samples."""
        self.samples += count

    def forward(self, count: float) -> None:
        """Count forward passes."""
        self.samples += count / 3.0


class Instruments:
    """Measure one task at its model's present parameters, changing nothing.

    Args:
        task: what is trained.
        source: its training data.
        reference: indices of the reference samples, the same for the whole run.
        cost: where evaluations are counted.
    """

    def __init__(self, task: Task, source: Source, reference: list[int], cost: Cost) -> None:
        self.task = task
        self.source = source
        self.reference = reference
        self.cost = cost
        self.vectors: dict[str, Tensor] = {}
        self.heating: dict[str, Estimate] = {}
        self.sharpest: dict[str, Estimate] = {}  # of the last reading of each kind
        self.spent = 0.0  # by curvature and noise measurements

    def batch(self, indices: list[int]) -> Batch:
        """Some samples as one batch."""
        return next(iter(self.source.load(self.source.whole(len(indices), indices))))

    def loss(self, indices: list[int]) -> float:
        """Mean loss on ``indices``, the model as training sees it, with a fixed dropout mask."""
        self.cost.forward(len(indices))
        with self._kept():
            return self._objective(indices).value()

    def _kept(self) -> AbstractContextManager[Kept]:
        return kept(model=self.task.model, loss=self.task.loss)

    def start_loss(self, samples: int) -> tuple[float, float]:
        """Mean loss on training samples in their keyed order, and its standard error."""
        indices = self.source.order(-1)[: max(2, min(samples, self.source.size))]
        size = max(2, len(indices) // MICRO_BATCHES)
        parts = [indices[i : i + size] for i in range(0, len(indices), size)]
        losses = torch.tensor([self.loss(part) for part in parts if len(part) >= min(2, len(indices))])
        error = float(losses.std() / len(losses) ** 0.5) if len(losses) > 1 else float(losses.abs())
        return float(losses.mean()), error

    def gradient(self, samples: int) -> Tensor:
        """Return the flat gradient of the mean loss on the first training samples in keyed order."""
        indices = self.source.order(-1)[: max(1, min(samples, self.source.size))]
        if len(indices) == 1:  # batch statistics need two, and one sample twice is the same mean
            indices = indices * 2
        self.cost.gradient(len(indices))
        return self._objective(indices).gradient()

    def _objective(self, indices: list[int]) -> Objective:
        batch = self.batch(indices)
        return Objective(self.task.model, lambda: loss_of(self.task.model, self.task.loss, batch), learned(self.task))

    def curvature(self, when: When, step: int, iterations: int, reading: Reading | None = None) -> Curvature | None:
        """Largest curvature and the optimizer's limit; None where it is not finite.

        The vector of the last reading of its kind is half of its start; a first reading takes twice as many iterations.
        """
        objective, size = self._objective(self.reference), len(self.reference)
        preconditioner = _flat_preconditioner(objective.parameters, reading)
        dimension = sum(p.numel() for p in objective.parameters)
        kind = "plain" if preconditioner is None else "preconditioned"
        warm = self.vectors.get(kind)
        iterations = iterations if warm is not None else max(iterations, FIRST_ITERATIONS)
        generator = torch.Generator().manual_seed(derive(START_KEY, WHENS.index(when), step))
        dtype = reduce(torch.promote_types, (p.dtype for p in objective.parameters))
        start = torch.randn(dimension, generator=generator).to(objective.parameters[0].device, dtype)
        before = self.cost.samples
        self.cost.gradient(size)
        with self._kept(), objective.hessian() as hessian:
            found = sharpness(hessian, start, iterations, warm=warm, preconditioner=preconditioner, tolerance=1e-2)
        self.cost.gradient(2.0 * found.products * size)
        self.spent += self.cost.samples - before
        if not (math.isfinite(found.value) and math.isfinite(found.residual)):
            return None
        self.vectors[kind] = found.vector
        self.sharpest[kind] = Estimate(found.value, found.value, finite(found.high))
        return Curvature(
            when=when,
            step=step,
            sharpness=found.value,
            residual=found.residual,
            limit=None if reading is None or not math.isfinite(reading.limit) else reading.limit,
            samples=size,
            cost=self.cost.samples,
            preconditioned=preconditioner is not None,
            low=found.value,
            high=found.high,
        )

    def noise(self, when: When, step: int, samples: int, reading: Reading | None = None) -> Noise | None:
        """Gradient noise from micro-batches of reference samples; None where too few or not finite.

        :attr:`heating` gets trΣ, and tr(P⁻¹Σ), the variance that heats a motion with preconditioner P.
        """
        size = min(samples, self.source.size) // MICRO_BATCHES
        if size < 2:  # batch statistics need two samples
            return None
        indices = self.reference if len(self.reference) >= size * MICRO_BATCHES else self.source.order(-1)
        objectives = [self._objective(indices[k * size : (k + 1) * size]) for k in range(MICRO_BATCHES)]
        with self._kept():
            rows = [objective.gradient() for objective in objectives]
        self.cost.gradient(size * MICRO_BATCHES)
        self.spent += size * MICRO_BATCHES
        gradients = torch.stack(rows)
        found = gradient_noise(gradients, size)
        entry = noise_entry(found, when=when, step=step, samples=size * MICRO_BATCHES, cost=self.cost.samples)
        if entry is None:
            return None
        preconditioner = _flat_preconditioner(objectives[0].parameters, reading)
        self.heating["plain"] = variance_of(found)
        if preconditioner is not None:
            self.heating["preconditioned"] = variance_of(gradient_noise(gradients * preconditioner.rsqrt(), size))
        return entry

    def state_dict(self) -> dict[str, Any]:
        """Return the state that later measurements start from."""
        told = {name: {kind: tuple(found) for kind, found in getattr(self, name).items()} for name in ESTIMATES}
        return {"vectors": self.vectors, **told}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state that :meth:`state_dict` returned."""
        device = next(self.task.model.parameters()).device
        self.vectors = {kind: vector.to(device) for kind, vector in state["vectors"].items()}
        for name in ESTIMATES:  # older states have numbers without an interval
            told = {k: Estimate(*(x if isinstance(x, tuple | list) else (x,))) for k, x in state[name].items()}
            setattr(self, name, told)


def _flat_preconditioner(parameters: list[Tensor], reading: Reading | None) -> Tensor | None:
    if reading is None or not reading.preconditioner:
        return None
    return torch.cat(
        [
            reading.preconditioner[p].reshape(-1) if p in reading.preconditioner else torch.ones(p.numel()).to(p)
            for p in parameters
        ]
    )
