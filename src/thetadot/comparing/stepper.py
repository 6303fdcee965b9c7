"""An optimizer, its schedule and its modes, stepped as it asks to be.

One whose ``step`` needs a closure gets one. One with ``train()`` and ``eval()``, as schedule-free methods have, holds
two sets of parameters: it is trained in train mode and judged in eval mode, and running statistics of batch
normalization, which are those of the parameters that are trained, are taken anew for those that are judged.
"""

from __future__ import annotations

import inspect
import math
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.modules.batchnorm import _NormBase

from thetadot.comparing.factory import build
from thetadot.errors import Diverged
from thetadot.state import kept
from thetadot.training.forward import apply, loss_of
from thetadot.training.learned import learned

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from thetadot.comparing.spec import GridPoint
    from thetadot.tasks.task import Task
    from thetadot.training.data import TrainingBatch

_FACTORS: dict[str, Callable[[float], float]] = {
    "constant": lambda _: 1.0,
    "cosine": lambda t: 0.5 * (1.0 + math.cos(math.pi * t)),
    "linear": lambda t: 1.0 - t,
}


class Stepper:
    """An optimizer and its schedule, stepped with or without a closure, as it asks for.

    Args:
        task: whose parameters are moved.
        point: optimizer, settings and schedule.
    """

    def __init__(self, task: Task, point: GridPoint) -> None:
        self.task, self.point = task, point
        self.optimizer = build(point, learned(task))
        self.first: list[Any] = [group.get("lr") for group in self.optimizer.param_groups]
        self.closing = _needs_closure(self.optimizer.step)
        self.modal = all(callable(getattr(self.optimizer, mode, None)) for mode in ("train", "eval"))
        if self.modal:
            self.optimizer.train()  # type: ignore[attr-defined]

    def step(self, batch: TrainingBatch, t: float) -> tuple[float, int]:
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
    def averaged(self, batches: Iterable[TrainingBatch] = ()) -> Iterator[None]:
        """Within, parameters are those to be judged, and running statistics belong to them.

        Args:
            batches: of training data, by which running statistics are taken anew where there are two sets.
        """
        if not self.modal:
            yield
            return
        self.optimizer.eval()  # type: ignore[attr-defined]
        try:
            with kept(parameters=False, model=self.task.model):
                if any(isinstance(module, _NormBase) for module in self.task.model.modules()):
                    self._refresh(batches)
                yield
        finally:
            self.optimizer.train()  # type: ignore[attr-defined]

    def _refresh(self, batches: Iterable[TrainingBatch]) -> None:
        """Pass batches through the model in train mode."""
        self.task.model.train()
        with torch.no_grad():
            for batch in batches:
                apply(self.task.model, batch.inputs)


def _needs_closure(step: Callable[..., Any]) -> bool:
    try:
        parameters = inspect.signature(step).parameters
    except (TypeError, ValueError):
        return False
    closure = parameters.get("closure")
    return closure is not None and closure.default is closure.empty
