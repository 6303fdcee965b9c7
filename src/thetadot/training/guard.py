"""The guard: a run may stumble, it does not end diverged.

    tripped:  smoothed loss > best + (start - best)/4, or not finite

a loss that has lost a quarter of all that was gained. Then the run goes back to the last good state and steps half as far.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from thetadot.training.snapshot import Snapshot

MOST_ROLLBACKS = 12


@dataclass
class Guard:
    """Smoothed loss against its best; the last good state.

    Attributes:
        memory: steps that the smoothing remembers.
        start: loss before the first step.
        shrink: factor on the time step, halved at every rollback.
    """

    memory: int
    start: float
    smoothed: float = 0.0
    weight: float = 0.0
    best: float = math.inf
    shrink: float = 1.0
    rollbacks: int = 0
    good: Snapshot | None = field(default=None, repr=False)
    good_progress: dict[str, Any] = field(default_factory=dict)

    @property
    def level(self) -> float:
        """The smoothed loss, debiased."""
        return self.smoothed / self.weight if self.weight else self.start

    def tripped(self, loss: float) -> bool:
        """Take in a step's loss; whether the run must go back."""
        if not math.isfinite(loss):
            return True
        rate = 1.0 / self.memory
        self.smoothed += rate * (loss - self.smoothed)
        self.weight += rate * (1.0 - self.weight)
        if self.weight < 0.6:
            return False  # not smooth yet
        self.best = min(self.best, self.level)
        return self.level > self.best + max(0.25 * (self.start - self.best), 0.25 * abs(self.start))

    def healthy(self) -> bool:
        """Whether the present state is worth keeping."""
        return self.weight < 0.6 or self.level <= self.best + 0.1 * abs(self.start - self.best)

    def rewind(self) -> None:
        """Half the step; the smoothing begins anew."""
        self.shrink *= 0.5
        self.rollbacks += 1
        self.smoothed = self.weight = 0.0
        self.best = math.inf

    def state_dict(self) -> dict[str, Any]:
        """Numbers, and the last good state."""
        numbers = {name: getattr(self, name) for name in ("memory", "start", "smoothed", "weight", "best", "shrink", "rollbacks")}
        return numbers | {"good": self.good.pack() if self.good else None, "good_progress": self.good_progress}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from :meth:`state_dict`."""
        for name, value in state.items():
            if name != "good":
                setattr(self, name, value)
        self.good = Snapshot.unpack(state["good"]) if state["good"] else None
