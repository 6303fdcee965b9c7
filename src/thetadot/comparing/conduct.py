"""Do one run: thetadot's own, or the plain loop around an optimizer, until its gradient evaluations are spent.

    while spent + B/2 <= budget:   lr = lr₀·f(spent/budget);   θ <- step(∇L on the next batch);   spent += B

f is 1, (1 + cos πt)/2, or 1 - t. Batches are those of :class:`thetadot.training.data.Source`: at one seed and batch
size they are the same for every optimizer. One that asks for its gradients through a closure is charged for each.
"""

from __future__ import annotations

import inspect
import math
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from thetadot.comparing.curves import Bins
from thetadot.comparing.factory import build
from thetadot.comparing.job import Outcome
from thetadot.comparing.making import made
from thetadot.comparing.own import own
from thetadot.errors import Diverged, TaskError
from thetadot.state import generators_kept
from thetadot.training.data import Source
from thetadot.training.forward import derived_metric, judge, loss_of
from thetadot.training.learned import learned
from thetadot.training.setting import device_of
from thetadot.training.snapshot import clone
from thetadot.training.spec import users_code

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from thetadot.comparing.job import Job
    from thetadot.comparing.spec import Point
    from thetadot.tasks.task import Metric, Task
    from thetadot.training.data import Batch

_FACTORS: dict[str, Callable[[float], float]] = {
    "constant": lambda _: 1.0,
    "cosine": lambda t: 0.5 * (1.0 + math.cos(math.pi * t)),
    "linear": lambda t: 1.0 - t,
}


def conduct(job: Job) -> tuple[Outcome, bytes | None]:
    """Return what came of a run, and the text of its record where it is thetadot's own.

    The process's generators and number of threads are as before.

    Raises:
        TaskError: the task cannot be trained.
    """
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(job.threads)
        with generators_kept():
            return own(job) if job.point.own else (Training(job).outcome(), None)
    finally:
        torch.set_num_threads(threads)


class Training:
    """The plain training loop of a comparison.

    Args:
        job: what is asked for.
    """

    def __init__(self, job: Job) -> None:
        self.job, self.task = job, made(job)
        device = device_of(job.device)
        self.train, self.valid = Source(self.task.train, job.seed, device), Source(self.task.valid, job.seed, device)
        self.test = None if self.task.test is None else Source(self.task.test, job.seed, device)
        self.size = min(job.point.batch_size or job.batch_size, self.train.size)
        self.name, self.metric = self._metric()
        self.stepper = Stepper(self.task, job.point)
        self.steps, self.spent = 0, 0
        self.bins = Bins(job.budget)
        self.judged: list[tuple[float, float, float | None]] = []
        self.best: tuple[float, float | None, dict[str, Any] | None] = math.inf, None, None

    def outcome(self) -> Outcome:
        """Train to the end of the budget, or to where the loss is lost."""
        began, why = time.perf_counter(), ""
        try:
            with users_code():
                self._run()
        except Diverged as error:
            why = str(error)
        job, last = self.job, self.judged[-1] if self.judged else (0.0, math.nan, None)
        return Outcome(
            point=job.point.identity,
            label=job.point.label,
            seed=job.seed,
            epochs=job.epochs,
            budget=job.budget,
            spent=self.spent,
            steps=self.steps,
            best=None if why else self.best[0],
            final=None if why else last[1],
            test=None if why else self._tested(),
            best_metric=self.best[1],
            final_metric=last[2],
            metric=self.name,
            diverged=why,
            train=self.bins.points(),
            valid=[(at, loss) for at, loss, _ in self.judged],
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
            self._judge()

    def _batches(self, epoch: int) -> Iterator[tuple[Batch, list[int]]]:
        """Batches of an epoch with their samples, as many as the budget is for."""
        requests = self.train.plan(epoch, lambda _: self.size)
        for request, batch in zip(requests, self.train.load(requests), strict=True):
            if not self._goes_on(batch.size):
                return
            yield batch, request.indices

    def _goes_on(self, size: int | None = None) -> bool:
        """Whether another batch brings what is spent nearer to the budget."""
        return self.spent == 0 or 2 * (self.job.budget - self.spent) >= (size or self.size)

    def _step(self, batch: Batch, indices: list[int]) -> None:
        value, evaluations = self.stepper.step(batch, min(1.0, self.spent / self.job.budget))
        self.steps += 1
        self.spent += evaluations * batch.size
        if not math.isfinite(value):
            fault = self.train.fault(value, indices)
            if fault is not None:  # no optimizer's
                raise TaskError(fault)
            raise Diverged(f"the loss is {value} at step {self.steps}")
        self.bins.add(self.spent, value, evaluations * batch.size)

    def _judge(self) -> None:
        with self.stepper.averaged():
            loss, score = judge(self.task, self.valid.load(self.valid.whole(512)), self.metric)
            if not math.isfinite(loss):
                raise Diverged(f"the validation loss is {loss} after step {self.steps}")
            self.judged.append((float(self.spent), loss, score))
            if loss < self.best[0]:
                state = None if self.test is None else clone(self.task.model.state_dict())
                self.best = loss, score, state

    def _tested(self) -> float | None:
        """Loss on the test data at the lowest validation loss."""
        if self.test is None or self.best[2] is None:
            return None
        self.task.model.load_state_dict(self.best[2])
        with users_code():
            loss, _ = judge(self.task, self.test.load(self.test.whole(512)), None)
        return loss if math.isfinite(loss) else None


class Stepper:
    """An optimizer and its schedule, stepped with or without a closure, as it asks for.

    Args:
        task: whose parameters are moved.
        point: optimizer, settings and schedule.
    """

    def __init__(self, task: Task, point: Point) -> None:
        self.task, self.point = task, point
        self.optimizer = build(point, learned(task))
        self.first: list[Any] = [group.get("lr") for group in self.optimizer.param_groups]
        self.closing = _needs_closure(self.optimizer.step)
        self.modal = all(callable(getattr(self.optimizer, mode, None)) for mode in ("train", "eval"))
        if self.modal:
            self.optimizer.train()  # type: ignore[attr-defined]

    def step(self, batch: Batch, t: float) -> tuple[float, int]:
        """Step once; return the loss of the batch, and how many gradients it took.

        Raises:
            Diverged: the optimizer failed at what the loss or its gradients had become.
        """
        factor = _FACTORS[self.point.schedule](t)
        if self.point.schedule != "constant":
            for group, lr in zip(self.optimizer.param_groups, self.first, strict=True):
                group["lr"] = lr * factor
        values: list[float] = []

        def closure() -> Any:
            with torch.enable_grad():
                self.optimizer.zero_grad()
                loss = loss_of(self.task.model, self.task.loss, batch)
                loss.backward()  # type: ignore[no-untyped-call]
            values.append(float(loss.detach()))
            return loss

        if not self.closing:
            closure()
            if not math.isfinite(values[0]):
                return values[0], 1
        try:
            self._advance(closure)
        except Exception as error:
            if not self._wild():
                raise
            raise Diverged(f"{type(error).__name__}: {error}") from error
        return values[0], len(values)

    def _advance(self, closure: Callable[[], Any]) -> None:
        if self.closing:
            self.optimizer.step(closure)
            return
        try:
            self.optimizer.step()
        except Exception as error:  # as SAM does, whose signature says nothing
            if "closure" not in str(error):
                raise
            self.closing = True
            self.optimizer.step(closure)

    def _wild(self) -> bool:
        """Whether a gradient or a parameter is no longer finite: a linear solver then fails, say."""
        tensors: list[torch.Tensor] = list(learned(self.task))
        tensors += [p.grad for p in tensors if p.grad is not None]
        return not all(bool(torch.isfinite(tensor).all()) for tensor in tensors)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Within, parameters are those to be judged: schedule-free methods hold two sets, told apart by a mode."""
        if self.modal:
            self.optimizer.eval()  # type: ignore[attr-defined]
        try:
            yield
        finally:
            if self.modal:
                self.optimizer.train()  # type: ignore[attr-defined]


def _needs_closure(step: Callable[..., Any]) -> bool:
    try:
        parameters = inspect.signature(step).parameters
    except (TypeError, ValueError):
        return False
    closure = parameters.get("closure")
    return closure is not None and closure.default is closure.empty
