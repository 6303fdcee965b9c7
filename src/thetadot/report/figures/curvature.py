"""Curvature against the limit of stability, and the loss on the same steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from bokeh.models import ColumnDataSource

from thetadot.records import Curvature, standing
from thetadot.report.figures import losses
from thetadot.report.figures.frame import FACTORS, Timeline, band, dots, draw_line, hover, padded_range
from thetadot.report.figures.picture import Key, Panel, Picture
from thetadot.report.palette import paint
from thetadot.report.runs import RecordedRun, merged
from thetadot.report.series import above, by_step, column, drawable, finite, gathered, sparse, thin

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bokeh.plotting import figure

FLOOR = 0.2
"""A band that reaches below this share of the lowest curvature is cut there: a logarithmic axis has no zero."""


def picture(runs: Sequence[RecordedRun], timeline: Timeline) -> Picture | None:
    """Largest curvature with its interval, the limit as a line, danger shaded; None where nothing was measured."""
    found = {run.index: above(standing(run.record, Curvature)[0], "sharpness") for run in runs}
    measured = [(run, found[run.index]) for run in runs if found[run.index]]
    if not measured:
        return None
    every = [entries for _, entries in measured]
    bottom, top = padded_range(gathered(every, "sharpness"), gathered(every, "limit"), log=True)
    top *= 1.6  # room to see the danger above the limit
    plot = timeline.axes(330, (bottom, top), log=True)
    keys: list[Key] = []
    for run, entries in measured:
        keys += _draw_limit(plot, run, entries, timeline, top)
    floor = FLOOR * float(np.min(gathered(every, "sharpness")))
    for run, many in measured:
        entries = sparse(many, "sharpness")
        for seen, role, marker in ((False, "blue", "circle"), (True, "purple", "diamond")):
            keys += _draw_group(plot, run, [e for e in entries if e.preconditioned is seen], role, marker, floor)
    below = losses.beneath(runs, timeline)
    eyes = " as the optimizer sees it" if gathered(every, "preconditioned").any() else ""
    return Picture(
        name="curvature",
        heading="The largest curvature of the loss, against the limit of the step",
        reading="Along a direction that is curved more sharply than the limit, each step goes too far and the loss "
        f"grows. Below the limit the step is stable. {FACTORS}",
        says=tuple(run.finding("edge") if found[run.index] else "" for run in runs),
        panels=(
            Panel(f"Largest curvature of the loss{eyes}", "λmax, in loss per parameter²", plot),
            *([below] if below is not None else []),
        ),
        keys=(*merged(keys), *timeline.keys),
    )


def _draw_limit(
    plot: figure, run: RecordedRun, entries: Sequence[Curvature], timeline: Timeline, top: float
) -> list[Key]:
    x, y = thin(*finite(by_step(entries), column(entries, "limit"), positive=True))
    if not len(x):
        return []
    # held at its ends, so that the region does not stop short of the picture's edge
    x, y = np.concatenate([timeline.limits[:1], x, timeline.limits[1:]]), np.concatenate([y[:1], y, y[-1:]])
    area = plot.varea(x=x, y1=y, y2=np.maximum(y, top * 1e3), fill_alpha=0.05 if run.several else 0.12)
    paint(area.glyph, fill_color="red")
    run.own(area)
    line = draw_line(plot, run, (x, y), "red", width=1.2 if run.several else 2)
    hover(plot, run, line, [("step", "@x{0,0}"), ("limit", "@y{%.4g}")], along=True)
    return [
        run.key("thin" if run.several else "line", "red", "limit of the optimizer's step"),
        Key("band", "red", "danger: above it the step is unstable"),
    ]


def _draw_group(
    plot: figure, run: RecordedRun, entries: Sequence[Curvature], role: str, marker: str, floor: float
) -> list[Key]:
    if not entries:
        return []
    source = ColumnDataSource({
        "x": by_step(entries),
        "y": column(entries, "sharpness"),
        "ends": [f"{low:.4g} to {high:.4g}" for low, high in map(_sharpness_interval, entries)],
        "limit": [f"{entry.limit:.4g}" if entry.limit is not None else "not known" for entry in entries],
        "when": [entry.when for entry in entries],
    })  # fmt: skip
    own = [entry for entry in entries if entry.when != "warm-up"]
    x, y = finite(by_step(own), column(own, "sharpness"), positive=True)
    kept = [entry for entry in own if drawable(entry.sharpness) > 0 and np.isfinite(drawable(entry.step))]
    low, high = np.array([_sharpness_interval(entry) for entry in kept]).reshape(-1, 2).T
    band(plot, run, x, np.maximum(low, floor), high, role)
    draw_line(plot, run, (x, y), role)
    marks = dots(plot, run, source, role, marker=marker, size=9 if marker == "diamond" else 7)
    rows = [
        ("step", "@x{0,0}"),
        ("measured in", "@when"),
        ("curvature", "@y{%.4g}"),
        ("between", "@ends"),
        ("limit", "@limit"),
    ]
    hover(plot, run, marks, rows)
    adaptive = marker == "diamond"
    name = "curvature" + (" as the adaptive optimizer sees it" if adaptive else "")
    return [run.key("diamond" if adaptive else "dot", role, name), run.key("band", role, "its uncertainty")]


def _sharpness_interval(entry: Curvature) -> tuple[float, float]:
    """Return the interval of λmax; in older records, the residual's."""
    value, away = drawable(entry.sharpness), float(np.nan_to_num(abs(drawable(entry.residual))))
    low, high = drawable(entry.low), drawable(entry.high)
    return low if np.isfinite(low) else value - away, high if np.isfinite(high) else value + away
