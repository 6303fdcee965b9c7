"""Potentials: functions of the position with one value a path.

    L: (..., dim) -> (...)

Any callable of that kind will do, a loss among them. Where it has a method ``gradient`` that is used; otherwise the
gradient is taken by autograd.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

import torch

from thetadot.core.signatures import checked
from thetadot.core.validation import require_functions

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor


@runtime_checkable
class Potential(Protocol):
    """A potential that knows its gradient."""

    def __call__(self, position: Tensor) -> Tensor:
        """L of positions (..., dim): (...)."""

    def gradient(self, position: Tensor) -> Tensor:
        """∇L, of the position's shape."""


@checked
def gradient_of(potential: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """∇L: the potential's own, or by autograd, path by path.

    Example:
        >>> gradient_of(lambda x: (x * x).sum(-1))(torch.tensor([[1.0, 2.0]]))
        tensor([[2., 4.]])
    """
    require_functions(potential=potential)
    if isinstance(potential, Potential):
        return potential.gradient
    return torch.func.grad(lambda position: potential(position).sum())
