"""Aliases that signatures share."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

Scalar = float | Tensor
"""A Python number or a tensor of shape ()."""

State = dict[str, Tensor | float]
"""What moves: ``position`` and a system's further variables. Tensors share one shape; floats are clocks and weights."""

Force = Callable[[Tensor], Tensor]
"""Gradient of the loss at a position, both of shape (*)."""

Draw = Callable[[], Tensor]
"""One independent standard normal tensor of the position's shape a call."""
