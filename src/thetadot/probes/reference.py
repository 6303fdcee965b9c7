"""The loss on a fixed reference batch as a function of the parameters alone, without moving anything.

A probe sees the model as training does (train mode, dropout, batch statistics), with one fixed dropout mask; buffers, generators, gradients
and mode are put back bit for bit.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torch import Tensor, nn

_MASK_SEED = 5655


@contextmanager
def undisturbed(model: nn.Module, seed: int = _MASK_SEED) -> Iterator[None]:
    """Run the body under its own random numbers; buffers and generators are as before afterwards.

    Attention runs on its plain kernel, the only one with a second derivative.
    """
    buffers = [(buffer, buffer.detach().clone()) for buffer in model.buffers()]
    modes = [(module, module.training) for module in model.modules()]
    devices = sorted({p.device.index or 0 for p in model.parameters() if p.device.type == "cuda"})
    try:
        with torch.random.fork_rng(devices=devices), sdpa_kernel(SDPBackend.MATH):
            torch.manual_seed(seed)
            yield
    finally:
        with torch.no_grad():
            for buffer, value in buffers:
                buffer.copy_(value)
        for module, training in modes:
            module.training = training


class Objective:
    """Loss, gradient and Hessian-vector products at the model's present parameters.

    Args:
        model: restored after every call.
        loss: no arguments; computes the reference loss with the model in its present state.
    """

    def __init__(self, model: nn.Module, loss: Callable[[], Tensor]) -> None:
        self.model = model
        self.loss = loss
        self.parameters: list[Tensor] = [p for p in model.parameters() if p.requires_grad]

    def value(self) -> float:
        """The loss."""
        with undisturbed(self.model), torch.no_grad():
            return float(self.loss())

    def gradient(self) -> Tensor:
        """∇L, flat, shape (d,)."""
        with undisturbed(self.model), torch.enable_grad():
            return self._flat(torch.autograd.grad(self.loss(), self.parameters, allow_unused=True)).detach()

    @contextmanager
    def hessian(self) -> Iterator[Callable[[Tensor], Tensor]]:
        """v -> Hv, shape (d,) -> (d,); by finite differences of gradients where a layer has no second derivative."""
        with undisturbed(self.model), torch.enable_grad():
            gradient = self._flat(torch.autograd.grad(self.loss(), self.parameters, create_graph=True, allow_unused=True))

            def exact(v: Tensor) -> Tensor:
                if not gradient.requires_grad:  # a loss that is linear in the parameters
                    return torch.zeros_like(v)
                return self._flat(
                    torch.autograd.grad(gradient, self.parameters, v, retain_graph=True, allow_unused=True)
                ).detach()

            try:
                exact(torch.zeros_like(gradient))
            except RuntimeError:
                base = gradient.detach()
                yield lambda v: self._difference(v, base)
            else:
                yield exact

    def _difference(self, v: Tensor, base: Tensor) -> Tensor:
        """(∇L(θ + εv) - ∇L(θ))/ε with ε = √eps·(1 + |θ|)/|v|."""
        size = torch.sqrt(sum((p.detach() ** 2).sum() for p in self.parameters))  # type: ignore[arg-type]
        epsilon = float(torch.finfo(base.dtype).eps ** 0.5 * (1.0 + size) / v.norm().clamp_min(1e-30))
        start = [p.detach().clone() for p in self.parameters]
        with torch.no_grad():
            for p, part in zip(self.parameters, self._split(v), strict=True):
                p.add_(part, alpha=epsilon)
        try:
            return (self.gradient() - base) / epsilon
        finally:
            with torch.no_grad():
                for p, value in zip(self.parameters, start, strict=True):
                    p.copy_(value)

    def _flat(self, tensors: Sequence[Tensor | None]) -> Tensor:
        return torch.cat(
            [
                torch.zeros(p.numel(), dtype=p.dtype, device=p.device) if g is None else g.reshape(-1)
                for p, g in zip(self.parameters, tensors, strict=True)
            ]
        )

    def _split(self, flat: Tensor) -> list[Tensor]:
        parts = torch.split(flat, [p.numel() for p in self.parameters])
        return [part.view_as(p) for part, p in zip(parts, self.parameters, strict=True)]
