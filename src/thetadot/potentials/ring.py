r"""A ring of low loss, warped and tilted: a valley along which a large step drifts.

    L(θ) = (|θ|²-1)²/4 + c xy + a x

At c = a = 0 every point of the circle |θ| = 1 is a minimum. (The example on which the order of the modified loss is
measured has c = 0.3, a = 0.1.)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from thetadot.core.signatures import checked
from thetadot.core.validation import require_numbers
from thetadot.errors import InadmissibleValue, require

if TYPE_CHECKING:
    from torch import Tensor


@checked
@dataclass(frozen=True)
class Ring:
    """(|θ|²-1)²/4 + c·xy + a·x in the plane.

    Args:
        coupling: c, finite.
        tilt: a, finite, in units of the loss.

    Raises:
        InadmissibleValue: a number that is not finite, or a position that does not lie in the plane.

    Example:
        >>> import torch
        >>> ring = Ring()
        >>> ring(torch.tensor([0.6, 0.8])), ring.gradient(torch.tensor([2.0, 0.0]))
        (tensor(0.), tensor([6., 0.]))
    """

    coupling: float = 0.0
    tilt: float = 0.0

    def __post_init__(self) -> None:
        for name in ("coupling", "tilt"):
            value = getattr(self, name)
            require_numbers(**{name: value})
            require(math.isfinite(value), f"{name}={value:g}", "is not finite", "Pass a finite number.")

    def __call__(self, position: Tensor) -> Tensor:
        """L of (..., 2)."""
        x, y = coordinates(position)
        return 0.25 * (x * x + y * y - 1.0) ** 2 + self.coupling * x * y + self.tilt * x

    def gradient(self, position: Tensor) -> Tensor:
        """(|θ|²-1)θ + (cy + a, cx)."""
        x, y = coordinates(position)
        excess = x * x + y * y - 1.0
        return torch.stack((excess * x + self.coupling * y + self.tilt, excess * y + self.coupling * x), -1)


@checked
def coordinates(position: Tensor) -> tuple[Tensor, Tensor]:
    """Return both coordinates of positions (..., 2); refuse positions outside a plane."""
    if position.shape[-1:] != (2,):
        raise InadmissibleValue(f"position of shape {tuple(position.shape)} does not lie in the plane. Pass (..., 2).")
    return position[..., 0], position[..., 1]  # by index: what a kernel can be made of
