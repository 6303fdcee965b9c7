"""An optimizer under test: how it is built, given gradients and run."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from thetadot.core.signatures import checked
from thetadot.testing.traits import Traits

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor
    from torch.optim import Optimizer

SHAPES = ((3, 2), (4,), ())


@checked
@dataclass(frozen=True)
class Subject:
    """A factory, its traits, and the operations that laws perform.

    Attributes:
        build: ``build(params, **overrides)``; it takes ``lr`` and what its traits promise.
        traits: what it declares.
    """

    build: Callable[..., Optimizer]
    traits: Traits = field(default_factory=Traits)

    def optimizer(self, params: Any, **overrides: Any) -> Any:
        """The optimizer at the traits' lr unless overridden, under a fixed global seed, which stays as it was."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(7)
            return self.build(params, **({"lr": self.traits.lr} | overrides))

    @staticmethod
    def tensors(dtype: torch.dtype = torch.float64, shapes: Sequence[tuple[int, ...]] = SHAPES) -> list[Tensor]:
        """Parameters, the same at every call."""
        generator = torch.Generator().manual_seed(3)
        return [
            torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype).requires_grad_() for shape in shapes
        ]

    @staticmethod
    def loss(params: Sequence[Tensor]) -> Tensor:
        """Return the loss L = Σ|p-1|²/2 + Σ|p|⁴/4."""
        terms = [((p - 1).abs().square() / 2 + p.abs().square().square() / 4).sum() for p in params]
        return torch.stack([term.double() for term in terms]).sum()

    def closure_of(self, optimizer: Optimizer, params: Sequence[Tensor]) -> Callable[[], Tensor]:
        """The closure that backpropagates :meth:`loss`."""

        def closure() -> Tensor:
            optimizer.zero_grad()
            loss = self.loss(params)
            loss.backward()  # type: ignore[no-untyped-call]
            return loss

        return closure

    def run(self, optimizer: Any, params: Sequence[Tensor], steps: int = 5) -> Any:
        """Descend :meth:`loss`; returns what the last step returned."""
        returned, closure = None, self.closure_of(optimizer, params)
        for _ in range(steps):
            returned = optimizer.step(closure)
        return returned

    def push(self, optimizer: Any, params: Sequence[Tensor], gradients: Sequence[Tensor | None]) -> None:
        """Step once with the given gradients, the very tensors, whatever the parameters."""

        def closure() -> Tensor:
            for p, gradient in zip(params, gradients, strict=True):
                p.grad = gradient
            return torch.tensor(1.0)

        if self.traits.closure:
            optimizer.step(closure)
        else:
            closure()
            optimizer.step()


def duplicates(params: Sequence[Tensor]) -> list[Tensor]:
    """Parameters of the same values, strides and dtypes."""
    return [p.detach().clone(memory_format=torch.preserve_format).requires_grad_() for p in params]


def saved(optimizer: Optimizer) -> Any:
    """The state dict through a file, loaded with ``weights_only=True``."""
    buffer = io.BytesIO()
    torch.save(optimizer.state_dict(), buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)
