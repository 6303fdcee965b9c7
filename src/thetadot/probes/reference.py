"""The loss on a fixed reference batch as a function of the parameters alone, without moving anything.

A probe sees the model in its present mode (in training: dropout, batch statistics), with one fixed dropout mask;
all that it holds (:mod:`thetadot.state`), generators, gradients and mode are put back bit for bit.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from thetadot.core.signatures import checked
from thetadot.errors import require
from thetadot.state import Kept, keyed

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator, Sequence

    from torch import Tensor

_MASK_SEED = 5655


class State(Protocol):
    """State that can be restored."""

    def restore(self) -> None:
        """Restore the state that was taken."""


class Passing:
    """Buffers and modes of a model as they are now: all that most passes write, for a tenth of a whole state."""

    def __init__(self, model: nn.Module) -> None:
        self.buffers = [
            (module, name, buffer, buffer.detach().clone())
            for module in model.modules()
            for name, buffer in module.named_buffers(recurse=False)
        ]
        self.modes = [(module, module.training) for module in model.modules()]

    def restore(self) -> None:
        """Restore buffers and modes."""
        for module, name, buffer, value in self.buffers:
            if getattr(module, name) is not buffer:
                setattr(module, name, buffer)
            buffer.data.copy_(value)  # .data: a graph that is waiting for its backward pass stays valid
        for module, training in self.modes:
            module.training = training


def whole_state(model: nn.Module, written: Container[str] = (), **others: Any) -> Kept:
    """Return the state of everything that a pass through the model and the others may write.

    Parameters are copied where a layer is known to write them, or where ``written`` names them.
    """
    return Kept({"model": model, **others}, {*renormalised(model), *written})  # type: ignore[misc]


def renormalised(model: nn.Module) -> list[str]:
    """Parameters whose rows torch renormalises in the forward pass.

    Example:
        >>> renormalised(nn.Sequential(nn.Embedding(3, 2, max_norm=1.0), nn.Linear(2, 1)))
        ['model.0.weight']
    """
    return [
        f"model.{name}.weight" if name else "model.weight"
        for name, module in model.named_modules()
        if isinstance(module, nn.Embedding | nn.EmbeddingBag) and module.max_norm is not None
    ]


@contextmanager
def undisturbed(model: nn.Module, seed: int = _MASK_SEED, state: State | None = None) -> Iterator[None]:
    """Run the body under its own random numbers; what the model holds and generators are as before afterwards.

    Attention runs on its plain kernel, the only one with a second derivative; autocast around it is off.

    Args:
        model: whose state is kept.
        seed: of the random numbers inside.
        state: what is put back; the model's present one where it is None.
    """
    state = whole_state(model) if state is None else state
    devices = sorted({p.device.index or 0 for p in model.parameters() if p.device.type == "cuda"})
    kind = next((p.device.type for p in model.parameters()), "cpu")
    try:
        with keyed(seed, devices), sdpa_kernel(SDPBackend.MATH), torch.autocast(kind, enabled=False):
            yield
    finally:
        state.restore()


@checked
class Objective:
    """Loss, gradient and Hessian-vector products at the model's present parameters.

    Args:
        model: restored after every call.
        loss: no arguments; computes the reference loss with the model in its present state.
        parameters: those to differentiate by; all of the model's trainable ones where it is None.
        state: what has to be put back after a call; all that the model holds where it is None.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: Callable[[], Tensor],
        parameters: Sequence[Tensor] | None = None,
        state: Callable[[], State] | None = None,
    ) -> None:
        self.model = model
        self.state = (lambda: whole_state(model)) if state is None else state
        self.loss = loss
        own = (p for p in model.parameters() if p.requires_grad) if parameters is None else parameters
        self.parameters: list[Tensor] = list(own)

    @contextmanager
    def still(self, state: State | None = None) -> Iterator[None]:
        """Open the context in which the loss is called and the state restored."""
        with undisturbed(self.model, state=self.state() if state is None else state):
            yield

    def value(self) -> float:
        """Return the loss of the reference batch."""
        with self.still(), torch.no_grad():
            return float(self.loss())

    def gradient(self) -> Tensor:
        """∇L, flat, shape (d,)."""
        with self.still(), torch.enable_grad():
            return self._flat(torch.autograd.grad(self.loss(), self.parameters, allow_unused=True)).detach()

    def position(self) -> Tensor:
        """θ, flat, shape (d,), a copy."""
        return self._flat([p.detach().clone() for p in self.parameters])

    @contextmanager
    def at(self, point: Sequence[Tensor]) -> Iterator[None]:
        """The parameters are ``point`` inside, one tensor each, and bit for bit as before afterwards."""
        start = [p.detach().clone() for p in self.parameters]
        try:
            for p, value in zip(self.parameters, point, strict=True):
                p.data.copy_(value)
            yield
        finally:
            for p, value in zip(self.parameters, start, strict=True):
                p.data.copy_(value)

    def parts(self, point: Tensor | Sequence[Tensor]) -> list[Tensor]:
        """A flat vector (d,), or a list that is one already, as one tensor a parameter.

        Raises:
            InadmissibleValue: it does not fit the parameters.
        """
        shapes = [tuple(p.shape) for p in self.parameters]
        if isinstance(point, torch.Tensor):
            d = sum(p.numel() for p in self.parameters)
            came = f"a vector of shape {tuple(point.shape)}"
            require(point.shape == (d,), came, f"does not fit {d} parameters", f"Pass shape ({d},).")
            return self._split(point)
        found = [tuple(part.shape) for part in point]
        require(found == shapes, f"tensors of shapes {found}", f"do not fit parameters of {shapes}", "Pass one each.")
        return list(point)

    @contextmanager
    def hessian(self) -> Iterator[Callable[[Tensor], Tensor]]:
        """The map v -> Hv, (d,) -> (d,); by finite differences of gradients where a layer has no second derivative."""
        state = self.state()
        with self.still(state), torch.enable_grad():
            loss = self.loss()
            slopes = torch.autograd.grad(loss, self.parameters, create_graph=True, allow_unused=True)
            gradient = self._flat(slopes)
        smooth = gradient.requires_grad and not _opaque(loss)

        def product(v: Tensor) -> Tensor:
            nonlocal smooth
            if smooth:
                try:
                    return self._second(gradient, v, state)
                except RuntimeError:
                    smooth = False
            return self._difference(v, gradient.detach())

        yield product

    def _second(self, gradient: Tensor, v: Tensor, state: State) -> Tensor:
        with self.still(state), torch.enable_grad():  # a checkpointed layer runs forward again in here
            return self._flat(
                torch.autograd.grad(gradient, self.parameters, v, retain_graph=True, allow_unused=True)
            ).detach()

    def _difference(self, v: Tensor, base: Tensor) -> Tensor:
        """(∇L(θ + εv) - ∇L(θ))/ε with ε = √eps·(1 + |θ|)/|v|."""
        start = [p.detach().clone() for p in self.parameters]
        size = 1.0 + float(self._flat(start).norm())
        epsilon = float(torch.finfo(base.dtype).eps) ** 0.5 * size / max(float(v.norm()), 1e-30)
        with self.at([p.add(part, alpha=epsilon) for p, part in zip(start, self._split(v), strict=True)]):
            moved = self.gradient()
        return moved.sub(base).div(epsilon)

    def _flat(self, tensors: Sequence[Tensor | None]) -> Tensor:
        parts: list[Tensor] = []
        for p, g in zip(self.parameters, tensors, strict=True):
            if g is None:
                parts.append(torch.zeros(p.numel(), dtype=p.dtype, device=p.device))
            else:
                parts.append((g.to_dense() if g.is_sparse else g).reshape(-1))
        return torch.cat(parts)

    def _split(self, flat: Tensor) -> list[Tensor]:
        parts = torch.split(flat, [p.numel() for p in self.parameters])
        return [part.view_as(p) for part, p in zip(parts, self.parameters, strict=True)]


def _opaque(loss: Tensor) -> bool:
    """Whether a layer brings its own backward pass.

    If that has no derivative, autograd leaves its part out of a Hessian-vector product and says nothing.
    """
    seen: set[Any] = set()
    waiting: list[Any] = [loss.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        if isinstance(node, torch.autograd.function.BackwardCFunction):
            return True
        seen.add(node)
        waiting.extend(following for following, _ in node.next_functions)
    return False
