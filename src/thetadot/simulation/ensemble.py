r"""An ensemble of trajectories of any system, by any integrator.

    x_{n+1} = Φ_γ(x_n, ξ_n),    ξ_n a function of (key, n, path, component)

Same key, same paths: however they are saved, interrupted, or spread over threads. Engines draw the same law in two ways
(:mod:`thetadot.simulation.noise`): paths of "plain" and "in place" agree to rounding, those of "compiled" are others,
and the same for any number of paths beside them.
"""

from __future__ import annotations

import math
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

import torch

from thetadot.errors import InadmissibleValue, require
from thetadot.integrators.adaptive import Embedded
from thetadot.kinds import require_numbers
from thetadot.simulation.adaptive import simulate_adaptively
from thetadot.simulation.asked import asked
from thetadot.simulation.choice import Builder, choose, require_known
from thetadot.simulation.engines import Randomness
from thetadot.simulation.initial import begin, begin_at, each_its_own_time, started
from thetadot.simulation.ledger import Ledger
from thetadot.simulation.motion import posed, require_kinds
from thetadot.simulation.noise import Noise
from thetadot.simulation.run import Run, bar
from thetadot.simulation.saving import schedules
from thetadot.systems.base import POSITION
from thetadot.systems.problem import Problem
from thetadot.tensors import tensor_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from torch import Tensor

    from thetadot.integrators.base import Integrator
    from thetadot.simulation.choice import Named
    from thetadot.simulation.initial import Initial
    from thetadot.simulation.saving import Saving
    from thetadot.simulation.trajectory import Trajectory
    from thetadot.systems.base import System

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
    engine: Builder | Named | None = None,
    progress: bool = False,
    keep: Callable[[Trajectory], None] | None = None,
) -> Trajectory:
    """Simulate paths of ``system`` over ``time``.

    Args:
        system: a :class:`~thetadot.systems.Problem` (what moves, in which potential), or a system that has a drift of
            its own, such as ``ODE(f)`` or ``SDE(f, g)``.
        integrator: how a step is made.
        initial: positions (paths, dim), or (dim,) for one path, float32 or float64; or a mapping that gives other
            variables too (velocity, ...); or a trajectory to continue.
        time: how long, > 0, a whole number of steps (any for an adaptive integrator).
        step: γ > 0; left out for an adaptive integrator.
        paths: copies of one initial point.
        loss: L: (paths, dim) -> (paths,), instead of a Problem.
        save: None: start and end; a number: so many equally spaced times beside the start; times; a function of (time,
            variables by name): a statistic, saved at 100 times instead of the states; a
            :class:`~thetadot.simulation.Save`; or a mapping of names to these, several schedules at once.
        key: 64 bits that fix all noise. If None, that of the trajectory to continue, else one drawn from
            torch's default generator, so that ``torch.manual_seed`` decides it; the result has it as ``key``. Nothing
            is drawn where there is no noise.
        noise: "normal", or "rademacher" (±1): cheaper, weak order 1.
        compile: a kernel for the whole march: "auto" where the job is long enough to pay for it (for an adaptive
            integrator, whose steps are not known before, wherever there can be one), True, False.
        engine: "plain", "in place" or "compiled", by name; or another machine, such as
            :class:`thetadot.integrations.ray.RayEnsemble`. Chosen by the job if None.
        progress: a bar on stderr.
        keep: given the trajectory so far now and then, by counts of steps: what it writes loses little when the
            process is killed, and a simulation continues from there bit for bit.

    Returns:
        What was saved: ``times`` (n,), ``states`` (n, paths, dim), in the dtype and on the device of ``initial``. No
        gradient flows through a simulation.

    Raises:
        InadmissibleValue: a number or shape out of range.
        IncompatiblePair: the integrator cannot step the system.
        TooLarge: what is to be saved does not fit into memory.
        Diverged: a path is not finite any more; ``last`` on the error is the trajectory up to the step before.
        NotConverged: by an adaptive integrator a path would need more steps than allowed or waited for; likewise.

    Example:
        >>> import torch
        >>> from thetadot.integrators import Euler
        >>> from thetadot.systems import ODE
        >>> decay = simulate(ODE(lambda x: -x), Euler(), torch.ones(1, 1), time=1.0, step=0.5)
        >>> decay.times.tolist(), decay.states.flatten().tolist()  # (1 - γ)²
        ([0.0, 1.0], [1.0, 0.25])
    """
    if loss is not None:
        system = _with_loss(system, loss)
    require_kinds(system, integrator)
    if noise not in get_args(Noise):
        raise InadmissibleValue(f"noise={noise!r} is unknown. Pass {' or '.join(map(repr, get_args(Noise)))}.")
    start = started(initial, paths, key)
    time = _positive("time", time)
    if isinstance(integrator, Embedded):
        require(step is None, f"step={step}", "is given to an integrator that finds its own", "Leave it out.")
        require(engine is None, f"engine={engine!r}", "cannot adapt steps", "Leave it out.")
        require_known(compile)
        motion = posed(system, cast("Integrator", integrator), math.nan)
        start.require_known(motion)
        saves = schedules(save)
        start.require_room(motion, saves, {name: len(own.at(time)) for name, own in saves.items()})
        state, memory = begin_at(motion, start)
        motion.require_shapes(each_its_own_time(state))
        with bar(time, shown=progress) as advance:
            return simulate_adaptively(
                motion,
                integrator,
                (state, start.end.time, start.end.key, memory),
                time,
                saves,
                advance,
                compile,
                keep,
            )
    if step is None:
        raise InadmissibleValue(f"{type(integrator).__name__} needs a step. Pass step=, or an adaptive integrator.")
    step = _positive("step", step)
    total = _whole_steps(time, step)
    motion = posed(system, integrator, step)
    motion.scales  # noqa: B018 - refused here rather than on the way
    start.require_known(motion)
    saves = schedules(save)
    places = {name: own.steps(time, step, total) for name, own in saves.items()}
    start.require_room(motion, saves, {name: len(steps) for name, steps in places.items()})
    require_known(compile, engine)
    with _undrawn_by_an_error():
        begun = begin(motion, start.keyed(motion, key), noise)
        like = tensor_of(begun.state, POSITION)
        own = asked(motion, like, begun.state)
        randomness = Randomness(begun.key, noise)
        runner, remark = choose(motion, randomness, like, compile, engine, like.numel() * total, own)

    def clock(done: int) -> float:
        return start.end.time + (time if done == total else done * step)

    times: dict[str, dict[float, float]] = {
        name: {done: clock(done) for done in steps} for name, steps in places.items()
    }
    ledger = Ledger(saves, times, motion.read(begun.shown))
    run = Run(motion, runner, ledger, begun, randomness, clock, remark, keep)
    with bar(total, shown=progress) as advance:
        return run.through(total, advance)


@contextmanager
def _undrawn_by_an_error() -> Iterator[None]:
    """What does not begin takes nothing from torch's generator."""
    before = torch.get_rng_state()
    try:
        yield
    except BaseException:
        torch.set_rng_state(before)
        raise


def _with_loss(system: System | Problem, loss: Callable[[Tensor], Tensor]) -> Problem:
    if isinstance(system, Problem):
        raise InadmissibleValue("a Problem has its potential, and loss= was given too. Leave one of them out.")
    return Problem(system, loss)


def _positive(name: str, value: Any) -> float:
    """As a float."""
    require_numbers(**{name: value})
    found = float(value)
    require(0 < found < math.inf, f"{name}={found:g}", "is not positive and finite", f"Pass {name} > 0.")
    return found


def _whole_steps(time: float, step: float) -> int:
    total = round(time / step)
    require(
        total >= 1 and abs(time / step - total) <= _TOLERANCE * total,
        f"time={time:g} with step={step:g}",
        "is not a whole number of steps",
        f"Pass time={max(total, 1) * step:g}, or step={time / max(total, 1):g}.",
    )
    return total
