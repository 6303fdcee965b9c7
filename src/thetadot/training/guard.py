"""The guard: a run may stumble, it does not end diverged.

    level:    running mean of the losses of ``memory`` steps; its standard error σ from their scatter
    bound(ℓ) = ℓ + max(start - ℓ, |start|)/4
    tripped:  level - 4σ > bound(best of level + 4σ and start), or > bound(expected), or not finite

a loss that has lost a quarter of all that was gained (of its start at least), or a run that is as far behind its own
trial, and that beyond the noise of its batches. Then it goes back to the last good state and takes smaller steps.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import msgspec

from thetadot.training.progress import Progress
from thetadot.training.snapshot import Snapshot

MOST_ROLLBACKS = 12
MOST_BEHIND = 2  # rollbacks for being behind the trial, or at chance; after them it is what the task allows
BEHIND = "the loss was far behind that of the trial"
CHANCE = "nothing was gained since the start"
_SMOOTH = 0.6
_SIGMAS = 4.0
_PATIENCE = 4.0  # scatter is remembered longer than level: a loss that runs away must not pass for noise


@dataclass
class Guard:
    """Smoothed loss against its best; the last good state.

    Attributes:
        memory: steps that the smoothing remembers.
        start: loss before the first step.
        best: the lowest level, its error added.
        shrink: factor on the time step, smaller after every rollback.
        place, stuck: where the last rollback went, and how many have gone there since.
        expected: loss that the trial of these settings came to, in ``patience`` steps.
        chance: loss from which on nothing was gained since the start.
    """

    memory: int
    start: float
    smoothed: float = 0.0
    weight: float = 0.0
    scatter: float = 0.0
    scatter_weight: float = 0.0
    best: float = math.inf
    shrink: float = 1.0
    rollbacks: int = 0
    expected: float = math.inf
    chance: float = math.inf
    patience: int = 0
    taken: int = 0
    behind: int = 0
    place: int = -1
    stuck: int = 0
    good: Snapshot | None = field(default=None, repr=False)
    good_progress: dict[str, Any] = field(default_factory=dict)

    @property
    def level(self) -> float:
        """The smoothed loss, debiased."""
        return self.smoothed / self.weight if self.weight else self.start

    @property
    def error(self) -> float:
        """Four standard errors of the level."""
        if not self.scatter_weight:
            return 0.0
        rate = 1.0 / self.memory
        share = rate / (2.0 - rate) * (2.0 - self.weight) / self.weight  # Σ of the squared weights of the mean
        return _SIGMAS * math.sqrt(self.scatter / self.scatter_weight * share)

    def tripped(self, loss: float) -> str | None:
        """Take in a step's loss; why the run must go back, None if it need not."""
        if not math.isfinite(loss):
            return "the loss was not finite"
        self._take_in(loss)
        if self.weight < _SMOOTH:
            return None
        self.best = min(self.best, self.level + self.error)
        surely = self.level - self.error
        if surely > self._bound(min(self.best, self.start)):
            return "the loss had lost a quarter of what was gained"
        if self.taken > self.patience and self.behind < MOST_BEHIND:
            behind = surely > self._bound(self.expected)
            chance = self.level >= self.chance
            self.behind += behind or chance
            return BEHIND if behind else CHANCE if chance else None
        return None

    def _take_in(self, loss: float) -> None:
        rate = 1.0 / self.memory
        if self.weight:
            slow = rate / _PATIENCE
            self.scatter += slow * ((loss - self.level) ** 2 - self.scatter)
            self.scatter_weight += slow * (1.0 - self.scatter_weight)
        self.smoothed += rate * (loss - self.smoothed)
        self.weight += rate * (1.0 - self.weight)
        self.taken += 1

    def _bound(self, reached: float) -> float:
        return reached + 0.25 * max(self.start - reached, abs(self.start))

    def lost(self, loss: float) -> bool:
        """Whether a run that ends so is worse than no run."""
        return loss > self._bound(self.start)

    def healthy(self) -> bool:
        """Whether the present state is worth keeping: smooth, near its best, no worse than the start or the trial."""
        near = min(self.best + 0.1 * abs(self.start - self.best), self._bound(self.start))
        if self.weight < _SMOOTH or self.level > near:
            return False
        return self.behind >= MOST_BEHIND or (self.level <= self._bound(self.expected) and self.level < self.chance)

    def rewind(self, factor: float = 0.5) -> None:
        """A smaller step, ever faster while the run does not get off its good state; the smoothing begins anew."""
        place = self.good_progress.get("step", 0)
        self.stuck = self.stuck + 1 if place == self.place else 0
        self.place = place
        factor **= 1 + max(0, self.stuck - 2) // 2
        self.shrink *= factor
        self.patience = int(self.patience / factor)  # a smaller step takes longer to get as far
        self.rollbacks += 1
        self.smoothed = self.weight = self.scatter = self.scatter_weight = 0.0
        self.taken = 0
        self.best = math.inf

    def state_dict(self) -> dict[str, Any]:
        """Numbers, and the last good state."""
        state = {part.name: getattr(self, part.name) for part in fields(self)}
        return state | {"good": self.good.pack() if self.good else None}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state that :meth:`state_dict` returned."""
        for part in fields(self):
            if part.name not in ("good", "good_progress"):
                setattr(self, part.name, (int if part.type == "int" else float)(state[part.name]))
        self.good_progress = asdict(msgspec.convert(state["good_progress"], Progress))
        self.good = Snapshot.unpack(state["good"]) if state["good"] else None
