"""Loss and metric along the run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from bokeh.models import ColumnDataSource

from thetadot.core.formatting import count, plain
from thetadot.records import Epoch, Motion, loss_curve, standing
from thetadot.report import words
from thetadot.report.figures.frame import FACTORS, Timeline, band, dots, draw_line, hover, padded_range
from thetadot.report.figures.picture import Key, Panel, Picture
from thetadot.report.names import clean
from thetadot.report.palette import paint
from thetadot.report.runs import RecordedRun, merged
from thetadot.report.series import (
    LARGEST,
    MOST_MARKS,
    PIXELS,
    by_step,
    column,
    extremes,
    finite,
    losses_of,
    pixels,
    smooth,
    span,
    thin,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bokeh.plotting import figure

    from thetadot.report.series import Array

LOG_FROM = 20.0
"""Losses that span more than this factor are drawn on a logarithmic axis."""
HIGHEST = 2.5
"""A single step's loss is within the axis up to so many times the height of the rest, or the square as a factor."""
HEIGHT = 300
LOWER = 230
"""Of several runs, whose table stands below."""


def picture(runs: Sequence[RecordedRun], timeline: Timeline) -> Picture | None:
    """Training loss and validation loss; None where no loss was seen."""
    if not any(_has_losses(run) for run in runs):
        return None
    plot, log, top = _axes(runs, timeline, LOWER if len(runs) > 1 else HEIGHT)
    keys: list[Key] = []
    for run in runs:
        keys += _draw_losses(plot, run, log=log, top=top)
    fixed = "The open dots are the loss of the fixed reference batch."
    return Picture(
        name="loss",
        heading="Loss, step by step",
        reading=" ".join([
            _smoothing(runs),
            *(["The dots are measured on samples that nothing was trained on."] if _any(runs, Epoch) else []),
            *([fixed] if any(len(_reference(run)[0]) for run in runs) else []),
            *([FACTORS] if log else []),
        ]),
        says=tuple(_losses_sentence(run) for run in runs),
        panels=(Panel("Loss (lower is better)", "L", plot),),
        keys=(*merged(keys), *timeline.keys),
    )  # fmt: skip


def metric(runs: Sequence[RecordedRun], timeline: Timeline) -> Picture | None:
    """Draw the metric on the validation set; None where none was taken."""
    measured = [(run, *_epochs(run, "metric")) for run in runs]
    measured = [(run, at, values) for run, at, values in measured if len(at)]
    if not measured:
        return None
    plot = timeline.axes(
        170, padded_range(*(values for _, _, values in measured), narrowest=1e-3), label=_axis_label(runs)
    )
    for run, at, values in measured:
        draw_line(plot, run, (at, values), "orange", width=1.2, alpha=0.6)
        _marks(plot, run, at, values, "metric")
    names = dict.fromkeys(clean(run.record.header.metric or "metric", 80) for run, _, _ in measured)
    name = " / ".join(names)
    return Picture(
        name="metric",
        heading=f"{name[:1].upper()}{name[1:]} on the validation set",
        reading="Measured at the end of each epoch, on samples that nothing was trained on. Higher is better.",
        says=tuple(words.metrics(run.record.header.metric, standing(run.record, Epoch)[0]) for run in runs),
        panels=(Panel(f"{name[:1].upper()}{name[1:]}", "", plot),),
        keys=timeline.keys,
    )


def beneath(runs: Sequence[RecordedRun], timeline: Timeline) -> Panel | None:
    """The smoothed loss on the same steps, to stand below another picture."""
    if not any(len(losses_of(run.record)[0]) for run in runs):
        return None
    plot, _, _ = _axes(runs, timeline, 150)
    for run in runs:
        x, y = losses_of(run.record)
        if len(x):
            line = draw_line(plot, run, thin(x, smooth(y)), "ink", width=1.5)
            hover(plot, run, line, [("step", "@x{0,0}"), ("training loss, smoothed", "@y{%.4g}")], along=True)
    return Panel("Training loss on the same steps", "L, running mean", plot)


def _has_losses(run: RecordedRun) -> bool:
    return bool(len(loss_curve(run.record).losses) and np.isfinite(loss_curve(run.record).losses).any()) or any(
        len(found) for found in (_epochs(run, "valid_loss")[0], _reference(run)[0], _wild(run))
    )


def _any(runs: Sequence[RecordedRun], kind: type[Epoch]) -> bool:
    return any(run.record.of(kind) for run in runs)


def _losses_sentence(run: RecordedRun) -> str:
    """How far the loss came, and what ended it; whether that is overfitting, a finding says."""
    epochs, _ = standing(run.record, Epoch)
    said = words.losses(epochs) if epochs else words.training_sentence(run.record)
    wild = _wild(run)
    if len(wild):
        last = losses_of(run.record)[0][-1:]
        since = f"From step {plain(float(wild[0]))} on" if not len(last) or wild[0] > last[0] else "At some steps"
        said = f"{said} {since} it was no number or infinite.".strip()
    said = f"{said} {words.unfinished_sentence(run.record)}".strip()
    judged = run.findings.get("generalization")
    return f"{said} {judged.says}".strip() if judged is not None and judged.state in ("attention", "bad") else said


def _smoothing(runs: Sequence[RecordedRun]) -> str:
    """What the faint band and the line are, with the numbers where there is one run."""
    if len(runs) > 1:
        return "Each line is the running mean of a run's training loss over 2% of what was recorded of it."
    curve = loss_curve(runs[0].record)
    x, _ = losses_of(runs[0].record)
    if not len(x):
        return ""
    each = "step" if curve.every else "recorded step"
    faint = f"Faint is the training loss of each {each}, on the samples of its batch."
    if len(x) > PIXELS:
        faint = f"Faint are the lowest, the highest and the mean training loss of all {each}s at each place."
    wide = span(len(x))
    line = f" The line is the running mean of {wide} {each}s, 2% of them." if wide > 1 else ""
    missing = "" if curve.every else f" Of {count(words.last_step(runs[0].record), 'step')} {len(x):,} were recorded."
    undone = " Dotted are steps that a rollback undid; the run went on from the state before them."
    return f"{faint}{line}{missing}{undone if curve.undone else ''}"


def _axes(runs: Sequence[RecordedRun], timeline: Timeline, height: int) -> tuple[figure, bool, float]:
    raw = [losses_of(run.record)[1] for run in runs]
    every = np.concatenate([
        *(smooth(y) for y in raw),
        *(_epochs(run, "valid_loss")[1] for run in runs),
        *(_reference(run)[1] for run in runs),
    ])  # fmt: skip
    log = bool(len(every)) and float(every.min()) > 0 and float(every.max() / every.min()) > LOG_FROM
    alone = raw if len(runs) == 1 else []  # single steps are drawn; one wild one must not flatten the rest
    inner = [np.percentile(y, [0.5, 99.8]) for y in alone if len(y)]
    shown = padded_range(every, *inner, log=log)
    tops = [float(y.max()) for y in alone if len(y)]
    # a highest loss that does not flatten the rest is within the picture
    near = [
        top
        for top in tops
        if (top < HIGHEST**2 * shown[1] if log else top - shown[0] < HIGHEST * (shown[1] - shown[0]))
    ]
    shown = padded_range(every, *inner, near, log=log)
    return timeline.axes(height, shown, log=log, label=_axis_label(runs)), log, shown[1]


def _reference(run: RecordedRun) -> tuple[Array, Array]:
    motions, _ = standing(run.record, Motion)
    return finite(by_step(motions), column(motions, "reference_loss"))


def _epochs(run: RecordedRun, name: str, *, mean: bool | None = None) -> tuple[Array, Array]:
    """Steps and values of the epochs; only of those that judged the running mean, or only of the others."""
    epochs, _ = standing(run.record, Epoch)
    values = column(epochs, name)
    if mean is not None:
        values = np.where((column(epochs, "mean") == 1.0) == mean, values, np.nan)
    x, y = finite(by_step(epochs), values)
    kept = extremes(y, MOST_MARKS)
    return x[kept], y[kept]


def _draw_losses(plot: figure, run: RecordedRun, *, log: bool, top: float) -> list[Key]:
    keys = []
    x, y = losses_of(run.record)
    if len(x):
        if not run.several:
            keys += _single(plot, run, x, y, log=log)
        line = draw_line(plot, run, thin(x, smooth(y)), "blue")
        hover(plot, run, line, [("step", "@x{0,0}"), ("training loss, smoothed", "@y{%.4g}")], along=True)
        keys.append(run.key("line", "blue", "running mean over 2% of the run"))
    keys += _lost(plot, run, top)
    at, fixed = thin(*_reference(run), 400)
    if len(at):
        marks = dots(plot, run, ColumnDataSource({"x": at, "y": fixed}), "orange", size=5, filled=False)
        hover(plot, run, marks, [("step", "@x{0,0}"), ("loss of the reference batch", "@y{%.4g}")])
        keys.append(run.key("ring", "orange", "loss of the reference batch"))
    at, valid = _epochs(run, "valid_loss", mean=False)
    if len(at):
        draw_line(plot, run, (at, valid), "orange", width=1.2, alpha=0.6)
        _marks(plot, run, at, valid, "validation loss")
        keys.append(run.key("dot", "orange", "validation loss of each epoch"))
    at, valid = _epochs(run, "valid_loss", mean=True)
    if len(at):
        _marks(plot, run, at, valid, "validation loss of the running mean", "diamond")
        keys.append(
            run.key("diamond", "orange", "validation loss of the running mean of the parameters, in their stead")
        )
    return keys


def _single(plot: figure, run: RecordedRun, x: Array, y: Array, *, log: bool) -> list[Key]:
    """The loss of single steps: where there are more than pixels, from the lowest to the highest, and the mean."""
    middle, low, high, mean = pixels(x, y)
    if log:
        floor = float(y[y > 0].min()) if (y > 0).any() else 1.0
        low, high, mean = (np.maximum(each, floor) for each in (low, high, mean))
    every = "single steps" if loss_curve(run.record).every else "single recorded steps"
    if len(middle) == len(x):
        draw_line(plot, run, (middle, mean), "blue", width=1, alpha=0.35)
        return [Key("thin", "blue", f"training loss of {every}")]
    band(plot, run, middle, low, high, "blue", alpha=0.3)
    draw_line(plot, run, (middle, mean), "blue", width=1, alpha=0.35)
    return [Key("band", "blue", f"training loss of {every}, lowest to highest")]


def _lost(plot: figure, run: RecordedRun, top: float) -> list[Key]:
    """Steps that a rollback undid, and steps whose loss was no number."""
    curve, keys = loss_curve(run.record), []
    apart: list[Array] = []
    for steps, losses in curve.undone:
        good = (np.abs(losses) < LARGEST) & (np.abs(steps) < LARGEST)
        nothing = np.full(1, np.nan)  # so that stretches are not joined
        mean = smooth(losses[good])
        apart += [np.stack([np.append(x, nothing) for x in thin(steps[good], mean, 400)])] if good.any() else []
    if apart:
        lost = plot.line(*np.concatenate(apart[:20], axis=1), line_width=1.5, line_alpha=0.8, line_dash="dotted")
        paint(lost.glyph, line_color="red")
        run.own(lost)
        keys.append(Key("dots", "red", "steps that a rollback undid, running mean"))
    wild = _wild(run)
    if len(wild):
        at = wild[np.unique(np.linspace(0, len(wild) - 1, MOST_MARKS).astype(np.int64))]
        marks = plot.scatter(at, np.full(len(at), top), marker="x", size=9, line_width=2)
        paint(marks.glyph, line_color="red")
        run.own(marks)
        keys.append(Key("cross", "red", "the loss was no number, or infinite: drawn at the top"))
    return keys


def _wild(run: RecordedRun) -> Array:
    """Steps whose loss was no number, or infinite."""
    curve = loss_curve(run.record)
    return curve.steps[np.isinf(curve.losses) & (np.abs(curve.steps) < LARGEST)]


def _marks(plot: figure, run: RecordedRun, at: Array, values: Array, what: str, marker: str = "circle") -> None:
    """One dot an epoch, with the epoch in its tooltip."""
    epochs = run.record.of(Epoch)
    number = dict(zip(by_step(epochs), column(epochs, "epoch"), strict=True))
    source = ColumnDataSource({"x": at, "y": values, "epoch": [number[step] for step in at]})
    marks = dots(plot, run, source, "orange", marker=marker, size=6 if marker == "circle" else 8)
    hover(plot, run, marks, [("epoch", "@epoch"), ("step", "@x{0,0}"), (what, "@y{%.4g}")])


def _axis_label(runs: Sequence[RecordedRun]) -> str:
    """The step axis, with the length of an epoch where it is one number."""
    lengths: set[float] = set()
    for run in runs:
        steps = by_step(run.record.of(Epoch))
        lengths |= set(np.diff(steps[np.isfinite(steps)]).tolist())
    if len(lengths) == 1 and (length := lengths.pop()) > 0:
        return f"step ({length:,.0f} steps make an epoch)"
    return "step"
