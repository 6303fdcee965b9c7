"""The guard: a run may stumble, it does not end diverged.

    tripped:  smoothed loss > best + (start - best)/4, or not finite

a loss that has lost a quarter of all that was gained, or a run that is as far behind its own trial. Then it goes back to the last good state
and steps half as far.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from thetadot.training.snapshot import Snapshot

MOST_ROLLBACKS = 12
MOST_BEHIND = 3  # rollbacks for being behind the trial; after them the trial was luck
BEHIND = "the loss was far behind that of the trial"
_SMOOTH = 0.6


@dataclass
class Guard:
    """Smoothed loss against its best; the last good state.

    Attributes:
        memory: steps that the smoothing remembers.
        start: loss before the first step.
        shrink: factor on the time step, halved at every rollback.
        expected: loss that the trial of these settings came to, in ``patience`` steps.
    """

    memory: int
    start: float
    smoothed: float = 0.0
    weight: float = 0.0
    best: float = math.inf
    shrink: float = 1.0
    rollbacks: int = 0
    expected: float = math.inf
    patience: int = 0
    taken: int = 0
    behind: int = 0
    good: Snapshot | None = field(default=None, repr=False)
    good_progress: dict[str, Any] = field(default_factory=dict)

    @property
    def level(self) -> float:
        """The smoothed loss, debiased."""
        return self.smoothed / self.weight if self.weight else self.start

    def tripped(self, loss: float) -> str | None:
        """Take in a step's loss; why the run must go back, None if it need not."""
        if not math.isfinite(loss):
            return "the loss was not finite"
        rate = 1.0 / self.memory
        self.smoothed += rate * (loss - self.smoothed)
        self.weight += rate * (1.0 - self.weight)
        self.taken += 1
        if self.weight < _SMOOTH:
            return None
        self.best = min(self.best, self.level)
        if self.level > self._bound(self.best):
            return "the loss had lost a quarter of what was gained"
        if self.taken > self.patience and self.behind < MOST_BEHIND and self.level > self._bound(self.expected):
            self.behind += 1
            return BEHIND
        return None

    def _bound(self, reached: float) -> float:
        return reached + 0.25 * max(self.start - reached, abs(self.start))

    def healthy(self) -> bool:
        """Whether the present state is worth keeping: smooth, near its best, and not behind the trial."""
        if self.weight < _SMOOTH or self.level > self.best + 0.1 * abs(self.start - self.best):
            return False
        return self.behind >= MOST_BEHIND or self.level <= self._bound(self.expected)

    def rewind(self, factor: float = 0.5) -> None:
        """A smaller step; the smoothing begins anew."""
        self.shrink *= factor
        self.patience = int(self.patience / factor)  # a smaller step takes longer to get as far
        self.rollbacks += 1
        self.smoothed = self.weight = 0.0
        self.taken = 0
        self.best = math.inf

    def state_dict(self) -> dict[str, Any]:
        """Numbers, and the last good state."""
        numbers = {name: getattr(self, name) for name in ("memory", "start", "smoothed", "weight", "best", "shrink", "rollbacks")}
        numbers |= {name: getattr(self, name) for name in ("expected", "patience", "taken", "behind")}
        return numbers | {"good": self.good.pack() if self.good else None, "good_progress": self.good_progress}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from :meth:`state_dict`."""
        for name, value in state.items():
            if name != "good":
                setattr(self, name, value)
        self.good = Snapshot.unpack(state["good"]) if state["good"] else None
