"""Histograms of the paths against the law that they should have."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from bokeh.models import ColumnDataSource

from thetadot.report.figures.frame import moving_source
from thetadot.scenes.pictures.base import Key, Panel, Picture, array, empty_figure, line, padded_range, paint, picture

if TYPE_CHECKING:
    import torch

    from thetadot.scenes.pictures.base import Array

BINS = 80


def histogram(
    times: torch.Tensor,
    frames: torch.Tensor,
    shown: tuple[float, float],
    *,
    law: tuple[Array, Array] | None = None,
    evolving: tuple[Array, Array] | None = None,
    labels: tuple[str, str] = ("the law at rest", "the law at this time"),
    heading: str = "The ensemble against its law",
    name: str = "x",
) -> Picture:
    """Histograms of one coordinate over time, with the law at rest and, where it is known, at each time.

    Args:
        times: (n,).
        frames: (n, paths).
        shown: limits of the coordinate.
        law: (x, density) at rest.
        evolving: (x, densities (n, len(x))).
        labels: what the laws are called.
        heading: of the picture.
        name: of the coordinate.
    """
    edges = np.linspace(*shown, BINS + 1)
    bars = np.array([np.histogram(frame, edges)[0] for frame in array(frames)], dtype=np.float64)
    bars /= frames.shape[1] * (edges[1] - edges[0])
    tops: list[Array] = [np.sort(bars, axis=None)[: -max(bars.size // 200, 1)]]
    tops += [law[1]] if law is not None else []
    tops += [bars[-1]]
    plot = empty_figure(340, shown, padded_range(*tops, zero=True))
    plot.xaxis[0].axis_label = name
    source = moving_source(
        {"top": bars}, {"left": edges[:-1].astype(np.float32), "right": edges[1:].astype(np.float32)}
    )
    drawn = plot.quad(left="left", right="right", bottom=0, top="top", source=source, fill_alpha=0.45, line_alpha=0)
    paint(drawn.glyph, fill_color="blue")
    keys = [Key("band", "blue", f"{frames.shape[1]:,} paths")]
    if law is not None:
        line(plot, *law, "ink", width=2.0, dash="dashed" if evolving is not None else "solid")
        keys.append(Key("dashed" if evolving is not None else "line", "ink", labels[0]))
    if evolving is not None:
        x, rows = evolving
        moved = plot.line("x", "y", source=moving_source({"y": rows}, {"x": x.astype(np.float32)}), line_width=2.5)
        paint(moved.glyph, line_color="orange")
        keys.append(Key("line", "orange", labels[1]))
    return picture(
        "law",
        heading,
        "Bars are the share of paths in each place; where simulation and law agree, the bars fill the line.",
        [Panel("Probability per length", "", plot)],
        keys,
        frames=times.tolist(),
    )


def planes(
    times: torch.Tensor,
    frames: torch.Tensor,
    box: tuple[tuple[float, float], tuple[float, float]],
    law: Array,
    label: str,
    cells: int = 48,
) -> Picture:
    """Densities over the plane: of the paths, frame by frame, beside the law (n or 1, rows, columns)."""
    (left, right), (low, high) = box
    edges = np.linspace(left, right, cells + 1), np.linspace(low, high, cells + 1)
    area = (edges[0][1] - edges[0][0]) * (edges[1][1] - edges[1][0])
    found = np.array([np.histogram2d(f[:, 1], f[:, 0], (edges[1], edges[0]))[0] for f in array(frames)])
    found /= frames.shape[1] * area
    x, y = np.meshgrid(*((edge[:-1] + edge[1:]) / 2 for edge in edges))
    most = float(np.max(law[-1]))  # early on, all may be in a few cells
    panels = []
    for title, rows in (("The paths", found), (label, law)):
        plot = empty_figure(360, *box)
        share = np.clip(np.sqrt(np.broadcast_to(rows, (len(rows), cells, cells)) / most), 0.0, 1.0)
        still = {"x": x.ravel().astype(np.float32), "y": y.ravel().astype(np.float32)}
        flat = share.reshape(len(share), -1)
        source = moving_source({"a": flat}, still) if len(flat) > 1 else ColumnDataSource(still | {"a": flat[0]})
        drawn = plot.rect(
            "x",
            "y",
            width=(right - left) / cells,
            height=(high - low) / cells,
            source=source,
            fill_alpha="a",
            line_alpha=0,
        )
        paint(drawn.glyph, fill_color="blue")
        panels.append(Panel(title, "", plot))
    return picture(
        "law",
        "The ensemble against its law, over the plane",
        "Colour grows as the square root of the probability, so that rare places are seen too; both should look alike.",
        panels,
        [Key("band", "blue", "the more colour, the more probable")],
        frames=times.tolist(),
        columns=2,
    )
