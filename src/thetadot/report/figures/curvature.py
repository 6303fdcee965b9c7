"""Curvature against the limit of stability."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from bokeh.models import ColumnDataSource

from thetadot.records import Curvature, Record, standing
from thetadot.report import words
from thetadot.report.figures.frame import FACTORS, Timeline, hover, spread
from thetadot.report.figures.picture import Key, Panel, Picture
from thetadot.report.palette import paint
from thetadot.report.series import by_step, column, finite, number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bokeh.plotting import figure

FLOOR = 0.2
"""A band that reaches below this share of the lowest curvature is cut there: a logarithmic axis has no zero."""


def picture(record: Record, timeline: Timeline) -> Picture | None:
    """Largest curvature with its residual band, the limit as a line, danger shaded; None where nothing was measured."""
    entries = [entry for entry in standing(record, Curvature)[0] if number(entry.sharpness) > 0]
    if not entries:
        return None
    limits = column(entries, "limit")
    bottom, top = spread(column(entries, "sharpness"), limits, log=True)
    top *= 1.6  # room to see the danger above the limit
    plot = timeline.axes(330, (bottom, top), log=True)
    keys = _limit(plot, entries, timeline, top)
    floor = FLOOR * float(np.min(column(entries, "sharpness")))
    for seen, role, marker in ((False, "blue", "circle"), (True, "purple", "diamond")):
        group = [entry for entry in entries if entry.preconditioned is seen]
        keys += _group(plot, group, role, marker, floor)
    return Picture(
        name="curvature",
        heading="How sharply the landscape curves, against what the step can bear",
        reading="In a valley that is curved more sharply than the limit, each step lands higher on the opposite wall "
        f"than it left: the loss grows. Below the limit a step is safe. {FACTORS}",
        says=words.curvature(entries),
        panels=(Panel("Largest curvature of the loss", "λmax, in loss per parameter²", plot),),
        keys=(*keys, *timeline.keys),
    )


def _limit(plot: figure, entries: Sequence[Curvature], timeline: Timeline, top: float) -> list[Key]:
    x, y = finite(by_step(entries), column(entries, "limit"), positive=True)
    if not len(x):
        return []
    # held at its ends, so that the region does not stop short of the picture's edge
    x, y = np.concatenate([timeline.limits[:1], x, timeline.limits[1:]]), np.concatenate([y[:1], y, y[-1:]])
    area = plot.varea(x=x, y1=y, y2=np.maximum(y, top * 1e3), fill_alpha=0.12)
    paint(area.glyph, fill_color="red")
    line = plot.line(x, y, line_width=2)
    paint(line.glyph, line_color="red")
    hover(plot, line, [("step", "@x{0,0}"), ("limit", "@y{%.4g}")], along=True)
    return [
        Key("line", "red", "limit of the optimizer's step"),
        Key("band", "red", "danger: above it the step is unstable"),
    ]


def _group(plot: figure, entries: Sequence[Curvature], role: str, marker: str, floor: float) -> list[Key]:
    if not entries:
        return []
    source = ColumnDataSource({
        "x": by_step(entries),
        "y": column(entries, "sharpness"),
        "residual": column(entries, "residual"),
        "limit": [f"{entry.limit:.4g}" if entry.limit is not None else "not yet known" for entry in entries],
        "when": [entry.when for entry in entries],
    })  # fmt: skip
    own = [entry for entry in entries if entry.when != "warm-up"]
    x, y = finite(by_step(own), column(own, "sharpness"), positive=True)
    residual = np.nan_to_num(np.abs(column(own, "residual")))
    band = plot.varea(x=x, y1=np.maximum(y - residual, floor), y2=y + residual, fill_alpha=0.22)
    paint(band.glyph, fill_color=role)
    line = plot.line(x, y, line_width=2)
    paint(line.glyph, line_color=role)
    marks = plot.scatter("x", "y", source=source, marker=marker, size=9 if marker == "diamond" else 7)
    paint(marks.glyph, line_color=role, fill_color=role)
    hover(
        plot,
        marks,
        [
            ("step", "@x{0,0}"),
            ("measured in", "@when"),
            ("curvature", "@y{%.4g}"),
            ("give or take", "@residual{%.2g}"),
            ("limit", "@limit"),
        ],
    )
    adaptive = marker == "diamond"
    return [
        Key(
            "diamond" if adaptive else "dot",
            role,
            "curvature" + (" as the adaptive optimizer sees it" if adaptive else ""),
        ),
        Key("band", role, "its uncertainty"),
    ]
