"""The fixed reference batch as an objective of the model's parameters, whole and in equal parts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from thetadot.errors import InadmissibleValue
from thetadot.probes import Objective
from thetadot.probes.sharded import ShardedObjective

if TYPE_CHECKING:
    from thetadot.watching.layers import Layout

PARTS = 8


class Reference:
    """Loss on the user's reference batch.

    Args:
        model: compiled or data-parallel wrappers are looked through: neither has second derivatives.
        loss_fn: ``loss_fn(output, target)``; None where the model's output carries ``.loss``.
        data: (x, target), a dict of keyword arguments, or a function of the model that returns the loss.
        layout: the watched parameters.

    Raises:
        InadmissibleValue: none of these, or the loss cannot be computed from it.
    """

    def __init__(self, model: nn.Module, loss_fn: Any, data: Any, layout: Layout) -> None:
        self.model = inner(model)
        self.loss_fn = loss_fn
        self.data = data
        self.layout = layout
        self.samples = _samples(data)
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
        if callable(self.data) or size < least:
            return [], 0
        return [self._objective(_cut(self.data, k * size, (k + 1) * size, self.samples)) for k in range(PARTS)], size

    def _objective(self, data: Any) -> Objective:
        kind = ShardedObjective if self.layout.sharded else Objective
        return kind(self.model, lambda: self._loss(data), self.layout.parameters)

    def _loss(self, data: Any) -> Tensor:
        if callable(data):
            value = data(self.model)
        elif isinstance(data, dict):
            output = self.model(**data)
            value = self.loss_fn(output, data) if self.loss_fn is not None else _carried(output)
        else:
            *inputs, target = data
            if len(inputs) == 1 and isinstance(inputs[0], dict):
                output = self.model(**inputs[0])
            else:
                output = self.model(*inputs)
            value = self.loss_fn(output, target)
        if not isinstance(value, Tensor) or value.numel() != 1:
            came = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"type {type(value).__name__}"
            raise InadmissibleValue(
                f"the loss on the reference has {came}, not one number. Return a mean over the batch."
            )
        return value.reshape(())


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
    if callable(data):
        return f"the function {getattr(data, '__name__', 'reference')}"
    samples = _samples(data)
    return f"the {samples} samples given as reference" if samples else "the batch given as reference"


def _carried(output: Any) -> Any:
    value: Any = output.get("loss") if isinstance(output, dict) else getattr(output, "loss", None)
    return value


def _tensors(data: Any) -> list[Tensor]:
    if isinstance(data, Tensor):
        return [data]
    if isinstance(data, dict):
        data = list(data.values())
    if isinstance(data, tuple | list):
        return [tensor for part in data for tensor in _tensors(part)]
    return []


def _samples(data: Any) -> int:
    return next((tensor.shape[0] for tensor in _tensors(data) if tensor.dim()), 0)


def _cut(data: Any, low: int, high: int, samples: int) -> Any:
    """The same structure with every tensor of ``samples`` rows cut to ``low:high``."""
    if isinstance(data, Tensor):
        return data[low:high] if data.dim() and data.shape[0] == samples else data
    if isinstance(data, dict):
        return {name: _cut(part, low, high, samples) for name, part in data.items()}
    if isinstance(data, tuple | list):
        return type(data)(_cut(part, low, high, samples) for part in data)
    return data
