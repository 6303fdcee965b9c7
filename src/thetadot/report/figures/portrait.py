"""The phase portrait: where the motion is, and how fast it goes there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from bokeh.models import ColumnDataSource
from bokeh.transform import linear_cmap

from thetadot.records import Motion, Record, standing
from thetadot.report import words
from thetadot.report.figures.frame import axes, hover, spread
from thetadot.report.figures.picture import Key, Panel, Picture
from thetadot.report.palette import RAMP, paint
from thetadot.report.series import by_step, column, smooth

if TYPE_CHECKING:
    from bokeh.plotting import figure

    from thetadot.report.series import Array

MOST_MARKS = 600


def picture(record: Record) -> Picture | None:
    """Displacement against speed, coloured by time; None with fewer than two places."""
    motions, _ = standing(record, Motion)
    steps, place, speed = by_step(motions), column(motions, "displacement"), column(motions, "speed")
    good = np.isfinite(steps) & np.isfinite(place) & np.isfinite(speed)
    steps, place, speed = steps[good], place[good], speed[good]
    if len(place) < 2:
        return None
    calm = smooth(speed)
    # not thinned by extremes: a curve in the plane has none along the steps
    kept = np.unique(np.linspace(0, len(place) - 1, MOST_MARKS).astype(np.int64))
    plot = axes(340, spread(place), spread(speed[kept], calm))
    plot.xaxis[0].axis_label = "distance from the start"
    faint = plot.scatter(place[kept], speed[kept], size=3, fill_alpha=0.35, line_alpha=0)
    paint(faint.glyph, fill_color="grey")
    _path(plot, steps[kept], place[kept], calm[kept])
    ends = (("start", 0, "circle", "card"), ("end", -1, "square", "ink"))
    for name, at, marker, fill in ends:
        mark = plot.scatter([place[at]], [calm[at]], marker=marker, size=13, line_width=2.5, name=name)
        paint(mark.glyph, line_color="ink", fill_color=fill)
    return Picture(
        name="portrait",
        heading="The whole run as one path: how far it had come, and how fast it was going",
        reading="Follow the colours from the open circle (start) to the full square (end). High means fast; "
        "at zero the motion stands still, below it goes back. A loop is an overshoot that comes back.",
        says=words.portrait(steps, calm),
        panels=(
            Panel("Speed (upward) against distance, both along the way to the end", "parameter per unit of time", plot),
        ),
        keys=(
            Key("ramp", "", "early to late"),
            Key("ring", "ink", "start"),
            Key("square", "ink", "end"),
            Key("dot", "grey", "single steps; the coloured path is their running mean"),
        ),
    )


def _path(plot: figure, steps: Array, place: Array, speed: Array) -> None:
    line = plot.line(place, speed, line_width=1.5, line_alpha=0.6)
    paint(line.glyph, line_color="grey")
    source = ColumnDataSource({"x": place, "y": speed, "step": steps})
    colour = linear_cmap("step", RAMP, float(steps.min()), float(max(steps.max(), steps.min() + 1)))
    marks = plot.scatter("x", "y", source=source, size=6, fill_color=colour, line_alpha=0)
    hover(plot, marks, [("step", "@step{0,0}"), ("distance", "@x{%.4g}"), ("speed", "@y{%.4g}")])
