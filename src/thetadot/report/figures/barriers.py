"""Barriers: the highest loss on the straight line between two places of the motion."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from bokeh.models import ColumnDataSource

from thetadot.core.formatting import between, plain
from thetadot.records import Barrier, standing
from thetadot.report.figures.frame import Timeline, dots, draw_line, hover, padded_range
from thetadot.report.figures.picture import Key, Panel, Picture
from thetadot.report.runs import RecordedRun, merged
from thetadot.report.series import by_step, column, drawable, gathered, sparse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from thetadot.records import Rows


def picture(runs: Sequence[RecordedRun], timeline: Timeline) -> Picture | None:
    """Height of each barrier at the step where the motion was beyond it; None where none was measured."""
    measured = [(run, standing(run.record, Barrier)[0]) for run in runs]
    found = {run.index: rows.where(column(rows, "height") >= 0) for run, rows in measured}
    every = list(found.values())
    if not any(every):
        return None
    # a hundredth of the loss: heights that are none must not fill the picture
    least = 0.01 * float(np.nanmax(np.abs(gathered(every, "start_loss"))))
    low, high = padded_range(gathered(every, "height"), [least], zero=True)
    plot = timeline.axes(240, (low - 0.05 * (high - low), high))  # marks at 0 are seen whole
    keys: list[Key] = []
    for run in runs:
        entries = list(sparse(found[run.index], "height"))
        if not entries:
            continue
        x, y = by_step(entries), column(entries, "height")
        good = np.isfinite(x)
        draw_line(plot, run, (x[good], y[good]), "purple", width=1.2, alpha=0.6)
        source = ColumnDataSource({
            "x": x,
            "y": y,
            "since": [plain(entry.since) for entry in entries],
            "ends": [f"{plain(entry.start_loss)} to {plain(entry.end_loss)}" for entry in entries],
            "at": [plain(entry.at) for entry in entries],
            "heat": [_over(entry) for entry in entries],
        })  # fmt: skip
        rows = [
            ("steps", "@since to @x{0,0}"),
            ("height", "@y{%.3g}"),
            ("loss at the ends", "@ends"),
            ("highest at", "@at of the way"),
            ("over temperature", "@heat"),
        ]
        hover(plot, run, dots(plot, run, source, "purple"), rows)
        keys.append(run.key("dot", "purple", "height of the barrier since the measurement before"))
    return Picture(
        name="barriers",
        heading="Barriers on the straight line between two measurements",
        reading="At zero the loss only falls on the straight line from the measurement before. Above zero it rises "
        "somewhere on that line, by this much; the motion took another way, or noise carried it over.",
        says=tuple(_barriers_sentence(found[run.index]) for run in runs),
        panels=(Panel("Barrier above the loss where the line begins", "in loss", plot),),
        keys=(*merged(keys), *timeline.keys),
    )


DIRECTIONS = {"line": "along the line", "sharpest": "of the sharpest direction", "all": "of independent draws"}


def _over(entry: Barrier) -> str:
    """Height over temperature, with its interval, and whose temperature it is."""
    heat, low, high = (drawable(x) for x in (entry.temperature, entry.temperature_low, entry.temperature_high))
    if not (heat > 0 and drawable(entry.height) >= 0):
        return "–"
    ends = between(entry.height / high, entry.height / low) if low > 0 and high > 0 else ""
    return f"{plain(entry.height / heat)}{ends} {DIRECTIONS.get(entry.direction or '', '')}".strip()


def _barriers_sentence(entries: Rows[Barrier]) -> str:
    if not entries:
        return ""
    heights = column(entries, "height")
    highest = entries[int(heights.argmax())]
    if not highest.height > 0:
        return "No barrier was met: on each straight line the loss only fell."
    crossed = int((heights > 0).sum())
    lines = f"{crossed} of {len(entries)} lines {'has' if crossed == 1 else 'have'} a barrier"
    return f"{lines}; the highest, {plain(highest.height)}, lies before step {plain(highest.step)}."
