"""Everything that a run's next step depends on, copied: model, optimizer, random generators."""

from __future__ import annotations

import copy
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
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


def generators() -> dict[str, Any]:
    """States of torch's, numpy's and Python's generators, as tensors and numbers that weights_only loading takes."""
    name, keys, position, has_gauss, cached = np.random.get_state()  # noqa: NPY002 - the global one is what users draw from
    words = np.asarray(keys, dtype=np.int64)
    version, internal, gauss = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": [name, torch.from_numpy(words), int(position), int(has_gauss), float(cached)],
        "python": [version, list(internal), gauss],
    }


def restore_generators(states: dict[str, Any]) -> None:
    """Put generators where :func:`generators` found them."""
    torch.set_rng_state(states["torch"].cpu())
    if states["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all([state.cpu() for state in states["cuda"]])
    name, keys, position, has_gauss, cached = states["numpy"]
    np.random.set_state((name, keys.cpu().numpy().astype(np.uint32), position, has_gauss, cached))  # noqa: NPY002
    version, internal, gauss = states["python"]
    random.setstate((version, tuple(internal), gauss))


@dataclass(frozen=True)
class Snapshot:
    """Copies; restoring leaves the snapshot usable again.

    Attributes:
        buffers: those that a module keeps out of its state dict.
    """

    model: dict[str, Any]
    optimizer: dict[str, Any] | None
    generators: dict[str, Any]
    buffers: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def take(cls, model: nn.Module, optimizer: Flow | None = None) -> Snapshot:
        """Copy the present state."""
        state = clone(model.state_dict())
        buffers = {name: clone(buffer) for name, buffer in model.named_buffers() if name not in state}
        return cls(state, None if optimizer is None else clone(optimizer.state_dict()), generators(), buffers)

    def restore(self, model: nn.Module, optimizer: Flow | None = None) -> None:
        """Put it back."""
        model.load_state_dict(self.model)
        with torch.no_grad():
            for name, buffer in model.named_buffers():
                if name in self.buffers:
                    buffer.copy_(self.buffers[name])
        if optimizer is not None and self.optimizer is not None:
            optimizer.load_state_dict(clone(self.optimizer))
        restore_generators(self.generators)

    @property
    def devices(self) -> list[int]:
        """CUDA devices of the model."""
        return sorted({v.device.index or 0 for v in self.model.values() if isinstance(v, torch.Tensor) and v.is_cuda})

    def pack(self) -> dict[str, Any]:
        """As plain containers, for a checkpoint."""
        return {name: getattr(self, name) for name in ("model", "optimizer", "generators", "buffers")}

    @classmethod
    def unpack(cls, packed: dict[str, Any]) -> Snapshot:
        """From :meth:`pack`."""
        return cls(packed["model"], packed["optimizer"], packed["generators"], packed["buffers"])
