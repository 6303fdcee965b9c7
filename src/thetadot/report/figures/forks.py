"""Forks of the run: the losses of both branches along each, and what was decided."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from bokeh.models import ColumnDataSource, FixedTicker

from thetadot.core.formatting import plain
from thetadot.records import Fork
from thetadot.report import words
from thetadot.report.figures.frame import FACTORS, dots, empty_figure, hover, padded_range, path
from thetadot.report.figures.picture import Key, Panel, Picture
from thetadot.report.names import clean
from thetadot.report.runs import RecordedRun, merged
from thetadot.report.series import Array, drawable, gathered

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bokeh.plotting import figure

MOST = 8
"""Forks of a run that are drawn."""


def picture(runs: Sequence[RecordedRun]) -> Picture | None:
    """Two curves a fork, side by side; None where nothing was decided on the way."""
    found = {run.index: run.record.of(Fork)[:MOST] for run in runs}
    every = [fork for forks in found.values() for fork in forks]
    if not every:
        return None
    curves = [np.asarray(curve, dtype=np.float64) for fork in every for curve in (fork.losses, fork.other_losses)]
    levels = [gathered(found.values(), name) for name in ("level", "other_level")]
    seen = np.concatenate([*curves, *levels])
    seen = seen[np.isfinite(seen)]
    log = bool(len(seen)) and float(seen.min()) > 0
    plot = empty_figure(300, (0.5, max(map(len, found.values())) + 0.5), padded_range(seen, log=log), y_log=log)
    plot.xaxis[0].axis_label = "fork"
    plot.xaxis[0].ticker = FixedTicker(ticks=list(range(1, MOST + 1)))
    keys: list[Key] = []
    for run in runs:
        for place, fork in enumerate(found[run.index], start=1):
            _fork(plot, run, place, fork)
        if found[run.index]:
            keys += [run.key("line", "blue", "the run"), run.key("line", "orange", "a copy of it at a larger rate")]
            keys.append(Key("dot", "ink", "filled: the mean of the one that the run went on from"))
    raised = any(fork.raised for fork in every)
    return Picture(
        name="forks",
        heading="The rate was raised on the way" if raised else "Larger rates were tried on the way and were no better",
        reading="At each fork the run and a copy of it at a larger rate take the same batches; the run goes on from "
        "the one whose training loss is lower over the second half." + (f" {FACTORS}" if log else ""),
        says=tuple(words.forks(found[run.index]) for run in runs),
        panels=(Panel("Training loss along the fork", "in loss", plot),),
        keys=merged(keys),
    )


def _fork(plot: figure, run: RecordedRun, place: int, fork: Fork) -> None:
    """Both curves across the width of one place, and the levels that decided."""
    branches = (
        ("blue", fork.losses, fork.level, fork.lr),
        ("orange", fork.other_losses, fork.other_level, fork.other_lr),
    )
    for winner, (role, losses, level, lr) in zip((not fork.raised, fork.raised), branches, strict=True):
        if losses:
            path(plot, run, (_spaced_beside(place, len(losses)), np.asarray(losses, dtype=np.float64)), role, width=1.6)
        at = drawable(level)
        if not math.isfinite(at):
            continue
        source = ColumnDataSource({
            "x": [place + 0.42],
            "y": [at],
            "step": [plain(fork.step)],
            "steps": [plain(fork.steps)],
            "lr": [plain(lr)],
            "level": [plain(at)],
            "why": [clean(fork.because, 200)],
        })  # fmt: skip
        rows = [("step", "@step, for @steps"), ("learning rate", "@lr"), ("level", "@level"), ("", "@why")]
        hover(plot, run, dots(plot, run, source, "ink" if winner else role, filled=winner), rows)


def _spaced_beside(place: int, points: int) -> Array:
    return place - 0.4 + 0.8 * (np.arange(points) + 0.5) / points
