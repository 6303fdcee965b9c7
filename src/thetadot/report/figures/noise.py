"""The gradient's noise against the batch."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np
from bokeh.models import ColumnDataSource

from thetadot.core.formatting import plain
from thetadot.records import Motion, Noise, standing
from thetadot.report.figures.frame import FACTORS, Timeline, band, dots, draw_line, hover, padded_range
from thetadot.report.figures.picture import Key, Panel, Picture
from thetadot.report.palette import paint
from thetadot.report.runs import RecordedRun, merged
from thetadot.report.series import above, by_step, column, finite, gathered, sparse, thin

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bokeh.plotting import figure

    from thetadot.report.series import Array

MOST_STRETCHES = 20
METHODS = {
    "reference": ("circle", "on the reference samples"),
    "accumulation": ("square", "from accumulated micro-batches"),
    "ranks": ("hex", "from the ranks' gradients"),
    "samples": ("diamond", "from single samples' gradients"),
}


def picture(runs: Sequence[RecordedRun], timeline: Timeline) -> Picture | None:
    """Noise scale with its band against the batch used; None where it was not measured."""
    found = {run.index: above(standing(run.record, Noise)[0], "noise_scale") for run in runs}
    every = list(found.values())
    if not any(every):
        return None
    resolved = [above(entries, "resolved") for entries in every]
    drawn = [gathered(every, "noise_scale"), gathered(every, "curvature_scale")]
    drawn += [gathered(resolved, "low"), gathered(resolved, "high"), *(_batch_sizes(run)[1] for run in runs)]
    plot = timeline.axes(330, padded_range(*drawn, log=True), log=True)
    keys: list[Key] = []
    for run in runs:
        keys += _readings(plot, run, list(sparse(found[run.index], "noise_scale")))
        keys += _weighed(plot, run, found[run.index])
        x, y = _batch_sizes(run)
        if len(x) and found[run.index]:
            line = draw_line(plot, run, thin(x, y), "orange", width=1.2 if run.several else 2)
            hover(plot, run, line, [("step", "@x{0,0}"), ("batch size", "@y{0,0}")], along=True)
            keys.append(run.key("thin" if run.several else "line", "orange", "batch size that was used"))
    return Picture(
        name="noise",
        heading="The noise scale: the batch at which a gradient is half noise",
        reading="Where the batch lies below the noise scale, a gradient is mostly noise, and a larger batch gives "
        f"better steps. Above it, more samples in a batch change little. {FACTORS}",
        says=tuple(run.finding("noise") if found[run.index] else "" for run in runs),
        panels=(Panel("Batch at which noise and signal are equal", "trΣ/|G|², in samples", plot),),
        keys=(*merged(keys), *timeline.keys),
    )


def _batch_sizes(run: RecordedRun) -> tuple[Array, Array]:
    motions, _ = standing(run.record, Motion)
    return finite(by_step(motions), column(motions, "batch_size"), positive=True)


def _readings(plot: figure, run: RecordedRun, entries: Sequence[Noise]) -> list[Key]:
    # a band only between neighbours that are both resolved: between others nothing is known
    stretches = [list(group) for known, group in groupby(entries, key=lambda entry: entry.resolved) if known]
    if len(stretches) > MOST_STRETCHES:
        _bars(plot, run, [entry for entry in entries if entry.resolved])
    else:
        for some in stretches:
            low, high = column(some, "low"), column(some, "high")
            good = np.isfinite(low) & np.isfinite(high) & (low > 0)
            band(plot, run, by_step(some)[good], low[good], high[good], "purple")
            draw_line(plot, run, (by_step(some), column(some, "noise_scale")), "purple")
    keys: list[Key] = []
    methods = list(dict.fromkeys(entry.method for entry in entries))
    for method in methods:
        own = [entry for entry in entries if entry.method == method]
        marker, how = METHODS[method]
        for known in (True, False):
            some = [entry for entry in own if entry.resolved is known]
            if some:
                _draw_marks(plot, run, some, marker if known else "triangle", how)
    if any(entry.resolved for entry in entries):
        hows = ", ".join(METHODS[method][1] for method in methods)
        name = "noise scale" if run.several or methods == ["reference"] else f"noise scale, {hows}"
        keys += [run.key("dot", "purple", name), run.key("band", "purple", "its uncertainty")]
    if not all(entry.resolved for entry in entries):
        keys.append(run.key("open", "purple", "at least this much: the signal was not resolved from zero"))
    return keys


def _bars(plot: figure, run: RecordedRun, some: Sequence[Noise]) -> None:
    """Each interval by itself, where stretches between unresolved ones are too many for bands."""
    x, low, high = by_step(some), column(some, "low"), column(some, "high")
    good = np.isfinite(x) & np.isfinite(low) & np.isfinite(high) & (low > 0)
    source = ColumnDataSource({"x": x[good], "low": low[good], "high": high[good]})
    bars = plot.segment(x0="x", y0="low", x1="x", y1="high", source=source, line_width=1, line_alpha=0.5)
    paint(bars.glyph, line_color=run.role("purple"))
    run.own(bars)


def _draw_marks(plot: figure, run: RecordedRun, some: Sequence[Noise], marker: str, how: str) -> None:
    known = some[0].resolved
    source = ColumnDataSource({
        "x": by_step(some),
        "y": column(some, "noise_scale"),
        "text": [f"{'' if known else 'at least '}{plain(entry.noise_scale)}" for entry in some],
        "band": [f"{plain(entry.low)} to {plain(entry.high)}" if known else "not resolved" for entry in some],
        "how": [how] * len(some),
    })  # fmt: skip
    marks = dots(plot, run, source, "purple", marker=marker, size=7 if known else 10, filled=known)
    rows = [("step", "@x{0,0}"), ("noise scale", "@text"), ("between", "@band"), ("measured", "@how")]
    hover(plot, run, marks, rows)


def _weighed(plot: figure, run: RecordedRun, entries: Sequence[Noise]) -> list[Key]:
    """The noise scale as curvature weighs it: what the batch should be held against, where it was measured."""
    x, y = finite(by_step(entries), column(entries, "curvature_scale"), positive=True)
    if not len(x):
        return []
    line = draw_line(plot, run, thin(x, y), "green", width=1.2, alpha=0.8, dash="dashed")
    hover(plot, run, line, [("step", "@x{0,0}"), ("weighed by curvature", "@y{%.4g}")], along=True)
    return [run.key("thin" if run.several else "dashed", "green", "noise scale weighed by curvature, tr(HΣ)/GᵀHG")]
