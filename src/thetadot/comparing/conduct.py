"""Do one run: thetadot's own, or the plain loop around an optimizer, until its gradient evaluations are spent.

    while spent + B/2 <= budget:   lr = lr₀·f(k/n);   θ <- step(∇L on the next batch);   spent += B;   k += 1

f is 1, (1 + cos πt)/2, or 1 - t; n is the number of batches that the budget is for. Batches are those of
:class:`thetadot.training.data.Source`: at one seed and batch size they are the same for every optimizer. One that asks
for its gradients through a closure is charged for each.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, NamedTuple

import torch

from thetadot.comparing.curves import Bins
from thetadot.comparing.job import Outcome
from thetadot.comparing.making import made
from thetadot.comparing.own import outcome_of_own_run
from thetadot.comparing.stepper import Stepper
from thetadot.errors import Diverged, TaskError
from thetadot.state import generators_kept
from thetadot.training.data import Source
from thetadot.training.forward import derived_metric, judge
from thetadot.training.setting import device_of
from thetadot.training.spec import users_code

if TYPE_CHECKING:
    from collections.abc import Iterator

    from thetadot.comparing.job import ComparisonJob
    from thetadot.tasks.task import Metric
    from thetadot.training.data import BatchRequest, TrainingBatch

_REFRESHED = 50
"""Batches by which running statistics are taken anew, as schedule-free methods ask for."""


class Judged(NamedTuple):
    """Losses of the state after an epoch, or after the last step.

    Attributes:
        spent: gradient evaluations up to there.
        loss: on the validation data.
        score: metric on them.
        test: loss on the test data; taken of the best states and of the last.
    """

    spent: float
    loss: float
    score: float | None
    test: float | None


def conduct(job: ComparisonJob) -> tuple[Outcome, bytes | None]:
    """Return what came of a run, and the text of its record where it is thetadot's own.

    The process's generators and number of threads are as before.

    Raises:
        TaskError: the task cannot be trained.
    """
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(job.threads)
        with generators_kept():
            return outcome_of_own_run(job) if job.point.own else (Training(job).outcome(), None)
    finally:
        torch.set_num_threads(threads)


class Training:
    """One optimizer's run of a task, in the plain loop that one would write.

    Args:
        job: what is asked for.
    """

    def __init__(self, job: ComparisonJob) -> None:
        self.job, self.task = job, made(job)
        device = device_of(job.device)
        self.train, self.valid = Source(self.task.train, job.seed, device), Source(self.task.valid, job.seed, device)
        self.test = None if self.task.test is None else Source(self.task.test, job.seed, device)
        self.size = min(job.point.batch_size or job.batch_size, self.train.size)
        self.name, self.metric = self._metric()
        self.stepper = Stepper(self.task, job.point)
        self.planned = self._planned()
        self.steps, self.passes, self.spent = 0, 0, 0
        self.bins = Bins(job.budget)
        self.judged: list[Judged] = []
        self.best: Judged | None = None

    def outcome(self) -> Outcome:
        """Train to the end of the budget, or to where the loss is lost."""
        began, why = time.perf_counter(), ""
        try:
            with users_code():
                self._run()
        except Diverged as error:
            why = str(error)
        job = self.job
        best, last = self.best, self.judged[-1] if self.judged else None
        return Outcome(
            point=job.point.identity,
            label=job.point.label,
            seed=job.seed,
            epochs=job.epochs,
            budget=job.budget,
            spent=self.spent,
            steps=self.steps,
            best=None if why or best is None else best.loss,
            final=None if why or last is None else last.loss,
            test=None if why or best is None else best.test,
            final_test=None if why or last is None else last.test,
            best_metric=None if best is None else best.score,
            final_metric=None if last is None else last.score,
            metric=self.name,
            diverged=why,
            train=self.bins.points(),
            valid=[(each.spent, each.loss) for each in self.judged],
            seconds=time.perf_counter() - began,
        )

    def _metric(self) -> tuple[str | None, Metric | None]:
        with users_code():
            batch = next(iter(self.train.load(self.train.whole(min(2, self.train.size)))))
            return derived_metric(self.task, batch)

    def _run(self) -> None:
        epoch = 0
        while self._goes_on():
            self.task.model.train()
            for batch, indices in self._batches(epoch):
                self._step(batch, indices)
            epoch += 1
            self._judge(epoch)

    def _planned(self) -> int:
        """Number of batches that the budget is for, the smaller last one of an epoch counted."""
        epochs, rest = divmod(self.job.budget, self.train.size)
        return max(1, epochs * len(self._requests(0)) + (2 * rest + self.size) // (2 * self.size))

    def _requests(self, epoch: int) -> list[BatchRequest]:
        return self.train.plan(epoch, lambda _: self.size)

    def _batches(self, epoch: int) -> Iterator[tuple[TrainingBatch, list[int]]]:
        """Batches of an epoch with their samples, as many as the budget is for."""
        requests = self._requests(epoch)
        for request, batch in zip(requests, self.train.load(requests), strict=True):
            if not self._goes_on(batch.size):
                return
            yield batch, request.indices

    def _goes_on(self, size: int | None = None) -> bool:
        """Whether another batch brings what is spent nearer to the budget."""
        return self.spent == 0 or 2 * (self.job.budget - self.spent) >= (size or self.size)

    def _step(self, batch: TrainingBatch, indices: list[int]) -> None:
        value, evaluations = self.stepper.step(batch, min(1.0, self.passes / self.planned))
        self.steps += 1
        self.passes += evaluations
        self.spent += evaluations * batch.size
        if not math.isfinite(value):
            fault = self.train.fault(value, indices)
            if fault is not None:  # no optimizer's
                raise TaskError(fault)
            raise Diverged(f"the loss is {value} at step {self.steps}")
        self.bins.add(self.spent, value, evaluations * batch.size)

    def _judge(self, epoch: int) -> None:
        with self.stepper.averaged(self._recent(epoch)):
            loss, score = judge(self.task, self.valid.load(self.valid.whole(512)), self.metric)
            if not math.isfinite(loss):
                raise Diverged(f"the validation loss is {loss} after step {self.steps}")
            better = self.best is None or loss < self.best.loss
            found = Judged(float(self.spent), loss, score, self._tested() if better or not self._goes_on() else None)
            self.judged.append(found)
            self.best = found if better else self.best

    def _recent(self, epoch: int) -> Iterator[TrainingBatch]:
        """Batches of training data that no run sees, in an order of their own."""
        return iter(self.train.load(self._requests(-epoch)[:_REFRESHED]))

    def _tested(self) -> float | None:
        """Loss on the test data."""
        if self.test is None:
            return None
        loss, _ = judge(self.task, self.test.load(self.test.whole(512)), None)
        return loss if math.isfinite(loss) else None
