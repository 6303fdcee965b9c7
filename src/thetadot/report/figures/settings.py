"""The settings in the optimizer's words, each beside what it means for the motion."""

from __future__ import annotations

from typing import TYPE_CHECKING

from thetadot.records import Motion, Record, standing
from thetadot.report import words
from thetadot.report.figures.frame import Timeline, hover, spread
from thetadot.report.figures.picture import Key, Panel, Picture
from thetadot.report.palette import paint
from thetadot.report.series import by_step, column, finite, thin

if TYPE_CHECKING:
    from collections.abc import Sequence

PANELS = (
    ("lr", "Learning rate", "α"),
    ("time_step", "Time step: how far the motion's clock goes in one step", "γ"),
    ("momentum", "Momentum: the share of velocity that survives a step", "β"),
    ("friction", "Friction: how fast velocity is lost", "λ"),
    ("batch_size", "Batch size: samples averaged into one gradient", "B"),
    ("temperature", "Temperature: how hard noise shakes", "T"),
)
"""The optimizer's words on the left, their twins on the right."""


def picture(record: Record, timeline: Timeline) -> Picture | None:
    """Three pairs of panels: the optimizer's word on the left, its physical twin on the right."""
    motions, _ = standing(record, Motion)
    if not motions:
        return None
    said = words.pair(
        words.change("momentum", column(motions, "momentum")), words.change("friction", column(motions, "friction"))
    )
    cooled = words.pair(
        words.change("the batch", column(motions, "batch_size")),
        words.change("the temperature", column(motions, "temperature")),
    )
    return Picture(
        name="settings",
        heading="The same settings, told twice: as the optimizer's knobs and as a motion",
        reading="Training can be read as a ball rolling down a landscape. Left is what is handed to the optimizer, "
        "right is what it means for the ball; a knob may turn while its meaning stays the same.",
        says=" ".join(text for text in (said, cooled) if text),
        panels=tuple(_panel(motions, timeline, *names) for names in PANELS),
        keys=(
            Key("line", "blue", "the optimizer's knob"),
            Key("line", "green", "its meaning for the motion"),
            *timeline.keys,
        ),
        columns=2,
    )


def _panel(motions: Sequence[Motion], timeline: Timeline, *names: str) -> Panel:
    name, label, symbol = names
    role = "blue" if name in ("lr", "momentum", "batch_size") else "green"
    x, y = finite(by_step(motions), column(motions, name))
    plot = timeline.axes(170, spread(y, zero=name != "momentum", narrowest=0.02 if name == "momentum" else 0.2))
    line = plot.line(*thin(x, y), line_width=2)
    paint(line.glyph, line_color=role)
    hover(plot, line, [("step", "@x{0,0}"), (name.replace("_", " "), "@y{%.4g}")], along=True)
    return Panel(label, symbol, plot)
