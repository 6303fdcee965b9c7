r"""Phase portraits: all of a planar motion in one picture.

    field, nullclines f₁ = 0 and f₂ = 0, fixed points with their kinds, and the separatrices: the stable manifolds of
    the saddles, which divide the plane by where paths end.

A separatrix is traced back in time from its saddle along the stable eigenvector, by RK4 in arc length (of coordinates
in units of the picture), until it leaves the picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from thetadot.analysis.fixed_points import FixedPoint, find_fixed_points
from thetadot.analysis.phase import as_taken, field_of, jacobian, step_of
from thetadot.core.plotting import axes
from thetadot.core.signatures import checked
from thetadot.core.validation import field_at, require_coordinates, require_whole
from thetadot.errors import InadmissibleValue, require
from thetadot.integrators.runge_kutta import RungeKutta
from thetadot.integrators.tableaus import RK4
from thetadot.systems.custom import ODE

if TYPE_CHECKING:
    from torch import Tensor

    from thetadot.analysis.phase import Field, Motion

    Range = tuple[float, float]

_STARTS = 12  # a side, of Newton's method
_ARC = 1 / 400
_LONGEST = 4.0  # of a separatrix, in units of the picture
_MARKS = {"stable": "o", "unstable": "o", "saddle": "X", "centre": "s", "degenerate": "D"}


@dataclass(frozen=True)
class Portrait:
    """Phase portrait of a planar system: field, nullclines, fixed points.

    Attributes:
        x: (a,) grid.
        y: (b,) grid.
        field: (b, a, 2).
        nullclines: points where the first and the second component vanish, each (m, 2), in no order.
        fixed_points: those found in the picture.
        separatrices: lines, each (m, 2), from a saddle outwards.
        names: of the two coordinates.
    """

    x: Tensor
    y: Tensor
    field: Tensor
    nullclines: tuple[Tensor, Tensor]
    fixed_points: tuple[FixedPoint, ...]
    separatrices: tuple[Tensor, ...]
    names: tuple[str, str] = ("x", "y")

    def plot(self, ax: Any = None) -> Any:
        """Streamlines, nullclines (dashed), separatrices (bold), fixed points (filled where stable).

        Raises:
            ThetadotError: matplotlib is not installed.
        """
        ax = axes(ax)
        x, y, field = self.x.numpy(), self.y.numpy(), self.field.numpy()
        ax.streamplot(x, y, field[..., 0], field[..., 1], color="0.75", linewidth=0.7, arrowsize=0.8, zorder=1)
        for index, colour in enumerate(("tab:blue", "tab:orange")):
            part = field[..., index]
            if part.min() < 0 < part.max():
                ax.contour(x, y, part, levels=[0.0], colors=colour, linestyles="dashed", zorder=2)
        for line in self.separatrices:
            ax.plot(*line.numpy().T, color="tab:red", linewidth=2.0, zorder=3)
        for found in self.fixed_points:
            marker = _MARKS[found.kind.split()[0]]
            fill = "black" if found.stable else "white"
            ax.plot(*found.point.numpy(), marker, color="black", markerfacecolor=fill, zorder=4)
        ax.set_xlim(x[0], x[-1])
        ax.set_ylim(y[0], y[-1])
        ax.set_xlabel(self.names[0])
        ax.set_ylabel(self.names[1])
        return ax


@checked
def phase_portrait(
    motion: Motion,
    x_range: Range,
    y_range: Range,
    *,
    points: int = 101,
    time: float = 0.0,
    names: tuple[str, str] = ("x", "y"),
) -> Portrait:
    """The portrait of a field in the plane: two coordinates, or a position and its velocity, critic, predictor ...

    In float64, or in float32 where the field takes or returns that alone.

    Args:
        motion: a system with a drift of its own, a Problem, or a field of points (m, 2).
        x_range: (from, to) of the first coordinate.
        y_range: (from, to) of the second.
        points: a side of the grid.
        time: where the field depends on it.
        names: of the coordinates.

    Raises:
        InadmissibleValue: a range that is empty, or a field that is not planar.

    Example:
        >>> from thetadot.systems import Competition
        >>> rivals = Competition(growth=(1.0, 1.0), capacity=(1.0, 1.0), harm=(2.0, 2.0))
        >>> portrait = phase_portrait(rivals, (-0.1, 1.2), (-0.1, 1.2))
        >>> [found.kind for found in portrait.fixed_points]
        ['unstable node', 'stable node', 'saddle', 'stable node']
        >>> float((portrait.separatrices[0][:, 0] - portrait.separatrices[0][:, 1]).abs().max()) < 1e-9  # x = y
        True
    """
    require_whole(points=points)
    require_coordinates(x_range=x_range, y_range=y_range)
    for name, pair in (("x_range", x_range), ("y_range", y_range)):
        if len(torch.as_tensor(pair).reshape(-1)) != 2:
            raise InadmissibleValue(f"{name}={pair} is not one range. Pass (from, to), from < to.")
    require(points >= 2, f"points={points}", "is below 2", "Pass the points a side of the grid.")
    low, high = (torch.tensor(pair, dtype=torch.float64) for pair in zip(x_range, y_range, strict=True))
    if not bool((low < high).all() & low.isfinite().all() & high.isfinite().all()):
        raise InadmissibleValue(f"x_range={x_range} and y_range={y_range} span no plane. Pass (from, to), from < to.")
    field = field_of(motion, time=time)
    dtype = as_taken(field, low.unsqueeze(0)).dtype
    low, high = low.to(dtype), high.to(dtype)
    x, y, grid = _grid(low, high, points)
    try:
        values = field_at(grid.reshape(-1, 2), field=field).detach()
    except InadmissibleValue as error:
        raise InadmissibleValue(f"this motion is not planar: {error}") from error
    values = values.reshape(points, points, 2)
    found = find_fixed_points(field, _grid(low, high, _STARTS)[2].reshape(-1, 2))
    inside = tuple(one for one in found if bool(((one.point >= low) & (one.point <= high)).all()))
    crossings = tuple(_crossings(grid, values[..., index]) for index in (0, 1))
    lines = tuple(line for one in inside if one.kind == "saddle" for line in _manifold(field, one.point, low, high))
    return Portrait(x, y, values, (crossings[0], crossings[1]), inside, lines, names)


def _grid(low: Tensor, high: Tensor, points: int) -> tuple[Tensor, Tensor, Tensor]:
    """Both rows, and (points, points, 2) with the first coordinate along the second axis."""
    x, y = (torch.linspace(float(a), float(b), points, dtype=low.dtype) for a, b in zip(low, high, strict=True))
    rows, columns = torch.meshgrid(y, x, indexing="ij")
    return x, y, torch.stack((columns, rows), -1)


def _crossings(grid: Tensor, part: Tensor) -> Tensor:
    """Zeros of one component along the grid's edges, by linear interpolation: (m, 2)."""
    found = []
    for axis in (0, 1):
        count = part.shape[axis] - 1
        one, two = part.narrow(axis, 0, count), part.narrow(axis, 1, count)
        here, there = grid.narrow(axis, 0, count), grid.narrow(axis, 1, count)
        crossed = (one * two < 0) | ((one == 0) & (two != 0))
        share = (one[crossed] / (one[crossed] - two[crossed])).unsqueeze(-1)
        found.append(here[crossed] + share * (there[crossed] - here[crossed]))
    return torch.cat(found)


def _manifold(field: Field, saddle: Tensor, low: Tensor, high: Tensor) -> list[Tensor]:
    """Both branches of the stable manifold, from the saddle to where they leave the picture: (m, 2) each."""
    size = high - low
    values, vectors = torch.linalg.eig(jacobian(field, saddle.unsqueeze(0))[0])
    inward = vectors[:, values.real.argmin()].real
    away = inward / (inward / size).norm()

    def back(x: Tensor) -> Tensor:
        slope = -field(x).detach()
        unit: Tensor = slope / (slope / size).norm(dim=-1, keepdim=True).clamp_min(torch.finfo(x.dtype).tiny)
        return unit

    advance = step_of(ODE(back), RungeKutta(RK4), step=_ARC)
    lines = []
    for side in (-1.0, 1.0):
        x = saddle + side * 1e-4 * away
        line = [saddle, x]
        for _ in range(int(_LONGEST / _ARC)):
            ahead = advance(x.unsqueeze(0))[0]
            if not bool(((ahead >= low) & (ahead <= high)).all()) or float(((ahead - x) / size).norm()) < _ARC / 2:
                break  # out of the picture, or to and fro about where the branch comes from
            x = ahead
            line.append(x)
        lines.append(torch.stack(line))
    return lines
