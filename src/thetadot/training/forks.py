"""Forks: the run tries twice its rate beside it, and goes on from the better branch. Only the loser costs.

    at 5, 10, 18, 30% of the run, for n = max(3, 1%) steps each
    A = the run;  B = a copy of its whole state at twice the rate; the same batches, the same random numbers
    a, b = mean training loss over each one's second half; infinite if not finite, or a quarter above the start
    the run goes on from B if b < a, else from A

Upwards only: a short comparison is biased to the gentle rate, which takes out noise at once, so that a win of the
steeper one is conclusive and a win of the gentler one is not. No margin is asked for: leaving a saddle begins with
small gains. The training loss judges, which is free and includes the noise, so that it resists too large a rate.

A branch is the state that every next step depends on: model, loss, optimizer, generators, progress, best state. While a
fork is open both branches' states are part of the checkpoint, so that a run that is killed in it goes on in it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from thetadot.records import Epoch
from thetadot.records import Fork as Entry
from thetadot.training import reasons
from thetadot.training.levels import bound
from thetadot.training.progress import Rewound
from thetadot.training.steering import Steering

if TYPE_CHECKING:
    from thetadot.training.steering import Steered

PLACES = (0.05, 0.10, 0.18, 0.30)
"""Shares of the run at which it forks: while the rate is constant, and early enough to matter."""
LENGTH, FEWEST = 0.01, 3
RAISE = 2.0
LEAST_RAISE = 1.3
"""A fork whose rate is capped below this multiple of the run's decides nothing worth its cost."""
MOST_POINTS = 200
"""Points of a recorded curve; a longer one is of means over equal stretches."""


@dataclass
class Open:
    """A fork that is being decided.

    Attributes:
        step: where the branches part.
        steps: of each.
        samples: that the run had seen where they part.
        factors: on the plan's rate, of the run and of the branch.
        lrs: of both, before annealing.
        lost: the level above which a branch counts as lost.
        origin: the state where they part.
        end: the state that the run came to, once it is the branch's turn; None before, and where it failed.
        turn: 0 while the run's steps are taken, 1 while the branch's are.
        losses: of both, step by step.
        epochs: of both, ended in the fork; only the winner's are written.
        failed: which of them met a loss that is not finite.
    """

    step: int
    steps: int
    samples: int
    factors: tuple[float, float]
    lrs: tuple[float, float]
    lost: float
    origin: dict[str, Any]
    end: dict[str, Any] | None = None
    turn: int = 0
    losses: tuple[list[float], list[float]] = field(default_factory=lambda: ([], []))
    epochs: tuple[list[Epoch], list[Epoch]] = field(default_factory=lambda: ([], []))
    failed: list[bool] = field(default_factory=lambda: [False, False])

    def level(self, which: int) -> float:
        """Mean training loss over the second half; infinite where the branch was lost."""
        tail = self.losses[which][self.steps // 2 :]
        if self.failed[which] or not tail:
            return math.inf
        mean = sum(tail) / len(tail)
        return mean if mean <= self.lost else math.inf


class Forks(Steering):
    """Opens forks at their places, and decides them.

    Args:
        steps: of the run.
    """

    places = PLACES

    def __init__(self, steps: int) -> None:
        self.length = max(FEWEST, int(LENGTH * steps))
        self.open: Open | None = None

    @property
    def hidden(self) -> bool:
        """Whether the steps that are taken may be undone: they are neither guarded nor recorded one by one."""
        return self.open is not None

    def begin(self, loop: Steered) -> None:
        """Fork, if it is time to; called before a step."""
        if self.open is not None or not self.due(loop):
            return
        progress = loop.progress
        factor = min(RAISE * progress.factor, loop.highest())
        room = (loop.total - loop.seen) / loop.batch_at(loop.seen)
        length = max(FEWEST, self.length // progress.growth)  # so that the loser of large steps costs no more
        if factor <= LEAST_RAISE * progress.factor or room <= length:
            return
        lr = loop.plan.lr
        self.open = Open(
            step=progress.step,
            steps=length,
            samples=progress.samples,
            factors=(progress.factor, factor),
            lrs=(lr * progress.factor, lr * factor),
            lost=bound(loop.guard.start, loop.guard.scale),
            origin=loop.branch(),
        )

    def took(self, loop: Steered, loss: float) -> None:
        """Count a step of a branch; raises Rewound where its part is over."""
        if self.open is None:
            return
        losses = self.open.losses[self.open.turn]
        losses.append(loss)
        if len(losses) >= self.open.steps:
            self._turn(loop)

    def failed(self, loop: Steered) -> None:
        """End the part of a branch whose loss is not finite; nothing where no fork is open."""
        if self.open is not None:
            self.open.failed[self.open.turn] = True
            self._turn(loop)

    def write_epoch(self, loop: Steered, epoch: Epoch) -> None:
        """Write an epoch's end, or keep it until the fork is decided."""
        if self.open is None:
            loop.write(epoch)
        else:
            self.open.epochs[self.open.turn].append(epoch)

    def _turn(self, loop: Steered) -> None:
        fork = self.open
        assert fork is not None  # noqa: S101 - called while one is open
        if fork.turn == 0:
            fork.end = None if fork.failed[0] else loop.branch()
            loop.take_branch(fork.origin)
            loop.progress.factor = fork.factors[1]
            fork.turn = 1
        else:
            self._decide(loop, fork)
        raise Rewound

    def _decide(self, loop: Steered, fork: Open) -> None:
        level, other = fork.level(0), fork.level(1)
        raised = other < level
        self.open = None
        if not raised:
            loop.take_branch(fork.origin if fork.end is None else fork.end)
        if raised or fork.end is not None:
            loop.monitor.passed(fork.losses[int(raised)], loop.progress.samples - fork.samples)
            for epoch in fork.epochs[int(raised)]:
                loop.write(epoch)
        each = max(1, math.ceil(fork.steps / MOST_POINTS))
        told = [found if math.isfinite(found) else None for found in (level, other)]
        loop.write(
            Entry(
                step=fork.step,
                steps=fork.steps,
                lr=fork.lrs[0],
                other_lr=fork.lrs[1],
                level=told[0],
                other_level=told[1],
                raised=raised,
                because=reasons.fork(told[0], told[1], *fork.lrs, raised=raised),
                cost=loop.spent,
                losses=_means(fork.losses[0], each),
                other_losses=_means(fork.losses[1], each),
                each=each,
            )
        )

    def state_dict(self) -> dict[str, Any]:
        """Return the open fork, its branches' states included."""
        if self.open is None:
            return {"open": None}
        state = {name: getattr(self.open, name) for name in Open.__dataclass_fields__}
        state["epochs"] = [[packed(epoch) for epoch in some] for some in self.open.epochs]
        return {"open": state}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state that :meth:`state_dict` returned."""
        self.open = None
        if state["open"] is not None:
            told = dict(state["open"])
            epochs = tuple([msgspec.convert(epoch, Epoch) for epoch in some] for some in told.pop("epochs"))
            plain = {name: told.pop(name) for name in ("origin", "end")}
            told = msgspec.convert(told, _Numbers)
            numbers = {name: getattr(told, name) for name in _Numbers.__struct_fields__}
            self.open = Open(**numbers, **plain, epochs=epochs)  # type: ignore[arg-type]


class _Numbers(msgspec.Struct):
    """What of an open fork is checked when it is read."""

    step: int
    steps: int
    samples: int
    factors: tuple[float, float]
    lrs: tuple[float, float]
    lost: float
    turn: int
    losses: tuple[list[float], list[float]]
    failed: list[bool]


def packed(entry: Any) -> dict[str, Any] | None:
    """An entry as plain numbers, for a checkpoint."""
    return None if entry is None else {name: getattr(entry, name) for name in entry.__struct_fields__}


def _means(losses: list[float], each: int) -> tuple[float, ...]:
    """Means over stretches of ``each`` steps."""
    parts = (losses[i : i + each] for i in range(0, len(losses), each))
    return tuple(sum(part) / len(part) for part in parts)
