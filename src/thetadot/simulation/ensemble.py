r"""An ensemble of trajectories of any system, by any integrator.

    x_{n+1} = Φ_γ(x_n, ξ_n),    ξ_n a function of (key, n, path, component)

Same key, same paths: whatever is simulated beside, saved, interrupted, or spread over threads. Engines draw the same
law in two ways (:mod:`thetadot.simulation.noise`): paths of "plain" and "in place" agree to rounding, those of
"compiled" are others.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast, get_args

import torch
from torch import Tensor

from thetadot.errors import InadmissibleValue, require
from thetadot.integrators.adaptive import Embedded
from thetadot.integrators.base import name_of
from thetadot.kinds import require_numbers, require_whole
from thetadot.random import derive
from thetadot.simulation.adaptive import simulate_adaptively
from thetadot.simulation.choice import Builder, choose
from thetadot.simulation.engines import Randomness
from thetadot.simulation.ledger import Ledger
from thetadot.simulation.motion import Motion, clocked, detached, posed
from thetadot.simulation.noise import Noise, by_counter
from thetadot.simulation.run import Begun, Run, bar
from thetadot.simulation.saving import schedules
from thetadot.simulation.trajectory import Trajectory
from thetadot.systems.base import POSITION
from thetadot.systems.problem import Problem
from thetadot.tensors import tensor_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from thetadot.integrators.base import Integrator
    from thetadot.simulation.saving import Saving
    from thetadot.systems.base import System
    from thetadot.typing import State

    Initial = Tensor | Mapping[str, Tensor] | Trajectory

_OPENING = (1 << 63) - 1  # the "step" whose noise a word's opening takes
_TOLERANCE = 1e-6  # of a step, in a time that should be a whole number of them


def simulate(
    system: System | Problem,
    integrator: Integrator | Embedded,
    initial: Initial,
    *,
    time: float,
    step: float | None = None,
    paths: int | None = None,
    loss: Callable[[Tensor], Tensor] | None = None,
    save: Saving | Mapping[str, Saving] = None,
    key: int | None = None,
    noise: Noise = "normal",
    compile: Literal["auto"] | bool = "auto",  # noqa: A002 - torch's word
    engine: Builder | None = None,
    progress: bool = False,
) -> Trajectory:
    """Simulate paths of ``system`` over ``time``.

    Args:
        system: a :class:`~thetadot.systems.Problem` (what moves, in which potential), or a system that has a drift of
            its own, such as ``ODE(f)`` or ``SDE(f, g)``.
        integrator: how a step is made.
        initial: positions (paths, dim), or (dim,) for one path; or a mapping that gives other variables too (velocity,
            ...); or a trajectory, which is gone on with.
        time: how long, > 0, a whole number of steps (any for an adaptive integrator).
        step: γ > 0; left out for an adaptive integrator.
        paths: copies of one initial point.
        loss: L: (paths, dim) -> (paths,), instead of a Problem.
        save: None: start and end; a number: so many equally spaced times beside the start; times; a function of (time,
            variables by name): a statistic, saved at 100 times instead of the states; a
            :class:`~thetadot.simulation.Save`; or a mapping of names to these, several schedules at once.
        key: 64 bits that fix all noise; 0 if None, that of a trajectory which is gone on with.
        noise: "normal", or "rademacher" (±1): cheaper, weak order 1.
        compile: a kernel for the whole march: "auto" where the job is long enough to pay for it, True, False.
        engine: another machine, such as :class:`thetadot.integrations.ray.RayEnsemble`.
        progress: a bar on stderr.

    Returns:
        What was saved: ``times`` (n,), ``states`` (n, paths, dim), in the dtype and on the device of ``initial``.

    Raises:
        InadmissibleValue: a number or shape out of range.
        IncompatiblePair: the integrator cannot step the system.
        TooLarge: what is to be saved does not fit into memory.
        Diverged: a path is not finite any more; ``last`` on the error is the trajectory up to the step before.

    Example:
        >>> from thetadot.integrators import Euler
        >>> from thetadot.systems import ODE
        >>> decay = simulate(ODE(lambda x: -x), Euler(), torch.ones(1, 1), time=1.0, step=0.5)
        >>> decay.times.tolist(), decay.states.flatten().tolist()  # (1 - γ)²
        ([0.0, 1.0], [1.0, 0.25])
    """
    if loss is not None:
        system = _with_loss(system, loss)
    if noise not in get_args(Noise):
        raise InadmissibleValue(f"noise={noise!r} is unknown. Pass {' or '.join(map(repr, get_args(Noise)))}.")
    if paths is not None:
        require_whole(paths=paths)
    start = _start(initial, paths, key)
    require_numbers(time=time)
    require(0 < time < float("inf"), f"time={time:g}", "is not positive and finite", "Pass time > 0.")
    if isinstance(integrator, Embedded):
        require(step is None, f"step={step}", "is given to an integrator that finds its own", "Leave it out.")
        require(engine is None and compile is not True, "compile or engine", "cannot adapt steps", "Leave them out.")
        motion = posed(system, cast("Integrator", integrator), math.nan)
        begun_at = _begin_at(motion, start)
        motion.require_shapes(begun_at[0])
        with bar(time, shown=progress) as advance:
            return simulate_adaptively(motion, integrator, begun_at, time, schedules(save), advance)
    if step is None:
        raise InadmissibleValue(f"{type(integrator).__name__} needs a step. Pass step=, or an adaptive integrator.")
    require_numbers(step=step)
    require(0 < step < float("inf"), f"step={step:g}", "is not positive and finite", "Pass step > 0.")
    total = _whole_steps(time, step)
    motion = posed(system, integrator, step)
    motion.scales  # noqa: B018 - refused here rather than on the way
    begun = _begin(motion, start, noise)
    motion.require_shapes(begun.state)
    like = tensor_of(begun.state, POSITION)
    randomness = Randomness(begun.key, noise)
    runner, remark = choose(motion, randomness, like, compile, engine, like.numel() * total)
    saves = schedules(save)

    def clock(done: int) -> float:
        return start.time + (time if done == total else done * step)

    places: dict[str, dict[float, float]] = {
        name: {done: clock(done) for done in own.steps(time, step, total)} for name, own in saves.items()
    }
    ledger = Ledger(saves, places, motion.read(begun.shown))
    run = Run(motion, runner, ledger, begun, randomness, clock, remark)
    with bar(total, shown=progress) as advance:
        return run.through(total, advance)


@dataclass(frozen=True)
class _Start:
    """Where a simulation begins: variables as given, or as a rule kept them when it ended before."""

    variables: State
    time: float
    steps: int
    key: int
    kept: bool
    rule: str = ""


def _begin_at(motion: Motion, start: _Start) -> tuple[State, float, int]:
    """The state of a motion that is not staggered, the time and the key."""
    _require_known(motion, start)
    given = {name: value for name, value in start.variables.items() if isinstance(value, Tensor)}
    return (clocked(start.variables) if start.kept else motion.begin(given)), start.time, start.key


def _require_known(motion: Motion, start: _Start) -> None:
    known = set(motion.tensors) | set(motion.numbers)
    if start.kept and (missing := sorted(known - set(start.variables))):
        raise InadmissibleValue(
            f"the trajectory that is gone on with has no {missing[0]!r}, which {type(motion.system).__name__} moves. "
            "Begin anew where it ended: pass its `final`."
        )
    if start.kept and start.rule != motion.rule:
        raise InadmissibleValue(
            f"the trajectory to go on with was stepped by {start.rule or 'a rule that staggers nothing'}, and is to be "
            f"by {motion.rule or name_of(motion.integrator)}: their velocities are of other times. Begin anew where it "
            "ended: pass its `final`, or a mapping with its last variables."
        )
    strange = sorted(set(start.variables) - known)
    if strange:
        raise InadmissibleValue(
            f"initial has {strange[0]!r}, which {type(motion.system).__name__} does not. "
            f"Its variables are {', '.join(sorted(known))}."
        )


def _with_loss(system: System | Problem, loss: Callable[[Tensor], Tensor]) -> Problem:
    if isinstance(system, Problem):
        raise InadmissibleValue("a Problem has its potential, and loss= was given too. Leave one of them out.")
    return Problem(system, loss)


def _start(initial: Initial, paths: int | None, key: int | None) -> _Start:
    """Check what came, and give every variable the shape (paths, dim)."""
    if key is not None and not isinstance(key, int):
        raise InadmissibleValue(f"key={key!r} is no whole number. Pass one, such as key=0.")
    if isinstance(initial, Trajectory):
        end = initial.end
        require(paths is None, f"paths={paths}", "is given with a trajectory that has its own", "Leave it out.")
        return _Start(end.state, end.time, end.steps, end.key if key is None else key, kept=True, rule=end.rule)
    if not isinstance(initial, Tensor | Mapping):
        raise InadmissibleValue(
            f"initial is a {type(initial).__name__}. Pass a tensor (paths, dim), a mapping of such, or a trajectory."
        )
    given = dict(initial) if not isinstance(initial, Tensor) else {POSITION: initial}
    if not isinstance(given.get(POSITION), Tensor):
        raise InadmissibleValue("initial has no tensor 'position'. Pass a tensor (paths, dim), or a mapping with one.")
    shaped: State = {name: _shaped(name, value, paths) for name, value in given.items()}
    position = tensor_of(shaped, POSITION)
    for name, value in shaped.items():
        admissible = (position.shape, (1, *position.shape[1:]))
        if isinstance(value, Tensor) and value.ndim == 2 and value.shape not in admissible:
            raise InadmissibleValue(
                f"initial[{name!r}] has shape {tuple(value.shape)}, and the position {tuple(position.shape)}. "
                "Give both the same."
            )
    return _Start(shaped, 0.0, 0, (0 if key is None else key) & (2**64 - 1), kept=False)


def _shaped(name: str, value: Tensor, paths: int | None) -> Tensor:
    value = torch.as_tensor(value)
    if value.ndim == 0 and name != POSITION:
        return value
    require(
        value.ndim in (1, 2) and value.numel() > 0 and value.is_floating_point(),
        f"initial[{name!r}] of shape {tuple(value.shape)} and {value.dtype}",
        "is neither (paths, dim) nor (dim,) of floating-point numbers",
        "Pass such a tensor; 100 paths in one dimension are (100, 1).",
    )
    require(bool(value.isfinite().all()), f"initial[{name!r}]", "is not finite everywhere", "Pass finite numbers.")
    if value.ndim == 1:
        value = value.unsqueeze(0)
    if paths is None:
        return value.detach().contiguous()
    require(
        value.shape[0] in (1, paths) and paths >= 1,
        f"paths={paths} with initial[{name!r}] of shape {tuple(value.shape)}",
        "does not go together",
        "Pass one point of shape (dim,), or leave paths out.",
    )
    return value.detach().expand(paths, -1).contiguous()


def _whole_steps(time: float, step: float) -> int:
    total = round(time / step)
    require(
        total >= 1 and abs(time / step - total) <= _TOLERANCE * total,
        f"time={time:g} with step={step:g}",
        "is not a whole number of steps",
        f"Pass time={max(total, 1) * step:g}, or step={time / max(total, 1):g}.",
    )
    return total


def _begin(motion: Motion, start: _Start, noise: Noise) -> Begun:
    """Into the rule's own variables; a word is run up to the place of its cycle that it is stepped from."""
    _require_known(motion, start)
    if start.kept:
        state = clocked(start.variables)
        return Begun(state, state, start.steps, 0, start.key)
    given = {name: value for name, value in start.variables.items() if isinstance(value, Tensor)}
    state = motion.begin(given)
    draws = iter(range(1 << 30))

    def draw() -> Tensor:
        return by_counter(given[POSITION], derive(start.key, _OPENING), 0, next(draws), 0, noise)

    opened, steps = motion.integrator.open(motion.system, motion.step, state, motion.force, draw)
    opened = detached(opened)
    return Begun(opened, state if steps else opened, 0, steps, start.key)
