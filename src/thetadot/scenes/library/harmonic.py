r"""The harmonic well with friction and heat: the exact law of the simulation itself, not only of the equation.

variance of a stationary position: T/h of the equation; of a step, the discrete Lyapunov equation
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch

from thetadot.analysis import linearize, stationary_variance
from thetadot.errors import require
from thetadot.integrators.adaptive import Embedded
from thetadot.potentials import Harmonic
from thetadot.scenes.pictures.base import array
from thetadot.scenes.pictures.landscape import on_curve
from thetadot.scenes.pictures.law import histogram
from thetadot.scenes.rows import SceneRow
from thetadot.scenes.scene import SceneSettings, Setup
from thetadot.scenes.spelling import argument
from thetadot.systems import Kramers, Langevin, Problem

if TYPE_CHECKING:
    from thetadot.report.figures.picture import Picture
    from thetadot.simulation import Trajectory


@dataclass(frozen=True, eq=False)
class _HarmonicCase:
    """A well, and what is let go in it."""

    settings: SceneSettings
    curvature: float
    start: float
    temperature: float
    system: Kramers | Langevin


def make(settings: SceneSettings) -> Setup:
    """Kramers' equation where there is a friction, overdamped otherwise."""
    curvature, start = settings.number("curvature"), settings.number("start")
    require(curvature > 0, f"curvature={curvature:g}", "is not positive", f"Pass {argument('curvature', 1)}.")
    temperature = settings.temperature or 0.0
    system = Langevin(temperature) if settings.friction is None else Kramers(settings.friction, temperature)
    initial = torch.tensor([[start]], dtype=torch.float64)
    case = _HarmonicCase(settings, curvature, start, temperature, system)
    return Setup(
        Problem(system, Harmonic(curvature)), initial, partial(_rows, case), partial(_pictures, case), names=("x",)
    )


def _rows(case: _HarmonicCase, trajectory: Trajectory) -> list[SceneRow]:
    rule, step = case.settings.rule, case.settings.step
    if step is None or isinstance(rule, Embedded):
        return _swing(case, trajectory)
    linear = linearize(case.system, rule, step=step, curvature=case.curvature)
    left = linear.spectral_radius() ** (2.0 * case.settings.time / step)
    end = trajectory["states"].values[-1].double().flatten()
    square = float((end * end).mean())
    error = float((end * end).std()) / math.sqrt(len(end)) if len(end) > 1 else 0.0
    table = []
    if linear.spectral_radius() < 1.0 - 1e-12:
        exact = stationary_variance(case.system, rule, step=step, curvature=case.curvature)
        # a start at x keeps the share left of x², times what a resonance may make of it
        kept = 4.0 * left * (case.start * case.start + case.temperature / case.curvature)
        remark = "the tolerance is what is left of the start" if kept > 1e-9 else ""
        table.append(
            SceneRow(
                "mean of x² at the end",
                square,
                exact,
                "the step's own law (discrete Lyapunov equation)",
                error,
                kept + 1e-12,
                remark,
                "other method",
            )
        )
        table.append(
            SceneRow(
                "the same, of the equation",
                square,
                case.temperature / case.curvature,
                "T/h, from which the step departs",
                error,
                kept + 1e-12 + abs(exact - case.temperature / case.curvature),
                "the tolerance is the step's departure",
            )
        )
    table.append(SceneRow("largest factor of a step", linear.spectral_radius(), None, "below 1: the step is stable"))
    return table


def _swing(case: _HarmonicCase, trajectory: Trajectory) -> list[SceneRow]:
    """Without noise all paths are one, exp(tA)(x, 0)."""
    friction = case.settings.friction
    if friction is None:
        exact = case.start * math.exp(-case.curvature * trajectory.end.time)
    else:
        field = torch.tensor([[0.0, 1.0], [-case.curvature, -friction]], dtype=torch.float64)
        exact = case.start * float(torch.linalg.matrix_exp(trajectory.end.time * field)[0, 0])
    found = float(trajectory["states"].values[-1, 0, 0])
    size = max(abs(case.start), 1.0)
    return [SceneRow("x at the end", found, exact, "the damped swing, in closed form", tolerance=1e-3 * size)]


def _pictures(case: _HarmonicCase, trajectory: Trajectory) -> list[Picture]:
    series = trajectory["states"]
    wide = max(abs(case.start) * 1.1, 4.5 * math.sqrt(case.temperature / case.curvature), 1e-3)
    x = torch.linspace(-wide, wide, 300, dtype=torch.float64)
    law = None
    if case.temperature > 0 and case.settings.friction != 0:  # without friction no heat comes in
        variance = case.temperature / case.curvature
        law = (array(x), array((-x * x / (2 * variance)).exp() / math.sqrt(2 * math.pi * variance)))
    top = case.curvature * wide * wide / 2.0
    return [
        on_curve(Harmonic(case.curvature), series.times, series.values, (-wide, wide), top),
        histogram(series.times, series.values[..., 0], (-wide, wide), law=law, labels=("exp(-L/T)", "")),
    ]
