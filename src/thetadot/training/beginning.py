"""The beginning of a run: look at the data, mend what can be mended exactly, settle the first settings."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from thetadot.errors import TaskError
from thetadot.records import Remark
from thetadot.state import generators_kept, kept
from thetadot.training.before import MOVED, Before
from thetadot.training.constant import constant
from thetadot.training.cure import cured, squared_error
from thetadot.training.drift import Drift, judges_of
from thetadot.training.fit import require_motion
from thetadot.training.forks import Forks
from thetadot.training.forward import judge
from thetadot.training.growing import Growing, largest
from thetadot.training.learned import learned
from thetadot.training.mean import RunningMean
from thetadot.training.misfit import remarks_on_targets
from thetadot.training.scales import in_usual_units, remarks, residual_loss, scales
from thetadot.training.start import Given, RunStart, typical_size
from thetadot.training.steering import Steering

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from thetadot.records import Constant, Entry
    from thetadot.tasks.task import Task
    from thetadot.training.arguments import Arguments
    from thetadot.training.cost import Cost
    from thetadot.training.data import Source
    from thetadot.training.plan import TrainingPlan
    from thetadot.training.units import Coordinates

FEW = 100
"""Validation samples below which the best of their losses is said to flatter itself."""
_KNOWN = 256  # samples that tell whether a model is trained already
_FLATTERS = (
    "there are {} validation samples, below {}: the best of so few flatters the state that is returned by it. Hold "
    "more back, or pass Task(test=...), which nothing is chosen by"
)


class Begun(NamedTuple):
    """What is known of a run before its first step.

    Attributes:
        loss: at the first parameters, and its standard error.
        constant: what the best constant output comes to; None where there is none.
        offset: the last bias, where it was moved: it says nothing of how large a step may be.
        coordinates: units that the model is trained in, where they are not its own.
    """

    loss: tuple[float, float] = 0.0, 0.0
    constant: Constant | None = None
    offset: Tensor | None = None
    coordinates: Coordinates | None = None


class RunBeginning:
    """Everything that is done before the first step.

    Args:
        task: what is trained; its last bias may move.
        source: training data.
        valid: validation data; None where there are none.
        asked: arguments of the run.
        least: samples that a step takes at least.
        cost: counts evaluations.
        write: receives what was seen and settled.
        steered: whether the run decides further on the way.
        most: evaluations that measuring may have taken in the end.
    """

    def __init__(
        self,
        task: Task,
        source: Source,
        valid: Source | None,
        asked: Arguments,
        *,
        least: int,
        cost: Cost,
        write: Callable[[Entry], None],
        steered: bool = True,
        most: float = math.inf,
    ) -> None:
        self.task, self.source, self.valid, self.asked = task, source, valid, asked
        self.least, self.cost, self.write, self.steered = least, cost, write, steered
        self.before = Before(task, source, cost, most)
        self.samples = asked.epochs * source.size
        self.coordinates: Coordinates | None = None

    def settle(self) -> tuple[TrainingPlan, Begun]:
        """Return the first settings, and what is known before the first step.

        Raises:
            TaskError: the loss or its gradient is not finite there, or nothing would move.
        """
        with generators_kept():
            with kept(model=self.task.model, loss=self.task.loss):
                bar = constant(self.task, self.source, self.valid or self.source)
            offset = self._look(bar)
            if bar is not None:
                self.write(bar)
        self.task.model.train()
        before = self.before
        loss = before.loss(min(512, max(16, self.samples // 300)))
        if not math.isfinite(loss[0]):
            raise TaskError(self._not_finite(loss[0]))
        gradient = before.gradient(MOVED)
        if not bool(gradient.isfinite().all()):
            raise TaskError(self._not_finite(loss[0]))
        require_motion(gradient, loss[0])
        asked = self.asked
        start = RunStart(
            self.source,
            before,
            self.samples,
            Given(asked.optimizer, asked.lr, asked.momentum, asked.batch_size, asked.annealing),
            self.write,
            size=typical_size(learned(self.task), offset),
            slope=typical_size([gradient]),
            least=self.least,
            steered=self.steered,
            wall=asked.prefer == "wall",
        )
        with generators_kept():
            return start.plan(), Begun(loss, bar, offset, self.coordinates)

    def _look(self, bar: Constant | None) -> Tensor | None:
        """Take other units where some are bad; cure the last bias, and return it where it was moved."""
        squared = squared_error(self.task, self.source)
        residual = squared or residual_loss(self.task, self.source)
        found = scales(self.source, offset=not squared)
        if self.asked.cure and found.any and not self._knows(bar):
            self.coordinates = in_usual_units(
                self.task, self.source, found, residual=residual, cost=self.cost, write=self.write
            )
            self.coordinates.take()
        else:
            for remark in remarks(found, residual=residual):
                self.write(remark)
        for remark in remarks_on_targets(self.source):
            self.write(remark)
        if self.valid is not None and self.valid.size < FEW:
            self.write(Remark(0, "validation", _FLATTERS.format(self.valid.size, FEW)))
        if not (squared and self.asked.cure):
            return None
        return cured(self.task, self.source, self.samples, self.cost, self.write)

    def _knows(self, bar: Constant | None) -> bool:
        """Whether the model comes better than a constant output: its parameters are of the data's own units."""
        if bar is None:
            return False
        indices = self.source.order(-1)[:_KNOWN]
        self.cost.forward(len(indices))
        return judge(self.task, self.source.load(self.source.whole(_KNOWN, indices)), None)[0] < bar.train_loss

    def steering(self, plan: TrainingPlan, samples: int) -> Steering:
        """What decides the rate on the way, in so many samples: nothing where it was given."""
        steps = max(1, samples // plan.batch_size)
        if self.asked.lr is not None:
            return Steering()
        if self._room:
            return Forks(steps)
        return Drift(steps, judges_of(self.source.order(-1), samples, self.least))

    def mean(self) -> RunningMean | None:
        """The running mean of the parameters; None where the rate was given, or a copy is too much."""
        return RunningMean(self.task) if self.asked.lr is None and self._room else None

    @property
    def _room(self) -> bool:
        """Whether there is memory for copies of the parameters."""
        return sum(p.numel() * p.element_size() for p in learned(self.task)) <= self.asked.fork_memory

    def growing(self, plan: TrainingPlan) -> Growing | None:
        """What lets the batch grow; None where it was given, or many small steps are preferred, or lr is given."""
        if self.asked.prefer != "wall" or self.asked.lr is not None:
            return None
        return Growing(plan.batch_size, largest(self.source.size, self.samples), self.before)

    def _not_finite(self, loss: float) -> str:
        """Whether it is the data, and which sample."""
        slope = " and its gradient is not finite," if math.isfinite(loss) else ""
        return "before the first step: " + (
            self.source.fault(loss)
            or f"the loss is {loss}{slope} although all training data are finite. Look at the loss and the first "
            "parameters."
        )
