r"""Mechanics as geometry: Newton's path is a straightest line of Jacobi's metric.

ds² = (E-U) dx²: the geodesic of length s, and Newton's ẍ = -∇U by the clock that the geodesic carries
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch

from thetadot.core.tensors import tensor_of
from thetadot.integrators import RungeKutta
from thetadot.scenes.pictures.base import Key, Panel, array, empty_figure, lines, marks, picture
from thetadot.scenes.pictures.landscape import contours
from thetadot.scenes.rows import SceneRow
from thetadot.scenes.scene import SceneSettings, Setup
from thetadot.simulation import Trajectory, simulate
from thetadot.systems import ODE, Jacobi

if TYPE_CHECKING:
    from thetadot.report.figures.picture import Picture

_STEPS = 2000


@dataclass(frozen=True)
class Lens:
    """A hollow in the plane, -d e^{-|x|²/2}; a hill for d < 0."""

    depth: float

    def __call__(self, position: torch.Tensor) -> torch.Tensor:
        """U of (..., 2)."""
        return -self.depth * (-0.5 * (position * position).sum(-1)).exp()

    def gradient(self, position: torch.Tensor) -> torch.Tensor:
        """Return the gradient -U x."""
        return -position * self(position).unsqueeze(-1)


_SHOWN = 400
_FEW = 16


@dataclass(frozen=True, eq=False)
class _JacobiCase:
    """Rays, where they begin, and Newton's ways once they are known."""

    wells: Lens
    system: Jacobi
    place: torch.Tensor
    start: dict[str, torch.Tensor]
    known: dict[int, torch.Tensor]


def make(settings: SceneSettings) -> Setup:
    """Start parallel rays on the left, moving towards a hollow (or a hill)."""
    wells = Lens(settings.number("depth"))
    system = Jacobi(wells, settings.number("energy"))
    across = torch.linspace(-1.0, 1.0, settings.paths, dtype=torch.float64) * settings.number("width")
    place = torch.stack((torch.full_like(across, -3.0), across), -1)
    begun = system.start(place, torch.tensor([[1.0, 0.0]], dtype=torch.float64).expand_as(place).contiguous())
    start = {name: tensor_of(begun, name) for name in begun}
    known: dict[int, torch.Tensor] = {}
    case = _JacobiCase(wells, system, place, start, known)
    return Setup(system, start, partial(_rows, case), partial(_pictures, case), names=("x", "y"), shown=())


def _newton_paths(case: _JacobiCase, trajectory: Trajectory) -> torch.Tensor:
    """Newton's ways (n, paths, 5) over the time that each geodesic's clock shows, in units of it."""
    if id(trajectory) in case.known:
        return case.known[id(trajectory)]
    clock = tensor_of(dict(trajectory["states"].variables), "clock")[-1][:, :1].double()
    position, velocity = case.start["position"], case.start["velocity"]
    room = case.system.energy - case.wells(position).unsqueeze(-1)
    speed = velocity * room * math.sqrt(2.0)  # dx/dt = x' ds/dt

    def field(state: torch.Tensor) -> torch.Tensor:
        x, v, time = state[..., :2], state[..., 2:4], state[..., 4:]
        return torch.cat((time * v, -time * case.wells.gradient(x), 0.0 * time), -1)

    whole = torch.cat((position, speed, clock), -1)
    case.known[id(trajectory)] = simulate(
        ODE(field), RungeKutta(), whole, time=1.0, step=1.0 / _STEPS, save=_SHOWN
    ).states
    return case.known[id(trajectory)]


def _rows(case: _JacobiCase, trajectory: Trajectory) -> list[SceneRow]:
    series = trajectory["states"]
    end = series.values[-1].double()
    other = _newton_paths(case, trajectory)[-1]
    velocity = tensor_of(dict(series.variables), "velocity")[-1].double()
    length = (case.system.energy - case.wells(end)) * (velocity * velocity).sum(-1)
    energy = 0.5 * (other[:, 2:4] ** 2).sum(-1) + case.wells(other[:, :2])
    clock = tensor_of(dict(series.variables), "clock")[-1]
    return [
        SceneRow(
            "furthest apart at the end",
            float((end - other[:, :2]).norm(dim=-1).max()),
            0.0,
            "Newton's path, by the geodesic's own clock",
            tolerance=1e-3,
            remark="where paths part fast, the step's error grows",
            reference="other method",
        ),
        SceneRow(
            "largest error of the unit length",
            float((length - 1.0).abs().max()),
            0.0,
            "(E-U)|x'|² = 1",
            tolerance=1e-4,
        ),
        SceneRow(
            "largest change of Newton's energy",
            float((energy - case.system.energy).abs().max()),
            0.0,
            "½|ẋ|² + U = E",
            tolerance=1e-6,
        ),
        SceneRow("mean time that passed", float(clock.mean())),
    ]


def _pictures(case: _JacobiCase, trajectory: Trajectory) -> list[Picture]:
    geodesics, other = array(trajectory["paths"].values[:, :_FEW, :2]), array(_newton_paths(case, trajectory)[:, :_FEW])
    right, high = float(geodesics[..., 0].max()) + 0.2, float(abs(geodesics[..., 1]).max()) + 0.3
    box = ((-3.2, right), (-high, high))
    plot = empty_figure(560, *box)
    plot.xaxis[0].axis_label = "x to the right, y upward"
    contours(plot, case.wells, box, max(0.0, -case.wells.depth) + 1e-9)
    lines(plot, list(geodesics[..., 0].T), list(geodesics[..., 1].T), "orange", width=3.0, alpha=0.85)
    lines(plot, list(other[..., 0].T), list(other[..., 1].T), "ink", width=1.4, alpha=1.0, dash="dashed")
    marks(plot, array(case.place[:_FEW, 0]), array(case.place[:_FEW, 1]), "ink", size=6)
    return [
        picture(
            "geodesics",
            "Straightest lines are Newton's paths",
            "Where the dashed line runs inside the broad one, geometry and mechanics agree: the hollow "
            "bends both as a lens bends light.",
            [Panel("The plane", "", plot)],
            [
                Key("line", "orange", "geodesics of Jacobi's metric"),
                Key("dashed", "ink", "Newton's paths"),
                Key("band", "blue", "the potential: the more colour, the lower"),
            ],
        )
    ]
