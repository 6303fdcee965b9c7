"""Pictures of a comparison: losses against gradient evaluations, and paired differences with their intervals."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from bokeh.models import FixedTicker, HoverTool

from thetadot.report.figures.frame import FACTORS, empty_figure, padded_range, straight_line
from thetadot.report.figures.losses import LOG_FROM
from thetadot.report.figures.picture import Key, Panel, Picture
from thetadot.report.names import clean
from thetadot.report.palette import paint
from thetadot.report.runs import DASHES, ROLES
from thetadot.report.series import LARGEST

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bokeh.plotting import figure

    from thetadot.comparing.compared_run import ComparedRun
    from thetadot.comparing.result import Comparison
    from thetadot.report.figures.picture import Mark
    from thetadot.report.series import Array

MOST_CURVES = len(ROLES) * len(DASHES)
"""As many runs as colours and line styles tell apart; the table has all of them."""
_PLACES = 200  # of a curve
_BEYOND = 10.0  # times as far as half of the others: a run that is farther must not flatten them
_NAME = 22  # characters of a run's name beside an axis
_MARKS: dict[str, Mark] = {"solid": "line", "dashed": "dashed", "dotted": "dotted", "dotdash": "dotdash"}


def role(index: int) -> str:
    """Return the colour of a run."""
    return ROLES[index % len(ROLES)]


def dash(index: int) -> str:
    """Return the line style of a run."""
    return DASHES[index // len(ROLES) % len(DASHES)]


def mark(index: int) -> str:
    """Return the mark of a run in keys and tables."""
    return _MARKS[dash(index)]


def comparison_pictures(comparison: Comparison) -> list[Picture]:
    """Draw what there is to draw."""
    return [found for found in (_loss_picture(comparison), _differences(comparison)) if found is not None]


# Losses along the run.


def _loss_picture(comparison: Comparison) -> Picture | None:
    drawn = list(enumerate(comparison.rows))[:MOST_CURVES]
    panels = []
    log = False
    for kind, said in (
        ("valid", "Validation loss, after each epoch"),
        ("train", "Training loss, means over stretches"),
    ):
        curves = [(index, _gathered(row, kind, comparison.samples)) for index, row in drawn]
        made = _curve_panel([(index, curve) for index, curve in curves if curve is not None], said, comparison)
        if made is not None:
            panels.append(made[0])
            log = log or made[1]
    if not panels:
        return None
    several = comparison.seeds > 1
    reading = ["Lines are means over seeds, and areas reach from the least to the largest seed." if several else ""]
    reading += ["At equal places all have made equally many gradient evaluations.", FACTORS if log else ""]
    left = len(comparison.rows) - MOST_CURVES
    reading += [f"The first {MOST_CURVES} runs are drawn; the table has all."] if left > 0 else []
    return Picture(
        name="losses",
        heading="Loss against what it cost",
        reading=" ".join(filter(None, reading)),
        says=("",),
        panels=tuple(panels),
        keys=tuple(Key(_MARKS[dash(index)], role(index), clean(row.name, 80)) for index, row in drawn),
    )


def _gathered(row: ComparedRun, kind: str, samples: int) -> tuple[Array, Array, Array, Array] | None:
    """Places in epochs, and the mean, least and largest loss of the seeds there; None without a curve."""
    curves = [np.array(getattr(outcome, kind), dtype=np.float64).reshape(-1, 2) for outcome in row.outcomes]
    curves = [curve[np.isfinite(curve).all(1) & (np.abs(curve[:, 1]) < LARGEST)] for curve in curves]
    curves = [curve for curve in curves if len(curve)]
    if not curves:
        return None
    first = min(float(curve[0, 0]) for curve in curves)
    last = max(float(curve[-1, 0]) for curve in curves)
    most = max(len(curve) for curve in curves)
    at = np.linspace(first, last, min(_PLACES, most)) if len(curves) > 1 else curves[0][:, 0]
    values = np.stack([np.interp(at, curve[:, 0], curve[:, 1], left=np.nan, right=np.nan) for curve in curves])
    there = np.isfinite(values).any(0)
    at, values = at[there], values[:, there]
    return at / samples, np.nanmean(values, 0), np.nanmin(values, 0), np.nanmax(values, 0)


def _curve_panel(
    curves: Sequence[tuple[int, tuple[Array, Array, Array, Array]]], said: str, comparison: Comparison
) -> tuple[Panel, bool] | None:
    if not curves:
        return None
    # one run that is far away must not flatten the rest
    means = [mean for _, (_, mean, _, _) in curves]
    shown = np.concatenate([np.minimum(mean, 10.0 * mean[0]) if mean[0] > 0 else mean for mean in means])
    log = float(shown.min()) > 0 and float(shown.max() / shown.min()) > LOG_FROM
    end = max(float(at[-1]) for _, (at, _, _, _) in curves)
    plot = empty_figure(300, (0.0, 1.02 * end), padded_range(shown, log=log), y_log=log)
    plot.xaxis[0].axis_label = "gradient evaluations, in passes over the training data"
    for index, (at, mean, low, high) in curves:
        if comparison.seeds > 1 and len(at) > 1:
            area = plot.varea(x=_as_float32(at), y1=_as_float32(low), y2=_as_float32(high), fill_alpha=0.13)
            paint(area.glyph, fill_color=role(index))
            _mark_as_own(area, index, comparison.rows[index])
        one = len(at) == 1
        line = (
            plot.scatter(_as_float32(at), _as_float32(mean), size=8)
            if one
            else plot.line(_as_float32(at), _as_float32(mean), line_width=2.0, line_dash=dash(index))
        )
        paint(line.glyph, line_color=role(index))
        _mark_as_own(line, index, comparison.rows[index])
        _add_tooltip(plot, line, [("run", "$name"), ("passes", "@x{0.[00]}"), ("loss", "@y{0.0000a}")])
    return Panel(said, "", plot), log


# Differences.


def _differences(comparison: Comparison) -> Picture | None:
    first = comparison.rows[0]
    pairs = [
        (index, row, found.mean, found.half or 0.0)
        for index, row in enumerate(comparison.rows[:MOST_CURVES])
        if index > 0 and (found := comparison.against(row, first)).mean is not None
    ]
    if not pairs:
        return None
    each = {index: _apart(row, first, comparison) for index, row, _, _ in pairs}
    reach = np.array([[mean - half, mean + half] for _, _, mean, half in pairs])
    farthest = np.sort(np.abs(reach).max(1))
    most = min(_BEYOND * float(farthest[(len(pairs) - 1) // 2]) or LARGEST, LARGEST)
    shown = np.clip([0.0, *reach.ravel()], -most, most)
    cut = " What is far beyond the others leaves the picture." if farthest[-1] > most else ""
    plot = empty_figure(70 + 34 * len(pairs), padded_range(shown, narrowest=1e-6), (-0.6, len(pairs) - 0.4))
    for place, (index, row, mean, half) in enumerate(pairs):
        height = len(pairs) - 1.0 - place
        if half:
            whisker = plot.segment([mean - half], [height], [mean + half], [height], line_width=2.5)
            paint(whisker.glyph, line_color=role(index))
            _mark_as_own(whisker, index, row)
        points = plot.scatter(_as_float32(each[index]), np.full(len(each[index]), height), size=5, fill_alpha=0.35)
        paint(points.glyph, line_color=role(index), fill_color=role(index))
        _mark_as_own(points, index, row)
        middle = plot.scatter([mean], [height], size=10, marker="diamond")
        paint(middle.glyph, line_color=role(index), fill_color=role(index))
        _mark_as_own(middle, index, row)
        _add_tooltip(plot, middle, [("run", "$name"), ("difference", "@x{0.0000a}")])
    straight_line(plot, 0.0, "soft", dimension="height")
    plot.yaxis[0].ticker = FixedTicker(ticks=list(range(len(pairs))))
    plot.yaxis[0].major_label_overrides = {
        len(pairs) - 1 - place: clean(row.name, _NAME) for place, (_, row, _, _) in enumerate(pairs)
    }
    plot.xaxis[0].axis_label = f"loss minus that of {clean(first.name, 60)}"
    return Picture(
        name="differences",
        heading="Which differences are more than chance",
        reading=f"Left of the dashed line is lower than {clean(first.name, 80)}. Dots are seeds, diamonds their mean, "
        f"bars its 95% interval: where a bar crosses the line, the difference is not resolved.{cut}",
        says=("",),
        panels=(Panel("Paired differences of the loss (left is better)", "", plot),),
    )


def _apart(row: ComparedRun, first: ComparedRun, comparison: Comparison) -> Array:
    pairs = zip(row.losses(comparison.by), first.losses(comparison.by), strict=True)
    found = [a - b for a, b in pairs if a is not None and b is not None]
    return np.array([value for value in found if math.isfinite(value) and abs(value) < LARGEST], dtype=np.float64)


# Marks.


def _as_float32(values: Array) -> Any:
    return np.asarray(values, dtype=np.float32)


def _mark_as_own(renderer: Any, index: int, row: ComparedRun) -> None:
    """Mark a drawn thing as a run's, so that the page can hide the run."""
    renderer.tags = [{"run": index}]
    renderer.name = clean(row.name, 80)


def _add_tooltip(plot: figure, drawn: Any, rows: Sequence[tuple[str, str]]) -> None:
    plot.add_tools(
        HoverTool(
            renderers=[drawn],
            tooltips=list(rows),
            mode="mouse",
            line_policy="nearest",
            point_policy="snap_to_data",
            attachment="horizontal",
        )
    )
