"""An objective whose parameters are shards of many ranks (FSDP2): every call is a collective.

The loss is the mean of the ranks' reference losses. There is no second derivative through the exchange of shards:
Hessian-vector products are finite differences of gradients. Vectors are whole on every rank, d numbers each.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, distributed

from thetadot.probes.reference import Objective

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


class ShardedObjective(Objective):
    """Loss, gradient and Hessian-vector products over DTensor parameters; p.grad is put back."""

    def value(self) -> float:
        """The ranks' mean loss."""
        with self.still(), torch.no_grad():
            loss = self.loss().detach().clone()
        for module in self.model.modules():
            reshard: Any = getattr(module, "reshard", None)
            if reshard is not None:
                reshard()  # the root keeps its whole parameters for a backward pass that does not come
        distributed.all_reduce(loss)
        return float(loss) / distributed.get_world_size()

    def gradient(self) -> Tensor:
        """∇L, flat and whole, (d,)."""
        kept = [p.grad for p in self.parameters]
        try:
            for p in self.parameters:
                p.grad = None
            with self.still(), torch.enable_grad():
                self.loss().backward()  # type: ignore[no-untyped-call]
            parts = [None if p.grad is None else _whole(p.grad) for p in self.parameters]
        finally:
            for p, gradient in zip(self.parameters, kept, strict=True):
                p.grad = gradient
        return self._flat(parts)

    @contextmanager
    def hessian(self) -> Iterator[Callable[[Tensor], Tensor]]:
        """The map v -> Hv by finite differences."""
        base = self.gradient()
        yield lambda v: self._difference(v, base)

    def position(self) -> Tensor:
        """θ, flat and whole, (d,), a copy."""
        return self._flat([_whole(p.detach()).clone() for p in self.parameters])

    @contextmanager
    def at(self, point: Sequence[Tensor]) -> Iterator[None]:
        """The parameters are ``point`` inside, one whole tensor each, and bit for bit as before afterwards."""
        start = [_local(p).clone() for p in self.parameters]
        try:
            for p, value in zip(self.parameters, point, strict=True):
                _local(p).copy_(_shard(value, p))
            yield
        finally:
            for p, value in zip(self.parameters, start, strict=True):
                _local(p).copy_(value)

    def _difference(self, v: Tensor, base: Tensor) -> Tensor:
        start = [_whole(p.detach()) for p in self.parameters]
        size = 1.0 + float(self._flat(start).norm())
        epsilon = float(torch.finfo(base.dtype).eps) ** 0.5 * size / max(float(v.norm()), 1e-30)
        with self.at([p.add(part, alpha=epsilon) for p, part in zip(start, self._split(v), strict=True)]):
            moved = self.gradient()
        return moved.sub(base).div(epsilon)


def _local(p: Any) -> Tensor:
    """Return this rank's shard, by reference."""
    part: Tensor = p.detach().to_local() if hasattr(p, "to_local") else p.detach()
    return part


def _whole(tensor: Any) -> Tensor:
    whole: Tensor = tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
    return whole


def _shard(part: Tensor, p: Any) -> Tensor:
    if not hasattr(p, "placements"):
        return part
    from torch.distributed.tensor import distribute_tensor  # noqa: PLC0415 - not on every platform

    sharded: Any = distribute_tensor(part.contiguous(), p.device_mesh, p.placements)
    local: Tensor = sharded.to_local()
    return local
