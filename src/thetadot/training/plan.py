"""A plan: the settings of a run as a function of the elapsed fraction of its samples."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from thetadot.optim import Adam, HeavyBall
from thetadot.schedules import at_fixed_friction, cosine, linear, staircase, warmup
from thetadot.training.forgetting import decay_of
from thetadot.translation import Settings

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor

    from thetadot.optim import Flow

Family = Literal["heavy-ball", "adam"]
FAMILIES: tuple[Family, ...] = ("heavy-ball", "adam")
Annealing = Literal["linear", "cosine", "coupled"]
ANNEALINGS: tuple[Annealing, ...] = ("linear", "cosine", "coupled")
Preference = Literal["samples", "wall"]
PREFERENCES: tuple[Preference, ...] = ("samples", "wall")
"""What is to be few: samples, by many small steps, or steps, by large batches."""

FALL = 0.4
"""Share of a run in which ``linear`` falls to 0, at its end. The geometric mean of fourteen tasks' losses was the same
with .3, and 15% higher with a cosine: while the rate is constant, more of the run is at the rate that was found."""

COLDEST = 0.01
"""The temperature at the end, as a share of the first: annealing that stops warmer leaves the noise in."""


@dataclass(frozen=True)
class TrainingPlan:
    """The settings of a run before anything is learned on the way: forks and the guard multiply the rate.

    Attributes:
        optimizer: heavy ball, or the adaptive flow (Adam).
        lr: α at the start, after warm-up.
        momentum: β at the start (β₁ of Adam).
        batch_size: B at the start.
        last_batch: B at the end.
        annealing: "linear": constant, then a straight line to 0 in the last :data:`FALL` of the run. "cosine": the
            half wave. "coupled": the half wave of the time step at fixed friction, so that heavy ball's momentum rises.
        warmup: share of the run in which the time step rises from 0.
        eps: Adam's ε.
        decay: weight decay of the matrices while a run is decayed (:mod:`thetadot.training.decaying`); 0: it never is.
    """

    optimizer: Family
    lr: float
    momentum: float
    batch_size: int
    last_batch: int
    annealing: Annealing = "linear"
    warmup: float = 0.02
    eps: float = 1e-8
    decay: float = 0.0

    @property
    def end(self) -> float:
        """γ(1)/γ(0): 0, or such that γ/B ends at :data:`COLDEST` of its start where a wave falls."""
        if self.annealing == "linear":
            return 0.0
        return min(1.0, COLDEST * self.batch_at(1.0) / self.batch_size)

    def batch_at(self, t: float) -> int:
        """Batch size at elapsed fraction ``t``."""
        return staircase(min(t, 1.0), self.batch_size, self.last_batch)

    def at(self, t: float, factor: float = 1.0) -> Settings:
        """Lr and momentum at elapsed fraction ``t`` in [0, 1]; ``factor`` multiplies the rate."""
        t = min(t, 1.0)
        falling = linear(max(0.0, t - 1.0 + FALL) / FALL) if self.annealing == "linear" else cosine(t, self.end)
        return self._with(factor, falling * warmup(t, self.warmup))

    def again(self, factor: float, samples: int) -> TrainingPlan:
        """The plan once more for so many samples, at the rate that ``factor`` has made of its own."""
        reached = self._with(factor, 1.0)
        decay = decay_of(float(reached.lr), samples / self.batch_size) if self.decay else 0.0
        return replace(self, lr=float(reached.lr), momentum=float(reached.momentum), decay=decay)

    def _with(self, factor: float, fraction: float) -> Settings:
        """Lr and momentum at a share of the first rate."""
        if self.annealing == "coupled" and self.momentum > 0:
            return at_fixed_friction(self.lr * max(1.0, factor), self.momentum, fraction * min(1.0, factor))
        return Settings(self.lr * factor * fraction, self.momentum)

    def build(self, params: Iterable[Tensor]) -> Flow:
        """The optimizer of this plan."""
        if self.optimizer == "heavy-ball":
            return HeavyBall(params, self.lr, self.momentum)
        betas = self.momentum, 0.999
        if not self.decay:
            return Adam(params, self.lr, betas, self.eps)
        params = list(params)
        groups = [{"params": [p for p in params if (p.dim() > 1) == matrix]} for matrix in (True, False)]
        groups = [group for group in groups if group["params"]]
        return Adam(groups, self.lr, betas, self.eps, weight_decay_mode="decoupled")


def put(optimizer: Flow, settings: Settings, decay: float = 0.0) -> None:
    """Write lr and momentum into every group, under the names that it has, and weight decay into that of matrices."""
    for group in optimizer.param_groups:
        group["lr"] = settings.lr
        if decay or group["weight_decay"]:
            group["weight_decay"] = decay if group["params"][0].dim() > 1 else 0.0
        if "betas" in group:
            group["betas"] = (settings.momentum, group["betas"][1])
        else:
            group["momentum"] = settings.momentum
