"""Loss and metric along the run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from bokeh.models import ColumnDataSource

from thetadot.records import Epoch, Motion, Record, standing
from thetadot.report import words
from thetadot.report.figures.frame import FACTORS, Timeline, hover, spread
from thetadot.report.figures.picture import Key, Panel, Picture
from thetadot.report.palette import paint
from thetadot.report.series import by_step, column, finite, smooth, thin

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bokeh.plotting import figure

    from thetadot.report.series import Array

LOG_FROM = 20.0
"""Losses that span more than this factor are drawn on a logarithmic axis."""


def picture(record: Record, timeline: Timeline) -> Picture | None:
    """Training loss, validation loss, and the metric below; None where neither steps nor epochs are recorded."""
    motions, undone = standing(record, Motion)
    epochs, _ = standing(record, Epoch)
    if not motions and not epochs:
        return None
    x, y = finite(by_step(motions), column(motions, "loss"))
    at, valid = finite(by_step(epochs), column(epochs, "valid_loss"))
    smoothed = smooth(y)
    every = np.concatenate([smoothed, valid])
    log = bool(len(every)) and float(every.min()) > 0 and float(every.max() / every.min()) > LOG_FROM
    raw = np.percentile(y, [0.5, 99.8]) if len(y) else y  # one wild step must not flatten the rest
    plot = timeline.axes(330, spread(every, raw, log=log), log=log, label=_label(epochs))
    keys = _steps(plot, x, y, smoothed)
    if undone:
        lost = plot.line(*thin(by_step(undone), column(undone, "loss")), line_width=1, line_dash="dotted")
        paint(lost.glyph, line_color="red")
        keys.append(Key("dots", "red", "steps that a rollback undid"))
    if len(at):
        line = plot.line(at, valid, line_width=1.2, line_alpha=0.6)
        paint(line.glyph, line_color="orange")
        _marks(plot, epochs, at, valid, "validation loss")
        keys.append(Key("dot", "orange", "validation loss, at the end of each epoch"))
    panels = [Panel("Loss (lower is better)", "L", plot)]
    metric = _metric(record, epochs, timeline)
    return Picture(
        name="loss",
        heading="How wrong the network was, step by step",
        reading="Each step's loss is measured on a few samples and jumps about (faint); the line is its running mean. "
        "The dots are measured on samples the network never trained on." + (f" {FACTORS}" if log else ""),
        says=words.losses(motions, epochs),
        panels=(*panels, metric) if metric is not None else tuple(panels),
        keys=(*keys, *timeline.keys),
    )  # fmt: skip


def _steps(plot: figure, x: Array, y: Array, smoothed: Array) -> list[Key]:
    if not len(x):
        return []
    faint = plot.line(*thin(x, y), line_width=1, line_alpha=0.3)
    paint(faint.glyph, line_color="blue")
    line = plot.line(*thin(x, smoothed), line_width=2)
    paint(line.glyph, line_color="blue")
    hover(plot, line, [("step", "@x{0,0}"), ("training loss, smoothed", "@y{%.4g}")], along=True)
    return [
        Key("line", "blue", "training loss, running mean over 2% of the run"),
        Key("thin", "blue", "training loss of single steps"),
    ]


def _marks(plot: figure, epochs: Sequence[Epoch], at: Array, values: Array, what: str) -> None:
    """One dot an epoch, with the epoch in its tooltip."""
    number = dict(zip(by_step(epochs), column(epochs, "epoch"), strict=True))
    source = ColumnDataSource({"x": at, "y": values, "epoch": [number[step] for step in at]})
    dots = plot.scatter("x", "y", source=source, size=6)
    paint(dots.glyph, line_color="orange", fill_color="orange")
    hover(plot, dots, [("epoch", "@epoch"), ("step", "@x{0,0}"), (what, "@y{%.4g}")])


def _metric(record: Record, epochs: Sequence[Epoch], timeline: Timeline) -> Panel | None:
    at, values = finite(by_step(epochs), column(epochs, "metric"))
    if not len(at):
        return None
    plot = timeline.axes(170, spread(values, narrowest=1e-3), label=_label(epochs))
    line = plot.line(at, values, line_width=1.2, line_alpha=0.6)
    paint(line.glyph, line_color="orange")
    _marks(plot, epochs, at, values, "metric")
    name = record.header.metric or "metric"
    return Panel(f"{name[:1].upper()}{name[1:]} on the validation set (higher is better)", "", plot)


def _label(epochs: Sequence[Epoch]) -> str:
    """The step axis, with the length of an epoch where it is one number."""
    steps = by_step(epochs)
    lengths = set(np.diff(steps[np.isfinite(steps)]).tolist())
    if len(lengths) == 1 and (length := lengths.pop()) > 0:
        return f"step ({length:,.0f} steps make an epoch)"
    return "step"
