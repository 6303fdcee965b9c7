"""A simulation in progress: from one saved time to the next, each stretch checked before it counts."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from thetadot.core.tensors import tensor_of
from thetadot.errors import Diverged
from thetadot.simulation.engines import Compiled, Plain, Randomness
from thetadot.simulation.keeping import CALL, Keeping
from thetadot.simulation.trajectory import End, Trajectory
from thetadot.systems.base import POSITION
from thetadot.systems.custom import TIME

if TYPE_CHECKING:
    from collections.abc import Callable

    from thetadot.core.annotations import State
    from thetadot.simulation.engines import Engine
    from thetadot.simulation.ledger import Ledger
    from thetadot.simulation.motion import PosedMotion


@dataclass(frozen=True)
class BegunSimulation:
    """The state as the rule keeps it, steps taken before this call and in opening, and what is shown at the start."""

    state: State
    shown: State
    before: int
    opened: int
    key: int


class Run:
    """A simulation in progress."""

    def __init__(
        self,
        motion: PosedMotion,
        runner: Engine,
        ledger: Ledger,
        begun: BegunSimulation,
        randomness: Randomness,
        clock: Callable[[int], float],
        remark: str,
        keep: Callable[[Trajectory], None] | None = None,
    ) -> None:
        self.motion, self.runner, self.ledger, self.begun = motion, runner, ledger, begun
        self.randomness, self.clock, self.remark = randomness, clock, remark
        self.state, self.done = begun.state, begun.opened
        like = tensor_of(begun.state, POSITION)
        self.most = max(1, runner.most // like.numel())
        self.keeping = Keeping(keep)
        self.work = like.numel() + (0.0 if runner.name == Compiled.name else CALL)  # of a step
        self.numbers = sum(tensor_of(begun.state, name).numel() for name in motion.tensors)

    def through(self, total: int, advance: Callable[[int], None]) -> Trajectory:
        """March to the end, stopping wherever something is saved; interrupted, KeyboardInterrupt carries ``last``."""
        try:
            self._through(total, advance)
        except KeyboardInterrupt as interrupt:
            interrupt.last = self._trajectory()  # type: ignore[attr-defined]
            raise
        return self._trajectory()

    def _through(self, total: int, advance: Callable[[int], None]) -> None:
        advance(self.done)
        if self.begun.before + self.done == 0 and set(self.motion.numbers) - {TIME}:
            self._first()
        for target in sorted({*map(int, self.ledger.stops()), total}):
            while self.done < target:
                steps = min(self.most, target - self.done)
                self._march(steps)
                advance(steps)
            if self.done == target:
                self.ledger.save(target, self.motion.read(self.state))
                self.keeping.at(self.work * self.done, self._trajectory, self.numbers + self.ledger.numbers)

    def _first(self) -> None:
        """Numbers that are 0 at the start may be a case of their own, which a traced step does not know."""
        own = Randomness(self.begun.key, self.randomness.noise, counters=self.runner.counters)
        self.state, self.done = Plain(self.motion, own).march(self.state, 0, 1), 1

    def _march(self, steps: int) -> None:
        new = self.runner.march(self.state, self.begun.before + self.done, steps)
        if not _state_is_finite(self.motion, new):
            self._find_divergence(steps)
        self.state, self.done = new, self.done + steps

    def _find_divergence(self, steps: int) -> None:
        """Halve what is known to diverge until it is one step; the state before it is the last good one."""
        while steps > 1:
            half = steps // 2
            new = self.runner.march(self.state, self.begun.before + self.done, half)
            if _state_is_finite(self.motion, new):
                self.state, self.done, steps = new, self.done + half, steps - half
            else:
                steps = half
        bad = self.runner.march(self.state, self.begun.before + self.done, 1)
        lost = [~tensor_of(bad, name).isfinite().all(-1) for name in self.motion.tensors]
        row = int(torch.stack(lost).any(0).nonzero()[0])
        error = Diverged(
            f"path {row} is not finite after step {self.begun.before + self.done + 1} (time "
            f"{self.clock(self.done + 1):g}); the step before it stood at "
            f"{[round(x, 4) for x in tensor_of(self.state, POSITION)[row].tolist()[:4]]}. Pass a smaller step; what "
            "was saved, and the last good state, are in the error's `last`."
        )
        error.last = self._trajectory()
        raise error

    def _trajectory(self) -> Trajectory:
        steps = self.begun.before + self.done
        end = End(self.state, self.clock(self.done), steps, self.begun.key, self.motion.rule)
        return Trajectory(self.ledger.series(), end, self.runner.name, self.remark)


def _state_is_finite(motion: PosedMotion, state: State) -> bool:
    """A finite sum has finite terms, and takes a tenth of the time; an infinite one may be of large terms."""
    tensors = (tensor_of(state, name) for name in motion.tensors)
    return all(bool(value.sum().isfinite()) or bool(value.isfinite().all()) for value in tensors)


def bar(total: float, *, shown: bool) -> Any:
    """A progress bar, or nothing: a context manager that gives a function of what was done since."""
    if not shown:
        return nullcontext(lambda _: None)
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import Progress  # noqa: PLC0415

    @contextmanager
    def bar() -> Any:
        with Progress(console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task("simulating", total=total)
            yield lambda steps: progress.advance(task, steps)

    return bar()
