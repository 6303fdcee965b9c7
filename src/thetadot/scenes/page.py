"""The page of a simulation: its table, its pictures, and the command that repeats the simulation."""

from __future__ import annotations

import shlex
from collections import Counter
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING

import numpy as np

from thetadot.formatting import count, plain
from thetadot.integrators.adaptive import Embedded
from thetadot.integrators.base import name_of
from thetadot.report.shell import compose
from thetadot.scenes.base import ERRORS
from thetadot.scenes.pictures.time import energy, fan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from thetadot.report.figures.picture import Picture
    from thetadot.scenes import Row, Scene
    from thetadot.scenes.ensemble import Journey
    from thetadot.scenes.storage import Asked, Line
    from thetadot.simulation import Trajectory


@dataclass(frozen=True)
class Words:
    """A row of the table in words."""

    quantity: str
    measured: str
    expected: str
    agrees: str
    source: str
    remark: str


def words(row: Row) -> Words:
    """Put a row of the table into words."""
    digits = 4 if row.error else 7 if row.expected else 4
    error = f" ± {plain(row.error, 2)}" if row.error else ""
    agrees = {True: "yes", False: "no", None: "–"}[row.agrees]
    tolerance = f"± {plain(row.tolerance, 2)}: {row.remark}" if row.remark and row.tolerance > 1e-3 * row.error else ""
    return Words(
        row.quantity,
        plain(row.measured, digits) + error,
        plain(row.expected, digits),
        agrees,
        f"{row.reference}: {row.source}" if row.expected is not None else row.source,
        tolerance,
    )


def interrupted(time: float, whole: float) -> str:
    """Say how far a simulation came."""
    if time <= 0:
        return "Interrupted before its first step: only the start is here."
    if time >= whole:
        return "Interrupted after its last step: only its table is missing."
    return f"Interrupted at time {plain(time)} of {plain(whole)}: what is here is of that part."


def verdict(rows: Sequence[Row | Line]) -> tuple[str, str]:
    """A sentence, and how good it is: "finished" or "diverged"."""
    judged = [row for row in rows if row.agrees is not None]
    wrong = [row.quantity for row in judged if row.agrees is False]
    if not judged:
        return "It ran to its end. There is no closed form to compare it with.", "finished"
    kinds = Counter(row.reference for row in judged)
    known = ", ".join(f"{kind}: {number}" for kind, number in kinds.items())
    if not wrong:
        one = len(judged) == 1
        many = "The one quantity that is" if one else f"All {len(judged)} quantities that are"
        return f"{many} known ({known}) came out as {'it' if one else 'they'} should.", "finished"
    said = (
        f"{len(wrong)} of {len(judged)} quantities that are known ({known}) came out otherwise: "
        f"{', '.join(wrong)}. Is the step or the tolerance small enough, and the time long enough?"
    )
    return said, "diverged"


def command(asked: Asked) -> str:
    """Return the command that repeats the simulation."""
    parts = ["thetadot", "simulate", shlex.quote(asked.scene)]
    for name in ("paths", "time", "step", "tolerance", "temperature", "friction"):
        value = getattr(asked, name)
        if value is not None:
            parts += [f"--{name}", f"{value:.12g}"]
    parts += ["--integrator", asked.integrator] if asked.integrator else []
    parts += ["--seed", str(asked.key), "--save", str(asked.frames)]
    for name, value in asked.values.items():
        parts += ["--set", shlex.quote(f"{name}={value}")]
    return " ".join(parts)


def pictures(journey: Journey, trajectory: Trajectory) -> list[Picture]:
    """Draw the pictures of the scene and those common to all simulations."""
    setup = journey.setup
    found = list(setup.pictures(trajectory))
    band, few = trajectory["band"], trajectory["paths"]
    dim = band.values.shape[1]
    names = setup.names or (("x",) if dim == 1 else tuple(f"x{at + 1}" for at in range(dim)))
    if "fan" in setup.shown:
        found.append(fan(band.times, band.values, names[:dim], few.values[..., :dim], few.times))
    if "energy" in setup.shown and "energy" in trajectory.series:
        series = trajectory["energy"]
        whole = trajectory["states"].values.shape[-1]
        found.append(energy(series.times, series.values, getattr(journey.system, "temperature", None), whole))
    return found


def page(
    scene: Scene,
    asked: Asked,
    journey: Journey,
    trajectory: Trajectory,
    rows: Sequence[Row],
    *,
    seconds: float,
    resume: str | None,
) -> str:
    """The page as HTML text.

    Args:
        scene: what it shows.
        asked: with defaults filled in.
        journey: the scene set up.
        trajectory: what was simulated.
        rows: of the table; none where it was interrupted.
        seconds: that it took.
        resume: the folder to resume from, as a shell reads it; None where it is complete.
    """
    with np.errstate(over="ignore"):  # pictures are of float32, and paths may have run beyond it
        drawn = pictures(journey, trajectory)
    said, state = verdict(rows) if resume is None else (interrupted(trajectory.end.time, asked.time), "unfinished")
    motion = type(journey.system).__name__
    tiles = [
        (plain(asked.paths), "paths", f"of {count(trajectory['states'].values.shape[-1], 'coordinate')}"),
        _steps(asked, trajectory),
        (plain(trajectory.end.time), "time", "simulated" if resume is None else f"of {plain(asked.time)}"),
        *([(plain(asked.temperature), "temperature T", "")] if asked.temperature is not None else []),
        *([(plain(asked.friction), "friction λ", "")] if asked.friction is not None else []),
    ]
    facts = [
        ("system", motion),
        ("integrator", _rule(journey)),
        ("engine", trajectory.engine),
        ("seconds", plain(seconds, 2)),
        *((name, str(value)) for name, value in asked.values.items()),
    ]
    template = (files("thetadot.scenes") / "simulation.html.jinja").read_text(encoding="utf-8")
    return compose(
        template,
        drawn,
        title=scene.title if resume is None else f"{scene.title} (interrupted)",
        says=scene.says,
        verdict=said,
        state=state,
        resume=resume,
        tiles=tiles,
        facts=facts,
        rows=[words(row) for row in rows],
        pictures=drawn,
        command=command(asked),
        errors=plain(ERRORS),
        several=False,
        runs=(),
    )


def _steps(asked: Asked, trajectory: Trajectory) -> tuple[str, str, str]:
    if asked.step is not None:
        return plain(trajectory.end.steps), "steps", f"of {plain(asked.step)}"
    return plain(float(trajectory.counts["accepted"].double().mean())), "steps of a path", "by their error"


def _rule(journey: Journey) -> str:
    rule = journey.rule
    if isinstance(rule, Embedded):
        return f"{name_of(rule)}, relative tolerance {plain(rule.rtol)}, absolute {plain(rule.atol)}"
    inner = getattr(rule, "word", None) or getattr(rule, "tableau", None)
    return type(rule).__name__ + (f" {inner}" if inner else "")
