"""Annealing: temperatures against the energy of the motion, and the schedule that lowers them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from thetadot.records import Equilibrium, Motion, standing
from thetadot.report import words
from thetadot.report.figures.frame import Timeline, band, draw_line, hover, padded_range
from thetadot.report.figures.picture import Key, Panel, Picture
from thetadot.report.runs import RecordedRun, merged
from thetadot.report.series import by_step, column, finite, smooth, thin

if TYPE_CHECKING:
    from collections.abc import Sequence

    from thetadot.report.series import Array

Line = tuple[str, float, float, str, str, tuple["Array", "Array"]]
"""Colour, width, opacity, what the key says, what the tooltip says, and the points."""


def picture(runs: Sequence[RecordedRun], timeline: Timeline) -> Picture | None:
    """Temperature of noise, positions and velocities, and the learning rate below; None where none is positive."""
    drawn = [(run, _cooling_lines(run)) for run in runs]
    drawn = [(run, lines) for run, lines in drawn if lines]
    if not drawn:
        return None
    plot = timeline.axes(270, padded_range(*(xy[1] for _, lines in drawn for *_, xy in lines), log=True), log=True)
    keys: list[Key] = []
    for run, lines in drawn:
        motions = standing(run.record, Motion)[0]
        ends = [column(motions, f"temperature_{end}") for end in ("low", "high")]
        x = by_step(motions)
        good = np.isfinite(x) & (np.minimum(*ends) > 0)
        if good.any():
            places, low = thin(x[good], ends[0][good])
            band(plot, run, places, low, np.interp(places, x[good], ends[1][good]), "red", alpha=0.15)
            keys.append(run.key("band", "red", "its 95% interval, by those of noise and curvature"))
        for role, width, alpha, text, name, xy in lines:
            line = draw_line(plot, run, thin(*xy), role, width=width, alpha=alpha if run.several else 1.0)
            hover(plot, run, line, [("step", "@x{0,0}"), (name, "@y{%.3g}")], along=True)
            keys.append(run.key("thin" if run.several and width < 2 else "line", role, text))
    schedule = _schedule([run for run, _ in drawn], timeline)
    return Picture(
        name="temperature",
        heading="Temperature: how much motion the gradients' noise keeps up",
        reading="Noise in the gradients moves the parameters at random, as heat moves molecules. Where the energy of "
        "the motion is that of the temperature, they only fluctuate about one place; where it lies above, they still "
        "move downhill. A lower learning rate, drawn below, lowers the temperature. Under shuffled epochs the "
        "temperature of the noise is that of the sharpest direction; flatter ones are colder, and velocities and "
        "positions tell that of independent draws.",
        says=tuple(words.cooling(column(standing(run.record, Motion)[0], "temperature")) for run in runs),
        panels=(
            Panel("Temperature, and energy of the motion", "T and mean η², in loss per degree of freedom", plot),
            *([schedule] if schedule is not None else []),
        ),
        keys=(*merged(keys), *timeline.keys),
    )


def _cooling_lines(run: RecordedRun) -> list[Line]:
    motions, windows = standing(run.record, Motion)[0], standing(run.record, Equilibrium)[0]
    x, energy = finite(by_step(motions), column(motions, "kinetic"))
    lines: list[Line] = [
        ("green", 1.5, 0.5, "energy of the motion, running mean over 2% of the run", "energy of the motion",
         finite(x, smooth(energy), positive=True)),
        ("red", 2.5, 1.0, "temperature of the noise", "temperature",
         finite(by_step(motions), column(motions, "temperature"), positive=True)),
        ("purple", 1.5, 0.75, "temperature from velocities", "by velocities",
         finite(by_step(windows), column(windows, "kinetic_temperature"), positive=True)),
        ("orange", 1.5, 0.9, "temperature from positions", "by positions",
         finite(by_step(windows), column(windows, "configurational"), positive=True)),
    ]  # fmt: skip
    return [line for line in lines if len(line[-1][0])]


def _schedule(runs: Sequence[RecordedRun], timeline: Timeline) -> Panel | None:
    lines = []
    for run in runs:
        motions, _ = standing(run.record, Motion)
        x, y = finite(by_step(motions), column(motions, "lr"))
        if len(x):
            lines.append((run, x, y))
    if not lines:
        return None
    plot = timeline.axes(130, padded_range(*(y for _, _, y in lines), zero=True))
    for run, x, y in lines:
        line = draw_line(plot, run, thin(x, y), "blue", width=1.5)
        hover(plot, run, line, [("step", "@x{0,0}"), ("learning rate", "@y{%.4g}")], along=True)
    return Panel("Learning rate on the same steps", "α", plot)
