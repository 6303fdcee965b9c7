"""Axes in the house's style, and the step axis that pictures share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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

from thetadot.records import Curvature, Epoch, Motion, Noise, Record, Rollback
from thetadot.report.figures.picture import Key
from thetadot.report.palette import paint
from thetadot.report.series import Array, column, number

if TYPE_CHECKING:
    from collections.abc import Sequence

Limits = tuple[float, float]
FACTORS = "Equal distances upward are equal factors, not equal amounts."
AXIS_FONT = "12px"
PLAIN = (1e-4, 1e6)
"""Between these, an axis is labelled with plain numbers; beyond, with powers of ten."""


def spread(*values: Array | Sequence[float], log: bool = False, zero: bool = False, narrowest: float = 0.2) -> Limits:
    """A range that holds the values with some air; never so narrow that rounding errors look like motion."""
    every = np.concatenate([np.asarray(value, dtype=np.float64) for value in values])
    every = every[np.isfinite(every)]
    if log:
        every = every[every > 0]
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


def axes(height: int, x_range: Range1d | Limits, shown: Limits, *, x_log: bool = False, y_log: bool = False) -> figure:
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
        axis.ticker = LogTicker(mantissas=[1, 2, 5]) if log else BasicTicker(desired_num_ticks=5)
        axis.formatter = _formatter(limits, log=log)
    for grid in plot.grid:
        paint(grid, grid_line_color="grid")
    return plot


def _formatter(limits: Any, *, log: bool) -> TickFormatter:
    low, high = limits if log else (max(map(abs, limits)),) * 2
    if low > PLAIN[0] and high < PLAIN[1]:
        return PrintfTickFormatter(format="%.6g")
    return LogTickFormatter() if log else BasicTickFormatter(precision=1)


def hover(plot: figure, renderer: Any, rows: Sequence[tuple[str, str]], *, along: bool = False) -> None:
    """Tooltips on one renderer. ``along`` answers for the nearest step, otherwise the pointer must be on a mark."""
    fields: Any = {token.split("{")[0]: "printf" for _, token in rows if "{%" in token}
    plot.add_tools(
        HoverTool(
            renderers=[renderer],
            tooltips=list(rows),
            formatters=fields,
            mode="vline" if along else "mouse",
            line_policy="nearest",
            point_policy="snap_to_data",
            attachment="horizontal",
        )
    )


class Timeline:
    """The step axis: one range, one cursor and the marks of rollbacks for every picture along it."""

    def __init__(self, record: Record) -> None:
        entries = [entry for kind in (Motion, Epoch, Curvature, Noise, Rollback) for entry in record.of(kind)]
        steps = column(entries, "step")
        steps = steps[np.isfinite(steps)]
        self.first = float(min(steps.min(), 0.0)) if len(steps) else 0.0
        self.last = float(max(steps.max(), self.first + 1)) if len(steps) else self.first + 1
        air = 0.02 * (self.last - self.first)
        self.limits = (self.first - air, self.last + air)
        self.range = Range1d(start=self.limits[0], end=self.limits[1])
        self.rollbacks = [at for at in (number(entry.step) for entry in record.of(Rollback)) if at == at]  # noqa: PLR0124 - not NaN
        self.keys = (Key("upright", "red", "a rollback"),) if self.rollbacks else ()
        self._cursor = Span(dimension="height", line_dash="dotted", line_width=1)
        paint(self._cursor, line_color="soft")

    def axes(self, height: int, shown: Limits, *, log: bool = False, label: str = "step") -> figure:
        """An empty figure along the steps."""
        plot = axes(height, self.range, shown, y_log=log)
        plot.xaxis[0].formatter = NumeralTickFormatter(format="0,0")
        plot.xaxis[0].axis_label = label
        plot.add_tools(CrosshairTool(overlay=self._cursor, dimensions="height"))
        if self.rollbacks:
            marks = plot.vspan(
                x="x", source=ColumnDataSource({"x": self.rollbacks}), line_width=1.5, line_dash="dashed"
            )
            paint(marks.glyph, line_color="red")
        return plot
