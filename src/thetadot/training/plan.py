"""A plan: the settings of a run as a function of the elapsed fraction of its samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from thetadot.optim import Adam, HeavyBall
from thetadot.schedules import Coupled, at_fixed_friction, cosine, staircase, warmup

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor

    from thetadot.optim import Flow

Family = Literal["heavy-ball", "adam"]
FAMILIES: tuple[Family, ...] = ("heavy-ball", "adam")

COLDEST = 0.01
"""The temperature at the end, as a share of the first: annealing that stops warmer leaves the noise in."""


@dataclass(frozen=True)
class Plan:
    """Small batch and large step first, then batch up and step down.

    Attributes:
        optimizer: heavy ball, or the adaptive flow (Adam).
        lr: α at the start, after warm-up.
        momentum: β at the start (β₁ of Adam).
        batch_size: B at the start.
        last_batch: B at the end.
        coupled: heavy ball only; the momentum rises as lr falls, friction fixed.
        warmup: share of the run in which the time step rises from 0.
    """

    optimizer: Family
    lr: float
    momentum: float
    batch_size: int
    last_batch: int
    coupled: bool
    warmup: float = 0.02

    @property
    def end(self) -> float:
        """γ(1)/γ(0), such that γ/B ends at :data:`COLDEST` of its start."""
        return min(1.0, COLDEST * self.batch_at(1.0) / self.batch_size)

    def batch_at(self, t: float) -> int:
        """Batch size at elapsed fraction ``t``."""
        return staircase(min(t, 1.0), self.batch_size, self.last_batch)

    def at(self, t: float, shrink: float = 1.0) -> Coupled:
        """Lr and momentum at elapsed fraction ``t`` in (0, 1]; ``shrink`` is the guard's factor on the time step."""
        t = min(t, 1.0)
        fraction = cosine(t, self.end) * warmup(t, self.warmup) * shrink
        if self.coupled and self.momentum > 0:
            return at_fixed_friction(self.lr, self.momentum, fraction)
        return Coupled(self.lr * fraction, self.momentum)

    def build(self, params: Iterable[Tensor]) -> Flow:
        """The optimizer of this plan."""
        if self.optimizer == "heavy-ball":
            return HeavyBall(params, self.lr, self.momentum)
        return Adam(params, self.lr, (self.momentum, 0.999))


def put(optimizer: Flow, settings: Coupled) -> None:
    """Write lr and momentum into every group, under the names that it has."""
    for group in optimizer.param_groups:
        group["lr"] = settings.lr
        if "betas" in group:
            group["betas"] = (settings.momentum, group["betas"][1])
        else:
            group["momentum"] = settings.momentum
