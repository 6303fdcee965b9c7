r"""Geometric Brownian motion: the mean is not what happens to most.

dS = μS dt + σS dW;    ln S_T is normal, and a call's price is Black's and Scholes'
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch

from thetadot.errors import require
from thetadot.scenes.pictures.base import array
from thetadot.scenes.pictures.law import histogram
from thetadot.scenes.pictures.over_time import PlottedCurve, curves
from thetadot.scenes.rows import SceneRow, mean_row
from thetadot.scenes.scene import SceneSettings, Setup
from thetadot.scenes.spelling import argument
from thetadot.systems import GeometricBrownian

if TYPE_CHECKING:
    from thetadot.report.figures.picture import Picture
    from thetadot.simulation import Trajectory


@dataclass(frozen=True, eq=False)
class _BrownianCase:
    """A stock, and a call on it."""

    settings: SceneSettings
    stock: GeometricBrownian
    spot: float
    strike: float
    price: float


def make(settings: SceneSettings) -> Setup:
    """Start all paths at the spot price."""
    stock = GeometricBrownian(settings.number("growth"), settings.number("volatility"))
    spot, strike = settings.number("spot"), settings.number("strike")
    require(spot > 0, f"spot={spot:g}", "is not positive", f"Pass {argument('spot', 100)}.")
    require(
        stock.volatility > 0, "volatility=0", "leaves nothing to be simulated", f"Pass {argument('volatility', 0.2)}."
    )
    price = stock.call_price(spot, strike=strike, time=settings.time)
    start = torch.tensor([[spot]], dtype=torch.float64)
    case = _BrownianCase(settings, stock, spot, strike, price)
    return Setup(stock, start, partial(_rows, case), partial(_pictures, case), names=("S",), shown=())


def _rows(case: _BrownianCase, trajectory: Trajectory) -> list[SceneRow]:
    end = trajectory["states"].values[-1].double().flatten()
    time, step = trajectory.end.time, case.settings.step or 0.0
    mean, variance = case.stock.log_law(time)
    logs = (end.clamp_min(1e-300) / case.spot).log()
    steps = step * (abs(case.stock.growth) + case.stock.volatility**2) * (1.0 + math.sqrt(variance))
    paid = math.exp(-case.stock.growth * time) * (end - case.strike).clamp_min(0.0)
    count = len(end)
    middle = math.log(float(end.clamp_min(1e-300).median()) / case.spot)
    remark = "the step's error"
    return [
        mean_row("mean at the end", end, case.stock.mean(case.spot, time), "S₀ exp(μT)", steps * case.spot),
        SceneRow(
            "log of the median over the start",
            middle,
            mean,
            "(μ-σ²/2)T: Itô's correction",
            math.sqrt(math.pi * variance / 2.0 / count),
            steps,
            remark,
        ),
        SceneRow(
            "mean of the logarithm",
            float(logs.mean()),
            mean,
            "(μ-σ²/2)T",
            math.sqrt(variance / count),
            steps,
            remark,
        ),
        SceneRow(
            "its variance",
            float(logs.var()),
            variance,
            "σ²T",
            variance * math.sqrt(2.0 / count),
            steps * variance,
            remark,
        ),
        SceneRow(
            "discounted mean of a call",
            float(paid.mean()),
            case.price,
            "Black and Scholes",
            float(paid.std()) / math.sqrt(count),
            steps * case.price,
            remark,
        ),
    ]


def _pictures(case: _BrownianCase, trajectory: Trajectory) -> list[Picture]:
    few, band = trajectory["paths"], trajectory["band"]
    times = array(few.times)
    grown = case.spot * torch.exp(case.stock.growth * few.times)
    typical = case.spot * torch.exp((case.stock.growth - case.stock.correction) * few.times)
    ways = [
        PlottedCurve("paths", times, array(few.values[:, path, 0]), "purple", width=0.9, alpha=0.5)
        for path in range(min(few.values.shape[1], 24))
    ]
    return [
        curves(
            "paths",
            "Mean and median part",
            "The mean is pulled up by few that grow very much; half of the paths stay below the median, which "
            "grows by σ²/2 less.",
            "S",
            [
                *ways,
                PlottedCurve("mean, S₀ exp(μt)", times, array(grown), "orange", width=2.5),
                PlottedCurve("median, S₀ exp((μ-σ²/2)t)", times, array(typical), "blue", width=2.5),
                PlottedCurve("mean of the paths", array(band.times), array(band.values[:, 0, 5]), "ink", "dashed"),
                PlottedCurve("median of the paths", array(band.times), array(band.values[:, 0, 2]), "green", "dashed"),
            ],
            height=360,
        ),
        *_law(case, trajectory),
    ]


def _law(case: _BrownianCase, trajectory: Trajectory) -> list[Picture]:
    """Histograms after the start, where all paths are in one place."""
    series = trajectory["states"]
    t = series.times[1:]
    if not len(t):
        return []
    mean, variance = case.stock.log_law(trajectory.end.time)
    high = case.spot * math.exp(max(mean, 0.0) + 3.0 * math.sqrt(variance))
    x = torch.linspace(high / 400, high, 400, dtype=torch.float64)
    logs, spreads = zip(*(case.stock.log_law(float(time)) for time in t), strict=True)
    m, v = (torch.tensor(each, dtype=torch.float64)[:, None] for each in (logs, spreads))
    law = (-(((x / case.spot).log() - m) ** 2) / (2.0 * v)).exp() / (x * (2.0 * math.pi * v).sqrt())
    return [
        histogram(
            t,
            series.values[1:, :, 0],
            (0.0, high),
            evolving=(array(x), array(law)),
            labels=("", "log-normal law at this time"),
            name="S",
        )
    ]
