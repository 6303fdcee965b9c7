r"""When to measure: a function of counted work, never of a clock.

A measurement that costs c samples' gradients comes every c/(s·B) steps, so that it takes the share s of the training's
own work; B samples are averaged in a step. Early on, where a run changes fast, it also comes at 1/16 and 1/4 of that.
A call of the model costs .6 of a step beside its samples: micro-batches are small, and small
batches are slow.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Level = Literal["light", "default", "full"]

CALL = 0.6
PRODUCT = 1.25
"""A Hessian-vector product in gradients, its graph kept; a forward pass is a third of a gradient."""


@dataclass(frozen=True)
class Plan:
    """Shares of the training's work, and the steps between readings of norms."""

    motion: int
    noise: float
    curvature: float
    weighted: float
    barrier: float
    away: bool  # whether the starting point is kept: virial, displacement
    pairs: bool  # whether consecutive gradients are compared
    early: bool  # whether readings come more often at first


PLANS: dict[Level, Plan] = {
    "light": Plan(
        motion=200, noise=0.002, curvature=0.003, weighted=0.0, barrier=0.0, away=False, pairs=False, early=False
    ),
    "default": Plan(
        motion=50, noise=0.004, curvature=0.007, weighted=0.002, barrier=0.001, away=True, pairs=True, early=True
    ),
    "full": Plan(motion=1, noise=0.25, curvature=0.35, weighted=0.1, barrier=0.05, away=True, pairs=True, early=True),
}


def gradients(samples: float, calls: int, batch: float) -> float:
    """Cost of ``calls`` gradients over ``samples`` in all, in samples."""
    return samples + CALL * calls * batch


def products(samples: float, count: int, batch: float) -> float:
    """Cost of ``count`` Hessian-vector products and the gradient they need, each over ``samples``."""
    return gradients(samples, 1, batch) + count * (PRODUCT * samples + CALL * batch)


def forwards(samples: float, count: int, batch: float) -> float:
    """Cost of ``count`` forward passes, each over ``samples``."""
    return count * gradients(samples, 1, batch) / 3.0


class Every:
    """Steps ``first`` (if not 0), p, 2p, 3p ... with p the period that keeps the share; with ``early`` also p/16, p/4.

    Example:
        >>> every = Every(cost=640.0, share=0.01, batch=64.0)
        >>> [step for step in range(1, 3000) if every.due(step)]
        [1, 62, 250, 1000, 2000]
    """

    def __init__(self, cost: float, share: float, batch: float, *, early: bool = True, first: int = 1) -> None:
        self.cost = cost
        self.period = max(1, math.ceil(cost / (share * batch))) if share > 0 else 0
        wanted = {first, self.period // 16, self.period // 4} if early else {first}
        self.early = frozenset(step for step in wanted if step >= first > 0)

    def due(self, step: int) -> bool:
        """Whether to measure after this step."""
        return self.period > 0 and (step in self.early or step % self.period == 0)

    def following(self, step: int) -> float:
        """Return the next due step after the given one.

        Example:
            >>> Every(cost=640.0, share=0.01, batch=64.0).following(250)
            1000
        """
        if not self.period:
            return math.inf
        regular = (step // self.period + 1) * self.period
        return min([early for early in self.early if early > step], default=regular)
