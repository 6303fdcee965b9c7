"""The request for a simulation: every argument of a scene with its default, and the checks on them."""

from __future__ import annotations

import math
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from thetadot.core.formatting import nearest
from thetadot.errors import InadmissibleValue, TooLarge, require
from thetadot.integrators.adaptive import Embedded
from thetadot.scenes.integrators import require_steps, rule
from thetadot.scenes.scene import FRAMES
from thetadot.scenes.spelling import COMMON, argument, either, word
from thetadot.scenes.storage import Request
from thetadot.simulation.memory import require_room

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from thetadot.scenes.scene import Scene, Value

_MOST_STEPS = 10**9
_LEAST = 128  # bytes that a path takes at least: its variables, several times


def request_of(scene: Scene, given: Mapping[str, Any], values: Mapping[str, Value]) -> Request:
    """Return every argument of a scene, as given or by default.

    Args:
        scene: what is simulated.
        given: the arguments that all scenes have (``spelling.COMMON``); None for a default.
        values: the scene's own parameters.

    Raises:
        InadmissibleValue: one that is out of range or unknown, or some that do not go together.
        TooLarge: more paths than fit into memory.
    """
    integrator = given["integrator"] or _integrator_for(scene, given["friction"])
    chosen = rule(integrator, scene.rule, given["tolerance"])
    adaptive = isinstance(chosen, Embedded)
    if adaptive:
        require_steps(chosen, given["step"])

    def known(name: str, default: Any) -> Any:
        return default if given[name] is None else given[name]

    request = Request(
        scene=scene.name,
        paths=known("paths", scene.paths),
        time=known("time", scene.time),
        step=given["step"] if adaptive else known("step", scene.step),
        integrator=integrator,
        key=known("seed", 0),
        frames=known("save", FRAMES),
        temperature=_heat(scene, given["temperature"]),
        friction=_damping(scene, given["friction"]),
        values=dict(values) if scene.own else values_of(scene, values),
        tolerance=chosen.rtol if isinstance(chosen, Embedded) and integrator else given["tolerance"],
    )
    check(request)
    return request


def _integrator_for(scene: Scene, friction: float | None) -> str:
    """The scene's integrator; a word where friction was asked of a scene that has none of its own."""
    if scene.friction is None and scene.damped and friction is not None:
        return "BAOAB"
    return scene.integrator


def values_of(scene: Scene, given: Mapping[str, Value]) -> dict[str, Value]:
    """Return every parameter of a scene, as given or by default."""
    strange = sorted(set(given) - set(scene.parameters))
    if strange:
        known = [*scene.parameters, *either(command="", python=" ".join(COMMON)).split()]
        close = nearest(strange[0], known)
        every = ", ".join(known) or "none"
        raise InadmissibleValue(f"{argument(strange[0])} is unknown to {scene.name}{close} It has: {every}.")
    found: dict[str, Value] = {}
    for name, parameter in scene.parameters.items():
        value = given.get(name, parameter.default)
        if isinstance(parameter.default, str):
            value = str(value)
        elif isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            said = word(value) if isinstance(value, str) else value
            raise InadmissibleValue(
                f"{argument(name, said)} is not a finite number. Pass for instance {parameter.default}."
            )
        found[name] = value
    return found


def _heat(scene: Scene, given: float | None) -> float | None:
    if given is None:
        return scene.temperature
    require(given >= 0 and math.isfinite(given), f"temperature={given:g}", "is negative or not finite", "Pass T >= 0.")
    if not scene.heated and not scene.own:
        raise InadmissibleValue(
            f"temperature={given:g}: {scene.name} has no temperature. Leave {argument('temperature')} out."
        )
    return given


def _damping(scene: Scene, given: float | None) -> float | None:
    if given is None:
        return scene.friction
    require(given >= 0 and math.isfinite(given), f"friction={given:g}", "is negative or not finite", "Pass λ >= 0.")
    if not scene.damped and not scene.own:
        raise InadmissibleValue(f"friction={given:g}: {scene.name} has no friction. Leave {argument('friction')} out.")
    return given


@contextmanager
def fitting() -> Iterator[None]:
    """Say of what does not fit into memory which arguments to change."""
    try:
        yield
    except TooLarge as error:
        said = str(error).split(". Save statistics")[0]
        fewer = f"Pass fewer {argument('paths')}, or a smaller {argument('save')}."
        raise TooLarge(f"{said}. {fewer}") from error


def check(request: Request) -> None:
    """Raise InadmissibleValue for a number out of range."""
    paths, frames, key = request.paths, request.frames, request.key
    many, some = f"Pass {argument('paths', 1000)}.", f"Pass {argument('save', FRAMES)}."
    require(1 <= paths <= 10**9, f"paths={paths}", "is not between 1 and 10⁹", many)
    with fitting():
        require_room(_LEAST * paths, f"an ensemble of {paths:,} paths")
    require(1 <= frames <= 10**5, f"save={frames}", "is not between 1 and 100000", some)
    require(0 <= key < 2**63, f"seed={key}", "is not between 0 and 2⁶³", f"Pass {argument('seed', 0)}.")
    for name, value in (("time", request.time), ("step", request.step)):
        fits = value is None or 0 < value < math.inf
        require(fits, f"{name}={value}", "is not positive and finite", f"Pass {argument(name)} > 0.")
    if request.step is None:
        return
    total = round(request.time / request.step)
    wider = f"Pass a larger {argument('step')}."
    require(total <= _MOST_STEPS, f"{request.time / request.step:.3g} steps", "are more than 10⁹", wider)
    whole = max(total, 1)
    time, step = (f"{value:.6g}" for value in (whole * request.step, request.time / whole))
    require(
        total >= 1 and abs(request.time / request.step - total) <= 1e-6 * total,
        f"time={request.time:g} with step={request.step:g}",
        "is not a whole number of steps",
        f"Pass {argument('time', time)}, or {argument('step', step)}.",
    )
