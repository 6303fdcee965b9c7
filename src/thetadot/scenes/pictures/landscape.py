"""The landscape and the paths on its surface."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import contourpy
import numpy as np
import torch

from thetadot.report.figures.frame import moving_source
from thetadot.scenes.pictures.base import Key, Panel, Picture, array, empty_figure, line, lines, marks, paint, picture

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bokeh.plotting import figure

    Limits = tuple[float, float]

DOTS = 250
TRAILS = 4
_LEVELS = 14
_POINTS = 121


def on_curve(
    potential: Callable[[torch.Tensor], torch.Tensor],
    times: torch.Tensor,
    frames: torch.Tensor,
    shown: Limits,
    top: float,
    name: str = "x",
) -> Picture:
    """A potential of one coordinate, with the paths' places on it, frame by frame.

    Args:
        potential: U of (..., 1).
        times: (n,).
        frames: (n, paths, 1).
        shown: limits of the coordinate.
        top: of the picture, in units of the loss.
        name: of the coordinate.
    """
    x = torch.linspace(*shown, 400, dtype=torch.float64)
    height = array(potential(x[:, None]))
    places = frames[:, :DOTS].double()
    up = array(potential(places.reshape(-1, 1)).reshape(places.shape[:2]))
    low = float(np.nanmin(height))
    plot = empty_figure(330, shown, (low - 0.08 * (top - low), top))
    plot.xaxis[0].axis_label = name
    line(plot, array(x), height, "grey", width=2.5)
    dots = plot.scatter("x", "y", source=moving_source({"x": array(places[..., 0]), "y": up}), size=8, fill_alpha=0.45)
    paint(dots.glyph, line_color="blue", fill_color="blue")
    return picture(
        "landscape",
        "Where the paths are on the landscape",
        "Each dot is a path, at the height of the loss where it is; press Play, or drag, to see the ensemble spread "
        "and cross what barriers there are.",
        [Panel("Loss along the coordinate", "", plot)],
        [Key("line", "grey", "the loss"), Key("dot", "blue", f"{places.shape[1]} of the paths")],
        frames=times.tolist(),
    )


def contours(
    plot: figure, potential: Callable[[torch.Tensor], torch.Tensor], box: tuple[Limits, Limits], top: float
) -> None:
    """Shade what lies below each of equally spaced levels: the lower the darker on white, the brighter on black."""
    x, y = (torch.linspace(*side, _POINTS, dtype=torch.float64) for side in box)
    rows, columns = torch.meshgrid(y, x, indexing="ij")
    height = array(potential(torch.stack((columns, rows), -1)))
    maker = contourpy.contour_generator(array(x), array(y), height, fill_type="OuterOffset")
    for level in np.linspace(float(np.nanmin(height)), top, _LEVELS + 1)[1:]:
        shade(plot, maker, float(level), "blue", alpha=0.055)
        outline(plot, maker, float(level), "line", width=1.0)


def shade(plot: figure, maker: Any, level: float, role: str, *, alpha: float) -> None:
    """Fill where a field is below a level."""
    xs: list[list[Any]] = []
    ys: list[list[Any]] = []
    for points, cuts in zip(*maker.filled(-1e300, level), strict=True):
        rings = [points[a:b].astype(np.float32) for a, b in pairwise(cuts.tolist())]
        xs.append([ring[:, 0] for ring in rings])
        ys.append([ring[:, 1] for ring in rings])
    if xs:
        filled = plot.multi_polygons([xs], [ys], line_alpha=0, fill_alpha=alpha)
        paint(filled.glyph, fill_color=role)


def outline(plot: figure, maker: Any, level: float, role: str, *, width: float, dash: str = "solid") -> Any:
    """The line on which a field has a level; None where there is none."""
    found = maker.lines(level)
    if not found:
        return None
    return lines(
        plot, [part[:, 0] for part in found], [part[:, 1] for part in found], role, width=width, alpha=1.0, dash=dash
    )


def in_plane(
    potential: Callable[[torch.Tensor], torch.Tensor],
    box: tuple[Limits, Limits],
    top: float,
    times: torch.Tensor,
    frames: torch.Tensor,
    trails: torch.Tensor,
    points: Sequence[tuple[str, str, str, torch.Tensor]] = (),
    names: tuple[str, str] = ("x", "y"),
) -> Picture:
    """Contours of a landscape of two coordinates, the paths' places frame by frame, and whole ways of a few.

    Args:
        potential: U of (..., 2).
        box: limits of both coordinates.
        top: highest level that is drawn.
        times: (n,), of the frames.
        frames: (n, paths, 2).
        trails: (m, paths, 2), closer in time.
        points: (what, mark, colour, where (k, 2)) that are worth a mark.
        names: of the coordinates.
    """
    plot = empty_figure(560, *box)
    plot.xaxis[0].axis_label = f"{names[0]} to the right, {names[1]} upward"
    contours(plot, potential, box, top)
    ways = array(trails[:, :TRAILS])
    lines(plot, list(ways[..., 0].T), list(ways[..., 1].T), "purple", width=1.1, alpha=0.6)
    places = array(frames[:, :DOTS])
    dots = plot.scatter(
        "x", "y", source=moving_source({"x": places[..., 0], "y": places[..., 1]}), size=6, fill_alpha=0.5
    )
    paint(dots.glyph, line_color="orange", fill_color="orange")
    keys = [
        Key("band", "blue", "the loss: the more colour, the lower"),
        Key("thin", "purple", f"ways of {ways.shape[1]} paths"),
        Key("dot", "orange", f"places of {places.shape[1]} paths at the time shown"),
    ]
    for what, marker, role, where in points:
        if len(where):
            marks(plot, array(where[:, 0]), array(where[:, 1]), role, marker=marker, size=12, filled=marker != "x")
            keys.append(Key("cross" if marker == "x" else "diamond", role, what))
    return picture(
        "landscape",
        "Where the paths go on the landscape",
        "Thin lines are whole ways, dots the ensemble at one time; press Play, or drag, to see it "
        "spread over the wells.",
        [Panel("The plane", "", plot)],
        keys,
        frames=times.tolist(),
    )
