"""Phase portraits: the field, its fixed points, their separatrices, and the paths."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import contourpy
import numpy as np

from thetadot.scenes.pictures.base import Key, Panel, Picture, array, empty_figure, lines, marks, padded_range, picture
from thetadot.scenes.pictures.landscape import outline

if TYPE_CHECKING:
    import torch
    from bokeh.plotting import figure

    from thetadot.analysis import Portrait
    from thetadot.scenes.pictures.base import Array

WAYS = 40
FEWER = 12
_ARROWS = 24  # a side

KINDS = {
    "stable": ("circle", "green", True, "dot"),
    "unstable": ("circle", "red", False, "ring"),
    "saddle": ("x", "red", True, "cross"),
    "centre": ("square", "ink", True, "square"),
    "degenerate": ("diamond", "ink", True, "diamond"),
}


def phase(portrait: Portrait, ways: torch.Tensor, *, heading: str, reading: str, height: int = 520) -> Picture:
    """Draw a phase portrait with paths.

    Args:
        portrait: of :func:`thetadot.analysis.phase_portrait`.
        ways: (n, paths, 2).
        heading: of the picture.
        reading: how to read it.
        height: in pixels.
    """
    x, y, field = array(portrait.x), array(portrait.y), array(portrait.field)
    box = (float(x[0]), float(x[-1])), (float(y[0]), float(y[-1]))
    plot = empty_figure(height, *box)
    plot.xaxis[0].axis_label = f"{portrait.names[0]} to the right, {portrait.names[1]} upward"
    _arrows(plot, x, y, field)
    keys = [Key("thin", "grey", "direction of the motion, with a dot at its head")]
    for part, role in ((0, "blue"), (1, "orange")):
        if np.nanmin(field[..., part]) < 0 < np.nanmax(field[..., part]):
            maker = contourpy.contour_generator(x, y, field[..., part])
            if outline(plot, maker, 0.0, role, width=2.0, dash="dashed") is not None:
                keys.append(Key("dashed", role, f"where {portrait.names[part]} is at rest"))
    if portrait.separatrices:
        divides = [array(one) for one in portrait.separatrices]
        lines(plot, [d[:, 0] for d in divides], [d[:, 1] for d in divides], "red", width=2.5, alpha=1.0)
        keys.append(Key("line", "red", "separatrix: it divides the starts by where they end"))
    paths = array(ways[:, :WAYS])
    lines(plot, list(paths[..., 0].T), list(paths[..., 1].T), "purple", width=1.4, alpha=0.65)
    marks(plot, paths[0, :, 0], paths[0, :, 1], "purple", size=5, filled=False)
    keys.append(Key("line", "purple", f"{paths.shape[1]} paths, each from its open circle"))
    keys += _draw_points(plot, portrait)
    return picture("phase", heading, reading, [Panel("Phase plane", "", plot)], keys)


def _draw_points(plot: figure, portrait: Portrait) -> list[Key]:
    keys: dict[str, Key] = {}
    for found in portrait.fixed_points:
        marker, role, filled, mark = KINDS[found.kind.split()[0]]
        place = array(found.point)
        marks(plot, place[:1], place[1:], role, marker=marker, size=13, filled=filled)
        keys[found.kind] = Key(mark, role, found.kind)  # type: ignore[arg-type]
    return list(keys.values())


def _arrows(plot: figure, x: Array, y: Array, field: Array) -> None:
    some = np.linspace(0, len(x) - 1, _ARROWS).round().astype(np.int64)
    size = np.array([x[-1] - x[0], y[-1] - y[0]])
    part = field[np.ix_(some, some)] / size
    length = np.linalg.norm(part, axis=-1, keepdims=True)
    unit: Any = np.where(length > 0, part / np.maximum(length, 1e-300), 0.0) * size * (0.6 / _ARROWS)
    at = np.stack(np.meshgrid(x[some], y[some]), -1)
    begin, end = (at - unit / 2).reshape(-1, 2), (at + unit / 2).reshape(-1, 2)
    lines(
        plot,
        list(np.stack((begin[:, 0], end[:, 0]), -1)),
        list(np.stack((begin[:, 1], end[:, 1]), -1)),
        "grey",
        width=1.0,
        alpha=0.55,
    )
    marks(plot, end[:, 0], end[:, 1], "grey", size=2.5, alpha=0.55)


def in_projection(ways: torch.Tensor, names: tuple[str, str]) -> Picture:
    """Paths (n, paths, dim) in the plane of their first two coordinates."""
    paths = array(ways[:, :FEWER, :2])
    flat = paths.reshape(-1, 2)
    plot = empty_figure(460, padded_range(flat[:, 0]), padded_range(flat[:, 1]))
    plot.xaxis[0].axis_label = f"{names[0]} to the right, {names[1]} upward"
    lines(plot, list(paths[..., 0].T), list(paths[..., 1].T), "purple", width=1.1, alpha=0.55)
    marks(plot, paths[0, :, 0], paths[0, :, 1], "ink", size=7, filled=False)
    marks(plot, paths[-1, :, 0], paths[-1, :, 1], "ink", marker="square", size=7)
    return picture(
        "ways",
        "The motion in the plane of two coordinates",
        "Each line is the way of one path, from its open circle to its square.",
        [Panel("The plane", "", plot)],
        [
            Key("thin", "purple", f"{paths.shape[1]} paths"),
            Key("ring", "ink", "where they begin"),
            Key("square", "ink", "where they end"),
        ],
    )
