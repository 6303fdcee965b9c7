"""Clocks: the time at which a schedule is asked, in steps, samples, tokens, epochs or physical time."""

from __future__ import annotations

import math
from collections.abc import Callable  # noqa: TC003 - asked at run time
from dataclasses import dataclass
from typing import Literal, get_args

from thetadot.core.signatures import checked
from thetadot.errors import InadmissibleValue, require

Unit = Literal["steps", "samples", "tokens", "epochs", "time"]


@checked
@dataclass(frozen=True)
class Clock:
    """The time that has passed after so many steps.

        steps k,    samples n(k),    tokens n(k)·τ,    epochs n(k)/N,    time Σ γ, γ = √(2α/(1+β))

    n(k) is exact for a loader whose last batch of an epoch is smaller, where ``size`` is given, and for batches that
    change, where ``batches`` counts them: ``samples_at`` of a :class:`~thetadot.schedules.BatchSampler`. Physical time
    depends on the settings of the steps, and is counted by whoever makes them
    (:class:`~thetadot.schedules.ScheduleLR`).

    Args:
        unit: in which the schedule's durations are.
        batch_size: samples of a step, on all ranks together.
        size: samples of the data, N; for epochs.
        tokens: τ, of a sample.
        batches: samples seen before step k, where the batch changes.

    Raises:
        InadmissibleValue: out of range, or epochs without ``size``, samples without ``batch_size`` or ``batches``.

    Example:
        >>> clock = Clock("epochs", batch_size=32, size=100)  # four steps an epoch, the last of 4 samples
        >>> [clock(step) for step in (0, 1, 4, 5)]
        [0.0, 0.32, 1.0, 1.32]
    """

    unit: Unit = "steps"
    batch_size: int | None = None
    size: int | None = None
    tokens: float = 1.0
    batches: Callable[[int], int] | None = None

    def __post_init__(self) -> None:
        units = get_args(Unit)
        require(self.unit in units, f"unit={self.unit!r}", "is unknown", f"Pass one of {', '.join(map(repr, units))}.")
        for name in ("batch_size", "size"):
            value = getattr(self, name)
            require(value is None or value >= 1, f"{name}={value}", "is below 1", f"Pass {name} >= 1.")
        require(0 < self.tokens < math.inf, f"tokens={self.tokens:g}", "is not positive and finite", "Pass tokens > 0.")
        counted = self.unit in ("samples", "tokens", "epochs")
        if counted and (self.batch_size is None) == (self.batches is None):
            what = "both batch_size and batches" if self.batches else "neither batch_size nor batches"
            raise InadmissibleValue(f"{self.unit} are counted by the batch, and {what} came. Pass one of them.")
        if self.unit == "epochs" and self.size is None:
            raise InadmissibleValue("epochs are counted by the size of the data, and size=None came. Pass size=N.")

    def samples(self, step: int) -> int:
        """Return the number of samples seen before a step.

        Args:
            step: counted from 0.
        """
        if self.batches is not None:
            return int(self.batches(step))
        batch = self.batch_size or 1
        if self.size is None:
            return batch * step
        epoch, place = divmod(step, -(-self.size // batch))
        return epoch * self.size + min(self.size, place * batch)

    def __call__(self, step: int) -> float:
        """The time before a step; physical time is not a function of the step, and is refused."""
        if self.unit == "time":
            raise InadmissibleValue("physical time depends on the settings of the steps. Ask the scheduler's time.")
        if self.unit == "steps":
            return float(step)
        scale = {"samples": 1.0, "tokens": self.tokens, "epochs": 1.0 / (self.size or 1)}[self.unit]
        return self.samples(step) * scale

    def middle(self, step: int) -> float:
        """Return the time in the middle of a step, at which a schedule is asked.

        Args:
            step: counted from 0.
        """
        return (self(step) + self(step + 1)) / 2.0
