"""A simulation by steps of one length: what is asked of it, checked before anything is drawn or marched."""

from __future__ import annotations

import math
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from thetadot.core.tensors import tensor_of
from thetadot.core.validation import require_numbers
from thetadot.errors import require
from thetadot.simulation.asked import asked
from thetadot.simulation.choice import choose, require_known
from thetadot.simulation.engines import Randomness
from thetadot.simulation.initial import begin
from thetadot.simulation.ledger import Ledger
from thetadot.simulation.run import Run, bar
from thetadot.simulation.saving import schedules
from thetadot.systems.base import POSITION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from thetadot.simulation.choice import Builder, Compile, Named
    from thetadot.simulation.initial import Start
    from thetadot.simulation.motion import PosedMotion
    from thetadot.simulation.noise import Noise
    from thetadot.simulation.saving import Saving
    from thetadot.simulation.trajectory import Trajectory

_TOLERANCE = 1e-6  # of a step, in a time that should be a whole number of them


@dataclass(frozen=True)
class Job:
    """One simulation to be made, by steps of one length.

    Args:
        motion: what moves, and how.
        start: from where.
        time: how long.
        save: a schedule, or several by name.

    Raises:
        InadmissibleValue: a time that is not a whole number of steps, or what is given is not what moves.
        IncompatiblePair: the integrator cannot step the system.
        TooLarge: what is to be saved does not fit into memory.
    """

    motion: PosedMotion
    start: Start
    time: float
    save: Saving | Mapping[str, Saving]

    def __post_init__(self) -> None:
        total = _whole_steps(self.time, self.motion.step)
        self.motion.scales  # noqa: B018 - refused here rather than on the way
        self.start.require_known(self.motion)
        saves = schedules(self.save)  # after the start: a state of another motion is refused as such
        places = {name: own.steps(self.time, self.motion.step, total) for name, own in saves.items()}
        self.start.require_room(self.motion, saves, {name: len(steps) for name, steps in places.items()})
        object.__setattr__(self, "_total", total)
        object.__setattr__(self, "_saves", saves)
        object.__setattr__(self, "_places", places)

    def clock(self, done: int) -> float:
        """Time after so many steps."""
        step, total = self.motion.step, self._total  # type: ignore[attr-defined]
        return self.start.end.time + (self.time if done == total else done * step)

    def run(
        self,
        key: int | None,
        noise: Noise,
        compile: Compile,  # noqa: A002 - torch's word
        engine: Builder | Named | None,
        keep: Callable[[Trajectory], None] | None,
        *,
        shown: bool,
    ) -> Trajectory:
        """Simulate it; arguments as :func:`simulate` has them."""
        motion, total = self.motion, self._total  # type: ignore[attr-defined]
        require_known(compile, engine)
        with _undrawn_by_an_error():
            begun = begin(motion, self.start.keyed(motion, key), noise)
            like = tensor_of(begun.state, POSITION)
            own = asked(motion, like, begun.state)
            randomness = Randomness(begun.key, noise)
            runner, remark = choose(motion, randomness, like, compile, engine, like.numel() * total, own)
        times: dict[str, dict[float, float]] = {
            name: {done: self.clock(done) for done in steps}
            for name, steps in self._places.items()  # type: ignore[attr-defined]
        }
        ledger = Ledger(self._saves, times, motion.read(begun.shown))  # type: ignore[attr-defined]
        run = Run(motion, runner, ledger, begun, randomness, self.clock, remark, keep)
        with bar(total, shown=shown) as advance:
            return run.through(total, advance)


@contextmanager
def _undrawn_by_an_error() -> Iterator[None]:
    """Restore torch's generator if the simulation does not begin."""
    before = torch.get_rng_state()
    try:
        yield
    except BaseException:
        torch.set_rng_state(before)
        raise


def require_positive(name: str, value: Any) -> float:
    """Return a positive finite number as a float."""
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
