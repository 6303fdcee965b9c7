"""The settings in the optimizer's words, each beside what it means for the motion."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from thetadot.records import Motion, standing
from thetadot.report import words
from thetadot.report.figures.frame import FACTORS, Timeline, draw_line, hover, padded_range
from thetadot.report.figures.picture import Key, Panel, Picture
from thetadot.report.series import by_step, column, finite, thin

if TYPE_CHECKING:
    from collections.abc import Sequence

    from thetadot.report.runs import RecordedRun

PANELS = (
    ("lr", "Learning rate", "α"),
    ("time_step", "Time step: the motion's time that one step takes", "γ"),
    ("momentum", "Momentum: the share of velocity that survives a step", "β"),
    ("friction", "Friction: how fast velocity is lost", "λ"),
    ("batch_size", "Batch size: samples averaged into one gradient", "B"),
    ("temperature", "Temperature: energy of the motion that noise keeps up", "T"),
)
"""The optimizer's words on the left, their counterparts on the right."""
KEYS = (Key("line", "blue", "the optimizer's setting"), Key("line", "green", "its counterpart in mechanics"))
LOG_FROM = 100.0
"""Of several runs whose largest values differ by more than this factor, a linear axis shows the largest only."""


def picture(runs: Sequence[RecordedRun], timeline: Timeline) -> Picture | None:
    """Pairs of panels, the optimizer's word left and its physical counterpart right; of the known quantities only."""
    if not any(run.record.of(Motion) for run in runs):
        return None
    found = [panel for names in PANELS if (panel := _panel(runs, timeline, *names)) is not None]
    panels, log = [panel for panel, _ in found], any(log for _, log in found)
    several = runs[0].several
    return Picture(
        name="settings",
        heading="The same settings twice: in the optimizer's words and as mechanics",
        reading="Left is what is given to the optimizer. Right is what it comes to when training is read as the motion "
        "of a body with friction, the loss being its potential energy. A setting may change while its counterpart "
        f"stays the same.{f' {FACTORS}' if log else ''}",
        says=tuple(_says(run) for run in runs),
        panels=tuple(panels),
        keys=(
            *(() if several else KEYS),
            *timeline.keys,
        ),
        columns=2,
    )


def _says(run: RecordedRun) -> str:
    motions, _ = standing(run.record, Motion)
    said = words.join_halves(
        words.change("momentum", column(motions, "momentum")), words.change("friction", column(motions, "friction"))
    )
    sizes = column(motions, "batch_size")
    sizes = np.maximum(sizes[1:], sizes[:-1]) if len(sizes) > 1 else sizes  # an epoch's last batch is no change
    cooled = words.join_halves(
        words.change("the batch", sizes),
        words.change("the temperature", column(motions, "temperature")),
    )
    return " ".join(text for text in (said, cooled) if text)


def _panel(runs: Sequence[RecordedRun], timeline: Timeline, *names: str) -> tuple[Panel, bool] | None:
    name, label, symbol = names
    role = "blue" if name in ("lr", "momentum", "batch_size") else "green"
    lines = []
    for run in runs:
        motions, _ = standing(run.record, Motion)
        x, y = finite(by_step(motions), column(motions, name))
        if len(x):
            lines.append((run, x, y))
    if not lines:
        return None
    tops = [float(y.max()) for _, _, y in lines]
    log = min(tops) > 0 and max(tops) > LOG_FROM * min(tops)
    if log:  # 0, where a warm-up begins, has no place there
        lines = [(run, *finite(x, y, positive=True)) for run, x, y in lines]
    every = np.concatenate([y for _, _, y in lines])
    plot = timeline.axes(
        170,
        padded_range(
            every, log=log, zero=name != "momentum" and not log, narrowest=0.02 if name == "momentum" else 0.2
        ),
        log=log,
    )
    for run, x, y in lines:
        line = draw_line(plot, run, thin(x, y), role)
        hover(plot, run, line, [("step", "@x{0,0}"), (name.replace("_", " "), "@y{%.4g}")], along=True)
    return Panel(label, symbol, plot), log
