r"""WGAN-div on the Dirac game: friction that vanishes where the critic is flat.

φ̇ = -θ - kp|φ|^{p-2} φ,    θ̇ = φ;    r² falls like a power of time for p > 2
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch

from thetadot.analysis import phase_portrait
from thetadot.scenes.pictures.base import array
from thetadot.scenes.pictures.over_time import PlottedCurve, curves
from thetadot.scenes.pictures.phase import phase
from thetadot.scenes.rows import SceneRow
from thetadot.scenes.scene import SceneSettings, Setup
from thetadot.scenes.starts import round_about
from thetadot.systems import WGANDiv
from thetadot.systems.power_damping import log_radius_square

if TYPE_CHECKING:
    from thetadot.report.figures.picture import Picture
    from thetadot.simulation import Trajectory


_SHOWN = 25  # times at which the equation is solved for the picture


@dataclass(frozen=True, eq=False)
class _DivergenceCase:
    """A game, and how far from its solution it begins."""

    game: WGANDiv
    radius: float


def make(settings: SceneSettings) -> Setup:
    """Start the paths at one distance and different angles."""
    game = WGANDiv(settings.number("weight"), settings.number("power"))
    radius = settings.number("radius")
    start = round_about(settings.paths, 1, radius, radius)
    case = _DivergenceCase(game, radius)
    return Setup(game, start, partial(_rows, case), partial(_pictures, case), names=("θ",), shown=())


def _rows(case: _DivergenceCase, trajectory: Trajectory) -> list[SceneRow]:
    few = trajectory["paths"]
    square = (few.values.double() ** 2).sum(-1)
    table = []
    for share in (0.5, 1.0):
        at = round(share * (len(few.times) - 1))
        time = float(few.times[at])
        table.append(_shrunk(case, time, few.values[0].double(), float(square[at].mean())))
    gap = torch.linspace(0.0, 5.0, 200_001, dtype=torch.float64)
    value = gap - case.game.weight * gap**case.game.power
    table.append(
        SceneRow(
            "best value at a gap of 1",
            float(value.max()),
            case.game.value(1.0),
            "W = m w - k w^p at its best w",
            tolerance=1e-8,
        )
    )
    return table


def _shrunk(case: _DivergenceCase, time: float, starts: torch.Tensor, mean: float) -> SceneRow:
    """The mean over the paths beside that of the equation for size and angle, each from its own start."""
    game, (generator, critic) = case.game, starts.unbind(-1)
    sizes, angles = (starts**2).sum(-1).tolist(), torch.atan2(critic, generator).tolist()
    each = [
        math.exp(log_radius_square(game.weight * game.power, game.power, time, size, angle))
        for size, angle in zip(sizes, angles, strict=True)
    ]
    expected = math.fsum(each) / len(each)
    source = "the equation for ln r and the angle, integrated to 1e-9"
    name, slack = f"mean r² at time {time:.4g}", 0.01 * expected
    return SceneRow(name, mean, expected, source, 0.0, slack, "1% for the step", "other method")


def _pictures(case: _DivergenceCase, trajectory: Trajectory) -> list[Picture]:
    few = trajectory["paths"]
    far = 1.15 * case.radius
    portrait = phase_portrait(case.game, (-far, far), (-far, far), points=61, names=("generator θ", "critic φ"))
    t, square = few.times, (few.values.double() ** 2).sum(-1)
    shown = t[:: max(1, len(t) // _SHOWN)]
    exact = torch.tensor([case.game.radius_square(float(time), case.radius**2) for time in shown], dtype=torch.float64)
    lines = [
        PlottedCurve("paths", array(t), array(square[:, path]), "purple", width=1.2, alpha=0.6)
        for path in range(min(square.shape[1], 12))
    ]
    lines.append(
        PlottedCurve("the game from θ = φ, by its own equation", array(shown), array(exact), "orange", "dashed", 2.5)
    )
    return [
        phase(
            portrait,
            few.values,
            heading="The game as motion in its plane",
            reading="The spirals tighten ever more slowly: the penalty's friction is gone where the critic is flat.",
        ),
        curves(
            "radius",
            "How slowly the game ends",
            "Both axes of a power law would be logarithmic; here a straight line would be exponential, and the "
            "bend upward is what p > 2 costs.",
            "r² = θ²+φ²",
            lines,
            log=True,
        ),
    ]
