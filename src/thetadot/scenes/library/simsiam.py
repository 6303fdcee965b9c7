r"""SimSiam's toy: does the encoder collapse?

l = ½(φθ-θ)²,  with or without the gradient through the second θ; ends in closed form
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, cast

import torch

from thetadot.analysis import phase_portrait
from thetadot.core.tensors import tensor_of
from thetadot.scenes.pictures.base import Key, Panel, array, empty_figure, marks, picture
from thetadot.scenes.pictures.phase import phase
from thetadot.scenes.rows import SceneRow
from thetadot.scenes.scene import SceneSettings, Setup
from thetadot.systems import SimSiam

if TYPE_CHECKING:
    from thetadot.report.figures.picture import Picture
    from thetadot.simulation import Trajectory
    from thetadot.systems.simsiam import Kept

_NEAR = 1e-3


@dataclass(frozen=True, eq=False)
class _SimSiamCase:
    """A toy, and where it begins."""

    system: SimSiam
    reach: float
    theta: torch.Tensor
    phi: torch.Tensor
    start: dict[str, torch.Tensor]


def make(settings: SceneSettings) -> Setup:
    """A grid of starts."""
    system = SimSiam(cast("Kept", settings.word("kept")))
    reach = settings.number("reach")
    # points of a plane-filling sequence, so that any number of paths covers it evenly
    at = torch.arange(1, settings.paths + 1, dtype=torch.float64)
    theta = ((at * 0.7548776662466927) % 1.0 * 2.0 - 1.0) * reach
    phi = ((at * 0.5698402909980532) % 1.0 * 2.0 - 1.0) * reach + 0.5
    start = {"position": theta[:, None], "predictor": phi[:, None]}
    case = _SimSiamCase(system, reach, theta, phi, start)
    return Setup(system, start, partial(_rows, case), partial(_pictures, case), names=("θ",))


def _rows(case: _SimSiamCase, trajectory: Trajectory) -> list[SceneRow]:
    series = trajectory["states"]
    theta, phi = series.values[-1].double(), tensor_of(dict(series.variables), "predictor")[-1].double()
    ends = case.system.limit(case.start["position"], case.start["predictor"])
    falls = case.system.collapses(case.start["position"], case.start["predictor"])
    distance = torch.maximum((theta - ends[0]).abs(), (phi - ends[1]).abs())
    level = case.system.invariant(case.start["position"], case.start["predictor"])
    drift = (case.system.invariant(theta, phi) - level).abs() / (1.0 + level.abs())
    arrived = (distance < 0.02).double().mean()
    told = (theta.abs() < 0.1) == falls
    return [
        SceneRow(
            "share of paths at their predicted end",
            float(arrived),
            1.0,
            "closed form, to 0.02",
            tolerance=0.06,
            remark="those near a border take long",
        ),
        SceneRow(
            "share whose collapse was predicted",
            float(told.double().mean()),
            1.0,
            "by the start alone, closed form",
            tolerance=0.06,
            remark="those near a border take long",
        ),
        SceneRow(
            "median distance from the predicted end", float(distance.median()), 0.0, "closed form", tolerance=_NEAR
        ),
        SceneRow(
            "largest change of the invariant",
            float(drift.max()),
            0.0,
            "φ²-θ², (φ-1)²-θ² or φ+θ²/2",
            tolerance=1e-4,
            remark="the integrator's own error",
        ),
        SceneRow("share that collapses", float(falls.double().mean()), None, "of these starts"),
    ]


def _pictures(case: _SimSiamCase, trajectory: Trajectory) -> list[Picture]:
    few = trajectory["paths"].values
    # its rests are two whole lines, which the nullclines show
    portrait = replace(
        phase_portrait(
            case.system,
            (-case.reach, case.reach),
            (-case.reach + 0.3, case.reach + 0.7),
            points=61,
            names=("encoder θ", "predictor φ"),
        ),
        fixed_points=(),
        separatrices=(),
    )
    falls = case.system.collapses(case.start["position"], case.start["predictor"])[:, 0][:1500]
    plot = empty_figure(
        420, (-case.reach * 1.05, case.reach * 1.05), (0.5 - case.reach * 1.05, 0.5 + case.reach * 1.05)
    )
    plot.xaxis[0].axis_label = "encoder θ at the start to the right, predictor φ upward"
    for some, role in ((falls, "red"), (~falls, "green")):
        marks(plot, array(case.theta[:1500][some]), array(case.phi[:1500][some]), role, size=7, alpha=0.7)
    kind = {"stop": "with the stopped gradient", "full": "with the full gradient", "second": "with the rest alone"}
    return [
        phase(
            portrait,
            few,
            heading="Where encoder and predictor go",
            reading="The whole line φ = 1 is at rest, and so is θ = 0, where the encoder has collapsed.",
        ),
        picture(
            "basin",
            f"Which starts collapse, {kind[case.system.kept]}",
            "Red starts lose their encoder, green ones keep it: it depends on the start, not on the trick alone.",
            [Panel("Plane of starts", "", plot)],
            [Key("dot", "red", "collapses"), Key("dot", "green", "lives on")],
        ),
    ]
