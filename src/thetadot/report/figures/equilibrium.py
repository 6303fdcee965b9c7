"""Fluctuation against dissipation: a ratio that is 1 once the motion only fluctuates about one place."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from bokeh.models import ColumnDataSource

from thetadot.core.formatting import plain
from thetadot.records import Equilibrium, standing
from thetadot.report.figures.frame import Timeline, band, dots, draw_line, hover, padded_range, straight_line
from thetadot.report.figures.picture import Key, Panel, Picture
from thetadot.report.palette import paint
from thetadot.report.runs import RecordedRun, merged
from thetadot.report.series import above, by_step, column, gathered, sparse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bokeh.plotting import figure
    from numpy.typing import NDArray

    from thetadot.records import Rows

OUTSIDE = (-1.0, 3.0)
"""Ratios beyond are drawn at the edge: what matters is whether 1 is within the interval."""
MARKS = {"stationary": ("circle", True), "moving": ("diamond", True), "unresolved": ("circle", False)}
MEANINGS = {
    "stationary": "stationary: fluctuation and dissipation balance, the loss has no trend",
    "moving": "moving: not there yet",
    "unresolved": "unresolved: too few steps",
}


def picture(runs: Sequence[RecordedRun], timeline: Timeline) -> Picture | None:
    """Draw the ratio with its interval against steps; None where no window has a ratio."""
    found = {run.index: above(standing(run.record, Equilibrium)[0], "ratio", -math.inf) for run in runs}
    every = list(found.values())
    if not any(every):
        return None
    inner = [np.clip(gathered(every, name), *OUTSIDE) for name in ("ratio", "low", "high")]
    shown = padded_range(*inner, [0.8, 1.2])
    plot = timeline.axes(290, shown)
    straight_line(plot, 1.0, "green")
    keys: list[Key] = []
    for run in runs:
        if found[run.index]:
            keys += _draw_equilibrium(plot, run, found[run.index], shown)
    return Picture(
        name="equilibrium",
        heading="Stationarity: does the motion still go somewhere?",
        reading="At the dashed line noise brings as much energy as friction takes away, as it must be once the motion "
        "only fluctuates about one place. Away from it the motion still goes downhill or drifts. Where the zone is "
        "shaded, the windows were stationary: more steps at these settings gain nothing, a smaller learning rate "
        "would. Ratios far outside are drawn at the edge.",
        says=tuple(run.finding("stationarity") if found[run.index] else "" for run in runs),
        panels=(Panel("Fluctuation-dissipation ratio", "1 once stationary", plot),),
        keys=(
            Key("dashed", "green", "balance"),
            *merged(keys),
            *timeline.keys,
        ),
    )


def _draw_equilibrium(
    plot: figure, run: RecordedRun, windows: Rows[Equilibrium], shown: tuple[float, float]
) -> list[Key]:
    keys = []
    low, high = shown
    still = windows.where(_in_state(windows, "stationary"))
    entries = list(sparse(windows, "ratio"))
    if still:
        zones = plot.vstrip(
            x0="x0",
            x1="x1",
            source=ColumnDataSource(_zones(still)),
            fill_alpha=0.08 if run.several else 0.1,
            line_alpha=0,
        )
        paint(zones.glyph, fill_color=run.role("green"), hatch_color=run.role("green"))
        run.own(zones)
        keys.append(run.key("band", "green", "windows that were stationary"))
    x, y = by_step(entries), column(entries, "ratio")
    lows, highs = column(entries, "low"), column(entries, "high")
    known = np.isfinite(lows) & np.isfinite(highs) & np.isfinite(x)
    band(plot, run, x[known], np.clip(lows[known], low, high), np.clip(highs[known], low, high), "blue")
    inside = np.clip(y, low + 0.02 * (high - low), high - 0.02 * (high - low))
    draw_line(plot, run, (x, inside), "blue", width=1.5, alpha=0.7)
    keys.append(run.key("band", "blue", "interval of the ratio"))
    for state, (marker, filled) in MARKS.items():
        some = np.array([entry.state == state for entry in entries])
        if not some.any():
            continue
        kept = [entry for entry in entries if entry.state == state]
        source = ColumnDataSource({
            "x": x[some],
            "y": inside[some],
            "ratio": [_interval(entry) for entry in kept],
            "state": [state] * len(kept),
            "window": [f"{plain(entry.since)} to {plain(entry.step)}" for entry in kept],
            "identity": [entry.identity for entry in kept],
        })  # fmt: skip
        marks = dots(plot, run, source, "blue", marker=marker, size=8 if marker == "circle" else 10, filled=filled)
        rows = [("steps", "@window"), ("state", "@state"), ("ratio", "@ratio"), ("identity for", "@identity")]
        hover(plot, run, marks, rows)
        mark = run.key("diamond" if marker == "diamond" else "dot" if filled else "ring", "blue", MEANINGS[state])
        keys.append(mark)
    return keys


def _in_state(windows: Rows[Equilibrium], state: str) -> NDArray[np.bool_]:
    return np.array([found == state for found in windows.objects("state")], dtype=np.bool_)


def _zones(still: Rows[Equilibrium]) -> dict[str, list[float]]:
    """Windows, those that touch made one."""
    begins: list[float] = []
    ends: list[float] = []
    for begin, end in sorted(zip(column(still, "since").tolist(), by_step(still).tolist(), strict=True)):
        if ends and begin <= ends[-1]:
            ends[-1] = max(end, ends[-1])
        elif begin == begin and end == end:  # noqa: PLR0124 - neither is NaN
            begins.append(begin)
            ends.append(end)
    return {"x0": begins, "x1": ends}


def _interval(entry: Equilibrium) -> str:
    known = entry.low is not None and entry.high is not None
    return f"{plain(entry.ratio)} ({plain(entry.low)} to {plain(entry.high)})" if known else plain(entry.ratio)
