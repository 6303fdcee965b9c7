r"""The double well, in every coordinate alike.

    L(x) = b Σ_i ((x_i/a)² - 1)²

Minima at ±a with L = 0 and curvature 8b/a², a saddle at 0 with L = b and curvature -4b/a².
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from thetadot.core.signatures import checked
from thetadot.core.validation import require_numbers
from thetadot.errors import require

if TYPE_CHECKING:
    from torch import Tensor


@checked
@dataclass(frozen=True)
class DoubleWell:
    """Double well b Σ ((x_i/a)² - 1)².

    Args:
        barrier: b > 0, height of the saddle above the minima, in units of the loss.
        half_width: a > 0, distance of a minimum from the saddle.

    Raises:
        InadmissibleValue: a number out of range.

    Example:
        >>> import torch
        >>> well = DoubleWell()  # (x² - 1)²/4
        >>> well(torch.tensor([0.0])), well.gradient(torch.tensor([2.0]))
        (tensor(0.2500), tensor([6.]))
    """

    barrier: float = 0.25
    half_width: float = 1.0

    def __post_init__(self) -> None:
        for name in ("barrier", "half_width"):
            value = getattr(self, name)
            require_numbers(**{name: value})
            require(0 < value < float("inf"), f"{name}={value:g}", "is not positive and finite", f"Pass {name} > 0.")

    def __call__(self, position: Tensor) -> Tensor:
        """Return the potential L."""
        return (self.barrier * ((position / self.half_width) ** 2 - 1.0) ** 2).sum(-1)

    def gradient(self, position: Tensor) -> Tensor:
        """Return the gradient (4b/a²) x ((x/a)² - 1)."""
        slope = 4.0 * self.barrier / self.half_width**2
        return (slope / self.half_width**2 * position * position - slope) * position
