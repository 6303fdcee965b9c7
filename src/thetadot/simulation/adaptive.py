"""Paths whose steps follow their errors, each its own; what is saved is met exactly."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, cast

import torch

from thetadot.core.tensors import tensor_of
from thetadot.errors import Diverged, NotConverged
from thetadot.simulation.choice import require_known
from thetadot.simulation.controlled import controlling
from thetadot.simulation.initial import begin_at, each_its_own_time
from thetadot.simulation.keeping import CALL, Keeping
from thetadot.simulation.ledger import Ledger
from thetadot.simulation.motion import posed
from thetadot.simulation.run import bar
from thetadot.simulation.trajectory import End, Trajectory

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor

    from thetadot.core.annotations import State
    from thetadot.integrators.adaptive import Embedded
    from thetadot.integrators.base import Integrator
    from thetadot.simulation.choice import Compile
    from thetadot.simulation.initial import Start
    from thetadot.simulation.motion import PosedMotion
    from thetadot.simulation.saving import Save
    from thetadot.systems.base import System
    from thetadot.systems.problem import Problem

COUNTS = ("accepted", "rejected", "shortest", "longest")


def adaptively(
    system: System | Problem,
    integrator: Embedded,
    start: Start,
    time: float,
    saves: Mapping[str, Save],
    compile: Compile,  # noqa: A002 - torch's word
    keep: Callable[[Trajectory], None] | None,
    *,
    shown: bool,
) -> Trajectory:
    """Check what is asked of a method that finds its own steps, and simulate by it."""
    require_known(compile)
    motion = posed(system, cast("Integrator", integrator), math.nan)
    start.require_known(motion)
    start.require_room(motion, saves, {name: len(own.at(time)) for name, own in saves.items()})
    state, memory = begin_at(motion, start)
    motion.require_shapes(each_its_own_time(state))
    begun = (state, start.end.time, start.end.key, memory)
    with bar(time, shown=shown) as advance:
        return simulate_adaptively(motion, integrator, begun, time, saves, advance, compile, keep)


def simulate_adaptively(
    motion: PosedMotion,
    integrator: Embedded,
    begun: tuple[State, float, int, Mapping[str, Tensor]],
    time: float,
    saves: Mapping[str, Save],
    advance: Callable[[float], None],
    compile: Compile = "auto",  # noqa: A002 - torch's word
    keep: Callable[[Trajectory], None] | None = None,
) -> Trajectory:
    """Simulate as :func:`simulate` does, by a method that chooses its own steps.

    Args:
        motion: what moves.
        integrator: how.
        begun: state, time that had passed, key, and what the method remembers.
        time: how long.
        saves: by name.
        advance: told of times passed.
        compile: a kernel wherever there can be one ("auto"), else an error (True), or none (False).
        keep: as :func:`simulate` was given it.

    Raises:
        Diverged: a path gets no further; ``last`` is the trajectory up to the last time that was saved.
        NotConverged: more steps than allowed, likewise.
        KeyboardInterrupt: likewise.
    """
    state, passed, key, memory = begun
    places = {name: {t: passed + t for t in own.at(time)} for name, own in saves.items()}
    ledger = Ledger(saves, places, _motion_tensors(motion, state))
    run, remark = controlling(motion, integrator, state, passed, passed + time, memory, compile)
    begin: State = {name: tensor_of(run.state, name).clone() for name in run.state}
    met = (passed, begin, run.memory)

    def trajectory() -> Trajectory:
        """Up to the last time that every path has met; on the way to the next one each has a time of its own."""
        now, there, kept = met
        shared: State = {name: (now if name in motion.numbers else value) for name, value in there.items()}
        return Trajectory(ledger.series(), End(shared, now, 0, key, memory=kept), run.engine, remark, counted(kept))

    keeping = Keeping(keep)
    try:
        for place in sorted({*ledger.stops(), time}):
            reached = run.until(passed + place)
            advance(passed + place - met[0])
            met = (passed + place, reached, run.memory)
            ledger.save(place, _motion_tensors(motion, reached))
            keeping.at(_work(motion, reached, run.memory), trajectory, ledger.numbers)
    except (Diverged, NotConverged) as error:
        error.last = trajectory()
        raise
    except KeyboardInterrupt as interrupt:
        interrupt.last = trajectory()  # type: ignore[attr-defined]
        raise
    return trajectory()


def _work(motion: PosedMotion, state: State, memory: Mapping[str, Tensor]) -> float:
    """Done so far, in path-steps times components; paths are evaluated together, until the last has arrived."""
    taken = [memory[name] for name in ("accepted", "rejected") if name in memory]
    if not taken:
        return 0.0
    steps = torch.stack([each.double() for each in taken]).sum(0)
    size = sum(tensor_of(state, name).shape[-1] for name in motion.tensors)
    return float(steps.sum()) * size + CALL * float(steps.max())


def counted(memory: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a method's counts for each path, (paths,)."""
    return {name: memory[name].flatten() for name in COUNTS if name in memory}


def _motion_tensors(motion: PosedMotion, state: State) -> dict[str, Tensor]:
    return {name: tensor_of(state, name) for name in motion.tensors}
