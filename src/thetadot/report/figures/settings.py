"""The settings in the optimizer's words, each beside what it means for the motion."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from thetadot.records import Motion, standing
from thetadot.report import words
from thetadot.report.figures.frame import Timeline, hover, spread, trace
from thetadot.report.figures.picture import Key, Panel, Picture
from thetadot.report.series import by_step, column, finite, thin

if TYPE_CHECKING:
    from collections.abc import Sequence

    from thetadot.report.runs import Run

PANELS = (
    ("lr", "Learning rate", "α"),
    ("time_step", "Time step: how far the motion's clock goes in one step", "γ"),
    ("momentum", "Momentum: the share of velocity that survives a step", "β"),
    ("friction", "Friction: how fast velocity is lost", "λ"),
    ("batch_size", "Batch size: samples averaged into one gradient", "B"),
    ("temperature", "Temperature: how hard noise shakes", "T"),
)
"""The optimizer's words on the left, their twins on the right."""


def picture(runs: Sequence[Run], timeline: Timeline) -> Picture | None:
    """Pairs of panels, the optimizer's word left and its physical twin right; of the known quantities only."""
    if not any(run.record.of(Motion) for run in runs):
        return None
    panels = [panel for names in PANELS if (panel := _panel(runs, timeline, *names)) is not None]
    several = runs[0].several
    return Picture(
        name="settings",
        heading="The same settings twice: as the optimizer's knobs and as a motion",
        reading="Training can be read as a ball rolling down a landscape. Left is what is handed to the optimizer, "
        "right is what it means for the ball; a knob may turn while its meaning stays the same.",
        says=tuple(_says(run) for run in runs),
        panels=tuple(panels),
        keys=(
            *(
                ()
                if several
                else (Key("line", "blue", "the optimizer's knob"), Key("line", "green", "its meaning for the motion"))
            ),
            *timeline.keys,
        ),
        columns=2,
    )


def _says(run: Run) -> str:
    motions, _ = standing(run.record, Motion)
    said = words.pair(
        words.change("momentum", column(motions, "momentum")), words.change("friction", column(motions, "friction"))
    )
    sizes = column(motions, "batch_size")
    sizes = np.maximum(sizes[1:], sizes[:-1]) if len(sizes) > 1 else sizes  # an epoch's last batch is no change
    cooled = words.pair(
        words.change("the batch", sizes),
        words.change("the temperature", column(motions, "temperature")),
    )
    return " ".join(text for text in (said, cooled) if text)


def _panel(runs: Sequence[Run], timeline: Timeline, *names: str) -> Panel | None:
    name, label, symbol = names
    role = "blue" if name in ("lr", "momentum", "batch_size") else "green"
    lines = []
    for run in runs:
        motions, _ = standing(run.record, Motion)
        x, y = finite(by_step(motions), column(motions, name))
        if len(x) or run.record.header.watched is None:
            lines.append((run, x, y))
    if not lines:
        return None
    every = np.concatenate([y for _, _, y in lines])
    plot = timeline.axes(170, spread(every, zero=name != "momentum", narrowest=0.02 if name == "momentum" else 0.2))
    for run, x, y in lines:
        line = trace(plot, run, thin(x, y), role)
        hover(plot, run, line, [("step", "@x{0,0}"), (name.replace("_", " "), "@y{%.4g}")], along=True)
    return Panel(label, symbol, plot)
