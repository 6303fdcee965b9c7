r"""The inverted pendulum that stands because its pivot shakes.

lθ̈ + λlθ̇ + [hω² cos ωt - g] θ = 0        (sin θ in place of θ with linear=0)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from thetadot.analysis import floquet, stability_chart
from thetadot.errors import require
from thetadot.scenes.pictures.base import Key, Panel, array, empty_figure, line, marks, paint, picture
from thetadot.scenes.pictures.over_time import PlottedCurve, curves
from thetadot.scenes.rows import SceneRow
from thetadot.scenes.scene import SceneSettings, Setup
from thetadot.scenes.spelling import argument
from thetadot.simulation import Save
from thetadot.systems import InvertedPendulum, mathieu_matrix

if TYPE_CHECKING:
    from collections.abc import Mapping

    from thetadot.analysis import Floquet
    from thetadot.report.figures.picture import Picture
    from thetadot.simulation import Trajectory

_CHART = 60


@dataclass(frozen=True, eq=False)
class _MathieuCase:
    """A pendulum, its least angle, and what a period does."""

    pendulum: InvertedPendulum
    small: float
    once: Floquet


def make(settings: SceneSettings) -> Setup:
    """Paths 0 and 1 begin at (1, 0) and (0, 1) times a small angle: after a period they are the monodromy matrix."""
    pendulum = InvertedPendulum(
        settings.number("frequency"),
        settings.number("height"),
        settings.number("length"),
        settings.number("gravity"),
        settings.friction or 0.0,
        linear=settings.number("linear") != 0,
    )
    require(
        settings.paths >= 2,
        f"paths={settings.paths}",
        "are too few for the monodromy matrix",
        f"Pass {argument('paths', 2)}.",
    )
    small = settings.number("angle")
    require(0 < small < math.pi, f"angle={small:g}", "is not between 0 and π", f"Pass {argument('angle', 0.1)}.")
    spread = torch.linspace(0.25, 1.0, settings.paths - 2, dtype=torch.float64) * small
    position = torch.cat((torch.tensor([small, 0.0], dtype=torch.float64), spread))[:, None]
    velocity = torch.zeros_like(position)
    velocity[1] = small
    period = _period(pendulum, settings.step)
    periods = int(settings.time / period * (1 + 1e-9))
    require(
        periods >= 1,
        f"time={settings.time:g}",
        "is less than a period",
        f"Pass {argument('time', f'{period:.12g}')}, or more.",
    )
    at = tuple(min(period * n, settings.time) for n in range(periods + 1))
    once = floquet(pendulum.matrix, pendulum.period)
    start = {"position": position, "velocity": velocity}
    case = _MathieuCase(pendulum, small, once)
    return Setup(
        pendulum,
        start,
        partial(_rows, case),
        partial(_pictures, case),
        {"periods": Save(_phase_point, times=at)},
        ("θ",),
        shown=(),
    )


def _period(pendulum: InvertedPendulum, step: float | None) -> float:
    """In whole steps, if they are of one length."""
    if step is None:
        return pendulum.period
    steps = pendulum.period / step
    whole = round(steps)
    require(
        abs(steps - whole) < 1e-3 * steps and whole >= 8,
        f"step={step:g}",
        f"does not cut a period of {pendulum.period:.6g} into equal parts, 8 or more",
        f"Pass {argument('step', f'{pendulum.period / max(whole, 32):.12g}')}.",
    )
    return whole * step


def _phase_point(_: float, variables: Mapping[str, torch.Tensor]) -> torch.Tensor:
    return torch.cat((variables["position"][:2], variables["velocity"][:2]), -1)


def _rows(case: _MathieuCase, trajectory: Trajectory) -> list[SceneRow]:
    columns = trajectory["periods"].values[1].double() / case.small
    trace, determinant = float(columns.diagonal().sum()), float(torch.linalg.det(columns))
    ripple = 2.0 * (case.pendulum.height / case.pendulum.length) ** 2
    table = [
        SceneRow(
            "trace of one period",
            trace,
            float(case.once.trace),
            "Floquet, Magnus' series",
            tolerance=1e-4 + (0.0 if case.pendulum.linear else case.small**2),
            remark="the step's error" if case.pendulum.linear else "sin θ is not θ",
            reference="other method",
        ),
        SceneRow(
            "volume after one period",
            determinant,
            math.exp(-case.pendulum.friction * case.pendulum.period),
            "Liouville: e^(-λP)",
            tolerance=1e-4 + (0.0 if case.pendulum.linear else case.small**2),
        ),
        SceneRow(
            "largest factor of a period",
            float(case.once.multipliers.abs().max()),
            None,
            "1 or below: it stands" if bool(case.once.stable) else "above 1: it falls",
        ),
    ]
    if bool(case.once.stable) and case.pendulum.slow_square > 0 and case.pendulum.friction == 0:
        slow = float(case.once.exponents.imag.abs().max())
        table.append(
            SceneRow(
                "slow frequency",
                slow,
                math.sqrt(case.pendulum.slow_square),
                "averaging, to leading order in h/l",
                tolerance=8.0 * max(ripple, 1e-4) * slow,
                remark="of order (h/l)²",
                reference="asymptotic formula",
            )
        )
    furthest = float(trajectory["states"].values.abs().max())
    table.append(SceneRow("furthest from upright, in radians", furthest))
    return table


def _pictures(case: _MathieuCase, trajectory: Trajectory) -> list[Picture]:
    few = trajectory["paths"]
    t = few.times
    drawn = [PlottedCurve("the pendulum", array(t), array(few.values[:, 0, 0]), "blue", width=1.6)]
    if case.pendulum.slow_square > 0 and case.pendulum.friction == 0:
        slow = case.small * (math.sqrt(case.pendulum.slow_square) * t).cos()
        drawn.append(PlottedCurve("averaged motion", array(t), array(slow), "orange", "dashed"))
    return [
        curves(
            "angle",
            "Does it stand?",
            "Upright is zero. Where shaking holds the pendulum up, it sways slowly about it, as the averaged "
            "motion says; where not, the line runs away.",
            "Angle from upright",
            drawn,
            unit="radian",
        ),
        _chart(case.pendulum),
    ]


def _chart(pendulum: InvertedPendulum) -> Picture:
    """Where Mathieu's equation is stable, and where this pendulum is in it."""
    a, q = pendulum.mathieu
    drives = torch.linspace(0.0, max(1.2, 1.3 * q), _CHART, dtype=torch.float64)
    reach = max(0.35, 1.3 * abs(a))
    curvatures = torch.linspace(-reach, reach, _CHART, dtype=torch.float64)
    chart = stability_chart(lambda t, x, y: mathieu_matrix(t, y, x), math.pi, drives, curvatures, names=("q", "a"))
    box = (float(drives[0]), float(drives[-1])), (float(curvatures[0]), float(curvatures[-1]))
    plot = empty_figure(380, *box)
    plot.xaxis[0].axis_label = "drive q = 2h/l to the right, curvature a = -4g/(lω²) upward"
    y, x = np.meshgrid(array(curvatures), array(drives), indexing="ij")
    stable = chart.stable.numpy()
    wide, high = (1.02 * float(side[1] - side[0]) for side in (drives, curvatures))
    good = plot.rect(
        x[stable].astype(np.float32),
        y[stable].astype(np.float32),
        width=wide,
        height=high,
        line_alpha=0,
        fill_alpha=0.35,
    )
    paint(good.glyph, fill_color="green")
    edge = np.linspace(0.0, box[0][1], 100)
    line(plot, edge, -(edge**2) / 2.0, "orange", dash="dashed")
    marks(plot, np.array([q]), np.array([a]), "ink", marker="diamond", size=14)
    return picture(
        "chart",
        "For which drives it stands",
        "Inside the green the motion stays bounded. Averaging gives the lower border for weak drives only; the upper "
        "one, where shaking overthrows it again, it does not know.",
        [Panel("Mathieu's plane", "", plot)],
        [
            Key("band", "green", "stable"),
            Key("dashed", "orange", "border by averaging, a = -q²/2"),
            Key("diamond", "ink", "this pendulum"),
        ],
    )
