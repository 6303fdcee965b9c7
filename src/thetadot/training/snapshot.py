"""The state of a run (:mod:`thetadot.state`), copied: model, loss, optimizer, random generators."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch

from thetadot.state import generators, pack, restore_generators, unpack

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn

    from thetadot.optim import Flow


def clone(value: Any) -> Any:
    """Nested containers with every tensor copied."""
    if isinstance(value, torch.Tensor):
        return value.detach().clone()
    if isinstance(value, dict):
        copied = copy.copy(value)  # a state dict carries its modules' versions in an attribute
        copied.update((name, clone(part)) for name, part in value.items())
        return copied
    if isinstance(value, list | tuple):
        return type(value)(clone(part) for part in value)
    return copy.copy(value)


@dataclass(frozen=True)
class Snapshot:
    """Copies; restoring leaves the snapshot usable again.

    Attributes:
        model: its state dict.
        optimizer: its state dict.
        generators: the global ones.
        rest: what model and loss hold beside that state dict: parameters and buffers of the loss, buffers that are not
            persistent, generators, numbers and tensors in attributes.
    """

    model: dict[str, Any]
    optimizer: dict[str, Any] | None
    generators: dict[str, Any]
    rest: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def take(cls, model: nn.Module, optimizer: Flow | None = None, *, loss: Any = None) -> Snapshot:
        """Copy the present state."""
        rest = pack({"model": model, "loss": loss}, without=_in_state_dict(model))
        state = clone(model.state_dict())
        return cls(state, None if optimizer is None else clone(optimizer.state_dict()), generators(), rest)

    def restore(self, model: nn.Module, optimizer: Flow | None = None, *, loss: Any = None) -> None:
        """Restore model, optimizer, loss and generators."""
        self.put(model, loss=loss)
        if optimizer is not None and self.optimizer is not None:
            optimizer.load_state_dict(clone(self.optimizer))
        restore_generators(self.generators)

    def put(self, model: nn.Module, *, loss: Any = None) -> None:
        """Model and loss alone."""
        model.load_state_dict(self.model)
        unpack(self.rest, {"model": model, "loss": loss}, without=_in_state_dict(model))

    def after(self, change: Callable[[], None], model: nn.Module, *, loss: Any = None) -> Snapshot:
        """The state that ``change`` makes of this one; the model is in it afterwards."""
        self.put(model, loss=loss)
        change()
        made = Snapshot.take(model, loss=loss)
        return replace(self, model=made.model, rest=made.rest)

    @property
    def devices(self) -> list[int]:
        """CUDA devices of the model."""
        return sorted({v.device.index or 0 for v in self.model.values() if isinstance(v, torch.Tensor) and v.is_cuda})

    def pack(self) -> dict[str, Any]:
        """Return plain containers for a checkpoint."""
        return {name: getattr(self, name) for name in ("model", "optimizer", "generators", "rest")}

    @classmethod
    def unpack(cls, packed: dict[str, Any]) -> Snapshot:
        """Rebuild a snapshot from the output of :meth:`pack`."""
        return cls(packed["model"], packed["optimizer"], packed["generators"], packed["rest"])


def _in_state_dict(model: nn.Module) -> set[int]:
    """Identities of the tensors that the model's state dict holds."""
    return {id(value) for value in model.state_dict(keep_vars=True).values()}
