"""A task's model, loss and metric, applied to batches; every misfit is said in one sentence."""

from __future__ import annotations

import math
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from thetadot.errors import TaskError
from thetadot.state import kept

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from torch import Tensor

    from thetadot.tasks.task import Loss, Metric, Task
    from thetadot.training.data import TrainingBatch


def apply(model: nn.Module, inputs: Any) -> Any:
    """``model(x)``, ``model(*x)`` or ``model(**x)``."""
    if isinstance(inputs, dict):
        return model(**inputs)
    if isinstance(inputs, tuple):
        return model(*inputs)
    return model(inputs)


def loss_of(model: nn.Module, loss: Loss, batch: TrainingBatch) -> Tensor:
    """The scalar loss of a batch.

    Raises:
        TaskError: it is not a scalar tensor, or has no gradient where one is wanted.
    """
    value = _scalar(loss(apply(model, batch.inputs), batch.target))
    if torch.is_grad_enabled() and not value.requires_grad:
        raise TaskError("the loss does not depend on any trainable parameter. Return a loss that has a gradient.")
    return value


def _scalar(value: Any) -> Tensor:
    if not isinstance(value, torch.Tensor) or value.numel() != 1:
        came = f"shape {tuple(value.shape)}" if isinstance(value, torch.Tensor) else f"type {type(value).__name__}"
        raise TaskError(f"loss(output, target) returned {came}, not a scalar tensor. Return a mean over the batch.")
    return value.reshape(())


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError) as error:  # RuntimeError: a tensor of many elements
        came = f"shape {tuple(value.shape)}" if isinstance(value, torch.Tensor) else f"type {type(value).__name__}"
        raise TaskError(
            f"metric(output, target) returned {came}, not a number. Return a mean over the batch."
        ) from error


@contextmanager
def judging(task: Task) -> Iterator[None]:
    """Evaluate in eval mode without gradients, and restore the state of model and loss, modes too."""
    with kept(model=task.model, loss=task.loss), torch.no_grad():
        for part in (task.model, task.loss):
            if isinstance(part, nn.Module):
                part.eval()
        yield


def judge(task: Task, batches: Iterable[TrainingBatch], metric: Metric | None) -> tuple[float, float | None]:
    """Mean loss and metric in eval mode, weighted by batch size; nothing of the run is changed."""
    total, score, count = 0.0, 0.0, 0
    with judging(task):
        for batch in batches:
            output = apply(task.model, batch.inputs)
            total += float(_scalar(task.loss(output, batch.target))) * batch.size
            if metric is not None:
                score += _number(metric(output, batch.target)) * batch.size
            count += batch.size
    value = score / count if metric is not None else None
    return total / count, value if value is not None and math.isfinite(value) else None


def accuracy(output: Tensor, target: Tensor) -> float:
    """Share of right classes; the class axis is 1, as in CrossEntropyLoss."""
    return float((output.argmax(dim=1) == target).double().mean())


def derived_metric(task: Task, batch: TrainingBatch) -> tuple[str | None, Metric | None]:
    """The task's own metric; else accuracy where the shapes say that targets are classes; else none."""
    if task.metric is not None:
        return getattr(task.metric, "__name__", "metric"), task.metric
    target = batch.target
    if not isinstance(target, torch.Tensor) or target.is_floating_point() or target.is_complex():
        return None, None
    with judging(task):
        output = apply(task.model, batch.inputs)
    if not isinstance(output, torch.Tensor) or output.dim() < 2 or output.shape[1] < 2:  # one class is no choice
        return None, None
    fits = output.shape[:1] + output.shape[2:] == target.shape
    return ("accuracy", accuracy) if fits else (None, None)
