r"""The critical batch: steps against samples.

A run at batch B needs S = S_min(1 + B_noise/B) steps and E = E_min(1 + B/B_noise) samples, so that

    (S/S_min - 1)(E/E_min - 1) = 1,

a model that holds for plain gradient descent near a quadratic. Source: McCandlish et al., arXiv 1812.06162, eq. 2.11.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from bokeh.models import ColumnDataSource

from thetadot.core.formatting import plain
from thetadot.report.figures.frame import dots, empty_figure, hover, padded_range
from thetadot.report.figures.picture import Key, Panel, Picture
from thetadot.report.palette import paint
from thetadot.report.runs import RecordedRun, merged
from thetadot.verdicts.noise import fit, scale

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bokeh.plotting import figure

    from thetadot.report.series import Array

WIDEST = 1e6
"""Batches this many times the noise scale, or as small a share of it, are drawn at the curve's end."""


def picture(runs: Sequence[RecordedRun]) -> Picture | None:
    """The hyperbola with each run on it; None where no run has both a noise scale and a batch size."""
    placed = [(run, place) for run in runs if (place := _place(run)) is not None]
    if not placed:
        return None
    ratios = np.array([place.ratio for _, place in placed])
    ends = min(0.02, float(ratios.min()) / 4), max(50.0, float(ratios.max()) * 4)
    along = np.geomspace(*ends, 300)
    steps, samples = _plane(along)
    plot = empty_figure(330, padded_range(steps, log=True), padded_range(samples, log=True), x_log=True, y_log=True)
    plot.xaxis[0].axis_label = "steps, as a multiple of the fewest possible"
    curve = plot.line(steps, samples, line_width=1.5)
    paint(curve.glyph, line_color="grey")
    keys: list[Key] = [Key("line", "grey", "each batch size: small ones to the right, large ones up")]
    for run, place in placed:
        keys += _here(plot, run, place, np.clip([place.low, place.high], *ends))
    return Picture(
        name="critical",
        heading="What the batch size costs: steps against samples",
        reading="To the right are small batches: many steps, few samples. Up are large batches: few steps, many "
        "samples. At the corner, where the batch equals the noise scale, both cost twice the least. The curve is a "
        "model of plain descent, not a measurement of this run's steps.",
        says=tuple(run.finding("batch") if any(run is each for each, _ in placed) else "" for run in runs),
        panels=(Panel("Samples, as a multiple of the fewest possible", "E/Emin against S/Smin", plot),),
        keys=merged(keys),
    )


@dataclass(frozen=True)
class _CriticalPlace:
    """The batch, its ratio to the noise scale with an interval, and whether that is only a bound."""

    batch: float
    ratio: float
    low: float
    high: float
    scale: float
    bound: bool


def _place(run: RecordedRun) -> _CriticalPlace | None:
    """Where the batch verdict puts the run; None where it knows no place."""
    found, known, batch = fit(run.facts), scale(run.facts), run.facts.batch
    if found is None or known is None or batch is None:
        return None
    half = found.ratio if known.low is None or known.high is None else known.value / known.low
    low, high = (0.0, found.ratio) if found.bound else (found.ratio / half, found.ratio * half)
    low, ratio, high = (min(max(each, 1 / WIDEST), WIDEST) for each in (low, found.ratio, high))
    return _CriticalPlace(batch, ratio, low, high, found.scale, found.bound)


def _plane(ratio: Array) -> tuple[Array, Array]:
    """S/S_min and E/E_min at B/B_noise.

    Example:
        >>> _plane(np.array([0.25, 1.0]))
        (array([5., 2.]), array([1.25, 2.  ]))
    """
    return 1 + 1 / ratio, 1 + ratio


def _here(plot: figure, run: RecordedRun, place: _CriticalPlace, ends: Array) -> list[Key]:
    arc = plot.line(*_plane(np.geomspace(ends[0], max(ends[1], ends[0] * 1.001), 80)), line_width=7, line_alpha=0.4)
    arc.glyph.line_cap = "round"
    paint(arc.glyph, line_color=run.role("purple"))
    run.own(arc)
    x, y = _plane(np.array([place.ratio]))
    scale = f"{'at least ' if place.bound else ''}{plain(place.scale)}"
    source = ColumnDataSource({"x": x, "y": y, "batch": [place.batch], "scale": [scale]})
    marks = dots(plot, run, source, "purple", marker="triangle" if place.bound else "circle", size=12)
    rows = [
        ("batch size", "@batch{0,0}"),
        ("noise scale", "@scale"),
        ("times the fewest steps", "@x{%.3g}"),
        ("times the fewest samples", "@y{%.3g}"),
    ]
    hover(plot, run, marks, rows)
    keys = [run.key("dot", "purple", "this run is here" if not run.several else "where each run is")]
    if place.bound:
        keys = [run.key("open", "purple", "the run is here or further right: its noise scale is at least this much")]
    return [*keys, run.key("band", "purple", "the uncertainty of that")]
