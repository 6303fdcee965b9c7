"""Recorded losses, and schedules along the clock on which they are predicted."""

from __future__ import annotations

import math
from collections.abc import Sequence  # noqa: TC003 - asked at run time
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from thetadot.core.signatures import checked
from thetadot.errors import require

Array = NDArray[np.float64]
_MOST = 1500  # pieces of a schedule in the noise's sum


class Shape(NamedTuple):
    """Numbers that enter a law unlike a factor: T₀, s, τ, q."""

    scale: float
    exponent: float
    memory: float
    forgets: float


@checked
@dataclass(frozen=True, eq=False)
class Recorded:
    """The losses of a training, and the settings of its steps.

    Args:
        losses: of each step from the first, taken before it; NaN where none is known.
        lr: of each step, or of all.
        momentum: β of a velocity that sums; 0 for Adam.
        batch_size: of each step, or of all.
    """

    losses: Sequence[float]
    lr: Sequence[float] | float
    momentum: Sequence[float] | float = 0.0
    batch_size: Sequence[float] | float = 1.0

    def __post_init__(self) -> None:
        losses = np.asarray(self.losses, dtype=np.float64)
        object.__setattr__(self, "losses", losses)
        for name in ("lr", "momentum", "batch_size"):
            object.__setattr__(self, name, of_steps(name, getattr(self, name), len(losses)))
        require(bool(np.isfinite(losses).any()), "losses", "have no finite number", "Pass those of the steps.")

    @property
    def path(self) -> Path:
        """Lengths of the steps along the clock, and the noise that each brings."""
        return Path.of(self.lr, self.momentum, self.batch_size)


def of_steps(name: str, value: Any, steps: int) -> Array:
    """Return a setting of every step, checked; one number stands for all."""
    array = np.asarray(value, dtype=np.float64)
    if array.ndim == 0:
        array = np.full(steps, float(array))
    require(array.shape == (steps,), f"{name} of shape {array.shape}", f"is not of {steps} steps", "Pass one a step.")
    least, below = {"lr": (0.0, math.inf), "momentum": (0.0, 1.0), "batch_size": (1.0, math.inf)}[name]
    fits = bool(((array >= least) & (array < below)).all())
    require(fits, f"{name}", f"is outside [{least:g}, {below:g})", "Pass what the steps were made with.")
    return array


@dataclass(frozen=True, eq=False)
class Path:
    """A schedule along the clock.

    Attributes:
        time: T before each step, and at the end.
        heat: r²/B of each step.
    """

    time: Array
    heat: Array

    @classmethod
    def of(cls, lr: Any, momentum: Any, batch_size: Any) -> Path:
        """Make the path of these settings of steps."""
        rate = np.asarray(lr) / (1.0 - np.asarray(momentum))
        return cls(np.concatenate([[0.0], np.cumsum(rate)]), rate * rate / np.asarray(batch_size))

    def signal(self, steps: Any, scale: float, exponent: float) -> Array:
        """What is left of the start before these steps."""
        found: Array = (1.0 + self.time[steps] / scale) ** -exponent
        return found

    def noise(self, steps: Any, scale: float, exponent: float) -> Array:
        """What is kept up before these steps."""
        cuts = np.unique(np.linspace(0, len(self.heat), min(len(self.heat), _MOST) + 1).astype(int))
        heat = np.add.reduceat(self.heat, cuts[:-1])
        until = self.time[cuts[1:]]
        past = self.time[np.asarray(steps)][:, None] - until[None, :]
        kernel = np.where(past >= 0.0, (1.0 + np.maximum(past, 0.0) / scale) ** -exponent, 0.0)
        found: Array = kernel @ heat
        return found
