r"""Harmonic potential of any number of dimensions.

L(x) = ½ Σ_i h_i x_i²
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from thetadot.core.signatures import checked
from thetadot.core.validation import require_coordinates
from thetadot.errors import require

if TYPE_CHECKING:
    from torch import Tensor


@checked
@dataclass(frozen=True)
class Harmonic:
    """Harmonic potential ½ Σ h_i x_i².

    Args:
        curvature: h, a number for all coordinates, or one for each.

    Raises:
        InadmissibleValue: a curvature that is not finite.

    Example:
        >>> Harmonic((1.0, 4.0))(torch.tensor([1.0, 1.0]))
        tensor(2.5000)
    """

    curvature: float | tuple[float, ...] = 1.0

    def __post_init__(self) -> None:
        require_coordinates(curvature=self.curvature)
        values = torch.as_tensor(self.curvature)
        require(bool(values.isfinite().all()), f"curvature={self.curvature}", "is not finite", "Pass finite numbers.")

    def __call__(self, position: Tensor) -> Tensor:
        """Return the potential L."""
        return 0.5 * (self.gradient(position) * position).sum(-1)

    def gradient(self, position: Tensor) -> Tensor:
        """Return the gradient H x."""
        if isinstance(self.curvature, (float, int)):
            return self.curvature * position
        return position * position.new_tensor(self.curvature)
