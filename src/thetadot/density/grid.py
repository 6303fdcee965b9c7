r"""A box cut into equal cells: where densities live.

    p: (n_1, ..., n_d), the value at a cell's centre, in probability per volume;    ∫ p = h_1 ... h_d Σ p

A side is closed by reflecting walls, or periodic. For a smooth p that vanishes at the walls, or is periodic, the sum is
the trapezoidal rule, whose error falls faster than any power of h; with density left at a wall it is of order h².
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, cast

import torch

from thetadot.core.validation import as_python, require_coordinates, require_numbers, require_tensors, require_whole
from thetadot.errors import InadmissibleValue, require

if TYPE_CHECKING:
    from torch import Tensor

    Side = tuple[float, float]

_MOST_CELLS = 1 << 26  # half a gigabyte for one density


@dataclass(frozen=True)
class Grid:
    """A box of 1, 2 or 3 dimensions cut into cells.

    Args:
        box: ((low, high), ...), one pair a dimension; (low, high) alone in one dimension.
        cells: how many along each side, at least 4; one number for all.
        periodic: whether a side's ends are one point, or reflecting walls; one answer for all.

    Raises:
        InadmissibleValue: a side of no length, more than three, too few cells or more than 2²⁶.

    Example:
        >>> grid = Grid((-1.0, 1.0), cells=4)
        >>> grid.points[:, 0].tolist(), grid.volume
        ([-0.75, -0.25, 0.25, 0.75], 0.5)
    """

    box: Side | tuple[Side, ...]
    cells: int | tuple[int, ...] = 128
    periodic: bool | tuple[bool, ...] = False

    def __post_init__(self) -> None:
        if not isinstance(self.box, Sequence) or isinstance(self.box, str) or not self.box:
            raise InadmissibleValue(f"box={self.box!r} has no sides. Pass (low, high), or one such pair a dimension.")
        for side in self.sides:
            if len(side) != 2:
                raise InadmissibleValue(f"side {side} is not one of two ends. Pass (low, high).")
            require_numbers(low=side[0], high=side[1])
        require(self.dim in (1, 2, 3), f"box={self.box}", "has not 1, 2 or 3 sides", "Pass a (low, high) for each.")
        for low, high in self.sides:
            require(-math.inf < low < high < math.inf, f"side ({low:g}, {high:g})", "has no length", "Pass low < high.")
        for name in ("cells", "periodic"):
            value = getattr(self, name)
            if isinstance(value, tuple) and len(value) != self.dim:
                raise InadmissibleValue(
                    f"{name}={value} for {self.dim} sides of the box. Pass one for all, or one for each."
                )
        wrong = [each for each in self.wraps if not isinstance(each, bool)]
        require(not wrong, f"periodic={self.periodic!r}", "is not True or False", "Pass one for all, or one for each.")
        few = all(isinstance(n, int) and n >= 4 for n in self.shape)
        require(few, f"cells={self.cells}", "is not a whole number >= 4", "Pass 4 or more along every side.")
        count = math.prod(self.shape)
        require(count <= _MOST_CELLS, f"cells={self.cells}", f"makes {count} cells, more than 2²⁶", "Pass fewer.")

    @property
    def sides(self) -> tuple[Side, ...]:
        """Bounds of every dimension: ((low, high), ...)."""
        box = self.box if isinstance(self.box[0], Sequence) else (self.box,)
        return cast("tuple[Side, ...]", tuple(tuple(side) for side in cast("Sequence[Side]", box)))

    @property
    def dim(self) -> int:
        """Number of the grid's dimensions."""
        return len(self.sides)

    @property
    def shape(self) -> tuple[int, ...]:
        """Cells along each side."""
        cells = self.cells if isinstance(self.cells, tuple) else (self.cells,) * self.dim
        return tuple(map(as_python, cells))

    @property
    def wraps(self) -> tuple[bool, ...]:
        """Whether each dimension is periodic."""
        return self.periodic if isinstance(self.periodic, tuple) else (self.periodic,) * self.dim

    @property
    def spacing(self) -> tuple[float, ...]:
        """H along each side."""
        return tuple((high - low) / n for (low, high), n in zip(self.sides, self.shape, strict=True))

    @property
    def volume(self) -> float:
        """Volume of one cell."""
        return math.prod(self.spacing)

    @cached_property
    def axes(self) -> tuple[Tensor, ...]:
        """Centres along each side, float64."""
        return tuple(
            low + step * (torch.arange(n, dtype=torch.float64) + 0.5)
            for (low, _), step, n in zip(self.sides, self.spacing, self.shape, strict=True)
        )

    @cached_property
    def points(self) -> Tensor:
        """Centres, (*shape, dim), float64."""
        return torch.stack(torch.meshgrid(*self.axes, indexing="ij"), -1)

    def faces(self, axis: int) -> Tensor:
        """Middle of the face between each cell and the next along ``axis``, (*shape, dim); the last is the wall."""
        require_whole(axis=axis)
        require(0 <= axis < self.dim, f"axis={axis}", f"is none of {self.dim}", "Pass 0 for the first.")
        shift = torch.zeros(self.dim, dtype=torch.float64)
        shift[axis] = self.spacing[axis] / 2
        return self.points + shift

    def integrate(self, values: Tensor) -> Tensor:
        """∫ over the last d dimensions.

        Example:
            >>> float(Grid((0.0, 2.0), 8).integrate(torch.ones(8)))
            2.0
        """
        require_tensors(values=values)
        return values.sum(dim=tuple(range(-self.dim, 0))) * self.volume

    def normal(self, mean: Sequence[float] | float, deviation: Sequence[float] | float) -> Tensor:
        """A Gaussian density with independent coordinates, normalised on the grid.

        Args:
            mean: of each coordinate; a number for all.
            deviation: standard deviation of each, at least the spacing; a number for all.

        Raises:
            InadmissibleValue: narrower than a cell, or outside the box.
        """
        centre, wide = _one_per_dimension(mean, self.dim), _one_per_dimension(deviation, self.dim)
        spacing = torch.tensor(self.spacing, dtype=torch.float64)
        require(
            bool((wide >= spacing).all()),
            f"deviation={deviation}",
            f"is narrower than a cell, {self.spacing}",
            "Pass a wider one, more cells, or use delta().",
        )
        exponent = -0.5 * (((self.points - centre) / wide) ** 2).sum(-1)
        require(float(exponent.max()) > -2.0 * self.dim, f"mean={mean}", "lies outside the box", "Move it.")
        density = exponent.exp()
        return density / self.integrate(density)

    def delta(self, point: Sequence[float] | float) -> Tensor:
        """Return the density with all mass in the cell that holds ``point``.

        Raises:
            InadmissibleValue: the point lies outside the box.

        Example:
            >>> Grid((0.0, 2.0), 4).delta(0.6).tolist()
            [0.0, 2.0, 0.0, 0.0]
        """
        cell, inside = self._cells_of(_one_per_dimension(point, self.dim)[None])
        require(bool(inside), f"point={point}", "lies outside the box", f"Pass one within {self.sides}.")
        density = torch.zeros(math.prod(self.shape), dtype=torch.float64)
        density[cell] = 1.0 / self.volume
        return density.reshape(self.shape)

    def histogram(self, samples: Tensor) -> Tensor:
        """The density that samples (..., dim) make, float64; those outside the box are counted, not placed.

        Example:
            >>> Grid((0.0, 2.0), 4).histogram(torch.tensor([[0.1], [0.2], [1.9], [7.0]])).tolist()
            [1.0, 0.0, 0.0, 0.5]
        """
        require_tensors(samples=samples)
        if samples.shape[-1:] != (self.dim,):
            raise InadmissibleValue(
                f"samples of shape {tuple(samples.shape)} on a grid of {self.dim} dimensions. Pass (..., {self.dim})."
            )
        require(samples.numel() > 0, "samples", "are none", "Pass at least one.")
        cell, inside = self._cells_of(samples.reshape(-1, self.dim))
        counts = torch.bincount(cell[inside], minlength=math.prod(self.shape)).to(torch.float64)
        return counts.reshape(self.shape) / (len(cell) * self.volume)

    def _cells_of(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Flat indices of the cells that hold points (n, dim), and which lie in the box."""
        cell = torch.zeros(len(points), dtype=torch.int64, device=points.device)
        inside = torch.ones(len(points), dtype=torch.bool, device=points.device)
        for axis, ((low, high), n, wraps) in enumerate(zip(self.sides, self.shape, self.wraps, strict=True)):
            share = (points[:, axis].to(torch.float64) - low) / (high - low)
            share = share - share.floor() if wraps else share
            inside &= (share >= 0) & (share <= 1)
            cell = cell * n + (share.clamp(0, 1) * n).to(torch.int64).clamp(max=n - 1)
        return cell, inside

    def require_density(self, density: Tensor) -> Tensor:
        """The density, if it is one: of the grid's shape, nowhere negative, its integral 1 (to 1e-6; 1e-4 in float32).

        Raises:
            InadmissibleValue: it is none.
        """
        if not isinstance(density, torch.Tensor) or tuple(density.shape) != self.shape:
            came = tuple(density.shape) if isinstance(density, torch.Tensor) else type(density).__name__
            raise InadmissibleValue(f"a density of shape {came} on a grid of {self.shape}. Pass one of the grid's.")
        require(density.is_floating_point(), f"a density of {density.dtype}", "is not real", "Pass floating point.")
        lowest, mass = float(density.min()), float(self.integrate(density.double()))
        require(lowest >= 0, f"a density with the value {lowest:g}", "is negative somewhere", "Pass p >= 0.")
        require(
            abs(mass - 1) <= (1e-6 if density.dtype == torch.float64 else 1e-4),
            f"a density of mass {mass:.7g}",
            "is not normalised",
            "Divide it by grid.integrate(density).",
        )
        return density


def _one_per_dimension(value: Sequence[float] | float, dim: int) -> Tensor:
    """One number a dimension, float64."""
    require_coordinates(point=value)
    try:
        numbers = torch.as_tensor(value, dtype=torch.float64).flatten()
    except (TypeError, ValueError) as error:  # rows of different lengths
        raise InadmissibleValue(f"{value} is no row of numbers. Pass {dim}, or one.") from error
    require(len(numbers) in (1, dim), f"{value}", f"is not one number or {dim}", "Pass one for each dimension.")
    return numbers.expand(dim)
