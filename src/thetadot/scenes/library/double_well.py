r"""The double well: a law that is reached by rare escapes.

dx = -U' dt + √(2T) dW,  U = b ((x/a)² - 1)²;    mean of an odd function ~ e^(-gap·t),  gap = 2k

With friction, Kramers' motion: the law of its position is that of the kinetic equation, summed over velocities.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import torch

from thetadot.density import Gibbs, Grid, Saddle
from thetadot.errors import require
from thetadot.potentials import DoubleWell
from thetadot.scenes.laws import CELLS, laws
from thetadot.scenes.pictures.base import array
from thetadot.scenes.pictures.landscape import on_curve
from thetadot.scenes.pictures.law import histogram
from thetadot.scenes.pictures.over_time import PlottedCurve, curves
from thetadot.scenes.rows import SceneRow, mean_row, share_row
from thetadot.scenes.scene import SceneSettings, Setup
from thetadot.scenes.spelling import argument
from thetadot.simulation import Save
from thetadot.systems import Kramers, Langevin, Problem

if TYPE_CHECKING:
    from thetadot.report.figures.picture import Picture
    from thetadot.scenes.laws import Laws
    from thetadot.simulation import Trajectory

_TIMES = 100
_RELAXED = 7.0  # e^-7 is left of the start
_SHARE = 0.2  # of T over the barrier, above which Kramers' formula says little


@dataclass(frozen=True, eq=False)
class _DoubleWellCase:
    """A heated double well, its law at rest, and at any time."""

    settings: SceneSettings
    temperature: float
    well: DoubleWell
    edge: float
    grid: Grid
    law: Gibbs
    laws: Laws | None

    @property
    def overdamped(self) -> bool:
        """Whether there is no inertia."""
        return self.settings.friction is None

    @property
    def relaxed(self) -> bool:
        """Whether energy came into equilibrium: with friction λ what is left of the start falls like e^(-λt)."""
        friction = self.settings.friction
        return friction is None or friction * self.settings.time > _RELAXED

    @property
    def slack(self) -> float:
        """Bias of ensemble means due to the step; negligible for positions under BAOAB."""
        return _slack(self.settings.step or 0.0, self.well, self.temperature) if self.overdamped else 0.0


def make(settings: SceneSettings) -> Setup:
    """Start all paths in the left well, at rest."""
    temperature = settings.temperature or 0.0
    require(
        temperature > 0,
        f"temperature={temperature:g}",
        "leaves the paths at rest",
        f"Pass {argument('temperature', 0.2)}.",
    )
    well = DoubleWell(settings.number("barrier"), settings.number("half_width"))
    system = Langevin(temperature) if settings.friction is None else Kramers(settings.friction, temperature)
    problem = Problem(system, well)
    # the box ends where the density is e^-30 of that in the wells
    edge = well.half_width * math.sqrt(1.0 + math.sqrt(30.0 * temperature / well.barrier))
    grid = Grid((-edge, edge), CELLS)
    pace = math.sqrt(8.0 * well.barrier) / well.half_width
    known = laws(problem, (-edge, edge), -well.half_width, settings.time, pace)
    start = torch.tensor([[-well.half_width]], dtype=torch.float64)
    case = _DoubleWellCase(settings, temperature, well, edge, grid, Gibbs(well, temperature, grid), known)
    return Setup(
        problem,
        start,
        partial(_rows, case),
        partial(_pictures, case),
        {"sides": Save(_mean_side, count=_TIMES)},
        ("x",),
    )


def _known_times(trajectory: Trajectory) -> torch.Tensor:
    """All at which states or sides are known."""
    every = {*trajectory["states"].times.tolist(), *trajectory["sides"].times.tolist()}
    return torch.tensor(sorted(every), dtype=torch.float64)


def _at(times: torch.Tensor, every: torch.Tensor) -> torch.Tensor:
    return torch.searchsorted(every, times)


def _rows(case: _DoubleWellCase, trajectory: Trajectory) -> list[SceneRow]:
    series = trajectory["states"]
    x = series.values[-1].double().flatten()
    table = [_rested(case, "mean of x² at the end", x * x, trajectory)]
    if case.laws is not None:
        source, every = f"{case.laws.name} at that time", _known_times(trajectory)
        for name, values, of in (
            ("mean of x", x, lambda x: x),
            ("mean of U", case.well(x[:, None]), lambda x: case.well(x[:, None])),
        ):
            mean, doubt = (float(each[-1]) for each in case.laws.mean(every, of))
            table.append(mean_row(f"{name} at the end", values, mean, source, case.slack + doubt, "grid solution"))
        left, doubt = (float(each[-1]) for each in case.laws.mean(every, lambda x: (x < 0).double()))
        share = share_row("share of paths on the left", x < 0, left, source, "grid solution")
        table.append(replace(share, tolerance=case.slack + doubt))
    if case.settings.friction == 0:  # no heat comes in: all stay where they were let go
        moved = float((x + case.well.half_width).abs().max())
        table.append(SceneRow("furthest from the start", moved, 0.0, "at rest in a minimum, without noise"))
        return table
    table += _escapes(case, trajectory)
    distance, chance = case.law.discrepancy(series.values[-1])
    table.append(SceneRow("distance of histogram and Gibbs", distance, None, f"{chance:.3g} by chance once at rest"))
    return table


def _pictures(case: _DoubleWellCase, trajectory: Trajectory) -> list[Picture]:
    series, sides = trajectory["states"], trajectory["sides"]
    every = _known_times(trajectory)
    evolving, named = None, ""
    if case.laws is not None:
        frames = case.laws.densities(every)[_at(series.times, every)]
        evolving, named = (array(case.laws.equations[0].grid.axes[0]), array(frames)), f"{case.laws.name} at this time"
    shown = (-0.93 * case.edge, 0.93 * case.edge)
    drawn = [
        on_curve(case.well, series.times, series.values, shown, 4.0 * case.well.barrier + 4.0 * case.temperature),
        histogram(
            series.times,
            series.values[..., 0],
            shown,
            law=None if case.settings.friction == 0 else (array(case.grid.axes[0]), array(case.law.density)),
            evolving=evolving,
            labels=("Gibbs' law, exp(-U/T)", named),
        ),
    ]
    t = sides.times
    rate = _kramers(case.well, case.temperature, case.settings.friction)
    lines = [PlottedCurve("paths", array(t), array(sides.values[:, 0].abs()), "blue", width=2.5)]
    if case.laws is not None and case.overdamped:
        gap = case.laws.equations[0].spectral_gap()
        lines.append(
            PlottedCurve("slowest decay of the equation", array(t), array((-gap * t).exp()), "orange", "dashed")
        )
    elif case.laws is not None:
        left = case.laws.mean(every, lambda x: -x.sign())[0][_at(t, every)]
        lines.append(PlottedCurve(case.laws.name, array(t), array(left), "orange", "dashed"))
    if rate is not None:
        lines.append(PlottedCurve("Kramers' formula", array(t), array((-2.0 * rate * t).exp()), "green", "dashed"))
    floor = 1.0 / math.sqrt(series.values.shape[1])
    drawn.append(
        curves(
            "escape",
            "How fast the wells forget where the paths began",
            "Share of paths on the left less that on the right: a straight line on this scale falls at twice the "
            "rate of escape. It ends in noise, about "
            f"{floor:.2g}.",
            "Left less right",
            [*lines],
            log=True,
        )
    )
    return drawn


def _mean_side(_: float, variables: dict[str, torch.Tensor]) -> torch.Tensor:
    return variables["position"].sign().mean().reshape(1)


def _slack(step: float, well: DoubleWell, temperature: float) -> float:
    """Return the first-order bias of means under Euler's step, bounded above."""
    curvature = 8.0 * well.barrier / well.half_width**2
    return temperature * min(step * curvature / 2.0, 0.05)


def _rested(case: _DoubleWellCase, name: str, squares: torch.Tensor, trajectory: Trajectory) -> SceneRow:
    expected = float(case.law.covariance())
    if not case.relaxed:
        why = "yet: friction times time is below 7" if case.settings.friction else "without friction"
        return mean_row(name, squares, None, f"Gibbs' law does not hold {why}")
    row = mean_row(name, squares, expected, "Gibbs' law", 0.01 * expected, "quadrature")
    if case.laws is None:
        return replace(row, remark="1% for the step")
    missing = abs(float(case.laws.mean(_known_times(trajectory), torch.square)[0][-1]) - expected)
    far = missing > 1e-3 * abs(expected)
    # the bias of the step and what has not come to rest yet
    return replace(row, tolerance=missing + 0.01 * expected, remark="not at rest yet" if far else "1% for the step")


def _escapes(case: _DoubleWellCase, trajectory: Trajectory) -> list[SceneRow]:
    """The rate from the decay of the mean side between two times at which it is well above its noise."""
    times, sides = trajectory["sides"].times, trajectory["sides"].values
    paths, settings, well = trajectory["states"].values.shape[1], case.settings, case.well
    left = -sides[:, 0].double()
    known = (left > max(0.05, 6.0 / math.sqrt(paths))) & (times > 0.1 * times[-1])
    where = known.nonzero().flatten()
    if len(where) < 2 or not bool(known[where[0] : where[-1] + 1].all()):
        return []
    first, last = int(where[0]), int(where[-1])
    span = float(times[last] - times[first])
    a, b = float(left[first]), float(left[last])
    rate = math.log(a / b) / (2.0 * span)
    # b is a mean of signs whose mean, given the signs before, is theirs times b/a
    error = math.sqrt(max(1.0 / b**2 - 1.0 / a**2, 1e-12) / paths) / (2.0 * span)
    table = []
    if case.laws is not None and case.overdamped:
        exact = case.laws.equations[0].spectral_gap() / 2.0
        slack = 0.5 * (settings.step or 0.0) * exact * 8.0 * well.barrier / well.half_width**2 + 0.01 * exact
        source, remark = f"half the spectral gap of the {case.laws.name}", "1% for the faster parts, and the step"
        table.append(SceneRow("escapes per time", rate, exact, source, error, slack, remark, "grid solution"))
    elif case.laws is not None:
        # what is faster than escape takes long itself where friction is strong or weak
        every = _known_times(trajectory)
        mean, doubt = (each[_at(times[[first, last]], every)] for each in case.laws.mean(every, lambda x: -x.sign()))
        exact = float((mean[0] / mean[1]).log()) / (2.0 * span)
        slack = float((doubt / mean).sum()) / (2.0 * span)
        source = f"{case.laws.name}, between the same times"
        said = "the equation's cells"
        table.append(SceneRow("escapes per time", rate, exact, source, error, slack, said, "grid solution"))
    formula = _kramers(well, settings.temperature or 0.0, settings.friction)
    if formula is not None and case.relaxed:
        table.append(_beside(rate, error, formula, (settings.temperature or 0.0) / well.barrier))
    return table


def _beside(rate: float, error: float, formula: float, share: float) -> SceneRow:
    """Kramers' formula, which is held against where its own error leaves something to be said."""
    name = "escapes per time, once more"
    if share > _SHARE:
        said = f"Kramers' formula gives {formula:.3g}, but is for T well below the barrier: T/b = {share:.2g}"
        return SceneRow(name, rate, None, said, error)
    remark = f"its own error is a share of about T/b = {share:.2g}"
    source = "Kramers' formula, for T well below the barrier"
    return SceneRow(name, rate, formula, source, error, share * formula, remark, "asymptotic formula")


def _kramers(well: DoubleWell, temperature: float, friction: float | None) -> float | None:
    """The formula; None where there is no barrier for it."""
    if temperature >= well.barrier:
        return None
    return Saddle(well, (-well.half_width,), (0.0,)).rate(temperature, friction)
