"""A motion of one's own: ``file.py:function``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from thetadot.analysis import phase_portrait
from thetadot.core.signatures import checked
from thetadot.density import Gibbs, Grid
from thetadot.errors import InadmissibleValue, TaskError, ThetadotError
from thetadot.integrators import Euler
from thetadot.integrators.adaptive import Embedded
from thetadot.integrators.base import Integrator, name_of
from thetadot.scenes.experiment import Experiment
from thetadot.scenes.pictures.base import array
from thetadot.scenes.pictures.landscape import in_plane, on_curve
from thetadot.scenes.pictures.law import histogram
from thetadot.scenes.pictures.phase import in_projection, phase
from thetadot.scenes.request import request_of
from thetadot.scenes.rows import SceneRow
from thetadot.scenes.scene import FRAMES, Scene, SceneSettings, Setup
from thetadot.simulation.initial import started
from thetadot.simulation.motion import posed
from thetadot.systems import Kramers, Problem, System
from thetadot.systems.base import POSITION, noise_kind, noisy
from thetadot.systems.custom import Driven
from thetadot.training.spec import from_file

if TYPE_CHECKING:
    from thetadot.report.figures.picture import Picture
    from thetadot.simulation import Trajectory

RETURNS = "a Problem, an ODE, an SDE or another system with a drift of its own"
KEYS = ("system", "integrator", "initial", "time", "step", "paths")


def scene(spec: str, given: Mapping[str, Any]) -> Scene:
    """The scene of a user's function, called with what was given, temperature and friction included.

    Args:
        spec: file.py:function.
        given: its arguments.

    Raises:
        TaskError: no such file or function, or the function fails.
        InadmissibleValue: it returns something else than a motion.
    """
    returned = _named_parts(from_file(spec, what="simulation")(**given))
    return _scene(spec, spec.rpartition(":")[2], f", from {spec.rpartition(':')[0]}", returned)


@checked
def own(
    motion: Problem | System,
    *,
    initial: Any = None,
    integrator: Integrator | Embedded | str | None = None,
    time: float = 10.0,
    step: float | None = None,
    paths: int | None = None,
    tolerance: float | None = None,
    seed: int = 0,
    save: int = FRAMES,
    name: str = "own",
) -> Experiment:
    """An experiment on a motion of one's own.

    Args:
        motion: a Problem(system, potential), an ODE, an SDE or another system with a drift of its own.
        initial: where from: (dim,) or (paths, dim), or variables by name; 0 of one coordinate where it is None.
        integrator: one of ``thetadot.integrators``, or a name; one that suits the motion where it is None.
        time: how long.
        step: time step, 0.01 where it is None; none for an integrator that finds its own.
        paths: how many; as many as there are initial points, or 1000 of one point with noise, where it is None.
        tolerance: relative, of an integrator that finds its steps.
        seed: of all noise.
        save: times at which all paths are saved.
        name: heading of its page.

    Raises:
        InadmissibleValue: no motion that can be simulated, or arguments that do not go together.
        TaskError: the motion's functions fail at the initial points.

    Example:
        >>> import math, torch
        >>> from thetadot.systems import ODE
        >>> result = own(ODE(lambda x: -x), initial=torch.tensor([2.0]).double(), time=1.0).run()
        >>> abs(result.table["mean of x1 at the end"].measured - 2.0 / math.e) < 1e-9
        True
    """
    rule = None if isinstance(integrator, str) else integrator
    given = {"system": motion, "integrator": rule, "initial": initial, "time": time, "step": step, "paths": paths}
    scene = _scene(name, name, "", {key: value for key, value in given.items() if value is not None})
    word = integrator if isinstance(integrator, str) else None
    numerics = {"paths": paths, "time": time, "step": step, "integrator": word, "tolerance": tolerance}
    common = {"temperature": None, "friction": None, "seed": seed, "save": save}
    return Experiment(scene, request_of(scene, {**numerics, **common}, {}))


def _scene(name: str, title: str, whence: str, found: Mapping[str, Any]) -> Scene:
    """The scene of a motion with what was returned beside it."""
    motion = found["system"]
    if not isinstance(motion, Problem | System) or isinstance(motion, type):
        raise InadmissibleValue(f"{name} returned a {name_of(motion)}. Return {RETURNS}.")
    if not isinstance(motion, Problem | Driven):
        raise InadmissibleValue(
            f"{name} returned a {name_of(motion)} without a potential. "
            f"Return Problem({name_of(motion)}(...), potential)."
        )
    rule = found.get("integrator")
    if isinstance(rule, Embedded) and "step" in found:
        raise InadmissibleValue(f"{name} returned a step beside {name_of(rule)}, which finds its own. Leave it out.")
    if rule is not None and not isinstance(rule, Integrator | Embedded):
        raise InadmissibleValue(
            f"{name} returned a {name_of(rule)} as its integrator. Return one of thetadot.integrators."
        )
    for part in ("time", "step", "paths"):
        value = found.get(part)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or not value > 0):
            raise InadmissibleValue(f"{name} returned {part}={value!r}. Return a number > 0.")
    initial = started(found.get("initial", torch.zeros(1, 1, dtype=torch.float64)), None, None).points
    _try_functions(name, motion, initial, given="initial" in found)

    def make(_: SceneSettings) -> Setup:
        return _setup(motion, initial)

    return Scene(
        name=name,
        title=title.replace("_", " "),
        says=f"{name_of(motion.system if isinstance(motion, Problem) else motion)}{whence}.",
        make=make,
        paths=int(found.get("paths", 0)) or _paths(initial, motion),
        time=float(found.get("time", 10.0)),
        step=float(found.get("step", 0.01)),
        integrator=_default(motion) if rule is None else "",
        rule=rule,
        own=True,
    )


def _try_functions(spec: str, motion: Problem | System, initial: Mapping[str, torch.Tensor], *, given: bool) -> None:
    """Ask the user's functions once, where a sentence can still be said of them."""
    first = {name: value[:1] if value.ndim else value for name, value in initial.items()}
    begun = posed(motion, Euler(), 1.0)
    try:
        begun.require_shapes(begun.begin(first))
    except ThetadotError:
        raise
    except Exception as error:
        what = "Let them take" if given else "Return 'initial' too, a tensor (dim,) or (paths, dim), and let them take"
        raise TaskError(
            f"the functions of {spec} fail at positions {tuple(first[POSITION].shape)}: {type(error).__name__}: "
            f"{error}. {what} positions (paths, dim)."
        ) from error


def _system(motion: Problem | System) -> System:
    return motion.system if isinstance(motion, Problem) else motion


def _named_parts(returned: object) -> dict[str, Any]:
    """Name the parts of a returned system, (system, integrator, initial, time, step) or mapping."""
    if isinstance(returned, Mapping):
        strange = sorted(set(map(str, returned)) - set(KEYS))
        if strange or "system" not in returned:
            what = f"has {strange[0]!r}" if strange else "lacks 'system'"
            raise InadmissibleValue(f"the mapping that was returned {what}. Its keys are {', '.join(KEYS)}.")
        return dict(returned)
    if isinstance(returned, tuple):
        if not 1 <= len(returned) <= len(KEYS):
            raise InadmissibleValue(f"a tuple of {len(returned)} was returned. Return ({', '.join(KEYS)}), or fewer.")
        return {name: value for name, value in zip(KEYS, returned, strict=False) if value is not None}
    return {"system": returned}


def _default(motion: Problem | System) -> str:
    system = _system(motion)
    if not noisy(system):
        return "rk4" if not system.measures else "euler"
    if isinstance(system, Kramers):
        return "BAOAB"
    middle = noise_kind(system) != "additive" and getattr(system, "calculus", "") == "stratonovich"
    return "heun" if middle else "euler-maruyama"


def _paths(initial: Mapping[str, torch.Tensor], motion: Problem | System) -> int:
    """Return the number of paths: that of the initial state, or 1000 for one point with noise."""
    given = len(initial[POSITION])
    return given if given > 1 else 1000 if noisy(_system(motion)) else 1


def _setup(motion: Problem | System, initial: Mapping[str, torch.Tensor]) -> Setup:
    def rows(trajectory: Trajectory) -> list[SceneRow]:
        end = trajectory["states"].values[-1].double()
        table = []
        for at in range(min(end.shape[-1], 6)):
            column = end[:, at]
            drawn = len(column) > 1 and noisy(_system(motion))  # of paths that were given, the mean is no estimate
            error = float(column.std()) / math.sqrt(len(column)) if drawn else 0.0
            table.append(SceneRow(f"mean of x{at + 1} at the end", float(column.mean()), error=error))
            if len(column) > 1:
                table.append(SceneRow(f"its standard deviation, x{at + 1}", float(column.std())))
        if "energy" in trajectory.series:
            energy = trajectory["energy"].values.double().sum(-1)
            apart = bool(trajectory.end.rule)  # velocities belong to other times
            still = not noisy(motion.system) and not motion.friction and "velocity" in motion.system.variables  # type: ignore[union-attr]
            table.append(
                SceneRow(
                    "mean energy at the end",
                    float(energy[-1]),
                    float(energy[0]) if still and not apart else None,
                    "its velocities are of another time" if apart else "the start: nothing is lost" if still else "",
                    tolerance=1e-3 * max(abs(float(energy[0])), 1e-9),
                )
            )
        return table

    def pictures(trajectory: Trajectory) -> list[Picture]:
        dim = trajectory["states"].values.shape[-1]
        if isinstance(motion, Problem):
            return [*([_landscape(motion, trajectory)] if dim <= 2 else []), *_gibbs_histogram(motion, trajectory)]
        if dim == 2 and motion.variables == () and not noisy(motion):
            return [_portrait(motion, trajectory)]
        return [in_projection(trajectory["paths"].values, ("x1", "x2"))] if dim > 1 else []

    return Setup(motion, initial, rows, pictures)


def _gibbs_histogram(motion: Problem, trajectory: Trajectory) -> list[Picture]:
    """The histogram against Gibbs' law, for a heated motion of one coordinate that its landscape holds."""
    series = trajectory["states"]
    if series.values.shape[-1] != 1 or not float(motion.temperature) > 0:
        return []
    still = getattr(motion.system, "friction", None) == 0  # without friction no heat comes in
    low, high = float(series.values.min()), float(series.values.max())
    air = 0.75 * (high - low) + 1e-9
    shown = (low - 0.2 * air, high + 0.2 * air)
    try:
        law = None if still else Gibbs.of(motion, Grid((low - air, high + air), 400))
    except InadmissibleValue:  # nothing holds it
        law = None
    if law is None:
        return [histogram(series.times, series.values[..., 0], shown)]
    at = (array(law.grid.axes[0]), array(law.density))
    return [histogram(series.times, series.values[..., 0], shown, law=at, labels=("Gibbs' law, exp(-U/T)", ""))]


def _portrait(motion: System, trajectory: Trajectory) -> Picture:
    few = trajectory["paths"].values.double()
    places = few.flatten(0, 1)
    low, high = places.amin(0), places.amax(0)
    air = (0.15 * (high - low)).clamp_min(1e-3)
    box = [(float(a), float(b)) for a, b in zip(low - air, high + air, strict=True)]
    portrait = phase_portrait(motion, box[0], box[1], points=61, names=("x1", "x2"))
    return phase(
        portrait,
        few,
        heading="The motion in its plane",
        reading="Paths follow the arrows; where both dashed lines cross, the motion can rest.",
    )


def _landscape(motion: Problem, trajectory: Trajectory) -> Picture:
    series, trails = trajectory["states"], trajectory["paths"]
    places = series.values.double().flatten(0, 1)
    low, high = places.amin(0), places.amax(0)
    air = (0.15 * (high - low)).clamp_min(1e-3)
    box = [(float(a), float(b)) for a, b in zip(low - air, high + air, strict=True)]
    heights = motion.potential(places).double()
    top = float(heights.quantile(0.98) if len(heights) < 10**6 else heights.max())
    top += 0.2 * (top - float(heights.min())) + 1e-9
    if len(box) == 1:
        return on_curve(motion.potential, series.times, series.values, box[0], top)
    dim = series.values.shape[-1]
    return in_plane(motion.potential, (box[0], box[1]), top, series.times, series.values, trails.values[..., :dim])
