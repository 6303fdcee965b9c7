"""Scores of the trials before training, against learning rate."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from bokeh.models import ColumnDataSource

from thetadot.records import Choice, Trial
from thetadot.report import words
from thetadot.report.figures.frame import axes, hover, spread
from thetadot.report.figures.picture import Key, Panel, Picture
from thetadot.report.names import clean
from thetadot.report.palette import paint
from thetadot.report.runs import merged
from thetadot.report.series import column, number

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from bokeh.plotting import figure

    from thetadot.records import Record
    from thetadot.report.runs import Run

ROLES = ("blue", "orange", "green", "purple")
MARKERS = ("circle", "square", "diamond", "triangle")
MOST_OPTIMIZERS = 12


def picture(runs: Sequence[Run]) -> Picture | None:
    """Score against learning rate, one colour an optimizer or a run; None where nothing was tried."""
    searched = [(run, [trial for trial in run.record.of(Trial) if number(trial.lr) > 0]) for run in runs]
    every = [trial for _, tried in searched for trial in tried]
    if not every:
        return None
    scores = column(every, "score")
    scores = scores[np.isfinite(scores)]
    log = bool(len(scores)) and float(scores.min()) > 0
    low, high = spread(scores, log=log)
    top = high * 1.05 if log else high
    edge = high * 1.2 if log else high + 0.1 * (high - low)  # room for the crosses of diverged trials
    plot = axes(300, spread(column(every, "lr"), log=True), (low, edge), x_log=True, y_log=log)
    plot.xaxis[0].axis_label = "learning rate α"
    keys: list[Key] = []
    for run, tried in searched:
        keys += _search(plot, run, tried, top)
    if len(scores) < len(every):
        keys.append(Key("cross", "red", "diverged: no score, drawn at the top edge"))
    return Picture(
        name="trials",
        heading=words.searched([words.chosen_by(run.record) for run, tried in searched if tried]),
        reading="Each mark is one short training with its own learning rate. Lower is better; too far left it learns "
        "slowly, too far right it is thrown off. Equal distances are equal factors, not equal amounts.",
        says=tuple(words.trials(tried, run.record.result, words.chosen_by(run.record)) for run, tried in searched),
        panels=(Panel("Loss on held-back samples after the trial", "score", plot),),
        keys=merged(keys),
    )


def _search(plot: figure, run: Run, tried: Sequence[Trial], top: float) -> list[Key]:
    keys: list[Key] = []
    names = list(dict.fromkeys(trial.optimizer for trial in tried))[:MOST_OPTIMIZERS]
    for place, name in enumerate(names):
        role = ROLES[place % len(ROLES)]
        some = [trial for trial in tried if trial.optimizer == name]
        _optimizer(plot, run, some, role, MARKERS[place % len(MARKERS)], top)
        if not run.several:
            keys.append(Key("dot", role, clean(name, 60)))
    chosen = _chosen(run.record, tried)
    if chosen is not None and chosen.score is not None:
        ring = plot.scatter([chosen.lr], [number(chosen.score)], size=22, fill_alpha=0, line_width=2.5)
        paint(ring.glyph, line_color=run.role("ink"))
        run.own(ring)
        otherwise = words.chosen_by(run.record) in ("rule", "given")
        said = "the run's own setting, chosen otherwise" if otherwise else "the one that was chosen"
        keys.append(Key("ring", "ink", said))
    return keys


def _optimizer(plot: figure, run: Run, tried: Sequence[Trial], role: str, shape: str, top: float) -> None:
    """One optimizer: a line through the best score at each learning rate, a mark for each trial."""
    best: dict[float, float] = {}
    for trial in tried:
        score = number(trial.score)
        if math.isfinite(score):
            best[trial.lr] = min(score, best.get(trial.lr, math.inf))
    shade = run.role(role)
    line = plot.line(sorted(best), [best[lr] for lr in sorted(best)], line_width=1.5, line_alpha=0.6)
    line.glyph.line_dash = run.dash()
    paint(line.glyph, line_color=shade)
    run.own(line)
    marker = shape if run.several else "circle"
    for kind, mark, size, colour in (("scored", marker, 9, shade), ("diverged", "x", 11, run.role("red"))):
        some = [trial for trial in tried if math.isfinite(number(trial.score)) is (kind == "scored")]
        if some:
            marks = plot.scatter("lr", "y", source=_source(some, kind, top), marker=mark, size=size, line_width=2)
            paint(marks.glyph, line_color=colour, fill_color=colour)
            hover(plot, run, run.own(marks), [
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
        "optimizer": [clean(trial.optimizer, 60) for trial in tried],
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
