"""A potential on a grid, checked: U/T at the centres, finite, periodic where the grid is, resolved by the cells."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from thetadot.core.validation import require_finite, require_instances, require_numbers, values_at
from thetadot.density.grid import Grid
from thetadot.errors import InadmissibleValue, require

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from thetadot.core.annotations import Scalar

_SEAM = 1e-6  # of a side: how far from its ends a potential is asked whether it is periodic
_JUMP = 1e-4  # of T: what may be between them
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
        InadmissibleValue: values that are not finite or not one a cell; a potential that is not periodic where the grid
            is; or cells too coarse for the law: from cell to cell U/T changes by more than 1, root mean square under
            exp(-U/T).
    """
    require_instances(Grid, grid=grid)
    with torch.no_grad():
        energy = values_at(grid.points, potential=potential).double()
    require(bool(energy.isfinite().all()), "a potential", "is not finite everywhere in the box", "Pass a smaller box.")
    for axis, wraps in enumerate(grid.wraps):
        if wraps:
            _require_periodic(potential, temperature, grid, axis)
    exponent = (energy - energy.min()) / temperature
    require_finite(exponent=exponent)
    for axis, (side, count) in enumerate(zip(grid.sides, grid.shape, strict=True)):
        typical = coarseness(grid, exponent, axis)
        require(
            typical <= _COARSEST,
            f"{count} cells on {side}",
            f"are too coarse: the law changes by a factor e^{typical:.2g} from cell to cell",
            f"Pass at least {math.ceil(count * typical / _COARSEST)} cells, or a higher temperature.",
        )
    return exponent


@torch.no_grad()
def _require_periodic(potential: Callable[[Tensor], Tensor], temperature: float, grid: Grid, axis: int) -> None:
    """Where an axis wraps, U is continuous over its seam, or a periodic function that jumps there.

    Cells do not tell: between fine ones a wall at the seam is as thin as any, and weighs as little.
    """
    low, high = grid.sides[axis]
    short = _SEAM * (high - low)
    face = grid.points.narrow(axis, 0, 1)
    where = (low + short, low + 2.0 * short, high - short, high - 2.0 * short, high + short, low - short)
    places = []
    for coordinate in where:
        place = face.clone()
        place[..., axis] = coordinate
        places.append(place)
    inside = values_at(torch.stack(places[:4]), potential=potential)
    slack = _JUMP * temperature + 64.0 * torch.finfo(inside.dtype).eps * inside.abs().amax(0).double()
    first, second, last, before = inside.double()
    jump = (2.0 * first - second) - (2.0 * last - before)  # both sides carried on to the seam
    if bool((jump.abs() <= slack).all()) or _goes_on(
        potential, torch.stack(places[4:]), torch.stack((first, last)), slack
    ):
        return
    worst = float(jump.abs().nan_to_num(nan=math.inf).max())
    raise InadmissibleValue(
        f"the potential is not periodic along axis {axis}: where {high:g} meets {low:g} it jumps by "
        f"{worst / temperature:.3g} T. Where a force drives round, pass drift= in its place: "
        "FokkerPlanck(None, T, grid, drift=...); else a box of whole periods, or periodic=False."
    )


def _goes_on(potential: Callable[[Tensor], Tensor], beyond: Tensor, within: Tensor, slack: Tensor) -> bool:
    """Whether beyond either end U is what it is within the other."""
    try:
        found = values_at(beyond, potential=potential).double()
    except InadmissibleValue:  # it is not defined there
        return False
    return bool(((found - within).abs() <= slack + _SEAM * within.abs()).all())


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
