r"""Two minima of which only one is good, in every coordinate alike.

    L(x) = Σ_i x_i (x_i-1)(x_i-3)² + b                                                            [su2018c]
    L'(x) = 4x³ - 21x² + 30x - 9 = (x-3)(4x²-9x+3)

Minima at (9-√33)/8 = 0.40693, where L is 5.5e-7, and at 3, where L is b; the barrier between them at (9+√33)/8 =
1.84307. Gradient descent from 4 ends at 3; a flow whose speed does not vanish with the gradient may go further.

Source:
    [su2018c] Su Jianlin, https://kexue.fm/archives/6261 (2018).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from thetadot.core.signatures import checked
from thetadot.core.validation import require_numbers
from thetadot.errors import require

if TYPE_CHECKING:
    from torch import Tensor


@checked
@dataclass(frozen=True)
class UnevenWells:
    """Potential of two uneven wells, Σ x(x-1)(x-3)² + b.

    Args:
        offset: b, in units of the loss; the default makes the lower minimum zero to 5.5e-7.

    Raises:
        InadmissibleValue: an offset that is not finite.

    Example:
        >>> import torch
        >>> wells = UnevenWells()
        >>> wells(torch.tensor([3.0])), wells.gradient(torch.tensor([1.0])), wells.minima
        (tensor(1.6228), tensor([4.]), (0.4069296691827464, 3.0))
    """

    offset: float = 1.62276

    def __post_init__(self) -> None:
        require_numbers(offset=self.offset)
        require(math.isfinite(self.offset), f"offset={self.offset:g}", "is not finite", "Pass a finite number.")

    def __call__(self, position: Tensor) -> Tensor:
        """Return the potential L."""
        return (position * (position - 1.0) * (position - 3.0) ** 2 + self.offset).sum(-1)

    def gradient(self, position: Tensor) -> Tensor:
        """Return the gradient (x-3)(4x²-9x+3)."""
        return (position - 3.0) * ((4.0 * position - 9.0) * position + 3.0)

    @property
    def minima(self) -> tuple[float, float]:
        """The lower and the higher, in one coordinate."""
        return (9.0 - math.sqrt(33.0)) / 8.0, 3.0

    @property
    def saddle(self) -> float:
        """Position of the saddle between the wells."""
        return (9.0 + math.sqrt(33.0)) / 8.0
