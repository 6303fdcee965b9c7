"""Lines, marks and tooltips shared by the pictures of simulations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np
from bokeh.models import HoverTool

from thetadot.report.figures.frame import empty_figure, padded_range
from thetadot.report.figures.picture import Key, Panel, Picture
from thetadot.report.palette import paint
from thetadot.report.series import LARGEST, Array

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from bokeh.plotting import figure

__all__ = [
    "Array",
    "Key",
    "Panel",
    "Picture",
    "array",
    "empty_figure",
    "line",
    "lines",
    "marks",
    "padded_range",
    "paint",
    "picture",
]

HOVER = [("", "$x{0.0000}, $y{0.0000}")]


def array(values: torch.Tensor) -> Array:
    """Convert a tensor to numpy; values that cannot be drawn become NaN."""
    found = values.detach().cpu().double().numpy()
    return cast("Array", np.where(np.abs(found) < LARGEST, found, np.nan))


def _single_precision(values: Array) -> Any:
    return np.asarray(values, dtype=np.float32)


def line(
    plot: figure, x: Array, y: Array, role: str, *, width: float = 2.0, alpha: float = 1.0, dash: str = "solid"
) -> Any:
    """A line; a mark where it has one point alone."""
    if len(x) == 1:
        return marks(plot, x, y, role, size=3.0 + width)
    drawn = plot.line(_single_precision(x), _single_precision(y), line_width=width, line_alpha=alpha, line_dash=dash)
    paint(drawn.glyph, line_color=role)
    return drawn


def lines(
    plot: figure,
    xs: Sequence[Array],
    ys: Sequence[Array],
    role: str,
    *,
    width: float = 1.0,
    alpha: float = 0.5,
    dash: str = "solid",
) -> Any:
    """Many lines of one colour."""
    drawn = plot.multi_line(
        [_single_precision(x) for x in xs],
        [_single_precision(y) for y in ys],
        line_width=width,
        line_alpha=alpha,
        line_dash=dash,
    )
    paint(drawn.glyph, line_color=role)
    return drawn


def marks(
    plot: figure,
    x: Array,
    y: Array,
    role: str,
    *,
    marker: str = "circle",
    size: float = 8.0,
    filled: bool = True,
    alpha: float = 1.0,
) -> Any:
    """Draw a scatter of marks."""
    drawn = plot.scatter(
        _single_precision(x), _single_precision(y), marker=marker, size=size, line_width=1.8, fill_alpha=alpha
    )
    paint(drawn.glyph, line_color=role, fill_color=role if filled else "card")
    return drawn


def told(plot: figure, drawn: Any, rows: Sequence[tuple[str, str]], *, along: bool = False) -> None:
    """Add tooltips to a drawn glyph."""
    plot.add_tools(
        HoverTool(
            renderers=[drawn],
            tooltips=list(rows),
            mode="vline" if along else "mouse",
            line_policy="nearest",
            point_policy="snap_to_data",
            attachment="horizontal",
        )
    )


def picture(
    name: str,
    heading: str,
    reading: str,
    panels: Sequence[Panel],
    keys: Sequence[Key] = (),
    *,
    says: str = "",
    frames: Sequence[float] = (),
    columns: int = 1,
) -> Picture:
    """A picture of a simulation; frames are named by their times."""
    times = tuple(f"t = {time:.4g}" for time in frames)
    return Picture(name, heading, reading, (says,), tuple(panels), tuple(keys), columns, frames=times)
