"""A potential on a grid, checked: U/T at the cells' centres, finite, and resolved by the cells."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from thetadot.density.grid import Grid
from thetadot.errors import require
from thetadot.kinds import require_instances, require_numbers, values_at

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from thetadot.typing import Scalar

_COARSEST = 1.0  # change of U/T from cell to cell, root mean square: a Gaussian whose deviation is one cell


def require_temperature(temperature: Scalar) -> float:
    """T as a number.

    Raises:
        InadmissibleValue: not positive and finite.
    """
    require_numbers(temperature=temperature)
    value = float(temperature)
    require(
        0 < value < math.inf,
        f"temperature={value:g}",
        "is not positive and finite: there is no density without noise",
        "Pass T > 0, in units of the loss.",
    )
    return value


def exponent_on(potential: Callable[[Tensor], Tensor], temperature: float, grid: Grid) -> Tensor:
    """U/T at the centres, least value 0, float64 (*shape).

    Args:
        potential: U of positions (..., dim).
        temperature: T > 0.
        grid: the cells.

    Raises:
        InadmissibleValue: values that are not finite or not one a cell, or cells too coarse for the law: from cell to
            cell U/T changes by more than 1, root mean square under exp(-U/T).
    """
    require_instances(Grid, grid=grid)
    with torch.no_grad():
        energy = values_at(grid.points, potential=potential).double()
    require(bool(energy.isfinite().all()), "a potential", "is not finite everywhere in the box", "Pass a smaller box.")
    exponent = (energy - energy.min()) / temperature
    for axis, (side, count) in enumerate(zip(grid.sides, grid.shape, strict=True)):
        typical = coarseness(grid, exponent, axis)
        require(
            typical <= _COARSEST,
            f"{count} cells on {side}",
            f"are too coarse: the law changes by a factor e^{typical:.2g} from cell to cell",
            f"Pass at least {math.ceil(count * typical / _COARSEST)} cells, or a higher temperature.",
        )
    return exponent


def coarseness(grid: Grid, exponent: Tensor, axis: int) -> float:
    """Change of U/T from cell to cell along ``axis``, root mean square under the law: h/σ for a Gaussian.

    Example:
        >>> from thetadot.density import Grid
        >>> grid = Grid((-6.0, 6.0), 120)
        >>> round(coarseness(grid, grid.points[..., 0] ** 2 / 2, 0), 2)
        0.1
    """
    climb = exponent.roll(-1, axis) - exponent
    weight = torch.exp(-torch.minimum(exponent, exponent.roll(-1, axis)))
    if not grid.wraps[axis]:
        inner = grid.shape[axis] - 1
        climb, weight = climb.narrow(axis, 0, inner), weight.narrow(axis, 0, inner)
    return float(((weight * climb**2).sum() / weight.sum()).sqrt())
