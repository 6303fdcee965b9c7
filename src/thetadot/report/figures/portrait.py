"""Phase portrait of a run: its position and its speed along the path."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from bokeh.models import ColumnDataSource
from bokeh.transform import linear_cmap

from thetadot.records import Motion, standing
from thetadot.report import words
from thetadot.report.figures.frame import empty_figure, hover, padded_range, path
from thetadot.report.figures.picture import Key, Panel, Picture
from thetadot.report.palette import RAMP, paint
from thetadot.report.series import by_step, column, smooth

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bokeh.plotting import figure

    from thetadot.report.runs import RecordedRun
    from thetadot.report.series import Array

MOST_MARKS = 600


def picture(runs: Sequence[RecordedRun]) -> Picture | None:
    """Displacement against speed, coloured by time; None with fewer than two places."""
    paths = [(run, *_path(run)) for run in runs]
    known = [path for path in paths if len(path[1]) > 1]
    if not known:
        return None
    kept = [_kept_places(steps) for _, steps, *_ in known]
    speeds = [array[some] for (_, _, _, speed, calm), some in zip(known, kept, strict=True) for array in (speed, calm)]
    plot = empty_figure(340, padded_range(*(place for _, _, place, _, _ in known)), padded_range(*speeds))
    plot.xaxis[0].axis_label = "distance from the start"
    for (run, steps, place, speed, calm), some in zip(known, kept, strict=True):
        if not run.several:
            faint = plot.scatter(place[some], speed[some], size=3, fill_alpha=0.35, line_alpha=0)
            paint(faint.glyph, fill_color="grey")
        _draw(plot, run, steps[some], place[some], calm[some])
    several = known[0][0].several
    coloured = () if several else (Key("ramp", "", "early to late"),)
    faint_key = () if several else (Key("dot", "grey", "single steps; the coloured path is their running mean"),)
    return Picture(
        name="portrait",
        heading="Distance from the start, and speed",
        reading=("Follow each path" if several else "Follow the colours")
        + " from the open circle (start) to the full square (end). High means fast; "
        "at zero the motion is at rest, below zero it goes back. A loop is an overshoot.",
        says=tuple(words.portrait(steps, calm) for _, steps, _, _, calm in paths),
        panels=(
            Panel("Speed (upward) against distance, both along the way to the end", "parameter per unit of time", plot),
        ),
        keys=(*coloured, Key("ring", "ink", "start"), Key("square", "ink", "end"), *faint_key),
    )


def _path(run: RecordedRun) -> tuple[Array, Array, Array, Array]:
    motions, _ = standing(run.record, Motion)
    steps, place, speed = by_step(motions), column(motions, "displacement"), column(motions, "speed")
    good = np.isfinite(steps) & np.isfinite(place) & np.isfinite(speed)
    return steps[good], place[good], speed[good], smooth(speed[good])


def _kept_places(steps: Array) -> Any:
    # not thinned by extremes: a curve in the plane has none along the steps
    return np.unique(np.linspace(0, len(steps) - 1, MOST_MARKS).astype(np.int64))


def _draw(plot: figure, run: RecordedRun, steps: Array, place: Array, speed: Array) -> None:
    rows = [("step", "@step{0,0}"), ("distance", "@x{%.4g}"), ("speed", "@y{%.4g}")]
    source = ColumnDataSource({"x": place, "y": speed, "step": steps})
    path(plot, run, (place, speed), "grey", width=1.5, alpha=1.0 if run.several else 0.6)
    if run.several:
        marks = plot.scatter("x", "y", source=source, size=6, fill_alpha=0, line_alpha=0)
    else:
        colour = linear_cmap("step", RAMP, float(steps.min()), float(max(steps.max(), steps.min() + 1)))
        marks = plot.scatter("x", "y", source=source, size=6, fill_color=colour, line_alpha=0)
    hover(plot, run, run.own(marks), rows)
    for at, marker, fill in ((0, "circle", "card"), (-1, "square", run.role("ink"))):
        mark = plot.scatter([place[at]], [speed[at]], marker=marker, size=13, line_width=2.5)
        paint(mark.glyph, line_color=run.role("ink"), fill_color=fill)
        run.own(mark)
