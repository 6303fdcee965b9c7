"""The plane of batch size and learning rate: where each scaling rule leads from here, and what would be unstable."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from bokeh.models import ColumnDataSource

from thetadot.core.formatting import plain
from thetadot.report.figures.frame import dots, empty_figure, hover, padded_range
from thetadot.report.figures.picture import Key, Panel, Picture
from thetadot.report.names import clean
from thetadot.report.palette import paint
from thetadot.report.present import Present, present
from thetadot.report.runs import RecordedRun, merged
from thetadot.report.series import drawable
from thetadot.verdicts.scaling import RULES, Rule

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bokeh.plotting import figure

    from thetadot.report.figures.picture import Mark
    from thetadot.report.series import Array

FURTHEST = 64
"""Rules are followed to this many times the present batch, and to this share of it."""
FARTHEST_LR = 300
"""Learning rates further from the present one than this factor are not drawn."""
STYLES: tuple[tuple[str, str, Mark], ...] = (
    ("blue", "solid", "line"),
    ("orange", "dashed", "dashed"),
    ("green", "dotted", "dotted"),
    ("purple", "dotdash", "dotdash"),
    ("ink", "solid", "line"),
    ("accent", "dashed", "dashed"),
    ("soft", "dotted", "dotted"),
)
"""Colour and line style of each rule; where colours tell runs apart, the style alone."""


def picture(runs: Sequence[RecordedRun]) -> Picture | None:
    """Draw every rule's curve through the operating point; None where no run has a learning rate and a batch size."""
    found = [(run, present(run.facts)) for run in runs]
    here = [(run, now) for run, now in found if now is not None]
    if not here:
        return None
    curves = [(run, now, rule, *curve(rule, now)) for run, now in here for rule in now.rules(RULES)]
    limits = [now.highest_lr for _, now in here if now.highest_lr is not None and _near_present(now.highest_lr, now.lr)]
    batches = np.array([now.batch for _, now in here])
    wide = np.concatenate([batches / FURTHEST, batches * FURTHEST, [1.0]])
    shown = padded_range([now.lr for _, now in here], *(y for *_, y in curves), limits, log=True)
    plot = empty_figure(380, padded_range(np.maximum(wide, 1.0), log=True), shown, x_log=True, y_log=True)
    plot.xaxis[0].axis_label = "batch size B"
    keys: list[Key] = []
    for run, now in here:
        keys += _draw_veto(plot, run, now, shown[1])
        keys += _draw_critical(plot, run, now, shown)
    for run, now, rule, x, y in curves:
        keys += _draw_rule(plot, run, rule, now, x, y)
    for run, now in here:
        source = ColumnDataSource({"x": [now.batch], "y": [now.lr], "step": [drawable(now.step)]})
        mark = dots(plot, run, source, "ink", size=13)
        hover(plot, run, mark, [("batch size", "@x{0,0}"), ("learning rate", "@y{%.4g}"), ("at step", "@step{0,0}")])
        keys.append(run.key("dot", "ink", "where the run is"))
    return Picture(
        name="plane",
        heading="If the batch size changes: what each rule makes of the learning rate",
        reading="Each line is one published rule, through the settings of this run. Where lines part, the rules "
        "disagree, and their conditions below are all there is to decide by. Inside the red region the step would be "
        "unstable at the curvature that was measured, whatever a rule says.",
        says=tuple("" if now is None else says(now) for _, now in found),
        panels=(Panel("Learning rate", "α", plot),),
        keys=merged(keys),
    )


def curve(rule: Rule, now: Present) -> tuple[Array, Array]:
    """A rule's learning rates along batch sizes, where it tells any and they are not beyond the picture."""
    batches = np.geomspace(max(now.batch / FURTHEST, 1.0), now.batch * FURTHEST, 49)
    found = [now.lr_at(rule, float(batch)) for batch in batches]
    y = np.array([lr if lr is not None and _near_present(lr, now.lr) else math.nan for lr in found], dtype=np.float64)
    return batches[np.isfinite(y)], y[np.isfinite(y)]


def _near_present(lr: float, present_lr: float) -> bool:
    return present_lr / FARTHEST_LR <= lr <= present_lr * FARTHEST_LR


def _draw_rule(plot: figure, run: RecordedRun, rule: Rule, now: Present, x: Array, y: Array) -> list[Key]:
    if not len(x):
        return []
    role, dash, mark = STYLES[(RULES if run.several else now.rules(RULES)).index(rule) % len(STYLES)]
    source = ColumnDataSource({"x": x, "y": y, "rule": [clean(rule.name, 40)] * len(x)})
    line = plot.line("x", "y", source=source, line_width=2, line_dash=dash)
    paint(line.glyph, line_color=run.role(role))
    hover(plot, run, run.own(line), [("rule", "@rule"), ("batch size", "@x{0,0}"), ("learning rate", "@y{%.3g}")])
    return [run.key(mark, role, clean(rule.name, 40))]


def _draw_veto(plot: figure, run: RecordedRun, now: Present, top: float) -> list[Key]:
    if now.highest_lr is None:
        return []
    area = plot.harea(y=[now.highest_lr, top * 1e6], x1=[1e-3, 1e-3], x2=[1e12, 1e12],
                      fill_alpha=0.05 if run.several else 0.12)  # fmt: skip
    paint(area.glyph, fill_color="red")
    run.own(area)
    edge = plot.line([1e-3, 1e12], [now.highest_lr] * 2, line_width=2, line_dash=run.dash())
    paint(edge.glyph, line_color=run.role("red"))
    run.own(edge)
    return [Key("band", "red", "vetoed: unstable at the measured curvature")]


def _draw_critical(plot: figure, run: RecordedRun, now: Present, shown: tuple[float, float]) -> list[Key]:
    if now.noise is None:
        return []
    low, high = shown[0] / 1e3, shown[1] * 1e3
    line = plot.line([now.noise.value] * 2, [low, high], line_width=1.5, line_dash="dashed")
    paint(line.glyph, line_color=run.role("purple"))
    run.own(line)
    if now.noise.low is not None and now.noise.high is not None:
        area = plot.harea(y=[low, high], x1=[now.noise.low] * 2, x2=[now.noise.high] * 2, fill_alpha=0.1)
        paint(area.glyph, fill_color=run.role("purple"))
        run.own(area)
        return [run.key("upright", "purple", "noise scale with its uncertainty: beyond it, rules part")]
    least = "the noise scale" if now.noise.resolved else "the noise scale is at least this much"
    return [run.key("upright", "purple", least)]


def says(now: Present) -> str:
    """Say which settings the lines pass through."""
    return f"At step {plain(now.step)} the batch was {plain(now.batch)} and the learning rate {plain(now.lr)}."
