"""The gradient's noise against the batch, and the temperature against the motion it keeps up."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np
from bokeh.models import ColumnDataSource

from thetadot.records import Motion, Noise, Record, standing
from thetadot.report import words
from thetadot.report.figures.frame import FACTORS, Timeline, hover, spread
from thetadot.report.figures.picture import Key, Panel, Picture
from thetadot.report.numerals import plain
from thetadot.report.palette import paint
from thetadot.report.series import by_step, column, finite, number, smooth, thin

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bokeh.plotting import figure


def scale(record: Record, timeline: Timeline) -> Picture | None:
    """Noise scale with its band against the batch used; None where it was not measured."""
    entries = [entry for entry in standing(record, Noise)[0] if number(entry.noise_scale) > 0]
    if not entries:
        return None
    motions, _ = standing(record, Motion)
    batch = column(motions, "batch_size")
    resolved = [entry for entry in entries if entry.resolved]
    drawn = (column(entries, "noise_scale"), column(resolved, "low"), column(resolved, "high"), batch)
    plot = timeline.axes(330, spread(*drawn, log=True), log=True)
    keys = _readings(plot, entries)
    x, y = finite(by_step(motions), batch, positive=True)
    if len(x):
        line = plot.line(*thin(x, y), line_width=2)
        paint(line.glyph, line_color="orange")
        hover(plot, line, [("step", "@x{0,0}"), ("batch size", "@y{0,0}")], along=True)
        keys.append(Key("line", "orange", "batch size that was used"))
    return Picture(
        name="noise",
        heading="How many samples it takes before a gradient is more signal than noise",
        reading="Where the batch lies below the noise scale, single gradients are mostly noise and a larger batch "
        f"would pay; above it, more samples only repeat what is known. {FACTORS}",
        says=words.noise(entries, float(batch[-1]) if len(batch) else None),
        panels=(Panel("Batch at which noise and signal are equal", "trΣ/|G|², in samples", plot),),
        keys=(*keys, *timeline.keys),
    )


def _readings(plot: figure, entries: Sequence[Noise]) -> list[Key]:
    keys = []
    # a band only between neighbours that are both resolved: between others nothing is known
    for known, group in groupby(entries, key=lambda entry: entry.resolved):
        if known:
            run = list(group)
            low, high = column(run, "low"), column(run, "high")
            good = np.isfinite(low) & np.isfinite(high) & (low > 0)
            band = plot.varea(x=by_step(run)[good], y1=low[good], y2=high[good], fill_alpha=0.22)
            paint(band.glyph, fill_color="purple")
            line = plot.line(by_step(run), column(run, "noise_scale"), line_width=2)
            paint(line.glyph, line_color="purple")
    for known in (True, False):
        some = [entry for entry in entries if entry.resolved is known]
        if not some:
            continue
        source = ColumnDataSource({
            "x": by_step(some),
            "y": column(some, "noise_scale"),
            "text": [f"{'' if known else 'at least '}{plain(entry.noise_scale)}" for entry in some],
            "band": [f"{plain(entry.low)} to {plain(entry.high)}" if known else "not resolved" for entry in some],
        })  # fmt: skip
        marks = plot.scatter(
            "x", "y", source=source, marker="circle" if known else "triangle", size=7 if known else 10, line_width=1.8
        )
        paint(marks.glyph, line_color="purple", fill_color="purple" if known else "card")
        hover(plot, marks, [("step", "@x{0,0}"), ("noise scale", "@text"), ("between", "@band")])
        keys += (
            [Key("dot", "purple", "noise scale"), Key("band", "purple", "its uncertainty")]
            if known
            else [Key("open", "purple", "at least this much: the signal was too small to be told from zero")]
        )
    return keys


def cooling(record: Record, timeline: Timeline) -> Picture | None:
    """Temperature and kinetic energy, both per degree of freedom; None where neither is positive."""
    motions, _ = standing(record, Motion)
    steps = by_step(motions)
    x, energy = finite(steps, column(motions, "kinetic"))
    x, energy = finite(x, smooth(energy), positive=True)
    at, heat = finite(steps, column(motions, "temperature"), positive=True)
    if not len(at) and not len(x):
        return None
    plot = timeline.axes(270, spread(energy, heat, log=True), log=True)
    lines = (
        (x, energy, "green", 1.5, "energy of the motion, running mean over 2% of the run", "energy of the motion"),
        (at, heat, "red", 2.5, "temperature of the noise", "temperature"),
    )
    keys = []
    for along, values, role, width, text, name in lines:
        if len(along):
            line = plot.line(*thin(along, values), line_width=width)
            paint(line.glyph, line_color=role)
            hover(plot, line, [("step", "@x{0,0}"), (name, "@y{%.3g}")], along=True)
            keys.append(Key("line", role, text))
    return Picture(
        name="temperature",
        heading="Cooling: how the shaking by noise was brought down",
        reading="Noise in the gradients shakes the parameters as heat does molecules. Where the energy of the "
        "motion follows the temperature, the network jitters in place; where it lies above, it still moves downhill.",
        says=words.cooling(column(motions, "temperature")),
        panels=(Panel("Temperature, and energy of the motion", "T and mean η², in loss per degree of freedom", plot),),
        keys=(*keys, *timeline.keys),
    )
