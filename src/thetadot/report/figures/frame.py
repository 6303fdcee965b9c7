"""Axes in the house's style, and the step axis that pictures share."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from bokeh.models import (
    BasicTicker,
    BasicTickFormatter,
    BoxZoomTool,
    ColumnDataSource,
    CrosshairTool,
    HoverTool,
    LogTicker,
    LogTickFormatter,
    NumeralTickFormatter,
    PrintfTickFormatter,
    Range1d,
    TickFormatter,
    WheelZoomTool,
)
from bokeh.models.annotations import Span
from bokeh.plotting import figure

from thetadot.records import (
    Barrier,
    Curvature,
    Epoch,
    Equilibrium,
    Layers,
    Losses,
    Motion,
    Noise,
    Regularization,
    Rollback,
)
from thetadot.report.figures.picture import Key
from thetadot.report.palette import paint
from thetadot.report.series import LARGEST, MOST_MARKS, Array, column

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from thetadot.report.runs import RecordedRun

Limits = tuple[float, float]
FACTORS = "Equal distances upward are equal factors, not equal amounts."
KINDS = (Motion, Losses, Epoch, Curvature, Noise, Rollback, Layers, Equilibrium, Regularization, Barrier)
AXIS_FONT = "12px"
PLAIN = (1e-4, 1e6)
"""Between these, an axis is labelled with plain numbers; beyond, with powers of ten."""


def padded_range(
    *values: Array | Sequence[float], log: bool = False, zero: bool = False, narrowest: float = 0.2
) -> Limits:
    """A range that holds the values with some air; never so narrow that rounding errors look like motion."""
    every = np.concatenate([np.asarray(value, dtype=np.float64) for value in values])
    every = every[np.isfinite(every)]
    if log:
        every = every[every > 1 / LARGEST]
        low, high = (float(every.min()), float(every.max())) if len(every) else (0.1, 10.0)
        air = max((high / low) ** 0.08, 1.25)
        return low / air, high * air
    low, high = (float(every.min()), float(every.max())) if len(every) else (0.0, 1.0)
    if zero:
        low, high = min(low, 0.0), max(high, 0.0)
    width = max(high - low, narrowest * max(abs(low), abs(high)), 1e-12)
    middle = (low + high) / 2
    low, high = (low, low + width) if zero and low == 0 else (middle - width / 2, middle + width / 2)
    return (low if zero and low == 0 else low - 0.06 * width), high + 0.08 * width


def empty_figure(
    height: int, x_range: Range1d | Limits, shown: Limits, *, x_log: bool = False, y_log: bool = False
) -> figure:
    """An empty figure: zoom by dragging or by the wheel with Ctrl, so that neither hinders scrolling the page."""
    x_range = x_range if isinstance(x_range, Range1d) else Range1d(start=x_range[0], end=x_range[1])
    drag, wheel = BoxZoomTool(dimensions="auto"), WheelZoomTool(modifiers="ctrl")
    plot = figure(
        height=height,
        sizing_mode="stretch_width",
        x_range=x_range,
        y_range=Range1d(start=shown[0], end=shown[1]),
        x_axis_type="log" if x_log else "linear",
        y_axis_type="log" if y_log else "linear",
        tools=[drag, wheel],
        active_drag=drag,
        active_scroll=wheel,
        toolbar_location=None,
        min_border_right=14,
        min_border_left=62,
    )
    plot.border_fill_color = None  # the card shows through: a fill would leave a seam at the canvas's edge
    paint(plot, background_fill_color="card", outline_line_color="line")
    for axis, limits, log in ((plot.xaxis[0], (x_range.start, x_range.end), x_log), (plot.yaxis[0], shown, y_log)):
        paint(
            axis,
            axis_line_color="line",
            major_tick_line_color="line",
            minor_tick_line_color="line",
            major_label_text_color="soft",
            axis_label_text_color="soft",
        )
        axis.axis_label_text_font_style = "normal"
        axis.major_label_text_font_size = axis.axis_label_text_font_size = AXIS_FONT
        axis.major_label_text_font = axis.axis_label_text_font = "system-ui, sans-serif"
        axis.minor_tick_in = axis.minor_tick_out = 0
        axis.major_tick_in = 0
        axis.ticker = LogTicker(mantissas=[1, 2, 5], desired_num_ticks=5) if log else BasicTicker(desired_num_ticks=5)
        axis.formatter = _formatter(limits, log=log)
    for grid in plot.grid:
        paint(grid, grid_line_color="grid")
    return plot


def _formatter(limits: Any, *, log: bool) -> TickFormatter:
    low, high = limits if log else (max(map(abs, limits)),) * 2
    if low > PLAIN[0] and high < PLAIN[1]:
        return PrintfTickFormatter(format="%.6g")
    if log and high / low < 1e3:  # within a decade, powers of ten are no labels
        return PrintfTickFormatter(format="%.2g")
    return LogTickFormatter() if log else BasicTickFormatter(precision=1)


def hover(
    plot: figure, run: RecordedRun, renderer: Any, rows: Sequence[tuple[str, str]], *, along: bool = False
) -> None:
    """Tooltips on one renderer. ``along`` answers for the nearest step, otherwise the pointer must be on a mark."""
    fields: Any = {token.split("{")[0]: "printf" for _, token in rows if "{%" in token}
    plot.add_tools(
        HoverTool(
            renderers=[renderer],
            tooltips=[("run", "$name"), *rows] if run.several else list(rows),
            formatters=fields,
            mode="vline" if along else "mouse",
            line_policy="nearest",
            point_policy="snap_to_data",
            attachment="horizontal",
        )
    )


def draw_line(
    plot: figure,
    run: RecordedRun,
    xy: tuple[Array, Array],
    role: str,
    *,
    width: float = 2.0,
    alpha: float = 1.0,
    dash: str = "solid",
) -> Any:
    """A line of a run along its steps, broken where a rollback undid them; a point by itself is a dot."""
    found = [tuple(np.asarray(each, dtype=np.float64)[piece] for each in xy) for piece in stretches(run, xy[0], xy[1])]
    drawn: Any = None
    single = [piece for piece in found if len(piece[0]) == 1]
    if single:
        x, y = (np.concatenate(each) for each in zip(*single, strict=True))
        drawn = plot.scatter(x, y, size=width + 3)
        paint(drawn.glyph, line_color=run.role(role), fill_color=run.role(role))
        run.own(drawn)
    if len(found) > len(single) or drawn is None:
        drawn = path(plot, run, joined([piece for piece in found if len(piece[0]) > 1]), role, width, alpha, dash)
    return drawn


def path(
    plot: figure, run: RecordedRun, xy: Any, role: str, width: float = 2.0, alpha: float = 1.0, dash: str = "solid"
) -> Any:
    """A line of a run through all points, whatever lies on its axes."""
    line = plot.line(*xy, line_width=width, line_alpha=alpha, line_dash=run.dash(dash))
    paint(line.glyph, line_color=run.role(role))
    return run.own(line)


def stretches(run: RecordedRun, x: Array, *others: Array) -> list[slice]:
    """Stretches of a line between places that are no numbers, and between points of which a rollback undid most."""
    x = np.asarray(x, dtype=np.float64)
    good = np.all([np.isfinite(each) for each in (x, *others)], axis=0)
    hidden = np.zeros(max(len(x) - 1, 0))
    for back, step in run.undone:
        # where steps were counted anew after the rollback, the next point lies within
        inside = np.minimum(x[1:], step) - np.maximum(x[:-1], back)
        hidden += np.where(x[1:] > step, np.maximum(inside, 0.0), 0.0)
    cuts = hidden > np.maximum(0.5 * np.diff(x), 1.0)
    edges = np.flatnonzero(cuts | (good[1:] != good[:-1])) + 1
    return [slice(begin, end) for begin, end in pairwise([0, *edges.tolist(), len(x)]) if end > begin and good[begin]]


def joined(found: Sequence[tuple[Array, ...]]) -> tuple[Array, ...]:
    """Stretches as one line, with a gap between two."""
    if not found:
        return np.zeros(0), np.zeros(0)
    gap = np.full(1, np.nan)
    parts = [tuple(np.append(each, gap) for each in piece) for piece in found[:-1]] + [found[-1]]
    return tuple(np.concatenate(each) for each in zip(*parts, strict=True))


def dots(
    plot: figure,
    run: RecordedRun,
    source: ColumnDataSource,
    role: str,
    *,
    marker: str = "circle",
    size: float = 7,
    filled: bool = True,
) -> Any:
    """Marks of a run, at columns x and y."""
    marks = plot.scatter("x", "y", source=source, marker=marker, size=size, line_width=1.8)
    shade = run.role(role)
    paint(marks.glyph, line_color=shade, fill_color=shade if filled else "card")
    return run.own(marks)


def band(plot: figure, run: RecordedRun, x: Array, low: Array, high: Array, role: str, *, alpha: float = 0.22) -> None:
    """The area between two lines of a run, broken like a line; of a point by itself a bar."""
    alpha *= 0.6 if run.several else 1
    single: list[int] = []
    for piece in stretches(run, x, low, high):
        if piece.stop - piece.start == 1:
            single.append(piece.start)
            continue
        area = plot.varea(x=x[piece], y1=low[piece], y2=high[piece], fill_alpha=alpha)
        paint(area.glyph, fill_color=run.role(role))
        run.own(area)
    if single:
        bars = plot.segment(x0=x[single], y0=low[single], x1=x[single], y1=high[single], line_width=7, line_alpha=alpha)
        paint(bars.glyph, line_color=run.role(role))
        run.own(bars)


def straight_line(plot: figure, at: float, role: str, *, dimension: Literal["width", "height"] = "width") -> None:
    """A straight line through the whole picture, of no run."""
    span = Span(location=at, dimension=dimension, line_width=1.5, line_dash="dashed")
    paint(span, line_color=role)
    plot.add_layout(span)


def moving_source(frames: Mapping[str, Array], still: Mapping[str, Any] | None = None) -> ColumnDataSource:
    """A source whose columns are arrays (frames, n), one row seen at a time and the last one first; others stay."""
    data: dict[str, Any] = dict(still or {})
    for name, rows in frames.items():
        data[name] = rows[-1].astype(np.float32)
        data |= {f"{name}@{at}": row.astype(np.float32) for at, row in enumerate(rows)}
    return ColumnDataSource(data, tags=[{"frames": list(frames)}])


class Timeline:
    """The step axis: one range, one cursor and the marks of rollbacks, shared by all pictures along steps."""

    def __init__(self, runs: Sequence[RecordedRun]) -> None:
        found = [column(run.record.of(kind), "step") for run in runs for kind in KINDS]
        known = [steps[np.isfinite(steps)] for steps in found]
        steps = np.array([end for steps in known if len(steps) for end in (steps.min(), steps.max())])
        self.first = float(min(steps.min(), 0.0)) if len(steps) else 0.0
        self.last = float(max(steps.max(), self.first + 1)) if len(steps) else self.first + 1
        air = 0.02 * (self.last - self.first)
        self.limits = (self.first - air, self.last + air)
        self.range = Range1d(start=self.limits[0], end=self.limits[1])
        marks = [(run, column(run.record.of(Rollback), "step")) for run in runs]
        self.rollbacks = [(run, self._apart(at[np.isfinite(at)])) for run, at in marks if np.isfinite(at).any()]
        self.keys = (Key("upright", "red", "a rollback"),) if self.rollbacks else ()
        self._cursor = Span(dimension="height", line_dash="dotted", line_width=1)
        paint(self._cursor, line_color="soft")

    def _apart(self, steps: Array) -> Array:
        """Of many, one in each of equal stretches."""
        if len(steps) <= MOST_MARKS:
            return steps
        place = (steps - self.first) / (self.last - self.first) * MOST_MARKS
        return steps[np.unique(place.astype(np.int64), return_index=True)[1]]

    def axes(
        self, height: int, shown: Limits, *, log: bool = False, label: str = "step", only: RecordedRun | None = None
    ) -> figure:
        """Return an empty figure along the steps, with the rollbacks of one run or of all."""
        plot = empty_figure(height, self.range, shown, y_log=log)
        plot.xaxis[0].formatter = NumeralTickFormatter(format="0,0")
        plot.xaxis[0].axis_label = label
        plot.add_tools(CrosshairTool(overlay=self._cursor, dimensions="height"))
        for run, steps in self.rollbacks:
            if only not in (None, run):
                continue
            marks = plot.vspan(x="x", source=ColumnDataSource({"x": steps}), line_width=1.5, line_dash="dashed")
            paint(marks.glyph, line_color="red")
            marks.tags = [{"run": run.index}]
        return plot
