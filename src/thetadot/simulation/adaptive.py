"""Paths whose steps follow their errors, each its own; what is saved is met exactly."""

from __future__ import annotations

from typing import TYPE_CHECKING

from thetadot.errors import Diverged, NotConverged
from thetadot.integrators.adaptive import Controlling
from thetadot.simulation.ledger import Ledger
from thetadot.simulation.trajectory import End, Trajectory
from thetadot.tensors import tensor_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor

    from thetadot.integrators.adaptive import Embedded
    from thetadot.simulation.motion import Motion
    from thetadot.simulation.saving import Save
    from thetadot.typing import State

NAME = "adaptive"


def simulate_adaptively(
    motion: Motion,
    integrator: Embedded,
    begun: tuple[State, float, int],
    time: float,
    saves: Mapping[str, Save],
    advance: Callable[[float], None],
) -> Trajectory:
    """As :func:`simulate`, by a method that finds its own steps.

    Args:
        motion: what moves.
        integrator: how.
        begun: state, time that had passed, and key.
        time: how long.
        saves: by name.
        advance: told of times passed.

    Raises:
        Diverged: a path gets no further; ``last`` is the trajectory up to the last time that was saved.
        NotConverged: more steps than allowed, likewise.
    """
    state, passed, key = begun
    places = {name: {t: passed + t for t in own.at(time)} for name, own in saves.items()}
    ledger = Ledger(saves, places, _tensors(motion, state))
    run = Controlling(integrator, motion.system, motion.gradient, state, passed, 1.0)
    now = passed

    def trajectory() -> Trajectory:
        counts: dict[str, Tensor] = {"accepted": run.accepted.flatten(), "rejected": run.rejected.flatten()}
        shared: State = {name: (now if name in motion.numbers else value) for name, value in run.state.items()}
        return Trajectory(ledger.series(), End(shared, now, 0, key), NAME, counts=counts)

    for place in sorted({*ledger.stops(), time}):
        stop = passed + place
        try:
            reached = run.until(stop)
        except (Diverged, NotConverged) as error:
            error.last = trajectory()
            raise
        advance(stop - now)
        now = stop
        ledger.save(place, _tensors(motion, reached))
    return trajectory()


def _tensors(motion: Motion, state: State) -> dict[str, Tensor]:
    return {name: tensor_of(state, name) for name in motion.tensors}
