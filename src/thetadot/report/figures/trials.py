"""What was tried before the training: score against learning rate."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from bokeh.models import ColumnDataSource

from thetadot.records import Choice, Record, Trial
from thetadot.report import words
from thetadot.report.figures.frame import axes, hover, spread
from thetadot.report.figures.picture import Key, Panel, Picture
from thetadot.report.palette import paint
from thetadot.report.series import column, number

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from bokeh.plotting import figure

ROLES = ("blue", "orange", "green", "purple")
MOST_OPTIMIZERS = 12


def picture(record: Record) -> Picture | None:
    """Score against learning rate, one colour an optimizer; None where nothing was tried."""
    tried = [trial for trial in record.of(Trial) if number(trial.lr) > 0]
    if not tried:
        return None
    scores = column(tried, "score")
    scores = scores[np.isfinite(scores)]
    log = bool(len(scores)) and float(scores.min()) > 0
    low, high = spread(scores, log=log)
    top = high * 1.05 if log else high
    edge = high * 1.2 if log else high + 0.1 * (high - low)  # room for the crosses of diverged trials
    plot = axes(300, spread(column(tried, "lr"), log=True), (low, edge), x_log=True, y_log=log)
    plot.xaxis[0].axis_label = "learning rate α"
    keys = []
    names = list(dict.fromkeys(trial.optimizer for trial in tried))[:MOST_OPTIMIZERS]
    for role, name in zip(ROLES * MOST_OPTIMIZERS, names, strict=False):
        _optimizer(plot, [trial for trial in tried if trial.optimizer == name], role, top)
        keys.append(Key("dot", role, name))
    if len(scores) < len(tried):
        keys.append(Key("cross", "red", "diverged: no score, drawn at the top edge"))
    chosen = _chosen(record, tried)
    if chosen is not None and chosen.score is not None:
        ring = plot.scatter([chosen.lr], [number(chosen.score)], size=22, fill_alpha=0, line_width=2.5)
        paint(ring.glyph, line_color="ink")
        keys.append(Key("ring", "ink", "the one that was chosen"))
    return Picture(
        name="trials",
        heading="Short trials showed which step size learns fastest without running away",
        reading="Each mark is one short training with its own learning rate. Lower is better; too far left it learns "
        "slowly, too far right it is thrown off. Equal distances are equal factors, not equal amounts.",
        says=words.trials(tried, record.result),
        panels=(Panel("Loss on held-back samples after the trial", "score", plot),),
        keys=tuple(keys),
    )


def _optimizer(plot: figure, tried: Sequence[Trial], role: str, top: float) -> None:
    """One optimizer: a line through the best score at each learning rate, a mark for each trial."""
    best: dict[float, float] = {}
    for trial in tried:
        score = number(trial.score)
        if math.isfinite(score):
            best[trial.lr] = min(score, best.get(trial.lr, math.inf))
    line = plot.line(sorted(best), [best[lr] for lr in sorted(best)], line_width=1.5, line_alpha=0.6)
    paint(line.glyph, line_color=role)
    for kind, marker, size, shade in (("scored", "circle", 9, role), ("diverged", "x", 11, "red")):
        some = [trial for trial in tried if math.isfinite(number(trial.score)) is (kind == "scored")]
        if some:
            marks = plot.scatter("lr", "y", source=_source(some, kind, top), marker=marker, size=size, line_width=2)
            paint(marks.glyph, line_color=shade, fill_color=shade)
            hover(plot, marks, [
                ("optimizer", "@optimizer"),
                ("learning rate", "@lr{%.3g}"),
                ("momentum", "@momentum{%.4g}"),
                ("batch size", "@batch"),
                ("round, steps", "@round, @steps"),
                ("score", "@score"),
            ])  # fmt: skip


def _source(tried: Sequence[Trial], kind: str, top: float) -> Any:
    scores = column(tried, "score")
    return ColumnDataSource({
        "lr": column(tried, "lr"),
        "y": scores if kind == "scored" else np.full(len(tried), top),
        "optimizer": [trial.optimizer for trial in tried],
        "momentum": column(tried, "momentum"),
        "batch": column(tried, "batch_size"),
        "round": column(tried, "round"),
        "steps": column(tried, "steps"),
        "score": [f"{score:.4g}" if math.isfinite(score) else "diverged" for score in scores],
    })  # fmt: skip


def _chosen(record: Record, tried: Sequence[Trial]) -> Trial | None:
    """The best trial at the optimizer and learning rate that the run then used."""
    choices = {choice.setting: choice.value for choice in record.of(Choice)}
    result = record.result
    lr = choices.get("lr", result.lr if result else None)
    optimizer = choices.get("optimizer", result.optimizer if result else None)
    if not isinstance(lr, int | float):
        return None
    same = [
        trial
        for trial in tried
        if trial.score is not None
        and math.isclose(trial.lr, number(lr), rel_tol=1e-6)
        and optimizer in (None, trial.optimizer)
    ]
    return min(same, key=lambda trial: trial.score or 0.0, default=None)
