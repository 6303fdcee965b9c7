r"""Four wells in the plane.

dx = -∇U dt + √(2T) dW,    U = (x²-1)²/4 + (y²-1)²/4 + c xy + a x
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch

from thetadot.analysis import find_fixed_points
from thetadot.density import FokkerPlanck, Gibbs, Grid
from thetadot.errors import require
from thetadot.potentials import Quartic2d, gradient_of
from thetadot.scenes.pictures.base import array
from thetadot.scenes.pictures.landscape import in_plane
from thetadot.scenes.pictures.law import planes
from thetadot.scenes.rows import SceneRow, mean_row, share_row
from thetadot.scenes.scene import SceneSettings, Setup
from thetadot.scenes.spelling import argument
from thetadot.systems import Kramers, Langevin, Problem

if TYPE_CHECKING:
    from thetadot.report.figures.picture import Picture
    from thetadot.scenes.rows import Reference
    from thetadot.simulation import Trajectory

CELLS = 96
_RELAXED = 7.0  # e^-7 is left of the start
PLANE = 48


@dataclass(frozen=True, eq=False)
class _QuarticCase:
    """Heated wells, their law, and the equation of the density where there is no inertia."""

    settings: SceneSettings
    temperature: float
    wells: Quartic2d
    edge: float
    grid: Grid
    law: Gibbs
    equation: FokkerPlanck | None
    start: torch.Tensor


def make(settings: SceneSettings) -> Setup:
    """Start all paths at one point."""
    temperature = settings.temperature or 0.0
    require(
        temperature > 0,
        f"temperature={temperature:g}",
        "leaves the paths at rest",
        f"Pass {argument('temperature', 0.25)}.",
    )
    wells = Quartic2d(settings.number("coupling"), settings.number("tilt"))
    system = Langevin(temperature) if settings.friction is None else Kramers(settings.friction, temperature)
    edge = 1.2 + 1.3 * (1.0 + 4.0 * temperature) ** 0.5
    grid = Grid(((-edge, edge), (-edge, edge)), CELLS)
    law = Gibbs(wells, temperature, grid)
    equation = FokkerPlanck(wells, temperature, grid) if settings.friction is None else None
    start = torch.tensor([settings.number("x"), settings.number("y")], dtype=torch.float64)
    case = _QuarticCase(settings, temperature, wells, edge, grid, law, equation, start)
    return Setup(Problem(system, wells), start[None], partial(_rows, case), partial(_pictures, case), names=("x", "y"))


def _densities(case: _QuarticCase, times: torch.Tensor) -> torch.Tensor | None:
    if case.equation is None:
        return None
    return case.equation.propagate(case.grid.normal(case.start.tolist(), case.grid.spacing[0]), times.tolist())


def _rows(case: _QuarticCase, trajectory: Trajectory) -> list[SceneRow]:
    series = trajectory["states"]
    at = series.values[-1].double()
    frames = _densities(case, series.times[[0, -1]])
    law_now = case.law.density if frames is None else frames[-1]
    source = "Fokker-Planck equation at that time"
    reference: Reference = "grid solution"
    known = frames is not None or _is_at_rest(case)
    if frames is None:
        reference = "quadrature"
        source = "Gibbs' law" if known else "Gibbs' law does not hold yet: too short a time for this friction"

    def expected(weight: torch.Tensor) -> float | None:
        return float(case.grid.integrate(law_now * weight)) if known else None

    slack = 2.0 * (case.settings.step or 0.0) ** 2
    table = [
        mean_row(
            f"mean of {name}",
            values,
            expected(weight),
            source,
            slack,
            reference,
        )
        for name, values, weight in (
            ("x²", at[:, 0] ** 2, case.grid.points[..., 0] ** 2),
            ("y²", at[:, 1] ** 2, case.grid.points[..., 1] ** 2),
            ("U", case.wells(at), case.wells(case.grid.points)),
        )
    ]
    for name, sx, sy in (
        ("left below", -1, -1),
        ("right above", 1, 1),
        ("left above", -1, 1),
        ("right below", 1, -1),
    ):
        inside = (case.grid.points[..., 0] * sx > 0) & (case.grid.points[..., 1] * sy > 0)
        hits = (at[:, 0] * sx > 0) & (at[:, 1] * sy > 0)
        table.append(share_row(f"share of paths {name}", hits, expected(inside), source, reference))
    distance = float(case.grid.integrate((law_now - case.law.density).abs()))
    table.append(SceneRow("distance from rest", distance, None, "∫|p - exp(-U/T)/Z| of the Fokker-Planck equation"))
    return table if frames is not None else table[:-1]


def _is_at_rest(case: _QuarticCase) -> bool:
    """Whether with friction λ the slowest passage has died out to 1e-3: slower than without inertia by λ or 1/λ."""
    friction = case.settings.friction
    if not friction:
        return False
    gap = FokkerPlanck(case.wells, case.temperature, case.grid).spectral_gap()
    return gap / (friction + 1.0 / friction) * case.settings.time > _RELAXED


def _pictures(case: _QuarticCase, trajectory: Trajectory) -> list[Picture]:
    series, trails = trajectory["states"], trajectory["paths"]
    frames = _densities(case, series.times)
    half = (-0.82 * case.edge, 0.82 * case.edge)
    found = find_fixed_points(lambda x: -gradient_of(case.wells)(x), case.grid.points[::8, ::8].reshape(-1, 2))
    minima = [one.point for one in found if one.stable]
    saddles = [one.point for one in found if one.kind == "saddle"]
    plane = Grid((half, half), PLANE)
    near = [_nearest(case.grid, plane, frame) for frame in (case.law.density[None] if frames is None else frames)]
    return [
        in_plane(
            case.wells,
            (half, half),
            float(case.wells(torch.zeros(2).double())) + 3.0 * case.temperature,
            series.times,
            series.values,
            trails.values[..., :2],
            (
                ("minimum", "diamond", "green", torch.stack(minima)),
                ("saddle", "x", "red", torch.stack(saddles) if saddles else torch.empty(0, 2)),
            ),
        ),
        planes(
            series.times,
            series.values,
            (half, half),
            array(torch.stack(near)),
            "The Fokker-Planck equation" if frames is not None else "Gibbs' law, at rest",
            PLANE,
        ),
    ]


def _nearest(grid: Grid, plane: Grid, density: torch.Tensor) -> torch.Tensor:
    """A density at the centres of other cells, rows upward, by bilinear interpolation."""
    low, high = grid.sides[0]
    place = (2.0 * (plane.points.flip(-1) - low) / (high - low) - 1.0)[None]
    found = torch.nn.functional.grid_sample(density[None, None].double(), place, align_corners=False)
    return found[0, 0].T
