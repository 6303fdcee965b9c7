r"""Gradient noise for nothing: passes of an accumulated step, or ranks of a data-parallel one, are micro-batches.

    rows k·gᵣᵢ (pass i of k on rank r),   their mean G = Σᵢ mean_r gᵣᵢ

A step may see another multiple of the gradient than the passes made (a loss scaler, clipping): c = |G'|²/⟨G, G'⟩ is
that multiple, so that both are read in the step's own units. Squares are summed as the passes make them; no host waits.
Some elements of every pass's gradient are kept apart: by them it is asked whether passes are draws of one law.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, distributed, nn

from thetadot.monitor.layers import local_real

if TYPE_CHECKING:
    from thetadot.monitor.layers import Layout

ELEMENTS = 1024
"""Elements of a pass's gradient that are kept, of all parameters together."""


class MicroBatches:
    """Hooks for one step, set by :meth:`arm` and taken away by :meth:`after`."""

    def __init__(self, model: nn.Module, layout: Layout, ranks: int) -> None:
        self.model = model
        self.layout = layout
        self.ranks = ranks
        self.handles: list[Any] = []
        self.factor: Tensor | None = None  # c² of the last step, and |G'|²
        self.square: Tensor | None = None
        self.place = {}
        if layout.sharded:
            names = {id(p): i for i, p in enumerate(layout.parameters)}
            # while a module runs, its whole parameters stand in the places of the shards
            self.place = {
                (module, name): names[id(p)]
                for module in model.modules()
                for name, p in module.named_parameters(recurse=False)
                if id(p) in names
            }

    def arm(self) -> None:
        """Watch the passes until the next step."""
        count = len(self.layout.parameters)
        self.squares: list[Tensor | None] = [None] * count
        self.calls = [0] * count
        self.totals: list[Tensor | None] = [None] * count
        self.whole: set[int] = set()
        self.pending: dict[int, Tensor] = {}
        self.some: list[list[Tensor]] = [[] for _ in range(count)]
        if not self.layout.sharded:
            parameters: list[Any] = list(self.layout.parameters)
            for i, p in enumerate(parameters):
                self._listen(i, p)
            return
        for module in {module for module, _ in self.place}:
            self.handles.append(module.register_forward_pre_hook(self._entered))
        shards: list[Any] = list(self.layout.parameters)
        for i, p in enumerate(shards):
            self.handles.append(p.register_post_accumulate_grad_hook(partial(self._reduced, i)))

    def disarm(self) -> None:
        """Take the hooks away."""
        for handle in self.handles:
            handle.remove()
        self.handles = []

    def after(self) -> tuple[int, Tensor] | None:
        """(k·ranks, row): Σ|k·gᵣᵢ|² in the step's units by parameter, then |G'|²; None where there is one pass only."""
        self.disarm()
        passes = max(self.calls, default=0)
        self.factor = self.square = None
        if not passes:
            return None
        like = next(s for s in self.squares if s is not None)
        squares = torch.stack([torch.zeros_like(like) if s is None else s for s in self.squares])
        gradients = [None if p.grad is None else local_real(p.grad) for p in self.layout.parameters]
        square = _sum_like([_length_squared(g) for g in gradients if g is not None], like)
        overlap = _sum_like(
            [
                _length_squared(t) if self.layout.sharded else torch.dot(t.reshape(-1), g.to(t.dtype).reshape(-1))
                for t, g in zip(self.totals, gradients, strict=True)
                if t is not None and g is not None
            ],
            like,
        )
        sums = torch.cat([squares, overlap[None], square[None]])
        if self.ranks > 1:
            distributed.all_reduce(sums)
        squares, overlap, square = sums[:-2], sums[-2], sums[-1]
        if self.layout.sharded:  # shards of G and of G': their squared lengths
            factor = square / overlap
        else:
            square = square / self.ranks
            factor = (square * self.ranks / overlap) ** 2
        self.factor, self.square = factor, square
        if passes * self.ranks < 2:
            return None
        return passes * self.ranks, torch.cat([squares * factor * passes**2, square[None]])

    def rows(self) -> Tensor | None:
        """Elements of every pass's gradient on every rank, (k·ranks, s); ask after :meth:`after`."""
        passes = max(self.calls, default=0)
        if passes * self.ranks < 2:
            return None
        widths = [max((len(part) for part in own), default=0) for own in self.some]
        like = next(part for own in self.some for part in own)
        pairs = list(zip(self.some, widths, strict=True))
        mine = torch.stack([
            torch.cat([own[i] if i < len(own) else like.new_zeros(width) for own, width in pairs])
            for i in range(passes)
        ])  # fmt: skip
        if self.ranks == 1:
            return mine
        every = [torch.empty_like(mine) for _ in range(self.ranks)]
        distributed.all_gather(every, mine)
        return torch.cat(every)

    def _stride(self, numel: int) -> int:
        return max(1, numel * len(self.layout.parameters) // ELEMENTS)

    def _listen(self, index: int, p: Any) -> None:
        self.handles.append(p.register_hook(partial(self._seen, index)))
        self.handles.append(p.register_post_accumulate_grad_hook(partial(self._kept, index)))

    def _seen(self, index: int, gradient: Tensor) -> None:
        self.pending[index] = gradient

    def _kept(self, index: int, _p: Tensor) -> None:
        """Only what is added to p.grad is a pass: torch.autograd.grad is none."""
        gradient = self.pending.pop(index, None)
        if gradient is None:
            return
        g = local_real(gradient)
        square = _length_squared(g)
        before = self.squares[index]
        self.squares[index] = square if before is None else before + square
        self.calls[index] += 1
        if not g.is_complex():
            flat = g.reshape(-1)
            self.some[index].append(flat[:: self._stride(flat.numel())].float())
        if not self.layout.sharded:
            total = self.totals[index]
            wide = g.float() if g.dtype in (torch.bfloat16, torch.float16) else g
            self.totals[index] = wide.clone() if total is None else total + wide

    def _entered(self, module: nn.Module, _args: object) -> None:
        whole: list[tuple[str, Any]] = list(module.named_parameters(recurse=False))
        for name, p in whole:
            index = self.place.get((module, name))
            if index is not None and index not in self.whole and torch.is_grad_enabled() and p.requires_grad:
                self.whole.add(index)
                self._listen(index, p)

    def _reduced(self, index: int, p: Tensor) -> None:
        if p.grad is not None:
            self.totals[index] = local_real(p.grad).clone()


def _length_squared(tensor: Tensor) -> Tensor:
    wide = torch.view_as_real(tensor) if tensor.is_complex() else tensor
    length: Tensor = torch.linalg.vector_norm(wide, dtype=torch.promote_types(wide.dtype, torch.float32))
    return length.square()


def _sum_like(values: list[Tensor], like: Tensor) -> Tensor:
    return torch.stack([v.to(like.dtype) for v in values]).sum() if values else torch.zeros_like(like)
