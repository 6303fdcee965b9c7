r"""The Dirac GAN: a game that goes round in circles, and what ends it.

J = θ₁φ₂ - θ₂φ₁ is conserved without penalty, r² = |θ|²+|φ|² by "linear" and "min-max"
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, cast

import torch

from thetadot.analysis import exponential_average, local_spectral_radius, phase_portrait
from thetadot.core.tensors import tensor_of
from thetadot.errors import require
from thetadot.integrators import Euler
from thetadot.scenes.integrators import integrator
from thetadot.scenes.pictures.base import array
from thetadot.scenes.pictures.over_time import PlottedCurve, curves
from thetadot.scenes.pictures.phase import phase
from thetadot.scenes.rows import SceneRow
from thetadot.scenes.scene import SceneSettings, Setup
from thetadot.scenes.spelling import argument
from thetadot.scenes.starts import round_about
from thetadot.systems import DiracGAN

if TYPE_CHECKING:
    from thetadot.report.figures.picture import Picture
    from thetadot.simulation import Trajectory
    from thetadot.systems.dirac_gan import Game, Penalty

CONSERVES = ("linear", "min-max")
_PULL = {"non-saturating": 0.5, "min-max": 0.5, "linear": 1.0}


@dataclass(frozen=True)
class _Play:
    """A game, in how many dimensions, stepped how."""

    game: DiracGAN
    dim: int
    settings: SceneSettings

    @property
    def free(self) -> bool:
        """Whether nothing brakes it."""
        return self.game.penalty is None and self.game.decay == 0


def make(settings: SceneSettings) -> Setup:
    """Starts round the solution, at different distances."""
    penalty = settings.word("penalty")
    game = DiracGAN(
        cast("Game", settings.word("kind")),
        None if penalty == "none" else cast("Penalty", penalty),
        settings.number("weight"),
        settings.number("centre"),
        settings.number("decay"),
    )
    dim = int(settings.number("dim"))
    require(
        dim in (1, 2) and dim == settings.number("dim"),
        f"dim={settings.values['dim']}",
        "is neither 1 nor 2",
        f"Pass {argument('dim', 1)}.",
    )
    play = _Play(game, dim, settings)
    return Setup(
        game,
        round_about(settings.paths, dim, 0.4, 2.0),
        partial(_rows, play),
        partial(_pictures, play),
        names=("θ",) if dim == 1 else ("θ₁", "θ₂"),
        shown=(),
    )


def _rows(play: _Play, trajectory: Trajectory) -> list[SceneRow]:
    series = trajectory["states"]
    theta, phi = series.values.double(), tensor_of(dict(series.variables), "critic").double()
    square = play.game.radius_square(theta, phi)
    table = []
    change = float((square[-1] / square[0] - 1.0).abs().max())
    if play.free and play.game.kind in CONSERVES and play.settings.rule.order > 1:
        table.append(
            SceneRow(
                "largest change of r²",
                change,
                0.0,
                "r² = |θ|²+|φ|² is conserved",
                tolerance=1e-3,
                remark="the integrator's own error",
            )
        )
    elif play.free and play.game.kind == "linear" and isinstance(play.settings.rule, Euler):
        growth = (1.0 + (play.settings.step or 0.0) ** 2) ** trajectory.end.steps
        found = float((square[-1] / square[0]).mean())
        table.append(SceneRow("growth of r²", found, growth, "(1+γ²)ⁿ, of Euler's steps", tolerance=1e-9 * growth))
    else:
        table.append(SceneRow("mean r² at the end", float(square[-1].mean())))
    table.append(SceneRow("mean distance from the data", float(theta[-1].norm(dim=-1).mean())))
    if play.dim == 2:
        table.append(_turning(play, theta, phi, trajectory.end.time))
    table += _factors(play)
    average = exponential_average(_path_values(trajectory), 0.99)[-1, ..., : play.dim]
    table.append(SceneRow("mean distance of the average of the path", float(average.norm(dim=-1).mean())))
    return table


def _turning(play: _Play, theta: torch.Tensor, phi: torch.Tensor, time: float) -> SceneRow:
    """Compare the angular momentum J with its closed form."""
    angular = play.game.angular(theta, phi)
    if play.game.kind == "wgan" or play.game.penalty == "gp":
        return SceneRow("largest change of J", float((angular[-1] - angular[0]).abs().max()))
    moved = float((angular[-1] - angular[0] * math.exp(-play.game.decay * time)).abs().max())
    said = "J' = -κJ whatever the game"
    return SceneRow("largest error of J", moved, 0.0, said, tolerance=2e-3, remark="the integrator's own error")


def _factors(play: _Play) -> list[SceneRow]:
    """By what one step multiplies near the solution."""
    step = play.settings.step
    if not (play.free and play.game.kind in _PULL) or step is None:
        return []
    table: list[SceneRow] = []
    point = torch.zeros(2 * play.dim, dtype=torch.float64)
    for name, exact in (("euler", math.hypot(1.0, step * _PULL[play.game.kind])), ("semi-implicit", 1.0)):
        radius = local_spectral_radius(play.game, integrator(name), point, step=step)
        what = "simultaneous" if name == "euler" else "alternating"
        table.append(
            SceneRow(
                f"factor of one {what} step near the solution",
                radius,
                exact,
                "√(1+γ²c²): it drives apart" if name == "euler" else "1: it goes round",
                tolerance=1e-7,
            )
        )
    return table


def _pictures(play: _Play, trajectory: Trajectory) -> list[Picture]:
    both = _path_values(trajectory)
    far = float(both.abs().max()) * 1.08
    drawn = []
    if play.dim == 1:
        portrait = phase_portrait(play.game, (-far, far), (-far, far), points=61, names=("generator θ", "critic φ"))
        drawn.append(
            phase(
                portrait,
                both,
                heading="The game as motion in its plane",
                reading="Circles go round the solution without end; spirals inward end there, spirals outward never.",
            )
        )
    few = trajectory["paths"]
    theta, phi = few.values[..., : play.dim], few.values[..., play.dim :]
    square = play.game.radius_square(theta, phi)
    drawn.append(
        curves(
            "radius",
            "Does the game come to an end?",
            "Each line is a path: level means that the path circles without end, falling that it converges.",
            "r² = |θ|²+|φ|²",
            [
                PlottedCurve("paths", array(few.times), array(square[:, path]), "purple", width=1.3, alpha=0.7)
                for path in range(min(square.shape[1], 12))
            ],
            log=bool((square > 0).all()),
        )
    )
    if play.dim == 2:
        angular = play.game.angular(theta, phi)
        drawn.append(
            curves(
                "angular",
                "What keeps it from ending",
                "Where J = θ₁φ₂ - θ₂φ₁ is level and not zero, the solution cannot be reached.",
                "J",
                [
                    PlottedCurve("paths", array(few.times), array(angular[:, path]), "blue", width=1.3, alpha=0.7)
                    for path in range(min(angular.shape[1], 12))
                ],
            )
        )
    return drawn


def _path_values(trajectory: Trajectory) -> torch.Tensor:
    return trajectory["paths"].values.double()
