"""Trials: short runs from the same start, on the same samples, with the same dropout masks, that can be continued.

A trial's score is the loss on training samples that no trial has trained on, at its last parameters or at the average
over the second half of its latest stretch, whichever is lower: averaging the tail takes the noise out as annealing
would, and lets a trial be continued.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from thetadot.records import Trial
from thetadot.schedules import Coupled
from thetadot.training.forward import loss_of
from thetadot.training.learned import learned
from thetadot.training.plan import Family, Plan, put
from thetadot.training.snapshot import Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable

    from thetadot.tasks.task import Task
    from thetadot.training.data import Source
    from thetadot.training.instruments import Cost, Instruments

_EPOCH = 2**31  # trials draw their order from epochs that the run never reaches


@dataclass
class Candidate:
    """A setting and the progress of its trial.

    Attributes:
        optimizer: the family.
        rate: lr/(1-β) for heavy ball, lr for Adam: the scale on which both are searched.
        momentum: β, or β₁.
        score: the best held-back loss so far; infinite once it diverged.
    """

    optimizer: Family
    rate: float
    momentum: float
    steps: int = 0
    score: float = math.inf
    snapshot: Snapshot | None = field(default=None, repr=False)

    @classmethod
    def of(cls, optimizer: Family, lr: float, momentum: float) -> Candidate:
        """The candidate with this lr."""
        return cls(optimizer, lr / (1.0 - momentum) if optimizer == "heavy-ball" else lr, momentum)

    @property
    def lr(self) -> float:
        """Learning rate of this rate."""
        return self.rate * (1.0 - self.momentum) if self.optimizer == "heavy-ball" else self.rate


class Trials:
    """Runs candidates on one model, from one start.

    Args:
        task: what is trained.
        source: its training data.
        instruments: judges.
        judges: indices held back from the trials.
        batch_size: of the trials.
        cost: where evaluations are counted.
        report: receives every finished stretch.
    """

    def __init__(
        self,
        task: Task,
        source: Source,
        instruments: Instruments,
        judges: list[int],
        batch_size: int,
        cost: Cost,
        report: Callable[[Trial], None],
    ) -> None:
        self.task = task
        self.source = source
        self.instruments = instruments
        self.judges = judges
        self.batch_size = batch_size
        self.cost = cost
        self.report = report
        self.start = Snapshot.take(task.model, loss=task.loss)
        held = set(judges)
        self.pool = [i for i in range(source.size) if i not in held]
        self.start_loss = instruments.loss(judges)

    @property
    def judging(self) -> float:
        """Cost of a score, in samples: two forward passes."""
        return 2.0 * len(self.judges) / 3.0

    def advance(self, candidate: Candidate, steps: int, turn: int) -> None:
        """Continue ``candidate`` up to ``steps`` steps, and score the trial."""
        plan = Plan(
            candidate.optimizer, candidate.lr, candidate.momentum, self.batch_size, self.batch_size, coupled=False
        )
        optimizer = plan.build(learned(self.task))
        begun = candidate.snapshot or self.start
        begun.restore(self.task.model, optimizer if candidate.snapshot else None, loss=self.task.loss)
        with torch.random.fork_rng(devices=self.start.devices):
            torch.manual_seed(self.source.seed % 2**63 + candidate.steps)
            average = self._stretch(candidate, optimizer, steps)
        candidate.snapshot = Snapshot.take(self.task.model, optimizer, loss=self.task.loss)
        candidate.steps = steps
        candidate.score = self._score(average)
        self.report(
            Trial(
                optimizer=candidate.optimizer,
                lr=candidate.lr,
                momentum=candidate.momentum,
                batch_size=self.batch_size,
                steps=steps,
                round=turn,
                score=candidate.score if math.isfinite(candidate.score) else None,
                cost=self.cost.samples,
            )
        )

    def rewind(self) -> None:
        """Put the model back to the start."""
        self.start.restore(self.task.model, loss=self.task.loss)

    def _stretch(self, candidate: Candidate, optimizer: Any, steps: int) -> list[torch.Tensor] | None:
        """Step up to ``steps``; the mean of the parameters over the second half, None if the loss is not finite."""
        model = self.task.model
        model.train()
        first, total = candidate.steps, steps - candidate.steps
        parameters = learned(self.task)
        average = [torch.zeros_like(p) for p in parameters]
        averaged = 0
        for number, batch in enumerate(self._batches(first, steps), start=first):
            rising = min(1.0, (number + 1) / max(1.0, 0.2 * total)) if first == 0 else 1.0
            lr = candidate.lr * rising
            put(optimizer, Coupled(lr, candidate.momentum))
            optimizer.zero_grad(set_to_none=True)
            loss = loss_of(model, self.task.loss, batch)
            if not math.isfinite(float(loss.detach())):
                return None
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            self.cost.gradient(batch.size)
            if number - first >= total // 2:
                averaged += 1
                for p, held in zip(parameters, average, strict=True):
                    held.add_((p.detach() - held) / averaged)
        return average

    def _batches(self, first: int, last: int) -> Any:
        """Batches number ``first`` to ``last`` of an endless, keyed order."""
        per_epoch = len(self.source.plan(_EPOCH, lambda _: self.batch_size, self.pool))
        number = first
        while number < last:
            epoch, place = divmod(number, per_epoch)
            requests = self.source.plan(_EPOCH + epoch, lambda _: self.batch_size, self.pool)[
                place : place + last - number
            ]
            yield from self.source.load(requests)
            number += len(requests)

    def _score(self, average: list[torch.Tensor] | None) -> float:
        if average is None:
            return math.inf
        last = self.instruments.loss(self.judges)
        with torch.no_grad():
            for p, mean in zip(learned(self.task), average, strict=True):
                p.copy_(mean)
        tail = self.instruments.loss(self.judges)
        best = min((value for value in (last, tail) if math.isfinite(value)), default=math.inf)
        return best if best < self.start_loss * 3.0 + 1.0 else math.inf
