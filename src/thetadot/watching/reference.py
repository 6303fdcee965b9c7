"""The fixed reference batch as an objective of the model's parameters, whole and in equal parts."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from thetadot.errors import InadmissibleValue
from thetadot.probes import Objective
from thetadot.probes.sharded import ShardedObjective

if TYPE_CHECKING:
    from collections.abc import Callable

    from thetadot.watching.layers import Layout

PARTS = 8


@dataclass(frozen=True)
class Batch:
    """A reference batch of any structure, and ``loss(model, data)``, a mean over its samples.

    ``data`` may nest tuples, lists and dicts; tensors with as many rows as its first tensor are cut along them.

    Example:
        >>> Batch((torch.zeros(16, 2), torch.zeros(16)), lambda model, data: model(data[0]).mean()).cut(0, 4).samples
        4
    """

    data: Any
    loss: Callable[[Any, Any], Tensor]

    @property
    def samples(self) -> int:
        """Rows of the first tensor."""
        return samples_in(self.data)

    def cut(self, low: int, high: int) -> Batch:
        """Some of its samples."""
        return Batch(_cut(self.data, low, high, self.samples), self.loss)

    def __call__(self, model: Any) -> Tensor:
        """The loss on all of it."""
        return self.loss(model, self.data)


class Reference:
    """Loss on the user's reference batch.

    Args:
        model: compiled or data-parallel wrappers are looked through: neither has second derivatives.
        loss_fn: ``loss_fn(output, target)``; None where the model's output carries ``.loss``.
        data: (x, target), a dict of keyword arguments, a :class:`Batch` or a function of the model that returns the
            loss.
        layout: the watched parameters.

    Raises:
        InadmissibleValue: none of these, or the loss cannot be computed from it.
    """

    def __init__(self, model: nn.Module, loss_fn: Any, data: Any, layout: Layout) -> None:
        self.model = inner(model)
        self.loss_fn = loss_fn
        self.data = data
        self.layout = layout
        self.samples = data.samples if isinstance(data, Batch) else samples_in(data)
        if not (callable(data) or isinstance(data, dict) or (isinstance(data, tuple | list) and len(data) >= 1)):
            raise InadmissibleValue(
                f"reference is of type {type(data).__name__}. Pass (inputs, target), a dict of keyword arguments "
                "of the model, or a function of the model that returns the loss."
            )
        if loss_fn is None and isinstance(data, tuple | list):
            raise InadmissibleValue("a reference (inputs, target) needs loss_fn. Pass loss_fn(output, target).")

    def whole(self) -> Objective:
        """On all of it."""
        return self._objective(self.data)

    def parts(self, least: int = 2) -> tuple[list[Objective], int]:
        """Equal parts and the samples of each; none where the batch is too small or has no first axis."""
        size = self.samples // PARTS
        if size < least:
            return [], 0
        ends = [(k * size, (k + 1) * size) for k in range(PARTS)]
        if isinstance(self.data, Batch):
            return [self._objective(self.data.cut(low, high)) for low, high in ends], size
        return [self._objective(_cut(self.data, low, high, self.samples)) for low, high in ends], size

    def _objective(self, data: Any) -> Objective:
        kind = ShardedObjective if self.layout.sharded else Objective
        return kind(self.model, lambda: self._loss(data), self.layout.parameters)

    def _loss(self, data: Any) -> Tensor:
        with _plainly():
            value = self._value(data)
        if not isinstance(value, Tensor) or value.numel() != 1:
            came = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"type {type(value).__name__}"
            raise InadmissibleValue(
                f"the loss on the reference has {came}, not one number. Return a mean over the batch."
            )
        return value.reshape(())

    def _value(self, data: Any) -> Any:
        if callable(data):
            return data(self.model)
        if isinstance(data, dict):
            output = self.model(**data)
            return self.loss_fn(output, data) if self.loss_fn is not None else carried(output)
        *inputs, target = data
        named = len(inputs) == 1 and isinstance(inputs[0], dict)
        output = self.model(**inputs[0]) if named else self.model(*inputs)
        return self.loss_fn(output, target)


def inner(model: Any) -> nn.Module:
    """The module inside torch.compile's and DistributedDataParallel's wrappers."""
    while True:
        if hasattr(model, "_orig_mod"):
            model = model._orig_mod  # noqa: SLF001 - torch.compile has no public name for it
        elif isinstance(model, nn.parallel.DistributedDataParallel | nn.DataParallel):
            model = model.module
        else:
            found: nn.Module = model
            return found


def fingerprint(data: Any) -> str:
    """What the reference is, in words."""
    samples = data.samples if isinstance(data, Batch) else samples_in(data)
    if samples:
        return f"the {samples} samples given as reference"
    return (
        f"the function {getattr(data, '__name__', 'reference')}" if callable(data) else "the batch given as reference"
    )


def carried(output: Any) -> Tensor | None:
    """The loss that a model's output carries: ``.loss``, its key "loss", or the only number in a tuple.

    Example:
        >>> carried((torch.zeros(4, 2), torch.tensor(0.5)))
        tensor(0.5000)
    """
    if isinstance(output, tuple | list) and not hasattr(output, "loss"):
        numbers = [part for part in output if isinstance(part, Tensor) and part.dim() == 0 and part.is_floating_point()]
        return numbers[0] if len(numbers) == 1 else None
    value: Any = output.get("loss") if isinstance(output, dict) else getattr(output, "loss", None)
    return value if isinstance(value, Tensor) and value.numel() == 1 else None


def samples_in(data: Any) -> int:
    """Rows of the first tensor in ``data`` that has any; 0 without one."""
    if isinstance(data, Tensor):
        return data.shape[0] if data.dim() else 0
    if isinstance(data, dict):
        data = data.values()
    elif not isinstance(data, tuple | list):
        return 0
    return next((count for count in map(samples_in, data) if count), 0)


def _plainly() -> Any:
    """Compiled layers run as they were written: what is compiled has no second derivative."""
    if "torch._dynamo" not in sys.modules:
        return contextlib.nullcontext()
    return torch.compiler.set_stance("force_eager")


def _cut(data: Any, low: int, high: int, samples: int) -> Any:
    """The same structure with every tensor of ``samples`` rows cut to ``low:high``."""
    if isinstance(data, Tensor):
        return data[low:high] if data.dim() and data.shape[0] == samples else data
    if isinstance(data, dict):
        return {name: _cut(part, low, high, samples) for name, part in data.items()}
    if isinstance(data, tuple | list):
        parts = [_cut(part, low, high, samples) for part in data]
        return type(data)(*parts) if hasattr(data, "_fields") else type(data)(parts)
    return data
