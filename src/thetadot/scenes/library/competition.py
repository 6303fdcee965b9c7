r"""Two species that live on the same food: coexistence, or a winner that the start decides.

ẋᵢ = xᵢ [rᵢ (1 - xᵢ/Nᵢ) - aᵢ xⱼ]
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch

from thetadot.analysis import find_fixed_points, phase_portrait
from thetadot.scenes.pictures.phase import phase
from thetadot.scenes.rows import SceneRow
from thetadot.scenes.scene import SceneSettings, Setup
from thetadot.systems import Competition

if TYPE_CHECKING:
    from thetadot.report.figures.picture import Picture
    from thetadot.simulation import Trajectory


@dataclass(frozen=True, eq=False)
class _CompetitionCase:
    """Two species, how many of each live alone, and where they begin."""

    species: Competition
    size: torch.Tensor
    start: torch.Tensor


def make(settings: SceneSettings) -> Setup:
    """Starts all over the plane."""
    species = Competition(
        (settings.number("growth1"), settings.number("growth2")),
        (settings.number("capacity1"), settings.number("capacity2")),
        (settings.number("harm1"), settings.number("harm2")),
    )
    size = torch.tensor(species.capacity, dtype=torch.float64)
    at = torch.arange(1, settings.paths + 1, dtype=torch.float64)
    shares = torch.stack(((at * 0.7548776662466927) % 1.0, (at * 0.5698402909980532) % 1.0), -1)
    start = (0.03 + 1.15 * shares) * size
    case = _CompetitionCase(species, size, start)
    return Setup(species, start, partial(_rows, case), partial(_pictures, case), names=("species 1", "species 2"))


def _rows(case: _CompetitionCase, trajectory: Trajectory) -> list[SceneRow]:
    end = trajectory["states"].values[-1].double()
    rests = case.species.fixed_points
    stable = rests[(case.species.eigenvalues < 0).all(-1)]
    distance = torch.cdist(end / case.size, stable / case.size).min(-1).values
    table = [
        SceneRow(
            "share of paths at a stable rest",
            float((distance < 0.01).double().mean()),
            1.0,
            "fixed points in closed form, to 1%",
            tolerance=0.05,
            remark="those on the separatrix take long",
        ),
    ]
    found = find_fixed_points(case.species, torch.cat((case.start, rests + 1e-3 * case.size)))
    names = ("nothing", "the first alone", "the second alone", "both")
    for name, rest, values in zip(names, rests, case.species.eigenvalues, strict=False):
        near = min(found, key=lambda one, rest=rest: float((one.point - rest).norm()))  # type: ignore[misc]
        table.append(
            SceneRow(
                f"{name}: slowest eigenvalue",
                float(near.eigenvalues.real.max()),
                float(values.max()),
                f"closed form; {near.kind}",
                tolerance=1e-8,
            )
        )
    if case.species.coexistence is not None and case.species.coexist:
        for index, exact in enumerate(case.species.coexistence):
            table.append(
                SceneRow(
                    f"species {index + 1} at the end",
                    float(end[:, index].mean()),
                    exact,
                    "where both lines cross",
                    tolerance=0.01 * exact,
                )
            )
    return table


def _pictures(case: _CompetitionCase, trajectory: Trajectory) -> list[Picture]:
    few = trajectory["paths"].values
    box = [(-0.04 * float(n), 1.22 * float(n)) for n in case.size]
    portrait = phase_portrait(case.species, box[0], box[1], points=81, names=("species 1", "species 2"))
    return [
        phase(
            portrait,
            few,
            heading="Who lives on",
            reading="Paths end in the green points; where there is a red line, the side on which they begin decides.",
        )
    ]
