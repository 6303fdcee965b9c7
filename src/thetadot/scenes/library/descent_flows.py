r"""Ways down a loss with a good and a bad minimum.

gradient dL/dt = -‖g‖²,    sign -‖g‖₁,    normalized -‖g‖,    Polyak -(L-L*): L - L* = (L₀-L*)e^{-t}
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from thetadot.analysis import loss_rate
from thetadot.errors import InadmissibleValue
from thetadot.integrators import Euler
from thetadot.integrators.adaptive import Embedded
from thetadot.potentials import UnevenWells
from thetadot.scenes.catalogue import SCENES
from thetadot.scenes.pictures.base import array
from thetadot.scenes.pictures.landscape import on_curve
from thetadot.scenes.pictures.over_time import PlottedCurve, curves
from thetadot.scenes.rows import SceneRow
from thetadot.scenes.scene import SceneSettings, Setup
from thetadot.scenes.spelling import argument
from thetadot.simulation import Trajectory, simulate
from thetadot.systems import GradientFlow, NormalizedFlow, PolyakFlow, Problem, SignFlow

if TYPE_CHECKING:
    from thetadot.report.figures.picture import Picture

FLOWS: dict[str, Any] = {
    "gradient": GradientFlow,
    "sign": SignFlow,
    "normalized": NormalizedFlow,
    "polyak": PolyakFlow,
}
_ROLES = {"gradient": "blue", "sign": "green", "normalized": "purple", "polyak": "orange"}


@dataclass(frozen=True, eq=False)
class _DescentCase:
    """A loss, the flow that all follow, and where they begin."""

    settings: SceneSettings
    flow: str
    wells: UnevenWells
    first: float
    start: torch.Tensor


def make(settings: SceneSettings) -> Setup:
    """Start all paths in a row, the last one at the given start."""
    flow = settings.word("flow")
    if flow not in FLOWS:
        raise InadmissibleValue(f"flow={flow!r} is unknown. Pass {argument('flow', '')} one of {', '.join(FLOWS)}.")
    wells = UnevenWells()
    problem = Problem(FLOWS[flow](), wells)
    first = settings.number("start")
    near = wells.minima[1] + 0.25
    start = torch.linspace(near, first, settings.paths, dtype=torch.float64).flip(0)[:, None]
    case = _DescentCase(settings, flow, wells, first, start)
    return Setup(problem, start, partial(_rows, case), partial(_pictures, case), names=("x",), shown=())


def _compared(case: _DescentCase) -> dict[str, Trajectory]:
    """The one path from the start, by Euler's steps of every flow: they pass where a flow itself would end."""
    step = case.settings.step or case.settings.time / math.ceil(case.settings.time / SCENES["descent-flows"].step)
    found = {}
    for name, kind in FLOWS.items():
        found[name] = simulate(
            Problem(kind(), case.wells),
            Euler(),
            case.start[:1],
            time=case.settings.time,
            step=step,
            save=400,
        )
    return found


def _rows(case: _DescentCase, trajectory: Trajectory) -> list[SceneRow]:
    points = case.start
    slope = case.wells.gradient(points)
    excess = case.wells(points)
    known = {
        "gradient": ("-‖∇L‖²", -(slope**2).sum(-1)),
        "sign": ("-‖∇L‖₁", -slope.abs().sum(-1)),
        "normalized": ("-‖∇L‖", -slope.norm(dim=-1)),
        "polyak": ("-(L-L*)", -excess),
    }
    table = []
    for name, kind in FLOWS.items():
        formula, exact = known[name]
        error = float((loss_rate(Problem(kind(), case.wells), points) / exact - 1.0).abs().max())
        table.append(
            SceneRow(f"{name}: largest error of dL/dt", error, 0.0, f"{formula}, at the starts", tolerance=1e-12)
        )
    series = trajectory["states"]
    end = series.values[-1].double()
    if case.flow == "polyak":
        at = min(len(series.times) - 1, max(1, round(0.05 * (len(series.times) - 1))))
        time = float(series.times[at])
        lost = float(case.wells(series.values[at].double())[0])
        exact_loss = float(case.wells(case.start)[0]) * math.exp(-time)
        # Euler's step makes of e^{-γ} 1-γ + γ²/2 (gᵀHg/‖g‖⁴)(L-L*), of the size of the step
        rule = case.settings.rule
        error = 100.0 * rule.rtol if isinstance(rule, Embedded) else 4.0 * (case.settings.step or 0.0) * time
        table.append(
            SceneRow(
                f"L at time {time:.3g}, from the start",
                lost,
                exact_loss,
                "L₀ exp(-t), along one slope",
                tolerance=error * exact_loss + 1e-12,
                remark="the step's error",
            )
        )
    for name, other in _compared(case).items():
        last = other.states[-1]
        lowest = float(case.wells(other.states.double()).min())
        table.append(SceneRow(f"{name}: where it ends", float(last), None, f"lowest loss on the way {lowest:.3g}"))
    if case.flow == "gradient":
        table.append(
            SceneRow(
                "furthest from the near minimum",
                float((end - case.wells.minima[1]).abs().max()),
                0.0,
                "gradient flow stays in its valley",
                tolerance=1e-3,
            )
        )
    return table


def _pictures(case: _DescentCase, trajectory: Trajectory) -> list[Picture]:
    series = trajectory["states"]
    drawn = [on_curve(case.wells, series.times, series.values, (-0.7, max(case.first, 3.9) + 0.1), 7.0)]
    others = _compared(case)
    drawn.append(
        curves(
            "ways",
            f"Four ways down from {case.first:g}",
            "The minimum at 0.41 is good and the one at 3 is not. Gradient flow stops at the first it meets; "
            "Polyak's runs through what is above its aim. In one coordinate sign and normalized flow are "
            "the same.",
            "x",
            [
                PlottedCurve(
                    name,
                    array(one.times),
                    array(one.states[:, 0, 0]),
                    _ROLES[name],
                    width=3.0 if name == case.flow else 1.8,
                )
                for name, one in others.items()
            ],
        )
    )
    drawn.append(
        curves(
            "loss",
            "How fast the loss falls",
            "On this scale a straight line is an exponential: Polyak's, while there is a slope.",
            "L - L*",
            [
                PlottedCurve(
                    name,
                    array(one.times),
                    array(case.wells(one.states.double())[:, 0]),
                    _ROLES[name],
                    width=3.0 if name == case.flow else 1.8,
                )
                for name, one in others.items()
            ],
            log=True,
        )
    )
    return drawn
