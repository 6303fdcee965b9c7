r"""The critical batch: steps against samples.

A run at batch B needs S = S_min(1 + B_noise/B) steps and E = E_min(1 + B/B_noise) samples, so that

    (S/S_min - 1)(E/E_min - 1) = 1,

a model that holds for plain gradient descent near a quadratic. Source: McCandlish et al., arXiv 1812.06162, eq. 2.11.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from bokeh.models import ColumnDataSource

from thetadot.formatting import plain
from thetadot.records import Motion, Noise, standing
from thetadot.report.figures.frame import axes, dots, hover, spread
from thetadot.report.figures.picture import Key, Panel, Picture
from thetadot.report.palette import paint
from thetadot.report.runs import Run, merged
from thetadot.report.series import Array, above, latest, number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bokeh.plotting import figure

WIDEST = 1e6
"""Batches this many times the noise scale, or as small a share of it, are drawn at the curve's end."""


def picture(runs: Sequence[Run]) -> Picture | None:
    """The hyperbola with each run on it; None where no run has both a noise scale and a batch size."""
    found = [(run, _place(run)) for run in runs]
    placed = [(run, *place) for run, place in found if place is not None]
    if not placed:
        return None
    ratios = np.array([ratio for _, _, _, ratio, *_ in placed])
    ends = min(0.02, float(ratios.min()) / 4), max(50.0, float(ratios.max()) * 4)
    along = np.geomspace(*ends, 300)
    steps, samples = _plane(along)
    plot = axes(330, spread(steps, log=True), spread(samples, log=True), x_log=True, y_log=True)
    plot.xaxis[0].axis_label = "steps, as a multiple of the fewest possible"
    curve = plot.line(steps, samples, line_width=1.5)
    paint(curve.glyph, line_color="grey")
    keys: list[Key] = [Key("line", "grey", "what batch sizes can trade: small ones to the right, large ones up")]
    for run, entry, batch, ratio, low, high in placed:
        keys += _here(plot, run, entry, batch, ratio, np.clip([low, high], *ends))
    return Picture(
        name="critical",
        heading="What the batch size costs: steps against samples",
        reading="To the right, small batches: many steps, no sample wasted. Up, large batches: few steps, many samples "
        "that only repeat what is known. At the corner, where the batch equals the noise scale, both cost twice the "
        "least. The curve is a model of plain descent, not a measurement of this run's steps.",
        says=tuple("" if place is None else _says(*place) for _, place in found),
        panels=(Panel("Samples, as a multiple of the fewest possible", "E/Emin against S/Smin", plot),),
        keys=merged(keys),
    )


def _place(run: Run) -> tuple[Noise, float, float, float, float] | None:
    """The last noise measurement, the batch then, B/B_noise, and its interval."""
    noises = above(standing(run.record, Noise)[0], "noise_scale")
    motions = above(standing(run.record, Motion)[0], "batch_size")
    if not noises or not motions:
        return None
    entry = noises[-1]
    batch = number(latest(motions, entry.step).batch_size)
    ratio = batch / entry.noise_scale
    low = batch / entry.high if entry.resolved and number(entry.high) > 0 else 0.0
    high = batch / entry.low if number(entry.low) > 0 and entry.resolved else ratio if not entry.resolved else WIDEST
    low, ratio, high = (min(max(each, 1 / WIDEST), WIDEST) for each in (low, ratio, high))
    return entry, batch, ratio, low, high


def _plane(ratio: Array) -> tuple[Array, Array]:
    """S/S_min and E/E_min at B/B_noise.

    Example:
        >>> _plane(np.array([0.25, 1.0]))
        (array([5., 2.]), array([1.25, 2.  ]))
    """
    return 1 + 1 / ratio, 1 + ratio


def _here(plot: figure, run: Run, entry: Noise, batch: float, ratio: float, ends: Array) -> list[Key]:
    arc = plot.line(*_plane(np.geomspace(ends[0], max(ends[1], ends[0] * 1.001), 80)), line_width=7, line_alpha=0.4)
    arc.glyph.line_cap = "round"
    paint(arc.glyph, line_color=run.role("purple"))
    run.own(arc)
    x, y = _plane(np.array([ratio]))
    source = ColumnDataSource({
        "x": x,
        "y": y,
        "batch": [batch],
        "scale": [f"{'' if entry.resolved else 'at least '}{plain(entry.noise_scale)}"],
    })  # fmt: skip
    marks = dots(plot, run, source, "purple", marker="circle" if entry.resolved else "triangle", size=12)
    rows = [
        ("batch size", "@batch{0,0}"),
        ("noise scale", "@scale"),
        ("times the fewest steps", "@x{%.3g}"),
        ("times the fewest samples", "@y{%.3g}"),
    ]
    hover(plot, run, marks, rows)
    keys = [run.key("dot", "purple", "this run is here" if not run.several else "where each run is")]
    if not entry.resolved:
        keys = [run.key("open", "purple", "the run is here or further right: its noise scale is at least this much")]
    return [*keys, run.key("band", "purple", "the uncertainty of that")]


def _says(entry: Noise, batch: float, ratio: float, *_: float) -> str:
    steps, samples = (float(each[0]) for each in _plane(np.array([ratio])))
    least, most = ("", "") if entry.resolved else ("at least ", "at most ")
    where = f"A batch of {plain(batch)} is {most}{plain(ratio)} of the noise scale"
    cost = f"it takes {least}{plain(steps)} times the fewest possible steps, {most}{plain(samples)} times the samples"
    if not entry.resolved:
        return f"{where}: {cost}."
    if ratio < 0.5:
        lesson = f"twice the batch would need {plain((1 + 0.5 / ratio) / steps, 2)} of the steps"
    elif ratio > 2:
        lesson = f"half the batch would need {plain((1 + ratio / 2) / samples, 2)} of the samples"
    else:
        lesson = "near the corner, where neither is wasted much"
    return f"{where}: {cost}; {lesson}."
