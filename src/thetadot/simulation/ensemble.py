r"""An ensemble of trajectories of any system, by any integrator.

    x_{n+1} = Φ_γ(x_n, ξ_n),    ξ_n a function of (key, n, path, component)

Same key, same paths: however they are saved, interrupted, or spread over threads. Engines draw the same law in two ways
(:mod:`thetadot.simulation.noise`): paths of "plain" and "in place" agree to rounding, those of "compiled" are others,
and the same for any number of paths beside them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from thetadot.errors import InadmissibleValue, require
from thetadot.integrators.adaptive import Embedded
from thetadot.simulation.adaptive import adaptively
from thetadot.simulation.initial import started
from thetadot.simulation.job import Job, require_positive
from thetadot.simulation.motion import posed, require_kinds
from thetadot.simulation.noise import Noise, require_noise_kind
from thetadot.simulation.saving import schedules
from thetadot.systems.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor

    from thetadot.integrators.base import Integrator
    from thetadot.simulation.choice import Builder, Named
    from thetadot.simulation.initial import Initial
    from thetadot.simulation.saving import Saving
    from thetadot.simulation.trajectory import Trajectory
    from thetadot.systems.base import System


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
    require_noise_kind(noise)
    start = started(initial, paths, key)
    time = require_positive("time", time)
    if isinstance(integrator, Embedded):
        require(step is None, f"step={step}", "is given to an integrator that finds its own", "Leave it out.")
        require(engine is None, f"engine={engine!r}", "cannot adapt steps", "Leave it out.")
        return adaptively(system, integrator, start, time, schedules(save), compile, keep, shown=progress)
    if step is None:
        raise InadmissibleValue(f"{type(integrator).__name__} needs a step. Pass step=, or an adaptive integrator.")
    job = Job(posed(system, integrator, require_positive("step", step)), start, time, save)
    return job.run(key, noise, compile, engine, keep, shown=progress)


def _with_loss(system: System | Problem, loss: Callable[[Tensor], Tensor]) -> Problem:
    if isinstance(system, Problem):
        raise InadmissibleValue("a Problem has its potential, and loss= was given too. Leave one of them out.")
    return Problem(system, loss)
