"""Damping ratios ζ along each of the sharpest directions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from bokeh.models import BasicTicker, ColumnDataSource, PrintfTickFormatter

from thetadot.core.formatting import between, plain
from thetadot.records import Curvature, standing
from thetadot.report.figures.frame import FACTORS, dots, empty_figure, hover, padded_range, straight_line
from thetadot.report.figures.picture import Key, Panel, Picture
from thetadot.report.palette import paint
from thetadot.report.runs import RecordedRun, merged
from thetadot.report.series import drawable, sparse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bokeh.plotting import figure

MOST_RUNGS = 64
OVER = 2.0
"""Above this ζ a direction creeps so much that friction is wasted on it; it takes 2ζ times as long as at ζ = 1."""


def picture(runs: Sequence[RecordedRun]) -> Picture | None:
    """ζ of each top eigenvalue, at the first measurement and the last; None where no damping was recorded."""
    found = {run.index: _measured(run) for run in runs}
    every = [entry for entries in found.values() for entry in entries]
    if not every:
        return None
    values = np.concatenate([_curvatures(entry) for entry in every])
    longest = max(len(_curvatures(entry)) for entry in every)
    shown = padded_range(values, [0.5, 2.0], log=True)
    plot = empty_figure(310, (0.4, longest + 0.6), shown, y_log=True)
    plot.xaxis[0].axis_label = "direction, the sharpest first"
    plot.xaxis[0].ticker = BasicTicker(min_interval=1, desired_num_ticks=8, num_minor_ticks=0)
    plot.xaxis[0].formatter = PrintfTickFormatter(format="%d")
    for low, high, role in ((shown[0] / 1e3, 1.0, "orange"), (1.0, shown[1] * 1e3, "blue")):
        area = plot.harea(y=[low, high], x1=[-1e3, -1e3], x2=[1e4, 1e4], fill_alpha=0.07)
        paint(area.glyph, fill_color=role)
    straight_line(plot, 1.0, "ink")
    keys: list[Key] = [
        Key("dashed", "ink", "ζ = 1, critical damping: fastest without overshoot"),
        Key("band", "blue", "above: overdamped, slow (dots)"),
        Key("band", "orange", "below: underdamped, it oscillates (diamonds)"),
    ]
    for run in runs:
        keys += _draw_ladder(plot, run, found[run.index])
    return Picture(
        name="ladder",
        heading="Damping along the sharpest directions: does the motion oscillate?",
        reading="Each mark is one direction of the parameters. Friction suits one curvature only: along sharper "
        "directions the motion oscillates, along flatter ones it is slow. Lower momentum raises all ratios, higher "
        "momentum lowers them. " + FACTORS,
        says=tuple(run.finding("damping") if found[run.index] else "" for run in runs),
        panels=(Panel("Damping ratio", "ζ", plot),),
        keys=merged(keys),
    )


def _measured(run: RecordedRun) -> list[Curvature]:
    rows = standing(run.record, Curvature)[0]
    return [entry for entry in sparse(rows.where(rows.counts("damping") > 0), "sharpness") if len(_curvatures(entry))]


def _curvatures(entry: Curvature) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    found = np.array([drawable(value) for value in entry.damping[:MOST_RUNGS]], dtype=np.float64)
    return found[np.isfinite(found) & (found > 0)]


def _draw_ladder(plot: figure, run: RecordedRun, entries: Sequence[Curvature]) -> list[Key]:
    keys: list[Key] = []
    if len(entries) > 1:
        _rung(plot, run, entries[0], filled=False)
        keys.append(run.key("ring", "ink", f"open: at the first measurement{_step_in_words(run, entries[0])}"))
    if entries:
        _rung(plot, run, entries[-1], filled=True)
        keys.append(run.key("dot", "ink", f"filled: at the last measurement{_step_in_words(run, entries[-1])}"))
    return keys


def _step_in_words(run: RecordedRun, entry: Curvature) -> str:
    return "" if run.several else f", step {plain(entry.step)}"


def _rung(plot: figure, run: RecordedRun, entry: Curvature, *, filled: bool) -> None:
    zeta = _curvatures(entry)
    positive = [value for value in entry.spectrum if value > 0] or [entry.sharpness]
    curved = [positive[i] if i < len(positive) else None for i in range(len(zeta))]
    places = np.arange(1.0, len(zeta) + 1) + (0.0 if filled else -0.12)
    for side, role in ((zeta < 1, "orange"), (zeta >= 1, "blue")):
        if not side.any():
            continue
        source = ColumnDataSource({
            "x": places[side],
            "y": zeta[side],
            "one": np.ones(int(side.sum())),
            "curvature": [plain(curved[i]) for i in np.flatnonzero(side).tolist()],
            "ends": [_interval_at(entry.damping_low, entry.damping_high, i) for i in np.flatnonzero(side).tolist()],
            "heat": [_temperature_at(entry, i) for i in np.flatnonzero(side).tolist()],
            "step": [entry.step] * int(side.sum()) if drawable(entry.step) == entry.step else [0] * int(side.sum()),
        })  # fmt: skip
        if filled:
            stem = plot.segment("x", "one", "x", "y", source=source, line_width=3, line_alpha=0.5)
            paint(stem.glyph, line_color=run.role(role))
            run.own(stem)
        marker = "circle" if role == "blue" else "diamond"
        marks = dots(plot, run, source, role, marker=marker, size=10 if filled else 8, filled=filled)
        hover(
            plot,
            run,
            marks,
            [
                ("damping ratio", "@y{%.3g}@ends"),
                ("curvature", "@curvature"),
                ("temperature", "@heat"),
                ("step", "@step{0,0}"),
            ],
        )


def _interval_at(low: Sequence[float | None], high: Sequence[float | None], place: int) -> str:
    return between(low[place], high[place]) if place < min(len(low), len(high)) else ""


def _temperature_at(entry: Curvature, place: int) -> str:
    if place >= len(entry.temperature):
        return "–"
    return plain(entry.temperature[place]) + _interval_at(entry.temperature_low, entry.temperature_high, place)
