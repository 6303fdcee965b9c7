"""The request for a simulation: a scene, every argument with its default, and the checks on them."""

from __future__ import annotations

import math
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from thetadot.errors import InadmissibleValue, TooLarge, require

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping, Sequence

    from thetadot.scenes import Scene
    from thetadot.scenes.ensemble import Journey
    from thetadot.scenes.storage import Asked

FRAMES = 40
"""Times at which all paths are saved."""
_MOST_STEPS = 10**9
_LEAST = 128  # bytes that a path takes at least: its variables, several times


def asked_of(options: argparse.Namespace) -> tuple[Scene, Asked]:
    """The scene, and every argument with its default."""
    from thetadot.integrators.adaptive import Embedded
    from thetadot.scenes.integrators import require_steps, rule
    from thetadot.scenes.storage import Asked

    given = _given(options.set)
    scene = scene_of(options.name, given, options)
    own = is_own(options.name)
    integrator = options.integrator or _rule_for(scene, options)
    chosen = rule(integrator, scene.rule, options.tolerance)
    adaptive = isinstance(chosen, Embedded)
    if adaptive:
        require_steps(chosen, options.step)
    asked = Asked(
        scene=options.name,
        paths=options.paths if options.paths is not None else scene.paths,
        time=options.time if options.time is not None else scene.time,
        step=options.step if options.step is not None or adaptive else scene.step,
        integrator=integrator,
        key=options.seed if options.seed is not None else 0,
        frames=options.save if options.save is not None else FRAMES,
        temperature=_heat(scene, options.temperature, own=own),
        friction=_damping(scene, options.friction, own=own),
        values=given if own else values_of(scene, given),
        tolerance=chosen.rtol if isinstance(chosen, Embedded) and integrator else options.tolerance,
    )
    check(asked)
    return scene, asked


def is_own(name: str) -> bool:
    """Whether a name is file.py:function."""
    from thetadot.training.spec import is_file

    return is_file(name)


def scene_of(name: str, given: Mapping[str, Any], options: Any) -> Scene:
    """The scene of a name.

    Raises:
        InadmissibleValue: no such name.
        TaskError: no such file, or a function that fails.
    """
    from thetadot.scenes import SCENES
    from thetadot.scenes.names import nearest

    if name in SCENES:
        return SCENES[name]
    if not is_own(name):
        raise InadmissibleValue(
            f"{name!r} is unknown{nearest(name, SCENES)} Pass one of {', '.join(SCENES)}; or file.py:function."
        )
    from thetadot.scenes import custom

    heat = {key: getattr(options, key) for key in ("temperature", "friction") if getattr(options, key) is not None}
    return custom.scene(name, {**given, **heat})


def _rule_for(scene: Scene, options: argparse.Namespace) -> str:
    """The scene's integrator; a word where friction was asked of a scene that has none of its own."""
    if scene.friction is None and scene.damped and options.friction is not None:
        return "BAOAB"
    return scene.integrator


def _given(pairs: Sequence[str]) -> dict[str, float | int | str]:
    """Parse the values of ``--set``, numbers as numbers."""
    found: dict[str, float | int | str] = {}
    for pair in pairs:
        name, separator, text = pair.partition("=")
        if not separator or not name.isidentifier():
            raise InadmissibleValue(f"--set {pair!r} is not NAME=VALUE. Pass for instance --set barrier=0.5.")
        if name in found:
            raise InadmissibleValue(f"--set {name} was given twice. Pass it once.")
        found[name] = _number(text)
    return found


def _number(text: str) -> float | int | str:
    for kind in (int, float):
        try:
            return kind(text) if len(text) < 40 else text
        except ValueError:
            continue
    return text


def values_of(scene: Scene, given: Mapping[str, float | int | str]) -> dict[str, float | int | str]:
    """Return every parameter of a scene, as given or by default."""
    from thetadot.scenes.names import nearest

    strange = sorted(set(given) - set(scene.parameters))
    if strange:
        known = ", ".join(scene.parameters) or "none"
        raise InadmissibleValue(
            f"--set {strange[0]} is unknown to {scene.name}{nearest(strange[0], scene.parameters)} It has: {known}."
        )
    found: dict[str, float | int | str] = {}
    for name, parameter in scene.parameters.items():
        value = given.get(name, parameter.default)
        is_word = isinstance(parameter.default, str)
        if is_word:
            value = str(value)
        elif isinstance(value, str) or not math.isfinite(value):
            raise InadmissibleValue(
                f"--set {name}={value} is not a finite number. Pass for instance {parameter.default}."
            )
        found[name] = value
    return found


def _heat(scene: Scene, given: float | None, *, own: bool) -> float | None:
    if given is None:
        return scene.temperature
    require(given >= 0 and math.isfinite(given), f"temperature={given:g}", "is negative or not finite", "Pass T >= 0.")
    if not scene.heated and not own:
        raise InadmissibleValue(f"temperature={given:g}: {scene.name} has no temperature. Leave --temperature out.")
    return given


def _damping(scene: Scene, given: float | None, *, own: bool) -> float | None:
    if given is None:
        return scene.friction
    require(given >= 0 and math.isfinite(given), f"friction={given:g}", "is negative or not finite", "Pass λ >= 0.")
    if not scene.damped and not own:
        raise InadmissibleValue(f"friction={given:g}: {scene.name} has no friction. Leave --friction out.")
    return given


@contextmanager
def spoken_of() -> Iterator[None]:
    """Tell what does not fit into memory in the command's own words."""
    try:
        yield
    except TooLarge as error:
        said = str(error).split(". Save statistics")[0]
        raise TooLarge(f"{said}. Pass fewer --paths, or a smaller --save.") from error


def check(asked: Asked) -> None:
    """Raise InadmissibleValue for a number out of range."""
    from thetadot.simulation.memory import require_room

    require(1 <= asked.paths <= 10**9, f"paths={asked.paths}", "is not between 1 and 10⁹", "Pass --paths 1000.")
    with spoken_of():
        require_room(_LEAST * asked.paths, f"an ensemble of {asked.paths:,} paths")
    require(1 <= asked.frames <= 10**5, f"save={asked.frames}", "is not between 1 and 100000", f"Pass --save {FRAMES}.")
    require(0 <= asked.key < 2**63, f"seed={asked.key}", "is not between 0 and 2⁶³", "Pass --seed 0.")
    for name, value in (("time", asked.time), ("step", asked.step)):
        fits = value is None or 0 < value < math.inf
        require(fits, f"{name}={value}", "is not positive and finite", f"Pass --{name} > 0.")
    if asked.step is None:
        return
    total = round(asked.time / asked.step)
    require(total <= _MOST_STEPS, f"{asked.time / asked.step:.3g} steps", "are more than 10⁹", "Pass a larger --step.")
    whole = max(total, 1)
    require(
        total >= 1 and abs(asked.time / asked.step - total) <= 1e-6 * total,
        f"time={asked.time:g} with step={asked.step:g}",
        "is not a whole number of steps",
        f"Pass --time {whole * asked.step:.6g}, or --step {asked.time / whole:.6g}.",
    )


def journey_of(scene: Scene, asked: Asked) -> Journey:
    """The scene set up."""
    from thetadot.integrators.adaptive import Embedded, require_timed
    from thetadot.scenes import Settings
    from thetadot.scenes.ensemble import Journey
    from thetadot.scenes.integrators import require_steps, rule

    chosen = rule(asked.integrator, scene.rule, asked.tolerance)
    require_steps(chosen, asked.step)
    settings = Settings(
        asked.paths,
        asked.time,
        asked.step,
        chosen,
        asked.temperature,
        asked.friction,
        asked.key,
        asked.values,
    )
    journey = Journey(scene.make(settings), settings, chosen, asked.frames)
    if isinstance(chosen, Embedded):
        require_timed(chosen, journey.system)
    return journey
