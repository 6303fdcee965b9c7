"""Statistics of an ensemble over time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from thetadot.report.figures.frame import straight_line
from thetadot.report.series import thin
from thetadot.scenes.pictures.base import (
    Key,
    Panel,
    Picture,
    array,
    empty_figure,
    line,
    lines,
    padded_range,
    paint,
    picture,
    told,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from bokeh.plotting import figure

    from thetadot.report.figures.picture import Mark
    from thetadot.scenes.pictures.base import Array

FEW = 20


@dataclass(frozen=True)
class PlottedCurve:
    """A line of a picture."""

    label: str
    x: Array
    y: Array
    role: str = "blue"
    dash: str = "solid"
    width: float = 2.0
    alpha: float = 1.0


def curves(
    name: str,
    heading: str,
    reading: str,
    label: str,
    drawn: Sequence[PlottedCurve],
    *,
    unit: str = "",
    foot: str = "time",
    log: bool = False,
    height: int = 300,
    says: str = "",
    level: float | None = None,
) -> Picture:
    """Lines over time, or over anything else; those that share a label share a line of the key."""
    plot = empty_figure(
        height,
        _time_limits(*(curve.x for curve in drawn)),
        padded_range(*(curve.y for curve in drawn), log=log, narrowest=0.02),
        y_log=log,
    )
    plot.xaxis[0].axis_label = foot
    keys: dict[str, Key] = {}
    for curve in drawn:
        x, y = thin(curve.x, np.where(curve.y > 0, curve.y, np.nan) if log else curve.y, 600)
        made = line(plot, x, y, curve.role, width=curve.width, alpha=curve.alpha, dash=curve.dash)
        mark: Mark = "line" if curve.dash == "solid" else "dashed"
        mark = "thin" if curve.width < 1.5 and mark == "line" else mark
        if curve.label and curve.label not in keys:
            told(plot, made, [(foot, "@x{0.0000}"), (curve.label, "@y{0.0000}")], along=True)
            keys[curve.label] = Key(mark, curve.role, curve.label)
    if level is not None:
        straight_line(plot, level, "ink")
    return picture(name, heading, reading, [Panel(label, unit, plot)], list(keys.values()), says=says)


def _time_limits(*times: Array) -> tuple[float, float]:
    """Limits of the axis of time; a unit of it where there is only the start."""
    every = np.concatenate(times)
    return padded_range(every, *([every + 1.0] if every.max() == every.min() else []), narrowest=0.0)


def fan(
    times: torch.Tensor, band: torch.Tensor, names: Sequence[str], paths: torch.Tensor, path_times: torch.Tensor
) -> Picture:
    """Draw the spread of the ensemble: median, half and nine tenths of the paths, and a few paths, per coordinate.

    Args:
        times: (n,).
        band: (n, dim, 6): 5, 25, 50, 75, 95 percent and the mean.
        names: of the coordinates.
        paths: (m, few, dim).
        path_times: (m,).
    """
    t, values, few = array(times), array(band), array(paths[:, :FEW])
    panels = []
    for at, name in enumerate(names):
        shown = values[:, at]
        plot = empty_figure(
            300 if len(names) == 1 else 240, _time_limits(t), padded_range(shown.ravel(), few[..., at].ravel())
        )
        plot.xaxis[0].axis_label = "time"
        for low, high, alpha in ((0, 4, 0.16), (1, 3, 0.24)):
            _area(plot, t, shown[:, low], shown[:, high], alpha)
        lines(plot, [array(path_times)] * few.shape[1], list(few[..., at].T), "purple", width=0.8, alpha=0.4)
        line(plot, t, shown[:, 2], "blue", width=2.5)
        line(plot, t, shown[:, 5], "orange", width=1.8, dash="dashed")
        panels.append(Panel(name, "", plot))
    return picture(
        "fan",
        "How the ensemble spreads",
        "The dark band holds half of the paths and the light one nine in ten; thin lines are single paths.",
        panels,
        [
            Key("line", "blue", "median"),
            Key("dashed", "orange", "mean"),
            Key("band", "blue", "half, and nine tenths of the paths"),
            Key("thin", "purple", f"{few.shape[1]} paths"),
        ],
        columns=2 if len(names) > 1 else 1,
    )


def _area(plot: figure, x: Array, low: Array, high: Array, alpha: float) -> None:
    area = plot.varea(x=x.astype(np.float32), y1=low.astype(np.float32), y2=high.astype(np.float32), fill_alpha=alpha)
    paint(area.glyph, fill_color="blue")


def energy(times: torch.Tensor, values: torch.Tensor, temperature: float | None, dim: int) -> Picture:
    """Mean loss, kinetic energy and their sum over time.

    Args:
        times: (n,).
        values: (n, 1) mean loss, or (n, 2) with the mean of |η|²/2.
        temperature: T, whose share of every coordinate's velocity is T/2; None without.
        dim: coordinates.
    """
    t, found = array(times), array(values)
    drawn = [PlottedCurve("mean loss", t, found[:, 0], "blue")]
    level = None
    if found.shape[1] > 1:
        drawn += [
            PlottedCurve("mean kinetic energy", t, found[:, 1], "orange"),
            PlottedCurve("their sum", t, found.sum(1), "ink", width=1.4),
        ]
        level = dim * temperature / 2.0 if temperature else None
    reading = (
        "At rest, heat keeps half a temperature of kinetic energy in every coordinate (dashed level)."
        if level is not None
        else "The sum falls by friction alone; without friction and noise it is a straight line."
        if found.shape[1] > 1
        else "The loss falls until noise lifts the paths as fast as the slope lets them down."
    )
    return curves("energy", "Energy over time", reading, "Energy", drawn, unit="loss", level=level)
