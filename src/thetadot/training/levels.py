"""The guard: a run may stumble, it does not end diverged. Levels of batches are compared with levels of batches.

    level, σ        mean loss of the steps of a piece, and its standard error; a piece is an epoch, at least 2.5% of the
                    run and at most 5%
    bound(ℓ)        ℓ + max(c - ℓ, |c|)/4, where c is the loss of the best constant output, or that at the start
    tripped         level - 4σ > bound(min(lowest level + 4σ, start)); the last four pieces surely above the start; or a
                    loss that is not finite

A loss that has lost a quarter of all that was gained, beyond the noise of its batches, sends the state back to the last
piece but one, at rest and with a third of the rate; the clock goes on, so that a rollback costs no evaluation and the
annealing ends where it was planned. Validation losses are compared with validation losses by the same bound. Levels of
one kind of batch must not be compared with levels of another: on a plateau that trips for ever.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import Any

import msgspec

from thetadot.training.snapshot import Snapshot

MOST_ROLLBACKS = 12
LOST = "the training loss had lost a quarter of what was gained"
CHANCE = "the training loss lay above its start"
PIECE = 0.025, 0.05
"""Least and most of a run that a piece is."""
FEWEST = 10  # steps of a piece
THIRD = 1.0 / 3.0
RECENT = 4
"""Pieces whose common level must not lie above the start: a run that sank to chance loses nothing any more. One that
waits at a saddle does not lie above it."""
KEPT = 2  # states: the last one may have been taken when the loss already ran away
_SIGMAS = 4.0
_ORIGIN = ("start", "scale", "chance")


def piece_of(steps: int, epoch: int) -> int:
    """Return the steps of a piece, of a run of so many steps whose epochs have so many.

    Example:
        >>> piece_of(1000, 30), piece_of(1000, 10), piece_of(1000, 500), piece_of(20, 10)
        (30, 25, 50, 10)
    """
    least, most = PIECE
    return max(FEWEST, min(max(epoch, int(least * steps)), int(most * steps)))


def bound(level: float, scale: float) -> float:
    """Return the loss above which a quarter of the gain over ``scale`` is lost, of ``scale`` itself at least.

    Example:
        >>> bound(0.5, 2.5), bound(3.0, 2.0), bound(-1.0, -1.0)
        (1.125, 3.5, -0.75)
    """
    return level + 0.25 * max(scale - level, abs(scale))


@dataclass
class Guard:
    """Levels of pieces, and the states to go back to.

    Attributes:
        piece: steps of a piece.
        start: loss before the first step, its error added.
        scale: loss that gains are counted from: a constant output's, or the start's.
        chance: loss above which nothing was gained: the larger of both where both are known, else the start's.
        count, total, square: of the losses of the present piece, from the start's on.
        scatter: variance of a step's loss in the last piece, or a quarter of what was taken for it there.
        lowest: of the levels so far, their errors added.
        recent: count, total and square of the last pieces.
        rollbacks: how many there were.
        place, stuck: step of the state that was gone back to last, and how many have gone there since.
        good: the latest states that were worth keeping, with their steps, the oldest first.
    """

    piece: int
    start: float
    scale: float
    chance: float | None = None
    count: int = 0
    total: float = 0.0
    square: float = 0.0
    scatter: float = 0.0
    lowest: float = math.inf
    recent: list[tuple[int, float, float]] = field(default_factory=list)
    rollbacks: int = 0
    place: int = -1
    stuck: int = 0
    good: list[tuple[int, Snapshot]] = field(default_factory=list, repr=False)

    @property
    def full(self) -> bool:
        """Whether the piece is over."""
        return self.count >= self.piece

    @property
    def level(self) -> float:
        """Mean loss of the steps of this piece."""
        return self.start + (self.total / self.count if self.count else 0.0)

    @property
    def error(self) -> float:
        """Four standard errors of the level."""
        return _SIGMAS * math.sqrt(self._variance() / self.count) if self.count > 1 else math.inf

    def _variance(self) -> float:
        """Variance of the losses of this piece; of ten alone it can be far too small, and never is twice."""
        mean = self.total / self.count
        own = max(0.0, self.square / self.count - mean * mean) * self.count / (self.count - 1)
        return max(own, 0.25 * self.scatter)

    def take(self, loss: float) -> None:
        """Count a step's loss in."""
        gone = loss - self.start  # so that an offset does not drown the scatter
        self.count += 1
        self.total += gone
        self.square += gone * gone

    def lost(self) -> str | None:
        """Close the piece: why the run has to go back, None if it need not; then its level counts."""
        level, error, self.scatter = self.level, self.error, self._variance()
        self.recent = [*self.recent, (self.count, self.total, self.square)][-RECENT:]
        self._empty()
        if level - error > bound(min(self.lowest, self.start), self.scale):
            return LOST
        if len(self.recent) == RECENT and self._above_the_start():
            return CHANCE
        self.lowest = min(self.lowest, level + error)
        return None

    def _above_the_start(self) -> bool:
        count, total, square = (float(sum(part)) for part in zip(*self.recent, strict=True))
        mean = total / count
        above = 0.0 if self.chance is None else self.chance - self.start
        return mean > above + _SIGMAS * math.sqrt(max(0.0, square / count - mean * mean) / count)

    def _empty(self) -> None:
        self.count, self.total, self.square = 0, 0.0, 0.0

    def keep(self, step: int, state: Snapshot) -> None:
        """Remember a state that was worth keeping."""
        self.good = [*self.good, (step, state)][-KEPT:]

    def rewind(self) -> tuple[int, Snapshot, float]:
        """The state to go back to, its step, and the factor on the rate, ever less while it does not help."""
        step, state = self.good[0]
        self.good = self.good[:1]
        self.stuck = self.stuck + 1 if step == self.place else 0
        self.place = step
        self.rollbacks += 1
        self.recent = []
        self._empty()
        if self.rollbacks > 3:  # what was reached once may have been luck
            self.lowest = math.inf
        return step, state, THIRD ** (1 + max(0, self.stuck - 2) // 2)

    def restart(self, step: int, state: Snapshot) -> float:
        """Begin anew from a state that was better on the validation data; the factor on the rate."""
        self.good = [(step, state)]
        self.rollbacks += 1
        self.recent = []
        self._empty()
        self.lowest = math.inf  # of a state that knew its training data better
        return THIRD

    def worse(self, loss: float) -> bool:
        """Whether a run that ends so is worse than no run."""
        return not loss <= bound(self.start, self.scale)

    def origin(self) -> dict[str, Any]:
        """What gains are counted from, whatever plan the run is at."""
        return {name: getattr(self, name) for name in _ORIGIN}

    def load_origin(self, state: dict[str, Any]) -> None:
        """Count gains from :meth:`origin`."""
        self.start, self.scale = float(state["start"]), float(state["scale"])
        self.chance = msgspec.convert(state["chance"], float | None)

    def state_dict(self) -> dict[str, Any]:
        """Numbers, and the states to go back to."""
        state = {part.name: getattr(self, part.name) for part in fields(self)}
        return state | {"good": [(step, kept.pack()) for step, kept in self.good]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state that :meth:`state_dict` returned."""
        for part in fields(self):
            if part.name not in ("good", "recent", "chance"):
                setattr(self, part.name, (int if part.type == "int" else float)(state[part.name]))
        self.chance = msgspec.convert(state["chance"], float | None)
        self.recent = msgspec.convert(state["recent"], list[tuple[int, float, float]])
        self.good = [(int(step), Snapshot.unpack(kept)) for step, kept in state["good"]]
