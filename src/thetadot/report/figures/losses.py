"""Loss and metric along the run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from bokeh.models import ColumnDataSource

from thetadot.records import Epoch, Motion, standing
from thetadot.report import words
from thetadot.report.figures.frame import FACTORS, Timeline, dots, hover, spread, trace
from thetadot.report.figures.picture import Key, Panel, Picture
from thetadot.report.names import clean
from thetadot.report.palette import paint
from thetadot.report.runs import Run, merged
from thetadot.report.series import MOST_MARKS, by_step, column, extremes, finite, smooth, thin

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bokeh.plotting import figure

    from thetadot.report.series import Array

LOG_FROM = 20.0
"""Losses that span more than this factor are drawn on a logarithmic axis."""


def picture(runs: Sequence[Run], timeline: Timeline) -> Picture | None:
    """Training loss, validation loss, and the metric below; None where neither steps nor epochs are recorded."""
    if not any(run.record.of(Motion) or run.record.of(Epoch) for run in runs):
        return None
    plot, log = _axes(runs, timeline, 330)
    keys: list[Key] = []
    for run in runs:
        keys += _run(plot, run)
    metric = _metric(runs, timeline)
    panels = [Panel("Loss (lower is better)", "L", plot), *([metric] if metric is not None else [])]
    judged = "The dots are measured on samples the network never trained on."
    fixed = "The open dots are the loss of the fixed reference batch."
    return Picture(
        name="loss",
        heading="How wrong the network was, step by step",
        reading=" ".join([
            "Each step's loss is measured on a few samples and jumps about (faint); the line is its running mean.",
            *([judged] if any(run.record.of(Epoch) for run in runs) else []),
            *([fixed] if any(len(_reference(run)[0]) for run in runs) else []),
            *([FACTORS] if log else []),
        ]),
        says=tuple(words.losses(standing(run.record, Motion)[0], standing(run.record, Epoch)[0]) for run in runs),
        panels=tuple(panels),
        keys=(*merged(keys), *timeline.keys),
    )  # fmt: skip


def beneath(runs: Sequence[Run], timeline: Timeline) -> Panel | None:
    """The smoothed loss on the same steps, to stand below another picture."""
    if not any(len(_steps(run)[0]) for run in runs):
        return None
    plot, _ = _axes(runs, timeline, 150)
    for run in runs:
        x, y = _steps(run)
        if len(x):
            line = trace(plot, run, thin(x, smooth(y)), "ink", width=1.5)
            hover(plot, run, line, [("step", "@x{0,0}"), ("training loss, smoothed", "@y{%.4g}")], along=True)
    return Panel("Training loss on the same steps", "L, running mean", plot)


def _axes(runs: Sequence[Run], timeline: Timeline, height: int) -> tuple[figure, bool]:
    raw = [_steps(run)[1] for run in runs]
    every = np.concatenate([
        *(smooth(y) for y in raw),
        *(_epochs(run, "valid_loss")[1] for run in runs),
        *(_reference(run)[1] for run in runs),
    ])  # fmt: skip
    log = bool(len(every)) and float(every.min()) > 0 and float(every.max() / every.min()) > LOG_FROM
    inner = [np.percentile(y, [0.5, 99.8]) if len(y) else y for y in raw]  # one wild step must not flatten the rest
    return timeline.axes(height, spread(every, *inner, log=log), log=log, label=_label(runs)), log


def _steps(run: Run) -> tuple[Array, Array]:
    motions, _ = standing(run.record, Motion)
    return finite(by_step(motions), column(motions, "loss"))


def _reference(run: Run) -> tuple[Array, Array]:
    motions, _ = standing(run.record, Motion)
    return finite(by_step(motions), column(motions, "reference_loss"))


def _epochs(run: Run, name: str) -> tuple[Array, Array]:
    epochs, _ = standing(run.record, Epoch)
    x, y = finite(by_step(epochs), column(epochs, name))
    kept = extremes(y, MOST_MARKS)
    return x[kept], y[kept]


def _run(plot: figure, run: Run) -> list[Key]:
    keys = []
    x, y = _steps(run)
    if len(x):
        if not run.several:
            trace(plot, run, thin(x, y), "blue", width=1, alpha=0.3)
            keys.append(Key("thin", "blue", "training loss of single steps"))
        line = trace(plot, run, thin(x, smooth(y)), "blue")
        hover(plot, run, line, [("step", "@x{0,0}"), ("training loss, smoothed", "@y{%.4g}")], along=True)
        keys.append(run.key("line", "blue", "training loss, running mean over 2% of the run"))
    undone = standing(run.record, Motion)[1]
    if len(undone):
        lost = plot.line(*thin(by_step(undone), column(undone, "loss")), line_width=1, line_dash="dotted")
        paint(lost.glyph, line_color="red")
        run.own(lost)
        keys.append(Key("dots", "red", "steps that a rollback undid"))
    at, fixed = thin(*_reference(run), 400)
    if len(at):
        marks = dots(plot, run, ColumnDataSource({"x": at, "y": fixed}), "orange", size=5, filled=False)
        hover(plot, run, marks, [("step", "@x{0,0}"), ("loss of the reference batch", "@y{%.4g}")])
        keys.append(run.key("ring", "orange", "loss of the reference batch"))
    at, valid = _epochs(run, "valid_loss")
    if len(at):
        trace(plot, run, (at, valid), "orange", width=1.2, alpha=0.6)
        _marks(plot, run, at, valid, "validation loss")
        keys.append(run.key("dot", "orange", "validation loss, at the end of each epoch"))
    return keys


def _marks(plot: figure, run: Run, at: Array, values: Array, what: str) -> None:
    """One dot an epoch, with the epoch in its tooltip."""
    epochs = run.record.of(Epoch)
    number = dict(zip(by_step(epochs), column(epochs, "epoch"), strict=True))
    source = ColumnDataSource({"x": at, "y": values, "epoch": [number[step] for step in at]})
    marks = dots(plot, run, source, "orange", size=6)
    hover(plot, run, marks, [("epoch", "@epoch"), ("step", "@x{0,0}"), (what, "@y{%.4g}")])


def _metric(runs: Sequence[Run], timeline: Timeline) -> Panel | None:
    measured = [(run, *_epochs(run, "metric")) for run in runs]
    measured = [(run, at, values) for run, at, values in measured if len(at)]
    if not measured:
        return None
    plot = timeline.axes(170, spread(*(values for _, _, values in measured), narrowest=1e-3), label=_label(runs))
    for run, at, values in measured:
        trace(plot, run, (at, values), "orange", width=1.2, alpha=0.6)
        _marks(plot, run, at, values, "metric")
    names = dict.fromkeys(clean(run.record.header.metric or "metric", 80) for run, _, _ in measured)
    name = " / ".join(names)
    return Panel(f"{name[:1].upper()}{name[1:]} on the validation set (higher is better)", "", plot)


def _label(runs: Sequence[Run]) -> str:
    """The step axis, with the length of an epoch where it is one number."""
    lengths: set[float] = set()
    for run in runs:
        steps = by_step(run.record.of(Epoch))
        lengths |= set(np.diff(steps[np.isfinite(steps)]).tolist())
    if len(lengths) == 1 and (length := lengths.pop()) > 0:
        return f"step ({length:,.0f} steps make an epoch)"
    return "step"
