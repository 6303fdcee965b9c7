r"""Badly scaled columns of inputs: of another size than layers are made for.

    r_j = √⟨x_j²⟩,    badly scaled:  max r > 10,  max r < 1/30,  or  max sd > 30 · median sd

Layers begin as if inputs were of size 1. Curvature along a weight grows with the square of its input, so one large
column sets the largest lr for all. Columns that are seldom other than 0, as an image's edges, are small and do no harm.
Constant columns are left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

LARGE, SMALL = 10.0, 1 / 30
SPREAD = 30.0


def badly_scaled(inputs: Tensor) -> str | None:
    """Return what is wrong with the size of rows of numbers, in half a sentence; None where nothing is.

    Args:
        inputs: (samples, columns), real; of any other form nothing is said.

    Example:
        >>> import torch
        >>> x = torch.randn(100, 3, generator=torch.Generator().manual_seed(1))
        >>> badly_scaled(x), badly_scaled(x * torch.tensor([1.0, 1.0, 500.0]))[:45]
        (None, 'column 2 of the inputs has a root mean square')
    """
    if inputs.dim() != 2 or not inputs.is_floating_point() or len(inputs) < 2 or not bool(inputs.isfinite().all()):
        return None
    wide = inputs.detach().double()
    size, deviation = wide.square().mean(0).sqrt(), wide.std(0)
    varied = deviation > 1e-9 * size
    if not bool(varied.any()):
        return None
    largest = float(size[varied].max())
    place = int((size * varied).argmax())
    if largest > LARGE:
        return f"column {place} of the inputs has a root mean square of {largest:.3g}, where layers expect about 1"
    if largest < SMALL:
        return f"no column of the inputs has a root mean square above {largest:.3g}, where layers expect about 1"
    spread, usual = float(deviation.max()), float(deviation[varied].median())
    if spread > SPREAD * usual:
        place = int(deviation.argmax())
        return f"column {place} of the inputs varies by {spread:.3g}, a usual one by {usual:.3g}"
    return None
