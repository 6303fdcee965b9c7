"""The page of a simulation: its table, its pictures, and the command that repeats the simulation."""

from __future__ import annotations

import shlex
from importlib.resources import files
from typing import TYPE_CHECKING

import numpy as np

from thetadot.core.formatting import count, plain
from thetadot.integrators.adaptive import Embedded
from thetadot.integrators.base import name_of
from thetadot.report.shell import compose
from thetadot.scenes.pictures.over_time import energy, fan
from thetadot.scenes.rows import ERRORS
from thetadot.scenes.table import row_in_words, verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from thetadot.report.figures.picture import Picture
    from thetadot.scenes.ensemble import Ensemble
    from thetadot.scenes.rows import SceneRow
    from thetadot.scenes.scene import Scene
    from thetadot.scenes.storage import Request
    from thetadot.simulation import Trajectory


def interrupted(time: float, whole: float) -> str:
    """Say how far a simulation came."""
    if time <= 0:
        return "Interrupted before its first step: only the start is here."
    if time >= whole:
        return "Interrupted after its last step: only its table is missing."
    return f"Interrupted at time {plain(time)} of {plain(whole)}: what is here is of that part."


def repeating_command(asked: Request) -> str:
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


def pictures(ensemble: Ensemble, trajectory: Trajectory) -> list[Picture]:
    """Draw the pictures of the scene and those common to all simulations."""
    setup = ensemble.setup
    found = list(setup.pictures(trajectory))
    band, few = trajectory["band"], trajectory["paths"]
    dim = band.values.shape[1]
    names = setup.names or (("x",) if dim == 1 else tuple(f"x{at + 1}" for at in range(dim)))
    if "fan" in setup.shown:
        found.append(fan(band.times, band.values, names[:dim], few.values[..., :dim], few.times))
    if "energy" in setup.shown and "energy" in trajectory.series:
        series = trajectory["energy"]
        whole = trajectory["states"].values.shape[-1]
        found.append(energy(series.times, series.values, getattr(ensemble.system, "temperature", None), whole))
    return found


def page(
    scene: Scene,
    asked: Request,
    ensemble: Ensemble,
    trajectory: Trajectory,
    rows: Sequence[SceneRow],
    *,
    seconds: float,
    resume: str | None,
) -> str:
    """The page as HTML text.

    Args:
        scene: what it shows.
        asked: with defaults filled in.
        ensemble: the scene set up.
        trajectory: what was simulated.
        rows: of the table; none where it was interrupted.
        seconds: that it took.
        resume: the folder to resume from, as a shell reads it; None where it is complete.
    """
    with np.errstate(over="ignore"):  # pictures are of float32, and paths may have run beyond it
        drawn = pictures(ensemble, trajectory)
    said, state = verdict(rows) if resume is None else (interrupted(trajectory.end.time, asked.time), "unfinished")
    motion = type(ensemble.system).__name__
    tiles = [
        (plain(asked.paths), "paths", f"of {count(trajectory['states'].values.shape[-1], 'coordinate')}"),
        _steps_tile(asked, trajectory),
        (plain(trajectory.end.time), "time", "simulated" if resume is None else f"of {plain(asked.time)}"),
        *([(plain(asked.temperature), "temperature T", "")] if asked.temperature is not None else []),
        *([(plain(asked.friction), "friction λ", "")] if asked.friction is not None else []),
    ]
    facts = [
        ("system", motion),
        ("integrator", _method_name(ensemble)),
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
        rows=[row_in_words(row) for row in rows],
        pictures=drawn,
        command=repeating_command(asked),
        errors=plain(ERRORS),
        several=False,
        runs=(),
    )


def _steps_tile(asked: Request, trajectory: Trajectory) -> tuple[str, str, str]:
    if asked.step is not None:
        return plain(trajectory.end.steps), "steps", f"of {plain(asked.step)}"
    return plain(float(trajectory.counts["accepted"].double().mean())), "steps of a path", "by their error"


def _method_name(ensemble: Ensemble) -> str:
    rule = ensemble.rule
    if isinstance(rule, Embedded):
        return f"{name_of(rule)}, relative tolerance {plain(rule.rtol)}, absolute {plain(rule.atol)}"
    inner = getattr(rule, "word", None) or getattr(rule, "tableau", None)
    return type(rule).__name__ + (f" {inner}" if inner else "")
