"""A task: what is trained on what, and nothing of how."""

from __future__ import annotations

from collections.abc import Callable, Sized
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset

from thetadot.core.output_loss import carried
from thetadot.errors import TaskError
from thetadot.tasks.loaded import loaded

Loss = Callable[[Any, Any], Any]
Metric = Callable[[Any, Any], Any]


def own_loss(output: Any, _: Any) -> Any:
    """Return the loss that the model's output carries.

    Raises:
        TaskError: it carries none.
    """
    found = carried(output)
    if found is None:
        raise TaskError(
            f"the model returned a {type(output).__name__} without a loss, and the task has no loss function. Return "
            "an output with .loss or a key 'loss', or pass Task(loss=...)."
        )
    return found


@dataclass(frozen=True)
class Task:
    """A model, a loss and data.

    A sample is (input, target), or a dict: then the model is called as ``model(**batch)``, and the loss gets the whole
    batch for a target. A DataLoader stands for its data and the way they are collated: how many samples make a batch,
    and in which order they come, is the run's to decide.

    Args:
        model: an ordinary module; a tuple of inputs is passed as ``model(*x)``, a dict as ``model(**x)``.
        loss: ``loss(output, target)`` -> scalar, a mean over the batch. Left out or None: the model's output carries it
            (``.loss``, its key "loss", or the only number in a tuple).
        train: map-style dataset of such samples, or a DataLoader of one; may transform at random.
        valid: likewise; judged after every epoch, never trained on.
        metric: ``metric(output, target)`` -> number, higher is better, a mean over the batch. None: accuracy where
            targets are classes, else none.
        test: likewise; nothing ever chooses by it.

    Raises:
        TaskError: no trainable parameter, no data, or not such things at all; a DataLoader that draws its samples
            otherwise than each once an epoch.
    """

    model: nn.Module
    loss: Loss = own_loss
    train: Dataset[Any] | DataLoader[Any] = None  # type: ignore[assignment]  # refused below
    valid: Dataset[Any] | DataLoader[Any] = None  # type: ignore[assignment]
    metric: Metric | None = None
    test: Dataset[Any] | DataLoader[Any] | None = None

    def __post_init__(self) -> None:
        if self.loss is None:
            object.__setattr__(self, "loss", own_loss)
        for name in ("train", "valid", "test"):
            if isinstance(data := getattr(self, name), DataLoader):
                object.__setattr__(self, name, loaded(name, data))
        self._require_model()
        for name, value in (("loss", self.loss), ("metric", self.metric)):
            if isinstance(value, type):
                raise TaskError(
                    f"{name} is the class {value.__name__}, which is made, not called. Pass {value.__name__}()."
                )
            if value is not None and not callable(value):
                raise TaskError(f"{name} is a {type(value).__name__}. Pass a function of (output, target).")
        require_data("train", self.train)
        require_data("valid", self.valid)
        if self.test is not None:
            require_data("test", self.test)

    def _require_model(self) -> None:
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


def require_data(name: str, data: object) -> None:
    """Raise TaskError unless ``data`` is a map-style dataset with a sample in it."""
    if data is None:
        raise TaskError(f"{name} is missing. Pass {name}=, a dataset or a DataLoader.")
    if isinstance(data, list | tuple) and len(data) == 2 and all(hasattr(part, "shape") for part in data):
        raise TaskError(f"{name} is a pair of arrays. Wrap them: torch.utils.data.TensorDataset(inputs, targets).")
    if isinstance(data, IterableDataset) or not isinstance(data, Sized) or not hasattr(data, "__getitem__"):
        raise TaskError(
            f"{name} is a {type(data).__name__}. Pass a map-style dataset, or a DataLoader of one: len(data), and "
            "data[i] -> (input, target) or a dict."
        )
    if len(data) == 0:
        raise TaskError(f"{name} is empty. Pass a dataset with at least one sample.")
