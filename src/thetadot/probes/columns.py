r"""Badly scaled columns: of another size than layers are made for.

    r_j = √⟨x_j²⟩,    badly scaled:  max sd > 30 · median sd,  max r > 10,  or  max r < 1/30

Layers begin as if inputs and targets were of size 1. Curvature along a weight grows with the square of its input, so
one large column sets the largest lr for all. Columns that are seldom other than 0, as an image's edges, are small and
do no harm. A constant column is a bias, which may be as large as any other; where all are constant nothing is said.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

if TYPE_CHECKING:
    from torch import Tensor

LARGE, SMALL = 10.0, 1 / 30
"""Largest root mean square of a column, and the smallest of all columns' largest, that are passed over."""
SPREAD = 30.0
"""Largest deviation over the usual column's that is passed over: curvatures then differ by its square, a thousand."""
FAR = 10.0
"""Mean over deviation from which a column is said to lie somewhere, rather than to be large."""
REACH = 10.0
"""Units within which every value is brought: a column that is seldom other than 0 is not blown up by its deviation."""


class Units(NamedTuple):
    """Offset and unit of each column, in double precision: (x - mean) / scale is of size 1."""

    mean: Tensor
    scale: Tensor


def badly_scaled(values: Tensor, noun: str = "input") -> str | None:
    """Return what is wrong with the size of rows of numbers, in half a sentence; None where nothing is.

    Args:
        values: (samples, columns), real; of any other form nothing is said.
        noun: what a row is.

    Example:
        >>> import torch
        >>> x = torch.randn(100, 3, generator=torch.Generator().manual_seed(1))
        >>> badly_scaled(x), badly_scaled(x * torch.tensor([1.0, 1.0, 500.0]))[:45]
        (None, 'columns of the inputs differ 522-fold in scal')
    """
    if values.dim() != 2 or not values.is_floating_point() or len(values) < 2 or not bool(values.isfinite().all()):
        return None
    wide = values.detach().double()
    size, deviation, mean = wide.square().mean(0).sqrt(), wide.std(0), wide.mean(0)
    varied = (deviation > 1e-9 * size).nonzero().reshape(-1)
    if not len(varied):
        return None
    spread = deviation[varied]
    usual, high = varied[spread.argsort()[(len(spread) - 1) // 2]], varied[spread.argmax()]
    if deviation[high] > SPREAD * deviation[usual]:
        return (
            f"columns of the {noun}s differ {float(deviation[high] / deviation[usual]):,.0f}-fold in scale (deviation "
            f"{float(deviation[usual]):.3g} of column {int(usual)}, {float(deviation[high]):.3g} of column {int(high)})"
        )
    at = int(size.argmax())
    if float(size[at]) > LARGE and float(mean[at].abs()) > FAR * float(deviation[at]):
        varies = f"varies by only {float(deviation[at]):.3g}" if at in varied.tolist() else "does not vary"
        return f"column {at} of the {noun}s lies at {float(mean[at]):.4g} and {varies}"
    if float(size[at]) > LARGE or float(size[at]) < SMALL:
        return f"the {noun}s' deviation is {float(spread.max()):.3g}, far from 1"
    return None


def usual_units(values: Tensor, *, constant: float = 1.0) -> Units:
    """Return the units in which columns have mean 0 and deviation 1.

    A column whose largest value is beyond ten deviations has a tenth of that for its unit.

    Args:
        values: (samples, columns), real.
        constant: unit of a column that does not vary; infinite takes it out.

    Example:
        >>> import torch
        >>> usual_units(torch.tensor([[1.0, 7.0], [3.0, 7.0]])).scale.tolist()
        [1.4142135623730951, 1.0]
    """
    wide = values.detach().double()
    mean, deviation = wide.mean(0), wide.std(0)
    scale = torch.maximum(deviation, (wide - mean).abs().amax(0) / REACH)
    varies = deviation > 1e-9 * wide.square().mean(0).sqrt()
    return Units(mean, torch.where(varies, scale, torch.full_like(scale, constant)))
