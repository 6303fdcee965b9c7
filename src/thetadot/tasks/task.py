"""A task: what is trained on what, and nothing of how."""

from __future__ import annotations

from collections.abc import Callable, Sized
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.utils.data import Dataset, IterableDataset

from thetadot.errors import TaskError

Loss = Callable[[Any, Any], Any]
Metric = Callable[[Any, Any], Any]


@dataclass(frozen=True)
class Task:
    """A model, a loss and data.

    Args:
        model: an ordinary module; a tuple of inputs is passed as ``model(*x)``, a dict as ``model(**x)``.
        loss: ``loss(output, target)`` -> scalar, a mean over the batch.
        train: map-style dataset of (input, target); may transform at random.
        valid: likewise; judged after every epoch, never trained on.
        metric: ``metric(output, target)`` -> number, higher is better, a mean over the batch. None: accuracy where
            targets are classes, else none.
        test: likewise; nothing ever chooses by it.

    Raises:
        TaskError: no trainable parameter, no data, or not such things at all.
    """

    model: nn.Module
    loss: Loss
    train: Dataset[Any]
    valid: Dataset[Any]
    metric: Metric | None = None
    test: Dataset[Any] | None = None

    def __post_init__(self) -> None:
        if isinstance(self.model, type):
            raise TaskError(
                f"model is the class {self.model.__name__}. Pass one that is made: {self.model.__name__}(...)."
            )
        if not isinstance(self.model, nn.Module):
            raise TaskError(f"model is a {type(self.model).__name__}. Pass a torch.nn.Module.")
        if not any(p.requires_grad for p in self.model.parameters()):
            raise TaskError("the model has no trainable parameter. Give it layers, or set requires_grad.")
        if any(p.is_complex() for p in self.model.parameters()):
            raise TaskError("the model has complex parameters, which are not measured. Keep real and imaginary parts.")
        for name, value in (("loss", self.loss), ("metric", self.metric)):
            if isinstance(value, type):
                raise TaskError(
                    f"{name} is the class {value.__name__}, which is made, not called. Pass {value.__name__}()."
                )
            if value is not None and not callable(value):
                raise TaskError(f"{name} is a {type(value).__name__}. Pass a function of (output, target).")
        _require_data("train", self.train)
        _require_data("valid", self.valid)
        if self.test is not None:
            _require_data("test", self.test)


def _require_data(name: str, data: object) -> None:
    """Raise TaskError unless ``data`` is a map-style dataset with a sample in it."""
    if isinstance(data, list | tuple) and len(data) == 2 and all(hasattr(part, "shape") for part in data):
        raise TaskError(f"{name} is a pair of arrays. Wrap them: torch.utils.data.TensorDataset(inputs, targets).")
    if isinstance(data, IterableDataset) or not isinstance(data, Sized) or not hasattr(data, "__getitem__"):
        raise TaskError(
            f"{name} is a {type(data).__name__}. Pass a map-style dataset: len(data), and data[i] -> (input, target)."
        )
    if len(data) == 0:
        raise TaskError(f"{name} is empty. Pass a dataset with at least one sample.")
