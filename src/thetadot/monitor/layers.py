"""The watched parameters and their layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from thetadot.errors import InadmissibleValue

if TYPE_CHECKING:
    from collections.abc import Sequence


_WRAPPERS = ("_orig_mod.", "module.")


def local_real(tensor: Tensor) -> Tensor:
    """The part of a tensor that lies on this rank, real."""
    part: Any = tensor.detach()
    if hasattr(part, "to_local"):
        part = part.to_local()
    if part.layout != torch.strided:
        part = part.to_dense()
    return torch.view_as_real(part) if part.is_complex() else part


def _bare(name: str) -> str:
    """Without what torch.compile and DistributedDataParallel put before it.

    Example:
        >>> _bare("module._orig_mod.head.weight")
        'head.weight'
    """
    while name.startswith(_WRAPPERS):
        name = name.partition(".")[2]
    return name


def _owner(name: str) -> str:
    """The module that a parameter belongs to."""
    return _bare(name).rpartition(".")[0] or "model"


def trained(model: nn.Module, loss: object = None) -> dict[str, nn.Parameter]:
    """Parameters of a model that want gradients, and behind "loss." those of a loss that has its own."""
    named = dict(model.named_parameters())
    if isinstance(loss, nn.Module):
        known = {id(p) for p in named.values()}
        named |= {f"loss.{name}": p for name, p in loss.named_parameters() if id(p) not in known}
    return {name: p for name, p in named.items() if p.requires_grad}


def layers_of(model: nn.Module, loss: object = None) -> tuple[str, ...]:
    """Modules with parameters of their own, in the model's order.

    Example:
        >>> layers_of(nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1)))
        ('0', '2')
    """
    return tuple(dict.fromkeys(map(_owner, trained(model, loss))))


class Layout:
    """The optimizer's parameters in the model's order, by layer.

    A layer is a module with parameters of its own, named as the model names it; of a loss, behind "loss.".

    Raises:
        InadmissibleValue: no parameter of the model is in the optimizer.
    """

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer, loss: object = None) -> None:
        moved = {id(p): g for g, group in enumerate(optimizer.param_groups) for p in group["params"]}
        named = [(name, p) for name, p in trained(model, loss).items() if id(p) in moved]
        if not named:
            raise InadmissibleValue(
                "optimizer holds no parameter of model. Pass the model whose parameters it was built from."
            )
        self.parameters: list[Tensor] = [p for _, p in named]
        self.groups: list[int] = [moved[id(p)] for p in self.parameters]
        owners = [_owner(name) for name, _ in named]
        self.layers: tuple[str, ...] = tuple(dict.fromkeys(owners))
        place = {name: i for i, name in enumerate(self.layers)}
        self.layer_of: list[int] = [place[owner] for owner in owners]
        self.count = sum(p.numel() for p in self.parameters)
        sizes = [0] * len(optimizer.param_groups)
        for p, group in zip(self.parameters, self.groups, strict=True):
            sizes[group] += p.numel()
        self.sizes = sizes
        self.main = max(range(len(sizes)), key=sizes.__getitem__)
        """The group with most parameters, by whose settings the whole is read."""
        self.sharded = any(hasattr(p, "to_local") for p in self.parameters)

    def by_layer(self, values: Sequence[float]) -> list[float]:
        """Sums over the parameters of every layer."""
        sums = [0.0] * len(self.layers)
        for layer, value in zip(self.layer_of, values, strict=True):
            sums[layer] += value
        return sums
