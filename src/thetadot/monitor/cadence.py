r"""When to measure: a function of counted work, never of a clock.

A measurement that costs c samples' gradients comes every c/(s·B) steps, so that it takes the share s of the training's
own work; B samples are averaged in a step. Early on, where a run changes fast, it also comes at 1/16 and 1/4 of that.
What would bring the share of all measurements so far above a cap is put off until the run's work pays for it.

A call of the model costs .6 of a step beside its samples: micro-batches are small, and small batches are slow. Lanczos
steps with full reorthogonalisation read k(k+1)·2 vectors of the parameters' size in k products, which is no small thing
beside the gradient of a small batch. They are counted in gradients of a sample of a dense network, 6d operations: to
read a vector of d numbers takes the time of 3 of these from memory, of .6 from the cache (measured: 2.8 to 3.3, .3 to
.6). Where weights are shared (convolutions, tokens) a sample costs more, and the vectors weigh the less.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from thetadot.monitor.restoring import restore

if TYPE_CHECKING:
    from collections.abc import Mapping

Level = Literal["light", "default", "full"]

STEPS = "steps"
CALL = 0.6
PRODUCT = 1.25
"""A Hessian-vector product in gradients, its graph kept; a forward pass is a third of a gradient."""


CACHED, STREAMED = 0.6, 3.0
"""Passing a vector through the processor, in gradients of a sample of a dense network that has as many parameters."""
CACHE = 2**24
"""Bytes of a basis that stay near the processor."""
GRACE = 100
"""Steps whose work counts as done from the beginning."""
YOUNG = 10
"""Steps before P⁻¹H is measured at all: the P of a single gradient is mostly its zeros and their rounding."""


@dataclass(frozen=True)
class Plan:
    """Shares of the training's work, and the steps between readings of norms.

    ``settled`` is a tenth of the usual memory 1/(1-β₂): of fewer squared gradients P is mostly their scatter, and a run
    that pays for one early reading has it where it can be judged by.
    """

    level: Level
    motion: int
    away: bool  # whether the starting point is kept: virial, displacement
    pairs: bool  # whether consecutive gradients are compared
    early: bool  # whether readings come more often at first
    settled: int = 100  # steps before P⁻¹H is measured ahead of its turn
    cap: float = math.inf  # most of the work so far that all of them may have taken, from GRACE steps on
    every: Mapping[str, int] = field(default_factory=dict)  # steps between two of a kind, whatever it costs
    shares: Mapping[str, float] = field(default_factory=dict)  # of the work, where they are not the measurement's own

    def share(self, name: str, usual: Mapping[Level, float]) -> float:
        """The share of the work that a measurement may take, by its usual ones."""
        return self.shares.get(name, usual[self.level])

    def at(self, every: int | Mapping[str, int] | None) -> Plan:
        """Return the plan with the steps between two measurements that the user chose: of steps, or by name.

        Example:
            >>> chosen = PLANS["default"].at({"steps": 10, "curvature": 500})
            >>> chosen.motion, dict(chosen.every)
            (10, {'curvature': 500})
        """
        if every is None:
            return self
        periods = {STEPS: every} if isinstance(every, int) else dict(every)
        return replace(self, motion=periods.pop(STEPS, self.motion), every=periods)


PLANS: dict[Level, Plan] = {
    "light": Plan(
        level="light",
        motion=200,
        away=False,
        pairs=False,
        early=False,
        cap=0.01,
    ),
    "default": Plan(
        level="default",
        motion=50,
        away=True,
        pairs=True,
        early=True,
        cap=0.03,
    ),
    "full": Plan(
        level="full",
        motion=1,
        away=True,
        pairs=True,
        early=True,
        settled=YOUNG,
    ),
}


def gradients(samples: float, calls: float, batch: float) -> float:
    """Cost of ``calls`` gradients over ``samples`` in all, in samples."""
    return samples + CALL * calls * batch


def products(samples: float, count: int, batch: float) -> float:
    """Cost of ``count`` Hessian-vector products and the gradient they need, each over ``samples``."""
    return gradients(samples, 1, batch) + count * (PRODUCT * samples + CALL * batch)


def forwards(samples: float, count: int, batch: float) -> float:
    """Cost of ``count`` forward passes, each over ``samples``."""
    return count * gradients(samples, 1, batch) / 3.0


def orthogonalisation(parameters: int, count: int, sharing: float) -> float:
    """Cost of keeping ``count`` Lanczos vectors orthogonal, in samples.

    Args:
        parameters: d.
        count: k, products.
        sharing: how often a sample uses a weight in the mean: 1 in a dense network.

    Example:
        >>> orthogonalisation(85_000, 12, 1.0), orthogonalisation(10_000_000, 12, 64.0)
        (216.0, 16.875)
    """
    vector = CACHED if 4 * parameters * count <= CACHE else STREAMED
    return vector * (2 * count * count + 6 * count) / max(sharing, 1.0)


class Every:
    """Steps ``first`` (if not 0), p, 2p, 3p ... with p the period that keeps the share; with ``early`` also p/16, p/4.

    In a run of known length p is that of as many readings as the share pays for, at least one: p/4, p, 2p ...

    Example:
        >>> every = Every(cost=640.0, share=0.01, batch=64.0)
        >>> [step for step in range(1, 3000) if every.due(step)]
        [1, 62, 250, 1000, 2000]
    """

    def __init__(
        self, cost: float, share: float, batch: float, *, early: bool = True, first: int = 1, steps: int = 0
    ) -> None:
        self.cost = cost
        self.first = first
        self.period = max(1, math.ceil(cost / (share * batch))) if share > 0 else 0
        wanted = {first, self.period // 16, self.period // 4} if early else {first}
        if steps and self.period:
            self.period = math.ceil(steps / max(1, steps // self.period))
            wanted = {max(first, self.period // 4)}
        self.early = frozenset(step for step in wanted if step >= first > 0)
        self.done = False  # whether it has come at all
        self._later: int | None = None

    def due(self, step: int) -> bool:
        """Whether to measure after this step."""
        if self._later is not None:
            return step >= self._later
        return self.period > 0 and (step in self.early or step % self.period == 0)

    def put_off(self, step: int | None) -> None:
        """Measure at this step instead, and then, after :meth:`put_off` with None, at whole periods only."""
        self._later = step
        if step is not None:
            self.early = frozenset()

    def go_on(self, before: Every) -> None:
        """Take the place of one with another period."""
        self.done, self._later = before.done, before._later
        self.early = self.early if before.early else before.early

    def state_dict(self) -> dict[str, Any]:
        """Return the period and what is still to come."""
        return {**vars(self), "early": sorted(self.early)}

    @classmethod
    def fixed(cls, cost: float, period: int) -> Every:
        """Whole periods that the user chose."""
        made = cls(cost, 0.0, 1.0, early=False, first=0)
        made.period = period
        return made

    @classmethod
    def of(cls, state: dict[str, Any]) -> Every:
        """The one whose :meth:`state_dict` this is."""
        made = cls(float(state["cost"]), 0.0, 1.0)
        restore(made, {name: value for name, value in state.items() if name != "early"})
        made.early = frozenset(int(step) for step in state["early"])
        return made

    def following(self, step: int) -> float:
        """Return the next due step after the given one.

        Example:
            >>> Every(cost=640.0, share=0.01, batch=64.0).following(250)
            1000
        """
        if not self.period:
            return math.inf
        if self._later is not None:
            return max(self._later, step + 1)
        regular = (step // self.period + 1) * self.period
        return min([early for early in self.early if early > step], default=regular)
